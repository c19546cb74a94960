//! Faults that fingers and scanners make.

use super::dice::Dice;

const KEYBOARD: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];
const OCR: &[(&str, &str)] = &[
    ("rn", "m"),
    ("m", "rn"),
    ("l", "1"),
    ("O", "0"),
    ("o", "0"),
    ("S", "5"),
    ("B", "8"),
    ("cl", "d"),
    ("i", "l"),
    ("vv", "w"),
];

/// The text with one typing fault: a neighbouring key, two letters swapped, one lost or one doubled. Texts of fewer
/// than three letters stay as they are.
pub fn mistype(dice: &mut Dice, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    if letters.len() < 3 {
        return text.to_owned();
    }
    let place = dice.below(letters.len() as u32 - 1) as usize;
    match dice.below(4) {
        0 => letters[place] = neighbour(dice, letters[place]),
        1 => letters.swap(place, place + 1),
        2 => drop(letters.remove(place)),
        _ => letters.insert(place, letters[place]),
    }
    letters.into_iter().collect()
}

fn neighbour(dice: &mut Dice, letter: char) -> char {
    let lower = letter.to_ascii_lowercase();
    for row in KEYBOARD {
        if let Some(place) = row.find(lower) {
            let beside =
                if place == 0 || (place + 1 < row.len() && dice.permille(500)) { place + 1 } else { place - 1 };
            let key = char::from(row.as_bytes()[beside]);
            return if letter.is_ascii_uppercase() { key.to_ascii_uppercase() } else { key };
        }
    }
    letter
}

/// The text as a scanner may read it: one look-alike put for another, where there is one.
pub fn misread(dice: &mut Dice, text: &str) -> String {
    let start = dice.below(OCR.len() as u32) as usize;
    for turn in 0..OCR.len() {
        let (right, wrong) = OCR[(start + turn) % OCR.len()];
        if text.contains(right) {
            return text.replacen(right, wrong, 1);
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_stays_near_the_text() {
        let mut dice = Dice::new(5, 5);
        for _ in 0..500 {
            for text in ["Katarzyna", "O'Brien", "Müller-Lüdenscheidt", "欧阳建国"] {
                let wrong = mistype(&mut dice, text);
                assert!(strsim::osa_distance(text, &wrong) <= 1, "{text} {wrong}");
            }
        }
        assert_eq!(mistype(&mut dice, "Li"), "Li");
    }

    #[test]
    fn scanners_confuse_look_alikes_only() {
        let mut dice = Dice::new(5, 6);
        let read: Vec<String> = (0..50).map(|_| misread(&mut dice, "Morning")).collect();
        assert!(read.iter().any(|text| text == "Moming"), "{read:?}");
        assert_eq!(misread(&mut dice, "王伟"), "王伟");
    }
}
