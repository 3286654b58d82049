//! JSON to field values, with the error texts callers of the Go framework know.

use std::time::Duration;

use serde_json::{Number, Value};

use super::duration;
use super::{Field, FieldType, FieldValue};

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
            false => (shown(value), reason),
        };
        ConvertError { field: field.name.clone(), input, reason }
    })
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
        Value::Number(_) => "json.Number",
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
        Value::Number(value) => Ok(value.to_string()),
        Value::String(value) => Ok(value.clone()),
        Value::Array(_) | Value::Object(_) => Err(unconvertible("string", value)),
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
                duration::quoted(other)
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
            duration::parse_int(text).map_err(|reason| format!("cannot parse '' as int: {reason}"))
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

    use proptest::prelude::*;
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
    fn bool_spellings() {
        for yes in [json!(true), json!("true"), json!("T"), json!("1"), json!(1), json!(-2), json!(0.5)] {
            assert!(parse(Field::bool("x"), yes.clone()).unwrap().bool("x"), "{yes}");
        }
        for no in [json!(false), json!("False"), json!("f"), json!("0"), json!(0), json!(""), json!(null)] {
            assert!(!parse(Field::bool("x"), no.clone()).unwrap().bool("x"), "{no}");
        }
        for bad in [json!("yes"), json!("TrUe"), json!([]), json!({})] {
            assert!(parse(Field::bool("x"), bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        let secs = |value: Value| parse(Field::duration("x"), value).map(|data| data.duration("x").as_secs());
        for (value, want) in [
            (json!(90), 90),
            (json!(90.9), 90),
            (json!("90"), 90),
            (json!("90s"), 90),
            (json!("1h30m"), 5400),
            (json!("1.5h"), 5400),
            (json!("500ms"), 0),
            (json!("1500ms"), 1),
            (json!("2d"), 172_800),
            (json!(""), 0),
            (json!(null), 0),
            (json!("+5s"), 5),
            (json!("0"), 0),
        ] {
            assert_eq!(secs(value.clone()), Ok(want), "{value}");
        }
        for bad in [
            json!(-1),
            json!("-1m"),
            json!("9223372036854775807"),
            json!(1e30),
            json!("1w"),
            json!(true),
            json!([1]),
            json!("1.5"),
            json!("d"),
            json!("5 m"),
            json!("99999999999d"),
        ] {
            assert!(secs(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_are_trimmed() {
        let items = |value: Value| parse(Field::list("x"), value).map(|data| data.list("x").to_vec());
        assert_eq!(items(json!(" a, b ,c")).unwrap(), ["a", "b", "c"]);
        assert_eq!(items(json!(["a ", 1])).unwrap(), ["a", "1"]);
        assert!(items(json!("")).unwrap().is_empty());
        assert!(items(json!({})).is_err());
        assert!(items(json!([["a"]])).is_err());
    }

    #[test]
    fn sensitive_values_are_not_quoted() {
        let error = parse(Field::string("secret").sensitive(), json!(["hunter2"])).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let error = parse(Field::bool("secret").sensitive(), json!("hunter2")).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn unset_is_not_zero() {
        let schema = BTreeMap::from([
            ("a".to_owned(), Field::string("a").default_str("x")),
            ("b".to_owned(), Field::int("b")),
        ]);
        let data = FieldData::parse(&schema, &Map::from_iter([("b".to_owned(), json!(null))])).unwrap();
        assert_eq!((data.str("a"), data.is_set("a")), ("x", false));
        assert_eq!((data.int("b"), data.is_set("b")), (0, true));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC*".prop_map(Value::from),
            "[+-]?[0-9.]{0,22}(h|m|s|ms|us|µs|ns|d|w)?".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn never_panics_and_names_the_field(value in any_json()) {
            for kind in [
                FieldType::String, FieldType::Bool, FieldType::Int,
                FieldType::DurationSecs, FieldType::CommaList, FieldType::Map,
            ] {
                if let Err(error) = parse(Field::new("the_field", kind), value.clone()) {
                    prop_assert!(error.contains("for field \"the_field\""));
                }
            }
        }

        #[test]
        fn whole_seconds_survive_every_spelling(secs in 0_u64..9_000_000_000) {
            let want = Ok(Duration::from_secs(secs));
            for value in [
                json!(secs),
                json!(secs.to_string()),
                json!(format!("{secs}s")),
                json!(format!("{}ms", secs * 1000)),
                json!(format!("{}h{}m{}s", secs / 3600, secs / 60 % 60, secs % 60)),
                json!(format!("+{secs}.9s")),
            ] {
                prop_assert_eq!(parse(Field::duration("x"), value).map(|data| data.duration("x")), want.clone());
            }
        }

        #[test]
        fn negative_durations_are_refused(secs in 1_i64..9_000_000_000) {
            for value in [json!(-secs), json!((-secs).to_string()), json!(format!("-{secs}s"))] {
                let error = parse(Field::duration("x"), value).unwrap_err();
                prop_assert!(error.ends_with(&format!("cannot provide negative value '-{secs}'")), "{}", error);
            }
        }

        #[test]
        fn integers_round_trip(number: i64) {
            for value in [json!(number), json!(number.to_string())] {
                prop_assert_eq!(parse(Field::int("x"), value).unwrap().int("x"), number);
            }
        }

        #[test]
        fn strings_are_kept(text in ".*") {
            let data = parse(Field::string("x"), json!(text.clone())).unwrap();
            prop_assert_eq!(data.str("x"), text);
        }
    }
}
