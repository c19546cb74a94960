//! `onefold digest`.

use clap::Args;
use onefold_cli::output::{Side, Table, count};
use onefold_proto::v1 as pb;

use super::{Failure, by_hand, for_people, online, say};
use crate::client::{Client, Target, wire};

/// A digest of the graph: equal on two installations exactly when live facts and clusters are equal.
#[derive(Args)]
pub struct Arguments {
    /// Also digests the golden values, which reads every fragment.
    #[arg(long)]
    golden: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    online(async {
        let target = &arguments.target;
        let client = Client::connect(target).await?;
        let request =
            pb::GetDigestRequest { parent: target.parent(), include_golden_values: arguments.golden, min_sequence: 0 };
        let digest = client.ask(|| async { client.admin().get_digest(request.clone()).await }).await?;
        let Some(paint) = for_people(target, "GetDigestResponse", &digest)? else { return Ok(()) };
        let mut table = Table::new(&[("", Side::Left), ("", Side::Left)]);
        table.row(["graph".to_owned(), digest.graph_digest]);
        if arguments.golden {
            table.row(["golden values".to_owned(), digest.golden_digest]);
        }
        table.row(["records".to_owned(), count(digest.live_record_count)]);
        table.row(["profiles".to_owned(), count(digest.profile_count)]);
        table.row(["at sequence".to_owned(), count(digest.sequence)]);
        let call = wire::grpcurl(&client.address, "AdminService/GetDigest", "GetDigestRequest", &request);
        say(&(table.render(paint) + &by_hand(&call, paint)))
    })
}
