//! From a fragment to the texts that are compared, on the caller's thread.

use std::fmt;

use onefold_core::config::{TenantConfig, attribute};
use onefold_core::fragment::{AttributeValue, Fragment, PartyKind};
use onefold_core::identifier::{self, BlockRules, Canonical};
use onefold_core::ids::{AttributeId, NamespaceId};

use super::schema::{FieldKind, Origin, Schema};
use crate::normalise::address::{AddressFields, PostalAddress};
use crate::normalise::company::CompanyName;
use crate::normalise::date::{DateCustom, read_date};
use crate::normalise::name::{GenerationalSuffix, PersonName};
use crate::normalise::text::fold;

/// Bytes of a field's text that are compared; more is cut.
pub const FIELD_BYTES_MAX: usize = 512;

/// Stands between the values of a record that holds several of one kind; part of no canonical value.
pub(super) const SEVERAL: char = '\u{1f}';
/// Who has more values of one kind is not compared by them: they link as all do, and say nothing beside that.
const SEVERAL_MAX: usize = 8;

/// The normalised texts of one fragment in the order of its schema; empty where unknown. Personal data: `Debug` hides it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Features {
    text: String,
    /// Where each field's text ends.
    ends: smallvec::SmallVec<[u16; 16]>,
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({} fields, ..)", self.ends.len())
    }
}

impl Features {
    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nothing is known at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The texts, in the schema's order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[usize::from(start)..usize::from(*end)])
    }

    /// Appends the next field's text, cut to [`FIELD_BYTES_MAX`].
    pub fn push(&mut self, text: &str) {
        let end = (0..=text.len().min(FIELD_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.text.push_str(&text[..end]);
        // 32 fields of 512 bytes fit.
        self.ends.push(u16::try_from(self.text.len()).unwrap_or(u16::MAX));
    }
}

enum Reads {
    Name(Part),
    Organisation(usize),
    Form,
    Date,
    Gender,
    Address(Part),
    Attribute(AttributeId, FieldKind),
    Namespace(NamespaceId, BlockRules, onefold_core::namespace::Normaliser, FieldKind),
    Source,
    /// The tenant has no such attribute or namespace.
    Nothing,
}

#[derive(Clone, Copy)]
enum Part {
    Given,
    Middle,
    Family,
    Suffix,
    House,
    Street,
    Unit,
    City,
    Region,
    Postcode,
}

/// A schema compiled against a tenant's configuration.
pub struct Extractor {
    party: PartyKind,
    reads: Vec<Reads>,
    /// By ordinal.
    sources: Vec<String>,
}

impl fmt::Debug for Extractor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extractor({} fields)", self.reads.len())
    }
}

impl Extractor {
    /// Compiles the schema. Attributes and namespaces that the tenant does not have read as unknown.
    ///
    /// # Errors
    /// When a namespace's block rules do not compile.
    pub fn new(schema: &Schema, config: &TenantConfig) -> Result<Self, onefold_core::identifier::InvalidBlockRules> {
        let mut names_seen = 0;
        let mut reads = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            let read = match (&field.origin, field.kind) {
                (Origin::Attribute(name), kind) => config
                    .attribute_names
                    .iter()
                    .position(|known| known == name)
                    .map_or(Reads::Nothing, |place| Reads::Attribute(AttributeId(place as u16), kind)),
                (Origin::Namespace(name), kind) => match config.namespace_named(name) {
                    Some(namespace) => {
                        let rules = BlockRules::compile(namespace, config.default_region.as_deref())?;
                        Reads::Namespace(namespace.id, rules, namespace.normaliser, kind)
                    }
                    None => Reads::Nothing,
                },
                (Origin::Normalised, kind) => match kind {
                    FieldKind::GivenName => Reads::Name(Part::Given),
                    FieldKind::MiddleName => Reads::Name(Part::Middle),
                    FieldKind::FamilyName => Reads::Name(Part::Family),
                    FieldKind::NameSuffix => Reads::Name(Part::Suffix),
                    FieldKind::BirthDate => Reads::Date,
                    FieldKind::Gender => Reads::Gender,
                    FieldKind::HouseNumber => Reads::Address(Part::House),
                    FieldKind::Street => Reads::Address(Part::Street),
                    FieldKind::Unit => Reads::Address(Part::Unit),
                    FieldKind::City => Reads::Address(Part::City),
                    FieldKind::Region => Reads::Address(Part::Region),
                    FieldKind::Postcode => Reads::Address(Part::Postcode),
                    FieldKind::OrganisationName => {
                        names_seen += 1;
                        Reads::Organisation(names_seen - 1)
                    }
                    FieldKind::LegalForm => Reads::Form,
                    FieldKind::Source => Reads::Source,
                    FieldKind::Phone
                    | FieldKind::Email
                    | FieldKind::Domain
                    | FieldKind::Identifier
                    | FieldKind::Text
                    | FieldKind::Number => Reads::Nothing,
                },
            };
            reads.push(read);
        }
        let sources = config.sources.iter().map(|source| source.name.clone()).collect();
        Ok(Self { party: schema.party, reads, sources })
    }

    /// The party that the schema describes.
    #[must_use]
    pub const fn party(&self) -> PartyKind {
        self.party
    }

    /// The fragment's texts. `region` is the country whose customs it is read by.
    #[must_use]
    pub fn features(&self, fragment: &Fragment, region: Option<&str>) -> Features {
        let text = |name: AttributeId| attribute_text(fragment, name).unwrap_or_default();
        let (given, family) = (text(attribute::GIVEN_NAME), text(attribute::FAMILY_NAME));
        let name = || {
            let whole = text(attribute::FULL_NAME);
            PersonName::from_parts(given, text(attribute::MIDDLE_NAME), family, text(attribute::NAME_SUFFIX))
                .map(|parts| complete(parts, whole))
                .or_else(|| PersonName::parse(whole))
                .unwrap_or_default()
        };
        let name = if self.party == PartyKind::Person { name() } else { PersonName::default() };
        let address = PostalAddress::parse(
            AddressFields {
                street: text(attribute::ADDRESS_STREET),
                unit: text(attribute::ADDRESS_UNIT),
                city: text(attribute::ADDRESS_CITY),
                region: text(attribute::ADDRESS_REGION),
                postcode: text(attribute::ADDRESS_POSTCODE),
                country: text(attribute::ADDRESS_COUNTRY),
            },
            region,
        )
        .unwrap_or_default();
        let organisation = |raw: &str| CompanyName::parse(raw).unwrap_or_default();
        let legal = if self.party == PartyKind::Organisation {
            let raw = [attribute::LEGAL_NAME, attribute::FULL_NAME, attribute::TRADING_NAME];
            raw.into_iter().find_map(|name| attribute_text(fragment, name)).map(organisation).unwrap_or_default()
        } else {
            CompanyName::default()
        };
        let mut features = Features::default();
        for read in &self.reads {
            match read {
                Reads::Name(part) => features.push(match part {
                    Part::Given => &name.given,
                    Part::Middle => &name.middle,
                    Part::Suffix => name.suffix.map_or("", GenerationalSuffix::as_str),
                    _ => &name.family,
                }),
                Reads::Organisation(0) => features.push(&legal.core),
                Reads::Organisation(_) => {
                    let trading = text(attribute::TRADING_NAME);
                    features.push(&organisation(trading).core);
                }
                Reads::Form => features.push(legal.forms.first().copied().unwrap_or_default()),
                Reads::Date => {
                    let custom = DateCustom::of(region, fragment.observed_at);
                    features.push(&date_digits(text(attribute::BIRTH_DATE), custom));
                }
                Reads::Gender => {
                    let folded = fold(text(attribute::GENDER));
                    features.push(match folded.as_str() {
                        "m" | "male" | "man" | "mr" | "1" | "homme" | "hombre" | "mann" => "m",
                        "f" | "w" | "female" | "woman" | "ms" | "mrs" | "2" | "femme" | "mujer" | "frau" => "f",
                        _ => "",
                    });
                }
                Reads::Address(part) => features.push(match part {
                    Part::House => &address.line.number,
                    Part::Street if address.line.street.is_empty() => &address.line.po_box,
                    Part::Street => &address.line.street,
                    Part::Unit => &address.line.unit,
                    Part::City => &address.city,
                    Part::Region => &address.region,
                    _ => address.postcode.as_ref().map_or("", |code| code.code.as_str()),
                }),
                Reads::Attribute(name, kind) => features.push(&free_text(fragment, *name, *kind)),
                Reads::Namespace(namespace, rules, normaliser, kind) => {
                    let values = fragment
                        .identifiers
                        .iter()
                        .filter(|claim| claim.namespace == *namespace)
                        .filter_map(|claim| identifier::canonicalise(*normaliser, &claim.raw, region).ok())
                        .filter(|value| rules.blocked(value).is_none())
                        .map(Canonical::into_string);
                    // Whoever answers `info@` today says nothing about who a person is.
                    let nobodys = |value: &str| {
                        self.party == PartyKind::Person
                            && *kind == FieldKind::Email
                            && identifier::email::is_role_mailbox(value)
                    };
                    features.push(&match kind {
                        FieldKind::Email => all_of(values.filter(|value| !nobodys(value))),
                        FieldKind::Phone => all_of(values.map(|value| value.trim_start_matches('+').to_owned())),
                        _ => values.into_iter().next().unwrap_or_default(),
                    });
                }
                Reads::Source => {
                    features.push(self.sources.get(usize::from(fragment.record.source.0)).map_or("", String::as_str))
                }
                Reads::Nothing => features.push(""),
            }
        }
        features
    }
}

/// The values as one text, in an order of their own: which of somebody's addresses a source named first says nothing.
fn all_of(values: impl Iterator<Item = String>) -> String {
    let mut values: smallvec::SmallVec<[String; 2]> = values.collect();
    if values.len() < 2 {
        return values.pop().unwrap_or_default();
    }
    values.sort_unstable();
    values.dedup();
    let text = values.join(SEVERAL.encode_utf8(&mut [0; 4]));
    if values.len() > SEVERAL_MAX || text.len() > FIELD_BYTES_MAX { String::new() } else { text }
}

/// A whole name beside its parts fills what the parts leave out.
fn complete(mut parts: PersonName, whole: &str) -> PersonName {
    if (parts.given.is_empty() || parts.family.is_empty() || parts.middle.is_empty())
        && let Some(read) = PersonName::parse(whole)
    {
        if parts.given.is_empty() && parts.family == read.family {
            parts.given = read.given.clone();
        }
        if parts.family.is_empty() && parts.given == read.given {
            parts.family = read.family.clone();
        }
        if parts.middle.is_empty() && parts.given == read.given {
            parts.middle = read.middle;
        }
    }
    parts
}

/// `yyyymmdd` of a date, `yyyy` or `yyyymm` of a partial one, the digits of what is no date but looks like one.
fn date_digits(text: &str, custom: DateCustom) -> String {
    if let Some(read) = read_date(text, custom) {
        let date = read.date;
        return match (date.month, date.day) {
            (Some(month), Some(day)) => format!("{:04}{month:02}{day:02}", date.year),
            (Some(month), None) => format!("{:04}{month:02}", date.year),
            _ => format!("{:04}", date.year),
        };
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if (6..=8).contains(&digits.len()) { digits } else { String::new() }
}

fn free_text(fragment: &Fragment, name: AttributeId, kind: FieldKind) -> String {
    let mut joined = String::new();
    for value in fragment.attributes.iter().filter(|attribute| attribute.name == name) {
        let text = match &value.value {
            AttributeValue::Text(text) => fold(text),
            AttributeValue::Number(number) => number.to_string(),
            AttributeValue::Flag(flag) => flag.to_string(),
        };
        if !joined.is_empty() && !text.is_empty() {
            joined.push(' ');
        }
        joined.push_str(&text);
    }
    if kind == FieldKind::Number {
        let raw = attribute_text(fragment, name).unwrap_or(&joined);
        return number_text(raw);
    }
    joined
}

/// The first number in a text, written plainly.
pub(crate) fn number_text(raw: &str) -> String {
    let start = raw.find(|c: char| c.is_ascii_digit());
    let Some(start) = start else { return String::new() };
    let end = raw[start..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(raw.len(), |end| start + end);
    raw[start..end].trim_matches('.').parse::<f64>().map(|number| number.to_string()).unwrap_or_default()
}

fn attribute_text(fragment: &Fragment, name: AttributeId) -> Option<&str> {
    let value = fragment.attributes.iter().find(|attribute| attribute.name == name)?;
    value.value.as_text().filter(|text| !text.trim().is_empty())
}
