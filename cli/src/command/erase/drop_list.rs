//! Deletion lists of California's Delete Request and Opt-out Platform (Civil Code §1798.99.86): every 45 days a data broker
//! compares its records with hashes of identifiers, and answers each.
//!
//! A hash is base64(SHA-256(standard form)): of an e-mail address trimmed and in lower case, of a telephone number its last
//! ten digits, of an advertising or device id in lower case. Lists by name and birth date, or by vehicle, are not compared.
//! Several identifiers may have one hash (numbers of two countries with the same last ten digits): whoever holds any of them
//! is meant.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use onefold_cli::output::count;
use onefold_core::consent::rights::Opposed;
use onefold_proto::v1 as pb;
use onefold_proto::v1::watch_profiles_response::Message;

use super::Arguments;
use super::many::{Answer, Answers, Eraser, PATIENCE, read, rows, told, unread};
use crate::client::trouble::reason;
use crate::client::{Client, request_id_of};
use crate::command::{Failure, say};

/// Answers of the platform: deleted; opted out, since several hold the identifier; not found, which is so of an address too
/// at which an earlier erasure or objection is remembered and that nobody live holds.
const DELETED: &str = "3";
const OPTED_OUT: &str = "4";
const NOT_FOUND: &str = "5";

/// Digits by which the list knows a telephone.
const PHONE_DIGITS: usize = 10;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// What the column of the hashes is called, without case and punctuation: the platform's own says `Hash`.
const HASH_COLUMNS: [&str; 4] = ["hash", "hashed", "hashedvalue", "hashedidentifier"];
/// What else columns are called.
const COLUMNS: [&str; 8] = ["id", "workitem", "workitemid", "requestid", "email", "phone", "maid", "ctvid"];

type Hash = [u8; HASH_BYTES];

fn hash_of(standard: &str) -> Hash {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, standard.as_bytes()).as_ref());
    hash
}

/// The form in which the list hashes an identifier; none for kinds that it does not know.
fn standard(identifier: &pb::ProfileIdentifier) -> Option<String> {
    let value = identifier.value.trim().to_lowercase();
    match identifier.namespace.as_str() {
        "email" | "device_id" => Some(value),
        "phone" => {
            let digits: String = value.chars().filter(char::is_ascii_digit).collect();
            digits.len().checked_sub(PHONE_DIGITS).map(|from| digits[from..].to_owned())
        }
        _ => None,
    }
}

fn parsed(cell: &str) -> Option<Hash> {
    STANDARD.decode(cell).ok()?.try_into().ok()
}

/// Whether a row names the columns, so that nobody's row is passed over for want of a hash.
fn is_header(row: &[String]) -> bool {
    let plain = |cell: &str| cell.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let cells: Vec<String> = row.iter().filter(|cell| !cell.is_empty()).map(|cell| plain(cell)).collect();
    let is = |names: &[&str], cell: &String| names.contains(&cell.as_str());
    cells.iter().any(|cell| is(&HASH_COLUMNS, cell)) || cells.iter().all(|cell| is(&COLUMNS, cell))
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

/// Everybody live who holds an identifier of the list.
async fn matches(
    arguments: &Arguments,
    client: &Client,
    wanted: &HashMap<Hash, ()>,
) -> Result<HashMap<Hash, Match>, Failure> {
    let request = pb::WatchProfilesRequest {
        parent: arguments.target.parent(),
        snapshot: true,
        view: pb::ProfileView::Basic as i32,
        stop_at_end: true,
        ..Default::default()
    };
    let mut stream = client.ask(|| async { client.profiles().watch_profiles(request.clone()).await }).await?;
    let mut found: HashMap<Hash, Match> = HashMap::new();
    loop {
        let message = stream.message().await.map_err(|status| client.failed(&status))?;
        match message.and_then(|message| message.message) {
            Some(Message::Snapshot(profile)) => {
                for identifier in &profile.identifiers {
                    let Some(hash) = standard(identifier).map(|text| hash_of(&text)) else { continue };
                    if wanted.contains_key(&hash) {
                        let one = found.entry(hash).or_default();
                        one.identifiers.insert((identifier.namespace.clone(), identifier.value.clone()));
                        one.profiles.insert(profile.name.clone());
                    }
                }
            }
            Some(Message::SnapshotEnd(_)) => return Ok(found),
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

/// Says no to sale at every identifier with a hash that several hold; where one cannot be read, for each who holds it.
async fn opt_out(eraser: &Eraser<'_>, row: u64, of: &Match, purposes: &[String]) -> Result<(), Failure> {
    let mut unread = false;
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

/// What a run before this one answered, by hash: who was erased then is found no more.
fn answered_before(arguments: &Arguments) -> HashMap<Hash, (&'static str, String)> {
    let Some(file) = arguments.answers.as_ref().filter(|file| file.exists()) else { return HashMap::new() };
    // A run that was cut off may have left half a row: it is answered again.
    let Ok(read) = read(file).and_then(|bytes| rows(&bytes, file)) else { return HashMap::new() };
    let answer = |row: &Vec<String>| {
        let (hash, code) = (row.iter().find_map(|cell| parsed(cell))?, row.get(row.len().checked_sub(2)?)?);
        let code = [DELETED, OPTED_OUT].into_iter().find(|known| *known == code)?;
        Some((hash, (code, row.last()?.clone())))
    };
    read.rows.iter().filter_map(|(_, row)| answer(row)).collect()
}

/// Erases the one who holds identifiers with a hash. What names nobody to the server (a blocked value, one that it cannot
/// read) names them all the same to the platform: then by the profile.
async fn erase(eraser: &Eraser<'_>, line: u64, one: &Match) -> Result<(String, Answer), Failure> {
    let mut last = (String::new(), Answer::NothingHeld);
    for (at, subject) in one.identifiers().chain(one.profiles()).enumerate() {
        // A call about the row's first has the name that it always had.
        let mut hasher = blake3::Hasher::new_keyed(eraser.run.as_bytes());
        let run = if at == 0 { eraser.run } else { hasher.update(&at.to_le_bytes()).finalize() };
        last = Eraser { run, ..*eraser }.erase(line, subject).await?;
        if !matches!(last.1, Answer::NothingHeld | Answer::Failed(_)) {
            break;
        }
    }
    Ok(last)
}

/// Erases whom identifiers lead to, or opts out those who share them: the place of the answer among those that are counted,
/// its code, and the request.
async fn answer(
    eraser: &Eraser<'_>,
    line: u64,
    one: &Match,
    purposes: &[String],
) -> Result<(usize, &'static str, String), Failure> {
    let (request, done) = match one.profiles.len() {
        1 => erase(eraser, line, one).await?,
        _ => (String::new(), Answer::Shared),
    };
    Ok(match done {
        Answer::Erased => (0, DELETED, request),
        Answer::NothingHeld => (2, NOT_FOUND, request),
        Answer::Shared => {
            opt_out(eraser, line, one, purposes).await?;
            (1, OPTED_OUT, String::new())
        }
        Answer::Waits(_) | Answer::Failed(_) => (3, "", request),
    })
}

/// Answers a list.
pub async fn run(arguments: &Arguments, list: &Path) -> Result<(), Failure> {
    let bytes = read(list)?;
    let mut asked = Vec::new();
    let read = rows(&bytes, list)?;
    let unread = unread(&read, list);
    if !unread.is_empty() {
        return Err(Failure::usage(unread.join("\n")));
    }
    for (at, (line, row)) in read.rows.into_iter().enumerate() {
        match row.iter().find_map(|cell| parsed(cell)) {
            Some(hash) => asked.push((line, hash, row)),
            None if at == 0 && is_header(&row) => {}
            None => {
                let message = format!("{}:{line}: no cell is a base64 SHA-256", list.display());
                return Err(Failure::usage(message));
            }
        }
    }
    let client = Client::connect(&arguments.target).await?;
    let purposes = sale(arguments, &client).await?;
    let wanted: HashMap<Hash, ()> = asked.iter().map(|(_, hash, _)| (*hash, ())).collect();
    let found = matches(arguments, &client, &wanted).await?;
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
    let before = answered_before(arguments);
    let mut answers = Answers::open(arguments)?;
    let eraser = Eraser { client: &client, arguments, run: blake3::hash(&bytes) };
    let mut erased: HashMap<String, String> = HashMap::new();
    let mut counted = [("deleted", 0), ("opted out", 0), ("not found", 0), ("not answered", 0)];
    for (line, hash, row) in asked {
        let (place, code, request) = match found.get(&hash) {
            None => match before.get(&hash) {
                Some((code, request)) => (usize::from(*code == OPTED_OUT), *code, request.clone()),
                None => (2, NOT_FOUND, String::new()),
            },
            Some(one) => match one.profiles.iter().find_map(|profile| erased.get(profile)) {
                // By another row of the same person's.
                Some(request) if one.profiles.len() == 1 => (0, DELETED, request.clone()),
                _ => answer(&eraser, line, one, &purposes).await?,
            },
        };
        if let (DELETED, Some(one)) = (code, found.get(&hash)) {
            erased.extend(one.profiles.iter().map(|profile| (profile.clone(), request.clone())));
        }
        counted[place].1 += 1;
        let mut cells: Vec<&str> = row.iter().map(String::as_str).collect();
        cells.extend([code, request.as_str()]);
        answers.put(&cells)?;
    }
    told(arguments, &counted)?;
    match counted[3].1 {
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

    fn identifier(namespace: &str, value: &str) -> pb::ProfileIdentifier {
        pb::ProfileIdentifier { namespace: namespace.to_owned(), value: value.to_owned(), ..Default::default() }
    }

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
    fn hashes_are_those_of_the_platform() {
        let table = [
            ("phone", "+14155559317", Some("vGM7y5n+hBXRSEAklhHDPCbysyNgYTmXdMcagGUOY8E=")),
            ("phone", "12345", None),
            ("crm_id", "7", None),
        ];
        for (namespace, value, want) in table {
            let hash = standard(&identifier(namespace, value)).map(|text| STANDARD.encode(hash_of(&text)));
            assert_eq!(hash.as_deref(), want, "{namespace}");
        }
        let mail = standard(&identifier("email", " Ada@Example.org")).unwrap();
        assert_eq!(parsed(&STANDARD.encode(hash_of(&mail))), Some(hash_of("ada@example.org")));
        for bad in ["", "id", "vGM7y5n+hBXRSEAklhHDPCbysyNgYTmXdMcagGUOY8", "AAAA"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
