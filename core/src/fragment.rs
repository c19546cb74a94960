//! What a source submits, and the compact form in which it is kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hierarchy::Moment;
use crate::ids::{AttributeId, Digest128, NamespaceId, SourceId};
use crate::packed::{Packed, put, put_signed, put_text};

/// One record as its source system knows it. The key can be personal data: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The system that sent it.
    pub source: SourceId,
    /// The record's key there.
    pub key: String,
}

impl fmt::Debug for SourceRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceRecord({}, ..)", self.source.0)
    }
}

/// What a fragment describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PartyKind {
    /// A human being.
    #[default]
    Person,
    /// A company, authority or other body.
    Organisation,
}

/// When the source says that the record looked so: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObservedAt(pub i64);

/// A claim that the party is known by this value; `raw` is kept as submitted and compared in canonical form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identifier {
    /// The kind of identifier.
    pub namespace: NamespaceId,
    /// The value as submitted, trimmed.
    pub raw: String,
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({}, ..)", self.namespace.0)
    }
}

/// A typed value. Numbers compare by their bits so that a fragment has one digest; NaN is refused at the door.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum AttributeValue {
    /// Any text.
    Text(String),
    /// A finite number.
    Number(f64),
    /// Yes or no.
    Flag(bool),
}

impl fmt::Debug for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(..)",
            Self::Number(_) => "Number(..)",
            Self::Flag(_) => "Flag(..)",
        })
    }
}

impl AttributeValue {
    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Flag(_) => None,
        }
    }
}

/// A named value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// Which attribute; the name is in the tenant's table.
    pub name: AttributeId,
    /// Its value.
    pub value: AttributeValue,
}

/// A role of a fragment's person in an account. It holds as long as the fragment is live. Personal data: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Affiliation {
    /// The account, as a source knows it. It may be told of later than this.
    pub account: SourceRecord,
    /// The role, as told; empty: not said. Case does not count.
    pub role: String,
    /// Since when.
    pub since: Moment,
    /// Until when; open where there is no end.
    pub until: Option<Moment>,
}

impl fmt::Debug for Affiliation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Affiliation({:?}, ..)", self.account)
    }
}

/// A stage of its party's lifecycle that a fragment tells of. Whether it is entered is for the tenant's stages to say. The
/// name is what the source calls it: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StageTold {
    /// When it was reached; absent: when the fragment was observed.
    pub at: Option<Moment>,
    /// Its name, trimmed and in lower case.
    pub name: String,
}

impl fmt::Debug for StageTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StageTold({:?}, ..)", self.at)
    }
}

/// One immutable submission about one source record. A newer one supersedes it. Personal data: `Debug` hides it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Fragment {
    /// Whose record.
    pub record: SourceRecord,
    /// When the source saw it so.
    pub observed_at: ObservedAt,
    /// Person or organisation.
    pub party: PartyKind,
    /// In canonical order: sorted, no pair twice.
    pub identifiers: Vec<Identifier>,
    /// In canonical order: by name; several values of one name keep the order in which they were sent.
    pub attributes: Vec<Attribute>,
    /// Free-form JSON object, kept as text and handed back as it came.
    pub traits: Option<String>,
    /// Roles of its person in accounts, in canonical order: sorted, each account and role once.
    #[serde(skip)]
    pub affiliations: Vec<Affiliation>,
    /// Stages that its party reached, in canonical order: sorted, each with its time once.
    #[serde(skip)]
    pub stages: Vec<StageTold>,
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (identifiers, attributes) = (self.identifiers.len(), self.attributes.len());
        write!(f, "Fragment({:?}, {identifiers} identifiers, {attributes} attributes, ..)", self.record)
    }
}

/// The first byte of a stored fragment: see [`Fragment::encode`].
const CODEC_VERSION: u8 = 2;
/// The first byte of one stored as postcard, as the first builds did. Read for ever.
const POSTCARD_VERSION: u8 = 1;

/// Bits of a stored fragment's second byte.
const ORGANISATION: u8 = 1;
const HAS_TRAITS: u8 = 1 << 1;
/// Two bits: which of [`UNITS`].
const UNIT_SHIFT: u32 = 2;
const UNIT_BITS: u8 = 0b11;
/// Roles of the person follow at the end.
const HAS_AFFILIATIONS: u8 = 1 << 4;
/// Stages of the party follow at the end.
const HAS_STAGES: u8 = 1 << 5;
const STORED_BITS: u8 = 0b11_1111;
/// Microseconds in a day, a second, a millisecond, a microsecond: sources tell time in one of them.
const UNITS: [i64; 4] = [86_400_000_000, 1_000_000, 1_000, 1];

/// Two bits beside an attribute's name: the type of its value.
const TEXT: u64 = 0;
const NUMBER: u64 = 1;
const NO: u64 = 2;
const YES: u64 = 3;

/// A stored fragment that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentDecodeError {
    /// Written by a newer release.
    #[error("the fragment is of version {0}, this release reads up to {CODEC_VERSION}")]
    Version(u8),
    /// Not a fragment, or cut short.
    #[error("the fragment's bytes are damaged")]
    Damaged,
}

impl Fragment {
    /// Brings identifiers and attributes into canonical order, so that equal facts have equal bytes.
    pub fn canonicalise(&mut self) {
        self.identifiers.sort();
        self.identifiers.dedup();
        self.attributes.sort_by_key(|attribute| attribute.name);
        self.affiliations.sort();
        self.affiliations.dedup();
        self.stages.sort();
        self.stages.dedup();
    }

    /// The compact stored form. Equal fragments in canonical order have equal bytes.
    ///
    /// ```text
    /// fragment   = 2 · party, traits, unit of time (1 byte) · source · key · time / unit, signed
    ///            · count, (namespace · value)* · count, (name × 4 + type · text or 8 bytes or nothing)* · [traits]
    ///            · [count, (source · key · role · since, signed · 0 or 1 · until, signed where 1)*]
    ///            · [count, (name · 0 or 1 · at, signed where 1)*]
    /// ```
    /// Numbers are varints, texts have their length in front.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let unit = UNITS.iter().position(|unit| self.observed_at.0 % unit == 0).unwrap_or(UNITS.len() - 1);
        let party = match self.party {
            PartyKind::Person => 0,
            PartyKind::Organisation => ORGANISATION,
        };
        let traits = if self.traits.is_some() { HAS_TRAITS } else { 0 };
        let mut out = Vec::with_capacity(256);
        let affiliations = if self.affiliations.is_empty() { 0 } else { HAS_AFFILIATIONS };
        let stages = if self.stages.is_empty() { 0 } else { HAS_STAGES };
        let bits = party | traits | affiliations | stages | (unit as u8) << UNIT_SHIFT;
        out.extend_from_slice(&[CODEC_VERSION, bits]);
        put(&mut out, self.record.source.0.into());
        put_text(&mut out, &self.record.key);
        put_signed(&mut out, self.observed_at.0 / UNITS[unit]);
        put(&mut out, self.identifiers.len() as u64);
        for identifier in &self.identifiers {
            put(&mut out, identifier.namespace.0.into());
            put_text(&mut out, &identifier.raw);
        }
        put(&mut out, self.attributes.len() as u64);
        for attribute in &self.attributes {
            let name = u64::from(attribute.name.0) << 2;
            match &attribute.value {
                AttributeValue::Text(text) => {
                    put(&mut out, name | TEXT);
                    put_text(&mut out, text);
                }
                AttributeValue::Number(number) => {
                    put(&mut out, name | NUMBER);
                    out.extend_from_slice(&number.to_le_bytes());
                }
                AttributeValue::Flag(flag) => put(&mut out, name | if *flag { YES } else { NO }),
            }
        }
        if let Some(traits) = &self.traits {
            put_text(&mut out, traits);
        }
        if !self.affiliations.is_empty() {
            put(&mut out, self.affiliations.len() as u64);
            for role in &self.affiliations {
                put(&mut out, role.account.source.0.into());
                put_text(&mut out, &role.account.key);
                put_text(&mut out, &role.role);
                put_signed(&mut out, role.since.0);
                out.push(u8::from(role.until.is_some()));
                if let Some(until) = role.until {
                    put_signed(&mut out, until.0);
                }
            }
        }
        if !self.stages.is_empty() {
            put(&mut out, self.stages.len() as u64);
            for stage in &self.stages {
                put_text(&mut out, &stage.name);
                out.push(u8::from(stage.at.is_some()));
                if let Some(at) = stage.at {
                    put_signed(&mut out, at.0);
                }
            }
        }
        out
    }

    fn unpack(body: &[u8]) -> Option<Self> {
        let mut packed = Packed(body);
        let bits = packed.byte().filter(|bits| bits & !STORED_BITS == 0)?;
        let source = SourceId(packed.small()?);
        let key = packed.text()?;
        let observed_at = ObservedAt(packed.signed()?.checked_mul(UNITS[usize::from(bits >> UNIT_SHIFT & UNIT_BITS)])?);
        let mut identifiers = Vec::with_capacity(packed.clone().count()?);
        for _ in 0..packed.count()? {
            identifiers.push(Identifier { namespace: NamespaceId(packed.small()?), raw: packed.text()? });
        }
        let mut attributes = Vec::with_capacity(packed.clone().count()?);
        for _ in 0..packed.count()? {
            let head = packed.number()?;
            let name = AttributeId((head >> 2).try_into().ok()?);
            let value = match head & 3 {
                TEXT => AttributeValue::Text(packed.text()?),
                NUMBER => AttributeValue::Number(f64::from_le_bytes(packed.array()?)),
                flag => AttributeValue::Flag(flag == YES),
            };
            attributes.push(Attribute { name, value });
        }
        let traits = if bits & HAS_TRAITS != 0 { Some(packed.text()?) } else { None };
        let mut affiliations = Vec::new();
        if bits & HAS_AFFILIATIONS != 0 {
            for _ in 0..packed.count()? {
                let account = SourceRecord { source: SourceId(packed.small()?), key: packed.text()? };
                let (role, since) = (packed.text()?, Moment(packed.signed()?));
                let until = moment_if_any(&mut packed)?;
                affiliations.push(Affiliation { account, role, since, until });
            }
        }
        let mut stages = Vec::new();
        if bits & HAS_STAGES != 0 {
            for _ in 0..packed.count()? {
                let name = packed.text()?;
                stages.push(StageTold { at: moment_if_any(&mut packed)?, name });
            }
        }
        let party = if bits & ORGANISATION != 0 { PartyKind::Organisation } else { PartyKind::Person };
        let record = SourceRecord { source, key };
        let whole = Self { record, observed_at, party, identifiers, attributes, traits, affiliations, stages };
        packed.0.is_empty().then_some(whole)
    }

    /// Reads what [`Fragment::encode`] wrote.
    ///
    /// # Errors
    /// [`FragmentDecodeError`] for another version or damaged bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FragmentDecodeError> {
        match bytes.split_first() {
            Some((&CODEC_VERSION, body)) => Self::unpack(body).ok_or(FragmentDecodeError::Damaged),
            Some((&POSTCARD_VERSION, body)) => postcard::from_bytes(body).map_err(|_| FragmentDecodeError::Damaged),
            Some((&version, _)) => Err(FragmentDecodeError::Version(version)),
            None => Err(FragmentDecodeError::Damaged),
        }
    }

    /// Digest of the facts themselves, the same on every installation (unkeyed: it lives in memory and in encrypted
    /// checkpoints only). `source` is named by its name, since ordinals depend on the order of creation; the caller
    /// gives `names` to turn the other ordinals of the tenant's own vocabulary into text.
    #[must_use]
    pub fn fact_digest(&self, names: &dyn Vocabulary) -> Digest128 {
        // One buffer, hashed at once: many small updates cost twice as much.
        let mut buffer = Vec::with_capacity(1_024);
        let mut field = |bytes: &[u8]| {
            buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            buffer.extend_from_slice(bytes);
        };
        field(names.source(self.record.source).as_bytes());
        field(self.record.key.as_bytes());
        field(&self.observed_at.0.to_le_bytes());
        field(&[self.party as u8]);
        // Ordinals of the tenant's own names depend on the order of creation, so neither may order the digest.
        let mut identifiers: Vec<(&str, &str)> =
            self.identifiers.iter().map(|i| (names.namespace(i.namespace), i.raw.as_str())).collect();
        identifiers.sort_unstable();
        field(&(identifiers.len() as u64).to_le_bytes());
        for (namespace, raw) in identifiers {
            field(namespace.as_bytes());
            field(raw.as_bytes());
        }
        let mut attributes: Vec<(&str, &AttributeValue)> =
            self.attributes.iter().map(|a| (names.attribute(a.name), &a.value)).collect();
        attributes.sort_by_key(|(name, _)| *name);
        for (name, value) in attributes {
            field(name.as_bytes());
            // The type is part of the fact: a text of one odd byte is not a flag.
            match value {
                AttributeValue::Text(text) => {
                    field(b"t");
                    field(text.as_bytes());
                }
                AttributeValue::Number(number) => {
                    field(b"n");
                    field(&number.to_bits().to_le_bytes());
                }
                AttributeValue::Flag(flag) => {
                    field(b"f");
                    field(&[u8::from(*flag)]);
                }
            }
        }
        field(self.traits.as_deref().unwrap_or_default().as_bytes());
        let told = |role: &Affiliation| {
            let source = names.source(role.account.source).to_owned();
            let until = role.until.map_or([0; 9], |until| {
                let mut bytes = [1; 9];
                bytes[1..].copy_from_slice(&until.0.to_le_bytes());
                bytes
            });
            (source, role.account.key.clone(), role.role.clone(), role.since.0, until)
        };
        let mut roles: Vec<_> = self.affiliations.iter().map(told).collect();
        roles.sort_unstable();
        for (source, key, role, since, until) in roles {
            for text in [source, key, role] {
                field(text.as_bytes());
            }
            field(&since.to_le_bytes());
            field(&until);
        }
        if !self.stages.is_empty() {
            field(b"stages");
        }
        for stage in &self.stages {
            field(stage.name.as_bytes());
            field(stage.at.map(|at| at.0.to_le_bytes()).as_ref().map_or(&[], |bytes| &bytes[..]));
        }
        Digest128::of(&blake3::hash(&buffer))
    }
}

/// A moment behind 1, or nothing behind 0.
fn moment_if_any(packed: &mut Packed<'_>) -> Option<Option<Moment>> {
    match packed.byte()? {
        0 => Some(None),
        1 => Some(Some(Moment(packed.signed()?))),
        _ => None,
    }
}

/// The tenant's names behind the ordinals.
pub trait Vocabulary {
    /// The source's name; empty when there is no such source.
    fn source(&self, id: SourceId) -> &str;
    /// The namespace's name; empty when there is no such namespace.
    fn namespace(&self, id: NamespaceId) -> &str;
    /// The attribute's name; empty when there is no such attribute.
    fn attribute(&self, id: AttributeId) -> &str;
}

#[cfg(test)]
mod tests;
