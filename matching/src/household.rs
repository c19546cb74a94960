//! Households: people of one surname at one address, as their records say. A household is derived, never stored, and never
//! merges anybody: it is a keyed digest that a fragment has by itself, so neither order nor batches can show in it.
//!
//! An address is known by its postal code or by its town, and sources rarely agree on which they give. So a fragment with
//! both has two digests, and shares one with whoever gives either.

use onefold_core::config::attribute;
use onefold_core::fragment::{Fragment, PartyKind};

use crate::normalise::address::{AddressFields, PostalAddress};
use crate::normalise::name::PersonName;
use crate::normalise::text::romanise;
use crate::prepare::text_of;

/// The households that a person's fragment places them in, as texts to be digested; none where surname, house or place is
/// missing. `region` is the country whose customs it is read by.
pub(crate) fn households(fragment: &Fragment, region: Option<&str>) -> Vec<String> {
    if fragment.party != PartyKind::Person {
        return Vec::new();
    }
    let text = |name| text_of(fragment, name).unwrap_or_default();
    let name = PersonName::from_parts(text(attribute::GIVEN_NAME), "", text(attribute::FAMILY_NAME), "")
        .filter(|name| !name.family.is_empty())
        .or_else(|| PersonName::parse(text(attribute::FULL_NAME)));
    let Some(name) = name.filter(|name| !name.family.is_empty()) else { return Vec::new() };
    let fields = AddressFields {
        street: text(attribute::ADDRESS_STREET),
        unit: text(attribute::ADDRESS_UNIT),
        city: text(attribute::ADDRESS_CITY),
        region: text(attribute::ADDRESS_REGION),
        postcode: text(attribute::ADDRESS_POSTCODE),
        country: text(attribute::ADDRESS_COUNTRY),
    };
    let Some(address) = PostalAddress::parse(fields, region) else { return Vec::new() };
    let line = &address.line;
    let is_a_door = (!line.street.is_empty() && !line.number.is_empty()) || !line.po_box.is_empty();
    if !is_a_door {
        return Vec::new();
    }
    let family = name.family_core();
    let family = romanise(family).unwrap_or_else(|| family.to_owned());
    let code = address.postcode.iter().map(|postcode| ("code", postcode.code.as_str()));
    let city = Some(("city", address.city.as_str())).filter(|(_, city)| !city.is_empty());
    code.chain(city)
        .map(|(by, place)| {
            [family.as_str(), &line.number, &line.street, &line.unit, &line.po_box, by, place].join("\u{1f}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use onefold_core::fragment::{Attribute, AttributeValue, ObservedAt, SourceRecord};
    use onefold_core::ids::{AttributeId, SourceId};

    use super::*;

    fn lives(name: &str, street: &str, city: &str, postcode: &str) -> Vec<String> {
        let text = |name: AttributeId, text: &str| Attribute { name, value: AttributeValue::Text(text.to_owned()) };
        let fragment = Fragment {
            attributes: vec![
                text(attribute::FULL_NAME, name),
                text(attribute::ADDRESS_STREET, street),
                text(attribute::ADDRESS_CITY, city),
                text(attribute::ADDRESS_POSTCODE, postcode),
            ],
            record: SourceRecord { source: SourceId(0), key: "1".to_owned() },
            observed_at: ObservedAt(0),
            party: PartyKind::Person,
            identifiers: Vec::new(),
            traits: None,
            affiliations: Vec::new(),
            stages: Vec::new(),
        };
        households(&fragment, Some("US"))
    }

    #[test]
    fn people_of_one_surname_behind_one_door_share_a_household() {
        let ada = lives("Ada Lovelace", "12 High Street", "Camden", "08030");
        assert_eq!(ada.len(), 2);
        let shares = |other: &[String]| other.iter().any(|household| ada.contains(household));
        let table = [
            (("Byron LOVELACE", "12 High St.", "camden", ""), true),
            (("Lovelace, Byron", "12 high street", "", "08030"), true),
            (("Ada Byron", "12 High Street", "Camden", "08030"), false),
            (("Byron Lovelace", "13 High Street", "Camden", "08030"), false),
            (("Byron Lovelace", "12 High Street Apt 4", "Camden", "08030"), false),
            (("Byron Lovelace", "12 High Street", "", ""), false),
            (("Byron Lovelace", "High Street", "Camden", "08030"), false),
            (("", "12 High Street", "Camden", "08030"), false),
        ];
        for ((name, street, city, postcode), want) in table {
            assert_eq!(shares(&lives(name, street, city, postcode)), want, "{name}, {street}, {city} {postcode}");
        }
    }
}
