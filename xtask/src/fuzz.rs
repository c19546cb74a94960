//! libFuzzer for every target of `fuzz/`, one after the other.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// How long all targets take together, when nothing else is said.
const SECONDS: u64 = 3_600;
/// Memory that a target may take, the sanitizer's own included.
const RSS_MIB_MAX: u64 = 4_096;
/// Longest input tried. Formats of ours show their branches in less; what is larger has tests of its own.
const INPUT_BYTES_MAX: u64 = 64 << 10;

/// Runs all targets, for so many seconds together; a target that finds something does not keep the others from running.
pub fn run(seconds: Option<&str>) -> ExitCode {
    let Ok(seconds) = seconds.map_or(Ok(SECONDS), str::parse::<u64>) else {
        eprintln!("fuzz: give whole seconds");
        return ExitCode::from(2);
    };
    if !super::is_there("cargo-fuzz") {
        eprintln!(
            "fuzz: `cargo install cargo-fuzz` first; it builds with a nightly compiler (`rustup toolchain install nightly`)"
        );
        return ExitCode::FAILURE;
    }
    let targets = targets(Path::new("fuzz/fuzz_targets"));
    let each = seconds / targets.len().max(1) as u64;
    let made = ["run", "--quiet", "-p", "onefold-tests", "--bin", "onefold-fuzz-seeds", "--", "fuzz/target/seeds"];
    if targets.is_empty() || !succeeds(Command::new("cargo").args(made)) {
        eprintln!("fuzz: nothing to begin with");
        return ExitCode::FAILURE;
    }
    let mut found = Vec::new();
    for target in targets {
        // New inputs go into the first folder; the others are only read.
        let ours = format!("fuzz/target/corpus/{target}");
        let (made, kept) = (format!("fuzz/target/seeds/{target}"), format!("fuzz/corpus/{target}"));
        if let Err(error) = fs::create_dir_all(&ours) {
            eprintln!("fuzz: {ours}: {error}");
            return ExitCode::FAILURE;
        }
        println!("fuzz: {target}, {each} s");
        let mut command = Command::new("cargo");
        command.args(["+nightly", "fuzz", "run", &target, &ours, &made]);
        if Path::new(&kept).is_dir() {
            command.arg(&kept);
        }
        command.arg("--").args([
            format!("-max_total_time={each}"),
            format!("-rss_limit_mb={RSS_MIB_MAX}"),
            format!("-max_len={INPUT_BYTES_MAX}"),
            "-timeout=30".to_owned(),
        ]);
        if !succeeds(&mut command) {
            found.push(target);
        }
    }
    for target in &found {
        eprintln!("fuzz: {target} found something, see fuzz/artifacts/{target}");
    }
    if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

fn targets(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = files.filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}
