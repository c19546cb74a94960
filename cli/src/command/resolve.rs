//! `onefold resolve`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use onefold_cli::input::mapping::{Mapping, MappingFile};
use onefold_cli::input::{Encoding, ReadOptions};
use onefold_cli::output::visible;
use onefold_cli::resolve::report::FileReport;
use onefold_cli::resolve::{LinkOptions, OpenOptions, Progress, ResolveError, link, open, report, write_profiles};

use onefold_core::fragment::PartyKind;
use onefold_matching::pair::{Model, shipped_organisations, shipped_persons};

use super::whole::write_whole;
use super::{Failure, paint};
use crate::clock::Stopwatch;

/// Files in, clusters out: no server, no configuration.
#[derive(Args)]
pub struct Arguments {
    /// CSV, TSV or JSON lines (plain, Segment-style, Debezium); `-` is standard input.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Where to write record_id,profile_id for every row; `-` is standard output.
    #[arg(long, required_unless_present = "print_mapping")]
    out: Option<PathBuf>,
    /// The column with the true cluster: prints precision, recall, F1 and the worst mistakes.
    #[arg(long)]
    truth: Option<String>,
    /// Writes the whole report as JSON; `-` is standard output instead of the readable report.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What the columns mean, as TOML or JSON; see --print-mapping.
    #[arg(long)]
    mapping: Option<PathBuf>,
    /// Prints the mapping that would be used, to be edited, and stops.
    #[arg(long)]
    print_mapping: bool,
    /// A match model (JSON) to use instead of fitting one; give two for persons and organisations.
    #[arg(long)]
    model: Vec<PathBuf>,
    /// Uses the models that ship instead of fitting one: what a server matches with before it is trained.
    #[arg(long, conflicts_with_all = ["model", "learn_from_truth"])]
    shipped_models: bool,
    /// Where to write the models in force: `person.json` and `organisation.json` in this folder.
    #[arg(long)]
    save_model: Option<PathBuf>,
    /// Fits the model to the true clusters of --truth, where they are known.
    #[arg(long, requires = "truth")]
    learn_from_truth: bool,
    /// Settles each row before the next is read, as a stream is; the clusters are the same.
    #[arg(long)]
    online: bool,
    /// Country whose telephone numbers come without a country code (ISO 3166).
    #[arg(long, default_value = "US")]
    region: String,
    /// utf-8, utf-16le, utf-16be or latin-1, instead of guessing.
    #[arg(long)]
    encoding: Option<Encoding>,
    /// One character, instead of guessing.
    #[arg(long)]
    delimiter: Option<char>,
}

/// What `--save-model` writes, by kind of party.
const MODEL_FILES: [&str; 2] = ["person.json", "organisation.json"];

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        Self { code: error.exit_code(), message: error.to_string() }
    }
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let delimiter = arguments.delimiter.map(delimiter_of).transpose()?;
    let options = OpenOptions {
        read: ReadOptions { encoding: arguments.encoding, delimiter },
        truth: arguments.truth.clone(),
        mapping: arguments.mapping.clone(),
    };
    let models = arguments.save_model.iter().flat_map(|folder| MODEL_FILES.map(|name| folder.join(name)));
    let outputs = arguments.out.iter().map(|file| ("--out", file.clone()));
    let outputs = outputs.chain(arguments.json.iter().map(|file| ("--json", file.clone())));
    for (option, file) in outputs.chain(models.map(|file| ("--save-model", file))) {
        if let Some(input) = overwritten(&arguments.inputs, &file) {
            let message =
                format!("{option} {} is one of the inputs, and would be lost: write to another file", input.display());
            return Err(Failure::usage(message));
        }
    }
    if let (Some(out), Some(json)) = (&arguments.out, &arguments.json)
        && (out == json || overwritten(std::slice::from_ref(out), json).is_some())
    {
        return Err(Failure::usage(format!("--out and --json are both {}: give each its own", out.display())));
    }
    let inputs = open::open(&arguments.inputs, &options)?;
    if arguments.print_mapping {
        let mappings: Vec<(String, &Mapping)> =
            inputs.iter().map(|input| (input.name.clone(), &input.mapping)).collect();
        return written(Path::new("-"), io::stdout().write_all(MappingFile::print(&mappings).as_bytes()));
    }
    let out = arguments.out.as_deref().unwrap_or(Path::new("-"));
    let files: Vec<FileReport> = inputs.iter().map(report::file).collect();
    // The readable report makes way for data on standard output.
    let to_stdout = |path: &Path| path == Path::new("-");
    let silent = arguments.json.as_deref().is_some_and(to_stdout) || to_stdout(out);
    let mut say: Box<dyn Write> = if silent { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    let colours = if silent { paint(&io::stderr()) } else { paint(&io::stdout()) };
    for file in &files {
        written(Path::new("-"), say.write_all(visible(&file.render(colours)).as_bytes()))?;
    }
    let can_link = inputs.iter().any(|input| input.mapping.has_linking_identifier());
    let config = open::tenant(&inputs, Some(&arguments.region));
    let bar = bar(inputs.iter().map(|input| input.reader.size()).sum());
    let models = if arguments.shipped_models {
        Some(vec![shipped_persons().clone(), shipped_organisations().clone()])
    } else {
        read_models(&arguments.model)?
    };
    let wanted = LinkOptions { models, learn_from_truth: arguments.learn_from_truth, online: arguments.online };
    let linked = link::link(inputs, config, wanted, &mut |progress| match progress {
        Progress::Reading { bytes, rows } => {
            bar.set_position(bytes);
            bar.set_message(format!("{} rows", onefold_cli::output::count(rows)));
        }
        Progress::Training => bar.set_message("fitting the model"),
        Progress::Settling => bar.set_message("settling"),
    })?;
    bar.finish_and_clear();
    if let Some(folder) = &arguments.save_model {
        save_models(folder, &linked.models)?;
    }
    let profiles = if to_stdout(out) {
        write_profiles(&linked, io::stdout().lock())
    } else {
        write_whole(out, |to| write_profiles(&linked, to))
    };
    written(out, profiles)?;
    let report = report::report(&linked, files, can_link, arguments.truth.is_some(), watch.elapsed());
    written(Path::new("-"), say.write_all(visible(&report.render(colours)).as_bytes()))?;
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::new(error.to_string()))? + "\n";
        let whole = |to: &mut dyn Write| to.write_all(text.as_bytes());
        let done = if to_stdout(path) { whole(&mut io::stdout()) } else { write_whole(path, whole) };
        written(path, done)?;
    }
    Ok(())
}

/// The input that is also the output, if there is one.
fn overwritten<'a>(files: &'a [PathBuf], out: &Path) -> Option<&'a Path> {
    let out = out.canonicalize().ok()?;
    files.iter().map(PathBuf::as_path).find(|file| file.canonicalize().is_ok_and(|file| file == out))
}

fn read_models(files: &[PathBuf]) -> Result<Option<Vec<Model>>, Failure> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut models: Vec<Model> = Vec::with_capacity(files.len());
    for file in files {
        let told = |fault: String| Failure { code: 2, message: format!("--model {}: {fault}", file.display()) };
        let text = std::fs::read_to_string(file).map_err(|fault| told(fault.to_string()))?;
        let model = Model::from_json(&text).map_err(|fault| told(fault.to_string()))?;
        if models.iter().any(|known| known.schema.party == model.schema.party) {
            return Err(told("a second model for the same kind of party".to_owned()));
        }
        models.push(model);
    }
    Ok(Some(models))
}

fn save_models(folder: &Path, models: &[Model]) -> Result<(), Failure> {
    written(folder, std::fs::create_dir_all(folder))?;
    for model in models {
        let [person, organisation] = MODEL_FILES;
        let file = folder.join(if model.schema.party == PartyKind::Person { person } else { organisation });
        written(&file, write_whole(&file, |to| to.write_all((model.to_json() + "\n").as_bytes())))?;
    }
    Ok(())
}

pub fn delimiter_of(letter: char) -> Result<u8, Failure> {
    let usable = letter.is_ascii() && !letter.is_ascii_alphanumeric() && !"\"\r\n".contains(letter);
    u8::try_from(letter).ok().filter(|_| usable).ok_or_else(|| Failure {
        code: 2,
        message: "--delimiter must be one ASCII character that is no letter, digit, quote or end of line".to_owned(),
    })
}

fn written(path: &Path, outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|source| ResolveError::Write { file: path.to_owned(), source }.into()),
    }
}

/// A bar over the bytes where their number is known, a spinner otherwise; nothing when there is no terminal.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "  {bar:30} {percent:>3} % {msg} {elapsed}"),
        None => (ProgressBar::new_spinner(), "  {spinner} {msg} {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
