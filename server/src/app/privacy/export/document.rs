//! The shape of the text that is handed over: version 1. Keys come in the order in which they stand here, lists in the
//! order of events or by name, so that one state makes one text.
//!
//! Where a value is withheld stands `{"withheld": "REASON"}` in its place, and all of these are counted at the end.

use std::io::{self, Write};

use onefold_core::fragment::ObservedAt;
use onefold_core::hierarchy::Moment;
use serde::Serialize;

/// The version of the text's shape.
pub const FORMAT_VERSION: u32 = 1;

/// Why a value is not shown. The names are a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Withheld {
    /// Live records of somebody else hold the same identifier.
    HeldByOthers,
    /// So many hold it that it names nobody.
    NamesNobody,
    /// It was said of this person and of somebody else in one.
    SaidOfOthersToo,
    /// It names somebody else.
    NamesSomebodyElse,
    /// Its source took it back, and nothing in it says that it is this person's and not somebody's who was once taken
    /// for them.
    WhoseIsUnsure,
}

/// A moment as text: RFC 3339 in UTC. Before every date it is empty.
pub fn time(at: ObservedAt) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| String::new(), |time| time.to_string())
}

/// The same of a date in the world.
pub fn moment(at: Moment) -> Option<String> {
    Some(time(ObservedAt(at.0))).filter(|text| !text.is_empty())
}

/// A value, or why it is withheld.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Shown<T> {
    /// As it is.
    Value(T),
    /// Not.
    Withheld {
        /// Why.
        withheld: Withheld,
    },
}

/// Which source record says so.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Its source.
    pub source: String,
    /// Its key there.
    pub key: Shown<String>,
}

/// An identifier.
#[derive(Debug, Serialize)]
pub struct Identifier {
    /// Its kind.
    pub namespace: String,
    /// As it was submitted.
    pub value: Shown<String>,
}

/// An attribute.
#[derive(Debug, Serialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Shown<serde_json::Value>,
}

/// A value of the profile, with why it is the one.
#[derive(Debug, Serialize)]
pub struct Golden {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: Shown<serde_json::Value>,
    /// Whether the profile shows it; otherwise another one was picked.
    pub shown: bool,
    /// The rule that picked.
    pub rule: &'static str,
    /// How many source records say the same.
    pub support: u32,
    /// The record that it was taken from.
    pub record: Record,
    /// When that record was observed so.
    pub observed_time: String,
}

/// An identifier of the profile, with everybody who claims it.
#[derive(Debug, Serialize)]
pub struct GoldenIdentifier {
    /// Its kind.
    pub namespace: String,
    /// In comparable form.
    pub value: Shown<String>,
    /// The records that claim it, newest first.
    pub claimed_by: Vec<Claim>,
}

/// Who claims an identifier.
#[derive(Debug, Serialize)]
pub struct Claim {
    /// The record.
    pub record: Record,
    /// When it was observed so.
    pub observed_time: String,
}

/// What is served for the person.
#[derive(Debug, Serialize)]
pub struct Profile {
    /// Its id.
    pub id: String,
    /// PERSON or ORGANISATION.
    pub party_kind: &'static str,
    /// When the oldest of its live fragments was observed.
    pub first_observed_time: String,
    /// When the newest was.
    pub last_observed_time: String,
    /// The stage that it stands at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Values.
    pub attributes: Vec<Golden>,
    /// Identifiers.
    pub identifiers: Vec<GoldenIdentifier>,
    /// Free-form traits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traits: Option<serde_json::Value>,
}

/// A role in an account, as a fragment tells it.
#[derive(Debug, Serialize)]
pub struct Role {
    /// The account, as a source knows it.
    pub account: Record,
    /// The role; empty: not said.
    pub role: Shown<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_time: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_time: Option<String>,
}

/// A stage that a party reached, as a fragment tells it.
#[derive(Debug, Serialize)]
pub struct ReachedStage {
    /// Its name.
    pub stage: Shown<String>,
    /// When it was reached; absent: when the record was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached_time: Option<String>,
}

/// One submission about a source record.
#[derive(Debug, Serialize)]
pub struct Version {
    /// Where in the order of events.
    pub sequence: u64,
    /// When it came in.
    pub received_time: String,
    /// When the source saw it so.
    pub observed_time: String,
    /// Whether it is the one in force; otherwise it was superseded, or its record taken back.
    pub live: bool,
    /// PERSON or ORGANISATION.
    pub party_kind: &'static str,
    /// Identifiers.
    pub identifiers: Vec<Identifier>,
    /// Attributes.
    pub attributes: Vec<Attribute>,
    /// Free-form traits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traits: Option<serde_json::Value>,
    /// Roles in accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Stages of a lifecycle.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<ReachedStage>,
}

/// A source took its record back.
#[derive(Debug, Serialize)]
pub struct Retraction {
    /// Where in the order of events.
    pub sequence: u64,
    /// When it came in.
    pub received_time: String,
    /// When the source removed it.
    pub observed_time: String,
}

/// A source record with all that is kept of it.
#[derive(Debug, Serialize)]
pub struct SourceRecord {
    /// Its name.
    #[serde(flatten)]
    pub record: Record,
    /// NAMED, MEMBER_OF_PROFILE, RETRACTED_FROM_PROFILE or RETRACTED_SHARING_IDENTIFIER: why it is this person's.
    pub evidence: &'static str,
    /// The profile that the evidence names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What it says and said, oldest first.
    pub versions: Vec<Version>,
    /// When it was taken back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retractions: Vec<Retraction>,
}

/// A fragment that broke its contract and waits.
#[derive(Debug, Serialize)]
pub struct Quarantined {
    /// Its name.
    #[serde(flatten)]
    pub record: Record,
    /// What is wrong with it.
    pub faults: Vec<String>,
    /// What it says.
    pub content: Version,
    /// What was said with it, and counts once it is let in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<Statement>,
}

/// A consent statement.
#[derive(Debug, Default, Serialize)]
pub struct Statement {
    /// Its id.
    pub sequence: u64,
    /// When the person said it.
    pub given_time: String,
    /// When it came here.
    pub recorded_time: String,
    /// Until when a yes holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_time: Option<String>,
    /// What for; absent: every purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Over which channel; absent: every channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What was said.
    pub decision: &'static str,
    /// Under whose law.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<String>,
    /// The later statement that confirms it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<u64>,
    /// Its words, or why they are withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Words>,
    /// Why its words are withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
}

/// What of a statement is kept sealed.
#[derive(Debug, Serialize)]
pub struct Words {
    /// PROFILE, RECORD or IDENTIFIER: how the person was named.
    pub subject: &'static str,
    /// The identifier by which they were named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Identifier>,
    /// The record by which they were named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// On which ground.
    pub lawful_basis: &'static str,
    /// Which version of which notice was shown.
    pub notice: String,
    /// In which language.
    pub language: String,
    /// The system that collected it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How.
    pub method: String,
    /// Where the proof lies.
    pub evidence: Shown<String>,
    /// Signals of browsers as they came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Signal>,
}

/// A signal of a browser.
#[derive(Debug, Serialize)]
pub struct Signal {
    /// GPC, TCF or GPP.
    pub kind: &'static str,
    /// As it came.
    pub text: String,
    /// When it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_time: Option<String>,
    /// On which device or browser.
    pub device: String,
}

/// What holds for one purpose and channel.
#[derive(Debug, Serialize)]
pub struct Effective {
    /// Of which profile.
    pub profile: String,
    /// What for.
    pub purpose: String,
    /// Over which channel; absent: said of every channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What holds.
    pub state: &'static str,
    /// The statements that decided it.
    pub decided_by: Vec<u64>,
    /// Suppressions in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suppressed_by: Vec<u64>,
    /// Restrictions in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restricted_by: Vec<u64>,
}

/// A contact that was allowed.
#[derive(Debug, Serialize)]
pub struct Contact {
    /// Its id.
    pub sequence: u64,
    /// When it was decided.
    pub decided_time: String,
    /// What for.
    pub purpose: String,
    /// Over which channel.
    pub channel: String,
    /// For when.
    pub contact_time: String,
    /// OPEN, CONFIRMED or RELEASED.
    pub standing: &'static str,
}

/// What was told of a record as a part of accounts, or of its stage.
#[derive(Debug, Serialize)]
pub struct Told {
    /// Where in the order of events.
    pub sequence: u64,
    /// When it was told.
    pub told_time: String,
    /// ACCOUNT, PARENT, CLOSED, ROLE, ROLE_ENDED or STAGE.
    pub what: &'static str,
    /// The name of the account, its role, its stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Shown<String>>,
    /// The account that a role is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Shown<String>>,
    /// Since when it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_time: Option<String>,
    /// Until when it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_time: Option<String>,
}

/// What a steward judged of the person's records.
#[derive(Debug, Serialize)]
pub struct Judgement {
    /// Where in the order of events.
    pub sequence: u64,
    /// When it was said.
    pub judged_time: String,
    /// SAME, DIFFERENT or UNSURE.
    pub verdict: &'static str,
    /// The two records; one that is somebody else's is withheld.
    pub records: Vec<Shown<Record>>,
    /// Who said it: somebody else, so it is withheld and counted.
    pub author: Shown<String>,
    /// Why.
    pub reason: Shown<String>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_time: Option<String>,
}

/// A privacy request about the person.
#[derive(Debug, Serialize)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// What was asked for.
    pub kind: &'static str,
    /// Under which law.
    pub regulation: &'static str,
    /// Where it stands.
    pub state: String,
    /// When it came in.
    pub received_time: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// To whom an export went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_to: Option<String>,
}

/// A keyed digest that is kept to stop what was erased from coming back: it says nothing, and still is of the person.
#[derive(Debug, Serialize)]
pub struct Suppression {
    /// The kind of identifier; absent: it is a source record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Since when.
    pub since_time: String,
    /// When somebody is to look whether it is needed still.
    pub review_time: String,
    /// The erasure that it comes from.
    pub request: String,
    /// How often what was erased then was sent again and stopped.
    pub resends_stopped: u64,
}

/// Somebody was shown something of the person.
#[derive(Debug, Serialize)]
pub struct Disclosure {
    /// Not before.
    pub from_time: String,
    /// Not after.
    pub until_time: String,
    /// `key:{id}` of an API key, `operator`, or `anonymous` where nobody is asked who they are.
    pub reader: String,
    /// Through which call.
    pub call: &'static str,
    /// What for; absent: not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// How often.
    pub times: u64,
}

/// What is withheld, counted.
#[derive(Debug, Serialize)]
pub struct WithheldCount {
    /// In which part of this text.
    pub part: &'static str,
    /// What: the name of a namespace, or in words.
    pub what: String,
    /// Why.
    pub reason: Withheld,
    /// How often.
    pub count: u32,
}

/// Writes the text: an object, key by key, and in it lists, entry by entry, a line each. No more than one entry is held.
pub struct Text<'a, W> {
    out: &'a mut W,
    any: bool,
}

impl<'a, W: Write> Text<'a, W> {
    /// Opens it.
    ///
    /// # Errors
    /// As the writer.
    pub fn open(out: &'a mut W) -> io::Result<Self> {
        out.write_all(b"{")?;
        Ok(Self { out, any: false })
    }

    fn key(&mut self, name: &str) -> io::Result<()> {
        self.out.write_all(if self.any { b",\n" } else { b"\n" })?;
        self.any = true;
        serde_json::to_writer(&mut *self.out, name)?;
        self.out.write_all(b": ")
    }

    /// A key and its value.
    ///
    /// # Errors
    /// As the writer.
    pub fn put(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.key(name)?;
        Ok(serde_json::to_writer(&mut *self.out, value)?)
    }

    /// A key and a list, whose entries `fill` hands over one by one.
    ///
    /// # Errors
    /// As the writer, or as `fill`.
    pub fn list<T: Serialize, E: From<io::Error>>(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut dyn FnMut(T) -> Result<(), E>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.key(name)?;
        self.out.write_all(b"[")?;
        let mut any = false;
        let out = &mut *self.out;
        fill(&mut |entry: T| {
            out.write_all(if any { b",\n  " } else { b"\n  " })?;
            any = true;
            serde_json::to_writer(&mut *out, &entry).map_err(io::Error::from)?;
            Ok(())
        })?;
        self.out.write_all(if any { b"\n]" } else { b"]" })?;
        Ok(())
    }

    /// Closes it.
    ///
    /// # Errors
    /// As the writer.
    pub fn close(self) -> io::Result<()> {
        self.out.write_all(b"\n}\n")
    }
}
