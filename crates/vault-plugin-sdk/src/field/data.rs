//! The fields of one request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::convert::{ConvertError, convert};
use super::{Field, FieldType, FieldValue};

/// Declared fields of a request, all converted. `Debug` shows names only.
///
/// Getters answer the declared default, else the type's zero, for fields the request does not name;
/// [`is_set`](Self::is_set) tells the difference. Asking for an undeclared field or with another
/// type's getter is a mistake of the engine: it panics in debug builds and answers zero otherwise.
#[derive(Clone, Default)]
pub struct FieldData {
    set: BTreeMap<String, FieldValue>,
    unset: BTreeMap<String, FieldValue>,
}

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl FieldData {
    /// Converts what `raw` holds for the declared fields; the first failure, by field name, wins.
    ///
    /// # Errors
    /// [`ConvertError`] in the words of the hosts' framework.
    pub fn parse(schema: &BTreeMap<String, Field>, raw: &Map<String, Value>) -> Result<Self, ConvertError> {
        let mut data = Self::default();
        for (name, field) in schema {
            let given = raw.get(name).filter(|value| {
                // Null is the zero of its type to the framework, except in durations, where it is nothing.
                !(value.is_null() && field.kind == FieldType::DurationSecs)
            });
            match given {
                Some(value) => {
                    data.set.insert(name.clone(), convert(field, value)?);
                }
                None => {
                    let value = field.default.clone().unwrap_or_else(|| field.kind.zero());
                    data.unset.insert(name.clone(), value);
                }
            }
        }
        Ok(data)
    }

    /// Whether the request names the field, even with an empty or `null` value. A `null` duration
    /// does not count.
    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// A text field.
    pub fn str(&self, name: &str) -> &str {
        match self.value(name) {
            Some(FieldValue::String(text)) => text,
            _ => mistake(name, ""),
        }
    }

    /// A text field, to be kept out of logs.
    pub fn secret(&self, name: &str) -> SecretString {
        SecretString::from(self.str(name))
    }

    /// A yes/no field.
    pub fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Some(FieldValue::Bool(value)) => *value,
            _ => mistake(name, false),
        }
    }

    /// An integer field.
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(FieldValue::Int(value)) => *value,
            _ => mistake(name, 0),
        }
    }

    /// A duration field, whole seconds.
    pub fn duration(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(FieldValue::Duration(value)) => *value,
            _ => mistake(name, Duration::ZERO),
        }
    }

    /// A list field.
    pub fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(FieldValue::List(items)) => items,
            _ => mistake(name, &[]),
        }
    }

    /// An object field.
    pub fn map(&self, name: &str) -> &Map<String, Value> {
        match self.value(name) {
            Some(FieldValue::Map(map)) => map,
            _ => mistake(name, &EMPTY),
        }
    }

    fn value(&self, name: &str) -> Option<&FieldValue> {
        self.set.get(name).or_else(|| self.unset.get(name))
    }
}

fn mistake<T>(name: &str, zero: T) -> T {
    debug_assert!(false, "field \"{name}\" is not declared with the type it is read as");
    zero
}

impl fmt::Debug for FieldData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldData").field("set", &self.set.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
