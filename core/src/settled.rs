//! How a settlement lies in the journal: each change by what differs from what the ones before it lead one to expect. A
//! profile opened for a new record, which is half of all changes, takes a byte or two instead of eight.
//!
//! ```text
//! settlement = 2 · previous varint · committed_at signed · more u8 · count varint · change*
//! change     = head u8 · [records, if 15 or more: varint] · [profile signed] · [first record signed] · other records signed*
//!            | 3 · postcard of the change
//! head       = what (2 bits) · profile as expected (1) · first record as expected (1) · number of records (4)
//! ```
//! Version 1 was postcard throughout and is read for ever.

use crate::change::ProfileChange;
use crate::decision::{DecisionError, Settled, decode};
use crate::fragment::ObservedAt;
use crate::ids::{ProfileOrdinal, Sequence};
use crate::packed::{Packed, put, put_signed};

/// The version of this form, the first byte.
const PACKED: u8 = 2;

const CREATED: u8 = 0;
const JOINED: u8 = 1;
const TOUCHED: u8 = 2;
const OTHER: u8 = 3;
const WHAT: u8 = 3;
const PROFILE_EXPECTED: u8 = 1 << 2;
const RECORD_EXPECTED: u8 = 1 << 3;
const COUNT_SHIFT: u32 = 4;
/// This many records or more: the rest of the number follows.
const MANY: usize = 15;

/// The profile and the record behind the last ones.
#[derive(Default)]
struct Expected {
    profile: u32,
    record: u32,
}

impl Settled {
    /// The payload of a journal entry.
    ///
    /// # Panics
    /// Never: every change has an encoding and the sink is memory.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + 4 * self.changes.len());
        out.push(PACKED);
        put(&mut out, self.previous.0);
        put_signed(&mut out, self.committed_at.0);
        out.push(u8::from(self.more));
        put(&mut out, self.changes.len() as u64);
        let mut expected = Expected::default();
        for change in &self.changes {
            match change {
                ProfileChange::Created { profile, records } => expected.put(&mut out, CREATED, *profile, records),
                ProfileChange::Updated { profile, joined, touched } if touched.is_empty() => {
                    expected.put(&mut out, JOINED, *profile, joined);
                }
                ProfileChange::Updated { profile, joined, touched } if joined.is_empty() => {
                    expected.put(&mut out, TOUCHED, *profile, touched);
                }
                other => {
                    out.push(OTHER);
                    out = postcard::to_extend(other, out).expect("a change in memory always encodes");
                }
            }
        }
        out
    }

    /// Reads what [`Settled::encode`] wrote, in this form or an older one.
    ///
    /// # Errors
    /// [`DecisionError`] for another version or damaged bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecisionError> {
        match bytes.split_first() {
            Some((&PACKED, body)) => Self::unpack(body).ok_or(DecisionError::Damaged),
            _ => decode(bytes),
        }
    }

    fn unpack(body: &[u8]) -> Option<Self> {
        let mut packed = Packed(body);
        let previous = Sequence(packed.number()?);
        let committed_at = ObservedAt(packed.signed()?);
        let more = match packed.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let count = packed.count()?;
        let mut expected = Expected::default();
        let mut changes = Vec::with_capacity(count);
        for _ in 0..count {
            let head = packed.byte()?;
            changes.push(match head & WHAT {
                OTHER => {
                    let (change, rest) = postcard::take_from_bytes(packed.0).ok().filter(|_| head == OTHER)?;
                    packed.0 = rest;
                    change
                }
                what => {
                    let (profile, records) = expected.take(&mut packed, head)?;
                    match what {
                        CREATED => ProfileChange::Created { profile, records },
                        JOINED => ProfileChange::Updated { profile, joined: records, touched: Vec::new() },
                        _ => ProfileChange::Updated { profile, joined: Vec::new(), touched: records },
                    }
                }
            });
        }
        packed.0.is_empty().then_some(Self { previous, committed_at, changes, more })
    }
}

impl Expected {
    fn put(&mut self, out: &mut Vec<u8>, what: u8, profile: ProfileOrdinal, records: &[u32]) {
        let profile_expected = profile.0 == self.profile;
        let record_expected = records.first() == Some(&self.record);
        let count = records.len().min(MANY);
        out.push(
            what | if profile_expected { PROFILE_EXPECTED } else { 0 }
                | if record_expected { RECORD_EXPECTED } else { 0 }
                | (count as u8) << COUNT_SHIFT,
        );
        if count == MANY {
            put(out, (records.len() - MANY) as u64);
        }
        if !profile_expected {
            put_signed(out, i64::from(profile.0) - i64::from(self.profile));
        }
        self.profile = profile.0.wrapping_add(1);
        for (at, record) in records.iter().enumerate() {
            if at > 0 || !record_expected {
                put_signed(out, i64::from(*record) - i64::from(self.record));
            }
            self.record = record.wrapping_add(1);
        }
    }

    fn take(&mut self, packed: &mut Packed<'_>, head: u8) -> Option<(ProfileOrdinal, Vec<u32>)> {
        let few = usize::from(head >> COUNT_SHIFT);
        let count = if few == MANY { packed.count()?.checked_add(few)? } else { few };
        let near = |packed: &mut Packed<'_>, expected: u32| -> Option<u32> {
            i64::from(expected).checked_add(packed.signed()?)?.try_into().ok()
        };
        let profile = if head & PROFILE_EXPECTED != 0 { self.profile } else { near(packed, self.profile)? };
        self.profile = profile.wrapping_add(1);
        let mut records = Vec::with_capacity(count);
        for at in 0..count {
            let as_expected = at == 0 && head & RECORD_EXPECTED != 0;
            let record = if as_expected { self.record } else { near(packed, self.record)? };
            self.record = record.wrapping_add(1);
            records.push(record);
        }
        Some((ProfileOrdinal(profile), records))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decision::encode;

    fn records() -> impl Strategy<Value = Vec<u32>> {
        let near =
            (any::<u32>(), 0..40u32).prop_map(|(first, count)| (0..count).map(|n| first.wrapping_add(n)).collect());
        prop_oneof![near, proptest::collection::vec(any::<u32>(), 0..20)]
    }

    fn change() -> impl Strategy<Value = ProfileChange<u32>> {
        let profile = || prop_oneof![0..50u32, any::<u32>()].prop_map(ProfileOrdinal);
        prop_oneof![
            (profile(), records()).prop_map(|(profile, records)| ProfileChange::Created { profile, records }),
            (profile(), records(), records()).prop_map(|(profile, joined, touched)| ProfileChange::Updated {
                profile,
                joined,
                touched
            }),
            (profile(), records()).prop_map(|(profile, joined)| ProfileChange::Updated {
                profile,
                joined,
                touched: Vec::new()
            }),
            (profile(), profile(), records()).prop_map(|(from, into, records)| ProfileChange::Merged {
                from,
                into,
                records
            }),
            (profile(), any::<bool>(), profile(), records()).prop_map(|(from, stays, part, records)| {
                ProfileChange::Split { from, stays, into: vec![(part, records)] }
            }),
            profile().prop_map(|profile| ProfileChange::Emptied { profile }),
            (profile(), any::<bool>()).prop_map(|(profile, gone)| ProfileChange::Erased { profile, gone }),
        ]
    }

    proptest! {
        #[test]
        fn settlements_read_back_in_either_form_and_cut_ones_do_not(
            previous in any::<u64>(),
            committed_at in any::<i64>(),
            more in any::<bool>(),
            changes in proptest::collection::vec(change(), 0..30),
            cut in any::<prop::sample::Index>(),
        ) {
            let settled =
                Settled { previous: Sequence(previous), committed_at: ObservedAt(committed_at), changes, more };
            let bytes = settled.encode();
            prop_assert_eq!(Settled::decode(&bytes), Ok(settled.clone()));
            prop_assert_eq!(Settled::decode(&encode(&settled)), Ok(settled));
            prop_assert_eq!(Settled::decode(&bytes[..1 + cut.index(bytes.len() - 1)]).ok(), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut packed = vec![PACKED];
            packed.extend(bytes);
            let _ = Settled::decode(&packed);
        }
    }

    #[test]
    fn profiles_opened_in_a_row_take_a_byte_each() {
        let opened =
            |at: u32| ProfileChange::Created { profile: ProfileOrdinal(70_000 + at), records: vec![90_000 + at] };
        let changes = (0..1_000).map(opened).collect();
        let settled = Settled { previous: Sequence(1), committed_at: ObservedAt(5), changes, more: false };
        assert!(settled.encode().len() < 1_020, "{}", settled.encode().len());
    }
}
