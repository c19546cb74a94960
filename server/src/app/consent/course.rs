//! The course of a consent: one statement, and all others that bear on the same person, purpose and channel, for its receipt.

use std::collections::{BTreeSet, HashSet};

use onefold_core::consent::ledger::Entry;
use onefold_core::consent::permit::Permit;
use onefold_core::consent::{PurposeId, Statement, Subject};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, ProfileOrdinal, Sequence};
use onefold_core::limits;

use super::read::{Who, look, permitted, statement, statement_at};
use super::shows::{DEVICES, Shows};
use crate::app::App;
use crate::app::error::ReadError;
use crate::app::read::ProfileKey;
use crate::app::tenant::{State, Tenant};

/// Why a statement of another purpose is not shown to a reader who names one.
const OTHER_PURPOSE: &str = "NOT_IN_PURPOSE";

/// A statement and what it belongs to.
#[derive(Clone, Debug)]
pub struct Course {
    /// The statement.
    pub entry: Entry,
    /// Its words.
    pub said: Statement,
    /// It and the others, in the order in which they were said.
    pub events: Vec<(Entry, Statement)>,
    /// Those of them that were said of somebody's record that is not there, and are heard at what it held: without words.
    pub only_heard: BTreeSet<Sequence>,
    /// Older ones that are left out: there are more than a receipt holds.
    pub left_out: usize,
    /// Whom it is about.
    pub profiles: BTreeSet<ProfileOrdinal>,
    /// Whether the reader may see by which address or record the person was named.
    pub names_subject: bool,
    /// What else the reader may not see, and was taken out: of the statement, and of the events.
    pub withheld: BTreeSet<String>,
}

/// Whether two statements can speak of one contact.
fn overlap(one: &Entry, other: &Entry) -> bool {
    let meet = |one: Option<u16>, other: Option<u16>| one.is_none() || other.is_none() || one == other;
    meet(one.purpose.map(|id| id.0), other.purpose.map(|id| id.0))
        && meet(one.channel.map(|id| id.0), other.channel.map(|id| id.0))
}

impl Course {
    /// When the yes or the question in an event ended by itself: nobody took it back, answered or confirmed it before. A
    /// question ends `confirm_within` after it was recorded, too.
    #[must_use]
    pub fn ran_out(&self, entry: &Entry, confirm_within_micros: i64, now: ObservedAt) -> Option<ObservedAt> {
        use onefold_core::consent::Decision::{Granted, Pending};
        let end = match entry.decision {
            Granted => entry.expires_at?,
            Pending if entry.confirmed_by.is_none() => {
                let last = ObservedAt(entry.recorded_at.0.saturating_add(confirm_within_micros));
                entry.expires_at.map_or(last, |end| end.min(last))
            }
            _ => return None,
        };
        let stopped = |other: &Entry| {
            // A yes that nobody dated is older than every no. A question is not: it is answered since it was asked.
            let from = if entry.undated && entry.decision == Pending { entry.recorded_at } else { entry.counts_from() };
            let since = from..=end;
            other.decision.is_stop() && overlap(entry, other) && since.contains(&other.counts_from())
        };
        (end <= now && !self.events.iter().any(|(other, _)| stopped(other))).then_some(end)
    }
}

/// The points at which something is said of whom a statement is about: where it stands, and, where that is one person's, their
/// records and the identifiers that are theirs alone. What stands at a household's telephone may be another's.
fn own_points(state: &State, all: &[Digest128], of_statement: &[Digest128], profile: ProfileOrdinal) -> Vec<Digest128> {
    let alone =
        |point: &Digest128| of_statement.contains(point) || state.engine.profiles_at(*point).into_iter().eq([profile]);
    all.iter().copied().filter(alone).collect()
}

/// What everybody whom a statement is about permits a purpose to read; nothing where one of them permits it nothing. Asked for
/// behind reading. Not for asynchronous threads.
fn permits(
    app: &App,
    tenant: &Tenant,
    profiles: &BTreeSet<ProfileOrdinal>,
    purpose: PurposeId,
) -> Result<Vec<Permit>, ReadError> {
    let mut permits = Vec::with_capacity(profiles.len());
    for profile in profiles {
        match permitted(app, tenant, ProfileKey::Id(tenant.profile_id(*profile)), purpose) {
            Ok((.., permit)) => permits.push(permit),
            Err(
                ReadError::PurposeNotPermitted { .. }
                | ReadError::ProfileUnknown
                | ReadError::ProfileEmptied
                | ReadError::ProfileErased
                | ReadError::ProfileSplit { .. },
            ) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
    Ok(permits)
}

/// Whether a permit lets the words be seen by which a statement names its person: an address of a namespace that it reads;
/// the key of a record may hold anything.
#[must_use]
pub fn may_name(subject: &Subject, permit: &Permit) -> bool {
    match subject {
        Subject::Identifier { namespace, .. } => permit.namespace(*namespace),
        Subject::Record(_) => permit.everything(),
        Subject::Profile(_) => true,
    }
}

/// The course of the consent of which a statement tells, as far as a reader may see it who reads for a purpose, or for none.
/// Not for asynchronous threads.
///
/// # Errors
/// [`ReadError::StatementUnknown`] when there is no such statement, or its words were erased;
/// [`ReadError::PurposeNotPermitted`] when it is about another purpose than the reader's.
pub fn course(app: &App, tenant: &Tenant, id: Sequence, reads_for: Option<PurposeId>) -> Result<Course, ReadError> {
    let (entry, mut said) = statement(app, tenant, id)?;
    let shown = |of: Option<PurposeId>| of.is_none() || reads_for.is_none_or(|purpose| of == Some(purpose));
    if !shown(entry.purpose) {
        return Err(ReadError::PurposeNotPermitted { reasons: vec![OTHER_PURPOSE] });
    }
    let (points, profiles) = {
        let state = tenant.state();
        let points = state.consent.ledger.points_of(id).to_vec();
        let profiles: BTreeSet<_> = points.iter().flat_map(|point| state.engine.profiles_at(*point)).collect();
        (points, profiles)
    };
    let bears_on = |state: &State, points: &[Digest128]| {
        let ledger = &state.consent.ledger;
        let own: HashSet<Digest128> = points.iter().copied().collect();
        let all = ledger.ids_at(points).into_iter().filter_map(|id| ledger.get(id).copied());
        let all = all.filter(|other| overlap(&entry, other) && shown(other.purpose));
        all.map(|other| (other, ledger.is_only_heard_at(other.id, &own))).collect::<Vec<(Entry, bool)>>()
    };
    let of_one = match profiles.iter().next() {
        Some(profile) if profiles.len() == 1 => {
            let who = Who { key: ProfileKey::Id(tenant.profile_id(*profile)), points: points.clone() };
            let found =
                look(app, tenant, &who, |state, _, all, _| bears_on(state, &own_points(state, all, &points, *profile)));
            match found {
                Ok(found) => Some(found.seen),
                // They were parted, retracted or erased meanwhile: what stands where it stands is known still.
                Err(
                    ReadError::ProfileUnknown
                    | ReadError::ProfileEmptied
                    | ReadError::ProfileErased
                    | ReadError::ProfileSplit { .. },
                ) => None,
                Err(error) => return Err(error),
            }
        }
        _ => None,
    };
    let mut entries = match of_one {
        Some(entries) => entries,
        None => tenant.seen(|state| bears_on(state, &points))?,
    };
    entries.retain(|(other, _)| other.id != id);
    entries.sort_by_key(|(other, _)| (other.given_at, other.id));
    let left_out = (entries.len() + 1).saturating_sub(limits::RECEIPT_EVENTS_MAX);
    let (mut events, mut only_heard) = (vec![(entry, said.clone())], BTreeSet::new());
    for (other, is_only_heard) in entries.split_off(left_out) {
        if let Some(words) = statement_at(&app.shared, &tenant.vault, &other)? {
            events.push((other, if is_only_heard { words.without_words() } else { words }));
            only_heard.extend(is_only_heard.then_some(other.id));
        }
    }
    events.sort_by_key(|(other, _)| (other.given_at, other.id));
    let (mut names_subject, mut shows) = (true, Shows::ALL);
    if let Some(purpose) = reads_for {
        let permits = permits(app, tenant, &profiles, purpose)?;
        // Of nobody it is not known what they permit.
        let all = !permits.is_empty() && permits.iter().all(|permit| may_name(&said.subject, permit));
        names_subject = all || matches!(said.subject, Subject::Profile(_));
        shows = Shows::to(&permits, tenant.config().namespace_named(DEVICES));
    }
    let of_statement = shows.veil(&mut said).into_iter().filter(|field| *field == "collection_method");
    let mut withheld: BTreeSet<String> = of_statement.map(|field| format!("consent_record.{field}")).collect();
    for (_, words) in &mut events {
        withheld.extend(shows.veil(words).into_iter().map(|field| format!("events.{field}")));
    }
    Ok(Course { entry, said, events, only_heard, left_out, profiles, names_subject, withheld })
}
