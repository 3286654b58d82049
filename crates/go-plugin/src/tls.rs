//! Mutual TLS between host and plugin, in two forms:
//!
//! - AutoMTLS: each side makes a one-shot certificate, hands the other its public half (by environment
//!   variable and by handshake line), and accepts nothing else.
//! - A shared identity: some hosts give the plugin a certificate with its key by a way of their own,
//!   present the same one, and accept nothing else.
//!
//! The host's certificate is self-signed with `CA:TRUE` on P-521 and used as an end-entity
//! (hashicorp/go-plugin `mtls.go`). Ordinary chain verification refuses that, so both directions
//! compare the peer's certificate byte for byte; the handshake signature, which proves that the
//! peer holds the key, is still checked by the crypto provider. The provider is aws-lc-rs, named
//! here explicitly: others know no P-521.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ResolvesServerCert;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

/// The name in AutoMTLS certificates. With a shared identity it is only what we ask for: the peer is
/// known by its certificate, not by a name.
pub(crate) const SERVER_NAME: &str = "localhost";

/// How connections between host and plugin are protected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TlsMode {
    /// Not at all, beyond the permissions of the socket.
    Plain,
    /// Each side accepts one certificate of the other.
    Mutual(MutualTls),
}

/// Both ends of mutual TLS.
#[derive(Clone, Debug)]
pub struct MutualTls {
    /// What the handshake line carries; nothing when the host has it already.
    announced: Option<CertificateDer<'static>>,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

/// Mutual TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The host's certificate is no PEM certificate.
    #[error("PLUGIN_CLIENT_CERT: {0}")]
    HostCertificate(rustls_pki_types::pem::Error),
    /// Our own certificate could not be made.
    #[error("making the plugin's certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// The TLS library refuses certificate, key or configuration.
    #[error("TLS configuration: {0}")]
    Config(#[from] rustls::Error),
}

impl TlsMode {
    /// AutoMTLS if the host asks for it with `PLUGIN_CLIENT_CERT`, else `otherwise`, else nothing.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn for_host(client_cert: Option<&str>, otherwise: Option<MutualTls>) -> Result<Self, TlsError> {
        let automatic = client_cert.map(MutualTls::automatic).transpose()?;
        Ok(automatic.or(otherwise).map_or(Self::Plain, Self::Mutual))
    }

    /// The certificate for the handshake line.
    pub fn announced(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Plain => None,
            Self::Mutual(mtls) => mtls.announced.as_ref(),
        }
    }
}

impl MutualTls {
    /// AutoMTLS: makes our certificate and pins the host's.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn automatic(host_pem: &str) -> Result<Self, TlsError> {
        let host = CertificateDer::from_pem_slice(host_pem.as_bytes()).map_err(TlsError::HostCertificate)?;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate: CertificateDer<'static> = certificate_params()?.self_signed(&key)?.into();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mtls = Self::pinned(certificate.clone(), private, host)?;
        Ok(Self { announced: Some(certificate), ..mtls })
    }

    /// A shared identity: both sides present `certificate` and accept only that.
    ///
    /// # Errors
    /// [`TlsError::Config`], also when the key is not the certificate's.
    pub fn shared(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        Self::pinned(certificate.clone(), key, certificate)
    }

    fn pinned(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        peer: CertificateDer<'static>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let identity =
            Arc::new(SingleCertAndKey::from(CertifiedKey::from_der(vec![certificate], key, &provider)?));
        let pin = Arc::new(Pin { peer, provider: Arc::clone(&provider) });

        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::clone(&pin) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::clone(&identity) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = vec![b"h2".to_vec()];

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(pin)
            .with_client_cert_resolver(identity);
        client.alpn_protocols = vec![b"h2".to_vec()];

        Ok(Self { announced: None, server: Arc::new(server), client: Arc::new(client) })
    }
}

fn certificate_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, SERVER_NAME);
    // The host trusts the certificate by having it as its only root.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyAgreement,
        KeyUsagePurpose::KeyCertSign,
    ];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    // One-shot: the key dies with the process. Wide dates tolerate a wrong clock at start-up.
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2099, 1, 1);
    Ok(params)
}

/// Accepts one certificate and no other.
#[derive(Debug)]
struct Pin {
    peer: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    fn check(&self, presented: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        match presented.as_ref() == self.peer.as_ref() {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn tls12(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn tls13(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Pin {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// A certificate as go-plugin hosts make it: P-521, self-signed, CA.
    fn host() -> (String, ClientConfig, CertificateDer<'static>) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let cert = certificate_params().unwrap().self_signed(&key).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let der: CertificateDer<'static> = cert.der().clone();
        let pin = Arc::new(Pin { peer: CertificateDer::from(Vec::new()), provider: Arc::clone(&provider) });
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(pin)
            .with_client_auth_cert(
                vec![der.clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        (cert.pem(), client, der)
    }

    /// Points a host's client at the plugin it should trust.
    fn trusting(mut client: ClientConfig, plugin: &CertificateDer<'static>) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        client.dangerous().set_certificate_verifier(Arc::new(Pin { peer: plugin.clone(), provider }));
        client
    }

    async fn handshake(client: ClientConfig, plugin: &MutualTls) -> (bool, bool) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let server = TlsAcceptor::from(Arc::clone(&plugin.server));
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        let (accepted, connected) = tokio::join!(server.accept(far), connector.connect(name, near));
        (accepted.is_ok(), connected.is_ok())
    }

    #[tokio::test]
    async fn a_p521_ca_host_is_accepted() {
        let (pem, client, _) = host();
        let plugin = MutualTls::automatic(&pem).unwrap();
        assert_eq!(
            handshake(trusting(client, plugin.announced.as_ref().unwrap()), &plugin).await,
            (true, true)
        );
    }

    #[tokio::test]
    async fn another_host_is_refused() {
        let (pem, _, _) = host();
        let (_, stranger, _) = host();
        let plugin = MutualTls::automatic(&pem).unwrap();
        let (accepted, _) = handshake(trusting(stranger, plugin.announced.as_ref().unwrap()), &plugin).await;
        assert!(!accepted);
    }

    #[tokio::test]
    async fn the_host_certificate_without_its_key_is_refused() {
        let (pem, _, host_cert) = host();
        let plugin = MutualTls::automatic(&pem).unwrap();
        let thief = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let signing = provider
            .key_provider
            .load_private_key(PrivateKeyDer::Pkcs8(thief.serialize_der().into()))
            .unwrap();
        #[derive(Debug)]
        struct Stolen(Arc<rustls::sign::CertifiedKey>);
        impl rustls::client::ResolvesClientCert for Stolen {
            fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
                Some(Arc::clone(&self.0))
            }
            fn has_certs(&self) -> bool {
                true
            }
        }
        let stolen = Stolen(Arc::new(rustls::sign::CertifiedKey::new(vec![host_cert], signing)));
        let pin = Arc::new(Pin { peer: plugin.announced.clone().unwrap(), provider: Arc::clone(&provider) });
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(pin)
            .with_client_cert_resolver(Arc::new(stolen));
        let (accepted, _) = handshake(client, &plugin).await;
        assert!(!accepted);
    }

    #[tokio::test]
    async fn no_certificate_is_refused() {
        let (pem, _, _) = host();
        let plugin = MutualTls::automatic(&pem).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pin = Arc::new(Pin { peer: plugin.announced.clone().unwrap(), provider: Arc::clone(&provider) });
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(pin)
            .with_no_client_auth();
        let (accepted, _) = handshake(client, &plugin).await;
        assert!(!accepted);
    }

    /// An identity as hosts share it: P-521, self-signed, CA.
    fn shareable() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let cert = certificate_params().unwrap().self_signed(&key).unwrap();
        (cert.der().clone(), PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
    }

    #[tokio::test]
    async fn a_shared_identity_meets_itself_and_nobody_else() {
        let (cert, key) = shareable();
        let [host, plugin] = [key.clone_key(), key].map(|key| MutualTls::shared(cert.clone(), key).unwrap());
        assert_eq!(handshake((*host.client).clone(), &plugin).await, (true, true));
        assert_eq!(handshake((*plugin.client).clone(), &host).await, (true, true));
        let (cert, key) = shareable();
        let stranger = MutualTls::shared(cert, key).unwrap();
        assert_eq!(handshake((*stranger.client).clone(), &plugin).await, (false, false));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let ((cert, _), (_, key)) = (shareable(), shareable());
        assert!(matches!(MutualTls::shared(cert, key), Err(TlsError::Config(_))));
    }

    #[test]
    fn modes() {
        assert!(matches!(TlsMode::for_host(None, None), Ok(TlsMode::Plain)));
        assert!(matches!(TlsMode::for_host(Some("nonsense"), None), Err(TlsError::HostCertificate(_))));
        let (pem, _, _) = host();
        let (cert, key) = shareable();
        let shared = MutualTls::shared(cert, key).unwrap();
        assert!(TlsMode::for_host(Some(&pem), Some(shared.clone())).unwrap().announced().is_some());
        let mode = TlsMode::for_host(None, Some(shared)).unwrap();
        assert!(matches!(mode, TlsMode::Mutual(_)) && mode.announced().is_none());
    }
}
