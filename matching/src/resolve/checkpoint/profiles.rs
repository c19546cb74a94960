//! A profile's row, for those that are more than live with the members that name them and the unique values of these:
//! how many such profiles lie between it and the row before · `what` byte · where it went, or into how many parts · these and
//! the records that it held then, or unique values of its own.

use crate::index::NONE;
use crate::index::lists::{List, Lists};
use crate::index::profiles::{Kind, Profile};
use crate::resolve::checkpoint::bytes::{Bytes, put};

/// Two bits of `what`: the kind.
const KIND: u8 = 3;
const CONTESTED: u8 = 1 << 2;
/// A list follows: where a split went and what an ended profile held, or the unique values of a live one as they were last
/// settled.
const LISTED: u8 = 1 << 3;
/// Not every pair of members is harmless.
const UNEVEN: u8 = 1 << 4;
/// Erased. The kind is then that of an emptied one.
const ERASED: u8 = 1 << 5;

/// What is expected of the next row.
#[derive(Default)]
pub(super) struct Expected {
    profile: u32,
}

impl Expected {
    pub(super) fn write(&mut self, out: &mut Vec<u8>, ordinal: u32, profile: &Profile, list: Option<&[u32]>) {
        put(out, u64::from(ordinal - self.profile));
        self.profile = ordinal + 1;
        let kind = match profile.kind {
            Kind::Erased => Kind::Emptied as u8 | ERASED,
            kind => kind as u8,
        };
        out.push(
            kind | if profile.contested { CONTESTED } else { 0 }
                | if list.is_some() { LISTED } else { 0 }
                | if profile.uneven { UNEVEN } else { 0 },
        );
        if matches!(profile.kind, Kind::Merged | Kind::Split) {
            put(out, profile.head.into());
        }
        if let Some(list) = list {
            put(out, list.len() as u64);
            list.iter().for_each(|item| put(out, (*item).into()));
        }
    }

    /// The ordinal, the profile without members, and whether it brings a list.
    pub(super) fn read(&mut self, bytes: &mut Bytes<'_>, lists: &mut Lists) -> Option<(u32, Profile, bool)> {
        let ordinal = self.profile.checked_add(bytes.small()?)?;
        self.profile = ordinal.checked_add(1)?;
        let what = bytes.byte()?;
        let kind = match what & KIND {
            0 => Kind::Live,
            1 => Kind::Merged,
            2 => Kind::Split,
            _ if what & ERASED != 0 => Kind::Erased,
            _ => Kind::Emptied,
        };
        let head = if matches!(kind, Kind::Merged | Kind::Split) { bytes.small()? } else { NONE };
        let listed = what & LISTED != 0;
        let mut list = List::default();
        if listed {
            let items = (0..bytes.number()?).map(|_| bytes.small()).collect::<Option<Vec<u32>>>()?;
            lists.set(&mut list, &items);
        }
        let (contested, uneven) = (what & CONTESTED != 0, what & UNEVEN != 0);
        Some((ordinal, Profile { head, count: 0, list, kind, contested, uneven }, listed))
    }
}
