//! The door of the metrics: HTTP/1.1, one page, nobody is asked who they are. So it is on loopback, or where it was
//! opened by name.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Scrape;

/// Where the page is.
const PATH: &str = "/metrics";
/// The format of the page.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Connections at once; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 8;
/// How long a request may take to come.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a connection may last: a scrape is one request.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes that the head of a request may have.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// After a connection could not be taken, e.g. for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers whoever asks, for as long as the task lives.
pub async fn serve(listener: TcpListener, scrape: Arc<Scrape>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "a connection for metrics could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let scrape = Arc::clone(&scrape);
        tokio::spawn(async move {
            let _place = place;
            let answer = service_fn(move |request| answer(Arc::clone(&scrape), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WAIT_MAX)
                .max_buf_size(HEAD_BYTES_MAX)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            // A scraper that goes away or is too slow is its own affair.
            let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
        });
    }
}

async fn answer(scrape: Arc<Scrape>, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let mut response = Response::new(String::new());
    if request.uri().path() != PATH {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() = format!("the metrics are at {PATH}\n");
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    } else {
        match tokio::task::spawn_blocking(move || scrape.page()).await {
            Ok(page) => {
                response.headers_mut().insert(CONTENT_TYPE, FORMAT);
                *response.body_mut() = page;
            }
            Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
    Ok(response)
}
