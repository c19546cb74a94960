//! Counts over an account and everything below it.

use std::collections::{BTreeMap, HashSet};

use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::Moment;
use onefold_core::hierarchy::view::View;
use onefold_core::ids::{Digest128, ProfileOrdinal};
use onefold_core::lifecycle::StageId;

use super::read::{AccountKey, PartiesNow, find, stage_of, stage_of_node};
use crate::app::error::ReadError;
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
    /// Persons with a role in any of the accounts at the moment, each profile once.
    pub persons: u64,
    /// Source records with a role whose person has no live profile.
    pub unknown_persons: u64,
    /// Persons by stage.
    pub person_stages: BTreeMap<StageId, u64>,
    /// Persons without a stage.
    pub persons_without_stage: u64,
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
        let mut profiles: HashSet<ProfileOrdinal> = HashSet::new();
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
                    match state.engine.profile_of(person) {
                        Some(profile) => {
                            profiles.insert(profile);
                        }
                        None => {
                            unknown.insert(person);
                        }
                    }
                }
            }
        });
        sum.persons = profiles.len() as u64;
        sum.unknown_persons = unknown.len() as u64;
        for profile in profiles {
            let records = state.engine.members(profile).into_iter().map(|member| member.digest);
            match stage_of(state, &config, PartyKind::Person, records) {
                Some(reached) => *sum.person_stages.entry(reached.stage).or_default() += 1,
                None => sum.persons_without_stage += 1,
            }
        }
        Ok(sum)
    })?
}
