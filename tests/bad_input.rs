//! Bad input and bad clients: a clear answer that names the fault, nothing lost, and the server lives. Law 10.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use onefold_core::fragment::ObservedAt;
use onefold_proto::v1 as pb;
use onefold_server::clock::Clock;
use onefold_tests::calls::Raw;
use onefold_tests::child::Launch;
use onefold_tests::traffic::{Message, open_sources};
use onefold_tests::{Clients, House, identifier, person, reason, record, text};
use pb::IngestStatus::{Accepted, Duplicate, Quarantined, Rejected, Superseded};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

const AT: i64 = 1_700_000_000;

/// Field and reason of each fault.
fn faults(result: &pb::IngestResult) -> Vec<(&str, &str)> {
    result.faults.iter().map(|fault| (fault.field.as_str(), fault.reason.as_str())).collect()
}

fn put(key: &str, at: i64, identifiers: &[(&str, &str)]) -> Message {
    Message::Put(person("crm", key, at, identifiers, &[]))
}

async fn house() -> (TempDir, House) {
    let dir = TempDir::new().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    open_sources(&mut house, "").await;
    (dir, house)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_fragment_is_refused_with_every_fault_and_the_stream_goes_on() {
    let (_dir, mut house) = house().await;
    let mut bad = person("crn", "1", AT, &[("emial", "a@harbour-mail.net"), ("email", " ")], &[("Given Name", "A")]);
    bad.traits_json = "[1]".to_owned();
    bad.observed_time = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 });
    let nothing = pb::StreamFragmentsRequest { client_sequence: 7, ..Default::default() };
    let requests = vec![
        put("1", AT, &[]).request("", 5),
        Message::Put(bad).request("", 6),
        nothing,
        put("2", AT, &[]).request("", 8),
    ];
    let mut answers = house.ingest.stream_fragments(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        told.push((answer.client_sequence, answer.result.unwrap()));
    }
    let statuses: Vec<_> = told.iter().map(|(sequence, result)| (*sequence, result.status())).collect();
    assert_eq!(statuses, [(5, Accepted), (6, Rejected), (7, Rejected), (8, Accepted)]);
    let mut found = faults(&told[1].1);
    found.sort_unstable();
    let wanted = [
        ("attributes[0].name", "MALFORMED"),
        ("identifiers[0].namespace", "UNKNOWN"),
        ("identifiers[1].value", "MISSING"),
        ("observed_time", "MALFORMED"),
        ("record.source", "UNKNOWN"),
        ("traits_json", "MALFORMED"),
    ];
    assert_eq!(found, wanted);
    let says = |field: &str| &told[1].1.faults.iter().find(|fault| fault.field == field).unwrap().message;
    assert!(says("record.source").contains("`crm`"), "the nearest source: {}", says("record.source"));
    let near = says("identifiers[0].namespace");
    assert!(near.contains("`email`"), "the nearest namespace: {near}");

    let status = house.lookup("emial", "a@harbour-mail.net").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("`email`"), "{status}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bound_is_a_clear_answer() {
    let (_dir, mut house) = house().await;
    let long = |bytes: usize| "x".repeat(bytes);
    let many = |count: usize| (0..count).map(|n| identifier("device_id", &format!("d{n}"))).collect::<Vec<_>>();
    let base = || person("crm", "1", AT, &[], &[]);
    let table: Vec<(&str, pb::Fragment, &str)> = vec![
        ("10,000 identifiers", pb::Fragment { identifiers: many(10_000), ..base() }, "identifiers"),
        ("65 identifiers", pb::Fragment { identifiers: many(65), ..base() }, "identifiers"),
        (
            "257 attributes",
            pb::Fragment { attributes: (0..257).map(|_| text("note", "x")).collect(), ..base() },
            "attributes",
        ),
        ("a long key", pb::Fragment { record: Some(record("crm", &long(513))), ..base() }, "record.key"),
        (
            "a long identifier",
            pb::Fragment { identifiers: vec![identifier("email", &long(513))], ..base() },
            "identifiers[0].value",
        ),
        ("a long text", pb::Fragment { attributes: vec![text("note", &long(4_097))], ..base() }, "attributes[0].text"),
        (
            "long traits",
            pb::Fragment { traits_json: format!("{{\"a\":\"{}\"}}", long(16 << 10)), ..base() },
            "traits_json",
        ),
        (
            "a large whole",
            pb::Fragment { attributes: (0..17).map(|_| text("note", &long(4_000))).collect(), ..base() },
            "",
        ),
    ];
    for (what, fragment, field) in table {
        let result = house.put(fragment).await;
        assert_eq!(result.status(), Rejected, "{what}");
        assert_eq!(faults(&result), [(field, "TOO_LARGE")], "{what}");
        assert!(result.faults[0].message.len() < 200, "{what}: the fault does not repeat the input");
    }
    // At the bounds everything goes.
    let full = pb::Fragment {
        record: Some(record("crm", &long(512))),
        identifiers: many(64),
        attributes: (0..256).map(|_| text("note", "x")).collect(),
        ..base()
    };
    assert_eq!(house.put(full).await.status(), Accepted);

    // Names that a tenant learns: 4,096, and not one more.
    let mut refused = None;
    for round in 0..18 {
        let attributes = (0..250).map(|n| text(&format!("name_{round}_{n}"), "x")).collect();
        let result = house.put(pb::Fragment { attributes, ..person("shop", &round.to_string(), AT, &[], &[]) }).await;
        if result.status() == Rejected {
            refused = Some(result);
            break;
        }
    }
    let refused = refused.expect("there is a bound");
    assert!(faults(&refused).iter().all(|(_, reason)| *reason == "TOO_LARGE"), "{refused:?}");
    assert!(refused.faults[0].message.contains("4096"), "{refused:?}");

    let reads = house.clone();
    let code = |status: Status| (status.code(), reason(&status));
    let invalid = || (Code::InvalidArgument, "REQUEST_INVALID".to_owned());
    let mut clients = reads;
    let keys = vec![pb::ProfileKey::default(); 1_001];
    let request = pb::BatchLookupProfilesRequest { keys, ..Default::default() };
    assert_eq!(code(clients.profiles.batch_lookup_profiles(request).await.unwrap_err()), invalid());
    let request = pb::ListSourcesRequest { page_size: -1, ..Default::default() };
    assert_eq!(code(clients.admin.list_sources(request).await.unwrap_err()), invalid());
    let request = pb::ReplayQuarantineRequest { quarantine_ids: vec![String::new(); 1_001], ..Default::default() };
    assert_eq!(code(clients.ingest.replay_quarantine(request).await.unwrap_err()), invalid());
    let request = pb::WatchProfilesRequest { cursor: u64::MAX, ..Default::default() };
    let ahead = clients.profiles.watch_profiles(request).await.unwrap_err();
    assert_eq!(code(ahead), (Code::OutOfRange, "CURSOR_AHEAD".to_owned()));
    let request = pb::GetDigestRequest { min_sequence: u64::MAX, ..Default::default() };
    let behind = tokio::time::timeout(Duration::from_secs(5), clients.admin.get_digest(request)).await.unwrap();
    assert_eq!(code(behind.unwrap_err()), (Code::Unavailable, "SEQUENCE_NOT_REACHED".to_owned()));
    for pattern in ["(", "(a{1000}){1000}", long(2_000).as_str()] {
        let rule = pb::AttributeRule { name: "note".to_owned(), pattern: pattern.to_string(), ..Default::default() };
        let contract = pb::DataContract { attributes: vec![rule], ..Default::default() };
        let source = pb::Source { name: "crm".to_owned(), contract: Some(contract), ..Default::default() };
        let request = pb::PutSourceRequest { source: Some(source), ..Default::default() };
        assert_eq!(code(clients.admin.put_source(request).await.unwrap_err()), invalid(), "{} bytes", pattern.len());
    }
    house.assert_lives("after").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_and_large_batches_end_neither_the_lane_nor_the_server() {
    let dir = TempDir::new().unwrap();
    let mut config = House::config(&dir.path().join("data"));
    config.segment_bytes = 4 << 20;
    let mut house = House::open_with(config).await;
    open_sources(&mut house, "").await;

    // 5 MiB: over what a message may hold.
    let five = || person("crm", "5", AT, &[], &[("note", &"x".repeat(5 << 20))]);
    let status = house.try_put(five()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("4194304"), "the limit is named: {status}");
    let requests = vec![put("1", AT, &[]).request("", 1), Message::Put(five()).request("", 2)];
    let mut answers = house.ingest.stream_fragments(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().expect("what came before is answered");
    assert_eq!((first.client_sequence, first.result.unwrap().status()), (1, Accepted));
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");

    // 120 fragments of 60 KiB at once: more than one segment of the journal holds.
    let fat = |source: &str, key: usize| {
        let attributes = (0..15).map(|n| text(&format!("note_{n}"), &"y".repeat(4_000))).collect();
        Message::Put(pb::Fragment { attributes, ..person(source, &key.to_string(), AT, &[], &[]) })
    };
    let all: Vec<Message> = (0..120).map(|key| fat("shop", key)).collect();
    let results = house.stream("", &all).await.unwrap();
    assert!(results.iter().all(|result| result.status() == Accepted));
    // The same through the quarantine, which is replayed in one call.
    let broken: Vec<Message> = (0..120).map(|key| fat("ledger", key)).collect();
    let results = house.stream("", &broken).await.unwrap();
    assert!(results.iter().all(|result| result.status() == Quarantined));
    let relaxed = pb::Source { name: "ledger".to_owned(), trust: 300, ..Default::default() };
    house.admin.put_source(pb::PutSourceRequest { source: Some(relaxed), ..Default::default() }).await.unwrap();
    let replayed = house.ingest.replay_quarantine(pb::ReplayQuarantineRequest::default()).await.unwrap().into_inner();
    assert_eq!((replayed.released_count, replayed.kept_count), (120, 0));
    let (statistics, digest) = (house.statistics().await, house.digest().await);
    assert_eq!((statistics.live_record_count, statistics.quarantined_count), (241, 0));
    house.close().await;
    let mut house = House::open(&dir.path().join("data")).await;
    assert_eq!(house.digest().await, digest);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_get_an_answer() {
    let (_dir, mut house) = house().await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", house.server().address())).unwrap();
    let mut raw = tonic::client::Grpc::new(channel.connect().await.unwrap());
    // PutFragmentRequest { fragment { identifiers { namespace: "email", value: two bytes that are no UTF-8 } } }, and noise.
    let broken_text = b"\x12\x0d\x22\x0b\x0a\x05email\x12\x02\xff\xfe".to_vec();
    for (bytes, names) in [(broken_text, "value"), (b"\xff\xff\xff\xff".to_vec(), "")] {
        raw.ready().await.unwrap();
        let path = tonic::codegen::http::uri::PathAndQuery::from_static("/onefold.v1.IngestService/PutFragment");
        let answer = raw.unary(tonic::Request::new(bytes), path, Raw).await;
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(names), "the field is named: {status}");
    }
    house.assert_lives("after").await;
    house.close().await;
}

fn resident_mib(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1_024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_is_held_and_others_are_served() {
    let dir = TempDir::new().unwrap();
    let launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
    let (child, mut clients) = launch.start().await;
    open_sources(&mut clients, "").await;
    clients.assert_lives("before").await;
    let before = resident_mib(child.id());

    // 20,000 messages of 20 KiB are on offer: 400 MB, if the server took them all.
    let offered = 20_000;
    let taken = Arc::new(AtomicUsize::new(0));
    let mut silent = Clients::connect(child.address()).await.unwrap();
    let (out, requests) = mpsc::channel(1);
    let counter = Arc::clone(&taken);
    let sender = tokio::spawn(async move {
        for key in 0..offered {
            let mut message = person("shop", &key.to_string(), AT, &[], &[]);
            message.attributes = (0..5).map(|n| text(&format!("note_{n}"), &"z".repeat(4_000))).collect();
            if out.send(Message::Put(message).request("", key)).await.is_err() {
                return;
            }
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let unread = silent.ingest.stream_fragments(ReceiverStream::new(requests)).await.unwrap();
    // A watch that nobody reads, too.
    let request = pb::WatchProfilesRequest { snapshot: true, view: pb::ProfileView::Full as i32, ..Default::default() };
    let unwatched = silent.profiles.watch_profiles(request).await.unwrap();
    let mut last = usize::MAX;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = taken.load(Ordering::Relaxed);
        if now == last {
            break;
        }
        last = now;
    }
    let held_at = taken.load(Ordering::Relaxed);
    assert!(held_at > 10 && (held_at as u64) < offered, "{held_at} messages were taken");
    for round in 0..20 {
        let served =
            tokio::time::timeout(Duration::from_secs(5), clients.assert_lives(&format!("other-{round}"))).await;
        assert!(served.is_ok(), "others are served");
    }
    let grown = resident_mib(child.id()).saturating_sub(before);
    println!("held after {held_at} messages of 20 KiB; the server grew by {grown} MiB");
    assert!(grown < 200, "{grown} MiB");
    sender.abort();
    drop((unread, unwatched));
    clients.assert_lives("after").await;
    child.stop();
}

#[derive(Debug)]
struct Stepping(AtomicI64);

impl Clock for Stepping {
    fn now(&self) -> ObservedAt {
        ObservedAt(self.0.load(Ordering::Relaxed) * 1_000_000)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(Stepping(AtomicI64::new(AT)));
    let open = || House::open_at(House::config(&dir.path().join("data")), Arc::clone(&clock) as Arc<dyn Clock>);
    let mut house = open().await;
    open_sources(&mut house, "").await;
    let undated = |note: &str| pb::Fragment { observed_time: None, ..person("crm", "u", 0, &[], &[("note", note)]) };
    assert_eq!(house.put(undated("one")).await.status(), Accepted);
    assert_eq!(house.put(undated("one")).await.status(), Duplicate);
    let day = 24 * 3_600;
    let mut key = 0;
    for step in [3_600, -3_600, -400 * day, 2 * day, 500 * day] {
        let now = clock.0.fetch_add(step, Ordering::Relaxed) + step;
        key += 1;
        // Dated fragments follow their own time, whatever the clock says; what lies days ahead of it is refused.
        let dated = house.put(person("crm", &key.to_string(), now, &[("email", "s@harbour-mail.net")], &[])).await;
        assert_eq!(dated.status(), Accepted, "step {step}");
        let ahead = house.put(person("crm", "ahead", now + 2 * day, &[], &[])).await;
        assert_eq!((ahead.status(), faults(&ahead)), (Rejected, vec![("observed_time", "IN_THE_FUTURE")]));
        // Sent again it is the same, and the order of the journal stands.
        let again = house.put(undated("one")).await;
        assert_eq!(again.status(), Duplicate, "step {step}");
    }
    // Under a clock that went back, an undated fragment is older than what is known, and that is what it is told.
    clock.0.store(AT - 10, Ordering::Relaxed);
    assert_eq!(house.put(undated("two")).await.status(), Superseded);
    let (digest, events) = (house.digest().await, house.events("", 0).await.unwrap());
    assert!(events.windows(2).all(|two| two[1].previous_sequence == two[0].sequence));
    house.close().await;
    clock.0.store(AT - 1_000 * day, Ordering::Relaxed);
    let mut house = open().await;
    assert_eq!(house.digest().await, digest);
    assert_eq!(house.events("", 0).await.unwrap(), events);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_undated_and_broken_is_held_once() {
    let (dir, mut house) = house().await;
    let undated = || pb::Fragment { observed_time: None, ..person("ledger", "1", 0, &[], &[]) };
    let first = house.put(undated()).await;
    assert_eq!(first.status(), Quarantined);
    for restart in [false, true] {
        if restart {
            house.close().await;
            house = House::open(&dir.path().join("data")).await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        let again = house.put(undated()).await;
        assert_eq!(again.status(), Quarantined);
        assert_eq!(first.quarantine_id, again.quarantine_id, "sending again is harmless");
        assert_eq!(house.statistics().await.quarantined_count, 1);
    }
    house.close().await;
}
