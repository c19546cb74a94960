//! When a checkpoint that an erasure made due is written.

use std::time::Duration;

/// How often the lane is offered a rest.
pub const REST_OFFERED_EVERY: Duration = Duration::from_secs(1);
/// Offers of rest with nothing in between, after which the lane is at rest.
const RESTS_BEFORE_CHECKPOINT: u32 = 2;
/// A checkpoint is put off for so many times as long as it takes, if the lane comes to no rest.
const CHECKPOINT_PUT_OFF: u32 = 50;
/// How long a checkpoint is thought to take before one was written.
pub const CHECKPOINT_TAKES: Duration = Duration::from_secs(1);

/// How long a checkpoint that is due has waited. It costs as much as there is state and everybody waits for it, so it is
/// written when the lane rests, or when it costs but a small share of the time that it was put off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Offers of rest since.
    offers: u32,
    /// Of these, the last ones with nothing in between.
    pub at_rest: u32,
    /// What checkpoints of before left is to be removed.
    pub sweep: bool,
}

impl Wanted {
    /// Checkpoints were destroyed just now.
    pub const fn now() -> Self {
        Self { offers: 0, at_rest: 0, sweep: true }
    }

    /// The lane is offered a rest; whether the checkpoint is to be written in it.
    pub fn rest(&mut self, took: Duration) -> bool {
        self.offers += 1;
        self.at_rest += 1;
        let waited = REST_OFFERED_EVERY.saturating_mul(self.offers);
        self.at_rest >= RESTS_BEFORE_CHECKPOINT || waited >= took.saturating_mul(CHECKPOINT_PUT_OFF)
    }
}
