//! The one TLS provider of the process.

/// Makes aws-lc-rs the process' rustls provider. Call it first in `main`: without a provider the first
/// HTTPS client panics. Calling it again has no effect.
pub fn install_provider() {
    // `Err` only says that a provider is installed already, which is what was asked for.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
