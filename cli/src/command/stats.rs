//! `onefold stats`.

use clap::Args;
use onefold_cli::output::{Side, Table, bar, count};
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, for_people, online, say};
use crate::client::{Client, Target, wire};

/// Counts of a tenant.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let target = &arguments.target;
    online(async {
        let client = Client::connect(target).await?;
        let request = pb::GetStatisticsRequest { parent: target.parent() };
        let stats = client.ask(|| async { client.admin().get_statistics(request.clone()).await }).await?;
        let Some(paint) = for_people(target, "GetStatisticsResponse", &stats)? else { return Ok(()) };
        let mut table = Table::new(&[("", Side::Left), ("", Side::Right), ("", Side::Left)]);
        let per_record = stats.memory_bytes.checked_div(stats.live_record_count).unwrap_or(0);
        let rows: [(&str, u64, String); 10] = [
            ("profiles", stats.profile_count, String::new()),
            ("records", stats.live_record_count, String::new()),
            ("  retracted", stats.retracted_record_count, String::new()),
            ("  in the largest profile", stats.largest_profile_record_count, String::new()),
            ("values that may link", stats.value_count, String::new()),
            ("  generic, linking nobody", stats.generic_value_count, String::new()),
            ("possible links kept apart", stats.possible_link_count, String::new()),
            ("in quarantine", stats.quarantined_count, String::new()),
            ("memory for resolution", stats.memory_bytes, format!("bytes, {per_record} a record")),
            ("last sequence", stats.sequence, String::new()),
        ];
        for (name, number, unit) in rows {
            table.row([name.to_owned(), count(number), unit]);
        }
        let mut text = table.render(paint);
        if !stats.live_records_by_source.is_empty() {
            let mut sources: Vec<_> = stats.live_records_by_source.iter().collect();
            sources.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
            let all = stats.live_record_count.max(1);
            let mut table = Table::new(&[("source", Side::Left), ("records", Side::Right), ("", Side::Left)]);
            for (name, records) in sources {
                let share = u32::try_from(records * 1_000 / all).unwrap_or(1_000);
                table.row([name.clone(), count(*records), bar(share)]);
            }
            text.push('\n');
            text.push_str(&table.render(paint));
        }
        let call = wire::grpcurl(&client.address, "AdminService/GetStatistics", "GetStatisticsRequest", &request);
        say(&(text + &by_hand(&call, paint)))
    })
}
