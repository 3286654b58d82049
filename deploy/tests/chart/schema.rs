//! values.schema.json, as far as the tests look into it.

use crate::tools::deploy;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::fs;

pub(crate) struct Schema(Value);

/// One value that can be set.
pub(crate) struct Setting {
    /// Its name with dots.
    pub(crate) name: String,
    pub(crate) default: Value,
    /// What it is, and what it can be where that is a list.
    pub(crate) description: String,
}

/// The children of an object with a fixed set of them; what has a default is one value, whatever is in it.
fn children(schema: &Value) -> Option<&Map<String, Value>> {
    schema["properties"].as_object().filter(|_| schema.get("default").is_none())
}

impl Schema {
    pub(crate) fn read() -> Self {
        let text = fs::read_to_string(deploy("charts/boathouse/values.schema.json")).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    /// Every value, in the order of names.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let mut found = Vec::new();
        collect(&self.0, "", &mut found);
        found
    }

    /// All defaults, nested as in values.yaml.
    pub(crate) fn defaults(&self) -> Value {
        defaults(&self.0)
    }
}

fn collect(schema: &Value, prefix: &str, found: &mut Vec<Setting>) {
    for (key, child) in children(schema).into_iter().flatten().filter(|(key, _)| *key != "global") {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if children(child).is_some() {
            collect(child, &name, found);
        } else {
            let mut description = child["description"].as_str().unwrap_or_default().to_owned();
            if let Some(choices) = child["enum"].as_array() {
                let choices: Vec<_> =
                    choices.iter().map(|choice| format!("`{}`", choice.as_str().unwrap())).collect();
                write!(description, " ({})", choices.join(", ")).unwrap();
            }
            found.push(Setting { name, default: child["default"].clone(), description });
        }
    }
}

fn defaults(schema: &Value) -> Value {
    let Some(children) = children(schema) else { return schema["default"].clone() };
    let keys = children.iter().filter(|(key, _)| *key != "global");
    Value::Object(keys.map(|(key, child)| (key.clone(), defaults(child))).collect())
}

#[test]
fn every_value_has_a_default_and_a_description() {
    let settings = Schema::read().settings();
    assert!(settings.len() > 50, "{}", settings.len());
    for Setting { name, default, description } in settings {
        assert!(!default.is_null(), "{name} has no default");
        assert!(description.len() > 5 && !description.ends_with('.'), "{name}: {description:?}");
    }
}

/// Names that nobody knows must not pass in silence.
#[test]
fn no_object_takes_names_it_does_not_know() {
    fn walk(schema: &Value, path: &str) {
        if schema["properties"].is_object() {
            assert_eq!(schema["additionalProperties"], false, "{path}");
        }
        match schema {
            Value::Object(map) => map.iter().for_each(|(key, child)| walk(child, &format!("{path}/{key}"))),
            Value::Array(items) => items.iter().for_each(|child| walk(child, path)),
            _ => {}
        }
    }
    walk(&Schema::read().0, "");
}
