//! Match models: which are in force, what another would change, and the change.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use onefold_core::change::ProfileChange;
use onefold_core::config::STEWARD_SOURCE;
use onefold_core::decision::{self, EntryKind, ModelChanged};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::PartyKind;
use onefold_core::identifier::region;
use onefold_core::ids::{Digest128, Place, ProfileOrdinal, Sequence};
use onefold_matching::pair::shared::keep_shared;
use onefold_matching::pair::symbols::Symbols;
use onefold_matching::pair::train::{Census, Options, Rows, train};
use onefold_matching::pair::{Extractor, Features, Matcher, Model, Schema, shipped_organisations, shipped_persons};
use onefold_matching::resolve::{Engine, RecordView, Weigher};
use onefold_store::journal::{JournalError, entry_room};

use super::decide::Decided;
use super::error::{ReadError, WriteError};
use super::etag::guard;
use super::lane::{Command, Lane, kind};
use super::requests::{ReplyTo, RequestKey, remember, room_to_remember};
use super::tenant::{LiveConfig, Tenant};
use super::writer::Reply;
use super::{App, Shared, read};

/// Bytes of an artefact at most: it is one entry of the journal, and comes in one message.
pub const ARTEFACT_BYTES_MAX: usize = 3 << 20;
/// Records that are prepared again between two words to nobody: they are read and let go.
const PREPARE_STEP: usize = 4_096;
/// Live records that a model is fitted to at most; of more, an even share is drawn by their content.
pub const TRAINING_RECORDS_MAX: usize = 100_000;

/// A model in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The model, compiled.
    pub matcher: Arc<Matcher>,
    /// Sequence of the change that put it in force.
    pub since: Sequence,
}

impl InForce {
    /// What changes whenever the model does.
    pub fn etag_source(&self) -> [u8; 32] {
        self.matcher.fingerprint()
    }
}

/// The models in force, by kind of party.
#[derive(Clone, Debug, Default)]
pub struct Models([Option<InForce>; 2]);

impl Models {
    /// Those that ship, put in force by the entries behind this one.
    pub fn shipped(mut behind: Sequence) -> Self {
        let mut models = Self::default();
        for party in [PartyKind::Person, PartyKind::Organisation] {
            behind = behind.next();
            let matcher = Arc::new(Matcher::new(shipped(party).clone()));
            models = models.with(party, Some(InForce { matcher, since: behind }));
        }
        models
    }

    /// The model that matches this kind of party.
    pub const fn of(&self, party: PartyKind) -> Option<&InForce> {
        self.0[party as usize].as_ref()
    }

    /// Those there are.
    pub fn all(&self) -> impl Iterator<Item = (PartyKind, &InForce)> {
        [PartyKind::Person, PartyKind::Organisation].into_iter().filter_map(|party| Some((party, self.of(party)?)))
    }

    /// The same with another one for this kind of party.
    #[must_use]
    pub fn with(&self, party: PartyKind, model: Option<InForce>) -> Self {
        let mut other = self.clone();
        other.0[party as usize] = model;
        other
    }

    /// What they compare.
    pub fn schemas(&self) -> impl Iterator<Item = &Schema> {
        self.0.iter().flatten().map(|model| &model.matcher.model().schema)
    }

    /// As the engine takes them.
    pub fn weighers(&self) -> [Option<Arc<dyn Weigher>>; 2] {
        [PartyKind::Person, PartyKind::Organisation]
            .map(|party| self.of(party).map(|model| Arc::clone(&model.matcher) as Arc<dyn Weigher>))
    }

    /// Takes what the journal says.
    ///
    /// # Errors
    /// [`onefold_matching::pair::model::ModelError`] when the artefact cannot be used.
    pub fn change(
        &self,
        changed: &ModelChanged,
        since: Sequence,
    ) -> Result<Self, onefold_matching::pair::model::ModelError> {
        let model = match &changed.artefact {
            Some(artefact) => {
                let matcher = Arc::new(Matcher::new(Model::from_json(artefact)?));
                Some(InForce { matcher, since })
            }
            None => None,
        };
        Ok(self.with(changed.party, model))
    }

    /// What the journal would say of them.
    pub fn to_rows(&self) -> Vec<(ModelChanged, Sequence)> {
        let row = |(party, model): (PartyKind, &InForce)| {
            (ModelChanged { party, artefact: Some(model.matcher.model().to_json()) }, model.since)
        };
        self.all().map(row).collect()
    }
}

/// A model that could be in force.
#[derive(Clone, Debug)]
pub enum Choice {
    /// This one.
    Model(Box<Model>),
    /// The one that ships with this release.
    Shipped,
    /// None.
    None,
}

impl Choice {
    /// The model, if it is one.
    pub fn model(self, party: PartyKind) -> Option<Model> {
        match self {
            Self::Model(model) => Some(*model),
            Self::Shipped => Some(shipped(party).clone()),
            Self::None => None,
        }
    }
}

/// What other models would change.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What would become of the profiles.
    pub changes: Vec<ProfileChange>,
    /// Live profiles now and then.
    pub profiles: (u32, u32),
    /// Pairs worth a question or a link, now and then.
    pub edges: (u64, u64),
    /// The digest of the graph that would be.
    pub digest: blake3::Hash,
}

/// One at a time: each takes as much memory again as the tenant's engine.
#[derive(Debug, Default)]
pub struct Studies(Mutex<()>);

/// A live record: where its fragment is, and what it says.
struct LiveRecord {
    digest: Digest128,
    place: Place,
    profile: Option<ProfileOrdinal>,
    facts: Digest128,
}

/// The engine resolved afresh under other models, and what that changes. Reads go on meanwhile.
fn resolved(
    shared: &Shared,
    tenant: &Tenant,
    mut engine: Engine,
    after: &LiveConfig,
) -> Result<(Engine, Vec<ProfileChange>), ReadError> {
    if !engine.set_models(after.models.weighers()) {
        // The models compare what the rows do not hold: every fragment is read again.
        let live = engine.all_records().filter(|record| record.live);
        let records: Vec<(Digest128, Place)> = live.map(|record| (record.digest, record.place)).collect();
        for step in records.chunks(PREPARE_STEP) {
            for (record, place) in step {
                prepare_again(shared, tenant, &mut engine, after, (*record, *place))?;
            }
        }
    }
    let changes = engine.settle();
    Ok((engine, changes))
}

/// Prepares one record of the engine for other models. A preview runs beside the lane: what was erased or taken back since
/// the engine was copied is left out, and what a newer fragment replaced is taken as it is now.
fn prepare_again(
    shared: &Shared,
    tenant: &Tenant,
    engine: &mut Engine,
    after: &LiveConfig,
    (record, place): (Digest128, Place),
) -> Result<(), ReadError> {
    let Some((fragment, found)) = read::fragment_of(shared, tenant, record, place)? else {
        let ordinal = engine.ordinal_of(record);
        engine.forget(ordinal.as_slice());
        return Ok(());
    };
    let prepared = after.preparer().prepare(&fragment).0;
    if !engine.prepare_again(&prepared)
        && let Some(slot) = engine.record(record).and_then(|view| view.slot)
    {
        engine.put(&prepared, found, slot);
    }
    Ok(())
}

/// Puts a model in force.
pub(super) fn change(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    wanted: Wanted,
    request: Option<RequestKey>,
    reply: ReplyTo<Sequence>,
) -> Result<(), JournalError> {
    let Wanted { party, model, etag } = wanted;
    let before = tenant.config();
    let known = before.models.of(party);
    if let Err(stale) = guard(&etag, known.map(InForce::etag_source).as_ref()) {
        let _ = reply.send(Err(stale));
        return Ok(());
    }
    let changed = ModelChanged { party, artefact: model.as_ref().map(Model::to_json) };
    let sequence = tenant.state().sequence.next();
    let same = |known: &InForce| Some(known.matcher.model()) == model.as_ref();
    if known.map_or(model.is_none(), same) {
        // Nothing to say, but the answer keeps its turn behind what was said before.
        let since = tenant.state().sequence;
        let Some(mut group) = lane.begin(room_to_remember(request, &since))? else {
            let _ = reply.send(Err(WriteError::DiskFull));
            return Ok(());
        };
        remember(lane, tenant, request, &since, &mut group)?;
        group.commit.replies.push(Reply::of(reply, since));
        return lane.commit(group);
    }
    let model = model.map(|model| InForce { matcher: Arc::new(Matcher::new(model)), since: sequence });
    let models = before.models.with(party, model);
    let mut after = match LiveConfig::compile((*before.config).clone(), before.version + 1, tenant.keys.index, models) {
        Ok(after) => after,
        Err(faults) => {
            let _ = reply.send(Err(WriteError::Invalid(faults)));
            return Ok(());
        }
    };
    after.since = sequence;
    let payload = decision::encode(&changed);
    let room = entry_room(payload.len()) + room_to_remember(request, &sequence) + lane.settled_room();
    let most = lane.segment_bytes().saturating_sub(lane.settled_room());
    if room > most {
        let _ = reply.send(Err(WriteError::Full { what: "bytes of the model", limit: most }));
        return Ok(());
    }
    // Fragments may be read again below, so all of them must be on disk.
    lane.drain()?;
    let span = lane.work("resolve.again");
    let engine = tenant.state().engine.clone();
    let (engine, changes) = match resolved(&lane.shared, tenant, engine, &after) {
        Ok(resolved) => resolved,
        Err(error) => {
            let _ = reply.send(Err(error.into()));
            return Ok(());
        }
    };
    let Some(mut group) = lane.begin((room + 32 * changes.len()).min(most))? else {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    };
    group.builder.push(tenant.id, sequence, kind(EntryKind::ModelChanged), |_, out| out.extend_from_slice(&payload))?;
    tenant.state_mut().sequence = sequence;
    tenant.set_config(Arc::new(after));
    group = lane.settle(tenant, group, Decided::resolved(engine, changes))?;
    drop(span);
    let end = tenant.state().sequence;
    remember(lane, tenant, request, &end, &mut group)?;
    group.commit.published.push((Arc::clone(tenant), tenant.state().sequence));
    group.commit.replies.push(Reply::of(reply, end));
    lane.commit(group)
}

/// A change of model on its way into the lane.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whom it matches.
    pub party: PartyKind,
    /// The model.
    pub model: Option<Model>,
    /// As the model in force was read; empty asks nothing.
    pub etag: String,
}

impl App {
    /// Puts a model in force, and resolves everything known under it. Answers with the sequence of the last consequence.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done.
    pub async fn set_model(
        &self,
        tenant: &Arc<Tenant>,
        wanted: Wanted,
        request: Option<RequestKey>,
    ) -> Result<Sequence, WriteError> {
        let tenant = Arc::clone(tenant);
        self.ask(|reply| Command::SetModel { tenant, wanted: Box::new(wanted), request, reply }).await
    }

    /// Runs one study alone.
    fn study<T>(&self, work: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
        let _alone = match self.studies.0.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => return Err(ReadError::StudyRuns),
        };
        work()
    }
}

/// What would change under another model, while nothing does. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError::StudyRuns`] when another preview or training runs, [`ReadError::Invalid`], [`ReadError::Store`].
pub fn preview(app: &App, tenant: &Tenant, party: PartyKind, model: Option<Model>) -> Result<Preview, ReadError> {
    app.study(|| {
        let before = tenant.config();
        let (engine, since) = tenant.seen(|state| (state.engine.clone(), state.sequence))?;
        let model = model.map(|model| InForce { matcher: Arc::new(Matcher::new(model)), since });
        let models = before.models.with(party, model);
        let after = LiveConfig::compile((*before.config).clone(), before.version, tenant.keys.index, models)
            .map_err(ReadError::Invalid)?;
        let now = engine.stats();
        let (engine, changes) = resolved(&app.shared, tenant, engine, &after)?;
        let then = engine.stats();
        Ok(Preview {
            changes,
            profiles: (now.profiles, then.profiles),
            edges: (now.edges, then.edges),
            digest: engine.digest(),
        })
    })
}

/// Fits a model to a tenant's live records. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError::StudyRuns`], [`ReadError::Invalid`] when there is nothing to learn from, [`ReadError::Store`].
pub fn fit(app: &App, tenant: &Tenant, schema: &Schema, version: &str) -> Result<(Model, usize), ReadError> {
    app.study(|| {
        let config = tenant.config();
        // Corrections differ from what they correct, and say nothing of how sources write.
        let stewards = config.source_named(STEWARD_SOURCE);
        let is_correction = |record: &RecordView| Some(record.source) == stewards;
        let mut records: Vec<LiveRecord> = tenant.seen(|state| {
            let learned = |record: &RecordView| record.live && record.party == schema.party && !is_correction(record);
            let live = state.engine.all_records().filter(learned);
            live.map(|record| LiveRecord {
                digest: record.digest,
                place: record.place,
                profile: record.profile,
                facts: record.facts,
            })
            .collect()
        })?;
        // By content: the order of arrival does not show in the model.
        records.sort_unstable_by_key(|record| record.facts);
        records.truncate(TRAINING_RECORDS_MAX);
        let extractor = Extractor::new(schema, &config.config).map_err(|error| ReadError::Store(error.into()))?;
        let (mut features, mut profiles) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        for record in &records {
            // What was erased or taken back since is not learned from.
            let found = read::fragment_of(&app.shared, tenant, record.digest, record.place)?;
            if let Some((fragment, _)) = found.filter(|(fragment, _)| fragment.party == schema.party) {
                features.push(extractor.features(&fragment, region::of(&fragment, &config.config)));
                profiles.push(record.profile);
            }
        }
        if features.len() < 2 {
            let message = "give at least two live records of this kind of party first; there is nothing to learn from";
            return Err(ReadError::Invalid(vec![FieldFault::new("name", FaultReason::Missing, message)]));
        }
        let mut model = fitted(schema, &features, version);
        let with_profile = features.iter().zip(&profiles);
        keep_shared(&mut model, with_profile.filter_map(|(features, profile)| Some((features, profile.as_ref()?.0))));
        model.check().map_err(|error| ReadError::Store(error.into()))?;
        Ok((model, features.len()))
    })
}

fn fitted(schema: &Schema, features: &[Features], version: &str) -> Model {
    let mut census = Census::new(schema);
    features.iter().for_each(|features| census.add(features));
    let mut model = Model::untrained(schema.clone());
    census.tell(&mut model);
    let matcher = Matcher::new(model.clone());
    let mut symbols = Symbols::default();
    let mut rows = Vec::with_capacity(features.len() * matcher.stride());
    features.iter().for_each(|features| matcher.row(&mut symbols, features, &mut rows));
    train(model, &Rows { symbols: &symbols, rows: &rows }, Options { labels: None, version })
}

/// The model of this release for a kind of party.
fn shipped(party: PartyKind) -> &'static Model {
    match party {
        PartyKind::Person => shipped_persons(),
        PartyKind::Organisation => shipped_organisations(),
    }
}
