//! One MinIO server on one directory.

use super::tls::Tls;
use super::{StackError, http, io};
use crate::guard::{ProcessGuard, TempTree};
use minio_admin::{Client, Credentials, Endpoint};
use rusty_s3::{Bucket, S3Action as _, UrlStyle};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(30);
/// Where nobody but this machine reaches it.
pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const POLL: Duration = Duration::from_millis(20);
const ATTEMPTS: u32 = 3;
/// How long a signed request may be sent.
const SIGNED_FOR: Duration = Duration::from_secs(60);

/// Where a server that speaks TLS finds its certificate, in its directory.
const CERTIFICATES: &str = "certificates";

/// A running server.
#[derive(Debug)]
pub struct Minio {
    process: Option<ProcessGuard>,
    program: PathBuf,
    directory: PathBuf,
    /// Address it listens at. Its own requests always go to loopback.
    listens: IpAddr,
    port: u16,
    root_user: String,
    root_password: SecretString,
    /// PEM file with the authority of its certificate; none while it speaks plain http.
    ca_file: Option<PathBuf>,
    admin: Client,
    http: reqwest::Client,
}

impl Minio {
    /// Starts a server with random root keys and waits until it serves.
    ///
    /// # Errors
    /// [`StackError`] with the end of the server's log.
    pub async fn start(program: &Path, tree: &TempTree) -> Result<Self, StackError> {
        Self::start_at(LOCAL, program, tree).await
    }

    /// As [`Minio::start`], listening at `address`.
    ///
    /// # Errors
    /// [`StackError`] with the end of the server's log.
    pub(super) async fn start_at(
        address: IpAddr,
        program: &Path,
        tree: &TempTree,
    ) -> Result<Self, StackError> {
        Self::attempt(program, tree, "minio", address, false).await
    }

    /// As [`Minio::start`] beside others, serving TLS with a certificate of an authority of its own:
    /// see [`Minio::ca_file`].
    ///
    /// # Errors
    /// [`StackError`] with the end of the server's log.
    pub async fn start_over_tls(program: &Path, tree: &TempTree, name: &str) -> Result<Self, StackError> {
        Self::attempt(program, tree, name, LOCAL, true).await
    }

    async fn attempt(
        program: &Path,
        tree: &TempTree,
        name: &str,
        listens: IpAddr,
        tls: bool,
    ) -> Result<Self, StackError> {
        let mut attempt = 1;
        loop {
            let directory = tree.directory(&format!("{name}-{attempt}")).map_err(io("make", tree.path()))?;
            match Self::start_once(program, directory, listens, tls).await {
                Err(StackError::Process(_)) if attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn start_once(
        program: &Path,
        directory: PathBuf,
        listens: IpAddr,
        tls: bool,
    ) -> Result<Self, StackError> {
        let port = crate::free_port().map_err(io("find a port for", &directory))?;
        let root_user = format!("root-{}", crate::random_hex(4));
        let root_password = SecretString::from(crate::random_hex(16));
        let endpoint = Endpoint::new(&format!("127.0.0.1:{port}"), tls)?;
        let admin = Client::builder(endpoint, Credentials::new(root_user.clone(), root_password.clone()));
        let tls = if tls { Some(certificate(&directory)?) } else { None };
        let admin = match &tls {
            Some(tls) => {
                let file = &tls.authority_file;
                admin.ca_certificates(fs::read(file).map_err(io("read", file))?)
            }
            None => admin,
        };
        let mut minio = Self {
            process: None,
            program: program.to_owned(),
            directory,
            listens,
            port,
            root_user,
            root_password,
            admin: admin.build()?,
            http: http::client(tls.as_ref().map(|tls| tls.authority.clone()))?,
            ca_file: tls.map(|tls| tls.authority_file),
        };
        minio.restart().await?;
        Ok(minio)
    }

    /// Ends the server: connections are refused until [`Minio::restart`].
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it (again): same address, same keys, same data.
    ///
    /// # Errors
    /// [`StackError`] with the end of the server's log.
    pub async fn restart(&mut self) -> Result<(), StackError> {
        self.stop();
        let mut command = Command::new(&self.program);
        command.args([
            "server",
            "--quiet",
            "--address",
            &SocketAddr::new(self.listens, self.port).to_string(),
        ]);
        if self.ca_file.is_some() {
            command.arg("--certs-dir").arg(self.directory.join(CERTIFICATES));
        }
        command.arg(self.directory.join("data"));
        command
            .env_clear()
            .env("HOME", &self.directory)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off");
        command.env("MINIO_ROOT_USER", &self.root_user);
        command.env("MINIO_ROOT_PASSWORD", self.root_password.expose_secret());
        command.current_dir(&self.directory);
        let process = ProcessGuard::start("MinIO", command, &self.directory.join("log"))?;
        self.ready(&process).await?;
        self.process = Some(process);
        Ok(())
    }

    async fn ready(&self, process: &ProcessGuard) -> Result<(), StackError> {
        let deadline = Instant::now() + START_LIMIT;
        let address = format!("{}/minio/health/ready", self.url());
        loop {
            if !process.is_running() {
                return Err(process.broken("ended while starting").into());
            }
            let healthy = http::send("GET health".into(), self.http.get(&address)).await.is_ok();
            // Users are read from the drive a moment after the server says it is healthy.
            if healthy && self.admin.list_users().await.is_ok() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(process.broken(format!("was not ready within {START_LIMIT:?}")).into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Freezes the server: connections are accepted by the kernel, nothing is answered.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&self) -> Result<(), StackError> {
        Ok(self.process()?.pause()?)
    }

    /// Ends [`Minio::pause`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&self) -> Result<(), StackError> {
        Ok(self.process()?.resume()?)
    }

    fn process(&self) -> Result<&ProcessGuard, StackError> {
        self.process.as_ref().ok_or_else(|| StackError::Http {
            operation: "MinIO".into(),
            detail: "it was stopped by the test".into(),
        })
    }

    /// The server's process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(ProcessGuard::pid)
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// `127.0.0.1:<port>`.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:<port>`, or https.
    pub fn url(&self) -> String {
        let scheme = if self.ca_file.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// PEM file with the authority of its certificate; none while it speaks plain http.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Root's access key.
    pub fn root_user(&self) -> &str {
        &self.root_user
    }

    /// Root's secret key.
    pub fn root_password(&self) -> &SecretString {
        &self.root_password
    }

    /// The admin API as root.
    pub fn admin(&self) -> &Client {
        &self.admin
    }

    /// What the secrets engine's `config` takes: this server, called as root.
    pub fn engine_config(&self) -> Value {
        json!({
            "endpoint": self.authority(),
            "accessKeyId": self.root_user,
            "secretAccessKey": self.root_password.expose_secret(),
            "useSSL": self.ca_file.is_some(),
        })
    }

    /// Access keys of the service accounts on the server's drive: no admin call lists those of all users.
    ///
    /// # Errors
    /// When the drive cannot be read.
    pub fn service_accounts(&self) -> Result<Vec<String>, StackError> {
        let folder = self.directory.join("data/.minio.sys/config/iam/service-accounts");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // Before the first one.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io("list", &folder)(error)),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect::<std::io::Result<_>>().map_err(io("list", &folder))
    }

    fn bucket(&self, name: &str) -> Result<(Bucket, rusty_s3::Credentials), StackError> {
        let make = |detail: String| StackError::Make { what: "an S3 request", detail };
        let url = self.url().parse().map_err(|error: url::ParseError| make(error.to_string()))?;
        let bucket = Bucket::new(url, UrlStyle::Path, name.to_owned(), "us-east-1")
            .map_err(|error| make(error.to_string()))?;
        Ok((bucket, rusty_s3::Credentials::new(&self.root_user, self.root_password.expose_secret())))
    }

    /// Reads an object as another user, for instance one that the secrets engine made.
    ///
    /// # Errors
    /// [`StackError`]; a user that does not exist or may not is refused with status 403.
    pub async fn get_object_as(
        &self,
        user: &str,
        secret: &SecretString,
        bucket: &str,
        key: &str,
    ) -> Result<Vec<u8>, StackError> {
        let (s3, _) = self.bucket(bucket)?;
        let keys = rusty_s3::Credentials::new(user, secret.expose_secret());
        let url = s3.get_object(Some(&keys), key).sign(SIGNED_FOR);
        http::send(format!("get {bucket}/{key} as {user}"), self.http.get(url)).await
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// [`StackError`]; one that exists is refused with status 409.
    pub async fn create_bucket(&self, name: &str) -> Result<(), StackError> {
        let (bucket, keys) = self.bucket(name)?;
        let url = bucket.create_bucket(&keys).sign(SIGNED_FOR);
        http::send(format!("make bucket {name}"), self.http.put(url)).await.map(drop)
    }

    /// Removes an empty bucket.
    ///
    /// # Errors
    /// [`StackError`]; one that is not empty is refused with status 409.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), StackError> {
        let (bucket, keys) = self.bucket(name)?;
        let url = bucket.delete_bucket(&keys).sign(SIGNED_FOR);
        http::send(format!("remove bucket {name}"), self.http.delete(url)).await.map(drop)
    }

    /// Writes an object, past any mount.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn put_object(&self, bucket: &str, key: &str, content: &[u8]) -> Result<(), StackError> {
        let (s3, keys) = self.bucket(bucket)?;
        let url = s3.put_object(Some(&keys), key).sign(SIGNED_FOR);
        let request = self.http.put(url).body(content.to_vec());
        http::send(format!("put {bucket}/{key}"), request).await.map(drop)
    }

    /// Reads an object, past any mount.
    ///
    /// # Errors
    /// [`StackError`]; one that does not exist is refused with status 404.
    pub async fn get_object(&self, bucket: &str, key: &str) -> Result<Vec<u8>, StackError> {
        let (s3, keys) = self.bucket(bucket)?;
        let url = s3.get_object(Some(&keys), key).sign(SIGNED_FOR);
        http::send(format!("get {bucket}/{key}"), self.http.get(url)).await
    }
}

/// Makes a certificate, under the names that MinIO looks for.
fn certificate(directory: &Path) -> Result<Tls, StackError> {
    let folder = directory.join(CERTIFICATES);
    fs::create_dir(&folder).map_err(io("make", &folder))?;
    let tls = Tls::make(directory)?;
    for (made, name) in [(&tls.certificate, "public.crt"), (&tls.key, "private.key")] {
        fs::copy(made, folder.join(name)).map_err(io("copy", made))?;
    }
    Ok(tls)
}
