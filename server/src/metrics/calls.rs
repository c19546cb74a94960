//! Calls by RPC and code: how long they took, what they were refused for, how many are under way.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::instrument::{Histogram, TIMES};
use crate::clock::Stopwatch;
use crate::traces::CallSpan;

/// gRPC's codes by number.
pub const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// The code of a call whose caller went away.
pub const CANCELLED: usize = 1;
/// Reasons that are counted by name; there are about a hundred. Others share one count.
const REASONS_MAX: usize = 256;
/// What is said of an RPC that is none of ours, and of reasons over the bound.
const OTHER: &str = "other";

/// A histogram that is there once it is used: most RPCs never end with most codes.
type Lazy = OnceLock<Box<Histogram>>;

/// All calls.
#[derive(Debug)]
pub struct Calls {
    /// Service and method, by place; the last is for paths that are none of ours.
    names: Vec<(String, String)>,
    by_path: HashMap<String, usize>,
    cells: Box<[[Lazy; CODES.len()]]>,
    under_way: AtomicI64,
    refused: Mutex<BTreeMap<String, u64>>,
}

impl Calls {
    /// Nothing was called yet. `paths`: `/{package.Service}/{Method}` of every RPC.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = Vec::new();
        let mut by_path = HashMap::new();
        for path in paths {
            if let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) {
                by_path.insert(path.to_owned(), names.len());
                names.push((service.to_owned(), method.to_owned()));
            }
        }
        names.push((OTHER.to_owned(), OTHER.to_owned()));
        let cells = names.iter().map(|_| std::array::from_fn(|_| Lazy::new())).collect();
        Self { names, by_path, cells, under_way: AtomicI64::new(0), refused: Mutex::default() }
    }

    /// A call begins.
    pub fn begin(self: &std::sync::Arc<Self>, path: &str) -> Call {
        let rpc = self.by_path.get(path).copied().unwrap_or(self.names.len() - 1);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Call { calls: std::sync::Arc::clone(self), rpc, began: Stopwatch::start(), code: CANCELLED, span: None }
    }

    /// A call was answered with an error of this reason.
    pub fn refuse(&self, reason: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = refused.get_mut(reason) {
            *count += 1;
        } else {
            let reason = if refused.len() < REASONS_MAX { reason } else { OTHER };
            *refused.entry(reason.to_owned()).or_default() += 1;
        }
    }

    /// How many are under way.
    pub fn under_way(&self) -> i64 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Counts by reason.
    pub fn refused(&self) -> BTreeMap<String, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Service, method, code and times of what was called.
    pub fn times(&self) -> impl Iterator<Item = (&str, &str, &'static str, &Histogram)> {
        self.names.iter().zip(&self.cells).flat_map(|((service, method), cells)| {
            let used = CODES.iter().zip(cells).filter_map(|(code, cell)| Some((*code, cell.get()?)));
            used.map(move |(code, times)| (service.as_str(), method.as_str(), code, times.as_ref()))
        })
    }
}

/// A call under way; it is counted when it is dropped, as cancelled unless it ended before.
#[derive(Debug)]
pub struct Call {
    calls: std::sync::Arc<Calls>,
    rpc: usize,
    began: Stopwatch,
    code: usize,
    /// Where it is traced.
    span: Option<Box<CallSpan>>,
}

impl Call {
    /// Service and method; none for what is no RPC of ours.
    pub fn name(&self) -> Option<(&str, &str)> {
        let ours = self.rpc + 1 < self.calls.names.len();
        ours.then(|| (self.calls.names[self.rpc].0.as_str(), self.calls.names[self.rpc].1.as_str()))
    }

    /// It is traced with this.
    pub fn traced(&mut self, span: Option<Box<CallSpan>>) {
        self.span = span;
    }

    /// Its span, where it is traced.
    pub fn span(&self) -> Option<&CallSpan> {
        self.span.as_deref()
    }

    /// It ended with this code.
    pub fn ended(&mut self, code: usize) {
        self.code = code;
    }

    /// It was refused for this reason.
    pub fn refused(&self, reason: &str) {
        self.calls.refuse(reason);
        if let Some(span) = &self.span {
            span.refused(reason);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.under_way.fetch_sub(1, Ordering::Relaxed);
        let code = self.code.min(CODES.len() - 1);
        let times = self.calls.cells[self.rpc][code].get_or_init(|| Box::new(Histogram::new(TIMES)));
        times.took(self.began.elapsed());
        if let Some(span) = &self.span {
            span.end(code);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_call_is_counted_once_by_its_end_and_reasons_are_bounded() {
        let calls = Arc::new(Calls::new(["/p.S/Get", "/p.S/Put"]));
        let mut got = calls.begin("/p.S/Get");
        assert_eq!(calls.under_way(), 1);
        got.ended(0);
        drop(got);
        drop(calls.begin("/p.S/Put"));
        drop(calls.begin("/unheard/of"));
        assert_eq!(calls.under_way(), 0);
        let counted: Vec<_> =
            calls.times().map(|(s, m, code, times)| (s, m, code, times.seen().buckets.iter().sum())).collect();
        let want: [(&str, &str, &str, u64); 3] =
            [("p.S", "Get", "OK", 1), ("p.S", "Put", "CANCELLED", 1), ("other", "other", "CANCELLED", 1)];
        assert_eq!(counted, want);
        for reason in 0..2 * REASONS_MAX {
            calls.refuse(&format!("R{reason}"));
        }
        calls.refuse("R0");
        let refused = calls.refused();
        assert_eq!((refused.len(), refused["R0"], refused[OTHER]), (REASONS_MAX + 1, 2, REASONS_MAX as u64));
    }
}
