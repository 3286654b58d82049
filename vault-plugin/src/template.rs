//! `{{…}}` in policy documents and user names.
//!
//! | placeholder | value |
//! |---|---|
//! | `{{role}}` | the role's name |
//! | `{{identity.entity.id}}`, `{{identity.entity.name}}` | of the caller's identity entity |
//! | `{{identity.entity.metadata.<key>}}` | its metadata |
//! | `{{identity.entity.aliases.<accessor>.name}}` | name of its alias at the auth mount with this accessor |
//! | `{{identity.entity.aliases.<accessor>.metadata.<key>}}` | metadata of that alias |
//! | `{{uuid}}` | the request's id; only in user names |
//! | `{{random}}` | its 32 hexadecimal digits, without dashes; only in user names |
//! | `{{display_name}}` | the caller's display name; only in user names |
//!
//! `{{role:8}}` is the first 8 characters of the value. A placeholder without a value refuses the
//! request: an empty text in its place could mean more rights, or another's name.

use std::borrow::Cow;

use vault_plugin_sdk::{Entity, EntityAlias, Error, Result};

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Placeholder),
}

/// One placeholder, with the longest value it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placeholder {
    text: String,
    what: What,
    most: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Role,
    Uuid,
    Random,
    DisplayName,
    EntityId,
    EntityName,
    Metadata(String),
    AliasName(String),
    AliasMetadata { accessor: String, key: String },
}

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("a {{{{ has no }}}}: close it")]
    Open,
    #[error("{{{{{0}}}}} is not a placeholder: write one of those the role's help names")]
    Unknown(String),
    #[error("{{{{{0}}}}}: write a number of characters from 1 to 999 after the colon")]
    Length(String),
}

/// What placeholders stand for in one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) role: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) display_name: &'a str,
    /// The caller's entity, when it has one and a template asks for it.
    pub(crate) entity: Option<&'a Entity>,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (inner, after) = after.split_once("}}").ok_or(TemplateError::Open)?;
            pieces.push(Piece::Value(Placeholder::parse(inner.trim())?));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Value(placeholder) => Some(placeholder),
            Piece::Text(_) => None,
        })
    }

    /// Whether a value comes from the caller's entity.
    pub(crate) fn needs_entity(&self) -> bool {
        self.placeholders()
            .any(|placeholder| !placeholder.is_for_names_only() && placeholder.what != What::Role)
    }

    /// A placeholder that only user names may have.
    pub(crate) fn for_names_only(&self) -> Option<&str> {
        self.placeholders()
            .find(|placeholder| placeholder.is_for_names_only())
            .map(|placeholder| placeholder.text.as_str())
    }

    /// How many characters differ with each request.
    pub(crate) fn unique(&self) -> usize {
        let each = self.placeholders().map(|placeholder| match placeholder.what {
            What::Random => placeholder.most.min(32),
            // Every fourth is a dash.
            What::Uuid => placeholder.most.min(36) / 4 * 3,
            _ => 0,
        });
        each.sum()
    }

    /// The fewest characters it can come to.
    pub(crate) fn shortest(&self) -> usize {
        let each = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.chars().count(),
            Piece::Value(Placeholder { what: What::Random, most, .. }) => (*most).min(32),
            Piece::Value(Placeholder { what: What::Uuid, most, .. }) => (*most).min(36),
            Piece::Value(_) => 1,
        });
        each.sum()
    }

    /// The text, each value as `check` lets it through.
    pub(crate) fn render(
        &self,
        facts: &Facts<'_>,
        check: impl Fn(&Placeholder, String) -> Result<String>,
    ) -> Result<String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value(placeholder) => {
                    let value = placeholder.value(facts).filter(|value| !value.is_empty());
                    let value = value.ok_or_else(|| placeholder.missing())?;
                    let value = value.chars().take(placeholder.most).collect();
                    out.push_str(&check(placeholder, value)?);
                }
            }
        }
        Ok(out)
    }
}

impl Placeholder {
    fn parse(text: &str) -> Result<Self, TemplateError> {
        let (name, most) = match text.rsplit_once(':') {
            None => (text, usize::MAX),
            Some((name, digits)) => {
                let most = digits.parse().ok().filter(|most| (1..=999).contains(most));
                (name, most.ok_or_else(|| TemplateError::Length(text.to_owned()))?)
            }
        };
        let what = match name {
            "role" => What::Role,
            "uuid" => What::Uuid,
            "random" => What::Random,
            "display_name" => What::DisplayName,
            "identity.entity.id" => What::EntityId,
            "identity.entity.name" => What::EntityName,
            other => of_identity(other).ok_or_else(|| TemplateError::Unknown(text.to_owned()))?,
        };
        Ok(Self { text: text.to_owned(), what, most })
    }

    fn is_for_names_only(&self) -> bool {
        matches!(self.what, What::Uuid | What::Random | What::DisplayName)
    }

    fn value<'a>(&self, facts: &Facts<'a>) -> Option<Cow<'a, str>> {
        let borrowed = |text: &'a str| Some(Cow::Borrowed(text));
        match &self.what {
            What::Role => borrowed(facts.role),
            What::Uuid => borrowed(facts.request_id),
            What::Random => Some(Cow::Owned(facts.request_id.replace('-', ""))),
            What::DisplayName => borrowed(facts.display_name),
            What::EntityId => borrowed(&facts.entity?.id),
            What::EntityName => borrowed(&facts.entity?.name),
            What::Metadata(key) => borrowed(facts.entity?.metadata.get(key)?),
            What::AliasName(accessor) => borrowed(&alias(facts.entity?, accessor)?.name),
            What::AliasMetadata { accessor, key } => {
                borrowed(alias(facts.entity?, accessor)?.metadata.get(key)?)
            }
        }
    }

    fn missing(&self) -> Error {
        Error::bad_request(format!(
            "the role needs {{{{{}}}}}, and the caller has none: give the caller's identity entity this value, or \
             read with another token",
            self.text
        ))
    }

    /// For refusals.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn of_identity(name: &str) -> Option<What> {
    let name = name.strip_prefix("identity.entity.")?;
    if let Some(key) = name.strip_prefix("metadata.") {
        return (!key.is_empty()).then(|| What::Metadata(key.to_owned()));
    }
    let (accessor, rest) = name.strip_prefix("aliases.")?.split_once('.')?;
    let accessor = Some(accessor).filter(|accessor| !accessor.is_empty())?.to_owned();
    if rest == "name" {
        return Some(What::AliasName(accessor));
    }
    let key = rest.strip_prefix("metadata.").filter(|key| !key.is_empty())?.to_owned();
    Some(What::AliasMetadata { accessor, key })
}

fn alias<'a>(entity: &'a Entity, accessor: &str) -> Option<&'a EntityAlias> {
    entity.aliases.iter().find(|alias| alias.mount_accessor == accessor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use std::collections::BTreeMap;

    use super::*;

    fn entity() -> Entity {
        let metadata = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        Entity {
            id: "e-1".into(),
            name: "alice".into(),
            metadata: metadata("team", "blue"),
            aliases: vec![EntityAlias {
                mount_type: "jwt".into(),
                mount_accessor: "auth_jwt_1".into(),
                name: "sub".into(),
                metadata: metadata("a.b", "ns"),
            }],
        }
    }

    fn rendered(text: &str, entity: Option<&Entity>) -> Result<String> {
        let facts = Facts {
            role: "reader",
            request_id: "0a1b2c3d-0000-1111-2222-333344445555",
            display_name: "jwt-x",
            entity,
        };
        Template::parse(text).unwrap().render(&facts, |_, value| Ok(value))
    }

    #[test]
    fn placeholders_become_values() {
        let entity = entity();
        for (text, expected) in [
            ("plain } text {", "plain } text {"),
            ("{{role}}-{{ role:3 }}", "reader-rea"),
            ("{{random:6}}|{{uuid}}", "0a1b2c|0a1b2c3d-0000-1111-2222-333344445555"),
            ("{{identity.entity.id}}/{{identity.entity.name}}/{{display_name}}", "e-1/alice/jwt-x"),
            ("{{identity.entity.metadata.team}}", "blue"),
            ("{{identity.entity.aliases.auth_jwt_1.name}}", "sub"),
            ("{{identity.entity.aliases.auth_jwt_1.metadata.a.b}}", "ns"),
        ] {
            assert_eq!(rendered(text, Some(&entity)).unwrap(), expected);
        }
    }

    #[test]
    fn a_placeholder_without_a_value_refuses() {
        let with = entity();
        for text in ["{{identity.entity.metadata.other}}", "{{identity.entity.aliases.other.name}}"] {
            let error = rendered(text, Some(&with)).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        rendered("{{identity.entity.id}}", None).unwrap_err();
        let empty = Entity { name: String::new(), ..entity() };
        rendered("{{identity.entity.name}}", Some(&empty)).unwrap_err();
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for text in [
            "{{",
            "a{{role",
            "{{}}",
            "{{secret}}",
            "{{identity.entity}}",
            "{{identity.entity.metadata.}}",
            "{{identity.entity.aliases.x}}",
            "{{identity.entity.aliases..name}}",
            "{{role:0}}",
            "{{role:x}}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_are_known_beforehand() {
        let template = Template::parse("ab-{{random:12}}-{{identity.entity.name}}").unwrap();
        assert_eq!((template.unique(), template.shortest()), (12, 17));
        assert!(template.needs_entity());
        assert_eq!(template.for_names_only(), Some("random:12"));
        let template = Template::parse("{{uuid}}{{role}}").unwrap();
        assert_eq!((template.unique(), template.shortest(), template.needs_entity()), (27, 37, false));
    }
}
