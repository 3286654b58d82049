//! One OpenBao or Vault server with storage on disk, so that it can be stopped, started and sealed with its
//! data kept.

use super::tls::Tls;
use super::{Host, StackError, VaultAdmin, io, setup};
use crate::guard::{ProcessGuard, TempTree};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Somebody may take a free port before the server does.
const ATTEMPTS: u32 = 3;

/// An initialised, unsealed server.
#[derive(Debug)]
pub struct Bao {
    // Before the process: see `Drop` order in `Stack`.
    process: Option<ProcessGuard>,
    host: Host,
    directory: PathBuf,
    address: String,
    authority: Option<PathBuf>,
    unseal_key: SecretString,
    admin: VaultAdmin,
}

impl Bao {
    /// Starts and initialises a server with one unseal share. `plugin` is copied to its plugin directory.
    ///
    /// # Errors
    /// [`StackError`] with the end of the server's log.
    pub async fn start(host: Host, plugin: Option<&Path>, tree: &TempTree) -> Result<Self, StackError> {
        let mut attempt = 1;
        loop {
            let directory = tree.directory(&format!("host-{attempt}")).map_err(io("make", tree.path()))?;
            match Self::start_once(host.clone(), plugin, directory).await {
                Err(StackError::Process(_)) if attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn start_once(host: Host, plugin: Option<&Path>, directory: PathBuf) -> Result<Self, StackError> {
        for name in ["data", "plugins", "tmp"] {
            let path = directory.join(name);
            fs::create_dir(&path).map_err(io("make", &path))?;
        }
        if let Some(plugin) = plugin {
            install(plugin, &directory.join("plugins").join(setup::PLUGIN))?;
        }
        let port = crate::free_port().map_err(io("find a port for", &directory))?;
        let cluster = crate::free_port().map_err(io("find a port for", &directory))?;
        let tls = host.has_tls().then(|| Tls::make(&directory)).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://127.0.0.1:{port}");
        let mut config = json!({
            // One node that elects itself at once.
            "storage": { "raft": {
                "path": directory.join("data"), "node_id": "one", "performance_multiplier": "1",
            }},
            "listener": { "tcp": {
                "address": format!("127.0.0.1:{port}"),
                "cluster_address": format!("127.0.0.1:{cluster}"),
                "tls_disable": true,
            }},
            "plugin_directory": directory.join("plugins"),
            "api_addr": address,
            "cluster_addr": format!("https://127.0.0.1:{cluster}"),
            "log_level": "info",
        });
        if let Some(tls) = &tls {
            let tcp = &mut config["listener"]["tcp"];
            tcp["tls_disable"] = false.into();
            tcp["tls_cert_file"] = json!(tls.certificate);
            tcp["tls_key_file"] = json!(tls.key);
        }
        for (name, value) in host.settings().as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        let path = directory.join("config.json");
        fs::write(&path, config.to_string()).map_err(io("write", &path))?;
        let process = Self::spawn(&host, &directory)?;
        let mut bao = Self {
            process: Some(process),
            host,
            admin: VaultAdmin::new(&address, tls.as_ref().map(|tls| tls.authority.clone()))?,
            authority: tls.map(|tls| tls.authority_file),
            directory,
            address,
            unseal_key: SecretString::default(),
        };
        bao.answering().await?;
        let init = bao.admin.write("sys/init", &json!({ "secret_shares": 1, "secret_threshold": 1 })).await?;
        let text = |value: &Value, field: &'static str| {
            let text = value.as_str().map(SecretString::from);
            text.ok_or(StackError::Answer { operation: "POST sys/init".into(), field })
        };
        bao.unseal_key = text(&init["keys_base64"][0], "keys_base64")?;
        bao.admin = bao.admin.with_token(text(&init["root_token"], "root_token")?);
        bao.unseal().await?;
        Ok(bao)
    }

    fn spawn(host: &Host, directory: &Path) -> Result<ProcessGuard, StackError> {
        let mut command = Command::new(host.program());
        command.arg("server").arg("-config").arg(directory.join("config.json"));
        command.env_clear().env("HOME", directory).env("TMPDIR", directory.join("tmp"));
        command.envs(host.environment().iter().copied()).current_dir(directory);
        Ok(ProcessGuard::start(host.name(), command, &directory.join("log"))?)
    }

    fn process(&self) -> Result<&ProcessGuard, StackError> {
        self.process.as_ref().ok_or_else(|| StackError::Http {
            operation: self.host.name().into(),
            detail: "it was stopped by the test".into(),
        })
    }

    /// Waits until `ready` answers true.
    async fn until(&self, what: &str, ready: impl AsyncFn(&Self) -> bool) -> Result<(), StackError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if !self.process()?.is_running() {
                return Err(self.process()?.broken("ended while starting").into());
            }
            if ready(self).await {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.process()?.broken(format!("{what} within {START_LIMIT:?}")).into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn answering(&self) -> Result<(), StackError> {
        self.until("did not answer", async |bao| bao.admin.read("sys/seal-status").await.is_ok()).await
    }

    /// Registers the plugin it was started with, under the plugin's own name.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn register(&self) -> Result<(), StackError> {
        self.register_as(setup::PLUGIN, &self.entry(setup::PLUGIN)?).await
    }

    /// Copies another secrets engine to the plugin directory and registers it under `name`.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn add_plugin(&self, program: &Path, name: &str) -> Result<(), StackError> {
        self.register_as(name, &self.install(program, name)?).await
    }

    /// Copies a program to the plugin directory under the name `file`; gives the catalog entry to run it.
    ///
    /// # Errors
    /// [`StackError::Io`].
    pub fn install(&self, program: &Path, file: &str) -> Result<Value, StackError> {
        install(program, &self.directory.join("plugins").join(file))?;
        self.entry(file)
    }

    /// The catalog entry to run a program that lies in the plugin directory.
    ///
    /// # Errors
    /// [`StackError::Io`].
    pub fn entry(&self, file: &str) -> Result<Value, StackError> {
        let path = self.directory.join("plugins").join(file);
        let program = fs::read(&path).map_err(io("read", &path))?;
        Ok(json!({ "command": file, "sha256": hex::encode(Sha256::digest(&program)) }))
    }

    /// Registers a secrets engine under `name`.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn register_as(&self, name: &str, entry: &Value) -> Result<(), StackError> {
        self.admin.write(&format!("sys/plugins/catalog/secret/{name}"), entry).await.map(drop)
    }

    /// Ends the processes of a plugin; the next request starts it again, as the catalog has it then.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn reload(&self, plugin: &str) -> Result<(), StackError> {
        let body = json!({ "plugin": plugin });
        self.admin.call(reqwest::Method::PUT, "sys/plugins/reload/backend", Some(&body)).await.map(drop)
    }

    /// What it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// `http://127.0.0.1:<port>`, or `https://…`; the same for as long as this exists.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The certificate of the authority behind its own, in PEM; `None` without TLS.
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// Admin calls with the root token.
    pub fn admin(&self) -> &VaultAdmin {
        &self.admin
    }

    /// The server's process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(ProcessGuard::pid)
    }

    /// Process ids of the plugins it runs; those among them that it only asks what they are end soon. All files of
    /// the plugin count, whatever follows its name.
    pub fn plugins(&self) -> Vec<i32> {
        let Some(host) = self.pid() else { return Vec::new() };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                // State and parent follow the command in parentheses (proc(5)).
                let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
                let runs = fields.next().is_some_and(|state| state != "Z");
                runs && fields.next().is_some_and(|parent| parent == host.to_string())
            })
            .filter(|pid| program_of(*pid).is_some_and(|file| file.starts_with(setup::PLUGIN)))
            .collect()
    }

    /// The server's log, the plugin's lines in it.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Seals it: every request is answered 503 until [`Bao::unseal`].
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn seal(&self) -> Result<(), StackError> {
        self.admin.call(reqwest::Method::PUT, "sys/seal", None).await.map(drop)
    }

    /// Unseals it and waits until it is active.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn unseal(&self) -> Result<(), StackError> {
        let body = json!({ "key": self.unseal_key.expose_secret() });
        self.admin.call(reqwest::Method::PUT, "sys/unseal", Some(&body)).await?;
        // 200 is "initialised, unsealed, active"; a standby answers 429.
        self.until("was not active", async |bao| bao.admin.read("sys/health").await.is_ok()).await
    }

    /// Ends the server: connections are refused until [`Bao::restart`].
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again after [`Bao::stop`] and unseals it: same address, same data.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn restart(&mut self) -> Result<(), StackError> {
        self.stop();
        self.process = Some(Self::spawn(&self.host, &self.directory)?);
        self.answering().await?;
        self.unseal().await
    }

    /// Starts it again with these top-level settings in its configuration, in addition to what is there.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn reconfigure(&mut self, settings: &Value) -> Result<(), StackError> {
        let path = self.directory.join("config.json");
        let text = fs::read(&path).map_err(io("read", &path))?;
        let mut config: Value = serde_json::from_slice(&text).map_err(|error| StackError::Make {
            what: "the configuration of OpenBao",
            detail: error.to_string(),
        })?;
        for (name, value) in settings.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        fs::write(&path, config.to_string()).map_err(io("write", &path))?;
        self.restart().await
    }

    /// Freezes the server and its plugins: connections are accepted by the kernel, nothing is answered.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&self) -> Result<(), StackError> {
        Ok(self.process()?.pause()?)
    }

    /// Ends [`Bao::pause`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&self) -> Result<(), StackError> {
        Ok(self.process()?.resume()?)
    }
}

/// File name of what a process runs.
fn program_of(pid: i32) -> Option<String> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(program.file_name()?.to_string_lossy().into_owned())
}

/// Hosts refuse plugins through symbolic links, so the program is copied.
fn install(plugin: &Path, target: &Path) -> Result<(), StackError> {
    fs::copy(plugin, target).map_err(io("copy", plugin))?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o755)).map_err(io("make executable", target))
}
