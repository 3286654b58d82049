//! `policy_document`: a policy written into the role, with placeholders in its texts.
//!
//! Values are put into the parsed document, so that quotes in them stay part of a text. What has a
//! meaning inside a policy's texts is refused in values: wildcards, policy variables, and `/`, which
//! would let one value reach over several segments of a path.

use serde_json::{Map, Value};
use vault_plugin_sdk::{Error, Result};

use crate::template::{Facts, Placeholder, Template};

/// The only version MinIO knows.
const VERSION: &str = "2012-10-17";

/// A policy document with placeholders, well-formed.
#[derive(Debug)]
pub(crate) struct Document(Value);

impl Document {
    /// Checks what a role brings.
    ///
    /// # Errors
    /// HTTP 400 saying what to write.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refuse = |why: String| Error::bad_request(format!("policy_document {why}"));
        let document: Value = serde_json::from_str(text)
            .map_err(|error| refuse(format!("is not JSON ({error}): write an IAM policy as JSON")))?;
        if document["Version"] != VERSION {
            return Err(refuse(format!("has no version MinIO knows: write \"Version\": \"{VERSION}\"")));
        }
        let statements = document["Statement"].as_array().filter(|statements| !statements.is_empty());
        for statement in
            statements.ok_or_else(|| refuse("has no statements: write \"Statement\": [ … ]".into()))?
        {
            if !matches!(statement["Effect"].as_str(), Some("Allow" | "Deny")) {
                return Err(refuse("has a statement without \"Effect\": \"Allow\" or \"Deny\"".into()));
            }
            if ["Action", "NotAction"].iter().all(|key| statement[*key].is_null()) {
                return Err(refuse("has a statement without \"Action\"".into()));
            }
        }
        each_text(&document, &|text| {
            let template =
                Template::parse(text).map_err(|error| refuse(format!("has a bad text: {error}")))?;
            match template.for_names_only() {
                Some(name) => Err(refuse(format!("has {{{{{name}}}}}, which is for user names only"))),
                None => Ok(()),
            }
        })?;
        Ok(Self(document))
    }

    /// Whether a value comes from the caller's entity.
    pub(crate) fn needs_entity(&self) -> bool {
        let needs = |text: &str| match Template::parse(text) {
            Ok(template) if template.needs_entity() => Err(Error::internal("found")),
            _ => Ok(()),
        };
        each_text(&self.0, &needs).is_err()
    }

    /// The policy for one request, not longer than `most` bytes.
    ///
    /// # Errors
    /// HTTP 400 when a placeholder has no value, or one that has a meaning in policies, and when the
    /// policy comes out too long.
    pub(crate) fn render(&self, facts: &Facts<'_>, most: usize) -> Result<String> {
        let text = filled(&self.0, facts)?.to_string();
        if text.len() > most {
            return Err(Error::bad_request(format!(
                "policy_document comes to {} bytes, and MinIO takes {most}: write a shorter one",
                text.len()
            )));
        }
        Ok(text)
    }
}

/// Calls `check` with every text of a document; one in a key has no business being a template.
fn each_text(value: &Value, check: &impl Fn(&str) -> Result<()>) -> Result<()> {
    match value {
        Value::String(text) => check(text),
        Value::Array(items) => items.iter().try_for_each(|item| each_text(item, check)),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            if key.contains("{{") {
                return Err(Error::bad_request(
                    "policy_document has a placeholder in a key: use it in values only",
                ));
            }
            each_text(value, check)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn filled(value: &Value, facts: &Facts<'_>) -> Result<Value> {
    Ok(match value {
        Value::String(text) => Template::parse(text).map_err(Error::internal)?.render(facts, literal)?.into(),
        Value::Array(items) => items.iter().map(|item| filled(item, facts)).collect::<Result<_>>()?,
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| Ok((key.clone(), filled(value, facts)?)));
            Value::Object(pairs.collect::<Result<Map<_, _>>>()?)
        }
        other => other.clone(),
    })
}

/// A value that means itself inside a policy.
fn literal(placeholder: &Placeholder, value: String) -> Result<String> {
    let meant = |c: char| matches!(c, '*' | '?' | '$' | '{' | '}' | '/' | '\\' | '"') || c.is_control();
    match value.chars().find(|c| meant(*c)) {
        None => Ok(value),
        Some(c) => Err(Error::bad_request(format!(
            "the caller's {{{{{}}}}} has {c:?} in it, which has a meaning in policies: no policy is made of it",
            placeholder.text()
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use vault_plugin_sdk::Entity;

    use super::*;

    fn document(resource: &str) -> String {
        serde_json::json!({
            "Version": VERSION,
            "Statement": [{ "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [resource] }],
        })
        .to_string()
    }

    fn rendered(resource: &str, name: &str, most: usize) -> Result<String> {
        let entity = Entity { name: name.to_owned(), ..Entity::default() };
        let facts = Facts { role: "r", request_id: "id", display_name: "d", entity: Some(&entity) };
        Document::parse(&document(resource)).unwrap().render(&facts, most)
    }

    #[test]
    fn values_stay_inside_their_text() {
        let text = rendered("arn:aws:s3:::{{identity.entity.name}}/*", "al ice'é", 4096).unwrap();
        let policy: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(policy["Statement"][0]["Resource"][0], "arn:aws:s3:::al ice'é/*");
    }

    #[test]
    fn values_with_a_meaning_are_refused_and_not_quoted() {
        for bad in ["*", "a?", "${aws:username}", "a/b", "..\\", "x\", \"y", "a\nb", "{{role}}"] {
            let error =
                rendered("arn:aws:s3:::{{identity.entity.name}}/*", bad, 4096).unwrap_err().to_string();
            assert!(error.contains("identity.entity.name"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_length_is_bounded_after_filling() {
        let name = "n".repeat(200);
        rendered("{{identity.entity.name}}", &name, 400).unwrap();
        let error = rendered("{{identity.entity.name}}", &name, 250).unwrap_err().to_string();
        assert!(error.contains("takes 250"), "{error}");
    }

    #[test]
    fn what_is_no_policy_is_refused_by_what_is_missing() {
        let with = |change: &dyn Fn(&mut Value)| {
            let mut policy: Value = serde_json::from_str(&document("x")).unwrap();
            change(&mut policy);
            policy.to_string()
        };
        for (text, word) in [
            ("{".to_owned(), "not JSON"),
            ("[]".to_owned(), "Version"),
            (with(&|policy| policy["Version"] = "2008-10-17".into()), "2012-10-17"),
            (with(&|policy| policy["Statement"] = Value::Array(Vec::new())), "Statement"),
            (with(&|policy| policy["Statement"] = Value::Null), "Statement"),
            (with(&|policy| policy["Statement"][0]["Effect"] = "Perhaps".into()), "Effect"),
            (with(&|policy| policy["Statement"][0]["Action"] = Value::Null), "Action"),
            (document("{{nonsense}}"), "nonsense"),
            (document("{{uuid}}"), "user names only"),
            (with(&|policy| policy["{{role}}"] = 1.into()), "key"),
        ] {
            let error = Document::parse(&text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
