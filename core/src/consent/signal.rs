//! Signals of browsers and consent managers: kept as they came, and read as far as deciding and showing needs.
//!
//! TCF: IAB Europe, "Consent string and vendor list formats v2" (core segment). GPP: IAB Tech Lab, "Global Privacy
//! Platform string" (header). GPC: the `Sec-GPC` header.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fragment::ObservedAt;

/// Which kind of signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SignalKind {
    /// Global Privacy Control: `1`.
    Gpc,
    /// A TCF v2 string.
    Tcf,
    /// A GPP string.
    Gpp,
}

/// One signal. Personal data: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Which kind.
    pub kind: SignalKind,
    /// As it came.
    pub raw: String,
    /// When it was seen.
    pub seen_at: Option<ObservedAt>,
    /// On which device or browser.
    pub device: String,
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({:?}, ..)", self.kind)
    }
}

/// What a signal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Do not sell or share.
    Gpc,
    /// The core of a TCF string.
    Tcf(TcfCore),
    /// The sections that a GPP string has.
    Gpp {
        /// Section ids, ascending: 2 is TCF EU, 6 US privacy, 7 US national, 8 California, …
        sections: Vec<u16>,
    },
}

/// The core segment of a TCF string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcfCore {
    /// When the person last said so.
    pub updated_at: ObservedAt,
    /// The consent manager.
    pub cmp_id: u16,
    /// The version of the vendor list.
    pub vendor_list_version: u16,
    /// The version of the policy.
    pub policy_version: u8,
    /// Purposes with consent, 1 to 24.
    pub purposes_consent: Vec<u8>,
    /// Purposes with legitimate interest established, 1 to 24.
    pub purposes_legitimate_interest: Vec<u8>,
}

/// A signal that cannot be read. It is kept all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// Not the alphabet of such strings.
    #[error("holds a character that is none of base64url")]
    BadCharacter,
    /// It ends before its fields do.
    #[error("is cut short")]
    Short,
    /// Another version than the one that is read here.
    #[error("is of version {0}, which is not read here")]
    Version(u64),
    /// Not what it says it is.
    #[error("is not a string of its kind")]
    NotSuch,
}

/// A GPP string has a few dozen sections at most.
const GPP_SECTIONS_MAX: usize = 64;

impl Signal {
    /// What it says.
    ///
    /// # Errors
    /// [`SignalError`].
    pub fn decode(&self) -> Result<Decoded, SignalError> {
        match self.kind {
            SignalKind::Gpc if self.raw.trim() == "1" => Ok(Decoded::Gpc),
            SignalKind::Gpc => Err(SignalError::NotSuch),
            SignalKind::Tcf => tcf(&self.raw).map(Decoded::Tcf),
            SignalKind::Gpp => gpp(&self.raw).map(|sections| Decoded::Gpp { sections }),
        }
    }
}

fn tcf(raw: &str) -> Result<TcfCore, SignalError> {
    let mut bits = Bits::of(raw.trim().split('.').next().unwrap_or_default())?;
    match bits.number(6)? {
        2 => {}
        version => return Err(SignalError::Version(version)),
    }
    let _created = bits.number(36)?;
    let updated_at = ObservedAt(bits.number(36)? as i64 * 100_000);
    let cmp_id = bits.number(12)? as u16;
    // Version and screen of the consent manager, and the language.
    bits.number(12 + 6 + 12)?;
    let vendor_list_version = bits.number(12)? as u16;
    let policy_version = bits.number(6)? as u8;
    // Service specific, non-standard texts, special features.
    bits.number(1 + 1 + 12)?;
    let purposes = |bits: &mut Bits| -> Result<Vec<u8>, SignalError> {
        let field = bits.number(24)?;
        Ok((1..=24).filter(|purpose| field >> (24 - purpose) & 1 == 1).collect())
    };
    let purposes_consent = purposes(&mut bits)?;
    let purposes_legitimate_interest = purposes(&mut bits)?;
    Ok(TcfCore {
        updated_at,
        cmp_id,
        vendor_list_version,
        policy_version,
        purposes_consent,
        purposes_legitimate_interest,
    })
}

fn gpp(raw: &str) -> Result<Vec<u16>, SignalError> {
    let mut bits = Bits::of(raw.trim().split('~').next().unwrap_or_default())?;
    if bits.number(6)? != 3 {
        return Err(SignalError::NotSuch);
    }
    match bits.number(6)? {
        1 => {}
        version => return Err(SignalError::Version(version)),
    }
    let entries = bits.number(12)?;
    let mut sections = Vec::new();
    let mut last = 0u64;
    for _ in 0..entries {
        let is_range = bits.number(1)? == 1;
        let first = last + bits.fibonacci()?;
        last = if is_range { first + bits.fibonacci()? } else { first };
        if last > u64::from(u16::MAX) || sections.len() as u64 + (last - first) >= GPP_SECTIONS_MAX as u64 {
            return Err(SignalError::NotSuch);
        }
        sections.extend((first..=last).map(|section| section as u16));
    }
    Ok(sections)
}

/// The bits of a base64url text, six a character.
struct Bits {
    sixes: Vec<u8>,
    at: usize,
}

impl Bits {
    fn of(text: &str) -> Result<Self, SignalError> {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let six = |byte: u8| ALPHABET.iter().position(|known| *known == byte).map(|place| place as u8);
        let sixes = text.trim_end_matches('=').bytes().map(|byte| six(byte).ok_or(SignalError::BadCharacter));
        Ok(Self { sixes: sixes.collect::<Result<_, _>>()?, at: 0 })
    }

    fn bit(&mut self) -> Result<u64, SignalError> {
        let six = self.sixes.get(self.at / 6).ok_or(SignalError::Short)?;
        let bit = six >> (5 - self.at % 6) & 1;
        self.at += 1;
        Ok(u64::from(bit))
    }

    fn number(&mut self, bits: usize) -> Result<u64, SignalError> {
        (0..bits).try_fold(0, |number: u64, _| Ok(number << 1 | self.bit()?))
    }

    /// A number in Fibonacci coding: the sum of the Fibonacci numbers whose bits are set, up to two ones in a row.
    fn fibonacci(&mut self) -> Result<u64, SignalError> {
        let (mut low, mut high, mut sum, mut before) = (1u64, 2u64, 0u64, 0);
        for _ in 0..32 {
            let bit = self.bit()?;
            if bit == 1 && before == 1 {
                return Ok(sum);
            }
            sum += low * bit;
            (low, high) = (high, low + high);
            before = bit;
        }
        Err(SignalError::NotSuch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(kind: SignalKind, raw: &str) -> Result<Decoded, SignalError> {
        Signal { kind, raw: raw.to_owned(), seen_at: None, device: String::new() }.decode()
    }

    #[test]
    fn published_examples_read_as_published() {
        // GPP specification, "Section ids": DBABMA is a header with section 2 alone, DBACNY with 2 and 6.
        assert_eq!(
            decode(SignalKind::Gpp, "DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"),
            Ok(Decoded::Gpp { sections: vec![2] })
        );
        assert_eq!(
            decode(SignalKind::Gpp, "DBACNYA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN"),
            Ok(Decoded::Gpp { sections: vec![2, 6] })
        );
        // Strings that other readers of TCF test with.
        let core = |raw| match decode(SignalKind::Tcf, raw) {
            Ok(Decoded::Tcf(core)) => core,
            other => panic!("{raw}: {other:?}"),
        };
        let first = core("COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA");
        assert_eq!((first.cmp_id, first.vendor_list_version, first.policy_version), (675, 15, 2));
        assert_eq!(first.updated_at, ObservedAt(1_612_285_260_000_000));
        assert_eq!((first.purposes_consent, first.purposes_legitimate_interest), (vec![2, 10], vec![2, 9]));
        let second = core("COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQ");
        assert_eq!((second.cmp_id, second.purposes_consent), (27, vec![1, 2, 3]));
    }

    #[test]
    fn what_is_no_signal_says_so() {
        let table = [
            (SignalKind::Gpc, "1", Ok(Decoded::Gpc)),
            (SignalKind::Gpc, "0", Err(SignalError::NotSuch)),
            (SignalKind::Tcf, "", Err(SignalError::Short)),
            (SignalKind::Tcf, "BOtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA", Err(SignalError::Version(1))),
            (SignalKind::Tcf, "CO ybn", Err(SignalError::BadCharacter)),
            (SignalKind::Gpp, "COtybn4PA", Err(SignalError::NotSuch)),
            (SignalKind::Gpp, "DB", Err(SignalError::Short)),
        ];
        for (kind, raw, want) in table {
            assert_eq!(decode(kind, raw), want, "{kind:?} {raw:?}");
        }
    }
}
