//! What controllers are answered: signed JSON, and errors in the shape of section 7.6.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use onefold_core::fault::FieldFault;
use serde::Serialize;
use serde_json::json;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::opendsr::Processor;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Seconds after which whoever is sent away comes again.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Why a request is not answered as it wished. Holds nothing of a person.
#[derive(Debug)]
pub struct Trouble {
    code: StatusCode,
    message: String,
    /// Reason and words of each fault.
    errors: Vec<(String, String)>,
}

impl Trouble {
    /// With one fault that says itself.
    pub fn new(code: StatusCode, reason: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, errors: vec![(reason.to_owned(), message.clone())], message }
    }

    /// Faults of a body.
    pub fn of(faults: &[FieldFault]) -> Self {
        let errors: Vec<(String, String)> = faults
            .iter()
            .map(|fault| ("REQUEST_INVALID".to_owned(), format!("{} {}", fault.path, fault.message)))
            .collect();
        let message = errors.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("; ");
        Self { code: StatusCode::BAD_REQUEST, message, errors }
    }

    /// What an RPC says; `identities` tells which identity each of its subjects is.
    pub fn of_status(status: &Status, identities: &[usize]) -> Self {
        let code = match status.code() {
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal | Code::Unknown | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let faults = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        if faults.is_empty() {
            return Self::new(code, &reason, status.message());
        }
        let words = |field: &str, message: &str| format!("{} {message}", renamed(field, identities));
        let errors: Vec<(String, String)> =
            faults.iter().map(|fault| (reason.clone(), words(&fault.field, &fault.description))).collect();
        let message = errors.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("; ");
        Self { code, message, errors }
    }

    /// Its reason, as errors are counted.
    pub fn reason(&self) -> &str {
        self.errors.first().map_or("REQUEST_INVALID", |(reason, _)| reason.as_str())
    }

    /// The answer.
    pub fn answer(self) -> Response<Body> {
        let errors: Vec<_> = self
            .errors
            .iter()
            .map(|(reason, message)| json!({ "domain": "onefold.dev", "reason": reason, "message": message }))
            .collect();
        let body = json!({ "error": { "code": self.code.as_u16(), "message": self.message, "errors": errors } });
        let mut answer = plain(self.code, JSON, body.to_string().into());
        match self.code {
            StatusCode::UNAUTHORIZED => put(&mut answer, WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => put(&mut answer, RETRY_AFTER, RETRY_SECONDS),
            _ => {}
        }
        answer
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::of_status(&status, &[])
    }
}

/// The name that a controller knows for a field of an RPC.
fn renamed(field: &str, identities: &[usize]) -> String {
    let of_identity = || {
        let (at, rest) = field.strip_prefix("subjects[")?.split_once(']')?;
        let identity = identities.get(at.parse::<usize>().ok()?)?;
        let rest = match rest {
            ".identifier.namespace" => ".identity_type",
            ".identifier.value" => ".identity_value",
            _ => "",
        };
        Some(format!("subject_identities[{identity}]{rest}"))
    };
    of_identity().unwrap_or_else(|| match field {
        "subjects" => "subject_identities".to_owned(),
        "received_time" => "submitted_time".to_owned(),
        other => other.to_owned(),
    })
}

fn put(answer: &mut Response<Body>, name: HeaderName, value: HeaderValue) {
    answer.headers_mut().insert(name, value);
}

/// An answer that nobody keeps.
pub fn plain(code: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Body> {
    let mut answer = Response::new(Body::new(http_body_util::Full::new(body)));
    *answer.status_mut() = code;
    put(&mut answer, CONTENT_TYPE, kind);
    put(&mut answer, CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// That a path knows these methods alone.
pub fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut answer =
        Trouble::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", format!("this path takes {methods}"))
            .answer();
    put(&mut answer, ALLOW, HeaderValue::from_static(methods));
    answer
}

/// A signed answer.
///
/// # Errors
/// [`Trouble`] when it cannot be signed.
pub async fn signed(
    processor: &Arc<Processor>,
    code: StatusCode,
    body: &impl Serialize,
) -> Result<Response<Body>, Trouble> {
    let failed = |why: &dyn std::fmt::Display| {
        tracing::error!(why = %why, "an answer to a controller cannot be signed");
        Trouble::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the answer cannot be signed")
    };
    let bytes: Bytes = serde_json::to_vec(body).map_err(|error| failed(&error))?.into();
    let (papers, to_sign) = (processor.papers(), bytes.clone());
    // A signature takes a millisecond and more.
    let signature = tokio::task::spawn_blocking(move || papers.signer.sign(&to_sign)).await;
    let signature = signature.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let mut answer = plain(code, JSON, bytes);
    for (name, value) in processor.headers(&signature) {
        let value = HeaderValue::from_str(value).map_err(|error| failed(&error))?;
        put(&mut answer, HeaderName::from_static(name), value);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_names_that_controllers_know() {
        let identities = [0, 2, 2];
        for (field, want) in [
            ("subjects[1].identifier.value", "subject_identities[2].identity_value"),
            ("subjects[0].identifier.namespace", "subject_identities[0].identity_type"),
            ("subjects[9].identifier.value", "subjects[9].identifier.value"),
            ("subjects", "subject_identities"),
            ("received_time", "submitted_time"),
            ("other", "other"),
        ] {
            assert_eq!(renamed(field, &identities), want);
        }
    }
}
