//! Calendar dates as people and systems write them.
//!
//! One reader for all: contracts ask whether a text is a date, matching asks which one. No clock: the latest year that a
//! two-digit year can mean comes in as an argument. Of a date that reads both ways (`03/04/1985`) both readings are kept.

use std::fmt;

/// A day, month or year of the proleptic Gregorian calendar. `Debug` hides it: a birth date is personal data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CivilDate {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12; `None` when only the year is known.
    pub month: Option<u8>,
    /// 1 to the month's length; `None` when only the month is known.
    pub day: Option<u8>,
}

impl fmt::Debug for CivilDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CivilDate(..)")
    }
}

/// ISO 8601: `1985-04-11`, `1985-04` or `1985`.
impl fmt::Display for CivilDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.year)?;
        for part in [self.month, self.day].into_iter().flatten() {
            write!(f, "-{part:02}")?;
        }
        Ok(())
    }
}

impl CivilDate {
    /// A whole date, if there is such a day.
    #[must_use]
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let exists =
            (1..=9_999).contains(&year) && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        exists.then_some(Self { year, month: Some(month), day: Some(day) })
    }

    /// A month or a year.
    #[must_use]
    pub fn partial(year: u16, month: Option<u8>) -> Option<Self> {
        let exists = (1..=9_999).contains(&year) && month.is_none_or(|month| (1..=12).contains(&month));
        exists.then_some(Self { year, month, day: None })
    }

    /// How much this date may be trusted to be somebody's.
    #[must_use]
    pub fn plausibility(&self) -> Plausibility {
        let (Some(month), Some(day)) = (self.month, self.day) else { return Plausibility::Plausible };
        match (self.year, month, day) {
            // Zero days of clocks and spreadsheets, ends of time, keys held down.
            (1 | 1753 | 1800 | 1899..=1901 | 1904 | 1970 | 9999, 1, 1)
            | (1899, 12, 30 | 31)
            | (1969 | 9999, 12, 31)
            | (1111, 11, 11)
            | (1212, 12, 12) => Plausibility::Placeholder,
            (_, 1, 1) => Plausibility::FirstOfJanuary,
            _ => Plausibility::Plausible,
        }
    }
}

/// How much a date may be trusted to be somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plausibility {
    /// Nothing speaks against it.
    Plausible,
    /// What people and systems fill in when only the year is known: the year may hold, the day does not.
    FirstOfJanuary,
    /// The zero day of some system, such as 1900-01-01: nobody's.
    Placeholder,
}

/// Which of two numbers is the month where both could be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DateOrder {
    /// `31/12/1985`: most of the world.
    #[default]
    DayFirst,
    /// `12/31/1985`: the United States and few others.
    MonthFirst,
}

impl DateOrder {
    /// The custom of a country by its ISO 3166 code; day first where the country is not known.
    #[must_use]
    pub fn of_region(region: Option<&str>) -> Self {
        match region {
            Some("US" | "PR" | "GU" | "VI" | "AS" | "MP" | "FM" | "MH" | "PW" | "PH") => Self::MonthFirst,
            _ => Self::DayFirst,
        }
    }
}

/// A date as read, and what the reading leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DateReading {
    /// The likeliest date.
    pub date: CivilDate,
    /// The other date that the text could mean, with day and month exchanged; `None` when only one reads.
    pub other: Option<CivilDate>,
    /// The century was guessed from a two-digit year.
    pub century_guessed: bool,
}

/// How a text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateCustom {
    /// Which of two numbers is the month where both could be.
    pub order: DateOrder,
    /// A two-digit year means the last such year up to this one: the year in which the record was observed.
    pub latest_year: u16,
}

impl DateCustom {
    /// The custom of a country, for a record observed at this time.
    #[must_use]
    pub fn of(region: Option<&str>, observed_at: crate::fragment::ObservedAt) -> Self {
        const MICROSECONDS_PER_YEAR: i64 = 31_556_952_000_000;
        let year = 1970 + observed_at.0.div_euclid(MICROSECONDS_PER_YEAR);
        Self { order: DateOrder::of_region(region), latest_year: year.clamp(1, 9_999) as u16 }
    }
}

/// Bytes of the longest text that can be a date.
const TEXT_BYTES_MAX: usize = 64;

/// Reads a date: ISO 8601 with or without a time, numbers with separators in either order, eight digits, month names in
/// the commoner European languages, a month or a year alone. `None` when it is none, or no such day exists.
#[must_use]
pub fn read_date(text: &str, custom: DateCustom) -> Option<DateReading> {
    let text = text.trim();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let text = without_time(text);
    let tokens = tokens(text)?;
    let whole = |date: CivilDate| DateReading { date, other: None, century_guessed: false };
    match *tokens.as_slice() {
        [Token::Number { value, digits: 8 }] => eight_digits(value, custom.order),
        [Token::Number { value, digits: 4 }] => CivilDate::partial(narrow(value)?, None).map(whole),
        [Token::Number { value: year, digits: 4 }, Token::Number { value: month, .. }]
        | [Token::Number { value: month, .. }, Token::Number { value: year, digits: 4 }] => {
            CivilDate::partial(narrow(year)?, Some(u8::try_from(month).ok()?)).map(whole)
        }
        [Token::Month(month), Token::Number { value: year, digits: 4 }] => {
            CivilDate::partial(narrow(year)?, Some(month)).map(whole)
        }
        [Token::Number { value: year, digits: 4 }, Token::Month(month), Token::Number { value: day, .. }] => {
            CivilDate::new(narrow(year)?, month, u8::try_from(day).ok()?).map(whole)
        }
        [Token::Number { value: day, .. }, Token::Month(month), Token::Number { value: year, digits }]
        | [Token::Month(month), Token::Number { value: day, .. }, Token::Number { value: year, digits }] => {
            let (year, century_guessed) = full_year(year, digits, custom.latest_year)?;
            let date = CivilDate::new(year, month, u8::try_from(day).ok()?)?;
            Some(DateReading { date, other: None, century_guessed })
        }
        [
            Token::Number { value: a, digits },
            Token::Number { value: b, .. },
            Token::Number { value: c, digits: last },
        ] => {
            let (a8, b8) = (u8::try_from(a).ok(), u8::try_from(b).ok()?);
            if digits == 4 || (digits == 2 && a > 31 && last <= 2) {
                // Year first: the month follows, everywhere but in a few exports that exchange the two.
                let (year, century_guessed) = full_year(a, digits, custom.latest_year)?;
                let c8 = u8::try_from(c).ok()?;
                let date = CivilDate::new(year, b8, c8).or_else(|| CivilDate::new(year, c8, b8))?;
                return Some(DateReading { date, other: None, century_guessed });
            }
            let (year, century_guessed) = full_year(c, last, custom.latest_year)?;
            // Dots are written day first, in every country that writes them.
            let order = if text.contains('.') { DateOrder::DayFirst } else { custom.order };
            let mut reading = either_order(year, a8?, b8, order)?;
            reading.century_guessed = century_guessed;
            if text.contains('.') {
                reading.other = None;
            }
            Some(reading)
        }
        _ => None,
    }
}

/// Reads a date from three fields, each as typed; the month may be a name. Missing parts give a partial date.
#[must_use]
pub fn read_parts(year: &str, month: &str, day: &str, latest_year: u16) -> Option<DateReading> {
    let [Token::Number { value, digits }] = *tokens(year.trim())?.as_slice() else { return None };
    let (year, century_guessed) = full_year(value, digits, latest_year)?;
    let month = match *tokens(month.trim())?.as_slice() {
        [Token::Month(month)] => Some(month),
        [Token::Number { value, .. }] => Some(u8::try_from(value).ok()?),
        [] => None,
        _ => return None,
    };
    let day = match *tokens(day.trim())?.as_slice() {
        [Token::Number { value, .. }] => Some(u8::try_from(value).ok()?),
        [] => None,
        _ => return None,
    };
    let date = match (month, day) {
        (Some(month), Some(day)) => CivilDate::new(year, month, day),
        (month, _) => CivilDate::partial(year, month),
    }?;
    Some(DateReading { date, other: None, century_guessed })
}

fn eight_digits(value: u32, order: DateOrder) -> Option<DateReading> {
    let split =
        |year: u32, month: u32, day: u32| CivilDate::new(narrow(year)?, narrow(month)? as u8, narrow(day)? as u8);
    let year_first = split(value / 10_000, value / 100 % 100, value % 100);
    if let Some(date) = year_first.filter(|date| (1600..=2200).contains(&date.year)) {
        return Some(DateReading { date, other: None, century_guessed: false });
    }
    either_order(narrow(value % 10_000)?, narrow(value / 1_000_000)? as u8, narrow(value / 10_000 % 100)? as u8, order)
}

fn either_order(year: u16, first: u8, second: u8, order: DateOrder) -> Option<DateReading> {
    let (day_first, month_first) = (CivilDate::new(year, second, first), CivilDate::new(year, first, second));
    let (likely, other) = match order {
        DateOrder::DayFirst => (day_first, month_first),
        DateOrder::MonthFirst => (month_first, day_first),
    };
    let date = likely.or(other)?;
    Some(DateReading { date, other: other.filter(|other| *other != date), century_guessed: false })
}

fn full_year(value: u32, digits: usize, latest_year: u16) -> Option<(u16, bool)> {
    match digits {
        4 => Some((narrow(value)?, false)),
        2 => {
            let century = u32::from(latest_year) / 100 * 100;
            let year = if century + value <= u32::from(latest_year) {
                century + value
            } else {
                (century + value).checked_sub(100)?
            };
            Some((narrow(year)?, true))
        }
        _ => None,
    }
}

fn narrow(value: u32) -> Option<u16> {
    u16::try_from(value).ok()
}

fn days_in(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Cuts off a time of day: everything from a `T` or a space in front of `hh:`.
fn without_time(text: &str) -> &str {
    let Some(colon) = text.find(':') else { return text.strip_suffix('Z').unwrap_or(text) };
    let head = text[..colon].trim_end_matches(|c: char| c.is_ascii_digit());
    head.trim_end_matches(['T', 't', ' ', ','])
}

#[derive(Clone, Copy)]
enum Token {
    Number { value: u32, digits: usize },
    Month(u8),
}

/// At most three numbers and month names; `None` if anything else is in it. Words that carry no date are passed over.
fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::with_capacity(3);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            if end > 8 {
                return None;
            }
            tokens.push(Token::Number { value: rest[..end].parse().ok()?, digits: end });
            rest = &rest[end..];
        } else if first.is_alphabetic() {
            let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
            let word = rest[..end].to_lowercase();
            match month_named(&word) {
                Some(month) => tokens.push(Token::Month(month)),
                None if FILLERS.contains(&word.as_str()) => {}
                None => return None,
            }
            rest = &rest[end..];
        } else if matches!(first, '-' | '/' | '.' | ',' | ' ' | '\'' | '\u{a0}' | '–') {
            rest = &rest[first.len_utf8()..];
        } else {
            return None;
        }
        if tokens.len() > 3 {
            return None;
        }
    }
    Some(tokens)
}

/// Ordinal endings, articles and days of the week.
const FILLERS: &[&str] = &[
    "st",
    "nd",
    "rd",
    "th",
    "de",
    "del",
    "of",
    "the",
    "er",
    "le",
    "den",
    "der",
    "mon",
    "tue",
    "wed",
    "thu",
    "fri",
    "sat",
    "sun",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// English, German, French, Spanish, Italian, Portuguese, Dutch and Nordic month names, and their usual short forms.
const MONTHS: [&[&str]; 12] = [
    &["jan", "january", "januar", "jänner", "janvier", "janv", "enero", "ene", "gennaio", "gen", "janeiro", "januari"],
    &[
        "feb",
        "february",
        "februar",
        "feber",
        "février",
        "fevrier",
        "févr",
        "fevr",
        "febrero",
        "febbraio",
        "fevereiro",
        "fev",
        "februari",
    ],
    &["mar", "march", "märz", "maerz", "mrz", "mars", "marzo", "março", "marco", "maart", "mrt"],
    &["apr", "april", "avril", "avr", "abril", "abr", "aprile"],
    &["may", "mai", "mayo", "maggio", "mag", "maio", "mei", "maj"],
    &["jun", "june", "juni", "juin", "junio", "giugno", "giu", "junho"],
    &["jul", "july", "juli", "juillet", "juil", "julio", "luglio", "lug", "julho"],
    &["aug", "august", "août", "aout", "agosto", "ago", "augustus", "augusti"],
    &["sep", "sept", "september", "septembre", "septiembre", "set", "settembre", "setembro"],
    &["oct", "october", "oktober", "okt", "octobre", "octubre", "ottobre", "ott", "outubro", "out"],
    &["nov", "november", "novembre", "noviembre", "novembro"],
    &[
        "dec",
        "december",
        "dezember",
        "dez",
        "décembre",
        "decembre",
        "déc",
        "diciembre",
        "dic",
        "dicembre",
        "dezembro",
        "des",
        "desember",
    ],
];

fn month_named(word: &str) -> Option<u8> {
    MONTHS.iter().position(|names| names.contains(&word)).map(|at| at as u8 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const US: DateCustom = DateCustom { order: DateOrder::MonthFirst, latest_year: 2024 };
    const UK: DateCustom = DateCustom { order: DateOrder::DayFirst, latest_year: 2024 };

    /// Date, and after `|` the other reading; `?` for a guessed century.
    fn line(reading: Option<DateReading>) -> String {
        reading.map_or_else(String::new, |reading| {
            let other = reading.other.map_or_else(String::new, |other| format!("|{other}"));
            format!("{}{other}{}", reading.date, if reading.century_guessed { "?" } else { "" })
        })
    }

    #[test]
    fn dates_are_read_as_they_are_written() {
        for (raw, us, uk) in [
            ("1985-04-11", "1985-04-11", "1985-04-11"),
            ("1985-4-1", "1985-04-01", "1985-04-01"),
            ("1985/04/11", "1985-04-11", "1985-04-11"),
            ("1985-04-11T00:00:00Z", "1985-04-11", "1985-04-11"),
            ("1985-04-11 13:45:00+02:00", "1985-04-11", "1985-04-11"),
            ("1985-13-04", "1985-04-13", "1985-04-13"),
            ("19850411", "1985-04-11", "1985-04-11"),
            ("11041985", "1985-11-04|1985-04-11", "1985-04-11|1985-11-04"),
            ("08/04/1999", "1999-08-04|1999-04-08", "1999-04-08|1999-08-04"),
            ("8/8/1999", "1999-08-08", "1999-08-08"),
            ("23/08/1999", "1999-08-23", "1999-08-23"),
            ("08/23/1999", "1999-08-23", "1999-08-23"),
            ("11.04.1985", "1985-04-11", "1985-04-11"),
            ("3/1/70", "1970-03-01|1970-01-03?", "1970-01-03|1970-03-01?"),
            ("8/2/06", "2006-08-02|2006-02-08?", "2006-02-08|2006-08-02?"),
            ("09/20/69", "1969-09-20?", "1969-09-20?"),
            ("85-04-11", "1985-04-11?", "1985-04-11?"),
            ("15-Mar-92", "1992-03-15?", "1992-03-15?"),
            ("March 15th, 1992", "1992-03-15", "1992-03-15"),
            ("Sunday, 15 March 1992", "1992-03-15", "1992-03-15"),
            ("15. März 1992", "1992-03-15", "1992-03-15"),
            ("15 août 1992", "1992-08-15", "1992-08-15"),
            ("1 de enero de 1992", "1992-01-01", "1992-01-01"),
            ("1992-Mar-15", "1992-03-15", "1992-03-15"),
            ("1985-04", "1985-04", "1985-04"),
            ("04/1985", "1985-04", "1985-04"),
            ("Apr 1985", "1985-04", "1985-04"),
            ("1985", "1985", "1985"),
            ("2000-02-29", "2000-02-29", "2000-02-29"),
            ("1900-02-29", "", ""),
            ("2023-02-30", "", ""),
            ("31/31/1999", "", ""),
            ("0000-00-00", "", ""),
            ("1985-04-11-12", "", ""),
            ("yesterday", "", ""),
            ("12", "", ""),
            ("", "", ""),
        ] {
            assert_eq!(line(read_date(raw, US)), us, "{raw:?} in the US");
            assert_eq!(line(read_date(raw, UK)), uk, "{raw:?} in the UK");
        }
    }

    #[test]
    fn parts_are_read_and_may_be_missing() {
        for (year, month, day, want) in [
            ("1957", "6", "1", "1957-06-01"),
            ("57", "06", "01", "1957-06-01?"),
            ("1957", "Juni", "1", "1957-06-01"),
            ("1957", "6", "", "1957-06"),
            ("1957", "", "", "1957"),
            ("1957", "2", "30", ""),
            ("", "6", "1", ""),
        ] {
            assert_eq!(line(read_parts(year, month, day, 2024)), want, "{year} {month} {day}");
        }
    }

    #[test]
    fn placeholders_are_told_from_birthdays() {
        for (raw, want) in [
            ("1900-01-01", Plausibility::Placeholder),
            ("1970-01-01", Plausibility::Placeholder),
            ("9999-12-31", Plausibility::Placeholder),
            ("1899-12-30", Plausibility::Placeholder),
            ("1989-01-01", Plausibility::FirstOfJanuary),
            ("1989-01-02", Plausibility::Plausible),
            ("1970", Plausibility::Plausible),
        ] {
            assert_eq!(read_date(raw, US).unwrap().date.plausibility(), want, "{raw}");
        }
    }

    #[test]
    fn the_custom_follows_country_and_time() {
        let observed = crate::fragment::ObservedAt(1_700_000_000_000_000);
        assert_eq!(
            DateCustom::of(Some("US"), observed),
            DateCustom { order: DateOrder::MonthFirst, latest_year: 2023 }
        );
        assert_eq!(DateCustom::of(None, observed).order, DateOrder::DayFirst);
        assert_eq!(DateCustom::of(None, crate::fragment::ObservedAt(i64::MIN)).latest_year, 1);
    }

    proptest! {
        #[test]
        fn what_is_read_reads_the_same_in_iso(raw in prop_oneof![any::<String>(), "[0-9]{1,4}[-/. ]([0-9]{1,2}|Mar|mai)[-/. ][0-9]{1,4}", "[0-9]{8}"]) {
            for custom in [US, UK] {
                if let Some(reading) = read_date(&raw, custom) {
                    let again = read_date(&reading.date.to_string(), custom);
                    prop_assert_eq!(again.map(|again| again.date), Some(reading.date));
                }
            }
        }
    }
}
