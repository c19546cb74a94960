//! One of many who are to be erased: from the request to its end.
//!
//! Every call has a name made of the file and the row, so that a run that was cut off is simply run again: what was done is
//! answered as it was, unless the person is there again since. Then it is done anew. A server remembers such names for some
//! time only; whoever keeps the request's own name goes on with it however late.

use std::time::Duration;

use onefold_proto::v1 as pb;
use tonic::Code;

use super::Arguments;
use super::many::lookup_of;
use crate::client::trouble::reason;
use crate::client::{Client, request_id_of};
use crate::command::Failure;

/// How long a call is asked again while the server says that waiting helps.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a scope is looked at again that changed between its preview and its erasure.
const LOOKS_MAX: u32 = 3;
/// How often a request is looked at again on which somebody else works: another run over the file, or an officer.
const TURNS_MAX: u32 = 240;
/// Between two such looks.
const TURN: Duration = Duration::from_millis(250);
/// The ground of a request about somebody of whom nothing is held.
const NOTHING_HELD: &str = "nothing-held";
/// Its state does not allow the step.
const STATE: &str = "PRIVACY_REQUEST_STATE";

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Erased; there is a receipt.
    Erased,
    /// Nothing is held.
    NothingHeld,
    /// Several persons hold it: it names none of them.
    Shared,
    /// It waits for a second person.
    Waits(Waiting),
    /// An officer refused it, on this ground.
    Refused(String),
    /// The server cannot read who is meant.
    Unreadable(String),
    /// Not done.
    Failed(String),
}

/// The scope that a second person is to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nobody has.
    First(String),
    /// Somebody approved one that is another since.
    Anew(String),
}

impl Answer {
    /// In one word, and what to know beside it.
    pub fn words(&self) -> (&'static str, String) {
        let approve = |etag: &str| format!("a second person must approve it: requests approve --etag {etag}");
        match self {
            Self::Erased => ("erased", String::new()),
            Self::NothingHeld => ("nothing-held", String::new()),
            Self::Shared => ("shared", "several persons hold it; name each by a record or an id".to_owned()),
            Self::Waits(Waiting::First(etag)) => ("waits", approve(etag)),
            Self::Waits(Waiting::Anew(etag)) => {
                ("waits", format!("it changed since it was approved; {}", approve(etag)))
            }
            Self::Refused(ground) => ("refused", ground.clone()),
            Self::Unreadable(why) | Self::Failed(why) => ("failed", why.clone()),
        }
    }
}

/// Carries out requests that are taken in alike.
pub struct Eraser<'a> {
    pub client: &'a Client,
    pub arguments: &'a Arguments,
    /// What all of a run have in common: the file.
    pub run: blake3::Hash,
    /// It is known that something is held now that no profile has: what an earlier run erased is not it.
    pub is_held: bool,
}

/// What a look at a scope came to.
enum Look {
    /// That was the end.
    Ended(Answer),
    /// It is another one by now than this, which the preview showed.
    Changed { etag: String, why: String },
    /// The request is not where it was.
    Moved,
}

impl Eraser<'_> {
    /// The name of a call about a row: the same in every run over the same file.
    fn named(&self, row: u64, call: &str, more: &str) -> String {
        let [law, reference, verified, by] = self.arguments.taking.said(self.arguments.law());
        let parent = self.arguments.target.parent();
        let row = row.to_le_bytes();
        request_id_of(&[
            self.run.as_bytes(),
            parent.as_bytes(),
            law,
            reference,
            verified,
            by,
            &row,
            call.as_bytes(),
            more.as_bytes(),
        ])
    }

    /// From the request to its end: the request's name, and what became of it. `known` is the request that an earlier run led
    /// to, where there is one; `begun` is told of a new one before anything is done upon it.
    ///
    /// # Errors
    /// What stands in the way of every other row too.
    pub async fn erase(
        &self,
        row: u64,
        subject: pb::ConsentSubject,
        mut known: Option<pb::PrivacyRequest>,
        begun: &mut impl FnMut(&pb::PrivacyRequest) -> Result<(), Failure>,
    ) -> Result<(String, Answer), Failure> {
        let mut before = String::new();
        loop {
            let asked = match known.take() {
                Some(asked) => asked,
                None => match self.take_in(row, subject.clone(), &before).await? {
                    Ok(asked) => {
                        begun(&asked)?;
                        asked
                    }
                    Err(answer) => return Ok((String::new(), answer)),
                },
            };
            let name = asked.name.clone();
            let is_old = asked.state() == pb::PrivacyRequestState::Completed || is_of_nobody(&asked);
            let answer = self.to_its_end(row, asked).await?;
            // What was true at an earlier run need not be any more: they may have been let in again, or come for the first time.
            if !is_old || name == before || !self.is_there(subject.clone()).await? {
                return Ok((name, answer));
            }
            before = name;
        }
    }

    /// One request about a row, made behind another; or why there is none.
    async fn take_in(
        &self,
        row: u64,
        subject: pb::ConsentSubject,
        before: &str,
    ) -> Result<Result<pb::PrivacyRequest, Answer>, Failure> {
        let client = self.client;
        let mut request = self.arguments.taking.request(&self.arguments.target, self.arguments.law(), subject);
        request.request_id = self.named(row, "create", before);
        let taken =
            client.ask_or(PATIENCE, || async { client.privacy().create_privacy_request(request.clone()).await }).await;
        let name = match taken {
            Ok(taken) => taken.request.unwrap_or_default().name,
            Err(status) if ["IDENTIFIER_SHARED", "PROFILE_SPLIT"].contains(&reason(&status).as_str()) => {
                return Ok(Err(Answer::Shared));
            }
            // This row alone cannot be read.
            Err(status) if reason(&status) == "REQUEST_INVALID" => {
                return Ok(Err(Answer::Unreadable(status.message().to_owned())));
            }
            Err(status) => return Err(client.failed(&status)),
        };
        // As it is now: the call may be one of an earlier run.
        self.request(&name).await?.map(Ok).ok_or_else(|| Failure::new(format!("{name} is gone")))
    }

    /// A request as it is now.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn request(&self, name: &str) -> Result<Option<pb::PrivacyRequest>, Failure> {
        let (client, request) = (self.client, pb::GetPrivacyRequestRequest { name: name.to_owned() });
        match client.ask_or(PATIENCE, || async { client.privacy().get_privacy_request(request.clone()).await }).await {
            Ok(known) => Ok(known.request),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(client.failed(&status)),
        }
    }

    /// Whether it is held today.
    async fn is_there(&self, subject: pb::ConsentSubject) -> Result<bool, Failure> {
        if self.is_held {
            return Ok(true);
        }
        let client = self.client;
        let Some(request) = lookup_of(self.arguments, &[subject]) else { return Ok(false) };
        let got = client.ask(|| async { client.profiles().batch_lookup_profiles(request.clone()).await }).await?;
        Ok(got.results.iter().any(|result| result.profile.is_some() || result.reason == "IDENTIFIER_SHARED"))
    }

    /// The name of a call about a row's request.
    fn call(&self, row: u64, asked: &pb::PrivacyRequest, call: &str, more: &str) -> String {
        self.named(row, call, &format!("{} {more}", asked.name))
    }

    /// Carries a request out as far as it goes, whoever else works on it.
    async fn to_its_end(&self, row: u64, mut asked: pb::PrivacyRequest) -> Result<Answer, Failure> {
        use pb::PrivacyRequestState as State;
        let (mut looks, mut seen) = (0, String::new());
        for _ in 0..TURNS_MAX {
            match asked.state() {
                State::Completed => return Ok(Answer::Erased),
                State::Refused if is_of_nobody(&asked) => return Ok(Answer::NothingHeld),
                State::Refused => return Ok(Answer::Refused(asked.ground)),
                State::InProgress => tokio::time::sleep(TURN).await,
                State::Received => {
                    let call = self.call(row, &asked, "verify", "");
                    self.arguments.taking.verify(self.client, &asked.name, call).await?;
                }
                State::Verified | State::Approved => match self.carry_out(row, &asked).await? {
                    Look::Ended(answer) => return Ok(answer),
                    Look::Changed { etag, why } => {
                        looks += 1;
                        // The same scope twice is not what changed: what was approved is another one.
                        let is_approval = asked.state() == State::Approved && (etag == seen || looks == LOOKS_MAX);
                        if is_approval {
                            return Ok(Answer::Waits(Waiting::Anew(etag)));
                        }
                        if looks == LOOKS_MAX {
                            return Ok(Answer::Failed(why));
                        }
                        seen = etag;
                    }
                    Look::Moved => {}
                },
                state => return Ok(Answer::Failed(format!("the request is {}", state.as_str_name()))),
            }
            let Some(now) = self.request(&asked.name).await? else { break };
            asked = now;
        }
        Ok(Answer::Failed(format!("the request is {}", asked.state().as_str_name())))
    }

    async fn carry_out(&self, row: u64, asked: &pb::PrivacyRequest) -> Result<Look, Failure> {
        let (client, name) = (self.client, asked.name.clone());
        let request = pb::PreviewErasureRequest { name: name.clone() };
        let preview =
            client.ask_or(PATIENCE, || async { client.privacy().preview_erasure(request.clone()).await }).await;
        let preview = match preview {
            Ok(preview) => preview,
            Err(status) if reason(&status) == STATE => return Ok(Look::Moved),
            Err(status) => return Err(client.failed(&status)),
        };
        if preview.records.is_empty() && preview.quarantined + preview.statements + preview.keys == 0 {
            let request = pb::RefusePrivacyRequestRequest {
                name,
                ground: NOTHING_HELD.to_owned(),
                request_id: self.call(row, asked, "refuse", ""),
            };
            let refused =
                client.ask_or(PATIENCE, || async { client.privacy().refuse_privacy_request(request.clone()).await });
            return match refused.await {
                Ok(_) => Ok(Look::Ended(Answer::NothingHeld)),
                Err(status) if reason(&status) == STATE => Ok(Look::Moved),
                Err(status) => Err(client.failed(&status)),
            };
        }
        let request = pb::ExecuteErasureRequest {
            name,
            etag: preview.etag.clone(),
            request_id: self.call(row, asked, "execute", &preview.etag),
        };
        let done = client.ask_or(PATIENCE, || async { client.privacy().execute_erasure(request.clone()).await }).await;
        let Err(status) = done else { return Ok(Look::Ended(Answer::Erased)) };
        match reason(&status).as_str() {
            "SCOPE_CHANGED" => Ok(Look::Changed { etag: preview.etag, why: status.message().to_owned() }),
            STATE => {
                let now = self.request(&asked.name).await?;
                let waits = now.is_some_and(|now| now.state() == pb::PrivacyRequestState::Verified);
                let answer = Answer::Waits(Waiting::First(preview.etag));
                Ok(if waits { Look::Ended(answer) } else { Look::Moved })
            }
            _ => Err(client.failed(&status)),
        }
    }
}

/// Whether it was about somebody of whom nothing was held.
fn is_of_nobody(asked: &pb::PrivacyRequest) -> bool {
    asked.state() == pb::PrivacyRequestState::Refused && asked.ground == NOTHING_HELD
}
