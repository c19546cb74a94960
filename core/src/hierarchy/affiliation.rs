//! Persons in accounts: who has which role where, since when, until when.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::Moment;
use crate::ids::{Digest128, Place, SlotId};

/// How an affiliation came to be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// Somebody said so.
    #[default]
    Stated,
    /// A proposal by e-mail domain or company name, confirmed.
    Confirmed,
    /// The live fragment of the person's source record says so. It goes with that fragment.
    Fragment,
}

/// What memory keeps of an affiliation; its text is in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Keyed digest of the account's source record.
    pub account: Digest128,
    /// Keyed digest of the role: a person has one affiliation for each account and role.
    pub role: Digest128,
    /// Since when.
    pub since: Moment,
    /// Until when; open where there is no end.
    pub until: Option<Moment>,
    /// How it came to be known.
    pub origin: Origin,
    /// Its entry in the journal.
    pub place: Place,
    /// The key of that entry.
    pub slot: SlotId,
}

impl Held {
    /// Whether the live fragment of its record says so.
    #[must_use]
    pub fn is_of_fragment(&self) -> bool {
        self.origin == Origin::Fragment
    }

    /// Whether it holds at this moment.
    #[must_use]
    pub fn holds(&self, at: Moment) -> bool {
        self.since <= at && self.until.is_none_or(|until| at < until)
    }
}

/// All affiliations of a tenant, by the keyed digest of the person's source record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affiliations {
    by_person: HashMap<Digest128, Vec<Held>>,
    /// Account and person.
    by_account: BTreeSet<(Digest128, Digest128)>,
}

impl Affiliations {
    /// Takes one in; it replaces what was told of the same account and role in the same way: what a fragment says and what
    /// a call says are facts of their own (law 1).
    pub fn put(&mut self, person: Digest128, held: Held) {
        let all = self.by_person.entry(person).or_default();
        let same = |known: &&mut Held| {
            known.account == held.account && known.role == held.role && known.is_of_fragment() == held.is_of_fragment()
        };
        match all.iter_mut().find(same) {
            Some(known) => *known = held,
            None => all.push(held),
        }
        self.by_account.insert((held.account, person));
    }

    /// What the live fragment of a person's source record says, in place of what the one before said; nothing when there
    /// is no live one any more. What calls told stays.
    pub fn of_fragment(&mut self, person: Digest128, told: impl IntoIterator<Item = Held>) {
        if let Some(all) = self.by_person.get_mut(&person) {
            let gone: Vec<Digest128> =
                all.iter().filter(|held| held.is_of_fragment()).map(|held| held.account).collect();
            all.retain(|held| !held.is_of_fragment());
            for account in gone {
                if !all.iter().any(|held| held.account == account) {
                    self.by_account.remove(&(account, person));
                }
            }
            if all.is_empty() {
                self.by_person.remove(&person);
            }
        }
        for held in told {
            self.put(person, held);
        }
    }

    /// Ends one that a call told of, if it is known.
    pub fn end(&mut self, person: Digest128, account: Digest128, role: Digest128, until: Moment) {
        let all = self.by_person.get_mut(&person).into_iter().flatten();
        for held in all.filter(|held| !held.is_of_fragment() && held.account == account && held.role == role) {
            held.until = Some(until);
        }
    }

    /// Forgets all of one person's source record.
    pub fn forget(&mut self, person: Digest128) {
        for held in self.by_person.remove(&person).unwrap_or_default() {
            self.by_account.remove(&(held.account, person));
        }
    }

    /// Those of one person's source record.
    #[must_use]
    pub fn of_person(&self, person: Digest128) -> &[Held] {
        self.by_person.get(&person).map_or(&[], Vec::as_slice)
    }

    /// Source records of persons that have, or had, a role in an account, by digest.
    pub fn of_account(&self, account: Digest128) -> impl Iterator<Item = Digest128> + '_ {
        let (first, last) = (Digest128([0; 16]), Digest128([0xff; 16]));
        self.by_account.range((account, first)..=(account, last)).map(|(_, person)| *person)
    }

    /// All of them, by person.
    pub fn iter(&self) -> impl Iterator<Item = (Digest128, &Held)> {
        self.by_person.iter().flat_map(|(person, all)| all.iter().map(move |held| (*person, held)))
    }
}
