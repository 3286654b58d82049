//! The engine's paths as an OpenAPI 3.0.2 document, as hosts collect it into theirs.

use serde_json::{Map, Value, json};

use crate::backend::Backend;
use crate::dispatch::templates;
use crate::field::{Field, FieldType, FieldValue};
use crate::path::Path;
use crate::request::Operation;

/// The document of all paths, or of `only` one.
pub(crate) fn document(backend: &Backend, only: Option<&Path>) -> Value {
    let paths: Map<String, Value> = templates(backend)
        .into_iter()
        .filter(|(_, path)| only.is_none_or(|only| only.pattern == path.pattern))
        .map(|(template, path)| {
            let item = path_item(backend, &template, path);
            (template, item)
        })
        .collect();
    json!({
        "openapi": "3.0.2",
        "info": { "title": "Secrets engine", "description": backend.help.trim(), "version": "" },
        "paths": paths,
    })
}

fn path_item(backend: &Backend, template: &str, path: &Path) -> Value {
    let in_path = |field: &&Field| template.contains(&format!("{{{}}}", field.name));
    let parameters: Vec<Value> = path
        .fields
        .values()
        .filter(in_path)
        .map(|field| {
            json!({
                "name": field.name, "in": "path", "required": true,
                "description": field.description, "schema": schema(field),
            })
        })
        .collect();
    let others: Vec<&Field> = path.fields.values().filter(|field| !in_path(field)).collect();

    let mut item = Map::new();
    item.insert("description".to_owned(), path.synopsis.clone().into());
    if path.operations.contains_key(&Operation::Create) && path.existence_check.is_some() {
        item.insert("x-vault-createSupported".to_owned(), true.into());
    }
    let special = |list: &[String]| list.iter().any(|entry| matches(entry, template));
    if special(&backend.special.root) {
        item.insert("x-vault-sudo".to_owned(), true.into());
    }
    if special(&backend.special.unauthenticated) {
        item.insert("x-vault-unauthenticated".to_owned(), true.into());
    }
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    for (operation, method) in [
        (Operation::List, "get"),
        (Operation::Read, "get"),
        (Operation::Create, "post"),
        (Operation::Update, "post"),
        (Operation::Patch, "patch"),
        (Operation::Delete, "delete"),
    ] {
        // A folder that can be read as well is listed by a parameter of the read.
        let merged = operation == Operation::List && path.operations.contains_key(&Operation::Read);
        if path.operations.contains_key(&operation) && !merged {
            item.insert(method.to_owned(), method_of(operation, template, path, &others));
        }
    }
    Value::Object(item)
}

/// Whether a special-path entry speaks of the template.
fn matches(entry: &str, template: &str) -> bool {
    let path = template.trim_start_matches('/');
    match entry.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path.trim_end_matches('/') == entry.trim_end_matches('/'),
    }
}

fn method_of(operation: Operation, template: &str, path: &Path, fields: &[&Field]) -> Value {
    let status = if operation == Operation::Delete { "204" } else { "200" };
    let mut method = json!({
        "operationId": operation_id(operation, template),
        "summary": path.synopsis,
        "tags": ["secrets"],
        "responses": { status: { "description": if status == "204" { "empty body" } else { "OK" } } },
    });
    match operation {
        Operation::List => {
            method["parameters"] = json!([{
                "name": "list", "in": "query", "required": true,
                "description": "Must be set to `true`", "schema": { "type": "string", "enum": ["true"] },
            }]);
        }
        Operation::Read => {
            let parameters = query(path, fields);
            if !parameters.is_empty() {
                method["parameters"] = parameters.into();
            }
        }
        Operation::Create | Operation::Update | Operation::Patch if !fields.is_empty() => {
            let properties: Map<String, Value> =
                fields.iter().map(|field| (field.name.clone(), property(field))).collect();
            let mut schema = json!({ "type": "object", "properties": properties });
            let required: Vec<&str> =
                fields.iter().filter(|field| field.required).map(|field| field.name.as_str()).collect();
            if !required.is_empty() {
                schema["required"] = required.into();
            }
            method["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
        }
        _ => {}
    }
    method
}

/// What a read takes in its query.
fn query(path: &Path, fields: &[&Field]) -> Vec<Value> {
    let mut parameters = Vec::new();
    if path.operations.contains_key(&Operation::List) {
        parameters.push(json!({
            "name": "list", "in": "query",
            "description": "Return a list if `true`", "schema": { "type": "string" },
        }));
    }
    // Where something can be written, the fields are those of the write.
    let writes = [Operation::Create, Operation::Update, Operation::Patch];
    if !writes.iter().any(|write| path.operations.contains_key(write)) {
        parameters.extend(fields.iter().map(|field| {
            json!({
                "name": field.name, "in": "query",
                "description": field.description, "schema": schema(field),
            })
        }));
    }
    parameters
}

/// `read-roles-role` for a read of `/roles/{role}`.
fn operation_id(operation: Operation, template: &str) -> String {
    let verb = if operation == Operation::Update || operation == Operation::Create {
        "write"
    } else {
        operation.as_str()
    };
    let words = template.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(verb).chain(words).collect::<Vec<_>>().join("-")
}

fn property(field: &Field) -> Value {
    let mut property = schema(field);
    property["description"] = field.description.clone().into();
    if let Some(default) = &field.default {
        property["default"] = match default {
            FieldValue::String(text) => text.clone().into(),
            FieldValue::Bool(value) => (*value).into(),
            FieldValue::Int(value) => (*value).into(),
            FieldValue::Duration(value) => value.as_secs().into(),
            FieldValue::List(items) => items.clone().into(),
            FieldValue::Map(map) => Value::Object(map.clone()),
        };
    }
    if field.sensitive {
        property["x-vault-displayAttrs"] = json!({ "sensitive": true });
    }
    property
}

fn schema(field: &Field) -> Value {
    match field.kind {
        FieldType::String => json!({ "type": "string" }),
        FieldType::Bool => json!({ "type": "boolean" }),
        FieldType::Int => json!({ "type": "integer" }),
        FieldType::DurationSecs => json!({ "type": "integer", "format": "seconds" }),
        FieldType::CommaList => json!({ "type": "array", "items": { "type": "string" } }),
        FieldType::Map => json!({ "type": "object" }),
    }
}
