//! Bearer tokens of an OpenID Connect issuer: signed statements of who calls, what they may do and in which tenants.
//!
//! A token is good when one of the issuer's keys signed it by the key's own algorithm, for us, and its time has come and is
//! not over. Which key that is, the token may say; which algorithm goes with it, it may not.

mod fetch;
mod keys;
mod signatures;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jsonwebtoken::{Validation, decode, decode_header};
use onefold_core::access::{Role, Roles};
use onefold_core::fragment::ObservedAt;
use serde_json::{Map, Value};

use crate::app::access::{Caller, Reach, Who};
use keys::Keys;

/// Bytes that a token may have.
pub const TOKEN_BYTES_MAX: usize = 7 << 10;
/// How far the issuer's clock and ours may be apart.
pub const LEEWAY: Duration = Duration::from_secs(60);
/// Tenants that one token may name.
const TENANTS_MAX: usize = 64;
/// Tokens that are known to be good, so that their signatures are not checked again.
const KNOWN_MAX: u64 = 4_096;
/// A file of keys is looked at this often.
const FILE_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);
/// Keys are asked for this often, though every token shows a known one: one that was withdrawn must go.
const ASKED_EVERY: Duration = Duration::from_secs(15 * 60);
/// And not more often, whoever shows whatever token.
const ASKED_EVERY_MIN: Duration = Duration::from_secs(60);
/// Keys that could not be asked for again for so long are trusted no more.
const TRUSTED_FOR_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// What a tenant claim says for every tenant, and what is of none.
const EVERY_TENANT: &str = "*";

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAt {
    /// In a file (JWKS), which is read again when it changes.
    File(PathBuf),
    /// At an `https://` address (JWKS).
    Url(String),
}

/// Whose tokens are good, and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must name: us.
    pub audience: String,
    /// Its keys.
    pub keys: KeysAt,
    /// File with the authority that vouches for [`KeysAt::Url`] (PEM); none: those whom this machine trusts.
    pub authority: Option<PathBuf>,
    /// The claim with the roles: a name, or names with dots between them.
    pub roles_claim: String,
    /// In front of the name of every role of ours, as the issuer has it.
    pub role_prefix: String,
    /// The claim with the tenants.
    pub tenant_claim: String,
}

/// A token that lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not good.
    Bad,
    /// It shows a key that is not known; it may be once the issuer was asked again.
    KeyUnknown,
}

/// Whose tokens are good now.
pub struct Tokens {
    issuer: Issuer,
    /// Keys what is kept of a token, and of who is in it.
    secret: [u8; 32],
    keys: keys::Held,
    known: moka::sync::Cache<[u8; 32], Arc<Caller>>,
    asking: tokio::sync::Mutex<Option<tokio::time::Instant>>,
    asked_every_min: Duration,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl Tokens {
    /// Reads the keys where they are in a file; elsewhere they are asked for by [`Tokens::follow`].
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub fn open(issuer: Issuer, secret: [u8; 32]) -> Result<Self, String> {
        signatures::install();
        let keys = keys::Held::default();
        match &issuer.keys {
            KeysAt::File(path) => {
                keys.put(Keys::read(path)?);
            }
            KeysAt::Url(url) => fetch::check(url, issuer.authority.as_deref())?,
        }
        let known = moka::sync::Cache::new(KNOWN_MAX);
        Ok(Self {
            issuer,
            secret,
            keys,
            known,
            asking: tokio::sync::Mutex::default(),
            asked_every_min: ASKED_EVERY_MIN,
        })
    }

    /// Whether a text looks like a token: three parts with dots between them. Keys of ours have none.
    pub fn looks_like_one(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Who calls by this token.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn caller(&self, token: &str, now: ObservedAt) -> Result<Caller, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::Bad);
        }
        let name = *blake3::keyed_hash(&self.secret, token.as_bytes()).as_bytes();
        let caller = match self.known.get(&name) {
            Some(known) => known,
            None => {
                // Keys that change meanwhile must not leave behind what the old ones said.
                let held = self.keys.now();
                let caller = Arc::new(self.read(token, &held, now)?);
                if self.keys.still(&held) {
                    self.known.insert(name, Arc::clone(&caller));
                }
                caller
            }
        };
        let over = caller.ends_at.is_none_or(|end| end <= now);
        if over { Err(Refused::Bad) } else { Ok(Caller::clone(&caller)) }
    }

    fn read(&self, token: &str, keys: &Keys, now: ObservedAt) -> Result<Caller, Refused> {
        let header = decode_header(token).map_err(|_| Refused::Bad)?;
        // A token that asks for something to be understood asks for too much (RFC 7515 §4.1.11), and so does one in parts.
        if header.crit.is_some() || header.zip.is_some() || header.enc.is_some() {
            return Err(Refused::Bad);
        }
        if !signatures::ALLOWED.contains(&header.alg) {
            return Err(Refused::Bad);
        }
        let key = keys.find(header.kid.as_deref(), header.alg)?;
        let mut wanted = Validation::new(key.algorithm);
        wanted.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        wanted.set_issuer(&[&self.issuer.issuer]);
        wanted.set_audience(&[&self.issuer.audience]);
        // What time it is, our clock says.
        wanted.validate_exp = false;
        wanted.validate_nbf = false;
        let claims = decode::<Map<String, Value>>(token, &key.decoding, &wanted).map_err(|_| Refused::Bad)?.claims;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).ok_or(Refused::Bad);
        if text("iss")? != self.issuer.issuer {
            return Err(Refused::Bad);
        }
        let leeway = i64::try_from(LEEWAY.as_micros()).unwrap_or(0);
        let ends_at = micros(claims.get("exp")).ok_or(Refused::Bad)?.saturating_add(leeway);
        let begins_at = match claims.get("nbf") {
            Some(begin) => micros(Some(begin)).ok_or(Refused::Bad)?.saturating_sub(leeway),
            None => i64::MIN,
        };
        if ends_at <= now.0 || now.0 < begins_at {
            return Err(Refused::Bad);
        }
        Ok(Caller {
            who: Who::Subject(self.subject(text("sub")?)),
            reach: reach(find(&claims, &self.issuer.tenant_claim)),
            roles: roles(find(&claims, &self.issuer.roles_claim), &self.issuer.role_prefix),
            ends_at: Some(ObservedAt(ends_at)),
        })
    }

    /// What stands for a subject: a keyed digest, since a subject may be an address.
    fn subject(&self, subject: &str) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(self.issuer.issuer.as_bytes()).update(&[0]).update(subject.as_bytes());
        let mut short = [0; 8];
        hasher.finalize_xof().fill(&mut short);
        short
    }

    /// Asks for the issuer's keys again, unless that was done a moment ago.
    pub async fn ask_again(&self) {
        let KeysAt::Url(url) = &self.issuer.keys else { return };
        let mut asked = self.asking.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < self.asked_every_min) {
            return;
        }
        *asked = Some(tokio::time::Instant::now());
        let read = fetch::get(url, self.issuer.authority.as_deref()).await;
        match read.and_then(|text| Keys::parse(&text)) {
            Ok(keys) => self.replace(keys),
            Err(why) => {
                tracing::warn!(why, "the token issuer's keys cannot be had; those of before stay for a day at most");
                if self.keys.age() > TRUSTED_FOR_MAX {
                    self.replace(Keys::default());
                }
            }
        }
    }

    fn replace(&self, keys: Keys) {
        if self.keys.put(keys) {
            // What a key that was withdrawn has signed is good no more.
            self.known.invalidate_all();
            tracing::info!("the token issuer has other keys now");
        }
    }

    /// Follows the issuer's keys for as long as the server lives.
    pub async fn follow(of: Weak<Self>) {
        let mut told = String::new();
        loop {
            let Some(tokens) = of.upgrade() else { return };
            let pause = match &tokens.issuer.keys {
                KeysAt::Url(_) => {
                    tokens.ask_again().await;
                    if tokens.keys.now().is_empty() { ASKED_EVERY_MIN } else { ASKED_EVERY }
                }
                KeysAt::File(path) => {
                    let path = path.clone();
                    match tokio::task::spawn_blocking(move || Keys::read(&path)).await {
                        Ok(Ok(keys)) => {
                            told.clear();
                            tokens.replace(keys);
                        }
                        Ok(Err(why)) if why != told => {
                            tracing::warn!(why, "the token issuer's keys cannot be used; those of before stay");
                            told = why;
                        }
                        Ok(Err(_)) => {}
                        Err(_) => return,
                    }
                    FILE_LOOKED_AT_EVERY
                }
            };
            drop(tokens);
            tokio::time::sleep(pause).await;
        }
    }
}

/// A moment as tokens have it, seconds since 1970, maybe with a fraction.
fn micros(claim: Option<&Value>) -> Option<i64> {
    /// Seconds that microseconds can hold, with room for the leeway: year 294,000.
    const SECONDS_MAX: f64 = 9.0e12;
    let seconds = claim?.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
    Some((seconds.min(SECONDS_MAX) * 1e6) as i64)
}

/// The claim of this name: the name itself, or names within each other with dots between them.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(name) {
        return Some(found);
    }
    // A name may hold dots of its own: the longest that is there goes first.
    name.rmatch_indices('.').find_map(|(at, _)| {
        let inner = claims.get(&name[..at])?.as_object()?;
        find(inner, &name[at + 1..])
    })
}

/// The words of a claim: a list of them, or one text with spaces between them.
fn words(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The roles of a claim; a name that is none of ours grants nothing.
fn roles(claim: Option<&Value>, prefix: &str) -> Roles {
    let role = |word: &str| {
        Some(match word.strip_prefix(prefix)? {
            "ingest" => Role::Ingest,
            "reader" => Role::Reader,
            "steward" => Role::Steward,
            "privacy-officer" | "privacy_officer" => Role::PrivacyOfficer,
            "auditor" => Role::Auditor,
            "admin" => Role::Admin,
            _ => return None,
        })
    };
    let roles: Vec<Role> = words(claim).into_iter().filter_map(role).collect();
    Roles::of(&roles)
}

/// The tenants of a claim; without it none is reached.
fn reach(claim: Option<&Value>) -> Reach {
    let named = words(claim);
    if named.contains(&EVERY_TENANT) {
        return Reach::All;
    }
    let plain = |word: &str| Box::from(word.strip_prefix("tenants/").unwrap_or(word));
    Reach::Tenants(named.into_iter().take(TENANTS_MAX).map(plain).collect())
}

#[cfg(test)]
mod tests;
