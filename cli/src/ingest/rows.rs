//! From the rows of files to fragments on the wire. Values of the same file always make the same fragments: nothing here
//! depends on what the server knows.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use onefold_cli::input::mapping::{Ground, Role, Shaped, Shaper};
use onefold_cli::input::{Action, Columns, Format, Item, RawRecord, Refusal};
use onefold_cli::resolve::Input;
use onefold_core::config::TenantConfig;
use onefold_core::fragment::{AttributeValue, Fragment, ObservedAt, PartyKind};
use onefold_proto::v1 as pb;
use prost_types::Timestamp;
use tokio::sync::mpsc;

use super::{At, Row, Sending};
use crate::command::Failure;

/// What is seen of the reader from outside, and what it found in the end.
#[derive(Debug, Default)]
pub struct Reading {
    /// Bytes of all files taken.
    pub bytes: AtomicU64,
    /// Values of free attributes that were cut to the bound on their length.
    pub values_cut: AtomicU64,
    /// Rows whose time could not be read.
    pub times_unreadable: AtomicU64,
}

/// How rows become fragments, beyond the mapping.
#[derive(Clone, Debug, Default)]
pub struct RowOptions {
    /// The source of every row.
    pub source: Option<String>,
}

/// The receiver is gone: the stream has failed, and says why itself.
struct Gone;

/// Reads all files and hands their rows on; runs on a thread of its own.
pub fn read(
    inputs: Vec<Input>,
    mut config: TenantConfig,
    options: &RowOptions,
    rows: &mpsc::Sender<Row>,
    reading: &Arc<Reading>,
) {
    let mut known_sources = HashSet::new();
    let mut places = HashSet::new();
    let mut names = Names::default();
    let mut bytes_before = 0;
    for (file, input) in inputs.into_iter().enumerate() {
        let file = u16::try_from(file).unwrap_or(u16::MAX);
        let (known_sources, places, names) = (&mut known_sources, &mut places, &mut names);
        let mut one = One { file, options, rows, reading, known_sources, places, names };
        match one.read(input, &mut config, bytes_before) {
            Ok(Ok(bytes)) => bytes_before += bytes,
            Ok(Err(failure)) => {
                let _ = rows.blocking_send(Row::Failed(failure));
                return;
            }
            Err(Gone) => return,
        }
    }
}

/// One file on its way.
struct One<'a> {
    file: u16,
    options: &'a RowOptions,
    rows: &'a mpsc::Sender<Row>,
    reading: &'a Reading,
    known_sources: &'a mut HashSet<u16>,
    /// Sources and names of the files before this one that have rows known by their place.
    places: &'a mut HashSet<(u16, String)>,
    names: &'a mut Names,
}

impl One<'_> {
    fn hand_on(&self, row: Row) -> Result<(), Gone> {
        self.rows.blocking_send(row).map_err(|_| Gone)
    }

    fn refuse(&self, refusal: Refusal) -> Result<(), Gone> {
        let at = At { file: self.file, line: refusal.line };
        self.hand_on(Row::Refused { at, reason: refusal.reason })
    }

    fn read(
        &mut self,
        input: Input,
        config: &mut TenantConfig,
        bytes_before: u64,
    ) -> Result<Result<u64, Failure>, Gone> {
        let Input { mut reader, mapping, name, .. } = input;
        let piped = reader.file() == Path::new(STDIN);
        let file_time = if piped { None } else { modified(reader.file()) };
        let keyed = mapping.column_of(&Role::RecordId).is_some();
        let mut shaper = match Shaper::new(mapping, config) {
            Ok(shaper) => shaper,
            Err(fault) => return Ok(Err(Failure::usage(fault.to_string()))),
        };
        let table = matches!(reader.format(), Format::Separated { .. });
        let (mut any, mut steps) = (false, 0u64);
        let mut places = HashSet::new();
        loop {
            let item = match reader.next_item() {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(error) => return Ok(Err(Failure::new(error.to_string()))),
            };
            any = true;
            steps += 1;
            if steps.is_multiple_of(256) {
                self.reading.bytes.store(bytes_before + reader.bytes_taken(), Ordering::Relaxed);
            }
            let mut raw = match item {
                Item::Record(raw) => raw,
                Item::Refused(refusal) => {
                    self.refuse(refusal)?;
                    continue;
                }
            };
            if self.options.source.is_some() {
                raw.source = None;
            }
            let line = raw.line;
            let content = (piped && !keyed).then(|| content(&raw, reader.columns()));
            let mut shaped = match shaper.shape(raw, reader.columns(), config) {
                Ok(shaped) => shaped,
                Err(refusal) => {
                    self.refuse(refusal)?;
                    continue;
                }
            };
            if !shaped.keyed && shaped.action == Action::Retract {
                // Its place is not that of the row which it takes back.
                let reason = "takes a record back and names none: say with --mapping which column is the record_id";
                self.refuse(Refusal::new(line, reason))?;
                continue;
            }
            if !shaped.keyed && keyed && table {
                self.refuse(Refusal::new(line, "has no record id, and every row of this file is known by one"))?;
                continue;
            }
            // A row without a key of its own is known by its place; the file's name keeps files of one source apart.
            if let (false, Some(content)) = (shaped.keyed, content) {
                shaped.fragment.record.key = format!("{name}:{content}");
            } else if !shaped.keyed {
                let place = (shaped.fragment.record.source.0, name.clone());
                if self.places.contains(&place) {
                    let reason = "has no record id, and is known by file name and line as a row of another file is: rename one of the files, or give each a source of its own";
                    self.refuse(Refusal::new(line, reason))?;
                    continue;
                }
                places.insert(place);
                shaped.fragment.record.key = format!("{name}:{line}");
            }
            self.reading.values_cut.fetch_add(u64::from(shaped.values_cut), Ordering::Relaxed);
            self.reading.times_unreadable.fetch_add(u64::from(shaped.time_unreadable), Ordering::Relaxed);
            if self.known_sources.insert(shaped.fragment.record.source.0) {
                self.hand_on(Row::Source(source_name(&shaped.fragment, config)))?;
            }
            let at = At { file: self.file, line };
            let action = action(shaped, file_time, config, self.names);
            self.hand_on(Row::Send(Box::new(Sending { at, action })))?;
        }
        self.places.extend(places);
        // A table of no rows is an export on a day without any.
        if !any && !table {
            self.refuse(Refusal::new(1, "no row below the header"))?;
        }
        Ok(Ok(reader.bytes_taken()))
    }
}

/// What names standard input.
const STDIN: &str = "-";

/// What a piped row without a key of its own is known by. Line 2 of today's pipe is another record than line 2 of
/// yesterday's, so the place would take one for a correction of the other; the same row again is the same.
fn content(raw: &RawRecord, columns: &Columns) -> String {
    let mut fields: Vec<(&str, &str)> = raw
        .fields
        .iter()
        .filter_map(|(column, text)| Some((columns.names().get(*column as usize)?.as_str(), text.as_str())))
        .collect();
    fields.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for text in fields.iter().flat_map(|(column, text)| [column, text]) {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// When the file was last changed: the time of rows that tell none, so that an unchanged file is a repetition and a
/// corrected one is newer.
fn modified(file: &Path) -> Option<ObservedAt> {
    let since = std::fs::metadata(file).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok().map(ObservedAt)
}

/// Gives every row of these files one source.
pub fn one_source(inputs: &mut [Input], source: &str) {
    for input in inputs {
        source.clone_into(&mut input.mapping.source);
        for column in &mut input.mapping.columns {
            if column.role == Role::Source {
                (column.role, column.ground) = (Role::Ignore, Ground::Given);
            }
        }
    }
}

fn source_name(fragment: &Fragment, config: &TenantConfig) -> String {
    config.sources.get(usize::from(fragment.record.source.0)).map(|source| source.name.clone()).unwrap_or_default()
}

fn action(
    shaped: Shaped,
    file_time: Option<ObservedAt>,
    config: &TenantConfig,
    names: &mut Names,
) -> pb::stream_fragments_request::Action {
    let fragment = shaped.fragment;
    // The shaper's word for "no time".
    let observed = if fragment.observed_at == ObservedAt(0) { file_time } else { Some(fragment.observed_at) };
    let observed_time = observed.map(timestamp);
    let source = source_name(&fragment, config);
    let record = Some(pb::SourceRecord { source: source.clone(), key: fragment.record.key });
    match shaped.action {
        Action::Retract => pb::stream_fragments_request::Action::Retract(pb::Retraction { record, observed_time }),
        Action::Put => pb::stream_fragments_request::Action::Put(pb::Fragment {
            record,
            observed_time,
            party_kind: match fragment.party {
                PartyKind::Person => pb::PartyKind::Person,
                PartyKind::Organisation => pb::PartyKind::Organisation,
            } as i32,
            identifiers: fragment
                .identifiers
                .into_iter()
                .map(|identifier| pb::Identifier {
                    namespace: config
                        .namespaces
                        .get(usize::from(identifier.namespace.0))
                        .map(|namespace| namespace.name.clone())
                        .unwrap_or_default(),
                    value: identifier.raw,
                })
                .collect(),
            attributes: fragment
                .attributes
                .into_iter()
                .map(|attribute| pb::Attribute {
                    name: names.of(usize::from(attribute.name.0), config).to_owned(),
                    value: Some(match attribute.value {
                        AttributeValue::Text(text) => pb::attribute::Value::Text(text),
                        AttributeValue::Number(number) => pb::attribute::Value::Number(number),
                        AttributeValue::Flag(flag) => pb::attribute::Value::Flag(flag),
                    }),
                })
                .collect(),
            traits_json: fragment.traits.unwrap_or_default(),
            consents: Vec::new(),
            affiliations: fragment
                .affiliations
                .into_iter()
                .map(|told| pb::FragmentAffiliation {
                    account: Some(pb::SourceRecord { source: source.clone(), key: told.account.key }),
                    role: told.role,
                    start_time: None,
                    end_time: None,
                })
                .collect(),
            stages: fragment
                .stages
                .into_iter()
                .map(|told| pb::FragmentStage {
                    stage: told.name,
                    reached_time: told.at.map(|at| timestamp(ObservedAt(at.0))),
                })
                .collect(),
        }),
    }
}

/// A time on the wire.
pub fn timestamp(at: ObservedAt) -> Timestamp {
    Timestamp { seconds: at.0.div_euclid(1_000_000), nanos: (at.0.rem_euclid(1_000_000) * 1_000) as i32 }
}

/// Attribute names as the wire wants them, by ordinal: a file's header may be wilder.
#[derive(Debug, Default)]
struct Names(Vec<String>);

impl Names {
    fn of(&mut self, attribute: usize, config: &TenantConfig) -> &str {
        while self.0.len() < config.attribute_names.len() {
            self.0.push(on_the_wire(&config.attribute_names[self.0.len()]));
        }
        self.0.get(attribute).map_or("", String::as_str)
    }
}

/// Lower case letters, digits and `_`, parts joined by `.`, no part that begins with a digit.
fn on_the_wire(name: &str) -> String {
    let parts: Vec<String> = name
        .split('.')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let part: String =
                part.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
            if part.starts_with(|c: char| c.is_ascii_digit()) { format!("_{part}") } else { part }
        })
        .collect();
    let mut name = parts.join(".");
    name.truncate(onefold_core::limits::NAME_BYTES_MAX);
    let name = name.trim_end_matches('.').to_owned();
    if name.is_empty() { "column".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use onefold_cli::input::mapping::guess;
    use onefold_cli::input::{ReadOptions, Reader};
    use onefold_cli::resolve::{OpenOptions, open};

    use super::*;

    /// Two exports of one name took each other's rows for their own, corrected: half of them were lost.
    #[test]
    fn rows_known_by_their_place_are_told_apart_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|day| {
            std::fs::create_dir(folder.path().join(day)).unwrap();
            let file = folder.path().join(day).join("export.csv");
            std::fs::write(&file, format!("email,name\n{day}@acme-corp.com,Ada\n")).unwrap();
            file
        });
        let told = |source: Option<&str>| {
            let mut inputs = open::open(&files, &OpenOptions::default()).map_err(|fault| fault.to_string()).unwrap();
            if let Some(source) = source {
                one_source(&mut inputs, source);
            }
            let config = open::tenant(&inputs, None);
            let options = RowOptions { source: source.map(str::to_owned) };
            let (send, mut receive) = mpsc::channel(16);
            read(inputs, config, &options, &send, &Arc::default());
            drop(send);
            let (mut sent, mut refused) = (0, Vec::new());
            while let Some(row) = receive.blocking_recv() {
                match row {
                    Row::Send(_) => sent += 1,
                    Row::Refused { at, reason } => refused.push((at.file, at.line, reason)),
                    Row::Source(_) => {}
                    Row::Failed(failure) => panic!("{}", failure.message),
                }
            }
            (sent, refused)
        };
        assert_eq!(told(None), (2, Vec::new()), "each file is a source of its own");
        let (sent, refused) = told(Some("crm"));
        assert_eq!((sent, refused.len()), (1, 1));
        assert!((refused[0].0, refused[0].1) == (1, 2) && refused[0].2.contains("rename one"), "{refused:?}");
    }

    /// The second pipe of a day took the rows of the first for its own, corrected.
    #[test]
    fn piped_rows_are_known_by_what_they_say() {
        let told = |text: &'static str| {
            let path = Path::new("-");
            let bytes = Box::new(std::io::Cursor::new(text));
            let mut reader =
                Reader::from_bytes(path, bytes, &ReadOptions::default()).map_err(|e| e.to_string()).unwrap();
            let columns = reader.columns().names().to_vec();
            let mapping = guess(&columns, &reader.sample().unwrap(), "stdin", None);
            let inputs = vec![Input { reader, mapping, name: "stdin".to_owned(), numbered: false }];
            let config = open::tenant(&inputs, None);
            let (send, mut receive) = mpsc::channel(16);
            read(inputs, config, &RowOptions::default(), &send, &Arc::default());
            drop(send);
            let mut keys = Vec::new();
            while let Some(row) = receive.blocking_recv() {
                if let Row::Send(sending) = row
                    && let pb::stream_fragments_request::Action::Put(fragment) = sending.action
                {
                    assert_eq!(fragment.observed_time, None, "a pipe has no time of its own");
                    keys.push(fragment.record.unwrap().key);
                }
            }
            keys
        };
        let (monday, tuesday) =
            (told("email,name\na@acme.com,Ada\nb@acme.com,Bo\n"), told("email,name\nc@acme.com,Cy\n"));
        assert_eq!((monday.len(), tuesday.len()), (2, 1));
        assert!(!monday.contains(&tuesday[0]) && monday[0] != monday[1], "{monday:?} {tuesday:?}");
        assert_eq!(told("name,email\nBo,b@acme.com\nAda,a@acme.com\n"), [monday[1].as_str(), monday[0].as_str()]);
        assert_eq!(told("email,record_id\na@acme.com,7\n"), ["7"]);
    }

    #[test]
    fn headers_become_names_that_the_wire_takes() {
        let table = [
            ("address.street", "address.street"),
            ("2nd_phone", "_2nd_phone"),
            ("a-b..c.", "a_b.c"),
            ("...", "column"),
            ("x.9", "x._9"),
        ];
        for (name, want) in table {
            assert_eq!(on_the_wire(name), want, "{name}");
        }
        assert_eq!(on_the_wire(&"9".repeat(80)).len(), 64);
    }
}
