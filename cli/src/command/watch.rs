//! `onefold watch`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use onefold_cli::output::{Paint, count};
use onefold_proto::v1 as pb;
use onefold_proto::v1::watch_profiles_response::Message;
use tonic::Status;

use super::serve::Signals;
use super::{Failure, by_hand, card, history, online, paint, say};
use crate::client::{Client, Patience, Target, wire};

/// Follows the change feed: what happened to which profile, in order, without a gap. With --json one message a line.
#[derive(Args)]
pub struct Arguments {
    /// Every live profile first, then what changes.
    #[arg(long, conflicts_with = "cursor")]
    snapshot: bool,
    /// Only what follows this cursor, as the feed gave it; 0 is everything that ever happened.
    #[arg(long, value_name = "N", default_value_t = 0)]
    cursor: u64,
    /// Shows the profiles too, as they are when sent.
    #[arg(long)]
    view: Option<View>,
    /// Shows of profiles what this purpose may read; of whom it does not permit, only that.
    #[arg(long, value_name = "NAME", requires = "view")]
    purpose: Option<String>,
    /// Ends when the present is reached.
    #[arg(long)]
    stop_at_end: bool,
    /// How long to go on when the connection breaks.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    retry_seconds: u64,
    #[command(flatten)]
    target: Target,
}

/// How much of a profile.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum View {
    /// Golden values and identifiers.
    Basic,
    /// Also the provenance.
    Full,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let target = &arguments.target;
    online(async {
        let mut signals = Signals::catch()?;
        let client = Client::connect(target).await?;
        let request = pb::WatchProfilesRequest {
            parent: target.parent(),
            cursor: arguments.cursor,
            snapshot: arguments.snapshot,
            view: match arguments.view {
                None => pb::ProfileView::Unspecified,
                Some(View::Basic) => pb::ProfileView::Basic,
                Some(View::Full) => pb::ProfileView::Full,
            } as i32,
            stop_at_end: arguments.stop_at_end,
            purpose: arguments.purpose.clone().unwrap_or_default(),
        };
        let paint = paint(&std::io::stdout());
        let mut feed =
            Feed { json: target.json, full: arguments.view == Some(View::Full), paint, cursor: arguments.cursor };
        let outcome = tokio::select! {
            outcome = follow(&client, &request, &mut feed, Duration::from_secs(arguments.retry_seconds)) => outcome,
            () = signals.next() => Ok(()),
        };
        // With JSON every message brings its cursor.
        if !target.json && feed.cursor > arguments.cursor {
            let call = wire::grpcurl(&client.address, "ProfileService/WatchProfiles", "WatchProfilesRequest", &request);
            say(&format!("  to go on from here: --cursor {}\n{}", feed.cursor, by_hand(&call, paint)))?;
        }
        outcome
    })
}

/// Follows the feed over broken connections: it goes on behind the last cursor.
async fn follow(
    client: &Client,
    request: &pb::WatchProfilesRequest,
    feed: &mut Feed,
    retry_for: Duration,
) -> Result<(), Failure> {
    let mut patience = Patience::new(retry_for);
    let mut request = request.clone();
    loop {
        let before = feed.cursor;
        let status = match one_connection(client, &request, feed).await? {
            Ok(()) if request.stop_at_end => return Ok(()),
            Ok(()) => Status::unavailable("the server ended the feed"),
            Err(status) => status,
        };
        if feed.cursor > before {
            patience.restore();
        }
        let Some(wait) = patience.wait_after(&status) else { return Err(client.failed(&status)) };
        eprintln!("connection lost, again in {:.1} s", wait.as_secs_f64());
        tokio::time::sleep(wait).await;
        // A snapshot that was cut off starts again; behind its end the cursor stands for it.
        request.cursor = feed.cursor;
        request.snapshot = request.snapshot && feed.cursor == 0;
    }
}

async fn one_connection(
    client: &Client,
    request: &pb::WatchProfilesRequest,
    feed: &mut Feed,
) -> Result<Result<(), Status>, Failure> {
    let mut messages = match client.profiles().watch_profiles(request.clone()).await {
        Ok(messages) => messages.into_inner(),
        Err(status) => return Ok(Err(status)),
    };
    loop {
        match messages.message().await {
            Ok(Some(message)) => feed.show(&message)?,
            Ok(None) => return Ok(Ok(())),
            Err(status) => return Ok(Err(status)),
        }
    }
}

struct Feed {
    json: bool,
    full: bool,
    paint: Paint,
    cursor: u64,
}

impl Feed {
    fn show(&mut self, message: &pb::WatchProfilesResponse) -> Result<(), Failure> {
        self.cursor = self.cursor.max(message.cursor);
        if self.json {
            return say(&(wire::json("WatchProfilesResponse", message).to_string() + "\n"));
        }
        let text = match &message.message {
            Some(Message::Snapshot(profile)) if profile.record_count == 0 => {
                let why = not_permitted(message);
                format!("{:>10}  {}{why}\n", count(profile.sequence), card::short(&profile.name))
            }
            Some(Message::Snapshot(profile)) => card::render(profile, self.full, self.paint) + "\n",
            Some(Message::SnapshotEnd(end)) => {
                format!("  {} profiles; what follows happened since\n", count(end.profile_count))
            }
            Some(Message::Event(event)) => {
                let line = format!(
                    "{:>10}  {}  {}  {}\n",
                    count(event.sequence),
                    card::time(event.commit_time.as_ref()),
                    card::short(if event.profile.is_empty() { &event.account } else { &event.profile }),
                    history::what(event)
                );
                match &message.profile {
                    Some(profile) => line + &card::render(profile, self.full, self.paint) + "\n",
                    None if message.not_permitted.is_empty() => line,
                    None => format!("{}{}\n", line.trim_end(), not_permitted(message)),
                }
            }
            Some(Message::Heartbeat(_)) | None => return Ok(()),
        };
        say(&text)
    }
}

/// Why nothing of a profile is shown, where that is so.
fn not_permitted(message: &pb::WatchProfilesResponse) -> String {
    match message.not_permitted.is_empty() {
        true => String::new(),
        false => format!("  not shown: {}", message.not_permitted.join(", ")),
    }
}
