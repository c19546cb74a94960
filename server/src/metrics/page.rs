//! The page: every metric, its help, its samples. What each means to an operator stands in `docs/operations.md`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use onefold_matching::resolve::SIZE_POWERS;

use super::exposition::Kind::{Counter, Gauge, Histogram};
use super::exposition::{Label, Page};
use super::instrument::Seen;
use super::{CallbackMeters, IngestOutcome, Meters, Scrape, machine};
use crate::app::App;
use crate::app::lane::LANE_DEPTH_MAX;
use crate::app::survey::{Requests, Survey};
use crate::app::tenant::Tenant;
use crate::telemetry;

/// Tenants that are counted under their names: those that were opened first. The others are counted together.
const TENANTS_MAX: usize = 50;
/// The name that they are counted under; no tenant can have it, for it is not of the form of a tenant's name.
const OTHERS: &str = "(others)";
/// Microseconds of a second.
const MICROS: u64 = 1_000_000;
/// Sizes of clusters: the powers of two that they are counted by.
const SIZES: [u64; SIZE_POWERS] = powers();

const fn powers() -> [u64; SIZE_POWERS] {
    let mut powers = [1; SIZE_POWERS];
    let mut at = 1;
    while at < SIZE_POWERS {
        powers[at] = powers[at - 1] * 2;
        at += 1;
    }
    powers
}

impl Scrape {
    /// The page as it is now. Not for asynchronous threads: it may count for a moment.
    pub fn page(&self) -> String {
        let mut page = Page::default();
        let app = self.app();
        page.family("onefold_build_info", Gauge, "1, with the version of the server.");
        page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.family("onefold_ready", Gauge, "1 once the server has recovered, until it ends.");
        page.sample(&[], u8::from(app.is_some()));
        process(&mut page);
        edge(&mut page, &self.meters);
        if let Some(app) = &app {
            store(&mut page, &self.meters, app);
            callbacks(&mut page, &self.meters);
            tenants(&mut page, app);
        }
        page.finish()
    }
}

fn process(page: &mut Page) {
    page.family(
        "onefold_panics_total",
        Counter,
        "Panics. A call that panics is answered INTERNAL; a writer that does ends the server.",
    );
    page.sample(&[], telemetry::panics());
    let figures: [(&'static str, _, &str, Option<f64>); 4] = [
        ("process_resident_memory_bytes", Gauge, "Memory in use.", machine::resident_bytes().map(|bytes| bytes as f64)),
        ("process_cpu_seconds_total", Counter, "Processor time.", machine::processor_seconds()),
        ("process_open_fds", Gauge, "File descriptors that are open.", machine::descriptors().map(|open| open as f64)),
        (
            "process_max_fds",
            Gauge,
            "File descriptors that may be open.",
            machine::descriptors_max().map(|most| most as f64),
        ),
    ];
    for (name, kind, help, figure) in figures {
        if let Some(figure) = figure {
            page.family(name, kind, help);
            page.sample(&[], figure);
        }
    }
}

fn edge(page: &mut Page, meters: &Meters) {
    page.family(
        "onefold_rpc_duration_seconds",
        Histogram,
        "Time of calls by RPC and code: to the answer, or to the end of a stream.",
    );
    for (service, method, code, times) in meters.calls.times() {
        page.histogram(&[("service", service), ("method", method), ("code", code)], &times.seen(), MICROS);
    }
    page.family("onefold_rpc_in_flight", Gauge, "Calls under way, open streams among them.");
    page.sample(&[], meters.calls.under_way());
    page.family("onefold_errors_total", Counter, "Calls answered with an error, by reason (docs/errors.md).");
    for (reason, count) in meters.calls.refused() {
        page.sample(&[("reason", &reason)], count);
    }
    page.family("onefold_connections", Gauge, "Connections that are open.");
    page.sample(&[], meters.connections.load(Ordering::Relaxed));
    page.family(
        "onefold_connections_refused_total",
        Counter,
        "Connections closed as they came, for there were as many as there may be.",
    );
    page.sample(&[], meters.connections_refused.get());
}

fn store(page: &mut Page, meters: &Meters, app: &App) {
    page.family("onefold_lane_depth", Gauge, "Commands that wait in front of the commit lane.");
    page.sample(&[], LANE_DEPTH_MAX - app.lane.capacity().min(LANE_DEPTH_MAX));
    page.family("onefold_lane_depth_max", Gauge, "Commands that may wait there; then calls are answered LANE_FULL.");
    page.sample(&[], LANE_DEPTH_MAX);
    page.family("onefold_batch_entries", Histogram, "Entries of a batch of the journal.");
    page.histogram(&[], &meters.batch_entries.seen(), 1);
    page.family("onefold_batch_bytes", Histogram, "Bytes of a batch of the journal.");
    page.histogram(&[], &meters.batch_bytes.seen(), 1);
    page.family(
        "onefold_journal_sync_seconds",
        Histogram,
        "Time of a data sync of the journal; every acknowledgement waits for one.",
    );
    page.histogram(&[], &meters.sync.seen(), MICROS);
    page.family("onefold_checkpoint_seconds", Histogram, "Time that a checkpoint takes, while writes wait.");
    page.histogram(&[], &meters.checkpoint.seen(), MICROS);
    let now = app.now().0.div_euclid(MICROS as i64);
    if let Some(written) = app.shared.checkpoints.newest_written() {
        page.family("onefold_checkpoint_age_seconds", Gauge, "Time since the newest checkpoint was written.");
        page.sample(&[], now.saturating_sub(i64::try_from(written).unwrap_or(i64::MAX)).max(0));
    }
    page.family("onefold_store_failed", Gauge, "1 once the store failed: nothing more is acknowledged.");
    page.sample(&[], u8::from(app.shared.has_failed()));
    page.family("onefold_disk_full", Gauge, "1 while writes are refused for want of room.");
    page.sample(&[], u8::from(*app.shared.disk_full().borrow()));
    if let Some((free, size)) = app.shared.dir.space() {
        page.family("onefold_disk_free_bytes", Gauge, "Room on the data directory's file system.");
        page.sample(&[], free);
        page.family("onefold_disk_size_bytes", Gauge, "Size of the data directory's file system.");
        page.sample(&[], size);
    }
}

/// A tenant, and its last count.
type Surveyed = (Arc<Tenant>, Arc<Survey>);

/// Figures of tenants: of those with a name of their own, and of all others together.
struct Shares<'a>(Vec<(&'a str, Vec<&'a Surveyed>)>);

impl<'a> Shares<'a> {
    fn of(surveys: &'a [Surveyed]) -> Self {
        let (named, others) = surveys.split_at(surveys.len().min(TENANTS_MAX));
        let mut shares: Vec<_> = named.iter().map(|one| (one.0.name.as_str(), vec![one])).collect();
        if !others.is_empty() {
            shares.push((OTHERS, others.iter().collect()));
        }
        Self(shares)
    }

    /// A family with one sample a tenant, of all that the figure makes of those behind the name.
    fn say(&self, page: &mut Page, name: &'static str, help: &str, figure: impl Fn(&[&Surveyed]) -> u64) {
        let kind = if name.ends_with("_total") { Counter } else { Gauge };
        page.family(name, kind, help);
        for (tenant, of) in &self.0 {
            page.sample(&[("tenant", tenant)], figure(of));
        }
    }

    fn sum(&self, page: &mut Page, name: &'static str, help: &str, figure: impl Fn(&Survey) -> u64) {
        self.say(page, name, help, |of| of.iter().map(|(_, survey)| figure(survey)).sum());
    }
}

fn tenants(page: &mut Page, app: &App) {
    let surveys = app.surveys();
    let shares = Shares::of(&surveys);
    page.family("onefold_tenants", Gauge, "Tenants.");
    page.sample(&[], surveys.len());
    page.family(
        "onefold_fragments_total",
        Counter,
        "Fragments and retractions that were answered, by what became of them.",
    );
    for (tenant, of) in &shares.0 {
        for (outcome, name) in IngestOutcome::ALL {
            let count: u64 = of.iter().map(|(tenant, _)| tenant.meters.outcomes[outcome as usize].get()).sum();
            page.sample(&[("tenant", tenant), ("outcome", name)], count);
        }
    }
    shares.sum(page, "onefold_records", "Source records with a live fragment.", |s| s.engine.live_records.into());
    shares.sum(page, "onefold_profiles", "Live profiles.", |s| s.engine.profiles.into());
    shares.sum(page, "onefold_values", "Identifier values that live records hold.", |s| s.engine.values.into());
    shares.sum(
        page,
        "onefold_generic_values",
        "Values that link nobody, for too many parties stand behind them.",
        |s| s.engine.generic_values.into(),
    );
    shares.sum(page, "onefold_parked_links", "Values that would link, but whose holders are kept apart.", |s| {
        s.engine.parked_links.into()
    });
    shares.sum(page, "onefold_engine_memory_bytes", "Memory of the resolution engine.", |s| s.engine.memory_bytes);
    shares.say(page, "onefold_largest_cluster_records", "Records of the largest profile.", |of| {
        of.iter().map(|(_, s)| s.census.largest.into()).max().unwrap_or(0)
    });
    shares.sum(
        page,
        "onefold_review_questions",
        "Pairs of profiles that a steward is asked about; a million at most are counted.",
        |s| s.census.questions(),
    );
    shares.sum(page, "onefold_quarantined_fragments", "Fragments in quarantine.", |s| s.quarantined);
    shares.sum(page, "onefold_suppressions", "Records and identifiers that must not come back.", |s| s.suppressions);
    shares.sum(
        page,
        "onefold_resends_stopped_total",
        "Fragments that were sent again after an erasure, and stopped.",
        |s| s.resends_stopped,
    );
    cluster_sizes(page, &surveys);
    privacy(page, &shares);
    feed(page, &shares);
}

fn cluster_sizes(page: &mut Page, surveys: &[Surveyed]) {
    let mut all = Seen { bounds: &SIZES, buckets: vec![0; SIZE_POWERS + 1], sum: 0 };
    for (_, survey) in surveys {
        all.sum += survey.census.records;
        all.buckets.iter_mut().zip(survey.census.sizes).for_each(|(all, more)| *all += more);
    }
    page.family("onefold_cluster_records", Histogram, "Records of each live profile, all tenants together, as of now.");
    page.histogram(&[], &all, 1);
}

/// Requests of a kind.
type OfKind = (&'static str, fn(&Survey) -> &Requests);

fn privacy(page: &mut Page, shares: &Shares<'_>) {
    const KINDS: [OfKind; 2] = [("erasure", |survey| &survey.erasures), ("other", |survey| &survey.others)];
    let mut samples = |name, help: &str, figure: &dyn Fn(&[&Requests]) -> Option<i64>| {
        page.family(name, Gauge, help);
        for (tenant, of) in &shares.0 {
            for (kind, pick) in KINDS {
                let requests: Vec<&Requests> = of.iter().map(|(_, survey)| pick(survey)).collect();
                let labels: [Label<'_>; 2] = [("tenant", tenant), ("kind", kind)];
                if let Some(value) = figure(&requests) {
                    page.sample(&labels, value);
                }
            }
        }
    };
    let total = |figure: fn(&Requests) -> u64| {
        move |of: &[&Requests]| Some(of.iter().map(|requests| figure(requests)).sum::<u64>() as i64)
    };
    samples("onefold_privacy_requests_open", "Requests of persons that are not at their end.", &total(|r| r.open));
    samples("onefold_privacy_requests_overdue", "Those of them that should have been answered.", &total(|r| r.overdue));
    samples(
        "onefold_privacy_next_due_timestamp_seconds",
        "When the next open request is due, or was; absent without one.",
        &|of| of.iter().filter_map(|requests| requests.next_due).min().map(|due| due.0.div_euclid(MICROS as i64)),
    );
    shares.sum(
        page,
        "onefold_erasure_confirmations_waiting",
        "Consumers that have yet to say that they erased too.",
        |s| s.confirmations.0,
    );
    shares.sum(page, "onefold_erasure_confirmations_overdue", "Those of them that are late.", |s| s.confirmations.1);
}

fn callbacks(page: &mut Page, meters: &Meters) {
    let CallbackMeters { owed, taken, failed, given_up } = &meters.callbacks;
    page.family("onefold_opendsr_callbacks_owed", Gauge, "Calls to controllers that are owed now.");
    page.sample(&[], owed.load(Ordering::Relaxed));
    page.family("onefold_opendsr_callbacks_total", Counter, "Calls to controllers, by what became of them.");
    for (outcome, count) in [("taken", taken), ("failed", failed), ("given_up", given_up)] {
        page.sample(&[("outcome", outcome)], count.get());
    }
}

fn feed(page: &mut Page, shares: &Shares<'_>) {
    let end = |one: &Surveyed| one.0.state().last_change.0;
    let behind = |one: &Surveyed| {
        let end = end(one);
        one.0.meters.readers().into_iter().map(|at| end.saturating_sub(at)).max()
    };
    shares.say(page, "onefold_feed_readers", "Open watches of the change feed.", |of| {
        of.iter().map(|(tenant, _)| tenant.meters.readers().len() as u64).sum()
    });
    shares.say(
        page,
        "onefold_feed_lag_sequences",
        "How far the slowest open watch is behind the feed's end, in sequences.",
        |of| of.iter().filter_map(|one| behind(one)).max().unwrap_or(0),
    );
    shares.say(page, "onefold_feed_sequence", "The sequence of the feed's last change.", |of| {
        of.iter().map(|one| end(one)).max().unwrap_or(0)
    });
}
