//! From the journal back into memory.

use std::sync::Arc;

use onefold_core::consent::stops::StandsOn;
use onefold_core::decision::{self, EntryKind};
use onefold_core::erasure::{
    Carried, Erased, Exported, Forwarded, PrivacyPolicy, PrivacyRequest, Readmitted, ReceiptKept, ResendsStopped,
};
use onefold_store::erasures::ErasureRow;
use onefold_store::journal::{EntryView, VisitError};

use crate::app::recover::Replaying;

/// Applies an entry about the rights of persons.
pub fn replay(tenant: &mut Replaying, kind: EntryKind, entry: &EntryView<'_>) -> Result<(), VisitError> {
    let Some(payload) = entry.bytes() else { return Ok(()) };
    let privacy = &mut tenant.state.privacy;
    match kind {
        EntryKind::PrivacyRequestPut => privacy.put(decision::decode::<PrivacyRequest>(payload)?),
        EntryKind::Readmitted => privacy.readmit(&decision::decode::<Readmitted>(payload)?),
        EntryKind::ResendsStopped => privacy.count(&decision::decode::<ResendsStopped>(payload)?),
        EntryKind::PrivacyPolicySet => privacy.policy = Arc::new(PrivacyPolicy::read(payload)?),
        EntryKind::ReadLogMarked => privacy.reads_mark = Some(decision::decode(payload)?),
        EntryKind::ReadLogPolicySet => privacy.read_log = decision::decode(payload)?,
        EntryKind::AccessExported => privacy.note_export(decision::decode::<Exported>(payload)?),
        EntryKind::RequestForwarded => privacy.forward(decision::decode::<Forwarded>(payload)?),
        EntryKind::CallbackEnded => privacy.end_callback(&decision::decode(payload)?),
        EntryKind::StopsStandOn => {
            let stands = StandsOn::read(payload)?;
            tenant.state.consent.ledger.stand_on(stands.point, &stands.heard_at, stands.of);
        }
        EntryKind::RightCarriedOut => tenant.state.carry(decision::decode::<Carried>(payload)?),
        EntryKind::ReceiptKept => {
            let kept: ReceiptKept = decision::decode(payload)?;
            privacy.receipts.insert(kept.request, entry.place);
        }
        EntryKind::Erased => {
            let erased = Erased::read(payload)?;
            let held = tenant.state.erase(&erased);
            tenant.doomed.extend(held);
            tenant.doomed.extend(&erased.slots);
            tenant.unsettled = true;
            tenant.erasures.push(ErasureRow { tenant: entry.tenant, sequence: entry.sequence, erased });
        }
        _ => {}
    }
    Ok(())
}
