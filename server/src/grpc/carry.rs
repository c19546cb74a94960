//! What PrivacyService does beside erasures: restriction and its end, objection, rectification.

use std::sync::Arc;

use onefold_core::config::STEWARD_SOURCE;
use onefold_core::consent::PurposeId;
use onefold_core::erasure::{Carried, Did};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::PartyKind;
use onefold_core::ids::Sequence;
use onefold_core::limits;
use onefold_proto::v1 as pb;
use tonic::Status;

use super::convert::consent::handles;
use super::convert::fragment as door;
use super::convert::fragment::timestamp;
use super::privacy::{Privacy, etag, signed, token};
use super::{reading, status};
use crate::app::error::WriteError;
use crate::app::ingest::Arriving;
use crate::app::privacy;
use crate::app::privacy::act::{Act, Done};
use crate::app::requests;
use crate::app::tenant::Tenant;

/// What was done, on the wire.
pub fn outcome_out(tenant: &Tenant, carried: &Carried) -> pb::PrivacyOutcome {
    let (did, statements, ground, values) = match &carried.did {
        Did::Restricted(statements) => ("RESTRICTED", statements.as_slice(), "", 0),
        Did::Lifted { statements, ground } => ("LIFTED", statements.as_slice(), ground.as_str(), 0),
        Did::Objected(statements) => ("OBJECTED", statements.as_slice(), "", 0),
        Did::Rectified { values, .. } => ("RECTIFIED", &[][..], "", *values),
    };
    pb::PrivacyOutcome {
        did: did.to_owned(),
        time: Some(timestamp(carried.at)),
        by: carried.by.clone(),
        records: carried.records,
        identifiers: carried.identifiers,
        statements: handles(statements, tenant),
        ground: ground.to_owned(),
        values,
    }
}

impl Privacy {
    fn carried(&self, tenant: &Tenant, done: Done) -> (Option<pb::PrivacyRequest>, u64) {
        // What was cached of the person was read before.
        self.app.persons.forget_all();
        (done.request.map(|request| self.shown(tenant, &request)), done.sequence.0)
    }

    pub(super) async fn restrict(
        &self,
        request: pb::ExecuteRestrictionRequest,
    ) -> Result<pb::ExecuteRestrictionResponse, Status> {
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "ExecuteRestriction", &request)?;
        let act = Act::Restrict { id, scope: etag(&request.etag)?, by: signed(&request.by)? };
        let (request, sequence) = self.carried(&tenant, self.step(&tenant, act, key).await?);
        Ok(pb::ExecuteRestrictionResponse { request, sequence })
    }

    pub(super) async fn lift(
        &self,
        request: pb::LiftRestrictionRequest,
    ) -> Result<pb::LiftRestrictionResponse, Status> {
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "LiftRestriction", &request)?;
        let act = Act::Lift { id, by: signed(&request.by)?, ground: token(&request.ground, "ground")? };
        let (request, sequence) = self.carried(&tenant, self.step(&tenant, act, key).await?);
        Ok(pb::LiftRestrictionResponse { request, sequence })
    }

    pub(super) async fn object(
        &self,
        request: pb::ExecuteObjectionRequest,
    ) -> Result<pb::ExecuteObjectionResponse, Status> {
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "ExecuteObjection", &request)?;
        let purposes = purposes(&tenant, &request.purposes)?;
        let act = Act::Object { id, scope: etag(&request.etag)?, by: signed(&request.by)?, purposes };
        let (request, sequence) = self.carried(&tenant, self.step(&tenant, act, key).await?);
        Ok(pb::ExecuteObjectionResponse { request, sequence })
    }

    pub(super) async fn rectify(
        &self,
        request: pb::ExecuteRectificationRequest,
    ) -> Result<pb::ExecuteRectificationResponse, Status> {
        let (tenant, id) = self.named(&request.name)?;
        let key = self.key(&tenant, &request.request_id, "ExecuteRectification", &request)?;
        let (scope, by) = (etag(&request.etag)?, signed(&request.by)?);
        if request.identifiers.is_empty() && request.attributes.is_empty() {
            let message = "say what is right: at least one attribute or identifier";
            return Err(status::field("attributes", FaultReason::Missing, message));
        }
        // Whom a correction is for is forgotten once it is made, and then it cannot be read for the lane any more.
        if let Some(known) = requests::known::<Done>(&tenant, key) {
            let done = known.map_err(status::write)?;
            reading::durable(&tenant).await?;
            let (request, sequence) = self.carried(&tenant, done);
            return Ok(pb::ExecuteRectificationResponse { request, sequence });
        }
        let values = (request.identifiers.len() + request.attributes.len()) as u32;
        let arriving = self.correction(&tenant, id, request).await?;
        let act = Act::Rectify { id, scope, by, arriving: Box::new(arriving), values };
        let (request, sequence) = self.carried(&tenant, self.step(&tenant, act, key).await?);
        Ok(pb::ExecuteRectificationResponse { request, sequence })
    }

    /// What is right, as a fragment of the steward's own source.
    async fn correction(
        &self,
        tenant: &Arc<Tenant>,
        id: Sequence,
        request: pb::ExecuteRectificationRequest,
    ) -> Result<Arriving, Status> {
        let party = match privacy::party_of(tenant, id).map_err(status::write)? {
            PartyKind::Person => pb::PartyKind::Person,
            PartyKind::Organisation => pb::PartyKind::Organisation,
        };
        self.app.have_steward_source(tenant).await.map_err(status::write)?;
        let fragment = pb::Fragment {
            record: Some(pb::SourceRecord { source: STEWARD_SOURCE.to_owned(), key: id.0.to_string() }),
            party_kind: party as i32,
            identifiers: request.identifiers,
            attributes: request.attributes,
            ..Default::default()
        };
        let now = self.app.now();
        let invalid = |faults: Vec<FieldFault>| status::write(WriteError::Invalid(faults));
        let unknown = door::unknown_names(&fragment, &tenant.config());
        if !unknown.is_empty() {
            door::correction(fragment.clone(), &tenant.config(), now, true).map_err(invalid)?;
            self.app.learn_names(tenant, unknown).await.map_err(status::write)?;
        }
        let config = tenant.config();
        let admitted = door::correction(fragment, &config, now, false).map_err(invalid)?;
        let (arriving, faults) = Arriving::of(&admitted.fragment, false, &config);
        if let Some(note) = arriving.notes.first() {
            // A source may send what is no value of its kind; a correction may not.
            return Err(invalid(vec![note.clone()]));
        }
        if faults.is_empty() { Ok(arriving) } else { Err(invalid(faults)) }
    }
}

fn purposes(tenant: &Tenant, names: &[String]) -> Result<Vec<PurposeId>, Status> {
    let config = tenant.config();
    let known = &config.config.consent.purposes;
    if names.len() > limits::PURPOSES_MAX {
        let message = format!("at most {} purposes", limits::PURPOSES_MAX);
        return Err(status::field("purposes", FaultReason::TooLarge, message));
    }
    let mut found = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let Some(purpose) = known.iter().find(|purpose| purpose.name == *name) else {
            let all: Vec<&str> = known.iter().map(|purpose| purpose.name.as_str()).collect();
            let message = if all.is_empty() {
                "the consent policy has no purpose; give it some with UpdateConsentPolicy".to_owned()
            } else {
                format!("is no purpose of the consent policy; it has {}", all.join(", "))
            };
            return Err(status::field(&format!("purposes[{at}]"), FaultReason::Unknown, message));
        };
        found.push(purpose.id);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
