//! Gives the disk back what nobody reads any more: closed segments with enough superseded content are written anew
//! without it. Places, digests and the chain stay.
//!
//! What may go is what a replay can do without:
//! - a fragment that a newer one of its record superseded, unless it opened the record (records are counted by openings) or
//!   the record was ever away: settlements name a record while it is live, so a replay has to see when it came back; or unless
//!   it made the record somebody else's, which a replay has to count;
//! - the answer to a named call that fell out of the window of those remembered.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use onefold_core::decision::{self, EntryKind, RequestAnswered, Sealed};
use onefold_core::ids::{Digest128, Place, TenantId};
use onefold_matching::resolve::RecordView;
use onefold_store::journal::{EntryView, JournalError};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::lane::Command;
use super::tenant::{State, Tenant};

/// A segment is written anew when at least this part of it is superseded: one of so many.
const WORTH_REWRITING: u64 = 4;

/// What could be dropped, by segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// Bytes of superseded content, by segment. As large as what came in its place: what was there is not read for this.
    bytes: BTreeMap<u32, u64>,
    /// Records that were retracted or erased at some time.
    away: HashSet<Digest128>,
}

impl Superseded {
    /// A fragment of so many bytes comes in the place of what is known.
    pub fn by(&mut self, known: Option<&RecordView>, bytes: u32) {
        if let Some(known) = known.filter(|known| known.live && !self.away.contains(&known.digest)) {
            *self.bytes.entry(known.place.segment).or_default() += u64::from(bytes);
        }
    }

    /// A record is retracted or erased.
    pub fn leaves(&mut self, record: Digest128) {
        self.away.insert(record);
    }

    fn take(&mut self, segment: u32, bytes: u64) {
        if let Some(left) = self.bytes.get_mut(&segment) {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.bytes.remove(&segment);
            }
        }
    }
}

/// What of one tenant's entries is still needed.
struct Needed {
    /// By key slot: where the live fragment of a record lies that was never away.
    live: Vec<Place>,
    requests: HashSet<[u8; 16]>,
    /// What the state said could be dropped.
    superseded: BTreeMap<u32, u64>,
}

const NOWHERE: Place = Place { segment: 0, offset: 0 };

impl Needed {
    fn of(state: &State) -> Self {
        let mut live = Vec::new();
        for record in state.engine.all_records().filter(|record| record.live) {
            if let Some(slot) = record.slot.filter(|_| !state.superseded.away.contains(&record.digest)) {
                let at = slot.0 as usize;
                if live.len() <= at {
                    live.resize(at + 1, NOWHERE);
                }
                live[at] = record.place;
                // What a record said under keys of before is superseded by what it says today.
                for former in state.privacy.former.keys_of(record.digest) {
                    let at = former.slot.0 as usize;
                    if live.len() <= at {
                        live.resize(at + 1, NOWHERE);
                    }
                    live[at] = record.place;
                }
            }
        }
        let requests = state.requests.iter().map(|answered| answered.request_id).collect();
        Self { live, requests, superseded: state.superseded.bytes.clone() }
    }

    /// Whether a replay, or anybody else, needs this entry's content. When in doubt, yes.
    fn needs(&self, entry: &EntryView<'_>) -> bool {
        let Some(payload) = entry.bytes() else { return true };
        match EntryKind::from_u8(entry.kind.0) {
            Some(EntryKind::FragmentPut) => Sealed::parse(payload).is_ok_and(|sealed| {
                let live = self.live.get(sealed.slot.0 as usize).copied().unwrap_or(NOWHERE);
                sealed.opens_record || sealed.passes_on || live <= entry.place
            }),
            Some(EntryKind::RequestAnswered) => decision::decode::<RequestAnswered>(payload)
                .map_or(true, |answered| self.requests.contains(&answered.request_id)),
            _ => true,
        }
    }
}

/// Asks for a round; one that is under way will do.
pub(super) fn ask(to: &SyncSender<()>) {
    let _ = to.try_send(());
}

/// Works until the last sender is gone.
pub(super) fn run(shared: &Arc<Shared>, rounds: &Receiver<()>, lane: &mpsc::Sender<Command>) {
    while rounds.recv().is_ok() {
        match round(shared, lane) {
            Ok(()) => {}
            // The old files stand: only their size is what it was.
            Err(error) => tracing::warn!(error = %error, "superseded content stays on disk for now"),
        }
    }
}

/// False when it could not be written down: the next round will do.
fn keep_former(tenant: &Arc<Tenant>, lane: &mpsc::Sender<Command>) -> bool {
    let is_done = {
        let former = &tenant.state().privacy.former;
        !former.has_unkept() && !former.is_crowded()
    };
    if is_done {
        return true;
    }
    let (reply, told) = oneshot::channel();
    let asked = lane.blocking_send(Command::KeepFormer { tenant: Arc::clone(tenant), reply });
    asked.is_ok() && matches!(told.blocking_recv(), Ok(Ok(())))
}

fn round(shared: &Shared, lane: &mpsc::Sender<Command>) -> Result<(), JournalError> {
    let tenants = shared.tenants();
    // Keys of records that changed often go, whatever else there is to do.
    for tenant in tenants.iter().filter(|tenant| tenant.state().privacy.former.is_crowded()) {
        keep_former(tenant, lane);
    }
    let mut waiting: BTreeMap<u32, u64> = BTreeMap::new();
    for tenant in &tenants {
        for (segment, bytes) in &tenant.state().superseded.bytes {
            *waiting.entry(*segment).or_default() += bytes;
        }
    }
    let open = shared.journal.durable().segment;
    waiting.retain(|segment, bytes| {
        let length = shared.journal.segment_bytes(*segment).unwrap_or(u64::MAX);
        *segment < open && *bytes >= length / WORTH_REWRITING
    });
    if waiting.is_empty() {
        return Ok(());
    }
    let _span = shared.meters.work("journal.tidy", None);
    // What supersedes must be durable before what it supersedes is dropped.
    let mut needed: Vec<(TenantId, Needed)> = Vec::with_capacity(tenants.len());
    for tenant in &tenants {
        // Not durable in time: the next round will do.
        let Ok(of) = tenant.seen(Needed::of) else { return Ok(()) };
        needed.push((tenant.id, of));
    }
    // What only fragments say that are dropped now is written down before.
    if !tenants.iter().all(|tenant| keep_former(tenant, lane)) {
        return Ok(());
    }
    for segment in waiting.into_keys() {
        // A copy that is being taken reads these very files.
        let Ok(_alone) = shared.copying.try_write() else { return Ok(()) };
        let done = shared.journal.rewrite(segment, |entry| {
            let of = needed.iter().find(|(id, _)| *id == entry.tenant);
            of.is_none_or(|(_, needed)| needed.needs(entry))
        })?;
        tracing::info!(
            segment,
            bytes_before = done.bytes_before,
            bytes_after = done.bytes_after,
            dropped = done.dropped,
            "a segment was written anew"
        );
        for (tenant, (_, needed)) in tenants.iter().zip(&needed) {
            if let Some(bytes) = needed.superseded.get(&segment) {
                tenant.state_mut().superseded.take(segment, *bytes);
            }
        }
    }
    Ok(())
}
