//! Clients that mean harm, or are broken: the connection that does it ends, memory stays bounded, and everybody else is served.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_server::Config;
use onefold_tests::frames::{ENHANCE_YOUR_CALM, REFUSED_STREAM, Wire, block, call, flag, frame, kind};
use onefold_tests::{House, person, reason};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tonic::Code;

const STREAM: &str = "/onefold.v1.IngestService/StreamFragments";
const WATCH: &str = "/onefold.v1.ProfileService/WatchProfiles";
const MIB: u64 = 1 << 20;
/// Long enough for an answer on a machine under load, short enough to tell it from none.
const SOON: Duration = Duration::from_secs(20);
const AT: i64 = 1_700_000_000;

/// One at a time: some of them measure this process.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn house() -> ((MutexGuard<'static, ()>, tempfile::TempDir), House) {
    house_with(|_| {}).await
}

async fn house_with(change: impl FnOnce(&mut Config)) -> ((MutexGuard<'static, ()>, tempfile::TempDir), House) {
    let alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = House::config(&dir.path().join("data"));
    change(&mut config);
    let mut house = House::open_with(config).await;
    house.sources(&["crm"]).await;
    ((alone, dir), house)
}

/// That another client is served meanwhile.
async fn others_are_served(house: &mut House, while_: &str) {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let key = format!("alive{}", ASKED.fetch_add(1, Ordering::Relaxed));
    tokio::time::timeout(SOON, house.assert_lives(&key)).await.unwrap_or_else(|_| panic!("nobody is served: {while_}"));
}

/// A figure of this process, in bytes: `VmSize` is address space, `VmRSS` memory.
fn memory(figure: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_a_hundred_streams_and_the_next_is_refused() {
    let (_dir, mut house) = house().await;
    let mut wire = Wire::open(house.server().address(), 1 << 16).await.unwrap();
    for at in 0..101 {
        wire.begin(2 * at + 1, STREAM).await.unwrap();
    }
    let refused = wire.until(kind::RST_STREAM).await.unwrap();
    assert_eq!((refused.stream, refused.code()), (201, REFUSED_STREAM));
    // The others are open, and one that ends makes room.
    wire.send(&frame(kind::RST_STREAM, flag::NONE, 1, &8_u32.to_be_bytes())).await.unwrap();
    wire.begin(203, STREAM).await.unwrap();
    loop {
        let next = wire.next().await.unwrap();
        assert_ne!(next.kind, kind::RST_STREAM, "{next:?}");
        if next.kind == kind::HEADERS && next.stream == 203 {
            break;
        }
    }
    others_are_served(&mut house, "a hundred streams are open").await;
    drop(wire);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_bound_are_closed_and_those_who_are_in_stay_served() {
    let (_dir, mut house) = house_with(|config| config.connections_max = 20).await;
    let address = house.server().address();
    let mut inside = Vec::new();
    for _ in 0..19 {
        inside.push(Wire::open(address, 1 << 16).await.unwrap());
    }
    for wire in &mut inside {
        wire.until(kind::SETTINGS).await.expect("it is in");
    }
    for _ in 0..50 {
        let mut over = TcpStream::connect(address).await.unwrap();
        let told = tokio::time::timeout(SOON, over.read_to_end(&mut Vec::new())).await.expect("closed");
        assert!(told.is_err() || told.is_ok_and(|bytes| bytes == 0));
    }
    others_are_served(&mut house, "there is no place left").await;
    drop(inside);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_without_end_end_the_connection() {
    let (_dir, mut house) = house().await;
    let mut wire = Wire::open(house.server().address(), 1 << 16).await.unwrap();
    wire.until(kind::SETTINGS).await.unwrap();
    let headers = call(STREAM, &[]);
    let mut bytes = Vec::new();
    for at in 0..5_000 {
        bytes.extend(frame(kind::HEADERS, flag::END_HEADERS, 2 * at + 1, &headers));
        bytes.extend(frame(kind::RST_STREAM, flag::NONE, 2 * at + 1, &8_u32.to_be_bytes()));
    }
    // It may close before all of it is out.
    let _ = wire.send(&bytes).await;
    assert!(matches!(wire.farewell().await, Some(ENHANCE_YOUR_CALM) | None));
    others_are_served(&mut house, "rapid reset").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_end_the_connection() {
    let (_dir, mut house) = house().await;
    let before = memory("VmRSS");
    // Of nothing at all, and of a few kilobytes each, that are never said to be the last.
    for piece in [vec![], block(&[("x-filler", &"f".repeat(8 << 10))])] {
        let mut wire = Wire::open(house.server().address(), 1 << 16).await.unwrap();
        wire.until(kind::SETTINGS).await.unwrap();
        let mut bytes = frame(kind::HEADERS, flag::NONE, 1, &call(STREAM, &[]));
        for _ in 0..20_000 {
            bytes.extend(frame(kind::CONTINUATION, flag::NONE, 1, &piece));
            if bytes.len() > 8 << 20 {
                break;
            }
        }
        let _ = wire.send(&bytes).await;
        assert!(matches!(wire.farewell().await, Some(ENHANCE_YOUR_CALM) | None), "{} bytes", piece.len());
    }
    others_are_served(&mut house, "continuation flood").await;
    assert!(memory("VmRSS") < before + 64 * MIB);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_headers_are_refused_call_by_call_and_the_connection_lives() {
    let (_dir, mut house) = house().await;
    let mut wire = Wire::open(house.server().address(), 1 << 16).await.unwrap();
    wire.until(kind::SETTINGS).await.unwrap();
    // Two thousand small ones are as many bytes as a large one: each counts 32 more than it has.
    let names: Vec<String> = (0..300).map(|at| format!("x-{at}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    wire.send(&frame(kind::HEADERS, flag::END_HEADERS, 1, &call(STREAM, &many))).await.unwrap();
    let told = wire.until(kind::HEADERS).await.unwrap();
    assert_eq!(told.stream, 1);
    // `:status 431`, a literal behind the name that the table has.
    assert!(told.payload.len() < 20, "no more than a status: {:?}", told.payload);
    wire.begin(3, STREAM).await.unwrap();
    while wire.until(kind::HEADERS).await.unwrap().stream != 3 {}
    others_are_served(&mut house, "after too many headers").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_without_content_ends_the_connection() {
    let (_dir, mut house) = house().await;
    let mut wire = Wire::open(house.server().address(), 1 << 16).await.unwrap();
    wire.until(kind::SETTINGS).await.unwrap();
    wire.begin(1, STREAM).await.unwrap();
    let nothing = frame(kind::DATA, flag::NONE, 1, &[]);
    let _ = wire.send(&nothing.repeat(50_000)).await;
    assert!(matches!(wire.farewell().await, Some(ENHANCE_YOUR_CALM) | None));
    others_are_served(&mut house, "empty data").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn room_is_made_for_what_comes_and_not_for_what_is_promised() {
    let (_dir, mut house) = house().await;
    let address = house.server().address();
    others_are_served(&mut house, "before").await;
    let before = memory("VmSize");
    let promise = [&[0][..], &(4_u32 << 20).to_be_bytes()].concat();
    let mut wires = Vec::new();
    for _ in 0..30 {
        let mut wire = Wire::open(address, 1 << 16).await.unwrap();
        for at in 0..100 {
            wire.begin(2 * at + 1, STREAM).await.unwrap();
            wire.send(&frame(kind::DATA, flag::NONE, 2 * at + 1, &promise)).await.unwrap();
        }
        wires.push(wire);
    }
    for wire in &mut wires {
        // All streams of a connection were begun once the last was answered.
        while wire.until(kind::HEADERS).await.unwrap().stream != 199 {}
    }
    others_are_served(&mut house, "3,000 promises").await;
    let grown = memory("VmSize").saturating_sub(before);
    assert!(grown < 200 * MIB, "{} MiB of address space for 3,000 promises", grown / MIB);
    drop(wires);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_bound_is_refused_by_its_head() {
    let (_dir, house) = house().await;
    let mut fragment = person("crm", "large", AT, &[("email", "ada@harbour-mail.net")], &[]);
    fragment.traits_json = "0".repeat((4 << 20) + 1);
    let request = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() };
    let error = house.clients().ingest.put_fragment(request).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    let mut wire = Wire::open(house.server().address(), 1 << 16).await.unwrap();
    wire.begin(1, STREAM).await.unwrap();
    let promise = [&[0][..], &(5_u32 << 20).to_be_bytes()].concat();
    wire.send(&frame(kind::DATA, flag::NONE, 1, &promise)).await.unwrap();
    // The head of the answer, and its end.
    for _ in 0..2 {
        wire.until(kind::HEADERS).await.unwrap();
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_who_do_not_read_hold_little_and_nobody_up() {
    let (_dir, mut house) = house().await;
    let fragments = (0..400).map(|at| {
        let email = format!("reader{at}@harbour-mail.net");
        let note = "long and dull ".repeat(40);
        person("crm", &format!("r{at}"), AT, &[("email", &email)], &[("note", &note)])
    });
    let messages: Vec<_> = fragments.map(onefold_tests::traffic::Message::Put).collect();
    house.stream("", &messages).await.unwrap();
    let before = memory("VmRSS");
    let watch = prost::Message::encode_to_vec(&pb::WatchProfilesRequest {
        snapshot: true,
        view: pb::ProfileView::Full as i32,
        ..Default::default()
    });
    let message = [&[0][..], &(watch.len() as u32).to_be_bytes(), &watch].concat();
    let mut wires = Vec::new();
    for _ in 0..100 {
        // No window at all: nothing of an answer may be sent.
        let mut wire = Wire::open(house.server().address(), 0).await.unwrap();
        wire.begin(1, WATCH).await.unwrap();
        wire.send(&frame(kind::DATA, flag::END_STREAM, 1, &message)).await.unwrap();
        wire.until(kind::HEADERS).await.unwrap();
        wires.push(wire);
    }
    for at in 0..20 {
        others_are_served(&mut house, "a hundred readers do not read").await;
        let fragment =
            person("crm", &format!("more{at}"), AT, &[("email", &format!("more{at}@harbour-mail.net"))], &[]);
        assert_eq!(house.put(fragment).await.status(), pb::IngestStatus::Accepted);
    }
    let each = memory("VmRSS").saturating_sub(before) / 100;
    assert!(each < 128 << 10, "{each} bytes each");
    drop(wires);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_who_do_not_write_are_let_go_and_hold_nobody_up() {
    let (_dir, mut house) = house_with(|config| config.message_wait = Duration::from_secs(2)).await;
    let mut wires = Vec::new();
    for at in 0_u8..100 {
        let mut wire = Wire::open(house.server().address(), 1 << 16).await.unwrap();
        wire.begin(1, STREAM).await.unwrap();
        // Some say nothing, some a part of a head, some a head and a part of a message.
        let part = &[0, 0, 0, 1, 0, 7, 7][..usize::from(at % 8).min(7)];
        if !part.is_empty() {
            wire.send(&frame(kind::DATA, flag::NONE, 1, part)).await.unwrap();
        }
        wires.push(wire);
    }
    for _ in 0..5 {
        others_are_served(&mut house, "a hundred writers do not write").await;
    }
    for wire in &mut wires {
        // The head of the answer, and then its end, which says that the stream was silent.
        for _ in 0..2 {
            wire.until(kind::HEADERS).await.unwrap();
        }
    }
    drop(wires);
    house.close().await;
}

/// LAW 10: what is sent faster than it is answered waits with its sender. HTTP/2 counts small frames that wait here, and closes
/// the whole connection over too many of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_small_messages_waits_and_keeps_its_connection() {
    const ASKS: u64 = 20_000;
    let (_dir, mut house) = house().await;
    let ask = |client_sequence: u64| pb::DecideContactsRequest {
        client_sequence,
        decide: Some(pb::DecideContactRequest {
            subject: Some(onefold_tests::consent::at("email", "nobody@harbour-mail.net")),
            purpose: "marketing".to_owned(),
            channel: "email".to_owned(),
            ..Default::default()
        }),
    };
    let asks = tokio_stream::iter((0..ASKS).map(ask));
    let mut answers = house.consent.decide_contacts(asks).await.unwrap().into_inner();
    // Nobody reads: the way back fills, and the asks wait.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.client_sequence, count, "in order");
        count += 1;
    }
    assert_eq!(count, ASKS);
    house.close().await;
}
