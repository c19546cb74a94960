//! The edge: messages in, messages out. The only rooms that see `pb`.

mod account;
mod admin;
mod consent;
mod convert;
mod corrections;
mod ingest;
mod names;
mod page;
mod profile;
mod quarantine;
mod reading;
mod status;

pub use names::DEFAULT_TENANT;

use std::sync::Arc;
use std::time::Duration;

use onefold_proto::v1::FILE_DESCRIPTOR_SET;
use onefold_proto::v1::account_service_server::AccountServiceServer;
use onefold_proto::v1::admin_service_server::AdminServiceServer;
use onefold_proto::v1::consent_service_server::ConsentServiceServer;
use onefold_proto::v1::ingest_service_server::IngestServiceServer;
use onefold_proto::v1::profile_service_server::ProfileServiceServer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::app::App;
use crate::config;

/// Serves until told to stop, then lets calls in flight end.
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<IngestServiceServer<ingest::Ingest>>().await;
    health.set_serving::<ProfileServiceServer<profile::Profiles>>().await;
    health.set_serving::<ConsentServiceServer<consent::Consents>>().await;
    health.set_serving::<AccountServiceServer<account::Accounts>>().await;
    health.set_serving::<AdminServiceServer<admin::Admin>>().await;

    let ingest = IngestServiceServer::new(ingest::Ingest { app: Arc::clone(&app) })
        .max_decoding_message_size(config::MESSAGE_IN_BYTES_MAX)
        .max_encoding_message_size(config::MESSAGE_OUT_BYTES_MAX);
    let profiles =
        ProfileServiceServer::new(profile::Profiles { app: Arc::clone(&app), cache: profile::ReadyCache::default() })
            .max_decoding_message_size(config::MESSAGE_IN_BYTES_MAX)
            .max_encoding_message_size(config::MESSAGE_OUT_BYTES_MAX);
    let consents = ConsentServiceServer::new(consent::Consents { app: Arc::clone(&app) })
        .max_decoding_message_size(config::MESSAGE_IN_BYTES_MAX)
        .max_encoding_message_size(config::MESSAGE_OUT_BYTES_MAX);
    let accounts = AccountServiceServer::new(account::Accounts { app: Arc::clone(&app) })
        .max_decoding_message_size(config::MESSAGE_IN_BYTES_MAX)
        .max_encoding_message_size(config::MESSAGE_OUT_BYTES_MAX);
    let admin = AdminServiceServer::new(admin::Admin { app: Arc::clone(&app) })
        .max_decoding_message_size(config::MESSAGE_IN_BYTES_MAX)
        .max_encoding_message_size(config::MESSAGE_OUT_BYTES_MAX);

    let stop = app.stop.clone();
    let mut failure = app.shared.failure();
    drop(app);
    let goes_down = async move {
        let mut stopped = stopped;
        let failed = async { failure.wait_for(|failed| *failed).await.is_ok() };
        tokio::select! {
            _ = &mut stopped => {}
            // What balances the load must hear of it before the calls in flight have ended.
            true = failed => {
                not_serving(&health).await;
                let _ = stopped.await;
            }
        }
        // No new calls; long streams end at their next message.
        not_serving(&health).await;
        stop.send_replace(true);
    };
    // The builder's own setting does not reach a listener that is given: an answer's last frame would wait for 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .max_concurrent_streams(Some(config::STREAMS_PER_CONNECTION_MAX))
        .http2_max_header_list_size(Some(config::METADATA_BYTES_MAX))
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_connection_age(config::CONNECTION_AGE_MAX)
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .layer(corrections::Correct)
        .add_service(health_service)
        .add_service(ingest)
        .add_service(profiles)
        .add_service(consents)
        .add_service(accounts)
        .add_service(admin)
        .add_service(reflection().build_v1().expect("the descriptor set was encoded by our own build"))
        .add_service(reflection().build_v1alpha().expect("the descriptor set was encoded by our own build"))
        .serve_with_incoming_shutdown(incoming, goes_down)
        .await
}

/// Says of every service, and of the server as a whole, that it does not serve.
async fn not_serving(health: &HealthReporter) {
    health.set_not_serving::<IngestServiceServer<ingest::Ingest>>().await;
    health.set_not_serving::<ProfileServiceServer<profile::Profiles>>().await;
    health.set_not_serving::<ConsentServiceServer<consent::Consents>>().await;
    health.set_not_serving::<AccountServiceServer<account::Accounts>>().await;
    health.set_not_serving::<AdminServiceServer<admin::Admin>>().await;
    health.set_service_status("", ServingStatus::NotServing).await;
}

/// Reflection that names the mounted services only; the builder otherwise shows all of the descriptor set.
fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("onefold.v1.IngestService")
        .with_service_name("onefold.v1.ProfileService")
        .with_service_name("onefold.v1.ConsentService")
        .with_service_name("onefold.v1.AccountService")
        .with_service_name("onefold.v1.AdminService")
        .with_service_name("grpc.health.v1.Health")
}
