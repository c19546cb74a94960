//! The command's one look at the clock.

use std::time::{Duration, Instant};

/// Measures wall time from its making.
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the command tells its user how long it took")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Now, for statements that are made at the terminal.
#[expect(clippy::disallowed_methods, reason = "what is said at the terminal is said now")]
pub fn now() -> prost_types::Timestamp {
    prost_types::Timestamp::from(std::time::SystemTime::now())
}
