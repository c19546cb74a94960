//! The Onefold service: use cases, the commit lane and the gRPC edge, behind one door, [`Server::start`].

mod app;
pub mod audit;
pub mod clock;
pub mod config;
pub mod doctor;
mod grpc;
mod metrics;
pub mod opendsr;
mod outgoing;
mod renewal;
pub mod restore;
pub mod rotation;
pub mod secret;
pub mod telemetry;
pub mod tokens;
mod traces;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc::WeakSender;
use tokio::sync::watch;

use app::lane::{Command, REST_OFFERED_EVERY};
pub use app::recover::{Recovered, StartError};
use clock::{Clock, SystemClock};
pub use config::Config;
pub use grpc::{InvalidOrigin, roles_allowed};

/// How often judgements are looked through for those that have ended.
const JUDGEMENTS_ENDED_EVERY: Duration = Duration::from_secs(5);

/// How often how far the log reached is signed, while there is something new.
const HEADS_EVERY: Duration = Duration::from_secs(900);

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    metrics: Option<Metrics>,
    recovered: Recovered,
    failure: watch::Receiver<bool>,
    edge: grpc::Edge,
    threads: app::threads::Threads,
    drain: Duration,
    traces: Option<Arc<traces::Traces>>,
}

/// The door of the metrics; shut when dropped.
#[derive(Debug)]
struct Metrics {
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Metrics {
    async fn listen(address: SocketAddr, scrape: &Arc<metrics::Scrape>) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { address, serving: tokio::spawn(metrics::listen::serve(listener, Arc::clone(scrape))) })
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A server ended otherwise than it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The network failed.
    #[error("the network failed")]
    Transport(#[from] tonic::transport::Error),
    /// The store failed: nothing more is acknowledged; start again to recover.
    #[error("the store failed; what was acknowledged is safe, start again to recover")]
    Store,
}

/// Takes back judgements when they end, for as long as the app lives.
async fn end_judgements(app: Weak<app::App>) {
    loop {
        tokio::time::sleep(JUDGEMENTS_ENDED_EVERY).await;
        let Some(app) = app.upgrade() else { return };
        if app.shared.has_failed() {
            return;
        }
        for tenant in app.with_ended_judgements() {
            if let Err(error) = app.rule(&tenant, app::review::Ruling::Expire, None).await {
                tracing::warn!(error = %error, "judgements that have ended stay in force for now");
            }
        }
    }
}

/// Offers the lane a rest now and then, for as long as it works.
async fn offer_rest(lane: WeakSender<Command>) {
    loop {
        tokio::time::sleep(REST_OFFERED_EVERY).await;
        let Some(lane) = lane.upgrade() else { return };
        // A full lane has no rest.
        let _ = lane.try_send(Command::Rest);
    }
}

/// Signs how far the log reached, for as long as the app lives.
async fn sign_heads(app: Weak<app::App>) {
    loop {
        tokio::time::sleep(HEADS_EVERY).await;
        let Some(app) = app.upgrade() else { return };
        if app.shared.has_failed() {
            return;
        }
        let _ = tokio::task::spawn_blocking(move || app.shared.sign_head()).await;
    }
}

impl Server {
    /// Listens, opens the data directory and recovers; until that is done callers are told to come again.
    ///
    /// # Errors
    /// [`StartError`], which names what stands in the way.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with_clock(config, Arc::new(SystemClock)).await
    }

    /// [`Server::start`] with a clock of the caller's.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with_clock(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        config.check()?;
        let origins = grpc::Origins::read(&config.web_origins).map_err(StartError::WebOrigin)?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| StartError::Listen { address: config.listen, source })?;
        let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
        let processor =
            config.opendsr.as_ref().map(opendsr::Processor::read).transpose().map_err(StartError::OpenDsr)?;
        let traces = config.traces.as_ref().map(traces::Traces::start).transpose().map_err(StartError::Traces)?;
        let traces = traces.map(Arc::new);
        let meters = Arc::new(metrics::Meters::new(grpc::calls()).traced(traces.clone()));
        let scrape = Arc::new(metrics::Scrape::new(Arc::clone(&meters)));
        let metrics = match config.metrics_listen {
            Some(address) => Some(Metrics::listen(address, &scrape).await?),
            None => None,
        };
        // Callers hear at once that there is a server, and that it recovers.
        let mut edge = grpc::Edge::listen(listener, (origins, processor.clone()), &config, &meters)
            .await
            .map_err(StartError::Tls)?;
        let drain = config.drain;
        let opened = tokio::task::spawn_blocking(move || app::recover::open(&config, clock, meters)).await;
        let app::recover::Opened { app, recovered, threads } = match opened.map_err(|_| StartError::Interrupted) {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) | Err(error) => {
                edge.close();
                edge.serving.abort();
                return Err(error);
            }
        };
        let failure = app.shared.failure();
        if let Some(tokens) = app.shared.access.tokens() {
            tokio::spawn(tokens::Tokens::follow(Arc::downgrade(tokens)));
        }
        edge.open(&app).await;
        scrape.open(&app);
        tokio::spawn(end_judgements(Arc::downgrade(&app)));
        tokio::spawn(sign_heads(Arc::downgrade(&app)));
        if let Some(processor) = processor {
            tokio::spawn(renewal::follow(Arc::downgrade(&processor)));
            tokio::spawn(opendsr::callbacks::follow(Arc::downgrade(&app), processor));
        }
        tokio::spawn(offer_rest(app.lane.downgrade()));
        Ok(Self { address, metrics, recovered, failure, edge, threads, drain, traces })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves metrics.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|metrics| metrics.address)
    }

    /// What it found at the start.
    #[must_use]
    pub const fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Serves until `until` ends or the store fails, then drains and closes: what was acknowledged is durable, and a
    /// checkpoint makes the next start quick.
    ///
    /// # Errors
    /// [`ServeError`] when the end was not asked for.
    pub async fn run_until(mut self, until: impl Future<Output = ()>) -> Result<(), ServeError> {
        let failed = tokio::select! {
            () = until => false,
            changed = self.failure.wait_for(|failed| *failed) => changed.is_ok(),
        };
        self.edge.close();
        let served = match tokio::time::timeout(self.drain, &mut self.edge.serving).await {
            Ok(served) => served,
            Err(_) => {
                tracing::warn!("calls in flight did not end in time and are cut off");
                self.edge.serving.abort();
                Ok(Ok(()))
            }
        };
        let threads = std::mem::take(&mut self.threads);
        let traces = self.traces.take();
        let end = move || {
            threads.join();
            if let Some(traces) = traces {
                traces.end();
            }
        };
        let _ = tokio::task::spawn_blocking(end).await;
        if failed {
            return Err(ServeError::Store);
        }
        match served {
            Ok(result) => result.map_err(ServeError::from),
            Err(_) => Ok(()),
        }
    }

    /// Stops now, in order.
    ///
    /// # Errors
    /// As [`Server::run_until`].
    pub async fn stop(self) -> Result<(), ServeError> {
        self.run_until(std::future::ready(())).await
    }
}
