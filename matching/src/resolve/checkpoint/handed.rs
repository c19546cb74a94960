//! Records that changed hands: record, against the one before · how often · how much less often by the last settlement. How each
//! left its party: record, likewise · turn · profile, or none · those beside it. And of profiles that ended: profile, against the
//! one before · record · turn, where there was one.

use crate::index::handed::{BESIDE_MAX, Parting, Turn};
use crate::resolve::Engine;
use crate::resolve::checkpoint::bytes::{Bytes, put, put_near, read_rows, write_rows};
use crate::resolve::checkpoint::{CheckpointError, Head, SectionSink, SectionSource};

/// How many · each: record, against this one · turn.
pub(super) fn put_beside(out: &mut Vec<u8>, record: u32, beside: &[Turn]) {
    put(out, beside.len() as u64);
    for (other, turn) in beside {
        put_near(out, record, *other);
        put(out, (*turn).into());
    }
}

impl Bytes<'_> {
    /// `None` where it is more than are remembered, or one of records that are not there.
    pub(super) fn beside(&mut self, record: u32, records: u32) -> Option<Vec<Turn>> {
        let len: usize = self.small()?;
        let mut beside = Vec::new();
        for _ in 0..Some(len).filter(|len| *len <= BESIDE_MAX)? {
            beside.push((self.near(record).filter(|other| *other < records)?, self.small()?));
        }
        Some(beside)
    }
}

impl Engine {
    pub(super) fn write_handed<E>(&self, sink: &mut SectionSink<'_, E>) -> Result<(), E> {
        let handed = &self.profiles.handed;
        let mut before = 0;
        write_rows("handed", handed.turns(), sink, |out, (record, turn, settled)| {
            put_near(out, before, record);
            before = record;
            put(out, turn.into());
            put(out, turn.saturating_sub(settled).into());
        })?;
        let mut before = 0;
        write_rows("partings", handed.partings(), sink, |out, ((record, turn), parting)| {
            put_near(out, before, record);
            before = record;
            put(out, turn.into());
            put(out, parting.profile.into());
            put_beside(out, record, &parting.beside);
        })?;
        let mut before = 0;
        write_rows("ended_turns", handed.ended(), sink, |out, ((profile, record), turn)| {
            put_near(out, before, profile);
            before = profile;
            put(out, record.into());
            put(out, turn.into());
        })
    }

    pub(super) fn read_handed(&mut self, head: &Head, source: &mut SectionSource<'_>) -> Result<(), CheckpointError> {
        let (records, profiles) = (head.records, head.profiles);
        let mut before = 0;
        read_rows("handed", head.handed, source, |bytes| {
            let record = bytes.near(before).filter(|record| *record < records)?;
            before = record;
            let turn: u32 = bytes.small()?;
            self.profiles.handed.set_turn(record, turn, turn.checked_sub(bytes.small()?)?);
            Some(())
        })?;
        let mut before = 0;
        read_rows("partings", head.partings, source, |bytes| {
            let record = bytes.near(before).filter(|record| *record < records)?;
            before = record;
            let turn = bytes.small()?;
            let profile = bytes.small().filter(|profile| *profile < profiles)?;
            let beside = bytes.beside(record, records)?.into();
            self.profiles.handed.set_parting((record, turn), Parting { profile, beside });
            Some(())
        })?;
        let mut before = 0;
        read_rows("ended_turns", head.ended_turns, source, |bytes| {
            let profile = bytes.near(before).filter(|profile| *profile < profiles)?;
            before = profile;
            let record = bytes.small().filter(|record| *record < records)?;
            self.profiles.handed.set_ended(profile, record, bytes.small()?);
            Some(())
        })
    }
}
