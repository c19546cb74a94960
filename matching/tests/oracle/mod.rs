//! A naive resolver, straight from the rules' words: no index, no increments, nothing shared with the product's code.

use std::collections::{BTreeMap, BTreeSet};

use onefold_core::ids::Digest128;
use onefold_core::namespace::NamespaceClass;
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::LinkRules;

/// The last word on each record.
#[derive(Clone, Default)]
pub struct Ground {
    last: BTreeMap<Digest128, (i64, bool, Digest128, Option<Prepared>)>,
}

impl Ground {
    pub fn put(&mut self, prepared: &Prepared) {
        self.offer(prepared.record, (prepared.observed_at.0, false, prepared.facts, Some(prepared.clone())));
    }

    pub fn retract(&mut self, record: Digest128, at: i64) {
        self.offer(record, (at, true, Digest128([0; 16]), None));
    }

    fn offer(&mut self, record: Digest128, word: (i64, bool, Digest128, Option<Prepared>)) {
        match self.last.get(&record) {
            Some(held) if (held.0, held.1, held.2) >= (word.0, word.1, word.2) => {}
            _ => {
                self.last.insert(record, word);
            }
        }
    }

    pub fn live(&self) -> Vec<&Prepared> {
        self.last.values().filter_map(|word| word.3.as_ref()).collect()
    }

    /// The clusters that must be.
    pub fn clusters(&self, rules: &LinkRules) -> BTreeSet<BTreeSet<Digest128>> {
        let live = self.live();
        let mut holders: BTreeMap<LinkValue, Vec<&Prepared>> = BTreeMap::new();
        for fragment in &live {
            for value in &fragment.links {
                holders.entry(*value).or_default().push(fragment);
            }
        }
        let mut links: Vec<_> = holders
            .iter()
            .filter(|(value, _)| rules.rule(value.namespace).class != NamespaceClass::Supporting)
            .filter(|(value, held)| !is_generic(rules, value, held))
            .map(|(value, held)| {
                let rule = rules.rule(value.namespace);
                let members: Vec<&Prepared> =
                    held.iter().copied().filter(|fragment| !contradicts(rules, &[fragment])).collect();
                let mut facts: Vec<Digest128> = members.iter().map(|fragment| fragment.facts).collect();
                facts.sort();
                let class = if rule.class == NamespaceClass::Unique { 0 } else { 1 };
                (class, u16::MAX - rule.priority, members.len(), facts, members)
            })
            .collect();
        links.sort_by(|a, b| (a.0, a.1, a.2, &a.3).cmp(&(b.0, b.1, b.2, &b.3)));

        let mut clusters: Vec<Vec<&Prepared>> = live.iter().map(|fragment| vec![*fragment]).collect();
        for (.., members) in links {
            let touches =
                |cluster: &Vec<&Prepared>| cluster.iter().any(|f| members.iter().any(|m| m.record == f.record));
            let (touched, others): (Vec<_>, Vec<_>) = clusters.iter().cloned().partition(touches);
            let whole: Vec<&Prepared> = touched.concat();
            if whole.len() <= rules.cluster_records_max as usize && !contradicts(rules, &whole) {
                clusters = others;
                clusters.extend((!whole.is_empty()).then_some(whole));
            }
        }
        clusters.iter().map(|cluster| cluster.iter().map(|fragment| fragment.record).collect()).collect()
    }
}

fn contradicts(rules: &LinkRules, fragments: &[&Prepared]) -> bool {
    let all: BTreeSet<LinkValue> = fragments.iter().flat_map(|fragment| fragment.links.iter().copied()).collect();
    let unique: Vec<_> = all.iter().filter(|v| rules.rule(v.namespace).class == NamespaceClass::Unique).collect();
    unique.iter().any(|a| unique.iter().any(|b| a.namespace == b.namespace && a.digest != b.digest))
}

fn is_generic(rules: &LinkRules, value: &LinkValue, holders: &[&Prepared]) -> bool {
    let limit = usize::from(rules.rule(value.namespace).diversity_limit);
    let names: BTreeSet<u64> = holders.iter().filter_map(|fragment| fragment.name).collect();
    let mut uniques: BTreeMap<u16, BTreeSet<Digest128>> = BTreeMap::new();
    for other in holders.iter().filter(|f| !contradicts(rules, &[f])).flat_map(|fragment| &fragment.links) {
        if other.namespace != value.namespace && rules.rule(other.namespace).class == NamespaceClass::Unique {
            uniques.entry(other.namespace.0).or_default().insert(other.digest);
        }
    }
    holders.len() > rules.value_records_max as usize
        || names.len() > limit
        || uniques.values().any(|values| values.len() > limit)
}
