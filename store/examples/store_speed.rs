//! How fast the store is on this machine: `cargo run --release -p onefold-store --example store_speed [DIR]`.
//!
//! Prints one line per figure; the directory decides which disk is measured (a temporary one by default).
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use onefold_core::ids::{Place, Sequence, SlotId, TenantId};
use onefold_store::checkpoint::Checkpoints;
use onefold_store::journal::{EntryKind, Journal, JournalOptions, batch_room, entry_room};
use onefold_store::keyed::{KeyedBatch, KeyedStore, Table};
use onefold_store::keys::{DataKey, RootKey, WrappingKey};
use onefold_store::seal::SealContext;
use onefold_store::vault::Vault;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const TENANT: TenantId = TenantId(1);
const ENTRY_BYTES: usize = 300;

fn main() -> Outcome {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from).join("onefold-store-speed");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    append(&dir.join("journal-1"), 1, 2_000)?;
    append(&dir.join("journal-64"), 64, 200_000)?;
    append(&dir.join("journal-512"), 512, 1_000_000)?;
    replay(&dir.join("journal-512"))?;
    seal();
    vault(&dir.join("vault"))?;
    checkpoint(&dir)?;
    keyed(&dir)?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn append(dir: &std::path::Path, per_batch: usize, entries: usize) -> Outcome {
    let mut opened = Journal::open(JournalOptions::new(dir), None, |_| Ok(()))?;
    let payload = [7; ENTRY_BYTES];
    let (mut sequence, mut building, mut syncing) = (0, 0.0, 0.0);
    let begun = Instant::now();
    while sequence < entries as u64 {
        let start = Instant::now();
        opened.appender.ensure_room(batch_room(per_batch * entry_room(ENTRY_BYTES)))?;
        let mut batch = opened.appender.begin()?;
        for _ in 0..per_batch {
            sequence += 1;
            batch.push(TENANT, Sequence(sequence), EntryKind(1), |_, out| out.extend_from_slice(&payload))?;
        }
        let batch = opened.appender.seal(batch, 0)?;
        building += start.elapsed().as_secs_f64();
        let start = Instant::now();
        opened.writer.write(batch)?;
        opened.writer.sync()?;
        syncing += start.elapsed().as_secs_f64();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let batches = sequence as f64 / per_batch as f64;
    println!(
        "append, {per_batch} a batch: {:.0} entries/s; a batch takes {:.0} us to build and {:.0} us to write and sync",
        sequence as f64 / seconds,
        building / batches * 1e6,
        syncing / batches * 1e6,
    );
    let used: u64 =
        std::fs::read_dir(dir)?.filter_map(|entry| entry.ok()?.metadata().ok()).map(|file| file.len()).sum();
    println!("  {} bytes of files for {} bytes of content", used, sequence * ENTRY_BYTES as u64);
    Ok(())
}

fn replay(dir: &std::path::Path) -> Outcome {
    let start = Instant::now();
    let mut bytes = 0;
    let mut places = Vec::new();
    let opened = Journal::open(JournalOptions::new(dir), None, |view| {
        for entry in view.entries() {
            bytes += entry.bytes().map_or(0, <[u8]>::len);
            places.push(entry.place);
        }
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    println!("open and verify {} entries: {seconds:.2} s, {:.0} MB/s", places.len(), bytes as f64 / seconds / 1e6);
    let start = Instant::now();
    let count = 200_000;
    for number in 0..count {
        black_box(opened.reader.read(places[number * 7_919 % places.len()])?);
    }
    println!("read an entry by place: {:.0} ns", start.elapsed().as_secs_f64() / count as f64 * 1e9);
    let start = Instant::now();
    let report = opened.reader.verify()?;
    println!("verify all: {:.2} s, {} damages", start.elapsed().as_secs_f64(), report.damages.len());
    let start = Instant::now();
    let done = opened.reader.rewrite(1, |view| view.sequence.0 % 10 == 0)?;
    println!(
        "rewrite a segment, a tenth kept: {:.2} s, {} to {} bytes",
        start.elapsed().as_secs_f64(),
        done.bytes_before,
        done.bytes_after
    );
    Ok(())
}

fn seal() {
    let key = DataKey::new([5; 32]);
    let context = SealContext {
        salt: [1; 16],
        place: Place { segment: 1, offset: 88 },
        tenant: TENANT,
        sequence: Sequence(1),
        kind: EntryKind(1),
    };
    let plain = [7; ENTRY_BYTES];
    let mut out = Vec::new();
    let count = 500_000;
    let start = Instant::now();
    for _ in 0..count {
        out.clear();
        context.seal(&key, 0, b"slot", black_box(&plain), &mut out);
    }
    println!("seal {ENTRY_BYTES} bytes: {:.0} ns", start.elapsed().as_secs_f64() / f64::from(count) * 1e9);
    let start = Instant::now();
    for _ in 0..count {
        black_box(context.open(&key, 0, b"slot", black_box(&out)).is_ok());
    }
    println!("open {ENTRY_BYTES} bytes: {:.0} ns", start.elapsed().as_secs_f64() / f64::from(count) * 1e9);
}

fn vault(dir: &std::path::Path) -> Outcome {
    std::fs::create_dir_all(dir)?;
    let vault = Vault::open(dir, TENANT, &WrappingKey::new([1; 32]))?;
    vault.recover(SlotId(0))?;
    let count = 1_000_000;
    let start = Instant::now();
    for _ in 0..count {
        black_box(vault.take()?);
    }
    println!("take a key: {:.0} ns", start.elapsed().as_secs_f64() / f64::from(count) * 1e9);
    let start = Instant::now();
    let reads = 300_000;
    for number in 0..reads {
        black_box(vault.key(SlotId(number * 7 % count))?);
    }
    println!("read a key: {:.0} ns", start.elapsed().as_secs_f64() / f64::from(reads) * 1e9);
    let start = Instant::now();
    for slot in 0..100 {
        vault.destroy(&[SlotId(slot)])?;
    }
    println!("destroy a key: {:.0} us", start.elapsed().as_secs_f64() / 100.0 * 1e6);
    let start = Instant::now();
    vault.rotate(&WrappingKey::new([2; 32]))?;
    println!("rotate {count} keys: {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn checkpoint(dir: &std::path::Path) -> Outcome {
    let checkpoints = Checkpoints::new(dir.join("checkpoint"), dir.join("keys"), RootKey::new([1; 32]));
    let content: Vec<u8> = (0..200u32 << 20).map(|at| (at ^ at >> 11) as u8).collect();
    let opened = Journal::open(JournalOptions::new(dir.join("journal-cp")), None, |_| Ok(()))?;
    let start = Instant::now();
    let mut writer = checkpoints.begin(opened.report.end)?;
    writer.section("content")?;
    writer.write(&content)?;
    writer.finish()?;
    println!("write a checkpoint of 200 MiB: {:.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let latest = checkpoints.latest()?.checkpoint.ok_or("no checkpoint")?;
    let read = latest.read("content")?;
    println!("read it: {:.2} s, equal: {}", start.elapsed().as_secs_f64(), read == content);
    Ok(())
}

/// What it would cost to keep the place of each source record in sled.
fn keyed(dir: &std::path::Path) -> Outcome {
    let mut opened = Journal::open(JournalOptions::new(dir.join("journal-keyed")), None, |_| Ok(()))?;
    opened.appender.ensure_room(batch_room(0))?;
    let empty = opened.appender.seal(opened.appender.begin()?, 0)?;
    let reached = opened.writer.write(empty)?;
    opened.writer.sync()?;
    let root = RootKey::new([1; 32]);
    let home = dir.join("keyed");
    let store = onefold_store::keyed::open(&home, &root, &opened.reader)?.store;
    let (count, per_batch) = (500_000u64, 512);
    let start = Instant::now();
    for first in (0..count).step_by(per_batch) {
        let mut batch = KeyedBatch::new();
        for number in first..(first + per_batch as u64).min(count) {
            // A digest as key, a place and a few numbers as value.
            let mut key = [0; 16];
            key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
            batch.put(TENANT, Table(1), &key, vec![7; 24]);
        }
        store.apply(&batch, &reached)?;
    }
    println!("sled, puts in batches of {per_batch}: {:.0} a second", count as f64 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    store.flush()?;
    println!("  flush and sync: {:.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let again = std::hint::black_box(store.get(TENANT, Table(1), &[0; 16])?.is_some());
    println!("  one read: {:.0} us, found: {again}", start.elapsed().as_secs_f64() * 1e6);
    drop(store);
    let bytes = tree_bytes(&home)?;
    println!("  {bytes} bytes of files for {} bytes of keys and values", count * (16 + 24));
    let start = Instant::now();
    let reopened = onefold_store::keyed::open(&home, &root, &opened.reader)?;
    println!("  open and count everything again: {:.2} s, {:?}", start.elapsed().as_secs_f64(), reopened.replaced);
    Ok(())
}

fn tree_bytes(dir: &std::path::Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { tree_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
