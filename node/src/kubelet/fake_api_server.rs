//! A fake API server for tests: routes on a loopback port, and a service account whose token is `secret-token`.

use axum::http::HeaderMap;
use boathouse_api_server::ApiServer;
use tempfile::TempDir;

/// Serves `routes` until the test's runtime ends. The directory holds the service account's files.
pub(crate) async fn serve(routes: axum::Router) -> (ApiServer, TempDir) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let account = tempfile::tempdir().unwrap();
    std::fs::write(account.path().join("token"), "secret-token\n").unwrap();
    (ApiServer::new("http", "127.0.0.1", &port, account.path()).unwrap(), account)
}

/// Fails the test when the request does not carry that token.
pub(crate) fn must_be_authorized(headers: &HeaderMap) {
    assert_eq!(headers["authorization"], "Bearer secret-token");
}
