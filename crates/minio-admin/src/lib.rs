//! Typed calls to the MinIO admin API, version 3 (`/minio/admin/v3/`), the one every community
//! server since 2020 speaks.
//!
//! The three parts stand alone: [`sigv4`] signs requests, [`body`] seals the bodies MinIO wants
//! encrypted with the caller's secret key, and [`Client`] makes the calls. The first two are pure:
//! no clock, no network.
//!
//! ```no_run
//! # async fn example() -> Result<(), minio_admin::Error> {
//! use minio_admin::{Client, Credentials, Endpoint};
//!
//! let endpoint = Endpoint::new("minio.example:9000", true)?;
//! let client = Client::new(endpoint, Credentials::new("vault", "a long random secret"))?;
//! client.add_user("tenant-1", &"twenty-four random chars".into()).await?;
//! client.set_user_policy("tenant-1", &["readwrite"]).await?;
//! client.remove_user("tenant-1").await?;
//! # Ok(())
//! # }
//! ```

pub mod body;
mod client;
mod endpoint;
mod error;
mod policies;
mod reply;
pub mod sigv4;
mod tls;
mod users;

pub use client::{BodyEncryption, Builder, Client, Credentials};
pub use endpoint::Endpoint;
pub use error::{Code, Error};
pub use users::{UserInfo, UserStatus};

/// What a removal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It existed and is gone.
    Removed,
    /// It was not there. The goal is reached all the same.
    Absent,
}
