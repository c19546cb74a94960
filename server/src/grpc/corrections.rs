//! Three corrections to tonic: a message over the size limit is RESOURCE_EXHAUSTED, not OUT_OF_RANGE, bytes that are no
//! message are INVALID_ARGUMENT, not INTERNAL, and a deadline that passed is DEADLINE_EXCEEDED, not CANCELLED. Clients
//! decide by these codes whether to try again. What was refused before it was decoded is told as every fault of a field is.
//!
//! Here too: every call has a deadline, the client's or ours, whichever is nearer, only as many are taken as can be answered
//! in time ([`Admission`]), and streams of small messages are compressed only for who compresses them too.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use onefold_core::fault::FaultReason;
use onefold_proto::bounds::TooMany;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::admission::Admission;
use super::status;
use crate::config;

/// How tonic says that a message is too large.
const TOO_LARGE: &str = "message length too large";
/// How tonic says that a message would be too large once it is decompressed.
const INFLATES: &str = "exceeded while decompressing message";
/// How tonic says that what claims to be compressed is not.
const NOT_COMPRESSED: &str = "Error decompressing";
/// How tonic says that the message is an answer of ours.
const ANSWERED: &str = "encoded message length";
/// How prost says that bytes are no message, e.g. that a text is not UTF-8; it names the field.
const NO_MESSAGE: &str = "failed to decode Protobuf message";
/// How long a caller waits at most, as the gRPC protocol writes it.
const TIMEOUT_HEADER: &str = "grpc-timeout";
/// How messages of a request are compressed.
const ENCODING_HEADER: &str = "grpc-encoding";
/// How messages of the answer may be.
const ACCEPT_ENCODING_HEADER: &str = "grpc-accept-encoding";
/// tonic has its own clock for the same deadline around every layer of ours, and says CANCELLED. It has read the header
/// before we see it, so we must be ahead by more than the timer's step of 1 ms.
const AHEAD_OF_TONIC: Duration = Duration::from_millis(2);

/// Corrects the status of a stream's message that could not be read.
pub fn status(status: Status) -> Status {
    corrected(&status).unwrap_or(status)
}

fn corrected(wrong: &Status) -> Option<Status> {
    match wrong.code() {
        Code::OutOfRange if wrong.message().contains(ANSWERED) => {
            Some(status::answer_too_large(config::MESSAGE_OUT_BYTES_MAX, "ask for less at once"))
        }
        Code::OutOfRange if wrong.message().contains(TOO_LARGE) => {
            Some(status::message_too_large(wrong.message(), config::MESSAGE_IN_BYTES_MAX))
        }
        Code::ResourceExhausted if wrong.message().contains(INFLATES) => {
            Some(status::message_too_large(wrong.message(), config::MESSAGE_IN_BYTES_MAX))
        }
        Code::InvalidArgument => {
            let many = TooMany::read(wrong.message())?;
            let message = format!("at most {} in all are taken in one message", many.most);
            Some(status::field(&many.field, FaultReason::TooLarge, message))
        }
        Code::Internal if wrong.message().contains(NO_MESSAGE) => Some(status::message_malformed(wrong.message())),
        Code::Internal if wrong.message().contains(NOT_COMPRESSED) => {
            Some(status::message_malformed("the message is not compressed as its grpc-encoding says"))
        }
        _ => None,
    }
}

/// How long a call may take at most, whatever its caller says. Some go over everything a tenant has.
fn call_time_max(path: &str) -> Duration {
    let method = path.rsplit('/').next().unwrap_or(path);
    if config::LONG_CALLS.contains(&method) { config::LONG_CALL_TIME_MAX } else { config::CALL_TIME_MAX }
}

/// Whether the answers of a call are too small to be worth compressing.
fn is_of_small_messages(path: &str) -> bool {
    let method = path.rsplit('/').next().unwrap_or(path);
    config::STREAMS_OF_SMALL_MESSAGES.contains(&method)
}

/// Leaves compression off where small messages would only cost, if their caller does not compress them either.
fn in_kind(headers: &mut http::HeaderMap) {
    if !headers.contains_key(ENCODING_HEADER) {
        headers.remove(ACCEPT_ENCODING_HEADER);
    }
}

/// How long the caller waits: up to 8 digits and a unit. What is not of this shape is no deadline, as tonic has it.
fn deadline(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT_HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 60 * 60),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Takes the message of a call that is refused off the wire, if it comes soon and is not long: a stream that is answered before it
/// was read is reset as well, and some clients take the reset for the answer.
async fn take_off<B: http_body::Body + Unpin>(mut body: B) {
    let mut left = config::REFUSED_BYTES_MAX;
    let mut over = pin!(poll_fn(move |context| {
        loop {
            match Pin::new(&mut body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let came = frame.data_ref().map_or(0, Buf::remaining);
                    left = left.saturating_sub(came);
                    if left == 0 {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }));
    // Most of them are there already, and need no clock.
    if poll_fn(|context| Poll::Ready(over.as_mut().poll(context))).await.is_pending() {
        let _ = tokio::time::timeout(config::REFUSED_WAIT_MAX, over).await;
    }
}

/// Puts [`Corrections`] around every service.
#[derive(Clone, Debug)]
pub struct Correct {
    admission: Arc<Admission>,
}

impl Correct {
    /// So many calls at once.
    pub fn new(calls_max: usize) -> Self {
        Self { admission: Admission::new(calls_max) }
    }
}

impl<S> Layer<S> for Correct {
    type Service = Corrections<S>;

    fn layer(&self, inner: S) -> Corrections<S> {
        Corrections { inner, admission: Arc::clone(&self.admission) }
    }
}

/// A service whose answers are corrected. The deadline is for the head of the answer: streams are not cut.
#[derive(Clone, Debug)]
pub struct Corrections<S> {
    inner: S,
    admission: Arc<Admission>,
}

impl<S, In, Out> Service<http::Request<In>> for Corrections<S>
where
    S: Service<http::Request<In>, Response = http::Response<Out>>,
    S::Future: Send + 'static,
    In: http_body::Body + Send + Unpin + 'static,
    Out: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<In>) -> Self::Future {
        let path = request.uri().path();
        let Some(taken) = self.admission.take(path) else {
            let body = request.into_body();
            return Box::pin(async {
                take_off(body).await;
                Ok(status::shed())
            });
        };
        let (ours, small) = (call_time_max(path), is_of_small_messages(path));
        if let Some(turn) = taken.turn() {
            request.extensions_mut().insert(turn);
        }
        if small {
            in_kind(request.headers_mut());
        }
        let theirs = deadline(request.headers()).map(|within| within.saturating_sub(AHEAD_OF_TONIC));
        let within = theirs.map_or(ours, |theirs| theirs.min(ours));
        let answer = self.inner.call(request);
        Box::pin(async move {
            // Held until there is a head of an answer, or nobody waits for it.
            let _taken = taken;
            let (mut answer, mut clock) = (pin!(answer), pin!(None));
            // The answer first: one that is there goes out, and needs no clock.
            let answered = poll_fn(|context| {
                if let Poll::Ready(answered) = answer.as_mut().poll(context) {
                    return Poll::Ready(Some(answered));
                }
                if clock.is_none() {
                    clock.set(Some(tokio::time::sleep(within)));
                }
                match clock.as_mut().as_pin_mut().map(|clock| clock.poll(context)) {
                    Some(Poll::Ready(())) => Poll::Ready(None),
                    _ => Poll::Pending,
                }
            });
            let Some(answered) = answered.await else { return Ok(status::deadline_exceeded().into_http()) };
            let response = answered?;
            // An answer without a body carries its status in the headers.
            match Status::from_header_map(response.headers()).as_ref().and_then(corrected) {
                Some(right) => Ok(right.into_http()),
                None => Ok(response),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tonic::body::Body;

    use super::*;

    /// Answers with `says` after `takes`.
    #[derive(Clone)]
    struct Slow {
        takes: Duration,
        says: Option<Status>,
    }

    impl Service<http::Request<Body>> for Slow {
        type Response = http::Response<String>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            let Self { takes, says } = self.clone();
            Box::pin(async move {
                tokio::time::sleep(takes).await;
                Ok(says.map_or_else(|| http::Response::new("body".to_owned()), Status::into_http))
            })
        }
    }

    async fn ask(takes: Duration, says: Option<Status>, timeout: Option<&str>) -> http::Response<String> {
        let mut request = http::Request::new(Body::empty());
        if let Some(timeout) = timeout {
            request.headers_mut().insert(TIMEOUT_HEADER, timeout.parse().unwrap());
        }
        Correct::new(1).layer(Slow { takes, says }).call(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_deadline_that_passes_is_said_and_one_that_holds_changes_nothing() {
        let asked = ask(Duration::from_secs(60), None, Some("50m"));
        let late = tokio::time::timeout(Duration::from_secs(30), asked).await.expect("long before the answer is there");
        assert_eq!(late.headers()["content-type"], "application/grpc");
        assert_eq!(late.headers()["grpc-status"], "4");
        assert!(late.body().is_empty());
        for timeout in [None, Some("60S"), Some("50"), Some("m"), Some("123456789n"), Some("5x")] {
            let answer = ask(Duration::from_millis(60), None, timeout).await;
            assert_eq!(answer.body(), "body", "{timeout:?}");
            assert!(!answer.headers().contains_key("grpc-status"), "{timeout:?}");
        }
    }

    #[tokio::test]
    async fn statuses_that_mislead_are_corrected_and_others_kept() {
        let table = [
            (Code::OutOfRange, format!("Error, decoded {TOO_LARGE}: found 5 bytes"), "8", true),
            (Code::OutOfRange, "Error, encoded message length too large: found 9 bytes".to_owned(), "8", true),
            (Code::ResourceExhausted, format!("Error decompressing: size limit, of 5 bytes, {INFLATES}"), "8", true),
            (Code::ResourceExhausted, "the quota is used up".to_owned(), "8", false),
            (Code::Internal, format!("{NOT_COMPRESSED}: invalid gzip header, while sending request"), "3", true),
            (Code::OutOfRange, "the cursor is ahead".to_owned(), "11", false),
            (Code::Internal, format!("{NO_MESSAGE}: invalid wire type"), "3", true),
            (Code::InvalidArgument, TooMany { field: "fragment.consents".to_owned(), most: 7 }.to_string(), "3", true),
            (Code::InvalidArgument, "say what is known".to_owned(), "3", false),
            (Code::Internal, "the store failed".to_owned(), "13", false),
            (Code::Cancelled, "the caller went away".to_owned(), "1", false),
        ];
        for (code, message, expected, detailed) in table {
            let says = Status::new(code, message.clone());
            let answer = ask(Duration::ZERO, Some(says.clone()), None).await;
            assert_eq!(answer.headers()["grpc-status"], expected, "{message}");
            assert_eq!(answer.headers().contains_key("grpc-status-details-bin"), detailed, "{message}");
            assert_eq!((status(says).code() as i32).to_string(), expected, "{message}, in a stream");
        }
    }

    #[tokio::test]
    async fn a_call_over_the_bound_is_told_when_to_come_again_and_health_is_always_told() {
        let mut service = Correct::new(1).layer(Slow { takes: Duration::from_millis(20), says: None });
        let under_way = service.call(http::Request::new(Body::empty()));
        let refused = service.call(http::Request::new(Body::empty())).await.unwrap();
        assert_eq!(refused.headers()["grpc-status"], "8");
        assert!(refused.headers().contains_key("grpc-status-details-bin"));
        let health = http::Request::builder().uri("/grpc.health.v1.Health/Check").body(Body::empty()).unwrap();
        assert_eq!(service.call(health).await.unwrap().body(), "body");
        assert_eq!(under_way.await.unwrap().body(), "body");
        assert_eq!(
            service.call(http::Request::new(Body::empty())).await.unwrap().body(),
            "body",
            "there is room again"
        );
        let given_up = service.call(http::Request::new(Body::empty()));
        drop(given_up);
        assert_eq!(
            service.call(http::Request::new(Body::empty())).await.unwrap().body(),
            "body",
            "who gives up leaves room"
        );
    }

    #[test]
    fn every_call_ends_and_long_ones_may_take_longer() {
        assert_eq!(call_time_max("/onefold.v1.ProfileService/GetProfile"), config::CALL_TIME_MAX);
        assert_eq!(call_time_max("/onefold.v1.AdminService/GetDigest"), config::LONG_CALL_TIME_MAX);
    }

    #[test]
    fn streams_of_small_messages_are_compressed_in_kind_only() {
        let table = [
            ("/onefold.v1.IngestService/StreamFragments", None, false),
            ("/onefold.v1.IngestService/StreamFragments", Some("gzip"), true),
            ("/onefold.v1.ProfileService/GetProfile", None, true),
        ];
        for (path, compressed, kept) in table {
            let mut headers = http::HeaderMap::new();
            headers.insert(ACCEPT_ENCODING_HEADER, http::HeaderValue::from_static("gzip"));
            if let Some(encoding) = compressed {
                headers.insert(ENCODING_HEADER, http::HeaderValue::from_static(encoding));
            }
            if is_of_small_messages(path) {
                in_kind(&mut headers);
            }
            assert_eq!(headers.contains_key(ACCEPT_ENCODING_HEADER), kept, "{path} {compressed:?}");
        }
    }

    #[test]
    fn deadlines_read_in_every_unit() {
        let table = [("2H", 7_200_000), ("2M", 120_000), ("2S", 2_000), ("2m", 2), ("2000u", 2), ("2000000n", 2)];
        for (text, millis) in table {
            let headers =
                http::HeaderMap::from_iter([(http::HeaderName::from_static(TIMEOUT_HEADER), text.parse().unwrap())]);
            assert_eq!(deadline(&headers), Some(Duration::from_millis(millis)), "{text}");
        }
    }
}
