//! A signed head of the log: at a moment the log reached this far, with this chain. A copy kept elsewhere shows a log that
//! was cut back or written anew behind it, which its own chain cannot show.

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::erasure::LogHead;
use crate::hex::{hex, unhex};

/// The shape of a line.
const VERSION: u32 = 2;
/// The shape that says nothing of the ledgers.
const WITHOUT_LEDGERS: u32 = 1;
/// Stands in front of what is signed, so that the signature is of nothing else.
const DOMAIN: &[u8] = b"onefold 2026 signed head of the log\n";

/// A head that was signed. One line of JSON; the line is canonical, and each names the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// The shape of this line.
    pub head_version: u32,
    /// When, in words that sort.
    pub time: String,
    /// How far the log reached, durable.
    pub log: LogHead,
    /// What the ledgers beside it had been given by then. Not in lines of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledgers: Option<LedgersTold>,
    /// blake3 of the line before, hexadecimal; empty in the first.
    pub previous: String,
    /// The key that signed, hexadecimal.
    pub public_key: String,
    /// Ed25519 over the line with this empty, hexadecimal.
    pub signature: String,
}

/// How many rows each ledger beside the log was ever given, those that were taken out again among them: it never gets less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgersTold {
    /// The erasure ledger.
    pub erasures: u64,
    /// The ledger of stops.
    pub stops: u64,
    /// The ledger of revocations.
    pub revocations: u64,
}

/// A line that proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not as it was written.
    #[error("is no signed head, or was changed")]
    Text,
    /// Of a later release.
    #[error("is a signed head of version {0}; this release reads up to version {VERSION}")]
    Version(u32),
    /// Not signed with the key that it names.
    #[error("has a signature that does not match: it was changed, or never given out")]
    Signature,
    /// Signed with another key than the one that is trusted.
    #[error("is signed with another key than this installation's")]
    Key,
    /// Another line stood in front of it.
    #[error("does not follow the line before it: a line was changed, left out or put in")]
    Order,
}

impl SignedHead {
    /// Signs a head with the key of this seed; `previous` is the line before.
    #[must_use]
    pub fn sign(time: String, (log, ledgers): (LogHead, LedgersTold), previous: Option<&str>, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let mut head = Self {
            head_version: VERSION,
            time,
            log,
            ledgers: Some(ledgers),
            previous: previous.map(digest_of).unwrap_or_default(),
            public_key: hex(key.verifying_key().as_bytes()),
            signature: String::new(),
        };
        head.signature = hex(&key.sign(&head.signed_bytes()).to_bytes());
        head
    }

    /// Its line, without a line's end.
    ///
    /// # Panics
    /// Never: it is made of texts and numbers.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always encode")
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let unsigned = Self { signature: String::new(), ..self.clone() };
        [DOMAIN, unsigned.line().as_bytes()].concat()
    }

    /// Reads a line, and checks its signature and that it follows `previous`. `trusted` is the public key that must have
    /// signed it, hexadecimal.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn read(line: &str, previous: Option<&str>, trusted: Option<&str>) -> Result<Self, HeadError> {
        let head: Self = serde_json::from_str(line).map_err(|_| HeadError::Text)?;
        let fits = match head.head_version {
            VERSION => head.ledgers.is_some(),
            WITHOUT_LEDGERS => head.ledgers.is_none(),
            other => return Err(HeadError::Version(other)),
        };
        if !fits || head.line() != line {
            return Err(HeadError::Text);
        }
        if head.previous != previous.map(digest_of).unwrap_or_default() {
            return Err(HeadError::Order);
        }
        if trusted.is_some_and(|trusted| trusted != head.public_key) {
            return Err(HeadError::Key);
        }
        let key = unhex(&head.public_key).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        let signature = unhex(&head.signature).map(|bytes| Signature::from_bytes(&bytes));
        let (Some(key), Some(signature)) = (key, signature) else { return Err(HeadError::Signature) };
        key.verify(&head.signed_bytes(), &signature).map_err(|_| HeadError::Signature)?;
        Ok(head)
    }
}

/// Whether what stands behind the last line's end can be a line that a crash cut off: behind a head that is whole there is
/// nothing but its end, so a bent line's end is told from a cut.
#[must_use]
pub fn is_cut_line(rest: &str) -> bool {
    let mut heads = serde_json::Deserializer::from_str(rest).into_iter::<SignedHead>();
    !matches!(heads.next(), Some(Ok(_))) || heads.byte_offset() == rest.len()
}

fn digest_of(line: &str) -> String {
    hex(blake3::hash(line.as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bit_of_a_line_and_any_line_that_is_missing_is_found() {
        let seed = [9; 32];
        let mut lines: Vec<String> = Vec::new();
        for number in 0..3u32 {
            let log = LogHead::new(1, 100 * number, &[number as u8; 32]);
            let ledgers = LedgersTold { erasures: u64::from(number), stops: 7, revocations: 0 };
            let time = format!("2026-11-26T10:0{number}:00Z");
            let head = SignedHead::sign(time, (log, ledgers), lines.last().map(String::as_str), &seed);
            lines.push(head.line());
        }
        let trusted = SignedHead::read(&lines[0], None, None).map(|head| head.public_key);
        let trusted = trusted.as_deref().ok();
        assert!(SignedHead::read(&lines[1], Some(&lines[0]), trusted).is_ok());
        assert_eq!(SignedHead::read(&lines[2], Some(&lines[0]), trusted), Err(HeadError::Order), "one is missing");
        assert_eq!(SignedHead::read(&lines[1], Some(&lines[0]), Some("00")), Err(HeadError::Key));
        for bit in 0..lines[1].len() * 8 {
            let mut bent = lines[1].clone().into_bytes();
            bent[bit / 8] ^= 1 << (bit % 8);
            let bent = String::from_utf8_lossy(&bent).into_owned();
            assert!(SignedHead::read(&bent, Some(&lines[0]), trusted).is_err(), "bit {bit}");
        }
        // Of a release that said nothing of the ledgers.
        let key = SigningKey::from_bytes(&seed);
        let mut old = SignedHead::read(&lines[0], None, None).unwrap();
        (old.head_version, old.ledgers, old.signature) = (1, None, String::new());
        old.signature = hex(&key.sign(&old.signed_bytes()).to_bytes());
        assert_eq!(SignedHead::read(&old.line(), None, trusted), Ok(old.clone()));
        assert!(!old.line().contains("ledgers"));
        old.head_version = 2;
        assert_eq!(SignedHead::read(&old.line(), None, trusted), Err(HeadError::Text), "a count was taken out");
        for cut in 0..=lines[1].len() {
            assert!(is_cut_line(&lines[1][..cut]), "cut at {cut}");
        }
        assert!(!is_cut_line(&format!("{}\u{b}", lines[1])), "the line's end was changed");
    }
}
