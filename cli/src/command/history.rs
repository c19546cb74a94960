//! `onefold history`.

use clap::Args;
use onefold_cli::output::{Side, Table, count};
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, card, for_people, online, say};
use crate::client::{Client, PAGE_SIZE, Target, wire};

/// What happened to a profile id: opened, merged, split, emptied. An id resolves for ever.
#[derive(Args)]
pub struct Arguments {
    /// The profile's id.
    #[arg(value_name = "PROFILE")]
    profile: String,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let target = &arguments.target;
    let name = target.profile(&arguments.profile)?;
    online(async {
        let client = Client::connect(target).await?;
        let mut request = pb::ListProfileHistoryRequest { name, page_size: PAGE_SIZE, page_token: String::new() };
        let mut history = pb::ListProfileHistoryResponse::default();
        loop {
            let page = client.ask(|| async { client.profiles().list_profile_history(request.clone()).await }).await?;
            history.events.extend(page.events);
            (history.state, history.current) = (page.state, page.current);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let Some(paint) = for_people(target, "ListProfileHistoryResponse", &history)? else { return Ok(()) };
        let current: Vec<&str> = history.current.iter().map(|name| card::short(name)).collect();
        let state = match history.state() {
            pb::ProfileState::Live => "is live".to_owned(),
            pb::ProfileState::Merged => format!("lives on in {}", current.join(", ")),
            pb::ProfileState::Split => format!("was split; its records are in {}", current.join(", ")),
            pb::ProfileState::Erased => "was erased".to_owned(),
            pb::ProfileState::Emptied | pb::ProfileState::Unspecified => "has no record any more".to_owned(),
        };
        let mut table = Table::new(&[("sequence", Side::Right), ("when", Side::Left), ("what", Side::Left)]);
        for event in &history.events {
            table.row([count(event.sequence), card::time(event.commit_time.as_ref()), what(event)]);
        }
        let heading = paint.heading(&format!("{} {state}", card::short(&request.name)));
        let call =
            wire::grpcurl(&client.address, "ProfileService/ListProfileHistory", "ListProfileHistoryRequest", &request);
        say(&format!("{heading}\n{}{}", table.render(paint), by_hand(&call, paint)))
    })
}

/// An event in words, without its profile.
pub fn what(event: &pb::ProfileEvent) -> String {
    let others: Vec<&str> = event.others.iter().map(|name| card::short(name)).collect();
    let others = others.join(", ");
    match event.kind() {
        pb::ProfileEventKind::Created => "opened".to_owned(),
        pb::ProfileEventKind::Updated => "updated".to_owned(),
        pb::ProfileEventKind::Merged => format!("merged into {others}"),
        pb::ProfileEventKind::Absorbed => format!("took in {others}"),
        pb::ProfileEventKind::Split if event.stays_live => format!("gave records to {others}"),
        pb::ProfileEventKind::Split => format!("split into {others}"),
        pb::ProfileEventKind::Emptied => "emptied: its last record was retracted".to_owned(),
        pb::ProfileEventKind::Erased if event.stays_live => "lost records to an erasure".to_owned(),
        pb::ProfileEventKind::Erased => "erased".to_owned(),
        pb::ProfileEventKind::ConsentChanged => "something was said about consent, or a yes ran out".to_owned(),
        pb::ProfileEventKind::AccountChanged => "account changed".to_owned(),
        pb::ProfileEventKind::Unspecified => "something that this version does not know".to_owned(),
    }
}
