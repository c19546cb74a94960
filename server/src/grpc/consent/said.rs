//! Statements in, and what became of them out.

use std::sync::Arc;

use onefold_core::consent::{Decision, Subject};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_proto::v1 as pb;
use tonic::Status;

use super::Consents;
use crate::app::consent::Saying;
use crate::app::consent::token::Handle;
use crate::app::error::WriteError;
use crate::app::ingest::{Answer, Item, Outcome};
use crate::app::requests::RequestKey;
use crate::app::tenant::Tenant;
use crate::grpc::convert::consent::{self as door, About, Given};
use crate::grpc::{convert, reading, status};

/// What became of a statement, on the wire.
fn result(answer: &Answer, asked: Decision, tenant: &Tenant) -> pb::ConsentResult {
    match &answer.outcome {
        Outcome::Said { sequence, statement, known } => {
            let pending = asked == Decision::Pending;
            let token = if pending { Handle::Confirmation.seal(*statement, &tenant.keys) } else { String::new() };
            pb::ConsentResult {
                statement_id: Handle::Statement.seal(*statement, &tenant.keys),
                sequence: sequence.0,
                known: *known,
                confirmation_token: token,
                faults: Vec::new(),
                pending,
            }
        }
        Outcome::Rejected { faults } => refused(faults.clone()),
        Outcome::Suppressed { .. } => refused(vec![suppressed()]),
        _ => pb::ConsentResult::default(),
    }
}

/// It was erased and must not come back.
fn suppressed() -> FieldFault {
    let message = "was erased and must not come back; a person who comes by their own act is let in with Readmit";
    FieldFault::new("subject", FaultReason::Unknown, message)
}

fn refused(faults: Vec<FieldFault>) -> pb::ConsentResult {
    let faults = faults.into_iter().map(convert::outcome::fault).collect();
    pb::ConsentResult { faults, ..Default::default() }
}

impl Consents {
    /// From the wire to something for the lane.
    pub(super) fn saying(
        &self,
        tenant: &Tenant,
        subject: Option<pb::ConsentSubject>,
        saying: Option<pb::ConsentSaying>,
    ) -> Result<Saying, Vec<FieldFault>> {
        let config = tenant.config();
        let given = Given { now: self.app.now(), at: None, source: None };
        let (about, faults) = match door::subject(subject, tenant, &config) {
            Ok(about) => (Some(about), Vec::new()),
            Err(faults) => (None, faults),
        };
        let (subject, points) = match about {
            Some(About { subject, who, .. }) => (subject, who.points),
            // What was said is read all the same, so that every fault is told.
            None => (Subject::Profile(onefold_core::ids::ProfileOrdinal(0)), Vec::new()),
        };
        match door::statement(saying, subject, points, "saying.", &config, given) {
            Ok(statement) if faults.is_empty() => Ok(Saying::new(statement, tenant)),
            Ok(_) => Err(faults),
            Err(more) => Err(faults.into_iter().chain(more).collect()),
        }
    }

    /// Records one statement and answers for it.
    pub(super) async fn say(
        &self,
        tenant: &Arc<Tenant>,
        saying: Saying,
        request: Option<RequestKey>,
    ) -> Result<pb::ConsentResult, Status> {
        let asked = saying.statement.decision;
        let items = vec![Item::Say(Box::new(saying))];
        let answers = self.app.ingest(tenant, items, request).await.map_err(status::write)?;
        match answers.into_iter().next() {
            Some(Answer { outcome: Outcome::Rejected { faults } }) => Err(status::write(WriteError::Invalid(faults))),
            Some(Answer { outcome: Outcome::Suppressed { .. } }) => {
                Err(status::write(onefold_core::erasure::PrivacyError::Suppressed.into()))
            }
            Some(answer) => Ok(result(&answer, asked, tenant)),
            None => Err(status::internal("the lane gave no answer")),
        }
    }

    pub(super) async fn record_batch(
        &self,
        parent: &str,
        batch: Vec<pb::StreamConsentsRequest>,
    ) -> Result<Vec<pb::StreamConsentsResponse>, Status> {
        let tenant = reading::tenant(&self.app, parent)?;
        let mut answers = Vec::with_capacity(batch.len());
        let mut items = Vec::with_capacity(batch.len());
        for message in batch {
            let said = self.saying(&tenant, message.subject, message.saying);
            answers.push((
                message.client_sequence,
                match said {
                    Ok(saying) => {
                        let decision = saying.statement.decision;
                        items.push(Item::Say(Box::new(saying)));
                        Ok(decision)
                    }
                    Err(faults) => Err(faults),
                },
            ));
        }
        let told = self.app.submit(&tenant, items).await.await;
        let told = told.unwrap_or(Err(WriteError::StoreFailed)).map_err(status::write)?;
        let mut told = told.into_iter();
        let answers = answers.into_iter().map(|(client_sequence, asked)| {
            let result = match asked {
                Ok(decision) => told.next().map(|answer| result(&answer, decision, &tenant)),
                Err(faults) => Some(refused(faults)),
            };
            pb::StreamConsentsResponse { client_sequence, result }
        });
        Ok(answers.collect())
    }
}
