//! The small fields: region, modes, numeric ids.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::SpecError;
use crate::error::{checked_string, plain};

const WRITE_REGION: &str = "write a region name of letters, digits and hyphens, such as \"us-east-1\"";
const WRITE_MODE: &str = "write permission bits in octal, from 0000 to 0777, such as \"0755\"";
const WRITE_ID: &str = "write a decimal number from 0 to 4294967294, such as \"1000\"";

checked_string! {
    /// The region that requests are signed for: up to 64 letters, digits, hyphens; MinIO's default is
    /// `us-east-1`.
    Region
}

impl Region {
    /// Checks a region name.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] for the field `region`.
    pub fn parse(name: &str) -> Result<Self, SpecError> {
        const FIELD: &str = "region";
        plain(FIELD, name, 64, WRITE_REGION)?;
        if name.starts_with('-') {
            return Err(SpecError::invalid(FIELD, name, "starts with a hyphen", WRITE_REGION));
        }
        match name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
            Some(c) => {
                Err(SpecError::invalid(FIELD, name, format!("holds the character {c:?}"), WRITE_REGION))
            }
            None => Ok(Self(name.to_owned())),
        }
    }
}

/// Permission bits of a directory or file, 0 to 0o777. Shown as four octal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u16);

impl Mode {
    /// What the FlexVolume driver gave directories: 0755.
    pub const DEFAULT_DIR: Self = Self(0o755);
    /// What the FlexVolume driver gave files: 0644.
    pub const DEFAULT_FILE: Self = Self(0o644);

    /// Reads octal digits, with or without leading zeros. (goofys itself reads `755` as decimal: it is given
    /// [`Mode`]'s own spelling.)
    ///
    /// # Errors
    /// [`SpecError::Invalid`] for `field`, which is `dirMode` or `fileMode`.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, SpecError> {
        plain(field, text, 8, WRITE_MODE)?;
        if !text.bytes().all(|b| matches!(b, b'0'..=b'7')) {
            return Err(SpecError::invalid(field, text, "is no octal number", WRITE_MODE));
        }
        match u16::from_str_radix(text, 8) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err(SpecError::invalid(field, text, "is more than 0777", WRITE_MODE)),
        }
    }

    /// The permission bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mode({self})")
    }
}

impl TryFrom<String> for Mode {
    type Error = SpecError;
    fn try_from(text: String) -> Result<Self, SpecError> {
        Self::parse("mode", &text)
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

/// Reads a user or group id. The highest number is refused: to the kernel it means "leave unchanged".
pub(crate) fn parse_id(field: &'static str, text: &str) -> Result<u32, SpecError> {
    plain(field, text, 10, WRITE_ID)?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SpecError::invalid(field, text, "is no decimal number", WRITE_ID));
    }
    match text.parse::<u32>() {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(SpecError::invalid(field, text, "is too large", WRITE_ID)),
    }
}
