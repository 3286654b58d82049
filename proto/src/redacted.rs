//! What stands in for a secret.

use std::fmt;

/// Prints `[redacted]`, in `Debug` and in `Display`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Redacted;

impl Redacted {
    /// Prints `[redacted]` for a secret that holds something and `[unset]` for one that does not: often what an
    /// operator needs to know, and nothing about the content.
    pub fn if_set(set: bool) -> impl fmt::Debug + fmt::Display + Copy {
        Presence(set)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Clone, Copy)]
struct Presence(bool);

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "[redacted]" } else { "[unset]" })
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_no_more_than_whether_something_is_there() {
        assert_eq!(format!("{Redacted:?} {Redacted}"), "[redacted] [redacted]");
        assert_eq!(format!("{:?} {}", Redacted::if_set(true), Redacted::if_set(false)), "[redacted] [unset]");
    }
}
