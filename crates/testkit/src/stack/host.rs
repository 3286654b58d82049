//! The programs that run secrets engines, and what each wants in its configuration.

use super::setup::PLUGIN;
use crate::parts::Parts;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A program that [`super::Bao`] can start. OpenBao and Vault have the parts of the API in common that are used
/// here.
#[derive(Debug, Clone)]
pub struct Host {
    name: &'static str,
    program: PathBuf,
    /// Top-level settings beside those that all have.
    settings: Value,
    environment: Vec<(&'static str, &'static str)>,
    multiplexes: bool,
    tls: bool,
}

impl Host {
    /// OpenBao 2.7.2.
    pub fn openbao(parts: &Parts) -> Self {
        Self::new("OpenBao 2.7.2", &parts.bao, json!({}))
    }

    /// OpenBao 2.6.2.
    pub fn openbao_2_6(parts: &Parts) -> Self {
        Self::new("OpenBao 2.6.2", &parts.bao_2_6, json!({}))
    }

    /// Vault 1.4.0: plugin protocol 4, one process per mount.
    pub fn vault_1_4(parts: &Parts) -> Self {
        Self { multiplexes: false, ..Self::new("Vault 1.4.0", &parts.vault_1_4, unlocked()) }
    }

    /// Vault 1.21.0, if somebody has built it on this machine.
    pub fn vault_1_21() -> Option<Self> {
        Parts::vault_1_21().map(|program| Self::new("Vault 1.21.0", &program, unlocked()))
    }

    fn new(name: &'static str, program: &Path, settings: Value) -> Self {
        let (program, environment) = (program.to_owned(), Vec::new());
        Self { name, program, settings, environment, multiplexes: true, tls: false }
    }

    /// The same with this top-level setting in its configuration.
    #[must_use]
    pub fn with(mut self, setting: &str, value: Value) -> Self {
        self.settings[setting] = value;
        self
    }

    /// The same, serving TLS with a certificate of an authority of its own: see [`super::Bao::authority`].
    #[must_use]
    pub fn over_tls(self) -> Self {
        Self { tls: true, ..self }
    }

    /// The same with its memory locked, which takes `CAP_IPC_LOCK`. It tells its plugins to do likewise.
    #[must_use]
    pub fn locking_memory(self) -> Self {
        self.with("disable_mlock", json!(false))
    }

    /// The same, told to give each mount a process of its own.
    #[must_use]
    pub fn without_multiplexing(mut self) -> Self {
        // OpenBao reads its own name for it or this one.
        self.environment.push(("VAULT_PLUGIN_MULTIPLEXING_OPT_OUT", PLUGIN));
        self.multiplexes = false;
        self
    }

    /// The same, with its storage in memory, as in dev mode: nothing outlives the process, and no write waits for a disk.
    #[must_use]
    pub fn in_memory(self) -> Self {
        self.with("storage", json!({ "inmem": {} }))
    }

    /// Name and version.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the mounts of a plugin share one process.
    pub fn multiplexes(&self) -> bool {
        self.multiplexes
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn settings(&self) -> &Value {
        &self.settings
    }

    pub(super) fn environment(&self) -> &[(&'static str, &'static str)] {
        &self.environment
    }
}

/// Vault locks its memory unless told not to, which takes a privilege; OpenBao never does.
fn unlocked() -> Value {
    json!({ "disable_mlock": true })
}
