//! The public keys of a token issuer (JWKS, RFC 7517).

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::time::Instant;

use super::Refused;

/// Keys that an issuer may have at once.
const KEYS_MAX: usize = 64;
/// Bytes that its list of keys may have.
pub const KEYS_BYTES_MAX: usize = 256 << 10;

/// One key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name, as the issuer has it.
    pub id: Option<String>,
    /// The one algorithm that it is for.
    pub algorithm: Algorithm,
    /// What checks its signatures.
    pub decoding: DecodingKey,
}

/// All keys of an issuer.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
    /// Of the text that they were read from.
    digest: Option<blake3::Hash>,
}

impl Keys {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(path: &Path) -> Result<Self, String> {
        use std::io::Read;
        let mut text = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(KEYS_BYTES_MAX as u64 + 1).read_to_end(&mut text))
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Self::parse(&text).map_err(|why| format!("{} {why}", path.display()))
    }

    /// Reads a list of keys. Keys of other kinds and for other uses are left out, as RFC 7517 has it.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > KEYS_BYTES_MAX {
            return Err(format!("is longer than {KEYS_BYTES_MAX} bytes"));
        }
        let list: Value = serde_json::from_slice(text).map_err(|_| "is no JSON".to_owned())?;
        let Some(list) = list.get("keys").and_then(Value::as_array) else {
            return Err("has no list `keys`".to_owned());
        };
        if list.len() > KEYS_MAX {
            return Err(format!("has more than {KEYS_MAX} keys"));
        }
        let keys: Vec<Key> = list.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err("has no key for RS256, ES256 or EdDSA".to_owned());
        }
        Ok(Self { keys, digest: Some(blake3::hash(text)) })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key that a token names, if the algorithm that it names is the key's own. Without a name: the only one there is.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, Refused> {
        let Some(id) = id else {
            return match self.keys.as_slice() {
                [only] if only.algorithm == algorithm => Ok(only),
                [] => Err(Refused::KeyUnknown),
                _ => Err(Refused::Bad),
            };
        };
        let mut named = self.keys.iter().filter(|key| key.id.as_deref() == Some(id)).peekable();
        if named.peek().is_none() {
            return Err(Refused::KeyUnknown);
        }
        named.find(|key| key.algorithm == algorithm).ok_or(Refused::Bad)
    }
}

fn key(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(point) if point.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    let fits = jwk.common.key_algorithm.is_none_or(|said| said == named);
    if !signs || !fits {
        return None;
    }
    Some(Key { id: jwk.common.key_id.clone(), algorithm, decoding: DecodingKey::from_jwk(&jwk).ok()? })
}

/// The keys as they are now, and since when that is known.
#[derive(Debug)]
pub struct Held(RwLock<(Arc<Keys>, Instant)>);

impl Default for Held {
    fn default() -> Self {
        Self(RwLock::new((Arc::default(), Instant::now())))
    }
}

impl Held {
    /// The keys.
    pub fn now(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Whether they are these still.
    pub fn still(&self, keys: &Arc<Keys>) -> bool {
        Arc::ptr_eq(&self.0.read().unwrap_or_else(PoisonError::into_inner).0, keys)
    }

    /// How long ago they were put.
    pub fn age(&self) -> Duration {
        self.0.read().unwrap_or_else(PoisonError::into_inner).1.elapsed()
    }

    /// Puts keys; whether they are others than before.
    pub fn put(&self, keys: Keys) -> bool {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        held.1 = Instant::now();
        if held.0.digest == keys.digest {
            return false;
        }
        held.0 = Arc::new(keys);
        true
    }
}
