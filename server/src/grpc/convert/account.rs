//! Accounts, affiliations and stages on the wire.

use std::collections::HashMap;

use onefold_core::consent::PurposeId;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{ObservedAt, SourceRecord, Vocabulary};
use onefold_core::hierarchy::affiliation::Origin;
use onefold_core::hierarchy::entry::{AccountPut, ParentSet};
use onefold_core::hierarchy::view::ParkedReason;
use onefold_core::hierarchy::{AccountKind, AccountOrdinal, Moment};
use onefold_core::ids::SourceId;
use onefold_core::lifecycle::{Lifecycle, Pipeline, PipelineDraft, StageDraft, StageId, StageRule};
use onefold_core::limits;
use onefold_proto::v1 as pb;
use prost_types::Timestamp;

use super::fragment::{record, timestamp};
use crate::app::hierarchy::act::Done;
use crate::app::hierarchy::history::StageEvent;
use crate::app::hierarchy::propose::{Evidence, Proposal};
use crate::app::hierarchy::read::{Part, Pointed, Shown, ShownAffiliation, ShownParked};
use crate::app::hierarchy::rollup::{Coverage, Rollup};
use crate::app::hierarchy::untold::Untold;
use crate::app::tenant::{LiveConfig, Tenant};
use crate::grpc::{names, status};

/// 0001-01-01 to 9999-12-31, the range of google.protobuf.Timestamp.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A time of the world. Unlike the time of an observation it may lie ahead.
pub fn moment(time: Option<Timestamp>, path: &str, absent: Moment, faults: &mut Vec<FieldFault>) -> Moment {
    let Some(time) = time else { return absent };
    if !SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        faults.push(FieldFault::new(path, FaultReason::Malformed, "give a time between the years 1 and 9999"));
        return absent;
    }
    Moment(time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

/// A time of the world on the wire; what was always so has none.
pub fn moment_out(at: Moment) -> Option<Timestamp> {
    (at != Moment::ALWAYS).then(|| timestamp(ObservedAt(at.0)))
}

/// A text of accounts, trimmed.
pub fn text(raw: &str, path: &str, faults: &mut Vec<FieldFault>) -> String {
    let most = limits::ACCOUNT_TEXT_BYTES_MAX;
    if raw.len() > most {
        let message = format!("{} bytes given, at most {most} are allowed", raw.len());
        faults.push(FieldFault::new(path, FaultReason::TooLarge, message));
    }
    raw.trim().to_owned()
}

/// Reads a source account; its parent is for the caller to add.
pub fn source_account(
    wire: Option<pb::SourceAccount>,
    path: &str,
    config: &LiveConfig,
    faults: &mut Vec<FieldFault>,
) -> Option<AccountPut> {
    let Some(wire) = wire else {
        faults.push(FieldFault::new(path, FaultReason::Missing, "give the account"));
        return None;
    };
    let at = |field: &str| format!("{path}.{field}");
    let kind = match pb::AccountKind::try_from(wire.kind) {
        Ok(pb::AccountKind::Unspecified | pb::AccountKind::Organisation) => AccountKind::Organisation,
        Ok(pb::AccountKind::Household) => AccountKind::Household,
        Err(_) => {
            faults.push(FieldFault::new(at("kind"), FaultReason::Unknown, "no kind of account has this number"));
            AccountKind::Organisation
        }
    };
    let record = record(wire.record, &at("record"), config, faults);
    let name = text(&wire.display_name, &at("display_name"), faults);
    if name.is_empty() {
        faults.push(FieldFault::new(at("display_name"), FaultReason::Missing, "give the account's name"));
    }
    let owner = text(&wire.owner, &at("owner"), faults);
    if wire.domains.len() > limits::ACCOUNT_DOMAINS_MAX {
        let (given, most) = (wire.domains.len(), limits::ACCOUNT_DOMAINS_MAX);
        let message = format!("{given} given, at most {most} are allowed");
        faults.push(FieldFault::new(at("domains"), FaultReason::TooLarge, message));
    }
    let mut domains = Vec::with_capacity(wire.domains.len().min(limits::ACCOUNT_DOMAINS_MAX));
    for (place, raw) in wire.domains.iter().take(limits::ACCOUNT_DOMAINS_MAX).enumerate() {
        let normaliser = onefold_core::namespace::Normaliser::Domain;
        match onefold_core::identifier::canonicalise(normaliser, raw, None) {
            Ok(domain) => domains.push(domain.into_string()),
            Err(why) => {
                let message = format!("the domain {why}; write it as `acme.com`");
                faults.push(FieldFault::new(at(&format!("domains[{place}]")), FaultReason::Malformed, message));
            }
        }
    }
    let since = moment(wire.start_time, &at("start_time"), Moment::ALWAYS, faults);
    Some(AccountPut { record: record?, name, owner, kind, since, domains, parent: None })
}

/// Reads a row of an import. One with faults is still a row as far as its record can be read: it is looked at, since
/// others may hang on it.
pub fn row(
    wire: pb::ImportHierarchyRow,
    from: Moment,
    config: &LiveConfig,
    strangers: &mut Strangers,
    faults: &mut Vec<FieldFault>,
) -> Option<AccountPut> {
    let stranger = wire.account.as_ref().and_then(|account| strangers.record(account.record.as_ref(), config));
    let above = strangers.record(wire.parent.as_ref(), config);
    let account = source_account(wire.account, "account", config, faults).or_else(|| {
        let (name, owner, kind) = (String::new(), String::new(), AccountKind::Organisation);
        Some(AccountPut { record: stranger?, name, owner, kind, since: from, domains: Vec::new(), parent: None })
    });
    let parent = wire.parent.and_then(|parent| record(Some(parent), "parent", config, faults)).or(above);
    let parent = parent.map(|parent| config.preparer().record_digest(parent.source, &parent.key));
    Some(AccountPut { parent: Some(ParentSet { parent, from }), ..account? })
}

/// What the rows of an import do not tell.
pub fn untold(names: &[String], path: &str, faults: &mut Vec<FieldFault>) -> Untold {
    let mut untold = Untold::default();
    for (at, name) in names.iter().enumerate() {
        if !untold.name(name) {
            let message = format!("no field that rows may leave untold: there are {}", Untold::NAMES.join(", "));
            faults.push(FieldFault::new(format!("{path}[{at}]"), FaultReason::Unknown, message));
        }
    }
    untold
}

/// Sources that rows of an import name and nobody knows. An import with such a row is refused; so that its other faults are
/// told in the same breath, the rows are looked at as if each of these were one more source.
#[derive(Debug, Default)]
pub struct Strangers(HashMap<String, u16>);

impl Strangers {
    /// The record, if it is one of an unknown source.
    fn record(&mut self, wire: Option<&pb::SourceRecord>, config: &LiveConfig) -> Option<SourceRecord> {
        let wire = wire.filter(|wire| !wire.key.trim().is_empty() && config.source_named(&wire.source).is_none())?;
        // From the end: those that are known count from the beginning.
        let next = u16::try_from(self.0.len()).ok().and_then(|count| u16::MAX.checked_sub(count))?;
        let source = SourceId(*self.0.entry(wire.source.clone()).or_insert(next));
        Some(SourceRecord { source, key: wire.key.clone() })
    }
}

/// What came of an import.
pub fn imported(done: Done) -> pb::ImportHierarchyResponse {
    pb::ImportHierarchyResponse {
        account_count: done.count,
        faults: done.faults.into_iter().map(|(line, fault)| import_fault(line, fault)).collect(),
        more_fault_count: done.more_faults as u32,
        sequence: done.sequence.0,
    }
}

/// A fault of a row on the wire.
pub fn import_fault(line: u32, fault: FieldFault) -> pb::ImportFault {
    let FieldFault { path, reason, message } = fault;
    pb::ImportFault { line, fault: Some(pb::Fault { field: path, reason: reason.as_str().to_owned(), message }) }
}

fn named(tenant: &Tenant, account: AccountOrdinal) -> String {
    names::of_account(&tenant.name, tenant.account_id(account))
}

fn pointed(tenant: &Tenant, to: Pointed) -> pb::AccountRef {
    pb::AccountRef { name: named(tenant, to.account), display_name: to.name }
}

/// An account on the wire.
pub fn account(shown: Shown, tenant: &Tenant, config: &LiveConfig, lifecycle: &Lifecycle, at: Moment) -> pb::Account {
    let closed = shown.parts.iter().all(|part| part.known.is_closed(at));
    let leading = shown.parts.get(shown.leading).and_then(|part| part.told.as_ref());
    let kind = shown.parts.get(shown.leading).map_or(AccountKind::Organisation, |part| part.known.facts.kind);
    let display_name = leading.map(|told| told.name.clone()).unwrap_or_default();
    let owner = leading.map(|told| told.owner.clone()).unwrap_or_default();
    let profile = shown.profile.map(|profile| names::of_profile(&tenant.name, tenant.profile_id(profile)));
    pb::Account {
        name: shown.parts.first().map(|part| named(tenant, part.account)).unwrap_or_default(),
        display_name,
        owner,
        kind: kind_out(kind) as i32,
        closed,
        profile: profile.unwrap_or_default(),
        parts: shown.parts.into_iter().map(|told| part(told, tenant, config)).collect(),
        ancestors: shown.above.into_iter().map(|to| pointed(tenant, to)).collect(),
        child_count: u32::try_from(shown.children).unwrap_or(u32::MAX),
        parked_parents: shown.parked.into_iter().map(|edge| parked(edge, tenant)).collect(),
        stage: shown.stage.map(|(stage, at)| stage_state(lifecycle, stage, at)),
        sequence: shown.changed.0,
    }
}

const fn kind_out(kind: AccountKind) -> pb::AccountKind {
    match kind {
        AccountKind::Organisation => pb::AccountKind::Organisation,
        AccountKind::Household => pb::AccountKind::Household,
    }
}

fn part(part: Part, tenant: &Tenant, config: &LiveConfig) -> pb::SourceAccount {
    let Part { account, known, told } = part;
    let source = Vocabulary::source(config.config.as_ref(), known.facts.source).to_owned();
    let parents = known.parents.iter().map(|step| pb::ParentStep {
        parent: step.parent.map(|parent| named(tenant, parent)).unwrap_or_default(),
        effective_time: moment_out(step.from),
    });
    let record = told.as_ref().map(|told| pb::SourceRecord { source, key: told.record.key.clone() });
    let (display_name, owner, domains) = told.map(|told| (told.name, told.owner, told.domains)).unwrap_or_default();
    pb::SourceAccount {
        name: named(tenant, account),
        record,
        display_name,
        kind: kind_out(known.facts.kind) as i32,
        owner,
        domains,
        start_time: moment_out(known.facts.since),
        close_time: known.closed.and_then(moment_out),
        parents: parents.collect(),
    }
}

fn parked(edge: ShownParked, tenant: &Tenant) -> pb::ParkedParent {
    let reason = match edge.reason {
        ParkedReason::Inside => "SAME_PARTY",
        ParkedReason::OtherParent => "OTHER_PARENT",
        ParkedReason::Cycle => "CYCLE",
    };
    pb::ParkedParent {
        child: Some(pointed(tenant, edge.child)),
        parent: Some(pointed(tenant, edge.parent)),
        effective_time: moment_out(edge.from),
        reason: reason.to_owned(),
    }
}

/// Counts on the wire.
pub fn rollup(
    sum: Rollup,
    (coverage, not_covered): (&[Coverage], &[PurposeId]),
    lifecycle: &Lifecycle,
    config: &LiveConfig,
) -> pb::GetRollupResponse {
    let policy = &config.config.consent;
    let not_covered = not_covered.iter().filter_map(|purpose| policy.purpose(*purpose));
    let covered = |coverage: &Coverage| pb::ConsentCoverage {
        purpose: policy.purpose(coverage.purpose).map(|purpose| purpose.name.clone()).unwrap_or_default(),
        channel: policy.channel(coverage.channel).map(|channel| channel.name.clone()).unwrap_or_default(),
        permitted_count: coverage.permitted,
        stopped_count: coverage.stopped,
        not_granted_count: coverage.not_granted,
    };
    let by_name = |counts: std::collections::BTreeMap<StageId, u64>| {
        counts.into_iter().map(|(stage, count)| (lifecycle.name(stage).to_owned(), count)).collect()
    };
    let (persons_by_stage, persons_without_stage) = (by_name(sum.person_stages()), sum.persons_without_stage());
    pb::GetRollupResponse {
        account_count: sum.accounts,
        source_account_count: sum.source_accounts,
        closed_account_count: sum.closed,
        depth: sum.depth,
        accounts_by_stage: by_name(sum.account_stages),
        accounts_without_stage: sum.accounts_without_stage,
        person_count: sum.persons.len() as u64,
        unresolved_person_count: sum.unknown_persons,
        persons_by_stage,
        persons_without_stage,
        consent_coverage: coverage.iter().map(covered).collect(),
        withheld_count: sum.withheld,
        withheld: withheld(not_covered.map(|purpose| format!("consent_coverage.{}", purpose.name))),
    }
}

/// An affiliation on the wire.
pub fn affiliation(shown: ShownAffiliation, tenant: &Tenant, config: &LiveConfig) -> pb::Affiliation {
    let ShownAffiliation { told, account, profile, until } = shown;
    let source = Vocabulary::source(config.config.as_ref(), told.person.source).to_owned();
    let profile = profile.map(|profile| names::of_profile(&tenant.name, tenant.profile_id(profile)));
    pb::Affiliation {
        person: Some(pb::SourceRecord { source, key: told.person.key }),
        profile: profile.unwrap_or_default(),
        account: Some(pointed(tenant, account)),
        role: told.role,
        start_time: moment_out(told.since),
        end_time: until.and_then(moment_out),
        origin: match told.origin {
            Origin::Stated => "STATED",
            Origin::Confirmed => "CONFIRMED",
            Origin::Fragment => "FRAGMENT",
        }
        .to_owned(),
    }
}

/// What a purpose may not read, on the wire.
pub fn withheld(fields: impl IntoIterator<Item = String>) -> Vec<pb::Withheld> {
    fields.into_iter().map(|field| pb::Withheld { field, reason: "NOT_IN_PURPOSE".to_owned() }).collect()
}

/// A proposal on the wire.
pub fn proposal(
    found: Proposal,
    tenant: &Tenant,
    config: &LiveConfig,
    lifecycle: &Lifecycle,
    at: Moment,
) -> pb::AccountProposal {
    let evidence = found.evidence.into_iter().map(|evidence| {
        let (reason, value) = match evidence {
            Evidence::AccountDomain(domain) => ("ACCOUNT_DOMAIN", domain),
            Evidence::OrganisationDomain(domain) => ("ORGANISATION_DOMAIN", domain),
            Evidence::Name(name) => ("COMPANY_NAME", name),
        };
        pb::ProposalEvidence { reason: reason.to_owned(), value }
    });
    pb::AccountProposal {
        evidence: evidence.collect(),
        rival_count: found.rivals as u32,
        account: Some(account(found.account, tenant, config, lifecycle, at)),
    }
}

/// A stage on the wire.
pub fn stage_state(lifecycle: &Lifecycle, stage: StageId, at: Moment) -> pb::StageState {
    pb::StageState { stage: lifecycle.name(stage).to_owned(), reached_time: moment_out(at) }
}

/// A stage of the history on the wire.
pub fn stage_event(event: &StageEvent, config: &LiveConfig) -> pb::StageEvent {
    pb::StageEvent {
        sequence: event.sequence.0,
        source: Vocabulary::source(config.config.as_ref(), event.source).to_owned(),
        stage: event.stage.clone(),
        reached_time: moment_out(event.at),
        note: event.note.clone(),
        origin: if event.by_fragment { "FRAGMENT" } else { "CALL" }.to_owned(),
        not_entered_reason: event.refused.as_ref().map_or("", status::stage_reason).to_owned(),
        not_entered: event.refused.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Reads the stages of one kind of party.
pub fn pipeline(wire: Option<pb::Pipeline>, path: &str, faults: &mut Vec<FieldFault>) -> PipelineDraft {
    let wire = wire.unwrap_or_default();
    let rule = match pb::StageRule::try_from(wire.merge_rule) {
        Ok(pb::StageRule::Unspecified | pb::StageRule::Furthest) => StageRule::Furthest,
        Ok(pb::StageRule::MostRecent) => StageRule::MostRecent,
        Ok(pb::StageRule::MostTrusted) => StageRule::MostTrusted,
        Err(_) => {
            let message = "no rule has this number";
            faults.push(FieldFault::new(format!("{path}.merge_rule"), FaultReason::Unknown, message));
            StageRule::Furthest
        }
    };
    let stages = wire.stages.into_iter();
    let stages =
        stages.map(|stage| StageDraft { name: stage.name, initial: stage.initial, next: stage.next }).collect();
    PipelineDraft { stages, rule }
}

/// The stages there are, on the wire.
pub fn lifecycle(known: &Lifecycle) -> pb::Lifecycle {
    let pipeline = |of: &Pipeline| pb::Pipeline {
        stages: of
            .stages
            .iter()
            .map(|stage| pb::Stage {
                name: known.name(stage.id).to_owned(),
                initial: stage.initial,
                next: stage.next.iter().map(|next| known.name(*next).to_owned()).collect(),
            })
            .collect(),
        merge_rule: match of.rule {
            StageRule::Furthest => pb::StageRule::Furthest,
            StageRule::MostRecent => pb::StageRule::MostRecent,
            StageRule::MostTrusted => pb::StageRule::MostTrusted,
        } as i32,
    };
    pb::Lifecycle { persons: Some(pipeline(&known.persons)), accounts: Some(pipeline(&known.accounts)) }
}
