//! Encryption: what the server shows to callers, and whose certificates it asks of them. The files are read again when they
//! change, so that certificates and keys are replaced without a restart.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::config::Tls;
use crate::renewal::Renewed;
use crate::secret;

/// Bytes that a file of certificates may have.
const CERTIFICATES_BYTES_MAX: u64 = 1 << 20;

/// What the files held when they were read.
struct Texts {
    certificate: String,
    key: String,
    client_authority: Option<String>,
}

impl Texts {
    fn read(tls: &Tls) -> Result<Self, String> {
        let pem = |path: &Path| {
            let length = std::fs::metadata(path).map(|file| file.len());
            if length.is_ok_and(|length| length > CERTIFICATES_BYTES_MAX) {
                return Err(format!("{} is larger than {CERTIFICATES_BYTES_MAX} bytes", path.display()));
            }
            std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        };
        let key = secret::read_file(&tls.key).map_err(|error| format!("{} {error}", tls.key.display()))?;
        let client_authority = tls.client_authority.as_deref().map(pem).transpose()?;
        Ok(Self { certificate: pem(&tls.certificate)?, key, client_authority })
    }

    fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for text in [self.certificate.as_str(), &self.key, self.client_authority.as_deref().unwrap_or_default()] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.finalize()
    }

    /// What rustls makes of them.
    fn config(&self, tls: &Tls, speaks: &[&[u8]]) -> Result<ServerConfig, String> {
        let certificates = |text: &str, path: &Path| {
            let read = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
            let read = read.map_err(|error| format!("{} holds no certificate: {error}", path.display()))?;
            if read.is_empty() { Err(format!("{} holds no certificate", path.display())) } else { Ok(read) }
        };
        let chain = certificates(&self.certificate, &tls.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|_| format!("{} holds no private key", tls.key.display()))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match (&self.client_authority, &tls.client_authority) {
            (Some(text), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(text, path)? {
                    roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| {
            format!("{} and {} cannot be used together: {error}", tls.certificate.display(), tls.key.display())
        })?;
        config.alpn_protocols = speaks.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

/// What is shown and asked of callers now.
pub struct Certificates {
    tls: Tls,
    speaks: Vec<&'static [u8]>,
    now: RwLock<(blake3::Hash, Arc<ServerConfig>)>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificates({}, ..)", self.tls.certificate.display())
    }
}

impl Certificates {
    /// Reads the files. A client without a certificate of the authority, where one is named, gets no connection.
    ///
    /// # Errors
    /// Which file, and why.
    pub fn read(tls: &Tls, http1: bool) -> Result<Arc<Self>, String> {
        let speaks: Vec<&'static [u8]> = if http1 { vec![b"h2", b"http/1.1"] } else { vec![b"h2"] };
        let texts = Texts::read(tls)?;
        let config = Arc::new(texts.config(tls, &speaks)?);
        Ok(Arc::new(Self { tls: tls.clone(), speaks, now: RwLock::new((texts.digest(), config)) }))
    }

    /// For the next connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).1)
    }
}

impl Renewed for Certificates {
    const WHAT: &'static str = "the certificates that new connections see";

    fn look(&self) -> Result<bool, String> {
        let texts = Texts::read(&self.tls)?;
        let digest = texts.digest();
        if self.now.read().unwrap_or_else(PoisonError::into_inner).0 == digest {
            return Ok(false);
        }
        let config = Arc::new(texts.config(&self.tls, &self.speaks)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (digest, config);
        Ok(true)
    }
}
