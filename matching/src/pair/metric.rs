//! Distances between short texts: bytes where both are ASCII, characters otherwise; both ways agree on ASCII.

use rapidfuzz::HashableChar;
use rapidfuzz::distance::{jaro_winkler as jw, osa as edit};

/// Jaro-Winkler similarity, 0 to 1 (Winkler 1990), prefix scale 0.1.
pub(crate) fn jaro_winkler(a: &str, b: &str) -> f64 {
    if a.is_ascii() && b.is_ascii() {
        jw::similarity(a.bytes(), b.bytes())
    } else {
        jw::similarity(a.chars(), b.chars())
    }
}

/// Optimal string alignment distance (insertions, deletions, substitutions and exchanges of neighbours), as far as it is
/// `most` or less; else `most + 1`, at a fraction of the cost.
pub(crate) fn edits(a: &str, b: &str, most: usize) -> usize {
    if a.is_ascii() && b.is_ascii() {
        edits_of(a.as_bytes(), b.as_bytes(), most)
    } else {
        let (a, b): (Letters, Letters) = (a.chars().collect(), b.chars().collect());
        edits_of(&a, &b, most)
    }
}

type Letters = smallvec::SmallVec<[char; 64]>;

fn edits_of<T: Copy + Eq + std::hash::Hash + HashableChar>(a: &[T], b: &[T], most: usize) -> usize {
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    // What both begin and end with costs nothing.
    let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[front..], &b[front..]);
    let back = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - back], &b[..b.len() - back]);
    match (a, b) {
        ([], rest) | (rest, []) => rest.len(),
        ([_], [_]) => 1,
        ([x, y], [v, w]) if x == w && y == v => 1,
        _ if most <= 1 => most + 1,
        _ => {
            let arguments = edit::Args::default().score_cutoff(most);
            edit::distance_with_args(a.iter().copied(), b.iter().copied(), &arguments).unwrap_or(most + 1)
        }
    }
}

/// Letters that two texts hold, against an upper bound of their Jaro-Winkler similarity; `masks` as of
/// [`super::symbols::letters`].
pub(crate) fn may_reach(a: &str, b: &str, masks: (u32, u32), jaro: f32) -> bool {
    if (masks.0 | masks.1) >> 28 != 0 {
        // Bytes are no letters beyond ASCII.
        return true;
    }
    let (length_a, length_b) = (a.len() as f32, b.len() as f32);
    let missing_a = (masks.0 & !masks.1).count_ones() as f32;
    let missing_b = (masks.1 & !masks.0).count_ones() as f32;
    let shared = (length_a - missing_a).min(length_b - missing_b).max(0.0);
    (shared / length_a + shared / length_b + 1.0) / 3.0 >= jaro
}

/// Characters of a text.
pub(crate) fn chars(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// Digits at the end of a telephone number that name a line within its area.
pub(crate) const PHONE_TAIL: usize = 7;

/// The last characters of a text.
pub(crate) fn last(text: &str, count: usize) -> &str {
    let start = text.char_indices().rev().take(count).last().map_or(text.len(), |(at, _)| at);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn metrics_agree_with_the_oracle(a in "[a-cé]{0,9}", b in "[a-cé]{0,9}") {
            for most in 0..4 {
                prop_assert_eq!(edits(&a, &b, most), strsim::osa_distance(&a, &b).min(most + 1), "within {}", most);
            }
            let (got, want) = (jaro_winkler(&a, &b), strsim::jaro_winkler(&a, &b));
            prop_assert!((got - want).abs() < 1e-9 || (a.is_empty() && b.is_empty()), "{} {}", got, want);
        }
    }
}
