//! ProfileService: lookups, explanations, history, and the feed.

mod search;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use onefold_core::change::ProfileChange;
use onefold_core::consent::PurposeId;
use onefold_core::fault::FaultReason;
use onefold_core::fragment::{PartyKind, SourceRecord};
use onefold_core::ids::{ProfileOrdinal, Sequence};
use onefold_core::reads::ReadCall;
use onefold_matching::resolve::Standing;
use onefold_proto::Encoded;
use onefold_proto::v1 as pb;
use onefold_proto::v1::profile_service_server::ProfileService;
use prost::{Message as _, encoding};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert::fragment::{self as door, timestamp};
use super::convert::profile::{self as convert, Shown};
use super::mount::answer;
use super::page::{self, Page};
use super::serving::{Asked, Served, Serving};
use super::{names, reading, rights, status};
use crate::app::error::ReadError;
use crate::app::feed::Cursor;
use crate::app::keeper::{self, HistoryEvent};
use crate::app::read::{self, ProfileKey};
use crate::app::tenant::{LiveConfig, Tenant};
use crate::app::{App, explain};
use crate::config;

/// Keys of one batch lookup.
const BATCH_MAX: usize = 1_000;
/// The field of `BatchLookupProfilesResponse` that holds the results.
const RESULTS: u32 = 1;
/// Bytes in front of one result of a batch or a search: its tag and its length.
const RESULT_HEAD_BYTES: usize = 6;
/// Events read from the journal at once.
const WATCH_STEP: usize = 512;
/// Messages of one watch that may wait for a slow reader; then it is not read further.
const WATCH_DEPTH_MAX: usize = 16;
/// How long a slow reader is given to hear that the server goes down.
const LAST_WORD_MAX: Duration = Duration::from_secs(5);
/// A watch without news says so this often.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// The service.
#[derive(Clone, Debug)]
pub struct Profiles {
    /// The use cases.
    pub app: Arc<App>,
    /// Lets profiles out.
    pub serving: Serving,
}

fn shown(view: pb::ProfileView, mask: Option<prost_types::FieldMask>) -> Result<Shown, Status> {
    Shown::read(view, mask).map_err(|message| status::field("read_mask", FaultReason::Unknown, message))
}

fn failed(tenant: &Tenant, error: ReadError) -> Status {
    status::ReadErrorIn { tenant: &tenant.name, error }.into()
}

impl Profiles {
    /// What a key leads to; at once where its answer is kept.
    async fn serve(&self, tenant: &Arc<Tenant>, key: &ProfileKey, asked: &Asked) -> Result<Served, ReadError> {
        match self.serving.at_once(tenant, key, asked) {
            Some(served) => served,
            // Apart, since most calls do not come here, and all would carry the room for it.
            None => Box::pin(self.serving.serve(tenant, key, asked)).await,
        }
    }

    fn live(&self, name: &str) -> Result<(Arc<Tenant>, ProfileOrdinal), Status> {
        let (tenant, id) = names::profile(name).map_err(|bad| status::field("name", FaultReason::Malformed, bad.0))?;
        let tenant = reading::named(&self.app, tenant)?;
        let profile = read::find(&tenant, &ProfileKey::Id(id)).map_err(|error| failed(&tenant, error))?;
        Ok((tenant, profile))
    }
}

/// An explanation shows identifiers for no purpose: where one is asked for, it is for whose work is about the data.
fn explains(tenant: &Tenant) -> Result<(), Status> {
    let may = !tenant.noting.purpose_required() || rights::may_read_for_nothing();
    if may { Ok(()) } else { Err(status::role_not_allowed()) }
}

/// The purpose of a read of profiles.
fn purpose(name: &str, tenant: &Tenant, config: &LiveConfig) -> Result<Option<PurposeId>, Status> {
    reading::purpose(name, (tenant, ReadCall::GetProfile), config, rights::may_read_for_nothing())
}

fn identifier_key(wire: pb::Identifier, party: Option<PartyKind>, config: &LiveConfig) -> Result<ProfileKey, Status> {
    match config.namespace_named(&wire.namespace) {
        Some(namespace) => Ok(ProfileKey::Identifier(namespace, wire.value, party)),
        None => {
            let near = names::nearest(&wire.namespace, config.namespace_names());
            let hint = near.map(|near| format!("; the nearest is `{near}`")).unwrap_or_default();
            let message = format!("no namespace has this name{hint}; ListNamespaces shows all");
            Err(status::field("identifier.namespace", FaultReason::Unknown, message))
        }
    }
}

fn record_key(wire: Option<pb::SourceRecord>, path: &str, config: &LiveConfig) -> Result<SourceRecord, Status> {
    let mut faults = Vec::new();
    door::record(wire, path, config, &mut faults)
        .filter(|_| faults.is_empty())
        .ok_or_else(|| status::ReadErrorIn { tenant: "", error: ReadError::Invalid(faults) }.into())
}

const fn party(kind: pb::PartyKind) -> Option<PartyKind> {
    match kind {
        pb::PartyKind::Unspecified => None,
        pb::PartyKind::Person => Some(PartyKind::Person),
        pb::PartyKind::Organisation => Some(PartyKind::Organisation),
    }
}

fn batch_reason(error: &ReadError) -> Option<&'static str> {
    Some(match error {
        ReadError::ProfileUnknown => "PROFILE_NOT_FOUND",
        ReadError::ProfileEmptied => "PROFILE_EMPTIED",
        ReadError::ProfileErased => "PROFILE_ERASED",
        ReadError::ProfileSplit { .. } => "PROFILE_SPLIT",
        ReadError::IdentifierShared { .. } => "IDENTIFIER_SHARED",
        ReadError::Invalid(_) => "IDENTIFIER_INVALID",
        ReadError::PurposeNotPermitted { .. } => "PURPOSE_NOT_PERMITTED",
        _ => return None,
    })
}

#[tonic::async_trait]
impl ProfileService for Profiles {
    type WatchProfilesStream = Pin<Box<dyn Stream<Item = Result<pb::WatchProfilesResponse, Status>> + Send>>;

    async fn get_profile(
        &self,
        request: Request<pb::GetProfileRequest>,
    ) -> Result<Response<Encoded<pb::GetProfileResponse>>, Status> {
        let mut request = request.into_inner();
        let shown = shown(request.view(), request.read_mask.take())?;
        let (tenant, id) =
            names::profile(&request.name).map_err(|bad| status::field("name", FaultReason::Malformed, bad.0))?;
        let tenant = reading::named(&self.app, tenant)?;
        reading::reached(&tenant, request.min_sequence).await?;
        let asked =
            Asked { call: ReadCall::GetProfile, shown, purpose: purpose(&request.purpose, &tenant, &tenant.config())? };
        let served = self.serve(&tenant, &ProfileKey::Id(id), &asked).await;
        Ok(answer(served.map_err(|error| failed(&tenant, error))?.into()))
    }

    async fn lookup_profile(
        &self,
        request: Request<pb::LookupProfileRequest>,
    ) -> Result<Response<Encoded<pb::LookupProfileResponse>>, Status> {
        let mut request = request.into_inner();
        let shown = shown(request.view(), request.read_mask.take())?;
        let tenant = reading::tenant(&self.app, &request.parent)?;
        reading::reached(&tenant, request.min_sequence).await?;
        let party = party(request.party_kind());
        let config = tenant.config();
        let key = match request.key {
            Some(pb::lookup_profile_request::Key::Identifier(identifier)) => {
                identifier_key(identifier, party, &config)?
            }
            Some(pb::lookup_profile_request::Key::Record(record)) => {
                ProfileKey::Record(record_key(Some(record), "record", &config)?)
            }
            None => return Err(status::field("key", FaultReason::Missing, "give an identifier or a record")),
        };
        let asked =
            Asked { call: ReadCall::LookupProfile, shown, purpose: purpose(&request.purpose, &tenant, &config)? };
        let served = self.serve(&tenant, &key, &asked).await;
        Ok(answer(served.map_err(|error| failed(&tenant, error))?.into()))
    }

    async fn batch_lookup_profiles(
        &self,
        request: Request<pb::BatchLookupProfilesRequest>,
    ) -> Result<Response<Encoded<pb::BatchLookupProfilesResponse>>, Status> {
        let mut request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        let shown = shown(request.view(), request.read_mask.take())?;
        if request.keys.is_empty() {
            return Err(status::field("keys", FaultReason::Missing, "give at least one key"));
        }
        if request.keys.len() > BATCH_MAX {
            return Err(status::field("keys", FaultReason::TooLarge, format!("at most {BATCH_MAX} are allowed")));
        }
        reading::reached(&tenant, request.min_sequence).await?;
        let known = tenant.config();
        let asked =
            Asked { call: ReadCall::BatchLookupProfiles, shown, purpose: purpose(&request.purpose, &tenant, &known)? };
        // The answer is put together encoded: results that are kept are copied into it as they lie.
        let mut results = Vec::new();
        let count = request.keys.len();
        for (place, key) in request.keys.into_iter().enumerate() {
            let none = |reason: &str| {
                Encoded::Message(pb::BatchLookupResult { reason: reason.to_owned(), ..Default::default() })
            };
            let key = match key.key {
                Some(pb::profile_key::Key::Name(name)) => match names::profile(&name) {
                    Ok((of, id)) if of == tenant.name => Ok(ProfileKey::Id(id)),
                    Ok(_) => Err("PROFILE_NOT_FOUND"),
                    Err(_) => Err("IDENTIFIER_INVALID"),
                },
                Some(pb::profile_key::Key::Identifier(identifier)) => {
                    identifier_key(identifier, None, &known).map_err(|_| "NAMESPACE_UNKNOWN")
                }
                Some(pb::profile_key::Key::Record(record)) => {
                    record_key(Some(record), "record", &known).map(ProfileKey::Record).map_err(|_| "SOURCE_UNKNOWN")
                }
                None => Err("IDENTIFIER_INVALID"),
            };
            let result = match key {
                Err(reason) => none(reason),
                Ok(key) => match self.serve(&tenant, &key, &asked).await {
                    Ok(served) => served.into(),
                    Err(error) => match batch_reason(&error) {
                        Some(reason) => none(reason),
                        None => return Err(failed(&tenant, error)),
                    },
                },
            };
            if place == 0 {
                let each = result.encoded_len() + RESULT_HEAD_BYTES;
                results.reserve((each * count).min(config::MESSAGE_OUT_BYTES_MAX));
            }
            encoding::message::encode(RESULTS, &result, &mut results);
            if results.len() > config::MESSAGE_OUT_BYTES_MAX {
                let hint =
                    format!("it was after {} of the keys; ask for fewer, or name fields in read_mask", place + 1);
                return Err(status::answer_too_large(config::MESSAGE_OUT_BYTES_MAX, &hint));
            }
        }
        Ok(answer(Encoded::Bytes(results.into())))
    }

    async fn search_profiles(
        &self,
        request: Request<pb::SearchProfilesRequest>,
    ) -> Result<Response<pb::SearchProfilesResponse>, Status> {
        self.search(request.into_inner()).await.map(answer)
    }

    async fn explain_link(
        &self,
        request: Request<pb::ExplainLinkRequest>,
    ) -> Result<Response<pb::ExplainLinkResponse>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        explains(&tenant)?;
        let config = tenant.config();
        let first = record_key(request.first, "first", &config)?;
        let second = record_key(request.second, "second", &config)?;
        let (app, of) = (Arc::clone(&self.app), Arc::clone(&tenant));
        let found = tokio::task::spawn_blocking(move || {
            let why = explain::why(&app, &of, &first, &second).map_err(|error| failed(&of, error))?;
            Ok::<_, Status>(convert::why(why, &of, &config))
        });
        let found = found.await.map_err(|_| Status::internal("the explanation was interrupted"))??;
        let shown = reading::ordinals(&tenant, [found.first_profile.as_str(), found.second_profile.as_str()]);
        reading::showing(&self.app, &tenant, ReadCall::ExplainLink, shown)?;
        Ok(answer(found))
    }

    async fn explain_profile(
        &self,
        request: Request<pb::ExplainProfileRequest>,
    ) -> Result<Response<pb::ExplainProfileResponse>, Status> {
        let (tenant, profile) = self.live(&request.into_inner().name)?;
        explains(&tenant)?;
        reading::showing(&self.app, &tenant, ReadCall::ExplainProfile, Some(profile))?;
        let app = Arc::clone(&self.app);
        tokio::task::spawn_blocking(move || {
            let how = explain::how(&app, &tenant, profile).map_err(|error| failed(&tenant, error))?;
            let name = names::of_profile(&tenant.name, tenant.profile_id(profile));
            Ok(answer(convert::how(how, name, &tenant.config())))
        })
        .await
        .map_err(|_| Status::internal("the explanation was interrupted"))?
    }

    async fn list_profile_history(
        &self,
        request: Request<pb::ListProfileHistoryRequest>,
    ) -> Result<Response<pb::ListProfileHistoryResponse>, Status> {
        let request = request.into_inner();
        let (tenant, id) =
            names::profile(&request.name).map_err(|bad| status::field("name", FaultReason::Malformed, bad.0))?;
        let tenant = reading::named(&self.app, tenant)?;
        let query = format!("history/{}", request.name);
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        let profile = id.open(&tenant.keys.id).ok_or_else(|| failed(&tenant, ReadError::ProfileUnknown))?;
        self.app.shared.kept.caught_up().await.map_err(|error| failed(&tenant, error))?;
        let (standing, ends, opened) = {
            let state = tenant.state();
            let opened = state.times.get(profile.0 as usize).map(|times| times.opened);
            (state.engine.lives_on(profile), state.engine.live_ends(profile), opened)
        };
        reading::durable(&tenant).await?;
        let state = match standing {
            Standing::Live => pb::ProfileState::Live,
            Standing::MergedInto(_) => pb::ProfileState::Merged,
            Standing::SplitInto(_) => pb::ProfileState::Split,
            Standing::Emptied => pb::ProfileState::Emptied,
            Standing::Erased => pb::ProfileState::Erased,
            Standing::Unknown => return Err(failed(&tenant, ReadError::ProfileUnknown)),
        };
        let name = |profile: ProfileOrdinal| names::of_profile(&tenant.name, tenant.profile_id(profile));
        let mut events = Vec::new();
        if let (0, Some(opened)) = (page.from, opened) {
            events.push(pb::ProfileEvent {
                sequence: opened.0,
                kind: pb::ProfileEventKind::Created as i32,
                profile: name(profile),
                stays_live: true,
                ..Default::default()
            });
        }
        let found = keeper::read_history(&self.app.shared, tenant.id, profile, Sequence(page.from), page.size + 1)
            .map_err(|error| failed(&tenant, error))?;
        let more = found.len() > page.size;
        let mut last = page.from;
        for (sequence, event) in found.into_iter().take(page.size) {
            last = sequence.0;
            let (kind, others, stays_live, at) = match event {
                HistoryEvent::Merged { into, at } => (pb::ProfileEventKind::Merged, vec![name(into)], false, at),
                HistoryEvent::Absorbed { from, at } => (pb::ProfileEventKind::Absorbed, vec![name(from)], true, at),
                HistoryEvent::Split { into, stays, at } => {
                    (pb::ProfileEventKind::Split, into.into_iter().map(name).collect(), stays, at)
                }
                HistoryEvent::Emptied { at } => (pb::ProfileEventKind::Emptied, Vec::new(), false, at),
                HistoryEvent::Erased { gone, at } => (pb::ProfileEventKind::Erased, Vec::new(), !gone, at),
            };
            events.push(pb::ProfileEvent {
                sequence: sequence.0,
                previous_sequence: 0,
                kind: kind as i32,
                profile: name(profile),
                others,
                stays_live,
                commit_time: Some(timestamp(at)),
                account: String::new(),
            });
        }
        let next_page_token = if more { page::seal(&self.app.page_key, &query, last) } else { String::new() };
        let current = ends.into_iter().map(name).collect();
        Ok(answer(pb::ListProfileHistoryResponse { state: state as i32, current, events, next_page_token }))
    }

    async fn watch_profiles(
        &self,
        request: Request<pb::WatchProfilesRequest>,
    ) -> Result<Response<Self::WatchProfilesStream>, Status> {
        let request = request.into_inner();
        let tenant = reading::tenant(&self.app, &request.parent)?;
        if request.snapshot && request.cursor != 0 {
            let message = "a snapshot starts at its own moment; leave the cursor 0";
            return Err(status::field("cursor", FaultReason::Malformed, message));
        }
        let shown = match request.view() {
            pb::ProfileView::Unspecified if request.purpose.is_empty() => None,
            pb::ProfileView::Unspecified => {
                let message = "without a view nothing of a profile is shown; leave the purpose out";
                return Err(status::field("purpose", FaultReason::Malformed, message));
            }
            view => Some(Asked {
                call: ReadCall::WatchProfiles,
                shown: shown(view, None)?,
                purpose: purpose(&request.purpose, &tenant, &tenant.config())?,
            }),
        };
        let start = if request.snapshot { tenant.durable() } else { Sequence(request.cursor) };
        let cursor = Cursor::after(&tenant, start).map_err(|error| failed(&tenant, error))?;
        let (out, messages) = mpsc::channel(WATCH_DEPTH_MAX);
        let reached = tenant.meters.follow(cursor.after);
        let service = self.clone();
        let watch = Watch { service, tenant, shown, out, cursor, reached, stop_at_end: request.stop_at_end };
        tokio::spawn(rights::carried(watch.run(request.snapshot)));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

type Message = pb::watch_profiles_response::Message;

/// One watch: a task between the journal and a reader.
struct Watch {
    service: Profiles,
    tenant: Arc<Tenant>,
    shown: Option<Asked>,
    out: mpsc::Sender<Result<pb::WatchProfilesResponse, Status>>,
    cursor: Cursor,
    /// How far its reader is, for whoever watches over the server.
    reached: Arc<AtomicU64>,
    stop_at_end: bool,
}

/// What a reader is shown of a profile beside that something happened to it.
#[derive(Default)]
struct Seen {
    profile: Option<pb::Profile>,
    withheld: Vec<pb::Withheld>,
    not_permitted: Vec<String>,
}

/// The reader is gone, or the server goes down.
struct Over;

impl Watch {
    async fn run(mut self, snapshot: bool) {
        let mut stop = self.service.app.stop.subscribe();
        let out = self.out.clone();
        tokio::select! {
            _ = self.all(snapshot) => {}
            () = out.closed() => {}
            () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                // Without this word a reader would take the end of the stream for the end of the feed.
                let word = status::stopping();
                let _ = tokio::time::timeout(LAST_WORD_MAX, out.send(Err(word))).await;
            }
        }
    }

    async fn all(&mut self, snapshot: bool) -> Result<(), Over> {
        if snapshot {
            self.snapshot().await?;
        }
        let mut durable = self.tenant.follow();
        loop {
            durable.borrow_and_update();
            let events = self.read().await?;
            if events.is_empty() {
                if self.stop_at_end {
                    return Ok(());
                }
                match tokio::time::timeout(HEARTBEAT_EVERY, durable.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(Over),
                    Err(_) => {
                        self.say(Message::Heartbeat(pb::Heartbeat {}), self.cursor.after, Seen::default()).await?
                    }
                }
                continue;
            }
            for event in events {
                let seen = match (&self.shown, tells_about(&event.change)) {
                    (Some(shown), Some(profile)) => self.now(profile, shown).await?,
                    _ => Seen::default(),
                };
                let message = Message::Event(convert::event(&event, &self.tenant));
                self.say(message, event.sequence, seen).await?;
                self.reached.store(event.sequence.0, Ordering::Relaxed);
            }
        }
    }

    async fn read(&mut self) -> Result<VecDeque<crate::app::feed::Event>, Over> {
        let (app, tenant) = (Arc::clone(&self.service.app), Arc::clone(&self.tenant));
        let mut cursor = self.cursor;
        let read = tokio::task::spawn_blocking(move || {
            let events = cursor.read(&app, &tenant, WATCH_STEP);
            (events, cursor)
        })
        .await;
        match read {
            Ok((Ok(events), cursor)) => {
                self.cursor = cursor;
                Ok(events.into())
            }
            Ok((Err(error), _)) => self.fail(failed(&self.tenant, error)).await,
            Err(_) => Err(Over),
        }
    }

    async fn snapshot(&mut self) -> Result<(), Over> {
        let mut from = ProfileOrdinal(0);
        let mut profile_count = 0;
        loop {
            let step: Vec<ProfileOrdinal> = self.tenant.state().engine.live_profiles(from).take(WATCH_STEP).collect();
            let Some(last) = step.last() else { break };
            from = ProfileOrdinal(last.0 + 1);
            if let Err(status) = reading::durable(&self.tenant).await {
                return self.fail(status).await;
            }
            for profile in step {
                let mut seen = match &self.shown {
                    Some(shown) => self.now(profile, shown).await?,
                    None => Seen { profile: Some(self.named(profile)), ..Seen::default() },
                };
                if !seen.not_permitted.is_empty() {
                    seen.profile = Some(self.named(profile));
                }
                // One that ended since is told by the tail.
                if let Some(shown) = seen.profile.take() {
                    profile_count += 1;
                    self.say(Message::Snapshot(shown), Sequence(0), seen).await?;
                }
            }
        }
        self.say(Message::SnapshotEnd(pb::SnapshotEnd { profile_count }), self.cursor.after, Seen::default()).await
    }

    /// No more than that it is there.
    fn named(&self, profile: ProfileOrdinal) -> pb::Profile {
        pb::Profile {
            name: names::of_profile(&self.tenant.name, self.tenant.profile_id(profile)),
            sequence: self.tenant.state().changed(profile).0,
            ..Default::default()
        }
    }

    async fn now(&self, profile: ProfileOrdinal, shown: &Asked) -> Result<Seen, Over> {
        let serving = &self.service.serving;
        let seen = match shown.purpose {
            None => serving.show(&self.tenant, profile, shown).await.map(|profile| Some((profile, Vec::new()))),
            Some(purpose) => serving.show_for(&self.tenant, profile, shown, purpose).await,
        };
        match seen {
            Ok(seen) => {
                let (profile, withheld) =
                    seen.map_or((None, Vec::new()), |(profile, withheld)| (Some(profile), withheld));
                Ok(Seen { profile, withheld, not_permitted: Vec::new() })
            }
            Err(ReadError::ProfileUnknown) => Ok(Seen::default()),
            Err(ReadError::PurposeNotPermitted { reasons }) => {
                let not_permitted = reasons.into_iter().map(str::to_owned).collect();
                Ok(Seen { not_permitted, ..Seen::default() })
            }
            Err(error) => self.fail(failed(&self.tenant, error)).await,
        }
    }

    async fn say(&self, message: Message, cursor: Sequence, seen: Seen) -> Result<(), Over> {
        let Seen { profile, withheld, not_permitted } = seen;
        let message = Some(message);
        let response = pb::WatchProfilesResponse { message, cursor: cursor.0, profile, withheld, not_permitted };
        self.out.send(Ok(response)).await.map_err(|_| Over)
    }

    async fn fail<T>(&self, status: Status) -> Result<T, Over> {
        let _ = self.out.send(Err(status)).await;
        Err(Over)
    }
}

/// The profile that a reader wants to see after a change.
const fn tells_about(change: &ProfileChange<u32>) -> Option<ProfileOrdinal> {
    match change {
        ProfileChange::Merged { into, .. } => Some(*into),
        other => other.subject(),
    }
}
