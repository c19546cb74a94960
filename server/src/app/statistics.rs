//! Counts and digests.

use std::collections::BTreeMap;
use std::sync::Arc;

use onefold_core::config::TenantConfig;
use onefold_core::fragment::{AttributeValue, Vocabulary};
use onefold_core::ids::{ProfileOrdinal, Sequence};
use onefold_core::profile::{Detail, Golden};

use super::App;
use super::error::ReadError;
use super::read::load;
use super::tenant::Tenant;

/// What there is.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// The tenant's last durable sequence.
    pub sequence: Sequence,
    /// The engine's figures.
    pub engine: onefold_matching::resolve::Stats,
    /// Fragments in quarantine.
    pub quarantined: usize,
    /// Live records by source name.
    pub live_records_by_source: BTreeMap<String, u64>,
}

/// Counts, all of one moment.
///
/// # Errors
/// [`ReadError::Behind`] when what was counted does not become durable.
pub fn of(tenant: &Tenant) -> Result<Statistics, ReadError> {
    let config = tenant.config();
    tenant.seen(|state| {
        let mut by_source = vec![0u64; config.config.sources.len()];
        for record in state.engine.all_records().filter(|record| record.live) {
            if let Some(count) = by_source.get_mut(usize::from(record.source.0)) {
                *count += 1;
            }
        }
        Statistics {
            sequence: state.sequence,
            engine: state.engine.stats(),
            quarantined: state.quarantine.len(),
            live_records_by_source: config.config.sources.iter().map(|s| s.name.clone()).zip(by_source).collect(),
        }
    })
}

/// A digest of the graph, and of the golden values if asked for.
#[derive(Clone, Debug)]
pub struct Digest {
    /// Over clusters and live facts.
    pub graph: blake3::Hash,
    /// Over golden values.
    pub golden: Option<blake3::Hash>,
    /// The sequence that it stands for.
    pub sequence: Sequence,
    /// Live records behind it.
    pub live_records: u64,
    /// Live profiles behind it.
    pub profiles: u64,
}

/// Digests the state (law 2). Golden values are digested profile by profile, without ids and in the order of their own
/// digests, so that installations with other ids agree.
///
/// # Errors
/// [`ReadError::Store`] when a fragment cannot be read.
pub fn digest(app: &App, tenant: &Arc<Tenant>, golden: bool) -> Result<Digest, ReadError> {
    let (mut digest, profiles): (Digest, Vec<ProfileOrdinal>) = tenant.seen(|state| {
        let stats = state.engine.stats();
        let digest = Digest {
            graph: state.engine.digest(),
            golden: None,
            sequence: state.sequence,
            live_records: u64::from(stats.live_records),
            profiles: u64::from(stats.profiles),
        };
        let profiles = if golden { state.engine.live_profiles(ProfileOrdinal(0)).collect() } else { Vec::new() };
        (digest, profiles)
    })?;
    if golden {
        let mut each: Vec<[u8; 32]> = Vec::with_capacity(profiles.len());
        for profile in profiles {
            // A profile that ended meanwhile is told by `sequence`: the caller compares states at rest.
            match load(&app.shared, tenant, profile) {
                Ok(loaded) => each.extend(
                    loaded.golden(Detail::Golden).map(|golden| *of_golden(&golden, &loaded.config.config).as_bytes()),
                ),
                Err(error @ (ReadError::Store(_) | ReadError::Damaged(_))) => return Err(error),
                Err(_) => {}
            }
        }
        each.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for one in &each {
            hasher.update(one);
        }
        digest.golden = Some(hasher.finalize());
    }
    Ok(digest)
}

/// A digest of what a profile shows, the same on every installation: names instead of ordinals, no ids.
fn of_golden(golden: &Golden<'_>, names: &TenantConfig) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let mut attributes: Vec<_> =
        golden.attributes.iter().map(|attribute| (Vocabulary::attribute(names, attribute.name), attribute)).collect();
    attributes.sort_by_key(|(name, _)| *name);
    for (name, attribute) in attributes {
        for shown in &attribute.values {
            field(name.as_bytes());
            match shown.value {
                AttributeValue::Text(text) => field(text.as_bytes()),
                AttributeValue::Number(number) => field(&number.to_bits().to_le_bytes()),
                AttributeValue::Flag(flag) => field(&[u8::from(*flag)]),
            }
            field(Vocabulary::source(names, shown.provenance.record.source).as_bytes());
            field(shown.provenance.record.key.as_bytes());
        }
    }
    let mut identifiers: Vec<(&str, &str)> =
        golden.identifiers.iter().map(|i| (Vocabulary::namespace(names, i.namespace), i.value.as_str())).collect();
    identifiers.sort_unstable();
    for (namespace, value) in identifiers {
        field(namespace.as_bytes());
        field(value.as_bytes());
    }
    if let Some((traits, _)) = golden.traits {
        field(traits.as_bytes());
    }
    hasher.finalize()
}
