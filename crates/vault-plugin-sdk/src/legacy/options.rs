//! The TLS options an operator registers a plugin with, for the call that exchanges the token.

use std::path::PathBuf;

/// As the hosts' own flags (`api/plugin_helpers.go`), with the environment variables that their API client
/// falls back to (`api/client.go`); plugins inherit the host's environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// PEM bundle of authorities; instead of the system's.
    pub(super) ca_cert: Option<PathBuf>,
    /// Directory of such bundles; ignored beside a `ca_cert`, as hosts do.
    pub(super) ca_path: Option<PathBuf>,
    /// PEM certificate to present.
    pub(super) client_cert: Option<PathBuf>,
    /// Its PEM key.
    pub(super) client_key: Option<PathBuf>,
    /// The name that the host's certificate must have, when it is not that of its address.
    pub(super) tls_server_name: Option<String>,
    /// Accept any certificate.
    pub(super) tls_skip_verify: bool,
}

impl Options {
    /// Arguments first, else variables. Arguments that are none of these are the plugin's own business and
    /// are passed over.
    pub(super) fn new(
        arguments: impl IntoIterator<Item = String>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let filled = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let mut options = Self {
            ca_cert: filled("VAULT_CACERT").map(PathBuf::from),
            ca_path: filled("VAULT_CAPATH").map(PathBuf::from),
            client_cert: filled("VAULT_CLIENT_CERT").map(PathBuf::from),
            client_key: filled("VAULT_CLIENT_KEY").map(PathBuf::from),
            tls_server_name: filled("VAULT_TLS_SERVER_NAME"),
            tls_skip_verify: filled("VAULT_SKIP_VERIFY").is_some_and(|value| is_true(&value)),
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if name == "tls-skip-verify" {
                // Go's boolean flags take no second word.
                options.tls_skip_verify = value.is_none_or(|value| is_true(&value));
                continue;
            }
            let known = ["ca-cert", "ca-path", "client-cert", "client-key", "tls-server-name"];
            if !known.contains(&name) {
                continue;
            }
            let Some(value) = value.or_else(|| arguments.next()).filter(|value| !value.is_empty()) else {
                continue;
            };
            match name {
                "ca-cert" => options.ca_cert = Some(value.into()),
                "ca-path" => options.ca_path = Some(value.into()),
                "client-cert" => options.client_cert = Some(value.into()),
                "client-key" => options.client_key = Some(value.into()),
                _ => options.tls_server_name = Some(value),
            }
        }
        options
    }
}

/// Go's `strconv.ParseBool`.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Options {
        Options::new(line.split_whitespace().map(str::to_owned), |_| None)
    }

    #[test]
    fn every_spelling() {
        let expected = Options {
            ca_cert: Some("/ca".into()),
            client_key: Some("/key".into()),
            tls_server_name: Some("vault".to_owned()),
            tls_skip_verify: true,
            ..Options::default()
        };
        for line in [
            "-ca-cert=/ca -client-key=/key -tls-server-name=vault -tls-skip-verify",
            "--ca-cert=/ca --client-key=/key --tls-server-name=vault --tls-skip-verify=true",
            "-ca-cert /ca -client-key /key -tls-server-name vault -tls-skip-verify=1",
            "--ca-cert /ca --client-key /key --tls-skip-verify --tls-server-name vault",
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
        let rest = parse("-ca-path=/dir -client-cert /cert -tls-skip-verify=false");
        assert_eq!((rest.ca_path, rest.client_cert), (Some("/dir".into()), Some("/cert".into())));
        assert!(!rest.tls_skip_verify);
    }

    #[test]
    fn what_is_not_known_does_no_harm() {
        for line in ["", "-", "--", "-debug", "--debug=1 word", "-ca-cert", "-tls-server-name="] {
            assert_eq!(parse(line), Options::default(), "{line}");
        }
        assert_eq!(parse("serve -verbose -ca-cert /ca x").ca_cert, Some("/ca".into()));
    }

    #[test]
    fn an_argument_is_before_a_variable() {
        let lookup = |name: &str| match name {
            "VAULT_CACERT" => Some("/from-env".to_owned()),
            "VAULT_CLIENT_CERT" => Some(String::new()),
            "VAULT_SKIP_VERIFY" => Some("TRUE".to_owned()),
            _ => None,
        };
        let options = Options::new(["-tls-skip-verify=0".to_owned()], lookup);
        assert_eq!(options.ca_cert, Some("/from-env".into()));
        assert!(options.client_cert.is_none() && !options.tls_skip_verify);
        let options = Options::new(["-ca-cert=/from-args".to_owned()], lookup);
        assert_eq!(options.ca_cert, Some("/from-args".into()));
        assert!(options.tls_skip_verify);
    }
}
