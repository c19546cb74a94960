//! The stream of records.

use super::companies::company;
use super::dice::Dice;
use super::people::household;
use super::record::Record;

/// How many of each to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// True persons; each gives about 2.9 records.
    pub people: u32,
    /// True companies; each gives about 2.2 records.
    pub companies: u32,
}

/// Records that are mixed with each other before they come out, so that those of one party are not neighbours.
const WINDOW_RECORDS: usize = 8_192;

/// Streams apart from each other, so that more people do not change the companies.
const SHUFFLE_STREAM: u64 = 3 << 60;

/// An endless-looking, bounded-memory stream of records with truth.
#[derive(Clone, Debug)]
pub struct Population {
    seed: u64,
    sizes: Sizes,
    households_made: u32,
    people_made: u32,
    companies_made: u32,
    window: Vec<Record>,
    shuffle: Dice,
}

impl Population {
    /// The population of this seed. Equal seeds and sizes give equal records in equal order.
    #[must_use]
    pub fn new(seed: u64, sizes: Sizes) -> Self {
        Self {
            seed,
            sizes,
            households_made: 0,
            people_made: 0,
            companies_made: 0,
            window: Vec::with_capacity(WINDOW_RECORDS + 64),
            shuffle: Dice::new(seed, SHUFFLE_STREAM),
        }
    }

    fn fill(&mut self) {
        while self.window.len() < WINDOW_RECORDS {
            let people_left = self.sizes.people - self.people_made;
            let companies_left = self.sizes.companies - self.companies_made;
            if people_left == 0 && companies_left == 0 {
                return;
            }
            // Whichever lags behind its share goes next, so that both kinds run through the whole stream.
            let people_lag = u64::from(people_left) * u64::from(self.sizes.companies.max(1));
            let companies_lag = u64::from(companies_left) * u64::from(self.sizes.people.max(1));
            if people_left > 0 && people_lag >= companies_lag {
                let from = self.window.len();
                let made = household(self.seed, self.households_made, self.people_made, &mut self.window);
                let limit = self.people_made + people_left;
                // The last household may be one too large for the count that was asked for.
                if made > people_left {
                    let kept = self.window.split_off(from).into_iter().filter(|record| record.cluster.ordinal < limit);
                    self.window.extend(kept);
                }
                self.households_made += 1;
                self.people_made += made.min(people_left);
            } else {
                company(self.seed, self.companies_made, &mut self.window);
                self.companies_made += 1;
            }
        }
    }
}

impl Iterator for Population {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.window.len() < WINDOW_RECORDS {
            self.fill();
        }
        if self.window.is_empty() {
            return None;
        }
        let place = self.shuffle.below(self.window.len() as u32) as usize;
        Some(self.window.swap_remove(place))
    }
}
