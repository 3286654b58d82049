//! Users and the policies attached to them.

use std::collections::BTreeMap;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::client::Call;
use crate::{Client, Code, Error, Removal, reply};

/// Whether a user may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserStatus {
    /// May log in.
    Enabled,
    /// Exists, but may not log in.
    Disabled,
}

impl UserStatus {
    /// The word MinIO uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

/// What MinIO tells about a user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserInfo {
    /// Names of the policies attached to the user itself, comma-separated as MinIO gives them.
    #[serde(default)]
    pub policy_name: String,
    /// Enabled or not.
    pub status: UserStatus,
    /// Groups the user is in.
    #[serde(default)]
    pub member_of: Vec<String>,
}

impl UserInfo {
    /// The attached policies' names, one by one.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.policy_name.split(',').map(str::trim).filter(|name| !name.is_empty())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewUser<'a> {
    secret_key: &'a str,
    status: UserStatus,
}

impl Client {
    /// Makes an enabled user without policies, or gives an existing one this secret. Needs
    /// `admin:CreateUser`. MinIO wants 3 characters or more in the name, 8 or more in the secret.
    ///
    /// # Errors
    /// [`Error`]; after [`Error::Timeout`] and [`Error::Broken`] the user may exist.
    pub async fn add_user(&self, name: &str, secret: &SecretString) -> Result<(), Error> {
        let operation = format!("add user {name}");
        let user = NewUser { secret_key: secret.expose_secret(), status: UserStatus::Enabled };
        let body =
            serde_json::to_vec(&user).map_err(|error| Error::Setup(format!("{operation}: {error}")))?;
        let query = [("accessKey", name)];
        let call = Call::new(operation, Method::PUT, "add-user", &query);
        self.call_sealed_empty(call, Zeroizing::new(body)).await
    }

    /// Deletes a user with its service accounts, temporary keys and policy attachments. Needs
    /// `admin:DeleteUser`, and `admin:GetUser` for the doubt below.
    ///
    /// When the caller of a removal goes away half-way (a deadline, a broken connection), MinIO
    /// drops the user from its memory but not from its disk: the next removal is answered "no such
    /// user", and later the user is back. Asking for the user reads the disk. So "no such user" is
    /// asked after, and the removal repeated if it was wrong. Without the right to ask it is believed.
    ///
    /// # Errors
    /// [`Error`]; a user that does not exist is [`Removal::Absent`].
    pub async fn remove_user(&self, name: &str) -> Result<Removal, Error> {
        match self.remove_user_once(name).await? {
            Removal::Absent if self.is_known(name).await? => self.remove_user_once(name).await,
            removal => Ok(removal),
        }
    }

    async fn remove_user_once(&self, name: &str) -> Result<Removal, Error> {
        let query = [("accessKey", name)];
        let call = Call::new(format!("remove user {name}"), Method::DELETE, "remove-user", &query);
        match self.call_empty(call, Vec::new()).await {
            Ok(()) => Ok(Removal::Removed),
            Err(error) if error.code() == Some(&Code::NoSuchUser) => Ok(Removal::Absent),
            Err(error) => Err(error),
        }
    }

    /// Whether MinIO's disk has a user or service account of this name.
    pub(crate) async fn is_known(&self, access_key: &str) -> Result<bool, Error> {
        let Err(error) = self.user_info(access_key).await else { return Ok(true) };
        match error.code() {
            // Known, and not as a user but as a service account.
            Some(Code::ActionNotAllowed) => Ok(true),
            Some(Code::NoSuchUser | Code::AccessDenied) => Ok(false),
            _ => Err(error),
        }
    }

    /// Gives a user exactly these policies, in place of those it had. Needs
    /// `admin:AttachUserOrGroupPolicy`.
    ///
    /// # Errors
    /// [`Error`], with [`Code::NoSuchPolicy`] when one of the names is unknown.
    pub async fn set_user_policy(&self, name: &str, policies: &[&str]) -> Result<(), Error> {
        self.set_policy(name, policies, false).await
    }

    pub(crate) async fn set_policy(
        &self,
        name: &str,
        policies: &[&str],
        is_group: bool,
    ) -> Result<(), Error> {
        let policies = policies.join(",");
        let (kind, is_group) = if is_group { ("group", "true") } else { ("user", "false") };
        let operation = format!("set policy {policies} on {kind} {name}");
        let query = [("policyName", policies.as_str()), ("userOrGroup", name), ("isGroup", is_group)];
        let call = Call::new(operation, Method::PUT, "set-user-or-group-policy", &query);
        self.call_empty(call, Vec::new()).await
    }

    /// Lets a user log in, or not; what it has stays. A disabled user's service accounts and temporary keys
    /// are refused as well. Needs `admin:EnableUser` or `admin:DisableUser`.
    ///
    /// # Errors
    /// [`Error`], with [`Code::NoSuchUser`] when there is none.
    pub async fn set_user_status(&self, user: &str, status: UserStatus) -> Result<(), Error> {
        let query = [("accessKey", user), ("status", status.as_str())];
        let operation = format!("set status of user {user} to {}", status.as_str());
        let call = Call::new(operation, Method::PUT, "set-user-status", &query);
        self.call_empty(call, Vec::new()).await
    }

    /// What MinIO knows about one user. Needs `admin:GetUser`.
    ///
    /// # Errors
    /// [`Error`], with [`Code::NoSuchUser`] when there is none.
    pub async fn user_info(&self, name: &str) -> Result<UserInfo, Error> {
        let operation = format!("user info {name}");
        let query = [("accessKey", name)];
        let call = Call::new(operation.clone(), Method::GET, "user-info", &query);
        reply::json(&self.call(call, Vec::new()).await?, &operation)
    }

    /// All users by name. Needs `admin:ListUsers`. The answer is sealed by the server, with
    /// Argon2id unless it is a FIPS build.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list_users(&self) -> Result<BTreeMap<String, UserInfo>, Error> {
        let operation = "list users";
        let call = Call::new(operation, Method::GET, "list-users", &[]);
        reply::json(&self.call_for_sealed(call).await?, operation)
    }
}
