//! Items taken: runs of several commands in one batch, or one command in several.

use std::sync::Arc;

use onefold_core::decision::Sealed;
use onefold_store::journal::{JournalError, entry_room};
use onefold_store::seal::TAG_BYTES;
use tokio::sync::oneshot;

use super::{Command, Group, Lane};
use crate::app::consent;
use crate::app::decide::{decide, parting};
use crate::app::error::WriteError;
use crate::app::ingest::{Answer, Item};
use crate::app::requests::{RequestKey, remember};
use crate::app::tenant::Tenant;
use crate::app::writer::Reply;

/// What settling usually says about one item.
const SETTLED_BYTES_PER_ITEM: usize = 96;

/// An ingest command taken apart.
type Run = (Arc<Tenant>, Vec<Item>, IngestReply);

/// What one tenant has in a group.
struct Share {
    tenant: Arc<Tenant>,
    items: Vec<Item>,
    /// How many of the items each command brought.
    replies: Vec<(usize, IngestReply)>,
}

/// Where the answers of an ingest command go.
type IngestReply = oneshot::Sender<Result<Vec<Answer>, WriteError>>;

impl Lane {
    /// What arrives, looked at under the configuration in force: before its room is counted, for faults take room too.
    pub(super) fn up_to_date(&self, command: Command) -> Command {
        match command {
            Command::Ingest { tenant, items, request, reply } if are_stale(&tenant, &items) => {
                let (config, now) = (tenant.config(), self.shared.clock.now());
                let items = items.into_iter().map(|item| item.under(&config, now)).collect();
                Command::Ingest { tenant, items, request, reply }
            }
            command => command,
        }
    }

    pub(super) fn ingest(
        &mut self,
        runs: Vec<Run>,
        items: usize,
        bytes: usize,
        request: Option<RequestKey>,
    ) -> Result<(), JournalError> {
        let each = runs.iter().map(|(tenant, items, _)| parting(tenant, items));
        let (parted, parted_room) = each.fold((0, 0), |(count, room), (more, bytes)| (count + more, room + bytes));
        let room = bytes + parted_room + items * SETTLED_BYTES_PER_ITEM + self.settled_room();
        let keys = parted + runs.iter().flat_map(|(_, items, _)| items).map(Item::keys).sum::<usize>();
        let mut ready = true;
        for (tenant, ..) in &runs {
            ready = ready && self.keys_are_ready(tenant, keys)?;
        }
        let group = if ready { self.begin(room)? } else { None };
        let Some(mut group) = group else {
            for (_, _, reply) in runs {
                let _ = reply.send(Err(WriteError::DiskFull));
            }
            return Ok(());
        };
        // All of one tenant is decided, applied and settled as one, so that readers see facts with their clusters.
        let mut of_tenant: Vec<Share> = Vec::new();
        for (tenant, items, reply) in runs {
            match of_tenant.iter_mut().find(|share| Arc::ptr_eq(&share.tenant, &tenant)) {
                Some(share) => {
                    share.replies.push((items.len(), reply));
                    share.items.extend(items);
                }
                None => {
                    let replies = vec![(items.len(), reply)];
                    of_tenant.push(Share { tenant, items, replies });
                }
            }
        }
        let mut drafts = Vec::with_capacity(of_tenant.len());
        for Share { tenant, items, replies } in of_tenant {
            let (drafted, decided) = decide(&tenant, items, &mut group)?;
            group = self.settle(&tenant, group, decided)?;
            drafts.push((tenant, drafted, replies));
        }
        let mut named = None;
        for (tenant, drafted, replies) in drafts {
            let state = tenant.state();
            let mut drafted = drafted.into_iter();
            for (count, reply) in replies {
                let answers: Vec<Answer> = drafted.by_ref().take(count).map(|draft| draft.finish(&state)).collect();
                if request.is_some() {
                    named = Some((Arc::clone(&tenant), answers.clone()));
                }
                group.commit.replies.push(Reply::Ingest(reply, answers));
            }
        }
        if let Some((tenant, answers)) = named {
            remember(self, &tenant, request, &answers, &mut group)?;
        }
        self.commit(group)
    }

    /// A call that its caller named: again the first answer, if it was made before.
    pub(super) fn ingest_named(
        &mut self,
        tenant: Arc<Tenant>,
        items: Vec<Item>,
        request: RequestKey,
        reply: IngestReply,
    ) -> Result<(), JournalError> {
        let Some(reply) = self.repeat(&tenant, Some(request), reply)? else { return Ok(()) };
        if room_of(&items) > self.group_bytes_max() {
            return self.ingest_in_pieces(&tenant, items, Some(request), reply);
        }
        let (count, bytes) = (items.len(), room_of(&items));
        self.ingest(vec![(tenant, items, reply)], count, bytes, Some(request))
    }

    /// Items that no batch can hold together: batch after batch, answered behind the last.
    pub(in crate::app) fn ingest_in_pieces(
        &mut self,
        tenant: &Arc<Tenant>,
        items: Vec<Item>,
        request: Option<RequestKey>,
        reply: IngestReply,
    ) -> Result<(), JournalError> {
        let mut drafted = Vec::with_capacity(items.len());
        let mut begun: Option<Group> = None;
        let mut items = items.into_iter().peekable();
        while let Some(first) = items.next() {
            let mut bytes = room_of(std::slice::from_ref(&first));
            let mut piece = vec![first];
            let most = self.group_bytes_max();
            while let Some(item) = items.next_if(|item| bytes + room_of(std::slice::from_ref(item)) <= most) {
                bytes += room_of(std::slice::from_ref(&item));
                piece.push(item);
            }
            if let Some(before) = begun.take() {
                self.commit(before)?;
            }
            let (parted, parted_room) = parting(tenant, &piece);
            let room = bytes + parted_room + piece.len() * SETTLED_BYTES_PER_ITEM + self.settled_room();
            let keys = parted + piece.iter().map(Item::keys).sum::<usize>();
            let group = if self.keys_are_ready(tenant, keys)? { self.begin(room)? } else { None };
            let Some(mut group) = group else {
                // What came before stays; to the caller it is unacknowledged, and harmless to send again.
                let _ = reply.send(Err(WriteError::DiskFull));
                return Ok(());
            };
            let (more, decided) = decide(tenant, piece, &mut group)?;
            drafted.extend(more);
            begun = Some(self.settle(tenant, group, decided)?);
        }
        let Some(mut group) = begun else { return Ok(()) };
        let answers: Vec<Answer> = {
            let state = tenant.state();
            drafted.into_iter().map(|draft| draft.finish(&state)).collect()
        };
        remember(self, tenant, request, &answers, &mut group)?;
        group.commit.replies.push(Reply::Ingest(reply, answers));
        self.commit(group)
    }
}

/// Whether some of these were looked at under a configuration that is no longer in force.
pub(super) fn are_stale(tenant: &Tenant, items: &[Item]) -> bool {
    let config = tenant.config();
    items.iter().any(|item| item.is_stale(&config))
}

/// Whether these items may be decided on beside those: as if each had been settled before the next. What fragments do to
/// records shows when their group is settled, so what looks at records waits for that.
pub(in crate::app) fn share_a_group(runs: &[Run], tenant: &Arc<Tenant>, items: &[Item]) -> bool {
    let looks = |item: &Item| matches!(item, Item::Say(saying) if saying.looks_at_records());
    let moves = |item: &Item| !matches!(item, Item::Say(_));
    !items.iter().any(looks) || !runs.iter().any(|(of, items, _)| Arc::ptr_eq(of, tenant) && items.iter().any(moves))
}

/// Bytes of a batch that these items may take, settling not counted.
pub(in crate::app) fn room_of(items: &[Item]) -> usize {
    let own = |item: &Item| entry_room(item.bytes() + Sealed::HEADER_BYTES + TAG_BYTES);
    items.iter().map(|item| own(item) + item.says().iter().map(consent::Saying::room).sum::<usize>()).sum()
}
