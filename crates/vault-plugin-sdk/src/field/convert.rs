//! JSON to field values, with the error texts callers of the Go framework know.

use std::time::Duration;

use serde_json::{Number, Value};

use super::{Field, FieldType, FieldValue, duration, integer};

/// Where an error stops quoting a value, bytes.
const QUOTED: usize = 200;

/// A field whose value cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error converting input {input} for field \"{field}\": {reason}")]
pub struct ConvertError {
    /// The field.
    pub field: String,
    /// The value, or `***` for a sensitive field.
    pub input: String,
    /// Why, in Go's words. Of a sensitive field only the type that was expected.
    pub reason: String,
}

/// Converts one value.
pub(super) fn convert(field: &Field, value: &Value) -> Result<FieldValue, ConvertError> {
    let result = match field.kind {
        FieldType::String => string(value).map(FieldValue::String),
        FieldType::Bool => boolean(value).map(FieldValue::Bool),
        FieldType::Int => integer(value).map(FieldValue::Int),
        FieldType::DurationSecs => seconds(value).map(FieldValue::Duration),
        FieldType::CommaList => list(value).map(FieldValue::List),
        FieldType::Map => object(value),
    };
    result.map_err(|reason| {
        let (input, reason) = match field.sensitive {
            true => ("***".to_owned(), format!("not a {}", field.kind.name())),
            false => (quotable(&shown(value)), quotable(&reason)),
        };
        ConvertError { field: field.name.clone(), input, reason }
    })
}

/// The start of a text, with what cannot be printed escaped. Go quotes all of it as it is, be it a mebibyte.
fn quotable(text: &str) -> String {
    let mut quoted = String::new();
    for c in text.chars() {
        match c {
            _ if quoted.len() >= QUOTED => break,
            '"' | '\'' | '\\' => quoted.push(c),
            c => quoted.extend(c.escape_debug()),
        }
    }
    quoted
}

/// A value as Go's `%v` shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", shown(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn unconvertible(expected: &str, value: &Value) -> String {
    format!(
        "'' expected type '{expected}', got unconvertible type '{}', value: '{}'",
        go_type(value),
        shown(value)
    )
}

fn string(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(value) => Ok(if *value { "1" } else { "0" }.to_owned()),
        Value::Number(value) => Ok(decimal(value)),
        Value::String(value) => Ok(value.clone()),
        Value::Array(_) | Value::Object(_) => Err(unconvertible("string", value)),
    }
}

/// A number without exponent. Integers keep all their digits, of which Go would round those beyond 2^53.
fn decimal(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}

fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(value) => Ok(*value),
        Value::Number(value) => Ok(value.as_f64().is_some_and(|number| number != 0.0)),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            other => Err(format!(
                "cannot parse '' as bool: strconv.ParseBool: parsing {}: invalid syntax",
                integer::quoted(other)
            )),
        },
        Value::Array(_) | Value::Object(_) => Err(unconvertible("bool", value)),
    }
}

fn integer(value: &Value) -> Result<i64, String> {
    match value {
        Value::Null => Ok(0),
        Value::Bool(value) => Ok(i64::from(*value)),
        Value::Number(number) => whole(number),
        Value::String(text) if text.is_empty() => Ok(0),
        Value::String(text) => {
            integer::any_base(text).map_err(|reason| format!("cannot parse '' as int: {reason}"))
        }
        Value::Array(_) | Value::Object(_) => Err(unconvertible("int", value)),
    }
}

/// A JSON number cut to an integer.
fn whole(number: &Number) -> Result<i64, String> {
    if let Some(value) = number.as_i64() {
        return Ok(value);
    }
    let out_of_range = || format!("strconv.ParseInt: parsing \"{number}\": value out of range");
    let float = number.as_f64().ok_or_else(out_of_range)?.trunc();
    // 2^63 is the first float beyond i64; the cast below is exact under it.
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float) {
        return Err(out_of_range());
    }
    Ok(float as i64)
}

fn seconds(value: &Value) -> Result<Duration, String> {
    let seconds = match value {
        // A null never comes here.
        Value::Null => 0,
        Value::Number(number) => duration::checked_seconds(whole(number)?)?,
        Value::String(text) => duration::parse_seconds(text)?,
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err("could not parse duration from input".to_owned());
        }
    };
    u64::try_from(seconds)
        .map(Duration::from_secs)
        .map_err(|_| format!("cannot provide negative value '{seconds}'"))
}

fn list(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::String(text) => Ok(text.split(',').map(|item| item.trim().to_owned()).collect()),
        Value::Array(items) => items.iter().map(|item| Ok(string(item)?.trim().to_owned())).collect(),
        Value::Bool(_) | Value::Number(_) => Ok(vec![string(value)?]),
        Value::Object(map) if map.is_empty() => Ok(Vec::new()),
        Value::Object(_) => Err(unconvertible("[]string", value)),
    }
}

fn object(value: &Value) -> Result<FieldValue, String> {
    match value {
        Value::Null => Ok(FieldType::Map.zero()),
        Value::Object(map) => Ok(FieldValue::Map(map.clone())),
        other => Err(format!("'' expected a map, got '{}'", go_type(other))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use std::collections::BTreeMap;

    use serde_json::{Map, json};

    use super::*;
    use crate::field::FieldData;

    fn parse(field: Field, value: Value) -> Result<FieldData, String> {
        let name = field.name.clone();
        let schema = BTreeMap::from([(name.clone(), field)]);
        FieldData::parse(&schema, &Map::from_iter([(name, value)])).map_err(|error| error.to_string())
    }

    #[test]
    fn recorded_texts_of_the_go_framework() {
        assert_eq!(
            parse(Field::bool("useSSL"), json!("nope")).unwrap_err(),
            "error converting input nope for field \"useSSL\": cannot parse '' as bool: \
             strconv.ParseBool: parsing \"nope\": invalid syntax"
        );
        assert_eq!(
            parse(Field::duration("default_ttl"), json!("soon")).unwrap_err(),
            "error converting input soon for field \"default_ttl\": strconv.ParseInt: parsing \"soon\": \
             invalid syntax"
        );
        assert_eq!(
            parse(Field::duration("ttl"), json!("-5")).unwrap_err(),
            "error converting input -5 for field \"ttl\": cannot provide negative value '-5'"
        );
    }

    #[test]
    fn what_cannot_be_printed_is_escaped_and_long_values_are_cut() {
        let control = "a\u{1b}[2J\n\u{202e}é\"b\"";
        for (field, value) in [
            (Field::bool("f"), json!(control)),
            (Field::duration("f"), json!(control)),
            (Field::string("f"), json!([control])),
            (Field::list("f"), json!({ control: control })),
            (Field::map("f"), json!(control)),
        ] {
            let error = parse(field, value).unwrap_err();
            assert!(
                error.contains(r"a\u{1b}[2J\n\u{202e}é") && !error.contains(char::is_control),
                "{error:?}"
            );
        }
        for long in ["\u{1b}".repeat(1 << 20), "x".repeat(1 << 20)] {
            let error = parse(Field::bool("f"), json!(long)).unwrap_err();
            assert!(error.len() < 2 * QUOTED + 100, "{}", error.len());
        }
    }

    #[test]
    fn sensitive_values_are_not_quoted() {
        let error = parse(Field::string("secret").sensitive(), json!(["hunter2"])).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let error = parse(Field::bool("secret").sensitive(), json!("hunter2")).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
