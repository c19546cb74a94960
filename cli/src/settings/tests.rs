use std::collections::BTreeMap;
use std::path::Path;

use clap::{Args, Command, FromArgMatches};

use super::*;

fn parse(text: &str) -> Result<ConfigFile, Vec<Fault>> {
    ConfigFile::parse(text, Path::new("/etc/onefold/onefold.toml"))
}

fn given(arguments: &[&str]) -> Given {
    let command = Given::augment_args(Command::new("serve").no_binary_name(true));
    Given::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap()
}

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn lay(arguments: &[&str], pairs: &[(&str, &str)], file: &str) -> Result<Settings, Vec<Fault>> {
    Settings::lay(&given(arguments), &environment(pairs), Some(&parse(file).unwrap()))
}

#[test]
fn every_setting_takes_its_own_default_and_is_named_once() {
    for (place, setting) in SETTINGS.iter().enumerate() {
        assert_eq!(Setting::place(setting.key), Some(place), "{}", setting.key);
        assert!(setting.default.is_empty() || setting.usual().is_some(), "{}", setting.key);
        assert!(setting.key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", setting.key);
    }
}

#[test]
fn a_fault_names_its_line_and_the_nearest_key() {
    let table = [
        ("lisen = \"127.0.0.1:1\"", 1, "did you mean `listen`?"),
        ("\n\nTLS-Cert = \"a.pem\"", 3, "did you mean `tls_cert`?"),
        ("log = \"info\"\nconnection_max = 5", 2, "did you mean `connections_max`?"),
        ("admin_key = \"0123456789\"", 1, "name one that holds it"),
        ("root_key = \"00\"", 1, "did you mean `root_key_file`?"),
        ("[tls]\ncert = \"a.pem\"", 1, "`tls_cert = …` without a section"),
        ("[zzz]\nq = 1", 1, "settings stand without sections"),
        ("wholly_else = 1", 1, "`onefold config example`"),
        ("listen = 7700", 1, "listen must be an address and a port"),
        ("listen = \"localhost\"", 1, "e.g. 127.0.0.1:7700"),
        ("require_auth = \"yes\"", 1, "must be true or false"),
        ("connections_max = 0", 1, "from 1 to 100000"),
        ("connections_max = -5", 1, "from 1 to 100000"),
        ("connections_max = 5.5", 1, "from 1 to 100000"),
        ("segment_bytes = 0x100", 1, "from 2097152 to 1073741824"),
        ("web_origin = \"https://a.example\"", 1, "must be a list of texts"),
        ("web_origin = [\"https://a.example\", 5]", 1, "must be a list of texts"),
        ("data = \" \"", 1, "must be a path"),
        ("log = \"info\"\nlog = \"debug\"", 2, "duplicate key"),
        ("log = \"info\"\nlisten = ", 2, ""),
    ];
    for (text, line, why) in table {
        let faults = parse(text).expect_err(text);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert_eq!(faults[0].at, format!("/etc/onefold/onefold.toml:{line}"), "{text}: {faults:?}");
        assert!(faults[0].why.contains(why), "{text}: {}", faults[0].why);
    }
}

#[test]
fn all_faults_are_told_at_once_in_order_and_none_repeats_a_value() {
    let text = "admin_key = \"s3cret-value\"\nlisten = \"s3cret-value\"\nlog_json = \"s3cret-value\"\nexact_only = 1\nbroken s3cret-value\n";
    let faults = parse(text).unwrap_err();
    let lines: Vec<&str> = faults.iter().map(|fault| fault.at.rsplit(':').next().unwrap()).collect();
    assert_eq!(lines, ["1", "2", "3", "4", "5"], "{faults:?}");
    assert!(faults.iter().all(|fault| !fault.to_string().contains("s3cret-value")), "{faults:?}");

    let arguments = ["--connections-max", "many", "--tls-key", "k.pem"];
    let pairs = [("ONEFOLD_REQUIRE_AUTH", "perhaps"), ("ONEFOLD_LOG", "onefold=loud=quiet")];
    let faults = lay(&arguments, &pairs, "client_ca = \"ca.pem\"").unwrap_err();
    let places: Vec<&str> = faults.iter().map(|fault| fault.at.as_str()).collect();
    let wanted =
        ["ONEFOLD_REQUIRE_AUTH", "--connections-max", "--tls-key", "/etc/onefold/onefold.toml:1", "ONEFOLD_LOG"];
    assert_eq!(places, wanted, "{faults:?}");
}

#[test]
fn the_command_line_goes_before_the_environment_before_the_file_before_the_default() {
    let file = "connections_max = 3\nrequire_auth = true\nweb_origin = [\"https://file.example\"]\nlog = \"warn\"";
    let variable = [
        ("ONEFOLD_CONNECTIONS_MAX", "2"),
        ("ONEFOLD_REQUIRE_AUTH", "off"),
        ("ONEFOLD_WEB_ORIGIN", "https://one.example, https://two.example"),
    ];
    type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str, usize, bool, &'a [&'a str]);
    let table: [Row<'_>; 4] = [
        (&[], &[], "", 900, false, &[]),
        (&[], &[], file, 3, true, &["https://file.example"]),
        (&[], &variable, file, 2, false, &["https://one.example", "https://two.example"]),
        (
            &["--connections-max=1", "--require-auth", "--web-origin", "https://flag.example"],
            &variable,
            file,
            1,
            true,
            &["https://flag.example"],
        ),
    ];
    for (arguments, pairs, file, connections, auth, origins) in table {
        let config = lay(arguments, pairs, file).unwrap().config();
        assert_eq!(config.connections_max, connections, "{arguments:?} {pairs:?} {file:?}");
        assert_eq!(config.require_auth, auth, "{arguments:?} {pairs:?} {file:?}");
        assert_eq!(config.web_origins, origins, "{arguments:?} {pairs:?} {file:?}");
    }
    assert!(
        !lay(&["--require-auth=false"], &[], file).unwrap().config().require_auth,
        "a flag takes back what a file says"
    );
    assert_eq!(lay(&[], &[("ONEFOLD_LOG", "")], file).unwrap().text("log"), "warn", "an empty variable says nothing");
    let key = [("ONEFOLD_ADMIN_KEY", "k")];
    let config = lay(&[], &key, "admin_key_file = \"admin.key\"").unwrap().config();
    assert_eq!((config.admin_key_file, config.admin_key.as_deref()), (None, Some("k")));
    let config = lay(&["--admin-key-file", "admin.key"], &key, "").unwrap().config();
    assert_eq!(config.admin_key_file.as_deref(), Some(Path::new("admin.key")));
}

#[test]
fn paths_of_a_file_are_from_its_folder_and_beyond_loopback_takes_both_locks() {
    let file = "data = \"data\"\nroot_key_file = \"/keys/root.key\"\nlisten = \"0.0.0.0:7700\"\nrequire_auth = true\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\"";
    let config = lay(&[], &[], file).unwrap().config();
    assert_eq!(config.data, Path::new("/etc/onefold/data"));
    assert_eq!(config.root_key_file.as_deref(), Some(Path::new("/keys/root.key")));
    assert_eq!(config.tls.unwrap().certificate, Path::new("/etc/onefold/c.pem"));
    let table: [(&[&str], &str); 4] = [
        (&["--metrics-listen", "0.0.0.0:9464"], "--metrics-listen"),
        (&["--require-auth=false"], "/etc/onefold/onefold.toml:3"),
        (&["--require-auth=false", "--listen", "[::]:7700"], "--listen"),
        (&["--web-origin", "*"], "--web-origin"),
    ];
    for (arguments, at) in table {
        let faults = lay(arguments, &[], file).expect_err("refused");
        assert_eq!(faults.iter().map(|fault| fault.at.as_str()).collect::<Vec<_>>(), [at], "{arguments:?} {faults:?}");
    }
    assert!(lay(&["--require-auth=false", "--allow-insecure-remote"], &[], file).is_ok());
}

#[test]
fn a_token_issuer_is_named_whole_and_its_keys_lie_in_a_file_or_behind_https() {
    use onefold_server::tokens::KeysAt;
    let whole = "require_auth = true\noidc_issuer = \"https://id.example\"\noidc_audience = \"onefold\"\n";
    let table = [
        ("oidc_jwks = \"https://id.example/keys\"", KeysAt::Url("https://id.example/keys".to_owned())),
        ("oidc_jwks = \"jwks.json\"", KeysAt::File("/etc/onefold/jwks.json".into())),
    ];
    for (keys, wanted) in table {
        let issuer = lay(&[], &[], &format!("{whole}{keys}")).unwrap().config().oidc.unwrap();
        assert_eq!((issuer.keys, issuer.audience.as_str(), issuer.role_prefix.as_str()), (wanted, "onefold", ""));
        assert_eq!((issuer.roles_claim.as_str(), issuer.tenant_claim.as_str()), ("roles", "tenant"));
    }
    assert_eq!(lay(&[], &[], "").unwrap().config().oidc, None);
    let told =
        |file: &str| lay(&[], &[], file).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    assert!(told(whole).contains("oidc_issuer needs oidc_jwks"), "{}", told(whole));
    assert!(told("oidc_audience = \"onefold\"").contains("oidc_audience needs oidc_issuer"));
    let open = format!("{whole}oidc_jwks = \"k\"\n").replace("require_auth = true", "require_auth = false");
    assert!(told(&open).contains("oidc_issuer needs require_auth"), "{}", told(&open));
}

#[test]
fn opendsr_is_named_whole_and_every_fault_of_it_is_told() {
    let whole = "opendsr_domain = \"opendsr.example.org\"\nopendsr_cert = \"c.pem\"\nopendsr_key = \"k.pem\"\n";
    let more = "opendsr_identity = [\"email=login\"]\nopendsr_callback_host = [\"controller.example.org:8443\"]\n";
    let opendsr = lay(&[], &[], &format!("{whole}{more}")).unwrap().config().opendsr.unwrap();
    assert_eq!(opendsr.certificate, Path::new("/etc/onefold/c.pem"));
    assert_eq!(opendsr.identities, [("email".to_owned(), "login".to_owned())]);
    assert_eq!(opendsr.callback_hosts, ["controller.example.org:8443"]);
    assert!(!opendsr.allow_private_callbacks);
    assert_eq!(lay(&[], &[], "").unwrap().config().opendsr, None);
    let told =
        |file: &str| lay(&[], &[], file).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let table = [
        ("opendsr_domain = \"a.example\"".to_owned(), "opendsr_domain needs opendsr_cert"),
        ("opendsr_callback_host = [\"a.example\"]".to_owned(), "opendsr_callback_host needs opendsr_domain"),
        (format!("{whole}opendsr_identity = [\"email\"]"), "write TYPE=NAMESPACE"),
        (format!("{whole}opendsr_callback_host = [\"https://a.example/x\"]"), "is no host to call back"),
        (whole.replace("opendsr.example.org", "https://opendsr.example.org"), "is no domain"),
    ];
    for (file, why) in table {
        assert!(told(&file).contains(why), "{file}: {}", told(&file));
    }
}

#[test]
fn what_is_shown_says_where_from_is_a_file_of_the_same_meaning_and_holds_no_secret() {
    let pairs = [("ONEFOLD_ADMIN_KEY", "s3cret-value-s3cret-value-s3cret!"), ("ONEFOLD_LOG_JSON", "1")];
    let settings = lay(&["--listen", "127.0.0.1:9"], &pairs, "exact_only = true").unwrap();
    let shown = settings.shown();
    for (key, from) in [
        ("listen = \"127.0.0.1:9\"", "# --listen"),
        ("log_json = true", "# ONEFOLD_LOG_JSON"),
        ("exact_only = true", "# /etc/onefold/onefold.toml:1"),
        ("one_click = false", "# default"),
        ("# tls_cert is not set", "# default"),
        ("# the administrator's key is given", "# ONEFOLD_ADMIN_KEY"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key} in {shown}"));
        assert!(line.ends_with(from), "{line}");
    }
    assert!(!shown.contains("s3cret"), "{shown}");
    let again = Settings::lay(&Given::default(), &BTreeMap::new(), Some(&parse(&shown).unwrap())).unwrap();
    for setting in SETTINGS.iter().filter(|setting| setting.kind != Kind::Path) {
        assert_eq!(again.value(setting.key), settings.value(setting.key), "{}", setting.key);
    }
}

#[test]
fn the_example_is_a_file_that_changes_nothing() {
    let text = laid::example();
    assert_eq!(parse(&text).unwrap().values, []);
    // Each setting that has a default stands in it as it may be written.
    let told: String = text
        .lines()
        .filter(|line| line.starts_with("# ") && line.contains(" = ") && !line.contains('…'))
        .map(|line| format!("{}\n", &line[2..]))
        .collect();
    let file = parse(&told).unwrap();
    let written = SETTINGS.iter().filter(|setting| !setting.default.is_empty() || setting.kind == Kind::Texts);
    assert_eq!(file.values.len(), written.count(), "{told}");
}

#[test]
fn a_variable_that_is_nearly_a_setting_is_told_and_others_are_left_alone() {
    let names =
        ["ONEFOLD_LISTN", "ONEFOLD_DATA", "ONEFOLD_PORT_7700_TCP", "ONEFOLD_SERVICE_HOST", "ONEFOLD_API_KEY", "PATH"];
    let strange = strange_variables(names.into_iter());
    let told: Vec<String> = strange.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["ONEFOLD_LISTN: is not read; did you mean ONEFOLD_LISTEN?"]);
}

#[test]
fn the_collector_of_traces_is_named_as_every_program_is_told_of_it() {
    const OTEL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const AT: (&str, &str) = (OTEL, "http://otel:4317");
    /// Command line, environment, file; where traces go, and who said so.
    type Row = (
        &'static [&'static str],
        &'static [(&'static str, &'static str)],
        &'static str,
        Option<(&'static str, &'static str)>,
    );
    let table: [Row; 10] = [
        (&[], &[], "", None),
        (&[], &[AT], "", Some(("http://otel:4317", OTEL))),
        (&[], &[AT], "traces_to = \"http://file:1\"", Some(("http://otel:4317", OTEL))),
        (&[], &[(OTEL, "")], "traces_to = \"http://file:1\"", Some(("http://file:1", "/etc/onefold/onefold.toml:1"))),
        (&[], &[AT, ("ONEFOLD_TRACES_TO", "http://own:2")], "", Some(("http://own:2", "ONEFOLD_TRACES_TO"))),
        (
            &[],
            &[AT, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:3")],
            "",
            Some(("http://traces:3", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")),
        ),
        (&["--traces-to", "http://option:4"], &[AT], "", Some(("http://option:4", "--traces-to"))),
        (&[], &[AT, ("OTEL_SDK_DISABLED", "TRUE")], "", None),
        (&[], &[AT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], "", None),
        (&[], &[AT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "", Some(("http://otel:4317", OTEL))),
    ];
    for (arguments, pairs, file, want) in table {
        let settings = lay(arguments, pairs, file).unwrap();
        let traces = settings.config().traces;
        assert_eq!(traces.as_ref().map(|to| to.endpoint.as_str()), want.map(|(to, _)| to), "{arguments:?} {pairs:?}");
        let shown = settings.shown();
        let line = shown.lines().find(|line| line.contains("traces_to")).unwrap();
        assert!(line.ends_with(&format!("# {}", want.map_or("default", |(_, from)| from))), "{line}");
    }
    let one_in = lay(&["--trace-one-in", "1000"], &[AT], "").unwrap().config().traces.unwrap().one_in;
    assert_eq!(one_in, 1000);
    let wrong = lay(&[], &[(OTEL, "someone:secret@otel:4317")], "").unwrap_err();
    assert_eq!(wrong.len(), 1);
    let told = wrong[0].to_string();
    assert!(told.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: ") && told.contains("http://HOST:PORT"), "{told}");
    assert!(!told.contains("secret"), "{told}");
}
