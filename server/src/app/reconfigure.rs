//! Tenants opened and configurations changed, in the lane like everything else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use onefold_core::config::{STEWARD_SOURCE, STEWARD_TRUST, Source, TenantConfig, TenantSettings};
use onefold_core::decision::{self, ConfigChanged, EntryKind, NamesLearned, TenantOpened};
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::ids::{NamespaceId, Sequence, SlotId, SourceId, TenantId};
use onefold_core::limits;
use onefold_core::namespace::Namespace;
use onefold_matching::resolve::LinkRules;
use onefold_store::journal::{JournalError, Position, entry_room};
use onefold_store::keys::TenantKeys;
use tokio::sync::oneshot;

use super::decide::Decided;
use super::error::WriteError;
use super::etag::guard;
use super::lane::{Changed, Command, ConfigChange, Lane, kind};
use super::models::Models;
use super::requests::{RequestKey, remember, room_to_remember};
use super::tenant::{LiveConfig, State, Tenant};
use super::writer::Reply;
use super::{App, read};

/// Records that are prepared again between two short locks of the state.
const RELINK_STEP: usize = 4_096;

/// Opens a tenant.
pub(super) fn open_tenant(
    lane: &mut Lane,
    settings: TenantSettings,
    request: Option<RequestKey>,
    reply: oneshot::Sender<Result<TenantSettings, WriteError>>,
) -> Result<(), JournalError> {
    let known = lane.shared.tenants();
    // The answer is remembered with the tenant that was opened: whose else it could be is not known before.
    let named =
        |of: &Tenant| request.and_then(|r| of.state().requests.get(&r.id).map(|(content, _)| *content == r.content));
    let asked_before = known.iter().find(|tenant| named(tenant) == Some(true));
    let asked_before = asked_before.or_else(|| known.iter().find(|tenant| named(tenant).is_some()));
    let reply = match asked_before {
        Some(tenant) => match lane.repeat(tenant, request, reply)? {
            Some(reply) => reply,
            None => return Ok(()),
        },
        None => reply,
    };
    let refused = if known.iter().any(|tenant| tenant.name == settings.name) {
        Some(WriteError::Exists("a tenant of this name"))
    } else if known.len() >= limits::TENANTS_MAX {
        Some(WriteError::Full { what: "tenants", limit: limits::TENANTS_MAX })
    } else {
        None
    };
    if let Some(error) = refused {
        let _ = reply.send(Err(error));
        return Ok(());
    }
    let from = lane.shared.tenants_from.load(Ordering::Relaxed);
    let id = TenantId(known.iter().map(|tenant| tenant.id.0 + 1).max().unwrap_or(0).max(from));
    let config = settings.clone().into_config();
    let made = make_tenant(lane, id, &config);
    let tenant = match made {
        Ok(tenant) => Arc::new(tenant),
        Err(error) => {
            let _ = reply.send(Err(error));
            return Ok(());
        }
    };
    let payload = TenantOpened { config, wrapped_keys: tenant.wrapped_keys.clone() }.encode();
    let models: Vec<(Sequence, Vec<u8>)> = {
        let rows = tenant.config().models.to_rows();
        rows.into_iter().map(|(changed, since)| (since, decision::encode(&changed))).collect()
    };
    let room = entry_room(payload.len())
        + models.iter().map(|(_, payload)| entry_room(payload.len())).sum::<usize>()
        + room_to_remember(request, &settings);
    let Some(mut group) = lane.begin(room)? else {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    };
    group.builder.push(id, Sequence(1), kind(EntryKind::TenantOpened), |_, out| out.extend_from_slice(&payload))?;
    tenant.state_mut().sequence = Sequence(1);
    for (since, payload) in models {
        group.builder.push(id, since, kind(EntryKind::ModelChanged), |_, out| out.extend_from_slice(&payload))?;
        tenant.state_mut().sequence = since;
    }
    remember(lane, &tenant, request, &settings, &mut group)?;
    tenant.noting.set(&Default::default(), lane.shared.access.required());
    lane.shared.add(Arc::clone(&tenant));
    let end = tenant.state().sequence;
    group.commit.published.push((tenant, end));
    group.commit.replies.push(Reply::of(reply, settings));
    lane.commit(group)
}

fn make_tenant(lane: &Lane, id: TenantId, config: &TenantConfig) -> Result<Tenant, WriteError> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(error = %error, "a tenant cannot be opened");
        WriteError::StoreFailed
    };
    let keys = TenantKeys::generate().map_err(|error| failed(&error))?;
    let wrapped = keys.wrap(&lane.shared.root, id.0).map_err(|error| failed(&error))?;
    // A vault without a tenant is left over from a crash in front of the journal entry: its keys were never used.
    let left_over = lane.shared.dir.vault().join(id.0.to_string());
    if left_over.exists() {
        std::fs::remove_dir_all(&left_over).map_err(|error| failed(&error))?;
    }
    let vault = lane.shared.dir.open_vault(id, &keys).map_err(|error| match error {
        onefold_store::vault::VaultError::NoSpace => WriteError::DiskFull,
        error => failed(&error),
    })?;
    vault.recover(SlotId(0)).map_err(|error| failed(&error))?;
    let models = if lane.shared.match_models { Models::shipped(Sequence(1)) } else { Models::default() };
    let state = State::new(config, &models);
    let live = LiveConfig::compile(config.clone(), 1, keys.index, models).map_err(WriteError::Invalid)?;
    Ok(Tenant::new(id, (keys, wrapped), vault, Arc::new(live), state))
}

/// Changes a configuration; where linking may differ, everything known is prepared and resolved again.
pub(super) fn change(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    change: ConfigChange,
    request: Option<RequestKey>,
    reply: oneshot::Sender<Result<Changed, WriteError>>,
) -> Result<(), JournalError> {
    let before = tenant.config();
    let mut config = TenantConfig::clone(&before.config);
    let compiled = change(&mut config).and_then(|changed| {
        let live = LiveConfig::compile(config.clone(), before.version + 1, tenant.keys.index, before.models.clone());
        live.map(|live| (changed, live)).map_err(WriteError::Invalid)
    });
    let (changed, mut after) = match compiled {
        Ok(compiled) => compiled,
        Err(error) => {
            let _ = reply.send(Err(error));
            return Ok(());
        }
    };
    if config == *before.config {
        // Nothing to say, but the answer keeps its turn behind what was said before.
        let Some(mut group) = lane.begin(room_to_remember(request, &changed))? else {
            let _ = reply.send(if request.is_none() { Ok(changed) } else { Err(WriteError::DiskFull) });
            return Ok(());
        };
        remember(lane, tenant, request, &changed, &mut group)?;
        group.commit.replies.push(Reply::of(reply, changed));
        return lane.commit(group);
    }
    let relinks =
        config.default_region != before.config.default_region || config.namespaces != before.config.namespaces;
    let payload = ConfigChanged { config, relinks }.encode();
    if relinks {
        // Fragments are read again below, so all of them must be on disk.
        lane.drain()?;
        // All of it before anything is decided: half a change could not be taken back.
        if let Err(error) = readable(&lane.shared, tenant) {
            let _ = reply.send(Err(error.into()));
            return Ok(());
        }
    }
    let room = entry_room(payload.len()) + room_to_remember(request, &changed) + lane.settled_room();
    let most = lane.segment_bytes().saturating_sub(lane.settled_room());
    if room > most {
        let _ = reply.send(Err(WriteError::Full { what: "bytes of configuration", limit: most }));
        return Ok(());
    }
    // Settling everything afresh may have much to say; what a batch cannot hold goes on in the next.
    let consequences = if relinks { tenant.state().engine.stats().live_records as usize * 32 } else { 0 };
    let Some(mut group) = lane.begin((room + consequences).min(most))? else {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    };
    let sequence = tenant.state().sequence.next();
    let pushed = group.builder.push(tenant.id, sequence, kind(EntryKind::ConfigChanged), |_, out| {
        out.extend_from_slice(&payload);
    });
    if let Err(JournalError::TooLarge { .. }) = pushed {
        let what = "bytes of configuration";
        let _ = reply.send(Err(WriteError::Full { what, limit: lane.segment_bytes() }));
        return Ok(());
    }
    pushed?;
    tenant.state_mut().sequence = sequence;
    after.since = sequence;
    let after = Arc::new(after);
    let span = relinks.then(|| lane.work("resolve.again")).flatten();
    if relinks {
        tenant.state_mut().relinking = true;
        relink(&lane.shared, tenant, &after).map_err(|error| {
            tracing::error!(error = %error, "a fragment cannot be read while linking afresh");
            JournalError::Poisoned
        })?;
    }
    let region = after.config.default_region.as_deref();
    tenant.state_mut().privacy.region_changes(before.config.default_region.as_deref(), region);
    tenant.set_config(after);
    if relinks {
        group = lane.settle(tenant, group, Decided::relinked())?;
        tenant.state_mut().relinking = false;
    }
    drop(span);
    remember(lane, tenant, request, &changed, &mut group)?;
    let end = tenant.state().sequence;
    group.commit.published.push((Arc::clone(tenant), end));
    group.commit.replies.push(Reply::of(reply, changed));
    lane.commit(group)
}

/// Whether everything that linking afresh reads can be read.
fn readable(shared: &super::Shared, tenant: &Tenant) -> Result<(), super::error::ReadError> {
    let places: Vec<_> =
        tenant.state().engine.all_records().filter(|record| record.live).map(|record| record.place).collect();
    for place in places {
        read::fragment_at(shared, &tenant.vault, place)?;
    }
    super::consent::readable(shared, tenant)
}

/// Prepares every live record again under another configuration, and what waits in quarantine. Nothing is resolved yet.
pub(super) fn relink(
    shared: &super::Shared,
    tenant: &Tenant,
    config: &LiveConfig,
) -> Result<(), super::error::ReadError> {
    let records: Vec<_> = tenant.state().engine.all_records().filter(|record| record.live).collect();
    tenant.state_mut().engine.set_rules(LinkRules::of(&config.config));
    for step in records.chunks(RELINK_STEP) {
        let mut prepared = Vec::with_capacity(step.len());
        for record in step {
            let fragment = read::fragment_at(shared, &tenant.vault, record.place)?;
            prepared.push(config.preparer().prepare(&fragment).0);
        }
        let mut state = tenant.state_mut();
        for prepared in &prepared {
            state.engine.prepare_again(prepared);
        }
    }
    super::quarantine::find_again(shared, tenant, config)?;
    super::consent::relink(shared, tenant, config)?;
    Ok(())
}

/// Learns attribute names, as far as there is room for them.
pub(super) fn learn_names(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    names: Vec<String>,
    reply: oneshot::Sender<Result<(), WriteError>>,
) -> Result<(), JournalError> {
    let before = tenant.config();
    let room = limits::ATTRIBUTE_NAMES_MAX.saturating_sub(before.config.attribute_names.len());
    let names: Vec<String> =
        names.into_iter().filter(|name| before.attribute_named(name).is_none()).take(room).collect();
    if names.is_empty() {
        let _ = reply.send(Ok(()));
        return Ok(());
    }
    let mut config = TenantConfig::clone(&before.config);
    config.attribute_names.extend(names.iter().cloned());
    let mut after = match LiveConfig::compile(config, before.version + 1, tenant.keys.index, before.models.clone()) {
        Ok(after) => after,
        Err(faults) => {
            let _ = reply.send(Err(WriteError::Invalid(faults)));
            return Ok(());
        }
    };
    let payload = decision::encode(&NamesLearned { names });
    let Some(mut group) = lane.begin(entry_room(payload.len()))? else {
        let _ = reply.send(Err(WriteError::DiskFull));
        return Ok(());
    };
    let sequence = tenant.state().sequence.next();
    group.builder.push(tenant.id, sequence, kind(EntryKind::NamesLearned), |_, out| out.extend_from_slice(&payload))?;
    tenant.state_mut().sequence = sequence;
    after.since = sequence;
    tenant.set_config(Arc::new(after));
    group.commit.published.push((Arc::clone(tenant), sequence));
    group.commit.replies.push(Reply::of(reply, ()));
    lane.commit(group)
}

impl Lane {
    /// Waits until everything handed to the writer is durable.
    pub(super) fn drain(&self) -> Result<Position, JournalError> {
        let (done, drained) = std::sync::mpsc::channel();
        let mut commit = super::writer::Commit::default();
        commit.replies.push(Reply::Drained(done));
        self.writer.send(commit).map_err(|_| JournalError::Poisoned)?;
        drained.recv().map_err(|_| JournalError::Poisoned)
    }
}

impl App {
    /// Opens a tenant.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done.
    pub async fn open_tenant(
        &self,
        settings: TenantSettings,
        request: Option<RequestKey>,
    ) -> Result<TenantSettings, WriteError> {
        self.ask(|reply| Command::OpenTenant { settings, request, reply }).await
    }

    /// Changes a configuration.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done.
    pub async fn change_config(
        &self,
        tenant: &Arc<Tenant>,
        change: ConfigChange,
        request: Option<RequestKey>,
    ) -> Result<Changed, WriteError> {
        self.ask(|reply| Command::Reconfigure { tenant: Arc::clone(tenant), change, request, reply }).await
    }

    /// Replaces a tenant's settings, if they are still those of the etag.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done.
    pub async fn set_settings(
        &self,
        tenant: &Arc<Tenant>,
        settings: TenantSettings,
        etag: String,
        request: Option<RequestKey>,
    ) -> Result<Changed, WriteError> {
        let change = move |config: &mut TenantConfig| {
            guard(&etag, Some(&config.settings()))?;
            config.set(settings);
            Ok(Changed::Settings(config.settings()))
        };
        self.change_config(tenant, Box::new(change), request).await
    }

    /// Learns attribute names. Those over the limit are left out, which the door then says of the fragment.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done.
    pub async fn learn_names(&self, tenant: &Arc<Tenant>, names: Vec<String>) -> Result<(), WriteError> {
        self.ask(|reply| Command::LearnNames { tenant: Arc::clone(tenant), names, reply }).await
    }

    /// Creates a source, or replaces its trust and contract, if it is still that of the etag.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done.
    pub async fn put_source(
        &self,
        tenant: &Arc<Tenant>,
        source: Source,
        etag: String,
        request: Option<RequestKey>,
    ) -> Result<Changed, WriteError> {
        let change = move |config: &mut TenantConfig| {
            let count = config.sources.len();
            let known = config.sources.iter_mut().find(|known| known.name == source.name);
            guard(&etag, known.as_deref())?;
            let put = match known {
                Some(known) => {
                    *known = Source { id: known.id, ..source };
                    known.clone()
                }
                None if count >= limits::SOURCES_MAX => {
                    return Err(WriteError::Full { what: "sources", limit: limits::SOURCES_MAX });
                }
                None => {
                    let put = Source { id: SourceId(count as u16), ..source };
                    config.sources.push(put.clone());
                    put
                }
            };
            Ok(Changed::Source(put))
        };
        self.change_config(tenant, Box::new(change), request).await
    }

    /// Makes the source of stewards' corrections, if it is not there.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done.
    pub async fn have_steward_source(&self, tenant: &Arc<Tenant>) -> Result<(), WriteError> {
        let is_made = |source: &Source| source.name == STEWARD_SOURCE && source.trust == STEWARD_TRUST;
        if tenant.config().config.sources.iter().any(is_made) {
            return Ok(());
        }
        let source = Source {
            id: SourceId(0),
            name: STEWARD_SOURCE.to_owned(),
            display_name: "Corrections by stewards".to_owned(),
            trust: STEWARD_TRUST,
            contract: Default::default(),
        };
        self.put_source(tenant, source, String::new(), None).await.map(drop)
    }

    /// Creates a namespace, or replaces its laws, if it is still that of the etag.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was done.
    pub async fn put_namespace(
        &self,
        tenant: &Arc<Tenant>,
        namespace: Namespace,
        etag: String,
        request: Option<RequestKey>,
    ) -> Result<Changed, WriteError> {
        let change = move |config: &mut TenantConfig| {
            let count = config.namespaces.len();
            let known = config.namespaces.iter_mut().find(|known| known.name == namespace.name);
            guard(&etag, known.as_deref())?;
            let put = match known {
                Some(known) if known.normaliser != namespace.normaliser => {
                    let message = "cannot change once the namespace exists; make another namespace";
                    let fault = FieldFault::new("namespace.normaliser", FaultReason::Malformed, message);
                    return Err(WriteError::Invalid(vec![fault]));
                }
                Some(known) => {
                    *known = Namespace { id: known.id, ..namespace };
                    known.clone()
                }
                None if count >= limits::NAMESPACES_MAX => {
                    return Err(WriteError::Full { what: "namespaces", limit: limits::NAMESPACES_MAX });
                }
                None => {
                    let put = Namespace { id: NamespaceId(count as u16), ..namespace };
                    config.namespaces.push(put.clone());
                    put
                }
            };
            Ok(Changed::Namespace(put))
        };
        self.change_config(tenant, Box::new(change), request).await
    }
}
