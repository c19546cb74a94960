//! The door through which profiles leave. Whichever RPC asks, what it is shown of a profile is put together here, and
//! handed out by [`Serving::hand_out`]: the one place that knows of every read whose it was and how much of it was shown.
//!
//! Most reads want a whole profile in the BASIC view. Its answer is kept encoded, used only while profile and
//! configuration are what they were, and goes out as it lies: it costs no disk, no message and no text.

use std::sync::Arc;

use onefold_core::consent::PurposeId;
use onefold_core::ids::{ProfileOrdinal, Sequence, TenantId};
use onefold_core::reads::ReadCall;
use onefold_proto::Encoded;
use onefold_proto::v1 as pb;
use prost::Message as _;
use prost::bytes::Bytes;

use super::convert::profile::{self as convert, Shown};
use super::{names, reading};
use crate::app::App;
use crate::app::consent::contact::TRIES_MAX;
use crate::app::consent::read as consent;
use crate::app::error::ReadError;
use crate::app::read::{self, Loaded, ProfileKey};
use crate::app::reads::What;
use crate::app::tenant::Tenant;

/// Bytes that kept answers may take, roughly.
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// What a kept answer takes beside its bytes.
const KEPT_BYTES: usize = 128;
/// About how many answers of the usual size fit in.
const KEPT_USUAL: usize = 1 << 19;
/// Fragments of one profile that are read on the calling thread; more go to a thread that may wait.
const READ_INLINE_MAX: usize = 32;
/// How often a profile is looked for that ends while it is read.
const LOOKS_MAX: usize = 3;

/// How much of a profile is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Through which call.
    pub call: ReadCall,
    /// The view, and the fields of it.
    pub shown: Shown,
    /// What for; none: all of it.
    pub purpose: Option<PurposeId>,
}

impl Asked {
    /// All of the BASIC view, for no purpose: what is kept.
    const fn is_plain(&self) -> bool {
        !self.shown.full && self.shown.mask.is_empty() && self.purpose.is_none()
    }
}

/// What a read is shown. Only [`Serving::hand_out`] makes one.
pub struct Served(Content);

enum Content {
    /// The whole BASIC view, encoded.
    Kept(Bytes),
    /// What else was asked for, and what the purpose withholds.
    Made(Box<pb::Profile>, Vec<pb::Withheld>),
}

/// Personal data: not shown.
impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Served(..)")
    }
}

impl Content {
    fn into_parts(self) -> Result<(pb::Profile, Vec<pb::Withheld>), ReadError> {
        match self {
            Self::Kept(bytes) => Ok((decoded(bytes)?, Vec::new())),
            Self::Made(profile, withheld) => Ok((*profile, withheld)),
        }
    }

    fn encoded<M>(self, message: impl FnOnce(pb::Profile, Vec<pb::Withheld>) -> M) -> Encoded<M> {
        match self {
            Self::Kept(bytes) => Encoded::Bytes(bytes),
            Self::Made(profile, withheld) => Encoded::Message(message(*profile, withheld)),
        }
    }
}

// What is kept is the profile as field 1 and nothing else, which is what all of these answers are then.
impl From<Served> for Encoded<pb::GetProfileResponse> {
    fn from(served: Served) -> Self {
        served.0.encoded(|profile, withheld| pb::GetProfileResponse { profile: Some(profile), withheld })
    }
}

impl From<Served> for Encoded<pb::LookupProfileResponse> {
    fn from(served: Served) -> Self {
        served.0.encoded(|profile, withheld| pb::LookupProfileResponse { profile: Some(profile), withheld })
    }
}

impl From<Served> for Encoded<pb::BatchLookupResult> {
    fn from(served: Served) -> Self {
        let reason = String::new();
        served.0.encoded(|profile, withheld| pb::BatchLookupResult { profile: Some(profile), reason, withheld })
    }
}

impl Served {
    /// As messages.
    ///
    /// # Errors
    /// [`ReadError::Store`] when what was kept is no profile, which cannot be.
    pub fn into_parts(self) -> Result<(pb::Profile, Vec<pb::Withheld>), ReadError> {
        self.0.into_parts()
    }
}

/// An answer as it goes out, the profile alone in it.
fn encoded(profile: pb::Profile) -> Bytes {
    pb::GetProfileResponse { profile: Some(profile), withheld: Vec::new() }.encode_to_vec().into()
}

fn decoded(bytes: Bytes) -> Result<pb::Profile, ReadError> {
    let answer = pb::GetProfileResponse::decode(bytes).map_err(|error| ReadError::Store(error.into()))?;
    answer.profile.ok_or_else(|| ReadError::Store("an answer was kept without a profile".into()))
}

/// An answer that is kept, and what it is an answer of.
#[derive(Clone)]
struct Kept {
    changed: Sequence,
    config_version: u64,
    bytes: Bytes,
}

/// What a kept answer takes.
#[derive(Clone)]
struct Bytewise;

impl quick_cache::Weighter<(TenantId, ProfileOrdinal), Kept> for Bytewise {
    fn weight(&self, _: &(TenantId, ProfileOrdinal), kept: &Kept) -> u64 {
        (KEPT_BYTES + kept.bytes.len()) as u64
    }
}

/// Answers that are kept, by profile.
#[derive(Clone)]
pub struct KeptAnswers(Arc<quick_cache::sync::Cache<(TenantId, ProfileOrdinal), Kept, Bytewise>>);

impl std::fmt::Debug for KeptAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeptAnswers({} profiles)", self.0.len())
    }
}

impl Default for KeptAnswers {
    fn default() -> Self {
        Self(Arc::new(quick_cache::sync::Cache::with_weighter(KEPT_USUAL, KEPT_BYTES_MAX, Bytewise)))
    }
}

impl KeptAnswers {
    /// Drops all that is kept: somebody was erased.
    pub fn forget_all(&self) {
        self.0.clear();
    }

    /// The answer of a live profile, if one is kept that is of its last change and of this configuration.
    fn get(&self, tenant: &Tenant, found: read::Found, config_version: u64) -> Option<Bytes> {
        let kept = self.0.get(&(tenant.id, found.profile))?;
        (kept.changed == found.changed && kept.config_version == config_version).then_some(kept.bytes)
    }

    fn keep(&self, tenant: &Tenant, loaded: &Loaded, bytes: Bytes) {
        let key = (tenant.id, loaded.profile);
        self.0.insert(key, Kept { changed: loaded.changed, config_version: loaded.config.version, bytes });
        // LAW 7: nobody would be shown it any more, but what was erased meanwhile must not lie here either. An erasure
        // that comes later than this look drops all that is kept.
        if tenant.state().changed_if_live(loaded.profile) != Some(loaded.changed) {
            self.0.remove(&key);
        }
    }
}

/// Serves profiles.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The use cases.
    pub app: Arc<App>,
    /// Answers that are kept.
    pub kept: KeptAnswers,
}

impl Serving {
    /// What goes out of a profile, whoever asked: every read of one ends here, and is noted in the log of reads.
    ///
    /// # Errors
    /// [`ReadError::NotLogged`] where no read may go out that the log cannot take.
    fn hand_out(
        &self,
        tenant: &Tenant,
        profile: ProfileOrdinal,
        asked: &Asked,
        content: Content,
    ) -> Result<Served, ReadError> {
        reading::note(&self.app, tenant, (asked.call, asked.purpose), [What::Profile(profile)])?;
        Ok(Served(content))
    }

    /// What a key leads to, if that takes neither the disk nor waiting: an answer that is kept.
    pub fn at_once(&self, tenant: &Tenant, key: &ProfileKey, asked: &Asked) -> Option<Result<Served, ReadError>> {
        if !asked.is_plain() {
            return None;
        }
        let config = tenant.config();
        let found = read::look_up(tenant, &config, key).ok()?;
        let bytes = self.kept.get(tenant, found, config.version)?;
        Some(self.hand_out(tenant, found.profile, asked, Content::Kept(bytes)))
    }

    /// What a key leads to, as much as is asked for and its purpose may see.
    ///
    /// # Errors
    /// [`ReadError`] when there is nobody, or not one, or not for this purpose.
    pub async fn serve(&self, tenant: &Arc<Tenant>, key: &ProfileKey, asked: &Asked) -> Result<Served, ReadError> {
        let served = match asked.purpose {
            None => self.serve_all(tenant, key, asked).await,
            Some(purpose) => self.serve_for(tenant, key, asked, purpose).await,
        };
        if served.is_err() {
            // That there is no such profile, or not one, must be durable too before it is said.
            let seen = tenant.state().sequence;
            reading::wait_for(tenant, seen).await?;
        }
        served
    }

    /// A live profile, all of a view, as a feed shows it.
    ///
    /// # Errors
    /// [`ReadError::ProfileUnknown`] when it is not live, [`ReadError::Store`] when it cannot be read.
    pub async fn show(
        &self,
        tenant: &Arc<Tenant>,
        profile: ProfileOrdinal,
        asked: &Asked,
    ) -> Result<pb::Profile, ReadError> {
        let content = self.content(tenant, profile, &asked.shown).await?;
        let served = self.hand_out(tenant, profile, asked, content)?;
        served.into_parts().map(|(profile, _)| profile)
    }

    /// A live profile as a feed shows it to a purpose: what of it is withheld is told. None where it ended.
    ///
    /// # Errors
    /// [`ReadError::PurposeNotPermitted`]; [`ReadError::Store`] when it cannot be read.
    pub async fn show_for(
        &self,
        tenant: &Arc<Tenant>,
        profile: ProfileOrdinal,
        asked: &Asked,
        purpose: PurposeId,
    ) -> Result<Option<(pb::Profile, Vec<pb::Withheld>)>, ReadError> {
        let id = tenant.profile_id(profile);
        let name = names::of_profile(&tenant.name, id);
        match self.serve_for(tenant, &ProfileKey::Id(id), asked, purpose).await {
            // An id of before leads on to the profile of today, of which the feed tells by its own.
            Ok(served) => Ok(Some(served.into_parts()?).filter(|(shown, _)| shown.name == name)),
            Err(
                ReadError::ProfileUnknown
                | ReadError::ProfileEmptied
                | ReadError::ProfileErased
                | ReadError::ProfileSplit { .. },
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn serve_all(&self, tenant: &Arc<Tenant>, key: &ProfileKey, asked: &Asked) -> Result<Served, ReadError> {
        // A profile that ends between the two steps is looked for again.
        for _ in 0..LOOKS_MAX {
            let content = match read::find(tenant, key) {
                Ok(profile) => self.content(tenant, profile, &asked.shown).await.map(|content| (profile, content)),
                Err(error) => Err(error),
            };
            match content {
                Ok((profile, content)) => return self.hand_out(tenant, profile, asked, content),
                Err(ReadError::ProfileUnknown) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ReadError::ProfileUnknown)
    }

    /// What a purpose may see of a profile, and what it may not.
    async fn serve_for(
        &self,
        tenant: &Arc<Tenant>,
        key: &ProfileKey,
        asked: &Asked,
        purpose: PurposeId,
    ) -> Result<Served, ReadError> {
        for _ in 0..TRIES_MAX {
            let wanted = key.clone();
            let found = self.app.reading(tenant, move |app, tenant| consent::permitted(app, tenant, wanted, purpose));
            let (profile, changed, permit) = found.await?;
            // All of the view is looked at, so that what is withheld is told whatever the mask.
            let whole = Shown { full: asked.shown.full, mask: Vec::new() };
            let content = match self.content(tenant, profile, &whole).await {
                Err(ReadError::ProfileUnknown) => continue,
                other => other?,
            };
            let (mut shown, _) = content.into_parts()?;
            // What is shown must be what the permit was given for.
            if shown.sequence == changed.0 {
                let withheld = convert::withhold(&mut shown, &permit, &tenant.config());
                asked.shown.narrow(&mut shown);
                return self.hand_out(tenant, profile, asked, Content::Made(Box::new(shown), withheld));
            }
        }
        Err(ReadError::Behind { wanted: 0, reached: tenant.durable().0 })
    }

    /// As much of a live profile as is to be shown. It is durable: nothing is read that a crash could take back.
    async fn content(
        &self,
        tenant: &Arc<Tenant>,
        profile: ProfileOrdinal,
        shown: &Shown,
    ) -> Result<Content, ReadError> {
        if shown.full {
            let made = convert::profile(&self.load(tenant, profile).await?, shown, tenant);
            return made.map(|made| Content::Made(Box::new(made), Vec::new())).ok_or(ReadError::ProfileUnknown);
        }
        let basic = self.basic(tenant, profile).await?;
        if shown.mask.is_empty() {
            return Ok(Content::Kept(basic));
        }
        let mut narrowed = decoded(basic)?;
        shown.narrow(&mut narrowed);
        Ok(Content::Made(Box::new(narrowed), Vec::new()))
    }

    /// All of the BASIC view, encoded; kept from now on.
    async fn basic(&self, tenant: &Arc<Tenant>, profile: ProfileOrdinal) -> Result<Bytes, ReadError> {
        let version = tenant.config().version;
        let changed = tenant.state().changed_if_live(profile).ok_or(ReadError::ProfileUnknown)?;
        if let Some(bytes) = self.kept.get(tenant, read::Found { profile, changed }, version) {
            return Ok(bytes);
        }
        let loaded = self.load(tenant, profile).await?;
        let made = convert::profile(&loaded, &Shown::default(), tenant).ok_or(ReadError::ProfileUnknown)?;
        let bytes = encoded(made);
        self.kept.keep(tenant, &loaded, bytes.clone());
        Ok(bytes)
    }

    async fn load(&self, tenant: &Arc<Tenant>, profile: ProfileOrdinal) -> Result<Loaded, ReadError> {
        let plan = read::plan(tenant, profile)?;
        reading::wait_for(tenant, plan.durable_from()).await?;
        if plan.len() <= READ_INLINE_MAX {
            return plan.load(&self.app.shared, tenant);
        }
        let (app, tenant) = (Arc::clone(&self.app), Arc::clone(tenant));
        let reading = tokio::task::spawn_blocking(move || plan.load(&app.shared, &tenant));
        reading.await.map_err(|error| ReadError::Store(error.into()))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_an_answer_of_every_read() {
        let profile = pb::Profile { name: "tenants/a/profiles/p".to_owned(), sequence: 7, ..Default::default() };
        let served = || Served(Content::Kept(encoded(profile.clone())));
        let got = Encoded::<pb::GetProfileResponse>::from(served()).into_message().unwrap();
        let looked_up = Encoded::<pb::LookupProfileResponse>::from(served()).into_message().unwrap();
        let result = Encoded::<pb::BatchLookupResult>::from(served()).into_message().unwrap();
        assert_eq!(got, pb::GetProfileResponse { profile: Some(profile.clone()), ..Default::default() });
        assert_eq!(looked_up, pb::LookupProfileResponse { profile: Some(profile.clone()), ..Default::default() });
        assert_eq!(result, pb::BatchLookupResult { profile: Some(profile.clone()), ..Default::default() });
        assert_eq!(served().into_parts().unwrap(), (profile, Vec::new()));
    }
}
