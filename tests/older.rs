//! LAW 7 beyond what is live: older versions of records that are somebody else's today, backups and copies of before, and
//! what was corrected of a person whom all sources took back.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_server::audit::{self, AuditError};
use onefold_tests::backups::{back_up, restore_after};
use onefold_tests::canary::{canary, mail, with_the_keys};
use onefold_tests::child::copy_of;
use onefold_tests::consent::{at, of_record, said};
use onefold_tests::privacy::{correction, objection};
use onefold_tests::{Clients, House, SEGMENT_BYTES, person, reason};
use pb::ConsentDecision as Decision;
use pb::PrivacyRequestKind as Kind;

const THEN: i64 = 1_700_000_000;

/// A record says that it is this person's.
async fn tell(clients: &mut Clients, key: &str, at: i64, who: usize) -> pb::IngestStatus {
    let fragment = person("crm", key, at, &[("email", &mail(who))], &[("given_name", &canary(who))]);
    clients.put(fragment).await.status()
}

async fn restart(house: House, data: &Path, alone: bool) -> House {
    house.close().await;
    if alone {
        fs::remove_dir_all(data.join("checkpoint")).unwrap();
    }
    House::open(data).await
}

/// An address was typed at the wrong contact and corrected: what the contact's record said with it is the other's, and goes
/// when the other is erased. The contact stays as it is, and what was denied of its record stays denied.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_record_said_of_somebody_else_goes_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("backup"));
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    tell(&mut house, "5", THEN, 1).await;
    house.say(of_record("crm", "5"), said(Decision::Withdrawn, THEN)).await.unwrap();
    tell(&mut house, "1", THEN, 1).await;
    back_up(&mut house, &out).await;
    tell(&mut house, "5", THEN + 1, 2).await;
    // And on and on: a bound on keys is no bound on what a record may say.
    for turn in 0..12 {
        tell(&mut house, "6", THEN + turn, 3 + usize::try_from(turn % 2).unwrap()).await;
    }
    let (bob, graph) = (house.lookup("email", &mail(2)).await.unwrap().name, house.graph_digest().await);
    let name = house.ask_for_erasure(vec![at("email", &mail(1))]).await.unwrap();
    let preview = house.preview(&name).await.unwrap();
    assert_eq!((preview.records.len(), preview.older_versions_of), (1, 1));
    house.erase(&name, &preview.etag).await.unwrap();
    assert_ne!(house.graph_digest().await, graph);
    let graph = house.graph_digest().await;
    for alone in [false, true, false] {
        house = restart(house, &data, alone).await;
        assert_eq!(house.graph_digest().await, graph, "alone: {alone}");
        assert_eq!(house.lookup("email", &mail(2)).await.unwrap().name, bob, "ids are a contract");
        assert_eq!(reason(&house.lookup("email", &mail(1)).await.unwrap_err()), "PROFILE_NOT_FOUND");
        let held = house.holds(at("email", &mail(2))).await.unwrap();
        assert_eq!(held.state(), pb::ConsentState::Withdrawn, "a no at the record is not lost");
    }
    let asked = house.ask_for(Kind::Access, vec![at("email", &mail(2))]).await.unwrap();
    let etag = house.preview_export(&asked).await.unwrap().etag;
    let (text, _) = house.export(&asked, &etag).await.unwrap();
    assert!(text.contains(&canary(2)) && !text.contains(&canary(1)), "{text}");
    assert_eq!(tell(&mut house, "5", THEN + 2, 1).await, pb::IngestStatus::Suppressed, "an old file again");
    assert_eq!(tell(&mut house, "5", THEN + 2, 2).await, pb::IngestStatus::Accepted);
    house.close().await;
    let left = with_the_keys(&data, SEGMENT_BYTES);
    assert!(left.contains(&2) && !left.contains(&1), "{left:?}");
    audit::verify(&data, None, None).unwrap();

    // In the backup that record is the erased person's still. What it says today comes from its source.
    let again = dir.path().join("again");
    restore_after(&data, &out, &again).unwrap();
    let mut house = House::open(&again).await;
    for alone in [false, true] {
        assert_eq!(reason(&house.lookup("email", &mail(1)).await.unwrap_err()), "PROFILE_NOT_FOUND", "alone: {alone}");
        house = restart(house, &again, alone).await;
    }
    assert_eq!(tell(&mut house, "5", THEN, 1).await, pb::IngestStatus::Suppressed, "the old file again");
    assert_eq!(tell(&mut house, "5", THEN + 1, 2).await, pb::IngestStatus::Accepted);
    assert_eq!(house.lookup("email", &mail(2)).await.unwrap().record_count, 1);
    let held = house.holds(at("email", &mail(2))).await.unwrap();
    assert_eq!(held.state(), pb::ConsentState::Withdrawn, "nor by a restore");
    house.close().await;
    assert!(!with_the_keys(&again, SEGMENT_BYTES).contains(&1));
}

/// A snapshot of before was rolled back, with the ledgers of today beside it: everybody who was erased since was there again,
/// what was denied since was allowed, and neither the audit nor a start said a word.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_beside_newer_ledgers_is_named_and_carried_on() {
    let dir = tempfile::tempdir().unwrap();
    let (data, old) = (dir.path().join("data"), dir.path().join("old"));
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    for who in 1..=6 {
        tell(&mut house, &who.to_string(), THEN, who).await;
        house.say(at("email", &mail(who)), said(Decision::Granted, THEN)).await.unwrap();
    }
    house.forget(vec![at("email", &mail(1))]).await.unwrap();
    house.close().await;
    copy_of(&data, &old, &[]);
    let mut house = House::open(&data).await;
    house.forget(vec![at("email", &mail(2))]).await.unwrap();
    house.say(at("email", &mail(3)), said(Decision::Withdrawn, THEN + 1)).await.unwrap();
    house.restrict(at("email", &mail(4))).await.unwrap();
    house.close().await;
    for ledger in fs::read_dir(data.join("erasures")).unwrap() {
        let ledger = ledger.unwrap();
        fs::copy(ledger.path(), old.join("erasures").join(ledger.file_name())).unwrap();
    }

    let named = audit::verify(&old, None, None);
    assert!(matches!(named, Err(AuditError::NotInLog { .. })), "{:?}", named.err());
    let mut requests = Vec::new();
    for _ in 0..2 {
        let mut house = House::open(&old).await;
        for who in [1, 2] {
            let found = house.lookup("email", &mail(who)).await;
            assert_eq!(reason(&found.unwrap_err()), "PROFILE_NOT_FOUND", "{who}");
        }
        let held = house.holds(at("email", &mail(3))).await.unwrap();
        assert_eq!(held.state(), pb::ConsentState::Withdrawn);
        for (who, may) in [(3, false), (4, false), (5, true)] {
            assert_eq!(house.may(at("email", &mail(who)), false).await.unwrap().allowed, may, "{who}");
        }
        requests.push(house.privacy_requests(false).await.unwrap().len());
        house.close().await;
        audit::verify(&old, None, None).unwrap();
    }
    assert_eq!(requests[0], requests[1], "what was carried out again is not carried out at every start");
    assert!(!with_the_keys(&old, SEGMENT_BYTES).contains(&2));
}

/// The same where the copy was served from before anybody noticed, and the newer ledgers were put beside it then: what they tell lies
/// within its log by its numbers, and was passed over.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_that_went_on_by_itself_is_carried_on_too() {
    let dir = tempfile::tempdir().unwrap();
    let (data, old) = (dir.path().join("data"), dir.path().join("old"));
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    for who in 1..=6 {
        tell(&mut house, &who.to_string(), THEN, who).await;
        house.say(at("email", &mail(who)), said(Decision::Granted, THEN)).await.unwrap();
    }
    house.forget(vec![at("email", &mail(1))]).await.unwrap();
    house.close().await;
    copy_of(&data, &old, &[]);
    // In either the next that happens is an erasure, so that the two have one number.
    let mut house = House::open(&data).await;
    house.forget(vec![at("email", &mail(2))]).await.unwrap();
    house.say(at("email", &mail(3)), said(Decision::Withdrawn, THEN + 1)).await.unwrap();
    house.restrict(at("email", &mail(4))).await.unwrap();
    house.close().await;
    let mut house = House::open(&old).await;
    house.forget(vec![at("email", &mail(6))]).await.unwrap();
    for who in 10..40 {
        tell(&mut house, &who.to_string(), THEN, who).await;
    }
    house.close().await;
    audit::verify(&old, None, None).unwrap();
    for ledger in fs::read_dir(data.join("erasures")).unwrap() {
        let ledger = ledger.unwrap();
        fs::copy(ledger.path(), old.join("erasures").join(ledger.file_name())).unwrap();
    }
    let named = audit::verify(&old, None, None);
    assert!(named.is_err(), "it lacks one erasure, and tells of one that the log does not hold");
    let mut requests = Vec::new();
    for round in 0..3 {
        let mut house = House::open(&old).await;
        for who in [1, 2, 6] {
            let found = house.lookup("email", &mail(who)).await;
            assert_eq!(reason(&found.unwrap_err()), "PROFILE_NOT_FOUND", "{who} {round}");
        }
        for (who, may) in [(3, false), (4, false), (5, true)] {
            assert_eq!(house.may(at("email", &mail(who)), false).await.unwrap().allowed, may, "{who} {round}");
        }
        assert!(house.lookup("email", &mail(39)).await.is_ok());
        requests.push(house.privacy_requests(false).await.unwrap().len());
        house.close().await;
        audit::verify(&old, None, None).unwrap();
        if round == 1 {
            // From the journal alone, too.
            fs::remove_dir_all(old.join("checkpoint")).unwrap();
        }
    }
    assert!(requests.iter().all(|count| *count == requests[0]), "nothing is carried out at every start: {requests:?}");
    let left = with_the_keys(&old, SEGMENT_BYTES);
    assert!([1, 2, 6].iter().all(|who| !left.contains(who)), "{left:?}");
}

/// A name was corrected at the person's wish, and then all sources took their records back: the correction was left, and an
/// erasure passed it by.
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_goes_with_its_person() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    tell(&mut house, "1", THEN, 1).await;
    tell(&mut house, "2", THEN, 2).await;
    for (who, name) in [(1, canary(11)), (1, canary(12)), (2, canary(13))] {
        let (request, etag) = house.ask_in_scope(Kind::Rectification, at("email", &mail(who))).await.unwrap();
        let right = correction(&request, &etag, &[], &[("given_name", &name)]);
        house.privacy.execute_rectification(right).await.unwrap();
    }
    house.retract("crm", "1", THEN + 10).await;
    let name = house.ask_for_erasure(vec![at("email", &mail(1))]).await.unwrap();
    let preview = house.preview(&name).await.unwrap();
    assert_eq!(preview.records.len(), 3, "the record and both corrections: {:?}", preview.records);
    house.erase(&name, &preview.etag).await.unwrap();
    assert_eq!(house.statistics().await.profile_count, 1);
    assert_eq!(house.lookup("email", &mail(2)).await.unwrap().record_count, 2, "others' corrections stay");
    house.close().await;
    let left = with_the_keys(&data, SEGMENT_BYTES);
    assert!(left.contains(&13) && [1, 11, 12].iter().all(|who| !left.contains(who)), "{left:?}");
}

/// A no that stands at identifiers of two namespaces was counted among those of either, by chance: one scope had two digests,
/// and half of all approvals were void.
#[tokio::test(flavor = "multi_thread")]
async fn one_scope_has_one_etag() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    let identifiers = [("email", &*mail(1)), ("loyalty_id", "zqxw1"), ("phone", "+493012345678")];
    house.put(person("crm", "1", THEN, &identifiers, &[])).await;
    house.retract("crm", "1", THEN + 1).await;
    let subjects = identifiers.iter().map(|(namespace, value)| at(namespace, value)).collect();
    let asked = house.ask_for(Kind::Objection, subjects).await.unwrap();
    let etag = house.preview(&asked).await.unwrap().etag;
    let no = objection(&asked, &etag, &["marketing"]);
    house.privacy.execute_objection(no).await.unwrap();
    let name = house.ask_for_erasure(vec![at("email", &mail(1))]).await.unwrap();
    let mut etags = HashSet::new();
    for _ in 0..64 {
        etags.insert(house.preview(&name).await.unwrap().etag);
    }
    assert_eq!(etags.len(), 1, "{etags:?}");
}

async fn restored(data: &Path, out: &Path, to: &Path) -> House {
    restore_after(data, out, to).unwrap();
    House::open(to).await
}

async fn is_unknown(house: &mut House, who: usize) -> bool {
    house.lookup("email", &mail(who)).await.is_err_and(|status| reason(&status) == "PROFILE_NOT_FOUND")
}

/// Two records said an address, one of them by mistake, and neither says it today: each made it the other's too, so it was left,
/// and what the other had said with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_two_records_gave_up_is_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("backup"));
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    tell(&mut house, "1", THEN, 1).await;
    tell(&mut house, "5", THEN, 1).await;
    tell(&mut house, "7", THEN, 7).await;
    back_up(&mut house, &out).await;
    tell(&mut house, "5", THEN + 1, 2).await;
    tell(&mut house, "1", THEN + 1, 3).await;
    let name = house.ask_for_erasure(vec![at("email", &mail(3))]).await.unwrap();
    let preview = house.preview(&name).await.unwrap();
    assert_eq!((preview.records.len(), preview.older_versions_of), (1, 1));
    house.erase(&name, &preview.etag).await.unwrap();
    assert_eq!(tell(&mut house, "9", THEN + 2, 1).await, pb::IngestStatus::Suppressed);
    assert!(!is_unknown(&mut house, 2).await);
    house.close().await;
    let left = with_the_keys(&data, SEGMENT_BYTES);
    assert!(left.contains(&2) && !left.contains(&1) && !left.contains(&3), "{left:?}");
    let again = dir.path().join("again");
    let mut house = restored(&data, &out, &again).await;
    assert!(is_unknown(&mut house, 1).await && is_unknown(&mut house, 3).await);
    house.close().await;
    let left = with_the_keys(&again, SEGMENT_BYTES);
    assert!(left.contains(&7) && !left.contains(&1), "{left:?}");
}

/// Who asks by an address that only an older version of a record says was told that nothing is held.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_by_an_older_version_alone_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    tell(&mut house, "5", THEN, 1).await;
    tell(&mut house, "5", THEN + 1, 2).await;
    let name = house.ask_for_erasure(vec![at("email", &mail(1))]).await.unwrap();
    let preview = house.preview(&name).await.unwrap();
    assert_eq!((preview.records.len(), preview.older_versions_of), (0, 1));
    house.erase(&name, &preview.etag).await.unwrap();
    assert_eq!(tell(&mut house, "9", THEN + 2, 1).await, pb::IngestStatus::Suppressed);
    // As a number of something else, too.
    let disguised = person("crm", "10", THEN, &[("user_id", &mail(1))], &[]);
    assert_eq!(house.put(disguised).await.status(), pb::IngestStatus::Suppressed);
    house = restart(house, &data, true).await;
    assert!(!is_unknown(&mut house, 2).await);
    house.close().await;
    let left = with_the_keys(&data, SEGMENT_BYTES);
    assert!(left.contains(&2) && !left.contains(&1), "{left:?}");
}

/// A record that changes often, as a shared device does, had keys for its first eight changes.
#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_record_has_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    for who in 0..40 {
        tell(&mut house, "kiosk", THEN + i64::try_from(who).unwrap(), who).await;
        tell(&mut house, &format!("own{who}"), THEN, who).await;
    }
    for who in [9, 20, 33] {
        let name = house.ask_for_erasure(vec![at("email", &mail(who))]).await.unwrap();
        let preview = house.preview(&name).await.unwrap();
        assert_eq!((preview.records.len(), preview.older_versions_of), (1, 1), "{who}");
        house.erase(&name, &preview.etag).await.unwrap();
    }
    let (holder, graph) = (house.lookup("email", &mail(39)).await.unwrap().name, house.graph_digest().await);
    for alone in [true, false] {
        house = restart(house, &data, alone).await;
        assert_eq!(house.graph_digest().await, graph, "alone: {alone}");
        assert_eq!(house.lookup("email", &mail(39)).await.unwrap().name, holder);
    }
    house.close().await;
    let left = with_the_keys(&data, SEGMENT_BYTES);
    assert!(left.contains(&39) && [9, 20, 33].iter().all(|who| !left.contains(who)), "{left:?}");
}

/// An address was typed at the wrong contact and taken away again. A restore from before both took the contact out.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_leaves_a_contact_that_was_somebody_elses_for_a_while_only() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("backup"));
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    tell(&mut house, "5", THEN, 2).await;
    back_up(&mut house, &out).await;
    let both = person("crm", "5", THEN + 1, &[("email", &mail(2)), ("email", &mail(1))], &[("given_name", &canary(1))]);
    house.put(both).await;
    tell(&mut house, "5", THEN + 2, 2).await;
    tell(&mut house, "1", THEN, 1).await;
    house.forget(vec![at("email", &mail(1))]).await.unwrap();
    house.close().await;
    assert!(!with_the_keys(&data, SEGMENT_BYTES).contains(&1));
    let again = dir.path().join("again");
    let mut house = restored(&data, &out, &again).await;
    assert!(!is_unknown(&mut house, 2).await, "the backup's version is the contact's own");
    house.close().await;
}

/// What was said of a record while it was another person's: its words are not for whoever it is today, and go with the other.
/// A no stays, without them (law 6).
#[tokio::test(flavor = "multi_thread")]
async fn words_that_were_said_of_somebody_else_go_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let word = |decision, who| pb::ConsentSaying { evidence: canary(who), ..said(decision, THEN) };
    for (key, decision) in [("5", Decision::Objected), ("6", Decision::Granted)] {
        tell(&mut house, key, THEN, 1).await;
        house.say(of_record("crm", key), word(decision, 1)).await.unwrap();
    }
    tell(&mut house, "5", THEN + 1, 2).await;
    tell(&mut house, "6", THEN + 1, 4).await;
    house.say(of_record("crm", "6"), word(Decision::Granted, 4)).await.unwrap();
    tell(&mut house, "1", THEN, 1).await;
    let asked = house.ask_for(Kind::Access, vec![at("email", &mail(2))]).await.unwrap();
    let etag = house.preview_export(&asked).await.unwrap().etag;
    let (text, _) = house.export(&asked, &etag).await.unwrap();
    assert!(text.contains(&canary(2)) && !text.contains(&canary(1)), "{text}");
    assert!(text.contains("NAMES_SOMEBODY_ELSE"), "it is counted: {text}");
    house.forget(vec![at("email", &mail(1))]).await.unwrap();
    for alone in [false, true] {
        house = restart(house, &data, alone).await;
        let state = house.holds(at("email", &mail(2))).await.unwrap().state();
        assert_eq!(state, pb::ConsentState::Objected, "alone: {alone}");
        let state = house.holds(at("email", &mail(4))).await.unwrap().state();
        assert_eq!(state, pb::ConsentState::Granted, "what was said since stays, alone: {alone}");
    }
    house.close().await;
    let left = with_the_keys(&data, SEGMENT_BYTES);
    assert!(left.contains(&2) && left.contains(&4) && !left.contains(&1), "{left:?}");
    audit::verify(&data, None, None).unwrap();
}

/// What one person allowed was allowed for whoever had the record next.
#[tokio::test(flavor = "multi_thread")]
async fn a_yes_does_not_go_over_to_whoever_has_the_record_next() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    for (key, decision) in [("5", Decision::Granted), ("6", Decision::Withdrawn), ("7", Decision::Granted)] {
        tell(&mut house, key, THEN, key.parse().unwrap()).await;
        house.say(of_record("crm", key), said(decision, THEN)).await.unwrap();
    }
    tell(&mut house, "5", THEN + 1, 15).await;
    tell(&mut house, "6", THEN + 1, 16).await;
    // The same person with one address more.
    let more = [("email", &*mail(7)), ("email", &*mail(17))];
    house.put(person("crm", "7", THEN + 1, &more, &[])).await;
    for alone in [false, true, false] {
        house = restart(house, &data, alone).await;
        let mut states = Vec::new();
        for who in [15, 16, 17] {
            states.push(house.holds(at("email", &mail(who))).await.unwrap().state());
        }
        use pb::ConsentState::{Granted, Unknown, Withdrawn};
        assert_eq!(states, [Unknown, Withdrawn, Granted], "alone: {alone}");
    }
    house.say(of_record("crm", "5"), said(Decision::Granted, THEN + 2)).await.unwrap();
    assert_eq!(house.holds(at("email", &mail(15))).await.unwrap().state(), pb::ConsentState::Granted);
    house.close().await;
}

/// A version of somebody's own record went with another person, whose household number it had: its owner's address of then was
/// forgotten along, and brought its owner back after an erasure.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_address_stays_known_when_its_version_goes_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let number = ("loyalty_id", "zqxw00");
    house.put(person("crm", "1", THEN, &[("email", &mail(1)), number], &[])).await;
    tell(&mut house, "1", THEN + 1, 3).await;
    house.put(person("crm", "2", THEN, &[("email", &mail(2)), number], &[])).await;
    house.forget(vec![at("email", &mail(2))]).await.unwrap();
    house = restart(house, &data, true).await;
    house.forget(vec![at("email", &mail(3))]).await.unwrap();
    assert_eq!(tell(&mut house, "9", THEN + 2, 1).await, pb::IngestStatus::Suppressed);
}

/// An address that a record held by mistake is whose it is: what she said at it herself since is not the record's person's.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_at_an_address_since_it_was_given_up_is_its_owners() {
    let dir = tempfile::tempdir().unwrap();
    let mut house = House::open(&dir.path().join("data")).await;
    house.sources(&["crm"]).await;
    tell(&mut house, "5", THEN, 1).await;
    tell(&mut house, "5", THEN + 1, 2).await;
    house.say(at("email", &mail(1)), said(Decision::Objected, THEN + 2)).await.unwrap();
    house.forget(vec![at("email", &mail(2))]).await.unwrap();
    let state = house.holds(at("email", &mail(1))).await.unwrap().state();
    assert_eq!(state, pb::ConsentState::Objected);
    assert_eq!(tell(&mut house, "1", THEN + 3, 1).await, pb::IngestStatus::Accepted, "she is not who was erased");
    let state = house.holds(at("email", &mail(1))).await.unwrap().state();
    assert_eq!(state, pb::ConsentState::Objected);
}

/// An erasure took a version from the middle of a record, and a start read the journal again: what the record said before that had no
/// key any more that anybody knew.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_record_said_before_a_version_that_went_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    for (key, middle) in [("5", 12), ("6", 22)] {
        tell(&mut house, key, THEN, middle - 1).await;
        tell(&mut house, key, THEN + 1, middle).await;
        tell(&mut house, key, THEN + 2, middle + 1).await;
        house.forget(vec![at("email", &mail(middle))]).await.unwrap();
    }
    house = restart(house, &data, true).await;
    // The owner of the one, and whoever the other was of first.
    let mut keys = Vec::new();
    for who in [13, 21] {
        let name = house.ask_for_erasure(vec![at("email", &mail(who))]).await.unwrap();
        let preview = house.preview(&name).await.unwrap();
        keys.push((preview.records.len(), preview.older_versions_of, preview.keys));
        house.erase(&name, &preview.etag).await.unwrap();
    }
    assert_eq!(keys, [(1, 0, 2), (0, 1, 1)]);
    assert_eq!(tell(&mut house, "9", THEN + 3, 11).await, pb::IngestStatus::Suppressed);
    house = restart(house, &data, true).await;
    assert!(!is_unknown(&mut house, 23).await);
    house.close().await;
    let left = with_the_keys(&data, SEGMENT_BYTES);
    assert!(left.contains(&23) && [11, 12, 13, 21, 22].iter().all(|who| !left.contains(who)), "{left:?}");
}

/// A number passed from one to another who was erased. In the backup it is the first one's, whose record a restore takes out: a no at
/// it was heard until the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_no_at_a_record_that_a_restore_takes_out_outlives_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("backup"));
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    let number = ("phone", "+493012345678");
    house.put(person("crm", "2", THEN, &[("email", &mail(2)), number], &[])).await;
    house.say(at("email", &mail(2)), said(Decision::Granted, THEN)).await.unwrap();
    house.say(of_record("crm", "2"), said(Decision::Withdrawn, THEN + 1)).await.unwrap();
    back_up(&mut house, &out).await;
    tell(&mut house, "2", THEN + 1, 2).await;
    house.put(person("crm", "1", THEN + 2, &[("email", &mail(1)), number], &[])).await;
    house.forget(vec![at("email", &mail(1))]).await.unwrap();
    house.close().await;
    let again = dir.path().join("again");
    let mut house = restored(&data, &out, &again).await;
    for alone in [true, false, true] {
        let held = house.holds(at("email", &mail(2))).await.unwrap();
        assert_eq!(held.state(), pb::ConsentState::Withdrawn, "alone: {alone}");
        house = restart(house, &again, alone).await;
    }
    house.close().await;
}

/// A record of two persons was taken back, and what was said no to at it is heard at both. One of them is erased, and the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_no_of_a_record_that_was_another_persons_too_stays_with_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    let both = [("email", &*mail(2)), ("email", &*mail(3))];
    house.put(person("crm", "5", THEN, &both, &[])).await;
    house.say(of_record("crm", "5"), said(Decision::Withdrawn, THEN + 1)).await.unwrap();
    house.retract("crm", "5", THEN + 2).await;
    for who in [2, 3] {
        house.put(person("shop", &who.to_string(), THEN, &[("email", &mail(who))], &[])).await;
    }
    // Newer than the no: said at the identifier it would not lift what was said at the record.
    house.say(at("email", &mail(2)), said(Decision::Granted, THEN + 5)).await.unwrap();
    assert_eq!(house.holds(at("email", &mail(2))).await.unwrap().state(), pb::ConsentState::Withdrawn);
    house.forget(vec![at("email", &mail(3))]).await.unwrap();
    for alone in [false, true] {
        let held = house.holds(at("email", &mail(2))).await.unwrap();
        assert_eq!(held.state(), pb::ConsentState::Withdrawn, "alone: {alone}");
        house = restart(house, &data, alone).await;
    }
    house.close().await;
}

/// The same where the no stands at a third person's record too, and stays there.
#[tokio::test(flavor = "multi_thread")]
async fn a_no_of_three_stays_with_both_others() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    house.put(person("shop", "3", THEN, &[("email", &mail(3))], &[])).await;
    house.put(person("shop", "4", THEN, &[("email", &mail(3))], &[])).await;
    house.put(person("crm", "5", THEN, &[("email", &mail(2)), ("email", &mail(3))], &[])).await;
    let profile = house.lookup("email", &mail(3)).await.unwrap().name;
    let subject = pb::ConsentSubject { subject: Some(pb::consent_subject::Subject::Profile(profile)) };
    house.say(subject, said(Decision::Withdrawn, THEN + 1)).await.unwrap();
    house.say(at("email", &mail(2)), said(Decision::Granted, THEN)).await.unwrap();
    house.retract("crm", "5", THEN + 2).await;
    house.put(person("shop", "2", THEN, &[("email", &mail(2))], &[])).await;
    house.put(person("shop", "4", THEN + 2, &[("email", &mail(4))], &[])).await;
    house.forget(vec![at("email", &mail(3))]).await.unwrap();
    for alone in [false, true] {
        for who in [2, 4] {
            let held = house.holds(at("email", &mail(who))).await.unwrap();
            assert_eq!(held.state(), pb::ConsentState::Withdrawn, "{who}, alone: {alone}");
        }
        house = restart(house, &data, alone).await;
    }
    house.close().await;
}

/// A record of the address was taken back, and a no said at another one of it: the address was not written down with the no, and a
/// restore of a backup that knows the first record alone lost it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_hears_a_no_where_a_record_that_was_taken_back_held_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("backup"));
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    tell(&mut house, "1", THEN, 5).await;
    house.say(at("email", &mail(5)), said(Decision::Granted, THEN)).await.unwrap();
    back_up(&mut house, &out).await;
    house.retract("crm", "1", THEN + 1).await;
    tell(&mut house, "2", THEN + 2, 5).await;
    house.say(of_record("crm", "2"), said(Decision::Objected, THEN + 3)).await.unwrap();
    house.close().await;
    let again = dir.path().join("again");
    let mut house = restored(&data, &out, &again).await;
    assert_eq!(house.holds(at("email", &mail(5))).await.unwrap().state(), pb::ConsentState::Objected);
    house.close().await;
}
