//! What monitoring reads: `/metrics` (OpenMetrics), `/healthz` (the process lives), `/readyz` (it can work).

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The media type of the text encoding (OpenMetrics 1.0, "Content Type").
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Says whether the process can do its work, or why not.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A process that is ready as soon as it answers.
#[must_use]
pub fn always_ready() -> Readiness {
    Arc::new(|| Ok(()))
}

/// The monitoring address could not be used.
#[derive(Debug, Error)]
#[error("cannot serve metrics on {addr}: {source}")]
pub struct MetricsError {
    /// The address asked for.
    pub addr: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

/// The names of all metrics as Prometheus shows them, and those that tables of `document` have under `prefix`; both sorted.
/// For the tests that hold docs/metrics.md and a program's metrics together: the two are equal. A family without a
/// series is not shown.
#[must_use]
pub fn exported_and_documented(
    registry: &Registry,
    document: &str,
    prefix: &str,
) -> (Vec<String>, Vec<String>) {
    let mut text = String::new();
    // It fails only if the string does.
    let _ = encode(&mut text, registry);
    let mut exported: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut documented: Vec<String> =
        rows.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with(prefix)).collect();
    exported.sort();
    documented.sort();
    (exported, documented)
}

/// A running monitoring server; dropping it stops it.
#[derive(Debug)]
pub struct MetricsServer {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl MetricsServer {
    /// Where it listens; the real port when port 0 was asked for.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The monitoring routes.
pub fn router(registry: Arc<Registry>, ready: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(move || async move { render(&registry) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move {
                match ready() {
                    Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
                    Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
                }
            }),
        )
}

fn render(registry: &Registry) -> Response {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(err) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot encode metrics: {err}\n")).into_response()
        }
    }
}

/// Serves [`router`] on `addr` in the background.
///
/// # Errors
/// When the address cannot be bound; the error names it.
pub async fn serve(
    addr: SocketAddr,
    registry: Arc<Registry>,
    ready: Readiness,
) -> Result<MetricsServer, MetricsError> {
    let failed = |source| MetricsError { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let app = router(registry, ready);
    let task = tokio::spawn(async move {
        if let Err(err) = axum::serve(listener, app).await {
            tracing::error!(%err, addr = %bound, "metrics server stopped");
        }
    });
    tracing::info!(addr = %bound, "serving /metrics, /healthz and /readyz");
    Ok(MetricsServer { addr: bound, task })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn fetch(addr: SocketAddr, path: &str) -> String {
        let mut conn = tokio::net::TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        conn.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        conn.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn serves_metrics_health_and_readiness() {
        let mut registry = Registry::default();
        let counter: Counter = Counter::default();
        registry.register("boats", "Boats in the house", counter.clone());
        counter.inc_by(3);
        let up = Arc::new(AtomicBool::new(false));
        let ready = {
            let up = up.clone();
            Arc::new(move || if up.load(Ordering::SeqCst) { Ok(()) } else { Err("no water".to_owned()) })
        };
        let server = serve(([127, 0, 0, 1], 0).into(), Arc::new(registry), ready).await.unwrap();

        let metrics = fetch(server.addr(), "/metrics").await;
        assert!(metrics.contains("boats_total 3\n") && metrics.contains("# EOF"), "{metrics}");
        assert!(metrics.contains(OPENMETRICS), "{metrics}");
        assert!(fetch(server.addr(), "/healthz").await.starts_with("HTTP/1.1 200"));
        let unready = fetch(server.addr(), "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("no water"), "{unready}");
        up.store(true, Ordering::SeqCst);
        assert!(fetch(server.addr(), "/readyz").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = taken.local_addr().unwrap();
        let err = serve(addr, Arc::new(Registry::default()), always_ready()).await.unwrap_err();
        assert!(err.to_string().contains(&addr.to_string()), "{err}");
    }
}
