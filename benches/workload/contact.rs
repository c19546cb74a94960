//! Contact decisions: a server that answers without deciding, and callers in a closed loop.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use onefold_proto::v1 as pb;
use onefold_proto::v1::consent_service_client::ConsentServiceClient;
use onefold_proto::v1::consent_service_server::{ConsentService, ConsentServiceServer};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::load::{Calls, Failure, computed, connect, now};

/// Allows everything, and does nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdleConsents;

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this server does nothing"))
}

fn allowed() -> Option<pb::ContactVerdict> {
    Some(pb::ContactVerdict {
        allowed: true,
        reasons: vec![pb::ContactReason {
            reason: "GRANTED".to_owned(),
            message: "the person said yes".to_owned(),
            decided_by: vec!["c_1234_0123456789abcdef0123456789abcdef".to_owned()],
            cap: String::new(),
        }],
        profile: "tenants/default/profiles/p_00000000000000000000".to_owned(),
        ..Default::default()
    })
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

macro_rules! not_here {
    ($($name:ident: $request:ident => $response:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl ConsentService for IdleConsents {
            type StreamConsentsStream = Boxed<pb::StreamConsentsResponse>;
            type DecideContactsStream = Boxed<pb::DecideContactsResponse>;

            async fn decide_contact(
                &self,
                _: Request<pb::DecideContactRequest>,
            ) -> Result<Response<pb::DecideContactResponse>, Status> {
                Ok(Response::new(pb::DecideContactResponse { verdict: allowed() }))
            }

            async fn decide_contacts(
                &self,
                request: Request<Streaming<pb::DecideContactsRequest>>,
            ) -> Result<Response<Self::DecideContactsStream>, Status> {
                let answers = request.into_inner().map(|message| {
                    let client_sequence = message?.client_sequence;
                    Ok(pb::DecideContactsResponse { client_sequence, verdict: allowed() })
                });
                Ok(Response::new(Box::pin(answers)))
            }

            async fn stream_consents(
                &self,
                request: Request<Streaming<pb::StreamConsentsRequest>>,
            ) -> Result<Response<Self::StreamConsentsStream>, Status> {
                let answers = request.into_inner().map(|message| {
                    let client_sequence = message?.client_sequence;
                    Ok(pb::StreamConsentsResponse { client_sequence, result: Some(pb::ConsentResult::default()) })
                });
                Ok(Response::new(Box::pin(answers)))
            }

            $(async fn $name(&self, _: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                not_here()
            })*
        }
    };
}

not_here! {
    record_consent: RecordConsentRequest => RecordConsentResponse,
    get_consent_state: GetConsentStateRequest => GetConsentStateResponse,
    list_statements: ListStatementsRequest => ListStatementsResponse,
    confirm_consent: ConfirmConsentRequest => ConfirmConsentResponse,
    issue_unsubscribe_token: IssueUnsubscribeTokenRequest => IssueUnsubscribeTokenResponse,
    unsubscribe: UnsubscribeRequest => UnsubscribeResponse,
    get_consent_receipt: GetConsentReceiptRequest => GetConsentReceiptResponse,
    confirm_reservation: ConfirmReservationRequest => ConfirmReservationResponse,
    release_reservation: ReleaseReservationRequest => ReleaseReservationResponse,
    get_consent_policy: GetConsentPolicyRequest => GetConsentPolicyResponse,
    update_consent_policy: UpdateConsentPolicyRequest => UpdateConsentPolicyResponse,
}

/// Serves it on a free port, with the windows of the real server, until the runtime ends.
///
/// # Errors
/// When no port can be had.
pub async fn serve_idle() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .add_service(ConsentServiceServer::new(IdleConsents));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))));
    Ok(address)
}

fn question(identifier: &pb::Identifier, reserve: bool) -> pb::DecideContactRequest {
    let subject = pb::consent_subject::Subject::Identifier(identifier.clone());
    pb::DecideContactRequest {
        subject: Some(pb::ConsentSubject { subject: Some(subject) }),
        purpose: "marketing".to_owned(),
        channel: "email".to_owned(),
        reserve,
        ..Default::default()
    }
}

/// Asks for one decision after the other on so many connections with so many callers each.
///
/// # Errors
/// When a call fails.
pub async fn decisions(
    address: SocketAddr,
    keys: Arc<Vec<pb::Identifier>>,
    (connections, callers): (usize, usize),
    calls: usize,
    reserve: bool,
) -> Result<Calls, Failure> {
    let mut channels = Vec::new();
    for _ in 0..connections {
        channels.push(connect(address).await?);
    }
    let (start, before) = (now(), computed());
    let mut tasks = Vec::new();
    for caller in 0..connections * callers {
        let (channel, keys) = (channels[caller % connections].clone(), Arc::clone(&keys));
        let mine = calls / (connections * callers);
        tasks.push(tokio::spawn(async move {
            let mut client = ConsentServiceClient::new(channel);
            let mut latencies = Histogram::<u64>::new(3)?;
            let mut allowed = 0_usize;
            for call in 0..mine {
                let request = question(&keys[(caller * 7_919 + call * 104_729) % keys.len()], reserve);
                let sent = now();
                let verdict = client.decide_contact(request).await?.into_inner().verdict.unwrap_or_default();
                allowed += usize::from(verdict.allowed);
                latencies.record(sent.elapsed().as_nanos() as u64)?;
            }
            Ok::<_, Failure>((latencies, allowed))
        }));
    }
    let mut latencies = Histogram::<u64>::new(3)?;
    let mut hits = 0;
    for task in tasks {
        let (mine, allowed) = task.await??;
        latencies.add(mine)?;
        hits += allowed;
    }
    Ok(Calls { took: start.elapsed(), computed: computed().saturating_sub(before), latencies, hits })
}

/// One stream of decisions, as a campaign asks for them; the time, and how many were allowed.
///
/// # Errors
/// When the stream fails.
pub async fn campaign(
    address: SocketAddr,
    keys: Arc<Vec<pb::Identifier>>,
    calls: usize,
    reserve: bool,
) -> Result<(Duration, u64), Failure> {
    let mut client = ConsentServiceClient::new(connect(address).await?);
    let start = now();
    let requests = (0..calls).map(move |at| pb::DecideContactsRequest {
        client_sequence: at as u64,
        decide: Some(question(&keys[at % keys.len()], reserve)),
    });
    let mut answers = client.decide_contacts(tokio_stream::iter(requests)).await?.into_inner();
    let mut allowed = 0;
    while let Some(answer) = answers.next().await {
        allowed += u64::from(answer?.verdict.unwrap_or_default().allowed);
    }
    Ok((start.elapsed(), allowed))
}

/// Streams one yes for each identifier; the time.
///
/// # Errors
/// When the stream fails, or a statement is refused.
pub async fn grant(address: SocketAddr, keys: Arc<Vec<pb::Identifier>>, given: i64) -> Result<Duration, Failure> {
    let mut client = ConsentServiceClient::new(connect(address).await?);
    let start = now();
    let requests = (0..keys.len()).map(move |at| pb::StreamConsentsRequest {
        client_sequence: at as u64,
        subject: question(&keys[at], false).subject,
        saying: Some(pb::ConsentSaying {
            purpose: "marketing".to_owned(),
            channel: "email".to_owned(),
            decision: pb::ConsentDecision::Granted as i32,
            jurisdiction: "DE".to_owned(),
            notice_version: "newsletter 2026-03".to_owned(),
            collection_method: "web form".to_owned(),
            given_time: Some(prost_types::Timestamp { seconds: given, nanos: 0 }),
            ..Default::default()
        }),
        ..Default::default()
    });
    let mut answers = client.stream_consents(tokio_stream::iter(requests)).await?.into_inner();
    while let Some(answer) = answers.next().await {
        let result = answer?.result.unwrap_or_default();
        if let Some(fault) = result.faults.first() {
            return Err(format!("{}: {}", fault.field, fault.message).into());
        }
    }
    Ok(start.elapsed())
}
