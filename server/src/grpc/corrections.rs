//! Three corrections to tonic: a message over the size limit is RESOURCE_EXHAUSTED, not OUT_OF_RANGE, bytes that are no
//! message are INVALID_ARGUMENT, not INTERNAL, and a deadline that passed is DEADLINE_EXCEEDED, not CANCELLED. Clients
//! decide by these codes whether to try again.

use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::{Code, Status};
use tower::{Layer, Service};

/// How tonic says that a message is too large.
const TOO_LARGE: &str = "message length too large";
/// How prost says that bytes are no message, e.g. that a text is not UTF-8; it names the field.
const NO_MESSAGE: &str = "failed to decode Protobuf message";
/// How tonic says that a deadline passed.
const TIMED_OUT: &str = "Timeout expired";

/// Corrects the status of a stream's message that could not be read.
pub fn status(status: Status) -> Status {
    match corrected(status.code(), status.message()) {
        Some(code) => Status::new(code, status.message()),
        None => status,
    }
}

fn corrected(code: Code, message: &str) -> Option<Code> {
    match code {
        Code::OutOfRange if message.contains(TOO_LARGE) => Some(Code::ResourceExhausted),
        Code::Internal if message.contains(NO_MESSAGE) => Some(Code::InvalidArgument),
        Code::Cancelled if message.contains(TIMED_OUT) => Some(Code::DeadlineExceeded),
        _ => None,
    }
}

/// Puts [`Corrections`] around every service.
#[derive(Clone, Copy, Debug)]
pub struct Correct;

impl<S> Layer<S> for Correct {
    type Service = Corrections<S>;

    fn layer(&self, inner: S) -> Corrections<S> {
        Corrections { inner }
    }
}

/// A service whose answers are corrected.
#[derive(Clone, Debug)]
pub struct Corrections<S> {
    inner: S,
}

impl<S, In, Out> Service<http::Request<In>> for Corrections<S>
where
    S: Service<http::Request<In>, Response = http::Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<In>) -> Self::Future {
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            // An answer without a body carries its status in the headers.
            if let Some(status) = Status::from_header_map(response.headers())
                && let Some(code) = corrected(status.code(), status.message())
            {
                response.headers_mut().insert("grpc-status", http::HeaderValue::from(code as i32));
            }
            Ok(response)
        })
    }
}
