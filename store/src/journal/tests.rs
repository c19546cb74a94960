use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::format::SEGMENT_HEADER;
use super::*;

mod crash;
mod damage;

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
        let beyond = Position { segment: 99, ..ends[pick] };
        let short = matches!(open_from(dir.path(), Some(&beyond)), Err(JournalError::Short { segment: 99, .. }));
        prop_assert!(short, "a segment that was never there");
        let (opened, _) = open(dir.path());
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

#[test]
fn a_position_is_held_once_it_is_durable() {
    let dir = scratch();
    let (mut opened, _) = open(dir.path());
    let (batch, _) = sealed(&mut opened, &vec![(1, 1, 1, vec![1])]);
    let end = batch.end();
    opened.writer.write(batch).unwrap();
    assert!(!opened.reader.holds(&end).unwrap(), "written, not synced");
    opened.writer.sync().unwrap();
    assert!(opened.reader.holds(&end).unwrap());
}

/// What is reserved and not used is bounded by a part of the journal, not by the largest segment.
#[test]
fn segments_grow_with_the_journal() {
    let dir = scratch();
    let options = JournalOptions { dir: dir.path().to_owned(), segment_bytes: 6 << 20 };
    let mut opened = Journal::open(options.clone(), None, |_| Ok(())).unwrap();
    let size = |number: u32| std::fs::metadata(super::segment::path(dir.path(), number)).unwrap().len();
    assert_eq!(size(1), 4 << 20);
    // One batch that is larger than a young segment, and no larger than the largest.
    let large = (5 << 20) - 200;
    commit(&mut opened, &vec![(1, 1, 1, vec![1; large])]);
    assert_eq!(opened.appender.position().segment, 1, "an empty segment makes room for a larger one");
    assert!(size(1) >= large as u64 && size(1) <= 6 << 20);
    // The same right after a start.
    drop(opened);
    let mut opened = Journal::open(options.clone(), None, |_| Ok(())).unwrap();
    let stale = opened.appender.begin().unwrap();
    let mut next = 2;
    while next < 25 {
        commit(&mut opened, &vec![(1, next, 1, vec![1; large])]);
        next += 1;
    }
    assert!(matches!(opened.appender.seal(stale, 0), Err(JournalError::OutOfOrder)));
    let last = opened.appender.position().segment;
    drop(opened);
    let opened = Journal::open(options, None, |_| Ok(())).unwrap();
    assert_eq!(opened.report.batches, 24);
    assert_eq!(size(last + 1), 6 << 20, "a sixteenth of the journal, or the most that is allowed");
}

#[test]
fn closing_gives_back_what_was_reserved_and_loses_nothing() {
    let dir = scratch();
    let batches: Vec<Model> = (1..4).map(|sequence| vec![(1, sequence, 4, vec![7; 100])]).collect();
    let (mut opened, _) = open(dir.path());
    commit(&mut opened, &batches[0]);
    commit(&mut opened, &batches[1]);
    let end = opened.writer.written();
    opened.appender.close().unwrap();
    let length = std::fs::metadata(super::segment::path(dir.path(), end.segment)).unwrap().len();
    assert_eq!(length, u64::from(end.offset), "nothing is reserved any more");
    // What comes after all goes into a new segment.
    commit(&mut opened, &batches[2]);
    opened.appender.close().unwrap();
    opened.appender.close().unwrap();
    drop(opened);
    for _ in 0..2 {
        assert_eq!(open(dir.path()).1, batches);
    }
}

#[test]
fn what_is_let_go_is_gone_and_the_rest_goes_on() {
    let dir = scratch();
    let batches: Vec<Model> = (0..12_u64).map(|at| vec![(1, at, 7, vec![at as u8; 1_500])]).collect();
    let ends = fill(dir.path(), &batches);
    let last = ends[ends.len() - 1];
    let mut opened = Journal::open_kept(options(dir.path()), None, |_| Ok(())).unwrap();
    let reader = opened.reader.clone();
    assert_eq!(reader.first(), 1);
    assert!(last.segment > 3, "several segments: {last:?}");
    assert!(matches!(reader.forget_before(99), Err(JournalError::StillOpen(99))));
    let begins = reader.begins(3).unwrap();
    reader.forget_before(3).unwrap();
    assert_eq!((reader.first(), reader.begins(3).unwrap()), (3, begins));
    assert!(!reader.holds(&ends[0]).unwrap() && reader.holds(&last).unwrap());
    assert!(matches!(reader.read(Place { segment: 1, offset: SEGMENT_HEADER }), Err(JournalError::NoEntry(_))));
    commit(&mut opened, &vec![(1, 12, 7, vec![12])]);
    assert_eq!(reader.verify().unwrap().damages, []);
    drop(opened);
    // Only its owner may open it so: for anybody else segments are missing.
    assert!(matches!(open_from(dir.path(), None), Err(JournalError::Damaged(_))));
    let mut kept = Vec::new();
    let opened = Journal::open_kept(options(dir.path()), None, |view| {
        kept.push(view.entries().next().map(|entry| entry.sequence.0));
        Ok(())
    });
    let opened = opened.unwrap();
    assert_eq!(opened.reader.begins(3).unwrap(), begins);
    let first = ends.iter().position(|end| end.segment >= 3).unwrap() as u64;
    assert_eq!(kept, (first..=12).map(Some).collect::<Vec<_>>());
    // From a position that was let go nothing can be said.
    assert!(matches!(
        Journal::open_kept(options(dir.path()), Some(&ends[0]), |_| Ok(())),
        Err(JournalError::Short { .. })
    ));
    assert!(Journal::open_kept(options(dir.path()), Some(&last), |_| Ok(())).is_ok());
}

/// Whoever verified the journal named it, and a start went past it.
#[test]
fn what_stands_behind_the_last_batch_of_a_closed_segment_is_found_at_the_start() {
    let dir = scratch();
    let batches: Vec<Model> = (0..12_u64).map(|at| vec![(1, at, 7, vec![at as u8; 1_500])]).collect();
    fill(dir.path(), &batches);
    let first = super::segment::path(dir.path(), 1);
    let whole = std::fs::read(&first).unwrap();
    for more in [&[0; 40][..], b"neither a batch nor nothing"] {
        std::fs::write(&first, [&whole[..], more].concat()).unwrap();
        let opened = open_from(dir.path(), None);
        match more[0] {
            0 => assert_eq!(opened.unwrap().1, batches, "room that was reserved"),
            _ => assert!(matches!(opened, Err(JournalError::Damaged(damage)) if damage.segment == 1)),
        }
    }
}
