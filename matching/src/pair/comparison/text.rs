//! Words of any meaning, and numbers.

use super::super::known::Question;
use super::super::metric::{chars, edits, jaro_winkler, may_reach};
use super::super::symbols::{ABSENT, Symbol, Symbols, Word};
use super::{Frequency, Outcome, SILENT, exact};

pub(super) fn text(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        return exact_words(symbols, left);
    }
    let level_of = |similarity: f64| match similarity {
        similarity if similarity >= 0.9 => 2,
        similarity if similarity >= 0.76 => 3,
        similarity if similarity >= 0.6 => 4,
        similarity if similarity >= 0.42 => 5,
        similarity if similarity >= 0.22 => 6,
        _ => 7,
    };
    let mut measured = None;
    let level = symbols.find(Question::Alike, left, right, || {
        let found = worded(symbols, left, right);
        measured = Some(found.1);
        level_of(found.0)
    });
    if level > RESTS_ON_WORDS_MAX {
        return Outcome::plain(level);
    }
    let rarity_bits = measured.unwrap_or_else(|| worded(symbols, left, right).1);
    Outcome { level, frequency: Frequency::Words { slot: symbols.entries[left].slot, rarity_bits, whole: None } }
}

/// The last level of texts that rests on the words that both hold.
const RESTS_ON_WORDS_MAX: u8 = 5;

/// A value that is the same word for word: common words make a common value, even one that is seen once.
pub(super) fn exact_words(symbols: &Symbols, symbol: Symbol) -> Outcome {
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
pub(super) fn worded(symbols: &Symbols, left: Symbol, right: Symbol) -> (f64, f32) {
    let (left, right) = symbols.ordered(left, right);
    let (a, b) = (symbols.words(left), symbols.words(right));
    let (a, b) = (&a[..a.len().min(WORDS_MAX)], &b[..b.len().min(WORDS_MAX)]);
    let (a_text, b_text) = (symbols.text(left), symbols.text(right));
    let mut sum = 0.0_f64;
    let mut rarity = 0.0_f32;
    let mut used = 0_u64;
    let mut open = 0_u64;
    for (at, word) in a.iter().enumerate() {
        let same = b.iter().enumerate().find(|(place, other)| other.hash == word.hash && used & 1 << place == 0);
        match same {
            Some((place, other)) => {
                used |= 1 << place;
                sum += f64::from(word.weight) * f64::from(other.weight);
                rarity += word.rarity;
            }
            None => open |= 1 << at,
        }
    }
    for at in bits(open) {
        let word = &a[at];
        let mut best: Option<(f64, usize)> = None;
        for place in bits(!used & ((1 << b.len()) - 1)) {
            let other = &b[place];
            let similarity = nearly((word, word.of(a_text)), (other, other.of(b_text)));
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
    let longest = chars(a_text).max(chars(b_text));
    if longest <= 32 && longest > 3 {
        let most = longest * 3 / 10;
        let slips = edits(a_text, b_text, most);
        if slips <= most {
            let letters = 1.0 - slips as f64 / longest as f64;
            return (sum.max(letters * letters), rarity);
        }
    }
    (sum.min(1.0), rarity)
}

/// The places of a set's bits, in order.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (set != 0).then(|| {
            let at = set.trailing_zeros() as usize;
            set &= set - 1;
            at
        })
    })
}

/// Similarity of two words that are not equal; 0 unless they may be one.
fn nearly((one, a): (&Word, &str), (other, b): (&Word, &str)) -> f64 {
    const DIGITS: u32 = 1 << 26;
    // Model numbers and years are right or wrong.
    if (one.letters | other.letters) & DIGITS != 0 {
        return 0.0;
    }
    let ((short, long), (few, many)) = if (a.len(), a) <= (b.len(), b) {
        ((a, b), (one.letters, other.letters))
    } else {
        ((b, a), (other.letters, one.letters))
    };
    // Most words are told apart by their letters: whoever is a prefix, or within an edit, or as similar as is asked for
    // here, lacks at most a few.
    let prefix = few & !many == 0 && long.starts_with(short);
    let slipped = (few & !many).count_ones() <= 1 && (many & !few).count_ones() <= 1;
    if !prefix && !slipped && !may_reach(short, long, (few, many), 0.866) {
        return 0.0;
    }
    let count = chars(short);
    if count == 1 {
        return if prefix { 0.7 } else { 0.0 };
    }
    if count >= 3 && prefix {
        return 0.85;
    }
    if count < 4 {
        return 0.0;
    }
    if edits(short, long, 1) == 1 {
        return 0.92;
    }
    let similarity = jaro_winkler(short, long);
    if similarity >= 0.92 { similarity } else { 0.0 }
}

pub(super) fn number(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
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
