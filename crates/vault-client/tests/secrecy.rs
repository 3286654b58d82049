//! No secret in `Debug` output or in any log line, even at the most talkative level of every library below.
//! A program of its own because it takes the process-wide log subscriber.
#![allow(missing_docs, clippy::unwrap_used, reason = "a failed assumption is a failed test")]

#[allow(dead_code, reason = "shared by several test programs")]
mod support;

use std::fmt::Debug;
use std::io::Write;
use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use support::{FakeVault, Fault};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use vault_client::{AuthKind, AuthMethod};

const LOGIN: &str =
    r#"{"auth":{"client_token":"hvs.SENTINEL","accessor":"a1","lease_duration":60,"renewable":true}}"#;
const LEASED: &str = r#"{"lease_id":"l","renewable":false,"lease_duration":60,
    "data":{"accessKeyId":"a","secretAccessKey":"SENTINEL-KEY","sessionToken":"SENTINEL-SESSION"}}"#;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn secrets_reach_neither_debug_nor_logs() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(log.clone())
        .init();

    let mut shown = Vec::new();
    let mut show = |value: &dyn Debug| shown.push(format!("{value:?} {value:#?}"));
    let method = AuthMethod { mount: "jwt".into(), kind: AuthKind::Jwt, role: "tenant".into() };
    let (jwt, token) = (SecretString::from("SENTINEL.JWT"), SecretString::from("hvs.SENTINEL"));
    let faults = [
        Fault::Answer(200, LOGIN),
        Fault::Answer(200, LEASED),
        Fault::Answer(403, "SENTINEL-BODY"),
        Fault::Hang,
    ];
    for fault in faults {
        let fake = FakeVault::http(fault).await;
        let client = fake.client();
        show(&client);
        show(&client.login(&method, &jwt).await);
        show(&client.read_leased(&token, "minio/keys/a", None).await);
        show(&client.revoke_self(&token).await);
        show(&client.lookup_self(&token).await);
    }
    let shown = shown.join("\n");
    assert!(shown.contains("accessor: \"a1\"") && shown.contains("Denied"), "the calls did not run: {shown}");
    assert!(!shown.contains("SENTINEL"), "{shown}");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("rustify"), "nothing was logged, so nothing was proved");
    let leaks: Vec<_> = log.lines().filter(|line| line.contains("SENTINEL")).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[tokio::test]
async fn the_quiet_filter_is_valid() {
    let filter: Targets = format!("trace,{}", vault_client::QUIET_TARGETS).parse().unwrap();
    assert!(filter.to_string().contains("rustify=off"));
}
