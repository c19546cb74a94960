//! A match model of dice: how records look, which keys they have, what two looks weigh. All by content, and as unruly as
//! no honest model would be: looks that weigh much with two others that contradict each other are the rule.

use onefold_matching::pair::{Features, Symbol, Symbols};
use onefold_matching::resolve::{Thresholds, Weigher};
use smallvec::SmallVec;

/// A face, and blocking keys.
pub type Looks = (u8, [u8; 2]);

/// Lines of this model.
pub const LINES: Thresholds =
    Thresholds { link_bits: 4.0, review_bits: 0.0, conflict_bits: -6.0, block_records_max: 4 };

#[derive(Debug)]
pub struct Dice {
    pub seed: u8,
    pub lines: Thresholds,
}

pub fn features((face, keys): Looks) -> Features {
    let mut features = Features::default();
    features.push(&format!("f{face}"));
    for key in keys {
        // Key nought is none.
        features.push(&if key == 0 { String::new() } else { format!("k{key}") });
    }
    features
}

/// What two faces weigh.
pub fn weight(seed: u8, one: &str, other: &str) -> f32 {
    if one == other {
        return 11.0;
    }
    let mut dice = blake3::Hasher::new();
    dice.update(&[seed]).update(one.min(other).as_bytes()).update(b"/").update(one.max(other).as_bytes());
    let weights = [-30.0, -7.0, -3.0, -1.0, 0.5, 2.0, 5.0, 5.0, 7.0, 14.0];
    weights[usize::from(dice.finalize().as_bytes()[0]) % weights.len()]
}

/// What two clusters weigh, each by the faces that are in it: as unruly as the rest.
pub fn whole_weight(seed: u8, mut ones: Vec<String>, mut others: Vec<String>, strangers: bool) -> f32 {
    for faces in [&mut ones, &mut others] {
        faces.sort();
        faces.dedup();
    }
    let mut dice = blake3::Hasher::new();
    dice.update(&[seed, u8::from(strangers)]);
    dice.update(format!("{:?}/{:?}", (&ones).min(&others), (&ones).max(&others)).as_bytes());
    let weights = [-9.0, -1.6, -1.4, 3.9, 4.1, 12.0];
    weights[usize::from(dice.finalize().as_bytes()[0]) % weights.len()]
}

impl Weigher for Dice {
    fn stride(&self) -> usize {
        3
    }

    fn row(&self, symbols: &mut Symbols, features: &Features, out: &mut Vec<Symbol>) {
        out.extend((0..3).zip(features.texts()).map(|(slot, text)| symbols.intern_plain(slot, text)));
    }

    fn keys(&self, symbols: &Symbols, row: &[Symbol], out: &mut SmallVec<[u64; 16]>) {
        for symbol in row[1..].iter().filter(|symbol| **symbol != 0) {
            let hash = blake3::hash(symbols.text(*symbol).as_bytes());
            out.push(u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes")));
        }
        out.sort_unstable();
        out.dedup();
    }

    fn weigh(&self, symbols: &Symbols, one: &[Symbol], other: &[Symbol]) -> f32 {
        weight(self.seed, symbols.text(one[0]), symbols.text(other[0]))
    }

    fn weigh_whole(&self, symbols: &Symbols, ones: &[&[Symbol]], others: &[&[Symbol]], strangers: bool) -> Option<f32> {
        let faces = |rows: &[&[Symbol]]| rows.iter().map(|row| symbols.text(row[0]).to_owned()).collect();
        Some(whole_weight(self.seed, faces(ones), faces(others), strangers))
    }

    fn thresholds(&self) -> Thresholds {
        self.lines
    }

    fn aspects(&self) -> [u8; 32] {
        [0; 32]
    }

    fn fingerprint(&self) -> [u8; 32] {
        *blake3::hash(format!("{self:?}").as_bytes()).as_bytes()
    }
}
