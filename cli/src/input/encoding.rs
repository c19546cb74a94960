//! From bytes to UTF-8: byte order marks are believed, the rest is told from the first bytes.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::str::FromStr;

use encoding_rs_io::DecodeReaderBytesBuilder;

/// Bytes that are looked at.
const SNIFF_BYTES: usize = 256 * 1024;

/// How a file's bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// With or without a byte order mark.
    Utf8,
    /// Little-endian, as Windows writes it.
    Utf16Le,
    /// Big-endian.
    Utf16Be,
    /// Windows-1252, of which Latin-1 is a part.
    Latin1,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le => "UTF-16 (little-endian)",
            Self::Utf16Be => "UTF-16 (big-endian)",
            Self::Latin1 => "Latin-1 (Windows-1252)",
        })
    }
}

/// A name that is no encoding we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no known encoding: utf-8, utf-16le, utf-16be or latin-1")]
pub struct UnknownEncoding;

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(text: &str) -> Result<Self, UnknownEncoding> {
        match text.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
            "utf8" => Ok(Self::Utf8),
            "utf16" | "utf16le" => Ok(Self::Utf16Le),
            "utf16be" => Ok(Self::Utf16Be),
            "latin1" | "iso88591" | "windows1252" | "cp1252" => Ok(Self::Latin1),
            _ => Err(UnknownEncoding),
        }
    }
}

pub(super) struct Decoded {
    pub bytes: Box<dyn Read + Send>,
    pub encoding: Encoding,
    pub notes: Vec<String>,
}

pub(super) fn decode(mut bytes: Box<dyn Read + Send>, wanted: Option<Encoding>) -> io::Result<Decoded> {
    let mut head = Vec::new();
    bytes.by_ref().take(SNIFF_BYTES as u64).read_to_end(&mut head)?;
    let mut notes = Vec::new();
    let encoding = wanted.unwrap_or_else(|| guess(&head));
    if wanted.is_none() && encoding == Encoding::Latin1 {
        notes.push(format!("not UTF-8: read as {encoding}; `--encoding` says otherwise"));
    }
    if encoding == Encoding::Utf8 && head.starts_with(b"\xef\xbb\xbf") {
        head.drain(..3);
    }
    let whole = Cursor::new(head).chain(bytes);
    let foreign = match encoding {
        Encoding::Utf8 => return Ok(Decoded { bytes: Box::new(whole), encoding, notes }),
        Encoding::Utf16Le => encoding_rs::UTF_16LE,
        Encoding::Utf16Be => encoding_rs::UTF_16BE,
        Encoding::Latin1 => encoding_rs::WINDOWS_1252,
    };
    let decoder = DecodeReaderBytesBuilder::new().encoding(Some(foreign)).strip_bom(true).build(whole);
    Ok(Decoded { bytes: Box::new(decoder), encoding, notes })
}

fn guess(head: &[u8]) -> Encoding {
    match head {
        [0xff, 0xfe, ..] => return Encoding::Utf16Le,
        [0xfe, 0xff, ..] => return Encoding::Utf16Be,
        _ => {}
    }
    // Latin text in UTF-16 without a mark: every other byte is zero.
    let zeroes = |odd: usize| head.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let half = head.len() / 2;
    if half > 3 && zeroes(1) * 10 > half * 7 {
        return Encoding::Utf16Le;
    }
    if half > 3 && zeroes(0) * 10 > half * 7 {
        return Encoding::Utf16Be;
    }
    match std::str::from_utf8(head) {
        Ok(_) => Encoding::Utf8,
        // A character cut in two by the end of the look is no fault.
        Err(fault) if fault.error_len().is_none() && head.len() == SNIFF_BYTES => Encoding::Utf8,
        // One wrong byte in a long text that has good multi-byte characters is a damaged row of UTF-8.
        Err(fault) if has_multi_byte(&head[..fault.valid_up_to()]) => Encoding::Utf8,
        Err(_) => Encoding::Latin1,
    }
}

fn has_multi_byte(text: &[u8]) -> bool {
    text.iter().any(|byte| *byte >= 0x80)
}
