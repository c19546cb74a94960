//! What keeps strangers out, beside who may call what: nothing begun with a key outlives it, a server that nobody may call
//! does not start, no secret is read that everybody can read, and connections of strangers do not stay.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use onefold_core::fragment::ObservedAt;
use onefold_proto::v1 as pb;
use onefold_proto::v1::account_service_client::AccountServiceClient;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_proto::v1::consent_service_client::ConsentServiceClient;
use onefold_proto::v1::ingest_service_client::IngestServiceClient;
use onefold_proto::v1::profile_service_client::ProfileServiceClient;
use onefold_server::clock::{Clock, SystemClock};
use onefold_server::{Config, Server};
use onefold_tests::calls::{ask, assert_refused, with_key};
use onefold_tests::{House, seconds};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

const ADMIN: &str = "an-administrators-key-of-32-chars-or-more";
const ALL: [pb::Role; 6] = [
    pb::Role::Ingest,
    pb::Role::Reader,
    pb::Role::Steward,
    pb::Role::PrivacyOfficer,
    pb::Role::Auditor,
    pb::Role::Admin,
];
/// Long enough for a word that is said within a second or so on a machine under load.
const SOON: Duration = Duration::from_secs(20);

fn config(data: &Path) -> Config {
    Config { require_auth: true, admin_key: Some(ADMIN.to_owned()), ..House::config(data) }
}

async fn channel(house: &House) -> Channel {
    Channel::from_shared(format!("http://{}", house.server().address())).unwrap().connect().await.unwrap()
}

async fn create(channel: &Channel, key: pb::ApiKey) -> pb::CreateApiKeyResponse {
    let key = pb::ApiKey { roles: ALL.iter().map(|role| *role as i32).collect(), ..key };
    let request = pb::CreateApiKeyRequest { api_key: Some(key), ..Default::default() };
    AdminServiceClient::new(channel.clone()).create_api_key(with_key(request, Some(ADMIN))).await.unwrap().into_inner()
}

/// A clock that can be set ahead.
#[derive(Debug)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> ObservedAt {
        ObservedAt(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }
}

/// Opens every kind of stream with a key, on which nothing happens; how each of them ends.
async fn silent_streams(channel: &Channel, key: &str) -> tokio::task::JoinSet<(&'static str, Result<(), Status>)> {
    let mut ends = tokio::task::JoinSet::new();
    let watch = with_key(pb::WatchProfilesRequest::default(), Some(key));
    let mut feed = ProfileServiceClient::new(channel.clone()).watch_profiles(watch).await.unwrap().into_inner();
    ends.spawn(async move { ("WatchProfiles", feed.message().await.map(drop)) });
    // What is to be sent never comes; the sender is kept, so that the stream stays open.
    macro_rules! open {
        ($client:ident, $method:ident, $name:literal) => {{
            let (kept, never) = tokio::sync::mpsc::channel(1);
            let request = with_key(ReceiverStream::new(never), Some(key));
            let mut answers = $client::new(channel.clone()).$method(request).await.unwrap().into_inner();
            ends.spawn(async move {
                let ended = answers.message().await.map(drop);
                drop(kept);
                ($name, ended)
            });
        }};
    }
    open!(IngestServiceClient, stream_fragments, "StreamFragments");
    open!(ConsentServiceClient, stream_consents, "StreamConsents");
    open!(ConsentServiceClient, decide_contacts, "DecideContacts");
    let (channel, key) = (channel.clone(), key.to_owned());
    ends.spawn(async move {
        let (_kept, never) = tokio::sync::mpsc::channel(1);
        let request = with_key(ReceiverStream::new(never), Some(&key));
        ("ImportHierarchy", AccountServiceClient::new(channel).import_hierarchy(request).await.map(drop))
    });
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_on_which_nothing_happens_end_with_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Ahead(AtomicI64::new(0)));
    let house = House::open_at(config(&dir.path().join("data")), clock.clone()).await;
    let channel = channel(&house).await;
    for expires in [false, true] {
        let now = clock.now().0 / 1_000_000;
        let expire_time = expires.then(|| seconds(now + 3_600));
        let made = create(&channel, pb::ApiKey { expire_time, ..Default::default() }).await;
        let kept = create(&channel, pb::ApiKey::default()).await.secret;
        let mut ends = silent_streams(&channel, &made.secret).await;
        let mut others = silent_streams(&channel, &kept).await;
        if expires {
            clock.0.fetch_add(3_601 * 1_000_000, Ordering::SeqCst);
        } else {
            let revoke = pb::RevokeApiKeyRequest { name: made.api_key.unwrap().name, ..Default::default() };
            AdminServiceClient::new(channel.clone()).revoke_api_key(with_key(revoke, Some(ADMIN))).await.unwrap();
        }
        let mut ended = 0;
        while let Some(stream) = tokio::time::timeout(SOON, ends.join_next()).await.expect("soon") {
            let (name, how) = stream.unwrap();
            assert_refused(name, how, Code::Unauthenticated, "CREDENTIALS_INVALID");
            ended += 1;
        }
        assert_eq!(ended, 5);
        assert!(others.try_join_next().is_none(), "streams of another key go on");
        others.abort_all();
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_may_call_says_how_to_make_the_first_key() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let alone = || Config { admin_key: None, ..config(&data) };
    let told = Server::start(alone()).await.map(drop).unwrap_err().to_string();
    for word in ["--require-auth", "--admin-key-file", "openssl rand", "onefold key create"] {
        assert!(told.contains(word), "{told}");
    }
    // With a key that was made before, it serves without the administrator's.
    let house = House::open_with(config(&data)).await;
    let secret = create(&channel(&house).await, pb::ApiKey::default()).await.secret;
    house.close().await;
    let house = House::open_with(alone()).await;
    let get = "/onefold.v1.AdminService/GetTenant";
    ask(&channel(&house).await, get, vec![], Some(&secret)).await.unwrap();
    let refused = ask(&channel(&house).await, get, vec![], Some(ADMIN)).await;
    assert_refused("the administrator of before", refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_everybody_can_read_and_keys_that_are_guessed_start_no_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = |text: &str, mode: u32| {
        let path = dir.path().join("secret");
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Some(path)
    };
    let data = dir.path().join("data");
    let (root, strange) = ("7".repeat(64), "0123456789abcdef0123456789abcdef");
    let refused = |config: Config| async { Server::start(config).await.map(drop).unwrap_err().to_string() };
    let told = refused(Config { root_key_file: file(&root, 0o644), ..config(&data) }).await;
    assert!(told.contains("chmod 600") && told.contains("root key"), "{told}");
    let told = refused(Config { admin_key_file: file(strange, 0o644), admin_key: None, ..config(&data) }).await;
    assert!(told.contains("chmod 600") && told.contains("admin key"), "{told}");
    let told = refused(Config { admin_key: Some("ab".repeat(20)), ..config(&data) }).await;
    assert!(told.contains("easy to guess"), "{told}");
    let fine = Config { admin_key_file: file(strange, 0o600), admin_key: None, ..config(&data) };
    Server::start(fine).await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_answers_on_loopback_and_beyond_it_where_it_is_switched_on() {
    let dir = tempfile::tempdir().unwrap();
    for (listen, reflection, answers) in
        [([127, 0, 0, 1], false, true), ([0, 0, 0, 0], false, false), ([0, 0, 0, 0], true, true)]
    {
        let mut config = House::config(&dir.path().join("data"));
        (config.listen, config.allow_insecure_remote, config.reflection) = ((listen, 0).into(), true, reflection);
        let server = Server::start(config).await.unwrap();
        let address = format!("http://127.0.0.1:{}", server.address().port());
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        // list_services
        let answer =
            ask(&channel, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", vec![0x3a, 0], None).await;
        match answers {
            true => assert!(String::from_utf8_lossy(&answer.unwrap()).contains("onefold.v1.ProfileService")),
            false => assert_eq!(answer.unwrap_err().code(), Code::Unimplemented, "{listen:?}"),
        }
        drop(channel);
        server.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_for_every_tenant_are_no_affair_of_the_default_tenants() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open_with(config(&dir.path().join("data"))).await;
    let channel = channel(&house).await;
    let wide = create(&channel, pb::ApiKey { all_tenants: true, ..Default::default() }).await;
    let own = create(&channel, pb::ApiKey::default()).await;
    let name = |made: &pb::CreateApiKeyResponse| made.api_key.clone().unwrap().name;
    let mut admin = AdminServiceClient::new(channel);
    for (key, sees) in [(&own, vec![name(&own)]), (&wide, vec![name(&wide), name(&own)])] {
        let list = with_key(pb::ListApiKeysRequest::default(), Some(&key.secret));
        let listed = admin.list_api_keys(list).await.unwrap().into_inner();
        let mut names: Vec<String> = listed.api_keys.into_iter().map(|key| key.name).collect();
        names.sort();
        let mut sees = sees;
        sees.sort();
        assert_eq!(names, sees);
    }
    // To take one back, or one that nobody ever made, is the same to them.
    let unheard = format!("tenants/default/apiKeys/{}", "0".repeat(16));
    let mut told = Vec::new();
    for name in [name(&wide), unheard] {
        let revoke = pb::RevokeApiKeyRequest { name, ..Default::default() };
        let status = admin.revoke_api_key(with_key(revoke, Some(&own.secret))).await.unwrap_err();
        told.push((status.code(), status.message().to_owned(), status.details().to_vec()));
    }
    assert_eq!(told[0], told[1]);
    house.close().await;
}

/// A connection that tells when the server closes it.
async fn tapped(server: SocketAddr) -> (Channel, tokio::task::JoinHandle<()>) {
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = between.local_addr().unwrap();
    let closed = tokio::spawn(async move {
        let (near, _) = between.accept().await.unwrap();
        let far = TcpStream::connect(server).await.unwrap();
        let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
        let sends = tokio::spawn(async move { tokio::io::copy(&mut near_in, &mut far_out).await });
        let _ = tokio::io::copy(&mut far_in, &mut near_out).await;
        sends.abort();
    });
    (Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap(), closed)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_strangers_and_idle_ones_are_closed_and_busy_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let wait = Duration::from_millis(1_500);
    let config = Config { first_call_wait: wait, idle_wait: wait, ..config(&dir.path().join("data")) };
    let house = House::open_with(config).await;
    let get = "/onefold.v1.AdminService/GetTenant";
    let busy = channel(&house).await;
    let watch = with_key(pb::WatchProfilesRequest::default(), Some(ADMIN));
    let refused = ProfileServiceClient::new(busy.clone()).watch_profiles(watch).await.map(drop);
    assert_refused("an administrator is no reader", refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    let reader = create(&busy, pb::ApiKey::default()).await.secret;
    let watch = with_key(pb::WatchProfilesRequest::default(), Some(&reader));
    let mut feed = ProfileServiceClient::new(busy.clone()).watch_profiles(watch).await.unwrap().into_inner();

    // A call that was refused does not count: the stranger is gone, however often they knock.
    let mut wires = Vec::new();
    for key in [None, Some(ADMIN)] {
        let (channel, closed) = tapped(house.server().address()).await;
        let answer = ask(&channel, get, vec![], key).await;
        assert_eq!(answer.is_ok(), key.is_some());
        wires.push((channel, closed));
    }
    let begun = tokio::time::Instant::now();
    for (channel, closed) in wires {
        tokio::time::timeout(SOON, closed).await.expect("closed by the server").unwrap();
        drop(channel);
    }
    assert!(begun.elapsed() < SOON);
    tokio::time::sleep(wait).await;
    let still = tokio::time::timeout(Duration::from_millis(100), feed.message()).await;
    assert!(still.is_err(), "a stream is under way: {still:?}");
    let mut mute = TcpStream::connect(house.server().address()).await.unwrap();
    let _ = mute.read_to_end(&mut Vec::new()).await;
    drop((feed, busy));
    house.close().await;
}
