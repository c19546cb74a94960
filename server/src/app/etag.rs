//! Entity tags: what a resource was when it was read, so that a change made from an old reading is refused.

use onefold_core::decision;
use serde::Serialize;

use super::error::WriteError;

/// The tag of a resource: equal exactly while it is.
pub fn etag(resource: &impl Serialize) -> String {
    let hash = blake3::hash(&decision::encode(resource));
    hash.to_hex()[..16].to_owned()
}

/// Refuses a change that was made from another reading; an empty tag asks nothing.
///
/// # Errors
/// [`WriteError::Stale`].
pub fn guard(wanted: &str, resource: Option<&impl Serialize>) -> Result<(), WriteError> {
    let holds = wanted.is_empty() || resource.is_some_and(|resource| etag(resource) == wanted);
    if holds { Ok(()) } else { Err(WriteError::Stale) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_holds_as_long_as_nothing_changes() {
        let read = etag(&("crm", 5));
        assert!(guard(&read, Some(&("crm", 5))).is_ok() && guard("", None::<&u8>).is_ok());
        for now in [Some(&("crm", 6)), None] {
            assert!(matches!(guard(&read, now), Err(WriteError::Stale)), "{now:?}");
        }
    }
}
