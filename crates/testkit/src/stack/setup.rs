//! The configuration an operator would make.

use super::{Stack, StackError};
use serde_json::json;

/// Where the secrets engine is mounted.
pub const ENGINE_MOUNT: &str = "minio";
/// Where pods log in.
pub const AUTH_MOUNT: &str = "jwt";
/// The role pods log in with; its policy follows the namespace.
pub const AUTH_ROLE: &str = "boathouse";
/// The role the node plugin itself logs in with, for pods that carry no token.
pub const NODE_ROLE: &str = "boathouse-node";
/// A bucket that every tenant may read, and write under a folder of its name.
pub const SHARED_BUCKET: &str = "shared";

/// The plugin's name in the catalog and its file name.
pub const PLUGIN: &str = "vault-plugin-secrets-minio";
pub(super) const NODE_NAMESPACE: &str = "boathouse-system";
pub(super) const NODE_SERVICE_ACCOUNT: &str = "boathouse-node";
const TENANT_POLICY: &str = "boathouse-tenant";

pub(super) async fn configure(stack: &Stack) -> Result<(), StackError> {
    let (identity, engine) = tokio::join!(logins(stack), engine(stack));
    identity.and(engine)?;
    stack.minio.create_bucket(SHARED_BUCKET).await
}

async fn engine(stack: &Stack) -> Result<(), StackError> {
    let vault = stack.vault();
    stack.bao.register().await?;
    vault.write(&format!("sys/mounts/{ENGINE_MOUNT}"), &json!({ "type": PLUGIN })).await?;
    vault.write(&format!("{ENGINE_MOUNT}/config"), &stack.minio.engine_config()).await.map(drop)
}

async fn logins(stack: &Stack) -> Result<(), StackError> {
    let vault = stack.vault();
    vault.write(&format!("sys/auth/{AUTH_MOUNT}"), &json!({ "type": "jwt" })).await?;
    let keys = json!({ "jwt_validation_pubkeys": [stack.identities.public_key()] });
    vault.write(&format!("auth/{AUTH_MOUNT}/config"), &keys).await?;
    let mounts = vault.read("sys/auth").await?;
    let accessor = mounts["data"][format!("{AUTH_MOUNT}/")]["accessor"]
        .as_str()
        .ok_or(StackError::Answer { operation: "GET sys/auth".into(), field: "accessor" })?;
    let namespace = format!("{{{{identity.entity.aliases.{accessor}.metadata.service_account_namespace}}}}");
    policy(stack, TENANT_POLICY, &format!("profile-{namespace}")).await?;
    policy(stack, NODE_ROLE, "profile-*").await?;
    let common = json!({
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "claim_mappings": { "/kubernetes.io/namespace": "service_account_namespace" },
    });
    let mut tenant = common.clone();
    tenant["token_policies"] = json!([TENANT_POLICY]);
    vault.write(&format!("auth/{AUTH_MOUNT}/role/{AUTH_ROLE}"), &tenant).await?;
    let mut node = common;
    node["token_policies"] = json!([NODE_ROLE]);
    node["bound_subject"] = json!(format!("system:serviceaccount:{NODE_NAMESPACE}:{NODE_SERVICE_ACCOUNT}"));
    vault.write(&format!("auth/{AUTH_MOUNT}/role/{NODE_ROLE}"), &node).await.map(drop)
}

async fn policy(stack: &Stack, name: &str, roles: &str) -> Result<(), StackError> {
    let rules = format!("path \"{ENGINE_MOUNT}/keys/{roles}\" {{ capabilities = [\"read\"] }}\n");
    stack.vault().write(&format!("sys/policies/acl/{name}"), &json!({ "policy": rules })).await.map(drop)
}
