//! Lines of a CSV file as people count them.

/// Counts lines, however they end: the `csv` crate takes a row to begin at the LF of a CRLF in front of it.
pub struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    /// Of the whole file.
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, line: 1 }
    }

    /// The line on which a row begins. Rows are to be asked for in order.
    pub fn line(&mut self, row: Option<&csv::Position>) -> u64 {
        let begins = row.map_or(0, |row| usize::try_from(row.byte()).unwrap_or(usize::MAX));
        let behind = |at: usize| matches!(self.bytes.get(at), Some(b'\r' | b'\n'));
        let begins = (begins..).find(|at| !behind(*at)).unwrap_or(begins).min(self.bytes.len());
        while self.at < begins {
            let ends = match self.bytes[self.at] {
                b'\n' => true,
                b'\r' => self.bytes.get(self.at + 1) != Some(&b'\n'),
                _ => false,
            };
            self.line += u64::from(ends);
            self.at += 1;
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_however_they_end() {
        let rows = ["a,1", "\"b\nb\",2", "", "c,3", "d,4"];
        for end in ["\n", "\r\n", "\r"] {
            let bytes = rows.join(end).into_bytes();
            let mut lines = Lines::of(&bytes);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
            let found: Vec<u64> = reader.records().map(|row| lines.line(row.unwrap().position())).collect();
            assert_eq!(found, [1, 2, 5, 6], "{end:?}");
        }
    }
}
