//! Messages with something in every field.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::is_secret;

pub(crate) const SENTINEL: &str = "SENTINEL-4f1d";
/// As long as a number can be without looking like an ordinary one.
pub(crate) const SENTINEL_NUMBER: u32 = 3_141_592_653;
/// Oneofs in contained messages take turns too; none has more members than this.
pub(crate) const TURNS: usize = 6;
/// Messages that contain themselves end here.
const DEPTH: usize = 6;

/// Where a secret shows.
pub(crate) struct Leak;

impl Leak {
    pub(crate) fn in_bytes(bytes: &[u8]) -> bool {
        bytes.windows(SENTINEL.len()).any(|window| window == SENTINEL.as_bytes())
    }

    /// What of the secret shows in the text: as itself, as a list of byte values or as a number.
    pub(crate) fn in_text(text: &str) -> Option<String> {
        let list = format!("{:?}", SENTINEL.as_bytes());
        let list = list.trim_matches(['[', ']']).to_owned();
        [SENTINEL.to_owned(), list, SENTINEL_NUMBER.to_string()].into_iter().find(|form| text.contains(form))
    }
}

/// Sentinels in the secret fields, something harmless in the others. `turn` picks the members of the oneofs.
pub(crate) fn fill(message: &MessageDescriptor, turn: usize) -> DynamicMessage {
    build(message, turn, false, DEPTH)
}

/// Sentinels in every field.
pub(crate) fn as_secret(message: &MessageDescriptor) -> DynamicMessage {
    build(message, 0, true, DEPTH)
}

fn build(message: &MessageDescriptor, turn: usize, secret: bool, depth: usize) -> DynamicMessage {
    let mut built = DynamicMessage::new(message.clone());
    if depth == 0 {
        return built;
    }
    for field in message.fields() {
        if let Some(oneof) = field.containing_oneof() {
            let members: Vec<_> = oneof.fields().collect();
            assert!(members.len() <= TURNS, "{}: raise TURNS", oneof.full_name());
            if members[turn % members.len()] != field {
                continue;
            }
        }
        let secret = secret || is_secret(&field);
        built.set_field(&field, value(&field, turn, secret, depth - 1));
    }
    built
}

fn value(field: &FieldDescriptor, turn: usize, secret: bool, depth: usize) -> Value {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { unreachable!("a map is a list of messages") };
        let value = single(&entry.map_entry_value_field(), turn, secret, depth);
        let key = match single(&entry.map_entry_key_field(), turn, secret, depth) {
            Value::String(key) => MapKey::String(key),
            other => panic!("{}: teach this test keys like {other:?}", field.full_name()),
        };
        return Value::Map([(key, value)].into());
    }
    let value = single(field, turn, secret, depth);
    if field.is_list() { Value::List(vec![value]) } else { value }
}

fn single(field: &FieldDescriptor, turn: usize, secret: bool, depth: usize) -> Value {
    let text = if secret { SENTINEL } else { "harmless" };
    let number = if secret { SENTINEL_NUMBER } else { 1 };
    match field.kind() {
        Kind::String => Value::String(text.to_owned()),
        Kind::Bytes => Value::Bytes(text.as_bytes().to_vec().into()),
        Kind::Uint32 => Value::U32(number),
        Kind::Uint64 => Value::U64(number.into()),
        Kind::Int64 => Value::I64(number.into()),
        Kind::Message(message) => Value::Message(build(&message, turn, secret, depth)),
        Kind::Int32 if !secret => Value::I32(1),
        Kind::Bool if !secret => Value::Bool(true),
        Kind::Enum(kind) if !secret => Value::EnumNumber(kind.values().last().map_or(0, |it| it.number())),
        kind => panic!("{}: teach this test {kind:?} (secret: {secret})", field.full_name()),
    }
}
