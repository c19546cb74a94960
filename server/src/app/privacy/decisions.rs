//! What officers and administrators decided that no request shows, read from the log: who was let back in, by whom and on what
//! ground, and how the privacy policy was changed.
//!
//! The log itself is the record, so what is shown is what an audit of the chain stands for. Such decisions are rare, and a
//! page reads so much of the log and no more.

use std::collections::HashSet;
use std::ops::ControlFlow;

use onefold_core::decision::{self, EntryKind};
use onefold_core::erasure::{DecidedBy, PrivacyPolicy, Readmitted};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, Place, Sequence, TenantId};
use onefold_core::reads::{ReadLogPolicy, Reader};
use onefold_store::journal::{BatchView, VisitError};

use crate::app::Shared;
use crate::app::error::ReadError;

/// Bytes of the log that one page reads, about.
const PAGE_BYTES_MAX: u64 = 32 << 20;

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its place in the tenant's order of events.
    pub sequence: Sequence,
    /// When it was committed.
    pub at: ObservedAt,
    /// Whose call it was; None in what older releases wrote, and of what the server did itself after a restore.
    pub caller: Option<Reader>,
    /// What was decided.
    pub what: What,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Identifiers or source records may come back.
    Readmitted(Readmitted),
    /// What is wanted of requests and of the log of reads, from then on.
    Policy(Box<PrivacyPolicy>, Option<ReadLogPolicy>),
}

/// A page of them.
#[derive(Debug, Default)]
pub struct Page {
    /// In order.
    pub decisions: Vec<Decision>,
    /// Where the next page begins; none at the log's end.
    pub next: Option<Place>,
}

/// A tenant's decisions from a place of the log on; with digests, only those that let one of them back. Not for asynchronous
/// threads.
///
/// # Errors
/// [`ReadError::Damaged`] or [`ReadError::Store`] when the log cannot be read.
pub fn page(
    shared: &Shared,
    tenant: TenantId,
    of: Option<&HashSet<Digest128>>,
    from: Option<Place>,
    size: usize,
) -> Result<Page, ReadError> {
    let log = &shared.journal;
    let (mut page, mut read, mut goes_on) = (Page::default(), 0, false);
    let end = log.scan(from.unwrap_or(Place { segment: log.first(), offset: 0 }), |batch| {
        read += u64::from(batch.end.offset - batch.start.offset);
        page.decisions.extend(in_batch(batch, tenant)?.into_iter().filter(|decision| concerns(decision, of)));
        goes_on = page.decisions.len() >= size || read >= PAGE_BYTES_MAX;
        Ok(if goes_on { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    let end = end.map_err(crate::app::reads::list::unreadable)?;
    page.next = goes_on.then_some(end);
    Ok(page)
}

fn concerns(decision: &Decision, of: Option<&HashSet<Digest128>>) -> bool {
    match (of, &decision.what) {
        (None, _) => true,
        (Some(of), What::Readmitted(back)) => back.digests.iter().any(|digest| of.contains(digest)),
        (Some(_), What::Policy(..)) => false,
    }
}

/// What a batch holds of them: each is followed by what belongs to it.
fn in_batch(batch: &BatchView<'_>, tenant: TenantId) -> Result<Vec<Decision>, VisitError> {
    let mut decisions: Vec<Decision> = Vec::new();
    for entry in batch.entries().filter(|entry| entry.tenant == tenant) {
        let (Some(kind), Some(payload)) = (EntryKind::from_u8(entry.kind.0), entry.bytes()) else { continue };
        let (sequence, at) = (entry.sequence, ObservedAt(batch.time_micros));
        let decided = |what| Decision { sequence, at, caller: None, what };
        match kind {
            EntryKind::Readmitted => {
                let back: Readmitted = decision::decode(payload)?;
                decisions.push(Decision { at: back.at, ..decided(What::Readmitted(back)) });
            }
            EntryKind::PrivacyPolicySet => {
                decisions.push(decided(What::Policy(Box::new(PrivacyPolicy::read(payload)?), None)));
            }
            EntryKind::ReadLogPolicySet => {
                if let Some(Decision { what: What::Policy(_, of_reads), .. }) = decisions.last_mut() {
                    *of_reads = Some(decision::decode(payload)?);
                }
            }
            EntryKind::DecidedBy => {
                let by: DecidedBy = decision::decode(payload)?;
                if let Some(decision) = decisions.last_mut() {
                    decision.caller = Some(by.caller);
                }
            }
            _ => {}
        }
    }
    Ok(decisions)
}
