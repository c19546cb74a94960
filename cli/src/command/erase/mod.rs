//! `onefold erase`: one person; [`many`] of a file; those of a [`drop_list`]. The [`eraser`] carries out each of many, and a
//! [`log`] keeps which requests they led to.

mod drop_list;
mod eraser;
mod log;
pub mod many;

use std::path::PathBuf;

use clap::Args;
use onefold_proto::v1 as pb;

use super::requests::{named, show};
use super::scope::{Taking, USUAL_LAW, counts, records};
use super::whole::write_text;
use super::{Failure, online, paint, say, say_json};
use crate::client::{Client, Target, request_id, wire};

/// Erases a person: shows what it would touch, and with `--yes` does it and writes the receipt.
///
/// Without `--yes` a request is taken in, verified and previewed, and nothing is erased; what is printed last carries it
/// out.
#[derive(Args)]
#[command(
    override_usage = "onefold erase [OPTIONS] WHO\n       onefold erase [OPTIONS] --request NUMBER --etag ETAG --yes\n       \
                      onefold erase [OPTIONS] --file FILE --answers FILE --yes\n       \
                      onefold erase [OPTIONS] --drop LIST --answers FILE --yes"
)]
pub struct Arguments {
    /// A namespace and a value (`email ada@example.com`), `record SOURCE KEY`, or `id PROFILE`.
    #[arg(num_args = 2..=3, value_name = "WHO", required_unless_present_any = ["request", "file", "drop"])]
    words: Vec<String>,
    /// Goes on with a request that was taken in before.
    #[arg(long, value_name = "NUMBER", conflicts_with = "words")]
    request: Option<String>,
    /// The scope that its preview showed; without it the scope as it is now.
    #[arg(long, value_name = "ETAG", requires = "request")]
    etag: Option<String>,
    /// Erases everybody of a file (CSV): a row a person, in the words of WHO. Running it again goes on where it was.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["words", "request", "drop"])]
    file: Option<PathBuf>,
    /// Answers a deletion list of California's DROP (CSV, `ID,Hash`), of any of its six kinds: e-mail, phone, MAID, CTVID, name
    /// with birth date and ZIP code, name with VIN.
    #[arg(long, value_name = "LIST", conflicts_with_all = ["words", "request"])]
    drop: Option<PathBuf>,
    /// Writes what became of each row to this file (CSV). For a list of DROP it is what the platform takes (`Id,Status`). Which
    /// requests stand behind the rows is in FILE.log, which a later run reads.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    #[command(flatten)]
    taking: Taking,
    /// Erases.
    #[arg(long)]
    yes: bool,
    /// Shows of each identifier, too, which records in scope hold it.
    #[arg(long)]
    evidence: bool,
    /// Writes the receipt to this file; without it, to standard output.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// The law that California's platform acts under.
const DROP_LAW: &str = "CCPA";

impl Arguments {
    /// The law that the requests are under.
    fn law(&self) -> &str {
        self.taking.law(if self.drop.is_some() { DROP_LAW } else { USUAL_LAW })
    }
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match (&arguments.file, &arguments.drop) {
        (Some(file), _) => online(many::run(arguments, file)),
        (None, Some(list)) => online(drop_list::run(arguments, list)),
        (None, None) => online(erase(arguments)),
    }
}

async fn erase(arguments: &Arguments) -> Result<(), Failure> {
    let target = &arguments.target;
    let client = Client::connect(target).await?;
    let name = match &arguments.request {
        Some(number) => named(target, number),
        None => arguments.taking.take_in(&client, target, pb::PrivacyRequestKind::Erasure, &arguments.words).await?,
    };
    let request = pb::PreviewErasureRequest { name: name.clone() };
    let preview = client.ask(|| async { client.privacy().preview_erasure(request.clone()).await }).await?;
    let etag = arguments.etag.clone().unwrap_or_else(|| preview.etag.clone());
    if !arguments.yes {
        if target.json {
            return say_json(&wire::json("PreviewErasureResponse", &preview));
        }
        let number = name.rsplit('/').next().unwrap_or_default();
        let how = format!(
            "\nnothing is erased yet. To erase exactly this:\n  onefold erase --request {number} --etag {etag} --yes\n\
             The request is open until then; to take it back:\n  onefold requests cancel {number} --ground WORD\n"
        );
        return say(&(previewed(&name, &preview, arguments.evidence) + &how));
    }
    let request = pb::ExecuteErasureRequest { name: name.clone(), etag, request_id: request_id() };
    let done = client.ask(|| async { client.privacy().execute_erasure(request.clone()).await }).await?;
    let request = pb::GetErasureReceiptRequest { name };
    let receipt = client.ask(|| async { client.privacy().get_erasure_receipt(request.clone()).await }).await?;
    if !target.json {
        say(&show(&done.request.unwrap_or_default()))?;
    }
    match &arguments.receipt {
        Some(file) => {
            write_text(file, &(receipt.receipt_json + "\n"))?;
            if target.json { Ok(()) } else { say(&format!("receipt: {}\n", file.display())) }
        }
        None => say(&(receipt.receipt_json + "\n")),
    }
}

/// A preview for people.
fn previewed(name: &str, preview: &pb::PreviewErasureResponse, evidence: bool) -> String {
    let paint = paint(&std::io::stdout());
    let mut text = paint.heading(&format!("{name} would erase")) + "\n" + &records(&preview.records);
    text.push_str(&format!(
        "  identifiers of this person alone, suppressed from then on: {}\n",
        counts(&preview.suppressed)
    ));
    text.push_str(&format!("  identifiers that others hold too, not suppressed: {}\n", counts(&preview.shared)));
    if preview.older_versions_of > 0 {
        text.push_str(&format!(
            "  records that are somebody else's today, and lose their older versions: {}\n",
            preview.older_versions_of
        ));
    }
    if evidence {
        text.push_str(&identifiers(preview));
    }
    text.push_str(&format!(
        "  quarantined fragments: {}, consent statements: {} ({} stay, they stand at others too), keys: {}\n",
        preview.quarantined, preview.statements, preview.statements_kept, preview.keys
    ));
    if !preview.accounts.is_empty() {
        text.push_str(&format!("  accounts, all that was told of them: {}\n", preview.accounts.join(", ")));
    }
    text
}

/// Each identifier, a line with its evidence.
fn identifiers(preview: &pb::PreviewErasureResponse) -> String {
    let records = |of: &[u32]| {
        let names = of.iter().filter_map(|at| preview.records.get(*at as usize));
        let names: Vec<String> = names.map(|record| format!("{} {}", record.source, record.key)).collect();
        names.join(", ")
    };
    let line = |one: &pb::ScopedIdentifier| {
        let mut why: Vec<String> = Vec::new();
        if !one.held_by.is_empty() {
            why.push(format!("held by {}", records(&one.held_by)));
        }
        if !one.once_held_by.is_empty() {
            why.push(format!("held once by {}", records(&one.once_held_by)));
        }
        if one.named {
            why.push("named by the request".to_owned());
        }
        let fate = match one.fate.as_str() {
            "SUPPRESSED" => "suppressed",
            "HELD_BY_OTHERS" => "others hold it too",
            _ => "names nobody",
        };
        format!("    {}, {fate}: {}\n", one.namespace, why.join("; "))
    };
    preview.identifiers.iter().map(line).collect()
}
