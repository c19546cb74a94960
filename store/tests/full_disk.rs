//! A disk that is full: everything says so, nothing is lost, and it goes on once there is room.
//!
//! Mounts a small tmpfs and is skipped, saying so, where that is not allowed.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::Command;

use onefold_core::ids::{Sequence, SlotId, TenantId};
use onefold_store::checkpoint::{CheckpointError, Checkpoints};
use onefold_store::datadir::{DataDir, DataDirError, OpenOptions};
use onefold_store::journal::{EntryKind, Journal, JournalError, JournalOptions, Opened, batch_room, entry_room};
use onefold_store::keys::WrappingKey;
use onefold_store::vault::{Vault, VaultError};
use tempfile::TempDir;

struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        eprintln!("skipped: a small file system cannot be mounted here");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        let noise = vec![1; 1 << 16];
        let mut file = std::fs::File::create(self.path().join("ballast")).unwrap();
        while std::io::Write::write_all(&mut file, &noise).is_ok() {}
        let single = [1; 1];
        while std::io::Write::write_all(&mut file, &single).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

fn commit(opened: &mut Opened, sequence: u64) -> Result<(), JournalError> {
    opened.appender.ensure_room(batch_room(entry_room(10_000)))?;
    let mut batch = opened.appender.begin()?;
    batch.push(TenantId(1), Sequence(sequence), EntryKind(1), |_, out| out.resize(10_000, 7))?;
    let batch = opened.appender.seal(batch, 0)?;
    opened.writer.write(batch)?;
    opened.writer.sync().map(|_| ())
}

fn open(dir: &Path) -> (Opened, u64) {
    let options = JournalOptions { dir: dir.join("journal"), segment_bytes: 100_000 };
    let opened = Journal::open(options, None, |_| Ok(())).unwrap();
    let entries = opened.report.entries;
    (opened, entries)
}

#[test]
fn the_journal_fills_up_cleanly_and_goes_on() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    let reserve = disk.path().join("reserve");
    std::fs::write(&reserve, vec![1; 250_000]).unwrap();
    let (mut opened, _) = open(disk.path());
    let mut acknowledged = 0;
    let error = loop {
        match commit(&mut opened, acknowledged + 1) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, JournalError::NoSpace), "{error:?}");
    assert!(acknowledged > 40, "{acknowledged}");
    for _ in 0..3 {
        assert!(matches!(commit(&mut opened, acknowledged + 1), Err(JournalError::NoSpace)), "and again, cleanly");
    }
    // A start on a full disk: everything is there and can be read.
    drop(opened);
    disk.fill();
    let (mut opened, found) = open(disk.path());
    assert_eq!(found, acknowledged);
    assert_eq!(opened.reader.verify().unwrap().damages, []);
    assert!(matches!(commit(&mut opened, acknowledged + 1), Err(JournalError::NoSpace)));
    std::fs::remove_file(reserve).unwrap();
    // The segment that had to wait says, like any other, that what came before it is durable.
    let end = opened.report.end;
    opened.appender.ensure_room(100).unwrap();
    drop(opened);
    let last = disk.path().join(format!("journal/{:010}.seg", end.segment));
    let whole = std::fs::read(&last).unwrap();
    assert_eq!(whole.len(), end.offset as usize);
    std::fs::write(&last, &whole[..whole.len() - 1]).unwrap();
    let options = JournalOptions { dir: disk.path().join("journal"), segment_bytes: 100_000 };
    let cut = Journal::open(options, None, |_| Ok(()));
    assert!(matches!(cut, Err(JournalError::Damaged(damage)) if damage.segment == end.segment));
    std::fs::write(&last, &whole).unwrap();
    let (mut opened, _) = open(disk.path());
    commit(&mut opened, acknowledged + 1).unwrap();
    drop(opened);
    assert_eq!(open(disk.path()).1, acknowledged + 1);
}

#[test]
fn vault_checkpoint_and_directory_say_that_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount("4m") else { return };
    let data = DataDir::open(disk.path().join("data"), OpenOptions::default()).unwrap();
    let vault = Vault::open(&data.vault(), TenantId(1), &WrappingKey::new([1; 32])).unwrap();
    vault.recover(SlotId(0)).unwrap();
    let (slot, key) = vault.take().unwrap();
    let checkpoints = Checkpoints::new(data.checkpoint(), data.keys(), data.root_key().clone());
    let (opened, _) = open(data.path());
    let position = opened.report.end;
    let mut writer = checkpoints.begin(position).unwrap();
    writer.section("a").unwrap();
    writer.write(b"whole").unwrap();
    writer.finish().unwrap();

    let mut writer = checkpoints.begin(position).unwrap();
    writer.section("a").unwrap();
    let noise = vec![3; 8 << 20];
    assert!(matches!(writer.write(&noise), Err(CheckpointError::NoSpace)));
    drop(writer);
    assert_eq!(checkpoints.latest().unwrap().checkpoint.unwrap().read("a").unwrap(), b"whole", "the old one stands");

    disk.fill();
    let error = loop {
        match vault.take() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, VaultError::NoSpace), "{error:?}");
    assert_eq!(vault.key(slot).unwrap(), key, "keys are read as before");
    vault.destroy(&[slot]).unwrap();
    assert!(matches!(vault.key(slot), Err(VaultError::Destroyed(_))), "erasing needs no room");
    let error = DataDir::open(disk.path().join("other"), OpenOptions::default()).unwrap_err();
    assert!(matches!(error, DataDirError::NoSpace(_)), "{error:?}");
    disk.empty();
    vault.take().unwrap();
}
