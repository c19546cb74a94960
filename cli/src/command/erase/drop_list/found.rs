//! Who holds what a list names: live profiles, and what is held outside them, in quarantine, of records that were taken back and by
//! statements of consent.

use std::collections::{BTreeSet, HashMap, HashSet};

use onefold_proto::v1 as pb;
use onefold_proto::v1::watch_profiles_response::Message;

use super::super::Arguments;
use super::standard::{Hash, hash_of, of_identifier, of_names};
use crate::client::Client;
use crate::command::Failure;

/// How persons are called who have no live profile.
const HELD: &str = "held ";

/// Whether somebody is known by what is held outside live profiles, as one look found it.
pub fn is_held(person: &str) -> bool {
    person.starts_with(HELD)
}

/// A namespace and a value in it.
type Identifier = (String, String);

/// Who holds an identifier of the list.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Those with this hash that live profiles hold.
    live: BTreeSet<Identifier>,
    /// Those with this hash that are held, and that no live profile holds.
    held: BTreeSet<Identifier>,
    /// The live profiles that hold one, or are called so.
    pub profiles: BTreeSet<String>,
    /// One is held outside live profiles of whom it is not known that they are one person.
    of_whoever: bool,
    /// By what the person is known: rows that have one of these in common are one person's, as far as anybody knows. The first is
    /// its own: of a profile its name, of what is held outside all of them its place there.
    pub persons: Vec<String>,
}

fn subject((namespace, value): &Identifier) -> pb::ConsentSubject {
    let identifier = pb::Identifier { namespace: namespace.clone(), value: value.clone() };
    pb::ConsentSubject { subject: Some(pb::consent_subject::Subject::Identifier(identifier)) }
}

impl Match {
    /// Everything that has this hash.
    pub fn identifiers(&self) -> impl Iterator<Item = pb::ConsentSubject> {
        self.live.iter().chain(&self.held).map(subject)
    }

    /// Whether there is no identifier, but names.
    pub fn has_no_identifier(&self) -> bool {
        self.live.is_empty() && self.held.is_empty()
    }

    pub fn profiles(&self) -> impl Iterator<Item = pb::ConsentSubject> {
        let subject = |name: &String| pb::consent_subject::Subject::Profile(name.clone());
        self.profiles.iter().map(move |name| pb::ConsentSubject { subject: Some(subject(name)) })
    }

    /// What leads to the live one.
    pub fn of_live(&self) -> impl Iterator<Item = pb::ConsentSubject> {
        self.live.iter().map(subject).chain(self.profiles())
    }

    /// What leads to the rest.
    pub fn of_held(&self) -> impl Iterator<Item = pb::ConsentSubject> {
        self.held.iter().map(subject)
    }

    /// Whether no live profile holds it.
    pub fn is_held_alone(&self) -> bool {
        self.profiles.is_empty()
    }

    /// Whether several may be meant: of two numbers with the same last ten digits nobody can tell whose the list has.
    pub fn is_of_several(&self) -> bool {
        let numbers = self.held.iter().filter(|(namespace, _)| namespace == "phone").count();
        self.profiles.len() > 1 || self.profiles.len() + numbers > 1 || (self.profiles.is_empty() && self.of_whoever)
    }
}

/// What is held together outside live profiles, as far as the list names any of it.
#[derive(Default)]
struct Together {
    at: HashMap<Identifier, usize>,
    /// Of each the next towards the one that stands for all that are together.
    next: Vec<usize>,
    /// The live profiles that hold it too.
    live: HashMap<usize, HashSet<String>>,
}

impl Together {
    fn end(&self, mut at: usize) -> usize {
        while self.next[at] != at {
            at = self.next[at];
        }
        at
    }

    fn put(&mut self, all: impl Iterator<Item = Identifier>) {
        let mut first = None;
        for one in all {
            let fresh = self.next.len();
            let at = *self.at.entry(one).or_insert(fresh);
            if at == fresh {
                self.next.push(fresh);
            }
            let end = self.end(at);
            let first = *first.get_or_insert(end);
            self.next[end] = first;
            // Short ways: all of it was looked at once.
            self.next[at] = first;
        }
    }

    fn holds_too(&mut self, one: &Identifier, profile: &str) {
        if let Some(at) = self.at.get(one) {
            self.live.entry(*at).or_default().insert(profile.to_owned());
        }
    }

    /// The live profiles that hold something of what is together, by the one that stands for it.
    fn profiles(&self) -> HashMap<usize, HashSet<String>> {
        let mut of: HashMap<usize, HashSet<String>> = HashMap::new();
        for (at, profiles) in &self.live {
            of.entry(self.end(*at)).or_default().extend(profiles.iter().cloned());
        }
        of
    }
}

/// Everybody who is found.
#[derive(Default)]
pub struct Found {
    pub of: HashMap<Hash, Match>,
    /// How many say so much of themselves that not all of it was compared.
    pub over: u64,
    together: Together,
    /// The tenant's namespaces of addresses and telephones, whatever they are called.
    contacts: HashMap<String, &'static str>,
}

impl Found {
    fn wanted_hash(&self, wanted: &HashSet<Hash>, namespace: &str, value: &str) -> Option<Hash> {
        let kind = self.contacts.get(namespace).copied().unwrap_or(namespace);
        let hash = hash_of(&of_identifier(kind, value)?);
        wanted.contains(&hash).then_some(hash)
    }

    /// Everybody who holds an identifier of the list, or is called as it says.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn look(arguments: &Arguments, client: &Client, wanted: &HashSet<Hash>) -> Result<Self, Failure> {
        let mut found = Self::default();
        for namespace in client.all_namespaces(&arguments.target.parent()).await? {
            let kind = match namespace.normaliser() {
                pb::Normaliser::Email => "email",
                pb::Normaliser::Phone => "phone",
                _ => continue,
            };
            found.contacts.insert(namespace.name, kind);
        }
        // First: what is let out of quarantine meanwhile is live then.
        found.held(arguments, client, wanted).await?;
        found.live(arguments, client, wanted).await?;
        found.know();
        Ok(found)
    }

    async fn held(&mut self, arguments: &Arguments, client: &Client, wanted: &HashSet<Hash>) -> Result<(), Failure> {
        let request = pb::StreamHeldIdentifiersRequest { parent: arguments.target.parent() };
        let mut stream =
            client.ask(|| async { client.privacy().stream_held_identifiers(request.clone()).await }).await?;
        while let Some(some) = stream.message().await.map_err(|status| client.failed(&status))? {
            some.held.into_iter().for_each(|place| self.place(place, wanted));
        }
        Ok(())
    }

    fn place(&mut self, place: pb::HeldOutside, wanted: &HashSet<Hash>) {
        let mut is_meant = false;
        for one in &place.identifiers {
            let Some(hash) = self.wanted_hash(wanted, &one.namespace, &one.value) else { continue };
            let found = self.of.entry(hash).or_default();
            found.held.insert((one.namespace.clone(), one.value.clone()));
            found.of_whoever |= one.shared;
            is_meant = true;
        }
        if is_meant {
            let own = place.identifiers.into_iter().filter(|one| !one.shared);
            self.together.put(own.map(|one| (one.namespace, one.value)));
        }
    }

    async fn live(&mut self, arguments: &Arguments, client: &Client, wanted: &HashSet<Hash>) -> Result<(), Failure> {
        let request = pb::WatchProfilesRequest {
            parent: arguments.target.parent(),
            snapshot: true,
            // Names that lost to others are names.
            view: pb::ProfileView::Full as i32,
            stop_at_end: true,
            ..Default::default()
        };
        let mut stream = client.ask(|| async { client.profiles().watch_profiles(request.clone()).await }).await?;
        loop {
            let message = stream.message().await.map_err(|status| client.failed(&status))?;
            match message.and_then(|message| message.message) {
                Some(Message::Snapshot(profile)) => self.profile(profile, wanted),
                Some(Message::SnapshotEnd(_)) => return Ok(()),
                Some(_) => {}
                None => return Err(Failure::new("the profiles ended before their end; run it again")),
            }
        }
    }

    fn profile(&mut self, profile: pb::Profile, wanted: &HashSet<Hash>) {
        let (hashes, is_over) = of_names(&profile);
        for one in profile.identifiers {
            let hash = self.wanted_hash(wanted, &one.namespace, &one.value);
            let identifier = (one.namespace, one.value);
            self.together.holds_too(&identifier, &profile.name);
            if let Some(hash) = hash {
                let found = self.of.entry(hash).or_default();
                found.live.insert(identifier);
                found.profiles.insert(profile.name.clone());
            }
        }
        self.over += u64::from(is_over);
        for hash in hashes.into_iter().filter(|hash| wanted.contains(hash)) {
            self.of.entry(hash).or_default().profiles.insert(profile.name.clone());
        }
    }

    /// By what each is known, once all are found.
    fn know(&mut self) {
        let profiles = self.together.profiles();
        for one in self.of.values_mut() {
            one.held.retain(|held| !one.live.contains(held));
            if !one.profiles.is_empty() {
                one.persons = one.profiles.iter().cloned().collect();
                continue;
            }
            let Some(at) = one.held.iter().find_map(|held| self.together.at.get(held)) else { continue };
            let end = self.together.end(*at);
            one.persons = vec![format!("{HELD}{end}")];
            if let Some(profiles) = profiles.get(&end).filter(|profiles| profiles.len() == 1) {
                one.persons.extend(profiles.iter().cloned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(namespace: &str, value: &str) -> Identifier {
        (namespace.to_owned(), value.to_owned())
    }

    fn wanted(of: &[&str]) -> HashSet<Hash> {
        of.iter().map(|text| hash_of(text)).collect()
    }

    fn held(found: &mut Found, wanted: &HashSet<Hash>, all: &[Identifier]) {
        let identifier = |(namespace, value): &Identifier| pb::HeldIdentifier {
            namespace: namespace.clone(),
            value: value.clone(),
            shared: false,
        };
        let identifiers = all.iter().map(identifier).collect();
        found.place(pb::HeldOutside { identifiers, ..Default::default() }, wanted);
    }

    fn live(found: &mut Found, wanted: &HashSet<Hash>, name: &str, all: &[Identifier]) {
        let identifier = |(namespace, value): &Identifier| pb::ProfileIdentifier {
            namespace: namespace.clone(),
            value: value.clone(),
            ..Default::default()
        };
        let identifiers = all.iter().map(identifier).collect();
        found.profile(pb::Profile { name: name.to_owned(), identifiers, ..Default::default() }, wanted);
    }

    #[test]
    fn addresses_are_addresses_whatever_their_namespace_is_called() {
        let (work, loyalty) = (one("work_email", "Ada@X.net"), one("loyalty_id", "ada@x.net"));
        let wanted = wanted(&["ada@x.net"]);
        for (contacts, want) in [(vec![], 0), (vec![("work_email".to_owned(), "email")], 1)] {
            let mut found = Found { contacts: contacts.into_iter().collect(), ..Found::default() };
            live(&mut found, &wanted, "p_1", &[work.clone(), loyalty.clone()]);
            assert_eq!(found.of.len(), want);
        }
    }

    /// What is held together is one person's, whatever led to it; a live profile stands for itself, and what two of them hold ties
    /// nobody to either.
    #[test]
    fn rows_of_one_person_are_known_as_such() {
        let (ada, bob, cleo) = (one("email", "ada@x.net"), one("email", "bob@x.net"), one("email", "cleo@x.net"));
        let (of_ada, of_bob, of_two) =
            (one("phone", "+14155552671"), one("phone", "+14155552672"), one("phone", "+14155552673"));
        let wanted = wanted(&["ada@x.net", "bob@x.net", "cleo@x.net", "4155552671", "4155552672", "4155552673"]);
        let mut found = Found::default();
        let crm = one("crm_id", "7");
        held(&mut found, &wanted, &[ada.clone(), crm.clone()]);
        held(&mut found, &wanted, std::slice::from_ref(&of_ada));
        held(&mut found, &wanted, &[bob.clone(), of_bob.clone()]);
        held(&mut found, &wanted, &[cleo.clone(), of_two.clone()]);
        held(&mut found, &wanted, &[of_ada.clone(), crm]);
        live(&mut found, &wanted, "p/bob", std::slice::from_ref(&of_bob));
        live(&mut found, &wanted, "p/1", std::slice::from_ref(&of_two));
        live(&mut found, &wanted, "p/2", std::slice::from_ref(&of_two));
        found.know();
        let of = |text: &str| &found.of[&hash_of(text)];
        assert_eq!(of("ada@x.net").persons, of("4155552671").persons);
        assert_eq!((of("ada@x.net").persons.len(), of("ada@x.net").is_held_alone()), (1, true));
        assert_eq!(of("4155552672").persons, ["p/bob"]);
        assert_eq!(of("bob@x.net").persons[1..], ["p/bob"]);
        assert_eq!(of("cleo@x.net").persons.len(), 1);
        assert!(of("4155552673").is_of_several() && !of("cleo@x.net").is_of_several());
        assert_eq!(of("4155552672").identifiers().count(), 1, "each once, held live or not");
    }

    #[test]
    fn two_numbers_with_one_hash_are_of_several_and_two_forms_of_a_device_are_not() {
        let table = [
            (&[("phone", "+14155552671")][..], false, false),
            (&[("phone", "+14155552671"), ("phone", "+524155552671")], false, true),
            (&[("phone", "+524155552671")], true, true),
            (&[("device_id", "a3-f1"), ("idfa", "a3f1")], false, false),
            (&[("device_id", "a3f1")], true, false),
        ];
        for (of, has_live, want) in table {
            let mut one = Match {
                held: of.iter().map(|(n, v)| (String::from(*n), String::from(*v))).collect(),
                ..Default::default()
            };
            if has_live {
                one.profiles.insert("p/1".to_owned());
            }
            assert_eq!(one.is_of_several(), want, "{of:?} {has_live}");
        }
        let whoever = Match { of_whoever: true, ..Default::default() };
        assert!(whoever.is_of_several(), "nobody can tell whose it is");
    }
}
