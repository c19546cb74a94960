//! Traces, as a collector sees them: the caller's span, the call, the batch that it became and the data sync of that, each a
//! part of the one before; nothing of a person; and no harm where the collector is away.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_server::config::Collector;
use onefold_server::{Config, Server, StartError};
use onefold_tests::child::Launch;
use onefold_tests::{Clients, House, identifier, person, reason};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// What every value of a person here holds.
const CANARY: &str = "zqxwcanary";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// So few calls are traced of their own accord that none is here.
const NEXT_TO_NONE: u64 = 1_000_000_000;

/// Takes spans, and keeps what came as it came.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Receiver {
    async fn listen(&self, address: SocketAddr) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    /// One that listens, and how a server is told of it.
    async fn open(one_in: u64) -> (Self, Collector) {
        let this = Self::default();
        let address = this.listen(loopback()).await;
        (this, Collector { endpoint: format!("http://{address}"), one_in })
    }

    fn spans(&self) -> Vec<Span> {
        let came = self.0.lock().unwrap();
        let scopes = came.iter().flat_map(|request| &request.resource_spans).flat_map(|of| &of.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().iter().flat_map(Message::encode_to_vec).collect()
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A call as part of a trace of its caller's, who also says things that are no business of ours.
fn within<T>(message: T, span: &str, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", format!("00-{TRACE}-{span}-{flags}").parse().unwrap());
    metadata.insert("tracestate", format!("vendor={CANARY}").parse().unwrap());
    metadata.insert("baggage", format!("user={CANARY}").parse().unwrap());
    request
}

fn mail() -> String {
    format!("{CANARY}@harbour-mail.net")
}

fn put(key: &str) -> pb::PutFragmentRequest {
    let texts = [("given_name", CANARY), (CANARY, "unheard of")];
    let fragment = person("crm", &format!("{CANARY}{key}"), 10, &[("email", &mail())], &texts);
    pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() }
}

fn lookup(value: &str) -> pb::LookupProfileRequest {
    let key = pb::lookup_profile_request::Key::Identifier(identifier("email", value));
    pb::LookupProfileRequest { key: Some(key), ..Default::default() }
}

/// The attributes of a span, numbers as text.
fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    span.attributes.iter().map(|KeyValue { key, value, .. }| (key.as_str(), text(value))).collect()
}

fn of_call<'a>(service: &'a str, method: &'a str, code: &'a str) -> BTreeMap<&'static str, String> {
    [("rpc.system", "grpc"), ("rpc.service", service), ("rpc.method", method), ("rpc.grpc.status_code", code)]
        .map(|(key, value)| (key, value.to_owned()))
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_leads_from_the_caller_to_the_disk_and_names_nobody() {
    let (receiver, to) = Receiver::open(NEXT_TO_NONE).await;
    let dir = tempfile::tempdir().unwrap();
    let config = Config { traces: Some(to), ..House::config(&dir.path().join("data")) };
    let mut house = House::open_with(config).await;
    house.sources(&["crm", "shop"]).await;

    house.ingest.put_fragment(within(put("a"), "b7ad6b7169203331", "01")).await.unwrap();
    let stream = |key: &str| {
        let action = put(key).fragment.map(pb::stream_fragments_request::Action::Put);
        tokio_stream::iter([pb::StreamFragmentsRequest { action, client_sequence: 1, ..Default::default() }])
    };
    let answers = house.ingest.stream_fragments(within(stream("b"), "00000000000000b2", "01")).await.unwrap();
    let mut answers = answers.into_inner();
    while answers.message().await.unwrap().is_some() {}
    house.profiles.lookup_profile(within(lookup(&mail()), "00000000000000c3", "01")).await.unwrap();
    let nobody = within(lookup(&format!("{CANARY}nobody@harbour-mail.net")), "00000000000000d4", "01");
    assert_eq!(reason(&house.profiles.lookup_profile(nobody).await.unwrap_err()), "PROFILE_NOT_FOUND");
    // One whose caller does not want it traced, and one whose caller says nothing.
    house.ingest.put_fragment(within(put("e"), "00000000000000e5", "00")).await.unwrap();
    house.ingest.put_fragment(put("f")).await.unwrap();
    // Linking otherwise resolves everything again: this is the server's own work, and traced without a cause.
    let namespaces = house.admin.list_namespaces(pb::ListNamespacesRequest::default()).await.unwrap().into_inner();
    let mut phone = namespaces.namespaces.into_iter().find(|of| of.name == "phone").unwrap();
    phone.diversity_limit += 1;
    let change = pb::PutNamespaceRequest { namespace: Some(phone), ..Default::default() };
    house.admin.put_namespace(change).await.unwrap();
    house.close().await;

    let spans = receiver.spans();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let below = |parent: &Span, name: &str| {
        let found: Vec<_> = named(name).into_iter().filter(|span| span.parent_span_id == parent.span_id).collect();
        assert!(!found.is_empty(), "nothing is called {name} below {}", parent.name);
        assert!(found.iter().all(|span| span.trace_id == parent.trace_id), "{name} is of another trace");
        found[0].clone()
    };
    let ingest = "onefold.v1.IngestService";
    for (method, parent) in [("PutFragment", "b7ad6b7169203331"), ("StreamFragments", "00000000000000b2")] {
        let calls = named(&format!("{ingest}/{method}"));
        assert_eq!(calls.len(), 1, "{method}: only what its caller traces");
        let call = calls[0];
        assert_eq!((hex(&call.trace_id).as_str(), hex(&call.parent_span_id).as_str()), (TRACE, parent));
        assert_eq!(call.kind, SpanKind::Server as i32);
        assert_eq!(attributes(call), of_call(ingest, method, "0"));
        assert!(call.trace_state.is_empty());
        let batch = below(call, "lane.batch");
        assert_eq!(batch.kind, SpanKind::Internal as i32);
        let sync = below(&batch, "journal.sync");
        assert!(attributes(&sync)["onefold.bytes"].parse::<u64>().unwrap() > 0);
        for (part, whole) in [(&batch, call), (&sync, &batch)] {
            assert!(part.start_time_unix_nano >= whole.start_time_unix_nano);
            assert!(part.end_time_unix_nano >= part.start_time_unix_nano);
        }
    }
    let profiles = "onefold.v1.ProfileService";
    let lookups: Vec<_> = named(&format!("{profiles}/LookupProfile")).into_iter().map(attributes).collect();
    let mut refused = of_call(profiles, "LookupProfile", "5");
    refused.insert("onefold.reason", "PROFILE_NOT_FOUND".to_owned());
    assert_eq!(lookups, [of_call(profiles, "LookupProfile", "0"), refused]);
    for own in ["resolve.again", "checkpoint"] {
        let found = named(own);
        assert_eq!(found.len(), 1, "{own}");
        assert!(found[0].parent_span_id.is_empty(), "{own} has no cause that is traced");
    }
    let known = ["lane.batch", "journal.sync", "journal.tidy", "resolve.again", "checkpoint"];
    for span in &spans {
        assert!(span.name.starts_with("onefold.v1.") || known.contains(&span.name.as_str()), "{}", span.name);
    }

    let resource = receiver.0.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap();
    let service = resource.attributes.iter().find(|of| of.key == "service.name").unwrap();
    assert_eq!(service.value.as_ref().unwrap().value, Some(Value::StringValue("onefold".to_owned())));
    let bytes = receiver.bytes().to_ascii_lowercase();
    assert!(bytes.len() > 1_000, "there was something to look through");
    let leaks = [CANARY, "harbour-mail", "given_name"];
    for leak in leaks {
        assert!(!bytes.windows(leak.len()).any(|here| here == leak.as_bytes()), "{leak} was sent to the collector");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_a_trace_begin_one_and_health_does_not() {
    let (receiver, to) = Receiver::open(1).await;
    let dir = tempfile::tempdir().unwrap();
    let config = Config { traces: Some(to), ..House::config(&dir.path().join("data")) };
    let mut house = House::open_with(config).await;
    house.sources(&["crm"]).await;
    let puts = (0..8).map(|key| {
        let mut clients: Clients = house.clients();
        tokio::spawn(async move { clients.ingest.put_fragment(put(&key.to_string())).await.unwrap() })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap();
    }
    let address = format!("http://{}", house.server().address());
    let channel = tonic::transport::Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    house.close().await;

    let spans = receiver.spans();
    let calls: Vec<_> = spans.iter().filter(|span| span.kind == SpanKind::Server as i32).collect();
    assert_eq!(calls.iter().filter(|span| span.name.ends_with("/PutFragment")).count(), 8);
    for call in &calls {
        assert!(call.parent_span_id.is_empty(), "{} has no parent", call.name);
        assert!(call.name.starts_with("onefold.v1."), "{} is no call of ours", call.name);
    }
    // Every write is found in a batch: as its cause, or named beside it.
    let batches: Vec<_> = spans.iter().filter(|span| span.name == "lane.batch").collect();
    for call in calls.iter().filter(|span| span.name.ends_with("/PutFragment")) {
        let is_in = |batch: &&&Span| {
            batch.parent_span_id == call.span_id || batch.links.iter().any(|link| link.span_id == call.span_id)
        };
        assert!(batches.iter().any(|batch| is_in(&batch)), "a write is in no batch");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_is_told_once_and_hinders_nothing() {
    // Nobody listens here until somebody does.
    let holds = std::net::TcpListener::bind(loopback()).unwrap();
    let address = holds.local_addr().unwrap();
    drop(holds);
    let dir = tempfile::tempdir().unwrap();
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_onefold-test-server"), &dir.path().join("data"));
    launch.environment.push(("ONEFOLD_TEST_LOG".into(), "info".into()));
    launch.environment.push(("ONEFOLD_TEST_TRACES_TO".into(), format!("http://{address}").into()));
    launch.environment.push(("OTEL_BSP_SCHEDULE_DELAY".into(), "20".into()));
    let (mut child, mut clients) = launch.start().await;
    clients.sources(&["crm"]).await;
    for key in 0..40 {
        clients.ingest.put_fragment(put(&key.to_string())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let receiver = Receiver::default();
    receiver.listen(address).await;
    let mut tries = 0;
    while receiver.spans().is_empty() {
        tries += 1;
        assert!(tries < 2_000, "a collector that comes back gets spans");
        clients.lookup("email", &mail()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(clients);
    child.terminate();
    let (status, said) = child.end();
    assert!(status.success(), "{status}: {said}");
    let times = |words: &str| said.lines().filter(|line| line.contains(words)).count();
    assert_eq!(times("the collector does not take traces"), 1, "{said}");
    assert_eq!(times("the collector takes traces again"), 1, "{said}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let traces = Some(Collector { endpoint: "collector:4317".to_owned(), one_in: 1 });
    let refused = Server::start(Config { traces, ..House::config(dir.path()) }).await.unwrap_err();
    assert!(matches!(refused, StartError::Traces(_)), "{refused}");
    assert!(refused.to_string().contains("http://HOST:PORT"), "{refused}");
}
