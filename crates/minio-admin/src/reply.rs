//! Reading answers: bounded, and suspicious of everything.

use reqwest::Response;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::Error;

/// Where an error stops quoting somebody else's text, bytes.
const MESSAGE_LIMIT: usize = 400;

/// Longest answer that is read. 16 MiB hold the list of about 100 000 users.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// An answer that was read to its end.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// MinIO's error documents have these names in JSON and in XML.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "Code")]
    code: String,
    #[serde(rename = "Message", default)]
    message: String,
}

/// Reads an answer; what the transport says against it is the caller's to word.
pub(crate) async fn read(mut response: Response, operation: &str) -> Result<Reply, ReadError> {
    let status = response.status().as_u16();
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(ReadError::Transport)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(ReadError::Answer(Error::Garbage {
                operation: operation.to_owned(),
                status,
                reason: format!("longer than {MAX_ANSWER} bytes"),
            }));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, body })
}

/// Why an answer was not read to its end.
pub(crate) enum ReadError {
    Transport(reqwest::Error),
    Answer(Error),
}

impl Reply {
    /// The body of a success, or the error the answer holds.
    pub(crate) fn success(self, operation: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let Self { status, body } = self;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let operation = operation.to_owned();
        Err(match refusal(&body) {
            Some(Refusal { code, message }) => Error::Refused {
                operation,
                status,
                code: quotable(&code).as_str().into(),
                message: quotable(&message),
            },
            // The text stays out: nobody knows whose it is and what is in it.
            None => Error::Garbage {
                operation,
                status,
                reason: format!("{} bytes without an error code", body.len()),
            },
        })
    }
}

/// Somebody else's text, fit for an error: what cannot be printed is escaped, and the rest is cut off.
pub(crate) fn quotable(text: &str) -> String {
    let mut quoted = String::new();
    for c in text.chars() {
        match c {
            _ if quoted.len() >= MESSAGE_LIMIT => break,
            '"' | '\'' | '\\' => quoted.push(c),
            c => quoted.extend(c.escape_debug()),
        }
    }
    quoted
}

fn refusal(body: &[u8]) -> Option<Refusal> {
    if let Ok(refusal) = serde_json::from_slice(body) {
        return Some(refusal);
    }
    let text = std::str::from_utf8(body).ok()?;
    let element = |name| element(text, name).map(str::to_owned);
    Some(Refusal { code: element("Code")?, message: element("Message").unwrap_or_default() })
}

/// Content of the first XML element of that name, as it stands there. Enough for MinIO's answers, whose
/// elements of interest have no attributes.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
}

/// Whether an answer says nothing, as MinIO's does when all there is to tell is that it is done. A proxy's page
/// comes with status 200, too.
pub(crate) fn empty(body: &[u8], operation: &str) -> Result<(), Error> {
    match body.trim_ascii().len() {
        0 => Ok(()),
        length => Err(Error::Garbage {
            operation: operation.to_owned(),
            status: 200,
            reason: format!("{length} bytes where MinIO says nothing"),
        }),
    }
}

/// Parses a JSON answer.
pub(crate) fn json<'a, T: Deserialize<'a>>(body: &'a [u8], operation: &str) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Garbage {
        operation: operation.to_owned(),
        status: 200,
        // serde's own text can quote the input.
        reason: format!("not the JSON expected, at line {} column {}", error.line(), error.column()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    fn error(status: u16, body: &str) -> Option<Error> {
        Reply { status, body: Zeroizing::new(body.as_bytes().to_vec()) }.success("user info x").err()
    }

    #[test]
    fn errors_come_as_json_or_xml() {
        for body in [
            r#"{"Code":"XMinioAdminNoSuchUser","Message":"The specified user does not exist.","Resource":"/"}"#,
            "<?xml version=\"1.0\"?><Error><Code>XMinioAdminNoSuchUser</Code><Message>The specified user does not exist.</Message></Error>",
        ] {
            let error = error(404, body).expect("a 404 is an error");
            assert_eq!(error.code(), Some(&Code::NoSuchUser), "{body}");
            assert!(error.to_string().contains("does not exist"), "{error}");
        }
    }

    #[test]
    fn what_minio_says_is_bounded_and_printable() {
        let long = "x".repeat(100_000);
        let body = serde_json::json!({ "Code": format!("New\u{1b}[31m{long}"), "Message": format!("a\n\u{202e}\"b\"{long}") });
        let error = error(400, &body.to_string()).expect("a 400 is an error");
        let text = error.to_string();
        assert!(
            text.starts_with(r#"user info x: a\n\u{202e}"b"xxx"#) && text.contains(r"(New\u{1b}[31mxxx"),
            "{text}"
        );
        assert!(text.len() < 2 * MESSAGE_LIMIT + 50, "{}", text.len());
    }

    #[test]
    fn a_proxys_page_is_not_quoted() {
        let error = error(502, "<html>upstream secret=hunter2</html>").expect("a 502 is an error");
        assert!(error.is_retryable());
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
