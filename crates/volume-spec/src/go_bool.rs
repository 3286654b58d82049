//! Booleans as Go's `strconv.ParseBool` spells them, which is what the legacy programs read.

/// Reads one of Go's spellings; anything else is `None`.
#[must_use]
pub fn parse(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
