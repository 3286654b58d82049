//! Temporary keys with a session token.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use crate::client::Call;
use crate::policies::parsed;
use crate::{Client, Error, reply, sigv4};

/// Temporary keys. They are of use only with the session token, in the header `x-amz-security-token`.
#[derive(Debug, Clone)]
pub struct SessionCredentials {
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: SecretString,
    /// Session token.
    pub session_token: SecretString,
    /// When MinIO refuses them from.
    pub expiration: Timestamp,
}

impl Client {
    /// Temporary keys for the calling user. Service accounts and temporary keys are refused; so was root by
    /// servers of 2020, while those of 2026 give it some. The keys may do what the user may, within `policy`
    /// (JSON text, 2048 bytes at most) when given. They last for `duration` (900 s to 365 days; whole seconds)
    /// or the server's default of an hour, and end early only with the user. Never repeated by
    /// [`Builder::retries`](crate::Builder::retries).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn assume_role(
        &self,
        duration: Option<Duration>,
        policy: Option<&str>,
    ) -> Result<SessionCredentials, Error> {
        let call = Call::sts("assume role");
        let operation = call.operation.clone();
        let seconds = duration.map(|duration| duration.as_secs().to_string());
        let mut form = vec![("Action", "AssumeRole"), ("Version", "2011-06-15")];
        form.extend(seconds.as_deref().map(|seconds| ("DurationSeconds", seconds)));
        if let Some(policy) = policy {
            form.push(("Policy", parsed(policy, &operation)?.get()));
        }
        // A form in this encoding is one in a form's own, too.
        let answer = self.call(call, sigv4::query(&form).into_bytes()).await?;
        credentials(&answer).ok_or_else(|| Error::Garbage {
            operation,
            status: 200,
            reason: "no credentials in it".to_owned(),
        })
    }
}

fn credentials(answer: &[u8]) -> Option<SessionCredentials> {
    let text = std::str::from_utf8(answer).ok()?;
    // Keys, token and time have no character that XML would escape.
    let element = |name| reply::element(text, name).filter(|value| !value.is_empty());
    Some(SessionCredentials {
        access_key: element("AccessKeyId")?.to_owned(),
        secret_key: element("SecretAccessKey")?.into(),
        session_token: element("SessionToken")?.into(),
        expiration: element("Expiration")?.parse().ok()?,
    })
}
