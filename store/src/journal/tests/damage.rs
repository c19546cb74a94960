//! What no crash can have done: it is named, and nothing is changed.

use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use super::super::format::{
    BATCH_HEADER, BATCH_OVERHEAD, BATCH_TRAILER, BatchHeader, ChainHasher, EntryHead, SEGMENT_HEADER, SegmentHeader,
    check_batch, encode_trailer,
};
use super::super::{segment, *};
use super::{commit, copy, fill, last_segment, open, open_from, scratch, sealed, some_batches};

/// Every bit of every batch: never a silently shorter journal.
#[test]
fn a_flipped_bit_is_named() {
    let home = scratch();
    let batches = some_batches(4);
    let ends = fill(home.path(), &batches);
    let segment = last_segment(home.path());
    let bytes = std::fs::read(&segment).unwrap();
    for bit in 0..ends[3].offset as usize * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&segment, &bent).unwrap();
        let at = (bit / 8) as u32;
        let hit = ends.iter().position(|end| at < end.offset).unwrap();
        let start = if at < SEGMENT_HEADER { 0 } else { hit.checked_sub(1).map_or(SEGMENT_HEADER, |i| ends[i].offset) };
        match open_from(home.path(), None) {
            Err(JournalError::Damaged(damage)) => {
                assert_eq!((damage.segment, damage.offset), (1, start), "bit {bit}");
            }
            other => panic!("bit {bit} went unnoticed: {:?}", other.map(|(opened, _)| opened.report)),
        }
        assert_eq!(std::fs::read(&segment).unwrap(), bent, "a damaged journal is left as it is");
    }
    // In the reserved space nothing was ever written, so nothing can be lost there.
    let mut bent = bytes.clone();
    bent[ends[3].offset as usize + 700] ^= 4;
    std::fs::write(&segment, &bent).unwrap();
    assert_eq!(open(home.path()).1, batches);
}

/// Whole sectors gone, in any place but the last group commit.
#[test]
fn a_blanked_sector_before_the_last_batch_is_damage() {
    let home = scratch();
    let batches = some_batches(12);
    let ends = fill(home.path(), &batches);
    let last_start = ends[10].offset;
    for sector in 0..last_start / 512 {
        let dir = copy(home.path());
        let file = OpenOptions::new().write(true).open(segment::path(dir.path(), 1)).unwrap();
        file.write_all_at(&[0; 512], u64::from(sector) * 512).unwrap();
        assert!(matches!(open_from(dir.path(), None), Err(JournalError::Damaged(_))), "sector {sector}");
    }
}

/// After a clean start everything before is known to be durable: no tail is torn any more.
#[test]
fn what_an_earlier_start_found_is_never_cut() {
    let home = scratch();
    let batches = some_batches(5);
    let ends = fill(home.path(), &batches);
    drop(open(home.path()));
    for cut in [SEGMENT_HEADER, ends[3].offset, ends[3].offset + 1, ends[4].offset - 1] {
        let dir = copy(home.path());
        OpenOptions::new().write(true).open(segment::path(dir.path(), 1)).unwrap().set_len(u64::from(cut)).unwrap();
        let error = open_from(dir.path(), None).unwrap_err();
        assert!(matches!(error, JournalError::Damaged(Damage { segment: 1, .. })), "cut at {cut}: {error}");
        // A checkpoint that knows better finds it too.
        assert!(open_from(dir.path(), Some(&ends[4])).is_err());
    }
    std::fs::remove_file(segment::path(home.path(), 1)).unwrap();
    let error = open_from(home.path(), None).unwrap_err();
    assert!(matches!(error, JournalError::Damaged(Damage { segment: 1, offset: 0, .. })), "{error}");
}

#[test]
fn the_doctor_names_every_damaged_place() {
    let dir = scratch();
    let batches = some_batches(60);
    let ends = fill(dir.path(), &batches);
    let (opened, _) = open(dir.path());
    let hit = [2usize, 17, 40];
    for batch in hit {
        let (before, after) = (ends[batch - 1], ends[batch]);
        assert_eq!(before.segment, after.segment, "choose another batch");
        let file = OpenOptions::new().read(true).write(true).open(segment::path(dir.path(), after.segment)).unwrap();
        let at = u64::from(before.offset + BATCH_OVERHEAD);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    }
    let report = opened.reader.verify().unwrap();
    let found: Vec<_> = report.damages.iter().map(|damage| (damage.segment, damage.offset)).collect();
    let want: Vec<_> = hit.iter().map(|batch| (ends[batch - 1].segment, ends[batch - 1].offset)).collect();
    assert_eq!(found, want);
    assert_eq!(report.batches, 57);
    let error = opened.reader.scan(Place { segment: 1, offset: 0 }, |_| Ok(ControlFlow::Continue(()))).unwrap_err();
    assert!(matches!(error, JournalError::Damaged(_)), "{error}");
}

#[test]
fn damage_to_a_rewritten_segment_is_named() {
    let dir = scratch();
    fill(dir.path(), &some_batches(4));
    let (mut opened, _) = open(dir.path());
    commit(&mut opened, &vec![(1, 1, 1, vec![1])]);
    let mut turn = 0;
    opened
        .reader
        .rewrite(1, |_| {
            turn += 1;
            turn % 2 == 0
        })
        .unwrap();
    assert!(matches!(opened.reader.rewrite(2, |_| true), Err(JournalError::StillOpen(2))));
    drop(opened);
    let path = segment::path(dir.path(), 1);
    let bytes = std::fs::read(&path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bent).unwrap();
        let result = open_from(dir.path(), None);
        assert!(matches!(result, Err(JournalError::Damaged(Damage { segment: 1, .. }))), "bit {bit} went unnoticed");
    }
}

#[test]
fn a_newer_format_is_refused() {
    let dir = scratch();
    drop(open(dir.path()));
    let path = segment::path(dir.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 2;
    let checksum = blake3::hash(&bytes[..80]);
    bytes[80..88].copy_from_slice(&checksum.as_bytes()[..8]);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(open_from(dir.path(), None), Err(JournalError::Newer { segment: 1, version: 2 })));
}

/// A group that spans a roll, synced as one: what proves its first half durable stands behind the second half.
#[test]
fn damage_before_a_roll_is_told_from_a_torn_tail_by_what_follows_it() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    commit(&mut opened, &vec![(1, 1, 2, vec![1; 100])]);
    let before = opened.writer.written();
    let (last_of_segment, _) = sealed(&mut opened, &vec![(1, 2, 2, vec![2; 1_500])]);
    let (first_of_next, _) = sealed(&mut opened, &vec![(1, 3, 2, vec![3; 3_000])]);
    assert_eq!(first_of_next.start().segment, 2);
    opened.writer.write(last_of_segment).unwrap();
    opened.writer.write(first_of_next).unwrap();
    opened.writer.sync().unwrap();
    commit(&mut opened, &vec![(1, 4, 2, vec![4; 100])]);
    drop(opened);
    let file = OpenOptions::new().write(true).open(segment::path(dir.path(), 1)).unwrap();
    file.write_all_at(&[0; 512], 1_024).unwrap();
    let error = open_from(dir.path(), None).unwrap_err();
    assert!(
        matches!(error, JournalError::Damaged(Damage { segment: 1, offset, .. }) if offset == before.offset),
        "{error}"
    );
}

#[test]
fn a_damaged_segment_is_not_rewritten() {
    let dir = scratch();
    let ends = fill(dir.path(), &some_batches(4));
    let (mut opened, _) = open(dir.path());
    commit(&mut opened, &vec![(1, 1, 1, vec![1])]);
    let path = segment::path(dir.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[ends[1].offset as usize + 60] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = opened.reader.rewrite(1, |_| false).unwrap_err();
    assert!(
        matches!(error, JournalError::Damaged(Damage { segment: 1, offset, .. }) if offset == ends[1].offset),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "evidence is not destroyed");
}

#[test]
fn a_length_that_the_file_does_not_hold_takes_no_memory() {
    let dir = scratch();
    fill(dir.path(), &some_batches(2));
    let path = last_segment(dir.path());
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // More than any machine has: asked for as it stands, it would end the process.
    assert!(segment::read_up_to(&file, 0, usize::MAX).unwrap() == whole);
    assert!(segment::read_up_to(&file, 10, usize::MAX).unwrap() == whole[10..]);
    assert!(segment::read_up_to(&file, u32::MAX, usize::MAX).unwrap().is_empty());

    // A batch whose header checks out and promises four gibibytes.
    let header = SegmentHeader::decode(&whole, 1).unwrap();
    let mut batch = BatchHeader::decode(&whole[SEGMENT_HEADER as usize..], &header, SEGMENT_HEADER).unwrap();
    (batch.stored_len, batch.logical_len) = (u32::MAX, u32::MAX);
    file.write_all_at(&batch.encode(&header, SEGMENT_HEADER), u64::from(SEGMENT_HEADER)).unwrap();
    match open_from(dir.path(), None) {
        Err(JournalError::Damaged { .. }) => {}
        Err(other) => panic!("{other:?}"),
        Ok((_, read)) => assert!(read.is_empty(), "a batch that is not there"),
    }
}

/// A dropped entry counts with bytes that are gone, so few bytes can claim to reach behind the largest offset there is.
#[test]
fn a_dropped_entry_that_ends_beyond_any_segment_is_damage() {
    let segment =
        SegmentHeader { segment: 1, salt: [1; 16], chain: [2; 32], durable: (1, SEGMENT_HEADER), index: None };
    let batch_of = |payload_len: u32| {
        let head =
            EntryHead { payload_len, kind: EntryKind(3), dropped: true, tenant: TenantId(1), sequence: Sequence(1) };
        let mut body = Vec::new();
        head.encode(&mut body);
        let logical_len = body.len() as u32 + payload_len;
        body.extend_from_slice(&[4; 32]);
        let stored_len = body.len() as u32;
        let header = BatchHeader { logical_len, stored_len, entries: 1, time_micros: 0, durable: segment.durable };
        let mut hasher = ChainHasher::new(&segment.chain);
        hasher.entry(&head, &[4; 32]);
        let mut frame = [&header.encode(&segment, SEGMENT_HEADER)[..], &body].concat();
        encode_trailer(&hasher.finish(logical_len, 1, 0), &mut frame);
        frame
    };
    let head_len = 10;
    let longest = u32::MAX - SEGMENT_HEADER - BATCH_HEADER - head_len - BATCH_TRAILER;
    let check = |payload_len| check_batch(&batch_of(payload_len), &segment, SEGMENT_HEADER, &segment.chain).map(drop);
    assert_eq!(check(longest), Ok(()));
    assert_eq!(check(longest + 1), Err("a batch lies beyond the largest segment"));
}
