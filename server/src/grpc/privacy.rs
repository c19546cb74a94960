//! PrivacyService: requests of persons, erasure and its proof, exports.

mod decisions;
pub(super) mod export;
mod outside;
mod reads;

use std::sync::Arc;

use onefold_core::access::{Role, Roles};
use onefold_core::consent::Subject as About;
use onefold_core::erasure::{
    self, PrivacyPolicy, PrivacyRequest, Receipt, Regulation, RequestKind, RequestState, Subject, is_token,
};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, Sequence};
use onefold_core::limits;
use onefold_core::reads::{ReadCall, ReadLogMode, ReadLogPolicy};
use onefold_matching::prepared::LinkValue;
use onefold_proto::v1 as pb;
use onefold_proto::v1::privacy_service_server::PrivacyService;
use prost::Message;
use tonic::{Request, Response, Status};

use super::convert::consent as door;
use super::convert::fragment::timestamp;
use super::mount::answer;
use super::page::{self, Page};
use super::serving::KeptAnswers;
use super::{carry, reading, requests, rights, status};
use crate::app::App;
use crate::app::access::Who;
use crate::app::error::{ReadError, WriteError};
use crate::app::privacy::act::{Act, Done};
use crate::app::privacy::{self, receipt};
use crate::app::read;
use crate::app::requests::RequestKey;
use crate::app::tenant::{State, Tenant};

/// The service.
#[derive(Clone, Debug)]
pub struct Privacy {
    /// The use cases.
    pub app: Arc<App>,
    /// Profiles' answers that are kept; an erasure drops them.
    pub kept: KeptAnswers,
}

pub(super) fn token(text: &str, path: &str) -> Result<String, Status> {
    if is_token(text) {
        return Ok(text.to_owned());
    }
    let message = "give one word of at most 64 letters, digits and ._:/- : it is kept in the clear";
    let reason = if text.is_empty() { FaultReason::Missing } else { FaultReason::Malformed };
    Err(status::field(path, reason, message))
}

/// Who takes a step: the name they give, and whom they were let in as, which nobody can choose.
pub(super) fn signed(by: &str) -> Result<String, Status> {
    let name = token(by, "by")?;
    let let_in_as = rights::caller().map(|_| rights::reader().to_string());
    Ok(erasure::signed(&name, let_in_as.as_deref()))
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn etag(text: &str) -> Result<Digest128, Status> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
    let message = "give the etag that the preview showed";
    let reason = if text.is_empty() { FaultReason::Missing } else { FaultReason::Malformed };
    number.map(|number| Digest128(number.to_be_bytes())).ok_or_else(|| status::field("etag", reason, message))
}

const KINDS: [(pb::PrivacyRequestKind, RequestKind); 8] = [
    (pb::PrivacyRequestKind::Erasure, RequestKind::Erasure),
    (pb::PrivacyRequestKind::Access, RequestKind::Access),
    (pb::PrivacyRequestKind::Portability, RequestKind::Portability),
    (pb::PrivacyRequestKind::Rectification, RequestKind::Rectification),
    (pb::PrivacyRequestKind::Restriction, RequestKind::Restriction),
    (pb::PrivacyRequestKind::Objection, RequestKind::Objection),
    (pb::PrivacyRequestKind::OptOutSaleShare, RequestKind::OptOutSaleShare),
    (pb::PrivacyRequestKind::LimitSensitive, RequestKind::LimitSensitive),
];

fn kind_out(kind: RequestKind) -> i32 {
    KINDS.iter().find(|(_, known)| *known == kind).map_or(0, |(wire, _)| *wire as i32)
}

fn kind_in(wire: i32) -> Option<RequestKind> {
    KINDS.iter().find(|(known, _)| *known as i32 == wire).map(|(_, kind)| *kind)
}

const fn state_out(state: RequestState) -> pb::PrivacyRequestState {
    match state {
        RequestState::Received => pb::PrivacyRequestState::Received,
        RequestState::Verified => pb::PrivacyRequestState::Verified,
        RequestState::Approved => pb::PrivacyRequestState::Approved,
        RequestState::InProgress => pb::PrivacyRequestState::InProgress,
        RequestState::Completed => pb::PrivacyRequestState::Completed,
        RequestState::Refused => pb::PrivacyRequestState::Refused,
        RequestState::Cancelled => pb::PrivacyRequestState::Cancelled,
    }
}

fn request_out(tenant: &Tenant, state: &State, request: &PrivacyRequest, now: ObservedAt) -> pb::PrivacyRequest {
    let stopped = state.privacy.stopped.get(&request.id).copied().unwrap_or(0);
    let exported = state.privacy.exports.get(&request.id);
    let kind = kind_out(request.kind);
    let confirmation = |one: &onefold_core::erasure::Confirmation| pb::ErasureConfirmation {
        consumer: one.consumer.clone(),
        due_time: Some(timestamp(one.due_at)),
        confirm_time: one.confirmed_at.map(timestamp),
    };
    let verification = request.verification.clone();
    let (verification_method, verified_by) = verification.map(|how| (how.method, how.by)).unwrap_or_default();
    pb::PrivacyRequest {
        name: receipt::name(&tenant.name, request.id),
        kind,
        regulation: request.regulation.as_str().to_owned(),
        state: state_out(request.state) as i32,
        reference: request.reference.clone(),
        received_time: Some(timestamp(request.received_at)),
        due_time: Some(timestamp(request.answer_by())),
        acknowledge_time: request.acknowledge_by().map(timestamp),
        extension_ground: request.extension.as_ref().map(|more| more.ground.clone()).unwrap_or_default(),
        verification_method,
        verified_by,
        approved_by: request.approval.as_ref().map(|approval| approval.by.clone()).unwrap_or_default(),
        ground: request.ground.clone().unwrap_or_default(),
        end_time: request.ended_at.map(timestamp),
        confirmations: request.confirmations.iter().map(confirmation).collect(),
        resends_stopped: stopped,
        overdue: request.is_overdue(now),
        delivered_to: exported.map(|exported| exported.to.clone()).unwrap_or_default(),
        delivered_digest: exported.map(|exported| hexadecimal(&exported.digest)).unwrap_or_default(),
        outcomes: privacy::carried(state, request.id).iter().map(|done| carry::outcome_out(tenant, done)).collect(),
    }
}

/// What is kept beside a request: how often something of it was sent again and stopped, and what was handed over.
fn policy_out((policy, read_log): (&PrivacyPolicy, ReadLogPolicy)) -> pb::PrivacyPolicy {
    let mode = MODES.iter().find(|(_, mode)| *mode == read_log.mode).map_or(0, |(wire, _)| *wire as i32);
    pb::PrivacyPolicy {
        read_log: mode,
        read_log_retention_days: u32::from(read_log.retention_days),
        second_person: policy.second_person,
        second_person_for: policy.second_person_for.iter().map(|kind| kind_out(*kind)).collect(),
        purpose_required: policy.purpose_required,
        consumers: policy.consumers.clone(),
        confirm_within_days: u32::from(policy.confirm_within_days),
        review_after_days: u32::from(policy.review_after_days),
    }
}

const MODES: [(pb::ReadLogMode, ReadLogMode); 4] = [
    (pb::ReadLogMode::Unspecified, ReadLogMode::WithAuthentication),
    (pb::ReadLogMode::Off, ReadLogMode::Off),
    (pb::ReadLogMode::On, ReadLogMode::On),
    (pb::ReadLogMode::Strict, ReadLogMode::Strict),
];

fn policy_in(wire: Option<pb::PrivacyPolicy>) -> Result<(PrivacyPolicy, ReadLogPolicy), Status> {
    let wire = wire.ok_or_else(|| status::field("policy", FaultReason::Missing, "give the whole policy"))?;
    let usual = PrivacyPolicy::default();
    let days = |given: u32, usual: u16, path: &str| match u16::try_from(given) {
        Ok(0) => Ok(usual),
        Ok(days) => Ok(days),
        Err(_) => Err(status::field(path, FaultReason::TooLarge, format!("at most {} days", u16::MAX))),
    };
    if wire.consumers.len() > limits::CONSUMERS_MAX {
        let message = format!("at most {} consumers", limits::CONSUMERS_MAX);
        return Err(status::field("policy.consumers", FaultReason::TooLarge, message));
    }
    let consumers = wire.consumers.iter().enumerate();
    let mut consumers = consumers
        .map(|(at, consumer)| token(consumer, &format!("policy.consumers[{at}]")))
        .collect::<Result<Vec<_>, _>>()?;
    consumers.sort();
    consumers.dedup();
    let mode = MODES.iter().find(|(known, _)| *known as i32 == wire.read_log).map(|(_, mode)| *mode);
    let unknown = || status::field("policy.read_log", FaultReason::Unknown, "give OFF, ON, STRICT, or nothing");
    let kept = ReadLogPolicy::default().retention_days;
    let read_log = ReadLogPolicy {
        mode: mode.ok_or_else(unknown)?,
        retention_days: days(wire.read_log_retention_days, kept, "policy.read_log_retention_days")?,
    };
    let kind = |wire: &i32| {
        let unknown = || status::field("policy.second_person_for", FaultReason::Unknown, "give kinds of requests");
        kind_in(*wire).ok_or_else(unknown)
    };
    let mut second_person_for = wire.second_person_for.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    second_person_for.sort_by_key(|kind| kind_out(*kind));
    second_person_for.dedup();
    let policy = PrivacyPolicy {
        second_person_for,
        purpose_required: wire.purpose_required,
        second_person: wire.second_person,
        consumers,
        confirm_within_days: days(wire.confirm_within_days, usual.confirm_within_days, "policy.confirm_within_days")?,
        review_after_days: days(wire.review_after_days, usual.review_after_days, "policy.review_after_days")?,
    };
    Ok((policy, read_log))
}

/// Whether whoever calls may say for a consumer that it erased: the consumer itself, by the name of its key or as its issuer
/// knows it, or a privacy officer.
fn may_confirm(tenant: &Tenant, consumer: &str) -> Result<(), Status> {
    let Some(caller) = rights::caller() else { return Ok(()) };
    let is_it = match caller.who {
        Who::Key(id) => tenant.state().api_keys.get(id).is_some_and(|key| key.display_name == consumer),
        Who::Subject(_) => rights::reader().to_string() == consumer,
        Who::Operator => false,
    };
    let may = is_it || caller.roles.meet(Roles::of(&[Role::PrivacyOfficer]));
    if may { Ok(()) } else { Err(status::consumer_not_caller()) }
}

/// The digests of telephone numbers as they were read while other default regions held.
fn read_before(tenant: &Tenant, subjects: &[pb::ConsentSubject]) -> Vec<Digest128> {
    let (state, config) = (tenant.state(), tenant.config());
    let named = subjects.iter().filter_map(|one| match &one.subject {
        Some(pb::consent_subject::Subject::Identifier(one)) => {
            Some((config.namespace_named(&one.namespace)?, &one.value))
        }
        _ => None,
    });
    let under = |(namespace, raw): (_, &String)| {
        let regions = state.privacy.former_regions.iter();
        let read = |region: &Option<String>| config.preparer().contact_point_under(namespace, raw, region.as_deref());
        regions.flat_map(read).collect::<Vec<_>>()
    };
    named.flat_map(under).collect()
}

/// Whoever is watched by a control does not take it off: that takes an administrator, where callers are asked who they are.
fn may_set(tenant: &Tenant, policy: &PrivacyPolicy, read_log: &ReadLogPolicy) -> Result<(), Status> {
    let Some(caller) = rights::caller() else { return Ok(()) };
    let state = tenant.state();
    let weaker = policy.is_weaker_than(&state.privacy.policy) || read_log.is_weaker_than(&state.privacy.read_log);
    let administers = caller.roles.meet(Roles::of(&[Role::Admin]));
    if weaker && !administers { Err(status::role_not_allowed()) } else { Ok(()) }
}

/// What a tenant wants, on the wire.
fn wanted(tenant: &Tenant) -> pb::PrivacyPolicy {
    let state = tenant.state();
    policy_out((&state.privacy.policy, state.privacy.read_log))
}

impl Privacy {
    /// The tenant and the request that a name leads to.
    pub(super) fn named(&self, name: &str) -> Result<(Arc<Tenant>, Sequence), Status> {
        let bad = || status::field("name", FaultReason::Malformed, "give `tenants/{tenant}/privacyRequests/{number}`");
        let (tenant, number) =
            name.strip_prefix("tenants/").and_then(|rest| rest.split_once("/privacyRequests/")).ok_or_else(bad)?;
        // A number has one spelling: `+1` is none.
        let plain = number.bytes().all(|digit| digit.is_ascii_digit());
        let id = number.parse().ok().filter(|_| plain).ok_or_else(bad)?;
        Ok((reading::named(&self.app, tenant)?, Sequence(id)))
    }

    pub(super) fn key(
        &self,
        tenant: &Tenant,
        id: &str,
        method: &str,
        request: &impl Message,
    ) -> Result<Option<RequestKey>, Status> {
        requests::named(id, method, request, &tenant.keys.index)
    }

    pub(super) async fn step(&self, tenant: &Arc<Tenant>, act: Act, key: Option<RequestKey>) -> Result<Done, Status> {
        self.app.privacy(tenant, act, key).await.map_err(status::write)
    }

    pub(super) fn shown(&self, tenant: &Tenant, request: &PrivacyRequest) -> pb::PrivacyRequest {
        request_out(tenant, &tenant.state(), request, self.app.now())
    }

    /// Takes a step of a request and shows it as it stands then.
    async fn stepped(
        &self,
        tenant: &Arc<Tenant>,
        act: Act,
        key: Option<RequestKey>,
    ) -> Result<Option<pb::PrivacyRequest>, Status> {
        let done = self.step(tenant, act, key).await?;
        Ok(done.request.map(|request| self.shown(tenant, &request)))
    }

    /// Whom subjects name, without a value of theirs.
    pub(super) fn subject(&self, tenant: &Tenant, wire: Vec<pb::ConsentSubject>) -> Result<Subject, Status> {
        if wire.is_empty() {
            let message = "name a profile, an identifier or a source record";
            return Err(status::field("subjects", FaultReason::Missing, message));
        }
        if wire.len() > limits::REQUEST_SUBJECTS_MAX {
            let message = format!("at most {} subjects in one request", limits::REQUEST_SUBJECTS_MAX);
            return Err(status::field("subjects", FaultReason::TooLarge, message));
        }
        let config = tenant.config();
        let mut subject = Subject::default();
        for (at, wire) in wire.into_iter().enumerate() {
            let inside = |faults: Vec<FieldFault>| {
                let faults = faults.into_iter().map(|fault| {
                    let path = fault.path.replacen("subject", &format!("subjects[{at}]"), 1);
                    FieldFault { path, ..fault }
                });
                status::write(WriteError::Invalid(faults.collect()))
            };
            let about = door::subject(Some(wire), tenant, &config).map_err(inside)?;
            let failed = |error| Status::from(status::ReadErrorIn { tenant: &tenant.name, error });
            match about.subject {
                // Of an id that was split nobody can tell which part is meant.
                About::Profile(profile) => match read::find(tenant, &about.who.key) {
                    Err(split @ ReadError::ProfileSplit { .. }) => return Err(failed(split)),
                    Ok(_) | Err(_) => subject.profiles.push(profile),
                },
                About::Record(_) => subject.records.extend(about.who.points),
                About::Identifier { namespace, .. } => {
                    match read::find(tenant, &about.who.key) {
                        Ok(profile) => subject.profiles.push(profile),
                        // Whoever is left of the one that it led to; or somebody who is not here: the request is answered all
                        // the same.
                        Err(ReadError::ProfileUnknown) => {
                            let values = about.who.points.iter().map(|digest| LinkValue { namespace, digest: *digest });
                            subject.profiles.extend(read::last_led_to(tenant, values).map_err(failed)?);
                        }
                        Err(error) => return Err(failed(error)),
                    }
                    subject.identifiers.extend(about.who.points.into_iter().map(|point| (namespace, point)));
                }
            }
        }
        Ok(subject)
    }
}

#[tonic::async_trait]
impl PrivacyService for Privacy {
    type StreamAccessExportStream = export::Pieces;
    type StreamHeldIdentifiersStream = outside::Places;

    async fn create_privacy_request(
        &self,
        request: Request<pb::CreatePrivacyRequestRequest>,
    ) -> Result<Response<pb::CreatePrivacyRequestResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let key = self.key(&tenant, &request.request_id, "CreatePrivacyRequest", &request)?;
        let kind = kind_in(request.kind)
            .ok_or_else(|| status::field("kind", FaultReason::Missing, "say what is asked for"))?;
        let regulation = match request.regulation.as_str() {
            "" => Regulation::Gdpr,
            name => Regulation::ALL.iter().find(|(_, known)| *known == name).map(|(law, _)| *law).ok_or_else(|| {
                let known: Vec<&str> = Regulation::ALL.iter().map(|(_, name)| *name).collect();
                status::field("regulation", FaultReason::Unknown, format!("give one of {}", known.join(", ")))
            })?,
        };
        let reference =
            if request.reference.is_empty() { String::new() } else { token(&request.reference, "reference")? };
        let mut faults = Vec::new();
        let now = self.app.now();
        let received_at =
            request.received_time.as_ref().map_or(now, |time| door::any_time(time, "received_time", &mut faults));
        if received_at > now {
            faults.push(FieldFault::new("received_time", FaultReason::InTheFuture, "a request cannot come tomorrow"));
        }
        if received_at.0 < now.0 - limits::REQUEST_AGE_MICROS_MAX {
            let message = "is more than ten years ago: that clock is wrong";
            faults.push(FieldFault::new("received_time", FaultReason::Malformed, message));
        }
        if !faults.is_empty() {
            return Err(status::write(WriteError::Invalid(faults)));
        }
        let subject = self.subject(&tenant, request.subjects)?;
        let act = Act::Create { kind, regulation, reference, subject, received_at, forwarding: None };
        Ok(answer(pb::CreatePrivacyRequestResponse { request: self.stepped(&tenant, act, key).await? }))
    }

    async fn get_privacy_request(
        &self,
        request: Request<pb::GetPrivacyRequestRequest>,
    ) -> Result<Response<pb::GetPrivacyRequestResponse>, Status> {
        let (tenant, id) = self.named(&request.into_inner().name)?;
        reading::durable(&tenant).await?;
        let request = privacy::get(&tenant, id).map_err(status::write)?;
        let request = Some(self.shown(&tenant, &request));
        Ok(answer(pb::GetPrivacyRequestResponse { request }))
    }

    async fn list_privacy_requests(
        &self,
        request: Request<pb::ListPrivacyRequestsRequest>,
    ) -> Result<Response<pb::ListPrivacyRequestsResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        reading::durable(&tenant).await?;
        let query = format!("privacyRequests/{}/{}/{}", tenant.name, request.open_only, request.overdue_only);
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        let now = self.app.now();
        let state = tenant.state();
        let wanted = |asked: &&PrivacyRequest| {
            (!request.open_only || !asked.state.is_final()) && (!request.overdue_only || asked.is_overdue(now))
        };
        let from = (std::ops::Bound::Excluded(Sequence(page.from)), std::ops::Bound::Unbounded);
        let mut found = state.privacy.requests.range(from).map(|(_, asked)| asked).filter(wanted);
        let shown: Vec<&PrivacyRequest> = found.by_ref().take(page.size).collect();
        let next_page_token = match (found.next(), shown.last()) {
            (Some(_), Some(last)) => page::seal(&self.app.page_key, &query, last.id.0),
            _ => String::new(),
        };
        let show = |asked: &PrivacyRequest| request_out(&tenant, &state, asked, now);
        let requests = shown.into_iter().map(show).collect();
        Ok(answer(pb::ListPrivacyRequestsResponse { requests, next_page_token }))
    }

    async fn verify_privacy_request(
        &self,
        request: Request<pb::VerifyPrivacyRequestRequest>,
    ) -> Result<Response<pb::VerifyPrivacyRequestResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "VerifyPrivacyRequest", &request)?;
        let act = Act::Verify { id, method: token(&request.method, "method")?, by: signed(&request.by)? };
        Ok(answer(pb::VerifyPrivacyRequestResponse { request: self.stepped(&tenant, act, key).await? }))
    }

    async fn preview_erasure(
        &self,
        request: Request<pb::PreviewErasureRequest>,
    ) -> Result<Response<pb::PreviewErasureResponse>, Status> {
        let (tenant, id) = self.named(&request.into_inner().name)?;
        reading::durable(&tenant).await?;
        let (app, of) = (Arc::clone(&self.app), Arc::clone(&tenant));
        let work = tokio::task::spawn_blocking(move || {
            let (plan, figures, identifiers) = privacy::preview_with_evidence(&tenant, id).map_err(status::write)?;
            Ok::<_, Status>(pb::PreviewErasureResponse {
                identifiers: export::identifiers(&tenant, identifiers),
                etag: hexadecimal(&plan.scope().0),
                records: export::records(&app, &tenant, &plan),
                suppressed: export::counts(figures.suppressed),
                shared: export::counts(figures.shared),
                quarantined: figures.quarantined,
                statements: figures.statements,
                statements_kept: figures.statements_kept,
                keys: figures.keys,
                profiles: export::profiles(&tenant, &plan),
                accounts: export::accounts(&tenant, &plan),
                older_versions_of: u32::try_from(plan.others_of_former()).unwrap_or(u32::MAX),
            })
        });
        let preview = work.await.map_err(|_| status::internal("the call was interrupted"))??;
        let shown = reading::ordinals(&of, preview.profiles.iter().map(String::as_str));
        reading::showing(&self.app, &of, ReadCall::PreviewErasure, shown)?;
        Ok(answer(preview))
    }

    async fn preview_access_export(
        &self,
        request: Request<pb::PreviewAccessExportRequest>,
    ) -> Result<Response<pb::PreviewAccessExportResponse>, Status> {
        let (tenant, id) = self.named(&request.into_inner().name)?;
        reading::durable(&tenant).await?;
        let app = Arc::clone(&self.app);
        let of = Arc::clone(&tenant);
        let work = tokio::task::spawn_blocking(move || export::preview(&app, &tenant, id));
        let preview = work.await.map_err(|_| status::internal("the call was interrupted"))??;
        let shown = reading::ordinals(&of, preview.profiles.iter().map(String::as_str));
        reading::showing(&self.app, &of, ReadCall::PreviewAccessExport, shown)?;
        Ok(answer(preview))
    }

    async fn stream_access_export(
        &self,
        request: Request<pb::StreamAccessExportRequest>,
    ) -> Result<Response<Self::StreamAccessExportStream>, Status> {
        let request = request.into_inner();
        let (tenant, id) = self.named(&request.name)?;
        let (scope, to) = (etag(&request.etag)?, token(&request.delivered_to, "delivered_to")?);
        reading::durable(&tenant).await?;
        export::stream(self.clone(), tenant, id, scope, to).await
    }

    async fn stream_held_identifiers(
        &self,
        request: Request<pb::StreamHeldIdentifiersRequest>,
    ) -> Result<Response<Self::StreamHeldIdentifiersStream>, Status> {
        let tenant = reading::tenant(&self.app, &request.into_inner().parent)?;
        outside::stream(&self.app, tenant).await
    }

    async fn approve_privacy_request(
        &self,
        request: Request<pb::ApprovePrivacyRequestRequest>,
    ) -> Result<Response<pb::ApprovePrivacyRequestResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "ApprovePrivacyRequest", &request)?;
        let act = Act::Approve { id, by: signed(&request.by)?, scope: etag(&request.etag)? };
        Ok(answer(pb::ApprovePrivacyRequestResponse { request: self.stepped(&tenant, act, key).await? }))
    }

    async fn execute_erasure(
        &self,
        request: Request<pb::ExecuteErasureRequest>,
    ) -> Result<Response<pb::ExecuteErasureResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "ExecuteErasure", &request)?;
        let done = self.step(&tenant, Act::Execute { id, scope: etag(&request.etag)? }, key).await?;
        self.app.persons.forget_all();
        self.kept.forget_all();
        let sequence = done.sequence.0;
        let request = done.request.map(|request| self.shown(&tenant, &request));
        Ok(answer(pb::ExecuteErasureResponse { request, sequence }))
    }

    async fn execute_restriction(
        &self,
        request: Request<pb::ExecuteRestrictionRequest>,
    ) -> Result<Response<pb::ExecuteRestrictionResponse>, Status> {
        self.restrict(request.into_inner()).await.map(answer)
    }

    async fn lift_restriction(
        &self,
        request: Request<pb::LiftRestrictionRequest>,
    ) -> Result<Response<pb::LiftRestrictionResponse>, Status> {
        self.lift(request.into_inner()).await.map(answer)
    }

    async fn execute_objection(
        &self,
        request: Request<pb::ExecuteObjectionRequest>,
    ) -> Result<Response<pb::ExecuteObjectionResponse>, Status> {
        self.object(request.into_inner()).await.map(answer)
    }

    async fn execute_rectification(
        &self,
        request: Request<pb::ExecuteRectificationRequest>,
    ) -> Result<Response<pb::ExecuteRectificationResponse>, Status> {
        self.rectify(request.into_inner()).await.map(answer)
    }

    async fn extend_privacy_request(
        &self,
        request: Request<pb::ExtendPrivacyRequestRequest>,
    ) -> Result<Response<pb::ExtendPrivacyRequestResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "ExtendPrivacyRequest", &request)?;
        let act = Act::Extend { id, ground: token(&request.ground, "ground")? };
        Ok(answer(pb::ExtendPrivacyRequestResponse { request: self.stepped(&tenant, act, key).await? }))
    }

    async fn refuse_privacy_request(
        &self,
        request: Request<pb::RefusePrivacyRequestRequest>,
    ) -> Result<Response<pb::RefusePrivacyRequestResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "RefusePrivacyRequest", &request)?;
        let act = Act::Refuse { id, ground: token(&request.ground, "ground")? };
        Ok(answer(pb::RefusePrivacyRequestResponse { request: self.stepped(&tenant, act, key).await? }))
    }

    async fn cancel_privacy_request(
        &self,
        request: Request<pb::CancelPrivacyRequestRequest>,
    ) -> Result<Response<pb::CancelPrivacyRequestResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "CancelPrivacyRequest", &request)?;
        let act = Act::Cancel { id, ground: token(&request.ground, "ground")? };
        Ok(answer(pb::CancelPrivacyRequestResponse { request: self.stepped(&tenant, act, key).await? }))
    }

    async fn confirm_erasure(
        &self,
        request: Request<pb::ConfirmErasureRequest>,
    ) -> Result<Response<pb::ConfirmErasureResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "ConfirmErasure", &request)?;
        let consumer = token(&request.consumer, "consumer")?;
        may_confirm(&tenant, &consumer)?;
        let act = Act::Confirm { id, consumer };
        Ok(answer(pb::ConfirmErasureResponse { request: self.stepped(&tenant, act, key).await? }))
    }

    async fn get_erasure_receipt(
        &self,
        request: Request<pb::GetErasureReceiptRequest>,
    ) -> Result<Response<pb::GetErasureReceiptResponse>, Status> {
        let (tenant, id) = self.named(&request.into_inner().name)?;
        let app = Arc::clone(&self.app);
        let read = tokio::task::spawn_blocking(move || privacy::receipt_text(&app.shared, &tenant, id));
        let text = read.await.map_err(|_| status::internal("the call was interrupted"))?.map_err(status::write)?;
        Ok(answer(pb::GetErasureReceiptResponse { receipt_json: text }))
    }

    async fn readmit(&self, request: Request<pb::ReadmitRequest>) -> Result<Response<pb::ReadmitResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let key = self.key(&tenant, &request.request_id, "Readmit", &request)?;
        let (by, ground) = (signed(&request.by)?, token(&request.ground, "ground")?);
        let before = read_before(&tenant, &request.subjects);
        let subject = self.subject(&tenant, request.subjects)?;
        let identifiers = subject.identifiers.into_iter().map(|(_, digest)| digest);
        let digests = subject.records.into_iter().chain(identifiers).chain(before).collect();
        let done = self.step(&tenant, Act::Readmit { digests, by, ground, caller: rights::reader() }, key).await?;
        Ok(answer(pb::ReadmitResponse { lifted: done.count, sequence: done.sequence.0 }))
    }

    async fn get_privacy_policy(
        &self,
        request: Request<pb::GetPrivacyPolicyRequest>,
    ) -> Result<Response<pb::GetPrivacyPolicyResponse>, Status> {
        let tenant = reading::tenant(&self.app, &request.into_inner().parent)?;
        reading::durable(&tenant).await?;
        let policy = wanted(&tenant);
        let receipt_public_key = Receipt::public_key_of(&self.app.shared.root.derive(receipt::SIGNING_KEY));
        Ok(answer(pb::GetPrivacyPolicyResponse { policy: Some(policy), receipt_public_key }))
    }

    async fn list_reads(
        &self,
        request: Request<pb::ListReadsRequest>,
    ) -> Result<Response<pb::ListReadsResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        reads::list(&self.app, &tenant, request).await.map(answer)
    }

    async fn list_decisions(
        &self,
        request: Request<pb::ListDecisionsRequest>,
    ) -> Result<Response<pb::ListDecisionsResponse>, Status> {
        self.decisions(request.into_inner()).await.map(answer)
    }

    async fn update_privacy_policy(
        &self,
        request: Request<pb::UpdatePrivacyPolicyRequest>,
    ) -> Result<Response<pb::UpdatePrivacyPolicyResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let key = self.key(&tenant, &request.request_id, "UpdatePrivacyPolicy", &request)?;
        let (policy, read_log) = policy_in(request.policy)?;
        may_set(&tenant, &policy, &read_log)?;
        self.step(&tenant, Act::SetPolicy(policy, read_log, rights::reader()), key).await?;
        let policy = wanted(&tenant);
        Ok(answer(pb::UpdatePrivacyPolicyResponse { policy: Some(policy) }))
    }
}
