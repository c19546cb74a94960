//! What was said, and what it comes to: now, or as of any past moment.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use onefold_core::consent::contact::Reason;
use onefold_core::consent::ledger::Entry;
use onefold_core::consent::permit::{NotPermitted, Permit, permit};
use onefold_core::consent::policy::{Laws, Regime};
use onefold_core::consent::state::{Effective, Question};
use onefold_core::consent::{ChannelId, Jurisdiction, PurposeId, Statement};
use onefold_core::decision::{self, EntryKind, Sealed};
use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, ProfileOrdinal, Sequence};
use onefold_store::vault::{Vault, VaultError};

use super::contact::{Found, TRIES_MAX, points_of};
use super::person::Person;
use crate::app::error::ReadError;
use crate::app::read::{self, ProfileKey};
use crate::app::tenant::{LiveConfig, State, Tenant};
use crate::app::{App, Shared, lane};

/// Whom a question is about.
#[derive(Clone, Debug)]
pub struct Who {
    /// A profile, an identifier or a source record.
    pub key: ProfileKey,
    /// The points of the identifier.
    pub points: Vec<Digest128>,
}

/// What holds for one purpose and channel.
#[derive(Clone, Debug)]
pub struct Holding {
    /// For this purpose.
    pub purpose: PurposeId,
    /// Over this channel; `None` is what was said of every channel.
    pub channel: Option<ChannelId>,
    /// What holds, and the statements that decided it.
    pub effective: Effective,
    /// What silence means.
    pub regime: Regime,
    /// One of the points was erased and must not be written to, whatever was said.
    pub erased: bool,
}

/// A moment in the past.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsOf {
    /// What had been said by then.
    pub said_by: Option<ObservedAt>,
    /// What had been recorded by then.
    pub known_by: Option<ObservedAt>,
}

/// A picture of one cluster, taken at one moment.
#[derive(Clone, Debug)]
pub struct Picture<T> {
    /// The profile, where there is one.
    pub profile: Option<ProfileOrdinal>,
    /// What was looked for.
    pub seen: T,
}

/// Looks at the points of whoever is asked about, in one consistent picture. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError`] when there is nobody, or not one.
pub fn look<T>(
    app: &App,
    tenant: &Tenant,
    who: &Who,
    see: impl Fn(&State, &LiveConfig, &[Digest128], Option<&Person>) -> T,
) -> Result<Picture<T>, ReadError> {
    for _ in 0..TRIES_MAX {
        let found = match read::find(tenant, &who.key) {
            Ok(profile) => match app.persons.read(&app.shared, tenant, profile) {
                Ok(person) => Found::Profile(profile, person),
                Err(ReadError::ProfileUnknown) => continue,
                Err(error) => return Err(error),
            },
            // A shared identifier names nobody, and what was said at it holds for whoever is reached there.
            Err(ReadError::ProfileUnknown | ReadError::IdentifierShared { .. }) if !who.points.is_empty() => {
                Found::Nobody
            }
            Err(error) => return Err(error),
        };
        let seen = tenant.seen(|state| {
            if state.relinking {
                return None;
            }
            // Looked at under the state's lock: a person who was read under another configuration is read again.
            let config = tenant.config();
            match &found {
                Found::Profile(profile, person) => {
                    let changed = state.changed_if_live(*profile)?;
                    person.is_of(changed, &config).then(|| {
                        let cluster = points_of(state, *profile, person, &who.points);
                        Picture {
                            profile: Some(*profile),
                            seen: see(state, &config, &cluster.points, Some(person.as_ref())),
                        }
                    })
                }
                _ => Some(Picture { profile: None, seen: see(state, &config, &who.points, None) }),
            }
        })?;
        if let Some(picture) = seen {
            return Ok(picture);
        }
    }
    Err(ReadError::Behind { wanted: 0, reached: tenant.durable().0 })
}

/// The laws that apply to a cluster: of its records, of what was said at their identifiers, and of whoever asks. What one of the
/// latter two names is the law of records that name none.
///
/// LAW 6: what is only heard there, of a record that is not there or of what waits in quarantine, may add a law and make the rule
/// stricter. It answers for nobody whose law is not known: a no would make lawful what was not without it.
pub(super) fn laws(
    state: &State,
    points: &[Digest128],
    person: Option<&Person>,
    claimed: Option<Jurisdiction>,
) -> Laws {
    let ledger = &state.consent.ledger;
    let nothing_said = !ledger.names_law_at(points);
    let is_silent = |of: &Vec<Digest128>| nothing_said || !ledger.names_law_at(of);
    let unknown = match person {
        Some(person) => person.of_unknown_law.iter().any(is_silent),
        None => nothing_said,
    };
    let mut known = ledger.jurisdictions_at(points);
    known.extend(person.into_iter().flat_map(|person| person.jurisdictions.iter().copied()));
    known.extend(claimed);
    let unread = claimed.is_none() && person.is_some_and(|person| person.of_unread_law.iter().any(is_silent));
    Laws { known, unknown: unknown && claimed.is_none(), unread }
}

/// What holds for each of these purposes and channels.
///
/// # Errors
/// As [`look`].
pub fn holdings(
    app: &App,
    tenant: &Tenant,
    who: &Who,
    asked: &[(PurposeId, Option<ChannelId>)],
    as_of: AsOf,
) -> Result<Picture<Vec<Holding>>, ReadError> {
    let now = app.now();
    look(app, tenant, who, |state, config, points, person| {
        let laws = laws(state, points, person, None);
        let erased = state.privacy.stops(points.iter().copied()).is_some();
        let hold = |(purpose, channel): &(PurposeId, Option<ChannelId>)| {
            let rule = config.config.consent.purpose(*purpose)?;
            let AsOf { said_by, known_by } = as_of;
            let at = said_by.or(known_by).unwrap_or(now);
            let question = Question { purpose: *purpose, channel: *channel, at, said_by, known_by };
            let effective = state.consent.ledger.voices(points, &question).effective();
            Some(Holding { purpose: *purpose, channel: *channel, effective, regime: rule.regime(&laws), erased })
        };
        asked.iter().filter_map(hold).collect()
    })
}

/// Asks for a permit to read a live profile for a purpose.
///
/// # Errors
/// [`NotPermitted`], with every reason.
fn ask_permit(
    state: &State,
    config: &LiveConfig,
    points: &[Digest128],
    person: Option<&Person>,
    purpose: PurposeId,
    now: ObservedAt,
) -> Result<Permit, NotPermitted> {
    let policy = &config.config.consent;
    let Some(rule) = policy.purpose(purpose) else { return Err(NotPermitted(Vec::new())) };
    let said_of = |channel| state.consent.ledger.voices(points, &Question::now(purpose, channel, now)).effective();
    let channels: Vec<Effective> = policy.channels.iter().map(|channel| said_of(Some(channel.id))).collect();
    permit(rule, &channels, &said_of(None), rule.regime(&laws(state, points, person, None)))
}

/// Asks to read whom a key leads to for a purpose: the profile, its last change, and the permit that holds for it as it is
/// at that change.
///
/// # Errors
/// As [`look`], and [`ReadError::PurposeNotPermitted`].
pub fn permitted(
    app: &App,
    tenant: &Tenant,
    key: ProfileKey,
    purpose: PurposeId,
) -> Result<(ProfileOrdinal, Sequence, Permit), ReadError> {
    let now = app.now();
    let who = Who { key, points: Vec::new() };
    let found = look(app, tenant, &who, |state, config, points, person| {
        let changed = person.map_or(Sequence(0), |person| person.changed);
        (changed, ask_permit(state, config, points, person, purpose, now))
    })?;
    let (changed, permit) = found.seen;
    match (found.profile, permit) {
        (Some(profile), Ok(permit)) => Ok((profile, changed, permit)),
        (None, _) => Err(ReadError::ProfileUnknown),
        (_, Err(NotPermitted(reasons))) => {
            Err(ReadError::PurposeNotPermitted { reasons: reasons.iter().map(Reason::as_str).collect() })
        }
    }
}

/// A page of statements.
#[derive(Clone, Debug)]
pub struct Said {
    /// Oldest first.
    pub statements: Vec<(Entry, Statement)>,
    /// Those that were said of a record that is not theirs now, and are heard at what it held: without words.
    pub only_heard: BTreeSet<Sequence>,
    /// There are more.
    pub more: bool,
}

/// A page of the statements about somebody after an id.
///
/// # Errors
/// As [`look`], and [`ReadError::Store`] when one cannot be read.
pub fn statements(
    app: &App,
    tenant: &Tenant,
    who: &Who,
    after: Sequence,
    most: usize,
) -> Result<Picture<Said>, ReadError> {
    let found = look(app, tenant, who, |state, _, points, _| {
        let ledger = &state.consent.ledger;
        let ids = ledger.ids_at(points).into_iter().filter(|id| *id > after).take(most + 1);
        let points: HashSet<Digest128> = points.iter().copied().collect();
        let read = |id| Some((*ledger.get(id)?, ledger.is_only_heard_at(id, &points)));
        ids.filter_map(read).collect::<Vec<(Entry, bool)>>()
    })?;
    let more = found.seen.len() > most;
    let mut seen =
        Said { statements: Vec::with_capacity(found.seen.len().min(most)), only_heard: BTreeSet::new(), more };
    for (entry, only_heard) in found.seen.into_iter().take(most) {
        let Some(statement) = statement_at(&app.shared, &tenant.vault, &entry)? else { continue };
        // Whose it is may be somebody else: an address was theirs once, or would be.
        let statement = if only_heard { statement.without_words() } else { statement };
        seen.only_heard.extend(only_heard.then_some(entry.id));
        seen.statements.push((entry, statement));
    }
    Ok(Picture { profile: found.profile, seen })
}

/// The statement with this id.
///
/// # Errors
/// [`ReadError::StatementUnknown`] when there is none, or its words were erased.
pub fn statement(app: &App, tenant: &Tenant, id: Sequence) -> Result<(Entry, Statement), ReadError> {
    let entry = tenant.seen(|state| state.consent.ledger.get(id).copied())?;
    let entry = entry.ok_or(ReadError::StatementUnknown)?;
    let read = statement_at(&app.shared, &tenant.vault, &entry)?;
    read.map(|statement| (entry, statement)).ok_or(ReadError::StatementUnknown)
}

/// Reads a statement's words; `None` when their key was destroyed.
pub(in crate::app) fn statement_at(
    shared: &Shared,
    vault: &Vault,
    entry: &Entry,
) -> Result<Option<Statement>, ReadError> {
    read::durable_at(shared, entry.place)?;
    let place = entry.place;
    let found = shared.journal.read(place).map_err(|error| ReadError::at(place, error))?;
    let Some(payload) = found.payload else { return read::gone_at(shared, place).map(|()| None) };
    let sealed = Sealed::parse(&payload).map_err(|error| ReadError::content_of(place, error))?;
    let of = [EntryKind::StatementRecorded, EntryKind::StatementUndated].map(lane::kind);
    if !of.contains(&found.context.kind) {
        return Err(ReadError::content_of(place, "it is no consent statement"));
    }
    let key = match vault.key(sealed.slot) {
        Ok(key) => key,
        Err(VaultError::Destroyed(_)) => return read::gone_at(shared, place).map(|()| None),
        Err(error) => return Err(ReadError::key_of(place, error)),
    };
    let opened = found.context.open(&key, 0, &sealed.header, sealed.ciphertext);
    let plain = opened.map_err(|error| ReadError::content_of(place, error))?;
    let read: Statement = decision::decode(&plain).map_err(|error| ReadError::content_of(place, error))?;
    Ok(Some(Statement { undated: entry.undated, ..read }))
}

impl App {
    /// Runs what reads the disk on a thread that may wait.
    ///
    /// # Errors
    /// What it says.
    pub async fn reading<T: Send + 'static>(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        work: impl FnOnce(&Arc<Self>, &Arc<Tenant>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (app, tenant) = (Arc::clone(self), Arc::clone(tenant));
        let done = tokio::task::spawn_blocking(move || work(&app, &tenant)).await;
        done.map_err(|error| ReadError::Store(error.into()))?
    }
}
