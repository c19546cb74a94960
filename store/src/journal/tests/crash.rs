//! What a crash may leave: a tail that was never acknowledged. It goes, and nothing else.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::format::SEGMENT_HEADER;
use super::super::{segment, *};
use super::{Model, cases, commit, copy, fill, last_segment, open, open_from, scratch, sealed, some_batches};

/// The last group commit of a process that died: everything before it stays, whatever became of it.
#[test]
fn a_tail_cut_at_any_byte_leaves_the_batches_before() {
    let home = scratch();
    let batches = some_batches(7);
    let ends = fill(home.path(), &batches);
    let (start, end) = (ends[5].offset, ends[6].offset);
    assert_eq!(ends[5].segment, ends[6].segment);
    for cut in start..end {
        // The file may end there, or what follows was reserved and never written.
        for blank in [false, true] {
            let dir = copy(home.path());
            let file = OpenOptions::new().write(true).open(last_segment(dir.path())).unwrap();
            file.set_len(u64::from(cut)).unwrap();
            if blank {
                file.set_len(4_096).unwrap();
            }
            let (mut opened, found) = open(dir.path());
            assert_eq!(found, batches[..6], "cut at {cut}, blank {blank}");
            assert_eq!(opened.report.end, ends[5]);
            assert!(opened.report.cut.is_some() || cut == start, "a torn batch is told");
            commit(&mut opened, &batches[6]);
            drop(opened);
            let (opened, found) = open(dir.path());
            assert_eq!(found, batches, "and the journal goes on");
            assert_eq!(opened.reader.verify().unwrap().damages, []);
        }
    }
}

/// Sectors of an unsynced batch reach the disk in any order.
#[test]
fn a_batch_with_any_sector_missing_is_torn() {
    let home = scratch();
    let mut batches = some_batches(2);
    batches.push((0..5).map(|entry| (1, 100 + entry, 2, vec![9; 300])).collect());
    let ends = fill(home.path(), &batches);
    let (start, end) = (ends[1].offset as usize, ends[2].offset as usize);
    let sectors: Vec<usize> = (start / 512..=(end - 1) / 512).collect();
    assert!(sectors.len() >= 4);
    for lost in 1u32..1 << sectors.len() {
        let dir = copy(home.path());
        let file = OpenOptions::new().write(true).open(last_segment(dir.path())).unwrap();
        for (bit, sector) in sectors.iter().enumerate() {
            if lost >> bit & 1 == 1 {
                let from = (sector * 512).max(start);
                let to = ((sector + 1) * 512).min(end);
                file.write_all_at(&vec![0; to - from], from as u64).unwrap();
            }
        }
        let (opened, found) = open(dir.path());
        assert_eq!(found, batches[..2], "lost {lost:b}");
        assert_eq!(opened.report.end, ends[1]);
    }
}

/// Two batches written, no sync: the disk may hold the second and not the first, and neither was acknowledged.
#[test]
fn an_unsynced_group_may_be_lost_in_any_order() {
    for roll in [false, true] {
        let dir = scratch();
        let (mut opened, _) = open(dir.path());
        let first: Model = vec![(1, 1, 2, vec![1; 100])];
        commit(&mut opened, &first);
        let kept = opened.writer.written();
        let (lost, _) = sealed(&mut opened, &vec![(1, 2, 2, vec![2; if roll { 3_500 } else { 100 }])]);
        let (there, _) = sealed(&mut opened, &vec![(1, 3, 2, vec![3; 1_000])]);
        assert_eq!(there.start().segment, if roll { 2 } else { 1 });
        let lost_at = lost.start();
        let bytes = lost.bytes();
        opened.writer.write(lost).unwrap();
        opened.writer.write(there).unwrap();
        drop(opened);
        let file = OpenOptions::new().write(true).open(segment::path(dir.path(), 1)).unwrap();
        file.write_all_at(&vec![0; bytes], u64::from(lost_at.offset)).unwrap();
        let (opened, found) = open(dir.path());
        assert_eq!(found, [first], "roll {roll}");
        assert_eq!(opened.report.end, kept);
        assert!(opened.report.cut.is_some());
    }
}

#[test]
fn starts_without_writes_leave_one_empty_segment_and_never_the_same_salt() {
    let dir = scratch();
    let mut salts = std::collections::BTreeSet::new();
    let mut ends = Vec::new();
    for _ in 0..4 {
        let (opened, found) = open(dir.path());
        assert!(found.is_empty());
        salts.insert(opened.reader.segment(1).unwrap().header.salt);
        ends.push(opened.report.end.chain);
        assert_eq!(segment::list(dir.path()).unwrap(), [1]);
    }
    assert_eq!(salts.len(), 4);
    assert!(ends[1..].iter().all(|chain| *chain == ends[1]));
}

#[test]
fn a_crash_while_a_segment_is_made_or_rewritten_leaves_no_trace() {
    let dir = scratch();
    let batches = some_batches(3);
    fill(dir.path(), &batches);
    for name in ["0000000001.seg.tmp", "0000000002.seg.tmp"] {
        std::fs::write(dir.path().join(name), b"half a file").unwrap();
    }
    assert_eq!(open(dir.path()).1, batches);
    assert!(
        std::fs::read_dir(dir.path()).unwrap().all(|entry| !entry.unwrap().path().to_string_lossy().ends_with("tmp"))
    );
}

/// A roll whose first batch never reached the disk: the new segment continues a chain that nothing reached.
#[test]
fn a_segment_opened_before_the_crash_and_never_written_is_removed() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    let first: Model = vec![(1, 1, 2, vec![1; 100])];
    commit(&mut opened, &first);
    let (never_written, _) = sealed(&mut opened, &vec![(1, 2, 2, vec![2; 3_000])]);
    opened.appender.ensure_room(3_000).unwrap();
    drop((never_written, opened));
    assert_eq!(segment::list(dir.path()).unwrap(), [1, 2]);
    let (mut opened, found) = open(dir.path());
    assert_eq!(found, std::slice::from_ref(&first));
    assert_eq!(opened.report.cut.map(|cut| cut.segment), Some(1));
    commit(&mut opened, &first);
    drop(opened);
    assert_eq!(open(dir.path()).1, [first.clone(), first]);
}

#[derive(Clone, Debug)]
enum Act {
    /// Write a batch of this many entries of this size.
    Write(usize, usize),
    Sync,
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..4usize, 0..900usize).prop_map(|(entries, bytes)| Act::Write(entries, bytes)),
        4 => Just(Act::Sync),
        1 => Just(Act::Restart),
    ];
    vec(act, 1..25)
}

proptest! {
    #![proptest_config(cases(400))]

    /// A power cut: of what was not synced, any sectors may be missing, and the last one may be half there.
    #[test]
    fn a_power_cut_takes_nothing_that_was_synced(acts in acts(), luck in vec(any::<bool>(), 64), part in 1..512usize) {
        let dir = scratch();
        let (mut opened, _) = open(dir.path());
        let (mut written, mut synced, mut sequence) = (Vec::new(), 0, 0);
        let mut unsynced: Vec<(Place, usize)> = Vec::new();
        for act in &acts {
            match act {
                Act::Write(entries, bytes) => {
                    let entries: Model = (0..*entries).map(|_| {
                        sequence += 1;
                        (1, sequence, 1, vec![sequence as u8 | 1; *bytes])
                    }).collect();
                    let (batch, _) = sealed(&mut opened, &entries);
                    unsynced.push((batch.start(), batch.bytes()));
                    opened.writer.write(batch).unwrap();
                    written.push(entries);
                }
                Act::Sync => {
                    opened.writer.sync().unwrap();
                    synced = written.len();
                    unsynced.clear();
                }
                Act::Restart => {
                    // What a start has read, it has synced.
                    drop(opened);
                    opened = open(dir.path()).0;
                    synced = written.len();
                    unsynced.clear();
                }
            }
        }
        drop(opened);
        let mut luck = luck.into_iter().cycle();
        for (place, bytes) in &unsynced {
            let file = OpenOptions::new().write(true).open(segment::path(dir.path(), place.segment)).unwrap();
            let (mut at, end) = (place.offset as usize, place.offset as usize + bytes);
            while at < end {
                let next = (at / 512 * 512 + 512).min(end);
                if luck.next() == Some(true) {
                    file.write_all_at(&vec![0; next - at], at as u64).unwrap();
                } else if next == end && luck.next() == Some(true) {
                    // Torn inside the last sector: a front of it was written.
                    let from = (at + part).min(end - 1);
                    file.write_all_at(&vec![0; end - from], from as u64).unwrap();
                }
                at = next;
            }
        }
        let image = copy(dir.path());
        let (opened, found) = open_from(dir.path(), None).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(found.len() >= synced, "{} of {synced} acknowledged batches are there", found.len());
        prop_assert_eq!(&found, &written[..found.len()]);
        drop(opened);
        // A second crash while the first was being mended: later segments gone, the tail not yet cut.
        for number in segment::list(image.path()).unwrap() {
            let path = segment::path(image.path(), number);
            if !segment::path(dir.path(), number).exists() {
                std::fs::remove_file(path).unwrap();
            }
        }
        prop_assert_eq!(open(image.path()).1, found);
    }
}

/// A device that takes no byte: the first failure is the last word.
#[test]
fn a_failed_write_stops_everything_and_is_never_tried_again() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    commit(&mut opened, &vec![(1, 1, 1, vec![1])]);
    let (mut batch, _) = sealed(&mut opened, &vec![(1, 2, 1, vec![2])]);
    let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    batch.segment = std::sync::Arc::new(segment::Segment { file: full, header: batch.segment.header, index: None });
    assert!(matches!(opened.writer.write(batch), Err(JournalError::NoSpace)));
    for _ in 0..2 {
        assert!(matches!(opened.writer.sync(), Err(JournalError::Poisoned)));
        assert!(matches!(opened.appender.ensure_room(1), Err(JournalError::Poisoned)));
    }
    assert_eq!(opened.reader.durable().offset, open(copy(dir.path()).path()).0.report.end.offset, "reading goes on");
}

/// A pipe cannot be synced: as good as a disk that fails to.
#[test]
fn a_failed_sync_stops_everything_and_is_never_tried_again() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    let (mut batch, _) = sealed(&mut opened, &vec![(1, 1, 1, vec![1])]);
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    batch.segment = std::sync::Arc::new(segment::Segment { file: null, header: batch.segment.header, index: None });
    opened.writer.write(batch).unwrap();
    assert!(matches!(opened.writer.sync(), Err(JournalError::Io { doing: "sync", segment: 1, .. })));
    assert!(matches!(opened.writer.sync(), Err(JournalError::Poisoned)));
    assert_eq!(opened.reader.durable().offset, SEGMENT_HEADER, "nothing counts as durable");
}

#[test]
fn a_torn_group_over_several_segments_goes_whole() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    let first: Model = vec![(1, 1, 2, vec![1; 100])];
    commit(&mut opened, &first);
    let mut lost = None;
    for sequence in 2..6 {
        let (batch, _) = sealed(&mut opened, &vec![(1, sequence, 2, vec![sequence as u8; 3_500])]);
        lost.get_or_insert((batch.start(), batch.bytes()));
        opened.writer.write(batch).unwrap();
    }
    drop(opened);
    assert_eq!(segment::list(dir.path()).unwrap().len(), 4);
    let (start, bytes) = lost.unwrap();
    let file = OpenOptions::new().write(true).open(segment::path(dir.path(), start.segment)).unwrap();
    file.write_all_at(&vec![0; bytes], u64::from(start.offset)).unwrap();
    let (mut opened, found) = open(dir.path());
    assert_eq!(found, std::slice::from_ref(&first));
    assert_eq!(segment::list(dir.path()).unwrap(), [1, 2]);
    commit(&mut opened, &first);
    drop(opened);
    assert_eq!(open(dir.path()).1, [first.clone(), first]);
}
