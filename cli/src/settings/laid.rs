//! Command line over environment over file over defaults, and what all of it comes to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onefold_server::config::{Collector, Tls};
use onefold_server::opendsr::OpenDsr;
use onefold_server::tokens::{Issuer, KeysAt};
use onefold_server::{Config, StartError, telemetry};

use super::{ConfigFile, Fault, Given, Kind, SETTINGS, Setting, Value};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Option,
    /// The environment: this variable.
    Environment(String),
    /// The configuration file, at this line.
    File(PathBuf, usize),
    /// Nobody said anything.
    Default,
}

/// What holds: for each of [`SETTINGS`] its value, if it has one, and where that came from.
#[derive(Clone, Debug)]
pub struct Settings {
    values: Vec<(Option<Value>, Origin)>,
    admin_key: Option<String>,
}

impl Settings {
    /// Lays the command line over the environment over the file over the defaults, and checks the whole.
    ///
    /// # Errors
    /// Every fault of all three, not only the first.
    pub fn lay(
        given: &Given,
        environment: &BTreeMap<String, String>,
        file: Option<&ConfigFile>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut values: Vec<_> = SETTINGS.iter().map(|setting| (setting.usual(), Origin::Default)).collect();
        for (place, line, value) in file.iter().flat_map(|file| &file.values) {
            let path = file.map(|file| file.path.clone()).unwrap_or_default();
            values[*place] = (Some(value.clone()), Origin::File(path, *line));
        }
        for (place, setting) in SETTINGS.iter().enumerate() {
            let variable = setting.variable();
            // An empty variable says nothing: that is how environments take one back.
            let Some(text) = environment.get(&variable).filter(|text| !text.is_empty()) else { continue };
            match setting.kind.read(text) {
                Ok(value) => values[place] = (Some(value), Origin::Environment(variable)),
                Err(why) => faults.push(Fault::new(variable, why)),
            }
        }
        if let Some(place) = Setting::place("traces_to")
            && !matches!(values[place].1, Origin::Environment(_))
            && let Some((variable, endpoint)) = collector(environment)
        {
            values[place] = (Some(Value::Text(endpoint)), Origin::Environment(variable));
        }
        for (place, texts) in &given.values {
            let setting = &SETTINGS[*place];
            let read = match (setting.kind, texts.last()) {
                (Kind::Texts, _) => Ok(Value::Texts(texts.clone())),
                (kind, Some(text)) => kind.read(text),
                (_, None) => continue,
            };
            match read {
                Ok(value) => values[*place] = (Some(value), Origin::Option),
                Err(why) => faults.push(Fault::new(setting.flag(), why)),
            }
        }
        let admin_key = environment.get("ONEFOLD_ADMIN_KEY").filter(|key| !key.is_empty()).cloned();
        let this = Self { values, admin_key };
        this.check(&mut faults);
        if faults.is_empty() { Ok(this) } else { Err(faults) }
    }

    /// What one value alone does not show.
    fn check(&self, faults: &mut Vec<Fault>) {
        for (one, other) in [
            ("tls_cert", "tls_key"),
            ("tls_key", "tls_cert"),
            ("client_ca", "tls_cert"),
            ("oidc_issuer", "oidc_audience"),
            ("oidc_issuer", "oidc_jwks"),
            ("oidc_audience", "oidc_issuer"),
            ("oidc_jwks", "oidc_issuer"),
            ("oidc_ca", "oidc_jwks"),
            ("oidc_role_prefix", "oidc_issuer"),
            ("opendsr_domain", "opendsr_cert"),
            ("opendsr_domain", "opendsr_key"),
            ("opendsr_cert", "opendsr_domain"),
            ("opendsr_key", "opendsr_domain"),
            ("opendsr_identity", "opendsr_domain"),
            ("opendsr_callback_host", "opendsr_domain"),
            ("opendsr_callback_ca", "opendsr_callback_host"),
        ] {
            if self.has(one) && !self.has(other) {
                faults.push(Fault::new(self.said_at(one), format!("{one} needs {other} beside it")));
            }
        }
        if self.has("oidc_issuer") && !self.flag("require_auth") {
            faults.push(Fault::new(self.said_at("oidc_issuer"), "oidc_issuer needs require_auth beside it"));
        }
        for text in self.texts("opendsr_identity") {
            if let Err(why) = OpenDsr::identity(&text) {
                faults.push(Fault::new(self.said_at("opendsr_identity"), why));
            }
        }
        if let Err(why) = telemetry::check(&self.text("log")) {
            faults.push(Fault::new(self.said_at("log"), why));
        }
        if let Err(error) = self.config().check() {
            let key = match error {
                StartError::WebOrigin(_) => "web_origin",
                StartError::RemoteMetrics(_) => "metrics_listen",
                StartError::SegmentTooSmall { .. } => "segment_bytes",
                StartError::OpenDsr(_) => "opendsr_domain",
                StartError::Traces(_) => "traces_to",
                _ => "listen",
            };
            faults.push(Fault::new(self.said_at(key), error.to_string()));
        }
    }

    /// Files that are named and cannot be read here.
    #[must_use]
    pub fn unreadable_files(&self) -> Vec<Fault> {
        let files = SETTINGS.iter().filter(|setting| setting.kind == Kind::Path && setting.key != "data");
        let unreadable = files.filter_map(|setting| {
            let path = self.path(setting.key).filter(|path| !path.starts_with("https:"))?;
            let error = std::fs::File::open(&path).err()?;
            let why = format!("{}: {} cannot be read: {error}", setting.key, path.display());
            Some(Fault::new(self.said_at(setting.key), why))
        });
        unreadable.collect()
    }

    /// The server's part.
    #[must_use]
    pub fn config(&self) -> Config {
        let seconds = |key| Duration::from_secs(self.whole(key));
        // A value that is no address was refused before; what is laid out here is then never used.
        let listen = self.text("listen").parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut config = Config::new(self.path("data").unwrap_or_default(), listen);
        config.root_key_file = self.path("root_key_file");
        config.allow_insecure_remote = self.flag("allow_insecure_remote");
        config.match_models = !self.flag("exact_only");
        config.tls = self.path("tls_cert").zip(self.path("tls_key")).map(|(certificate, key)| Tls {
            certificate,
            key,
            client_authority: self.path("client_ca"),
        });
        config.require_auth = self.flag("require_auth");
        // The variable with the key itself is of the environment: it goes before a file that the configuration file names.
        let named = !matches!(self.origin("admin_key_file"), Origin::File(..)) || self.admin_key.is_none();
        config.admin_key_file = self.path("admin_key_file").filter(|_| named);
        config.admin_key.clone_from(&self.admin_key);
        config.metrics_listen = self.text("metrics_listen").parse().ok();
        config.allow_remote_metrics = self.flag("allow_remote_metrics");
        config.traces = self
            .value("traces_to")
            .map(|_| Collector { endpoint: self.text("traces_to"), one_in: self.whole("trace_one_in") });
        config.one_click = self.flag("one_click");
        config.web_origins = self.texts("web_origin");
        config.opendsr = self.opendsr();
        config.connections_max = usize::try_from(self.whole("connections_max")).unwrap_or(usize::MAX);
        config.oidc = self.issuer();
        config.reflection = self.flag("reflection");
        config.connections_per_address = match self.value("connections_per_address") {
            Some(Value::Whole(number)) => usize::try_from(*number).ok(),
            _ => None,
        };
        config.idle_wait = seconds("idle_wait_seconds");
        config.connection_age = seconds("connection_age_max_seconds");
        config.first_call_wait = seconds("first_call_wait_seconds");
        config.message_wait = seconds("message_wait_seconds");
        config.drain = seconds("drain_max_seconds");
        config.checkpoint_every = self.whole("checkpoint_every");
        config.segment_bytes = u32::try_from(self.whole("segment_bytes")).unwrap_or(u32::MAX);
        config
    }

    /// How requests of controllers are taken.
    fn opendsr(&self) -> Option<OpenDsr> {
        Some(OpenDsr {
            domain: self.value("opendsr_domain").map(|_| self.text("opendsr_domain"))?,
            certificate: self.path("opendsr_cert")?,
            key: self.path("opendsr_key")?,
            identities: self.texts("opendsr_identity").iter().filter_map(|text| OpenDsr::identity(text).ok()).collect(),
            callback_hosts: self.texts("opendsr_callback_host"),
            callback_authority: self.path("opendsr_callback_ca"),
            allow_private_callbacks: self.flag("opendsr_allow_private_callbacks"),
        })
    }

    /// Whose tokens are good.
    fn issuer(&self) -> Option<Issuer> {
        let keys = match self.path("oidc_jwks")? {
            url if url.starts_with("https:") => KeysAt::Url(self.text("oidc_jwks")),
            file => KeysAt::File(file),
        };
        Some(Issuer {
            issuer: self.value("oidc_issuer").map(|_| self.text("oidc_issuer"))?,
            audience: self.text("oidc_audience"),
            keys,
            authority: self.path("oidc_ca"),
            roles_claim: self.text("oidc_roles_claim"),
            role_prefix: self.text("oidc_role_prefix"),
            tenant_claim: self.text("oidc_tenant_claim"),
        })
    }

    /// The value of a path.
    #[must_use]
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        match self.value(key) {
            Some(Value::Text(text)) => Some(Path::new(text).to_owned()),
            _ => None,
        }
    }

    /// The value of a text.
    #[must_use]
    pub fn text(&self, key: &str) -> String {
        match self.value(key) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// The value of a flag.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.value(key), Some(Value::Flag(true)))
    }

    fn texts(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    fn whole(&self, key: &str) -> u64 {
        match self.value(key) {
            Some(Value::Whole(number)) => *number,
            _ => 0,
        }
    }

    fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        Setting::place(key).and_then(|place| self.values[place].0.as_ref())
    }

    /// Where a setting's value came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        Setting::place(key).map_or(&Origin::Default, |place| &self.values[place].1)
    }

    /// The same, for people.
    fn said_at(&self, key: &str) -> String {
        let setting = Setting::place(key).map(|place| &SETTINGS[place]);
        match (self.origin(key), setting) {
            (Origin::Option, Some(setting)) => setting.flag(),
            (Origin::Environment(variable), _) => variable.clone(),
            (Origin::File(path, line), _) => format!("{}:{line}", path.display()),
            _ => format!("the default of {key}"),
        }
    }

    /// All of it as a configuration file that says the same, with where each value came from. No secret is in it.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut text = String::new();
        for (setting, (value, origin)) in SETTINGS.iter().zip(&self.values) {
            let from = match origin {
                Origin::Default => "default".to_owned(),
                _ => self.said_at(setting.key),
            };
            let line = match value {
                Some(value) => format!("{} = {}", setting.key, toml_of(value)),
                None => format!("# {} is not set", setting.key),
            };
            let _ = writeln!(text, "{line:<48} # {from}");
        }
        if self.admin_key.is_some() {
            text.push_str("# the administrator's key is given, not shown       # ONEFOLD_ADMIN_KEY\n");
        }
        text
    }
}

/// The collector that the variables of OpenTelemetry name, and which of them did: those that every program reads.
fn collector(environment: &BTreeMap<String, String>) -> Option<(String, String)> {
    let said = |name: &str| environment.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    if said("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return None;
    }
    // What takes OTLP over HTTP listens at another port, and does not take ours.
    let protocol = said("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| said("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if protocol.is_some_and(|protocol| protocol != "grpc") {
        return None;
    }
    let variables = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    variables.into_iter().find_map(|name| Some((name.to_owned(), said(name)?.to_owned())))
}

/// A configuration file with every setting as it is by default, and what each does.
#[must_use]
pub fn example() -> String {
    let mut text =
        "# Every setting of `onefold serve`, as it is when nothing is said. Relative paths are from this file's folder.\n"
            .to_owned();
    for setting in SETTINGS {
        let usual = setting.usual().map_or_else(|| placeholder(setting.kind).to_owned(), |value| toml_of(&value));
        let _ = write!(text, "\n# {}\n# {} = {usual}\n", setting.help, setting.key);
    }
    text
}

const fn placeholder(kind: Kind) -> &'static str {
    match kind {
        Kind::Texts => "[]",
        _ => "\"…\"",
    }
}

fn toml_of(value: &Value) -> String {
    match value {
        Value::Flag(flag) => flag.to_string(),
        Value::Whole(number) => number.to_string(),
        Value::Text(text) => toml::Value::from(text.as_str()).to_string(),
        Value::Texts(texts) => toml::Value::from(texts.clone()).to_string(),
    }
}
