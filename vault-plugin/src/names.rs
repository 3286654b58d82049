//! What the users and service accounts of a role are called.
//!
//! `user_name_prefix`, then `user_name_template`. Without a template, the request's id follows the
//! prefix, as in the Go plugin; of a service account, whose name MinIO limits to 20 characters, as many
//! of the id's digits as there is room for. Names come from the request's id alone, so that a host that
//! runs a request twice (it does when the plugin dies) means the same user both times.

use std::ops::RangeInclusive;

use vault_plugin_sdk::{Error, Result};

use crate::limits;
use crate::roles::{CredentialType, Role};
use crate::template::{Facts, Template};

/// Hexadecimal digits that differ with each request, at least: 48 bits.
const UNIQUE: usize = 12;

/// Checks the role's prefix and template. A prefix that the role had `before` is not checked, for the Go plugin
/// stored any, and they go on to work.
///
/// # Errors
/// HTTP 400 naming the field and what to write.
pub(crate) fn check(role: &Role, before: &Role) -> Result<()> {
    let prefix = role.user_name_prefix.as_str();
    if prefix != before.user_name_prefix || role.credential_type != before.credential_type {
        check_prefix(prefix, role.credential_type)?;
    }
    let Some(template) = &role.user_name_template else { return Ok(()) };
    let refuse = |why: String| Error::bad_request(format!("user_name_template {why}"));
    limits::line("user_name_template", template, limits::TEMPLATE)?;
    let template = Template::parse(template).map_err(|error| refuse(error.to_string()))?;
    if template.unique() < UNIQUE {
        return Err(refuse(format!(
            "gives two requests the same name: write {{{{uuid}}}} or {{{{random:{UNIQUE}}}}} (or more) in it"
        )));
    }
    let (shortest, range) = (prefix.chars().count() + template.shortest(), range(role));
    if shortest > *range.end() {
        return Err(refuse(format!(
            "and user_name_prefix come to {shortest} characters or more, and MinIO takes {}: cut values with \
             {{{{random:{UNIQUE}}}}}, {{{{role:4}}}}",
            range.end()
        )));
    }
    Ok(())
}

fn check_prefix(prefix: &str, kind: CredentialType) -> Result<()> {
    let most = if kind == CredentialType::ServiceAccount { limits::SHORT_PREFIX } else { limits::PREFIX };
    limits::line("user_name_prefix", prefix, most)?;
    if prefix.contains([',', '=']) || prefix != prefix.trim_start() {
        return Err(Error::bad_request(
            "user_name_prefix begins with a space, or has a comma or an equals sign in it, which MinIO refuses: \
             write it without",
        ));
    }
    Ok(())
}

/// The name for one request.
///
/// # Errors
/// HTTP 400 when a placeholder has no value or the name comes out too long.
pub(crate) fn make(role: &Role, facts: &Facts<'_>) -> Result<String> {
    let (prefix, range) = (&role.user_name_prefix, range(role));
    let own = match &role.user_name_template {
        Some(template) => {
            Template::parse(template).map_err(Error::internal)?.render(facts, |_, value| Ok(plain(&value)))?
        }
        None if role.credential_type == CredentialType::ServiceAccount => {
            let room = range.end().saturating_sub(prefix.chars().count());
            facts.request_id.replace('-', "").chars().take(room).collect()
        }
        None => facts.request_id.to_owned(),
    };
    let name = format!("{prefix}{own}");
    let length = name.chars().count();
    // Without a template, any prefix the Go plugin stored goes on to work.
    if role.user_name_template.is_some() && !range.contains(&length) {
        return Err(Error::bad_request(format!(
            "user_name_template comes to {length} characters here, and MinIO takes {} to {}: cut values, as in \
             {{{{identity.entity.name:8}}}}",
            range.start(),
            range.end()
        )));
    }
    Ok(name)
}

fn range(role: &Role) -> RangeInclusive<usize> {
    match role.credential_type {
        CredentialType::ServiceAccount => limits::ACCOUNT_NAME,
        CredentialType::User | CredentialType::Sts => limits::USER_NAME,
    }
}

/// A value as it may stand in an access key: what is not a letter, digit, `.`, `_`, `-` or `@` becomes `-`.
fn plain(value: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    value.chars().map(|c| if keep(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use super::*;

    const ID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

    fn role(kind: CredentialType, prefix: &str, template: Option<&str>) -> Role {
        Role {
            credential_type: kind,
            user_name_prefix: prefix.into(),
            user_name_template: template.map(str::to_owned),
            ..Role::default()
        }
    }

    fn name(role: &Role, display_name: &str) -> String {
        check(role, &Role::default()).unwrap();
        make(role, &Facts { role: "writer", request_id: ID, display_name, entity: None }).unwrap()
    }

    #[test]
    fn names_with_and_without_template() {
        use CredentialType::{ServiceAccount, User};
        assert_eq!(name(&role(User, "p-", None), ""), format!("p-{ID}"));
        assert_eq!(name(&role(ServiceAccount, "p-", None), ""), "p-0a1b2c3d4e5f607182");
        let template = Some("{{role}}-{{display_name:9}}-{{random:12}}");
        assert_eq!(name(&role(User, "x.", template), "jwt a=b,c/d"), "x.writer-jwt-a-b-c-0a1b2c3d4e5f");
    }

    #[test]
    fn names_that_would_not_be_unique_or_are_too_long_are_refused() {
        use CredentialType::{ServiceAccount, User};
        for (role, word) in [
            (role(User, "", Some("{{role}}")), "same name"),
            (role(User, "", Some("{{random:11}}")), "same name"),
            (role(User, "", Some("{{nope}}")), "nope"),
            (role(User, "", Some(&"x".repeat(513))), "513"),
            (role(User, "", Some(&format!("{}{{{{uuid}}}}", "x".repeat(100)))), "136"),
            (role(ServiceAccount, "", Some("{{uuid}}")), "takes 20"),
            (role(ServiceAccount, "123456789", None), "at most 8"),
            (role(User, &"p".repeat(65), None), "65"),
            (role(User, "a,b", None), "comma"),
            (role(User, "a=b", None), "equals"),
            (role(User, " a", None), "space"),
            (role(User, "a\u{1b}", None), "U+001B"),
        ] {
            let error = check(&role, &Role::default()).unwrap_err().to_string();
            assert!(error.contains(word), "{role:?}: {error}");
        }
    }

    #[test]
    fn a_stored_prefix_stays_until_it_is_changed() {
        use CredentialType::{ServiceAccount, User};
        for prefix in ["p".repeat(65), "a,b".to_owned(), " a".to_owned()] {
            let stored = role(User, &prefix, None);
            check(&Role { policy: "other".into(), ..stored.clone() }, &stored).unwrap();
            for changed in [role(User, &format!("{prefix}x"), None), role(ServiceAccount, &prefix, None)] {
                assert!(check(&changed, &stored).unwrap_err().to_string().contains("user_name_prefix"));
            }
        }
    }

    #[test]
    fn a_name_that_comes_out_too_long_refuses_the_request() {
        let role = role(CredentialType::ServiceAccount, "", Some("{{display_name}}{{random:12}}"));
        let facts = Facts { role: "r", request_id: ID, display_name: "far-too-long", entity: None };
        assert!(make(&role, &facts).unwrap_err().to_string().contains("24 characters"));
    }
}
