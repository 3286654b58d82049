//! The chart sets variables; the programs must know them.

use crate::tools::{SETS, Tools, kind, name, objects};
use std::collections::BTreeSet;
use std::fs;

/// Names of the variables that a program reads: its `--help` is in the guide, and `cargo xtask docs` keeps it true.
fn known(program: &str) -> BTreeSet<String> {
    let guide = fs::read_to_string(boathouse_testkit::repository().join("docs/configuration.md")).unwrap();
    let (_, help) = guide.split_once(&format!("<!-- generated: {program} --help -->")).unwrap();
    let (help, _) = help.split_once("<!-- generated: end -->").unwrap();
    help.lines()
        .filter_map(|line| line.trim().strip_prefix("[env: ")?.split_once('='))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn set_in(object: &str) -> BTreeSet<String> {
    object
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- name: "))
        .filter(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'))
        .map(str::to_owned)
        .collect()
}

#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn every_variable_is_one_the_program_reads() {
    let tools = Tools::get();
    let mut seen = 0;
    for set in SETS {
        let rendered = tools.set(set);
        for object in objects(&rendered) {
            if !matches!(kind(object), "DaemonSet" | "Deployment") {
                continue;
            }
            let program = match name(object) {
                "boathouse-webhook" => "boathouse-webhook serve",
                program => program,
            };
            let (known, set_here) = (known(program), set_in(object));
            assert!(known.len() > 5 && set_here.len() > 5, "{program}: {known:?}, {set_here:?}");
            let unknown: Vec<_> = set_here.difference(&known).collect();
            assert!(unknown.is_empty(), "values/{}.yaml: {program} does not know {unknown:?}", set.0);
            seen += 1;
        }
    }
    assert_eq!(seen, SETS.len() + 1 + 3, "a node plugin everywhere, one controller and three webhooks");
}
