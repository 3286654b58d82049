//! Typed calls to the MinIO admin API (`/minio/admin/v3/`, which every community server since 2020 speaks;
//! version 4 with servers that say they speak no other), and `AssumeRole` of its token service.
//!
//! [`Client`] makes the calls: users, groups, canned policies, service accounts, temporary keys. Two
//! parts stand alone and are pure, without clock and network: [`sigv4`] signs requests, [`body`] seals the bodies
//! MinIO wants encrypted with the caller's secret key.
//!
//! A user with a policy, a service account below it that may do less and ends by itself, and the end of both:
//!
//! ```no_run
//! use minio_admin::{Client, Credentials, Endpoint, NewServiceAccount};
//!
//! # async fn example(expiration: jiff::Timestamp) -> Result<(), minio_admin::Error> {
//! let endpoint = Endpoint::new("minio.example:9000", true)?;
//! let client = Client::new(endpoint, Credentials::new("an-admin", "a long random secret"))?;
//!
//! client.add_user("tenant-1", &"twenty-four random chars".into()).await?;
//! client.set_user_policy("tenant-1", &["readwrite"]).await?;
//! client
//!     .add_service_account(&NewServiceAccount {
//!         parent: Some("tenant-1".into()),
//!         access_key: "tenant-1-reader".into(),
//!         secret_key: "forty random characters at the most".into(),
//!         policy: Some(
//!             r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
//!                 "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::tenant-1/*"]}]}"#
//!                 .into(),
//!         ),
//!         name: None,
//!         description: None,
//!         expiration: Some(expiration),
//!     })
//!     .await?;
//! client.remove_user("tenant-1").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # When MinIO is not well
//!
//! Every call has one limit of time ([`Builder::timeout`]), key derivation and repetitions included. What passes
//! in a moment is repeated ([`Builder::retries`]); what may pass later says so ([`Error::is_retryable`]). A
//! [`Breaker`] leaves a server alone that does not answer, so that callers do not queue up behind it. All
//! removals can be repeated: what is gone is [`Removal::Absent`] and no error.
//!
//! No error, log or `Debug` output holds a secret, or anything of an answer that is not MinIO's.

pub mod body;
mod breaker;
mod builder;
mod client;
mod code;
mod endpoint;
mod error;
mod groups;
mod policies;
mod reply;
mod service_accounts;
pub mod sigv4;
mod sts;
mod tls;
mod transport;
mod users;

pub use breaker::Breaker;
pub use builder::{BodyEncryption, Builder, Credentials};
pub use client::Client;
pub use code::Code;
pub use endpoint::Endpoint;
pub use error::Error;
pub use service_accounts::{NewServiceAccount, ServiceAccountChange, ServiceAccountInfo};
pub use sts::SessionCredentials;
pub use tls::TlsVersion;
pub use users::{UserInfo, UserStatus};

/// What a removal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It existed and is gone.
    Removed,
    /// It was not there. The goal is reached all the same.
    Absent,
}
