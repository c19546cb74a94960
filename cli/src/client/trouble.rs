//! From a status to words: what is wrong, where, and what to do about it.

use std::error::Error;
use std::fmt::Write as _;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::command::Failure;

/// The reason of a status, in the one word that is a promise.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// How the transport says that what it hears is no HTTP/2.
const NO_HTTP2: &str = "h2 protocol error";

/// A status as a failure of the command, on a few lines.
pub fn failure(status: &Status, address: &str) -> Failure {
    let reason = status.get_details_error_info();
    let faults = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let word = reason.as_ref().map_or("", |info| info.reason.as_str());
    let mut text = match status.code() {
        _ if !faults.is_empty() => "the server refuses the request".to_owned(),
        Code::Unavailable | Code::Unknown | Code::Cancelled if reason.is_none() => {
            format!("the connection to {address} broke: {}", cause_of(status))
        }
        Code::Internal if reason.is_none() && status.message().contains(NO_HTTP2) => {
            format!("{address} answers with something else than gRPC: no Onefold server listens there, or one with TLS")
        }
        Code::Unimplemented => format!("{address} is no Onefold server, or one of another version"),
        _ => status.message().to_owned(),
    };
    let _ = write!(text, " ({}", name(status.code()));
    let _ = if word.is_empty() { write!(text, ")") } else { write!(text, ", {word})") };
    for fault in &faults {
        let _ = write!(text, "\n  {}: {}", fault.field, fault.description);
    }
    if let Some(info) = &reason {
        for profile in info.metadata.get("profiles").into_iter().flat_map(|all| all.split(',')) {
            let id = profile.rsplit('/').next().unwrap_or(profile);
            let _ = write!(text, "\n  onefold lookup id {id}");
        }
        if info.metadata.get("more").is_some_and(|more| more == "true") {
            text.push_str("\n  … and more");
        }
    }
    if let Some(hint) = hint(word, status.code()) {
        let _ = write!(text, "\nhint: {hint}");
    }
    Failure::new(text)
}

fn hint(reason: &str, code: Code) -> Option<&'static str> {
    Some(match reason {
        "TENANT_UNKNOWN" => "`onefold tenant list` shows all tenants, `onefold tenant create NAME` opens one",
        "PROFILE_NOT_FOUND" => "nothing live stands behind it; `onefold stats` tells what is there",
        "PROFILE_EMPTIED" => "`onefold history PROFILE` tells what became of it",
        "PROFILE_SPLIT" | "IDENTIFIER_SHARED" => "look one of these up by its id",
        "DISK_FULL" => "make room where the server keeps its data; reads go on meanwhile",
        "STORE_FAILED" => "look at the server's log and start it again: what it acknowledged is safe",
        "LANE_FULL" | "SEQUENCE_NOT_REACHED" => "try again in a moment",
        "CURSOR_AHEAD" => "give the cursor that the last message of the feed brought",
        "" if code == Code::Unavailable => "is the server still running? `onefold serve` starts it",
        _ => return None,
    })
}

fn cause_of(status: &Status) -> String {
    status.source().map_or_else(|| status.message().to_owned(), root_cause)
}

/// The innermost error, which is the one that tells.
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// The code as gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn who_speaks_no_grpc_is_named() {
        let told = failure(&Status::internal("h2 protocol error: http2 error"), "127.0.0.1:80").message;
        assert!(told.starts_with("127.0.0.1:80 answers with something else than gRPC"), "{told}");
    }

    #[test]
    fn every_fault_is_told_with_its_field() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("source.name", "give a name");
        details.add_bad_request_violation("source.trust", "at most 1000");
        details.set_error_info("REQUEST_INVALID", "onefold.dev", HashMap::new());
        let told = failure(&Status::with_error_details(Code::InvalidArgument, "2 field(s)", details), "a:1").message;
        assert_eq!(
            told,
            "the server refuses the request (INVALID_ARGUMENT, REQUEST_INVALID)\n  source.name: give a name\n  source.trust: at most 1000"
        );
    }

    #[test]
    fn profiles_in_question_are_named() {
        let mut details = ErrorDetails::new();
        let metadata =
            HashMap::from([("profiles".to_owned(), "tenants/t/profiles/p_1,tenants/t/profiles/p_2".to_owned())]);
        details.set_error_info("IDENTIFIER_SHARED", "onefold.dev", metadata);
        let told = failure(&Status::with_error_details(Code::FailedPrecondition, "shared", details), "a:1").message;
        assert!(told.contains("\n  onefold lookup id p_1\n  onefold lookup id p_2\nhint: "), "{told}");
    }
}
