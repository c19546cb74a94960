//! The edge: messages in, messages out. The only rooms that see `pb`.
//!
//! A new service is a line in [`SERVICES`], a line in [`services`], answers made with [`mount::answer`] and, for its
//! writes, a `request_id` read with [`requests::named`]; deadlines, limits, compression, health, reflection and the gate
//! come with that.

mod account;
mod admin;
mod admission;
mod audit;
mod backup;
mod browsers;
mod carry;
mod connections;
mod consent;
mod convert;
mod corrections;
mod gate;
mod health;
mod ingest;
mod lasting;
mod meter;
mod mount;
mod names;
mod one_click;
mod opendsr;
mod page;
mod privacy;
mod profile;
mod promises;
mod quarantine;
mod reading;
mod requests;
mod review;
mod rights;
mod serving;
mod silence;
mod status;
mod tls;

pub use browsers::{InvalidOrigin, Origins};
pub use names::DEFAULT_TENANT;
pub use rights::roles_allowed;

use std::sync::Arc;

use onefold_proto::v1::FILE_DESCRIPTOR_SET;
use onefold_proto::v1::account_service_server::AccountServiceServer;
use onefold_proto::v1::admin_service_server::AdminServiceServer;
use onefold_proto::v1::audit_service_server::AuditServiceServer;
use onefold_proto::v1::backup_service_server::BackupServiceServer;
use onefold_proto::v1::consent_service_server::ConsentServiceServer;
use onefold_proto::v1::ingest_service_server::IngestServiceServer;
use onefold_proto::v1::privacy_service_server::PrivacyServiceServer;
use onefold_proto::v1::profile_service_server::ProfileServiceServer;
use onefold_proto::v1::review_service_server::ReviewServiceServer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_web::GrpcWebLayer;
use tower::util::option_layer;

use crate::app::App;
use crate::config::{self, Config};
use crate::metrics::Meters;
use crate::metrics::calls::Calls;
use crate::opendsr::Processor;
use crate::renewal;
use connections::Terms;
use gate::{Gate, Services};
use health::{Health, Serves};
use mount::mounted;
use one_click::Door;
use opendsr::Desk;
use rights::Guard;
use serving::{KeptAnswers, Serving};
use tls::Certificates;

/// Every service that is mounted, and what it can do while the disk refuses writes.
const SERVICES: &[(&str, Serves)] = &[
    ("onefold.v1.IngestService", Serves::Writes),
    ("onefold.v1.ProfileService", Serves::Reads),
    ("onefold.v1.ConsentService", Serves::Reads),
    ("onefold.v1.AccountService", Serves::Reads),
    ("onefold.v1.ReviewService", Serves::Reads),
    ("onefold.v1.PrivacyService", Serves::Reads),
    ("onefold.v1.AuditService", Serves::Reads),
    ("onefold.v1.BackupService", Serves::Reads),
    ("onefold.v1.AdminService", Serves::Reads),
];

/// Counts calls of every RPC there is, and what controllers ask for.
pub fn calls() -> Calls {
    Calls::new(rights::paths().iter().map(String::as_str).chain(opendsr::COUNTED))
}

/// The services over an app that takes one-click posts, or does not.
fn services(app: &Arc<App>, one_click: bool) -> Services {
    let kept = KeptAnswers::default();
    let serving = Serving { app: Arc::clone(app), kept: kept.clone() };
    let profiles = mounted!(ProfileServiceServer::new(profile::Profiles { app: Arc::clone(app), serving }));
    let consents = mounted!(ConsentServiceServer::new(consent::Consents { app: Arc::clone(app), one_click }));
    let routes = Routes::new(mounted!(IngestServiceServer::new(ingest::Ingest { app: Arc::clone(app) })))
        .add_service(profiles.clone())
        .add_service(consents.clone())
        .add_service(mounted!(AccountServiceServer::new(account::Accounts { app: Arc::clone(app) })))
        .add_service(mounted!(ReviewServiceServer::new(review::Reviews { app: Arc::clone(app) })))
        .add_service(mounted!(PrivacyServiceServer::new(privacy::Privacy { app: Arc::clone(app), kept })))
        .add_service(mounted!(AuditServiceServer::new(audit::Audits::new(app))))
        .add_service(mounted!(BackupServiceServer::new(backup::Backups { app: Arc::clone(app) })))
        .add_service(mounted!(AdminServiceServer::new(admin::Admin { app: Arc::clone(app) })));
    Services { routes, straight: Some((profiles, consents)) }
}

/// A server that listens. Until [`Edge::open`] it says that it recovers.
#[derive(Debug)]
pub struct Edge {
    gate: Gate,
    guard: Guard,
    door: Option<Door>,
    desk: Option<Desk>,
    health: Health,
    stop: Option<oneshot::Sender<()>>,
    /// The server's end.
    pub serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Edge {
    /// Listens as `how` says, encrypted where that names certificates, for pages of these origins and for controllers, where
    /// there is a processor, too.
    ///
    /// # Errors
    /// When a certificate or key cannot be used.
    pub async fn listen(
        listener: TcpListener,
        (origins, processor): (Origins, Option<Arc<Processor>>),
        how: &Config,
        meters: &Arc<Meters>,
    ) -> Result<Self, String> {
        let web = !origins.is_empty();
        let http1 = web || how.one_click || processor.is_some();
        let certificates = how.tls.as_ref().map(|tls| Certificates::read(tls, http1)).transpose()?;
        if let Some(certificates) = &certificates {
            tokio::spawn(renewal::follow(Arc::downgrade(certificates)));
        }
        let loopback = how.listen.ip().is_loopback();
        let usual = if loopback { how.connections_max } else { how.connections_max.div_ceil(4) };
        let terms = Terms {
            first_call_wait: how.first_call_wait,
            idle_wait: how.idle_wait,
            age: how.connection_age,
            most: how.connections_max,
            of_one_address: how.connections_per_address.unwrap_or(usual),
            certificates,
            meters: Arc::clone(meters),
        };
        let (health, health_service) = Health::recovering(SERVICES).await;
        let gate = Gate::default();
        let guard = Guard::new(how.require_auth);
        let (stop, stopped) = oneshot::channel();
        let leaves = health.clone();
        let goes_down = async move {
            let _ = stopped.await;
            // No new calls; long streams end at their next message.
            leaves.down().await;
        };
        let door = how.one_click.then(|| Door::new(!web));
        let desk =
            processor.map(|processor| Desk::new(processor, guard.clone(), &meters.calls, !web && !how.one_click));
        // Outermost first: requests of controllers, one-click posts, what a browser may ask, who may ask at all, its dialect, the count, then what every call goes through.
        let mut server = Server::builder()
            .max_concurrent_streams(Some(config::STREAMS_PER_CONNECTION_MAX))
            .concurrency_limit_per_connection(config::CALLS_PER_CONNECTION_MAX)
            .load_shed(true)
            .http2_max_header_list_size(Some(config::METADATA_BYTES_MAX))
            .http2_max_pending_accept_reset_streams(Some(config::PENDING_RESETS_MAX))
            .http2_max_local_error_reset_streams(Some(config::ERROR_RESETS_MAX))
            .http2_keepalive_interval(Some(config::KEEPALIVE_EVERY))
            .http2_keepalive_timeout(Some(config::KEEPALIVE_WAIT_MAX))
            .max_connection_age(how.connection_age)
            .initial_stream_window_size(Some(config::STREAM_WINDOW_BYTES))
            .initial_connection_window_size(Some(config::CONNECTION_WINDOW_BYTES))
            .accept_http1(http1)
            .layer(option_layer(desk.clone()))
            .layer(option_layer(door.clone()))
            .layer(option_layer(web.then(|| origins.cors())))
            .layer(option_layer(web.then(|| browsers::OwnPagesOnly(origins.clone()))))
            .layer(option_layer(web.then(GrpcWebLayer::new)))
            .layer(meter::Meter { calls: Arc::clone(&meters.calls), traces: meters.traces.clone() })
            .layer(corrections::Correct::new(config::CALLS_MAX))
            .layer(guard.clone())
            .layer(promises::InWholeMessages)
            .layer(gate.clone())
            .add_service(health_service);
        if loopback || how.reflection {
            server = server
                .add_service(reflection().build_v1().expect("the descriptor set was encoded by our own build"))
                .add_service(reflection().build_v1alpha().expect("the descriptor set was encoded by our own build"));
        }
        let incoming = connections::bounded(listener, terms);
        let serving = tokio::spawn(server.serve_with_incoming_shutdown(incoming, goes_down));
        Ok(Self { gate, guard, door, desk, health, stop: Some(stop), serving })
    }

    /// Serves this app from now on.
    pub async fn open(&self, app: &Arc<App>) {
        self.guard.open(app);
        self.gate.open(services(app, self.door.is_some()));
        if let Some(door) = &self.door {
            door.open(app);
        }
        if let Some(desk) = &self.desk {
            desk.open(app);
        }
        self.health.serve(app).await;
    }

    /// Takes no new calls, and lets those in flight end; [`Edge::serving`] ends with them.
    pub fn close(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// Reflection that names the mounted services only; the builder otherwise shows all of the descriptor set.
fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    SERVICES.iter().fold(builder, |builder, (name, _)| builder.with_service_name(*name))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tonic::server::NamedService;

    use super::*;

    #[test]
    fn every_write_can_be_named_by_its_caller() {
        /// Streams, whose messages are harmless to send again, and a call that writes nothing.
        const UNNAMED: &[&str] =
            &["StreamFragments", "StreamConsents", "DecideContacts", "StreamAccessExport", "IssueUnsubscribeToken"];
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let files = || set.file.iter().filter(|file| file.package() == "onefold.v1");
        let has = |message: &str, field: &str| {
            files()
                .flat_map(|file| &file.message_type)
                .any(|known| known.name() == message && known.field.iter().any(|known| known.name() == field))
        };
        let reads = prost_types::method_options::IdempotencyLevel::NoSideEffects as i32;
        let mut writes = 0;
        for method in files().flat_map(|file| &file.service).flat_map(|service| &service.method) {
            let options = method.options.as_ref();
            if options.is_some_and(|options| options.idempotency_level == Some(reads))
                || UNNAMED.contains(&method.name())
            {
                continue;
            }
            let message = method.input_type().rsplit('.').next().unwrap_or_default();
            let start = message.replace("Request", "Start");
            assert!(has(message, "request_id") || has(&start, "request_id"), "{}", method.name());
            writes += 1;
        }
        assert!(writes > 20, "{writes}");
    }

    #[test]
    fn every_service_of_the_contract_is_mounted() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let mut declared: Vec<String> = set
            .file
            .iter()
            .filter(|file| file.package() == "onefold.v1")
            .flat_map(|file| file.service.iter().map(|service| format!("onefold.v1.{}", service.name())))
            .collect();
        let mut mounted: Vec<String> = SERVICES.iter().map(|(name, _)| (*name).to_owned()).collect();
        declared.sort();
        mounted.sort();
        assert_eq!(declared, mounted);
        assert_eq!(IngestServiceServer::<ingest::Ingest>::NAME, SERVICES[0].0);
    }
}
