//! The webhook, running as it would in a pod.

use anyhow::Context as _;
use boathouse_testkit::guard::{ProcessGuard, TempTree};
use boathouse_testkit::programs::Programs;
use nix::unistd::{SysconfVar, sysconf};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(10);

pub(super) struct Server {
    process: ProcessGuard,
    pub(super) port: u16,
    pub(super) certificate: CertificateDer<'static>,
    _tree: TempTree,
}

impl Server {
    pub(super) fn start(programs: &Programs) -> anyhow::Result<Self> {
        let tree = TempTree::new().context("make a directory")?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.self_signed(&key)?;
        let [certificate_file, key_file] = ["tls.crt", "tls.key"].map(|name| tree.path().join(name));
        fs::write(&certificate_file, certificate.pem())?;
        fs::write(&key_file, key.serialize_pem())?;
        let [port, monitoring] = [boathouse_testkit::free_port()?, boathouse_testkit::free_port()?];
        let mut command = Command::new(&programs.webhook);
        command.env_clear().arg("serve");
        command.arg(format!("--listen=127.0.0.1:{port}"));
        command.arg(format!("--metrics-addr=127.0.0.1:{monitoring}"));
        command.arg("--tls-cert").arg(certificate_file).arg("--tls-key").arg(key_file);
        command.arg("--instances").arg(boathouse_testkit::repository().join("webhook/instances.yaml"));
        let process = ProcessGuard::start("webhook", command, &tree.path().join("webhook.log"))?;
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > START || !process.is_running() {
                return Err(process.broken("does not listen").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { process, port, certificate: certificate.der().clone(), _tree: tree })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Processor time since its start, of all threads, in user mode and in the kernel.
    pub(super) fn processor_time(&self) -> anyhow::Result<Duration> {
        let path = format!("/proc/{}/stat", self.pid());
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let ticks = ticks(&text).with_context(|| format!("{path} has no times"))?;
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the length of a tick is unknown")?;
        Ok(Duration::from_secs(1) * u32::try_from(ticks)? / u32::try_from(per_second)?)
    }
}

/// utime and stime, fields 14 and 15 of proc_pid_stat(5). The second field, in parentheses, may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_past_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 250 31 0 0 20 0 3 0";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("7 (a) S 1"), None);
    }
}
