//! The stages that source records reached: what calls told, where sled says that it lies and the journal what it is, and
//! what live fragments tell, with what became of it.

use std::ops::ControlFlow;

use onefold_core::decision::EntryKind;
use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::Moment;
use onefold_core::hierarchy::entry::StageSet;
use onefold_core::ids::{Digest128, Place, Sequence, SourceId};
use onefold_core::lifecycle::{StageId, StageRefused};
use onefold_store::keyed::KeyedStore;

use super::read::told_at;
use super::replay::{KEY_BYTES, TOLD, VALUE_BYTES};
use crate::app::Shared;
use crate::app::error::ReadError;
use crate::app::tenant::Tenant;

/// One stage that a source record reached, or is told to have reached.
#[derive(Clone, Debug)]
pub struct StageEvent {
    /// Where in the order of events.
    pub sequence: Sequence,
    /// Who keeps the record.
    pub source: SourceId,
    /// Name of the stage.
    pub stage: String,
    /// When it was reached.
    pub at: Moment,
    /// Why, in words.
    pub note: String,
    /// Whether the live fragment of the record tells of it, and no call.
    pub by_fragment: bool,
    /// Why it was not entered.
    pub refused: Option<StageRefused>,
}

/// The stages that source records reached, all of them, by time, oldest first. Whoever asks waits for sled before. Not for
/// asynchronous threads.
///
/// # Errors
/// [`ReadError::Store`] when it cannot be read, [`ReadError::Keyed`] and [`ReadError::Damaged`] when it is damaged.
pub fn stages(
    shared: &Shared,
    tenant: &Tenant,
    party: PartyKind,
    records: &[Digest128],
) -> Result<Vec<StageEvent>, ReadError> {
    let mut events = Vec::new();
    for record in records {
        let called = called(shared, tenant, party, *record)?;
        let calls: Vec<(Moment, StageId)> = called.iter().map(|(_, set)| (set.at, set.stage)).collect();
        tenant.seen(|state| {
            let accounts = &state.accounts;
            let lifecycle = &accounts.lifecycle;
            events.extend(called.into_iter().map(|(sequence, set)| StageEvent {
                sequence,
                source: set.source,
                stage: lifecycle.name(set.stage).to_owned(),
                at: set.at,
                note: set.note,
                by_fragment: false,
                refused: None,
            }));
            let Some(stages) = accounts.told_stages.get(record).filter(|told| told.party == party) else { return };
            let walk = lifecycle.walk(party, &calls, &stages.told);
            events.extend(stages.told.iter().zip(walk.refused).map(|(told, why)| StageEvent {
                sequence: stages.sequence,
                source: stages.source,
                stage: lifecycle.spoken(&told.stage).to_owned(),
                at: told.at,
                note: String::new(),
                by_fragment: true,
                refused: why.map(|why| lifecycle.refusal(party, why)),
            }));
        })?;
    }
    events.sort_by_key(|event| (event.at, event.sequence));
    Ok(events)
}

/// What calls told of one record, in the order of events. Whoever asks waits for sled before.
///
/// # Errors
/// As [`stages`].
pub(super) fn called(
    shared: &Shared,
    tenant: &Tenant,
    party: PartyKind,
    record: Digest128,
) -> Result<Vec<(Sequence, StageSet)>, ReadError> {
    let mut places: Vec<(Sequence, Place)> = Vec::new();
    let mut damaged = false;
    let mut visit = |key: &[u8], value: &[u8]| {
        let (Some(sequence), Some((kind, place))) = (sequence_of(key), place_of(value)) else {
            damaged = true;
            return ControlFlow::Break(());
        };
        if kind == EntryKind::StageSet as u8 {
            places.push((sequence, place));
        }
        ControlFlow::Continue(())
    };
    let scanned = shared.keyed.with(|keyed| keyed.scan(tenant.id, TOLD, &record.0, None, &mut visit));
    let scanned = scanned.map_err(ReadError::of_keyed);
    let whole = if damaged { Err(ReadError::Keyed("a place of what was told cannot be read")) } else { Ok(()) };
    shared.noting_damage(scanned.and(whole))?;
    places.sort_unstable_by_key(|(sequence, _)| *sequence);
    let mut sets = Vec::with_capacity(places.len());
    for (sequence, place) in places {
        let set = told_at::<StageSet>(shared, tenant, place, EntryKind::StageSet)?;
        sets.extend(set.filter(|set| set.party == party).map(|set| (sequence, set)));
    }
    Ok(sets)
}

fn sequence_of(key: &[u8]) -> Option<Sequence> {
    let bytes: &[u8; KEY_BYTES] = key.try_into().ok()?;
    let (_, sequence) = bytes.split_last_chunk::<8>()?;
    Some(Sequence(u64::from_be_bytes(*sequence)))
}

fn place_of(value: &[u8]) -> Option<(u8, Place)> {
    let [kind, a, b, c, d, e, f, g, h]: [u8; VALUE_BYTES] = value.try_into().ok()?;
    let place = Place { segment: u32::from_le_bytes([a, b, c, d]), offset: u32::from_le_bytes([e, f, g, h]) };
    Some((kind, place))
}
