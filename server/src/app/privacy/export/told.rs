//! What was told of the person's records beside their fragments: roles and accounts, stages, judgements.

use std::io::Write;

use onefold_core::decision::EntryKind;
use onefold_core::hierarchy::entry::{AccountClosed, AccountPut, AffiliationEnded, AffiliationStated, StageSet};
use onefold_core::ids::Digest128;
use onefold_core::judgement::Verdict;
use serde::de::DeserializeOwned;

use super::document::{Judgement, Record, Shown, Text, Told, Withheld, moment, time};
use super::held::Written;
use super::{ExportError, Making};
use crate::app::error::ReadError;
use crate::app::hierarchy::read::told_at;
use crate::app::read::fragment_at;
use crate::app::review::judged_at;

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Same => "SAME",
        Verdict::Different => "DIFFERENT",
        Verdict::Unsure => "UNSURE",
    }
}

impl Making<'_> {
    fn content<T: DeserializeOwned>(&self, written: &Written) -> Result<Option<T>, ReadError> {
        told_at(&self.app.shared, self.tenant, written.place, written.kind)
    }

    /// The id that callers know an account by.
    fn account(&self, record: Digest128) -> Option<String> {
        let account = self.tenant.state().accounts.forest.find(record)?;
        Some(self.tenant.account_id(account).to_string())
    }

    /// Accounts, roles and stages, in the order in which they were told.
    pub(super) fn accounts<W: Write>(&mut self, text: &mut Text<'_, W>) -> Result<(), ExportError> {
        self.veil.enter("accounts");
        text.list("accounts", |put| {
            for (record, written) in &self.history.told {
                if !self.points.contains(record) {
                    self.veil.count("what was told of a record", Withheld::WhoseIsUnsure);
                } else if let Some(told) = self.told(*record, written)? {
                    put(told)?;
                }
            }
            Ok(())
        })
    }

    /// `None` where the key of it was destroyed, and of a stage that a namesake of the other kind reached.
    fn told(&mut self, record: Digest128, written: &Written) -> Result<Option<Told>, ExportError> {
        let mut told = Told {
            sequence: written.sequence.0,
            told_time: time(written.at),
            what: "",
            text: None,
            account: None,
            note: None,
            since_time: None,
            until_time: None,
        };
        match written.kind {
            EntryKind::AccountPut => {
                let Some(put) = self.content::<AccountPut>(written)? else { return Ok(None) };
                told.what = "ACCOUNT";
                told.text = Some(self.veil.text("the name of an account", &put.name));
                told.since_time = moment(put.since);
                if !put.owner.is_empty() {
                    // Whoever looks after it is somebody else.
                    self.veil.count("who looks after an account", Withheld::NamesSomebodyElse);
                }
            }
            EntryKind::AccountParentSet => told.what = "PARENT",
            EntryKind::AccountClosed => {
                let Some(closed) = self.content::<AccountClosed>(written)? else { return Ok(None) };
                told.what = "CLOSED";
                told.since_time = closed.at.and_then(moment);
            }
            EntryKind::AffiliationStated => {
                let Some(stated) = self.content::<AffiliationStated>(written)? else { return Ok(None) };
                told.what = "ROLE";
                told.text = Some(self.veil.text("a role", &stated.role));
                told.account = self.account(stated.account);
                told.since_time = moment(stated.since);
                told.until_time = stated.until.and_then(moment);
            }
            EntryKind::AffiliationEnded => {
                let Some(ended) = self.content::<AffiliationEnded>(written)? else { return Ok(None) };
                told.what = "ROLE_ENDED";
                told.account = self.account(ended.account);
                told.until_time = moment(ended.until);
            }
            _ => {
                let set = self.content::<StageSet>(written)?;
                let Some(set) = set.filter(|set| self.picture.told_of.contains(&(set.party, record))) else {
                    return Ok(None);
                };
                told.what = "STAGE";
                let name = self.tenant.state().accounts.lifecycle.name(set.stage).to_owned();
                told.text = Some(Shown::Value(name));
                told.note = (!set.note.is_empty()).then(|| self.veil.text("a note", &set.note));
                told.since_time = moment(set.at);
            }
        }
        Ok(Some(told))
    }

    /// Judgements in force. A record of somebody else, and words that speak of it, are withheld.
    pub(super) fn judgements<W: Write>(&mut self, text: &mut Text<'_, W>) -> Result<(), ExportError> {
        self.veil.enter("judgements");
        text.list("judgements", |put| {
            for (entry, told) in &self.picture.judgements {
                if !self.are_theirs(&[told.records.0, told.records.1]) {
                    self.veil.count("a judgement", Withheld::WhoseIsUnsure);
                    continue;
                }
                let Some(judged) = judged_at(&self.app.shared, self.tenant, told.place)? else { continue };
                let (mut records, mut theirs_alone) = (Vec::new(), true);
                for digest in [told.records.0, told.records.1] {
                    let record = self.own(digest)?;
                    theirs_alone &= matches!(record, Shown::Value(_));
                    records.push(record);
                }
                let reason = if theirs_alone {
                    self.veil.text("the reason of a judgement", &judged.reason)
                } else {
                    self.veil.count("the reason of a judgement", Withheld::NamesSomebodyElse);
                    Shown::Withheld { withheld: Withheld::NamesSomebodyElse }
                };
                self.veil.count("who judged", Withheld::NamesSomebodyElse);
                put(Judgement {
                    sequence: entry.0,
                    judged_time: time(judged.judged_at),
                    verdict: verdict(judged.verdict),
                    records,
                    author: Shown::Withheld { withheld: Withheld::NamesSomebodyElse },
                    reason,
                    expire_time: judged.expires_at.map(time),
                })?;
            }
            Ok(())
        })
    }

    /// A record of the person's, by name; empty where its content is gone.
    fn own(&mut self, digest: Digest128) -> Result<Shown<Record>, ExportError> {
        let sure = self.points.contains(&digest);
        let found = self.picture.records.iter().find(|(record, _)| sure && record.digest == digest);
        let Some((scoped, view)) = found else {
            self.veil.count("a record", Withheld::NamesSomebodyElse);
            return Ok(Shown::Withheld { withheld: Withheld::NamesSomebodyElse });
        };
        let Some(view) = view.filter(|view| view.live) else {
            return Ok(Shown::Value(Record { source: self.source(scoped.source), key: Shown::Value(String::new()) }));
        };
        let fragment = fragment_at(&self.app.shared, &self.tenant.vault, view.place)?;
        Ok(Shown::Value(self.named(&fragment.record)))
    }
}
