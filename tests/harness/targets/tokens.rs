//! What callers show and bring back: page tokens, unsubscribe tokens, API keys, tokens of an issuer and its list of keys. Of
//! each kind there is one that is good, and no other is.

use std::fs;
use std::sync::{Mutex, OnceLock, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use onefold_core::fragment::ObservedAt;
use onefold_proto::v1 as pb;
use onefold_server::Config;
use onefold_server::tokens::{Issuer, KeysAt, Tokens};
use prost::Message;
use ring::signature::{Ed25519KeyPair, KeyPair};
use tokio::runtime::Runtime;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{choice, edited};
use crate::calls::ask;
use crate::{House, identifier, person};

const ADMIN: &str = "an-administrators-key-of-32-chars-or-more";
const NOW: ObservedAt = ObservedAt(1_800_000_000_000_000);

/// A server, and of everything that it gave out one.
struct Given {
    runtime: Runtime,
    channel: Channel,
    page: String,
    unsubscribe: String,
    key: String,
    jwks: String,
    jwt: String,
    issuer: Issuer,
    tokens: Tokens,
    /// Held, so that they live as long as the process.
    _house: House,
    dir: tempfile::TempDir,
}

impl Given {
    fn ask<M: Message, R: Message + Default>(&self, method: &str, message: &M, key: &str) -> Result<R, Status> {
        let path = format!("/onefold.v1.{method}");
        let answer = self.runtime.block_on(ask(&self.channel, &path, message.encode_to_vec(), Some(key)))?;
        Ok(R::decode(&answer[..]).unwrap())
    }
}

/// A list of keys with one in it, and a token that this has signed.
fn signed() -> (String, String) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = BASE64.encode(pair.public_key());
    let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"one","x":"{x}"}}]}}"#);
    let claims = r#"{"iss":"https://id.example.org/","aud":["onefold"],"sub":"x","exp":1900000000,"roles":["reader"],"tenant":"*"}"#;
    let message = format!("{}.{}", BASE64.encode(r#"{"alg":"EdDSA","kid":"one"}"#), BASE64.encode(claims));
    let jwt = format!("{message}.{}", BASE64.encode(pair.sign(message.as_bytes())));
    (jwks, jwt)
}

fn given() -> &'static Given {
    static GIVEN: OnceLock<Given> = OnceLock::new();
    GIVEN.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (jwks, jwt) = signed();
        let keys = dir.path().join("jwks.json");
        fs::write(&keys, &jwks).unwrap();
        let issuer = Issuer {
            issuer: "https://id.example.org/".to_owned(),
            audience: "onefold".to_owned(),
            keys: KeysAt::File(keys),
            authority: None,
            roles_claim: "roles".to_owned(),
            role_prefix: String::new(),
            tenant_claim: "tenant".to_owned(),
        };
        let tokens = Tokens::open(issuer.clone(), [7; 32]).unwrap();
        assert!(tokens.caller(&jwt, NOW).is_ok(), "the token that should be good is");
        let admin_key = Some(ADMIN.to_owned());
        let config = Config { require_auth: true, admin_key, ..House::config(&dir.path().join("data")) };
        let (house, channel) = runtime.block_on(async {
            let house = House::open_with(config).await;
            let address = format!("http://{}", house.server().address());
            (house, Channel::from_shared(address).unwrap().connect().await.unwrap())
        });
        let empty = String::new;
        let mut given = Given {
            runtime,
            channel,
            page: empty(),
            unsubscribe: empty(),
            key: empty(),
            jwks,
            jwt,
            issuer,
            tokens,
            _house: house,
            dir,
        };
        let roles = [pb::Role::Ingest, pb::Role::Reader, pb::Role::PrivacyOfficer, pb::Role::Admin];
        let api_key = pb::ApiKey { roles: roles.map(|role| role as i32).into(), ..Default::default() };
        let request = pb::CreateApiKeyRequest { api_key: Some(api_key), ..Default::default() };
        let made: pb::CreateApiKeyResponse = given.ask("AdminService/CreateApiKey", &request, ADMIN).unwrap();
        given.key = made.secret;
        let key = given.key.clone();
        for source in ["crm", "shop", "web"] {
            let source = pb::Source { name: source.to_owned(), ..Default::default() };
            let request = pb::PutSourceRequest { source: Some(source), ..Default::default() };
            let _: pb::PutSourceResponse = given.ask("AdminService/PutSource", &request, &key).unwrap();
        }
        let fragment = person("crm", "k1", 1_700_000_000, &[("email", "ada@harbour-mail.net")], &[]);
        let put = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() };
        let _: pb::PutFragmentResponse = given.ask("IngestService/PutFragment", &put, &key).unwrap();
        let sources: pb::ListSourcesResponse = given.ask("AdminService/ListSources", &page(""), &key).unwrap();
        given.page = sources.next_page_token;
        let issue = pb::IssueUnsubscribeTokenRequest {
            identifier: Some(identifier("email", "ada@harbour-mail.net")),
            ..Default::default()
        };
        let issued: pb::IssueUnsubscribeTokenResponse =
            given.ask("ConsentService/IssueUnsubscribeToken", &issue, &key).unwrap();
        given.unsubscribe = issued.token;
        assert!(!given.page.is_empty() && !given.unsubscribe.is_empty());
        given
    })
}

fn page(token: &str) -> pb::ListSourcesRequest {
    pb::ListSourcesRequest { page_size: 1, page_token: token.to_owned(), ..Default::default() }
}

/// That something shown is taken if it is the good one, and only then; a refusal is the caller's fault.
fn only<T>(what: &str, good: bool, answer: Result<T, Status>, refusals: &[Code]) {
    match answer {
        Ok(_) => assert!(good, "another {what} than the good one is taken"),
        Err(status) => {
            assert!(!good, "the good {what} is refused: {status:?}");
            assert!(refusals.contains(&status.code()), "{what}: {status:?}");
        }
    }
}

/// Of what callers show, only what was given to them is taken.
pub fn tokens(data: &[u8]) {
    static ALONE: Mutex<()> = Mutex::new(());
    let given = given();
    let (first, raw) = choice(data);
    let rest = data.get(1..).unwrap_or_default();
    // Any text, or what is good with changes in it.
    let shown = |good: &str| match first & 1 {
        0 => raw.to_owned(),
        _ => String::from_utf8_lossy(&edited(good.as_bytes(), rest)).into_owned(),
    };
    match first >> 1 & 7 {
        0 => {
            let token = shown(&given.page);
            let answer: Result<pb::ListSourcesResponse, _> =
                given.ask("AdminService/ListSources", &page(&token), &given.key);
            only("page token", token.is_empty() || token == given.page, answer, &[Code::InvalidArgument]);
        }
        1 => {
            let token = shown(&given.unsubscribe);
            let request = pb::UnsubscribeRequest { token: token.clone(), ..Default::default() };
            let answer: Result<pb::UnsubscribeResponse, _> =
                given.ask("ConsentService/Unsubscribe", &request, &given.key);
            // Of a link that came through a mail program the case of letters may be another.
            let good = token.trim().to_lowercase() == given.unsubscribe;
            only("unsubscribe token", good, answer, &[Code::InvalidArgument, Code::NotFound]);
        }
        2 => {
            let key = shown(&given.key);
            if format!("Bearer {key}").parse::<MetadataValue<Ascii>>().is_err() {
                return;
            }
            let answer: Result<pb::ListSourcesResponse, _> = given.ask("AdminService/ListSources", &page(""), &key);
            let good = [given.key.as_str(), ADMIN].contains(&key.trim());
            only("API key", good, answer, &[Code::Unauthenticated]);
        }
        3 | 4 => {
            let token = shown(&given.jwt);
            assert_eq!(given.tokens.caller(&token, NOW).is_ok(), token == given.jwt, "a token that is not the one");
        }
        _ => {
            let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
            let path = given.dir.path().join("other.json");
            let list = if first & 1 == 0 { rest.to_vec() } else { edited(given.jwks.as_bytes(), rest) };
            fs::write(&path, &list).unwrap();
            let issuer = Issuer { keys: KeysAt::File(path), ..given.issuer.clone() };
            match Tokens::open(issuer, [7; 32]) {
                Ok(tokens) => {
                    let key = given.jwks.split("\"x\":").nth(1).unwrap().split('"').nth(1).unwrap();
                    let holds = String::from_utf8_lossy(&list).contains(key);
                    // Escapes in JSON hide a text and leave it what it is.
                    let escaped = list.contains(&b'\\');
                    let good = tokens.caller(&given.jwt, NOW).is_ok();
                    assert!(!good || holds || escaped, "a token of a key that is not in the list is taken");
                }
                Err(why) => assert!(why.contains("other.json"), "{why}"),
            }
        }
    }
}

/// What is good, of every kind, as it is and with a change.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let given = given();
    let texts = [&given.page, &given.unsubscribe, &given.key, &given.jwt, &given.jwt, &given.jwks];
    let whole = texts.iter().enumerate().map(|(kind, text)| [&[2 * kind as u8], text.as_bytes()].concat());
    let changed = (0..6_u8).flat_map(|kind| (0..40).map(move |place| vec![2 * kind + 1, 2, place, 0, 0, 1]));
    whole.chain(changed).collect()
}
