//! Requests of controllers are counted as calls are, each under the RPC that it stands for, and what panics in one is answered.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};

use super::said::Trouble;
use crate::metrics::calls::{Call, Calls};

/// What requests are counted as: the service `opendsr` and the RPC that a route stands for.
pub const COUNTED: [&str; 6] = [
    "/opendsr/Discovery",
    "/opendsr/Certificate",
    "/opendsr/CreatePrivacyRequest",
    "/opendsr/GetPrivacyRequest",
    "/opendsr/CancelPrivacyRequest",
    "/opendsr/StreamAccessExport",
];

/// The code of gRPC that an answer is counted under.
fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        200..=299 => Code::Ok,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        405 => Code::Unimplemented,
        408 => Code::DeadlineExceeded,
        413 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        400..=499 => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

/// Answers a request, and counts it: one that lasts is over with its body.
pub async fn counted(
    calls: &Arc<Calls>,
    path: &str,
    work: impl Future<Output = Result<Response<Body>, Trouble>> + Send,
) -> Response<Body> {
    let mut call = calls.begin(path);
    let mut work = Box::pin(work);
    let panicked = || {
        let message = "a fault of the server: this request was ended, and others go on; it is in the server's log";
        Trouble::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", message)
    };
    let polled = |context: &mut Context<'_>| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.unwrap_or_else(|_| Poll::Ready(Err(panicked())))
    };
    let answer = poll_fn(polled).await.unwrap_or_else(|trouble| {
        call.refused(trouble.reason());
        trouble.answer()
    });
    let code = code_of(answer.status());
    if code == Code::Ok && path.ends_with("Export") {
        return answer.map(|body| Body::new(Lasts { body: Some(body), call: Some(call) }));
    }
    call.ended(code as usize);
    answer
}

/// The pieces of an answer, up to its end.
struct Lasts {
    /// None once it panicked.
    body: Option<Body>,
    /// None once it has ended.
    call: Option<Call>,
}

impl Lasts {
    fn ends(&mut self, code: Code) {
        if let Some(mut call) = self.call.take() {
            call.ended(code as usize);
        }
    }
}

impl http_body::Body for Lasts {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(context)));
        let Ok(polled) = polled else {
            this.body = None;
            this.ends(Code::Internal);
            // The reader must not take the part that it has for the whole.
            return Poll::Ready(Some(Err(Status::internal("the answer was broken off"))));
        };
        match &polled {
            Poll::Ready(None) => this.ends(Code::Ok),
            Poll::Ready(Some(Err(status))) => this.ends(status.code()),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn seen(calls: &Arc<Calls>) -> Vec<(String, &'static str)> {
        calls.times().map(|(_, method, code, _)| (method.to_owned(), code)).collect()
    }

    #[tokio::test]
    async fn every_end_is_counted_and_a_panic_is_an_answer() {
        let calls = Arc::new(Calls::new(COUNTED));
        let answer = counted(&calls, COUNTED[3], async { Ok(Response::new(Body::empty())) }).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let unknown = Trouble::new(StatusCode::NOT_FOUND, "PRIVACY_REQUEST_NOT_FOUND", "there is none");
        counted(&calls, COUNTED[4], async { Err(unknown) }).await;
        let panics = async {
            tokio::task::yield_now().await;
            panic!("planted");
        };
        assert_eq!(counted(&calls, COUNTED[2], panics).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(
            seen(&calls),
            [
                ("CreatePrivacyRequest".to_owned(), "INTERNAL"),
                ("GetPrivacyRequest".to_owned(), "OK"),
                ("CancelPrivacyRequest".to_owned(), "NOT_FOUND"),
            ]
        );
        assert_eq!(calls.refused().keys().collect::<Vec<_>>(), ["INTERNAL", "PRIVACY_REQUEST_NOT_FOUND"]);
        assert_eq!(calls.under_way(), 0);
    }

    #[tokio::test]
    async fn an_export_is_over_with_its_last_piece() {
        let calls = Arc::new(Calls::new(COUNTED));
        for (pieces, code) in [(2, "OK"), (0, "INTERNAL")] {
            let pieces = (0..3).map(move |at| match at {
                at if at < pieces => Ok(Frame::data(Bytes::from_static(b"piece"))),
                _ if pieces == 0 => panic!("planted"),
                _ => Err(Status::unavailable("x")),
            });
            let body = Body::new(StreamBody::new(tokio_stream::iter(pieces.take(2))));
            let answer = counted(&calls, COUNTED[5], async { Ok(Response::new(body)) }).await;
            assert_eq!(calls.under_way(), 1);
            assert_eq!(answer.into_body().collect().await.is_ok(), code == "OK");
            assert!(seen(&calls).contains(&("StreamAccessExport".to_owned(), code)));
        }
        let body = Body::new(StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Status>>()));
        drop(counted(&calls, COUNTED[5], async { Ok(Response::new(body)) }).await);
        assert!(seen(&calls).contains(&("StreamAccessExport".to_owned(), "CANCELLED")));
        assert_eq!(calls.under_way(), 0);
    }
}
