//! What can be typed after `cargo xtask`.

use crate::{bench, cluster, demo, docs, images, sanity, test, tools};
use clap::{Parser, Subcommand};

/// Boathouse's menu: get the third-party programs, check and test everything.
#[derive(Debug, Parser)]
#[command(
    bin_name = "cargo xtask",
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "On a new machine:\n  \
        cargo xtask tools    once, twenty minutes: OpenBao, Vault, MinIO, goofys, csi-sanity, Kubernetes, Helm and more\n  \
        cargo xtask demo     the whole job, shown on this machine (root)\n  \
        cargo xtask test     what CI runs\n\n\
        Needs Rust (rustup reads rust-toolchain.toml), Go, Python 3 with pip; mounting needs root and /dev/fuse;\n\
        Kubernetes needs packages of the distribution, which .ci/run installs.\n\
        Whatever is missing is named, with what to do about it."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Get the third-party programs that tests and demonstrations run
    Tools(tools::Arguments),
    // Without a comment here, its own is shown, whole.
    Demo(demo::Arguments),
    /// Check and test everything, as CI does; or some steps of it
    Test(test::Arguments),
    /// Run upstream csi-sanity against the release binaries
    Sanity(sanity::Arguments),
    /// Measure mount times and memory on this machine
    Bench(bench::Arguments),
    /// A real one-node Kubernetes on this machine: up, down, kubectl, logs
    #[command(disable_help_flag = true)]
    Cluster(cluster::Arguments),
    /// Install the product on such a cluster, from its chart and images, and test it with pods
    E2e(cluster::Suite),
    // As for the demonstration.
    Images(images::Arguments),
    /// Write the generated parts of docs/ anew, or check them
    Docs(docs::Arguments),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_menu_is_consistent() {
        Cli::command().debug_assert();
    }
}
