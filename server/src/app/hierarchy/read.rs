//! Accounts as they are served: source accounts that are one party today shown as one, with where it stands.

use std::collections::HashSet;
use std::sync::Arc;

use onefold_core::decision::{self, EntryKind};
use onefold_core::fragment::{PartyKind, SourceRecord};
use onefold_core::hierarchy::affiliation::{Held, Origin};
use onefold_core::hierarchy::entry::{AccountPut, AffiliationStated, Subject};
use onefold_core::hierarchy::view::{Ancestry, Companies, Node, Parked, ParkedReason, View};
use onefold_core::hierarchy::{Account, AccountId, AccountOrdinal, Moment};
use onefold_core::ids::{Digest128, Place, ProfileOrdinal, SourceId};
use onefold_core::lifecycle::{Reached, StageId};
use serde::de::DeserializeOwned;

use super::digest::Digester;
use super::state::Accounts;
use crate::app::Shared;
use crate::app::error::ReadError;
use crate::app::lane::kind;
use crate::app::read::{durable_at, fragment_at, gone_at};
use crate::app::tenant::{LiveConfig, State, Tenant};

/// How callers name an account.
#[derive(Clone, Debug)]
pub enum AccountKey {
    /// By its id.
    Id(AccountId),
    /// By its source record.
    Record(SourceRecord),
    /// By the profile that holds its records.
    Profile(ProfileOrdinal),
}

/// The engine's parties behind accounts, at the moment of a look at the state.
pub struct PartiesNow<'a> {
    state: &'a State,
    config: &'a LiveConfig,
}

impl<'a> PartiesNow<'a> {
    /// Of this state.
    pub const fn new(state: &'a State, config: &'a LiveConfig) -> Self {
        Self { state, config }
    }

    /// The profile behind an account, if its source record is live as an organisation's.
    pub fn profile(&self, account: AccountOrdinal) -> Option<ProfileOrdinal> {
        let known = self.state.accounts.forest.get(account)?;
        profile_as(self.state, PartyKind::Organisation, known.facts.record)
    }

    /// The accounts that an organisation's records are; a person's are none.
    pub fn accounts_of(&self, profile: ProfileOrdinal) -> Vec<AccountOrdinal> {
        let members = self.state.engine.members(profile);
        let organisations = members.iter().filter(|member| member.party == PartyKind::Organisation);
        let forest = &self.state.accounts.forest;
        let mut found: Vec<AccountOrdinal> = organisations.filter_map(|member| forest.find(member.digest)).collect();
        found.sort_unstable();
        found
    }
}

/// The profile that holds a source record, if its live fragment is of this kind of party. A source may know a person and an
/// account by one key: what people merge into says nothing of accounts, nor the other way round.
pub fn profile_as(state: &State, party: PartyKind, record: Digest128) -> Option<ProfileOrdinal> {
    let known = state.engine.record(record)?;
    known.profile.filter(|_| known.live && known.party == party)
}

impl Companies for PartiesNow<'_> {
    fn together(&self, account: AccountOrdinal) -> Option<Vec<AccountOrdinal>> {
        let all = self.accounts_of(self.profile(account)?);
        (all.len() > 1).then_some(all)
    }

    fn trust(&self, source: SourceId) -> u16 {
        self.config.config.sources.get(usize::from(source.0)).map_or(0, |source| source.trust)
    }
}

/// The source account that a key names; of a profile the oldest.
///
/// # Errors
/// [`ReadError::AccountUnknown`].
pub fn find(
    tenant: &Tenant,
    state: &State,
    config: &LiveConfig,
    key: &AccountKey,
) -> Result<AccountOrdinal, ReadError> {
    let forest = &state.accounts.forest;
    let found = match key {
        AccountKey::Id(id) => id.open(&tenant.keys.id).filter(|account| forest.get(*account).is_some()),
        AccountKey::Record(record) => forest.find(config.preparer().record_digest(record.source, &record.key)),
        AccountKey::Profile(profile) => PartiesNow::new(state, config).accounts_of(*profile).first().copied(),
    };
    found.ok_or(ReadError::AccountUnknown)
}

/// A source account with its text.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its ordinal.
    pub account: AccountOrdinal,
    /// What is kept of it.
    pub known: Account,
    /// What was told; `None` when its content is gone.
    pub told: Option<AccountPut>,
}

/// An account's name, where it is only pointed at.
#[derive(Clone, Debug)]
pub struct Pointed {
    /// The oldest source account of its node.
    pub account: AccountOrdinal,
    /// The name that the most trusted of its sources gives it; empty when its content is gone.
    pub name: String,
}

/// An edge that does not count.
#[derive(Clone, Debug)]
pub struct ShownParked {
    /// The source account below.
    pub child: Pointed,
    /// The source account above.
    pub parent: Pointed,
    /// Since when.
    pub from: Moment,
    /// Why it does not count.
    pub reason: ParkedReason,
}

/// An account as it is served.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its source accounts, oldest first.
    pub parts: Vec<Part>,
    /// The one that gives it its name: of the most trusted source, then the oldest.
    pub leading: usize,
    /// The profile that holds its records.
    pub profile: Option<ProfileOrdinal>,
    /// From its parent up to its ultimate parent; empty at the top.
    pub above: Vec<Pointed>,
    /// Edges that do not count.
    pub parked: Vec<ShownParked>,
    /// How many accounts lie right below it.
    pub children: usize,
    /// The stage that it stands at, and since when.
    pub stage: Option<(StageId, Moment)>,
    /// Sequence of the last change to any of its parts.
    pub changed: onefold_core::ids::Sequence,
}

/// Accounts of a way up that are shown with their names; of more the ultimate parent is still shown.
pub const ABOVE_SHOWN_MAX: usize = 64;

/// What a look at the state finds, before its text is read.
struct Found {
    parked: Vec<Parked>,
    children: usize,
    known: Vec<(AccountOrdinal, Account, Option<Place>)>,
    leading: usize,
    profile: Option<ProfileOrdinal>,
    above: Vec<(AccountOrdinal, Option<Place>)>,
    parked_ends: Vec<[(AccountOrdinal, Option<Place>); 2]>,
    stage: Option<(StageId, Moment)>,
    changed: onefold_core::ids::Sequence,
}

/// The account that a key names, as it stands at a moment. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError`] when there is none, or it cannot be read.
pub fn show(shared: &Shared, tenant: &Tenant, key: &AccountKey, at: Moment) -> Result<Shown, ReadError> {
    let config = tenant.config();
    let found = tenant.seen(|state| {
        let account = find(tenant, state, &config, key)?;
        Ok::<_, ReadError>(look(state, &config, account, at))
    })??;
    text_of(shared, tenant, found)
}

/// Accounts right below another that are looked at in one picture: all writes wait meanwhile.
const CHILDREN_AT_ONCE: usize = 16;

/// A page of the accounts right below another.
#[derive(Clone, Debug)]
pub struct Children {
    /// As they are served.
    pub shown: Vec<Shown>,
    /// How many of all of them the page took, whatever became of these while it was made.
    pub taken: usize,
    /// Whether there are more.
    pub more: bool,
}

/// The accounts right below the one that a key names, in order of arrival, from an index on. They are looked at a few at a
/// time, each as it stands then; whoever moved away meanwhile is left out.
///
/// # Errors
/// As [`show`].
pub fn children(
    shared: &Shared,
    tenant: &Tenant,
    key: &AccountKey,
    at: Moment,
    (from, most): (usize, usize),
) -> Result<Children, ReadError> {
    let config = tenant.config();
    let (account, page, above, more) = tenant.seen(|state| {
        let account = find(tenant, state, &config, key)?;
        let parties = PartiesNow::new(state, &config);
        let view = View::new(&state.accounts.forest, &parties, at);
        // The way up is that of all of them: each walks none of its own, since the whole tenant waits meanwhile.
        let way = view.ancestry(account);
        let above = named(&parties, &state.accounts, &way.path);
        let nodes = view.children_of(&way.path[0], &way);
        let more = nodes.len() > from.saturating_add(most);
        let page: Vec<AccountOrdinal> = nodes.iter().skip(from).take(most).map(Node::key).collect();
        Ok::<_, ReadError>((account, page, above, more))
    })??;
    let above = above.into_iter().map(|above| pointed(shared, tenant, above)).collect::<Result<Vec<_>, _>>()?;
    let mut shown = Vec::with_capacity(page.len());
    let mut told: HashSet<AccountOrdinal> = HashSet::new();
    for few in page.chunks(CHILDREN_AT_ONCE) {
        let found = tenant.seen(|state| {
            let parties = PartiesNow::new(state, &config);
            let view = View::new(&state.accounts.forest, &parties, at);
            let way = view.ancestry(account);
            let mut found = Vec::with_capacity(few.len());
            for node in few.iter().map(|child| view.node(*child)) {
                if view.is_below(&node, &way.path[0], &way) && told.insert(node.key()) {
                    found.push(look_at(state, &config, (&view, &parties), (node, &way)));
                }
            }
            found
        })?;
        for found in found {
            shown.push(Shown { above: above.clone(), ..text_of(shared, tenant, found)? });
        }
    }
    Ok(Children { shown, taken: page.len(), more })
}

fn look(state: &State, config: &Arc<LiveConfig>, account: AccountOrdinal, at: Moment) -> Found {
    let parties = PartiesNow::new(state, config);
    let view = View::new(&state.accounts.forest, &parties, at);
    let way = view.ancestry(account);
    let above = named(&parties, &state.accounts, &way.path[1..]);
    Found { above, ..look_at(state, config, (&view, &parties), (way.path[0].clone(), &way)) }
}

/// The nodes of a way up that are shown: the key of each, and where the name lies that its leading source account gives it.
fn named(parties: &PartiesNow<'_>, accounts: &Accounts, way: &[Node]) -> Vec<(AccountOrdinal, Option<Place>)> {
    let top = way.last().filter(|_| way.len() > ABOVE_SHOWN_MAX);
    let shown = way.iter().take(ABOVE_SHOWN_MAX).chain(top).map(|node| leader(parties, accounts, node));
    shown.map(|(key, leading)| (key, accounts.rows.get(leading.0 as usize).and_then(|row| row.place))).collect()
}

/// Looks at a node whose way up is known, or that counts as right below the first of it. What lies above it is left out.
fn look_at(
    state: &State,
    config: &LiveConfig,
    (view, parties): (&View<'_, PartiesNow<'_>>, &PartiesNow<'_>),
    (node, way): (Node, &Ancestry),
) -> Found {
    let accounts = &state.accounts;
    let place = |account: AccountOrdinal| (account, accounts.rows.get(account.0 as usize).and_then(|row| row.place));
    let known: Vec<_> = node
        .members
        .iter()
        .filter_map(|member| Some((*member, accounts.forest.get(*member)?.clone(), place(*member).1)))
        .collect();
    let parked = view.parked(&node, way);
    let parked_ends = parked.iter().map(|parked| [place(parked.edge.child), place(parked.edge.parent)]).collect();
    let changed = node.members.iter().filter_map(|member| accounts.rows.get(member.0 as usize)).map(|row| row.changed);
    Found {
        children: view.children_of(&node, way).len(),
        stage: stage_of_node(state, config, &node).map(|reached| (reached.stage, reached.at)),
        profile: node.members.first().and_then(|account| parties.profile(*account)),
        changed: changed.max().unwrap_or_default(),
        leading: leading(parties, accounts, &node.members),
        known,
        above: Vec::new(),
        parked_ends,
        parked,
    }
}

/// Key of a node and the source account that gives it its name.
fn leader(parties: &PartiesNow<'_>, accounts: &Accounts, node: &Node) -> (AccountOrdinal, AccountOrdinal) {
    let at = leading(parties, accounts, &node.members);
    (node.key(), node.members.get(at).copied().unwrap_or(node.key()))
}

fn leading(parties: &PartiesNow<'_>, accounts: &Accounts, members: &[AccountOrdinal]) -> usize {
    let trust = |member: &AccountOrdinal| accounts.forest.get(*member).map_or(0, |a| parties.trust(a.facts.source));
    let best = members.iter().enumerate().max_by_key(|(at, member)| (trust(member), std::cmp::Reverse(*at)));
    best.map_or(0, |(at, _)| at)
}

/// The stage of a node: of its source accounts', by the tenant's rule.
pub fn stage_of_node(state: &State, config: &LiveConfig, node: &Node) -> Option<Reached> {
    let records = node.members.iter().filter_map(|member| state.accounts.forest.get(*member)).map(|a| a.facts.record);
    stage_of(state, config, PartyKind::Organisation, records)
}

/// The stage of a party with these source records.
pub fn stage_of(
    state: &State,
    config: &LiveConfig,
    party: PartyKind,
    records: impl Iterator<Item = Digest128>,
) -> Option<Reached> {
    let accounts = &state.accounts;
    let parties = PartiesNow::new(state, config);
    let reached: Vec<Reached> = records
        .filter_map(|record| {
            let held = accounts.stands(party, record)?;
            Some(Reached { record, stage: held.stage, at: held.at, trust: parties.trust(held.source) })
        })
        .collect();
    accounts.lifecycle.effective(party, &reached)
}

/// An account that is pointed at, with the name that lies at a place.
fn pointed(
    shared: &Shared,
    tenant: &Tenant,
    (account, place): (AccountOrdinal, Option<Place>),
) -> Result<Pointed, ReadError> {
    let told = match place {
        Some(place) => told_at::<AccountPut>(shared, tenant, place, EntryKind::AccountPut)?,
        None => None,
    };
    Ok(Pointed { account, name: told.map(|told| told.name).unwrap_or_default() })
}

fn text_of(shared: &Shared, tenant: &Tenant, found: Found) -> Result<Shown, ReadError> {
    let Found { parked, children, known, leading, profile, above, parked_ends, stage, changed } = found;
    let put = |place: Option<Place>| match place {
        Some(place) => told_at::<AccountPut>(shared, tenant, place, EntryKind::AccountPut),
        None => Ok(None),
    };
    let pointed = |at| pointed(shared, tenant, at);
    let parts = known
        .into_iter()
        .map(|(account, known, place)| Ok(Part { account, known, told: put(place)? }))
        .collect::<Result<_, ReadError>>()?;
    let above = above.into_iter().map(pointed).collect::<Result<_, _>>()?;
    let parked = parked
        .iter()
        .zip(parked_ends)
        .map(|(parked, [child, parent])| {
            Ok(ShownParked {
                child: pointed(child)?,
                parent: pointed(parent)?,
                from: parked.edge.from,
                reason: parked.reason,
            })
        })
        .collect::<Result<_, ReadError>>()?;
    Ok(Shown { parts, leading, profile, above, parked, children, stage, changed })
}

/// The content of an entry about a subject; `None` when its key was destroyed.
///
/// # Errors
/// [`ReadError::Damaged`], [`ReadError::Store`] when it cannot be read.
pub fn told_at<T: DeserializeOwned>(
    shared: &Shared,
    tenant: &Tenant,
    place: Place,
    what: EntryKind,
) -> Result<Option<T>, ReadError> {
    durable_at(shared, place)?;
    let entry = shared.journal.read(place).map_err(|error| ReadError::at(place, error))?;
    let Some(payload) = entry.payload else { return gone_at(shared, place).map(|()| None) };
    if entry.context.kind != kind(what) {
        return Err(ReadError::content_of(place, "the entry is of another kind"));
    }
    let (subject, ciphertext) = Subject::parse(&payload).map_err(|error| ReadError::content_of(place, error))?;
    let key = match tenant.vault.key(subject.slot) {
        Ok(key) => key,
        Err(onefold_store::vault::VaultError::Destroyed(_)) => return gone_at(shared, place).map(|()| None),
        Err(error) => return Err(ReadError::key_of(place, error)),
    };
    let opened = entry.context.open(&key, 0, &subject.header(), ciphertext);
    let plain = opened.map_err(|error| ReadError::content_of(place, error))?;
    decision::decode(&plain).map(Some).map_err(|error| ReadError::content_of(place, error))
}

/// An affiliation as it is served.
#[derive(Clone, Debug)]
pub struct ShownAffiliation {
    /// What was told; its end is `until`.
    pub told: AffiliationStated,
    /// The account.
    pub account: Pointed,
    /// The person's profile, if the source record is live as a person's.
    pub profile: Option<ProfileOrdinal>,
    /// Until when.
    pub until: Option<Moment>,
}

/// Whose affiliations.
#[derive(Clone, Debug)]
pub enum Whose {
    /// Of a person's source records, by digest.
    Person(Vec<Digest128>),
    /// Of an account, all its parts.
    Account(AccountKey),
}

/// Affiliations, those that hold at `at` only if it is given, in the order of the persons' digests, from an index on.
///
/// # Errors
/// As [`show`].
pub fn affiliations(
    shared: &Shared,
    tenant: &Tenant,
    whose: &Whose,
    at: Option<Moment>,
    (from, most): (usize, usize),
) -> Result<(Vec<ShownAffiliation>, bool), ReadError> {
    let config = tenant.config();
    type Row = (Held, (AccountOrdinal, Option<Place>), Option<ProfileOrdinal>);
    let (rows, more): (Vec<Row>, bool) = tenant.seen(|state| {
        let accounts = &state.accounts;
        let parties = PartiesNow::new(state, &config);
        let view = View::new(&accounts.forest, &parties, Moment::ALWAYS);
        let mut held = Vec::new();
        match whose {
            Whose::Person(records) => {
                for person in records {
                    held.extend(accounts.affiliations.of_person(*person).iter().map(|one| (*person, *one)));
                }
            }
            Whose::Account(key) => {
                let account = find(tenant, state, &config, key)?;
                let parts = view.node(account).members;
                for record in parts.iter().filter_map(|part| accounts.forest.get(*part)).map(|a| a.facts.record) {
                    for person in accounts.affiliations.of_account(record) {
                        let all = accounts.affiliations.of_person(person).iter();
                        held.extend(all.filter(|one| one.account == record).map(|one| (person, *one)));
                    }
                }
            }
        }
        held.retain(|(_, one)| at.is_none_or(|at| one.holds(at)));
        let more = held.len() > from.saturating_add(most);
        let rows = held.into_iter().skip(from).take(most).filter_map(|(person, one)| {
            let account = accounts.forest.find(one.account)?;
            let (key, leading) = leader(&parties, accounts, &view.node(account));
            let place = accounts.rows.get(leading.0 as usize).and_then(|row| row.place);
            Some((one, (key, place), profile_as(state, PartyKind::Person, person)))
        });
        Ok::<_, ReadError>((rows.collect(), more))
    })??;
    let mut shown = Vec::with_capacity(rows.len());
    for (held, (account, name), profile) in rows {
        let told = match held.origin {
            Origin::Fragment => told_by_fragment(shared, tenant, &config, &held)?,
            Origin::Stated | Origin::Confirmed => {
                told_at::<AffiliationStated>(shared, tenant, held.place, EntryKind::AffiliationStated)?
            }
        };
        let until = held.until;
        let account = pointed(shared, tenant, (account, name))?;
        shown.extend(told.map(|told| ShownAffiliation { told, account, profile, until }));
    }
    Ok((shown, more))
}

/// The words of a role that a fragment told of; `None` when they were erased meanwhile.
fn told_by_fragment(
    shared: &Shared,
    tenant: &Tenant,
    config: &LiveConfig,
    held: &Held,
) -> Result<Option<AffiliationStated>, ReadError> {
    let fragment = match fragment_at(shared, &tenant.vault, held.place) {
        Ok(fragment) => fragment,
        Err(error) => {
            return match tenant.vault.key(held.slot) {
                Err(onefold_store::vault::VaultError::Destroyed(_)) => Ok(None),
                _ => Err(error),
            };
        }
    };
    let digester = Digester::new(config, &tenant.keys.index);
    let told = digester.roles(&fragment, (held.place, held.slot));
    let found = told.iter().zip(&fragment.affiliations).find(|(one, _)| *one == held);
    Ok(found.map(|(_, told)| AffiliationStated {
        person: fragment.record.clone(),
        account: held.account,
        role: told.role.clone(),
        since: told.since,
        until: told.until,
        origin: Origin::Fragment,
    }))
}

/// The keyed digest of a role.
pub fn role(tenant: &Tenant, config: &LiveConfig, role: &str) -> Digest128 {
    Digester::new(config, &tenant.keys.index).role(role)
}
