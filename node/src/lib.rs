//! The node plugin: policy. What to mount, for whom, with which keys; the keepers do the rest.
//!
//! ```text
//!  rpc ── request ──▶ publish ──▶ lease   logins, generations, rotation, revocation   ──▶ Vault
//!   ▲ csi, agent        │                    │ hand out
//!   │                   └───────▶ mount ──▶ keeper ──▶ boathouse-keeper ── goofys
//!   └─ stats                       │ the kernel's mount table is the memory
//! ```

pub mod args;
pub mod clock;
pub mod host;
pub mod identity;
pub mod install;
pub mod keeper;
pub mod kubelet;
pub mod lease;
pub mod locks;
pub mod metrics;
pub mod mount;
pub mod proof;
pub mod publish;
pub mod rpc;
mod run;
pub mod stats;

pub use args::{Args, AuthKind};
pub use run::run;
