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

/// Asks for a permit: the purpose is permitted when it is on at least one channel. `states` holds what was said of each
/// channel, and of all channels together.
///
/// # Errors
/// [`NotPermitted`] with the reasons of what was said of all channels together.
pub fn permit(purpose: &Purpose, states: &[Effective], regime: Regime) -> Result<Permit, NotPermitted> {
    let restricted = states.iter().find(|state| !state.restricted_by.is_empty());
    let granted = states.iter().map(|state| {
        // A suppressed contact point is a matter of contact, not of reading.
        consent_reasons(&Effective { suppressed_by: Vec::new(), ..state.clone() }, regime)
    });
    let mut refused = None;
    for reasons in granted {
        if restricted.is_none() && allows(&reasons) {
            return Ok(Permit { scope: purpose.reads.clone(), why: reasons });
        }
        let forbidding: Vec<Reason> = reasons.into_iter().filter(|reason| !reason.allows()).collect();
        refused = refused.or(Some(forbidding).filter(|reasons| !reasons.is_empty()));
    }
    let refused = match restricted {
        Some(state) => vec![Reason::Restricted(state.restricted_by.clone())],
        None => refused.unwrap_or_else(|| vec![Reason::NotGranted]),
    };
    Err(NotPermitted(refused))
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
