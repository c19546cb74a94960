//! Kinds of identifier and their laws.

use serde::{Deserialize, Serialize};

use crate::ids::NamespaceId;

/// What a shared value proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NamespaceClass {
    /// One value belongs to one party, and a party holds at most one: links, and vetoes (law 5).
    Unique,
    /// One value belongs to one party, which may hold several: links.
    Identifying,
    /// Finds candidates and adds weight; never links by itself.
    Supporting,
}

/// How raw values become comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Normaliser {
    /// See [`crate::identifier::email`].
    Email,
    /// See [`crate::identifier::phone`].
    Phone,
    /// See [`crate::identifier::domain`].
    Domain,
    /// Letters and digits only, folded to lower case: registration numbers, card numbers, tax ids.
    Alphanumeric,
    /// Trimmed, otherwise as it came: opaque ids in which case matters.
    Verbatim,
    /// Trimmed and folded to lower case.
    Folded,
}

impl Normaliser {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Email, Self::Phone, Self::Domain, Self::Alphanumeric, Self::Verbatim, Self::Folded];
}

/// A namespace and its laws.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its ordinal.
    pub id: NamespaceId,
    /// Its name: lower case, digits, `_`, `.`.
    pub name: String,
    /// What a shared value proves.
    pub class: NamespaceClass,
    /// How raw values become comparable.
    pub normaliser: Normaliser,
    /// Strength among namespaces of one class: a higher one is tried first.
    pub priority: u16,
    /// More distinct names, or distinct unique identifiers, than this behind one value make it generic: it links nobody.
    pub diversity_limit: u16,
    /// Values that never link, in canonical form.
    pub blocked_values: Vec<String>,
    /// Patterns (regular expressions, matched against the whole canonical value) that never link.
    pub blocked_patterns: Vec<String>,
    /// Whether the built-in junk rules (zeroes, `null`, `test`, `noreply@…`, example domains, 555-01xx) apply.
    pub junk_defaults: bool,
}

/// The namespaces every tenant starts with. Their ordinals are fixed for ever; a tenant may change their laws.
#[must_use]
pub fn built_in() -> Vec<Namespace> {
    use NamespaceClass::{Identifying, Supporting, Unique};
    let table = [
        ("user_id", Unique, Normaliser::Verbatim, 900, 8),
        ("tax_id", Unique, Normaliser::Alphanumeric, 890, 4),
        ("registration_id", Identifying, Normaliser::Alphanumeric, 880, 4),
        ("crm_id", Identifying, Normaliser::Verbatim, 800, 4),
        ("loyalty_id", Identifying, Normaliser::Alphanumeric, 700, 4),
        ("external_id", Identifying, Normaliser::Verbatim, 650, 4),
        ("email", Identifying, Normaliser::Email, 600, 4),
        ("phone", Identifying, Normaliser::Phone, 500, 4),
        ("anonymous_id", Identifying, Normaliser::Verbatim, 400, 4),
        ("device_id", Identifying, Normaliser::Folded, 300, 4),
        ("passport_id", Identifying, Normaliser::Alphanumeric, 870, 3),
        ("driver_licence_id", Identifying, Normaliser::Alphanumeric, 860, 3),
        ("domain", Supporting, Normaliser::Domain, 100, 50),
        ("social_handle", Identifying, Normaliser::Folded, 350, 4),
        ("account_key", Supporting, Normaliser::Verbatim, 90, 50),
    ];
    table
        .into_iter()
        .enumerate()
        .map(|(ordinal, (name, class, normaliser, priority, diversity_limit))| Namespace {
            id: NamespaceId(ordinal as u16),
            name: name.to_owned(),
            class,
            normaliser,
            priority,
            diversity_limit,
            blocked_values: Vec::new(),
            blocked_patterns: Vec::new(),
            junk_defaults: true,
        })
        .collect()
}
