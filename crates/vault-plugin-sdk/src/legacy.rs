//! Starting under hosts that speak plugin protocol 3 or 4: Vault before 1.12, and newer hosts whose
//! attempt at protocol 5 failed.
//!
//! Such a host starts the plugin twice. In *metadata mode* it only asks what the plugin is, in clear. For
//! requests it gives the plugin a wrapping token (a JWT that names the host's own address), and the plugin
//! exchanges it at that address for the certificate and key that both sides then present. From the hosts'
//! `sdk/helper/pluginutil/tls.go` and `api/plugin_helpers.go`.

mod options;
mod tls;

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use go_plugin::{Environment, MutualTls};
use reqwest::header::{HeaderMap, HeaderValue};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivateSec1KeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

pub(crate) use options::Options;

/// `true` while the host only asks what the plugin is.
const METADATA_MODE: &str = "VAULT_PLUGIN_METADATA_MODE";
/// The wrapping token.
const UNWRAP_TOKEN: &str = "VAULT_UNWRAP_TOKEN";
/// What a host exchanges the token at.
const UNWRAP: &str = "v1/sys/wrapping/unwrap";
/// The first protocol version whose hosts protect connections by AutoMTLS alone.
const FIRST_WITHOUT_TOKEN: u32 = 5;
/// Bounds TCP and TLS set-up of the exchange.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bounds the whole exchange. The host gives a plugin a minute to start, and the token as long to live.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Longest answer that is read, in bytes. A certificate and a key take two thousand.
const ANSWER_LIMIT: usize = 64 << 10;

/// What a host tells a plugin when it starts it.
#[derive(Debug, Default)]
pub struct Start {
    /// What any go-plugin host says.
    pub plugin: Environment,
    /// The host only asks what the plugin is: nothing is protected, and no request is answered.
    pub(crate) metadata_mode: bool,
    token: Option<SecretString>,
    options: Options,
}

impl Start {
    /// As this process was started, with its environment and arguments.
    pub fn of_process(cookie_key: &str) -> Self {
        let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        Self::from_lookup(cookie_key, arguments, |name| std::env::var(name).ok())
    }

    /// With these arguments and the variables that `lookup` gives.
    pub fn from_lookup(
        cookie_key: &str,
        arguments: impl IntoIterator<Item = String>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let is_true = |name: &str| lookup(name).is_some_and(|value| value == "true");
        Self {
            plugin: Environment::from_lookup(cookie_key, &lookup),
            metadata_mode: is_true(METADATA_MODE),
            token: lookup(UNWRAP_TOKEN).filter(|token| !token.is_empty()).map(SecretString::from),
            options: Options::new(arguments, lookup),
        }
    }

    /// The identity that host and plugin share; `None` when protocol `version` and the host's words ask for
    /// none.
    ///
    /// # Errors
    /// [`UnwrapError`], after 20 s at most.
    pub(crate) async fn shared_identity(&self, version: u32) -> Result<Option<MutualTls>, UnwrapError> {
        // Only a certificate protects: a host that announces AutoMTLS (VAULT_PLUGIN_AUTOMTLS_ENABLED) and gives none
        // would be served in clear.
        let automatic = self.plugin.client_cert.is_some();
        if version >= FIRST_WITHOUT_TOKEN || automatic || self.metadata_mode {
            return Ok(None);
        }
        let token = self.token.as_ref().ok_or(UnwrapError::NoToken { version })?;
        let address = address(token)?;
        unwrap(&address, token, &self.options).await.map(Some)
    }
}

/// The host's certificate and key cannot be had. No text of it holds the token or the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// The host gave neither a certificate nor a token.
    #[error(
        "{UNWRAP_TOKEN} is not set: a host of plugin protocol {version} sets it for every start that is to \
         serve requests"
    )]
    NoToken {
        /// The protocol version agreed on.
        version: u32,
    },
    /// The token is no JWT, or lacks something.
    #[error("{UNWRAP_TOKEN}: {0}")]
    Token(&'static str),
    /// The token's address is not one that can be called.
    #[error(
        "{UNWRAP_TOKEN}: its claim addr, {address:?}, is not an http or https address; correct api_addr in \
         the host's configuration"
    )]
    Address {
        /// The claim.
        address: String,
    },
    /// A TLS option says something that cannot be done.
    #[error("{option}: {reason}")]
    Option {
        /// The option's name, with the dash.
        option: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A TLS option names a file that cannot be read.
    #[error("{option} {}: {source}", path.display())]
    File {
        /// The option's name, with the dash.
        option: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// TLS or the resolver cannot be set up.
    #[error("HTTP client for {UNWRAP}: {0}")]
    Setup(String),
    /// The host cannot be reached, or its answer broke off.
    #[error(
        "PUT {address}/{UNWRAP}: {reason}; the host's api_addr must be reachable from its own machine, and \
         its certificate trusted (-ca-cert, -tls-skip-verify)"
    )]
    Unreachable {
        /// The host's `api_addr`.
        address: String,
        /// The innermost cause.
        reason: String,
    },
    /// The host refused the token.
    #[error("PUT {address}/{UNWRAP}: status {status}; a token is good for one use and for one minute")]
    Refused {
        /// The host's `api_addr`.
        address: String,
        /// The HTTP status.
        status: u16,
    },
    /// The host's answer is not what it should be.
    #[error("PUT {address}/{UNWRAP}: the answer {reason}")]
    Answer {
        /// The host's `api_addr`.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Certificate and key are there and do not work.
    #[error("the certificate and key from {address}/{UNWRAP}: {source}")]
    Identity {
        /// The host's `api_addr`.
        address: String,
        /// What the TLS library says.
        source: go_plugin::tls::TlsError,
    },
}

/// The claims that are looked at.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    addr: String,
}

/// The host's address in the token. Whether the token is genuine is the host's question, not ours.
fn address(token: &SecretString) -> Result<String, UnwrapError> {
    let mut parts = token.expose_secret().trim().split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(UnwrapError::Token("not a JWT, which has three parts with dots between them"));
    };
    let payload = URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .map(Zeroizing::new)
        .map_err(|_| UnwrapError::Token("the JWT's claims are not base64"))?;
    let claims: Claims = serde_json::from_slice(&payload)
        .map_err(|_| UnwrapError::Token("the JWT's claims are not a JSON object with a text addr"))?;
    match claims.addr.trim_end_matches('/') {
        "" => Err(UnwrapError::Token("the JWT has no claim addr; set api_addr in the host's configuration")),
        addr if addr.starts_with("http://") || addr.starts_with("https://") => Ok(addr.to_owned()),
        addr => Err(UnwrapError::Address { address: addr.to_owned() }),
    }
}

/// The part of the answer that is looked at. Both are base64 of DER.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Pair<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair<'a> {
    // Borrowed, so that the key is nowhere but in the answer. JSON does not escape base64's letters.
    server_cert: &'a str,
    server_key: &'a str,
}

/// Exchanges the token for an identity.
async fn unwrap(address: &str, token: &SecretString, options: &Options) -> Result<MutualTls, UnwrapError> {
    let answer = exchange(address, token, options).await?;
    let wrong = |reason| UnwrapError::Answer { address: address.to_owned(), reason };
    let answer: Answer<'_> = serde_json::from_slice(&answer)
        .map_err(|_| wrong("is not JSON with ServerCert and ServerKey in its data"))?;
    let pair = answer.data.ok_or_else(|| wrong("has no data"))?;
    let certificate =
        STANDARD.decode(pair.server_cert).map_err(|_| wrong("has a ServerCert that is not base64"))?;
    // The TLS library takes it over.
    let key = STANDARD.decode(pair.server_key).map_err(|_| wrong("has a ServerKey that is not base64"))?;
    let key = PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(key));
    MutualTls::shared(CertificateDer::from(certificate), key)
        .map_err(|source| UnwrapError::Identity { address: address.to_owned(), source })
}

async fn exchange(
    address: &str,
    token: &SecretString,
    options: &Options,
) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(options, address.starts_with("https://"))?)
        .hickory_dns(true)
        .no_proxy()
        // The token is for this address alone.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| UnwrapError::Setup(cause(&error)))?;
    let mut header = HeaderValue::from_str(token.expose_secret().trim())
        .map_err(|_| UnwrapError::Token("the JWT has characters that no HTTP header takes"))?;
    header.set_sensitive(true);
    let headers = HeaderMap::from_iter([(reqwest::header::HeaderName::from_static("x-vault-token"), header)]);
    let unreachable = |error: &reqwest::Error| UnwrapError::Unreachable {
        address: address.to_owned(),
        reason: cause(error),
    };
    let mut answer = client
        .put(format!("{address}/{UNWRAP}"))
        .headers(headers)
        .send()
        .await
        .map_err(|error| unreachable(&error))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(UnwrapError::Refused { address: address.to_owned(), status: status.as_u16() });
    }
    // As large as it may become, so that it is never moved and left behind in memory.
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return Err(UnwrapError::Answer { address: address.to_owned(), reason: "is too long" });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Why a call failed, in the words of the innermost cause: the outer ones repeat the address.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut text = "request failed".to_owned();
    let mut next = error.source();
    while let Some(source) = next {
        text = source.to_string();
        next = source.source();
    }
    text
}
