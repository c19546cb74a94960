//! Everybody of a file, through one stream.

use std::collections::BTreeMap;
use std::path::Path;

use onefold_cli::output::count;
use onefold_proto::v1 as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Arguments;
use crate::client::Client;
use crate::command::consent::{Who, time};
use crate::command::erase::many::{read, rows_between, unread};
use crate::command::{Failure, card, say, say_json};

/// Questions that may wait for the server.
const AHEAD: usize = 1_024;
/// Rows that cannot be asked about of which people are told one by one; the answers have all of them.
const BAD_SHOWN_MAX: usize = 50;
/// Why a question was none, as the server says of one row of a stream.
const INVALID: &str = "REQUEST_INVALID";

/// Who is asked about, and where they stand in the file.
struct Row {
    line: u64,
    words: Vec<String>,
}

/// What came of all rows.
#[derive(Default)]
struct Summary {
    allowed: u64,
    denied: u64,
    bad: u64,
    /// How many allowed and how many denied rows name each reason. A row may name several.
    reasons: [BTreeMap<String, u64>; 2],
}

impl Summary {
    fn take(&mut self, verdict: &pb::ContactVerdict) {
        *if verdict.allowed { &mut self.allowed } else { &mut self.denied } += 1;
        let [denied, allowed] = &mut self.reasons;
        let reasons = if verdict.allowed { allowed } else { denied };
        for reason in &verdict.reasons {
            *reasons.entry(reason.reason.clone()).or_default() += 1;
        }
    }

    fn json(&self) -> serde_json::Value {
        let [denied, allowed] = &self.reasons;
        serde_json::json!({
            "rows": self.allowed + self.denied + self.bad,
            "allowed": self.allowed,
            "denied": self.denied,
            "bad": self.bad,
            "allowedByReason": allowed,
            "deniedByReason": denied,
        })
    }

    fn text(&self) -> String {
        let [denied, allowed] = &self.reasons;
        let mut text = String::new();
        for (word, number, reasons) in [("allowed", self.allowed, allowed), ("denied", self.denied, denied)] {
            text.push_str(&format!("{word}: {}\n", count(number)));
            for (reason, number) in reasons {
                text.push_str(&format!("  {reason}: {}\n", count(*number)));
            }
        }
        if self.bad > 0 {
            text.push_str(&format!("not asked about: {}\n", count(self.bad)));
        }
        text
    }
}

/// The answers as a file, where one was asked for.
struct Answers(Option<csv::Writer<std::fs::File>>);

impl Answers {
    fn open(file: Option<&Path>) -> Result<Self, Failure> {
        let fault = |file: &Path, error| Failure::new(format!("{}: cannot be written: {error}", file.display()));
        let writer = file.map(|file| csv::Writer::from_path(file).map_err(|error| fault(file, error))).transpose()?;
        let mut answers = Self(writer);
        answers.put(&["line", "answer", "reasons", "profile", "reservation", "reserved_until", "note"])?;
        Ok(answers)
    }

    fn put(&mut self, cells: &[&str]) -> Result<(), Failure> {
        let Some(writer) = &mut self.0 else { return Ok(()) };
        writer.write_record(cells).map_err(|error| Failure::new(format!("the answers cannot be written: {error}")))
    }

    fn bad(&mut self, line: u64, why: &str) -> Result<(), Failure> {
        self.put(&[&line.to_string(), "bad-row", "", "", "", "", why])
    }

    fn verdict(&mut self, line: u64, verdict: &pb::ContactVerdict) -> Result<(), Failure> {
        let reasons: Vec<&str> = verdict.reasons.iter().map(|reason| reason.reason.as_str()).collect();
        let until = verdict.reservation_expire_time.as_ref();
        let until = until.and_then(|until| jiff::Timestamp::new(until.seconds, until.nanos).ok());
        let until = until.map(|until| until.to_string()).unwrap_or_default();
        let word = if verdict.allowed { "allowed" } else { "denied" };
        let (profile, reservation) = (card::short(&verdict.profile), verdict.reservation_id.as_str());
        self.put(&[&line.to_string(), word, &reasons.join(" "), profile, reservation, &until, ""])
    }

    fn close(self) -> Result<(), Failure> {
        let Some(mut writer) = self.0 else { return Ok(()) };
        writer.flush().map_err(|error| Failure::new(format!("the answers cannot be written: {error}")))
    }
}

/// Whether a cell that stands alone in the first row can be the name of a namespace. An address or a number is none, nor what is
/// not cut into columns: that is somebody, or a row that is named.
fn is_header(cell: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    cell.len() <= 64
        && cell.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
        && cell.bytes().all(is_of_name)
}

/// The namespace of a value that nobody names one for, where its form tells.
fn namespace_of(value: &str) -> Option<&'static str> {
    if let Some(number) = value.strip_prefix('+') {
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || b" ()-./".contains(&byte));
        if is_number && (7..=15).contains(&digits) {
            return Some("phone");
        }
    }
    (value.matches('@').count() == 1 && !value.contains([' ', ';', '\t'])).then_some("email")
}

/// The rows of a file. The first of a file with one column may be a header: the namespace of all others. Without one, addresses
/// and international telephone numbers are known by their form.
fn recipients(rows: Vec<(u64, Vec<String>)>) -> Vec<Row> {
    let mut rows = rows
        .into_iter()
        .map(|(line, cells)| Row { line, words: cells.into_iter().filter(|cell| !cell.is_empty()).collect() })
        .peekable();
    let header = rows.next_if(|first| matches!(first.words.as_slice(), [one] if is_header(one)));
    let header = header.and_then(|first| first.words.into_iter().next());
    let named = |row: Row| {
        let [value] = row.words.as_slice() else { return row };
        match header.as_deref().or_else(|| namespace_of(value)) {
            Some(namespace) => Row { words: vec![namespace.to_owned(), value.clone()], ..row },
            None => row,
        }
    };
    rows.map(named).collect()
}

/// Asks about everybody of a file.
///
/// # Errors
/// When rows could not be asked about, the stream broke, or a file cannot be read or written. Who may not be contacted is no
/// failure.
pub async fn run(arguments: &Arguments, file: &Path) -> Result<(), Failure> {
    let target = &arguments.target;
    let mut table = rows_between(&read(file)?, file, None)?;
    let mut bad: Vec<(u64, String)> =
        table.refused.iter().map(|refused| (refused.line, refused.reason.clone())).collect();
    let mut told: Vec<String> = unread(&table, file);
    let mut asked: Vec<(u64, pb::ConsentSubject)> = Vec::new();
    for Row { line, words } in recipients(std::mem::take(&mut table.rows)) {
        match (Who { words }).subject(target) {
            Ok(subject) => asked.push((line, subject)),
            Err(fault) => {
                let why = fault.message.lines().next().unwrap_or_default().to_owned();
                told.push(format!("{}:{line}: {why}", file.display()));
                bad.push((line, why));
            }
        }
    }
    let question = pb::DecideContactRequest {
        purpose: arguments.purpose.clone().unwrap_or_default(),
        channel: arguments.channel.clone().unwrap_or_default(),
        contact_time: time(arguments.at.as_ref())?,
        reserve: arguments.reserve,
        jurisdiction: arguments.jurisdiction.clone(),
        ..Default::default()
    };
    let client = Client::connect(target).await?;
    let mut answers = Answers::open(arguments.out.as_deref())?;
    let mut summary = Summary::default();
    for (line, why) in &bad {
        answers.bad(*line, why)?;
        summary.bad += 1;
    }
    let lines: Vec<u64> = asked.iter().map(|(line, _)| *line).collect();
    let (questions, taken) = mpsc::channel(AHEAD);
    let parent = target.parent();
    let feed = tokio::spawn(async move {
        for (number, (_, subject)) in (0..).zip(asked) {
            let decide = pb::DecideContactRequest {
                // What is empty is that of the question before.
                parent: if number == 0 { parent.clone() } else { String::new() },
                subject: Some(subject),
                ..question.clone()
            };
            let message = pb::DecideContactsRequest { client_sequence: number, decide: Some(decide) };
            if questions.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut done: usize = 0;
    let ended = async {
        let mut stream = client.consent().decide_contacts(ReceiverStream::new(taken)).await?.into_inner();
        while let Some(answer) = stream.message().await? {
            let Some(line) = usize::try_from(answer.client_sequence).ok().and_then(|at| lines.get(at)) else {
                continue;
            };
            let verdict = answer.verdict.unwrap_or_default();
            match verdict.reasons.iter().find(|reason| reason.reason == INVALID) {
                Some(reason) => {
                    told.push(format!("{}:{line}: {}", file.display(), reason.message));
                    summary.bad += 1;
                    answers.bad(*line, &reason.message).map_err(Ended::Here)?;
                }
                None => {
                    summary.take(&verdict);
                    answers.verdict(*line, &verdict).map_err(Ended::Here)?;
                }
            }
            done += 1;
        }
        Ok::<(), Ended>(())
    }
    .await;
    feed.abort();
    answers.close()?;
    for one in told.iter().take(BAD_SHOWN_MAX) {
        eprintln!("onefold: {one}");
    }
    if told.len() > BAD_SHOWN_MAX {
        eprintln!("onefold: and {} more", count((told.len() - BAD_SHOWN_MAX) as u64));
    }
    if target.json {
        say_json(&summary.json())?
    } else {
        say(&summary.text())?
    }
    let unanswered = lines.len() - done;
    match ended {
        Err(Ended::Here(failure)) => return Err(failure),
        Err(Ended::There(status)) => {
            let failure = client.failed(&status);
            let rest = lines.get(done).map(|line| {
                let reserved = if arguments.reserve { "; what was reserved before stays so" } else { "" };
                format!("\nhint: it was answered up to line {line}, which was not{reserved}")
            });
            return Err(Failure { message: failure.message + &rest.unwrap_or_default(), ..failure });
        }
        Ok(()) if unanswered > 0 => {
            return Err(Failure::new(format!("{} row(s) were not answered", count(unanswered as u64))));
        }
        Ok(()) => {}
    }
    match summary.bad {
        0 => Ok(()),
        bad => Err(Failure::new(format!("{}: {} row(s) could not be asked about", file.display(), count(bad)))),
    }
}

/// Why a stream ended early.
enum Ended {
    /// Here.
    Here(Failure),
    /// By the server, or on the way.
    There(tonic::Status),
}

impl From<tonic::Status> for Ended {
    fn from(status: tonic::Status) -> Self {
        Self::There(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_one_column_names_its_namespace_once() {
        let words = |rows: &[&[&str]]| -> Vec<(u64, Vec<String>)> {
            let told = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
            recipients((1..).zip(rows.iter().map(told)).collect())
                .into_iter()
                .map(|row| (row.line, row.words))
                .collect()
        };
        let row = |line: u64, words: &[&str]| (line, words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert!(words(&[]).is_empty());
        assert_eq!(words(&[&["email"], &["a@b.org"], &["", ""]]), [row(2, &["email", "a@b.org"]), row(3, &[])]);
        let mixed: &[&[&str]] = &[&["email", "a@b.org", ""], &["record", "crm", "17"], &["alone"]];
        assert_eq!(
            words(mixed),
            [row(1, &["email", "a@b.org"]), row(2, &["record", "crm", "17"]), row(3, &["alone"])],
            "no header: each says who"
        );
    }

    #[test]
    fn what_reads_as_no_header_is_somebody_or_a_row_that_is_named() {
        let first = |cells: &[&str]| -> Vec<Vec<String>> {
            let rows = (1..).zip(cells.iter().map(|cell| vec![(*cell).to_owned()])).collect();
            recipients(rows).into_iter().map(|row| row.words).collect()
        };
        assert_eq!(first(&["a@b.org"]), [["email", "a@b.org"]]);
        assert_eq!(first(&["a@b.org", "+49 (30) 1234-567"]), [["email", "a@b.org"], ["phone", "+49 (30) 1234-567"]]);
        assert_eq!(first(&["customer-id", "a@b.org"]), [["customer-id", "a@b.org"]], "whose values may be addresses");
        assert_eq!(first(&["E-Mail"]), Vec::<Vec<String>>::new());
        for nobody in
            ["email;a@b.org", "email\ta@b.org", "sep=;", "17", "two words", "a@b@c", "+1", "+49 30 ext. 1234567", ""]
        {
            let want = if nobody.is_empty() { Vec::new() } else { vec![nobody] };
            assert_eq!(first(&[nobody, "a@b.org"]), [want, vec!["email", "a@b.org"]], "{nobody:?}");
        }
    }

    #[test]
    fn a_file_is_cut_where_its_rows_are() {
        let want = |line: u64| [(line, vec!["email".to_owned(), "a@b.org".to_owned()])];
        for (line, text) in
            [(1, "email,a@b.org\n"), (1, "email;a@b.org\n"), (1, "email\ta@b.org\n"), (2, "sep=;\nemail;a@b.org\n")]
        {
            let table = rows_between(text.as_bytes(), Path::new("list.csv"), None).map_err(|fault| fault.message);
            let rows = recipients(table.unwrap().rows).into_iter().map(|row| (row.line, row.words));
            assert_eq!(rows.collect::<Vec<_>>(), want(line), "{text:?}");
        }
    }
}
