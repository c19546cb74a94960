//! Judgements, questions and match evidence on the wire.

use onefold_core::fragment::{PartyKind, SourceRecord};
use onefold_core::judgement::Verdict;
use onefold_matching::pair::MatchEvidence;
use onefold_matching::resolve::Doubt;
use onefold_proto::v1 as pb;

use super::fragment::{record_out, timestamp};
use crate::app::etag::etag;
use crate::app::models::InForce;
use crate::app::review::{Asked, Standing};
use crate::app::tenant::{LiveConfig, Tenant};
use crate::grpc::names;

/// What a steward says; `None` when nothing is said.
pub fn verdict(wire: i32) -> Option<Verdict> {
    match pb::Verdict::try_from(wire) {
        Ok(pb::Verdict::Same) => Some(Verdict::Same),
        Ok(pb::Verdict::Different) => Some(Verdict::Different),
        Ok(pb::Verdict::Unsure) => Some(Verdict::Unsure),
        Ok(pb::Verdict::Unspecified) | Err(_) => None,
    }
}

/// The same on the wire.
pub const fn verdict_out(verdict: Verdict) -> pb::Verdict {
    match verdict {
        Verdict::Same => pb::Verdict::Same,
        Verdict::Different => pb::Verdict::Different,
        Verdict::Unsure => pb::Verdict::Unsure,
    }
}

/// Where a match weight comes from.
pub fn evidence(evidence: MatchEvidence) -> pb::MatchEvidence {
    let comparisons = evidence.parts.into_iter().map(|part| pb::ComparisonEvidence {
        comparison: part.comparison,
        level: part.level,
        weight_bits: part.weight_bits.into(),
        frequency_bits: part.frequency_bits.into(),
    });
    pb::MatchEvidence {
        model_version: evidence.model,
        prior_bits: evidence.prior_bits.into(),
        comparisons: comparisons.collect(),
        alternatives_bits: evidence.alternatives_bits.into(),
        total_bits: evidence.total_bits.into(),
        link_bits: evidence.link_bits.into(),
        review_bits: evidence.review_bits.into(),
        against_kin: evidence.against_kin,
    }
}

/// A question.
pub fn question(asked: Asked, tenant: &Tenant, config: &LiveConfig) -> pb::ReviewQuestion {
    let name = |profile| names::of_profile(&tenant.name, tenant.profile_id(profile));
    let (doubt, judged) = match asked.question.doubt {
        Doubt::Between => (pb::Doubt::Between, pb::Verdict::Unspecified),
        Doubt::Parked => (pb::Doubt::Parked, pb::Verdict::Unspecified),
        Doubt::Against(verdict) => (pb::Doubt::AgainstJudgement, verdict_out(verdict)),
    };
    pb::ReviewQuestion {
        first: Some(record_out(&asked.records.0, config)),
        second: Some(record_out(&asked.records.1, config)),
        first_profile: name(asked.question.profiles.0),
        second_profile: name(asked.question.profiles.1),
        doubt: doubt as i32,
        evidence: asked.evidence.map(evidence),
        judged: judged as i32,
        value: asked.question.value,
    }
}

/// A judgement in force.
pub fn judgement(standing: Standing, tenant: &Tenant, config: &LiveConfig) -> pb::Judgement {
    let record = |record: Option<SourceRecord>| record.map(|record| record_out(&record, config));
    pb::Judgement {
        name: names::of_judgement(&tenant.name, standing.entry),
        first: record(standing.records.0),
        second: record(standing.records.1),
        verdict: verdict_out(standing.judged.verdict) as i32,
        author: standing.judged.author,
        reason: standing.judged.reason,
        judge_time: Some(timestamp(standing.judged.judged_at)),
        expire_time: standing.judged.expires_at.map(timestamp),
        seen_bits: standing.judged.seen_bits.map(f64::from),
    }
}

/// A model in force.
pub fn model(tenant: &str, party: PartyKind, held: &InForce, with_artefact: bool) -> pb::MatchModel {
    let model = held.matcher.model();
    let party_kind = match party {
        PartyKind::Person => pb::PartyKind::Person,
        PartyKind::Organisation => pb::PartyKind::Organisation,
    };
    pb::MatchModel {
        name: names::of_model(tenant, party),
        party_kind: party_kind as i32,
        version: model.version.clone(),
        link_bits: model.link_bits,
        review_bits: model.review_bits,
        artefact_json: if with_artefact { model.to_json() } else { String::new() },
        sequence: held.since.0,
        etag: etag(&held.etag_source()),
    }
}
