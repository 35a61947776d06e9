//! Which certificates of servers are believed.
//!
//! Those that the system's authorities or the host's own (certs.d) vouch for; and, as Go's programs have it and their manuals
//! recommend it, one that is itself among these: `openssl req -x509` makes such a certificate, which calls itself an
//! authority, and which webpki would take for no server's.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore,
    SignatureScheme,
};
use webpki::EndEntityCert;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::engine::config::certs::HostCertificates;
use crate::engine::{Error, Result};

/// The configuration of TLS for the host `name`. Where the system has no authorities at all, the host's own have to do: plain
/// HTTP needs none.
///
/// # Errors
/// A file of certs.d holds no certificate, or no key.
pub(super) fn config(name: &str, certificates: &HostCertificates) -> Result<ClientConfig> {
    let bad = |e: &dyn std::fmt::Display| {
        Error::invalid(format!("TLS set-up for {name}")).with_source(e.to_string())
    };
    let mut own = Vec::new();
    for pem in &certificates.authorities {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            own.push(certificate.map_err(|e| bad(&e))?);
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let system = rustls_platform_verifier::Verifier::new_with_extra_roots(own.clone(), Arc::clone(&provider));
    let authorities: Option<Arc<dyn ServerCertVerifier>> = match system {
        Ok(system) => Some(Arc::new(system)),
        Err(_) if !own.is_empty() => Some(only(&own, &provider).map_err(|e| bad(&e))?),
        Err(_) => None,
    };
    let verifier = Arc::new(Verifier { authorities, own, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &certificates.identity {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let chain = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<Vec<_>, _>>();
            let key = PrivateKeyDer::from_pem_slice(pem).map_err(|e| bad(&e))?;
            builder.with_client_auth_cert(chain.map_err(|e| bad(&e))?, key).map_err(|e| bad(&e))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A verifier that trusts these and nobody else.
fn only(
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> std::result::Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    built.map(|verifier| verifier as _).map_err(|e| TlsError::General(e.to_string()))
}

/// What the authorities vouch for, or one of them itself.
#[derive(Debug)]
struct Verifier {
    /// `None`: there are none, and nobody is believed.
    authorities: Option<Arc<dyn ServerCertVerifier>>,
    /// The host's own.
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// Whether a certificate that calls itself an authority is a trusted one.
    fn trusts(&self, certificate: &CertificateDer<'_>) -> bool {
        let is = |one: &CertificateDer<'_>| one.as_ref() == certificate.as_ref();
        self.own.iter().any(is) || rustls_native_certs::load_native_certs().certs.iter().any(is)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        let Some(authorities) = &self.authorities else {
            return Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let verified =
            authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(e) if is_authority(&e) && self.trusts(end_entity) => itself(end_entity, server_name, now),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate was refused because it is an authority's.
fn is_authority(e: &TlsError) -> bool {
    let TlsError::InvalidCertificate(CertificateError::Other(OtherError(cause))) = e else { return false };
    cause.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// Name and time of a certificate that is trusted as it is.
fn itself(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> std::result::Result<ServerCertVerified, TlsError> {
    let encoding = || TlsError::InvalidCertificate(CertificateError::BadEncoding);
    let end = EndEntityCert::try_from(certificate).map_err(|_| encoding())?;
    end.verify_is_valid_for_subject_name(name)
        .map_err(|_| TlsError::InvalidCertificate(CertificateError::NotValidForName))?;
    let parsed = Certificate::from_der(certificate).map_err(|_| encoding())?;
    let validity = parsed.tbs_certificate().validity();
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(TlsError::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(TlsError::InvalidCertificate(CertificateError::Expired));
    }
    Ok(ServerCertVerified::assertion())
}
