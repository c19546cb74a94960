//! Encryption over a real server: the wire is not readable, a stranger's certificate is refused on either side, and a server
//! that other machines reach starts with both locks or not at all.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_server::config::Tls;
use onefold_server::{Config, Server};
use onefold_tests::House;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::io::AsyncReadExt;
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
