//! Compiles our own `.proto` files with protox (no protoc needed) and gives every message that holds a
//! secret field a `Debug` that does not print it.

#![allow(clippy::print_stdout, reason = "how a build script talks to cargo")]

mod redact;
mod table;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_build::Config;
use prost_reflect::prost_types::FileDescriptorSet;
use protox::Compiler;
use redact::Redaction;

/// One set of files that are compiled together, and where the outcome goes.
struct Unit<'a> {
    files: Vec<&'a str>,
    /// Files are named after it: `<name>.bin` (descriptors) and `<name>_table.rs`.
    name: &'a str,
    /// Folder for the generated modules.
    out: PathBuf,
    /// Where each package's module is, seen from a test.
    packages: Vec<(&'a str, &'a str)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    for path in ["build", "boathouse", "csi", "kubelet", "plugin", "tests/fixture"] {
        println!("cargo::rerun-if-changed={path}");
    }

    let mut product = Unit {
        files: vec!["boathouse/agent/v1/agent.proto", "boathouse/keeper/v1/keeper.proto"],
        name: "descriptors",
        out: out.clone(),
        packages: vec![
            ("boathouse.agent.v1", "csi_proto::agent::v1"),
            ("boathouse.keeper.v1", "csi_proto::keeper::v1"),
        ],
    };
    if feature("CSI") {
        product.files.extend(["csi/v1/controller.proto", "csi/v1/identity.proto", "csi/v1/node.proto"]);
        product.packages.push(("csi.v1", "csi_proto::csi::v1"));
    }
    if feature("KUBELET") {
        product.files.push("kubelet/pluginregistration/v1/registration.proto");
        product.packages.push(("pluginregistration", "csi_proto::kubelet::pluginregistration"));
    }
    if feature("PLUGIN") {
        product.files.extend([
            "plugin/backend.proto",
            "plugin/host.proto",
            "plugin/logical.proto",
            "plugin/multiplexing.proto",
            "plugin/plugin.proto",
        ]);
        product.packages.extend([
            ("logical", "csi_proto::plugin::logical"),
            ("pb", "csi_proto::plugin::pb"),
            ("plugin", "csi_proto::plugin::plugin"),
            ("pluginutil.multiplexing", "csi_proto::plugin::multiplexing"),
        ]);
    }
    compile(&out, &product)?;

    // Shapes that the product's own messages do not have today but may have tomorrow; for tests alone.
    let fixture = Unit {
        files: vec!["tests/fixture/fixture.proto"],
        name: "fixture",
        out: out.join("fixture"),
        packages: vec![("fixture", "crate::fixture")],
    };
    fs::create_dir_all(&fixture.out)?;
    compile(&out, &fixture)
}

fn compile(out: &Path, unit: &Unit<'_>) -> Result<(), Box<dyn Error>> {
    let mut compiler = Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(&unit.files)?;
    let pool = compiler.descriptor_pool();
    // As the pool encodes it the set keeps custom options, which tests compare and follow.
    fs::write(out.join(unit.name).with_extension("bin"), pool.encode_to_vec())?;

    let redaction = Redaction::of(&pool)?;
    let mut config = Config::new();
    config.out_dir(&unit.out).skip_debug(redaction.skip_debug());
    generate(config, compiler.file_descriptor_set(), unit)?;

    for (package, _) in &unit.packages {
        fs::write(unit.out.join(format!("{package}.redact.rs")), redaction.code(package))?;
    }
    fs::write(out.join(format!("{}_table.rs", unit.name)), table::code(&pool, &unit.packages))?;
    Ok(())
}

/// With services: tonic's clients and servers as well as prost's messages.
#[cfg(feature = "_grpc")]
fn generate(config: Config, files: FileDescriptorSet, unit: &Unit<'_>) -> std::io::Result<()> {
    tonic_prost_build::configure().out_dir(&unit.out).compile_fds_with_config(files, config)
}

#[cfg(not(feature = "_grpc"))]
fn generate(mut config: Config, files: FileDescriptorSet, _: &Unit<'_>) -> std::io::Result<()> {
    config.compile_fds(files)
}

fn feature(name: &str) -> bool {
    env::var_os(format!("CARGO_FEATURE_{name}")).is_some()
}
