//! The door: a fragment on the wire becomes a fragment, or every fault is found.

use onefold_core::config::STEWARD_SOURCE;
use onefold_core::contract::is_too_large;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{
    Affiliation, Attribute, AttributeValue, Fragment, Identifier, ObservedAt, PartyKind, SourceRecord, StageTold,
};
use onefold_core::hierarchy::Moment;
use onefold_core::ids::{AttributeId, SourceId};
use onefold_core::limits;
use onefold_proto::v1 as pb;
use prost_types::Timestamp;

use crate::app::tenant::LiveConfig;
use crate::grpc::convert::account;
use crate::grpc::names;

/// A fragment that came through the door.
#[derive(Debug)]
pub struct Admitted {
    /// In canonical order.
    pub fragment: Fragment,
    /// Whether the caller left the time of observation to us.
    pub undated: bool,
}

/// Well-formed attribute names of this fragment that the tenant does not know yet; they must be learned first.
pub fn unknown_names(fragment: &pb::Fragment, config: &LiveConfig) -> Vec<String> {
    let mut names: Vec<String> = fragment
        .attributes
        .iter()
        .map(|attribute| attribute.name.as_str())
        .filter(|name| is_attribute_name(name) && config.attribute_named(name).is_none())
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Lower case letters, digits and `_`, in one or more parts joined by `.`.
pub fn is_attribute_name(name: &str) -> bool {
    name.len() <= limits::NAME_BYTES_MAX
        && name.split('.').all(|part| {
            part.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        })
}

/// Reads a fragment.
///
/// # Errors
/// Every fault of it, by the path of the field.
pub fn admit(wire: pb::Fragment, config: &LiveConfig, now: ObservedAt) -> Result<Admitted, Vec<FieldFault>> {
    not_a_correction(wire.record.as_ref())?;
    read(wire, config, now, None)
}

/// Reads what a steward says is right; `rehearses` as [`rehearse`] does.
///
/// # Errors
/// Every fault of it.
pub fn correction(
    wire: pb::Fragment,
    config: &LiveConfig,
    now: ObservedAt,
    rehearses: bool,
) -> Result<Admitted, Vec<FieldFault>> {
    read(wire, config, now, rehearses.then_some(AttributeId(limits::ATTRIBUTE_NAMES_MAX as u16 - 1)))
}

/// Nobody sends what stewards correct, and nobody takes it back.
fn not_a_correction(wire: Option<&pb::SourceRecord>) -> Result<(), Vec<FieldFault>> {
    if wire.is_some_and(|record| record.source == STEWARD_SOURCE) {
        let message = "is the source of corrections by stewards: make them with ExecuteRectification";
        return Err(vec![FieldFault::new("record.source", FaultReason::Malformed, message)]);
    }
    Ok(())
}

/// Reads a fragment as if its [`unknown_names`] were known: what this refuses would be refused after they were learned.
///
/// # Errors
/// As [`admit`].
pub fn rehearse(wire: pb::Fragment, config: &LiveConfig, now: ObservedAt) -> Result<Admitted, Vec<FieldFault>> {
    not_a_correction(wire.record.as_ref())?;
    // The highest ordinal takes as many bytes as any that a name could get.
    read(wire, config, now, Some(AttributeId(limits::ATTRIBUTE_NAMES_MAX as u16 - 1)))
}

/// Reads a fragment; `stand_in` is for well-formed attribute names that are unknown, which are faults without it.
fn read(
    wire: pb::Fragment,
    config: &LiveConfig,
    now: ObservedAt,
    stand_in: Option<AttributeId>,
) -> Result<Admitted, Vec<FieldFault>> {
    let mut faults = Vec::new();
    let party = match pb::PartyKind::try_from(wire.party_kind) {
        Ok(pb::PartyKind::Unspecified | pb::PartyKind::Person) => PartyKind::Person,
        Ok(pb::PartyKind::Organisation) => PartyKind::Organisation,
        Err(_) => {
            faults.push(FieldFault::new("party_kind", FaultReason::Unknown, "no kind of party has this number"));
            PartyKind::Person
        }
    };
    let record = record(wire.record, "record", config, &mut faults);
    let (observed_at, undated) = match wire.observed_time {
        Some(time) => (observed(&time, "observed_time", now, &mut faults), false),
        None => (now, true),
    };
    if wire.identifiers.len() > limits::IDENTIFIERS_MAX {
        faults.push(too_many("identifiers", wire.identifiers.len(), limits::IDENTIFIERS_MAX));
    }
    if wire.attributes.len() > limits::ATTRIBUTES_MAX {
        faults.push(too_many("attributes", wire.attributes.len(), limits::ATTRIBUTES_MAX));
    }
    let identifiers = wire
        .identifiers
        .into_iter()
        .take(limits::IDENTIFIERS_MAX)
        .enumerate()
        .filter_map(|(at, wire)| identifier(wire, at, config, &mut faults))
        .collect();
    let attributes = wire
        .attributes
        .into_iter()
        .take(limits::ATTRIBUTES_MAX)
        .enumerate()
        .filter_map(|(at, wire)| attribute(wire, at, config, stand_in, &mut faults))
        .collect();
    let traits = traits(wire.traits_json, &mut faults);
    let affiliations = affiliations(wire.affiliations, party, config, &mut faults);
    let stages = stages(wire.stages, now, &mut faults);
    match record {
        Some(record) if faults.is_empty() => {
            let mut fragment =
                Fragment { record, observed_at, party, identifiers, attributes, traits, affiliations, stages };
            fragment.canonicalise();
            if is_too_large(&fragment) {
                let most = limits::FRAGMENT_BYTES_MAX;
                let message = format!("the whole fragment takes more than {most} bytes, the most that are allowed");
                return Err(vec![FieldFault::new("", FaultReason::TooLarge, message)]);
            }
            Ok(Admitted { fragment, undated })
        }
        _ => Err(faults),
    }
}

/// What is known of somebody who is looked for, as a fragment that is kept nowhere.
///
/// # Errors
/// Every fault of it.
pub fn probe(
    party: PartyKind,
    identifiers: Vec<pb::Identifier>,
    attributes: Vec<pb::Attribute>,
    config: &LiveConfig,
    now: ObservedAt,
) -> Result<Fragment, Vec<FieldFault>> {
    let mut faults = Vec::new();
    if identifiers.len() > limits::IDENTIFIERS_MAX {
        faults.push(too_many("identifiers", identifiers.len(), limits::IDENTIFIERS_MAX));
    }
    if attributes.len() > limits::ATTRIBUTES_MAX {
        faults.push(too_many("attributes", attributes.len(), limits::ATTRIBUTES_MAX));
    }
    if identifiers.is_empty() && attributes.is_empty() {
        let message = "say what is known, e.g. family_name and city";
        faults.push(FieldFault::new("attributes", FaultReason::Missing, message));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let identifiers = identifiers.into_iter().enumerate();
    let identifiers = identifiers.filter_map(|(at, wire)| identifier(wire, at, config, &mut faults)).collect();
    let mut read = Vec::with_capacity(attributes.len());
    for (at, wire) in attributes.into_iter().enumerate() {
        if is_attribute_name(&wire.name) && config.attribute_named(&wire.name).is_none() {
            let path = format!("attributes[{at}].name");
            let known = config.config.attribute_names.iter().map(String::as_str);
            let message = match names::nearest(&wire.name, known) {
                Some(near) => format!("no fragment has such an attribute; the nearest is `{near}`"),
                None => "no fragment has such an attribute".to_owned(),
            };
            faults.push(FieldFault::new(path, FaultReason::Unknown, message));
            continue;
        }
        read.extend(attribute(wire, at, config, None, &mut faults));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let record = SourceRecord { source: SourceId(u16::MAX), key: String::new() };
    let (traits, affiliations, stages) = (None, Vec::new(), Vec::new());
    let mut fragment =
        Fragment { record, observed_at: now, party, identifiers, attributes: read, traits, affiliations, stages };
    fragment.canonicalise();
    Ok(fragment)
}

/// Reads which record is to be retracted, and when the source removed it.
///
/// # Errors
/// Every fault of it.
pub fn retraction(
    wire: pb::Retraction,
    config: &LiveConfig,
    now: ObservedAt,
) -> Result<(SourceRecord, ObservedAt), Vec<FieldFault>> {
    not_a_correction(wire.record.as_ref())?;
    let mut faults = Vec::new();
    let record = record(wire.record, "record", config, &mut faults);
    let at = wire.observed_time.map_or(now, |time| observed(&time, "observed_time", now, &mut faults));
    match record {
        Some(record) if faults.is_empty() => Ok((record, at)),
        _ => Err(faults),
    }
}

/// Reads a source record at `path`.
pub fn record(
    wire: Option<pb::SourceRecord>,
    path: &str,
    config: &LiveConfig,
    faults: &mut Vec<FieldFault>,
) -> Option<SourceRecord> {
    let Some(wire) = wire else {
        faults.push(FieldFault::new(path, FaultReason::Missing, "name the source record: source and key"));
        return None;
    };
    if wire.key.trim().is_empty() {
        faults.push(FieldFault::new(
            format!("{path}.key"),
            FaultReason::Missing,
            "give the record's key in its source",
        ));
    } else if wire.key.len() > limits::SOURCE_KEY_BYTES_MAX {
        faults.push(too_long(format!("{path}.key"), wire.key.len(), limits::SOURCE_KEY_BYTES_MAX));
    }
    let source = config.source_named(&wire.source);
    if source.is_none() {
        faults.push(unknown(format!("{path}.source"), &wire.source, "source", config.source_names(), "PutSource"));
    }
    source.map(|source| SourceRecord { source, key: wire.key })
}

fn identifier(
    wire: pb::Identifier,
    at: usize,
    config: &LiveConfig,
    faults: &mut Vec<FieldFault>,
) -> Option<Identifier> {
    let namespace = config.namespace_named(&wire.namespace);
    if namespace.is_none() {
        let path = format!("identifiers[{at}].namespace");
        faults.push(unknown(path, &wire.namespace, "namespace", config.namespace_names(), "PutNamespace"));
    }
    let path = || format!("identifiers[{at}].value");
    let raw = wire.value.trim();
    if raw.is_empty() {
        faults.push(FieldFault::new(path(), FaultReason::Missing, "give a value, or leave the identifier out"));
        return None;
    }
    if raw.len() > limits::IDENTIFIER_BYTES_MAX {
        faults.push(too_long(path(), raw.len(), limits::IDENTIFIER_BYTES_MAX));
        return None;
    }
    let raw = if raw.len() == wire.value.len() { wire.value } else { raw.to_owned() };
    namespace.map(|namespace| Identifier { namespace, raw })
}

fn attribute(
    wire: pb::Attribute,
    at: usize,
    config: &LiveConfig,
    stand_in: Option<AttributeId>,
    faults: &mut Vec<FieldFault>,
) -> Option<Attribute> {
    let known = config.attribute_named(&wire.name);
    let name = known.or(if is_attribute_name(&wire.name) { stand_in } else { None });
    if name.is_none() {
        let path = format!("attributes[{at}].name");
        faults.push(if is_attribute_name(&wire.name) {
            // Well-formed new names are learned before the door; one that is still unknown found the table full.
            let most = limits::ATTRIBUTE_NAMES_MAX;
            FieldFault::new(path, FaultReason::TooLarge, format!("the tenant has {most} attribute names, the most there may be"))
        } else {
            let most = limits::NAME_BYTES_MAX;
            FieldFault::new(
                path,
                FaultReason::Malformed,
                format!("write names in lower case letters, digits and `_`, with `.` between group and field, up to {most} bytes"),
            )
        });
    }
    let fault = |faults: &mut Vec<FieldFault>, reason, message: &str| {
        faults.push(FieldFault::new(format!("attributes[{at}].value"), reason, message));
    };
    let value = match wire.value {
        Some(pb::attribute::Value::Text(text)) if text.len() > limits::ATTRIBUTE_BYTES_MAX => {
            faults.push(too_long(format!("attributes[{at}].text"), text.len(), limits::ATTRIBUTE_BYTES_MAX));
            return None;
        }
        Some(pb::attribute::Value::Text(text)) => AttributeValue::Text(text),
        Some(pb::attribute::Value::Number(number)) if !number.is_finite() => {
            fault(faults, FaultReason::Malformed, "give a finite number");
            return None;
        }
        // The two zeros are one fact.
        Some(pb::attribute::Value::Number(number)) => AttributeValue::Number(if number == 0.0 { 0.0 } else { number }),
        Some(pb::attribute::Value::Flag(flag)) => AttributeValue::Flag(flag),
        None => {
            fault(faults, FaultReason::Missing, "give text, number or flag, or leave the attribute out");
            return None;
        }
    };
    name.map(|name| Attribute { name, value })
}

fn affiliations(
    wire: Vec<pb::FragmentAffiliation>,
    party: PartyKind,
    config: &LiveConfig,
    faults: &mut Vec<FieldFault>,
) -> Vec<Affiliation> {
    if !wire.is_empty() && party == PartyKind::Organisation {
        let message = "an organisation has no role in an account: PutAccount places it in the hierarchy";
        faults.push(FieldFault::new("affiliations", FaultReason::Malformed, message));
    }
    if wire.len() > limits::FRAGMENT_AFFILIATIONS_MAX {
        faults.push(too_many("affiliations", wire.len(), limits::FRAGMENT_AFFILIATIONS_MAX));
    }
    let mut told: Vec<Affiliation> = Vec::with_capacity(wire.len().min(limits::FRAGMENT_AFFILIATIONS_MAX));
    for (at, wire) in wire.into_iter().take(limits::FRAGMENT_AFFILIATIONS_MAX).enumerate() {
        let path = format!("affiliations[{at}]");
        let account = record(wire.account, &format!("{path}.account"), config, faults);
        let role = account::text(&wire.role, &format!("{path}.role"), faults);
        let since = account::moment(wire.start_time, &format!("{path}.start_time"), Moment::ALWAYS, faults);
        let ends = wire.end_time.is_some();
        let until = account::moment(wire.end_time, &format!("{path}.end_time"), Moment::ALWAYS, faults);
        if ends && until < since {
            let message = "lies before the affiliation begins";
            faults.push(FieldFault::new(format!("{path}.end_time"), FaultReason::Malformed, message));
        }
        let Some(account) = account else { continue };
        let same = |known: &Affiliation| known.account == account && known.role.to_lowercase() == role.to_lowercase();
        if told.iter().any(same) {
            let message = "names an account and a role that were named before";
            faults.push(FieldFault::new(path, FaultReason::Repeated, message));
            continue;
        }
        told.push(Affiliation { account, role, since, until: ends.then_some(until) });
    }
    told
}

fn stages(wire: Vec<pb::FragmentStage>, now: ObservedAt, faults: &mut Vec<FieldFault>) -> Vec<StageTold> {
    let most = limits::FRAGMENT_STAGES_MAX;
    if wire.len() > most {
        faults.push(too_many("stages", wire.len(), most));
    }
    let mut told = Vec::with_capacity(wire.len().min(most));
    for (at, wire) in wire.into_iter().take(most).enumerate() {
        let path = |field: &str| format!("stages[{at}].{field}");
        let name = wire.stage.trim().to_lowercase();
        if name.is_empty() {
            faults.push(FieldFault::new(path("stage"), FaultReason::Missing, "name the stage"));
        } else if name.len() > limits::NAME_BYTES_MAX {
            let message = format!("is over the limit of {} bytes", limits::NAME_BYTES_MAX);
            faults.push(FieldFault::new(path("stage"), FaultReason::TooLarge, message));
        }
        let reached = wire.reached_time.map(|time| Moment(observed(&time, &path("reached_time"), now, faults).0));
        told.push(StageTold { at: reached, name });
    }
    told
}

fn traits(json: String, faults: &mut Vec<FieldFault>) -> Option<String> {
    if json.is_empty() {
        return None;
    }
    if json.len() > limits::TRAITS_BYTES_MAX {
        faults.push(too_long("traits_json".to_owned(), json.len(), limits::TRAITS_BYTES_MAX));
        return None;
    }
    // `IgnoredAny` checks the syntax without building the value; the first byte tells an object from the rest.
    let is_object = json.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok();
    if !is_object {
        faults.push(FieldFault::new("traits_json", FaultReason::Malformed, "give one JSON object as text"));
        return None;
    }
    Some(json)
}

pub(super) fn observed(time: &Timestamp, path: &str, now: ObservedAt, faults: &mut Vec<FieldFault>) -> ObservedAt {
    // 0001-01-01 to 9999-12-31, the range of google.protobuf.Timestamp.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    if !SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        faults.push(FieldFault::new(path, FaultReason::Malformed, "give a time between the years 1 and 9999"));
        return now;
    }
    let micros = time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000;
    let ahead = limits::OBSERVED_AHEAD_SECONDS_MAX;
    if micros > now.0.saturating_add(ahead * 1_000_000) {
        let message =
            format!("lies more than {ahead} seconds ahead of the server's clock; it would block later updates");
        faults.push(FieldFault::new(path, FaultReason::InTheFuture, message));
    }
    ObservedAt(micros)
}

/// A time on the wire.
pub fn timestamp(at: ObservedAt) -> Timestamp {
    Timestamp { seconds: at.0.div_euclid(1_000_000), nanos: (at.0.rem_euclid(1_000_000) * 1_000) as i32 }
}

pub(super) fn too_many(path: &str, count: usize, most: usize) -> FieldFault {
    FieldFault::new(path, FaultReason::TooLarge, format!("{count} given, at most {most} are allowed"))
}

pub(super) fn too_long(path: String, bytes: usize, most: usize) -> FieldFault {
    FieldFault::new(path, FaultReason::TooLarge, format!("{bytes} bytes given, at most {most} are allowed"))
}

/// A name that is not known; says the nearest known one. Names of sources and namespaces are configuration, but what
/// was typed in their place may be anything, so it is never repeated.
pub(super) fn unknown<'a>(
    path: String,
    typed: &str,
    what: &str,
    known: impl Iterator<Item = &'a str>,
    create: &str,
) -> FieldFault {
    let message = match names::nearest(typed, known) {
        Some(near) => format!("no {what} has this name; the nearest is `{near}`; {create} makes a new one"),
        None => format!("no {what} has this name; {create} makes a new one"),
    };
    FieldFault::new(path, FaultReason::Unknown, message)
}

/// A fragment on the wire.
pub fn fragment_out(fragment: &Fragment, config: &LiveConfig) -> pb::Fragment {
    use onefold_core::fragment::Vocabulary;
    let names = config.config.as_ref();
    pb::Fragment {
        record: Some(record_out(&fragment.record, config)),
        observed_time: Some(timestamp(fragment.observed_at)),
        party_kind: party_out(fragment.party) as i32,
        identifiers: fragment
            .identifiers
            .iter()
            .map(|i| pb::Identifier {
                namespace: Vocabulary::namespace(names, i.namespace).to_owned(),
                value: i.raw.clone(),
            })
            .collect(),
        attributes: fragment
            .attributes
            .iter()
            .map(|a| pb::Attribute {
                name: names.attribute(a.name).to_owned(),
                value: Some(match &a.value {
                    AttributeValue::Text(text) => pb::attribute::Value::Text(text.clone()),
                    AttributeValue::Number(number) => pb::attribute::Value::Number(*number),
                    AttributeValue::Flag(flag) => pb::attribute::Value::Flag(*flag),
                }),
            })
            .collect(),
        traits_json: fragment.traits.clone().unwrap_or_default(),
        consents: Vec::new(),
        affiliations: fragment
            .affiliations
            .iter()
            .map(|told| pb::FragmentAffiliation {
                account: Some(record_out(&told.account, config)),
                role: told.role.clone(),
                start_time: account::moment_out(told.since),
                end_time: told.until.and_then(account::moment_out),
            })
            .collect(),
        stages: fragment
            .stages
            .iter()
            .map(|told| pb::FragmentStage {
                stage: told.name.clone(),
                reached_time: told.at.and_then(account::moment_out),
            })
            .collect(),
    }
}

/// A source record on the wire.
pub fn record_out(record: &SourceRecord, config: &LiveConfig) -> pb::SourceRecord {
    use onefold_core::fragment::Vocabulary;
    pb::SourceRecord { source: config.config.source(record.source).to_owned(), key: record.key.clone() }
}

/// A kind of party on the wire.
pub const fn party_out(party: PartyKind) -> pb::PartyKind {
    match party {
        PartyKind::Person => pb::PartyKind::Person,
        PartyKind::Organisation => pb::PartyKind::Organisation,
    }
}

#[cfg(test)]
mod tests {
    use onefold_core::config::{Source, TenantConfig};
    use onefold_core::ids::SourceId;

    use super::*;

    const NOW: ObservedAt = ObservedAt(1_700_000_000_000_000);

    fn config() -> LiveConfig {
        let mut config = TenantConfig::new("t", "T");
        config.sources.push(Source {
            id: SourceId(0),
            name: "crm".to_owned(),
            display_name: String::new(),
            trust: 0,
            contract: Default::default(),
        });
        LiveConfig::compile(config, 1, [7; 32], crate::app::models::Models::default()).unwrap()
    }

    fn wire(texts: &[(&str, usize)]) -> pb::Fragment {
        let attributes = texts.iter().map(|(name, bytes)| pb::Attribute {
            name: (*name).to_owned(),
            value: Some(pb::attribute::Value::Text("x".repeat(*bytes))),
        });
        pb::Fragment {
            record: Some(pb::SourceRecord { source: "crm".to_owned(), key: "1".to_owned() }),
            attributes: attributes.collect(),
            ..Default::default()
        }
    }

    fn paths<T>(read: Result<T, Vec<FieldFault>>) -> Vec<String> {
        read.err().unwrap_or_default().into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn a_kind_of_party_is_never_guessed() {
        let config = config();
        for (number, faulty) in [(0, false), (1, false), (2, false), (3, true), (-1, true)] {
            let fragment = pb::Fragment { party_kind: number, ..wire(&[]) };
            let expected: &[&str] = if faulty { &["party_kind"] } else { &[] };
            assert_eq!(paths(admit(fragment, &config, NOW)), expected, "{number}");
        }
    }

    #[test]
    fn a_rehearsal_refuses_all_but_names_that_can_be_learned() {
        let config = config();
        let new = wire(&[("shoe_size", 2)]);
        assert_eq!(paths(admit(new.clone(), &config, NOW)), ["attributes[0].name"]);
        assert_eq!(paths(rehearse(new, &config, NOW)), [""; 0]);
        let table = [
            (wire(&[("shoe_size", 2), ("Not A Name", 2)]), "attributes[1].name"),
            (wire(&[("shoe_size", limits::ATTRIBUTE_BYTES_MAX + 1)]), "attributes[0].text"),
            (pb::Fragment { record: None, ..wire(&[("shoe_size", 2)]) }, "record"),
            (pb::Fragment { traits_json: "[]".to_owned(), ..wire(&[("shoe_size", 2)]) }, "traits_json"),
            // Each value may be so long, all of them together not.
            (wire(&[("shoe_size", limits::ATTRIBUTE_BYTES_MAX); 17]), ""),
        ];
        for (fragment, path) in table {
            assert_eq!(paths(rehearse(fragment, &config, NOW)), [path]);
        }
    }
}
