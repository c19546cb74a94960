//! Lines of the Segment and RudderStack calls: identify, track, page, screen, group, alias.
//!
//! A message is a source record of its own, keyed by its `messageId`, so a message sent twice counts once. Facts are the
//! identifiers and the traits; what the user did (`properties`) describes no one. The traits of a group call describe an
//! account, so they become a second record, of an organisation.

use jiff::Timestamp;
use onefold_core::fragment::{ObservedAt, PartyKind};
use serde_json::{Map, Value};

use super::json::{LineFault, flatten};
use super::{Columns, RawRecord};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// About the user: identify, track, page, screen, alias.
    User,
    Group,
}

/// Names of an envelope's own fields, which are no facts about anyone.
const ENVELOPE: &[&str] = &[
    "type",
    "event",
    "name",
    "category",
    "properties",
    "context",
    "integrations",
    "version",
    "channel",
    "messageId",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "receivedAt",
    "writeKey",
    "projectId",
    "_metadata",
    "request_ip",
    "rudderId",
    "traits",
];

/// Fields that tell when it happened, the best first.
const TIMES: &[&str] = &["timestamp", "originalTimestamp", "receivedAt"];

/// The call that the line records; `None` when it is something else.
///
/// # Errors
/// When it is such a call, and of nobody.
pub(super) fn kind(object: &Map<String, Value>) -> Option<Result<Call, LineFault>> {
    let name = object.get("type")?.as_str()?;
    // The last three are words that a table of other things may have in a column of this name.
    let (call, surely) = match name {
        "identify" | "track" | "alias" => (Call::User, true),
        "page" | "screen" => (Call::User, false),
        "group" => (Call::Group, false),
        _ => return None,
    };
    let has = |names: &[&str]| names.iter().any(|name| object.contains_key(*name));
    if has(&["userId", "anonymousId", "previousId"]) {
        return Some(Ok(call));
    }
    let surely = surely || has(&["messageId", "traits", "properties", "context"]);
    surely.then(|| Err(format!("is a call of type {name} of nobody: it needs userId or anonymousId")))
}

pub(super) fn records(
    call: Call,
    object: &Map<String, Value>,
    line: &[u8],
    columns: &mut Columns,
) -> Result<Vec<RawRecord>, LineFault> {
    // Without a message id the line's own bytes tell a message from its copy.
    let key = match object.get("messageId").and_then(id) {
        Some(id) => id,
        None => blake3::hash(line).to_hex()[..32].to_owned(),
    };
    let observed_at = observed_at(object);
    // One line, counted once.
    let time_unreadable =
        observed_at.is_none() && TIMES.iter().any(|name| object.get(*name).is_some_and(|at| !at.is_null()));
    let party = Some(PartyKind::Person);
    let mut user = RawRecord { key: Some(key), observed_at, time_unreadable, party, ..RawRecord::default() };
    let own = object.iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str()));
    let own: Map<String, Value> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    flatten(&own, "", columns, &mut user)?;
    let context = object.get("context").and_then(Value::as_object);
    if let Some(context) = context {
        context_facts(context, columns, &mut user)?;
    }
    let traits = object.get("traits").and_then(Value::as_object);
    let mut records = Vec::new();
    match (call, traits) {
        (Call::User, Some(traits)) => flatten(traits, "traits", columns, &mut user)?,
        (Call::Group, Some(traits)) if !traits.is_empty() => {
            let Some(id) = object.get("groupId").and_then(id) else {
                return Err("is a call of type group with traits of no group: it needs groupId".to_owned());
            };
            let key = Some(format!("group:{id}"));
            let party = Some(PartyKind::Organisation);
            let mut account = RawRecord { key, observed_at, party, ..RawRecord::default() };
            let id = Map::from_iter([("groupId".to_owned(), Value::from(id))]);
            flatten(&id, "", columns, &mut account)?;
            flatten(traits, "group.traits", columns, &mut account)?;
            records.push(account);
        }
        (Call::Group, Some(_)) | (_, None) => {}
    }
    records.insert(0, user);
    Ok(records)
}

/// An id as text; senders write them as numbers too.
fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

fn context_facts(context: &Map<String, Value>, columns: &mut Columns, user: &mut RawRecord) -> Result<(), LineFault> {
    let mut facts = Map::new();
    let device = context.get("device").and_then(Value::as_object);
    for name in ["id", "advertisingId"] {
        if let Some(value) = device.and_then(|device| device.get(name)) {
            facts.insert(format!("device.{name}"), value.clone());
        }
    }
    for name in ["locale", "timezone"] {
        if let Some(value) = context.get(name) {
            facts.insert(name.to_owned(), value.clone());
        }
    }
    flatten(&facts, "context", columns, user)?;
    if let Some(traits) = context.get("traits").and_then(Value::as_object) {
        flatten(traits, "traits", columns, user)?;
    }
    let external = context.get("externalIds").and_then(Value::as_array);
    for entry in external.into_iter().flatten() {
        if let (Some(kind), Some(id)) = (entry.get("type").and_then(Value::as_str), entry.get("id")) {
            let named = Map::from_iter([(kind.to_owned(), id.clone())]);
            flatten(&named, "externalIds", columns, user)?;
        }
    }
    Ok(())
}

/// The sender's clock may be wrong by as much as its sending time differs from ours: observed time = received −
/// (sent − original); the plain timestamp where one of the three is missing.
fn observed_at(object: &Map<String, Value>) -> Option<ObservedAt> {
    let time = |name: &str| object.get(name)?.as_str()?.parse::<Timestamp>().ok();
    let corrected = || {
        let lag = time("sentAt")?.as_microsecond().checked_sub(time("originalTimestamp")?.as_microsecond())?;
        time("receivedAt")?.as_microsecond().checked_sub(lag)
    };
    let plain = || TIMES.iter().find_map(|name| time(name));
    corrected().or_else(|| plain().map(Timestamp::as_microsecond)).map(ObservedAt)
}
