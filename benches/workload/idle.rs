//! Servers that answer without doing anything: the ceiling that gRPC itself sets on this machine.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use onefold_proto::Encoded;
use onefold_proto::v1 as pb;
use onefold_proto::v1::ingest_service_server::{IngestService, IngestServiceServer};
use onefold_proto::v1::profile_service_server::{ProfileService, ProfileServiceServer};
use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// Acknowledges, and does nothing else.
#[derive(Clone, Debug, Default)]
pub struct IdleIngest;

/// Answers every lookup with one of these, from memory.
#[derive(Clone, Debug)]
pub struct IdleProfiles(Arc<Vec<Encoded<pb::LookupProfileResponse>>>);

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this server does nothing"))
}

fn accepted() -> pb::IngestResult {
    pb::IngestResult {
        status: pb::IngestStatus::Accepted as i32,
        sequence: 1_000_000,
        profile: "tenants/default/profiles/p_00000000000000000000".to_owned(),
        ..Default::default()
    }
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl IngestService for IdleIngest {
    type StreamFragmentsStream = Boxed<pb::StreamFragmentsResponse>;

    async fn stream_fragments(
        &self,
        request: Request<Streaming<pb::StreamFragmentsRequest>>,
    ) -> Result<Response<Self::StreamFragmentsStream>, Status> {
        let answers = request.into_inner().map(|message| {
            let client_sequence = message?.client_sequence;
            Ok(pb::StreamFragmentsResponse { client_sequence, result: Some(accepted()) })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn put_fragment(
        &self,
        _: Request<pb::PutFragmentRequest>,
    ) -> Result<Response<pb::PutFragmentResponse>, Status> {
        Ok(Response::new(pb::PutFragmentResponse { result: Some(accepted()) }))
    }

    async fn retract_record(
        &self,
        _: Request<pb::RetractRecordRequest>,
    ) -> Result<Response<pb::RetractRecordResponse>, Status> {
        not_here()
    }

    async fn list_quarantine(
        &self,
        _: Request<pb::ListQuarantineRequest>,
    ) -> Result<Response<pb::ListQuarantineResponse>, Status> {
        not_here()
    }

    async fn replay_quarantine(
        &self,
        _: Request<pb::ReplayQuarantineRequest>,
    ) -> Result<Response<pb::ReplayQuarantineResponse>, Status> {
        not_here()
    }

    async fn discard_quarantine(
        &self,
        _: Request<pb::DiscardQuarantineRequest>,
    ) -> Result<Response<pb::DiscardQuarantineResponse>, Status> {
        not_here()
    }
}

#[tonic::async_trait]
impl ProfileService for IdleProfiles {
    type WatchProfilesStream = Boxed<pb::WatchProfilesResponse>;

    async fn get_profile(
        &self,
        _: Request<pb::GetProfileRequest>,
    ) -> Result<Response<Encoded<pb::GetProfileResponse>>, Status> {
        not_here()
    }

    async fn lookup_profile(
        &self,
        request: Request<pb::LookupProfileRequest>,
    ) -> Result<Response<Encoded<pb::LookupProfileResponse>>, Status> {
        // Some profile of those that the real server would answer with, so that sizes are alike.
        let at = match request.into_inner().key {
            Some(pb::lookup_profile_request::Key::Identifier(identifier)) => identifier.value.len() * 31,
            _ => 0,
        };
        Ok(Response::new(self.0[at % self.0.len()].clone()))
    }

    async fn batch_lookup_profiles(
        &self,
        _: Request<pb::BatchLookupProfilesRequest>,
    ) -> Result<Response<Encoded<pb::BatchLookupProfilesResponse>>, Status> {
        not_here()
    }

    async fn search_profiles(
        &self,
        _: Request<pb::SearchProfilesRequest>,
    ) -> Result<Response<pb::SearchProfilesResponse>, Status> {
        not_here()
    }

    async fn explain_link(
        &self,
        _: Request<pb::ExplainLinkRequest>,
    ) -> Result<Response<pb::ExplainLinkResponse>, Status> {
        not_here()
    }

    async fn explain_profile(
        &self,
        _: Request<pb::ExplainProfileRequest>,
    ) -> Result<Response<pb::ExplainProfileResponse>, Status> {
        not_here()
    }

    async fn list_profile_history(
        &self,
        _: Request<pb::ListProfileHistoryRequest>,
    ) -> Result<Response<pb::ListProfileHistoryResponse>, Status> {
        not_here()
    }

    async fn watch_profiles(
        &self,
        _: Request<pb::WatchProfilesRequest>,
    ) -> Result<Response<Self::WatchProfilesStream>, Status> {
        not_here()
    }
}

/// How a lookup is answered that costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// From messages, which are encoded for each answer: what a plain service does.
    Messages,
    /// From bytes, encoded once: the least that an answer can cost.
    Bytes,
}

/// Serves both on a free port, with the windows and limits of the real server, until the runtime ends. Lookups answer
/// with these profiles.
///
/// # Errors
/// When no port can be had.
pub async fn serve(profiles: Vec<pb::Profile>, from: From) -> std::io::Result<SocketAddr> {
    let answer = |profile| {
        let message = pb::LookupProfileResponse { profile: Some(profile), withheld: Vec::new() };
        match from {
            From::Messages => Encoded::Message(message),
            From::Bytes => Encoded::Bytes(message.encode_to_vec().into()),
        }
    };
    let profiles: Vec<_> = profiles.into_iter().map(answer).collect();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .add_service(IngestServiceServer::new(IdleIngest))
        .add_service(ProfileServiceServer::new(IdleProfiles(Arc::new(profiles))));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))));
    Ok(address)
}
