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
    let encoding = match (wanted, head.as_slice()) {
        (Some(Encoding::Utf16Le), [0xfe, 0xff, ..]) => Encoding::Utf16Be,
        (Some(Encoding::Utf16Be), [0xff, 0xfe, ..]) => Encoding::Utf16Le,
        (Some(wanted), _) => wanted,
        (None, head) => guess(head),
    };
    if wanted.is_none() && encoding == Encoding::Latin1 {
        notes.push(format!("not UTF-8: read as {encoding}; `--encoding` says otherwise"));
    }
    if encoding == Encoding::Utf8 && head.starts_with(b"\xef\xbb\xbf") {
        head.drain(..3);
    }
    let whole = Cursor::new(head).chain(bytes);
    let bytes: Box<dyn Read + Send> = match encoding {
        Encoding::Utf8 => Box::new(whole),
        Encoding::Utf16Le => Box::new(Utf16::new(Box::new(whole), u16::from_le_bytes)),
        Encoding::Utf16Be => Box::new(Utf16::new(Box::new(whole), u16::from_be_bytes)),
        Encoding::Latin1 => {
            let latin1 = Some(encoding_rs::WINDOWS_1252);
            Box::new(DecodeReaderBytesBuilder::new().encoding(latin1).bom_override(false).build(whole))
        }
    };
    Ok(Decoded { bytes, encoding, notes })
}

/// UTF-16 as UTF-8. What is no text becomes [`NO_TEXT`], so that the row which holds it is refused like a damaged row of
/// UTF-8: a decoder that puts a sign in its place would make a value of it that nobody wrote.
struct Utf16 {
    bytes: Box<dyn Read + Send>,
    unit: fn([u8; 2]) -> u16,
    /// A byte whose other half is still to come.
    half: Option<u8>,
    /// The first unit of a pair.
    high: Option<u16>,
    at_start: bool,
    ready: Vec<u8>,
    taken: usize,
}

/// Never part of UTF-8.
const NO_TEXT: u8 = 0xff;

impl Utf16 {
    fn new(bytes: Box<dyn Read + Send>, unit: fn([u8; 2]) -> u16) -> Self {
        Self { bytes, unit, half: None, high: None, at_start: true, ready: Vec::new(), taken: 0 }
    }

    fn take(&mut self, unit: u16) {
        if std::mem::take(&mut self.at_start) && unit == 0xfeff {
            return;
        }
        let units = self.high.take().into_iter().chain([unit]);
        for character in char::decode_utf16(units) {
            match character {
                Ok(character) => self.ready.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                // The first half of a pair, if the second follows.
                Err(fault) if fault.unpaired_surrogate() == unit && (0xd800..0xdc00).contains(&unit) => {
                    self.high = Some(unit);
                }
                Err(_) => self.ready.push(NO_TEXT),
            }
        }
    }
}

impl Read for Utf16 {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut raw = [0; 8 * 1024];
        while self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
            let read = self.bytes.read(&mut raw)?;
            if read == 0 {
                if self.half.take().is_none() & self.high.take().is_none() {
                    return Ok(0);
                }
                self.ready.push(NO_TEXT);
            }
            for byte in &raw[..read] {
                match self.half.take() {
                    None => self.half = Some(*byte),
                    Some(first) => self.take((self.unit)([first, *byte])),
                }
            }
        }
        let most = into.len().min(self.ready.len() - self.taken);
        into[..most].copy_from_slice(&self.ready[self.taken..self.taken + most]);
        self.taken += most;
        Ok(most)
    }
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
