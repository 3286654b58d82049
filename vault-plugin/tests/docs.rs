//! docs/vault-plugin.md says what the engine does: paths, operations, fields, limits, the admin's policy.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use vault_plugin_sdk::Operation;
use vault_plugin_sdk::testing::Mount;
use vault_plugin_secrets_minio::{VERSION, backend, limits};

const DOCUMENT: &str = include_str!("../../docs/vault-plugin.md");
const POLICY: &str = include_str!("../minimum-admin-policy.json");
const LIMITS: &str = include_str!("../src/limits.rs");
const DIFFERENCES: &str = include_str!("../../integration/tests/suite/engine/differences.txt");

/// The engine's OpenAPI paths, in the document's spelling: `roles/<role>`.
async fn paths() -> BTreeMap<String, Value> {
    let mount = Mount::new(backend());
    let help = mount.request(Operation::Help, "", Value::Null).await.unwrap().unwrap();
    let paths = help.data["openapi"]["paths"].as_object().unwrap().clone();
    let spelt = |path: &str| path.trim_start_matches('/').replace('{', "<").replace('}', ">");
    paths.into_iter().map(|(path, item)| (spelt(&path), item)).collect()
}

/// What a path takes by name, with its type in the document's words.
fn fields(item: &Value) -> BTreeMap<String, &'static str> {
    let kind = |schema: &Value| match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), None) => "string",
        (Some("boolean"), None) => "boolean",
        (Some("integer"), Some("seconds")) => "duration",
        (Some("array"), None) => "list",
        other => panic!("the document has no word for {other:?}"),
    };
    let parameters = [&item["parameters"], &item["get"]["parameters"]];
    let parameters = parameters.into_iter().filter_map(Value::as_array).flatten();
    let in_url = parameters
        .filter(|parameter| parameter["name"] != "list")
        .map(|parameter| (parameter["name"].as_str().unwrap().to_owned(), kind(&parameter["schema"])));
    let body = &item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"];
    let in_body = body.as_object().into_iter().flatten().map(|(name, schema)| (name.clone(), kind(schema)));
    in_url.chain(in_body).collect()
}

fn operations(item: &Value) -> BTreeSet<&'static str> {
    let get = &item["get"];
    let lists = get["parameters"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "list"));
    let only_lists = lists.is_some_and(|list| list["required"] == true);
    let mut found = BTreeSet::new();
    for (operation, has) in [
        ("read", get.is_object() && !only_lists),
        ("list", lists.is_some()),
        ("write", item["post"].is_object()),
        ("delete", item["delete"].is_object()),
    ] {
        if has {
            found.insert(operation);
        }
    }
    found
}

/// The text below a heading, up to the next one that is not deeper.
fn section(heading: &str) -> &'static str {
    let at = DOCUMENT.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let text = &DOCUMENT[at + heading.len() + 2..];
    let depth = heading.bytes().take_while(|byte| *byte == b'#').count();
    let end = (2..=depth).filter_map(|depth| text.find(&format!("\n{} ", "#".repeat(depth)))).min();
    &text[..end.unwrap_or(text.len())]
}

/// The rows of the tables in a text: their cells, without headings and rules.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_row = |at: usize| {
        let next = lines.get(at + 1).is_some_and(|next| next.starts_with("|--"));
        lines[at].starts_with("| ") && !next
    };
    (0..lines.len())
        .filter(|at| is_row(*at))
        .map(|at| lines[at].trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// The words of a text that stand in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[tokio::test]
async fn every_path_is_there_with_its_operations() {
    let text = section("## API reference");
    let overview = &text[..text.find("\n### ").unwrap()];
    let documented: BTreeMap<String, BTreeSet<&str>> = rows(overview)
        .into_iter()
        .map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1].split(", ").collect()))
        .collect();
    let declared: BTreeMap<_, _> =
        paths().await.into_iter().map(|(path, item)| (path, operations(&item))).collect();
    assert_eq!(documented, declared);
}

#[tokio::test]
async fn every_field_is_there_and_no_other() {
    let paths = paths().await;
    let mut seen = BTreeSet::new();
    for heading in section("## API reference").lines().filter(|line| line.starts_with("### ")) {
        let mut declared = BTreeMap::new();
        for path in quoted(heading) {
            declared.extend(fields(paths.get(path).unwrap_or_else(|| panic!("no path {path}"))));
            assert!(seen.insert(path.to_owned()), "{path} is there twice");
        }
        let documented: BTreeMap<_, _> = rows(section(heading))
            .into_iter()
            .map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1]))
            .collect();
        assert_eq!(documented, declared, "{heading}");
    }
    assert_eq!(seen, paths.into_keys().collect());
}

#[test]
fn every_limit_is_there() {
    let ranges = [
        ("USER_NAME", limits::USER_NAME),
        ("ACCOUNT_NAME", limits::ACCOUNT_NAME),
        ("GENERATED_SECRET", limits::GENERATED_SECRET),
    ];
    let numbers = [
        ("ENDPOINT", limits::ENDPOINT),
        ("ACCESS_KEY", limits::ACCESS_KEY),
        ("SECRET_KEY", limits::SECRET_KEY),
        ("REGION", limits::REGION),
        ("PEM", limits::PEM),
        ("NAME", limits::NAME),
        ("LIST", limits::LIST),
        ("POLICIES", limits::POLICIES),
        ("PREFIX", limits::PREFIX),
        ("SHORT_PREFIX", limits::SHORT_PREFIX),
        ("TEMPLATE", limits::TEMPLATE),
        ("POLICY", limits::POLICY),
        ("ACCOUNT_POLICY", limits::ACCOUNT_POLICY),
        ("SESSION_POLICY", limits::SESSION_POLICY),
    ];
    let numbers = numbers.map(|(name, value)| (name, value.to_string()));
    let ranges = ranges.map(|(name, range)| (name, format!("{} to {}", range.start(), range.end())));
    let actual: BTreeMap<_, _> = numbers.into_iter().chain(ranges).collect();
    let constants = LIMITS.split("\npub const ").skip(1).map(|text| text.split(':').next().unwrap());
    assert_eq!(actual.keys().copied().collect::<BTreeSet<_>>(), constants.collect(), "src/limits.rs");

    let documented: BTreeMap<_, _> = rows(section("## Limits"))
        .into_iter()
        .map(|cells| (cells[2].trim_matches('`'), cells[1].to_owned()))
        .collect();
    assert_eq!(documented, actual);
}

#[test]
fn the_admins_policy_is_the_one_the_tests_run_with() {
    let block = section("## The admin user's policy").split("```json\n").nth(1).unwrap();
    assert_eq!(block.split("```").next().unwrap(), POLICY);
}

#[test]
fn the_upgrade_tunes_to_this_version() {
    let upgrade = section("## Upgrade from the Go plugin and back");
    assert!(upgrade.contains(&format!(" -plugin-version={VERSION} ")), "not {VERSION}");
}

#[test]
fn every_difference_from_the_go_plugin_is_there() {
    let documented: Vec<_> =
        rows(section("## Differences from the Go plugin")).into_iter().map(|cells| cells[0]).collect();
    let recorded: Vec<_> = DIFFERENCES.lines().filter_map(|line| line.strip_prefix("# ")).skip(1).collect();
    assert_eq!(documented, recorded);
}
