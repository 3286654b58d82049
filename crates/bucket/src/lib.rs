//! The few S3 calls Boathouse makes itself, with errors that name their cause.
//!
//! * The node plugin asks [`BucketClient::probe`] before it reports a mount as made, so that wrong keys, a missing
//!   bucket or a bad endpoint become a sentence in the pod's events instead of a later I/O error.
//! * The controller makes prefixes with [`BucketClient::ensure_prefix`].
//! * The demo and the tests make buckets and look at objects.
//!
//! One [`Http`] per process and authority holds the connections; a [`BucketClient`] is a bucket, an endpoint and
//! keys on top of it. Requests are signed as presigned URLs (Signature Version 4 in the query), so a URL is as
//! secret as a key while it lives: this crate never prints one.

mod client;
mod error;
mod http;
mod target;

pub use client::{BucketClient, FRESH_KEYS_GRACE, Found, ObjectInfo};
pub use error::{BucketError, Failure};
pub use http::{BODY_LIMIT, Http, HttpConfig, HttpError};
pub use target::{Keys, S3Target};
