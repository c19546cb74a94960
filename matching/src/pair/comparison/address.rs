//! Addresses: the street with its house number, and the place.

use super::super::known::Question;
use super::super::metric::{chars, edits, jaro_winkler};
use super::super::symbols::{ABSENT, Symbol, Symbols};
use super::{Frequency, Outcome};

/// Street levels inside an address, by ten: see [`Aspect::Address`].
pub(super) mod street {
    pub(in super::super) const SILENT: u8 = 0;
    pub(in super::super) const DOOR: u8 = 1;
    pub(in super::super) const CLOSE_DOOR: u8 = 2;
    pub(in super::super) const STREET: u8 = 3;
    pub(in super::super) const PARTLY: u8 = 4;
    pub(in super::super) const DIFFERENT: u8 = 5;
    pub(in super::super) const COUNT: u8 = 6;
}

/// Place levels inside an address.
pub(super) mod place {
    pub(in super::super) const SILENT: u8 = 0;
    pub(in super::super) const BOTH: u8 = 1;
    pub(in super::super) const CODE: u8 = 2;
    pub(in super::super) const CLOSE: u8 = 3;
    pub(in super::super) const TOWN: u8 = 4;
    pub(in super::super) const DIFFERENT: u8 = 5;
    pub(in super::super) const COUNT: u8 = 6;
}

/// Street and house number, then town and postal code; one level for each combination.
pub(super) fn address(symbols: &Symbols, a: &[Symbol], b: &[Symbol], slots: [usize; 6]) -> Outcome {
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
    let relation = lines(symbols, left, right);
    if relation & line::CLOSE != 0 {
        return if house_agrees {
            street::CLOSE_DOOR
        } else if house_differs {
            street::PARTLY
        } else {
            street::STREET
        };
    }
    // The line of one side in the unit of the other, or one name in common.
    let crossed = |x: Symbol, y: Symbol| x != ABSENT && y != ABSENT && symbols.same_text(x, y);
    if crossed(left, b[unit]) || crossed(right, a[unit]) {
        return street::CLOSE_DOOR;
    }
    let shared = relation & line::SHARED != 0;
    if house_agrees && (shared || relation & line::SIMILAR != 0) {
        return street::CLOSE_DOOR;
    }
    if shared || house_agrees { street::PARTLY } else { street::DIFFERENT }
}

/// How two streets that are not equal relate, as bits.
mod line {
    pub(super) const CLOSE: u8 = 1;
    pub(super) const SHARED: u8 = 2;
    pub(super) const SIMILAR: u8 = 4;
}

fn lines(symbols: &Symbols, left: Symbol, right: Symbol) -> u8 {
    symbols.find(Question::Alike, left, right, || {
        let (left, right) = symbols.ordered(left, right);
        let (a, b) = (symbols.text(left), symbols.text(right));
        let slips = 1 + chars(a).max(chars(b)) / 8;
        let similarity = jaro_winkler(a, b);
        let mut relation = 0;
        if similarity >= 0.93 || edits(a, b, slips) <= slips {
            relation |= line::CLOSE;
        }
        if similarity >= 0.8 {
            relation |= line::SIMILAR;
        }
        if a.split(' ').any(|word| chars(word) >= 5 && b.split(' ').any(|other| other == word)) {
            relation |= line::SHARED;
        }
        relation
    })
}

fn slip(symbols: &Symbols, left: Symbol, right: Symbol) -> bool {
    edits(symbols.text(left), symbols.text(right), 1) <= 1
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
    let close_code = known(codes)
        && !same_code
        && symbols.find(Question::Alike, codes.0, codes.1, || {
            u8::from(close_codes(symbols.text(codes.0), symbols.text(codes.1)))
        }) == 1;
    let same_town = known(towns) && towns.0 == towns.1;
    let close_town = known(towns)
        && !same_town
        && symbols.find(Question::Alike, towns.0, towns.1, || {
            let (left, right) = symbols.ordered(towns.0, towns.1);
            let (a, b) = (symbols.text(left), symbols.text(right));
            let slips = 1 + chars(a).max(chars(b)) / 6;
            u8::from(edits(a, b, slips) <= slips || jaro_winkler(a, b) >= 0.92)
        }) == 1;
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
    if edits(a, b, 1) <= 1 {
        return true;
    }
    if a.len() != b.len() {
        // An area in front of a whole code: `w1a 1aa` and `w1a`.
        return a.len() >= 3 && b.len() >= 3 && (a.starts_with(b) || b.starts_with(a));
    }
    // Codes with letters name an area by all but the last three.
    let area = |code: &'_ str| code.len().checked_sub(3).and_then(|end| code.get(..end).map(str::to_owned));
    let lettered = |code: &str| !code.bytes().all(|byte| byte.is_ascii_digit());
    a.len() >= 5 && (lettered(a) || lettered(b)) && area(a).is_some() && area(a) == area(b)
}
