//! Pages: a size with a default and a cap, and a token that belongs to one query.
//!
//! A token is the position to go on from and a keyed tag over it and the query, so that a token of another tenant or
//! query, or an invented one, is refused.

use tonic::Status;

use super::status;
use crate::app::error::ReadError;
use crate::secret;

const SIZE_DEFAULT: usize = 100;
const SIZE_MAX: usize = 1_000;
const TAG_BYTES: usize = 8;

/// Where to go on and how much to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Go on after this position; 0 is the start. What it counts is the query's own affair.
    pub from: u64,
    /// At most so many.
    pub size: usize,
}

impl Page {
    /// Reads `page_size` and `page_token` of a request.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a negative size or a token of another query.
    pub fn read(key: &[u8; 32], query: &str, size: i32, token: &str) -> Result<Self, Status> {
        let size = match usize::try_from(size) {
            Ok(0) => SIZE_DEFAULT,
            Ok(size) => size.min(SIZE_MAX),
            Err(_) => {
                let reason = onefold_core::fault::FaultReason::Malformed;
                return Err(status::field("page_size", reason, "give 0 for the default, or a positive number"));
            }
        };
        let from = if token.is_empty() {
            0
        } else {
            open(key, query, token)
                .ok_or_else(|| Status::from(status::ReadErrorIn { tenant: "", error: ReadError::PageToken }))?
        };
        Ok(Self { from, size })
    }

    /// The part of a list that this page shows, with the token of the next.
    pub fn cut<'a, T>(&self, all: &'a [T], key: &[u8; 32], query: &str) -> (&'a [T], String) {
        let start = usize::try_from(self.from).unwrap_or(usize::MAX).min(all.len());
        let end = start.saturating_add(self.size).min(all.len());
        let token = if end < all.len() { seal(key, query, end as u64) } else { String::new() };
        (&all[start..end], token)
    }
}

/// A token to go on from `position`.
pub fn seal(key: &[u8; 32], query: &str, position: u64) -> String {
    let mut text = format!("{position:x}.");
    for byte in tag(key, query, position) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn open(key: &[u8; 32], query: &str, token: &str) -> Option<u64> {
    let (position, _) = token.split_once('.')?;
    let position = u64::from_str_radix(position, 16).ok()?;
    secret::same(&seal(key, query, position), token).then_some(position)
}

fn tag(key: &[u8; 32], query: &str, position: u64) -> [u8; TAG_BYTES] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&position.to_le_bytes());
    hasher.update(query.as_bytes());
    let mut tag = [0; TAG_BYTES];
    hasher.finalize_xof().fill(&mut tag);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_a_list_once_and_tokens_belong_to_their_query() {
        let (key, all) = ([3; 32], (0..250).collect::<Vec<_>>());
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = Page::read(&key, "sources/a", 0, &token).unwrap();
            let (shown, next) = page.cut(&all, &key, "sources/a");
            assert!(shown.len() <= 100);
            seen.extend_from_slice(shown);
            if next.is_empty() {
                break;
            }
            assert!(Page::read(&key, "sources/b", 0, &next).is_err(), "a token of another query");
            assert!(Page::read(&[4; 32], "sources/a", 0, &next).is_err(), "a token of another installation");
            token = next;
        }
        assert_eq!(seen, all);
        assert!(Page::read(&key, "q", -1, "").is_err());
        assert_eq!(Page::read(&key, "q", 5_000, "").unwrap().size, 1_000);
        for bad in ["x", "ff", "64.00", "..", "64.zz"] {
            assert!(Page::read(&key, "q", 0, bad).is_err(), "{bad:?}");
        }
    }
}
