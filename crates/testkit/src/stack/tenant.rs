//! A namespace with a bucket.

use super::{Claims, ENGINE_MOUNT, SHARED_BUCKET, Stack, StackError};
use serde_json::{Value, json};
use std::time::Duration;

/// What exists for one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The namespace.
    pub namespace: String,
    /// Its bucket.
    pub bucket: String,
    /// Its role at the engine; also the name of its MinIO policy.
    pub role: String,
    /// Where its keys are read, for the option `vault-path`.
    pub vault_path: String,
    /// What the names of its MinIO users begin with.
    pub user_prefix: String,
}

impl Tenant {
    /// Claims of a pod of this tenant, running as the service account `default`.
    pub fn pod(&self, name: &str, ttl: Duration) -> Claims {
        Claims::new(&self.namespace, "default", ttl).for_pod(name, &format!("uid-{name}"))
    }

    /// Those of `users` that were made for this tenant.
    pub fn users_among(&self, users: &[String]) -> Vec<String> {
        users.iter().filter(|user| user.starts_with(&self.user_prefix)).cloned().collect()
    }
}

pub(super) async fn make(stack: &Stack, namespace: &str, ttl: Duration) -> Result<Tenant, StackError> {
    let role = format!("profile-{namespace}");
    let tenant = Tenant {
        namespace: namespace.to_owned(),
        bucket: namespace.to_owned(),
        vault_path: format!("{ENGINE_MOUNT}/keys/{role}"),
        user_prefix: format!("{role}-"),
        role,
    };
    stack.minio.create_bucket(&tenant.bucket).await?;
    stack.minio.admin().add_policy(&tenant.role, &policy(&tenant).to_string()).await?;
    let role = json!({
        "policy": tenant.role,
        "user_name_prefix": tenant.user_prefix,
        "default_ttl": ttl.as_secs(),
        "max_ttl": ttl.as_secs().max(24 * 3600),
    });
    stack.vault().write(&format!("{ENGINE_MOUNT}/roles/{}", tenant.role), &role).await?;
    Ok(tenant)
}

/// All of its own bucket; of the shared one, everything to read and its own folder to write.
fn policy(tenant: &Tenant) -> Value {
    let arn = |path: &str| format!("arn:aws:s3:::{path}");
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:*"],
                "Resource": [arn(&tenant.bucket), arn(&format!("{}/*", tenant.bucket))],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:GetObject"],
                "Resource": [arn(SHARED_BUCKET), arn(&format!("{SHARED_BUCKET}/*"))],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
                "Resource": [arn(&format!("{SHARED_BUCKET}/{}/*", tenant.namespace))],
            },
        ],
    })
}
