//! JSON lines: one object a line, flat or nested; envelopes of event streams and change data capture are unwrapped.

use std::fmt;
use std::io::{self, BufRead};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::lines::Lines;
use super::mapping::names_identifier;
use super::separated::too_long;
use super::{
    COLUMN_NAME_BYTES_MAX, COLUMNS_MAX, Columns, HEAD_BYTES, Item, NoColumn, RawRecord, Refusal, debezium, segment,
};

/// Objects in objects.
const DEPTH_MAX: usize = 8;
/// Values in one line.
const VALUES_MAX: usize = 1_000;

pub(super) struct JsonLines<R> {
    lines: Lines<R>,
    /// A line may stand for several records.
    more: Vec<Item>,
}

/// Why a line is no record; the text is for people.
pub(super) type LineFault = String;

impl<R: BufRead> JsonLines<R> {
    pub const fn new(bytes: R) -> Self {
        Self { lines: Lines::new(bytes, b'\n'), more: Vec::new() }
    }

    pub const fn line(&self) -> u64 {
        self.lines.number()
    }

    pub fn next_item(&mut self, columns: &mut Columns) -> io::Result<Option<Item>> {
        if let Some(item) = self.more.pop() {
            return Ok(Some(item));
        }
        loop {
            let Some(line) = self.lines.next_line()? else { return Ok(None) };
            if line.too_long {
                return Ok(Some(Item::Refused(too_long(line.number))));
            }
            let bytes = line.bytes.trim_ascii();
            // A null line is the tombstone that follows a delete in a compacted topic: it says nothing new.
            if bytes.is_empty() || bytes == b"null" {
                continue;
            }
            match records(line.number, bytes, columns) {
                Err(reason) => return Ok(Some(Item::Refused(Refusal::new(line.number, reason)))),
                Ok(mut records) => {
                    records.reverse();
                    self.more = records.into_iter().map(Item::Record).collect();
                    if let Some(item) = self.more.pop() {
                        return Ok(Some(item));
                    }
                }
            }
        }
    }
}

/// Whether the file begins with a value that goes on behind its first line, as an indented one does. A first line that is
/// merely damaged is followed by something that cannot be the rest of it.
pub(super) fn over_lines(head: &[u8]) -> bool {
    let Some(start) = head.iter().position(|byte| !byte.is_ascii_whitespace()) else { return false };
    let text = &head[start..];
    let Some(first) = text.split(|byte| *byte == b'\n').next().filter(|first| first.len() < text.len()) else {
        return false;
    };
    let cut_off = |text: &[u8]| {
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<de::IgnoredAny>();
        values.next().is_some_and(|value| value.is_err_and(|fault| fault.is_eof()))
    };
    let whole = |text: &[u8]| {
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<de::IgnoredAny>();
        values.next().is_some_and(|value| value.is_ok())
    };
    // Of a long object the head holds the beginning alone.
    cut_off(first) && (whole(text) || (head.len() >= HEAD_BYTES && cut_off(text)))
}

fn records(line: u64, bytes: &[u8], columns: &mut Columns) -> Result<Vec<RawRecord>, LineFault> {
    if std::str::from_utf8(bytes).is_err() {
        return Err(super::NOT_TEXT.to_owned());
    }
    // The parser's own message can repeat a piece of the input, so only the place is told.
    let Whole(value) = serde_json::from_slice(bytes).map_err(|fault| match fault.is_data() {
        true if fault.to_string().starts_with(NAME_TOO_LONG) => {
            format!("names a field by more than {COLUMN_NAME_BYTES_MAX} bytes at column {}", fault.column())
        }
        true => format!("names a field twice at column {}, and one of the two would be lost", fault.column()),
        false => format!("is not valid JSON at column {}", fault.column()),
    })?;
    let Value::Object(object) = value else {
        return Err("is not a JSON object, and each line must be one".to_owned());
    };
    let records = if let Some(change) = debezium::change(&object) {
        debezium::records(change?, columns)?
    } else if let Some(kind) = segment::kind(&object) {
        segment::records(kind?, &object, bytes, columns)?
    } else {
        vec![flat(&object, columns)?]
    };
    Ok(records.into_iter().map(|record| RawRecord { line, ..record }).collect())
}

/// What [`Whole`] says of a name that no column could have.
const NAME_TOO_LONG: &str = "the name of a field is too long";

/// Any JSON value, of whose objects none names a field twice: the parser's own type keeps the last and says nothing.
struct Whole(Value);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor).map(Self)
    }
}

struct WholeVisitor;

impl<'de> Visitor<'de> for WholeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Whole(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            if name.len() > COLUMN_NAME_BYTES_MAX {
                return Err(de::Error::custom(NAME_TOO_LONG));
            }
            let Whole(value) = object.next_value()?;
            if values.insert(name, value).is_some() {
                return Err(de::Error::custom("a field is named twice"));
            }
        }
        Ok(values.into())
    }
}

/// A record whose columns are the paths of the object's values, joined with dots.
pub(super) fn flat(object: &Map<String, Value>, columns: &mut Columns) -> Result<RawRecord, LineFault> {
    let mut record = RawRecord::default();
    flatten(object, "", columns, &mut record)?;
    Ok(record)
}

/// Adds the values of an object to the record, each under `prefix` and its path.
pub(super) fn flatten(
    object: &Map<String, Value>,
    prefix: &str,
    columns: &mut Columns,
    record: &mut RawRecord,
) -> Result<(), LineFault> {
    for (name, value) in object {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        put(&path, value, 1, columns, record)?;
    }
    Ok(())
}

/// `{"namespace": "email", "value": "…"}`, as identifiers are written on the wire, wherever it stands.
fn claim(object: &Map<String, Value>) -> Option<(&str, &Value)> {
    let namespace = object.get("namespace")?.as_str()?;
    let value = object.get("value").filter(|_| object.len() == 2)?;
    Some((namespace, value))
}

/// The field of an object under an identifier's name that holds the identifier: `{"email": {"value": "…", "verified":
/// true}}` tells of an e-mail address, and of something else about it.
fn own_value<'a>(path: &str, object: &'a Map<String, Value>) -> Option<&'a str> {
    let held = ["value", "address", "number", "id"].into_iter().find_map(|name| object.get_key_value(name))?;
    let scalar = held.1.is_string() || held.1.is_number();
    (scalar && names_identifier(path)).then_some(held.0.as_str())
}

fn put(
    path: &str,
    value: &Value,
    depth: usize,
    columns: &mut Columns,
    record: &mut RawRecord,
) -> Result<(), LineFault> {
    if depth > DEPTH_MAX {
        return Err(format!("is nested deeper than {DEPTH_MAX} objects"));
    }
    let text = match value {
        Value::Null => return Ok(()),
        Value::Object(object) => {
            if let Some((namespace, value)) = claim(object) {
                return put(&format!("identifiers.{namespace}"), value, depth + 1, columns, record);
            }
            let own = own_value(path, object);
            for (name, value) in object {
                if own == Some(name.as_str()) {
                    put(path, value, depth + 1, columns, record)?;
                    continue;
                }
                put(&format!("{path}.{name}"), value, depth + 1, columns, record)?;
            }
            return Ok(());
        }
        // The place in a list means nothing: its values are several of one column.
        Value::Array(list) => {
            for value in list {
                put(path, value, depth + 1, columns, record)?;
            }
            return Ok(());
        }
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => {
            // Past 64 bits the parser has rounded already: an id must not change on its way in.
            if number.is_f64() && number.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() > 9e15) {
                return Err("holds a number of too many digits; write it in quotes".to_owned());
            }
            number.to_string()
        }
        Value::String(text) => text.trim().to_owned(),
    };
    if text.is_empty() {
        return Ok(());
    }
    if record.fields.len() >= VALUES_MAX {
        return Err(format!("holds more than {VALUES_MAX} values"));
    }
    let column = columns.intern(path).map_err(|fault| match fault {
        NoColumn::TooMany => format!("brings the file to more than {COLUMNS_MAX} columns"),
        NoColumn::NameTooLong { bytes } => {
            format!("names a field by a path of {bytes} bytes; at most {COLUMN_NAME_BYTES_MAX} are read")
        }
    })?;
    record.fields.push((column, text));
    Ok(())
}
