//! What an earlier release wrote still opens and reads the same. `ONEFOLD_BLESS=1` writes a new `golden/v1`, which is
//! only right when a format of a release that nobody uses yet has changed.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use onefold_core::ids::{Place, Sequence, SlotId, TenantId};
use onefold_store::checkpoint::Checkpoints;
use onefold_store::datadir::{DataDir, OpenOptions};
use onefold_store::journal::{EntryKind, Journal, JournalOptions, Opened, batch_room, entry_room};
use onefold_store::keys::{RootKey, TenantKeys};
use onefold_store::vault::Vault;
use tempfile::TempDir;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn root() -> OpenOptions {
    OpenOptions { root_key: Some(RootKey::new([42; 32])) }
}

fn journal(data: &DataDir) -> JournalOptions {
    JournalOptions { dir: data.journal(), segment_bytes: 2_048 }
}

const TENANT: TenantId = TenantId(7);

fn bless() {
    let home = TempDir::new().unwrap();
    let data = DataDir::open(home.path(), root()).unwrap();
    let keys = TenantKeys::generate().unwrap();
    let mut opened = Journal::open(journal(&data), None, |_| Ok(())).unwrap();
    let vault = Vault::open(&data.vault(), TENANT, &keys.wrapping_key()).unwrap();
    vault.recover(SlotId(0)).unwrap();
    let commit = |opened: &mut Opened, sequence: u64, kind: u8, payload: &dyn Fn(&mut Vec<u8>, &_)| {
        opened.appender.ensure_room(batch_room(entry_room(600))).unwrap();
        let mut batch = opened.appender.begin().unwrap();
        batch.push(TENANT, Sequence(sequence), EntryKind(kind), |context, out| payload(out, context)).unwrap();
        let batch = opened.appender.seal(batch, 1_800_000_000_000_000 + sequence as i64).unwrap();
        opened.writer.write(batch).unwrap();
        opened.writer.sync().unwrap();
    };
    let wrapped = keys.wrap(data.root_key(), TENANT.0).unwrap();
    commit(&mut opened, 1, 1, &|out, _| out.extend_from_slice(&wrapped));
    for sequence in 2..8 {
        let (_, key) = vault.take().unwrap();
        commit(&mut opened, sequence, 2, &|out, context: &onefold_store::seal::SealContext| {
            context.seal(&key, 0, b"", &vec![sequence as u8; 500], out);
        });
    }
    vault.destroy(&[SlotId(0)]).unwrap();
    opened.reader.rewrite(1, |entry| entry.sequence.0 != 2).unwrap();
    let checkpoints = Checkpoints::new(data.checkpoint(), data.keys(), data.root_key().clone());
    let mut writer = checkpoints.begin(opened.writer.written()).unwrap();
    writer.section("numbers").unwrap();
    writer.write(&[1, 2, 3]).unwrap();
    writer.finish().unwrap();
    drop(opened);
    let _ = fs::remove_dir_all(golden());
    copy(home.path(), &golden());
    // A few slots say as much as a thousand.
    fs::File::options().write(true).open(golden().join("vault/7/slots")).unwrap().set_len(64 + 32 * 8).unwrap();
}

#[test]
fn version_1_opens_and_reads_the_same() {
    if std::env::var_os("ONEFOLD_BLESS").is_some() {
        bless();
    }
    let home = TempDir::new().unwrap();
    copy(&golden(), home.path());
    let data = DataDir::open(home.path(), root()).unwrap();
    assert!(!data.created());
    let (mut keys, mut sealed) = (None, Vec::new());
    let opened = Journal::open(journal(&data), None, |batch| {
        for entry in batch.entries() {
            assert_eq!(batch.time_micros, 1_800_000_000_000_000 + entry.sequence.0 as i64);
            assert_eq!(entry.tenant, TENANT);
            match entry.kind.0 {
                1 => keys = Some(TenantKeys::unwrap(entry.bytes().unwrap(), data.root_key(), TENANT.0)?),
                _ => sealed.push((entry.place, entry.sequence.0)),
            }
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(sealed.iter().map(|(_, sequence)| *sequence).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
    assert_eq!(sealed[1].0, Place { segment: 1, offset: 941 }, "places are for ever");
    let vault = Vault::open(&data.vault(), TENANT, &keys.unwrap().wrapping_key()).unwrap();
    assert!(vault.key(SlotId(0)).is_err());
    assert_eq!(opened.reader.read(sealed[0].0).unwrap().payload, None);
    for (place, sequence) in &sealed[1..] {
        let entry = opened.reader.read(*place).unwrap();
        let key = vault.key(SlotId(*sequence as u32 - 2)).unwrap();
        let plain = entry.context.open(&key, 0, b"", &entry.payload.unwrap()).unwrap();
        assert_eq!(plain, vec![*sequence as u8; 500]);
    }
    let checkpoints = Checkpoints::new(data.checkpoint(), data.keys(), data.root_key().clone());
    let checkpoint = checkpoints.latest().unwrap().checkpoint.unwrap();
    assert_eq!(checkpoint.read("numbers").unwrap(), [1, 2, 3]);
    assert!(opened.reader.holds(checkpoint.position()).unwrap());
}

/// A directory of format 1 gets a key ring by its first rotation: the key of then opens it no more, and no vault of it.
#[test]
fn version_1_can_be_rotated() {
    let home = TempDir::new().unwrap();
    copy(&golden(), home.path());
    let mut data = DataDir::open(home.path(), root()).unwrap();
    let (mut keys, mut wrapped) = (None, Vec::new());
    drop(Journal::open(journal(&data), None, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == 1) {
            wrapped = entry.bytes().unwrap().to_vec();
            keys = Some(data.tenant_keys(&wrapped, TENANT)?);
        }
        Ok(())
    }));
    let keys = keys.unwrap();
    let before = data.open_vault(TENANT, &keys).unwrap().key(SlotId(1)).unwrap();
    data.begin_rotation().unwrap();
    assert_eq!(data.open_vault(TENANT, &keys).unwrap().key(SlotId(1)).unwrap(), before, "amid it too");
    assert!(data.ring().turn_vault(&data.vault(), TENANT, &keys).unwrap());
    let to = RootKey::new([43; 32]);
    data.end_rotation(Some(to.clone())).unwrap();
    drop(data);
    assert!(DataDir::open(home.path(), root()).is_err());
    let data = DataDir::open(home.path(), OpenOptions { root_key: Some(to) }).unwrap();
    let keys = data.tenant_keys(&wrapped, TENANT).unwrap();
    assert_eq!(data.open_vault(TENANT, &keys).unwrap().key(SlotId(1)).unwrap(), before);
    assert!(data.open_vault(TENANT, &keys).unwrap().key(SlotId(0)).is_err(), "destroyed stays destroyed");
    assert!(Vault::open(&data.vault(), TENANT, &keys.wrapping_key()).is_err());
    assert!(data.checkpoints().latest().unwrap().checkpoint.is_none(), "checkpoints of before do not open");
}
