//! Deletion lists of California's Delete Request and Opt-out Platform (Civil Code §1798.99.86): every 45 days a data broker
//! compares its records with hashes of identifiers, and answers each.
//!
//! All six lists are compared, in the forms of [`standard`]: with live profiles, and those of one identifier also with what is held
//! outside them ([`found`]). Several identifiers may have one hash (numbers of two countries with the same last ten digits): whoever
//! holds any of them is meant.

mod answers;
mod found;
mod standard;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use onefold_cli::output::count;
use onefold_core::consent::rights::Opposed;
use onefold_proto::v1 as pb;
use prost::Message as _;

use self::answers::{Answered, Answers};
use self::found::{Found, Match};
use self::standard::{Hash, parsed};
use super::Arguments;
use super::many::{Answer, Eraser, PATIENCE, read, rows, told, unread};
use crate::client::trouble::reason;
use crate::client::{Client, request_id_of};
use crate::command::{Failure, say};

/// Answers of the platform: an officer refused, so the person is exempt; deleted; opted out, since several hold the identifier;
/// not found, which is so of an address too at which an earlier erasure is remembered, by keyed digest, and that nobody holds.
const EXEMPT: &str = "2";
const DELETED: &str = "3";
const OPTED_OUT: &str = "4";
const NOT_FOUND: &str = "5";

/// How often a list is compared: what one row's erasure took along is looked for again before it is told of another's.
const LOOKS_MAX: usize = 3;

/// What the column of the hashes is called, without case and punctuation: the platform's own says `Hash`.
const HASH_COLUMNS: [&str; 4] = ["hash", "hashed", "hashedvalue", "hashedidentifier"];
/// What the column of the work items is called: the platform's own says `ID`.
const ID_COLUMNS: [&str; 4] = ["id", "workitem", "workitemid", "requestid"];
/// What else columns are called.
const COLUMNS: [&str; 4] = ["email", "phone", "maid", "ctvid"];
/// The column that only the list of those has who took their request back.
const REMOVED_COLUMN: &str = "listtype";

/// What a column is called, without case and punctuation.
fn plain(cell: &str) -> String {
    cell.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// Whether a row names the columns, so that nobody's row is passed over for want of a hash.
fn is_header(row: &[String]) -> bool {
    let cells: Vec<String> = row.iter().filter(|cell| !cell.is_empty()).map(|cell| plain(cell)).collect();
    let is = |names: &[&str], cell: &String| names.contains(&cell.as_str());
    cells.iter().any(|cell| is(&HASH_COLUMNS, cell))
        || cells.iter().all(|cell| is(&ID_COLUMNS, cell) || is(&COLUMNS, cell))
}

/// A row of a list.
struct Row {
    line: u64,
    /// The work item.
    id: String,
    hash: Hash,
    /// The hash as the list writes it.
    cell: String,
}

/// The rows of a list.
fn asked(bytes: &[u8], list: &Path) -> Result<Vec<Row>, Failure> {
    let read = rows(bytes, list)?;
    let unread = unread(&read, list);
    if !unread.is_empty() {
        return Err(Failure::usage(unread.join("\n")));
    }
    let at_line = |line: u64, what: &str| Failure::usage(format!("{}:{line}: {what}", list.display()));
    let mut asked = Vec::new();
    let mut id_column = None;
    for (at, (line, row)) in read.rows.into_iter().enumerate() {
        let Some((column, hash)) = row.iter().enumerate().find_map(|(column, cell)| Some((column, parsed(cell)?)))
        else {
            if at > 0 || !is_header(&row) {
                return Err(at_line(line, "no cell is a base64 SHA-256"));
            }
            if row.iter().any(|cell| plain(cell) == REMOVED_COLUMN) {
                let what =
                    "is the list of those who took their request back: nobody of it is erased, and it is not answered";
                return Err(at_line(line, what));
            }
            id_column = row.iter().position(|cell| ID_COLUMNS.contains(&plain(cell).as_str()));
            continue;
        };
        let is_id = |at: &usize| *at != column && row.get(*at).is_some_and(|cell| !cell.is_empty());
        let Some(id) = id_column.filter(is_id).or_else(|| (0..row.len()).find(is_id)) else {
            return Err(at_line(line, "has no id of a work item beside its hash: the answer needs it"));
        };
        let (id, cell) = (row[id].clone(), row[column].clone());
        asked.push(Row { line, id, hash, cell });
    }
    Ok(asked)
}

/// The purposes that are sale or sharing.
async fn sale(arguments: &Arguments, client: &Client) -> Result<Vec<String>, Failure> {
    let request = pb::GetConsentPolicyRequest { parent: arguments.target.parent() };
    let got = client.ask(|| async { client.consent().get_consent_policy(request.clone()).await }).await?;
    let opposed = Opposed::SaleOrSharing;
    let is_sale = |purpose: &pb::ConsentPurpose| {
        let term = purpose.vocabulary_iri.rsplit(['#', '/', ':']).next().unwrap_or_default();
        opposed.terms().contains(&term) || opposed.names().contains(&purpose.name.as_str())
    };
    let purposes: Vec<String> =
        got.policy.unwrap_or_default().purposes.into_iter().filter(is_sale).map(|purpose| purpose.name).collect();
    if purposes.is_empty() {
        let message = "no purpose of the consent policy is sale or sharing: there is nothing to opt out of where several \
                       hold an identifier\nhint: give one of them the vocabulary_iri https://w3id.org/dpv#SellDataToThirdParties";
        return Err(Failure::new(message));
    }
    Ok(purposes)
}

/// Says no to sale for a subject.
async fn object(
    eraser: &Eraser<'_>,
    row: u64,
    subject: &pb::ConsentSubject,
    purpose: &str,
) -> Result<(), tonic::Status> {
    let client = eraser.client;
    let saying = pb::ConsentSaying {
        purpose: purpose.to_owned(),
        decision: pb::ConsentDecision::Objected as i32,
        jurisdiction: "US-CA".to_owned(),
        collection_method: "DROP list".to_owned(),
        ..Default::default()
    };
    let of = subject.encode_to_vec();
    let request = pb::RecordConsentRequest {
        parent: eraser.arguments.target.parent(),
        subject: Some(subject.clone()),
        saying: Some(saying),
        request_id: request_id_of(&[eraser.run.as_bytes(), &row.to_le_bytes(), purpose.as_bytes(), &of]),
    };
    client.ask_or(PATIENCE, || async { client.consent().record_consent(request.clone()).await }).await.map(drop)
}

/// Says no to sale at every identifier with a hash that several hold; where one cannot be read, or they have names in common
/// and no identifier, for each of them.
async fn opt_out(eraser: &Eraser<'_>, row: u64, of: &Match, purposes: &[String]) -> Result<(), Failure> {
    let mut unread = of.has_no_identifier();
    for purpose in purposes {
        for subject in of.identifiers() {
            match object(eraser, row, &subject, purpose).await {
                Err(status) if reason(&status) == "REQUEST_INVALID" => unread = true,
                done => done.map_err(|status| eraser.client.failed(&status))?,
            }
        }
        for subject in of.profiles().filter(|_| unread) {
            object(eraser, row, &subject, purpose).await.map_err(|status| eraser.client.failed(&status))?;
        }
    }
    Ok(())
}

/// Erases the one who holds identifiers with a hash, and what is held at others beside. What names nobody to the server (a blocked
/// value, one that it cannot read) names them all the same to the platform: then by the profile.
async fn erase(
    eraser: &Eraser<'_>,
    line: u64,
    one: &Match,
    begun: &mut impl FnMut(&pb::PrivacyRequest) -> Result<(), Failure>,
) -> Result<(String, Answer), Failure> {
    let mut left = (String::new(), Answer::NothingHeld);
    let live = one.of_live().map(|subject| (subject, false));
    for (at, (subject, is_held)) in live.chain(one.of_held().map(|subject| (subject, true))).enumerate() {
        if left.1 == Answer::Erased && !is_held {
            continue;
        }
        let mut hasher = blake3::Hasher::new_keyed(eraser.run.as_bytes());
        let run = match (is_held, at) {
            // What is held outside live profiles need not be the same in every run.
            (true, _) => hasher.update(&subject.encode_to_vec()).finalize(),
            // A call about the row's first has the name that it always had.
            (false, 0) => eraser.run,
            (false, at) => hasher.update(&at.to_le_bytes()).finalize(),
        };
        let done = Eraser { run, is_held, ..*eraser }.erase(line, subject, None, begun).await?;
        match done.1 {
            Answer::NothingHeld => {}
            Answer::Unreadable(_) if left.1 == Answer::Erased => {}
            Answer::Unreadable(_) => left = done,
            Answer::Erased if left.1 == Answer::Erased => {}
            Answer::Erased => left = done,
            // Above all a refusal: whoever an officer keeps is not erased under another name.
            _ => return Ok(done),
        }
    }
    Ok(left)
}

/// What an earlier run made of somebody who is found no more: answered then, or waiting for a second person and carried out
/// since, or gone with another request.
async fn since(eraser: &Eraser<'_>, line: u64, before: Option<&Answered>) -> Result<Answered, Failure> {
    use pb::PrivacyRequestState as State;
    let not_found = Answered { code: NOT_FOUND.to_owned(), request: String::new() };
    let Some(before) = before else { return Ok(not_found) };
    if [DELETED, OPTED_OUT].contains(&before.code.as_str()) {
        return Ok(before.clone());
    }
    if before.request.is_empty() {
        return Ok(not_found);
    }
    let Some(known) = eraser.request(&before.request).await? else { return Ok(not_found) };
    let code = match known.state() {
        State::Completed => DELETED,
        State::Refused | State::Cancelled => return Ok(not_found),
        // It is open: there was somebody when it was taken in.
        _ => match eraser.erase(line, pb::ConsentSubject::default(), Some(known), &mut |_| Ok(())).await?.1 {
            Answer::Erased | Answer::NothingHeld => DELETED,
            Answer::Refused(_) => EXEMPT,
            _ => "",
        },
    };
    Ok(Answered { code: code.to_owned(), ..before.clone() })
}

/// Erases whom identifiers and names lead to, or opts out those who share them.
async fn answer(
    eraser: &Eraser<'_>,
    line: u64,
    one: &Match,
    purposes: &[String],
    begun: &mut impl FnMut(&pb::PrivacyRequest) -> Result<(), Failure>,
) -> Result<Answered, Failure> {
    let (request, done) = match one.is_of_several() {
        false => erase(eraser, line, one, begun).await?,
        true => (String::new(), Answer::Shared),
    };
    let (code, request) = match done {
        Answer::Erased => (DELETED, request),
        Answer::Refused(_) => (EXEMPT, request),
        Answer::NothingHeld => (NOT_FOUND, request),
        Answer::Shared => {
            opt_out(eraser, line, one, purposes).await?;
            (OPTED_OUT, String::new())
        }
        Answer::Waits(_) | Answer::Failed(_) | Answer::Unreadable(_) => ("", request),
    };
    Ok(Answered { code: code.to_owned(), request })
}

/// A list while it is answered.
struct Run<'a> {
    eraser: Eraser<'a>,
    answers: Answers,
    found: Found,
    purposes: Vec<String>,
    /// Rows of one person: who is erased by the first of them is found by none of them any more.
    rows_of: HashMap<String, Vec<(String, String)>>,
    /// By another row of the same person's.
    decided: HashMap<String, Answered>,
}

/// What is known of a row.
enum Known {
    Answered(Answered),
    /// It was there when this began. It is gone, or was to go, with another row's: it is to be seen whether it did.
    ToBeSeen(Answered),
}

impl Run<'_> {
    async fn row(&mut self, row: &Row) -> Result<Known, Failure> {
        let before = self.answers.before(&row.id, &row.hash).cloned();
        let Some(one) = self.found.of.get(&row.hash) else {
            return since(&self.eraser, row.line, before.as_ref()).await.map(Known::Answered);
        };
        if one.is_held_alone()
            && let Some(before) = before
        {
            match before.code.as_str() {
                // Who was opted out while several held it stays so: what is held is that, too.
                OPTED_OUT => {
                    opt_out(&self.eraser, row.line, one, &self.purposes).await?;
                    return Ok(Known::Answered(before));
                }
                // What is left is of others.
                DELETED if one.is_of_several() => return Ok(Known::Answered(before)),
                _ => {}
            }
        }
        if !one.is_of_several()
            && let Some(answered) = one.persons.iter().rev().find_map(|person| self.decided.get(person))
        {
            let is_sure = !one.is_held_alone() || answered.code != DELETED;
            let answered = answered.clone();
            return Ok(if is_sure { Known::Answered(answered) } else { Known::ToBeSeen(answered) });
        }
        let answered = self.answer(row.line, &row.hash).await?;
        Ok(if answered.code == NOT_FOUND { Known::ToBeSeen(answered) } else { Known::Answered(answered) })
    }

    /// Erases or opts out whom a hash leads to.
    async fn answer(&mut self, line: u64, hash: &Hash) -> Result<Answered, Failure> {
        let Self { eraser, answers, found, purposes, rows_of, decided } = self;
        let Some(one) = found.of.get(hash) else { return since(eraser, line, None).await };
        let person = one.persons.first().filter(|_| !one.is_of_several());
        let rows = person.and_then(|person| rows_of.get(person)).map_or(&[][..], Vec::as_slice);
        let mut begun = |asked: &pb::PrivacyRequest| answers.begun(rows, &asked.name);
        let answered = answer(eraser, line, one, purposes, &mut begun).await?;
        if let Some(person) = person.filter(|_| !answered.request.is_empty() && answered.code != NOT_FOUND) {
            decided.insert(person.clone(), answered.clone());
        }
        Ok(answered)
    }

    /// Looks again for rows that are gone with others', or were to be.
    async fn look_again(&mut self, rows: &[&Row]) -> Result<(), Failure> {
        let wanted = rows.iter().map(|row| row.hash).collect();
        self.found = Found::look(self.eraser.arguments, self.eraser.client, &wanted).await?;
        self.rows_of = rows_of(rows, &self.found);
        self.decided.retain(|person, _| !found::is_held(person));
        Ok(())
    }

    /// A row that was there when this began, once it was looked for again: what is still held is erased by itself.
    async fn again(&mut self, row: &Row, before: &Answered) -> Result<Known, Failure> {
        match self.found.of.contains_key(&row.hash) {
            false => Ok(Known::Answered(Answered { code: DELETED.to_owned(), ..before.clone() })),
            true => self.row(row).await,
        }
    }
}

/// The rows of each person, with their hashes as the list writes them.
fn rows_of(rows: &[&Row], found: &Found) -> HashMap<String, Vec<(String, String)>> {
    let mut rows_of: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for row in rows {
        let one = found.of.get(&row.hash).filter(|one| !one.is_of_several());
        for person in one.into_iter().flat_map(|one| &one.persons) {
            rows_of.entry(person.clone()).or_default().push((row.id.clone(), row.cell.clone()));
        }
    }
    rows_of
}

/// What a list leads to, without a request.
fn look(asked: &[Row], found: &Found, wanted: usize) -> Result<(), Failure> {
    let several = found.of.values().filter(|one| one.is_of_several()).count();
    let held = found.of.values().filter(|one| one.is_held_alone() && !one.is_of_several()).count();
    say(&format!(
        "{} row(s): {} of one person each, {} that several hold, {} of nobody, {} held without a live profile (in quarantine, of \
         records that were taken back, by statements of consent)\nnothing is erased yet; --yes --answers FILE erases and opts out\n",
        count(asked.len() as u64),
        count((found.of.len() - several - held) as u64),
        count(several as u64),
        count((wanted - found.of.len()) as u64),
        count(held as u64)
    ))
}

/// Answers a list.
pub async fn run(arguments: &Arguments, list: &Path) -> Result<(), Failure> {
    let bytes = read(list)?;
    let asked = asked(&bytes, list)?;
    let client = Client::connect(&arguments.target).await?;
    let purposes = sale(arguments, &client).await?;
    let wanted: HashSet<Hash> = asked.iter().map(|row| row.hash).collect();
    let found = Found::look(arguments, &client, &wanted).await?;
    if found.over > 0 {
        let what =
            "person(s) go by so many names, birth dates, ZIP codes or vehicles that not all of them were compared";
        eprintln!("note: {} {what}", count(found.over));
    }
    if !arguments.yes {
        return look(&asked, &found, wanted.len());
    }
    let Some(file) = &arguments.answers else {
        return Err(Failure::usage("say with --answers FILE where to write what became of each row"));
    };
    let answers = Answers::open(file)?;
    let eraser = Eraser { client: &client, arguments, run: blake3::hash(&bytes), is_held: false };
    let rows_of = rows_of(&asked.iter().collect::<Vec<_>>(), &found);
    let mut run = Run { eraser, answers, found, purposes, rows_of, decided: HashMap::new() };
    let mut answered = vec![Answered::default(); asked.len()];
    let mut open: Vec<usize> = (0..asked.len()).collect();
    for look in 0..LOOKS_MAX {
        if look > 0 && !open.is_empty() {
            run.look_again(&open.iter().map(|at| &asked[*at]).collect::<Vec<_>>()).await?;
        }
        for at in std::mem::take(&mut open) {
            let row = &asked[at];
            let known = if look == 0 { run.row(row).await? } else { run.again(row, &answered[at]).await? };
            answered[at] = match known {
                Known::Answered(answered) => {
                    run.answers.put(&row.id, &row.cell, &answered)?;
                    answered
                }
                Known::ToBeSeen(answered) => {
                    open.push(at);
                    answered
                }
            };
        }
    }
    for at in open {
        // It is there, and nothing leads to it: that is no answer.
        answered[at].code.clear();
        run.answers.put(&asked[at].id, &asked[at].cell, &answered[at])?;
    }
    let mut counted = [("exempt", 0), ("deleted", 0), ("opted out", 0), ("not found", 0), ("not answered", 0)];
    for answered in &answered {
        let place = [EXEMPT, DELETED, OPTED_OUT, NOT_FOUND].iter().position(|code| *code == answered.code);
        counted[place.unwrap_or(counted.len() - 1)].1 += 1;
    }
    let codes = answered.iter().map(|answered| answered.code.as_str());
    run.answers.finish(asked.iter().map(|row| row.id.as_str()).zip(codes))?;
    told(arguments, &counted)?;
    match counted[4].1 {
        0 => Ok(()),
        open => {
            let what = "row(s) wait for a second person or failed: see the requests, and run it again";
            Err(Failure::new(format!("{} {what}", count(open))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_row_that_names_columns_is_taken_for_a_header() {
        let table: [(&[&str], bool); 8] = [
            (&["ID", "Hash"], true),
            (&["\u{feff}id", "hash"], true),
            (&["Work Item ID", "hashed_identifier"], true),
            (&["a", "vGM7y5n+hBXRSEAklhHDPCbysyNgYTmXdMcagGUOY8"], false),
            (&["a", "cleo@harbour-mail.net"], false),
            (&["17", ""], false),
            (&["email", "none"], false),
            (&["email"], true),
        ];
        for (row, want) in table {
            assert_eq!(is_header(&row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<String>>()), want, "{row:?}");
        }
    }

    #[test]
    fn a_row_is_its_work_item_and_its_hash() {
        let hash = "vGM7y5n+hBXRSEAklhHDPCbysyNgYTmXdMcagGUOY8E=";
        let ids = |text: &str| {
            let rows = asked(text.as_bytes(), Path::new("list.csv"));
            rows.map(|rows| rows.into_iter().map(|row| row.id).collect::<Vec<String>>()).map_err(|fault| fault.message)
        };
        for (text, want) in [
            (format!("ID,Hash\nA7kP2xQ9Lm4R,{hash}\n"), "A7kP2xQ9Lm4R"),
            (format!("Hash,ID\n{hash},A7kP2xQ9Lm4R\n"), "A7kP2xQ9Lm4R"),
            (format!("batch,ID,Hash\n7,A7kP2xQ9Lm4R,{hash}\n"), "A7kP2xQ9Lm4R"),
            (format!("A7kP2xQ9Lm4R,{hash}\n"), "A7kP2xQ9Lm4R"),
        ] {
            assert_eq!(ids(&text), Ok(vec![want.to_owned()]), "{text}");
        }
        assert_eq!(ids("ID,Hash\n"), Ok(vec![]), "a list of a day on which nobody asked");
        let table = [
            (format!("ID,Hash,ListType\nA7kP2xQ9Lm4R,{hash},Email\n"), "list.csv:1: is the list of those who took"),
            (format!("Hash\n{hash}\n"), "list.csv:2: has no id of a work item"),
            (format!("ID,Hash\nA7kP2xQ9Lm4R,{}\n", &hash[1..]), "list.csv:2: no cell is a base64 SHA-256"),
        ];
        for (text, want) in table {
            let fault = ids(&text).unwrap_err();
            assert!(fault.starts_with(want), "{fault}");
        }
    }
}
