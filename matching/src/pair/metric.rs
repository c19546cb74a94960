//! Distances between short texts: bytes where both are ASCII, characters otherwise; both ways agree on ASCII.

use rapidfuzz::distance::{jaro_winkler as jw, osa as edit};

/// Jaro-Winkler similarity, 0 to 1 (Winkler 1990), prefix scale 0.1.
pub(crate) fn jaro_winkler(a: &str, b: &str) -> f64 {
    if a.is_ascii() && b.is_ascii() {
        jw::similarity(a.bytes(), b.bytes())
    } else {
        jw::similarity(a.chars(), b.chars())
    }
}

/// Optimal string alignment distance: insertions, deletions, substitutions and exchanges of neighbours.
pub(crate) fn osa(a: &str, b: &str) -> usize {
    if a.is_ascii() && b.is_ascii() {
        edit::distance(a.bytes(), b.bytes())
    } else {
        edit::distance(a.chars(), b.chars())
    }
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
            prop_assert_eq!(osa(&a, &b), strsim::osa_distance(&a, &b));
            let (got, want) = (jaro_winkler(&a, &b), strsim::jaro_winkler(&a, &b));
            prop_assert!((got - want).abs() < 1e-9 || (a.is_empty() && b.is_empty()), "{} {}", got, want);
        }
    }
}
