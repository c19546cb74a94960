//! Why records are one party, or not, in values that people can read (law 8).
//!
//! The engine knows digests; here the fragments concerned are opened to say what stands behind them.

use std::collections::HashMap;

use onefold_core::fragment::{Fragment, PartyKind, SourceRecord};
use onefold_core::identifier::{canonicalise, region};
use onefold_core::ids::{Digest128, NamespaceId, ProfileOrdinal};
use onefold_core::namespace::NamespaceClass;
use onefold_matching::pair::MatchEvidence;
use onefold_matching::prepare::NoteReason;
use onefold_matching::prepared::LinkValue;
use onefold_matching::resolve::{Cut, Engine, Evidence, Explanation, GenericReason, SeparateReason, ValueStanding};

use super::App;
use super::error::ReadError;
use super::read::fragment_of;
use super::tenant::{LiveConfig, Tenant};

/// Records that one explanation opens at most.
const OPENED_MAX: usize = 500;
/// Possible links that one explanation lists at most.
const POSSIBLE_MAX: usize = 100;
/// Records that one link lists at most.
const LISTED_MAX: usize = 50;

/// A shared value, readable.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadableLink {
    /// The kind of the shared value; `None` for a match by weight and for a judgement.
    pub namespace: Option<NamespaceId>,
    /// Canonical; empty when the record that says it could not be among those opened. For a match by weight and for a
    /// judgement, what it is.
    pub value: String,
    /// The records that it holds together.
    pub records: Vec<SourceRecord>,
    /// What it rests on: a promise to clients.
    pub kind: &'static str,
    /// How two records match, where the link is their match.
    pub evidence: Option<MatchEvidence>,
}

/// Why two records are not one party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// For programs: a promise to clients.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The namespace concerned.
    pub namespace: Option<NamespaceId>,
    /// The value concerned, canonical.
    pub value: String,
}

/// Why two records are, or are not, in one profile.
#[derive(Clone, Debug)]
pub enum Why {
    /// They are.
    Together {
        /// Which.
        profile: ProfileOrdinal,
        /// From the one to the other.
        path: Vec<ReadableLink>,
        /// The weakest step.
        weakest: Option<usize>,
        /// How the two records match by weight.
        evidence: Option<MatchEvidence>,
    },
    /// They are not.
    Apart {
        /// The profile of each, where it has one.
        profiles: [Option<ProfileOrdinal>; 2],
        /// Every reason found.
        obstacles: Vec<Obstacle>,
        /// How the two records match by weight.
        evidence: Option<MatchEvidence>,
    },
}

/// How a profile is held together.
#[derive(Clone, Debug)]
pub struct How {
    /// Its links, strongest first.
    pub links: Vec<ReadableLink>,
    /// The fewest whose loss would split it.
    pub weakest: Vec<ReadableLink>,
    /// Evidence that may not join it to others.
    pub possible: Vec<Obstacle>,
}

/// The fragments behind digests, opened once.
struct Reading<'a> {
    app: &'a App,
    tenant: &'a Tenant,
    config: &'a LiveConfig,
    opened: HashMap<Digest128, Option<Fragment>>,
}

impl Reading<'_> {
    fn fragment(&mut self, record: Digest128) -> Result<Option<&Fragment>, ReadError> {
        if !self.opened.contains_key(&record) {
            let view = self.tenant.state().engine.record(record).filter(|view| view.live);
            let fragment = match view {
                Some(view) if self.opened.len() < OPENED_MAX => {
                    let found = fragment_of(&self.app.shared, self.tenant, record, view.place)?;
                    found.map(|(fragment, _)| fragment)
                }
                _ => None,
            };
            self.opened.insert(record, fragment);
        }
        Ok(self.opened.get(&record).and_then(Option::as_ref))
    }

    /// The canonical text behind a value, as one of these records says it.
    fn text(&mut self, value: LinkValue, records: &[Digest128]) -> Result<String, ReadError> {
        let config = self.config;
        for record in records {
            let Some(fragment) = self.fragment(*record)? else { continue };
            if let Some(text) = text_in(fragment, value, config) {
                return Ok(text);
            }
        }
        Ok(String::new())
    }

    fn link(&mut self, evidence: Evidence, records: &[Digest128]) -> Result<ReadableLink, ReadError> {
        let (namespace, text, kind) = match evidence {
            Evidence::Value(value) => (Some(value.namespace), self.text(value, records)?, "VALUE"),
            Evidence::Weight(bits) => (None, format!("match of {bits:.1} bits"), "MATCH"),
            Evidence::Judgement => (None, "judged to be one".to_owned(), "JUDGEMENT"),
        };
        let matched = match (evidence, records) {
            (Evidence::Weight(_), [one, other]) => self.tenant.state().engine.match_evidence(*one, *other),
            _ => None,
        };
        let mut named = Vec::new();
        for record in records.iter().take(LISTED_MAX) {
            named.extend(self.fragment(*record)?.map(|fragment| fragment.record.clone()));
        }
        Ok(ReadableLink { namespace, value: text, records: named, kind, evidence: matched })
    }
}

fn text_in(fragment: &Fragment, value: LinkValue, config: &LiveConfig) -> Option<String> {
    let region = region::of(fragment, &config.config);
    fragment.identifiers.iter().filter(|claim| claim.namespace == value.namespace).find_map(|claim| {
        let namespace = config.config.namespace(claim.namespace)?;
        let canonical = canonicalise(namespace.normaliser, &claim.raw, region).ok()?;
        let held = config.preparer().link_value(claim.namespace, fragment.party, canonical.as_str()).ok()?;
        (held == value).then(|| canonical.into_string())
    })
}

/// Why two source records are, or are not, one party.
///
/// # Errors
/// [`ReadError::ProfileUnknown`] when one of them was never seen, [`ReadError::Store`].
pub fn why(app: &App, tenant: &Tenant, first: &SourceRecord, second: &SourceRecord) -> Result<Why, ReadError> {
    let config = tenant.config();
    let digests = [first, second].map(|record| config.preparer().record_digest(record.source, &record.key));
    let explanation = tenant.seen(|state| {
        let known = digests.iter().all(|digest| state.engine.record(*digest).is_some());
        known.then(|| state.engine.explain(digests[0], digests[1]))
    })?;
    let explanation = explanation.ok_or(ReadError::ProfileUnknown)?;
    let evidence = tenant.state().engine.match_evidence(digests[0], digests[1]);
    let mut reading = Reading { app, tenant, config: &config, opened: HashMap::new() };
    match explanation {
        Explanation::Together { profile, path, weakest } => {
            let mut steps = Vec::with_capacity(path.len());
            for step in path {
                steps.push(reading.link(step.evidence, &[step.from, step.to])?);
            }
            Ok(Why::Together { profile, path: steps, weakest, evidence })
        }
        Explanation::NotLive(_) => {
            let profiles = digests.map(|digest| tenant.state().engine.profile_of(digest));
            let message = "a record without a live fragment is in no profile: it was retracted".to_owned();
            let obstacle = Obstacle { reason: "NOT_LIVE", message, namespace: None, value: String::new() };
            Ok(Why::Apart { profiles, obstacles: vec![obstacle], evidence })
        }
        Explanation::Separate { profiles, reasons } => {
            let mut obstacles = unusable(&mut reading, digests)?;
            let kinds: Vec<PartyKind> = {
                let state = tenant.state();
                digests.iter().filter_map(|digest| state.engine.record(*digest).map(|view| view.party)).collect()
            };
            if kinds.first() != kinds.last() {
                let message = "one is a person and one an organisation; they are never linked".to_owned();
                let obstacle =
                    Obstacle { reason: "DIFFERENT_PARTY_KIND", message, namespace: None, value: String::new() };
                obstacles.insert(0, obstacle);
            }
            for reason in reasons {
                if reason == SeparateReason::NothingShared && !obstacles.is_empty() {
                    continue;
                }
                obstacles.push(readable(&mut reading, reason, &digests)?);
            }
            Ok(Why::Apart { profiles: [Some(profiles.0), Some(profiles.1)], obstacles, evidence })
        }
    }
}

/// What to tell a caller whose identifier links nobody.
pub fn note(reason: NoteReason) -> String {
    format!("{}; kept as a fact, links nobody", note_reason(reason))
}

fn note_reason(reason: NoteReason) -> String {
    match reason {
        NoteReason::Malformed(why) => why.to_string(),
        NoteReason::Blocked(why) => format!("is blocked: {why}"),
        NoteReason::UnknownNamespace => "is of no known namespace".to_owned(),
    }
}

/// Values that both records hold and that are blocked or malformed.
fn unusable(reading: &mut Reading<'_>, digests: [Digest128; 2]) -> Result<Vec<Obstacle>, ReadError> {
    let mut held: [Vec<(NamespaceId, String, String)>; 2] = [Vec::new(), Vec::new()];
    for (digest, held) in digests.iter().zip(&mut held) {
        let config = reading.config;
        let Some(fragment) = reading.fragment(*digest)? else { continue };
        let region = region::of(fragment, &config.config);
        for note in config.preparer().prepare(fragment).1 {
            let Some(claim) = fragment.identifiers.get(note.identifier) else { continue };
            if let (NoteReason::Blocked(_), Some(namespace)) = (note.reason, config.config.namespace(claim.namespace))
                && let Ok(canonical) = canonicalise(namespace.normaliser, &claim.raw, region)
            {
                held.push((claim.namespace, canonical.into_string(), note_reason(note.reason)));
            }
        }
    }
    let [first, second] = held;
    Ok(first
        .into_iter()
        .filter(|(namespace, value, _)| second.iter().any(|(n, v, _)| n == namespace && v == value))
        .map(|(namespace, value, why)| Obstacle {
            reason: "BLOCKED",
            message: format!("both hold it, and it links nobody: it {why}"),
            namespace: Some(namespace),
            value,
        })
        .collect())
}

fn readable(reading: &mut Reading<'_>, reason: SeparateReason, records: &[Digest128]) -> Result<Obstacle, ReadError> {
    let config = reading.config;
    let name = |namespace: NamespaceId| config.config.namespace(namespace).map_or("", |n| n.name.as_str()).to_owned();
    let (code, value, message) = match reason {
        SeparateReason::NothingShared => ("NO_SHARED_VALUE", None, "no identifier is held on both sides".to_owned()),
        SeparateReason::Supporting(value) => {
            ("SUPPORTING_ONLY", Some(value), "its namespace supports and never links by itself".to_owned())
        }
        SeparateReason::Generic(value, GenericReason::Crowded { records, limit }) => {
            ("GENERIC", Some(value), format!("{records} records hold it, over the limit of {limit}: it names nobody"))
        }
        SeparateReason::Generic(value, GenericReason::Names { names, limit }) => {
            ("GENERIC", Some(value), format!("{names} different names stand behind it, over the limit of {limit}"))
        }
        SeparateReason::Generic(value, GenericReason::Uniques { namespace, values, limit }) => {
            let message = format!("{values} values of {} stand behind it, over the limit of {limit}", name(namespace));
            ("GENERIC", Some(value), message)
        }
        SeparateReason::Vetoed { value, namespace } => (
            "UNIQUE_CONFLICT",
            Some(value),
            format!("the two sides hold different values of {}, of which a party has one", name(namespace)),
        ),
        SeparateReason::Contradicting { value, .. } => (
            "UNIQUE_CONFLICT",
            Some(value),
            "a record that holds it contradicts itself in a unique namespace, and joins nobody".to_owned(),
        ),
        SeparateReason::Contested { value, profiles } => (
            "CONTESTED",
            Some(value),
            format!("{profiles} profiles hold it, some of which are provably different parties, so it speaks for none"),
        ),
        SeparateReason::Judged { .. } => {
            ("JUDGED_DIFFERENT", None, "a steward judged records of the two to be different".to_owned())
        }
        SeparateReason::Divided { value } => (
            "VALUE_DIVIDED",
            Some(value),
            "those who hold it contradict each other, so it joins only some of them".to_owned(),
        ),
        SeparateReason::Contradiction { weight_bits, conflict_bits, .. } => (
            "RECORDS_CONTRADICT",
            None,
            format!("records of the two contradict each other: {weight_bits:.1} bits, below {conflict_bits:.1}"),
        ),
        SeparateReason::Unlike { weight_bits, least_bits } => (
            "PROFILES_UNLIKE",
            None,
            format!(
                "all that is known of the two, taken together, matches by {weight_bits:.1} bits, and {least_bits:.1} would \
                 let them be one"
            ),
        ),
        SeparateReason::Exclusive { namespace, weight_bits } => (
            "UNIQUE_CONFLICT",
            None,
            format!(
                "the records match by {weight_bits:.1} bits, but the two sides hold different values of {}",
                name(namespace)
            ),
        ),
        SeparateReason::FellShort { weight_bits, link_bits } => (
            "WEIGHT_FELL_SHORT",
            None,
            format!("the records match by {weight_bits:.1} bits, and {link_bits:.1} would link them"),
        ),
        SeparateReason::NoSharedKey { weight_bits, link_bits } => (
            "NO_SHARED_KEY",
            None,
            format!(
                "the records share no blocking key, so they are not compared; they would match by {weight_bits:.1} \
                 bits, and {link_bits:.1} would link them"
            ),
        ),
        SeparateReason::TooLarge { value, records, limit } => (
            "CLUSTER_FULL",
            Some(value),
            format!("the profile would have {records} records, over the bound of {limit}"),
        ),
    };
    let text = match value {
        Some(value) => reading.text(value, records)?,
        None => String::new(),
    };
    Ok(Obstacle { reason: code, message, namespace: value.map(|value| value.namespace), value: text })
}

/// What members of a profile share with others and are not joined by.
fn parked(engine: &Engine, records: &[Digest128], config: &LiveConfig) -> Vec<SeparateReason> {
    let mut values: Vec<LinkValue> =
        records.iter().take(OPENED_MAX).flat_map(|record| engine.links_of(*record)).collect();
    values.sort_unstable();
    values.dedup();
    let found = values.into_iter().filter_map(|value| {
        let supports = config.config.namespace(value.namespace).is_none_or(|n| n.class == NamespaceClass::Supporting);
        match engine.value(value) {
            _ if supports => None,
            ValueStanding::Generic(reason) => Some(SeparateReason::Generic(value, reason)),
            ValueStanding::Profiles { profiles, .. } if profiles.len() > 1 => {
                Some(SeparateReason::Contested { value, profiles: profiles.len() as u32 })
            }
            ValueStanding::Profiles { .. } | ValueStanding::Unknown => None,
        }
    });
    found.take(POSSIBLE_MAX).collect()
}

/// How a live profile is held together.
///
/// # Errors
/// [`ReadError::ProfileUnknown`] when it is not live, [`ReadError::Store`].
pub fn how(app: &App, tenant: &Tenant, profile: ProfileOrdinal) -> Result<How, ReadError> {
    let config = tenant.config();
    let seen = tenant.seen(|state| {
        let growth = state.engine.growth(profile)?;
        let parked = parked(&state.engine, &growth.records, &config);
        Some((growth, parked))
    })?;
    let (growth, parked) = seen.ok_or(ReadError::ProfileUnknown)?;
    let mut reading = Reading { app, tenant, config: &config, opened: HashMap::new() };
    let mut links = Vec::new();
    let mut weakest = Vec::new();
    for (index, link) in growth.links.iter().enumerate() {
        let readable = reading.link(link.evidence, &link.records)?;
        if let Cut::Smallest(cut) = &growth.cut
            && cut.contains(&index)
        {
            weakest.push(readable.clone());
        }
        links.push(readable);
    }
    let mut possible = Vec::new();
    for reason in parked {
        possible.push(readable(&mut reading, reason, &growth.records)?);
    }
    Ok(How { links, weakest, possible })
}
