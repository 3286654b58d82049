//! The two ways in: CSI from kubelet, the agent API from the FlexVolume shim. Each turns its untyped request
//! into a [`crate::publish::PublishRequest`] and its outcome into the protocol's answer; nothing else happens here.

mod agent;
mod csi;
mod request;

pub use agent::Agent;
pub use csi::CsiNode;
pub use request::{FlexPolicy, Policy, RequestError};
