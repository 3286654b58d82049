//! Making a FUSE mount: mounted, handed to a keeper, served by a daemon, read.

use super::ask::{Answer, ask};
use super::mounts::MountsConfig;
use super::record::{MountKey, MountRecord, RecordError};
use super::source::{dismantle, keeper_socket, source_name};
use crate::host::cgroups::CgroupError;
use crate::keeper::{self, Keeper, KeeperError};
use crate::lease::{Generation, Lease};
use boathouse_bucket::{BucketClient, BucketError, Http, S3Target};
use boathouse_mounts::{FuseOptions, MountError, mount_fuse, open_fuse_device};
use csi_proto::keeper::is_cause;
use csi_proto::keeper::v1::{Launch, Status};
use nix::errno::Errno;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use volume_spec::{VolumeSpec, goofys};

/// Keys younger than this may not have reached every MinIO server yet.
const FRESH: Duration = Duration::from_secs(5);

/// A daemon that has not served its first read by then has trouble with its bucket, or the machine is busy.
const SLOW: Duration = Duration::from_millis(250);

/// How long to wait for the keeper's word on a daemon whose session is over: it collects the last output first.
pub(crate) const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// How many of a daemon's lines an error shows.
const SHOWN: usize = 4;

/// Why there is no FUSE mount. Whatever was made by then is gone again.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The bucket cannot be read with these keys.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The keeper or the daemon did not start.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// There is no cgroup for the keeper.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The daemon ended before it served anything.
    #[error("FUSE daemon goofys {how} before it served bucket {bucket}; its last lines: {output}")]
    Died {
        /// The bucket.
        bucket: String,
        /// How it ended.
        how: String,
        /// What it said.
        output: String,
    },
    /// The mount answers, but with an error.
    #[error("read bucket {bucket} through FUSE daemon goofys: {source}; its last lines: {output}")]
    Unreadable {
        /// The bucket.
        bucket: String,
        /// What reading it answered.
        source: std::io::Error,
        /// What the daemon said.
        output: String,
    },
    /// The mount does not answer.
    #[error(
        "read bucket {bucket} through FUSE daemon goofys: no answer within {after:?}; its last lines: {output}"
    )]
    Silent {
        /// The bucket.
        bucket: String,
        /// How long was waited.
        after: Duration,
        /// What the daemon said.
        output: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The record could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The mount's directory could not be made.
    #[error("create {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The endpoint is no URL a client can use.
    #[error("endpoint {endpoint}: {source}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// The probe of the bucket broke.
    #[error("probe bucket {bucket}: {reason}")]
    Probe {
        /// The bucket.
        bucket: String,
        /// What happened.
        reason: String,
    },
    /// Another operation on the same volume did not end in time.
    #[error("bucket {bucket}: another mount of it is being made or removed, and did not end in time")]
    Waited {
        /// The bucket.
        bucket: String,
    },
    /// All users of the daemons' range are taken.
    #[error("no free user id for another FUSE daemon; widen --daemon-uids")]
    NoUser,
}

/// Makes the mount of `record` in `directory`; on failure takes it down again.
pub(super) async fn create(
    config: &MountsConfig,
    http: &Http,
    record: &MountRecord,
    directory: &Path,
    lease: &Lease,
    deadline: Instant,
) -> Result<(), CreateError> {
    let made = build(config, http, record, directory, lease, deadline).await;
    if made.is_err() {
        // Nobody has seen the mount yet: nothing to wait for.
        dismantle(&config.host, directory, Duration::ZERO).await;
    }
    made
}

async fn build(
    config: &MountsConfig,
    http: &Http,
    record: &MountRecord,
    directory: &Path,
    lease: &Lease,
    deadline: Instant,
) -> Result<(), CreateError> {
    // That the mount can be read is the proof. Why it cannot, a request to the bucket tells and the daemon mostly does
    // not: that probe is made once the read has failed, or is slow.
    let client = BucketClient::new(http, probe_target(&record.key)?, &lease.generation.keys)?;
    let (needed, called) = oneshot::channel::<()>();
    let mut probe = {
        let (spec, keys, patience) =
            (record.key.spec.clone(), lease.generation.clone(), config.endpoint_timeout);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = tokio::time::timeout(SLOW, called).await;
            let within = patience.min(deadline.saturating_duration_since(Instant::now()));
            probe(client, spec, keys, within).await
        }))
    };
    let bucket = &record.key.spec.bucket_and_prefix();
    let fuse = mount(record, directory)?;
    // Asked before anybody serves the mount: the kernel holds the question back until the daemon is there.
    let listed = {
        let (keeper, source) = (config.installed.keeper.clone(), directory.join("source"));
        AbortOnDropHandle::new(tokio::spawn(async move { ask(&keeper, "list", &source, deadline).await }))
    };
    let cradle = config.host.cradle(&record.id)?;
    // Never dropped half way: a keeper that is being started could not be found again.
    let launched =
        keeper::launch(&config.installed.keeper, orders(config, record, directory, lease), fuse, cradle)
            .await;
    match launched {
        Ok(launched) => {
            let host = config.host.clone();
            // Slow, and nobody needs to wait for it.
            tokio::spawn(async move { host.settle(launched.keeper_pid, launched.daemon_pid).await });
        }
        Err(error) => {
            drop(needed);
            verdict(bucket, probe.await)?;
            return Err(error.into());
        }
    }
    let read = async {
        let answer = listed.await.unwrap_or_else(|panic| Answer::Failed(std::io::Error::other(panic)));
        explain(answer, &record.key, directory).await
    };
    tokio::pin!(read);
    tokio::select! {
        biased;
        answer = &mut read => {
            if answer.is_err() {
                drop(needed);
                verdict(bucket, probe.await)?;
            }
            answer
        }
        probed = &mut probe => {
            verdict(bucket, probed)?;
            read.await
        }
    }
}

type Probed = Result<Result<(), BucketError>, tokio::task::JoinError>;

fn verdict(bucket: &str, probed: Probed) -> Result<(), CreateError> {
    match probed {
        Ok(answer) => Ok(answer?),
        Err(panic) => Err(CreateError::Probe { bucket: bucket.to_owned(), reason: panic.to_string() }),
    }
}

async fn probe(
    client: BucketClient,
    spec: VolumeSpec,
    keys: Arc<Generation>,
    within: Duration,
) -> Result<(), BucketError> {
    let prefix = spec.prefix.as_ref().map(|prefix| format!("{}/", prefix.as_str().trim_end_matches('/')));
    let age = crate::clock::now().saturating_sub(keys.issued_at);
    if keys.token.is_some() && age < crate::clock::millis(FRESH) {
        client.probe_fresh_keys(prefix.as_deref(), within).await
    } else {
        client.probe(prefix.as_deref(), within).await
    }
}

fn probe_target(key: &MountKey) -> Result<S3Target, CreateError> {
    let spec = &key.spec;
    let endpoint = spec.endpoint.as_ref().map(ToString::to_string).unwrap_or_default();
    Ok(S3Target {
        endpoint: endpoint.parse().map_err(|source| CreateError::Endpoint { endpoint, source })?,
        region: spec.region.as_ref().map_or(goofys::DEFAULT_REGION, |region| region.as_str()).to_owned(),
        bucket: spec.bucket.to_string(),
        path_style: true,
    })
}

/// Mounts what nobody serves yet; answers the session.
fn mount(record: &MountRecord, directory: &Path) -> Result<OwnedFd, CreateError> {
    let source = directory.join("source");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CreateError::Directory { path, source }
    };
    fs::DirBuilder::new().mode(0o700).create(directory).map_err(failed(directory))?;
    fs::DirBuilder::new().mode(0o700).create(&source).map_err(failed(&source))?;
    record.write(directory)?;
    let fuse = open_fuse_device()?;
    let options = FuseOptions {
        subtype: "goofys",
        source: &source_name(&record.id),
        user: record.daemon_uid,
        group: record.daemon_uid,
    };
    mount_fuse(&source, fuse.as_fd(), &options)?;
    Ok(fuse)
}

/// Asks a mount that works whether it still answers, and finds out why if it does not.
pub(super) async fn check(
    config: &MountsConfig,
    key: &MountKey,
    directory: &Path,
    deadline: Instant,
) -> Result<(), CreateError> {
    let answer = ask(&config.installed.keeper, "list", &directory.join("source"), deadline).await;
    explain(answer, key, directory).await
}

/// What an answer of the mount means, with the keeper's word on a daemon that gave none.
async fn explain(answer: Answer, key: &MountKey, directory: &Path) -> Result<(), CreateError> {
    let keeper = Keeper::at(&keeper_socket(directory));
    let status = match &answer {
        Answer::Line(_) => return Ok(()),
        Answer::Failed(error) if session_over(error) => keeper.exited(EXIT_PATIENCE).await,
        Answer::Failed(_) | Answer::Silent(_) => None,
    };
    let status = match status {
        Some(status) => status,
        None => keeper.status().await.unwrap_or_default(),
    };
    let bucket = key.spec.bucket_and_prefix();
    let output = last_lines(&status);
    Err(match (answer, exit(&status)) {
        (_, Some(how)) => CreateError::Died { bucket, how, output },
        (Answer::Silent(after), None) => CreateError::Silent { bucket, after, output },
        (Answer::Failed(source), None) => CreateError::Unreadable { bucket, source, output },
        (Answer::Line(_), None) => return Ok(()),
    })
}

fn orders(config: &MountsConfig, record: &MountRecord, directory: &Path, lease: &Lease) -> Launch {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let arguments = goofys::arguments(&record.key.spec, &config.installed.mountpoint);
    Launch {
        mount_id: record.id.clone(),
        control_socket: text(&keeper_socket(directory)),
        daemon_path: text(&config.installed.daemon),
        daemon_args: arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        helper_dir: text(&config.installed.helpers),
        daemon_uid: record.daemon_uid,
        daemon_gid: record.daemon_uid,
        poll_ms: crate::clock::millis(config.poll),
        ca_file: record.key.ca_file.as_deref().map(text).unwrap_or_default(),
        generation: Some(lease.generation.as_ref().into()),
        login: Some(lease.lineage.login().to_wire()),
    }
}

/// Whether the kernel says that nobody serves the mount any more: ENOTCONN to who comes after the daemon's end,
/// ECONNABORTED to who was waiting for its answer.
pub(crate) fn session_over(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOTCONN | Errno::ECONNABORTED))
}

/// What there is to say of a daemon that is gone.
pub(crate) fn obituary(status: &Status) -> String {
    let how = exit(status).unwrap_or_else(|| "ended".to_owned());
    format!("FUSE daemon {how}; its last lines: {}", last_lines(status))
}

/// How a daemon ended, if it did.
pub(super) fn exit(status: &Status) -> Option<String> {
    status.exit.as_ref().map(|exit| match exit.signal {
        0 => format!("ended with exit code {}", exit.code),
        signal => match nix::sys::signal::Signal::try_from(signal) {
            Ok(name) => format!("was killed by {name}"),
            Err(_) => format!("was killed by signal {signal}"),
        },
    })
}

/// A daemon's last lines on one line; of a crash those from its cause on, which stacks follow.
fn last_lines(status: &Status) -> String {
    let lines: Vec<&str> =
        status.last_output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.len().saturating_sub(SHOWN);
    let cause = lines.iter().position(|line| is_cause(line.as_bytes()));
    let from = cause.map_or(last, |cause| cause.min(last));
    let shown = &lines[from..lines.len().min(from + SHOWN)];
    if shown.is_empty() { "(none)".to_owned() } else { shown.join(" | ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(output: &str) -> String {
        last_lines(&Status { last_output: output.to_owned(), ..Status::default() })
    }

    #[test]
    fn a_crash_is_shown_from_its_cause_on() {
        let crash = "\
runtime: failed to create new OS thread (have 10 already; errno=11)
runtime: may need to increase max user processes (ulimit -u)
fatal error: newosproc

runtime stack:
runtime.throw({0x4c5180?, 0x1597a6e59ef8?})
\t/usr/local/go/src/runtime/panic.go:1229 +0x48 fp=0x1597a6e59ed0 sp=0x1597a6e59ea0 pc=0x4796e8
...
runtime.goexit({})
\t/usr/local/go/src/runtime/asm_amd64.s:1771 +0x1 fp=0x1597a6e3dfe8 sp=0x1597a6e3dfe0 pc=0x47f561
";
        assert_eq!(
            shown(crash),
            "runtime: failed to create new OS thread (have 10 already; errno=11) | runtime: may need to increase max \
             user processes (ulimit -u) | fatal error: newosproc | runtime stack:"
        );
    }

    #[test]
    fn of_everything_else_the_end_is_shown() {
        assert_eq!(shown(" \n"), "(none)");
        assert_eq!(shown("1\n2\n\n3\n4\n5\n"), "2 | 3 | 4 | 5");
        assert_eq!(shown("1\n2\n3\n4\npanic: 5\n"), "2 | 3 | 4 | panic: 5");
    }
}
