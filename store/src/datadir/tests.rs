use tempfile::TempDir;

use super::*;

fn open(path: &Path) -> Result<DataDir, DataDirError> {
    DataDir::open(path, OpenOptions::default())
}

#[test]
fn a_directory_is_laid_out_once_and_opens_with_the_same_key() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("some/where");
    let first = open(&path).unwrap();
    assert!(first.created());
    let key = first.root_key().clone();
    for part in [first.journal(), first.vault(), first.keyed(), first.checkpoint(), first.keys()] {
        assert_eq!(fs::metadata(&part).unwrap().permissions().mode() & 0o777, 0o700, "{part:?}");
    }
    assert_eq!(fs::metadata(path.join("keys/root.key")).unwrap().permissions().mode() & 0o777, 0o600);
    drop(first);
    let second = open(&path).unwrap();
    assert!(!second.created());
    assert!(*second.root_key() == key);
}

#[test]
fn a_second_opener_is_refused_while_the_first_lives() {
    let home = TempDir::new().unwrap();
    let first = open(home.path()).unwrap();
    assert!(matches!(open(home.path()), Err(DataDirError::InUse(_))));
    drop(first);
    assert!(open(home.path()).is_ok());
}

#[test]
fn each_fault_has_its_name() {
    type Spoil = fn(&Path);
    type Want = fn(&DataDirError) -> bool;
    let table: [(&str, Spoil, Want); 9] = [
        (
            "newer format",
            |p| fs::write(p.join("FORMAT"), "onefold data 3\n").unwrap(),
            |e| matches!(e, DataDirError::Newer { found: 3, .. }),
        ),
        (
            "damaged format",
            |p| fs::write(p.join("FORMAT"), "onefold").unwrap(),
            |e| matches!(e, DataDirError::FormatDamaged(_)),
        ),
        (
            "format zero",
            |p| fs::write(p.join("FORMAT"), "onefold data 0\n").unwrap(),
            |e| matches!(e, DataDirError::FormatDamaged(_)),
        ),
        (
            "format lost, content there",
            |p| {
                fs::remove_file(p.join("FORMAT")).unwrap();
                fs::write(p.join("journal/0000000001.seg"), "x").unwrap();
            },
            |e| matches!(e, DataDirError::Foreign { .. }),
        ),
        (
            "another key",
            |p| fs::write(p.join("keys/root.key"), "ab".repeat(32)).unwrap(),
            |e| matches!(e, DataDirError::WrongRootKey(_)),
        ),
        (
            "half a key",
            |p| fs::write(p.join("keys/root.key"), "ab".repeat(31)).unwrap(),
            |e| matches!(e, DataDirError::KeyUnusable { what: "damaged", .. }),
        ),
        (
            "no key",
            |p| fs::remove_file(p.join("keys/root.key")).unwrap(),
            |e| matches!(e, DataDirError::KeyUnusable { what: "missing", .. }),
        ),
        (
            "no key ring",
            |p| fs::remove_file(p.join("keys/root.sealed")).unwrap(),
            |e| matches!(e, DataDirError::KeyUnusable { what: "missing", .. }),
        ),
        (
            "a key for everyone",
            |p| fs::set_permissions(p.join("keys/root.key"), fs::Permissions::from_mode(0o644)).unwrap(),
            |e| matches!(e, DataDirError::KeyExposed { mode: 0o644, .. }),
        ),
    ];
    for (what, spoil, want) in table {
        let home = TempDir::new().unwrap();
        drop(open(home.path()).unwrap());
        spoil(home.path());
        let error = open(home.path()).unwrap_err();
        assert!(want(&error), "{what}: {error}");
    }
}

#[test]
fn a_key_from_outside_is_used_and_not_stored() {
    let home = TempDir::new().unwrap();
    let given = |byte| OpenOptions { root_key: Some(RootKey::new([byte; 32])) };
    drop(DataDir::open(home.path(), given(1)).unwrap());
    assert!(!home.path().join("keys/root.key").exists());
    assert!(matches!(DataDir::open(home.path(), given(2)), Err(DataDirError::WrongRootKey(_))));
    assert!(matches!(open(home.path()), Err(DataDirError::KeyUnusable { what: "missing", .. })));
    assert!(DataDir::open(home.path(), given(1)).is_ok());
    let ring = fs::read(home.path().join("keys/root.sealed")).unwrap();
    assert!(!ring.windows(8).any(|window| window == [1; 8]), "the ring does not show the key");
}

#[test]
fn somebody_elses_directory_is_left_alone() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("thesis.tex"), "years of work").unwrap();
    assert!(matches!(open(home.path()), Err(DataDirError::Foreign { entry, .. }) if entry == "thesis.tex"));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing was added");
}

/// A first start that was interrupted anywhere is finished by the next one, under the same key.
#[test]
fn an_unfinished_layout_is_finished() {
    for steps in 0..5 {
        let home = TempDir::new().unwrap();
        let mut made = None;
        if steps > 0 {
            let whole = open(home.path()).unwrap();
            made = Some(whole.root_key().clone());
        }
        if steps > 0 {
            fs::rename(home.path().join("FORMAT"), home.path().join("FORMAT.tmp")).unwrap();
        }
        if steps > 1 {
            fs::remove_file(home.path().join("keys/root.sealed")).unwrap();
            made = None;
        }
        if steps > 2 {
            fs::remove_file(home.path().join("keys/root.key")).unwrap();
        }
        if steps > 3 {
            fs::remove_dir(home.path().join("keyed")).unwrap();
        }
        let opened = open(home.path()).unwrap();
        assert!(opened.created(), "{steps}");
        assert!(made.is_none_or(|made| made == *opened.root_key()), "{steps}");
    }
}

#[test]
fn nothing_opens_a_directory_before_its_restore_has_ended_and_a_cut_off_one_begins_anew() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("restored");
    let format = format!("{FORMAT_NAME} {FORMAT}\n");
    for _ in 0..2 {
        let filling = Filling::begin(&path).unwrap();
        fs::create_dir_all(path.join("journal")).unwrap();
        fs::write(path.join("journal/0000000001.seg"), "half").unwrap();
        assert!(matches!(open(&path), Err(DataDirError::HalfRestored(_))));
        assert!(matches!(Filling::begin(&path), Err(DataDirError::InUse(_))));
        // Cut off.
        drop(filling);
        assert!(matches!(open(&path), Err(DataDirError::HalfRestored(_))));
    }
    let filling = Filling::begin(&path).unwrap();
    assert!(!path.join("journal").exists(), "what was there of it is gone");
    fs::create_dir_all(path.join("keys")).unwrap();
    fs::write(path.join("keys/root.key"), format!("{}\n", "ab".repeat(32))).unwrap();
    fs::set_permissions(path.join("keys/root.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let made = DataDir::open(home.path().join("other"), OpenOptions { root_key: Some(RootKey::new([0xab; 32])) });
    drop(made.unwrap());
    fs::copy(home.path().join("other/keys/root.sealed"), path.join("keys/root.sealed")).unwrap();
    filling.end(format.as_bytes()).unwrap();
    assert!(!open(&path).unwrap().created());
    assert!(matches!(Filling::begin(&path), Err(DataDirError::Foreign { .. })), "it is a data directory now");
    assert!(open(&path).is_ok());
}
