//! A backup taken while the server serves is whole and of one moment; a restore brings back what was acknowledged by then,
//! and nobody who was erased since. A damaged backup is refused, and what is damaged is named. Laws 3 and 7.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_server::audit;
use onefold_server::restore::{Ledgers, MANIFEST, Manifest, RestoreError, restore};
use onefold_store::erasures::ErasureLedger;
use onefold_store::ledger::HEADER_BYTES;
use onefold_tests::backups::{back_up, restore_after};
use onefold_tests::canary::mail;
use onefold_tests::child::Launch;
use onefold_tests::consent::{at, of_record, reasons, said};
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::{Clients, House, person, reason};

async fn put(clients: &mut Clients, who: usize) {
    let mail = mail(who);
    for source in ["crm", "shop"] {
        let result = clients.put(person(source, &format!("k{who}"), 1_700_000_000, &[("email", &mail)], &[])).await;
        assert_eq!(result.status(), pb::IngestStatus::Accepted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_brings_back_everybody_but_the_erased() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("backup"));
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    for who in 0..40 {
        put(&mut house, who).await;
    }
    let first = back_up(&mut house, &out).await;
    // The second one is taken under load, and sends only what is new.
    let mut busy = house.clients();
    let load = tokio::spawn(async move {
        for who in 40..80 {
            put(&mut busy, who).await;
        }
    });
    let more = back_up(&mut house, &out).await;
    load.await.unwrap();
    assert!(more < first, "{more} of {first} bytes");
    let mut profiles = BTreeMap::new();
    for who in 0..40 {
        profiles.insert(who, house.lookup("email", &mail(who)).await.unwrap().name);
    }
    // Erased after the backup was taken.
    for who in [3, 7] {
        house.forget(vec![at("email", &mail(who))]).await.unwrap();
    }
    house.close().await;

    let again = dir.path().join("again");
    let restored = restore_after(&data, &out, &again).unwrap();
    assert_eq!((restored.known, restored.pending), (0, 2));
    let mut house = House::open(&again).await;
    for (who, profile) in &profiles {
        let found = house.lookup("email", &mail(*who)).await;
        if [3, 7].contains(who) {
            assert_eq!(reason(&found.unwrap_err()), "PROFILE_NOT_FOUND");
            assert_eq!(reason(&house.get(profile).await.unwrap_err()), "PROFILE_ERASED");
            let again = person("crm", &format!("k{who}"), 1_790_000_000, &[("email", &mail(*who))], &[]);
            assert_eq!(house.put(again).await.status(), pb::IngestStatus::Suppressed);
        } else {
            assert_eq!(&found.unwrap().name, profile, "ids are the same");
        }
    }
    let requests = house.privacy_requests(false).await.unwrap();
    assert!(requests.len() == 2 && requests.iter().all(|r| r.reference == "restored-ledger"), "{requests:?}");
    house.close().await;
    let found = audit::verify(&again, None, None).unwrap();
    assert_eq!((found.erasures, found.receipts), (2, 2));

    // A second start has nothing left to do; somebody let back in stays in.
    let mut house = House::open(&again).await;
    let request = pb::ReadmitRequest {
        subjects: vec![at("email", &mail(3)), of_record("crm", "k3")],
        by: "dpo".to_owned(),
        ground: "new-sign-up".to_owned(),
        ..Default::default()
    };
    house.privacy.readmit(request).await.unwrap();
    house.close().await;
    let mut house = House::open(&again).await;
    let back = house.put(person("crm", "k3", 1_790_000_001, &[("email", &mail(3))], &[])).await;
    assert_eq!(back.status(), pb::IngestStatus::Accepted);
    house.close().await;

    // A backup that knows the erasures has nothing pending.
    let mut house = House::open(&data).await;
    let late = dir.path().join("late");
    back_up(&mut house, &late).await;
    house.close().await;
    let once_more = dir.path().join("once-more");
    let restored = restore_after(&data, &late, &once_more).unwrap();
    assert_eq!((restored.known, restored.pending), (2, 0));
    let taken = restore_after(&data, &late, &once_more);
    assert!(matches!(taken, Err(RestoreError::NotEmpty(_))), "{taken:?}");
    let mut house = House::open(&once_more).await;
    assert_eq!(reason(&house.lookup("email", &mail(7)).await.unwrap_err()), "PROFILE_NOT_FOUND");
    house.close().await;
}

/// Killed (SIGKILL) at random moments: what a restore left half done is not served, and is begun anew by the next; what its
/// first start left half done the next one ends. Nobody comes back, and nobody is contacted who said no.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_of_a_restore_brings_nobody_back() {
    let rounds = how_many("ONEFOLD_RESTORE_KILLS", 4);
    let mut dice = Dice::from_environment("ONEFOLD_RESTORE_SEED", 20_261_127);
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("backup"));
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    for who in 0..30 {
        put(&mut house, who).await;
        house.say(at("email", &mail(who)), said(pb::ConsentDecision::Granted, 1_700_000_000)).await.unwrap();
    }
    back_up(&mut house, &out).await;
    for who in 0..6 {
        house.forget(vec![at("email", &mail(who))]).await.unwrap();
    }
    house.say(at("email", &mail(7)), said(pb::ConsentDecision::Withdrawn, 1_700_000_010)).await.unwrap();
    house.close().await;

    let (mut amid, mut tries) = (0, 0);
    while amid < rounds && tries < 60 * rounds {
        tries += 1;
        let again = dir.path().join(format!("again-{tries}"));
        let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &again);
        let mut restoring = launch.clone();
        restoring.environment.push(("ONEFOLD_TEST_RESTORE".into(), out.clone().into()));
        restoring.environment.push(("ONEFOLD_TEST_RESTORE_OF".into(), data.clone().into()));
        let mut child = restoring.spawn();
        tokio::time::sleep(Duration::from_micros(dice.below(15_000 * (1 + tries as u64 % 20)))).await;
        child.kill();
        if !again.join("FORMAT").exists() {
            continue;
        }
        let mut child = launch.spawn();
        if child.connect().await.is_none() {
            let (_, why) = child.end();
            assert!(why.contains("was not restored to the end"), "{why}");
            assert!(audit::verify(&again, None, None).is_err());
            restore_after(&data, &out, &again).unwrap();
            amid += 1;
        }
        child.kill();
        // The first start is killed too.
        launch.checkpoint_every = 5 + dice.below(20);
        let mut child = launch.spawn();
        tokio::time::sleep(Duration::from_micros(dice.below(60_000))).await;
        child.kill();
        let (child, mut clients) = launch.start().await;
        for who in 0..30 {
            let found = clients.lookup("email", &mail(who)).await;
            assert_eq!(found.is_ok(), who >= 6, "{who}");
        }
        let back = person("crm", "k3", 1_790_000_000, &[("email", &mail(3))], &[]);
        assert_eq!(clients.put(back).await.status(), pb::IngestStatus::Suppressed);
        assert_eq!(reasons(&clients.may(at("email", &mail(7)), false).await.unwrap()), ["WITHDRAWN"]);
        assert!(clients.may(at("email", &mail(8)), false).await.unwrap().allowed);
        child.stop();
        audit::verify(&again, None, None).unwrap();
        fs::remove_dir_all(&again).unwrap();
    }
    println!("{tries} restores were killed, {amid} of them amid");
    assert!(amid > 0, "no kill met a restore on its way");
}

/// An older copy in the place of the erasure ledger, or one that was cut back, would let a restore bring somebody back.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_ledger_that_lacks_somebody_is_made_whole_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("backup"));
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    for who in 0..4 {
        put(&mut house, who).await;
    }
    back_up(&mut house, &out).await;
    let ledger = ErasureLedger::path(&data);
    house.forget(vec![at("email", &mail(0))]).await.unwrap();
    house.close().await;
    let older = fs::read(&ledger).unwrap();
    let mut house = House::open(&data).await;
    for who in 1..3 {
        house.forget(vec![at("email", &mail(who))]).await.unwrap();
    }
    house.close().await;
    let whole = ErasureLedger::read(&ledger).unwrap();
    for (number, put_in_place) in
        [&older[..], &older[..HEADER_BYTES], &older[..older.len() - 1]].into_iter().enumerate()
    {
        for from_checkpoint in [true, false] {
            fs::write(&ledger, put_in_place).unwrap();
            if !from_checkpoint {
                fs::remove_dir_all(data.join("checkpoint")).unwrap();
            }
            House::open(&data).await.close().await;
            let mut now = ErasureLedger::read(&ledger).unwrap();
            now.sort_by_key(|row| row.sequence);
            assert_eq!(now, whole, "{number}, from a checkpoint: {from_checkpoint}");
            audit::verify(&data, None, None).unwrap();
        }
    }
    let again = dir.path().join("again");
    let restored = restore_after(&data, &out, &again).unwrap();
    assert_eq!((restored.pending, restored.torn.len(), restored.lacks), (3, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_and_so_is_a_damaged_installation() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("backup"));
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    for who in 0..3 {
        put(&mut house, who).await;
    }
    let request = house.forget(vec![at("email", &mail(1))]).await.unwrap();
    let receipt = house.receipt(&request.name).await.unwrap();
    back_up(&mut house, &out).await;
    house.close().await;
    let manifest = Manifest::read(&out).unwrap();
    let flip = |path: &Path, bit: u64| {
        let mut bytes = fs::read(path).unwrap();
        let bit = bit % (bytes.len() as u64 * 8);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        fs::write(path, bytes).unwrap();
        bit
    };
    let nowhere = dir.path().join("nowhere");
    for (number, file) in manifest.files.iter().enumerate() {
        let path = out.join(&file.path);
        for turn in 0..4u64 {
            let bit = flip(&path, (turn * 7_919 + number as u64 * 104_729) * 31);
            match restore_after(&data, &out, &nowhere) {
                Err(RestoreError::File { path, .. }) => assert_eq!(path, file.path),
                other => panic!("{}: {other:?}", file.path),
            }
            assert!(!nowhere.exists());
            flip(&path, bit);
        }
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(restore(&out, &nowhere, Ledgers::default(), None).is_err());
        fs::write(&path, whole).unwrap();
    }
    // A backup is no data directory: whoever served it would bring back the erased.
    let refused = onefold_server::Server::start(House::config(&out)).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("is a backup"), "{refused}");
    let length = fs::metadata(out.join(MANIFEST)).unwrap().len() * 8;
    for bit in (0..length).step_by(37) {
        flip(&out.join(MANIFEST), bit);
        assert!(restore(&out, &nowhere, Ledgers::default(), None).is_err(), "bit {bit} of the manifest");
        flip(&out.join(MANIFEST), bit);
    }
    let ledger = dir.path().join("ledger");
    fs::copy(ErasureLedger::path(&data), &ledger).unwrap();
    flip(&ledger, 8 * 100 + 3);
    let bent = Ledgers { erasures: Some(&ledger), stops: None, ..Ledgers::default() };
    assert!(matches!(restore(&out, &nowhere, bent, None), Err(RestoreError::Ledger(_))));

    // The auditor: the whole installation, then one bit at a time.
    let whole = audit::verify(&data, None, None).unwrap();
    assert_eq!((whole.erasures, whole.receipts), (1, 1));
    let file = dir.path().join("receipt.json");
    fs::write(&file, &receipt).unwrap();
    audit::verify_receipt_in(&data, None, &file).unwrap();
    audit::verify_receipt(&receipt, Some(&whole.public_key)).unwrap();
    let copy = |name: &str| {
        let to = dir.path().join(name);
        for (from, below) in
            [("FORMAT", ""), ("journal", "journal"), ("vault", "vault"), ("keys", "keys"), ("erasures", "erasures")]
        {
            copy_all(&data.join(from), &to.join(if below.is_empty() { from } else { below }));
        }
        to
    };
    let bent = copy("bent");
    let segment = fs::read_dir(bent.join("journal")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    // Inside the first batches, which are whole and followed by others.
    for bit in (8 * 88..8 * 600).step_by(131) {
        let _ = fs::remove_dir_all(&bent);
        copy("bent");
        flip(&segment, bit);
        let found = audit::verify(&bent, None, None);
        assert!(found.is_err(), "bit {bit} of the log: {found:?}");
    }
    let _ = fs::remove_dir_all(&bent);
    copy("bent");
    fs::write(ErasureLedger::path(&bent), &fs::read(ErasureLedger::path(&bent)).unwrap()[..HEADER_BYTES]).unwrap();
    assert!(matches!(audit::verify(&bent, None, None), Err(audit::AuditError::NotInLedger { .. })));
    let other = fs::read_to_string(&file).unwrap().replace("\"GDPR\"", "\"CCPA\"");
    fs::write(&file, other).unwrap();
    assert!(audit::verify_receipt_in(&data, None, &file).is_err());
}

const NORTH: &str = "tenants/north";

async fn put_in(clients: &mut Clients, parent: &str, key: &str, mail: &str) -> pb::IngestStatus {
    let fragment = Some(person("crm", key, 1_700_000_000, &[("email", mail)], &[]));
    let request = pb::PutFragmentRequest { parent: parent.to_owned(), fragment, ..Default::default() };
    clients.ingest.put_fragment(request).await.unwrap().into_inner().result.unwrap().status()
}

async fn open_tenant(clients: &mut Clients, parent: &str) {
    let tenant = pb::Tenant { name: parent.to_owned(), ..Default::default() };
    let request = pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    clients.admin.create_tenant(request).await.unwrap();
    let source = Some(pb::Source { name: "crm".to_owned(), trust: 500, ..Default::default() });
    clients
        .admin
        .put_source(pb::PutSourceRequest { parent: parent.to_owned(), source, ..Default::default() })
        .await
        .unwrap();
}

/// Two backups, one from before a tenant was opened. A restore of that one forgot who was erased there, and who said no: a
/// restore of the other by its ledgers brought them back.
#[tokio::test(flavor = "multi_thread")]
async fn erasures_in_a_tenant_that_the_backup_does_not_know_outlive_its_restore() {
    let dir = tempfile::tempdir().unwrap();
    let at_ = |name: &str| dir.path().join(name);
    let (data, early, late) = (at_("data"), at_("early"), at_("late"));
    let mut house = House::open(&data).await;
    house.sources(&["crm", "shop"]).await;
    back_up(&mut house, &early).await;
    open_tenant(&mut house, NORTH).await;
    for who in 0..3 {
        assert_eq!(put_in(&mut house, NORTH, &format!("k{who}"), &mail(who)).await, pb::IngestStatus::Accepted);
    }
    back_up(&mut house, &late).await;
    let request = pb::CreatePrivacyRequestRequest {
        parent: NORTH.to_owned(),
        kind: pb::PrivacyRequestKind::Erasure as i32,
        subjects: vec![at("email", &mail(1))],
        ..Default::default()
    };
    let name = house.privacy.create_privacy_request(request).await.unwrap().into_inner().request.unwrap().name;
    let verify = pb::VerifyPrivacyRequestRequest {
        name: name.clone(),
        method: "letter".to_owned(),
        by: "dpo".to_owned(),
        ..Default::default()
    };
    house.privacy.verify_privacy_request(verify).await.unwrap();
    let etag = house.preview(&name).await.unwrap().etag;
    house.erase(&name, &etag).await.unwrap();
    let no = pb::RecordConsentRequest {
        parent: NORTH.to_owned(),
        subject: Some(at("email", &mail(2))),
        saying: Some(onefold_tests::consent::said(pb::ConsentDecision::Objected, 1_700_000_001)),
        ..Default::default()
    };
    house.consent.record_consent(no).await.unwrap();
    house.close().await;

    let between = at_("between");
    assert_eq!(restore_after(&data, &early, &between).unwrap().pending, 1);
    for _ in 0..2 {
        House::open(&between).await.close().await;
    }
    assert_eq!(ErasureLedger::read(&ErasureLedger::path(&between)).unwrap().len(), 1, "kept, and once");
    // A tenant that is opened there is another: what is kept is never taken for its own.
    let mut house = House::open(&between).await;
    open_tenant(&mut house, "tenants/south").await;
    for who in 0..3 {
        assert_eq!(
            put_in(&mut house, "tenants/south", &format!("k{who}"), &mail(who)).await,
            pb::IngestStatus::Accepted
        );
    }
    house.close().await;
    let kept = ErasureLedger::read(&ErasureLedger::path(&between)).unwrap()[0].tenant;
    assert!(between.join("vault").join((kept.0 + 1).to_string()).exists(), "its number is left free");

    let end = at_("end");
    assert_eq!(restore_after(&between, &late, &end).unwrap().pending, 1);
    let mut house = House::open(&end).await;
    assert_eq!(reason(&house.lookup_in(NORTH, "email", &mail(1)).await.unwrap_err()), "PROFILE_NOT_FOUND");
    assert!(house.lookup_in(NORTH, "email", &mail(0)).await.is_ok());
    assert_eq!(put_in(&mut house, NORTH, "k1", &mail(1)).await, pb::IngestStatus::Suppressed);
    let state = pb::GetConsentStateRequest {
        parent: NORTH.to_owned(),
        subject: Some(at("email", &mail(2))),
        ..Default::default()
    };
    let state = house.consent.get_consent_state(state).await.unwrap().into_inner();
    assert!(format!("{state:?}").contains("state: Objected"), "{state:?}");
    house.close().await;
}

fn copy_all(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy_all(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}
