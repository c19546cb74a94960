//! Profiles: every ordinal that was ever opened, what became of it, and the ring of its members.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::NONE;
use crate::index::column::Column;
use crate::index::handed::{Handed, Turn, Walk};
use crate::index::lists::{List, Lists};
use crate::index::records::{Warm, flag};

/// What became of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Has members.
    Live = 0,
    /// `head` is the profile it went into, `list` the records that it held then.
    Merged = 1,
    /// `head` counts the profiles it went into, which `list` begins with; behind them, the records that it held then.
    Split = 2,
    /// All its records were retracted.
    Emptied = 3,
    /// All its records were erased; it never comes back.
    Erased = 4,
}

/// Of a profile that ended, so many of its oldest records say where it lives on (law 10): a chain of merges, each of them into
/// an older profile, would else remember every record once for each.
pub(crate) const HELD_MAX: usize = 128;

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
    /// Records that are somebody else's by now.
    pub(crate) handed: Handed,
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

    /// Ends a live profile, which must have lost its members: those that went elsewhere are `held`.
    pub(crate) fn end(&mut self, profile: u32, kind: Kind, into: &[u32], held: &[u32], lists: &mut Lists) {
        self.live -= 1;
        let ended = &mut self.column[profile];
        debug_assert!(ended.kind == Kind::Live && ended.count == 0);
        ended.kind = kind;
        ended.contested = false;
        ended.uneven = false;
        lists.clear(&mut ended.list);
        self.handed.note_ended(profile, held);
        match kind {
            Kind::Merged => {
                ended.head = into.first().copied().unwrap_or(NONE);
                lists.set(&mut ended.list, held);
                let end = self.end_of_merges(profile);
                let moved: Vec<(u32, u32)> = self.left.range((profile, 0)..=(profile, u32::MAX)).copied().collect();
                for (from, record) in moved {
                    self.left.remove(&(from, record));
                    self.left.insert((end, record));
                }
            }
            Kind::Split => {
                ended.head = into.len() as u32;
                lists.set(&mut ended.list, &[into, held].concat());
            }
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
        warm[record].flags &= !flag::PARTED;
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

    /// Follows merges, as they were told, to where the trail ends.
    pub(crate) fn end_of_merges(&self, mut profile: u32) -> u32 {
        // A merge keeps the older id, so ordinals fall and the walk ends.
        while let Some(Profile { kind: Kind::Merged, head, .. }) = self.column.get(profile as usize) {
            profile = *head;
        }
        profile
    }

    /// The profiles that a split one went into, as it was told then.
    pub(crate) fn went_into<'a>(&'a self, lists: &'a Lists, profile: u32) -> &'a [u32] {
        let Profile { kind, head, list, .. } = &self.column[profile];
        let into = if *kind == Kind::Split { *head as usize } else { 0 };
        lists.get(list).get(..into).unwrap_or_default()
    }

    /// The records that a merged or split profile held when it ended.
    pub(crate) fn held<'a>(&'a self, lists: &'a Lists, profile: u32) -> &'a [u32] {
        let Profile { kind, head, list, .. } = &self.column[profile];
        match kind {
            Kind::Merged => lists.get(list),
            Kind::Split => lists.get(list).get(*head as usize..).unwrap_or_default(),
            Kind::Live | Kind::Emptied | Kind::Erased => &[],
        }
    }

    /// Where an id leads: to itself as long as it has not ended by a merge or a split, and else to wherever the records are, or
    /// were last, that it held then, and so on. A merge that was undone leads nobody to the other party's records. Nor does a
    /// record that changed hands since: it leads to where those are by now that it was with before it did, or nowhere.
    pub(crate) fn ends(&self, warm: &Column<Warm>, lists: &Lists, profile: u32) -> BTreeSet<u32> {
        let Walk { mut ends, partings, .. } = self.walk(warm, lists, profile);
        let mut known: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for parting in partings {
            let left = known.entry(parting.profile).or_insert_with(|| self.walk(warm, lists, parting.profile).ends);
            ends.extend(left.iter().copied().filter(|end| self.has_one_of(warm, *end, &parting.beside)));
        }
        ends
    }

    /// Whether an id that leads nowhere does because its records are somebody else's by now, and not because it was erased.
    pub(crate) fn is_passed_on(&self, warm: &Column<Warm>, lists: &Lists, profile: u32) -> bool {
        let Walk { partings, forgot, .. } = self.walk(warm, lists, profile);
        // What is forgotten is in no profile.
        let is_erased = |(record, _): &Turn| warm[*record].profile == NONE;
        forgot || partings.iter().any(|parting| !parting.beside.iter().any(is_erased))
    }

    /// Whether one of these is in the profile, or was in it last where it was emptied, and has not changed hands since.
    pub(crate) fn has_one_of(&self, warm: &Column<Warm>, profile: u32, turns: &[Turn]) -> bool {
        let kind = self.column[profile].kind;
        turns.iter().filter(|(record, turn)| self.handed.turn(*record) == *turn).any(|(record, _)| {
            let warm = &warm[*record];
            match kind {
                Kind::Live => warm.placed() && warm.profile == profile,
                Kind::Emptied => !warm.placed() && self.end_of_merges(warm.profile) == profile,
                Kind::Merged | Kind::Split | Kind::Erased => false,
            }
        })
    }

    fn walk(&self, warm: &Column<Warm>, lists: &Lists, profile: u32) -> Walk<'_> {
        let (mut walk, mut seen, mut open) = (Walk::default(), BTreeSet::new(), vec![profile]);
        while let Some(profile) = open.pop() {
            let Some(known) = self.column.get(profile as usize).filter(|_| seen.insert(profile)) else { continue };
            if !matches!(known.kind, Kind::Merged | Kind::Split) {
                walk.ends.insert(profile);
                continue;
            }
            let (mut left, mut forgot) = (BTreeSet::new(), false);
            for record in self.held(lists, profile) {
                let turn = self.handed.turn_at_end(profile, *record);
                if turn == self.handed.turn(*record) {
                    // None of one that was erased.
                    open.push(warm[*record].profile);
                } else if let Some(parting) = self.handed.parting((*record, turn)) {
                    left.insert(parting.profile);
                    walk.partings.push(parting);
                } else {
                    forgot = true;
                }
            }
            walk.forgot |= forgot;
            // What it was told to have gone into, unless that is what a record left behind that changed hands.
            open.extend(self.went_into(lists, profile).iter().filter(|into| !forgot && !left.contains(into)));
        }
        walk
    }

    /// These profiles gave records to others: whichever of the records in no profile was last in one that went with them now
    /// ends its trail there. Of the others it is not known any more whose they were.
    pub(crate) fn part_left(&mut self, warm: &mut Column<Warm>, lists: &Lists, gave: &BTreeSet<u32>) {
        let left: Vec<(u32, u32)> =
            gave.iter().flat_map(|from| self.left(*from).map(move |record| (*from, record))).collect();
        let mut ends: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for (_, record) in &left {
            let last = warm[*record].profile;
            if self.column[last].kind == Kind::Merged {
                ends.entry(last).or_insert_with(|| self.ends(warm, lists, last));
            }
        }
        for (from, record) in left {
            let ends = ends.get(&warm[record].profile).filter(|ends| ends.len() == 1);
            match ends.and_then(BTreeSet::first).copied() {
                Some(end) if end != from => {
                    self.left.remove(&(from, record));
                    warm[record].profile = end;
                    self.left.insert((end, record));
                }
                // All that it was with stayed.
                Some(_) => {}
                None => warm[record].flags |= flag::PARTED,
            }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        // About what an entry of a sorted set takes.
        self.column.memory_bytes() + self.left.len() * 2 * size_of::<(u32, u32)>() + self.handed.memory_bytes()
    }
}
