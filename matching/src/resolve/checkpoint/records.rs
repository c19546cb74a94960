//! A record's row: what differs from what the records before it lead one to expect.
//!
//! `what` number · record digest · fact digest, if live · name, if new to its profile · source, if another than before ·
//! moment, against the one before, in the largest unit that divides it · place, against the one before · slot, unless
//! the next · profile, unless the next that was ever seen. Which values it holds, the values say.

use onefold_core::ids::{Digest128, Place};

use crate::index::NONE;
use crate::index::lists::List;
use crate::index::records::{Cold, Warm, flag};
use crate::resolve::checkpoint::bytes::{Bytes, put, put_near, put_near_or_none, put_signed};

/// Bits of `what`. Those that are set often come first, so that it mostly fits one byte.
mod what {
    pub(super) const NAMED: u16 = 1;
    /// The name is that of the record before it in its profile.
    pub(super) const NAME_KNOWN: u16 = 1 << 1;
    pub(super) const PROFILE_ELSEWHERE: u16 = 1 << 2;
    /// Two bits: which of [`super::UNITS`].
    pub(super) const UNIT_SHIFT: u32 = 3;
    pub(super) const OTHER_SOURCE: u16 = 1 << 5;
    pub(super) const ORGANISATION: u16 = 1 << 6;
    pub(super) const OTHER_SEGMENT: u16 = 1 << 7;
    pub(super) const SLOT_ELSEWHERE: u16 = 1 << 8;
    pub(super) const TOMBSTONE: u16 = 1 << 9;
    pub(super) const UNPLACED: u16 = 1 << 10;
    pub(super) const CORRECTS: u16 = 1 << 11;
    pub(super) const PARTED: u16 = 1 << 12;
    pub(super) const ALL: u16 = (1 << 13) - 1;
}

/// Microseconds in a day, a second, a millisecond, a microsecond: sources tell time in one of them.
const UNITS: [i64; 4] = [86_400_000_000, 1_000_000, 1_000, 1];

/// What is expected of the next record.
pub(super) struct Expected {
    observed_at: i64,
    place: Place,
    slot: u32,
    source: u16,
    /// One more than the greatest profile so far.
    profile: u32,
}

/// A row that was read. The record has no values yet and is in no ring.
pub(super) struct Row {
    pub(super) warm: Warm,
    pub(super) cold: Cold,
    pub(super) slot: u32,
    /// The name is still to be taken from the record before it in its profile.
    pub(super) name_known: bool,
}

impl Expected {
    pub(super) const fn at_first() -> Self {
        Self { observed_at: 0, place: Place { segment: 0, offset: 0 }, slot: 0, source: 0, profile: 0 }
    }

    fn saw(&mut self, warm: &Warm, cold: &Cold, slot: u32) {
        self.observed_at = cold.observed_at;
        self.place = cold.place;
        self.source = warm.source;
        if slot != NONE {
            self.slot = slot.wrapping_add(1);
        }
        if warm.profile != NONE {
            self.profile = self.profile.max(warm.profile.saturating_add(1));
        }
    }

    pub(super) fn write(&mut self, out: &mut Vec<u8>, warm: &Warm, cold: &Cold, slot: u32, name_known: bool) {
        let unit = UNITS.iter().position(|unit| cold.observed_at % unit == 0).unwrap_or(UNITS.len() - 1);
        let bits = [
            (what::NAMED, warm.has(flag::NAMED)),
            (what::NAME_KNOWN, name_known),
            (what::PROFILE_ELSEWHERE, warm.profile != self.profile),
            (what::OTHER_SOURCE, warm.source != self.source),
            (what::ORGANISATION, warm.has(flag::ORGANISATION)),
            (what::OTHER_SEGMENT, cold.place.segment != self.place.segment),
            (what::SLOT_ELSEWHERE, slot != self.slot),
            (what::TOMBSTONE, !warm.has(flag::LIVE)),
            (what::UNPLACED, !warm.placed()),
            (what::CORRECTS, warm.has(flag::CORRECTS)),
            (what::PARTED, warm.has(flag::PARTED)),
        ];
        let what =
            bits.iter().filter(|(_, on)| *on).fold((unit as u16) << what::UNIT_SHIFT, |what, (bit, _)| what | bit);
        let has = |bit: u16| what & bit != 0;
        put(out, what.into());
        out.extend_from_slice(&cold.digest.0);
        if !has(what::TOMBSTONE) {
            out.extend_from_slice(&cold.facts.0);
        }
        if has(what::NAMED) && !name_known {
            out.extend_from_slice(&warm.name.to_le_bytes());
        }
        if has(what::OTHER_SOURCE) {
            put(out, warm.source.into());
        }
        let before = self.observed_at.div_euclid(UNITS[unit]);
        put_signed(out, (cold.observed_at / UNITS[unit]).wrapping_sub(before));
        if has(what::OTHER_SEGMENT) {
            put_near(out, self.place.segment, cold.place.segment);
        }
        put_near(out, self.place.offset, cold.place.offset);
        if has(what::SLOT_ELSEWHERE) {
            put_near_or_none(out, self.slot, slot);
        }
        if has(what::PROFILE_ELSEWHERE) {
            put_near_or_none(out, self.profile, warm.profile);
        }
        self.saw(warm, cold, slot);
    }

    pub(super) fn read(&mut self, bytes: &mut Bytes<'_>) -> Option<Row> {
        let what: u16 = bytes.small()?;
        if what & !what::ALL != 0 {
            return None;
        }
        let has = |bit: u16| what & bit != 0;
        let digest = bytes.digest()?;
        let facts = if has(what::TOMBSTONE) { Digest128([0; 16]) } else { bytes.digest()? };
        let name_known = has(what::NAMED) && has(what::NAME_KNOWN);
        let name = if has(what::NAMED) && !name_known { u32::from_le_bytes(bytes.array()?) } else { 0 };
        let source = if has(what::OTHER_SOURCE) { bytes.small()? } else { self.source };
        let unit = UNITS[usize::from(what >> what::UNIT_SHIFT) % UNITS.len()];
        let observed_at = self.observed_at.div_euclid(unit).wrapping_add(bytes.signed()?).checked_mul(unit)?;
        let segment = if has(what::OTHER_SEGMENT) { bytes.near(self.place.segment)? } else { self.place.segment };
        let place = Place { segment, offset: bytes.near(self.place.offset)? };
        let slot = if has(what::SLOT_ELSEWHERE) { bytes.near_or_none(self.slot)? } else { self.slot };
        let profile = if has(what::PROFILE_ELSEWHERE) { bytes.near_or_none(self.profile)? } else { self.profile };
        let bits = [
            (flag::LIVE, !has(what::TOMBSTONE)),
            (flag::PLACED, !has(what::UNPLACED)),
            (flag::NAMED, has(what::NAMED)),
            (flag::ORGANISATION, has(what::ORGANISATION)),
            (flag::CORRECTS, has(what::CORRECTS)),
            (flag::PARTED, has(what::PARTED)),
        ];
        let flags = bits.iter().filter(|(_, on)| *on).fold(0, |flags, (flag, _)| flags | flag);
        let warm = Warm { name, values: List::default(), profile, next: NONE, prev: NONE, source, flags };
        let cold = Cold { digest, facts, observed_at, place };
        self.saw(&warm, &cold, slot);
        Some(Row { warm, cold, slot, name_known })
    }
}
