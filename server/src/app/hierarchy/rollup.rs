//! Counts over an account and everything below it.

use std::collections::{BTreeMap, HashSet};

use onefold_core::consent::contact::{Reason, allows, consent_reasons};
use onefold_core::consent::{ChannelId, PurposeId};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::Moment;
use onefold_core::hierarchy::view::View;
use onefold_core::ids::{Digest128, ProfileOrdinal};
use onefold_core::lifecycle::StageId;
use onefold_core::limits;

use super::read::{AccountKey, PartiesNow, find, profile_as, stage_of, stage_of_node};
use crate::app::App;
use crate::app::consent::read::{self as consent, AsOf, Who};
use crate::app::error::ReadError;
use crate::app::read::ProfileKey;
use crate::app::tenant::Tenant;

/// What lies in a subtree, the account itself included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    /// Accounts, those that are one party counted once.
    pub accounts: u64,
    /// Source accounts behind them.
    pub source_accounts: u64,
    /// Accounts of which every source account is closed.
    pub closed: u64,
    /// Levels, the account itself being the first.
    pub depth: u64,
    /// Accounts by stage.
    pub account_stages: BTreeMap<StageId, u64>,
    /// Accounts without a stage.
    pub accounts_without_stage: u64,
    /// Persons with a role in any of the accounts at the moment, each profile once, and the stage of each.
    pub persons: BTreeMap<ProfileOrdinal, Option<StageId>>,
    /// Source records with a role whose person has no live profile.
    pub unknown_persons: u64,
    /// Persons, and such records, that are left out.
    pub withheld: u64,
}

impl Rollup {
    /// Leaves out of every count of persons whom this does not let be counted. To be asked behind reading: what is counted
    /// must be permitted, whoever merged or said no on the way.
    ///
    /// # Errors
    /// [`ReadError::Invalid`] when there are more than [`limits::COVERAGE_PERSONS_MAX`], and what is answered of a person.
    pub fn count_only(&mut self, permits: impl Fn(ProfileOrdinal) -> Result<bool, ReadError>) -> Result<(), ReadError> {
        few_enough(self.persons.len(), "purpose")?;
        // Who is nobody permits nothing.
        self.withheld = std::mem::take(&mut self.unknown_persons);
        let mut counted = BTreeMap::new();
        for (profile, stage) in std::mem::take(&mut self.persons) {
            match permits(profile)? {
                true => drop(counted.insert(profile, stage)),
                false => self.withheld += 1,
            }
        }
        self.persons = counted;
        Ok(())
    }

    /// Persons by stage.
    pub fn person_stages(&self) -> BTreeMap<StageId, u64> {
        let mut stages = BTreeMap::new();
        for stage in self.persons.values().flatten() {
            *stages.entry(*stage).or_default() += 1;
        }
        stages
    }

    /// Persons without a stage.
    pub fn persons_without_stage(&self) -> u64 {
        self.persons.values().filter(|stage| stage.is_none()).count() as u64
    }
}

/// Whether each of so many persons may be looked at.
fn few_enough(persons: usize, field: &str) -> Result<(), ReadError> {
    let most = limits::COVERAGE_PERSONS_MAX;
    if persons <= most {
        return Ok(());
    }
    let message = format!("of {persons} persons is more than the {most} there may be: ask for the accounts below");
    Err(ReadError::Invalid(vec![FieldFault::new(field, FaultReason::TooLarge, message)]))
}

/// Counts a subtree as it stands at a moment; merges and stages are those of today. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError`] when there is no such account.
pub fn of(tenant: &Tenant, key: &AccountKey, at: Moment) -> Result<Rollup, ReadError> {
    let config = tenant.config();
    tenant.seen(|state| {
        let accounts = &state.accounts;
        let account = find(tenant, state, &config, key)?;
        let parties = PartiesNow::new(state, &config);
        let view = View::new(&accounts.forest, &parties, at);
        let mut sum = Rollup::default();
        let mut unknown: HashSet<Digest128> = HashSet::new();
        view.subtree(account, |node, level| {
            sum.accounts += 1;
            sum.source_accounts += node.members.len() as u64;
            sum.depth = sum.depth.max(level as u64 + 1);
            let known = node.members.iter().filter_map(|member| accounts.forest.get(*member));
            sum.closed += u64::from(known.clone().all(|account| account.is_closed(at)));
            match stage_of_node(state, &config, node) {
                Some(reached) => *sum.account_stages.entry(reached.stage).or_default() += 1,
                None => sum.accounts_without_stage += 1,
            }
            for record in known.map(|account| account.facts.record) {
                for person in accounts.affiliations.of_account(record) {
                    let held = accounts.affiliations.of_person(person);
                    if !held.iter().any(|one| one.account == record && one.holds(at)) {
                        continue;
                    }
                    match profile_as(state, PartyKind::Person, person) {
                        Some(profile) => {
                            sum.persons.insert(profile, None);
                        }
                        None => {
                            unknown.insert(person);
                        }
                    }
                }
            }
        });
        sum.unknown_persons = unknown.len() as u64;
        for (profile, stage) in &mut sum.persons {
            let records = state.engine.members(*profile).into_iter().map(|member| member.digest);
            *stage = stage_of(state, &config, PartyKind::Person, records).map(|reached| reached.stage);
        }
        Ok(sum)
    })?
}

/// How many persons may be reached for a purpose over a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// For this purpose.
    pub purpose: PurposeId,
    /// Over this channel.
    pub channel: ChannelId,
    /// What was said allows it.
    pub permitted: u64,
    /// Somebody said no, or the person is suppressed or restricted, by what was said or by a privacy request.
    pub stopped: u64,
    /// Neither.
    pub not_granted: u64,
}

/// Counts the consent of these persons as it holds today, for each purpose over each of the tenant's channels. Each person
/// is looked at in one consistent picture, and counted where `permits` says so behind that; whoever merges while this counts
/// is counted once. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError::Invalid`] when there are more than [`limits::COVERAGE_PERSONS_MAX`].
pub fn coverage(
    app: &App,
    tenant: &Tenant,
    persons: &BTreeMap<ProfileOrdinal, Option<StageId>>,
    purposes: &[PurposeId],
    permits: impl Fn(ProfileOrdinal) -> Result<bool, ReadError>,
) -> Result<Vec<Coverage>, ReadError> {
    few_enough(persons.len(), "consent_purposes")?;
    let channels: Vec<ChannelId> = tenant.config().config.consent.channels.iter().map(|channel| channel.id).collect();
    let asked: Vec<(PurposeId, Option<ChannelId>)> =
        purposes.iter().flat_map(|purpose| channels.iter().map(|channel| (*purpose, Some(*channel)))).collect();
    let mut sums: BTreeMap<(PurposeId, ChannelId), [u64; 3]> =
        asked.iter().filter_map(|(purpose, channel)| Some(((*purpose, (*channel)?), [0; 3]))).collect();
    let mut counted: HashSet<ProfileOrdinal> = HashSet::new();
    for person in persons.keys() {
        let who = Who { key: ProfileKey::Id(tenant.profile_id(*person)), points: Vec::new() };
        let seen = match consent::holdings(app, tenant, &who, &asked, AsOf::default()) {
            Ok(seen) => seen,
            // Whoever is not there any more since the accounts were looked at is not reached at all.
            Err(ReadError::ProfileEmptied | ReadError::ProfileErased | ReadError::ProfileSplit { .. }) => continue,
            Err(error) => return Err(error),
        };
        if !seen.profile.is_some_and(|profile| counted.insert(profile)) || !permits(*person)? {
            continue;
        }
        for holding in seen.seen {
            let Some(sum) = holding.channel.and_then(|channel| sums.get_mut(&(holding.purpose, channel))) else {
                continue;
            };
            let reasons = consent_reasons(&holding.effective, holding.regime);
            let is_stop =
                |reason: &Reason| matches!(reason, Reason::Stopped(..) | Reason::Suppressed(_) | Reason::Restricted(_));
            let stopped = holding.erased || reasons.iter().any(is_stop);
            let which = if stopped {
                1
            } else if allows(&reasons) {
                0
            } else {
                2
            };
            sum[which] += 1;
        }
    }
    let row = |((purpose, channel), [permitted, stopped, not_granted]): ((PurposeId, ChannelId), [u64; 3])| Coverage {
        purpose,
        channel,
        permitted,
        stopped,
        not_granted,
    };
    Ok(sums.into_iter().map(row).collect())
}
