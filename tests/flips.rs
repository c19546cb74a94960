//! Any single bit of what lies on disk is flipped: of the log, the vault, checkpoints, keys, the erasure ledger, signed
//! heads, the log of reads, sled's directory, a receipt, a backup. It is found and named by `onefold doctor`, `onefold audit
//! verify`, the start, or the answer that needs it; and nothing wrong is ever served.
//!
//! `ONEFOLD_FLIPS=500` is the long form, so many bits a part; the seed is printed.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use onefold_core::decision::{EntryKind, Sealed};
use onefold_core::hierarchy::entry::Subject;
use onefold_proto::v1 as pb;
use onefold_server::doctor::{self, Level};
use onefold_server::{Config, Server, audit};
use onefold_store::erasures::ErasureLedger;
use onefold_store::journal::{Journal, JournalOptions};
use onefold_tests::accounts::account;
use onefold_tests::backups::{back_up, restore_after};
use onefold_tests::canary::{canary, mail};
use onefold_tests::child::copy_of;
use onefold_tests::consent::{at, of_record, said};
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::journey::{arrive, prepare};
use onefold_tests::{Clients, House, person, reason};

const SEGMENT_BYTES: u32 = 4 << 20;
const PEOPLE: usize = 9;
/// The vault's file: what stands in front of the slots, and the bytes of one.
const VAULT_HEAD: usize = 64;
const SLOT: usize = 32;

fn config(data: &Path) -> Config {
    let mut config = House::config(data);
    config.segment_bytes = SEGMENT_BYTES;
    config
}

/// Names of what is looked at.
struct Known {
    profiles: Vec<String>,
    receipts: Vec<String>,
    /// The last slot of the vault that something was sealed under.
    last_slot: usize,
}

/// A directory with some of everything, twice erased, twice started; and a backup of it.
async fn lived_in(data: &Path, backup: &Path) -> Known {
    let mut house = House::open_with(config(data)).await;
    prepare(&mut house).await;
    let policy = pb::PrivacyPolicy { read_log: pb::ReadLogMode::On as i32, ..Default::default() };
    let request = pb::UpdatePrivacyPolicyRequest { policy: Some(policy), ..Default::default() };
    house.privacy.update_privacy_policy(request).await.unwrap();
    let mut profiles = BTreeSet::new();
    for who in 0..PEOPLE {
        arrive(&mut house, who).await.unwrap();
        profiles.insert(house.lookup("email", &mail(who)).await.unwrap().name);
    }
    // Histories: two become one, and two again.
    for turn in 0..3 {
        let both = [("email", &*mail(turn)), ("email", &*format!("also-{}", mail(turn)))];
        let other = house.put(person("shop", &format!("b{turn}"), 10, &both[1..], &[])).await;
        profiles.insert(other.profile);
        house.put(person("shop", &format!("c{turn}"), 10, &both, &[])).await;
        house.retract("shop", &format!("c{turn}"), 20).await;
    }
    let first = house.forget(vec![at("email", &mail(1))]).await.unwrap();
    house.close().await;
    let mut house = House::open_with(config(data)).await;
    house.may(at("email", &mail(2)), true).await.unwrap();
    let second = house.forget(vec![at("email", &mail(4))]).await.unwrap();
    house.put(person("crm", "late", 10, &[("email", "late@harbour-mail.net")], &[("note", "late")])).await;
    for who in [0, 2, 6] {
        house.say(at("email", &mail(who)), said(pb::ConsentDecision::Objected, 30)).await.unwrap();
    }
    let receipts = vec![first.name, second.name];
    back_up(&mut house, backup).await;
    house.close().await;
    Known { profiles: profiles.into_iter().collect(), receipts, last_slot: last_slot(data) }
}

fn last_slot(data: &Path) -> usize {
    let mut last = 0;
    let options = JournalOptions { dir: data.join("journal"), segment_bytes: SEGMENT_BYTES };
    drop(Journal::open(options, None, |batch| {
        for entry in batch.entries() {
            let (Some(kind), Some(payload)) = (EntryKind::from_u8(entry.kind.0), entry.bytes()) else { continue };
            let slot = match kind {
                EntryKind::FragmentPut
                | EntryKind::Quarantined
                | EntryKind::QuarantinedSaying
                | EntryKind::StatementRecorded
                | EntryKind::JudgementStated => Sealed::parse(payload)?.slot,
                EntryKind::AccountPut | EntryKind::AffiliationStated => Subject::parse(payload)?.0.slot,
                _ => continue,
            };
            last = last.max(slot.0 as usize);
        }
        Ok(())
    }));
    last
}

/// A contact is denied since something that is needed to decide cannot be read.
const IN_DOUBT: &str = "in doubt, deny";

/// What the server answers to each of many questions: the answer, or the reason and the words of its error.
type Answers = Vec<(String, Result<String, String>)>;

async fn everything(clients: &mut Clients, known: &Known) -> Answers {
    fn note<T: std::fmt::Debug>(all: &mut Answers, what: String, told: Result<T, tonic::Status>) {
        let told = told.map(|told| format!("{told:?}"));
        all.push((what, told.map_err(|status| format!("{}: {}", reason(&status), status.message()))));
    }
    let mut all = Answers::new();
    let request = pb::GetDigestRequest { include_golden_values: true, ..Default::default() };
    let digest = clients.admin.get_digest(request).await.map(|told| told.into_inner());
    note(&mut all, "digest".to_owned(), digest.map(|told| (told.graph_digest, told.golden_digest)));
    note(&mut all, "snapshot".to_owned(), clients.snapshot("").await);
    note(&mut all, "events".to_owned(), clients.events("", 0).await);
    for name in &known.profiles {
        note(&mut all, format!("profile {name}"), clients.get(name).await);
        let request = pb::ListProfileHistoryRequest { name: name.clone(), page_size: 1_000, ..Default::default() };
        let told = clients.profiles.list_profile_history(request).await.map(|told| told.into_inner().events);
        note(&mut all, format!("history of {name}"), told);
    }
    for who in 0..PEOPLE {
        note(&mut all, format!("lookup {who}"), clients.lookup("email", &mail(who)).await);
        note(&mut all, format!("statements {who}"), clients.statements(at("email", &mail(who))).await);
        note(&mut all, format!("said at {who}"), clients.statements(of_record("shop", &canary(who))).await);
        let verdict = clients.may(at("email", &mail(who)), false).await.and_then(|verdict| {
            // What cannot be read denies, and says so.
            let reasons: Vec<String> = verdict.reasons.iter().map(|one| one.reason.clone()).collect();
            let unknown = !verdict.allowed && reasons.iter().any(|reason| reason == "UNAVAILABLE");
            if unknown { Err(tonic::Status::unavailable(IN_DOUBT)) } else { Ok((verdict.allowed, reasons)) }
        });
        note(&mut all, format!("contact {who}"), verdict);
    }
    let request = pb::ListQuarantineRequest { include_fragments: true, ..Default::default() };
    note(
        &mut all,
        "quarantine".to_owned(),
        clients.ingest.list_quarantine(request).await.map(|told| told.into_inner()),
    );
    let request = pb::ListJudgementsRequest::default();
    note(&mut all, "judgements".to_owned(), clients.reviews.list_judgements(request).await.map(|t| t.into_inner()));
    note(&mut all, "account".to_owned(), clients.get_account(account("crm", "acme")).await);
    let of = account("crm", "acme").map(pb::list_affiliations_request::Of::Account);
    let request = pb::ListAffiliationsRequest { of, ..Default::default() };
    note(&mut all, "roles".to_owned(), clients.accounts.list_affiliations(request).await.map(|told| told.into_inner()));
    note(&mut all, "requests".to_owned(), clients.privacy_requests(false).await);
    for name in &known.receipts {
        note(&mut all, format!("receipt of {name}"), clients.receipt(name).await);
    }
    all
}

/// A part of the directory.
struct Part {
    name: &'static str,
    /// Where its files begin.
    paths: &'static [&'static str],
    /// Of its findings, what `doctor` looked at; and words of errors that name it.
    checks: &'static [&'static str],
    words: &'static [&'static str],
    /// Up to which byte of a file every bit matters; behind it a flip may be without harm.
    matters: fn(&Known, &[u8]) -> usize,
}

/// A file of which every bit matters.
fn all_of(_: &Known, bytes: &[u8]) -> usize {
    bytes.len()
}

/// A text whose line may end in another white space.
fn text_of(_: &Known, bytes: &[u8]) -> usize {
    bytes.trim_ascii_end().len()
}

/// A log has room behind its end, which is zeroes.
fn written(_: &Known, bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

const PARTS: [Part; 11] = [
    Part {
        name: "the log",
        paths: &["journal/"],
        checks: &["journal", "checkpoint"],
        words: &["log", "journal"],
        matters: written,
    },
    Part {
        name: "the vault",
        paths: &["vault/"],
        checks: &["vault", "erasures"],
        words: &["vault", "slot"],
        matters: |known, _| VAULT_HEAD + (known.last_slot + 1) * SLOT,
    },
    Part {
        name: "a checkpoint",
        paths: &["checkpoint/", "keys/checkpoint"],
        checks: &["checkpoint"],
        words: &["checkpoint"],
        matters: all_of,
    },
    Part {
        name: "the root key",
        paths: &["keys/root"],
        checks: &["directory", "root key"],
        words: &["root key", "root.key"],
        matters: text_of,
    },
    Part {
        name: "the format",
        paths: &["FORMAT"],
        checks: &["directory"],
        words: &["FORMAT", "format", "release"],
        matters: text_of,
    },
    Part {
        name: "the erasure ledger",
        paths: &["erasures/ledger"],
        checks: &["erasures"],
        words: &["erasure ledger"],
        matters: all_of,
    },
    // A start writes it anew; a restore refuses it.
    Part {
        name: "the ledger of stops",
        paths: &["erasures/stops"],
        checks: &["stops"],
        words: &["ledger of stops"],
        matters: all_of,
    },
    // Likewise.
    Part {
        name: "the ledger of revocations",
        paths: &["erasures/revocations"],
        checks: &["revocations"],
        words: &["ledger of revocations"],
        matters: all_of,
    },
    Part {
        name: "the signed heads",
        paths: &["heads/"],
        checks: &[],
        words: &["heads.jsonl", "signed heads"],
        matters: all_of,
    },
    Part {
        name: "the log of reads",
        paths: &["reads/"],
        checks: &["log of reads"],
        words: &["log of reads"],
        matters: written,
    },
    // What sled keeps of itself has holes, and pages that nothing needs any more.
    Part { name: "sled", paths: &["keyed/"], checks: &["keyed store"], words: &["keyed"], matters: |_, _| 0 },
];

/// Every file below, by its path from `dir`.
fn files(dir: &Path) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path)
            } else {
                found.push(path.strip_prefix(dir).unwrap().display().to_string())
            }
        }
    }
    found.sort();
    found
}

/// Bits to flip of a file: of its first and last bytes and of what says how long something is, and some of all that was
/// written.
fn bits(bytes: &[u8], some: usize, dice: &mut Dice) -> BTreeSet<usize> {
    let end = written_of(bytes);
    let mut places: BTreeSet<usize> = [0, 8, 16, 24, 64].into_iter().filter(|at| *at < end).collect();
    places.extend(end.checked_sub(1));
    let content: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    if !content.is_empty() {
        places.extend((0..some).map(|_| *dice.pick(&content)));
    }
    places.extend((0..some / 8).map(|_| dice.index(bytes.len())));
    places.into_iter().map(|at| 8 * at + dice.index(8)).collect()
}

fn written_of(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

/// What names the damage: `doctor`, `audit verify`, the start, or answers. What denies in doubt and says no more. And what is
/// wrong: answers that are others.
struct Verdict {
    named: Vec<String>,
    in_doubt: Vec<String>,
    wrong: Vec<String>,
}

/// A directory without damage answers everything, and gives nobody anything to name.
fn assert_sound(whole: &Path, dir: &Path, sound: &Answers) {
    let copy = dir.join("sound");
    copy_of(whole, &copy, &[]);
    let findings = doctor::examine(&copy, None);
    let bad: Vec<_> = findings.iter().filter(|finding| finding.level == Level::Fault).collect();
    assert!(bad.is_empty(), "{bad:?}");
    let named = |finding: &&doctor::Finding| {
        finding.level != Level::Fine && PARTS.iter().any(|part| part.checks.contains(&finding.check))
    };
    let named: Vec<_> = findings.iter().filter(named).filter(|finding| finding.check != "root key").collect();
    assert!(named.is_empty(), "{named:?}");
    audit::verify(&copy, None, None).unwrap();
    fs::remove_dir_all(&copy).unwrap();
    let gone = ["PROFILE_ERASED", "PROFILE_NOT_FOUND", "PROFILE_EMPTIED"];
    for (what, told) in sound {
        match told {
            Ok(told) => assert!(!told.contains("DAMAGED"), "{what}: {told}"),
            Err(error) => assert!(gone.iter().any(|reason| error.starts_with(reason)), "{what}: {error}"),
        }
    }
    let of =
        |what: &'static str| sound.iter().filter(move |(of, _)| of.starts_with(what)).map(|(_, told)| told.as_ref());
    assert_eq!(of("lookup").filter(Result::is_ok).count(), PEOPLE - 2, "two were erased");
    assert_eq!(of("receipt of").filter(Result::is_ok).count(), 2);
    assert!(of("contact").all(|told| told.is_ok()), "nothing is in doubt");
    for what in
        ["snapshot", "events", "statements", "said at", "history of", "quarantine", "judgements", "account", "roles"]
    {
        // An empty list proves nothing.
        assert!(of(what).any(|told| told.is_ok_and(|told| told.len() > 60)), "{what} shows something");
    }
}

async fn verdict(whole: &Path, part: &Part, file: &str, bit: usize, (known, sound): (&Known, &Answers)) -> Verdict {
    let dir = tempfile::tempdir_in(whole.parent().unwrap()).unwrap();
    let bent = |name: &str| {
        let copy = dir.path().join(name);
        copy_of(whole, &copy, &[]);
        flip(&copy.join(file), bit);
        copy
    };
    let (mut named, mut in_doubt, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let names = |said: &str| part.words.iter().any(|word| said.contains(word));
    for finding in doctor::examine(&bent("doctor"), None) {
        if finding.level != Level::Fine && part.checks.contains(&finding.check) && finding.check != "root key" {
            named.push(format!("doctor: {}: {}", finding.check, finding.what));
        }
    }
    match audit::verify(&bent("audit"), None, None) {
        Err(error) if names(&error.to_string()) => named.push(format!("audit: {error}")),
        Err(error) => wrong.push(format!("the audit names something else: {error}")),
        Ok(_) => {}
    }
    match Server::start(config(&bent("start"))).await {
        Err(error) if names(&error.to_string()) => named.push(format!("start: {error}")),
        Err(error) => wrong.push(format!("the start names something else: {error}")),
        Ok(server) => {
            let mut clients = Clients::connect(server.address()).await.unwrap();
            let seen = everything(&mut clients, known).await;
            for ((what, seen), (_, sound)) in seen.iter().zip(sound) {
                match seen {
                    seen if seen == sound => {}
                    Err(error) if error.contains("_DAMAGED: ") => named.push(format!("{what}: {error}")),
                    Err(error) if error.contains(IN_DOUBT) => in_doubt.push(what.clone()),
                    // One that is damaged hides no other.
                    Ok(list) if list.contains("reason: \"DAMAGED\"") => named.push(format!("{what}: {list}")),
                    seen => wrong.push(format!(
                        "{what}: {:.300} instead of {:.300}",
                        format!("{seen:?}"),
                        format!("{sound:?}")
                    )),
                }
            }
            drop(clients);
            // What a server that met damage says at its end is its own affair.
            let _ = server.stop().await;
        }
    }
    Verdict { named, in_doubt, wrong }
}

/// Where a bent bit makes the words of somebody who is here name a key that was destroyed: file and bit.
fn under_destroyed_keys(data: &Path) -> Vec<(String, usize)> {
    let erased = ErasureLedger::read(&ErasureLedger::path(data)).unwrap();
    let gone: BTreeSet<u32> = erased.iter().flat_map(|row| &row.erased.slots).map(|slot| slot.0).collect();
    let mut bits = Vec::new();
    let options = JournalOptions { dir: data.join("journal"), segment_bytes: SEGMENT_BYTES };
    drop(Journal::open(options, None, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == EntryKind::StatementRecorded as u8) {
            let Some(payload) = entry.bytes() else { continue };
            let slot = Sealed::parse(payload)?.slot.0;
            if gone.contains(&slot) {
                continue;
            }
            let file = format!("journal/{:010}.seg", entry.place.segment);
            let bytes = fs::read(data.join(&file)).unwrap();
            let from = entry.place.offset as usize;
            let at = from + bytes[from..].windows(payload.len()).position(|window| window == payload).unwrap();
            // Behind the version the number of the slot.
            let bent = (0..31).filter(|bit| gone.contains(&(slot ^ (1 << bit))));
            bits.extend(bent.map(|bit| (file.clone(), (at + 1) * 8 + bit)));
        }
        Ok(())
    }));
    bits
}

/// Words that say that they are gone are believed only where the log's chain says so too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bit_that_makes_words_name_a_destroyed_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
    let known = lived_in(&data, &backup).await;
    let copy = dir.path().join("copy");
    copy_of(&data, &copy, &[]);
    let mut house = House::open_with(config(&copy)).await;
    let sound = everything(&mut house, &known).await;
    house.close().await;
    let log = PARTS.iter().find(|part| part.name == "the log").unwrap();
    let bits = under_destroyed_keys(&data);
    assert!(!bits.is_empty(), "some key that is there is a bit away from one that was destroyed");
    for (file, bit) in bits.into_iter().take(how_many("ONEFOLD_FLIPS", 2).max(4)) {
        let verdict = verdict(&data, log, &file, bit, (&known, &sound)).await;
        assert_eq!(verdict.wrong, Vec::<String>::new(), "bit {bit} of {file}");
        assert!(verdict.named.iter().any(|named| named.starts_with("statements")), "{:?}", verdict.named);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_bit_that_is_flipped_is_named_or_harmless_and_nothing_wrong_is_served() {
    let some = how_many("ONEFOLD_FLIPS", 2);
    let mut dice = Dice::from_environment("ONEFOLD_FLIP_SEED", 20_261_131);
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let known = lived_in(&whole, &dir.path().join("backup")).await;
    let copy = dir.path().join("copy");
    copy_of(&whole, &copy, &[]);
    let mut house = House::open_with(config(&copy)).await;
    let sound = everything(&mut house, &known).await;
    house.close().await;
    assert_sound(&whole, dir.path(), &sound);
    let (all, mut faults) = (files(&whole), Vec::new());
    let mut of_parts = BTreeSet::new();
    for part in &PARTS {
        let (mut flipped, mut harmless, mut doubtful) = (0, 0, 0);
        let mine: Vec<&String> =
            all.iter().filter(|file| part.paths.iter().any(|path| file.starts_with(path))).collect();
        assert!(!mine.is_empty(), "{}: {all:?}", part.name);
        of_parts.extend(mine.iter().copied());
        for file in mine {
            let bytes = fs::read(whole.join(file)).unwrap();
            if bytes.is_empty() {
                continue;
            }
            let matters = (part.matters)(&known, &bytes);
            for bit in bits(&bytes, some, &mut dice) {
                let verdict = verdict(&whole, part, file, bit, (&known, &sound)).await;
                let at = format!("{}: bit {} of byte {} of {file}", part.name, bit % 8, bit / 8);
                faults.extend(verdict.wrong.iter().map(|wrong| format!("{at}: {wrong}")));
                // A digit of a key may be written in capitals.
                let turned = bytes[bit / 8] ^ (1 << (bit % 8));
                let same = part.name == "the root key" && turned.eq_ignore_ascii_case(&bytes[bit / 8]);
                if verdict.named.is_empty() && bit / 8 < matters && !same {
                    faults.push(format!("{at} of {} is found by nobody", bytes.len()));
                }
                // To deny in doubt is right, and not enough: somebody must be able to find out why.
                if verdict.named.is_empty() && !verdict.in_doubt.is_empty() {
                    faults.push(format!("{at}: {:?} deny in doubt, and nobody names the damage", verdict.in_doubt));
                }
                flipped += 1;
                harmless += usize::from(verdict.named.is_empty());
                doubtful += usize::from(!verdict.in_doubt.is_empty());
            }
        }
        println!(
            "{}: {flipped} flipped, {} named ({doubtful} also denied in doubt), {harmless} without harm",
            part.name,
            flipped - harmless
        );
    }
    let left_out: Vec<&String> = all.iter().filter(|file| !of_parts.contains(file)).collect();
    assert!(left_out.iter().all(|file| fs::metadata(whole.join(file)).unwrap().len() == 0), "{left_out:?}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_bit_of_a_receipt_or_a_backup_that_is_flipped_is_named() {
    let some = how_many("ONEFOLD_FLIPS", 2);
    let mut dice = Dice::from_environment("ONEFOLD_FLIP_SEED", 20_261_132);
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
    let known = lived_in(&data, &backup).await;
    let mut house = House::open_with(config(&data)).await;
    let receipt = house.receipt(&known.receipts[0]).await.unwrap();
    let trusted = house.receipt_key().await.unwrap();
    house.close().await;
    let file = dir.path().join("receipt.json");
    fs::write(&file, &receipt).unwrap();
    audit::verify_receipt_in(&data, None, &file).unwrap();
    audit::verify_receipt(&receipt, Some(&trusted)).unwrap();
    let mut flipped = 0;
    for bit in bits(receipt.as_bytes(), 20 * some, &mut dice) {
        flip(&file, bit);
        let found = audit::verify_receipt_in(&data, None, &file).map_err(|error| error.to_string());
        assert!(found.as_ref().is_err_and(|error| error.contains("receipt")), "bit {bit}: {found:?}");
        if let Ok(text) = fs::read_to_string(&file) {
            assert!(audit::verify_receipt(&text, Some(&trusted)).is_err(), "bit {bit}");
        }
        flip(&file, bit);
        flipped += 1;
    }
    audit::verify_receipt_in(&data, None, &file).unwrap();
    println!("a receipt: {flipped} flipped");

    let nowhere = dir.path().join("nowhere");
    flipped = 0;
    for file in files(&backup) {
        let bytes = fs::read(backup.join(&file)).unwrap();
        for bit in bits(&bytes, some, &mut dice) {
            flip(&backup.join(&file), bit);
            let found = restore_after(&data, &backup, &nowhere).map_err(|error| error.to_string());
            assert!(found.as_ref().is_err_and(|error| error.contains(&file)), "bit {bit} of {file}: {found:?}");
            assert!(!nowhere.exists(), "nothing is left that a server would start on");
            flip(&backup.join(&file), bit);
            flipped += 1;
        }
    }
    println!("a backup: {flipped} flipped");
    assert_eq!(restore_after(&data, &backup, &nowhere).unwrap().known, 2);
}
