//! `keys/<role>`, and `creds/<role>`, which is the same: fresh keys under a lease.
//!
//! Differences from the Go plugin: leases are renewable; a `ttl` above the role's maximum is capped with
//! a warning; when anything after the user fails, the user is deleted at once.

mod service_account;
mod session;
mod user;

use std::sync::Arc;

use minio_admin::UserStatus;
use secrecy::{ExposeSecret, SecretString};
use vault_plugin_sdk::{Entity, Error, Field, Operation, Path, Request, Response, Result, handler, pattern};

use crate::Engine;
use crate::policy::Document;
use crate::roles::{CredentialType, ROLE, Role};
use crate::template::{Facts, Template};

const TTL: &str = "ttl";

/// The paths.
pub(crate) fn paths(engine: &Arc<Engine>) -> [Path; 2] {
    ["keys", "creds"].map(|folder| {
        Path::new(format!("{folder}/{}", pattern::name(ROLE)))
            .field(Field::string(ROLE).describe("Name of the role"))
            .field(Field::duration(TTL).describe("Length of the lease; 0 means the role's"))
            .on(Operation::Read, handler(engine, Engine::issue))
            .help(
                "Fresh keys",
                "Each read makes a user with the role's policy, or a service account or session, as the role's \
                 credential_type has it. Users and service accounts are deleted when the lease ends.",
            )
    })
}

/// What the three kinds of keys are made from.
struct Order<'a> {
    req: &'a Request,
    name: &'a str,
    role: &'a Role,
    document: Option<Document>,
    entity: Option<Entity>,
}

impl Order<'_> {
    fn facts(&self) -> Facts<'_> {
        Facts {
            role: self.name,
            request_id: &self.req.id,
            display_name: &self.req.display_name,
            entity: self.entity.as_ref(),
        }
    }

    /// The policy of the key's own.
    fn policy(&self) -> Result<Option<String>> {
        let limit = self.role.credential_type.policy_limit();
        self.document.as_ref().map(|document| document.render(&self.facts(), limit)).transpose()
    }
}

impl Engine {
    async fn issue(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let name = req.fields.str(ROLE);
        let role = Role::load(&req.storage, name)
            .await?
            // HTTP 500 with this text, as the Go plugin answers.
            .ok_or_else(|| Error::internal("error fetching role: role not found"))?;
        let minio = self.client(&req.storage, &role.cluster).await?;
        let document = role.policy_document.as_deref().map(Document::parse).transpose()?;
        let entity = entity(&req, &role, document.as_ref()).await?;
        let order = Order { req: &req, name, role: &role, document, entity };
        let answer = match role.credential_type {
            CredentialType::User => user::issue(&self, &minio, &order).await,
            CredentialType::ServiceAccount => service_account::issue(&self, &minio, &order).await,
            CredentialType::Sts => session::issue(&self, &minio, &order).await,
        };
        answer.map(Some)
    }
}

/// The caller's entity, when a template asks for it.
async fn entity(req: &Request, role: &Role, document: Option<&Document>) -> Result<Option<Entity>> {
    let name =
        role.user_name_template.as_deref().map(Template::parse).transpose().map_err(Error::internal)?;
    let is_needed =
        name.is_some_and(|name| name.needs_entity()) || document.is_some_and(Document::needs_entity);
    if !is_needed || req.entity_id.is_empty() {
        return Ok(None);
    }
    Ok(req.system.entity(&req.entity_id).await?)
}

/// The answer's data, under the Go plugin's names.
fn keys(access_key: &str, secret: &SecretString, policy: &str) -> Response {
    Response::new()
        .with("accessKeyId", access_key)
        .with("secretAccessKey", secret.expose_secret())
        .with("accountStatus", UserStatus::Enabled.as_str())
        .with("policy", policy)
}
