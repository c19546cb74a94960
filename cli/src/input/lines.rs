//! Lines with numbers and a bound on their length.

use std::io::{self, BufRead};

use super::ROW_BYTES_MAX;

/// One physical line, without its end.
pub(super) struct Line {
    /// From 1.
    pub number: u64,
    /// Empty when it was too long.
    pub bytes: Vec<u8>,
    /// Longer than [`ROW_BYTES_MAX`]; its bytes were skipped.
    pub too_long: bool,
}

pub(super) struct Lines<R> {
    inner: R,
    end: u8,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub const fn new(inner: R, end: u8) -> Self {
        Self { inner, end, number: 0 }
    }

    /// The line that was read last.
    pub const fn number(&self) -> u64 {
        self.number
    }

    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let mut too_long = false;
        let mut any = false;
        loop {
            let chunk = match self.inner.fill_buf() {
                Ok(chunk) => chunk,
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
                Err(fault) => return Err(fault),
            };
            if chunk.is_empty() {
                break;
            }
            any = true;
            let place = chunk.iter().position(|byte| *byte == self.end);
            let used = place.unwrap_or(chunk.len());
            if bytes.len() + used > ROW_BYTES_MAX {
                too_long = true;
                bytes = Vec::new();
            }
            if !too_long {
                bytes.extend_from_slice(&chunk[..used]);
            }
            self.inner.consume(used + usize::from(place.is_some()));
            if place.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Ok(Some(Line { number: self.number, bytes, too_long }))
    }
}
