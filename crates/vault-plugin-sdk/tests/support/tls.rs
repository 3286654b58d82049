//! The host's half of AutoMTLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Go hosts have the peer's certificate as their only root and find the leaf there.
#[derive(Debug)]
struct PinnedServer(CertificateDer<'static>, Arc<CryptoProvider>);

impl PinnedServer {
    fn same(&self, cert: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        assert_eq!(cert.as_ref(), self.0.as_ref(), "the plugin presents what it announced");
        Ok(())
    }
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.same(cert).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.1.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.1.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

/// The host's identity: P-521, self-signed, CA:TRUE, as go-plugin makes it.
pub(crate) struct Identity {
    pub(crate) pem: String,
    cert: CertificateDer<'static>,
    key: KeyPair,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap();
        Self { pem: cert.pem(), cert: cert.der().clone(), key }
    }

    /// The certificate, as DER.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.cert
    }

    /// The key as Go's `x509.MarshalECPrivateKey` would have it: SEC1, which is what PKCS #8 has inside.
    pub(crate) fn sec1(&self) -> Vec<u8> {
        let pkcs8 = self.key.serialize_der();
        // The last field, an octet string of 0x81 and one byte of length, reaches to the end.
        let inside = (0..pkcs8.len() - 3).find(|&at| {
            pkcs8[at] == 4 && pkcs8[at + 1] == 0x81 && usize::from(pkcs8[at + 2]) == pkcs8.len() - at - 3
        });
        pkcs8[inside.unwrap() + 3..].to_vec()
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }
}

#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) client: TlsConnector,
    pub(crate) server: TlsAcceptor,
}

impl Tls {
    pub(crate) fn new(identity: &Identity, plugin: &CertificateDer<'static>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pinned = Arc::new(PinnedServer(plugin.clone(), Arc::clone(&provider)));
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(pinned)
            .with_client_auth_cert(vec![identity.cert.clone()], identity.private())
            .unwrap();
        client.alpn_protocols = vec![b"h2".to_vec()];
        let verifier = Arc::new(PinnedClient(plugin.clone(), webpki(plugin, &provider)));
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![identity.cert.clone()], identity.private())
            .unwrap();
        server.alpn_protocols = vec![b"h2".to_vec()];
        Self { client: TlsConnector::from(Arc::new(client)), server: TlsAcceptor::from(Arc::new(server)) }
    }
}

fn webpki(
    plugin: &CertificateDer<'static>,
    provider: &Arc<CryptoProvider>,
) -> Arc<dyn rustls::server::danger::ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    roots.add(plugin.clone()).unwrap();
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().unwrap()
}

/// Pins the plugin's certificate; signatures are checked by the stock verifier.
#[derive(Debug)]
struct PinnedClient(CertificateDer<'static>, Arc<dyn rustls::server::danger::ClientCertVerifier>);

impl rustls::server::danger::ClientCertVerifier for PinnedClient {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        cert: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
        assert_eq!(cert.as_ref(), self.0.as_ref(), "the plugin dials with what it announced");
        Ok(rustls::server::danger::ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.1.verify_tls12_signature(message, cert, dss)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.1.verify_tls13_signature(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.supported_verify_schemes()
    }
}
