//! Killed (SIGKILL) at random points while everything happens at once: streams of fragments with retractions and re-sends,
//! judgements, statements, contacts with reservation, moves of accounts, stages, erasures, from several callers. After every
//! start each caller finds what was acknowledged to it, and what was on its way wholly or not at all; the journal alone
//! tells the same state; and a server that never knew anything but what is live, comes to the same clusters. Laws 2, 3, 7.
//!
//! `ONEFOLD_KILLS=500` is the long form; the seed is printed.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_tests::actor::{Actor, prepare};
use onefold_tests::canary::{in_the_clear, with_the_keys};
use onefold_tests::child::{Launch, copy_of};
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::load::Load;
use onefold_tests::traffic::{Mill, open_sources};
use onefold_tests::{Clients, House, reason};

const ACTORS: usize = 5;
/// Kills of one data directory: what grows with its history stays bounded in the long form.
const KILLS_OF_ONE_LIFE: usize = 8;
const SEGMENT_BYTES: u32 = 4 << 20;

/// What is computed from the rest: nothing of it is ground.
const DERIVED: [&str; 2] = ["checkpoint", "keyed"];

/// The digest of a server that never knew anything but what is live now.
async fn recompute(load: &Load, actors: &mut [Actor], dice: &mut Dice) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut fresh = House::open(&dir.path().join("data")).await;
    open_sources(&mut fresh, "").await;
    let mut live = load.noted().live();
    live.extend(actors.iter().flat_map(Actor::live));
    dice.shuffle(&mut live);
    let results = fresh.stream("", &live).await.unwrap();
    assert!(results.iter().all(|result| result.status() == pb::IngestStatus::Accepted));
    for request in actors.iter_mut().filter_map(Actor::judged) {
        fresh.reviews.judge(request).await.unwrap();
    }
    let digest = fresh.digest().await;
    fresh.close().await;
    digest
}

/// What is compared of a server and its ground.
async fn state(clients: &mut Clients) -> (u64, (String, String), Vec<pb::Profile>) {
    let digest = clients.digest().await;
    let snapshot = clients.snapshot("").await.unwrap();
    (clients.statistics().await.sequence, digest, snapshot)
}

/// One data directory from its beginning through some kills to its end; acts done, calls in doubt, and those of them that
/// were there.
async fn one_life(kills: usize, dice: &mut Dice) -> (usize, usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data);
    launch.segment_bytes = SEGMENT_BYTES;
    launch.checkpoint_every = 300 + dice.below(600);
    let mut actors: Vec<Actor> = (0..ACTORS).map(|number| Actor::new(number, dice.fork())).collect();
    let load = Arc::new(Load::new(Mill::new(dice.fork(), 60, 300)));
    let (child, mut clients) = launch.start().await;
    prepare(&mut clients, &mut actors).await;
    child.stop();
    for round in 0..kills {
        let (mut child, clients) = launch.start().await;
        load.allow(400);
        let mut streams = vec![tokio::spawn(Arc::clone(&load).stream(clients.clone()))];
        streams.push(tokio::spawn(Arc::clone(&load).stream(clients.clone())));
        streams.push(tokio::spawn(Arc::clone(&load).calls(clients.clone())));
        let at_work: Vec<_> = actors.drain(..).map(|actor| tokio::spawn(actor.act(clients.clone()))).collect();
        tokio::time::sleep(Duration::from_micros(5_000 + dice.below(350_000))).await;
        child.kill();
        for actor in at_work {
            actors.push(actor.await.unwrap());
        }
        for stream in streams {
            stream.abort();
            let _ = stream.await;
        }
        // The start that mends is killed as well, now and then.
        if dice.once_in(4) {
            let mut child = launch.spawn();
            tokio::time::sleep(Duration::from_micros(dice.below(60_000))).await;
            child.kill();
        }
        let ground = dir.path().join("ground");
        copy_of(&data, &ground, &DERIVED);
        let mut from_ground = launch.clone();
        from_ground.data = ground.clone();
        let (child, mut clients) = launch.start().await;
        let (other, mut others) = from_ground.start().await;
        assert_eq!(
            state(&mut clients).await,
            state(&mut others).await,
            "round {round}: the journal tells another state"
        );
        for actor in &actors {
            let (seen, there) = (actor.observe(&mut clients).await.unwrap(), actor.observe(&mut others).await.unwrap());
            assert_eq!(seen, there, "round {round}: the journal tells another state");
        }
        other.stop();
        fs::remove_dir_all(&ground).unwrap();

        for actor in &mut actors {
            assert_eq!(actor.check(&mut clients).await, Ok(()), "round {round}");
        }
        let mut ledger = load.noted().clone();
        let kept = ledger.check_kept(&mut clients, &ledger.acknowledged()).await;
        assert_eq!(kept, Ok(()), "round {round}");
        let lost: Vec<usize> = (0..ledger.sent.len()).filter(|n| ledger.answers[*n].is_none()).collect();
        let again: Vec<_> = lost.iter().map(|number| ledger.sent[*number].clone()).collect();
        for (number, result) in lost.into_iter().zip(clients.stream("", &again).await.unwrap()) {
            ledger.answers[number] = Some(result);
        }
        *load.noted() = ledger;
        let digest = clients.digest().await;
        assert_eq!(digest, recompute(&load, &mut actors, dice).await, "round {round}: law 2");
        if dice.once_in(2) { child.stop() } else { drop(child) }
    }
    let (child, mut clients) = launch.start().await;
    for actor in &mut actors {
        assert_eq!(actor.exhaust(&mut clients).await, Ok(()));
    }
    child.stop();
    assert_eq!(in_the_clear(&data), BTreeSet::new());
    let readable = with_the_keys(&data, SEGMENT_BYTES);
    for actor in &actors {
        let (here, gone) = actor.canaries();
        assert!(readable.is_superset(&here), "the search finds who is here");
        assert!(readable.is_disjoint(&gone), "{gone:?} are erased, and of {readable:?} something can be read");
    }
    let sum = |of: fn(&Actor) -> usize| actors.iter().map(of).sum::<usize>();
    (sum(|actor| actor.done), sum(|actor| actor.in_doubt.0), sum(|actor| actor.in_doubt.1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_amid_everything_at_once_leaves_nothing_half_done() {
    let kills = how_many("ONEFOLD_KILLS", 12);
    let seed = Dice::from_environment("ONEFOLD_KILL_SEED", 20_261_127).next();
    let (mut done, mut doubt, mut there, mut left) = (0, 0, 0, kills);
    for life in 0.. {
        if left == 0 {
            break;
        }
        // One life can be repeated alone: it has dice of its own.
        let mut dice = Dice::new(seed.wrapping_add(life));
        let some = left.min(KILLS_OF_ONE_LIFE);
        println!("life {life}: {some} kills");
        let (acts, in_doubt, were_there) = one_life(some, &mut dice).await;
        (done, doubt, there, left) = (done + acts, doubt + in_doubt, there + were_there, left - some);
    }
    println!("{kills} kills: {done} acts acknowledged, {doubt} in doubt, {there} of these were done");
    assert!(done > kills * 20, "the load was a load");
    assert!(doubt > 0 && there < doubt, "no kill met a call on its way");
}

/// The newest file of every folder of a data directory that holds more than keys.
fn newest_files(data: &Path) -> Vec<(&'static str, PathBuf)> {
    let newest = |part: &'static str| {
        let (mut found, mut open) = (Vec::new(), vec![data.join(part)]);
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { open.push(path) } else { found.push(path) }
            }
        }
        found.retain(|path| fs::metadata(path).unwrap().len() > 0);
        found.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
        found.pop().map(|path| (part, path))
    };
    ["journal", "vault", "checkpoint", "keyed", "erasures"].into_iter().filter_map(newest).collect()
}

/// Does something to the last 4 KiB that were written of a file; says what.
fn spoil(file: &Path, dice: &mut Dice) -> String {
    let mut bytes = fs::read(file).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let at = end - 1 - dice.below(end.min(4_096) as u64) as usize;
    let what = match dice.below(3) {
        0 => {
            bytes[at] ^= 1 << dice.below(8);
            format!("a bit of byte {at} of {end} is flipped")
        }
        1 => {
            bytes.truncate(at);
            format!("cut at {at} of {end}")
        }
        _ => {
            bytes[at..].fill(0);
            format!("zeroes from {at} of {end}")
        }
    };
    fs::write(file, bytes).unwrap();
    what
}

/// What is damaged after a kill is found, and named in the refusal, in the answer or in the log; nothing wrong is shown.
#[tokio::test(flavor = "multi_thread")]
async fn damage_to_the_newest_pages_is_named_and_never_served() {
    let damages = how_many("ONEFOLD_DAMAGES", 15);
    let mut dice = Dice::from_environment("ONEFOLD_DAMAGE_SEED", 20_261_128);
    let dir = tempfile::tempdir().unwrap();
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data);
    (launch.segment_bytes, launch.checkpoint_every) = (SEGMENT_BYTES, 900);
    launch.environment.push(("ONEFOLD_TEST_LOG".into(), "warn".into()));
    let mut actors: Vec<Actor> = (0..ACTORS).map(|number| Actor::new(number, dice.fork())).collect();
    let load = Arc::new(Load::new(Mill::new(dice.fork(), 60, 300)));
    let (mut child, mut clients) = launch.start().await;
    prepare(&mut clients, &mut actors).await;
    load.allow(1_500);
    let stream = tokio::spawn(Arc::clone(&load).stream(clients.clone()));
    let at_work: Vec<_> = actors.drain(..).map(|actor| tokio::spawn(actor.act(clients.clone()))).collect();
    tokio::time::sleep(Duration::from_millis(900)).await;
    child.kill();
    stream.abort();
    for actor in at_work {
        actors.push(actor.await.unwrap());
    }
    // An erasure destroys the checkpoint, and the next one waits for rest. It is there when the server is killed again.
    let (mut child, clients) = launch.start().await;
    load.allow(1_200);
    let stream = tokio::spawn(Arc::clone(&load).stream(clients));
    for _ in 0..600 {
        if newest_files(&data).len() == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    child.kill();
    stream.abort();
    launch.data = copy.clone();
    copy_of(&data, &copy, &[]);
    let (child, mut clients) = launch.start().await;
    let (_, digest, _) = state(&mut clients).await;
    let mut sound = Vec::new();
    for actor in &actors {
        sound.push(actor.observe(&mut clients).await.unwrap());
    }
    drop(child);
    let files = newest_files(&data);
    assert_eq!(files.len(), 5, "{files:?}");
    let (mut refused, mut answered, mut mended) = (0, 0, 0);
    for number in 0..damages {
        fs::remove_dir_all(&copy).unwrap();
        copy_of(&data, &copy, &[]);
        let (part, file) = &files[number % files.len()];
        let file = file.strip_prefix(&data).unwrap();
        let what = format!("damage {number}: {}: {}", file.display(), spoil(&copy.join(file), &mut dice));
        let mut child = launch.spawn();
        let Some(mut clients) = child.connect().await else {
            let (_, said) = child.end();
            let named = if *part == "erasures" { "erasure" } else { part };
            assert!(said.contains(named) && !said.contains("panicked"), "{what}: the start says {said}");
            refused += 1;
            continue;
        };
        let request = pb::GetDigestRequest { include_golden_values: true, ..Default::default() };
        let mut wrong = Vec::new();
        let mut told = 0;
        match clients.admin.get_digest(request).await {
            Ok(shown) => {
                let shown = shown.into_inner();
                if (shown.graph_digest, shown.golden_digest) != digest {
                    wrong.push("another digest".to_owned());
                }
            }
            Err(status) if reason(&status) == "DATA_DAMAGED" => told += 1,
            Err(status) => wrong.push(status.to_string()),
        }
        for (actor, sound) in actors.iter().zip(&sound) {
            match actor.observe(&mut clients).await {
                Ok(seen) if seen == *sound => {}
                Ok(seen) => wrong.push(format!("{seen:?} instead of {sound:?}")),
                Err(status) if reason(&status) == "DATA_DAMAGED" => told += 1,
                Err(status) => wrong.push(status.to_string()),
            }
        }
        child.kill();
        let (_, said) = child.end();
        assert!(!said.contains("panicked"), "{what}: {said}");
        // An end that is gone cannot be told from one that never was; but the place is told.
        let cut = *part == "journal" && said.contains("was cut from the journal");
        assert!(wrong.is_empty() || cut, "{what}: {wrong:?}, and the log says {said}");
        if told > 0 { answered += 1 } else { mended += 1 }
    }
    println!("{damages} damages: {refused} refused at the start, {answered} in answers, {mended} without harm");
}
