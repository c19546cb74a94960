//! Who this might be: a search, and what a purpose may ask of it.

use std::collections::BTreeSet;

use onefold_core::consent::PurposeId;
use onefold_core::consent::policy::FieldScope;
use onefold_core::fault::FaultReason;
use onefold_core::fragment::{Fragment, PartyKind, Vocabulary};
use onefold_core::reads::ReadCall;
use onefold_proto::v1 as pb;
use prost::Message as _;
use tonic::Status;

use super::{Profiles, RESULT_HEAD_BYTES, failed, party, purpose, shown};
use crate::app::error::ReadError;
use crate::app::read::{self, ProfileKey};
use crate::app::tenant::LiveConfig;
use crate::config;
use crate::grpc::convert::account::withheld;
use crate::grpc::convert::fragment as door;
use crate::grpc::serving::Asked;
use crate::grpc::{reading, status};

/// Profiles that a search shows, when nothing is said, and at most.
const FOUND_DEFAULT: usize = 10;
const FOUND_MAX: usize = 100;
/// Profiles that a search for a purpose looks at to find those that it may read.
const LOOKED_AT_MAX: usize = 300;

/// Leaves out of a probe what the purpose may not read, and says what that is: evidence would tell whether a guess is right.
fn leave_out(probe: &mut Fragment, known: &LiveConfig, purpose: PurposeId) -> Result<Vec<pb::Withheld>, Status> {
    let config = &known.config;
    let none = FieldScope::default();
    let scope = config.consent.purpose(purpose).map_or(&none, |purpose| &purpose.reads);
    let mut left_out = BTreeSet::new();
    probe.identifiers.retain(|identifier| {
        let may = scope.namespace(identifier.namespace);
        if !may {
            left_out.insert(format!("identifiers.{}", Vocabulary::namespace(config.as_ref(), identifier.namespace)));
        }
        may
    });
    probe.attributes.retain(|attribute| {
        let name = Vocabulary::attribute(config.as_ref(), attribute.name);
        let may = scope.attribute(name);
        if !may {
            left_out.insert(format!("values.{name}"));
        }
        may
    });
    if probe.identifiers.is_empty() && probe.attributes.is_empty() {
        let all: Vec<String> = left_out.into_iter().collect();
        let message = format!("may read nothing of what is asked for ({}), so nobody is looked for", all.join(", "));
        return Err(status::field("purpose", FaultReason::Malformed, message));
    }
    Ok(withheld(left_out))
}

impl Profiles {
    /// The profiles that are most like what is known, as far as they may be shown.
    pub(super) async fn search(
        &self,
        request: pb::SearchProfilesRequest,
    ) -> Result<pb::SearchProfilesResponse, Status> {
        let shown = shown(request.view(), request.read_mask.clone())?;
        let tenant = reading::tenant(&self.app, &request.parent)?;
        reading::reached(&tenant, request.min_sequence).await?;
        let most = match usize::try_from(request.max_results) {
            Ok(0) => FOUND_DEFAULT,
            Ok(most) => most.min(FOUND_MAX),
            Err(_) => {
                let message = "give 0 for the default, or a positive number";
                return Err(status::field("max_results", FaultReason::Malformed, message));
            }
        };
        let known = tenant.config();
        let party = party(request.party_kind()).unwrap_or(PartyKind::Person);
        let asked =
            Asked { call: ReadCall::SearchProfiles, shown, purpose: purpose(&request.purpose, &tenant, &known)? };
        let mut probe = door::probe(party, request.identifiers, request.attributes, &known, self.app.now())
            .map_err(|faults| failed(&tenant, ReadError::Invalid(faults)))?;
        let not_compared = match asked.purpose {
            Some(purpose) => leave_out(&mut probe, &known, purpose)?,
            None => Vec::new(),
        };
        // Who may not be read takes nobody's place: else what is missing would tell of them.
        let looked_at = if asked.purpose.is_some() { LOOKED_AT_MAX } else { most };
        let hits = self.app.reading(&tenant, move |_, tenant| read::search(tenant, &probe, looked_at)).await;
        let hits = hits.map_err(|error| failed(&tenant, error))?;
        let (mut results, mut bytes) = (Vec::with_capacity(most.min(hits.len())), 0);
        for (profile, evidence_bits) in hits {
            if results.len() == most {
                break;
            }
            let key = ProfileKey::Id(tenant.profile_id(profile));
            match self.serve(&tenant, &key, &asked).await {
                Ok(served) => {
                    let (profile, withheld) = served.into_parts().map_err(|error| failed(&tenant, error))?;
                    results.push(pb::SearchResult { profile: Some(profile), evidence_bits, withheld });
                }
                Err(ReadError::PurposeNotPermitted { .. }) => continue,
                // It went between the search and the look.
                Err(
                    ReadError::ProfileUnknown
                    | ReadError::ProfileEmptied
                    | ReadError::ProfileErased
                    | ReadError::ProfileSplit { .. },
                ) => continue,
                Err(error) => return Err(failed(&tenant, error)),
            }
            bytes += results.last().map_or(0, |result| result.encoded_len() + RESULT_HEAD_BYTES);
            if bytes > config::MESSAGE_OUT_BYTES_MAX {
                let hint =
                    format!("it was after {} profiles; ask for fewer, or name fields in read_mask", results.len());
                return Err(status::answer_too_large(config::MESSAGE_OUT_BYTES_MAX, &hint));
            }
        }
        Ok(pb::SearchProfilesResponse { results, withheld_count: 0, withheld: not_compared })
    }
}
