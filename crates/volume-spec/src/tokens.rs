//! The pod's service-account token, which is its identity towards Vault.
//!
//! kubelet sends it under [`TOKENS_KEY`] as JSON, one entry an audience, in the request's `secrets` when the
//! `CSIDriver` object says `serviceAccountTokenInSecrets: true` and in `volume_context` otherwise. Both places
//! are read and `secrets` wins: the keys of a Kubernetes Secret cannot hold a slash, so nobody but kubelet can
//! have put it there, while volume attributes are the pod author's when kubelet does not overwrite them.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{Lookup, Shown, base64};

/// The key both maps use.
pub const TOKENS_KEY: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// A service-account token of one audience.
#[derive(Clone, Debug)]
pub struct ServiceAccountToken {
    /// The signed token.
    pub jwt: SecretString,
    /// When it expires by kubelet's word, in seconds since 1970 UTC.
    pub expires_at: Option<i64>,
}

/// Why there is no usable token. Never repeats any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not the JSON kubelet writes.
    #[error(
        "{TOKENS_KEY} is not JSON of the form {{\"<audience>\":{{\"token\":…}}}} (line {line}, column {column})"
    )]
    Malformed {
        /// Line of the flaw.
        line: usize,
        /// Column of the flaw.
        column: usize,
    },
    /// Tokens, but none for us.
    #[error(
        "{TOKENS_KEY} has no token for the audience {wanted}, only for {present}; add the audience to tokenRequests of the CSIDriver object"
    )]
    Audience {
        /// The audience asked for.
        wanted: Shown,
        /// The audiences there are.
        present: String,
    },
    /// The entry is there, the token is not.
    #[error("{TOKENS_KEY} has an empty token for the audience {0}")]
    Empty(Shown),
    /// The entry's time is none.
    #[error("{TOKENS_KEY} has an expirationTimestamp {0} that is not RFC 3339")]
    Expiry(Shown),
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    token: String,
    #[serde(default, rename = "expirationTimestamp")]
    expiration_timestamp: Option<String>,
}

/// Finds the token for `audience`. `None` when the request carries no tokens at all.
///
/// # Errors
/// [`TokenError`] when it carries tokens and none of them can be used.
pub fn service_account_token(
    secrets: &impl Lookup,
    volume_context: &impl Lookup,
    audience: &str,
) -> Result<Option<ServiceAccountToken>, TokenError> {
    let Some(json) = secrets.value(TOKENS_KEY).or_else(|| volume_context.value(TOKENS_KEY)) else {
        return Ok(None);
    };
    parse(json, audience).map(Some)
}

/// Finds the token for `audience` in kubelet's JSON.
///
/// # Errors
/// As [`service_account_token`].
pub fn parse(json: &str, audience: &str) -> Result<ServiceAccountToken, TokenError> {
    let mut entries: BTreeMap<String, Entry> = serde_json::from_str(json)
        .map_err(|error| TokenError::Malformed { line: error.line(), column: error.column() })?;
    let Some(entry) = entries.remove(audience) else {
        let present: Vec<String> = entries.keys().take(5).map(|name| Shown::new(name).to_string()).collect();
        let present = if present.is_empty() { "nobody".to_owned() } else { present.join(", ") };
        return Err(TokenError::Audience { wanted: Shown::new(audience), present });
    };
    if entry.token.trim().is_empty() {
        return Err(TokenError::Empty(Shown::new(audience)));
    }
    let expires_at = match entry.expiration_timestamp.as_deref() {
        None | Some("") => None,
        Some(text) => Some(parse_rfc3339(text).ok_or_else(|| TokenError::Expiry(Shown::new(text)))?),
    };
    Ok(ServiceAccountToken { jwt: SecretString::from(entry.token), expires_at })
}

/// What a token says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnverifiedClaims {
    /// `sub`, as `system:serviceaccount:<namespace>:<name>`.
    pub sub: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// The service account's name.
    pub service_account: Option<String>,
    /// `exp`, in seconds since 1970 UTC.
    pub exp: Option<i64>,
}

/// Reads a token's claims **without checking its signature**. Anybody can make up such a token: the result is
/// for log text and for judging freshness, never for deciding who may do what. That is Vault's job.
/// `None` when it is no JWT.
#[must_use]
pub fn claims_unverified(jwt: &SecretString) -> Option<UnverifiedClaims> {
    #[derive(Deserialize)]
    struct Claims {
        sub: Option<String>,
        exp: Option<f64>,
        #[serde(rename = "kubernetes.io")]
        kubernetes: Option<Kubernetes>,
    }
    #[derive(Deserialize)]
    struct Kubernetes {
        namespace: Option<String>,
        serviceaccount: Option<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: Option<String>,
    }

    let mut parts = jwt.expose_secret().split('.');
    let payload = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(payload), Some(_), None) => base64::decode_url(payload)?,
        _ => return None,
    };
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    let kubernetes = claims.kubernetes.unwrap_or(Kubernetes { namespace: None, serviceaccount: None });
    let mut from_sub =
        claims.sub.as_deref().and_then(|sub| sub.strip_prefix("system:serviceaccount:")?.split_once(':'));
    let (sub_namespace, sub_name) = from_sub.take().unzip();
    Some(UnverifiedClaims {
        namespace: kubernetes.namespace.or_else(|| sub_namespace.map(str::to_owned)),
        service_account: kubernetes
            .serviceaccount
            .and_then(|s| s.name)
            .or_else(|| sub_name.map(str::to_owned)),
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates; fractions do not matter")]
        exp: claims.exp.map(|exp| exp as i64),
        sub: claims.sub,
    })
}

/// Seconds since 1970 UTC of an RFC 3339 time; fractions are dropped.
fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    };
    let at = |index: usize, any_of: &[u8]| bytes.get(index).is_some_and(|b| any_of.contains(b));
    if !(at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut zone = 19;
    if at(zone, b".") {
        zone += 1;
        let digits = bytes[zone..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        zone += digits;
    }
    let offset = match bytes.get(zone)? {
        b'Z' | b'z' if bytes.len() == zone + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == zone + 6 && at(zone + 3, b":") => {
            let (hours, minutes) = (number(zone + 1, zone + 3)?, number(zone + 4, zone + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Days of the proleptic Gregorian calendar, counted in years that begin in March so that a leap day is last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let years = if month > 2 { year } else { year - 1 };
    let months = (month + 9) % 12;
    let day_of_year = (153 * months + 2) / 5 + day - 1;
    years * 365 + years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::parse_rfc3339;

    #[test]
    fn times_as_date_1_counts_them() {
        let known = [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2024-02-29T12:00:00Z", 1_709_208_000),
            ("2030-01-01T00:00:00Z", 1_893_456_000),
            ("2030-01-01T02:30:00.123456789+02:30", 1_893_456_000),
            ("2029-12-31T19:00:00-05:00", 1_893_456_000),
            ("1969-12-31T23:59:59Z", -1),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ];
        for (text, seconds) in known {
            assert_eq!(parse_rfc3339(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let bad = [
            "",
            "2030",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-13-01T00:00:00Z",
            "2030-01-00T00:00:00Z",
            "2030-01-01T24:00:00Z",
            "2030-01-01T00:00:00.Z",
            "2030-01-01T00:00:00Zx",
            "2030-01-01T00:00:00+0200",
            "+030-01-01T00:00:00Z",
            "2030-01-01T00:00:00+99:00",
            "٢٠٣٠-01-01T00:00:00Z",
        ];
        for text in bad {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
