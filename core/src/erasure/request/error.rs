//! Why a step of a request is not taken.

use super::RequestState;

/// Why a step is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivacyError {
    /// There is no such request.
    #[error("there is no such privacy request")]
    Unknown,
    /// The request stands elsewhere.
    #[error("the request is {state}; {needs}")]
    State {
        /// Where it stands.
        state: RequestState,
        /// What would have to be.
        needs: &'static str,
    },
    /// The step is none of this kind of request.
    #[error("this step is for {needs}")]
    Kind {
        /// Which requests it is for.
        needs: &'static str,
    },
    /// There is nothing to export.
    #[error("nothing is held of this person; tell them so, and refuse the request with that ground")]
    NothingHeld,
    /// Nobody is held of whom anything could be said.
    #[error("nothing is held of whom the request is about: there is nothing to restrict, to object to or to correct")]
    ScopeEmpty,
    /// A correction is of one person.
    #[error("the request leads to several profiles; a correction is of one: make a request for each")]
    SeveralProfiles,
    /// There is no restriction of this request to end.
    #[error("this request restricts nothing: only a restriction that was carried out can be lifted")]
    NotRestricted,
    /// The tenant's policy has no purpose of this kind.
    #[error(
        "no purpose of the consent policy is {what}: name `purposes`, or give one of them the vocabulary_iri https://w3id.org/dpv#{term}"
    )]
    NoPurpose {
        /// Which use.
        what: &'static str,
        /// The term that would say so.
        term: &'static str,
    },
    /// The scope is another than the one that was seen.
    #[error("the scope has changed since it was previewed; look at it and decide anew")]
    ScopeChanged,
    /// The one who verified cannot approve too.
    #[error("a second person must do this: neither by the name nor by the key of the one who verified")]
    SecondPerson,
    /// The law knows no extension, or it was extended already.
    #[error("this request cannot be extended: {0}")]
    NoExtension(&'static str),
    /// The consumer is none that must confirm.
    #[error("this consumer does not have to confirm this request")]
    ConsumerUnknown,
    /// Not carried out yet.
    #[error("there is no receipt before the request is completed")]
    NoReceipt,
    /// Erased and must not come back.
    #[error("an identifier or record of this was erased and must not come back")]
    Suppressed,
}
