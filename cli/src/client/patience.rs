//! How long to wait before asking again.

use std::time::Duration;

use onefold_cli::generate::Dice;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::clock::Stopwatch;

/// The first wait; each further one doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer, unless the server asks for it.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Waits that grow, with jitter, so that callers who lost one server do not come back in one moment.
pub struct Patience {
    limit: Duration,
    since: Stopwatch,
    tries: u32,
    dice: Dice,
}

impl Patience {
    /// Gives up this long after the last progress.
    pub fn new(limit: Duration) -> Self {
        let mut seed = [0; 8];
        // Without a seed of its own the jitter is the same for all, which is no harm.
        let _ = getrandom::fill(&mut seed);
        Self { limit, since: Stopwatch::start(), tries: 0, dice: Dice::new(u64::from_le_bytes(seed), 0) }
    }

    /// Something went well: patience is whole again.
    pub fn restore(&mut self) {
        self.since = Stopwatch::start();
        self.tries = 0;
    }

    /// How long to wait after this status; `None` when waiting does not help or lasted long enough.
    pub fn wait_after(&mut self, status: &Status) -> Option<Duration> {
        if !waits(status) {
            return None;
        }
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let grown = FIRST_WAIT.saturating_mul(1 << self.tries.min(10)).min(LONGEST_WAIT);
        self.tries += 1;
        // Between half of it and all of it; never less than the server asks for.
        let jittered = grown.mul_f64(0.5 + f64::from(self.dice.below(1_000)) / 2_000.0);
        let wait = asked.map_or(jittered, |asked| asked + jittered / 4);
        (self.since.elapsed() + wait <= self.limit).then_some(wait)
    }
}

/// Whether these are the server's own words, and not those of a connection that broke.
pub fn said_by_server(status: &Status) -> bool {
    status.get_details_error_info().is_some()
}

/// How the server says that a stream was silent for too long: whoever has something to send opens it again.
const SILENT: &str = "STREAM_SILENT";

/// Whether the same call may go well later: the server is busy, going down, or not there.
fn waits(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // Too many calls are under way, or a study: those say when to come again. A limit that is reached does not.
        Code::ResourceExhausted => status.get_details_retry_info().is_some(),
        Code::DeadlineExceeded if status.get_details_error_info().is_some_and(|info| info.reason == SILENT) => true,
        Code::Unknown | Code::Cancelled | Code::Internal | Code::DeadlineExceeded => !said_by_server(status),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn waiting_is_for_what_passes() {
        let said = |code, reason: &str| {
            let mut details = ErrorDetails::new();
            details.set_error_info(reason, "onefold.dev", std::collections::HashMap::new());
            Status::with_error_details(code, "x", details)
        };
        let table = [
            (Status::unavailable("gone"), true),
            (Status::unknown("h2 protocol error"), true),
            (Status::cancelled("stream reset"), true),
            (said(Code::Unavailable, "LANE_FULL"), true),
            (said(Code::DeadlineExceeded, "STREAM_SILENT"), true),
            (said(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), false),
            (said(Code::Internal, "STORE_FAILED"), false),
            (said(Code::InvalidArgument, "REQUEST_INVALID"), false),
            (said(Code::ResourceExhausted, "LIMIT_REACHED"), false),
            (Status::unimplemented("no such service"), false),
        ];
        for (status, want) in table {
            assert_eq!(waits(&status), want, "{status:?}");
        }
    }

    #[test]
    fn waits_grow_heed_the_server_and_end() {
        let mut patience = Patience::new(Duration::from_secs(60));
        let first = patience.wait_after(&Status::unavailable("gone")).unwrap();
        assert!((50..=100).contains(&first.as_millis()), "{first:?}");
        for _ in 0..9 {
            patience.wait_after(&Status::unavailable("gone")).unwrap();
        }
        let late = patience.wait_after(&Status::unavailable("gone")).unwrap();
        assert!((2_500..=5_000).contains(&late.as_millis()), "{late:?}");
        patience.restore();
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(7)));
        let asked = Status::with_error_details(Code::Unavailable, "full", details);
        assert!(patience.wait_after(&asked).unwrap() >= Duration::from_secs(7));
        assert_eq!(Patience::new(Duration::from_secs(5)).wait_after(&asked), None, "no time for that");
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(1)));
        let crowded = Status::with_error_details(Code::ResourceExhausted, "too many calls", details);
        assert!(patience.wait_after(&crowded).unwrap() >= Duration::from_secs(1));
    }
}
