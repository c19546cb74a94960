//! Profiles: every ordinal that was ever opened, what became of it, and the ring of its members.

use std::collections::BTreeSet;

use crate::index::NONE;
use crate::index::column::Column;
use crate::index::lists::{List, Lists};
use crate::index::records::{Warm, flag};

/// What became of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Has members.
    Live = 0,
    /// `head` is the profile it went into.
    Merged = 1,
    /// `list` names the profiles it went into.
    Split = 2,
    /// All its records were retracted.
    Emptied = 3,
    /// All its records were erased; it never comes back.
    Erased = 4,
}

/// One profile. For a live one `list` holds the unique values of its members.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    pub(crate) head: u32,
    pub(crate) count: u32,
    pub(crate) list: List,
    pub(crate) kind: Kind,
    /// A member holds a parked or divided value, or has a parked link of another kind.
    pub(crate) contested: bool,
    /// Not every pair of members was seen to be harmless.
    pub(crate) uneven: bool,
}

/// All profiles, by ordinal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profiles {
    pub(crate) column: Column<Profile>,
    pub(crate) live: u32,
    /// Records that are in no profile, each with the one that the trail from its last one ends at.
    left: BTreeSet<(u32, u32)>,
}

impl Profiles {
    /// Opens the next ordinal, without members.
    pub(crate) fn open(&mut self) -> u32 {
        self.live += 1;
        self.column.push(Profile {
            head: NONE,
            count: 0,
            list: List::default(),
            kind: Kind::Live,
            contested: false,
            uneven: false,
        })
    }

    /// Makes an emptied profile live again.
    pub(crate) fn revive(&mut self, profile: u32) {
        debug_assert_eq!(self.column[profile].kind, Kind::Emptied);
        self.column[profile].kind = Kind::Live;
        self.live += 1;
    }

    /// Ends a live profile, which must have lost its members.
    pub(crate) fn end(&mut self, profile: u32, kind: Kind, into: &[u32], lists: &mut Lists) {
        self.live -= 1;
        let ended = &mut self.column[profile];
        debug_assert!(ended.kind == Kind::Live && ended.count == 0);
        ended.kind = kind;
        ended.contested = false;
        ended.uneven = false;
        lists.clear(&mut ended.list);
        match kind {
            Kind::Merged => {
                ended.head = into.first().copied().unwrap_or(NONE);
                let end = self.end_of_merges(profile);
                let moved: Vec<(u32, u32)> = self.left.range((profile, 0)..=(profile, u32::MAX)).copied().collect();
                for (from, record) in moved {
                    self.left.remove(&(from, record));
                    self.left.insert((end, record));
                }
            }
            Kind::Split => lists.set(&mut ended.list, into),
            Kind::Live | Kind::Emptied | Kind::Erased => {}
        }
    }

    /// Puts a record into the profile's ring.
    pub(crate) fn attach(&mut self, warm: &mut Column<Warm>, record: u32, profile: u32) {
        self.drop_left(record, warm[record].profile);
        let holder = &mut self.column[profile];
        if holder.count == 0 {
            holder.head = record;
            warm[record].next = record;
            warm[record].prev = record;
        } else {
            let head = holder.head;
            let last = warm[head].prev;
            warm[last].next = record;
            warm[head].prev = record;
            warm[record].next = head;
            warm[record].prev = last;
        }
        holder.count += 1;
        warm[record].profile = profile;
        warm[record].flags |= flag::PLACED;
    }

    /// Takes a record out of its profile's ring; the record remembers which it was.
    pub(crate) fn detach(&mut self, warm: &mut Column<Warm>, record: u32) {
        let Warm { profile, next, prev, .. } = warm[record];
        let holder = &mut self.column[profile];
        holder.count -= 1;
        if holder.count == 0 {
            holder.head = NONE;
        } else {
            warm[prev].next = next;
            warm[next].prev = prev;
            if holder.head == record {
                holder.head = next;
            }
        }
        warm[record].next = NONE;
        warm[record].prev = NONE;
        warm[record].flags &= !flag::PLACED;
    }

    /// Takes a record out of its profile for good, or until it comes back.
    pub(crate) fn leave(&mut self, warm: &mut Column<Warm>, record: u32) {
        self.detach(warm, record);
        self.note_left(record, warm[record].profile);
    }

    /// The record is in no profile, and was in this one last.
    pub(crate) fn note_left(&mut self, record: u32, profile: u32) {
        self.left.insert((self.end_of_merges(profile), record));
    }

    /// The record, which was in this profile last, is in another one now, or is forgotten.
    pub(crate) fn drop_left(&mut self, record: u32, profile: u32) {
        if profile != NONE && !self.left.is_empty() {
            self.left.remove(&(self.end_of_merges(profile), record));
        }
    }

    /// The records in no profile whose trail ends at this one.
    pub(crate) fn left(&self, end: u32) -> impl Iterator<Item = u32> + '_ {
        self.left.range((end, 0)..=(end, u32::MAX)).map(|(_, record)| *record)
    }

    /// The members, in the ring's order, which says nothing.
    pub(crate) fn members<'a>(&self, warm: &'a Column<Warm>, profile: u32) -> impl Iterator<Item = u32> + use<'a> {
        let (mut at, count) = match self.column.get(profile as usize) {
            Some(Profile { head, count, kind: Kind::Live, .. }) => (*head, *count),
            _ => (NONE, 0),
        };
        (0..count).map(move |_| {
            let record = at;
            at = warm[at].next;
            record
        })
    }

    /// Follows merges to the profile that holds the records now, or where the trail ends.
    pub(crate) fn end_of_merges(&self, mut profile: u32) -> u32 {
        // A merge keeps the older id, so ordinals fall and the walk ends.
        while let Some(Profile { kind: Kind::Merged, head, .. }) = self.column.get(profile as usize) {
            profile = *head;
        }
        profile
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        // About what an entry of a sorted set takes.
        self.column.memory_bytes() + self.left.len() * 2 * size_of::<(u32, u32)>()
    }
}
