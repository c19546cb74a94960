//! `cargo xtask check` says what review would say: format, clippy, walls, documentation, tests, and where the tools are
//! there, the protos' lint and the licences. `cargo xtask fuzz` is an hour of libFuzzer.

mod fuzz;

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;
use std::{fs, io, thread};

/// Building and testing all of it from nothing takes a quarter of an hour to half of one on two cores.
const STEP_TAKES_AT_MOST: Duration = Duration::from_secs(3_000);
/// Between two looks at whether it is done.
const LOOKS_AGAIN: Duration = Duration::from_millis(50);

/// What a step needs beside cargo.
enum Needs {
    Nothing,
    Program(&'static str),
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("check") => check(),
        Some("walls") => report("walls", &walls(Path::new("server/src"))),
        Some("fuzz") => fuzz::run(std::env::args().nth(2).as_deref()),
        _ => {
            eprintln!("usage: cargo xtask check | walls | fuzz [SECONDS]");
            ExitCode::from(2)
        }
    }
}

fn check() -> ExitCode {
    let steps: [(&str, &[&str], Needs); 6] = [
        ("format", &["cargo", "fmt", "--all", "--check"], Needs::Nothing),
        ("clippy", &["cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], Needs::Nothing),
        ("docs", &["cargo", "doc", "--workspace", "--no-deps"], Needs::Nothing),
        ("tests", &["cargo", "test", "--workspace"], Needs::Nothing),
        (
            "licences and advisories",
            &["cargo", "deny", "--offline", "check", "licenses", "bans"],
            Needs::Program("cargo-deny"),
        ),
        ("protos", &["buf", "lint", "proto"], Needs::Program("buf")),
    ];
    if report("walls", &walls(Path::new("server/src"))) != ExitCode::SUCCESS {
        return ExitCode::FAILURE;
    }
    for (name, command, needs) in steps {
        if let Needs::Program(program) = needs
            && !is_there(program)
        {
            println!("{name}: skipped, {program} is not installed");
            continue;
        }
        println!("{name}: {}", command.join(" "));
        // Warnings of documentation are errors; the flag reaches rustdoc only.
        let mut step = Command::new(command[0]);
        let step = step.args(&command[1..]).env("RUSTDOCFLAGS", "-D warnings");
        // Who sits in front of it sees what hangs, and ends it by a key.
        let ended = if io::stdin().is_terminal() { step.status() } else { in_time(step, STEP_TAKES_AT_MOST) };
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("{name}: failed");
            return ExitCode::FAILURE;
        }
    }
    println!("not in this: `cargo xtask fuzz`, an hour of libFuzzer (fuzz/README.md)");
    ExitCode::SUCCESS
}

/// Runs a step and all that it starts, and ends them when they take too long: the last line above says what did.
fn in_time(step: &mut Command, limit: Duration) -> io::Result<ExitStatus> {
    // A group of its own, so that a test which hangs is ended along with what runs it.
    let mut running = step.process_group(0).spawn()?;
    for _ in 0..limit.as_millis() / LOOKS_AGAIN.as_millis() {
        if let Some(status) = running.try_wait()? {
            return Ok(status);
        }
        thread::sleep(LOOKS_AGAIN);
    }
    eprintln!("not done after {} s: ended", limit.as_secs());
    Command::new("kill").args(["-KILL", "--", &format!("-{}", running.id())]).status()?;
    running.wait()
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn report(name: &str, faults: &[String]) -> ExitCode {
    for fault in faults {
        eprintln!("{name}: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The walls inside `server`, which cargo cannot guard: `app` has never heard of the wire, and what sees the wire never
/// sees the store.
fn walls(server: &Path) -> Vec<String> {
    let rules: [(&str, &[&str]); 2] =
        [("app", &["onefold_proto", "tonic::", "prost", "pb::"]), ("grpc", &["onefold_store", "sled"])];
    let mut faults = Vec::new();
    for (room, forbidden) in rules {
        let files = rust_files(&server.join(room));
        if files.is_empty() {
            faults.push(format!("there is nothing in {}", server.join(room).display()));
        }
        for file in files {
            let text = fs::read_to_string(&file).unwrap_or_default();
            for (number, line) in (1..).zip(text.lines()) {
                let code = line.split("//").next().unwrap_or_default();
                for word in forbidden {
                    if code.contains(word) {
                        faults.push(format!("{}:{number}: {room} must not know of {word}", file.display()));
                    }
                }
            }
        }
    }
    faults
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walls_inside_the_server_stand() {
        let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/src");
        assert_eq!(walls(&server), Vec::<String>::new());
    }

    #[test]
    fn what_hangs_is_ended_with_all_that_it_started() {
        let limit = Duration::from_millis(300);
        assert!(in_time(Command::new("sh").args(["-c", "exit 0"]), Duration::from_secs(60)).unwrap().success());
        // The second sleep holds the pipe open for as long as it lives.
        let (mut reader, writer) = io::pipe().unwrap();
        let mut hangs = Command::new("sh");
        let ended = in_time(hangs.args(["-c", "sleep 600 & sleep 600"]).stdout(writer), limit).unwrap();
        drop(hangs);
        assert!(!ended.success());
        assert_eq!(io::Read::read(&mut reader, &mut [0]).unwrap(), 0, "nobody is left who could write");
    }

    #[test]
    fn a_hole_in_a_wall_is_found() {
        let room = std::env::temp_dir().join(format!("onefold-walls-{}", std::process::id()));
        fs::create_dir_all(room.join("app")).unwrap();
        fs::create_dir_all(room.join("grpc")).unwrap();
        fs::write(room.join("app/a.rs"), "// tonic:: in a comment is fine\nuse tonic::Status;\n").unwrap();
        fs::write(room.join("grpc/b.rs"), "fn fine() {}\n").unwrap();
        let faults = walls(&room);
        fs::remove_dir_all(&room).unwrap();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].contains("a.rs:2"), "{}", faults[0]);
    }
}
