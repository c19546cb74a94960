//! Permission as a value: nothing else opens the fields of a profile to a purpose.

use crate::consent::contact::{Reason, allows, consent_reasons};
use crate::consent::policy::{FieldScope, Purpose, Regime};
use crate::consent::state::Effective;
use crate::ids::NamespaceId;

/// Proof that a purpose is permitted now, and what it may read. Only [`permit`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    scope: FieldScope,
    why: Vec<Reason>,
}

/// A purpose that is not permitted, with every reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this purpose is not permitted")]
pub struct NotPermitted(pub Vec<Reason>);

/// Asks for a permit: the purpose is permitted when it is on at least one channel. `channels` holds what was said of each,
/// `all` what was said of all together; that alone is asked only where there are no channels: who said no on every one of them
/// by name is not read because silence, or an older yes to all, would have been enough.
///
/// # Errors
/// [`NotPermitted`] with the reasons of the first channel.
pub fn permit(
    purpose: &Purpose,
    channels: &[Effective],
    all: &Effective,
    regime: Regime,
) -> Result<Permit, NotPermitted> {
    if let Some(state) = channels.iter().chain([all]).find(|state| !state.restricted_by.is_empty()) {
        return Err(NotPermitted(vec![Reason::Restricted(state.restricted_by.clone())]));
    }
    let asked = if channels.is_empty() { std::slice::from_ref(all) } else { channels };
    let mut refused = None;
    for state in asked {
        // A suppressed contact point is a matter of contact, not of reading.
        let reasons = consent_reasons(&Effective { suppressed_by: Vec::new(), ..state.clone() }, regime);
        if allows(&reasons) {
            return Ok(Permit { scope: purpose.reads.clone(), why: reasons });
        }
        let forbidding: Vec<Reason> = reasons.into_iter().filter(|reason| !reason.allows()).collect();
        refused = refused.or(Some(forbidding).filter(|reasons| !reasons.is_empty()));
    }
    Err(NotPermitted(refused.unwrap_or_else(|| vec![Reason::NotGranted])))
}

impl Permit {
    /// Whether this attribute may be read.
    #[must_use]
    pub fn attribute(&self, name: &str) -> bool {
        self.scope.attribute(name)
    }

    /// Whether identifiers of this namespace may be read.
    #[must_use]
    pub fn namespace(&self, namespace: NamespaceId) -> bool {
        self.scope.namespace(namespace)
    }

    /// Whether everything may be read, free-form traits included.
    #[must_use]
    pub const fn everything(&self) -> bool {
        self.scope.all
    }

    /// Why it was given.
    #[must_use]
    pub fn why(&self) -> &[Reason] {
        &self.why
    }
}
