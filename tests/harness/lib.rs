//! A real server on loopback in a temporary directory, and words to talk to it.

use std::net::SocketAddr;
use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_proto::v1::ingest_service_client::IngestServiceClient;
use onefold_proto::v1::profile_service_client::ProfileServiceClient;
use onefold_server::{Config, Server};
use tonic::transport::Channel;

/// A server and clients of its services.
pub struct House {
    server: Server,
    /// Fragments in.
    pub ingest: IngestServiceClient<Channel>,
    /// Profiles out.
    pub profiles: ProfileServiceClient<Channel>,
    /// Administration.
    pub admin: AdminServiceClient<Channel>,
}

impl House {
    /// Starts a server on this directory, with segments so small that tests cross them.
    pub async fn open(data: &Path) -> Self {
        let mut config = Config::new(data, SocketAddr::from(([127, 0, 0, 1], 0)));
        config.segment_bytes = 16 << 20;
        Self::open_with(config).await
    }

    /// Starts a server.
    ///
    /// # Panics
    /// When it does not start: the test has nothing to stand on.
    pub async fn open_with(config: Config) -> Self {
        let server = Server::start(config).await.expect("the server starts");
        let channel = Channel::from_shared(format!("http://{}", server.address()))
            .expect("an address makes a URI")
            .connect()
            .await
            .expect("the server listens");
        Self {
            server,
            ingest: IngestServiceClient::new(channel.clone()),
            profiles: ProfileServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel),
        }
    }

    /// The server.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Stops the server in order.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub async fn close(self) {
        self.server.stop().await.expect("the server ends in order");
    }

    /// Creates sources of these names, without contracts.
    ///
    /// # Panics
    /// When one is refused.
    pub async fn sources(&mut self, names: &[&str]) {
        for name in names {
            let source = pb::Source { name: (*name).to_owned(), trust: 500, ..Default::default() };
            let request = pb::PutSourceRequest { parent: String::new(), source: Some(source) };
            self.admin.put_source(request).await.expect("a source");
        }
    }

    /// Puts one fragment.
    ///
    /// # Panics
    /// When the call fails; a refused fragment is a result.
    pub async fn put(&mut self, fragment: pb::Fragment) -> pb::IngestResult {
        let request = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() };
        self.ingest.put_fragment(request).await.expect("a put").into_inner().result.expect("a result")
    }

    /// Retracts one record.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn retract(&mut self, source: &str, key: &str, at: i64) -> pb::IngestResult {
        let retraction = pb::Retraction { record: Some(record(source, key)), observed_time: Some(seconds(at)) };
        let request = pb::RetractRecordRequest { retraction: Some(retraction), ..Default::default() };
        self.ingest.retract_record(request).await.expect("a retraction").into_inner().result.expect("a result")
    }

    /// Looks an identifier up.
    ///
    /// # Errors
    /// What the server says.
    pub async fn lookup(&mut self, namespace: &str, value: &str) -> Result<pb::Profile, tonic::Status> {
        let identifier = pb::Identifier { namespace: namespace.to_owned(), value: value.to_owned() };
        let key = pb::lookup_profile_request::Key::Identifier(identifier);
        let request = pb::LookupProfileRequest { key: Some(key), ..Default::default() };
        Ok(self.profiles.lookup_profile(request).await?.into_inner().profile.expect("a profile"))
    }

    /// The profile behind a name, in full.
    ///
    /// # Errors
    /// What the server says.
    pub async fn get(&mut self, name: &str) -> Result<pb::Profile, tonic::Status> {
        let view = pb::ProfileView::Full as i32;
        let request = pb::GetProfileRequest { name: name.to_owned(), view, ..Default::default() };
        Ok(self.profiles.get_profile(request).await?.into_inner().profile.expect("a profile"))
    }

    /// Graph digest and golden digest.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn digest(&mut self) -> (String, String) {
        let request = pb::GetDigestRequest { include_golden_values: true, ..Default::default() };
        let digest = self.admin.get_digest(request).await.expect("a digest").into_inner();
        (digest.graph_digest, digest.golden_digest)
    }

    /// Counts.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn statistics(&mut self) -> pb::GetStatisticsResponse {
        self.admin.get_statistics(pb::GetStatisticsRequest::default()).await.expect("statistics").into_inner()
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

/// A person's fragment.
#[must_use]
pub fn person(source: &str, key: &str, at: i64, identifiers: &[(&str, &str)], texts: &[(&str, &str)]) -> pb::Fragment {
    pb::Fragment {
        record: Some(record(source, key)),
        observed_time: Some(seconds(at)),
        party_kind: pb::PartyKind::Person as i32,
        identifiers: identifiers
            .iter()
            .map(|(n, v)| pb::Identifier { namespace: (*n).to_owned(), value: (*v).to_owned() })
            .collect(),
        attributes: texts
            .iter()
            .map(|(name, text)| pb::Attribute {
                name: (*name).to_owned(),
                value: Some(pb::attribute::Value::Text((*text).to_owned())),
            })
            .collect(),
        traits_json: String::new(),
    }
}

/// The `reason` of an error, as clients see it.
#[must_use]
pub fn reason(status: &tonic::Status) -> String {
    use tonic_types::StatusExt;
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
