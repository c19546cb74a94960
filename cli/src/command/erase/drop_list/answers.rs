//! What a list is answered: the file that the platform takes, and beside it what stands behind each row.
//!
//! The platform takes `Id,Status` and nothing else. Each row is kept in `FILE.log` as soon as there is a request for it, and again when
//! it is decided; the file is made of these at the end, so that a run that is cut off anywhere is simply run again: who was
//! erased by an earlier run is found no more, and is answered as erased all the same.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use super::standard::{Hash, parsed};
use crate::command::Failure;
use crate::command::erase::log::Log;
use crate::command::whole::write_text;

/// What a row was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// The platform's code; empty where it is open yet.
    pub code: String,
    /// The request's name; empty where there is none.
    pub request: String,
}

/// The answers of a list.
pub struct Answers {
    file: PathBuf,
    log: Log,
    before: HashMap<(String, Hash), Answered>,
}

/// What earlier runs kept: of a row what was kept last.
fn kept(log: &[StringRecord]) -> HashMap<(String, Hash), Answered> {
    let one = |row: &StringRecord| {
        let [id, hash, code, request] = [0, 1, 2, 3].map(|at| row.get(at));
        Some(((id?.to_owned(), parsed(hash?)?), Answered { code: code?.to_owned(), request: request?.to_owned() }))
    };
    log.iter().filter_map(one).collect()
}

impl Answers {
    /// # Errors
    /// When the log cannot be read or written.
    pub fn open(file: &Path) -> Result<Self, Failure> {
        let (log, before) = Log::open(file, &["Id", "Hash", "Status", "Request"])?;
        Ok(Self { file: file.to_owned(), log, before: kept(&before) })
    }

    /// What an earlier run made of a row.
    pub fn before(&self, id: &str, hash: &Hash) -> Option<&Answered> {
        self.before.get(&(id.to_owned(), *hash))
    }

    /// Keeps a request before anything is done upon it, for these rows: each its work item and its hash as the list writes it.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn begun(&mut self, rows: &[(String, String)], request: &str) -> Result<(), Failure> {
        let row = |(id, cell): &(String, String)| [id, cell, "", request].map(str::to_owned);
        self.log.put(&rows.iter().map(row).collect::<Vec<_>>())
    }

    /// Keeps a row; `cell` is its hash as the list writes it.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn put(&mut self, id: &str, cell: &str, answered: &Answered) -> Result<(), Failure> {
        self.log.put(&[[id, cell, &answered.code, &answered.request].map(str::to_owned)])
    }

    /// Writes the file that the platform takes: work items and their codes, of those that are decided.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish<'a>(self, rows: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), Failure> {
        let decided = rows.filter(|(_, code)| !code.is_empty()).map(|(id, code)| format!("{id},{code}\n"));
        write_text(&self.file, &decided.fold("Id,Status\n".to_owned(), |text, row| text + &row))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// At whatever byte a run is cut off, the next one knows all whole rows and no half one, and goes on behind them.
    #[test]
    fn a_log_that_was_cut_off_anywhere_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answers.csv");
        let log = folder.path().join("answers.csv.log");
        let cells = ["vGM7y5n+hBXRSEAklhHDPCbysyNgYTmXdMcagGUOY8E=", "KA18MT/ph6IHYjzT9zwETySDQyvSh87YuoSBpOQtkhE="];
        let hashes = cells.map(|cell| parsed(cell).unwrap());
        let of = |code: &str, request: &str| Answered { code: code.to_owned(), request: request.to_owned() };
        let mut answers = Answers::open(&file).unwrap();
        answers.put("A7kP2xQ9Lm4R", cells[0], &of("3", "r/1")).unwrap();
        answers.put("B7kP2xQ9Lm4R", cells[1], &of("", "r/2")).unwrap();
        answers.finish([("A7kP2xQ9Lm4R", "3"), ("B7kP2xQ9Lm4R", "")].into_iter()).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "Id,Status\nA7kP2xQ9Lm4R,3\n", "what is open is left out");
        let whole = fs::read(&log).unwrap();
        let ends: Vec<usize> = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        for cut in 0..=whole.len() {
            fs::write(&log, &whole[..cut]).unwrap();
            let mut answers = Answers::open(&file).unwrap();
            let first = answers.before("A7kP2xQ9Lm4R", &hashes[0]).cloned();
            assert_eq!(first, (cut > ends[1]).then(|| of("3", "r/1")), "{cut}");
            let second = answers.before("B7kP2xQ9Lm4R", &hashes[1]).cloned();
            assert_eq!(second, (cut > ends[2]).then(|| of("", "r/2")), "{cut}");
            answers.put("B7kP2xQ9Lm4R", cells[1], &of("3", "r/2")).unwrap();
            drop(answers);
            let again = Answers::open(&file).unwrap();
            assert_eq!(again.before("B7kP2xQ9Lm4R", &hashes[1]), Some(&of("3", "r/2")), "{cut}");
        }
    }
}
