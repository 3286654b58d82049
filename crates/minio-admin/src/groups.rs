//! Groups of users, which give their members the groups' policies.

use reqwest::Method;
use serde::Serialize;

use crate::client::Call;
use crate::{Client, Code, Error, UserStatus};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Membership<'a> {
    group: &'a str,
    members: &'a [&'a str],
    group_status: UserStatus,
    is_remove: bool,
}

impl Client {
    /// Adds users to a group; MinIO makes the group when there is none. A user who is in it already stays.
    /// Needs `admin:AddUserToGroup`.
    ///
    /// # Errors
    /// [`Error`], with [`Code::NoSuchUser`] when one of the users does not exist; then none is added.
    pub async fn add_to_group(&self, group: &str, users: &[&str]) -> Result<(), Error> {
        self.update_members(format!("add users to group {group}"), group, users, false).await
    }

    /// Takes users out of a group. A group that does not exist, or that a user is not in, is no error. The
    /// group stays when it is empty. Needs `admin:RemoveUserFromGroup`.
    ///
    /// # Errors
    /// [`Error`], with [`Code::NoSuchUser`] when one of the users does not exist; then none is taken out.
    pub async fn remove_from_group(&self, group: &str, users: &[&str]) -> Result<(), Error> {
        // MinIO takes the removal of nobody for the removal of the group.
        if users.is_empty() {
            return Ok(());
        }
        match self.update_members(format!("remove users from group {group}"), group, users, true).await {
            Err(error) if error.code() == Some(&Code::NoSuchGroup) => Ok(()),
            outcome => outcome,
        }
    }

    /// Gives a group exactly these policies, in place of those it had. Needs
    /// `admin:AttachUserOrGroupPolicy`.
    ///
    /// # Errors
    /// [`Error`], with [`Code::NoSuchPolicy`] or [`Code::NoSuchGroup`] when a name is unknown.
    pub async fn set_group_policy(&self, group: &str, policies: &[&str]) -> Result<(), Error> {
        self.set_policy(group, policies, true).await
    }

    async fn update_members(
        &self,
        operation: String,
        group: &str,
        members: &[&str],
        is_remove: bool,
    ) -> Result<(), Error> {
        let change = Membership { group, members, group_status: UserStatus::Enabled, is_remove };
        let body =
            serde_json::to_vec(&change).map_err(|error| Error::Setup(format!("{operation}: {error}")))?;
        self.call_empty(Call::new(operation, Method::PUT, "update-group-members", &[]), body).await
    }
}
