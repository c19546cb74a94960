use super::form::unnamed;
use super::*;
use crate::erasures::{ErasureLedger, ErasureRow, tests::row};

const OURS: Installation = Installation([1; 16]);
const THEIRS: Installation = Installation([2; 16]);

#[test]
fn rows_come_back_torn_ends_are_cut_and_damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, rows, there) = ErasureLedger::open(dir.path(), OURS).unwrap();
    assert!(rows.is_empty() && !there);
    ledger.append(&[row(1)]).unwrap();
    ledger.append(&[row(2), row(3)]).unwrap();
    drop(ledger);
    let path = ErasureLedger::path(dir.path());
    let whole = fs::read(&path).unwrap();
    assert_eq!(ErasureLedger::read(&path).unwrap(), [row(1), row(2), row(3)]);
    let ends: Vec<usize> = {
        let first = HEADER_BYTES + encode_row(Some(OURS), 0, &row(1)).len();
        let second = first + encode_row(Some(OURS), 1, &row(2)).len();
        vec![HEADER_BYTES, first, second, second + encode_row(Some(OURS), 2, &row(3)).len()]
    };
    for cut in HEADER_BYTES..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let (ledger, rows, _) = ErasureLedger::open(dir.path(), OURS).unwrap();
        assert_eq!(rows.len(), ends.iter().filter(|end| **end <= cut).count() - 1, "cut at {cut}");
        ledger.append(&[row(9)]).unwrap();
        assert_eq!(ErasureLedger::read(&path).unwrap().last(), Some(&row(9)));
    }
    for bit in 0..whole.len() * 8 {
        let mut bent = whole.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bent).unwrap();
        let read = ErasureLedger::read(&path);
        assert!(read.is_err(), "bit {bit}");
    }
}

#[test]
fn a_rewrite_keeps_what_it_is_told_to_and_takes_more() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, ..) = ErasureLedger::open(dir.path(), OURS).unwrap();
    ledger.append(&[row(1), row(2), row(3)]).unwrap();
    let keep = |kept: ErasureRow| (kept.tenant.0 != 2).then_some(kept);
    ledger.rewrite(dir.path(), keep).unwrap();
    ledger.append(&[row(4)]).unwrap();
    assert_eq!(ErasureLedger::read(&ErasureLedger::path(dir.path())).unwrap(), [row(1), row(3), row(4)]);
    assert_eq!(ledger.rows(), 3);
}

#[test]
fn rows_are_set_aside_once_and_wait_beside_others() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, ..) = ErasureLedger::open(dir.path(), OURS).unwrap();
    ledger.append(&[row(1), row(2), row(3)]).unwrap();
    ErasureLedger::leave_pending(dir.path(), OURS, &[row(3), row(4)]).unwrap();
    let stray = |row: &ErasureRow| row.tenant.0 > 1;
    assert_eq!(ledger.set_aside(dir.path(), stray).unwrap(), 2);
    assert_eq!(ErasureLedger::pending(dir.path()).unwrap(), [row(3), row(4), row(2)]);
    assert_eq!(ErasureLedger::read(&ErasureLedger::path(dir.path())).unwrap(), [row(1)]);
    assert_eq!(ledger.set_aside(dir.path(), stray).unwrap(), 0);
    ledger.append(&[row(5)]).unwrap();
    assert_eq!(ledger.rows(), 2);
}

#[test]
fn what_waits_is_read_whole_or_named() {
    let dir = tempfile::tempdir().unwrap();
    ErasureLedger::open(dir.path(), OURS).unwrap();
    assert_eq!(ErasureLedger::pending(dir.path()).unwrap(), []);
    ErasureLedger::leave_pending(dir.path(), OURS, &[row(1), row(2)]).unwrap();
    assert_eq!(ErasureLedger::pending(dir.path()).unwrap(), [row(1), row(2)]);
    let path = ErasureLedger::pending_path(dir.path());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(ErasureLedger::pending(dir.path()).is_err(), "what was cut would bring somebody back");
    ErasureLedger::pending_done(dir.path()).unwrap();
    assert_eq!(ErasureLedger::pending(dir.path()).unwrap(), []);
}

#[test]
fn another_installations_is_refused_and_so_are_its_rows() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = ErasureLedger::path(ours.path());
    let (ledger, ..) = ErasureLedger::open(ours.path(), OURS).unwrap();
    ledger.append(&[row(1)]).unwrap();
    ErasureLedger::open(theirs.path(), THEIRS).unwrap().0.append(&[row(2), row(3)]).unwrap();
    let told = fs::read(&path).unwrap();
    let others = fs::read(ErasureLedger::path(theirs.path())).unwrap();

    fs::write(&path, &others).unwrap();
    let elsewhere = |error| matches!(error, LedgerError::Elsewhere(_));
    assert!(ErasureLedger::open(ours.path(), OURS).is_err_and(elsewhere));
    let mut visited = 0;
    let refused = ErasureLedger::visit_of(&path, OURS, |_| visited += 1);
    assert!(refused.is_err_and(elsewhere) && visited == 0);
    assert!(ledger.rewrite(ours.path(), Some).is_err_and(elsewhere), "nor is it taken over by a rewrite");
    // Rows of another's under a header of ours.
    let spliced = [&told[..HEADER_BYTES], &others[HEADER_BYTES..]].concat();
    fs::write(&path, spliced).unwrap();
    assert!(matches!(ErasureLedger::read(&path), Err(LedgerError::Damaged { row: 0, .. })));
    // One of a release to come is named, and not written anew.
    fs::write(&path, [b"3", &told[1..]].concat()).unwrap();
    let newer = ErasureLedger::read(&path).unwrap_err();
    assert!(matches!(newer, LedgerError::Newer(_)) && !newer.is_of_no_use());
}

#[test]
fn one_of_an_older_release_is_read_and_names_its_installation_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = ErasureLedger::path(dir.path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut old = unnamed(&[row(1), row(2)]);
    old.extend_from_slice(b"torn");
    fs::write(&path, &old).unwrap();
    let seen = ErasureLedger::visit_of(&path, OURS, |_| {}).unwrap();
    assert_eq!((seen.rows, seen.of, seen.cut_at), (2, None, Some(old.len() as u64 - 4)));
    let (ledger, rows, there) = ErasureLedger::open(dir.path(), OURS).unwrap();
    assert!(there && rows == [row(1), row(2)]);
    ledger.append(&[row(3)]).unwrap();
    let mut rows = Vec::new();
    let seen = ErasureLedger::visit_of(&path, OURS, |row| rows.push(row)).unwrap();
    assert_eq!((rows, seen.of, seen.cut_at), (vec![row(1), row(2), row(3)], Some(OURS), None));
    assert!(ErasureLedger::open(dir.path(), THEIRS).is_err());
    // What such a release left to be carried out is read too.
    fs::write(ErasureLedger::pending_path(dir.path()), unnamed(&[row(4)])).unwrap();
    assert_eq!(ErasureLedger::pending(dir.path()).unwrap(), [row(4)]);
}

#[test]
fn what_was_ever_told_outlives_rewrites_and_starts() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, ..) = ErasureLedger::open(dir.path(), OURS).unwrap();
    ledger.append(&[row(1), row(2), row(3)]).unwrap();
    ledger.rewrite(dir.path(), |row| (row.tenant.0 == 3).then_some(row)).unwrap();
    assert_eq!((ledger.rows(), ledger.ever()), (1, 3));
    drop(ledger);
    let (ledger, ..) = ErasureLedger::open(dir.path(), OURS).unwrap();
    ledger.append(&[row(4)]).unwrap();
    assert_eq!((ledger.rows(), ledger.ever()), (2, 4));
}
