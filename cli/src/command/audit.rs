//! `onefold audit`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use onefold_server::audit;

use onefold_cli::output::{Side, Table, count};
use onefold_proto::v1 as pb;

use super::consent::{Who, time};
use super::{Failure, card, for_people, online, read_text, say};
use crate::client::{Client, PAGE_SIZE, Target};

/// Heads that one call takes along.
const KEPT_HEADS_MAX: usize = 1_000;
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
    /// Checks the whole log, the signed heads, the erasure ledger, every destroyed key and every receipt: of a data directory
    /// whose server is down, or, without DIR, of a server that runs, which goes on writing. Or one receipt, alone or against
    /// the log. Names the first thing that does not fit.
    Verify {
        /// The data directory of a server that is down; without it the server is asked.
        #[arg(value_name = "DIR")]
        data: Option<PathBuf>,
        /// A receipt.
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
        /// The public key of the installation, as `onefold requests policy` shows it. Without it, and without DIR, only
        /// that the receipt was not changed is known, not who gave it out.
        #[arg(long, value_name = "HEX")]
        key: Option<String>,
        /// A copy of DIR/heads/heads.jsonl that was kept elsewhere: shows a log that was cut back or rewritten since.
        #[arg(long, value_name = "FILE", conflicts_with = "receipt")]
        heads: Option<PathBuf>,
        /// The file of the root key, where it is kept outside the data directory.
        #[arg(long, value_name = "FILE")]
        root_key_file: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
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
    /// What officers and administrators decided that no request shows: who was let back in, by whom and on what ground, and
    /// every change of the privacy policy. From a server that runs.
    Decisions {
        /// Only who let this one back in: a namespace and a value (`email ada@example.com`), or `record SOURCE KEY`.
        #[arg(num_args = 2..=3, value_name = "WHO")]
        who: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
}

/// What was decided, in one line.
fn decided(decision: &pb::Decision) -> String {
    match &decision.what {
        Some(pb::decision::What::Readmission(back)) => {
            let digests: Vec<&str> = back.digests.iter().map(|digest| &digest[..digest.len().min(8)]).collect();
            let of = if digests.is_empty() { "nothing was suppressed".to_owned() } else { digests.join(" ") };
            format!("let back in by {}, because {}: {of}", back.by, back.ground)
        }
        Some(pb::decision::What::PrivacyPolicy(policy)) => format!(
            "privacy policy: second person {}; consumers that must confirm {}; reads {}; purpose required {}",
            yes_or_no(policy.second_person),
            policy.consumers.len(),
            policy.read_log().as_str_name().trim_start_matches("READ_LOG_MODE_").to_lowercase(),
            yes_or_no(policy.purpose_required)
        ),
        None => "of a later release".to_owned(),
    }
}

const fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

async fn decisions(target: &Target, who: &[String]) -> Result<(), Failure> {
    let subject = if who.is_empty() { None } else { Some(Who { words: who.to_vec() }.subject(target)?) };
    let client = Client::connect(target).await?;
    let mut request =
        pb::ListDecisionsRequest { parent: target.parent(), subject, page_size: PAGE_SIZE, page_token: String::new() };
    let mut all = pb::ListDecisionsResponse::default();
    loop {
        let page = client.ask(|| async { client.privacy().list_decisions(request.clone()).await }).await?;
        all.decisions.extend(page.decisions);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let Some(paint) = for_people(target, "ListDecisionsResponse", &all)? else { return Ok(()) };
    let mut table =
        Table::new(&[("sequence", Side::Right), ("time", Side::Left), ("caller", Side::Left), ("what", Side::Left)]);
    for decision in &all.decisions {
        table.row([
            decision.sequence.to_string(),
            card::time(decision.time.as_ref()),
            decision.caller.clone(),
            decided(decision),
        ]);
    }
    say(&if all.decisions.is_empty() { "no such decision is in the log\n".to_owned() } else { table.render(paint) })
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

/// Asks a server that runs to check its own log.
async fn verify_running(target: &Target, heads: Option<&Path>, key: Option<&str>) -> Result<(), Failure> {
    let kept = heads.map(audit::heads_of).transpose().map_err(|error| Failure::new(audit::explained(&error)))?;
    let kept = kept.unwrap_or_default();
    let signer = kept.first().map(|head| head.public_key.clone());
    // The newest stand for all before them: each is of one chain.
    let newest = kept.into_iter().rev().take(KEPT_HEADS_MAX).map(|head| pb::LogHead {
        segment: head.log.segment,
        offset: head.log.offset,
        chain: head.log.chain,
        signed_time: head.time,
    });
    let request = pb::VerifyLogRequest { kept_heads: newest.collect() };
    let client = Client::connect(target).await?;
    let mut stream = client.ask(|| async { client.audits().verify_log(request.clone()).await }).await?;
    let mut report = None;
    while let Some(message) = stream.message().await.map_err(|status| client.failed(&status))? {
        if let Some(pb::verify_log_response::Part::Report(found)) = message.part {
            report = Some(found);
        }
    }
    let Some(found) = report else { return Err(Failure::new("the check was cut off; ask again")) };
    if !found.fault.is_empty() {
        return Err(Failure::new(found.fault));
    }
    if signer.is_some_and(|signer| signer != found.public_key) {
        return Err(Failure::new("the heads that were kept are signed with another key than this server's"));
    }
    is_signed_with(key, &found.public_key)?;
    if for_people(target, "VerifyLogReport", &found)?.is_none() {
        return Ok(());
    }
    let head = found.head.unwrap_or_default();
    say(&whole(&audit::Audit {
        segments: found.segments,
        batches: found.batches,
        entries: found.entries,
        erasures: found.erasures,
        receipts: found.receipts,
        reads: found.reads,
        heads: found.heads,
        head_time: found.head_time,
        destroyed_keys: found.destroyed_keys,
        head: head.chain,
        end: (head.segment, head.offset),
        public_key: found.public_key,
    }))
}

/// That an installation signs with the key that the auditor knows, where they know one.
fn is_signed_with(key: Option<&str>, public_key: &str) -> Result<(), Failure> {
    match key {
        Some(key) if !key.eq_ignore_ascii_case(public_key) => {
            Err(Failure::new(format!("this installation signs with {public_key}, not with the key you gave")))
        }
        _ => Ok(()),
    }
}

/// What was found, when everything fits.
fn whole(found: &audit::Audit) -> String {
    format!(
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
    )
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (data, receipt, key, heads, root_key_file, target) = match &arguments.command {
        Command::Verify { data, receipt, key, heads, root_key_file, target } => {
            (data, receipt, key.as_deref(), heads.as_deref(), root_key_file, target)
        }
        Command::Decisions { who, target } => return online(decisions(target, who)),
        Command::Reads { profile, from, until, target } => {
            return online(reads(target, profile.as_deref(), (from.as_ref(), until.as_ref())));
        }
    };
    let failed = |error: audit::AuditError| {
        let hint = if error.is_in_use() { "\nhint: without DIR the server is asked to check its log" } else { "" };
        Failure::new(audit::explained(&error) + hint)
    };
    let root = root_key_file.as_deref();
    match (data, receipt) {
        (Some(data), None) => {
            let found = audit::verify(data, root, heads).map_err(failed)?;
            is_signed_with(key, &found.public_key)?;
            say(&whole(&found))
        }
        (Some(data), Some(file)) => {
            let receipt = audit::verify_receipt_in(data, root, file).map_err(failed)?;
            is_signed_with(key, &receipt.public_key)?;
            said(&receipt.words, "signed by this installation, and its places in the log are what they say")
        }
        (None, Some(file)) => {
            let text = read_text(file)?;
            let receipt = audit::verify_receipt(&text, key)
                .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
            let known = if key.is_some() { "signed with the key you gave" } else { "not changed since it was signed" };
            said(&receipt.words, &format!("{known} ({})", receipt.public_key))
        }
        (None, None) => online(verify_running(target, heads, key)),
    }
}

fn said(words: &[String], verdict: &str) -> Result<(), Failure> {
    say(&format!("the receipt holds: {verdict}\n{}\n", words.join("\n")))
}
