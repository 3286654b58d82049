//! JSON into a field of every type.
//!
//! No value may panic; an error names its field, and of a sensitive field not the value; what was converted is
//! converted to the same when it is given again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
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

/// The converted value as JSON.
fn shown(kind: FieldType, data: &FieldData) -> Value {
    match kind {
        FieldType::String => data.str("x").into(),
        FieldType::Bool => data.bool("x").into(),
        FieldType::Int => data.int("x").into(),
        FieldType::DurationSecs => data.duration("x").as_secs().into(),
        FieldType::CommaList => data.list("x").into(),
        FieldType::Map => data.map("x").clone().into(),
        other => panic!("{other:?} has no getter here"),
    }
}

fuzz_target!(|text: &[u8]| {
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return };
    for kind in TYPES {
        match parse(Field::new("x", kind), value.clone()) {
            Ok(data) => {
                let once = shown(kind, &data);
                let again = parse(Field::new("x", kind), once.clone()).expect("what was converted before");
                assert_eq!(shown(kind, &again), once, "{kind:?} of {value}");
            }
            Err(error) => {
                assert!(error.contains("for field \"x\""), "{error}");
                let hidden =
                    parse(Field::new("x", kind).sensitive(), value.clone()).expect_err("refused before");
                let shape = format!("error converting input *** for field \"x\": not a {}", kind.name());
                assert_eq!(hidden, shape);
            }
        }
    }
});
