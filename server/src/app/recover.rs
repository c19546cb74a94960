//! From a data directory to a running app: the newest checkpoint, then the journal behind it, then sled behind that.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, RwLock};

use onefold_core::change::ProfileChange;
use onefold_core::config::TenantConfig;
use onefold_core::consent::Statement;
use onefold_core::decision::{
    self, ConfigChanged, ContactReserved, EntryKind, JudgementsEnded, ModelChanged, NamesLearned, QuarantineCleared,
    Quarantined, RecordRetracted, ReservationSettled, Sealed, Settled, TenantOpened,
};
use onefold_core::erasure::RequestKind;
use onefold_core::fragment::{Fragment, ObservedAt};
use onefold_core::ids::Sequence;
use onefold_core::ids::{Digest128, Place, SlotId, TenantId};
use onefold_core::judgement::Judged;
use onefold_store::datadir::{DataDir, DataDirError, OpenOptions};
use onefold_store::erasures::{ErasureLedger, ErasureRow};
use onefold_store::journal::{BatchView, EntryView, Journal, JournalError, JournalOptions, VisitError};
use onefold_store::keyed;
use onefold_store::keys::{RootKey, TenantKeys};
use onefold_store::ledger::LedgerError;
use onefold_store::vault::{Vault, VaultError};
use tokio::sync::{mpsc, watch};

use super::access::{self, Access};
use super::consent::Said;
use super::error::WriteError;
use super::heads::Heads;
use super::hierarchy::state::Says;
use super::lane::{CHECKPOINT_TAKES, Command, LANE_DEPTH_MAX, Lane, note_changes};
use super::models::{Models, Studies};
use super::reads::{self, ReadLog};
use super::tenant::{Held, LiveConfig, State, Tenant};
use super::threads::Threads;
use super::writer::WRITER_DEPTH_MAX;
use super::{
    App, Shared, checkpoint, hierarchy, keeper, privacy, quarantine, reconfigure, revoked, rotated, scrub, stops,
    survey, threads, tidy, writer,
};
use crate::clock::{Clock, Stopwatch};
use crate::config::Config;
use crate::metrics::Meters;
use crate::secret;
use crate::tokens::Tokens;

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can be reached by other machines, and nothing protects the data there.
    #[error(
        "{0} can be reached from other machines, and this server was started without encryption or authentication: give --tls-cert, --tls-key and --require-auth, listen on 127.0.0.1, or say --allow-insecure-remote"
    )]
    RemoteWithoutProtection(SocketAddr),
    /// The metrics could be read by other machines.
    #[error(
        "metrics on {0} can be read from other machines, by whoever asks: listen on 127.0.0.1, or say --allow-remote-metrics"
    )]
    RemoteMetrics(SocketAddr),
    /// Traces cannot be sent to where they should be.
    #[error("where traces go {0}")]
    Traces(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Requests of controllers cannot be taken as it is said.
    #[error("OpenDSR cannot be served: {0}")]
    OpenDsr(String),
    /// An origin of web pages is none.
    #[error("the web origin cannot be used: {0}")]
    WebOrigin(crate::grpc::InvalidOrigin),
    /// Segments are too small for what one batch may hold.
    #[error("segment_bytes is {given}: give at least {least}, so that every batch fits into a segment")]
    SegmentTooSmall {
        /// What was given.
        given: u32,
        /// The least there may be.
        least: u32,
    },
    /// The root key's file cannot be used.
    #[error("the root key file {path} {why}")]
    RootKeyFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A certificate or a private key cannot be used.
    #[error("encryption cannot be set up: {0}")]
    Tls(String),
    /// The file of the administrator's key cannot be used.
    #[error("the admin key file {path} {source}")]
    AdminKeyFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: secret::SecretFileError,
    },
    /// The administrator's key cannot be used.
    #[error("the admin key {0}")]
    AdminKey(&'static str),
    /// The token issuer's keys cannot be used, or not be asked for.
    #[error("the keys of the token issuer cannot be used: {0}")]
    Tokens(String),
    /// Every call would need a key, and there is none.
    #[error(
        "--require-auth is on and there is no key to call with: `(umask 077; openssl rand -hex 32 > admin.key)`, start with --admin-key-file admin.key, and make the first key with `onefold key create LABEL --role ROLE --api-key-file admin.key`"
    )]
    NobodyMayCall,
    /// The data directory cannot be opened.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The journal cannot be opened.
    #[error("the journal cannot be opened: {0}")]
    Journal(#[from] JournalError),
    /// The keyed store cannot be opened.
    #[error("the keyed store cannot be opened: {0}")]
    Keyed(#[from] onefold_store::keyed::KeyedError),
    /// The keyed store cannot be brought up to the journal.
    #[error(transparent)]
    CatchUp(#[from] keeper::CatchUpError),
    /// The vault cannot be opened.
    #[error("the vault of tenant number {tenant} cannot be opened: {1}; restore a backup", tenant = .0.0)]
    Vault(TenantId, VaultError),
    /// The erasure ledger or the ledger of stops cannot be used: without the one nobody can be kept erased.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The signed heads of the log cannot be opened.
    #[error("the signed heads of the log cannot be read or written: {0}")]
    Heads(std::io::Error),
    /// The log does not hold a head that was signed: what it acknowledged is gone.
    #[error(
        "the log does not hold its head of {time} (segment {segment}, offset {offset}), which was signed here: it was cut \
         back, or another was put in its place, and what was acknowledged since would be lost, erasures among it; bring the \
         log back, or take a backup with `onefold restore`; whoever wants this log all the same moves \
         heads/heads.jsonl away"
    )]
    CutBack {
        /// When it was signed.
        time: String,
        /// Its segment.
        segment: u32,
        /// Its offset.
        offset: u32,
    },
    /// A checkpoint cannot be looked for.
    #[error("the checkpoints cannot be read: {0}")]
    Checkpoint(#[from] onefold_store::checkpoint::CheckpointError),
    /// The journal holds something that does not fit together.
    #[error("the journal does not fit together: {0}")]
    Replay(String),
    /// A new data directory finds no room for its first entries.
    #[error(
        "there is no room for the first entries of the data directory: make some on its disk, or raise the quota or the \
         limit on file sizes (`ulimit -f`), and start again"
    )]
    NoRoom,
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
    /// The start was interrupted.
    #[error("the start was interrupted")]
    Interrupted,
}

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

/// A tenant while the journal is replayed.
pub(super) struct Replaying {
    pub keys: TenantKeys,
    pub wrapped_keys: Vec<u8>,
    pub vault: Vault,
    pub config: LiveConfig,
    pub state: State,
    pub next_slot: u32,
    /// Keys that were to be destroyed.
    pub doomed: Vec<SlotId>,
    /// Erasures that were read.
    pub erasures: Vec<ErasureRow>,
    /// Linking may differ from what was prepared so far.
    pub relinks: bool,
    /// Facts came behind the last whole settlement.
    pub unsettled: bool,
    /// The settlement that is being read tells of what was said.
    tells: bool,
}

pub(super) type Tenants = HashMap<TenantId, Replaying>;

/// Whose a key was that an erasure destroyed: the keyed digest of the source record.
type ErasedSlots = HashMap<(TenantId, SlotId), Digest128>;

fn erased_slots(rows: &[ErasureRow]) -> ErasedSlots {
    let of_row = |row: &ErasureRow| {
        let tenant = row.tenant;
        row.erased.records.clone().into_iter().filter_map(move |r| Some(((tenant, r.slot?), r.digest)))
    };
    rows.iter().flat_map(of_row).collect()
}

/// The erasures that the journal tells of: what the erasure ledger would say if it had not been lost.
fn erasures_in(options: &JournalOptions) -> Result<Vec<ErasureRow>, StartError> {
    let mut rows = Vec::new();
    Journal::open(options.clone(), None, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == EntryKind::Erased as u8) {
            if let Some(payload) = entry.bytes() {
                let erased = decision::decode(payload)?;
                rows.push(ErasureRow { tenant: entry.tenant, sequence: entry.sequence, erased });
            }
        }
        Ok(())
    })?;
    Ok(rows)
}

/// Puts back into the erasure ledger what memory knows of and the ledger does not: it was cut back, or an older copy was put in
/// its place. A restore by it would bring somebody back.
fn lost_from_ledger(shared: &Shared, known: &[ErasureRow], tenants: &Tenants) -> Result<Vec<ErasureRow>, StartError> {
    let in_ledger: HashSet<(TenantId, Sequence)> = known.iter().map(|row| (row.tenant, row.sequence)).collect();
    let decided = |(id, tenant): (&TenantId, &Replaying)| -> Vec<(TenantId, Sequence)> {
        let requests = tenant.state.privacy.requests.values().filter(|request| request.kind == RequestKind::Erasure);
        requests.filter_map(|request| Some((*id, request.figures.as_ref()?.first))).collect()
    };
    let lost: HashSet<(TenantId, Sequence)> = tenants.iter().flat_map(decided).collect();
    let lost: HashSet<_> = lost.difference(&in_ledger).copied().filter(|(_, first)| first.0 > 0).collect();
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    tracing::error!(count = lost.len(), "the erasure ledger lacks erasures that the log holds; they are put back");
    let mut rows = Vec::new();
    shared.journal.scan(Place { segment: shared.journal.first(), offset: 0 }, |batch| {
        for entry in batch.entries().filter(|entry| entry.kind.0 == EntryKind::Erased as u8) {
            if let (true, Some(payload)) = (lost.contains(&(entry.tenant, entry.sequence)), entry.bytes()) {
                let erased = decision::decode(payload)?;
                rows.push(ErasureRow { tenant: entry.tenant, sequence: entry.sequence, erased });
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    shared.erasures.append(&rows)?;
    Ok(rows)
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
    let (erasures, mut known, was_there) = ErasureLedger::open(dir.path())?;
    if !was_there && !dir.created() {
        known = erasures_in(&options)?;
        erasures.append(&known)?;
    }
    let erased = erased_slots(&known);
    let opened = Journal::open(options, position.as_ref(), |batch| replay_batch(batch, &mut tenants, &dir, &erased))?;
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
    let (revocations, revoked_rows) = revoked::open(dir.path())?;
    let heads = Heads::open(dir.path(), root.derive(privacy::receipt::SIGNING_KEY)).map_err(StartError::Heads)?;
    if let Some(missed) = heads.missed_by(&reader)? {
        let (time, segment, offset) = (missed.time, missed.log.segment, missed.log.offset);
        return Err(StartError::CutBack { time, segment, offset });
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
        reads_missing: watch::Sender::new(false),
        keyed_damaged: watch::Sender::new(false),
    });
    // What a crash kept from the ledger goes there before its keys are destroyed.
    let in_ledger: HashSet<(TenantId, Sequence)> = known.iter().map(|row| (row.tenant, row.sequence)).collect();
    let read = tenants.values_mut().flat_map(|tenant| std::mem::take(&mut tenant.erasures));
    let missing: Vec<ErasureRow> = read.filter(|row| !in_ledger.contains(&(row.tenant, row.sequence))).collect();
    shared.erasures.append(&missing)?;
    known.extend(missing);
    known.extend(lost_from_ledger(&shared, &known, &tenants)?);
    let follower = stops::Follower::open(&shared, &known);
    let mut unsettled = Vec::new();
    let mut unfinished = Vec::new();
    for (id, replaying) in tenants {
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
        commands,
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
    let pending = ErasureLedger::pending(shared.dir.path())?;
    for row in &pending {
        let of = shared.tenants().into_iter().find(|tenant| tenant.id == row.tenant);
        // A tenant that the backup does not know has nobody in it.
        if let Some(tenant) = of
            && !privacy::commit::again(&mut lane, &tenant, row)?
        {
            return Err(StartError::Journal(JournalError::NoSpace));
        }
    }
    if !pending.is_empty() {
        tracing::info!(count = pending.len(), "erasures of since the backup were carried out again");
    }
    ErasureLedger::pending_done(shared.dir.path())?;
    privacy::again::after_restore(&mut lane)?;
    revoked::after_restore(&mut lane)?;
    rotated::tell(&mut lane)?;
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

pub(crate) fn read_root_key(path: &std::path::Path) -> Result<RootKey, StartError> {
    let fault = |why: &str| StartError::RootKeyFile { path: path.to_owned(), why: why.to_owned() };
    let text = secret::read_file(path).map_err(|error| fault(&error.to_string()))?;
    let text = text.trim();
    if text.len() != 64 || !text.is_ascii() {
        return Err(fault("must hold 64 hexadecimal digits"));
    }
    let mut key = [0; 32];
    for (at, byte) in key.iter_mut().enumerate() {
        *byte =
            u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| fault("must hold 64 hexadecimal digits"))?;
    }
    Ok(RootKey::new(key))
}

fn read_admin_key(path: &std::path::Path) -> Result<String, StartError> {
    let text = secret::read_file(path).map_err(|source| StartError::AdminKeyFile { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

fn replay_batch(
    batch: &BatchView<'_>,
    tenants: &mut Tenants,
    dir: &DataDir,
    erased: &ErasedSlots,
) -> Result<(), VisitError> {
    for entry in batch.entries() {
        let kind = EntryKind::from_u8(entry.kind.0)
            .ok_or_else(|| format!("an entry of kind {} is of a newer release", entry.kind.0))?;
        if kind == EntryKind::TenantOpened {
            let Some(payload) = entry.bytes() else { continue };
            let opened: TenantOpened = decision::decode(payload)?;
            tenants.insert(entry.tenant, Replaying::opened(entry.tenant, opened, dir)?);
            continue;
        }
        let tenant = tenants
            .get_mut(&entry.tenant)
            .ok_or_else(|| format!("an entry names tenant {}, which was never opened", entry.tenant.0))?;
        tenant.replay(kind, &entry, batch, erased)?;
    }
    Ok(())
}

impl Replaying {
    fn opened(id: TenantId, opened: TenantOpened, dir: &DataDir) -> Result<Self, VisitError> {
        let TenantOpened { config, wrapped_keys } = opened;
        let models = Models::default();
        let mut state = State::new(&config, &models);
        state.sequence = Sequence(1);
        Self::with(id, (config, models), wrapped_keys, state, dir)
    }

    /// A tenant whose state is given.
    pub(super) fn with(
        id: TenantId,
        (config, models): (TenantConfig, Models),
        wrapped_keys: Vec<u8>,
        state: State,
        dir: &DataDir,
    ) -> Result<Self, VisitError> {
        let keys = dir.tenant_keys(&wrapped_keys, id)?;
        let vault = dir.open_vault(id, &keys)?;
        let config = LiveConfig::compile(config, 1, keys.index, models)
            .map_err(|faults| format!("a configuration does not compile: {} fault(s)", faults.len()))?;
        Ok(Self {
            keys,
            wrapped_keys,
            vault,
            config,
            state,
            next_slot: 0,
            doomed: Vec::new(),
            erasures: Vec::new(),
            relinks: false,
            unsettled: false,
            tells: false,
        })
    }

    fn reconfigure(&mut self, config: TenantConfig, models: Models) -> Result<(), VisitError> {
        let version = self.config.version + 1;
        self.config = LiveConfig::compile(config, version, self.keys.index, models)
            .map_err(|faults| format!("a configuration does not compile: {} fault(s)", faults.len()))?;
        Ok(())
    }

    /// The content of a sealed entry; `None` when its key was destroyed or its content dropped.
    fn opened_content(&mut self, entry: &EntryView<'_>) -> Result<Option<(SlotId, Vec<u8>)>, VisitError> {
        let Some(payload) = entry.bytes() else { return Ok(None) };
        let sealed = Sealed::parse(payload)?;
        self.next_slot = self.next_slot.max(sealed.slot.0.saturating_add(1));
        match self.vault.key(sealed.slot) {
            Ok(key) => {
                let plain = entry.seal_context().open(&key, 0, &sealed.header, sealed.ciphertext)?;
                Ok(Some((sealed.slot, plain)))
            }
            Err(VaultError::Destroyed(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn replay(
        &mut self,
        kind: EntryKind,
        entry: &EntryView<'_>,
        batch: &BatchView<'_>,
        erased: &ErasedSlots,
    ) -> Result<(), VisitError> {
        if entry.sequence > Sequence::MAX {
            return Err(format!("an entry has the sequence {}, which no tenant reaches", entry.sequence.0).into());
        }
        self.state.sequence = self.state.sequence.max(entry.sequence);
        match kind {
            EntryKind::TenantOpened | EntryKind::KeysRotated => {}
            EntryKind::FragmentPut => match self.opened_content(entry)? {
                Some((slot, plain)) => {
                    let fragment = Fragment::decode(&plain)?;
                    let (prepared, _) = self.config.preparer().prepare(&fragment);
                    let bytes = entry.bytes().map_or(0, |bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                    let engine = &self.state.engine;
                    self.state.superseded.by(engine.record(prepared.record).as_ref(), bytes);
                    self.state.note_former(&prepared);
                    self.state.engine.put(&prepared, entry.place, slot);
                    self.state.stops_come_back(&prepared);
                    let digester = hierarchy::digest::Digester::new(&self.config, &self.keys.index);
                    let says = digester.says(&fragment, (entry.place, slot));
                    self.state.accounts.fragment_says(prepared.record, says, entry.sequence);
                    self.unsettled = true;
                }
                // The content is gone. Its record keeps its ordinal, which settlements name records by; whose key it was
                // the erasure ledger knows.
                None => {
                    let sealed = entry.bytes().map(Sealed::parse).transpose()?;
                    if let Some((sealed, record)) =
                        sealed.and_then(|sealed| Some((sealed, erased.get(&(entry.tenant, sealed.slot))?)))
                    {
                        self.state.engine.put_vacant(*record, entry.place, sealed.slot);
                    } else if sealed.is_some_and(|sealed| sealed.opens_record) {
                        let place = [entry.place.segment.to_le_bytes(), entry.place.offset.to_le_bytes()].concat();
                        let nobody = Digest128::of(&blake3::keyed_hash(&self.keys.index, &place));
                        self.state.engine.retract(nobody, ObservedAt(i64::MIN), entry.place);
                    }
                }
            },
            EntryKind::FormerKept => {
                if let Some((_, plain)) = self.opened_content(entry)? {
                    self.state.privacy.former.learn(decision::decode(&plain)?);
                }
            }
            EntryKind::RecordRetracted => {
                if let Some(payload) = entry.bytes() {
                    let retracted: RecordRetracted = decision::decode(payload)?;
                    let state = &mut self.state;
                    state.leave_stops_behind(retracted.record);
                    state.engine.retract(retracted.record, retracted.observed_at, entry.place);
                    state.superseded.leaves(retracted.record);
                    state.accounts.fragment_says(retracted.record, Says::default(), entry.sequence);
                    self.unsettled = true;
                }
            }
            EntryKind::Settled => {
                if let Some(payload) = entry.bytes() {
                    let settled = Settled::decode(payload)?;
                    for change in &settled.changes {
                        let engine = &self.state.engine;
                        let change = change.rename(|ordinal| {
                            engine
                                .digest_of(*ordinal)
                                .ok_or_else(|| format!("a change names record {ordinal}, which never came"))
                        })?;
                        self.state.engine.redo(&change)?;
                    }
                    note_changes(&mut self.state, entry.sequence, &settled.changes);
                    self.state.index_feed(entry.sequence, batch.start);
                    self.unsettled = settled.more;
                    let tells = |change: &ProfileChange<u32>| matches!(change, ProfileChange::ConsentChanged { .. });
                    self.tells |= settled.changes.iter().any(tells);
                    if !settled.more {
                        if std::mem::take(&mut self.tells) {
                            self.state.consent.ledger.passed(settled.committed_at);
                        }
                        // What was said before it is told with it.
                        self.state.consent.ledger.take_untold();
                        self.state.accounts.take_untold();
                    }
                }
            }
            EntryKind::ConfigChanged => {
                if let Some(payload) = entry.bytes() {
                    let changed: ConfigChanged = decision::decode(payload)?;
                    let before = Arc::clone(&self.config.config);
                    self.reconfigure(changed.config, self.config.models.clone())?;
                    let region = self.config.config.default_region.as_deref();
                    self.state.privacy.region_changes(before.default_region.as_deref(), region);
                    self.relinks |= changed.relinks;
                    self.unsettled |= changed.relinks;
                }
            }
            EntryKind::NamesLearned => {
                if let Some(payload) = entry.bytes() {
                    let learned: NamesLearned = decision::decode(payload)?;
                    let mut config = TenantConfig::clone(&self.config.config);
                    config.attribute_names.extend(learned.names);
                    self.reconfigure(config, self.config.models.clone())?;
                }
            }
            EntryKind::ModelChanged => {
                if let Some(payload) = entry.bytes() {
                    let changed: ModelChanged = decision::decode(payload)?;
                    let models = self.config.models.change(&changed, entry.sequence)?;
                    let engine = &mut self.state.engine;
                    self.unsettled |= engine.all_records().any(|record| record.live);
                    // What the models compare and the rows do not hold is read from the fragments at the end.
                    self.relinks |= !engine.set_models(models.weighers());
                    self.reconfigure(TenantConfig::clone(&self.config.config), models)?;
                }
            }
            EntryKind::JudgementStated => {
                if let Some((slot, plain)) = self.opened_content(entry)? {
                    let judged: Judged = decision::decode(&plain)?;
                    self.doomed.extend(self.state.judge(&judged, entry.sequence, entry.place, slot));
                    self.unsettled = true;
                }
            }
            EntryKind::JudgementsEnded => {
                if let Some(payload) = entry.bytes() {
                    let ended: JudgementsEnded = decision::decode(payload)?;
                    for entry in ended.entries {
                        self.doomed.extend(self.state.unjudge(entry));
                    }
                    self.unsettled = true;
                }
            }
            EntryKind::Quarantined => {
                if let Some((slot, plain)) = self.opened_content(entry)? {
                    let kept: Quarantined = decision::decode(&plain)?;
                    let fragment = Fragment::decode(&kept.fragment)?;
                    let (prepared, _) = self.config.preparer().prepare(&fragment);
                    let source = fragment.record.source;
                    let names = self.config.config.as_ref();
                    let content = quarantine::content(&fragment, kept.undated, &prepared, names);
                    let held = Held { place: entry.place, slot, source, fragment: content };
                    self.state.hold(entry.sequence, held, quarantine::points(&prepared));
                }
            }
            EntryKind::StatementRecorded => {
                if let Some((slot, plain)) = self.opened_content(entry)? {
                    let statement: Statement = decision::decode(&plain)?;
                    let said = Said::of(statement, entry.sequence, entry.place, slot, &self.keys);
                    self.state.hear(&said);
                    self.unsettled = true;
                }
            }
            EntryKind::ContactReserved => {
                if let Some(payload) = entry.bytes() {
                    let reserved: ContactReserved = decision::decode(payload)?;
                    // Decided as long before it expires as the configuration of then said.
                    let waits = i64::from(self.config.config.consent.reservation_seconds) * 1_000_000;
                    let decided_at = ObservedAt(reserved.reservation.expires_at.0.saturating_sub(waits));
                    self.state.consent.reservations.reserve(entry.sequence, reserved.reservation, decided_at);
                }
            }
            EntryKind::ReservationSettled => {
                if let Some(payload) = entry.bytes() {
                    let settled: ReservationSettled = decision::decode(payload)?;
                    self.state.consent.reservations.settle(settled.reservation, settled.standing);
                }
            }
            EntryKind::RequestAnswered => {
                if let Some(payload) = entry.bytes() {
                    self.state.requests.remember(decision::decode(payload)?);
                }
            }
            EntryKind::AccountPut
            | EntryKind::AccountParentSet
            | EntryKind::AccountClosed
            | EntryKind::AffiliationStated
            | EntryKind::AffiliationEnded
            | EntryKind::StageSet
            | EntryKind::LifecycleDefined => hierarchy::replay(self, kind, entry)?,
            EntryKind::PrivacyRequestPut
            | EntryKind::Erased
            | EntryKind::Readmitted
            | EntryKind::ResendsStopped
            | EntryKind::PrivacyPolicySet
            | EntryKind::AccessExported
            | EntryKind::ReadLogMarked
            | EntryKind::ReadLogPolicySet
            | EntryKind::RightCarriedOut
            | EntryKind::RequestForwarded
            | EntryKind::CallbackEnded
            | EntryKind::StopsStandOn
            | EntryKind::ReceiptKept => privacy::replay::replay(self, kind, entry)?,
            EntryKind::ApiKeyPut => {
                if let Some(payload) = entry.bytes() {
                    let _ = self.state.api_keys.put(decision::decode(payload)?);
                }
            }
            EntryKind::ApiKeyRevoked => {
                if let Some(payload) = entry.bytes() {
                    self.state.api_keys.revoke(decision::decode(payload)?);
                }
            }
            EntryKind::QuarantineCleared => {
                if let Some(payload) = entry.bytes() {
                    let cleared: QuarantineCleared = decision::decode(payload)?;
                    for entry in cleared.entries {
                        if let Some(held) = self.state.let_go(entry) {
                            self.doomed.push(held.slot);
                        }
                    }
                }
            }
        }
        Ok(())
    }
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
