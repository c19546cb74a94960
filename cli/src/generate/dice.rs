//! Seeded dice that fall alike on every platform and in every release.

/// xoshiro256** seeded by SplitMix64 (Blackman & Vigna 2018). Integers only, so no platform's floating point shows.
#[derive(Clone, Debug)]
pub struct Dice([u64; 4]);

/// One step of SplitMix64: also a good mixer of two numbers into a seed.
#[must_use]
pub const fn split_mix(mut state: u64) -> u64 {
    state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

impl Dice {
    /// Dice of one stream: equal (seed, stream) give equal throws.
    #[must_use]
    pub const fn new(seed: u64, stream: u64) -> Self {
        let a = split_mix(seed ^ split_mix(stream));
        let b = split_mix(a);
        let c = split_mix(b);
        Self([a, b, c, split_mix(c)])
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number in `0..bound`; 0 for a bound of 0. The bias of the multiply-shift is under 2⁻³² for our bounds.
    pub const fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * bound as u64) >> 32) as u32
    }

    /// A number in `low..=high`.
    pub const fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// True this many times in a thousand.
    pub const fn permille(&mut self, chance: u32) -> bool {
        self.below(1000) < chance
    }

    /// One of the items, all alike. The slice must not be empty.
    pub const fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len() as u32) as usize]
    }

    /// One of the items, the first far more often than the last: rank r has a weight of 1 / (r + 4), roughly how
    /// names are spread in a people. The slice must not be empty.
    pub fn pick_ranked<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        let weight = |rank: usize| 1_000_000 / (rank as u32 + 4);
        let total: u32 = (0..items.len()).map(weight).sum();
        let mut throw = self.below(total);
        for (rank, item) in items.iter().enumerate() {
            match throw.checked_sub(weight(rank)) {
                Some(rest) => throw = rest,
                None => return item,
            }
        }
        items[items.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_are_the_same_for_ever() {
        // Reference values of SplitMix64 from its authors' test vector for the state 1234567.
        assert_eq!(split_mix(1_234_567), 6_457_827_717_110_365_317);
        let mut dice = Dice::new(1, 2);
        let throws: Vec<u32> = (0..6).map(|_| dice.below(1000)).collect();
        let mut again = Dice::new(1, 2);
        assert_eq!(throws, (0..6).map(|_| again.below(1000)).collect::<Vec<_>>());
        let mut other = Dice::new(1, 3);
        assert_ne!(throws, (0..6).map(|_| other.below(1000)).collect::<Vec<_>>());
    }

    #[test]
    fn ranks_fall_in_order_and_all_are_reached() {
        let items = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let mut dice = Dice::new(9, 9);
        let mut counts = [0u32; 8];
        for _ in 0..40_000 {
            let item = dice.pick_ranked(&items);
            counts[items.iter().position(|other| other == &item).unwrap()] += 1;
        }
        assert!(counts.windows(2).all(|pair| pair[0] > pair[1]), "{counts:?}");
        assert!(counts[7] > 1_000, "{counts:?}");
    }
}
