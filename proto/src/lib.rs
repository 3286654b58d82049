//! Wire types of every protocol Boathouse speaks, with secrets redacted from `Debug`.
//!
//! | module | protocol | feature |
//! |---|---|---|
//! | [`agent`] | node agent: the FlexVolume shim asks the node plugin | always |
//! | [`keeper`] | hand-over and control of one mount's keeper | always |
//! | [`frame`] | how messages of the two above travel over a socket | always |
//! | `csi` | Container Storage Interface 1.12, clients and servers | `csi` |
//! | `kubelet` | kubelet's plugin registration, clients and servers | `kubelet` |
//! | `plugin` | HashiCorp's go-plugin and the Vault backend protocol, clients and servers | `plugin` |
//!
//! Without features only prost is needed: no tokio, no tonic.
//!
//! # Redaction
//!
//! A field marked `csi_secret` (by the CSI specification) or `(boathouse.v1.secret)` (by us) prints as
//! `[redacted]`, or `[unset]` when it holds nothing. Its content never reaches `Debug`, whatever its shape:
//! text, bytes, list, map, message or member of a oneof. The messages come from `.proto` files in this
//! package, compiled by protox at build time, so that marking a field there is all it takes.

// The generated code names this crate from outside, so that tests can include it as well.
extern crate self as csi_proto;

pub mod frame;
mod redacted;

pub use redacted::Redacted;

/// Generated code of one package: prost's (and tonic's) and the redacting `Debug` of its messages.
macro_rules! package {
    ($name:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $name, ".rs"));
        include!(concat!(env!("OUT_DIR"), "/", $name, ".redact.rs"));
    };
}

/// The node agent: what the FlexVolume shim asks of the node plugin.
pub mod agent {
    /// Version 1. One connection carries one [`Request`](v1::Request) and one [`Response`](v1::Response), see [`crate::frame`].
    #[allow(missing_docs, clippy::all, reason = "generated; the .proto file says what needs saying")]
    pub mod v1 {
        package!("boathouse.agent.v1");
    }
}

/// The keeper: what the node plugin and the process that holds one mount say to each other.
pub mod keeper {
    /// Whether in this line Go's runtime says why it ends a program; the stacks of all goroutines follow.
    #[must_use]
    pub fn is_cause(line: &[u8]) -> bool {
        ["fatal error:", "panic:", "runtime:"].iter().any(|words| line.starts_with(words.as_bytes()))
    }

    /// Version 1. [`Launch`](v1::Launch) travels once, over the keeper's stdin; [`Request`](v1::Request) and
    /// [`Reply`](v1::Reply) over its control socket, see [`crate::frame`].
    #[allow(missing_docs, clippy::all, reason = "generated; the .proto file says what needs saying")]
    pub mod v1 {
        package!("boathouse.keeper.v1");
    }
}

/// The Container Storage Interface, <https://github.com/container-storage-interface/spec>.
#[cfg(feature = "csi")]
pub mod csi {
    /// Version 1.12.0. Our own file, equal on the wire to upstream's; a test compares them.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        reason = "generated; the .proto file and the specification say what needs saying"
    )]
    pub mod v1 {
        package!("csi.v1");
    }
}

/// What kubelet and its plugins say to each other beside their own protocols.
#[cfg(feature = "kubelet")]
pub mod kubelet {
    /// Plugin registration, version 1, as of Kubernetes 1.36. Our own file, equal on the wire to upstream's; a test
    /// compares them.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        reason = "generated; the .proto file says what needs saying"
    )]
    pub mod pluginregistration {
        package!("pluginregistration");
    }
}

/// What a Vault plugin and its host (Vault or OpenBao) say to each other.
#[cfg(feature = "plugin")]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated; the .proto files say what needs saying"
)]
pub mod plugin {
    /// go-plugin's own services: broker, controller, stdio.
    pub mod plugin {
        package!("plugin");
    }

    /// The Vault backend protocol: what the plugin serves (`Backend`) and what the host serves back (`Storage`,
    /// `SystemView`).
    pub mod pb {
        package!("pb");
    }

    /// Vault's `logical` package: the plugin's version and the host's environment.
    pub mod logical {
        package!("logical");
    }

    /// Whether one process serves several mounts.
    pub mod multiplexing {
        package!("pluginutil.multiplexing");
    }
}
