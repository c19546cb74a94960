//! Deciding: what becomes of each item, against the state as it is and what the group has decided already.
//!
//! Nothing is changed while deciding: entries go into the batch, effects into a list, which is applied at once at the end.

mod decided;
mod fragment;
mod part;
mod say;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use onefold_core::consent::ledger::Ledger;
use onefold_core::decision::{self, EntryKind, QuarantineCleared};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, Place, Sequence, SlotId};
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::RecordView;
use onefold_store::journal::JournalError;
use onefold_store::keys::DataKey;
use onefold_store::vault::{Vault, VaultError};

use super::hierarchy::steps;
use super::ingest::{Answer, Item, Outcome};
use super::lane::{Group, kind};
use super::tenant::{LiveConfig, State, Tenant};
pub(super) use decided::Decided;
use decided::Effect;
pub(super) use fragment::MOVED_ROOM;
pub(super) use part::parting;

/// The last word on a record, in the order in which one beats another: observed later, a retraction before a fragment,
/// the greater digest of facts. The engine judges by the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    observed_at: ObservedAt,
    retracted: bool,
    facts: Digest128,
}

impl Version {
    const fn of_put(prepared: &Prepared) -> Self {
        Self { observed_at: prepared.observed_at, retracted: false, facts: prepared.facts }
    }

    const fn of_retraction(at: ObservedAt) -> Self {
        Self { observed_at: at, retracted: true, facts: Digest128([0; 16]) }
    }

    const fn held(view: &RecordView) -> Self {
        if view.live {
            Self { observed_at: view.observed_at, retracted: false, facts: view.facts }
        } else {
            Self::of_retraction(view.observed_at)
        }
    }
}

/// What the group knows of records that it has decided about and not yet applied.
type Overlay = HashMap<Digest128, (Version, Option<SlotId>)>;

/// An answer that still lacks the profile.
pub(super) struct Drafted {
    outcome: Outcome,
    record: Option<Digest128>,
}

/// Decides items of one tenant against the state as it is. Nothing is applied: readers see it with its settlement.
pub(super) fn decide(
    tenant: &Arc<Tenant>,
    items: Vec<Item>,
    group: &mut Group,
) -> Result<(Vec<Drafted>, Decided), JournalError> {
    let config = tenant.config();
    let mut drafts = Vec::with_capacity(items.len());
    let mut effects = Vec::with_capacity(items.len());
    let mut overlay = Overlay::new();
    let sequence = {
        let state = tenant.state();
        let mut deciding = Deciding {
            tenant,
            config: &config,
            state: &state,
            sequence: state.sequence,
            overlay: &mut overlay,
            held: HashMap::new(),
            held_points: 0,
            held_of: HashMap::new(),
            cleared: HashSet::new(),
            said: Ledger::default(),
            confirmed: HashMap::new(),
            stopped: BTreeMap::new(),
            moved: Vec::new(),
            parted: HashSet::new(),
            last_versions: HashMap::new(),
            links: HashMap::new(),
            effects: &mut effects,
            group,
        };
        for item in items {
            drafts.push(deciding.item(item)?);
        }
        deciding.note_stopped()?;
        deciding.sequence
    };
    Ok((drafts, Decided::of(effects, sequence)))
}

struct Deciding<'a> {
    tenant: &'a Arc<Tenant>,
    config: &'a LiveConfig,
    state: &'a State,
    sequence: Sequence,
    overlay: &'a mut Overlay,
    held: HashMap<(Digest128, Digest128), Sequence>,
    /// What these are found by, together.
    held_points: usize,
    /// How many of each record.
    held_of: HashMap<Digest128, usize>,
    /// What records hold by fragments of this group.
    links: HashMap<Digest128, Vec<LinkValue>>,
    cleared: HashSet<Sequence>,
    /// Statements of this group: what comes after them in it is judged as if they were recorded.
    said: Ledger,
    /// Statements that statements of this group confirm.
    confirmed: HashMap<Sequence, Sequence>,
    /// What was erased and came again, by request.
    stopped: BTreeMap<Sequence, u32>,
    /// Corrections that go with another record from now on, by that record.
    moved: Vec<(Digest128, Digest128)>,
    /// Judgements of corrections that end.
    parted: HashSet<Sequence>,
    /// Of records retracted in this group, or of which something came late in it: their last version.
    last_versions: HashMap<Digest128, (ObservedAt, Digest128)>,
    effects: &'a mut Vec<Effect>,
    group: &'a mut Group,
}

impl Deciding<'_> {
    fn item(&mut self, item: Item) -> Result<Drafted, JournalError> {
        match item {
            Item::Put(mut arriving) => {
                let says = std::mem::take(&mut arriving.says);
                match steps::faults(&arriving, &self.state.accounts) {
                    faults if faults.is_empty() => {
                        let record = arriving.prepared.record;
                        let drafted = self.put(*arriving)?;
                        self.say_all(says, record, drafted)
                    }
                    faults => {
                        let received_at = arriving.bound_to_steps.unwrap_or_default();
                        self.quarantine_saying(&arriving, says, faults, received_at)
                    }
                }
            }
            Item::Quarantine { mut arriving, faults, received_at } => {
                let says = std::mem::take(&mut arriving.says);
                self.quarantine_saying(&arriving, says, faults, received_at)
            }
            Item::Say(saying) => {
                let outcome = self.say(*saying)?;
                Ok(Drafted { outcome, record: None })
            }
            // Discarded is discarded: what another call replayed or let go meanwhile does not come back.
            Item::Replay { entry, .. } | Item::StillHeld { entry, .. }
                if !self.state.quarantine.contains_key(&entry) || self.cleared.contains(&entry) =>
            {
                let message = "is no longer in quarantine: it was replayed or discarded meanwhile";
                let faults = vec![FieldFault::new("quarantine_ids", FaultReason::Unknown, message)];
                Ok(Drafted { outcome: Outcome::Rejected { faults }, record: None })
            }
            Item::Replay { mut arriving, entry } => {
                let faults = steps::faults(&arriving, &self.state.accounts);
                if !faults.is_empty() {
                    let outcome = Outcome::Quarantined { sequence: self.sequence, entry, faults };
                    return Ok(Drafted { outcome, record: None });
                }
                let says = std::mem::take(&mut arriving.says);
                let record = arriving.prepared.record;
                let drafted = self.put(*arriving)?;
                // What waited with it counts now, as if it had come at first like this (law 2).
                let drafted = self.say_all(says, record, drafted)?;
                self.clear(entry)?;
                Ok(drafted)
            }
            Item::StillHeld { entry, faults } => {
                Ok(Drafted { outcome: Outcome::Quarantined { sequence: self.sequence, entry, faults }, record: None })
            }
            Item::Retract { record, at } => self.retract(record, at),
        }
    }

    /// The version of a record that is live, or decided on in this group, and the slot of its key.
    fn known(&self, record: Digest128) -> Option<(Version, Option<SlotId>)> {
        self.overlay.get(&record).copied().or_else(|| {
            let view = self.state.engine.record(record)?;
            Some((Version::held(&view), view.slot))
        })
    }

    fn clear(&mut self, entry: Sequence) -> Result<(), JournalError> {
        let Some(held) = self.state.quarantine.get(&entry) else { return Ok(()) };
        let sequence = self.sequence.next();
        let payload = decision::encode(&QuarantineCleared { entries: vec![entry] });
        self.group.builder.push(self.tenant.id, sequence, kind(EntryKind::QuarantineCleared), |_, out| {
            out.extend_from_slice(&payload);
        })?;
        self.sequence = sequence;
        self.group.commit.destroy.push((Arc::clone(self.tenant), held.slot));
        self.cleared.insert(entry);
        self.effects.push(Effect::LetGo(entry));
        Ok(())
    }

    /// Adds an entry whose content is sealed under the key of a slot, a new one if it has none.
    fn seal(
        &mut self,
        of: EntryKind,
        slot: Option<SlotId>,
        opens_record: bool,
        content: &[u8],
    ) -> Result<(Sequence, Place, SlotId), JournalError> {
        let sequence = self.sequence.next();
        let (place, slot) = self.group.seal(self.tenant, (sequence, of), slot, opens_record, content)?;
        self.sequence = sequence;
        Ok((sequence, place, slot))
    }
}

/// The key of a subject's content: the one in its slot, or a fresh one.
pub(super) fn key_for(vault: &Vault, slot: Option<SlotId>) -> Result<(SlotId, DataKey), JournalError> {
    let found = match slot.map(|slot| (slot, vault.key(slot))) {
        Some((slot, Ok(key))) => Ok((slot, key)),
        None => vault.take(),
        // What was sealed under it is gone; what comes now starts anew.
        Some((_, Err(VaultError::Destroyed(_) | VaultError::HalfDestroyed(_)))) => vault.take(),
        Some((slot, Err(VaultError::Damaged(_)))) => {
            tracing::error!(slot = slot.0, "a slot of the vault is damaged; what comes now is sealed under another");
            vault.take()
        }
        Some((_, Err(error))) => Err(error),
    };
    found.map_err(|error| {
        tracing::error!(error = %error, "the vault failed");
        JournalError::Poisoned
    })
}

impl Drafted {
    /// What became of it, but for the profile.
    pub(super) const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    pub(super) fn finish(self, state: &State) -> Answer {
        let found = self.record.and_then(|record| state.engine.profile_of(record));
        let outcome = match self.outcome {
            Outcome::Accepted { sequence, notes, .. } => Outcome::Accepted { sequence, profile: found, notes },
            Outcome::Duplicate { sequence, .. } => Outcome::Duplicate { sequence, profile: found },
            Outcome::Superseded { sequence, .. } => Outcome::Superseded { sequence, profile: found },
            other => other,
        };
        Answer { outcome }
    }
}

#[cfg(test)]
mod tests;
