//! A restore of an older backup contacts nobody who said no since: withdrawals, objections, suppressions and restrictions
//! are kept outside of every backup, and hold again before anything is served. Laws 6 and 7.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};

use onefold_proto::v1 as pb;
use onefold_server::restore::{Ledgers, RestoreError, restore};
use onefold_store::erasures::ErasureLedger;
use onefold_store::stops::{StopLedger, StopRow};
use onefold_tests::backups::{back_up, restore_after};
use onefold_tests::canary::mail;
use onefold_tests::child::Launch;
use onefold_tests::consent::{at, of_profile, of_record, reasons, said};
use onefold_tests::privacy::{lift, objection};
use onefold_tests::{House, person, reason};
use pb::ConsentDecision::{Denied, Granted, Objected, Released, Suppressed, Withdrawn};
use pb::PrivacyRequestKind as Kind;
use tempfile::TempDir;

const THEN: i64 = 1_700_000_000;

/// A person for each number, who said yes.
async fn arrive(house: &mut House, people: usize) {
    house.sources(&["crm", "shop"]).await;
    for who in 0..people {
        house.put(person("crm", &who.to_string(), THEN, &[("email", &mail(who))], &[])).await;
        house.say(at("email", &mail(who)), said(Granted, THEN)).await.unwrap();
        house.say(of_record("crm", &who.to_string()), said(Granted, THEN)).await.unwrap();
    }
}

struct Places {
    _dir: TempDir,
    data: PathBuf,
    backup: PathBuf,
    restored: PathBuf,
}

fn places() -> Places {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    Places { data: at("data"), backup: at("backup"), restored: at("restored"), _dir: dir }
}

fn rows(data: &Path) -> Vec<StopRow> {
    StopLedger::read(&StopLedger::path(data)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_no_said_after_the_backup_holds_after_its_restore() {
    let Places { data, backup, restored, _dir } = places();
    let mut house = House::open(&data).await;
    arrive(&mut house, 9).await;
    back_up(&mut house, &backup).await;
    // Each by another way in.
    house.say(at("email", &mail(0)), said(Withdrawn, THEN + 10)).await.unwrap();
    house.say(of_record("crm", "1"), said(Denied, THEN + 10)).await.unwrap();
    let profile = house.lookup("email", &mail(2)).await.unwrap().name;
    house.say(of_profile(&profile), said(Objected, THEN + 10)).await.unwrap();
    let bounced = pb::ConsentSaying { purpose: String::new(), ..said(Suppressed, THEN + 10) };
    house.say(at("email", &mail(3)), bounced).await.unwrap();
    house.restrict(at("email", &mail(4))).await.unwrap();
    let (name, etag) = house.ask_in_scope(Kind::Objection, at("email", &mail(5))).await.unwrap();
    house.privacy.execute_objection(objection(&name, &etag, &[])).await.unwrap();
    let mut fragment = person("crm", "6", THEN + 10, &[("email", &mail(6))], &[]);
    fragment.consents.push(pb::FragmentConsent { identifier: None, saying: Some(said(Withdrawn, THEN + 10)) });
    house.put(fragment).await;
    // Restricted, and lifted again: after the restore they are free.
    let lifted = house.restrict(at("email", &mail(7))).await.unwrap();
    house.privacy.lift_restriction(lift(&lifted)).await.unwrap();
    let wanted = [
        vec!["WITHDRAWN"],
        vec!["DENIED"],
        vec!["OBJECTED"],
        vec!["SUPPRESSED"],
        vec!["RESTRICTED"],
        vec!["OBJECTED"],
        vec!["WITHDRAWN"],
    ];
    for (who, why) in wanted.iter().enumerate() {
        let verdict = house.may(of_record("crm", &who.to_string()), false).await.unwrap();
        assert_eq!(&reasons(&verdict), why, "{who} before");
    }
    house.close().await;

    let told = restore_after(&data, &backup, &restored).unwrap();
    assert_eq!(told.stops, 9, "what is since then is counted");
    // A second start finds nothing left to say, and one from the journal alone knows the same.
    for start in 0..3 {
        if start == 2 {
            fs::remove_dir_all(restored.join("checkpoint")).unwrap();
        }
        let mut house = House::open(&restored).await;
        for (who, why) in wanted.iter().enumerate() {
            for subject in [of_record("crm", &who.to_string()), at("email", &mail(who))] {
                let verdict = house.may(subject, false).await.unwrap();
                assert_eq!(&reasons(&verdict), why, "{who} at start {start}");
            }
        }
        for who in [7, 8] {
            assert!(house.may(at("email", &mail(who)), false).await.unwrap().allowed, "{who} is free");
        }
        assert_eq!(house.statements(at("email", &mail(0))).await.unwrap().len(), 3, "said once");
        house.close().await;
    }
    // The restriction is a request that an officer can lift; no source releases it.
    let mut house = House::open(&restored).await;
    let everywhere =
        pb::ConsentSaying { purpose: String::new(), channel: String::new(), ..said(Released, 1_790_000_000) };
    house.say(at("email", &mail(4)), everywhere).await.unwrap();
    assert_eq!(reasons(&house.may(of_record("crm", "4"), false).await.unwrap()), ["RESTRICTED"]);
    let requests = house.privacy_requests(false).await.unwrap();
    let again: Vec<_> = requests.iter().filter(|request| request.reference == "restored-ledger").collect();
    assert_eq!(again.len(), 2, "{requests:?}");
    for request in again {
        house.privacy.lift_restriction(lift(&request.name)).await.unwrap();
    }
    assert!(house.may(of_record("crm", "4"), false).await.unwrap().allowed, "lifted");
    // A newer yes of the same point lifts a stop, as before.
    house.say(of_record("crm", "1"), said(Granted, 1_790_000_000)).await.unwrap();
    assert!(house.may(of_record("crm", "1"), false).await.unwrap().allowed);
    house.close().await;

    // The restored installation has a ledger of its own, good for the next restore.
    let once_more = restored.with_file_name("once-more");
    restore_after(&restored, &backup, &once_more).unwrap();
    let mut house = House::open(&once_more).await;
    for who in [0, 2, 3, 5, 6] {
        let verdict = house.may(of_record("crm", &who.to_string()), false).await.unwrap();
        assert_eq!(reasons(&verdict), wanted[who], "{who}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_heard_where_its_person_was_known_until_the_sources_have_told_again() {
    let Places { data, backup, restored, _dir } = places();
    let mut house = House::open(&data).await;
    arrive(&mut house, 2).await;
    back_up(&mut house, &backup).await;
    // Since the backup: a record that is hers by a new address, and her no is said there.
    let (old, new) = (mail(0), "new-address@harbour-mail.net");
    let both = person("shop", "s0", THEN + 5, &[("email", &old), ("email", new)], &[]);
    house.put(both.clone()).await;
    house.say(of_record("shop", "s0"), said(Withdrawn, THEN + 10)).await.unwrap();
    // And somebody of whom the backup knows nothing.
    let stranger = person("shop", "s9", THEN + 5, &[("email", "stranger@harbour-mail.net")], &[]);
    house.put(stranger).await;
    house.say(of_record("shop", "s9"), said(Objected, THEN + 10)).await.unwrap();
    assert_eq!(reasons(&house.may(of_record("crm", "0"), false).await.unwrap()), ["WITHDRAWN"]);
    house.close().await;

    restore_after(&data, &backup, &restored).unwrap();
    let mut house = House::open(&restored).await;
    for subject in [of_record("crm", "0"), at("email", &old), at("email", new)] {
        assert_eq!(reasons(&house.may(subject, false).await.unwrap()), ["WITHDRAWN"]);
    }
    let held = house.holds(at("email", "stranger@harbour-mail.net")).await.unwrap();
    assert_eq!(held.state(), pb::ConsentState::Objected);
    assert!(house.may(of_record("crm", "1"), false).await.unwrap().allowed, "others are free");
    // The source tells again; a newer yes at that very record lifts the no everywhere.
    house.put(both).await;
    assert_eq!(reasons(&house.may(of_record("crm", "0"), false).await.unwrap()), ["WITHDRAWN"]);
    house.say(of_record("shop", "s0"), said(Granted, 1_790_000_000)).await.unwrap();
    for subject in [of_record("crm", "0"), at("email", new)] {
        assert!(house.may(subject, false).await.unwrap().allowed);
    }
    house.close().await;
}

/// What a restore says again of a record is heard where its person was known, also once the record is taken back: a retraction
/// takes no word back.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_again_outlives_the_retraction_of_its_record() {
    let Places { data, backup, restored, _dir } = places();
    let mut house = House::open(&data).await;
    arrive(&mut house, 2).await;
    back_up(&mut house, &backup).await;
    // Since the backup the two are one person, who says no at the record that joins them.
    let both = person("crm", "0", THEN + 5, &[("email", &mail(0)), ("email", &mail(1))], &[]);
    house.put(both).await;
    house.say(of_record("crm", "0"), said(Withdrawn, THEN + 10)).await.unwrap();
    assert_eq!(reasons(&house.may(at("email", &mail(1)), false).await.unwrap()), ["WITHDRAWN"]);
    house.close().await;

    restore_after(&data, &backup, &restored).unwrap();
    let mut house = House::open(&restored).await;
    assert_eq!(reasons(&house.may(at("email", &mail(1)), false).await.unwrap()), ["WITHDRAWN"]);
    house.retract("crm", "0", THEN + 20).await;
    for start in 0..3 {
        for who in 0..2 {
            let verdict = house.may(at("email", &mail(who)), false).await.unwrap();
            assert_eq!(reasons(&verdict), ["WITHDRAWN"], "{who} at start {start}");
        }
        house.close().await;
        if start == 1 {
            fs::remove_dir_all(restored.join("checkpoint")).unwrap();
        }
        house = House::open(&restored).await;
    }
    house.close().await;
}

/// Said at an address of whose link to the rest the backup knows nothing: another record with that address takes the no from
/// nobody, only the record that joined them does.
#[tokio::test(flavor = "multi_thread")]
async fn another_record_with_the_address_takes_the_no_from_nobody() {
    let Places { data, backup, restored, _dir } = places();
    let mut house = House::open(&data).await;
    arrive(&mut house, 1).await;
    house.sources(&["letters"]).await;
    back_up(&mut house, &backup).await;
    let (old, new) = (mail(0), "new-address@harbour-mail.net");
    let both = person("shop", "s0", THEN + 5, &[("email", &old), ("email", new)], &[]);
    house.put(both.clone()).await;
    house.say(at("email", new), said(Withdrawn, THEN + 10)).await.unwrap();
    assert_eq!(reasons(&house.may(of_record("crm", "0"), false).await.unwrap()), ["WITHDRAWN"]);
    house.close().await;

    restore_after(&data, &backup, &restored).unwrap();
    let mut house = House::open(&restored).await;
    for start in 0..2 {
        house.put(person("letters", "n0", THEN + 20 + start, &[("email", new)], &[])).await;
        house.put(person("crm", "0", THEN + 20 + start, &[("email", &old)], &[])).await;
        for subject in [of_record("crm", "0"), of_record("letters", "n0"), at("email", &old)] {
            assert_eq!(reasons(&house.may(subject, false).await.unwrap()), ["WITHDRAWN"], "start {start}");
        }
        house.close().await;
        fs::remove_dir_all(restored.join("checkpoint")).unwrap();
        house = House::open(&restored).await;
    }
    // They are joined again, and then told apart: what was said at the one address is no more the other's.
    house.put(both).await;
    assert_eq!(reasons(&house.may(of_record("crm", "0"), false).await.unwrap()), ["WITHDRAWN"]);
    house.retract("shop", "s0", 1_790_000_000).await;
    assert!(house.may(of_record("crm", "0"), false).await.unwrap().allowed);
    assert_eq!(reasons(&house.may(of_record("letters", "n0"), false).await.unwrap()), ["WITHDRAWN"]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_takes_its_person_out_and_a_lost_or_damaged_ledger_is_written_anew() {
    let Places { data, backup, restored, _dir } = places();
    let mut house = House::open(&data).await;
    arrive(&mut house, 3).await;
    back_up(&mut house, &backup).await;
    for who in 0..3 {
        house.say(at("email", &mail(who)), said(Withdrawn, THEN + 10)).await.unwrap();
    }
    house.close().await;
    let before = rows(&data);
    assert_eq!(before.len(), 3);
    let path = StopLedger::path(&data);
    let copy = data.with_file_name("stops-of-before");
    fs::copy(&path, &copy).unwrap();
    let mut house = House::open(&data).await;
    house.forget(vec![at("email", &mail(1))]).await.unwrap();
    house.close().await;
    let left = rows(&data);
    assert_eq!(left, [before[0].clone(), before[2].clone()], "LAW 7");

    // The copy of before the erasure, beside the erasure ledger of after it: nobody comes back by it.
    let whole = fs::read(&path).unwrap();
    let erasures = ErasureLedger::path(&data);
    let told = restore(
        &backup,
        &restored,
        Ledgers { erasures: Some(&erasures), stops: Some(&copy), ..Ledgers::default() },
        None,
    )
    .unwrap();
    assert_eq!((told.pending, told.stops), (1, 2));
    let mut house = House::open(&restored).await;
    assert_eq!(reason(&house.lookup("email", &mail(1)).await.unwrap_err()), "PROFILE_NOT_FOUND");
    assert_eq!(reasons(&house.may(at("email", &mail(2)), false).await.unwrap()), ["WITHDRAWN"]);
    house.close().await;

    for bit in [3, 8 * 60, whole.len() * 8 - 1] {
        let mut bent = whole.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bent).unwrap();
        let nowhere = data.with_file_name("nowhere");
        let refused =
            restore(&backup, &nowhere, Ledgers { erasures: None, stops: Some(&path), ..Ledgers::default() }, None);
        assert!(matches!(refused, Err(RestoreError::Ledger(_))), "bit {bit}: {refused:?}");
        assert!(!nowhere.exists());
        House::open(&data).await.close().await;
        assert_eq!(rows(&data), left, "bit {bit}: written anew");
    }
    fs::remove_file(&path).unwrap();
    House::open(&data).await.close().await;
    assert_eq!(rows(&data), left);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_kept_from_the_ledger_the_next_start_appends() {
    let Places { data, _dir, .. } = places();
    let launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data);
    let (mut child, mut clients) = launch.start().await;
    for who in 0..20 {
        clients.say(at("email", &mail(who)), said(Withdrawn, THEN)).await.unwrap();
    }
    child.kill();
    drop(clients);
    assert!(rows(&data).len() <= 20);
    let (child, _clients) = launch.start().await;
    child.stop();
    let said: Vec<u64> = rows(&data).iter().map(|row| row.sequence.0).collect();
    assert!(said.len() == 20 && said.is_sorted(), "each once: {said:?}");
}
