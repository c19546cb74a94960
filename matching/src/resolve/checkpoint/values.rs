//! A value's row: `what` byte · holders, if more than fit it · namespace · digest · who holds it.
//!
//! Holders are told in the order in which the engine lists them, the first against that of the value before, each other
//! against the one before it. For a value whose holders are only counted they are told all the same, since the records
//! do not say what they hold.

use crate::index::lists::List;
use crate::index::values::{Value, flag};
use crate::resolve::checkpoint::bytes::{Bytes, put, put_near};

/// The value's flags that last beyond a settlement and are not rebuilt, and the bit of `what` for each.
const FLAGS: [(u16, u8); 5] = [
    (flag::GENERIC, 1),
    (flag::DISPUTED, 1 << 1),
    (flag::PARKED, 1 << 2),
    (flag::UNLISTED, 1 << 3),
    (flag::DIVIDED, 1 << 4),
];
/// The holders do not ascend.
const JUMBLED: u8 = 1 << 5;
/// Two bits: the number of holders, up to [`MANY`].
const LEN_SHIFT: u32 = 6;
/// This many or more: the rest follows.
const MANY: usize = 3;

/// What is expected of the next value.
#[derive(Default)]
pub(super) struct Expected {
    holder: u32,
}

impl Expected {
    pub(super) fn write(&mut self, out: &mut Vec<u8>, value: &Value, holders: &[u32]) {
        let jumbled = !holders.is_sorted();
        let what = FLAGS.iter().filter(|(flag, _)| value.has(*flag)).fold(0, |what, (_, bit)| what | bit);
        out.push(what | if jumbled { JUMBLED } else { 0 } | (holders.len().min(MANY) as u8) << LEN_SHIFT);
        if holders.len() >= MANY {
            put(out, (holders.len() - MANY) as u64);
        }
        put(out, value.namespace.into());
        out.extend_from_slice(&value.digest.0);
        let Some((first, others)) = holders.split_first() else { return };
        put_near(out, self.holder, *first);
        self.holder = *first;
        let mut before = *first;
        for holder in others {
            if jumbled {
                put_near(out, before, *holder);
            } else {
                // No record is listed twice, so an ascending list rises by one at least.
                put(out, u64::from(*holder) - u64::from(before) - 1);
            }
            before = *holder;
        }
    }

    /// The value, with the number of its holders but no list yet; they are appended to `holders`.
    pub(super) fn read(&mut self, bytes: &mut Bytes<'_>, holders: &mut Vec<u32>) -> Option<Value> {
        let what = bytes.byte()?;
        let few = u32::from(what >> LEN_SHIFT);
        let len = if few == MANY as u32 { bytes.small::<u32>()?.checked_add(few)? } else { few };
        let namespace = bytes.small()?;
        let digest = bytes.digest()?;
        let mut before = self.holder;
        for number in 0..len {
            let holder = if number == 0 || what & JUMBLED != 0 {
                bytes.near(before)?
            } else {
                before.checked_add(1)?.checked_add(bytes.small()?)?
            };
            if number == 0 {
                self.holder = holder;
            }
            before = holder;
            holders.push(holder);
        }
        let flags = FLAGS.iter().filter(|(_, bit)| what & bit != 0).fold(0, |flags, (flag, _)| flags | flag);
        Some(Value { digest, holders: List { len, at: 0 }, namespace, flags })
    }
}
