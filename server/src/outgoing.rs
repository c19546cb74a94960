//! Questions to other servers over HTTP/1.1: one request on one connection, bounded in time and bytes; follows nobody
//! elsewhere. Whom a name may lead to is for the caller to say.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Where to ask.
#[derive(Clone, Debug)]
pub struct Place {
    /// The host, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it is asked over TLS.
    pub encrypted: bool,
    uri: Uri,
}

impl Place {
    /// Reads an address that begins with `https://` or `http://`.
    pub fn read(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let encrypted = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        // An IPv6 address stands in brackets in an address, and without them elsewhere.
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        (!host.is_empty()).then_some(Self { host, port, encrypted, uri })
    }

    /// Where its name leads.
    ///
    /// # Errors
    /// Why nowhere.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        found.map(Iterator::collect).map_err(|error| error.to_string())
    }
}

/// Whom to believe that a server is who it says: this authority, or, without one, whom this machine trusts.
///
/// # Errors
/// Why nobody.
pub fn trusting(authority: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
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
    if roots.is_empty() {
        return Err("this machine trusts no authority: name one".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Asks at the first of these addresses that takes a connection. What is answered beyond so many bytes is not read: then
/// there is no body.
///
/// # Errors
/// Why there is no answer.
pub async fn ask(
    place: &Place,
    addresses: &[SocketAddr],
    trust: &Arc<ClientConfig>,
    request: http::request::Builder,
    (body, answer_bytes_max): (Bytes, usize),
) -> Result<(StatusCode, Option<Bytes>), String> {
    let authority = place.uri.authority().map_or(place.host.as_str(), |authority| authority.as_str());
    let path = place.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = request
        .uri(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("onefold/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let stream = TcpStream::connect(addresses).await.map_err(|error| error.to_string())?;
    if !place.encrypted {
        return exchange(stream, request, answer_bytes_max).await;
    }
    let name = ServerName::try_from(place.host.clone()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::clone(trust)).connect(name, stream).await;
    exchange(stream.map_err(|error| error.to_string())?, request, answer_bytes_max).await
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    answer_bytes_max: usize,
) -> Result<(StatusCode, Option<Bytes>), String>
where
    TokioIo<S>: Read + Write + Send + Unpin + 'static,
    S: Send + 'static,
{
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
    // Ends with this function, however that ends.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), answer_bytes_max).collect().await;
    Ok((status, body.ok().map(|body| body.to_bytes())))
}
