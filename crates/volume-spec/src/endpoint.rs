//! `endpoint`: the S3 server's address.

use std::net::Ipv6Addr;

use crate::SpecError;
use crate::error::{checked_string, plain};

const FIELD: &str = "endpoint";
const WRITE: &str = "write scheme, host and port alone, such as \"https://minio.example:9000\"";

checked_string! {
    /// An `http` or `https` URL of a host and an optional port, nothing else; scheme and host in lower case.
    Endpoint
}

impl Endpoint {
    /// Checks an endpoint; a single slash at its end is dropped.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] for the field `endpoint`. A URL with a user name is not repeated in it, as
    /// what follows may be a password.
    pub fn parse(url: &str) -> Result<Self, SpecError> {
        plain(FIELD, url, 512, WRITE)?;
        let invalid = |reason: &str| Err(SpecError::invalid(FIELD, url, reason, WRITE));
        if url.contains('@') {
            return Err(SpecError::invalid(FIELD, "…@…", "holds a user name", WRITE));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return invalid("has no scheme, http:// or https://");
        };
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return invalid("has a scheme that is neither http nor https");
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['?', '#']) {
            return invalid("holds a query or fragment");
        }
        if authority.contains('/') {
            return invalid("holds a path");
        }
        let (host, port) = split_port(authority);
        if host.is_empty() {
            return invalid("has no host");
        }
        if !host_is_valid(host) {
            return invalid("has a host that is neither a name nor an address");
        }
        let host = host.to_ascii_lowercase();
        let authority = match port {
            None => host,
            Some(port) => match port.parse::<u16>() {
                Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => {
                    format!("{host}:{number}")
                }
                _ => return invalid("has a port that is no number from 1 to 65535"),
            },
        };
        Ok(Self(format!("{scheme}://{authority}")))
    }

    /// Whether requests to it are encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// `host` or `host:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, authority)| authority)
    }
}

/// Splits at the colon behind the host, not at those inside a bracketed IPv6 address.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_address = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_address..].find(':') {
        Some(colon) => (&authority[..after_address + colon], Some(&authority[after_address + colon + 1..])),
        None => (authority, None),
    }
}

fn host_is_valid(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|a| a.parse::<Ipv6Addr>().is_ok());
    }
    let label_is_valid = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label_is_valid)
}
