//! Answers to `path-help`.

use serde_json::Value;

use crate::backend::Backend;
use crate::openapi;
use crate::path::Path;
use crate::pattern;
use crate::response::Response;

/// Help of the whole engine.
pub(crate) fn root(backend: &Backend) -> Response {
    let mut text = format!("## DESCRIPTION\n\n{}\n\n## PATHS\n\n", backend.help.trim());
    text.push_str("Ask for help on any path that matches one of these patterns:\n");
    for path in &backend.paths {
        text.push_str(&format!("\n    {}\n", pattern::anchored(&path.pattern)));
        text.push_str(&format!("{}\n", indented(synopsis(path), 8)));
    }
    answer(text, openapi::document(backend, None))
}

/// Help of the path that `request` matched.
pub(crate) fn path(backend: &Backend, path: &Path, request: &str) -> Response {
    let mut text = format!("Request:        {request}\n");
    text.push_str(&format!("Matching Route: {}\n\n", pattern::anchored(&path.pattern)));
    text.push_str(&format!("{}\n\n", synopsis(path)));
    if !path.fields.is_empty() {
        text.push_str("## PARAMETERS\n");
        for field in path.fields.values() {
            text.push_str(&format!("\n    {} ({})\n", field.name, field.kind.name()));
            text.push_str(&format!("{}\n", indented(&field.description, 8)));
        }
        text.push('\n');
    }
    text.push_str(&format!("## DESCRIPTION\n\n{}\n", path.description.trim()));
    answer(text, openapi::document(backend, Some(path)))
}

fn synopsis(path: &Path) -> &str {
    match path.synopsis.trim() {
        "" => "<no synopsis>",
        text => text,
    }
}

fn indented(text: &str, by: usize) -> String {
    let lines: Vec<String> = text.trim().lines().map(|line| format!("{:by$}{line}", "")).collect();
    lines.join("\n")
}

fn answer(help: String, openapi: Value) -> Response {
    Response::new().with("help", help).with("see_also", Value::Null).with("openapi", openapi)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Field, Operation};

    fn backend() -> Backend {
        let nothing: crate::Handler = Arc::new(|_| Box::pin(async { Ok(None) }));
        Backend::new("An engine.")
            .path(
                Path::new(format!("roles/{}", pattern::name("role")))
                    .field(Field::string("role").describe("Name"))
                    .field(
                        Field::duration("max_ttl")
                            .describe("Two\nlines")
                            .default_duration(std::time::Duration::from_secs(5)),
                    )
                    .field(Field::string("key").sensitive().required())
                    .on(Operation::Read, Arc::clone(&nothing))
                    .on_write(Arc::clone(&nothing))
                    .exists(Arc::new(|_| Box::pin(async { Ok(true) })))
                    .help("A role", "Says what keys may do."),
            )
            .path(Path::new("roles/?").on(Operation::List, Arc::clone(&nothing)))
            .path(
                Path::new("keys/?")
                    .field(Field::duration("ttl"))
                    .on(Operation::Read, Arc::clone(&nothing))
                    .on(Operation::List, nothing),
            )
            .unauthenticated_paths(["roles/"])
    }

    #[test]
    fn texts() {
        let backend = backend();
        let response = path(&backend, &backend.paths[0], "roles/r1");
        let text = response.data["help"].as_str().unwrap_or_default();
        assert!(text.starts_with("Request:        roles/r1\nMatching Route: ^roles/(?P<role>"), "{text}");
        assert!(text.contains("\n    max_ttl (duration (sec))\n        Two\n        lines\n"), "{text}");
        assert!(response.data["see_also"].is_null());
        let root = root(&backend);
        assert!(
            root.data["help"]
                .as_str()
                .is_some_and(|text| text.contains("    ^roles/?$\n        <no synopsis>"))
        );
    }

    #[test]
    fn documents() {
        let document = &root(&backend()).data["openapi"];
        assert_eq!(document["openapi"], "3.0.2");
        let role = &document["paths"]["/roles/{role}"];
        assert_eq!(role["x-vault-createSupported"], true);
        assert_eq!(role["parameters"][0]["name"], "role");
        assert_eq!(role["parameters"][0]["in"], "path");
        assert!(role["get"].is_object() && role["post"].is_object() && role.get("delete").is_none());
        let schema = &role["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(schema["properties"]["max_ttl"]["type"], "integer");
        assert_eq!(schema["properties"]["max_ttl"]["format"], "seconds");
        assert_eq!(schema["properties"]["max_ttl"]["default"], 5);
        assert_eq!(schema["properties"]["key"]["x-vault-displayAttrs"]["sensitive"], true);
        assert_eq!(schema["required"], serde_json::json!(["key"]));
        assert!(schema["properties"].get("role").is_none());
        // What a write takes is no query of the read.
        assert!(role["get"].get("parameters").is_none());
        let list = &document["paths"]["/roles"];
        assert_eq!(list["get"]["parameters"][0]["name"], "list");
        assert_eq!(list["get"]["operationId"], "list-roles");
        // Of a path that is read and listed there is one `get`, the read.
        let keys = &document["paths"]["/keys"]["get"];
        assert_eq!(keys["operationId"], "read-keys");
        for (at, name) in ["list", "ttl"].into_iter().enumerate() {
            assert_eq!(keys["parameters"][at]["name"], name);
            assert!(keys["parameters"][at].get("required").is_none());
        }
        // One path's help documents that path alone.
        let backend = backend();
        let one = path(&backend, &backend.paths[1], "roles/");
        assert_eq!(one.data["openapi"]["paths"].as_object().map(serde_json::Map::len), Some(1));
    }
}
