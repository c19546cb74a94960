//! How many elements a message may bring. Two bytes on the wire become hundreds in memory (an empty element of a repeated
//! field), so a message is counted before it is decoded: no message takes much more room than its bytes.
//!
//! What is counted is read off the descriptors, so that a new field is bounded from the day it is there. The rooms behind
//! keep bounds of their own, which are narrower and answer with every fault; here only what no honest caller sends is
//! refused.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

/// Elements that one message may bring of each repeated field, over all places where the field is; a few fields have a larger
/// bound. Entries of a map are elements too.
pub const ELEMENTS_MAX: u32 = 1_024;

/// Fields of which honest messages bring more: as many as the whole may have, or as 4 MiB of honest ones hold.
const LARGER: &[(&str, u32)] = &[
    // Small, and a source that sends far too many by mistake is told so fragment by fragment: it ends no stream.
    ("onefold.v1.Fragment.identifiers", 16_384),
    ("onefold.v1.Fragment.attributes", 16_384),
    // An import comes in several messages; so many rows of the usual size fill one.
    ("onefold.v1.ImportHierarchyRequest.rows", 65_536),
    ("onefold.v1.SourceAccount.domains", 262_144),
    ("onefold.v1.SourceAccount.parents", 65_536),
    ("onefold.v1.Tenant.survivorship", 4_096),
    ("onefold.v1.AttributeRule.allowed", 256 * 1_000),
    ("onefold.v1.Namespace.blocked_values", 10_000),
    // 64 purposes with 256 each.
    ("onefold.v1.ConsentPurpose.regimes", 64 * 256),
    ("onefold.v1.ConsentPurpose.reads_attributes", 64 * 256),
    ("onefold.v1.ConsentPurpose.reads_namespaces", 64 * 256),
    // And 64 each of what receipts tell of it.
    ("onefold.v1.ReceiptTerms.storage_locations", 64 * 64),
    ("onefold.v1.ReceiptTerms.recipients", 64 * 64),
    ("onefold.v1.ReceiptTerms.rights", 64 * 64),
    // A file for each segment of the journal, and more.
    ("onefold.v1.StreamBackupRequest.have", 65_536),
];

/// How deep messages may lie in each other; as deep as prost follows them.
const DEPTH_MAX: u32 = 100;

/// A message brings more elements of a field than any may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// The field, as a caller writes it, without indexes: `fragment.consents`.
    pub field: String,
    /// How many are taken.
    pub most: u32,
}

impl TooMany {
    /// Reads what [`fmt::Display`] wrote: a status carries nothing but text.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (field, rest) = text.split_once(": at most ")?;
        let most = rest.strip_suffix(" in all are taken in one message")?.parse().ok()?;
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
        if !field.bytes().all(is_path) {
            return None;
        }
        Some(Self { field: field.to_owned(), most })
    }
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: at most {} in all are taken in one message", self.field, self.most)
    }
}

/// Why a message is not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It brings too many elements.
    TooMany(TooMany),
    /// It is no message.
    Unreadable,
}

/// How many elements may be in a message of the full name `name` (`onefold.v1.PutFragmentRequest`) is looked at in these
/// bytes. One that is not of the contract is not looked at.
///
/// # Errors
/// [`Refused`].
pub fn admit(name: &str, bytes: &[u8]) -> Result<(), Refused> {
    // An element takes a byte at least.
    if bytes.len() <= ELEMENTS_MAX as usize {
        return Ok(());
    }
    CONTRACT.count(name, bytes).map(drop)
}

/// How many elements of this field (`onefold.v1.Fragment.consents`) one message may bring.
#[must_use]
pub fn most(field: &str) -> u32 {
    LARGER.iter().find(|(name, _)| *name == field).map_or(ELEMENTS_MAX, |(_, most)| *most)
}

static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(crate::v1::FILE_DESCRIPTOR_SET);
    Contract::of(&set.expect("the descriptor set was encoded by our own build"))
});

/// What of a field's bytes are elements.
#[derive(Clone, Copy, Debug)]
enum Packed {
    /// They are one.
    No,
    /// Each number in them is one.
    Varints,
    /// Each so many bytes of them are one.
    Words(usize),
}

/// A field that is repeated, or that leads to one that is.
#[derive(Debug)]
struct Field {
    number: u32,
    name: String,
    /// Where it is counted, and how far; none: it is not repeated.
    counted: Option<(usize, u32)>,
    packed: Packed,
    /// The message that it holds, if that leads to a repeated field.
    message: Option<usize>,
}

/// What is counted of every message of the contract.
#[derive(Debug, Default)]
struct Contract {
    by_name: HashMap<String, usize>,
    /// The fields of each message that matter, by number.
    messages: Vec<Vec<Field>>,
    /// Full names of what is counted.
    counted: Vec<String>,
}

impl Contract {
    fn of(set: &FileDescriptorSet) -> Self {
        let mut found = Vec::new();
        for file in &set.file {
            for message in &file.message_type {
                with_nested(file.package(), message, &mut found);
            }
        }
        let by_name: HashMap<String, usize> =
            found.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        let mut counted = Vec::new();
        let mut messages: Vec<Vec<Field>> = Vec::with_capacity(found.len());
        for (name, message) in &found {
            let mut fields = Vec::new();
            for field in &message.field {
                let mut counter = None;
                if field.label() == Label::Repeated {
                    let full = format!("{name}.{}", field.name());
                    counter = Some((counted.len(), most(&full)));
                    counted.push(full);
                }
                let holds = by_name.get(field.type_name().trim_start_matches('.'));
                fields.push(Field {
                    number: field.number().unsigned_abs(),
                    name: field.name().to_owned(),
                    counted: counter,
                    packed: if counter.is_some() { packed(field.r#type()) } else { Packed::No },
                    message: holds.copied().filter(|_| field.r#type() == Type::Message),
                });
            }
            fields.sort_by_key(|field| field.number);
            messages.push(fields);
        }
        leave_out_what_leads_nowhere(&mut messages);
        Self { by_name, messages, counted }
    }

    /// How many elements of each of [`Contract::counted`] are in a message.
    fn count(&self, name: &str, bytes: &[u8]) -> Result<Vec<u32>, Refused> {
        let mut counts = vec![0; self.counted.len()];
        if let Some(message) = self.by_name.get(name) {
            self.walk(*message, bytes, DEPTH_MAX, &mut counts)?;
        }
        Ok(counts)
    }

    /// Whatever prost would decode is counted. What cannot be followed is refused: prost might follow it to another place.
    fn walk(&self, message: usize, bytes: &[u8], depth: u32, counts: &mut [u32]) -> Result<(), Refused> {
        let fields = &self.messages[message];
        let mut rest = bytes;
        if fields.is_empty() {
            // Nothing in it can be too many, whatever it is.
            return Ok(());
        }
        while !rest.is_empty() {
            let (number, wire) = decode_key(&mut rest).map_err(|_| Refused::Unreadable)?;
            let field = fields.iter().find(|field| field.number == number);
            let Some(field) = field.filter(|field| wire == WireType::LengthDelimited || field.counted.is_some()) else {
                skip_field(wire, number, &mut rest, DecodeContext::default()).map_err(|_| Refused::Unreadable)?;
                continue;
            };
            let elements = if wire == WireType::LengthDelimited {
                let inner = split(&mut rest)?;
                if let Some(message) = field.message {
                    let depth = depth.checked_sub(1).ok_or(Refused::Unreadable)?;
                    self.walk(message, inner, depth, counts).map_err(|refused| below(&field.name, refused))?;
                }
                elements(field.packed, inner)?
            } else {
                skip_field(wire, number, &mut rest, DecodeContext::default()).map_err(|_| Refused::Unreadable)?;
                1
            };
            if let Some((at, most)) = field.counted {
                counts[at] = counts[at].saturating_add(elements);
                if counts[at] > most {
                    return Err(Refused::TooMany(TooMany { field: field.name.clone(), most }));
                }
            }
        }
        Ok(())
    }
}

/// A message and those that are declared inside it, with their full names.
fn with_nested<'a>(around: &str, message: &'a DescriptorProto, out: &mut Vec<(String, &'a DescriptorProto)>) {
    let name = format!("{around}.{}", message.name());
    for nested in &message.nested_type {
        with_nested(&name, nested, out);
    }
    out.push((name, message));
}

fn packed(of: Type) -> Packed {
    match of {
        Type::Double | Type::Fixed64 | Type::Sfixed64 => Packed::Words(8),
        Type::Float | Type::Fixed32 | Type::Sfixed32 => Packed::Words(4),
        Type::String | Type::Bytes | Type::Message | Type::Group => Packed::No,
        Type::Int32
        | Type::Int64
        | Type::Uint32
        | Type::Uint64
        | Type::Sint32
        | Type::Sint64
        | Type::Bool
        | Type::Enum => Packed::Varints,
    }
}

/// Most messages hold nothing that is repeated; those are skipped without being looked into.
fn leave_out_what_leads_nowhere(messages: &mut [Vec<Field>]) {
    let mut leads: Vec<bool> = vec![false; messages.len()];
    loop {
        let mut more = false;
        for at in 0..messages.len() {
            let found = messages[at].iter().any(|f| f.counted.is_some() || f.message.is_some_and(|into| leads[into]));
            more |= found && !std::mem::replace(&mut leads[at], found);
        }
        if !more {
            break;
        }
    }
    for fields in messages {
        for field in fields.iter_mut() {
            field.message = field.message.filter(|into| leads[*into]);
        }
        fields.retain(|field| field.counted.is_some() || field.message.is_some());
    }
}

/// Takes a length and so many bytes off the front.
fn split<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Refused> {
    let length = decode_varint(rest).ok().and_then(|length| usize::try_from(length).ok()).ok_or(Refused::Unreadable)?;
    let (inner, after) = rest.split_at_checked(length).ok_or(Refused::Unreadable)?;
    *rest = after;
    Ok(inner)
}

fn elements(packed: Packed, bytes: &[u8]) -> Result<u32, Refused> {
    let count = match packed {
        Packed::No => 1,
        Packed::Words(size) if bytes.len().is_multiple_of(size) => bytes.len() / size,
        // The last byte of a number is the one below 128.
        Packed::Varints if bytes.last().is_none_or(|last| *last < 0x80) => {
            bytes.iter().filter(|byte| **byte < 0x80).count()
        }
        Packed::Words(_) | Packed::Varints => return Err(Refused::Unreadable),
    };
    u32::try_from(count).map_err(|_| Refused::Unreadable)
}

/// What is refused lies in this field.
fn below(field: &str, refused: Refused) -> Refused {
    match refused {
        Refused::TooMany(TooMany { field: inner, most }) => {
            Refused::TooMany(TooMany { field: format!("{field}.{inner}"), most })
        }
        Refused::Unreadable => Refused::Unreadable,
    }
}

#[cfg(test)]
#[path = "bounds_tests.rs"]
mod tests;
