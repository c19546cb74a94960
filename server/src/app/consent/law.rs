//! Under whose law a fragment puts its person: what its addresses name.

use onefold_core::config::attribute;
use onefold_core::consent::Jurisdiction;
use onefold_core::consent::policy::ConsentPolicy;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::Fragment;
use onefold_core::ids::AttributeId;
use onefold_matching::normalise::country;

/// What the addresses of a fragment say of the law.
#[derive(Debug, Default)]
pub struct Told {
    /// Those that they name, and may name.
    pub laws: Vec<Jurisdiction>,
    /// A country is told, and cannot be read.
    pub unread: bool,
    /// A region is told that cannot be read, of a country of which the policy knows parts.
    pub part_unread: bool,
}

impl Told {
    /// What a fragment tells, under this policy.
    pub fn of(fragment: &Fragment, policy: &ConsentPolicy) -> Self {
        let texts = |name: AttributeId| {
            let told = fragment.attributes.iter().filter(move |told| told.name == name);
            told.filter_map(|told| told.value.as_text()).map(str::trim).filter(|text| !text.is_empty())
        };
        let mut told = Self::default();
        for text in texts(attribute::ADDRESS_COUNTRY) {
            match country::law_of(text) {
                Some(law) => told.laws_of(law, texts(attribute::ADDRESS_REGION), policy),
                None => told.unread = true,
            }
        }
        told
    }

    fn laws_of<'a>(&mut self, law: Jurisdiction, regions: impl Iterator<Item = &'a str>, policy: &ConsentPolicy) {
        let before = self.laws.len();
        for region in regions.filter(|_| country::has_parts(law)) {
            match country::part_of(law, region) {
                Some(part) => self.laws.push(part),
                None => {
                    // When in doubt, deny: it may be any part that has a rule of its own.
                    let rules = policy.purposes.iter().flat_map(|purpose| &purpose.regimes).map(|(of, _)| *of);
                    let parts = rules.filter(|of| *of != law && of.widening().contains(&law));
                    let known = self.laws.len();
                    self.laws.extend(parts);
                    self.part_unread |= self.laws.len() > known;
                    self.laws.push(law);
                }
            }
        }
        if self.laws.len() == before {
            self.laws.push(law);
        }
    }

    /// Whether no law is known of it: it names no country, or one that cannot be read.
    pub fn is_unknown(&self) -> bool {
        self.unread || self.laws.is_empty()
    }
}

/// Notes of a fragment of whose address nobody knows under whose law it is.
pub(in crate::app) fn notes(fragment: &Fragment, policy: &ConsentPolicy) -> Vec<FieldFault> {
    let told = Told::of(fragment, policy);
    let mut notes = Vec::new();
    if told.unread {
        let message = "is no country, as DE, DEU and Germany are one; until it is corrected, the strictest rule of each purpose \
                       holds for the person, unless what they said names a law";
        notes.push(FieldFault::new("attributes[address.country]", FaultReason::Malformed, message));
    }
    if told.part_unread {
        let message = "is no part of its country, as CA and California are parts of the US; until it is corrected, the strictest \
                       rule of all parts holds for the person";
        notes.push(FieldFault::new("attributes[address.region]", FaultReason::Malformed, message));
    }
    notes
}
