//! A caller with good manners: it says clearly what is wrong, waits when it is asked to, and never asks twice for what
//! must not happen twice.

mod patience;
pub mod trouble;
pub mod wire;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
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
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;

use onefold_server::secret;

pub use patience::{Patience, said_by_server};
pub use trouble::failure;

use crate::command::Failure;

/// Largest answer that is taken; the server sends none larger.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a call that changes or reads little is tried again.
const RETRY_FOR: Duration = Duration::from_secs(10);
/// Entries of one page of a list.
pub const PAGE_SIZE: i32 = 1_000;
/// Bytes in flight on one stream. A connection takes more than a stream may hold, so that a stream that is not read does
/// not stop the calls beside it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes in flight on one connection.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Which server, which tenant, and for whom the answer is.
#[derive(Args, Clone, Default)]
pub struct Target {
    /// The server's address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700", env = "ONEFOLD_ADDR")]
    pub to: String,
    /// The tenant.
    #[arg(long, value_name = "NAME", default_value = "default", env = "ONEFOLD_TENANT")]
    pub tenant: String,
    /// File with the API key, where the server asks for one; `ONEFOLD_API_KEY` may hold the key itself instead.
    #[arg(long, value_name = "FILE", env = "ONEFOLD_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,
    /// File with the authority that vouches for the server (PEM), for an address that begins with `https://`; without it
    /// those are trusted whom this machine trusts.
    #[arg(long, value_name = "FILE", env = "ONEFOLD_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// File with this client's certificate (PEM), where the server asks for one.
    #[arg(long, value_name = "FILE", requires = "tls_client_key", env = "ONEFOLD_TLS_CLIENT_CERT")]
    pub tls_client_cert: Option<PathBuf>,
    /// File with its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_client_cert", env = "ONEFOLD_TLS_CLIENT_KEY")]
    pub tls_client_key: Option<PathBuf>,
    /// Prints JSON: the messages of onefold.v1 with the field names of proto JSON (lowerCamelCase), 64-bit numbers as text.
    #[arg(long)]
    pub json: bool,
}

impl Target {
    /// `tenants/{tenant}`.
    pub fn parent(&self) -> String {
        format!("tenants/{}", self.tenant.strip_prefix("tenants/").unwrap_or(&self.tenant))
    }

    /// Whom to trust, and who calls.
    fn tls(&self) -> Result<ClientTlsConfig, Failure> {
        let pem = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{}: cannot be read: {error}", path.display())))
        };
        let config = match &self.tls_ca {
            Some(authority) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem(authority)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        let key = |path: &PathBuf| {
            secret::read_file(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
        };
        Ok(match (&self.tls_client_cert, &self.tls_client_key) {
            (Some(certificate), Some(key_file)) => {
                config.identity(Identity::from_pem(pem(certificate)?, key(key_file)?))
            }
            _ => config,
        })
    }

    /// A profile's full name from its id or its full name.
    pub fn profile(&self, text: &str) -> Result<String, Failure> {
        let (parent, id) = text.split_once("/profiles/").map_or((self.parent(), text), |(p, id)| (p.to_owned(), id));
        match onefold_core::ids::ProfileId::parse(id) {
            Ok(id) => Ok(format!("{parent}/profiles/{id}")),
            Err(fault) => Err(Failure::usage(format!(
                "`{text}` is no profile id: {fault}\nhint: `onefold lookup NAMESPACE VALUE` shows the id of whom you look for"
            ))),
        }
    }
}

/// A name for one write, so that asking again after a lost answer does nothing twice. A UUID (version 4); empty, which is
/// no name, where the system gives no random numbers.
#[must_use]
pub fn request_id() -> String {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        return String::new();
    }
    uuid(bytes, 4)
}

/// A name for a write that is the same whenever it is made of the same parts, so that a whole run of writes can be done
/// again. A UUID (version 8).
#[must_use]
pub fn request_id_of(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid(bytes, 8)
}

fn uuid(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// A connection whose every call brings the key, where there is one.
pub type Line = InterceptedService<Channel, Bearer>;

/// The key, as metadata of every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn of(target: &Target) -> Result<Self, Failure> {
        let key = match &target.api_key_file {
            Some(file) => Some(
                secret::read_file(file)
                    .map_err(|error| Failure::usage(format!("{}: the API key {error}", file.display())))?,
            ),
            None => std::env::var("ONEFOLD_API_KEY").ok().filter(|key| !key.trim().is_empty()),
        };
        let Some(key) = key else { return Ok(Self(None)) };
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", key.trim())
            .parse()
            .map_err(|_| Failure::usage("the API key is none: it is one line of visible ASCII characters"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

/// Whether `HOST:PORT` is this machine.
fn is_here(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

/// A connection to one server.
#[derive(Clone)]
pub struct Client {
    /// `HOST:PORT`, behind `https://` where it is encrypted.
    pub address: String,
    line: Line,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do when nobody is there.
    pub async fn connect(target: &Target) -> Result<Self, Failure> {
        let bearer = Bearer::of(target)?;
        let address = target.to.trim_end_matches('/');
        let encrypted = address.strip_prefix("https://");
        let address = encrypted.or_else(|| address.strip_prefix("http://")).unwrap_or(address).to_owned();
        let bad = || Failure::usage(format!("`{address}` is no address: write HOST:PORT, e.g. 127.0.0.1:7700"));
        match address.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => {}
            Some(_) => return Err(bad()),
            None => {
                return Err(Failure::usage(format!("`{address}` names no port: write HOST:PORT, e.g. {address}:7700")));
            }
        }
        if encrypted.is_none() && bearer.0.is_some() && !is_here(&address) {
            eprintln!(
                "note: the API key travels in the clear to {address}; write https://{address} where the server encrypts"
            );
        }
        let scheme = if encrypted.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|_| bad())?;
        if encrypted.is_some() {
            endpoint = endpoint
                .tls_config(target.tls()?)
                .map_err(|error| Failure::usage(format!("TLS: {}", trouble::root_cause(&error))))?;
        }
        let address = if encrypted.is_some() { format!("https://{address}") } else { address };
        let endpoint = endpoint
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10));
        match endpoint.connect().await {
            Ok(channel) => Ok(Self { address, line: InterceptedService::new(channel, bearer) }),
            Err(error) => Err(Failure::new(format!(
                "no server answers at {address}: {}\nhint: `onefold serve` starts one; `--to HOST:PORT` names another",
                trouble::root_cause(&error)
            ))),
        }
    }

    /// Fragments in.
    pub fn ingest(&self) -> IngestServiceClient<Line> {
        IngestServiceClient::new(self.line.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Profiles out.
    pub fn profiles(&self) -> ProfileServiceClient<Line> {
        ProfileServiceClient::new(self.line.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// What to ask stewards, and what they say.
    pub fn reviews(&self) -> ReviewServiceClient<Line> {
        ReviewServiceClient::new(self.line.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Consent and contact decisions.
    pub fn consent(&self) -> ConsentServiceClient<Line> {
        ConsentServiceClient::new(self.line.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Accounts, affiliations, stages.
    pub fn accounts(&self) -> AccountServiceClient<Line> {
        AccountServiceClient::new(self.line.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Checks of the log.
    pub fn audits(&self) -> AuditServiceClient<Line> {
        AuditServiceClient::new(self.line.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Copies of everything.
    pub fn backups(&self) -> BackupServiceClient<Line> {
        BackupServiceClient::new(self.line.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The rights of persons.
    pub fn privacy(&self) -> PrivacyServiceClient<Line> {
        PrivacyServiceClient::new(self.line.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Health.
    pub fn health(&self) -> HealthClient<Line> {
        HealthClient::new(self.line.clone())
    }

    /// Administration.
    pub fn admin(&self) -> AdminServiceClient<Line> {
        AdminServiceClient::new(self.line.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Calls, and calls again after a wait while the server says that waiting helps. For calls that do no harm twice.
    ///
    /// # Errors
    /// What the server said last, in words.
    pub async fn ask<R, F, Fut>(&self, call: F) -> Result<R, Failure>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        self.ask_for(RETRY_FOR, call).await
    }

    /// [`Client::ask`] with a patience of the caller's.
    ///
    /// # Errors
    /// What the server said last, in words.
    pub async fn ask_for<R, F, Fut>(&self, patience: Duration, call: F) -> Result<R, Failure>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        self.ask_or(patience, call).await.map_err(|status| self.failed(&status))
    }

    /// [`Client::ask_for`] for who looks at what the server said.
    ///
    /// # Errors
    /// What the server said last.
    pub async fn ask_or<R, F, Fut>(&self, patience: Duration, mut call: F) -> Result<R, Status>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let mut patience = Patience::new(patience);
        loop {
            let status = match call().await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            match patience.wait_after(&status) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(status),
            }
        }
    }

    /// A status as a failure of the command.
    pub fn failed(&self, status: &Status) -> Failure {
        failure(status, &self.address)
    }
    /// All sources of a tenant.
    ///
    /// # Errors
    /// What the server says.
    pub async fn all_sources(&self, parent: &str) -> Result<Vec<pb::Source>, Failure> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListSourcesRequest { parent: parent.to_owned(), page_size: PAGE_SIZE, page_token };
            let page = self.ask(|| async { self.admin().list_sources(request.clone()).await }).await?;
            all.extend(page.sources);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// All namespaces of a tenant.
    ///
    /// # Errors
    /// What the server says.
    pub async fn all_namespaces(&self, parent: &str) -> Result<Vec<pb::Namespace>, Failure> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListNamespacesRequest { parent: parent.to_owned(), page_size: PAGE_SIZE, page_token };
            let page = self.ask(|| async { self.admin().list_namespaces(request.clone()).await }).await?;
            all.extend(page.namespaces);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// All tenants.
    ///
    /// # Errors
    /// What the server says.
    pub async fn all_tenants(&self) -> Result<Vec<pb::Tenant>, Failure> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListTenantsRequest { page_size: PAGE_SIZE, page_token };
            let page = self.ask(|| async { self.admin().list_tenants(request.clone()).await }).await?;
            all.extend(page.tenants);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// What waits in a tenant's quarantine, newest first: at most `most`, of one source unless its name is empty.
    ///
    /// # Errors
    /// What the server says.
    pub async fn quarantined(
        &self,
        request: &pb::ListQuarantineRequest,
        most: usize,
    ) -> Result<pb::ListQuarantineResponse, Failure> {
        let mut all = pb::ListQuarantineResponse::default();
        loop {
            let left = PAGE_SIZE.min(i32::try_from(most - all.quarantined.len()).unwrap_or(PAGE_SIZE));
            let request = pb::ListQuarantineRequest {
                page_size: left,
                page_token: std::mem::take(&mut all.next_page_token),
                ..request.clone()
            };
            let page = self.ask(|| async { self.ingest().list_quarantine(request.clone()).await }).await?;
            all.quarantined.extend(page.quarantined);
            (all.next_page_token, all.total_size) = (page.next_page_token, page.total_size);
            if all.next_page_token.is_empty() || all.quarantined.len() >= most {
                return Ok(all);
            }
        }
    }
}
