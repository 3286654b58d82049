//! A real one-node Kubernetes on this machine, in namespaces of its own, and what the suite on it needs.
//!
//! - [`warden`]: the namespaces, and what cleans up after them.
//! - [`place`]: the directory everything lies in.
//! - [`cluster`]: etcd, API server, controllers, scheduler, containerd and kubelet.
//! - [`suite`]: the product on it, tested with pods.

#![allow(clippy::print_stdout, reason = "its commands talk to a person")]

pub mod cluster;
pub mod command;
pub mod place;
pub mod suite;
pub mod warden;
