//! What `onefold serve` can be told: one table. A setting has one name and three spellings, `--tls-cert` on the command
//! line, `ONEFOLD_TLS_CERT` in the environment and `tls_cert` in the configuration file, of which the first that is there
//! wins, and a default.
//!
//! Secrets are no settings: a file is named that holds one.

mod file;
mod given;
mod laid;

pub use file::ConfigFile;
pub use given::Given;
pub use laid::{Origin, Settings, example};

use crate::input::mapping::nearest;

/// Something that cannot be used as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it was given: a file and its line, an option or a variable.
    pub at: String,
    /// What is wrong, and what to write instead. Repeats nothing from where a secret may stand.
    pub why: String,
}

impl Fault {
    fn new(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self { at: at.into(), why: why.into() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.at, self.why)
    }
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file or folder.
    Path,
    /// `HOST:PORT`, the host as an address.
    Address,
    /// true or false.
    Flag,
    /// A text.
    Text,
    /// Several texts.
    Texts,
    /// A whole number from the first to the second.
    Whole(u64, u64),
}

/// What a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text, a path or an address.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// true or false.
    Flag(bool),
    /// A whole number.
    Whole(u64),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in the configuration file.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is when nothing is said, as in the environment; empty for nothing.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

const fn setting(key: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { key, kind, default, help }
}

/// An hour and a day, in seconds.
const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// All of them, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    setting("data", Kind::Path, "./onefold-data", "The data directory, which is made when it is not there."),
    setting("listen", Kind::Address, "127.0.0.1:7700", "Where to listen; port 0 takes a free one."),
    setting(
        "root_key_file",
        Kind::Path,
        "",
        "File with the root key (64 hexadecimal digits), kept outside the data directory. Without it the key lies in the data directory, and who copies that can read it.",
    ),
    setting(
        "allow_insecure_remote",
        Kind::Flag,
        "false",
        "Listens where other machines can connect, although nothing is encrypted or nobody authenticated.",
    ),
    setting(
        "tls_cert",
        Kind::Path,
        "",
        "Encrypts: file with the server's certificate and those between it and its authority (PEM).",
    ),
    setting("tls_key", Kind::Path, "", "File with its private key (PEM)."),
    setting(
        "client_ca",
        Kind::Path,
        "",
        "File with the authority whose certificates clients must have (PEM); without it any client may connect.",
    ),
    setting(
        "require_auth",
        Kind::Flag,
        "false",
        "Asks every caller for an API key with a role that may make the call; health alone answers everybody.",
    ),
    setting(
        "admin_key_file",
        Kind::Path,
        "",
        "File with the administrator's key, 32 characters or more: makes the first API keys, and is good whatever keys there are. The variable ONEFOLD_ADMIN_KEY may hold the key itself instead.",
    ),
    setting(
        "oidc_issuer",
        Kind::Text,
        "",
        "Takes the tokens of this OpenID Connect issuer beside API keys: what `iss` must be, e.g. https://id.example.org/.",
    ),
    setting("oidc_audience", Kind::Text, "", "What `aud` of its tokens must name: this server."),
    setting(
        "oidc_jwks",
        Kind::Path,
        "",
        "The issuer's public keys (JWKS): a file, which is read again when it changes, or an https:// address, which is asked again every 15 minutes and for keys that are not known.",
    ),
    setting(
        "oidc_ca",
        Kind::Path,
        "",
        "File with the authority that vouches for the address of the issuer's keys (PEM); without it those are trusted whom this machine trusts.",
    ),
    setting(
        "oidc_roles_claim",
        Kind::Text,
        "roles",
        "The claim with the roles: ingest, reader, steward, privacy-officer, auditor, admin; dots lead into claims within claims, e.g. realm_access.roles.",
    ),
    setting(
        "oidc_role_prefix",
        Kind::Text,
        "",
        "What stands in front of the names of our roles in that claim, e.g. onefold-.",
    ),
    setting(
        "oidc_tenant_claim",
        Kind::Text,
        "tenant",
        "The claim with the tenants, one or several; * is every tenant. Without the claim no tenant is reached.",
    ),
    setting(
        "reflection",
        Kind::Flag,
        "false",
        "Answers reflection, which names every service and message, on an address that other machines can reach too; on loopback it always does.",
    ),
    setting(
        "web_origin",
        Kind::Texts,
        "",
        "Lets the pages of these origins call through gRPC-Web, e.g. https://console.example.org; may be given more than once, with commas in the environment. Without it no browser reaches the server.",
    ),
    setting(
        "exact_only",
        Kind::Flag,
        "false",
        "New tenants link by identifiers alone, until `onefold model use` puts a match model in force.",
    ),
    setting(
        "one_click",
        Kind::Flag,
        "false",
        "Takes the one-click unsubscribe posts of mail providers (RFC 8058) at /unsubscribe/…, over HTTP/1.1 too.",
    ),
    setting(
        "opendsr_domain",
        Kind::Text,
        "",
        "Takes requests of controllers by OpenDSR 2.0 at /v2/…, over HTTP/1.1 too: the host that controllers reach this server at, with a port where it is not 443, e.g. opendsr.example.org.",
    ),
    setting(
        "opendsr_cert",
        Kind::Path,
        "",
        "File with the certificate of that host that vouches for what is signed, and those between it and its authority (PEM).",
    ),
    setting(
        "opendsr_key",
        Kind::Path,
        "",
        "File with its private key (PEM): RSA of 2,048 bits or more, or ECDSA over P-256.",
    ),
    setting(
        "opendsr_identity",
        Kind::Texts,
        "",
        "TYPE=NAMESPACE: which namespace a type of identity is looked up in, in place of what is usual for that type, e.g. controller_customer_id=crm_id; with nothing behind the sign the type is not taken. May be given more than once, with commas in the environment.",
    ),
    setting(
        "opendsr_callback_host",
        Kind::Texts,
        "",
        "Hosts that controllers may have called when a request's status changes, with a port where it is not 443, e.g. controller.example.org; without it nobody is called. May be given more than once, with commas in the environment.",
    ),
    setting(
        "opendsr_callback_ca",
        Kind::Path,
        "",
        "File with the authority that vouches for these hosts (PEM); without it those are trusted whom this machine trusts.",
    ),
    setting(
        "opendsr_allow_private_callbacks",
        Kind::Flag,
        "false",
        "Calls these hosts though their names lead into private networks or to this machine, and this machine without TLS too.",
    ),
    setting(
        "metrics_listen",
        Kind::Address,
        "",
        "Serves metrics to Prometheus at http://ADDR/metrics, in the clear and to whoever asks; without it nowhere.",
    ),
    setting("allow_remote_metrics", Kind::Flag, "false", "Serves metrics where other machines can read them."),
    setting(
        "traces_to",
        Kind::Text,
        "",
        "Sends traces by OTLP over gRPC to the collector at this address, e.g. http://127.0.0.1:4317; without it nowhere. The variables OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT may name it instead, unless OTEL_EXPORTER_OTLP_PROTOCOL is another than grpc or OTEL_SDK_DISABLED is true.",
    ),
    setting(
        "trace_one_in",
        Kind::Whole(1, 1_000_000_000),
        "1",
        "Of the calls whose caller sends no trace of its own, one in so many is traced.",
    ),
    setting("log", Kind::Text, "info", "What is logged to standard error, e.g. info or onefold_server=debug."),
    setting("log_json", Kind::Flag, "false", "Logs as JSON lines."),
    setting(
        "connections_max",
        Kind::Whole(1, 100_000),
        "900",
        "Connections at once; further ones are closed as they come. Each takes a file descriptor.",
    ),
    setting(
        "connections_per_address",
        Kind::Whole(1, 100_000),
        "",
        "Connections of one address at once; without it a quarter of all, and all of them on loopback. Raise it where a proxy stands in front of every caller.",
    ),
    setting(
        "idle_wait_seconds",
        Kind::Whole(10, DAY),
        "900",
        "A connection on which no call is under way for so long is closed.",
    ),
    setting(
        "connection_age_max_seconds",
        Kind::Whole(10, DAY),
        "1800",
        "After this a connection takes no new calls, and its client opens another.",
    ),
    setting(
        "first_call_wait_seconds",
        Kind::Whole(1, HOUR),
        "30",
        "A connection on which nobody was let in for so long after it was opened is closed.",
    ),
    setting(
        "message_wait_seconds",
        Kind::Whole(1, DAY),
        "600",
        "A client's stream on which no further message comes for so long ends; what was answered stands.",
    ),
    setting(
        "drain_max_seconds",
        Kind::Whole(0, HOUR),
        "10",
        "How long calls in flight may take to end when the server goes down; then they are cut off.",
    ),
    setting(
        "checkpoint_every",
        Kind::Whole(1_000, 1_000_000_000),
        "1000000",
        "Journal entries between two checkpoints, or as many as there are profiles where that is more.",
    ),
    setting("segment_bytes", Kind::Whole(2 << 20, 1 << 30), "67108864", "Bytes of one segment of the journal."),
];

impl Setting {
    /// How it is called on the command line.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// How it is called in the environment.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("ONEFOLD_{}", self.key.to_uppercase())
    }

    /// What it is when nothing is said.
    fn usual(&self) -> Option<Value> {
        (!self.default.is_empty()).then(|| self.kind.read(self.default).ok()).flatten()
    }

    fn place(key: &str) -> Option<usize> {
        SETTINGS.iter().position(|setting| setting.key == key)
    }
}

impl Kind {
    /// Reads what the command line or the environment says.
    ///
    /// # Errors
    /// What it should be.
    pub fn read(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Texts => Ok(Value::Texts(text.split(',').map(|one| one.trim().to_owned()).collect())),
            Self::Flag => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(Value::Flag(true)),
                "false" | "no" | "off" | "0" => Ok(Value::Flag(false)),
                _ => Err(self.wanted()),
            },
            Self::Whole(..) => {
                text.replace('_', "").parse().map_err(|_| self.wanted()).and_then(|number| self.within(number))
            }
            Self::Path | Self::Address | Self::Text => self.text(text),
        }
    }

    fn text(self, text: &str) -> Result<Value, String> {
        let is_right = match self {
            Self::Address => text.parse::<std::net::SocketAddr>().is_ok(),
            _ => !text.trim().is_empty(),
        };
        if is_right { Ok(Value::Text(text.to_owned())) } else { Err(self.wanted()) }
    }

    fn within(self, number: u64) -> Result<Value, String> {
        match self {
            Self::Whole(least, most) if (least..=most).contains(&number) => Ok(Value::Whole(number)),
            _ => Err(self.wanted()),
        }
    }

    /// What to write.
    fn wanted(self) -> String {
        match self {
            Self::Path => "must be a path".to_owned(),
            Self::Address => "must be an address and a port, e.g. 127.0.0.1:7700 or [::1]:7700".to_owned(),
            Self::Flag => "must be true or false".to_owned(),
            Self::Text => "must be a text, and not an empty one".to_owned(),
            Self::Texts => "must be a list of texts, e.g. [\"https://console.example.org\"]".to_owned(),
            Self::Whole(least, most) => format!("must be a whole number from {least} to {most}"),
        }
    }
}

/// Variables of this environment that look like a setting mistyped. They are not refused: others may name theirs alike.
#[must_use]
pub fn strange_variables<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Fault> {
    /// What the command line's other commands and the server read beside the settings.
    const OTHERS: &[&str] = &[
        "ONEFOLD_CONFIG",
        "ONEFOLD_ADMIN_KEY",
        "ONEFOLD_ADDR",
        "ONEFOLD_API_KEY",
        "ONEFOLD_API_KEY_FILE",
        "ONEFOLD_AUTHOR",
        "ONEFOLD_TENANT",
        "ONEFOLD_TLS_CA",
        "ONEFOLD_TLS_CLIENT_CERT",
        "ONEFOLD_TLS_CLIENT_KEY",
    ];
    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let is_known = |name: &str| OTHERS.contains(&name) || known.iter().any(|known| known == name);
    let strange = names.filter(|name| name.starts_with("ONEFOLD_") && !is_known(name));
    strange
        .filter_map(|name| {
            let near = nearest(name.trim_start_matches("ONEFOLD_"), SETTINGS.iter().map(|setting| setting.key))
                .or_else(|| nearest(name, known.iter().map(String::as_str)))?;
            let near = near.trim_start_matches("ONEFOLD_").to_uppercase();
            Some(Fault::new(name, format!("is not read; did you mean ONEFOLD_{near}?")))
        })
        .collect()
}

#[cfg(test)]
mod tests;
