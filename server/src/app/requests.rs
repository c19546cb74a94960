//! Calls that their callers named: a repeat gets the first answer, and the same name for other content is an error.
//!
//! The lane asks [`Lane::repeat`] before it does anything, and notes the answer with [`remember`] in the batch that holds
//! the effect. A call that was refused wrote nothing and is not remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use onefold_core::decision::{self, EntryKind, RequestAnswered};
use onefold_core::ids::Digest128;
use onefold_core::limits;
use onefold_store::journal::{JournalError, batch_room, entry_room};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::error::WriteError;
use super::lane::{Group, Lane, kind};
use super::tenant::Tenant;
use super::writer::{Commit, Reply};

/// A call that its caller named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The caller's UUID.
    pub id: [u8; 16],
    /// Keyed digest of the call's method and content.
    pub content: Digest128,
}

/// The last answers to named calls; the oldest go first, bounded in number and in bytes.
#[derive(Debug, Default)]
pub struct RequestWindow {
    answers: HashMap<[u8; 16], (Digest128, Vec<u8>)>,
    order: VecDeque<[u8; 16]>,
    bytes: usize,
}

impl RequestWindow {
    /// The content and answer of the call with this id.
    pub fn get(&self, id: &[u8; 16]) -> Option<&(Digest128, Vec<u8>)> {
        self.answers.get(id)
    }

    /// Remembers an answer.
    pub fn remember(&mut self, answered: RequestAnswered) {
        let RequestAnswered { request_id, content, answer } = answered;
        self.bytes += answer.len();
        match self.answers.insert(request_id, (content, answer)) {
            None => self.order.push_back(request_id),
            Some((_, before)) => self.bytes -= before.len(),
        }
        while (self.order.len() > limits::REQUEST_IDS_MAX || self.bytes > limits::REQUEST_ANSWERS_BYTES_MAX)
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.answers.remove(&oldest).map_or(0, |(_, answer)| answer.len());
        }
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = RequestAnswered> + '_ {
        self.order.iter().filter_map(|id| {
            let (content, answer) = self.answers.get(id)?;
            Some(RequestAnswered { request_id: *id, content: *content, answer: answer.clone() })
        })
    }
}

/// Where an answer goes.
pub type ReplyTo<T> = oneshot::Sender<Result<T, WriteError>>;

impl Lane {
    /// Answers a named call that was made before; gives the reply back when the call is new, or has no name.
    pub(super) fn repeat<T>(
        &mut self,
        tenant: &Tenant,
        request: Option<RequestKey>,
        reply: ReplyTo<T>,
    ) -> Result<Option<ReplyTo<T>>, JournalError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        match known(tenant, request) {
            None => Ok(Some(reply)),
            Some(Err(error)) => {
                let _ = reply.send(Err(error));
                Ok(None)
            }
            Some(Ok(answer)) => {
                // Behind what is on its way: the first answer may not be durable yet.
                let mut commit = Commit::default();
                commit.replies.push(Reply::of(reply, answer));
                self.hand_on(commit)?;
                Ok(None)
            }
        }
    }
}

/// What a named call was answered when it was made before; `None` when it is new, or has no name. It may not be durable
/// yet. For work that shares a batch, and for an edge that could not ask for the same again; everything else asks
/// [`Lane::repeat`].
pub fn known<T: DeserializeOwned>(tenant: &Tenant, request: Option<RequestKey>) -> Option<Result<T, WriteError>> {
    let request = request?;
    let state = tenant.state();
    let (content, answer) = state.requests.get(&request.id)?;
    if *content != request.content {
        return Some(Err(WriteError::RequestIdReused));
    }
    // An answer that this release cannot read is as good as forgotten.
    decision::decode(answer).ok().map(Ok)
}

/// Bytes of a batch that remembering an answer takes.
pub(super) fn room_to_remember(request: Option<RequestKey>, answer: &impl Serialize) -> usize {
    // The id, the digest and the lengths around them.
    const BESIDE_ANSWER: usize = 64;
    request.map_or(0, |_| entry_room(BESIDE_ANSWER + decision::encode(answer).len()))
}

/// Notes the answer to a named call in the batch that holds its effect, or, where that is full, in the one behind it: the
/// effect is acknowledged after both.
pub(super) fn remember(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    request: Option<RequestKey>,
    answer: &impl Serialize,
    group: &mut Group,
) -> Result<(), JournalError> {
    let Some(request) = request else { return Ok(()) };
    let answer = decision::encode(answer);
    let answered = RequestAnswered { request_id: request.id, content: request.content, answer };
    let sequence = tenant.state().sequence.next();
    let payload = decision::encode(&answered);
    let push = |group: &mut Group| {
        group.builder.push(tenant.id, sequence, kind(EntryKind::RequestAnswered), |_, out| {
            out.extend_from_slice(&payload);
        })
    };
    match push(group) {
        Ok(_) => {}
        Err(JournalError::TooLarge { .. }) if !group.builder.is_empty() => {
            // A settlement filled the batch.
            lane.turn_over(group, batch_room(entry_room(payload.len())))?;
            push(group)?;
        }
        Err(error) => return Err(error),
    }
    let mut state = tenant.state_mut();
    state.sequence = sequence;
    state.requests.remember(answered);
    group.commit.published.push((Arc::clone(tenant), sequence));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(number: u32, bytes: usize) -> RequestAnswered {
        let mut request_id = [0; 16];
        request_id[..4].copy_from_slice(&number.to_le_bytes());
        RequestAnswered { request_id, content: Digest128([number as u8; 16]), answer: vec![7; bytes] }
    }

    #[test]
    fn the_window_forgets_the_oldest_by_number_and_by_bytes() {
        let mut window = RequestWindow::default();
        let most = limits::REQUEST_IDS_MAX as u32;
        for number in 0..=most {
            window.remember(answered(number, 1));
        }
        assert_eq!(window.iter().count(), limits::REQUEST_IDS_MAX);
        assert!(window.get(&answered(0, 1).request_id).is_none());
        assert!(window.get(&answered(1, 1).request_id).is_some());
        let large = limits::REQUEST_ANSWERS_BYTES_MAX - limits::REQUEST_IDS_MAX / 2;
        window.remember(answered(most + 1, large));
        let held: usize = window.iter().map(|answered| answered.answer.len()).sum();
        assert!(held <= limits::REQUEST_ANSWERS_BYTES_MAX && held >= large, "{held}");
        window.remember(answered(most + 1, 5));
        assert_eq!(window.bytes, window.iter().map(|answered| answered.answer.len()).sum::<usize>());
    }
}
