//! TLS to key services and stores: one rustls on aws-lc-rs, 1.2 or newer, and whom it trusts.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::sync::Once;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{AlertDescription, CertificateError, RootCertStore};

use crate::error::{Error, Kind, Result};

/// Makes aws-lc-rs the process's default for rustls. Clients take the default, and some panic where
/// there is none; a default that another library of the process has installed before is left alone.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let _taken_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// The authorities of `kms.ca-file` or `store.ca-file`, trusted instead of the platform's.
#[derive(Debug, Clone)]
pub struct Authorities {
    /// The file as it is, one or more certificates in PEM.
    pub pem: Vec<u8>,
    /// The same, one DER each.
    pub der: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Reads the file that `option` names; whatever is wrong with it is an error of the configuration.
    pub fn read(option: &str, path: &Path) -> Result<Authorities> {
        let bad = |reason: &dyn std::fmt::Display| {
            Kind::Config.error(format_args!(
                "{option} {}: {reason}; give the certificates of the authorities to trust, in PEM (-----BEGIN CERTIFICATE-----)",
                path.display()
            ))
        };
        let pem = std::fs::read(path).map_err(|error| bad(&format_args!("cannot be read: {error}")))?;
        let der = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| bad(&format_args!("is not PEM: {error}")))?;
        if der.is_empty() {
            return Err(bad(&"holds no certificate"));
        }
        let mut roots = RootCertStore::empty();
        for (index, certificate) in der.iter().enumerate() {
            let number = index + 1;
            roots
                .add(certificate.clone())
                .map_err(|error| bad(&format_args!("certificate {number} is no authority: {error}")))?;
        }
        Ok(Authorities { pem, der })
    }
}

/// What is wrong with a server's TLS, if that is what made this call fail. Errors of HTTP clients bury it. `option` is
/// where its authority would be given.
pub fn fault(option: &str, error: &(dyn StdError + 'static)) -> Option<Error> {
    tls_error(error).map(|error| explain(option, error))
}

fn tls_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error names as its source not the error that it wraps, but that one's source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(|io| io.get_ref());
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// What only a change of the configuration, or of the server, can mend is permanent; the rest may pass.
fn explain(option: &str, error: &rustls::Error) -> Error {
    use CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            Kind::Config.error(format_args!(
                "its certificate was issued by no authority that is trusted here: set {option} to the certificate of \
                 the authority, or check that this is the right server",
            ))
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            Kind::Config.error(format_args!("its certificate is for another host ({error}): check the address"))
        }
        rustls::Error::InvalidCertificate(
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. },
        ) => Kind::KmsUnavailable
            .error(format_args!("{error}: renew the server's certificate, and check the clocks of both machines")),
        rustls::Error::InvalidCertificate(_) => {
            Kind::Config.error(format_args!("its certificate cannot be accepted: {error}"))
        }
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure) => {
            Kind::Config.error(format_args!(
                "it offers no TLS that is acceptable here ({error}): TLS 1.2 or 1.3 with an authenticated cipher is needed"
            ))
        }
        rustls::Error::InvalidMessage(_) => Kind::Config
            .error(format_args!("it does not speak TLS ({error}): check the port, and whether the address is https")),
        _ => Kind::KmsUnavailable.error(format_args!("TLS failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_however_deep_it_is_buried() {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let buried = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, unknown()));
        assert_eq!(fault("kms.ca-file", &buried).unwrap().kind(), Kind::Config);
        assert!(fault("kms.ca-file", &buried).unwrap().message().contains("kms.ca-file"));
        assert!(fault("kms.ca-file", &io::Error::from(io::ErrorKind::ConnectionRefused)).is_none());
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert_eq!(fault("kms.ca-file", &io::Error::other(expired)).unwrap().kind(), Kind::KmsUnavailable);
        let old = rustls::Error::AlertReceived(AlertDescription::ProtocolVersion);
        assert!(fault("kms.ca-file", &old).unwrap().message().contains("TLS 1.2"));
    }

    #[test]
    fn an_unusable_file_of_authorities_names_the_option_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = folder.path().join("ca.pem");
            std::fs::write(&path, text).unwrap();
            path
        };
        let reason = |path: &Path| {
            let error = Authorities::read("kms.ca-file", path).unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.message().starts_with("kms.ca-file "), "{error}");
            error.to_string()
        };
        assert!(reason(&folder.path().join("missing")).contains("cannot be read"));
        assert!(reason(&file("")).contains("holds no certificate"));
        assert!(reason(&file("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")).contains("no cert"));
        assert!(reason(&file("-----BEGIN CERTIFICATE-----\nAAAA\n")).contains("is not PEM"));
        let garbage = file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(reason(&garbage).contains("certificate 1 is no authority"));
    }
}
