//! Reading beside writing: whatever is asked while fragments stream in, the answer is one, never a failed store; and what
//! it shows is durable.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use onefold_proto::v1 as pb;
use onefold_tests::dice::Dice;
use onefold_tests::traffic::{Message, Mill, SOURCES, open_sources};
use onefold_tests::{Clients, House, person, reason, record};
use tonic::{Code, Status};

const STREAMS: u64 = 3;
const BATCHES: usize = 120;

/// Answers that a read may have while the state moves on.
fn expected(status: &Status) -> bool {
    matches!(
        (status.code(), reason(status).as_str()),
        (Code::NotFound, "PROFILE_NOT_FOUND" | "PROFILE_EMPTIED")
            | (Code::FailedPrecondition, "PROFILE_SPLIT" | "IDENTIFIER_SHARED")
    )
}

fn fine<T>(call: &str, answer: Result<T, Status>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(status) if expected(&status) => None,
        Err(status) => panic!("{call}: {status}"),
    }
}

/// Lists, replays and discards what is in quarantine.
async fn read_quarantine(clients: &mut Clients, dice: &mut Dice) {
    let request = pb::ListQuarantineRequest { include_fragments: true, page_size: 20, ..Default::default() };
    let listed = fine("ListQuarantine", clients.ingest.list_quarantine(request).await).unwrap().into_inner();
    for held in &listed.quarantined {
        assert!(held.fragment.is_some() && !held.faults.is_empty());
    }
    let quarantine_ids: Vec<String> = listed.quarantined.into_iter().map(|held| held.quarantine_id).collect();
    if dice.once_in(4) {
        fine("ReplayQuarantine", clients.ingest.replay_quarantine(pb::ReplayQuarantineRequest::default()).await);
    } else if !quarantine_ids.is_empty() {
        let quarantine_ids = vec![dice.pick(&quarantine_ids).clone()];
        let request = pb::DiscardQuarantineRequest { quarantine_ids, ..Default::default() };
        fine("DiscardQuarantine", clients.ingest.discard_quarantine(request).await);
    }
}

async fn read_profiles(clients: &mut Clients, dice: &mut Dice) {
    let number = dice.below(40);
    fine("LookupProfile", clients.lookup("email", &format!("p{number}@harbour-mail.net")).await);
    let source = dice.word(&SOURCES);
    let view = pb::ProfileView::Full as i32;
    let key = pb::lookup_profile_request::Key::Record(record(source, &format!("{source}-{number}")));
    let request = pb::LookupProfileRequest { key: Some(key), view, ..Default::default() };
    let Some(found) = fine("LookupProfile", clients.profiles.lookup_profile(request).await) else { return };
    let profile = found.into_inner().profile.unwrap();
    let (name, min_sequence) = (profile.name.clone(), profile.sequence);
    let request = pb::GetProfileRequest { name, min_sequence, view, ..Default::default() };
    fine("GetProfile", clients.profiles.get_profile(request).await);
    let request = pb::ExplainProfileRequest { name: profile.name.clone() };
    fine("ExplainProfile", clients.profiles.explain_profile(request).await);
    let other = format!("crm-{}", dice.below(40));
    let (first, second) = (profile.records.first().cloned(), Some(record("crm", &other)));
    let request = pb::ExplainLinkRequest { first, second, ..Default::default() };
    fine("ExplainLink", clients.profiles.explain_link(request).await);
    let request = pb::ListProfileHistoryRequest { name: profile.name, ..Default::default() };
    fine("ListProfileHistory", clients.profiles.list_profile_history(request).await);
}

async fn read_all(clients: &mut Clients) {
    fine("WatchProfiles", clients.snapshot("").await);
    fine("WatchProfiles", clients.events("", 0).await);
    let request = pb::GetDigestRequest { include_golden_values: true, ..Default::default() };
    let digest = fine("GetDigest", clients.admin.get_digest(request).await).unwrap().into_inner();
    // What a digest stands for has been reached, so a read may ask for it.
    let request = pb::GetDigestRequest { min_sequence: digest.sequence, ..Default::default() };
    fine("GetDigest", clients.admin.get_digest(request).await);
}

async fn read(what: u64, mut clients: Clients, over: Arc<AtomicBool>) -> usize {
    let (mut dice, mut rounds) = (Dice::new(what), 0);
    while !over.load(Ordering::Relaxed) {
        rounds += 1;
        match what {
            0 => read_quarantine(&mut clients, &mut dice).await,
            1 => read_profiles(&mut clients, &mut dice).await,
            _ => read_all(&mut clients).await,
        }
    }
    rounds
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_beside_a_stream_never_find_a_failed_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    open_sources(&mut house, "").await;
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> =
        (0..3).map(|what| tokio::spawn(read(what, Clients::clone(&house), Arc::clone(&over)))).collect();
    let writers: Vec<_> = (0..STREAMS)
        .map(|seed| {
            let (mut clients, mut mill) = (Clients::clone(&house), Mill::new(Dice::new(100 + seed), 40, 400));
            tokio::spawn(async move {
                for _ in 0..BATCHES {
                    let messages: Vec<Message> = (0..12).map(|_| mill.message()).collect();
                    clients.stream("", &messages).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let mut rounds = Vec::new();
    for reader in readers {
        rounds.push(reader.await.unwrap());
    }
    println!("{rounds:?} rounds of reading beside {} batches", STREAMS as usize * BATCHES);
    assert!(rounds.iter().all(|rounds| *rounds > 0));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_named_call_reached_can_be_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    open_sources(&mut house, "").await;
    let request = pb::PutFragmentRequest {
        fragment: Some(person("crm", "1", 1_700_000_000, &[], &[])),
        request_id: "0f8fad5b-d9cb-469f-a165-70867728950e".to_owned(),
        ..Default::default()
    };
    house.ingest.put_fragment(request).await.unwrap();
    let digest = house.admin.get_digest(pb::GetDigestRequest::default()).await.unwrap().into_inner();
    let request = pb::GetDigestRequest { min_sequence: digest.sequence, ..Default::default() };
    let again = house.admin.get_digest(request).await.unwrap().into_inner();
    assert_eq!(again.graph_digest, digest.graph_digest);
    assert_eq!(house.statistics().await.sequence, digest.sequence);
    house.close().await;
}
