//! Under which law a request is answered, and the clock of each.

use serde::{Deserialize, Serialize};

use super::RequestKind;
use crate::fragment::ObservedAt;

/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000;

/// Under which law a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Regulation {
    /// The European Union's regulation 2016/679.
    Gdpr,
    /// The United Kingdom's.
    UkGdpr,
    /// California's.
    Ccpa,
    /// Another state of the United States that follows Virginia's law.
    UsState,
    /// Brazil's.
    Lgpd,
    /// Canada's.
    Pipeda,
}

/// How long a law gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Calendar months: to answer, and once more.
    Months(u32, u32),
    /// Calendar days: to answer, and once more.
    Days(u32, u32),
    /// Days from Monday to Friday in California: to answer; there is no more.
    WorkingDays(u32),
}

/// Within which receipt of a request is to be confirmed in California.
const ACKNOWLEDGED: Clock = Clock::WorkingDays(10);

impl Clock {
    /// When what began at `from` is over.
    fn over(self, from: ObservedAt) -> ObservedAt {
        match self {
            Self::Months(months, _) => later_by_months(from, months),
            Self::Days(days, _) => ObservedAt(from.0 + i64::from(days) * DAY),
            Self::WorkingDays(days) => later_by_working_days(from, days),
        }
    }
}

impl Regulation {
    /// All of them, with the names on the wire.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Gdpr, "GDPR"),
        (Self::UkGdpr, "UK_GDPR"),
        (Self::Ccpa, "CCPA"),
        (Self::UsState, "US_STATE"),
        (Self::Lgpd, "LGPD"),
        (Self::Pipeda, "PIPEDA"),
    ];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    /// How long it gives for a request of a kind. Sources: GDPR Art. 12(3); CCPA §1798.130(a)(2) and, of opt-outs of sale or
    /// sharing and of limits on sensitive use, 11 CCR §§7026(f), 7027(g); Virginia §59.1-577(B); LGPD Art. 19(II); PIPEDA
    /// s. 8(3)-(4).
    #[must_use]
    pub const fn clock(self, kind: RequestKind) -> Clock {
        match (self, kind) {
            (Self::Gdpr | Self::UkGdpr, _) => Clock::Months(1, 2),
            (Self::Ccpa, RequestKind::OptOutSaleShare | RequestKind::LimitSensitive) => Clock::WorkingDays(15),
            (Self::Ccpa | Self::UsState, _) => Clock::Days(45, 45),
            (Self::Lgpd, _) => Clock::Days(15, 0),
            (Self::Pipeda, _) => Clock::Days(30, 30),
        }
    }

    /// By when a request that came in at `received` is to be answered.
    #[must_use]
    pub fn due(self, kind: RequestKind, received: ObservedAt) -> ObservedAt {
        self.clock(kind).over(received)
    }

    /// By when at the latest, once it was extended; `None` where the law knows no extension.
    #[must_use]
    pub fn extended(self, kind: RequestKind, received: ObservedAt) -> Option<ObservedAt> {
        match self.clock(kind) {
            Clock::Months(_, 0) | Clock::Days(_, 0) | Clock::WorkingDays(_) => None,
            Clock::Months(months, more) => Some(Clock::Months(months + more, 0).over(received)),
            Clock::Days(days, more) => Some(Clock::Days(days + more, 0).over(received)),
        }
    }

    /// By when the person is to be told that it came in; `None` where the law does not ask for that. Source: 11 CCR §7021(a),
    /// of requests to delete, to correct and to know.
    #[must_use]
    pub fn acknowledged(self, kind: RequestKind, received: ObservedAt) -> Option<ObservedAt> {
        let asks = matches!(
            kind,
            RequestKind::Erasure | RequestKind::Rectification | RequestKind::Access | RequestKind::Portability
        );
        (self == Self::Ccpa && asks).then(|| ACKNOWLEDGED.over(received))
    }
}

/// Between Greenwich and California in winter; in summer it is less, which makes a date no later.
const CALIFORNIA: i64 = 8 * DAY / 24;

/// The same time of day so many days from Monday to Friday later. Holidays count, so that it is never too late.
fn later_by_working_days(at: ObservedAt, working_days: u32) -> ObservedAt {
    const WEEK: i64 = 7;
    /// The first of January 1970 was a Thursday.
    const OF_DAY_0: i64 = 3;
    let (mut day, rest) = ((at.0 - CALIFORNIA).div_euclid(DAY), (at.0 - CALIFORNIA).rem_euclid(DAY));
    let mut left = working_days;
    while left > 0 {
        day += 1;
        left -= u32::from((day + OF_DAY_0).rem_euclid(WEEK) < 5);
    }
    ObservedAt(day * DAY + rest + CALIFORNIA)
}

/// The same day so many months later, or the last of that month where it has no such day (regulation 1182/71 Art. 3).
#[must_use]
pub fn later_by_months(at: ObservedAt, months: u32) -> ObservedAt {
    let (days, rest) = (at.0.div_euclid(DAY), at.0.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let total = year * 12 + i64::from(month) - 1 + i64::from(months);
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    };
    ObservedAt(days_from_civil(year, month, day.min(last)) * DAY + rest)
}

/// Year, month and day of a day counted from 1970 (the algorithm of Howard Hinnant's `civil_from_days`).
pub(super) fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

pub(super) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
