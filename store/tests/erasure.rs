//! Erasing means destroying a key: afterwards nothing in the data directory gives the content back, whoever reads it.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::ops::ControlFlow;
use std::path::Path;

use onefold_core::ids::{Place, Sequence, SlotId, TenantId};
use onefold_store::checkpoint::Checkpoints;
use onefold_store::datadir::{DataDir, OpenOptions};
use onefold_store::journal::{EntryKind, Journal, JournalOptions, Opened, batch_room, entry_room};
use onefold_store::keyed::{self, KeyedBatch, KeyedStore, Table};
use onefold_store::keys::{TenantKeys, WrappingKey};
use onefold_store::seal::SealError;
use onefold_store::vault::{Vault, VaultError};
use tempfile::TempDir;

const TENANT: TenantId = TenantId(1);

fn content(record: u32) -> Vec<u8> {
    format!("canary {record}: Ada Lovelace, 12 St James's Square, ada@example.org").into_bytes()
}

fn holds(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holds(&path, needle)
        } else {
            std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
        }
    })
}

/// Stores the records, each under a key of its own; the slot stands in the clear before the sealed content.
fn store_records(opened: &mut Opened, vault: &Vault, count: u32) -> Vec<(Place, SlotId)> {
    opened.appender.ensure_room(batch_room(count as usize * entry_room(200))).unwrap();
    let mut batch = opened.appender.begin().unwrap();
    let places = (0..count)
        .map(|record| {
            let (slot, key) = vault.take().unwrap();
            let clear = slot.0.to_le_bytes();
            let place = batch
                .push(TENANT, Sequence(u64::from(record) + 1), EntryKind(1), |context, out| {
                    out.extend_from_slice(&clear);
                    context.seal(&key, 0, &clear, &content(record), out);
                })
                .unwrap();
            (place, slot)
        })
        .collect();
    let batch = opened.appender.seal(batch, 0).unwrap();
    opened.writer.write(batch).unwrap();
    opened.writer.sync().unwrap();
    places
}

fn read_record(opened: &Opened, vault: &Vault, place: Place) -> Result<Vec<u8>, VaultError> {
    let entry = opened.reader.read(place).unwrap();
    let payload = entry.payload.unwrap();
    let (clear, sealed) = payload.split_first_chunk::<4>().unwrap();
    let key = vault.key(SlotId(u32::from_le_bytes(*clear)))?;
    Ok(entry.context.open(&key, 0, clear, sealed).unwrap())
}

#[test]
fn a_destroyed_key_takes_the_content_with_it() {
    let home = TempDir::new().unwrap();
    let data = DataDir::open(home.path(), OpenOptions::default()).unwrap();
    let keys = TenantKeys::generate().unwrap();
    let vault = Vault::open(&data.vault(), TENANT, &keys.wrapping_key()).unwrap();
    vault.recover(SlotId(0)).unwrap();
    let journal = || JournalOptions { dir: data.journal(), segment_bytes: 8_192 };
    let mut opened = Journal::open(journal(), None, |_| Ok(())).unwrap();
    let records = store_records(&mut opened, &vault, 20);
    let backup: Vec<_> = records.iter().map(|(place, _)| opened.reader.read(*place).unwrap()).collect();
    for (record, (place, _)) in records.iter().enumerate() {
        assert_eq!(read_record(&opened, &vault, *place).unwrap(), content(record as u32));
    }

    let checkpoints = Checkpoints::new(data.checkpoint(), data.keys(), data.root_key().clone());
    let mut writer = checkpoints.begin(opened.writer.written()).unwrap();
    writer.section("memory").unwrap();
    writer.write(&content(7)).unwrap();
    writer.finish().unwrap();
    assert!(!holds(home.path(), b"canary"), "content is nowhere in the clear, from the first commit on");

    let (_, secret) = (records[7].0, vault.key(records[7].1).unwrap());
    vault.destroy(&[records[7].1]).unwrap();
    checkpoints.destroy_all().unwrap();
    assert!(!holds(home.path(), secret.expose()));
    drop((opened, vault));

    // After a restart, and under a new wrapping key as well.
    let vault = Vault::open(&data.vault(), TENANT, &keys.wrapping_key()).unwrap();
    vault.recover(SlotId(20)).unwrap();
    vault.rotate(&WrappingKey::generate().unwrap()).unwrap();
    let mut opened = Journal::open(journal(), None, |_| Ok(())).unwrap();
    for (record, (place, slot)) in records.iter().enumerate() {
        match read_record(&opened, &vault, *place) {
            Ok(found) => assert!(record != 7 && found == content(record as u32)),
            Err(error) => assert!(record == 7 && matches!(error, VaultError::Destroyed(found) if found == *slot)),
        }
    }
    // A copy of the entry from before opens under no key that is left.
    let entry = &backup[7];
    let (clear, sealed) = entry.payload.as_ref().unwrap().split_first_chunk::<4>().unwrap();
    for (_, slot) in records.iter().filter(|(_, slot)| *slot != records[7].1) {
        assert_eq!(entry.context.open(&vault.key(*slot).unwrap(), 0, clear, sealed), Err(SealError));
    }

    // Dropping what is left of it keeps the chain, the places and the neighbours.
    store_records(&mut opened, &vault, 1);
    let done = opened.reader.rewrite(1, |entry| entry.place != records[7].0).unwrap();
    assert_eq!((done.kept, done.dropped), (19, 1));
    assert!(!holds(&data.journal(), sealed), "the sealed bytes are gone from the files too");
    assert_eq!(opened.reader.read(records[7].0).unwrap().payload, None);
    assert_eq!(read_record(&opened, &vault, records[8].0).unwrap(), content(8));
    drop(opened);
    let mut dropped = Vec::new();
    let opened = Journal::open(journal(), None, |batch| {
        dropped.extend(batch.entries().filter(|entry| entry.bytes().is_none()).map(|entry| entry.place));
        Ok(())
    })
    .unwrap();
    assert_eq!(dropped, [records[7].0]);
    assert_eq!(opened.reader.verify().unwrap().damages, []);
}

/// The whole start, twice: checkpoint, journal from there on, vault, keyed store from where it is.
#[test]
fn the_parts_come_up_together() {
    let home = TempDir::new().unwrap();
    let keys = TenantKeys::generate().unwrap();
    let mut covered = 0;
    for round in 0..4u32 {
        let data = DataDir::open(home.path(), OpenOptions::default()).unwrap();
        let checkpoints = Checkpoints::new(data.checkpoint(), data.keys(), data.root_key().clone());
        let latest = checkpoints.latest().unwrap();
        assert!(latest.passed_over.is_empty());
        let from = latest.checkpoint.as_ref().map(|checkpoint| *checkpoint.position());
        let options = JournalOptions { dir: data.journal(), segment_bytes: 8_192 };
        let mut replayed = 0;
        let mut opened = Journal::open(options, from.as_ref(), |batch| {
            replayed += batch.len;
            Ok(())
        })
        .unwrap();
        assert_eq!(replayed + covered, round * 10, "round {round}");
        let vault = Vault::open(&data.vault(), TENANT, &keys.wrapping_key()).unwrap();
        vault.recover(SlotId(round * 10)).unwrap();
        let keyed = keyed::open(&data.keyed(), data.root_key(), &opened.reader).unwrap();
        assert_eq!(keyed.replaced, None, "round {round}");
        let from = match keyed.reached {
            keyed::Reached::Nothing => Place { segment: 1, offset: 0 },
            keyed::Reached::At(position) => position.place(),
        };
        store_records(&mut opened, &vault, 10);
        let mut behind = 0;
        opened
            .reader
            .scan(from, |batch| {
                let mut changes = KeyedBatch::new();
                for entry in batch.entries() {
                    let number = u64::from(round) << 32 | entry.sequence.0;
                    changes.put(entry.tenant, Table(1), &number.to_be_bytes(), b"applied".to_vec());
                    behind += 1;
                }
                keyed.store.apply(&changes, &batch.end)?;
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        assert_eq!(behind, 10, "only what the store had not seen, round {round}");
        // Every other round dies without a checkpoint.
        if round % 2 == 0 {
            let mut writer = checkpoints.begin(opened.writer.written()).unwrap();
            writer.section("all").unwrap();
            writer.finish().unwrap();
            covered = (round + 1) * 10;
        }
        keyed.store.close().unwrap();
    }
}
