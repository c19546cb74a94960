//! A source whose contract binds it to the tenant's stages: what is not a step goes to quarantine, whole.

use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::Fragment;
use onefold_core::hierarchy::Moment;
use onefold_core::lifecycle::told::{NotEntered, StageWord, Told};

use super::state::Accounts;
use crate::app::ingest::Arriving;

/// Faults that are told of one fragment; the rest would say the same again.
const FAULTS_MAX: usize = 4;
/// Bytes that they take in the journal at most, with what quarantine keeps beside them.
pub const ROOM: usize = 64 + FAULTS_MAX * 512;

/// What of a fragment's stages would not be entered; nothing where its contract does not ask.
pub fn faults(arriving: &Arriving, accounts: &Accounts) -> Vec<FieldFault> {
    if arriving.bound_to_steps.is_none() {
        return Vec::new();
    }
    let Ok(fragment) = Fragment::decode(&arriving.encoded) else { return Vec::new() };
    let observed = Moment(fragment.observed_at.0);
    let lifecycle = &accounts.lifecycle;
    let word = |told: &onefold_core::fragment::StageTold| Told {
        at: told.at.unwrap_or(observed),
        stage: lifecycle.word(&told.name),
    };
    let told: Vec<Told> = fragment.stages.iter().map(word).collect();
    let called = accounts.stages.get(&(fragment.party, arriving.prepared.record));
    let walk = accounts.walk(fragment.party, called, &told);
    let refused = told.iter().zip(&walk.refused).filter_map(|(told, why)| Some((told, (*why)?)));
    refused.take(FAULTS_MAX).map(|(told, why)| fault(&told.stage, why, accounts)).collect()
}

fn fault(stage: &StageWord, why: NotEntered, accounts: &Accounts) -> FieldFault {
    let lifecycle = &accounts.lifecycle;
    // A name that is no stage may be anything, a person's name too.
    let path = match stage {
        StageWord::Known(id) => format!("stages[{}]", lifecycle.name(*id)),
        StageWord::Other(_) => "stages[?]".to_owned(),
    };
    let (reason, message) = match why {
        NotEntered::Undefined => {
            let message = "no stages are defined for this kind of party; PutLifecycle defines them";
            (FaultReason::Unknown, message.to_owned())
        }
        NotEntered::Unknown => {
            (FaultReason::Unknown, "there is no such stage; GetLifecycle shows those there are".to_owned())
        }
        NotEntered::Forbidden { from } => {
            let message = format!("{} does not lead there; GetLifecycle shows where it leads", lifecycle.name(from));
            (FaultReason::ContractBroken, message)
        }
    };
    FieldFault::new(path, reason, message)
}
