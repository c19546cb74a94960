//! May we contact this person: found, read, decided against one consistent picture.
//!
//! A decision that reserves nothing is taken under the state's read lock; one that reserves goes down the lane
//! ([`super::reserve`]), where nothing can come between deciding and counting. Either way it is taken for the cluster as it
//! is at that moment: a reader that races a merge decides for both halves together or for its own alone, never for a
//! mixture, and what it saw is durable before it is told.

use std::sync::Arc;
use std::time::Duration;

use onefold_core::consent::contact::{Contact, LocalTime, Reason, allows, decide};
use onefold_core::consent::reserve::{Counted, account_charge};
use onefold_core::consent::state::Question;
use onefold_core::consent::{ChannelId, Jurisdiction, PurposeId};
use onefold_core::fragment::ObservedAt;
use onefold_core::hierarchy::view::Companies;
use onefold_core::hierarchy::{AccountOrdinal, Moment};
use onefold_core::ids::{Digest128, ProfileOrdinal, Sequence};

use serde::{Deserialize, Serialize};

use super::person::{Person, Persons, local_time};
use crate::app::error::{ReadError, WriteError};
use crate::app::hierarchy::read::PartiesNow;
use crate::app::read::{self, ProfileKey};
use crate::app::requests::RequestKey;
use crate::app::tenant::{LiveConfig, State, Tenant};
use crate::app::{App, Shared};

/// How often a decision is taken anew because the profile changed meanwhile. Then it is denied.
pub const TRIES_MAX: usize = 5;

/// Asks that are decided on the calling thread.
const INLINE_MAX: usize = 4;
/// How long a decision waits for the disk.
const DURABLE_WAIT_MAX: Duration = Duration::from_secs(1);

/// A decision that is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who: a profile, an identifier, or a source record.
    pub key: ProfileKey,
    /// The points of the identifier that it is asked by.
    pub points: Vec<Digest128>,
    /// What for.
    pub purpose: PurposeId,
    /// Over which channel.
    pub channel: ChannelId,
    /// When the contact is to happen; `None` is now.
    pub at: Option<ObservedAt>,
    /// Under whose law, as far as the caller knows.
    pub jurisdiction: Option<Jurisdiction>,
    /// Whether to count it.
    pub reserve: bool,
}

/// Whom it is about, and what was read of them.
#[derive(Clone, Debug)]
pub enum Found {
    /// A live profile.
    Profile(ProfileOrdinal, Arc<Person>),
    /// No profile: only what was said at the identifier itself.
    Nobody,
    /// It cannot be decided: why.
    Not(Reason),
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// All reasons, for or against.
    pub reasons: Vec<Reason>,
    /// The profile that it is about.
    pub profile: Option<ProfileOrdinal>,
    /// The contact that is counted from now on.
    pub reservation: Option<(Sequence, ObservedAt)>,
    /// What must be durable before this is told.
    pub seen: Sequence,
    /// When it was decided.
    pub decided_at: ObservedAt,
}

impl Verdict {
    /// Whether the contact is allowed.
    pub fn allows(&self) -> bool {
        allows(&self.reasons)
    }

    pub(super) fn deny(reason: Reason, seen: Sequence, decided_at: ObservedAt) -> Self {
        Self { reasons: vec![reason], profile: None, reservation: None, seen, decided_at }
    }
}

/// The profile changed since it was read.
#[derive(Clone, Copy, Debug)]
pub struct Stale;

/// Finds whom an ask is about, and reads what deciding needs. Not for asynchronous threads.
pub fn find(shared: &Shared, persons: &Persons, tenant: &Tenant, ask: &Ask) -> Found {
    match read::find(tenant, &ask.key) {
        Ok(profile) => match persons.read(shared, tenant, profile) {
            Ok(person) => Found::Profile(profile, person),
            Err(ReadError::ProfileUnknown) => Found::Not(Reason::ProfileGone),
            Err(error) => {
                tracing::error!(error = ?error.to_string(), "a contact is denied: its profile cannot be read");
                Found::Not(Reason::Unavailable)
            }
        },
        Err(ReadError::IdentifierShared { .. }) => Found::Not(Reason::IdentifierShared),
        Err(ReadError::ProfileUnknown) if !ask.points.is_empty() => Found::Nobody,
        Err(
            ReadError::ProfileUnknown
            | ReadError::ProfileEmptied
            | ReadError::ProfileErased
            | ReadError::ProfileSplit { .. },
        ) => Found::Not(Reason::ProfileGone),
        Err(_) => Found::Not(Reason::Unavailable),
    }
}

/// All points of a cluster: its records, their identifiers, and those asked by.
pub(super) fn points_of(state: &State, profile: ProfileOrdinal, person: &Person, asked: &[Digest128]) -> Cluster {
    let records: Vec<Digest128> = state.engine.members(profile).iter().map(|member| member.digest).collect();
    let mut points = records.clone();
    points.extend_from_slice(&person.points);
    points.extend_from_slice(asked);
    points.sort_unstable();
    points.dedup();
    Cluster { records, points }
}

/// Where statements about a cluster stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub records: Vec<Digest128>,
    pub points: Vec<Digest128>,
}

/// Decides against the state as it is, and says what a contact would be charged to.
///
/// # Errors
/// [`Stale`] when the profile is not what was read of it any more: find it again.
pub(super) fn evaluate(
    state: &State,
    config: &LiveConfig,
    ask: &Ask,
    found: &Found,
    now: ObservedAt,
) -> Result<(Verdict, Vec<Digest128>), Stale> {
    let policy = &config.config.consent;
    let deny = |reason| Ok((Verdict::deny(reason, state.sequence, now), Vec::new()));
    let (Some(purpose), Some(channel)) = (policy.purpose(ask.purpose), policy.channel(ask.channel)) else {
        return deny(Reason::Unavailable);
    };
    let at = ask.at.unwrap_or(now);
    let default_zone = policy.default_time_zone.as_deref();
    // What time it is where somebody is takes a look at tables of the world: only where it matters.
    let clock = |zones: &dyn Fn() -> LocalTime| match channel.quiet_hours.is_empty() {
        true => LocalTime::Unknown,
        false => zones(),
    };
    let (cluster, known, households, local, profile, changed) = match found {
        Found::Not(reason) => return deny(reason.clone()),
        Found::Profile(profile, person) => {
            let changed = state.changed_if_live(*profile).ok_or(Stale)?;
            if !person.is_of(changed, config) || (!ask.points.is_empty() && moved(state, ask, Some(*profile))) {
                return Err(Stale);
            }
            let cluster = points_of(state, *profile, person, &ask.points);
            let (laws, homes) = (person.jurisdictions.clone(), person.households.clone());
            (cluster, laws, homes, clock(&|| person.local_time(at, default_zone)), Some(*profile), changed)
        }
        Found::Nobody => {
            if moved(state, ask, None) {
                return Err(Stale);
            }
            let cluster = Cluster { records: Vec::new(), points: ask.points.clone() };
            (cluster, Vec::new(), Vec::new(), clock(&|| local_time(&[], at, default_zone)), None, Sequence(0))
        }
    };
    // What was erased is not written to, whoever asks: its keyed digest is kept for this.
    let former = match &ask.key {
        ProfileKey::Identifier(namespace, raw, _) => {
            let regions = state.privacy.former_regions.iter();
            let under =
                |region: &Option<String>| config.preparer().contact_point_under(*namespace, raw, region.as_deref());
            regions.flat_map(under).collect()
        }
        ProfileKey::Id(_) | ProfileKey::Record(_) => Vec::new(),
    };
    if state.privacy.stops(cluster.points.iter().copied().chain(former)).is_some() {
        return deny(Reason::Suppressed(Vec::new()));
    }
    // A yes must still hold when the contact happens.
    let question = Question::now(purpose.id, Some(channel.id), at.max(now));
    let ledger = &state.consent.ledger;
    let effective = ledger.voices(&cluster.points, &question).effective();
    let mut jurisdictions = known;
    jurisdictions.extend(ledger.jurisdictions_at(&cluster.points));
    jurisdictions.extend(ask.jurisdiction);
    let contact = Contact { purpose, channel, at, now };
    let reservations = &state.consent.reservations;
    let accounts = accounts_of(state, config, &cluster.records, Moment(at.0));
    let counted = Counted { person: cluster.points, households, accounts };
    let reasons = decide(contact, &effective, &jurisdictions, &local, policy, &counted, reservations);
    let seen = effective.decided_by.iter().chain(&effective.suppressed_by).chain(&effective.restricted_by).copied();
    let seen = seen.max().unwrap_or(Sequence(0)).max(changed);
    let mut charged = cluster.records;
    charged.extend_from_slice(&ask.points);
    charged.extend_from_slice(&counted.households);
    charged.extend(counted.accounts.iter().flatten());
    charged.sort_unstable();
    charged.dedup();
    Ok((Verdict { reasons, profile, reservation: None, seen, decided_at: now }, charged))
}

/// The accounts in which these records of a person have a role at a moment: of each the charges of all source accounts that
/// are one company today.
fn accounts_of(state: &State, config: &LiveConfig, records: &[Digest128], at: Moment) -> Vec<Vec<Digest128>> {
    let forest = &state.accounts.forest;
    let held = records.iter().flat_map(|record| state.accounts.affiliations.of_person(*record));
    let mut own: Vec<AccountOrdinal> =
        held.filter(|held| held.holds(at)).filter_map(|held| forest.find(held.account)).collect();
    own.sort_unstable();
    own.dedup();
    let parties = PartiesNow::new(state, config);
    let mut nodes: Vec<Vec<AccountOrdinal>> =
        own.into_iter().map(|account| parties.together(account).unwrap_or_else(|| vec![account])).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let charge = |account: &AccountOrdinal| forest.get(*account).map(|known| account_charge(known.facts.record));
    nodes.iter().map(|node| node.iter().filter_map(charge).collect()).collect()
}

/// Whether the identifier asked by leads elsewhere by now.
fn moved(state: &State, ask: &Ask, to: Option<ProfileOrdinal>) -> bool {
    let mut holders = ask.points.iter().map(|point| state.engine.profiles_at(*point));
    match to {
        Some(profile) => !holders.any(|holders| holders.len() == 1 && holders.contains(&profile)),
        None => holders.any(|holders| !holders.is_empty()),
    }
}

impl App {
    /// Decides, and reserves what is asked for. One verdict each, in order; all of them durable. A call that its caller
    /// named, of one ask that reserves, gets its first verdict again.
    ///
    /// # Errors
    /// [`WriteError::RequestIdReused`]. What else goes wrong denies.
    pub async fn decide_contacts(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        asks: Vec<Ask>,
        request: Option<RequestKey>,
    ) -> Result<Vec<Verdict>, WriteError> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; asks.len()];
        for _ in 0..TRIES_MAX {
            let open: Vec<(usize, Ask)> =
                (0..).zip(&asks).filter(|(at, _)| verdicts[*at].is_none()).map(|(at, ask)| (at, ask.clone())).collect();
            if open.is_empty() {
                break;
            }
            // Who was read before is decided here and now; reading fragments goes to a thread that may wait.
            let taken = if open.len() <= INLINE_MAX && open.iter().all(|(_, ask)| self.is_quick(tenant, ask)) {
                self.try_each(tenant, open)
            } else {
                let (app, of) = (Arc::clone(self), Arc::clone(tenant));
                let taken = tokio::task::spawn_blocking(move || app.try_each(&of, open)).await;
                let Ok(taken) = taken else { break };
                taken
            };
            let mut to_reserve = Vec::new();
            for (at, outcome) in taken {
                match outcome {
                    Taken::Decided(verdict) => verdicts[at] = Some(verdict),
                    Taken::Reserves(ask, found) => to_reserve.push((at, ask, found)),
                    Taken::Again => {}
                }
            }
            if !to_reserve.is_empty() {
                self.reserve(tenant, to_reserve, request, &mut verdicts).await?;
            }
        }
        let now = self.now();
        let mut told = Vec::with_capacity(verdicts.len());
        let mut seen = Sequence(0);
        for verdict in verdicts {
            let verdict = verdict.unwrap_or_else(|| Verdict::deny(Reason::Unavailable, Sequence(0), now));
            seen = seen.max(verdict.seen);
            told.push(verdict);
        }
        // What a crash could take back is not told; a disk that does not answer is no yes.
        if !durable(tenant, seen).await {
            for verdict in &mut told {
                *verdict = Verdict::deny(Reason::Unavailable, Sequence(0), now);
            }
        }
        Ok(told)
    }

    /// Whether an ask needs no fragment to be read. If that changes before it is decided, one is read all the same.
    fn is_quick(&self, tenant: &Tenant, ask: &Ask) -> bool {
        match read::find(tenant, &ask.key) {
            Ok(profile) => self.persons.known(tenant, profile).is_some(),
            Err(_) => true,
        }
    }

    fn try_each(&self, tenant: &Tenant, asks: Vec<(usize, Ask)>) -> Vec<(usize, Taken)> {
        asks.into_iter()
            .map(|(at, ask)| {
                let found = find(&self.shared, &self.persons, tenant, &ask);
                if ask.reserve && !matches!(found, Found::Not(_)) {
                    return (at, Taken::Reserves(ask, found));
                }
                let config = tenant.config();
                let taken = evaluate(&tenant.state(), &config, &ask, &found, self.now());
                (at, taken.map_or(Taken::Again, |(verdict, _)| Taken::Decided(verdict)))
            })
            .collect()
    }
}

/// Waits, but not for long, until everything up to here is durable.
async fn durable(tenant: &Tenant, wanted: Sequence) -> bool {
    if tenant.durable() >= wanted {
        return true;
    }
    let mut durable = tenant.follow();
    let reached = tokio::time::timeout(DURABLE_WAIT_MAX, durable.wait_for(|durable| *durable >= wanted));
    matches!(reached.await, Ok(Ok(_)))
}

/// What one try came to.
enum Taken {
    Decided(Verdict),
    Reserves(Ask, Found),
    Again,
}
