//! AuditService: the log is checked beside the writes that go on.

use std::sync::Arc;

use onefold_core::erasure::LogHead;
use onefold_core::fault::FaultReason;
use onefold_proto::v1 as pb;
use onefold_proto::v1::audit_service_server::AuditService;
use pb::verify_log_response::Part;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::status;
use crate::app::App;
use crate::audit::running::{self, KEPT_HEADS_MAX, KeptHead};
use crate::audit::{Audit, AuditError, explained};

/// Answers that may wait for a slow reader.
const DEPTH_MAX: usize = 4;

/// The service.
#[derive(Clone, Debug)]
pub struct Audits {
    app: Arc<App>,
    /// One check at a time: each reads all there is.
    one: Arc<Semaphore>,
}

impl Audits {
    /// Over an app.
    pub fn new(app: &Arc<App>) -> Self {
        Self { app: Arc::clone(app), one: Arc::new(Semaphore::new(1)) }
    }
}

/// Heads on their way in.
fn kept(wire: Vec<pb::LogHead>) -> Result<Vec<KeptHead>, Status> {
    if wire.len() > KEPT_HEADS_MAX {
        let message =
            format!("at most {KEPT_HEADS_MAX} heads: the newest are enough, for each stands for all before it");
        return Err(status::field("kept_heads", FaultReason::TooLarge, message));
    }
    let head = |(at, head): (usize, pb::LogHead)| {
        let pb::LogHead { segment, offset, chain, signed_time } = head;
        let hash = LogHead { segment, offset, chain }.hash();
        // It is said again in what was found.
        let plain = signed_time.len() <= 32 && signed_time.bytes().all(|byte| byte.is_ascii_graphic());
        let message = "give segment, offset, chain and time as a signed head says them";
        let bad = || status::field(&format!("kept_heads[{at}]"), FaultReason::Malformed, message);
        hash.filter(|_| plain).map(|hash| (segment, offset, hash, signed_time)).ok_or_else(bad)
    };
    wire.into_iter().enumerate().map(head).collect()
}

fn report(found: Audit, checked: Result<(), AuditError>) -> pb::VerifyLogReport {
    let (segment, offset) = found.end;
    pb::VerifyLogReport {
        fault: checked.err().map(|error| explained(&error)).unwrap_or_default(),
        segments: found.segments,
        batches: found.batches,
        entries: found.entries,
        erasures: found.erasures,
        receipts: found.receipts,
        reads: found.reads,
        heads: found.heads,
        head_time: found.head_time,
        destroyed_keys: found.destroyed_keys,
        head: Some(pb::LogHead { segment, offset, chain: found.head, signed_time: String::new() }),
        public_key: found.public_key,
    }
}

#[tonic::async_trait]
impl AuditService for Audits {
    type VerifyLogStream = ReceiverStream<Result<pb::VerifyLogResponse, Status>>;

    async fn verify_log(
        &self,
        request: Request<pb::VerifyLogRequest>,
    ) -> Result<Response<Self::VerifyLogStream>, Status> {
        let kept_heads = kept(request.into_inner().kept_heads)?;
        let place = Arc::clone(&self.one).try_acquire_owned().map_err(|_| status::too_many_calls())?;
        let (out, answers) = mpsc::channel(DEPTH_MAX);
        let app = Arc::clone(&self.app);
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let stop = app.stop.subscribe();
            let (found, checked) = running::verify(&app, &kept_heads, &mut |(segments, segments_total)| {
                let progress = Part::Progress(pb::VerifyLogProgress { segments, segments_total });
                // A reader that is slow misses how far it has come, and nothing else.
                let _ = out.try_send(Ok(pb::VerifyLogResponse { part: Some(progress) }));
                !out.is_closed() && !*stop.borrow()
            });
            let told = match checked {
                Err(AuditError::BrokenOff) => Err(status::stopping()),
                checked => {
                    if let Err(error) = &checked {
                        tracing::error!(error = %explained(error), "a check of the log found a fault");
                    }
                    Ok(pb::VerifyLogResponse { part: Some(Part::Report(report(found, checked))) })
                }
            };
            // A reader that is gone has lost interest.
            let _ = out.blocking_send(told);
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
