//! `onefold proto`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use onefold_proto::v1::{FILE_DESCRIPTOR_SET, PROTO_FILES};

use super::{Failure, say};

/// The wire contract, for generating clients in other languages.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Writes the .proto files, or the compiled descriptor set.
    Export(Export),
}

#[derive(Args)]
struct Export {
    /// Where the .proto files go, under onefold/v1/.
    #[arg(long, value_name = "DIR", default_value = "proto")]
    out: PathBuf,
    /// Writes the descriptor set to this file instead, for `grpcurl -protoset FILE` or `buf curl --schema FILE`.
    #[arg(long, value_name = "FILE")]
    descriptor_set: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Verb::Export(export) = &arguments.verb;
    if let Some(file) = &export.descriptor_set {
        write(file, FILE_DESCRIPTOR_SET)?;
        return say(&format!("{}\n", file.display()));
    }
    let mut text = String::new();
    for (path, content) in PROTO_FILES {
        let file = export.out.join(path);
        write(&file, content.as_bytes())?;
        text.push_str(&format!("{}\n", file.display()));
    }
    say(&text)
}

fn write(file: &Path, content: &[u8]) -> Result<(), Failure> {
    let made = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = made.and_then(|()| std::fs::write(file, content));
    written.map_err(|error| Failure::new(format!("{}: cannot be written: {error}", file.display())))
}
