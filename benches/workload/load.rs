//! Load: streams of fragments as fast as answers come, lookups in a closed loop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_proto::v1::ingest_service_client::IngestServiceClient;
use onefold_proto::v1::privacy_service_client::PrivacyServiceClient;
use onefold_proto::v1::profile_service_client::ProfileServiceClient;
use onefold_server::Config;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::transport::Channel;

/// Anything that went wrong; benches only show it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A stopwatch.
#[expect(clippy::disallowed_methods, reason = "benches measure")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// How a server under load is started: on loopback, and linking by identifiers alone unless `BENCH_MATCH` is set.
#[must_use]
pub fn config(data: &Path) -> Config {
    let mut config = Config::new(data, SocketAddr::from(([127, 0, 0, 1], 0)));
    config.match_models = std::env::var_os("BENCH_MATCH").is_some();
    config
}

pub(crate) async fn connect(address: SocketAddr) -> Result<Channel, Failure> {
    let endpoint = Channel::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .tcp_nodelay(true);
    Ok(endpoint.connect().await?)
}

/// Creates the workload's sources.
///
/// # Errors
/// When the server refuses one.
pub async fn sources(address: SocketAddr) -> Result<(), Failure> {
    let mut admin = AdminServiceClient::new(connect(address).await?);
    for (rank, name) in super::SOURCES.iter().enumerate() {
        let source = pb::Source { name: (*name).to_owned(), trust: 900 - 100 * rank as u32, ..Default::default() };
        admin.put_source(pb::PutSourceRequest { source: Some(source), ..Default::default() }).await?;
    }
    Ok(())
}

/// Streams all fragments over so many connections, waiting for every answer; gives the time it took and how many were
/// accepted.
///
/// # Errors
/// When a stream fails.
pub async fn ingest(
    address: SocketAddr,
    fragments: Arc<Vec<pb::Fragment>>,
    connections: usize,
) -> Result<(Duration, u64), Failure> {
    ingest_until(address, fragments, connections, None).await
}

/// The same, and no more is sent after this moment.
///
/// # Errors
/// When a stream fails.
pub async fn ingest_until(
    address: SocketAddr,
    fragments: Arc<Vec<pb::Fragment>>,
    connections: usize,
    until: Option<Instant>,
) -> Result<(Duration, u64), Failure> {
    let channels = {
        let mut channels = Vec::new();
        for _ in 0..connections {
            channels.push(connect(address).await?);
        }
        channels
    };
    let start = now();
    let mut tasks = Vec::new();
    for (lane, channel) in channels.into_iter().enumerate() {
        let fragments = Arc::clone(&fragments);
        tasks.push(tokio::spawn(async move {
            let mut client = IngestServiceClient::new(channel);
            let count = fragments.len();
            let mine = (lane..count).step_by(connections).take_while(move |_| until.is_none_or(|until| now() < until));
            let outbound = tokio_stream::iter(mine.map(move |at| pb::StreamFragmentsRequest {
                parent: String::new(),
                client_sequence: at as u64,
                action: Some(pb::stream_fragments_request::Action::Put(fragments[at].clone())),
            }));
            let mut answers = client.stream_fragments(outbound).await?.into_inner();
            let mut accepted = 0;
            while let Some(answer) = answers.next().await {
                let result = answer?.result.unwrap_or_default();
                accepted += u64::from(result.status() == pb::IngestStatus::Accepted);
            }
            Ok::<u64, Failure>(accepted)
        }));
    }
    let mut accepted = 0;
    for task in tasks {
        accepted += task.await??;
    }
    Ok((start.elapsed(), accepted))
}

/// What came of calls one after the other.
pub struct Calls {
    /// How long they took.
    pub took: Duration,
    /// How long this process computed meanwhile, callers and servers together: what the rest of the machine does shows in
    /// it less than in `took`.
    pub computed: Duration,
    /// In nanoseconds.
    pub latencies: Histogram<u64>,
    /// How many found somebody, or were allowed.
    pub hits: usize,
}

/// How long this process has computed so far, in steps of 10 ms; zero where the system does not tell.
#[must_use]
pub fn computed() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold spaces: fields 14 and 15 are user and system time in ticks of 1/100 s.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    Duration::from_millis(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

/// Looks keys up one after the other on so many connections with so many callers each, in a closed loop.
///
/// # Errors
/// When a call fails otherwise than by finding nobody.
pub async fn lookups(
    address: SocketAddr,
    keys: Arc<Vec<pb::Identifier>>,
    connections: usize,
    callers: usize,
    calls: usize,
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
            let mut client = ProfileServiceClient::new(channel);
            let mut latencies = Histogram::<u64>::new(3)?;
            let mut found = 0;
            for call in 0..mine {
                // A step that is prime goes round all keys, far from the one before, and comes by each of them as often.
                let place = (caller + call * connections * callers) * 104_729;
                let identifier = keys[place % keys.len()].clone();
                let request = pb::LookupProfileRequest {
                    key: Some(pb::lookup_profile_request::Key::Identifier(identifier)),
                    ..Default::default()
                };
                let sent = now();
                match client.lookup_profile(request).await {
                    Ok(_) => found += 1,
                    Err(status) if status.code() == tonic::Code::NotFound => {}
                    Err(status) if status.code() == tonic::Code::FailedPrecondition => {}
                    Err(status) => return Err(Failure::from(status)),
                }
                latencies.record(sent.elapsed().as_nanos() as u64)?;
            }
            Ok::<_, Failure>((latencies, found))
        }));
    }
    let mut latencies = Histogram::<u64>::new(3)?;
    let mut found = 0;
    for task in tasks {
        let (mine, mine_found) = task.await??;
        latencies.add(mine)?;
        found += mine_found;
    }
    Ok(Calls { took: start.elapsed(), computed: computed().saturating_sub(before), latencies, hits: found })
}

impl Calls {
    /// Calls a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// Microseconds computed for a call, by callers and servers together.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.computed.as_secs_f64() * 1e6 / self.latencies.len() as f64
    }

    /// Microseconds that 99 of 100 calls do not exceed.
    #[must_use]
    pub fn p99(&self) -> f64 {
        self.latencies.value_at_quantile(0.99) as f64 / 1e3
    }
}

/// Asks for the erasure of whoever holds this identifier, and verifies it; answers with the request's name.
///
/// # Errors
/// What the server refuses it with.
pub async fn erasure_of(
    privacy: &mut PrivacyServiceClient<Channel>,
    identifier: pb::Identifier,
) -> Result<String, Status> {
    let subject = pb::ConsentSubject { subject: Some(pb::consent_subject::Subject::Identifier(identifier)) };
    let kind = pb::PrivacyRequestKind::Erasure as i32;
    let request = pb::CreatePrivacyRequestRequest { kind, subjects: vec![subject], ..Default::default() };
    let name = privacy.create_privacy_request(request).await?.into_inner().request.unwrap_or_default().name;
    let request = pb::VerifyPrivacyRequestRequest {
        name: name.clone(),
        method: "email-link".to_owned(),
        by: "dpo".to_owned(),
        ..Default::default()
    };
    privacy.verify_privacy_request(request).await?;
    Ok(name)
}

/// The value behind `--name` on the command line, or a default.
#[must_use]
pub fn argument(name: &str, default: usize) -> usize {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == name);
    at.and_then(|at| arguments.get(at + 1)).and_then(|text| text.parse().ok()).unwrap_or(default)
}
