//! Canned policies: those with a name, that users and groups can be given.

use reqwest::Method;
use serde_json::value::RawValue;

use crate::client::Call;
use crate::{Client, Code, Error, Removal, reply};

impl Client {
    /// Makes or replaces a canned policy from its JSON text. Needs `admin:CreatePolicy`. The document needs
    /// a `Version`; the name must not have a comma.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_policy(&self, name: &str, document: &str) -> Result<(), Error> {
        let query = [("name", name)];
        let call = Call::new(format!("add policy {name}"), Method::PUT, "add-canned-policy", &query);
        let document = parsed(document, &call.operation)?;
        self.call_empty(call, document.get().into()).await
    }

    /// Deletes a canned policy. Needs `admin:DeletePolicy`. The servers this was tested with answer
    /// success also when there was none, and then this is [`Removal::Removed`].
    ///
    /// # Errors
    /// [`Error`], with [`Code::PolicyInUse`] while users or groups have it.
    pub async fn remove_policy(&self, name: &str) -> Result<Removal, Error> {
        let query = [("name", name)];
        let call = Call::new(format!("remove policy {name}"), Method::DELETE, "remove-canned-policy", &query);
        match self.call_empty(call, Vec::new()).await {
            Ok(()) => Ok(Removal::Removed),
            Err(error) if error.code() == Some(&Code::NoSuchPolicy) => Ok(Removal::Absent),
            Err(error) => Err(error),
        }
    }

    /// A canned policy's document as JSON text, or `None` when there is none of that name. Needs
    /// `admin:GetPolicy`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn policy(&self, name: &str) -> Result<Option<String>, Error> {
        let query = [("name", name)];
        let operation = format!("policy {name}");
        let call = Call::new(operation.clone(), Method::GET, "info-canned-policy", &query);
        match self.call(call, Vec::new()).await {
            Ok(answer) => {
                reply::json::<&RawValue>(&answer, &operation).map(|text| Some(text.get().to_owned()))
            }
            Err(error) if error.code() == Some(&Code::NoSuchPolicy) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A caller's policy document, checked to be JSON and otherwise left as it is.
pub(crate) fn parsed<'a>(document: &'a str, operation: &str) -> Result<&'a RawValue, Error> {
    serde_json::from_str(document).map_err(|error| Error::Document {
        operation: operation.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}
