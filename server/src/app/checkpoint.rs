//! What memory holds, written down so that the next start is quick.

use onefold_core::access::ApiKey;
use onefold_core::config::TenantConfig;
use onefold_core::decision::{ModelChanged, RequestAnswered};
use onefold_core::ids::{Place, Sequence, TenantId};
use onefold_matching::resolve::{Engine, LinkRules};
use onefold_store::checkpoint::{Checkpoint, CheckpointError};
use onefold_store::datadir::DataDir;
use onefold_store::journal::{JournalError, Position, VisitError};
use serde::{Deserialize, Serialize};

use super::consent::{Consent, ConsentRows};
use super::hierarchy::state::Accounts;
use super::keeper::Keep;
use super::lane::Lane;
use super::models::Models;
use super::privacy::state::{Privacy, PrivacyRows};
use super::recover::{Replaying, Tenants};
use super::review::{Judgements, Told};
use super::tenant::{Held, ProfileTimes, State, Tenant};
use super::tidy;
use crate::clock::Stopwatch;

/// The shape of the sections. Another one is passed over, and the journal replayed.
const VERSION: u32 = 21;

/// All of a tenant but the engine and the profiles' times.
#[derive(Debug, Serialize, Deserialize)]
struct TenantSection {
    version: u32,
    config: TenantConfig,
    wrapped_keys: Vec<u8>,
    sequence: Sequence,
    last_change: Sequence,
    next_slot: u32,
    quarantine: Vec<(Sequence, Held)>,
    requests: Vec<RequestAnswered>,
    feed: Vec<(Sequence, Place)>,
    models: Vec<(ModelChanged, Sequence)>,
    judgements: Vec<(Sequence, Told)>,
    api_keys: Vec<ApiKey>,
}

fn section(tenant: TenantId, name: &str) -> String {
    format!("{}/{name}", tenant.0)
}

/// Times as small numbers: openings follow one another, and most profiles changed last when they were opened. Their
/// encoding has as many bytes as a number needs.
fn pack_times(times: &[ProfileTimes]) -> Vec<(i64, u64)> {
    let mut before = 0;
    let packed = times.iter().map(|times| {
        let step = times.opened.0.wrapping_sub(before) as i64;
        before = times.opened.0;
        (step, times.changed.0.wrapping_sub(times.opened.0))
    });
    packed.collect()
}

fn unpack_times(packed: &[(i64, u64)]) -> Vec<ProfileTimes> {
    let mut before: u64 = 0;
    let times = packed.iter().map(|(step, since)| {
        before = before.wrapping_add_signed(*step);
        ProfileTimes { opened: Sequence(before), changed: Sequence(before.wrapping_add(*since)) }
    });
    times.collect()
}

/// A checkpoint was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteCheckpointError {
    /// The journal in front of it is not durable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl Lane {
    /// Writes a checkpoint of everything durable. The lane waits for it; readers do not.
    pub(super) fn checkpoint(&mut self) {
        if !self.unsettled.is_empty() {
            // A checkpoint says that all before it is settled.
            return;
        }
        let began = Stopwatch::start();
        let span = self.work("checkpoint");
        let written = self.write_checkpoint();
        self.checkpoint_took = began.elapsed();
        self.shared.meters.checkpoint.took(self.checkpoint_took);
        drop(span);
        if let Err(error) = written {
            // The one before stands, and the journal has everything: only the next start is slower.
            tracing::warn!(error = %error, "a checkpoint was not written");
        }
        self.shared.sign_head();
        self.since_checkpoint = 0;
        self.checkpoint_wanted = None;
        let _ = self.keeper.send(Keep::Flush);
        tidy::ask(&self.tidy);
    }

    fn write_checkpoint(&mut self) -> Result<(), WriteCheckpointError> {
        let position: Position = self.drain()?;
        let mut writer = self.shared.checkpoints.begin(position)?;
        for tenant in self.shared.tenants() {
            let state = tenant.state();
            let whole = TenantSection {
                version: VERSION,
                config: TenantConfig::clone(&tenant.config().config),
                wrapped_keys: tenant.wrapped_keys.clone(),
                sequence: state.sequence,
                last_change: state.last_change,
                next_slot: tenant.vault.next().0,
                quarantine: state.quarantine.iter().map(|(entry, held)| (*entry, *held)).collect(),
                requests: state.requests.iter().collect(),
                feed: state.feed.clone(),
                models: tenant.config().models.to_rows(),
                judgements: state.judgements.to_rows(),
                api_keys: state.api_keys.iter().cloned().collect(),
            };
            writer.section(section(tenant.id, "tenant"))?;
            writer.write(&onefold_core::decision::encode(&whole))?;
            writer.section(section(tenant.id, "consent"))?;
            writer.write(&onefold_core::decision::encode(&state.consent.to_rows()))?;
            writer.section(section(tenant.id, "accounts"))?;
            writer.write(&state.accounts.write())?;
            writer.section(section(tenant.id, "privacy"))?;
            writer.write(&onefold_core::decision::encode(&state.privacy.to_rows()))?;
            writer.section(section(tenant.id, "superseded"))?;
            writer.write(&onefold_core::decision::encode(&state.superseded))?;
            writer.section(section(tenant.id, "times"))?;
            writer.write(&onefold_core::decision::encode(&pack_times(&state.times)))?;
            write_engine(&mut writer, &tenant, &state)?;
        }
        writer.finish()?;
        Ok(())
    }
}

fn write_engine(
    writer: &mut onefold_store::checkpoint::CheckpointWriter,
    tenant: &Tenant,
    state: &State,
) -> Result<(), CheckpointError> {
    let mut open: Option<String> = None;
    state.engine.write_to(&mut |name: &str, bytes: &[u8]| {
        if open.as_deref() != Some(name) {
            writer.section(section(tenant.id, &format!("engine/{name}")))?;
            open = Some(name.to_owned());
        }
        writer.write(bytes)
    })
}

/// Reads all of a checkpoint, as a start would.
///
/// # Errors
/// What stands in the way; a start passes over it then.
pub(crate) fn read_through(checkpoint: &Checkpoint, dir: &DataDir) -> Result<(), VisitError> {
    restore(checkpoint, dir).map(drop)
}

/// Reads the tenants of a checkpoint.
pub(super) fn restore(checkpoint: &Checkpoint, dir: &DataDir) -> Result<Tenants, VisitError> {
    let ids: Vec<TenantId> =
        checkpoint.sections().filter_map(|name| name.strip_suffix("/tenant")?.parse().ok().map(TenantId)).collect();
    ids.into_iter().map(|id| Ok((id, restore_tenant(checkpoint, id, dir)?))).collect()
}

fn restore_tenant(checkpoint: &Checkpoint, id: TenantId, dir: &DataDir) -> Result<Replaying, VisitError> {
    let bytes = checkpoint.read(&section(id, "tenant"))?;
    let whole: TenantSection = onefold_core::decision::decode(&bytes)?;
    if whole.version != VERSION {
        return Err(format!("the checkpoint is of version {}, this release reads {VERSION}", whole.version).into());
    }
    let consent = checkpoint.read(&section(id, "consent"))?;
    let consent = Consent::from_rows(onefold_core::decision::decode::<ConsentRows>(&consent)?);
    let times = checkpoint.read(&section(id, "times"))?;
    let times = unpack_times(&onefold_core::decision::decode::<Vec<(i64, u64)>>(&times)?);
    let mut models = Models::default();
    for (changed, since) in &whole.models {
        models = models.change(changed, *since)?;
    }
    let engine = Engine::read_with_models(LinkRules::of(&whole.config), models.weighers(), &mut |name: &str| {
        checkpoint.read(&section(id, &format!("engine/{name}"))).ok()
    })?;
    let mut state = State::new(&whole.config, &models);
    state.engine = engine;
    state.consent = consent;
    state.sequence = whole.sequence;
    state.last_change = whole.last_change;
    state.times = times;
    state.feed = whole.feed;
    state.judgements = Judgements::from_rows(whole.judgements);
    state.accounts = Accounts::read(&checkpoint.read(&section(id, "accounts"))?)?;
    for key in whole.api_keys {
        let _ = state.api_keys.put(key);
    }
    for answered in whole.requests {
        state.requests.remember(answered);
    }
    let privacy = checkpoint.read(&section(id, "privacy"))?;
    state.privacy = Privacy::from_rows(onefold_core::decision::decode::<PrivacyRows>(&privacy)?);
    state.bind_restrictions();
    let superseded = checkpoint.read(&section(id, "superseded"))?;
    state.superseded = onefold_core::decision::decode(&superseded)?;
    for (entry, held) in whole.quarantine {
        let points = state.privacy.quarantined.take(entry).unwrap_or_default();
        state.hold(entry, held, points);
    }
    state.consent.ledger.is_told();
    let mut replaying = Replaying::with(id, (whole.config, models), whole.wrapped_keys, state, dir)?;
    replaying.next_slot = whole.next_slot;
    Ok(replaying)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_packing_whatever_they_are() {
        let times = |pairs: &[(u64, u64)]| -> Vec<ProfileTimes> {
            let time = |(opened, changed): &(u64, u64)| ProfileTimes {
                opened: Sequence(*opened),
                changed: Sequence(*changed),
            };
            pairs.iter().map(time).collect()
        };
        for case in [times(&[]), times(&[(2, 2), (3, 90), (3, 3), (1, 7), (0, 0), (u64::MAX, 5), (5, u64::MAX)])] {
            assert_eq!(unpack_times(&pack_times(&case)), case);
        }
        let usual: Vec<ProfileTimes> = (0..1_000).flat_map(|at| times(&[(2 * at, 2 * at)])).collect();
        assert!(onefold_core::decision::encode(&pack_times(&usual)).len() < 3_000, "two bytes a profile");
    }
}
