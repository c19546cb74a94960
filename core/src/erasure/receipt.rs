//! The proof of an erasure: what was removed, what lost its key, what is kept, and where in the log. Signed, and verified
//! without a server.

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::hex::{hex, unhex};

/// A head of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// Segment of the journal.
    pub segment: u32,
    /// Offset in it.
    pub offset: u32,
    /// The chain's hash there, hexadecimal.
    pub chain: String,
}

/// Something counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineCount {
    /// What.
    pub what: String,
    /// How many.
    pub count: u32,
}

/// Something that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptLine {
    /// What.
    pub what: String,
    /// How many.
    pub count: u32,
    /// Why.
    pub ground: String,
    /// Until when.
    pub until: String,
}

/// Suppressions of one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuppressionLine {
    /// The namespace; `source record` for records.
    pub namespace: String,
    /// How many.
    pub count: u32,
    /// When they are looked at again.
    pub review_time: String,
}

/// A consumer that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerLine {
    /// Which.
    pub consumer: String,
    /// By when it must confirm.
    pub confirm_by: String,
}

/// A receipt. Holds no personal data. The text is canonical: [`Receipt::read`] takes no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The shape of this text.
    pub receipt_version: u32,
    /// What made it.
    pub software: String,
    /// The tenant.
    pub tenant: String,
    /// The request's name.
    pub request: String,
    /// The caller's number for it.
    pub reference: String,
    /// The law.
    pub regulation: String,
    /// When it came in.
    pub received_time: String,
    /// By when it was to be answered.
    pub due_time: String,
    /// When it was carried out.
    pub erased_time: String,
    /// How it was verified.
    pub verification: String,
    /// What is not there any more.
    pub removed: Vec<LineCount>,
    /// What is there, and cannot be read by anybody: its key was overwritten.
    pub key_destroyed: Vec<LineCount>,
    /// What is kept.
    pub kept: Vec<KeptLine>,
    /// What must not come back.
    pub suppressions: Vec<SuppressionLine>,
    /// Who was told.
    pub consumers: Vec<ConsumerLine>,
    /// The tenant's sequences from the decision to the last change that followed from it.
    pub first_sequence: u64,
    /// The last.
    pub last_sequence: u64,
    /// The log before.
    pub log_before: LogHead,
    /// The log after.
    pub log_after: LogHead,
    /// What of backups.
    pub backup_horizon: String,
    /// The same in words.
    pub words: Vec<String>,
    /// The key that signed, hexadecimal.
    pub public_key: String,
    /// Ed25519 over the text with this empty, hexadecimal.
    pub signature: String,
}

/// A receipt that proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not a receipt's text.
    #[error("this is not the text of a receipt, or it was changed: {0}")]
    Text(String),
    /// Not signed with the key that it names.
    #[error("the signature does not match: the receipt was changed, or was never given out")]
    Signature,
    /// Signed with another key than the one that is trusted.
    #[error("the receipt is signed with another key than this installation's")]
    Key,
}

impl LogHead {
    /// A head as the journal names it.
    #[must_use]
    pub fn new(segment: u32, offset: u32, chain: &[u8; 32]) -> Self {
        Self { segment, offset, chain: hex(chain) }
    }

    /// The chain's hash; `None` when the text is none.
    #[must_use]
    pub fn hash(&self) -> Option<[u8; 32]> {
        unhex(&self.chain)
    }
}

impl Receipt {
    /// Its text.
    ///
    /// # Panics
    /// Never: it is made of texts and numbers.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers always encode")
    }

    fn unsigned(&self) -> String {
        Self { signature: String::new(), ..self.clone() }.text()
    }

    /// Signs it with the key of this seed.
    #[must_use]
    pub fn sign(mut self, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        self.public_key = hex(key.verifying_key().as_bytes());
        self.signature = hex(&key.sign(self.unsigned().as_bytes()).to_bytes());
        self
    }

    /// Reads a receipt and checks its signature; `trusted` is the public key that must have signed it, hexadecimal.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn read(text: &str, trusted: Option<&str>) -> Result<Self, ReceiptError> {
        let receipt: Self =
            serde_json::from_str(text).map_err(|error| ReceiptError::Text(format!("line {}", error.line())))?;
        if receipt.text() != text.trim_end_matches('\n') {
            return Err(ReceiptError::Text("it is not as it was written".to_owned()));
        }
        let key = unhex(&receipt.public_key).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        let signature = unhex(&receipt.signature).map(|bytes| Signature::from_bytes(&bytes));
        let (Some(key), Some(signature)) = (key, signature) else { return Err(ReceiptError::Signature) };
        if trusted.is_some_and(|trusted| trusted != receipt.public_key) {
            return Err(ReceiptError::Key);
        }
        key.verify(receipt.unsigned().as_bytes(), &signature).map_err(|_| ReceiptError::Signature)?;
        Ok(receipt)
    }

    /// The public key of a seed, hexadecimal.
    #[must_use]
    pub fn public_key_of(seed: &[u8; 32]) -> String {
        hex(SigningKey::from_bytes(seed).verifying_key().as_bytes())
    }
}

/// The receipt in plain words, one sentence a line.
#[must_use]
pub fn words_of(receipt: &Receipt) -> Vec<String> {
    let listed = |lines: &[LineCount]| -> String {
        let all: Vec<String> = lines.iter().map(|line| format!("{} ({})", line.what, line.count)).collect();
        if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
    };
    let mut words = vec![
        format!("The request came in on {} and was carried out on {}.", receipt.received_time, receipt.erased_time),
        format!("Removed from everything that answers: {}.", listed(&receipt.removed)),
        format!("Made unreadable for ever, by overwriting the key: {}.", listed(&receipt.key_destroyed)),
    ];
    for kept in &receipt.kept {
        words.push(format!("Kept: {} ({}), because {}; until {}.", kept.what, kept.count, kept.ground, kept.until));
    }
    let suppressed: u32 = receipt.suppressions.iter().map(|line| line.count).sum();
    words.push(format!("{suppressed} keyed digests stop the same records and identifiers from coming back."));
    for consumer in &receipt.consumers {
        words.push(format!("{} was told by the feed and must confirm by {}.", consumer.consumer, consumer.confirm_by));
    }
    words.push(receipt.backup_horizon.clone());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        let head = LogHead::new(1, 88, &[7; 32]);
        let line = |what: &str, count| LineCount { what: what.to_owned(), count };
        let mut receipt = Receipt {
            receipt_version: 1,
            software: "onefold 0.1.0".into(),
            tenant: "default".into(),
            request: "tenants/default/privacyRequests/7".into(),
            reference: "T-1".into(),
            regulation: "GDPR".into(),
            received_time: "2026-11-26T10:00:00Z".into(),
            due_time: "2026-12-26T10:00:00Z".into(),
            erased_time: "2026-11-26T10:01:00Z".into(),
            verification: "email".into(),
            removed: vec![line("source records of crm", 2)],
            key_destroyed: vec![line("keys", 2)],
            kept: Vec::new(),
            suppressions: Vec::new(),
            consumers: Vec::new(),
            first_sequence: 8,
            last_sequence: 9,
            log_before: head.clone(),
            log_after: head,
            backup_horizon: "Backups.".into(),
            words: Vec::new(),
            public_key: String::new(),
            signature: String::new(),
        };
        receipt.words = words_of(&receipt);
        receipt.sign(&[3; 32])
    }

    #[test]
    fn any_bit_of_a_receipt_that_is_turned_is_found() {
        let whole = receipt();
        let text = whole.text();
        let key = Receipt::public_key_of(&[3; 32]);
        assert_eq!(Receipt::read(&text, Some(&key)), Ok(whole.clone()));
        assert_eq!(Receipt::read(&format!("{text}\n"), None), Ok(whole));
        assert_eq!(Receipt::read(&text, Some(&Receipt::public_key_of(&[4; 32]))), Err(ReceiptError::Key));
        for bit in 0..text.len() * 8 {
            let mut bent = text.clone().into_bytes();
            bent[bit / 8] ^= 1 << (bit % 8);
            let bent = String::from_utf8_lossy(&bent).into_owned();
            assert!(Receipt::read(&bent, None).is_err(), "bit {bit}");
        }
        assert!(Receipt::read(&text[..text.len() - 1], None).is_err());
        assert!(Receipt::read("", None).is_err());
    }
}
