//! Everybody of a file, one request each.
//!
//! Every call has a name made of the file and the row, so that a run that was cut off is simply run again: what was done is
//! answered as it was, unless the person is there again since. Then it is done anew.

use std::fs;
use std::path::Path;
use std::time::Duration;

use onefold_cli::input::{Encoding, Plain, ReadOptions};
use onefold_cli::output::count;
use onefold_proto::v1 as pb;

use super::Arguments;
use crate::client::trouble::reason;
use crate::client::{Client, request_id_of};
use crate::command::consent::Who;
use crate::command::scope::counts;
use crate::command::{Failure, say, say_json};

/// How long a call is asked again while the server says that waiting helps.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a scope is looked at again that changed between its preview and its erasure.
const LOOKS_MAX: u32 = 3;
/// The ground of a request about somebody of whom nothing is held.
const NOTHING_HELD: &str = "nothing-held";

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Erased; there is a receipt.
    Erased,
    /// Nothing is held.
    NothingHeld,
    /// Several persons hold it: it names none of them.
    Shared,
    /// It waits for a second person, who approves this scope.
    Waits(String),
    /// An officer refused it, on this ground.
    Refused(String),
    /// The server cannot read who is meant.
    Unreadable(String),
    /// Not done.
    Failed(String),
}

impl Answer {
    /// In one word, and what to know beside it.
    pub fn words(&self) -> (&'static str, String) {
        match self {
            Self::Erased => ("erased", String::new()),
            Self::NothingHeld => ("nothing-held", String::new()),
            Self::Shared => ("shared", "several persons hold it; name each by a record or an id".to_owned()),
            Self::Waits(etag) => ("waits", format!("a second person must approve it: requests approve --etag {etag}")),
            Self::Refused(ground) => ("refused", ground.clone()),
            Self::Unreadable(why) | Self::Failed(why) => ("failed", why.clone()),
        }
    }
}

/// Carries out requests that are taken in alike.
pub struct Eraser<'a> {
    pub client: &'a Client,
    pub arguments: &'a Arguments,
    /// What all of a run have in common: the file.
    pub run: blake3::Hash,
}

impl Eraser<'_> {
    /// The name of a call about a row: the same in every run over the same file.
    fn named(&self, row: u64, call: &str, more: &str) -> String {
        let [law, reference, verified, by] = self.arguments.taking.said(self.arguments.law());
        let parent = self.arguments.target.parent();
        let row = row.to_le_bytes();
        request_id_of(&[
            self.run.as_bytes(),
            parent.as_bytes(),
            law,
            reference,
            verified,
            by,
            &row,
            call.as_bytes(),
            more.as_bytes(),
        ])
    }

    /// From the request to its end: the request's name, and what became of it.
    ///
    /// # Errors
    /// What stands in the way of every other row too.
    pub async fn erase(&self, row: u64, subject: pb::ConsentSubject) -> Result<(String, Answer), Failure> {
        let mut before = String::new();
        loop {
            let (name, answer, is_old) = self.once(row, subject.clone(), &before).await?;
            // What was true at an earlier run need not be any more: they may have been let in again, or come for the first time.
            if !is_old || name == before || !self.is_there(subject.clone()).await? {
                return Ok((name, answer));
            }
            before = name;
        }
    }

    /// One request about a row, made behind another; whether it had come to its end in an earlier run.
    async fn once(
        &self,
        row: u64,
        subject: pb::ConsentSubject,
        before: &str,
    ) -> Result<(String, Answer, bool), Failure> {
        let client = self.client;
        let mut request = self.arguments.taking.request(&self.arguments.target, self.arguments.law(), subject);
        request.request_id = self.named(row, "create", before);
        let taken =
            client.ask_or(PATIENCE, || async { client.privacy().create_privacy_request(request.clone()).await }).await;
        let name = match taken {
            Ok(taken) => taken.request.unwrap_or_default().name,
            Err(status) if reason(&status) == "IDENTIFIER_SHARED" => return Ok((String::new(), Answer::Shared, false)),
            // This row alone cannot be read.
            Err(status) if reason(&status) == "REQUEST_INVALID" => {
                return Ok((String::new(), Answer::Unreadable(status.message().to_owned()), false));
            }
            Err(status) => return Err(client.failed(&status)),
        };
        let request = pb::GetPrivacyRequestRequest { name: name.clone() };
        let known = client.ask(|| async { client.privacy().get_privacy_request(request.clone()).await }).await?;
        let known = known.request.unwrap_or_default();
        let is_old = matches!(known.state(), pb::PrivacyRequestState::Completed)
            || known.state() == pb::PrivacyRequestState::Refused && known.ground == NOTHING_HELD;
        let row = Row { line: row, before };
        let answer = match known.state() {
            pb::PrivacyRequestState::Received => {
                self.arguments.taking.verify(client, &name, self.call(&row, "verify", "")).await?;
                self.carry_out(&row, &name).await?
            }
            pb::PrivacyRequestState::Verified | pb::PrivacyRequestState::Approved => {
                self.carry_out(&row, &name).await?
            }
            pb::PrivacyRequestState::Completed => Answer::Erased,
            pb::PrivacyRequestState::Refused if known.ground == NOTHING_HELD => Answer::NothingHeld,
            pb::PrivacyRequestState::Refused => Answer::Refused(known.ground),
            state => Answer::Failed(format!("the request is {}", state.as_str_name())),
        };
        Ok((name, answer, is_old))
    }

    /// The name of a call behind the request's creation.
    fn call(&self, row: &Row<'_>, call: &str, more: &str) -> String {
        let more = if row.before.is_empty() { more.to_owned() } else { format!("{} {more}", row.before) };
        self.named(row.line, call, &more)
    }

    /// Whether a profile has this today.
    async fn is_there(&self, subject: pb::ConsentSubject) -> Result<bool, Failure> {
        let client = self.client;
        let Some(key) = key_of(subject) else { return Ok(false) };
        let request = lookup_of(self.arguments, key);
        let got = client.ask(|| async { client.profiles().batch_lookup_profiles(request.clone()).await }).await?;
        Ok(got.results.iter().any(|result| result.profile.is_some() || result.reason == "IDENTIFIER_SHARED"))
    }

    async fn carry_out(&self, row: &Row<'_>, name: &str) -> Result<Answer, Failure> {
        let client = self.client;
        let mut why = String::new();
        for _ in 0..LOOKS_MAX {
            let request = pb::PreviewErasureRequest { name: name.to_owned() };
            let preview = client.ask(|| async { client.privacy().preview_erasure(request.clone()).await }).await?;
            if preview.records.is_empty() && preview.quarantined + preview.statements + preview.keys == 0 {
                let (name, ground) = (name.to_owned(), NOTHING_HELD.to_owned());
                let request =
                    pb::RefusePrivacyRequestRequest { name, ground, request_id: self.call(row, "refuse", "") };
                client.ask(|| async { client.privacy().refuse_privacy_request(request.clone()).await }).await?;
                return Ok(Answer::NothingHeld);
            }
            let request = pb::ExecuteErasureRequest {
                name: name.to_owned(),
                etag: preview.etag.clone(),
                request_id: self.call(row, "execute", &preview.etag),
            };
            let done =
                client.ask_or(PATIENCE, || async { client.privacy().execute_erasure(request.clone()).await }).await;
            let Err(status) = done else { return Ok(Answer::Erased) };
            match reason(&status).as_str() {
                "SCOPE_CHANGED" => why = status.message().to_owned(),
                "PRIVACY_REQUEST_STATE" => return Ok(Answer::Waits(preview.etag)),
                _ => return Err(client.failed(&status)),
            }
        }
        Ok(Answer::Failed(why))
    }
}

/// A row, and the request about it that came to its end before.
struct Row<'a> {
    line: u64,
    before: &'a str,
}

fn key_of(subject: pb::ConsentSubject) -> Option<pb::profile_key::Key> {
    match subject.subject? {
        pb::consent_subject::Subject::Identifier(one) => Some(pb::profile_key::Key::Identifier(one)),
        pb::consent_subject::Subject::Record(one) => Some(pb::profile_key::Key::Record(one)),
        pb::consent_subject::Subject::Profile(one) => Some(pb::profile_key::Key::Name(one)),
    }
}

fn lookup_of(arguments: &Arguments, key: pb::profile_key::Key) -> pb::BatchLookupProfilesRequest {
    pb::BatchLookupProfilesRequest {
        parent: arguments.target.parent(),
        keys: vec![pb::ProfileKey { key: Some(key) }],
        read_mask: Some(prost_types::FieldMask { paths: vec!["name".to_owned()] }),
        ..Default::default()
    }
}

/// Rows of a file, each with the number of its line, and those that cannot be read.
///
/// # Errors
/// When it is no text in UTF-8 or UTF-16: what is erased is not guessed.
pub fn rows(bytes: &[u8], file: &Path) -> Result<Plain, Failure> {
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
    let options = ReadOptions { encoding: Some(encoding), delimiter: Some(b',') };
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

/// Where answers go, row by row.
pub struct Answers(csv::Writer<fs::File>);

impl Answers {
    /// # Errors
    /// Without a file, or one that cannot be written.
    pub fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let Some(file) = &arguments.answers else {
            return Err(Failure::usage("say with --answers FILE where to write what became of each row"));
        };
        let writer = csv::WriterBuilder::new().flexible(true).from_path(file);
        writer.map(Self).map_err(|error| Failure::new(format!("{}: cannot be written: {error}", file.display())))
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn put(&mut self, cells: &[&str]) -> Result<(), Failure> {
        let put = self.0.write_record(cells).map_err(std::io::Error::from).and_then(|()| self.0.flush());
        put.map_err(|error| Failure::new(format!("the answers cannot be written: {error}")))
    }
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
    let mut answers = Answers::open(arguments)?;
    answers.put(&["line", "answer", "request", "note"])?;
    let eraser = Eraser { client: &client, arguments, run: blake3::hash(&bytes) };
    let mut counted: [(&str, u64); 6] =
        [("erased", 0), ("nothing-held", 0), ("shared", 0), ("waits", 0), ("refused", 0), ("failed", 0)];
    for (line, subject) in subjects {
        let (name, answer) = eraser.erase(line, subject).await?;
        let (word, note) = answer.words();
        answers.put(&[&line.to_string(), word, &name, &note])?;
        counted.iter_mut().filter(|(of, _)| *of == word).for_each(|(_, count)| *count += 1);
    }
    told(arguments, &counted)?;
    match counted[5].1 {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{} row(s) failed; run it again for these", count(failed)))),
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
    for (_, subject) in subjects {
        let Some(key) = key_of(subject) else { continue };
        let request = lookup_of(arguments, key);
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
