//! LAW 4 as a consumer of the feed sees it: what every id that was ever given out stands for, and whether it may.

use std::collections::{BTreeMap, BTreeSet};

use onefold_proto::v1 as pb;
use onefold_tests::{Clients, reason};

use crate::oracle::Record;

/// What an id stands for, as the feed told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Live,
    Merged(String),
    Split(BTreeSet<String>),
    Emptied,
}

/// The live profiles and their records.
pub type Clusters = BTreeMap<String, BTreeSet<Record>>;

#[derive(Clone, Debug, Default)]
pub struct Ids {
    pub answers: BTreeMap<String, Answer>,
    /// The place of each in the order of opening.
    age: BTreeMap<String, usize>,
    cursor: u64,
    /// What befell each id, beyond its opening and its updates, as the feed told it.
    past: BTreeMap<String, Vec<Past>>,
    /// The records that an id held when it was merged or split, where that was looked at settlement by settlement: those that are
    /// of the same party still, and whether all are.
    held: BTreeMap<String, (BTreeSet<Record>, bool)>,
}

/// Sequence, kind, the others.
type Past = (u64, pb::ProfileEventKind, Vec<String>);

impl Ids {
    /// Follows the feed to its end. The history of every profile that it names says the same at once.
    pub async fn follow(&mut self, clients: &mut Clients) {
        let mut named = BTreeSet::new();
        for event in clients.events("", self.cursor).await.unwrap() {
            use pb::ProfileEventKind::{Absorbed, Created, Merged, Updated};
            named.insert(event.profile.clone());
            if !matches!(event.kind(), Created | Updated) {
                let past = (event.sequence, event.kind(), event.others.clone());
                self.past.entry(event.profile.clone()).or_default().push(past);
            }
            if event.kind() == Merged {
                let past = (event.sequence, Absorbed, vec![event.profile.clone()]);
                self.past.entry(event.others[0].clone()).or_default().push(past);
                named.insert(event.others[0].clone());
            }
            assert_eq!(event.previous_sequence, self.cursor, "the feed has a gap");
            self.cursor = event.sequence;
            let before = self.answers.get(&event.profile).cloned();
            let may_change = matches!(before, None | Some(Answer::Live | Answer::Emptied));
            assert!(may_change, "{} had ended and is told again", event.profile);
            let now = match event.kind() {
                pb::ProfileEventKind::Created => {
                    assert_eq!(before, None, "{} is opened twice", event.profile);
                    self.age.insert(event.profile.clone(), self.age.len());
                    Answer::Live
                }
                pb::ProfileEventKind::Updated => Answer::Live,
                pb::ProfileEventKind::Merged => Answer::Merged(event.others[0].clone()),
                pb::ProfileEventKind::Split if event.stays_live => Answer::Live,
                pb::ProfileEventKind::Split => Answer::Split(event.others.into_iter().collect()),
                pb::ProfileEventKind::Emptied => Answer::Emptied,
                other => panic!("the feed never says {other:?}"),
            };
            self.answers.insert(event.profile, now);
        }
        for id in named {
            self.check_history(clients, &id).await;
        }
    }

    /// What history says agrees with the feed; where the id leads by it, and whether it was split.
    async fn check_history(&self, clients: &mut Clients, id: &str) -> (BTreeSet<String>, bool) {
        let request = pb::ListProfileHistoryRequest { name: id.to_owned(), page_size: 1_000, ..Default::default() };
        let history = clients.profiles.list_profile_history(request).await.unwrap().into_inner();
        let current: BTreeSet<String> = history.current.iter().cloned().collect();
        match &self.answers[id] {
            Answer::Live => {
                assert_eq!(history.state(), pb::ProfileState::Live, "{id}");
                assert_eq!(current, BTreeSet::from([id.to_owned()]));
            }
            // What was merged may be in several by now.
            // Or in none, where all its records are somebody else's.
            Answer::Merged(_) | Answer::Split(_) if history.state() == pb::ProfileState::Emptied => {
                assert!(current.is_empty(), "{id}");
                assert!(self.held.get(id).is_none_or(|(held, whole)| held.is_empty() && !whole), "{id}");
            }
            Answer::Merged(_) if current.len() < 2 => {
                assert!([pb::ProfileState::Merged, pb::ProfileState::Split].contains(&history.state()), "{id}");
            }
            Answer::Merged(_) | Answer::Split(_) => assert_eq!(history.state(), pb::ProfileState::Split, "{id}"),
            Answer::Emptied => {
                assert_eq!((history.state(), current.len()), (pb::ProfileState::Emptied, 0), "{id}");
            }
        }
        let is_live = |end: &String| self.answers.get(end) == Some(&Answer::Live);
        assert!(current.iter().all(is_live), "{id} leads to what has ended: {current:?}");
        let is_split = history.state() == pb::ProfileState::Split;
        let (opened, past) = history.events.split_first().unwrap();
        assert_eq!(opened.kind(), pb::ProfileEventKind::Created, "{id}");
        let past: Vec<Past> = past.iter().map(|event| (event.sequence, event.kind(), event.others.clone())).collect();
        assert_eq!(past, self.past.get(id).cloned().unwrap_or_default(), "{id}: history and feed tell the same");
        (current, is_split)
    }

    /// A record is somebody else's from now on, as far as anybody can tell: ids that ended lead nobody to it.
    pub fn passed_on(&mut self, record: &Record) {
        for (held, whole) in self.held.values_mut() {
            *whole &= !held.remove(record);
        }
    }

    /// An id that ended leads to where the records are that it held: a merge that was undone leads to no other party's.
    pub async fn check_led(&self, clients: &mut Clients, clusters: &Clusters) {
        let holder: BTreeMap<&Record, &String> =
            clusters.iter().flat_map(|(id, records)| records.iter().map(move |record| (record, id))).collect();
        for (id, (held, whole)) in &self.held {
            let (current, _) = self.check_history(clients, id).await;
            let now: BTreeSet<String> = held.iter().filter_map(|record| holder.get(record)).copied().cloned().collect();
            assert!(now.is_subset(&current), "{id} leads to {current:?}, and its records are in {now:?}");
            let whole = *whole && held.iter().all(|record| holder.contains_key(record));
            if whole && matches!(self.answers[id], Answer::Merged(_)) {
                assert_eq!(current, now, "{id} leads to others' records");
            }
        }
    }

    /// Every id ever given out answers as the feed told.
    pub async fn check_answers(&self, clients: &mut Clients) {
        for id in self.answers.keys() {
            let (ends, split) = self.check_history(clients, id).await;
            match clients.get(id).await {
                Ok(profile) => {
                    assert!(!split, "{id} was split and answers with {}", profile.name);
                    assert_eq!(ends, BTreeSet::from([profile.name]), "{id}");
                }
                Err(status) if split && !ends.is_empty() => {
                    use tonic_types::StatusExt;
                    assert_eq!(reason(&status), "PROFILE_SPLIT", "{id}");
                    let told = status.get_details_error_info().unwrap().metadata["profiles"].clone();
                    let told: BTreeSet<String> = told.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect();
                    assert_eq!(told, ends, "{id}");
                }
                Err(status) => {
                    assert_eq!((reason(&status).as_str(), ends.len()), ("PROFILE_EMPTIED", 0), "{id}");
                }
            }
        }
    }

    /// From one settlement to the next: a merge keeps the oldest id, a split leaves the id with the largest part, among
    /// equals with the part that holds the oldest record, and an id that ends says where its records went. `age` says
    /// when a record was first heard of, where that is certain.
    pub fn check_handed_on(&mut self, before: &Clusters, after: &Clusters, age: &dyn Fn(&Record) -> Option<usize>) {
        let holder: BTreeMap<&Record, &String> =
            after.iter().flat_map(|(id, records)| records.iter().map(move |record| (record, id))).collect();
        let mut claims: BTreeMap<&String, BTreeSet<usize>> = BTreeMap::new();
        let mut uncertain: BTreeSet<&String> = BTreeSet::new();
        for (id, records) in before {
            let mut parts: BTreeMap<&String, Vec<&Record>> = BTreeMap::new();
            for record in records {
                if let Some(now_in) = holder.get(record) {
                    parts.entry(now_in).or_default().push(record);
                }
            }
            match &self.answers[id] {
                Answer::Live => {}
                Answer::Merged(into) => assert!(parts.keys().copied().eq([into]), "{id} was merged elsewhere"),
                Answer::Split(into) => {
                    assert!(parts.len() > 1 && parts.keys().copied().eq(into), "{id} was split otherwise: {parts:?}");
                }
                Answer::Emptied => assert!(parts.is_empty(), "{id} was emptied and its records live on"),
            }
            if matches!(self.answers[id], Answer::Merged(_) | Answer::Split(_)) {
                let held = parts.values().flatten().map(|record| Record::clone(record)).collect();
                self.held.insert(id.clone(), (held, true));
            }
            let largest = parts.values().map(Vec::len).max().unwrap_or(0);
            let mut heirs: Vec<_> = parts.iter().filter(|(_, part)| part.len() == largest).collect();
            if heirs.len() > 1 {
                let ages = |part: &[&Record]| part.iter().map(|record| age(record)).collect::<Option<Vec<_>>>();
                let aged: Option<Vec<_>> =
                    heirs.iter().map(|(heir, part)| Some((ages(part)?.into_iter().min(), **heir))).collect();
                let Some(mut aged) = aged else {
                    uncertain.extend(heirs.iter().map(|(heir, _)| **heir));
                    continue;
                };
                aged.sort();
                let oldest = aged[0].1;
                heirs.retain(|(heir, _)| **heir == oldest);
            }
            if let Some((heir, _)) = heirs.first() {
                claims.entry(heir).or_default().insert(self.age[id]);
            }
        }
        for (heir, claims) in claims.into_iter().filter(|(heir, _)| !uncertain.contains(heir)) {
            let told =
                || format!("{heir} goes on under another id than it should:\nbefore {before:?}\nafter {after:?}");
            assert_eq!(claims.first(), Some(&self.age[heir]), "{}", told());
        }
    }
}
