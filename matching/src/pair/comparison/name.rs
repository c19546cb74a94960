//! Names of persons: spelling, nicknames, initials, compound names, fields filled the wrong way round.

use super::super::known::Question;
use super::super::metric::{chars, edits, jaro_winkler};
use super::super::symbols::{ABSENT, Symbol, Symbols};
use super::{Outcome, Pair, SILENT, exact};
use crate::normalise::name::{is_known_given, may_be_same_given};
use crate::normalise::text::romanise;

const EXACT: u8 = 1;
const SAME: u8 = 2;
const CLOSE: u8 = 3;
const SIMILAR: u8 = 4;
const PARTIAL: u8 = 5;
const EXCHANGED: u8 = 6;
const DIFFERENT: u8 = 7;

/// How two name words relate, without a look at other fields.
fn word_level(symbols: &Symbols, left: Symbol, right: Symbol, given: bool) -> u8 {
    if left == right {
        return EXACT;
    }
    let question = if given { Question::AsGiven } else { Question::Alike };
    symbols.find(question, left, right, || words_level(symbols.text(left), symbols.text(right), given))
}

/// The shorter one first; of two as long, in an order of their own.
fn by_length<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    if (a.len(), a) <= (b.len(), b) { (a, b) } else { (b, a) }
}

fn words_level(a: &str, b: &str, given: bool) -> u8 {
    if a == b {
        return EXACT;
    }
    if a.is_ascii() != b.is_ascii() || !a.is_ascii() {
        // Across scripts the Latin spelling is compared, and never counts for more than close.
        let (latin_a, latin_b) = (romanise(a), romanise(b));
        if latin_a.is_some() || latin_b.is_some() {
            let level = words_level(latin_a.as_deref().unwrap_or(a), latin_b.as_deref().unwrap_or(b), given);
            return if a.is_ascii() == b.is_ascii() { level } else { level.max(CLOSE) };
        }
    }
    let (short, long) = by_length(a, b);
    let count = chars(short);
    if count == 1 {
        return if long.starts_with(short) { PARTIAL } else { DIFFERENT };
    }
    if given && may_be_same_given(a, b) {
        return SAME;
    }
    if !given && same_without_spaces(a, b) {
        return SAME;
    }
    if may_be_similar(short, long) {
        let level = spelt_alike(short, long);
        if level < DIFFERENT {
            // Two names that many people have are two names, however near their letters: `mark` and `mary`.
            let two = given && is_known_given(a) && is_known_given(b);
            return if two { level.max(SIMILAR) } else { level };
        }
    }
    if shares_word(short, long, given) || (count >= 3 && long.starts_with(short)) {
        return PARTIAL;
    }
    DIFFERENT
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
    let edits = edits(short, long, 3);
    if count >= 4 && (edits <= 1 || similarity >= 0.94) {
        return CLOSE;
    }
    if (edits <= 2 && longest >= 6) || similarity >= 0.87 || (edits <= 1 && count >= 3) {
        return SIMILAR;
    }
    // Weaker still: what a prefix or a shared word says is said first.
    let prefix = count >= 3 && long.starts_with(short);
    if !prefix && similarity >= 0.8 && edits <= 3 && longest >= 7 { SIMILAR } else { DIFFERENT }
}

fn same_without_spaces(a: &str, b: &str) -> bool {
    (a.contains(' ') || b.contains(' '))
        && a.bytes().filter(|byte| *byte != b' ').eq(b.bytes().filter(|byte| *byte != b' '))
}

/// Whether a name is a given and a second name written as one word.
fn is_joined(given: &str, middle: &str, other: &str) -> bool {
    let second = middle.split(' ').next().unwrap_or(middle);
    chars(given) > 1 && chars(second) > 1 && other.strip_prefix(given) == Some(second)
}

/// Compound names: one word in common is a part in common.
fn shares_word(a: &str, b: &str, given: bool) -> bool {
    if !a.contains(' ') && !b.contains(' ') {
        return false;
    }
    a.split(' ').any(|left| {
        chars(left) >= 3
            && b.split(' ')
                .any(|right| left == right || (chars(right) >= 4 && words_level(left, right, given) <= CLOSE))
    })
}

pub(super) fn given_name(
    pair: &Pair<'_>,
    given: usize,
    middle: usize,
    family: usize,
    suffix: Option<usize>,
) -> Outcome {
    let Pair { symbols, a, b, .. } = *pair;
    // A father and a son of one name are told apart by their suffixes, as others are by their given names.
    if suffix.is_some_and(|slot| a[slot] != ABSENT && b[slot] != ABSENT && a[slot] != b[slot]) {
        return Outcome::plain(DIFFERENT);
    }
    let (left, right) = (a[given], b[given]);
    if left != ABSENT && left == right {
        return exact(symbols, left);
    }
    if pair.exchanged(given, family) {
        return Outcome::plain(EXCHANGED);
    }
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    let level = word_level(symbols, left, right, true);
    // Written as one word or as two: `Ruth Ann` and `Ruthann`.
    let joined = |of: &[Symbol], first: Symbol, other: Symbol| {
        of[middle] != ABSENT && is_joined(symbols.text(first), symbols.text(of[middle]), symbols.text(other))
    };
    if level > SAME && (joined(a, left, right) || joined(b, right, left)) {
        return Outcome::plain(SAME);
    }
    if level >= PARTIAL {
        // Called by a middle name: `Ann Marie` and `Marie`.
        let by_middle = |of: &[Symbol], other: Symbol| {
            of[middle] != ABSENT && {
                let (middles, other) = (symbols.text(of[middle]), symbols.text(other));
                chars(other) > 1 && middles.split(' ').any(|word| word == other)
            }
        };
        if by_middle(a, right) || by_middle(b, left) {
            return Outcome::plain(PARTIAL);
        }
    }
    Outcome::plain(level)
}

pub(super) fn family_name(pair: &Pair<'_>, given: usize, middle: usize, family: usize) -> Outcome {
    let Pair { symbols, a, b, .. } = *pair;
    let (left, right) = (a[family], b[family]);
    if left != ABSENT && left == right {
        return exact(symbols, left);
    }
    if pair.exchanged(given, family) {
        return Outcome::plain(EXCHANGED);
    }
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    let level = word_level(symbols, left, right, false);
    if level == DIFFERENT {
        // A maiden name kept as a middle name.
        let kept = |of: &[Symbol], other: Symbol| {
            of[middle] != ABSENT && {
                let other = symbols.text(other);
                chars(other) >= 4 && symbols.text(of[middle]).split(' ').any(|word| word == other)
            }
        };
        if kept(a, right) || kept(b, left) {
            return Outcome::plain(PARTIAL);
        }
    }
    Outcome::plain(level)
}

/// Given and family name filled the wrong way round on one side.
pub(super) fn exchanged(symbols: &Symbols, a: &[Symbol], b: &[Symbol], given: usize, family: usize) -> bool {
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
    const NO: u8 = 0;
    const INITIAL: u8 = 1;
    const EARNEST: u8 = 2;
    if left == ABSENT || right == ABSENT {
        return None;
    }
    let (one, other) = (&symbols.entries[left], &symbols.entries[right]);
    if symbols.same_text(left, right) {
        return Some(one.len() > 1);
    }
    if one.initial != 0 && other.initial != 0 && one.initial != other.initial && one.coarse != other.coarse {
        // Neither the sound nor the first letter agrees.
        return None;
    }
    let found = symbols.find(Question::Crossed, left, right, || {
        let (a, b) = (symbols.text(left), symbols.text(right));
        match words_level(a, b, true) {
            EXACT..=CLOSE => EARNEST,
            SIMILAR if chars(a).min(chars(b)) >= 3 && edits(a, b, 1) <= 1 => EARNEST,
            PARTIAL if chars(a).min(chars(b)) == 1 => INITIAL,
            _ => NO,
        }
    });
    match found {
        EARNEST => Some(true),
        INITIAL => Some(false),
        _ => None,
    }
}

pub(super) fn middle_name(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        let initial = symbols.entries[left].len() == 1;
        return if initial { Outcome::plain(3) } else { exact(symbols, left) };
    }
    Outcome::plain(symbols.find(Question::Alike, left, right, || {
        let (a, b) = (symbols.text(left), symbols.text(right));
        let (first_a, first_b) = (a.split(' ').next().unwrap_or(a), b.split(' ').next().unwrap_or(b));
        match words_level(first_a, first_b, true) {
            EXACT..=SIMILAR => 2,
            PARTIAL => 3,
            _ => 4,
        }
    }))
}
