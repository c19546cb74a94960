//! What became of the rows.

use std::collections::BTreeMap;
use std::time::Duration;

use onefold_cli::output::{Paint, Side, Table, count};
use onefold_proto::v1 as pb;
use serde_json::{Value, json};

use super::At;

/// Rows of one kind that are listed; all are counted.
const LISTED_MAX: usize = 20;
/// Different reasons that are counted apart.
const REASONS_MAX: usize = 200;

/// Rows that did not get in: the first of them, and how many for each reason.
#[derive(Debug, Default)]
struct Outside {
    first: Vec<(At, String)>,
    reasons: BTreeMap<String, u64>,
}

impl Outside {
    fn add(&mut self, at: At, reason: String, kind: String) {
        if self.first.len() < LISTED_MAX {
            self.first.push((at, reason));
        }
        let kind = if self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&kind) {
            kind
        } else {
            "others".to_owned()
        };
        *self.reasons.entry(kind).or_default() += 1;
    }
}

/// Counts of one import.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rows read, refused ones included.
    pub rows: u64,
    /// Taken.
    pub accepted: u64,
    /// Known already.
    pub duplicates: u64,
    /// Among those: sent before a connection broke, so they may be ours.
    pub duplicates_resent: u64,
    /// Older than what is known.
    pub superseded: u64,
    /// Erased people who must not come back.
    pub suppressed: u64,
    /// Kept apart until their contract is kept.
    pub quarantined: u64,
    /// Not taken, by the reader or the server.
    pub rejected: u64,
    /// How often the connection broke and was made again.
    pub reconnects: u64,
    /// The last sequence that an answer named.
    pub last_sequence: u64,
    held: Outside,
    refused: Outside,
    /// Identifiers that were kept as facts and will not link: field and reason.
    notes: BTreeMap<(String, String), u64>,
}

impl Tally {
    /// A row that the reader could not make sense of.
    pub fn refuse(&mut self, at: At, reason: String) {
        self.rows += 1;
        self.rejected += 1;
        let kind = without_numbers(&reason);
        self.refused.add(at, reason, kind);
    }

    /// An answer of the server.
    pub fn answer(&mut self, at: At, result: pb::IngestResult, resent: bool) {
        self.rows += 1;
        self.last_sequence = self.last_sequence.max(result.sequence);
        match result.status() {
            pb::IngestStatus::Accepted => {
                self.accepted += 1;
                for fault in result.faults {
                    *self.notes.entry((fault.field, fault.message)).or_default() += 1;
                }
            }
            pb::IngestStatus::Duplicate => {
                self.duplicates += 1;
                self.duplicates_resent += u64::from(resent);
            }
            pb::IngestStatus::Superseded => self.superseded += 1,
            pb::IngestStatus::Suppressed => self.suppressed += 1,
            pb::IngestStatus::Quarantined => {
                self.quarantined += 1;
                let reason = in_words(&result.faults);
                self.held.add(at, reason, kinds(&result.faults));
            }
            pb::IngestStatus::Rejected | pb::IngestStatus::Unspecified => {
                self.rejected += 1;
                let reason = in_words(&result.faults);
                self.refused.add(at, reason, kinds(&result.faults));
            }
        }
    }

    /// For people.
    pub fn render(&self, files: &[String], took: Duration, paint: Paint) -> String {
        let mut text = String::new();
        let mut table = Table::new(&[("", Side::Left), ("", Side::Right), ("", Side::Left)]);
        let resent = match self.duplicates_resent {
            0 => String::new(),
            some => format!("{} of them sent again after a break", count(some)),
        };
        table.row(["accepted".to_owned(), count(self.accepted), String::new()]);
        table.row(["duplicates".to_owned(), count(self.duplicates), resent]);
        table.row(["superseded".to_owned(), count(self.superseded), String::new()]);
        if self.suppressed > 0 {
            table.row(["suppressed".to_owned(), count(self.suppressed), "erased, and not to come back".to_owned()]);
        }
        let held = if self.quarantined > 0 { "`onefold quarantine list` shows them" } else { "" };
        table.row(["quarantined".to_owned(), count(self.quarantined), held.to_owned()]);
        table.row(["rejected".to_owned(), count(self.rejected), String::new()]);
        text.push_str(&table.render(paint));
        let seconds = took.as_secs_f64();
        let rate = if seconds > 0.0 { (self.rows as f64 / seconds) as u64 } else { 0 };
        let again = match self.reconnects {
            0 => String::new(),
            1 => "; the connection broke once".to_owned(),
            times => format!("; the connection broke {times} times"),
        };
        text.push_str(&format!(
            "  {} {} in {seconds:.2} s, {} rows/s{again}; last sequence {}\n",
            count(self.rows),
            if self.rows == 1 { "row" } else { "rows" },
            count(rate),
            count(self.last_sequence)
        ));
        if !self.notes.is_empty() {
            text.push_str(&format!("\n{}\n", paint.heading("kept as facts, linking nobody")));
            let mut table = Table::new(&[("count", Side::Right), ("field", Side::Left), ("why", Side::Left)]);
            let mut notes: Vec<_> = self.notes.iter().collect();
            notes.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
            for ((field, why), times) in notes.into_iter().take(LISTED_MAX) {
                table.row([count(*times), field.clone(), why.clone()]);
            }
            text.push_str(&table.render(paint));
        }
        outside(&mut text, "quarantined", self.quarantined, &self.held, files, paint);
        outside(&mut text, "rejected", self.rejected, &self.refused, files, paint);
        text
    }

    /// For programs.
    pub fn json(&self, files: &[String], took: Duration) -> Value {
        let listed = |outside: &Outside| -> Vec<Value> {
            let name = |at: &At| files.get(usize::from(at.file)).cloned().unwrap_or_default();
            outside
                .first
                .iter()
                .map(|(at, reason)| json!({ "file": name(at), "line": at.line, "reason": reason }))
                .collect()
        };
        let notes: Vec<Value> = self
            .notes
            .iter()
            .map(|((field, message), times)| json!({ "field": field, "message": message, "count": times }))
            .collect();
        let seconds = took.as_secs_f64();
        json!({
            "rows": self.rows,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "duplicatesResent": self.duplicates_resent,
            "superseded": self.superseded,
            "suppressed": self.suppressed,
            "quarantined": self.quarantined,
            "rejected": self.rejected,
            "reconnects": self.reconnects,
            "lastSequence": self.last_sequence,
            "seconds": seconds,
            "rowsPerSecond": if seconds > 0.0 { self.rows as f64 / seconds } else { 0.0 },
            "firstRejected": listed(&self.refused),
            "rejectedByReason": self.refused.reasons,
            "firstQuarantined": listed(&self.held),
            "quarantinedByReason": self.held.reasons,
            "notLinking": notes,
        })
    }
}

fn outside(text: &mut String, word: &str, all: u64, outside: &Outside, files: &[String], paint: Paint) {
    if all == 0 {
        return;
    }
    text.push_str(&format!("\n{}\n", paint.warning(word)));
    for (at, reason) in &outside.first {
        let name = files.get(usize::from(at.file)).map_or("", String::as_str);
        text.push_str(&format!("  {name}: line {}: {reason}\n", at.line));
    }
    if all > outside.first.len() as u64 {
        text.push_str(&format!("  … {} in all:\n", count(all)));
        let mut table = Table::new(&[("", Side::Right), ("", Side::Left)]);
        let mut reasons: Vec<_> = outside.reasons.iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        for (reason, times) in reasons.into_iter().take(LISTED_MAX) {
            table.row([count(*times), reason.clone()]);
        }
        text.push_str(&table.render(paint));
    }
}

fn in_words(faults: &[pb::Fault]) -> String {
    let words: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
    if words.is_empty() { "the server gives no reason".to_owned() } else { words.join("; ") }
}

fn kinds(faults: &[pb::Fault]) -> String {
    let mut kinds: Vec<String> =
        faults.iter().map(|fault| format!("{} {}", without_numbers(&fault.field), fault.reason)).collect();
    kinds.sort();
    kinds.dedup();
    kinds.join(", ")
}

/// Reasons that differ in a number only are one reason.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if !letter.is_ascii_digit() {
            out.push(letter);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_counted_once_and_the_first_are_listed() {
        let mut tally = Tally::default();
        for line in 1..=50 {
            tally.refuse(At { file: 0, line }, format!("has {line} fields where the header has 3"));
        }
        let result = |status: pb::IngestStatus, sequence| pb::IngestResult {
            status: status as i32,
            sequence,
            faults: vec![pb::Fault {
                field: "identifiers[3].value".to_owned(),
                reason: "MISSING".to_owned(),
                message: "give a value".to_owned(),
            }],
            ..Default::default()
        };
        let at = At { file: 1, line: 7 };
        tally.answer(at, result(pb::IngestStatus::Accepted, 9), false);
        tally.answer(at, result(pb::IngestStatus::Duplicate, 3), true);
        tally.answer(at, result(pb::IngestStatus::Quarantined, 10), false);
        tally.answer(at, result(pb::IngestStatus::Rejected, 0), false);
        let files = ["a.csv".to_owned(), "b.csv".to_owned()];
        let json = tally.json(&files, Duration::from_secs(2));
        for (field, want) in [
            ("rows", 54),
            ("accepted", 1),
            ("duplicates", 1),
            ("quarantined", 1),
            ("rejected", 51),
            ("lastSequence", 10),
        ] {
            assert_eq!(json[field], want, "{field}");
        }
        assert_eq!(json["firstRejected"].as_array().map(Vec::len), Some(20));
        assert_eq!(json["rejectedByReason"]["has # fields where the header has #"], 50);
        assert_eq!(json["rejectedByReason"]["identifiers[#].value MISSING"], 1);
        let text = tally.render(&files, Duration::from_secs(2), Paint::Plain);
        assert!(text.contains("a.csv: line 20: has 20 fields") && !text.contains("line 21:"), "{text}");
        assert!(text.contains("… 51 in all"), "{text}");
        assert!(text.contains("b.csv: line 7: identifiers[3].value: give a value"), "{text}");
        assert!(text.contains("27 rows/s"), "{text}");
    }
}
