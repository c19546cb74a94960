//! Seeded randomness: the same seed, the same history. (SplitMix64, Steele et al. 2014.)

/// A seeded source of numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as this seed says.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed in this environment variable, or `default`; printed, so that a failure can be repeated.
    ///
    /// # Panics
    /// When the variable holds no number.
    #[must_use]
    pub fn from_environment(variable: &str, default: u64) -> Self {
        let seed = std::env::var(variable).map_or(default, |text| text.parse().expect("a seed is a number"));
        println!("{variable}={seed} repeats this run");
        Self(seed)
    }

    /// Other dice, whose fall these decide.
    pub const fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// An index of a list of this length, which is not 0.
    pub const fn index(&mut self, length: usize) -> usize {
        (self.next() % length as u64) as usize
    }

    /// True once in `n`.
    pub const fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    pub const fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }

    /// One of these words.
    pub const fn word<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.index(words.len())]
    }

    /// Any order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.index(last + 1));
        }
    }
}

/// How much of something a test does: what the environment says, or what fits a normal run.
///
/// # Panics
/// When the variable holds no number.
#[must_use]
pub fn how_many(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a count is a number"))
}
