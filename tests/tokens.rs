//! Tokens of an OpenID Connect issuer over a real server: the same table as for keys decides, the same tenants are reached or
//! not, streams end with the token, and nothing of the subject is told.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use onefold_core::access::Role;
use onefold_core::fragment::ObservedAt;
use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_proto::v1::profile_service_client::ProfileServiceClient;
use onefold_server::clock::Clock;
use onefold_server::tokens::{Issuer, KeysAt};
use onefold_server::{Config, Server, roles_allowed};
use onefold_tests::calls::{ask, assert_refused, methods, path, with_key};
use onefold_tests::{House, reason};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;

const ADMIN: &str = "an-administrators-key-of-32-chars-or-more";
const NOW: i64 = 1_800_000_000;
const ROLES: [(&str, Role); 6] = [
    ("ingest", Role::Ingest),
    ("reader", Role::Reader),
    ("steward", Role::Steward),
    ("privacy-officer", Role::PrivacyOfficer),
    ("auditor", Role::Auditor),
    ("admin", Role::Admin),
];

#[derive(Debug)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> ObservedAt {
        ObservedAt(self.0.load(Ordering::SeqCst))
    }
}

/// The issuer.
struct Signer(Ed25519KeyPair);

impl Signer {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn keys(&self) -> String {
        let x = BASE64.encode(self.0.public_key());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x}]}).to_string()
    }

    fn token(&self, roles: &Value, tenant: &Value) -> String {
        let claims = json!({
            "iss": "https://id.example.org/", "aud": ["onefold"], "sub": "ada.canary@example.org", "exp": NOW + 600,
            "realm_access": {"roles": roles}, "tenant": tenant,
        });
        let head = json!({"alg": "EdDSA", "kid": "one"});
        let message = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
        format!("{message}.{}", BASE64.encode(self.0.sign(message.as_bytes())))
    }
}

fn config(dir: &Path, signer: &Signer) -> Config {
    let keys = dir.join("jwks.json");
    std::fs::write(&keys, signer.keys()).unwrap();
    let oidc = Issuer {
        issuer: "https://id.example.org/".to_owned(),
        audience: "onefold".to_owned(),
        keys: KeysAt::File(keys),
        authority: None,
        roles_claim: "realm_access.roles".to_owned(),
        role_prefix: String::new(),
        tenant_claim: "tenant".to_owned(),
    };
    let admin_key = Some(ADMIN.to_owned());
    Config { require_auth: true, oidc: Some(oidc), admin_key, ..House::config(&dir.join("data")) }
}

async fn open(dir: &Path, signer: &Signer) -> (House, Channel, Arc<Hand>) {
    let clock = Arc::new(Hand(AtomicI64::new(NOW * 1_000_000)));
    let house = House::open_at(config(dir, signer), clock.clone()).await;
    let address = format!("http://{}", house.server().address());
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    for name in ["tenants/north", "tenants/south"] {
        let tenant = pb::Tenant { name: name.to_owned(), ..Default::default() };
        let request = pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        AdminServiceClient::new(channel.clone()).create_tenant(with_key(request, Some(ADMIN))).await.unwrap();
    }
    (house, channel, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_roles_holds_for_tokens_too_on_every_rpc() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::new(1);
    let (house, channel, _) = open(dir.path(), &signer).await;
    let mut refused = 0;
    for (name, role) in ROLES {
        let token = signer.token(&json!([name, "superuser", "offline_access"]), &json!("default"));
        for method in methods() {
            let path = path(&method);
            let answer = ask(&channel, &path, vec![], Some(&token)).await;
            let why = answer.err().map(|status| reason(&status)).unwrap_or_default();
            if roles_allowed(&path).unwrap().contains(&role) {
                let of_all = ["/CreateTenant", "/ListTenants", "/StreamBackup", "/VerifyLog"];
                let of_all = of_all.iter().any(|end| path.ends_with(end));
                assert_eq!(why == "TENANT_NOT_ALLOWED", of_all, "{path} {name}: {why}");
                assert!(!why.starts_with("CREDENTIALS") && why != "ROLE_NOT_ALLOWED", "{path} {name}: {why}");
            } else {
                assert_eq!(why, "ROLE_NOT_ALLOWED", "{path} {name}");
                refused += 1;
            }
        }
    }
    assert!(refused > 200, "{refused}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_reaches_the_tenants_that_it_names_and_others_look_as_if_they_were_not() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::new(1);
    let (house, channel, _) = open(dir.path(), &signer).await;
    let get = "/onefold.v1.AdminService/GetTenant";
    let list = "/onefold.v1.AdminService/ListTenants";
    let name = |name: &str| prost::Message::encode_to_vec(&pb::GetTenantRequest { name: name.to_owned() });
    let all = json!(["admin"]);
    let table = [
        (json!("north"), vec!["tenants/north"], false),
        (json!(["north", "tenants/south"]), vec!["tenants/north", "tenants/south"], false),
        (json!("*"), vec!["tenants/north", "tenants/south", ""], true),
        (json!(null), vec![], false),
        (json!("nor"), vec![], false),
    ];
    for (claim, reached, every) in table {
        let token = signer.token(&all, &claim);
        let mut kept_out = Vec::new();
        for tenant in ["tenants/north", "tenants/south", "", "tenants/nowhere"] {
            let answer = ask(&channel, get, name(tenant), Some(&token)).await;
            if reached.contains(&tenant) {
                assert!(answer.is_ok(), "{claim} {tenant}: {answer:?}");
            } else {
                let status = answer.unwrap_err();
                kept_out.push((status.code(), status.message().to_owned(), status.details().to_vec()));
            }
        }
        kept_out.dedup();
        assert_eq!(kept_out.len(), 1, "those that are there and those that are not look alike: {claim}");
        assert_eq!(ask(&channel, list, vec![], Some(&token)).await.is_ok(), every, "{claim}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_no_good_look_like_keys_that_are_none_and_streams_end_with_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::new(1);
    let (house, channel, clock) = open(dir.path(), &signer).await;
    let get = "/onefold.v1.AdminService/GetTenant";
    let good = signer.token(&json!(["reader"]), &json!("*"));
    ask(&channel, get, vec![], Some(&good)).await.unwrap();
    let stranger = Signer::new(2).token(&json!(["admin"]), &json!("*"));
    let unknown = good.replacen(
        &BASE64.encode(json!({"alg": "EdDSA", "kid": "one"}).to_string()),
        &BASE64.encode(r#"{"alg":"EdDSA","kid":"two"}"#),
        1,
    );
    assert_ne!(unknown, good);
    let mut told = Vec::new();
    for bad in ["ofk_0_0", &stranger, &unknown, "a.b.c", &good[..good.len() - 2], &format!("{good}x")] {
        let status = ask(&channel, get, vec![], Some(bad)).await.unwrap_err();
        assert_eq!(reason(&status), "CREDENTIALS_INVALID", "{bad}");
        assert!(!format!("{status:?}").contains("canary"));
        told.push((status.message().to_owned(), status.details().to_vec()));
    }
    told.dedup();
    assert_eq!(told.len(), 1);
    let watch = with_key(pb::WatchProfilesRequest::default(), Some(&good));
    let mut feed = ProfileServiceClient::new(channel.clone()).watch_profiles(watch).await.unwrap().into_inner();
    // Its time and the leeway are over.
    clock.0.fetch_add(661 * 1_000_000, Ordering::SeqCst);
    let ended = tokio::time::timeout(Duration::from_secs(20), feed.message()).await.expect("soon");
    assert_refused("the feed", ended.map(drop), Code::Unauthenticated, "CREDENTIALS_INVALID");
    assert_refused("over", ask(&channel, get, vec![], Some(&good)).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_issuer_that_cannot_be_used_start_no_server_and_an_issuer_is_enough_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::new(1);
    let alone = Config { admin_key: None, ..config(dir.path(), &signer) };
    Server::start(alone).await.unwrap().stop().await.unwrap();
    let broken = config(dir.path(), &signer);
    std::fs::write(dir.path().join("jwks.json"), "{}").unwrap();
    let told = Server::start(broken).await.map(drop).unwrap_err().to_string();
    assert!(told.contains("jwks.json") && told.contains("keys"), "{told}");
    let mut plain = config(dir.path(), &signer);
    plain.oidc.as_mut().unwrap().keys = KeysAt::Url("http://id.example.org/keys".to_owned());
    let told = Server::start(plain).await.map(drop).unwrap_err().to_string();
    assert!(told.contains("https://"), "{told}");
}
