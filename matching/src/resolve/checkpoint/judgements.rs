//! Judgements: both records · `what` byte · weight that was seen, if any · when it ends, if ever.

use crate::resolve::checkpoint::bytes::{put_signed, read_rows, write_rows};
use crate::resolve::checkpoint::{CheckpointError, Head, SectionSink, SectionSource};
use crate::resolve::{Engine, Judgement, Verdict};

/// Two bits of `what`: the verdict.
const VERDICT: u8 = 3;
const SEEN: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;

impl Engine {
    pub(super) fn write_judgements<E>(&self, sink: &mut SectionSink<'_, E>) -> Result<(), E> {
        write_rows("judgements", self.judgements(), sink, |out, (one, other, judgement)| {
            out.extend_from_slice(&one.0);
            out.extend_from_slice(&other.0);
            let verdict = match judgement.verdict {
                Verdict::Same => 0,
                Verdict::Different => 1,
                Verdict::Unsure => 2,
            };
            let seen = if judgement.seen_bits.is_some() { SEEN } else { 0 };
            out.push(verdict | seen | if judgement.expires_at.is_some() { EXPIRES } else { 0 });
            if let Some(bits) = judgement.seen_bits {
                out.extend_from_slice(&bits.to_le_bytes());
            }
            if let Some(at) = judgement.expires_at {
                put_signed(out, at);
            }
        })
    }

    pub(super) fn read_judgements(
        &mut self,
        head: &Head,
        source: &mut SectionSource<'_>,
    ) -> Result<(), CheckpointError> {
        read_rows("judgements", head.judgements, source, |bytes| {
            let (one, other) = (bytes.digest()?, bytes.digest()?);
            let what = bytes.byte()?;
            let verdict = match what & VERDICT {
                0 => Verdict::Same,
                1 => Verdict::Different,
                2 => Verdict::Unsure,
                _ => return None,
            };
            let seen_bits = if what & SEEN != 0 { Some(f32::from_le_bytes(bytes.array()?)) } else { None };
            let expires_at = if what & EXPIRES != 0 { Some(bytes.signed()?) } else { None };
            self.check_judgement(one, other, verdict).ok()?;
            self.judgements.set(one, other, Some(Judgement { verdict, seen_bits, expires_at }));
            Some(())
        })
    }
}
