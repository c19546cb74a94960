//! Records that change hands: a source gives a key to somebody else.
//!
//! Whether one does is decided when its next version comes, and written down with it, since the versions before may be gone
//! from the journal when it is replayed.

use onefold_core::ids::Digest128;
use onefold_core::namespace::NamespaceClass;

use crate::index::handed::{BESIDE_MAX, Parting, Turn};
use crate::index::records::flag;
use crate::prepared::LinkValue;
use crate::resolve::Engine;

/// So many of the oldest records that one is with are remembered when it changes hands or is retracted: who asks for it by an id
/// or an identifier of before is led to them.
pub const REMEMBERED_BESIDE_MAX: usize = BESIDE_MAX;

impl Engine {
    /// Whether a version with the values `now` gives up all that named somebody in one with the values `before`. It is then
    /// taken to be about somebody else, whatever became of the person: a new address alone looks like that, too.
    #[must_use]
    pub fn gives_up_all(&self, before: &[LinkValue], now: &[LinkValue]) -> bool {
        let names = |value: &&LinkValue| self.rules.class(value.namespace.0) != NamespaceClass::Supporting;
        let mut named = before.iter().filter(names).peekable();
        named.peek().is_some() && !named.any(|value| now.contains(value))
    }

    /// LAW 4: the version that is put next makes the record somebody else's. To be told before it is put: ids that ended no
    /// longer lead to the record, but to those that it was with.
    pub fn pass_on(&mut self, record: Digest128) {
        let Some(record) = self.records.find(record) else { return };
        let warm = &self.records.warm[record];
        let beside = if warm.has(flag::LIVE) { self.beside(record) } else { self.bygone.beside(record).to_vec() };
        let parting = Parting { profile: warm.profile, beside: beside.into() };
        self.profiles.handed.pass_on(record, parting);
    }

    /// The oldest of those that a record is with in its profile, as last settled.
    pub(super) fn beside(&self, record: u32) -> Vec<Turn> {
        let warm = &self.records.warm[record];
        if !warm.placed() {
            return Vec::new();
        }
        let members = self.profiles.members(&self.records.warm, warm.profile);
        let mut oldest: Vec<u32> = members.filter(|member| *member != record).collect();
        oldest.sort_unstable();
        oldest.truncate(BESIDE_MAX);
        oldest.into_iter().map(|member| (member, self.profiles.handed.settled_turn(member))).collect()
    }
}
