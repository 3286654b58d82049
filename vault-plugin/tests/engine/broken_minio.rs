//! A fake MinIO behind a fake proxy that breaks: what comes back is no answer, and MinIO may have done it or not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, KeyPair, SigningKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vault_plugin_sdk::testing::Mount;
use vault_plugin_sdk::{Response, Result};

use crate::fake_minio::FakeMinio;
use crate::{content, data, due, internal, mount_on};

/// The admin user's secret.
const ADMIN: &str = "secret-before";
/// What the host's password policy makes: for the lease and the static role of [`mounted`], and after them.
const OLD: &str = "made-by-the-host-1";
const NEW: &str = "made-by-the-host-2";

#[derive(Debug, Clone, Copy)]
enum Fault {
    Page,
    Half,
    Bare(u16),
    Noise,
    Silence,
}

/// Those that need no waiting, each with MinIO having done what it was asked, and not.
const FAULTS: [Fault; 6] =
    [Fault::Page, Fault::Half, Fault::Bare(500), Fault::Bare(502), Fault::Bare(503), Fault::Noise];

fn faults() -> impl Iterator<Item = (Fault, bool)> {
    FAULTS.into_iter().flat_map(|fault| [(fault, true), (fault, false)])
}

impl Fault {
    fn answer(self) -> String {
        match self {
            Self::Page => {
                let page = "<html><title>Welcome</title></html>";
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{page}",
                    page.len()
                )
            }
            Self::Half => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\":".to_owned(),
            Self::Bare(status) => {
                format!("HTTP/1.1 {status} Broken\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            }
            Self::Noise => "\u{1}\u{2}SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(),
            Self::Silence => String::new(),
        }
    }

    /// The text says whether to wait or to mend something.
    #[track_caller]
    fn is_explained(self, text: &str) {
        let passes = !matches!(self, Self::Page);
        assert_eq!(text.contains("this passes by itself"), passes, "{self:?}: {text}");
        assert_eq!(text.contains("does not pass by itself"), !passes, "{self:?}: {text}");
    }
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Empty for all.
    call: &'static str,
    fault: Fault,
    /// MinIO does it all the same.
    works: bool,
}

/// A mount behind the proxy, as the user `admin`, with an issued key of `r` and the static role `s` of `svc`.
struct Broken {
    minio: FakeMinio,
    mount: Mount,
    issued: Response,
    plan: Arc<Mutex<Option<Plan>>>,
}

async fn mounted() -> Broken {
    let minio = FakeMinio::start().await;
    let plan = Arc::default();
    let proxy = proxy(minio.endpoint(), Arc::clone(&plan)).await;
    let mount = mount_on(&minio).await;
    minio.add("admin");
    minio.add("svc");
    let config = json!({ "endpoint": proxy.to_string(), "accessKeyId": "admin", "secretAccessKey": ADMIN });
    mount.write("config", config).await.unwrap();
    mount.add_password_policy("ours", OLD.to_owned());
    mount.write("roles/r", json!({ "password_policy": "ours" })).await.unwrap();
    let role = json!({ "username": "svc", "rotation_period": "1h", "password_policy": "ours" });
    mount.write("static-roles/s", role).await.unwrap();
    let issued = content(mount.read("keys/r", Value::Null).await);
    mount.add_password_policy("ours", NEW.to_owned());
    Broken { minio, mount, issued, plan }
}

impl Broken {
    fn break_at(&self, call: &'static str, fault: Fault, works: bool) {
        *self.plan.lock().unwrap() = Some(Plan { call, fault, works });
    }

    fn mend(&self) {
        *self.plan.lock().unwrap() = None;
    }

    async fn stored(&self, key: &str) -> Value {
        self.mount.storage.get(key).await.unwrap().unwrap()
    }

    /// The text of the failure, which has no secret in it.
    async fn failed(&self, answer: Result<Option<Response>>) -> String {
        let text = internal(answer);
        let next = self.stored("config").await["next_secret_access_key"].as_str().map(str::to_owned);
        for secret in [ADMIN, OLD, NEW].into_iter().chain(next.as_deref()) {
            assert!(!text.contains(secret), "{text}");
        }
        text
    }

    async fn issue(&self) -> Result<Option<Response>> {
        self.mount.read("keys/r", Value::Null).await
    }

    async fn rotate(&self) -> Result<Option<Response>> {
        self.mount.write("rotate-role/s", Value::Null).await
    }

    async fn rotate_root(&self) -> Result<Option<Response>> {
        self.mount.write("config/rotate-root", Value::Null).await
    }

    async fn static_secret(&self) -> String {
        let creds = data(self.mount.read("static-creds/s", Value::Null).await);
        creds["secretAccessKey"].as_str().unwrap().to_owned()
    }

    fn entry_of_lease(&self) -> &str {
        self.issued.secret.as_ref().unwrap().internal_data["logEntry"].as_str().unwrap()
    }

    /// The host's tick, once what is due is old enough.
    async fn roll_back(&self) {
        for id in due(&self.mount).await {
            let key = format!("wal/{id}");
            let mut entry = self.stored(&key).await;
            entry["created_at"] = json!(1_600_000_000);
            self.mount.storage.put(&key, &entry).await.unwrap();
        }
        self.mount.tick().await.unwrap();
        assert_eq!(due(&self.mount).await, [""; 0]);
    }
}

#[tokio::test]
async fn no_key_comes_of_it_and_the_log_knows_what_may_be_left() {
    for (fault, works) in faults() {
        let it = mounted().await;
        let before = it.minio.users();
        it.break_at("add-user", fault, works);
        let text = it.failed(it.issue().await).await;
        assert!(text.starts_with("add user p-"), "{text}");
        fault.is_explained(&text);
        assert_eq!(due(&it.mount).await.len(), 1, "{fault:?}");
        assert_eq!(it.minio.users().len(), before.len() + usize::from(works), "{fault:?}");
        it.mend();
        it.roll_back().await;
        assert_eq!(it.minio.users(), before, "{fault:?}");

        // What is surely there and of no use is removed at once.
        it.break_at("set-user-or-group-policy", fault, works);
        it.failed(it.issue().await).await;
        assert_eq!((it.minio.users(), due(&it.mount).await.len()), (before, 0), "{fault:?}");
    }
}

#[tokio::test]
async fn no_revocation_is_believed_and_the_rollback_ends_it() {
    for (fault, works) in faults() {
        let it = mounted().await;
        let user = it.issued.data["accessKeyId"].as_str().unwrap().to_owned();
        it.break_at("remove-user", fault, works);
        let text = it.failed(it.mount.revoke(&it.issued).await).await;
        fault.is_explained(&text);
        assert!(text.contains(&user), "{text}");
        assert_eq!(due(&it.mount).await, [it.entry_of_lease()], "{fault:?}");
        assert_eq!(it.minio.users().contains(&user), !works, "{fault:?}");
        it.mend();
        it.roll_back().await;
        assert!(!it.minio.users().contains(&user), "{fault:?}");
    }
}

#[tokio::test]
async fn a_static_roles_secret_is_never_lost() {
    for (fault, works) in faults() {
        let it = mounted().await;
        let before = it.stored("static-roles/s").await;
        it.break_at("user-info", fault, works);
        fault.is_explained(&it.failed(it.rotate().await).await);
        assert_eq!(it.stored("static-roles/s").await, before, "{fault:?}");
        assert_eq!(it.static_secret().await, OLD);

        it.break_at("add-user", fault, works);
        fault.is_explained(&it.failed(it.rotate().await).await);
        let stored = it.stored("static-roles/s").await;
        assert_eq!((&stored["secret"], &stored["next_secret"]), (&json!(OLD), &json!(NEW)), "{fault:?}");
        // Which of the two it is nobody can say.
        fault.is_explained(&it.failed(it.mount.read("static-creds/s", Value::Null).await).await);
        assert_eq!(it.minio.secret_of("svc").as_deref(), Some(if works { NEW } else { OLD }), "{fault:?}");
        it.mend();
        assert_eq!(it.static_secret().await, it.minio.secret_of("svc").unwrap(), "{fault:?}");
    }
}

#[tokio::test]
async fn the_admins_secret_is_never_lost() {
    for (fault, works) in faults() {
        let it = mounted().await;
        let before = it.stored("config").await;
        it.break_at("user-info", fault, works);
        fault.is_explained(&it.failed(it.rotate_root().await).await);
        assert_eq!(it.stored("config").await, before, "{fault:?}");

        it.break_at("add-user", fault, works);
        fault.is_explained(&it.failed(it.rotate_root().await).await);
        it.break_at("user-info", fault, works);
        fault.is_explained(&it.failed(it.issue().await).await);
        let stored = it.stored("config").await;
        assert!(stored["secretAccessKey"] == ADMIN && stored["next_secret_access_key"].is_string());
        assert_eq!(due(&it.mount).await, [""; 0], "nothing was asked for: {fault:?}");
        it.mend();
        content(it.issue().await);
        let stored = it.stored("config").await;
        assert_eq!(stored["secretAccessKey"].as_str().map(str::to_owned), it.minio.secret_of("admin"));
        assert!(stored.get("next_secret_access_key").is_none(), "{fault:?}");
    }
}

/// The only test that waits: for the 10 s of a call.
#[tokio::test]
async fn after_silence_the_next_calls_fail_at_once() {
    let it = mounted().await;
    let before = (it.stored("config").await, it.stored("static-roles/s").await);
    it.break_at("", Fault::Silence, false);
    let started = Instant::now();
    let revoke = async || it.mount.revoke(&it.issued).await;
    let (issued, revoked, rotated, root) = tokio::join!(it.issue(), revoke(), it.rotate(), it.rotate_root());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(it.failed(issued).await.contains("did not answer within"));
    for answer in [revoked, rotated, root] {
        let text = it.failed(answer).await;
        assert!(text.contains("did not answer within 10 s"), "{text}");
        Fault::Silence.is_explained(&text);
    }
    let log = due(&it.mount).await;
    assert!(log.len() == 2 && log.iter().any(|id| id == it.entry_of_lease()), "{log:?}");

    let started = Instant::now();
    assert!(it.failed(it.issue().await).await.contains("nothing sent"));
    for answer in [revoke().await, it.rotate().await, it.rotate_root().await] {
        let text = it.failed(answer).await;
        assert!(text.contains("nothing sent") && text.contains("is left alone for another"), "{text}");
        Fault::Silence.is_explained(&text);
    }
    // Half of what a single call would have waited.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // In its first two minutes an engine may repeat what a plugin that died has done, so this entry stays, too.
    assert_eq!(due(&it.mount).await.len(), 3);
    assert_eq!((it.stored("config").await, it.stored("static-roles/s").await), before);
    assert_eq!(it.static_secret().await, OLD, "needs no MinIO");
}

/// What one client finds out, all others know: those of parents, and those that ask which of two secrets is MinIO's.
#[tokio::test]
async fn all_clients_of_a_minio_leave_it_alone_together() {
    let it = mounted().await;
    let session = json!({ "policy": "readwrite", "credential_type": "sts" });
    it.mount.write("roles/session", session).await.unwrap();
    let of_session = async || it.mount.read("keys/session", Value::Null).await;
    content(of_session().await);
    it.break_at("/", Fault::Half, false);
    for _ in 0..3 {
        assert!(it.failed(of_session().await).await.starts_with("assume role: the connection"));
    }
    assert!(it.failed(it.issue().await).await.contains("nothing sent"));

    let it = mounted().await;
    it.break_at("add-user", Fault::Half, true);
    it.failed(it.rotate_root().await).await;
    it.break_at("", Fault::Half, false);
    // One was lost already.
    for _ in 0..2 {
        assert!(it.failed(it.issue().await).await.starts_with("user info admin: the connection"));
    }
    assert!(it.failed(it.issue().await).await.contains("nothing sent"));
}

#[tokio::test]
async fn an_unknown_authoritys_certificate_is_refused_until_it_is_configured() {
    let it = mounted().await;
    let [ours, other] = [0; 2].map(|_| rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap());
    let (authority, stranger) = (ours.cert.pem(), other.cert.pem());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (seen, mut trusted) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            seen.send(handshake(stream, &ours).await.unwrap_or_default()).unwrap();
        }
    });
    let before = it.stored("static-roles/s").await;
    for (ca, expected) in [(String::new(), false), (stranger, false), (authority, true)] {
        let config = json!({ "endpoint": address, "useSSL": true, "ca_certificate": ca });
        it.mount.write("config", config).await.unwrap();
        let text = it.failed(it.issue().await).await;
        assert!(text.contains("cannot reach MinIO"), "{text}");
        assert_eq!(text.contains("invalid peer certificate"), !expected, "{text}");
        assert_eq!(text.contains("this passes by itself"), expected, "{text}");
        assert_eq!(text.contains("ca_certificate of the config"), !expected, "{text}");
        let text = it.failed(it.rotate().await).await;
        assert!(text.contains("cannot reach MinIO") && text.contains(&address), "{text}");
        assert_eq!(text.contains("does not pass by itself"), !expected, "{text}");
        // Making the user, removing it in case it is there, and asking for the static role's.
        for _ in 0..3 {
            assert_eq!(trusted.recv().await, Some(expected));
        }
    }
    it.failed(it.mount.revoke(&it.issued).await).await;
    assert!(due(&it.mount).await.iter().any(|id| id == it.entry_of_lease()));
    assert_eq!(it.stored("static-roles/s").await, before);
    assert_eq!(it.static_secret().await, OLD);
}

async fn proxy(minio: String, plan: Arc<Mutex<Option<Plan>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (minio, plan) = (minio.clone(), Arc::clone(&plan));
            tokio::spawn(async move {
                let request = request(&mut stream).await;
                let plan = *plan.lock().unwrap();
                let path = request.split(|byte| b"? ".contains(byte)).nth(1).unwrap_or_default();
                let plan = plan.filter(|plan| path.ends_with(plan.call.as_bytes()));
                let answer = match plan {
                    Some(Plan { works: false, .. }) => Vec::new(),
                    _ => pass_on(&minio, &request).await,
                };
                match plan.map(|plan| plan.fault) {
                    None => stream.write_all(&answer).await.unwrap(),
                    Some(Fault::Silence) => std::future::pending().await,
                    Some(fault) => stream.write_all(fault.answer().as_bytes()).await.unwrap(),
                }
            });
        }
    });
    address
}

/// One request, whole.
async fn request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            if request.len() >= end + 4 + length.map_or(0, |length| length.trim().parse().unwrap()) {
                return request;
            }
        }
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the engine hung up");
    }
}

/// MinIO's answer.
async fn pass_on(minio: &str, request: &[u8]) -> Vec<u8> {
    let line = request.windows(2).position(|window| window == b"\r\n").unwrap();
    let mut stream = TcpStream::connect(minio).await.unwrap();
    let whole = [&request[..line], b"\r\nconnection: close", &request[line..]].concat();
    stream.write_all(&whole).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

/// A server's first flight of TLS 1.2, then the end. Whether the client went on with its key, which it does
/// only with a certificate it trusts.
async fn handshake(mut stream: TcpStream, key: &CertifiedKey<KeyPair>) -> std::io::Result<bool> {
    let hello = record(&mut stream).await?;
    // The client's random comes after the type, the length and the version.
    let client = &hello[6..38];
    let server = [7; 32];
    // The curve's name, x25519, and a point on it.
    let mut exchange = vec![3, 0, 0x1d, 32, 9];
    exchange.extend([0; 31]);
    let signature = key.signing_key.sign(&[client, &server, &exchange].concat()).unwrap();
    // ECDSA with P-256 and SHA-256.
    exchange.extend([4, 3, 0, u8::try_from(signature.len()).unwrap()]);
    exchange.extend(signature);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes()[1..].to_vec();
    let certificate = key.cert.der().to_vec();
    let list = [length(&certificate), certificate].concat();
    // No session, ECDHE-ECDSA with AES-128-GCM, no compression.
    let hello = [&[3, 3][..], &server, &[0, 0xc0, 0x2b, 0]].concat();
    let mut flight = Vec::new();
    for (kind, content) in
        [(2, hello), (11, [length(&list), list].concat()), (12, exchange), (14, Vec::new())]
    {
        flight.push(kind);
        flight.extend(length(&content));
        flight.extend(content);
    }
    let head = [&[22, 3, 3][..], &u16::try_from(flight.len()).unwrap().to_be_bytes()].concat();
    stream.write_all(&[head, flight].concat()).await?;
    // A key exchange, or an alert.
    Ok(record(&mut stream).await?[0] == 16)
}

async fn record(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).await?;
    let mut content = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut content).await?;
    Ok(content)
}
