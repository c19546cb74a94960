//! Who may call what: one table, asked in front of every service. An RPC without a row is refused to everybody.
//!
//! Which tenant a call is about stands in its message, so the caller goes with the call, and [`reach`] is asked where a
//! tenant's name becomes a tenant. Work that a call leaves behind takes its caller along with [`carried`]; without one
//! nothing is reached.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use onefold_core::access::Role::{self, Admin, Auditor, Ingest, PrivacyOfficer, Reader, Steward};
use onefold_core::access::Roles;
use onefold_core::reads::Reader as Reads;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::connections::Line;
use super::lasting::{Holder, Lasting};
use super::status;
use crate::app::App;
use crate::app::access::{Caller, Who};
use crate::config::SIDE_STREAM_AGE_MAX;
use crate::tokens::Refused;
use crate::traces;

/// What answers whoever calls.
const OPEN_TO_ALL: &str = "/grpc.health.v1.Health/";
/// What answers whoever has a key.
const OPEN_TO_KEYS: &str = "/grpc.reflection.";
const EVERYBODY: &[Role] = &[Ingest, Reader, Steward, PrivacyOfficer, Auditor, Admin];
const READERS: &[Role] = &[Reader, Steward, PrivacyOfficer];

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// One tenant, which its message names.
    Tenant,
    /// The installation: keys of one tenant are not enough.
    Installation,
}

use About::{Installation, Tenant};

/// An RPC: its name, who may call it, and what it is about.
type Row = (&'static str, &'static [Role], About);

/// Every RPC, by service.
const TABLE: &[(&str, &[Row])] = &[
    (
        "IngestService",
        &[
            ("StreamFragments", &[Ingest], Tenant),
            ("PutFragment", &[Ingest], Tenant),
            ("RetractRecord", &[Ingest], Tenant),
            ("ListQuarantine", &[Steward], Tenant),
            ("ReplayQuarantine", &[Steward], Tenant),
            ("DiscardQuarantine", &[Steward], Tenant),
        ],
    ),
    (
        "ProfileService",
        &[
            ("GetProfile", READERS, Tenant),
            ("LookupProfile", READERS, Tenant),
            ("BatchLookupProfiles", READERS, Tenant),
            ("SearchProfiles", READERS, Tenant),
            ("ExplainLink", READERS, Tenant),
            ("ExplainProfile", READERS, Tenant),
            ("ListProfileHistory", &[Reader, Steward, PrivacyOfficer, Auditor], Tenant),
            ("WatchProfiles", &[Reader, PrivacyOfficer], Tenant),
        ],
    ),
    (
        "ConsentService",
        &[
            ("RecordConsent", &[Ingest, PrivacyOfficer], Tenant),
            ("StreamConsents", &[Ingest], Tenant),
            ("GetConsentState", READERS, Tenant),
            ("ListStatements", &[Reader, Steward, PrivacyOfficer, Auditor], Tenant),
            ("ConfirmConsent", &[Ingest], Tenant),
            ("IssueUnsubscribeToken", &[Reader], Tenant),
            ("Unsubscribe", &[Ingest, Reader], Tenant),
            ("GetConsentReceipt", &[Reader, PrivacyOfficer, Auditor], Tenant),
            ("DecideContact", &[Reader], Tenant),
            ("DecideContacts", &[Reader], Tenant),
            ("ConfirmReservation", &[Reader], Tenant),
            ("ReleaseReservation", &[Reader], Tenant),
            ("GetConsentPolicy", EVERYBODY, Tenant),
            ("UpdateConsentPolicy", &[PrivacyOfficer, Admin], Tenant),
        ],
    ),
    (
        "AccountService",
        &[
            ("PutAccount", &[Ingest, Steward], Tenant),
            ("GetAccount", READERS, Tenant),
            ("MoveAccount", &[Ingest, Steward], Tenant),
            ("CloseAccount", &[Ingest, Steward], Tenant),
            ("ListChildren", READERS, Tenant),
            ("GetRollup", READERS, Tenant),
            ("ImportHierarchy", &[Ingest, Steward], Tenant),
            ("PutAffiliation", &[Ingest, Steward], Tenant),
            ("EndAffiliation", &[Ingest, Steward], Tenant),
            ("ListAffiliations", READERS, Tenant),
            ("ProposeAccounts", READERS, Tenant),
            ("ConfirmAccount", &[Steward], Tenant),
            ("PutLifecycle", &[Admin], Tenant),
            ("GetLifecycle", EVERYBODY, Tenant),
            ("SetStage", &[Ingest, Steward], Tenant),
            ("GetStage", READERS, Tenant),
            ("ListStageHistory", READERS, Tenant),
        ],
    ),
    (
        "ReviewService",
        &[
            ("ListQuestions", &[Steward], Tenant),
            ("Judge", &[Steward], Tenant),
            ("WithdrawJudgements", &[Steward], Tenant),
            ("ListJudgements", &[Steward, Auditor], Tenant),
            ("MergeProfiles", &[Steward], Tenant),
            ("SplitProfile", &[Steward], Tenant),
        ],
    ),
    (
        "PrivacyService",
        &[
            ("CreatePrivacyRequest", &[PrivacyOfficer], Tenant),
            ("GetPrivacyRequest", &[PrivacyOfficer, Auditor], Tenant),
            ("ListPrivacyRequests", &[PrivacyOfficer, Auditor], Tenant),
            ("VerifyPrivacyRequest", &[PrivacyOfficer], Tenant),
            ("PreviewErasure", &[PrivacyOfficer], Tenant),
            ("ApprovePrivacyRequest", &[PrivacyOfficer], Tenant),
            ("ExecuteErasure", &[PrivacyOfficer], Tenant),
            ("PreviewAccessExport", &[PrivacyOfficer], Tenant),
            ("StreamAccessExport", &[PrivacyOfficer], Tenant),
            ("StreamHeldIdentifiers", &[PrivacyOfficer], Tenant),
            ("ExecuteRestriction", &[PrivacyOfficer], Tenant),
            ("LiftRestriction", &[PrivacyOfficer], Tenant),
            ("ExecuteObjection", &[PrivacyOfficer], Tenant),
            ("ExecuteRectification", &[PrivacyOfficer], Tenant),
            ("ExtendPrivacyRequest", &[PrivacyOfficer], Tenant),
            ("RefusePrivacyRequest", &[PrivacyOfficer], Tenant),
            ("CancelPrivacyRequest", &[PrivacyOfficer], Tenant),
            // Consumers of the feed confirm that they erased what they keep.
            ("ConfirmErasure", &[Reader, PrivacyOfficer], Tenant),
            ("GetErasureReceipt", &[PrivacyOfficer, Auditor], Tenant),
            ("Readmit", &[PrivacyOfficer], Tenant),
            ("GetPrivacyPolicy", &[PrivacyOfficer, Auditor, Admin], Tenant),
            ("ListReads", &[PrivacyOfficer, Auditor], Tenant),
            ("ListDecisions", &[PrivacyOfficer, Auditor], Tenant),
            ("UpdatePrivacyPolicy", &[PrivacyOfficer, Admin], Tenant),
        ],
    ),
    ("AuditService", &[("VerifyLog", &[Auditor, Admin], Installation)]),
    ("BackupService", &[("StreamBackup", &[Admin], Installation)]),
    (
        "AdminService",
        &[
            ("CreateTenant", &[Admin], Installation),
            ("GetTenant", EVERYBODY, Tenant),
            ("ListTenants", &[Auditor, Admin], Installation),
            ("UpdateTenant", &[Admin], Tenant),
            ("PutSource", &[Admin], Tenant),
            ("ListSources", EVERYBODY, Tenant),
            ("PutNamespace", &[Admin], Tenant),
            ("ListNamespaces", EVERYBODY, Tenant),
            ("ListModels", &[Steward, Auditor, Admin], Tenant),
            ("GetModel", &[Steward, Auditor, Admin], Tenant),
            ("TrainModel", &[Steward, Admin], Tenant),
            ("PreviewModel", &[Steward, Admin], Tenant),
            ("SetModel", &[Admin], Tenant),
            ("GetStatistics", EVERYBODY, Tenant),
            ("GetDigest", &[Auditor, Admin], Tenant),
            ("CreateApiKey", &[Admin], Tenant),
            ("ListApiKeys", &[Auditor, Admin], Tenant),
            ("RevokeApiKey", &[Admin], Tenant),
        ],
    ),
];

/// Calls whose answers are streams: they end when the key does.
const STREAMS: &[&str] = &[
    "StreamFragments",
    "WatchProfiles",
    "StreamConsents",
    "DecideContacts",
    "VerifyLog",
    "StreamBackup",
    "StreamAccessExport",
    "StreamHeldIdentifiers",
];
/// Calls with one answer to a stream of messages: they end when the key does.
const STREAMS_IN: &[&str] = &["ImportHierarchy"];

/// The table by path.
static RULES: LazyLock<HashMap<String, (Roles, About)>> = LazyLock::new(|| {
    let of = |service: &'static str, rows: &'static [Row]| {
        rows.iter()
            .map(move |(method, roles, about)| (format!("/onefold.v1.{service}/{method}"), (Roles::of(roles), *about)))
    };
    TABLE.iter().flat_map(|(service, rows)| of(service, rows)).collect()
});

/// The roles that may make this call, by its path `/onefold.v1.{Service}/{Method}`; `None` for none of ours.
#[must_use]
pub fn roles_allowed(path: &str) -> Option<&'static [Role]> {
    let (service, method) = path.strip_prefix("/onefold.v1.")?.split_once('/')?;
    let (_, rows) = TABLE.iter().find(|(known, _)| *known == service)?;
    rows.iter().find(|(known, ..)| *known == method).map(|(_, roles, _)| *roles)
}

/// The paths of all RPCs, in the order of their services.
pub fn paths() -> Vec<String> {
    let of = |(service, rows): &(&str, &'static [Row])| {
        let service = (*service).to_owned();
        rows.iter().map(move |(method, ..)| format!("/onefold.v1.{service}/{method}"))
    };
    TABLE.iter().flat_map(of).collect()
}

/// Whether the answer to a call is a stream.
pub fn is_stream(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|method| STREAMS.contains(&method))
}

tokio::task_local! {
    static CALLER: Caller;
}

/// The caller of the work that runs here; none where nobody is asked who they are.
pub fn caller() -> Option<Caller> {
    CALLER.try_with(Clone::clone).ok()
}

/// Whether whoever calls is good for every tenant, as everybody is where nobody is asked who they are.
pub fn reaches_all(app: &App) -> bool {
    !app.shared.access.required() || caller().is_some_and(|caller| caller.reaches_all())
}

/// Whether whoever calls may read profiles without a purpose where a purpose is asked for: whose work is about the data, not
/// with it, or to look after those. Where nobody is asked who they are, nobody.
pub fn may_read_for_nothing() -> bool {
    caller().is_some_and(|caller| caller.roles.meet(Roles::of(&[Steward, PrivacyOfficer, Auditor])))
}

/// Who reads, as the log of reads names them.
pub fn reader() -> Reads {
    CALLER.try_with(|caller| caller.who).map_or(Reads::Anonymous, |who| match who {
        Who::Operator => Reads::Administrator,
        Who::Key(id) => Reads::Key(id),
        Who::Subject(digest) => Reads::Subject(digest),
    })
}

/// Work of a call that did not come by gRPC, as its caller.
pub async fn acting<F: Future>(holder: Option<&Holder>, work: F) -> F::Output {
    match holder {
        Some(holder) => CALLER.scope(holder.caller.clone(), work).await,
        None => work.await,
    }
}

/// Work that goes on behind a call, as its caller and as a part of it.
pub fn carried<F: Future + Send>(work: F) -> impl Future<Output = F::Output> + Send {
    let caller = caller();
    let work = traces::carried(work);
    async move {
        match caller {
            Some(caller) => CALLER.scope(caller, work).await,
            None => work.await,
        }
    }
}

/// Whether whoever calls may reach this tenant, there or not.
///
/// # Errors
/// PERMISSION_DENIED for a key of another tenant, UNAUTHENTICATED for one that has ended meanwhile.
pub fn reach(app: &App, tenant: &str) -> Result<(), Status> {
    let access = &app.shared.access;
    if !access.required() {
        return Ok(());
    }
    match caller() {
        Some(caller) if !access.holds(&caller, app.now()) => Err(status::credentials_invalid()),
        Some(caller) if caller.reaches(tenant) => Ok(()),
        _ => Err(status::tenant_not_allowed()),
    }
}

/// Asks every caller who they are, once it is known whom there is.
#[derive(Clone, Debug)]
pub struct Guard {
    required: bool,
    app: Arc<OnceLock<Arc<App>>>,
}

impl Guard {
    /// Where authentication is not required everybody passes.
    pub fn new(required: bool) -> Self {
        Self { required, app: Arc::default() }
    }

    /// Knows the keys from now on.
    pub fn open(&self, app: &Arc<App>) {
        let _ = self.app.set(Arc::clone(app));
    }

    /// Who calls beside gRPC, if they may make the call of this RPC; none where nobody is asked who they are.
    ///
    /// # Errors
    /// Why not, as of the RPC.
    pub async fn let_in(&self, headers: &HeaderMap, rpc: &str) -> Result<Option<Holder>, Status> {
        if !self.required {
            return Ok(None);
        }
        match self.admit(headers, rpc) {
            Ok(holder) => Ok(Some(holder)),
            Err(Denied::Told(refused)) => Err(refused),
            Err(Denied::KeyUnknown(app)) => {
                if let Some(tokens) = app.shared.access.tokens() {
                    tokens.ask_again().await;
                }
                match self.admit(headers, rpc) {
                    Ok(holder) => Ok(Some(holder)),
                    Err(Denied::Told(refused)) => Err(refused),
                    Err(Denied::KeyUnknown(_)) => Err(status::credentials_invalid()),
                }
            }
        }
    }

    /// Who calls, if they may.
    fn admit(&self, headers: &HeaderMap, path: &str) -> Result<Holder, Denied> {
        let app = self.app.get().ok_or_else(status::recovering)?;
        let given = headers.get(AUTHORIZATION).ok_or_else(status::credentials_missing)?;
        let token = given.to_str().ok().and_then(|text| text.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let caller = match token.ok_or(Refused::Bad).and_then(|token| app.shared.access.caller(token, app.now())) {
            Ok(caller) => caller,
            Err(Refused::KeyUnknown) => return Err(Denied::KeyUnknown(Arc::clone(app))),
            Err(Refused::Bad) => return Err(status::credentials_invalid().into()),
        };
        if !path.starts_with(OPEN_TO_KEYS) {
            let (roles, about) = RULES.get(path).copied().unwrap_or((Roles::default(), Installation));
            if !roles.meet(caller.roles) {
                return Err(status::role_not_allowed().into());
            }
            if about == Installation && !caller.reaches_all() {
                return Err(status::tenant_not_allowed().into());
            }
        }
        Ok(Holder { app: Arc::clone(app), caller })
    }
}

/// Why somebody is not let in.
enum Denied {
    /// For this reason.
    Told(Status),
    /// Their token shows a key that is not known yet.
    KeyUnknown(Arc<App>),
}

impl From<Status> for Denied {
    fn from(status: Status) -> Self {
        Self::Told(status)
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.clone() }
    }
}

/// A service behind a [`Guard`].
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let line = request.extensions().get::<Line>().cloned();
        let path = request.uri().path();
        let method = path.rsplit('/').next().unwrap_or(path);
        let beside = path.starts_with(OPEN_TO_ALL) || path.starts_with(OPEN_TO_KEYS);
        let answers = beside || STREAMS.contains(&method);
        let asks = STREAMS_IN.contains(&method);
        let age_max = beside.then_some(SIDE_STREAM_AGE_MAX);
        if !self.guard.required || path.starts_with(OPEN_TO_ALL) {
            let busy = line.map(|line| line.calls());
            let answer = self.inner.call(request);
            return Box::pin(async move {
                let answer = answer.await?;
                Ok(if answers { answer.map(|body| Lasting::body(body, None, age_max, busy)) } else { answer })
            });
        }
        let holder = match self.guard.admit(request.headers(), path) {
            Ok(holder) => holder,
            Err(Denied::Told(refused)) => return Box::pin(std::future::ready(Ok(refused.into_http()))),
            Err(Denied::KeyUnknown(app)) => {
                let mut again = self.clone();
                return Box::pin(async move {
                    // The issuer may have made it a moment ago.
                    if let Some(tokens) = app.shared.access.tokens() {
                        tokens.ask_again().await;
                    }
                    match again.guard.admit(request.headers(), request.uri().path()) {
                        Ok(_) => again.call(request).await,
                        Err(Denied::Told(refused)) => Ok(refused.into_http()),
                        Err(Denied::KeyUnknown(_)) => Ok(status::credentials_invalid().into_http()),
                    }
                });
            }
        };
        // Who was let in keeps the connection; a stranger's call is none.
        let busy = line.map(|line| line.calls());
        // Nothing behind here needs the key itself.
        request.headers_mut().remove(AUTHORIZATION);
        let answer = CALLER.scope(holder.caller.clone(), self.inner.call(request));
        Box::pin(async move {
            let answer = if asks {
                tokio::select! {
                    biased;
                    answered = answer => answered?,
                    () = holder.ended() => return Ok(status::credentials_invalid().into_http()),
                }
            } else {
                answer.await?
            };
            Ok(if answers { answer.map(|body| Lasting::body(body, Some(holder), age_max, busy)) } else { answer })
        })
    }
}

#[cfg(test)]
mod tests {
    use onefold_proto::v1::FILE_DESCRIPTOR_SET;
    use prost::Message;

    use super::*;

    #[test]
    fn every_rpc_has_a_rule_and_every_rule_an_rpc() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let mut declared = Vec::new();
        let (mut streams, mut taken) = (Vec::new(), Vec::new());
        for service in set.file.iter().filter(|file| file.package() == "onefold.v1").flat_map(|file| &file.service) {
            for method in &service.method {
                declared.push(format!("/onefold.v1.{}/{}", service.name(), method.name()));
                streams.extend(method.server_streaming().then(|| method.name().to_owned()));
                let once = method.client_streaming() && !method.server_streaming();
                taken.extend(once.then(|| method.name().to_owned()));
            }
        }
        let mut ruled: Vec<String> = RULES.keys().cloned().collect();
        declared.sort();
        ruled.sort();
        assert_eq!(declared, ruled);
        streams.sort();
        let mut known = STREAMS.to_vec();
        known.sort_unstable();
        assert_eq!(streams, known);
        taken.sort();
        assert_eq!(taken, STREAMS_IN);
        assert_eq!(TABLE.iter().map(|(_, rows)| rows.len()).sum::<usize>(), RULES.len(), "one row each");
        for path in &declared {
            assert!(roles_allowed(path).is_some_and(|roles| !roles.is_empty()), "{path}");
        }
        assert_eq!(roles_allowed("/onefold.v1.AdminService/Unheard"), None);
    }
}
