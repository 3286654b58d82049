//! What the node plugin does to be found by kubelet, beside serving CSI.

pub mod events;
pub mod flex_driver;
pub mod registration;
pub mod taint;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) mod fake_api_server;
