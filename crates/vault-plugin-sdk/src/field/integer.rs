//! Integers as Go's `strconv.ParseInt` reads them.

/// Base 10, as in durations.
pub(super) fn decimal(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        failed(text, matches!(error.kind(), PosOverflow | NegOverflow))
    })
}

/// Base 0, as in integer fields: `0x`, `0o`, a mere `0` and `0b` say the base, and `_` may stand between digits.
pub(super) fn any_base(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (base, body) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // A prefix counts as a digit.
    let separated = (base != 10 || !body.starts_with('_')) && !body.ends_with('_') && !body.contains("__");
    let bare = body.replace('_', "");
    if bare.is_empty() || !separated || !bare.chars().all(|digit| digit.is_digit(base)) {
        return Err(failed(text, false));
    }
    let out_of_range = || failed(text, true);
    let magnitude = i128::from(u64::from_str_radix(&bare, base).map_err(|_| out_of_range())?);
    let signed = if text.starts_with('-') { -magnitude } else { magnitude };
    i64::try_from(signed).map_err(|_| out_of_range())
}

fn failed(text: &str, out_of_range: bool) -> String {
    let why = if out_of_range { "value out of range" } else { "invalid syntax" };
    format!("strconv.ParseInt: parsing {}: {why}", quoted(text))
}

/// Text in double quotes, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}
