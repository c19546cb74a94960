//! Names of organisations: words, misspellings, acronyms; legal and trading name, either against either.

use super::super::known::Question;
use super::super::metric::chars;
use super::super::symbols::{ABSENT, Symbol, Symbols};
use super::text::{exact_words, worded};
use super::{Frequency, Outcome, SILENT};

pub(super) fn organisation(symbols: &Symbols, a: &[Symbol], b: &[Symbol], legal: usize, trading: usize) -> Outcome {
    let names = |row: &[Symbol]| [row[legal], row[trading]].map(|name| (name != ABSENT).then_some(name));
    let mut best: Option<Outcome> = None;
    for left in names(a).into_iter().flatten() {
        for right in names(b).into_iter().flatten() {
            let found = two_names(symbols, left, right, legal);
            if best.is_none_or(|best| rank(found) < rank(best)) {
                best = Some(found);
            }
        }
    }
    best.unwrap_or(Outcome::plain(SILENT))
}

/// The better level first; of two pairs of names at one level the rarer.
fn rank(outcome: Outcome) -> (u8, i32, i32) {
    let milli = |bits: f32| (bits * 1_000.0) as i32;
    match outcome.frequency {
        Frequency::Words { rarity_bits, whole, .. } => {
            (outcome.level, -milli(rarity_bits), milli(whole.unwrap_or_default()))
        }
        _ => (outcome.level, 0, 0),
    }
}

fn two_names(symbols: &Symbols, left: Symbol, right: Symbol, legal: usize) -> Outcome {
    const ACRONYM: u8 = 6;
    const DIFFERENT: u8 = 8;
    let (one, other) = (&symbols.entries[left], &symbols.entries[right]);
    if symbols.same_text(left, right) {
        return exact_words(symbols, if one.slot <= other.slot { left } else { right });
    }
    let mut measured = None;
    let level = symbols.find(Question::Alike, left, right, || {
        let (similarity, rarity_bits) = worded(symbols, left, right);
        measured = Some(rarity_bits);
        match similarity {
            similarity if similarity >= 0.93 => 2,
            similarity if similarity >= 0.82 => 3,
            similarity if similarity >= 0.68 => 4,
            similarity if similarity >= 0.5 => 5,
            _ if is_acronym(symbols.text(left), symbols.text(right)) => ACRONYM,
            similarity if similarity >= 0.3 => 7,
            _ => DIFFERENT,
        }
    });
    if level >= ACRONYM {
        return Outcome::plain(level);
    }
    let rarity_bits = measured.unwrap_or_else(|| worded(symbols, left, right).1);
    Outcome { level, frequency: Frequency::Words { slot: legal as u8, rarity_bits, whole: None } }
}

/// `ibm` of `international business machines`, `and` and `of` left out.
fn is_acronym(a: &str, b: &str) -> bool {
    let (short, long) = if (a.len(), a) <= (b.len(), b) { (a, b) } else { (b, a) };
    let short = short.split(' ').next().unwrap_or(short);
    let initials = long
        .split(' ')
        .filter(|word| !matches!(*word, "and" | "of" | "the" | "for"))
        .filter_map(|word| word.chars().next());
    chars(short) >= 3 && long.contains(' ') && initials.eq(short.chars())
}
