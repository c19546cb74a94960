//! Consent and contact decisions: what persons said, and whether one more message may go out.
//!
//! Statements enter the lane as items beside fragments ([`Saying`]), so there is one order of events. [`read`] answers what
//! holds, [`contact`] decides, [`reserve`] counts in the lane, `heard` knows where a no is heard whose record is not there, [`shows`] what of a
//! statement a purpose may see, [`person`] knows where and under whose law somebody is.

pub mod contact;
pub mod course;
mod heard;
pub(super) mod law;
pub mod person;
pub mod read;
pub mod reserve;
pub mod shows;
pub mod token;

use onefold_core::consent::ledger::{Entry, Ledger, LedgerRows, entry_of};
use onefold_core::consent::reserve::{Reservation, Reservations};
use onefold_core::consent::{Decision, Statement, Subject};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{ObservedAt, SourceRecord};
use onefold_core::ids::{Digest128, NamespaceId, Place, Sequence, SlotId};
use onefold_matching::prepare::ReadIdentifier;
use onefold_store::journal::entry_room;
use onefold_store::keys::TenantKeys;
use serde::{Deserialize, Serialize};

use super::tenant::{LiveConfig, State, Tenant};
use super::{Shared, error::ReadError};

/// Everything about consent that a tenant's journal decides.
#[derive(Debug, Default)]
pub struct Consent {
    /// What was said.
    pub ledger: Ledger,
    /// Contacts that were allowed.
    pub reservations: Reservations,
}

/// The same in a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ConsentRows {
    ledger: LedgerRows,
    reservations: Vec<(Sequence, Reservation)>,
    steady: ObservedAt,
}

impl Consent {
    pub(super) fn to_rows(&self) -> ConsentRows {
        let reservations = self.reservations.all().map(|(id, reservation)| (id, reservation.clone())).collect();
        let steady = self.reservations.steady(ObservedAt(i64::MIN));
        ConsentRows { ledger: self.ledger.to_rows(), reservations, steady }
    }

    pub(super) fn from_rows(rows: ConsentRows) -> Self {
        let mut reservations = Reservations::default();
        for (id, reservation) in rows.reservations {
            reservations.reserve(id, reservation, rows.steady);
        }
        Self { ledger: Ledger::from_rows(rows.ledger), reservations }
    }
}

/// A statement on its way into the lane.
#[derive(Clone, Debug)]
pub struct Saying {
    /// The statement; the points of a profile are the lane's to find.
    pub statement: Statement,
    /// Digest of what is said.
    pub content: Digest128,
    /// Records that there is room for, where the statement is about a profile.
    pub records_max: usize,
    /// Its points are given, though it is about a profile: it answers a statement that stands there.
    pub pinned: bool,
    /// Says nothing new where a stop is in force at its points: a link may be followed many times.
    pub once: bool,
    /// A restore says it again: what was erased after it was said is taken out of it already.
    pub restored: bool,
}

/// A statement as it was recorded: what the ledger is told.
#[derive(Clone, Debug)]
pub struct Said {
    /// What the ledger keeps.
    pub entry: Entry,
    /// Where it stands.
    pub points: Vec<Digest128>,
    /// Digest of what was said.
    pub content: Digest128,
    /// The pending statement that it confirms.
    pub confirms: Option<Sequence>,
}

impl Said {
    /// What the ledger is told of a statement.
    pub fn of(statement: Statement, id: Sequence, place: Place, slot: SlotId, keys: &TenantKeys) -> Self {
        let content = statement.content(&keys.index);
        Self {
            entry: entry_of(&statement, id, place, slot),
            content,
            confirms: statement.confirms,
            points: statement.points,
        }
    }
}

/// Bytes of one point in a statement.
const POINT_BYTES: usize = 16;
/// Records that a profile may grow by between the door and the lane.
const GROWTH_MAX: usize = 64;

impl Saying {
    /// Makes a statement ready for the lane.
    pub fn new(mut statement: Statement, tenant: &Tenant) -> Self {
        let content = statement.content(&tenant.keys.index);
        let records_max = match &statement.subject {
            Subject::Profile(profile) => tenant.state().engine.members(*profile).len() + GROWTH_MAX,
            Subject::Record(record) => {
                statement.points = vec![record_point(&tenant.config(), record)];
                0
            }
            Subject::Identifier { .. } => 0,
        };
        Self { statement, content, records_max, pinned: false, once: false, restored: false }
    }

    /// The same of a fragment's statement, at the points at which it stands under this configuration.
    #[must_use]
    pub fn under(mut self, config: &LiveConfig) -> Self {
        self.statement.points = points_under(config, &self.statement);
        self
    }

    /// Makes it stand at these points.
    pub fn pin(&mut self, points: Vec<Digest128>) {
        self.statement.points = points;
        self.pinned = true;
    }

    /// Whether it is judged by the records that there are, and by what is heard at them. It shares no group with fragments
    /// in front of it, which come to be with the group's end.
    pub(super) fn looks_at_records(&self) -> bool {
        let pins = matches!(self.statement.subject, Subject::Profile(_)) && !self.pinned;
        pins || self.statement.confirms.is_some()
    }

    /// Bytes that the journal may take for it, before sealing.
    pub fn bytes(&self) -> usize {
        onefold_core::decision::encode(&self.statement).len() + self.records_max * POINT_BYTES + 8
    }

    /// Bytes of a batch that it may take.
    pub(super) fn room(&self) -> usize {
        let sealed = onefold_core::decision::Sealed::HEADER_BYTES + onefold_store::seal::TAG_BYTES;
        entry_room(self.bytes() + sealed)
    }
}

/// The point of a source record.
pub fn record_point(config: &LiveConfig, record: &SourceRecord) -> Digest128 {
    config.preparer().record_digest(record.source, &record.key)
}

/// Where a statement of a fragment stands under a configuration.
pub fn points_under(config: &LiveConfig, statement: &Statement) -> Vec<Digest128> {
    match &statement.subject {
        Subject::Record(record) => vec![record_point(config, record)],
        Subject::Identifier { namespace, raw: Some(raw) } => {
            identifier_points(config, *namespace, raw, "").unwrap_or_else(|_| statement.points.clone())
        }
        Subject::Identifier { raw: None, .. } | Subject::Profile(_) => statement.points.clone(),
    }
}

/// The withdrawal that an unsubscribe token stands for; it says nothing new where a stop is in force.
pub fn leaving(said: token::Unsubscribe, tenant: &Tenant, now: ObservedAt) -> Saying {
    let statement = Statement {
        subject: Subject::Identifier { namespace: said.namespace, raw: None },
        points: said.points,
        purpose: said.purpose,
        channel: said.channel,
        decision: Decision::Withdrawn,
        lawful_basis: Default::default(),
        jurisdiction: None,
        notice: String::new(),
        language: String::new(),
        source: None,
        method: "one-click unsubscribe".to_owned(),
        evidence: String::new(),
        given_at: now,
        expires_at: None,
        confirmed_at: None,
        recorded_at: now,
        confirms: None,
        signals: Vec::new(),
        undated: false,
    };
    Saying { once: true, ..Saying::new(statement, tenant) }
}

/// The points of an identifier: one for each kind of party that may hold it.
///
/// # Errors
/// The fault of a value that is none of its kind.
pub fn identifier_points(
    config: &LiveConfig,
    namespace: NamespaceId,
    raw: &str,
    path: &str,
) -> Result<Vec<Digest128>, FieldFault> {
    read_identifier(config, namespace, raw, path).map(|read| read.points().to_vec())
}

/// Reads an identifier: its points, and whether it may link.
///
/// # Errors
/// The fault of a value that is none of its kind.
pub fn read_identifier(
    config: &LiveConfig,
    namespace: NamespaceId,
    raw: &str,
    path: &str,
) -> Result<ReadIdentifier, FieldFault> {
    let read = config.preparer().read_identifier(namespace, raw);
    read.map_err(|why| FieldFault::new(path, FaultReason::Malformed, why.to_string()))
}

/// The profiles that statements at these points bear on, oldest first.
pub(super) fn profiles_at(state: &State, points: &[Digest128]) -> Vec<onefold_core::ids::ProfileOrdinal> {
    let mut profiles: Vec<_> = points.iter().flat_map(|point| state.engine.profiles_at(*point)).collect();
    profiles.sort_unstable();
    profiles.dedup();
    profiles
}

/// Whether all statements about identifiers can be read.
pub(super) fn readable(shared: &Shared, tenant: &Tenant) -> Result<(), ReadError> {
    let about: Vec<_> = tenant.state().consent.ledger.all().filter(|entry| entry.by_identifier).copied().collect();
    about.iter().try_for_each(|entry| read::statement_at(shared, &tenant.vault, entry).map(drop))
}

/// Puts statements about identifiers where another configuration reads them.
pub(super) fn relink(shared: &Shared, tenant: &Tenant, config: &LiveConfig) -> Result<(), ReadError> {
    let about: Vec<_> = tenant.state().consent.ledger.all().filter(|entry| entry.by_identifier).copied().collect();
    for entry in about {
        let Some(statement) = read::statement_at(shared, &tenant.vault, &entry)? else { continue };
        if let Subject::Identifier { namespace, raw: Some(raw) } = &statement.subject
            && let Ok(points) = identifier_points(config, *namespace, raw, "")
        {
            tenant.state_mut().consent.ledger.move_to(entry.id, points);
        }
    }
    Ok(())
}
