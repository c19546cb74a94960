//! The power goes: a recording of every write and sync of a server under load is cut at any point, and what a disk may
//! then hold is opened again. Law 3: what was acknowledged is there, whole; and the rest can be sent again.
//!
//! Kills cannot show this, since the page cache survives them. `shim/record.c` records, `harness/disk.rs` says what a
//! disk may hold; both are held to the truth here: replayed whole, a recording gives the very files that are there, and
//! with the syncs of the server left out of it the drill must find losses.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use onefold_proto::v1 as pb;
use onefold_server::Server;
use onefold_tests::child::Launch;
use onefold_tests::contacts::Contacts;
use onefold_tests::dice::{Dice, how_many};
use onefold_tests::disk::{Disk, Luck, Planted, Tree, put_down, take_up};
use onefold_tests::recording::{Effect, Recording, compile_shim};
use onefold_tests::replica::Replica;
use onefold_tests::traffic::{Ledger, Message, Mill, SOURCES, open_sources};
use onefold_tests::{Clients, House, PATIENCE};
use tempfile::TempDir;

/// Small, so that a short run crosses segments; the least there may be is two mebibytes.
const SEGMENT_BYTES: u32 = (2 << 20) + (1 << 16);

/// E-mail addresses are generic above so many names; 4 by default.
const DIVERSITY_LIMIT: u32 = 2;

/// How often the server is started under the recording.
const RUNS: usize = 3;

/// A recorded run.
struct Drill {
    recording: Recording,
    ledger: Ledger,
    /// Length of the log when the answer was in the client's hands.
    acknowledged: Vec<Option<u64>>,
    sources_acknowledged: u64,
    /// Tenants that were opened on the way, each with the length of the log.
    tenants: Vec<(String, u64)>,
    /// Fragments that were discarded from quarantine, and others that were left in it, each with the length of the log.
    discarded: Vec<(String, u64)>,
    held: Vec<(String, u64)>,
    /// Length of the log when e-mail addresses had another law.
    laws_acknowledged: u64,
    /// Consent, contacts, accounts and stages that were told of beside.
    contacts: Contacts,
    /// The digests of a server that was fed with everything.
    digest: (String, String),
    /// The files at the end.
    end: Tree,
}

/// Another law for e-mail addresses: everything known is prepared and resolved again.
async fn change_the_laws(clients: &mut Clients) {
    let known = clients.admin.list_namespaces(pb::ListNamespacesRequest::default()).await.unwrap().into_inner();
    let email = known.namespaces.into_iter().find(|namespace| namespace.name == "email").unwrap();
    let namespace = Some(pb::Namespace { diversity_limit: DIVERSITY_LIMIT, ..email });
    clients.admin.put_namespace(pb::PutNamespaceRequest { namespace, ..Default::default() }).await.unwrap();
}

/// Sends a fragment that breaks its contract; its handle.
async fn quarantine(clients: &mut Clients, key: &str) -> String {
    clients
        .put(onefold_tests::person("ledger", key, 1_700_000_000, &[("email", "q@harbour-mail.net")], &[]))
        .await
        .quarantine_id
}

/// A directory in memory where there is one: the drill syncs nothing for real.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

fn recorded(shim: &Path, base: &Path, log: &Path) -> Launch {
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &base.join("data"));
    launch.segment_bytes = SEGMENT_BYTES;
    launch.checkpoint_every = 60;
    let environment = [("LD_PRELOAD", shim), ("ONEFOLD_SHIM_BASE", base), ("ONEFOLD_SHIM_LOG", log)];
    launch.environment = environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    launch
}

/// Runs a server under load, killed once and stopped once in between, and records it.
async fn record(dice: &mut Dice, shim: &Path) -> Drill {
    let dir = scratch();
    let (base, log) = (dir.path().join("base"), dir.path().join("log"));
    std::fs::create_dir(&base).unwrap();
    let launch = recorded(shim, &base, &log);
    let length = |log: &PathBuf| std::fs::metadata(log).unwrap().len();
    let mill = Arc::new(Mutex::new(Mill::new(dice.fork(), 50, 16_000)));
    let noted = Arc::new(Mutex::new((Ledger::default(), Vec::new())));
    let (mut sources_acknowledged, mut tenants) = (0, Vec::new());
    let mut contacts = Contacts::default();
    let (mut discarded, mut held, mut laws_acknowledged) = (Vec::new(), Vec::new(), u64::MAX);
    for run in 0..RUNS {
        let (mut child, mut clients) = launch.start().await;
        if run == 0 {
            open_sources(&mut clients, "").await;
            sources_acknowledged = length(&log);
        }
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let (mill, noted, log) = (Arc::clone(&mill), Arc::clone(&noted), log.clone());
                let (mut clients, mut dice): (Clients, Dice) = (clients.clone(), dice.fork());
                tokio::spawn(async move {
                    for _ in 0..18 {
                        let count = 1 + dice.index(10);
                        let messages: Vec<_> = (0..count).map(|_| mill.lock().unwrap().message()).collect();
                        let numbers: Vec<usize> = {
                            let mut noted = noted.lock().unwrap();
                            noted.1.extend((0..count).map(|_| None));
                            messages.iter().map(|message| noted.0.note(message.clone())).collect()
                        };
                        let results = clients.stream("", &messages).await.unwrap();
                        let at = std::fs::metadata(&log).unwrap().len();
                        let mut noted = noted.lock().unwrap();
                        for (number, result) in numbers.into_iter().zip(results) {
                            noted.0.answers[number] = Some(result);
                            noted.1[number] = Some(at);
                        }
                    }
                })
            })
            .collect();
        contacts.round(&mut clients, run, || length(&log)).await.unwrap();
        // A tenant brings a vault of its own.
        let tenant = pb::Tenant { name: format!("tenants/t{run}"), ..Default::default() };
        let request = pb::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
        let opened = clients.admin.create_tenant(request).await.unwrap();
        tenants.push((opened.into_inner().tenant.unwrap().name, length(&log)));
        let (goes, stays) = (format!("goes-{run}"), format!("stays-{run}"));
        let (goes, stays) = (quarantine(&mut clients, &goes).await, quarantine(&mut clients, &stays).await);
        held.push((stays, length(&log)));
        let request = pb::DiscardQuarantineRequest { quarantine_ids: vec![goes.clone()], ..Default::default() };
        assert_eq!(clients.ingest.discard_quarantine(request).await.unwrap().into_inner().discarded_count, 1);
        discarded.push((goes, length(&log)));
        if run == 1 {
            change_the_laws(&mut clients).await;
            laws_acknowledged = length(&log);
        }
        for sender in senders {
            sender.await.unwrap();
        }
        if run == 1 { child.stop() } else { child.kill() }
    }
    let (ledger, acknowledged) = noted.lock().unwrap().clone();
    let fresh = scratch();
    let mut house = House::open(&fresh.path().join("data")).await;
    open_sources(&mut house, "").await;
    change_the_laws(&mut house).await;
    house.stream("", &ledger.sent).await.unwrap();
    let digest = house.digest().await;
    house.close().await;
    let end = take_up(&base).unwrap();
    Drill {
        recording: Recording::read(&log).unwrap(),
        ledger,
        acknowledged,
        sources_acknowledged,
        tenants,
        discarded,
        held,
        laws_acknowledged,
        contacts,
        digest,
        end,
    }
}

impl Drill {
    /// Opens what is left; everything that is wrong with it, given that the log was `length` long when the power went.
    /// Reading it all back through the feed takes its time, so it is done for some.
    async fn check(&self, left: &Tree, length: u64) -> Result<(), Vec<String>> {
        let dir = scratch();
        put_down(left, dir.path()).unwrap();
        let mut config = House::config(&dir.path().join("data"));
        config.segment_bytes = SEGMENT_BYTES;
        let server = Server::start(config).await.map_err(|error| vec![format!("does not open: {error}")])?;
        let mut clients = Clients::connect(server.address()).await.unwrap();
        let mut broken = Vec::new();
        if length >= self.sources_acknowledged {
            let request = pb::ListSourcesRequest::default();
            let sources = clients.admin.list_sources(request).await.unwrap().into_inner().sources;
            if !sources.iter().map(|source| source.name.as_str()).eq(SOURCES) {
                broken.push(format!("{} of {} sources are there", sources.len(), SOURCES.len()));
            }
        }
        for (name, _) in self.tenants.iter().filter(|(_, at)| *at <= length) {
            let request = pb::GetTenantRequest { name: name.clone() };
            if let Err(status) = clients.admin.get_tenant(request).await {
                broken.push(format!("{name}: {status}"));
            }
        }
        let request = pb::ListQuarantineRequest { page_size: 1_000, ..Default::default() };
        let listed = clients.ingest.list_quarantine(request).await.unwrap().into_inner().quarantined;
        let is_there = |id: &String| listed.iter().any(|one| one.quarantine_id == *id);
        for (id, _) in self.discarded.iter().filter(|(id, at)| *at <= length && is_there(id)) {
            broken.push(format!("{id} was discarded and is back"));
        }
        for (id, _) in self.held.iter().filter(|(id, at)| *at <= length && !is_there(id)) {
            broken.push(format!("{id} was held in quarantine and is gone"));
        }
        let damaged = |one: &&pb::QuarantinedFragment| one.faults.iter().any(|fault| fault.reason == "DAMAGED");
        for one in listed.iter().filter(damaged) {
            broken.push(format!("{} is in quarantine and cannot be read", one.quarantine_id));
        }
        let request = pb::ListNamespacesRequest::default();
        let laws = clients.admin.list_namespaces(request).await.unwrap().into_inner().namespaces;
        let changed = laws.iter().any(|law| law.name == "email" && law.diversity_limit == DIVERSITY_LIMIT);
        if length >= self.laws_acknowledged && !changed {
            broken.push("the law of e-mail addresses is the old one".to_owned());
        }
        match self.contacts.check(&mut clients, length).await {
            Ok(more) => broken.extend(more),
            Err(status) => broken.push(format!("contacts: {status}")),
        }
        open_sources(&mut clients, "").await;
        change_the_laws(&mut clients).await;
        let in_hand = |number: &usize| self.acknowledged[*number].is_some_and(|at| at <= length);
        let numbers: Vec<usize> = (0..self.ledger.sent.len()).filter(in_hand).collect();
        if let Err(more) = self.ledger.check_kept(&mut clients, &numbers).await {
            broken.extend(more);
        }
        if let Err(status) = clients.events("", 0).await {
            broken.push(format!("the feed cannot be read: {status}"));
        }
        if broken.is_empty() {
            let unanswered: Vec<Message> = (0..self.ledger.sent.len())
                .filter(|number| !in_hand(number))
                .map(|n| self.ledger.sent[n].clone())
                .collect();
            clients.stream("", &unanswered).await.unwrap();
            if clients.graph_digest().await != self.digest.0 {
                broken.push("the graph is not that of the facts".to_owned());
            }
            if length.is_multiple_of(4) {
                if clients.digest().await != self.digest {
                    broken.push("the golden values are not those of the facts".to_owned());
                }
                let mut replica = Replica::default();
                replica.follow(&mut clients, "").await;
                replica.assert_equals(&mut clients, "").await;
            }
        }
        tokio::time::timeout(PATIENCE, server.stop()).await.expect("the server ends in time").unwrap();
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }

    /// The power comes back, and goes again while the server recovers: what may be left then.
    async fn cut_again(&self, left: &Tree, shim: &Path, dice: &mut Dice) -> (Luck, Tree) {
        let dir = scratch();
        let (base, log) = (dir.path().join("base"), dir.path().join("log"));
        std::fs::create_dir(&base).unwrap();
        put_down(left, &base).unwrap();
        let (mut child, _) = recorded(shim, &base, &log).start().await;
        child.kill();
        let effects = Recording::read(&log).unwrap().effects;
        let mut disk = Disk::new(left, Planted::Nothing);
        let moment = dice.index(effects.len()) + 1;
        effects[..moment].iter().for_each(|(effect, _)| disk.take(effect));
        let luck = *dice.pick(&Luck::ALL);
        (luck, disk.cut(dice, luck))
    }

    /// What may be left after so many cuts at random moments: the number of effects before, the log's length, the files.
    fn cuts(&self, count: usize, planted: Planted, from: usize, dice: &mut Dice) -> Vec<(usize, u64, Luck, Tree)> {
        let effects = &self.recording.effects;
        let mut moments: Vec<usize> = (0..count).map(|_| from + dice.index(effects.len() - from) + 1).collect();
        moments.sort_unstable();
        let (mut disk, mut taken, mut cuts) = (Disk::new(&Tree::new(), planted), 0, Vec::new());
        for (number, moment) in moments.into_iter().enumerate() {
            effects[taken..moment].iter().for_each(|(effect, _)| disk.take(effect));
            taken = moment;
            let luck = Luck::ALL[number % Luck::ALL.len()];
            cuts.push((moment, effects[moment - 1].1, luck, disk.cut(dice, luck)));
        }
        cuts
    }
}

/// Whether the shim saw all: what it recorded makes the files that are there, and every kind of call was met.
fn the_recording_is_whole(drill: &Drill) {
    let mut disk = Disk::new(&Tree::new(), Planted::Nothing);
    let (mut journal, mut vault, mut sled, mut ranges, mut checkpoints) = (0, 0, 0, 0, 0);
    for (effect, _) in &drill.recording.effects {
        disk.take(effect);
        match effect {
            Effect::DataSync { fd } => match disk.path_of(*fd).unwrap_or_default() {
                path if path.contains("journal/") => journal += 1,
                path if path.contains("vault/") => vault += 1,
                _ => {}
            },
            Effect::Write { fd, .. } if disk.path_of(*fd).is_some_and(|path| path.contains("keyed/sled/")) => sled += 1,
            Effect::RangeSync { .. } => ranges += 1,
            Effect::Rename { to, .. } if to.ends_with(".ckpt") => checkpoints += 1,
            _ => {}
        }
    }
    let segments = drill.end.keys().filter(|path| path.ends_with(".seg")).count();
    println!(
        "{} effects: {journal} data syncs of the journal, {vault} of vaults, {sled} writes of sled, {ranges} range \
         syncs, {checkpoints} checkpoints, {segments} segments",
        drill.recording.effects.len()
    );
    assert!(segments > RUNS, "a run crossed from one segment into the next");
    assert!(journal > 20 && sled > 0 && checkpoints > 1, "the recording misses a kind of call");
    let replayed = disk.live();
    assert_eq!(replayed.keys().collect::<Vec<_>>(), drill.end.keys().collect::<Vec<_>>(), "the recording misses names");
    for (path, content) in &drill.end {
        assert!(&replayed[path] == content, "the recording misses writes to {path}");
    }
}

/// Checks cuts, two at a time; those that broke a promise.
async fn broken(drill: &Arc<Drill>, cuts: Vec<(usize, u64, Luck, Tree)>) -> Vec<String> {
    let cuts = Arc::new(Mutex::new(cuts));
    let work = || {
        let (drill, cuts) = (Arc::clone(drill), Arc::clone(&cuts));
        tokio::spawn(async move {
            let mut found = Vec::new();
            loop {
                let Some((moment, length, luck, left)) = cuts.lock().unwrap().pop() else { return found };
                let drill = Arc::clone(&drill);
                // A call that fails where none may ends a check; that is a broken promise as well.
                let checked = tokio::spawn(async move { drill.check(&left, length).await }).await;
                if let Err(broken) = checked.unwrap_or_else(|ended| Err(vec![ended.to_string()])) {
                    found.push(format!("cut behind effect {moment}, {luck:?}: {}", broken.join("; ")));
                }
            }
        })
    };
    let (one, other) = (work(), work());
    let mut found = one.await.unwrap();
    found.extend(other.await.unwrap());
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_power_goes() {
    let images = how_many("ONEFOLD_POWER_IMAGES", 60);
    let mut dice = Dice::from_environment("ONEFOLD_POWER_SEED", 20_260_202);
    let tools = TempDir::new().unwrap();
    let Some(shim) = compile_shim(tools.path()) else { return };
    let drill = Arc::new(record(&mut dice, &shim).await);
    the_recording_is_whole(&drill);

    let cuts = drill.cuts(images, Planted::Nothing, 0, &mut dice);
    assert_eq!(broken(&drill, cuts).await, Vec::<String>::new());

    let mut twice = Vec::new();
    for (moment, length, _, left) in drill.cuts(images.div_ceil(6), Planted::Nothing, 0, &mut dice) {
        let (luck, left) = drill.cut_again(&left, &shim, &mut dice).await;
        twice.push((moment, length, luck, left));
    }
    assert_eq!(broken(&drill, twice).await, Vec::<String>::new(), "cut again during recovery");

    // The drill itself: a server that skips its syncs must be found out.
    let late = drill.recording.effects.len() / 2;
    for planted in [Planted::NoDataSync, Planted::NoDirectorySync] {
        let cuts = drill.cuts(8, planted, late, &mut dice);
        let found = broken(&drill, cuts).await.len();
        println!("{planted:?}: {found} of 8 images broke a promise");
        assert!(found > 0, "{planted:?} was not noticed: the drill proves nothing");
    }
}
