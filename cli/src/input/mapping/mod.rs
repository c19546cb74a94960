//! What the columns of a file mean: guessed from headers and a look at the values, or given in a file.

mod file;
mod guess;
mod headers;
mod shape;
mod time;

use std::fmt;

use onefold_core::namespace::{Namespace, NamespaceClass, Normaliser, built_in};
use onefold_matching::normalise::text::fold;

pub use file::{MappingFault, MappingFile};
pub use guess::guess;
pub(in crate::input) use headers::names_identifier;
pub use shape::{Shaped, Shaper};
pub use time::{DateOrder, observed_at};

/// What one column means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The record's key in its source.
    RecordId,
    /// The true cluster: scored against, never a feature.
    Truth,
    /// The name of the source.
    Source,
    /// When the source saw it so.
    ObservedAt,
    /// Person or organisation.
    RecordType,
    /// The name of the party, whichever kind it is.
    Name,
    /// Day of birth.
    BirthDay,
    /// Month of birth.
    BirthMonth,
    /// Year of birth.
    BirthYear,
    /// The key, in the record's own source, of the account in which its person has a role.
    Affiliation,
    /// That role.
    AffiliationRole,
    /// A stage that its party reached.
    Stage,
    /// When it was reached.
    StageTime,
    /// An identifier in this namespace.
    Identifier(String),
    /// A value of this attribute.
    Attribute(String),
    /// Nothing.
    Ignore,
}

/// The roles without a name behind them, as they are written.
const PLAIN: &[(&str, Role)] = &[
    ("record_id", Role::RecordId),
    ("truth", Role::Truth),
    ("source", Role::Source),
    ("observed_at", Role::ObservedAt),
    ("record_type", Role::RecordType),
    ("name", Role::Name),
    ("birth_day", Role::BirthDay),
    ("birth_month", Role::BirthMonth),
    ("birth_year", Role::BirthYear),
    ("affiliation", Role::Affiliation),
    ("affiliation_role", Role::AffiliationRole),
    ("stage", Role::Stage),
    ("stage_time", Role::StageTime),
    ("ignore", Role::Ignore),
];

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identifier(namespace) => write!(f, "identifier:{namespace}"),
            Self::Attribute(name) => write!(f, "attribute:{name}"),
            plain => {
                let text = PLAIN.iter().find(|(_, role)| role == plain).map_or("ignore", |(text, _)| text);
                f.write_str(text)
            }
        }
    }
}

impl Role {
    /// Reads the written form; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = |name: &str| (is_name(name)).then(|| name.to_owned());
        if let Some(namespace) = text.strip_prefix("identifier:") {
            return name(namespace).map(Self::Identifier);
        }
        if let Some(attribute) = text.strip_prefix("attribute:") {
            return name(attribute).map(Self::Attribute);
        }
        PLAIN.iter().find(|(plain, _)| *plain == text).map(|(_, role)| role.clone())
    }
}

/// Whether this may name a source, namespace or attribute.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= onefold_core::limits::NAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte))
}

/// Any text as a name: lower case, `_` for what may not be in one.
#[must_use]
pub fn as_name(text: &str) -> String {
    let mut name = String::new();
    let mut before = ' ';
    let folded = if text.is_ascii() { text.to_owned() } else { fold(text) };
    for letter in folded.chars() {
        // `firstName` reads as two words.
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            name.push('_');
        }
        before = letter;
        match letter.to_ascii_lowercase() {
            folded if folded.is_ascii_alphanumeric() || folded == '.' => name.push(folded),
            _ if name.is_empty() || name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    name.truncate(onefold_core::limits::NAME_BYTES_MAX);
    let name = name.trim_matches(['_', '.']).to_owned();
    if name.is_empty() { "column".to_owned() } else { name }
}

/// Who told us what a column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The header's words.
    Header,
    /// The looks of the values.
    Values,
    /// The mapping file or an option.
    Given,
    /// Nothing did.
    Nothing,
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Values => "values",
            Self::Given => "given",
            Self::Nothing => "-",
        })
    }
}

/// One column's meaning, and how full it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnMapping {
    /// The header, or the path in a JSON object.
    pub column: String,
    /// What it means.
    pub role: Role,
    /// Who said so.
    pub ground: Ground,
    /// Rows of the sample with a value, out of a thousand.
    pub filled_permille: u32,
    /// Different values among those, out of a thousand.
    pub distinct_permille: u32,
}

/// Whether rows describe persons or organisations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartyRule {
    /// All persons.
    Person,
    /// All organisations.
    Organisation,
    /// The record type column says; without a word there, a person.
    ByRow,
}

impl fmt::Display for PartyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Person => "person",
            Self::Organisation => "organisation",
            Self::ByRow => "by_row",
        })
    }
}

/// The meaning of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// Persons or organisations.
    pub party: PartyRule,
    /// The source's name where no column tells it.
    pub source: String,
    /// How times like 03/04/2024 are read.
    pub date_order: DateOrder,
    /// By column, in the file's order.
    pub columns: Vec<ColumnMapping>,
    /// Namespaces beside the built-in ones.
    pub namespaces: Vec<Namespace>,
}

impl Mapping {
    /// Whether any column tells something about a party.
    #[must_use]
    pub fn has_facts(&self) -> bool {
        self.columns.iter().any(|column| {
            matches!(
                column.role,
                Role::Name
                    | Role::Identifier(_)
                    | Role::Attribute(_)
                    | Role::BirthYear
                    | Role::BirthMonth
                    | Role::BirthDay
            )
        })
    }

    /// Whether any column can link records.
    #[must_use]
    pub fn has_linking_identifier(&self) -> bool {
        let built_in = built_in();
        let mut known = built_in.iter().chain(&self.namespaces);
        self.columns.iter().any(|column| match &column.role {
            Role::Identifier(name) => {
                known.clone().any(|namespace| namespace.name == *name && namespace.class != NamespaceClass::Supporting)
            }
            _ => false,
        }) && known.next().is_some()
    }

    /// The column with this role, where one has it.
    #[must_use]
    pub fn column_of(&self, role: &Role) -> Option<usize> {
        self.columns.iter().position(|column| column.role == *role)
    }
}

/// A namespace of the tenant's own for ids that no built-in one is for: identifying, letters and digits compared.
#[must_use]
pub fn own_namespace(name: &str) -> Namespace {
    Namespace {
        // The place among the tenant's namespaces is known only once all files are looked at.
        id: onefold_core::ids::NamespaceId(u16::MAX),
        name: name.to_owned(),
        class: NamespaceClass::Identifying,
        normaliser: Normaliser::Alphanumeric,
        priority: 640,
        diversity_limit: 4,
        blocked_values: Vec::new(),
        blocked_patterns: Vec::new(),
        junk_defaults: true,
    }
}

/// The nearest of the known names, when it is near enough to be meant.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|other| (strsim::osa_distance(name, other), other))
        .filter(|(distance, other)| *distance <= 1 + other.len().min(name.len()) / 3)
        .min()
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests;
