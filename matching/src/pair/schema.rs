//! Which aspects of a party are compared, and where a fragment keeps them.

use onefold_core::fragment::PartyKind;
use serde::{Deserialize, Serialize};

/// Aspects that one model compares at most.
pub const FIELDS_MAX: usize = 32;

/// What kind of text a field holds, which decides how it is normalised, compared and used to find candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// First given name.
    GivenName,
    /// Further given names and initials.
    MiddleName,
    /// Family name with its particles.
    FamilyName,
    /// What parts namesakes of one family: `jr`, `sr`, `3`.
    NameSuffix,
    /// Birth date as `yyyymmdd`, as digits where it is no date.
    BirthDate,
    /// First letter of the gender.
    Gender,
    /// House number.
    HouseNumber,
    /// Street without its number.
    Street,
    /// Flat, suite, building.
    Unit,
    /// Town.
    City,
    /// State or province.
    Region,
    /// Postal code.
    Postcode,
    /// Telephone number in canonical form.
    Phone,
    /// E-mail address in canonical form.
    Email,
    /// Name of an organisation without its legal form.
    OrganisationName,
    /// Legal form of an organisation.
    LegalForm,
    /// Registrable domain.
    Domain,
    /// An identifier that may be mistyped.
    Identifier,
    /// Words of any meaning.
    Text,
    /// A number.
    Number,
    /// The system that sent the record: some send a party once, others again and again.
    Source,
}

impl FieldKind {
    /// Whether values are compared word by word.
    #[must_use]
    pub const fn is_worded(self) -> bool {
        matches!(self, Self::Text | Self::OrganisationName)
    }
}

/// Where a field's text comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From the parts of the person's name, the address or the birth date, by the field's kind.
    Normalised,
    /// The attribute of this name.
    Attribute(String),
    /// The first value of this namespace.
    Namespace(String),
}

/// One aspect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name, for people.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
    /// Where it is found.
    pub origin: Origin,
}

/// The aspects of one kind of party, in the order of a row's symbols.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Person or organisation.
    pub party: PartyKind,
    /// At most [`FIELDS_MAX`].
    pub fields: Vec<Field>,
}

impl Schema {
    /// The aspects of a person that every tenant has.
    #[must_use]
    pub fn person() -> Self {
        use FieldKind::{
            BirthDate, City, Email, FamilyName, Gender, GivenName, HouseNumber, MiddleName, NameSuffix, Phone,
            Postcode, Region, Street, Unit,
        };
        let normalised = [
            ("given_name", GivenName),
            ("middle_name", MiddleName),
            ("family_name", FamilyName),
            ("name_suffix", NameSuffix),
            ("birth_date", BirthDate),
            ("gender", Gender),
            ("house_number", HouseNumber),
            ("street", Street),
            ("unit", Unit),
            ("city", City),
            ("region", Region),
            ("postcode", Postcode),
        ];
        let mut fields: Vec<Field> = normalised.map(|(name, kind)| Field::normalised(name, kind)).into();
        fields.push(Field::namespace("phone", Phone));
        fields.push(Field::namespace("email", Email));
        fields.push(Field::normalised("source", FieldKind::Source));
        Self { party: PartyKind::Person, fields }
    }

    /// The aspects of an organisation that every tenant has.
    #[must_use]
    pub fn organisation() -> Self {
        use FieldKind::{
            City, Domain, Email, HouseNumber, LegalForm, OrganisationName, Phone, Postcode, Region, Street, Unit,
        };
        let normalised = [
            ("name", OrganisationName),
            ("trading_name", OrganisationName),
            ("legal_form", LegalForm),
            ("house_number", HouseNumber),
            ("street", Street),
            ("unit", Unit),
            ("city", City),
            ("region", Region),
            ("postcode", Postcode),
        ];
        let mut fields: Vec<Field> = normalised.map(|(name, kind)| Field::normalised(name, kind)).into();
        fields.push(Field::namespace("phone", Phone));
        fields.push(Field::namespace("email", Email));
        fields.push(Field::namespace("domain", Domain));
        fields.push(Field::normalised("source", FieldKind::Source));
        Self { party: PartyKind::Organisation, fields }
    }

    /// The place of the first field of this kind.
    #[must_use]
    pub fn slot(&self, kind: FieldKind) -> Option<usize> {
        self.fields.iter().position(|field| field.kind == kind)
    }
}

impl Field {
    fn normalised(name: &str, kind: FieldKind) -> Self {
        Self { name: name.to_owned(), kind, origin: Origin::Normalised }
    }

    /// A field of this namespace's first value.
    #[must_use]
    pub fn namespace(name: &str, kind: FieldKind) -> Self {
        Self { name: name.to_owned(), kind, origin: Origin::Namespace(name.to_owned()) }
    }

    /// A field of this attribute.
    #[must_use]
    pub fn attribute(name: &str, kind: FieldKind) -> Self {
        Self { name: name.to_owned(), kind, origin: Origin::Attribute(name.to_owned()) }
    }
}
