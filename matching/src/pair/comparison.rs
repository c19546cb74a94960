//! Comparisons: how one aspect of two records is compared, and the levels it can come out at.
//!
//! Level 0 always means that one side is silent; it carries no weight. The other levels run from the strongest agreement to
//! plain difference. Aspects that hang together (street and town) are compared as one, so that they are not counted twice.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::schema::{FieldKind, Schema};
use super::symbols::{ABSENT, Symbol, Symbols};

mod address;
mod contact;
mod date;
mod name;
mod organisation;
mod text;

use address::{place, street};

/// A comparison level's number.
pub type Level = u8;

/// One side is silent.
pub const SILENT: Level = 0;

/// What is compared, by the places of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Given name, with a look at the other name fields for exchanged ones.
    GivenName {
        /// Given name.
        given: usize,
        /// Middle names.
        middle: usize,
        /// Family name.
        family: usize,
        /// Generational suffix; models of before have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suffix: Option<usize>,
    },
    /// Family name, likewise.
    FamilyName {
        /// Given name.
        given: usize,
        /// Middle names.
        middle: usize,
        /// Family name.
        family: usize,
    },
    /// Middle names.
    MiddleName(usize),
    /// Birth date.
    BirthDate(usize),
    /// Equal or not.
    Exact(usize),
    /// House number and street together with town and postal code.
    Address {
        /// House number.
        house: usize,
        /// Street.
        street: usize,
        /// Unit.
        unit: usize,
        /// Town.
        city: usize,
        /// Postal code.
        postcode: usize,
        /// Region.
        region: usize,
    },
    /// Telephone number.
    Phone(usize),
    /// E-mail address.
    Email(usize),
    /// E-mail address of an organisation, whose host says no more than its domain does.
    EmailBeside {
        /// E-mail address.
        email: usize,
        /// Domain.
        domain: usize,
    },
    /// Names of an organisation: legal and trading name, either against either.
    Organisation {
        /// Legal name.
        name: usize,
        /// Trading name.
        trading: usize,
    },
    /// An identifier that may be mistyped.
    Identifier(usize),
    /// Words.
    Text(usize),
    /// A number.
    Number(usize),
}

/// A level, and what the model's frequencies are asked for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Which level.
    pub level: Level,
    /// What is known of how common that is on which the level rests.
    pub frequency: Frequency,
}

/// How common that is on which a level rests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Frequency {
    /// Nothing to say beyond the level.
    Usual,
    /// log2 of the share of records that hold the value that both hold.
    Value {
        /// Whose value.
        slot: u8,
        /// The logarithm.
        share_bits: f32,
    },
    /// The inverse document frequencies of the words that both hold, summed up.
    Words {
        /// Whose words.
        slot: u8,
        /// The sum, in bits.
        rarity_bits: f32,
        /// log2 of the share of records that hold the whole text, where both hold the same.
        whole: Option<f32>,
    },
}

/// Two rows to compare.
pub struct Pair<'a> {
    symbols: &'a Symbols,
    a: &'a [Symbol],
    b: &'a [Symbol],
    /// Whether given and family name are exchanged: two comparisons ask.
    exchanged: Cell<Option<bool>>,
}

impl fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pair({} fields, ..)", self.a.len())
    }
}

impl<'a> Pair<'a> {
    /// Two rows of one matcher.
    #[must_use]
    pub const fn new(symbols: &'a Symbols, a: &'a [Symbol], b: &'a [Symbol]) -> Self {
        Self { symbols, a, b, exchanged: Cell::new(None) }
    }

    fn exchanged(&self, given: usize, family: usize) -> bool {
        let known = self.exchanged.get();
        known.unwrap_or_else(|| {
            let found = name::exchanged(self.symbols, self.a, self.b, given, family);
            self.exchanged.set(Some(found));
            found
        })
    }
}

impl Outcome {
    const fn plain(level: Level) -> Self {
        Self { level, frequency: Frequency::Usual }
    }
}

impl Aspect {
    /// Number of levels, [`SILENT`] included.
    #[must_use]
    pub fn levels(&self) -> usize {
        match self {
            Self::GivenName { .. } | Self::FamilyName { .. } => 8,
            Self::MiddleName(_) => 5,
            Self::BirthDate(_) => 7,
            Self::Exact(_) => 3,
            Self::Address { .. } => usize::from(street::COUNT * place::COUNT),
            Self::Phone(_) => 4,
            Self::Email(_) | Self::EmailBeside { .. } => 5,
            Self::Organisation { .. } => 9,
            Self::Identifier(_) => 4,
            Self::Text(_) => 8,
            Self::Number(_) => 6,
        }
    }

    /// Levels from the first on that strangers seldom reach by chance; 0 where they often do.
    #[must_use]
    pub const fn near_levels(&self) -> usize {
        match self {
            Self::Organisation { .. } | Self::Text(_) => 3,
            Self::Identifier(_) | Self::Phone(_) | Self::Email(_) | Self::EmailBeside { .. } => 1,
            Self::GivenName { .. }
            | Self::FamilyName { .. }
            | Self::MiddleName(_)
            | Self::BirthDate(_)
            | Self::Exact(_)
            | Self::Address { .. }
            | Self::Number(_) => 0,
        }
    }

    /// What a level means, for people.
    #[must_use]
    pub fn level_name(&self, level: Level) -> String {
        let names: &[&str] = match self {
            Self::GivenName { .. } | Self::FamilyName { .. } => {
                &["absent", "exact", "same name", "close", "similar", "partial", "exchanged", "different"]
            }
            Self::MiddleName(_) => &["absent", "exact", "similar", "initial", "different"],
            Self::BirthDate(_) => &["absent", "exact", "one slip", "two parts", "near", "year", "different"],
            Self::Exact(_) => &["absent", "exact", "different"],
            Self::Address { .. } => {
                let streets = ["absent", "same door", "close door", "same street", "partly", "different"];
                let places = ["absent", "same", "same code", "close", "same town", "different"];
                let (street, place) = (level / place::COUNT, level % place::COUNT);
                return match (streets.get(usize::from(street)), places.get(usize::from(place))) {
                    _ if level == SILENT => "absent".to_owned(),
                    (Some(street), Some(place)) => format!("street {street}, place {place}"),
                    _ => "unknown".to_owned(),
                };
            }
            Self::Phone(_) => &["absent", "exact", "one slip", "different"],
            Self::Email(_) | Self::EmailBeside { .. } => &["absent", "exact", "close", "same user", "different"],
            Self::Organisation { .. } => {
                &["absent", "exact", "nearly", "close", "similar", "alike", "acronym", "partial", "different"]
            }
            Self::Identifier(_) => &["absent", "exact", "one slip", "different"],
            Self::Text(_) => &["absent", "exact", "nearly", "close", "similar", "alike", "faint", "different"],
            Self::Number(_) => &["absent", "exact", "nearly", "close", "near", "different"],
        };
        names.get(usize::from(level)).copied().unwrap_or("unknown").to_owned()
    }

    /// The slots that the aspect reads, for telling which blocking rules speak of it.
    #[must_use]
    pub fn slots(&self) -> Vec<usize> {
        match *self {
            Self::GivenName { given, .. } => vec![given],
            Self::FamilyName { family, .. } => vec![family],
            Self::Address { house, street, unit, city, postcode, region } => {
                vec![house, street, unit, city, postcode, region]
            }
            Self::Organisation { name, trading } => vec![name, trading],
            Self::EmailBeside { email, .. } => vec![email],
            Self::MiddleName(slot)
            | Self::BirthDate(slot)
            | Self::Exact(slot)
            | Self::Phone(slot)
            | Self::Email(slot)
            | Self::Identifier(slot)
            | Self::Text(slot)
            | Self::Number(slot) => vec![slot],
        }
    }

    /// All slots that the aspect reads, those that only help another one included.
    #[must_use]
    pub fn all_slots(&self) -> Vec<usize> {
        match *self {
            Self::GivenName { given, middle, family, suffix } => {
                [Some(given), Some(middle), Some(family), suffix].into_iter().flatten().collect()
            }
            Self::FamilyName { given, middle, family } => vec![given, middle, family],
            Self::EmailBeside { email, domain } => vec![email, domain],
            _ => self.slots(),
        }
    }

    /// The name of the comparison, for people.
    #[must_use]
    pub fn name(&self, schema: &Schema) -> String {
        match self {
            Self::Address { .. } => "address".to_owned(),
            other => other.slots().first().map_or_else(String::new, |slot| schema.fields[*slot].name.clone()),
        }
    }

    /// Compares one aspect of two rows.
    #[must_use]
    pub fn compare(&self, rows: &Pair<'_>) -> Outcome {
        let Pair { symbols, a, b, .. } = *rows;
        let pair = |slot: usize| (a[slot], b[slot]);
        match *self {
            Self::GivenName { given, middle, family, suffix } => name::given_name(rows, given, middle, family, suffix),
            Self::FamilyName { given, middle, family } => name::family_name(rows, given, middle, family),
            Self::MiddleName(slot) => name::middle_name(symbols, pair(slot)),
            Self::BirthDate(slot) => date::birth_date(symbols, pair(slot)),
            Self::Exact(slot) => match pair(slot) {
                (ABSENT, _) | (_, ABSENT) => Outcome::plain(SILENT),
                (left, right) if left == right => Outcome::plain(1),
                _ => Outcome::plain(2),
            },
            Self::Address { house, street, unit, city, postcode, region } => {
                address::address(symbols, a, b, [house, street, unit, city, postcode, region])
            }
            Self::Phone(slot) => contact::digits(symbols, pair(slot)),
            Self::Email(slot) => contact::email(symbols, pair(slot)),
            Self::EmailBeside { domain, .. } if a[domain] != ABSENT && b[domain] != ABSENT => Outcome::plain(SILENT),
            Self::EmailBeside { email: slot, .. } => contact::email(symbols, pair(slot)),
            Self::Organisation { name, trading } => organisation::organisation(symbols, a, b, name, trading),
            Self::Identifier(slot) => contact::identifier(symbols, pair(slot)),
            Self::Text(slot) => text::text(symbols, pair(slot)),
            Self::Number(slot) => text::number(symbols, pair(slot)),
        }
    }
}

fn exact(symbols: &Symbols, symbol: Symbol) -> Outcome {
    let entry = &symbols.entries[symbol];
    Outcome { level: 1, frequency: Frequency::Value { slot: entry.slot, share_bits: entry.log_frequency } }
}
/// The comparisons that fit a schema, in a fixed order.
#[must_use]
pub fn aspects(schema: &Schema) -> Vec<Aspect> {
    let slot = |kind: FieldKind| schema.slot(kind);
    let mut aspects = Vec::new();
    if let (Some(given), Some(middle), Some(family)) =
        (slot(FieldKind::GivenName), slot(FieldKind::MiddleName), slot(FieldKind::FamilyName))
    {
        aspects.push(Aspect::GivenName { given, middle, family, suffix: slot(FieldKind::NameSuffix) });
        aspects.push(Aspect::FamilyName { given, middle, family });
        aspects.push(Aspect::MiddleName(middle));
    }
    let organisations: Vec<usize> =
        (0..schema.fields.len()).filter(|at| schema.fields[*at].kind == FieldKind::OrganisationName).collect();
    if let [name, trading] = *organisations.as_slice() {
        aspects.push(Aspect::Organisation { name, trading });
    }
    if let (Some(house), Some(street), Some(unit), Some(city), Some(postcode), Some(region)) = (
        slot(FieldKind::HouseNumber),
        slot(FieldKind::Street),
        slot(FieldKind::Unit),
        slot(FieldKind::City),
        slot(FieldKind::Postcode),
        slot(FieldKind::Region),
    ) {
        aspects.push(Aspect::Address { house, street, unit, city, postcode, region });
    }
    for (at, field) in schema.fields.iter().enumerate() {
        aspects.push(match field.kind {
            FieldKind::BirthDate => Aspect::BirthDate(at),
            FieldKind::Gender | FieldKind::LegalForm | FieldKind::Source => Aspect::Exact(at),
            FieldKind::Phone => Aspect::Phone(at),
            FieldKind::Email => match slot(FieldKind::Domain) {
                Some(domain) => Aspect::EmailBeside { email: at, domain },
                None => Aspect::Email(at),
            },
            FieldKind::Domain | FieldKind::Identifier => Aspect::Identifier(at),
            FieldKind::Text => Aspect::Text(at),
            FieldKind::Number => Aspect::Number(at),
            _ => continue,
        });
    }
    aspects
}
