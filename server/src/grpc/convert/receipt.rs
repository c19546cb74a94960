//! A consent receipt with the fields of ISO/IEC TS 27560:2023, as JSON.

use onefold_core::consent::ledger::Entry;
use onefold_core::consent::{Decision, Statement, Subject};
use onefold_core::fragment::{ObservedAt, Vocabulary};
use serde_json::{Value, json};

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

/// The state of the event, in the words of the standard.
const fn event_state(entry: &Entry, expired: bool) -> &'static str {
    match entry.decision {
        Decision::Granted | Decision::Pending if expired => "expired",
        Decision::Granted => "given",
        Decision::Pending => "requested",
        Decision::Denied => "refused",
        Decision::Withdrawn | Decision::Objected => "withdrawn",
        Decision::Suppressed | Decision::Restricted | Decision::Released => "invalidated",
    }
}

/// The receipt of one statement. It names the subject as it was named in the statement, so it is personal data.
pub fn receipt(entry: &Entry, said: &Statement, tenant: &Tenant, config: &LiveConfig, now: ObservedAt) -> Value {
    let policy = &config.config.consent;
    let vocabulary = config.config.as_ref();
    let id = Handle::Statement.seal(entry.id, &tenant.keys);
    let subject = match &said.subject {
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
            "name": names::of_profile(&tenant.name, tenant.profile_id(*profile)),
        }),
    };
    let purposes: Vec<Value> = policy
        .purposes
        .iter()
        .filter(|purpose| said.purpose.is_none_or(|only| only == purpose.id))
        .map(|purpose| {
            json!({
                "purpose": purpose.name,
                "purpose_type": or_null(&purpose.display_name),
                "dpv_iri": or_null(&purpose.vocabulary_iri),
                "description": or_null(&purpose.description),
                "lawful_basis": said.lawful_basis.as_str(),
                "pii_information": {
                    "attributes": if purpose.reads.all { json!("all") } else { json!(purpose.reads.attributes) },
                },
            })
        })
        .collect();
    let channel = said.channel.and_then(|channel| policy.channel(channel)).map(|channel| channel.name.as_str());
    let signals: Vec<Value> = said
        .signals
        .iter()
        .map(|signal| {
            json!({
                "kind": format!("{:?}", signal.kind).to_uppercase(),
                "raw": signal.raw,
                "seen_time": signal.seen_at.map(time),
                "device": or_null(&signal.device),
            })
        })
        .collect();
    json!({
        "receipt_metadata": {
            "schema_version": SCHEMA_VERSION,
            "receipt_id": format!("{id}/{}", now.0),
            "record_id": id,
            "receipt_time": time(now),
        },
        "consent_record": {
            "record_id": id,
            "pii_principal_id": subject,
            "privacy_notice": or_null(&said.notice),
            "language": or_null(&said.language),
            "purposes": purposes,
            "channel": channel,
            "pii_controllers": if policy.controller.is_empty() { json!([]) } else { json!([policy.controller]) },
            "collection_method": or_null(&said.method),
            "jurisdiction": said.jurisdiction.map(|law| law.as_str().to_owned()),
            "withdrawal_method": "ConsentService.RecordConsent with WITHDRAWN, or ConsentService.Unsubscribe",
        },
        "events": [{
            "event_time": time(said.given_at),
            "recorded_time": time(said.recorded_at),
            "event_type": if said.lawful_basis.as_str() == "CONSENT" { "explicit" } else { "notice" },
            "event_state": event_state(entry, !entry.is_live(now)),
            "decision": said.decision.as_str(),
            "entity_id": said.source.map(|source| vocabulary.source(source)),
            "validity": said.expires_at.map(time),
            "confirms": said.confirms.map(|id| Handle::Statement.seal(id, &tenant.keys)),
            "evidence": or_null(&said.evidence),
            "signals": signals,
        }],
    })
}
