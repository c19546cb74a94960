//! `onefold access`.

mod page;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use onefold_proto::v1 as pb;
use pb::stream_access_export_response::Part;
use tempfile::NamedTempFile;

use super::requests::{named, show};
use super::scope::{Taking, counts, records};
use super::{Failure, online, paint, say, say_json};
use crate::client::{Client, Target, wire};

/// Hands a person everything that is held about them (GDPR Art. 15), or what they provided (Art. 20).
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Takes in a request, verified, and shows what an export would hold. Hands over nothing.
    Start(Start),
    /// Shows what an export would hold.
    Preview {
        /// The request's number.
        number: String,
        #[command(flatten)]
        target: Target,
    },
    /// Writes what is held to a file, which completes the request.
    Export(Export),
}

#[derive(Args)]
struct Start {
    /// A namespace and a value (`email ada@example.com`), `record SOURCE KEY`, or `id PROFILE`.
    #[arg(required = true, num_args = 2..=3, value_name = "WHO")]
    words: Vec<String>,
    /// Only what the person provided, to take elsewhere.
    #[arg(long)]
    portability: bool,
    #[command(flatten)]
    taking: Taking,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Export {
    /// The request's number.
    number: String,
    /// The scope that its preview showed; without it the scope as it is now.
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
    /// The file to write, JSON.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Writes it as a page to read, too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// To whom it goes: one word.
    #[arg(long, value_name = "WORD", default_value = "subject")]
    recipient: String,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    online(async {
        match &arguments.verb {
            Verb::Start(start) => {
                let client = Client::connect(&start.target).await?;
                let kind = match start.portability {
                    true => pb::PrivacyRequestKind::Portability,
                    false => pb::PrivacyRequestKind::Access,
                };
                let name = start.taking.take_in(&client, &start.target, kind, &start.words).await?;
                preview(&client, &start.target, &name).await
            }
            Verb::Preview { number, target } => {
                preview(&Client::connect(target).await?, target, &named(target, number)).await
            }
            Verb::Export(export) => hand_over(export).await,
        }
    })
}

async fn previewed(client: &Client, name: &str) -> Result<pb::PreviewAccessExportResponse, Failure> {
    let request = pb::PreviewAccessExportRequest { name: name.to_owned() };
    client.ask(|| async { client.privacy().preview_access_export(request.clone()).await }).await
}

async fn preview(client: &Client, target: &Target, name: &str) -> Result<(), Failure> {
    let preview = previewed(client, name).await?;
    if target.json {
        return say_json(&wire::json("PreviewAccessExportResponse", &preview));
    }
    let mut text = paint(&std::io::stdout()).heading(&format!("{name} would hand over")) + "\n";
    text.push_str(&records(&preview.records));
    text.push_str(&format!(
        "  withheld, since others hold them too: {}\n  quarantined fragments: {}, consent statements: {} ({} more without their words, they were said of others too; {} at what others hold too are withheld)\n",
        counts(&preview.withheld),
        preview.quarantined,
        preview.statements,
        preview.statements_shared,
        preview.statements_withheld,
    ));
    let number = name.rsplit('/').next().unwrap_or_default();
    text.push_str(&format!(
        "\nnothing is handed over yet. To write exactly this:\n  onefold access export {number} --etag {} --out access.json --html access.html\n",
        preview.etag
    ));
    say(&text)
}

/// A file that is there whole or not at all, and for its owner alone.
fn draft(path: &Path) -> Result<NamedTempFile, Failure> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    NamedTempFile::new_in(above).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn keep(draft: NamedTempFile, path: &Path) -> Result<(), Failure> {
    let synced = draft.as_file().sync_all().and_then(|()| draft.persist(path).map(drop).map_err(|error| error.error));
    synced.map_err(|error| Failure::new(format!("{}: cannot be written: {error}", path.display())))
}

async fn hand_over(export: &Export) -> Result<(), Failure> {
    let target = &export.target;
    let client = Client::connect(target).await?;
    let name = named(target, &export.number);
    // Found out before anything is handed over and written down.
    let (mut file, mut html) = (draft(&export.out)?, export.html.as_deref().map(draft).transpose()?);
    let etag = match &export.etag {
        Some(etag) => etag.clone(),
        None => previewed(&client, &name).await?.etag,
    };
    let request = pb::StreamAccessExportRequest { name, etag, delivered_to: export.recipient.clone() };
    let mut pieces = client.ask(|| async { client.privacy().stream_access_export(request.clone()).await }).await?;
    let (mut hasher, mut ended) = (blake3::Hasher::new(), None);
    while let Some(message) = pieces.message().await.map_err(|status| client.failed(&status))? {
        match message.part {
            Some(Part::Json(piece)) => {
                hasher.update(&piece);
                file.write_all(&piece).map_err(|error| Failure::new(format!("{}: {error}", export.out.display())))?;
            }
            Some(Part::End(end)) => ended = Some(end),
            None => {}
        }
    }
    let end = ended.filter(|end| hasher.finalize().to_hex().as_str() == end.digest).ok_or_else(|| {
        Failure::new(
            "the export was cut off and no file is written; `onefold requests show` says whether it was completed",
        )
    })?;
    if let (Some(html), Some(path)) = (&mut html, &export.html) {
        let text = std::fs::read(file.path()).map_err(|error| Failure::new(error.to_string()))?;
        let held = serde_json::from_slice(&text).map_err(|error| Failure::new(error.to_string()))?;
        let page = page::of(&held);
        html.write_all(page.as_bytes()).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    }
    keep(file, &export.out)?;
    if let (Some(html), Some(path)) = (html, &export.html) {
        keep(html, path)?;
    }
    if target.json {
        return say_json(&wire::json("AccessExportEnd", &end));
    }
    let page = export.html.as_ref().map(|path| format!("\nto read: {}", path.display())).unwrap_or_default();
    let request = show(&end.request.unwrap_or_default());
    say(&format!("{request}written: {}, {} bytes{page}\n", export.out.display(), end.bytes))
}
