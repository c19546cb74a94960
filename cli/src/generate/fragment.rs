//! Generated records as the street takes them: a tenant, fragments, prepared fragments.

use std::sync::Arc;

use onefold_core::config::{Contract, Source, TenantConfig};
use onefold_core::fragment::{Attribute, AttributeValue, Fragment, Identifier, SourceRecord};
use onefold_core::ids::{AttributeId, SourceId};
use onefold_matching::prepare::{PrepareError, Preparer};
use onefold_matching::prepared::Prepared;

use super::{Origin, Population, Record};

/// A tenant with the built-in laws and a source for each system of the population; the books are trusted over what
/// customers type.
#[must_use]
pub fn tenant() -> TenantConfig {
    let mut config = TenantConfig::new("generated", "A generated population");
    for (ordinal, origin) in Origin::ALL.iter().enumerate() {
        config.sources.push(Source {
            id: SourceId(ordinal as u16),
            name: origin.name().to_owned(),
            display_name: origin.name().to_owned(),
            trust: match origin {
                Origin::Crm | Origin::Erp => 800,
                Origin::Events | Origin::Newsletter => 200,
                _ => 500,
            },
            contract: Contract::default(),
        });
    }
    config
}

/// A record as a fragment in canonical order. Facts whose namespace or attribute the tenant does not have are left out;
/// `None` when it does not have the source.
#[must_use]
pub fn fragment(record: &Record, config: &TenantConfig) -> Option<Fragment> {
    let identifier = |(name, value): (&str, &str)| {
        let namespace = config.namespace_named(name)?.id;
        Some(Identifier { namespace, raw: value.trim().to_owned() })
    };
    let attribute = |name: &str| config.attribute_names.iter().position(|known| known == name);
    let mut fragment = Fragment {
        record: SourceRecord { source: config.source_named(record.origin.name())?.id, key: record.record_id.clone() },
        observed_at: record.observed_at(),
        party: record.cluster.party,
        identifiers: record.identifiers().filter_map(identifier).collect(),
        attributes: record
            .attributes()
            .filter_map(|(name, value)| {
                let name = AttributeId(u16::try_from(attribute(name)?).ok()?);
                Some(Attribute { name, value: AttributeValue::Text(value.into_owned()) })
            })
            .collect(),
        traits: None,
        affiliations: Vec::new(),
        stages: Vec::new(),
    };
    fragment.canonicalise();
    Some(fragment)
}

/// A population as resolution takes it, in bounded memory: for benches of millions of fragments.
///
/// # Errors
/// [`PrepareError`] when the tenant's block rules do not compile.
pub fn prepared(
    population: Population,
    config: Arc<TenantConfig>,
    index_key: [u8; 32],
) -> Result<impl Iterator<Item = Prepared>, PrepareError> {
    let preparer = Preparer::new(Arc::clone(&config), index_key)?;
    Ok(population.filter_map(move |record| Some(preparer.prepare(&fragment(&record, &config)?).0)))
}
