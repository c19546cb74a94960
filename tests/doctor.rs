//! `onefold doctor`: what is wrong with a data directory is found, named, and told apart from what a start mends by itself.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use onefold_core::decision;
use onefold_core::ids::Sequence;
use onefold_server::Server;
use onefold_server::doctor::{Finding, Level, examine};
use onefold_store::journal::{EntryKind, Journal, JournalOptions};
use onefold_tests::consent::of_record;
use onefold_tests::{House, SEGMENT_BYTES, person};

/// A directory with some of everything: fragments, an erasure, a checkpoint.
async fn lived_in(data: &Path) -> String {
    let mut house = House::open(data).await;
    house.sources(&["crm"]).await;
    for who in 0..40 {
        let mail = format!("somebody{who}@harbour-mail.net");
        house.put(person("crm", &who.to_string(), 10, &[("email", &mail)], &[("given_name", "Ada")])).await;
    }
    house.forget(vec![of_record("crm", "7")]).await.unwrap();
    house.close().await;
    // Another run begins another segment of the journal.
    let mut house = House::open(data).await;
    house.put(person("crm", "late", 10, &[("email", "late@harbour-mail.net")], &[])).await;
    let digest = house.graph_digest().await;
    house.close().await;
    digest
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { assert!(fs::copy(&path, &target).is_ok()) }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The findings that are not as they should be.
fn bad(findings: &[Finding]) -> Vec<(&'static str, Level)> {
    findings.iter().filter(|one| one.level != Level::Fine).map(|one| (one.check, one.level)).collect()
}

/// What this machine says of itself, and of a key that lies with the data: neither is about the directory's content.
const ALWAYS: [&str; 3] = ["file descriptors", "disk", "root key"];

fn of_content(findings: &[Finding]) -> Vec<(&'static str, Level)> {
    bad(findings).into_iter().filter(|(check, level)| *level == Level::Fault || !ALWAYS.contains(check)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_order_has_no_faults_and_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let digest = lived_in(&data).await;
    for _ in 0..2 {
        let findings = examine(&data, None);
        assert_eq!(of_content(&findings), [], "{findings:#?}");
        let checks: Vec<_> = findings.iter().map(|one| one.check).collect();
        for check in [
            "directory",
            "permissions",
            "root key",
            "journal",
            "vault",
            "erasures",
            "stops",
            "revocations",
            "checkpoint",
            "keyed store",
        ] {
            assert!(checks.contains(&check), "{check} was looked at: {checks:?}");
        }
        let of = |check| findings.iter().find(|one| one.check == check).unwrap();
        assert!(of("vault").what.contains("key was destroyed"), "{}", of("vault").what);
        assert!(of("erasures").what.starts_with("1 in the journal"), "{}", of("erasures").what);
        assert!(
            findings.iter().all(|one| (one.level == Level::Fine) == one.advice.is_empty()),
            "advice where it is needed"
        );
    }
    let mut house = House::open(&data).await;
    assert_eq!(house.graph_digest().await, digest);
    let findings = examine(&data, None);
    let in_use = findings.iter().find(|one| one.level == Level::Fault).unwrap();
    assert!(in_use.what.contains("in use") && in_use.advice.contains("stop the server"), "{in_use:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named_and_what_a_start_mends_is_only_a_warning() {
    type Harm = fn(&Path);
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let digest = lived_in(&whole).await;
    let table: [(&str, Harm, &str, Level); 10] = [
        ("no FORMAT", |data| fs::remove_file(data.join("FORMAT")).unwrap(), "directory", Level::Fault),
        ("a journal bit", |data| flip(&files(&data.join("journal"))[0], 2_000), "journal", Level::Fault),
        ("a segment gone", |data| fs::remove_file(&files(&data.join("journal"))[0]).unwrap(), "journal", Level::Fault),
        (
            "keys flipped",
            |data| {
                let file =
                    files(&files(&data.join("vault"))[0]).into_iter().max_by_key(|f| f.metadata().unwrap().len());
                let file = file.unwrap();
                let most = usize::try_from(file.metadata().unwrap().len()).unwrap();
                (100..most.min(3_000)).step_by(16).for_each(|at| flip(&file, at));
            },
            "vault",
            Level::Fault,
        ),
        ("vault gone", |data| fs::remove_dir_all(&files(&data.join("vault"))[0]).unwrap(), "vault", Level::Fault),
        (
            "an open key",
            |data| fs::set_permissions(data.join("keys/root.key"), fs::Permissions::from_mode(0o644)).unwrap(),
            "directory",
            Level::Fault,
        ),
        ("no stops", |data| fs::remove_file(data.join("erasures/stops")).unwrap(), "stops", Level::Warning),
        ("the ledger gone", |data| fs::remove_file(data.join("erasures/ledger")).unwrap(), "erasures", Level::Warning),
        (
            "a checkpoint bit",
            |data| {
                let newest = files(&data.join("checkpoint")).pop().unwrap();
                flip(&newest, usize::try_from(newest.metadata().unwrap().len() / 2).unwrap());
            },
            "checkpoint",
            Level::Warning,
        ),
        (
            "sled cut",
            |data| {
                let sled = data.join("keyed/sled/db");
                let bytes = fs::read(&sled).unwrap();
                fs::write(&sled, vec![0xAA; bytes.len()]).unwrap();
            },
            "keyed store",
            Level::Warning,
        ),
    ];
    for (name, harm, check, level) in table {
        let data = dir.path().join(name.replace(' ', "-"));
        copy(&whole, &data);
        harm(&data);
        let findings = examine(&data, None);
        let found = bad(&findings);
        // sled itself may cut what it cannot read, and then it is an empty store: no less made anew by the start.
        let is_empty = findings.iter().any(|one| one.check == check && one.what.contains("it is empty"));
        assert!(found.contains(&(check, level)) || is_empty, "{name}: {findings:#?}");
        let faulty = findings.iter().any(|one| one.level == Level::Fault);
        assert_eq!(faulty, level == Level::Fault, "{name}: {findings:#?}");
        assert!(findings.iter().all(|one| !one.what.contains("harbour-mail")), "{name}");
        if level == Level::Warning {
            // What is said is true: a start mends it.
            let mut house = House::open(&data).await;
            assert_eq!(house.graph_digest().await, digest, "{name}");
            house.close().await;
            assert_eq!(of_content(&examine(&data, None)), [], "{name}");
        }
    }
    let other = dir.path().join("other.key");
    fs::write(&other, "ab".repeat(32)).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
    let findings = examine(&whole, Some(&other));
    assert!(
        findings.iter().any(|one| one.level == Level::Fault && one.advice.contains("--root-key-file")),
        "{findings:#?}"
    );
}

/// Nobody writes it but who forges a journal, checksums and all; the next entry would have had no number.
#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_no_tenant_reaches_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    lived_in(&data).await;
    let options = JournalOptions { dir: data.join("journal"), segment_bytes: SEGMENT_BYTES };
    let mut tenant = None;
    let mut opened = Journal::open(options, None, |batch| {
        tenant = batch.entries().last().map(|entry| entry.tenant).or(tenant);
        Ok(())
    })
    .unwrap();
    opened.appender.ensure_room(4_096).unwrap();
    let mut batch = opened.appender.begin().unwrap();
    let kind = EntryKind(decision::EntryKind::FragmentPut as u8);
    batch.push(tenant.unwrap(), Sequence(u64::MAX), kind, |_, payload| payload.push(1)).unwrap();
    let batch = opened.appender.seal(batch, 0).unwrap();
    opened.writer.write(batch).unwrap();
    opened.writer.sync().unwrap();
    drop(opened);
    let refused = Server::start(House::config(&data)).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("which no tenant reaches"), "{refused}");
}
