//! What every keyed store promises, run on each of them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use onefold_core::ids::{Sequence, TenantId};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::journal::{EntryKind, Journal, JournalOptions, Opened, batch_room};
use crate::keys::RootKey;

const ROOT: RootKey = RootKey::new([6; 32]);

/// In memory where there is such a place: these tests sync often.
fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn position(offset: u32) -> Position {
    Position { segment: 1, offset, chain: [offset as u8; 32] }
}

type Content = BTreeMap<(u32, u8, Vec<u8>), Vec<u8>>;

#[derive(Clone, Debug)]
enum Change {
    Put(u32, u8, Vec<u8>, Vec<u8>),
    Delete(u32, u8, Vec<u8>),
}

fn changes() -> impl Strategy<Value = Vec<Vec<Change>>> {
    // Few keys, close to one another and to the borders of tenants and tables, so that they meet.
    let tenant = || prop_oneof![Just(0u32), Just(1), Just(256), Just(u32::MAX)];
    let table = || prop_oneof![Just(0u8), Just(1), Just(255)];
    let key = || proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..3);
    let value = proptest::collection::vec(any::<u8>(), 0..20);
    let change = prop_oneof![
        3 => (tenant(), table(), key(), value).prop_map(|(t, b, k, v)| Change::Put(t, b, k, v)),
        1 => (tenant(), table(), key()).prop_map(|(t, b, k)| Change::Delete(t, b, k)),
    ];
    proptest::collection::vec(proptest::collection::vec(change, 0..12), 1..6)
}

fn batch_of(changes: &[Change], content: &mut Content) -> KeyedBatch {
    let mut batch = KeyedBatch::new();
    for change in changes {
        match change.clone() {
            Change::Put(tenant, table, key, value) => {
                batch.put(TenantId(tenant), Table(table), &key, value.clone());
                content.insert((tenant, table, key), value);
            }
            Change::Delete(tenant, table, key) => {
                batch.delete(TenantId(tenant), Table(table), &key);
                content.remove(&(tenant, table, key));
            }
        }
    }
    batch
}

fn agrees(store: &dyn KeyedStore, content: &Content) -> Result<(), TestCaseError> {
    for tenant in [0, 1, 2, 256, u32::MAX] {
        for table in [0, 1, 255] {
            for prefix in [&[][..], &[0], &[1], &[255], &[255, 255]] {
                for after in [None, Some(&[][..]), Some(&[0]), Some(&[1, 0]), Some(&[255, 255, 255])] {
                    let mut found = Vec::new();
                    store
                        .scan(TenantId(tenant), Table(table), prefix, after, &mut |key, value| {
                            found.push((key.to_vec(), value.to_vec()));
                            ControlFlow::Continue(())
                        })
                        .unwrap();
                    let want: Vec<_> = content
                        .iter()
                        .filter(|((t, b, key), _)| (*t, *b) == (tenant, table) && key.starts_with(prefix))
                        .filter(|((_, _, key), _)| after.is_none_or(|after| key.as_slice() > after))
                        .map(|((_, _, key), value)| (key.clone(), value.clone()))
                        .collect();
                    prop_assert_eq!(&found, &want);
                    for (key, value) in want.iter().take(1) {
                        let got = store.get(TenantId(tenant), Table(table), key).unwrap();
                        prop_assert_eq!(got.as_ref(), Some(value));
                        let mut first = Vec::new();
                        store
                            .scan(TenantId(tenant), Table(table), prefix, after, &mut |key, _| {
                                first.push(key.to_vec());
                                ControlFlow::Break(())
                            })
                            .unwrap();
                        prop_assert_eq!(&first, std::slice::from_ref(key), "a scan stops when told");
                    }
                }
            }
            let absent = store.get(TenantId(tenant), Table(table), b"absent").unwrap();
            prop_assert_eq!(absent, None);
        }
    }
    Ok(())
}

fn conforms(store: &dyn KeyedStore, batches: &[Vec<Change>]) -> Result<Content, TestCaseError> {
    let mut content = Content::new();
    prop_assert_eq!(store.reached().unwrap(), Reached::Nothing);
    for (number, changes) in batches.iter().enumerate() {
        let batch = batch_of(changes, &mut content);
        let at = position(number as u32 + 100);
        store.apply(&batch, &at).unwrap();
        prop_assert_eq!(store.reached().unwrap(), Reached::At(at));
        // Applying again what was applied, as after a crash, changes nothing.
        store.apply(&batch, &at).unwrap();
    }
    agrees(store, &content)?;
    store.flush().unwrap();
    Ok(content)
}

/// A journal with a few batches, and the position after each.
fn journal(dir: &TempDir) -> (Opened, Vec<Position>) {
    let options = JournalOptions { dir: dir.path().join("journal"), segment_bytes: 4_096 };
    let mut opened = Journal::open(options, None, |_| Ok(())).unwrap();
    let ends = (1..4)
        .map(|sequence| {
            opened.appender.ensure_room(batch_room(100)).unwrap();
            let mut batch = opened.appender.begin().unwrap();
            batch.push(TenantId(1), Sequence(sequence), EntryKind(1), |_, out| out.push(1)).unwrap();
            let batch = opened.appender.seal(batch, 0).unwrap();
            opened.writer.write(batch).unwrap();
            opened.writer.sync().unwrap()
        })
        .collect();
    (opened, ends)
}

fn open_disk(dir: &TempDir, journal: &Opened) -> OpenedKeyed {
    super::open(&dir.path().join("keyed"), &ROOT, &journal.reader).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn memory_conforms(batches in changes()) {
        conforms(&MemoryStore::default(), &batches)?;
    }

    #[test]
    fn sled_conforms_and_comes_back(batches in changes(), in_order in any::<bool>()) {
        let dir = scratch();
        let (journal, ends) = journal(&dir);
        let opened = open_disk(&dir, &journal);
        prop_assert_eq!(opened.replaced, None);
        let content = conforms(&opened.store, &batches)?;
        opened.store.apply(&KeyedBatch::new(), &ends[1]).unwrap();
        if in_order {
            opened.store.close().unwrap();
        } else {
            opened.store.flush().unwrap();
            drop(opened.store);
        }
        let again = open_disk(&dir, &journal);
        prop_assert_eq!(again.replaced, None);
        prop_assert_eq!(again.reached, Reached::At(ends[1]));
        agrees(&again.store, &content)?;
    }
}

fn with_some_content(dir: &TempDir, journal: &Opened, reached: &Position) {
    let store = open_disk(dir, journal).store;
    let mut batch = KeyedBatch::new();
    for number in 0..200u32 {
        batch.put(TenantId(1), Table(1), &number.to_be_bytes(), vec![number as u8; 40]);
    }
    store.apply(&batch, reached).unwrap();
    store.flush().unwrap();
}

#[test]
fn a_store_that_knows_more_than_the_journal_is_thrown_away() {
    let dir = scratch();
    let (journal, ends) = journal(&dir);
    let mut other = ends[1];
    other.chain[0] ^= 1;
    let ahead = Position { offset: ends[2].offset + 500, ..ends[2] };
    for (position, want) in
        [(ends[2], None), (ahead, Some(Replaced::AheadOfJournal)), (other, Some(Replaced::AheadOfJournal))]
    {
        with_some_content(&dir, &journal, &position);
        let opened = open_disk(&dir, &journal);
        assert_eq!(opened.replaced, want);
        let empty = opened.store.get(TenantId(1), Table(1), &[0; 4]).unwrap().is_none();
        assert_eq!(empty, want.is_some());
        assert_eq!(opened.reached == Reached::Nothing, want.is_some());
        drop(opened);
        std::fs::remove_dir_all(dir.path().join("keyed")).unwrap();
    }
}

/// Everything on disk spoiled in turn: opening never fails, never panics, and never gives a part for the whole.
#[test]
fn a_damaged_store_is_whole_or_thrown_away() {
    let dir = scratch();
    let (journal, ends) = journal(&dir);
    with_some_content(&dir, &journal, &ends[1]);
    let files = |dir: &std::path::Path| -> Vec<_> {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
    };
    let sled = dir.path().join("keyed").join("sled");
    let good: Vec<_> = files(&sled).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut replaced = 0;
    for (spoiled, bytes) in &good {
        for turn in 0..10 {
            let _ = std::fs::remove_dir_all(&sled);
            std::fs::create_dir_all(&sled).unwrap();
            for (path, bytes) in &good {
                std::fs::write(path, bytes).unwrap();
            }
            let mut bent = bytes.clone();
            match turn {
                0 => bent.clear(),
                1 => bent.truncate(bytes.len() / 2),
                2 => std::fs::remove_file(spoiled).unwrap(),
                turn => {
                    // Where the content is, not in the preallocated rest.
                    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
                    let from = used * (turn - 3) / 7;
                    let to = (from + 200).min(bent.len());
                    bent[from..to].iter_mut().for_each(|byte| *byte ^= 0x55);
                }
            }
            if turn != 2 {
                std::fs::write(spoiled, &bent).unwrap();
            }
            let opened = open_disk(&dir, &journal);
            let mut count = 0;
            opened
                .store
                .scan(TenantId(1), Table(1), &[], None, &mut |_, _| {
                    count += 1;
                    ControlFlow::Continue(())
                })
                .unwrap();
            let whole = opened.reached == Reached::At(ends[1]);
            assert_eq!(count, if whole { 200 } else { 0 }, "{spoiled:?}, turn {turn}");
            replaced += usize::from(!whole);
        }
    }
    std::panic::set_hook(quiet);
    assert!(replaced > 5, "the damage was real");
}

#[test]
fn a_value_changed_below_the_store_is_found_on_reading() {
    let dir = scratch();
    let (journal, ends) = journal(&dir);
    let opened = open_disk(&dir, &journal);
    let mut batch = KeyedBatch::new();
    batch.put(TenantId(1), Table(1), b"a", b"value".to_vec());
    batch.put(TenantId(1), Table(1), b"b", b"value".to_vec());
    opened.store.apply(&batch, &ends[0]).unwrap();
    let (a, b) = (full_key(TenantId(1), Table(1), b"a"), full_key(TenantId(1), Table(1), b"b"));
    // Another entry's bytes are not this one's, however valid.
    opened.store.swap_raw_for_test(&a, &b);
    assert!(matches!(opened.store.get(TenantId(1), Table(1), b"a"), Err(KeyedError::Damaged)));
    drop(opened);
    assert_eq!(open_disk(&dir, &journal).replaced, Some(Replaced::Damaged));
}

#[test]
fn two_handles_in_one_process_are_refused_and_nothing_is_thrown_away() {
    let dir = scratch();
    let (journal, ends) = journal(&dir);
    with_some_content(&dir, &journal, &ends[0]);
    let first = open_disk(&dir, &journal);
    let second = super::open(&dir.path().join("keyed"), &ROOT, &journal.reader);
    assert!(matches!(second, Err(KeyedError::InUse)));
    assert_eq!(first.reached, Reached::At(ends[0]));
    assert!(first.store.get(TenantId(1), Table(1), &[0; 4]).unwrap().is_some());
}

#[test]
fn a_look_for_room_leaves_nothing_behind() {
    let dir = scratch();
    let (journal, _) = journal(&dir);
    let keyed = dir.path().join("keyed");
    drop(open_disk(&dir, &journal));
    let files = || std::fs::read_dir(&keyed).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let before = files();
    super::has_room(&keyed).unwrap();
    assert_eq!(files(), before);
    // A crash in the middle of it.
    std::fs::write(keyed.join("room.tmp"), [0; 4_096]).unwrap();
    drop(open_disk(&dir, &journal));
    assert_eq!(files(), before);
}
