//! Change data capture as Debezium writes it: `op` c, u and r put the row, d takes it back.
//!
//! All changes of one transaction carry the time of its commit, so a row that was inserted and then updated in it has two
//! events of one time. Their order in the file decides, since a topic keeps the changes of one row in order.

use onefold_core::fragment::ObservedAt;
use serde_json::{Map, Value};

use super::json::{LineFault, flat};
use super::{Action, Columns, RawRecord};

pub(super) struct Change<'a> {
    action: Action,
    row: &'a Map<String, Value>,
    envelope: &'a Map<String, Value>,
}

/// The change that the line describes; `None` when it is no change event at all.
pub(super) fn change(object: &Map<String, Value>) -> Option<Result<Change<'_>, LineFault>> {
    let envelope = object.get("payload").and_then(Value::as_object).unwrap_or(object);
    let op = envelope.get("op")?.as_str()?;
    if !envelope.contains_key("before") && !envelope.contains_key("after") {
        return None;
    }
    let (action, side) = match op {
        "c" | "u" | "r" => (Action::Put, "after"),
        "d" => (Action::Retract, "before"),
        _ => return Some(Err("is a change of another kind than c, u, r or d".to_owned())),
    };
    match envelope.get(side).and_then(Value::as_object) {
        Some(row) => Some(Ok(Change { action, row, envelope })),
        None => Some(Err(format!("has no `{side}` row; the table needs its full replica identity"))),
    }
}

pub(super) fn records(change: Change<'_>, columns: &mut Columns) -> Result<Vec<RawRecord>, LineFault> {
    let source = change.envelope.get("source").and_then(Value::as_object);
    let told = |name: &str| {
        let time = source.and_then(|source| source.get(name)).or_else(|| change.envelope.get(name));
        time.filter(|time| !time.is_null())
    };
    let time = told("ts_ms");
    let millis = time.and_then(Value::as_i64).map(|millis| millis.saturating_mul(1000));
    // Newer releases tell finer times beside it; one that is of another moment is something else.
    let finer = told("ts_us")
        .and_then(Value::as_i64)
        .filter(|micros| millis.is_some_and(|millis| (0..1000).contains(&micros.saturating_sub(millis))));
    let observed_at = finer.or(millis).map(ObservedAt);
    let table = source.and_then(|source| source.get("table")).and_then(Value::as_str);
    Ok(vec![RawRecord {
        action: change.action,
        observed_at,
        time_unreadable: time.is_some() && observed_at.is_none(),
        in_order: observed_at.is_some(),
        source: table.map(str::to_owned),
        ..flat(change.row, columns)?
    }])
}
