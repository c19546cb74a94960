//! Stage two: rows to fragments, fragments to the engine, and which profile each row ended in.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use onefold_core::config::TenantConfig;
use onefold_core::contract::check_limits;
use onefold_core::fragment::{Fragment, ObservedAt};
use onefold_core::identifier::BlockReason;
use onefold_core::ids::{Digest128, NamespaceId, Place, ProfileOrdinal, SlotId};
use onefold_core::namespace::NamespaceClass;
use onefold_matching::pair::{Matcher, Model, Schema};
use onefold_matching::prepare::{Note, NoteReason, Preparer};
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::{Arrival, Engine, LinkRules, Weigher};

use super::open::Input;
use super::{ResolveError, fit, run_key, schema};
use crate::input::mapping::{Role, Shaped, Shaper};
use crate::input::{Action, Item, Refusal};
use crate::output::mask;

/// Rows between two words to the progress bar.
const BEAT_ROWS: u64 = 4_096;
/// Files may be from any time: there is no clock here to hold them to.
const ANY_TIME: ObservedAt = ObservedAt(i64::MAX / 2);
/// Refused rows that are kept to be shown; all are counted.
pub const REFUSALS_SHOWN_MAX: usize = 1_000;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// Bytes of all files taken, and rows read.
    Reading {
        /// Bytes so far.
        bytes: u64,
        /// Rows so far.
        rows: u64,
    },
    /// All rows are in; the model is fitted to them.
    Training,
    /// The clusters are being made.
    Settling,
}

/// What became of one row.
#[derive(Clone)]
pub struct ResolvedRow {
    /// The input's record id, or its line number.
    pub record_id: Box<str>,
    /// Where it was read.
    pub file: u16,
    /// Its first line there.
    pub line: u64,
    /// The record in the engine; `None` for a refused row.
    pub record: Option<Digest128>,
    /// Its profile; one of its own for a refused or retracted row.
    pub profile: ProfileOrdinal,
    /// Number of its true cluster, by [`Linked::truths`].
    pub truth: Option<u32>,
    /// Another row of the same record counts instead.
    pub repeated: bool,
}

/// Identifiers that link nobody by the laws of their namespace, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlinked {
    /// How often.
    pub count: u64,
    /// One of them, masked.
    pub example: String,
}

/// A refused row, with its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// Index of the file.
    pub file: u16,
    /// Line, reason and, where known, key.
    pub refusal: Refusal,
}

/// Everything a run found out.
pub struct Linked {
    /// The settled engine.
    pub engine: Engine,
    /// The match models in force.
    pub models: Vec<Model>,
    /// The tenant that the files made.
    pub config: Arc<TenantConfig>,
    /// Every row of the input, in its order.
    pub rows: Vec<ResolvedRow>,
    /// The true clusters by number.
    pub truths: Vec<Box<str>>,
    /// The first refused rows.
    pub refused: Vec<RefusedRow>,
    /// All refused rows.
    pub refused_count: u64,
    /// Rows of a record that another row states too: the newest counts.
    pub repeated_count: u64,
    /// Rows that took their record back.
    pub retracted_count: u64,
    /// Values of unknown columns that were cut to the bound.
    pub values_cut: u64,
    /// Rows whose time could not be read.
    pub times_unreadable: u64,
    /// Identifiers that link nobody, by namespace and reason.
    pub unlinked: BTreeMap<(NamespaceId, String), Unlinked>,
    /// Each linking value, for people.
    pub values: HashMap<LinkValue, SeenValue>,
}

/// A linking value, as people may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenValue {
    /// Most of it hidden.
    pub masked: Box<str>,
    /// Rows that hold it.
    pub rows: u32,
}

struct Run {
    schemas: Vec<Schema>,
    pending: Vec<Pending>,
    config: TenantConfig,
    /// Compiled from a copy of `config`; made anew when a row brings a new source or attribute name.
    preparer: Preparer,
    rows: Vec<ResolvedRow>,
    /// The row that states each record now.
    row_of: HashMap<Digest128, u32>,
    truths: Vec<Box<str>>,
    truth_of: HashMap<Box<str>, u32>,
    refused: Vec<RefusedRow>,
    refused_count: u64,
    repeated_count: u64,
    retracted_count: u64,
    values_cut: u64,
    times_unreadable: u64,
    unlinked: BTreeMap<(NamespaceId, String), Unlinked>,
    values: HashMap<LinkValue, SeenValue>,
}

/// Reads, prepares and links all rows.
///
/// # Errors
/// [`ResolveError`] when a file breaks off or the laws do not compile.
pub fn link(
    mut inputs: Vec<Input>,
    config: TenantConfig,
    options: LinkOptions,
    told: &mut dyn FnMut(Progress),
) -> Result<Linked, ResolveError> {
    let schemas = match &options.models {
        Some(models) => models.iter().map(|model| model.schema.clone()).collect(),
        None => schema::schemas(&mut inputs)?,
    };
    let preparer = compile(&config, &schemas)?;
    let mut run = Run {
        schemas,
        pending: Vec::new(),
        config,
        preparer,
        rows: Vec::new(),
        row_of: HashMap::new(),
        truths: Vec::new(),
        truth_of: HashMap::new(),
        refused: Vec::new(),
        refused_count: 0,
        repeated_count: 0,
        retracted_count: 0,
        values_cut: 0,
        times_unreadable: 0,
        unlinked: BTreeMap::new(),
        values: HashMap::new(),
    };
    let several = inputs.len() > 1;
    let mut bytes_before = 0;
    let mut names: HashSet<String> = HashSet::new();
    for (file, mut input) in inputs.into_iter().enumerate() {
        // Rows may be known by the file's name and their line: files of one name are called by their paths.
        if !names.insert(input.name.clone()) {
            input.name = input.reader.file().display().to_string();
        }
        let file = u16::try_from(file).map_err(|_| ResolveError::Usage("more than 65,535 files".to_owned()))?;
        bytes_before += run.read(file, input, several, bytes_before, told)?;
    }
    told(Progress::Training);
    let models = match options.models {
        Some(models) => models,
        None => fit::fit(&run.schemas, &run.prepared(), options.learn_from_truth)?,
    };
    told(Progress::Settling);
    let mut weighers: [Option<Arc<dyn Weigher>>; 2] = [None, None];
    for model in &models {
        weighers[model.schema.party as usize] = Some(Arc::new(Matcher::new(model.clone())));
    }
    let mut engine = Engine::with_models(LinkRules::of(&run.config), weighers);
    run.take(&mut engine, options.online);
    engine.settle();
    Ok(run.finish(engine, models))
}

/// What the caller wants of a run.
#[derive(Clone, Debug, Default)]
pub struct LinkOptions {
    /// The match models, by kind of party; fitted to the files when none are given.
    pub models: Option<Vec<Model>>,
    /// Whether the model learns from the true clusters, where rows tell them.
    pub learn_from_truth: bool,
    /// Whether each row is settled before the next one is looked at, as a stream would be; the clusters are the same.
    pub online: bool,
}

/// A row that waits for the model.
struct Pending {
    row: u32,
    record: Digest128,
    what: What,
}

enum What {
    Put(Box<Prepared>),
    Retract(ObservedAt),
}

/// The unique namespace of which a record claims two values.
fn contradiction<'a>(prepared: &Prepared, config: &'a TenantConfig) -> Option<&'a str> {
    prepared
        .links
        .windows(2)
        .filter(|pair| pair[0].namespace == pair[1].namespace)
        .filter_map(|pair| config.namespace(pair[0].namespace))
        .find(|namespace| namespace.class == NamespaceClass::Unique)
        .map(|namespace| namespace.name.as_str())
}

fn compile(config: &TenantConfig, schemas: &[Schema]) -> Result<Preparer, ResolveError> {
    Preparer::with_schemas(Arc::new(config.clone()), run_key("index"), schemas)
        .map_err(|fault| ResolveError::Rules(fault.to_string()))
}

impl Run {
    fn read(
        &mut self,
        file: u16,
        input: Input,
        several: bool,
        bytes_before: u64,
        told: &mut dyn FnMut(Progress),
    ) -> Result<u64, ResolveError> {
        let Input { mut reader, mapping, name, .. } = input;
        let numbered = mapping.column_of(&Role::RecordId).is_none();
        let mut shaper =
            Shaper::new(mapping, &mut self.config).map_err(|fault| ResolveError::Usage(fault.to_string()))?;
        let rows_before = self.rows.len();
        while let Some(item) = reader.next_item()? {
            let shaped = match item {
                Item::Refused(refusal) => Err(refusal),
                Item::Record(raw) => {
                    let (line, keyed) = (raw.line, raw.key.is_some());
                    let shaped = shaper.shape(raw, reader.columns(), &mut self.config);
                    shaped.map(|shaped| (line, keyed, shaped))
                }
            };
            match shaped {
                Err(mut refusal) => {
                    // A line number alone would meet those of other files in the output.
                    let line = refusal.line.to_string();
                    if several && numbered && refusal.key.as_ref().is_none_or(|key| *key == line) {
                        refusal.key = Some(format!("{name}:{line}"));
                    }
                    self.refuse(file, refusal, None);
                }
                Ok((line, keyed, mut shaped)) => {
                    // Line numbers would meet those of other files of the source, or be taken for ids.
                    if !shaped.keyed && (several || !numbered) {
                        shaped.fragment.record.key = format!("{name}:{line}");
                    }
                    // Nor may they meet in the output.
                    if several && numbered && !keyed {
                        shaped.record_id = format!("{name}:{line}");
                    }
                    self.put(file, line, shaped)?;
                }
            }
            if (self.rows.len() as u64).is_multiple_of(BEAT_ROWS) {
                told(Progress::Reading { bytes: bytes_before + reader.bytes_taken(), rows: self.rows.len() as u64 });
            }
        }
        if self.rows.len() == rows_before {
            return Err(ResolveError::NoRows { file: reader.file().to_owned() });
        }
        Ok(reader.bytes_taken())
    }

    fn refuse(&mut self, file: u16, refusal: Refusal, truth: Option<u32>) {
        let record_id = refusal.key.clone().unwrap_or_else(|| refusal.line.to_string()).into_boxed_str();
        self.rows.push(ResolvedRow {
            record_id,
            file,
            line: refusal.line,
            record: None,
            profile: ProfileOrdinal(0),
            truth,
            repeated: false,
        });
        self.refused_count += 1;
        if self.refused.len() < REFUSALS_SHOWN_MAX {
            self.refused.push(RefusedRow { file, refusal });
        }
    }

    fn put(&mut self, file: u16, line: u64, shaped: Shaped) -> Result<(), ResolveError> {
        // The digest of facts names sources and attributes, so a preparer must know them all.
        let known = self.preparer.config();
        if known.sources.len() != self.config.sources.len()
            || known.attribute_names.len() != self.config.attribute_names.len()
        {
            self.preparer = compile(&self.config, &self.schemas)?;
        }
        self.values_cut += u64::from(shaped.values_cut);
        self.times_unreadable += u64::from(shaped.time_unreadable);
        let row = self.rows.len() as u32;
        let truth = shaped.truth.map(|truth| self.truth(truth));
        let refusal = |reason| Refusal { line, reason, key: Some(shaped.record_id.clone()) };
        let faults = check_limits(&shaped.fragment, &self.config, ANY_TIME);
        if !faults.is_empty() {
            let reasons: Vec<String> = faults.iter().map(ToString::to_string).collect();
            self.refuse(file, refusal(reasons.join("; ")), truth);
            return Ok(());
        }
        let record;
        match shaped.action {
            Action::Retract => {
                record = self.preparer.record_digest(shaped.fragment.record.source, &shaped.fragment.record.key);
                self.pending.push(Pending { row, record, what: What::Retract(shaped.fragment.observed_at) });
                self.retracted_count += 1;
            }
            Action::Put => {
                let (prepared, notes) = self.preparer.prepare(&shaped.fragment);
                record = prepared.record;
                if let Some(namespace) = contradiction(&prepared, &self.config) {
                    let reason = format!("holds two different values of {namespace}, of which a party has one");
                    self.refuse(file, refusal(reason), truth);
                    return Ok(());
                }
                self.note(&shaped.fragment, &notes);
                self.remember(&shaped.fragment, &prepared, &notes);
                self.pending.push(Pending { row, record, what: What::Put(Box::new(prepared)) });
            }
        }
        self.rows.push(ResolvedRow {
            record_id: shaped.record_id.into_boxed_str(),
            file,
            line,
            record: Some(record),
            profile: ProfileOrdinal(0),
            truth,
            repeated: false,
        });
        Ok(())
    }

    /// The rows that will count in the end, one for each live record, with their true clusters: what a record said before is
    /// no second record that looks much like it.
    fn prepared(&self) -> Vec<(&Prepared, Option<u32>)> {
        // As the engine will judge them.
        let version = |pending: &Pending| match &pending.what {
            What::Put(prepared) => (prepared.observed_at, false, prepared.facts),
            What::Retract(at) => (*at, true, Digest128([0; 16])),
        };
        let mut newest: HashMap<Digest128, usize> = HashMap::with_capacity(self.pending.len());
        for (at, pending) in self.pending.iter().enumerate() {
            let held = newest.entry(pending.record).or_insert(at);
            if version(pending) > version(&self.pending[*held]) {
                *held = at;
            }
        }
        let counts = |(at, pending): &(usize, &Pending)| newest.get(&pending.record) == Some(at);
        self.pending
            .iter()
            .enumerate()
            .filter(counts)
            .filter_map(|(_, pending)| match &pending.what {
                What::Put(prepared) => Some((&**prepared, self.rows[pending.row as usize].truth)),
                What::Retract(_) => None,
            })
            .collect()
    }

    /// Hands the rows to the engine, in the files' order.
    fn take(&mut self, engine: &mut Engine, online: bool) {
        for pending in std::mem::take(&mut self.pending) {
            let Pending { row, record, what } = pending;
            let place = Place { segment: 1, offset: row };
            match what {
                What::Retract(at) => {
                    engine.retract(record, at, place);
                }
                What::Put(prepared) => match engine.put(&prepared, place, SlotId(row)) {
                    Arrival::Fresh => drop(self.row_of.insert(record, row)),
                    Arrival::Newer => {
                        if let Some(before) = self.row_of.insert(record, row) {
                            self.rows[before as usize].repeated = true;
                            self.repeated_count += 1;
                        }
                    }
                    Arrival::Duplicate | Arrival::Superseded => {
                        self.rows[row as usize].repeated = true;
                        self.repeated_count += 1;
                    }
                },
            }
            if online {
                engine.settle();
            }
        }
    }

    fn truth(&mut self, truth: String) -> u32 {
        let truth = truth.into_boxed_str();
        if let Some(number) = self.truth_of.get(&truth) {
            return *number;
        }
        let number = self.truths.len() as u32;
        self.truths.push(truth.clone());
        self.truth_of.insert(truth, number);
        number
    }

    fn note(&mut self, fragment: &Fragment, notes: &[Note]) {
        for note in notes {
            let Some(identifier) = fragment.identifiers.get(note.identifier) else { continue };
            let reason = match note.reason {
                NoteReason::Malformed(why) => format!("malformed: {why}"),
                NoteReason::Blocked(BlockReason::Listed) => "blocked: listed".to_owned(),
                NoteReason::Blocked(BlockReason::Pattern(index)) => format!("blocked: pattern {index}"),
                NoteReason::Blocked(BlockReason::Junk(kind)) => format!("junk: {}", kind.as_str()),
                NoteReason::UnknownNamespace => "no such namespace".to_owned(),
            };
            let entry = self.unlinked.entry((identifier.namespace, reason));
            entry.or_insert_with(|| Unlinked { count: 0, example: mask(&identifier.raw) }).count += 1;
        }
    }

    /// Keeps a masked text for each linking value. Identifiers and links are both sorted by namespace, so the one of a
    /// namespace's own is matched without another digest; among several of one namespace the digest tells.
    fn remember(&mut self, fragment: &Fragment, prepared: &Prepared, notes: &[Note]) {
        let noted = |place: usize| notes.iter().any(|note| note.identifier == place);
        let identifiers: Vec<_> =
            fragment.identifiers.iter().enumerate().filter(|(place, _)| !noted(*place)).map(|(_, one)| one).collect();
        for link in &prepared.links {
            if let Some(seen) = self.values.get_mut(link) {
                seen.rows += 1;
                continue;
            }
            let same: Vec<_> = identifiers.iter().filter(|one| one.namespace == link.namespace).collect();
            let found = match same.as_slice() {
                [one] => Some(one),
                several => several.iter().find(|one| {
                    self.preparer.link_value(one.namespace, fragment.party, &one.raw).is_ok_and(|value| value == *link)
                }),
            };
            if let Some(one) = found {
                self.values.insert(*link, SeenValue { masked: mask(&one.raw).into_boxed_str(), rows: 1 });
            }
        }
    }

    fn finish(mut self, engine: Engine, models: Vec<Model>) -> Linked {
        // Rows without a live record get profiles of their own, from the far end of the ordinals.
        let mut alone = u32::MAX;
        for row in &mut self.rows {
            let settled = row.record.and_then(|record| engine.profile_of(record));
            row.profile = settled.unwrap_or_else(|| {
                alone -= 1;
                ProfileOrdinal(alone)
            });
        }
        Linked {
            engine,
            models,
            config: Arc::new(self.config),
            rows: self.rows,
            truths: self.truths,
            refused: self.refused,
            refused_count: self.refused_count,
            repeated_count: self.repeated_count,
            retracted_count: self.retracted_count,
            values_cut: self.values_cut,
            times_unreadable: self.times_unreadable,
            unlinked: self.unlinked,
            values: self.values,
        }
    }
}
