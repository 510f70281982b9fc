//! TLS 1.3 as libp2p specifies it, with AES-GCM before ChaCha20.
//!
//! Invariant: a connection comes up only when the peer has shown exactly one certificate that
//! carries its peer key's signature (libp2p-tls parses and checks it) and has signed the handshake
//! with the certificate's key. Versions below 1.3 are not spoken.
//!
//! libp2p-tls's own configuration puts ChaCha20 first, which takes about four times the processor
//! time on machines with AES instructions, and leaves no way to say otherwise; this file is that
//! configuration with another order of the same suites. What it is not: another handshake. Peers
//! with libp2p-tls's own configuration connect as they always did.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::PeerId;
use libp2p::identity::Keypair;
use libp2p::tls::certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// The protocol's name in a negotiation.
pub(crate) const PROTOCOL: &str = "/tls/1.0.0";
/// The application's name inside TLS, fixed by libp2p.
const ALPN: &[u8] = b"libp2p";

/// Both halves of the configuration.
#[derive(Clone)]
pub(crate) struct Tls {
    client: Arc<rustls::ClientConfig>,
    server: Arc<rustls::ServerConfig>,
}

/// The suites of libp2p-tls, the fastest first.
fn provider() -> CryptoProvider {
    use aws_lc_rs::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    let cipher_suites =
        vec![TLS13_AES_256_GCM_SHA384, TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256];
    CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() }
}

impl Tls {
    /// A fresh certificate for this node's key.
    pub(crate) fn new(key: &Keypair) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (certificate, secret) = certificate::generate(key)?;
        let provider = Arc::new(provider());
        let signing = provider.key_provider.load_private_key(secret)?;
        let shown = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], signing)));
        let mut client = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PeerCertificate))
            .with_client_cert_resolver(shown.clone());
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.enable_sni = false;
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(PeerCertificate))
            .with_cert_resolver(shown);
        server.alpn_protocols = vec![ALPN.to_vec()];
        // The choice is then this node's, also with peers that name ChaCha20 first.
        server.ignore_client_order = true;
        // Sessions are never resumed: each connection shows its certificate.
        server.send_tls13_tickets = 0;
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }

    /// The listener's side of the handshake.
    pub(crate) async fn accept<C>(self, socket: C) -> io::Result<(PeerId, TlsStream<C>)>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.server).accept(socket).await?;
        named(stream.into())
    }

    /// The dialer's side.
    pub(crate) async fn connect<C>(self, socket: C) -> io::Result<(PeerId, TlsStream<C>)>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        // A name is asked for and not used: peers are known by their keys.
        let nobody = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let stream = TlsConnector::from(self.client).connect(nobody, socket).await?;
        named(stream.into())
    }
}

/// Reads the peer's id from the certificate that the handshake has checked.
fn named<C>(stream: TlsStream<C>) -> io::Result<(PeerId, TlsStream<C>)> {
    let peer = match stream.get_ref().1.peer_certificates() {
        Some([shown]) => certificate::parse(shown).map_err(io::Error::other)?.peer_id(),
        _ => return Err(io::Error::other("the peer has not shown exactly one certificate")),
    };
    Ok((peer, stream))
}

/// Checks what the other side shows, whichever side it is.
#[derive(Debug)]
struct PeerCertificate;

impl PeerCertificate {
    /// One certificate, signed by itself, with the peer key's signature in it, valid now.
    fn check(shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        if !more.is_empty() {
            return Err(Error::General("more than one certificate".to_owned()));
        }
        certificate::parse(shown)?;
        Ok(())
    }

    fn check_signature(
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        certificate::parse(shown)?.verify_signature(signed.scheme, message, signed.signature())?;
        Ok(HandshakeSignatureValid::assertion())
    }

    /// Those that libp2p allows; RSA for peers that have nothing else.
    fn schemes() -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA256,
        ]
    }
}

impl ServerCertVerifier for PeerCertificate {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check(shown, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

impl ClientCertVerifier for PeerCertificate {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check(shown, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}
