//! Killed under load (SIGKILL) again and again: what was acknowledged is there, what was not can be sent again, ids
//! resolve, and the feed tells the same story as before. Laws 2, 3 and 4.
//!
//! A kill leaves the page cache alone, so this proves recovery, not durability: that is `power.rs`.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_tests::child::Launch;
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::load::Load;
use onefold_tests::replica::Replica;
use onefold_tests::traffic::{Ledger, Mill, open_sources};
use onefold_tests::{Clients, House};
use tokio_stream::StreamExt;

const STREAMS: usize = 3;

/// Watches the feed until the server is gone; what it saw.
async fn watch(mut clients: Clients, cursor: u64) -> Vec<pb::ProfileEvent> {
    let request = pb::WatchProfilesRequest { cursor, ..Default::default() };
    let mut seen = Vec::new();
    if let Ok(messages) = clients.profiles.watch_profiles(request).await {
        let mut messages = messages.into_inner();
        while let Some(Ok(message)) = messages.next().await {
            if let Some(pb::watch_profiles_response::Message::Event(event)) = message.message {
                seen.push(event);
            }
        }
    }
    seen
}

/// The digest of a server that never knew anything but what is live.
async fn recompute(ledger: &Ledger, dice: &mut Dice) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut fresh = House::open(&dir.path().join("data")).await;
    open_sources(&mut fresh, "").await;
    let mut live = ledger.live();
    dice.shuffle(&mut live);
    let results = fresh.stream("", &live).await.unwrap();
    assert!(results.iter().all(|result| result.status() == pb::IngestStatus::Accepted));
    let digest = fresh.digest().await;
    fresh.close().await;
    digest
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed_under_load() {
    let rounds = how_many("ONEFOLD_CRASH_ROUNDS", 12);
    let mut dice = Dice::from_environment("ONEFOLD_CRASH_SEED", 20_260_201);
    let dir = tempfile::tempdir().unwrap();
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
    launch.checkpoint_every = 700;
    {
        let (child, mut clients) = launch.start().await;
        open_sources(&mut clients, "").await;
        child.stop();
    }
    let load = Arc::new(Load::new(Mill::new(dice.fork(), 60, 300)));
    let mut replica = Replica::default();
    let (mut unacknowledged, mut never_served) = (0, 0);
    for round in 0..rounds {
        load.allow(600);
        let mut child = launch.spawn();
        // The start is killed as well as the serving.
        let from_the_start = dice.once_in(4);
        let pause = Duration::from_millis(20 + dice.below(880));
        let serving = if from_the_start {
            tokio::time::timeout(pause, child.connect()).await.ok().flatten()
        } else {
            Some(child.connect().await.expect("the server starts"))
        };
        let mut at_work = Vec::new();
        let mut watching = None;
        match &serving {
            Some(clients) => {
                at_work.extend((0..STREAMS).map(|_| tokio::spawn(Arc::clone(&load).stream(clients.clone()))));
                at_work.push(tokio::spawn(Arc::clone(&load).calls(clients.clone())));
                watching = Some(tokio::spawn(watch(clients.clone(), replica.cursor())));
                tokio::time::sleep(pause).await;
            }
            None => never_served += 1,
        }
        child.kill();
        for task in at_work {
            task.abort();
            let _ = task.await;
        }
        let seen = match watching {
            Some(watching) => watching.await.unwrap(),
            None => Vec::new(),
        };

        let (mut child, mut clients) = launch.start().await;
        let mut ledger = load.noted().clone();
        let mut acknowledged = ledger.acknowledged();
        dice.shuffle(&mut acknowledged);
        let kept = ledger.check_kept(&mut clients, &acknowledged).await;
        assert_eq!(kept, Ok(()), "round {round}");
        let lost_answers: Vec<usize> = (0..ledger.sent.len()).filter(|n| ledger.answers[*n].is_none()).collect();
        unacknowledged += lost_answers.len();

        // What a consumer was told before the kill is what it is told afterwards.
        let after = clients.events("", replica.cursor()).await.unwrap();
        assert!(seen.len() <= after.len(), "round {round}: the feed has shrunk");
        assert_eq!(seen, after[..seen.len()], "round {round}: the feed tells another story than before the kill");

        // The client sends again whatever it has no answer for.
        let again: Vec<_> = lost_answers.iter().map(|number| ledger.sent[*number].clone()).collect();
        let results = clients.stream("", &again).await.unwrap();
        for (number, result) in lost_answers.into_iter().zip(results) {
            ledger.answers[number] = Some(result);
        }
        replica.follow(&mut clients, "").await;
        replica.assert_equals(&mut clients, "").await;
        let statistics = clients.statistics().await;
        assert_eq!(statistics.quarantined_count, ledger.quarantined() as u64, "round {round}");
        assert_eq!(statistics.live_record_count, ledger.live().len() as u64, "round {round}");
        assert_eq!(clients.digest().await, recompute(&ledger, &mut dice).await, "round {round}: law 2");
        *load.noted() = ledger;
        if dice.once_in(2) { child.stop() } else { child.kill() }
    }
    let ledger = load.noted();
    println!(
        "{rounds} kills, {never_served} of them before the server served; {} messages, {unacknowledged} without an \
         answer when the server died; {} events",
        ledger.sent.len(),
        replica.events.len()
    );
    assert!(ledger.sent.len() > rounds * 50, "the load was a load");
    assert!(unacknowledged > 0, "no kill met a message under way");
}
