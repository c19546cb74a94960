//! LAW 10: how deep the hierarchy goes below an account, so that a move of it costs a look at a number and not a walk over
//! all that lies below.
//!
//! Of each account a bound is kept: at no date does it have more levels than that, itself included. It is raised when
//! something is put below, and never lowered, since that would be a walk; where it says too much, it is walked after all, for
//! so many steps ([`crate::limits::LEVELS_LOOKED_AT_MAX`]) and only where it goes deep.

use super::forest::Forest;
use super::{AccountOrdinal, Moment};
use crate::limits::ACCOUNT_LEVELS_MAX;

/// All of it is measured at once where one account of so many changed.
const MANY_CHANGED: usize = 4;

/// The bounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    /// By account.
    most: Vec<u16>,
    /// Accounts with new parents that their ancestors' bounds do not count yet. While a load is taken in, parents may stand in a
    /// circle that its rest undoes; so they are counted behind it.
    changed: Vec<AccountOrdinal>,
}

impl Levels {
    /// A further account, with nothing below it.
    pub(super) fn open(&mut self) {
        self.most.push(1);
    }

    /// An account has a new parent.
    pub(super) fn change(&mut self, account: AccountOrdinal) {
        self.changed.push(account);
    }

    fn of(&self, account: AccountOrdinal) -> usize {
        self.most.get(account.0 as usize).map_or(1, |most| usize::from(*most))
    }

    fn raise(&mut self, account: AccountOrdinal, to: usize) {
        if let Some(most) = self.most.get_mut(account.0 as usize) {
            *most = (*most).max(u16::try_from(to).unwrap_or(u16::MAX));
        }
    }
}

/// The part of a time that lies in another: from one moment on until another, or for ever.
fn narrowed(
    (low, high): (Moment, Option<Moment>),
    (from, until): (Moment, Option<Moment>),
) -> Option<(Moment, Option<Moment>)> {
    let low = low.max(from);
    let high = match (high, until) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    high.is_none_or(|high| low < high).then_some((low, high))
}

impl Forest {
    /// Counts what changed since this was called last. Whoever says who a parent is calls it once all of that is said; before, a
    /// check walks.
    pub fn measure(&mut self) {
        let mut changed = std::mem::take(&mut self.levels.changed);
        changed.sort_unstable();
        changed.dedup();
        if changed.len() > self.len() / MANY_CHANGED {
            changed = self.measure_all();
        }
        for account in changed {
            self.raise_above(account);
        }
    }

    /// Raises the bounds of all that lie above an account at any date.
    fn raise_above(&mut self, account: AccountOrdinal) {
        let own = self.levels.of(account);
        let mut next = vec![(account, (Moment::ALWAYS, None), own)];
        while let Some((account, time, levels)) = next.pop() {
            let Some(known) = self.get(account) else { continue };
            let above: Vec<_> = known
                .steps_from(time.0)
                .filter_map(|(step, until)| Some((step.parent?, narrowed(time, (step.from, until))?)))
                .collect();
            for (parent, time) in above {
                self.levels.raise(parent, levels + 1);
                // No way is longer than this.
                if levels < own + ACCOUNT_LEVELS_MAX {
                    next.push((parent, time, levels + 1));
                }
            }
        }
    }

    /// Measures from the bottom up, whenever each parent holds; answers with the accounts that this does not reach, since they lie
    /// on or above a circle through several dates.
    fn measure_all(&mut self) -> Vec<AccountOrdinal> {
        let mut waits = vec![0_u32; self.len()];
        for (parent, _) in &self.below {
            if let Some(count) = waits.get_mut(parent.0 as usize) {
                *count += 1;
            }
        }
        let all = (0..self.len() as u32).map(AccountOrdinal);
        let mut next: Vec<AccountOrdinal> = all.clone().filter(|account| waits[account.0 as usize] == 0).collect();
        while let Some(account) = next.pop() {
            let levels = self.levels.of(account) + 1;
            let mut parents: Vec<AccountOrdinal> =
                self.get(account).into_iter().flat_map(|known| &known.parents).filter_map(|step| step.parent).collect();
            parents.sort_unstable();
            parents.dedup();
            for parent in parents {
                self.levels.raise(parent, levels);
                if let Some(count) = waits.get_mut(parent.0 as usize) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        next.push(parent);
                    }
                }
            }
        }
        all.filter(|account| waits[account.0 as usize] > 0).collect()
    }

    /// The levels that an account has at most at any date, its own being the first; of all that may be where something changed
    /// that is not measured yet.
    pub(super) fn levels_bound(&self, account: AccountOrdinal) -> usize {
        if self.levels.changed.is_empty() { self.levels.of(account) } else { usize::from(u16::MAX) }
    }

    /// The most levels that an account has at any date from `from` on, its own being the first, without those below accounts
    /// that are `passed` over. More than `enough` are not counted on; where it takes more `looks` than there are left, the bound
    /// is told.
    pub(super) fn levels_down(
        &self,
        account: AccountOrdinal,
        from: Moment,
        enough: usize,
        passed: impl Fn(AccountOrdinal) -> bool,
        looks: &mut usize,
    ) -> usize {
        let top = account;
        let mut next = vec![(account, (from, None), 1)];
        let mut most = 1;
        while let Some((account, time, levels)) = next.pop() {
            most = most.max(levels);
            if most > enough {
                return most;
            }
            if levels + self.levels_bound(account) - 1 <= most {
                continue;
            }
            let (first, last) = ((account, AccountOrdinal(0)), (account, AccountOrdinal(u32::MAX)));
            for (_, child) in self.below.range(first..=last) {
                let Some(left) = looks.checked_sub(1) else { return self.levels_bound(top) };
                *looks = left;
                let Some(below) = self.get(*child).filter(|_| !passed(*child)) else { continue };
                let steps = below.steps_from(time.0).filter(|(step, _)| step.parent == Some(account));
                let times = steps.filter_map(|(step, until)| narrowed(time, (step.from, until)));
                next.extend(times.map(|time| (*child, time, levels + 1)));
            }
        }
        most
    }
}
