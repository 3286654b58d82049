//! The controller plugin: a PersistentVolumeClaim becomes a prefix in a bucket the operator named.
//!
//! It is small on purpose. [`create`] finds or makes the prefix and writes down what was asked for
//! ([`record`]), [`validate`] reads that again, [`delete`] keeps the data: nothing here can remove an object.
//! What a volume is called in the bucket is decided by [`naming`], what may be asked of it by
//! [`capability`].

pub mod args;
pub mod capability;
pub mod create;
pub mod delete;
pub mod keys;
pub mod metrics;
pub mod naming;
pub mod record;
mod run;
pub mod s3;
pub mod service;
pub mod validate;

pub use args::Args;
pub use run::run;
