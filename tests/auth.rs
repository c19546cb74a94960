//! Who may call what, over a real server: no RPC answers without a key, with a key of another role, or about another
//! tenant; keys end when they are over or revoked, also behind a restart; secrets are nowhere on disk.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use onefold_core::fragment::ObservedAt;
use onefold_core::hierarchy::{AccountId, AccountOrdinal};
use onefold_core::ids::{ProfileId, ProfileOrdinal};
use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_proto::v1::profile_service_client::ProfileServiceClient;
use onefold_server::clock::Clock;
use onefold_server::restore::{Ledgers, restore};
use onefold_server::roles_allowed;
use onefold_store::revocations::RevocationLedger;
use onefold_tests::backups::{back_up, restore_after};
use onefold_tests::calls::{ask, assert_refused, methods, path, with_key};
use onefold_tests::{House, reason, seconds};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Status};

const ADMIN: &str = "an-administrators-key-of-32-chars-or-more";
const ROLES: [pb::Role; 6] = [
    pb::Role::Ingest,
    pb::Role::Reader,
    pb::Role::Steward,
    pb::Role::PrivacyOfficer,
    pb::Role::Auditor,
    pb::Role::Admin,
];

async fn call(channel: &Channel, path: &str, message: Vec<u8>, key: Option<&str>) -> Result<(), Status> {
    ask(channel, path, message, key).await.map(drop)
}

async fn house(data: &Path) -> (House, Channel) {
    house_at(data, Arc::new(onefold_server::clock::SystemClock)).await
}

async fn house_at(data: &Path, clock: Arc<dyn Clock>) -> (House, Channel) {
    let mut config = House::config(data);
    config.require_auth = true;
    config.admin_key = Some(ADMIN.to_owned());
    let house = House::open_at(config, clock).await;
    let channel = connect(house.server().address()).await;
    (house, channel)
}

async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn create(
    channel: &Channel,
    by: &str,
    parent: &str,
    key: pb::ApiKey,
) -> Result<pb::CreateApiKeyResponse, Status> {
    let request = pb::CreateApiKeyRequest { parent: parent.to_owned(), api_key: Some(key), ..Default::default() };
    Ok(AdminServiceClient::new(channel.clone()).create_api_key(with_key(request, Some(by))).await?.into_inner())
}

fn of_roles(roles: &[pb::Role]) -> pb::ApiKey {
    pb::ApiKey { roles: roles.iter().map(|role| *role as i32).collect(), ..Default::default() }
}

async fn tenant(channel: &Channel, name: &str) {
    let tenant = pb::Tenant { name: name.to_owned(), ..Default::default() };
    let request = pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    AdminServiceClient::new(channel.clone()).create_tenant(with_key(request, Some(ADMIN))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_asks_for_a_key_and_for_a_role() {
    let data = tempfile::tempdir().unwrap();
    let (house, channel) = house(data.path()).await;
    let mut keys = Vec::new();
    for role in ROLES {
        keys.push((role, create(&channel, ADMIN, "", of_roles(&[role])).await.unwrap().secret));
    }
    let mut refused = 0;
    for method in methods() {
        let path = path(&method);
        let allowed = roles_allowed(&path).unwrap_or_else(|| panic!("{path} has no rule"));
        assert_refused(&path, call(&channel, &path, vec![], None).await, Code::Unauthenticated, "CREDENTIALS_MISSING");
        let invented = format!("ofk_{}_{}", "0".repeat(16), "0".repeat(64));
        let answer = call(&channel, &path, vec![], Some(&invented)).await;
        assert_refused(&path, answer, Code::Unauthenticated, "CREDENTIALS_INVALID");
        for (role, key) in &keys {
            let answer = call(&channel, &path, vec![], Some(key)).await;
            let name = role.as_str_name().replace("ROLE_", "").replace('_', "").to_lowercase();
            if allowed.iter().any(|allowed| format!("{allowed:?}").to_lowercase() == name) {
                // What it says of an empty message is its own affair; keys of one tenant do not reach the installation.
                let of_all = ["/CreateTenant", "/ListTenants", "/StreamBackup", "/VerifyLog"];
                let of_all = of_all.iter().any(|end| path.ends_with(end));
                let why = answer.err().map(|status| reason(&status)).unwrap_or_default();
                assert_eq!(why == "TENANT_NOT_ALLOWED", of_all, "{path} {name}: {why}");
                assert!(!why.starts_with("CREDENTIALS") && why != "ROLE_NOT_ALLOWED", "{path} {name}: {why}");
            } else {
                assert_refused(&path, answer, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
                refused += 1;
            }
        }
    }
    assert!(refused > 200, "{refused}");
    // A method that is none gives nothing away, reflection asks for any key, health for none.
    let unheard = call(&channel, "/onefold.v1.AdminService/Unheard", vec![], Some(ADMIN)).await;
    assert_refused("unheard", unheard, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    assert_eq!(call(&channel, reflection, vec![], None).await.unwrap_err().code(), Code::Unauthenticated);
    let shown = call(&channel, reflection, vec![], Some(&keys[0].1)).await;
    assert!(!shown.is_err_and(|status| status.code() == Code::Unauthenticated));
    call(&channel, "/grpc.health.v1.Health/Check", vec![], None).await.unwrap();
    house.close().await;
}

/// Names this tenant, and what is asked for in it, wherever the message has room for that.
fn naming(of: &MessageDescriptor, parent: &str, name: &str, depth: u8) -> Option<DynamicMessage> {
    let mut message = DynamicMessage::new(of.clone());
    let mut named = false;
    for field in of.fields().filter(|field| !field.is_list() && !field.is_map()) {
        match (field.name(), field.kind()) {
            ("parent", prost_reflect::Kind::String) => {
                message.set_field(&field, Value::String(parent.to_owned()));
                named = true;
            }
            ("name", prost_reflect::Kind::String) if depth == 0 || of.full_name() == "onefold.v1.Tenant" => {
                message.set_field(&field, Value::String(name.to_owned()));
                named = true;
            }
            (_, prost_reflect::Kind::Message(inner)) if depth < 2 => {
                if let Some(inner) = naming(&inner, parent, name, depth + 1) {
                    message.set_field(&field, Value::Message(inner));
                    named = true;
                }
            }
            _ => {}
        }
    }
    named.then_some(message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_tenant_reaches_no_other() {
    let data = tempfile::tempdir().unwrap();
    let (house, channel) = house(data.path()).await;
    tenant(&channel, "tenants/north").await;
    tenant(&channel, "tenants/south").await;
    let key = create(&channel, ADMIN, "tenants/north", of_roles(&ROLES)).await.unwrap().secret;
    let (profile, account) =
        (ProfileId::seal(ProfileOrdinal(1), &[1; 32]), AccountId::seal(AccountOrdinal(1), &[1; 32]));
    let inside = [
        String::new(),
        format!("/profiles/{profile}"),
        format!("/accounts/{account}"),
        "/judgements/1".to_owned(),
        "/models/persons".to_owned(),
        "/privacyRequests/1".to_owned(),
        format!("/apiKeys/{}", "0".repeat(16)),
    ];
    let mut open = Vec::new();
    for method in methods() {
        let path = path(&method);
        // A tenant that is there and one that is not look alike.
        for other in ["tenants/south", "tenants/nowhere"] {
            let mut kept_out = 0;
            for inside in &inside {
                let message = naming(&method.input(), other, &format!("{other}{inside}"), 0);
                let bytes = message.map(|message| message.encode_to_vec()).unwrap_or_default();
                let status = call(&channel, &path, bytes, Some(&key)).await.expect_err(&path);
                match (status.code(), reason(&status).as_str()) {
                    (Code::PermissionDenied, "TENANT_NOT_ALLOWED") => kept_out += 1,
                    // A name of another kind of thing is none.
                    (Code::InvalidArgument, "REQUEST_INVALID") if !inside.is_empty() || kept_out == 0 => {}
                    other => panic!("{path} {inside}: {other:?} {status:?}"),
                }
            }
            if kept_out == 0 {
                open.push(path.clone());
            }
        }
    }
    assert_eq!(open, Vec::<String>::new(), "these do not ask whose they are before anything else");
    // It makes no keys that reach further, and takes none away.
    let wide = pb::ApiKey { all_tenants: true, ..of_roles(&[pb::Role::Admin]) };
    let refused = create(&channel, &key, "tenants/north", wide.clone()).await.map(drop);
    assert_refused("a wide key", refused, Code::PermissionDenied, "TENANT_NOT_ALLOWED");
    let made = create(&channel, ADMIN, "", wide).await.unwrap();
    let of_default = create(&channel, ADMIN, "", of_roles(&[pb::Role::Admin])).await.unwrap();
    let name = made.api_key.unwrap().name;
    let revoke = pb::RevokeApiKeyRequest { name, ..Default::default() };
    let mut admin = AdminServiceClient::new(channel.clone());
    let refused = admin.revoke_api_key(with_key(revoke, Some(&of_default.secret))).await.map(drop);
    assert_refused("revoking a wide key", refused, Code::NotFound, "API_KEY_NOT_FOUND");
    let listed = admin.list_tenants(with_key(pb::ListTenantsRequest::default(), Some(&made.secret))).await.unwrap();
    assert_eq!(listed.into_inner().tenants.len(), 3);
    house.close().await;
}

/// A clock that stands until it is moved.
#[derive(Debug)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> ObservedAt {
        ObservedAt(self.0.load(Ordering::SeqCst))
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn files(of: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(of).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_end_when_they_are_over_or_revoked_and_never_lie_on_disk() {
    const START: i64 = 1_800_000_000;
    let clock = Arc::new(Hand(AtomicI64::new(START * 1_000_000)));
    let data = tempfile::tempdir().unwrap();
    let (house, channel) = house_at(data.path(), clock.clone()).await;
    let late = pb::ApiKey { expire_time: Some(seconds(START)), ..of_roles(&[pb::Role::Reader]) };
    let refused = create(&channel, ADMIN, "", late).await.map(drop);
    assert_refused("over before it began", refused, Code::InvalidArgument, "REQUEST_INVALID");
    let refused = create(&channel, ADMIN, "", of_roles(&[])).await.map(drop);
    assert_refused("no roles", refused, Code::InvalidArgument, "REQUEST_INVALID");
    let short = pb::ApiKey { expire_time: Some(seconds(START + 60)), ..of_roles(&[pb::Role::Reader]) };
    let short = create(&channel, ADMIN, "", short).await.unwrap().secret;
    let kept = create(&channel, ADMIN, "", of_roles(&[pb::Role::Reader])).await.unwrap().secret;
    // A repeat of a named call makes no second key and tells no secret.
    let named = pb::CreateApiKeyRequest {
        api_key: Some(of_roles(&[pb::Role::Reader])),
        request_id: "7f1c2d34-0a1b-4c5d-8e9f-001122334455".to_owned(),
        ..Default::default()
    };
    let mut admin = AdminServiceClient::new(channel.clone());
    let first = admin.create_api_key(with_key(named.clone(), Some(ADMIN))).await.unwrap().into_inner();
    let again = admin.create_api_key(with_key(named, Some(ADMIN))).await.unwrap().into_inner();
    assert_eq!(first.api_key, again.api_key);
    assert!(!first.secret.is_empty() && again.secret.is_empty());

    let state = "/onefold.v1.AdminService/GetTenant";
    for key in [&short, &kept, &first.secret] {
        call(&channel, state, vec![], Some(key)).await.unwrap();
    }
    // A feed that was begun with a key ends with it.
    let mut profiles = ProfileServiceClient::new(channel.clone());
    let watch = pb::WatchProfilesRequest { snapshot: true, ..Default::default() };
    let mut feed = profiles.watch_profiles(with_key(watch, Some(&first.secret))).await.unwrap().into_inner();
    clock.0.store((START + 60) * 1_000_000, Ordering::SeqCst);
    let answer = call(&channel, state, vec![], Some(&short)).await;
    assert_refused("over", answer, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let revoke = pb::RevokeApiKeyRequest { name: first.api_key.unwrap().name, ..Default::default() };
    for _ in 0..2 {
        let revoked = admin.revoke_api_key(with_key(revoke.clone(), Some(ADMIN))).await.unwrap().into_inner();
        assert_eq!(revoked.api_key.unwrap().revoke_time, Some(seconds(START + 60)), "the first time counts");
    }
    let answer = call(&channel, state, vec![], Some(&first.secret)).await;
    assert_refused("revoked", answer, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let source = pb::Source { name: "crm".to_owned(), ..Default::default() };
    let put = pb::PutSourceRequest { source: Some(source), ..Default::default() };
    admin.put_source(with_key(put, Some(ADMIN))).await.unwrap();
    let writer = create(&channel, ADMIN, "", of_roles(&[pb::Role::Ingest])).await.unwrap().secret;
    let fragment = onefold_tests::person("crm", "a", 1_700_000_000, &[("email", "a@harbour-mail.net")], &[]);
    let put = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() };
    let mut ingest = pb::ingest_service_client::IngestServiceClient::new(channel.clone());
    ingest.put_fragment(with_key(put, Some(&writer))).await.unwrap();
    let ended = loop {
        match feed.next().await {
            Some(Ok(message)) => assert!(message.encoded_len() < 1_000 && !format!("{message:?}").contains("Opened")),
            Some(Err(status)) => break status,
            None => panic!("the feed ended without a word"),
        }
    };
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    drop((feed, profiles, admin, ingest, channel));
    house.close().await;

    // From the checkpoint, and from the journal alone.
    for whole in [false, true] {
        if whole {
            files(data.path())
                .into_iter()
                .filter(|path| path.components().any(|part| part.as_os_str() == "checkpoint"))
                .for_each(|path| std::fs::remove_file(path).unwrap());
        }
        let (house, channel) = house_at(data.path(), clock.clone()).await;
        assert_eq!(house.server().recovered().from_checkpoint, !whole);
        call(&channel, state, vec![], Some(&kept)).await.unwrap();
        for gone in [&short, &first.secret] {
            let answer = call(&channel, state, vec![], Some(gone)).await;
            assert_refused("after a restart", answer, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
        let list = with_key(pb::ListApiKeysRequest::default(), Some(ADMIN));
        let listed = AdminServiceClient::new(channel.clone()).list_api_keys(list).await.unwrap().into_inner().api_keys;
        assert_eq!((listed.len(), listed.iter().filter(|key| key.revoke_time.is_some()).count()), (4, 1));
        drop(channel);
        house.close().await;
    }
    for path in files(data.path()) {
        let bytes = std::fs::read(&path).unwrap();
        for key in [ADMIN, &short, &kept, &first.secret, &writer] {
            let secret = key.rsplit('_').next().unwrap();
            let raw: Vec<u8> = (0..secret.len() / 2)
                .filter_map(|at| u8::from_str_radix(&secret[2 * at..2 * at + 2], 16).ok())
                .collect();
            assert!(!contains(&bytes, secret.as_bytes()), "{} holds a key", path.display());
            assert!(raw.len() < 32 || !contains(&bytes, &raw), "{} holds a key", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_admin_key_does_not_start_a_server() {
    let data = tempfile::tempdir().unwrap();
    let mut config = House::config(data.path());
    config.require_auth = true;
    config.admin_key = Some("short".to_owned());
    let refused = onefold_server::Server::start(config).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("32") && !refused.contains("`short`"), "{refused}");
}

/// A backup holds the key as good; who had it taken back since does not get in by a restore.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_revoked_since_a_backup_is_no_good_after_its_restore() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup, again) = (dir.path().join("data"), dir.path().join("backup"), dir.path().join("again"));
    let (bare, early, late) = (dir.path().join("bare"), dir.path().join("early"), dir.path().join("late"));
    let mut open = House::open(&data).await;
    back_up(&mut open, &bare).await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        let request = pb::CreateApiKeyRequest { api_key: Some(of_roles(&[pb::Role::Reader])), ..Default::default() };
        keys.push(open.admin.create_api_key(request).await.unwrap().into_inner());
    }
    let mut revoke = vec![keys[0].api_key.clone().unwrap().name];
    back_up(&mut open, &backup).await;
    // One whose row a crash keeps from the ledger: the next start appends it.
    let ledger = RevocationLedger::path(&data);
    let before = std::fs::read(&ledger).unwrap();
    revoke.push(keys[1].api_key.clone().unwrap().name);
    for name in revoke {
        let request = pb::RevokeApiKeyRequest { name, ..Default::default() };
        open.admin.revoke_api_key(request).await.unwrap();
    }
    open.close().await;
    assert_eq!(RevocationLedger::read(&ledger).unwrap().len(), 2);
    std::fs::write(&ledger, before).unwrap();
    House::open(&data).await.close().await;
    assert_eq!(RevocationLedger::read(&ledger).unwrap().len(), 2);

    restore_after(&data, &backup, &again).unwrap();
    for _ in 0..2 {
        let (house, channel) = house(&again).await;
        for (at, key) in keys.iter().enumerate() {
            let told = call(&channel, "/onefold.v1.ProfileService/LookupProfile", vec![], Some(&key.secret)).await;
            let why = reason(&told.unwrap_err());
            assert_eq!(why == "CREDENTIALS_INVALID", at < 2, "key {at}: {why}");
        }
        house.close().await;
    }
    // The new directory's own ledger says so to the next restore.
    assert_eq!(RevocationLedger::read(&RevocationLedger::path(&again)).unwrap().len(), 2);
    // A restore of a backup that knows no such key passes on what the ledger says to the restore of one that does.
    let told = |of: &Path| {
        let ledger = RevocationLedger::path(of);
        move |from: &Path, to: &Path| {
            let ledgers = Ledgers { revocations: Some(ledger.as_path()), ..Ledgers::default() };
            restore(from, to, ledgers, None).unwrap()
        }
    };
    told(&data)(&bare, &early);
    House::open(&early).await.close().await;
    assert_eq!(RevocationLedger::read(&RevocationLedger::path(&early)).unwrap().len(), 2);
    told(&early)(&backup, &late);
    let (open, channel) = house(&late).await;
    let told = call(&channel, "/onefold.v1.ProfileService/LookupProfile", vec![], Some(&keys[0].secret)).await;
    assert_eq!(reason(&told.unwrap_err()), "CREDENTIALS_INVALID");
    open.close().await;
    // Without the ledger they are good again, which the command warns of.
    let without = dir.path().join("without");
    restore(&backup, &without, Ledgers::default(), None).unwrap();
    let (house, channel) = house(&without).await;
    let told = call(&channel, "/onefold.v1.ProfileService/LookupProfile", vec![], Some(&keys[0].secret)).await;
    assert_ne!(reason(&told.unwrap_err()), "CREDENTIALS_INVALID");
    house.close().await;
}
