//! Who may call, and as what: API keys, and the administrator's key that the operator gives at start.
//!
//! A key is `ofk_{id}_{secret}`. Whoever makes one is shown it once; kept is a digest under a key of the installation's,
//! in the journal of the tenant whose it is. [`Access`] holds what good keys allow; the edge asks it on every call.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use onefold_core::access::{ApiKey, ApiKeyRevoked, KeyId, Role, Roles};
use onefold_core::decision::{self, EntryKind};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::ObservedAt;
use onefold_core::limits;
use onefold_store::journal::{JournalError, entry_room};
use onefold_store::keys::{KEY_BYTES, RootKey};

use super::App;
use super::error::WriteError;
use super::lane::{Command, Lane, kind};
use super::requests::{ReplyTo, RequestKey, remember, room_to_remember};
use super::tenant::Tenant;
use super::writer::Reply;

/// What every key begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "ofk_";
/// Characters that an administrator's key has at least.
const ADMIN_KEY_CHARS_MIN: usize = 32;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The key; none for the administrator's.
    pub key: Option<KeyId>,
    /// The one tenant it is good for; none: all, and what is of no tenant.
    pub tenant: Option<Arc<str>>,
    /// What it may do.
    pub roles: Roles,
}

impl Caller {
    /// Whether it is good for this tenant.
    pub fn reaches(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }
}

/// What a good key allows.
struct Grant {
    digest: blake3::Hash,
    caller: Caller,
    expires_at: Option<ObservedAt>,
}

/// All good keys of the installation. `Debug` shows none.
pub struct Access {
    required: bool,
    key: [u8; KEY_BYTES],
    admin: Option<blake3::Hash>,
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
    } else {
        None
    }
}

impl Access {
    /// No keys yet but the administrator's.
    pub fn new(root: &RootKey, required: bool, admin: Option<&str>) -> Self {
        let key = root.derive("api keys");
        let admin = admin.map(|admin| blake3::keyed_hash(&key, admin.as_bytes()));
        Self { required, key, admin, grants: RwLock::default() }
    }

    /// Whether every call needs a key.
    pub const fn required(&self) -> bool {
        self.required
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
        let tenant = (!key.all_tenants).then(|| Arc::from(tenant));
        let caller = Caller { key: Some(key.id), tenant, roles: Roles::of(&key.roles) };
        let digest = blake3::Hash::from_bytes(key.digest);
        grants.insert(key.id, Grant { digest, caller, expires_at: key.expires_at });
    }

    /// Who holds this key; `None` for one that is unknown, wrong, over or taken back, which look alike. Digests are compared
    /// in constant time.
    pub fn caller(&self, token: &str, now: ObservedAt) -> Option<Caller> {
        let digest = blake3::keyed_hash(&self.key, token.as_bytes());
        if self.admin.is_some_and(|admin| admin == digest) {
            return Some(Caller { key: None, tenant: None, roles: Roles::of(&[Role::Admin]) });
        }
        let (id, _) = token.strip_prefix(PREFIX)?.split_once('_')?;
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let grant = grants.get(&KeyId::parse(id)?)?;
        let good = grant.digest == digest && grant.expires_at.is_none_or(|end| now < end);
        good.then(|| grant.caller.clone())
    }

    /// Whether the caller's key is still good: what was begun with it ends when it does.
    pub fn holds(&self, caller: &Caller, now: ObservedAt) -> bool {
        let Some(id) = caller.key else { return true };
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        grants.get(&id).is_some_and(|grant| grant.expires_at.is_none_or(|end| now < end))
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
    {
        let mut state = tenant.state_mut();
        state.sequence = sequence;
        match act {
            Act::Put(key) => state.api_keys.put(key),
            Act::Revoke(revoked) => state.api_keys.revoke(revoked),
        }
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
        let access = Access::new(&RootKey::new([1; 32]), true, Some(&"a".repeat(32)));
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
        let caller = access.caller(&shown, ObservedAt(99)).unwrap();
        assert!(caller.reaches("north") && !caller.reaches("south"));
        assert!(access.holds(&caller, ObservedAt(99)) && !access.holds(&caller, ObservedAt(100)));
        assert_eq!(access.caller(&shown, ObservedAt(100)), None, "it is over");
        for wrong in [&shown[..shown.len() - 1], &shown.replace('5', "6"), "ofk_", "", "ofk_0707070707070707_"] {
            assert_eq!(access.caller(wrong, ObservedAt(1)), None, "{wrong}");
        }
        assert!(access.caller(&"a".repeat(32), ObservedAt(1)).is_some_and(|admin| admin.reaches("south")));
        assert_eq!(access.caller(&"a".repeat(33), ObservedAt(1)), None);
        key.revoked_at = Some(ObservedAt(5));
        access.note("north", &key);
        assert!(access.caller(&shown, ObservedAt(6)).is_none() && !access.holds(&caller, ObservedAt(6)));
    }
}
