//! IngestService: messages in, one answer each in order; nothing is answered before it is durable.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::ObservedAt;
use onefold_core::reads::ReadCall;
use onefold_proto::v1 as pb;
use onefold_proto::v1::ingest_service_server::IngestService;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::convert::{consent, fragment as door, outcome};
use super::mount::answer;
use super::{corrections, names, reading, requests, rights, silence, status};
use crate::app::App;
use crate::app::consent::Saying;
use crate::app::error::WriteError;
use crate::app::ingest::{Answer, Item, Outcome};
use crate::app::quarantine;
use crate::app::reads::What;
use crate::app::requests::RequestKey;
use crate::app::tenant::{LiveConfig, Tenant};

/// Messages that one stream hands to the lane at once.
const STREAM_BATCH_MAX: usize = 512;
/// Bytes in memory after which a batch is handed on.
const STREAM_BATCH_BYTES_MAX: usize = 1 << 20;
/// Batches of one stream that may wait for the lane or the disk; then the stream is not read (HTTP/2 holds the client).
const STREAM_BATCHES_MAX: usize = 4;

/// How long to wait for room in front of the lane.
#[derive(Clone, Copy)]
enum Wait {
    /// A call: it is told to come again.
    Moment,
    /// A stream: the wait holds its client back, and only a fault of the server ends it.
    Long,
}

/// The service.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// The use cases.
    pub app: Arc<App>,
}

impl Ingest {
    async fn one(
        &self,
        tenant: &Arc<Tenant>,
        request: Option<RequestKey>,
        action: pb::stream_fragments_request::Action,
    ) -> Result<pb::IngestResult, Status> {
        let admitted = self.admit(tenant, action, Wait::Moment).await.map_err(status::write)?;
        let answer = match admitted {
            Ok(item) => {
                let answers = self.app.ingest(tenant, vec![item], request).await.map_err(status::write)?;
                answers.into_iter().next().ok_or_else(|| status::internal("the lane gave no answer"))?
            }
            Err(faults) => Answer::rejected(faults),
        };
        Ok(outcome::result(answer, tenant))
    }

    fn tenant(&self, parent: &str) -> Result<Arc<Tenant>, Status> {
        let name = names::tenant(parent).map_err(|bad| status::field("parent", FaultReason::Malformed, bad.0))?;
        rights::reach(&self.app, name)?;
        self.app.tenant(name).ok_or_else(|| status::write(WriteError::TenantUnknown))
    }

    /// From the wire to something for the lane; the inner error is the faults of a message that is refused.
    async fn admit(
        &self,
        tenant: &Arc<Tenant>,
        action: pb::stream_fragments_request::Action,
        wait: Wait,
    ) -> Result<Result<Item, Vec<FieldFault>>, WriteError> {
        use pb::stream_fragments_request::Action;
        let now = self.app.now();
        let mut config = tenant.config();
        Ok(match action {
            Action::Put(mut fragment) => {
                let consents = std::mem::take(&mut fragment.consents);
                let unknown = door::unknown_names(&fragment, &config);
                if !unknown.is_empty() {
                    // A fragment that is refused leaves nothing behind, not even names.
                    let rehearsed = door::rehearse(fragment.clone(), &config, now);
                    if let Err(faults) = with_consents(rehearsed, consents.clone(), tenant, &config, now) {
                        return Ok(Err(faults));
                    }
                    match wait {
                        Wait::Moment => self.app.learn_names(tenant, unknown).await?,
                        Wait::Long => self.app.learn_names_patiently(tenant, unknown).await?,
                    }
                    config = tenant.config();
                }
                let admitted = door::admit(fragment, &config, now);
                with_consents(admitted, consents, tenant, &config, now)
                    .map(|(admitted, says)| Item::of(admitted.fragment, admitted.undated, &config, now).saying(says))
            }
            Action::Retract(retraction) => door::retraction(retraction, &config, now).map(|(record, at)| {
                Item::Retract { record: config.preparer().record_digest(record.source, &record.key), at }
            }),
        })
    }
}

#[tonic::async_trait]
impl IngestService for Ingest {
    type StreamFragmentsStream = Answers;

    async fn stream_fragments(
        &self,
        request: Request<Streaming<pb::StreamFragmentsRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let inbound = request.into_inner();
        let (batches, pending) = mpsc::channel(STREAM_BATCHES_MAX);
        let service = self.clone();
        tokio::spawn(rights::carried(async move { service.pump(inbound, batches).await }));
        Ok(Response::new(Answers {
            batches: pending,
            waiting: None,
            ready: VecDeque::new().into_iter(),
            failed: false,
        }))
    }

    async fn put_fragment(
        &self,
        request: Request<pb::PutFragmentRequest>,
    ) -> Result<Response<pb::PutFragmentResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let named = requests::named(&request.request_id, "PutFragment", &request, &tenant.keys.index)?;
        let fragment =
            request.fragment.ok_or_else(|| status::field("fragment", FaultReason::Missing, "give the fragment"))?;
        let action = pb::stream_fragments_request::Action::Put(fragment);
        let result = self.one(&tenant, named, action).await?;
        Ok(answer(pb::PutFragmentResponse { result: Some(result) }))
    }

    async fn retract_record(
        &self,
        request: Request<pb::RetractRecordRequest>,
    ) -> Result<Response<pb::RetractRecordResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let named = requests::named(&request.request_id, "RetractRecord", &request, &tenant.keys.index)?;
        let retraction = request
            .retraction
            .ok_or_else(|| status::field("retraction", FaultReason::Missing, "say which record to retract"))?;
        let action = pb::stream_fragments_request::Action::Retract(retraction);
        let result = self.one(&tenant, named, action).await?;
        Ok(answer(pb::RetractRecordResponse { result: Some(result) }))
    }

    async fn list_quarantine(
        &self,
        request: Request<pb::ListQuarantineRequest>,
    ) -> Result<Response<pb::ListQuarantineResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let mut shown = Vec::new();
        let listed = quarantine_edge::list(&self.app, &tenant, &request, &mut shown)?;
        let what = shown.into_iter().map(What::Entry);
        let noted = reading::note(&self.app, &tenant, (ReadCall::ListQuarantine, None), what);
        noted.map_err(|error| Status::from(status::ReadErrorIn { tenant: &tenant.name, error }))?;
        Ok(answer(listed))
    }

    async fn replay_quarantine(
        &self,
        request: Request<pb::ReplayQuarantineRequest>,
    ) -> Result<Response<pb::ReplayQuarantineResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        let named = requests::named(&request.request_id, "ReplayQuarantine", &request, &tenant.keys.index)?;
        let chosen = quarantine_edge::chosen(&tenant, &request)?;
        let replayed = quarantine::replay(&self.app, &tenant, &chosen, named).await.map_err(status::write)?;
        let kept = replayed.iter().filter(|answer| matches!(answer.outcome, Outcome::Quarantined { .. })).count();
        let gone = replayed.iter().filter(|answer| matches!(answer.outcome, Outcome::Rejected { .. })).count();
        let results = if request.quarantine_ids.is_empty() {
            Vec::new()
        } else {
            replayed.iter().cloned().map(|answer| outcome::result(answer, &tenant)).collect()
        };
        Ok(answer(pb::ReplayQuarantineResponse {
            released_count: (replayed.len() - kept - gone) as u64,
            kept_count: kept as u64,
            results,
        }))
    }

    async fn discard_quarantine(
        &self,
        request: Request<pb::DiscardQuarantineRequest>,
    ) -> Result<Response<pb::DiscardQuarantineResponse>, Status> {
        let request = request.into_inner();
        let tenant = self.tenant(&request.parent)?;
        if request.quarantine_ids.is_empty() {
            return Err(status::field("quarantine_ids", FaultReason::Missing, "name at least one"));
        }
        let named = requests::named(&request.request_id, "DiscardQuarantine", &request, &tenant.keys.index)?;
        let chosen = quarantine_edge::named(&tenant, &request.quarantine_ids)?;
        let discarded_count = quarantine::discard(&self.app, &tenant, chosen, named).await.map_err(status::write)?;
        Ok(answer(pb::DiscardQuarantineResponse { discarded_count }))
    }
}

use super::quarantine as quarantine_edge;

/// A batch on its way: what the door refused, and the place of each answer of the lane among them.
#[derive(Debug)]
struct Pending {
    tenant: Arc<Tenant>,
    /// One per message: its client sequence, and the faults if it never reached the lane.
    messages: Vec<(u64, Option<Vec<FieldFault>>)>,
    answers: oneshot::Receiver<Result<Vec<Answer>, WriteError>>,
}

impl Ingest {
    /// Reads the stream in batches as large as what has arrived, and no faster than the lane takes them.
    async fn pump(
        self,
        mut inbound: Streaming<pb::StreamFragmentsRequest>,
        batches: mpsc::Sender<Result<Pending, Status>>,
    ) {
        let mut parent = names::of_tenant(names::DEFAULT_TENANT);
        let mut held = None;
        let mut stop = self.app.stop.subscribe();
        loop {
            let next = tokio::select! {
                next = silence::next(&self.app, next_batch(&mut inbound, &mut held)) => next.flatten(),
                _ = stop.wait_for(|stop| *stop) => {
                    Err(status::stopping())
                }
            };
            let messages = match next {
                Ok(messages) if messages.is_empty() => return,
                Ok(messages) => messages,
                Err(status) => {
                    // What came before was handed on already; its answers go out first.
                    let _ = batches.send(Err(status)).await;
                    return;
                }
            };
            // A batch is of one tenant: cut it where the parent changes.
            let mut messages = messages.into_iter().peekable();
            while let Some(first) = messages.peek() {
                if !first.parent.is_empty() {
                    parent.clone_from(&first.parent);
                }
                let mut run = Vec::new();
                while let Some(message) = messages.next_if(|m| m.parent.is_empty() || m.parent == parent) {
                    run.push(message);
                }
                let pending = self.hand_on(&parent, run).await;
                let failed = pending.is_err();
                if batches.send(pending).await.is_err() || failed {
                    return;
                }
            }
        }
    }

    async fn hand_on(&self, parent: &str, run: Vec<pb::StreamFragmentsRequest>) -> Result<Pending, Status> {
        let tenant = self.tenant(parent)?;
        let mut messages = Vec::with_capacity(run.len());
        let mut items = Vec::with_capacity(run.len());
        for message in run {
            let admitted = match message.action {
                Some(action) => self.admit(&tenant, action, Wait::Long).await.map_err(status::write)?,
                None => Err(vec![FieldFault::new("action", FaultReason::Missing, "say what to do: put or retract")]),
            };
            messages.push((
                message.client_sequence,
                match admitted {
                    Ok(item) => {
                        items.push(item);
                        None
                    }
                    Err(faults) => Some(faults),
                },
            ));
        }
        let answers = self.app.submit(&tenant, items).await;
        Ok(Pending { tenant, messages, answers })
    }
}

/// A fragment that came through the door, with the statements that came along; or every fault of both.
fn with_consents(
    admitted: Result<door::Admitted, Vec<FieldFault>>,
    consents: Vec<pb::FragmentConsent>,
    tenant: &Tenant,
    config: &LiveConfig,
    now: ObservedAt,
) -> Result<(door::Admitted, Vec<Saying>), Vec<FieldFault>> {
    let admitted = admitted?;
    if consents.is_empty() {
        return Ok((admitted, Vec::new()));
    }
    let says = consent::of_fragment(consents, &admitted.fragment, admitted.undated, tenant, config, now)?;
    Ok((admitted, says))
}

/// Bytes that a message takes, about: what it says, and the room of what it lists, which may say nothing.
fn weight(message: &pb::StreamFragmentsRequest) -> usize {
    let Some(pb::stream_fragments_request::Action::Put(fragment)) = &message.action else {
        return message.encoded_len();
    };
    let signals = fragment.consents.iter().filter_map(|consent| consent.saying.as_ref());
    let listed = size_of_val(fragment.identifiers.as_slice())
        + size_of_val(fragment.attributes.as_slice())
        + size_of_val(fragment.consents.as_slice())
        + size_of_val(fragment.affiliations.as_slice())
        + size_of_val(fragment.stages.as_slice())
        + signals.map(|saying| size_of_val(saying.signals.as_slice())).sum::<usize>();
    message.encoded_len() + listed
}

/// Waits for one message, then takes along what is there already.
async fn next_batch(
    inbound: &mut Streaming<pb::StreamFragmentsRequest>,
    held: &mut Option<Status>,
) -> Result<Vec<pb::StreamFragmentsRequest>, Status> {
    if let Some(status) = held.take() {
        return Err(status);
    }
    let mut batch = Vec::new();
    let mut bytes = 0;
    // Waits only while the batch is empty, so nothing is lost when the wait is given up.
    poll_fn(|context| {
        loop {
            match Pin::new(&mut *inbound).poll_next(context) {
                Poll::Ready(Some(Ok(message))) => {
                    bytes += weight(&message);
                    batch.push(message);
                    if batch.len() >= STREAM_BATCH_MAX || bytes >= STREAM_BATCH_BYTES_MAX {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(Some(Err(status))) => {
                    *held = Some(corrections::status(status));
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(()),
            }
        }
    })
    .await;
    match held.take() {
        Some(status) if batch.is_empty() => Err(status),
        kept => {
            *held = kept;
            Ok(batch)
        }
    }
}

/// The answers of one stream, batch by batch, in order.
#[derive(Debug)]
pub struct Answers {
    batches: mpsc::Receiver<Result<Pending, Status>>,
    waiting: Option<Pending>,
    ready: <VecDeque<pb::StreamFragmentsResponse> as IntoIterator>::IntoIter,
    failed: bool,
}

impl Stream for Answers {
    type Item = Result<pb::StreamFragmentsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(response) = self.ready.next() {
                return Poll::Ready(Some(Ok(response)));
            }
            if self.failed {
                return Poll::Ready(None);
            }
            if let Some(pending) = &mut self.waiting {
                let answered = match Pin::new(&mut pending.answers).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(answered)) => answered,
                    Poll::Ready(Err(_)) => Err(WriteError::StoreFailed),
                };
                match (answered, self.waiting.take()) {
                    (Ok(answers), Some(pending)) => self.ready = responses(pending, answers).into_iter(),
                    (Err(error), _) => {
                        self.failed = true;
                        return Poll::Ready(Some(Err(status::write(error))));
                    }
                    (Ok(_), None) => {}
                }
                continue;
            }
            match self.batches.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(pending))) => self.waiting = Some(pending),
                Poll::Ready(Some(Err(status))) => {
                    self.failed = true;
                    return Poll::Ready(Some(Err(status)));
                }
            }
        }
    }
}

fn responses(pending: Pending, answers: Vec<Answer>) -> VecDeque<pb::StreamFragmentsResponse> {
    let mut answers = answers.into_iter();
    pending
        .messages
        .into_iter()
        .filter_map(|(client_sequence, refused)| {
            let answer = match refused {
                Some(faults) => Some(Answer::rejected(faults)),
                None => answers.next(),
            };
            answer.map(|answer| pb::StreamFragmentsResponse {
                client_sequence,
                result: Some(outcome::result(answer, &pending.tenant)),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_says_nothing_weighs_what_it_takes() {
        let consents = vec![pb::FragmentConsent::default(); 512];
        let fragment = pb::Fragment { consents, ..Default::default() };
        let put = pb::stream_fragments_request::Action::Put(fragment);
        let message = pb::StreamFragmentsRequest { action: Some(put), ..Default::default() };
        assert!(message.encoded_len() < 1_100);
        assert!(weight(&message) > STREAM_BATCH_BYTES_MAX / 20, "a few of them are a batch: {}", weight(&message));
    }
}
