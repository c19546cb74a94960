//! `onefold audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use onefold_server::audit;

use onefold_cli::output::{Side, Table, count};
use onefold_proto::v1 as pb;

use super::consent::time;
use super::{Failure, card, for_people, online, read_text, say};
use crate::client::{Client, PAGE_SIZE, Target};

/// Profiles that one line shows.
const PROFILES_SHOWN: usize = 3;

/// An auditor's checks, without a server; and who read what, from one.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks the whole log of a data directory whose server is down, the signed heads, the erasure ledger, every destroyed key and every
    /// receipt; or one receipt, alone or against the log. Names the first thing that does not fit.
    Verify {
        /// The data directory.
        #[arg(value_name = "DIR", required_unless_present = "receipt")]
        data: Option<PathBuf>,
        /// A receipt.
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
        /// The public key of the installation, as `onefold requests policy` shows it. Without it, and without DIR, only
        /// that the receipt was not changed is known, not who gave it out.
        #[arg(long, value_name = "HEX", requires = "receipt")]
        key: Option<String>,
        /// A copy of DIR/heads/heads.jsonl that was kept elsewhere: shows a log that was cut back or rewritten since.
        #[arg(long, value_name = "FILE", requires = "data")]
        heads: Option<PathBuf>,
        /// The file of the root key, where it is kept outside the data directory.
        #[arg(long, value_name = "FILE")]
        root_key_file: Option<PathBuf>,
    },
    /// Who was shown personal data: when, through which call, what for. From a server that runs.
    Reads {
        /// Only reads of this profile, under whatever id it had then.
        #[arg(long, value_name = "PROFILE")]
        profile: Option<String>,
        /// Only reads from this moment on, e.g. 2026-03-01T12:00:00Z.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Only reads before this moment.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

async fn reads(
    target: &Target,
    profile: Option<&str>,
    (from, until): (Option<&String>, Option<&String>),
) -> Result<(), Failure> {
    let client = Client::connect(target).await?;
    let mut request = pb::ListReadsRequest {
        parent: target.parent(),
        profile: profile.map(|profile| target.profile(profile)).transpose()?.unwrap_or_default(),
        from_time: time(from)?,
        until_time: time(until)?,
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    let mut all = pb::ListReadsResponse::default();
    loop {
        let page = client.ask(|| async { client.privacy().list_reads(request.clone()).await }).await?;
        all.reads.extend(page.reads);
        (all.missed, all.noting) = (page.missed, page.noting);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let Some(paint) = for_people(target, "ListReadsResponse", &all)? else { return Ok(()) };
    let mut table = Table::new(&[
        ("until", Side::Left),
        ("reader", Side::Left),
        ("call", Side::Left),
        ("purpose", Side::Left),
        ("reads", Side::Right),
        ("profiles", Side::Left),
    ]);
    for read in &all.reads {
        let names: Vec<&str> = read.profiles.iter().take(PROFILES_SHOWN).map(|one| card::short(&one.profile)).collect();
        let more = read.profiles.len().saturating_sub(PROFILES_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        table.row([
            card::time(read.until_time.as_ref()),
            read.reader.clone(),
            read.call.clone(),
            read.purpose.clone(),
            count(read.count),
            names.join(" ") + &more,
        ]);
    }
    let mut text = if all.reads.is_empty() { "no read is noted\n".to_owned() } else { table.render(paint) };
    if !all.noting {
        text.push_str("reads are not noted now: `onefold requests policy --read-log on` has them noted\n");
    }
    if all.missed > 0 {
        text.push_str(&format!("missed since the server's start, for the log could not be written: {}\n", all.missed));
    }
    say(&text)
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (data, receipt, key, heads, root_key_file) = match &arguments.command {
        Command::Verify { data, receipt, key, heads, root_key_file } => (data, receipt, key, heads, root_key_file),
        Command::Reads { profile, from, until, target } => {
            return online(reads(target, profile.as_deref(), (from.as_ref(), until.as_ref())));
        }
    };
    let root = root_key_file.as_deref();
    match (data, receipt) {
        (Some(data), None) => {
            let found = audit::verify(data, root, heads.as_deref()).map_err(|error| Failure::new(explained(&error)))?;
            say(&format!(
                "the log is whole: {} entries in {} batches, {} segments; head {}\n\
                 signed heads: {}, all in the log, the newest of {}\n\
                 erasures: {}, all in the ledger; destroyed keys: {}, all gone; receipts: {}, all signed here and in the log\n\
                 reads: {} entries, in logs that are whole and hold every end that the log knows\n\
                 receipts are signed with {}\n",
                found.entries,
                found.batches,
                found.segments,
                found.head,
                found.heads,
                if found.heads == 0 { "never" } else { &found.head_time },
                found.erasures,
                found.destroyed_keys,
                found.receipts,
                found.reads,
                found.public_key
            ))
        }
        (Some(data), Some(file)) => {
            let receipt =
                audit::verify_receipt_in(data, root, file).map_err(|error| Failure::new(explained(&error)))?;
            said(&receipt.words, "signed by this installation, and its places in the log are what they say")
        }
        (None, Some(file)) => {
            let text = read_text(file)?;
            let receipt = audit::verify_receipt(&text, key.as_deref())
                .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
            let known = if key.is_some() { "signed with the key you gave" } else { "not changed since it was signed" };
            said(&receipt.words, &format!("{known} ({})", receipt.public_key))
        }
        (None, None) => Err(Failure::usage("name a data directory, or a receipt")),
    }
}

fn said(words: &[String], verdict: &str) -> Result<(), Failure> {
    say(&format!("the receipt holds: {verdict}\n{}\n", words.join("\n")))
}

fn explained(error: &audit::AuditError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
