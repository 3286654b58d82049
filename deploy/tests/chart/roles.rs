//! What the chart's service accounts may do.

use crate::golden;
use crate::tools::{SETS, Tools, deploy, kind, objects};
use std::fmt::Write as _;

#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn rights_are_those_that_were_reviewed() {
    let tools = Tools::get();
    let mut all = String::new();
    for set in SETS {
        let rendered = tools.set(set);
        let roles: Vec<&str> =
            objects(&rendered).filter(|object| matches!(kind(object), "Role" | "ClusterRole")).collect();
        writeln!(all, "#### values/{}.yaml: {} roles", set.0, roles.len()).unwrap();
        for role in roles {
            assert!(!role.contains('*'), "{}: a wildcard in\n{role}", set.0);
            assert!(!role.contains("serviceaccounts"), "{}: tokens in\n{role}", set.0);
            // Secrets are readable by name, and only in the namespace of the release.
            let named = role.contains("resources: [secrets]\n    resourceNames:") && kind(role) == "Role";
            assert!(named || !role.contains("secrets"), "{}: secrets in\n{role}", set.0);
            writeln!(all, "{}", role.trim_start_matches("---\n").trim_end()).unwrap();
        }
    }
    golden::check(&deploy("tests/golden/rights.yaml"), &all);
}
