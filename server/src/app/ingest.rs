//! Fragments on their way into the lane, and what became of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use onefold_core::contract::{CompiledContract, check};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{Fragment, Identifier, ObservedAt};
use onefold_core::ids::{Digest128, ProfileOrdinal, Sequence};
use onefold_core::namespace::Normaliser;
use onefold_matching::prepared::Prepared;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::oneshot;

use super::App;
use super::consent::person::zone_notes;
use super::consent::{Saying, law};
use super::decide;
use super::error::WriteError;
use super::explain;
use super::hierarchy::steps;
use super::lane::Command;
use super::quarantine::points::{self, POINTS_MAX, Points};
use super::requests::RequestKey;
use super::tenant::{LiveConfig, Tenant};

/// How long a call waits for room in front of the lane.
const LANE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Bytes of a note beside its identifiers, and an entry's own.
const NOTE_BYTES: usize = 128;
/// Bytes of each identifier of a note: a namespace and a digest.
const NOTE_VALUE_BYTES: usize = 20;

/// A fragment that came through the door, in the forms that the lane needs. Personal data: `Debug` hides it.
#[derive(Clone)]
pub struct Arriving {
    /// The fragment as it will be kept, in canonical order.
    pub encoded: Vec<u8>,
    /// Its comparable form.
    pub prepared: Prepared,
    /// The caller left the time of observation to us: the same facts again are a duplicate whatever the time.
    pub undated: bool,
    /// The configuration that it was prepared under.
    pub config_version: u64,
    /// What is kept as a fact and will not link, or says nothing of where somebody is.
    pub notes: Vec<FieldFault>,
    /// It tells of roles in accounts or of stages.
    pub tells: bool,
    /// When it came in, where its source's contract binds its stages to the steps that are allowed. Only the lane knows
    /// where the record stands.
    pub bound_to_steps: Option<ObservedAt>,
    /// What it will be found by in quarantine, and whether that is all; where the door found fault with it.
    pub found: Option<(Points, bool)>,
    /// What stands inside of its identifiers, where one is malformed or in other forms of letters: what was erased is stopped
    /// there too.
    pub inside: Box<[Digest128]>,
    /// Consent statements that came along. They are entries of the ledger, whatever becomes of the fragment; but of one that is held
    /// in quarantine, what permits something waits with it.
    pub says: Vec<Saying>,
}

impl fmt::Debug for Arriving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arriving({} bytes, ..)", self.encoded.len())
    }
}

/// One thing for the lane to do.
#[derive(Debug)]
pub enum Item {
    /// Take a fragment.
    Put(Box<Arriving>),
    /// Keep a fragment that breaks its contract.
    Quarantine {
        /// The fragment.
        arriving: Box<Arriving>,
        /// Why.
        faults: Vec<FieldFault>,
        /// When it came in.
        received_at: ObservedAt,
    },
    /// Take a fragment out of quarantine, now that it keeps its contract.
    Replay {
        /// The fragment.
        arriving: Box<Arriving>,
        /// The quarantine's entry.
        entry: Sequence,
    },
    /// Still broken: leave it where it is.
    StillHeld {
        /// The quarantine's entry.
        entry: Sequence,
        /// Why.
        faults: Vec<FieldFault>,
    },
    /// Take a consent statement.
    Say(Box<Saying>),
    /// Take back a record.
    Retract {
        /// Keyed digest of the record.
        record: Digest128,
        /// When the source removed it.
        at: ObservedAt,
    },
}

impl Item {
    /// What to do with a fragment that came through the door.
    pub fn of(fragment: Fragment, undated: bool, config: &LiveConfig, received_at: ObservedAt) -> Self {
        let (mut arriving, faults) = Arriving::of(&fragment, undated, config);
        arriving.bound_to_steps = arriving.bound_to_steps.map(|_| received_at);
        if faults.is_empty() {
            Self::Put(Box::new(arriving))
        } else {
            Self::Quarantine { arriving: Box::new(arriving), faults, received_at }
        }
    }

    /// Whether it was looked at under another configuration than this one.
    pub fn is_stale(&self, config: &LiveConfig) -> bool {
        match self {
            Self::Put(arriving) | Self::Quarantine { arriving, .. } | Self::Replay { arriving, .. } => {
                arriving.config_version != config.version
            }
            Self::StillHeld { .. } | Self::Say(_) | Self::Retract { .. } => false,
        }
    }

    /// Looked at again, where the configuration changed between the door and the lane: a fragment is judged by the contract
    /// that is in force when it is committed.
    #[must_use]
    pub fn under(self, config: &LiveConfig, now: ObservedAt) -> Self {
        if !self.is_stale(config) {
            return self;
        }
        match self {
            Self::Put(arriving) => match arriving.again(config) {
                (arriving, faults) if faults.is_empty() => {
                    Self::Put(Box::new(Arriving { bound_to_steps: arriving.bound_to_steps.map(|_| now), ..arriving }))
                }
                (arriving, faults) => Self::Quarantine { arriving: Box::new(arriving), faults, received_at: now },
            },
            Self::Quarantine { arriving, faults: _, received_at } => match arriving.again(config) {
                (arriving, faults) if faults.is_empty() => {
                    let bound_to_steps = arriving.bound_to_steps.map(|_| received_at);
                    Self::Put(Box::new(Arriving { bound_to_steps, ..arriving }))
                }
                (arriving, faults) => Self::Quarantine { arriving: Box::new(arriving), faults, received_at },
            },
            Self::Replay { arriving, entry } => match arriving.again(config) {
                (arriving, faults) if faults.is_empty() => Self::Replay { arriving: Box::new(arriving), entry },
                (_, faults) => Self::StillHeld { entry, faults },
            },
            item => item,
        }
    }

    /// Bytes that the journal will take for it, before sealing.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put(arriving) if arriving.bound_to_steps.is_some() => {
                arriving.encoded.len() + arriving.note_bytes() + steps::ROOM
            }
            // Of what comes late only a note is kept.
            Self::Put(arriving) | Self::Replay { arriving, .. } => arriving.encoded.len().max(arriving.note_bytes()),
            Self::Quarantine { arriving, faults, .. } => {
                let said = faults.iter().map(|f| f.path.len() + f.message.len() + 8).sum::<usize>();
                arriving.encoded.len() + 32 + said + arriving.note_bytes()
            }
            Self::StillHeld { .. } => 0,
            // A correction that stood beside it may be judged to go with another record.
            Self::Retract { .. } => 32 + decide::MOVED_ROOM,
            Self::Say(_) => 0,
        }
    }

    /// The statements that come with it.
    pub fn says(&self) -> &[Saying] {
        match self {
            Self::Put(arriving) | Self::Quarantine { arriving, .. } | Self::Replay { arriving, .. } => &arriving.says,
            Self::Say(saying) => std::slice::from_ref(saying),
            Self::StillHeld { .. } | Self::Retract { .. } => &[],
        }
    }

    /// Keys of the vault that it may take.
    pub fn keys(&self) -> usize {
        1 + self.says().len()
    }

    /// With these statements, where it is a fragment.
    #[must_use]
    pub fn saying(mut self, says: Vec<Saying>) -> Self {
        if let Self::Put(arriving) | Self::Quarantine { arriving, .. } = &mut self {
            arriving.says = says;
        }
        self
    }
}

impl Arriving {
    /// Bytes that the journal may take for a note of its record and identifiers: where it comes late, or is held in quarantine.
    fn note_bytes(&self) -> usize {
        NOTE_BYTES + NOTE_VALUE_BYTES * self.prepared.links.len()
    }

    /// Prepares a fragment, and finds every fault under its source's contract.
    pub fn of(fragment: &Fragment, undated: bool, config: &LiveConfig) -> (Self, Vec<FieldFault>) {
        let (prepared, notes) = config.preparer().prepare(fragment);
        // An address may be anybody's customer number.
        let is_address = |claim: &Identifier| {
            let namespace = config.config.namespace(claim.namespace);
            claim.raw.contains('@') && namespace.is_none_or(|namespace| namespace.normaliser != Normaliser::Email)
        };
        let is_odd = !notes.is_empty() || fragment.identifiers.iter().any(|c| !c.raw.is_ascii() || is_address(c));
        let inside = if is_odd { points::in_claims(fragment, config) } else { Box::default() };
        let faults = config
            .contract(fragment.record.source)
            .map(|contract| check(fragment, &config.config, contract, &|id| config.preparer().block_rules(id)))
            .unwrap_or_default();
        let notes = notes
            .into_iter()
            .map(|note| {
                let namespace = fragment
                    .identifiers
                    .get(note.identifier)
                    .and_then(|identifier| config.config.namespace(identifier.namespace))
                    .map_or("", |namespace| namespace.name.as_str());
                let path = format!("identifiers[{namespace}]");
                FieldFault::new(path, FaultReason::Malformed, explain::note(note.reason))
            })
            .chain(zone_notes(fragment))
            .chain(law::notes(fragment, &config.config.consent))
            .collect();
        let encoded = fragment.encode();
        let tells = !(fragment.affiliations.is_empty() && fragment.stages.is_empty());
        let binds = config.contract(fragment.record.source).is_some_and(CompiledContract::binds_to_steps);
        let bound_to_steps = (binds && !fragment.stages.is_empty()).then(ObservedAt::default);
        let found = (!faults.is_empty()).then(|| Points::of(fragment, &prepared, config, POINTS_MAX));
        let (config_version, says) = (config.version, Vec::new());
        let arriving =
            Self { encoded, prepared, undated, config_version, notes, tells, bound_to_steps, found, inside, says };
        (arriving, faults)
    }
}

impl Arriving {
    /// The same, prepared and checked under another configuration.
    fn again(self, config: &LiveConfig) -> (Self, Vec<FieldFault>) {
        // It was encoded here, so it reads.
        let Ok(fragment) = Fragment::decode(&self.encoded) else { return (self, Vec::new()) };
        let (arriving, faults) = Self::of(&fragment, self.undated, config);
        let says = self.says.into_iter().map(|saying| saying.under(config)).collect();
        (Self { says, ..arriving }, faults)
    }
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What became of it.
    pub outcome: Outcome,
}

impl Answer {
    /// Refused at the door.
    pub const fn rejected(faults: Vec<FieldFault>) -> Self {
        Self { outcome: Outcome::Rejected { faults } }
    }
}

/// What became of one item; everything but `Rejected` is durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Taken.
    Accepted {
        /// Where in the order of events.
        sequence: Sequence,
        /// The profile that holds the record; none for a retraction.
        profile: Option<ProfileOrdinal>,
        /// What will not link.
        notes: Vec<FieldFault>,
    },
    /// Known already.
    Duplicate {
        /// At most where in the order of events.
        sequence: Sequence,
        /// The profile that holds the record.
        profile: Option<ProfileOrdinal>,
    },
    /// Older than what is known.
    Superseded {
        /// At most where in the order of events.
        sequence: Sequence,
        /// The profile that holds the record.
        profile: Option<ProfileOrdinal>,
    },
    /// Held until it is replayed or discarded.
    Quarantined {
        /// Where in the order of events.
        sequence: Sequence,
        /// The quarantine's entry.
        entry: Sequence,
        /// Why.
        faults: Vec<FieldFault>,
    },
    /// A statement was recorded.
    Said {
        /// Where in the order of events.
        sequence: Sequence,
        /// The statement: this one, or the one that says the same already.
        statement: Sequence,
        /// Whether it was known.
        known: bool,
    },
    /// Nothing was kept.
    Rejected {
        /// Why.
        faults: Vec<FieldFault>,
    },
    /// It was erased and must not come back: nothing was kept, and it was counted.
    Suppressed {
        /// At most where in the order of events.
        sequence: Sequence,
    },
}

impl App {
    /// Hands items of one tenant to the lane; waits only for room in front of it. The receiver gets one answer for each
    /// item, in order, once all of them are durable.
    pub async fn submit(
        &self,
        tenant: &Arc<Tenant>,
        items: Vec<Item>,
    ) -> oneshot::Receiver<Result<Vec<Answer>, WriteError>> {
        let (reply, answers) = oneshot::channel();
        if items.is_empty() {
            let _ = reply.send(Ok(Vec::new()));
            return answers;
        }
        let command = Command::Ingest { tenant: Arc::clone(tenant), items, request: None, reply };
        // A closed lane drops the command and with it the reply: the receiver sees that as a failed store.
        let _ = self.lane.send(command.caused()).await;
        answers
    }

    /// Hands items to the lane and waits for their answers, but for room in front of it only a moment. A call that its
    /// caller named gets its first answer again.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was written.
    pub async fn ingest(
        &self,
        tenant: &Arc<Tenant>,
        items: Vec<Item>,
        request: Option<RequestKey>,
    ) -> Result<Vec<Answer>, WriteError> {
        if items.is_empty() && request.is_none() {
            return Ok(Vec::new());
        }
        let tenant = Arc::clone(tenant);
        self.ask(|reply| Command::Ingest { tenant, items, request, reply }).await
    }

    /// Learns attribute names as [`App::learn_names`] does, and waits for room in front of the lane as long as it takes:
    /// for streams, which the wait holds back.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done; never [`WriteError::Busy`].
    pub async fn learn_names_patiently(&self, tenant: &Arc<Tenant>, names: Vec<String>) -> Result<(), WriteError> {
        let (reply, answer) = oneshot::channel();
        // A closed lane drops the command and with it the reply.
        let command = Command::LearnNames { tenant: Arc::clone(tenant), names, reply };
        let _ = self.lane.send(command.caused()).await;
        answer.await.unwrap_or(Err(WriteError::StoreFailed))
    }

    /// Hands a command to the lane and waits for its answer.
    ///
    /// # Errors
    /// [`WriteError::Busy`] when the lane has no room, [`WriteError::StoreFailed`] when it is gone, and what the lane
    /// says.
    pub async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, WriteError>>) -> Command,
    ) -> Result<T, WriteError> {
        let (reply, answer) = oneshot::channel();
        match self.lane.send_timeout(make(reply).caused(), LANE_WAIT_MAX).await {
            Ok(()) => answer.await.unwrap_or(Err(WriteError::StoreFailed)),
            Err(SendTimeoutError::Timeout(_)) => Err(WriteError::Busy { retry_after: LANE_WAIT_MAX }),
            Err(SendTimeoutError::Closed(_)) => Err(WriteError::StoreFailed),
        }
    }
}
