//! What a controller posts (OpenDSR 2.0 section 7.1): every fault of it, none with a value of the person.

use onefold_core::erasure::{CALLBACKS_MAX, Regulation, RequestKind};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::ObservedAt;
use onefold_core::limits;
use onefold_proto::v1 as pb;
use serde_json::{Map, Value};

use crate::opendsr::Processor;

/// The kinds of request that the specification knows.
pub const KINDS: [(&str, RequestKind); 3] =
    [("erasure", RequestKind::Erasure), ("access", RequestKind::Access), ("portability", RequestKind::Portability)];
/// The regulations that it knows.
const REGULATIONS: [(&str, Regulation); 2] = [("gdpr", Regulation::Gdpr), ("ccpa", Regulation::Ccpa)];
/// How identities are written: digests of them lead to nobody here, for what is kept is keyed.
pub const FORMAT: &str = "raw";
/// How much a controller's clock may be ahead of ours.
const AHEAD_MICROS_MAX: i64 = 5 * 60 * 1_000_000;

/// A request as it came.
#[derive(Debug)]
pub struct Asked {
    /// Under which law.
    pub regulation: Regulation,
    /// What is asked for.
    pub kind: RequestKind,
    /// The controller's number, and how it is written.
    pub number: ([u8; 16], String),
    /// When the person asked.
    pub submitted_at: ObservedAt,
    /// Whom it is about.
    pub subjects: Vec<pb::ConsentSubject>,
    /// For each of these, which of the identities that came it is.
    pub identities: Vec<usize>,
    /// Whom to call when the status changes.
    pub callbacks: Vec<String>,
}

struct Reader<'a> {
    body: &'a Map<String, Value>,
    faults: Vec<FieldFault>,
}

impl<'a> Reader<'a> {
    fn fault<T>(&mut self, path: impl Into<String>, reason: FaultReason, message: impl Into<String>) -> Option<T> {
        self.faults.push(FieldFault::new(path, reason, message));
        None
    }

    /// What is there; a null is nothing.
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.body.get(field).filter(|value| !value.is_null())
    }

    fn text(&mut self, field: &str) -> Option<&'a str> {
        match self.get(field) {
            Some(Value::String(text)) => Some(text),
            Some(_) => self.fault(field, FaultReason::Malformed, "must be a text"),
            None => self.fault(field, FaultReason::Missing, "is required"),
        }
    }

    /// One of a few words.
    fn word<T: Copy>(&mut self, field: &str, known: &[(&str, T)]) -> Option<T> {
        let text = self.text(field)?;
        match known.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Some(*value),
            None => {
                let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
                self.fault(field, FaultReason::Unknown, format!("must be one of {}", words.join(", ")))
            }
        }
    }

    fn number(&mut self) -> Option<([u8; 16], String)> {
        const FIELD: &str = "subject_request_id";
        let text = self.text(FIELD)?;
        let number = number(text);
        let bad = "must be a UUID of version 4 in lower case, e.g. a7551968-d5d6-44b2-9831-815ac9017798";
        let number = number.or_else(|| self.fault(FIELD, FaultReason::Malformed, bad))?;
        Some((number, text.to_owned()))
    }

    fn submitted(&mut self, now: ObservedAt) -> Option<ObservedAt> {
        const FIELD: &str = "submitted_time";
        let text = self.text(FIELD)?;
        let Ok(time) = text.parse::<jiff::Timestamp>() else {
            return self.fault(FIELD, FaultReason::Malformed, "must be a time of RFC 3339, e.g. 2026-11-26T15:00:00Z");
        };
        let at = time.as_microsecond();
        if at > now.0 + AHEAD_MICROS_MAX {
            return self.fault(FIELD, FaultReason::InTheFuture, "a request cannot come tomorrow");
        }
        if at < now.0 - limits::REQUEST_AGE_MICROS_MAX {
            return self.fault(FIELD, FaultReason::Malformed, "is more than ten years ago: that clock is wrong");
        }
        Some(ObservedAt(at.min(now.0)))
    }

    fn version(&mut self) {
        const FIELD: &str = "api_version";
        let bad = "this is version 2.0; leave it out, or write 2.0";
        match self.get(FIELD) {
            None => {}
            Some(Value::String(text)) if text == "2" || text.starts_with("2.") => {}
            Some(_) => drop(self.fault::<()>(FIELD, FaultReason::Unknown, bad)),
        }
    }

    fn list(&mut self, field: &str, most: usize) -> &'a [Value] {
        match self.get(field) {
            None => &[],
            Some(Value::Array(list)) if list.len() <= most => list,
            Some(Value::Array(_)) => {
                self.fault::<()>(field, FaultReason::TooLarge, format!("at most {most}"));
                &[]
            }
            Some(_) => {
                self.fault::<()>(field, FaultReason::Malformed, "must be an array");
                &[]
            }
        }
    }

    fn callbacks(&mut self, processor: &Processor) -> Vec<String> {
        let mut urls: Vec<String> = Vec::new();
        for (at, url) in self.list("status_callback_urls", CALLBACKS_MAX).iter().enumerate() {
            let path = format!("status_callback_urls[{at}]");
            match url.as_str().map(|text| (text, processor.callbacks.admit(text))) {
                Some((text, Ok(_))) if urls.iter().any(|known| known == text) => {}
                Some((text, Ok(_))) => urls.push(text.to_owned()),
                Some((_, Err(why))) => drop(self.fault::<()>(path, FaultReason::Malformed, why)),
                None => drop(self.fault::<()>(path, FaultReason::Malformed, "must be a text")),
            }
        }
        urls
    }

    /// What is for other processors is none of our affair; what is for us would be lost in silence.
    fn extensions(&mut self, processor: &Processor) {
        const FIELD: &str = "extensions";
        match self.get(FIELD) {
            None => {}
            Some(Value::Object(all)) => {
                let ours = all.get(&processor.host).filter(|ours| !ours.is_null());
                if ours.is_some_and(|ours| ours.as_object().is_none_or(|ours| !ours.is_empty())) {
                    let path = format!("{FIELD}.{}", processor.host);
                    self.fault::<()>(path, FaultReason::Unknown, "this processor has no extension");
                }
            }
            Some(_) => drop(self.fault::<()>(FIELD, FaultReason::Malformed, "must be an object")),
        }
    }

    fn identities(&mut self, processor: &Processor) -> Vec<(usize, pb::ConsentSubject)> {
        const FIELD: &str = "subject_identities";
        let before = self.faults.len();
        let list = self.list(FIELD, limits::REQUEST_SUBJECTS_MAX);
        if list.is_empty() && self.faults.len() == before {
            self.fault::<()>(FIELD, FaultReason::Missing, "name at least one identity");
        }
        let mut subjects = Vec::new();
        for (at, identity) in list.iter().enumerate() {
            let path = format!("{FIELD}[{at}]");
            let Some(identity) = identity.as_object() else {
                self.fault::<()>(path, FaultReason::Malformed, "must be an object");
                continue;
            };
            let mut text = |field: &str| match identity.get(field) {
                Some(Value::String(text)) if !text.is_empty() => Some(text.as_str()),
                Some(Value::Null | Value::String(_)) | None => {
                    self.fault(format!("{path}.{field}"), FaultReason::Missing, "is required")
                }
                Some(_) => self.fault(format!("{path}.{field}"), FaultReason::Malformed, "must be a text"),
            };
            let (kind, format, value) = (text("identity_type"), text("identity_format"), text("identity_value"));
            if format.is_some_and(|format| format != FORMAT) {
                let message =
                    "this processor takes raw identities alone, as /v2/discovery says: a digest leads to nobody here";
                self.fault::<()>(format!("{path}.identity_format"), FaultReason::Unknown, message);
            }
            let (Some(kind), Some(value)) = (kind, value) else { continue };
            let namespaces = processor.identities.iter().filter(|(known, _)| known == kind);
            let identifiers = namespaces.map(|(_, namespace)| {
                let identifier = pb::Identifier { namespace: namespace.clone(), value: value.to_owned() };
                pb::ConsentSubject { subject: Some(pb::consent_subject::Subject::Identifier(identifier)) }
            });
            let known = subjects.len();
            subjects.extend(identifiers.map(|subject| (at, subject)));
            if subjects.len() == known {
                let message = "this processor does not take identities of this type; /v2/discovery lists those it does";
                self.fault::<()>(format!("{path}.identity_type"), FaultReason::Unknown, message);
            }
        }
        subjects
    }
}

/// The bytes of a UUID of version 4, as the specification has it written (section 1.1).
pub fn number(text: &str) -> Option<[u8; 16]> {
    let shape = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            14 => byte == b'4',
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    let digits: String = text.chars().filter(|digit| *digit != '-').collect();
    shape.then(|| u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)).flatten()
}

/// Reads a body. `older`: it came by the routes of OpenGDPR 1.0, which knew no other regulation than the GDPR.
///
/// # Errors
/// Every fault of it.
pub fn read(body: &[u8], processor: &Processor, older: bool, now: ObservedAt) -> Result<Asked, Vec<FieldFault>> {
    let malformed = |message: String| vec![FieldFault::new("body", FaultReason::Malformed, message)];
    // What the parser says would repeat what it met.
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| malformed(format!("is no JSON: line {}, column {}", error.line(), error.column())))?;
    let Value::Object(object) = &value else { return Err(malformed("must be a JSON object".to_owned())) };
    let mut reader = Reader { body: object, faults: Vec::new() };
    let regulation = if older && reader.get("regulation").is_none() {
        Some(Regulation::Gdpr)
    } else {
        reader.word("regulation", &REGULATIONS)
    };
    let number = reader.number();
    let kind = reader.word("subject_request_type", &KINDS);
    let submitted_at = reader.submitted(now);
    let found = reader.identities(processor);
    if !older {
        reader.version();
    }
    let callbacks = reader.callbacks(processor);
    reader.extensions(processor);
    let (identities, subjects) = found.into_iter().unzip();
    match (regulation, number, kind, submitted_at) {
        (Some(regulation), Some(number), Some(kind), Some(submitted_at)) if reader.faults.is_empty() => {
            Ok(Asked { regulation, kind, number, submitted_at, subjects, identities, callbacks })
        }
        _ => Err(reader.faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_uuids_of_version_4_in_lower_case() {
        let good = "a7551968-d5d6-44b2-9831-815ac9017798";
        assert_eq!(crate::opendsr::callbacks::uuid(&number(good).unwrap()), good);
        for bad in [
            "A7551968-d5d6-44b2-9831-815ac9017798",
            "a7551968-d5d6-14b2-9831-815ac9017798",
            "a7551968-d5d6-44b2-c831-815ac9017798",
            "a7551968d5d644b29831815ac9017798",
            "a7551968-d5d6-44b2-9831-815ac901779é",
            "",
        ] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
