//! Identifier values in canonical form: one door per kind, no way around it.
//!
//! [`canonicalise`] turns what a source wrote into the one form that is compared, indexed and suppressed. It is a pure
//! function that never panics, is idempotent (a canonical value is its own canonical form) and whose output is bounded by
//! [`IDENTIFIER_BYTES_MAX`]. [`BlockRules`] then says which canonical values must never link anybody.

pub mod domain;
pub mod email;
pub mod junk;
pub mod phone;
pub mod plain;
pub mod region;

mod block;

pub(crate) use block::whole_match;
pub use block::{BlockReason, BlockRules, InvalidBlockRules};

use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::limits::IDENTIFIER_BYTES_MAX;
use crate::namespace::Normaliser;

/// A value in the one form that is compared. Only [`canonicalise`] and the doors behind it make one; `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Canonical(String);

impl Canonical {
    /// The text: personal data, never to be logged.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text of a golden identifier that is well formed, which came out of [`canonicalise`].
    pub(crate) const fn of_golden(text: String) -> Self {
        Self(text)
    }

    /// The text, given away.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canonical(..)")
    }
}

/// Why a raw value is no identifier of its kind. Names the fault, never the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidIdentifier {
    /// Nothing is left after trimming, or nothing that counts.
    #[error("is empty")]
    Empty,
    /// Over [`IDENTIFIER_BYTES_MAX`], as it came or in canonical form.
    #[error("is longer than {IDENTIFIER_BYTES_MAX} bytes")]
    TooLong,
    /// An e-mail address without `@`.
    #[error("has no `@`")]
    NoAt,
    /// An e-mail address with nothing before the `@`.
    #[error("has nothing before the `@`")]
    NoLocalPart,
    /// An e-mail address whose local part is over 64 bytes (RFC 5321 §4.5.3.1.1).
    #[error("has more than 64 bytes before the `@`")]
    LocalPartTooLong,
    /// A character that cannot be part of such a value.
    #[error("holds a character that cannot be part of it")]
    BadCharacter,
    /// A host name that breaks the rules of DNS or IDNA.
    #[error("has a malformed host name")]
    BadHost,
    /// A host name of one label, such as `localhost`.
    #[error("has a host name without a top-level domain")]
    NoTopLevelDomain,
    /// A network address where a domain is asked for.
    #[error("is a network address, not a domain")]
    NetworkAddress,
    /// A public suffix such as `co.uk` or `github.io`: many parties live under it, so it names none.
    #[error("is a public suffix, under which many parties live")]
    PublicSuffix,
    /// Fewer digits than any telephone number.
    #[error("has fewer than 7 digits")]
    TooFewDigits,
    /// More digits than any telephone number.
    #[error("has more digits than any telephone number")]
    TooManyDigits,
}

/// Brings `raw` into the canonical form of its namespace's normaliser. `region` (ISO 3166, such as `US`) tells how to
/// read telephone numbers without a country code; an unknown region counts as none.
///
/// # Errors
/// [`InvalidIdentifier`], which names the fault and never repeats the input.
pub fn canonicalise(normaliser: Normaliser, raw: &str, region: Option<&str>) -> Result<Canonical, InvalidIdentifier> {
    // One bound before any work, one on what comes out, so that a canonical value always passes the door again.
    if raw.len() > IDENTIFIER_BYTES_MAX {
        return Err(InvalidIdentifier::TooLong);
    }
    let text = match normaliser {
        Normaliser::Email => email::canonicalise(raw),
        Normaliser::Phone => phone::canonicalise(raw, region),
        Normaliser::Domain => domain::canonicalise(raw),
        Normaliser::Alphanumeric => plain::alphanumeric(raw),
        Normaliser::Verbatim => plain::verbatim(raw),
        Normaliser::Folded => plain::folded(raw),
    }?;
    if text.len() > IDENTIFIER_BYTES_MAX { Err(InvalidIdentifier::TooLong) } else { Ok(Canonical(text)) }
}

/// Trims white space and what is as good as white space at the ends of exported values: byte order marks, zero-width
/// and directional marks, soft hyphens, control characters.
fn trim(raw: &str) -> &str {
    raw.trim_matches(is_padding)
}

/// A text in plain letters, where it has other forms of them (NFKC: full width, ligatures, in circles). `None` where it is the
/// same. Canonical forms do not fold these; who asks whether a value was seen before asks for both.
#[must_use]
pub fn compatible(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let plain = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    (plain != text).then(|| plain.into_owned())
}

fn is_padding(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
