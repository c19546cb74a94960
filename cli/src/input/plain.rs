//! A whole table as it stands: rows of any width, the first among them, for files whose columns are few and fixed.
//!
//! It is read as every other table is, so a row whose quoting is broken is refused alone, with its line, and swallows none
//! of those behind it.

use std::io::Cursor;
use std::path::Path;

use super::separated::{Separated, guess_delimiter, told_delimiter};
use super::{Looked, ReadError, ReadOptions, Refusal, look};

/// The rows of a file.
#[derive(Debug, Default)]
pub struct Plain {
    /// Each with the line on which it begins, its fields trimmed.
    pub rows: Vec<(u64, Vec<String>)>,
    /// Those that cannot be read.
    pub refused: Vec<Refusal>,
    /// What the user should know about how the file is read.
    pub notes: Vec<String>,
}

impl Plain {
    /// Reads all of a file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// [`ReadError`]: empty, or no text at all.
    pub fn read(path: &Path, bytes: &[u8], options: &ReadOptions) -> Result<Self, ReadError> {
        let Looked { bytes, head, notes, .. } = look(path, Box::new(Cursor::new(bytes.to_vec())), options.encoding)?;
        let delimiter = options.delimiter.or_else(|| told_delimiter(&head)).unwrap_or_else(|| guess_delimiter(&head));
        let mut table = Separated::new(bytes, delimiter, &head);
        let mut read = Self { notes, ..Self::default() };
        let failed = |line| move |source| ReadError::Read { file: path.to_owned(), line, source };
        table.pass_told_delimiter(&head).map_err(failed(1))?;
        loop {
            let row = table.row();
            match row.map_err(failed(table.line()))? {
                None => return Ok(read),
                Some(Ok(row)) => read.rows.push(row),
                Some(Err(refusal)) => read.refused.push(refusal),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Plain {
        Plain::read(Path::new("t.csv"), bytes, &ReadOptions::default()).map_err(|fault| fault.to_string()).unwrap()
    }

    fn refused(read: &Plain) -> Vec<(u64, &str)> {
        read.refused.iter().map(|refusal| (refusal.line, refusal.reason.as_str())).collect()
    }

    #[test]
    fn an_open_quote_swallows_no_row_behind_it() {
        for (text, lines, why) in [
            ("a,1\nb,\"2\nc,3\nd,4\n", [1, 3, 4], "a quote is opened and never closed"),
            // Another row's quotes close it, and text follows.
            ("a,1\nb,\"2\nc,\"3\"\nd,4\n", [1, 3, 4], "text follows a closing quote"),
            ("a,1\n\"b\nc,3\n\"d\",4\n", [1, 3, 4], "text follows a closing quote"),
        ] {
            let read = read(text.as_bytes());
            assert_eq!(read.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), lines, "{text}");
            let [(2, reason)] = refused(&read)[..] else { panic!("{text}: {:?}", refused(&read)) };
            assert!(reason.starts_with(why), "{reason}");
        }
        let whole = read(b"a,\"1\n1\"\n\nb,\"say \"\"hi\"\"\"\nc\n");
        let row = |line, fields: &[&str]| (line, fields.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(whole.rows, [row(1, &["a", "1\n1"]), row(4, &["b", "say \"hi\""]), row(5, &["c"])]);
        assert_eq!(refused(&whole), []);
    }

    #[test]
    fn lines_are_counted_however_they_end() {
        let rows = ["a,1", "\"b\nb\",2", "", "c,3", "d,4"];
        for (end, lines) in [("\n", [1, 2, 5, 6]), ("\r\n", [1, 2, 5, 6])] {
            let read = read(rows.join(end).as_bytes());
            assert_eq!(read.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), lines, "{end:?}");
        }
        let read = read(b"a,1\rb,2\r\rc,3");
        assert_eq!(read.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn other_encodings_and_delimiters_are_read() {
        let wide: Vec<u8> = "\u{feff}key;name\na;Grün".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let read = read(&wide);
        assert_eq!(read.rows[1], (2, vec!["a".to_owned(), "Grün".to_owned()]));
        assert_eq!(super::tests::read(b"sep=|\na|b\n").rows, [(2, vec!["a".to_owned(), "b".to_owned()])]);
        for (bytes, why) in [(&b"PK\x03\x04\0\0"[..], "zero bytes"), (b" \n", "empty")] {
            let fault = Plain::read(Path::new("t.csv"), bytes, &ReadOptions::default()).unwrap_err();
            assert!(fault.to_string().contains(why), "{fault}");
        }
    }
}
