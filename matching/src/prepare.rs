//! From a fragment to what the index keeps of it: canonical identifiers become keyed digests, the name becomes a number.
//!
//! A [`Preparer`] is compiled once per tenant configuration and shared by all threads. What could not be used is told in
//! [`Note`]s: a malformed or blocked identifier stays a fact of its fragment and links nobody.

use std::fmt;
use std::sync::Arc;

use onefold_core::config::{STEWARD_SOURCE, TenantConfig, attribute};
use onefold_core::fragment::{Fragment, PartyKind};
use onefold_core::identifier::{
    self, BlockReason, BlockRules, Canonical, InvalidBlockRules, InvalidIdentifier, region,
};
use onefold_core::ids::{AttributeId, Digest128, NamespaceId, SourceId};
use onefold_core::namespace::Normaliser;
use smallvec::SmallVec;

use crate::household;
use crate::normalise::company::CompanyName;
use crate::normalise::name::{PersonName, full_forms, is_known_given};
use crate::normalise::text::{fold, romanise, skeleton};
use crate::pair::{Extractor, Schema};
use crate::prepared::{LinkValue, Prepared};

/// What separates the digests of one key from one another: no digest of one kind can be taken for another.
const VALUE_DOMAIN: u8 = 1;
const RECORD_DOMAIN: u8 = 2;
const NAME_DOMAIN: u8 = 3;
const HOUSEHOLD_DOMAIN: u8 = 4;

/// Why an identifier of a fragment links nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoteReason {
    /// It is no value of its kind.
    Malformed(InvalidIdentifier),
    /// It must not link.
    Blocked(BlockReason),
    /// The tenant has no such namespace.
    UnknownNamespace,
}

/// One identifier of a fragment that links nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// Its index in [`Fragment::identifiers`].
    pub identifier: usize,
    /// Why.
    pub reason: NoteReason,
}

/// A configuration that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// A namespace's block rules.
    #[error(transparent)]
    BlockRules(#[from] InvalidBlockRules),
}

/// A value that cannot be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The tenant has no such namespace.
    #[error("no such namespace")]
    UnknownNamespace,
    /// It is no value of its kind.
    #[error("the value {0}")]
    Malformed(InvalidIdentifier),
    /// It must not link, so it finds nobody.
    #[error("the value is blocked")]
    Blocked(BlockReason),
}

/// An identifier as typed, read once: where it is indexed, and whether it may link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadIdentifier {
    /// Its digest as a person's and as an organisation's, by the ordinal of [`PartyKind`].
    pub values: [LinkValue; 2],
    /// Why it links nobody, where it does not. What was said at it is said all the same.
    pub blocked: Option<BlockReason>,
}

impl ReadIdentifier {
    /// The points of contact that it stands for.
    #[must_use]
    pub fn points(&self) -> [Digest128; 2] {
        self.values.map(|value| value.digest)
    }
}

struct NamespaceRules {
    normaliser: Normaliser,
    rules: BlockRules,
}

/// Turns fragments of one tenant into [`Prepared`]s. Pure: the same fragment, configuration and key give the same result.
pub struct Preparer {
    config: Arc<TenantConfig>,
    key: [u8; 32],
    /// By ordinal.
    namespaces: Vec<NamespaceRules>,
    /// What the match models in force compare, by kind of party.
    extractors: [Option<Extractor>; 2],
    /// The source of corrections, where it was made.
    stewards: Option<SourceId>,
}

impl fmt::Debug for Preparer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Preparer({}, ..)", self.config.name)
    }
}

impl Preparer {
    /// Compiles the configuration's rules. `index_key` keys every digest, so that none can be turned back by guessing
    /// values without it.
    ///
    /// # Errors
    /// [`PrepareError`] when a rule does not compile.
    pub fn new(config: Arc<TenantConfig>, index_key: [u8; 32]) -> Result<Self, PrepareError> {
        let region = config.default_region.as_deref();
        let namespaces = config
            .namespaces
            .iter()
            .map(|namespace| {
                let rules = BlockRules::compile(namespace, region)?;
                Ok(NamespaceRules { normaliser: namespace.normaliser, rules })
            })
            .collect::<Result<_, InvalidBlockRules>>()?;
        let stewards = config.sources.iter().find(|source| source.name == STEWARD_SOURCE).map(|source| source.id);
        Ok(Self { config, key: index_key, namespaces, extractors: [None, None], stewards })
    }

    /// The same, with what match models compare: fragments of a schema's party are prepared with its features.
    ///
    /// # Errors
    /// [`PrepareError`] when a rule does not compile.
    pub fn with_schemas<'a>(
        config: Arc<TenantConfig>,
        index_key: [u8; 32],
        schemas: impl IntoIterator<Item = &'a Schema>,
    ) -> Result<Self, PrepareError> {
        let mut preparer = Self::new(Arc::clone(&config), index_key)?;
        for schema in schemas {
            preparer.extractors[schema.party as usize] = Some(Extractor::new(schema, &config)?);
        }
        Ok(preparer)
    }

    /// The compiled rules of a namespace: which of its values link nobody.
    #[must_use]
    pub fn block_rules(&self, namespace: NamespaceId) -> Option<&BlockRules> {
        self.namespaces.get(usize::from(namespace.0)).map(|namespace| &namespace.rules)
    }

    /// The configuration that this was compiled from.
    #[must_use]
    pub fn config(&self) -> &Arc<TenantConfig> {
        &self.config
    }

    /// What resolution needs of the fragment, and which of its identifiers link nobody.
    #[must_use]
    pub fn prepare(&self, fragment: &Fragment) -> (Prepared, Vec<Note>) {
        let region = region::of(fragment, &self.config);
        let mut links = Vec::with_capacity(fragment.identifiers.len());
        let (mut notes, mut plain) = (Vec::new(), Vec::new());
        for (index, claim) in fragment.identifiers.iter().enumerate() {
            match self.link(claim.namespace, fragment.party, &claim.raw, region) {
                Ok(link) => links.push(link),
                Err(reason) => notes.push(Note { identifier: index, reason }),
            }
            let other = identifier::compatible(&claim.raw);
            let other = other.and_then(|raw| self.link(claim.namespace, fragment.party, &raw, region).ok());
            plain.extend(other);
        }
        links.sort_unstable();
        links.dedup();
        plain.retain(|other| links.binary_search(other).is_err());
        let corrects = self.stewards == Some(fragment.record.source);
        let prepared = Prepared {
            record: self.record_digest(fragment.record.source, &fragment.record.key),
            facts: fragment.fact_digest(self.config.as_ref()),
            source: fragment.record.source,
            observed_at: fragment.observed_at,
            party: fragment.party,
            links,
            plain,
            // Not one more name behind the person's identifiers, but another in place of those.
            name: self.name_key(fragment).filter(|_| !corrects),
            features: self.extractors[fragment.party as usize]
                .as_ref()
                .map(|extractor| extractor.features(fragment, region)),
            corrects,
        };
        (prepared, notes)
    }

    /// The digest under which a value is indexed, for look-ups. Telephone numbers without a country code are read in the
    /// tenant's default region.
    ///
    /// # Errors
    /// [`LookupError`] when the value can find nobody.
    pub fn link_value(&self, namespace: NamespaceId, party: PartyKind, raw: &str) -> Result<LinkValue, LookupError> {
        self.link(namespace, party, raw, self.config.default_region.as_deref()).map_err(|reason| match reason {
            NoteReason::Malformed(why) => LookupError::Malformed(why),
            NoteReason::Blocked(why) => LookupError::Blocked(why),
            NoteReason::UnknownNamespace => LookupError::UnknownNamespace,
        })
    }

    /// Reads a value once for all that is asked of it: [`Self::link_value`] and [`Self::contact_point`] of either kind of
    /// party.
    ///
    /// # Errors
    /// [`LookupError::UnknownNamespace`] or [`LookupError::Malformed`].
    pub fn read_identifier(&self, namespace: NamespaceId, raw: &str) -> Result<ReadIdentifier, LookupError> {
        let rules = self.namespaces.get(usize::from(namespace.0)).ok_or(LookupError::UnknownNamespace)?;
        let region = self.config.default_region.as_deref();
        let value = identifier::canonicalise(rules.normaliser, raw, region).map_err(LookupError::Malformed)?;
        let of = |party| LinkValue { namespace, digest: self.value_digest(namespace, party, &value) };
        Ok(ReadIdentifier {
            values: [PartyKind::Person, PartyKind::Organisation].map(of),
            blocked: rules.rules.blocked(&value),
        })
    }

    /// Whether the block rules of a namespace let this value of it link.
    #[must_use]
    pub fn may_link(&self, namespace: NamespaceId, value: &Canonical) -> bool {
        self.namespaces.get(usize::from(namespace.0)).is_some_and(|known| known.rules.blocked(value).is_none())
    }

    /// The digest of a value as a point of contact, whether or not it may link: what was said at a blocked address is
    /// said all the same. Telephone numbers without a country code are read in the tenant's default region.
    ///
    /// # Errors
    /// [`LookupError::UnknownNamespace`] or [`LookupError::Malformed`].
    pub fn contact_point(&self, namespace: NamespaceId, party: PartyKind, raw: &str) -> Result<LinkValue, LookupError> {
        self.point(namespace, party, raw, self.config.default_region.as_deref())
    }

    /// The digests of all well-formed identifiers of a fragment as points of contact, for either kind of party.
    #[must_use]
    pub fn contact_points(&self, fragment: &Fragment) -> Vec<Digest128> {
        let region = region::of(fragment, &self.config);
        let both = [PartyKind::Person, PartyKind::Organisation];
        let claims = fragment.identifiers.iter().flat_map(|claim| both.map(|party| (claim, party)));
        let points = claims.filter_map(|(claim, party)| self.point(claim.namespace, party, &claim.raw, region).ok());
        points.map(|point| point.digest).collect()
    }

    /// The digests of texts that stand somewhere in a fragment as points of contact of every namespace that `normaliser` reads,
    /// for either kind of party. Each is read once, however many namespaces there are; what is no such value is left out.
    pub fn points_as<'a>(
        &'a self,
        normaliser: Normaliser,
        fragment: &Fragment,
        texts: impl Iterator<Item = &'a str> + 'a,
    ) -> impl Iterator<Item = Digest128> + 'a {
        let region = region::of(fragment, &self.config);
        let namespaces: Vec<NamespaceId> = self
            .config
            .namespaces
            .iter()
            .filter(|known| known.normaliser == normaliser)
            .map(|known| known.id)
            .collect();
        let read = move |raw: &str| identifier::canonicalise(normaliser, raw, region).ok();
        texts.filter_map(read).flat_map(move |value| {
            let of = |namespace: &NamespaceId| {
                [PartyKind::Person, PartyKind::Organisation].map(|party| self.value_digest(*namespace, party, &value))
            };
            namespaces.iter().flat_map(of).collect::<Vec<Digest128>>()
        })
    }

    /// All well-formed identifiers of a fragment in the form in which profiles show them, whether or not they may link.
    #[must_use]
    pub fn contact_values(&self, fragment: &Fragment) -> Vec<(NamespaceId, String)> {
        let region = region::of(fragment, &self.config);
        let claims = fragment.identifiers.iter();
        claims.filter_map(|claim| Some((claim.namespace, self.value(claim.namespace, &claim.raw, region)?))).collect()
    }

    /// The same of one value that stands in no fragment.
    #[must_use]
    pub fn contact_value(&self, namespace: NamespaceId, raw: &str) -> Option<String> {
        self.value(namespace, raw, self.config.default_region.as_deref())
    }

    /// The values behind [`Self::points_as`].
    pub fn values_as<'a>(
        &'a self,
        normaliser: Normaliser,
        fragment: &Fragment,
        texts: impl Iterator<Item = &'a str> + 'a,
    ) -> impl Iterator<Item = (NamespaceId, String)> + 'a {
        let region = region::of(fragment, &self.config);
        let read = move |raw: &str| identifier::canonicalise(normaliser, raw, region).ok();
        texts.filter_map(read).map(Canonical::into_string).flat_map(move |value| {
            let namespaces = self.config.namespaces.iter().filter(move |known| known.normaliser == normaliser);
            namespaces.map(move |known| (known.id, value.clone()))
        })
    }

    fn value(&self, namespace: NamespaceId, raw: &str, region: Option<&str>) -> Option<String> {
        let rules = self.namespaces.get(usize::from(namespace.0))?;
        identifier::canonicalise(rules.normaliser, raw, region).ok().map(Canonical::into_string)
    }

    /// The points of contact of a value in plain letters, for either kind of party; none where it is in these already, or is no
    /// such value in them.
    #[must_use]
    pub fn plain_points(&self, namespace: NamespaceId, raw: &str) -> Vec<Digest128> {
        let Some(plain) = identifier::compatible(raw) else { return Vec::new() };
        let both = [PartyKind::Person, PartyKind::Organisation].into_iter();
        both.filter_map(|party| Some(self.contact_point(namespace, party, &plain).ok()?.digest)).collect()
    }

    /// The digests of a fragment's telephone numbers as they were read while another default region held: what was said of a
    /// number, or is kept to stop it, stands where it was read then. None of a fragment that says its own country.
    #[must_use]
    pub fn contact_points_under(&self, fragment: &Fragment, region: Option<&str>) -> Vec<Digest128> {
        if region::own(fragment).is_some() {
            return Vec::new();
        }
        let claims = fragment.identifiers.iter();
        claims.flat_map(|claim| self.contact_point_under(claim.namespace, &claim.raw, region)).collect()
    }

    /// The same of one value, for either kind of party.
    #[must_use]
    pub fn contact_point_under(&self, namespace: NamespaceId, raw: &str, region: Option<&str>) -> Vec<Digest128> {
        let rules = self.namespaces.get(usize::from(namespace.0));
        if rules.is_none_or(|rules| rules.normaliser != Normaliser::Phone) {
            return Vec::new();
        }
        let both = [PartyKind::Person, PartyKind::Organisation].into_iter();
        both.filter_map(|party| Some(self.point(namespace, party, raw, region).ok()?.digest)).collect()
    }

    /// The digests of the households that a fragment places its person in: of one surname at one address. None where
    /// either is not known well enough.
    #[must_use]
    pub fn households(&self, fragment: &Fragment) -> Vec<Digest128> {
        let texts = household::households(fragment, region::of(fragment, &self.config));
        texts.iter().map(|text| self.digest(&[HOUSEHOLD_DOMAIN], text)).collect()
    }

    fn point(
        &self,
        namespace: NamespaceId,
        party: PartyKind,
        raw: &str,
        region: Option<&str>,
    ) -> Result<LinkValue, LookupError> {
        let rules = self.namespaces.get(usize::from(namespace.0)).ok_or(LookupError::UnknownNamespace)?;
        let value = identifier::canonicalise(rules.normaliser, raw, region).map_err(LookupError::Malformed)?;
        Ok(LinkValue { namespace, digest: self.value_digest(namespace, party, &value) })
    }

    /// The digest under which a source record is known.
    #[must_use]
    pub fn record_digest(&self, source: SourceId, key: &str) -> Digest128 {
        let [low, high] = source.0.to_le_bytes();
        self.digest(&[RECORD_DOMAIN, low, high], key)
    }

    fn link(
        &self,
        namespace: NamespaceId,
        party: PartyKind,
        raw: &str,
        region: Option<&str>,
    ) -> Result<LinkValue, NoteReason> {
        let rules = self.namespaces.get(usize::from(namespace.0)).ok_or(NoteReason::UnknownNamespace)?;
        let value = identifier::canonicalise(rules.normaliser, raw, region).map_err(NoteReason::Malformed)?;
        match rules.rules.blocked(&value) {
            Some(reason) => Err(NoteReason::Blocked(reason)),
            None => Ok(LinkValue { namespace, digest: self.value_digest(namespace, party, &value) }),
        }
    }

    fn value_digest(&self, namespace: NamespaceId, party: PartyKind, value: &Canonical) -> Digest128 {
        let [low, high] = namespace.0.to_le_bytes();
        self.digest(&[VALUE_DOMAIN, low, high, party as u8], value.as_str())
    }

    /// One contiguous buffer, on the stack for all but the longest values: a digest is one or two compressions.
    fn digest(&self, head: &[u8], text: &str) -> Digest128 {
        let mut bytes: SmallVec<[u8; 256]> = SmallVec::from_slice(head);
        bytes.extend_from_slice(text.as_bytes());
        Digest128::of(&blake3::keyed_hash(&self.key, &bytes))
    }

    /// Digest of the name in a form that survives typing habits, see [`name_skeleton`].
    fn name_key(&self, fragment: &Fragment) -> Option<u64> {
        let skeleton = name_skeleton(fragment)?;
        Some(self.digest(&[NAME_DOMAIN, fragment.party as u8], &skeleton).table_hash())
    }
}

/// The name of a fragment, as coarse as counting the people behind a shared value wants it: too fine, and one person's
/// typing habits look like many people, so that an honest value links nobody; too coarse, and strangers are fused.
///
/// A person is the first letter of the given name (of the full name behind a nickname: Bob is Robert) and the
/// [`skeleton`] of the family name without particles; with a family name of several words, of its first. `Jon Smith`,
/// `SMITH, JON`, `J. Smith` and `Jonathan Smyth` count as one; so do namesakes of one initial, which is the lesser harm.
/// Fields filled the wrong way round show when only the family name is known as a given name, and are turned. With one
/// part only, that part. An organisation is its name without legal form, spaces and `and`.
#[must_use]
pub fn name_skeleton(fragment: &Fragment) -> Option<String> {
    match fragment.party {
        PartyKind::Person => {
            let text = |name| text_of(fragment, name).unwrap_or_default();
            let (given, family) = (text(attribute::GIVEN_NAME), text(attribute::FAMILY_NAME));
            let name = PersonName::from_parts(given, "", family, "")
                .or_else(|| PersonName::parse(text(attribute::FULL_NAME)))?;
            person_skeleton(&name)
        }
        PartyKind::Organisation => {
            let raw = [attribute::LEGAL_NAME, attribute::TRADING_NAME, attribute::FULL_NAME]
                .into_iter()
                .find_map(|name| text_of(fragment, name))?;
            let name = CompanyName::parse(raw)?;
            let core = name.romanised.unwrap_or(name.core);
            let joined: String = core.split(' ').filter(|word| *word != "and").collect();
            Some(if joined.is_empty() { fold(raw) } else { joined })
        }
    }
}

fn person_skeleton(name: &PersonName) -> Option<String> {
    let turned = name.given.len() > 1 && !is_known_given(&name.given) && is_known_given(&name.family);
    if turned {
        return parts_skeleton(&name.family, &name.given, "");
    }
    parts_skeleton(&name.given, name.family_core(), &name.nickname)
}

fn parts_skeleton(given: &str, family: &str, nickname: &str) -> Option<String> {
    let given = full_forms(given).first().copied().unwrap_or(given);
    let ascii_given = romanise(given);
    let given = ascii_given.as_deref().unwrap_or(given);
    let ascii_family = romanise(family);
    let family = ascii_family.as_deref().unwrap_or(family).split(' ').next().unwrap_or_default();
    let mut key = String::with_capacity(16);
    if family.is_empty() {
        // A lone given name is all there is to tell people apart by.
        key.push_str("g:");
        key.push_str(if given.is_empty() { nickname } else { given });
        return (key.len() > 2).then_some(key);
    }
    key.extend(given.chars().next());
    key.push(':');
    let bones = key.len();
    skeleton(family, &mut key);
    if key.len() == bones {
        // Nothing but soft letters (`Ha`), or none of the alphabet: the name itself.
        key.push_str(family);
    }
    Some(key)
}

pub(crate) fn text_of(fragment: &Fragment, name: AttributeId) -> Option<&str> {
    // Attributes are in canonical order, and few: the first of its name.
    let value = fragment.attributes.iter().find(|attribute| attribute.name == name)?;
    value.value.as_text().filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests;
