//! What officers and administrators decided, shown.

use std::collections::HashSet;

use onefold_core::consent::Subject as About;
use onefold_core::fault::FaultReason;
use onefold_core::ids::{Digest128, Place};
use onefold_proto::v1 as pb;
use pb::decision::What as Wire;
use tonic::Status;

use super::{Privacy, hexadecimal, policy_out, read_before};
use crate::app::error::WriteError;
use crate::app::privacy::decisions::{self, Decision, What};
use crate::grpc::convert::consent as door;
use crate::grpc::convert::fragment::timestamp;
use crate::grpc::page::{self, Page};
use crate::grpc::{reading, status};

impl Privacy {
    /// Answers ListDecisions.
    ///
    /// # Errors
    /// What is wrong with the request, or that the log cannot be read.
    pub(super) async fn decisions(
        &self,
        request: pb::ListDecisionsRequest,
    ) -> Result<pb::ListDecisionsResponse, Status> {
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let of = match request.subject {
            None => None,
            Some(subject) => {
                let before = read_before(&tenant, std::slice::from_ref(&subject));
                let named = door::subject(Some(subject), &tenant, &tenant.config());
                let named = named.map_err(|faults| status::write(WriteError::Invalid(faults)))?;
                if matches!(named.subject, About::Profile(_)) {
                    let message = "give an identifier or a source record: these are let back in";
                    return Err(status::field("subject", FaultReason::Malformed, message));
                }
                Some(named.who.points.into_iter().chain(before).collect::<HashSet<Digest128>>())
            }
        };
        let mut digests: Vec<String> = of.iter().flatten().map(|digest| hexadecimal(&digest.0)).collect();
        digests.sort_unstable();
        let query = format!("decisions/{}/{}", tenant.name, digests.join("/"));
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        let place = (page.from > 0).then_some(Place { segment: (page.from >> 32) as u32, offset: page.from as u32 });
        let size = page.size;
        let found = self
            .app
            .reading(&tenant, move |app, tenant| decisions::page(&app.shared, tenant.id, of.as_ref(), place, size))
            .await
            .map_err(|error| Status::from(status::ReadErrorIn { tenant: &tenant.name, error }))?;
        let next = found.next.map(|place| u64::from(place.segment) << 32 | u64::from(place.offset));
        Ok(pb::ListDecisionsResponse {
            decisions: found.decisions.iter().map(decision_out).collect(),
            next_page_token: next.map(|next| page::seal(&self.app.page_key, &query, next)).unwrap_or_default(),
        })
    }
}

fn decision_out(decision: &Decision) -> pb::Decision {
    let what = match &decision.what {
        What::Readmitted(back) => Wire::Readmission(pb::Readmission {
            by: back.by.clone(),
            ground: back.ground.clone(),
            digests: back.digests.iter().map(|digest| hexadecimal(&digest.0)).collect(),
        }),
        What::Policy(policy, of_reads) => Wire::PrivacyPolicy(policy_out((policy, of_reads.unwrap_or_default()))),
    };
    pb::Decision {
        sequence: decision.sequence.0,
        time: Some(timestamp(decision.at)),
        caller: decision.caller.map(|caller| caller.to_string()).unwrap_or_default(),
        what: Some(what),
    }
}
