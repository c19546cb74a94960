//! What a source submits, and the compact form in which it is kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{AttributeId, Digest128, NamespaceId, SourceId};

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
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (identifiers, attributes) = (self.identifiers.len(), self.attributes.len());
        write!(f, "Fragment({:?}, {identifiers} identifiers, {attributes} attributes, ..)", self.record)
    }
}

/// The first byte of a stored fragment.
const CODEC_VERSION: u8 = 1;

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
    }

    /// The compact stored form: a version byte and postcard. Equal fragments in canonical order have equal bytes.
    ///
    /// # Panics
    /// Never: every field has an encoding and the sink is memory.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![CODEC_VERSION]).expect("a fragment in memory always encodes")
    }

    /// Reads what [`Fragment::encode`] wrote.
    ///
    /// # Errors
    /// [`FragmentDecodeError`] for another version or damaged bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FragmentDecodeError> {
        match bytes.split_first() {
            Some((&CODEC_VERSION, body)) => postcard::from_bytes(body).map_err(|_| FragmentDecodeError::Damaged),
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
        Digest128::of(&blake3::hash(&buffer))
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
mod tests {
    use super::*;
    use crate::config::TenantConfig;

    fn fragment(value: AttributeValue) -> Fragment {
        Fragment {
            record: SourceRecord { source: SourceId(0), key: "1".to_owned() },
            observed_at: ObservedAt(5),
            party: PartyKind::Person,
            identifiers: vec![Identifier { namespace: NamespaceId(6), raw: "ada@acme.com".to_owned() }],
            attributes: vec![Attribute { name: AttributeId(1), value }],
            traits: Some("{}".to_owned()),
        }
    }

    #[test]
    fn facts_of_different_types_are_different_facts() {
        let config = TenantConfig::new("t", "T");
        let values = [
            AttributeValue::Text("\u{1}".to_owned()),
            AttributeValue::Flag(true),
            AttributeValue::Flag(false),
            AttributeValue::Text("\0\0\0\0\0\0\0\0".to_owned()),
            AttributeValue::Number(0.0),
        ];
        let digests: std::collections::BTreeSet<Digest128> =
            values.iter().map(|value| fragment(value.clone()).fact_digest(&config)).collect();
        assert_eq!(digests.len(), values.len());
    }

    #[test]
    fn a_stored_fragment_reads_back_and_names_the_version_it_cannot_read() {
        let stored = fragment(AttributeValue::Number(1.5));
        let mut bytes = stored.encode();
        assert_eq!(Fragment::decode(&bytes), Ok(stored));
        for cut in 1..bytes.len() {
            assert_eq!(Fragment::decode(&bytes[..cut]), Err(FragmentDecodeError::Damaged), "cut at {cut}");
        }
        bytes[0] = 2;
        assert_eq!(Fragment::decode(&bytes), Err(FragmentDecodeError::Version(2)));
    }
}
