//! Stages that persons and accounts go through, one definition for marketing and sales alike.
//!
//! The stages and the steps between them are the tenant's own. What was reached is a fact of a source record, kept with
//! its whole history; the stage of a profile or a merged account is computed from its records by an explicit rule, so a
//! split gives each side its own back (law 1).

mod left_out;
pub mod told;

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

pub use left_out::{LeftOut, LifecycleDefined};

use crate::fault::{FaultReason, FieldFault};
use crate::fragment::PartyKind;
use crate::hierarchy::Moment;
use crate::ids::Digest128;
use crate::limits::{NAME_BYTES_MAX, STAGE_NAMES_MAX, STAGES_MAX};

/// A stage's ordinal in the tenant's table of names; it never means another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageId(pub u16);

/// Which stage a merged party has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageRule {
    /// The one that stands last in the list of stages.
    #[default]
    Furthest,
    /// The one that was reached last.
    MostRecent,
    /// That of the source with the highest trust.
    MostTrusted,
}

/// One stage and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Which.
    pub id: StageId,
    /// Whether a party may begin here.
    pub initial: bool,
    /// Where it may go from here.
    pub next: Vec<StageId>,
}

/// The stages of one kind of party, in order: the further down, the further on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// In order.
    pub stages: Vec<Stage>,
    /// For merged parties.
    pub rule: StageRule,
}

/// What a tenant decided about stages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Of persons.
    pub persons: Pipeline,
    /// Of accounts.
    pub accounts: Pipeline,
    /// Names of all stages that ever were, by ordinal, so that history can always be told.
    pub names: Vec<String>,
    /// Stages that earlier definitions had and this one has not. Found by the definitions in their order, and kept beside.
    #[serde(skip)]
    pub left_out: Vec<LeftOut>,
}

/// A stage as the tenant writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageDraft {
    /// Its name: lower case letters, digits, `_`, `-`.
    pub name: String,
    /// Whether a party may begin here.
    pub initial: bool,
    /// Names of the stages where it may go from here.
    pub next: Vec<String>,
}

/// Stages of one kind of party as the tenant writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineDraft {
    /// In order.
    pub stages: Vec<StageDraft>,
    /// For merged parties.
    pub rule: StageRule,
}

/// A step that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageRefused {
    /// The tenant has defined no stages for this kind of party.
    #[error("no stages are defined for {}; PutLifecycle defines them", of(*.0))]
    Undefined(PartyKind),
    /// There is no such stage.
    #[error("there is no such stage; there are: {}", .known.join(", "))]
    Unknown {
        /// Those there are.
        known: Vec<String>,
    },
    /// It cannot be reached from where the party stands.
    #[error("{} does not lead there; allowed: {}", .from.as_deref().unwrap_or("the beginning"), listed(.allowed))]
    Forbidden {
        /// Where the party stands; none: nowhere yet.
        from: Option<String>,
        /// Where it may go.
        allowed: Vec<String>,
    },
}

const fn of(party: PartyKind) -> &'static str {
    match party {
        PartyKind::Person => "persons",
        PartyKind::Organisation => "accounts",
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing, it is the end".to_owned() } else { names.join(", ") }
}

/// What one source record has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Keyed digest of the record.
    pub record: Digest128,
    /// Which stage.
    pub stage: StageId,
    /// When.
    pub at: Moment,
    /// Trust of the record's source.
    pub trust: u16,
}

impl Lifecycle {
    /// The stages of a kind of party.
    #[must_use]
    pub const fn of(&self, party: PartyKind) -> &Pipeline {
        match party {
            PartyKind::Person => &self.persons,
            PartyKind::Organisation => &self.accounts,
        }
    }

    /// A stage's name.
    #[must_use]
    pub fn name(&self, stage: StageId) -> &str {
        self.names.get(usize::from(stage.0)).map_or("", String::as_str)
    }

    fn names_of(&self, stages: impl Iterator<Item = StageId>) -> Vec<String> {
        stages.map(|stage| self.name(stage).to_owned()).collect()
    }

    /// Where a party that stands at `from` may go.
    #[must_use]
    pub fn allowed(&self, party: PartyKind, from: Option<StageId>) -> Vec<StageId> {
        let stages = &self.of(party).stages;
        // A stage that was taken out of the definition leads everywhere: nobody is caught in what is gone.
        let here = from.and_then(|from| stages.iter().find(|stage| stage.id == from));
        match (from, here) {
            (None, _) => stages.iter().filter(|stage| stage.initial).map(|stage| stage.id).collect(),
            (Some(_), Some(here)) => here.next.clone(),
            (Some(_), None) => stages.iter().map(|stage| stage.id).collect(),
        }
    }

    /// The stage with this name, if a party that stands at `from` may go there. Where it stands already it may stay.
    ///
    /// # Errors
    /// [`StageRefused`], with what is allowed.
    pub fn step(&self, party: PartyKind, from: Option<StageId>, to: &str) -> Result<StageId, StageRefused> {
        let pipeline = self.of(party);
        if pipeline.stages.is_empty() {
            return Err(StageRefused::Undefined(party));
        }
        let Some(wanted) = pipeline.stages.iter().find(|stage| self.name(stage.id) == to) else {
            return Err(StageRefused::Unknown { known: self.names_of(pipeline.stages.iter().map(|stage| stage.id)) });
        };
        let allowed = self.allowed(party, from);
        if from == Some(wanted.id) || allowed.contains(&wanted.id) {
            return Ok(wanted.id);
        }
        let from = from.map(|from| self.name(from).to_owned());
        Err(StageRefused::Forbidden { from, allowed: self.names_of(allowed.into_iter()) })
    }

    /// The stage of a party whose records reached these. Ties go to the further stage, the later moment, then content.
    #[must_use]
    pub fn effective(&self, party: PartyKind, reached: &[Reached]) -> Option<Reached> {
        let pipeline = self.of(party);
        let place = |stage: StageId| pipeline.stages.iter().position(|known| known.id == stage);
        let rank = |reached: &Reached| {
            let (place, at, trust) = (place(reached.stage), reached.at, reached.trust);
            let rest = (place, at, Reverse(reached.record));
            match pipeline.rule {
                StageRule::Furthest => ((None, None), rest),
                StageRule::MostRecent => ((Some(at), None), rest),
                StageRule::MostTrusted => ((None, Some(trust)), rest),
            }
        };
        reached.iter().max_by_key(|reached| rank(reached)).copied()
    }

    /// This lifecycle with other stages. Names keep their ordinals.
    ///
    /// # Errors
    /// Every fault of the drafts, by the path of the field.
    pub fn redefined(&self, persons: &PipelineDraft, accounts: &PipelineDraft) -> Result<Self, Vec<FieldFault>> {
        let mut faults = Vec::new();
        check("persons", persons, &mut faults);
        check("accounts", accounts, &mut faults);
        let mut names = self.names.clone();
        for stage in persons.stages.iter().chain(&accounts.stages) {
            if !names.contains(&stage.name) {
                names.push(stage.name.clone());
            }
        }
        if names.len() > STAGE_NAMES_MAX {
            let message =
                format!("with these, {} stages were ever named; at most {STAGE_NAMES_MAX} are allowed", names.len());
            faults.push(FieldFault::new("persons.stages", FaultReason::TooLarge, message));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let id = |name: &String| StageId(names.iter().position(|known| known == name).unwrap_or(0) as u16);
        let pipeline = |draft: &PipelineDraft| {
            let stages = draft.stages.iter().map(|stage| Stage {
                id: id(&stage.name),
                initial: stage.initial,
                next: stage.next.iter().map(id).collect(),
            });
            Pipeline { stages: stages.collect(), rule: draft.rule }
        };
        let (persons, accounts) = (pipeline(persons), pipeline(accounts));
        Ok(Self { persons, accounts, names, left_out: self.left_out.clone() })
    }
}

fn check(path: &str, draft: &PipelineDraft, faults: &mut Vec<FieldFault>) {
    if draft.stages.len() > STAGES_MAX {
        let message = format!("{} given, at most {STAGES_MAX} are allowed", draft.stages.len());
        faults.push(FieldFault::new(format!("{path}.stages"), FaultReason::TooLarge, message));
        return;
    }
    for (at, stage) in draft.stages.iter().enumerate() {
        let field = |name: &str| format!("{path}.stages[{at}].{name}");
        let well_formed = (1..=NAME_BYTES_MAX).contains(&stage.name.len())
            && stage.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
        if !well_formed {
            let message = format!("write it in lower case letters, digits, `_` and `-`, 1 to {NAME_BYTES_MAX} bytes");
            faults.push(FieldFault::new(field("name"), FaultReason::Malformed, message));
        }
        if draft.stages[..at].iter().any(|before| before.name == stage.name) {
            let message = "the stage stands in the list already: keep one of the two";
            faults.push(FieldFault::new(field("name"), FaultReason::Repeated, message));
        }
        for (place, next) in stage.next.iter().enumerate() {
            if !draft.stages.iter().any(|known| known.name == *next) {
                let message = "no stage of this list has this name";
                faults.push(FieldFault::new(field(&format!("next[{place}]")), FaultReason::Unknown, message));
            }
        }
    }
    if !draft.stages.is_empty() && !draft.stages.iter().any(|stage| stage.initial) {
        let message = "mark at least one stage as initial, or nobody can begin";
        faults.push(FieldFault::new(format!("{path}.stages"), FaultReason::Missing, message));
    }
}

#[cfg(test)]
mod tests;
