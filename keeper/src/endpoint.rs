//! What the credentials endpoint answers: the container-credentials protocol of the AWS SDKs.
//!
//! The SDK for Go v1 takes the URI and the token from two environment variables and sends the token verbatim as
//! `Authorization` (`aws/defaults/defaults.go`, `aws/credentials/endpointcreds/provider.go`).

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use csi_proto::keeper::v1::Generation;
use httparse::Request;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::credentials::Keys;
use crate::http::Response;
use crate::time::rfc3339;

/// The only path there is.
pub const PATH: &str = "/credentials";

/// Where the daemon fetches keys, and what it shows to get them.
#[derive(Debug)]
pub struct Endpoint {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The value of `Authorization`.
    pub token: Zeroizing<String>,
}

impl Endpoint {
    /// For `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.port)
    }

    /// Answers one request at the moment `now_ms`.
    #[must_use]
    pub fn answer(&self, request: &Request<'_, '_>, keys: &Mutex<Keys>, now_ms: u64) -> Response {
        if !self.authorized(request) {
            return refusal(401, "Unauthorized", "the Authorization header is missing or wrong");
        }
        // Some SDKs join an empty operation path to the address.
        let path = request.path.unwrap_or_default();
        if path.strip_suffix('/').unwrap_or(path) != PATH {
            return refusal(404, "NotFound", "there is only /credentials");
        }
        if request.method != Some("GET") {
            return refusal(405, "MethodNotAllowed", "only GET is served");
        }
        let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.hand_out(now_ms) {
            Ok(given) => {
                Response { status: 200, body: credentials(given.generation, &rfc3339(given.expiration_ms)) }
            }
            Err(expired) => refusal(403, "LeaseExpired", &expired.to_string()),
        }
    }

    fn authorized(&self, request: &Request<'_, '_>) -> bool {
        let mut shown =
            request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("authorization"));
        match (shown.next(), shown.next()) {
            (Some(header), None) => bool::from(header.value.ct_eq(self.token.as_bytes())),
            _ => false,
        }
    }
}

fn credentials(generation: &Generation, expiration: &str) -> Zeroizing<String> {
    let mut fields = vec![
        ("AccessKeyId", generation.access_key.as_str()),
        ("SecretAccessKey", generation.secret_key.as_str()),
    ];
    if !generation.session_token.is_empty() {
        fields.push(("Token", generation.session_token.as_str()));
    }
    fields.push(("Expiration", expiration));
    object(&fields)
}

fn refusal(status: u16, code: &str, message: &str) -> Response {
    Response { status, body: object(&[("code", code), ("message", message)]) }
}

/// A JSON object of strings.
fn object(fields: &[(&str, &str)]) -> Zeroizing<String> {
    // Enough for every character to be escaped, so that growing leaves no copy of a secret behind.
    let room = fields.iter().map(|(name, value)| name.len() + 6 * value.len() + 6).sum::<usize>() + 2;
    let mut json = Zeroizing::new(String::with_capacity(room));
    for (index, (name, value)) in fields.iter().enumerate() {
        json.push_str(if index == 0 { "{\"" } else { ",\"" });
        json.push_str(name);
        json.push_str("\":\"");
        value.chars().for_each(|c| escape(c, &mut json));
        json.push('"');
    }
    json.push('}');
    json
}

fn escape(c: char, json: &mut String) {
    match c {
        '"' | '\\' => json.extend(['\\', c]),
        // Writing to a String cannot fail.
        c if c < ' ' => drop(write!(json, "\\u{:04x}", u32::from(c))),
        c => json.push(c),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::secret::Wiped;
    use csi_proto::keeper::v1::Login;

    fn ask(generation: Generation, request: &str, now_ms: u64) -> (u16, String) {
        let keys =
            Mutex::new(Keys::new(Wiped::new(generation), Wiped::new(Login::default()), 60_000).unwrap());
        let endpoint = Endpoint { port: 1, token: Zeroizing::new("t0ken".into()) };
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut parsed = Request::new(&mut headers);
        assert!(parsed.parse(request.as_bytes()).unwrap().is_complete());
        let response = endpoint.answer(&parsed, &keys, now_ms);
        (response.status, response.body.to_string())
    }

    fn generation() -> Generation {
        Generation {
            id: "g".into(),
            access_key: "AK".into(),
            secret_key: "S\"\\\n\u{e9}".into(),
            ..Generation::default()
        }
    }

    #[test]
    fn keys_are_given_as_the_sdk_reads_them() {
        let get = "GET /credentials HTTP/1.1\r\nauthorization: t0ken\r\n\r\n";
        let expected = r#"{"AccessKeyId":"AK","SecretAccessKey":"S\"\\\u000aé","Expiration":"1970-01-01T00:06:01.500Z"}"#;
        assert_eq!(ask(generation(), get, 1_500), (200, expected.to_owned()));
        let with_token = Generation { session_token: "T".into(), ..generation() };
        let (_, body) = ask(with_token, "GET /credentials/ HTTP/1.1\r\nAuthorization: t0ken\r\n\r\n", 0);
        assert!(body.contains(r#","Token":"T","Expiration":"#), "{body}");
    }

    #[test]
    fn everything_else_is_refused_by_its_own_status() {
        for (status, request) in [
            (401, "GET /credentials HTTP/1.1\r\n\r\n"),
            (401, "GET /credentials HTTP/1.1\r\nAuthorization: t0keN\r\n\r\n"),
            (401, "GET /credentials HTTP/1.1\r\nAuthorization: t0ke\r\n\r\n"),
            (401, "GET /credentials HTTP/1.1\r\nAuthorization: Bearer t0ken\r\n\r\n"),
            (401, "GET /credentials HTTP/1.1\r\nAuthorization: t0ken\r\nAuthorization: t0ken\r\n\r\n"),
            (401, "GET /other HTTP/1.1\r\n\r\n"),
            (404, "GET / HTTP/1.1\r\nAuthorization: t0ken\r\n\r\n"),
            (404, "GET /credentials?x HTTP/1.1\r\nAuthorization: t0ken\r\n\r\n"),
            (404, "GET /credentials/x HTTP/1.1\r\nAuthorization: t0ken\r\n\r\n"),
            (405, "POST /credentials HTTP/1.1\r\nAuthorization: t0ken\r\n\r\n"),
            (405, "HEAD /credentials HTTP/1.1\r\nAuthorization: t0ken\r\n\r\n"),
        ] {
            let (got, body) = ask(generation(), request, 0);
            assert_eq!(got, status, "{request}");
            assert!(body.starts_with("{\"code\":\"") && !body.contains("AK"), "{body}");
        }
    }

    #[test]
    fn an_expired_lease_is_an_error_with_its_name() {
        let expired = Generation { expires_at_ms: 1_000, ..generation() };
        let (status, body) = ask(expired, "GET /credentials HTTP/1.1\r\nAuthorization: t0ken\r\n\r\n", 3_000);
        assert_eq!(status, 403);
        assert!(
            body.starts_with(
                r#"{"code":"LeaseExpired","message":"the lease of generation \"g\" expired 2000"#
            )
        );
    }
}
