//! What every Boathouse server shares, so that it is written and tested once.
//!
//! | module | duty |
//! |---|---|
//! | [`uds`] | unix sockets that are private before anybody can connect |
//! | [`serve()`] | a tonic server on such a socket: panics answered, bounded graceful stop |
//! | [`border`] | errors to [`tonic::Status`], logged once; work that outlives its caller's deadline |
//! | [`csi_identity`] | the CSI Identity service of the node and the controller |
//! | [`metrics`] | `/metrics`, `/healthz` and `/readyz` over HTTP |
//! | [`args`], [`logs`], [`memory`], [`shutdown`], [`tls`] | start-up and stop of a process |

pub mod args;
pub mod border;
pub mod csi_identity;
pub mod logs;
pub mod memory;
pub mod metrics;
mod panics;
pub mod serve;
pub mod shutdown;
pub mod tls;
pub mod uds;

pub use csi_identity::DRIVER_NAME;
pub use panics::CatchPanicLayer;
pub use serve::{ServeError, serve};
