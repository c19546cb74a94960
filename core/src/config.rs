//! A tenant's configuration: sources and their contracts, namespaces, survivorship, attribute names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::consent::policy::ConsentPolicy;
use crate::fragment::Vocabulary;
use crate::ids::{AttributeId, NamespaceId, SourceId};
use crate::namespace::{self, Namespace};

/// The source of what stewards correct (GDPR Art. 16): made when it is first needed. Nobody sends to it.
pub const STEWARD_SOURCE: &str = "rectification";
/// Its trust, above that of every system: what it says wins under every rule of survivorship.
pub const STEWARD_TRUST: u16 = u16::MAX;

/// A system that sends fragments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its ordinal.
    pub id: SourceId,
    /// Its name: lower case, digits, `_`, `-`, `.`.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// Higher is believed over lower by the most-trusted-source rule. 0 to 1000.
    pub trust: u16,
    /// What its fragments must look like.
    pub contract: Contract,
}

/// What a source promises about its fragments. A fragment that breaks it goes to quarantine, whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// At least one of these namespaces must be present with a well-formed value; empty asks nothing.
    pub require_any_namespace: Vec<NamespaceId>,
    /// Whether a malformed or unknown identifier breaks the contract; otherwise it is kept as a fact and never links.
    pub strict_identifiers: bool,
    /// Whether attributes without a rule here break the contract.
    pub closed: bool,
    /// Rules by attribute name, and under the names in [`told`].
    pub attributes: BTreeMap<String, AttributeRule>,
}

/// Where [`Contract::attributes`] holds what is asked of roles in accounts, of stages, and of the steps between them. No
/// attribute can have such a name, and a stored contract keeps the shape that it always had.
pub mod told {
    /// Of roles in accounts: whether one is required, and which are allowed.
    pub const ROLES: &str = "@affiliations";
    /// Of stages: whether one is required, and which are allowed.
    pub const STAGES: &str = "@stages";
    /// There when a stage that would not be entered breaks the contract.
    pub const STEPS: &str = "@stage_steps";
}

/// What one attribute must look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttributeRule {
    /// Must be there.
    pub required: bool,
    /// Its type.
    pub kind: AttributeKind,
    /// A regular expression that the whole text must match.
    pub pattern: Option<String>,
    /// The only texts allowed; empty allows all.
    pub allowed: Vec<String>,
    /// Smallest number allowed.
    pub minimum: Option<f64>,
    /// Largest number allowed.
    pub maximum: Option<f64>,
}

/// The type that a contract asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeKind {
    /// Anything.
    #[default]
    Any,
    /// Text.
    Text,
    /// A number.
    Number,
    /// Yes or no.
    Flag,
    /// Text that reads as a calendar date.
    Date,
}

/// How the golden value of an attribute is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Survivorship {
    /// Of the newest fragment that has one.
    #[default]
    MostRecent,
    /// Of the source with the highest trust; among equals the newest.
    MostTrusted,
    /// The value that most fragments give; among equals the newest.
    MostFrequent,
    /// The longest text; among equals the newest.
    Longest,
    /// All distinct values, newest first.
    AllValues,
}

/// Names of attributes with fixed ordinals, known to the matcher. Names with a dot in front of the last word form a
/// group (`address.street`, `address.city`): survivorship takes a group whole, from one fragment.
pub const BUILT_IN_ATTRIBUTES: &[&str] = &[
    "full_name",
    "given_name",
    "middle_name",
    "family_name",
    "name_suffix",
    "birth_date",
    "gender",
    "address.street",
    "address.unit",
    "address.city",
    "address.region",
    "address.postcode",
    "address.country",
    "legal_name",
    "trading_name",
    "industry",
    "website",
    "job_title",
    "language",
    "time_zone",
    "birth_place",
    "occupation",
    "nationality",
];

/// Ordinals of the built-in attributes that the matcher reads; a test holds them to [`BUILT_IN_ATTRIBUTES`].
pub mod attribute {
    use crate::ids::AttributeId;

    /// `full_name`.
    pub const FULL_NAME: AttributeId = AttributeId(0);
    /// `given_name`.
    pub const GIVEN_NAME: AttributeId = AttributeId(1);
    /// `middle_name`.
    pub const MIDDLE_NAME: AttributeId = AttributeId(2);
    /// `family_name`.
    pub const FAMILY_NAME: AttributeId = AttributeId(3);
    /// `name_suffix`.
    pub const NAME_SUFFIX: AttributeId = AttributeId(4);
    /// `birth_date`.
    pub const BIRTH_DATE: AttributeId = AttributeId(5);
    /// `gender`.
    pub const GENDER: AttributeId = AttributeId(6);
    /// `address.street`.
    pub const ADDRESS_STREET: AttributeId = AttributeId(7);
    /// `address.unit`.
    pub const ADDRESS_UNIT: AttributeId = AttributeId(8);
    /// `address.city`.
    pub const ADDRESS_CITY: AttributeId = AttributeId(9);
    /// `address.region`.
    pub const ADDRESS_REGION: AttributeId = AttributeId(10);
    /// `address.postcode`.
    pub const ADDRESS_POSTCODE: AttributeId = AttributeId(11);
    /// `address.country`.
    pub const ADDRESS_COUNTRY: AttributeId = AttributeId(12);
    /// `legal_name`.
    pub const LEGAL_NAME: AttributeId = AttributeId(13);
    /// `trading_name`.
    pub const TRADING_NAME: AttributeId = AttributeId(14);
}

/// The part of a tenant's configuration that is set as one: all but sources, namespaces and learned names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantSettings {
    /// The tenant's name: lower case, digits, `-`.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// ISO 3166 code for reading phone numbers without a country code.
    pub default_region: Option<String>,
    /// By attribute name or group.
    pub survivorship: BTreeMap<String, Survivorship>,
    /// For the rest.
    pub default_survivorship: Survivorship,
}

impl TenantSettings {
    /// A new tenant's configuration.
    #[must_use]
    pub fn into_config(self) -> TenantConfig {
        let mut config = TenantConfig::new(self.name.clone(), self.display_name.clone());
        config.set(self);
        config
    }
}

/// Everything a tenant decides about its data. Built once per change and shared; readers never see half of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantConfig {
    /// The tenant's name: lower case, digits, `-`.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// ISO 3166 code for reading phone numbers without a country code, e.g. `US`.
    pub default_region: Option<String>,
    /// By ordinal.
    pub sources: Vec<Source>,
    /// By ordinal.
    pub namespaces: Vec<Namespace>,
    /// By ordinal; the first are [`BUILT_IN_ATTRIBUTES`].
    pub attribute_names: Vec<String>,
    /// By attribute name or group; what is not listed follows `default_survivorship`.
    pub survivorship: BTreeMap<String, Survivorship>,
    /// For the rest.
    pub default_survivorship: Survivorship,
    /// Purposes, channels, and how often a person may be contacted.
    pub consent: ConsentPolicy,
}

impl TenantConfig {
    /// A tenant with the built-in namespaces and attributes, no source yet.
    #[must_use]
    pub fn new(name: impl Into<String>, display_name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            display_name: display_name.into(),
            default_region: Some("US".to_owned()),
            sources: Vec::new(),
            namespaces: namespace::built_in(),
            attribute_names: BUILT_IN_ATTRIBUTES.iter().map(|name| (*name).to_owned()).collect(),
            survivorship: BTreeMap::new(),
            default_survivorship: Survivorship::MostRecent,
            consent: ConsentPolicy::default(),
        }
    }

    /// What [`TenantConfig::set`] sets.
    #[must_use]
    pub fn settings(&self) -> TenantSettings {
        TenantSettings {
            name: self.name.clone(),
            display_name: self.display_name.clone(),
            default_region: self.default_region.clone(),
            survivorship: self.survivorship.clone(),
            default_survivorship: self.default_survivorship,
        }
    }

    /// Replaces the settings but for the name, which is for ever.
    pub fn set(&mut self, settings: TenantSettings) {
        self.display_name = settings.display_name;
        self.default_region = settings.default_region;
        self.survivorship = settings.survivorship;
        self.default_survivorship = settings.default_survivorship;
    }

    /// The source with this name.
    #[must_use]
    pub fn source_named(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// The namespace with this name.
    #[must_use]
    pub fn namespace_named(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.name == name)
    }

    /// The namespace with this ordinal.
    #[must_use]
    pub fn namespace(&self, id: NamespaceId) -> Option<&Namespace> {
        self.namespaces.get(usize::from(id.0))
    }
}

impl Vocabulary for TenantConfig {
    fn source(&self, id: SourceId) -> &str {
        self.sources.get(usize::from(id.0)).map_or("", |source| &source.name)
    }

    fn namespace(&self, id: NamespaceId) -> &str {
        self.namespaces.get(usize::from(id.0)).map_or("", |namespace| &namespace.name)
    }

    fn attribute(&self, id: AttributeId) -> &str {
        self.attribute_names.get(usize::from(id.0)).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_ordinals_name_what_they_say() {
        let named = [
            (attribute::FULL_NAME, "full_name"),
            (attribute::GIVEN_NAME, "given_name"),
            (attribute::MIDDLE_NAME, "middle_name"),
            (attribute::FAMILY_NAME, "family_name"),
            (attribute::NAME_SUFFIX, "name_suffix"),
            (attribute::BIRTH_DATE, "birth_date"),
            (attribute::GENDER, "gender"),
            (attribute::ADDRESS_STREET, "address.street"),
            (attribute::ADDRESS_UNIT, "address.unit"),
            (attribute::ADDRESS_CITY, "address.city"),
            (attribute::ADDRESS_REGION, "address.region"),
            (attribute::ADDRESS_POSTCODE, "address.postcode"),
            (attribute::ADDRESS_COUNTRY, "address.country"),
            (attribute::LEGAL_NAME, "legal_name"),
            (attribute::TRADING_NAME, "trading_name"),
        ];
        for (id, name) in named {
            assert_eq!(BUILT_IN_ATTRIBUTES[usize::from(id.0)], name);
        }
    }
}
