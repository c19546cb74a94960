//! A source may know a person and an account by one key. What calls tell of the two is sealed under two keys, so that an
//! erasure of the one leaves the other. Older releases sealed both under one: before that key is destroyed, what is told of
//! the one who stays is told again, word for word, under a key of its own.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use onefold_core::decision::{self, EntryKind};
use onefold_core::erasure::ScopedTold;
use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::entry::{AccountClosed, AccountPut, AffiliationEnded, AffiliationStated};
use onefold_core::ids::Digest128;
use onefold_store::journal::JournalError;

use super::digest::Digester;
use super::history;
use super::read::told_at;
use super::state::Effect;
use super::write::{Draft, Keys, write};
use crate::app::error::{ReadError, WriteError};
use crate::app::lane::Lane;
use crate::app::tenant::Tenant;
use crate::app::writer::Reply;

/// How often, and how many times, the lane looks whether sled has all stages that were told.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS_MAX: usize = 250;

const fn other(party: PartyKind) -> PartyKind {
    match party {
        PartyKind::Person => PartyKind::Organisation,
        PartyKind::Organisation => PartyKind::Person,
    }
}

/// LAW 7, and no further: gives those a key of their own who stay, and share one with what is about to be erased. Answers
/// with what is in the way; nothing may be erased then.
pub fn keep_apart(
    lane: &mut Lane,
    tenant: &Arc<Tenant>,
    erased: &[ScopedTold],
) -> Result<Option<WriteError>, JournalError> {
    for told in erased {
        let stays = other(told.party);
        let shares = {
            let slots = &tenant.state().accounts.slots;
            let (own, other) = (slots.get(&(told.party, told.record)), slots.get(&(stays, told.record)));
            own.is_some() && own == other
        };
        if !shares {
            continue;
        }
        lane.drain()?;
        let drafts = match again(lane, tenant, stays, told.record) {
            Ok(drafts) => drafts,
            Err(error) => return Ok(Some(error.into())),
        };
        let refused = RefCell::new(None);
        let answer = |result: Result<_, WriteError>| -> Reply {
            *refused.borrow_mut() = result.err();
            Reply::Then(Box::new(|_| ()))
        };
        write(lane, tenant, drafts, Keys::Fresh, None, answer)?;
        if let Some(error) = refused.into_inner() {
            return Ok(Some(error));
        }
    }
    Ok(None)
}

/// All that calls told of a record as this kind of party, and that holds or is history, to be told again.
fn again(lane: &Lane, tenant: &Arc<Tenant>, party: PartyKind, record: Digest128) -> Result<Vec<Draft>, ReadError> {
    let shared = &lane.shared;
    let mut looks = 0;
    while !shared.kept.is_caught_up() {
        if looks >= LOOKS_MAX {
            return Err(ReadError::HistoryBehind);
        }
        looks += 1;
        thread::sleep(LOOK_EVERY);
    }
    let mut drafts = match party {
        PartyKind::Person => roles(lane, tenant, record)?,
        PartyKind::Organisation => account(lane, tenant, record)?,
    };
    for (_, set) in history::called(shared, tenant, party, record)? {
        let content = decision::encode(&set);
        drafts.push(Draft { kind: EntryKind::StageSet, record, content, effect: Effect::Stage(set) });
    }
    Ok(drafts)
}

fn account(lane: &Lane, tenant: &Arc<Tenant>, record: Digest128) -> Result<Vec<Draft>, ReadError> {
    let config = tenant.config();
    let digester = Digester::new(&config, &tenant.keys.index);
    let (place, stands) = {
        let state = tenant.state();
        let accounts = &state.accounts;
        let place = accounts.forest.find(record).and_then(|account| accounts.rows.get(account.0 as usize)?.place);
        (place, accounts.vacated(record))
    };
    let mut drafts = Vec::new();
    let told = place.map(|place| told_at::<AccountPut>(&lane.shared, tenant, place, EntryKind::AccountPut));
    if let Some(told) = told.transpose()?.flatten() {
        let told = AccountPut { parent: None, ..told };
        let effect = Effect::put(&told, record, &digester);
        drafts.push(Draft { kind: EntryKind::AccountPut, record, content: decision::encode(&told), effect });
    }
    if let Some(stands) = stands {
        for set in stands.parents {
            let (content, effect) = (decision::encode(&set), Effect::Parent(set));
            drafts.push(Draft { kind: EntryKind::AccountParentSet, record, content, effect });
        }
        if stands.closed.is_some() {
            let closed = AccountClosed { at: stands.closed };
            let (content, effect) = (decision::encode(&closed), Effect::Closed(closed));
            drafts.push(Draft { kind: EntryKind::AccountClosed, record, content, effect });
        }
    }
    Ok(drafts)
}

fn roles(lane: &Lane, tenant: &Arc<Tenant>, record: Digest128) -> Result<Vec<Draft>, ReadError> {
    let config = tenant.config();
    let digester = Digester::new(&config, &tenant.keys.index);
    let held = tenant.state().accounts.affiliations.of_person(record).to_vec();
    let mut drafts = Vec::new();
    for held in held.iter().filter(|held| !held.is_of_fragment()) {
        let told = told_at::<AffiliationStated>(&lane.shared, tenant, held.place, EntryKind::AffiliationStated)?;
        let Some(told) = told else { continue };
        let ended = held.until.filter(|_| held.until != told.until);
        let (content, effect) = (decision::encode(&told), Effect::Affiliated(digester.role(&told.role), told));
        drafts.push(Draft { kind: EntryKind::AffiliationStated, record, content, effect });
        if let Some(until) = ended {
            let ended = AffiliationEnded { account: held.account, role: held.role, until };
            let (content, effect) = (decision::encode(&ended), Effect::Ended(ended));
            drafts.push(Draft { kind: EntryKind::AffiliationEnded, record, content, effect });
        }
    }
    Ok(drafts)
}
