//! goofys, started by hand as root with static keys: as fast as this machine mounts a bucket.

use super::{OBJECTS, first_byte, quiet};
use anyhow::{Context as _, bail};
use boathouse_testkit::parts::Parts;
use boathouse_testkit::stack::{Stack, Tenant};
use nix::mount::{MntFlags, umount2};
use secrecy::{ExposeSecret as _, SecretString};
use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often is looked whether goofys has mounted. It adds half of that to the time on average.
const POLL: Duration = Duration::from_micros(100);
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(super) struct Raw {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    program: PathBuf,
    access_key: String,
    secret_key: SecretString,
    directory: PathBuf,
    log: PathBuf,
}

/// Killed when it is dropped, its mount detached.
struct Goofys<'a> {
    child: Child,
    shared: &'a Shared,
}

impl Drop for Goofys<'_> {
    fn drop(&mut self) {
        // Not mounted is what is wanted.
        let _ = umount2(&self.shared.directory, MntFlags::MNT_DETACH);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Raw {
    /// Keys of the same kind as ours: a user the engine made, with the tenant's policy, that lives for the run.
    pub(super) async fn new(stack: &Stack, tenant: &Tenant, parts: &Parts) -> anyhow::Result<Self> {
        let answer = stack.vault().read(&tenant.vault_path).await?;
        let field = |name: &str| {
            let text = answer["data"][name].as_str();
            text.map(str::to_owned).with_context(|| format!("{} has no {name}", tenant.vault_path))
        };
        let directory = stack.tree().directory("raw/mount")?;
        Ok(Self {
            shared: Arc::new(Shared {
                program: parts.goofys.clone(),
                access_key: field("accessKeyId")?,
                secret_key: field("secretAccessKey")?.into(),
                log: directory.with_file_name("log"),
                directory,
            }),
        })
    }

    /// The MinIO user whose keys these are.
    pub(super) fn user(&self) -> &str {
        &self.shared.access_key
    }

    /// Mounts with these arguments (the mount point behind them), reads, and takes the mount down again.
    pub(super) async fn measure(&self, arguments: &[OsString]) -> anyhow::Result<Duration> {
        let (shared, arguments) = (self.shared.clone(), arguments.to_vec());
        quiet().await;
        tokio::task::spawn_blocking(move || shared.measure(&arguments)).await?
    }
}

impl Shared {
    fn measure(&self, arguments: &[OsString]) -> anyhow::Result<Duration> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg(&self.directory)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", &self.access_key)
            .env("AWS_SECRET_ACCESS_KEY", self.secret_key.expose_secret());
        let object = self.directory.join(OBJECTS[0]);
        let began = Instant::now();
        let child = command.spawn().with_context(|| format!("start {}", self.program.display()))?;
        let mut goofys = Goofys { child, shared: self };
        loop {
            match first_byte(&object) {
                Ok(()) => break,
                // Not mounted yet.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => bail!("read {}: {error}; goofys said:\n{}", object.display(), self.said()),
            }
            if let Some(status) = goofys.child.try_wait()? {
                bail!("goofys ended with {status} before it had mounted:\n{}", self.said());
            }
            if began.elapsed() >= LIMIT {
                bail!("goofys has not mounted within {LIMIT:?}:\n{}", self.said());
            }
            std::thread::sleep(POLL);
        }
        let took = began.elapsed();
        umount2(&self.directory, MntFlags::empty()).context("unmount raw goofys")?;
        let deadline = Instant::now() + LIMIT;
        while goofys.child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                bail!("goofys still ran {LIMIT:?} after its mount was gone");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(took)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
