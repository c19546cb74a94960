//! Errors become gRPC statuses here and nowhere else. `reason` is a promise to clients.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use onefold_core::consent::reserve::CannotSettle;
use onefold_core::erasure::PrivacyError;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::hierarchy::Refused;
use onefold_core::ids::ProfileId;
use onefold_core::lifecycle::StageRefused;
use onefold_matching::resolve::JUDGEMENTS_MAX;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::app::error::{ReadError, WriteError};
use crate::app::hierarchy::act::HierarchyError;
use crate::app::review::JudgeError;
use crate::grpc::names;

const DOMAIN: &str = "onefold.dev";
/// Where every reason is explained: the published form of `docs/errors.md`, an anchor for each.
const HELP_PAGE: &str = "https://onefold.dev/docs/errors";
/// How long a caller waits while the server recovers: it takes seconds.
const RECOVERING_RETRY: Duration = Duration::from_secs(1);
/// Faults of one request that its status names; the message says how many there are. Statuses travel as headers, which
/// clients bound to a few kilobytes.
const FAULTS_SHOWN_MAX: usize = 32;

fn status(
    code: Code,
    reason: &str,
    message: String,
    metadata: HashMap<String, String>,
    mut details: ErrorDetails,
) -> Status {
    details.set_error_info(reason, DOMAIN, metadata);
    details.add_help_link("what this reason means, and what to do", format!("{HELP_PAGE}#{}", reason.to_lowercase()));
    Status::with_error_details(code, message, details)
}

fn plain(code: Code, reason: &str, message: String) -> Status {
    status(code, reason, message, HashMap::new(), ErrorDetails::new())
}

/// An error about a resource. Its name is told where callers gave it or know it, and never holds personal data.
fn about(
    code: Code,
    reason: &str,
    message: String,
    (kind, name, owner): (&str, String, String),
    metadata: HashMap<String, String>,
) -> Status {
    let mut details = ErrorDetails::new();
    details.set_resource_info(kind, name, owner, message.as_str());
    status(code, reason, message, metadata, details)
}

const TENANT: &str = "onefold.v1.Tenant";
const PROFILE: &str = "onefold.v1.Profile";

fn invalid(faults: &[FieldFault], message: String) -> Status {
    let mut details = ErrorDetails::new();
    for fault in faults.iter().take(FAULTS_SHOWN_MAX) {
        details.add_bad_request_violation(&fault.path, &fault.message);
    }
    // One fault says itself; of several the first stands for the rest in clients that show the message alone.
    let message = faults.first().map_or(message.clone(), |fault| format!("{message}: {fault}"));
    status(Code::InvalidArgument, "REQUEST_INVALID", message, HashMap::new(), details)
}

/// Why a call is refused that the server cannot serve in time.
const TOO_MANY_CALLS: &str = "TOO_MANY_CALLS";

/// As many calls are under way as may be.
pub fn too_many_calls() -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(Duration::from_secs(1)));
    let message = "the server has as many calls under way as it can hold; come again, with jitter".to_owned();
    status(Code::ResourceExhausted, TOO_MANY_CALLS, message, HashMap::new(), details)
}

/// Goes with an answer that is a refusal: its reason, for who counts it without reading it.
#[derive(Clone, Copy, Debug)]
pub struct Shed(pub &'static str);

/// [`too_many_calls`], made once: what is told in a flood must cost as little as can be.
pub fn shed<B: Default>() -> http::Response<B> {
    static HEAD: LazyLock<http::HeaderMap> =
        LazyLock::new(|| too_many_calls().into_http::<()>().into_parts().0.headers);
    let mut response = http::Response::new(B::default());
    response.headers_mut().clone_from(&HEAD);
    response.extensions_mut().insert(Shed(TOO_MANY_CALLS));
    response
}

/// The server goes down.
pub fn stopping() -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(Duration::from_secs(1)));
    let message = "the server goes down; send again what has no answer, resume a watch from its last cursor".to_owned();
    status(Code::Unavailable, "SERVER_STOPPING", message, HashMap::new(), details)
}

/// The server has not recovered yet.
pub fn recovering() -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(RECOVERING_RETRY));
    let message = "the server recovers what is on disk and serves in a moment".to_owned();
    status(Code::Unavailable, "SERVER_RECOVERING", message, HashMap::new(), details)
}

/// No key came with the call.
pub fn credentials_missing() -> Status {
    let message = "this server asks for a key or a token: send metadata `authorization: Bearer …`".to_owned();
    plain(Code::Unauthenticated, "CREDENTIALS_MISSING", message)
}

/// The key is unknown, wrong, over or taken back; which of these is not said.
pub fn credentials_invalid() -> Status {
    let message =
        "the key or token is not good: unknown, mistyped, over, revoked or not for this server; ask for another"
            .to_owned();
    plain(Code::Unauthenticated, "CREDENTIALS_INVALID", message)
}

/// The key is of no role that may make this call.
pub fn role_not_allowed() -> Status {
    let message = "the key has no role that may make this call; an administrator can make one that has".to_owned();
    plain(Code::PermissionDenied, "ROLE_NOT_ALLOWED", message)
}

/// A consumer's word comes from the consumer.
pub fn consumer_not_caller() -> Status {
    let message =
        "a consumer confirms with its own key, whose display name is the consumer's; a privacy officer may for it";
    plain(Code::PermissionDenied, "ROLE_NOT_ALLOWED", message.to_owned())
}

/// The key is of another tenant.
pub fn tenant_not_allowed() -> Status {
    let message = "the key is not good for this tenant, or the call is of no tenant and the key of one".to_owned();
    plain(Code::PermissionDenied, "TENANT_NOT_ALLOWED", message)
}

/// An answer that no message can hold.
pub fn answer_too_large(limit: usize, hint: &str) -> Status {
    let metadata = HashMap::from([("limit".to_owned(), limit.to_string())]);
    let message = format!("the answer would be larger than {limit} bytes: {hint}");
    status(Code::ResourceExhausted, "ANSWER_TOO_LARGE", message, metadata, ErrorDetails::new())
}

/// A fault of our own.
pub fn internal(message: &str) -> Status {
    plain(Code::Internal, "INTERNAL", message.to_owned())
}

/// A message over the limit.
pub fn message_too_large(message: &str, limit: usize) -> Status {
    let metadata = HashMap::from([("limit".to_owned(), limit.to_string())]);
    status(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message.to_owned(), metadata, ErrorDetails::new())
}

/// Bytes that are no message.
pub fn message_malformed(message: &str) -> Status {
    plain(Code::InvalidArgument, "REQUEST_INVALID", message.to_owned())
}

/// A deadline that passed before there was an answer.
pub fn deadline_exceeded() -> Status {
    let message = "the deadline passed before there was an answer; a write may have been done".to_owned();
    plain(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
}

/// A stream on which nothing came for too long.
pub fn stream_silent(limit: Duration) -> Status {
    let metadata = HashMap::from([("limit_seconds".to_owned(), limit.as_secs_f64().to_string())]);
    let message = format!(
        "no message came for {} s; what was answered stands: open the stream again and go on behind the last answer",
        limit.as_secs_f64()
    );
    status(Code::DeadlineExceeded, "STREAM_SILENT", message, metadata, ErrorDetails::new())
}

/// A stream beside the services that has been open for long enough.
pub fn stream_aged() -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(Duration::ZERO));
    let message = "the stream was open for as long as one may be: open it again".to_owned();
    status(Code::Unavailable, "STREAM_AGED", message, HashMap::new(), details)
}

/// A single faulty field of a request.
pub fn field(path: &str, reason: onefold_core::fault::FaultReason, message: impl Into<String>) -> Status {
    ReadErrorIn { tenant: "", error: ReadError::Invalid(vec![FieldFault::new(path, reason, message)]) }.into()
}

/// A read error and the tenant it happened in, whose name profile names need.
pub struct ReadErrorIn<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The error.
    pub error: ReadError,
}

impl From<ReadErrorIn<'_>> for Status {
    fn from(ReadErrorIn { tenant, error }: ReadErrorIn<'_>) -> Self {
        let message = error.to_string();
        let listed = |ids: &[ProfileId]| {
            let names: Vec<String> = ids.iter().map(|id| names::of_profile(tenant, *id)).collect();
            names.join(",")
        };
        match error {
            ReadError::Invalid(faults) => invalid(&faults, message),
            ReadError::TenantUnknown => {
                let resource = (TENANT, names::of_tenant(tenant), String::new());
                about(Code::NotFound, "TENANT_UNKNOWN", message, resource, HashMap::new())
            }
            ReadError::ProfileUnknown => {
                let resource = (PROFILE, String::new(), names::of_tenant(tenant));
                about(Code::NotFound, "PROFILE_NOT_FOUND", message, resource, HashMap::new())
            }
            ReadError::ProfileEmptied => {
                let resource = (PROFILE, String::new(), names::of_tenant(tenant));
                about(Code::NotFound, "PROFILE_EMPTIED", message, resource, HashMap::new())
            }
            ReadError::ProfileErased => {
                let resource = (PROFILE, String::new(), names::of_tenant(tenant));
                about(Code::NotFound, "PROFILE_ERASED", message, resource, HashMap::new())
            }
            ReadError::ProfileSplit { into } => {
                let metadata = HashMap::from([("profiles".to_owned(), listed(&into))]);
                let resource = (PROFILE, String::new(), names::of_tenant(tenant));
                about(Code::FailedPrecondition, "PROFILE_SPLIT", message, resource, metadata)
            }
            ReadError::IdentifierShared { profiles, more } => {
                let metadata =
                    HashMap::from([("profiles".to_owned(), listed(&profiles)), ("more".to_owned(), more.to_string())]);
                let resource = (PROFILE, String::new(), names::of_tenant(tenant));
                about(Code::FailedPrecondition, "IDENTIFIER_SHARED", message, resource, metadata)
            }
            ReadError::StatementUnknown => plain(Code::NotFound, "STATEMENT_NOT_FOUND", message),
            ReadError::PurposeNotPermitted { reasons } => {
                let metadata = HashMap::from([("reasons".to_owned(), reasons.join(","))]);
                status(Code::PermissionDenied, "PURPOSE_NOT_PERMITTED", message, metadata, ErrorDetails::new())
            }
            ReadError::StudyRuns => {
                let mut details = ErrorDetails::new();
                details.set_retry_info(Some(Duration::from_secs(5)));
                status(Code::ResourceExhausted, "STUDY_RUNS", message, HashMap::new(), details)
            }
            ReadError::ModelUnknown => plain(Code::NotFound, "MODEL_NOT_FOUND", message),
            ReadError::Behind { wanted, reached } => {
                let metadata = HashMap::from([
                    ("wanted".to_owned(), wanted.to_string()),
                    ("reached".to_owned(), reached.to_string()),
                ]);
                let mut details = ErrorDetails::new();
                details.set_retry_info(Some(Duration::from_millis(100)));
                status(Code::Unavailable, "SEQUENCE_NOT_REACHED", message, metadata, details)
            }
            ReadError::HistoryBehind => {
                let mut details = ErrorDetails::new();
                details.set_retry_info(Some(Duration::from_millis(100)));
                status(Code::Unavailable, "HISTORY_BEHIND", message, HashMap::new(), details)
            }
            ReadError::NotLogged => {
                let mut details = ErrorDetails::new();
                details.set_retry_info(Some(Duration::from_secs(5)));
                status(Code::Unavailable, "READ_LOG_UNAVAILABLE", message, HashMap::new(), details)
            }
            ReadError::PurposeMissing => plain(Code::PermissionDenied, "ROLE_NOT_ALLOWED", message),
            ReadError::AccountUnknown => plain(Code::NotFound, "ACCOUNT_NOT_FOUND", message),
            ReadError::PageToken => plain(Code::InvalidArgument, "PAGE_TOKEN_INVALID", message),
            ReadError::CursorAhead(reached) => {
                let metadata = HashMap::from([("reached".to_owned(), reached.0.to_string())]);
                status(Code::OutOfRange, "CURSOR_AHEAD", message, metadata, ErrorDetails::new())
            }
            ReadError::Damaged(damaged) => {
                tracing::error!(error = %damaged, "a read met something damaged");
                plain(Code::DataLoss, "DATA_DAMAGED", message)
            }
            ReadError::Keyed(what) => {
                tracing::error!(
                    what,
                    "a read met something damaged in the keyed store: start again, which makes it anew"
                );
                plain(Code::DataLoss, "DATA_DAMAGED", message)
            }
            ReadError::Store(source) => {
                tracing::error!(error = %source, "a read failed in the store");
                plain(Code::Internal, "STORE_FAILED", message)
            }
        }
    }
}

/// A reservation that cannot be confirmed or released.
pub fn reservation(error: CannotSettle) -> Status {
    let (code, reason) = match error {
        CannotSettle::Unknown => (Code::NotFound, "RESERVATION_NOT_FOUND"),
        CannotSettle::Expired => (Code::FailedPrecondition, "RESERVATION_EXPIRED"),
        CannotSettle::Released => (Code::FailedPrecondition, "RESERVATION_RELEASED"),
        CannotSettle::Confirmed => (Code::FailedPrecondition, "RESERVATION_CONFIRMED"),
    };
    plain(code, reason, error.to_string())
}

/// As [`write`], to whoever is not shown where a person stands: a step that is not allowed is refused without saying from where.
pub fn write_unseen(error: WriteError) -> Status {
    match error {
        WriteError::Hierarchy(HierarchyError::Stage(StageRefused::Forbidden { .. })) => {
            let message = "the stage that was reached before does not lead there".to_owned();
            plain(Code::FailedPrecondition, "STAGE_FORBIDDEN", message)
        }
        other => write(other),
    }
}

/// What is told of accounts and does not fit what is known of them.
fn hierarchy(error: &HierarchyError) -> Status {
    let message = error.to_string();
    let listed =
        |of: HashMap<String, String>, code, reason| status(code, reason, message.clone(), of, ErrorDetails::new());
    match error {
        HierarchyError::AccountUnknown => plain(Code::NotFound, "ACCOUNT_NOT_FOUND", message),
        HierarchyError::ParentUnknown => plain(Code::NotFound, "PARENT_NOT_FOUND", message),
        HierarchyError::AffiliationUnknown => plain(Code::NotFound, "AFFILIATION_NOT_FOUND", message),
        HierarchyError::Suppressed => plain(Code::FailedPrecondition, "SUPPRESSED", message),
        HierarchyError::Parent(Refused::SelfParent) => plain(Code::InvalidArgument, "ACCOUNT_SELF_PARENT", message),
        HierarchyError::Parent(Refused::Cycle { below }) => {
            let steps = HashMap::from([("steps".to_owned(), below.len().to_string())]);
            listed(steps, Code::FailedPrecondition, "ACCOUNT_CYCLE")
        }
        HierarchyError::Parent(Refused::ParentClosed) => plain(Code::FailedPrecondition, "PARENT_CLOSED", message),
        HierarchyError::Parent(Refused::TooManySteps | Refused::TooDeep) => {
            plain(Code::ResourceExhausted, "LIMIT_REACHED", message)
        }
        HierarchyError::Stage(StageRefused::Undefined(_)) => {
            plain(Code::FailedPrecondition, "LIFECYCLE_UNDEFINED", message)
        }
        HierarchyError::Stage(StageRefused::Unknown { known }) => {
            let known = HashMap::from([("known".to_owned(), known.join(","))]);
            listed(known, Code::InvalidArgument, "STAGE_UNKNOWN")
        }
        HierarchyError::Stage(StageRefused::Forbidden { from, allowed }) => {
            let told = HashMap::from([
                ("from".to_owned(), from.clone().unwrap_or_default()),
                ("allowed".to_owned(), allowed.join(",")),
            ]);
            listed(told, Code::FailedPrecondition, "STAGE_FORBIDDEN")
        }
    }
}

/// Why a stage is not entered, in the words of the errors.
pub const fn stage_reason(refused: &StageRefused) -> &'static str {
    match refused {
        StageRefused::Undefined(_) => "LIFECYCLE_UNDEFINED",
        StageRefused::Unknown { .. } => "STAGE_UNKNOWN",
        StageRefused::Forbidden { .. } => "STAGE_FORBIDDEN",
    }
}

/// A judgement that cannot be taken.
fn judge(error: &JudgeError) -> Status {
    let message = error.to_string();
    let index = |index: usize| HashMap::from([("judgement".to_owned(), index.to_string())]);
    match error {
        JudgeError::RecordUnknown { index: at } => {
            status(Code::NotFound, "RECORD_NOT_FOUND", message, index(*at), ErrorDetails::new())
        }
        JudgeError::OneRecord { index: at } | JudgeError::TwoKinds { index: at } => {
            let path = format!("judgements[{at}]");
            invalid(&[FieldFault::new(path, FaultReason::Malformed, message.clone())], message)
        }
        JudgeError::Contradicted { index: at, steps, entries } => {
            let mut told = index(*at);
            told.insert("steps".to_owned(), steps.to_string());
            // The last part of each judgement's name.
            let shown: Vec<String> = entries.iter().take(FAULTS_SHOWN_MAX).map(|entry| entry.0.to_string()).collect();
            told.insert("judgements".to_owned(), shown.join(","));
            status(Code::FailedPrecondition, "JUDGEMENT_CONTRADICTED", message, told, ErrorDetails::new())
        }
        JudgeError::TooMany => {
            let told = HashMap::from([
                ("what".to_owned(), "judgements".to_owned()),
                ("limit".to_owned(), JUDGEMENTS_MAX.to_string()),
            ]);
            status(Code::ResourceExhausted, "LIMIT_REACHED", message, told, ErrorDetails::new())
        }
    }
}

/// A step of a privacy request that cannot be taken.
fn privacy(error: &PrivacyError) -> Status {
    let message = error.to_string();
    match error {
        PrivacyError::Unknown => plain(Code::NotFound, "PRIVACY_REQUEST_NOT_FOUND", message),
        PrivacyError::State { state, .. } => {
            let metadata = HashMap::from([("state".to_owned(), state.to_string())]);
            status(Code::FailedPrecondition, "PRIVACY_REQUEST_STATE", message, metadata, ErrorDetails::new())
        }
        PrivacyError::Kind { .. } => plain(Code::FailedPrecondition, "PRIVACY_REQUEST_KIND", message),
        PrivacyError::NothingHeld => plain(Code::FailedPrecondition, "NOTHING_HELD", message),
        PrivacyError::ScopeChanged => plain(Code::Aborted, "SCOPE_CHANGED", message),
        PrivacyError::SecondPerson => plain(Code::FailedPrecondition, "SECOND_PERSON_NEEDED", message),
        PrivacyError::NoExtension(_) => plain(Code::FailedPrecondition, "NO_EXTENSION", message),
        PrivacyError::ConsumerUnknown => plain(Code::NotFound, "CONSUMER_UNKNOWN", message),
        PrivacyError::NoReceipt => plain(Code::FailedPrecondition, "NO_RECEIPT", message),
        PrivacyError::ScopeEmpty => plain(Code::FailedPrecondition, "SCOPE_EMPTY", message),
        PrivacyError::SeveralProfiles => plain(Code::FailedPrecondition, "SEVERAL_PROFILES", message),
        PrivacyError::NotRestricted => plain(Code::FailedPrecondition, "NOT_RESTRICTED", message),
        PrivacyError::NoPurpose { .. } => plain(Code::FailedPrecondition, "PURPOSE_NOT_CONFIGURED", message),
        PrivacyError::Suppressed => plain(Code::FailedPrecondition, "SUPPRESSED", message),
    }
}

/// A write error as a status.
pub fn write(error: WriteError) -> Status {
    let message = error.to_string();
    match error {
        WriteError::Invalid(faults) => invalid(&faults, message),
        WriteError::TenantUnknown => {
            let resource = (TENANT, String::new(), String::new());
            about(Code::NotFound, "TENANT_UNKNOWN", message, resource, HashMap::new())
        }
        WriteError::ApiKeyUnknown => plain(Code::NotFound, "API_KEY_NOT_FOUND", message),
        WriteError::Exists(_) => {
            let resource = (TENANT, String::new(), String::new());
            about(Code::AlreadyExists, "ALREADY_EXISTS", message, resource, HashMap::new())
        }
        WriteError::Stale => plain(Code::Aborted, "ETAG_STALE", message),
        WriteError::Full { what, limit } => {
            let metadata =
                HashMap::from([("limit".to_owned(), limit.to_string()), ("what".to_owned(), what.to_owned())]);
            status(Code::ResourceExhausted, "LIMIT_REACHED", message, metadata, ErrorDetails::new())
        }
        WriteError::Busy { retry_after } => {
            let mut details = ErrorDetails::new();
            details.set_retry_info(Some(retry_after));
            status(Code::Unavailable, "LANE_FULL", message, HashMap::new(), details)
        }
        WriteError::DiskFull => {
            let mut details = ErrorDetails::new();
            details.set_retry_info(Some(Duration::from_secs(5)));
            status(Code::Unavailable, "DISK_FULL", message, HashMap::new(), details)
        }
        WriteError::RequestIdReused => plain(Code::InvalidArgument, "REQUEST_ID_REUSED", message),
        WriteError::Privacy(error) => privacy(&error),
        WriteError::Hierarchy(error) => hierarchy(&error),
        WriteError::Judge(error) => judge(&error),
        WriteError::Damaged(_) => {
            tracing::error!(error = %message, "a change met something damaged");
            plain(Code::DataLoss, "DATA_DAMAGED", message)
        }
        WriteError::StoreFailed => plain(Code::Internal, "STORE_FAILED", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_explained_where_its_help_link_points() {
        let page = include_str!("../../../docs/errors.md");
        let code = include_str!("status.rs");
        let reasons: Vec<&str> = code
            .split('"')
            .filter(|text| text.len() > 4 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
            .collect();
        assert!(reasons.len() > 20, "{reasons:?}");
        for reason in reasons {
            assert!(page.contains(&format!("<a id=\"{}\"></a>{reason} |", reason.to_lowercase())), "{reason}");
        }
    }

    #[test]
    fn errors_say_what_they_are_about_and_where_to_read_on() {
        let status: Status = ReadErrorIn { tenant: "west", error: ReadError::ProfileUnknown }.into();
        let about = status.get_details_resource_info().unwrap();
        assert_eq!((about.resource_type.as_str(), about.owner.as_str()), (PROFILE, "tenants/west"));
        assert_eq!(status.get_details_help().unwrap().links[0].url, format!("{HELP_PAGE}#profile_not_found"));
    }
}
