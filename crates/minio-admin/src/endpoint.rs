//! Where a MinIO server is.

use std::fmt;

use url::Url;

use crate::Error;

/// Host, port and scheme of a MinIO server, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
}

impl Endpoint {
    /// From `host`, `host:port` or `[v6]:port`; without a port, 80 or 443.
    ///
    /// # Errors
    /// [`Error::Endpoint`] when there is anything else in it: a scheme, user, path or query.
    pub fn new(authority: &str, tls: bool) -> Result<Self, Error> {
        // Before an `@` there may be a password: only what follows it is quoted.
        let quoted = authority.rsplit('@').next().unwrap_or_default();
        let refuse = |reason| Error::Endpoint { value: quoted.to_owned(), reason };
        if authority.is_empty() {
            return Err(refuse("it is empty"));
        }
        if quoted != authority {
            return Err(refuse("there is a user in it, which belongs into the credentials; write host:port"));
        }
        if authority.contains("://") {
            return Err(refuse("it has a scheme; write host:port"));
        }
        if authority.contains(['/', '?', '#', '\\']) || authority.contains(char::is_whitespace) {
            return Err(refuse("it must be host:port and nothing else"));
        }
        let scheme = if tls { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{authority}/"))
            .map_err(|_| refuse("it is not a host name or address with an optional port"))?;
        Ok(Self { url })
    }

    /// Whether requests go over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The `Host` header: a default port is left out, as HTTP clients do.
    pub(crate) fn host_header(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The same server, with a path and a query that are already encoded.
    pub(crate) fn at(&self, path: &str, query: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url.set_query((!query.is_empty()).then_some(query));
        url
    }

    /// Whether the server is on this machine, where no proxy has business.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use super::*;

    #[test]
    fn hosts_with_and_without_port() {
        for (authority, tls, shown, host) in [
            ("minio:9000", false, "http://minio:9000", "minio:9000"),
            ("minio.example", true, "https://minio.example", "minio.example"),
            ("minio.example:443", true, "https://minio.example", "minio.example"),
            ("[::1]:9000", false, "http://[::1]:9000", "[::1]:9000"),
        ] {
            let endpoint = Endpoint::new(authority, tls).unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.host_header(), host);
        }
    }

    #[test]
    fn anything_but_host_and_port_is_refused() {
        for bad in
            ["", "http://minio", "minio/path", "user@minio", "minio:port", "mi nio", "minio:99999", "a?b"]
        {
            let error = Endpoint::new(bad, false).unwrap_err();
            assert!(matches!(error, Error::Endpoint { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn what_comes_before_an_at_is_not_quoted() {
        for bad in ["user:hunter2@minio:9000", "http://user:hunter2@minio", "hunter2@", "a@hunter2@minio"] {
            let error = Endpoint::new(bad, false).unwrap_err();
            assert!(error.to_string().contains("a user in it"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn the_query_goes_out_as_it_was_signed() {
        let query = crate::sigv4::query(&[("accessKey", "a b'(c)*!~|^{}\"<>`é")]);
        let url = Endpoint::new("minio:9000", false).unwrap().at("/minio/admin/v3/user-info", &query);
        assert_eq!(url.query(), Some(query.as_str()));
    }
}
