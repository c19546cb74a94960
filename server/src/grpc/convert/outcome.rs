//! What became of a fragment: to the wire.

use onefold_core::fault::FieldFault;
use onefold_proto::v1 as pb;

use crate::app::ingest::{Answer, Outcome};
use crate::app::quarantine;
use crate::app::tenant::Tenant;
use crate::grpc::names;
use crate::metrics::IngestOutcome;

/// An answer of the lane on the wire; it is counted here.
pub fn result(answer: Answer, tenant: &Tenant) -> pb::IngestResult {
    tenant.meters.count(counted(&answer.outcome));
    let (status, sequence, profile, faults, quarantine_id) = match answer.outcome {
        Outcome::Accepted { sequence, profile, notes } => {
            (pb::IngestStatus::Accepted, sequence.0, profile, notes, String::new())
        }
        Outcome::Duplicate { sequence, profile } => {
            (pb::IngestStatus::Duplicate, sequence.0, profile, Vec::new(), String::new())
        }
        Outcome::Superseded { sequence, profile } => {
            (pb::IngestStatus::Superseded, sequence.0, profile, Vec::new(), String::new())
        }
        Outcome::Quarantined { sequence, entry, faults } => {
            (pb::IngestStatus::Quarantined, sequence.0, None, faults, quarantine::handle(entry, &tenant.keys.id))
        }
        // Of a statement alone, which is told otherwise.
        Outcome::Said { sequence, .. } => (pb::IngestStatus::Accepted, sequence.0, None, Vec::new(), String::new()),
        Outcome::Suppressed { sequence } => (pb::IngestStatus::Suppressed, sequence.0, None, Vec::new(), String::new()),
        Outcome::Rejected { faults } => (pb::IngestStatus::Rejected, 0, None, faults, String::new()),
    };
    pb::IngestResult {
        status: status as i32,
        sequence,
        profile: profile.map(|ordinal| names::of_profile(&tenant.name, tenant.profile_id(ordinal))).unwrap_or_default(),
        faults: faults.into_iter().map(fault).collect(),
        quarantine_id,
    }
}

const fn counted(outcome: &Outcome) -> IngestOutcome {
    match outcome {
        Outcome::Accepted { .. } | Outcome::Said { .. } => IngestOutcome::Accepted,
        Outcome::Duplicate { .. } => IngestOutcome::Duplicate,
        Outcome::Superseded { .. } => IngestOutcome::Superseded,
        Outcome::Quarantined { .. } => IngestOutcome::Quarantined,
        Outcome::Rejected { .. } => IngestOutcome::Rejected,
        Outcome::Suppressed { .. } => IngestOutcome::Suppressed,
    }
}

/// A fault on the wire.
pub fn fault(fault: FieldFault) -> pb::Fault {
    pb::Fault { field: fault.path, reason: fault.reason.as_str().to_owned(), message: fault.message }
}
