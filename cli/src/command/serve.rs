//! `onefold serve`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use onefold_cli::output::{Paint, count};
use onefold_cli::settings::{ConfigFile, Fault, Given, Settings, strange_variables};
use onefold_server::{Recovered, ServeError, Server, StartError, telemetry};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, online, paint, say};

/// Runs the service on a data directory, which is made when it is not there. No configuration file is needed.
#[derive(Args)]
pub struct Arguments {
    /// A setting is a row of `onefold_cli::settings`, which makes its option, its variable and its key of the file.
    #[command(flatten)]
    given: Given,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (settings, strange) = settings(&arguments.given)?;
    telemetry::start(&settings.text("log"), settings.flag("log_json")).map_err(Failure::usage)?;
    telemetry::notice(strange.iter().map(ToString::to_string));
    let config = settings.config();
    let (data, reflection) = (config.data.clone(), config.reflection);
    let opendsr = config.opendsr.as_ref().map(|opendsr| opendsr.domain.clone());
    online(async {
        // From here on a signal asks for an orderly end, also while the store is being opened.
        let mut signals = Signals::catch()?;
        let server = Server::start(config).await.map_err(|error| start_failure(&error.into(), &data))?;
        let reflects = reflection || server.address().ip().is_loopback();
        say(&banner(&server, &data, (reflects, opendsr), paint(&std::io::stdout())))?;
        let ended = server.run_until(async {
            signals.next().await;
            let _ = say("\nending: calls in flight are finished first; a second signal ends at once\n");
            tokio::spawn(async move {
                signals.next().await;
                // What was acknowledged is on disk; nothing is lost but the calls in flight.
                std::process::exit(130);
            });
        });
        ended.await.map_err(|error| start_failure(&error, &data))?;
        say("ended in order\n")
    })
}

/// What holds on this command line, in this environment and with the file that either names; and variables that look like
/// a setting and are none.
pub fn settings(given: &Given) -> Result<(Settings, Vec<Fault>), Failure> {
    // What is not text is no setting of ours.
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let file = given.config.as_deref().map(ConfigFile::read).transpose();
    let (file, mut faults) = match file {
        Ok(file) => (file, Vec::new()),
        Err(faults) => (None, faults),
    };
    let settings = match Settings::lay(given, &environment, file.as_ref()) {
        Ok(settings) if faults.is_empty() => settings,
        Ok(_) => return Err(faulty(&faults)),
        Err(more) => {
            faults.extend(more);
            return Err(faulty(&faults));
        }
    };
    Ok((settings, strange_variables(environment.keys().map(String::as_str))))
}

/// All faults of a configuration, a line each.
pub fn faulty(faults: &[Fault]) -> Failure {
    let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
    let what = if faults.len() == 1 { "setting cannot be used" } else { "settings cannot be used" };
    Failure::usage(format!("{} {what}{}", faults.len(), lines.concat()))
}

/// What a write beyond the limit on file sizes sends on Linux, and what ends a process that does not take it over.
const SIGXFSZ: i32 = 25;

/// SIGTERM and Ctrl-C.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the two signals over; and a third, so that a write beyond `ulimit -f` fails as on a full disk instead of ending
    /// the process without a word.
    ///
    /// # Errors
    /// A [`Failure`] when the system does not give them.
    pub fn catch() -> Result<Self, Failure> {
        let catch = |kind| signal(kind).map_err(|error| Failure::new(format!("signals cannot be caught: {error}")));
        // The handler stays when what listens to it is dropped: the write alone fails then.
        drop(catch(SignalKind::from_raw(SIGXFSZ))?);
        Ok(Self { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Why a server does not run, with its causes and what to do.
pub fn start_failure(error: &ServeError, data: &Path) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    let hint = match error {
        ServeError::Start(StartError::Listen { source, .. }) if source.kind() == std::io::ErrorKind::AddrInUse => {
            Some("another server listens there; `--listen 127.0.0.1:0` takes a free port".to_owned())
        }
        ServeError::Start(StartError::DataDir(_)) => {
            Some(format!("the data directory is {}; `--data DIR` names another", data.display()))
        }
        ServeError::Start(StartError::Journal(_) | StartError::Vault(..) | StartError::Replay(_)) => {
            Some(format!("`onefold doctor {}` looks over all of it and says what to do", data.display()))
        }
        _ => None,
    };
    if let Some(hint) = hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    Failure::new(text)
}

/// What is served, what was found, and what to try.
fn banner(server: &Server, data: &Path, (reflects, opendsr): (bool, Option<String>), paint: Paint) -> String {
    let address = server.address();
    let (program, to) = (program(), to_option(address));
    let tries = ["import customers.csv", "stats", "watch --snapshot"];
    let tries: Vec<String> = tries.iter().map(|command| format!("  {program} {command}{to}\n")).collect();
    let services = match reflects {
        true => format!("grpcurl -plaintext {address} list   (reflection is on)"),
        false => "`onefold proto export` writes them; --reflection lets the server tell them".to_owned(),
    };
    let opendsr = opendsr.map_or_else(String::new, |domain| format!("  opendsr    https://{domain}/v2/discovery\n"));
    let metrics = server.metrics_address().map_or_else(String::new, |at| format!("  metrics    http://{at}/metrics\n"));
    format!(
        "{}{metrics}{opendsr}  health     grpcurl -plaintext {address} grpc.health.v1.Health/Check\n  services   {services}\n\ntry\n{}",
        banner_line(server, data, paint),
        tries.concat(),
    )
}

/// What is served, and what was found.
pub fn banner_line(server: &Server, data: &Path, paint: Paint) -> String {
    let heading = format!("onefold {} serves on {}", env!("CARGO_PKG_VERSION"), server.address());
    format!(
        "{}\n  data       {}\n  recovered  {}\n",
        paint.heading(&heading),
        data.display(),
        recovered(server.recovered())
    )
}

/// How the user called this program, to be called so again.
pub fn program() -> String {
    std::env::args().next().filter(|name| name.contains('/')).unwrap_or_else(|| "onefold".to_owned())
}

/// The option that names this server, where it is not the usual one.
pub fn to_option(address: SocketAddr) -> String {
    let usual = SocketAddr::from(([127, 0, 0, 1], 7700));
    if address == usual { String::new() } else { format!(" --to {address}") }
}

fn recovered(found: &Recovered) -> String {
    if found.created {
        return "nothing: the directory is new".to_owned();
    }
    let checkpoint = if found.from_checkpoint { "behind a checkpoint" } else { "without a checkpoint" };
    let cut = if found.cut_tail { "; an unfinished write at the end, never acknowledged, was cut off" } else { "" };
    format!(
        "records {}, profiles {}; {} entries replayed {checkpoint}, {} ms{cut}",
        count(found.live_records),
        count(found.profiles),
        count(found.replayed_entries),
        count(found.millis)
    )
}
