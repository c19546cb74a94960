//! What retracted records said last: record, against the one before · namespace · digest. And which version that was: record,
//! likewise · moment, against the retraction's · digest of its facts · segment and offset of the fragment that was live last, or
//! nought and nought · those that it was with then.

use onefold_core::ids::{NamespaceId, Place};

use crate::index::records::flag;
use crate::prepared::LinkValue;
use crate::resolve::Engine;
use crate::resolve::checkpoint::bytes::{put, put_near, put_signed, read_rows, write_rows};
use crate::resolve::checkpoint::handed::put_beside;
use crate::resolve::checkpoint::{CheckpointError, Head, SectionSink, SectionSource};

impl Engine {
    pub(super) fn write_bygone<E>(&self, sink: &mut SectionSink<'_, E>) -> Result<(), E> {
        let mut before = 0;
        write_rows("bygone", self.bygone.iter(), sink, |out, (record, value)| {
            put_near(out, before, record);
            before = record;
            put(out, value.namespace.0.into());
            out.extend_from_slice(&value.digest.0);
        })?;
        let mut before = 0;
        write_rows("last_versions", self.bygone.versions(), sink, |out, (record, (at, facts))| {
            put_near(out, before, record);
            before = record;
            put_signed(out, self.records.cold[record].observed_at.wrapping_sub(at));
            out.extend_from_slice(&facts.0);
            let Place { segment, offset } = self.bygone.place_of(record).unwrap_or(Place { segment: 0, offset: 0 });
            put(out, segment.into());
            put(out, offset.into());
            put_beside(out, record, self.bygone.beside(record));
        })
    }

    pub(super) fn read_bygone(&mut self, head: &Head, source: &mut SectionSource<'_>) -> Result<(), CheckpointError> {
        let mut before = 0;
        read_rows("bygone", head.bygone, source, |bytes| {
            let record = bytes.near(before)?;
            before = record;
            let value = LinkValue { namespace: NamespaceId(bytes.small()?), digest: bytes.digest()? };
            self.records.warm.get(record as usize).filter(|warm| !warm.has(flag::LIVE))?;
            self.bygone.note(record, [value]);
            Some(())
        })?;
        let mut before = 0;
        read_rows("last_versions", head.last_versions, source, |bytes| {
            let record = bytes.near(before)?;
            before = record;
            let earlier = bytes.signed()?;
            let facts = bytes.digest()?;
            let place = Place { segment: bytes.small()?, offset: bytes.small()? };
            let beside = bytes.beside(record, head.records)?;
            self.records.warm.get(record as usize).filter(|warm| !warm.has(flag::LIVE))?;
            self.bygone.set_version(record, (self.records.cold[record].observed_at.wrapping_sub(earlier), facts));
            if place.segment > 0 {
                self.bygone.set_place(record, place);
            }
            self.bygone.set_beside(record, beside);
            Some(())
        })
    }
}
