//! `request_id` on the wire: the name that a caller gives to a write, so that a repeat gets the first answer.
//!
//! The edge makes a [`RequestKey`] of the field with [`named`]; the lane looks it up with `Lane::repeat` and notes the
//! answer with `requests::remember`, in the batch that holds the effect.

use onefold_core::fault::FaultReason;
use onefold_core::ids::Digest128;
use prost::Message;
use tonic::Status;

use super::status;
use crate::app::requests::RequestKey;

/// A call that comes in pieces and whose caller named it: the pieces are summed up as they come.
pub struct Naming {
    id: [u8; 16],
    hasher: blake3::Hasher,
}

impl Naming {
    /// A call of this method; `None` where its caller gave it no name.
    ///
    /// # Errors
    /// INVALID_ARGUMENT at `path` when the id is no UUID.
    pub fn new(request_id: &str, path: &str, method: &str, key: &[u8; 32]) -> Result<Option<Self>, Status> {
        if request_id.is_empty() {
            return Ok(None);
        }
        let id = uuid(request_id).ok_or_else(|| {
            let message = "give a UUID, e.g. 7f1c2d34-0a1b-4c5d-8e9f-001122334455";
            status::field(path, FaultReason::Malformed, message)
        })?;
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(method.as_bytes()).update(&[0]);
        Ok(Some(Self { id, hasher }))
    }

    /// The next piece; how pieces are put into messages does not count.
    pub fn piece(&mut self, piece: &impl Message) {
        self.hasher.update(&piece.encode_length_delimited_to_vec());
    }

    /// The whole.
    pub fn finish(self) -> RequestKey {
        RequestKey { id: self.id, content: Digest128::of(&self.hasher.finalize()) }
    }
}

/// The name of a call, with the keyed digest of what it asks for; `None` where its caller gave it none. `method` is the
/// RPC's own name, e.g. `PutSource`.
///
/// # Errors
/// INVALID_ARGUMENT when the id is no UUID.
pub fn named(
    request_id: &str,
    method: &str,
    request: &impl Message,
    key: &[u8; 32],
) -> Result<Option<RequestKey>, Status> {
    let naming = Naming::new(request_id, "request_id", method, key)?;
    Ok(naming.map(|mut naming| {
        naming.hasher.update(&request.encode_to_vec());
        naming.finish()
    }))
}

/// The bytes of a UUID, with or without its hyphens.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let hyphens_stand_right = text.len() == 32
        || (text.len() == 36 && text.bytes().enumerate().all(|(at, b)| (b == b'-') == [8, 13, 18, 23].contains(&at)));
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let hexadecimal = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    (hyphens_stand_right && hexadecimal)
        .then(|| u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_uuids_and_calls_differ_by_method_and_content() {
        let id = "7f1c2d34-0a1b-4c5d-8e9f-001122334455";
        let name = |id: &str, method: &str, content: &str| named(id, method, &content.to_owned(), &[1; 32]);
        let first = name(id, "PutSource", "a").unwrap();
        assert_eq!(name(&id.replace('-', ""), "PutSource", "a").unwrap(), first);
        assert_eq!(name("", "PutSource", "a").unwrap(), None);
        for (method, content) in [("PutSource", "b"), ("PutNamespace", "a")] {
            let other = name(id, method, content).unwrap();
            assert_ne!(other.map(|key| key.content), first.map(|key| key.content), "{method} {content}");
        }
        let signed = format!("+{}", &id.replace('-', "")[1..]);
        for bad in [
            "x",
            "7f1c2d34",
            "7f1c2d340a1b-4c5d-8e9f-0011-22334455",
            signed.as_str(),
            "7f1c2d34-0a1b-4c5d-8e9f-00112233445g",
        ] {
            assert!(name(bad, "PutSource", "a").is_err(), "{bad:?}");
        }
    }
}
