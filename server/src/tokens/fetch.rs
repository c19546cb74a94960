//! One question over HTTPS: the keys of a token issuer. Bounded in time and bytes; follows nobody elsewhere.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};

use super::keys::KEYS_BYTES_MAX;
use crate::outgoing::{self, Place};

/// How long the answer may take.
const WITHIN: Duration = Duration::from_secs(5);

fn place(url: &str) -> Result<Place, String> {
    match Place::read(url) {
        Some(place) if place.encrypted => Ok(place),
        Some(_) => Err(format!("`{url}` must begin with https://, or name a file")),
        None => Err(format!("`{url}` is no address that begins with https://")),
    }
}

/// Whether it could be asked for at all, as far as nobody has to be asked.
///
/// # Errors
/// Why not.
pub fn check(url: &str, authority: Option<&Path>) -> Result<(), String> {
    place(url)?;
    outgoing::trusting(authority).map(drop)
}

/// What lies at this address.
///
/// # Errors
/// Why it cannot be had.
pub async fn get(url: &str, authority: Option<&Path>) -> Result<Vec<u8>, String> {
    let asked = tokio::time::timeout(WITHIN, ask(url, authority)).await;
    asked.unwrap_or_else(|_| Err(format!("{url} does not answer within {} s", WITHIN.as_secs())))
}

async fn ask(url: &str, authority: Option<&Path>) -> Result<Vec<u8>, String> {
    let failed = |why: String| format!("{url}: {why}");
    let place = place(url)?;
    let trust = outgoing::trusting(authority).map_err(failed)?;
    let addresses = place.addresses().await.map_err(failed)?;
    let request = Request::get("/").header(header::ACCEPT, "application/json");
    let asked = outgoing::ask(&place, &addresses, &trust, request, (Bytes::new(), KEYS_BYTES_MAX)).await;
    match asked.map_err(failed)? {
        (StatusCode::OK, Some(body)) => Ok(body.to_vec()),
        (StatusCode::OK, None) => Err(format!("{url} answers more than {KEYS_BYTES_MAX} bytes, or breaks off")),
        (status, _) => Err(format!("{url} answers {status}")),
    }
}
