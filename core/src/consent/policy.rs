//! What a tenant decided about consent and contact, in words a lawyer can read: purposes with the rule of each
//! jurisdiction, channels with their quiet hours, and how often one person, household or account may be contacted.

use serde::{Deserialize, Serialize};

use crate::consent::terms::ReceiptTerms;
use crate::consent::{ChannelId, Jurisdiction, LawfulBasis, PurposeId};
use crate::ids::NamespaceId;

/// What silence means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Regime {
    /// Allowed unless the person said no.
    OptOut,
    /// Forbidden unless the person said yes.
    #[default]
    OptIn,
}

/// Which fields of a profile a purpose may read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldScope {
    /// All of them.
    pub all: bool,
    /// These attributes and groups of attributes.
    pub attributes: Vec<String>,
    /// Identifiers of these namespaces.
    pub namespaces: Vec<NamespaceId>,
}

impl FieldScope {
    /// Whether this attribute is one of them.
    #[must_use]
    pub fn attribute(&self, name: &str) -> bool {
        let within = |allowed: &String| {
            name == allowed || name.strip_prefix(allowed.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        self.all || self.attributes.iter().any(within)
    }

    /// Whether identifiers of this namespace are.
    #[must_use]
    pub fn namespace(&self, namespace: NamespaceId) -> bool {
        self.all || self.namespaces.contains(&namespace)
    }
}

/// One purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purpose {
    /// Its ordinal.
    pub id: PurposeId,
    /// Its name: lower case, digits, `_`.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// What the person is told.
    pub description: String,
    /// The term of a vocabulary, e.g. `https://w3id.org/dpv#DirectMarketing`; empty where there is none.
    pub vocabulary_iri: String,
    /// On which ground, unless a statement says otherwise.
    pub lawful_basis: LawfulBasis,
    /// Where nothing more is known.
    pub default_regime: Regime,
    /// By jurisdiction; `US-CA` is looked for before `US`, and `DE` before `EU`.
    pub regimes: Vec<(Jurisdiction, Regime)>,
    /// What it may read.
    pub reads: FieldScope,
    /// What receipts tell of it.
    pub terms: ReceiptTerms,
}

impl Purpose {
    /// The rule of a person under these laws: of several the strictest, so that a merge can only restrict.
    #[must_use]
    pub fn regime(&self, laws: &Laws) -> Regime {
        let of = |jurisdiction: &Jurisdiction| {
            let known = |wide: Jurisdiction| self.regimes.iter().find(|(of, _)| *of == wide).map(|(_, regime)| *regime);
            jurisdiction.widening().into_iter().find_map(known).unwrap_or(self.default_regime)
        };
        let unknown = (laws.unknown || laws.unread).then_some(self.default_regime);
        let any = self.regimes.iter().map(|(_, regime)| *regime).filter(|_| laws.unread);
        laws.known.iter().map(of).chain(unknown).chain(any).max().unwrap_or(self.default_regime)
    }
}

/// Under whose laws somebody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Laws {
    /// Those that are known.
    pub known: Vec<Jurisdiction>,
    /// A part of the person, a record or an identifier, is under a law that nobody knows. LAW 6: what is known of another part
    /// must not make lawful what was not before they were one.
    pub unknown: bool,
    /// A part of the person is under a law that a source tells of and nobody can read: it may be any.
    pub unread: bool,
}

/// Hours in which a channel is silent, by the clock on the person's wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// From this minute of the day on.
    pub from_minute: u16,
    /// Up to, and without, this one; before `from_minute` it is of the next day.
    pub until_minute: u16,
}

impl QuietHours {
    /// Whether a minute of the day lies in them.
    #[must_use]
    pub const fn hold(self, minute: u16) -> bool {
        if self.from_minute <= self.until_minute {
            self.from_minute <= minute && minute < self.until_minute
        } else {
            minute >= self.from_minute || minute < self.until_minute
        }
    }
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its ordinal.
    pub id: ChannelId,
    /// Its name: lower case, digits, `_`.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// A yes counts only once it was confirmed.
    pub double_opt_in: bool,
    /// When it is silent.
    pub quiet_hours: Vec<QuietHours>,
}

/// For whom a cap counts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CapScope {
    /// All records of one person.
    #[default]
    Person,
    /// People of one surname at one address.
    Household,
    /// People who have a role in one account at the time of the contact; accounts that are one company count together.
    Account,
}

impl CapScope {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Household => "household",
            Self::Account => "account",
        }
    }
}

/// How often one person, household or account may be contacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// Its name, which a refusal gives.
    pub name: String,
    /// Only for this purpose; `None` is all together.
    pub purpose: Option<PurposeId>,
    /// Only over this channel; `None` is all together.
    pub channel: Option<ChannelId>,
    /// So many contacts.
    pub most: u32,
    /// In any span of so many seconds.
    pub window_seconds: u32,
    /// For whom contacts count together.
    pub scope: CapScope,
}

impl Cap {
    /// Whether it counts contacts for this purpose over this channel.
    #[must_use]
    pub fn counts(&self, purpose: PurposeId, channel: ChannelId) -> bool {
        self.purpose.is_none_or(|of| of == purpose) && self.channel.is_none_or(|of| of == channel)
    }
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentPolicy {
    /// By ordinal.
    pub purposes: Vec<Purpose>,
    /// By ordinal.
    pub channels: Vec<Channel>,
    /// How often somebody may be contacted.
    pub caps: Vec<Cap>,
    /// IANA name of the time zone of persons of whom none is known; `None`: such a person is not contacted over a channel
    /// with quiet hours.
    pub default_time_zone: Option<String>,
    /// How long a pending yes may be confirmed, in days.
    pub confirm_within_days: u16,
    /// How long a reservation waits for its confirmation, in seconds.
    pub reservation_seconds: u32,
    /// Who decides on purposes and means, for receipts.
    pub controller: String,
}

impl Default for ConsentPolicy {
    /// What every tenant starts with: marketing and the like ask first, everywhere but in the United States; what the
    /// person's own contract needs goes on unless they object.
    fn default() -> Self {
        use Regime::{OptIn, OptOut};
        let us = Jurisdiction::parse("US").map(|us| vec![(us, OptOut)]).unwrap_or_default();
        let all = || FieldScope { all: true, ..FieldScope::default() };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let marketing = FieldScope {
            all: false,
            attributes: names(&["full_name", "given_name", "family_name", "language", "time_zone", "address"]),
            namespaces: vec![NamespaceId(6), NamespaceId(7)],
        };
        let coarse = FieldScope {
            all: false,
            attributes: names(&["language", "time_zone", "address.country", "address.region", "industry"]),
            namespaces: Vec::new(),
        };
        let table = [
            ("marketing", "Marketing", "DirectMarketing", LawfulBasis::Consent, OptIn, us.clone(), marketing.clone()),
            (
                "personalisation",
                "Personalisation",
                "Personalisation",
                LawfulBasis::Consent,
                OptIn,
                us.clone(),
                marketing,
            ),
            ("analytics", "Analytics", "ServiceUsageAnalytics", LawfulBasis::Consent, OptIn, us.clone(), coarse),
            ("sale_or_sharing", "Sale or sharing", "SellDataToThirdParties", LawfulBasis::Consent, OptIn, us, all()),
            ("service", "Service messages", "ServiceProvision", LawfulBasis::Contract, OptOut, Vec::new(), all()),
            ("support", "Support", "CustomerCare", LawfulBasis::Contract, OptOut, Vec::new(), all()),
        ];
        let night = QuietHours { from_minute: 21 * 60, until_minute: 8 * 60 };
        let channels = [
            ("email", "E-mail", false),
            ("sms", "Text message", true),
            ("phone", "Telephone call", true),
            ("push", "Push message", false),
            ("post", "Letter", false),
            ("web", "Web and advertising", false),
        ];
        let channel = |(id, (name, display_name, quiet)): (u16, (&str, &str, bool))| Channel {
            id: ChannelId(id),
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            double_opt_in: false,
            quiet_hours: if quiet { vec![night] } else { Vec::new() },
        };
        Self {
            purposes: (0..)
                .zip(table)
                .map(|(id, row)| Purpose {
                    id: PurposeId(id),
                    name: row.0.to_owned(),
                    display_name: row.1.to_owned(),
                    description: String::new(),
                    vocabulary_iri: format!("https://w3id.org/dpv#{}", row.2),
                    lawful_basis: row.3,
                    default_regime: row.4,
                    regimes: row.5,
                    reads: row.6,
                    terms: ReceiptTerms::default(),
                })
                .collect(),
            channels: (0..).zip(channels).map(channel).collect(),
            caps: Vec::new(),
            default_time_zone: None,
            confirm_within_days: 30,
            reservation_seconds: 15 * 60,
            controller: String::new(),
        }
    }
}

impl ConsentPolicy {
    /// The purpose with this name.
    #[must_use]
    pub fn purpose_named(&self, name: &str) -> Option<&Purpose> {
        self.purposes.iter().find(|purpose| purpose.name == name)
    }

    /// The purpose with this ordinal.
    #[must_use]
    pub fn purpose(&self, id: PurposeId) -> Option<&Purpose> {
        self.purposes.get(usize::from(id.0))
    }

    /// The channel with this name.
    #[must_use]
    pub fn channel_named(&self, name: &str) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.name == name)
    }

    /// The channel with this ordinal.
    #[must_use]
    pub fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(usize::from(id.0))
    }

    /// Whether a yes over this channel waits for its confirmation; of all channels when any does.
    #[must_use]
    pub fn asks_twice(&self, channel: Option<ChannelId>) -> bool {
        match channel {
            Some(channel) => self.channel(channel).is_some_and(|channel| channel.double_opt_in),
            None => self.channels.iter().any(|channel| channel.double_opt_in),
        }
    }
}
