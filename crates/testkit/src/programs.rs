//! Our own programs, built by cargo.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How they are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As shipped.
    Release,
    /// Fast to build.
    Dev,
}

impl Profile {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Release => &["--release"],
            Self::Dev => &[],
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }
}

/// Packages and the program that each makes.
const PACKAGES: [(&str, &str); 6] = [
    ("boathouse-node", "boathouse-node"),
    ("boathouse-keeper", "boathouse-keeper"),
    ("boathouse-controller", "boathouse-controller"),
    ("boathouse-flex-shim", "boathouse"),
    ("vault-plugin-secrets-minio", "vault-plugin-secrets-minio"),
    ("boathouse-webhook", "boathouse-webhook"),
];

/// What one run of cargo builds: it would give the lean programs the features that the servers turn on in the
/// crates they share, and with them an async runtime they do without.
const BUILDS: [&[&str]; 2] = [
    &["boathouse-keeper", "boathouse-flex-shim"],
    &["boathouse-node", "boathouse-controller", "vault-plugin-secrets-minio", "boathouse-webhook"],
];

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// Cargo did not run.
    #[error("run cargo: {0}")]
    Cargo(std::io::Error),
    /// The build failed; cargo has said why on standard error.
    #[error("cargo build ended with {0}")]
    Build(std::process::ExitStatus),
    /// A program is not where it should be.
    #[error("no program {name} {place}; `cargo build{profile}` makes it")]
    NotBuilt {
        /// File name.
        name: &'static str,
        /// Where it was looked for.
        place: String,
        /// Arguments of the build.
        profile: &'static str,
    },
}

/// Where the programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The node plugin.
    pub node: PathBuf,
    /// The keeper, which the node plugin starts once per mount.
    pub keeper: PathBuf,
    /// The controller plugin.
    pub controller: PathBuf,
    /// The FlexVolume driver.
    pub shim: PathBuf,
    /// The secrets engine.
    pub vault_plugin: PathBuf,
    /// The mutating webhook.
    pub webhook: PathBuf,
}

/// The part of a line of `--message-format=json` that is looked at.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    executable: Option<PathBuf>,
}

impl Programs {
    /// Builds all programs; cargo's own progress goes to standard error. What is up to date takes a moment.
    ///
    /// # Errors
    /// [`ProgramsError`].
    pub fn build(profile: Profile) -> Result<Self, ProgramsError> {
        let mut built = BTreeMap::new();
        for packages in BUILDS {
            let packages = packages.iter().flat_map(|package| ["--package", package]);
            built.extend(build(profile, packages.chain(["--bins"]))?);
        }
        Self::assemble(profile, |name| {
            built.get(name).cloned().ok_or_else(|| "among what cargo built".to_owned())
        })
    }

    /// Finds the programs of an earlier build.
    ///
    /// # Errors
    /// [`ProgramsError::NotBuilt`] with the first that is missing.
    pub fn locate(profile: Profile) -> Result<Self, ProgramsError> {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| crate::repository().join("target"), PathBuf::from);
        let directory =
            target.join(format!("{}-unknown-linux-gnu", std::env::consts::ARCH)).join(profile.directory());
        Self::assemble(profile, |name| {
            Some(directory.join(name))
                .filter(|path| path.is_file())
                .ok_or_else(|| format!("in {}", directory.display()))
        })
    }

    fn assemble(
        profile: Profile,
        find: impl Fn(&str) -> Result<PathBuf, String>,
    ) -> Result<Self, ProgramsError> {
        let find = |name: &'static str| {
            let profile = if profile == Profile::Release { " --release" } else { "" };
            find(name).map_err(|place| ProgramsError::NotBuilt { name, place, profile })
        };
        let [node, keeper, controller, shim, vault_plugin, webhook] = PACKAGES.map(|(_, program)| program);
        Ok(Self {
            node: find(node)?,
            keeper: find(keeper)?,
            controller: find(controller)?,
            shim: find(shim)?,
            vault_plugin: find(vault_plugin)?,
            webhook: find(webhook)?,
        })
    }
}

/// Builds the example `name` of the library `package`; gives the program.
///
/// # Errors
/// [`ProgramsError`].
pub fn example(package: &str, name: &'static str) -> Result<PathBuf, ProgramsError> {
    one(package, "--example", name)
}

/// Builds `package`'s program `name`, one for those who work on this repository; gives the program.
///
/// # Errors
/// [`ProgramsError`].
pub fn helper(package: &str, name: &'static str) -> Result<PathBuf, ProgramsError> {
    one(package, "--bin", name)
}

fn one(package: &str, kind: &str, name: &'static str) -> Result<PathBuf, ProgramsError> {
    let mut built = build(Profile::Dev, ["--package", package, kind, name])?;
    built.remove(name).ok_or(ProgramsError::NotBuilt {
        name,
        place: "among what cargo built".to_owned(),
        profile: "",
    })
}

fn build<'a>(
    profile: Profile,
    targets: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<String, PathBuf>, ProgramsError> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::repository()).arg("build").args(profile.arguments()).args(targets);
    // Set while cargo runs tests; the inner cargo would take them for its own.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_PKG_NAME");
    command.arg("--message-format=json-render-diagnostics");
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .map_err(ProgramsError::Cargo)?;
    if !output.status.success() {
        return Err(ProgramsError::Build(output.status));
    }
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(|message| message.executable)
        .filter_map(|path| Some((Path::new(path.file_name()?).to_str()?.to_owned(), path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_taken_from_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null,"target":{"name":"nix"}}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","executable":"/t/release/boathouse-node"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let built = executables(messages);
        assert_eq!(built.len(), 1);
        assert_eq!(built["boathouse-node"], Path::new("/t/release/boathouse-node"));
    }
}
