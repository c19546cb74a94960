//! A naive recompute from ground state, straight from the design's words: plain structs, no index, no increments, and
//! nothing shared with the product but the wire.

use std::collections::{BTreeMap, BTreeSet};

use onefold_proto::v1 as pb;
use onefold_tests::traffic::Message;
use pb::attribute::Value;
use pb::{IngestStatus, NamespaceClass, SurvivorshipRule};

use crate::facts::digest;

/// Source and key.
pub type Record = (String, String);
/// Namespace, party kind and canonical value.
type Shared = (String, i32, String);

/// The last word on each record, and the laws in force.
#[derive(Clone, Default)]
pub struct Ground {
    pub namespaces: BTreeMap<String, pb::Namespace>,
    pub trust: BTreeMap<String, u32>,
    pub survivorship: SurvivorshipRule,
    /// Time in microseconds, whether retracted, digest of the facts, the fragment.
    last: BTreeMap<Record, (i64, bool, [u8; 16], Option<pb::Fragment>)>,
    /// When each record was first heard of.
    pub age: BTreeMap<Record, usize>,
}

pub fn record_of(message: &Message) -> Record {
    let (source, key) = message.record();
    (source.to_owned(), key.to_owned())
}

impl Ground {
    /// Takes the message in; what must be answered.
    pub fn take(&mut self, message: &Message) -> IngestStatus {
        let (retracted, digest, fragment) = match message {
            Message::Put(fragment) => (false, digest(fragment), Some(fragment.clone())),
            Message::Retract(_) => (true, [0; 16], None),
        };
        let word = ((message.at() / 1_000) as i64, retracted, digest, fragment);
        let record = record_of(message);
        let age = self.age.len();
        self.age.entry(record.clone()).or_insert(age);
        match self.last.get(&record).map(|held| (held.0, held.1, held.2).cmp(&(word.0, word.1, word.2))) {
            Some(std::cmp::Ordering::Equal) => return IngestStatus::Duplicate,
            Some(std::cmp::Ordering::Greater) => return IngestStatus::Superseded,
            _ => self.last.insert(record, word),
        };
        IngestStatus::Accepted
    }

    /// Whether the record may be somebody else's by this message: where nothing is left that named somebody, or where what it
    /// said last is not known here.
    pub fn may_pass_on(&self, message: &Message) -> bool {
        let Message::Put(fragment) = message else { return false };
        let named = |fragment: &pb::Fragment| -> BTreeSet<Shared> {
            let values = self.values(fragment).into_iter();
            values.filter(|value| self.class(value) != NamespaceClass::Supporting).collect()
        };
        self.last.get(&record_of(message)).is_some_and(|(.., before)| {
            before.as_ref().is_none_or(|before| named(before).is_disjoint(&named(fragment)))
        })
    }

    pub fn live(&self) -> BTreeMap<Record, &pb::Fragment> {
        self.last.iter().filter_map(|(record, word)| Some((record.clone(), word.3.as_ref()?))).collect()
    }

    /// The values of a fragment that may link.
    fn values(&self, fragment: &pb::Fragment) -> BTreeSet<Shared> {
        let canonical = |claim: &pb::Identifier| {
            let namespace = &self.namespaces[&claim.namespace];
            let value = canonical(namespace.normaliser(), &claim.value)?;
            let blocked = JUNK.contains(&value.as_str()) || namespace.blocked_values.contains(&value);
            (!blocked).then(|| (claim.namespace.clone(), fragment.party_kind, value))
        };
        fragment.identifiers.iter().filter_map(canonical).collect()
    }

    fn class(&self, value: &Shared) -> NamespaceClass {
        self.namespaces[&value.0].class()
    }

    /// LAW 5: two values of a unique namespace.
    pub fn contradict<'a>(&self, fragments: impl IntoIterator<Item = &'a pb::Fragment>) -> bool {
        let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for value in fragments.into_iter().flat_map(|fragment| self.values(fragment)) {
            if self.class(&value) == NamespaceClass::Unique {
                held.entry(value.0).or_default().insert(value.2);
            }
        }
        held.values().any(|values| values.len() > 1)
    }

    /// More parties behind the value than its namespace allows.
    fn generic(&self, value: &Shared, holders: &[&pb::Fragment]) -> bool {
        let limit = self.namespaces[&value.0].diversity_limit as usize;
        let names: BTreeSet<String> = holders.iter().filter_map(|fragment| name(fragment)).collect();
        let mut uniques: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for other in holders.iter().filter(|holder| !self.contradict([**holder])).flat_map(|holder| self.values(holder))
        {
            if other.0 != value.0 && self.class(&other) == NamespaceClass::Unique {
                uniques.entry(other.0).or_default().insert(other.2);
            }
        }
        names.len() > limit || uniques.values().any(|values| values.len() > limit)
    }

    /// LAW 2: the clusters that must be.
    pub fn clusters(&self) -> BTreeSet<BTreeSet<Record>> {
        let live = self.live();
        let mut holders: BTreeMap<Shared, Vec<&Record>> = BTreeMap::new();
        for (record, fragment) in &live {
            for value in self.values(fragment) {
                holders.entry(value).or_default().push(record);
            }
        }
        let mut links = Vec::new();
        for (value, held) in &holders {
            let fragments: Vec<&pb::Fragment> = held.iter().map(|record| live[*record]).collect();
            if self.class(value) == NamespaceClass::Supporting || self.generic(value, &fragments) {
                continue;
            }
            let members: Vec<&Record> =
                held.iter().copied().filter(|record| !self.contradict([live[*record]])).collect();
            let mut facts: Vec<[u8; 16]> = members.iter().map(|record| digest(live[*record])).collect();
            facts.sort_unstable();
            let weakness = u32::MAX - self.namespaces[&value.0].priority;
            links.push((self.class(value) != NamespaceClass::Unique, weakness, members.len(), facts, members));
        }
        links.sort();
        let mut clusters: Vec<BTreeSet<&Record>> = live.keys().map(|record| BTreeSet::from([record])).collect();
        for (.., members) in &links {
            let (touched, others): (Vec<_>, Vec<_>) =
                clusters.iter().cloned().partition(|cluster| members.iter().any(|member| cluster.contains(member)));
            let whole: BTreeSet<&Record> = touched.into_iter().flatten().collect();
            if !whole.is_empty() && !self.contradict(whole.iter().map(|record| live[*record])) {
                clusters = others;
                clusters.push(whole);
            }
        }
        clusters.into_iter().map(|cluster| cluster.into_iter().cloned().collect()).collect()
    }

    /// The golden values of an attribute that is in no group, best first.
    pub fn golden(&self, cluster: &BTreeSet<Record>, attribute: &str) -> Vec<String> {
        let mut said: Vec<(i64, u32, &Record, String)> = Vec::new();
        for record in cluster {
            let (at, .., fragment) = &self.last[record];
            for found in fragment.iter().flat_map(|fragment| &fragment.attributes) {
                if let (true, Some(Value::Text(text))) = (found.name == attribute, &found.value) {
                    said.push((*at, self.trust[&record.0], record, text.clone()));
                }
            }
        }
        // Newest first, then the more trusted source, then by source and key.
        said.sort_by(|a, b| (b.0, b.1, a.2).cmp(&(a.0, a.1, b.2)));
        let support = |text: &String| said.iter().filter(|other| other.3 == *text).count();
        let mut best: Vec<&(i64, u32, &Record, String)> = said.iter().collect();
        match self.survivorship {
            SurvivorshipRule::MostTrusted => best.sort_by_key(|one| std::cmp::Reverse(one.1)),
            SurvivorshipRule::Longest => best.sort_by_key(|one| std::cmp::Reverse(one.3.chars().count())),
            SurvivorshipRule::MostFrequent => best.sort_by_key(|one| std::cmp::Reverse(support(&one.3))),
            _ => {}
        }
        let mut values: Vec<String> = Vec::new();
        for (.., text) in best {
            if !values.contains(text) {
                values.push(text.clone());
            }
        }
        if self.survivorship != SurvivorshipRule::AllValues {
            values.truncate(1);
        }
        values
    }
}

/// Well-formed values that mean nothing.
pub const JUNK: [&str; 4] = ["null", "noreply@harbour-mail.net", "p9@example.com", "+12025550123"];

fn canonical(normaliser: pb::Normaliser, raw: &str) -> Option<String> {
    let text = raw.trim();
    match normaliser {
        pb::Normaliser::Email => text.contains('@').then(|| text.to_lowercase()),
        pb::Normaliser::Phone => Some(text.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect()),
        pb::Normaliser::Folded => Some(text.to_lowercase()),
        _ => Some(text.to_owned()),
    }
}

/// The names of the traffic differ in family name, or not at all.
fn name(fragment: &pb::Fragment) -> Option<String> {
    let wanted = if fragment.party_kind() == pb::PartyKind::Organisation { "legal_name" } else { "family_name" };
    let found = fragment.attributes.iter().find(|attribute| attribute.name == wanted)?;
    match &found.value {
        Some(Value::Text(text)) => Some(text.to_lowercase()),
        _ => None,
    }
}
