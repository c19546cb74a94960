//! Counters and histograms: atomics, so that whoever counts waits for nobody and allocates nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of buckets of time, in microseconds: what a reader of profiles notices, up to what a call may take.
pub const TIMES: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];
/// Upper bounds of buckets of counts.
pub const COUNTS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096];
/// Upper bounds of buckets of bytes.
pub const BYTES: &[u64] = &[1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];

/// How often values fell into which range.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One a bound, and one for what is over the last.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// An empty one with these upper bounds, which rise.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// A value, in the unit of the bounds.
    pub fn see(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// A time, in a histogram of [`TIMES`].
    pub fn took(&self, time: Duration) {
        self.see(u64::try_from(time.as_micros()).unwrap_or(u64::MAX >> 16));
    }

    /// What was seen so far; what is being counted meanwhile may show in part.
    pub fn seen(&self) -> Seen {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Seen { bounds: self.bounds, buckets, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// The content of a histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Upper bounds.
    pub bounds: &'static [u64],
    /// Values under each of them and over the one before; behind them those over the last.
    pub buckets: Vec<u64>,
    /// All values together.
    pub sum: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_under_it_and_none_is_lost() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21, 1_000] {
            histogram.see(value);
        }
        histogram.took(Duration::from_micros(20));
        assert_eq!(histogram.seen(), Seen { bounds: &[10, 20], buckets: vec![2, 3, 2], sum: 1_082 });
    }

    #[test]
    fn bounds_rise() {
        for bounds in [TIMES, COUNTS, BYTES] {
            assert!(bounds.is_sorted() && bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
