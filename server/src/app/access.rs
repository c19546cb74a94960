//! Who may call, and as what: API keys, and the administrator's key that the operator gives at start.
//!
//! A key is `ofk_{id}_{secret}`. Whoever makes one is shown it once; kept is a digest under a key of the installation's,
//! in the journal of the tenant whose it is. [`Access`] holds what good keys allow; the edge asks it on every call.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use onefold_core::access::{ApiKey, ApiKeyRevoked, KeyId, Role, Roles};
use onefold_core::decision::{self, EntryKind};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::ObservedAt;
use onefold_core::limits;
use onefold_store::journal::{JournalError, entry_room};
use onefold_store::keys::{KEY_BYTES, RootKey};

use super::error::WriteError;
use super::lane::{Command, Lane, kind};
use super::requests::{ReplyTo, RequestKey, remember, room_to_remember};
use super::tenant::Tenant;
use super::writer::Reply;
use super::{App, revoked};
use crate::tokens::{Refused, Tokens};

/// What every key begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "ofk_";
/// Characters that an administrator's key has at least.
const ADMIN_KEY_CHARS_MIN: usize = 32;
/// Different characters that it has at least: 32 random digits with fewer are one in ten thousand million.
const ADMIN_KEY_ALPHABET_MIN: usize = 6;

/// By what somebody is known. `Display` is how an actor is written down: never a person's name or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The operator, by the administrator's key.
    Operator,
    /// Whoever holds this API key.
    Key(KeyId),
    /// A subject of the token issuer: a keyed digest of both.
    Subject([u8; 8]),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Subject(digest) => write!(f, "subject:{:016x}", u64::from_be_bytes(*digest)),
        }
    }
}

/// Which tenants credentials are good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All, and what is of no tenant.
    All,
    /// These alone.
    Tenants(Arc<[Box<str>]>),
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// By what they are known.
    pub who: Who,
    /// Which tenants they reach.
    pub reach: Reach,
    /// What they may do.
    pub roles: Roles,
    /// From when on it is over, whatever else is said.
    pub ends_at: Option<ObservedAt>,
}

impl Caller {
    /// Whether they reach this tenant.
    pub fn reaches(&self, tenant: &str) -> bool {
        match &self.reach {
            Reach::All => true,
            Reach::Tenants(own) => own.iter().any(|own| **own == *tenant),
        }
    }

    /// Whether they reach every tenant, and what is of none.
    pub fn reaches_all(&self) -> bool {
        self.reach == Reach::All
    }
}

/// What a good key allows.
struct Grant {
    digest: blake3::Hash,
    caller: Caller,
}

impl Grant {
    fn is_over(&self, now: ObservedAt) -> bool {
        self.caller.ends_at.is_some_and(|end| end <= now)
    }
}

/// All good keys of the installation. `Debug` shows none.
pub struct Access {
    required: bool,
    key: [u8; KEY_BYTES],
    admin: Option<blake3::Hash>,
    /// Whose tokens are good, where there is an issuer.
    tokens: Option<Arc<Tokens>>,
    grants: RwLock<HashMap<KeyId, Grant>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(..)")
    }
}

/// Why an administrator's key cannot be used.
pub fn unfit(key: &str) -> Option<&'static str> {
    if key.chars().count() < ADMIN_KEY_CHARS_MIN {
        Some("is too short: give at least 32 random characters, e.g. of `openssl rand -hex 32`")
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("must be visible ASCII characters without spaces")
    } else if Tokens::looks_like_one(key) {
        Some("must not have two dots in it: so have tokens of an issuer")
    } else if key.bytes().collect::<BTreeSet<_>>().len() < ADMIN_KEY_ALPHABET_MIN {
        Some("is easy to guess: give at least 32 random characters, e.g. of `openssl rand -hex 32`")
    } else {
        None
    }
}

impl Access {
    /// No keys yet but the administrator's.
    pub fn new(root: &RootKey, required: bool, admin: Option<&str>, tokens: Option<Arc<Tokens>>) -> Self {
        let key = root.derive("api keys");
        let admin = admin.map(|admin| blake3::keyed_hash(&key, admin.as_bytes()));
        Self { required, key, admin, tokens, grants: RwLock::default() }
    }

    /// Whose tokens are good, where there is an issuer.
    pub const fn tokens(&self) -> Option<&Arc<Tokens>> {
        self.tokens.as_ref()
    }

    /// Whether every call needs a key.
    pub const fn required(&self) -> bool {
        self.required
    }

    /// Whether anybody at all could call now.
    pub fn admits_somebody(&self, now: ObservedAt) -> bool {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        self.admin.is_some() || self.tokens.is_some() || grants.values().any(|grant| !grant.is_over(now))
    }

    /// Takes in the keys of a tenant.
    pub fn learn(&self, tenant: &Tenant) {
        let state = tenant.state();
        state.api_keys.iter().for_each(|key| self.note(&tenant.name, key));
    }

    /// A key is as it is now.
    fn note(&self, tenant: &str, key: &ApiKey) {
        let mut grants = self.grants.write().unwrap_or_else(PoisonError::into_inner);
        if key.revoked_at.is_some() {
            grants.remove(&key.id);
            return;
        }
        let reach = if key.all_tenants { Reach::All } else { Reach::Tenants(Arc::new([tenant.into()])) };
        let caller = Caller { who: Who::Key(key.id), reach, roles: Roles::of(&key.roles), ends_at: key.expires_at };
        let digest = blake3::Hash::from_bytes(key.digest);
        grants.insert(key.id, Grant { digest, caller });
    }

    /// A key that ended long ago was forgotten.
    fn forget(&self, id: KeyId) {
        self.grants.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Who calls with this key or token.
    ///
    /// # Errors
    /// [`Refused`]; of a key it is not said whether it is unknown, wrong, over or taken back.
    pub fn caller(&self, given: &str, now: ObservedAt) -> Result<Caller, Refused> {
        match &self.tokens {
            Some(tokens) if Tokens::looks_like_one(given) => tokens.caller(given, now),
            _ => self.holder(given, now).ok_or(Refused::Bad),
        }
    }

    /// Who holds this key; `None` for one that is unknown, wrong, over or taken back, which look alike. Digests are compared
    /// in constant time.
    fn holder(&self, token: &str, now: ObservedAt) -> Option<Caller> {
        let digest = blake3::keyed_hash(&self.key, token.as_bytes());
        if self.admin.is_some_and(|admin| admin == digest) {
            let roles = Roles::of(&[Role::Admin]);
            return Some(Caller { who: Who::Operator, reach: Reach::All, roles, ends_at: None });
        }
        let (id, _) = token.strip_prefix(PREFIX)?.split_once('_')?;
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let grant = grants.get(&KeyId::parse(id)?)?;
        let good = grant.digest == digest && !grant.is_over(now);
        good.then(|| grant.caller.clone())
    }

    /// Whether the caller's key is still good: what was begun with it ends when it does.
    pub fn holds(&self, caller: &Caller, now: ObservedAt) -> bool {
        if caller.ends_at.is_some_and(|end| end <= now) {
            return false;
        }
        let Who::Key(id) = caller.who else { return true };
        self.grants.read().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }
}

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// For people.
    pub display_name: String,
    /// What its holder may do.
    pub roles: Vec<Role>,
    /// Whether it is good for every tenant.
    pub all_tenants: bool,
    /// From when on it is no good.
    pub expires_at: Option<ObservedAt>,
}

/// What is done about a key, on its way into the lane.
pub enum Act {
    /// It is made.
    Put(ApiKey),
    /// It is taken back.
    Revoke(ApiKeyRevoked),
}

/// Gives or takes back a key.
pub(super) fn commit(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    act: Act,
    request: Option<RequestKey>,
    reply: ReplyTo<ApiKey>,
) -> Result<(), JournalError> {
    let decided = match &act {
        Act::Put(key) if !tenant.state().api_keys.has_room(key.created_at) => {
            Err(WriteError::Full { what: "API keys", limit: limits::API_KEYS_MAX })
        }
        Act::Put(key) => Ok(key.clone()),
        Act::Revoke(revoked) => tenant.state().api_keys.get(revoked.id).cloned().ok_or(WriteError::ApiKeyUnknown),
    };
    let mut key = match decided {
        Ok(key) => key,
        Err(error) => {
            let _ = reply.send(Err(error));
            return Ok(());
        }
    };
    let (of_kind, payload) = match &act {
        Act::Put(key) => (EntryKind::ApiKeyPut, decision::encode(key)),
        Act::Revoke(revoked) => {
            key.revoked_at.get_or_insert(revoked.revoked_at);
            (EntryKind::ApiKeyRevoked, decision::encode(revoked))
        }
    };
    let Some(mut group) = lane.begin(entry_room(payload.len()) + room_to_remember(request, &key))? else {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    };
    let sequence = tenant.state().sequence.next();
    group.builder.push(tenant.id, sequence, kind(of_kind), |_, out| out.extend_from_slice(&payload))?;
    let forgotten = {
        let mut state = tenant.state_mut();
        state.sequence = sequence;
        match act {
            Act::Put(key) => state.api_keys.put(key),
            Act::Revoke(revoked) => {
                state.api_keys.revoke(revoked);
                None
            }
        }
    };
    if let Some(revoked_at) = key.revoked_at {
        revoked::note(lane, tenant, ApiKeyRevoked { id: key.id, revoked_at });
    }
    if let Some(forgotten) = forgotten {
        lane.shared.access.forget(forgotten);
    }
    lane.shared.access.note(&tenant.name, &key);
    remember(lane, tenant, request, &key, &mut group)?;
    group.commit.published.push((Arc::clone(tenant), tenant.state().sequence));
    group.commit.replies.push(Reply::of(reply, key));
    lane.commit(group)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl App {
    /// Makes a key: what is kept of it, and the key itself, which nobody can show again. A repeat of a named call gives the
    /// key that the first one made, without the secret.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done.
    pub async fn create_api_key(
        &self,
        tenant: &Arc<Tenant>,
        wanted: Wanted,
        request: Option<RequestKey>,
    ) -> Result<(ApiKey, Option<String>), WriteError> {
        let now = self.now();
        if wanted.expires_at.is_some_and(|end| end <= now) {
            let fault = FieldFault::new("api_key.expire_time", FaultReason::Malformed, "give a time to come");
            return Err(WriteError::Invalid(vec![fault]));
        }
        let random = || {
            RootKey::generate().map_err(|error| {
                tracing::error!(error = %error, "there is no randomness for a key");
                WriteError::StoreFailed
            })
        };
        let (named, secret) = (random()?, random()?);
        let mut id = [0; 8];
        id.copy_from_slice(&named.expose()[..8]);
        let id = KeyId(id);
        let shown = format!("{PREFIX}{id}_{}", hexadecimal(secret.expose()));
        let key = ApiKey {
            id,
            display_name: wanted.display_name,
            digest: *blake3::keyed_hash(&self.shared.access.key, shown.as_bytes()).as_bytes(),
            roles: wanted.roles,
            all_tenants: wanted.all_tenants,
            created_at: now,
            expires_at: wanted.expires_at,
            revoked_at: None,
        };
        let tenant = Arc::clone(tenant);
        let made = self.ask(|reply| Command::Key { tenant, act: Box::new(Act::Put(key)), request, reply }).await?;
        let secret = (made.id == id).then_some(shown);
        Ok((made, secret))
    }

    /// Takes a key back: from now on nobody gets in with it.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done.
    pub async fn revoke_api_key(
        &self,
        tenant: &Arc<Tenant>,
        id: KeyId,
        request: Option<RequestKey>,
    ) -> Result<ApiKey, WriteError> {
        let act = Box::new(Act::Revoke(ApiKeyRevoked { id, revoked_at: self.now() }));
        let tenant = Arc::clone(tenant);
        self.ask(|reply| Command::Key { tenant, act, request, reply }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_opens_and_only_while_it_is_good() {
        let access = Access::new(&RootKey::new([1; 32]), true, Some(&"a".repeat(32)), None);
        let id = KeyId([7; 8]);
        let shown = format!("ofk_{id}_{}", "5".repeat(64));
        let mut key = ApiKey {
            id,
            display_name: String::new(),
            digest: *blake3::keyed_hash(&access.key, shown.as_bytes()).as_bytes(),
            roles: vec![Role::Reader],
            all_tenants: false,
            created_at: ObservedAt(1),
            expires_at: Some(ObservedAt(100)),
            revoked_at: None,
        };
        access.note("north", &key);
        let caller = access.holder(&shown, ObservedAt(99)).unwrap();
        assert!(caller.reaches("north") && !caller.reaches("south"));
        assert!(access.holds(&caller, ObservedAt(99)) && !access.holds(&caller, ObservedAt(100)));
        assert_eq!(access.holder(&shown, ObservedAt(100)), None, "it is over");
        for wrong in [&shown[..shown.len() - 1], &shown.replace('5', "6"), "ofk_", "", "ofk_0707070707070707_"] {
            assert_eq!(access.holder(wrong, ObservedAt(1)), None, "{wrong}");
        }
        for (bad, why) in [("short", "too short"), (&"ab".repeat(16), "easy to guess"), (&" a".repeat(16), "visible")] {
            assert!(unfit(bad).is_some_and(|told| told.contains(why)), "{bad}");
        }
        assert_eq!(unfit("3b1f8a6c0d9e4f2735b8a1c6d0e9f427"), None);
        assert!(access.holder(&"a".repeat(32), ObservedAt(1)).is_some_and(|admin| admin.reaches("south")));
        assert_eq!(access.holder(&"a".repeat(33), ObservedAt(1)), None);
        key.revoked_at = Some(ObservedAt(5));
        access.note("north", &key);
        assert!(access.holder(&shown, ObservedAt(6)).is_none() && !access.holds(&caller, ObservedAt(6)));
        let alone = Access::new(&RootKey::new([1; 32]), true, None, None);
        assert!(!alone.admits_somebody(ObservedAt(1)));
        key.revoked_at = None;
        alone.note("north", &key);
        assert!(alone.admits_somebody(ObservedAt(99)) && !alone.admits_somebody(ObservedAt(100)));
        alone.forget(id);
        assert_eq!(alone.holder(&shown, ObservedAt(1)), None, "forgotten, whatever the clock says");
    }
}
