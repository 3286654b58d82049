//! The requests: path, query and body of each call. None derives `Debug`: `Login` holds a token.

use rustify_derive::Endpoint;
use serde::Serialize;

#[derive(Endpoint, Serialize)]
#[endpoint(path = "auth/{self.mount}/login", method = "POST")]
pub(crate) struct Login {
    #[endpoint(skip)]
    #[serde(skip)]
    pub(crate) mount: String,
    pub(crate) role: String,
    pub(crate) jwt: String,
}

#[derive(Endpoint)]
#[endpoint(path = "{self.path}")]
pub(crate) struct ReadLeased {
    #[endpoint(skip)]
    pub(crate) path: String,
    /// Seconds.
    #[endpoint(query)]
    pub(crate) ttl: Option<u64>,
}

#[derive(Endpoint)]
#[endpoint(path = "auth/token/revoke-self", method = "POST")]
pub(crate) struct RevokeSelf {}

#[derive(Endpoint)]
#[endpoint(path = "auth/token/lookup-self")]
pub(crate) struct LookupSelf {}

#[derive(Endpoint)]
#[endpoint(path = "sys/health")]
pub(crate) struct Health {
    #[endpoint(query)]
    pub(crate) standbyok: bool,
    #[endpoint(query)]
    pub(crate) perfstandbyok: bool,
    #[endpoint(query)]
    pub(crate) sealedcode: u16,
    #[endpoint(query)]
    pub(crate) uninitcode: u16,
    #[endpoint(query)]
    pub(crate) drsecondarycode: u16,
}
