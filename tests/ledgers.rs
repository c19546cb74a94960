//! A restore takes the ledgers of its own installation, and takes them whole: those of another would erase and stop strangers
//! and bring the own back, and a copy that was cut off lacks whoever came last. Laws 6 and 7.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};

use onefold_proto::v1 as pb;
use onefold_server::audit::{self, AuditError};
use onefold_server::doctor::Level;
use onefold_server::restore::{Ledgers, RestoreError, restore};
use onefold_store::erasures::ErasureLedger;
use onefold_store::ledger::{HEADER_BYTES, LedgerError};
use onefold_store::revocations::RevocationLedger;
use onefold_store::stops::StopLedger;
use onefold_tests::backups::{back_up, restore_after};
use onefold_tests::canary::mail;
use onefold_tests::child::Launch;
use onefold_tests::consent::{at, reasons, said};
use onefold_tests::{House, person, reason};

/// Where a ledger lies, and what it is called.
fn ledgers_of(data: &Path) -> [(PathBuf, &'static str); 3] {
    [
        (ErasureLedger::path(data), "the erasure ledger"),
        (StopLedger::path(data), "the ledger of stops"),
        (RevocationLedger::path(data), "the ledger of revocations"),
    ]
}

/// The ledgers that a restore is given.
fn given(files: &[PathBuf; 3]) -> Ledgers<'_> {
    Ledgers { erasures: Some(&files[0]), stops: Some(&files[1]), revocations: Some(&files[2]), torn: false }
}

/// An installation whose ledgers each tell of something that its backup does not know: of the people from `from` on the first
/// is erased, and the second objects.
async fn lived_in(data: &Path, backup: &Path, from: usize) {
    let mut house = House::open(data).await;
    house.sources(&["crm"]).await;
    let request = pb::CreateApiKeyRequest {
        api_key: Some(pb::ApiKey { roles: vec![pb::Role::Reader as i32], ..Default::default() }),
        ..Default::default()
    };
    let key = house.admin.create_api_key(request).await.unwrap().into_inner().api_key.unwrap();
    for who in from..from + 3 {
        house.put(person("crm", &who.to_string(), 1_700_000_000, &[("email", &mail(who))], &[])).await;
        house.say(at("email", &mail(who)), said(pb::ConsentDecision::Granted, 1_700_000_000)).await.unwrap();
    }
    back_up(&mut house, backup).await;
    house.forget(vec![at("email", &mail(from))]).await.unwrap();
    house.say(at("email", &mail(from + 1)), said(pb::ConsentDecision::Objected, 1_700_000_009)).await.unwrap();
    house.admin.revoke_api_key(pb::RevokeApiKeyRequest { name: key.name, ..Default::default() }).await.unwrap();
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledgers_of_another_installation_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let at_ = |name: &str| dir.path().join(name);
    let (ours, backup, theirs) = (at_("ours"), at_("backup"), at_("theirs"));
    lived_in(&ours, &backup, 0).await;
    lived_in(&theirs, &at_("backup-of-theirs"), 10).await;
    let nowhere = at_("nowhere");
    let own = ledgers_of(&ours).map(|(path, _)| path);
    for (number, (other, what)) in ledgers_of(&theirs).into_iter().enumerate() {
        let mut mixed = own.clone();
        mixed[number] = other.clone();
        match restore(&backup, &nowhere, given(&mixed), None) {
            Err(RestoreError::Elsewhere { path, what: named }) => assert_eq!((path, named), (other, what)),
            taken => panic!("{what} of another installation: {taken:?}"),
        }
        assert!(!nowhere.exists(), "{what}: nothing is left behind");
    }
    let restored = restore(&backup, &nowhere, given(&own), None).unwrap();
    assert_eq!((restored.pending, restored.stops, restored.lacks), (1, 1, 0));
    assert!(restored.torn.is_empty() && restored.unnamed.is_empty());
    let mut house = House::open(&nowhere).await;
    assert_eq!(reason(&house.lookup("email", &mail(0)).await.unwrap_err()), "PROFILE_NOT_FOUND");
    assert_eq!(reasons(&house.may(at("email", &mail(1)), false).await.unwrap()), ["OBJECTED"]);
    assert!(house.may(at("email", &mail(2)), false).await.unwrap().allowed);
    house.close().await;
    // The restored directory is of the same installation: what it tells from now on serves the next restore.
    restore_after(&nowhere, &backup, &at_("once-more")).unwrap();

    // Put into the data directory itself: an auditor names it; what the log knows is written anew, and without the erasures of its
    // own no server starts.
    for (number, (other, what)) in ledgers_of(&theirs).into_iter().enumerate().rev() {
        let whole = fs::read(&own[number]).unwrap();
        fs::copy(&other, &own[number]).unwrap();
        let found = audit::verify(&ours, None, None).unwrap_err();
        assert!(matches!(found, AuditError::Ledger(LedgerError::Elsewhere(named)) if named == what), "{found}");
        if number == 0 {
            let refused = onefold_server::Server::start(House::config(&ours)).await.map(drop).unwrap_err().to_string();
            assert!(refused.contains("another installation"), "{refused}");
            fs::write(&own[number], whole).unwrap();
        }
        House::open(&ours).await.close().await;
        audit::verify(&ours, None, None).unwrap();
    }
    let told = restore(&backup, &at_("after"), given(&own), None).unwrap();
    assert_eq!((told.pending, told.stops), (1, 1), "as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_ledger_that_is_not_whole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at_ = |name: &str| dir.path().join(name);
    let (data, backup, nowhere) = (at_("data"), at_("backup"), at_("nowhere"));
    lived_in(&data, &backup, 0).await;
    let own = ledgers_of(&data).map(|(path, _)| path);
    for (number, (path, what)) in ledgers_of(&data).into_iter().enumerate() {
        let (whole, copy) = (fs::read(&path).unwrap(), at_("copy"));
        let mut copies = own.clone();
        copies[number] = copy.clone();
        for odd in [
            &whole[..whole.len() - 1],
            &whole[..whole.len() - 30],
            &[&whole[..], b"z"].concat(),
            &[&whole[..], b"something was written behind it, of any length"].concat(),
            &[&whole[..], &[0; 64]].concat(),
            &whole[..20],
            b"",
        ] {
            fs::write(&copy, odd).unwrap();
            let refused = restore(&backup, &nowhere, given(&copies), None);
            match &refused {
                Err(RestoreError::Torn { path, what: named, .. }) => assert_eq!((path, *named), (&copy, what)),
                Err(RestoreError::Ledger(LedgerError::Damaged { .. } | LedgerError::Foreign(_))) => {}
                other => panic!("{what} with {} of {} bytes: {other:?}", odd.len(), whole.len()),
            }
            assert!(!nowhere.exists(), "nothing is left behind");
        }
        // Who has no other, since the server was cut off while it wrote, says so.
        fs::write(&copy, &whole[..whole.len() - 1]).unwrap();
        let took = restore(&backup, &nowhere, Ledgers { torn: true, ..given(&copies) }, None).unwrap();
        assert_eq!(took.torn, [what]);
        fs::remove_dir_all(&nowhere).unwrap();
    }
    // One that is older than the backup is told.
    let mut house = House::open(&data).await;
    let older = at_("older");
    fs::copy(&own[0], &older).unwrap();
    house.forget(vec![at("email", &mail(2))]).await.unwrap();
    let late = at_("late");
    back_up(&mut house, &late).await;
    house.close().await;
    let told = restore(&late, &nowhere, given(&[older, own[1].clone(), own[2].clone()]), None).unwrap();
    assert_eq!((told.known, told.lacks), (2, 1));
}

/// Where the rows of a ledger end.
fn ends(ledger: &[u8]) -> Vec<usize> {
    let mut ends = vec![HEADER_BYTES];
    while let Some(head) = ledger[ends[ends.len() - 1]..].first_chunk::<4>() {
        ends.push(ends[ends.len() - 1] + 20 + u32::from_le_bytes(*head) as usize + 16);
    }
    ends
}

fn is_faulty(data: &Path, check: &str) -> bool {
    let told = onefold_server::doctor::examine(data, None);
    told.iter().any(|one| one.check == check && one.level == Level::Fault)
}

/// Rows that were cut off at their ends leave ledgers that look whole, and an emptied file of heads nothing to hold them
/// against: what was signed tells.
#[tokio::test(flavor = "multi_thread")]
async fn rows_cut_off_the_ends_of_ledgers_are_told_by_the_signed_heads() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
    lived_in(&data, &backup, 0).await;
    audit::verify(&data, None, None).unwrap();
    for (path, what) in ledgers_of(&data).into_iter().skip(1) {
        let whole = fs::read(&path).unwrap();
        let ends = ends(&whole);
        assert_eq!(ends.last(), Some(&whole.len()));
        for cut in [ends[ends.len() - 2], whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            let found = audit::verify(&data, None, None).unwrap_err();
            assert!(
                matches!(found, AuditError::LedgerCut { what: named, .. } if named == what),
                "{what} at {cut}: {found}"
            );
            assert!(is_faulty(&data, "signed heads"), "{what} at {cut}");
            // A restore by the directory's own ledgers is told too: the heads lie beside them.
            let nowhere = dir.path().join("nowhere");
            match restore_after(&data, &backup, &nowhere) {
                Err(RestoreError::Short { what: named, .. } | RestoreError::Torn { what: named, .. }) => {
                    assert_eq!(named, what);
                }
                taken => panic!("{what} at {cut}: {taken:?}"),
            }
            assert!(!nowhere.exists());
            House::open(&data).await.close().await;
            audit::verify(&data, None, None).unwrap();
            assert_eq!(
                fs::read(&path).unwrap().len(),
                whole.len(),
                "{what}: the next start puts back what the log knows"
            );
        }
    }
    // An erasure takes rows out of the ledger of stops: nothing was lost by that, nor by a kill right behind it.
    let launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data);
    let (mut child, mut clients) = launch.start().await;
    clients.forget(vec![at("email", &mail(1))]).await.unwrap();
    child.kill();
    audit::verify(&data, None, None).unwrap();
    House::open(&data).await.close().await;
    audit::verify(&data, None, None).unwrap();

    let heads = data.join("heads").join("heads.jsonl");
    fs::write(&heads, "").unwrap();
    let found = audit::verify(&data, None, None).unwrap_err();
    assert!(matches!(found, AuditError::Emptied { .. }), "{found}");
    assert!(is_faulty(&data, "signed heads"));
    House::open(&data).await.close().await;
    assert!(audit::verify(&data, None, None).unwrap().heads > 0);
}

/// A server that is killed at once leaves a head that was signed before it served.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_signs_a_head_before_it_serves() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (mut child, _clients) = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data).start().await;
    child.kill();
    assert!(audit::verify(&data, None, None).unwrap().heads > 0);
}

/// A request that was open at the backup, and whose receipt was signed since, ends with its erasure: it would turn overdue and
/// alarm. A request of somebody else that has its number, since numbers are given anew after a restore, does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_open_at_the_backup_ends_with_its_erasure() {
    let dir = tempfile::tempdir().unwrap();
    let at_ = |name: &str| dir.path().join(name);
    let (data, bare, backup) = (at_("data"), at_("bare"), at_("backup"));
    let mut house = House::open(&data).await;
    house.sources(&["crm"]).await;
    for who in 0..3 {
        house.put(person("crm", &who.to_string(), 1_700_000_000, &[("email", &mail(who))], &[])).await;
    }
    back_up(&mut house, &bare).await;
    let mut names = Vec::new();
    for who in 0..2 {
        names.push(house.ask_for_erasure(vec![at("email", &mail(who))]).await.unwrap());
    }
    back_up(&mut house, &backup).await;
    let etag = house.preview(&names[0]).await.unwrap().etag;
    house.erase(&names[0], &etag).await.unwrap();
    house.close().await;

    let again = at_("again");
    assert_eq!(restore_after(&data, &backup, &again).unwrap().pending, 1);
    let mut house = House::open(&again).await;
    let requests = house.privacy_requests(false).await.unwrap();
    assert_eq!(requests.len(), 2, "{requests:?}");
    for request in &requests {
        assert_eq!(request.state() == pb::PrivacyRequestState::Completed, request.name == names[0], "{request:?}");
    }
    house.receipt(&names[0]).await.unwrap();
    assert_eq!(reason(&house.lookup("email", &mail(0)).await.unwrap_err()), "PROFILE_NOT_FOUND");
    assert!(house.lookup("email", &mail(1)).await.is_ok());
    house.close().await;
    audit::verify(&again, None, None).unwrap();

    // From the backup of before both: the first request of the restored directory that is taken in there has the number of the
    // one that the old ledger tells of, and is of another person.
    let fork = at_("fork");
    restore(&bare, &fork, Ledgers::default(), None).unwrap();
    let mut house = House::open(&fork).await;
    let other = house.ask_for_erasure(vec![at("email", &mail(2))]).await.unwrap();
    assert_eq!(other, names[0], "numbers are given anew");
    let forked = at_("forked");
    back_up(&mut house, &forked).await;
    house.close().await;
    let late = at_("late");
    assert_eq!(restore_after(&data, &forked, &late).unwrap().pending, 1);
    let mut house = House::open(&late).await;
    let open = house.privacy_requests(true).await.unwrap();
    assert!(open.len() == 1 && open[0].name == other, "{open:?}");
    assert_eq!(reason(&house.lookup("email", &mail(0)).await.unwrap_err()), "PROFILE_NOT_FOUND");
    assert!(house.lookup("email", &mail(2)).await.is_ok());
    house.close().await;
}
