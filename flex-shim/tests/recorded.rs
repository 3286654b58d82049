//! The legacy driver's recorded callouts that need no node plugin, answered by ours.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use serde_json::Value;

/// The callouts that reach a node plugin; the integration suite replays them against a real one.
fn needs_a_node(name: &str, arguments: &[String]) -> bool {
    match arguments[0].as_str() {
        "mount" => arguments.len() == 3 && name != "mount-no-agent",
        "unmount" => arguments.len() == 2,
        _ => false,
    }
}

#[test]
fn callouts_without_a_node_answer_as_recorded() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("data/flexvolume.json")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("agent.sock");
    let (mut equal, mut now_json) = (0, 0);
    for case in &recorded {
        let name = case["name"].as_str().unwrap();
        let arguments: Vec<String> = case["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a.as_str().unwrap().replace("$W", "/w"))
            .collect();
        if needs_a_node(name, &arguments) {
            continue;
        }
        let ours = common::line(common::command(Some(&absent), None), &arguments);
        let ours: Value = serde_json::from_str(&ours).unwrap();
        match serde_json::from_str::<Value>(case["stdout"].as_str().unwrap()) {
            Ok(theirs) if theirs["status"] == "Failure" => {
                assert_eq!(ours["status"], "Failure", "{name}");
                equal += 1;
            }
            // Success and Not supported are constants: equal in every word.
            Ok(theirs) => {
                assert_eq!(ours, theirs, "{name}");
                equal += 1;
            }
            // A panic is a Failure now, an unknown word Not supported.
            Err(_) => {
                let panicked = case["exit"] == 2;
                assert_eq!(ours["status"], if panicked { "Failure" } else { "Not supported" }, "{name}");
                now_json += 1;
            }
        }
    }
    assert_eq!((equal, now_json), (18, 6), "every such callout of the recording was compared");
}

#[test]
fn init_answers_the_recorded_bytes() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("data/flexvolume.json")).unwrap();
    let theirs = recorded[0]["stdout"].as_str().unwrap();
    assert_eq!(common::line(common::command(None, None), &["init"]).trim_end(), theirs.trim_end());
}
