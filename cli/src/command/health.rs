//! `onefold health`.

use std::time::Duration;

use clap::Args;
use onefold_cli::output::{Side, Table};
use onefold_proto::v1::FILE_DESCRIPTOR_SET;
use prost::Message;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{Failure, online, paint, say, say_json};
use crate::client::{Client, Target};

/// What a server says of each of its services; the exit code is 0 when all of them serve, and 1 otherwise. Asks for no key.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    target: Target,
    /// How long to wait for an answer, in seconds.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    wait_seconds: u64,
}

/// What stands for the server as a whole.
const WHOLE: &str = "";

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let within = Duration::from_secs(arguments.wait_seconds);
    online(async {
        let asked = tokio::time::timeout(within, ask(&arguments.target));
        let found = asked.await.unwrap_or_else(|_| Err(Failure::new("no answer came in time")))?;
        if arguments.target.json {
            let words = found.iter().map(|(service, word)| (named(service).to_owned(), (*word).into())).collect();
            say_json(&serde_json::Value::Object(words))?;
        } else {
            let mut table = Table::new(&[("service", Side::Left), ("", Side::Left)]);
            for (service, word) in &found {
                table.row([named(service).to_owned(), (*word).to_owned()]);
            }
            say(&table.render(paint(&std::io::stdout())))?;
        }
        match found.iter().filter(|(_, word)| *word != ServingStatus::Serving.as_str_name()).count() {
            0 => Ok(()),
            count => Err(Failure::new(format!("{count} of {} do not serve", found.len()))),
        }
    })
}

fn named(service: &str) -> &str {
    if service == WHOLE { "the server" } else { service }
}

async fn ask(target: &Target) -> Result<Vec<(String, &'static str)>, Failure> {
    let client = Client::connect(target).await?;
    let mut found = Vec::new();
    for service in services()? {
        let request = HealthCheckRequest { service: service.clone() };
        let word = match client.health().check(request).await {
            Ok(answer) => answer.into_inner().status().as_str_name(),
            // A service that this server does not know yet, or no more.
            Err(status) if status.code() == tonic::Code::NotFound => ServingStatus::ServiceUnknown.as_str_name(),
            Err(status) => return Err(client.failed(&status)),
        };
        found.push((service, word));
    }
    Ok(found)
}

/// The server as a whole, and every service of the contract.
fn services() -> Result<Vec<String>, Failure> {
    let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)
        .map_err(|error| Failure::new(format!("the contract cannot be read: {error}")))?;
    let ours = set.file.iter().filter(|file| file.package() == "onefold.v1");
    let names = ours.flat_map(|file| file.service.iter().map(|service| format!("onefold.v1.{}", service.name())));
    Ok(std::iter::once(WHOLE.to_owned()).chain(names).collect())
}
