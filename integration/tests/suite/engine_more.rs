//! What the secrets engine does beyond the Go plugin, under a real host and with a real MinIO.

mod admin;
mod kinds;
mod minimum;

use crate::world::{Case, beside};
use boathouse_bucket::Keys;
use boathouse_testkit::stack::Issued;
use secrecy::ExposeSecret as _;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(minimum::the_minimum_policy_is_enough_and_none_of_it_too_much),
        beside!(kinds::a_users_own_policy_follows_the_callers_entity),
        beside!(kinds::a_service_account_is_limited_and_ended_by_minio),
        beside!(kinds::a_session_works_with_its_token_only),
        beside!(kinds::the_end_of_the_mount_ends_its_parents),
        beside!(admin::the_admins_secret_is_rotated),
        beside!(admin::each_cluster_has_its_own_keys),
        beside!(admin::a_static_role_changes_a_users_secret),
    ]
}

/// Keys for a client of S3.
fn keys(issued: &Issued) -> Keys {
    Keys {
        access_key: issued.user.clone(),
        secret_key: issued.secret.expose_secret().into(),
        session_token: issued.data["sessionToken"].as_str().map(Into::into),
    }
}
