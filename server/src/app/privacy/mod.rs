//! The rights of persons: requests, what they touch, erasure and its proof.
//!
//! [`plan`] finds what is in scope, [`act`] is what callers ask for, `commit` does it in the lane (`carry` what is no
//! erasure, `again` what a restore forgot), [`receipt`] proves it, [`evidence`] says of each identifier why it is in scope, [`export`] hands over what is held, [`outside`] the identifiers that no live profile has to hold, `former` knows what records held once, [`state`] is what memory keeps, `replay` brings it
//! back from the journal.

pub mod act;
pub(super) mod again;
mod carry;
pub(super) mod commit;
pub mod decisions;
pub mod evidence;
pub mod export;
pub(super) mod former;
pub mod outside;
pub mod plan;
pub mod receipt;
pub(super) mod replay;
pub mod state;

use onefold_core::decision::{self, EntryKind};
use onefold_core::erasure::{
    Carried, ErasurePlan, Figures, PrivacyError, PrivacyRequest, Receipt, ReceiptKept, RequestState,
};
use onefold_core::fragment::PartyKind;
use onefold_core::ids::Sequence;

use self::evidence::IdentifierEvidence;
use super::Shared;
use super::error::{ReadError, WriteError};
use super::lane::kind;
use super::read::durable_at;
use super::tenant::Tenant;

/// What stands for a caller's reference or name where a restore did it, of what a ledger says.
const RESTORED: &str = "restored-ledger";

/// A request.
///
/// # Errors
/// [`PrivacyError::Unknown`].
pub fn get(tenant: &Tenant, id: Sequence) -> Result<PrivacyRequest, WriteError> {
    Ok(tenant.state().privacy.requests.get(&id).cloned().ok_or(PrivacyError::Unknown)?)
}

/// What was done upon a request that is no erasure.
pub fn carried(state: &super::tenant::State, id: Sequence) -> &[Carried] {
    state.privacy.carried.get(&id).map_or(&[], Vec::as_slice)
}

/// The kind of party that a request leads to.
///
/// # Errors
/// [`PrivacyError::Unknown`]; [`PrivacyError::ScopeEmpty`] when nobody of it is live.
pub fn party_of(tenant: &Tenant, id: Sequence) -> Result<PartyKind, WriteError> {
    let (state, config) = (tenant.state(), tenant.config());
    let request = state.privacy.requests.get(&id).ok_or(PrivacyError::Unknown)?;
    if request.state.is_final() {
        return Err(PrivacyError::State { state: request.state, needs: "it has ended" }.into());
    }
    let plan = plan::plan(&state, &config, &request.subject);
    let live = plan.records.iter().filter_map(|record| state.engine.record(record.digest)).find(|view| view.live);
    Ok(live.ok_or(PrivacyError::ScopeEmpty)?.party)
}

/// What carrying out a request would do now: the very plan that would be carried out.
///
/// # Errors
/// [`PrivacyError::Unknown`], or [`PrivacyError::State`] when it has ended.
pub fn preview(tenant: &Tenant, id: Sequence) -> Result<(ErasurePlan, Figures), WriteError> {
    preview_with_evidence(tenant, id).map(|(plan, figures, _)| (plan, figures))
}

/// The same, with the evidence for each identifier.
///
/// # Errors
/// As [`preview`].
pub fn preview_with_evidence(
    tenant: &Tenant,
    id: Sequence,
) -> Result<(ErasurePlan, Figures, Vec<IdentifierEvidence>), WriteError> {
    let (state, config) = (tenant.state(), tenant.config());
    let request = state.privacy.requests.get(&id).ok_or(PrivacyError::Unknown)?;
    if request.state.is_final() || request.state == RequestState::InProgress {
        return Err(PrivacyError::State { state: request.state, needs: "there is nothing left to preview" }.into());
    }
    let plan = plan::plan(&state, &config, &request.subject);
    let figures = commit::figures(&plan, &config);
    let identifiers = evidence::of_identifiers(&state, &plan, &request.subject);
    Ok((plan, figures, identifiers))
}

/// The text of a receipt. Not for asynchronous threads.
///
/// # Errors
/// [`WriteError::Privacy`] when there is none, [`WriteError::Damaged`] when it is not as it was signed,
/// [`WriteError::StoreFailed`] when it cannot be read.
pub fn receipt_text(shared: &Shared, tenant: &Tenant, id: Sequence) -> Result<String, WriteError> {
    let place = {
        let state = tenant.state();
        if !state.privacy.requests.contains_key(&id) {
            return Err(PrivacyError::Unknown.into());
        }
        state.privacy.receipts.get(&id).copied().ok_or(PrivacyError::NoReceipt)?
    };
    let read = || -> Result<String, ReadError> {
        durable_at(shared, place)?;
        let entry = shared.journal.read(place).map_err(|error| ReadError::at(place, error))?;
        let payload = entry.payload.filter(|_| entry.context.kind == kind(EntryKind::ReceiptKept));
        let payload = payload.ok_or_else(|| ReadError::content_of(place, "the entry is no receipt"))?;
        let kept: ReceiptKept = decision::decode(&payload).map_err(|error| ReadError::content_of(place, error))?;
        // It is sealed by nothing but its signature, so that is what tells a bit that was flipped.
        Receipt::read(&kept.text, None).map_err(|error| ReadError::content_of(place, error))?;
        Ok(kept.text)
    };
    read().map_err(|error| {
        tracing::error!(error = %error, "a receipt cannot be read");
        error.into()
    })
}
