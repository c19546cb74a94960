//! Tables: a header line, then rows of fields between delimiters, quoted as RFC 4180 says.
//!
//! `csv-core` splits the fields. What it does not do is done here: it forgives a broken quote by swallowing every row
//! after it, so the rows are framed first, and one whose quoting is broken is refused alone, with its line.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::path::PathBuf;

use super::lines::{Line, Lines};
use super::{
    COLUMN_NAME_BYTES_MAX, COLUMNS_MAX, Columns, Item, NoColumn, ROW_BYTES_MAX, RawRecord, ReadError, Refusal,
};

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
    ahead: Ahead,
    delimiter: u8,
    splitter: csv_core::Reader,
    width: usize,
    out: Vec<u8>,
    ends: Vec<usize>,
}

/// A row's first line and its fields, or why it has none.
pub(super) type Row = Result<(u64, Vec<String>), Refusal>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Whole,
    Open,
    Broken,
}

/// What one line adds to a row.
#[derive(Clone, Copy)]
struct Scan {
    /// How the row stands at the line's end.
    framing: Framing,
    /// Fields that end within the line.
    ended: usize,
}

/// Reads a line from the start of a field, or from within quotes: what it does to a row hangs on nothing else.
fn scan(line: &[u8], delimiter: u8, mut quoted: bool) -> Scan {
    let (mut at, mut ended) = (0, 0);
    loop {
        if !quoted && line.get(at) == Some(&b'"') {
            quoted = true;
            at += 1;
        }
        if quoted {
            let Some(quote) = line[at..].iter().position(|byte| *byte == b'"') else {
                return Scan { framing: Framing::Open, ended };
            };
            at += quote + 1;
            match line.get(at) {
                Some(b'"') => at += 1,
                None => return Scan { framing: Framing::Whole, ended },
                Some(byte) if *byte == delimiter => {
                    quoted = false;
                    ended += 1;
                    at += 1;
                }
                Some(_) => return Scan { framing: Framing::Broken, ended },
            }
        } else {
            match line[at..].iter().position(|byte| *byte == delimiter) {
                Some(next) => {
                    ended += 1;
                    at += next + 1;
                }
                None => return Scan { framing: Framing::Whole, ended },
            }
        }
    }
}

/// Lines that were looked at because a quote before them was open. The first of them leave the quote open, each for
/// whichever row it would go on: so that many broken rows cost no more than one, each line is read in quotes only once.
#[derive(Default)]
struct Ahead {
    lines: VecDeque<Line>,
    /// How many leave an open quote open.
    open: usize,
    /// Their bytes, an end of line for each.
    open_bytes: usize,
    /// Fields that end in them.
    open_ended: usize,
    /// What the line behind them does.
    stop: Option<Scan>,
}

impl Ahead {
    fn pop(&mut self, delimiter: u8) -> Option<Line> {
        let line = self.lines.pop_front()?;
        match self.open.checked_sub(1) {
            None => self.stop = None,
            Some(left) => {
                self.open = left;
                self.open_bytes -= line.bytes.len() + 1;
                self.open_ended -= scan(&line.bytes, delimiter, true).ended;
            }
        }
        Some(line)
    }
}

/// The delimiter that a first line `sep=;` tells, as some spreadsheets write it above the header.
pub(super) fn told_delimiter(head: &[u8]) -> Option<u8> {
    let end = line_end(head);
    let first = head.split(|byte| *byte == end).next()?;
    let first = first.strip_suffix(b"\r").unwrap_or(first);
    let first = first.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(first);
    match first.split_at_checked(4)? {
        (word, [delimiter]) if word.eq_ignore_ascii_case(b"sep=") && !delimiter.is_ascii_alphanumeric() => {
            Some(*delimiter).filter(|delimiter| delimiter.is_ascii() && *delimiter != b'"')
        }
        _ => None,
    }
}

/// The delimiter that cuts the first rows into the most even table of more than one column.
pub(super) fn guess_delimiter(head: &[u8]) -> u8 {
    let end = line_end(head);
    let mut best = (0, b',');
    for delimiter in DELIMITERS {
        let mut widths = Vec::new();
        let mut row: Vec<u8> = Vec::new();
        let mut quoted = false;
        for line in head.split(|byte| *byte == end) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            row.extend_from_slice(line);
            quoted = scan(line, delimiter, quoted).framing == Framing::Open;
            if quoted {
                row.push(b'\n');
                continue;
            }
            if !row.trim_ascii().is_empty() {
                widths.push(width_of(&row, delimiter));
            }
            row.clear();
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
    /// Rows of any width, the first among them. `head` is the beginning of the bytes.
    pub fn new(bytes: R, delimiter: u8, head: &[u8]) -> Self {
        // A carriage return within a line is part of its field: what ends rows ended the lines already.
        let end = line_end(head);
        let ends_rows = csv_core::Terminator::Any(end);
        let splitter = csv_core::ReaderBuilder::new().delimiter(delimiter).terminator(ends_rows).build();
        Self {
            lines: Lines::new(bytes, end),
            ahead: Ahead::default(),
            delimiter,
            splitter,
            width: 0,
            out: vec![0; 1024],
            ends: vec![0; 64],
        }
    }

    /// Passes over a line `sep=;` above the rows.
    pub fn pass_told_delimiter(&mut self, head: &[u8]) -> io::Result<()> {
        if told_delimiter(head).is_some() {
            self.lines.next_line()?;
        }
        Ok(())
    }

    /// Reads the header into the columns. Also gives notes for the user.
    pub fn open(
        bytes: R,
        delimiter: u8,
        head: &[u8],
        columns: &mut Columns,
    ) -> Result<(Self, Vec<String>), HeaderFault> {
        let mut this = Self::new(bytes, delimiter, head);
        this.pass_told_delimiter(head).map_err(HeaderFault::Io)?;
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
            let why = match columns.intern(&unique) {
                Ok(_) => continue,
                Err(NoColumn::TooMany) => format!("has {} columns; at most {COLUMNS_MAX} are read", names.len()),
                Err(NoColumn::NameTooLong { bytes }) => format!(
                    "the name of column {} has {bytes} bytes; at most {COLUMN_NAME_BYTES_MAX} are read",
                    place + 1
                ),
            };
            return Err(HeaderFault::Shape(line, why));
        }
        this.width = names.len();
        Ok((this, notes))
    }

    pub const fn line(&self) -> u64 {
        self.lines.number()
    }

    fn pull(&mut self) -> io::Result<Option<Line>> {
        match self.ahead.pop(self.delimiter) {
            Some(line) => Ok(Some(line)),
            None => self.lines.next_line(),
        }
    }

    /// The next row's line and fields, or why there are none.
    pub fn row(&mut self) -> io::Result<Option<Row>> {
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
        let refuse = |why: String| Ok(Some(Err(Refusal::new(number, why))));
        let own = scan(&first.bytes, self.delimiter, false);
        let mut fields = own.ended + 1;
        let mut more = 0;
        let framing = match own.framing {
            Framing::Open => match self.close(first.bytes.len())? {
                Err(why) => return refuse(why.to_owned()),
                Ok(stop) => {
                    fields += self.ahead.open_ended + stop.ended;
                    more = self.ahead.open + 1;
                    stop.framing
                }
            },
            framing => framing,
        };
        // A stray quote may have glued good rows to this one: they stay, and get a chance of their own.
        if framing == Framing::Broken {
            return refuse("text follows a closing quote; a quote inside a quoted field is doubled".to_owned());
        }
        if self.width != 0 && fields != self.width {
            return refuse(format!("has {fields} fields where the header has {}", self.width));
        }
        let mut row = first.bytes;
        for line in self.ahead.lines.iter().take(more) {
            row.push(b'\n');
            row.extend_from_slice(&line.bytes);
        }
        let Ok(fields) = self.split(&row) else {
            return refuse(super::NOT_TEXT.to_owned());
        };
        for _ in 0..more {
            let _ = self.ahead.pop(self.delimiter);
        }
        Ok(Some(Ok((number, fields))))
    }

    /// Looks ahead for the line in which the quote closes that a row of so many bytes has opened; or why there is none.
    fn close(&mut self, bytes: usize) -> io::Result<Result<Scan, &'static str>> {
        const TOO_FAR: &str = "a quote is opened and not closed within 1 MiB";
        loop {
            if self.ahead.lines.len() == self.ahead.open {
                match self.lines.next_line()? {
                    Some(line) => self.ahead.lines.push_back(line),
                    None => return Ok(Err("a quote is opened and never closed")),
                }
            }
            let line = &self.ahead.lines[self.ahead.open];
            if line.too_long || bytes + self.ahead.open_bytes + line.bytes.len() > ROW_BYTES_MAX {
                return Ok(Err(TOO_FAR));
            }
            let stop = *self.ahead.stop.get_or_insert_with(|| scan(&line.bytes, self.delimiter, true));
            if stop.framing != Framing::Open {
                return Ok(Ok(stop));
            }
            self.ahead.open += 1;
            self.ahead.open_bytes += line.bytes.len() + 1;
            self.ahead.open_ended += stop.ended;
            self.ahead.stop = None;
        }
    }

    /// Nothing but spaces; a row of empty fields is a row.
    fn is_blank(&self, line: &[u8]) -> bool {
        line.iter().all(|byte| byte.is_ascii_whitespace() && *byte != self.delimiter)
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
        // As in the head of a file: bytes of zero are of no text that anybody wrote.
        if self.out[..written].contains(&0) {
            return Err(());
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
