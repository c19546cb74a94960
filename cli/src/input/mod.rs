//! Files in: separated tables and JSON lines, with bounded memory, every row accounted for.
//!
//! [`Reader`] gives [`Item`]s: a [`RawRecord`] with its fields by column, or a [`Refusal`] that names line and reason.
//! What the columns mean is the business of [`mapping`]. [`Plain`] is a small table as it stands.

mod debezium;
mod encoding;
mod json;
mod lines;
pub mod mapping;
mod plain;
mod segment;
mod separated;

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onefold_core::fragment::{ObservedAt, PartyKind};

pub use encoding::{Encoding, UnknownEncoding};
pub use plain::Plain;

/// Bytes in one row; a longer one is refused with its line number.
pub const ROW_BYTES_MAX: usize = 1024 * 1024;
/// Distinct columns of one file; matters for JSON lines, whose columns appear as they come.
pub const COLUMNS_MAX: usize = 2_000;
/// Bytes in a column's name, or in the path that is one; whole questions of a survey fit.
pub const COLUMN_NAME_BYTES_MAX: usize = 1_024;
/// Rows that are looked at before the meaning of the columns is guessed.
pub const SAMPLE_ROWS: usize = 1_000;
/// Bytes of values in those rows at most.
const SAMPLE_BYTES: usize = 16 * 1024 * 1024;

/// What is said of a row whose bytes are no text.
const NOT_TEXT: &str =
    "is damaged: bytes of it are no text in the file's encoding; `--encoding latin-1` reads Latin-1 files";

/// Text that is looked at to tell the format and the delimiter.
const HEAD_BYTES: usize = 64 * 1024;

/// Position of a column in [`Columns`].
pub type ColumnIx = u32;

/// The columns seen so far, in order of appearance.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    names: Vec<String>,
    index: HashMap<String, ColumnIx>,
}

impl Columns {
    /// The names in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The column of this name, added when it is new.
    fn intern(&mut self, name: &str) -> Result<ColumnIx, NoColumn> {
        if let Some(column) = self.index.get(name) {
            return Ok(*column);
        }
        if name.len() > COLUMN_NAME_BYTES_MAX {
            return Err(NoColumn::NameTooLong { bytes: name.len() });
        }
        if self.names.len() >= COLUMNS_MAX {
            return Err(NoColumn::TooMany);
        }
        let column = self.names.len() as ColumnIx;
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), column);
        Ok(column)
    }
}

/// Why a name becomes no column.
enum NoColumn {
    /// There are [`COLUMNS_MAX`] already.
    TooMany,
    /// It has more than [`COLUMN_NAME_BYTES_MAX`].
    NameTooLong { bytes: usize },
}

/// Whether a row states facts or takes its record back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Facts.
    #[default]
    Put,
    /// The record is gone from its source.
    Retract,
}

/// One row before its columns have a meaning. Holds personal data, so it has no `Debug`.
#[derive(Clone, Default)]
pub struct RawRecord {
    /// First line of the row in its file, from 1.
    pub line: u64,
    /// What the row does.
    pub action: Action,
    /// The record's key, where the envelope names one.
    pub key: Option<String>,
    /// The source, where the envelope names one.
    pub source: Option<String>,
    /// The time, where the envelope names one.
    pub observed_at: Option<ObservedAt>,
    /// Whether the envelope names a time, and it cannot be read.
    pub time_unreadable: bool,
    /// Whether its place says more than its time: of two changes to one record at one time the later in the file is the newer.
    pub in_order: bool,
    /// Person or organisation, where the envelope says so.
    pub party: Option<PartyKind>,
    /// Trimmed, never empty; a column may occur several times.
    pub fields: Vec<(ColumnIx, String)>,
}

/// A row that could not be read. The reason holds no personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// First line of the row in its file, from 1.
    pub line: u64,
    /// What is wrong and how to mend it.
    pub reason: String,
    /// The record's key, where it is known.
    pub key: Option<String>,
}

impl Refusal {
    /// A refusal of a row whose key is not known.
    #[must_use]
    pub fn new(line: u64, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into(), key: None }
    }
}

/// What a reader gives for a row.
pub enum Item {
    /// A readable row.
    Record(RawRecord),
    /// Not a readable row.
    Refused(Refusal),
}

/// The shapes of file that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A header line, then rows of fields between this delimiter.
    Separated {
        /// One ASCII character.
        delimiter: u8,
    },
    /// One JSON object a line: flat or nested, Segment-style calls, Debezium changes.
    JsonLines,
}

/// How to read, where guessing is not wanted.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Instead of guessing from the first bytes.
    pub encoding: Option<Encoding>,
    /// Instead of guessing from the first lines.
    pub delimiter: Option<u8>,
}

/// A file that cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there, or not ours to read.
    #[error("{}: cannot be opened: {source}", file.display())]
    Open {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Reading stopped half-way.
    #[error("{}: reading failed near line {line}: {source}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// The last line that was read.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
    /// No bytes, or only blank lines.
    #[error("{}: the file is empty: it needs a header line and at least one row", file.display())]
    Empty {
        /// Which file.
        file: PathBuf,
    },
    /// Not a table and not JSON lines.
    #[error("{}: line {line}: {why}", file.display())]
    Shape {
        /// Which file.
        file: PathBuf,
        /// Where it shows.
        line: u64,
        /// What it is and what to do.
        why: String,
    },
}

type Bytes = BufReader<Box<dyn Read + Send>>;

enum Rows {
    Separated(Box<separated::Separated<Bytes>>),
    Json(json::JsonLines<Bytes>),
}

/// A file being read, row by row.
pub struct Reader {
    file: PathBuf,
    format: Format,
    encoding: Encoding,
    columns: Columns,
    rows: Rows,
    waiting: VecDeque<Item>,
    notes: Vec<String>,
    taken: Arc<AtomicU64>,
    size: Option<u64>,
}

/// Counts the bytes that were taken, for a progress bar.
struct Counted {
    inner: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A file whose first bytes were looked at.
struct Looked {
    /// All of it, decoded.
    bytes: Bytes,
    /// The beginning of that.
    head: Vec<u8>,
    /// The first byte that is no blank.
    first: u8,
    encoding: Encoding,
    notes: Vec<String>,
}

/// Finds out how a file's bytes are read, and whether they are text.
fn look(path: &Path, bytes: Box<dyn Read + Send>, encoding: Option<Encoding>) -> Result<Looked, ReadError> {
    let file = || path.to_owned();
    let opened = encoding::decode(bytes, encoding).map_err(|source| ReadError::Open { file: file(), source })?;
    let mut rest = opened.bytes;
    let mut head = Vec::new();
    let looked = rest.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head);
    looked.map_err(|source| ReadError::Read { file: file(), line: 0, source })?;
    let Some(first) = head.iter().copied().find(|byte| !byte.is_ascii_whitespace()) else {
        return Err(ReadError::Empty { file: file() });
    };
    if head.contains(&0) {
        let why = "holds zero bytes: a compressed, spreadsheet or database file? Export it as CSV or JSON lines first";
        return Err(ReadError::Shape { file: file(), line: 1, why: why.to_owned() });
    }
    let whole: Box<dyn Read + Send> = Box::new(Cursor::new(head.clone()).chain(rest));
    let bytes = BufReader::with_capacity(1 << 18, whole);
    Ok(Looked { bytes, head, first, encoding: opened.encoding, notes: opened.notes })
}

impl Reader {
    /// Opens a file, or standard input for `-`, and finds out its encoding, format and header.
    ///
    /// # Errors
    /// [`ReadError`]: not there, empty, or not a table at all.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, ReadError> {
        let fail = |source| ReadError::Open { file: path.to_owned(), source };
        let mut size = None;
        let bytes: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            let file = std::fs::File::open(path).map_err(fail)?;
            let metadata = file.metadata().map_err(fail)?;
            size = Some(metadata.len());
            if metadata.is_dir() {
                return Err(fail(io::Error::other("it is a directory; name the files in it")));
            }
            Box::new(file)
        };
        Ok(Self { size, ..Self::from_bytes(path, bytes, options)? })
    }

    /// Reads from any bytes; `path` is for messages, and its ending for the format.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn from_bytes(path: &Path, bytes: Box<dyn Read + Send>, options: &ReadOptions) -> Result<Self, ReadError> {
        let file = path.to_owned();
        let taken = Arc::new(AtomicU64::new(0));
        let bytes = Box::new(Counted { inner: bytes, taken: Arc::clone(&taken) });
        let Looked { bytes, head, first, encoding, mut notes } = look(path, bytes, options.encoding)?;
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        let mut columns = Columns::default();
        let (format, rows) = match first {
            b'[' if ending != "csv" && (!matches!(ending.as_str(), "ndjson" | "jsonl") || json::over_lines(&head)) => {
                let why = "is one JSON array; one object a line is needed (`jq -c '.[]' FILE` makes that)";
                return Err(ReadError::Shape { file, line: 1, why: why.to_owned() });
            }
            b'{' if json::over_lines(&head) => {
                let why =
                    "holds a JSON object over several lines; one object a line is needed (`jq -c . FILE` makes that)";
                return Err(ReadError::Shape { file, line: 1, why: why.to_owned() });
            }
            b'{' => (Format::JsonLines, Rows::Json(json::JsonLines::new(bytes))),
            _ if matches!(ending.as_str(), "ndjson" | "jsonl" | "json") => {
                (Format::JsonLines, Rows::Json(json::JsonLines::new(bytes)))
            }
            _ => {
                let delimiter = options
                    .delimiter
                    .or_else(|| separated::told_delimiter(&head))
                    .unwrap_or_else(|| separated::guess_delimiter(&head));
                let (rows, more) = separated::Separated::open(bytes, delimiter, &head, &mut columns)
                    .map_err(|fault| fault.at(file.clone()))?;
                notes.extend(more);
                (Format::Separated { delimiter }, Rows::Separated(Box::new(rows)))
            }
        };
        Ok(Self { file, format, encoding, columns, rows, waiting: VecDeque::new(), notes, taken, size: None })
    }

    /// The file's path, as given.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What the file turned out to be.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Bytes of the file that were taken so far.
    #[must_use]
    pub fn bytes_taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes of the file, where they are known.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// How its bytes are read.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The columns seen so far; all of them from the start for a table.
    #[must_use]
    pub const fn columns(&self) -> &Columns {
        &self.columns
    }

    /// What the user should know about how the file is read.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The first rows, for guessing; they come again from [`Reader::next_item`].
    ///
    /// # Errors
    /// [`ReadError::Read`].
    pub fn sample(&mut self) -> Result<Vec<&RawRecord>, ReadError> {
        let mut bytes = 0;
        while self.waiting.len() < SAMPLE_ROWS && bytes < SAMPLE_BYTES {
            let Some(item) = self.read()? else { break };
            if let Item::Record(record) = &item {
                bytes += record.fields.iter().map(|(_, text)| text.len()).sum::<usize>();
            }
            self.waiting.push_back(item);
        }
        Ok(self
            .waiting
            .iter()
            .filter_map(|item| match item {
                Item::Record(record) => Some(record),
                Item::Refused(_) => None,
            })
            .collect())
    }

    /// The next row; `None` at the end of the file.
    ///
    /// # Errors
    /// [`ReadError::Read`] when the bytes stop coming.
    pub fn next_item(&mut self) -> Result<Option<Item>, ReadError> {
        match self.waiting.pop_front() {
            Some(item) => Ok(Some(item)),
            None => self.read(),
        }
    }

    fn read(&mut self) -> Result<Option<Item>, ReadError> {
        let (item, line) = match &mut self.rows {
            Rows::Separated(rows) => (rows.next_item(), rows.line()),
            Rows::Json(rows) => (rows.next_item(&mut self.columns), rows.line()),
        };
        item.map_err(|source| ReadError::Read { file: self.file.clone(), line, source })
    }
}

#[cfg(test)]
mod tests;
