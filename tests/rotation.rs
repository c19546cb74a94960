//! Keys are rotated: the old root key opens nothing, the new one everything, the erased stay erased, no record is written
//! anew; and a kill at any step leaves a directory that one of the two keys opens. Issue 5, law 7.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onefold_core::decision::{self, EntryKind, KeysRotated};
use onefold_proto::v1 as pb;
use onefold_server::clock::SystemClock;
use onefold_server::restore::{Ledgers, restore};
use onefold_server::rotation::{RotateError, Rotated, Step, rotate};
use onefold_server::{Config, StartError, audit, doctor};
use onefold_store::datadir::{DataDir, DataDirError, OpenOptions};
use onefold_store::erasures::ErasureLedger;
use onefold_store::journal::{Journal, JournalOptions};
use onefold_store::keyring::KeyRing;
use onefold_store::keys::RootKey;
use onefold_store::stops::StopLedger;
use onefold_store::vault::{Vault, VaultError};
use onefold_tests::backups::back_up;
use onefold_tests::canary::{canary, in_the_clear, mail};
use onefold_tests::child::{Launch, copy_of};
use onefold_tests::consent::at;
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::{Clients, House, person, reason};

const PEOPLE: usize = 12;
const ERASED: [usize; 2] = [1, 5];

fn key_file(dir: &Path, name: &str, byte: u8) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, format!("{byte:02x}").repeat(32)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn config(data: &Path, key: Option<&Path>) -> Config {
    Config { root_key_file: key.map(Path::to_owned), ..House::config(data) }
}

async fn open_tenant(clients: &mut Clients, name: &str) {
    let tenant = pb::Tenant { name: format!("tenants/{name}"), ..Default::default() };
    let request = pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    clients.admin.create_tenant(request).await.unwrap();
}

/// Two tenants, some people, some of them erased; its graph's digest.
async fn lived_in(data: &Path, key: Option<&Path>) -> String {
    let mut house = House::open_with(config(data, key)).await;
    house.sources(&["crm"]).await;
    open_tenant(&mut house, "other").await;
    for who in 0..PEOPLE {
        let name = canary(who);
        let fragment = person("crm", &format!("k{who}"), 10, &[("email", &mail(who))], &[("given_name", &name)]);
        house.put(fragment).await;
    }
    for who in ERASED {
        house.forget(vec![at("email", &mail(who))]).await.unwrap();
    }
    let digest = house.graph_digest().await;
    house.close().await;
    digest
}

/// Everybody is there who should be, nobody else, and who was erased does not come back.
async fn assert_as_before(clients: &mut Clients, digest: &str) {
    assert_eq!(clients.graph_digest().await, digest);
    for who in 0..PEOPLE {
        let found = clients.lookup("email", &mail(who)).await;
        if ERASED.contains(&who) {
            assert_eq!(reason(&found.unwrap_err()), "PROFILE_NOT_FOUND");
            let again = person("crm", &format!("k{who}"), 20, &[("email", &mail(who))], &[]);
            assert_eq!(clients.put(again).await.status(), pb::IngestStatus::Suppressed);
        } else {
            let name = clients.get(&found.unwrap().name).await.unwrap();
            assert!(format!("{name:?}").contains(&canary(who)), "what is sealed can be read");
        }
    }
}

/// The content of every segment of the log, without the room behind it.
fn log_of(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(data.join("journal")).unwrap().map(|file| file.unwrap().path());
    let written =
        |bytes: Vec<u8>| bytes.iter().rposition(|byte| *byte != 0).map_or(Vec::new(), |last| bytes[..=last].to_vec());
    files.map(|path| (path.clone(), written(fs::read(path).unwrap()))).collect()
}

fn told_in_log(data: &Path) -> Vec<(u32, KeysRotated)> {
    let mut told = Vec::new();
    let options = JournalOptions { dir: data.join("journal"), segment_bytes: onefold_tests::SEGMENT_BYTES };
    drop(Journal::open(options, None, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == EntryKind::KeysRotated as u8) {
            told.push((entry.tenant.0, decision::decode(entry.bytes().unwrap())?));
        }
        Ok(())
    }));
    told
}

async fn refusal(data: &Path, key: Option<&Path>) -> String {
    match onefold_server::Server::start(config(data, key)).await {
        Err(error @ StartError::DataDir(DataDirError::WrongRootKey(_) | DataDirError::KeyUnusable { .. })) => {
            error.to_string()
        }
        other => panic!("{other:?}"),
    }
}

fn turn(data: &Path, from: &Path, to: Option<&Path>) -> Result<Rotated, RotateError> {
    rotate(data, Some(from), to, &SystemClock, |_| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_the_old_key_opens_nothing_and_the_new_one_everything() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (old, new) = (key_file(dir.path(), "old", 1), key_file(dir.path(), "new", 2));
    let digest = lived_in(&data, Some(&old)).await;
    let (log, ring) = (log_of(&data), fs::read(data.join("keys/root.sealed")).unwrap());

    assert!(matches!(turn(&data, &old, Some(&old)), Err(RotateError::SameKey)));
    let inside = key_file(&data, "inside", 3);
    assert!(matches!(turn(&data, &old, Some(&inside)), Err(RotateError::InDirectory)));
    fs::remove_file(inside).unwrap();
    let wrong = key_file(dir.path(), "wrong", 9);
    assert!(matches!(turn(&data, &wrong, Some(&new)), Err(RotateError::DataDir(DataDirError::WrongRootKey(_)))));
    // A vault that is not there, or lacks a key, is no vault to go on with: nothing is changed, and the old key opens it all.
    let (vault, kept) = (data.join("vault/0"), dir.path().join("kept"));
    fs::rename(&vault, &kept).unwrap();
    assert!(matches!(turn(&data, &old, Some(&new)), Err(RotateError::Lost { .. })));
    let _ = fs::remove_dir_all(&vault);
    fs::rename(&kept, &vault).unwrap();
    let whole = fs::read(vault.join("slots")).unwrap();
    let mut bent = whole.clone();
    bent[200] ^= 1;
    fs::write(vault.join("slots"), bent).unwrap();
    assert!(matches!(turn(&data, &old, Some(&new)), Err(RotateError::Lost { .. })));
    fs::write(vault.join("slots"), whole).unwrap();
    assert!(matches!(
        turn(&dir.path().join("none"), &old, Some(&new)),
        Err(RotateError::DataDir(DataDirError::Foreign { .. }))
    ));
    let now = log_of(&data);
    assert!(log.iter().all(|(segment, written)| now.get(segment) == Some(written)), "what is refused changes nothing");
    assert_eq!(fs::read(data.join("keys/root.sealed")).unwrap(), ring);

    let rotated = turn(&data, &old, Some(&new)).unwrap();
    assert_eq!(rotated, Rotated { generation: 1, vaults: 2, root_key: true, already: false });
    // Opening a log may begin another segment; what lies in it stays.
    let now = log_of(&data);
    assert!(log.iter().all(|(path, bytes)| now.get(path) == Some(bytes)), "no record is written anew");
    // Given once more, as after a crash behind the last step.
    assert!(turn(&data, &old, Some(&new)).unwrap().already);

    let told = refusal(&data, Some(&old)).await;
    assert!(told.contains("the root key is not the one") && told.contains("onefold keys rotate"), "{told}");
    let findings = doctor::examine(&data, Some(&old));
    assert!(findings.iter().any(|finding| format!("{finding:?}").contains("root key")), "{findings:?}");
    let mut house = House::open_with(config(&data, Some(&new))).await;
    assert_as_before(&mut house, &digest).await;
    house.put(person("crm", "late", 30, &[("email", "late@harbour-mail.net")], &[])).await;
    house.close().await;
    let mut told: Vec<_> = told_in_log(&data).iter().map(|(of, told)| (*of, told.generation, told.root_key)).collect();
    told.sort_unstable();
    assert_eq!(told, [(0, 1, true), (1, 1, true)], "the log of each tenant");
    assert_eq!(audit::verify(&data, Some(&new), None).unwrap().erasures, 2);
    assert!(in_the_clear(&data).is_empty());

    // Only what is below it, and once more to a third key; each is told once.
    let below = turn(&data, &new, None).unwrap();
    assert_eq!((below.generation, below.root_key), (2, false));
    let third = key_file(dir.path(), "third", 4);
    assert_eq!(turn(&data, &new, Some(&third)).unwrap().generation, 3);
    refusal(&data, Some(&new)).await;
    for _ in 0..2 {
        let mut house = House::open_with(config(&data, Some(&third))).await;
        assert!(house.lookup("email", "late@harbour-mail.net").await.is_ok());
        house.close().await;
    }
    let told = told_in_log(&data);
    assert_eq!(told.iter().filter(|(of, _)| *of == 0).map(|(_, t)| t.generation).collect::<Vec<_>>(), [1, 2, 3]);
}

/// How many tenants' vaults a ring of before opens none of, with their keys as they lie in the log; all there are.
fn vaults_shut_to(ring: &KeyRing, data: &Path) -> usize {
    let mut tenants = 0;
    let options = JournalOptions { dir: data.join("journal"), segment_bytes: onefold_tests::SEGMENT_BYTES };
    drop(Journal::open(options, None, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == EntryKind::TenantOpened as u8) {
            let opened = decision::TenantOpened::decode(entry.bytes().unwrap())?;
            let keys = onefold_store::keys::TenantKeys::unwrap(&opened.wrapped_keys, ring.root(), entry.tenant.0)?;
            let vault = ring.open_vault(&data.join("vault"), entry.tenant, &keys);
            assert!(matches!(vault, Err(VaultError::WrongKey)), "{vault:?}");
            let bare = Vault::open(&data.join("vault"), entry.tenant, &keys.wrapping_key());
            assert!(matches!(bare, Err(VaultError::WrongKey)), "{bare:?}");
            tenants += 1;
        }
        Ok(())
    }));
    tenants
}

/// Old copies of everything small: the ring and the key of then open none of the vaults of now, nor the checkpoints.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_ring_with_its_key_opens_no_vault_of_after_the_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (old, new) = (key_file(dir.path(), "old", 1), key_file(dir.path(), "new", 2));
    lived_in(&data, Some(&old)).await;
    let keys = dir.path().join("keys-of-then");
    copy_of(&data.join("keys"), &keys, &[]);
    turn(&data, &old, Some(&new)).unwrap();
    // A tenant and a checkpoint that came after it.
    let mut house = House::open_with(config(&data, Some(&new))).await;
    open_tenant(&mut house, "third").await;
    house.close().await;

    let given = RootKey::new([1; 32]);
    let ring = KeyRing::read(&keys, &given).unwrap().unwrap();
    assert!(KeyRing::read(&data.join("keys"), &given).is_err());
    assert_eq!(vaults_shut_to(&ring, &data), 3);
    let dir = DataDir::open(&data, OpenOptions { root_key: Some(RootKey::new([2; 32])) }).unwrap();
    assert!(dir.checkpoints().latest().unwrap().checkpoint.is_some(), "one of after it is there");
    let old = onefold_store::checkpoint::Checkpoints::new(dir.checkpoint(), dir.keys(), ring.checkpoint_root());
    assert!(old.latest().unwrap().checkpoint.is_none(), "and opens under the keys of now alone");
}

/// Cut off, served again and copied, then given once more: what the copy and the old key open is of before.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_amid_a_rotation_that_was_cut_off_opens_nothing_of_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (old, new) = (key_file(dir.path(), "old", 1), key_file(dir.path(), "new", 2));
    let digest = lived_in(&data, Some(&old)).await;
    for at in [Step::Vaults(1), Step::Noted] {
        let copy = dir.path().join(format!("copy-{at:?}"));
        copy_of(&data, &copy, &[]);
        let cut_off = std::panic::catch_unwind(|| {
            rotate(&copy, Some(&old), Some(&new), &SystemClock, |step| assert!(step != at, "cut off here"))
        });
        assert!(cut_off.is_err());
        let mut house = House::open_with(config(&copy, Some(&old))).await;
        assert_as_before(&mut house, &digest).await;
        house.close().await;
        let keys = dir.path().join(format!("keys-{at:?}"));
        copy_of(&copy.join("keys"), &keys, &[]);
        let turned = turn(&copy, &old, Some(&new)).unwrap();
        assert_eq!(turned, Rotated { generation: 1, vaults: 2, root_key: true, already: false });

        let ring = KeyRing::read(&keys, &RootKey::new([1; 32])).unwrap().unwrap();
        assert!(ring.is_turning());
        assert_eq!(vaults_shut_to(&ring, &copy), 2);
        let mut house = House::open_with(config(&copy, Some(&new))).await;
        assert_as_before(&mut house, &digest).await;
        house.close().await;
        assert_eq!(told_in_log(&copy).len(), 2, "once in the log of each tenant");
    }
}

/// A directory of a release without a key ring, its key inside: it opens as it is, and its first rotation takes the key out.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_before_opens_and_its_first_rotation_gives_it_a_ring() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for part in ["journal", "vault", "keyed", "checkpoint", "keys"] {
        fs::create_dir_all(data.join(part)).unwrap();
    }
    let inside = RootKey::new([7; 32]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (name, text) in [
        ("keys/root.key", hex(inside.expose())),
        ("keys/root.check", hex(&inside.derive("key check"))),
        ("FORMAT", "onefold data 1".to_owned()),
    ] {
        fs::write(data.join(name), text + "\n").unwrap();
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let digest = lived_in(&data, None).await;
    assert!(!data.join("keys/root.sealed").exists(), "nothing changes by itself");
    let mut house = House::open(&data).await;
    assert_as_before(&mut house, &digest).await;
    let backup = dir.path().join("backup");
    back_up(&mut house, &backup).await;
    house.close().await;
    let signed_with = audit::verify(&data, None, None).unwrap().public_key;

    let new = key_file(dir.path(), "new", 2);
    rotate(&data, None, Some(&new), &SystemClock, |_| {}).unwrap();
    assert!(!data.join("keys/root.key").exists() && !data.join("keys/root.check").exists());
    assert_eq!(fs::read_to_string(data.join("FORMAT")).unwrap(), "onefold data 2\n", "older releases refuse it");
    let told = refusal(&data, None).await;
    assert!(told.contains("root.key is missing"), "{told}");
    let seven = key_file(dir.path(), "seven", 7);
    refusal(&data, Some(&seven)).await;
    let mut house = House::open_with(config(&data, Some(&new))).await;
    assert_as_before(&mut house, &digest).await;
    house.close().await;
    let found = audit::verify(&data, Some(&new), None).unwrap();
    assert_eq!((found.public_key, found.receipts), (signed_with, 2), "receipts of before hold");

    // The backup of before opens with the key of then, which lies in it, and can be rotated itself.
    let again = dir.path().join("again");
    let (erasures, stops) = (ErasureLedger::path(&data), StopLedger::path(&data));
    let ledgers = Ledgers { erasures: Some(&erasures), stops: Some(&stops), ..Ledgers::default() };
    assert!(restore(&backup, &again, ledgers, Some(&new)).is_err(), "not with the new one");
    restore(&backup, &again, ledgers, None).unwrap();
    rotate(&again, None, Some(&new), &SystemClock, |_| {}).unwrap();
    let mut house = House::open_with(config(&again, Some(&new))).await;
    assert_as_before(&mut house, &digest).await;
    house.close().await;
}

/// Killed (SIGKILL) at every step: one of the two keys opens it, a server serves all of it then, and the same command, given
/// again, ends the rotation.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_step_leaves_what_one_of_the_keys_opens() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let (old, new) = (key_file(dir.path(), "old", 1), key_file(dir.path(), "new", 2));
    let digest = lived_in(&whole, Some(&old)).await;
    let mut steps = Vec::new();
    let counted = dir.path().join("counted");
    copy_of(&whole, &counted, &[]);
    rotate(&counted, Some(&old), Some(&new), &SystemClock, |step| steps.push(step)).unwrap();
    let all =
        [Step::Opened, Step::Begun, Step::Vaults(1), Step::Vaults(2), Step::Checkpoints, Step::Noted, Step::Ended];
    assert_eq!(steps, all);

    let random = how_many("ONEFOLD_ROTATION_KILLS", 6);
    let mut dice = Dice::from_environment("ONEFOLD_ROTATION_SEED", 20_261_127);
    for round in 0..all.len() + random {
        let data = dir.path().join(format!("round-{round}"));
        copy_of(&whole, &data, &[]);
        let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &data);
        let mut rotating = launch.clone();
        rotating.environment.push(("ONEFOLD_TEST_ROTATE_FROM".into(), old.clone().into()));
        rotating.environment.push(("ONEFOLD_TEST_ROTATE_TO".into(), new.clone().into()));
        let mut amid = rotating.clone();
        if round < all.len() {
            amid.environment.push(("ONEFOLD_TEST_ROTATE_STEP".into(), round.to_string().into()));
            assert!(!amid.spawn().end().0.success(), "round {round}");
        } else {
            let mut child = amid.spawn();
            tokio::time::sleep(Duration::from_micros(dice.below(40_000))).await;
            child.kill();
        }
        // What is there opens with one of the two, and is whole.
        let opens = |byte| DataDir::open(&data, OpenOptions { root_key: Some(RootKey::new([byte; 32])) }).is_ok();
        let (with_old, with_new) = (opens(1), opens(2));
        assert!(with_old != with_new, "round {round}: old {with_old}, new {with_new}");
        assert!(round >= all.len() || with_new == (round == all.len() - 1), "round {round}");
        launch.environment = vec![("ONEFOLD_TEST_ROOT_KEY".into(), if with_old { &old } else { &new }.into())];
        let (child, mut clients) = launch.start().await;
        assert_as_before(&mut clients, &digest).await;
        child.stop();
        // Given again it ends, or says that it has.
        let (status, said) = rotating.spawn().end();
        assert!(status.success(), "round {round}: {said}");
        assert!(opens(2) && !opens(1), "round {round}");
        launch.environment = vec![("ONEFOLD_TEST_ROOT_KEY".into(), new.clone().into())];
        let (child, mut clients) = launch.start().await;
        assert_as_before(&mut clients, &digest).await;
        child.stop();
        audit::verify(&data, Some(&new), None).unwrap();
        assert_eq!(told_in_log(&data).len(), 2, "round {round}: once in the log of each tenant");
        fs::remove_dir_all(&data).unwrap();
    }
}

/// What is left of a rotation is told by name, and keeps nobody from serving: one that was cut off, a note that is damaged, a
/// root key of before that lies in the directory.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_rotation_is_told_and_stops_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let new = key_file(dir.path(), "new", 2);
    let digest = lived_in(&data, None).await;
    let inside = fs::read(data.join("keys/root.key")).unwrap();
    let warnings = |key: Option<&Path>| -> Vec<String> {
        let found = doctor::examine(&data, key).into_iter().filter(|found| found.check == "rotation of keys");
        found.filter(|found| found.level == doctor::Level::Warning).map(|found| found.what).collect()
    };
    assert_eq!(warnings(None), Vec::<String>::new());
    DataDir::open(&data, OpenOptions::default()).unwrap().begin_rotation().unwrap();
    assert!(matches!(warnings(None).as_slice(), [told] if told.contains("cut off")));
    rotate(&data, None, Some(&new), &SystemClock, |_| {}).unwrap();
    assert_eq!(warnings(Some(&new)), Vec::<String>::new());

    // The key of before is there again, as where the command was killed at its very end; and the note is bent.
    fs::write(data.join("keys/root.key"), inside).unwrap();
    fs::set_permissions(data.join("keys/root.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let note = data.join("keys/rotations");
    let mut bytes = fs::read(&note).unwrap();
    bytes[2] ^= 1;
    fs::write(&note, bytes).unwrap();
    for _ in 0..2 {
        let mut house = House::open_with(config(&data, Some(&new))).await;
        assert_eq!(house.graph_digest().await, digest);
        house.close().await;
        assert!(!data.join("keys/root.key").exists(), "who finds it opens copies of before with it");
        assert!(matches!(warnings(Some(&new)).as_slice(), [told] if told.contains("line 1 of keys/rotations")));
    }
    assert!(told_in_log(&data).is_empty(), "what a bent note says is not believed");
    fs::remove_file(&note).unwrap();
    assert_eq!(warnings(Some(&new)), Vec::<String>::new());
}
