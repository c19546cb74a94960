//! Who wins when fragments disagree.
//!
//! An attribute is decided by itself; a group (`address.street`, `address.city`) is decided as one, so that no profile
//! shows a street of one house in the city of another. A candidate is what one fragment says of an attribute or group.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{GoldenValue, Member, Provenance};
use crate::config::{Survivorship, TenantConfig};
use crate::fragment::{Attribute, AttributeValue, Fragment, Vocabulary};

/// What one fragment says of one attribute or group.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    fragment: &'a Fragment,
    trust: u16,
    attributes: Vec<&'a Attribute>,
}

/// The picked values and the others, by attribute name. `ordered`: newest first.
pub(super) fn pick(ordered: &[Member<'_>], config: &TenantConfig) -> (Vec<GoldenValue>, Vec<GoldenValue>) {
    let mut subjects: BTreeMap<&str, Vec<Candidate<'_>>> = BTreeMap::new();
    for member in ordered {
        let mut said: BTreeMap<&str, Vec<&Attribute>> = BTreeMap::new();
        for attribute in &member.fragment.attributes {
            if !is_blank(&attribute.value) {
                said.entry(subject(config.attribute(attribute.name))).or_default().push(attribute);
            }
        }
        for (subject, attributes) in said {
            let candidate = Candidate { fragment: member.fragment, trust: member.trust, attributes };
            subjects.entry(subject).or_default().push(candidate);
        }
    }
    let (mut values, mut others) = (Vec::new(), Vec::new());
    for (subject, candidates) in subjects {
        let rule = config.survivorship.get(subject).copied().unwrap_or(config.default_survivorship);
        settle(&candidates, rule, config, &mut values, &mut others);
    }
    (values, others)
}

/// The group of a name with a dot, else the name itself.
fn subject(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(group, _)| group)
}

fn is_blank(value: &AttributeValue) -> bool {
    matches!(value, AttributeValue::Text(text) if text.trim().is_empty())
}

/// Values that say the same: text is compared without case and outer space.
fn same(a: &AttributeValue, b: &AttributeValue) -> bool {
    match (a, b) {
        (AttributeValue::Text(a), AttributeValue::Text(b)) => {
            a == b || a.trim().to_lowercase() == b.trim().to_lowercase()
        }
        (AttributeValue::Number(a), AttributeValue::Number(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

impl Candidate<'_> {
    fn says_the_same(&self, other: &Self) -> bool {
        self.attributes.len() == other.attributes.len()
            && self.attributes.iter().zip(&other.attributes).all(|(a, b)| a.name == b.name && same(&a.value, &b.value))
    }

    fn length(&self) -> usize {
        self.attributes
            .iter()
            .map(|attribute| match &attribute.value {
                AttributeValue::Text(text) => text.trim().chars().count(),
                AttributeValue::Number(_) | AttributeValue::Flag(_) => 0,
            })
            .sum()
    }
}

/// Candidates come newest first, ties by content, so "the first of the best" is the newest of the best.
fn settle(
    candidates: &[Candidate<'_>],
    rule: Survivorship,
    config: &TenantConfig,
    values: &mut Vec<GoldenValue>,
    others: &mut Vec<GoldenValue>,
) {
    // One for each distinct thing said: the candidates that say it, newest first.
    let mut distinct: Vec<Vec<&Candidate<'_>>> = Vec::new();
    for candidate in candidates {
        match distinct.iter_mut().find(|known| known[0].says_the_same(candidate)) {
            Some(known) => known.push(candidate),
            None => distinct.push(vec![candidate]),
        }
    }
    let best = |better: &dyn Fn(&[&Candidate<'_>], &[&Candidate<'_>]) -> Ordering| {
        let mut best = 0;
        for index in 1..distinct.len() {
            if better(&distinct[index], &distinct[best]) == Ordering::Greater {
                best = index;
            }
        }
        best
    };
    let trust = |said: &[&Candidate<'_>]| said.iter().map(|candidate| candidate.trust).max();
    // Of those that a source of this trust says: when did such a source say it last?
    let when_trusted = |said: &[&Candidate<'_>]| {
        said.iter().filter(|c| Some(c.trust) == trust(said)).map(|c| c.fragment.observed_at).max()
    };
    let winner = match rule {
        Survivorship::MostRecent | Survivorship::AllValues => 0,
        Survivorship::MostTrusted => best(&|a, b| (trust(a), when_trusted(a)).cmp(&(trust(b), when_trusted(b)))),
        Survivorship::MostFrequent => best(&|a, b| a.len().cmp(&b.len())),
        Survivorship::Longest => best(&|a, b| a[0].length().cmp(&b[0].length())),
    };
    for (index, said) in distinct.iter().enumerate() {
        let mut said = said.clone();
        if rule == Survivorship::MostTrusted {
            // The deciding fragment first: of the most trusted source, the newest.
            let decisive = said.iter().position(|candidate| Some(candidate.trust) == trust(&said)).unwrap_or(0);
            let decisive = said.remove(decisive);
            said.insert(0, decisive);
        }
        let wins = rule == Survivorship::AllValues || index == winner;
        let to = if wins { &mut *values } else { &mut *others };
        let mut shown: Vec<&Attribute> = said[0].attributes.clone();
        shown.sort_by(|a, b| config.attribute(a.name).cmp(config.attribute(b.name)));
        for attribute in shown {
            to.push(GoldenValue {
                attribute: attribute.name,
                value: attribute.value.clone(),
                provenance: said.iter().map(|candidate| Provenance::of(candidate.fragment)).collect(),
                rule,
            });
        }
    }
}
