//! Health, per service and overall: NOT_SERVING while the store is being recovered, while the server goes down, when the
//! store failed, and, for what writes, while the disk has no room.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::server::HealthReporter;

use crate::app::App;
use crate::app::lane::Command;

/// While the disk has no room, the lane is asked this often whether it has some again.
const ROOM_PROBED_EVERY: Duration = Duration::from_secs(2);

/// The name under which is told whether all logs of reads can be written.
const READS: &str = "onefold.reads";

/// The name under which is told whether what is read by key is whole.
const KEYED: &str = "onefold.keyed";

/// What a service can do while the disk refuses writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Nothing: all it does is write.
    Writes,
    /// At least its reads.
    Reads,
}

/// What is told about the services.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    services: &'static [(&'static str, Serves)],
    /// Ends long streams; there once the app is.
    stop: Arc<OnceLock<watch::Sender<bool>>>,
    /// Set when the server goes down: nothing serves again.
    leaving: watch::Sender<bool>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Health(..)")
    }
}

impl Health {
    /// Says that nothing serves yet.
    pub async fn recovering(services: &'static [(&'static str, Serves)]) -> (Self, HealthServer<impl HealthService>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let health = Self { reporter, services, stop: Arc::default(), leaving: watch::Sender::new(false) };
        health.say(|_| false, false).await;
        (health, service)
    }

    async fn say(&self, serves: impl Fn(Serves) -> bool, overall: bool) {
        let word = |serves| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        for (name, can) in self.services {
            self.reporter.set_service_status(*name, word(serves(*can))).await;
        }
        self.reporter.set_service_status("", word(overall)).await;
    }

    /// Says how the app is from now on, until it goes down.
    pub async fn serve(&self, app: &Arc<App>) {
        let _ = self.stop.set(app.stop.clone());
        let health = self.clone();
        let (mut failed, mut full) = (app.shared.failure(), app.shared.disk_full());
        let (mut missing, mut damaged) = (app.shared.reads_missing(), app.shared.keyed_damaged());
        // Not in the call: what is borrowed must not be held while it waits.
        let (reads_missing, keyed_damaged) = (*missing.borrow_and_update(), *damaged.borrow_and_update());
        self.tell_of(READS, reads_missing).await;
        self.tell_of(KEYED, keyed_damaged).await;
        let lane = app.lane.downgrade();
        let (mut leaving, mut left) = (self.leaving.subscribe(), self.leaving.subscribe());
        let (is_failed, is_full) = (*failed.borrow_and_update(), *full.borrow_and_update());
        self.tell(is_failed, is_full).await;
        let follow = async move {
            loop {
                let (is_failed, is_full) = (*failed.borrow_and_update(), *full.borrow_and_update());
                health.tell(is_failed, is_full).await;
                let probe = async {
                    if !is_full {
                        return std::future::pending().await;
                    }
                    tokio::time::sleep(ROOM_PROBED_EVERY).await;
                    // Without calls nobody would notice that there is room again.
                    if let Some(lane) = lane.upgrade() {
                        let _ = lane.try_send(Command::ProbeRoom);
                    }
                };
                let told = tokio::select! {
                    changed = missing.changed() => {
                        let is_missing = *missing.borrow_and_update();
                        health.tell_of(READS, is_missing).await;
                        changed
                    }
                    changed = damaged.changed() => {
                        let is_damaged = *damaged.borrow_and_update();
                        health.tell_of(KEYED, is_damaged).await;
                        changed
                    }
                    changed = failed.changed() => changed,
                    changed = full.changed() => changed,
                    () = probe => Ok(()),
                };
                if told.is_err() {
                    return;
                }
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = follow => {}
                _ = leaving.wait_for(|leaving| *leaving) => {}
            }
        });
        // It may have been told to go while it recovered.
        let told_to_go = *left.borrow_and_update();
        if told_to_go {
            self.down().await;
        }
    }

    /// Whether reads are missing from a log of reads, or sled is damaged, is told under names of their own: what serves goes
    /// on serving.
    async fn tell_of(&self, name: &str, wrong: bool) {
        let word = if wrong { ServingStatus::NotServing } else { ServingStatus::Serving };
        self.reporter.set_service_status(name, word).await;
    }

    async fn tell(&self, failed: bool, full: bool) {
        let leaving = *self.leaving.borrow();
        if !leaving {
            self.say(|can| !failed && (!full || can == Serves::Reads), !failed && !full).await;
        }
    }

    /// Says that nothing serves any more, and ends long streams.
    pub async fn down(&self) {
        self.leaving.send_replace(true);
        self.say(|_| false, false).await;
        if let Some(stop) = self.stop.get() {
            stop.send_replace(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use onefold_core::ids::{ProfileOrdinal, Sequence};
    use tonic::{Code, Request};
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::server::HealthService as Service;
    use tonic_types::StatusExt;

    use super::*;
    use crate::app::{keeper, recover};
    use crate::grpc::{SERVICES, status};

    /// What is read by key is found damaged while a server runs: the read that met it names it, health tells it, and everything else serves.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_read_by_key_and_damaged_is_named_and_the_rest_serves_on() {
        let dir = tempfile::tempdir().unwrap();
        let config = crate::Config::new(dir.path(), ([127, 0, 0, 1], 0).into());
        let meters = Arc::new(crate::metrics::Meters::new(crate::grpc::calls()));
        let open = move || recover::open(&config, Arc::new(crate::clock::SystemClock), meters).unwrap();
        let opened = tokio::task::spawn_blocking(open).await.unwrap();
        let (app, threads) = (opened.app, opened.threads);
        let (health, _) = Health::recovering(SERVICES).await;
        let service = Service::from_health_reporter(health.reporter.clone());
        health.serve(&app).await;
        let told = async |name: &str| {
            let request = HealthCheckRequest { service: name.to_owned() };
            service.check(Request::new(request)).await.unwrap().into_inner().status()
        };
        use tonic_health::pb::health_check_response::ServingStatus::{NotServing, Serving};
        assert_eq!(told(KEYED).await, Serving);

        let tenant = app.tenants().pop().unwrap();
        let profile = ProfileOrdinal(0);
        let read = || keeper::read_history(&app.shared, tenant.id, profile, Sequence(0), 10);
        assert_eq!(read().unwrap(), []);
        keeper::bend_history(&app.shared, tenant.id, profile).unwrap();
        let refused = tonic::Status::from(status::ReadErrorIn { error: read().unwrap_err(), tenant: "default" });
        assert_eq!(
            (refused.code(), refused.get_details_error_info().unwrap().reason.as_str()),
            (Code::DataLoss, "DATA_DAMAGED")
        );
        assert!(refused.message().contains("the keyed store"), "{}", refused.message());
        for _ in 0..1_000 {
            if told(KEYED).await == NotServing {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(told(KEYED).await, NotServing);
        for (name, _) in SERVICES {
            assert_eq!(told(name).await, Serving, "{name}");
        }
        drop((tenant, app, health));
        tokio::task::spawn_blocking(|| threads.join()).await.unwrap();
    }
}
