//! Superseded content leaves the disk while the server serves: nothing that is served changes, the chain still verifies,
//! and the journal alone still tells everything, also after a kill in the middle. Laws 2 and 3.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_store::journal::{Journal, JournalOptions};
use onefold_tests::child::Launch;
use onefold_tests::consent::of_record;
use onefold_tests::dice::Dice;
use onefold_tests::traffic::Message;
use onefold_tests::{Clients, person};

const RECORDS: usize = 900;
const ROUNDS: i64 = 14;
const MORE_ROUNDS: i64 = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// The record that moves.
const MOVER: usize = 3;

fn once(round: i64) -> String {
    format!("once-{round}@harbour-mail.net")
}

/// One version of a record: who shares a mailbox with whom changes from round to round.
fn version(record: usize, round: i64) -> Message {
    let mail = format!("m{}@harbour-mail.net", (record as i64 + round * 7) / 2);
    let card = format!("L{record:08}");
    let note = format!("{round}-{record}-").repeat(120);
    // One has an address of its own in every round.
    let mail = if record == MOVER { once(round) } else { mail };
    let fragment = person(
        "crm",
        &format!("k{record}"),
        1_700_000_000 + round * 100,
        &[("email", &mail), ("loyalty_id", &card)],
        &[("given_name", "Ada"), ("note", &note)],
    );
    Message::Put(fragment)
}

async fn write_all(clients: &mut Clients, dice: &mut Dice) {
    for round in 0..ROUNDS {
        let mut messages: Vec<Message> = (0..RECORDS).map(|record| version(record, round)).collect();
        dice.shuffle(&mut messages);
        for result in clients.stream("", &messages).await.unwrap() {
            assert_eq!(result.status(), pb::IngestStatus::Accepted);
        }
        // Some are away for a while, so that settlements name them when they come back.
        for record in (0..RECORDS).step_by(37) {
            clients.retract("crm", &format!("k{record}"), 1_700_000_000 + round * 100 + 50).await;
        }
    }
}

fn journal_bytes(data: &Path) -> u64 {
    std::fs::read_dir(data.join("journal")).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Rounds of the same size go on until the disk holds less than half of what was written: superseded content is looked for
/// now and then, and a segment or two are always in use.
async fn shrinks(data: &Path, bytes_per_round: u64, clients: &mut Clients) {
    for round in ROUNDS..ROUNDS + MORE_ROUNDS {
        if journal_bytes(data) < round as u64 * bytes_per_round / 2 {
            return;
        }
        let messages: Vec<Message> = (0..RECORDS).map(|record| version(record, round)).collect();
        clients.stream("", &messages).await.unwrap();
        tokio::time::sleep(PAUSE).await;
    }
    panic!("{} bytes are left of {} a round", journal_bytes(data), bytes_per_round);
}

/// Kept, and dropped by rewriting; the chain holds throughout.
fn entries(data: &Path) -> (u64, u64) {
    let options = JournalOptions { segment_bytes: 2 << 20, ..JournalOptions::new(data.join("journal")) };
    let opened = Journal::open(options, None, |_| Ok(())).unwrap();
    let report = opened.reader.verify().unwrap();
    assert!(report.damages.is_empty(), "{:?}", report.damages);
    (report.entries - report.dropped, report.dropped)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_superseded_leaves_the_disk_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data);
    launch.segment_bytes = 2 << 20;
    launch.checkpoint_every = 1;
    let (mut child, mut clients) = launch.start().await;
    clients.sources(&["crm"]).await;
    let mut dice = Dice::from_environment("ONEFOLD_TIDY_SEED", 7);
    write_all(&mut clients, &mut dice).await;
    let Message::Put(fragment) = version(RECORDS - 1, 0) else { unreachable!() };
    // Of fourteen versions or more the first and the last stay.
    shrinks(&data, (RECORDS * prost::Message::encoded_len(&fragment)) as u64, &mut clients).await;
    let before = (clients.digest().await, clients.snapshot("").await.unwrap());
    let events = clients.events("", 0).await.unwrap();

    child.kill();
    drop(clients);
    let (kept, dropped) = entries(&data);
    assert!(dropped > (RECORDS as u64) * 5, "{dropped} dropped, {kept} kept");
    for from_checkpoint in [true, false] {
        if !from_checkpoint {
            std::fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
        let (child, mut clients) = launch.start().await;
        assert_eq!((clients.digest().await, clients.snapshot("").await.unwrap()), before, "{from_checkpoint}");
        assert_eq!(clients.events("", 0).await.unwrap(), events, "the feed tells the same story");
        child.stop();
    }
    // Life goes on behind it: the same records change once more, and older versions stay superseded.
    let (child, mut clients) = launch.start().await;
    let again = clients.stream("", &[version(5, 2), version(5, ROUNDS + MORE_ROUNDS)]).await.unwrap();
    assert_eq!(
        again.iter().map(pb::IngestResult::status).collect::<Vec<_>>(),
        [pb::IngestStatus::Superseded, pb::IngestStatus::Accepted]
    );
    // What only dropped versions said is known all the same: an erasure stops it.
    clients.forget(vec![of_record("crm", &format!("k{MOVER}"))]).await.unwrap();
    let again = person("crm", "under-a-new-key", 1_790_000_000, &[("email", &once(ROUNDS - 1))], &[]);
    assert_eq!(clients.put(again).await.status(), pb::IngestStatus::Suppressed);
    child.stop();
}
