//! The steps, in the order they run: what fails fast comes first.

use super::{cluster_ends, deny, fuzz, interrupt};
use crate::tools::Lines;
use crate::{cluster, demo, docs, sanity, tools};
use anyhow::{Context as _, bail};
use boathouse_testkit::parts::{PackagingParts, Parts};
use boathouse_testkit::programs::{Profile, Programs};
use boathouse_testkit::requirement;
use std::path::Path;
use std::process::{Command, Stdio};

/// One step.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    pub(super) about: &'static str,
    pub(super) run: fn() -> anyhow::Result<()>,
}

impl Step {
    /// Whether `name` is this step or its group.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name || self.group == name
    }
}

pub(super) const STEPS: [Step; 20] = [
    Step { name: "fmt", group: "lint", about: "source is formatted as rustfmt would", run: fmt },
    Step { name: "clippy", group: "lint", about: "no warning in any target", run: clippy },
    Step { name: "rustdoc", group: "lint", about: "documentation builds without warnings", run: rustdoc },
    Step { name: "alone", group: "lint", about: "every package builds by itself", run: alone },
    Step {
        name: "deny",
        group: "lint",
        about: "licences, duplicates and sources of dependencies",
        run: deny::run,
    },
    Step { name: "unit", group: "test", about: "unit and property tests of all packages", run: unit },
    Step {
        name: "fuzz",
        group: "test",
        about: "requests and fields of the plugin SDK, some seconds of fuzzing each",
        run: fuzz::run,
    },
    Step {
        name: "golden",
        group: "test",
        about: "what is checked in about CSI is what upstream says",
        run: golden,
    },
    Step { name: "tools", group: "test", about: "third-party programs are there", run: tools::obtain },
    Step { name: "release", group: "test", about: "our programs, as shipped", run: release },
    Step {
        name: "docs",
        group: "test",
        about: "flags in docs/ are those of the programs, and no link is dead",
        run: docs::test,
    },
    Step {
        name: "chart",
        group: "test",
        about: "the chart and the kustomize base, as helm and kustomize make them",
        run: chart,
    },
    Step { name: "stack", group: "test", about: "the servers that the integration tests run on", run: stack },
    Step { name: "integration", group: "test", about: "the whole system with real parts", run: integration },
    Step {
        name: "sanity",
        group: "test",
        about: "upstream's CSI conformance suite against the release binaries",
        run: sanity::all,
    },
    Step {
        name: "e2e",
        group: "test",
        about: "pods on a real one-node Kubernetes, from chart and images",
        run: cluster::test,
    },
    Step {
        name: "cluster",
        group: "test",
        about: "a one-node Kubernetes comes up, and leaves nothing whichever way it ends",
        run: cluster_ends::run,
    },
    Step { name: "demo", group: "test", about: "the demonstration, every claim of it true", run: demo::test },
    Step {
        name: "demo-cluster",
        group: "test",
        about: "the demonstration with real pods, every claim of it true",
        run: cluster::demo_test,
    },
    Step {
        name: "interrupt",
        group: "test",
        about: "Ctrl-C in the demonstration leaves nothing",
        run: interrupt::run,
    },
];

/// Cargo in the repository, on the dependency versions of Cargo.lock.
pub(super) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(boathouse_testkit::repository()).args(arguments).stdin(Stdio::null());
    command
}

/// Runs it with its output shown.
pub(super) fn check(command: &mut Command) -> anyhow::Result<()> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let program = Path::new(words[0]).file_name().unwrap_or(words[0]);
    let line = words[1..].iter().fold(program.to_string_lossy().into_owned(), |line, word| {
        format!("{line} {}", word.to_string_lossy())
    });
    eprintln!("  $ {line}");
    let status = command.status().with_context(|| format!("run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

fn fmt() -> anyhow::Result<()> {
    check(&mut cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> anyhow::Result<()> {
    check(&mut cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn rustdoc() -> anyhow::Result<()> {
    let mut command = cargo(&["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"]);
    check(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// In a workspace build a package may use a feature that only another package turned on.
fn alone() -> anyhow::Result<()> {
    let output =
        cargo(&["tree", "--locked", "--workspace", "--depth", "0", "--prefix", "none", "--format", "{p}"])
            .output()
            .context("run `cargo tree`")?;
    if !output.status.success() {
        bail!("`cargo tree` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let listing = String::from_utf8_lossy(&output.stdout);
    let packages: Vec<&str> =
        listing.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).collect();
    for package in packages {
        check(&mut cargo(&["check", "--locked", "--quiet", "--package", package]))?;
    }
    for features in ["csi", "kubelet", "plugin"] {
        check(&mut cargo(&[
            "check",
            "--locked",
            "--quiet",
            "--package",
            "csi-proto",
            "--features",
            features,
        ]))?;
    }
    Ok(())
}

fn unit() -> anyhow::Result<()> {
    check(&mut cargo(&["test", "--locked", "--workspace", "--exclude", "integration"]))
}

/// The descriptors that `proto/tests/wire.rs` compares ours with, made again from upstream's Go module.
fn golden() -> anyhow::Result<()> {
    let repository = boathouse_testkit::repository();
    let path = repository.join("proto/tests/data/csi-1.12.0.json");
    let program = repository.join("tools/csi-descriptors");
    let mut go = Command::new("go");
    go.args(["run", "-mod=readonly", "."]).current_dir(&program).env("GOWORK", "off").env_remove("GOFLAGS");
    let output = go.stdin(Stdio::null()).output().context("run go (install Go and put it on PATH)")?;
    if !output.status.success() {
        bail!(
            "`go run .` in {} ended with {}: {}",
            program.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let checked_in = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    if output.stdout != checked_in {
        bail!("{} is not what `go run .` in {} prints", path.display(), program.display());
    }
    Ok(())
}

fn release() -> anyhow::Result<()> {
    Programs::build(Profile::Release)?;
    Ok(())
}

fn stack() -> anyhow::Result<()> {
    Parts::obtain(&mut Lines::new())?;
    check(&mut cargo(&[
        "test",
        "--locked",
        "--package",
        "boathouse-testkit",
        "--test",
        "stack",
        "--",
        "--ignored",
    ]))
}

fn chart() -> anyhow::Result<()> {
    PackagingParts::obtain(&mut Lines::new())?;
    check(&mut cargo(&["test", "--locked", "--package", "boathouse-deploy", "--", "--include-ignored"]))
}

fn integration() -> anyhow::Result<()> {
    requirement::for_mounting()?;
    Parts::obtain(&mut Lines::new())?;
    check(&mut cargo(&["test", "--locked", "--package", "integration"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_no_group_is_a_step() {
        let names: BTreeSet<&str> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
        assert!(STEPS.iter().all(|step| !names.contains(step.group)));
    }
}
