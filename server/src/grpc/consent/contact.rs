//! Contacts: questions in, decisions out.

use std::sync::Arc;

use onefold_core::consent::PurposeId;
use onefold_core::consent::reserve::Standing;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::limits;
use onefold_core::reads::ReadCall;
use onefold_proto::v1 as pb;
use tonic::Status;

use super::{Consents, failed};
use crate::app::consent::contact::{Ask, Verdict, Whom};
use crate::app::consent::record_point;
use crate::app::consent::token::Handle;
use crate::app::read::ProfileKey;
use crate::app::reads::{ReadLog, What};
use crate::app::requests::RequestKey;
use crate::app::tenant::Tenant;
use crate::grpc::convert::consent::{self as door, About};
use crate::grpc::{reading, status};

/// How far behind the clock a contact may be asked for: clocks differ, and campaigns take a while.
const PAST_MICROS_MAX: i64 = 60 * 60 * 1_000_000;

impl Consents {
    pub(super) fn ask(&self, tenant: &Tenant, request: pb::DecideContactRequest) -> Result<Ask, Vec<FieldFault>> {
        let config = tenant.config();
        let mut faults = Vec::new();
        let about = match door::subject(request.subject, tenant, &config) {
            Ok(about) => Some(about),
            Err(more) => {
                faults.extend(more);
                None
            }
        };
        let missing = |path: &str, faults: &mut Vec<FieldFault>| {
            faults.push(FieldFault::new(path, FaultReason::Missing, "name one; GetConsentPolicy lists them"));
        };
        let purpose = door::purpose(&request.purpose, "purpose", &config, &mut faults);
        if request.purpose.is_empty() {
            missing("purpose", &mut faults);
        }
        let channel = door::channel(&request.channel, "channel", &config, &mut faults);
        if request.channel.is_empty() {
            missing("channel", &mut faults);
        }
        let jurisdiction = door::jurisdiction(&request.jurisdiction, "jurisdiction", &mut faults);
        let now = self.app.now();
        let at = request.contact_time.as_ref().map(|time| door::any_time(time, "contact_time", &mut faults));
        let ahead = limits::CONTACT_AHEAD_SECONDS_MAX;
        if at.is_some_and(|at| at.0 > now.0.saturating_add(ahead * 1_000_000) || at.0 < now.0 - PAST_MICROS_MAX) {
            let message = format!("give a moment between now and {ahead} seconds ahead");
            faults.push(FieldFault::new("contact_time", FaultReason::Malformed, message));
        }
        match (about, purpose, channel) {
            (Some(About { who, read, .. }), Some(purpose), Some(channel)) if faults.is_empty() => {
                let whom = match (who.key, read) {
                    (ProfileKey::Identifier(namespace, raw, _), Some(read)) => {
                        Whom::Identifier { namespace, raw, read, version: config.version }
                    }
                    (ProfileKey::Id(id), _) => Whom::Profile(id),
                    (ProfileKey::Record(record), _) => Whom::Record(record_point(&config, &record)),
                    (ProfileKey::Identifier(..), None) => return Err(faults),
                };
                Ok(Ask { whom, purpose, channel, at, jurisdiction, reserve: request.reserve })
            }
            _ => Err(faults),
        }
    }

    pub(super) async fn settle(
        &self,
        tenant: &Arc<Tenant>,
        id: &str,
        to: Standing,
        named: Option<RequestKey>,
    ) -> Result<(), Status> {
        let Some(reservation) = Handle::Reservation.open(id, &tenant.keys) else {
            return Err(status::reservation(onefold_core::consent::reserve::CannotSettle::Unknown));
        };
        let settled = self.app.settle_reservation(tenant, reservation, to, named).await.map_err(status::write)?;
        settled.map_err(status::reservation)
    }

    /// Notes that somebody is told what persons allowed and forbade: a verdict says why.
    pub(super) fn showing(
        &self,
        tenant: &Tenant,
        call: ReadCall,
        purposes: &[PurposeId],
        verdicts: &[Verdict],
    ) -> Result<(), Status> {
        for (purpose, verdict) in purposes.iter().zip(verdicts) {
            let what = verdict.profile.map_or(What::Some, What::Profile);
            reading::note(&self.app, tenant, (call, Some(*purpose)), [what]).map_err(|error| failed(tenant, error))?;
        }
        Ok(())
    }

    /// Releases contacts that were counted and that nobody is told of.
    pub(super) async fn take_back(&self, tenant: &Arc<Tenant>, verdicts: &[Verdict]) {
        for (reservation, _) in verdicts.iter().filter_map(|verdict| verdict.reservation) {
            // One that cannot be released now expires.
            let _ = self.app.settle_reservation(tenant, reservation, Standing::Released, None).await;
        }
    }

    pub(super) async fn decide_batch(
        &self,
        parent: &str,
        batch: Vec<pb::DecideContactsRequest>,
    ) -> Result<Vec<pb::DecideContactsResponse>, Status> {
        let tenant = reading::tenant(&self.app, parent)?;
        let mut answers = Vec::with_capacity(batch.len());
        let mut asks = Vec::with_capacity(batch.len());
        for message in batch {
            let ask = message.decide.unwrap_or_default();
            let asked = match ask.request_id.as_str() {
                "" => self.ask(&tenant, ask),
                // A campaign has more rows than calls are remembered: better no than one that is forgotten without a word.
                _ => {
                    let message = "is for DecideContact; in a stream leave it out, and give back what was not told of by letting it expire";
                    Err(vec![FieldFault::new("decide.request_id", FaultReason::Malformed, message)])
                }
            };
            answers.push((message.client_sequence, asked.map(|ask| asks.push(ask))));
        }
        let purposes: Vec<PurposeId> = asks.iter().map(|ask| ask.purpose).collect();
        ReadLog::ready(&tenant).map_err(|error| failed(&tenant, error))?;
        let verdicts = self.app.decide_contacts(&tenant, asks, None).await.map_err(status::write)?;
        if let Err(untold) = self.showing(&tenant, ReadCall::DecideContacts, &purposes, &verdicts) {
            self.take_back(&tenant, &verdicts).await;
            return Err(untold);
        }
        let mut verdicts = verdicts.into_iter();
        let answers = answers.into_iter().map(|(client_sequence, asked)| {
            let verdict = match asked {
                Ok(()) => verdicts.next().map(|verdict| door::verdict_out(&verdict, &tenant)),
                Err(faults) => {
                    let reason = |fault: FieldFault| pb::ContactReason {
                        reason: "REQUEST_INVALID".to_owned(),
                        message: fault.to_string(),
                        ..Default::default()
                    };
                    let reasons = faults.into_iter().map(reason).collect();
                    Some(pb::ContactVerdict { reasons, ..Default::default() })
                }
            };
            pb::DecideContactsResponse { client_sequence, verdict }
        });
        Ok(answers.collect())
    }
}
