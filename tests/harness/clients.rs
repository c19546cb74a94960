//! Words to talk to a server with.

use std::net::SocketAddr;

use onefold_proto::v1 as pb;
use onefold_proto::v1::account_service_client::AccountServiceClient;
use onefold_proto::v1::admin_service_client::AdminServiceClient;
use onefold_proto::v1::audit_service_client::AuditServiceClient;
use onefold_proto::v1::backup_service_client::BackupServiceClient;
use onefold_proto::v1::consent_service_client::ConsentServiceClient;
use onefold_proto::v1::ingest_service_client::IngestServiceClient;
use onefold_proto::v1::privacy_service_client::PrivacyServiceClient;
use onefold_proto::v1::profile_service_client::ProfileServiceClient;
use onefold_proto::v1::review_service_client::ReviewServiceClient;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::transport::Channel;

use crate::PATIENCE;
use crate::traffic::Message;

/// Clients of all services of one server.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Fragments in.
    pub ingest: IngestServiceClient<Channel>,
    /// Profiles out.
    pub profiles: ProfileServiceClient<Channel>,
    /// Consent and contact decisions.
    pub consent: ConsentServiceClient<Channel>,
    /// Accounts, affiliations, stages.
    pub accounts: AccountServiceClient<Channel>,
    /// Stewards.
    pub reviews: ReviewServiceClient<Channel>,
    /// The rights of persons.
    pub privacy: PrivacyServiceClient<Channel>,
    /// Copies of everything.
    pub backups: BackupServiceClient<Channel>,
    /// Checks of the log.
    pub audits: AuditServiceClient<Channel>,
    /// Administration.
    pub admin: AdminServiceClient<Channel>,
}

impl Clients {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(address: SocketAddr) -> Result<Self, tonic::transport::Error> {
        let channel = Channel::from_shared(format!("http://{address}"))
            .expect("an address makes a URI")
            .http2_adaptive_window(true)
            .timeout(PATIENCE)
            .connect()
            .await?;
        Ok(Self {
            ingest: IngestServiceClient::new(channel.clone()),
            profiles: ProfileServiceClient::new(channel.clone()).max_decoding_message_size(16 << 20),
            consent: ConsentServiceClient::new(channel.clone()),
            accounts: AccountServiceClient::new(channel.clone()).max_decoding_message_size(16 << 20),
            reviews: ReviewServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel.clone()).max_decoding_message_size(16 << 20),
            privacy: PrivacyServiceClient::new(channel.clone()),
            audits: AuditServiceClient::new(channel.clone()),
            backups: BackupServiceClient::new(channel.clone()).max_decoding_message_size(16 << 20),
        })
    }

    /// Creates sources of these names, without contracts.
    ///
    /// # Panics
    /// When one is refused.
    pub async fn sources(&mut self, names: &[&str]) {
        for name in names {
            let source = pb::Source { name: (*name).to_owned(), trust: 500, ..Default::default() };
            let request = pb::PutSourceRequest { source: Some(source), ..Default::default() };
            self.admin.put_source(request).await.expect("a source");
        }
    }

    /// Has telephone numbers without a country code read as those of this country.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn read_numbers_in(&mut self, country: &str) {
        let name = "tenants/default".to_owned();
        let tenant = pb::Tenant { name, default_region: country.to_owned(), ..Default::default() };
        let request = pb::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
        self.admin.update_tenant(request).await.expect("another country");
    }

    /// Puts one fragment.
    ///
    /// # Panics
    /// When the call fails; a refused fragment is a result.
    pub async fn put(&mut self, fragment: pb::Fragment) -> pb::IngestResult {
        self.try_put(fragment).await.expect("a put")
    }

    /// Puts one fragment.
    ///
    /// # Errors
    /// What the server says.
    pub async fn try_put(&mut self, fragment: pb::Fragment) -> Result<pb::IngestResult, Status> {
        let request = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() };
        Ok(self.ingest.put_fragment(request).await?.into_inner().result.expect("a result"))
    }

    /// Retracts one record.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn retract(&mut self, source: &str, key: &str, at: i64) -> pb::IngestResult {
        let record = Some(crate::record(source, key));
        let retraction = pb::Retraction { record, observed_time: Some(crate::seconds(at)) };
        let request = pb::RetractRecordRequest { retraction: Some(retraction), ..Default::default() };
        self.ingest.retract_record(request).await.expect("a retraction").into_inner().result.expect("a result")
    }

    /// Sends messages over one stream, all at once, and waits for all answers.
    ///
    /// # Errors
    /// What ends the stream early.
    pub async fn stream(&mut self, parent: &str, messages: &[Message]) -> Result<Vec<pb::IngestResult>, Status> {
        let requests: Vec<_> = (0..).zip(messages).map(|(at, message)| message.request(parent, at)).collect();
        let mut answers = self.ingest.stream_fragments(tokio_stream::iter(requests)).await?.into_inner();
        let mut results = Vec::with_capacity(messages.len());
        let late = |_| Status::deadline_exceeded("no answer comes on the stream");
        while let Some(answer) = tokio::time::timeout(PATIENCE, answers.next()).await.map_err(late)? {
            let answer = answer?;
            assert_eq!(answer.client_sequence, results.len() as u64, "answers come in the order of the requests");
            results.push(answer.result.expect("a result"));
        }
        assert_eq!(results.len(), messages.len(), "one answer each");
        Ok(results)
    }

    /// The server takes and finds a fragment like on any other day. It needs a source `crm`.
    ///
    /// # Panics
    /// When it does not.
    pub async fn assert_lives(&mut self, key: &str) {
        let email = format!("{key}@harbour-mail.net");
        let result = self.put(crate::person("crm", key, 1_700_000_000, &[("email", &email)], &[])).await;
        assert_eq!(result.status(), pb::IngestStatus::Accepted);
        assert_eq!(self.lookup("email", &email).await.expect("the profile").name, result.profile);
    }

    /// Looks an identifier up.
    ///
    /// # Errors
    /// What the server says.
    pub async fn lookup(&mut self, namespace: &str, value: &str) -> Result<pb::Profile, Status> {
        self.lookup_in("", namespace, value).await
    }

    /// Looks an identifier of a tenant up.
    ///
    /// # Errors
    /// What the server says.
    pub async fn lookup_in(&mut self, parent: &str, namespace: &str, value: &str) -> Result<pb::Profile, Status> {
        let key = pb::lookup_profile_request::Key::Identifier(crate::identifier(namespace, value));
        let request = pb::LookupProfileRequest { parent: parent.to_owned(), key: Some(key), ..Default::default() };
        Ok(self.profiles.lookup_profile(request).await?.into_inner().profile.expect("a profile"))
    }

    /// The profile behind a name, in full.
    ///
    /// # Errors
    /// What the server says.
    pub async fn get(&mut self, name: &str) -> Result<pb::Profile, Status> {
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

    /// Digest of clusters and live facts.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn graph_digest(&mut self) -> String {
        self.admin.get_digest(pb::GetDigestRequest::default()).await.expect("a digest").into_inner().graph_digest
    }

    /// Counts.
    ///
    /// # Panics
    /// When the call fails.
    pub async fn statistics(&mut self) -> pb::GetStatisticsResponse {
        self.admin.get_statistics(pb::GetStatisticsRequest::default()).await.expect("statistics").into_inner()
    }

    /// All live profiles of a tenant, in full, by name.
    ///
    /// # Errors
    /// What ends the snapshot early.
    pub async fn snapshot(&mut self, parent: &str) -> Result<Vec<pb::Profile>, Status> {
        let request = pb::WatchProfilesRequest {
            parent: parent.to_owned(),
            snapshot: true,
            view: pb::ProfileView::Full as i32,
            stop_at_end: true,
            ..Default::default()
        };
        let mut messages = self.profiles.watch_profiles(request).await?.into_inner();
        let mut profiles = Vec::new();
        while let Some(message) = messages.next().await {
            match message?.message {
                Some(pb::watch_profiles_response::Message::Snapshot(profile)) => profiles.push(profile),
                Some(pb::watch_profiles_response::Message::SnapshotEnd(end)) => {
                    assert_eq!(end.profile_count, profiles.len() as u64);
                }
                _ => {}
            }
        }
        profiles.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(profiles)
    }

    /// The feed after a cursor, up to its end.
    ///
    /// # Errors
    /// What ends the feed early.
    pub async fn events(&mut self, parent: &str, cursor: u64) -> Result<Vec<pb::ProfileEvent>, Status> {
        let parent = parent.to_owned();
        let request = pb::WatchProfilesRequest { parent, cursor, stop_at_end: true, ..Default::default() };
        let mut messages = self.profiles.watch_profiles(request).await?.into_inner();
        let mut events = Vec::new();
        while let Some(message) = messages.next().await {
            if let Some(pb::watch_profiles_response::Message::Event(event)) = message?.message {
                events.push(event);
            }
        }
        Ok(events)
    }

    /// Profiles of these names in full, `None` where there is none, with the reason.
    ///
    /// # Errors
    /// What the server says of the whole batch.
    pub async fn batch(&mut self, names: &[String]) -> Result<Vec<pb::BatchLookupResult>, Status> {
        let mut results = Vec::with_capacity(names.len());
        for some in names.chunks(500) {
            let by_name = |name: &String| pb::ProfileKey { key: Some(pb::profile_key::Key::Name(name.clone())) };
            let request = pb::BatchLookupProfilesRequest {
                keys: some.iter().map(by_name).collect(),
                view: pb::ProfileView::Full as i32,
                ..Default::default()
            };
            results.extend(self.profiles.batch_lookup_profiles(request).await?.into_inner().results);
        }
        Ok(results)
    }
}
