//! Service accounts: keys of their own below a user, with at most the user's rights.

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::client::Call;
use crate::policies::parsed;
use crate::{Client, Code, Error, Removal, UserStatus, body, reply};

const EXPIRATION: RangeInclusive<SignedDuration> =
    SignedDuration::from_mins(15)..=SignedDuration::from_hours(365 * 24);

/// A service account to be made.
#[derive(Debug, Clone)]
pub struct NewServiceAccount {
    /// The user it belongs to; the calling user when `None`.
    pub parent: Option<String>,
    /// Access key id, 3 to 20 characters.
    pub access_key: String,
    /// Secret key, 8 to 40 characters.
    pub secret_key: SecretString,
    /// Policy document as JSON text, 4096 bytes at most: what the account may do of what its parent may.
    /// `None`: all of it.
    pub policy: Option<String>,
    /// A name for people, 32 characters at most.
    pub name: Option<String>,
    /// A description for people, 256 characters at most.
    pub description: Option<String>,
    /// When MinIO refuses its keys from: at least 15 minutes and at most 365 days from now.
    pub expiration: Option<Timestamp>,
}

/// What to change about a service account; `None` leaves as it is.
#[derive(Debug, Clone, Default)]
pub struct ServiceAccountChange {
    /// A new secret key, 8 to 40 characters.
    pub secret_key: Option<SecretString>,
    /// Another policy document as JSON text.
    pub policy: Option<String>,
    /// Another end of its life.
    pub expiration: Option<Timestamp>,
    /// Whether its keys work.
    pub status: Option<UserStatus>,
}

/// What MinIO tells about a service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountInfo {
    /// The user it belongs to.
    pub parent: String,
    /// Whether its keys work.
    pub status: UserStatus,
    /// When its keys stop working; `None`: never.
    pub expiration: Option<Timestamp>,
    /// Its own policy document as JSON text; `None` when it may do what its parent may.
    pub policy: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    target_user: Option<&'a str>,
    access_key: &'a str,
    secret_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UpdateRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    new_secret_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_policy: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_expiration: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_status: Option<&'static str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InfoAnswer {
    parent_user: String,
    account_status: Status,
    #[serde(default)]
    implied_policy: bool,
    #[serde(default)]
    policy: String,
    #[serde(default)]
    expiration: Option<Timestamp>,
}

/// MinIO's words for the status of a service account.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    On,
    Off,
}

impl Client {
    /// Makes a service account. Needs `admin:CreateServiceAccount`, unless it is below the calling user.
    /// It ends with its parent: see [`Client::remove_user`]. Never repeated by [`Builder::retries`]: a second
    /// attempt would be told that the access key is taken.
    ///
    /// [`Builder::retries`]: crate::Builder::retries
    ///
    /// # Errors
    /// [`Error`], with [`Code::NoSuchUser`] when the parent does not exist; after [`Error::Timeout`] and
    /// [`Error::Broken`] the account may exist.
    pub async fn add_service_account(&self, account: &NewServiceAccount) -> Result<(), Error> {
        let operation = format!("add service account {}", account.access_key);
        let policy = account.policy.as_deref().map(|text| parsed(text, &operation)).transpose()?;
        let request = AddRequest {
            target_user: account.parent.as_deref(),
            access_key: &account.access_key,
            secret_key: account.secret_key.expose_secret(),
            policy,
            name: account.name.as_deref(),
            description: account.description.as_deref(),
            expiration: in_range(account.expiration, &operation)?,
        };
        let body = json(&request, &operation)?;
        let call = Call::new(operation.clone(), Method::PUT, "add-service-account", &[]).once();
        let answer = self.call_sealed(call, body).await?;
        // It holds the keys that were sent. Opening it would cost a key derivation to learn nothing.
        body::algorithm_of(&answer).map(drop).map_err(|source| Error::Body { operation, source })
    }

    /// Changes a service account. Needs `admin:UpdateServiceAccount`.
    ///
    /// # Errors
    /// [`Error`]; an account that does not exist is refused with status 404.
    pub async fn update_service_account(
        &self,
        access_key: &str,
        change: &ServiceAccountChange,
    ) -> Result<(), Error> {
        let operation = format!("update service account {access_key}");
        let policy = change.policy.as_deref().map(|text| parsed(text, &operation)).transpose()?;
        let request = UpdateRequest {
            new_secret_key: change.secret_key.as_ref().map(ExposeSecret::expose_secret),
            new_policy: policy,
            new_expiration: in_range(change.expiration, &operation)?,
            new_status: change.status.map(|status| match status {
                UserStatus::Enabled => "on",
                UserStatus::Disabled => "off",
            }),
        };
        let body = json(&request, &operation)?;
        let query = [("accessKey", access_key)];
        let call = Call::new(operation, Method::POST, "update-service-account", &query);
        self.call_sealed_empty(call, body).await
    }

    /// Deletes a service account. Needs `admin:RemoveServiceAccount`, unless it is the calling user's, and
    /// `admin:GetUser` to be sure that one MinIO does not know is gone: see [`Client::remove_user`].
    ///
    /// # Errors
    /// [`Error`]; an account that does not exist is [`Removal::Absent`].
    pub async fn remove_service_account(&self, access_key: &str) -> Result<Removal, Error> {
        match self.remove_service_account_once(access_key).await? {
            Removal::Absent if self.is_known(access_key).await? => {
                self.remove_service_account_once(access_key).await
            }
            removal => Ok(removal),
        }
    }

    async fn remove_service_account_once(&self, access_key: &str) -> Result<Removal, Error> {
        let query = [("accessKey", access_key)];
        let operation = format!("remove service account {access_key}");
        let call = Call::new(operation, Method::DELETE, "delete-service-account", &query);
        match self.call_empty(call, Vec::new()).await {
            Ok(()) => Ok(Removal::Removed),
            Err(error) if is_absence(&error) => Ok(Removal::Absent),
            Err(error) => Err(error),
        }
    }

    /// What MinIO knows about a service account, or `None` when there is none. Needs
    /// `admin:ListServiceAccounts`, unless it is the calling user's. The answer is sealed, as that of
    /// [`Client::list_users`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn service_account(&self, access_key: &str) -> Result<Option<ServiceAccountInfo>, Error> {
        let query = [("accessKey", access_key)];
        let operation = format!("service account {access_key}");
        let call = Call::new(operation.clone(), Method::GET, "info-service-account", &query);
        let answer = match self.call_for_sealed(call).await {
            Ok(answer) => answer,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let answer: InfoAnswer = reply::json(&answer, &operation)?;
        Ok(Some(ServiceAccountInfo {
            parent: answer.parent_user,
            status: match answer.account_status {
                Status::On => UserStatus::Enabled,
                Status::Off => UserStatus::Disabled,
            },
            // Servers have said "never" with the start of an epoch, Unix' or Go's.
            expiration: answer.expiration.filter(|at| *at > Timestamp::UNIX_EPOCH),
            policy: (!answer.implied_policy && !answer.policy.is_empty()).then_some(answer.policy),
        }))
    }
}

fn is_absence(error: &Error) -> bool {
    let code = error.code();
    error.status() == Some(404) && matches!(code, Some(Code::InvalidIamCredentials | Code::NoSuchAccessKey))
}

/// What MinIO takes. It answers anything else with "internal error", which looks as if it would pass.
fn in_range(expiration: Option<Timestamp>, operation: &str) -> Result<Option<Timestamp>, Error> {
    let Some(value) = expiration else { return Ok(None) };
    if EXPIRATION.contains(&value.duration_since(Timestamp::now())) {
        return Ok(Some(value));
    }
    Err(Error::Expiration { operation: operation.to_owned(), value })
}

fn json(request: &impl Serialize, operation: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    serde_json::to_vec(request)
        .map(Zeroizing::new)
        .map_err(|error| Error::Setup(format!("{operation}: {error}")))
}
