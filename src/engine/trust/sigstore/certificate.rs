//! Certificates of signers: their chain, their time, their owner (containers/image's `fulcio_cert.go`, `pki_cert.go`).
//! Pure.

use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::{Decode, asn1::Utf8StringRef};
use x509_cert::ext::pkix::{SubjectAltName, name::GeneralName};
use x509_cert::spki::ObjectIdentifier;

use super::{PublicKey, pem};
use crate::engine::{Error, Result};

/// Fulcio's extensions with who vouched for the account, the first one as bare text.
const ISSUER_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
const ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
/// id-kp-codeSigning (RFC 5280, 4.2.1.12).
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// Who certificates are believed from.
pub(super) struct Authorities {
    roots: Vec<TrustAnchor<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
}

/// A signer's certificate.
pub(super) struct Leaf {
    der: Vec<u8>,
    parsed: Certificate,
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let blocks = pem::blocks(text)?;
    if let Some(other) = blocks.iter().find(|block| block.label != "CERTIFICATE") {
        return Err(Error::invalid(format!("{:?} in PEM is no certificate", other.label)));
    }
    Ok(blocks.into_iter().map(|block| CertificateDer::from(block.bytes)).collect())
}

impl Authorities {
    /// Reads certificates in PEM: the roots, and those between them and the signers'.
    pub(super) fn read(roots: &[u8], intermediates: Option<&[u8]>) -> Result<Self> {
        let roots = certificates(roots)?;
        let anchor = |der: &CertificateDer<'static>| match anchor_from_trusted_cert(der) {
            Ok(anchor) => Ok(anchor.to_owned()),
            Err(e) => Err(Error::invalid(format!("invalid certificate: {e}"))),
        };
        let roots = roots.iter().map(anchor).collect::<Result<Vec<_>>>()?;
        if roots.is_empty() {
            return Err(Error::invalid("there is no certificate"));
        }
        Ok(Self { roots, intermediates: certificates(intermediates.unwrap_or_default())? })
    }

    /// Checks that a certificate for signing comes from one of them. `chain` came with the signature: certificates in
    /// between, and the root, which is believed from nobody. `when` in seconds since 1970.
    pub(super) fn verify(&self, leaf: &Leaf, chain: Option<&[u8]>, when: u64) -> Result<()> {
        let mut between = certificates(chain.unwrap_or_default())?;
        between.pop();
        between.extend(self.intermediates.iter().cloned());
        let bad = |e: webpki::Error| Error::invalid(format!("verifying leaf certificate failed: {e}"));
        let der = CertificateDer::from(leaf.der.as_slice());
        let end = EndEntityCert::try_from(&der).map_err(bad)?;
        let when = UnixTime::since_unix_epoch(std::time::Duration::from_secs(when));
        let usage = KeyUsage::required_if_present(CODE_SIGNING);
        end.verify_for_usage(ALL_VERIFICATION_ALGS, &self.roots, &between, when, usage, None, None)
            .map(drop)
            .map_err(bad)
    }
}

impl Leaf {
    /// Reads a certificate in PEM.
    pub(super) fn read(text: &[u8]) -> Result<Self> {
        let [der] = <[CertificateDer<'_>; 1]>::try_from(certificates(text)?)
            .map_err(|list| Error::invalid(format!("{} certificates instead of the signer's", list.len())))?;
        let bad =
            |e: x509_cert::der::Error| Error::invalid(format!("invalid certificate of the signer: {e}"));
        Ok(Self { parsed: Certificate::from_der(&der).map_err(bad)?, der: der.to_vec() })
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn key(&self) -> Result<PublicKey> {
        PublicKey::from_info(self.parsed.tbs_certificate().subject_public_key_info())
    }

    /// Checks who vouched for the account when Fulcio made the certificate.
    pub(super) fn check_issuer(&self, wanted: &str) -> Result<()> {
        let extension = |oid| {
            let mut found = self.extensions().filter(move |e| e.extn_id == oid);
            match (found.next(), found.next()) {
                (Some(_), Some(_)) => Err(Error::invalid("certificate with an issuer extension twice")),
                (one, _) => Ok(one.map(|e| e.extn_value.as_bytes())),
            }
        };
        let not_text = || Error::invalid("certificate with an OIDC issuer that is no text");
        let first = extension(ISSUER_V1)?.map(|bytes| std::str::from_utf8(bytes).map_err(|_| not_text()));
        let second = extension(ISSUER_V2)?;
        let second =
            second.map(|bytes| Utf8StringRef::from_der(bytes).map(|s| s.as_str()).map_err(|_| not_text()));
        let found = match (first.transpose()?, second.transpose()?) {
            (Some(one), Some(other)) if one != other => {
                return Err(Error::invalid(format!("inconsistent OIDC issuers {one:?} and {other:?}")));
            }
            (one, other) => one.or(other),
        };
        match found {
            Some(issuer) if issuer == wanted => Ok(()),
            Some(issuer) => Err(Error::invalid(format!("unexpected Fulcio OIDC issuer {issuer:?}"))),
            None => Err(Error::invalid("Fulcio certificate is missing the issuer extension")),
        }
    }

    /// Checks that the owner has this address.
    pub(super) fn check_email(&self, wanted: &str) -> Result<()> {
        let names = self.names()?;
        let addresses = names.iter().filter_map(|name| match name {
            GeneralName::Rfc822Name(address) => Some(address.as_str()),
            _ => None,
        });
        let addresses: Vec<&str> = addresses.collect();
        match addresses.contains(&wanted) {
            true => Ok(()),
            false => Err(Error::invalid(format!("required email {wanted:?} not found (got {addresses:?})"))),
        }
    }

    /// Checks that the owner is this host.
    pub(super) fn check_hostname(&self, wanted: &str) -> Result<()> {
        let bad = |e: &dyn std::fmt::Display| Error::invalid(format!("unexpected subject hostname: {e}"));
        let name = ServerName::try_from(wanted).map_err(|e| bad(&e))?;
        let der = CertificateDer::from(self.der.as_slice());
        let end = EndEntityCert::try_from(&der).map_err(|e| bad(&e))?;
        end.verify_is_valid_for_subject_name(&name).map_err(|e| bad(&e))
    }

    fn extensions(&self) -> impl Iterator<Item = &x509_cert::ext::Extension> {
        self.parsed.tbs_certificate().extensions().into_iter().flatten()
    }

    fn names(&self) -> Result<Vec<GeneralName>> {
        let found = self.parsed.tbs_certificate().get_extension::<SubjectAltName>();
        let found = found.map_err(|e| Error::invalid(format!("invalid names in a certificate: {e}")))?;
        Ok(found.map(|(_, names)| names.0).unwrap_or_default())
    }
}
