//! Everybody of a file, one request each.
//!
//! Who stands in it twice, by one identifier or by several, has one request. Which requests the rows led to is kept in
//! `FILE.log` before anything is done upon them, by a digest of the file and the row's number, so that a run that was cut off,
//! or waited for a second person, is simply run again however late; the answers are written whole at the end.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use csv::StringRecord;
use onefold_cli::input::{Encoding, Plain, ReadOptions};
use onefold_cli::output::count;
use onefold_proto::v1 as pb;
use prost::Message as _;

use super::Arguments;
pub use super::eraser::{Answer, Eraser, PATIENCE};
use super::log::Log;
use crate::client::{Client, request_id_of};
use crate::command::consent::Who;
use crate::command::scope::counts;
use crate::command::whole::write_whole;
use crate::command::{Failure, say, say_json};

/// How many are looked up at once.
const LOOKUPS_MAX: usize = 500;

fn key_of(subject: pb::ConsentSubject) -> Option<pb::profile_key::Key> {
    match subject.subject? {
        pb::consent_subject::Subject::Identifier(one) => Some(pb::profile_key::Key::Identifier(one)),
        pb::consent_subject::Subject::Record(one) => Some(pb::profile_key::Key::Record(one)),
        pb::consent_subject::Subject::Profile(one) => Some(pb::profile_key::Key::Name(one)),
    }
}

/// Asks which profiles have these; none where one says nothing.
pub fn lookup_of(arguments: &Arguments, of: &[pb::ConsentSubject]) -> Option<pb::BatchLookupProfilesRequest> {
    let key = |subject: &pb::ConsentSubject| Some(pb::ProfileKey { key: Some(key_of(subject.clone())?) });
    Some(pb::BatchLookupProfilesRequest {
        parent: arguments.target.parent(),
        keys: of.iter().map(key).collect::<Option<_>>()?,
        read_mask: Some(prost_types::FieldMask { paths: vec!["name".to_owned()] }),
        ..Default::default()
    })
}

/// Rows of a file, each with the number of its line, and those that cannot be read.
///
/// # Errors
/// When it is no text in UTF-8 or UTF-16: what is erased is not guessed.
pub fn rows(bytes: &[u8], file: &Path) -> Result<Plain, Failure> {
    rows_between(bytes, file, Some(b','))
}

/// The same of a file whose fields stand between this delimiter; `None` where the file is to tell.
///
/// # Errors
/// As [`rows`].
pub fn rows_between(bytes: &[u8], file: &Path, delimiter: Option<u8>) -> Result<Plain, Failure> {
    // A list of a day on which nobody asked.
    if bytes.trim_ascii().is_empty() {
        return Ok(Plain::default());
    }
    let encoding = match bytes {
        [0xff, 0xfe, ..] => Encoding::Utf16Le,
        [0xfe, 0xff, ..] => Encoding::Utf16Be,
        _ => Encoding::Utf8,
    };
    if let (Encoding::Utf8, Err(fault)) = (encoding, std::str::from_utf8(bytes)) {
        let line = 1 + bytes[..fault.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        return Err(Failure::usage(format!("{}:{line}: is no row of text in UTF-8", file.display())));
    }
    let options = ReadOptions { encoding: Some(encoding), delimiter };
    let mut read = Plain::read(file, bytes, &options).map_err(|fault| Failure::usage(fault.to_string()))?;
    read.rows.retain(|(_, row)| row.iter().any(|cell| !cell.is_empty()));
    Ok(read)
}

/// What is wrong with the rows that cannot be read, each with its line.
pub fn unread(read: &Plain, file: &Path) -> Vec<String> {
    read.refused.iter().map(|one| format!("{}:{}: {}", file.display(), one.line, one.reason)).collect()
}

/// Reads a whole file.
pub fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| Failure::usage(format!("{}: cannot be read: {error}", file.display())))
}

/// How many rows there were of each answer, in words.
pub fn told(arguments: &Arguments, counted: &[(&str, u64)]) -> Result<(), Failure> {
    if arguments.target.json {
        let all: serde_json::Map<String, serde_json::Value> =
            counted.iter().map(|(what, count)| ((*what).to_owned(), (*count).into())).collect();
        return say_json(&serde_json::Value::Object(all));
    }
    let lines: Vec<String> = counted.iter().map(|(what, of)| format!("  {what}: {}\n", count(*of))).collect();
    say(&lines.concat())
}

/// Everybody of a file.
pub async fn run(arguments: &Arguments, file: &Path) -> Result<(), Failure> {
    let bytes = read(file)?;
    let mut subjects = Vec::new();
    let read = rows(&bytes, file)?;
    let mut faults = unread(&read, file);
    for (line, row) in read.rows {
        let words: Vec<String> = row.into_iter().filter(|cell| !cell.is_empty()).collect();
        match (Who { words }).subject(&arguments.target) {
            Ok(subject) => subjects.push((line, subject)),
            Err(fault) => faults.push(format!("{}:{line}: {}", file.display(), fault.message)),
        }
    }
    if !faults.is_empty() {
        return Err(Failure::usage(faults.join("\n")));
    }
    let client = Client::connect(&arguments.target).await?;
    if !arguments.yes {
        return look(arguments, &client, subjects).await;
    }
    let Some(answers) = &arguments.answers else {
        return Err(Failure::usage("say with --answers FILE where to write what became of each row"));
    };
    let eraser = Eraser { client: &client, arguments, run: blake3::hash(&bytes), is_held: false };
    let mut requests = Requests::open(&eraser, answers, persons(arguments, &client, &subjects).await?)?;
    let mut counted: [(&str, u64); 6] =
        [("erased", 0), ("nothing-held", 0), ("shared", 0), ("waits", 0), ("refused", 0), ("failed", 0)];
    let mut rows = csv::WriterBuilder::new().from_writer(Vec::new());
    let mut put = |cells: [&str; 4]| {
        rows.write_record(cells).map_err(|error| Failure::new(format!("the answers cannot be written: {error}")))
    };
    put(["line", "answer", "request", "note"])?;
    for (line, subject) in subjects {
        let known = requests.known(line).await?;
        let mut begun = |asked: &pb::PrivacyRequest| requests.begun(line, asked);
        let (name, answer) = eraser.erase(line, subject, known, &mut begun).await?;
        let (word, note) = answer.words();
        put([&line.to_string(), word, &name, &note])?;
        counted.iter_mut().filter(|(of, _)| *of == word).for_each(|(_, count)| *count += 1);
    }
    let rows = rows.into_inner().map_err(|error| Failure::new(format!("the answers cannot be written: {error}")))?;
    write_whole(answers, |to| to.write_all(&rows))
        .map_err(|error| Failure::new(format!("{}: cannot be written: {error}", answers.display())))?;
    told(arguments, &counted)?;
    match counted[5].1 {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{} row(s) failed; run it again for these", count(failed)))),
    }
}

/// The rows of each person, first ones first: those with one profile, or in the same words.
async fn persons(
    arguments: &Arguments,
    client: &Client,
    subjects: &[(u64, pb::ConsentSubject)],
) -> Result<Vec<Vec<u64>>, Failure> {
    let mut persons: Vec<Vec<u64>> = Vec::new();
    let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
    for some in subjects.chunks(LOOKUPS_MAX) {
        let of: Vec<pb::ConsentSubject> = some.iter().map(|(_, subject)| subject.clone()).collect();
        let Some(request) = lookup_of(arguments, &of) else { continue };
        let got = client.ask(|| async { client.profiles().batch_lookup_profiles(request.clone()).await }).await?;
        for ((line, subject), result) in some.iter().zip(got.results) {
            let who = result.profile.map_or_else(|| subject.encode_to_vec(), |profile| profile.name.into_bytes());
            let person = *known.entry(who).or_insert(persons.len());
            match persons.get_mut(person) {
                Some(lines) => lines.push(*line),
                None => persons.push(vec![*line]),
            }
        }
    }
    Ok(persons)
}

/// A request that a row led to: its name, and when it came in, since a server that was restored may have given its name to
/// another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Led {
    name: String,
    received: String,
}

/// Which requests the rows led to, in this run and in earlier ones.
struct Requests<'a> {
    eraser: &'a Eraser<'a>,
    log: Log,
    led: HashMap<String, Led>,
    persons: Vec<Vec<u64>>,
    person_of: HashMap<u64, usize>,
}

/// The columns of the log.
const COLUMNS: [&str; 4] = ["Line", "Row", "Request", "Received"];

/// When a request came in, exactly.
fn received(asked: &pb::PrivacyRequest) -> String {
    let time = asked.received_time.unwrap_or_default();
    format!("{}.{:09}", time.seconds, time.nanos)
}

/// What a row of the log says: which row of the file led to which request.
fn read_back(row: &StringRecord) -> Option<(String, Led)> {
    let [_, of, name, received] = [0, 1, 2, 3].map(|at| row.get(at));
    Some((of?.to_owned(), Led { name: name?.to_owned(), received: received?.to_owned() }))
}

impl<'a> Requests<'a> {
    fn open(eraser: &'a Eraser<'a>, answers: &Path, persons: Vec<Vec<u64>>) -> Result<Self, Failure> {
        let (log, rows) = Log::open(answers, &COLUMNS)?;
        let led = rows.iter().filter_map(read_back).collect();
        let of =
            |(person, lines): (usize, &Vec<u64>)| lines.iter().map(move |line| (*line, person)).collect::<Vec<_>>();
        let person_of = persons.iter().enumerate().flat_map(of).collect();
        Ok(Self { eraser, log, led, persons, person_of })
    }

    /// A row, by a digest that says nothing to who does not have the file; whoever runs it, and with which words.
    fn row(&self, line: u64) -> String {
        let parent = self.eraser.arguments.target.parent();
        request_id_of(&[self.eraser.run.as_bytes(), parent.as_bytes(), &line.to_le_bytes(), b"row"])
    }

    /// The rows of a row's person.
    fn rows_of(&self, line: u64) -> &[u64] {
        self.person_of.get(&line).and_then(|person| self.persons.get(*person)).map_or(&[], Vec::as_slice)
    }

    /// The request that a row, or another one of its person, led to before, as it is now.
    async fn known(&self, line: u64) -> Result<Option<pb::PrivacyRequest>, Failure> {
        let mut rows = std::iter::once(&line).chain(self.rows_of(line));
        let Some(led) = rows.find_map(|line| self.led.get(&self.row(*line))) else { return Ok(None) };
        let known = self.eraser.request(&led.name).await?;
        Ok(known.filter(|asked| asked.kind() == pb::PrivacyRequestKind::Erasure && received(asked) == led.received))
    }

    /// Keeps a request before anything is done upon it: for all rows of its person.
    fn begun(&mut self, line: u64, asked: &pb::PrivacyRequest) -> Result<(), Failure> {
        let mut lines = self.rows_of(line).to_vec();
        if !lines.contains(&line) {
            lines.push(line);
        }
        let led = Led { name: asked.name.clone(), received: received(asked) };
        let row = |line: &u64| [line.to_string(), self.row(*line), led.name.clone(), led.received.clone()];
        let rows: Vec<[String; 4]> = lines.iter().map(row).collect();
        self.log.put(&rows)?;
        self.led.extend(rows.into_iter().map(|[_, row, ..]| (row, led.clone())));
        Ok(())
    }
}

/// What the rows lead to, without a request.
async fn look(arguments: &Arguments, client: &Client, subjects: Vec<(u64, pb::ConsentSubject)>) -> Result<(), Failure> {
    let mut found: Vec<pb::NamedCount> = Vec::new();
    let mut note = |name: &str| match found.iter_mut().find(|one| one.name == name) {
        Some(one) => one.count += 1,
        None => found.push(pb::NamedCount { name: name.to_owned(), count: 1 }),
    };
    let all = subjects.len() as u64;
    for some in subjects.chunks(LOOKUPS_MAX) {
        let of: Vec<pb::ConsentSubject> = some.iter().map(|(_, subject)| subject.clone()).collect();
        let Some(request) = lookup_of(arguments, &of) else { continue };
        let got = client.ask(|| async { client.profiles().batch_lookup_profiles(request.clone()).await }).await?;
        for result in got.results {
            match result.profile {
                Some(_) => note("with a profile"),
                None => note(&result.reason.to_lowercase().replace('_', " ")),
            }
        }
    }
    if arguments.target.json {
        let counted: Vec<(&str, u64)> = found.iter().map(|one| (one.name.as_str(), u64::from(one.count))).collect();
        return told(arguments, &counted);
    }
    say(&format!(
        "{} row(s): {}\nnothing is erased yet; --yes --answers FILE erases them, and what is held without a profile too\n",
        count(all),
        counts(&found)
    ))
}
