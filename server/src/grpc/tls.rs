//! Encryption: what the server shows to callers, and whose certificates it asks of them.

use std::path::Path;

use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::config::{TLS_HANDSHAKE_WAIT_MAX, Tls};

/// Reads the files. A client without a certificate of the authority, where one is named, gets no connection.
///
/// # Errors
/// Which file, and why.
pub fn read(tls: &Tls) -> Result<ServerTlsConfig, String> {
    let pem = |path: &Path| {
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        match text.contains("-----BEGIN ") {
            true => Ok(text),
            false => Err(format!("{} holds no PEM block", path.display())),
        }
    };
    let identity = Identity::from_pem(pem(&tls.certificate)?, pem(&tls.key)?);
    let config = ServerTlsConfig::new().identity(identity).timeout(TLS_HANDSHAKE_WAIT_MAX);
    Ok(match &tls.client_authority {
        Some(path) => config.client_ca_root(Certificate::from_pem(pem(path)?)),
        None => config,
    })
}
