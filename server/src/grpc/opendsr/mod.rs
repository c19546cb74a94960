//! OpenDSR 2.0 on the same listener: requests of controllers over HTTP, beside gRPC. The specification is
//! <https://github.com/opengdpr/OpenDSR>.
//!
//! Each route stands for an RPC of PrivacyService and is held to that RPC's row in the table of rights; what it does, the
//! RPC's own code does. `/v2/…` is the caller's tenant, `/v2/tenants/{tenant}/…` another; the routes of OpenGDPR 1.0 lead
//! here too (section 10.1).

mod asked;
mod counted;
mod said;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Limited, StreamBody};
use onefold_core::erasure::{Forward, ForwardedStatus, PrivacyRequest, has_results};
use onefold_core::ids::Digest128;
use onefold_proto::v1 as pb;
use pb::stream_access_export_response::Part;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use self::asked::{Asked, FORMAT, KINDS};
pub use self::counted::COUNTED;
use self::counted::counted;
use self::said::{Trouble, not_allowed, plain, signed};
use super::connections::Line;
use super::lasting::{Holder, Lasting};
use super::names::DEFAULT_TENANT;
use super::privacy::{Privacy, export};
use super::rights::{self, Guard};
use super::{reading, status};
use crate::app::App;
use crate::app::access::Reach;
use crate::app::privacy;
use crate::app::privacy::act::{Act, Forwarding};
use crate::app::privacy::receipt::{self, time};
use crate::app::tenant::Tenant;
use crate::config;
use crate::metrics::calls::Calls;
use crate::opendsr::callbacks::{results_count, results_path, uuid};
use crate::opendsr::{API_VERSION, Processor};

/// Bytes that a request may have.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Requests at once; more are told to come again.
const REQUESTS_MAX: usize = 64;
/// Where the certificate lies.
const CERTIFICATE_PATH: &str = "/v2/certificate.pem";
/// The word that stands as the ground of a request that its controller took back.
const TAKEN_BACK: &str = "controller";

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Discovery,
    Certificate,
    /// New requests.
    Requests,
    /// A request, by its number.
    One(&'a str),
    /// Its results.
    Results(&'a str),
}

/// A path that is ours.
#[derive(Debug, PartialEq, Eq)]
struct Path<'a> {
    /// The tenant, where it is named.
    tenant: Option<&'a str>,
    /// Whether it is a path of OpenGDPR 1.0.
    older: bool,
    /// `None`: there is nothing there.
    route: Option<Route<'a>>,
}

/// Reads a path; `None` for one that is none of ours.
fn path(path: &str) -> Option<Path<'_>> {
    let (older, rest) = match path.strip_prefix("/v2/") {
        Some(rest) => (false, rest),
        None => (true, path.strip_prefix("/v1/")?),
    };
    let mut parts: Vec<&str> = rest.strip_suffix('/').unwrap_or(rest).split('/').collect();
    let tenant = (parts.len() > 2 && parts[0] == "tenants").then(|| parts[1]);
    if tenant.is_some() {
        parts.drain(..2);
    }
    let is_requests = |part: &str| part == "opengdpr_requests" || (!older && part == "requests");
    let route = match parts[..] {
        ["discovery"] => Some(Route::Discovery),
        ["certificate.pem"] => Some(Route::Certificate),
        [requests] if is_requests(requests) => Some(Route::Requests),
        [requests, number] if is_requests(requests) => Some(Route::One(number)),
        // Section 3.1 names it among the endpoints that must be there, and says no more of it.
        ["status", number] if !older => Some(Route::One(number)),
        [requests, number, "results"] if is_requests(requests) => Some(Route::Results(number)),
        _ => None,
    };
    Some(Path { tenant, older, route })
}

/// An answer that was signed with the key of these papers.
type Signed = (blake3::Hash, Bytes, http::HeaderMap);

/// Takes requests of controllers; it says to come again until [`Desk::open`].
#[derive(Clone)]
pub struct Desk {
    app: Arc<OnceLock<Arc<App>>>,
    processor: Arc<Processor>,
    guard: Guard,
    room: Arc<Semaphore>,
    calls: Arc<Calls>,
    /// What discovery says is signed once with each key.
    discovery: Arc<tokio::sync::Mutex<Option<Signed>>>,
    /// Whether the listener speaks HTTP/1.1 for this alone.
    alone: bool,
}

impl Desk {
    /// A shut desk. `alone`: nothing else is to be reached over HTTP/1.1.
    pub fn new(processor: Arc<Processor>, guard: Guard, calls: &Arc<Calls>, alone: bool) -> Self {
        let (room, calls) = (Arc::new(Semaphore::new(REQUESTS_MAX)), Arc::clone(calls));
        Self { app: Arc::default(), processor, guard, room, calls, discovery: Arc::default(), alone }
    }

    /// Takes requests from now on.
    pub fn open(&self, app: &Arc<App>) {
        let _ = self.app.set(Arc::clone(app));
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk(..)")
    }
}

impl<S> Layer<S> for Desk {
    type Service = Beside<S>;

    fn layer(&self, inner: S) -> Beside<S> {
        Beside { inner, desk: self.clone() }
    }
}

/// Everything else, with the desk beside it.
#[derive(Clone, Debug)]
pub struct Beside<S> {
    inner: S,
    desk: Desk,
}

impl<S> Service<Request<Body>> for Beside<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(asked) = path(request.uri().path()) {
            let counted_as = asked.route.and_then(|route| stands_for(&route, request.method())).unwrap_or_default();
            let desk = self.desk.clone();
            return Box::pin(async move { Ok(counted(&desk.calls, counted_as, desk.answer(request)).await) });
        }
        if self.desk.alone && request.version() < Version::HTTP_2 {
            return Box::pin(std::future::ready(Ok(nothing_there().answer())));
        }
        Box::pin(self.inner.call(request))
    }
}

/// What a request is counted as, by [`COUNTED`].
fn stands_for(route: &Route<'_>, method: &Method) -> Option<&'static str> {
    let at = match (route, method) {
        (Route::Discovery, &Method::GET) => 0,
        (Route::Certificate, &Method::GET) => 1,
        (Route::Requests, &Method::POST) => 2,
        (Route::One(_), &Method::GET) => 3,
        (Route::One(_), &Method::DELETE) => 4,
        (Route::Results(_), &Method::GET) => 5,
        _ => return None,
    };
    Some(COUNTED[at])
}

fn nothing_there() -> Trouble {
    Trouble::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing at this path; /v2/discovery says what there is")
}

#[derive(Serialize)]
struct Identity<'a> {
    identity_type: &'a str,
    identity_format: &'a str,
}

/// What discovery says (section 6.3).
#[derive(Serialize)]
struct Discovery<'a> {
    api_version: &'a str,
    supported_identities: Vec<Identity<'a>>,
    supported_subject_request_types: Vec<&'a str>,
    processor_certificate: String,
}

/// What is answered to a new request (section 7.3).
#[derive(Serialize)]
struct Received<'a> {
    controller_id: &'a str,
    expected_completion_time: String,
    received_time: String,
    encoded_request: String,
    subject_request_id: &'a str,
    api_version: &'a str,
}

/// What is answered of a request (section 8.3). What only we know stands under our domain.
#[derive(Serialize)]
struct Stands<'a> {
    controller_id: &'a str,
    expected_completion_time: String,
    subject_request_id: &'a str,
    request_status: &'a str,
    api_version: &'a str,
    results_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results_count: Option<u64>,
    extensions: serde_json::Value,
}

/// What is answered when a request was taken back (section 9.2).
#[derive(Serialize)]
struct TakenBack<'a> {
    controller_id: &'a str,
    subject_request_id: &'a str,
    received_time: String,
    api_version: &'a str,
}

impl Desk {
    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Trouble> {
        let uri = request.uri().clone();
        let Path { tenant, older, route } = path(uri.path()).ok_or_else(nothing_there)?;
        let route = route.ok_or_else(nothing_there)?;
        let method = request.method().clone();
        let rpc = match (&route, &method) {
            (Route::Discovery, &Method::GET) => return self.discovery().await,
            (Route::Certificate, &Method::GET) => {
                let kind = HeaderValue::from_static("application/x-pem-file");
                return Ok(plain(
                    StatusCode::OK,
                    kind,
                    Bytes::from(self.processor.papers().signer.certificates.to_string()),
                ));
            }
            (Route::Requests, &Method::POST) => "CreatePrivacyRequest",
            (Route::One(_), &Method::GET) => "GetPrivacyRequest",
            (Route::One(_), &Method::DELETE) => "CancelPrivacyRequest",
            (Route::Results(_), &Method::GET) => "StreamAccessExport",
            (Route::Requests, _) => return Ok(not_allowed("POST")),
            (Route::One(_), _) => return Ok(not_allowed("GET, DELETE")),
            (Route::Discovery | Route::Certificate | Route::Results(_), _) => return Ok(not_allowed("GET")),
        };
        // A page in a browser is no controller. One that reaches this server under a name of its own (DNS rebinding) would be let
        // in where nobody is asked who they are.
        if request.headers().contains_key(ORIGIN) {
            let message = "a page in a browser is no controller";
            return Err(Trouble::new(StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED", message));
        }
        let _place = self.room.try_acquire().map_err(|_| status::too_many_calls())?;
        let app = self.app.get().ok_or_else(status::recovering)?;
        let holder = self.guard.let_in(request.headers(), &format!("/onefold.v1.PrivacyService/{rpc}")).await?;
        // Who was let in keeps the connection.
        let busy = request.extensions().get::<Line>().map(Line::calls);
        let desk = Privacy { app: Arc::clone(app), kept: super::KeptAnswers::default() };
        let tenant = tenant_of(tenant, holder.as_ref())?;
        let work = async {
            let tenant = reading::named(app, &tenant)?;
            match route {
                Route::Requests => self.take(&desk, &tenant, older, request).await,
                Route::One(number) if method == Method::DELETE => self.take_back(&desk, &tenant, number).await,
                Route::One(number) => self.status(app, &tenant, number).await,
                Route::Results(number) => self.results(&desk, &tenant, number).await,
                Route::Discovery | Route::Certificate => Err(nothing_there()),
            }
        };
        let worked = tokio::time::timeout(config::CALL_TIME_MAX, rights::acting(holder.as_ref(), work)).await;
        let late =
            || Trouble::new(StatusCode::REQUEST_TIMEOUT, "DEADLINE_EXCEEDED", "the request took too long; ask again");
        let answer = worked.map_err(|_| late())??;
        // What is fetched lasts; it ends when the key does.
        Ok(if rpc == "StreamAccessExport" {
            answer.map(|body| Lasting::body(body, holder, None, busy))
        } else {
            answer
        })
    }

    async fn discovery(&self) -> Result<Response<Body>, Trouble> {
        let papers = self.processor.papers().digest;
        let mut known = self.discovery.lock().await;
        let (_, body, headers) = match known.take() {
            Some(said) if said.0 == papers => known.insert(said),
            _ => {
                let mut identities: Vec<&str> =
                    self.processor.identities.iter().map(|(kind, _)| kind.as_str()).collect();
                identities.dedup();
                let identity = |identity_type| Identity { identity_type, identity_format: FORMAT };
                let said = Discovery {
                    api_version: API_VERSION,
                    supported_identities: identities.into_iter().map(identity).collect(),
                    supported_subject_request_types: KINDS.iter().map(|(kind, _)| *kind).collect(),
                    processor_certificate: self.processor.url(CERTIFICATE_PATH),
                };
                let (head, body) = signed(&self.processor, StatusCode::OK, &said).await?.into_parts();
                let body = body.collect().await.map_err(Trouble::from)?.to_bytes();
                known.insert((papers, body, head.headers))
            }
        };
        let mut answer = Response::new(Body::new(http_body_util::Full::new(body.clone())));
        answer.headers_mut().clone_from(headers);
        Ok(answer)
    }

    /// Takes in a request.
    async fn take(
        &self,
        desk: &Privacy,
        tenant: &Arc<Tenant>,
        older: bool,
        request: Request<Body>,
    ) -> Result<Response<Body>, Trouble> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let message = "the body must be application/json";
            return Err(Trouble::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "REQUEST_INVALID", message));
        }
        let too_large = || {
            let message = format!("the body has more than {BODY_BYTES_MAX} bytes, or broke off");
            Trouble::new(StatusCode::PAYLOAD_TOO_LARGE, "MESSAGE_TOO_LARGE", message)
        };
        if request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let body =
            Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await.map_err(|_| too_large())?.to_bytes();
        let asked = asked::read(&body, &self.processor, older, desk.app.now());
        let Asked { regulation, kind, number, submitted_at, subjects, identities, callbacks } =
            asked.map_err(|faults| Trouble::of(&faults))?;
        let subject = desk.subject(tenant, subjects).map_err(|status| Trouble::of_status(&status, &identities))?;
        let (number, reference) = number;
        let content = Digest128::of(&blake3::keyed_hash(&tenant.keys.index, &body));
        let forwarding = Some(Forwarding { number, content, callbacks });
        let act = Act::Create {
            kind,
            regulation,
            reference: reference.clone(),
            subject,
            received_at: submitted_at,
            forwarding,
        };
        desk.step(tenant, act, None).await.map_err(|status| Trouble::of_status(&status, &identities))?;
        // As it was taken in, also when it came again.
        let (request, forward) = self.known(tenant, &reference)?;
        let answer = Received {
            controller_id: &tenant.name,
            expected_completion_time: time(request.answer_by()),
            received_time: time(forward.from.taken_at),
            encoded_request: STANDARD.encode(&body),
            subject_request_id: &reference,
            api_version: API_VERSION,
        };
        signed(&self.processor, StatusCode::CREATED, &answer).await
    }

    /// A request that came from a controller, by its number.
    fn known(&self, tenant: &Tenant, number: &str) -> Result<(PrivacyRequest, Forward), Trouble> {
        let unknown = || {
            let message = "there is no request with this subject_request_id";
            Trouble::new(StatusCode::NOT_FOUND, "PRIVACY_REQUEST_NOT_FOUND", message)
        };
        let number = asked::number(number).ok_or_else(unknown)?;
        let state = tenant.state();
        let (request, forward) = state.privacy.forwarded(&number).ok_or_else(unknown)?;
        Ok((request.clone(), forward.clone()))
    }

    async fn status(&self, app: &App, tenant: &Tenant, number: &str) -> Result<Response<Body>, Trouble> {
        reading::durable(tenant).await?;
        let (request, forward) = self.known(tenant, number)?;
        let fetchable = has_results(&request, &tenant.state().privacy.policy);
        let number = uuid(&forward.from.number);
        let ours = serde_json::json!({
            "request": receipt::name(&tenant.name, request.id),
            "state": request.state.to_string(),
            "ground": request.ground,
            "overdue": request.is_overdue(app.now()),
        });
        let answer = Stands {
            controller_id: &tenant.name,
            expected_completion_time: time(request.answer_by()),
            subject_request_id: &number,
            request_status: ForwardedStatus::of(request.state).as_str(),
            api_version: API_VERSION,
            results_url: fetchable.then(|| self.processor.url(&results_path(&tenant.name, &forward.from.number))),
            results_count: results_count(&request),
            extensions: serde_json::json!({ self.processor.host.as_str(): ours }),
        };
        signed(&self.processor, StatusCode::OK, &answer).await
    }

    /// Takes a request back, as its controller may as long as nobody acts on it (section 9).
    async fn take_back(&self, desk: &Privacy, tenant: &Arc<Tenant>, number: &str) -> Result<Response<Body>, Trouble> {
        let (request, forward) = self.known(tenant, number)?;
        // Whether it still may is judged in the lane: an officer may take it up at this moment.
        let act = Act::TakeBack { id: request.id, ground: TAKEN_BACK.to_owned() };
        if let Err(refused) = desk.step(tenant, act, None).await {
            let (now, _) = self.known(tenant, number)?;
            return Err(match ForwardedStatus::of(now.state) {
                ForwardedStatus::Pending => refused.into(),
                status => {
                    let message =
                        format!("the request is {}; only one that is pending can be cancelled", status.as_str());
                    Trouble::new(StatusCode::BAD_REQUEST, "PRIVACY_REQUEST_STATE", message)
                }
            });
        }
        let answer = TakenBack {
            controller_id: &tenant.name,
            subject_request_id: &uuid(&forward.from.number),
            received_time: time(desk.app.now()),
            api_version: API_VERSION,
        };
        signed(&self.processor, StatusCode::ACCEPTED, &answer).await
    }

    /// Hands over what is held, once: that completes the request.
    async fn results(&self, desk: &Privacy, tenant: &Arc<Tenant>, number: &str) -> Result<Response<Body>, Trouble> {
        reading::durable(tenant).await?;
        let (request, _) = self.known(tenant, number)?;
        if !has_results(&request, &tenant.state().privacy.policy) {
            let status = ForwardedStatus::of(request.state).as_str();
            let message = format!("the request is {status}: there is nothing to fetch; its status says when there is");
            return Err(Trouble::new(StatusCode::BAD_REQUEST, "PRIVACY_REQUEST_STATE", message));
        }
        let of = Arc::clone(tenant);
        let scope =
            tokio::task::spawn_blocking(move || privacy::preview(&of, request.id).map(|(plan, _)| plan.scope()));
        let scope = scope.await.map_err(|_| status::internal("the call was interrupted"))?.map_err(status::write)?;
        let to = format!("opendsr/{}", rights::reader());
        let pieces = export::stream(desk.clone(), Arc::clone(tenant), request.id, scope, to).await?.into_inner();
        let mut pieces = Box::pin(pieces.filter_map(|piece| match piece.map(|message| message.part) {
            Ok(Some(Part::Json(bytes))) => Some(Ok(Bytes::from(bytes))),
            Ok(Some(Part::End(_)) | None) => None,
            Err(status) => Some(Err(status)),
        }));
        // What stands in the way is mostly known before the first piece; what comes later breaks the answer off.
        let first = pieces.next().await.ok_or_else(|| status::internal("the export was interrupted"))??;
        let all = tokio_stream::once(Ok(first)).chain(pieces);
        let body = StreamBody::new(all.map(|piece: Result<Bytes, Status>| piece.map(Frame::data)));
        let mut answer = Response::new(Body::new(body));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }
}

/// The tenant of a path: the one that it names, or the caller's only one, or the default.
fn tenant_of(named: Option<&str>, holder: Option<&Holder>) -> Result<String, Trouble> {
    let own = holder.map(|holder| &holder.caller.reach);
    match (named, own) {
        (Some(named), _) => Ok(named.to_owned()),
        (None, None | Some(Reach::All)) => Ok(DEFAULT_TENANT.to_owned()),
        (None, Some(Reach::Tenants(own))) => match &own[..] {
            [one] => Ok(one.to_string()),
            _ => {
                let message = "these credentials are good for several tenants: name one, /v2/tenants/{tenant}/requests";
                Err(Trouble::new(StatusCode::BAD_REQUEST, "REQUEST_INVALID", message))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_with_the_version_and_lead_to_one_route() {
        let ours = |tenant, older, route| Some(Path { tenant, older, route });
        for (text, want) in [
            ("/v2/discovery", ours(None, false, Some(Route::Discovery))),
            ("/v2/discovery/", ours(None, false, Some(Route::Discovery))),
            ("/v2/requests", ours(None, false, Some(Route::Requests))),
            ("/v2/requests/n", ours(None, false, Some(Route::One("n")))),
            ("/v2/requests/n/results", ours(None, false, Some(Route::Results("n")))),
            ("/v2/tenants/acme/requests/n", ours(Some("acme"), false, Some(Route::One("n")))),
            ("/v1/opengdpr_requests", ours(None, true, Some(Route::Requests))),
            ("/v2/status/n", ours(None, false, Some(Route::One("n")))),
            ("/v1/requests", ours(None, true, None)),
            ("/v2/tenants/acme", ours(None, false, None)),
            ("/v2/", ours(None, false, None)),
            ("/v3/requests", None),
            ("/onefold.v1.PrivacyService/GetPrivacyRequest", None),
        ] {
            assert_eq!(path(text), want, "{text}");
        }
    }
}
