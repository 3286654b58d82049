//! Durations as Go's `time.ParseDuration` and `Duration.String` spell them: `24h`, `1h30m`, `1.5s`, `-2m`.
//!
//! The grammar is that of the Go standard library's documentation: an optional sign and a sequence of decimal
//! numbers, each with an optional fraction and a unit, where only `0` may lack the unit.

use std::fmt;

/// Why a text is no Go duration; reads like Go's own messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// Not of the grammar, or beyond what 64 bits of nanoseconds hold.
    Invalid(String),
    /// A number without a unit.
    MissingUnit(String),
    /// A unit that is none: the unit, then the whole text.
    UnknownUnit(String, String),
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => write!(f, "time: invalid duration {}", quoted(text)),
            Self::MissingUnit(text) => write!(f, "time: missing unit in duration {}", quoted(text)),
            Self::UnknownUnit(unit, text) => {
                write!(f, "time: unknown unit {} in duration {}", quoted(unit), quoted(text))
            }
        }
    }
}

impl std::error::Error for DurationError {}

fn quoted(text: &str) -> crate::Shown {
    crate::Shown::new(text)
}

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

/// Reads a duration into nanoseconds.
///
/// # Errors
/// [`DurationError`], with the text as it was given.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let nanos =
            unit_nanos(unit).ok_or_else(|| DurationError::UnknownUnit(unit.to_owned(), text.to_owned()))?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        total = whole
            .checked_mul(nanos)
            .and_then(|value| value.checked_add(fraction_of(fraction, nanos)))
            .and_then(|value| total.checked_add(value))
            .filter(|value| *value <= i64::MIN.unsigned_abs())
            .ok_or_else(invalid)?;
        rest = after;
    }
    if negative { Ok(0i64.wrapping_sub_unsigned(total)) } else { i64::try_from(total).map_err(|_| invalid()) }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `0.<digits>` of a unit, cut to whole nanoseconds. Eighteen digits are more than any unit can resolve.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let digits = &digits[..digits.len().min(18)];
    if digits.is_empty() {
        return 0;
    }
    let scale = 10u128.pow(u32::try_from(digits.len()).unwrap_or(18));
    let value = digits.parse::<u128>().unwrap_or(0) * u128::from(unit) / scale;
    u64::try_from(value).unwrap_or(unit)
}

/// Writes nanoseconds as Go's `Duration.String` does: `24h0m0s`, `1.5s`, `20ms`, `0s`.
#[must_use]
pub fn format(nanos: i64) -> String {
    let size = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    if size == 0 {
        return "0s".to_owned();
    }
    if size < SECOND {
        let (unit, name) = match size {
            1_000_000.. => (1_000_000, "ms"),
            1_000.. => (1_000, "\u{b5}s"),
            _ => (1, "ns"),
        };
        return format!("{sign}{}{name}", decimal(size, unit));
    }
    let (hours, minutes) = (size / HOUR, size % HOUR / MINUTE);
    let seconds = decimal(size % MINUTE, SECOND);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / unit` in decimal without trailing zeros; `unit` is a power of ten.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0digits$}").trim_end_matches('0'))
}
