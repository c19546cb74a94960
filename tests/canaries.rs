//! What must not be written down is not, however much is logged: keys, tokens, subjects, and what fragments say.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_proto::v1::ingest_service_client::IngestServiceClient;
use onefold_proto::v1::profile_service_client::ProfileServiceClient;
use onefold_server::Config;
use onefold_server::tokens::{Issuer, KeysAt};
use onefold_tests::calls::{ask, with_key};
use onefold_tests::{House, identifier, person};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use tonic::transport::Channel;

const ADMIN: &str = "canary-administrators-key-of-32-chars-or-more";

/// Everything that is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_no_token_and_nothing_of_a_person_is_logged_though_everything_is() {
    let kept = Kept::default();
    let writer = kept.clone();
    let every = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
    every.with_ansi(false).with_writer(move || writer.clone()).init();
    let dir = tempfile::tempdir().unwrap();
    let signer = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let keys = dir.path().join("jwks.json");
    let x = BASE64.encode(signer.public_key());
    std::fs::write(&keys, json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]}).to_string()).unwrap();
    let oidc = Issuer {
        issuer: "https://id.example.org/".to_owned(),
        audience: "onefold".to_owned(),
        keys: KeysAt::File(keys),
        authority: None,
        roles_claim: "roles".to_owned(),
        role_prefix: String::new(),
        tenant_claim: "tenant".to_owned(),
    };
    let house = House::open_with(Config {
        require_auth: true,
        oidc: Some(oidc),
        admin_key: Some(ADMIN.to_owned()),
        ..House::config(&dir.path().join("data"))
    })
    .await;
    let channel =
        Channel::from_shared(format!("http://{}", house.server().address())).unwrap().connect().await.unwrap();
    let claims = json!({
        "iss": "https://id.example.org/", "aud": "onefold", "sub": "canary.subject@example.org", "exp": 4_000_000_000_i64,
        "roles": ["reader", "ingest", "admin"], "tenant": "*",
    });
    let head = BASE64.encode(json!({"alg": "EdDSA", "kid": "k"}).to_string());
    let message = format!("{head}.{}", BASE64.encode(claims.to_string()));
    let token = format!("{message}.{}", BASE64.encode(signer.sign(message.as_bytes())));
    let roles = vec![pb::Role::Ingest as i32, pb::Role::Reader as i32, pb::Role::Admin as i32];
    let key = pb::ApiKey { roles, ..Default::default() };
    let request = pb::CreateApiKeyRequest { api_key: Some(key), ..Default::default() };
    let made = AdminServiceClient::new(channel.clone()).create_api_key(with_key(request, Some(ADMIN))).await.unwrap();
    let secret = made.into_inner().secret;
    let wrong = format!("{}wrong{}", &secret[..30], &secret[35..]);

    for credentials in [ADMIN, &secret, &token, &wrong, &format!("{token}x")] {
        let source = pb::Source { name: "crm".to_owned(), ..Default::default() };
        let put = pb::PutSourceRequest { source: Some(source), ..Default::default() };
        let _ = AdminServiceClient::new(channel.clone()).put_source(with_key(put, Some(credentials))).await;
        let identifiers =
            [("email", "canary-mail@harbour-mail.net"), ("phone", "+12127365099"), ("user_id", "canary-user")];
        let texts = [("given_name", "Canaryanna"), ("family_name", "Canarybird"), ("note", "canary note")];
        let fragment = person("crm", "canary-record", 1_700_000_000, &identifiers, &texts);
        let put = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() };
        let _ = IngestServiceClient::new(channel.clone()).put_fragment(with_key(put, Some(credentials))).await;
        let wanted = pb::lookup_profile_request::Key::Identifier(identifier("email", "canary-mail@harbour-mail.net"));
        let look = pb::LookupProfileRequest { key: Some(wanted), ..Default::default() };
        let _ = ProfileServiceClient::new(channel.clone()).lookup_profile(with_key(look, Some(credentials))).await;
        let _ =
            ask(&channel, "/onefold.v1.ProfileService/LookupProfile", b"\x0acanary bytes".to_vec(), Some(credentials))
                .await;
    }
    drop(channel);
    house.close().await;

    let logged = String::from_utf8_lossy(&kept.0.lock().unwrap()).to_lowercase();
    assert!(logged.contains("h2") && logged.len() > 10_000, "everything is logged");
    let bare = secret.rsplit('_').next().unwrap();
    let (claims, signature) = token.rsplit_once('.').unwrap();
    let shown = |text: &str| {
        let at = logged.find(text)?;
        Some(logged[at.saturating_sub(200)..(at + 80).min(logged.len())].to_owned())
    };
    for text in [bare, &bare[..24], signature, claims, ADMIN, "canary", "12127365099", "canarybird"] {
        assert_eq!(shown(&text.to_lowercase()), None, "{text} is logged");
    }
}
