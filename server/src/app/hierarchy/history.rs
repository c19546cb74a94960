//! What was told of a source record, in order: its stages, its parents, its roles. sled says where it lies, the journal
//! what it is.

use std::ops::ControlFlow;

use onefold_core::decision::EntryKind;
use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::entry::StageSet;
use onefold_core::ids::{Digest128, Place, Sequence};
use onefold_store::keyed::KeyedStore;

use super::read::told_at;
use super::replay::{KEY_BYTES, TOLD, VALUE_BYTES};
use crate::app::Shared;
use crate::app::error::ReadError;
use crate::app::tenant::Tenant;

/// One stage that a source record reached.
#[derive(Clone, Debug)]
pub struct StageEvent {
    /// Where in the order of events.
    pub sequence: Sequence,
    /// What was told.
    pub set: StageSet,
}

/// The stages that source records reached, all of them, oldest first. Whoever asks waits for sled before. Not for
/// asynchronous threads.
///
/// # Errors
/// [`ReadError::Store`] when it cannot be read.
pub fn stages(
    shared: &Shared,
    tenant: &Tenant,
    party: PartyKind,
    records: &[Digest128],
) -> Result<Vec<StageEvent>, ReadError> {
    let mut places: Vec<(Sequence, Place)> = Vec::new();
    let store = |what: &'static str| ReadError::Store(what.into());
    for record in records {
        let mut damaged = false;
        let scanned = shared.keyed.scan(tenant.id, TOLD, &record.0, None, &mut |key, value| {
            let (Some(sequence), Some((kind, place))) = (sequence_of(key), place_of(value)) else {
                damaged = true;
                return ControlFlow::Break(());
            };
            if kind == EntryKind::StageSet as u8 {
                places.push((sequence, place));
            }
            ControlFlow::Continue(())
        });
        scanned.map_err(|error| ReadError::Store(error.into()))?;
        if damaged {
            return Err(store("a key of the history is damaged"));
        }
    }
    places.sort_unstable_by_key(|(sequence, _)| *sequence);
    let mut events = Vec::with_capacity(places.len());
    for (sequence, place) in places {
        let set = told_at::<StageSet>(shared, tenant, place, EntryKind::StageSet)?;
        events.extend(set.filter(|set| set.party == party).map(|set| StageEvent { sequence, set }));
    }
    Ok(events)
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
