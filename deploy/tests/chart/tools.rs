//! helm and kustomize, and where their input lies.

use boathouse_testkit::parts::{Event, PackagingParts};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The Kubernetes that the suite runs.
pub(crate) const KUBERNETES: &str = "1.36.3";
/// The newest that does not know every field of the CSIDriver object.
pub(crate) const OLDER: &str = "1.34.0";
/// One that knows no conditions for webhooks.
pub(crate) const OLDEST: &str = "1.27.16";

/// What is rendered: a file in `values/` and the server's version.
pub(crate) const SETS: [(&str, &str); 8] = [
    ("defaults", KUBERNETES),
    ("older-kubernetes", OLDER),
    ("flex", KUBERNETES),
    ("private", KUBERNETES),
    ("controller", KUBERNETES),
    ("webhook", KUBERNETES),
    ("webhook-cert-manager", KUBERNETES),
    ("webhook-issuer", OLDEST),
];

pub(crate) fn deploy(path: &str) -> PathBuf {
    boathouse_testkit::repository().join("deploy").join(path)
}

pub(crate) fn values(set: &str) -> PathBuf {
    deploy("tests/values").join(set).with_extension("yaml")
}

/// The programs, with a home of their own: nothing that is set up for the user counts.
pub(crate) struct Tools {
    parts: PackagingParts,
    home: TempDir,
}

impl Tools {
    pub(crate) fn get() -> Self {
        let parts = PackagingParts::obtain(&mut |_: &Event<'_>| {}).unwrap();
        Self { parts, home: tempfile::tempdir().unwrap() }
    }

    /// Standard output, or standard error when it fails.
    fn run(&self, program: &Path, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    pub(crate) fn lint(&self, values: &Path, kubernetes: &str) -> Result<String, String> {
        let (chart, values) = (deploy("charts/boathouse"), values.to_str().unwrap());
        let arguments =
            ["lint", "--strict", chart.to_str().unwrap(), "-f", values, "--kube-version", kubernetes];
        self.run(&self.parts.helm, &arguments)
    }

    /// The chart with these files of values, later ones first in rank.
    pub(crate) fn template(&self, values: &[&Path], kubernetes: &str) -> Result<String, String> {
        let chart = deploy("charts/boathouse");
        let mut arguments = vec!["template", "boathouse", chart.to_str().unwrap()];
        arguments.extend(["--namespace", "boathouse-system", "--kube-version", kubernetes]);
        for file in values {
            arguments.extend(["-f", file.to_str().unwrap()]);
        }
        self.run(&self.parts.helm, &arguments)
    }

    /// A file of `values/` as [`SETS`] says.
    pub(crate) fn set(&self, (set, kubernetes): (&str, &str)) -> String {
        self.template(&[&values(set)], kubernetes).unwrap()
    }

    pub(crate) fn kustomize(&self, directory: &str) -> String {
        self.run(&self.parts.kustomize, &["build", deploy(directory).to_str().unwrap()]).unwrap()
    }
}

/// The objects in a stream of YAML documents.
pub(crate) fn objects(yaml: &str) -> impl Iterator<Item = &str> {
    yaml.split("\n---\n").filter(|object| object.lines().any(|line| line.starts_with("kind: ")))
}

pub(crate) fn kind(object: &str) -> &str {
    object.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap_or_default()
}

pub(crate) fn name(object: &str) -> &str {
    object.lines().find_map(|line| line.strip_prefix("  name: ")).unwrap_or_default()
}
