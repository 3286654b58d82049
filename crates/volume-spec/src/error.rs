//! What is wrong with a request, in words that say what to write instead.

use std::fmt;

use crate::parameters::KEYS;

/// Most characters of an offending value that an error repeats.
const SHOWN_CHARS: usize = 80;

/// An offending value as errors and logs may repeat it: shortened, with everything that is not plain
/// printable text escaped, so that it cannot break a log line or a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// Escapes and shortens `value`.
    #[must_use]
    pub fn new(value: &str) -> Self {
        let mut text = String::with_capacity(value.len().min(SHOWN_CHARS) + 2);
        text.push('"');
        for (count, c) in value.chars().enumerate() {
            if count == SHOWN_CHARS {
                text.push('…');
                break;
            }
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                c if unprintable(c) => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        text.push('"');
        Self(text)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Control characters, and the Unicode ones that change how the text around them is read: line and
/// paragraph separators, zero-width and bidirectional marks.
pub(crate) fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffd}' | '\u{e0000}'..='\u{e007f}')
}

/// A value a pod or an operator wrote cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A field without which nothing can be mounted is not there.
    #[error("{field} is missing; {write}")]
    Missing {
        /// The field's key as the user writes it.
        field: &'static str,
        /// What to write instead.
        write: &'static str,
    },
    /// A field's value is not of its kind.
    #[error("{field} {value}: {reason}; {write}")]
    Invalid {
        /// The field's key as the user writes it.
        field: &'static str,
        /// The offending value.
        value: Shown,
        /// What is wrong with it.
        reason: String,
        /// What to write instead.
        write: &'static str,
    },
    /// Keys that mean nothing here.
    #[error("unknown volume attribute {}{}; the valid ones are {}", list(.keys), did_you_mean(*.suggestion), KEYS.join(", "))]
    Unknown {
        /// The unknown keys, sorted.
        keys: Vec<Shown>,
        /// The valid key the first of them probably stands for.
        suggestion: Option<&'static str>,
    },
}

impl SpecError {
    pub(crate) fn invalid(
        field: &'static str,
        value: &str,
        reason: impl Into<String>,
        write: &'static str,
    ) -> Self {
        Self::Invalid { field, value: Shown::new(value), reason: reason.into(), write }
    }

    /// The key of the field that is wrong; `None` when the keys themselves are.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Missing { field, .. } | Self::Invalid { field, .. } => Some(field),
            Self::Unknown { .. } => None,
        }
    }
}

fn list(keys: &[Shown]) -> String {
    const MOST: usize = 5;
    let mut text = keys.iter().take(MOST).map(Shown::to_string).collect::<Vec<_>>().join(", ");
    if keys.len() > MOST {
        text.push_str(&format!(" and {} more", keys.len() - MOST));
    }
    text
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |key| format!(" (did you mean {key}?)"))
}

/// Refuses text no field may hold: empty, longer than `max` bytes, or with unprintable characters.
pub(crate) fn plain(
    field: &'static str,
    value: &str,
    max: usize,
    write: &'static str,
) -> Result<(), SpecError> {
    let reason = if value.is_empty() {
        "is empty".to_owned()
    } else if value.len() > max {
        format!("is {} bytes long, {max} is the most", value.len())
    } else if let Some(c) = value.chars().find(|c| unprintable(*c)) {
        format!("holds the unprintable character U+{:04X}", u32::from(c))
    } else {
        return Ok(());
    };
    Err(SpecError::invalid(field, value, reason, write))
}

/// A string that was checked when it was made: accessors, and (de)serialisation as the plain string with
/// the check repeated on the way in.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The checked text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = crate::SpecError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = crate::SpecError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}
pub(crate) use checked_string;
