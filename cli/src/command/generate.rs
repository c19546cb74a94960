//! `onefold generate`.

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use onefold_cli::generate::{Population, Sizes, write};
use onefold_cli::output::{Side, Table, count};

use super::{Failure, paint, rate};
use crate::clock::Stopwatch;

/// Writes a seeded population with truth: people and companies as several systems would hold them.
#[derive(Args)]
pub struct Arguments {
    /// Equal seeds and sizes give equal bytes, on every machine.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many people; each gives about three records.
    #[arg(long, default_value_t = 10_000)]
    people: u32,
    /// How many companies.
    #[arg(long, default_value_t = 0)]
    companies: u32,
    /// A directory for one file per source and truth.csv, or `-` for one CSV table on standard output.
    #[arg(long)]
    out: PathBuf,
    /// Tells the counts as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let population =
        Population::new(arguments.seed, Sizes { people: arguments.people, companies: arguments.companies });
    let failed = |error: io::Error| Failure::new(format!("{}: cannot be written: {error}", arguments.out.display()));
    if arguments.out.as_os_str() == "-" {
        return match write::combined(population, BufWriter::new(io::stdout().lock())) {
            // A reader that has seen enough is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map(drop).map_err(failed),
        };
    }
    let watch = Stopwatch::start();
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {human_pos} records, {rate}") {
        bar.set_style(style.with_key("rate", rate));
    }
    let counts = write::directory(population, &arguments.out, |_| bar.inc(1)).map_err(failed)?;
    bar.finish_and_clear();
    let total: u64 = counts.values().sum();
    let mut out = io::stdout().lock();
    let told = if arguments.json {
        writeln!(
            out,
            "{}",
            serde_json::json!({ "files": counts, "records": total, "seconds": watch.elapsed().as_secs_f64() })
        )
    } else {
        let paint = paint(&io::stdout());
        let mut table = Table::new(&[("file", Side::Left), ("records", Side::Right)]);
        for (file, records) in &counts {
            table.row([(*file).to_owned(), count(*records)]);
        }
        let folder = arguments.out.display();
        let seconds = watch.elapsed().as_secs_f64();
        writeln!(
            out,
            "{}{} records in {folder}, {seconds:.2} s; the truth of all is in truth.csv\nnext: onefold resolve {folder}/crm.csv {folder}/webshop.csv --out clusters.csv --truth cluster_id",
            table.render(paint),
            count(total),
        )
    };
    told.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }).map_err(failed)
}
