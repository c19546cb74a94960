//! Counts every call by its RPC and end, traces it where traces are wanted, and contains what panics in one: it is answered INTERNAL, and the connection's
//! other calls go on.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Layer, Service};

use super::{rights, status};
use crate::metrics::calls::{Call, Calls};
use crate::traces::{CallSpan, Traces};

/// Puts a [`Metered`] around every service.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Where calls are counted.
    pub calls: Arc<Calls>,
    /// Who makes spans of them; none: nobody.
    pub traces: Option<Arc<Traces>>,
}

impl<S> Layer<S> for Meter {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Metered<S> {
        Metered { inner, meter: self.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub struct Metered<S> {
    inner: S,
    meter: Meter,
}

impl<S> Service<http::Request<Body>> for Metered<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let mut call = self.meter.calls.begin(path);
        if let Some(traces) = &self.meter.traces {
            let span = call.name().and_then(|(service, method)| traces.call(request.headers(), service, method));
            call.traced(span);
        }
        let streams = rights::is_stream(path);
        let entered = call.span().map(CallSpan::enter);
        let answer = catch_unwind(AssertUnwindSafe(|| self.inner.call(request))).ok();
        drop(entered);
        Answering { answer, call: Some(call), streams }
    }
}

/// A call on its way to its answer.
#[derive(Debug)]
pub struct Answering<F> {
    /// None once it panicked.
    answer: Option<F>,
    /// None once it is with the answer.
    call: Option<Call>,
    streams: bool,
}

impl<F: Future<Output = Result<http::Response<Body>, Infallible>> + Unpin> Future for Answering<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let entered = this.call.as_ref().and_then(Call::span).map(CallSpan::enter);
        let polled = match &mut this.answer {
            Some(answer) => catch_unwind(AssertUnwindSafe(|| Pin::new(answer).poll(context))),
            None => Ok(Poll::Ready(Ok(panicked().into_http()))),
        };
        drop(entered);
        let response = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(response))) => response,
            Err(_) => {
                this.answer = None;
                panicked().into_http()
            }
        };
        let Some(mut call) = this.call.take() else { return Poll::Ready(Ok(response)) };
        if let Some(status::Shed(reason)) = response.extensions().get() {
            call.ended(Code::ResourceExhausted as usize);
            call.refused(reason);
            return Poll::Ready(Ok(response));
        }
        // An answer without a body carries its status in the headers; another one is good, or ends otherwise later.
        if let Some(status) = Status::from_header_map(response.headers()) {
            ends(&mut call, &status);
        } else if this.streams {
            return Poll::Ready(Ok(response.map(|body| Body::new(Streaming { body: Some(body), call: Some(call) }))));
        } else {
            call.ended(0);
        }
        Poll::Ready(Ok(response))
    }
}

fn ends(call: &mut Call, status: &Status) {
    call.ended(status.code() as usize);
    if let Some(info) = status.get_details_error_info() {
        call.refused(&info.reason);
    }
}

fn panicked() -> Status {
    status::internal("a fault of the server: this call was ended, and others go on; it is in the server's log")
}

/// The messages of a stream, up to its end.
struct Streaming {
    /// None once it panicked.
    body: Option<Body>,
    /// None once it has ended.
    call: Option<Call>,
}

impl http_body::Body for Streaming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let entered = this.call.as_ref().and_then(Call::span).map(CallSpan::enter);
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(context)));
        drop(entered);
        let Ok(polled) = polled else {
            this.body = None;
            let status = panicked();
            if let Some(mut call) = this.call.take() {
                ends(&mut call, &status);
            }
            let mut trailers = http::HeaderMap::new();
            // A status of our own always makes headers.
            let _ = status.add_header(&mut trailers);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        };
        if let Poll::Ready(frame) = &polled {
            let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref());
            let status = trailers.and_then(Status::from_header_map);
            if let (Some(status), Some(mut call)) = (status, this.call.take_if(|_| trailers.is_some())) {
                ends(&mut call, &status);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// Panics where it is told to.
    #[derive(Clone)]
    enum Faulty {
        AtOnce,
        Later,
        InTheStream,
        Not,
        Refuses,
    }

    impl Service<http::Request<Body>> for Faulty {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            let this = self.clone();
            assert!(!matches!(this, Self::AtOnce), "planted");
            Box::pin(async move {
                tokio::task::yield_now().await;
                assert!(!matches!(this, Self::Later), "planted");
                if let Self::Refuses = this {
                    return Ok(status::recovering().into_http());
                }
                let stream = http_body_util::StreamBody::new(tokio_stream::iter((0..3).map(move |step| {
                    assert!(!matches!(this, Self::InTheStream) || step == 0, "planted");
                    if step < 2 {
                        return Ok::<_, Status>(Frame::data(Bytes::from_static(b"message")));
                    }
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    Ok(Frame::trailers(trailers))
                })));
                Ok(http::Response::new(Body::new(stream)))
            })
        }
    }

    const STREAM: &str = "/onefold.v1.ProfileService/WatchProfiles";
    const UNARY: &str = "/onefold.v1.ProfileService/GetProfile";

    #[tokio::test]
    async fn a_panic_is_an_answer_and_every_end_is_counted() {
        let table = [
            (Faulty::AtOnce, UNARY, "INTERNAL", Some("INTERNAL")),
            (Faulty::Later, UNARY, "INTERNAL", Some("INTERNAL")),
            (Faulty::InTheStream, STREAM, "INTERNAL", Some("INTERNAL")),
            (Faulty::Not, STREAM, "OK", None),
            (Faulty::Not, UNARY, "OK", None),
            (Faulty::Refuses, STREAM, "UNAVAILABLE", Some("SERVER_RECOVERING")),
        ];
        for (number, (faulty, path, code, reason)) in table.into_iter().enumerate() {
            let calls = Arc::new(Calls::new([UNARY, STREAM]));
            let mut metered = Meter { calls: Arc::clone(&calls), traces: None }.layer(faulty);
            let request = http::Request::builder().uri(path).body(Body::empty()).unwrap();
            let response = metered.call(request).await.unwrap();
            let told = Status::from_header_map(response.headers());
            let collected = response.into_body().collect().await.unwrap();
            let told = told.or_else(|| Status::from_header_map(collected.trailers()?)).unwrap();
            assert_eq!(
                told.code().description(),
                tonic::Code::from(crate::metrics::calls::CODES.iter().position(|c| *c == code).unwrap() as i32)
                    .description(),
                "case {number}"
            );
            let counted: Vec<_> = calls
                .times()
                .map(|(_, method, code, times)| (method.to_owned(), code, times.seen().buckets.iter().sum::<u64>()))
                .collect();
            assert_eq!(counted, [(path.rsplit('/').next().unwrap().to_owned(), code, 1)], "case {number}");
            assert_eq!(calls.refused().keys().map(String::as_str).next(), reason, "case {number}");
            assert_eq!(calls.under_way(), 0, "case {number}");
        }
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_is_counted_as_cancelled() {
        let calls = Arc::new(Calls::new([UNARY, STREAM]));
        let mut metered = Meter { calls: Arc::clone(&calls), traces: None }.layer(Faulty::Not);
        let request = |path: &str| http::Request::builder().uri(path).body(Body::empty()).unwrap();
        drop(metered.call(request(UNARY)));
        let response = metered.call(request(STREAM)).await.unwrap();
        assert_eq!(calls.under_way(), 1);
        drop(response);
        let counted: Vec<_> = calls.times().map(|(_, method, code, _)| (method.to_owned(), code)).collect();
        assert_eq!(counted, [("GetProfile".to_owned(), "CANCELLED"), ("WatchProfiles".to_owned(), "CANCELLED")]);
    }
}
