//! From `main` to a served plugin.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use csi_proto::plugin::logical::plugin_version_server::PluginVersionServer;
use csi_proto::plugin::multiplexing::plugin_multiplexing_server::PluginMultiplexingServer;
use csi_proto::plugin::pb::backend_server::BackendServer;
use go_plugin::{Broker, Config, Stopped, handshake};
use tonic::service::Routes;

use crate::backend::{Backend, Setup};
use crate::legacy::{Start, UnwrapError};
use crate::service::Service;

/// How a plugin of Vault or OpenBao recognises its host; from the hosts' `sdk/plugin/serve.go`.
const COOKIE: (&str, &str) = ("VAULT_BACKEND_PLUGIN", "6669da05-b1c8-4f49-97d9-c8e5bed98e20");
/// Plugin protocol 5: AutoMTLS and multiplexing; Vault 1.12 and newer, every OpenBao. 3 and 4 are the same
/// services, one process per mount, started as [`crate::legacy`] says.
const PROTOCOLS: &[u32] = &[3, 4, 5];
/// Set to `true` by hosts that lock their memory; plugins hold the same secrets.
const MLOCK: &str = "VAULT_PLUGIN_MLOCK_ENABLED";

/// A plugin: its name, version and how to make an engine for a mount.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) factory: Arc<dyn Fn(&Setup) -> Backend + Send + Sync>,
}

impl Plugin {
    /// `version` is a semantic version with a leading `v`; a host that registers the plugin with
    /// another version refuses it. `factory` runs once per mount, before storage is available.
    pub fn new<F>(name: impl Into<String>, version: impl Into<String>, factory: F) -> Self
    where
        F: Fn(&Setup) -> Backend + Send + Sync + 'static,
    {
        Self { name: name.into(), version: version.into(), factory: Arc::new(factory) }
    }

    fn routes(self, broker: Broker, metadata_mode: bool) -> Routes {
        let service = Service::new(self, broker, metadata_mode);
        // Requests may be as large as the host lets them be.
        let backend = BackendServer::new(service.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        Routes::new(backend)
            .add_service(PluginVersionServer::new(service.clone()))
            .add_service(PluginMultiplexingServer::new(service))
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The plugin cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The plugin's version is not what hosts accept.
    #[error("plugin version \"{0}\" is not a semantic version with a leading v, like v1.2.3")]
    Version(String),
    /// Memory cannot be locked although the host wants it.
    #[error(
        "locking memory: {0}; grant the plugin CAP_IPC_LOCK or a larger memlock limit, or set disable_mlock \
         in the host"
    )]
    Mlock(io::Error),
    /// The async runtime cannot start.
    #[error("starting the runtime: {0}")]
    Runtime(io::Error),
    /// The host's certificate cannot be had.
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
    /// Handshake, socket or transport failed.
    #[error(transparent)]
    Plugin(#[from] go_plugin::ServeError),
}

/// Serves until the host ends the plugin. The handshake line goes to `stdout`.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    plugin: Plugin,
    start: &Start,
    stdout: &mut (dyn Write + Send),
) -> Result<Stopped, ServeError> {
    check_version(&plugin.version)?;
    let mut config = Config::new(COOKIE.0, COOKIE.1, PROTOCOLS);
    let version = check_host(&config, start)?;
    config.tls = start.shared_identity(version).await?;
    let routes = |broker| plugin.routes(broker, start.metadata_mode);
    Ok(go_plugin::serve(&config, &start.plugin, stdout, routes).await?)
}

/// The protocol version to speak with a host of ours.
fn check_host(config: &Config, start: &Start) -> Result<u32, go_plugin::ServeError> {
    handshake::check_cookie(config, &start.plugin)?;
    Ok(handshake::choose_version(config, &start.plugin)?)
}

/// The whole of `main`: logging, runtime, [`serve`]. Logs go to the host by stderr.
///
/// The arguments of the process are those the operator registered the plugin with: the TLS options
/// `-ca-cert`, `-ca-path`, `-client-cert`, `-client-key`, `-tls-server-name` and `-tls-skip-verify` count where
/// [`crate::legacy`] calls the host; others are passed over.
pub fn run(plugin: Plugin) -> ExitCode {
    let host = Start::of_process(COOKIE.0);
    // Before anything costs time: a host may start us only to see the cookie refused.
    if let Err(error) = check_host(&Config::new(COOKIE.0, COOKIE.1, PROTOCOLS), &host) {
        // For a person at a shell.
        let _ = writeln!(io::stderr(), "{error}");
        return ExitCode::FAILURE;
    }
    go_plugin::log::init();
    match start(plugin, &host) {
        Ok(stopped) => {
            tracing::debug!(?stopped, "bye");
            ExitCode::SUCCESS
        }
        Err(error) => {
            // A line that is not in the host's log format counts as a debug message there, and mostly goes unseen.
            tracing::error!(%error, "the plugin does not start");
            ExitCode::FAILURE
        }
    }
}

fn start(plugin: Plugin, start: &Start) -> Result<Stopped, ServeError> {
    if std::env::var(MLOCK).is_ok_and(|value| value == "true") {
        use rustix::mm::{MlockAllFlags, mlockall};
        mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)
            .map_err(|error| ServeError::Mlock(error.into()))?;
    }
    let name = plugin.name.clone();
    std::panic::set_hook(Box::new(move |panic| {
        // The default text starts a multi-line dump that hosts would log line by line. The payload
        // is left out: it can quote a value.
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(plugin = name, location, "panic");
    }));
    // Each thread is an arena of malloc's, and a host with many cores would give us many. Handlers wait most of their
    // time, so one thread serves them all; work that blocks, as key derivation does, goes to the other two.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let stopped = runtime.block_on(serve(plugin, start, &mut io::stdout()));
    // Requests had their time.
    runtime.shutdown_timeout(Duration::ZERO);
    stopped
}

fn check_version(version: &str) -> Result<(), ServeError> {
    let core = version.strip_prefix('v').unwrap_or_default().split(['-', '+']).next().unwrap_or_default();
    let mut parts =
        core.split('.').map(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let three = parts.next() == Some(true) && parts.next() == Some(true) && parts.next() == Some(true);
    match three && parts.next().is_none() {
        true => Ok(()),
        false => Err(ServeError::Version(version.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for good in ["v1.2.3", "v0.1.0-rc.1", "v1.2.3+build"] {
            assert!(check_version(good).is_ok(), "{good}");
        }
        for bad in ["1.2.3", "v1.2", "v1.2.3.4", "v1.x.3", "", "v", "v1..3"] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
    }

    async fn refused(variables: &[(&str, &str)]) -> String {
        let plugin = Plugin::new("x", "v1.0.0", |_| Backend::new(""));
        let start = Start::from_lookup(COOKIE.0, [], |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        });
        let mut out = Vec::new();
        let stopped = serve(plugin, &start, &mut out).await;
        assert!(out.is_empty());
        stopped.map_or_else(|error| error.to_string(), |stopped| format!("{stopped:?}"))
    }

    #[tokio::test]
    async fn a_person_at_a_shell() {
        assert!(refused(&[]).await.contains("VAULT_BACKEND_PLUGIN"));
    }

    #[tokio::test]
    async fn a_host_from_the_future() {
        let text = refused(&[COOKIE, ("PLUGIN_PROTOCOL_VERSIONS", "7,6")]).await;
        assert!(text.contains("version 7,6,") && text.contains("speaks 3, 4, 5"), "{text}");
    }

    /// Nothing is served in clear to a host that may send requests.
    #[tokio::test]
    async fn an_old_host_without_a_token() {
        let text = refused(&[COOKIE, ("PLUGIN_PROTOCOL_VERSIONS", "4,3")]).await;
        assert!(text.contains("VAULT_UNWRAP_TOKEN is not set") && text.contains("protocol 4"), "{text}");
        let text = refused(&[COOKIE, ("VAULT_UNWRAP_TOKEN", "")]).await;
        assert!(text.contains("VAULT_UNWRAP_TOKEN is not set") && text.contains("protocol 3"), "{text}");
        // AutoMTLS announced, and no certificate to do it with.
        for (version, certificate) in [("4", None), ("3", Some(("PLUGIN_CLIENT_CERT", "")))] {
            let said = [
                COOKIE,
                ("PLUGIN_PROTOCOL_VERSIONS", version),
                ("VAULT_PLUGIN_AUTOMTLS_ENABLED", "true"),
                certificate.unwrap_or_default(),
            ];
            let text = refused(&said).await;
            assert!(text.contains("VAULT_UNWRAP_TOKEN is not set") && text.contains(version), "{text}");
        }
    }
}
