//! Telephone numbers, e-mail addresses, identifiers.

use super::super::features::SEVERAL;
use super::super::metric::{PHONE_TAIL, chars, edits, last};
use super::super::symbols::{ABSENT, Symbol, Symbols};
use super::{Level, Outcome, SILENT, exact};

pub(super) fn digits(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        return exact(symbols, left);
    }
    nearest(symbols.text(left), symbols.text(right), |a, b| {
        // A country code or an area code may lack; a digit may slip.
        let same_tail = a.len() >= PHONE_TAIL && b.len() >= PHONE_TAIL && last(a, PHONE_TAIL) == last(b, PHONE_TAIL);
        if same_tail || edits(a, b, 1) <= 1 { 2 } else { 3 }
    })
}

/// The level of two texts that differ. Where either holds several values, that of the two that are nearest: who shares one
/// address and has others besides is as good as close.
fn nearest(left: &str, right: &str, level: impl Fn(&str, &str) -> Level) -> Outcome {
    if !left.contains(SEVERAL) && !right.contains(SEVERAL) {
        return Outcome::plain(level(left, right));
    }
    let pairs = left.split(SEVERAL).flat_map(|a| right.split(SEVERAL).map(move |b| (a, b)));
    Outcome::plain(pairs.map(|(a, b)| if a == b { 2 } else { level(a, b) }).min().unwrap_or(SILENT))
}

pub(super) fn email(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        return exact(symbols, left);
    }
    nearest(symbols.text(left), symbols.text(right), email_level)
}

fn email_level(a: &str, b: &str) -> Level {
    let (user_a, host_a) = a.rsplit_once('@').unwrap_or((a, ""));
    let (user_b, host_b) = b.rsplit_once('@').unwrap_or((b, ""));
    if user_a == user_b && chars(user_a) >= 4 {
        return if edits(host_a, host_b, 2) <= 2 { 2 } else { 3 };
    }
    // Addresses are made of names, and of numbers where the name was taken: namesakes have `ada.byron7` and `ada.byron9`.
    // So a likeness proves nothing beyond the name, but for a slip in an address that is the same otherwise.
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).collect::<smallvec::SmallVec<[u8; 16]>>();
    let longest = chars(user_a).max(chars(user_b));
    let slips = if longest >= 10 { 2 } else { 1 };
    let slipped = host_a == host_b && longest >= 6 && edits(user_a, user_b, slips) <= slips;
    if slipped && digits(user_a) == digits(user_b) { 2 } else { 4 }
}

pub(super) fn identifier(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right {
        return exact(symbols, left);
    }
    let (a, b) = (symbols.text(left), symbols.text(right));
    Outcome::plain(if edits(a, b, 1) <= 1 && chars(a).max(chars(b)) >= 5 { 2 } else { 3 })
}
