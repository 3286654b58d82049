//! The secrets engine as a release that there is not yet, for the tests of an upgrade in place.

use std::process::ExitCode;
use vault_plugin_sdk::Plugin;
use vault_plugin_secrets_minio::{NAME, backend};

fn main() -> ExitCode {
    vault_plugin_sdk::run(Plugin::new(NAME, "v999.0.0", |_setup| backend()))
}
