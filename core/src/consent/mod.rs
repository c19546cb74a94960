//! What a person allowed and forbade: statements, the ledger that keeps them, and what they say together.
//!
//! A [`Statement`] is appended and never edited. It stands at *points*: a contact point (an identifier's value) or source
//! records. What holds for a cluster is the join of all live statements at its points ([`state`], law 6), computed when it
//! is asked for and never stored as truth. [`policy`] is what the tenant decided, in words a lawyer can read; [`contact`]
//! decides whether one more message may go out, [`reserve`] counts them, [`permit`] opens the fields of a profile, [`stops`] is
//! what a restore must not forget; [`elsewhere`] is where a word is heard beside where it was said, [`left`] until when; [`terms`] are what receipts
//! tell of a purpose.

pub mod contact;
pub mod elsewhere;
pub mod ledger;
pub mod left;
pub mod permit;
pub mod policy;
pub mod reserve;
pub mod rights;
pub mod signal;
pub mod state;
pub mod stops;
pub mod terms;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fragment::{ObservedAt, SourceRecord};
use crate::ids::{Digest128, NamespaceId, ProfileOrdinal, Sequence, SourceId};

pub use signal::{Signal, SignalKind};

/// A purpose's ordinal inside its tenant, in order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PurposeId(pub u16);

/// A channel's ordinal inside its tenant, in order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelId(pub u16);

/// What a statement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Decision {
    /// Yes.
    Granted,
    /// Asked for, and not confirmed yet (double opt-in).
    Pending,
    /// No, when asked.
    Denied,
    /// No, after a yes.
    Withdrawn,
    /// No to a use that needed no yes (GDPR Art. 21).
    Objected,
    /// Do not contact here, whatever was granted: a bounce, a complaint, a do-not-call list.
    Suppressed,
    /// Kept and not used (GDPR Art. 18).
    Restricted,
    /// Ends a suppression or restriction; grants nothing.
    Released,
}

impl Decision {
    /// A stop: wins over every grant that is not newer and from the same point (law 6).
    #[must_use]
    pub const fn is_stop(self) -> bool {
        matches!(self, Self::Denied | Self::Withdrawn | Self::Objected)
    }

    /// A hold: ends only when it is released at its point.
    #[must_use]
    pub const fn is_hold(self) -> bool {
        matches!(self, Self::Suppressed | Self::Restricted)
    }

    /// Whether it permits something, or ends what forbids: when in doubt it does not count.
    #[must_use]
    pub const fn permits(self) -> bool {
        matches!(self, Self::Granted | Self::Pending | Self::Released)
    }

    /// Whether a restore must not forget it: a stop, a hold, or the end of a hold.
    #[must_use]
    pub const fn outlives_restores(self) -> bool {
        self.is_stop() || self.is_hold() || matches!(self, Self::Released)
    }

    /// May be said of all purposes at once. A yes may not.
    #[must_use]
    pub const fn may_name_no_purpose(self) -> bool {
        !matches!(self, Self::Granted | Self::Pending)
    }

    /// The name on the wire and in receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "GRANTED",
            Self::Pending => "PENDING",
            Self::Denied => "DENIED",
            Self::Withdrawn => "WITHDRAWN",
            Self::Objected => "OBJECTED",
            Self::Suppressed => "SUPPRESSED",
            Self::Restricted => "RESTRICTED",
            Self::Released => "RELEASED",
        }
    }
}

/// Why a use is lawful: GDPR Art. 6(1) a to f.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LawfulBasis {
    /// Art. 6(1)(a).
    #[default]
    Consent,
    /// Art. 6(1)(b).
    Contract,
    /// Art. 6(1)(c).
    LegalObligation,
    /// Art. 6(1)(d).
    VitalInterests,
    /// Art. 6(1)(e).
    PublicTask,
    /// Art. 6(1)(f).
    LegitimateInterests,
}

impl LawfulBasis {
    /// The name on the wire and in receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "CONSENT",
            Self::Contract => "CONTRACT",
            Self::LegalObligation => "LEGAL_OBLIGATION",
            Self::VitalInterests => "VITAL_INTERESTS",
            Self::PublicTask => "PUBLIC_TASK",
            Self::LegitimateInterests => "LEGITIMATE_INTERESTS",
        }
    }
}

/// Whose law: a country (ISO 3166-1, two capitals), a part of one (`US-CA`), or `EU`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Jurisdiction([u8; 6]);

/// A text that names no jurisdiction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no jurisdiction: write a country (`DE`), a part of one (`US-CA`), or `EU`")]
pub struct InvalidJurisdiction;

/// Members of the European Union and the European Economic Area: what `EU` stands for.
const EUROPE: &[&str] = &[
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT",
    "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
];

impl Jurisdiction {
    /// Reads a code, in either case.
    ///
    /// # Errors
    /// [`InvalidJurisdiction`] for a text of another shape.
    pub fn parse(text: &str) -> Result<Self, InvalidJurisdiction> {
        let text = text.trim().to_ascii_uppercase();
        let (country, part) = text.split_once('-').map_or((text.as_str(), None), |(c, p)| (c, Some(p)));
        let is_country = country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
        let is_part = part.is_none_or(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric()));
        if !is_country || !is_part {
            return Err(InvalidJurisdiction);
        }
        let mut code = [0; 6];
        code[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(code))
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..end]).unwrap_or("")
    }

    /// This one, then what it is part of: `US-CA`, `US`; `DE`, `EU`.
    #[must_use]
    pub fn widening(self) -> Vec<Self> {
        let mut all = vec![self];
        let country = self.as_str().get(..2).and_then(|code| Self::parse(code).ok());
        if let Some(country) = country {
            all.push(country);
            if EUROPE.contains(&country.as_str()) {
                all.extend(Self::parse("EU").ok());
            }
        }
        all.dedup();
        all
    }
}

impl fmt::Debug for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a statement is about. Personal data: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// Whoever is reached at this identifier, whichever profile holds it today.
    Identifier {
        /// Its kind.
        namespace: NamespaceId,
        /// As it was given; `None` where only its digest is known, as in a one-click unsubscribe.
        raw: Option<String>,
    },
    /// A source record.
    Record(SourceRecord),
    /// The records that a profile held at the moment of recording.
    Profile(ProfileOrdinal),
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identifier { .. } => "Identifier(..)",
            Self::Record(_) => "Record(..)",
            Self::Profile(_) => "Profile(..)",
        })
    }
}

/// One statement, whole, as the journal keeps it (sealed). Personal data: `Debug` hides it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// About whom.
    pub subject: Subject,
    /// Keyed digests of the points at which it stands: identifier values or source records.
    pub points: Vec<Digest128>,
    /// What for; `None` is every purpose, which only a no may say.
    pub purpose: Option<PurposeId>,
    /// Over which channel; `None` is every channel.
    pub channel: Option<ChannelId>,
    /// What was said.
    pub decision: Decision,
    /// On which ground.
    pub lawful_basis: LawfulBasis,
    /// Under whose law.
    pub jurisdiction: Option<Jurisdiction>,
    /// Which version of which notice was shown.
    pub notice: String,
    /// In which language (BCP 47).
    pub language: String,
    /// The system that collected it.
    pub source: Option<SourceId>,
    /// How: `web form`, `call centre`, `one-click`, …
    pub method: String,
    /// Where the proof lies: a reference, not the proof itself.
    pub evidence: String,
    /// When the person said it.
    pub given_at: ObservedAt,
    /// Until when a yes holds.
    pub expires_at: Option<ObservedAt>,
    /// When a double opt-in was confirmed elsewhere, before it came here.
    pub confirmed_at: Option<ObservedAt>,
    /// When it came here.
    pub recorded_at: ObservedAt,
    /// The pending statement that this one confirms, or the restriction that it ends.
    pub confirms: Option<Sequence>,
    /// Signals as they came.
    pub signals: Vec<Signal>,
    /// A yes of which its source does not say when it was given: `given_at` is when the record was observed. It counts as older
    /// than every no, so a record that is sent again does not lift one. Kept by the kind of its entry.
    #[serde(skip)]
    pub undated: bool,
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Statement({:?}, {:?}, {:?}, {}, ..)",
            self.subject,
            self.purpose,
            self.channel,
            self.decision.as_str()
        )
    }
}

impl Statement {
    /// What somebody else may know of it who hears it: what was decided, of which purpose and channel, and when. Who said it, how,
    /// where and with which proof is whose it is.
    #[must_use]
    pub fn without_words(self) -> Self {
        Self {
            jurisdiction: None,
            notice: String::new(),
            language: String::new(),
            source: None,
            method: String::new(),
            evidence: String::new(),
            signals: Vec::new(),
            ..self
        }
    }

    /// Digest of what was said, without where it stands and when it came: the same statement sent again is the same. Where the
    /// subject is known by its points alone, they tell one from another.
    #[must_use]
    pub fn content(&self, key: &[u8; 32]) -> Digest128 {
        let points = match &self.subject {
            Subject::Identifier { raw: None, .. } => self.points.clone(),
            _ => Vec::new(),
        };
        // Sent every night with the time of the night, it is one statement still.
        let given_at = if self.undated { ObservedAt(i64::MIN) } else { self.given_at };
        let said = Self { points, given_at, recorded_at: ObservedAt(0), ..self.clone() };
        let bytes = crate::decision::encode(&said);
        Digest128::of(&blake3::keyed_hash(key, &bytes))
    }
}
