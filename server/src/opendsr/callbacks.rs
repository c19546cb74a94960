//! Controllers are told what became of their requests: a signed POST to each address that a request named, for each change of
//! its status, in their order.
//!
//! What is owed follows from the journal ([`onefold_core::erasure::Forward`]); what was taken is written down there. So a
//! crash between the two tells a change twice, and never loses one. What fails is tried again, after 2 s and then twice as
//! long each time, an hour at most, for a week.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use onefold_core::erasure::{CallbackEnded, Forward, ForwardedStatus, PrivacyRequest, StatusChange};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Sequence, TenantId};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{API_VERSION, Processor};
use crate::app::App;
use crate::app::privacy::act::Act;
use crate::app::privacy::receipt::time;
use crate::app::tenant::Tenant;
use crate::outgoing;

/// It is looked this often whether anything is owed.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// A call that failed is made again after this, then after twice as long each time.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// But not later than this.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// A change that nobody took for so long is told no more: the status can still be asked for.
const TOLD_FOR_MICROS: i64 = 7 * 86_400_000_000;
/// How long a call may take.
const CALL_WAIT_MAX: Duration = Duration::from_secs(10);
/// Calls at once.
const AT_ONCE_MAX: usize = 32;
/// Of these, to one host: one that is down must not hold up the others.
const OF_ONE_HOST_MAX: usize = 4;
/// Bytes of an answer that are read, and thrown away.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Where a controller fetches the results of its request, below our domain.
#[must_use]
pub fn results_path(tenant: &str, number: &[u8; 16]) -> String {
    format!("/v2/tenants/{tenant}/requests/{}/results", uuid(number))
}

/// A UUID as it is written.
#[must_use]
pub fn uuid(number: &[u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(*number));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// The records that an export held or an erasure touched, once it is done.
#[must_use]
pub fn results_count(request: &PrivacyRequest) -> Option<u64> {
    let figures = request.figures.as_ref().filter(|_| request.state.is_final())?;
    Some(figures.records.iter().map(|(_, count)| u64::from(*count)).sum())
}

/// What a callback says (section 8.6).
#[derive(Serialize)]
struct Said<'a> {
    controller_id: &'a str,
    expected_completion_time: String,
    status_callback_url: &'a str,
    subject_request_id: String,
    request_status: &'a str,
    api_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    results_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results_count: Option<u64>,
}

/// A call that is owed.
#[derive(Clone)]
struct Owed {
    tenant: Arc<Tenant>,
    request: Sequence,
    callback: u8,
    change: u8,
    url: String,
}

/// Which call: of which tenant, of which request, which callback, which change.
type Name = (TenantId, Sequence, u8, u8);

impl Owed {
    fn name(&self) -> Name {
        (self.tenant.id, self.request, self.callback, self.change)
    }
}

/// A call that failed.
struct Failed {
    times: u32,
    again_at: Instant,
}

/// Calls whoever is owed a call, for as long as the app lives.
pub async fn follow(app: Weak<App>, processor: Arc<Processor>) {
    let mut failed: HashMap<Name, Failed> = HashMap::new();
    loop {
        tokio::time::sleep(LOOKED_EVERY).await;
        let Some(app) = app.upgrade() else { return };
        let mut stop = app.stop.subscribe();
        if app.shared.has_failed() || *stop.borrow() {
            return;
        }
        // The server's end waits for no controller: what was not written down as taken is owed still.
        tokio::select! {
            () = round(&app, &processor, &mut failed) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Makes all calls that are to be made now.
async fn round(app: &Arc<App>, processor: &Arc<Processor>, failed: &mut HashMap<Name, Failed>) {
    let owed = owed(app).await;
    app.shared.meters.callbacks.owed.store(owed.len() as u64, Ordering::Relaxed);
    let names: HashSet<Name> = owed.iter().map(Owed::name).collect();
    failed.retain(|name, _| names.contains(name));
    let mut calls = JoinSet::new();
    for one in due(&owed, failed, Instant::now()) {
        let (app, processor) = (Arc::clone(app), Arc::clone(processor));
        calls.spawn(async move {
            let ended = call(&app, &processor, &one).await;
            (one.name(), ended)
        });
    }
    while let Some(called) = calls.join_next().await {
        let Ok((name, ended)) = called else { continue };
        if ended {
            failed.remove(&name);
            continue;
        }
        let before = failed.get(&name).map_or(0, |failed| failed.times);
        failed.insert(name, Failed { times: before + 1, again_at: Instant::now() + wait_after(before) });
    }
}

/// How long to wait after so many failures before the last.
fn wait_after(before: u32) -> Duration {
    AGAIN_AFTER.saturating_mul(1 << before.min(20)).min(AGAIN_AFTER_MAX)
}

/// Everything that is owed and durable: a crash must not take back what somebody was told.
async fn owed(app: &App) -> Vec<Owed> {
    let mut all = Vec::new();
    for tenant in app.tenants() {
        let (mut of_tenant, seen) = {
            let state = tenant.state();
            let owed: Vec<Owed> = state.privacy.owing().flat_map(|(_, forward)| owed_by(&tenant, forward)).collect();
            (owed, state.sequence)
        };
        if of_tenant.is_empty() {
            continue;
        }
        let mut durable = tenant.follow();
        let reached = tokio::time::timeout(CALL_WAIT_MAX, durable.wait_for(|durable| *durable >= seen)).await;
        if matches!(reached, Ok(Ok(_))) {
            all.append(&mut of_tenant);
        }
    }
    all
}

fn owed_by<'a>(tenant: &'a Arc<Tenant>, forward: &'a Forward) -> impl Iterator<Item = Owed> + 'a {
    forward.owed().filter_map(|(callback, change)| {
        let url = forward.from.callbacks.get(usize::from(callback))?.clone();
        Some(Owed { tenant: Arc::clone(tenant), request: forward.from.request, callback, change, url })
    })
}

/// What a call says, and since when it is so; `None`: there is nothing to say.
fn said(processor: &Processor, owed: &Owed) -> Option<(Bytes, ObservedAt)> {
    let state = owed.tenant.state();
    let request = state.privacy.requests.get(&owed.request)?;
    let forward = state.privacy.forwards.get(&owed.request)?;
    let StatusChange { status, has_results, at } = *forward.changes.get(usize::from(owed.change))?;
    let (tenant, number) = (&owed.tenant.name, &forward.from.number);
    let said = Said {
        controller_id: tenant,
        expected_completion_time: time(request.answer_by()),
        status_callback_url: &owed.url,
        subject_request_id: uuid(number),
        request_status: status.as_str(),
        api_version: API_VERSION,
        results_url: has_results.then(|| processor.url(&results_path(tenant, number))),
        results_count: results_count(request).filter(|_| status == ForwardedStatus::Completed),
    };
    Some((serde_json::to_vec(&said).ok()?.into(), at))
}

/// What is to be called now, and no more of it than at once may be.
fn due(owed: &[Owed], failed: &HashMap<Name, Failed>, now: Instant) -> Vec<Owed> {
    let mut of_host: HashMap<&str, usize> = HashMap::new();
    let mut due: Vec<&Owed> =
        owed.iter().filter(|one| failed.get(&one.name()).is_none_or(|failed| failed.again_at <= now)).collect();
    // Those that were never tried come first, then whoever waits longest.
    due.sort_by_key(|one| failed.get(&one.name()).map(|failed| failed.again_at));
    due.retain(|one| {
        let host = one.url.split('/').nth(2).unwrap_or_default();
        let count = of_host.entry(host).or_default();
        *count += 1;
        *count <= OF_ONE_HOST_MAX
    });
    due.into_iter().take(AT_ONCE_MAX).cloned().collect()
}

/// Makes one call, and writes down that it was taken, or that it is given up. False: it is to be made again.
async fn call(app: &App, processor: &Processor, owed: &Owed) -> bool {
    let meters = &app.shared.meters.callbacks;
    let Some((body, changed_at)) = said(processor, owed) else { return true };
    let taken = tokio::time::timeout(CALL_WAIT_MAX, post(processor, owed, body)).await;
    let taken = taken.unwrap_or_else(|_| Err(format!("no answer within {} s", CALL_WAIT_MAX.as_secs())));
    let now = app.now();
    let gave_up = match taken {
        Ok(()) => {
            meters.taken.count();
            false
        }
        Err(why) => {
            meters.failed.count();
            let (tenant, request, callback) = (owed.tenant.name.as_str(), owed.request.0, owed.callback);
            if now.0 - changed_at.0 < TOLD_FOR_MICROS {
                tracing::warn!(
                    tenant,
                    request,
                    callback,
                    why,
                    "a controller did not take a callback; it is called again"
                );
                return false;
            }
            meters.given_up.count();
            tracing::error!(
                tenant,
                request,
                callback,
                why,
                "a controller took no callback for a week; tell it yourself"
            );
            true
        }
    };
    let Owed { request, callback, change, .. } = *owed;
    let ended = CallbackEnded { request, callback, change, gave_up, at: now };
    match app.privacy(&owed.tenant, Act::EndCallback(ended), None).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(error = %error, "that a callback was taken cannot be written down; it is made again");
            false
        }
    }
}

async fn post(processor: &Processor, owed: &Owed, body: Bytes) -> Result<(), String> {
    // Asked again: the operator may have named other hosts since.
    let place = processor.callbacks.admit(&owed.url)?;
    let addresses = processor.callbacks.reachable(&place, place.addresses().await?);
    if addresses.is_empty() {
        return Err("its name leads to no public address; opendsr_allow_private_callbacks lets it be called".to_owned());
    }
    let papers = processor.papers();
    let signature = papers.signer.sign(&body)?;
    let mut request = Request::post("/").header(header::CONTENT_TYPE, "application/json");
    for (name, value) in processor.headers(&signature) {
        request = request.header(name, value);
    }
    let (status, _) = outgoing::ask(&place, &addresses, &papers.trust, request, (body, ANSWER_BYTES_MAX)).await?;
    if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_that_is_down_does_not_hold_up_the_others_and_a_wait_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let config = crate::Config::new(dir.path(), ([127, 0, 0, 1], 0).into());
        let meters = Arc::new(crate::metrics::Meters::new(crate::grpc::calls()));
        let opened = crate::app::recover::open(&config, Arc::new(crate::clock::SystemClock), meters).unwrap();
        let tenant = opened.app.tenants().pop().unwrap();
        let one = |request: u64, host: &str| {
            let url = format!("https://{host}/x");
            Owed { tenant: Arc::clone(&tenant), request: Sequence(request), callback: 0, change: 0, url }
        };
        let mut owed: Vec<Owed> = (0..20).map(|request| one(request, "down.example")).collect();
        owed.push(one(90, "up.example"));
        let names = |due: Vec<Owed>| due.iter().map(|one| one.request.0).collect::<Vec<_>>();
        let now = Instant::now();
        assert_eq!(names(due(&owed, &HashMap::new(), now)), [0, 1, 2, 3, 90]);
        // Who was not tried goes first, then who may be tried again; who has to wait does not go.
        let again_at = |seconds| now + Duration::from_secs(seconds);
        let failed: HashMap<Name, Failed> =
            (0..18).map(|at| (owed[at].name(), Failed { times: 1, again_at: again_at(at as u64) })).collect();
        assert_eq!(names(due(&owed, &failed, now + Duration::from_millis(1_500))), [18, 19, 90, 0, 1]);
        drop(owed);
        drop(tenant);
        drop(opened.app);
        opened.threads.join();
    }

    #[test]
    fn waits_grow_to_an_hour_and_no_further() {
        let waits: Vec<u64> = (0..13).map(|before| wait_after(before).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 3_600, 3_600]);
        assert_eq!(wait_after(u32::MAX), AGAIN_AFTER_MAX);
    }

    #[test]
    fn a_number_is_written_as_it_came() {
        let number = 0xa755_1968_d5d6_44b2_9831_815a_c901_7798_u128.to_be_bytes();
        assert_eq!(uuid(&number), "a7551968-d5d6-44b2-9831-815ac9017798");
    }
}
