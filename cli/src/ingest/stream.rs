//! Rows to the server: a bounded window of unanswered fragments, and all of them again when the connection breaks.
//!
//! An answer means durable, and answers come in order, so what has none is exactly the window: it is sent again, as often
//! as it takes. Nothing is lost, and the server knows again what it has seen already, so nothing is doubled.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use indicatif::ProgressBar;
use onefold_cli::input::mapping::nearest;
use onefold_proto::v1 as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::tally::Tally;
use super::{At, Row, Sending};
use crate::client::{Client, Patience, request_id};
use crate::command::Failure;

/// Fragments that may be without an answer.
pub const WINDOW_MAX: usize = 4_096;
/// Fragments handed to the connection and not yet taken by it.
const OUTBOUND_MAX: usize = 256;
/// Trust of a source that is made by the way.
const TRUST_DEFAULT: u32 = 500;

/// What a stream of rows needs to know.
pub struct Upload<'a> {
    /// The server.
    pub client: &'a Client,
    /// `tenants/{tenant}`.
    pub parent: String,
    /// Whether sources that are not there yet may be made.
    pub create_sources: bool,
    /// How long to go on trying when nothing goes forward.
    pub retry_for: Duration,
    /// Where the user sees how far it is.
    pub bar: &'a ProgressBar,
}

/// A fragment without an answer.
struct Unanswered {
    at: At,
    message: pb::StreamFragmentsRequest,
    resent: bool,
}

/// How one connection ended.
enum End {
    /// All rows are answered.
    Done,
    /// It broke; the window goes out again.
    Broken(Status),
}

impl Upload<'_> {
    /// Sends all rows, and counts the answers. What was counted stays counted when it fails.
    ///
    /// # Errors
    /// A [`Failure`] when the reader or the server cannot go on.
    pub async fn run(&self, rows: &mut mpsc::Receiver<Row>, tally: &mut Tally) -> Result<(), Failure> {
        let sources = self.client.all_sources(&self.parent).await?.into_iter().map(|source| source.name).collect();
        let mut state = State { window: VecDeque::new(), sent: 0, next: 1, ended: false, sources };
        let mut patience = Patience::new(self.retry_for);
        loop {
            let answered = tally.rows;
            let status = match self.connection(&mut state, rows, tally).await? {
                End::Done => return Ok(()),
                End::Broken(status) => status,
            };
            if tally.rows > answered {
                patience.restore();
            }
            // A store that failed ends its server, and another may be started in its place.
            let store_failed = status.message().contains("must be restarted");
            let wait =
                if store_failed { patience.wait_after(&Status::unavailable("")) } else { patience.wait_after(&status) };
            let Some(wait) = wait else {
                let mut failure = self.client.failed(&status);
                failure.message.push_str(&format!(
                    "\n{} rows are answered and durable; import the same files again to go on where it stopped",
                    onefold_cli::output::count(tally.rows)
                ));
                return Err(failure);
            };
            tally.reconnects += 1;
            let why = if crate::client::said_by_server(&status) { status.message() } else { "connection lost" };
            self.bar.set_message(format!("{why}, again in {:.1} s", wait.as_secs_f64()));
            tokio::time::sleep(wait).await;
            self.bar.set_message("");
            state.sent = 0;
            for unanswered in &mut state.window {
                unanswered.resent = true;
            }
        }
    }

    /// One connection, until all is answered or it breaks.
    async fn connection(
        &self,
        state: &mut State,
        rows: &mut mpsc::Receiver<Row>,
        tally: &mut Tally,
    ) -> Result<End, Failure> {
        let (out, outbound) = mpsc::channel(OUTBOUND_MAX);
        let mut answers = match self.client.ingest().stream_fragments(ReceiverStream::new(outbound)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ok(End::Broken(status)),
        };
        let mut out = Some(out);
        loop {
            while state.window.len() < WINDOW_MAX && !state.ended {
                match rows.try_recv() {
                    Ok(row) => self.take(row, state, tally).await?,
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => state.ended = true,
                }
            }
            if let Some(out) = &out {
                while state.sent < state.window.len() {
                    if out.try_send(state.window[state.sent].message.clone()).is_err() {
                        break;
                    }
                    state.sent += 1;
                }
            }
            if state.ended && state.window.is_empty() {
                return Ok(End::Done);
            }
            if state.ended && state.sent == state.window.len() {
                // Nothing follows: the server may end the stream after its last answer.
                out = None;
            }
            let unsent = state.sent < state.window.len();
            let hungry = state.window.len() < WINDOW_MAX && !state.ended && !unsent;
            tokio::select! {
                biased;
                answer = next(&mut answers) => match answer {
                    Ok(answer) => state.answered(answer, tally, self.bar)?,
                    Err(status) => return Ok(End::Broken(status)),
                },
                // Only waits for room; the top of the loop fills it.
                open = room(out.as_ref()), if unsent && out.is_some() => if !open {
                    // The call is over; its status comes with the answers.
                    out = None;
                },
                row = rows.recv(), if hungry => match row {
                    Some(row) => self.take(row, state, tally).await?,
                    None => state.ended = true,
                },
            }
        }
    }

    async fn take(&self, row: Row, state: &mut State, tally: &mut Tally) -> Result<(), Failure> {
        match row {
            Row::Send(sending) => state.push(*sending, &self.parent),
            Row::Refused { at, reason } => {
                tally.refuse(at, reason);
                self.bar.inc(1);
            }
            Row::Source(name) => self.need(name, state).await?,
            Row::Failed(failure) => return Err(failure),
        }
        Ok(())
    }

    async fn need(&self, name: String, state: &mut State) -> Result<(), Failure> {
        if state.sources.contains(&name) {
            return Ok(());
        }
        if !self.create_sources {
            let near = nearest(&name, state.sources.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Failure::new(format!(
                "{} has no source `{name}`{near}\nhint: `onefold source put {name}` makes it, `--source NAME` names another, `--create-sources=true` makes what is missing",
                self.parent
            )));
        }
        let source =
            pb::Source { name: name.clone(), display_name: name.clone(), trust: TRUST_DEFAULT, ..Default::default() };
        let parent = self.parent.clone();
        let request = pb::PutSourceRequest { parent, source: Some(source), request_id: request_id() };
        let put =
            self.client.ask_for(self.retry_for, || async { self.client.admin().put_source(request.clone()).await });
        put.await?;
        state.sources.insert(name);
        Ok(())
    }
}

/// Waits until the connection takes more; false when it takes nothing any more.
async fn room(out: Option<&mpsc::Sender<pb::StreamFragmentsRequest>>) -> bool {
    match out {
        Some(out) => out.reserve().await.is_ok(),
        None => false,
    }
}

async fn next(answers: &mut Streaming<pb::StreamFragmentsResponse>) -> Result<pb::StreamFragmentsResponse, Status> {
    // The server ends a stream only after the last answer, so an end is a break.
    answers.message().await?.ok_or_else(|| Status::unavailable("the server ended the stream"))
}

/// What survives a connection.
struct State {
    window: VecDeque<Unanswered>,
    /// How many of the window went out on this connection.
    sent: usize,
    next: u64,
    /// No row follows.
    ended: bool,
    sources: HashSet<String>,
}

impl State {
    fn push(&mut self, sending: Sending, parent: &str) {
        let message = pb::StreamFragmentsRequest {
            parent: parent.to_owned(),
            client_sequence: self.next,
            action: Some(sending.action),
        };
        self.next += 1;
        self.window.push_back(Unanswered { at: sending.at, message, resent: false });
    }

    fn answered(
        &mut self,
        answer: pb::StreamFragmentsResponse,
        tally: &mut Tally,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let out_of_turn =
            || Failure::new("the server answered out of turn; this is a fault of the server, please report it");
        let first = self.window.front().filter(|first| first.message.client_sequence == answer.client_sequence);
        let (Some(first), Some(result), true) = (first, answer.result, self.sent > 0) else {
            return Err(out_of_turn());
        };
        tally.answer(first.at, result, first.resent);
        self.window.pop_front();
        self.sent -= 1;
        bar.inc(1);
        Ok(())
    }
}
