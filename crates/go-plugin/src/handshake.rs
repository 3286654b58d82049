//! What host and plugin tell each other before the first connection.
//!
//! Facts from hashicorp/go-plugin `server.go` and `client.go`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls_pki_types::CertificateDer;

use crate::tls::MutualTls;

/// The version of go-plugin's own protocol; there is only this one.
const CORE_PROTOCOL: u32 = 1;

/// What a plugin is, as far as the handshake goes.
#[derive(Clone, Debug)]
pub struct Config {
    /// The environment variable by which a plugin recognises its host.
    pub cookie_key: &'static str,
    /// Its expected value. Not a secret: it tells a host from a person at a shell.
    pub cookie_value: &'static str,
    /// The application protocol versions this plugin serves.
    pub versions: &'static [u32],
    /// What protects connections when the host does not ask for AutoMTLS. Default: nothing.
    pub tls: Option<MutualTls>,
    /// How long no connection may exist before the host counts as dead. Default: 30 s.
    pub host_gone_after: Duration,
}

impl Config {
    /// A plugin with this cookie and these versions.
    pub fn new(cookie_key: &'static str, cookie_value: &'static str, versions: &'static [u32]) -> Self {
        Self { cookie_key, cookie_value, versions, tls: None, host_gone_after: Duration::from_secs(30) }
    }
}

/// The variables a host sets.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The value of the variable named by [`Config::cookie_key`].
    pub cookie: Option<String>,
    /// `PLUGIN_PROTOCOL_VERSIONS`, `5` or `3,4` in any order.
    pub protocol_versions: Option<String>,
    /// `PLUGIN_CLIENT_CERT`: the host's certificate in PEM; asks for AutoMTLS.
    pub client_cert: Option<String>,
    /// `PLUGIN_MULTIPLEX_GRPC`: whether all connections shall share one; absent on older hosts.
    pub multiplex: Option<String>,
    /// `PLUGIN_UNIX_SOCKET_DIR`, set by container runners.
    pub socket_dir: Option<PathBuf>,
    /// `PLUGIN_UNIX_SOCKET_GROUP`: name or number of the group that shall reach the socket.
    pub socket_group: Option<String>,
}

impl Environment {
    /// The variables of this process, with the cookie called `cookie_key`.
    pub fn from_process(cookie_key: &str) -> Self {
        Self::from_lookup(cookie_key, |name| std::env::var(name).ok())
    }

    /// The variables as `lookup` gives them.
    pub fn from_lookup(cookie_key: &str, lookup: impl Fn(&str) -> Option<String>) -> Self {
        let filled = |name: &str| lookup(name).filter(|value| !value.is_empty());
        Self {
            cookie: lookup(cookie_key),
            protocol_versions: filled("PLUGIN_PROTOCOL_VERSIONS"),
            client_cert: filled("PLUGIN_CLIENT_CERT"),
            multiplex: filled("PLUGIN_MULTIPLEX_GRPC"),
            socket_dir: filled("PLUGIN_UNIX_SOCKET_DIR").map(PathBuf::from),
            socket_group: filled("PLUGIN_UNIX_SOCKET_GROUP"),
        }
    }

    /// Whether the host asks for all connections to share one.
    pub fn wants_multiplexing(&self) -> bool {
        matches!(self.multiplex.as_deref(), Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    }
}

/// The handshake cannot be done.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Nobody, or the wrong host, started the plugin.
    #[error(
        "this program is a plugin and does nothing when started by hand: \
         its host starts it and sets {cookie_key}"
    )]
    NotAHost {
        /// The missing or wrong variable.
        cookie_key: &'static str,
    },
    /// Host and plugin have no protocol version in common.
    #[error(
        "the host speaks plugin protocol version {offered}, this plugin speaks {ours}: \
         use a newer host, or a plugin made for that one"
    )]
    NoCommonVersion {
        /// What the host offers.
        offered: String,
        /// What the plugin serves.
        ours: String,
    },
}

/// Checks that a host of ours started the plugin.
///
/// # Errors
/// [`HandshakeError::NotAHost`].
pub fn check_cookie(config: &Config, env: &Environment) -> Result<(), HandshakeError> {
    match env.cookie.as_deref() {
        Some(value) if value == config.cookie_value => Ok(()),
        _ => Err(HandshakeError::NotAHost { cookie_key: config.cookie_key }),
    }
}

/// The highest version both sides speak. A host that offers none predates the choice and gets the
/// lowest.
///
/// # Errors
/// [`HandshakeError::NoCommonVersion`].
pub fn choose_version(config: &Config, env: &Environment) -> Result<u32, HandshakeError> {
    let ours = config.versions.iter().copied();
    let chosen = match env.protocol_versions.as_deref() {
        None => ours.min(),
        Some(offered) => offered
            .split(',')
            .filter_map(|word| word.trim().parse::<u32>().ok())
            .filter(|version| config.versions.contains(version))
            .max(),
    };
    chosen.ok_or_else(|| {
        let ours: Vec<String> = config.versions.iter().map(u32::to_string).collect();
        let offered = env.protocol_versions.as_deref().unwrap_or("(unsaid)").to_owned();
        HandshakeError::NoCommonVersion { offered, ours: ours.join(", ") }
    })
}

/// The handshake line, newline included.
///
/// The certificate field is there even when empty. The seventh field appears only when the host
/// asked (`multiplex` is `Some`): older hosts would read it as part of the certificate.
pub fn line(
    version: u32,
    socket: &Path,
    certificate: Option<&CertificateDer<'_>>,
    multiplex: Option<bool>,
) -> String {
    let certificate = certificate.map(|der| STANDARD_NO_PAD.encode(der)).unwrap_or_default();
    let multiplex = multiplex.map(|on| format!("|{on}")).unwrap_or_default();
    format!("{CORE_PROTOCOL}|{version}|unix|{}|grpc|{certificate}{multiplex}\n", socket.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: fn() -> Config = || Config::new("COOKIE", "yes", &[4, 5]);

    fn offering(versions: Option<&str>) -> Environment {
        Environment { protocol_versions: versions.map(str::to_owned), ..Environment::default() }
    }

    #[test]
    fn highest_common_version_in_any_order() {
        for offer in ["5", "5,4,3", "3,5,4", " 4 , 5 ", "7,x,,5"] {
            assert_eq!(choose_version(&CONFIG(), &offering(Some(offer))), Ok(5), "{offer}");
        }
        assert_eq!(choose_version(&CONFIG(), &offering(Some("3,4"))), Ok(4));
    }

    #[test]
    fn no_common_version_says_both_sides() {
        let error =
            choose_version(&Config::new("C", "v", &[5]), &offering(Some("4,3"))).map_err(|e| e.to_string());
        assert!(error.is_err_and(|text| text.contains("version 4,3,") && text.contains("speaks 5")));
        assert!(choose_version(&CONFIG(), &offering(Some("new"))).is_err());
    }

    #[test]
    fn a_host_that_offers_nothing_gets_the_lowest() {
        assert_eq!(choose_version(&CONFIG(), &offering(None)), Ok(4));
    }

    #[test]
    fn cookie() {
        let env = |cookie: Option<&str>| Environment {
            cookie: cookie.map(str::to_owned),
            ..Environment::default()
        };
        assert_eq!(check_cookie(&CONFIG(), &env(Some("yes"))), Ok(()));
        for wrong in [None, Some(""), Some("no")] {
            assert_eq!(
                check_cookie(&CONFIG(), &env(wrong)),
                Err(HandshakeError::NotAHost { cookie_key: "COOKIE" })
            );
        }
    }

    #[test]
    fn lines() {
        let socket = Path::new("/tmp/p.sock");
        assert_eq!(line(5, socket, None, None), "1|5|unix|/tmp/p.sock|grpc|\n");
        assert_eq!(line(5, socket, None, Some(false)), "1|5|unix|/tmp/p.sock|grpc||false\n");
        // One byte would be padded with two '=' in padded base64.
        let cert = CertificateDer::from(vec![0xff]);
        assert_eq!(line(5, socket, Some(&cert), None), "1|5|unix|/tmp/p.sock|grpc|/w\n");
        assert_eq!(line(5, socket, Some(&cert), Some(true)), "1|5|unix|/tmp/p.sock|grpc|/w|true\n");
    }

    #[test]
    fn empty_variables_count_as_absent() {
        let env = Environment::from_lookup("COOKIE", |name| match name {
            "PLUGIN_MULTIPLEX_GRPC" => Some("true".to_owned()),
            "PLUGIN_CLIENT_CERT" | "PLUGIN_UNIX_SOCKET_DIR" => Some(String::new()),
            _ => None,
        });
        assert!(env.wants_multiplexing());
        assert!(env.client_cert.is_none() && env.socket_dir.is_none());
    }
}
