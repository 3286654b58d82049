//! AWS Signature Version 4, in headers, as MinIO's admin API wants it.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>; the
//! tests are that page's examples and AWS's published test suite.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// HTTP method in capitals.
    pub method: &'a str,
    /// Path as it goes over the wire (already percent-encoded).
    pub path: &'a str,
    /// Query as it goes over the wire: made by [`query`], so encoded and sorted.
    pub query: &'a str,
    /// Headers to sign: names in lower case, sorted; must contain `host` and `x-amz-date`.
    pub headers: &'a [(&'a str, &'a str)],
    /// Lower-case hex SHA-256 of the body ([`payload_hash`]).
    pub payload_hash: &'a str,
}

/// Whose signature, for which service, and when.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// Access key id.
    pub access_key: &'a str,
    /// Its secret.
    pub secret_key: &'a str,
    /// Region in the credential scope. MinIO takes any for admin calls.
    pub region: &'a str,
    /// `s3` for the admin API.
    pub service: &'a str,
    /// `YYYYMMDD'T'HHMMSS'Z'`, equal to the `x-amz-date` header ([`amz_date`]).
    pub date: &'a str,
}

/// The value of the `Authorization` header.
#[must_use]
pub fn authorization(request: &Request<'_>, signer: &Signer<'_>) -> String {
    let day = signer.date.get(..8).unwrap_or(signer.date);
    let scope = format!("{day}/{}/{}/aws4_request", signer.region, signer.service);
    let names = request.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical = canonical_request(request, &names);
    let to_sign =
        format!("{ALGORITHM}\n{}\n{scope}\n{}", signer.date, hex::encode(Sha256::digest(canonical)));
    let mut key = Zeroizing::new(format!("AWS4{}", signer.secret_key).into_bytes());
    for part in [day, signer.region, signer.service, "aws4_request"] {
        key = Zeroizing::new(mac(&key, part).to_vec());
    }
    let signature = hex::encode(mac(&key, &to_sign));
    format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        signer.access_key
    )
}

fn canonical_request(request: &Request<'_>, names: &str) -> String {
    let mut out = format!("{}\n{}\n{}\n", request.method, request.path, request.query);
    for (name, value) in request.headers {
        out.push_str(name);
        out.push(':');
        out.push_str(&value.split_whitespace().collect::<Vec<_>>().join(" "));
        out.push('\n');
    }
    out.push('\n');
    out.push_str(names);
    out.push('\n');
    out.push_str(request.payload_hash);
    out
}

fn mac(key: &[u8], data: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(data.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Lower-case hex SHA-256 of a body; the empty body has one too.
#[must_use]
pub fn payload_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// A moment in the form of the `x-amz-date` header, in UTC.
#[must_use]
pub fn amz_date(at: jiff::Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A query string: encoded as RFC 3986 wants it (a space is `%20`) and sorted by name.
#[must_use]
pub fn query(pairs: &[(&str, &str)]) -> String {
    let mut parts: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    parts.sort_unstable();
    parts.join("&")
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => {
                out.push('%');
                out.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");
    const DATE: (&str, &str) = ("x-amz-date", "20130524T000000Z");
    const EMPTY_BODY: (&str, &str) = ("x-amz-content-sha256", EMPTY);

    fn s3_signature(method: &str, path: &str, query: &str, headers: &[(&str, &str)], hash: &str) -> String {
        let signer = Signer {
            access_key: "AKIAIOSFODNN7EXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
            service: "s3",
            date: DATE.1,
        };
        let request = Request { method, path, query, headers, payload_hash: hash };
        let header = authorization(&request, &signer);
        header.rsplit("Signature=").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_s3_documentation_examples() {
        assert_eq!(payload_hash(b""), EMPTY);
        assert_eq!(
            s3_signature("GET", "/test.txt", "", &[HOST, ("range", "bytes=0-9"), EMPTY_BODY, DATE], EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let body = payload_hash(b"Welcome to Amazon S3.");
        let headers = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            HOST,
            ("x-amz-content-sha256", body.as_str()),
            DATE,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        assert_eq!(
            s3_signature("PUT", "/test%24file.text", "", &headers, &body),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            s3_signature("GET", "/", &query(&[("lifecycle", "")]), &[HOST, EMPTY_BODY, DATE], EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        let list = query(&[("prefix", "J"), ("max-keys", "2")]);
        assert_eq!(
            s3_signature("GET", "/", &list, &[HOST, EMPTY_BODY, DATE], EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn the_test_suites_get_vanilla() {
        let signer = Signer {
            access_key: "AKIDEXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
            service: "service",
            date: "20150830T123600Z",
        };
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        let request = Request { method: "GET", path: "/", query: "", headers: &headers, payload_hash: EMPTY };
        assert_eq!(
            authorization(&request, &signer),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn a_query_is_encoded_once_and_sorted() {
        assert_eq!(
            query(&[("userOrGroup", "a b/é+~"), ("isGroup", "false")]),
            "isGroup=false&userOrGroup=a%20b%2F%C3%A9%2B~"
        );
    }

    #[test]
    fn a_date_is_utc_with_seconds() {
        assert_eq!(amz_date(jiff::Timestamp::UNIX_EPOCH), "19700101T000000Z");
    }
}
