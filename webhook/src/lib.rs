//! The mutating webhook: gives pods that ask for it their MinIO directories.
//!
//! | module | duty |
//! |---|---|
//! | [`mutate`] | decides what becomes of a pod |
//! | [`instances`] | the file that says which directories there are |
//! | [`review`] | the `AdmissionReview` around it: JSON in, JSON out |
//! | [`serve`] | HTTP over TLS, with its limits |
//! | [`tls`] | the serving certificate |
//! | [`reload`] | files that are replaced while they are in use |
//! | [`certificate`] | makes a self-signed certificate and tells the API server |

mod args;
pub mod certificate;
pub mod instances;
mod metrics;
pub mod mutate;
pub mod reload;
pub mod review;
mod run;
pub mod serve;
pub mod tls;

pub use args::{Args, Command, ServeArgs};
pub use metrics::Metrics;
pub use run::run;
