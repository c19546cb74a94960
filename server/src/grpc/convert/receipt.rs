//! A consent receipt with the fields of ISO/IEC TS 27560:2023, as JSON.

use onefold_core::consent::ledger::Entry;
use onefold_core::consent::policy::Purpose;
use onefold_core::consent::terms::{ReceiptTerms, Recipient, Sensitivity};
use onefold_core::consent::{ChannelId, Decision, Jurisdiction, LawfulBasis, PurposeId, Signal, Statement, Subject};
use onefold_core::fragment::{ObservedAt, Vocabulary};
use onefold_core::ids::Sequence;
use serde_json::{Value, json};

use crate::app::consent::course::Course;
use crate::app::consent::token::Handle;
use crate::app::tenant::{LiveConfig, Tenant};
use crate::grpc::names;

/// The version of the fields.
const SCHEMA_VERSION: &str = "ISO/IEC TS 27560:2023";

fn time(at: ObservedAt) -> Value {
    jiff::Timestamp::from_microsecond(at.0).map_or(Value::Null, |time| Value::String(time.to_string()))
}

fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { Value::String(text.to_owned()) }
}

/// The state that an event brought about, in the words of the standard. A hold and its end are no consent, and have none.
const fn event_state(decision: Decision) -> Option<&'static str> {
    Some(match decision {
        Decision::Granted => "given",
        Decision::Pending => "requested",
        Decision::Denied => "refused",
        Decision::Withdrawn | Decision::Objected => "withdrawn",
        Decision::Suppressed | Decision::Restricted | Decision::Released => return None,
    })
}

/// What kind of consent an event is about: one that the person gave or refused themselves, one that they were asked for, or a
/// use of which they were told, since it needs no yes.
fn event_type(said: &Statement) -> Option<&'static str> {
    event_state(said.decision)?;
    Some(match (said.lawful_basis, said.decision) {
        (LawfulBasis::Consent, Decision::Pending) => "request",
        (LawfulBasis::Consent, _) => "explicit",
        _ => "notice",
    })
}

/// What all of these purposes say alike; nothing where they differ, or one of them does not say.
fn common<'a>(of: &[&'a Purpose], what: impl Fn(&'a ReceiptTerms) -> &'a String) -> Option<&'a str> {
    let mut all = of.iter().map(|purpose| what(&purpose.terms).as_str());
    let first = all.next().filter(|first| !first.is_empty())?;
    all.all(|other| other == first).then_some(first)
}

/// The ways in which this server lets a yes be taken back.
const fn withdrawals(one_click: bool) -> &'static str {
    if one_click {
        "one-click link of the message (RFC 8058), ConsentService.Unsubscribe, or ConsentService.RecordConsent with WITHDRAWN"
    } else {
        "ConsentService.RecordConsent with WITHDRAWN, or ConsentService.Unsubscribe"
    }
}

/// A purpose, with what the tenant tells of it. What is not told is left out.
fn purpose_out(purpose: &Purpose, said: &Statement, vocabulary: &dyn Vocabulary) -> Value {
    let terms = &purpose.terms;
    let reads = &purpose.reads;
    // The categories are whole: identifiers are personal data as attributes are.
    let identifiers = reads.namespaces.iter().map(|id| format!("identifiers.{}", vocabulary.namespace(*id)));
    let listed: Vec<String> = reads.attributes.iter().cloned().chain(identifiers).collect();
    let attributes = if reads.all { json!("all") } else { json!(listed) };
    let mut out = json!({
        "purpose": purpose.name,
        "purpose_type": or_null(&purpose.display_name),
        "dpv_iri": or_null(&purpose.vocabulary_iri),
        "description": or_null(&purpose.description),
        "lawful_basis": said.lawful_basis.as_str(),
        "pii_information": { "attributes": attributes },
    });
    if let Some(sensitivity) = terms.sensitivity {
        out["pii_information"]["sensitive_pii_category"] = json!(sensitivity != Sensitivity::Ordinary);
        out["pii_information"]["special_pii_category"] = json!(sensitivity == Sensitivity::SpecialCategory);
    }
    for (field, text) in [
        ("privacy_notice", &terms.notice_iri),
        ("retention_period", &terms.retention_period),
        ("withdrawal_method", &terms.withdrawal_method),
    ] {
        if !text.is_empty() {
            out[field] = json!(text);
        }
    }
    let places: Vec<&str> = terms.storage_locations.iter().map(Jurisdiction::as_str).collect();
    let recipients: Vec<Value> = terms.recipients.iter().map(recipient_out).collect();
    for (field, list) in [
        ("storage_locations", json!(places)),
        ("recipient_third_parties", json!(recipients)),
        ("privacy_rights", json!(terms.rights)),
    ] {
        if list.as_array().is_some_and(|list| !list.is_empty()) {
            out[field] = list;
        }
    }
    out
}

fn recipient_out(recipient: &Recipient) -> Value {
    let mut out = json!({ "party_name": recipient.name, "party_role": recipient.role.as_str() });
    if !recipient.contact.is_empty() {
        out["party_contact"] = json!(recipient.contact);
    }
    if let Some(law) = recipient.jurisdiction {
        out["jurisdiction"] = json!(law.as_str());
    }
    out
}

/// What a receipt is made under.
pub struct Maker<'a> {
    /// Whose it is.
    pub tenant: &'a Tenant,
    /// What the tenant tells of its purposes.
    pub config: &'a LiveConfig,
    /// What it is read for, where the reader says so.
    pub reads_for: Option<PurposeId>,
    /// Whether this server takes the one-click posts of mail providers.
    pub one_click: bool,
    /// The time.
    pub now: ObservedAt,
}

impl Maker<'_> {
    /// The receipt of a consent. It names the subject as it was named in the statement, where the reader may see that: so it
    /// is personal data.
    pub fn receipt(&self, course: &Course) -> Value {
        let (policy, said) = (&self.config.config.consent, &course.said);
        let id = self.handle(course.entry.id);
        let is_shown = |purpose: &&Purpose| {
            [said.purpose, self.reads_for].iter().all(|only| only.is_none_or(|only| only == purpose.id))
        };
        let of: Vec<&Purpose> = policy.purposes.iter().filter(is_shown).collect();
        let purposes: Vec<Value> =
            of.iter().map(|purpose| purpose_out(purpose, said, self.config.config.as_ref())).collect();
        let withdrawal = common(&of, |terms| &terms.withdrawal_method).unwrap_or(withdrawals(self.one_click));
        let mut receipt = json!({
            "receipt_metadata": {
                "schema_version": SCHEMA_VERSION,
                "receipt_id": format!("{id}/{}", self.now.0),
                "record_id": id,
                "receipt_time": time(self.now),
            },
            "consent_record": {
                "record_id": id,
                "pii_principal_id": if course.names_subject { self.subject(&said.subject) } else { Value::Null },
                "privacy_notice": or_null(common(&of, |terms| &terms.notice_iri).unwrap_or(&said.notice)),
                "language": or_null(&said.language),
                "purposes": purposes,
                "channel": self.channel(said.channel),
                "pii_controllers": if policy.controller.is_empty() { json!([]) } else { json!([policy.controller]) },
                "collection_method": or_null(&said.method),
                "jurisdiction": said.jurisdiction.map(|law| law.as_str().to_owned()),
                "withdrawal_method": withdrawal,
            },
            "events": self.events(course),
        });
        if !said.notice.is_empty() {
            receipt["consent_record"]["privacy_notice_version"] = json!(said.notice);
        }
        let principal = (!course.names_subject).then_some("consent_record.pii_principal_id");
        let withheld: Vec<&str> = principal.into_iter().chain(course.withheld.iter().map(String::as_str)).collect();
        if !withheld.is_empty() {
            receipt["withheld"] = json!(withheld);
        }
        if course.left_out > 0 {
            receipt["events_left_out"] = json!(course.left_out);
        }
        receipt
    }

    fn handle(&self, statement: Sequence) -> String {
        Handle::Statement.seal(statement, &self.tenant.keys)
    }

    fn channel(&self, id: Option<ChannelId>) -> Option<&str> {
        id.and_then(|id| self.config.config.consent.channel(id)).map(|channel| channel.name.as_str())
    }

    fn purpose(&self, id: Option<PurposeId>) -> Option<&str> {
        id.and_then(|id| self.config.config.consent.purpose(id)).map(|purpose| purpose.name.as_str())
    }

    fn subject(&self, subject: &Subject) -> Value {
        let vocabulary = self.config.config.as_ref();
        match subject {
            Subject::Identifier { namespace, raw } => json!({
                "type": "identifier",
                "namespace": Vocabulary::namespace(vocabulary, *namespace),
                "value": raw,
            }),
            Subject::Record(record) => json!({
                "type": "source_record",
                "source": vocabulary.source(record.source),
                "key": record.key,
            }),
            Subject::Profile(profile) => json!({
                "type": "profile",
                "name": names::of_profile(&self.tenant.name, self.tenant.profile_id(*profile)),
            }),
        }
    }

    /// What was said, and what ended by itself, in the order in which it happened.
    fn events(&self, course: &Course) -> Vec<Value> {
        let days = i64::from(self.config.config.consent.confirm_within_days);
        let confirm_within = days * 24 * 60 * 60 * 1_000_000;
        let mut events: Vec<(ObservedAt, Value)> = Vec::new();
        for (entry, said) in &course.events {
            let mut event = self.event(entry, said);
            if course.only_heard.contains(&entry.id) {
                event["only_heard"] = json!(true);
            }
            events.push((said.given_at, event));
            if let Some(end) = course.ran_out(entry, confirm_within, self.now) {
                let ended = json!({
                    "record_id": self.handle(entry.id),
                    "event_time": time(end),
                    "event_type": event_type(said),
                    "event_state": "expired",
                    "purpose": self.purpose(said.purpose),
                    "channel": self.channel(said.channel),
                });
                events.push((end, ended));
            }
        }
        // What was said first of one moment stays first.
        events.sort_by_key(|(at, _)| *at);
        events.into_iter().map(|(_, event)| event).collect()
    }

    fn event(&self, entry: &Entry, said: &Statement) -> Value {
        let signal = |signal: &Signal| {
            json!({
                "kind": format!("{:?}", signal.kind).to_uppercase(),
                "raw": or_null(&signal.raw),
                "seen_time": signal.seen_at.map(time),
                "device": or_null(&signal.device),
            })
        };
        let mut event = json!({
            "record_id": self.handle(entry.id),
            "event_time": if entry.undated { Value::Null } else { time(said.given_at) },
            "recorded_time": time(said.recorded_at),
            "decision": said.decision.as_str(),
            "purpose": self.purpose(said.purpose),
            "channel": self.channel(said.channel),
            "entity_id": said.source.map(|source| Vocabulary::source(self.config.config.as_ref(), source)),
            "validity": said.expires_at.map(time),
            "confirms": said.confirms.map(|id| self.handle(id)),
            "evidence": or_null(&said.evidence),
            "signals": said.signals.iter().map(signal).collect::<Vec<_>>(),
        });
        let told = [
            ("event_type", event_type(said).map(str::to_owned)),
            ("event_state", event_state(said.decision).map(str::to_owned)),
            ("confirmed_by", entry.confirmed_by.map(|id| self.handle(id))),
            ("collection_method", Some(said.method.clone()).filter(|method| !method.is_empty())),
            ("privacy_notice_version", Some(said.notice.clone()).filter(|notice| !notice.is_empty())),
        ];
        if entry.undated {
            // Nobody said when; its place among the others is where its record was observed.
            event["undated"] = json!(true);
        }
        for (field, text) in told {
            if let Some(text) = text {
                event[field] = json!(text);
            }
        }
        event
    }
}
