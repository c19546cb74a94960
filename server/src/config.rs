//! What the server is told at start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::opendsr::OpenDsr;
use crate::tokens::Issuer;

use crate::StartError;
use crate::grpc::Origins;

/// Largest message taken from a client.
pub const MESSAGE_IN_BYTES_MAX: usize = 4 << 20;
/// Largest message given to a client.
pub const MESSAGE_OUT_BYTES_MAX: usize = 16 << 20;
/// Streams that one connection may have open at once.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 100;
/// After this, when nothing else is said, a connection takes no new calls, and its client opens another; what is under way
/// on it ends in peace. There is no grace after which it is cut: given one, tonic 0.14 does not tell the client at all before it cuts.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// Bytes of metadata that one request may bring.
pub const METADATA_BYTES_MAX: u32 = 8 << 10;
/// Calls that one connection may have waiting for the head of their answer; more are refused at once. Above the streams of
/// a connection, since a stream that its client took back is counted until its call has ended.
pub const CALLS_PER_CONNECTION_MAX: usize = 2 * STREAMS_PER_CONNECTION_MAX as usize;
/// Calls that wait for the head of their answer at once, over all connections; more are refused at once and told when to
/// come again. It bounds what waiting calls hold in memory.
pub const CALLS_MAX: usize = 4_096;
/// Unary reads that are always under way at once: as many as keep the threads busy while answers are on their way.
pub const READS_ALWAYS: usize = 64;
/// More are taken while the last of them waits no longer than this.
pub const READ_WAIT_MAX: Duration = Duration::from_millis(5);
/// Reads that are worked on at once, for each thread: the others wait their turn, so that who is refused need not.
pub const TURNS_PER_THREAD: usize = 8;
/// Unary writes that may be under way at once: two groups of the commit lane, one that is written and one that gathers. More
/// would wait and make none faster.
pub const WRITES_ALWAYS: usize = 128;
/// Calls beyond these that are taken when they come at once ...
pub const BURST_CALLS_MAX: u64 = 256;
/// ... and how long it takes until one more is.
pub const BURST_REFILL: Duration = Duration::from_millis(20);
/// Of the message of a call that is refused, so much is read before it is answered ...
pub const REFUSED_BYTES_MAX: usize = 64 << 10;
/// ... and it is waited for so long.
pub const REFUSED_WAIT_MAX: Duration = Duration::from_secs(1);
/// Connections at once, when nothing else is said; further ones are closed as they come. Below the 1,024 descriptors that a
/// process usually may have.
pub const CONNECTIONS_MAX: usize = 900;
/// Streams that a client reset before they were taken up; more end the connection (rapid reset).
pub const PENDING_RESETS_MAX: usize = 20;
/// Streams that were reset because the client broke the protocol; more end the connection.
pub const ERROR_RESETS_MAX: usize = 64;
/// A quiet connection is asked this often whether it is still there.
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
/// How long it has to answer.
pub const KEEPALIVE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Bytes in flight of one stream's requests. Few enough that a stream of small messages waits here for a busy server: HTTP/2
/// closes the whole connection on which frames of under 256 bytes wait that fall short of that by half its window together.
pub const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// Bytes in flight of one connection's requests.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// How long a call may take; a stream may take so long to begin. Long enough for a write to wait while a configuration is
/// changed or a checkpoint written.
pub const CALL_TIME_MAX: Duration = Duration::from_secs(60);
/// How long [`LONG_CALLS`] may take.
pub const LONG_CALL_TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// Calls that go over everything a tenant has.
pub const LONG_CALLS: &[&str] =
    &["GetDigest", "ImportHierarchy", "PreviewModel", "PutNamespace", "SetModel", "TrainModel", "UpdateTenant"];
/// Streams whose answers are too small to be worth compressing, unless their caller compresses too.
pub const STREAMS_OF_SMALL_MESSAGES: &[&str] =
    &["DecideContacts", "StreamConsents", "StreamFragments", "WatchProfiles"];
/// A connection on which no call is under way for so long is closed.
pub const IDLE_WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// How long a stream of health or reflection may be open: those answer whoever is there.
pub const SIDE_STREAM_AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// A connection on which nobody was let in for so long after it was opened is closed.
pub const FIRST_CALL_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a client may take to agree on encryption.
pub const TLS_HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(10);
/// A client's stream on which no further message comes for so long ends; what was answered stands. Time in which the
/// server does not read does not count.
pub const MESSAGE_WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// How long calls in flight may take to end when the server goes down, when nothing else is said.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Smallest journal segment that holds every batch there may be; see the lane.
pub const SEGMENT_BYTES_MIN: u32 = 2 << 20;
/// Journal entries between two checkpoints, when nothing else is said.
pub const CHECKPOINT_EVERY_DEFAULT: u64 = 1_000_000;

/// Files of PEM blocks that encryption needs.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority whose certificates clients must have; none: any client may connect.
    pub client_authority: Option<PathBuf>,
}

/// Who is told of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Where OTLP over gRPC is taken: `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoint: String,
    /// Of calls whose caller says nothing, one in so many is traced.
    pub one_in: u64,
}

/// How to serve.
#[derive(Clone)]
pub struct Config {
    /// The data directory; made on the first start.
    pub data: PathBuf,
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// File with the root key, 64 hexadecimal digits, kept outside the data directory; none: `keys/root.key` in it.
    pub root_key_file: Option<PathBuf>,
    /// Journal entries between two checkpoints.
    pub checkpoint_every: u64,
    /// Bytes of one journal segment.
    pub segment_bytes: u32,
    /// Serve on an address that other machines can reach though encryption or authentication is off.
    pub allow_insecure_remote: bool,
    /// Whether a new tenant begins with the match models that ship; otherwise identifiers alone link in it until a model is
    /// put in force.
    pub match_models: bool,
    /// Where the metrics are served to Prometheus, in the clear and to whoever asks; none: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Serve metrics on an address that other machines can reach.
    pub allow_remote_metrics: bool,
    /// Who is told of traces; none: nobody.
    pub traces: Option<Collector>,
    /// Origins of web pages that may call through gRPC-Web, e.g. `https://console.example.org`; none: no browser may.
    pub web_origins: Vec<String>,
    /// Take the one-click posts of mail providers (RFC 8058), over HTTP/1.1 too.
    pub one_click: bool,
    /// Encrypt; without it everything travels in the clear.
    pub tls: Option<Tls>,
    /// Whether every call needs a key; see `app::access`.
    pub require_auth: bool,
    /// File with the administrator's key, at least 32 characters: good for everything, whatever keys there are.
    pub admin_key_file: Option<PathBuf>,
    /// The same key itself, where no file is named.
    pub admin_key: Option<String>,
    /// Whose tokens are good beside keys; none: nobody's.
    pub oidc: Option<Issuer>,
    /// Take requests of controllers by OpenDSR, over HTTP/1.1 too; none: not.
    pub opendsr: Option<OpenDsr>,
    /// Answer reflection on an address that other machines can reach too; on loopback it is always there.
    pub reflection: bool,
    /// Connections of one address at once; none: a quarter of all, and on loopback, where a proxy may stand in front of
    /// everybody, as many as there may be at all.
    pub connections_per_address: Option<usize>,
    /// How long a connection may stay without a call under way; [`IDLE_WAIT_MAX`] as a rule.
    pub idle_wait: Duration,
    /// Connections at once; [`CONNECTIONS_MAX`] as a rule.
    pub connections_max: usize,
    /// How old a connection may grow before its client has to open another; [`CONNECTION_AGE_MAX`] as a rule.
    pub connection_age: Duration,
    /// How long a connection may stay without a first call; [`FIRST_CALL_WAIT_MAX`] as a rule.
    pub first_call_wait: Duration,
    /// How long a client's stream may be silent; [`MESSAGE_WAIT_MAX`] as a rule.
    pub message_wait: Duration,
    /// How long calls in flight may take to end when the server goes down; [`DRAIN_MAX`] as a rule.
    pub drain: Duration,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Config({} on {}, ..)", self.data.display(), self.listen)
    }
}

impl Config {
    /// Serve this directory at this address, all else as by default.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            data: data.into(),
            listen,
            root_key_file: None,
            checkpoint_every: CHECKPOINT_EVERY_DEFAULT,
            segment_bytes: 64 << 20,
            allow_insecure_remote: false,
            match_models: true,
            metrics_listen: None,
            allow_remote_metrics: false,
            traces: None,
            web_origins: Vec::new(),
            one_click: false,
            tls: None,
            require_auth: false,
            admin_key_file: None,
            admin_key: None,
            connections_max: CONNECTIONS_MAX,
            connection_age: CONNECTION_AGE_MAX,
            oidc: None,
            opendsr: None,
            reflection: false,
            connections_per_address: None,
            idle_wait: IDLE_WAIT_MAX,
            first_call_wait: FIRST_CALL_WAIT_MAX,
            message_wait: MESSAGE_WAIT_MAX,
            drain: DRAIN_MAX,
        }
    }

    /// Whether a server would start so, as far as no file has to be read for it.
    ///
    /// # Errors
    /// [`StartError`], which names what stands in the way.
    pub fn check(&self) -> Result<(), StartError> {
        let protected = self.tls.is_some() && self.require_auth;
        if !self.listen.ip().is_loopback() && !protected && !self.allow_insecure_remote {
            return Err(StartError::RemoteWithoutProtection(self.listen));
        }
        if let Some(address) = self.metrics_listen.filter(|address| !address.ip().is_loopback())
            && !self.allow_remote_metrics
        {
            return Err(StartError::RemoteMetrics(address));
        }
        if let Some(opendsr) = &self.opendsr {
            opendsr.check().map_err(StartError::OpenDsr)?;
        }
        self.traces.as_ref().map_or(Ok(()), crate::traces::check).map_err(StartError::Traces)?;
        if self.segment_bytes < SEGMENT_BYTES_MIN {
            return Err(StartError::SegmentTooSmall { given: self.segment_bytes, least: SEGMENT_BYTES_MIN });
        }
        Origins::read(&self.web_origins).map(drop).map_err(StartError::WebOrigin)
    }
}
