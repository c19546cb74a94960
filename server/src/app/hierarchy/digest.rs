//! Keyed digests of what accounts are found by.

use onefold_core::fragment::{Fragment, PartyKind};
use onefold_core::hierarchy::Moment;
use onefold_core::hierarchy::affiliation::{Held, Origin};
use onefold_core::identifier::domain::{self, DomainStanding};
use onefold_core::identifier::{Canonical, canonicalise};
use onefold_core::ids::{Digest128, Place, SlotId};
use onefold_core::namespace::Normaliser;
use onefold_matching::normalise::company::CompanyName;

use super::state::Says;

use crate::app::tenant::LiveConfig;

/// The built-in namespace of companies' domains.
const DOMAIN_NAMESPACE: &str = "domain";
/// What separates these digests from those of the matcher under the same key.
const NAME_DOMAIN: u8 = 20;
const ROLE_DOMAIN: u8 = 21;

/// Digests of one tenant, under the configuration in force.
pub struct Digester<'a> {
    config: &'a LiveConfig,
    key: &'a [u8; 32],
}

impl<'a> Digester<'a> {
    /// With the tenant's index key.
    pub const fn new(config: &'a LiveConfig, key: &'a [u8; 32]) -> Self {
        Self { config, key }
    }

    fn of(&self, domain: u8, text: &str) -> Digest128 {
        let mut bytes = vec![domain];
        bytes.extend_from_slice(text.as_bytes());
        Digest128::of(&blake3::keyed_hash(self.key, &bytes))
    }

    /// The registrable domain behind a domain, web address or e-mail address, if it is its holder's own. A free-mail or
    /// hosting provider's says nothing about a company and has none.
    pub fn own_domain(raw: &str) -> Option<Canonical> {
        let value = canonicalise(Normaliser::Domain, raw, None).ok()?;
        (domain::standing(&value) == DomainStanding::Own).then_some(value)
    }

    /// The digest under which the engine knows an organisation's domain too.
    pub fn domain(&self, raw: &str) -> Option<Digest128> {
        let value = Self::own_domain(raw)?;
        let namespace = self.config.namespace_named(DOMAIN_NAMESPACE)?;
        let link = self.config.preparer().link_value(namespace, PartyKind::Organisation, value.as_str()).ok()?;
        Some(link.digest)
    }

    /// A company's name without its legal form.
    pub fn name(&self, raw: &str) -> Option<Digest128> {
        let name = CompanyName::parse(raw)?;
        Some(self.of(NAME_DOMAIN, name.romanised.as_deref().unwrap_or(&name.core)))
    }

    /// What memory keeps of the roles that a fragment tells of, when it lies at a place under a key.
    pub fn roles(&self, fragment: &Fragment, (place, slot): (Place, SlotId)) -> Vec<Held> {
        let held = |told: &onefold_core::fragment::Affiliation| Held {
            account: self.config.preparer().record_digest(told.account.source, &told.account.key),
            role: self.role(&told.role),
            since: told.since,
            until: told.until,
            origin: Origin::Fragment,
            place,
            slot,
        };
        fragment.affiliations.iter().map(held).collect()
    }

    /// What a fragment tells beside its facts, when it lies at a place under a key.
    pub fn says(&self, fragment: &Fragment, at: (Place, SlotId)) -> Says {
        let observed = Moment(fragment.observed_at.0);
        let stages = fragment.stages.iter().map(|told| (told.at.unwrap_or(observed), told.name.clone()));
        let told = || (fragment.party, fragment.record.source, stages.collect());
        Says { roles: self.roles(fragment, at), stages: (!fragment.stages.is_empty()).then(told) }
    }

    /// A role, whatever its case.
    pub fn role(&self, raw: &str) -> Digest128 {
        self.of(ROLE_DOMAIN, &raw.trim().to_lowercase())
    }
}
