//! `onefold account import`.

use std::path::PathBuf;

use clap::Args;
use onefold_cli::input::{Encoding, Plain, ReadOptions};
use onefold_cli::output::count;
use onefold_proto::v1 as pb;

use super::{time, times};
use crate::client::{Client, Target, wire};
use crate::command::resolve::delimiter_of;
use crate::command::{Failure, by_hand, online, paint, say, say_json};

/// Rows of one message.
const MESSAGE_ROWS: usize = 1_000;
/// Faults that people are shown; JSON has all that the server told.
const FAULTS_SHOWN_MAX: usize = 50;
/// Columns that are read.
const COLUMNS: &[&str] = &["key", "name", "parent", "parent_source", "source", "owner", "kind", "domains", "since"];

#[derive(Args)]
pub struct Import {
    /// A CSV file with a header: `key` and `name`, and if wanted `parent` (the key of the account above), `parent_source`
    /// (where that is another's), `source`, `owner`, `kind` (organisation or household), `domains` (parted by blanks),
    /// `since`. What has no column stays as it is known; an empty cell empties it, and an empty `parent` is the top.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The source of rows that name none.
    #[arg(long, value_name = "NAME", default_value = "crm")]
    source: String,
    /// From when on the parents hold: 2026-04-01. Without it: always, for accounts that are new; from now on, for those that
    /// are known and have another.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only looks for faults.
    #[arg(long)]
    check: bool,
    /// utf-8, utf-16le, utf-16be or latin-1, instead of guessing.
    #[arg(long)]
    encoding: Option<Encoding>,
    /// One character, instead of guessing.
    #[arg(long)]
    delimiter: Option<char>,
    #[command(flatten)]
    target: Target,
}

pub fn run(import: &Import) -> Result<(), Failure> {
    let target = &import.target;
    let Read { rows, unread, untold_fields } = read(import)?;
    let start = pb::ImportHierarchyStart {
        parent: target.parent(),
        effective_time: times(import.from.as_ref())?,
        validate_only: import.check || !unread.is_empty(),
        untold_fields,
        ..Default::default()
    };
    let mut messages = vec![pb::ImportHierarchyRequest { start: Some(start), rows: Vec::new() }];
    messages
        .extend(rows.chunks(MESSAGE_ROWS).map(|rows| pb::ImportHierarchyRequest { start: None, rows: rows.to_vec() }));
    let sent = rows.len();
    online(async {
        let client = Client::connect(target).await?;
        // All of it or nothing is taken in, so the whole may be sent again.
        let mut done = client
            .ask(|| async { client.accounts().import_hierarchy(tokio_stream::iter(messages.clone())).await })
            .await?;
        done.faults.extend(unread.iter().map(|(line, what)| pb::ImportFault {
            line: *line,
            fault: Some(pb::Fault { field: "row".to_owned(), reason: "MALFORMED".to_owned(), message: what.clone() }),
        }));
        done.faults.sort_by_key(|fault| fault.line);
        if target.json {
            say_json(&wire::json("ImportHierarchyResponse", &done))?;
        } else {
            let paint = paint(&std::io::stdout());
            let first = pb::ImportHierarchyRequest {
                rows: rows.iter().take(1).cloned().collect(),
                ..messages.first().cloned().unwrap_or_default()
            };
            let call =
                wire::grpcurl(&client.address, "AccountService/ImportHierarchy", "ImportHierarchyRequest", &first);
            let mut text = String::new();
            for fault in done.faults.iter().take(FAULTS_SHOWN_MAX) {
                let told = fault.fault.clone().unwrap_or_default();
                text.push_str(&format!("{}:{}: {}: {}\n", import.file.display(), fault.line, told.field, told.message));
            }
            let more = done.faults.len().saturating_sub(FAULTS_SHOWN_MAX) + done.more_fault_count as usize;
            if more > 0 {
                text.push_str(&format!("and {} more faults\n", count(more as u64)));
            }
            if done.faults.is_empty() {
                let word = if import.check { "rows without a fault" } else { "accounts taken in" };
                let number = if import.check { sent as u64 } else { u64::from(done.account_count) };
                text.push_str(&format!("{} {word}\n", count(number)));
            }
            say(&(text + &by_hand(&call, paint)))?;
        }
        if done.faults.is_empty() {
            return Ok(());
        }
        let faults = done.faults.len() as u64 + u64::from(done.more_fault_count);
        let file = import.file.display();
        Err(Failure::new(format!("{file}: {} fault(s), nothing was taken in", count(faults))))
    })
}

/// A fault of a row, which the server never sees.
type Fault = (u32, String);

/// A file.
struct Read {
    /// Its rows. One with a fault is sent as far as it can be read, to be looked at: others may hang on it.
    rows: Vec<pb::ImportHierarchyRow>,
    /// What is wrong with them as rows of a file.
    unread: Vec<Fault>,
    /// What it has no column for: of accounts that are known that stays as it is.
    untold_fields: Vec<String>,
}

fn read(import: &Import) -> Result<Read, Failure> {
    let file = import.file.display();
    let fault = |line: u64, what: &str| Failure::usage(format!("{file}:{line}: {what}"));
    let bytes =
        std::fs::read(&import.file).map_err(|error| Failure::usage(format!("{file}: cannot be read: {error}")))?;
    let delimiter = import.delimiter.map(delimiter_of).transpose()?;
    let options = ReadOptions { encoding: import.encoding, delimiter };
    let table = Plain::read(&import.file, &bytes, &options).map_err(|error| Failure::usage(error.to_string()))?;
    for note in &table.notes {
        eprintln!("onefold: {file}: {note}");
    }
    let mut faults: Vec<Fault> = table.refused.into_iter().map(|one| (one.line as u32, one.reason)).collect();
    let mut table = table.rows.into_iter();
    let Some((at, header)) = table.next() else {
        return Err(fault(1, "there is no header that can be read"));
    };
    let stands = |known: &str| header.iter().filter(|title| title.eq_ignore_ascii_case(known)).count();
    let column = |name: &str| header.iter().position(|title| title.eq_ignore_ascii_case(name));
    let unknown = header.iter().find(|title| !COLUMNS.iter().any(|known| title.eq_ignore_ascii_case(known)));
    if let Some(unknown) = unknown {
        let what = format!("the column `{unknown}` has no meaning here; there are: {}", COLUMNS.join(", "));
        return Err(fault(at, &what));
    }
    if let Some(twice) = COLUMNS.iter().find(|known| stands(known) > 1) {
        return Err(fault(at, &format!("the column `{twice}` stands there {} times: keep one", stands(twice))));
    }
    let (Some(key), Some(name)) = (column("key"), column("name")) else {
        return Err(fault(at, "the header must name the columns `key` and `name`"));
    };
    let told_by =
        [("owner", "owner"), ("domains", "domains"), ("kind", "kind"), ("since", "start_time"), ("parent", "parent")];
    let untold = told_by.iter().filter(|(title, _)| column(title).is_none());
    let untold_fields = untold.map(|(_, field)| (*field).to_owned()).collect();
    let others = ["parent", "parent_source", "source", "owner", "kind", "domains", "since"].map(column);
    let mut rows = Vec::new();
    for (line, cells) in table {
        let line = line as u32;
        if cells.len() != header.len() {
            faults.push((line, format!("has {} columns, the header {}", cells.len(), header.len())));
        }
        let cell = |at: Option<usize>| at.and_then(|at| cells.get(at)).map(String::as_str).unwrap_or_default();
        let [parent, parent_source, source, owner, kind, domains, since] = others.map(cell);
        let source = if source.is_empty() { import.source.as_str() } else { source };
        let of = |source: &str, key: &str| pb::SourceRecord { source: source.to_owned(), key: key.to_owned() };
        let kind = match kind.to_ascii_lowercase().as_str() {
            "" | "organisation" | "organization" | "company" => pb::AccountKind::Organisation,
            "household" => pb::AccountKind::Household,
            _ => {
                faults.push((line, "kind: write organisation or household".to_owned()));
                pb::AccountKind::Organisation
            }
        };
        let above = if parent_source.is_empty() { source } else { parent_source };
        let parent = (!parent.is_empty()).then(|| of(above, parent));
        let start_time = match since {
            "" => None,
            since => time(since).map_err(|fault| faults.push((line, format!("since: {}", fault.message)))).ok(),
        };
        let account = pb::SourceAccount {
            record: Some(of(source, cell(Some(key)))),
            display_name: cell(Some(name)).to_owned(),
            kind: kind as i32,
            owner: owner.to_owned(),
            domains: domains.split([' ', ';']).filter(|domain| !domain.is_empty()).map(str::to_owned).collect(),
            start_time,
            ..Default::default()
        };
        rows.push(pb::ImportHierarchyRow { line, account: Some(account), parent });
    }
    if rows.is_empty() && faults.is_empty() {
        return Err(fault(1, "there is no row below the header"));
    }
    Ok(Read { rows, unread: faults, untold_fields })
}
