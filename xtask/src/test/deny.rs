//! cargo-deny, at a pinned version, kept in the user's cache directory.

use super::steps::{cargo, check};
use anyhow::Context as _;
use std::path::PathBuf;
use std::process::Command;

const VERSION: &str = "0.20.2";

pub(super) fn run() -> anyhow::Result<()> {
    let program = obtain()?;
    // `cargo deny` is found by cargo on PATH; called directly it takes `deny`'s arguments without that word.
    let mut command = Command::new(program);
    command
        .current_dir(boathouse_testkit::repository())
        .args(["--locked", "check", "licenses", "bans", "sources"]);
    check(&mut command)?;
    eprintln!("  advisories are not checked: their database is not a package and needs a network of its own");
    Ok(())
}

fn obtain() -> anyhow::Result<PathBuf> {
    let cache =
        boathouse_testkit::cache_directory().context("no cache directory: set HOME to an absolute path")?;
    let root = cache.join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        eprintln!("  building cargo-deny {VERSION}; once per machine, a few minutes");
        // Cargo itself moves the program to its place when it is whole, and locks the root.
        let version = format!("={VERSION}");
        let mut install =
            cargo(&["install", "--quiet", "--locked", "--version", &version, "cargo-deny", "--root"]);
        check(install.arg(&root))?;
    }
    Ok(program)
}
