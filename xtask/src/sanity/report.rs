//! Ginkgo's JSON report (`types.Report` of github.com/onsi/ginkgo/v2): what became of each case.

use super::data::Reason;
use anyhow::{Context as _, ensure};
use serde::Deserialize;
use std::collections::BTreeSet;

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    /// With what was expected and where; nothing for one that only ran into what an earlier one had left.
    Failed(Option<String>),
    /// csi-sanity left it out after it had asked the driver; with its words.
    ByCapability(String),
    /// Left out by its name.
    LeftOut,
    /// Upstream has switched it off (Ginkgo calls that pending).
    Off,
}

/// One case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) outcome: Outcome,
}

/// The cases left out for one capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) capability: String,
    pub(super) reason: String,
    pub(super) cases: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Suite {
    spec_reports: Option<Vec<Spec>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    state: String,
    failure: Option<Failure>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Failure {
    message: String,
    location: Location,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Location {
    file_name: String,
    line_number: u32,
}

/// Reads a report.
pub(super) fn parse(json: &str) -> anyhow::Result<Vec<Case>> {
    let suites: Vec<Suite> = serde_json::from_str(json).context("read csi-sanity's report")?;
    let specs = suites.into_iter().flat_map(|suite| suite.spec_reports.unwrap_or_default());
    let cases: Vec<Case> = specs.filter_map(case).collect();
    ensure!(!cases.is_empty(), "csi-sanity's report has no case");
    Ok(cases)
}

fn case(spec: Spec) -> Option<Case> {
    let name = spec.container_hierarchy_texts.unwrap_or_default().join(" ");
    let name = format!("{name} {}", spec.leaf_node_text);
    let failure = spec.failure.unwrap_or_default();
    let outcome = match spec.state.as_str() {
        "passed" => Outcome::Passed,
        "skipped" if failure.message.is_empty() => Outcome::LeftOut,
        "skipped" => Outcome::ByCapability(failure.message),
        "pending" => Outcome::Off,
        // failed, panicked, aborted, interrupted, timedout, and whatever may come
        state => {
            let Failure { message, location } = failure;
            let file = location.file_name.rsplit('/').next().unwrap_or_default();
            // Where csi-sanity makes the directories that each case begins with and removes at its end.
            let dirty = file == "sanity.go" && message.contains("file exists");
            Outcome::Failed(
                (!dirty).then(|| format!("{state} at {file}:{}: {message}", location.line_number)),
            )
        }
    };
    // Beside cases there are nodes around them, which count when they fail.
    let counts = spec.leaf_node_type == "It" || matches!(outcome, Outcome::Failed(_));
    counts.then_some(Case { name: name.trim().to_owned(), outcome })
}

/// The cases left out, by capability in the order of the reasons; and csi-sanity's words for those without one.
pub(super) fn by_capability(cases: &[Case], reasons: &[Reason]) -> (Vec<Group>, Vec<String>) {
    let mut groups: Vec<Group> = Vec::new();
    for reason in reasons {
        let cases = skips(cases).filter(|skip| *skip == reason.skip).count();
        let same =
            |group: &&mut Group| group.capability == reason.capability && group.reason == reason.reason;
        match groups.iter_mut().find(same) {
            _ if cases == 0 => {}
            Some(group) => group.cases += cases,
            None => groups.push(Group {
                capability: reason.capability.clone(),
                reason: reason.reason.clone(),
                cases,
            }),
        }
    }
    let known: BTreeSet<&str> = reasons.iter().map(|reason| reason.skip.as_str()).collect();
    let unexplained: BTreeSet<&str> = skips(cases).filter(|skip| !known.contains(skip)).collect();
    (groups, unexplained.into_iter().map(str::to_owned).collect())
}

/// Reasons for which no case was left out.
pub(super) fn unused<'a>(cases: &[Case], reasons: &'a [Reason]) -> Vec<&'a str> {
    let said: BTreeSet<&str> = skips(cases).collect();
    reasons.iter().map(|reason| reason.skip.as_str()).filter(|skip| !said.contains(skip)).collect()
}

fn skips(cases: &[Case]) -> impl Iterator<Item = &str> {
    cases.iter().filter_map(|case| match &case.outcome {
        Outcome::ByCapability(words) => Some(words.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const REPORT: &str = r#"[{ "SpecReports": [
        { "ContainerHierarchyTexts": null, "LeafNodeType": "BeforeSuite", "LeafNodeText": "", "State": "passed" },
        { "ContainerHierarchyTexts": ["Node", "Stats"], "LeafNodeType": "It", "LeafNodeText": "works",
          "State": "passed" },
        { "ContainerHierarchyTexts": ["Node"], "LeafNodeType": "It", "LeafNodeText": "breaks", "State": "panicked",
          "Failure": { "Message": "boom", "Location": { "FileName": "/a/node.go", "LineNumber": 7 } } },
        { "ContainerHierarchyTexts": ["Node"], "LeafNodeType": "It", "LeafNodeText": "stages", "State": "skipped",
          "Failure": { "Message": "no stage" } },
        { "ContainerHierarchyTexts": ["Node"], "LeafNodeType": "It", "LeafNodeText": "other", "State": "skipped" },
        { "ContainerHierarchyTexts": ["Node"], "LeafNodeType": "It", "LeafNodeText": "off", "State": "pending" },
        { "ContainerHierarchyTexts": null, "LeafNodeType": "AfterSuite", "LeafNodeText": "", "State": "failed" }
    ] }]"#;

    fn reason(skip: &str) -> Reason {
        Reason { skip: skip.into(), capability: "STAGE".into(), reason: "none".into() }
    }

    #[test]
    fn every_state_is_told_apart() {
        let cases = parse(REPORT).unwrap();
        let outcomes: Vec<_> = cases.iter().map(|case| case.outcome.clone()).collect();
        assert_eq!(cases[0].name, "Node Stats works");
        assert_eq!(outcomes[0], Outcome::Passed);
        assert_eq!(outcomes[1], Outcome::Failed(Some("panicked at node.go:7: boom".into())));
        assert_eq!(outcomes[2], Outcome::ByCapability("no stage".into()));
        assert_eq!(outcomes[3], Outcome::LeftOut);
        assert_eq!(outcomes[4], Outcome::Off);
        assert!(matches!(outcomes[5], Outcome::Failed(_)));
        assert_eq!(outcomes.len(), 6);
        parse("[]").unwrap_err();
    }

    #[test]
    fn a_skip_needs_a_reason_and_a_reason_a_skip() {
        let cases = parse(REPORT).unwrap();
        let (groups, unexplained) = by_capability(&cases, &[reason("no stage"), reason("no clone")]);
        assert_eq!(groups, [Group { capability: "STAGE".into(), reason: "none".into(), cases: 1 }]);
        assert_eq!(unexplained, Vec::<String>::new());
        assert_eq!(unused(&cases, &[reason("no stage"), reason("no clone")]), ["no clone"]);
        let (groups, unexplained) = by_capability(&cases, &[]);
        assert!(groups.is_empty());
        assert_eq!(unexplained, ["no stage"]);
    }
}
