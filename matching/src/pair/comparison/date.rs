//! Birth dates: slips, exchanged day and month, placeholders, partial dates.

use super::super::metric::edits;
use super::super::symbols::{ABSENT, Symbol, Symbols};
use super::{Outcome, SILENT, exact};

pub(super) fn birth_date(symbols: &Symbols, (left, right): (Symbol, Symbol)) -> Outcome {
    const ONE_SLIP: u8 = 2;
    const TWO_PARTS: u8 = 3;
    const NEAR: u8 = 4;
    const YEAR: u8 = 5;
    const DIFFERENT: u8 = 6;
    if left == ABSENT || right == ABSENT {
        return Outcome::plain(SILENT);
    }
    if left == right && symbols.entries[left].len() >= 8 {
        return exact(symbols, left);
    }
    let (a, b) = (symbols.text(left), symbols.text(right));
    if a.len() < 8 || b.len() < 8 || !a.is_ascii() || !b.is_ascii() {
        // A year or a month alone agrees with every date in it.
        let known = a.len().min(b.len());
        let agree = a.as_bytes()[..known] == b.as_bytes()[..known];
        return Outcome::plain(if agree && known >= 4 { YEAR } else { DIFFERENT });
    }
    let (year_a, month_a, day_a) = (&a[..4], &a[4..6], &a[6..]);
    let (year_b, month_b, day_b) = (&b[..4], &b[4..6], &b[6..]);
    let placeholder = &a[4..] == "0101" || &b[4..] == "0101";
    if year_a == year_b && placeholder {
        return Outcome::plain(YEAR);
    }
    let swapped = year_a == year_b && month_a == day_b && day_a == month_b;
    let edits = edits(a, b, 2);
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
