//! Real servers on loopback, in this process or one that can be killed, and words to talk to them; seeded traffic, and
//! what must be true of a server whatever befell it.

pub mod accounts;
pub mod actor;
pub mod backups;
pub mod calls;
pub mod canary;
pub mod child;
pub mod clients;
pub mod consent;
pub mod contacts;
pub mod dice;
pub mod disk;
pub mod frames;
pub mod health;
pub mod journey;
pub mod load;
pub mod older;
pub mod privacy;
pub mod recording;
pub mod replica;
pub mod scrape;
pub mod targets;
pub mod traffic;

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onefold_proto::v1 as pb;
use onefold_server::clock::Clock;
use onefold_server::{Config, Server};

pub use clients::Clients;

/// What takes longer than this will never end: a test that waits on says nothing of why.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Bytes of a segment in tests: small, so that they cross segments.
pub const SEGMENT_BYTES: u32 = 16 << 20;

/// A server in this process and clients of its services.
pub struct House {
    server: Server,
    clients: Clients,
}

impl Deref for House {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl DerefMut for House {
    fn deref_mut(&mut self) -> &mut Clients {
        &mut self.clients
    }
}

impl House {
    /// Starts a server on this directory, with segments so small that tests cross them.
    pub async fn open(data: &Path) -> Self {
        Self::open_with(Self::config(data)).await
    }

    /// How [`House::open`] starts a server.
    #[must_use]
    pub fn config(data: &Path) -> Config {
        let mut config = Config::new(data, SocketAddr::from(([127, 0, 0, 1], 0)));
        config.segment_bytes = SEGMENT_BYTES;
        // What is told of identifiers is told apart from weights; tests of these put a model in force.
        config.match_models = false;
        config
    }

    /// Starts a server.
    ///
    /// # Panics
    /// When it does not start: the test has nothing to stand on.
    pub async fn open_with(config: Config) -> Self {
        Self::of(Server::start(config).await.expect("the server starts")).await
    }

    /// Starts a server that reads this clock.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn open_at(config: Config, clock: Arc<dyn Clock>) -> Self {
        Self::of(Server::start_with_clock(config, clock).await.expect("the server starts")).await
    }

    async fn of(server: Server) -> Self {
        let clients = Clients::connect(server.address()).await.expect("the server listens");
        Self { server, clients }
    }

    /// The server.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Clients of its services, to be set up otherwise.
    #[must_use]
    pub fn clients(&self) -> Clients {
        self.clients.clone()
    }

    /// Stops the server in order.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub async fn close(self) {
        let ended = tokio::time::timeout(PATIENCE, self.server.stop()).await.expect("the server ends in time");
        ended.expect("the server ends in order");
    }
}

/// A source record.
#[must_use]
pub fn record(source: &str, key: &str) -> pb::SourceRecord {
    pb::SourceRecord { source: source.to_owned(), key: key.to_owned() }
}

/// A moment.
#[must_use]
pub const fn seconds(at: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at, nanos: 0 }
}

/// A claim to an identifier.
#[must_use]
pub fn identifier(namespace: &str, value: &str) -> pb::Identifier {
    pb::Identifier { namespace: namespace.to_owned(), value: value.to_owned() }
}

/// A text attribute.
#[must_use]
pub fn text(name: &str, text: &str) -> pb::Attribute {
    pb::Attribute { name: name.to_owned(), value: Some(pb::attribute::Value::Text(text.to_owned())) }
}

/// A person's fragment.
#[must_use]
pub fn person(source: &str, key: &str, at: i64, identifiers: &[(&str, &str)], texts: &[(&str, &str)]) -> pb::Fragment {
    pb::Fragment {
        record: Some(record(source, key)),
        observed_time: Some(seconds(at)),
        party_kind: pb::PartyKind::Person as i32,
        identifiers: identifiers.iter().map(|(namespace, value)| identifier(namespace, value)).collect(),
        attributes: texts.iter().map(|(name, value)| text(name, value)).collect(),
        traits_json: String::new(),
        consents: Vec::new(),
        affiliations: Vec::new(),
        stages: Vec::new(),
    }
}

/// An organisation's fragment.
#[must_use]
pub fn organisation(
    source: &str,
    key: &str,
    at: i64,
    identifiers: &[(&str, &str)],
    texts: &[(&str, &str)],
) -> pb::Fragment {
    let party_kind = pb::PartyKind::Organisation as i32;
    pb::Fragment { party_kind, ..person(source, key, at, identifiers, texts) }
}

/// The `reason` of an error, as clients see it.
#[must_use]
pub fn reason(status: &tonic::Status) -> String {
    use tonic_types::StatusExt;
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
