//! Comparisons: how one aspect of two records is compared, and the levels it can come out at.
//!
//! Level 0 always means that one side is silent; it carries no weight. The other levels run from the strongest agreement to
//! plain difference. Aspects that hang together (street and town) are compared as one, so that they are not counted twice.

use serde::{Deserialize, Serialize};

use super::metric::{PHONE_TAIL, chars, jaro_winkler, last, osa};
use super::schema::{FieldKind, Schema};
use super::symbols::{ABSENT, Symbol, Symbols};
use crate::normalise::name::may_be_same_given;
use crate::normalise::text::romanise;

/// A comparison level's number.
pub type Level = u8;

/// One side is silent.
pub const SILENT: Level = 0;

/// What is compared, by the places of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Given name, with a look at the other name fields for exchanged ones.
    GivenName {
        /// Given name.
        given: usize,
        /// Middle names.
        middle: usize,
        /// Family name.
        family: usize,
    },
    /// Family name, likewise.
    FamilyName {
        /// Given name.
        given: usize,
        /// Middle names.
        middle: usize,
        /// Family name.
        family: usize,
    },
    /// Middle names.
    MiddleName(usize),
    /// Birth date.
    BirthDate(usize),
    /// Equal or not.
    Exact(usize),
    /// House number and street together with town and postal code.
    Address {
        /// House number.
        house: usize,
        /// Street.
        street: usize,
        /// Unit.
        unit: usize,
        /// Town.
        city: usize,
        /// Postal code.
        postcode: usize,
        /// Region.
        region: usize,
    },
    /// Telephone number.
    Phone(usize),
    /// E-mail address.
    Email(usize),
    /// E-mail address of an organisation, whose host says no more than its domain does.
    EmailBeside {
        /// E-mail address.
        email: usize,
        /// Domain.
        domain: usize,
    },
    /// Names of an organisation: legal and trading name, either against either.
    Organisation {
        /// Legal name.
        name: usize,
        /// Trading name.
        trading: usize,
    },
    /// An identifier that may be mistyped.
    Identifier(usize),
    /// Words.
    Text(usize),
    /// A number.
    Number(usize),
}

/// A level, and what the model's frequencies are asked for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Which level.
    pub level: Level,
    /// What is known of how common that is on which the level rests.
    pub frequency: Frequency,
}

/// How common that is on which a level rests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Frequency {
    /// Nothing to say beyond the level.
    Usual,
    /// log2 of the share of records that hold the value that both hold.
    Value {
        /// Whose value.
        slot: u8,
        /// The logarithm.
        share_bits: f32,
    },
    /// The inverse document frequencies of the words that both hold, summed up.
    Words {
        /// Whose words.
        slot: u8,
        /// The sum, in bits.
        rarity_bits: f32,
        /// log2 of the share of records that hold the whole text, where both hold the same.
        whole: Option<f32>,
    },
}

impl Outcome {
    const fn plain(level: Level) -> Self {
        Self { level, frequency: Frequency::Usual }
    }
}

/// Levels of names.
mod name {
    pub(super) const EXACT: u8 = 1;
    pub(super) const SAME: u8 = 2;
    pub(super) const CLOSE: u8 = 3;
    pub(super) const SIMILAR: u8 = 4;
    pub(super) const PARTIAL: u8 = 5;
    pub(super) const EXCHANGED: u8 = 6;
    pub(super) const DIFFERENT: u8 = 7;
}

/// Street levels inside an address, by ten: see [`Aspect::Address`].
mod street {
    pub(super) const SILENT: u8 = 0;
    pub(super) const DOOR: u8 = 1;
    pub(super) const CLOSE_DOOR: u8 = 2;
    pub(super) const STREET: u8 = 3;
    pub(super) const PARTLY: u8 = 4;
    pub(super) const DIFFERENT: u8 = 5;
    pub(super) const COUNT: u8 = 6;
}

/// Place levels inside an address.
mod place {
    pub(super) const SILENT: u8 = 0;
    pub(super) const BOTH: u8 = 1;
    pub(super) const CODE: u8 = 2;
    pub(super) const CLOSE: u8 = 3;
    pub(super) const TOWN: u8 = 4;
    pub(super) const DIFFERENT: u8 = 5;
    pub(super) const COUNT: u8 = 6;
}

impl Aspect {
    /// Number of levels, [`SILENT`] included.
    #[must_use]
    pub fn levels(&self) -> usize {
        match self {
            Self::GivenName { .. } | Self::FamilyName { .. } => 8,
            Self::MiddleName(_) => 5,
            Self::BirthDate(_) => 7,
            Self::Exact(_) => 3,
            Self::Address { .. } => usize::from(street::COUNT * place::COUNT),
            Self::Phone(_) => 4,
            Self::Email(_) | Self::EmailBeside { .. } => 5,
            Self::Organisation { .. } => 9,
            Self::Identifier(_) => 4,
            Self::Text(_) => 8,
            Self::Number(_) => 6,
        }
    }

    /// What a level means, for people.
    #[must_use]
    pub fn level_name(&self, level: Level) -> String {
        let names: &[&str] = match self {
            Self::GivenName { .. } | Self::FamilyName { .. } => {
                &["absent", "exact", "same name", "close", "similar", "partial", "exchanged", "different"]
            }
            Self::MiddleName(_) => &["absent", "exact", "similar", "initial", "different"],
            Self::BirthDate(_) => &["absent", "exact", "one slip", "two parts", "near", "year", "different"],
            Self::Exact(_) => &["absent", "exact", "different"],
            Self::Address { .. } => {
                let streets = ["absent", "same door", "close door", "same street", "partly", "different"];
                let places = ["absent", "same", "same code", "close", "same town", "different"];
                let (street, place) = (level / place::COUNT, level % place::COUNT);
                return match (streets.get(usize::from(street)), places.get(usize::from(place))) {
                    _ if level == SILENT => "absent".to_owned(),
                    (Some(street), Some(place)) => format!("street {street}, place {place}"),
                    _ => "unknown".to_owned(),
                };
            }
            Self::Phone(_) => &["absent", "exact", "one slip", "different"],
            Self::Email(_) | Self::EmailBeside { .. } => &["absent", "exact", "close", "same user", "different"],
            Self::Organisation { .. } => {
                &["absent", "exact", "nearly", "close", "similar", "alike", "acronym", "partial", "different"]
            }
            Self::Identifier(_) => &["absent", "exact", "one slip", "different"],
            Self::Text(_) => &["absent", "exact", "nearly", "close", "similar", "alike", "faint", "different"],
            Self::Number(_) => &["absent", "exact", "nearly", "close", "near", "different"],
        };
        names.get(usize::from(level)).copied().unwrap_or("unknown").to_owned()
    }

    /// The slots that the aspect reads, for telling which blocking rules speak of it.
    #[must_use]
    pub fn slots(&self) -> Vec<usize> {
        match *self {
            Self::GivenName { given, .. } => vec![given],
            Self::FamilyName { family, .. } => vec![family],
            Self::Address { house, street, unit, city, postcode, region } => {
                vec![house, street, unit, city, postcode, region]
            }
            Self::Organisation { name, trading } => vec![name, trading],
            Self::EmailBeside { email, .. } => vec![email],
            Self::MiddleName(slot)
            | Self::BirthDate(slot)
            | Self::Exact(slot)
            | Self::Phone(slot)
            | Self::Email(slot)
            | Self::Identifier(slot)
            | Self::Text(slot)
            | Self::Number(slot) => vec![slot],
        }
    }

    /// The name of the comparison, for people.
    #[must_use]
    pub fn name(&self, schema: &Schema) -> String {
        match self {
            Self::Address { .. } => "address".to_owned(),
            other => other.slots().first().map_or_else(String::new, |slot| schema.fields[*slot].name.clone()),
        }
    }

    /// Compares one aspect of two rows.
    #[must_use]
    pub fn compare(&self, symbols: &Symbols, a: &[Symbol], b: &[Symbol]) -> Outcome {
        let pair = |slot: usize| (a[slot], b[slot]);
        match *self {
            Self::GivenName { given, middle, family } => given_name(symbols, a, b, given, middle, family),
            Self::FamilyName { given, middle, family } => family_name(symbols, a, b, given, middle, family),
            Self::MiddleName(slot) => middle_name(symbols, pair(slot)),
            Self::BirthDate(slot) => birth_date(symbols, pair(slot)),
            Self::Exact(slot) => match pair(slot) {
                (ABSENT, _) | (_, ABSENT) => Outcome::plain(SILENT),
                (left, right) if left == right => Outcome::plain(1),
                _ => Outcome::plain(2),
            },
            Self::Address { house, street, unit, city, postcode, region } => {
                address(symbols, a, b, [house, street, unit, city, postcode, region])
            }
            Self::Phone(slot) => digits(symbols, pair(slot)),
            Self::Email(slot) => email(symbols, pair(slot)),
            Self::EmailBeside { domain, .. } if a[domain] != ABSENT && b[domain] != ABSENT => Outcome::plain(SILENT),
            Self::EmailBeside { email: slot, .. } => email(symbols, pair(slot)),
            Self::Organisation { name, trading } => organisation(symbols, a, b, name, trading),
            Self::Identifier(slot) => identifier(symbols, pair(slot)),
            Self::Text(slot) => text(symbols, pair(slot)),
            Self::Number(slot) => number(symbols, pair(slot)),
        }
    }
}

fn exact(symbols: &Symbols, symbol: Symbol) -> Outcome {
    let entry = &symbols.entries[symbol];
    Outcome { level: 1, frequency: Frequency::Value { slot: entry.slot, share_bits: entry.log_frequency } }
}

/// How two name words relate, without a look at other fields.
fn word_level(symbols: &Symbols, left: Symbol, right: Symbol, given: bool) -> u8 {
    if left == right {
        return name::EXACT;
    }
    let (a, b) = (symbols.text(left), symbols.text(right));
    words_level(a, b, given)
}

fn words_level(a: &str, b: &str, given: bool) -> u8 {
    if a == b {
        return name::EXACT;
    }
    if a.is_ascii() != b.is_ascii() || !a.is_ascii() {
        // Across scripts the Latin spelling is compared, and never counts for more than close.
        let (latin_a, latin_b) = (romanise(a), romanise(b));
        if latin_a.is_some() || latin_b.is_some() {
            let level = words_level(latin_a.as_deref().unwrap_or(a), latin_b.as_deref().unwrap_or(b), given);
            return if a.is_ascii() == b.is_ascii() { level } else { level.max(name::CLOSE) };
        }
    }
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let count = chars(short);
    if count == 1 {
        return if long.starts_with(short) { name::PARTIAL } else { name::DIFFERENT };
    }
    if given && may_be_same_given(a, b) {
        return name::SAME;
    }
    if !given && same_without_spaces(a, b) {
        return name::SAME;
    }
    if may_be_similar(short, long) {
        let level = spelt_alike(short, long);
        if level < name::DIFFERENT {
            return level;
        }
    }
    if shares_word(a, b, given) || (count >= 3 && long.starts_with(short)) {
        return name::PARTIAL;
    }
    name::DIFFERENT
}

/// Whether two words could come out as similar at all: most pairs of names are told apart by their letters alone, at a
/// tenth of the cost of measuring them.
fn may_be_similar(short: &str, long: &str) -> bool {
    if !short.is_ascii() || !long.is_ascii() {
        return true;
    }
    let letters = long.bytes().fold(0_u32, |letters, byte| letters | 1 << (byte & 31));
    let missing = short.bytes().filter(|byte| letters >> (byte & 31) & 1 == 0).count();
    let shared = (short.len() - missing) as f32;
    let jaro = (shared / short.len() as f32 + shared / long.len() as f32 + 1.0) / 3.0;
    missing <= 2 && long.len() - short.len() <= 3 || jaro >= 0.65
}

fn spelt_alike(short: &str, long: &str) -> u8 {
    let (count, longest) = (chars(short), chars(long));
    let similarity = jaro_winkler(short, long);
    let edits = osa(short, long);
    if count >= 4 && (edits <= 1 || similarity >= 0.94) {
        return name::CLOSE;
    }
    if (edits <= 2 && longest >= 6) || similarity >= 0.87 || (edits <= 1 && count >= 3) {
        return name::SIMILAR;
    }
    // Weaker still: what a prefix or a shared word says is said first.
    let prefix = count >= 3 && long.starts_with(short);
    if !prefix && similarity >= 0.8 && edits <= 3 && longest >= 7 { name::SIMILAR } else { name::DIFFERENT }
}

fn same_without_spaces(a: &str, b: &str) -> bool {
    (a.contains(' ') || b.contains(' '))
        && a.bytes().filter(|byte| *byte != b' ').eq(b.bytes().filter(|byte| *byte != b' '))
}

/// Compound names: one word in common is a part in common.
fn shares_word(a: &str, b: &str, given: bool) -> bool {
    if !a.contains(' ') && !b.contains(' ') {
        return false;
    }
    a.split(' ').any(|left| {
        chars(left) >= 3
            && b.split(' ')
                .any(|right| left == right || (chars(right) >= 4 && words_level(left, right, given) <= name::CLOSE))
    })
}

fn given_name(symbols: &Symbols, a: &[Symbol], b: &[Symbol], given: usize, middle: usize, family: usize) -> Outcome {
    let (left, right) = (a[given], b[given]);
    if left != ABSENT && left == right {
        return exact(symbols, left);
    }
    if exchanged(symbols, a, b, given, family) {
        return Outcome::plain(name::EXCHANGED);
    }
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    let level = word_level(symbols, left, right, true);
    if level >= name::PARTIAL {
        // Called by a middle name: `Ann Marie` and `Marie`.
        let by_middle = |of: &[Symbol], other: Symbol| {
            let middles = symbols.text(of[middle]);
            let other = symbols.text(other);
            chars(other) > 1 && middles.split(' ').any(|word| word == other)
        };
        if by_middle(a, right) || by_middle(b, left) {
            return Outcome::plain(name::PARTIAL);
        }
    }
    Outcome::plain(level)
}

fn family_name(symbols: &Symbols, a: &[Symbol], b: &[Symbol], given: usize, middle: usize, family: usize) -> Outcome {
    let (left, right) = (a[family], b[family]);
    if left != ABSENT && left == right {
        return exact(symbols, left);
    }
    if exchanged(symbols, a, b, given, family) {
        return Outcome::plain(name::EXCHANGED);
    }
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    let level = word_level(symbols, left, right, false);
    if level == name::DIFFERENT {
        // A maiden name kept as a middle name.
        let kept = |of: &[Symbol], other: Symbol| {
            let other = symbols.text(other);
            chars(other) >= 4 && symbols.text(of[middle]).split(' ').any(|word| word == other)
        };
        if kept(a, right) || kept(b, left) {
            return Outcome::plain(name::PARTIAL);
        }
    }
    Outcome::plain(level)
}

/// Given and family name filled the wrong way round on one side.
fn exchanged(symbols: &Symbols, a: &[Symbol], b: &[Symbol], given: usize, family: usize) -> bool {
    let (ag, af, bg, bf) = (a[given], a[family], b[given], b[family]);
    let same = |left: Symbol, right: Symbol| left != ABSENT && left == right;
    if same(ag, bg) || same(af, bf) {
        return false;
    }
    let across = (crossed(symbols, ag, bf), crossed(symbols, af, bg));
    if across.0 != Some(true) && across.1 != Some(true) {
        return false;
    }
    let straight = (crossed(symbols, ag, bg), crossed(symbols, af, bf));
    match across {
        // An initial agrees with many a name: the other half must agree in earnest.
        (Some(true), Some(_)) | (Some(_), Some(true)) => straight.0 != Some(true) && straight.1 != Some(true),
        // One side knows only one of the two, and has it in the wrong field.
        (Some(true), None) => (af == ABSENT || bg == ABSENT) && straight == (None, None),
        (None, Some(true)) => (ag == ABSENT || bf == ABSENT) && straight == (None, None),
        _ => false,
    }
}

/// Whether names of two fields are one name: in earnest, as an initial, or not at all.
fn crossed(symbols: &Symbols, left: Symbol, right: Symbol) -> Option<bool> {
    if left == ABSENT || right == ABSENT {
        return None;
    }
    if symbols.entries[left].hash == symbols.entries[right].hash {
        return Some(chars(symbols.text(left)) > 1);
    }
    let (a, b) = (symbols.text(left), symbols.text(right));
    let first = |text: &str| text.chars().next();
    let apart = symbols.entries[left].coarse != symbols.entries[right].coarse && first(a) != first(b);
    if apart && a.is_ascii() && b.is_ascii() {
        // Neither the sound nor the first letter agrees.
        return None;
    }
    match words_level(a, b, true) {
        name::EXACT..=name::CLOSE => Some(true),
        name::SIMILAR if chars(a).min(chars(b)) >= 3 && osa(a, b) <= 1 => Some(true),
        name::PARTIAL if chars(a).min(chars(b)) == 1 => Some(false),
        _ => None,
    }
}

fn middle_name(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        let initial = symbols.text(left).len() == 1;
        return if initial { Outcome::plain(3) } else { exact(symbols, left) };
    }
    let (a, b) = (symbols.text(left), symbols.text(right));
    let (first_a, first_b) = (a.split(' ').next().unwrap_or(a), b.split(' ').next().unwrap_or(b));
    Outcome::plain(match words_level(first_a, first_b, true) {
        name::EXACT..=name::SIMILAR => 2,
        name::PARTIAL => 3,
        _ => 4,
    })
}

fn birth_date(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    const ONE_SLIP: u8 = 2;
    const TWO_PARTS: u8 = 3;
    const NEAR: u8 = 4;
    const YEAR: u8 = 5;
    const DIFFERENT: u8 = 6;
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    let (a, b) = (symbols.text(left), symbols.text(right));
    if a.len() < 8 || b.len() < 8 || !a.is_ascii() || !b.is_ascii() {
        // A year or a month alone agrees with every date in it.
        let known = a.len().min(b.len());
        let agree = a.as_bytes()[..known] == b.as_bytes()[..known];
        return Outcome::plain(if agree && known >= 4 { YEAR } else { DIFFERENT });
    }
    if left == right {
        return exact(symbols, left);
    }
    let (year_a, month_a, day_a) = (&a[..4], &a[4..6], &a[6..]);
    let (year_b, month_b, day_b) = (&b[..4], &b[4..6], &b[6..]);
    let placeholder = &a[4..] == "0101" || &b[4..] == "0101";
    if year_a == year_b && placeholder {
        return Outcome::plain(YEAR);
    }
    let swapped = year_a == year_b && month_a == day_b && day_a == month_b;
    let edits = osa(a, b);
    if edits == 1 || swapped {
        return Outcome::plain(ONE_SLIP);
    }
    let equal = [year_a == year_b, month_a == month_b, day_a == day_b].into_iter().filter(|equal| *equal).count();
    if equal == 2 {
        return Outcome::plain(TWO_PARTS);
    }
    if edits == 2 {
        return Outcome::plain(NEAR);
    }
    Outcome::plain(if year_a == year_b { YEAR } else { DIFFERENT })
}

/// Street and house number, then town and postal code; one level for each combination.
fn address(symbols: &Symbols, a: &[Symbol], b: &[Symbol], slots: [usize; 6]) -> Outcome {
    let [house, line, unit, city, postcode, region] = slots;
    let street = street_level(symbols, a, b, house, line, unit);
    let (place, named) = place_level(symbols, a, b, city, postcode, region);
    let frequency = if (street::DOOR..=street::STREET).contains(&street) && a[line] != ABSENT && a[line] == b[line] {
        Some(a[line])
    } else {
        named
    };
    let frequency = frequency.map_or(Frequency::Usual, |symbol| {
        let entry = &symbols.entries[symbol];
        Frequency::Value { slot: entry.slot, share_bits: entry.log_frequency }
    });
    Outcome { level: street * place::COUNT + place, frequency }
}

fn street_level(symbols: &Symbols, a: &[Symbol], b: &[Symbol], house: usize, line: usize, unit: usize) -> u8 {
    let (left, right) = (a[line], b[line]);
    let houses = (a[house], b[house]);
    let house_agrees = houses.0 != ABSENT && houses.0 == houses.1;
    let house_differs = houses.0 != ABSENT && houses.1 != ABSENT && houses.0 != houses.1;
    if left == ABSENT || right == ABSENT {
        return street::SILENT;
    }
    if left == right {
        return if house_agrees {
            street::DOOR
        } else if house_differs && !slip(symbols, houses.0, houses.1) {
            street::STREET
        } else {
            street::CLOSE_DOOR
        };
    }
    let (a_text, b_text) = (symbols.text(left), symbols.text(right));
    let edits = osa(a_text, b_text);
    let longest = chars(a_text).max(chars(b_text));
    let close = edits <= 1 + longest / 8 || jaro_winkler(a_text, b_text) >= 0.93;
    if close {
        return if house_agrees {
            street::CLOSE_DOOR
        } else if house_differs {
            street::PARTLY
        } else {
            street::STREET
        };
    }
    // The line of one side in the unit of the other, or one name in common.
    let crossed =
        |x: Symbol, y: Symbol| x != ABSENT && y != ABSENT && symbols.entries[x].hash == symbols.entries[y].hash;
    if crossed(left, b[unit]) || crossed(right, a[unit]) {
        return street::CLOSE_DOOR;
    }
    let share = a_text.split(' ').any(|word| chars(word) >= 5 && b_text.split(' ').any(|other| other == word));
    if house_agrees && (share || jaro_winkler(a_text, b_text) >= 0.8) {
        return street::CLOSE_DOOR;
    }
    if share || house_agrees { street::PARTLY } else { street::DIFFERENT }
}

fn slip(symbols: &Symbols, left: Symbol, right: Symbol) -> bool {
    osa(symbols.text(left), symbols.text(right)) <= 1
}

fn place_level(
    symbols: &Symbols,
    a: &[Symbol],
    b: &[Symbol],
    city: usize,
    postcode: usize,
    region: usize,
) -> (u8, Option<Symbol>) {
    let codes = (a[postcode], b[postcode]);
    let towns = (a[city], b[city]);
    let known = |pair: (Symbol, Symbol)| pair.0 != ABSENT && pair.1 != ABSENT;
    if !known(codes) && !known(towns) {
        let regions = (a[region], b[region]);
        if known(regions) && regions.0 != regions.1 {
            return (place::DIFFERENT, None);
        }
        return (place::SILENT, None);
    }
    let same_code = known(codes) && codes.0 == codes.1;
    let close_code = known(codes) && !same_code && close_codes(symbols.text(codes.0), symbols.text(codes.1));
    let same_town = known(towns) && towns.0 == towns.1;
    let close_town = known(towns) && !same_town && {
        let (a, b) = (symbols.text(towns.0), symbols.text(towns.1));
        osa(a, b) <= 1 + chars(a).max(chars(b)) / 6 || jaro_winkler(a, b) >= 0.92
    };
    match (same_code, same_town) {
        (true, true) => (place::BOTH, Some(codes.0)),
        (true, false) if close_town => (place::BOTH, Some(codes.0)),
        (true, false) => (place::CODE, Some(codes.0)),
        (false, true) if close_code => (place::CLOSE, Some(towns.0)),
        (false, true) => (place::TOWN, Some(towns.0)),
        (false, false) if close_code && close_town => (place::CLOSE, None),
        (false, false) if close_code || close_town => (place::TOWN, None),
        (false, false) => (place::DIFFERENT, None),
    }
}

fn close_codes(a: &str, b: &str) -> bool {
    if osa(a, b) <= 1 {
        return true;
    }
    if a.len() != b.len() {
        // An area in front of a whole code: `w1a 1aa` and `w1a`.
        return a.len() >= 3 && b.len() >= 3 && (a.starts_with(b) || b.starts_with(a));
    }
    // Codes with letters name an area by all but the last three.
    let area = |code: &str| code.len().checked_sub(3).and_then(|end| code.get(..end)).map(str::to_owned);
    a.len() >= 5 && !a.bytes().all(|byte| byte.is_ascii_digit()) && area(a).is_some() && area(a) == area(b)
}

fn digits(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        return exact(symbols, left);
    }
    let (a, b) = (symbols.text(left), symbols.text(right));
    // A country code or an area code may lack; a digit may slip.
    let same_tail = a.len() >= PHONE_TAIL && b.len() >= PHONE_TAIL && last(a, PHONE_TAIL) == last(b, PHONE_TAIL);
    Outcome::plain(if same_tail || osa(a, b) <= 1 { 2 } else { 3 })
}

fn email(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        return exact(symbols, left);
    }
    let (a, b) = (symbols.text(left), symbols.text(right));
    let (user_a, host_a) = a.rsplit_once('@').unwrap_or((a, ""));
    let (user_b, host_b) = b.rsplit_once('@').unwrap_or((b, ""));
    if user_a == user_b && chars(user_a) >= 4 {
        return Outcome::plain(if osa(host_a, host_b) <= 2 { 2 } else { 3 });
    }
    // Addresses are made of names, and of numbers where the name was taken: namesakes have `ada.byron7` and `ada.byron9`.
    // So a likeness proves nothing beyond the name, but for a slip in an address that is the same otherwise.
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).collect::<smallvec::SmallVec<[u8; 16]>>();
    let longest = chars(user_a).max(chars(user_b));
    let slips = if longest >= 10 { 2 } else { 1 };
    let slipped = host_a == host_b && longest >= 6 && osa(user_a, user_b) <= slips;
    Outcome::plain(if slipped && digits(user_a) == digits(user_b) { 2 } else { 4 })
}

fn identifier(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        return exact(symbols, left);
    }
    let (a, b) = (symbols.text(left), symbols.text(right));
    Outcome::plain(if osa(a, b) <= 1 && chars(a) >= 5 { 2 } else { 3 })
}

fn organisation(symbols: &Symbols, a: &[Symbol], b: &[Symbol], legal: usize, trading: usize) -> Outcome {
    const ACRONYM: u8 = 6;
    const DIFFERENT: u8 = 8;
    let names = |row: &[Symbol]| [row[legal], row[trading]].map(|name| (name != ABSENT).then_some(name));
    let mut best = Outcome::plain(SILENT);
    for left in names(a).into_iter().flatten() {
        for right in names(b).into_iter().flatten() {
            let found = if symbols.entries[left].hash == symbols.entries[right].hash {
                exact_words(symbols, left)
            } else {
                let (similarity, rarity_bits) = worded(symbols, left, right);
                let level = match similarity {
                    similarity if similarity >= 0.93 => 2,
                    similarity if similarity >= 0.82 => 3,
                    similarity if similarity >= 0.68 => 4,
                    similarity if similarity >= 0.5 => 5,
                    _ if is_acronym(symbols.text(left), symbols.text(right)) => ACRONYM,
                    similarity if similarity >= 0.3 => 7,
                    _ => DIFFERENT,
                };
                let slot = symbols.entries[left].slot;
                let rests = level <= 5;
                let frequency = Frequency::Words { slot, rarity_bits, whole: None };
                Outcome { level, frequency: if rests { frequency } else { Frequency::Usual } }
            };
            if best.level == SILENT || found.level < best.level {
                best = found;
            }
        }
    }
    best
}

/// `ibm` of `international business machines`, `and` and `of` left out.
fn is_acronym(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let short = short.split(' ').next().unwrap_or(short);
    let initials = long
        .split(' ')
        .filter(|word| !matches!(*word, "and" | "of" | "the" | "for"))
        .filter_map(|word| word.chars().next());
    chars(short) >= 3 && long.contains(' ') && initials.eq(short.chars())
}

fn text(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        return exact_words(symbols, left);
    }
    let (similarity, rarity_bits) = worded(symbols, left, right);
    let level = match similarity {
        similarity if similarity >= 0.9 => 2,
        similarity if similarity >= 0.76 => 3,
        similarity if similarity >= 0.6 => 4,
        similarity if similarity >= 0.42 => 5,
        similarity if similarity >= 0.22 => 6,
        _ => 7,
    };
    let frequency = Frequency::Words { slot: symbols.entries[left].slot, rarity_bits, whole: None };
    Outcome { level, frequency: if level <= 5 { frequency } else { Frequency::Usual } }
}

/// A value that is the same word for word: common words make a common value, even one that is seen once.
fn exact_words(symbols: &Symbols, symbol: Symbol) -> Outcome {
    let rarity_bits = symbols.words(symbol).iter().take(WORDS_MAX).map(|word| word.rarity).sum();
    let entry = &symbols.entries[symbol];
    let whole = Some(entry.log_frequency);
    Outcome { level: 1, frequency: Frequency::Words { slot: entry.slot, rarity_bits, whole } }
}

/// Words compared one by one at most; longer texts are cut to their first.
const WORDS_MAX: usize = 40;

/// Soft TF-IDF (Cohen, Ravikumar, Fienberg 2003): the cosine of the words' weights, where words that nearly agree count
/// by their similarity. Short texts are also compared letter by letter.
/// Answers with it the rarity of what agrees, in bits.
pub(crate) fn worded(symbols: &Symbols, left: Symbol, right: Symbol) -> (f64, f32) {
    let (a, b) = (symbols.words(left), symbols.words(right));
    let (a_text, b_text) = (symbols.text(left), symbols.text(right));
    let longest = chars(a_text).max(chars(b_text));
    let mut sum = 0.0_f64;
    let mut rarity = 0.0_f32;
    let mut used = 0_u64;
    let mut open: smallvec::SmallVec<[usize; 16]> = smallvec::SmallVec::new();
    for (at, word) in a.iter().take(WORDS_MAX).enumerate() {
        let same = b
            .iter()
            .take(WORDS_MAX)
            .enumerate()
            .find(|(place, other)| other.hash == word.hash && used & 1 << place == 0);
        match same {
            Some((place, other)) => {
                used |= 1 << place;
                sum += f64::from(word.weight) * f64::from(other.weight);
                rarity += word.rarity;
            }
            None => open.push(at),
        }
    }
    for at in open {
        let word = &a[at];
        let text = &a_text[usize::from(word.start)..usize::from(word.start) + usize::from(word.len)];
        let mut best: Option<(f64, usize)> = None;
        for (place, other) in b.iter().take(WORDS_MAX).enumerate().filter(|(place, _)| used & 1 << place == 0) {
            let with = &b_text[usize::from(other.start)..usize::from(other.start) + usize::from(other.len)];
            let similarity = nearly(text, with);
            if similarity > 0.0 {
                let gain = similarity * f64::from(word.weight) * f64::from(other.weight);
                if best.is_none_or(|(held, _)| gain > held) {
                    best = Some((gain, place));
                }
            }
        }
        if let Some((gain, place)) = best {
            used |= 1 << place;
            sum += gain;
            // A misspelt word is as common as the commoner of its spellings.
            rarity += 0.8 * word.rarity.min(b[place].rarity);
        }
    }
    if longest <= 32 && longest > 3 {
        let letters = 1.0 - osa(a_text, b_text) as f64 / longest as f64;
        if letters >= 0.7 {
            return (sum.max(letters * letters), rarity);
        }
    }
    (sum.min(1.0), rarity)
}

/// Similarity of two words that are not equal; 0 unless they may be one.
fn nearly(a: &str, b: &str) -> f64 {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let numeric = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    // Model numbers and years are right or wrong.
    if numeric(short) || numeric(long) {
        return 0.0;
    }
    let count = chars(short);
    if count == 1 {
        return if long.starts_with(short) { 0.7 } else { 0.0 };
    }
    if count >= 3 && long.starts_with(short) {
        return 0.85;
    }
    if count < 4 {
        return 0.0;
    }
    if osa(a, b) == 1 {
        return 0.92;
    }
    let similarity = jaro_winkler(a, b);
    if similarity >= 0.92 { similarity } else { 0.0 }
}

fn number(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        return exact(symbols, left);
    }
    let read = |symbol| symbols.text(symbol).parse::<f64>().unwrap_or(0.0);
    let (a, b): (f64, f64) = (read(left), read(right));
    let scale = a.abs().max(b.abs()).max(f64::MIN_POSITIVE);
    // Years differ by one where thousands differ by a thousandth: both are "nearly".
    Outcome::plain(match (a - b).abs() / scale {
        apart if apart <= 0.001 => 2,
        apart if apart <= 0.02 => 3,
        apart if apart <= 0.1 => 4,
        _ => 5,
    })
}

/// The comparisons that fit a schema, in a fixed order.
#[must_use]
pub fn aspects(schema: &Schema) -> Vec<Aspect> {
    let slot = |kind: FieldKind| schema.slot(kind);
    let mut aspects = Vec::new();
    if let (Some(given), Some(middle), Some(family)) =
        (slot(FieldKind::GivenName), slot(FieldKind::MiddleName), slot(FieldKind::FamilyName))
    {
        aspects.push(Aspect::GivenName { given, middle, family });
        aspects.push(Aspect::FamilyName { given, middle, family });
        aspects.push(Aspect::MiddleName(middle));
    }
    let organisations: Vec<usize> =
        (0..schema.fields.len()).filter(|at| schema.fields[*at].kind == FieldKind::OrganisationName).collect();
    if let [name, trading] = *organisations.as_slice() {
        aspects.push(Aspect::Organisation { name, trading });
    }
    if let (Some(house), Some(street), Some(unit), Some(city), Some(postcode), Some(region)) = (
        slot(FieldKind::HouseNumber),
        slot(FieldKind::Street),
        slot(FieldKind::Unit),
        slot(FieldKind::City),
        slot(FieldKind::Postcode),
        slot(FieldKind::Region),
    ) {
        aspects.push(Aspect::Address { house, street, unit, city, postcode, region });
    }
    for (at, field) in schema.fields.iter().enumerate() {
        aspects.push(match field.kind {
            FieldKind::BirthDate => Aspect::BirthDate(at),
            FieldKind::Gender | FieldKind::LegalForm | FieldKind::Source => Aspect::Exact(at),
            FieldKind::Phone => Aspect::Phone(at),
            FieldKind::Email => match slot(FieldKind::Domain) {
                Some(domain) => Aspect::EmailBeside { email: at, domain },
                None => Aspect::Email(at),
            },
            FieldKind::Domain | FieldKind::Identifier => Aspect::Identifier(at),
            FieldKind::Text => Aspect::Text(at),
            FieldKind::Number => Aspect::Number(at),
            _ => continue,
        });
    }
    aspects
}
