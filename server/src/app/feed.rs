//! The change feed: what happened to profiles, in order, without a gap, from any point on.

use std::ops::ControlFlow;

use onefold_core::change::ProfileChange;
use onefold_core::decision::{EntryKind, Settled};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Place, Sequence};

use super::error::ReadError;
use super::tenant::Tenant;
use super::{App, lane};

/// One event of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its sequence.
    pub sequence: Sequence,
    /// The sequence of the event before it: who has seen that one has missed nothing.
    pub previous: Sequence,
    /// When it was committed.
    pub committed_at: ObservedAt,
    /// What happened.
    pub change: ProfileChange<u32>,
}

/// Where a reader of the feed stands.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// The last event that was read.
    pub after: Sequence,
    place: Option<Place>,
}

impl Cursor {
    /// Goes on after this sequence.
    ///
    /// # Errors
    /// [`ReadError::CursorAhead`] when the feed has not reached it.
    pub fn after(tenant: &Tenant, after: Sequence) -> Result<Self, ReadError> {
        let durable = tenant.durable();
        if after > durable {
            return Err(ReadError::CursorAhead(durable));
        }
        Ok(Self { after, place: None })
    }

    /// The next events that are durable, at most about `most`; empty at the end of the feed.
    ///
    /// # Errors
    /// [`ReadError::Store`] when the journal cannot be read.
    pub fn read(&mut self, app: &App, tenant: &Tenant, most: usize) -> Result<Vec<Event>, ReadError> {
        let start = match self.place {
            Some(place) => place,
            None => {
                let state = tenant.state();
                let index = state.feed.partition_point(|(first, _)| *first <= self.after.next());
                match state.feed.get(index.saturating_sub(1)) {
                    Some((_, place)) => *place,
                    None => return Ok(Vec::new()),
                }
            }
        };
        let mut events = Vec::new();
        let walked = app.shared.journal.scan(start, |batch| {
            for entry in batch.entries() {
                if entry.tenant != tenant.id || entry.kind != lane::kind(EntryKind::Settled) {
                    continue;
                }
                let Some(payload) = entry.bytes() else { continue };
                let settled = Settled::decode(payload)?;
                let (mut sequence, mut previous) = (entry.sequence, settled.previous);
                for change in settled.changes {
                    if sequence > self.after {
                        events.push(Event { sequence, previous, committed_at: settled.committed_at, change });
                    }
                    previous = sequence;
                    sequence = sequence.next();
                }
            }
            Ok(if events.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        self.place = Some(walked.map_err(|error| ReadError::at(start, error))?);
        if let Some(last) = events.last() {
            self.after = last.sequence;
        }
        Ok(events)
    }
}
