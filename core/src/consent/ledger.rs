//! The ledger in memory: of every statement what deciding needs, found by the points at which it stands.
//!
//! Append-only. The words themselves lie sealed in the journal, at [`Entry::place`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::consent::elsewhere::Elsewhere;
use crate::consent::left::{LeftBehind, LeftRow, Version};
use crate::consent::state::{Question, Said, Voices};
use crate::consent::{ChannelId, Decision, Jurisdiction, PurposeId, Statement};
use crate::fragment::ObservedAt;
use crate::ids::{Digest128, Place, Sequence, SlotId};

/// What the ledger keeps of one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id: the sequence of its journal entry.
    pub id: Sequence,
    /// Where its words lie.
    pub place: Place,
    /// The key that seals them.
    pub slot: SlotId,
    /// What for.
    pub purpose: Option<PurposeId>,
    /// Over which channel.
    pub channel: Option<ChannelId>,
    /// What was said.
    pub decision: Decision,
    /// When the person said it.
    pub given_at: ObservedAt,
    /// When it came here.
    pub recorded_at: ObservedAt,
    /// Until when a yes holds.
    pub expires_at: Option<ObservedAt>,
    /// Under whose law.
    pub jurisdiction: Option<Jurisdiction>,
    /// It is about an identifier, so its points follow the rules by which values are read.
    pub by_identifier: bool,
    /// The later statement that confirms it; of a restriction the one that ends it.
    pub confirmed_by: Option<Sequence>,
    /// It ends one restriction, and says nothing to others at its points.
    pub ends_one: bool,
    /// Nobody said when it was given.
    pub undated: bool,
}

impl Entry {
    /// When a word counts from. A yes dated into the future would outlive a later no, so it counts from its arrival at
    /// the latest; one that nobody dated is older than every no.
    #[must_use]
    pub fn counts_from(&self) -> ObservedAt {
        match self.decision {
            _ if self.undated => ObservedAt(i64::MIN),
            Decision::Granted | Decision::Pending | Decision::Released => self.given_at.min(self.recorded_at),
            _ => self.given_at,
        }
    }

    fn answers(&self, question: &Question) -> bool {
        self.purpose.is_none_or(|purpose| purpose == question.purpose)
            && (self.channel.is_none() || self.channel == question.channel)
            && question.said_by.is_none_or(|by| self.given_at.min(self.recorded_at) <= by)
            && question.known_by.is_none_or(|by| self.recorded_at <= by)
    }

    /// Whether a yes still holds at a moment.
    #[must_use]
    pub fn is_live(&self, at: ObservedAt) -> bool {
        self.expires_at.is_none_or(|end| at < end)
    }
}

/// Statements at one point: most have one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    One(u32),
    Many(Vec<u32>),
}

impl At {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn push(&mut self, index: u32) {
        match self {
            Self::One(one) => *self = Self::Many(vec![*one, index]),
            Self::Many(many) => many.push(index),
        }
    }
}

/// One statement in a checkpoint: what is kept, where it stands, the digest of its content.
type Row = (Entry, Vec<Digest128>, Digest128);

/// All statements of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// In order of recording.
    entries: Vec<Entry>,
    points: Vec<Box<[Digest128]>>,
    contents: Vec<Digest128>,
    by_point: HashMap<Digest128, At>,
    by_content: HashMap<Digest128, u32>,
    /// The identifiers that a retracted record with a stop held when it went, and those that a fragment of it would have brought that
    /// was never taken in; after a restore what stood together with a point, record or identifier, when a stop was said there.
    left_behind: LeftBehind,
    /// The identifiers that a record with a stop would hold if what waits of it were taken in. A checkpoint does not keep it: it
    /// follows from what waits.
    waiting: Elsewhere,
    /// Recorded, and not told in the feed yet.
    untold: Vec<u32>,
    /// Restrictions that were carried out upon a person's request.
    bound: HashSet<Sequence>,
    /// Records that became somebody else's, and the last statement that was made at each before that.
    passed_on: HashMap<Digest128, Sequence>,
    /// When statements end.
    ends: BTreeMap<ObservedAt, Vec<u32>>,
    /// The feed has told of all that ended up to here.
    ended_by: ObservedAt,
}

/// The ledger as a checkpoint keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LedgerRows {
    rows: Vec<Row>,
    left_behind: Vec<LeftRow>,
    untold: Vec<u32>,
    ended_by: ObservedAt,
    passed_on: Vec<(Digest128, Sequence)>,
}

impl Ledger {
    /// How many statements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The statement with this content, if it is known.
    #[must_use]
    pub fn known(&self, content: Digest128) -> Option<Sequence> {
        self.by_content.get(&content).map(|index| self.entries[*index as usize].id)
    }

    /// Appends a statement.
    pub fn record(&mut self, entry: Entry, points: &[Digest128], content: Digest128) {
        let index = self.entries.len() as u32;
        let points: HashSet<Digest128> = points.iter().copied().collect();
        let mut points: Box<[Digest128]> = points.into_iter().collect();
        points.sort_unstable();
        for point in &points {
            self.by_point.entry(*point).and_modify(|at| at.push(index)).or_insert(At::One(index));
        }
        self.by_content.insert(content, index);
        if let Some(end) = entry.expires_at {
            self.ends.entry(end).or_default().push(index);
        }
        self.entries.push(entry);
        self.points.push(points);
        self.contents.push(content);
        self.untold.push(index);
    }

    /// Notes that a pending statement was confirmed.
    pub fn confirm(&mut self, id: Sequence, by: Sequence) {
        if let Some(index) = self.index_of(id) {
            self.entries[index].confirmed_by = Some(by);
        }
    }

    /// Notes that these restrictions were carried out upon a person's request: a source's RELEASED ends them at no point. A
    /// checkpoint does not keep it; whoever keeps what was carried out says it again.
    pub fn bind(&mut self, restrictions: &[Sequence]) {
        self.bound.extend(restrictions);
    }

    /// The newest stop in force that was said at one of these points themselves and bears on a purpose and channel, `later`
    /// statements included: those that are decided on and not recorded here yet. What is only heard there may leave again.
    #[must_use]
    pub fn stop_at(&self, later: &Self, points: &[Digest128], question: &Question) -> Option<Said> {
        let own = |point| self.own_at(Some(later), point).map(move |entry| (point, entry));
        self.hear(points, question, own).newest_stop()
    }

    /// When the newest word at these points that could lift a stop counts from, `later` statements included.
    #[must_use]
    pub fn newest_lift_at(&self, later: &Self, points: &[Digest128]) -> Option<ObservedAt> {
        let all = points.iter().flat_map(|point| self.at(Some(later), *point)).map(|(_, entry)| entry);
        all.filter(|entry| !(entry.decision.is_stop() || entry.decision.is_hold())).map(Entry::counts_from).max()
    }

    fn index_of(&self, id: Sequence) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    /// The statement with this id.
    #[must_use]
    pub fn get(&self, id: Sequence) -> Option<&Entry> {
        self.index_of(id).map(|index| &self.entries[index])
    }

    /// The points of a statement.
    #[must_use]
    pub fn points_of(&self, id: Sequence) -> &[Digest128] {
        self.index_of(id).map_or(&[], |index| &self.points[index])
    }

    /// Whether a statement was made at none of these points, and is at most heard there: of a record that is not there, or waits.
    #[must_use]
    pub fn is_only_heard_at(&self, id: Sequence, points: &HashSet<Digest128>) -> bool {
        !self.points_of(id).iter().any(|point| points.contains(point))
    }

    fn recorded_at(&self, point: Digest128) -> impl Iterator<Item = &Entry> {
        let at = self.by_point.get(&point).map_or(&[][..], At::as_slice).iter();
        at.map(|index| &self.entries[*index as usize])
    }

    /// The statements at a point, those left behind there by retracted records included, and `later` ones that are not
    /// recorded here yet.
    fn at<'a>(&'a self, later: Option<&'a Self>, point: Digest128) -> impl Iterator<Item = (Digest128, &'a Entry)> {
        let own = self.own_at(later, point).map(move |entry| (point, entry));
        let orphans = self.left_behind.heard_here(point);
        let waiting = self.waiting.heard_here(point).iter().filter(|record| !orphans.contains(record));
        // They are judged at the record that they come from: what lifts them must come from there too.
        let left = orphans.iter().chain(waiting).flat_map(move |record| {
            let all = self.own_at(later, *record).map(|entry| (*record, entry));
            all.filter(|(_, entry)| entry.decision != Decision::Pending)
        });
        own.chain(left)
    }

    /// The statements that were made at a point. A yes at a record was its person's, and is nobody's once the record is somebody
    /// else's; a no stays (law 6).
    fn own_at<'a>(&'a self, later: Option<&'a Self>, point: Digest128) -> impl Iterator<Item = &'a Entry> {
        let until = self.passed_on.get(&point).copied();
        let gone = move |entry: &&Entry| {
            let is_yes = matches!(entry.decision, Decision::Granted | Decision::Pending);
            is_yes && until.is_some_and(|until| entry.id <= until)
        };
        self.recorded_at(point)
            .filter(move |entry| !gone(entry))
            .chain(later.into_iter().flat_map(move |later| later.recorded_at(point)))
    }

    /// What the statements at these points say to a question.
    #[must_use]
    pub fn voices(&self, points: &[Digest128], question: &Question) -> Voices {
        self.hear(points, question, |point| self.at(None, point))
    }

    /// What they say of whom `at` has at each point: whose each is, and the statement.
    fn hear<'a, I: Iterator<Item = (Digest128, &'a Entry)>>(
        &'a self,
        points: &[Digest128],
        question: &Question,
        at: impl Fn(Digest128) -> I,
    ) -> Voices {
        let mut voices = Voices::default();
        for point in points {
            let heard = |entry: &Entry| entry.answers(question) && !entry.ends_one && !self.is_ended(entry, question);
            for (at, entry) in at(*point).filter(|(_, entry)| heard(entry)) {
                let said = Said { at: entry.counts_from(), word: entry.decision, statement: entry.id };
                // A retracted record grants nothing: of it only what stops, and what lifts its own stops, is heard.
                let foreign = at != *point;
                if entry.decision == Decision::Restricted && self.bound.contains(&entry.id) {
                    voices.bind(at, said);
                } else if foreign && entry.decision == Decision::Granted {
                    voices.lift(at, said, entry.is_live(question.at));
                } else {
                    voices.hear(at, said, entry.is_live(question.at));
                }
            }
        }
        voices
    }

    /// Whether a restriction was ended by a statement that was made for it. A suppression, and any other restriction, stays.
    fn is_ended(&self, entry: &Entry, question: &Question) -> bool {
        entry.decision == Decision::Restricted
            && entry.confirmed_by.and_then(|end| self.get(end)).is_some_and(|end| end.answers(question))
    }

    /// The ids of all statements at these points, in order of recording.
    #[must_use]
    pub fn ids_at(&self, points: &[Digest128]) -> Vec<Sequence> {
        let mut ids: Vec<Sequence> =
            points.iter().flat_map(|point| self.at(None, *point).map(|(_, entry)| entry.id)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The jurisdictions that statements at these points name, those included that are only heard there.
    #[must_use]
    pub fn jurisdictions_at(&self, points: &[Digest128]) -> Vec<Jurisdiction> {
        let heard = points.iter().flat_map(|point| self.at(None, *point).filter_map(|(_, entry)| entry.jurisdiction));
        let all: BTreeSet<Jurisdiction> = heard.collect();
        all.into_iter().collect()
    }

    /// Whether a statement that was made at one of these points themselves names a jurisdiction. What is only heard there, of a
    /// record that is not there, or waits, tells nobody's law.
    #[must_use]
    pub fn names_law_at(&self, points: &[Digest128]) -> bool {
        points.iter().flat_map(|point| self.recorded_at(*point)).any(|entry| entry.jurisdiction.is_some())
    }

    /// A record is retracted that held these identifiers. A stop cannot be lost (law 6): what was said no to at the
    /// record stands on at the identifiers, until the record comes back; and where it was heard already, beside them.
    pub fn record_left(&mut self, record: Digest128, identifiers: impl FnOnce() -> Vec<Digest128>) {
        if self.has_stop_at(record) {
            self.stand_on(record, &identifiers(), None);
        }
    }

    /// Of a retracted record a later version became known, which held these identifiers in place of those: what was said no to
    /// at it stands on there.
    pub fn record_had(&mut self, record: Digest128, before: &[Digest128], identifiers: &[Digest128], version: Version) {
        if self.has_stop_at(record) {
            self.left_behind.replace(record, before, identifiers, version);
        }
    }

    /// Where statements at this point are heard beside it.
    pub fn heard_elsewhere(&self, point: Digest128) -> impl Iterator<Item = Digest128> {
        self.left_behind.of(point).iter().chain(self.waiting.of(point)).copied()
    }

    /// Fragments of this record wait that would bring these identifiers: what was said no to at it is heard there, and, of what
    /// waits, nowhere else.
    pub fn waits(&mut self, record: Digest128, heard_at: Vec<Digest128>) {
        self.waiting.set(record, heard_at);
    }

    /// What was told by [`Ledger::waits`].
    #[must_use]
    pub fn waits_at(&self, record: Digest128) -> &[Digest128] {
        self.waiting.of(record)
    }

    /// The points of which statements are heard at this one: retracted records that held it last, or held what its record gave up.
    #[must_use]
    pub fn heard_here(&self, point: Digest128) -> &[Digest128] {
        self.left_behind.heard_here(point)
    }

    /// Where statements at this point are heard beside it, but for what waits.
    #[must_use]
    pub fn stands_on(&self, point: Digest128) -> &[Digest128] {
        self.left_behind.of(point)
    }

    /// Whether statements stand anywhere but at their own points.
    #[must_use]
    pub fn any_stands_on(&self) -> bool {
        !self.left_behind.is_empty()
    }

    /// Whether somebody said no at this point, of anything.
    #[must_use]
    pub fn has_stop_at(&self, point: Digest128) -> bool {
        self.recorded_at(point).any(|entry| entry.decision.is_stop() || entry.decision.is_hold())
    }

    /// Statements at this point are heard at these too, until it is told of together with them, or, of a record, at all: of what a
    /// version would have brought that was never taken in, until a newer one is told.
    pub fn stand_on(&mut self, point: Digest128, heard_at: &[Digest128], of: Option<Version>) {
        self.left_behind.add(point, heard_at, of);
    }

    /// The newest version of a record, never taken in, since which statements at it are heard at an identifier.
    #[must_use]
    pub fn stands_on_since(&self, record: Digest128, identifier: Digest128) -> Option<Version> {
        self.left_behind.version_of(record, identifier)
    }

    /// The points of what was said of this identifier at which statements are heard elsewhere too. An identifier has one for
    /// each kind of party that could hold it.
    #[must_use]
    pub fn standing_on(&self, identifier: Digest128) -> Vec<Digest128> {
        if self.left_behind.is_empty() {
            return Vec::new();
        }
        let at = self.by_point.get(&identifier).map_or(&[][..], At::as_slice).iter().map(|index| *index as usize);
        let said = at.filter(|index| self.entries[*index].by_identifier);
        let points: BTreeSet<Digest128> =
            said.flat_map(|index| self.points[index].iter().copied()).chain([identifier]).collect();
        points.into_iter().filter(|point| !self.left_behind.of(*point).is_empty()).collect()
    }

    /// A live fragment tells of this point: where it stands together with others again, nothing has to be heard there on its
    /// behalf. What stands with it no longer, or not yet, hears it still.
    pub fn stands_with(&mut self, point: Digest128, together: &HashSet<Digest128>) {
        self.left_behind.retain(point, |other| !together.contains(other));
    }

    /// Whether a restriction was carried out upon a person's request.
    #[must_use]
    pub fn is_bound(&self, restriction: Sequence) -> bool {
        self.bound.contains(&restriction)
    }

    /// The restriction that this word was made to end.
    #[must_use]
    pub fn ended_by(&self, end: Sequence) -> Option<Sequence> {
        let at = self.points_of(end).iter().flat_map(|point| self.by_point.get(point).map_or(&[][..], At::as_slice));
        let entries = at.map(|index| &self.entries[*index as usize]);
        entries.filter(|entry| entry.confirmed_by == Some(end)).map(|entry| entry.id).min()
    }

    /// Statements that were recorded after this one, in order.
    #[must_use]
    pub fn after(&self, id: Sequence) -> &[Entry] {
        &self.entries[self.entries.partition_point(|entry| entry.id <= id)..]
    }

    /// A record has a live fragment: its statements stand at the record itself, and beside it at what a newer one would have brought.
    pub fn record_is_back(&mut self, record: Digest128, version: Version) {
        self.left_behind.end(record, version);
    }

    /// A record is somebody else's from now on.
    pub fn pass_on(&mut self, record: Digest128) {
        if let Some(last) = self.by_point.get(&record).and_then(|at| at.as_slice().last()) {
            self.passed_on.insert(record, self.entries[*last as usize].id);
        }
    }

    /// The points of statements that the feed has not told of, those included at which they are heard beside their own, and those at
    /// which something said before began or ceased to be heard; and forgets which they were.
    pub fn take_untold(&mut self) -> Vec<Digest128> {
        let mut points: Vec<Digest128> = std::mem::take(&mut self.untold)
            .into_iter()
            .flat_map(|index| self.points[index as usize].iter().copied())
            .flat_map(|point| std::iter::once(point).chain(self.heard_elsewhere(point)))
            .collect();
        points.extend(self.left_behind.take_moved());
        points.extend(self.waiting.take_moved());
        points.sort_unstable();
        points.dedup();
        points
    }

    /// What is heard where is as the feed told: a checkpoint was read.
    pub fn is_told(&mut self) {
        self.left_behind.take_moved();
        self.waiting.take_moved();
    }

    /// Statements that end between what the feed has told of and now. Where the clock was set back, those that hold again.
    fn ending(&self, now: ObservedAt) -> impl Iterator<Item = u32> {
        let span = (Bound::Excluded(self.ended_by.min(now)), Bound::Included(self.ended_by.max(now)));
        let none = self.ended_by == now;
        let ending = (!none).then(|| self.ends.range(span)).into_iter().flatten();
        ending.flat_map(|(_, indexes)| indexes).copied()
    }

    /// Whether a statement ended that stands somewhere, and the feed has not told of it.
    #[must_use]
    pub fn has_ended(&self, now: ObservedAt) -> bool {
        self.ending(now).any(|index| !self.points[index as usize].is_empty())
    }

    /// Time passes: the feed is to tell of what ended meanwhile. Nobody says anything when a yes runs out.
    pub fn pass(&mut self, now: ObservedAt) {
        let ended: Vec<u32> = self.ending(now).collect();
        self.untold.extend(ended);
        self.ended_by = now;
    }

    /// The feed has told of what ended up to here.
    pub fn passed(&mut self, until: ObservedAt) {
        self.ended_by = until;
    }

    /// Puts a statement at other points: identifiers are read by other rules now.
    pub fn move_to(&mut self, id: Sequence, points: Vec<Digest128>) {
        let Some(index) = self.index_of(id) else { return };
        let moved = index as u32;
        for point in std::mem::take(&mut self.points[index]) {
            let left = match self.by_point.get_mut(&point) {
                Some(At::Many(many)) => {
                    many.retain(|known| *known != moved);
                    !many.is_empty()
                }
                Some(At::One(_)) | None => false,
            };
            if !left {
                self.by_point.remove(&point);
            }
        }
        for point in &points {
            match self.by_point.get_mut(point) {
                None => {
                    self.by_point.insert(*point, At::One(moved));
                }
                Some(at) => {
                    let mut all = at.as_slice().to_vec();
                    all.push(moved);
                    all.sort_unstable();
                    *at = At::Many(all);
                }
            }
        }
        self.points[index] = points.into_boxed_slice();
    }

    /// The statements that stand at any of these points, with the key of each one's words, and whether it stands nowhere
    /// else. What was forgotten is not among them.
    #[must_use]
    pub fn standing_at(&self, points: &HashSet<Digest128>) -> Vec<(Sequence, SlotId, bool)> {
        let at = points.iter().filter_map(|point| self.by_point.get(point)).flat_map(At::as_slice);
        let indexes: HashSet<u32> = at.copied().collect();
        let mut found: Vec<(Sequence, SlotId, bool)> = indexes
            .into_iter()
            .map(|index| {
                let entry = &self.entries[index as usize];
                let wholly = self.points[index as usize].iter().all(|point| points.contains(point));
                (entry.id, entry.slot, wholly)
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// Forgets that anything was said at these points. A statement that stands nowhere else keeps its number, with
    /// nothing behind it.
    pub fn forget(&mut self, points: &HashSet<Digest128>) {
        let mut touched: HashSet<u32> = HashSet::new();
        self.left_behind.forget(points);
        self.waiting.forget(points);
        for point in points {
            self.passed_on.remove(point);
            if let Some(at) = self.by_point.remove(point) {
                touched.extend(at.as_slice());
            }
        }
        for index in touched {
            let left: Vec<Digest128> =
                self.points[index as usize].iter().filter(|point| !points.contains(point)).copied().collect();
            if left.is_empty() {
                let content = std::mem::replace(&mut self.contents[index as usize], Digest128([0; 16]));
                if self.by_content.get(&content) == Some(&index) {
                    self.by_content.remove(&content);
                }
            }
            self.points[index as usize] = left.into_boxed_slice();
        }
    }

    /// Forgets single statements, wherever they stand; others stay at their points.
    pub fn forget_said(&mut self, ids: &[Sequence]) {
        let indexes: Vec<usize> = ids.iter().filter_map(|id| self.index_of(*id)).collect();
        for index in indexes {
            for point in std::mem::take(&mut self.points[index]) {
                let Some(at) = self.by_point.get_mut(&point) else { continue };
                let left: Vec<u32> = at.as_slice().iter().copied().filter(|other| *other as usize != index).collect();
                match left.is_empty() {
                    true => drop(self.by_point.remove(&point)),
                    false => *at = At::Many(left),
                }
            }
            let content = std::mem::replace(&mut self.contents[index], Digest128([0; 16]));
            if self.by_content.get(&content).is_some_and(|of| *of as usize == index) {
                self.by_content.remove(&content);
            }
        }
    }

    /// All statements, in order of recording.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// As a checkpoint keeps it.
    #[must_use]
    pub fn to_rows(&self) -> LedgerRows {
        let rows = self.entries.iter().zip(&self.points).zip(&self.contents);
        let rows = rows.map(|((entry, points), content)| (*entry, points.to_vec(), *content)).collect();
        LedgerRows {
            rows,
            left_behind: self.left_behind.to_rows(),
            untold: self.untold.clone(),
            ended_by: self.ended_by,
            passed_on: self.passed_on.iter().map(|(record, last)| (*record, *last)).collect(),
        }
    }

    /// From a checkpoint.
    #[must_use]
    pub fn from_rows(rows: LedgerRows) -> Self {
        let mut ledger = Self::default();
        for (entry, points, content) in rows.rows {
            ledger.record(entry, &points, content);
        }
        ledger.by_content.remove(&Digest128([0; 16]));
        ledger.left_behind = LeftBehind::from_rows(rows.left_behind);
        ledger.untold = rows.untold;
        ledger.passed_on = rows.passed_on.into_iter().collect();
        ledger.ended_by = rows.ended_by;
        ledger
    }
}

/// What the ledger keeps of a statement that was recorded as `id`.
#[must_use]
pub fn entry_of(statement: &Statement, id: Sequence, place: Place, slot: SlotId) -> Entry {
    Entry {
        id,
        place,
        slot,
        purpose: statement.purpose,
        channel: statement.channel,
        decision: statement.decision,
        given_at: statement.given_at,
        recorded_at: statement.recorded_at,
        expires_at: statement.expires_at,
        jurisdiction: statement.jurisdiction,
        by_identifier: matches!(statement.subject, crate::consent::Subject::Identifier { .. }),
        confirmed_by: None,
        ends_one: statement.decision == Decision::Released && statement.confirms.is_some(),
        undated: statement.undated,
    }
}
