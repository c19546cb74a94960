//! ConsentService: statements in, states and decisions out.

mod contact;
mod said;
mod stream;

use std::collections::BTreeSet;
use std::sync::Arc;

use onefold_core::consent::reserve::Standing;
use onefold_core::consent::{ChannelId, Decision, PurposeId, Subject};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::ids::Sequence;
use onefold_core::limits;
use onefold_core::reads::ReadCall;
use onefold_proto::v1 as pb;
use onefold_proto::v1::consent_service_server::ConsentService;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::convert::consent::{self as door, About};
use super::convert::receipt::Maker;
use super::convert::{self, policy};
use super::mount::answer;
use super::page::{self, Page};
use super::{one_click, reading, requests, rights, status};
use crate::app::App;
use crate::app::consent::read::{self, AsOf, Who};
use crate::app::consent::shows::{DEVICES, Shows};
use crate::app::consent::token::{Handle, Unsubscribe};
use crate::app::consent::{self, Saying, course};
use crate::app::error::{ReadError, WriteError};
use crate::app::lane::Changed;
use crate::app::reads::ReadLog;
use crate::app::tenant::Tenant;
use stream::{Answers, serve_in_batches};

/// The service.
#[derive(Clone, Debug)]
pub struct Consents {
    /// The use cases.
    pub app: Arc<App>,
    /// Whether this server takes the one-click posts of mail providers.
    pub one_click: bool,
}

fn invalid(faults: Vec<FieldFault>) -> Status {
    status::ReadErrorIn { tenant: "", error: ReadError::Invalid(faults) }.into()
}

fn failed(tenant: &Tenant, error: ReadError) -> Status {
    status::ReadErrorIn { tenant: &tenant.name, error }.into()
}

impl Consents {
    fn who(&self, tenant: &Tenant, subject: Option<pb::ConsentSubject>) -> Result<Who, Status> {
        door::subject(subject, tenant, &tenant.config()).map(|about| about.who).map_err(invalid)
    }
}

#[tonic::async_trait]
impl ConsentService for Consents {
    type StreamConsentsStream = Answers<pb::StreamConsentsResponse>;
    type DecideContactsStream = Answers<pb::DecideContactsResponse>;

    async fn record_consent(
        &self,
        request: Request<pb::RecordConsentRequest>,
    ) -> Result<Response<pb::RecordConsentResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let named = requests::named(&request.request_id, "RecordConsent", &request, &tenant.keys.index)?;
        let saying = self.saying(&tenant, request.subject, request.saying).map_err(invalid)?;
        let result = self.say(&tenant, saying, named).await?;
        Ok(answer(pb::RecordConsentResponse { result: Some(result) }))
    }

    async fn stream_consents(
        &self,
        request: Request<Streaming<pb::StreamConsentsRequest>>,
    ) -> Result<Response<Self::StreamConsentsStream>, Status> {
        let service = self.clone();
        let parent_of = |message: &pb::StreamConsentsRequest| message.parent.clone();
        Ok(serve_in_batches(&self.app, request.into_inner(), parent_of, move |parent, batch| {
            let service = service.clone();
            async move { service.record_batch(&parent, batch).await }
        }))
    }

    async fn get_consent_state(
        &self,
        request: Request<pb::GetConsentStateRequest>,
    ) -> Result<Response<pb::GetConsentStateResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        reading::reached(&tenant, request.min_sequence).await?;
        let who = self.who(&tenant, request.subject)?;
        let config = tenant.config();
        let mut faults = Vec::new();
        let purpose = door::purpose(&request.purpose, "purpose", &config, &mut faults);
        let channel = door::channel(&request.channel, "channel", &config, &mut faults);
        let time = |time: Option<&prost_types::Timestamp>, path: &str, faults: &mut Vec<FieldFault>| {
            time.map(|time| door::any_time(time, path, faults))
        };
        let said_by = time(request.as_of_time.as_ref(), "as_of_time", &mut faults);
        let known_by = time(request.known_time.as_ref(), "known_time", &mut faults);
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        let policy = &config.config.consent;
        let purposes = policy.purposes.iter().map(|one| one.id).filter(|id| purpose.is_none_or(|only| only == *id));
        let channels: Vec<Option<ChannelId>> = match channel {
            Some(channel) => vec![Some(channel)],
            None => [None].into_iter().chain(policy.channels.iter().map(|one| Some(one.id))).collect(),
        };
        let asked: Vec<(PurposeId, Option<ChannelId>)> =
            purposes.flat_map(|purpose| channels.iter().map(move |channel| (purpose, *channel))).collect();
        let as_of = AsOf { said_by, known_by };
        let found =
            self.app.reading(&tenant, move |app, tenant| read::holdings(app, tenant, &who, &asked, as_of)).await;
        let found = found.map_err(|error| failed(&tenant, error))?;
        reading::showing_for(&self.app, &tenant, (ReadCall::GetConsentState, purpose), found.profile)?;
        Ok(answer(pb::GetConsentStateResponse {
            profile: door::profile_name(found.profile, &tenant),
            states: found.seen.iter().map(|holding| door::holding_out(holding, &tenant, &config)).collect(),
        }))
    }

    async fn list_statements(
        &self,
        request: Request<pb::ListStatementsRequest>,
    ) -> Result<Response<pb::ListStatementsResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let subject = request.subject.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        let subject = blake3::keyed_hash(&tenant.keys.index, &subject).to_hex();
        let query = format!("statements/{}/{subject}", tenant.name);
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        let who = self.who(&tenant, request.subject.clone())?;
        let config = tenant.config();
        let for_nothing = rights::may_read_for_nothing();
        let purpose = reading::purpose(&request.purpose, (&tenant, ReadCall::ListStatements), &config, for_nothing)?;
        let (after, most) = (Sequence(page.from), page.size);
        let key = who.key.clone();
        let asked_by = request.subject;
        let found = self.app.reading(&tenant, move |app, tenant| {
            let found = read::statements(app, tenant, &who, after, most)?;
            // What the purpose may read of the person at all: their addresses are in what they said.
            let permit = match (purpose, found.profile) {
                (Some(purpose), Some(_)) => match read::permitted(app, tenant, key, purpose) {
                    Ok((.., permit)) => Some(permit),
                    Err(ReadError::PurposeNotPermitted { .. }) => None,
                    Err(error) => return Err(error),
                },
                _ => None,
            };
            Ok((found, permit))
        });
        let (found, permit) = found.await.map_err(|error| failed(&tenant, error))?;
        let (statements, only_heard, more) = (found.seen.statements, found.seen.only_heard, found.seen.more);
        let last = statements.last().map_or(page.from, |(entry, _)| entry.id.0);
        let next_page_token = if more { page::seal(&self.app.page_key, &query, last) } else { String::new() };
        let (count, about) = (statements.len(), |said: Option<PurposeId>| {
            purpose.is_none() || said.is_none_or(|said| Some(said) == purpose)
        });
        let may_name = |subject: &Subject| {
            purpose.is_none()
                || matches!(subject, Subject::Profile(_))
                || permit.as_ref().is_some_and(|permit| course::may_name(subject, permit))
        };
        let shown = statements.into_iter().filter(|(entry, _)| about(entry.purpose));
        let shows = match purpose {
            None => Shows::ALL,
            Some(_) => Shows::to(&permit, config.namespace_named(DEVICES)),
        };
        let mut withheld: BTreeSet<&str> = BTreeSet::new();
        let statements: Vec<_> = shown
            .map(|(entry, mut said)| {
                withheld.extend(shows.veil(&mut said));
                let named = may_name(&said.subject) && !only_heard.contains(&entry.id);
                let mut shown = door::statement_out(&entry, said, &tenant, &config);
                // Whom a caller names themselves they are told of as they named them.
                shown.subject = shown.subject.take().filter(|subject| named || Some(subject) == asked_by.as_ref());
                shown.only_heard = only_heard.contains(&entry.id);
                shown
            })
            .collect();
        reading::showing_for(&self.app, &tenant, (ReadCall::ListStatements, purpose), found.profile)?;
        Ok(answer(pb::ListStatementsResponse {
            profile: door::profile_name(found.profile, &tenant),
            withheld_count: (count - statements.len()) as u32,
            withheld: convert::account::withheld(withheld.iter().map(|field| format!("statements.saying.{field}"))),
            statements,
            next_page_token,
        }))
    }

    async fn confirm_consent(
        &self,
        request: Request<pb::ConfirmConsentRequest>,
    ) -> Result<Response<pb::ConfirmConsentResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let named = requests::named(&request.request_id, "ConfirmConsent", &request, &tenant.keys.index)?;
        let bad = |message: &str| status::field("confirmation_token", FaultReason::Unknown, message);
        let pending = Handle::Confirmation.open(&request.confirmation_token, &tenant.keys);
        let pending = pending.ok_or_else(|| bad("is no token that RecordConsent gave"))?;
        if request.evidence.len() > limits::STATEMENT_TEXT_BYTES_MAX {
            return Err(status::field("evidence", FaultReason::TooLarge, "is too long"));
        }
        let read = self.app.reading(&tenant, move |app, tenant| read::statement(app, tenant, pending)).await;
        let (_, mut statement) = read.map_err(|error| failed(&tenant, error))?;
        let now = self.app.now();
        statement.decision = Decision::Granted;
        statement.confirms = Some(pending);
        statement.undated = false;
        (statement.given_at, statement.recorded_at, statement.confirmed_at) = (now, now, Some(now));
        if !request.evidence.is_empty() {
            statement.evidence = request.evidence;
        }
        // It stands where the question stands, whatever the profile holds by now: numbers may be read by other rules since
        // it was asked.
        statement.points = Vec::new();
        let points = tenant.state().consent.ledger.points_of(pending).to_vec();
        let mut saying = Saying::new(statement, &tenant);
        saying.pin(points);
        let result = self.say(&tenant, saying, named).await?;
        Ok(answer(pb::ConfirmConsentResponse { result: Some(result) }))
    }

    async fn issue_unsubscribe_token(
        &self,
        request: Request<pb::IssueUnsubscribeTokenRequest>,
    ) -> Result<Response<pb::IssueUnsubscribeTokenResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let config = tenant.config();
        let mut faults = Vec::new();
        let about = match request.identifier {
            Some(wire) => door::identifier(wire, "identifier", &config, &mut faults),
            None => {
                faults.push(FieldFault::new("identifier", FaultReason::Missing, "give the address of the message"));
                None
            }
        };
        let purpose = door::purpose(&request.purpose, "purpose", &config, &mut faults);
        let channel = door::channel(&request.channel, "channel", &config, &mut faults);
        match about {
            Some(About { subject: Subject::Identifier { namespace, .. }, who, .. }) if faults.is_empty() => {
                let issued_at = self.app.now();
                let said = Unsubscribe { namespace, points: who.points, purpose, channel, issued_at };
                let token = said.seal(&tenant.keys).map_err(|error| {
                    tracing::error!(error = %error, "a token cannot be made");
                    status::internal("no token can be made now")
                })?;
                let path = one_click::path(&tenant.name, &token);
                Ok(answer(pb::IssueUnsubscribeTokenResponse { token, path }))
            }
            _ => Err(invalid(faults)),
        }
    }

    async fn unsubscribe(
        &self,
        request: Request<pb::UnsubscribeRequest>,
    ) -> Result<Response<pb::UnsubscribeResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let named = requests::named(&request.request_id, "Unsubscribe", &request, &tenant.keys.index)?;
        let said = Unsubscribe::open(&request.token, &tenant.keys).ok_or_else(|| {
            status::field("token", FaultReason::Unknown, "is no token that IssueUnsubscribeToken gave")
        })?;
        let saying = consent::leaving(said, &tenant, self.app.now());
        let result = self.say(&tenant, saying, named).await?;
        Ok(answer(pb::UnsubscribeResponse { result: Some(result) }))
    }

    async fn get_consent_receipt(
        &self,
        request: Request<pb::GetConsentReceiptRequest>,
    ) -> Result<Response<pb::GetConsentReceiptResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let config = tenant.config();
        let call = ReadCall::GetConsentReceipt;
        let reads_for = reading::purpose(&request.purpose, (&tenant, call), &config, rights::may_read_for_nothing())?;
        let id = Handle::Statement.open(&request.statement_id, &tenant.keys);
        let id = id.ok_or_else(|| failed(&tenant, ReadError::StatementUnknown))?;
        let found = self.app.reading(&tenant, move |app, tenant| course::course(app, tenant, id, reads_for)).await;
        let course = found.map_err(|error| failed(&tenant, error))?;
        reading::showing_for(&self.app, &tenant, (call, reads_for), course.profiles.iter().copied())?;
        let now = self.app.now();
        let maker = Maker { tenant: &tenant, config: &config, reads_for, one_click: self.one_click, now };
        let receipt = maker.receipt(&course);
        Ok(answer(pb::GetConsentReceiptResponse { receipt_json: receipt.to_string() }))
    }

    async fn decide_contact(
        &self,
        request: Request<pb::DecideContactRequest>,
    ) -> Result<Response<pb::DecideContactResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let named = requests::named(&request.request_id, "DecideContact", &request, &tenant.keys.index)?;
        let ask = self.ask(&tenant, request).map_err(invalid)?;
        let purposes = [ask.purpose];
        ReadLog::ready(&tenant).map_err(|error| failed(&tenant, error))?;
        let verdicts = self.app.decide_contacts(&tenant, vec![ask], named).await.map_err(status::write)?;
        if let Err(untold) = self.showing(&tenant, ReadCall::DecideContact, &purposes, &verdicts) {
            // Whoever repeats a named call is told of what was counted for it.
            if named.is_none() {
                self.take_back(&tenant, &verdicts).await;
            }
            return Err(untold);
        }
        let verdict = verdicts.first().ok_or_else(|| status::internal("there is no decision"))?;
        Ok(answer(pb::DecideContactResponse { verdict: Some(door::verdict_out(verdict, &tenant)) }))
    }

    async fn decide_contacts(
        &self,
        request: Request<Streaming<pb::DecideContactsRequest>>,
    ) -> Result<Response<Self::DecideContactsStream>, Status> {
        let service = self.clone();
        let parent_of = |message: &pb::DecideContactsRequest| {
            message.decide.as_ref().map(|decide| decide.parent.clone()).unwrap_or_default()
        };
        Ok(serve_in_batches(&self.app, request.into_inner(), parent_of, move |parent, batch| {
            let service = service.clone();
            async move { service.decide_batch(&parent, batch).await }
        }))
    }

    async fn confirm_reservation(
        &self,
        request: Request<pb::ConfirmReservationRequest>,
    ) -> Result<Response<pb::ConfirmReservationResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let named = requests::named(&request.request_id, "ConfirmReservation", &request, &tenant.keys.index)?;
        self.settle(&tenant, &request.reservation_id, Standing::Confirmed, named).await?;
        Ok(answer(pb::ConfirmReservationResponse {}))
    }

    async fn release_reservation(
        &self,
        request: Request<pb::ReleaseReservationRequest>,
    ) -> Result<Response<pb::ReleaseReservationResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let named = requests::named(&request.request_id, "ReleaseReservation", &request, &tenant.keys.index)?;
        self.settle(&tenant, &request.reservation_id, Standing::Released, named).await?;
        Ok(answer(pb::ReleaseReservationResponse {}))
    }

    async fn get_consent_policy(
        &self,
        request: Request<pb::GetConsentPolicyRequest>,
    ) -> Result<Response<pb::GetConsentPolicyResponse>, Status> {
        let tenant = reading::tenant(&self.app, &request.into_inner().parent)?;
        let policy = policy::policy_out(&tenant.config());
        Ok(answer(pb::GetConsentPolicyResponse { policy: Some(policy) }))
    }

    async fn update_consent_policy(
        &self,
        request: Request<pb::UpdateConsentPolicyRequest>,
    ) -> Result<Response<pb::UpdateConsentPolicyResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let named = requests::named(&request.request_id, "UpdateConsentPolicy", &request, &tenant.keys.index)?;
        let (wire, of) = (request.policy, Arc::clone(&tenant));
        let change = move |config: &mut onefold_core::config::TenantConfig| {
            // Read against the policy that is in force when the lane gets to it.
            config.consent = policy::policy(wire, &of.config()).map_err(WriteError::Invalid)?;
            Ok(Changed::Other)
        };
        self.app.change_config(&tenant, Box::new(change), named).await.map_err(status::write)?;
        Ok(answer(pb::UpdateConsentPolicyResponse { policy: Some(policy::policy_out(&tenant.config())) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::consent::identifier_points;
    use crate::app::tenant::LiveConfig;

    #[test]
    fn a_policy_survives_the_wire() {
        let config = onefold_core::config::TenantConfig::new("t", "T");
        let live = LiveConfig::compile(config, 1, [7; 32], crate::app::models::Models::default()).unwrap();
        let wire = policy::policy_out(&live);
        assert_eq!(policy::policy(Some(wire.clone()), &live), Ok(live.config.consent.clone()));
        let mut turned = wire.clone();
        turned.purposes.reverse();
        assert_eq!(policy::policy(Some(turned), &live), Ok(live.config.consent.clone()), "a name keeps its ordinal");
        let mut less = wire;
        less.channels.remove(0);
        let faults = policy::policy(Some(less), &live).unwrap_err();
        assert!(faults.iter().any(|fault| fault.path == "policy.channels"), "{faults:?}");
        assert!(identifier_points(&live, onefold_core::ids::NamespaceId(6), "no address", "x").is_err());
    }
}
