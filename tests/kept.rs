//! Answers that are kept are never old ones: what was acknowledged shows in the next read, whichever way somebody is
//! asked for, under any race; what was erased is gone at once; and a kept answer says what a fresh one would.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use onefold_proto::v1 as pb;
use onefold_tests::consent::{at, of_record, said};
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::traffic::{Message, Mill, SOURCES, open_sources};
use onefold_tests::{Clients, House, identifier, person, reason, record};
use pb::lookup_profile_request::Key;
use tonic::Status;

const THEN: i64 = 1_700_000_000;

/// The ways to read somebody whose record is known, each of which may find a kept answer.
const WAYS: u64 = 3;

fn mail(who: usize) -> String {
    format!("p{who}@harbour-mail.net")
}

/// Looks somebody up; `None` where nobody is found.
async fn read(clients: &mut Clients, way: u64, who: usize, min_sequence: u64) -> Option<pb::Profile> {
    let of = |key| pb::LookupProfileRequest { key: Some(key), min_sequence, ..Default::default() };
    let found = match way % WAYS {
        0 => clients.profiles.lookup_profile(of(Key::Identifier(identifier("email", &mail(who))))).await,
        1 => clients.profiles.lookup_profile(of(Key::Record(record("crm", &who.to_string())))).await,
        _ => {
            let key = pb::profile_key::Key::Identifier(identifier("email", &mail(who)));
            let keys = vec![pb::ProfileKey { key: Some(key) }];
            let request = pb::BatchLookupProfilesRequest { keys, min_sequence, ..Default::default() };
            let mut results = clients.profiles.batch_lookup_profiles(request).await.unwrap().into_inner().results;
            let result = results.pop().unwrap();
            assert!(results.is_empty() && (result.profile.is_some() != (result.reason == "PROFILE_NOT_FOUND")));
            return result.profile;
        }
    };
    match found {
        Ok(found) => Some(found.into_inner().profile.unwrap()),
        Err(status) => {
            assert_eq!(reason(&status), "PROFILE_NOT_FOUND", "{status}");
            None
        }
    }
}

/// What one writer did to one person: how many steps were begun, and how many acknowledged, up to which sequence.
#[derive(Default)]
struct Story {
    begun: AtomicU64,
    done: AtomicU64,
    sequence: AtomicU64,
}

/// Every seventh step takes the person back; all others say which step they are.
const fn is_gone(step: u64) -> bool {
    step.is_multiple_of(7)
}

async fn write(mut clients: Clients, who: usize, story: Arc<Story>, steps: u64) {
    for step in 1..=steps {
        story.begun.store(step, Ordering::SeqCst);
        let (key, when) = (who.to_string(), THEN + step as i64);
        let result = if is_gone(step) {
            clients.retract("crm", &key, when).await
        } else {
            let name = step.to_string();
            clients.put(person("crm", &key, when, &[("email", &mail(who))], &[("name.given", &name)])).await
        };
        assert_eq!(result.status(), pb::IngestStatus::Accepted);
        story.sequence.store(result.sequence, Ordering::SeqCst);
        story.done.store(step, Ordering::SeqCst);
    }
}

async fn follow(mut clients: Clients, seed: u64, stories: Arc<Vec<Arc<Story>>>, over: Arc<AtomicBool>) -> u64 {
    let (mut dice, mut reads) = (Dice::new(seed), 0);
    while !over.load(Ordering::SeqCst) {
        let who = dice.index(stories.len());
        let story = &stories[who];
        let min_sequence = if dice.once_in(3) { story.sequence.load(Ordering::SeqCst) } else { 0 };
        let least = story.done.load(Ordering::SeqCst);
        let shown = read(&mut clients, seed + reads, who, min_sequence).await;
        let most = story.begun.load(Ordering::SeqCst);
        match shown {
            Some(profile) => {
                let step: u64 = match profile.values[0].value.clone().unwrap() {
                    pb::golden_value::Value::Text(step) => step.parse().unwrap(),
                    other => panic!("{other:?}"),
                };
                assert!((least..=most).contains(&step), "person {who}: step {step} between {least} and {most}");
            }
            None => {
                assert!(least == 0 || (least..=most).any(is_gone), "person {who}: nobody between {least} and {most}");
            }
        }
        reads += 1;
    }
    reads
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_shows_in_the_next_read_under_any_race() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let stories: Arc<Vec<Arc<Story>>> = Arc::new((0..6).map(|_| Arc::default()).collect());
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|seed| tokio::spawn(follow(Clients::clone(&house), seed, Arc::clone(&stories), Arc::clone(&over))))
        .collect();
    let steps = how_many("ONEFOLD_KEPT_STEPS", 150) as u64;
    let writers: Vec<_> = stories
        .iter()
        .enumerate()
        .map(|(who, story)| tokio::spawn(write(Clients::clone(&house), who, Arc::clone(story), steps)))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() > steps, "readers read more often than anything changes");
    }
    house.close().await;
}

/// The BASIC view of a profile that was read in full.
fn basic(mut profile: pb::Profile) -> pb::Profile {
    for value in &mut profile.values {
        (value.provenance, value.support, value.rule) = (None, 0, String::new());
    }
    profile.identifiers.iter_mut().for_each(|identifier| identifier.provenance.clear());
    profile.other_values.clear();
    profile.records.clear();
    profile.traits_json.clear();
    profile
}

#[tokio::test]
async fn a_kept_answer_says_what_a_fresh_one_would() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    open_sources(&mut house, "").await;
    let mut mill = Mill::new(Dice::new(5), 12, 120);
    let mut found = 0;
    for _ in 0..how_many("ONEFOLD_KEPT_ROUNDS", 40) {
        let messages: Vec<Message> = (0..6).map(|_| mill.message()).collect();
        house.stream("", &messages).await.unwrap();
        for number in 0..12 {
            for source in SOURCES {
                let ask = |view: pb::ProfileView| pb::LookupProfileRequest {
                    key: Some(Key::Record(record(source, &format!("{source}-{number}")))),
                    view: view as i32,
                    ..Default::default()
                };
                let kept = house.profiles.lookup_profile(ask(pb::ProfileView::Basic)).await;
                let fresh = house.profiles.lookup_profile(ask(pb::ProfileView::Full)).await;
                match (kept, fresh) {
                    (Ok(kept), Ok(fresh)) => {
                        let fresh = basic(fresh.into_inner().profile.unwrap());
                        assert_eq!(kept.into_inner().profile.unwrap(), fresh);
                        found += 1;
                    }
                    (kept, fresh) => {
                        assert_eq!(reason(&kept.unwrap_err()), reason(&fresh.unwrap_err()), "{source}-{number}");
                    }
                }
            }
        }
    }
    assert!(found > 100, "{found}");
    house.close().await;
}

/// Everything that a reader may ask for of somebody.
async fn shown(clients: &mut Clients, who: usize, name: &str) -> Vec<Option<pb::Profile>> {
    let mut all = Vec::new();
    for way in 0..WAYS {
        all.push(read(clients, way, who, 0).await);
    }
    let request = pb::GetProfileRequest { name: name.to_owned(), ..Default::default() };
    let gone = |status: Status| assert_eq!(reason(&status), "PROFILE_ERASED", "{status}");
    all.push(clients.profiles.get_profile(request).await.map_err(gone).ok().and_then(|got| got.into_inner().profile));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_an_erased_person_is_gone_at_once() {
    const PEOPLE: usize = 16;
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let mut names = Vec::new();
    for who in 0..PEOPLE {
        let fragment = person("crm", &who.to_string(), THEN, &[("email", &mail(who))], &[("name.given", "Ada")]);
        names.push(house.put(fragment).await.profile);
    }
    for (who, name) in names.iter().enumerate() {
        assert!(shown(&mut house, who, name).await.iter().all(Option::is_some), "kept from now on");
    }
    let erased: Arc<Vec<AtomicBool>> = Arc::new((0..PEOPLE).map(|_| AtomicBool::new(false)).collect());
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|seed| {
            let (mut clients, erased, over) = (Clients::clone(&house), Arc::clone(&erased), Arc::clone(&over));
            tokio::spawn(async move {
                let mut dice = Dice::new(seed);
                while !over.load(Ordering::SeqCst) {
                    let who = dice.index(PEOPLE);
                    let was_erased = erased[who].load(Ordering::SeqCst);
                    let found = read(&mut clients, dice.below(WAYS), who, 0).await;
                    assert!(!(was_erased && found.is_some()), "person {who} was erased and is shown");
                }
            })
        })
        .collect();
    for who in (0..PEOPLE).step_by(2) {
        house.forget(vec![at("email", &mail(who))]).await.unwrap();
        erased[who].store(true, Ordering::SeqCst);
        assert_eq!(shown(&mut house, who, &names[who]).await, vec![None; 4], "person {who}");
    }
    over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    for (who, name) in names.iter().enumerate().skip(1).step_by(2) {
        assert!(shown(&mut house, who, name).await.iter().all(Option::is_some), "person {who} is still there");
    }
    house.close().await;
}

#[tokio::test]
async fn a_kept_answer_follows_the_configuration_and_opens_nothing_to_a_purpose() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm", "shop"]).await;
    let tenant = pb::Tenant {
        name: "tenants/default".to_owned(),
        default_survivorship: pb::SurvivorshipRule::MostTrusted as i32,
        ..Default::default()
    };
    house.admin.update_tenant(pb::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() }).await.unwrap();
    for (source, name) in [("crm", "Ada"), ("shop", "Augusta")] {
        let fragment = person(source, "0", THEN, &[("email", &mail(0))], &[("name.given", name)]);
        house.put(fragment).await;
    }
    for (round, (trusted, name)) in [("crm", "Ada"), ("shop", "Augusta"), ("crm", "Ada")].into_iter().enumerate() {
        let trust = 600 + 10 * round as u32;
        let source = pb::Source { name: trusted.to_owned(), trust, ..Default::default() };
        house.admin.put_source(pb::PutSourceRequest { source: Some(source), ..Default::default() }).await.unwrap();
        for way in 0..2 * WAYS {
            let profile = read(&mut house, way, 0, 0).await.unwrap();
            let value = profile.values.into_iter().find(|value| value.name == "name.given").unwrap().value;
            assert_eq!(value, Some(pb::golden_value::Value::Text(name.to_owned())), "round {round}, way {way}");
        }
    }
    let request = pb::LookupProfileRequest {
        key: Some(Key::Identifier(identifier("email", &mail(0)))),
        purpose: "marketing".to_owned(),
        ..Default::default()
    };
    let purposes = [(pb::ConsentDecision::Granted, true), (pb::ConsentDecision::Withdrawn, false)];
    assert_eq!(reason(&house.profiles.lookup_profile(request.clone()).await.unwrap_err()), "PURPOSE_NOT_PERMITTED");
    for (round, (decision, open)) in purposes.into_iter().enumerate() {
        let word = pb::ConsentSaying { channel: String::new(), ..said(decision, THEN + round as i64) };
        house.say(of_record("crm", "0"), word).await.unwrap();
        for _ in 0..2 {
            assert_eq!(house.profiles.lookup_profile(request.clone()).await.is_ok(), open, "{decision:?}");
            assert!(read(&mut house, 0, 0, 0).await.is_some(), "without a purpose as before");
        }
    }
    house.close().await;
}
