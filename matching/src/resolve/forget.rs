//! LAW 7: what is erased leaves the engine wholly, and the state is as if it had never come.
//!
//! Only two things stay: the ordinal of each record, which the journal names records by, with nothing behind it; and the
//! ordinals of profiles, which are never used again (law 4).

use hashbrown::HashSet;
use onefold_core::change::ProfileChange;
use onefold_core::ids::{Digest128, Place, ProfileOrdinal, SlotId};

use crate::index::NONE;
use crate::index::profiles::Kind;
use crate::index::records::flag;
use crate::resolve::Engine;

impl Engine {
    /// Forgets records, named by their ordinals: their values, names, rows, edges, judgements and places in profiles.
    /// What that means for others is seen after [`Engine::settle`], which also tells it. Records that are unknown or were
    /// forgotten before are passed over. Answers how many were forgotten.
    pub fn forget(&mut self, ordinals: &[u32]) -> u32 {
        let mut emptied: HashSet<u32> = HashSet::new();
        let mut count = 0;
        for record in ordinals.iter().copied() {
            if record >= self.records.warm.count() || self.records.is_forgotten(record) {
                continue;
            }
            count += 1;
            let digest = self.records.cold[record].digest;
            if self.records.warm[record].has(flag::LIVE) {
                self.unindex(record);
            }
            self.forget_judgements(digest);
            self.bygone.drop(record);
            let warm = self.records.warm[record];
            if warm.placed() {
                self.profiles.detach(&mut self.records.warm, record);
                if self.profiles.column[warm.profile].count == 0 {
                    self.profiles.end(warm.profile, Kind::Erased, &[], &[], &mut self.lists);
                }
                self.erased.push(warm.profile);
            } else if warm.profile != NONE {
                self.profiles.drop_left(record, warm.profile);
                let last = self.profiles.end_of_merges(warm.profile);
                if self.profiles.column[last].kind == Kind::Emptied {
                    emptied.insert(last);
                }
            }
            self.records.forget(record);
        }
        // Emptied profiles that no retracted record remembers any more are erased ones.
        emptied.retain(|profile| self.profiles.left(*profile).next().is_none());
        for profile in emptied {
            self.profiles.column[profile].kind = Kind::Erased;
            self.erased.push(profile);
        }
        count
    }

    fn forget_judgements(&mut self, record: Digest128) {
        let others: Vec<Digest128> = self.judgements.of(record).map(|(other, _)| other).collect();
        for other in others {
            self.withdraw_judgement(record, other);
        }
    }

    /// What is to be told of erasures since last settled.
    pub(super) fn tell_erased(&mut self) -> Vec<ProfileChange> {
        let mut erased = std::mem::take(&mut self.erased);
        erased.sort_unstable();
        erased.dedup();
        let tell = |profile: u32| match self.profiles.column[profile].kind {
            Kind::Erased => Some(ProfileChange::Erased { profile: ProfileOrdinal(profile), gone: true }),
            Kind::Live => Some(ProfileChange::Erased { profile: ProfileOrdinal(profile), gone: false }),
            Kind::Merged | Kind::Split | Kind::Emptied => None,
        };
        erased.into_iter().filter_map(tell).collect()
    }

    /// At a restart: a fragment of this record was taken whose key is destroyed. The record is there, with nothing
    /// known of what it says, until the journal tells of its erasure.
    pub fn put_vacant(&mut self, record: Digest128, place: Place, slot: SlotId) {
        let record = self.records.find(record).unwrap_or_else(|| self.records.open(record));
        self.records.cold[record].place = place;
        self.records.slots[record] = slot.0;
        self.bygone.drop(record);
        if !self.records.warm[record].has(flag::LIVE) {
            self.records.warm[record].flags |= flag::LIVE;
            self.records.live += 1;
        }
        self.touch_record(record, 0);
    }
}
