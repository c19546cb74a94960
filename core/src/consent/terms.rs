//! What the receipt of a consent tells of a purpose beside what it is for: the fields of ISO/IEC TS 27560 that are the
//! tenant's to say. What the tenant does not say is left out of receipts, never made up.
//!
//! It is configuration, which lies in the clear: no person belongs in it.

use serde::{Deserialize, Serialize};

use crate::consent::Jurisdiction;

/// How sensitive the data is that a purpose uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sensitivity {
    /// Neither of the others.
    Ordinary,
    /// Harm comes of it more easily than of other data: finances, whereabouts.
    Sensitive,
    /// Of a special category (GDPR Art. 9): health, beliefs, biometrics. Sensitive too.
    SpecialCategory,
}

/// What somebody does with the data that they receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecipientRole {
    /// Works on it on behalf of the controller (GDPR Art. 28).
    Processor,
    /// Uses it for purposes of their own.
    ThirdParty,
}

impl RecipientRole {
    /// The name in receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::ThirdParty => "third_party",
        }
    }
}

/// An organisation that receives data of a purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Its name.
    pub name: String,
    /// What it does with the data.
    pub role: RecipientRole,
    /// How it is reached; empty where that is not told.
    pub contact: String,
    /// Under whose law it is, where that is told.
    pub jurisdiction: Option<Jurisdiction>,
}

/// What receipts tell of a purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptTerms {
    /// Where the notice is; which version of it was shown a statement says. Empty: not told.
    pub notice_iri: String,
    /// Where the data is kept.
    pub storage_locations: Vec<Jurisdiction>,
    /// How long, or by which rule; empty: not told.
    pub retention_period: String,
    /// Who receives it.
    pub recipients: Vec<Recipient>,
    /// What the person may ask for.
    pub rights: Vec<String>,
    /// How sensitive it is, where that is told.
    pub sensitivity: Option<Sensitivity>,
    /// How a yes is taken back; empty: in the ways that this server offers.
    pub withdrawal_method: String,
}
