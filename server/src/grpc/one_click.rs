//! One-click unsubscribe (RFC 8058) on the same listener: what a mail provider posts to the link of a message.
//!
//! `POST /unsubscribe/{tenant}/{token}` with `List-Unsubscribe=One-Click` withdraws; whoever opens the link gets a page with
//! a button that posts the same. Only a POST changes anything, since links are opened by scanners too. No answer says more
//! than the token does, which is nothing.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, RETRY_AFTER};
use http::{Method, StatusCode, Version};
use http_body_util::{BodyExt, Limited};
use tonic::body::Body;
use tower::{Layer, Service};

use super::connections::Line;
use super::names;
use crate::app::App;
use crate::app::consent::{self, token::Unsubscribe};
use crate::app::error::WriteError;
use crate::app::ingest::{Item, Outcome};
use crate::config;

/// Where links lead.
const PATH: &str = "/unsubscribe/";
/// What a provider posts, as RFC 8058 has it.
const FIELD: &str = "List-Unsubscribe";
const VALUE: &str = "One-Click";
/// Bytes that a post may have.
const POST_BYTES_MAX: usize = 8 << 10;
/// Seconds after which a post that could not be taken is tried again.
const RETRY_SECONDS: &str = "60";
/// What whoever opens a link sees, whatever the link.
const PAGE: &str = "<!doctype html><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
<title>Unsubscribe</title><form method=post><p>No more of these messages?</p>\
<button name=List-Unsubscribe value=One-Click>Unsubscribe</button></form>";

/// The path of a token's link.
pub fn path(tenant: &str, token: &str) -> String {
    format!("{PATH}{tenant}/{token}")
}

/// The door; it says to come again until [`Door::open`].
#[derive(Clone, Default)]
pub struct Door {
    app: Arc<OnceLock<Arc<App>>>,
    /// Whether the listener speaks HTTP/1.1 for this alone.
    alone: bool,
}

impl Door {
    /// A shut door. `alone`: nothing else is to be reached over HTTP/1.1.
    pub fn new(alone: bool) -> Self {
        Self { app: Arc::default(), alone }
    }

    /// Takes posts from now on.
    pub fn open(&self, app: &Arc<App>) {
        let _ = self.app.set(Arc::clone(app));
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door(..)")
    }
}

impl<S> Layer<S> for Door {
    type Service = Beside<S>;

    fn layer(&self, inner: S) -> Beside<S> {
        Beside { inner, door: self.clone() }
    }
}

/// Everything else, with the door beside it.
#[derive(Clone, Debug)]
pub struct Beside<S> {
    inner: S,
    door: Door,
}

impl<S> Service<http::Request<Body>> for Beside<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if let Some(link) = request.uri().path().strip_prefix(PATH) {
            let link = link.to_owned();
            let app = self.door.app.get().cloned();
            return Box::pin(async move { Ok(answer(app, &link, request).await) });
        }
        if self.door.alone && request.version() < Version::HTTP_2 {
            return Box::pin(std::future::ready(Ok(says(StatusCode::NOT_FOUND))));
        }
        Box::pin(self.inner.call(request))
    }
}

async fn answer(app: Option<Arc<App>>, link: &str, request: http::Request<Body>) -> http::Response<Body> {
    let _busy = request.extensions().get::<Line>().map(Line::calls);
    match *request.method() {
        Method::GET | Method::HEAD => says(StatusCode::OK),
        Method::POST => {
            let taken = tokio::time::timeout(config::CALL_TIME_MAX, leave(app, link, request));
            match taken.await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT)) {
                Ok(()) => with(StatusCode::OK, "text/plain; charset=utf-8", "Unsubscribed.\n"),
                Err(code) => says(code),
            }
        }
        _ => says(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// Withdraws what a token names.
async fn leave(app: Option<Arc<App>>, link: &str, request: http::Request<Body>) -> Result<(), StatusCode> {
    let app = app.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let (head, body) = request.into_parts();
    let body = Limited::new(body, POST_BYTES_MAX).collect().await.map_err(|_| StatusCode::BAD_REQUEST)?.to_bytes();
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !is_one_click(kind, &String::from_utf8_lossy(&body)) {
        return Err(StatusCode::BAD_REQUEST);
    }
    // A tenant that is unknown and a token that is none of its own look alike (law 9).
    let (tenant, token) = link.split_once('/').ok_or(StatusCode::NOT_FOUND)?;
    // Of a tenant that is unknown a token is opened all the same, so that the time it takes does not tell it from one that is.
    let known = app.tenant(tenant);
    let asked = known.clone().or_else(|| app.tenant(names::DEFAULT_TENANT)).ok_or(StatusCode::NOT_FOUND)?;
    let said = Unsubscribe::open(token, &asked.keys);
    let (tenant, said) = known.zip(said).ok_or(StatusCode::NOT_FOUND)?;
    let saying = consent::leaving(said, &tenant, app.now());
    match app.ingest(&tenant, vec![Item::Say(Box::new(saying))], None).await.as_deref() {
        // Who was erased is written to no more.
        Ok([answer]) if matches!(answer.outcome, Outcome::Said { .. } | Outcome::Suppressed { .. }) => Ok(()),
        Err(WriteError::Busy { .. } | WriteError::DiskFull | WriteError::StoreFailed) | Ok(_) => {
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Whether a post asks for what RFC 8058 says, in one of the two forms that a provider may use.
fn is_one_click(content_type: &str, body: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-www-form-urlencoded" => {
            body.trim().split('&').any(|pair| pair.split_once('=') == Some((FIELD, VALUE)))
        }
        "multipart/form-data" => body.split("\r\n\r\n").zip(body.split("\r\n\r\n").skip(1)).any(|(head, value)| {
            head.contains(&format!("name=\"{FIELD}\"")) && value.lines().next().is_some_and(|line| line == VALUE)
        }),
        _ => false,
    }
}

/// The page, or that it did not work.
fn says(code: StatusCode) -> http::Response<Body> {
    match code {
        StatusCode::OK => with(code, "text/html; charset=utf-8", PAGE),
        StatusCode::SERVICE_UNAVAILABLE => {
            let mut later = with(code, "text/plain; charset=utf-8", "Not now; try again in a minute.\n");
            later.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
            later
        }
        _ => with(code, "text/plain; charset=utf-8", "This link cannot be used so.\n"),
    }
}

fn with(code: StatusCode, kind: &'static str, text: &'static str) -> http::Response<Body> {
    let mut answer = http::Response::new(Body::new(text.to_owned()));
    *answer.status_mut() = code;
    // The link is the person's own: it is not kept, shown to others, or framed.
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; form-action 'self'; frame-ancestors 'none'"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_rfc_8058_says_is_a_click() {
        let form = "application/x-www-form-urlencoded";
        let parts = "multipart/form-data; boundary=b";
        let part = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
        let table = [
            (form, "List-Unsubscribe=One-Click", true),
            ("Application/X-WWW-Form-Urlencoded; charset=utf-8", "a=b&List-Unsubscribe=One-Click\r\n", true),
            (parts, part, true),
            (form, "List-Unsubscribe=Two-Clicks", false),
            (form, "", false),
            (parts, "--b\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nOne-Click\r\n--b--\r\n", false),
            ("text/plain", "List-Unsubscribe=One-Click", false),
        ];
        for (kind, body, want) in table {
            assert_eq!(is_one_click(kind, body), want, "{kind} {body:?}");
        }
    }
}
