//! What a consumer of the feed keeps: a copy of every live profile, renewed only where the feed says so.

use std::collections::{BTreeMap, BTreeSet};

use onefold_proto::v1 as pb;

use crate::Clients;

/// A copy that follows the feed of one tenant.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// Every event so far.
    pub events: Vec<pb::ProfileEvent>,
    /// Live profiles by name, in full.
    pub profiles: BTreeMap<String, pb::Profile>,
}

impl Replica {
    /// The cursor to go on from.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.events.last().map_or(0, |event| event.sequence)
    }

    /// Takes in events, which must follow without a gap; the names of the profiles that they speak of.
    ///
    /// # Panics
    /// When there is a gap, or an event contradicts the ones before.
    pub fn take(&mut self, events: Vec<pb::ProfileEvent>) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for event in events {
            assert_eq!(event.previous_sequence, self.cursor(), "the feed has no gap");
            assert!(event.sequence > event.previous_sequence, "the feed is ordered");
            named.extend(event.others.iter().cloned());
            // What is told of an account concerns no profile.
            if event.kind() != pb::ProfileEventKind::AccountChanged {
                named.insert(event.profile.clone());
            }
            self.events.push(event);
        }
        named
    }

    /// Follows the feed to its end, reading again what it names.
    ///
    /// # Panics
    /// When the server fails, or the feed has a gap.
    pub async fn follow(&mut self, clients: &mut Clients, parent: &str) {
        let events = clients.events(parent, self.cursor()).await.expect("the feed");
        let mut ends: BTreeMap<String, bool> = BTreeMap::new();
        for event in &events {
            let live = match event.kind() {
                pb::ProfileEventKind::Created
                | pb::ProfileEventKind::Updated
                | pb::ProfileEventKind::ConsentChanged => true,
                pb::ProfileEventKind::AccountChanged => continue,
                pb::ProfileEventKind::Split | pb::ProfileEventKind::Erased => event.stays_live,
                pb::ProfileEventKind::Merged | pb::ProfileEventKind::Emptied => false,
                other => panic!("the feed never says {other:?}"),
            };
            ends.insert(event.profile.clone(), live);
        }
        let named: Vec<String> = self.take(events).into_iter().collect();
        let found = clients.batch(&named).await.expect("profiles");
        for (name, found) in named.into_iter().zip(found) {
            // A merged id answers with the profile that it lives on in.
            let shown = found.profile.filter(|profile| profile.name == name);
            if let Some(live) = ends.get(&name) {
                assert_eq!(shown.is_some(), *live, "{name} is what its last event says: {}", found.reason);
            }
            match shown {
                Some(profile) => drop(self.profiles.insert(name, profile)),
                None => drop(self.profiles.remove(&name)),
            }
        }
    }

    /// Compares the copy with the server.
    ///
    /// # Panics
    /// When they differ.
    pub async fn assert_equals(&self, clients: &mut Clients, parent: &str) {
        let snapshot = clients.snapshot(parent).await.expect("a snapshot");
        let names: Vec<&String> = snapshot.iter().map(|profile| &profile.name).collect();
        assert_eq!(self.profiles.keys().collect::<Vec<_>>(), names, "the same profiles are live");
        for profile in &snapshot {
            assert_eq!(&self.profiles[&profile.name], profile, "the feed named every profile that changed");
        }
    }
}
