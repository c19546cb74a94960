//! Contacts that were allowed, and how many there may be.
//!
//! A contact is charged to every source record that its person had at that moment, to every address that was the person's
//! alone, and to the identifier that it was decided by. Counting for a cluster takes every contact that is charged to any of
//! its records or to an address that is its alone, once. So two halves of one person share the sum after a merge, after a
//! split each half still counts what was charged to both, and a record that comes back under another key, or an address
//! that is asked about without one, counts what its person had: k allowed means at most k, whatever happens to the clusters.
//!
//! An address that several persons hold makes them no one person. What is charged to it counts for each of them only where
//! none of the records that the contact is charged to is another's: then nobody knows whose it was.
//!
//! The same contact is charged to the households of its person and to the accounts in which the person has a role, each as
//! it was at that moment, and caps of these scopes count there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::consent::policy::{Cap, CapScope};
use crate::consent::{ChannelId, PurposeId};
use crate::fragment::ObservedAt;
use crate::ids::{Digest128, Sequence};

/// What became of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// Counts until it expires.
    Open,
    /// Counts.
    Confirmed,
    /// Does not count.
    Released,
}

/// Whom a contact counts for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// What is the person's alone: records and addresses.
    pub person: Vec<Digest128>,
    /// Contacts that count for the person beside those that are charged to these: at addresses that others hold too.
    pub contacts: Vec<Sequence>,
    /// The person's households. Each counts for itself: somebody of two addresses must be welcome at both.
    pub households: Vec<Digest128>,
    /// The accounts in which the person has a role: of each the charges of its source accounts, counted together.
    pub accounts: Vec<Vec<Digest128>>,
}

impl Counted {
    /// The groups of charges, and of further contacts, that count together in a scope; a cap of it must have room in each.
    pub fn groups(&self, scope: CapScope) -> impl Iterator<Item = (&[Digest128], &[Sequence])> {
        let (person, households, accounts) = match scope {
            CapScope::Person => (Some((self.person.as_slice(), self.contacts.as_slice())), &[][..], &[][..]),
            CapScope::Household => (None, self.households.as_slice(), &[][..]),
            CapScope::Account => (None, &[][..], self.accounts.as_slice()),
        };
        let households = households.iter().map(std::slice::from_ref);
        let others = households.chain(accounts.iter().map(Vec::as_slice)).map(|charges| (charges, &[][..]));
        person.into_iter().chain(others)
    }
}

/// What a contact with somebody of an account is charged to, from the keyed digest of the account's source record: a source
/// may know a person and an account by one key, and they must not be counted together.
#[must_use]
pub fn account_charge(record: Digest128) -> Digest128 {
    let mut bytes = b"account charge".to_vec();
    bytes.extend_from_slice(&record.0);
    Digest128::of(&blake3::hash(&bytes))
}

/// One contact that was allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// What for.
    pub purpose: PurposeId,
    /// Over which channel.
    pub channel: ChannelId,
    /// When the contact is to happen.
    pub at: ObservedAt,
    /// Until when it may be confirmed.
    pub expires_at: ObservedAt,
    /// Keyed digests of the records, the addresses, the households and accounts that it is charged to.
    pub charged: Vec<Digest128>,
    /// What became of it.
    pub standing: Standing,
}

impl Reservation {
    /// Whether it counts at a moment.
    #[must_use]
    pub fn counts(&self, now: ObservedAt) -> bool {
        match self.standing {
            Standing::Open => now < self.expires_at,
            Standing::Confirmed => true,
            Standing::Released => false,
        }
    }
}

/// A reservation cannot be confirmed or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotSettle {
    /// There is none, or it is so old that it counts for nothing any more.
    #[error("there is no such reservation")]
    Unknown,
    /// It expired, and what it held may have been given to another.
    #[error("the reservation has expired: ask for a new decision")]
    Expired,
    /// It was released.
    #[error("the reservation was released: ask for a new decision")]
    Released,
    /// It was confirmed: the contact happened.
    #[error("the reservation was confirmed: a contact that happened cannot be taken back")]
    Confirmed,
}

/// All reservations of a tenant that may still count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservations {
    by_id: BTreeMap<Sequence, Reservation>,
    by_charge: HashMap<Digest128, Vec<Sequence>>,
    latest: ObservedAt,
}

impl Reservations {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The time by which reservations expire: it never goes back. What expired when another contact was allowed in its
    /// place stays so when the clock is set back, or both could be confirmed.
    #[must_use]
    pub fn steady(&self, now: ObservedAt) -> ObservedAt {
        now.max(self.latest)
    }

    /// The latest time at which one was decided; `None` where none ever was.
    #[must_use]
    pub fn latest(&self) -> Option<ObservedAt> {
        (self.latest != ObservedAt::default()).then_some(self.latest)
    }

    /// Adds one that was decided at a steady time.
    pub fn reserve(&mut self, id: Sequence, reservation: Reservation, decided_at: ObservedAt) {
        self.latest = self.steady(decided_at);
        for charge in &reservation.charged {
            self.by_charge.entry(*charge).or_default().push(id);
        }
        self.by_id.insert(id, reservation);
    }

    /// The one with this id.
    #[must_use]
    pub fn get(&self, id: Sequence) -> Option<&Reservation> {
        self.by_id.get(&id)
    }

    /// Whether any is charged to this.
    #[must_use]
    pub fn is_charged(&self, charge: Digest128) -> bool {
        self.by_charge.contains_key(&charge)
    }

    /// Those that are charged to this.
    pub fn charged_to(&self, charge: Digest128) -> impl Iterator<Item = (Sequence, &Reservation)> {
        let ids = self.by_charge.get(&charge).map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| Some((*id, self.by_id.get(id)?)))
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (Sequence, &Reservation)> {
        self.by_id.iter().map(|(id, reservation)| (*id, reservation))
    }

    /// Whether one can be brought to a standing now. `Ok(false)` when it is there already.
    ///
    /// # Errors
    /// [`CannotSettle`].
    pub fn may_settle(&self, id: Sequence, to: Standing, now: ObservedAt) -> Result<bool, CannotSettle> {
        let known = self.by_id.get(&id).ok_or(CannotSettle::Unknown)?;
        let now = self.steady(now);
        match (known.standing, to) {
            (standing, to) if standing == to => Ok(false),
            (Standing::Confirmed, _) => Err(CannotSettle::Confirmed),
            (Standing::Released, _) => Err(CannotSettle::Released),
            (Standing::Open, Standing::Confirmed) if !known.counts(now) => Err(CannotSettle::Expired),
            (Standing::Open, _) => Ok(true),
        }
    }

    /// Brings one to a standing.
    pub fn settle(&mut self, id: Sequence, to: Standing) {
        if let Some(known) = self.by_id.get_mut(&id) {
            known.standing = to;
        }
    }

    /// Forgets those that lie so far back that no cap may count them any more.
    pub fn forget_before(&mut self, at: ObservedAt) {
        // Ids follow one another as contacts do, so the old ones lie in front.
        while let Some(first) = self.by_id.first_entry().filter(|first| first.get().at < at) {
            let (id, old) = first.remove_entry();
            for charge in old.charged {
                if let Some(ids) = self.by_charge.get_mut(&charge) {
                    ids.retain(|known| *known != id);
                    if ids.is_empty() {
                        self.by_charge.remove(&charge);
                    }
                }
            }
        }
    }

    /// When the contacts that are charged to any of these, and that the cap counts, happen; sorted, each once.
    #[must_use]
    pub fn times(&self, charged: &[Digest128], cap: &Cap, now: ObservedAt) -> Vec<ObservedAt> {
        self.times_with(charged, &[], cap, now)
    }

    /// The same with further contacts beside those that are charged to these.
    #[must_use]
    pub fn times_with(
        &self,
        charged: &[Digest128],
        further: &[Sequence],
        cap: &Cap,
        now: ObservedAt,
    ) -> Vec<ObservedAt> {
        let now = self.steady(now);
        let charged = charged.iter().filter_map(|charge| self.by_charge.get(charge)).flatten();
        let ids: BTreeSet<Sequence> = charged.chain(further).copied().collect();
        let mut times: Vec<ObservedAt> = ids
            .into_iter()
            .filter_map(|id| self.by_id.get(&id))
            .filter(|known| known.counts(now) && cap.counts(known.purpose, known.channel))
            .map(|known| known.at)
            .collect();
        times.sort_unstable();
        times
    }
}

/// Whether one more contact at `at` would bring more than the cap allows into any span of its length. `times` is sorted.
#[must_use]
pub fn is_reached(cap: &Cap, times: &[ObservedAt], at: ObservedAt) -> bool {
    let window = i64::from(cap.window_seconds) * 1_000_000;
    if cap.most == 0 {
        return true;
    }
    // Only spans that hold `at` can overflow, and the fullest of them begins with a contact.
    let near: Vec<i64> =
        times.iter().map(|time| time.0).filter(|time| time.abs_diff(at.0) < window.unsigned_abs()).collect();
    let mut starts = near.iter().copied().filter(|start| *start <= at.0).chain([at.0]);
    let most = cap.most as usize;
    starts.any(|start| near.iter().filter(|time| **time >= start && **time - start < window).count() >= most)
}
