//! Flags and environment of `boathouse-webhook`.

use crate::certificate::CertificateArgs;
use crate::mutate::Output;
use boathouse_service::logs::LogArgs;
use clap::{Parser, Subcommand, ValueEnum, builder::PossibleValue};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use volume_spec::go_duration;

/// The mutating webhook of Boathouse: gives pods that ask for it their MinIO directories.
#[derive(Clone, Debug, Parser)]
#[command(name = "boathouse-webhook", version, disable_help_subcommand = true)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The two things the program does.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    // Without a comment here, their own are shown, whole.
    #[allow(missing_docs, reason = "shown in --help is that of the arguments")]
    Serve(ServeArgs),
    #[allow(missing_docs, reason = "shown in --help is that of the arguments")]
    Certificate(CertificateArgs),
}

/// Answer the API server's questions about pods
///
/// Paths: /mutate answers with the output that --output names, /mutate/flexvolume and /mutate/csi with theirs.
/// Certificate, key and instances file are read again when they change; while a new one is broken, the old one stays.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Durations are written as 90s, 5m, 1h30m.")]
pub struct ServeArgs {
    /// Address to answer on, over TLS
    #[arg(long, env = "BOATHOUSE_WEBHOOK_LISTEN", value_name = "ADDR", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// PEM file of the serving certificate, with its chain
    #[arg(long, env = "BOATHOUSE_WEBHOOK_TLS_CERT", value_name = "FILE")]
    pub tls_cert: PathBuf,

    /// PEM file of the certificate's private key
    #[arg(long, env = "BOATHOUSE_WEBHOOK_TLS_KEY", value_name = "FILE")]
    pub tls_key: PathBuf,

    /// The instances that pods get directories of, YAML or JSON
    #[arg(long, env = "BOATHOUSE_WEBHOOK_INSTANCES", value_name = "FILE")]
    pub instances: PathBuf,

    /// The kind of volume that pods get where neither path nor pod says which
    #[arg(
        long,
        env = "BOATHOUSE_WEBHOOK_OUTPUT",
        value_name = "OUTPUT",
        value_enum,
        default_value = "flexVolume"
    )]
    pub output: Output,

    /// How long to go on answering once asked to stop, so that the API server learns of it first
    #[arg(long, env = "BOATHOUSE_WEBHOOK_STOP_DELAY", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub stop_delay: Duration,

    /// Address of /metrics, /healthz and /readyz
    #[arg(long, env = "BOATHOUSE_METRICS_ADDR", value_name = "ADDR", default_value = "0.0.0.0:9812")]
    pub metrics_addr: SocketAddr,

    /// How and what to log
    #[command(flatten)]
    pub log: LogArgs,
}

impl ValueEnum for Output {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::FlexVolume, Self::Csi]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::FlexVolume => PossibleValue::new("flexVolume").help("The legacy driver's"),
            Self::Csi => PossibleValue::new("csi").help("Inline CSI"),
        })
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let nanos = go_duration::parse(text).map_err(|error| error.to_string())?;
    u64::try_from(nanos)
        .map(Duration::from_nanos)
        .map_err(|_| "write a duration of zero or more, such as 5s".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn bad_values_are_refused_with_the_reason() {
        let files = ["--tls-cert", "/c", "--tls-key", "/k", "--instances", "/i"];
        let parse = |more: &[&str]| {
            Args::try_parse_from([&["boathouse-webhook", "serve"], &files[..], more].concat())
        };
        assert!(parse(&["--output", "csi", "--stop-delay", "0s"]).is_ok());
        for (args, reason) in [
            (&["--output", "CSI"][..], "flexVolume"),
            (&["--stop-delay", "5"], "unit"),
            (&["--listen", "8443"], "--listen"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(reason), "{args:?}: {error}");
        }
    }
}
