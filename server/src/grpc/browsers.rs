//! Browsers: gRPC-Web and CORS, for the origins that the operator names. Without one the server speaks HTTP/1.1
//! at most for one-click posts and controllers (`opendsr`, which refuses pages itself), and no web page reaches it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN};
use http::{Method, StatusCode};
use tower::{Layer, Service};
use tower_http::cors::CorsLayer;

/// How long a browser may go without asking again what it may send.
const PREFLIGHT_AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// What web clients send beside the content type.
const SENT: [&str; 5] = ["x-grpc-web", "x-user-agent", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"];
/// What web clients must be able to read.
const READ: [&str; 4] = ["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding"];

/// An origin that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write the origin as a browser does, e.g. https://console.example.org or http://localhost:5173, without a path"
)]
pub struct InvalidOrigin;

/// The origins whose pages may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Arc<[HeaderValue]>);

impl Origins {
    /// Reads origins. `*` is none: any page a user visits could then read everything.
    ///
    /// # Errors
    /// [`InvalidOrigin`] for the first that is none.
    pub fn read(texts: &[String]) -> Result<Self, InvalidOrigin> {
        let read = |text: &String| {
            let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(InvalidOrigin)?;
            let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b)) && !host.is_empty();
            if plain { HeaderValue::from_str(text).map_err(|_| InvalidOrigin) } else { Err(InvalidOrigin) }
        };
        texts.iter().map(read).collect::<Result<Vec<_>, _>>().map(|origins| Self(origins.into()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What browsers are told that they may do.
    pub fn cors(&self) -> CorsLayer {
        let sent = SENT.into_iter().map(HeaderName::from_static).chain([CONTENT_TYPE, AUTHORIZATION]);
        CorsLayer::new()
            .allow_origin(self.0.to_vec())
            .allow_methods([Method::POST])
            .allow_headers(sent.collect::<Vec<_>>())
            .expose_headers(READ.map(HeaderName::from_static))
            .max_age(PREFLIGHT_AGE_MAX)
    }
}

/// Refuses pages of other origins outright. CORS alone would let a page through that reaches this server under a name of its
/// own (DNS rebinding), since to its browser it is at home here.
#[derive(Clone, Debug)]
pub struct OwnPagesOnly(pub Origins);

impl<S> Layer<S> for OwnPagesOnly {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, origins: self.0.clone() }
    }
}

/// A service that pages of other origins do not reach.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    origins: Origins,
}

impl<S, In, Out> Service<http::Request<In>> for Guarded<S>
where
    S: Service<http::Request<In>, Response = http::Response<Out>>,
    S::Future: Send + 'static,
    Out: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<In>) -> Self::Future {
        let from = request.headers().get(ORIGIN);
        if from.is_some_and(|origin| !self.origins.0.contains(origin)) {
            let mut refused = http::Response::new(Out::default());
            *refused.status_mut() = StatusCode::FORBIDDEN;
            return Box::pin(async move { Ok(refused) });
        }
        Box::pin(self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for good in ["https://console.example.org", "http://localhost:5173", "http://[::1]:80"] {
            assert!(Origins::read(&[good.to_owned()]).is_ok(), "{good}");
        }
        for bad in
            ["*", "", "localhost", "https://", "https://a.example/", "https://a.example/x", "null", "https://a b"]
        {
            assert_eq!(Origins::read(&[bad.to_owned()]), Err(InvalidOrigin), "{bad:?}");
        }
    }
}
