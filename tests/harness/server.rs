//! A server as a process of its own, so that tests can kill it. Prints its address once it serves; ends in order when
//! its input ends, which it also does when the test dies.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use onefold_server::clock::SystemClock;
use onefold_server::config::Collector;
use onefold_server::opendsr::OpenDsr;
use onefold_server::{Config, Server, rotation};

/// SIGKILL, so that nothing is done at the end.
fn kill_oneself() {
    let id = std::process::id().to_string();
    let _ = std::process::Command::new("kill").args(["-9", &id]).status();
    loop {
        std::thread::park();
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let Some(data) = std::env::var_os("ONEFOLD_TEST_DATA") else {
        eprintln!("ONEFOLD_TEST_DATA names the data directory");
        return ExitCode::from(2);
    };
    if let Ok(filter) = std::env::var("ONEFOLD_TEST_LOG")
        && let Err(error) = onefold_server::telemetry::start(&filter, true)
    {
        eprintln!("{error}");
        return ExitCode::from(2);
    }
    // A restore instead, of this backup of the installation there, so that tests can kill that too.
    if let (Some(backup), Some(of)) =
        (std::env::var_os("ONEFOLD_TEST_RESTORE"), std::env::var_os("ONEFOLD_TEST_RESTORE_OF"))
    {
        return match onefold_tests::backups::restore_after(of.as_ref(), backup.as_ref(), data.as_ref()) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(3)
            }
        };
    }
    // A rotation of keys instead, from this file to that one; killed at the step with this number, where one is given.
    if let (Some(from), Some(to)) =
        (std::env::var_os("ONEFOLD_TEST_ROTATE_FROM"), std::env::var_os("ONEFOLD_TEST_ROTATE_TO"))
    {
        let (mut steps, last) = (0, number("ONEFOLD_TEST_ROTATE_STEP"));
        let told = rotation::rotate(data.as_ref(), Some(from.as_ref()), Some(to.as_ref()), &SystemClock, |_| {
            if Some(steps) == last {
                kill_oneself();
            }
            steps += 1;
        });
        return match told {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(3)
            }
        };
    }
    let mut config = Config::new(data, SocketAddr::from(([127, 0, 0, 1], 0)));
    config.segment_bytes = number("ONEFOLD_TEST_SEGMENT_BYTES").map_or(onefold_tests::SEGMENT_BYTES, |n| n as u32);
    config.root_key_file = std::env::var_os("ONEFOLD_TEST_ROOT_KEY").map(Into::into);
    config.match_models = number("ONEFOLD_TEST_MATCH_MODELS").is_some();
    config.checkpoint_every = number("ONEFOLD_TEST_CHECKPOINT_EVERY").unwrap_or(config.checkpoint_every);
    // A folder with key and certificate, and the hosts that may be called back.
    if let Some(folder) = std::env::var_os("ONEFOLD_TEST_OPENDSR").map(std::path::PathBuf::from) {
        config.opendsr = Some(OpenDsr {
            domain: "localhost".to_owned(),
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
            identities: Vec::new(),
            callback_hosts: std::env::var("ONEFOLD_TEST_CALLBACK_HOST").into_iter().collect(),
            callback_authority: None,
            allow_private_callbacks: true,
        });
    }
    config.traces = std::env::var("ONEFOLD_TEST_TRACES_TO").ok().map(|endpoint| Collector { endpoint, one_in: 1 });
    let server = match Server::start(config).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(3);
        }
    };
    let mut out = std::io::stdout();
    if writeln!(out, "address {}", server.address()).and_then(|()| out.flush()).is_err() {
        return ExitCode::from(2);
    }
    // On a thread of its own, which a server that ends by itself does not wait for.
    let (tell, told_to_end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tell.send(());
    });
    match server.run_until(async { drop(told_to_end.await) }).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(4)
        }
    }
}
