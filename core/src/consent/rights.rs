//! Which purposes a person's objection means where it names none: by what the tenant's policy says of its purposes.

use crate::consent::PurposeId;
use crate::consent::policy::{ConsentPolicy, Purpose};

/// A use that a law lets persons stop by one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opposed {
    /// Direct marketing: absolute (GDPR Art. 21(2) and (3)).
    DirectMarketing,
    /// Sale of personal information, or sharing it for advertising across contexts (CCPA §1798.120).
    SaleOrSharing,
    /// Use of sensitive personal information beyond what was asked for (CCPA §1798.121).
    SensitiveUse,
}

impl Opposed {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DirectMarketing => "direct marketing",
            Self::SaleOrSharing => "sale or sharing of personal information",
            Self::SensitiveUse => "use of sensitive personal information",
        }
    }

    /// Terms of the Data Privacy Vocabulary (<https://w3id.org/dpv>) that a purpose's `vocabulary_iri` may end with.
    #[must_use]
    pub const fn terms(self) -> &'static [&'static str] {
        match self {
            Self::DirectMarketing => {
                &["DirectMarketing", "Marketing", "Advertising", "PersonalisedAdvertising", "TargetedAdvertising"]
            }
            Self::SaleOrSharing => &[
                "SellData",
                "SellDataToThirdParties",
                "SellInsightsFromData",
                "PersonalisedAdvertising",
                "TargetedAdvertising",
            ],
            Self::SensitiveUse => &["SensitivePersonalData", "SpecialCategoryPersonalData"],
        }
    }

    /// Names of purposes that mean it without a term.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::DirectMarketing => &["marketing", "direct_marketing", "advertising"],
            Self::SaleOrSharing => &["sale", "sharing", "sale_or_sharing", "sale_share"],
            Self::SensitiveUse => &["sensitive", "sensitive_use", "sensitive_data"],
        }
    }

    fn means(self, purpose: &Purpose) -> bool {
        let term = purpose.vocabulary_iri.rsplit(['#', '/', ':']).next().unwrap_or_default();
        self.terms().contains(&term) || self.names().contains(&purpose.name.as_str())
    }

    /// The purposes of a policy that are this use; none where the tenant has no such purpose.
    #[must_use]
    pub fn purposes(self, policy: &ConsentPolicy) -> Vec<PurposeId> {
        policy.purposes.iter().filter(|purpose| self.means(purpose)).map(|purpose| purpose.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_found_by_its_term_or_by_its_name() {
        use Opposed::{DirectMarketing, SaleOrSharing, SensitiveUse};
        let purpose = |id: u16, name: &str, iri: &str| Purpose {
            id: PurposeId(id),
            name: name.to_owned(),
            vocabulary_iri: iri.to_owned(),
            display_name: String::new(),
            description: String::new(),
            lawful_basis: Default::default(),
            default_regime: Default::default(),
            regimes: Vec::new(),
            reads: Default::default(),
            terms: Default::default(),
        };
        let purposes = vec![
            purpose(0, "marketing", ""),
            purpose(1, "newsletter", "https://w3id.org/dpv#DirectMarketing"),
            purpose(2, "support", "https://w3id.org/dpv#CustomerCare"),
            purpose(3, "partners", "https://w3id.org/dpv/owl#SellDataToThirdParties"),
            purpose(4, "ads", "dpv:TargetedAdvertising"),
            purpose(5, "sensitive_use", ""),
            purpose(6, "marketing_research", "https://w3id.org/dpv#AcademicResearch"),
        ];
        let policy = ConsentPolicy { purposes, ..ConsentPolicy::default() };
        let usual = ConsentPolicy::default();
        let named = |opposed: Opposed| {
            let of = opposed.purposes(&usual).into_iter().filter_map(|id| usual.purpose(id));
            of.map(|purpose| purpose.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((named(DirectMarketing), named(SaleOrSharing)), (vec!["marketing"], vec!["sale_or_sharing"]));
        assert!(named(SensitiveUse).is_empty(), "what every tenant begins with has none");
        let table = [(DirectMarketing, vec![0, 1, 4]), (SaleOrSharing, vec![3, 4]), (SensitiveUse, vec![5])];
        for (opposed, wanted) in table {
            let found: Vec<u16> = opposed.purposes(&policy).iter().map(|id| id.0).collect();
            assert_eq!(found, wanted, "{opposed:?}");
        }
    }
}
