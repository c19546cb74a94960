//! Every way in for bytes that nobody vouches for, fed with its corpus and with what becomes of it: no panic, no promise
//! broken. The same functions are handed to libFuzzer by the crate in `fuzz/`.
//!
//! `ONEFOLD_FUZZ_SECONDS=3600` goes on for an hour, the targets in turns; the seed is printed. `ONEFOLD_FUZZ_TARGET` chooses one.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test code; the long form goes by the clock"
)]

use std::any::Any;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use onefold_tests::dice::{Dice, how_many};
use onefold_tests::targets::{TARGETS, Target, mutated, seeds};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The corpus as it lies in the repository, and what is made.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut known = seeds(target.name);
    if let Ok(files) = fs::read_dir(fuzz().join("corpus").join(target.name)) {
        let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        known.extend(paths.into_iter().map(|path| fs::read(path).unwrap()));
    }
    assert!(!known.is_empty(), "{} has nothing to begin with", target.name);
    known
}

/// What is wrong with an input, if anything is.
fn fault(target: &Target, input: &[u8]) -> Option<String> {
    let ended: Box<dyn Any + Send> = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).err()?;
    let told = ended.downcast_ref::<String>().cloned();
    let told = told.or_else(|| ended.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(format!("{} on {input:?}: {}", target.name, told.unwrap_or_default()))
}

#[test]
fn the_fuzzers_have_the_targets_that_are_tried_here() {
    let ours: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names_in(&fuzz().join("fuzz_targets")), ours);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for target in &ours {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target} is not built");
        let source = fs::read_to_string(fuzz().join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(source.contains("fuzz_target!"), "{target} is no target");
    }
    assert!(names_in(&fuzz().join("corpus")).is_subset(&ours), "a corpus of nothing");
}

#[test]
fn no_bytes_break_a_promise() {
    let mut dice = Dice::from_environment("ONEFOLD_FUZZ_SEED", 20_261_127);
    let long = Duration::from_secs(how_many("ONEFOLD_FUZZ_SECONDS", 0) as u64);
    let chosen = std::env::var("ONEFOLD_FUZZ_TARGET").unwrap_or_default();
    let chosen: Vec<Target> = TARGETS.into_iter().filter(|one| chosen.is_empty() || one.name == chosen).collect();
    let mut found = Vec::new();
    for target in &chosen {
        let known = corpus(target);
        found.extend(known.iter().filter_map(|input| fault(target, input)));
        let began = Instant::now();
        let (mut tried, share) = (0, long / chosen.len() as u32);
        while if long.is_zero() { tried < target.short } else { began.elapsed() < share } {
            found.extend(fault(target, &mutated(&known, &mut dice)));
            tried += 1;
            if found.len() > 20 {
                break;
            }
        }
        println!("{}: {} inputs to begin with, {tried} made of them", target.name, known.len());
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
