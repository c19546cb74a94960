//! ReviewService: what to ask stewards, and what they answer.

use std::sync::Arc;

use onefold_core::config::STEWARD_SOURCE;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::{ObservedAt, SourceRecord};
use onefold_core::ids::{Digest128, ProfileOrdinal, Sequence};
use onefold_core::judgement::{AUTHOR_BYTES_MAX, REASON_BYTES_MAX, Verdict};
use onefold_core::reads::ReadCall;
use onefold_matching::resolve::QuestionCursor;
use onefold_proto::v1 as pb;
use onefold_proto::v1::review_service_server::ReviewService;
use prost::Message;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::convert::consent::any_time;
use super::convert::fragment::record;
use super::convert::review as convert;
use super::mount::answer;
use super::page::{self, Page};
use super::{names, reading, requests, status};
use crate::app::App;
use crate::app::error::{ReadError, WriteError};
use crate::app::read::{ProfileKey, find};
use crate::app::review::{self, JUDGED_AT_ONCE_MAX, Ruled, Ruling};
use crate::app::tenant::{LiveConfig, Tenant};
use crate::secret;

/// Questions on a page, when nothing is said, and at most: each opens two fragments.
const QUESTIONS_DEFAULT: i32 = 20;
const QUESTIONS_MAX: i32 = 100;
/// Profiles that one call merges at most.
const MERGED_AT_ONCE_MAX: usize = 100;

/// The service.
#[derive(Clone, Debug)]
pub struct Reviews {
    /// The use cases.
    pub app: Arc<App>,
}

fn failed(tenant: &Tenant, error: ReadError) -> Status {
    status::ReadErrorIn { tenant: &tenant.name, error }.into()
}

fn invalid(faults: Vec<FieldFault>) -> Status {
    status::write(WriteError::Invalid(faults))
}

/// Who judges, why, and until when.
struct Words {
    author: String,
    reason: String,
    expires_at: Option<ObservedAt>,
}

impl Words {
    fn read(
        app: &App,
        author: &str,
        reason: &str,
        expire_time: Option<Timestamp>,
        faults: &mut Vec<FieldFault>,
    ) -> Option<Self> {
        for (path, text, most) in [("author", author, AUTHOR_BYTES_MAX), ("reason", reason, REASON_BYTES_MAX)] {
            if text.trim().is_empty() {
                let message = "say it: a judgement outranks evidence, and has to be defended";
                faults.push(FieldFault::new(path, FaultReason::Missing, message));
            } else if text.len() > most {
                faults.push(FieldFault::new(path, FaultReason::TooLarge, format!("give at most {most} bytes")));
            }
        }
        let expires_at = expire_time.map(|time| any_time(&time, "expire_time", faults));
        if expires_at.is_some_and(|at| at <= app.now()) {
            let message = "lies in the past; give a later time, or none";
            faults.push(FieldFault::new("expire_time", FaultReason::Malformed, message));
        }
        faults.is_empty().then(|| Self { author: author.to_owned(), reason: reason.to_owned(), expires_at })
    }

    fn ruling(self, pairs: Vec<(Digest128, Digest128, Verdict)>) -> Ruling {
        Ruling::Judge { pairs, author: self.author, reason: self.reason, expires_at: self.expires_at }
    }
}

impl Reviews {
    fn tenant(&self, parent: &str) -> Result<(Arc<Tenant>, Arc<LiveConfig>), Status> {
        let tenant = reading::tenant(&self.app, parent)?;
        let config = tenant.config();
        Ok((tenant, config))
    }

    fn profile(&self, tenant: &Tenant, name: &str, path: &str) -> Result<ProfileOrdinal, Status> {
        let (of, id) = names::profile(name).map_err(|bad| status::field(path, FaultReason::Malformed, bad.0))?;
        if of != tenant.name {
            return Err(failed(tenant, ReadError::ProfileUnknown));
        }
        find(tenant, &ProfileKey::Id(id)).map_err(|error| failed(tenant, error))
    }

    /// Notes that something is shown of whoever holds these records.
    fn showing(&self, tenant: &Tenant, call: ReadCall, records: impl Iterator<Item = Digest128>) -> Result<(), Status> {
        let profiles: Vec<_> = {
            let state = tenant.state();
            records.filter_map(|record| state.engine.profile_of(record)).collect()
        };
        reading::showing(&self.app, tenant, call, profiles)
    }

    async fn rule(
        &self,
        tenant: &Arc<Tenant>,
        ruling: Ruling,
        named: Option<crate::app::requests::RequestKey>,
    ) -> Result<(Vec<String>, Ruled), Status> {
        let ruled = self.app.rule(tenant, ruling, named).await.map_err(status::write)?;
        let names = ruled.entries.iter().map(|entry| names::of_judgement(&tenant.name, *entry)).collect();
        Ok((names, ruled))
    }
}

/// What a page of questions goes on behind: hexadecimal, with a keyed tag.
fn question_token(key: &[u8; 32], query: &str, after: QuestionCursor) -> String {
    let (value, (one, other)) = after;
    let mut bytes = value.to_be_bytes().to_vec();
    bytes.extend_from_slice(&one.0);
    bytes.extend_from_slice(&other.0);
    let body: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{body}.{}", question_tag(key, query, &body))
}

fn question_tag(key: &[u8; 32], query: &str, body: &str) -> String {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(query.as_bytes()).update(&[0]).update(body.as_bytes());
    hasher.finalize().to_hex()[..16].to_owned()
}

fn question_cursor(key: &[u8; 32], query: &str, token: &str) -> Result<Option<QuestionCursor>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let read = || {
        let (body, tag) = token.split_once('.')?;
        if !secret::same(tag, &question_tag(key, query, body)) || body.len() != 80 || !body.is_ascii() {
            return None;
        }
        let byte = |at: usize| u8::from_str_radix(&body[2 * at..2 * at + 2], 16).ok();
        let bytes: Vec<u8> = (0..40).map(byte).collect::<Option<_>>()?;
        let value = u64::from_be_bytes(bytes[..8].try_into().ok()?);
        let digest = |from: usize| Some(Digest128(bytes[from..from + 16].try_into().ok()?));
        Some((value, (digest(8)?, digest(24)?)))
    };
    let error = || Status::from(status::ReadErrorIn { tenant: "", error: ReadError::PageToken });
    read().map(Some).ok_or_else(error)
}

#[tonic::async_trait]
impl ReviewService for Reviews {
    async fn list_questions(
        &self,
        request: Request<pb::ListQuestionsRequest>,
    ) -> Result<Response<pb::ListQuestionsResponse>, Status> {
        let request = request.into_inner();
        let (tenant, config) = self.tenant(&request.parent)?;
        let size = match request.page_size {
            0 => QUESTIONS_DEFAULT,
            size if size < 0 => {
                let message = "give 0 for the default, or a positive number";
                return Err(status::field("page_size", FaultReason::Malformed, message));
            }
            size => size.min(QUESTIONS_MAX),
        };
        let query = format!("questions/{}", tenant.name);
        let after = question_cursor(&self.app.page_key, &query, &request.page_token)?;
        let app = Arc::clone(&self.app);
        let read = Arc::clone(&tenant);
        let (asked, more) = app
            .reading(&read, move |app, tenant| review::questions(app, tenant, after, size as usize))
            .await
            .map_err(|error| failed(&tenant, error))?;
        let next_page_token = match asked.last() {
            Some(last) if more => {
                question_token(&self.app.page_key, &query, (last.question.value, last.question.records))
            }
            _ => String::new(),
        };
        let shown = asked.iter().flat_map(|asked| [asked.question.records.0, asked.question.records.1]);
        self.showing(&tenant, ReadCall::ListQuestions, shown)?;
        let questions = asked.into_iter().map(|asked| convert::question(asked, &tenant, &config)).collect();
        Ok(answer(pb::ListQuestionsResponse { questions, next_page_token }))
    }

    async fn judge(&self, request: Request<pb::JudgeRequest>) -> Result<Response<pb::JudgeResponse>, Status> {
        let request = request.into_inner();
        let (tenant, config) = self.tenant(&request.parent)?;
        let named = requests::named(&request.request_id, "Judge", &request, &tenant.keys.index)?;
        let mut faults = Vec::new();
        let words = Words::read(&self.app, &request.author, &request.reason, request.expire_time, &mut faults);
        if !(1..=JUDGED_AT_ONCE_MAX).contains(&request.judgements.len()) {
            let message = format!("give 1 to {JUDGED_AT_ONCE_MAX} pairs");
            faults.push(FieldFault::new("judgements", FaultReason::TooLarge, message));
            return Err(invalid(faults));
        }
        let mut pairs = Vec::with_capacity(request.judgements.len());
        for (index, pair) in request.judgements.into_iter().enumerate() {
            let at = |field: &str| format!("judgements[{index}].{field}");
            let first = record(pair.first, &at("first"), &config, &mut faults);
            let second = record(pair.second, &at("second"), &config, &mut faults);
            let verdict = convert::verdict(pair.verdict);
            if verdict.is_none() {
                let message = "say SAME, DIFFERENT or UNSURE";
                faults.push(FieldFault::new(at("verdict"), FaultReason::Missing, message));
            }
            for (field, one) in [("first", &first), ("second", &second)] {
                let name = |one: &SourceRecord| config.config.sources.get(usize::from(one.source.0)).map(|s| &s.name);
                if one.as_ref().and_then(name).is_some_and(|name| name == STEWARD_SOURCE) {
                    let message = "is a correction, which is whose it was made for; split the profile to part it";
                    faults.push(FieldFault::new(at(field), FaultReason::Malformed, message));
                }
            }
            if let (Some(first), Some(second), Some(verdict)) = (first, second, verdict) {
                let digest = |record: &SourceRecord| config.preparer().record_digest(record.source, &record.key);
                pairs.push((digest(&first), digest(&second), verdict));
            }
        }
        let Some(words) = words.filter(|_| faults.is_empty()) else { return Err(invalid(faults)) };
        let (names, ruled) = self.rule(&tenant, words.ruling(pairs), named).await?;
        Ok(answer(pb::JudgeResponse { names, sequence: ruled.sequence.0 }))
    }

    async fn withdraw_judgements(
        &self,
        request: Request<pb::WithdrawJudgementsRequest>,
    ) -> Result<Response<pb::WithdrawJudgementsResponse>, Status> {
        let request = request.into_inner();
        let (tenant, config) = self.tenant(&request.parent)?;
        let named = requests::named(&request.request_id, "WithdrawJudgements", &request, &tenant.keys.index)?;
        if !(1..=JUDGED_AT_ONCE_MAX).contains(&request.names.len()) {
            let message = format!("give 1 to {JUDGED_AT_ONCE_MAX} names");
            return Err(status::field("names", FaultReason::TooLarge, message));
        }
        let mut entries = Vec::with_capacity(request.names.len());
        for (index, name) in request.names.iter().enumerate() {
            let at = format!("names[{index}]");
            let (of, entry) =
                names::judgement(name).map_err(|bad| status::field(&at, FaultReason::Malformed, bad.0))?;
            if of != tenant.name {
                return Err(status::field(&at, FaultReason::Malformed, "is of another tenant than `parent`"));
            }
            if review::holds_a_correction(&tenant.state(), &config, entry) {
                let message = "is by what a correction is a person's: it was made upon a request, and stays";
                return Err(status::field(&at, FaultReason::Malformed, message));
            }
            entries.push(entry);
        }
        let (names, ruled) = self.rule(&tenant, Ruling::Withdraw(entries), named).await?;
        let withdrawn_count = names.len() as u64;
        Ok(answer(pb::WithdrawJudgementsResponse { withdrawn_count, sequence: ruled.sequence.0 }))
    }

    async fn list_judgements(
        &self,
        request: Request<pb::ListJudgementsRequest>,
    ) -> Result<Response<pb::ListJudgementsResponse>, Status> {
        let request = request.into_inner();
        let (tenant, config) = self.tenant(&request.parent)?;
        let mut about_query = Vec::new();
        if let Some(record) = &request.record {
            about_query = record.encode_to_vec();
        }
        let query = format!("judgements/{}/{:x?}", tenant.name, blake3::hash(&about_query).as_bytes()[0..4].to_vec());
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        let about = match request.record {
            None => None,
            Some(wire) => {
                let mut faults = Vec::new();
                match record(Some(wire), "record", &config, &mut faults) {
                    Some(record) if faults.is_empty() => Some(record),
                    _ => return Err(invalid(faults)),
                }
            }
        };
        let app = Arc::clone(&self.app);
        let read = Arc::clone(&tenant);
        let (standing, more) = app
            .reading(&read, move |app, tenant| {
                review::judgements(app, tenant, about.as_ref(), Sequence(page.from), page.size)
            })
            .await
            .map_err(|error| failed(&tenant, error))?;
        let next_page_token = match standing.last() {
            Some(last) if more => page::seal(&self.app.page_key, &query, last.entry.0),
            _ => String::new(),
        };
        let shown = standing.iter().flat_map(|one| [one.judged.records.0, one.judged.records.1]);
        self.showing(&tenant, ReadCall::ListJudgements, shown)?;
        let judgements = standing.into_iter().map(|standing| convert::judgement(standing, &tenant, &config)).collect();
        Ok(answer(pb::ListJudgementsResponse { judgements, next_page_token }))
    }

    async fn merge_profiles(
        &self,
        request: Request<pb::MergeProfilesRequest>,
    ) -> Result<Response<pb::MergeProfilesResponse>, Status> {
        let request = request.into_inner();
        let (tenant, _) = self.tenant(&request.parent)?;
        let named = requests::named(&request.request_id, "MergeProfiles", &request, &tenant.keys.index)?;
        let mut faults = Vec::new();
        let words = Words::read(&self.app, &request.author, &request.reason, request.expire_time, &mut faults);
        let Some(words) = words else { return Err(invalid(faults)) };
        if !(2..=MERGED_AT_ONCE_MAX).contains(&request.names.len()) {
            let message = format!("give 2 to {MERGED_AT_ONCE_MAX} profiles");
            return Err(status::field("names", FaultReason::TooLarge, message));
        }
        // A repeat finds them merged, and is answered as the first call was.
        let known = named.as_ref().is_some_and(|key| tenant.state().requests.get(&key.id).is_some());
        let profiles: Vec<ProfileOrdinal> = request
            .names
            .iter()
            .enumerate()
            .map(|(index, name)| self.profile(&tenant, name, &format!("names[{index}]")))
            .collect::<Result<_, _>>()?;
        let pairs = if known {
            Vec::new()
        } else {
            let (read, profiles) = (Arc::clone(&tenant), profiles.clone());
            let found = self.app.reading(&read, move |_, tenant| review::pairs_to_merge(tenant, &profiles)).await;
            found.map_err(|error| failed(&tenant, error))?
        };
        let (judgements, ruled) = self.rule(&tenant, words.ruling(pairs), named).await?;
        let state = tenant.state();
        let mut ends: Vec<ProfileOrdinal> =
            profiles.iter().flat_map(|profile| state.engine.live_ends(*profile)).collect();
        drop(state);
        ends.sort_unstable();
        ends.dedup();
        let profile = match ends.as_slice() {
            [one] => names::of_profile(&tenant.name, tenant.profile_id(*one)),
            _ => String::new(),
        };
        Ok(answer(pb::MergeProfilesResponse { profile, judgements, sequence: ruled.sequence.0 }))
    }

    async fn split_profile(
        &self,
        request: Request<pb::SplitProfileRequest>,
    ) -> Result<Response<pb::SplitProfileResponse>, Status> {
        let request = request.into_inner();
        let (of, _) =
            names::profile(&request.name).map_err(|bad| status::field("name", FaultReason::Malformed, bad.0))?;
        let tenant = reading::named(&self.app, of)?;
        let config = tenant.config();
        let named = requests::named(&request.request_id, "SplitProfile", &request, &tenant.keys.index)?;
        let mut faults = Vec::new();
        let words = Words::read(&self.app, &request.author, &request.reason, request.expire_time, &mut faults);
        let mut records = Vec::with_capacity(request.records.len().min(JUDGED_AT_ONCE_MAX));
        for (index, wire) in request.records.into_iter().enumerate().take(JUDGED_AT_ONCE_MAX + 1) {
            records.extend(record(Some(wire), &format!("records[{index}]"), &config, &mut faults));
        }
        let Some(words) = words.filter(|_| faults.is_empty()) else { return Err(invalid(faults)) };
        let known = named.as_ref().is_some_and(|key| tenant.state().requests.get(&key.id).is_some());
        let pairs = if known {
            Vec::new()
        } else {
            let profile = self.profile(&tenant, &request.name, "name")?;
            let (read, records) = (Arc::clone(&tenant), records.clone());
            let found =
                self.app.reading(&read, move |_, tenant| review::pairs_to_split(tenant, profile, &records)).await;
            found.map_err(|error| failed(&tenant, error))?
        };
        let (judgements, ruled) = self.rule(&tenant, words.ruling(pairs), named).await?;
        let mut profiles: Vec<ProfileOrdinal> = {
            let state = tenant.state();
            let digests = records.iter().map(|record| config.preparer().record_digest(record.source, &record.key));
            let leave: Vec<Digest128> = digests.collect();
            // Those that stay are told by the judgements: the id went with the larger part, which may have been the other.
            let judged = ruled.entries.iter().filter_map(|entry| state.judgements.get(*entry));
            let stay = judged.flat_map(|told| [told.records.0, told.records.1]).filter(|one| !leave.contains(one));
            leave.iter().copied().chain(stay).filter_map(|record| state.engine.profile_of(record)).collect()
        };
        profiles.sort_unstable();
        profiles.dedup();
        let profiles =
            profiles.into_iter().map(|profile| names::of_profile(&tenant.name, tenant.profile_id(profile))).collect();
        Ok(answer(pb::SplitProfileResponse { profiles, judgements, sequence: ruled.sequence.0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_questions_belongs_to_its_query() {
        let cursor = (77, (Digest128([3; 16]), Digest128([9; 16])));
        let token = question_token(&[1; 32], "questions/a", cursor);
        assert_eq!(question_cursor(&[1; 32], "questions/a", &token).unwrap(), Some(cursor));
        assert_eq!(question_cursor(&[1; 32], "questions/a", "").unwrap(), None);
        for (key, query, token) in [
            ([2; 32], "questions/a", token.as_str()),
            ([1; 32], "questions/b", token.as_str()),
            ([1; 32], "questions/a", &token[2..]),
            ([1; 32], "questions/a", "."),
        ] {
            assert!(question_cursor(&key, query, token).is_err(), "{query} {token}");
        }
    }
}
