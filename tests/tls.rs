//! Encryption over a real server: the wire is not readable, a stranger's certificate is refused on either side, and a server
//! that other machines reach starts with both locks or not at all.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_server::config::Tls;
use onefold_server::opendsr::OpenDsr;
use onefold_server::{Config, Server};
use onefold_tests::House;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

const ADMIN: &str = "an-administrators-key-of-32-chars-or-more";

/// A certificate authority of our own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for this name, and its key.
    fn certify(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn files(dir: &Path, authority: &Authority, mutual: bool) -> Tls {
    let (certificate, key) = authority.certify("localhost", ExtendedKeyUsagePurpose::ServerAuth);
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    Tls {
        certificate: write("server.pem", &certificate),
        key: write("server.key", &key),
        client_authority: mutual.then(|| write("ca.pem", &authority.pem)),
    }
}

fn config(data: &Path, tls: Tls) -> Config {
    let mut config = House::config(data);
    config.tls = Some(tls);
    config.require_auth = true;
    config.admin_key = Some(ADMIN.to_owned());
    config
}

/// Lists the tenants.
async fn call(port: u16, scheme: &str, tls: Option<ClientTlsConfig>) -> Result<usize, String> {
    let endpoint = Channel::from_shared(format!("{scheme}://localhost:{port}")).unwrap();
    let endpoint = match tls {
        Some(tls) => endpoint.tls_config(tls).unwrap(),
        None => endpoint,
    };
    let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    let mut request = Request::new(pb::ListTenantsRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {ADMIN}").parse().unwrap());
    let answer =
        AdminServiceClient::new(channel).list_tenants(request).await.map_err(|status| format!("{status:?}"))?;
    Ok(answer.into_inner().tenants.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_trusts_the_authority_gets_in_and_nobody_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Server::start(config(&dir.path().join("data"), files(dir.path(), &authority, false))).await.unwrap();
    let port = server.address().port();
    let trusting = |authority: &Authority| ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem));
    assert_eq!(call(port, "https", Some(trusting(&authority))).await, Ok(1));
    call(port, "https", Some(trusting(&stranger))).await.unwrap_err();
    call(port, "http", None).await.unwrap_err();
    let other_name = trusting(&authority).domain_name("elsewhere.example");
    call(port, "https", Some(other_name)).await.unwrap_err();
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_a_certificate_where_they_must() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Server::start(config(&dir.path().join("data"), files(dir.path(), &authority, true))).await.unwrap();
    let port = server.address().port();
    let trusting = || ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem));
    let showing = |of: &Authority| {
        let (certificate, key) = of.certify("shop", ExtendedKeyUsagePurpose::ClientAuth);
        trusting().identity(Identity::from_pem(certificate, key))
    };
    assert_eq!(call(port, "https", Some(showing(&authority))).await, Ok(1));
    call(port, "https", Some(trusting())).await.unwrap_err();
    call(port, "https", Some(showing(&stranger))).await.unwrap_err();
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_both_locks_or_none_at_all_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let locked = || {
        let mut config = config(&dir.path().join("data"), files(dir.path(), &authority, false));
        config.listen = ([0, 0, 0, 0], 0).into();
        config
    };
    let refused = |config: Config| async { Server::start(config).await.map(drop).unwrap_err().to_string() };
    let told = refused(Config { tls: None, ..locked() }).await;
    assert!(told.contains("--tls-cert") && told.contains("--require-auth"), "{told}");
    let told = refused(Config { require_auth: false, ..locked() }).await;
    assert!(told.contains("--require-auth"), "{told}");
    Server::start(locked()).await.unwrap().stop().await.unwrap();

    for (spoiled, text) in [("server.pem", "no certificate"), ("server.key", "-----BEGIN nothing")] {
        let config = locked();
        std::fs::write(dir.path().join(spoiled), text).unwrap();
        let told = refused(config).await;
        assert!(told.contains("encryption cannot be set up"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_without_a_restart_and_bad_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new(), Authority::new());
    let server = Server::start(config(&dir.path().join("data"), files(dir.path(), &first, true))).await.unwrap();
    let port = server.address().port();
    let of = |authority: &Authority| {
        let (certificate, key) = authority.certify("shop", ExtendedKeyUsagePurpose::ClientAuth);
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem));
        tls.identity(Identity::from_pem(certificate, key))
    };
    assert_eq!(call(port, "https", Some(of(&first))).await, Ok(1));
    // A key that does not fit its certificate, as between the two writes of a rotation; and one that everybody can read.
    let key = dir.path().join("server.key");
    let fits = std::fs::read_to_string(&key).unwrap();
    std::fs::write(&key, second.certify("localhost", ExtendedKeyUsagePurpose::ServerAuth).1).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(call(port, "https", Some(of(&first))).await, Ok(1), "those of before stay");
    std::fs::write(&key, fits).unwrap();
    // Another authority, for both sides.
    files(dir.path(), &second, true);
    let begun = tokio::time::Instant::now();
    while call(port, "https", Some(of(&second))).await != Ok(1) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the new certificates are not seen");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    call(port, "https", Some(of(&first))).await.unwrap_err();
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_agree_on_encryption_in_time_is_hung_up_on_and_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = Server::start(config(&dir.path().join("data"), files(dir.path(), &authority, false))).await.unwrap();
    let port = server.address().port();
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let trusting = || ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem));
    let begun = tokio::time::Instant::now();
    for mut stream in silent {
        assert_eq!(call(port, "https", Some(trusting())).await, Ok(1));
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(60), "{took:?}");
    server.stop().await.unwrap();
}

/// A controller's server over TLS, and what it was posted: the head of each request that came in whole.
struct Controller {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Controller {
    async fn listen(authority: &Authority, answer: String) -> Self {
        let (certificate, key) = authority.certify("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let this = Self { port: listener.local_addr().unwrap().port(), heard: Arc::default() };
        let heard = Arc::clone(&this.heard);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Who does not believe this certificate goes away here.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"}") && stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
                let text = String::from_utf8(bytes).unwrap();
                heard.lock().unwrap().push(text);
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        this
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn heard(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

/// One request over HTTP/1.1; what is answered.
async fn ask(at: SocketAddr, text: String) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// What a server counted under this name and these labels.
async fn counted(at: SocketAddr, line: &str) -> u64 {
    let text = ask(at, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned()).await;
    let found = text.lines().find_map(|told| told.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_default()
}

/// Calls back go over TLS to hosts that were named and that the authority vouches for, and to nobody else: not to a host with
/// a stranger's certificate, not where a redirect leads, and not into a private network, unless the operator allows that.
#[tokio::test(flavor = "multi_thread")]
async fn callbacks_go_over_tls_to_whom_they_should_and_follow_nobody_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let tls = files(dir.path(), &authority, true);
    let taken = || "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned();
    let good = Controller::listen(&authority, taken()).await;
    let false_one = Controller::listen(&stranger, taken()).await;
    let elsewhere = Controller::listen(&authority, taken()).await;
    let location = format!("location: https://{}/opendsr/callbacks\r\n", elsewhere.host());
    let leads = format!("HTTP/1.1 307 Temporary Redirect\r\n{location}content-length: 0\r\n\r\n");
    let redirects = Controller::listen(&authority, leads).await;
    for allow_private_callbacks in [false, true] {
        let opendsr = OpenDsr {
            domain: "localhost".to_owned(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            identities: Vec::new(),
            callback_hosts: [&good, &false_one, &redirects, &elsewhere].map(Controller::host).to_vec(),
            callback_authority: tls.client_authority.clone(),
            allow_private_callbacks,
        };
        let metrics_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let data = dir.path().join(format!("data-{allow_private_callbacks}"));
        let config = Config { opendsr: Some(opendsr), metrics_listen, ..House::config(&data) };
        let server = Server::start(config).await.unwrap();
        let urls = [&good, &false_one, &redirects].map(|one| format!("\"https://{}/opendsr/callbacks\"", one.host()));
        let body = format!(
            "{{\"regulation\": \"gdpr\", \"subject_request_id\": \"a7551968-d5d6-44b2-9831-815ac9017798\", \
             \"subject_request_type\": \"erasure\", \"submitted_time\": \"2026-10-02T15:00:00Z\", \
             \"subject_identities\": [{{\"identity_type\": \"email\", \"identity_format\": \"raw\", \
             \"identity_value\": \"ada@harbour-mail.net\"}}], \"status_callback_urls\": [{}]}}",
            urls.join(", ")
        );
        let head =
            "POST /v2/requests HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
        let page = format!("{head}\r\norigin: http://localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let page = ask(server.address(), page).await;
        assert!(page.starts_with("HTTP/1.1 403") && page.contains("ORIGIN_NOT_ALLOWED"), "{page}");
        let answer = ask(server.address(), format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        let metrics = server.metrics_address().unwrap();
        let failed = "onefold_opendsr_callbacks_total{outcome=\"failed\"}";
        // Those that fail are called again, so that what must not happen had its time to.
        let wanted = if allow_private_callbacks { 4 } else { 6 };
        for _ in 0..600 {
            if counted(metrics, failed).await >= wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(counted(metrics, failed).await >= wanted);
        let heard = [&good, &false_one, &elsewhere].map(Controller::heard);
        assert_eq!(heard, [usize::from(allow_private_callbacks), 0, 0]);
        assert_eq!(redirects.heard() > 0, allow_private_callbacks);
        let line =
            "onefold_rpc_duration_seconds_count{service=\"opendsr\",method=\"CreatePrivacyRequest\",code=\"OK\"}";
        assert_eq!(counted(metrics, line).await, 1);
        server.stop().await.unwrap();
    }
    let heard = good.heard.lock().unwrap().clone();
    assert!(heard[0].starts_with("POST /opendsr/callbacks HTTP/1.1\r\n"), "{}", heard[0]);
    assert!(heard[0].contains("x-opendsr-signature: ") && heard[0].contains("\"request_status\":\"pending\""));
}
