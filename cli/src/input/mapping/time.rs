//! When a row was seen: the ways in which files write it.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use onefold_core::fragment::ObservedAt;

/// Which comes first in dates like 03/04/2024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateOrder {
    /// 3 April.
    Dmy,
    /// 4 March.
    #[default]
    Mdy,
}

impl fmt::Display for DateOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dmy => "dmy",
            Self::Mdy => "mdy",
        })
    }
}

impl DateOrder {
    /// From dates that can be read in one order only; dots mean the day comes first.
    pub(super) fn guess<'a>(dates: impl Iterator<Item = &'a str>) -> Self {
        let mut votes = 0i64;
        for text in dates {
            if let Some((first, second, _, separator)) = parts(text) {
                votes += i64::from(first > 12) - i64::from(second > 12) + i64::from(separator == '.');
            }
        }
        if votes > 0 { Self::Dmy } else { Self::Mdy }
    }
}

/// First, second, year, separator of a date with the year at its end.
fn parts(text: &str) -> Option<(u8, u8, i16, char)> {
    let date = text.split([' ', 'T']).next()?;
    let separator = date.chars().find(|letter| !letter.is_ascii_digit())?;
    let mut numbers = date.split(separator);
    let (first, second, year) = (numbers.next()?, numbers.next()?, numbers.next()?);
    if numbers.next().is_some() || first.len() > 2 || year.len() != 4 {
        return None;
    }
    Some((first.parse().ok()?, second.parse().ok()?, year.parse().ok()?, separator))
}

/// Reads RFC 3339, ISO dates and times, yyyymmdd, seconds, milliseconds or microseconds since 1970, and dates with the
/// year last. Times without a zone are UTC. `None` for anything else.
#[must_use]
pub fn observed_at(text: &str, order: DateOrder) -> Option<ObservedAt> {
    let text = text.trim();
    let at_utc = |time: DateTime| TimeZone::UTC.to_timestamp(time).ok().map(|time| ObservedAt(time.as_microsecond()));
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        return match text.len() {
            8 => {
                let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
                let date = Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
                at_utc(date.to_datetime(jiff::civil::Time::midnight()))
            }
            9 | 10 => Some(ObservedAt(number * 1_000_000)),
            12 | 13 => Some(ObservedAt(number * 1_000)),
            15 | 16 => Some(ObservedAt(number)),
            _ => None,
        };
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(ObservedAt(time.as_microsecond()));
    }
    if let Some((first, second, year, separator)) = parts(text) {
        let (day, month) = if order == DateOrder::Dmy || separator == '.' { (first, second) } else { (second, first) };
        let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
        return at_utc(date.to_datetime(jiff::civil::Time::midnight()));
    }
    at_utc(text.parse::<DateTime>().ok()?)
}
