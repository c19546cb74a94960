//! From the journal back into memory, and into what sled keeps of it.

use onefold_core::decision::{self, EntryKind};
use onefold_core::hierarchy::entry::{AccountPut, AccountVacated, AffiliationStated, Subject};
use onefold_core::ids::{Digest128, Place, Sequence, TenantId};
use onefold_core::lifecycle::LifecycleDefined;
use onefold_store::journal::{EntryView, VisitError};
use onefold_store::keyed::Table;
use onefold_store::vault::VaultError;

use super::digest::Digester;
use super::state::Effect;
use crate::app::keeper::KeyedWrite;
use crate::app::recover::Replaying;

/// What was told of a subject: keyed digest of its record and sequence, to the kind and the place of the entry.
pub const TOLD: Table = Table(20);
/// Bytes of a key of [`TOLD`].
pub const KEY_BYTES: usize = 24;
/// Bytes of a value of [`TOLD`].
pub const VALUE_BYTES: usize = 9;

/// What sled keeps of an entry about a subject. Nothing of its content: that stays sealed where it is.
pub fn history_of(
    tenant: TenantId,
    kind: EntryKind,
    record: Digest128,
    sequence: Sequence,
    place: Place,
) -> KeyedWrite {
    let mut key = Vec::with_capacity(KEY_BYTES);
    key.extend_from_slice(&record.0);
    key.extend_from_slice(&sequence.0.to_be_bytes());
    let mut value = Vec::with_capacity(VALUE_BYTES);
    value.push(kind as u8);
    value.extend_from_slice(&place.segment.to_le_bytes());
    value.extend_from_slice(&place.offset.to_le_bytes());
    KeyedWrite::new(tenant, TOLD, key, value)
}

/// The same, read from the journal; `None` for entries of other kinds, and where the content was dropped.
pub fn history_in(entry: &EntryView<'_>) -> Result<Option<KeyedWrite>, VisitError> {
    let kind = EntryKind::from_u8(entry.kind.0).filter(|kind| {
        matches!(
            kind,
            EntryKind::AccountPut
                | EntryKind::AccountParentSet
                | EntryKind::AccountClosed
                | EntryKind::AffiliationStated
                | EntryKind::AffiliationEnded
                | EntryKind::StageSet
        )
    });
    let (Some(kind), Some(payload)) = (kind, entry.bytes()) else { return Ok(None) };
    let (subject, _) = Subject::parse(payload)?;
    Ok(Some(history_of(entry.tenant, kind, subject.record, entry.sequence, entry.place)))
}

/// The effect of an entry's opened content.
fn effect(
    kind: EntryKind,
    record: Digest128,
    content: &[u8],
    digester: &Digester<'_>,
) -> Result<Option<Effect>, decision::DecisionError> {
    Ok(Some(match kind {
        EntryKind::AccountPut => Effect::put(&decision::decode::<AccountPut>(content)?, record, digester),
        EntryKind::AccountParentSet => Effect::Parent(decision::decode(content)?),
        EntryKind::AccountClosed => Effect::Closed(decision::decode(content)?),
        EntryKind::AffiliationStated => {
            let stated: AffiliationStated = decision::decode(content)?;
            Effect::Affiliated(digester.role(&stated.role), stated)
        }
        EntryKind::AffiliationEnded => Effect::Ended(decision::decode(content)?),
        EntryKind::StageSet => Effect::Stage(decision::decode(content)?),
        _ => return Ok(None),
    }))
}

/// Applies an entry about accounts.
pub fn replay(tenant: &mut Replaying, kind: EntryKind, entry: &EntryView<'_>) -> Result<(), VisitError> {
    let Some(payload) = entry.bytes() else { return Ok(()) };
    if kind == EntryKind::LifecycleDefined {
        tenant.state.accounts.define(LifecycleDefined::read(payload)?);
        return Ok(());
    }
    if kind == EntryKind::AccountVacated {
        tenant.state.accounts.vacate(&decision::decode::<AccountVacated>(payload)?);
        return Ok(());
    }
    let (subject, ciphertext) = Subject::parse(payload)?;
    tenant.next_slot = tenant.next_slot.max(subject.slot.0 + 1);
    let key = match tenant.vault.key(subject.slot) {
        Ok(key) => key,
        Err(gone @ (VaultError::Destroyed(_) | VaultError::HalfDestroyed(_))) => {
            if let VaultError::HalfDestroyed(slot) = gone {
                tenant.doomed.push(slot);
            }
            if subject.opens {
                tenant.state.accounts.keep_vacant(subject.record);
            }
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let content = entry.seal_context().open(&key, 0, &subject.header(), ciphertext)?;
    let digester = Digester::new(&tenant.config, &tenant.keys.index);
    if let Some(effect) = effect(kind, subject.record, &content, &digester)? {
        tenant.state.accounts.apply(subject.record, effect, (entry.place, subject.slot, entry.sequence));
    }
    Ok(())
}
