//! From flags to a running server.

use crate::args::Args;
use crate::keys::KeySource;
use crate::metrics::Metrics;
use crate::s3::Storage;
use crate::service::CsiController;
use anyhow::Context;
use boathouse_bucket::{Http, HttpConfig};
use boathouse_service::csi_identity::CsiIdentity;
use boathouse_service::metrics::always_ready;
use boathouse_service::{metrics, serve, shutdown, uds};
use csi_proto::csi::v1::plugin_capability::service::Type::ControllerService;
use prometheus_client::registry::Registry;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;
use volume_spec::static_keys::StaticKeys;

/// How long calls under way may take once we are asked to stop; Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(20);
/// Bound of one S3 call. The provisioner gives up after 10 s by default and should hear the reason before.
const S3_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves CSI Identity and Controller until SIGTERM or SIGINT.
///
/// # Errors
/// When the socket, the monitoring address or the keys cannot be used.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let stop = shutdown::signal().context("cannot listen for signals")?;
    let storage = storage(&args)?;
    let buckets: Vec<_> = storage.buckets.iter().map(AsRef::<str>::as_ref).collect();
    tracing::info!(?buckets, endpoint = storage.endpoint.as_ref().map(AsRef::<str>::as_ref), "starting");

    let mut registry = Registry::default();
    let controller = CsiController::new(storage, Metrics::register(&mut registry));
    let workers = controller.workers();
    let _monitoring = metrics::serve(args.metrics_addr, Arc::new(registry), always_ready()).await?;

    let listener = uds::bind_private(&args.endpoint).await?;
    let routes = Routes::new(CsiIdentity::new(vec![ControllerService], always_ready()).into_service())
        .add_service(controller.into_service());
    let stop = async {
        stop.await;
    };
    serve(listener, routes, stop, GRACE).await?;
    workers.drain(GRACE).await;
    Ok(())
}

fn storage(args: &Args) -> anyhow::Result<Storage> {
    let http = Http::new(HttpConfig {
        ca_file: args.s3_ca_file.clone(),
        timeout: S3_TIMEOUT,
        ..HttpConfig::default()
    })?;
    let keys = match (&args.access_key_file, &args.secret_key_file) {
        (Some(access_key), Some(secret_key)) => {
            KeySource::Files { access_key: access_key.clone(), secret_key: secret_key.clone() }
        }
        _ => environment_keys()?.map_or(KeySource::None, KeySource::Environment),
    };
    Ok(Storage {
        http,
        buckets: args.buckets.clone(),
        endpoint: args.s3_endpoint.clone(),
        region: args.s3_region.clone(),
        keys,
    })
}

/// The AWS SDKs' variables. They are not flags: a key on a command line is visible to everybody.
fn environment_keys() -> anyhow::Result<Option<StaticKeys>> {
    let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty()).map(SecretString::from);
    match (read("AWS_ACCESS_KEY_ID"), read("AWS_SECRET_ACCESS_KEY")) {
        (Some(access_key_id), Some(secret_access_key)) => Ok(Some(StaticKeys {
            access_key_id,
            secret_access_key,
            session_token: read("AWS_SESSION_TOKEN"),
        })),
        (None, None) => Ok(None),
        _ => anyhow::bail!("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set together"),
    }
}
