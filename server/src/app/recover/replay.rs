//! The journal read again, entry by entry, into what each tenant was.

use std::collections::HashMap;
use std::sync::Arc;

use onefold_core::change::ProfileChange;
use onefold_core::config::TenantConfig;
use onefold_core::consent::Statement;
use onefold_core::decision::{
    self, ConfigChanged, ContactReserved, EntryKind, JudgementsEnded, ModelChanged, NamesLearned, QuarantineCleared,
    Quarantined, RecordRetracted, ReservationSettled, Sealed, Settled, TenantOpened,
};
use onefold_core::fragment::{Fragment, ObservedAt};
use onefold_core::ids::{Digest128, Place, Sequence, SlotId, TenantId};
use onefold_core::judgement::Judged;
use onefold_store::datadir::DataDir;
use onefold_store::erasures::ErasureRow;
use onefold_store::journal::{BatchView, EntryView, JournalReader, VisitError};
use onefold_store::keys::TenantKeys;
use onefold_store::vault::{Vault, VaultError};

use super::erased::ErasedSlots;
use crate::app::consent::Said;
use crate::app::lane::note_changes;
use crate::app::models::Models;
use crate::app::quarantine::points::Points;
use crate::app::tenant::{Held, LiveConfig, State};
use crate::app::{hierarchy, privacy, quarantine};

/// A tenant while the journal is replayed.
pub(in crate::app) struct Replaying {
    pub keys: TenantKeys,
    pub wrapped_keys: Vec<u8>,
    pub vault: Vault,
    pub config: LiveConfig,
    pub state: State,
    pub next_slot: u32,
    /// Keys that were to be destroyed.
    pub doomed: Vec<SlotId>,
    /// Erasures that were read.
    pub erasures: Vec<ErasureRow>,
    /// Linking may differ from what was prepared so far.
    pub relinks: bool,
    /// Where the last change of configuration lies since which live fragments of before link otherwise than they were prepared.
    pub(super) relinked_at: Option<Place>,
    /// Facts came behind the last whole settlement.
    pub unsettled: bool,
    /// The settlement that is being read tells of what was said.
    tells: bool,
}

pub(in crate::app) type Tenants = HashMap<TenantId, Replaying>;

/// Takes in what a batch says.
pub(super) fn replay_batch(
    batch: &BatchView<'_>,
    tenants: &mut Tenants,
    dir: &DataDir,
    (erased, journal): (&ErasedSlots, &JournalReader),
) -> Result<(), VisitError> {
    for entry in batch.entries() {
        let kind = EntryKind::from_u8(entry.kind.0)
            .ok_or_else(|| format!("an entry of kind {} is of a newer release", entry.kind.0))?;
        if kind == EntryKind::TenantOpened {
            let Some(payload) = entry.bytes() else { continue };
            let opened = TenantOpened::decode(payload)?;
            tenants.insert(entry.tenant, Replaying::opened(entry.tenant, opened, dir)?);
            continue;
        }
        let tenant = tenants
            .get_mut(&entry.tenant)
            .ok_or_else(|| format!("an entry names tenant {}, which was never opened", entry.tenant.0))?;
        tenant.replay(kind, &entry, batch, (erased, journal))?;
    }
    Ok(())
}

impl Replaying {
    fn opened(id: TenantId, opened: TenantOpened, dir: &DataDir) -> Result<Self, VisitError> {
        let TenantOpened { config, wrapped_keys } = opened;
        let models = Models::default();
        let mut state = State::new(&config, &models);
        state.sequence = Sequence(1);
        Self::with(id, (config, models), wrapped_keys, state, dir)
    }

    /// A tenant whose state is given.
    pub(in crate::app) fn with(
        id: TenantId,
        (config, models): (TenantConfig, Models),
        wrapped_keys: Vec<u8>,
        state: State,
        dir: &DataDir,
    ) -> Result<Self, VisitError> {
        let keys = dir.tenant_keys(&wrapped_keys, id)?;
        let vault = dir.open_vault(id, &keys)?;
        let config = LiveConfig::compile(config, 1, keys.index, models)
            .map_err(|faults| format!("a configuration does not compile: {} fault(s)", faults.len()))?;
        Ok(Self {
            keys,
            wrapped_keys,
            vault,
            config,
            state,
            next_slot: 0,
            doomed: Vec::new(),
            erasures: Vec::new(),
            relinks: false,
            relinked_at: None,
            unsettled: false,
            tells: false,
        })
    }

    fn reconfigure(&mut self, config: TenantConfig, models: Models) -> Result<(), VisitError> {
        let version = self.config.version + 1;
        self.config = LiveConfig::compile(config, version, self.keys.index, models)
            .map_err(|faults| format!("a configuration does not compile: {} fault(s)", faults.len()))?;
        Ok(())
    }

    /// The content of a sealed entry; `None` when its key was destroyed or its content dropped.
    fn opened_content(&mut self, entry: &EntryView<'_>) -> Result<Option<(SlotId, Vec<u8>)>, VisitError> {
        let Some(payload) = entry.bytes() else { return Ok(None) };
        let sealed = Sealed::parse(payload)?;
        self.next_slot = self.next_slot.max(sealed.slot.0.saturating_add(1));
        match self.vault.key(sealed.slot) {
            Ok(key) => {
                let plain = entry.seal_context().open(&key, 0, &sealed.header, sealed.ciphertext)?;
                Ok(Some((sealed.slot, plain)))
            }
            Err(VaultError::Destroyed(_)) => Ok(None),
            Err(VaultError::HalfDestroyed(slot)) => {
                self.doomed.push(slot);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether what a record said under another key than this cannot be read any more.
    fn is_gone(&self, record: Digest128, slot: SlotId) -> bool {
        let old = self.state.engine.record(record).and_then(|view| view.slot).filter(|old| *old != slot);
        let gone = |old| matches!(self.vault.key(old), Err(VaultError::Destroyed(_) | VaultError::HalfDestroyed(_)));
        old.is_some_and(gone)
    }

    /// The same of a fragment, and whether it made its record somebody else's.
    fn opened_fragment(&mut self, entry: &EntryView<'_>) -> Result<Option<(SlotId, Vec<u8>, bool)>, VisitError> {
        let passes_on = entry.bytes().map(Sealed::parse).transpose()?.is_some_and(|sealed| sealed.passes_on);
        Ok(self.opened_content(entry)?.map(|(slot, plain)| (slot, plain, passes_on)))
    }

    fn replay(
        &mut self,
        kind: EntryKind,
        entry: &EntryView<'_>,
        batch: &BatchView<'_>,
        (erased, journal): (&ErasedSlots, &JournalReader),
    ) -> Result<(), VisitError> {
        if entry.sequence > Sequence::MAX {
            return Err(format!("an entry has the sequence {}, which no tenant reaches", entry.sequence.0).into());
        }
        self.state.sequence = self.state.sequence.max(entry.sequence);
        match kind {
            EntryKind::TenantOpened | EntryKind::KeysRotated | EntryKind::DecidedBy => {}
            EntryKind::FragmentPut => match self.opened_fragment(entry)? {
                Some((slot, plain, passes_on)) => {
                    let fragment = Fragment::decode(&plain)?;
                    let (prepared, _) = self.config.preparer().prepare(&fragment);
                    self.prepare_again(prepared.record, journal)?;
                    if passes_on {
                        self.state.pass_on(prepared.record);
                    }
                    self.state.stops_go_along(&prepared);
                    let bytes = entry.bytes().map_or(0, |bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                    let engine = &self.state.engine;
                    self.state.superseded.by(engine.record(prepared.record).as_ref(), bytes);
                    let is_gone = self.is_gone(prepared.record, slot);
                    self.state.note_former(&prepared, slot, entry.sequence, is_gone);
                    self.state.engine.put(&prepared, entry.place, slot);
                    self.state.stops_come_back(&prepared);
                    let digester = hierarchy::digest::Digester::new(&self.config, &self.keys.index);
                    let says = digester.says(&fragment, (entry.place, slot));
                    self.state.accounts.fragment_says(prepared.record, says, entry.sequence);
                    self.unsettled = true;
                }
                // The content is gone. Its record keeps its ordinal, which settlements name records by; whose key it was
                // the erasure ledger knows.
                None => {
                    let sealed = entry.bytes().map(Sealed::parse).transpose()?;
                    if let Some((sealed, record)) =
                        sealed.and_then(|sealed| Some((sealed, erased.get(&(entry.tenant, sealed.slot))?)))
                    {
                        if !self.is_gone(*record, sealed.slot) {
                            self.state.note_vacant(*record, sealed.slot, entry.sequence);
                        }
                        if sealed.passes_on {
                            self.state.pass_on(*record);
                        }
                        self.state.engine.put_vacant(*record, entry.place, sealed.slot);
                    } else if sealed.is_some_and(|sealed| sealed.opens_record) {
                        let place = [entry.place.segment.to_le_bytes(), entry.place.offset.to_le_bytes()].concat();
                        let nobody = Digest128::of(&blake3::keyed_hash(&self.keys.index, &place));
                        self.state.engine.retract(nobody, ObservedAt(i64::MIN), entry.place);
                    }
                }
            },
            EntryKind::FormerKept => {
                if let Some((_, plain)) = self.opened_content(entry)? {
                    self.state.privacy.former.learn(decision::decode(&plain)?);
                }
            }
            EntryKind::LateVersion => {
                if let Some((slot, plain)) = self.opened_content(entry)? {
                    self.state.came_late(&decision::decode(&plain)?, slot);
                }
            }
            EntryKind::RecordRetracted => {
                if let Some(payload) = entry.bytes() {
                    let retracted: RecordRetracted = decision::decode(payload)?;
                    self.prepare_again(retracted.record, journal)?;
                    self.state.retract(retracted.record, retracted.observed_at, (entry.place, entry.sequence));
                    self.unsettled = true;
                }
            }
            EntryKind::Settled => {
                if let Some(payload) = entry.bytes() {
                    let settled = Settled::decode(payload)?;
                    for change in &settled.changes {
                        let engine = &self.state.engine;
                        let change = change.rename(|ordinal| {
                            engine
                                .digest_of(*ordinal)
                                .ok_or_else(|| format!("a change names record {ordinal}, which never came"))
                        })?;
                        self.state.engine.redo(&change)?;
                    }
                    note_changes(&mut self.state, entry.sequence, &settled.changes);
                    self.state.index_feed(entry.sequence, batch.start);
                    self.unsettled = settled.more;
                    let tells = |change: &ProfileChange<u32>| matches!(change, ProfileChange::ConsentChanged { .. });
                    self.tells |= settled.changes.iter().any(tells);
                    if !settled.more {
                        self.state.engine.redone();
                        self.state.take_gone_along();
                        if std::mem::take(&mut self.tells) {
                            self.state.consent.ledger.passed(settled.committed_at);
                        }
                        // What was said before it is told with it.
                        self.state.consent.ledger.take_untold();
                        self.state.accounts.take_untold();
                    }
                }
            }
            EntryKind::ConfigChanged => {
                if let Some(payload) = entry.bytes() {
                    let changed = ConfigChanged::decode(payload)?;
                    let before = Arc::clone(&self.config.config);
                    self.reconfigure(changed.config, self.config.models.clone())?;
                    let region = self.config.config.default_region.as_deref();
                    self.state.privacy.region_changes(before.default_region.as_deref(), region);
                    self.relinks |= changed.relinks;
                    if changed.relinks {
                        self.relinked_at = Some(entry.place);
                    }
                    self.unsettled |= changed.relinks;
                }
            }
            EntryKind::NamesLearned => {
                if let Some(payload) = entry.bytes() {
                    let learned: NamesLearned = decision::decode(payload)?;
                    let mut config = TenantConfig::clone(&self.config.config);
                    config.attribute_names.extend(learned.names);
                    self.reconfigure(config, self.config.models.clone())?;
                }
            }
            EntryKind::ModelChanged => {
                if let Some(payload) = entry.bytes() {
                    let changed: ModelChanged = decision::decode(payload)?;
                    let models = self.config.models.change(&changed, entry.sequence)?;
                    let engine = &mut self.state.engine;
                    self.unsettled |= engine.all_records().any(|record| record.live);
                    // What the models compare and the rows do not hold is read from the fragments at the end.
                    self.relinks |= !engine.set_models(models.weighers());
                    self.reconfigure(TenantConfig::clone(&self.config.config), models)?;
                }
            }
            EntryKind::JudgementStated => {
                if let Some((slot, plain)) = self.opened_content(entry)? {
                    let judged: Judged = decision::decode(&plain)?;
                    self.doomed.extend(self.state.judge(&judged, entry.sequence, entry.place, slot));
                    self.unsettled = true;
                }
            }
            EntryKind::JudgementsEnded => {
                if let Some(payload) = entry.bytes() {
                    let ended: JudgementsEnded = decision::decode(payload)?;
                    for entry in ended.entries {
                        self.doomed.extend(self.state.unjudge(entry));
                    }
                    self.unsettled = true;
                }
            }
            EntryKind::Quarantined | EntryKind::QuarantinedSaying => {
                if let Some((slot, plain)) = self.opened_content(entry)? {
                    let kept = Quarantined::decode(kind, &plain)?;
                    let fragment = Fragment::decode(&kept.fragment)?;
                    let (prepared, _) = self.config.preparer().prepare(&fragment);
                    let source = fragment.record.source;
                    let names = self.config.config.as_ref();
                    let content = quarantine::content(&fragment, kept.undated, &prepared, names);
                    let said = kept.says.iter().map(|said| said.content(&self.keys.index));
                    let content = quarantine::with_said(content, said);
                    let version = (prepared.observed_at, prepared.facts);
                    let held = Held { place: entry.place, slot, source, fragment: content, version };
                    let points = Points::of(&fragment, &prepared, &self.config, usize::MAX).0;
                    let points = points.with(quarantine::points_of_said(&kept, &self.config));
                    self.state.hold(entry.sequence, held, points);
                }
            }
            EntryKind::StatementRecorded | EntryKind::StatementUndated => {
                if let Some((slot, plain)) = self.opened_content(entry)? {
                    let mut statement: Statement = decision::decode(&plain)?;
                    statement.undated = kind == EntryKind::StatementUndated;
                    let said = Said::of(statement, entry.sequence, entry.place, slot, &self.keys);
                    self.state.hear(&said);
                    self.unsettled = true;
                }
            }
            EntryKind::ContactReserved => {
                if let Some(payload) = entry.bytes() {
                    let reserved: ContactReserved = decision::decode(payload)?;
                    // Decided as long before it expires as the configuration of then said.
                    let waits = i64::from(self.config.config.consent.reservation_seconds) * 1_000_000;
                    let decided_at = ObservedAt(reserved.reservation.expires_at.0.saturating_sub(waits));
                    self.state.consent.reservations.reserve(entry.sequence, reserved.reservation, decided_at);
                }
            }
            EntryKind::ReservationSettled => {
                if let Some(payload) = entry.bytes() {
                    let settled: ReservationSettled = decision::decode(payload)?;
                    self.state.consent.reservations.settle(settled.reservation, settled.standing);
                }
            }
            EntryKind::RequestAnswered => {
                if let Some(payload) = entry.bytes() {
                    self.state.requests.remember(decision::decode(payload)?);
                }
            }
            EntryKind::AccountPut
            | EntryKind::AccountParentSet
            | EntryKind::AccountClosed
            | EntryKind::AccountVacated
            | EntryKind::AffiliationStated
            | EntryKind::AffiliationEnded
            | EntryKind::StageSet
            | EntryKind::LifecycleDefined => hierarchy::replay(self, kind, entry)?,
            EntryKind::PrivacyRequestPut
            | EntryKind::Erased
            | EntryKind::Readmitted
            | EntryKind::ResendsStopped
            | EntryKind::PrivacyPolicySet
            | EntryKind::AccessExported
            | EntryKind::ReadLogMarked
            | EntryKind::ReadLogPolicySet
            | EntryKind::RightCarriedOut
            | EntryKind::RequestForwarded
            | EntryKind::CallbackEnded
            | EntryKind::StopsStandOn
            | EntryKind::ReceiptKept => privacy::replay::replay(self, kind, entry)?,
            EntryKind::ApiKeyPut => {
                if let Some(payload) = entry.bytes() {
                    let _ = self.state.api_keys.put(decision::decode(payload)?);
                }
            }
            EntryKind::ApiKeyRevoked => {
                if let Some(payload) = entry.bytes() {
                    self.state.api_keys.revoke(decision::decode(payload)?);
                }
            }
            EntryKind::QuarantineCleared => {
                if let Some(payload) = entry.bytes() {
                    let cleared: QuarantineCleared = decision::decode(payload)?;
                    for entry in cleared.entries {
                        if let Some(held) = self.state.let_go(entry) {
                            self.doomed.push(held.slot);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
