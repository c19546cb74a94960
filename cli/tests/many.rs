//! `onefold erase --file`, run again and again: cut off, late, by two at once, before and after officers decide.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod served;

use std::fs;
use std::path::{Path, PathBuf};

use self::served::{Served, onefold, text};

/// A server and the files of a run.
struct Run {
    served: Served,
    people: PathBuf,
    answers: PathBuf,
    folder: PathBuf,
}

impl Run {
    /// With these people in it, and this file about them.
    fn of(folder: &Path, crm: &str, people: &str) -> Self {
        let served = Served::start(&folder.join("data"));
        let run = Self {
            served,
            people: folder.join("people.csv"),
            answers: folder.join("answers.csv"),
            folder: folder.to_owned(),
        };
        fs::write(&run.people, people).unwrap();
        run.import("crm", crm);
        run
    }

    fn import(&self, source: &str, rows: &str) {
        let file = self.folder.join(format!("{source}.csv"));
        fs::write(&file, rows).unwrap();
        self.served.fine(&["import", text(&file), "--source", source]);
    }

    /// What became of each row: the answer, the request's number, the note.
    fn erase(&self, by: &str) -> Vec<[String; 3]> {
        let file = ["--file", text(&self.people), "--answers", text(&self.answers), "--yes", "--by", by];
        self.served.fine(&[&["erase"], &file[..]].concat());
        self.answered()
    }

    fn answered(&self) -> Vec<[String; 3]> {
        let text = fs::read_to_string(&self.answers).unwrap();
        let row = |row: &str| {
            let cells: Vec<&str> = row.split(',').collect();
            [cells[1], cells[2].rsplit('/').next().unwrap(), cells[3]].map(str::to_owned)
        };
        text.lines().skip(1).map(row).collect()
    }

    fn requests(&self) -> usize {
        self.served.fine(&["requests", "list", "--json"]).matches("\"receivedTime\"").count()
    }

    fn is_there(&self, email: &str) -> bool {
        self.served.run(&["lookup", "email", email]).0
    }
}

fn answers(rows: &[[String; 3]]) -> Vec<&str> {
    rows.iter().map(|[answer, ..]| answer.as_str()).collect()
}

/// Where the server did not know the names of a run's calls any more (here: those of another officer), whoever was erased was
/// answered "nothing-held", with one more request; and so was a person's second row.
#[test]
fn a_file_is_answered_alike_however_late_it_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let crm = "id,email,phone\n7,mia@harbour-mail.net,+14155552671\n8,nora@harbour-mail.net,+13035550177\n";
    let people = "email,mia@harbour-mail.net\nphone,+14155552671\nemail,mia@harbour-mail.net\n\
                  email,nora@harbour-mail.net\nemail,late@harbour-mail.net\nemail,late@harbour-mail.net\n";
    let run = Run::of(folder.path(), crm, people);
    let first = run.erase("officer");
    assert_eq!(answers(&first), ["erased", "erased", "erased", "erased", "nothing-held", "nothing-held"]);
    assert!(!run.is_there("mia@harbour-mail.net") && !run.is_there("nora@harbour-mail.net"));
    let of = |row: usize| first[row][1].as_str();
    assert!(of(0) == of(1) && of(0) == of(2) && of(0) != of(3) && of(4) == of(5), "one person, one request: {first:?}");
    assert_eq!(run.requests(), 3);

    assert_eq!(run.erase("berta"), first);
    fs::remove_file(&run.answers).unwrap();
    assert_eq!(run.erase("officer"), first);
    assert_eq!(run.requests(), 3, "nothing was taken in anew");
    let log = fs::read_to_string(folder.path().join("answers.csv.log")).unwrap();
    assert!(!log.contains('@') && !log.contains("4155552671"), "{log}");

    // A log that ends in the middle of a row: a request's number that was cut leads nowhere.
    let cut = log.trim_end().rfind(',').unwrap() - 1;
    fs::write(folder.path().join("answers.csv.log"), &log[..cut]).unwrap();
    assert_eq!(run.erase("officer"), first);

    // Somebody who was not there then, and is now.
    run.import("shop", "id,email\n1,late@harbour-mail.net\n");
    let again = run.erase("cleo");
    assert_eq!(answers(&again), ["erased"; 6]);
    assert!(!run.is_there("late@harbour-mail.net"));
    assert!(again[..4] == first[..4] && again[4][1] != first[4][1] && again[4] == again[5], "{again:?}");
    assert_eq!(run.erase("berta"), again);
    run.served.stop();
}

/// What was approved is another scope by now: such a row failed for ever, and nothing said why.
#[test]
fn what_changed_since_it_was_approved_waits_for_another_approval() {
    let folder = tempfile::tempdir().unwrap();
    let crm = "id,email\n7,mia@harbour-mail.net\n8,nora@harbour-mail.net\n9,cleo@harbour-mail.net\n";
    let people = "email,mia@harbour-mail.net\nemail,nora@harbour-mail.net\nrecord,crm,7\nemail,cleo@harbour-mail.net\n";
    let run = Run::of(folder.path(), crm, people);
    run.served.fine(&["requests", "policy", "--second-person", "true"]);
    let waits = run.erase("officer");
    assert_eq!(answers(&waits), ["waits"; 4]);
    assert_eq!(run.erase("berta"), waits, "with the same requests");
    assert_eq!((&waits[0], run.requests()), (&waits[2], 3));

    let approve = |row: &[String; 3]| {
        let etag = row[2].rsplit(' ').next().unwrap();
        run.served.fine(&["requests", "approve", &row[1], "--etag", etag, "--by", "counsel"]);
    };
    approve(&waits[0]);
    run.served.fine(&["requests", "refuse", &waits[1][1], "--ground", "legal-hold"]);
    run.import("shop", "id,email\n1,mia@harbour-mail.net\n");
    let changed = run.erase("officer");
    assert_eq!(answers(&changed), ["waits", "refused", "waits", "waits"]);
    assert!(changed[0][2].starts_with("it changed since it was approved; a second person must"), "{changed:?}");
    assert_eq!((&changed[1][2], &changed[3]), (&"legal-hold".to_owned(), &waits[3]));
    assert!(run.is_there("mia@harbour-mail.net"));

    approve(&changed[0]);
    let done = run.erase("officer");
    assert_eq!(answers(&done), ["erased", "refused", "erased", "waits"]);
    assert!(!run.is_there("mia@harbour-mail.net") && run.is_there("nora@harbour-mail.net"));
    assert_eq!(run.requests(), 3);
    run.served.stop();
}

/// One of two runs at once ended in the middle, since a request was in progress.
#[test]
fn two_runs_of_one_file_at_once_both_say_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = || 0..60;
    let crm: String = numbers().map(|number| format!("{number},u{number}@harbour-mail.net\n")).collect();
    let people: String = numbers().map(|number| format!("email,u{number}@harbour-mail.net\n")).collect();
    let run = Run::of(folder.path(), &format!("id,email\n{crm}"), &people);
    let other = folder.path().join("other.csv");
    let mut beside = onefold();
    beside.args(["erase", "--file", text(&run.people), "--answers", text(&other), "--yes"]);
    let beside = beside.env("ONEFOLD_ADDR", &run.served.address).spawn().unwrap();
    assert_eq!(answers(&run.erase("officer")), ["erased"; 60]);
    assert!(beside.wait_with_output().unwrap().status.success());
    assert_eq!(fs::read(&other).unwrap(), fs::read(&run.answers).unwrap());
    assert_eq!(run.requests(), 60);
    run.served.stop();
}
