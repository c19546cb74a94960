//! One question over HTTPS: the keys of a token issuer. Bounded in time and bytes; follows nobody elsewhere.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use prost::bytes::Bytes;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::keys::KEYS_BYTES_MAX;

/// How long the answer may take.
const WITHIN: Duration = Duration::from_secs(5);

/// Where to ask.
struct Place {
    host: String,
    port: u16,
    uri: Uri,
}

fn place(url: &str) -> Result<Place, String> {
    let uri: Uri = url.parse().map_err(|_| format!("`{url}` is no address"))?;
    if uri.scheme_str() != Some("https") {
        return Err(format!("`{url}` must begin with https://, or name a file"));
    }
    let host = uri.host().ok_or_else(|| format!("`{url}` names no host"))?;
    // An IPv6 address stands in brackets in an address, and without them elsewhere.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Place { host, port: uri.port_u16().unwrap_or(443), uri })
}

fn trusted(authority: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(path) => {
            let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let text = std::fs::read(path).map_err(|error| failed(&error))?;
            for certificate in CertificateDer::pem_slice_iter(&text) {
                let certificate = certificate.map_err(|error| failed(&error))?;
                roots.add(certificate).map_err(|error| failed(&error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() { Err("nobody is trusted to vouch for the token issuer".to_owned()) } else { Ok(roots) }
}

/// Whether it could be asked for at all, as far as nobody has to be asked.
///
/// # Errors
/// Why not.
pub fn check(url: &str, authority: Option<&Path>) -> Result<(), String> {
    place(url)?;
    trusted(authority).map(drop)
}

/// What lies at this address.
///
/// # Errors
/// Why it cannot be had.
pub async fn get(url: &str, authority: Option<&Path>) -> Result<Vec<u8>, String> {
    let asked = tokio::time::timeout(WITHIN, ask(url, authority)).await;
    asked.unwrap_or_else(|_| Err(format!("{url} does not answer within {} s", WITHIN.as_secs())))
}

async fn ask(url: &str, authority: Option<&Path>) -> Result<Vec<u8>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{url}: {error}");
    let Place { host, port, uri } = place(url)?;
    let roots = trusted(authority)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.clone()).map_err(|error| failed(&error))?;
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| failed(&error))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| failed(&error))?;
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| failed(&error))?;
    // Ends with this function, however that ends.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let authority = uri.authority().map_or(host.as_str(), |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("onefold/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("{url} answers {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), KEYS_BYTES_MAX).collect().await;
    let body = body.map_err(|_| format!("{url} answers more than {KEYS_BYTES_MAX} bytes, or breaks off"))?;
    Ok(body.to_bytes().to_vec())
}
