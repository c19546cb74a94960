//! `onefold serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use onefold_cli::output::{Paint, count};
use onefold_server::config::Tls;
use onefold_server::{Config, Recovered, ServeError, Server, telemetry};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, online, paint, say};

/// Runs the service on a data directory, which is made when it is not there. No configuration file is needed.
#[derive(Args)]
pub struct Arguments {
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = "./onefold-data", env = "ONEFOLD_DATA")]
    data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700", env = "ONEFOLD_LISTEN")]
    listen: SocketAddr,
    /// File with the root key (64 hexadecimal digits), kept outside the data directory. Without it the key lies in
    /// the data directory, and who copies that can read it.
    #[arg(long, value_name = "FILE")]
    root_key_file: Option<PathBuf>,
    /// Listens where other machines can connect, although nothing is encrypted or nobody authenticated.
    #[arg(long)]
    allow_insecure_remote: bool,
    /// Encrypts: file with the server's certificate and those between it and its authority (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "ONEFOLD_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// File with its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "ONEFOLD_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// File with the authority whose certificates clients must have (PEM); without it any client may connect.
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "ONEFOLD_CLIENT_CA")]
    client_ca: Option<PathBuf>,
    /// Asks every caller for an API key with a role that may make the call; health alone answers everybody.
    #[arg(long, env = "ONEFOLD_REQUIRE_AUTH")]
    require_auth: bool,
    /// File with the administrator's key, 32 characters or more: makes the first API keys, and is good whatever keys there
    /// are. `ONEFOLD_ADMIN_KEY` may hold the key itself instead.
    #[arg(long, value_name = "FILE")]
    admin_key_file: Option<PathBuf>,
    /// Lets the pages of this origin call through gRPC-Web, e.g. `https://console.example.org`; may be given more than
    /// once. Without it no browser reaches the server.
    #[arg(long, value_name = "ORIGIN")]
    web_origin: Vec<String>,
    /// New tenants link by identifiers alone, until `onefold model use` puts a match model in force.
    #[arg(long)]
    exact_only: bool,
    /// Takes the one-click unsubscribe posts of mail providers (RFC 8058) at `/unsubscribe/…`, over HTTP/1.1 too.
    #[arg(long)]
    one_click: bool,
    /// What is logged to standard error, e.g. `info` or `onefold_server=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "ONEFOLD_LOG")]
    log: String,
    /// Logs as JSON lines.
    #[arg(long)]
    log_json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    telemetry::start(&arguments.log, arguments.log_json).map_err(Failure::usage)?;
    online(async {
        // From here on a signal asks for an orderly end, also while the store is being opened.
        let mut signals = Signals::catch()?;
        let mut config = Config::new(&arguments.data, arguments.listen);
        config.root_key_file.clone_from(&arguments.root_key_file);
        config.allow_insecure_remote = arguments.allow_insecure_remote;
        config.match_models = !arguments.exact_only;
        config.tls = arguments.tls_cert.clone().zip(arguments.tls_key.clone()).map(|(certificate, key)| Tls {
            certificate,
            key,
            client_authority: arguments.client_ca.clone(),
        });
        config.require_auth = arguments.require_auth;
        config.admin_key_file.clone_from(&arguments.admin_key_file);
        config.admin_key = std::env::var("ONEFOLD_ADMIN_KEY").ok().filter(|key| !key.is_empty());
        config.one_click = arguments.one_click;
        config.web_origins.clone_from(&arguments.web_origin);
        let server = Server::start(config).await.map_err(|error| start_failure(&error.into(), &arguments.data))?;
        say(&banner(&server, &arguments.data, paint(&std::io::stdout())))?;
        let ended = server.run_until(async {
            signals.next().await;
            let _ = say("\nending: calls in flight are finished first; a second signal ends at once\n");
            tokio::spawn(async move {
                signals.next().await;
                // What was acknowledged is on disk; nothing is lost but the calls in flight.
                std::process::exit(130);
            });
        });
        ended.await.map_err(|error| start_failure(&error, &arguments.data))?;
        say("ended in order\n")
    })
}

/// SIGTERM and Ctrl-C.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the two signals over.
    ///
    /// # Errors
    /// A [`Failure`] when the system does not give them.
    pub fn catch() -> Result<Self, Failure> {
        let catch = |kind| signal(kind).map_err(|error| Failure::new(format!("signals cannot be caught: {error}")));
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
        ServeError::Start(onefold_server::StartError::Listen { source, .. })
            if source.kind() == std::io::ErrorKind::AddrInUse =>
        {
            Some("another server listens there; `--listen 127.0.0.1:0` takes a free port".to_owned())
        }
        ServeError::Start(onefold_server::StartError::DataDir(_)) => {
            Some(format!("the data directory is {}; `--data DIR` names another", data.display()))
        }
        _ => None,
    };
    if let Some(hint) = hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    Failure::new(text)
}

/// What is served, what was found, and what to try.
fn banner(server: &Server, data: &Path, paint: Paint) -> String {
    let address = server.address();
    let (program, to) = (program(), to_option(address));
    let tries = ["import customers.csv", "stats", "watch --snapshot"];
    let tries: Vec<String> = tries.iter().map(|command| format!("  {program} {command}{to}\n")).collect();
    format!(
        "{}  health     grpcurl -plaintext {address} grpc.health.v1.Health/Check\n  services   grpcurl -plaintext {address} list   (reflection is on)\n\ntry\n{}",
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
