//! The legacy driver's recorded callouts: options and goofys command lines.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use volume_spec::flex::Callout;
use volume_spec::{Parameters, Strictness, goofys};

/// Recorded mounts whose options ours refuses, and why that is right.
const REFUSED: [(&str, &str); 5] = [
    // The legacy driver said Success while goofys printed its usage.
    ("mount-no-bucket", "bucket is missing"),
    // No S3 server can have a bucket of one letter.
    ("mount-no-vault-path", "bucket \"b\": is 1 characters long"),
    // As the legacy driver.
    ("mount-bad-ttl", "time: invalid duration \"tomorrow\""),
    ("mount-ttl-int", "time: missing unit in duration \"3600\""),
    ("mount-bad-json", "failed to parse options"),
];

struct Recorded {
    name: String,
    target: String,
    options: String,
    succeeded: bool,
    argv: Option<Vec<String>>,
    ttl_nanos: Option<i64>,
}

fn recorded_mounts() -> Vec<Recorded> {
    let all: Vec<Value> = serde_json::from_str(include_str!("data/flexvolume.json")).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    all.iter()
        .filter(|case| case["args"][0] == "mount" && case["args"].as_array().unwrap().len() == 3)
        .map(|case| Recorded {
            name: text(&case["name"]).unwrap(),
            target: text(&case["args"][1]).unwrap(),
            options: text(&case["args"][2]).unwrap(),
            succeeded: case["stdout"].as_str().unwrap().contains("Success"),
            argv: case["goofys_argv"].as_array().map(|argv| argv.iter().map(|a| text(a).unwrap()).collect()),
            ttl_nanos: case["issue_requests"][0]["ttl"].as_i64(),
        })
        .collect()
}

fn parse(document: &str) -> Result<Parameters, String> {
    let callout = Callout::parse(document.as_bytes()).map_err(|error| error.to_string())?;
    Parameters::parse(&callout.options, Strictness::Legacy).map_err(|error| error.to_string())
}

/// The recorded command line without `--cred-filename <file>`, with the two flags ours adds where the legacy
/// driver left them out: the region goofys would guess and the owner it would take from its own user, root.
fn expected_argv(recorded: &[String]) -> Vec<String> {
    let mut argv = recorded.to_vec();
    let at = argv.iter().position(|a| a == "--cred-filename").unwrap();
    argv.drain(at..at + 2);
    let endpoint = argv.iter().position(|a| a == "--endpoint").map_or(7, |at| at + 2);
    let defaults = [("--region", "us-east-1"), ("--uid", "0"), ("--gid", "0")];
    for (index, (flag, value)) in defaults.into_iter().enumerate() {
        if !argv.iter().any(|a| a == flag) {
            argv.splice(endpoint + 2 * index..endpoint + 2 * index, [flag.to_owned(), value.to_owned()]);
        }
    }
    argv
}

#[test]
fn recorded_options_give_the_recorded_command_line() {
    let mut compared = 0;
    for case in recorded_mounts() {
        let parsed = match (parse(&case.options), REFUSED.iter().find(|(name, _)| *name == case.name)) {
            (Ok(parsed), None) => parsed,
            (Err(error), Some((_, says))) => {
                assert!(error.contains(says), "{}: {error}", case.name);
                continue;
            }
            (outcome, _) => panic!("{}: {outcome:?}", case.name),
        };
        // The one that failed for another reason than its options had no agent to ask.
        assert!(case.succeeded || case.name == "mount-no-agent", "{}", case.name);
        if let Some(ttl) = case.ttl_nanos {
            let seconds = parsed.spec.vault_ttl.map_or(0, |ttl| ttl.as_secs());
            assert_eq!(seconds, u64::try_from(ttl.max(0)).unwrap() / 1_000_000_000, "{}", case.name);
        }
        if let Some(recorded) = &case.argv {
            let ours = goofys::arguments(&parsed.spec, Path::new(&case.target));
            let ours: Vec<String> = ours.into_iter().map(|a| a.into_string().unwrap()).collect();
            assert_eq!(ours, expected_argv(recorded), "{}", case.name);
            compared += 1;
        }
    }
    assert!(compared >= 8, "only {compared} command lines were compared");
}

#[test]
fn the_read_only_mount_and_the_unknown_option_are_seen() {
    let by_name: BTreeMap<String, Recorded> =
        recorded_mounts().into_iter().map(|case| (case.name.clone(), case)).collect();
    assert!(Callout::parse(by_name["mount-ro"].options.as_bytes()).unwrap().read_only);
    let parsed = parse(&by_name["mount-unknown-option"].options).unwrap();
    assert_eq!(parsed.warnings, ["unknown option \"frobnicate\" is ignored"]);
}

#[test]
fn defaults_are_spelled_out_for_goofys() {
    let parsed = parse(r#"{"bucket":"alice:data"}"#).unwrap();
    let ours = goofys::arguments(&parsed.spec, Path::new("-mnt"));
    let expected = [
        "-f",
        "-o",
        "allow_other",
        "--dir-mode",
        "0755",
        "--file-mode",
        "0644",
        "--region",
        "us-east-1",
        "--uid",
        "0",
        "--gid",
        "0",
        "alice:data",
        "./-mnt",
    ];
    assert_eq!(ours, expected);
}
