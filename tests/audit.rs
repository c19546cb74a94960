//! The log of a server that runs is checked beside its writes: what was acknowledged is whole, and what was changed on disk
//! under the server's feet is named.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use onefold_core::head::SignedHead;
use onefold_proto::v1 as pb;
use onefold_server::audit;
use onefold_tests::consent::at;
use onefold_tests::{Clients, House, person};
use pb::verify_log_response::Part;

fn mail(number: u32) -> String {
    format!("p{number}@harbour-mail.net")
}

fn fragment(number: u32) -> pb::Fragment {
    person("crm", &number.to_string(), 1_700_000_000, &[("email", &mail(number))], &[])
}

async fn verify(clients: &Clients, kept_heads: Vec<pb::LogHead>) -> pb::VerifyLogReport {
    let mut audits = clients.audits.clone();
    let mut parts = audits.verify_log(pb::VerifyLogRequest { kept_heads }).await.unwrap().into_inner();
    let (mut told, mut found) = (0, None);
    while let Some(message) = parts.message().await.unwrap() {
        match message.part.unwrap() {
            Part::Progress(progress) => {
                assert!(progress.segments <= progress.segments_total, "{progress:?}");
                told += 1;
            }
            Part::Report(report) => found = Some(report),
        }
    }
    assert!(told > 0, "it says how far it has come");
    found.unwrap()
}

fn heads(data: &Path) -> PathBuf {
    data.join("heads").join("heads.jsonl")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_checked_while_it_is_written_and_persons_are_erased() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(dir.path()).await;
    house.sources(&["crm"]).await;
    for number in 0..20 {
        house.put(fragment(number)).await;
    }
    let (ends, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let writing = tokio::spawn({
        let (mut clients, ends, written) = (house.clients(), Arc::clone(&ends), Arc::clone(&written));
        async move {
            let mut number = 1_000;
            while !ends.load(Ordering::Relaxed) {
                clients.put(fragment(number)).await;
                number += 1;
                written.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let mut before = pb::VerifyLogReport::default();
    for number in 0..8 {
        let (mut erasing, checking) = (house.clients(), house.clients());
        let (erased, report) =
            tokio::join!(erasing.forget(vec![at("email", &mail(number))]), verify(&checking, vec![]));
        erased.unwrap();
        assert_eq!(report.fault, "");
        assert!(report.entries > before.entries && report.erasures >= u64::from(number), "{report:?}");
        assert!(report.destroyed_keys >= report.erasures, "{report:?}");
        before = report;
    }
    // It was written all the while.
    let now = written.load(Ordering::Relaxed);
    while written.load(Ordering::Relaxed) < now + 3 {
        tokio::task::yield_now().await;
    }
    ends.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    let last = verify(&house.clients(), vec![]).await;
    assert_eq!((last.fault.as_str(), last.erasures, last.receipts), ("", 8, 8));
    house.close().await;
    // With the server down the same is found, and what a shutdown adds.
    let offline = audit::verify(dir.path(), None, None).unwrap();
    assert_eq!((offline.erasures, offline.receipts, offline.destroyed_keys), (8, 8, last.destroyed_keys));
    assert_eq!(offline.public_key, last.public_key);
    assert!(offline.entries >= last.entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_were_kept_elsewhere_tell_another_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(dir.path()).await;
    house.sources(&["crm"]).await;
    house.put(fragment(1)).await;
    house.close().await;
    let copy = dir.path().join("copy.jsonl");
    fs::copy(heads(dir.path()), &copy).unwrap();
    let kept: Vec<SignedHead> = audit::heads_of(&copy).unwrap();
    let wire = |head: &SignedHead| pb::LogHead {
        segment: head.log.segment,
        offset: head.log.offset,
        chain: head.log.chain.clone(),
        signed_time: head.time.clone(),
    };
    let house = House::open(dir.path()).await;
    let clients = house.clients();
    let good: Vec<pb::LogHead> = kept.iter().map(wire).collect();
    let report = verify(&clients, good.clone()).await;
    assert_eq!(report.fault, "");
    assert_eq!(report.public_key, kept[0].public_key);
    assert!(report.heads > 0 && !report.head_time.is_empty(), "{report:?}");

    let newest = good.last().unwrap().clone();
    let other = pb::LogHead { chain: "ab".repeat(32), ..newest.clone() };
    let found = verify(&clients, vec![other]).await.fault;
    assert!(found.contains("rewritten") && found.contains(&newest.signed_time), "{found}");
    let further = pb::LogHead { segment: newest.segment + 9, ..newest.clone() };
    let found = verify(&clients, vec![further]).await.fault;
    assert!(found.contains("cut back"), "{found}");
    let mut audits = clients.audits.clone();
    for odd in [
        pb::LogHead { chain: "zz".to_owned(), ..newest.clone() },
        pb::LogHead { signed_time: "a b".to_owned(), ..newest },
    ] {
        let refused = audits.verify_log(pb::VerifyLogRequest { kept_heads: vec![odd] }).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains("kept_heads[0]"), "{refused}");
    }
    house.close().await;
    // A line of the copy that was changed is named before anybody is asked.
    fs::write(&copy, fs::read_to_string(&copy).unwrap().replacen("\"offset\":", "\"offset\":1", 1)).unwrap();
    let found = audit::heads_of(&copy).unwrap_err();
    assert!(matches!(found, audit::AuditError::HeadLine { line: 1, .. }), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_under_a_running_server_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(dir.path()).await;
    house.sources(&["crm"]).await;
    for number in 0..5 {
        house.put(fragment(number)).await;
    }
    house.forget(vec![at("email", &mail(1))]).await.unwrap();
    let clients = house.clients();
    assert_eq!(verify(&clients, vec![]).await.fault, "");

    let ledger = dir.path().join("erasures").join("ledger");
    let whole = fs::read(&ledger).unwrap();
    fs::write(&ledger, &whole[..whole.len() - 40]).unwrap();
    let found = verify(&clients, vec![]).await.fault;
    assert!(found.contains("ledger"), "{found}");
    fs::write(&ledger, &whole).unwrap();
    assert_eq!(verify(&clients, vec![]).await.fault, "");

    let segment = fs::read_dir(dir.path().join("journal")).unwrap().map(|file| file.unwrap().path()).min().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[3_000] ^= 4;
    fs::write(&segment, &bytes).unwrap();
    let report = verify(&clients, vec![]).await;
    assert!(report.fault.contains("segment 1"), "{report:?}");
    bytes[3_000] ^= 4;
    fs::write(&segment, &bytes).unwrap();
    assert_eq!(verify(&clients, vec![]).await.fault, "");
    house.close().await;
}
