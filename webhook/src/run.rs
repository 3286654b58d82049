//! From flags to a running server.

use crate::args::{Args, Command, ServeArgs};
use crate::certificate;
use crate::instances::{Config, InstancesError};
use crate::metrics::Metrics;
use crate::reload::Watched;
use crate::serve::{Listener, Webhook};
use crate::tls::{Pair, PairError, server_config};
use anyhow::Context as _;
use boathouse_service::{memory, metrics, shutdown};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long requests under way may take once no more are accepted; Kubernetes kills after 30 s in all.
const GRACE: Duration = Duration::from_secs(15);
/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// A review is a fraction of a millisecond's work: more threads would only cost memory on large nodes.
const THREADS: usize = 4;

/// The instances file cannot be used.
#[derive(Debug, thiserror::Error)]
enum ConfigError {
    #[error("read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Content { path: PathBuf, source: InstancesError },
}

/// Does what the command line says.
///
/// # Errors
/// When something it cannot work without is missing; the error says what.
pub fn run(args: Args) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.context("start the async runtime")?;
    match args.command {
        Command::Serve(args) => {
            args.log.init()?;
            runtime.block_on(serve(args))
        }
        Command::Certificate(args) => {
            args.log.init()?;
            Ok(runtime.block_on(certificate::run(&args))?)
        }
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let stop = shutdown::signal().context("cannot listen for signals")?;
    let mut registry = Registry::default();
    let measured = Metrics::register(&mut registry);
    let config = watch_instances(args.instances)?;
    let pair = watch_pair(args.tls_cert, args.tls_key)?;
    let (live_config, live_pair) = (config.live(), pair.live());
    measured.certificate_ends(live_pair.get().expires);

    let stopping = Arc::new(AtomicBool::new(false));
    let readiness: metrics::Readiness = {
        let (stopping, pair) = (stopping.clone(), live_pair.clone());
        Arc::new(move || readiness(stopping.load(Ordering::SeqCst), pair.get().expires))
    };
    let _monitoring = metrics::serve(args.metrics_addr, Arc::new(registry), readiness).await?;
    let listener = Listener::bind(args.listen).await?;
    let followed = {
        let (measured, pair_in_use) = (measured.clone(), live_pair.clone());
        async move {
            tokio::join!(
                follow(config, "instances", &measured, || {}),
                follow(pair, "certificate", &measured, || {
                    measured.certificate_ends(pair_in_use.get().expires);
                }),
            );
        }
    };
    let follower = tokio::spawn(followed);
    let stopped = async {
        stop.await;
        stopping.store(true, Ordering::SeqCst);
        tokio::time::sleep(args.stop_delay).await;
    };
    let routes = Webhook::new(live_config, args.output, measured.clone()).router();
    let tls = server_config(live_pair)?;
    memory::forget_start();
    listener.serve(tls, routes, measured, stopped, GRACE).await;
    follower.abort();
    Ok(())
}

fn readiness(stopping: bool, expires: i64) -> Result<(), String> {
    if stopping {
        return Err("stopping".to_owned());
    }
    // Nobody would accept it; said here, it is seen in the pod's status.
    if expires <= Timestamp::now().as_second() {
        let at = Timestamp::from_second(expires).map_or_else(|_| expires.to_string(), |at| at.to_string());
        return Err(format!("the serving certificate has expired at {at}"));
    }
    Ok(())
}

fn watch_instances(path: PathBuf) -> Result<Watched<Config, ConfigError>, ConfigError> {
    Watched::open(vec![path.clone()], move || read_instances(&path))
}

fn read_instances(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    Config::parse(&text).map_err(|source| ConfigError::Content { path: path.to_owned(), source })
}

fn watch_pair(certificate: PathBuf, key: PathBuf) -> Result<Watched<Pair, PairError>, PairError> {
    Watched::open(vec![certificate.clone(), key.clone()], move || Pair::read(&certificate, &key))
}

/// Looks at files for ever; `changed` is called when what they hold now is in use.
async fn follow<T, E: Display>(
    mut watched: Watched<T, E>,
    file: &'static str,
    metrics: &Metrics,
    changed: impl Fn(),
) {
    metrics.stale(file, false);
    loop {
        tokio::time::sleep(LOOK).await;
        match watched.look() {
            None => continue,
            Some(Ok(())) => {
                changed();
                metrics.reloaded(file, true);
                tracing::info!(file, "read again");
            }
            Some(Err(error)) => {
                metrics.reloaded(file, false);
                tracing::error!(file, %error, "cannot use the new version; the old one stays in use");
            }
        }
    }
}
