use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::format::{BATCH_OVERHEAD, SEGMENT_HEADER};
use super::*;

/// What a batch should hold: (tenant, sequence, kind, payload) of each entry.
type Model = Vec<(u32, u64, u8, Vec<u8>)>;

/// `ONEFOLD_CASES_TIMES=50` makes a night's run of it.
fn cases(normal: u32) -> ProptestConfig {
    let times = std::env::var("ONEFOLD_CASES_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    ProptestConfig::with_cases(normal * times)
}

/// In memory where there is such a place: these tests sync thousands of times.
fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn options(dir: &Path) -> JournalOptions {
    JournalOptions { dir: dir.to_owned(), segment_bytes: 4_096 }
}

fn owned(view: &BatchView<'_>) -> Model {
    view.entries()
        .map(|entry| (entry.tenant.0, entry.sequence.0, entry.kind.0, entry.bytes().unwrap_or(b"dropped").to_vec()))
        .collect()
}

fn open_from(dir: &Path, from: Option<&Position>) -> Result<(Opened, Vec<Model>), JournalError> {
    let mut batches = Vec::new();
    let opened = Journal::open(options(dir), from, |view| {
        batches.push(owned(view));
        Ok(())
    })?;
    Ok((opened, batches))
}

fn open(dir: &Path) -> (Opened, Vec<Model>) {
    open_from(dir, None).unwrap()
}

fn sealed(opened: &mut Opened, entries: &Model) -> (SealedBatch, Vec<Place>) {
    let room = batch_room(entries.iter().map(|entry| entry_room(entry.3.len())).sum());
    opened.appender.ensure_room(room).unwrap();
    let mut batch = opened.appender.begin().unwrap();
    let places = entries
        .iter()
        .map(|(tenant, sequence, kind, payload)| {
            batch
                .push(TenantId(*tenant), Sequence(*sequence), EntryKind(*kind), |_, out| out.extend_from_slice(payload))
                .unwrap()
        })
        .collect();
    (opened.appender.seal(batch, 1_700_000_000_000_000).unwrap(), places)
}

fn commit(opened: &mut Opened, entries: &Model) -> Vec<Place> {
    let (batch, places) = sealed(opened, entries);
    opened.writer.write(batch).unwrap();
    opened.writer.sync().unwrap();
    places
}

fn fill(dir: &Path, batches: &[Model]) -> Vec<Position> {
    let (mut opened, _) = open(dir);
    batches
        .iter()
        .map(|batch| {
            commit(&mut opened, batch);
            opened.writer.written()
        })
        .collect()
}

fn some_batches(count: u64) -> Vec<Model> {
    (0..count)
        .map(|batch| (0..1 + batch % 3).map(|entry| (1, 3 * batch + entry, 2, vec![batch as u8 + 1; 50])).collect())
        .collect()
}

fn last_segment(dir: &Path) -> std::path::PathBuf {
    let last = super::segment::list(dir).unwrap().pop().unwrap();
    super::segment::path(dir, last)
}

fn copy(from: &Path) -> TempDir {
    let to = scratch();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    let entry = (0..300u32, any::<u32>().prop_map(u64::from), any::<u8>(), vec(any::<u8>(), 0..200));
    vec(vec(entry, 0..8), 1..12)
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn everything_that_was_synced_is_there_in_order(batches in models(), cuts in vec(any::<bool>(), 12)) {
        let dir = scratch();
        let (mut opened, _) = open(dir.path());
        let mut places = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            places.push(commit(&mut opened, batch));
            if cuts[number % cuts.len()] {
                drop(opened);
                let (again, found) = open(dir.path());
                prop_assert_eq!(&found, &batches[..=number]);
                prop_assert_eq!(again.report.cut, None);
                opened = again;
            }
        }
        let mut scanned = Vec::new();
        let end = opened.reader.scan(Place { segment: 1, offset: 0 }, |view| {
            scanned.push(owned(view));
            Ok(ControlFlow::Continue(()))
        }).unwrap();
        prop_assert_eq!(&scanned, &batches);
        prop_assert_eq!(end.segment, opened.reader.durable().segment);
        for (batch, places) in batches.iter().zip(&places) {
            for (entry, place) in batch.iter().zip(places) {
                let read = opened.reader.read(*place).unwrap();
                prop_assert_eq!(read.context.place, *place);
                prop_assert_eq!(read.context.sequence.0, entry.1);
                prop_assert_eq!(read.payload.as_ref(), Some(&entry.3));
            }
        }
        let report = opened.reader.verify().unwrap();
        prop_assert_eq!(report.damages, vec![]);
        prop_assert_eq!(report.batches, batches.len() as u64);
        let positions: std::collections::BTreeSet<_> = places.iter().flatten().collect();
        prop_assert_eq!(positions.len(), places.iter().map(Vec::len).sum::<usize>(), "no place twice");
    }

    #[test]
    fn a_replay_from_any_batch_gives_the_rest(batches in models(), pick in any::<prop::sample::Index>()) {
        let dir = scratch();
        let ends = fill(dir.path(), &batches);
        let pick = pick.index(ends.len());
        let (opened, found) = open_from(dir.path(), Some(&ends[pick])).unwrap();
        prop_assert_eq!(&found, &batches[pick + 1..]);
        prop_assert!(ends.iter().all(|end| opened.reader.holds(end).unwrap()));
        let stranger = Position { chain: [0; 32], ..ends[pick] };
        prop_assert!(!opened.reader.holds(&stranger).unwrap());
        drop(opened);
        let short = matches!(open_from(dir.path(), Some(&stranger)), Err(JournalError::Short { .. }));
        prop_assert!(short, "a position that is not in the journal");
    }

    #[test]
    fn a_rewritten_segment_keeps_places_and_chain(batches in models(), keep in any::<u64>(), again in any::<u64>()) {
        let dir = scratch();
        let (mut opened, _) = open(dir.path());
        let mut expected = BTreeMap::new();
        let mut ends = Vec::new();
        for batch in &batches {
            let places = commit(&mut opened, batch);
            expected.extend(places.into_iter().zip(batch.iter().map(|entry| Some(entry.3.clone()))));
            ends.push(opened.writer.written());
        }
        // One more start, so that everything above lies in closed segments.
        drop(opened);
        let (mut opened, _) = open(dir.path());
        let last = commit(&mut opened, &vec![(1, 1, 1, vec![7])]);
        for round in [keep, again] {
            for segment in 1..opened.reader.durable().segment {
                let mut turn = 0;
                let done = opened.reader.rewrite(segment, |view| {
                    turn += 1;
                    let kept = round >> (turn % 64) & 1 == 1;
                    if !kept {
                        expected.insert(view.place, None);
                    }
                    kept
                }).unwrap();
                prop_assert_eq!(done.bytes_after, std::fs::metadata(super::segment::path(dir.path(), segment)).unwrap().len());
            }
            for reader in [&opened.reader.clone(), &open(copy(dir.path()).path()).0.reader] {
                let report = if reader.durable() == opened.reader.durable() { reader.verify().unwrap() } else { opened.reader.verify().unwrap() };
                prop_assert_eq!(report.damages, vec![]);
                prop_assert_eq!(report.dropped, expected.values().filter(|payload| payload.is_none()).count() as u64);
            }
            for (place, payload) in &expected {
                prop_assert_eq!(&opened.reader.read(*place).unwrap().payload, payload);
            }
            prop_assert_eq!(opened.reader.read(last[0]).unwrap().payload, Some(vec![7]));
        }
        for (number, end) in ends.iter().enumerate() {
            let mut rest = 0;
            opened.reader.scan(end.place(), |_| { rest += 1; Ok(ControlFlow::Continue(())) }).unwrap();
            prop_assert_eq!(rest, batches.len() - number, "from the end of batch {}", number);
        }
        drop(opened);
        for (number, end) in ends.iter().enumerate() {
            let (_, found) = open_from(dir.path(), Some(end)).unwrap();
            prop_assert_eq!(found.len(), batches.len() - number);
        }
    }
}

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
        let file = OpenOptions::new().write(true).open(super::segment::path(dir.path(), 1)).unwrap();
        file.write_all_at(&vec![0; bytes], u64::from(lost_at.offset)).unwrap();
        let (opened, found) = open(dir.path());
        assert_eq!(found, [first], "roll {roll}");
        assert_eq!(opened.report.end, kept);
        assert!(opened.report.cut.is_some());
    }
}

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
        let file = OpenOptions::new().write(true).open(super::segment::path(dir.path(), 1)).unwrap();
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
        OpenOptions::new()
            .write(true)
            .open(super::segment::path(dir.path(), 1))
            .unwrap()
            .set_len(u64::from(cut))
            .unwrap();
        let error = open_from(dir.path(), None).unwrap_err();
        assert!(matches!(error, JournalError::Damaged(Damage { segment: 1, .. })), "cut at {cut}: {error}");
        // A checkpoint that knows better finds it too.
        assert!(open_from(dir.path(), Some(&ends[4])).is_err());
    }
    std::fs::remove_file(super::segment::path(home.path(), 1)).unwrap();
    let error = open_from(home.path(), None).unwrap_err();
    assert!(matches!(error, JournalError::Damaged(Damage { segment: 1, offset: 0, .. })), "{error}");
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
        assert_eq!(super::segment::list(dir.path()).unwrap(), [1]);
    }
    assert_eq!(salts.len(), 4);
    assert!(ends[1..].iter().all(|chain| *chain == ends[1]));
}

#[test]
fn a_position_taken_before_the_first_write_still_holds_after_a_restart() {
    let dir = scratch();
    fill(dir.path(), &some_batches(2));
    let (opened, _) = open(dir.path());
    let (appender, written) = (opened.appender.position(), opened.writer.written());
    assert!(!appender.is_after(&written) && !written.is_after(&appender), "two names of one point");
    drop(opened);
    for position in [appender, written] {
        let dir = copy(dir.path());
        let (mut opened, found) = open_from(dir.path(), Some(&position)).unwrap();
        assert!(found.is_empty());
        assert!(opened.reader.holds(&position).unwrap());
        commit(&mut opened, &vec![]);
        assert!(opened.writer.written().is_after(&position));
        drop(opened);
        let (opened, found) = open_from(dir.path(), Some(&position)).unwrap();
        assert_eq!(found, [Model::new()]);
        assert!(opened.reader.holds(&position).unwrap());
    }
}

#[test]
fn batches_that_are_lost_on_the_way_stop_the_writer() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    let (lost, _) = sealed(&mut opened, &vec![(1, 1, 1, vec![1])]);
    let (next, _) = sealed(&mut opened, &vec![(1, 2, 1, vec![2])]);
    drop(lost);
    assert!(matches!(opened.writer.write(next), Err(JournalError::OutOfOrder)));
    assert!(matches!(opened.writer.sync(), Err(JournalError::Poisoned)));
    assert!(matches!(opened.appender.ensure_room(10), Err(JournalError::Poisoned)));
    assert!(matches!(opened.appender.begin(), Err(JournalError::Poisoned)));
    drop(opened);
    assert_eq!(open(dir.path()).1, Vec::<Model>::new());
}

#[test]
fn an_abandoned_batch_leaves_no_trace_and_a_stale_one_is_refused() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    opened.appender.ensure_room(1_000).unwrap();
    let mut abandoned = opened.appender.begin().unwrap();
    abandoned.push(TenantId(1), Sequence(1), EntryKind(1), |_, out| out.push(1)).unwrap();
    let stale = opened.appender.begin().unwrap();
    drop(abandoned);
    commit(&mut opened, &vec![(1, 1, 1, vec![2])]);
    assert!(matches!(opened.appender.seal(stale, 0), Err(JournalError::OutOfOrder)));
    commit(&mut opened, &vec![(1, 2, 1, vec![3])]);
    drop(opened);
    assert_eq!(open(dir.path()).1, [vec![(1, 1, 1, vec![2])], vec![(1, 2, 1, vec![3])]]);
}

#[test]
fn what_does_not_fit_is_refused_and_the_batch_goes_on() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    let most = (4_096 - SEGMENT_HEADER) as usize;
    assert!(matches!(opened.appender.ensure_room(most + 1), Err(JournalError::TooLarge { .. })));
    opened.appender.ensure_room(most).unwrap();
    let mut batch = opened.appender.begin().unwrap();
    let push = |batch: &mut BatchBuilder, bytes: usize| {
        batch.push(TenantId(1), Sequence(1), EntryKind(1), |_, out| out.resize(out.len() + bytes, 7))
    };
    let largest = most - batch_room(entry_room(0));
    assert!(matches!(push(&mut batch, largest + 1), Err(JournalError::TooLarge { .. })));
    push(&mut batch, largest).unwrap();
    assert!(matches!(push(&mut batch, 0), Err(JournalError::TooLarge { .. })));
    let batch = opened.appender.seal(batch, 0).unwrap();
    opened.writer.write(batch).unwrap();
    opened.writer.sync().unwrap();
    assert_eq!(
        std::fs::metadata(super::segment::path(dir.path(), 1)).unwrap().len(),
        4_096,
        "inside what was reserved"
    );
    drop(opened);
    assert_eq!(open(dir.path()).1.len(), 1);
}

#[test]
fn places_that_hold_nothing_are_refused() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    let place = commit(&mut opened, &vec![(1, 1, 1, vec![1; 40])])[0];
    for (segment, offset) in
        [(0, 0), (1, 0), (1, 4_095), (1, 4_000_000), (2, SEGMENT_HEADER), (9, 9), (1, SEGMENT_HEADER)]
    {
        let bad = Place { segment, offset };
        assert!(opened.reader.read(bad).is_err(), "{bad:?}");
    }
    assert!(opened.reader.read(place).is_ok());
    let inside = opened.reader.scan(place, |_| Ok(ControlFlow::Continue(())));
    assert!(inside.is_err(), "a scan begins where a batch begins");
}

#[test]
fn a_scan_breaks_off_and_goes_on() {
    let dir = scratch();
    let batches = some_batches(60);
    fill(dir.path(), &batches);
    let (opened, _) = open(dir.path());
    let (mut from, mut found) = (Place { segment: 1, offset: 0 }, Vec::new());
    loop {
        let before = found.len();
        from = opened
            .reader
            .scan(from, |view| {
                found.push(owned(view));
                Ok(ControlFlow::Break(()))
            })
            .unwrap();
        if found.len() == before {
            break;
        }
    }
    assert_eq!(found, batches);
    assert!(opened.reader.durable().segment > 2, "over several segments");
}

#[test]
fn readers_see_only_what_is_durable() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    let count = |opened: &Opened| {
        let mut seen = 0;
        opened
            .reader
            .scan(Place { segment: 1, offset: 0 }, |_| {
                seen += 1;
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        seen
    };
    let (batch, _) = sealed(&mut opened, &vec![(1, 1, 1, vec![1])]);
    opened.writer.write(batch).unwrap();
    assert_eq!(count(&opened), 0, "written, not synced");
    opened.writer.sync().unwrap();
    assert_eq!(count(&opened), 1);
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
        let file =
            OpenOptions::new().read(true).write(true).open(super::segment::path(dir.path(), after.segment)).unwrap();
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
    let path = super::segment::path(dir.path(), 1);
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
    assert_eq!(super::segment::list(dir.path()).unwrap(), [1, 2]);
    let (mut opened, found) = open(dir.path());
    assert_eq!(found, std::slice::from_ref(&first));
    assert_eq!(opened.report.cut.map(|cut| cut.segment), Some(1));
    commit(&mut opened, &first);
    drop(opened);
    assert_eq!(open(dir.path()).1, [first.clone(), first]);
}

#[test]
fn a_newer_format_is_refused() {
    let dir = scratch();
    drop(open(dir.path()));
    let path = super::segment::path(dir.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 2;
    let checksum = blake3::hash(&bytes[..80]);
    bytes[80..88].copy_from_slice(&checksum.as_bytes()[..8]);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(open_from(dir.path(), None), Err(JournalError::Newer { segment: 1, version: 2 })));
}

/// The bytes of format 1. If this fails, a journal of today will not open tomorrow.
#[test]
fn the_bytes_of_a_batch_are_what_they_were() {
    use super::format::*;
    let header = SegmentHeader { segment: 7, salt: [1; 16], chain: [2; 32], durable: (7, 88), index: None };
    assert_eq!(blake3::hash(&header.encode()).to_hex().as_str(), GOLDEN_SEGMENT);
    let mut out = Vec::new();
    let head = EntryHead {
        payload_len: 300,
        kind: EntryKind(3),
        dropped: false,
        tenant: TenantId(5),
        sequence: Sequence(1_000_000),
    };
    head.encode(&mut out);
    assert_eq!(out, [0xAC, 0x02, 3, 0, 5, 0xC0, 0x84, 0x3D, GOLDEN_CHECK]);
    let mut hasher = ChainHasher::new(&[2; 32]);
    hasher.entry(&head, &[4; 32]);
    assert_eq!(blake3::Hash::from(hasher.finish(309, 1, -5)).to_hex().as_str(), GOLDEN_CHAIN);
    let batch = BatchHeader { logical_len: 309, stored_len: 309, entries: 1, time_micros: -5, durable: (7, 88) };
    assert_eq!(blake3::hash(&batch.encode(&header, 88)).to_hex().as_str(), GOLDEN_BATCH);
}

const GOLDEN_SEGMENT: &str = "02cd0f83351b0efdf0d874f22c405859c9cd5681c21a180ce3bce6a8c22a8aa3";
const GOLDEN_CHAIN: &str = "c2508c272a78d4a182558db29b3fde2eaf6ee6d9bbf19b630ec0cbd68d5f6fc8";
const GOLDEN_BATCH: &str = "527948208c36c94a1153f87ac63599eb1359c4d0caca194da3573ad08fdbc1f9";
const GOLDEN_CHECK: u8 = 80;

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
            let file = OpenOptions::new().write(true).open(super::segment::path(dir.path(), place.segment)).unwrap();
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
        for number in super::segment::list(image.path()).unwrap() {
            let path = super::segment::path(image.path(), number);
            if !super::segment::path(dir.path(), number).exists() {
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
    batch.segment =
        std::sync::Arc::new(super::segment::Segment { file: full, header: batch.segment.header, index: None });
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
    batch.segment =
        std::sync::Arc::new(super::segment::Segment { file: null, header: batch.segment.header, index: None });
    opened.writer.write(batch).unwrap();
    assert!(matches!(opened.writer.sync(), Err(JournalError::Io { doing: "sync", segment: 1, .. })));
    assert!(matches!(opened.writer.sync(), Err(JournalError::Poisoned)));
    assert_eq!(opened.reader.durable().offset, SEGMENT_HEADER, "nothing counts as durable");
}
