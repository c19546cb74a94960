//! Streams that outlast the moment in which their caller was let in: they end when the key does, also while nothing happens
//! on them, and those that stand beside the services end by age.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::Status;
use tonic::body::Body;

use super::connections::Busy;
use super::status;
use crate::app::App;
use crate::app::access::Caller;

/// How often it is asked whether a stream may go on.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// A caller, and what knows whether their key is still good.
pub struct Holder {
    /// Knows the keys.
    pub app: Arc<App>,
    /// Who calls.
    pub caller: Caller,
}

impl Holder {
    fn is_good(&self) -> bool {
        self.app.shared.access.holds(&self.caller, self.app.now())
    }

    /// Ends about when the key does.
    pub async fn ended(&self) {
        while self.is_good() {
            tokio::time::sleep(ASKED_EVERY).await;
        }
    }
}

/// The body of a stream.
pub struct Lasting {
    inner: Body,
    holder: Option<Holder>,
    until: Option<Instant>,
    /// There where something can end the stream.
    asks: Option<Interval>,
    over: bool,
    /// The connection has a call on it as long as this lives.
    _busy: Option<Busy>,
}

impl Lasting {
    /// Ends with `holder`'s key and at this age, where they are given.
    pub fn body(inner: Body, holder: Option<Holder>, age_max: Option<Duration>, busy: Option<Busy>) -> Body {
        let asks = (holder.is_some() || age_max.is_some()).then(|| {
            let mut asks = interval_at(Instant::now() + ASKED_EVERY, ASKED_EVERY);
            asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            asks
        });
        let until = age_max.map(|age| Instant::now() + age);
        Body::new(Self { inner, holder, until, asks, over: false, _busy: busy })
    }

    /// Why it must end now, if it must.
    fn ends(&self) -> Option<Status> {
        if self.holder.as_ref().is_some_and(|holder| !holder.is_good()) {
            return Some(status::credentials_invalid());
        }
        self.until.is_some_and(|until| until <= Instant::now()).then(status::stream_aged)
    }
}

impl http_body::Body for Lasting {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(asks) = &mut self.asks {
            // Wakes this task when it is time to ask again, whether anything else happens or not.
            while asks.poll_tick(context).is_ready() {}
        }
        if let Some(why) = self.ends() {
            self.over = true;
            let mut trailers = http::HeaderMap::new();
            // A status of our own always makes headers.
            let _ = why.add_header(&mut trailers);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_stream_beside_the_services_ends_by_age_though_nothing_happens() {
        let silent =
            http_body_util::StreamBody::new(tokio_stream::pending::<Result<Frame<prost::bytes::Bytes>, Status>>());
        let mut body = Lasting::body(Body::new(silent), None, Some(Duration::from_millis(100)), None);
        let begun = Instant::now();
        let last = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(last["grpc-status"], "14");
        let lasted = begun.elapsed();
        assert!(lasted >= Duration::from_millis(100), "{lasted:?}");
        assert!(body.frame().await.is_none());
    }
}
