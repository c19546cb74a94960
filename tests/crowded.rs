//! Messages of two-byte elements, which become hundreds of bytes each: every RPC counts what a message brings before it makes
//! room for it (law 10).
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_tests::calls::{Raw, ask, assert_refused, methods, path};
use onefold_tests::child::{Child, Launch};
use onefold_tests::traffic::Message as Step;
use onefold_tests::{Clients, reason};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt;

/// As much as a message may be, but for what lies around the elements.
const BYTES: usize = (4 << 20) - 100;
/// What the server may take beside the messages that it has in its hands: several, for calls come one behind the other.
const ROOM_MIB: u64 = 48;

/// A figure of a process in MiB: `VmHWM` is the most memory that it ever had.
fn mib(process: u32, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

async fn server(dir: &Path) -> (Child, Clients) {
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.join("data"));
    // What each thread's part of the heap keeps for its next message is no part of what is measured.
    launch.environment.push(("MALLOC_ARENA_MAX".into(), "1".into()));
    launch.start().await
}

async fn channel(child: &Child) -> Channel {
    Channel::from_shared(format!("http://{}", child.address())).unwrap().connect().await.unwrap()
}

/// The ways from a message to its repeated fields.
fn ways(of: &MessageDescriptor, way: &mut Vec<FieldDescriptor>, out: &mut Vec<Vec<FieldDescriptor>>) {
    for field in of.fields() {
        way.push(field.clone());
        if field.cardinality() == Cardinality::Repeated {
            out.push(way.clone());
        }
        if let Kind::Message(inner) = field.kind() {
            ways(&inner, way, out);
        }
        way.pop();
    }
}

/// A message with nothing but elements at the end of this way, as many as there is room for.
fn crowd(way: &[FieldDescriptor], room: usize) -> Vec<u8> {
    let (last, around) = way.split_last().unwrap();
    let mut bytes = Vec::new();
    encode_key(last.number(), WireType::LengthDelimited, &mut bytes);
    if matches!(last.kind(), Kind::Message(_) | Kind::String | Kind::Bytes) {
        bytes.push(0);
        bytes = bytes.repeat(room / bytes.len());
    } else {
        encode_varint(room as u64, &mut bytes);
        bytes.resize(bytes.len() + room, 0);
    }
    for field in around.iter().rev() {
        let inner = std::mem::take(&mut bytes);
        encode_key(field.number(), WireType::LengthDelimited, &mut bytes);
        encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend(inner);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn no_repeated_field_of_any_call_makes_a_message_larger_than_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let (child, mut clients) = server(dir.path()).await;
    let channel = channel(&child).await;
    // What a message of the largest size takes anyway.
    let full = pb::PutFragmentRequest { parent: "t".repeat(BYTES), ..Default::default() };
    for _ in 0..3 {
        clients.ingest.put_fragment(full.clone()).await.unwrap_err();
    }
    let before = mib(child.id(), "VmHWM");
    let mut seen = 0;
    for method in methods() {
        let mut all = Vec::new();
        ways(&method.input(), &mut Vec::new(), &mut all);
        for way in all {
            let field = way.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
            let what = format!("{}: {field}", method.name());
            let answer = ask(&channel, &path(&method), crowd(&way, BYTES), None).await;
            let violation = answer.as_ref().err().and_then(StatusExt::get_details_bad_request);
            assert_eq!(violation.unwrap().field_violations[0].field, field, "{what}");
            assert_refused(&what, answer, Code::InvalidArgument, "REQUEST_INVALID");
            let grown = mib(child.id(), "VmHWM").saturating_sub(before);
            assert!(grown < ROOM_MIB, "{what}: {grown} MiB for a message of four");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
    // Compressed, a few kilobytes are the same.
    let mut all = Vec::new();
    let put = methods().into_iter().find(|method| method.name() == "PutFragment").unwrap();
    ways(&put.input(), &mut Vec::new(), &mut all);
    for way in all {
        let mut grpc = tonic::client::Grpc::new(channel.clone()).send_compressed(CompressionEncoding::Gzip);
        grpc.ready().await.unwrap();
        let error = grpc.unary(Request::new(crowd(&way, BYTES)), path(&put).parse().unwrap(), Raw).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_str()), (Code::InvalidArgument, "REQUEST_INVALID"));
    }
    let grown = mib(child.id(), "VmHWM").saturating_sub(before);
    assert!(grown < ROOM_MIB, "{grown} MiB");
    child.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn small_messages_that_say_nothing_do_not_pile_up_and_large_ones_end_the_stream_behind_its_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (child, mut clients) = server(dir.path()).await;
    let empty = |elements: usize| {
        let consents = vec![pb::FragmentConsent::default(); elements];
        Step::Put(pb::Fragment { consents, ..Default::default() })
    };
    let before = mib(child.id(), "VmHWM");
    // 8 MiB of messages that no count refuses, each of which would be some 150 times as large.
    let many = (0..8_000).map(move |at| empty(500).request("", at));
    let mut answers = clients.ingest.stream_fragments(tokio_stream::iter(many)).await.unwrap().into_inner();
    for at in 0..8_000 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.client_sequence, at);
        assert_eq!(answer.result.unwrap().status(), pb::IngestStatus::Rejected);
    }
    let grown = mib(child.id(), "VmHWM").saturating_sub(before);
    assert!(grown < 3 * ROOM_MIB, "{grown} MiB for a stream");
    let steps = [(1, 500), (2, 2_000), (3, 1)].map(|(at, elements)| empty(elements).request("", at));
    let mut answers = clients.ingest.stream_fragments(tokio_stream::iter(steps)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().client_sequence, 1, "what came before is answered");
    let error = answers.message().await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::InvalidArgument, "REQUEST_INVALID"));
    assert!(error.message().contains("put.consents"), "{error:?}");
    child.stop();
}

#[test]
fn a_crowd_is_what_prost_would_take() {
    let put = methods().into_iter().find(|method| method.name() == "PutFragment").unwrap();
    let mut all = Vec::new();
    ways(&put.input(), &mut Vec::new(), &mut all);
    let consents = all.iter().find(|way| way.last().unwrap().name() == "consents").unwrap();
    assert!(crowd(consents, BYTES).len() <= 4 << 20);
    let bytes = crowd(consents, 1 << 16);
    let fragment = pb::PutFragmentRequest::decode(bytes.as_slice()).unwrap().fragment.unwrap();
    let taken = size_of_val(fragment.consents.as_slice());
    assert!(taken > 100 * bytes.len(), "not counted, {} bytes become {taken}", bytes.len());
}
