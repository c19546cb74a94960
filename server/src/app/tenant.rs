//! One tenant while the server runs: its keys, its configuration, its resolution state.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use onefold_core::access::ApiKeys;
use onefold_core::config::TenantConfig;
use onefold_core::consent::stops::StandsOn;
use onefold_core::contract::CompiledContract;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::ObservedAt;
use onefold_core::hierarchy::{AccountId, AccountOrdinal};
use onefold_core::ids::{
    AttributeId, Digest128, NamespaceId, Place, ProfileId, ProfileOrdinal, Sequence, SlotId, SourceId, TenantId,
};
use onefold_matching::prepare::Preparer;
use onefold_matching::resolve::{Engine, LinkRules, Standing};
use onefold_store::keys::TenantKeys;
use onefold_store::vault::Vault;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::consent::Consent;
use super::error::ReadError;
use super::hierarchy::state::Accounts;
use super::models::Models;
use super::privacy::state::Privacy;
use super::quarantine::points::Points;
use super::reads::Noting;
use super::requests::RequestWindow;
use super::review::Judgements;
use super::tidy::Superseded;
use crate::clock::Stopwatch;
use crate::metrics::TenantMeters;

/// How long a reader waits for the disk.
const DURABLE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How often it looks.
const DURABLE_WAIT_STEP: Duration = Duration::from_millis(1);

/// Distance between two entries of the sparse feed index, in sequences.
const FEED_INDEX_STEP: u64 = 256;

/// A configuration and what is compiled from it. Shared whole; readers never see half of a change.
#[derive(Debug)]
pub struct LiveConfig {
    /// What the tenant decided.
    pub config: Arc<TenantConfig>,
    /// Grows with every change while the server runs.
    pub version: u64,
    /// Sequence of the entry that says so: what is shown under this configuration is shown once that is durable.
    pub since: Sequence,
    /// The match models in force.
    pub models: Models,
    preparer: Preparer,
    contracts: Vec<CompiledContract>,
    attributes: HashMap<String, AttributeId>,
    namespaces: HashMap<String, NamespaceId>,
    sources: HashMap<String, SourceId>,
}

impl LiveConfig {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// Every pattern or value of it that cannot be compiled.
    pub fn compile(
        config: TenantConfig,
        version: u64,
        index_key: [u8; 32],
        models: Models,
    ) -> Result<Self, Vec<FieldFault>> {
        let config = Arc::new(config);
        let preparer = Preparer::with_schemas(Arc::clone(&config), index_key, models.schemas())
            .map_err(|error| vec![FieldFault::new("namespace", FaultReason::Malformed, error.to_string())])?;
        let mut faults = Vec::new();
        let mut contracts = Vec::with_capacity(config.sources.len());
        for source in &config.sources {
            match CompiledContract::compile(&source.contract, &config) {
                Ok(contract) => contracts.push(contract),
                Err(more) => faults.extend(more),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        fn by_name<'a, Id>(names: impl Iterator<Item = &'a str>, id: impl Fn(u16) -> Id) -> HashMap<String, Id> {
            (0..).zip(names).map(|(ordinal, name)| (name.to_owned(), id(ordinal))).collect()
        }
        let attributes = by_name(config.attribute_names.iter().map(String::as_str), AttributeId);
        let namespaces = by_name(config.namespaces.iter().map(|n| n.name.as_str()), NamespaceId);
        let sources = by_name(config.sources.iter().map(|s| s.name.as_str()), SourceId);
        Ok(Self { config, version, since: Sequence(0), models, preparer, contracts, attributes, namespaces, sources })
    }

    /// Turns fragments into comparable form.
    pub const fn preparer(&self) -> &Preparer {
        &self.preparer
    }

    /// The contract of a source.
    pub fn contract(&self, source: SourceId) -> Option<&CompiledContract> {
        self.contracts.get(usize::from(source.0))
    }

    /// The attribute with this name.
    pub fn attribute_named(&self, name: &str) -> Option<AttributeId> {
        self.attributes.get(name).copied()
    }

    /// The namespace with this name.
    pub fn namespace_named(&self, name: &str) -> Option<NamespaceId> {
        self.namespaces.get(name).copied()
    }

    /// The source with this name.
    pub fn source_named(&self, name: &str) -> Option<SourceId> {
        self.sources.get(name).copied()
    }

    /// All source names.
    pub fn source_names(&self) -> impl Iterator<Item = &str> {
        self.config.sources.iter().map(|source| source.name.as_str())
    }

    /// All namespace names.
    pub fn namespace_names(&self) -> impl Iterator<Item = &str> {
        self.config.namespaces.iter().map(|namespace| namespace.name.as_str())
    }
}

/// A fragment in quarantine: where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its entry.
    pub place: Place,
    /// The key of its content.
    pub slot: SlotId,
    /// Who sent it.
    pub source: SourceId,
    /// Keyed digest of the record and digest of the facts: the same fragment is held once.
    pub fragment: (Digest128, Digest128),
    /// When it was observed, and the digest of its facts: which of two of one record is the later.
    pub version: (ObservedAt, Digest128),
}

/// When a profile was opened and last changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProfileTimes {
    /// Sequence of its opening.
    pub opened: Sequence,
    /// Sequence of its last change.
    pub changed: Sequence,
}

/// Everything about a tenant that its journal decides. Only the lane changes it.
#[derive(Debug)]
pub struct State {
    /// Records, values, clusters.
    pub engine: Engine,
    /// The last sequence given out.
    pub sequence: Sequence,
    /// The sequence of the last profile change: the feed's end.
    pub last_change: Sequence,
    /// By profile ordinal.
    pub times: Vec<ProfileTimes>,
    /// Quarantined fragments by their entry's sequence.
    pub quarantine: BTreeMap<Sequence, Held>,
    /// The same, by fragment.
    pub quarantined: HashMap<(Digest128, Digest128), Sequence>,
    /// What persons said, and the contacts that were allowed.
    pub consent: Consent,
    /// The last answers to named calls.
    pub requests: RequestWindow,
    /// Accounts, the people in them, and the stages of both.
    pub accounts: Accounts,
    /// Where the judgements in force are told.
    pub judgements: Judgements,
    /// Keys of words that were replaced or taken back since the lane last asked.
    pub replaced: Vec<SlotId>,
    /// Requests of persons, and what must not come back.
    pub privacy: Privacy,
    /// Keys that its callers hold.
    pub api_keys: ApiKeys,
    /// What of the journal nobody needs any more.
    pub superseded: Superseded,
    /// Sparse index of the feed: first sequence of a settlement, and where its batch begins.
    pub feed: Vec<(Sequence, Place)>,
    /// Records and statements are being put where another configuration reads them, piece by piece: until all are, what was
    /// said may be found nowhere, and nothing is decided by it.
    pub relinking: bool,
    /// Where statements came to be heard, and the journal does not say yet.
    pub went_along: Vec<StandsOn>,
}

impl State {
    /// The state of a tenant about which nothing is known.
    pub fn new(config: &TenantConfig, models: &Models) -> Self {
        Self {
            engine: Engine::with_models(LinkRules::of(config), models.weighers()),
            sequence: Sequence(0),
            last_change: Sequence(0),
            times: Vec::new(),
            quarantine: BTreeMap::new(),
            quarantined: HashMap::new(),
            consent: Consent::default(),
            requests: RequestWindow::default(),
            accounts: Accounts::default(),
            judgements: Judgements::default(),
            replaced: Vec::new(),
            privacy: Privacy::default(),
            api_keys: ApiKeys::default(),
            superseded: Superseded::default(),
            feed: Vec::new(),
            relinking: false,
            went_along: Vec::new(),
        }
    }

    /// Sequence of the profile's last change.
    pub fn changed(&self, profile: ProfileOrdinal) -> Sequence {
        self.times.get(profile.0 as usize).map_or(Sequence(0), |times| times.changed)
    }

    /// The same, while the profile is live.
    pub fn changed_if_live(&self, profile: ProfileOrdinal) -> Option<Sequence> {
        (self.engine.standing(profile) == Standing::Live).then(|| self.changed(profile))
    }

    /// Notes where a settlement lies, if the last note is far enough behind.
    pub fn index_feed(&mut self, first: Sequence, batch: Place) {
        if self.feed.last().is_none_or(|(last, _)| first.0 >= last.0 + FEED_INDEX_STEP) {
            self.feed.push((first, batch));
        }
    }

    /// Holds a fragment in quarantine; `points` are what it is found by.
    pub fn hold(&mut self, entry: Sequence, held: Held, points: Points) {
        self.privacy.quarantined.put(entry, points);
        self.quarantined.insert(held.fragment, entry);
        self.quarantine.insert(entry, held);
        self.hear_what_waits(held.fragment.0);
    }

    /// Lets it go.
    pub fn let_go(&mut self, entry: Sequence) -> Option<Held> {
        let held = self.quarantine.remove(&entry)?;
        self.quarantined.remove(&held.fragment);
        self.privacy.quarantined.take(entry);
        self.hear_what_waits(held.fragment.0);
        Some(held)
    }
}

/// A tenant.
#[derive(Debug)]
pub struct Tenant {
    /// Its ordinal.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: TenantKeys,
    /// The same, wrapped, as they go into checkpoints.
    pub wrapped_keys: Vec<u8>,
    /// The keys of its records' content.
    pub vault: Vault,
    /// How its reads are noted.
    pub noting: Noting,
    /// What is counted of it.
    pub meters: TenantMeters,
    config: RwLock<Arc<LiveConfig>>,
    state: RwLock<State>,
    durable: watch::Sender<Sequence>,
}

impl Tenant {
    /// Puts a tenant together.
    pub fn new(
        id: TenantId,
        (keys, wrapped_keys): (TenantKeys, Vec<u8>),
        vault: Vault,
        config: Arc<LiveConfig>,
        state: State,
    ) -> Self {
        let durable = watch::Sender::new(state.sequence);
        Self {
            id,
            name: config.config.name.clone(),
            keys,
            wrapped_keys,
            vault,
            noting: Noting::default(),
            meters: TenantMeters::default(),
            config: RwLock::new(config),
            state: RwLock::new(state),
            durable,
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<LiveConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the configuration; the lane's right.
    pub fn set_config(&self, config: Arc<LiveConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Looks at the state.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state; the lane's right.
    pub fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state, and waits until what was seen is durable: a crash must not take back what was answered. Not
    /// for asynchronous threads.
    ///
    /// # Errors
    /// [`ReadError::Behind`] when the disk takes too long.
    pub fn seen<T>(&self, look: impl FnOnce(&State) -> T) -> Result<T, ReadError> {
        let (found, sequence) = {
            let state = self.state();
            (look(&state), state.sequence)
        };
        let waited = Stopwatch::start();
        while self.durable() < sequence {
            if waited.elapsed() > DURABLE_WAIT_MAX {
                return Err(ReadError::Behind { wanted: sequence.0, reached: self.durable().0 });
            }
            std::thread::sleep(DURABLE_WAIT_STEP);
        }
        Ok(found)
    }

    /// Says that everything up to here is durable.
    pub fn publish(&self, sequence: Sequence) {
        self.durable.send_if_modified(|durable| {
            let grew = sequence > *durable;
            *durable = sequence.max(*durable);
            grew
        });
    }

    /// Everything up to here is durable.
    pub fn durable(&self) -> Sequence {
        *self.durable.borrow()
    }

    /// Follows [`Tenant::durable`].
    pub fn follow(&self) -> watch::Receiver<Sequence> {
        self.durable.subscribe()
    }

    /// The id that callers know a source account by.
    pub fn account_id(&self, ordinal: AccountOrdinal) -> AccountId {
        AccountId::seal(ordinal, &self.keys.id)
    }

    /// The id that callers know a profile by.
    pub fn profile_id(&self, ordinal: ProfileOrdinal) -> ProfileId {
        ProfileId::seal(ordinal, &self.keys.id)
    }
}
