//! Canned policies: those with a name, that users and groups can be given.

use reqwest::Method;
use serde_json::Value;

use crate::client::Call;
use crate::{Client, Error, reply};

impl Client {
    /// A canned policy's document. Needs `admin:GetPolicy`.
    ///
    /// # Errors
    /// [`Error`], with [`Code::NoSuchPolicy`](crate::Code::NoSuchPolicy) when there is none.
    pub async fn info_canned_policy(&self, name: &str) -> Result<Value, Error> {
        let operation = format!("info of policy {name}");
        let query = [("name", name)];
        let call = Call {
            operation: operation.clone(),
            method: Method::GET,
            name: "info-canned-policy",
            query: &query,
        };
        reply::json(&self.call(call, Vec::new()).await?, &operation)
    }

    /// Makes or replaces a canned policy. Needs `admin:CreatePolicy`. The document needs a
    /// `Version`; the name must not have a comma.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_canned_policy(&self, name: &str, document: &Value) -> Result<(), Error> {
        let operation = format!("add policy {name}");
        let query = [("name", name)];
        let call = Call { operation, method: Method::PUT, name: "add-canned-policy", query: &query };
        self.call(call, document.to_string().into_bytes()).await.map(drop)
    }

    /// Deletes a canned policy. Needs `admin:DeletePolicy`. MinIO answers success as well when there
    /// is no such policy.
    ///
    /// # Errors
    /// [`Error`], with [`Code::PolicyInUse`](crate::Code::PolicyInUse) while users or groups have it.
    pub async fn remove_canned_policy(&self, name: &str) -> Result<(), Error> {
        let operation = format!("remove policy {name}");
        let query = [("name", name)];
        let call = Call { operation, method: Method::DELETE, name: "remove-canned-policy", query: &query };
        self.call(call, Vec::new()).await.map(drop)
    }
}
