//! Tables: a header line, then rows of fields between delimiters, quoted as RFC 4180 says.
//!
//! `csv-core` splits the fields. What it does not do is done here: it forgives a broken quote by swallowing every row
//! after it, so the rows are framed first, and one whose quoting is broken is refused alone, with its line.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::path::PathBuf;

use super::lines::{Line, Lines};
use super::{Columns, Item, ROW_BYTES_MAX, RawRecord, ReadError, Refusal};

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Rows that are split to guess the delimiter.
const GUESS_ROWS: usize = 30;

/// A file whose header cannot be used.
pub(super) enum HeaderFault {
    Io(io::Error),
    Shape(u64, String),
    Empty,
}

impl HeaderFault {
    pub fn at(self, file: PathBuf) -> ReadError {
        match self {
            Self::Io(source) => ReadError::Read { file, line: 1, source },
            Self::Shape(line, why) => ReadError::Shape { file, line, why },
            Self::Empty => ReadError::Empty { file },
        }
    }
}

pub(super) struct Separated<R> {
    lines: Lines<R>,
    /// Lines given back after a broken row.
    back: VecDeque<Line>,
    delimiter: u8,
    splitter: csv_core::Reader,
    width: usize,
    out: Vec<u8>,
    ends: Vec<usize>,
}

/// A row's first line and its fields, or why it has none.
type Row = Result<(u64, Vec<String>), Refusal>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Whole,
    Open,
    Broken,
}

/// Whether the bytes are a whole row, one with an open quote, or one with text behind a closing quote. A row that was
/// open is looked at again from `seen` on, where the quote was still open, so that long rows cost no more than short.
fn framing(bytes: &[u8], delimiter: u8, seen: usize) -> Framing {
    let mut at = seen;
    let mut quoted = seen > 0;
    loop {
        if !quoted && bytes.get(at) == Some(&b'"') {
            quoted = true;
            at += 1;
        }
        if quoted {
            let Some(quote) = bytes[at..].iter().position(|byte| *byte == b'"') else { return Framing::Open };
            at += quote + 1;
            match bytes.get(at) {
                Some(b'"') => at += 1,
                None => return Framing::Whole,
                Some(byte) if *byte == delimiter => {
                    quoted = false;
                    at += 1;
                }
                Some(_) => return Framing::Broken,
            }
        } else {
            match bytes[at..].iter().position(|byte| *byte == delimiter) {
                Some(next) => at += next + 1,
                None => return Framing::Whole,
            }
        }
    }
}

/// The delimiter that cuts the first rows into the most even table of more than one column.
pub(super) fn guess_delimiter(head: &[u8]) -> u8 {
    let end = line_end(head);
    let mut best = (0, b',');
    for delimiter in DELIMITERS {
        let mut widths = Vec::new();
        let mut row: Vec<u8> = Vec::new();
        let mut seen = 0;
        for line in head.split(|byte| *byte == end) {
            row.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            if framing(&row, delimiter, seen) == Framing::Open {
                seen = row.len();
                row.push(b'\n');
                continue;
            }
            if !row.trim_ascii().is_empty() {
                widths.push(width_of(&row, delimiter));
            }
            row.clear();
            seen = 0;
            if widths.len() == GUESS_ROWS {
                break;
            }
        }
        let Some(header) = widths.first().copied().filter(|width| *width > 1) else { continue };
        let even = widths.iter().filter(|width| **width == header).count();
        let score = even * 1000 / widths.len() * 100 + header.min(99);
        if score > best.0 {
            best = (score, delimiter);
        }
    }
    best.1
}

fn width_of(row: &[u8], delimiter: u8) -> usize {
    let mut quoted = false;
    1 + row
        .iter()
        .filter(|byte| {
            quoted ^= **byte == b'"';
            !quoted && **byte == delimiter
        })
        .count()
}

/// Old Macintosh files end their lines with a carriage return alone.
fn line_end(head: &[u8]) -> u8 {
    if !head.contains(&b'\n') && head.contains(&b'\r') { b'\r' } else { b'\n' }
}

impl<R: BufRead> Separated<R> {
    /// Reads the header into the columns. Also gives notes for the user.
    pub fn open(
        bytes: R,
        delimiter: u8,
        head: &[u8],
        columns: &mut Columns,
    ) -> Result<(Self, Vec<String>), HeaderFault> {
        let splitter = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        let mut this = Self {
            lines: Lines::new(bytes, line_end(head)),
            back: VecDeque::new(),
            delimiter,
            splitter,
            width: 0,
            out: vec![0; 1024],
            ends: vec![0; 64],
        };
        let (line, names) = match this.row().map_err(HeaderFault::Io)? {
            None => return Err(HeaderFault::Empty),
            Some(Ok(header)) => header,
            Some(Err(refusal)) => {
                return Err(HeaderFault::Shape(refusal.line, format!("the header cannot be read: {}", refusal.reason)));
            }
        };
        if looks_like_data(&names) {
            let why = "looks like data, not like column names: put a header line above it";
            return Err(HeaderFault::Shape(line, why.to_owned()));
        }
        let mut notes = Vec::new();
        for (place, name) in names.iter().enumerate() {
            let mut unique = if name.is_empty() { format!("column_{}", place + 1) } else { name.clone() };
            if columns.index.contains_key(&unique) {
                let copies = (2..).find(|copy| !columns.index.contains_key(&format!("{name}_{copy}"))).unwrap_or(2);
                unique = format!("{name}_{copies}");
                notes.push(format!("the header names `{name}` twice; the later one is called `{unique}`"));
            }
            if columns.intern(&unique).is_none() {
                let why = format!("has {} columns; at most {} are read", names.len(), super::COLUMNS_MAX);
                return Err(HeaderFault::Shape(line, why));
            }
        }
        this.width = names.len();
        Ok((this, notes))
    }

    pub const fn line(&self) -> u64 {
        self.lines.number()
    }

    fn pull(&mut self) -> io::Result<Option<Line>> {
        match self.back.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.lines.next_line(),
        }
    }

    /// The next row's line and fields, or why there are none.
    fn row(&mut self) -> io::Result<Option<Row>> {
        let first = loop {
            match self.pull()? {
                None => return Ok(None),
                Some(line) if !line.too_long && self.is_blank(&line.bytes) => {}
                Some(line) => break line,
            }
        };
        let number = first.number;
        if first.too_long {
            return Ok(Some(Err(too_long(number))));
        }
        let mut row = first.bytes;
        let mut more: Vec<Line> = Vec::new();
        let mut seen = 0;
        let fault = loop {
            match framing(&row, self.delimiter, seen) {
                Framing::Whole => break None,
                Framing::Broken => {
                    break Some("text follows a closing quote; a quote inside a quoted field is doubled");
                }
                Framing::Open => {}
            }
            match self.pull()? {
                None => break Some("a quote is opened and never closed"),
                Some(line) if line.too_long || row.len() + line.bytes.len() > ROW_BYTES_MAX => {
                    more.push(line);
                    break Some("a quote is opened and not closed within 1 MiB");
                }
                Some(line) => {
                    seen = row.len();
                    row.push(b'\n');
                    row.extend_from_slice(&line.bytes);
                    more.push(line);
                }
            }
        };
        if let Some(why) = fault {
            self.give_back(more);
            return Ok(Some(Err(Refusal::new(number, why))));
        }
        let split = self.split(&row);
        let refusal = match split {
            Err(()) => "is not UTF-8 text; `--encoding latin-1` reads Latin-1 files".to_owned(),
            Ok(fields) if self.width == 0 || fields.len() == self.width => return Ok(Some(Ok((number, fields)))),
            Ok(fields) => format!("has {} fields where the header has {}", fields.len(), self.width),
        };
        // A stray quote may have glued good rows to this one: they get a chance of their own.
        self.give_back(more);
        Ok(Some(Err(Refusal::new(number, refusal))))
    }

    /// Nothing but spaces; a row of empty fields is a row.
    fn is_blank(&self, line: &[u8]) -> bool {
        line.iter().all(|byte| byte.is_ascii_whitespace() && *byte != self.delimiter)
    }

    fn give_back(&mut self, more: Vec<Line>) {
        for line in more.into_iter().rev() {
            self.back.push_front(line);
        }
    }

    fn split(&mut self, row: &[u8]) -> Result<Vec<String>, ()> {
        self.splitter.reset();
        let (mut read, mut written, mut ended) = (0, 0, 0);
        loop {
            // An empty input tells the splitter that the row is over.
            let (result, took, wrote, ends) =
                self.splitter.read_record(&row[read..], &mut self.out[written..], &mut self.ends[ended..]);
            read += took;
            written += wrote;
            ended += ends;
            match result {
                csv_core::ReadRecordResult::InputEmpty => {}
                csv_core::ReadRecordResult::OutputFull => self.out.resize(self.out.len() * 2, 0),
                csv_core::ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                csv_core::ReadRecordResult::Record | csv_core::ReadRecordResult::End => break,
            }
        }
        let mut start = 0;
        let mut fields = Vec::with_capacity(ended);
        for end in &self.ends[..ended] {
            let text = std::str::from_utf8(&self.out[start..*end]).map_err(|_| ())?;
            fields.push(text.trim().to_owned());
            start = *end;
        }
        Ok(fields)
    }

    pub fn next_item(&mut self) -> io::Result<Option<Item>> {
        Ok(self.row()?.map(|row| match row {
            Err(refusal) => Item::Refused(refusal),
            Ok((line, fields)) => Item::Record(RawRecord {
                line,
                fields: fields
                    .into_iter()
                    .enumerate()
                    .filter(|(_, text)| !text.is_empty())
                    .map(|(column, text)| (column as u32, text))
                    .collect(),
                ..RawRecord::default()
            }),
        }))
    }
}

pub(super) fn too_long(line: u64) -> Refusal {
    Refusal::new(line, format!("is longer than {} KiB", ROW_BYTES_MAX / 1024))
}

/// A first line with addresses or mostly numbers in it holds a record.
fn looks_like_data(names: &[String]) -> bool {
    let numbers = names.iter().filter(|name| !name.is_empty() && !name.contains(char::is_alphabetic)).count();
    names.iter().any(|name| name.contains('@')) || numbers * 2 > names.len() || names.iter().all(String::is_empty)
}
