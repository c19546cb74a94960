//! Statements, states and verdicts on the wire.

use onefold_core::consent::contact::Reason;
use onefold_core::consent::ledger::Entry;
use onefold_core::consent::policy::Regime;
use onefold_core::consent::rights::Opposed;
use onefold_core::consent::signal::Decoded;
use onefold_core::consent::state::State;
use onefold_core::consent::{
    ChannelId, Decision, Jurisdiction, LawfulBasis, PurposeId, Signal, SignalKind, Statement, Subject,
};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, ProfileOrdinal, Sequence, SourceId};
use onefold_core::limits;
use onefold_matching::prepare::ReadIdentifier;
use onefold_proto::v1 as pb;

use super::fragment::{observed, record, record_out, timestamp, too_long, too_many, unknown};
use crate::app::consent::contact::Verdict;
use crate::app::consent::read::{Holding, Who};
use crate::app::consent::token::Handle;
use crate::app::consent::{Saying, read_identifier, record_point};
use crate::app::read::ProfileKey;
use crate::app::tenant::{LiveConfig, Tenant};
use crate::grpc::names;

/// Whom a statement or question is about.
#[derive(Clone, Debug)]
pub struct About {
    /// For statements.
    pub subject: Subject,
    /// For questions.
    pub who: Who,
    /// The identifier, where it is one.
    pub read: Option<ReadIdentifier>,
}

/// Reads a subject.
///
/// # Errors
/// Every fault of it.
pub fn subject(
    wire: Option<pb::ConsentSubject>,
    tenant: &Tenant,
    config: &LiveConfig,
) -> Result<About, Vec<FieldFault>> {
    use pb::consent_subject::Subject as Wire;
    let mut faults = Vec::new();
    let about = match wire.and_then(|wire| wire.subject) {
        Some(Wire::Profile(name)) => match names::profile(&name) {
            Ok((of, id)) if of == tenant.name => match id.open(&tenant.keys.id) {
                Some(profile) => {
                    let who = Who { key: ProfileKey::Id(id), points: Vec::new() };
                    Some(About { subject: Subject::Profile(profile), who, read: None })
                }
                None => fault(&mut faults, "subject.profile", FaultReason::Unknown, "there is no such profile"),
            },
            Ok(_) => fault(&mut faults, "subject.profile", FaultReason::Unknown, "there is no such profile"),
            Err(bad) => fault(&mut faults, "subject.profile", FaultReason::Malformed, bad.0),
        },
        Some(Wire::Identifier(wire)) => identifier(wire, "subject.identifier", config, &mut faults),
        Some(Wire::Record(wire)) => record(Some(wire), "subject.record", config, &mut faults).map(|record| {
            let points = vec![record_point(config, &record)];
            let who = Who { key: ProfileKey::Record(record.clone()), points };
            About { subject: Subject::Record(record), who, read: None }
        }),
        None => fault(&mut faults, "subject", FaultReason::Missing, "give a profile, an identifier or a record"),
    };
    match about {
        Some(about) if faults.is_empty() => Ok(about),
        _ => Err(faults),
    }
}

fn fault<T>(faults: &mut Vec<FieldFault>, path: &str, reason: FaultReason, message: &str) -> Option<T> {
    faults.push(FieldFault::new(path, reason, message));
    None
}

/// Reads an identifier as a point of contact.
pub fn identifier(
    wire: pb::Identifier,
    path: &str,
    config: &LiveConfig,
    faults: &mut Vec<FieldFault>,
) -> Option<About> {
    let Some(namespace) = config.namespace_named(&wire.namespace) else {
        let path = format!("{path}.namespace");
        faults.push(unknown(path, &wire.namespace, "namespace", config.namespace_names(), "PutNamespace"));
        return None;
    };
    match read_identifier(config, namespace, &wire.value, &format!("{path}.value")) {
        Ok(read) => {
            let raw = wire.value.trim().to_owned();
            let who = Who { key: ProfileKey::Identifier(namespace, raw.clone(), None), points: read.points().to_vec() };
            Some(About { subject: Subject::Identifier { namespace, raw: Some(raw) }, who, read: Some(read) })
        }
        Err(bad) => {
            faults.push(bad);
            None
        }
    }
}

/// Reads the name of a purpose at `path`; `None` for an empty one.
pub fn purpose(name: &str, path: &str, config: &LiveConfig, faults: &mut Vec<FieldFault>) -> Option<PurposeId> {
    let policy = &config.config.consent;
    if name.is_empty() {
        return None;
    }
    let found = policy.purpose_named(name).map(|purpose| purpose.id);
    if found.is_none() {
        let known = policy.purposes.iter().map(|purpose| purpose.name.as_str());
        faults.push(unknown(path.to_owned(), name, "purpose", known, "UpdateConsentPolicy"));
    }
    found
}

/// Reads the name of a channel at `path`; `None` for an empty one.
pub fn channel(name: &str, path: &str, config: &LiveConfig, faults: &mut Vec<FieldFault>) -> Option<ChannelId> {
    let policy = &config.config.consent;
    if name.is_empty() {
        return None;
    }
    let found = policy.channel_named(name).map(|channel| channel.id);
    if found.is_none() {
        let known = policy.channels.iter().map(|channel| channel.name.as_str());
        faults.push(unknown(path.to_owned(), name, "channel", known, "UpdateConsentPolicy"));
    }
    found
}

/// Reads a jurisdiction at `path`; `None` for an empty one.
pub fn jurisdiction(text: &str, path: &str, faults: &mut Vec<FieldFault>) -> Option<Jurisdiction> {
    if text.is_empty() {
        return None;
    }
    match Jurisdiction::parse(text) {
        Ok(jurisdiction) => Some(jurisdiction),
        Err(bad) => fault(faults, path, FaultReason::Malformed, &bad.to_string()),
    }
}

/// What is given for a statement that does not say it.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// When it came in.
    pub now: ObservedAt,
    /// When the person said it, where the statement does not tell.
    pub at: Option<ObservedAt>,
    /// Who collected it, where the statement does not tell.
    pub source: Option<SourceId>,
}

/// Reads what was said; `path` ends with a dot.
///
/// # Errors
/// Every fault of it.
pub fn statement(
    wire: Option<pb::ConsentSaying>,
    about: Subject,
    points: Vec<Digest128>,
    path: &str,
    config: &LiveConfig,
    given: Given,
) -> Result<Statement, Vec<FieldFault>> {
    let mut faults = Vec::new();
    let at = |field: &str| format!("{path}{field}");
    let Some(wire) = wire else {
        let path = path.trim_end_matches('.');
        return Err(vec![FieldFault::new(path, FaultReason::Missing, "say what was said")]);
    };
    let decision = decision(wire.decision);
    if decision.is_none() {
        fault::<()>(&mut faults, &at("decision"), FaultReason::Missing, "say what was decided");
    }
    let mut decision = decision.unwrap_or(Decision::Denied);
    let lawful_basis = wire.lawful_basis();
    let purpose = purpose(&wire.purpose, &at("purpose"), config, &mut faults);
    if wire.purpose.is_empty() && !decision.may_name_no_purpose() {
        fault::<()>(&mut faults, &at("purpose"), FaultReason::Missing, "a yes names its purpose");
    }
    let channel = channel(&wire.channel, &at("channel"), config, &mut faults);
    let jurisdiction = jurisdiction(&wire.jurisdiction, &at("jurisdiction"), &mut faults);
    let own = purpose.and_then(|purpose| config.config.consent.purpose(purpose)).map(|purpose| purpose.lawful_basis);
    let source = match wire.source.as_str() {
        "" => given.source,
        name => {
            let found = config.source_named(name);
            if found.is_none() {
                faults.push(unknown(at("source"), name, "source", config.source_names(), "PutSource"));
            }
            found
        }
    };
    for (field, text) in [
        ("notice_version", &wire.notice_version),
        ("language", &wire.language),
        ("collection_method", &wire.collection_method),
        ("evidence", &wire.evidence),
    ] {
        if text.len() > limits::STATEMENT_TEXT_BYTES_MAX {
            faults.push(too_long(at(field), text.len(), limits::STATEMENT_TEXT_BYTES_MAX));
        }
    }
    let read = |time: &Option<prost_types::Timestamp>, field: &str, faults: &mut Vec<FieldFault>| {
        time.as_ref().map(|time| observed(time, &at(field), given.now, faults))
    };
    let said_when = read(&wire.given_time, "given_time", &mut faults);
    let lifts = matches!(decision, Decision::Granted | Decision::Pending | Decision::Released);
    // LAW 6: when a system exports a record is not when a person said yes, or every export would lift the no of the day before.
    let undated = lifts && said_when.is_none();
    let given_at = said_when.or(given.at);
    if given_at.is_none() && matches!(decision, Decision::Granted | Decision::Pending) {
        let message = "a yes says when it was given, so that sending it again does not undo a no in between";
        fault::<()>(&mut faults, &at("given_time"), FaultReason::Missing, message);
    }
    let expires_at = wire.expire_time.as_ref().map(|time| any_time(time, &at("expire_time"), &mut faults));
    if expires_at.is_some() && !matches!(decision, Decision::Granted | Decision::Pending) {
        fault::<()>(&mut faults, &at("expire_time"), FaultReason::Malformed, "a no has no end; leave it out");
    }
    let confirmed_at = read(&wire.confirmed_time, "confirmed_time", &mut faults);
    if decision == Decision::Granted && confirmed_at.is_none() && config.config.consent.asks_twice(channel) {
        decision = Decision::Pending;
    }
    let signals = signals(wire.signals, path, given.now, &mut faults);
    let is_yes = matches!(decision, Decision::Granted | Decision::Pending);
    if is_yes && purpose.is_some_and(|id| Opposed::SaleOrSharing.purposes(&config.config.consent).contains(&id)) {
        // A browser that says "do not sell or share" says no to this very purpose: both at once is no clear yes.
        let opts_out = signals.iter().position(|signal| signal.decode() == Ok(Decoded::Gpc));
        let message = "says \"do not sell or share\" (Global Privacy Control), which is a no to this purpose: record OBJECTED; a yes that \
                       the person gave after being told of their signal comes without it, with its evidence";
        faults.extend(
            opts_out.map(|place| FieldFault::new(at(&format!("signals[{place}]")), FaultReason::Malformed, message)),
        );
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Statement {
        subject: about,
        points,
        purpose,
        channel,
        decision,
        lawful_basis: basis(lawful_basis).or(own).unwrap_or_default(),
        jurisdiction,
        notice: wire.notice_version,
        language: wire.language,
        source,
        method: wire.collection_method,
        evidence: wire.evidence,
        given_at: given_at.unwrap_or(given.now),
        expires_at,
        confirmed_at,
        recorded_at: given.now,
        confirms: None,
        signals,
        undated: undated && given.at.is_some(),
    })
}

fn signals(wire: Vec<pb::ConsentSignal>, path: &str, now: ObservedAt, faults: &mut Vec<FieldFault>) -> Vec<Signal> {
    if wire.len() > limits::SIGNALS_MAX {
        faults.push(too_many(&format!("{path}signals"), wire.len(), limits::SIGNALS_MAX));
    }
    let mut read = Vec::new();
    for (at, signal) in wire.into_iter().enumerate().take(limits::SIGNALS_MAX) {
        let field = |name: &str| format!("{path}signals[{at}].{name}");
        let kind = match signal.kind() {
            pb::ConsentSignalKind::Gpc => SignalKind::Gpc,
            pb::ConsentSignalKind::Tcf => SignalKind::Tcf,
            pb::ConsentSignalKind::Gpp => SignalKind::Gpp,
            pb::ConsentSignalKind::Unspecified => {
                faults.push(FieldFault::new(field("kind"), FaultReason::Missing, "say which kind of signal it is"));
                continue;
            }
        };
        for (name, bytes, most) in [
            ("raw", signal.raw.len(), limits::SIGNAL_BYTES_MAX),
            ("device", signal.device.len(), limits::STATEMENT_TEXT_BYTES_MAX),
        ] {
            if bytes > most {
                faults.push(too_long(field(name), bytes, most));
            }
        }
        let seen_at = signal.seen_time.as_ref().map(|time| observed(time, &field("seen_time"), now, faults));
        read.push(Signal { kind, raw: signal.raw, seen_at, device: signal.device });
    }
    read
}

/// A time that may lie ahead.
pub fn any_time(time: &prost_types::Timestamp, path: &str, faults: &mut Vec<FieldFault>) -> ObservedAt {
    observed(time, path, ObservedAt(i64::MAX), faults)
}

/// Reads the statements that came with a fragment.
///
/// # Errors
/// Every fault of them.
pub fn of_fragment(
    wire: Vec<pb::FragmentConsent>,
    fragment: &onefold_core::fragment::Fragment,
    undated: bool,
    tenant: &Tenant,
    config: &LiveConfig,
    now: ObservedAt,
) -> Result<Vec<Saying>, Vec<FieldFault>> {
    let mut faults = Vec::new();
    if wire.len() > limits::STATEMENTS_PER_FRAGMENT_MAX {
        return Err(vec![too_many("consents", wire.len(), limits::STATEMENTS_PER_FRAGMENT_MAX)]);
    }
    let at = Some(if undated { now } else { fragment.observed_at });
    let given = Given { now, at, source: Some(fragment.record.source) };
    let mut says = Vec::with_capacity(wire.len());
    for (place, wire) in wire.into_iter().enumerate() {
        let about = match wire.identifier {
            Some(claim) => {
                let path = format!("consents[{place}].identifier");
                identifier(claim, &path, config, &mut faults).map(|about| (about.subject, about.who.points))
            }
            None => Some((Subject::Record(fragment.record.clone()), vec![record_point(config, &fragment.record)])),
        };
        let Some((subject, points)) = about else { continue };
        match statement(wire.saying, subject, points, &format!("consents[{place}].saying."), config, given) {
            Ok(statement) => says.push(Saying::new(statement, tenant)),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(says) } else { Err(faults) }
}

const fn decision(number: i32) -> Option<Decision> {
    Some(match number {
        1 => Decision::Granted,
        2 => Decision::Denied,
        3 => Decision::Withdrawn,
        4 => Decision::Objected,
        5 => Decision::Pending,
        6 => Decision::Suppressed,
        7 => Decision::Restricted,
        8 => Decision::Released,
        _ => return None,
    })
}

const fn decision_out(decision: Decision) -> pb::ConsentDecision {
    match decision {
        Decision::Granted => pb::ConsentDecision::Granted,
        Decision::Pending => pb::ConsentDecision::Pending,
        Decision::Denied => pb::ConsentDecision::Denied,
        Decision::Withdrawn => pb::ConsentDecision::Withdrawn,
        Decision::Objected => pb::ConsentDecision::Objected,
        Decision::Suppressed => pb::ConsentDecision::Suppressed,
        Decision::Restricted => pb::ConsentDecision::Restricted,
        Decision::Released => pb::ConsentDecision::Released,
    }
}

/// A lawful basis; `None` for one that is not said.
pub const fn basis(wire: pb::LawfulBasis) -> Option<LawfulBasis> {
    Some(match wire {
        pb::LawfulBasis::Unspecified => return None,
        pb::LawfulBasis::Consent => LawfulBasis::Consent,
        pb::LawfulBasis::Contract => LawfulBasis::Contract,
        pb::LawfulBasis::LegalObligation => LawfulBasis::LegalObligation,
        pb::LawfulBasis::VitalInterests => LawfulBasis::VitalInterests,
        pb::LawfulBasis::PublicTask => LawfulBasis::PublicTask,
        pb::LawfulBasis::LegitimateInterests => LawfulBasis::LegitimateInterests,
    })
}

/// The same on the wire.
pub const fn basis_out(basis: LawfulBasis) -> pb::LawfulBasis {
    match basis {
        LawfulBasis::Consent => pb::LawfulBasis::Consent,
        LawfulBasis::Contract => pb::LawfulBasis::Contract,
        LawfulBasis::LegalObligation => pb::LawfulBasis::LegalObligation,
        LawfulBasis::VitalInterests => pb::LawfulBasis::VitalInterests,
        LawfulBasis::PublicTask => pb::LawfulBasis::PublicTask,
        LawfulBasis::LegitimateInterests => pb::LawfulBasis::LegitimateInterests,
    }
}

/// What silence means, on the wire.
pub const fn regime_out(regime: Regime) -> pb::ConsentRegime {
    match regime {
        Regime::OptIn => pb::ConsentRegime::OptIn,
        Regime::OptOut => pb::ConsentRegime::OptOut,
    }
}

fn handle(statement: Sequence, tenant: &Tenant) -> String {
    Handle::Statement.seal(statement, &tenant.keys)
}

/// The handles of statements.
pub fn handles(statements: &[Sequence], tenant: &Tenant) -> Vec<String> {
    statements.iter().map(|statement| handle(*statement, tenant)).collect()
}

/// The name of a profile.
pub fn profile_name(profile: Option<ProfileOrdinal>, tenant: &Tenant) -> String {
    profile.map(|profile| names::of_profile(&tenant.name, tenant.profile_id(profile))).unwrap_or_default()
}

/// Whom a statement is about, and what it says, on the wire.
fn said_out(
    said: Statement,
    tenant: &Tenant,
    config: &LiveConfig,
) -> (pb::consent_subject::Subject, pb::ConsentSaying) {
    use onefold_core::fragment::Vocabulary;
    let names = config.config.as_ref();
    let policy = &names.consent;
    let subject = match &said.subject {
        Subject::Identifier { namespace, raw } => pb::consent_subject::Subject::Identifier(pb::Identifier {
            namespace: Vocabulary::namespace(names, *namespace).to_owned(),
            value: raw.clone().unwrap_or_default(),
        }),
        Subject::Record(record) => pb::consent_subject::Subject::Record(record_out(record, config)),
        Subject::Profile(profile) => pb::consent_subject::Subject::Profile(profile_name(Some(*profile), tenant)),
    };
    let signal = |signal: Signal| pb::ConsentSignal {
        kind: match signal.kind {
            SignalKind::Gpc => pb::ConsentSignalKind::Gpc,
            SignalKind::Tcf => pb::ConsentSignalKind::Tcf,
            SignalKind::Gpp => pb::ConsentSignalKind::Gpp,
        } as i32,
        raw: signal.raw,
        seen_time: signal.seen_at.map(timestamp),
        device: signal.device,
    };
    let saying = pb::ConsentSaying {
        purpose: said.purpose.and_then(|id| policy.purpose(id)).map(|purpose| purpose.name.clone()).unwrap_or_default(),
        channel: said.channel.and_then(|id| policy.channel(id)).map(|channel| channel.name.clone()).unwrap_or_default(),
        decision: decision_out(said.decision) as i32,
        lawful_basis: basis_out(said.lawful_basis) as i32,
        jurisdiction: said.jurisdiction.map(|law| law.as_str().to_owned()).unwrap_or_default(),
        notice_version: said.notice,
        language: said.language,
        source: said.source.map(|source| names.source(source).to_owned()).unwrap_or_default(),
        collection_method: said.method,
        evidence: said.evidence,
        given_time: (!said.undated).then(|| timestamp(said.given_at)),
        expire_time: said.expires_at.map(timestamp),
        confirmed_time: said.confirmed_at.map(timestamp),
        signals: said.signals.into_iter().map(signal).collect(),
    };
    (subject, saying)
}

/// A statement that waits with its fragment, on the wire.
pub fn waiting_out(said: Statement, tenant: &Tenant, config: &LiveConfig) -> pb::FragmentConsent {
    let (subject, saying) = said_out(said, tenant, config);
    let identifier = match subject {
        pb::consent_subject::Subject::Identifier(identifier) => Some(identifier),
        pb::consent_subject::Subject::Record(_) | pb::consent_subject::Subject::Profile(_) => None,
    };
    pb::FragmentConsent { saying: Some(saying), identifier }
}

/// A statement on the wire.
pub fn statement_out(entry: &Entry, said: Statement, tenant: &Tenant, config: &LiveConfig) -> pb::ConsentStatement {
    // Of a signal that is withheld from the reader nothing is left to be read.
    let signals_decoded = said.signals.iter().filter(|signal| !signal.raw.is_empty()).map(decoded).collect();
    let (recorded_at, confirms) = (said.recorded_at, said.confirms);
    let (subject, saying) = said_out(said, tenant, config);
    pb::ConsentStatement {
        statement_id: handle(entry.id, tenant),
        subject: Some(pb::ConsentSubject { subject: Some(subject) }),
        saying: Some(saying),
        recorded_time: Some(timestamp(recorded_at)),
        confirms: confirms.map(|id| handle(id, tenant)).unwrap_or_default(),
        confirmed_by: entry.confirmed_by.map(|id| handle(id, tenant)).unwrap_or_default(),
        signals_decoded,
        only_heard: false,
    }
}

/// A signal in words.
fn decoded(signal: &Signal) -> String {
    let list = |numbers: &[u8]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match signal.decode() {
        Ok(Decoded::Gpc) => "GPC: do not sell or share".to_owned(),
        Ok(Decoded::Tcf(core)) => format!(
            "TCF v2: consent for purposes [{}], legitimate interest for [{}]; consent manager {}, vendor list {}, policy {}",
            list(&core.purposes_consent),
            list(&core.purposes_legitimate_interest),
            core.cmp_id,
            core.vendor_list_version,
            core.policy_version
        ),
        Ok(Decoded::Gpp { sections }) => {
            format!("GPP: sections {}", sections.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        Err(why) => format!("cannot be read: the string {why}"),
    }
}

/// What holds, on the wire.
pub fn holding_out(holding: &Holding, tenant: &Tenant, config: &LiveConfig) -> pb::EffectiveConsent {
    let policy = &config.config.consent;
    let state = match holding.effective.state {
        State::Unknown => pb::ConsentState::Unknown,
        State::Expired => pb::ConsentState::Expired,
        State::Pending => pb::ConsentState::Pending,
        State::Granted => pb::ConsentState::Granted,
        State::Denied => pb::ConsentState::Denied,
        State::Withdrawn => pb::ConsentState::Withdrawn,
        State::Objected => pb::ConsentState::Objected,
    };
    let channel = holding.channel.and_then(|id| policy.channel(id)).map(|channel| channel.name.clone());
    pb::EffectiveConsent {
        purpose: policy.purpose(holding.purpose).map(|purpose| purpose.name.clone()).unwrap_or_default(),
        channel: channel.unwrap_or_default(),
        state: state as i32,
        decided_by: handles(&holding.effective.decided_by, tenant),
        suppressed_by: handles(&holding.effective.suppressed_by, tenant),
        restricted_by: handles(&holding.effective.restricted_by, tenant),
        regime: regime_out(holding.regime) as i32,
    }
}

/// A reason in words.
fn message(reason: &Reason) -> String {
    match reason {
        Reason::Granted(_) => "the person said yes".to_owned(),
        Reason::OptOutRegime => "nobody said no, and the law that applies asks for no yes".to_owned(),
        Reason::Stopped(State::Denied, _) => "the person said no when asked".to_owned(),
        Reason::Stopped(State::Objected, _) => "the person objected".to_owned(),
        Reason::Stopped(..) => "the person withdrew".to_owned(),
        Reason::NotGranted => "nobody said yes".to_owned(),
        Reason::Expired(_) => "the yes has run out".to_owned(),
        Reason::Pending(_) => "the yes waits for its confirmation".to_owned(),
        Reason::Suppressed(_) => "a contact point of the person is suppressed".to_owned(),
        Reason::Restricted(_) => "the person's data is restricted".to_owned(),
        Reason::QuietHours => "the channel is silent at this time of the day where the person is".to_owned(),
        Reason::TimeZoneUnknown => {
            "the channel has quiet hours and nobody knows what time it is where the person is: correct their attribute \
             time_zone where it is no IANA name, or set default_time_zone for those of whom none is told"
                .to_owned()
        }
        Reason::CapReached { cap, most, window_seconds, scope } => {
            let who = scope.as_str();
            format!(
                "the cap {cap} allows {most} contacts of one {who} in {window_seconds} seconds, and there were as many"
            )
        }
        Reason::IdentifierShared => "several persons hold the identifier".to_owned(),
        Reason::ProfileGone => "there is no such profile, or not one any more".to_owned(),
        Reason::Unavailable => "something that is needed to decide is not available now; try again".to_owned(),
    }
}

/// A verdict on the wire.
pub fn verdict_out(verdict: &Verdict, tenant: &Tenant) -> pb::ContactVerdict {
    let reason = |reason: &Reason| {
        let decided_by = match reason {
            Reason::Granted(by)
            | Reason::Stopped(_, by)
            | Reason::Expired(by)
            | Reason::Pending(by)
            | Reason::Suppressed(by)
            | Reason::Restricted(by) => handles(by, tenant),
            _ => Vec::new(),
        };
        let cap = if let Reason::CapReached { cap, .. } = reason { cap.clone() } else { String::new() };
        pb::ContactReason { reason: reason.as_str().to_owned(), message: message(reason), decided_by, cap }
    };
    let reserved = verdict.reservation;
    pb::ContactVerdict {
        allowed: verdict.allows(),
        reasons: verdict.reasons.iter().map(reason).collect(),
        profile: profile_name(verdict.profile, tenant),
        reservation_id: reserved.map(|(id, _)| Handle::Reservation.seal(id, &tenant.keys)).unwrap_or_default(),
        reservation_expire_time: reserved.map(|(_, end)| timestamp(end)),
        decide_time: Some(timestamp(verdict.decided_at)),
    }
}
