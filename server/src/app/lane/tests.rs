//! Settlements that no batch holds, on segments so small that ordinary ones are such.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use onefold_core::change::ProfileChange;
use onefold_core::config::{Contract, Source};
use onefold_core::decision::Settled;
use onefold_core::fragment::{Fragment, Identifier, PartyKind, SourceRecord};
use onefold_core::ids::{NamespaceId, ProfileOrdinal, SourceId};
use onefold_core::namespace::NamespaceClass;
use tokio::runtime::Runtime;

use super::settle::{SETTLED_CHANGES_MAX, change_bytes_max, entry_of};
use super::*;
use crate::app::App;
use crate::app::feed::Cursor;
use crate::app::ingest::Item;
use crate::app::recover::{self, Opened};
use crate::app::statistics;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::grpc::DEFAULT_TENANT;
use crate::metrics::Meters;

const SEGMENT_BYTES: u32 = 64 << 10;
const PAIRS: usize = 6_000;

fn open(data: &Path) -> Opened {
    let mut config = Config::new(data, ([127, 0, 0, 1], 0).into());
    config.segment_bytes = SEGMENT_BYTES;
    config.match_models = false;
    recover::open(&config, Arc::new(SystemClock), Arc::new(Meters::new(crate::grpc::calls()))).unwrap()
}

fn digest(app: &App) -> String {
    let tenant = app.tenant(DEFAULT_TENANT).unwrap();
    statistics::digest(app, &tenant, false).unwrap().graph.to_hex().to_string()
}

fn profiles(app: &App) -> u32 {
    app.tenant(DEFAULT_TENANT).unwrap().state().engine.stats().profiles
}

/// Two records of each of many people, who share a customer number.
fn item(config: &crate::app::tenant::LiveConfig, namespace: NamespaceId, at: usize) -> Item {
    Item::of(fragment(namespace, at), false, config, onefold_core::fragment::ObservedAt(2_000_000))
}

fn fragment(namespace: NamespaceId, at: usize) -> Fragment {
    Fragment {
        record: SourceRecord { source: SourceId(0), key: at.to_string() },
        observed_at: onefold_core::fragment::ObservedAt(1_000_000),
        party: PartyKind::Person,
        identifiers: vec![Identifier { namespace, raw: format!("cust{}", at / 2) }],
        attributes: Vec::new(),
        traits: None,
        affiliations: Vec::new(),
        stages: Vec::new(),
    }
}

async fn make_namespace(app: &App, class: NamespaceClass) -> NamespaceId {
    let tenant = app.tenant(DEFAULT_TENANT).unwrap();
    let mut namespace = tenant.config().config.namespace_named("user_id").unwrap().clone();
    namespace.class = class;
    match app.put_namespace(&tenant, namespace, String::new(), None).await.unwrap() {
        Changed::Namespace(put) => put.id,
        other => panic!("{other:?}"),
    }
}

/// Ends of the batches that hold a settlement which goes on in the next entry, and how many batches hold settlements of
/// more than one part.
fn unfinished(app: &App) -> Vec<Place> {
    let mut ends = BTreeSet::new();
    let scanned = app.shared.journal.scan(Place { segment: 1, offset: 0 }, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind == kind(EntryKind::Settled)) {
            let settled = Settled::decode(entry.bytes().unwrap_or_default())?;
            if settled.more {
                ends.insert((batch.end.segment, batch.end.offset));
            } else {
                // The batch ends with the settlement's last part: a start that is cut off here has all of it.
                ends.remove(&(batch.end.segment, batch.end.offset));
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    scanned.unwrap();
    ends.into_iter().map(|(segment, offset)| Place { segment, offset }).collect()
}

/// The feed, from its beginning: no event is missing.
fn assert_feed_is_whole(app: &App) -> usize {
    let tenant = app.tenant(DEFAULT_TENANT).unwrap();
    let mut cursor = Cursor::after(&tenant, Sequence(0)).unwrap();
    let (mut last, mut count) = (Sequence(0), 0);
    loop {
        let events = cursor.read(app, &tenant, 512).unwrap();
        if events.is_empty() {
            return count;
        }
        for event in events {
            assert_eq!(event.previous, last, "no gap");
            last = event.sequence;
            count += 1;
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What a power cut at this place of the journal leaves.
fn cut(data: &Path, at: Place) {
    for derived in ["checkpoint", "keyed"] {
        fs::remove_dir_all(data.join(derived)).unwrap();
        fs::create_dir(data.join(derived)).unwrap();
    }
    // A head is signed for what is durable: when the power went there was none beyond this place.
    fs::remove_dir_all(data.join("heads")).unwrap();
    for entry in fs::read_dir(data.join("journal")).unwrap() {
        let path = entry.unwrap().path();
        let number: u32 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        if number > at.segment {
            fs::remove_file(path).unwrap();
        } else if number == at.segment {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(u64::from(at.offset)).unwrap();
        }
    }
}

/// A small file system in memory in the place of a directory, with what was in it; `None`, saying so, where it cannot be
/// mounted.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn under(dir: &Path, bytes: u64) -> Option<Self> {
        let aside = dir.with_extension("aside");
        fs::rename(dir, &aside).unwrap();
        fs::create_dir(dir).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(dir)
            .output();
        if !mount.is_ok_and(|output| output.status.success()) {
            println!("skipped: a small file system cannot be mounted here");
            return None;
        }
        copy(&aside, dir);
        Some(Self(dir.to_owned()))
    }

    fn fill(&self) {
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        while std::io::Write::write_all(&mut ballast, &[1; 4_096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_settlement_larger_than_a_batch_is_whole_whatever_cuts_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let runtime = Runtime::new().unwrap();
    let opened = open(&data);
    let app = Arc::clone(&opened.app);
    let (joined, parted) = runtime.block_on(async {
        let tenant = app.tenant(DEFAULT_TENANT).unwrap();
        let source = Source {
            id: SourceId(0),
            name: "crm".to_owned(),
            display_name: String::new(),
            trust: 5,
            contract: Contract::default(),
        };
        app.put_source(&tenant, source, String::new(), None).await.unwrap();
        let namespace = make_namespace(&app, NamespaceClass::Identifying).await;
        let config = tenant.config();
        for from in (0..2 * PAIRS).step_by(500) {
            let items: Vec<Item> = (from..from + 500).map(|at| item(&config, namespace, at)).collect();
            app.ingest(&tenant, items, None).await.unwrap();
        }
        assert_eq!(profiles(&app) as usize, PAIRS);
        let joined = digest(&app);
        make_namespace(&app, NamespaceClass::Supporting).await;
        assert_eq!(profiles(&app) as usize, 2 * PAIRS);
        (joined, digest(&app))
    });
    assert_ne!(joined, parted);
    let cuts = unfinished(&app);
    assert!(!cuts.is_empty(), "the settlement took several batches");
    let events = assert_feed_is_whole(&app);
    drop(app);
    opened.threads.join();
    drop(opened.app);

    let restarted = open(&data);
    assert_eq!(digest(&restarted.app), parted);
    assert_eq!(assert_feed_is_whole(&restarted.app), events);
    restarted.threads.join();
    drop(restarted.app);

    start_without_room(&dir.path().join("full"), &data, cuts[0], &parted, &runtime);
    for (number, at) in cuts.into_iter().enumerate() {
        let copied = dir.path().join(format!("cut{number}"));
        copy(&data, &copied);
        cut(&copied, at);
        let recovered = open(&copied);
        assert_eq!(digest(&recovered.app), parted, "settled at the start, cut at {at:?}");
        assert_feed_is_whole(&recovered.app);
        let tenant = recovered.app.tenant(DEFAULT_TENANT).unwrap();
        let config = tenant.config();
        let known = item(&config, config.namespace_named("user_id").unwrap(), 7);
        let answers = runtime.block_on(recovered.app.ingest(&tenant, vec![known], None)).unwrap();
        assert!(matches!(answers[0].outcome, crate::app::ingest::Outcome::Duplicate { .. }), "{answers:?}");
        recovered.threads.join();
    }
}

/// A start that finds something unsettled and no room to settle it reads, refuses writes, and makes it good.
fn start_without_room(copied: &Path, data: &Path, at: Place, parted: &str, runtime: &Runtime) {
    copy(data, copied);
    cut(copied, at);
    let journal = copied.join("journal");
    let bytes: u64 = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let Some(disk) = SmallDisk::under(&journal, bytes + (8 << 20)) else { return };
    disk.fill();
    let opened = open(copied);
    let app = Arc::clone(&opened.app);
    let tenant = app.tenant(DEFAULT_TENANT).unwrap();
    let config = tenant.config();
    let namespace = config.namespace_named("user_id").unwrap();
    assert!(*app.shared.disk_full().borrow());
    assert_eq!(app.shared.tenants()[0].state().engine.stats().live_records as usize, 2 * PAIRS, "reads go on");
    assert_ne!(digest(&app), parted, "not settled yet");
    let refused = runtime.block_on(app.ingest(&tenant, vec![item(&config, namespace, 2 * PAIRS)], None));
    assert!(matches!(refused, Err(WriteError::DiskFull)), "{refused:?}");
    disk.free();
    let known = runtime.block_on(app.ingest(&tenant, vec![item(&config, namespace, 7)], None)).unwrap();
    assert!(matches!(known[0].outcome, crate::app::ingest::Outcome::Duplicate { .. }), "{known:?}");
    assert_eq!(digest(&app), parted, "settled before the first write");
    assert!(!*app.shared.disk_full().borrow());
    drop(app);
    opened.threads.join();
    drop(opened.app);
    let reopened = open(copied);
    assert_eq!(digest(&reopened.app), parted);
    reopened.threads.join();
    drop(reopened.app);
}

/// A fragment is judged by the contract that is in force when it is committed, whichever its door knew.
#[test]
fn a_contract_that_changes_on_the_way_is_the_one_that_judges() {
    use crate::app::ingest::Outcome;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let runtime = Runtime::new().unwrap();
    let opened = open(&data);
    let app = Arc::clone(&opened.app);
    let tenant = app.tenant(DEFAULT_TENANT).unwrap();
    let source =
        |contract| Source { id: SourceId(0), name: "crm".to_owned(), display_name: String::new(), trust: 5, contract };
    let put = |contract| runtime.block_on(app.put_source(&tenant, source(contract), String::new(), None)).unwrap();
    let ingest = |item| runtime.block_on(app.ingest(&tenant, vec![item], None)).unwrap().remove(0).outcome;
    put(Contract::default());
    let lax = tenant.config();
    let user_id = lax.config.namespace_named("user_id").unwrap().id;
    let phone = lax.config.namespace_named("phone").unwrap().id;
    put(Contract { require_any_namespace: vec![phone], ..Contract::default() });
    let strict = tenant.config();
    // More than fit into a batch as they came through the door, and more still with their faults.
    let many: Vec<Item> = (2..600).map(|at| item(&lax, user_id, at)).collect();
    let held = runtime.block_on(app.ingest(&tenant, many, None)).unwrap();
    assert!(held.iter().all(|answer| matches!(answer.outcome, Outcome::Quarantined { .. })));
    let held = ingest(item(&lax, user_id, 0));
    let Outcome::Quarantined { entry, faults, .. } = held else { panic!("{held:?}") };
    assert_eq!(faults.len(), 1, "as if it had come now: {faults:?}");
    let again = ingest(item(&strict, user_id, 0));
    assert!(matches!(again, Outcome::Quarantined { entry: known, .. } if known == entry), "held once: {again:?}");

    let replay = {
        let (arriving, _) = crate::app::ingest::Arriving::of(&fragment(user_id, 0), false, &lax);
        Item::Replay { arriving: Box::new(arriving), entry }
    };
    let kept = ingest(replay);
    assert!(matches!(kept, Outcome::Quarantined { entry: known, .. } if known == entry), "{kept:?}");
    put(Contract::default());
    let taken = ingest(item(&strict, user_id, 1));
    assert!(matches!(taken, Outcome::Accepted { profile: Some(_), .. }), "{taken:?}");

    let (digest_before, held) = (digest(&app), tenant.state().quarantine.len());
    assert_eq!(held, 599);
    drop((app, tenant));
    opened.threads.join();
    drop(opened.app);
    fs::remove_dir_all(data.join("checkpoint")).unwrap();
    let restarted = open(&data);
    let tenant = restarted.app.tenant(DEFAULT_TENANT).unwrap();
    assert_eq!((digest(&restarted.app), tenant.state().quarantine.len()), (digest_before, held));
    drop(tenant);
    restarted.threads.join();
}

#[test]
fn an_entry_is_bounded_in_bytes_however_large_its_changes() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(&dir.path().join("data"));
    let large =
        ProfileChange::Merged { from: ProfileOrdinal(9), into: ProfileOrdinal(3), records: vec![u32::MAX; 10_000] };
    let bytes = change_bytes_max(&large);
    let settled = |changes| Settled { previous: Sequence(1), committed_at: opened.app.now(), changes, more: true };
    assert!(settled(vec![large.clone()]).encode().len() <= bytes + 64);
    let split = ProfileChange::Split {
        from: ProfileOrdinal(u32::MAX),
        stays: true,
        into: (0..5_000).map(|at| (ProfileOrdinal(u32::MAX - at), vec![u32::MAX - at])).collect(),
    };
    assert!(settled(vec![split.clone()]).encode().len() <= change_bytes_max(&split) + 64);
    assert_eq!(entry_of(&vec![large; 1_024], 3 * bytes), 3);
    assert_eq!(entry_of(&[split], 10), 1, "one change is an entry, whatever its size");
    let small = ProfileChange::Emptied { profile: ProfileOrdinal(1) };
    assert_eq!(entry_of(&vec![small; 5_000], usize::MAX), SETTLED_CHANGES_MAX);
    opened.threads.join();
}

#[test]
fn a_checkpoint_that_is_due_waits_for_rest_but_not_for_ever() {
    let took = Duration::from_millis(100);
    let mut at_rest = Wanted::now();
    assert_eq!((at_rest.rest(took), at_rest.rest(took)), (false, true), "nothing came in between");
    let mut busy = Wanted::now();
    let waited = (1u32..).find(|_| {
        busy.at_rest = 0;
        busy.rest(took)
    });
    assert_eq!(waited, Some(5), "a fiftieth of the time");
}

#[test]
fn a_judgement_finds_its_room_however_long_its_words_are() {
    use onefold_core::judgement::{AUTHOR_BYTES_MAX, REASON_BYTES_MAX, Verdict};
    let words = |author: usize, reason: usize| Judged {
        records: (onefold_core::ids::Digest128([255; 16]), onefold_core::ids::Digest128([255; 16])),
        verdict: Verdict::Unsure,
        seen_bits: Some(f32::MAX),
        author: "x".repeat(author),
        reason: "x".repeat(reason),
        judged_at: onefold_core::fragment::ObservedAt(i64::MAX),
        expires_at: Some(onefold_core::fragment::ObservedAt(i64::MAX)),
    };
    for (author, reason) in [(0, 0), (AUTHOR_BYTES_MAX, REASON_BYTES_MAX)] {
        let content = decision::encode(&words(author, reason)).len();
        assert!(entry_room(content + Sealed::HEADER_BYTES + TAG_BYTES) <= judgement_room(author + reason));
    }
    let longest = "x".repeat(onefold_core::limits::NAME_BYTES_MAX);
    let name = crate::app::privacy::receipt::name(&longest, Sequence(u64::MAX));
    assert_eq!(name.len(), crate::app::privacy::receipt::NAME_BYTES_MAX);
}
