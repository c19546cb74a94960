//! What was decided, applied and resolved, and what came of it said in the journal.

use std::sync::Arc;

use onefold_core::change::ProfileChange;
use onefold_core::decision::{self, EntryKind, Settled};
use onefold_core::ids::{ProfileOrdinal, Sequence};
use onefold_store::journal::{JournalError, batch_room, entry_room};

use super::{Group, Lane, kind};
use crate::app::decide::Decided;
use crate::app::tenant::{ProfileTimes, State, Tenant};
use crate::app::{consent, keeper};

/// Changes in one settlement entry.
pub(super) const SETTLED_CHANGES_MAX: usize = 1_024;
/// The most bytes that a change takes beside its records, and each of these.
const CHANGE_BYTES_MAX: usize = 24;
const CHANGED_RECORD_BYTES_MAX: usize = 10;

impl Lane {
    /// Applies what was decided, resolves it, and says so in the journal; readers see all of it or nothing. What does
    /// not fit into the batch goes into the next.
    pub(in crate::app) fn settle(
        &mut self,
        tenant: &Arc<Tenant>,
        mut group: Group,
        decided: Decided,
    ) -> Result<Group, JournalError> {
        let committed_at = self.shared.clock.now();
        let (mut entries, mut settlements) = (Vec::new(), Vec::new());
        let end = {
            let mut state = tenant.state_mut();
            let (by_digest, facts) = decided.settle(&mut state);
            for stands in state.take_gone_along() {
                state.sequence = state.sequence.next();
                entries.push((state.sequence, EntryKind::StopsStandOn, decision::encode(&stands)));
            }
            let by_ordinal = |change: &ProfileChange| {
                change.rename(|record| state.engine.ordinal_of(*record).ok_or(JournalError::Poisoned))
            };
            let mut changes = by_digest.iter().map(by_ordinal).collect::<Result<Vec<_>, JournalError>>()?;
            state.consent.ledger.pass(committed_at);
            let said_at = state.consent.ledger.take_untold();
            let concerned = consent::profiles_at(&state, &said_at);
            changes.extend(concerned.into_iter().map(|profile| ProfileChange::ConsentChanged { profile }));
            let accounts = state.accounts.take_untold();
            changes.extend(accounts.into_iter().map(|account| ProfileChange::AccountChanged { account }));
            let mut rest = changes.as_slice();
            // Facts without a consequence are settled too: the journal says so, and a replay has nothing left to do.
            while !rest.is_empty() || (facts && settlements.is_empty()) {
                let (now, later) = rest.split_at(entry_of(rest, self.settled_room() / 4));
                let first = state.sequence.next();
                let settled = Settled {
                    previous: state.last_change,
                    committed_at,
                    changes: now.to_vec(),
                    more: !later.is_empty(),
                };
                note_changes(&mut state, first, now);
                settlements.push((first, settled));
                rest = later;
            }
            state.sequence
        };
        for (sequence, of, payload) in entries {
            self.say(tenant, &mut group, (sequence, of), &payload)?;
        }
        for (first, settled) in settlements {
            self.say(tenant, &mut group, (first, EntryKind::Settled), &settled.encode())?;
            tenant.state_mut().index_feed(first, group.start);
            group.commit.keyed.extend(keeper::history(tenant.id, first, committed_at, &settled.changes));
        }
        group.commit.published.push((Arc::clone(tenant), end));
        Ok(group)
    }

    /// Says what came of it: in the batch, or in the next where it does not fit.
    fn say(
        &mut self,
        tenant: &Tenant,
        group: &mut Group,
        (sequence, of): (Sequence, EntryKind),
        payload: &[u8],
    ) -> Result<(), JournalError> {
        let push = |group: &mut Group| {
            group.builder.push(tenant.id, sequence, kind(of), |_, out| out.extend_from_slice(payload)).map(drop)
        };
        match push(group) {
            Err(JournalError::TooLarge { .. }) if !group.builder.is_empty() => {
                self.turn_over(group, batch_room(entry_room(payload.len()) + self.settled_room()))?;
                push(group)
            }
            told => told,
        }
    }
}

/// How many of these changes one entry takes: at most so many bytes, however large they are. A single change is bounded by
/// the records of a cluster.
pub(super) fn entry_of(changes: &[ProfileChange<u32>], bytes_max: usize) -> usize {
    let mut left = bytes_max;
    let fits = changes.iter().take(SETTLED_CHANGES_MAX).take_while(|change| {
        let bytes = change_bytes_max(change);
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    });
    fits.count().max(1).min(changes.len())
}

/// The most bytes that a change takes in a settlement.
pub(super) fn change_bytes_max(change: &ProfileChange<u32>) -> usize {
    let records = match change {
        ProfileChange::Created { records, .. } | ProfileChange::Merged { records, .. } => records.len(),
        ProfileChange::Updated { joined, touched, .. } => joined.len() + touched.len(),
        ProfileChange::Split { into, .. } => into.iter().map(|(_, records)| 1 + records.len()).sum(),
        _ => 0,
    };
    CHANGE_BYTES_MAX + CHANGED_RECORD_BYTES_MAX * records
}

/// Keeps times and the feed's end up with changes that take sequences from `first` on. Without a change the settlement
/// itself takes one.
pub(in crate::app) fn note_changes(state: &mut State, first: Sequence, changes: &[ProfileChange<u32>]) {
    state.sequence = first;
    let mut at = first;
    for change in changes {
        let mut touch = |profile: ProfileOrdinal, opened: bool| {
            let index = profile.0 as usize;
            if state.times.len() <= index {
                state.times.resize(index + 1, ProfileTimes::default());
            }
            if opened || state.times[index].opened == Sequence(0) {
                state.times[index].opened = at;
            }
            state.times[index].changed = at;
        };
        match change {
            ProfileChange::Created { profile, .. } => touch(*profile, true),
            ProfileChange::Updated { profile, .. }
            | ProfileChange::Erased { profile, .. }
            | ProfileChange::Emptied { profile }
            | ProfileChange::ConsentChanged { profile } => touch(*profile, false),
            ProfileChange::AccountChanged { .. } => {}
            ProfileChange::Merged { from, into, .. } => {
                touch(*from, false);
                touch(*into, false);
            }
            ProfileChange::Split { from, into, .. } => {
                touch(*from, false);
                for (part, _) in into {
                    touch(*part, false);
                }
            }
        }
        state.last_change = at;
        state.sequence = at;
        at = at.next();
    }
}
