//! Deletion lists of California's Delete Request and Opt-out Platform (Civil Code §1798.99.86): every 45 days a data broker
//! compares its records with hashes of identifiers, and answers each.
//!
//! All six lists are compared, in the forms of [`standard`]. Several identifiers may have one hash (numbers of two countries
//! with the same last ten digits): whoever holds any of them is meant.

mod answers;
mod standard;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use onefold_cli::output::count;
use onefold_core::consent::rights::Opposed;
use onefold_proto::v1 as pb;
use onefold_proto::v1::watch_profiles_response::Message;

use self::answers::{Answered, Answers};
use self::standard::{Hash, hash_of, of_identifier, of_names, parsed};
use super::Arguments;
use super::many::{Answer, Eraser, PATIENCE, read, rows, told, unread};
use crate::client::trouble::reason;
use crate::client::{Client, request_id_of};
use crate::command::{Failure, say};

/// Answers of the platform: an officer refused, so the person is exempt; deleted; opted out, since several hold the identifier;
/// not found, which is so of an address too at which an earlier erasure or objection is remembered and that nobody live holds.
const EXEMPT: &str = "2";
const DELETED: &str = "3";
const OPTED_OUT: &str = "4";
const NOT_FOUND: &str = "5";

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

/// Who holds an identifier of the list.
#[derive(Default)]
struct Match {
    /// Namespace and value of all that have this hash.
    identifiers: BTreeSet<(String, String)>,
    profiles: BTreeSet<String>,
}

impl Match {
    fn identifiers(&self) -> impl Iterator<Item = pb::ConsentSubject> {
        self.identifiers.iter().map(|(namespace, value)| {
            let identifier = pb::Identifier { namespace: namespace.clone(), value: value.clone() };
            pb::ConsentSubject { subject: Some(pb::consent_subject::Subject::Identifier(identifier)) }
        })
    }

    fn profiles(&self) -> impl Iterator<Item = pb::ConsentSubject> {
        let subject = |name: &String| pb::consent_subject::Subject::Profile(name.clone());
        self.profiles.iter().map(move |name| pb::ConsentSubject { subject: Some(subject(name)) })
    }
}

/// Everybody live who holds an identifier of the list, or is called as it says; and how many say so much of themselves that
/// not all of it was compared.
async fn matches(
    arguments: &Arguments,
    client: &Client,
    wanted: &HashMap<Hash, ()>,
) -> Result<(HashMap<Hash, Match>, u64), Failure> {
    let request = pb::WatchProfilesRequest {
        parent: arguments.target.parent(),
        snapshot: true,
        // Names that lost to others are names.
        view: pb::ProfileView::Full as i32,
        stop_at_end: true,
        ..Default::default()
    };
    let mut stream = client.ask(|| async { client.profiles().watch_profiles(request.clone()).await }).await?;
    let (mut found, mut over): (HashMap<Hash, Match>, u64) = (HashMap::new(), 0);
    loop {
        let message = stream.message().await.map_err(|status| client.failed(&status))?;
        match message.and_then(|message| message.message) {
            Some(Message::Snapshot(profile)) => {
                for identifier in &profile.identifiers {
                    let standard = of_identifier(&identifier.namespace, &identifier.value);
                    let Some(hash) = standard.map(|text| hash_of(&text)) else { continue };
                    if wanted.contains_key(&hash) {
                        let one = found.entry(hash).or_default();
                        one.identifiers.insert((identifier.namespace.clone(), identifier.value.clone()));
                        one.profiles.insert(profile.name.clone());
                    }
                }
                let (hashes, is_over) = of_names(&profile);
                over += u64::from(is_over);
                for hash in hashes.into_iter().filter(|hash| wanted.contains_key(hash)) {
                    found.entry(hash).or_default().profiles.insert(profile.name.clone());
                }
            }
            Some(Message::SnapshotEnd(_)) => return Ok((found, over)),
            Some(_) => {}
            None => return Err(Failure::new("the profiles ended before their end; run it again")),
        }
    }
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
    use prost::Message as _;
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
    let mut unread = of.identifiers.is_empty();
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

/// Erases the one who holds identifiers with a hash. What names nobody to the server (a blocked value, one that it cannot
/// read) names them all the same to the platform: then by the profile.
async fn erase(
    eraser: &Eraser<'_>,
    line: u64,
    one: &Match,
    begun: &mut impl FnMut(&pb::PrivacyRequest) -> Result<(), Failure>,
) -> Result<(String, Answer), Failure> {
    let mut left = (String::new(), Answer::NothingHeld);
    for (at, subject) in one.identifiers().chain(one.profiles()).enumerate() {
        // A call about the row's first has the name that it always had.
        let mut hasher = blake3::Hasher::new_keyed(eraser.run.as_bytes());
        let run = if at == 0 { eraser.run } else { hasher.update(&at.to_le_bytes()).finalize() };
        let done = Eraser { run, ..*eraser }.erase(line, subject, None, begun).await?;
        match done.1 {
            Answer::NothingHeld => {}
            Answer::Unreadable(_) => left = done,
            // Above all a refusal: whoever an officer keeps is not erased under another name.
            _ => return Ok(done),
        }
    }
    Ok(left)
}

/// What an earlier run made of somebody who is found no more: answered then, or waiting for a second person and carried out
/// since.
async fn since(eraser: &Eraser<'_>, before: Option<&Answered>) -> Result<Answered, Failure> {
    let not_found = Answered { code: NOT_FOUND.to_owned(), request: String::new() };
    let Some(before) = before else { return Ok(not_found) };
    if [DELETED, OPTED_OUT].contains(&before.code.as_str()) {
        return Ok(before.clone());
    }
    if before.request.is_empty() {
        return Ok(not_found);
    }
    let (client, request) = (eraser.client, pb::GetPrivacyRequestRequest { name: before.request.clone() });
    let known = client.ask(|| async { client.privacy().get_privacy_request(request.clone()).await }).await?;
    let is_done = known.request.is_some_and(|known| known.state() == pb::PrivacyRequestState::Completed);
    Ok(if is_done { Answered { code: DELETED.to_owned(), ..before.clone() } } else { not_found })
}

/// Erases whom identifiers and names lead to, or opts out those who share them.
async fn answer(
    eraser: &Eraser<'_>,
    line: u64,
    one: &Match,
    purposes: &[String],
    begun: &mut impl FnMut(&pb::PrivacyRequest) -> Result<(), Failure>,
) -> Result<Answered, Failure> {
    let (request, done) = match one.profiles.len() {
        1 => erase(eraser, line, one, begun).await?,
        _ => (String::new(), Answer::Shared),
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

/// Answers a list.
pub async fn run(arguments: &Arguments, list: &Path) -> Result<(), Failure> {
    let bytes = read(list)?;
    let asked = asked(&bytes, list)?;
    let client = Client::connect(&arguments.target).await?;
    let purposes = sale(arguments, &client).await?;
    let wanted: HashMap<Hash, ()> = asked.iter().map(|row| (row.hash, ())).collect();
    let (found, over) = matches(arguments, &client, &wanted).await?;
    if over > 0 {
        let what =
            "person(s) go by so many names, birth dates, ZIP codes or vehicles that not all of them were compared";
        eprintln!("note: {} {what}", count(over));
    }
    if !arguments.yes {
        let alone = found.values().filter(|one| one.profiles.len() == 1).count();
        return say(&format!(
            "{} row(s): {} of one person each, {} that several hold, {} of nobody\nnothing is erased yet; \
             --yes --answers FILE erases and opts out\n",
            count(asked.len() as u64),
            count(alone as u64),
            count((found.len() - alone) as u64),
            count((wanted.len() - found.len()) as u64)
        ));
    }
    let Some(file) = &arguments.answers else {
        return Err(Failure::usage("say with --answers FILE where to write what became of each row"));
    };
    let mut answers = Answers::open(file)?;
    let eraser = Eraser { client: &client, arguments, run: blake3::hash(&bytes) };
    // Rows of one person: who is erased by the first of them is found by none of them any more.
    let mut rows_of: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for row in &asked {
        if let Some(one) = found.get(&row.hash).filter(|one| one.profiles.len() == 1) {
            let names = one.profiles.iter().cloned();
            names.for_each(|name| rows_of.entry(name).or_default().push((row.id.clone(), row.cell.clone())));
        }
    }
    // By another row of the same person's.
    let mut decided: HashMap<String, Answered> = HashMap::new();
    let mut counted = [("exempt", 0), ("deleted", 0), ("opted out", 0), ("not found", 0), ("not answered", 0)];
    for Row { line, id, hash, cell } in asked {
        let answered = match found.get(&hash) {
            None => since(&eraser, answers.before(&id, &hash)).await?,
            Some(one) => match one.profiles.iter().find_map(|profile| decided.get(profile)) {
                Some(answered) if one.profiles.len() == 1 => answered.clone(),
                _ => {
                    let rows =
                        one.profiles.first().and_then(|profile| rows_of.get(profile)).map_or(&[][..], Vec::as_slice);
                    let mut begun = |asked: &pb::PrivacyRequest| answers.begun(rows, &asked.name);
                    answer(&eraser, line, one, &purposes, &mut begun).await?
                }
            },
        };
        if let Some(one) = found.get(&hash).filter(|one| one.profiles.len() == 1 && !answered.request.is_empty()) {
            decided.extend(one.profiles.iter().map(|profile| (profile.clone(), answered.clone())));
        }
        let place = [EXEMPT, DELETED, OPTED_OUT, NOT_FOUND].iter().position(|code| *code == answered.code);
        counted[place.unwrap_or(counted.len() - 1)].1 += 1;
        answers.put(&id, &cell, &answered)?;
    }
    answers.finish()?;
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
