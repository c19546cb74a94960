//! Where somebody is, and under whose law: what the live fragments of a profile say of it.
//!
//! Reading fragments costs more than deciding, so it is kept while the profile is what it was.

use std::sync::Arc;

use onefold_core::config::BUILT_IN_ATTRIBUTES;
use onefold_core::consent::Jurisdiction;
use onefold_core::consent::contact::LocalTime;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{Attribute, Fragment, ObservedAt};
use onefold_core::ids::{AttributeId, Digest128, ProfileOrdinal, Sequence, TenantId};

use super::law::Told;
use crate::app::Shared;
use crate::app::error::ReadError;
use crate::app::read;
use crate::app::tenant::{LiveConfig, State, Tenant};

/// Bytes that kept persons may take, roughly.
const KEPT_BYTES_MAX: u64 = 64 << 20;
/// What one takes beside its lists.
const PERSON_BYTES: usize = 128;
/// How many are kept as a rule.
const KEPT_USUAL: usize = 100_000;

/// What deciding needs to know of a profile beside what was said. Personal data: `Debug` hides it.
#[derive(Clone)]
pub struct Person {
    /// The profile's last change when this was read.
    pub changed: Sequence,
    config_version: u64,
    /// Countries of its addresses, or parts of them.
    pub jurisdictions: Vec<Jurisdiction>,
    /// Of each record that names no country, or one that is none: itself and its identifiers.
    pub of_unknown_law: Vec<Vec<Digest128>>,
    /// Those of them that name one which cannot be read.
    pub of_unread_law: Vec<Vec<Digest128>>,
    /// Keyed digests of its households.
    pub households: Vec<Digest128>,
    /// Time zones, by IANA name.
    zones: Vec<String>,
    /// The points of all its identifiers, those included that link nobody.
    pub points: Vec<Digest128>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Person(changed {}, ..)", self.changed.0)
    }
}

impl Person {
    /// Whether it is still what the profile says.
    pub fn is_of(&self, changed: Sequence, config: &LiveConfig) -> bool {
        self.changed == changed && self.config_version == config.version
    }

    fn of(changed: Sequence, config: &LiveConfig, fragments: &[Fragment], former: &[Option<String>]) -> Self {
        let zone = attribute("time_zone");
        let texts = |name: AttributeId| {
            let of_name = move |attribute: &&Attribute| attribute.name == name;
            fragments.iter().flat_map(move |f| f.attributes.iter().filter(of_name)).filter_map(|a| a.value.as_text())
        };
        let told: Vec<Told> = fragments.iter().map(|fragment| Told::of(fragment, &config.config.consent)).collect();
        let mut jurisdictions: Vec<Jurisdiction> = told.iter().flat_map(|told| told.laws.iter().copied()).collect();
        jurisdictions.sort_unstable();
        jurisdictions.dedup();
        let points_of = |fragment: &Fragment| {
            let under = |region: &Option<String>| config.preparer().contact_points_under(fragment, region.as_deref());
            let mut points = config.preparer().contact_points(fragment);
            points.extend(former.iter().flat_map(under));
            points
        };
        let (mut of_unknown_law, mut of_unread_law) = (Vec::new(), Vec::new());
        for (fragment, told) in fragments.iter().zip(&told).filter(|(_, told)| told.is_unknown()) {
            let mut points = points_of(fragment);
            points.push(config.preparer().record_digest(fragment.record.source, &fragment.record.key));
            of_unread_law.extend(told.unread.then(|| points.clone()));
            of_unknown_law.push(points);
        }
        let zones = texts(zone).map(str::trim).filter(|text| !text.is_empty());
        let mut zones: Vec<String> = zones.map(str::to_owned).collect();
        zones.sort_unstable();
        zones.dedup();
        let mut points: Vec<Digest128> = fragments.iter().flat_map(points_of).collect();
        points.sort_unstable();
        points.dedup();
        let mut households: Vec<Digest128> =
            fragments.iter().flat_map(|fragment| config.preparer().households(fragment)).collect();
        households.sort_unstable();
        households.dedup();
        let config_version = config.version;
        Self { changed, config_version, jurisdictions, of_unknown_law, of_unread_law, households, zones, points }
    }

    /// What time it is where the person is, in every time zone that is told of them, or else in the tenant's own.
    pub fn local_time(&self, at: ObservedAt, default_zone: Option<&str>) -> LocalTime {
        local_time(&self.zones, at, default_zone)
    }
}

/// What time it is in these time zones; in the default one where there is none. Unknown where one of them does not exist:
/// the person is somewhere, and what another record says need not be where.
pub fn local_time(zones: &[String], at: ObservedAt, default_zone: Option<&str>) -> LocalTime {
    let minute = |zone: &str| {
        let zone = zone_named(zone)?;
        let time = zone.to_datetime(jiff::Timestamp::from_microsecond(at.0).ok()?);
        Some(time.hour() as u16 * 60 + time.minute() as u16)
    };
    let told = zones.iter().map(String::as_str);
    let told = told.chain(default_zone.filter(|_| zones.is_empty()));
    match told.map(minute).collect::<Option<Vec<u16>>>() {
        Some(minutes) if !minutes.is_empty() => LocalTime::Minutes(minutes),
        _ => LocalTime::Unknown,
    }
}

/// Notes of a fragment whose time zone does not exist: it is kept, and says nothing of where the person is.
pub(in crate::app) fn zone_notes(fragment: &Fragment) -> impl Iterator<Item = FieldFault> {
    let name = attribute("time_zone");
    let texts =
        fragment.attributes.iter().filter(move |told| told.name == name).filter_map(|told| told.value.as_text());
    let unknown = texts.map(str::trim).filter(|text| !(text.is_empty() || is_zone(text)));
    unknown.map(|_| {
        let message = "is no IANA time zone, as Europe/Berlin is one; until it is corrected, the person is not contacted \
                       over channels with quiet hours";
        FieldFault::new("attributes[time_zone]", FaultReason::Malformed, message)
    })
}

/// Whether there is such a time zone.
pub fn is_zone(name: &str) -> bool {
    zone_named(name).is_some()
}

/// The time zone of this name. What the tables of some machines hold beside, a zone that stands for none or the machine's own,
/// says nothing of where somebody is.
fn zone_named(name: &str) -> Option<jiff::tz::TimeZone> {
    const NO_PLACES: [&str; 4] = ["Etc/Unknown", "Factory", "localtime", "posixrules"];
    if NO_PLACES.iter().any(|none| none.eq_ignore_ascii_case(name)) {
        return None;
    }
    jiff::tz::TimeZone::get(name).ok().filter(|zone| !zone.is_unknown())
}

/// The ordinal of a built-in attribute.
fn attribute(name: &str) -> AttributeId {
    let place = BUILT_IN_ATTRIBUTES.iter().position(|known| *known == name);
    AttributeId(place.and_then(|place| u16::try_from(place).ok()).unwrap_or(u16::MAX))
}

/// What a kept person takes.
#[derive(Clone)]
struct Bytewise;

impl quick_cache::Weighter<(TenantId, ProfileOrdinal), Arc<Person>> for Bytewise {
    fn weight(&self, _: &(TenantId, ProfileOrdinal), person: &Arc<Person>) -> u64 {
        let unknown = person.of_unknown_law.iter().chain(&person.of_unread_law);
        let unknown: usize = unknown.map(|points| 24 + points.len() * 16).sum();
        let lists = unknown
            + (person.points.len() + person.households.len()) * 16
            + person.zones.iter().map(|zone| zone.len() + 24).sum::<usize>();
        (PERSON_BYTES + lists) as u64
    }
}

/// Persons as last read.
#[derive(Clone)]
pub struct Persons(Arc<quick_cache::sync::Cache<(TenantId, ProfileOrdinal), Arc<Person>, Bytewise>>);

impl std::fmt::Debug for Persons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Persons({})", self.0.len())
    }
}

impl Default for Persons {
    fn default() -> Self {
        Self(Arc::new(quick_cache::sync::Cache::with_weighter(KEPT_USUAL, KEPT_BYTES_MAX, Bytewise)))
    }
}

impl Persons {
    /// Drops all that is kept: somebody was erased.
    pub fn forget_all(&self) {
        self.0.clear();
    }

    /// The person behind a live profile as it is now, if it was read since its last change.
    pub fn known(&self, tenant: &Tenant, profile: ProfileOrdinal) -> Option<Arc<Person>> {
        let config = tenant.config();
        self.known_in(tenant, &config, &tenant.state(), profile)
    }

    /// The same of a state and configuration that the caller holds.
    pub fn known_in(
        &self,
        tenant: &Tenant,
        config: &LiveConfig,
        state: &State,
        profile: ProfileOrdinal,
    ) -> Option<Arc<Person>> {
        let known = self.0.get(&(tenant.id, profile))?;
        known.is_of(state.changed_if_live(profile)?, config).then_some(known)
    }

    /// The person behind a live profile as it is now; reads its fragments. Not for asynchronous threads.
    ///
    /// # Errors
    /// [`ReadError::ProfileUnknown`] when the profile is not live, [`ReadError::Store`] when it cannot be read.
    pub fn read(&self, shared: &Shared, tenant: &Tenant, profile: ProfileOrdinal) -> Result<Arc<Person>, ReadError> {
        if let Some(known) = self.known(tenant, profile) {
            return Ok(known);
        }
        let loaded = read::load(shared, tenant, profile)?;
        let former = tenant.state().privacy.former_regions.clone();
        let person = Arc::new(Person::of(loaded.changed, &loaded.config, loaded.fragments(), &former));
        self.0.insert((tenant.id, profile), Arc::clone(&person));
        // LAW 7: nobody would be decided by it any more, but what was erased meanwhile must not lie here either. An
        // erasure that comes later than this look drops all that is kept.
        if tenant.state().changed_if_live(profile) != Some(person.changed) {
            self.0.remove(&(tenant.id, profile));
        }
        Ok(person)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_on_the_wall_is_read_where_the_person_is() {
        // 2026-07-01T20:30:00Z
        let at = ObservedAt(1_782_937_800_000_000);
        let zones = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let table = [
            (zones(&["Europe/Berlin"]), None, LocalTime::Minutes(vec![22 * 60 + 30])),
            (zones(&["Europe/Berlin", "America/New_York"]), None, LocalTime::Minutes(vec![22 * 60 + 30, 16 * 60 + 30])),
            (zones(&[]), Some("UTC"), LocalTime::Minutes(vec![20 * 60 + 30])),
            (zones(&["Nowhere/At_All"]), Some("UTC"), LocalTime::Unknown),
            (zones(&["Europe/Berlin", "Nowhere/At_All"]), Some("UTC"), LocalTime::Unknown),
            (zones(&["Nowhere/At_All"]), None, LocalTime::Unknown),
            (zones(&["Etc/Unknown"]), Some("UTC"), LocalTime::Unknown),
            (zones(&["factory"]), Some("UTC"), LocalTime::Unknown),
            (zones(&["localtime"]), Some("UTC"), LocalTime::Unknown),
            (zones(&["posixrules"]), Some("UTC"), LocalTime::Unknown),
            (zones(&[]), None, LocalTime::Unknown),
        ];
        for (zones, default, want) in table {
            assert_eq!(local_time(&zones, at, default), want, "{zones:?}");
        }
        assert_eq!(attribute("time_zone"), AttributeId(19));
    }

    #[test]
    fn quiet_hours_hold_by_the_clock_on_the_wall_also_when_it_is_put_forward_or_back() {
        use onefold_core::consent::policy::QuietHours;
        let night = QuietHours { from_minute: 21 * 60, until_minute: 8 * 60 };
        let (two, evening) = (
            QuietHours { from_minute: 120, until_minute: 180 },
            QuietHours { from_minute: 1_320, until_minute: 1_440 },
        );
        let table = [
            // Berlin, 29 March 2026: from two the clock is put to three.
            ("2026-03-29T00:59:59Z", "Europe/Berlin", 60 + 59, night, true),
            ("2026-03-29T00:59:59Z", "Europe/Berlin", 60 + 59, two, false),
            ("2026-03-29T01:00:00Z", "Europe/Berlin", 3 * 60, two, false),
            ("2026-03-29T05:59:00Z", "Europe/Berlin", 7 * 60 + 59, night, true),
            ("2026-03-29T06:00:00Z", "Europe/Berlin", 8 * 60, night, false),
            // 25 October 2026: at three it is put back to two, and what is silent is silent twice.
            ("2026-10-25T00:30:00Z", "Europe/Berlin", 2 * 60 + 30, two, true),
            ("2026-10-25T01:30:00Z", "Europe/Berlin", 2 * 60 + 30, two, true),
            ("2026-10-25T02:00:00Z", "Europe/Berlin", 3 * 60, two, false),
            ("2026-10-25T06:59:00Z", "Europe/Berlin", 7 * 60 + 59, night, true),
            ("2026-10-25T07:00:00Z", "Europe/Berlin", 8 * 60, night, false),
            // Over midnight, and up to it.
            ("2026-07-01T18:59:00Z", "Europe/Berlin", 20 * 60 + 59, night, false),
            ("2026-07-01T19:00:00Z", "Europe/Berlin", 21 * 60, night, true),
            ("2026-07-01T22:00:00Z", "Europe/Berlin", 0, night, true),
            ("2026-07-01T21:59:00Z", "Europe/Berlin", 23 * 60 + 59, evening, true),
            ("2026-07-01T22:00:00Z", "Europe/Berlin", 0, evening, false),
            // A zone whose clock is put by half an hour: Lord Howe, 5 April 2026, from two back to half past one.
            ("2026-04-04T14:45:00Z", "Australia/Lord_Howe", 60 + 45, two, false),
            ("2026-04-04T15:15:00Z", "Australia/Lord_Howe", 60 + 45, two, false),
            ("2026-04-04T15:30:00Z", "Australia/Lord_Howe", 120, two, true),
        ];
        for (moment, zone, minute, hours, silent) in table {
            let at = ObservedAt(moment.parse::<jiff::Timestamp>().unwrap().as_microsecond());
            let local = local_time(&[zone.to_owned()], at, None);
            assert_eq!(local, LocalTime::Minutes(vec![minute]), "{moment} in {zone}");
            assert_eq!(hours.hold(minute), silent, "{moment} in {zone}, {hours:?}");
        }
    }
}
