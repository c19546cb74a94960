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
use onefold_core::consent::state::{Question, State as ConsentState};
use onefold_core::consent::{ChannelId, Jurisdiction, PurposeId};
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::hierarchy::view::Companies;
use onefold_core::hierarchy::{AccountOrdinal, Moment};
use onefold_core::ids::{Digest128, NamespaceId, ProfileId, ProfileOrdinal, Sequence};
use onefold_matching::prepare::ReadIdentifier;

use serde::{Deserialize, Serialize};

use super::person::{Person, Persons, local_time};
use super::read::laws;
use crate::app::error::{ReadError, WriteError};
use crate::app::hierarchy::read::{PartiesNow, profile_as};
use crate::app::read;
use crate::app::requests::RequestKey;
use crate::app::tenant::{LiveConfig, State, Tenant};
use crate::app::{App, Shared};

/// How often a decision is taken anew because the profile changed meanwhile. Then it is denied.
pub const TRIES_MAX: usize = 5;

/// Asks that are decided on the calling thread.
const INLINE_MAX: usize = 4;
/// How long a decision waits for the disk.
const DURABLE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Whom a decision is asked about.
#[derive(Clone, Debug)]
pub enum Whom {
    /// A profile.
    Profile(ProfileId),
    /// A source record, by its keyed digest.
    Record(Digest128),
    /// An identifier.
    Identifier {
        /// Of which namespace.
        namespace: NamespaceId,
        /// As typed.
        raw: String,
        /// As read: it is read once, since that costs more than all else about it.
        read: ReadIdentifier,
        /// The version of the configuration that it was read under.
        version: u64,
    },
}

/// A decision that is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who.
    pub whom: Whom,
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

impl Ask {
    /// The points of the identifier that it is asked by; none of a record, which is no address: what was said at it is
    /// found through its profile.
    fn points(&self) -> Vec<Digest128> {
        match &self.whom {
            Whom::Identifier { read, .. } => read.points().to_vec(),
            Whom::Profile(_) | Whom::Record(_) => Vec::new(),
        }
    }

    /// When the contact happens: what is asked about a moment that has passed cannot happen before now, or quiet hours and
    /// caps would be those of then.
    pub(super) fn happens_at(&self, now: ObservedAt) -> ObservedAt {
        self.at.map_or(now, |at| at.max(now))
    }

    /// Whether it was read under this configuration.
    fn is_read_under(&self, config: &LiveConfig) -> bool {
        !matches!(self.whom, Whom::Identifier { version, .. } if version != config.version)
    }

    /// Reads the identifier anew where the configuration is another by now. False when it is none under this one.
    fn read_under(&mut self, config: &LiveConfig) -> bool {
        let Whom::Identifier { namespace, raw, read, version } = &mut self.whom else { return true };
        if *version != config.version {
            let Ok(anew) = config.preparer().read_identifier(*namespace, raw) else { return false };
            (*read, *version) = (anew, config.version);
        }
        true
    }
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
fn find(shared: &Shared, persons: &Persons, tenant: &Tenant, ask: &Ask) -> Found {
    let profile = holder(tenant, &tenant.state(), ask);
    match profile {
        Ok(profile) => match persons.read(shared, tenant, profile) {
            Ok(person) => Found::Profile(profile, person),
            Err(ReadError::ProfileUnknown) => Found::Not(Reason::ProfileGone),
            Err(error) => {
                tracing::error!(error = ?error.to_string(), "a contact is denied: its profile cannot be read");
                Found::Not(Reason::Unavailable)
            }
        },
        Err(error) => not_found(&error, ask),
    }
}

/// The same where no fragment need be read for it; then it is of this very state.
fn find_at_once(persons: &Persons, tenant: &Tenant, config: &LiveConfig, state: &State, ask: &Ask) -> Option<Found> {
    match holder(tenant, state, ask) {
        Ok(profile) => Some(Found::Profile(profile, persons.known_in(tenant, config, state, profile)?)),
        Err(error) => Some(not_found(&error, ask)),
    }
}

/// The live profile that an ask is about.
fn holder(tenant: &Tenant, state: &State, ask: &Ask) -> Result<ProfileOrdinal, ReadError> {
    match &ask.whom {
        Whom::Profile(id) => read::live_end(tenant, state, *id),
        Whom::Record(record) => state.engine.profile_of(*record).ok_or(ReadError::ProfileUnknown),
        // LAW 6: what is blocked links nobody, so it leads to nobody; somebody holds it all the same, and may have said no.
        Whom::Identifier { read, .. } if read.blocked.is_some() => {
            Err(ReadError::IdentifierShared { profiles: Vec::new(), more: true })
        }
        Whom::Identifier { read, .. } => read::find_read(tenant, state, read),
    }
}

/// What it means that there is no profile, or not one.
fn not_found(error: &ReadError, ask: &Ask) -> Found {
    match error {
        ReadError::IdentifierShared { .. } => Found::Not(Reason::IdentifierShared),
        ReadError::ProfileUnknown if matches!(ask.whom, Whom::Identifier { .. }) => Found::Nobody,
        ReadError::ProfileUnknown
        | ReadError::ProfileEmptied
        | ReadError::ProfileErased
        | ReadError::ProfileSplit { .. } => Found::Not(Reason::ProfileGone),
        _ => Found::Not(Reason::Unavailable),
    }
}

/// All points of a cluster: its records, their identifiers, and those asked by.
pub(super) fn points_of(state: &State, profile: ProfileOrdinal, person: &Person, asked: &[Digest128]) -> Cluster {
    let mut records: Vec<Digest128> = state.engine.members(profile).iter().map(|member| member.digest).collect();
    records.sort_unstable();
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
    /// Sorted.
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
    still(state, config, ask, found)?;
    Ok(judge(state, config, ask, found, now))
}

/// Whether what was found is so still.
fn still(state: &State, config: &LiveConfig, ask: &Ask, found: &Found) -> Result<(), Stale> {
    let so = match found {
        Found::Not(_) => true,
        Found::Profile(profile, person) => {
            let changed = state.changed_if_live(*profile).ok_or(Stale)?;
            person.is_of(changed, config) && !moved(state, ask, Some(*profile))
        }
        Found::Nobody => !moved(state, ask, None),
    };
    if so && ask.is_read_under(config) { Ok(()) } else { Err(Stale) }
}

/// Decides about somebody who was found in this very state.
fn judge(state: &State, config: &LiveConfig, ask: &Ask, found: &Found, now: ObservedAt) -> (Verdict, Vec<Digest128>) {
    let policy = &config.config.consent;
    let deny = |reason| (Verdict::deny(reason, state.sequence, now), Vec::new());
    let (Some(purpose), Some(channel)) = (policy.purpose(ask.purpose), policy.channel(ask.channel)) else {
        return deny(Reason::Unavailable);
    };
    if state.relinking {
        return deny(Reason::Unavailable);
    }
    let at = ask.happens_at(now);
    let default_zone = policy.default_time_zone.as_deref();
    // What time it is where somebody is takes a look at tables of the world: only where it matters.
    let clock = |zones: &dyn Fn() -> LocalTime| match channel.quiet_hours.is_empty() {
        true => LocalTime::Unknown,
        false => zones(),
    };
    let asked = ask.points();
    let (cluster, laws, households, local, profile, changed) = match found {
        Found::Not(reason) => return deny(reason.clone()),
        Found::Profile(profile, person) => {
            let cluster = points_of(state, *profile, person, &asked);
            let (laws, homes) =
                (laws(state, &cluster.points, Some(person), ask.jurisdiction), person.households.clone());
            let local = clock(&|| person.local_time(at, default_zone));
            (cluster, laws, homes, local, Some(*profile), person.changed)
        }
        Found::Nobody => {
            let cluster = Cluster { records: Vec::new(), points: asked.clone() };
            let laws = laws(state, &cluster.points, None, ask.jurisdiction);
            (cluster, laws, Vec::new(), clock(&|| local_time(&[], at, default_zone)), None, Sequence(0))
        }
    };
    // What was erased is not written to, whoever asks: its keyed digest is kept for this.
    let former: Vec<Digest128> = match &ask.whom {
        Whom::Identifier { namespace, raw, .. } => {
            let regions = state.privacy.former_regions.iter();
            let under =
                |region: &Option<String>| config.preparer().contact_point_under(*namespace, raw, region.as_deref());
            regions.flat_map(under).collect()
        }
        Whom::Profile(_) | Whom::Record(_) => Vec::new(),
    };
    if state.privacy.stops(cluster.points.iter().chain(&former).copied()).is_some() {
        return deny(Reason::Suppressed(Vec::new()));
    }
    // A yes must still hold when the contact happens.
    let question = Question::now(purpose.id, Some(channel.id), at);
    let ledger = &state.consent.ledger;
    let mut voices = ledger.voices(&cluster.points, &question);
    // LAW 6: who left by a link left at the number as it was read when the link was made. A no is heard there too; a yes
    // is not, since by the rules of today it would be another's.
    // Nor does whoever else is reached at the address, a company as a person, lose the no that was said at their records.
    let others = asked.iter().flat_map(|point| state.engine.profiles_at(*point)).filter(|of| Some(*of) != profile);
    let others: Vec<Digest128> = others.flat_map(|of| state.engine.members(of)).map(|member| member.digest).collect();
    for besides in [ledger.voices(&former, &question), ledger.voices(&others, &question)] {
        if besides.effective().forbids() {
            voices = voices.join(&besides);
        }
    }
    let mut effective = voices.effective();
    // A double opt-in asks whether an address is the person's own: while it waits, no yes from elsewhere answers it.
    if effective.state == ConsentState::Granted && !asked.is_empty() {
        let there = ledger.voices(&asked, &question).effective();
        if there.state == ConsentState::Pending {
            (effective.state, effective.decided_by) = (there.state, there.decided_by);
        }
    }
    let contact = Contact { purpose, channel, at, now };
    let reservations = &state.consent.reservations;
    let accounts = accounts_of(state, config, &cluster.records, Moment(at.0));
    let Addresses { own, shared, few } = Addresses::of(state, profile, &cluster, &asked);
    let mut person = cluster.records;
    person.extend_from_slice(&own);
    let contacts = contacts_of_somebody(state, profile, &shared);
    let counted = Counted { person, contacts, households, accounts };
    let reasons = decide(contact, &effective, &laws, &local, policy, &counted, reservations);
    let seen = effective.decided_by.iter().chain(&effective.suppressed_by).chain(&effective.restricted_by).copied();
    let seen = seen.max().unwrap_or(Sequence(0)).max(changed);
    let mut charged = counted.person;
    charged.extend_from_slice(&few);
    charged.extend_from_slice(&counted.households);
    charged.extend(counted.accounts.iter().flatten());
    charged.sort_unstable();
    charged.dedup();
    (Verdict { reasons, profile, reservation: None, seen, decided_at: now }, charged)
}

/// The addresses of a cluster.
struct Addresses {
    /// Those that no other profile holds.
    own: Vec<Digest128>,
    /// Those that others hold too, or so many that they are only counted.
    shared: Vec<Digest128>,
    /// Of these, those of a few: a contact is charged to them as well, for a person who is known by nothing else and comes
    /// back under another key. Those of many would hold the contacts of all of them.
    few: Vec<Digest128>,
}

/// Profiles that share an address which is charged.
const FEW: usize = 8;

impl Addresses {
    fn of(state: &State, profile: Option<ProfileOrdinal>, cluster: &Cluster, asked: &[Digest128]) -> Self {
        let is_own = |point: &Digest128| {
            let holders = state.engine.profiles_at(*point);
            // What it is asked by leads to the person, or to nobody at all.
            let leads = asked.contains(point) || !holders.is_empty();
            leads && holders.into_iter().all(|holder| Some(holder) == profile)
        };
        let addresses = cluster.points.iter().filter(|point| cluster.records.binary_search(point).is_err());
        let (own, shared): (Vec<_>, Vec<_>) = addresses.copied().partition(is_own);
        let is_of_few = |point: &Digest128| (1..=FEW).contains(&state.engine.profiles_at(*point).len());
        let few = shared.iter().copied().filter(is_of_few).collect();
        Self { own, shared, few }
    }
}

/// Contacts that were charged to an address which several hold, and to no record that is another's today: whose they were
/// nobody knows, so they count for each. Those of the others are theirs: an address that a household shares makes its people
/// no one person.
fn contacts_of_somebody(state: &State, profile: Option<ProfileOrdinal>, shared: &[Digest128]) -> Vec<Sequence> {
    let reservations = &state.consent.reservations;
    let others = |charge: &Digest128| state.engine.profile_of(*charge).is_some_and(|of| Some(of) != profile);
    let charged = shared.iter().flat_map(|point| reservations.charged_to(*point));
    charged.filter(|(_, contact)| !contact.charged.iter().any(others)).map(|(id, _)| id).collect()
}

/// The accounts in which these records of a person have a role at a moment: of each the charges of all source accounts that
/// are one company today. One that is not put yet counts by the record that the role names, as it will once it is.
fn accounts_of(state: &State, config: &LiveConfig, records: &[Digest128], at: Moment) -> Vec<Vec<Digest128>> {
    let forest = &state.accounts.forest;
    let roles = |record: &Digest128| match state.accounts.affiliations.of_person(*record) {
        roles if !roles.is_empty() && profile_as(state, PartyKind::Person, *record).is_some() => roles,
        _ => &[],
    };
    let held = records.iter().flat_map(roles).filter(|held| held.holds(at));
    let mut own: Vec<Digest128> = held.map(|held| held.account).collect();
    own.sort_unstable();
    own.dedup();
    let parties = PartiesNow::new(state, config);
    let record = |account: &AccountOrdinal| forest.get(*account).map(|known| known.facts.record);
    let company = |account: Digest128| match forest.find(account).and_then(|known| parties.together(known)) {
        Some(node) => node.iter().filter_map(record).collect(),
        None => vec![account],
    };
    let mut nodes: Vec<Vec<Digest128>> = own.into_iter().map(company).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.into_iter().map(|node| node.into_iter().map(account_charge).collect()).collect()
}

/// Whether the identifier asked by leads elsewhere by now.
fn moved(state: &State, ask: &Ask, to: Option<ProfileOrdinal>) -> bool {
    let Whom::Identifier { read, .. } = &ask.whom else { return false };
    let mut holders = read.points().into_iter().map(|point| state.engine.profiles_at(point));
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
            let mut open: Vec<usize> = (0..asks.len()).filter(|at| verdicts[*at].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let mut taken = Vec::new();
            // Who was read before is decided here and now; reading fragments goes to a thread that may wait.
            if open.len() <= INLINE_MAX {
                open.retain(|at| match self.take_at_once(tenant, &asks[*at]) {
                    Some(outcome) => {
                        taken.push((*at, outcome));
                        false
                    }
                    None => true,
                });
            }
            if !open.is_empty() {
                let (app, of) = (Arc::clone(self), Arc::clone(tenant));
                let open: Vec<(usize, Ask)> = open.into_iter().map(|at| (at, asks[at].clone())).collect();
                let Ok(read) = tokio::task::spawn_blocking(move || app.take_each(&of, open)).await else { break };
                taken.extend(read);
            }
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
        // What a crash could take back is not told; a disk that does not answer is no yes. What is counted is durable: it is
        // told, or nobody would know of it.
        if !durable(tenant, seen).await {
            let reached = tenant.durable();
            for verdict in told.iter_mut().filter(|verdict| verdict.seen > reached) {
                *verdict = Verdict::deny(Reason::Unavailable, Sequence(0), now);
            }
        }
        Ok(told)
    }

    /// Decides without reading a fragment; `None` when one is to be read for it.
    fn take_at_once(&self, tenant: &Tenant, ask: &Ask) -> Option<Taken> {
        let state = tenant.state();
        // Looked at under the state's lock: a configuration that comes with other links is told of with them.
        let config = tenant.config();
        if !ask.is_read_under(&config) {
            return None;
        }
        let found = find_at_once(&self.persons, tenant, &config, &state, ask)?;
        if ask.reserve && !matches!(found, Found::Not(_)) {
            return Some(Taken::Reserves(ask.clone(), found));
        }
        Some(Taken::Decided(judge(&state, &config, ask, &found, self.now()).0))
    }

    /// Decides each, and reads what that takes. Not for asynchronous threads.
    fn take_each(&self, tenant: &Tenant, asks: Vec<(usize, Ask)>) -> Vec<(usize, Taken)> {
        asks.into_iter().map(|(at, ask)| (at, self.take(tenant, ask))).collect()
    }

    fn take(&self, tenant: &Tenant, mut ask: Ask) -> Taken {
        if let Some(taken) = self.take_at_once(tenant, &ask) {
            return taken;
        }
        let config = tenant.config();
        let found = match ask.read_under(&config) {
            true => find(&self.shared, &self.persons, tenant, &ask),
            false => Found::Not(Reason::Unavailable),
        };
        if ask.reserve && !matches!(found, Found::Not(_)) {
            return Taken::Reserves(ask, found);
        }
        let state = tenant.state();
        let taken = evaluate(&state, &tenant.config(), &ask, &found, self.now());
        taken.map_or(Taken::Again, |(verdict, _)| Taken::Decided(verdict))
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
