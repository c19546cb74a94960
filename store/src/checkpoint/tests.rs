use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn home(dir: &TempDir) -> Checkpoints {
    Checkpoints::new(dir.path().join("checkpoint"), dir.path().join("keys"), RootKey::new([3; 32]))
}

fn position(offset: u32) -> Position {
    Position { segment: 1, offset, chain: [7; 32] }
}

fn write(home: &Checkpoints, offset: u32, sections: &[(&str, &[u8])]) -> u64 {
    let mut writer = home.begin(position(offset)).unwrap();
    for (name, content) in sections {
        writer.section(*name).unwrap();
        for piece in content.chunks(777_777) {
            writer.write(piece).unwrap();
        }
    }
    writer.finish().unwrap().0
}

fn noise(length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

#[test]
fn sections_of_any_size_come_back_whole() {
    let dir = TempDir::new().unwrap();
    let sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 0, 3 * CHUNK, 5 * CHUNK + 17];
    let contents: Vec<_> = sizes.iter().map(|size| noise(*size)).collect();
    let names: Vec<_> = (0..sizes.len()).map(|number| format!("tenant.{number}")).collect();
    let sections: Vec<_> = names.iter().zip(&contents).map(|(name, content)| (name.as_str(), &content[..])).collect();
    write(&home(&dir), 9, &sections);
    let latest = home(&dir).latest().unwrap();
    let checkpoint = latest.checkpoint.unwrap();
    assert_eq!(*checkpoint.position(), position(9));
    assert!(checkpoint.sections().eq(names.iter().map(String::as_str)));
    for (name, content) in sections {
        assert!(checkpoint.read(name).unwrap() == content, "{name}");
    }
    assert!(matches!(checkpoint.read("other"), Err(CheckpointError::NoSection(_))));
    assert!(latest.passed_over.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_flipped_bit_or_a_cut_is_found(flip in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let dir = TempDir::new().unwrap();
        let content = noise(5_000);
        write(&home(&dir), 1, &[("a", &content), ("b", b"second")]);
        let path = home(&dir).path(1);
        let good = fs::read(&path).unwrap();
        let mut bent = good.clone();
        let bit = flip.index(bent.len() * 8);
        bent[bit / 8] ^= 1 << (bit % 8);
        for bytes in [&bent[..], &good[..cut.index(good.len())]] {
            fs::write(&path, bytes).unwrap();
            let latest = home(&dir).latest().unwrap();
            let whole = latest.checkpoint.is_some_and(|checkpoint| {
                checkpoint.read("a").is_ok_and(|read| read == content) && checkpoint.read("b").is_ok()
            });
            prop_assert!(!whole);
        }
    }
}

#[test]
fn chunks_that_change_places_are_found() {
    let dir = TempDir::new().unwrap();
    write(&home(&dir), 1, &[("a", &noise(3 * CHUNK))]);
    let path = home(&dir).path(1);
    let mut bytes = fs::read(&path).unwrap();
    let (first, second) = bytes[HEADER..].split_at_mut(CHUNK + TAG);
    first.swap_with_slice(&mut second[..CHUNK + TAG]);
    fs::write(&path, &bytes).unwrap();
    let checkpoint = home(&dir).latest().unwrap().checkpoint.unwrap();
    assert!(matches!(checkpoint.read("a"), Err(CheckpointError::Damaged(_))));
}

#[test]
fn a_new_checkpoint_removes_the_old_one_and_its_key() {
    let dir = TempDir::new().unwrap();
    let first = write(&home(&dir), 1, &[("a", b"Ada Lovelace")]);
    let saved = fs::read(home(&dir).path(first)).unwrap();
    let second = write(&home(&dir), 2, &[("a", b"nobody")]);
    assert_eq!((first, second), (1, 2));
    assert_eq!(fs::read_dir(dir.path().join("checkpoint")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(dir.path().join("keys")).unwrap().count(), 1);
    // A copy of the old file, put back, is noise.
    fs::write(home(&dir).path(3), &saved).unwrap();
    let latest = home(&dir).latest().unwrap();
    assert!(matches!(latest.passed_over[..], [(3, CheckpointError::NoKey)]));
    assert_eq!(latest.checkpoint.unwrap().read("a").unwrap(), b"nobody");
    home(&dir).destroy_all().unwrap();
    assert!(home(&dir).latest().unwrap().checkpoint.is_none(), "without its key a file is noise");
    home(&dir).sweep().unwrap();
    for part in ["checkpoint", "keys"] {
        assert_eq!(fs::read_dir(dir.path().join(part)).unwrap().count(), 0, "{part}");
    }
}

#[test]
fn an_unfinished_checkpoint_counts_for_nothing() {
    let dir = TempDir::new().unwrap();
    write(&home(&dir), 1, &[("a", b"first")]);
    let mut writer = home(&dir).begin(position(2)).unwrap();
    writer.section("a").unwrap();
    writer.write(&noise(2 * CHUNK)).unwrap();
    // As after a kill: no destructor runs.
    std::mem::forget(writer);
    let latest = home(&dir).latest().unwrap();
    assert_eq!(latest.checkpoint.unwrap().read("a").unwrap(), b"first");
    drop(home(&dir).begin(position(3)).unwrap());
    assert_eq!(fs::read_dir(dir.path().join("checkpoint")).unwrap().count(), 1, "left-overs go");
    assert_eq!(fs::read_dir(dir.path().join("keys")).unwrap().count(), 1);
}

/// Killed between giving the new one its name and removing the old one.
#[test]
fn of_two_the_newer_counts_and_a_damaged_one_is_passed_over() {
    let dir = TempDir::new().unwrap();
    write(&home(&dir), 1, &[("a", b"first")]);
    let keep = |name: &str, path: PathBuf| fs::copy(path, dir.path().join(name)).unwrap();
    keep("file", home(&dir).path(1));
    keep("key", home(&dir).key_path(1));
    write(&home(&dir), 2, &[("a", b"second")]);
    fs::copy(dir.path().join("file"), home(&dir).path(1)).unwrap();
    fs::copy(dir.path().join("key"), home(&dir).key_path(1)).unwrap();
    let read = |latest: Latest| latest.checkpoint.unwrap().read("a").unwrap();
    assert_eq!(read(home(&dir).latest().unwrap()), b"second");
    let bytes = fs::read(home(&dir).path(2)).unwrap();
    fs::write(home(&dir).path(2), &bytes[..bytes.len() - 1]).unwrap();
    let latest = home(&dir).latest().unwrap();
    assert!(matches!(latest.passed_over[..], [(2, CheckpointError::Damaged(_))]));
    assert_eq!(read(latest), b"first");
}

#[test]
fn another_root_key_reads_nothing() {
    let dir = TempDir::new().unwrap();
    write(&home(&dir), 1, &[("a", b"Ada")]);
    let other = Checkpoints { root: RootKey::new([4; 32]), ..home(&dir) };
    let latest = other.latest().unwrap();
    assert!(latest.checkpoint.is_none());
    assert!(matches!(latest.passed_over[..], [(1, CheckpointError::NoKey)]));
    let bytes = fs::read(home(&dir).path(1)).unwrap();
    assert!(!bytes.windows(3).any(|window| window == b"Ada"));
}

#[test]
fn a_newer_format_is_told_apart_from_damage() {
    let dir = TempDir::new().unwrap();
    write(&home(&dir), 1, &[("a", b"first")]);
    let mut bytes = fs::read(home(&dir).path(1)).unwrap();
    bytes[8] = 9;
    fs::write(home(&dir).path(1), &bytes).unwrap();
    assert!(matches!(home(&dir).latest().unwrap().passed_over[..], [(1, CheckpointError::Newer(9))]));
}

#[test]
fn sections_out_of_turn_are_refused() {
    let dir = TempDir::new().unwrap();
    let mut writer = home(&dir).begin(position(1)).unwrap();
    assert!(matches!(writer.write(b"x"), Err(CheckpointError::OutOfTurn)));
    writer.section("a").unwrap();
    assert!(matches!(writer.section("a"), Err(CheckpointError::OutOfTurn)));
}
