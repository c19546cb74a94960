//! Seeded traffic as sources send it: puts, newer and older versions, retractions, re-sends, shared and contradicting
//! values, fragments that break their contract; and the ground truth of what was sent.

use std::collections::{BTreeMap, BTreeSet};

use onefold_proto::v1 as pb;

use crate::dice::Dice;
use crate::{Clients, identifier, record, text};

/// The sources of the traffic. `ledger` has a contract: every fragment of it needs a `plan`.
pub const SOURCES: [&str; 4] = ["crm", "shop", "app", "ledger"];

const NAMES: [(&str, &str); 8] = [
    ("Ada", "King"),
    ("Bruno", "Stone"),
    ("Carla", "Mertz"),
    ("Dario", "Vogel"),
    ("Edda", "Lund"),
    ("Frans", "Post"),
    ("Greta", "Wolf"),
    ("Hugo", "Ritter"),
];
const CITIES: [(&str, &str); 3] = [("Ulm", "89073"), ("Bremen", "28195"), ("Halle", "06108")];

/// One step of an ingest stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A fragment.
    Put(pb::Fragment),
    /// A retraction.
    Retract(pb::Retraction),
}

impl Message {
    /// The message on the wire.
    #[must_use]
    pub fn request(&self, parent: &str, client_sequence: u64) -> pb::StreamFragmentsRequest {
        use pb::stream_fragments_request::Action;
        let action = match self.clone() {
            Self::Put(fragment) => Action::Put(fragment),
            Self::Retract(retraction) => Action::Retract(retraction),
        };
        pb::StreamFragmentsRequest { parent: parent.to_owned(), client_sequence, action: Some(action) }
    }

    /// Source and key.
    #[must_use]
    pub fn record(&self) -> (&str, &str) {
        let record = match self {
            Self::Put(fragment) => fragment.record.as_ref(),
            Self::Retract(retraction) => retraction.record.as_ref(),
        };
        record.map(|record| (record.source.as_str(), record.key.as_str())).unwrap_or_default()
    }

    /// When it was observed, in nanoseconds since 1970.
    #[must_use]
    pub fn at(&self) -> i128 {
        let at = match self {
            Self::Put(fragment) => fragment.observed_time,
            Self::Retract(retraction) => retraction.observed_time,
        };
        at.map_or(0, |at| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos))
    }

    /// Whether it breaks its source's contract.
    #[must_use]
    pub fn breaks_its_contract(&self) -> bool {
        match self {
            Self::Put(fragment) => {
                self.record().0 == "ledger" && !fragment.attributes.iter().any(|attribute| attribute.name == "plan")
            }
            Self::Retract(_) => false,
        }
    }
}

/// Creates the [`SOURCES`] of a tenant.
///
/// # Panics
/// When one is refused.
pub async fn open_sources(clients: &mut Clients, parent: &str) {
    for (at, name) in SOURCES.iter().enumerate() {
        let mut contract = pb::DataContract::default();
        if *name == "ledger" {
            contract.attributes.push(pb::AttributeRule {
                name: "plan".to_owned(),
                required: true,
                ..Default::default()
            });
        }
        let source = pb::Source {
            name: (*name).to_owned(),
            trust: 100 * at as u32,
            contract: Some(contract),
            ..Default::default()
        };
        let request = pb::PutSourceRequest { parent: parent.to_owned(), source: Some(source), ..Default::default() };
        clients.admin.put_source(request).await.expect("a source");
    }
}

/// Makes messages, each with a time of its own, so that the last word on a record never hangs on content.
#[derive(Clone, Debug)]
pub struct Mill {
    dice: Dice,
    /// Records that each source has.
    keys: u64,
    /// Bytes of filler that a fragment has at most.
    filler: u64,
    made: i64,
}

impl Mill {
    /// A mill of these dice; sources have `keys` records each, fragments up to `filler` bytes of text.
    #[must_use]
    pub const fn new(dice: Dice, keys: u64, filler: u64) -> Self {
        Self { dice, keys, filler, made: 0 }
    }

    /// The next message.
    pub fn message(&mut self) -> Message {
        self.made += 1;
        let source = *self.dice.pick(&SOURCES);
        let number = self.dice.below(self.keys);
        let key = format!("{source}-{number}");
        // Now and then an older version, which may be news to a record that has none newer.
        let back = if self.dice.once_in(8) { self.dice.below(2_000) as i64 } else { 0 };
        let nanos = (self.made % 1_000_000) as i32 * 1_000;
        let observed_time = Some(prost_types::Timestamp { seconds: 1_700_000_000 + self.made / 4 - back, nanos });
        if self.dice.once_in(12) {
            return Message::Retract(pb::Retraction { record: Some(record(source, &key)), observed_time });
        }
        Message::Put(pb::Fragment { observed_time, ..self.facts(source, &key, number) })
    }

    fn facts(&mut self, source: &str, key: &str, number: u64) -> pb::Fragment {
        // Most versions of a record speak of one person, some of another.
        let person = if self.dice.once_in(10) { self.dice.below(self.keys) } else { number * 7 % self.keys };
        let household = person / 3;
        let (given, family) = NAMES[person as usize % NAMES.len()];
        let mut identifiers = Vec::new();
        if !self.dice.once_in(4) {
            let typed = if self.dice.once_in(2) { "P" } else { "p" };
            identifiers.push(identifier("email", &format!("{typed}{person}@harbour-mail.net")));
        }
        if self.dice.once_in(2) {
            identifiers.push(identifier("phone", &format!("+1 202 456 {:04}", 1_000 + household)));
        }
        if self.dice.once_in(3) {
            identifiers.push(identifier("user_id", &format!("u-{person}")));
        }
        if self.dice.once_in(4) {
            identifiers.push(identifier("loyalty_id", &format!("KX{}Z", person * 7_919 + 11)));
        }
        if self.dice.once_in(30) {
            identifiers.push(identifier("email", "info@harbour-mail.net"));
        }
        if self.dice.once_in(40) {
            identifiers.push(identifier("email", "null"));
        }
        let mut attributes = vec![text("given_name", given), text("family_name", family)];
        if self.dice.once_in(3) {
            let (city, postcode) = *self.dice.pick(&CITIES);
            attributes.push(text("address.city", city));
            attributes.push(text("address.postcode", postcode));
        }
        if source != "ledger" || !self.dice.once_in(4) {
            let value = Some(pb::attribute::Value::Number(self.dice.below(5) as f64));
            attributes.push(pb::Attribute { name: "plan".to_owned(), value });
        }
        if self.filler > 0 && !self.dice.once_in(3) {
            let bytes = self.dice.below(self.filler) as usize;
            for part in 0..bytes.div_ceil(4_000) {
                attributes.push(text(&format!("note_{part}"), &"x".repeat(4_000.min(bytes - part * 4_000))));
            }
        }
        let traits_json = if self.dice.once_in(5) { "{\"note\": [1, 2]}".to_owned() } else { String::new() };
        pb::Fragment { record: Some(record(source, key)), identifiers, attributes, traits_json, ..Default::default() }
    }
}

/// All that was sent, in the order of sending, and what was answered: kept outside of any store.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// What was sent.
    pub sent: Vec<Message>,
    /// The answer to each, where one came.
    pub answers: Vec<Option<pb::IngestResult>>,
}

impl Ledger {
    /// Notes what is about to be sent; its number.
    pub fn note(&mut self, message: Message) -> usize {
        self.sent.push(message);
        self.answers.push(None);
        self.sent.len() - 1
    }

    /// The fragments that are live once everything was sent.
    #[must_use]
    pub fn live(&self) -> Vec<Message> {
        let mut last: BTreeMap<(&str, &str), &Message> = BTreeMap::new();
        for message in self.sent.iter().filter(|message| !message.breaks_its_contract()) {
            let held = last.entry(message.record()).or_insert(message);
            if message.at() > held.at() {
                *held = message;
            }
        }
        last.into_values().filter(|message| matches!(message, Message::Put(_))).cloned().collect()
    }

    /// How many fragments are in quarantine once everything was sent.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        let broken = self.sent.iter().filter(|message| message.breaks_its_contract());
        broken.map(|message| (message.record(), message.at())).collect::<BTreeSet<_>>().len()
    }

    /// Sends the numbered messages once more; they were acknowledged, so nothing of them may be news.
    ///
    /// # Errors
    /// One line for each promise that was broken.
    pub async fn check_kept(&self, clients: &mut Clients, numbers: &[usize]) -> Result<(), Vec<String>> {
        let mut broken = Vec::new();
        let (before, digest) = (clients.statistics().await.sequence, clients.digest().await);
        let again: Vec<Message> = numbers.iter().map(|number| self.sent[*number].clone()).collect();
        let results =
            clients.stream("", &again).await.map_err(|status| vec![format!("the re-send failed: {status}")])?;
        let mut profiles = BTreeSet::new();
        for (number, now) in numbers.iter().zip(&results) {
            let Some(then) = &self.answers[*number] else { continue };
            let kept = match (then.status(), now.status()) {
                (pb::IngestStatus::Rejected, pb::IngestStatus::Rejected) => true,
                (pb::IngestStatus::Quarantined, pb::IngestStatus::Quarantined) => {
                    then.quarantine_id == now.quarantine_id
                }
                (
                    pb::IngestStatus::Accepted | pb::IngestStatus::Duplicate | pb::IngestStatus::Superseded,
                    pb::IngestStatus::Duplicate | pb::IngestStatus::Superseded,
                ) => true,
                _ => false,
            };
            if !kept {
                broken.push(format!("message {number} was {:?} and is {:?}", then.status(), now.status()));
            }
            if then.sequence > before {
                broken.push(format!("message {number} was durable at {}, the end is {before}", then.sequence));
            }
            if !then.profile.is_empty() {
                profiles.insert(then.profile.clone());
            }
        }
        // Tidying may write down meanwhile what superseded fragments alone said; nobody is told anything by that.
        let told = clients.events("", before).await.map_err(|status| vec![format!("the feed failed: {status}")])?;
        let same = told.is_empty() && clients.digest().await == digest;
        if !same && broken.is_empty() {
            broken.push(format!("re-sending changed something: {} events", told.len()));
        }
        let profiles: Vec<String> = profiles.into_iter().collect();
        let found = clients.batch(&profiles).await.map_err(|status| vec![format!("reading ids failed: {status}")])?;
        for (name, found) in profiles.iter().zip(found) {
            if !matches!(found.reason.as_str(), "" | "PROFILE_SPLIT" | "PROFILE_EMPTIED") {
                broken.push(format!("{name} was given out and answers {}", found.reason));
            }
        }
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }

    /// The numbers of the messages that were answered.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<usize> {
        (0..self.sent.len()).filter(|number| self.answers[*number].is_some()).collect()
    }
}
