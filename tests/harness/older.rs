//! What older releases wrote, put behind the journal of a server that is down.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a directory that cannot be read fails the test")]

use std::collections::BTreeMap;
use std::path::Path;

use onefold_core::decision::{self, EntryKind, TenantOpened};
use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::Moment;
use onefold_core::hierarchy::affiliation::Origin;
use onefold_core::hierarchy::entry::{AccountPut, AffiliationStated, StageSet, Subject};
use onefold_core::ids::{Digest128, Sequence, TenantId};
use onefold_core::lifecycle::StageId;
use onefold_store::datadir::{DataDir, OpenOptions};
use onefold_store::journal::{EntryKind as Kind, Journal, JournalOptions};
use onefold_store::vault::Vault;

use crate::SEGMENT_BYTES;

/// Tells of a person with the source and key of an account, of whom nothing was told yet: a role in another account, and a
/// stage; under the key of the account, as releases did that had one key for both.
pub fn tell_namesake_under_one_key(data: &Path, account: &str, role_in: &str, stage: StageId) {
    let dir = DataDir::open(data, OpenOptions::default()).unwrap();
    let mut vaults: BTreeMap<TenantId, Vault> = BTreeMap::new();
    let mut accounts: BTreeMap<String, (Subject, AccountPut)> = BTreeMap::new();
    let mut last: Option<(TenantId, Sequence, i64)> = None;
    let options = JournalOptions { dir: dir.journal(), segment_bytes: SEGMENT_BYTES };
    let mut opened = Journal::open(options, None, |batch| {
        for entry in batch.entries() {
            last = Some((entry.tenant, entry.sequence, batch.time_micros));
            let Some(payload) = entry.bytes() else { continue };
            if entry.kind.0 == EntryKind::TenantOpened as u8 {
                let keys = dir.tenant_keys(&TenantOpened::decode(payload)?.wrapped_keys, entry.tenant)?;
                vaults.insert(entry.tenant, dir.open_vault(entry.tenant, &keys)?);
            } else if entry.kind.0 == EntryKind::AccountPut as u8 {
                let (subject, ciphertext) = Subject::parse(payload)?;
                let key = vaults[&entry.tenant].key(subject.slot)?;
                let plain = entry.seal_context().open(&key, 0, &subject.header(), ciphertext)?;
                let put: AccountPut = decision::decode(&plain)?;
                accounts.insert(put.record.key.clone(), (subject, put));
            }
        }
        Ok(())
    })
    .unwrap();
    let (tenant, sequence, at) = last.unwrap();
    let (subject, put) = &accounts[account];
    let to: Digest128 = accounts[role_in].0.record;
    let stated = AffiliationStated {
        person: put.record.clone(),
        account: to,
        role: "buyer".to_owned(),
        since: Moment(0),
        until: None,
        origin: Origin::Stated,
    };
    let source = put.record.source;
    let set = StageSet { party: PartyKind::Person, source, stage, at: Moment(at), note: "told long ago".to_owned() };
    let entries =
        [(EntryKind::AffiliationStated, decision::encode(&stated)), (EntryKind::StageSet, decision::encode(&set))];
    opened.appender.ensure_room(16 << 10).unwrap();
    let mut batch = opened.appender.begin().unwrap();
    let header = Subject { opens: false, ..*subject }.header();
    let key = vaults[&tenant].key(subject.slot).unwrap();
    let mut sequence = sequence;
    for (kind, content) in entries {
        sequence = sequence.next();
        batch
            .push(tenant, sequence, Kind(kind as u8), |context, out| {
                out.extend_from_slice(&header);
                context.seal(&key, 0, &header, &content, out);
            })
            .unwrap();
    }
    let batch = opened.appender.seal(batch, at).unwrap();
    opened.writer.write(batch).unwrap();
    opened.writer.sync().unwrap();
}
