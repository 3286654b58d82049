//! The field parser against the grammar of the hosts' own framework.
//!
//! Expected values are those of Go's `FieldData` (`sdk/framework/field_data.go`), of the packages it parses with
//! (`parseutil`, `mapstructure` in its weak mode) and of `strconv` and `time` below them, as read in their source.
//! JSON numbers reach an engine as 64-bit floats there.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use vault_plugin_sdk::{Field, FieldData, FieldType};

const TYPES: [FieldType; 6] = [
    FieldType::String,
    FieldType::Bool,
    FieldType::Int,
    FieldType::DurationSecs,
    FieldType::CommaList,
    FieldType::Map,
];

fn parse(field: Field, value: Value) -> Result<FieldData, String> {
    let schema = BTreeMap::from([("x".to_owned(), field)]);
    FieldData::parse(&schema, &Map::from_iter([("x".to_owned(), value)])).map_err(|error| error.to_string())
}

/// What a value becomes, as JSON.
fn converted(kind: FieldType, value: Value) -> Result<Value, String> {
    let data = parse(Field::new("x", kind), value)?;
    Ok(match kind {
        FieldType::String => data.str("x").into(),
        FieldType::Bool => data.bool("x").into(),
        FieldType::Int => data.int("x").into(),
        FieldType::DurationSecs => data.duration("x").as_secs().into(),
        FieldType::CommaList => data.list("x").into(),
        FieldType::Map => data.map("x").clone().into(),
        other => panic!("{other:?} is not in this test"),
    })
}

fn table(kind: FieldType, accepted: &[(Value, Value)], refused: &[Value]) {
    for (value, want) in accepted {
        assert_eq!(converted(kind, value.clone()).as_ref(), Ok(want), "{kind:?} of {value}");
    }
    for value in refused {
        let error = converted(kind, value.clone()).expect_err(&format!("{kind:?} of {value}"));
        assert!(error.contains("for field \"x\""), "{error}");
    }
}

#[test]
fn booleans() {
    let yes = ["1", "t", "T", "true", "TRUE", "True"].map(Value::from);
    let no = ["", "0", "f", "F", "false", "FALSE", "False"].map(Value::from);
    let yes = yes.into_iter().chain([json!(true), json!(1), json!(-2), json!(0.5)]);
    let no = no.into_iter().chain([json!(false), json!(0), json!(0.0), json!(-0.0), json!(null)]);
    let accepted: Vec<_> =
        yes.map(|value| (value, json!(true))).chain(no.map(|value| (value, json!(false)))).collect();
    let refused =
        ["yes", "no", "on", "y", "2", "tRUE", "TrUe", " true", "true ", "\u{0}", "真"].map(Value::from);
    table(FieldType::Bool, &accepted, &refused);
    table(FieldType::Bool, &[], &[json!([]), json!([true]), json!({})]);
}

#[test]
fn integers() {
    let accepted = [
        (json!(7), 7),
        (json!(-7), -7),
        (json!(2.9), 2),
        (json!(-2.9), -2),
        (json!(1e3), 1000),
        (json!(true), 1),
        (json!(false), 0),
        (json!(null), 0),
        (json!(""), 0),
        (json!("0"), 0),
        (json!("-0"), 0),
        (json!("+7"), 7),
        // The base is in the prefix: `ParseInt(text, 0, 64)`.
        (json!("010"), 8),
        (json!("0o17"), 15),
        (json!("0x1F"), 31),
        (json!("-0XfF"), -255),
        (json!("0b101"), 5),
        (json!("1_000"), 1000),
        (json!("0x_10"), 16),
        (json!("0_7"), 7),
        (json!("9223372036854775807"), i64::MAX),
        (json!("-9223372036854775808"), i64::MIN),
        (json!(i64::MAX), i64::MAX),
        (json!(i64::MIN), i64::MIN),
    ];
    let refused = [
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "1.5",
        "1e3",
        "08",
        "0x",
        "0b2",
        "0o8",
        "_1",
        "1_",
        "1__0",
        "0x_",
        "0_",
        "-",
        "+",
        "+-5",
        "--5",
        "0x-5",
        " 5",
        "5 ",
        "five",
        "٣",
    ];
    table(FieldType::Int, &accepted.map(|(value, want)| (value, json!(want))), &refused.map(Value::from));
    table(FieldType::Int, &[], &[json!(1e30), json!(u64::MAX), json!([1]), json!({})]);
}

#[test]
fn durations() {
    let accepted = [
        (json!(90), 90_i64),
        (json!(90.9), 90),
        (json!(-0.5), 0),
        (json!("90"), 90),
        (json!("+90"), 90),
        (json!("010"), 10),
        (json!("90s"), 90),
        (json!("1h30m"), 5400),
        (json!("1.5h"), 5400),
        (json!(".5m"), 30),
        (json!("1.h"), 3600),
        (json!("500ms"), 0),
        (json!("-500ms"), 0),
        (json!("1500ms"), 1),
        (json!("1500000us"), 1),
        (json!("1500000µs"), 1),
        (json!("1500000μs"), 1),
        (json!("2000000000ns"), 2),
        (json!("1h1h"), 7200),
        (json!("0s"), 0),
        (json!("+5s"), 5),
        (json!("2d"), 172_800),
        (json!("-0d"), 0),
        (json!(""), 0),
        (json!(null), 0),
        (json!("9223372036"), 9_223_372_036),
        (json!("106751d"), 106_751 * 86_400),
    ];
    let refused = [
        "-1",
        "-1m",
        "-1d",
        "-1s",
        "1w",
        "1y",
        "1.5",
        "1.5d",
        "1h2d",
        "d",
        "s",
        ".s",
        "+",
        "-",
        "h1",
        "5 m",
        " 5s",
        "5S",
        "1_000",
        "0x10",
        "soon",
        "5s5",
        "1e3s",
        "--5s",
        "９s",
        // Beyond 64-bit nanoseconds, where Go wraps around or refuses, depending on its version.
        "9223372037",
        "9223372036854775807",
        "106752d",
        "99999999999d",
        "2562048h",
        "99999999999999999999999999999999999999999h",
    ];
    table(
        FieldType::DurationSecs,
        &accepted.map(|(value, want)| (value, json!(want))),
        &refused.map(Value::from),
    );
    table(FieldType::DurationSecs, &[], &[json!(-1), json!(1e30), json!(true), json!([1]), json!({})]);
}

#[test]
fn strings() {
    let accepted = [
        (json!("  as it is "), "  as it is "),
        (json!("\u{0}é\u{1F600}"), "\u{0}é\u{1F600}"),
        (json!(null), ""),
        (json!(true), "1"),
        (json!(false), "0"),
        (json!(7), "7"),
        (json!(-7), "-7"),
        (json!(1.5), "1.5"),
        // Without fraction and without exponent.
        (json!(1.0), "1"),
        (json!(1e21), "1000000000000000000000"),
        (json!(1e-7), "0.0000001"),
    ];
    table(
        FieldType::String,
        &accepted.map(|(value, want)| (value, json!(want))),
        &[json!([]), json!(["a"]), json!({}), json!({"a": 1})],
    );
    // Go would round it to 12345678901234567000.
    table(FieldType::String, &[(json!(12_345_678_901_234_567_890_u64), json!("12345678901234567890"))], &[]);
}

#[test]
fn lists() {
    let accepted = [
        (json!("a,b"), json!(["a", "b"])),
        (json!(" a, b ,c"), json!(["a", "b", "c"])),
        (json!("a"), json!(["a"])),
        (json!("a,,b,"), json!(["a", "", "b", ""])),
        (json!(","), json!(["", ""])),
        (json!(""), json!([])),
        (json!(null), json!([])),
        (json!([]), json!([])),
        (json!({}), json!([])),
        (json!(["a ", "\u{a0}b", 1, 1.5, true, null]), json!(["a", "b", "1", "1.5", "1", ""])),
        // Commas separate in a text, not in an array.
        (json!(["a,b"]), json!(["a,b"])),
        (json!(7), json!(["7"])),
        (json!(true), json!(["1"])),
    ];
    table(FieldType::CommaList, &accepted, &[json!({"a": 1}), json!([["a"]]), json!([{}])]);
}

#[test]
fn maps() {
    let accepted = [(json!({"a": {"b": [1]}}), json!({"a": {"b": [1]}})), (json!(null), json!({}))];
    table(FieldType::Map, &accepted, &[json!("a=b"), json!(1), json!(true), json!(["a"])]);
}

#[test]
fn unset_is_not_zero() {
    let defaults = || {
        BTreeMap::from([
            ("text".to_owned(), Field::string("text").default_str("x")),
            ("ttl".to_owned(), Field::duration("ttl").default_duration(Duration::from_secs(5))),
        ])
    };
    let data = |raw: Value| FieldData::parse(&defaults(), raw.as_object().unwrap()).unwrap();
    let absent = data(json!({}));
    assert_eq!((absent.str("text"), absent.is_set("text")), ("x", false));
    assert_eq!((absent.duration("ttl").as_secs(), absent.is_set("ttl")), (5, false));
    for empty in [json!({"text": "", "ttl": ""}), json!({"text": null, "ttl": 0})] {
        let empty = data(empty);
        assert_eq!((empty.str("text"), empty.is_set("text")), ("", true));
        assert_eq!((empty.duration("ttl").as_secs(), empty.is_set("ttl")), (0, true));
    }
    // Only of durations, null is no value.
    let null = data(json!({"ttl": null}));
    assert_eq!((null.duration("ttl").as_secs(), null.is_set("ttl")), (5, false));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        "[+-]?[0-9._]{0,22}(h|m|s|ms|us|µs|ns|d|w)?".prop_map(Value::from),
        "[+-]?0[xXoObB_]?[0-9a-fA-F_]{0,18}".prop_map(Value::from),
        "(true|t|TRUE|f|False|1|0|,| )*".prop_map(Value::from),
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
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing panics, errors name the field, and what came out goes in again unchanged.
    #[test]
    fn any_value(value in any_json()) {
        for kind in TYPES {
            match converted(kind, value.clone()) {
                Ok(once) => prop_assert_eq!(converted(kind, once.clone()), Ok(once)),
                Err(error) => prop_assert!(error.contains("for field \"x\""), "{}", error),
            }
        }
    }

    /// A sensitive value is in no error.
    #[test]
    fn secrets_stay_out_of_errors(secret in "[A-Za-z]{12,20}") {
        for kind in TYPES {
            for value in [json!(secret), json!([[secret]]), json!({"key": secret}), json!([{"key": secret}])] {
                if let Err(error) = parse(Field::new("x", kind).sensitive(), value) {
                    prop_assert!(!error.contains(&secret), "{}", error);
                }
            }
        }
    }

    #[test]
    fn whole_seconds_survive_every_spelling(secs in 0_u64..9_000_000_000) {
        let spellings = [
            json!(secs),
            json!(secs as f64 + 0.5),
            json!(secs.to_string()),
            json!(format!("0{secs}")),
            json!(format!("{secs}s")),
            json!(format!("{}ms", secs * 1000)),
            json!(format!("{}us", secs * 1_000_000)),
            json!(format!("{}h{}m{}s", secs / 3600, secs / 60 % 60, secs % 60)),
            json!(format!("{}s{}h", secs % 3600, secs / 3600)),
            json!(format!("+{secs}.9s")),
        ];
        for value in spellings {
            prop_assert_eq!(converted(FieldType::DurationSecs, value), Ok(json!(secs)));
        }
    }

    #[test]
    fn days_are_seconds(days in 0_u64..=106_751) {
        let value = json!(format!("{days}d"));
        prop_assert_eq!(converted(FieldType::DurationSecs, value), Ok(json!(days * 86_400)));
    }

    #[test]
    fn negative_durations_are_refused(secs in 1_i64..9_000_000_000) {
        for value in [json!(-secs), json!((-secs).to_string()), json!(format!("-{secs}s"))] {
            let error = converted(FieldType::DurationSecs, value).unwrap_err();
            prop_assert!(error.ends_with(&format!("cannot provide negative value '-{secs}'")), "{}", error);
        }
    }

    #[test]
    fn integers_survive_every_base(number: i64) {
        let sign = if number < 0 { "-" } else { "" };
        let size = number.unsigned_abs();
        let spellings = [
            json!(number),
            json!(number.to_string()),
            json!(format!("{sign}{size:#x}")),
            json!(format!("{sign}{size:#o}")),
            json!(format!("{sign}{size:#b}")),
            json!(format!("{sign}0{size:o}")),
        ];
        for value in spellings {
            prop_assert_eq!(converted(FieldType::Int, value), Ok(json!(number)));
        }
    }

    #[test]
    fn texts_are_kept(text in ".*") {
        prop_assert_eq!(converted(FieldType::String, json!(text)), Ok(json!(text)));
    }

    #[test]
    fn lists_survive_both_spellings(items in prop::collection::vec("[^,\\s]([^,]{0,6}[^,\\s])?", 1..5)) {
        for value in [json!(items), json!(items.join(",")), json!(items.join(" ,\t"))] {
            prop_assert_eq!(converted(FieldType::CommaList, value), Ok(json!(items)));
        }
    }

    #[test]
    fn numbers_become_their_decimal_text(number: f64) {
        prop_assume!(number.is_finite());
        let text = converted(FieldType::String, json!(number)).unwrap();
        let text = text.as_str().unwrap();
        prop_assert!(text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'.' | b'-')), "{}", text);
        prop_assert_eq!(text.parse::<f64>().unwrap(), number);
    }
}
