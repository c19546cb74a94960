//! Stage last: what a run tells, to people and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use onefold_matching::resolve::ValueStanding;
use serde::Serialize;

use super::doubt::{FalseLink, FalseSplit, false_links, false_splits, generic_reason, masked, namespace};
use super::link::Linked;
use super::open::Input;
use super::score::{Score, blocking_recall, score};
use crate::input::mapping::Mapping;
use crate::input::{Encoding, Format};
use crate::output::{Paint, Side, Table, bar, count};

/// Generic values that are listed; all are counted.
const GENERIC_SHOWN: usize = 10;
/// Refused rows that people are shown; the JSON has more.
const REFUSED_SHOWN: usize = 10;

/// A file, as it was understood.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// Its name.
    pub file: String,
    /// `,` `;` tab `|` separated, or JSON lines.
    pub format: String,
    /// The encoding.
    pub encoding: String,
    /// Persons, organisations, or by row.
    pub party: String,
    /// The source where no column tells it.
    pub source: String,
    /// What its columns mean.
    pub columns: Vec<ColumnReport>,
    /// What else to know.
    pub notes: Vec<String>,
}

/// A column, as it was understood.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnReport {
    /// Its header.
    pub column: String,
    /// What it means.
    pub meaning: String,
    /// Who said so.
    pub ground: String,
    /// Share of the sample with a value, out of a thousand.
    pub filled_permille: u32,
}

/// A value that links nobody because too many stand behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GenericValue {
    /// Its namespace.
    pub namespace: String,
    /// The value, masked.
    pub value: String,
    /// Why, with counts.
    pub reason: String,
}

/// Identifiers of one kind that link nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnlinkedKind {
    /// Their namespace.
    pub namespace: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// One of them, masked.
    pub example: String,
}

/// A row that was not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedReport {
    /// Its file.
    pub file: String,
    /// Its first line.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

/// How near the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TruthReport {
    /// The figures.
    #[serde(flatten)]
    pub score: Score,
    /// Of the true pairs, the share that blocking has compared at all.
    pub blocking_recall: Option<f64>,
    /// The profiles with the most wrong pairs.
    pub worst_false_links: Vec<FalseLink>,
    /// The true clusters with the most missed pairs.
    pub worst_false_splits: Vec<FalseSplit>,
}

/// What a run tells.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The files.
    pub files: Vec<FileReport>,
    /// Rows of all files, refused ones included.
    pub rows: u64,
    /// Live source records.
    pub records: u64,
    /// Profiles, those of refused rows not counted.
    pub profiles: u64,
    /// Records in the largest cluster.
    pub largest_cluster: u64,
    /// Profiles of two and more records.
    pub linked_profiles: u64,
    /// Rows of a record that another row states too.
    pub repeated_rows: u64,
    /// Rows that took their record back.
    pub retracted_rows: u64,
    /// Rows that were refused.
    pub refused_rows: u64,
    /// The first of them.
    pub refused: Vec<RefusedReport>,
    /// Values that link nobody because too many stand behind them.
    pub generic_values: u64,
    /// The first of them.
    pub generic: Vec<GenericValue>,
    /// Identifiers that are junk, blocked or malformed.
    pub unlinked: Vec<UnlinkedKind>,
    /// Shared values whose holders are kept apart by law.
    pub parked_links: u64,
    /// What to know about the rows.
    pub notes: Vec<String>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Rows in a second.
    pub rows_per_second: f64,
    /// Digest of the clusters, the same on every machine for the same records.
    pub digest: String,
    /// Against the truth, where one was named.
    pub truth: Option<TruthReport>,
}

/// Describes a file before its rows are read.
#[must_use]
pub fn file(input: &Input) -> FileReport {
    let Mapping { party, source, columns, .. } = &input.mapping;
    FileReport {
        file: input.name.clone(),
        format: match input.reader.format() {
            Format::JsonLines => "JSON lines".to_owned(),
            Format::Separated { delimiter: b'\t' } => "tab separated".to_owned(),
            Format::Separated { delimiter } => format!("`{}` separated", char::from(delimiter)),
        },
        encoding: Encoding::to_string(&input.reader.encoding()),
        party: party.to_string(),
        source: source.clone(),
        columns: columns
            .iter()
            .map(|column| ColumnReport {
                column: column.column.clone(),
                meaning: column.role.to_string(),
                ground: column.ground.to_string(),
                filled_permille: column.filled_permille,
            })
            .collect(),
        notes: input.reader.notes().to_vec(),
    }
}

/// Puts together what a run tells. `with_truth` when the rows are to be scored.
#[must_use]
pub fn report(linked: &Linked, files: Vec<FileReport>, can_link: bool, with_truth: bool, took: Duration) -> Report {
    let stats = linked.engine.stats();
    let file_name = |file: u16| files.get(usize::from(file)).map_or_else(String::new, |file| file.file.clone());
    let refused = linked
        .refused
        .iter()
        .map(|row| RefusedReport {
            file: file_name(row.file),
            line: row.refusal.line,
            reason: row.refusal.reason.clone(),
        })
        .collect();
    let unlinked = linked
        .unlinked
        .iter()
        .map(|((id, reason), unlinked)| UnlinkedKind {
            namespace: namespace(linked, *id),
            reason: reason.clone(),
            count: unlinked.count,
            example: unlinked.example.clone(),
        })
        .collect();
    let rows = linked.rows.len() as u64;
    Report {
        rows,
        records: stats.live_records.into(),
        profiles: stats.profiles.into(),
        largest_cluster: stats.largest_cluster.into(),
        linked_profiles: linked_profiles(linked),
        repeated_rows: linked.repeated_count,
        retracted_rows: linked.retracted_count,
        refused_rows: linked.refused_count,
        refused,
        generic_values: stats.generic_values.into(),
        generic: generic(linked),
        unlinked,
        parked_links: stats.parked_links.into(),
        notes: notes(linked, can_link),
        seconds: took.as_secs_f64(),
        rows_per_second: if took.is_zero() { 0.0 } else { rows as f64 / took.as_secs_f64() },
        digest: linked.engine.digest().to_hex()[..32].to_owned(),
        truth: with_truth.then(|| truth(linked)),
        files,
    }
}

fn linked_profiles(linked: &Linked) -> u64 {
    let mut sizes = std::collections::HashMap::new();
    for record in linked.engine.all_records() {
        if let Some(profile) = record.profile {
            *sizes.entry(profile).or_insert(0u32) += 1;
        }
    }
    sizes.values().filter(|size| **size > 1).count() as u64
}

fn truth(linked: &Linked) -> TruthReport {
    // A refused row of a known truth is a profile of its own, and scored as one.
    let scored = linked.rows.iter().filter(|row| !row.repeated && (row.record.is_some() || row.truth.is_some()));
    TruthReport {
        score: score(scored.map(|row| (row.truth, row.profile))),
        blocking_recall: blocking_recall(linked),
        worst_false_links: false_links(linked),
        worst_false_splits: false_splits(linked),
    }
}

fn generic(linked: &Linked) -> Vec<GenericValue> {
    let mut generic: Vec<GenericValue> = linked
        .values
        .iter()
        // A value is generic for many reasons, and never for fewer rows than its limit.
        .filter(|(value, seen)| {
            let limit = linked.config.namespace(value.namespace).map_or(0, |namespace| namespace.diversity_limit);
            seen.rows > u32::from(limit)
        })
        .filter_map(|(value, _)| match linked.engine.value(*value) {
            ValueStanding::Generic(reason) => Some(GenericValue {
                namespace: namespace(linked, value.namespace),
                value: masked(linked, *value),
                reason: generic_reason(linked, reason),
            }),
            ValueStanding::Unknown | ValueStanding::Profiles { .. } => None,
        })
        .collect();
    // Largest counts first; the words sort as their numbers do when longer texts come first.
    let number =
        |value: &GenericValue| value.reason.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    generic.sort_by(|a, b| {
        number(b).cmp(&number(a)).then_with(|| (&a.namespace, &a.value).cmp(&(&b.namespace, &b.value)))
    });
    generic.truncate(super::link::REFUSALS_SHOWN_MAX);
    generic
}

fn notes(linked: &Linked, can_link: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if !can_link {
        notes.push("no column holds an identifier that links, so weight alone does; --mapping can name one".to_owned());
    }
    let told = [
        (linked.repeated_count, "row(s) state a record that another row states too: the newest counts"),
        (linked.retracted_count, "row(s) take their record back"),
        (linked.times_unreadable, "row(s) have a time that cannot be read: they count as the oldest"),
        (linked.values_cut, "value(s) of columns without a meaning were cut to 4 KiB"),
    ];
    notes.extend(
        told.iter().filter(|(number, _)| *number > 0).map(|(number, text)| format!("{} {text}", count(*number))),
    );
    notes
}

impl FileReport {
    /// The mapping as a table.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        let mut text = format!(
            "{}  {}\n",
            paint.heading(&self.file),
            paint.faint(&format!("{}, {}, {}, source {}", self.format, self.encoding, self.party, self.source))
        );
        let columns = [
            ("column", Side::Left),
            ("meaning", Side::Left),
            ("from", Side::Left),
            ("filled", Side::Left),
            ("", Side::Right),
        ];
        let mut table = Table::new(&columns);
        for column in &self.columns {
            table.row([
                column.column.clone(),
                column.meaning.clone(),
                column.ground.clone(),
                bar(column.filled_permille),
                format!("{} %", (column.filled_permille + 5) / 10),
            ]);
        }
        text.push_str(&table.render(paint));
        for note in &self.notes {
            let _ = writeln!(text, "  {}", paint.warning(&format!("note: {note}")));
        }
        text
    }
}

impl Report {
    /// All but the files, for people.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        let mut text = String::new();
        let mut table = Table::new(&[("", Side::Left), ("", Side::Right)]);
        table.row(["rows".to_owned(), count(self.rows)]);
        table.row(["records".to_owned(), count(self.records)]);
        table.row(["profiles".to_owned(), count(self.profiles)]);
        table.row(["of two records and more".to_owned(), count(self.linked_profiles)]);
        table.row(["largest cluster".to_owned(), count(self.largest_cluster)]);
        table.row(["generic values".to_owned(), count(self.generic_values)]);
        table.row(["links parked by law 5".to_owned(), count(self.parked_links)]);
        table.row(["refused rows".to_owned(), count(self.refused_rows)]);
        text.push_str(&paint.heading("result"));
        text.push('\n');
        text.push_str(&table.render(paint));
        for note in &self.notes {
            let _ = writeln!(text, "  {}", paint.warning(&format!("note: {note}")));
        }
        self.render_generic(paint, &mut text);
        self.render_refused(paint, &mut text);
        if let Some(truth) = &self.truth {
            truth.render(paint, &mut text);
        }
        let _ = writeln!(
            text,
            "{}",
            paint.faint(&format!(
                "{:.2} s, {} rows/s, digest {}",
                self.seconds,
                count(self.rows_per_second as u64),
                self.digest
            ))
        );
        text
    }

    fn render_generic(&self, paint: Paint, text: &mut String) {
        if !self.generic.is_empty() {
            let _ = writeln!(text, "{}", paint.heading("generic values, which link nobody"));
            let mut table = Table::new(&[("namespace", Side::Left), ("value", Side::Left), ("why", Side::Left)]);
            for value in self.generic.iter().take(GENERIC_SHOWN) {
                table.row([value.namespace.clone(), value.value.clone(), value.reason.clone()]);
            }
            text.push_str(&table.render(paint));
            more(text, self.generic_values, GENERIC_SHOWN, paint);
        }
        if !self.unlinked.is_empty() {
            let _ = writeln!(text, "{}", paint.heading("identifiers kept as facts, which link nobody"));
            let columns =
                [("namespace", Side::Left), ("why", Side::Left), ("count", Side::Right), ("such as", Side::Left)];
            let mut table = Table::new(&columns);
            for kind in &self.unlinked {
                table.row([kind.namespace.clone(), kind.reason.clone(), count(kind.count), kind.example.clone()]);
            }
            text.push_str(&table.render(paint));
        }
    }

    fn render_refused(&self, paint: Paint, text: &mut String) {
        if self.refused.is_empty() {
            return;
        }
        let _ = writeln!(text, "{}", paint.heading("refused rows, each a profile of its own"));
        for row in self.refused.iter().take(REFUSED_SHOWN) {
            let _ = writeln!(text, "  {}: line {}: {}", row.file, row.line, row.reason);
        }
        more(text, self.refused_rows, REFUSED_SHOWN, paint);
    }
}

fn more(text: &mut String, all: u64, shown: usize, paint: Paint) {
    if all > shown as u64 {
        let _ = writeln!(
            text,
            "  {}",
            paint.faint(&format!("and {} more; --json FILE lists them", count(all - shown as u64)))
        );
    }
}

impl TruthReport {
    fn render(&self, paint: Paint, text: &mut String) {
        let Score { pairwise, pairs, bcubed, .. } = self.score;
        let _ = writeln!(text, "{}", paint.heading("against the truth"));
        let columns = [("", Side::Left), ("precision", Side::Right), ("recall", Side::Right), ("F1", Side::Right)];
        let mut table = Table::new(&columns);
        for (name, rates) in [("pairwise", pairwise), ("B-cubed", bcubed)] {
            let cell = |rate: f64| format!("{rate:.4}");
            table.row([name.to_owned(), cell(rates.precision), cell(rates.recall), cell(rates.f1)]);
        }
        text.push_str(&table.render(paint));
        let _ = writeln!(
            text,
            "  pairs: {} right, {} false links, {} false splits",
            count(pairs.right),
            count(pairs.false_links),
            count(pairs.false_splits)
        );
        if let Some(recall) = self.blocking_recall {
            let _ = writeln!(text, "  blocking: {:.2} % of the true pairs were compared", recall * 100.0);
        }
        if !self.worst_false_links.is_empty() {
            let _ = writeln!(text, "{}", paint.heading("worst false links"));
        }
        for doubt in &self.worst_false_links {
            let _ = writeln!(
                text,
                "  {} wrong pair(s): {} records of {} parties in one profile",
                count(doubt.pairs),
                count(doubt.records),
                count(doubt.clusters)
            );
            for tie in &doubt.because {
                let mark = if tie.wrong { "   ◀ two parties" } else { "" };
                let _ = writeln!(text, "    {} ─ {} {} ─ {}{mark}", tie.from, tie.namespace, tie.value, tie.to);
            }
        }
        if !self.worst_false_splits.is_empty() {
            let _ = writeln!(text, "{}", paint.heading("worst false splits"));
        }
        for doubt in &self.worst_false_splits {
            let _ = writeln!(
                text,
                "  {} missed pair(s): {} records of one party in {} profiles; {} and {}: {}",
                count(doubt.pairs),
                count(doubt.records),
                count(doubt.profiles),
                doubt.one,
                doubt.other,
                doubt.because
            );
        }
    }
}
