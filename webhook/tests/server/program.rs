//! The program, running.

use crate::files::{Authority, Files};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Certificate, ClientBuilder};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Files are looked at every two seconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One that is killed at the end, whatever happens.
pub(crate) struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
    pub(crate) reviews: SocketAddr,
    monitoring: SocketAddr,
}

impl Program {
    /// Starts it and waits until it answers.
    pub(crate) fn start(files: &Files) -> Self {
        boathouse_service::tls::install_provider();
        let mut child = Command::new(env!("CARGO_BIN_EXE_boathouse-webhook"))
            .env_clear()
            .args(["serve", "--listen=127.0.0.1:0", "--metrics-addr=127.0.0.1:0", "--stop-delay=0s"])
            .arg("--tls-cert")
            .arg(files.path("tls.crt"))
            .arg("--tls-key")
            .arg(files.path("tls.key"))
            .arg("--instances")
            .arg(files.path("instances.yaml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut address = |of: &str| {
            let mut line = String::new();
            while !line.contains(of) {
                line.clear();
                assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended before it was {of}");
            }
            let (_, address) = line.trim_end().rsplit_once("addr=").unwrap();
            address.parse().unwrap()
        };
        let (monitoring, reviews) = (address("serving /metrics"), address("answering reviews"));
        Self { child, log, reviews, monitoring }
    }

    /// A client that trusts `authority` alone.
    pub(crate) fn client(&self, authority: &Authority) -> ClientBuilder {
        let root = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
        reqwest::Client::builder().no_proxy().tls_certs_only([root])
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.reviews)
    }

    pub(crate) async fn monitoring(&self, path: &str) -> String {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let answer = client.get(format!("http://{}{path}", self.monitoring)).send().await.unwrap();
        answer.text().await.unwrap()
    }

    /// Waits until /metrics has this line.
    pub(crate) async fn wait_for_metric(&self, line: &str) {
        let begun = Instant::now();
        loop {
            let text = self.monitoring("/metrics").await;
            if text.lines().any(|found| found == line) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "no {line} in {text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The most memory it has used (VmHWM of proc_pid_status(5)).
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end, while clients say good-bye. Gives how it ended, and the rest of its log.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        let ended = move || {
            let mut log = String::new();
            self.log.read_to_string(&mut log).unwrap();
            (self.child.wait().unwrap(), log)
        };
        tokio::task::spawn_blocking(ended).await.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
