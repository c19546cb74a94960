//! What there is to ask stewards, and what they said.

use onefold_core::decision::{self, EntryKind, Sealed};
use onefold_core::fragment::SourceRecord;
use onefold_core::ids::{Digest128, Place, Sequence};
use onefold_core::judgement::Judged;
use onefold_matching::pair::MatchEvidence;
use onefold_matching::resolve::{Question, QuestionCursor};
use onefold_store::vault::VaultError;

use crate::app::error::ReadError;
use crate::app::lane::kind;
use crate::app::tenant::Tenant;
use crate::app::{App, Shared, read};

/// A question, readable.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is asked.
    pub question: Question,
    /// The two source records.
    pub records: (SourceRecord, SourceRecord),
    /// How they match.
    pub evidence: Option<MatchEvidence>,
}

/// A page of questions after `after`, the most valuable first, and whether there are more. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError::Store`] when a record cannot be read.
pub fn questions(
    app: &App,
    tenant: &Tenant,
    after: Option<QuestionCursor>,
    most: usize,
) -> Result<(Vec<Asked>, bool), ReadError> {
    let (found, more) = tenant.seen(|state| {
        let mut questions = state.engine.questions(after, most + 1);
        let more = questions.len() > most;
        questions.truncate(most);
        let with_places = questions.into_iter().filter_map(|question| {
            let (one, other) = question.records;
            let place = |record: Digest128| Some((record, state.engine.record(record)?.place));
            Some((question, (place(one)?, place(other)?), state.engine.match_evidence(one, other)))
        });
        (with_places.collect::<Vec<_>>(), more)
    })?;
    let mut asked = Vec::with_capacity(found.len());
    for (question, (one, other), evidence) in found {
        // What was erased meanwhile is no question any more.
        if let Some(records) = name_of(app, tenant, one)?.zip(name_of(app, tenant, other)?) {
            asked.push(Asked { question, records, evidence });
        }
    }
    Ok((asked, more))
}

/// What a source calls the record that was live at a place; `None` when it is gone since.
fn name_of(app: &App, tenant: &Tenant, (record, place): (Digest128, Place)) -> Result<Option<SourceRecord>, ReadError> {
    Ok(read::fragment_of(&app.shared, tenant, record, place)?.map(|(fragment, _)| fragment.record))
}

/// A judgement in force, readable.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its entry.
    pub entry: Sequence,
    /// What was said, by whom and why.
    pub judged: Judged,
    /// The two source records, where they are live.
    pub records: (Option<SourceRecord>, Option<SourceRecord>),
}

/// A page of judgements in force after an entry, oldest first, and whether there are more. Not for asynchronous threads.
///
/// # Errors
/// [`ReadError::Store`] when one cannot be read.
pub fn judgements(
    app: &App,
    tenant: &Tenant,
    about: Option<&SourceRecord>,
    after: Sequence,
    most: usize,
) -> Result<(Vec<Standing>, bool), ReadError> {
    let about = about.map(|record| tenant.config().preparer().record_digest(record.source, &record.key));
    let (found, more) = tenant.seen(|state| {
        let later = |entry: &Sequence| *entry > after;
        let entries: Vec<Sequence> = match about {
            Some(record) => state.judgements.about(record).into_iter().filter(later).take(most + 1).collect(),
            None => state.judgements.iter().map(|(entry, _)| entry).filter(later).take(most + 1).collect(),
        };
        let more = entries.len() > most;
        let place =
            |record: Digest128| state.engine.record(record).filter(|view| view.live).map(|view| (record, view.place));
        let told = entries.into_iter().take(most).filter_map(|entry| {
            let told = *state.judgements.get(entry)?;
            Some((entry, told, (place(told.records.0), place(told.records.1))))
        });
        (told.collect::<Vec<_>>(), more)
    })?;
    let mut standing = Vec::with_capacity(found.len());
    for (entry, told, (one, other)) in found {
        let Some(judged) = judged_at(&app.shared, tenant, told.place)? else { continue };
        let named = |found: Option<(Digest128, Place)>| found.map_or(Ok(None), |found| name_of(app, tenant, found));
        standing.push(Standing { entry, judged, records: (named(one)?, named(other)?) });
    }
    Ok((standing, more))
}

/// Reads a judgement's words; `None` when their key was destroyed.
pub(in crate::app) fn judged_at(shared: &Shared, tenant: &Tenant, place: Place) -> Result<Option<Judged>, ReadError> {
    read::durable_at(shared, place)?;
    let found = shared.journal.read(place).map_err(|error| ReadError::at(place, error))?;
    let Some(payload) = found.payload else { return read::gone_at(shared, place).map(|()| None) };
    if found.context.kind != kind(EntryKind::JudgementStated) {
        return Err(ReadError::content_of(place, "the entry is no judgement"));
    }
    let sealed = Sealed::parse(&payload).map_err(|error| ReadError::content_of(place, error))?;
    let key = match tenant.vault.key(sealed.slot) {
        Ok(key) => key,
        Err(VaultError::Destroyed(_)) => return read::gone_at(shared, place).map(|()| None),
        Err(error) => return Err(ReadError::key_of(place, error)),
    };
    let opened = found.context.open(&key, 0, &sealed.header, sealed.ciphertext);
    let plain = opened.map_err(|error| ReadError::content_of(place, error))?;
    decision::decode(&plain).map(Some).map_err(|error| ReadError::content_of(place, error))
}
