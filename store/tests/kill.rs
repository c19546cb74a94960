//! Killed under load: what was acknowledged is there, whole and in order, and nothing half is.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use onefold_core::ids::{Sequence, SlotId, TenantId};
use onefold_store::journal::{EntryKind, Journal, JournalOptions, Opened, batch_room, entry_room};
use onefold_store::keys::WrappingKey;
use onefold_store::vault::Vault;
use tempfile::TempDir;

const HOME: &str = "ONEFOLD_TEST_KILL_HOME";
const KILLS: u64 = 12;
const PER_BATCH: u64 = 7;

fn open(home: &Path) -> (Opened, Vault, u64) {
    let options = JournalOptions { dir: home.join("journal"), segment_bytes: 60_000 };
    let vault = Vault::open(&home.join("vault"), TenantId(1), &WrappingKey::new([1; 32])).unwrap();
    let mut last = 0;
    let opened = Journal::open(options, None, |batch| {
        assert_eq!(u64::from(batch.len), PER_BATCH, "a batch is there whole or not at all");
        for entry in batch.entries() {
            last += 1;
            assert_eq!(entry.sequence.0, last, "no gap, nothing twice");
            let bytes = entry.bytes().unwrap();
            let (clear, sealed) = bytes.split_first_chunk::<4>().unwrap();
            let key = vault.key(SlotId(u32::from_le_bytes(*clear)))?;
            let plain = entry.seal_context().open(&key, 0, clear, sealed)?;
            assert_eq!(plain, vec![last as u8; 100 + last as usize % 300]);
        }
        Ok(())
    })
    .unwrap();
    vault.recover(SlotId(last as u32)).unwrap();
    (opened, vault, last)
}

fn work(home: &Path) {
    let (mut opened, vault, mut sequence) = open(home);
    loop {
        opened.appender.ensure_room(batch_room(PER_BATCH as usize * entry_room(500))).unwrap();
        let mut batch = opened.appender.begin().unwrap();
        for _ in 0..PER_BATCH {
            sequence += 1;
            let (slot, key) = vault.take().unwrap();
            // One slot per sequence, so that the replay knows what is taken.
            assert_eq!(u64::from(slot.0) + 1, sequence);
            let clear = slot.0.to_le_bytes();
            batch
                .push(TenantId(1), Sequence(sequence), EntryKind(1), |context, out| {
                    out.extend_from_slice(&clear);
                    context.seal(&key, 0, &clear, &vec![sequence as u8; 100 + sequence as usize % 300], out);
                })
                .unwrap();
        }
        let batch = opened.appender.seal(batch, 0).unwrap();
        opened.writer.write(batch).unwrap();
        opened.writer.sync().unwrap();
        println!("ack {sequence}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn acknowledged_entries_survive_kills() {
    if let Some(home) = std::env::var_os(HOME) {
        return work(&PathBuf::from(home));
    }
    let home = TempDir::new().unwrap();
    std::fs::create_dir_all(home.path().join("vault")).unwrap();
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["acknowledged_entries_survive_kills", "--exact", "--nocapture"])
            .env(HOME, home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let acks = output.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("ack ")?.parse().ok());
            acks.last().unwrap_or(0u64)
        });
        // Different points in the life of a process, the opening included.
        std::thread::sleep(Duration::from_millis(25 + kill * 37 % 260));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = reader.join().unwrap().max(acknowledged);
        let (opened, _, last) = open(home.path());
        assert!(last >= acknowledged, "kill {kill}: {acknowledged} acknowledged, {last} there");
        assert_eq!(opened.reader.verify().unwrap().damages, []);
    }
    assert!(acknowledged > 0, "the writer got somewhere");
}
