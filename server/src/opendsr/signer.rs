//! What is signed in the processor's name, so that a controller can prove what it was told (OpenDSR 2.0 section 4).
//!
//! The specification asks for FIPS 186-4 with an X.509 certificate: RSA or ECDSA over P-256, both with SHA-256. The Ed25519
//! key of receipts is neither, so this key is another, which the operator gives with its certificate.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{InconsistentKeys, SignatureScheme};

use crate::secret;

/// Bytes that a file of certificates may have.
const CERTIFICATES_BYTES_MAX: u64 = 1 << 20;
/// PKCS #1 v1.5, as controllers in the field verify it, and ECDSA over P-256.
const SCHEMES: [SignatureScheme; 2] = [SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];

/// Signs.
#[derive(Clone)]
pub struct Signer {
    key: Arc<CertifiedKey>,
    /// The certificate and those behind it, as PEM.
    pub certificates: Arc<str>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl Signer {
    /// Reads key and certificate, and sees whether they go together and are for this host.
    ///
    /// # Errors
    /// Which file, and why.
    pub fn read(certificate: &Path, key: &Path, host: &str) -> Result<Self, String> {
        let length = std::fs::metadata(certificate).map_or(0, |file| file.len());
        if length > CERTIFICATES_BYTES_MAX {
            return Err(format!("{} is larger than {CERTIFICATES_BYTES_MAX} bytes", certificate.display()));
        }
        let text = std::fs::read_to_string(certificate)
            .map_err(|error| format!("{} cannot be read: {error}", certificate.display()))?;
        let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| format!("{} holds no certificate: {error}", certificate.display()))?;
        let Some(first) = chain.first() else { return Err(format!("{} holds no certificate", certificate.display())) };
        let is_for = ParsedCertificate::try_from(first).and_then(|parsed| {
            let name = ServerName::try_from(host.to_owned());
            name.map_or(Ok(false), |name| Ok(verify_server_name(&parsed, &name).is_ok()))
        });
        match is_for {
            Ok(true) => {}
            Ok(false) => return Err(format!("{} is not for {host}", certificate.display())),
            Err(error) => return Err(format!("{}: {error}", certificate.display())),
        }
        let pem = secret::read_file(key).map_err(|error| format!("{} {error}", key.display()))?;
        let unusable = || format!("{} holds no private key that can be used", key.display());
        let private = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unusable())?;
        let private = ring::default_provider().key_provider.load_private_key(private).map_err(|_| unusable())?;
        if private.choose_scheme(&SCHEMES).is_none() {
            return Err(format!("{} must be an RSA key of 2,048 bits or more, or one of P-256", key.display()));
        }
        // Only certificates are given out, whatever else stands in the file.
        let certificates = chain.iter().map(pem_of).collect::<String>().into();
        let certified = CertifiedKey::new(chain, private);
        match certified.keys_match() {
            Ok(()) => Ok(Self { key: Arc::new(certified), certificates }),
            Err(tokio_rustls::rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(format!("{} is not of the key in {}", certificate.display(), key.display()))
            }
            Err(error) => Err(format!("{} and {}: {error}", certificate.display(), key.display())),
        }
    }

    /// Signs the SHA-256 of a body; base64.
    ///
    /// # Errors
    /// When the key cannot, which nobody can help.
    pub fn sign(&self, body: &[u8]) -> Result<String, String> {
        let signer = self.key.key.choose_scheme(&SCHEMES).ok_or("the key has no scheme to sign with")?;
        signer.sign(body).map(|signature| STANDARD.encode(signature)).map_err(|error| error.to_string())
    }
}

fn pem_of(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ::ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

    use super::*;

    fn put(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn a_key_signs_only_with_its_own_certificate_for_its_own_host() {
        let dir = tempfile::tempdir().unwrap();
        let host = "opendsr.example.org";
        let one = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        let certificate = put(dir.path(), "cert.pem", &one.cert.pem());
        let key = put(dir.path(), "key.pem", &one.signing_key.serialize_pem());
        let other_key = put(dir.path(), "other.pem", &other.signing_key.serialize_pem());
        let signer = Signer::read(&certificate, &key, host).unwrap();
        let signature = STANDARD.decode(signer.sign(b"a body").unwrap()).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, one.signing_key.public_key_raw());
        public.verify(b"a body", &signature).unwrap();
        assert!(public.verify(b"another", &signature).is_err());
        let given: Vec<_> = CertificateDer::pem_slice_iter(signer.certificates.as_bytes()).collect();
        assert_eq!(given.len(), 1);
        assert_eq!(given[0].as_ref().unwrap(), one.cert.der());
        for (certificate, key, host, why) in [
            (&certificate, &other_key, host, "is not of the key"),
            (&certificate, &key, "elsewhere.example.org", "is not for elsewhere.example.org"),
            (&key, &key, host, "holds no certificate"),
            (&certificate, &certificate, host, "holds no private key"),
        ] {
            let refused = Signer::read(certificate, key, host).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
