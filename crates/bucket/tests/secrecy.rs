//! No key, session token or signature in `Debug` output or in any log line, even at the most talkative level of
//! every library below. A program of its own because it takes the process-wide log subscriber.
#![allow(missing_docs, clippy::unwrap_used, reason = "a failed assumption is a failed test")]

#[allow(dead_code, reason = "shared by several test programs")]
mod support;

use std::fmt::Debug;
use std::io::Write;
use std::sync::{Arc, Mutex};

use support::{FakeS3, Fault, client, keys};
use tracing_subscriber::fmt::MakeWriter;

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
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).init();

    let mut shown = Vec::new();
    let mut show = |value: &dyn Debug| shown.push(format!("{value:?} {value:#?}"));
    show(&keys());
    for fault in [Fault::listing(&["a"]), Fault::code(403, "AccessDenied", "", ""), Fault::Hang] {
        let fake = FakeS3::new([fault]).await;
        show(&fake.client());
        show(&fake.client().list("", 1).await);
        show(&fake.client().put("a", b"x".to_vec()).await);
        assert!(fake.seen().iter().all(|uri| uri.contains("X-Amz-Signature=")), "nothing was signed");
    }
    show(&client("http://127.0.0.1:1").get("a").await);
    let shown = shown.join("\n");
    assert!(shown.contains("user-1") && shown.contains("AccessDenied"), "the calls did not run: {shown}");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("hyper_util"), "nothing was logged, so nothing was proved");
    for (what, text) in [("Debug", &shown), ("the log", &log)] {
        for secret in ["SENTINEL", "X-Amz-"] {
            let leaks: Vec<_> = text.lines().filter(|line| line.contains(secret)).collect();
            assert!(leaks.is_empty(), "in {what}: {leaks:#?}");
        }
    }
}
