//! Every way a call can fail, and what the caller is told.
#![allow(missing_docs, clippy::unwrap_used, reason = "a failed assumption is a failed test")]

#[allow(dead_code, reason = "shared by several test programs")]
mod support;

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use support::{FakeVault, Fault};
use vault_client::{
    AuthKind, AuthMethod, BODY_LIMIT, ConfigError, Operation, VaultClient, VaultConfig, VaultError,
};

const PATH: &str = "minio/keys/profile-bob";
const TOKEN: &str = "hvs.SENTINEL-TOKEN";
const JWT: &str = "SENTINEL.JWT.abc";
const LEASED: &str = r#"{"request_id":"r","lease_id":"minio/keys/profile-bob/L","renewable":false,
    "lease_duration":1800,"data":{"accessKeyId":"user-1","accountStatus":"enabled","policy":"p",
    "secretAccessKey":"SENTINEL-KEY"},"wrap_info":null,"warnings":["TTL capped"],"auth":null}"#;
const LOGIN: &str = r#"{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":null,
    "wrap_info":null,"warnings":null,"auth":{"client_token":"hvs.SENTINEL-TOKEN","accessor":"a1",
    "policies":["default","tenant"],"metadata":{"role":"tenant"},"lease_duration":3600,"renewable":true,
    "entity_id":"e1"}}"#;

fn token() -> SecretString {
    SecretString::from(TOKEN)
}

fn jwt_auth() -> AuthMethod {
    AuthMethod { mount: "jwt".into(), kind: AuthKind::Jwt, role: "tenant".into() }
}

async fn read(fault: Fault) -> VaultError {
    let fake = FakeVault::http(fault).await;
    fake.client().read_leased(&token(), PATH, None).await.unwrap_err()
}

async fn login(fault: Fault) -> VaultError {
    let fake = FakeVault::http(fault).await;
    fake.client().login(&jwt_auth(), &SecretString::from(JWT)).await.unwrap_err()
}

#[tokio::test]
async fn a_read_keeps_the_lease_and_sends_path_query_and_token_as_given() {
    let fake = FakeVault::http(Fault::Answer(200, LEASED)).await;
    let ttl = Some(Duration::from_millis(1_800_999));
    let leased = fake.client().read_leased(&token(), PATH, ttl).await.unwrap();
    assert_eq!(leased.lease_id, "minio/keys/profile-bob/L");
    assert_eq!(leased.lease_duration, Duration::from_secs(1800));
    assert!(!leased.renewable);
    assert_eq!(leased.credentials.access_key, "user-1");
    assert_eq!(leased.credentials.secret_key.expose_secret(), "SENTINEL-KEY");
    assert!(leased.credentials.session_token.is_none());
    assert_eq!(leased.warnings, ["TTL capped"]);
    let seen = &fake.seen()[0];
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("GET", "/v1/minio/keys/profile-bob?ttl=1800"));
    assert_eq!(seen.headers["x-vault-token"], TOKEN);
    assert!(!seen.headers.contains_key("x-vault-namespace"));
}

#[tokio::test]
async fn login_sends_role_and_trimmed_token_and_the_namespace() {
    let fake = FakeVault::http(Fault::Answer(200, LOGIN)).await;
    let config = VaultConfig { namespace: Some("team/a".into()), ..fake.config() };
    let client = VaultClient::new(&config).unwrap();
    // Mounted token files end in a newline.
    let session = client.login(&jwt_auth(), &SecretString::from(format!("{JWT}\n"))).await.unwrap();
    assert_eq!(session.token.expose_secret(), TOKEN);
    assert_eq!(session.lease_duration, Duration::from_secs(3600));
    assert_eq!((session.accessor.as_str(), session.entity_id.as_str()), ("a1", "e1"));
    assert_eq!(session.policies, ["default", "tenant"]);
    assert_eq!(session.metadata["role"], "tenant");
    let seen = &fake.seen()[0];
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", "/v1/auth/jwt/login"));
    assert_eq!(seen.headers["x-vault-namespace"], "team/a");
    assert_eq!(seen.headers["content-type"], "application/json");
    assert!(!seen.headers.contains_key("x-vault-token"));
    let mut fields: Vec<_> =
        std::str::from_utf8(&seen.body).unwrap().trim_matches(['{', '}']).split(',').collect();
    fields.sort_unstable();
    assert_eq!(fields, [format!("\"jwt\":\"{JWT}\""), "\"role\":\"tenant\"".to_owned()]);
}

#[tokio::test]
async fn health_goes_without_namespace_and_reads_any_state() {
    let body = r#"{"initialized":true,"sealed":true,"standby":true,"version":"2.7.2"}"#;
    let fake = FakeVault::http(Fault::Answer(200, body)).await;
    let config = VaultConfig { namespace: Some("team".into()), ..fake.config() };
    let health = VaultClient::new(&config).unwrap().health().await.unwrap();
    assert!(health.initialized && health.sealed && health.standby);
    assert_eq!(health.version, "2.7.2");
    assert!(!fake.seen()[0].headers.contains_key("x-vault-namespace"));
}

/// The answers of a read, by status and Vault's text. The 400 and 500 are the original engine's.
#[tokio::test]
async fn refusals_of_a_read_are_told_apart() {
    let denied =
        read(Fault::Answer(403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#)).await;
    assert_eq!(denied.to_string(), "Vault denied reading minio/keys/profile-bob (403): permission denied");
    assert!(matches!(denied, VaultError::Denied { operation: Operation::Read, status: 403, .. }));

    let text = r#"{"errors":["1 error occurred:\n\t* error fetching role: role not found\n\n"]}"#;
    for status in [400, 404, 500] {
        let missing = read(Fault::Answer(status, text)).await;
        assert!(matches!(missing, VaultError::RoleMissing { .. }), "{missing}");
        assert!(!missing.is_transient());
        assert!(missing.to_string().ends_with("): error fetching role: role not found"), "{missing}");
    }

    let nothing = read(Fault::Answer(404, r#"{"errors":[]}"#)).await;
    assert!(matches!(nothing, VaultError::NotFound { .. }));
    assert!(nothing.to_string().ends_with("(404): Not Found"), "{nothing}");

    let invalid = read(Fault::Answer(400, r#"{"errors":["lease is not renewable"]}"#)).await;
    assert!(matches!(invalid, VaultError::BadRequest { .. }) && !invalid.is_transient());

    for (status, text) in
        [(503, r#"{"errors":["Vault is sealed"]}"#), (503, r#"{"errors":["Vault is sealed\n"]}"#)]
    {
        let sealed = read(Fault::Answer(status, text)).await;
        assert!(matches!(sealed, VaultError::Sealed { status: 503, .. }), "{sealed}");
        assert!(sealed.is_transient() && sealed.to_string().contains("sealed"));
    }

    let limited =
        read(Fault::Answer(429, r#"{"errors":["request path \"x\": rate limit quota exceeded"]}"#)).await;
    assert!(matches!(limited, VaultError::RateLimited { .. }) && limited.is_transient());

    let policy = r#"{"errors":["1 error occurred:\n\t* The canned policy does not exist.\n\n"]}"#;
    let server = read(Fault::Answer(500, policy)).await;
    assert!(matches!(server, VaultError::Server { status: 500, .. }) && server.is_transient());

    let stale = read(Fault::Answer(412, r#"{"errors":["required index state not present"]}"#)).await;
    assert!(stale.is_transient());
}

#[tokio::test]
async fn refusals_of_a_login_are_told_apart() {
    let text = r#"{"errors":["error validating token: invalid audience (aud) claim"]}"#;
    let denied = login(Fault::Answer(400, text)).await;
    assert_eq!(
        denied.to_string(),
        "Vault denied login at auth/jwt/login (400): error validating token: invalid audience (aud) claim"
    );
    for text in [
        r#"{"errors":["role \"tenant\" could not be found"]}"#,
        r#"{"errors":["invalid role name \"tenant\""]}"#,
    ] {
        assert!(matches!(login(Fault::Answer(400, text)).await, VaultError::RoleMissing { .. }), "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_echoes_a_secret_is_redacted() {
    let error = login(Fault::Answer(400, r#"{"errors":["cannot parse SENTINEL.JWT.abc"]}"#)).await;
    assert!(error.to_string().ends_with("cannot parse [redacted]"), "{error}");
    let error = read(Fault::Answer(500, r#"{"errors":["token hvs.SENTINEL-TOKEN\u0007 expired"]}"#)).await;
    assert!(error.to_string().ends_with("token [redacted]  expired"), "{error}");
}

#[tokio::test]
async fn a_hanging_server_costs_no_more_than_the_timeout() {
    for fault in [Fault::Hang, Fault::HangInBody] {
        let start = Instant::now();
        let error = read(fault).await;
        assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
        assert!(matches!(&error, VaultError::Unavailable { .. }) && error.is_transient());
        assert!(error.to_string().ends_with("no answer within 400ms"), "{error}");
    }
}

#[tokio::test]
async fn no_server_is_unavailable_with_the_reason() {
    // Bound and dropped: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = VaultConfig::new(format!("http://127.0.0.1:{port}").parse().unwrap());
    let error = VaultClient::new(&config).unwrap().health().await.unwrap_err();
    let VaultError::Unavailable { reason, address, .. } = &error else { panic!("{error:?}") };
    assert!(reason.contains("refused"), "{reason}");
    assert_eq!(address, &format!("http://127.0.0.1:{port}"));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_to_be_that() {
    let config = VaultConfig {
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(20),
        ..VaultConfig::new("http://vault.invalid:8200".parse().unwrap())
    };
    let error = VaultClient::new(&config).unwrap().health().await.unwrap_err();
    assert!(error.to_string().contains("name resolution: "), "{error}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let error = read(Fault::Huge(BODY_LIMIT + 1)).await;
    assert!(matches!(error, VaultError::BadResponse { .. }), "{error}");
    assert!(error.to_string().contains("longer than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn garbage_and_missing_fields_are_named_and_not_quoted() {
    let lease = |data: &str| {
        let text = format!(r#"{{"lease_id":"l","lease_duration":60,"renewable":false,"data":{data}}}"#);
        Fault::Answer(200, text.leak())
    };
    let cases = [
        (Fault::Answer(200, "<html>SENTINEL-KEY</html>"), "not JSON"),
        (Fault::Answer(200, r#"["SENTINEL-KEY"]"#), "not an object"),
        (Fault::Answer(204, ""), "not JSON"),
        (
            Fault::Answer(200, r#"{"lease_id":"","data":{"secretAccessKey":"SENTINEL-KEY"}}"#),
            "lease_id is empty",
        ),
        (
            Fault::Answer(200, r#"{"lease_id":"l","lease_duration":"SENTINEL-KEY"}"#),
            "lease_duration has another type",
        ),
        (Fault::Answer(200, r#"{"lease_id":"l","lease_duration":0}"#), "lease_duration is zero"),
        (lease("null"), "data is null"),
        (lease(r#"{"secretAccessKey":"SENTINEL-KEY"}"#), "data.accessKeyId is missing"),
        (lease(r#"{"accessKeyId":"a"}"#), "data.secretAccessKey is missing"),
        (
            lease(r#"{"accessKeyId":"a","secretAccessKey":""}"#),
            "data.secretAccessKey has another type or is empty",
        ),
        (
            lease(r#"{"accessKeyId":"a","secretAccessKey":"SENTINEL-KEY","sessionToken":7}"#),
            "data.sessionToken has",
        ),
    ];
    for (fault, expected) in cases {
        let error = read(fault).await;
        assert!(matches!(error, VaultError::BadResponse { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error} does not say {expected}");
        assert!(!format!("{error} {error:?}").contains("SENTINEL"), "{error:?}");
    }
    let error = login(Fault::Answer(200, r#"{"auth":{"client_token":""}}"#)).await;
    assert!(error.to_string().contains("auth.client_token"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_explained_and_the_token_stays() {
    let other = FakeVault::http(Fault::Answer(200, LEASED)).await;
    let error = read(Fault::Redirect(307, format!("{}/v1/minio/keys/x?a=SENTINEL", other.url()))).await;
    assert!(
        matches!(&error, VaultError::Redirected { status: 307, to, .. } if *to == other.url()),
        "{error:?}"
    );
    assert!(other.seen().is_empty(), "the redirect was followed");
    assert!(error.is_transient());
}

#[tokio::test]
async fn input_that_could_mean_something_else_is_never_sent() {
    let fake = FakeVault::http(Fault::Answer(200, LEASED)).await;
    let client = fake.client();
    let paths = [
        "",
        "/minio/keys/a",
        "minio/keys/",
        "minio//keys",
        "minio/../sys/raw",
        "minio/keys/..",
        "minio/./a",
        "minio/keys/a?ttl=1",
        "minio/keys/a#b",
        "minio/keys/%2e%2e/b",
        "minio/keys/a\nb",
        "minio/keys/a\0",
        "minio\\keys",
        "minio/ .. /sys",
    ];
    for path in paths {
        let error = client.read_leased(&token(), path, None).await.unwrap_err();
        assert!(matches!(error, VaultError::InvalidInput { .. }), "{path:?}: {error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
    for bad in ["", "hvs.a\n", "a b", "ä"] {
        let error = client.read_leased(&SecretString::from(bad), PATH, None).await.unwrap_err();
        assert!(matches!(error, VaultError::InvalidInput { .. }), "{bad:?}: {error}");
    }
    let error = client.read_leased(&token(), PATH, Some(Duration::from_millis(999))).await.unwrap_err();
    assert!(error.to_string().contains("TTL"), "{error}");
    for (mount, role, jwt) in [("", "r", "j"), ("../sys", "r", "j"), ("jwt", "", "j"), ("jwt", "r", " \n")] {
        let method = AuthMethod { mount: mount.into(), kind: AuthKind::Jwt, role: role.into() };
        let error = client.login(&method, &SecretString::from(jwt)).await.unwrap_err();
        assert!(matches!(error, VaultError::InvalidInput { .. }), "{error}");
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn only_the_given_authority_is_trusted() {
    let (fake, pem) = FakeVault::https(Fault::Answer(200, LEASED)).await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let trusting = VaultConfig { ca_file: Some(ca.clone()), ..fake.config() };
    VaultClient::new(&trusting).unwrap().read_leased(&token(), PATH, None).await.unwrap();

    let another = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&ca, another.cert.pem()).unwrap();
    let error = VaultClient::new(&trusting).unwrap().read_leased(&token(), PATH, None).await.unwrap_err();
    assert!(error.to_string().contains("TLS: invalid peer certificate"), "{error}");
    assert_eq!(fake.seen().len(), 1, "the token went to a server nobody vouches for");
}

#[test]
fn settings_are_refused_by_name() {
    let with = |address: &str| VaultConfig::new(address.parse().unwrap());
    let base = || with("https://vault:8200");
    let cases = [
        (
            with("https://vault:8200/v1"),
            "Vault address: must be only scheme, host and port, but ends in \"/v1\"",
        ),
        (with("https://vault:8200/?a=b"), "Vault address: must be only"),
        (with("https://u:p@vault:8200"), "Vault address: must not carry a user"),
        (with("unix:///run/vault.sock"), "Vault address: scheme \"unix\""),
        (VaultConfig { namespace: Some("team\n".into()), ..base() }, "Vault namespace: \"team\\n\" has"),
        (VaultConfig { namespace: Some(String::new()), ..base() }, "Vault namespace: is empty"),
        (VaultConfig { timeout: Duration::ZERO, ..base() }, "Vault timeout: "),
        (VaultConfig { connect_timeout: Duration::ZERO, ..base() }, "Vault connect_timeout: "),
        (
            VaultConfig { ca_file: Some("/nonexistent/ca.pem".into()), ..base() },
            "Vault ca_file /nonexistent/ca.pem",
        ),
        (
            VaultConfig { ca_file: Some("/dev/null".into()), ..base() },
            "Vault ca_file /dev/null: no certificate",
        ),
    ];
    for (config, expected) in cases {
        let error: ConfigError = VaultClient::new(&config).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error} is not {expected}");
        assert!(!error.to_string().contains("u:p"), "{error}");
    }
}
