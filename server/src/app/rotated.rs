//! What `onefold keys rotate` did while the server was down, told to the logs of tenants.

use onefold_core::decision::{self, EntryKind};
use onefold_store::journal::entry_room;

use super::lane::{Lane, kind};
use super::recover::StartError;

/// Tells every tenant's log of the rotations that it does not know of, before anything is served.
///
/// # Errors
/// [`StartError`] when the store fails. Where the disk has no room, or the notes cannot be read, the next start tells it.
pub(super) fn tell(lane: &mut Lane) -> Result<(), StartError> {
    if lane.shared.dir.ring().is_turning() {
        tracing::warn!("a rotation of keys was cut off: stop the server and give the same `onefold keys rotate` again");
    }
    let rotations = match lane.shared.dir.rotations_to_tell() {
        Ok(rotations) => rotations,
        // What is served does not rest on them.
        Err(error) => {
            tracing::error!(error = %error, "the notes of rotations cannot be read: the log is not told of them yet");
            return Ok(());
        }
    };
    for bad in &rotations.bad {
        let (line, why) = (bad.line, bad.why);
        tracing::error!(
            line,
            why,
            "a line of keys/rotations is damaged: the log lacks a rotation of keys; note for the auditor what is known of it, and remove the line"
        );
    }
    if rotations.ended.is_empty() {
        return Ok(());
    }
    for rotated in rotations.ended {
        let payload = decision::encode(&rotated);
        for tenant in lane.shared.tenants() {
            let Some(mut group) = lane.begin(entry_room(payload.len()))? else {
                tracing::warn!("the disk has no room to tell the log that keys were rotated: the next start does");
                return Ok(());
            };
            let sequence = tenant.state().sequence.next();
            group
                .builder
                .push(tenant.id, sequence, kind(EntryKind::KeysRotated), |_, out| out.extend_from_slice(&payload))?;
            tenant.state_mut().sequence = sequence;
            group.commit.published.push((tenant, sequence));
            lane.commit(group)?;
        }
        tracing::info!(generation = rotated.generation, root_key = rotated.root_key, "keys were rotated");
    }
    lane.drain()?;
    Ok(lane.shared.dir.rotations_told()?)
}
