//! What is kept beside a file of answers, in `FILE.log`: a row as soon as something is decided, so that a run that was cut off
//! anywhere is simply run again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use csv::StringRecord;

use crate::command::Failure;

/// The log of one file of answers. It is only appended to.
pub struct Log {
    path: PathBuf,
    to: csv::Writer<File>,
}

/// The rows of a log.
fn rows(log: &[u8]) -> Vec<StringRecord> {
    let rows = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(log).into_records();
    rows.filter_map(Result::ok).collect()
}

impl Log {
    /// Opens the log of a file, with what earlier runs kept in it, oldest first; `columns` are its own.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(answers: &Path, columns: &[&str]) -> Result<(Self, Vec<StringRecord>), Failure> {
        let mut path = answers.as_os_str().to_owned();
        path.push(".log");
        let path = PathBuf::from(path);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Failure::usage(format!("{}: cannot be read: {error}", path.display()))),
        };
        // A run that was cut off may have left half a row: that one is decided again.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let open = || -> std::io::Result<File> {
            let mut open = OpenOptions::new().create(true).append(true).open(&path)?;
            if whole < bytes.len() {
                open.set_len(whole as u64)?;
            }
            if whole == 0 {
                open.write_all((columns.join(",") + "\n").as_bytes())?;
            }
            Ok(open)
        };
        let to = open().map_err(|error| Failure::new(format!("{}: cannot be written: {error}", path.display())))?;
        let to = csv::WriterBuilder::new().flexible(true).from_writer(to);
        Ok((Self { path, to }, rows(&bytes[..whole])))
    }

    /// Keeps rows.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn put<'a>(&mut self, rows: impl IntoIterator<Item = &'a [String; 4]>) -> Result<(), Failure> {
        let mut rows = rows.into_iter();
        let put = rows.try_for_each(|row| self.to.write_record(row)).map_err(std::io::Error::from);
        put.and_then(|()| self.to.flush())
            .map_err(|error| Failure::new(format!("{}: cannot be written: {error}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(log: &[StringRecord]) -> Vec<Vec<&str>> {
        log.iter().map(|row| row.iter().collect()).collect()
    }

    /// At whatever byte a run is cut off, the next one knows all whole rows, and half a row is not taken for one by any.
    #[test]
    fn a_log_that_was_cut_off_anywhere_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let answers = folder.path().join("answers.csv");
        let path = folder.path().join("answers.csv.log");
        let columns = ["Line", "Row", "Request", "Received"];
        let row = |of: &str| ["1", of, "tenants/default/privacyRequests/17", "5.000000000"].map(str::to_owned);
        let (mut log, before) = Log::open(&answers, &columns).unwrap();
        assert!(before.is_empty());
        log.put(&[row("a"), row("b")]).unwrap();
        let whole = fs::read(&path).unwrap();
        let ends: Vec<usize> = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (mut log, before) = Log::open(&answers, &columns).unwrap();
            let want: Vec<Vec<String>> = [columns.map(str::to_owned), row("a"), row("b")].map(Vec::from).into();
            let kept = ends.iter().filter(|end| cut > **end).count();
            assert_eq!(cells(&before), want[..kept], "{cut}");
            log.put(&[row("c")]).unwrap();
            let (_, again) = Log::open(&answers, &columns).unwrap();
            let (after, rest) = again.split_at(kept.max(1));
            assert_eq!(cells(after), want[..kept.max(1)], "{cut}");
            assert_eq!(cells(rest), [row("c")], "{cut}");
        }
    }
}
