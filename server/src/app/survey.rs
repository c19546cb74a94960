//! What each tenant has, counted for whoever watches over the server: not at every question, since it goes over everything,
//! and in steps, since writers wait meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use onefold_core::erasure::{PrivacyRequest, RequestKind};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::TenantId;
use onefold_matching::resolve::{Census, Stats};

use super::App;
use super::tenant::{State, Tenant};
use crate::clock::Stopwatch;

/// A count is good for so long at least.
const GOOD_FOR_MIN: Duration = Duration::from_secs(1);
/// And for so many times what it took, so that counting is a small part of all that is done.
const GOOD_FOR_TIMES: u32 = 20;

/// One tenant, counted.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The engine's figures.
    pub engine: Stats,
    /// Sizes of clusters, and open questions.
    pub census: Census,
    /// Fragments in quarantine.
    pub quarantined: u64,
    /// Records and identifiers that must not come back.
    pub suppressions: u64,
    /// What was sent again and stopped.
    pub resends_stopped: u64,
    /// Requests for erasure.
    pub erasures: Requests,
    /// All other requests of persons.
    pub others: Requests,
    /// Consumers that have yet to say that they erased too, and those of them that are late.
    pub confirmations: (u64, u64),
}

/// Requests that are not at their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// All of them.
    pub open: u64,
    /// Those that should have been answered.
    pub overdue: u64,
    /// When the next is due, or was.
    pub next_due: Option<ObservedAt>,
}

impl Requests {
    fn count(&mut self, request: &PrivacyRequest, now: ObservedAt) {
        let due = request.answer_by();
        self.open += 1;
        self.overdue += u64::from(due < now);
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }
}

impl Survey {
    fn of(tenant: &Tenant, now: ObservedAt) -> Self {
        let mut census = Census::default();
        while tenant.state().engine.count_on(&mut census) {}
        let state = tenant.state();
        let (erasures, others, confirmations) = requests(&state, now);
        Self {
            engine: state.engine.stats_given(census.largest),
            census,
            quarantined: state.quarantine.len() as u64,
            suppressions: state.privacy.suppressions.len() as u64,
            resends_stopped: state.privacy.stopped.values().sum(),
            erasures,
            others,
            confirmations,
        }
    }
}

fn requests(state: &State, now: ObservedAt) -> (Requests, Requests, (u64, u64)) {
    let (mut erasures, mut others, mut confirmations) = (Requests::default(), Requests::default(), (0, 0));
    for request in state.privacy.requests.values() {
        if !request.state.is_final() {
            let of_kind = if request.kind == RequestKind::Erasure { &mut erasures } else { &mut others };
            of_kind.count(request, now);
        }
        for waits in request.confirmations.iter().filter(|one| one.confirmed_at.is_none()) {
            confirmations.0 += 1;
            confirmations.1 += u64::from(waits.due_at < now);
        }
    }
    (erasures, others, confirmations)
}

/// The last counts.
#[derive(Debug, Default)]
pub struct Surveys(Mutex<HashMap<TenantId, Counted>>);

#[derive(Debug)]
struct Counted {
    when: Stopwatch,
    took: Duration,
    survey: Arc<Survey>,
}

impl Counted {
    fn is_good(&self) -> bool {
        self.when.elapsed() < GOOD_FOR_MIN.max(self.took * GOOD_FOR_TIMES)
    }
}

impl App {
    /// All tenants in the order in which they were opened, each with its last count, made now where that is too old. Not for
    /// asynchronous threads.
    pub fn surveys(&self) -> Vec<(Arc<Tenant>, Arc<Survey>)> {
        let mut tenants = self.tenants();
        tenants.sort_by_key(|tenant| tenant.id);
        let mut counted = self.surveys.0.lock().unwrap_or_else(PoisonError::into_inner);
        let each = tenants.into_iter().map(|tenant| {
            if let Some(last) = counted.get(&tenant.id).filter(|last| last.is_good()) {
                let survey = Arc::clone(&last.survey);
                return (tenant, survey);
            }
            let when = Stopwatch::start();
            let survey = Arc::new(Survey::of(&tenant, self.now()));
            let now = Counted { when, took: when.elapsed(), survey: Arc::clone(&survey) };
            counted.insert(tenant.id, now);
            (tenant, survey)
        });
        each.collect()
    }
}
