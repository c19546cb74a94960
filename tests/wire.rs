//! What every call can rely on, whichever service it is of: names of calls, etags, sizes, compression, browsers, health.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_server::{Config, Server};
use onefold_tests::{Clients, House, person, reason};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_types::StatusExt;

const AT: i64 = 1_700_000_000;
const FIRST: &str = "7f1c2d34-0a1b-4c5d-8e9f-001122334455";
const SECOND: &str = "7f1c2d34-0a1b-4c5d-8e9f-001122334456";

fn source(trust: u32, request_id: &str, etag: &str) -> pb::PutSourceRequest {
    let source = pb::Source { name: "crm".to_owned(), trust, etag: etag.to_owned(), ..Default::default() };
    pb::PutSourceRequest { source: Some(source), request_id: request_id.to_owned(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn named_writes_of_every_kind_are_done_once_and_answered_as_the_first_time() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;

    let west = |name: &str, display_name: &str| pb::CreateTenantRequest {
        tenant: Some(pb::Tenant {
            name: format!("tenants/{name}"),
            display_name: display_name.to_owned(),
            ..Default::default()
        }),
        request_id: FIRST.to_owned(),
    };
    let opened = house.admin.create_tenant(west("west", "West")).await.unwrap().into_inner();
    let put = house.admin.put_source(source(500, FIRST, "")).await.unwrap().into_inner();
    let namespace = pb::PutNamespaceRequest {
        namespace: Some(pb::Namespace { name: "club".to_owned(), priority: 7, ..Default::default() }),
        request_id: SECOND.to_owned(),
        ..Default::default()
    };
    let made = house.admin.put_namespace(namespace.clone()).await.unwrap().into_inner();
    // Later changes do not show in the answers to the first calls.
    house.admin.put_source(source(900, "", "")).await.unwrap();
    let mut other = namespace.clone();
    other.request_id = String::new();
    other.namespace.as_mut().unwrap().priority = 9;
    house.admin.put_namespace(other).await.unwrap();
    let survivorship = [("family_name".to_owned(), 2), ("given_name".to_owned(), 3), ("gender".to_owned(), 4)];
    let update = pb::UpdateTenantRequest {
        tenant: Some(pb::Tenant {
            name: "tenants/west".to_owned(),
            display_name: "Far west".to_owned(),
            survivorship: survivorship.into(),
            ..Default::default()
        }),
        request_id: SECOND.to_owned(),
    };
    let updated = house.admin.update_tenant(update.clone()).await.unwrap().into_inner();

    for _ in 0..2 {
        assert_eq!(house.admin.create_tenant(west("west", "West")).await.unwrap().into_inner(), opened);
        assert_eq!(house.admin.update_tenant(update.clone()).await.unwrap().into_inner(), updated);
        assert_eq!(house.admin.put_source(source(500, FIRST, "")).await.unwrap().into_inner(), put);
        assert_eq!(house.admin.put_namespace(namespace.clone()).await.unwrap().into_inner(), made);
        let refused = [
            house.admin.create_tenant(west("east", "East")).await.unwrap_err(),
            house.admin.put_source(source(501, FIRST, "")).await.unwrap_err(),
            // Another method is another call.
            house.admin.put_source(source(500, SECOND, "")).await.unwrap_err(),
        ];
        for error in refused {
            assert_eq!((error.code(), reason(&error).as_str()), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
        }
        let sources = house.admin.list_sources(pb::ListSourcesRequest::default()).await.unwrap().into_inner().sources;
        assert_eq!(sources.iter().map(|source| source.trust).collect::<Vec<_>>(), [900], "done once");
        house.close().await;
        house = House::open(&data).await;
    }
    let error = house.admin.put_source(source(500, "crm", "")).await.unwrap_err();
    assert_eq!(reason(&error), "REQUEST_INVALID");
    assert_eq!(error.get_details_bad_request().unwrap().field_violations[0].field, "request_id");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn named_replays_and_discards_are_answered_as_the_first_time() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    let asks = |name: &str| pb::DataContract { require_any_namespace: vec![name.to_owned()], ..Default::default() };
    let put_source = |contract| pb::PutSourceRequest {
        source: Some(pb::Source { name: "crm".to_owned(), contract: Some(contract), ..Default::default() }),
        ..Default::default()
    };
    house.admin.put_source(put_source(asks("email"))).await.unwrap();
    let mut ids = Vec::new();
    for key in ["1", "2", "3"] {
        ids.push(house.put(person("crm", key, AT, &[("user_id", key)], &[])).await.quarantine_id);
    }
    let discard = pb::DiscardQuarantineRequest {
        quarantine_ids: vec![ids.remove(2)],
        request_id: FIRST.to_owned(),
        ..Default::default()
    };
    let replay =
        pb::ReplayQuarantineRequest { quarantine_ids: ids, request_id: SECOND.to_owned(), ..Default::default() };
    let discarded = house.ingest.discard_quarantine(discard.clone()).await.unwrap().into_inner();
    assert_eq!(discarded.discarded_count, 1);
    house.admin.put_source(put_source(asks("user_id"))).await.unwrap();
    let replayed = house.ingest.replay_quarantine(replay.clone()).await.unwrap().into_inner();
    assert_eq!((replayed.released_count, replayed.results.len()), (2, 2));
    for _ in 0..2 {
        assert_eq!(house.ingest.discard_quarantine(discard.clone()).await.unwrap().into_inner(), discarded);
        assert_eq!(house.ingest.replay_quarantine(replay.clone()).await.unwrap().into_inner(), replayed);
        house.close().await;
        house = House::open(&data).await;
    }
    let unnamed = pb::ReplayQuarantineRequest { request_id: String::new(), ..replay };
    assert_eq!(house.ingest.replay_quarantine(unnamed).await.unwrap().into_inner().released_count, 0);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_from_an_old_reading_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    let first = house.admin.put_source(source(1, "", "")).await.unwrap().into_inner().source.unwrap().etag;
    let second = house.admin.put_source(source(2, "", &first)).await.unwrap().into_inner().source.unwrap().etag;
    let listed = house.admin.list_sources(pb::ListSourcesRequest::default()).await.unwrap().into_inner().sources;
    assert_eq!(listed[0].etag, second);
    let stale = house.admin.put_source(source(3, "", &first)).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "ETAG_STALE"));
    let help = stale.get_details_help().unwrap();
    assert!(help.links[0].url.ends_with("#etag_stale"), "{help:?}");

    let tenant = pb::GetTenantRequest { name: "tenants/default".to_owned() };
    let read = house.admin.get_tenant(tenant).await.unwrap().into_inner().tenant.unwrap();
    let update = |display_name: &str| pb::UpdateTenantRequest {
        tenant: Some(pb::Tenant { display_name: display_name.to_owned(), ..read.clone() }),
        ..Default::default()
    };
    house.admin.update_tenant(update("One")).await.unwrap();
    assert_eq!(house.admin.update_tenant(update("Two")).await.unwrap_err().code(), Code::Aborted);

    let namespaces = house.admin.list_namespaces(pb::ListNamespacesRequest::default()).await.unwrap().into_inner();
    let email = namespaces.namespaces.into_iter().find(|namespace| namespace.name == "email").unwrap();
    let put = |priority: u32| pb::PutNamespaceRequest {
        namespace: Some(pb::Namespace { priority, ..email.clone() }),
        ..Default::default()
    };
    house.admin.put_namespace(put(601)).await.unwrap();
    assert_eq!(house.admin.put_namespace(put(602)).await.unwrap_err().code(), Code::Aborted);
    house.close().await;
}

fn large(key: &str) -> pb::Fragment {
    let mut fragment = person("crm", key, AT, &[("email", &format!("{key}@harbour-mail.net"))], &[]);
    fragment.attributes =
        (0..14).map(|at| onefold_tests::text(&format!("note_{at}"), &"long and dull ".repeat(280))).collect();
    fragment
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_and_zstd_are_spoken_and_a_bomb_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    for (at, encoding) in [CompressionEncoding::Gzip, CompressionEncoding::Zstd].into_iter().enumerate() {
        let key = format!("r{at}");
        let plain = house.clients();
        let mut ingest = plain.ingest.send_compressed(encoding).accept_compressed(encoding);
        let request = pb::PutFragmentRequest { fragment: Some(large(&key)), ..Default::default() };
        let put = ingest.put_fragment(request).await.unwrap().into_inner().result.unwrap();
        assert_eq!(put.status(), pb::IngestStatus::Accepted);
        let mut profiles = plain.profiles.accept_compressed(encoding);
        let view = pb::ProfileView::Full as i32;
        let get = pb::GetProfileRequest { name: put.profile.clone(), view, ..Default::default() };
        let shown = profiles.get_profile(get).await.unwrap();
        assert_eq!(shown.metadata().get("grpc-encoding").unwrap().to_str().unwrap(), encoding.to_string());
        assert_eq!(shown.into_inner().profile.unwrap(), house.get(&put.profile).await.unwrap());
        let messages = [onefold_tests::traffic::Message::Put(large(&key)).request("", 0)];
        let mut answers = ingest.stream_fragments(tokio_stream::iter(messages)).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().result.unwrap();
        assert_eq!(answer.status(), pb::IngestStatus::Duplicate);

        // A few kilobytes that would be 64 MiB.
        let mut bomb = large("bomb");
        bomb.traits_json = "0".repeat(64 << 20);
        let bomb = pb::PutFragmentRequest { fragment: Some(bomb), ..Default::default() };
        let error = ingest.put_fragment(bomb).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
        assert_eq!(error.get_details_error_info().unwrap().metadata["limit"], (4 << 20).to_string());
    }
    house.assert_lives("after").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_bounded_in_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let put = house.put(large("r")).await;
    let bytes = house.get(&put.profile).await.unwrap().encoded_len();
    let fits = vec![put.profile.clone(); 100];
    assert_eq!(house.batch(&fits).await.unwrap().len(), 100);
    let many = vec![put.profile; ((16 << 20) / bytes + 1).min(500)];
    assert!(many.len() * bytes > 16 << 20, "{bytes}");
    let error = house.batch(&many).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::ResourceExhausted, "ANSWER_TOO_LARGE"));
    assert!(error.message().contains("read_mask"), "{}", error.message());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_metadata_is_refused_and_the_connection_lives() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let mut request = tonic::Request::new(pb::GetTenantRequest { name: "tenants/default".to_owned() });
    request.metadata_mut().insert("x-filler", "f".repeat(9 << 10).parse().unwrap());
    assert!(house.admin.get_tenant(request).await.is_err());
    house.assert_lives("after").await;
    house.close().await;
}

/// Sends one HTTP/1.1 request and reads until the other side closes or has said `enough` bytes.
async fn http1(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    // A server that does not speak HTTP/1.1 closes on the first line, which may cut off the rest: what it answers tells.
    let _ = stream.write_all(&[request.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_reach_the_server_from_named_origins_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = "/onefold.v1.AdminService/GetTenant HTTP/1.1";
    let web = "content-type: application/grpc-web+proto\r\nx-grpc-web: 1";
    let request = pb::GetTenantRequest { name: "tenants/default".to_owned() }.encode_to_vec();
    let framed = [&[0, 0, 0, 0, request.len() as u8][..], &request].concat();
    let call = |origin: &str| format!("POST {path}\r\norigin: {origin}\r\n{web}");

    let house = House::open(&dir.path().join("data")).await;
    let closed = http1(house.server().address(), &call("http://localhost:5173"), &framed).await;
    assert!(!closed.contains("200 ok") && !closed.contains("tenants/default"), "{closed}");
    house.close().await;

    let config =
        Config { web_origins: vec!["http://localhost:5173".to_owned()], ..House::config(&dir.path().join("data")) };
    let mut house = House::open_with(config).await;
    let address = house.server().address();
    let asks = "access-control-request-method: POST\r\naccess-control-request-headers: content-type,x-grpc-web";
    let preflight = |origin: &str| format!("OPTIONS {path}\r\norigin: {origin}\r\n{asks}");
    let allowed = http1(address, &preflight("http://localhost:5173"), b"").await;
    assert!(allowed.contains("access-control-allow-origin: http://localhost:5173"), "{allowed}");
    assert!(allowed.contains("x-grpc-web"), "{allowed}");
    let other = http1(address, &preflight("http://evil.example"), b"").await;
    assert!(!other.contains("access-control-allow-origin"), "{other}");
    let served = http1(address, &call("http://localhost:5173"), &framed).await;
    assert!(served.contains("200 ok") && served.contains("tenants/default"), "{served}");
    assert!(served.contains("grpc-status:0"), "the trailers come as a frame: {served}");
    let stranger = http1(address, &call("http://evil.example"), &framed).await;
    assert!(stranger.contains("403") && !stranger.contains("tenants/default"), "{stranger}");
    house.sources(&["crm"]).await;
    house.assert_lives("grpc").await;
    house.close().await;

    let config = Config { web_origins: vec!["*".to_owned()], ..House::config(&dir.path().join("data")) };
    let refused = Server::start(config).await.err().unwrap().to_string();
    assert!(refused.contains("web origin") && refused.contains("https://"), "{refused}");
}

/// Health of a service, as a number of `grpc.health.v1`: 1 serves, 2 does not.
async fn health(address: SocketAddr, service: &str) -> i32 {
    let mut client = onefold_tests::health::connect(address).await.unwrap();
    client.check(service).await.unwrap()
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(path).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_recovers_listens_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("root.key");
    // The start waits for its root key until somebody writes it.
    fifo(&key);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = Config { listen: free, root_key_file: Some(key.clone()), ..House::config(&dir.path().join("data")) };
    let starting = tokio::spawn(Server::start(config));
    let mut clients = loop {
        match Clients::connect(free).await {
            Ok(clients) => break clients,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    for service in ["", "onefold.v1.IngestService", "onefold.v1.ProfileService", "onefold.v1.AdminService"] {
        assert_eq!(health(free, service).await, 2, "{service:?} does not serve yet");
    }
    let error = clients.lookup("email", "ada@harbour-mail.net").await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, "SERVER_RECOVERING"));
    assert!(error.get_details_retry_info().is_some());
    tokio::task::spawn_blocking(move || std::fs::write(key, "7".repeat(64))).await.unwrap().unwrap();
    let server = starting.await.unwrap().unwrap();
    for service in ["", "onefold.v1.IngestService", "onefold.v1.ProfileService", "onefold.v1.AdminService"] {
        assert_eq!(health(free, service).await, 1, "{service:?} serves");
    }
    clients.sources(&["crm"]).await;
    clients.assert_lives("now").await;
    server.stop().await.unwrap();
}

/// One write of accounts or consent, told whether it went well and what it says.
type Told = Result<String, tonic::Status>;

/// Every write of accounts that has a name, in the order in which it can be done.
async fn tell_accounts(house: &mut House, id: &str) -> Vec<Told> {
    use onefold_tests::accounts::{account, somebody, source_account};
    use onefold_tests::seconds;
    let id = |last: u32| format!("{}{last:02}", &id[..34]);
    let told = |shown: Option<pb::Account>| shown.map_or_else(String::new, |account| account.name);
    let put = |key: &str, request_id| pb::PutAccountRequest {
        account: Some(source_account("crm", key, &format!("House {key}"))),
        request_id,
        ..Default::default()
    };
    let stage = |name: &str, next: &[&str]| pb::Stage {
        name: name.to_owned(),
        initial: true,
        next: next.iter().map(|next| (*next).to_owned()).collect(),
    };
    let pipeline = pb::Pipeline { stages: vec![stage("lead", &["customer"]), stage("customer", &[])], merge_rule: 1 };
    let lifecycle = pb::Lifecycle { persons: Some(pipeline.clone()), accounts: Some(pipeline) };
    let row = pb::ImportHierarchyRow {
        line: 1,
        account: Some(source_account("crm", "c", "House c")),
        parent: Some(onefold_tests::record("crm", "a")),
    };
    let start = pb::ImportHierarchyStart { request_id: id(4), ..Default::default() };
    let import = [pb::ImportHierarchyRequest { start: Some(start), rows: vec![row] }];
    let (role, person) = ("buyer".to_owned(), somebody("crm", "p"));
    let accounts = &mut house.accounts;
    vec![
        accounts.put_account(put("a", id(1))).await.map(|answer| told(answer.into_inner().account)),
        accounts.put_account(put("b", id(2))).await.map(|answer| told(answer.into_inner().account)),
        accounts
            .move_account(pb::MoveAccountRequest {
                key: account("crm", "b"),
                parent_account: account("crm", "a"),
                request_id: id(3),
                ..Default::default()
            })
            .await
            .map(|answer| told(answer.into_inner().account)),
        accounts.import_hierarchy(tokio_stream::iter(import)).await.map(|told| {
            let told = told.into_inner();
            format!("{} at {}", told.account_count, told.sequence)
        }),
        accounts
            .put_affiliation(pb::PutAffiliationRequest {
                person: person.clone(),
                account: account("crm", "a"),
                role: role.clone(),
                start_time: Some(seconds(AT)),
                request_id: id(5),
                ..Default::default()
            })
            .await
            .map(|told| told.into_inner().sequence.to_string()),
        accounts
            .end_affiliation(pb::EndAffiliationRequest {
                person: person.clone(),
                account: account("crm", "a"),
                role,
                end_time: Some(seconds(AT + 9)),
                request_id: id(6),
                ..Default::default()
            })
            .await
            .map(|told| told.into_inner().sequence.to_string()),
        accounts
            .confirm_account(pb::ConfirmAccountRequest {
                person: person.clone(),
                account: account("crm", "b"),
                request_id: id(7),
                ..Default::default()
            })
            .await
            .map(|told| told.into_inner().sequence.to_string()),
        accounts
            .put_lifecycle(pb::PutLifecycleRequest {
                lifecycle: Some(lifecycle),
                request_id: id(8),
                ..Default::default()
            })
            .await
            .map(|told| format!("{:?}", told.into_inner().lifecycle)),
        accounts
            .set_stage(pb::SetStageRequest {
                subject: Some(pb::StageSubject { subject: person.map(pb::stage_subject::Subject::Person) }),
                stage: "lead".to_owned(),
                request_id: id(9),
                ..Default::default()
            })
            .await
            .map(|told| told.into_inner().sequence.to_string()),
        accounts
            .close_account(pb::CloseAccountRequest {
                key: account("crm", "b"),
                close_time: Some(seconds(AT)),
                request_id: id(10),
                ..Default::default()
            })
            .await
            .map(|answer| told(answer.into_inner().account)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn named_writes_of_accounts_are_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    house.put(person("crm", "p", AT, &[("email", "ada@harbour-mail.net")], &[])).await;
    let first: Vec<String> = tell_accounts(&mut house, FIRST).await.into_iter().map(Result::unwrap).collect();
    // What came later stands: the repeats below do nothing.
    let account = onefold_tests::accounts::account;
    let reopen = pb::CloseAccountRequest { key: account("crm", "b"), reopen: true, ..Default::default() };
    house.accounts.close_account(reopen).await.unwrap();
    let to_the_top = pb::MoveAccountRequest { key: account("crm", "b"), ..Default::default() };
    house.accounts.move_account(to_the_top).await.unwrap();
    let stands = house.get_account(account("crm", "b")).await.unwrap();
    assert!(!stands.closed && stands.ancestors.is_empty(), "{stands:?}");
    for _ in 0..2 {
        let again: Vec<String> = tell_accounts(&mut house, FIRST).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(again, first);
        assert_eq!(house.get_account(account("crm", "b")).await.unwrap().sequence, stands.sequence, "done once");
        let other = pb::PutAccountRequest {
            account: Some(onefold_tests::accounts::source_account("crm", "a", "Another")),
            request_id: format!("{}01", &FIRST[..34]),
            ..Default::default()
        };
        let error = house.accounts.put_account(other).await.unwrap_err();
        assert_eq!(reason(&error), "REQUEST_ID_REUSED");
        house.close().await;
        house = House::open(&data).await;
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn named_writes_of_consents_are_done_once() {
    use onefold_tests::consent::{at, said};
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    let address = || at("email", "ada@harbour-mail.net");
    let mut pending = said(pb::ConsentDecision::Pending, AT);
    pending.channel = "email".to_owned();
    let asked = house.say(address(), pending).await.unwrap();
    let confirm = pb::ConfirmConsentRequest {
        confirmation_token: asked.confirmation_token,
        request_id: FIRST.to_owned(),
        ..Default::default()
    };
    let confirmed = house.consent.confirm_consent(confirm.clone()).await.unwrap().into_inner();
    let release = pb::ReleaseReservationRequest {
        reservation_id: house.may(address(), true).await.unwrap().reservation_id,
        request_id: format!("{}99", &FIRST[..34]),
        ..Default::default()
    };
    house.consent.release_reservation(release.clone()).await.unwrap();
    let identifier = onefold_tests::identifier("email", "ada@harbour-mail.net");
    let issue = pb::IssueUnsubscribeTokenRequest { identifier: Some(identifier), ..Default::default() };
    let token = house.consent.issue_unsubscribe_token(issue).await.unwrap().into_inner().token;
    let leave = pb::UnsubscribeRequest { token, request_id: SECOND.to_owned(), ..Default::default() };
    let left = house.consent.unsubscribe(leave.clone()).await.unwrap().into_inner();
    let statements = house.statements(address()).await.unwrap().len();
    for _ in 0..2 {
        assert_eq!(house.consent.confirm_consent(confirm.clone()).await.unwrap().into_inner(), confirmed);
        assert_eq!(house.consent.unsubscribe(leave.clone()).await.unwrap().into_inner(), left);
        assert_eq!(house.statements(address()).await.unwrap().len(), statements, "said once");
        house.consent.release_reservation(release.clone()).await.unwrap();
        let confirm = pb::ConfirmReservationRequest {
            reservation_id: release.reservation_id.clone(),
            request_id: release.request_id.clone(),
            ..Default::default()
        };
        assert_eq!(reason(&house.consent.confirm_reservation(confirm).await.unwrap_err()), "REQUEST_ID_REUSED");
        house.close().await;
        house = House::open(&data).await;
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_call_is_closed_and_one_with_a_call_stays() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { first_call_wait: Duration::from_millis(700), ..House::config(&dir.path().join("data")) };
    let mut house = House::open_with(config).await;
    house.sources(&["crm"]).await;
    let mut watch = house.profiles.watch_profiles(pb::WatchProfilesRequest::default()).await.unwrap().into_inner();
    let mut silent = TcpStream::connect(house.server().address()).await.unwrap();
    let mut mute = TcpStream::connect(house.server().address()).await.unwrap();
    // It greets as HTTP/2 has it, and then asks nothing.
    mute.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    for stream in [&mut silent, &mut mute] {
        // Ends when the server closes; a reset is an end too.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    house.put(person("crm", "p", AT, &[("email", "ada@harbour-mail.net")], &[])).await;
    let told = |message: &pb::WatchProfilesResponse| {
        matches!(message.message, Some(pb::watch_profiles_response::Message::Event(_)))
    };
    while !told(&watch.message().await.unwrap().unwrap()) {}
    drop(watch);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_on_which_nothing_comes_ends_and_what_was_answered_stands() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { message_wait: Duration::from_millis(700), ..House::config(&dir.path().join("data")) };
    let mut house = House::open_with(config).await;
    house.sources(&["crm"]).await;
    let (send, messages) = tokio::sync::mpsc::channel(4);
    let fragment = person("crm", "p", AT, &[("email", "ada@harbour-mail.net")], &[]);
    send.send(onefold_tests::traffic::Message::Put(fragment.clone()).request("", 7)).await.unwrap();
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut answers = house.ingest.stream_fragments(messages).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().client_sequence, 7);
    let silent = answers.message().await.unwrap_err();
    assert_eq!((silent.code(), reason(&silent).as_str()), (Code::DeadlineExceeded, "STREAM_SILENT"));
    drop(send);
    let mut consents = house.consent.stream_consents(tokio_stream::pending()).await.unwrap().into_inner();
    assert_eq!(reason(&consents.message().await.unwrap_err()), "STREAM_SILENT");
    let mut decisions = house.consent.decide_contacts(tokio_stream::pending()).await.unwrap().into_inner();
    assert_eq!(reason(&decisions.message().await.unwrap_err()), "STREAM_SILENT");
    let imported = house.accounts.import_hierarchy(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(reason(&imported), "STREAM_SILENT");
    assert_eq!(house.put(fragment).await.status(), pb::IngestStatus::Duplicate);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_provider_unsubscribes_with_one_post_and_nothing_else_does() {
    use onefold_tests::consent::{at, said};
    let dir = tempfile::tempdir().unwrap();
    let config = Config { one_click: true, ..House::config(&dir.path().join("data")) };
    let mut house = House::open_with(config).await;
    house.sources(&["crm"]).await;
    let server = house.server().address();
    let address = || at("email", "ada@harbour-mail.net");
    house.say(address(), said(pb::ConsentDecision::Granted, AT)).await.unwrap();
    let issue = pb::IssueUnsubscribeTokenRequest {
        identifier: Some(onefold_tests::identifier("email", "ada@harbour-mail.net")),
        purpose: "marketing".to_owned(),
        ..Default::default()
    };
    let path = house.consent.issue_unsubscribe_token(issue).await.unwrap().into_inner().path;
    let form = "content-type: application/x-www-form-urlencoded";
    let click = b"List-Unsubscribe=One-Click";
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\n{form}");
    let last = if path.ends_with('0') { "1" } else { "0" };
    let bent = format!("{}{last}", &path[..path.len() - 1]);
    let elsewhere = path.replacen("default", "west", 1);
    let refused = [
        (http1(server, &format!("GET {path} HTTP/1.1"), b"").await, "200 ok"),
        (http1(server, &format!("GET {bent} HTTP/1.1"), b"").await, "200 ok"),
        (http1(server, &format!("PUT {path} HTTP/1.1\r\n{form}"), click).await, "405"),
        (http1(server, &post(&path), b"").await, "400"),
        (http1(server, &post(&path), b"List-Unsubscribe=No").await, "400"),
        (http1(server, &post(&path), &[b'x'; 9 << 10]).await, "400"),
        (http1(server, &post(&bent), click).await, "404"),
        (http1(server, &post(&elsewhere), click).await, "404"),
        (http1(server, &post("/unsubscribe/"), click).await, "404"),
        (http1(server, &post("/onefold.v1.AdminService/GetTenant"), click).await, "404"),
    ];
    for (at, (answer, code)) in refused.iter().enumerate() {
        assert!(answer.starts_with(&format!("http/1.1 {code}")), "{at}: {answer}");
        assert!(!answer.contains("harbour-mail") && !answer.contains("marketing"), "{at}: {answer}");
    }
    assert!(refused[0].0.contains("<form method=post>") && refused[0].0.contains("no-store"), "{}", refused[0].0);
    let statements = house.statements(address()).await.unwrap().len();
    assert_eq!(statements, 1, "nothing was said by any of these");
    for _ in 0..2 {
        let answer = http1(server, &post(&path), click).await;
        assert!(answer.starts_with("http/1.1 200") && answer.contains("unsubscribed."), "{answer}");
        let verdict = house.may(address(), false).await.unwrap();
        assert_eq!(onefold_tests::consent::reasons(&verdict), ["WITHDRAWN"]);
        assert_eq!(house.statements(address()).await.unwrap().len(), 2, "once");
    }
    // Who was erased meanwhile is told the same, and not to come again.
    house.forget(vec![address()]).await.unwrap();
    let answer = http1(server, &post(&path), click).await;
    assert!(answer.starts_with("http/1.1 200") && answer.contains("unsubscribed."), "{answer}");
    house.assert_lives("grpc").await;
    house.close().await;
}
