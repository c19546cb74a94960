//! Lead to account: which account a person belongs to, by the domain of an e-mail address and by a company's name. A
//! proposal is evidence, never a fact: somebody confirms it, which makes an affiliation.

use std::collections::{BTreeMap, BTreeSet};

use onefold_core::consent::permit::Permit;
use onefold_core::fragment::{AttributeValue, Vocabulary};
use onefold_core::hierarchy::view::View;
use onefold_core::hierarchy::{AccountOrdinal, Moment};
use onefold_core::ids::ProfileOrdinal;
use onefold_core::namespace::Normaliser;
use onefold_core::profile::Detail;
use onefold_matching::prepared::LinkValue;
use onefold_matching::resolve::ValueStanding;

use super::digest::Digester;
use super::read::{AccountKey, PartiesNow, Shown, show};
use crate::app::Shared;
use crate::app::error::ReadError;
use crate::app::read::load;
use crate::app::tenant::Tenant;

/// Attributes that say where a person works.
const COMPANY_ATTRIBUTES: &[&str] =
    &["company", "company_name", "employer", "organisation", "organization", "legal_name", "trading_name"];
/// Accounts that are proposed at most, the best first.
pub const PROPOSALS_MAX: usize = 20;
/// Clues of one person that are looked at.
const CLUES_MAX: usize = 64;

/// What is known of where a person belongs.
#[derive(Clone, Debug, Default)]
pub struct Clues {
    /// E-mail addresses and web addresses.
    pub addresses: Vec<String>,
    /// Names of companies.
    pub companies: Vec<String>,
}

/// Why an account is proposed. Personal data: the clue is the person's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The account has this domain.
    AccountDomain(String),
    /// The organisation behind the account has this domain.
    OrganisationDomain(String),
    /// The account has this name, legal forms aside.
    Name(String),
}

impl std::fmt::Debug for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AccountDomain(_) => "AccountDomain(..)",
            Self::OrganisationDomain(_) => "OrganisationDomain(..)",
            Self::Name(_) => "Name(..)",
        })
    }
}

impl Evidence {
    /// How much it weighs against other evidence: a domain is its holder's, a name may be another's too.
    const fn rank(&self) -> u32 {
        match self {
            Self::AccountDomain(_) => 4,
            Self::OrganisationDomain(_) => 3,
            Self::Name(_) => 2,
        }
    }
}

/// An account that a person may belong to.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Which.
    pub account: Shown,
    /// Why.
    pub evidence: Vec<Evidence>,
    /// How many other accounts the same evidence would propose as well.
    pub rivals: usize,
}

/// What a profile says of where its person belongs, as far as it may be read, and what may not. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError`] when the profile is not live or cannot be read.
pub fn clues_of(
    shared: &Shared,
    tenant: &Tenant,
    profile: ProfileOrdinal,
    permit: Option<&Permit>,
) -> Result<(Clues, BTreeSet<String>), ReadError> {
    let loaded = load(shared, tenant, profile)?;
    let config = &loaded.config.config;
    let (mut clues, mut withheld) = (Clues::default(), BTreeSet::new());
    let Some(golden) = loaded.golden(Detail::WithLosers) else { return Ok((clues, withheld)) };
    for identifier in &golden.identifiers {
        let normaliser = config.namespace(identifier.namespace).map(|namespace| namespace.normaliser);
        if !matches!(normaliser, Some(Normaliser::Email | Normaliser::Domain)) || !identifier.well_formed {
            continue;
        }
        if permit.is_none_or(|permit| permit.namespace(identifier.namespace)) {
            clues.addresses.push(identifier.value.clone());
        } else {
            withheld.insert(format!("identifiers.{}", Vocabulary::namespace(config.as_ref(), identifier.namespace)));
        }
    }
    for attribute in &golden.attributes {
        let name = Vocabulary::attribute(config.as_ref(), attribute.name);
        if COMPANY_ATTRIBUTES.contains(&name) && permit.is_some_and(|permit| !permit.attribute(name)) {
            withheld.insert(format!("values.{name}"));
        } else if COMPANY_ATTRIBUTES.contains(&name) {
            let values = attribute.values.iter().chain(&attribute.losers);
            clues.companies.extend(values.filter_map(|value| match value.value {
                AttributeValue::Text(text) => Some(text.clone()),
                AttributeValue::Number(_) | AttributeValue::Flag(_) => None,
            }));
        }
    }
    Ok((clues, withheld))
}

/// The accounts that these clues point to, the best first. Domains of free-mail and hosting providers never count. Not
/// for asynchronous threads.
///
/// # Errors
/// [`ReadError`] when an account cannot be read.
pub fn accounts_for(shared: &Shared, tenant: &Tenant, clues: &Clues, at: Moment) -> Result<Vec<Proposal>, ReadError> {
    let config = tenant.config();
    let digester = Digester::new(&config, &tenant.keys.index);
    let mut ranked: Vec<(u32, AccountOrdinal, Vec<Evidence>, usize)> = tenant.seen(|state| {
        let accounts = &state.accounts;
        let parties = PartiesNow::new(state, &config);
        let view = View::new(&accounts.forest, &parties, at);
        let mut found: BTreeMap<AccountOrdinal, Vec<Evidence>> = BTreeMap::new();
        let mut take = |candidates: &[AccountOrdinal], evidence: Evidence| {
            for account in candidates {
                let open = accounts.forest.get(*account).is_some_and(|known| !known.is_closed(at) && known.exists(at));
                if open {
                    let all = found.entry(view.node(*account).key()).or_default();
                    if !all.contains(&evidence) {
                        all.push(evidence.clone());
                    }
                }
            }
        };
        for raw in clues.addresses.iter().take(CLUES_MAX) {
            let Some(domain) = Digester::own_domain(raw) else { continue };
            let Some(digest) = digester.domain(domain.as_str()) else { continue };
            take(accounts.of_domain(digest), Evidence::AccountDomain(domain.as_str().to_owned()));
            let Some(namespace) = config.namespace_named("domain") else { continue };
            if let ValueStanding::Profiles { profiles, .. } = state.engine.value(LinkValue { namespace, digest }) {
                for profile in profiles {
                    let evidence = Evidence::OrganisationDomain(domain.as_str().to_owned());
                    take(&parties.accounts_of(profile), evidence);
                }
            }
        }
        for raw in clues.companies.iter().take(CLUES_MAX) {
            if let Some(digest) = digester.name(raw) {
                take(accounts.of_name(digest), Evidence::Name(raw.clone()));
            }
        }
        let rivals = |evidence: &[Evidence]| {
            found.values().filter(|other| other.iter().any(|one| evidence.contains(one))).count().saturating_sub(1)
        };
        let ranked = found.iter().map(|(account, evidence)| {
            let rank = evidence.iter().map(Evidence::rank).sum();
            (rank, *account, evidence.clone(), rivals(evidence))
        });
        ranked.collect()
    })?;
    // The best first; what the evidence cannot tell apart in order of arrival.
    ranked.sort_by_key(|(rank, account, ..)| (std::cmp::Reverse(*rank), *account));
    ranked.truncate(PROPOSALS_MAX);
    ranked
        .into_iter()
        .map(|(_, account, mut evidence, rivals)| {
            evidence.sort();
            let key = AccountKey::Id(tenant.account_id(account));
            Ok(Proposal { account: show(shared, tenant, &key, at)?, evidence, rivals })
        })
        .collect()
}
