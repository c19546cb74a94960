//! The settings on the command line.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::{Kind, SETTINGS, Setting};

/// What the command line says, as texts; [`super::Settings::lay`] reads them like all the others.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The place of a setting in [`SETTINGS`], and what was given.
    pub values: Vec<(usize, Vec<String>)>,
}

impl Setting {
    fn argument(&self) -> Arg {
        let usual = match (self.kind, self.default) {
            (Kind::Flag, _) | (_, "") => String::new(),
            (_, default) => format!(" [default: {default}]"),
        };
        let argument = Arg::new(self.key)
            .long(self.key.replace('_', "-"))
            .help(format!("{}{usual} [env: {}]", self.help, self.variable()))
            .value_name(match self.kind {
                Kind::Path if self.key == "data" => "DIR",
                Kind::Path => "FILE",
                Kind::Address => "ADDR",
                Kind::Flag => "BOOL",
                Kind::Text if self.key == "log" => "FILTER",
                Kind::Text => "TEXT",
                Kind::Texts => "ORIGIN",
                Kind::Whole(..) => "N",
            });
        match self.kind {
            // `--require-auth` says yes; `--require-auth=false` takes back what a file says.
            Kind::Flag => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
            Kind::Texts => argument.action(ArgAction::Append),
            _ => argument,
        }
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .env("ONEFOLD_CONFIG")
            .help("A configuration file (TOML); `onefold config example` prints one. Options and the environment go before it");
        SETTINGS.iter().fold(command.arg(config), |command, setting| command.arg(setting.argument()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut values = Vec::new();
        for (place, setting) in SETTINGS.iter().enumerate() {
            if let Some(given) = matches.get_many::<String>(setting.key) {
                values.push((place, given.cloned().collect()));
            }
        }
        Ok(Self { config: matches.get_one::<PathBuf>("config").cloned(), values })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
