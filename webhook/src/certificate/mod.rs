//! `boathouse-webhook certificate`: for clusters without cert-manager.
//!
//! Makes an authority and a serving certificate, keeps them in a Secret and tells the API server, once or as often as
//! it is run. The authority's key is thrown away, so that nothing it signs can follow; renewing makes another
//! authority, and the old one stays trusted until pods have the new Secret.
//!
//! What pods serve is trusted after each step, so that a Job may die behind any of them; the next run goes on:
//!
//! ```text
//!                   before   1. widen caBundle   2. write Secret   3. narrow caBundle
//! caBundle trusts   old      old, new            old, new          new, old: the Secret's ca.crt
//! pods serve        old      old                 old, soon new     old, soon new
//! ```
//!
//! A Secret that is good needs only step 3. Each step changes only what was read before it, and whoever finds that
//! somebody else was faster begins again.

mod bundle;
mod cluster;
mod configuration;
mod judge;
mod made;

pub use crate::certificate::cluster::ClusterError;

use crate::certificate::cluster::Cluster;
use boathouse_service::logs::LogArgs;

/// Make a self-signed serving certificate, and let the API server trust it
///
/// For a Job in the cluster, run at each installation and, say, every week. What it finds is kept as long as more
/// than a third of its life is left. Its service account needs: get and update of the Secret, or create where it is
/// not there yet; get and patch of the MutatingWebhookConfiguration.
#[derive(Clone, Debug, clap::Args)]
pub struct CertificateArgs {
    /// The webhook's Service
    #[arg(long, env = "BOATHOUSE_WEBHOOK_SERVICE", value_name = "NAME")]
    pub service: String,

    /// The namespace of Service and Secret; that of this pod without it
    #[arg(long, env = "BOATHOUSE_WEBHOOK_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,

    /// The Secret (kubernetes.io/tls) that certificate and key are kept in; made if it is not there
    #[arg(long, env = "BOATHOUSE_WEBHOOK_SECRET", value_name = "NAME")]
    pub secret: String,

    /// The MutatingWebhookConfiguration whose caBundle is set
    #[arg(long, env = "BOATHOUSE_WEBHOOK_CONFIGURATION", value_name = "NAME")]
    pub configuration: String,

    /// Life of a new certificate, in days
    #[arg(long, env = "BOATHOUSE_WEBHOOK_CERTIFICATE_DAYS", value_name = "DAYS", default_value_t = 365,
        value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,

    /// How and what to log
    #[command(flatten)]
    pub log: LogArgs,
}

/// Brings Secret and configuration into the state the flags ask for.
///
/// # Errors
/// [`ClusterError`] names the object.
pub async fn run(args: &CertificateArgs) -> Result<(), ClusterError> {
    Cluster::of_this_pod(args)?.ensure().await
}
