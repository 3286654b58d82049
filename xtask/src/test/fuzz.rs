//! The fuzz targets of `fuzz/`, each for some seconds from the corpus that is checked in.

use super::steps::{cargo, check};
use anyhow::Context as _;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

const TARGETS: [&str; 3] = ["fields", "request", "review"];
const SECONDS: u32 = 10;

pub(super) fn run() -> anyhow::Result<()> {
    let repository = boathouse_testkit::repository();
    let directory = repository.join("fuzz");
    check(cargo(&["fmt", "--check"]).current_dir(&directory))?;
    for target in TARGETS {
        // What earlier runs found would make this one another.
        let found = repository.join("target/fuzz/found").join(target);
        match fs::remove_dir_all(&found) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", found.display()));
            }
            _ => {}
        }
        let limit = format!("-max_total_time={SECONDS}");
        check(Command::new(directory.join("run")).args([target, &limit, "-seed=1"]))?;
    }
    Ok(())
}
