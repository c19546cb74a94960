//! One generated record, before a source's file format.

use std::borrow::Cow;
use std::fmt;

use jiff::civil::{Date, date};
use onefold_core::fragment::{ObservedAt, PartyKind};

/// The system that a record comes from; each has columns and habits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Sales people type it: most complete, with typing faults.
    Crm,
    /// Customers type it: e-mail nearly always there.
    Webshop,
    /// Help desk tickets.
    Support,
    /// Tills: a loyalty card and little else.
    PointOfSale,
    /// An e-mail address, and sometimes a name.
    Newsletter,
    /// Segment-style lines from web site and app.
    Events,
    /// Companies as the books know them.
    Erp,
    /// Companies as scanned from invoices.
    Invoice,
    /// Companies as a bought directory lists them.
    Directory,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Crm,
        Self::Webshop,
        Self::Support,
        Self::PointOfSale,
        Self::Newsletter,
        Self::Events,
        Self::Erp,
        Self::Invoice,
        Self::Directory,
    ];

    /// The source's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crm => "crm",
            Self::Webshop => "webshop",
            Self::Support => "support",
            Self::PointOfSale => "pos",
            Self::Newsletter => "newsletter",
            Self::Events => "events",
            Self::Erp => "erp",
            Self::Invoice => "invoice",
            Self::Directory => "directory",
        }
    }
}

/// The true party behind a record. Text form: `p17` or `c3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId {
    /// Person or company.
    pub party: PartyKind,
    /// From 0, dense.
    pub ordinal: u32,
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.party {
            PartyKind::Person => 'p',
            PartyKind::Organisation => 'c',
        };
        write!(f, "{kind}{}", self.ordinal)
    }
}

/// The call behind a line of the event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Traits of a user.
    Identify,
    /// Something the user did.
    Track,
    /// The user belongs to an account.
    Group,
    /// An anonymous visitor turned out to be this user.
    Alias,
}

/// One record of one source, as its system would hold it; `None` is a missing field.
#[expect(missing_docs, reason = "the fields are the attributes and namespaces of the same names")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Opaque, unique over all sources; says nothing about the cluster.
    pub record_id: String,
    /// The truth.
    pub cluster: ClusterId,
    pub origin: Origin,
    /// When the source saw it so.
    pub observed: Date,
    /// Of the event stream only.
    pub event: Option<EventKind>,
    pub full_name: Option<String>,
    pub given_name: Option<String>,
    pub middle_name: Option<String>,
    pub family_name: Option<String>,
    pub name_suffix: Option<String>,
    pub birth_date: Option<Date>,
    pub gender: Option<&'static str>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub street: Option<String>,
    pub unit: Option<String>,
    pub city: Option<String>,
    pub region: Option<String>,
    pub postcode: Option<String>,
    pub country: Option<&'static str>,
    pub user_id: Option<String>,
    pub anonymous_id: Option<String>,
    pub device_id: Option<String>,
    pub loyalty_id: Option<String>,
    pub tax_id: Option<String>,
    pub legal_name: Option<String>,
    pub trading_name: Option<String>,
    pub website: Option<String>,
    pub registration_id: Option<String>,
    pub industry: Option<&'static str>,
    /// Key of the account that a person belongs to.
    pub account_key: Option<String>,
}

impl Record {
    /// A record without any fact.
    pub(super) const fn bare(record_id: String, cluster: ClusterId, origin: Origin, observed: Date) -> Self {
        Self {
            record_id,
            cluster,
            origin,
            observed,
            event: None,
            full_name: None,
            given_name: None,
            middle_name: None,
            family_name: None,
            name_suffix: None,
            birth_date: None,
            gender: None,
            email: None,
            phone: None,
            street: None,
            unit: None,
            city: None,
            region: None,
            postcode: None,
            country: None,
            user_id: None,
            anonymous_id: None,
            device_id: None,
            loyalty_id: None,
            tax_id: None,
            legal_name: None,
            trading_name: None,
            website: None,
            registration_id: None,
            industry: None,
            account_key: None,
        }
    }
}

impl Record {
    /// What the record claims its party is known by: namespace and value.
    pub fn identifiers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let table = [
            ("email", &self.email),
            ("phone", &self.phone),
            ("user_id", &self.user_id),
            ("anonymous_id", &self.anonymous_id),
            ("device_id", &self.device_id),
            ("loyalty_id", &self.loyalty_id),
            ("tax_id", &self.tax_id),
            ("registration_id", &self.registration_id),
            ("domain", &self.website),
            ("account_key", &self.account_key),
        ];
        table.into_iter().filter_map(|(namespace, value)| Some((namespace, value.as_deref()?)))
    }

    /// The record's other facts: built-in attribute name and value.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let table = [
            ("full_name", self.full_name.as_deref()),
            ("given_name", self.given_name.as_deref()),
            ("middle_name", self.middle_name.as_deref()),
            ("family_name", self.family_name.as_deref()),
            ("name_suffix", self.name_suffix.as_deref()),
            ("gender", self.gender),
            ("address.street", self.street.as_deref()),
            ("address.unit", self.unit.as_deref()),
            ("address.city", self.city.as_deref()),
            ("address.region", self.region.as_deref()),
            ("address.postcode", self.postcode.as_deref()),
            ("address.country", self.country),
            ("legal_name", self.legal_name.as_deref()),
            ("trading_name", self.trading_name.as_deref()),
            ("industry", self.industry),
        ];
        let texts = table.into_iter().filter_map(|(name, value)| Some((name, Cow::Borrowed(value?))));
        texts.chain(self.birth_date.map(|date| ("birth_date", Cow::Owned(date.to_string()))))
    }

    /// When the source saw the record so: midnight, UTC.
    #[must_use]
    pub fn observed_at(&self) -> ObservedAt {
        let days = self.observed.since(date(1970, 1, 1)).map_or(0, |span| i64::from(span.get_days()));
        ObservedAt(days * 86_400_000_000)
    }
}
