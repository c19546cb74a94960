//! Where a match weight comes from, in words and bits (LAW 8).

use super::comparison::SILENT;
use super::symbols::{Symbol, Symbols};
use super::weigh::Matcher;

/// One comparison's part of a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What was compared.
    pub comparison: String,
    /// How alike the two are.
    pub level: String,
    /// What the level says, in bits, against the likelier alternative.
    pub weight_bits: f32,
    /// What the frequency of the shared value adds: positive for a rare one.
    pub frequency_bits: f32,
}

/// A match weight, taken apart: `prior + parts + alternatives = total`.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchEvidence {
    /// Version of the model.
    pub model: String,
    /// log2 odds before anything is compared.
    pub prior_bits: f32,
    /// By comparison, in the model's order; silent ones are left out.
    pub parts: Vec<Part>,
    /// Strangers and kin together are likelier than the likelier of them: -1 to 0.
    pub alternatives_bits: f32,
    /// The weight.
    pub total_bits: f32,
    /// From here on two records are linked.
    pub link_bits: f32,
    /// From here on a steward is asked.
    pub review_bits: f32,
    /// Whether kin are a likelier alternative than strangers.
    pub against_kin: bool,
}

impl Matcher {
    /// The weight of two rows with its parts.
    #[must_use]
    pub fn evidence(&self, symbols: &Symbols, a: &[Symbol], b: &[Symbol]) -> MatchEvidence {
        let waterfall = self.waterfall(symbols, a, b);
        let told = self.model().comparisons.iter().zip(&waterfall.bars).filter(|(_, bar)| bar.level != SILENT);
        let parts: Vec<Part> = told
            .map(|(comparison, bar)| {
                let (weight_bits, frequency_bits) = if waterfall.against_kin {
                    // The frequency is part of what kin share; it is not told apart there.
                    (bar.m_bits - bar.kin_bits, 0.0)
                } else {
                    (bar.m_bits - bar.u_bits, -bar.frequency_bits)
                };
                let (comparison, level) = (comparison.name.clone(), comparison.aspect.level_name(bar.level));
                Part { comparison, level, weight_bits, frequency_bits }
            })
            .collect();
        let sum: f32 = parts.iter().map(|part| part.weight_bits + part.frequency_bits).sum();
        MatchEvidence {
            model: self.model().version.clone(),
            prior_bits: waterfall.prior_bits,
            alternatives_bits: waterfall.total_bits - waterfall.prior_bits - sum,
            parts,
            total_bits: waterfall.total_bits,
            link_bits: self.link_bits(),
            review_bits: self.review_bits(),
            against_kin: waterfall.against_kin,
        }
    }
}
