//! Keys over HTTPS, of an issuer on loopback with an authority of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer as Authority, KeyPair as CertificateKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring as provider;

use super::*;

/// An issuer's server: how often it was asked, and what it answers.
struct Server {
    url: String,
    authority: PathBuf,
    asked: Arc<AtomicUsize>,
    answer: Arc<std::sync::Mutex<Vec<u8>>>,
    _dir: tempfile::TempDir,
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

impl Server {
    async fn open() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = CertificateKey::generate().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let authority = dir.path().join("ca.pem");
        std::fs::write(&authority, params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Authority::new(params, key);
        let own = CertificateKey::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/keys?v=1", listener.local_addr().unwrap().port());
        let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
        let (counts, says) = (Arc::clone(&asked), Arc::clone(&answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, counts, says) = (acceptor.clone(), Arc::clone(&counts), Arc::clone(&says));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut request = vec![0; 4_096];
                    let length = stream.read(&mut request).await.unwrap_or(0);
                    let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
                    assert!(request.starts_with("get /keys?v=1 http/1.1\r\n") && request.contains("host: localhost:"));
                    counts.fetch_add(1, Ordering::SeqCst);
                    let answer = says.lock().unwrap().clone();
                    if answer.is_empty() {
                        // Never says anything.
                        std::future::pending::<()>().await;
                    }
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { url, authority, asked, answer, _dir: dir }
    }

    fn says(&self, answer: Vec<u8>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn tokens(&self, asked_every_min: Duration) -> Tokens {
        let issuer = Issuer { authority: Some(self.authority.clone()), ..issuer(KeysAt::Url(self.url.clone())) };
        let mut tokens = Tokens::open(issuer, [9; 32]).unwrap();
        tokens.asked_every_min = asked_every_min;
        tokens
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_asked_for_once_a_minute_whoever_shows_whatever() {
    let server = Server::open().await;
    let (old, new) = (Signer::ed(1), Signer::ed(2));
    server.says(ok(&list(&[old.jwk("old")])));
    let tokens = Arc::new(server.tokens(ASKED_EVERY_MIN));
    let token = old.token("old", &claims());
    assert_eq!(tokens.caller(&token, at(NOW)), Err(Refused::KeyUnknown), "nobody was asked yet");
    let strangers: Vec<_> = (0..50)
        .map(|_| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { tokens.ask_again().await })
        })
        .collect();
    for stranger in strangers {
        stranger.await.unwrap();
    }
    assert_eq!(server.asked(), 1);
    assert!(tokens.caller(&token, at(NOW)).is_ok());

    let tokens = server.tokens(Duration::ZERO);
    tokens.ask_again().await;
    assert!(tokens.caller(&token, at(NOW)).is_ok());
    let next = new.token("new", &claims());
    assert_eq!(tokens.caller(&next, at(NOW)), Err(Refused::KeyUnknown));
    server.says(ok(&list(&[new.jwk("new")])));
    tokens.ask_again().await;
    assert!(tokens.caller(&next, at(NOW)).is_ok());
    assert_eq!(tokens.caller(&token, at(NOW)), Err(Refused::KeyUnknown), "withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_leaves_the_keys_as_they_were() {
    let server = Server::open().await;
    let signer = Signer::ed(1);
    let keys = list(&[signer.jwk("k")]);
    server.says(ok(&keys));
    let tokens = server.tokens(Duration::ZERO);
    tokens.ask_again().await;
    let token = signer.token("k", &claims());
    assert!(tokens.caller(&token, at(NOW)).is_ok());
    let moved = "HTTP/1.1 302 Found\r\nlocation: https://evil.example/keys\r\ncontent-length: 0\r\n\r\n";
    let answers = [
        moved.as_bytes().to_vec(),
        b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH".to_vec(),
        ok("<html>"),
        ok("{\"keys\":[]}"),
        ok(&format!("{{\"keys\":[], \"x\": \"{}\"}}", "x".repeat(1 << 20))),
        ok(&keys)[..60].to_vec(),
        Vec::new(),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        server.says(answer);
        let begun = tokio::time::Instant::now();
        tokens.ask_again().await;
        assert!(begun.elapsed() < Duration::from_secs(20), "answer {number}");
        assert!(tokens.caller(&token, at(NOW)).is_ok(), "answer {number}");
        assert_eq!(server.asked(), number + 2);
    }
    // Somebody else in its place.
    let other = Server::open().await;
    other.says(ok(&keys));
    let issuer = Issuer { authority: Some(server.authority.clone()), ..issuer(KeysAt::Url(other.url.clone())) };
    let tokens = Tokens::open(issuer, [9; 32]).unwrap();
    tokens.ask_again().await;
    assert_eq!((other.asked(), tokens.caller(&token, at(NOW))), (0, Err(Refused::KeyUnknown)));
}
