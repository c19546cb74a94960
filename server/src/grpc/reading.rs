//! What every reading service needs: the tenant of a request, and a state that has come far enough.

use std::sync::Arc;
use std::time::Duration;

use onefold_core::consent::PurposeId;
use onefold_core::fault::FaultReason;
use onefold_core::ids::{ProfileOrdinal, Sequence};
use onefold_core::reads::ReadCall;
use tonic::Status;

use super::{names, rights, status};
use crate::app::App;
use crate::app::error::ReadError;
use crate::app::reads::What;
use crate::app::tenant::{LiveConfig, Tenant};

/// How long a read waits for the sequence it asks for.
pub const REACH_WAIT_MAX: Duration = Duration::from_secs(1);

/// The tenant of a `parent` or tenant `name`.
///
/// # Errors
/// INVALID_ARGUMENT for another shape, NOT_FOUND for an unknown tenant.
pub fn tenant(app: &App, parent: &str) -> Result<Arc<Tenant>, Status> {
    let name = names::tenant(parent).map_err(|bad| status::field("parent", FaultReason::Malformed, bad.0))?;
    named(app, name)
}

/// The tenant with this name.
///
/// # Errors
/// PERMISSION_DENIED for one that the caller's key does not reach, there or not; NOT_FOUND for an unknown tenant.
pub fn named(app: &App, name: &str) -> Result<Arc<Tenant>, Status> {
    rights::reach(app, name)?;
    app.tenant(name).ok_or_else(|| status::ReadErrorIn { tenant: name, error: ReadError::TenantUnknown }.into())
}

/// Waits until everything up to this sequence is durable and visible (read-your-write), but not for long.
///
/// # Errors
/// UNAVAILABLE when the sequence is not reached in time.
pub async fn reached(tenant: &Tenant, wanted: u64) -> Result<(), Status> {
    wait_for(tenant, Sequence(wanted)).await.map_err(|error| status::ReadErrorIn { tenant: &tenant.name, error }.into())
}

/// The same, in the words of the use cases.
///
/// # Errors
/// [`ReadError::Behind`] when the sequence is not reached in time.
pub async fn wait_for(tenant: &Tenant, wanted: Sequence) -> Result<(), ReadError> {
    if tenant.durable() >= wanted {
        return Ok(());
    }
    // Apart, since few calls wait, and all would carry the room for it.
    Box::pin(async {
        let mut durable = tenant.follow();
        match tokio::time::timeout(REACH_WAIT_MAX, durable.wait_for(|durable| *durable >= wanted)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ReadError::Behind { wanted: wanted.0, reached: tenant.durable().0 }),
        }
    })
    .await
}

/// A tenant's configuration to be shown: once the tenant itself and the last change are durable.
///
/// # Errors
/// UNAVAILABLE when the disk takes too long.
pub async fn config(tenant: &Tenant) -> Result<Arc<LiveConfig>, Status> {
    let config = tenant.config();
    // The first entry of every tenant opens it.
    reached(tenant, config.since.0.max(1)).await?;
    Ok(config)
}

/// Waits until what a reader sees in the state now is durable: a crash must not take back what was answered.
///
/// # Errors
/// UNAVAILABLE when the disk takes too long.
pub async fn durable(tenant: &Tenant) -> Result<(), Status> {
    let seen = tenant.state().sequence;
    reached(tenant, seen.0).await
}

/// Notes in the log of reads what is about to be shown: nothing of a person leaves but past here.
///
/// # Errors
/// [`ReadError::NotLogged`] where the tenant wants no read that is not in the log, and the log cannot take it;
/// [`ReadError::PurposeMissing`], as [`says_what_for`].
pub fn note(
    app: &App,
    tenant: &Tenant,
    (call, purpose): (ReadCall, Option<PurposeId>),
    what: impl IntoIterator<Item = What>,
) -> Result<(), ReadError> {
    says_what_for(tenant, (call, purpose), rights::may_read_for_nothing())?;
    if !tenant.noting.is_on() {
        return Ok(());
    }
    app.shared.reads.note(tenant, (rights::reader(), call, purpose), what)
}

/// Whether something may be shown through a call for this purpose, or for none: where the tenant asks for one, to whose
/// work is about the data alone.
///
/// # Errors
/// [`ReadError::PurposeMissing`].
pub fn says_what_for(
    tenant: &Tenant,
    (call, purpose): (ReadCall, Option<PurposeId>),
    may_read_for_nothing: bool,
) -> Result<(), ReadError> {
    let may = purpose.is_some() || !tenant.noting.purpose_required() || !call.asks_purpose() || may_read_for_nothing;
    if may { Ok(()) } else { Err(ReadError::PurposeMissing) }
}

/// The purpose that a call names; none for an empty name, where none is asked for.
///
/// # Errors
/// INVALID_ARGUMENT that names `purpose`: missing, or unknown.
pub fn purpose(
    name: &str,
    (tenant, call): (&Tenant, ReadCall),
    config: &LiveConfig,
    may_read_for_nothing: bool,
) -> Result<Option<PurposeId>, Status> {
    let mut faults = Vec::new();
    let purpose = super::convert::consent::purpose(name, "purpose", config, &mut faults);
    if !faults.is_empty() {
        return Err(status::ReadErrorIn { tenant: "", error: ReadError::Invalid(faults) }.into());
    }
    if says_what_for(tenant, (call, purpose), may_read_for_nothing).is_err() {
        let message = "say what for: this tenant shows persons to a purpose only";
        return Err(status::field("purpose", FaultReason::Missing, message));
    }
    Ok(purpose)
}

/// [`note`] for calls that show what is of these profiles, by name or by ordinal; without one, of nobody in particular.
///
/// # Errors
/// UNAVAILABLE or PERMISSION_DENIED, as [`note`].
pub fn showing(
    app: &App,
    tenant: &Tenant,
    call: ReadCall,
    profiles: impl IntoIterator<Item = ProfileOrdinal>,
) -> Result<(), Status> {
    showing_for(app, tenant, (call, None), profiles)
}

/// [`showing`] for a purpose, where the call names one.
///
/// # Errors
/// As [`showing`].
pub fn showing_for(
    app: &App,
    tenant: &Tenant,
    how: (ReadCall, Option<PurposeId>),
    profiles: impl IntoIterator<Item = ProfileOrdinal>,
) -> Result<(), Status> {
    let mut profiles: Vec<ProfileOrdinal> = profiles.into_iter().collect();
    profiles.sort_unstable();
    profiles.dedup();
    let what = match profiles.is_empty() {
        true => vec![What::Some],
        false => profiles.into_iter().map(What::Profile).collect(),
    };
    note(app, tenant, how, what).map_err(|error| status::ReadErrorIn { tenant: &tenant.name, error }.into())
}

/// The profiles behind names in an answer.
pub fn ordinals<'a>(
    tenant: &'a Tenant,
    names: impl IntoIterator<Item = &'a str> + 'a,
) -> impl Iterator<Item = ProfileOrdinal> + 'a {
    names.into_iter().filter_map(|name| names::profile(name).ok()?.1.open(&tenant.keys.id))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// RPCs that show nothing of a person beyond ids, or only tell again what their caller has just said.
    const SHOW_NOBODY: &[&str] = &[
        "StreamFragments",
        "PutFragment",
        "RetractRecord",
        "ReplayQuarantine",
        "DiscardQuarantine",
        "ListProfileHistory",
        "RecordConsent",
        "StreamConsents",
        "ConfirmConsent",
        "IssueUnsubscribeToken",
        "Unsubscribe",
        "ConfirmReservation",
        "ReleaseReservation",
        "GetConsentPolicy",
        "UpdateConsentPolicy",
        "ImportHierarchy",
        "PutAffiliation",
        "EndAffiliation",
        "ConfirmAccount",
        "PutLifecycle",
        "GetLifecycle",
        "SetStage",
        "Judge",
        "WithdrawJudgements",
        "MergeProfiles",
        "SplitProfile",
        "CreatePrivacyRequest",
        "GetPrivacyRequest",
        "ListPrivacyRequests",
        "VerifyPrivacyRequest",
        "ApprovePrivacyRequest",
        "ExecuteErasure",
        "ExecuteRestriction",
        "LiftRestriction",
        "ExecuteObjection",
        "ExecuteRectification",
        "ExtendPrivacyRequest",
        "RefusePrivacyRequest",
        "CancelPrivacyRequest",
        "ConfirmErasure",
        "GetErasureReceipt",
        "Readmit",
        "GetPrivacyPolicy",
        "ListReads",
        "ListDecisions",
        "UpdatePrivacyPolicy",
        "VerifyLog",
        "CreateTenant",
        "GetTenant",
        "ListTenants",
        "UpdateTenant",
        "PutSource",
        "ListSources",
        "PutNamespace",
        "ListNamespaces",
        "ListModels",
        "GetModel",
        "TrainModel",
        "PreviewModel",
        "SetModel",
        "GetStatistics",
        "GetDigest",
        "CreateApiKey",
        "ListApiKeys",
        "RevokeApiKey",
    ];

    /// A new RPC shows personal data, and is noted as a read, which says whether it names a purpose; or it is listed here.
    #[test]
    fn every_rpc_is_a_read_of_personal_data_or_known_to_be_none() {
        let mut known: BTreeSet<&str> = SHOW_NOBODY.iter().copied().collect();
        assert_eq!(known.len(), SHOW_NOBODY.len());
        for call in ReadCall::ALL {
            assert!(known.insert(call.as_str()), "{} is one or the other", call.as_str());
        }
        let paths = rights::paths();
        let all: BTreeSet<&str> = paths.iter().filter_map(|path| path.rsplit('/').next()).collect();
        assert_eq!(known, all);
    }
}
