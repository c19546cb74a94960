//! What resolution asks of a match model.

use std::fmt;

use smallvec::SmallVec;

use crate::pair::schema::Origin;
use crate::pair::{Features, MatchEvidence, Matcher, Symbol, Symbols};

/// Where a model draws its lines, all in bits of match weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// From here on two records are linked.
    pub link_bits: f32,
    /// From here on, and below `link_bits`, a steward is asked.
    pub review_bits: f32,
    /// Below this, which is below nought, two records contradict each other.
    pub conflict_bits: f32,
    /// A blocking key that more live records have finds no candidates: its block is dropped whole.
    pub block_records_max: u32,
}

/// A frozen match model of one kind of party. Everything it answers is a pure function of the rows' content: neither the
/// numbers of symbols nor the order of calls may show, or LAW 2 breaks.
pub trait Weigher: Send + Sync + fmt::Debug {
    /// Symbols in a row.
    fn stride(&self) -> usize;

    /// Appends the row of these features. The symbol at place `i` is interned in slot `i`.
    fn row(&self, symbols: &mut Symbols, features: &Features, out: &mut Vec<Symbol>);

    /// The row's blocking keys, sorted, no key twice.
    fn keys(&self, symbols: &Symbols, row: &[Symbol], out: &mut SmallVec<[u64; 16]>);

    /// The match weight of two rows in bits, prior included; symmetric and finite.
    fn weigh(&self, symbols: &Symbols, one: &[Symbol], other: &[Symbol]) -> f32;

    /// The match weight if it is `least` or more; the same as [`Weigher::weigh`] then, and quicker otherwise.
    fn weigh_above(&self, symbols: &Symbols, one: &[Symbol], other: &[Symbol], least: f32) -> Option<f32> {
        Some(self.weigh(symbols, one, other)).filter(|weight| *weight >= least)
    }

    /// The match weight against kin alone: what a shared identifier leaves open is whether one party holds it or two of one
    /// household. Never below [`Weigher::weigh`].
    fn weigh_against_kin(&self, symbols: &Symbols, one: &[Symbol], other: &[Symbol]) -> f32 {
        self.weigh(symbols, one, other)
    }

    /// The match weight of two clusters, by the best that any two of their rows say of each aspect: prior included, and
    /// against strangers only where asked for. `None` by a model that cannot say.
    fn weigh_whole(
        &self,
        _symbols: &Symbols,
        _ones: &[&[Symbol]],
        _others: &[&[Symbol]],
        _strangers: bool,
    ) -> Option<f32> {
        None
    }

    /// Whether its weights say what a shared value of this namespace says.
    fn compares(&self, _namespace: &str) -> bool {
        false
    }

    /// The part of every match weight that says how likely two records are one party before they are looked at, in bits.
    fn prior_bits(&self) -> f32 {
        0.0
    }

    /// The same, taken apart, by a model that can.
    fn evidence(&self, _symbols: &Symbols, _one: &[Symbol], _other: &[Symbol]) -> Option<MatchEvidence> {
        None
    }

    /// Where it draws its lines.
    fn thresholds(&self) -> Thresholds;

    /// Digest of what a row holds, place by place: rows of one model serve another with the same.
    fn aspects(&self) -> [u8; 32];

    /// Digest of all that the answers depend on: what was derived under one model is not read under another.
    fn fingerprint(&self) -> [u8; 32];
}

impl Weigher for Matcher {
    fn stride(&self) -> usize {
        Self::stride(self)
    }

    fn row(&self, symbols: &mut Symbols, features: &Features, out: &mut Vec<Symbol>) {
        Self::row(self, symbols, features, out);
    }

    fn keys(&self, symbols: &Symbols, row: &[Symbol], out: &mut SmallVec<[u64; 16]>) {
        Self::keys(self, symbols, row, out);
    }

    fn weigh(&self, symbols: &Symbols, one: &[Symbol], other: &[Symbol]) -> f32 {
        Self::weigh(self, symbols, one, other)
    }

    fn weigh_above(&self, symbols: &Symbols, one: &[Symbol], other: &[Symbol], least: f32) -> Option<f32> {
        Self::weigh_above(self, symbols, one, other, least)
    }

    fn weigh_against_kin(&self, symbols: &Symbols, one: &[Symbol], other: &[Symbol]) -> f32 {
        Self::weigh_against_kin(self, symbols, one, other)
    }

    fn weigh_whole(&self, symbols: &Symbols, ones: &[&[Symbol]], others: &[&[Symbol]], strangers: bool) -> Option<f32> {
        Some(Self::weigh_whole(self, symbols, ones, others, strangers))
    }

    fn compares(&self, namespace: &str) -> bool {
        let fields = &self.model().schema.fields;
        fields.iter().any(|field| matches!(&field.origin, Origin::Namespace(name) if name == namespace))
    }

    fn prior_bits(&self) -> f32 {
        Self::prior_bits(self)
    }

    fn evidence(&self, symbols: &Symbols, one: &[Symbol], other: &[Symbol]) -> Option<MatchEvidence> {
        Some(Self::evidence(self, symbols, one, other))
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds {
            link_bits: self.link_bits(),
            review_bits: self.review_bits(),
            conflict_bits: self.conflict_bits(),
            block_records_max: self.block_records_max(),
        }
    }

    fn aspects(&self) -> [u8; 32] {
        *blake3::hash(format!("{:?}", self.model().schema).as_bytes()).as_bytes()
    }

    fn fingerprint(&self) -> [u8; 32] {
        *blake3::hash(self.model().to_json().as_bytes()).as_bytes()
    }
}
