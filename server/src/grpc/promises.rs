//! Memory for what came, not for what was promised: tonic makes room for a whole message as soon as its five-byte head says
//! how long it will be. Here a message is handed on once all of it is there, so that a head without a message costs five
//! bytes. What arrives is kept in one buffer, whatever the pieces it comes in. And a read waits here for its turn, where a
//! client that does not send what it promised keeps nobody else from theirs.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Frame, SizeHint};
use prost::bytes::{Bytes, BytesMut};
use tonic::body::Body;
use tower::{Layer, Service};

use super::admission::Turn;
use crate::config::MESSAGE_IN_BYTES_MAX;

/// Bytes in front of a message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// Where in the messages of a request its bytes are.
#[derive(Debug, Default)]
struct Walk {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that are there.
    read: usize,
    /// Bytes of the message that are not.
    missing: usize,
}

/// A message is longer than any may be: whoever reads it refuses it by its head.
struct TooLong;

impl Walk {
    /// Goes over a piece; how many bytes of it belong to messages that are whole now.
    fn over(&mut self, piece: &[u8]) -> Result<usize, TooLong> {
        let (mut at, mut whole) = (0, 0);
        while at < piece.len() {
            if self.missing > 0 {
                let there = self.missing.min(piece.len() - at);
                self.missing -= there;
                at += there;
            } else {
                self.head[self.read] = piece[at];
                self.read += 1;
                at += 1;
                if self.read < HEAD_BYTES {
                    continue;
                }
                self.read = 0;
                let [_, a, b, c, d] = self.head;
                self.missing = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| TooLong)?;
                if self.missing > MESSAGE_IN_BYTES_MAX {
                    return Err(TooLong);
                }
            }
            if self.missing == 0 {
                whole = at;
            }
        }
        Ok(whole)
    }
}

/// A request's body in whole messages.
#[derive(Debug)]
struct Whole {
    inner: Body,
    walk: Walk,
    /// What there is of the message that is not whole yet.
    held: BytesMut,
    /// Nothing is held any more.
    through: bool,
    /// What the first message waits for.
    turn: Option<Turn>,
    /// What waits for it: all that came before, or that nothing comes.
    first: Option<Polled>,
}

/// What a body's poll gave.
type Polled = Option<Result<Frame<Bytes>, <Body as http_body::Body>::Error>>;

impl Whole {
    fn of(inner: Body, turn: Option<Turn>) -> Self {
        Self { inner, walk: Walk::default(), held: BytesMut::new(), through: false, turn, first: None }
    }

    /// The next of what is whole.
    fn poll_whole(&mut self, context: &mut Context<'_>) -> Poll<Polled> {
        loop {
            let frame = match http_body::Body::poll_frame(Pin::new(&mut self.inner), context) {
                Poll::Ready(Some(Ok(frame))) if !self.through => frame,
                Poll::Ready(None) if !self.held.is_empty() => {
                    // The end came too early; whoever reads it says so.
                    self.through = true;
                    let rest = std::mem::take(&mut self.held).freeze();
                    return Poll::Ready(Some(Ok(Frame::data(rest))));
                }
                other => return other,
            };
            match frame.into_data() {
                Ok(piece) => {
                    let ready = self.take(piece);
                    if !ready.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(ready))));
                    }
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    /// What of a piece, and of what is held, can be handed on.
    fn take(&mut self, mut piece: Bytes) -> Bytes {
        let whole = match self.walk.over(&piece) {
            Ok(whole) => whole,
            Err(TooLong) => {
                self.through = true;
                piece.len()
            }
        };
        let ready = piece.split_to(whole);
        let ready = if ready.is_empty() || self.held.is_empty() {
            ready
        } else {
            self.held.extend_from_slice(&ready);
            std::mem::take(&mut self.held).freeze()
        };
        self.held.extend_from_slice(&piece);
        ready
    }
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.turn.is_none() {
            return this.poll_whole(context);
        }
        if this.first.is_none() {
            this.first = Some(ready!(this.poll_whole(context)));
        }
        if let Some(turn) = &mut this.turn {
            ready!(turn.poll_comes(context));
            this.turn = None;
        }
        match this.first.take() {
            Some(first) => Poll::Ready(first),
            None => this.poll_whole(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.held.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Hands requests on in whole messages.
#[derive(Clone, Copy, Debug)]
pub struct InWholeMessages;

impl<S> Layer<S> for InWholeMessages {
    type Service = Behind<S>;

    fn layer(&self, inner: S) -> Behind<S> {
        Behind(inner)
    }
}

/// A service that sees whole messages.
#[derive(Clone, Debug)]
pub struct Behind<S>(S);

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Behind<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let turn = request.extensions_mut().remove::<Turn>();
        self.0.call(request.map(|inner| Body::new(Whole::of(inner, turn))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// A head and as many bytes as it promises.
    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(length as u32).to_be_bytes());
        bytes.extend((0..length).map(|at| at as u8));
        bytes
    }

    /// What comes out of a body that comes in these pieces.
    async fn pieces(bytes: &[u8], cut: impl Fn(usize) -> usize) -> Vec<Bytes> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let end = (at + cut(at).max(1)).min(bytes.len());
            pieces.push(Ok::<_, std::convert::Infallible>(Frame::data(Bytes::copy_from_slice(&bytes[at..end]))));
            at = end;
        }
        let inner = Body::new(StreamBody::new(tokio_stream::iter(pieces)));
        let mut whole = Whole::of(inner, None);
        let mut out = Vec::new();
        while let Some(frame) = whole.frame().await {
            out.push(frame.unwrap().into_data().unwrap());
        }
        out
    }

    #[tokio::test]
    async fn however_messages_are_cut_they_come_whole_and_in_order() {
        let lengths = [0, 1, 4, 5, 6, 0, 0, 300, 17, 2_000, 0];
        let sent: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
        let mut ends = Vec::new();
        lengths.iter().fold(0, |at, length| {
            ends.push(at + HEAD_BYTES + length);
            at + HEAD_BYTES + length
        });
        for step in 1..60 {
            let out = pieces(&sent, |at| step + at % 7 * usize::from(step % 2 == 0)).await;
            assert_eq!(out.concat(), sent, "cut in {step}");
            let mut at = 0;
            for piece in &out {
                at += piece.len();
                assert!(ends.contains(&at), "a piece ends within a message, at {at}, cut in {step}");
            }
        }
    }

    #[tokio::test]
    async fn promises_that_are_not_kept_and_messages_that_are_too_long_are_told_by_whoever_reads() {
        let mut cut_off = message(9);
        cut_off.truncate(11);
        assert_eq!(pieces(&cut_off, |_| 3).await.concat(), cut_off);
        let too_long = [&[0][..], &(MESSAGE_IN_BYTES_MAX as u32 + 1).to_be_bytes(), &[7; 40]].concat();
        let out = pieces(&too_long, |_| 6).await;
        assert_eq!(out.concat(), too_long);
        assert_eq!(out[0].len(), 6, "it is refused by its head, at once");
    }
}
