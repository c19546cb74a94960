//! `onefold import`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{ArgAction, Args};
use indicatif::{ProgressBar, ProgressStyle};
use onefold_cli::input::mapping::{Mapping, MappingFile, Role};
use onefold_cli::input::{Encoding, ReadOptions};
use onefold_cli::output::{Paint, count};
use onefold_cli::resolve::{Input, OpenOptions, open, report};
use onefold_core::namespace::{self, Namespace, NamespaceClass, Normaliser};
use onefold_proto::v1 as pb;
use tokio::sync::mpsc;

use super::resolve::delimiter_of;
use super::{Failure, by_hand, online, paint, say, say_json};
use crate::client::{Client, Target, request_id, wire};
use crate::clock::Stopwatch;
use crate::ingest::rows::{self, Reading, RowOptions};
use crate::ingest::stream::Upload;
use crate::ingest::tally::Tally;
use crate::ingest::{ROWS_WAITING_MAX, Row};

/// How often the bar looks where the reader is.
const BEAT: Duration = Duration::from_millis(100);

/// Streams the rows of files to a server. Importing the same files again does no harm: what is known is a duplicate, what
/// was corrected supersedes. Ends with 1 when any row was rejected.
#[derive(Args)]
pub struct Arguments {
    /// CSV, TSV or JSON lines (plain, Segment-style, Debezium); `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The source of every row; otherwise the file's source column, or the file's name.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// What the columns mean, as TOML or JSON; see --print-mapping.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Prints the mapping that would be used, to be edited, and stops.
    #[arg(long)]
    print_mapping: bool,
    /// Makes the sources, and the namespaces of the mapping, that the tenant does not have.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    create_sources: bool,
    /// How long to go on when the connection breaks and nothing goes forward.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    retry_seconds: u64,
    /// utf-8, utf-16le, utf-16be or latin-1, instead of guessing.
    #[arg(long)]
    encoding: Option<Encoding>,
    /// One character, instead of guessing.
    #[arg(long)]
    delimiter: Option<char>,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = OpenOptions {
        read: ReadOptions {
            encoding: arguments.encoding,
            delimiter: arguments.delimiter.map(delimiter_of).transpose()?,
        },
        truth: None,
        mapping: arguments.mapping.clone(),
    };
    let mut inputs = open::open(&arguments.files, &options)?;
    match &arguments.source {
        Some(source) => rows::one_source(&mut inputs, source),
        None => each_of_one_source(&inputs)?,
    }
    if arguments.print_mapping {
        let mappings: Vec<(String, &Mapping)> =
            inputs.iter().map(|input| (input.name.clone(), &input.mapping)).collect();
        return say(&MappingFile::print(&mappings));
    }
    let paint = paint(&std::io::stdout());
    if !arguments.target.json {
        for input in &inputs {
            say(&report::file(input).render(paint))?;
            say(&notes(input, paint))?;
        }
    }
    online(import(arguments, inputs, paint))
}

/// The server remembers: what source a row is of must not hang on which other files are named beside its own.
fn each_of_one_source(inputs: &[Input]) -> Result<(), Failure> {
    let unclear = |input: &&Input| input.numbered && input.mapping.column_of(&Role::Source).is_none();
    let Some(input) = inputs.iter().find(unclear) else { return Ok(()) };
    Err(Failure::usage(format!(
        "two files are named {name}: are their rows of one source, or of two?\nhint: `--source NAME` says the source of all; `source = \"NAME\"` under `[file.\"FOLDER/{name}\"]` in a mapping that of one",
        name = input.name
    )))
}

/// What to know about keys and times before rows go out.
fn notes(input: &Input, paint: Paint) -> String {
    let mut notes = String::new();
    let mut note = |text: String| notes.push_str(&format!("  {}\n", paint.faint(&text)));
    // JSON lines may name key and time in their envelope.
    let table = matches!(input.reader.format(), onefold_cli::input::Format::Separated { .. });
    if table && input.mapping.column_of(&Role::RecordId).is_none() {
        note(format!(
            "no record id column: a row's key is its place, as in {}:2; it stays while file name and order of rows stay",
            input.name
        ));
    }
    if table && input.mapping.column_of(&Role::ObservedAt).is_none() {
        note(if input.name == "stdin" {
            "no time column: rows count as observed when they arrive".to_owned()
        } else {
            "no time column: rows count as observed when the file was last changed".to_owned()
        });
    }
    notes
}

async fn import(arguments: &Arguments, inputs: Vec<Input>, paint: Paint) -> Result<(), Failure> {
    let target = &arguments.target;
    let client = Client::connect(target).await?;
    let made = namespaces(&client, target, &inputs, arguments.create_sources).await?;
    if !target.json {
        for name in &made {
            say(&format!(
                "  made the namespace {name}: identifying, letters and digits compared unless the mapping says otherwise\n"
            ))?;
        }
    }
    let files: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
    // For naming only: the rules of linking are the server's.
    let config = open::tenant(&inputs, None);
    let size = inputs.iter().map(|input| input.reader.size()).sum::<Option<u64>>();
    let watch = Stopwatch::start();
    let reading = Arc::new(Reading::default());
    let (to_stream, mut from_reader) = mpsc::channel::<Row>(ROWS_WAITING_MAX);
    let options = RowOptions { source: arguments.source.clone() };
    let reader = {
        let reading = Arc::clone(&reading);
        tokio::task::spawn_blocking(move || rows::read(inputs, config, &options, &to_stream, &reading))
    };
    let bar = progress(size);
    // Answers move the bar's rows; the bytes move its length.
    let answered = ProgressBar::hidden();
    let upload = Upload {
        client: &client,
        parent: target.parent(),
        create_sources: arguments.create_sources,
        retry_for: Duration::from_secs(arguments.retry_seconds),
        bar: &answered,
    };
    let mut tally = Tally::default();
    let outcome = {
        let work = upload.run(&mut from_reader, &mut tally);
        tokio::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                () = tokio::time::sleep(BEAT) => {
                    bar.set_position(reading.bytes.load(Ordering::Relaxed));
                    let what = answered.message();
                    let rows = count(answered.position());
                    bar.set_message(if what.is_empty() { format!("{rows} rows answered") } else { what });
                }
            }
        }
    };
    drop(from_reader);
    bar.finish_and_clear();
    let took = watch.elapsed();
    // The reader stops when nobody takes its rows.
    let _ = reader.await;
    let times_unreadable = reading.times_unreadable.load(Ordering::Relaxed);
    let cut = reading.values_cut.load(Ordering::Relaxed);
    if target.json {
        let mut told = tally.json(&files, took);
        told["timesUnreadable"] = times_unreadable.into();
        told["valuesCut"] = cut.into();
        say_json(&told)?;
    } else if tally.rows > 0 || outcome.is_ok() {
        let mut text = tally.render(&files, took, paint);
        if times_unreadable > 0 {
            text.push_str(&format!(
                "  {} with a time that cannot be read: the file's time counts\n",
                some(times_unreadable, "row", "rows")
            ));
        }
        if cut > 0 {
            text.push_str(&format!("  {} of free attributes cut to 4 KiB\n", some(cut, "value", "values")));
        }
        say(&text)?;
    }
    outcome?;
    if !target.json {
        let record = pb::SourceRecord { source: "SOURCE".to_owned(), key: "KEY".to_owned() };
        let put =
            pb::stream_fragments_request::Action::Put(pb::Fragment { record: Some(record), ..Default::default() });
        let request = pb::StreamFragmentsRequest { parent: target.parent(), client_sequence: 1, action: Some(put) };
        let call = wire::grpcurl(&client.address, "IngestService/StreamFragments", "StreamFragmentsRequest", &request);
        say(&by_hand(&call, paint))?;
    }
    match tally.rejected {
        0 => Ok(()),
        1 => Err(Failure::new("1 row was rejected")),
        some => Err(Failure::new(format!("{} rows were rejected", count(some)))),
    }
}

/// Makes the namespaces of the mappings that the tenant lacks; laws that are there stay as they are.
async fn namespaces(client: &Client, target: &Target, inputs: &[Input], create: bool) -> Result<Vec<String>, Failure> {
    let built_in: HashSet<String> = namespace::built_in().into_iter().map(|namespace| namespace.name).collect();
    let used = |name: &str| {
        inputs
            .iter()
            .flat_map(|input| &input.mapping.columns)
            .any(|column| column.role == Role::Identifier(name.to_owned()))
    };
    let mut wanted: Vec<&Namespace> = inputs.iter().flat_map(|input| &input.mapping.namespaces).collect();
    wanted.retain(|namespace| !built_in.contains(&namespace.name) && used(&namespace.name));
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let there = client.all_namespaces(&target.parent()).await?;
    let mut known: HashSet<String> = there.into_iter().map(|namespace| namespace.name).collect();
    let mut made = Vec::new();
    for namespace in wanted {
        if !known.insert(namespace.name.clone()) {
            continue;
        }
        if !create {
            return Err(Failure::new(format!(
                "{} has no namespace `{}`\nhint: `onefold namespace put {}` makes it",
                target.parent(),
                namespace.name,
                namespace.name
            )));
        }
        let name = namespace.name.clone();
        let namespace = Some(on_the_wire(namespace));
        let request = pb::PutNamespaceRequest { parent: target.parent(), namespace, request_id: request_id() };
        client.ask(|| async { client.admin().put_namespace(request.clone()).await }).await?;
        made.push(name);
    }
    Ok(made)
}

fn on_the_wire(namespace: &Namespace) -> pb::Namespace {
    pb::Namespace {
        name: namespace.name.clone(),
        class: match namespace.class {
            NamespaceClass::Unique => pb::NamespaceClass::Unique,
            NamespaceClass::Identifying => pb::NamespaceClass::Identifying,
            NamespaceClass::Supporting => pb::NamespaceClass::Supporting,
        } as i32,
        normaliser: match namespace.normaliser {
            Normaliser::Email => pb::Normaliser::Email,
            Normaliser::Phone => pb::Normaliser::Phone,
            Normaliser::Domain => pb::Normaliser::Domain,
            Normaliser::Alphanumeric => pb::Normaliser::Alphanumeric,
            Normaliser::Verbatim => pb::Normaliser::Verbatim,
            Normaliser::Folded => pb::Normaliser::Folded,
        } as i32,
        priority: u32::from(namespace.priority),
        diversity_limit: u32::from(namespace.diversity_limit),
        blocked_values: namespace.blocked_values.clone(),
        blocked_patterns: namespace.blocked_patterns.clone(),
        allow_junk: !namespace.junk_defaults,
        etag: String::new(),
    }
}

fn some(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { several })
}

/// A bar over the bytes where their number is known, a spinner otherwise; nothing when there is no terminal.
fn progress(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "  {bar:30} {percent:>3} % {msg} {elapsed}"),
        None => (ProgressBar::new_spinner(), "  {spinner} {msg} {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second of two files of one name became the source `export_2`, and `export` when it was imported alone.
    #[test]
    fn the_source_of_a_file_does_not_hang_on_the_files_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            file
        };
        let files = ["a/export.csv", "b/export.csv"].map(|path| write(path, "id,email\n1,ada@acme-corp.com\n"));
        let unclear = |files: &[PathBuf], mapping: Option<PathBuf>| {
            let options = OpenOptions { mapping, ..OpenOptions::default() };
            let inputs = open::open(files, &options).map_err(|fault| fault.to_string()).unwrap();
            each_of_one_source(&inputs).err().map(|failure| (failure.code, failure.message))
        };
        let (code, why) = unclear(&files, None).unwrap();
        assert!(code == 2 && why.contains("two files are named export.csv") && why.contains("--source"), "{why}");
        assert!(unclear(&[files[0].clone(), files[0].clone()], None).is_some(), "nor one file twice");
        assert_eq!(unclear(&files[1..], None), None);
        let told = format!("[file.\"{}\"]\nsource = \"export\"\n", files[1].display());
        assert_eq!(unclear(&files, Some(write("m.toml", &told))), None, "told by its path");
        assert_eq!(unclear(&files, Some(write("all.toml", "source = \"crm\"\n"))), None, "told for all");
        let own = ["c/all.csv", "d/all.csv"].map(|path| write(path, "id,source,email\n1,crm,ada@acme-corp.com\n"));
        assert_eq!(unclear(&own, None), None, "rows that name their source");
    }
}
