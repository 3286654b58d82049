//! Durations as Vault and OpenBao write them: integers are seconds, `<n>d` are days, the rest is
//! Go's `time.ParseDuration`.

use super::integer::{self, quoted};

const NANOS_PER_SEC: i128 = 1_000_000_000;

/// Whole seconds, cut towards zero.
pub(super) fn parse_seconds(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    if let Ok(seconds) = integer::decimal(text) {
        return checked_seconds(seconds);
    }
    if let Some(days) = text.strip_suffix('d') {
        let days = integer::decimal(days)?;
        return days.checked_mul(86_400).ok_or_else(overflow).and_then(checked_seconds);
    }
    // Texts that do not end in a unit get the message of the integer they most likely were.
    if !text.ends_with(['s', 'm', 'h']) {
        return integer::decimal(text);
    }
    let nanos = parse_go(text)?;
    // The range check in parse_go bounds the quotient.
    Ok(i64::try_from(nanos / NANOS_PER_SEC).unwrap_or(i64::MAX))
}

/// Go counts durations in 64-bit nanoseconds; seconds beyond that overflow.
pub(super) fn checked_seconds(seconds: i64) -> Result<i64, String> {
    seconds.checked_mul(1_000_000_000).map(|_| seconds).ok_or_else(overflow)
}

fn overflow() -> String {
    "duration overflows 64-bit nanoseconds".to_owned()
}

/// Go's `time.ParseDuration`, in nanoseconds.
fn parse_go(text: &str) -> Result<i128, String> {
    let invalid = || format!("time: invalid duration {}", quoted(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_len = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS_PER_SEC,
            "m" => 60 * NANOS_PER_SEC,
            "h" => 3600 * NANOS_PER_SEC,
            "" => return Err(format!("time: missing unit in duration {}", quoted(text))),
            other => {
                return Err(format!("time: unknown unit {} in duration {}", quoted(other), quoted(text)));
            }
        };
        let number = |digits: &str| match digits {
            "" => Ok(0_i128),
            digits => digits.parse::<i128>().map_err(|_| invalid()),
        };
        let whole = number(whole)?.checked_mul(scale).ok_or_else(invalid)?;
        // Eighteen places are below a nanosecond of an hour; more would overflow.
        let places = fraction.len().min(18);
        let part = number(&fraction[..places])? * scale / 10_i128.pow(u32::try_from(places).unwrap_or(0));
        total = total.checked_add(whole).and_then(|sum| sum.checked_add(part)).ok_or_else(invalid)?;
        if total > i128::from(i64::MAX) {
            return Err(invalid());
        }
        rest = after;
    }
    Ok(if negative { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        assert_eq!(parse_go("1h2m3.5s"), Ok(3_723_500_000_000));
        assert_eq!(parse_go("-1.5µs"), Ok(-1500));
        assert_eq!(parse_go(".5h"), Ok(1_800_000_000_000));
        assert_eq!(parse_go("5xs"), Err("time: unknown unit \"xs\" in duration \"5xs\"".to_owned()));
        assert_eq!(parse_go("5s5"), Err("time: missing unit in duration \"5s5\"".to_owned()));
        for bad in ["", "-", "s", ".s", "h1", "9999999999h"] {
            assert_eq!(parse_go(bad), Err(format!("time: invalid duration \"{bad}\"")), "{bad}");
        }
    }

    #[test]
    fn range_is_64_bit_nanoseconds() {
        assert_eq!(parse_seconds("9223372036"), Ok(9_223_372_036));
        assert!(parse_seconds("9223372037").is_err());
        assert!(parse_seconds("106751d").is_ok());
        assert!(parse_seconds("106752d").is_err());
        assert_eq!(
            parse_seconds("99999999999999999999"),
            Err("strconv.ParseInt: parsing \"99999999999999999999\": value out of range".to_owned())
        );
    }
}
