//! Source accounts and their parents by date: at every date a forest.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::levels::Levels;
use super::{AccountKind, AccountOrdinal, Moment, Refused};
use crate::ids::{Digest128, SourceId};
use crate::limits::{ACCOUNT_LEVELS_MAX, LEVELS_LOOKED_AT_MAX, PARENT_STEPS_MAX};

/// From a moment on, until the next step, this is the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// From when on.
    pub from: Moment,
    /// The parent; none: at the top.
    pub parent: Option<AccountOrdinal>,
}

/// What is told of an account besides its parents. Text stays in the journal; here are only digests of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountFacts {
    /// Keyed digest of its source record.
    pub record: Digest128,
    /// Who keeps it.
    pub source: SourceId,
    /// What it is.
    pub kind: AccountKind,
    /// Since when it exists.
    pub since: Moment,
    /// Keyed digests of its domains, sorted.
    pub domains: Vec<Digest128>,
    /// Keyed digest of its name without legal form.
    pub name: Option<Digest128>,
}

/// A source account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What is told of it.
    pub facts: AccountFacts,
    /// From when on it is closed.
    pub closed: Option<Moment>,
    /// Its parents, oldest first; before the first step it has none.
    pub parents: Vec<Step>,
}

impl Account {
    /// Whether it is closed at this moment.
    #[must_use]
    pub fn is_closed(&self, at: Moment) -> bool {
        self.closed.is_some_and(|closed| closed <= at)
    }

    /// Whether it exists at this moment, open or closed.
    #[must_use]
    pub fn exists(&self, at: Moment) -> bool {
        self.facts.since <= at
    }

    /// The step in force at this moment.
    #[must_use]
    pub fn step(&self, at: Moment) -> Option<Step> {
        let after = self.parents.partition_point(|step| step.from <= at);
        after.checked_sub(1).and_then(|index| self.parents.get(index)).copied()
    }

    /// Steps and until when each holds, from this moment on.
    pub(super) fn steps_from(&self, from: Moment) -> impl Iterator<Item = (Step, Option<Moment>)> + '_ {
        let first = self.parents.partition_point(|step| step.from <= from).saturating_sub(1);
        (first..self.parents.len()).map(|at| (self.parents[at], self.parents.get(at + 1).map(|next| next.from)))
    }
}

/// All source accounts of a tenant. At every date their parents make a forest: [`Forest::check_parent`] comes before
/// every [`Forest::set_parent`], and [`super::import`] before a whole load of them.
#[derive(Clone, Debug, Default)]
pub struct Forest {
    accounts: Vec<Account>,
    by_record: HashMap<Digest128, AccountOrdinal>,
    /// Parent and child, for every step that names a parent.
    pub(super) below: BTreeSet<(AccountOrdinal, AccountOrdinal)>,
    /// How deep it goes below each account, at most.
    pub(super) levels: Levels,
}

/// The accounts are all that is told; the rest is found from them.
impl PartialEq for Forest {
    fn eq(&self, other: &Self) -> bool {
        self.accounts == other.accounts
    }
}

impl Eq for Forest {}

impl Forest {
    /// A forest of these accounts, as [`Forest::accounts`] gave them.
    #[must_use]
    pub fn of(accounts: Vec<Account>) -> Self {
        let mut forest = Self::default();
        for (ordinal, account) in (0..).map(AccountOrdinal).zip(&accounts) {
            forest.by_record.insert(account.facts.record, ordinal);
            forest.below.extend(account.parents.iter().filter_map(|step| Some((step.parent?, ordinal))));
            forest.levels.open();
            forest.levels.change(ordinal);
        }
        forest.accounts = accounts;
        forest.measure();
        forest
    }

    /// All accounts, by ordinal.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The account with this ordinal.
    #[must_use]
    pub fn get(&self, account: AccountOrdinal) -> Option<&Account> {
        self.accounts.get(account.0 as usize)
    }

    /// The account of this source record.
    #[must_use]
    pub fn find(&self, record: Digest128) -> Option<AccountOrdinal> {
        self.by_record.get(&record).copied()
    }

    /// The parent at this moment.
    #[must_use]
    pub fn parent(&self, account: AccountOrdinal, at: Moment) -> Option<AccountOrdinal> {
        self.get(account)?.step(at)?.parent
    }

    /// Whether the parent that an account has at this moment is the one that it has for ever after.
    #[must_use]
    pub fn stays(&self, account: AccountOrdinal, at: Moment) -> bool {
        self.get(account).is_none_or(|known| known.parents.last().is_none_or(|last| last.from <= at))
    }

    /// The children at this moment, in order of arrival, those that do not exist yet left out.
    pub fn children(&self, account: AccountOrdinal, at: Moment) -> impl Iterator<Item = AccountOrdinal> + '_ {
        self.below
            .range((account, AccountOrdinal(0))..=(account, AccountOrdinal(u32::MAX)))
            .map(|(_, child)| *child)
            .filter(move |child| {
                self.get(*child).is_some_and(|known| {
                    known.exists(at) && known.step(at).and_then(|step| step.parent) == Some(account)
                })
            })
    }

    /// Takes an account in, or replaces what is told of it; its parents and its closing stay.
    pub fn put(&mut self, facts: AccountFacts) -> AccountOrdinal {
        if let Some(ordinal) = self.find(facts.record) {
            self.accounts[ordinal.0 as usize].facts = facts;
            return ordinal;
        }
        let ordinal = AccountOrdinal(self.accounts.len() as u32);
        self.by_record.insert(facts.record, ordinal);
        self.accounts.push(Account { facts, closed: None, parents: Vec::new() });
        self.levels.open();
        ordinal
    }

    /// Whether the account may have this parent from this moment on, whatever is planned for later.
    ///
    /// # Errors
    /// [`Refused`], which says why not.
    pub fn check_parent(&self, account: AccountOrdinal, parent: AccountOrdinal, from: Moment) -> Result<(), Refused> {
        if account == parent {
            return Err(Refused::SelfParent);
        }
        if self.get(parent).is_some_and(|parent| parent.is_closed(from)) {
            return Err(Refused::ParentClosed);
        }
        let kept = self.get(account).map_or(0, |known| known.parents.partition_point(|step| step.from < from));
        if kept >= PARENT_STEPS_MAX {
            return Err(Refused::TooManySteps);
        }
        let levels = self.levels_up(parent, account, from).map_err(|below| Refused::Cycle { below })?;
        let room = ACCOUNT_LEVELS_MAX.saturating_sub(levels);
        let mut looks = LEVELS_LOOKED_AT_MAX;
        let fits =
            self.levels_bound(account) <= room || self.levels_down(account, from, room, |_| false, &mut looks) <= room;
        if fits { Ok(()) } else { Err(Refused::TooDeep) }
    }

    /// The levels from one account up to its ultimate parent, its own being the first: the most that there are at any one
    /// date from `from` on. Each step up narrows the time in which a way holds, so the ways are at most as many as there
    /// are dates in them.
    ///
    /// # Errors
    /// A way up to `goal`, both ends left out.
    pub(super) fn levels_up(
        &self,
        start: AccountOrdinal,
        goal: AccountOrdinal,
        from: Moment,
    ) -> Result<usize, Vec<AccountOrdinal>> {
        /// A place on a way up, when the way holds, how many levels it has, and the place before it.
        struct Reached {
            account: AccountOrdinal,
            low: Moment,
            high: Option<Moment>,
            levels: usize,
            before: Option<usize>,
        }
        let mut reached = vec![Reached { account: start, low: from, high: None, levels: 1, before: None }];
        let (mut next, mut most) = (0, 1);
        while let Some(Reached { account, low, high, levels, .. }) = reached.get(next) {
            let (low, high, levels, here) = (*low, *high, *levels, next);
            most = most.max(levels);
            next += 1;
            let Some(known) = self.get(*account) else { continue };
            for (step, until) in known.steps_from(low) {
                let Some(parent) = step.parent else { continue };
                let low = low.max(step.from);
                let high = match (high, until) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                if high.is_some_and(|high| high <= low) {
                    continue;
                }
                if parent == goal {
                    let mut way = Vec::new();
                    let mut at = Some(here);
                    while let Some(place) = at.and_then(|at| reached.get(at)) {
                        at = place.before;
                        if at.is_some() {
                            way.push(place.account);
                        }
                    }
                    way.reverse();
                    return Err(way);
                }
                reached.push(Reached { account: parent, low, high, levels: levels + 1, before: Some(here) });
            }
        }
        Ok(most)
    }

    /// Says who the parent is from this moment on; what was planned for later is replaced. The journal's word: whoever
    /// has something new to say asks [`Forest::check_parent`] first.
    pub fn set_parent(&mut self, account: AccountOrdinal, step: Step) {
        let Some(known) = self.accounts.get_mut(account.0 as usize) else { return };
        let kept = known.parents.partition_point(|earlier| earlier.from < step.from);
        let dropped: Vec<AccountOrdinal> = known.parents.drain(kept..).filter_map(|later| later.parent).collect();
        if known.parents.last().and_then(|last| last.parent) != step.parent {
            known.parents.push(step);
        }
        let named: Vec<AccountOrdinal> = known.parents.iter().filter_map(|step| step.parent).collect();
        for gone in dropped {
            if !named.contains(&gone) {
                self.below.remove(&(gone, account));
            }
        }
        if let Some(parent) = step.parent {
            self.below.insert((parent, account));
            self.levels.change(account);
        }
    }

    /// Says from when on an account is closed; `None` opens it again. Its children keep it as their parent.
    pub fn close(&mut self, account: AccountOrdinal, closed: Option<Moment>) {
        if let Some(known) = self.accounts.get_mut(account.0 as usize) {
            known.closed = closed;
        }
    }
}
