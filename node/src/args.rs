//! Flags and environment of `boathouse-node`.

use crate::kubelet::flex_driver::InstallDir;
use boathouse_service::logs::LogArgs;
use boathouse_service::uds::Endpoint as Socket;
use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory as _, Parser, ValueEnum};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;
use volume_spec::fence::{LEGACY_TEMPLATE, PathTemplate};
use volume_spec::{Endpoint, Region, go_duration};

/// The CSI node plugin of boathouse.statcan.gc.ca: mounts S3/MinIO buckets for pods, with keys that Vault makes
/// for each pod, rotates and revokes. Needs root and /dev/fuse. May be killed at any time: mounts go on without
/// it, and the next start takes them over.
#[derive(Clone, Debug, Parser)]
#[command(name = "boathouse-node", version, after_help = IDENTITY_HELP, args_override_self = true)]
pub struct Args {
    /// Unix socket to serve CSI on, for kubelet; made with mode 0600
    #[arg(
        long,
        env = "CSI_ENDPOINT",
        value_name = "SOCKET",
        default_value = "unix:///var/lib/kubelet/plugins/boathouse.statcan.gc.ca/csi.sock"
    )]
    pub endpoint: Socket,

    /// Name of this node, as NodeGetInfo answers it
    #[arg(long, env = "NODE_NAME", value_name = "NAME", default_value_t = hostname())]
    pub node_id: String,

    /// Directory for mounts and installed programs; on a disk, holds no secret. Every directory above it must be
    /// searchable for others (mode o+x), because the FUSE daemons are not root
    #[arg(long, env = "BOATHOUSE_STATE_DIR", value_name = "DIR", default_value = "/var/lib/boathouse")]
    pub state_dir: PathBuf,

    /// Directory for what must not reach a disk: notes of tokens that are not revoked yet. Must be on a tmpfs
    #[arg(long, env = "BOATHOUSE_RUN_DIR", value_name = "DIR", default_value = "/run/boathouse")]
    pub run_dir: PathBuf,

    /// The keeper's binary; installed below the state directory at start
    #[arg(long, env = "BOATHOUSE_KEEPER", value_name = "FILE", default_value_os_t = beside("boathouse-keeper"))]
    pub keeper: PathBuf,

    /// The FUSE daemon's binary; installed below the state directory at start
    #[arg(long, env = "BOATHOUSE_GOOFYS", value_name = "FILE", default_value_os_t = beside("goofys"))]
    pub goofys: PathBuf,

    /// Users the FUSE daemons run as, one each, as FIRST-LAST; no other process should use them
    #[arg(
        long,
        env = "BOATHOUSE_DAEMON_UIDS",
        value_name = "FIRST-LAST",
        default_value = "64000000-64065535",
        value_parser = uid_range
    )]
    pub daemon_uids: RangeInclusive<u32>,

    /// Memory one FUSE daemon may use, as 512Mi or 1Gi; it is killed when it needs more. 0 for no limit
    #[arg(long, env = "BOATHOUSE_MOUNT_MEMORY_LIMIT", value_name = "SIZE", default_value = "512Mi", value_parser = memory)]
    pub mount_memory_limit: u64,

    /// Threads and processes one FUSE daemon may have. 0 for no limit
    #[arg(long, env = "BOATHOUSE_MOUNT_PIDS_LIMIT", value_name = "COUNT", default_value = "512", value_parser = pids)]
    pub mount_pids_limit: u64,

    /// Kubelet's plugins_registry directory: registers the driver there, in place of a registrar beside this program
    #[arg(long, env = "BOATHOUSE_REGISTRATION_DIR", value_name = "DIR")]
    pub registration_dir: Option<PathBuf>,

    /// Once kubelet has registered the driver, remove the taint boathouse.statcan.gc.ca/not-ready from this node.
    /// Only with --registration-dir and in a pod, whose service account must be allowed to get and patch nodes
    #[arg(
        long,
        env = "BOATHOUSE_REMOVE_STARTUP_TAINT",
        value_name = "true|false",
        default_value = "true",
        action = ArgAction::Set,
        value_parser = BoolishValueParser::new()
    )]
    pub remove_startup_taint: bool,

    /// Say in the pod's events why an optional volume is an empty directory, and when it is not any more. Only in a pod,
    /// whose service account must be allowed to create events
    #[arg(
        long,
        env = "BOATHOUSE_POD_EVENTS",
        value_name = "true|false",
        default_value = "true",
        action = ArgAction::Set,
        value_parser = BoolishValueParser::new()
    )]
    pub pod_events: bool,

    /// Vault or OpenBao server, scheme, host and port only
    #[arg(long, env = "VAULT_ADDR", value_name = "URL", default_value = "https://127.0.0.1:8200")]
    pub vault_addr: Url,

    /// PEM bundle of the only authorities to trust for Vault; the system's without it
    #[arg(long, env = "VAULT_CACERT", value_name = "FILE")]
    pub vault_ca_file: Option<PathBuf>,

    /// Vault namespace
    #[arg(long, env = "VAULT_NAMESPACE", value_name = "NAMESPACE")]
    pub vault_namespace: Option<String>,

    /// Bound of one Vault call
    #[arg(long, env = "BOATHOUSE_VAULT_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub vault_timeout: Duration,

    /// Vault auth mount where service-account tokens log in
    #[arg(long, env = "BOATHOUSE_VAULT_AUTH_MOUNT", value_name = "MOUNT", default_value = "kubernetes")]
    pub vault_auth_mount: String,

    /// Auth plugin on that mount
    #[arg(long, env = "BOATHOUSE_VAULT_AUTH_KIND", value_enum, default_value_t = AuthKind::Kubernetes)]
    pub vault_auth_kind: AuthKind,

    /// Role on that mount for pods' logins
    #[arg(long, env = "BOATHOUSE_VAULT_ROLE", value_name = "ROLE", default_value = "boathouse")]
    pub vault_role: String,

    /// Audience of the service-account tokens, as in tokenRequests of the CSIDriver object
    #[arg(long, env = "BOATHOUSE_TOKEN_AUDIENCE", value_name = "AUDIENCE", default_value = "vault")]
    pub token_audience: String,

    /// Accept a token that comes without the pod's namespace and service account beside it (podInfoOnMount). For
    /// conformance tests and orchestrators that send none
    #[arg(long, env = "BOATHOUSE_ALLOW_MISSING_POD_INFO", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub allow_missing_pod_info: bool,

    /// Vault path for volumes without `vault-path`, with {namespace} for the pod's namespace, such as
    /// minio/keys/profile-{namespace}
    #[arg(long, env = "BOATHOUSE_DEFAULT_VAULT_PATH", value_name = "TEMPLATE", value_parser = PathTemplate::parse)]
    pub default_vault_path: Option<PathTemplate>,

    /// S3 server of volumes without `endpoint`; AWS S3 in the volume's region without it
    #[arg(long, env = "BOATHOUSE_S3_ENDPOINT", value_name = "URL", value_parser = Endpoint::parse)]
    pub s3_endpoint: Option<Endpoint>,

    /// Region of volumes without `region`
    #[arg(long, env = "BOATHOUSE_S3_REGION", value_name = "REGION", default_value = "us-east-1", value_parser = Region::parse)]
    pub s3_region: Region,

    /// PEM bundle of the only authorities to trust for https S3 servers; the system's without it
    #[arg(long, env = "BOATHOUSE_S3_CA_FILE", value_name = "FILE")]
    pub s3_ca_file: Option<PathBuf>,

    /// Directory of further PEM bundles, `<name>.pem` each: a volume with `ca: <name>` trusts the authorities in that one
    /// and no others. Read at each new mount; may be a mounted ConfigMap
    #[arg(long, env = "BOATHOUSE_S3_CA_DIR", value_name = "DIR")]
    pub s3_ca_dir: Option<PathBuf>,

    /// How long an S3 server may take to answer the first request of a mount
    #[arg(long, env = "BOATHOUSE_S3_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub s3_timeout: Duration,

    /// Bound of one publish; below kubelet's two minutes
    #[arg(long, env = "BOATHOUSE_PUBLISH_TIMEOUT", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub publish_timeout: Duration,

    /// How long a FUSE daemon may take to end once its mount is gone
    #[arg(long, env = "BOATHOUSE_UNMOUNT_GRACE", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub unmount_grace: Duration,

    /// How long a FUSE daemon uses keys before it asks its keeper again: new keys are in use everywhere after
    /// that long
    #[arg(long, env = "BOATHOUSE_KEY_POLL", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub key_poll: Duration,

    /// How long after their last use old keys are revoked, for requests in flight
    #[arg(long, env = "BOATHOUSE_KEY_DRAIN", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub key_drain: Duration,

    /// Serve FlexVolume callouts (the `boathouse` driver binary) on the agent socket, with this node's own Vault
    /// identity, fenced by --flex-path
    #[arg(long, env = "BOATHOUSE_FLEX", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub flex: bool,

    /// Unix socket of the agent API
    #[arg(
        long,
        env = "BOATHOUSE_AGENT_SOCKET",
        value_name = "SOCKET",
        default_value = "unix:///run/boathouse/agent.sock"
    )]
    pub agent_socket: Socket,

    /// Vault paths a FlexVolume pod may name: {namespace} is the pod's namespace with _ as -, {any} one path
    /// segment. Repeat the flag, or separate by commas
    #[arg(
        long = "flex-path",
        env = "BOATHOUSE_FLEX_PATHS",
        value_name = "TEMPLATE",
        value_delimiter = ',',
        default_value = LEGACY_TEMPLATE,
        value_parser = PathTemplate::parse
    )]
    pub flex_paths: Vec<PathTemplate>,

    /// File with the node plugin's own service-account token, read at every login
    #[arg(long, env = "BOATHOUSE_FLEX_TOKEN_FILE", value_name = "FILE")]
    pub flex_token_file: Option<PathBuf>,

    /// Role for the node's own login
    #[arg(long, env = "BOATHOUSE_FLEX_VAULT_ROLE", value_name = "ROLE", default_value = "boathouse-node")]
    pub flex_vault_role: String,

    /// With --flex: kubelet's volume plugin directories on the node to install the FlexVolume driver in, or auto for
    /// those that distributions have and that are there. Repeat the flag, or separate by commas. Nothing has to be mounted for it
    #[arg(
        long = "flex-install-dir",
        env = "BOATHOUSE_FLEX_INSTALL_DIR",
        value_name = "DIR|auto",
        value_delimiter = ','
    )]
    pub flex_install_dirs: Vec<InstallDir>,

    /// The FlexVolume driver's binary, for --flex-install-dir
    #[arg(long, env = "BOATHOUSE_FLEX_DRIVER", value_name = "FILE", default_value_os_t = beside("boathouse"))]
    pub flex_driver: PathBuf,

    /// Address of /metrics, /healthz and /readyz
    #[arg(long, env = "BOATHOUSE_METRICS_ADDR", value_name = "ADDR", default_value = "127.0.0.1:9810")]
    pub metrics_addr: SocketAddr,

    /// How and what to log
    #[command(flatten)]
    pub log: LogArgs,
}

impl Args {
    /// Reads flags and environment. The program's name comes first.
    ///
    /// # Errors
    /// clap's, ready to be shown; also for `--help` and `--version`.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args: Self = boathouse_service::args::read(arguments)?;
        // Not clap's `requires`: a variable that says false counts as given there.
        if args.flex && args.flex_token_file.is_none() {
            let message =
                "--flex needs --flex-token-file: the node's own token, which logs in for FlexVolume pods";
            return Err(Self::command().error(ErrorKind::MissingRequiredArgument, message));
        }
        Ok(args)
    }
}

const IDENTITY_HELP: &str = "\
Keys of a volume, by what it brings:
  vault-path       the pod's service-account token logs in to Vault and reads that path (tokenRequests)
  nodePublishSecretRef with accessKeyId and secretAccessKey, no vault-path
                   those keys, as they are; Vault is not asked
  FlexVolume       the node's own token logs in; --flex-path says what a namespace may read
Durations are written as 90s, 5m, 1h30m.";

/// Which Vault auth plugin takes the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuthKind {
    /// Asks the API server about a token.
    Kubernetes,
    /// Checks a token's signature itself.
    Jwt,
}

impl From<AuthKind> for vault_client::AuthKind {
    fn from(kind: AuthKind) -> Self {
        match kind {
            AuthKind::Kubernetes => Self::Kubernetes,
            AuthKind::Jwt => Self::Jwt,
        }
    }
}

fn hostname() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// A program that was installed beside this one.
fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().map_or_else(|| PathBuf::from(name), |directory| directory.join(name))
}

fn duration(text: &str) -> Result<Duration, String> {
    let nanos = go_duration::parse(text).map_err(|error| error.to_string())?;
    match u64::try_from(nanos) {
        Ok(nanos) if nanos > 0 => Ok(Duration::from_nanos(nanos)),
        _ => Err("write a duration longer than zero, such as 90s".to_owned()),
    }
}

/// The least that goofys starts with; less is mostly a forgotten unit.
const LEAST_MEMORY: u64 = 32 << 20;
const LEAST_PIDS: u64 = 32;

/// A Kubernetes quantity of bytes.
fn memory(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: Option<u64> = match &text[digits.len()..] {
        "" => Some(1),
        "k" => Some(1_000),
        "M" => Some(1_000_000),
        "G" => Some(1_000_000_000),
        "Ki" => Some(1 << 10),
        "Mi" => Some(1 << 20),
        "Gi" => Some(1 << 30),
        _ => None,
    };
    match digits.parse::<u64>().ok().zip(unit).and_then(|(count, unit)| count.checked_mul(unit)) {
        Some(bytes) if bytes == 0 || bytes >= LEAST_MEMORY => Ok(bytes),
        Some(_) => Err("write at least 32Mi, or 0 for no limit".to_owned()),
        None => Err("write a size such as 512Mi or 1Gi, or 0 for no limit".to_owned()),
    }
}

fn pids(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count) if count == 0 || count >= LEAST_PIDS => Ok(count),
        _ => Err("write a number from 32, or 0 for no limit".to_owned()),
    }
}

fn uid_range(text: &str) -> Result<RangeInclusive<u32>, String> {
    let ends = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match ends {
        Some((first, last)) if 0 < first && first <= last => Ok(first..=last),
        _ => Err("write FIRST-LAST, two user ids above 0, the smaller first".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::read([&["boathouse-node"], args].concat().into_iter().map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn everything_has_a_default() {
        let args = parse(&[]).unwrap();
        assert!(!args.flex);
        assert_eq!(args.flex_paths, [PathTemplate::parse(LEGACY_TEMPLATE).unwrap()]);
        assert!(!args.node_id.is_empty());
    }

    #[test]
    fn limits_are_quantities() {
        for (text, bytes) in
            [("0", 0), ("512Mi", 512 << 20), ("1Gi", 1 << 30), ("33554432", 32 << 20), ("1G", 1_000_000_000)]
        {
            assert_eq!(memory(text).unwrap(), bytes, "{text}");
        }
        assert_eq!(parse(&[]).unwrap().mount_memory_limit, 512 << 20);
    }

    #[test]
    fn directories_for_the_driver_are_a_list() {
        let args = parse(&["--flex-install-dir", "auto,/a", "--flex-install-dir", "/b"]).unwrap();
        let path = |text: &str| InstallDir::Path(text.into());
        assert_eq!(args.flex_install_dirs, [InstallDir::Auto, path("/a"), path("/b")]);
        assert!(args.remove_startup_taint);
        assert!(!parse(&["--remove-startup-taint=false"]).unwrap().remove_startup_taint);
    }

    #[test]
    fn bad_values_are_refused_with_the_reason() {
        for (args, reason) in [
            (&["--key-poll", "60"][..], "missing unit"),
            (&["--key-poll", "0"], "longer than zero"),
            (&["--daemon-uids", "5-1"], "FIRST-LAST"),
            (&["--daemon-uids", "0-10"], "FIRST-LAST"),
            (&["--flex"], "--flex-token-file"),
            (&["--flex-path", "a/keys/b"], "{namespace}"),
            (&["--s3-endpoint", "minio:9000"], "scheme"),
            (&["--vault-addr", "vault"], "--vault-addr"),
            (&["--mount-memory-limit", "512"], "at least 32Mi"),
            (&["--mount-memory-limit", "512MB"], "512Mi"),
            (&["--mount-memory-limit", "20000000000Gi"], "512Mi"),
            (&["--mount-pids-limit", "1"], "from 32"),
            (&["--remove-startup-taint", "perhaps"], "--remove-startup-taint"),
            (&["--flex-install-dir", "exec"], "absolute path"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(reason), "{args:?}: {error}");
        }
    }
}
