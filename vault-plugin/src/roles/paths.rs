//! The paths of roles.

use std::sync::Arc;

use vault_plugin_sdk::{
    Error, Field, FieldData, Operation, Path, Request, Response, Result, handler, pattern,
};

use super::{CredentialType, FOLDER, Role, key};
use crate::config::{Cluster, Config};
use crate::parents::Parent;
use crate::{Engine, limits};

pub(crate) const ROLE: &str = "role";
const POLICY: &str = "policy";
const USER_NAME_PREFIX: &str = "user_name_prefix";
const DEFAULT_TTL: &str = "default_ttl";
const MAX_TTL: &str = "max_ttl";
const CREDENTIAL_TYPE: &str = "credential_type";
const CLUSTER: &str = "cluster";
const GROUPS: &str = "groups";
const POLICY_DOCUMENT: &str = "policy_document";
const USER_NAME_TEMPLATE: &str = "user_name_template";
const PASSWORD_POLICY: &str = "password_policy";

/// HTTP 400, as the Go plugin answers.
fn not_found() -> Error {
    Error::bad_request("role not found")
}

/// The paths.
pub(crate) fn paths(engine: &Arc<Engine>) -> [Path; 2] {
    let list = Path::new(pattern::list("roles"))
        .on(Operation::List, handler(engine, Engine::list_roles))
        .help("The roles' names", "Lists the roles.");
    let one = Path::new(format!("{FOLDER}{}", pattern::name(ROLE)))
        .field(Field::string(ROLE).describe("Name of the role"))
        .field(Field::string(POLICY).describe("MinIO policy of the users; several, separated by commas"))
        .field(Field::string(USER_NAME_PREFIX).describe("What user names begin with").default_str(""))
        .field(Field::duration(DEFAULT_TTL).describe("Length of a lease; 0 means the mount's"))
        .field(Field::duration(MAX_TTL).describe("Longest life of a lease; 0 means the mount's"))
        .field(Field::string(CREDENTIAL_TYPE).describe("user (default), service_account or sts"))
        .field(Field::string(CLUSTER).describe("Name of the cluster, from config/<name>; empty for the plain config"))
        .field(Field::list(GROUPS).describe("MinIO groups the users are put in"))
        .field(Field::string(POLICY_DOCUMENT).describe(
            "Policy of each key's own, JSON. Placeholders: {{role}}, {{identity.entity.id}}, \
             {{identity.entity.name}}, {{identity.entity.metadata.<key>}}, \
             {{identity.entity.aliases.<accessor>.name}}, {{identity.entity.aliases.<accessor>.metadata.<key>}}",
        ))
        .field(Field::string(USER_NAME_TEMPLATE).describe(
            "What follows the prefix in user names, in place of the request id. Placeholders: those of \
             policy_document, {{uuid}}, {{random:<length>}}, {{display_name}}; {{<any>:<length>}} cuts",
        ))
        .field(Field::string(PASSWORD_POLICY).describe("Password policy of the host that makes the secret keys"))
        .exists(handler(engine, Engine::role_exists))
        .on_write(handler(engine, Engine::write_role))
        .on(Operation::Read, handler(engine, Engine::read_role))
        .on(Operation::Delete, handler(engine, Engine::delete_role))
        .help(
            "Which rights, which names, how long",
            "A write changes the fields it names. Deleting a role leaves the users of its leases as they are, but \
             they can no longer be renewed; its service accounts and sessions end with it.",
        );
    [list, one]
}

impl Role {
    /// Takes over the fields a write names.
    fn take(&mut self, fields: &FieldData) -> Result<()> {
        let text = |name: &str| fields.is_set(name).then(|| fields.str(name));
        let optional = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
        if let Some(policy) = text(POLICY) {
            policy.clone_into(&mut self.policy);
        }
        if let Some(prefix) = text(USER_NAME_PREFIX) {
            prefix.clone_into(&mut self.user_name_prefix);
        }
        if fields.is_set(DEFAULT_TTL) {
            self.default_ttl = fields.duration(DEFAULT_TTL);
        }
        if fields.is_set(MAX_TTL) {
            self.max_ttl = fields.duration(MAX_TTL);
        }
        if let Some(kind) = text(CREDENTIAL_TYPE) {
            self.credential_type = CredentialType::parse(kind)?;
        }
        if let Some(cluster) = text(CLUSTER) {
            limits::line(CLUSTER, cluster, limits::NAME)?;
            self.cluster = Cluster::named(cluster);
        }
        if fields.is_set(GROUPS) {
            self.groups = fields.list(GROUPS).to_vec();
        }
        if let Some(document) = text(POLICY_DOCUMENT) {
            self.policy_document = optional(document);
        }
        if let Some(template) = text(USER_NAME_TEMPLATE) {
            self.user_name_template = optional(template);
        }
        if let Some(policy) = text(PASSWORD_POLICY) {
            policy.clone_into(&mut self.password_policy);
        }
        Ok(())
    }
}

impl Engine {
    async fn list_roles(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        Ok(Some(Response::list(req.storage.list(FOLDER).await?)))
    }

    async fn role_exists(self: Arc<Self>, req: Request) -> Result<bool> {
        // As in the Go plugin: who cannot be looked up is created, and that says what is wrong.
        Ok(matches!(Role::load(&req.storage, req.fields.str(ROLE)).await, Ok(Some(_))))
    }

    async fn read_role(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let role = Role::load(&req.storage, req.fields.str(ROLE)).await?.ok_or_else(not_found)?;
        let mut response = Response::new()
            .with(POLICY, &role.policy)
            .with(USER_NAME_PREFIX, &role.user_name_prefix)
            .with(DEFAULT_TTL, role.default_ttl.as_secs())
            .with(MAX_TTL, role.max_ttl.as_secs());
        // Fields the Go plugin does not know are shown only where they are set.
        if role.credential_type != CredentialType::User {
            response = response.with(CREDENTIAL_TYPE, role.credential_type.as_str());
        }
        if !role.groups.is_empty() {
            response = response.with(GROUPS, &role.groups);
        }
        for (name, value) in [
            (CLUSTER, Some(role.cluster.name())),
            (POLICY_DOCUMENT, role.policy_document.as_deref()),
            (USER_NAME_TEMPLATE, role.user_name_template.as_deref()),
            (PASSWORD_POLICY, Some(role.password_policy.as_str())),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                response = response.with(name, value);
            }
        }
        Ok(Some(response))
    }

    async fn write_role(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let name = req.fields.str(ROLE);
        limits::line(ROLE, name, limits::NAME)?;
        // A first key makes its parent on the cluster that the role had before.
        let (_parents, _writing) = (self.parents.lock().await, self.writing.lock().await);
        let before = Role::load(&req.storage, name).await?.unwrap_or_default();
        let mut role = before.clone();
        role.take(&req.fields)?;
        role.check(&before)?;
        Config::must_exist(&req.storage, &role.cluster).await?;
        if let Some(parent) = Parent::load(&req.storage, name).await?
            && parent.cluster != role.cluster
        {
            return Err(Error::bad_request(format!(
                "the role has keys on {}: delete it, which ends them, and write it anew",
                parent.cluster
            )));
        }
        req.storage.put(&key(name), &role).await?;
        Ok(None)
    }

    async fn delete_role(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let name = req.fields.str(ROLE);
        let orphan = {
            let (_parents, _writing) = (self.parents.lock().await, self.writing.lock().await);
            if Role::load(&req.storage, name).await?.is_none() {
                return Err(not_found());
            }
            let orphan = self.disown(&req.storage, name).await?;
            req.storage.delete(&key(name)).await?;
            orphan
        };
        if let Some(orphan) = orphan {
            orphan.remove_now_or_later(&self, &req.storage).await;
        }
        Ok(None)
    }
}
