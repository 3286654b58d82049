//! The program Vault and OpenBao start. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    vault_plugin_sdk::run(vault_plugin_secrets_minio::plugin())
}
