//! From a data directory to a running app: the newest checkpoint, then the journal behind it, then sled behind that.
//!
//! `replay` reads the journal, `relinked` prepares again in it what a change of configuration made link otherwise, `erased` holds
//! the erasure ledger against it, `given` reads the operator's keys, `error` says why a start fails.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, RwLock};

use onefold_core::config::TenantConfig;
use onefold_core::ids::{Sequence, SlotId, TenantId};
use onefold_store::datadir::{DataDir, OpenOptions};
use onefold_store::erasures::{ErasureLedger, ErasureRow};
use onefold_store::journal::{Journal, JournalOptions, JournalReader};
use onefold_store::keyed;
use tokio::sync::{mpsc, watch};

use super::access::{self, Access};
use super::error::WriteError;
use super::heads::Heads;
use super::lane::{CHECKPOINT_TAKES, Command, LANE_DEPTH_MAX, Lane};
use super::models::Studies;
use super::reads::{self, ReadLog};
use super::tenant::Tenant;
use super::threads::Threads;
use super::writer::WRITER_DEPTH_MAX;
use super::{
    App, Shared, checkpoint, keeper, privacy, reconfigure, revoked, rotated, scrub, stops, survey, threads, tidy,
    writer,
};
use crate::clock::{Clock, Stopwatch};
use crate::config::Config;
use crate::metrics::Meters;
use crate::tokens::Tokens;

mod erased;
mod error;
mod given;
mod relinked;
mod replay;

pub use error::StartError;
pub(crate) use given::read_root_key;
pub(super) use replay::{Replaying, Tenants};

use erased::{erased_slots, erasures_in, lost_from_ledger, rolled_back};
use given::read_admin_key;
use replay::replay_batch;

/// What was found at the start.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The data directory was made just now.
    pub created: bool,
    /// Journal entries that were replayed behind the checkpoint.
    pub replayed_entries: u64,
    /// A checkpoint was used.
    pub from_checkpoint: bool,
    /// A batch that was never acknowledged was cut from the journal's end.
    pub cut_tail: bool,
    /// Live records, over all tenants.
    pub live_records: u64,
    /// Live profiles, over all tenants.
    pub profiles: u64,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// An app and its threads.
pub struct Opened {
    /// The use cases.
    pub app: Arc<App>,
    /// What was found.
    pub recovered: Recovered,
    /// The threads.
    pub threads: Threads,
}

/// Opens a data directory and starts the threads.
///
/// # Errors
/// [`StartError`].
pub fn open(config: &Config, clock: Arc<dyn Clock>, meters: Arc<Meters>) -> Result<Opened, StartError> {
    let watch_ = Stopwatch::start();
    let root_key = config.root_key_file.as_deref().map(read_root_key).transpose()?;
    let admin_key =
        config.admin_key_file.as_deref().map(read_admin_key).transpose()?.or_else(|| config.admin_key.clone());
    if let Some(short) = admin_key.as_deref().and_then(access::unfit) {
        return Err(StartError::AdminKey(short));
    }
    let dir = DataDir::open(&config.data, OpenOptions { root_key })?;
    if let Err(error) = dir.drop_stale_root_key() {
        tracing::warn!(error = %error, "a root key of before lies in the data directory and cannot be removed: remove it");
    }
    let root = dir.root_key().clone();
    let tokens = config.oidc.clone().map(|issuer| Tokens::open(issuer, root.derive("tokens")).map(Arc::new));
    let tokens = tokens.transpose().map_err(StartError::Tokens)?;
    let checkpoints = dir.checkpoints();
    let latest = checkpoints.latest()?;
    for (number, error) in &latest.passed_over {
        tracing::warn!(number, error = %error, "a checkpoint cannot be read and is passed over");
    }
    let mut tenants = Tenants::new();
    let mut position = None;
    if let Some(found) = latest.checkpoint {
        match checkpoint::restore(&found, &dir) {
            Ok(restored) => {
                tenants = restored;
                position = Some(*found.position());
            }
            Err(error) => {
                tracing::warn!(error = %error, "the checkpoint is passed over; the journal is replayed whole")
            }
        }
    }
    let options = JournalOptions { dir: dir.journal(), segment_bytes: config.segment_bytes };
    let (erasures, mut known, was_there) = ErasureLedger::open(dir.path(), dir.installation())?;
    if !was_there && !dir.created() {
        known = erasures_in(&options)?;
        erasures.append(&known)?;
    }
    let erased = erased_slots(&known);
    let so_far = JournalReader::while_opening(&options);
    let opened =
        Journal::open(options, position.as_ref(), |batch| replay_batch(batch, &mut tenants, &dir, (&erased, &so_far)))?;
    if let Some(cut) = opened.report.cut {
        let (segment, offset, what) = (cut.segment, cut.offset, cut.what);
        tracing::warn!(segment, offset, what, "a batch that was not written whole was cut from the journal's end");
    }
    let mut recovered = Recovered {
        created: dir.created(),
        replayed_entries: opened.report.entries,
        from_checkpoint: position.is_some(),
        cut_tail: opened.report.cut.is_some(),
        ..Recovered::default()
    };
    let reader = opened.reader;
    let keyed = keyed::open(&dir.keyed(), &root, &reader)?;
    keeper::catch_up(&keyed.store, keyed.reached, &reader, || {})?;
    let (revocations, mut revoked_rows) = revoked::open(dir.path(), dir.installation())?;
    let heads = Heads::open(dir.path(), root.derive(privacy::receipt::SIGNING_KEY)).map_err(StartError::Heads)?;
    if let Some(missed) = heads.missed_by(&reader)? {
        let (time, segment, offset) = (missed.time, missed.log.segment, missed.log.offset);
        return Err(StartError::CutBack { time, segment, offset });
    }
    if heads.was_emptied() {
        tracing::error!(
            "heads/heads.jsonl holds no head, and every start signs one: somebody took its lines away, or no server of this release \
             has started here; hold the log against your copy of it (`onefold audit verify --heads COPY`)"
        );
    }
    // On a disk without room the first segment is not there yet.
    if reader.holds(&opened.report.end)? {
        heads.reached(opened.report.end);
    }

    let shared = Arc::new(Shared {
        reads: ReadLog::new(dir.reads()),
        dir,
        journal: reader,
        keyed: keeper::Keyed::new(keyed.store),
        checkpoints,
        erasures,
        revocations,
        heads,
        root: root.clone(),
        access: Access::new(&root, config.require_auth, admin_key.as_deref(), tokens),
        clock,
        checkpoint_every: config.checkpoint_every,
        match_models: config.match_models,
        meters,
        kept: keeper::Kept::default(),
        copying: Arc::default(),
        tenants: RwLock::default(),
        failed: AtomicBool::new(false),
        failure: watch::Sender::new(false),
        full: watch::Sender::new(false),
        tenants_from: AtomicU32::new(0),
        reads_missing: watch::Sender::new(false),
        keyed_damaged: watch::Sender::new(false),
    });
    if shared.heads.is_empty() {
        // Before anything is served, so that a file without a head was emptied.
        shared.sign_head();
    }
    erased::lost_rows(&shared);
    rolled_back(&shared, &tenants, (&mut known, &mut revoked_rows))?;
    // What a crash kept from the ledger goes there before its keys are destroyed.
    let in_ledger: HashSet<(TenantId, Sequence)> = known.iter().map(|row| (row.tenant, row.sequence)).collect();
    let read = tenants.values_mut().flat_map(|tenant| std::mem::take(&mut tenant.erasures));
    let missing: Vec<ErasureRow> = read.filter(|row| !in_ledger.contains(&(row.tenant, row.sequence))).collect();
    shared.erasures.append(&missing)?;
    known.extend(missing);
    known.extend(lost_from_ledger(&shared, &known, &tenants)?);
    let mut follower = stops::Follower::open(&shared, &known);
    let mut unsettled = Vec::new();
    let mut unfinished = Vec::new();
    for (id, mut replaying) in tenants {
        replaying.state.accounts.forest.measure();
        let goes_on = replaying.unsettled;
        let tenant = Arc::new(finish(&shared, id, replaying)?);
        let stats = tenant.state().engine.stats();
        recovered.live_records += u64::from(stats.live_records);
        recovered.profiles += u64::from(stats.profiles);
        if goes_on {
            unsettled.push(Arc::clone(&tenant));
        }
        unfinished.extend(tenant.state().privacy.unfinished().into_iter().map(|id| (Arc::clone(&tenant), id)));
        shared.access.learn(&tenant);
        tenant.noting.set(&tenant.state().privacy.read_log, config.require_auth);
        tenant.noting.require_purpose(tenant.state().privacy.policy.purpose_required);
        shared.add(tenant);
    }
    if let Err(error) = revoked::catch_up(&shared.revocations, &revoked_rows, &shared.tenants()) {
        tracing::error!(error = %error, "the ledger of revocations is behind: a restore would not know the latest; start again");
    }
    if config.require_auth && !shared.access.admits_somebody(shared.clock.now()) {
        return Err(StartError::NobodyMayCall);
    }
    let (commits, to_write) = sync_channel(WRITER_DEPTH_MAX);
    let (keep, to_keep) = sync_channel(keeper::KEEPER_DEPTH_MAX);
    let (tidy, to_tidy) = sync_channel(1);
    let (commands_in, commands) = mpsc::channel(LANE_DEPTH_MAX);
    let mut lane = Lane {
        shared: Arc::clone(&shared),
        appender: opened.appender,
        commands: commands.into(),
        writer: commits,
        keeper: keep.clone(),
        tidy,
        since_checkpoint: recovered.replayed_entries,
        segment_bytes: config.segment_bytes as usize,
        refused_bytes: 0,
        refused_keys: 0,
        unsettled,
        unfinished,
        checkpoint_wanted: None,
        checkpoint_took: CHECKPOINT_TAKES,
        span: None,
        passing: HashMap::new(),
    };
    let spawn =
        |name: &str, run: Box<dyn FnOnce() + Send>| threads::spawn(&shared, name, run).map_err(StartError::Thread);
    let (for_writer, for_keeper, for_tidy) = (Arc::clone(&shared), Arc::clone(&shared), Arc::clone(&shared));
    let journal_writer = opened.writer;
    let writer = spawn("writer", Box::new(move || writer::run(&for_writer, journal_writer, &to_write, &keep)))?;
    let keeper = spawn("keeper", Box::new(move || keeper::run(&for_keeper, &to_keep)))?;
    // Nothing is served before what the last run left is settled, but for want of room: then reads are.
    if !lane.settle_left_overs()? {
        tracing::warn!("the last run left something unsettled, and the disk has no room for it: writes are refused");
    }
    let pending = erased::again(&mut lane, &known)?;
    privacy::again::after_restore(&mut lane, &mut follower)?;
    revoked::after_restore(&mut lane)?;
    rotated::tell(&mut lane)?;
    // What the ledgers go on telling of a tenant that is not here must never be taken for another's.
    let told_of = known.iter().map(|row| row.tenant).chain(revoked_rows.iter().map(|row| row.tenant));
    let told_of = told_of.chain(pending).chain(follower.tells_of());
    shared.tenants_from.store(told_of.map(|id| id.0 + 1).max().unwrap_or(0), Ordering::Relaxed);
    let to_lane = commands_in.clone();
    let tidying = spawn("tidy", Box::new(move || tidy::run(&for_tidy, &to_tidy, &to_lane)))?;
    let handles = vec![spawn("lane", Box::new(move || lane.run()))?, writer, keeper, tidying];
    if recovered.from_checkpoint {
        scrub::start(&shared).map_err(StartError::Thread)?;
    }
    let app = Arc::new(App {
        shared: Arc::clone(&shared),
        lane: commands_in.clone(),
        persons: super::consent::person::Persons::default(),
        studies: Studies::default(),
        exports: Arc::new(tokio::sync::Semaphore::new(privacy::export::AT_ONCE_MAX)),
        surveys: survey::Surveys::default(),
        page_key: root.derive("page tokens"),
        message_wait: config.message_wait,
        stop: watch::Sender::new(false),
    });
    if app.tenant(crate::grpc::DEFAULT_TENANT).is_none() {
        let settings = TenantConfig::new(crate::grpc::DEFAULT_TENANT, "Default").settings();
        let (reply, opened) = tokio::sync::oneshot::channel();
        let _ = app.lane.blocking_send(Command::OpenTenant { settings, request: None, reply });
        match opened.blocking_recv() {
            Ok(Ok(_)) => {}
            Ok(Err(WriteError::DiskFull)) => return Err(StartError::NoRoom),
            Ok(Err(error)) => return Err(StartError::Replay(format!("the default tenant cannot be opened: {error}"))),
            Err(_) => return Err(StartError::Interrupted),
        }
    }
    let gatherer = reads::writer::Gatherer::start(&app.shared, app.lane.clone());
    let (stop, stopped) = sync_channel(1);
    let reads = spawn("reads", Box::new(move || gatherer.run(&stopped)))?;
    let (end_stops, ended) = sync_channel(1);
    let stops = spawn("stops", Box::new(move || follower.run(&ended)))?;
    recovered.millis = u64::try_from(watch_.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (reads, stops) = (Some((stop, reads)), Some((end_stops, stops)));
    Ok(Opened { app, recovered, threads: Threads { handles, lane: Some(commands_in), reads, stops } })
}

fn finish(shared: &Arc<Shared>, id: TenantId, replaying: Replaying) -> Result<Tenant, StartError> {
    let Replaying { keys, wrapped_keys, vault, config, state, next_slot, doomed, relinks, unsettled, .. } = replaying;
    vault.recover(SlotId(next_slot)).map_err(|error| StartError::Vault(id, error))?;
    if !doomed.is_empty() {
        vault.destroy(&doomed).map_err(|error| StartError::Vault(id, error))?;
    }
    let tenant = Tenant::new(id, (keys, wrapped_keys), vault, Arc::new(config), state);
    if relinks {
        // The journal says where records ended up; what they link by is prepared under the configuration in force.
        reconfigure::relink(shared, &tenant, &tenant.config())
            .map_err(|error| StartError::Replay(format!("a live fragment cannot be read: {error}")))?;
    }
    if !unsettled {
        tenant.state_mut().engine.finish_replay();
    }
    Ok(tenant)
}
