//! Our csi.v1 against upstream's: equal on the wire, whatever our files look like.
//!
//! `data/csi-1.12.0.json` comes from the descriptors in upstream's Go module, by `tools/csi-descriptors`.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::collections::BTreeSet;

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    ServiceDescriptor, Value as Reflected,
};
use serde_json::{Map, Value, json};

const UPSTREAM: &str = include_str!("data/csi-1.12.0.json");
const OURS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
const PACKAGE: &str = "csi.v1";
/// Options of ours that upstream does not have; they change nothing on the wire.
const OUR_OPTIONS: [&str; 1] = ["boathouse.v1.secret"];

#[test]
fn csi_is_equal_on_the_wire() {
    let upstream: Value = serde_json::from_str(UPSTREAM).unwrap();
    assert_eq!(upstream["version"], "v1.12.0");
    assert_eq!(upstream["package"], PACKAGE);
    let ours = describe(&DescriptorPool::decode(OURS).unwrap());
    for part in ["services", "messages", "enums", "extensions"] {
        assert!(!upstream[part].as_object().unwrap().is_empty(), "upstream has no {part}");
        let differences = differences(part, &upstream[part], &ours[part]);
        assert!(differences.is_empty(), "csi.v1 differs from upstream:\n{}", differences.join("\n"));
    }
}

/// The comparison itself: one change of each kind, in both directions, is found.
#[test]
fn a_difference_is_found() {
    let upstream: Value = serde_json::from_str(UPSTREAM).unwrap();
    let messages = &upstream["messages"];
    let field = "/csi.v1.NodePublishVolumeRequest/fields/target_path";
    let changes: [(&str, Value); 4] = [
        ("number", json!(5)),
        ("type", json!("bytes")),
        ("label", json!("repeated")),
        ("options", json!(["csi.v1.csi_secret=true"])),
    ];
    for (key, value) in changes {
        let mut changed = messages.clone();
        changed.pointer_mut(field).unwrap()[key] = value;
        assert_eq!(differences("messages", messages, &changed).len(), 1, "{key}");
    }
    let mut fewer = messages.clone();
    fewer.as_object_mut().unwrap().remove("csi.v1.Volume").unwrap();
    assert_eq!(differences("messages", messages, &fewer), ["messages.csi.v1.Volume: upstream only"]);
    assert_eq!(differences("messages", &fewer, messages), ["messages.csi.v1.Volume: ours only"]);
}

/// Every place where the two differ, named by its path.
fn differences(path: &str, upstream: &Value, ours: &Value) -> Vec<String> {
    let (Value::Object(left), Value::Object(right)) = (upstream, ours) else {
        return if upstream == ours {
            Vec::new()
        } else {
            vec![format!("{path}: upstream {upstream}, ours {ours}")]
        };
    };
    let keys: BTreeSet<_> = left.keys().chain(right.keys()).collect();
    keys.into_iter()
        .flat_map(|key| {
            let path = format!("{path}.{key}");
            match (left.get(key), right.get(key)) {
                (Some(left), Some(right)) => differences(&path, left, right),
                (Some(_), None) => vec![format!("{path}: upstream only")],
                (None, _) => vec![format!("{path}: ours only")],
            }
        })
        .collect()
}

/// Our descriptors in the shape of upstream's file.
fn describe(pool: &DescriptorPool) -> Value {
    let services = pool.services().filter(|it| it.package_name() == PACKAGE);
    let messages = pool.all_messages().filter(|it| it.package_name() == PACKAGE);
    let enums = pool.all_enums().filter(|it| it.package_name() == PACKAGE);
    let extensions = pool.all_extensions().filter(|it| it.package_name() == PACKAGE);
    json!({
        "services": object(services.map(|it| (it.full_name().to_owned(), service(&it)))),
        "messages": object(messages.map(|it| (it.full_name().to_owned(), message(&it)))),
        "enums": object(enums.map(|it| (it.full_name().to_owned(), enumeration(&it)))),
        "extensions": object(extensions.map(|it| (it.full_name().to_owned(), json!({
            "extendee": it.containing_message().full_name(),
            "number": it.number(),
            "label": label(it.cardinality()),
            "type": kind(&it.kind()).0,
        })))),
    })
}

fn service(service: &ServiceDescriptor) -> Value {
    let methods = service.methods().map(|it| {
        let described = json!({
            "input": it.input().full_name(),
            "output": it.output().full_name(),
            "client_streaming": it.is_client_streaming(),
            "server_streaming": it.is_server_streaming(),
            "options": options(&it.options()),
        });
        (it.name().to_owned(), described)
    });
    json!({ "methods": object(methods), "options": options(&service.options()) })
}

fn message(message: &MessageDescriptor) -> Value {
    let fields = message.fields().map(|it| (it.name().to_owned(), field(&it)));
    json!({ "fields": object(fields), "options": options(&message.options()) })
}

fn field(field: &FieldDescriptor) -> Value {
    let (kind, type_name) = kind(&field.kind());
    json!({
        "number": field.number(),
        "label": label(field.cardinality()),
        "type": kind,
        "type_name": type_name,
        "oneof": field.containing_oneof().map(|it| it.name().to_owned()).unwrap_or_default(),
        "options": options(&field.options()),
    })
}

fn enumeration(it: &EnumDescriptor) -> Value {
    let values = it.values().map(|it| {
        (it.name().to_owned(), json!({ "number": it.number(), "options": options(&it.options()) }))
    });
    json!({ "values": object(values), "options": options(&it.options()) })
}

/// Every option that is set, but ours, as "full name=value", sorted.
fn options(options: &DynamicMessage) -> Vec<String> {
    let built_in = options.fields().map(|(field, value)| (field.full_name().to_owned(), value));
    let custom = options.extensions().map(|(field, value)| (field.full_name().to_owned(), value));
    let mut set: Vec<_> = built_in
        .chain(custom)
        .filter(|(name, _)| !OUR_OPTIONS.contains(&name.as_str()))
        .map(|(name, value)| match value {
            Reflected::Bool(value) => format!("{name}={value}"),
            other => format!("{name}={other:?}"),
        })
        .collect();
    set.sort();
    set
}

fn label(cardinality: Cardinality) -> &'static str {
    match cardinality {
        Cardinality::Optional => "optional",
        Cardinality::Required => "required",
        Cardinality::Repeated => "repeated",
    }
}

/// The name of the kind, and of the message or enum.
fn kind(kind: &Kind) -> (&'static str, String) {
    let scalar = match kind {
        Kind::Message(it) => return ("message", it.full_name().to_owned()),
        Kind::Enum(it) => return ("enum", it.full_name().to_owned()),
        Kind::Double => "double",
        Kind::Float => "float",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Uint32 => "uint32",
        Kind::Uint64 => "uint64",
        Kind::Sint32 => "sint32",
        Kind::Sint64 => "sint64",
        Kind::Fixed32 => "fixed32",
        Kind::Fixed64 => "fixed64",
        Kind::Sfixed32 => "sfixed32",
        Kind::Sfixed64 => "sfixed64",
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
    };
    (scalar, String::new())
}

fn object(entries: impl Iterator<Item = (String, Value)>) -> Value {
    Value::Object(entries.collect::<Map<_, _>>())
}
