//! Traces: what a call and the work behind it took, told to a collector by OTLP over gRPC. Off unless a collector is named.
//!
//! Spans name RPCs, codes, reasons and steps, as metrics do, and nothing that a caller wrote: of what a call brings only
//! the ids and the flag of `traceparent` are read (`tracestate` is the caller's text, and is not). They leave through a
//! bounded queue that another thread empties. Nobody waits for it, and what does not fit is dropped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, Uri};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt, TraceId, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, ContextGuard, Key, KeyValue};
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::{
    EnvResourceDetector, ResourceDetector, SdkProvidedResourceDetector, TelemetryResourceDetector,
};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, SamplingResult, SdkTracer, SdkTracerProvider,
    ShouldSample, Span, SpanData, SpanExporter,
};
use tonic::transport::{ClientTlsConfig, Endpoint};

use crate::config::Collector;

/// How long connecting to the collector may take.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const EXPORT_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long the end of the server waits for what is still queued.
const END_WAIT_MAX: Duration = Duration::from_secs(2);
/// Spans that may wait for the collector; more are dropped.
const QUEUED_MAX: usize = 4_096;
/// Other work that one span names beside the one that it is a part of.
const LINKS_MAX: u32 = 32;

const SERVICE_NAME: &str = "service.name";

/// Codes by which a server's span is an error: the fault is not the caller's.
/// Source: OpenTelemetry, semantic conventions for gRPC.
const FAULTS_OF_THE_SERVER: [usize; 6] = [2, 4, 12, 13, 14, 15];

/// Whether spans can be sent there.
///
/// # Errors
/// What to write instead. It does not repeat what was written: an address may hold a password.
pub fn check(to: &Collector) -> Result<(), String> {
    let is_right = to.endpoint.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_right {
        Ok(())
    } else {
        Err("must be http://HOST:PORT or https://HOST:PORT, where OTLP over gRPC is taken".to_owned())
    }
}

/// Makes spans and sends them.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    parents: TraceContextPropagator,
}

impl Traces {
    /// Begins. The collector is connected to when there is something to send; until it answers spans are dropped. Wants a
    /// runtime around it.
    ///
    /// # Errors
    /// What of the address or of this machine's certificates cannot be used.
    pub fn start(to: &Collector) -> Result<Self, String> {
        check(to)?;
        let told = |error: &dyn std::error::Error| format!("the collector cannot be used: {error}");
        let mut endpoint = Endpoint::from_shared(to.endpoint.clone()).map_err(|error| told(&error))?;
        if endpoint.uri().scheme_str() == Some("https") {
            let tls = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(tls).map_err(|error| told(&error))?;
        }
        let channel = endpoint.connect_timeout(CONNECT_WAIT_MAX).timeout(EXPORT_WAIT_MAX).connect_lazy();
        let exporter = Otlp::builder().with_tonic().with_channel(channel).with_timeout(EXPORT_WAIT_MAX).build();
        let exporter = Told { inner: exporter.map_err(|error| told(&error))?, down: AtomicBool::new(false) };
        let queue = BatchConfigBuilder::default().with_max_queue_size(QUEUED_MAX).build();
        let calls = Sampler::TraceIdRatioBased(1.0 / to.one_in.max(1) as f64);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(queue).build())
            .with_sampler(Sampling { calls })
            .with_max_links_per_span(LINKS_MAX)
            .with_resource(resource())
            .build();
        let tracer = provider.tracer("onefold");
        Ok(Self { provider, tracer, parents: TraceContextPropagator::new() })
    }

    /// A call begins; none where it is not traced.
    pub fn call(&self, headers: &HeaderMap, service: &str, method: &str) -> Option<Box<CallSpan>> {
        let parent = self.parents.extract_with_context(&Context::new(), &Traceparent(headers));
        let attributes = [
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service.to_owned()),
            KeyValue::new("rpc.method", method.to_owned()),
        ];
        let begun = self.tracer.span_builder(format!("{service}/{method}")).with_kind(SpanKind::Server);
        let span = self.tracer.build_with_context(begun.with_attributes(attributes), &parent);
        span.is_recording().then(|| Box::new(CallSpan(Context::new().with_span(span))))
    }

    /// Work begins, because of something that is traced or of its own accord.
    pub fn work(&self, name: &'static str, cause: Option<&Cause>) -> Work {
        let parent = cause.map_or_else(Context::new, |cause| Context::new().with_remote_span_context(cause.0.clone()));
        Work(self.tracer.build_with_context(self.tracer.span_builder(name).with_kind(SpanKind::Internal), &parent))
    }

    /// Sends what is still queued, if the collector takes it in time. Waits.
    pub fn end(&self) {
        // A collector that is down was told of when it was found to be.
        let _ = self.provider.shutdown_with_timeout(END_WAIT_MAX);
    }
}

/// Who sends: what the variables OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, and otherwise `onefold`.
fn resource() -> Resource {
    let detectors: [Box<dyn ResourceDetector>; 2] =
        [Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())];
    let ours = Resource::builder_empty()
        .with_service_name("onefold")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detectors(&detectors);
    let named = SdkProvidedResourceDetector.detect().get(&Key::from_static_str(SERVICE_NAME));
    match named.filter(|name| !name.as_str().starts_with("unknown_service")) {
        Some(name) => ours.with_service_name(name).build(),
        None => ours.build(),
    }
}

/// What of a call's headers is read.
struct Traceparent<'a>(&'a HeaderMap);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then(|| self.0.get(key)?.to_str().ok()).flatten()
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// What is traced: what its cause is traced for, a share of the calls without one, and all work of the server's own accord,
/// which is rare.
#[derive(Clone, Debug)]
struct Sampling {
    calls: Sampler,
}

impl ShouldSample for Sampling {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let caused = parent.map(|parent| parent.span().span_context().clone()).filter(SpanContext::is_valid);
        let traced = match (caused, kind) {
            (Some(cause), _) => cause.is_sampled(),
            (None, SpanKind::Server) => return self.calls.should_sample(None, trace, name, kind, attributes, links),
            (None, _) => true,
        };
        let decision = if traced { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
        SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::default() }
    }
}

/// What traced work is done for.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause(SpanContext);

/// What is done here is done for this, where that is traced.
pub fn cause() -> Option<Cause> {
    Context::map_current(|here| {
        let span = here.span();
        span.span_context().is_sampled().then(|| Cause(span.span_context().clone()))
    })
}

/// Work that goes on behind a call, as a part of it.
pub fn carried<F: Future + Send>(work: F) -> impl Future<Output = F::Output> + Send {
    use opentelemetry::context::FutureExt;
    let here = cause().map(|_| Context::current());
    async move {
        match here {
            Some(here) => work.with_context(here).await,
            None => work.await,
        }
    }
}

/// A traced call; it ends with [`CallSpan::end`].
#[derive(Debug)]
pub struct CallSpan(Context);

impl CallSpan {
    /// Until what is given back is dropped, what is done on this thread is a part of the call.
    pub fn enter(&self) -> ContextGuard {
        self.0.clone().attach()
    }

    /// It was refused for this reason.
    pub fn refused(&self, reason: &str) {
        self.0.span().set_attribute(KeyValue::new("onefold.reason", reason.to_owned()));
    }

    /// It ended with this code.
    pub fn end(&self, code: usize) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", code as i64));
        if FAULTS_OF_THE_SERVER.contains(&code) {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// Work under way; it ends when it is dropped.
#[derive(Debug)]
pub struct Work(Span);

impl Work {
    /// To name it to what is done because of it; none where it is not traced.
    pub fn cause(&self) -> Option<Cause> {
        self.0.span_context().is_sampled().then(|| Cause(self.0.span_context().clone()))
    }

    /// It is done for this too.
    pub fn also(&mut self, cause: Cause) {
        self.0.add_link(cause.0, Vec::new());
    }

    /// How much of something it was.
    pub fn counts(&mut self, what: &'static str, number: u64) {
        self.0.set_attribute(KeyValue::new(what, i64::try_from(number).unwrap_or(i64::MAX)));
    }
}

/// Tells once when the collector does not take spans, and once when it does again.
#[derive(Debug)]
struct Told<E> {
    inner: E,
    down: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.inner.export(batch).await;
        match &sent {
            Ok(()) if self.down.swap(false, Ordering::Relaxed) => tracing::info!("the collector takes traces again"),
            Err(error) if !self.down.swap(true, Ordering::Relaxed) => {
                tracing::warn!(error = %error, "the collector does not take traces; they are dropped until it does");
            }
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_spans_go_is_an_address() {
        let good = ["http://127.0.0.1:4317", "https://otel.example.org", "http://collector:4317/"];
        let bad = ["", "127.0.0.1:4317", "collector", "ftp://collector:4317", "http://", "grpc://collector:4317"];
        for (endpoints, right) in [(&good[..], true), (&bad[..], false)] {
            for endpoint in endpoints {
                let to = Collector { endpoint: (*endpoint).to_owned(), one_in: 1 };
                assert_eq!(check(&to).is_ok(), right, "{endpoint}");
            }
        }
    }

    #[test]
    fn a_caller_decides_and_otherwise_a_share_and_the_servers_own_work_always() {
        let remote = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", text.parse().unwrap());
            headers.insert("tracestate", "vendor=ada".parse().unwrap());
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Traceparent(&headers))
        };
        const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
        let table = [
            (format!("00-{TRACE}-b7ad6b7169203331-01"), SpanKind::Server, true),
            (format!("00-{TRACE}-b7ad6b7169203331-00"), SpanKind::Server, false),
            (format!("00-{TRACE}-b7ad6b7169203331-00"), SpanKind::Internal, false),
            // What is no parent is none.
            (format!("00-{TRACE}-0000000000000000-01"), SpanKind::Server, false),
            ("ada@example.org".to_owned(), SpanKind::Server, false),
            (String::new(), SpanKind::Internal, true),
        ];
        // A share of nothing, so that only a caller's word counts.
        let sampling = Sampling { calls: Sampler::TraceIdRatioBased(0.0) };
        for (text, kind, traced) in table {
            let parent = remote(&text);
            assert_eq!(parent.span().span_context().trace_state(), &TraceState::default(), "{text}");
            let got = sampling.should_sample(Some(&parent), TraceId::from(1), "x", &kind, &[], &[]).decision;
            assert_eq!(got == SamplingDecision::RecordAndSample, traced, "{text} {kind:?}");
        }
    }
}
