//! Dates in comparable form.
//!
//! Reading lives in [`onefold_core::date`], since contracts need it too; here is what comparing needs of a date: how far
//! it may be trusted, and the ways in which two spellings of one date differ.

pub use onefold_core::date::{CivilDate, DateCustom, DateOrder, DateReading, Plausibility, read_date, read_parts};

/// How two readings relate, the strongest relation that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DateRelation {
    /// One whole date, certain in both.
    Same,
    /// One whole date if a guessed century, or the order of day and month, is granted.
    SameIfReadOtherwise,
    /// All that both know agrees, and one knows less: `1985-04` and `1985-04-11`.
    Compatible,
    /// Day and month exchanged.
    Swapped,
    /// One digit differs, or two neighbours are exchanged: a typing error.
    OneSlip,
    /// Same year, other day: what remains of a date made up as the first of January.
    SameYear,
    /// None of these.
    Different,
}

/// How two readings relate. Symmetric.
#[must_use]
pub fn relate(left: &DateReading, right: &DateReading) -> DateRelation {
    let (a, b) = (left.date, right.date);
    if is_whole(a) && is_whole(b) {
        if a == b {
            let guessed =
                left.century_guessed || right.century_guessed || left.other.is_some() || right.other.is_some();
            return if guessed { DateRelation::SameIfReadOtherwise } else { DateRelation::Same };
        }
        if left.other == Some(b) || right.other == Some(a) || centuries_apart(left, right) {
            return DateRelation::SameIfReadOtherwise;
        }
        if a.year == b.year && a.month == b.day && a.day == b.month {
            return DateRelation::Swapped;
        }
        if one_slip(digits(a), digits(b)) {
            return DateRelation::OneSlip;
        }
    } else if a.year == b.year && agree(a.month, b.month) && agree(a.day, b.day) {
        return DateRelation::Compatible;
    }
    if a.year == b.year { DateRelation::SameYear } else { DateRelation::Different }
}

fn is_whole(date: CivilDate) -> bool {
    date.day.is_some()
}

fn agree(left: Option<u8>, right: Option<u8>) -> bool {
    left.is_none() || right.is_none() || left == right
}

/// Same day and month, a whole number of centuries apart, and one century is a guess.
fn centuries_apart(left: &DateReading, right: &DateReading) -> bool {
    (left.century_guessed || right.century_guessed)
        && (left.date.month, left.date.day) == (right.date.month, right.date.day)
        && left.date.year.abs_diff(right.date.year).is_multiple_of(100)
}

/// `yyyymmdd`, digit by digit.
fn digits(date: CivilDate) -> [u8; 8] {
    let (year, month, day) = (date.year, date.month.unwrap_or(0), date.day.unwrap_or(0));
    [
        (year / 1000) as u8,
        (year / 100 % 10) as u8,
        (year / 10 % 10) as u8,
        (year % 10) as u8,
        month / 10,
        month % 10,
        day / 10,
        day % 10,
    ]
}

fn one_slip(a: [u8; 8], b: [u8; 8]) -> bool {
    let mut places = (0..a.len()).filter(|at| a[*at] != b[*at]);
    match (places.next(), places.next(), places.next()) {
        (Some(_), None, _) => true,
        (Some(first), Some(second), None) => second == first + 1 && a[first] == b[second] && a[second] == b[first],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const US: DateCustom = DateCustom { order: DateOrder::MonthFirst, latest_year: 2024 };

    #[test]
    fn relations_of_dates_as_sources_write_them() {
        use DateRelation::{Compatible, Different, OneSlip, Same, SameIfReadOtherwise, SameYear, Swapped};
        for (left, right, want) in [
            ("1985-04-11", "April 11, 1985", Same),
            ("1985-04-11", "04/11/1985", SameIfReadOtherwise),
            ("1985-04-11", "11/04/1985", SameIfReadOtherwise),
            ("1985-04-11", "4/11/85", SameIfReadOtherwise),
            ("1915-04-25", "4/25/15", SameIfReadOtherwise),
            ("1985-04-11", "1985-04", Compatible),
            ("1985-04-11", "1985", Compatible),
            ("1985-04-11", "1985-11-04", Swapped),
            ("1985-04-11", "1985-04-17", OneSlip),
            ("1985-04-11", "1958-04-11", OneSlip),
            ("1985-04-11", "1985-01-01", SameYear),
            ("1985-04-11", "1985-05", SameYear),
            ("1985-04-11", "1947-01-03", Different),
        ] {
            let read = |text| read_date(text, US).unwrap();
            assert_eq!(relate(&read(left), &read(right)), want, "{left} {right}");
            assert_eq!(relate(&read(right), &read(left)), want, "{right} {left}");
        }
    }

    proptest! {
        #[test]
        fn relating_is_symmetric_and_reflexive(left in "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]|[01]?[0-9]/[0-3]?[0-9]/[0-9]{2}", right in "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]") {
            if let (Some(left), Some(right)) = (read_date(&left, US), read_date(&right, US)) {
                prop_assert_eq!(relate(&left, &right), relate(&right, &left));
                prop_assert!(relate(&left, &left) <= DateRelation::SameIfReadOtherwise);
            }
        }
    }
}
