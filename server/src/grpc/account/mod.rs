//! AccountService: accounts, the people in them, the stages of both.

mod call;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use onefold_core::consent::PurposeId;
use onefold_core::consent::permit::Permit;
use onefold_core::fault::{FaultReason, FieldFault};
use onefold_core::fragment::PartyKind;
use onefold_core::hierarchy::affiliation::Origin;
use onefold_core::hierarchy::entry::ParentSet;
use onefold_core::hierarchy::{Moment, Refused};
use onefold_core::ids::{Digest128, ProfileOrdinal};
use onefold_core::limits;
use onefold_core::reads::ReadCall;
use onefold_proto::v1 as pb;
use onefold_proto::v1::account_service_server::AccountService;
use tonic::{Request, Response, Status, Streaming};

use super::convert::account as convert;
use super::mount::answer;
use super::page::{self, Page};
use super::requests::Naming;
use super::{corrections, reading, rights, silence, status};
use crate::app::App;
use crate::app::error::{ReadError, WriteError};
use crate::app::hierarchy::act::{Act, HierarchyError, ImportRow};
use crate::app::hierarchy::read::{ShownAffiliation, Whose};
use crate::app::hierarchy::untold::{self, Untold};
use crate::app::hierarchy::{history, propose, read, rollup};
use call::{Call, blocking, invalid};

/// Further clues of one question.
const CLUES_MAX: usize = 64;

/// The service.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The use cases.
    pub app: Arc<App>,
}

impl Accounts {
    fn call(&self, parent: &str) -> Result<Call, Status> {
        let tenant = reading::tenant(&self.app, parent)?;
        let config = tenant.config();
        let may_read_for_nothing = rights::may_read_for_nothing();
        let (app, reader) = (Arc::clone(&self.app), rights::reader());
        Ok(Call { app, tenant, config, reader, may_read_for_nothing, purpose: None })
    }
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn put_account(
        &self,
        request: Request<pb::PutAccountRequest>,
    ) -> Result<Response<pb::PutAccountResponse>, Status> {
        let request = request.into_inner();
        let call = self.call(&request.parent)?;
        let named = call.named(&request.request_id, "PutAccount", &request)?;
        let mut faults = Vec::new();
        let account = convert::source_account(request.account, "account", &call.config, &mut faults);
        let time = "parent_effective_time";
        let known = account
            .as_ref()
            .is_some_and(|account| call.tenant.state().accounts.forest.find(call.digest(&account.record)).is_some());
        let absent = if known { call.now() } else { Moment::ALWAYS };
        let from = convert::moment(request.parent_effective_time, time, absent, &mut faults);
        let Some(mut account) = account.filter(|_| faults.is_empty()) else { return Err(invalid(faults)) };
        if let Some(parent) = request.parent_account {
            // An account that is its own parent may not be there yet.
            let itself = matches!(&parent.key, Some(pb::account_key::Key::Record(parent))
                if parent.key == account.record.key
                    && call.config.source_named(&parent.source) == Some(account.record.source));
            if itself {
                return Err(status::write(HierarchyError::from(Refused::SelfParent).into()));
            }
            let above = call.one(Some(parent), "parent_account")?;
            account.parent = Some(ParentSet { parent: Some(above), from });
        }
        let account = call.tell_and_show(ReadCall::PutAccount, Act::Put(account), named).await?;
        Ok(answer(pb::PutAccountResponse { account: Some(account) }))
    }

    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::GetAccountResponse>, Status> {
        let request = request.into_inner();
        let call = self.call(&request.parent)?;
        reading::reached(&call.tenant, request.min_sequence).await?;
        let at = call.at(request.as_of_time, "as_of_time")?;
        let key = call.key(request.key, "key")?;
        let account = blocking(move || {
            let account = call.show(&key, at)?;
            // It names who looks after it.
            let party = reading::ordinals(&call.tenant, [account.profile.as_str()]).collect::<Vec<_>>();
            call.shows(ReadCall::GetAccount, party)?;
            Ok(account)
        });
        let account = account.await?;
        Ok(answer(pb::GetAccountResponse { account: Some(account) }))
    }

    async fn move_account(
        &self,
        request: Request<pb::MoveAccountRequest>,
    ) -> Result<Response<pb::MoveAccountResponse>, Status> {
        let request = request.into_inner();
        let call = self.call(&request.parent)?;
        let named = call.named(&request.request_id, "MoveAccount", &request)?;
        let from = call.at(request.effective_time, "effective_time")?;
        let account = call.one(request.key, "key")?;
        let parent = match request.parent_account {
            Some(parent) => Some(call.one(Some(parent), "parent_account")?),
            None => None,
        };
        let account = call.tell_and_show(ReadCall::MoveAccount, Act::Move { account, parent, from }, named).await?;
        Ok(answer(pb::MoveAccountResponse { account: Some(account) }))
    }

    async fn close_account(
        &self,
        request: Request<pb::CloseAccountRequest>,
    ) -> Result<Response<pb::CloseAccountResponse>, Status> {
        let request = request.into_inner();
        let call = self.call(&request.parent)?;
        let named = call.named(&request.request_id, "CloseAccount", &request)?;
        let at = call.at(request.close_time, "close_time")?;
        let account = call.one(request.key, "key")?;
        let at = (!request.reopen).then_some(at);
        let account = call.tell_and_show(ReadCall::CloseAccount, Act::Close { account, at }, named).await?;
        Ok(answer(pb::CloseAccountResponse { account: Some(account) }))
    }

    async fn list_children(
        &self,
        request: Request<pb::ListChildrenRequest>,
    ) -> Result<Response<pb::ListChildrenResponse>, Status> {
        let request = request.into_inner();
        let call = self.call(&request.parent)?;
        let at = call.at(request.as_of_time, "as_of_time")?;
        let key = call.key(request.key, "key")?;
        let asked = request.as_of_time.map(|time| (time.seconds, time.nanos));
        let account = {
            let state = call.tenant.state();
            read::find(&call.tenant, &state, &call.config, &key).map_err(|error| call.failed(error))?
        };
        let query = format!("children/{}/{}/{asked:?}", call.tenant.name, account.0);
        let page = Page::read(&self.app.page_key, &query, request.page_size, &request.page_token)?;
        let page_key = self.app.page_key;
        blocking(move || {
            let from = usize::try_from(page.from).unwrap_or(usize::MAX);
            let found = read::children(&call.app.shared, &call.tenant, &key, at, (from, page.size));
            let read::Children { shown, taken, more } = found.map_err(|error| call.failed(error))?;
            let lifecycle = call.lifecycle();
            let next = page.from + taken as u64;
            let next_page_token = if more { page::seal(&page_key, &query, next) } else { String::new() };
            let accounts: Vec<_> = shown
                .into_iter()
                .map(|shown| convert::account(shown, &call.tenant, &call.config, &lifecycle, at))
                .collect();
            call.shows_accounts(ReadCall::ListChildren, &accounts)?;
            Ok(answer(pb::ListChildrenResponse { accounts, next_page_token }))
        })
        .await
    }

    async fn get_rollup(
        &self,
        request: Request<pb::GetRollupRequest>,
    ) -> Result<Response<pb::GetRollupResponse>, Status> {
        let request = request.into_inner();
        let mut call = self.call(&request.parent)?;
        reading::reached(&call.tenant, request.min_sequence).await?;
        let at = call.at(request.as_of_time, "as_of_time")?;
        let key = call.key(request.key, "key")?;
        let purposes = call.purposes(&request.consent_purposes, "consent_purposes")?;
        call.reads_for(&request.purpose, ReadCall::GetRollup)?;
        // What was said of another purpose is not this one's to know: an account of one person tells of that person.
        let is_own = |purpose: &PurposeId| call.purpose.is_none_or(|only| only == *purpose);
        let (purposes, others): (Vec<PurposeId>, Vec<PurposeId>) = purposes.into_iter().partition(is_own);
        blocking(move || {
            let mut sum = rollup::of(&call.tenant, &key, at).map_err(|error| call.failed(error))?;
            if call.purpose.is_some() {
                sum.count_only(|person| call.may_count(person)).map_err(|error| call.failed(error))?;
            }
            let coverage = match purposes.as_slice() {
                [] => Vec::new(),
                purposes => {
                    let permits = |person| call.may_count(person);
                    rollup::coverage(&call.app, &call.tenant, &sum.persons, purposes, permits)
                        .map_err(|error| call.failed(error))?
                }
            };
            call.counts(ReadCall::GetRollup, &sum.persons)?;
            Ok(answer(convert::rollup(sum, (&coverage, &others), &call.lifecycle(), &call.config)))
        })
        .await
    }

    async fn import_hierarchy(
        &self,
        request: Request<Streaming<pb::ImportHierarchyRequest>>,
    ) -> Result<Response<pb::ImportHierarchyResponse>, Status> {
        let mut messages = request.into_inner();
        let mut begun: Option<(Call, Moment, Untold, bool)> = None;
        let mut naming = None;
        let mut rows: Vec<ImportRow> = Vec::new();
        let mut faults: Vec<(u32, FieldFault)> = Vec::new();
        let mut strangers = convert::Strangers::default();
        let (mut count, mut more) = (0, 0);
        while let Some(message) = silence::next(&self.app, messages.message()).await?.map_err(corrections::status)? {
            match (begun.is_some(), message.start) {
                (false, start) => {
                    let start = start.unwrap_or_default();
                    let call = self.call(&start.parent)?;
                    let mut wrong = Vec::new();
                    let from =
                        convert::moment(start.effective_time, "start.effective_time", Moment::ALWAYS, &mut wrong);
                    let untold = convert::untold(&start.untold_fields, "start.untold_fields", &mut wrong);
                    if !wrong.is_empty() {
                        return Err(invalid(wrong));
                    }
                    let key = &call.tenant.keys.index;
                    naming = Naming::new(&start.request_id, "start.request_id", "ImportHierarchy", key)?;
                    if let Some(naming) = &mut naming {
                        naming.piece(&start);
                    }
                    begun = Some((call, from, untold, start.validate_only));
                }
                (true, Some(_)) => {
                    let message = "belongs into the first message only";
                    return Err(status::field("start", FaultReason::Malformed, message));
                }
                (true, None) => {}
            }
            let Some((call, from, ..)) = &begun else { continue };
            let from = *from;
            for wire in message.rows {
                if let Some(naming) = &mut naming {
                    naming.piece(&wire);
                }
                count += 1;
                if count > limits::HIERARCHY_ROWS_MAX {
                    let what = "rows of one import";
                    return Err(status::write(WriteError::Full { what, limit: limits::HIERARCHY_ROWS_MAX }));
                }
                let line = if wire.line == 0 { count as u32 } else { wire.line };
                let mut wrong = Vec::new();
                let account = convert::row(wire, from, &call.config, &mut strangers, &mut wrong);
                rows.extend(account.map(|account| ImportRow { line, account, kept_of: None }));
                more += (faults.len() + wrong.len()).saturating_sub(limits::HIERARCHY_FAULTS_MAX);
                faults.extend(wrong.into_iter().map(|fault| (line, fault)));
                faults.truncate(limits::HIERARCHY_FAULTS_MAX);
            }
        }
        let Some((call, from, untold, validate_only)) = begun else {
            return Err(status::field("rows", FaultReason::Missing, "send at least one row"));
        };
        // A row with a fault of its own is a fault of the whole, which is looked at all the same.
        let only_check = validate_only || !faults.is_empty();
        let call = Arc::new(call);
        let reading = Arc::clone(&call);
        let rows = blocking(move || {
            untold::fill(&reading.app.shared, &reading.tenant, &mut rows, untold)
                .map_err(|error| reading.failed(error))?;
            Ok(rows)
        })
        .await?;
        let mut done = call.tell(Act::Import { rows, from, untold, only_check }, naming.map(Naming::finish)).await?;
        if !faults.is_empty() {
            done.faults.extend(faults);
            done.faults.sort_by_key(|(line, _)| *line);
            done.more_faults += more + done.faults.len().saturating_sub(limits::HIERARCHY_FAULTS_MAX);
            done.faults.truncate(limits::HIERARCHY_FAULTS_MAX);
        }
        Ok(answer(convert::imported(done)))
    }

    async fn put_affiliation(
        &self,
        request: Request<pb::PutAffiliationRequest>,
    ) -> Result<Response<pb::PutAffiliationResponse>, Status> {
        let request = request.into_inner();
        let call = self.call(&request.parent)?;
        let named = call.named(&request.request_id, "PutAffiliation", &request)?;
        let mut faults = Vec::new();
        let role = convert::text(&request.role, "role", &mut faults);
        let since = convert::moment(request.start_time, "start_time", Moment::ALWAYS, &mut faults);
        let until = request.end_time.map(|time| convert::moment(Some(time), "end_time", since, &mut faults));
        if until.is_some_and(|until| until < since) {
            faults.push(FieldFault::new("end_time", FaultReason::Malformed, "lies before `start_time`"));
        }
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        let who = (request.person, request.account);
        let (affiliation_count, sequence) = call.affiliate(who, role, (since, until), Origin::Stated, named).await?;
        Ok(answer(pb::PutAffiliationResponse { affiliation_count, sequence }))
    }

    async fn end_affiliation(
        &self,
        request: Request<pb::EndAffiliationRequest>,
    ) -> Result<Response<pb::EndAffiliationResponse>, Status> {
        let request = request.into_inner();
        let call = self.call(&request.parent)?;
        let named = call.named(&request.request_id, "EndAffiliation", &request)?;
        let until = call.at(request.end_time, "end_time")?;
        let account = call.one(request.account, "account")?;
        let role = read::role(&call.tenant, &call.config, &request.role);
        let call = Arc::new(call);
        let reading = Arc::clone(&call);
        let persons = blocking(move || {
            let persons = reading.person(request.person, "person")?;
            Ok(persons.iter().map(|person| reading.digest(person)).collect())
        })
        .await?;
        let done = call.tell(Act::EndAffiliation { persons, account, role, until }, named).await?;
        Ok(answer(pb::EndAffiliationResponse { sequence: done.sequence.0 }))
    }

    async fn list_affiliations(
        &self,
        request: Request<pb::ListAffiliationsRequest>,
    ) -> Result<Response<pb::ListAffiliationsResponse>, Status> {
        use pb::list_affiliations_request::Of;
        let request = request.into_inner();
        let mut call = self.call(&request.parent)?;
        let at = match request.as_of_time {
            Some(time) => Some(call.at(Some(time), "as_of_time")?),
            None => None,
        };
        call.reads_for(&request.purpose, ReadCall::ListAffiliations)?;
        let page_key = self.app.page_key;
        blocking(move || {
            let (whose, of) = match request.of {
                Some(Of::Person(key)) => {
                    let records = call.person(Some(key), "person")?;
                    let records: Vec<Digest128> = records.iter().map(|record| call.digest(record)).collect();
                    let of = format!("{records:?}");
                    (Whose::Person(records), of)
                }
                Some(Of::Account(key)) => {
                    let key = call.key(Some(key), "account")?;
                    let state = call.tenant.state();
                    let account =
                        read::find(&call.tenant, &state, &call.config, &key).map_err(|error| call.failed(error))?;
                    (Whose::Account(key), account.0.to_string())
                }
                None => {
                    return Err(status::field("of", FaultReason::Missing, "name a person or an account"));
                }
            };
            let asked_of = |whose: &Whose| match whose {
                Whose::Person(records) => call.permit(call.profile_of(records)).map_err(|error| call.failed(error)),
                Whose::Account(_) => Ok(None),
            };
            asked_of(&whose)?;
            let query = format!("affiliations/{}/{of}/{at:?}", call.tenant.name);
            let page = Page::read(&page_key, &query, request.page_size, &request.page_token)?;
            let from = usize::try_from(page.from).unwrap_or(usize::MAX);
            let found = read::affiliations(&call.app.shared, &call.tenant, &whose, at, (from, page.size));
            let (found, more) = found.map_err(|error| call.failed(error))?;
            asked_of(&whose)?;
            let mut permits: BTreeMap<Option<ProfileOrdinal>, Option<Permit>> = BTreeMap::new();
            for one in found.iter().filter(|_| call.purpose.is_some()) {
                if let Entry::Vacant(entry) = permits.entry(one.profile) {
                    entry.insert(match call.permit(one.profile) {
                        Ok(permit) => permit,
                        Err(ReadError::PurposeNotPermitted { .. } | ReadError::ProfileUnknown) => None,
                        Err(error) => return Err(call.failed(error)),
                    });
                }
            }
            let count = found.len();
            let found: Vec<_> = found
                .into_iter()
                .filter(|one| call.purpose.is_none() || matches!(permits.get(&one.profile), Some(Some(_))))
                .collect();
            let withheld_count = (count - found.len()) as u32;
            let shown: BTreeSet<ProfileOrdinal> = found.iter().filter_map(|one| one.profile).collect();
            call.shows(ReadCall::ListAffiliations, shown)?;
            let next = page.from + page.size as u64;
            let next_page_token = if more { page::seal(&page_key, &query, next) } else { String::new() };
            let mut withheld = BTreeSet::new();
            let mut out = |one: ShownAffiliation| {
                let all = permits.get(&one.profile).and_then(Option::as_ref).is_none_or(Permit::everything);
                let mut affiliation = convert::affiliation(one, &call.tenant, &call.config);
                if !all {
                    affiliation.person = None;
                    withheld.insert("affiliations.person".to_owned());
                    // Words that somebody wrote may say anything.
                    if !std::mem::take(&mut affiliation.role).is_empty() {
                        withheld.insert("affiliations.role".to_owned());
                    }
                }
                affiliation
            };
            let affiliations = found.into_iter().map(&mut out).collect();
            let withheld = convert::withheld(withheld);
            Ok(answer(pb::ListAffiliationsResponse { affiliations, next_page_token, withheld, withheld_count }))
        })
        .await
    }

    async fn propose_accounts(
        &self,
        request: Request<pb::ProposeAccountsRequest>,
    ) -> Result<Response<pb::ProposeAccountsResponse>, Status> {
        let request = request.into_inner();
        let mut call = self.call(&request.parent)?;
        let mut faults = Vec::new();
        for (path, given) in [("addresses", &request.addresses), ("company_names", &request.company_names)] {
            if given.len() > CLUES_MAX {
                let message = format!("{} given, at most {CLUES_MAX} are allowed", given.len());
                faults.push(FieldFault::new(path, FaultReason::TooLarge, message));
            }
            for (at, text) in given.iter().enumerate() {
                convert::text(text, &format!("{path}[{at}]"), &mut faults);
            }
        }
        if request.person.is_none() && request.addresses.is_empty() && request.company_names.is_empty() {
            let message = "name a person, or give `addresses` or `company_names`";
            faults.push(FieldFault::new("person", FaultReason::Missing, message));
        }
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        if request.person.is_some() {
            call.reads_for(&request.purpose, ReadCall::ProposeAccounts)?;
        }
        blocking(move || {
            let mut withheld = Vec::new();
            let mut clues = propose::Clues { addresses: request.addresses, companies: request.company_names };
            if let Some(person) = request.person {
                let records = call.person(Some(person), "person")?;
                let records: Vec<Digest128> = records.iter().map(|record| call.digest(record)).collect();
                let profile = call.profile_of(&records);
                let profile = profile.ok_or_else(|| call.failed(ReadError::ProfileUnknown))?;
                let permit = || call.permit(Some(profile)).map_err(|error| call.failed(error));
                let known = propose::clues_of(&call.app.shared, &call.tenant, profile, permit()?.as_ref());
                let (known, closed) = known.map_err(|error| call.failed(error))?;
                permit()?;
                withheld = convert::withheld(closed);
                call.shows(ReadCall::ProposeAccounts, Some(profile))?;
                clues.addresses.extend(known.addresses);
                clues.companies.extend(known.companies);
            }
            let now = call.now();
            let found = propose::accounts_for(&call.app.shared, &call.tenant, &clues, now)
                .map_err(|error| call.failed(error))?;
            let lifecycle = call.lifecycle();
            let proposals = found
                .into_iter()
                .map(|found| convert::proposal(found, &call.tenant, &call.config, &lifecycle, now))
                .collect();
            Ok(answer(pb::ProposeAccountsResponse { proposals, withheld }))
        })
        .await
    }

    async fn confirm_account(
        &self,
        request: Request<pb::ConfirmAccountRequest>,
    ) -> Result<Response<pb::ConfirmAccountResponse>, Status> {
        let request = request.into_inner();
        let call = self.call(&request.parent)?;
        let named = call.named(&request.request_id, "ConfirmAccount", &request)?;
        let mut faults = Vec::new();
        let role = convert::text(&request.role, "role", &mut faults);
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        let since = call.now();
        let who = (request.person, request.account);
        let (_, sequence) = call.affiliate(who, role, (since, None), Origin::Confirmed, named).await?;
        Ok(answer(pb::ConfirmAccountResponse { sequence }))
    }

    async fn put_lifecycle(
        &self,
        request: Request<pb::PutLifecycleRequest>,
    ) -> Result<Response<pb::PutLifecycleResponse>, Status> {
        let request = request.into_inner();
        let call = self.call(&request.parent)?;
        let named = call.named(&request.request_id, "PutLifecycle", &request)?;
        let Some(wire) = request.lifecycle else {
            return Err(status::field("lifecycle", FaultReason::Missing, "give the stages"));
        };
        let mut faults = Vec::new();
        let persons = convert::pipeline(wire.persons, "lifecycle.persons", &mut faults);
        let accounts = convert::pipeline(wire.accounts, "lifecycle.accounts", &mut faults);
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        call.tell(Act::Define(persons, accounts), named).await?;
        let lifecycle = Some(convert::lifecycle(&call.lifecycle()));
        Ok(answer(pb::PutLifecycleResponse { lifecycle }))
    }

    async fn get_lifecycle(
        &self,
        request: Request<pb::GetLifecycleRequest>,
    ) -> Result<Response<pb::GetLifecycleResponse>, Status> {
        let call = self.call(&request.into_inner().parent)?;
        let lifecycle = call.lifecycle();
        reading::durable(&call.tenant).await?;
        Ok(answer(pb::GetLifecycleResponse { lifecycle: Some(convert::lifecycle(&lifecycle)) }))
    }

    async fn set_stage(&self, request: Request<pb::SetStageRequest>) -> Result<Response<pb::SetStageResponse>, Status> {
        let request = request.into_inner();
        let call = Arc::new(self.call(&request.parent)?);
        let named = call.named(&request.request_id, "SetStage", &request)?;
        let mut faults = Vec::new();
        let note = convert::text(&request.note, "note", &mut faults);
        let now = call.now();
        let at = convert::moment(request.reached_time, "reached_time", now, &mut faults);
        if at > now {
            let message = "lies ahead of the server's clock; a stage is told when it is reached";
            faults.push(FieldFault::new("reached_time", FaultReason::InTheFuture, message));
        }
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        let reading = Arc::clone(&call);
        let (party, records) = blocking(move || reading.subject(request.subject)).await?;
        let told = records.clone();
        let may =
            party == PartyKind::Organisation || call.may_read_for_nothing || !call.tenant.noting.purpose_required();
        let act = Act::Stage { party, records: told, stage: request.stage, at, note };
        let done = call.app.tell_accounts(&call.tenant, act, named).await;
        // Who is not shown where a person stands is not told by a refusal either.
        let done = done.map_err(|error| if may { status::write(error) } else { status::write_unseen(error) })?;
        let stage = match may {
            true => blocking(move || call.stage(party, &records)).await?.stage,
            false => None,
        };
        Ok(answer(pb::SetStageResponse { stage, sequence: done.sequence.0 }))
    }

    async fn get_stage(&self, request: Request<pb::GetStageRequest>) -> Result<Response<pb::GetStageResponse>, Status> {
        let request = request.into_inner();
        let mut call = self.call(&request.parent)?;
        reading::reached(&call.tenant, request.min_sequence).await?;
        blocking(move || {
            let (party, records) = call.subject(request.subject)?;
            call.reads_party_for(&request.purpose, ReadCall::GetStage, party, &records)?;
            let stage = call.stage(party, &records)?;
            call.permits(&records)?;
            Ok(answer(stage))
        })
        .await
    }

    async fn list_stage_history(
        &self,
        request: Request<pb::ListStageHistoryRequest>,
    ) -> Result<Response<pb::ListStageHistoryResponse>, Status> {
        let request = request.into_inner();
        let mut call = self.call(&request.parent)?;
        self.app.shared.kept.caught_up().await.map_err(|error| call.failed(error))?;
        let page_key = self.app.page_key;
        blocking(move || {
            let (party, records) = call.subject(request.subject)?;
            call.reads_party_for(&request.purpose, ReadCall::ListStageHistory, party, &records)?;
            let whole = call.whole(party, &records);
            let query = format!("stages/{}/{party:?}/{whole:?}", call.tenant.name);
            let page = Page::read(&page_key, &query, request.page_size, &request.page_token)?;
            let found =
                history::stages(&call.app.shared, &call.tenant, party, &whole).map_err(|error| call.failed(error))?;
            let profiles = call.profiles_as(party, &whole);
            let permit = call.permits(&records)?;
            call.shows_of(party, ReadCall::ListStageHistory, profiles)?;
            let (shown, next_page_token) = page.cut(&found, &page_key, &query);
            let mut events: Vec<_> = shown.iter().map(|event| convert::stage_event(event, &call.config)).collect();
            let mut withheld = Vec::new();
            if permit.is_some_and(|permit| !permit.everything()) && events.iter().any(|event| !event.note.is_empty()) {
                // Words that somebody wrote may say anything.
                events.iter_mut().for_each(|event| event.note.clear());
                withheld = convert::withheld(["events.note".to_owned()]);
            }
            Ok(answer(pb::ListStageHistoryResponse { events, next_page_token, withheld }))
        })
        .await
    }
}
