//! Stage one: the files, and what their columns mean.

use std::path::{Path, PathBuf};

use onefold_core::config::TenantConfig;
use onefold_core::ids::NamespaceId;
use onefold_core::namespace::{NamespaceClass, Normaliser};

use super::ResolveError;
use crate::input::mapping::{Ground, Mapping, MappingFile, PartyRule, Role, guess, nearest};
use crate::input::{Format, ReadOptions, Reader};

/// A file with a meaning, ready to be read.
pub struct Input {
    /// Its rows.
    pub reader: Reader,
    /// What its columns mean.
    pub mapping: Mapping,
    /// How messages call it: its name, or `stdin`.
    pub name: String,
    /// A file before it has its name, so its source got a number. Only for this run: alone it would have none.
    pub numbered: bool,
}

/// What the caller says about the files.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// How to read bytes.
    pub read: ReadOptions,
    /// The column of the truth.
    pub truth: Option<String>,
    /// A mapping file.
    pub mapping: Option<PathBuf>,
}

/// Opens the files, guesses what they mean and lays the mapping file over the guess.
///
/// # Errors
/// [`ResolveError`] for the first file that cannot be used.
pub fn open(files: &[PathBuf], options: &OpenOptions) -> Result<Vec<Input>, ResolveError> {
    let given = options.mapping.as_deref().map(MappingFile::read).transpose()?;
    let mut inputs: Vec<Input> = Vec::with_capacity(files.len());
    for file in files {
        let input = open_one(file, options, given.as_ref(), &inputs)?;
        inputs.push(input);
    }
    if let Some(given) = &given {
        let mappings: Vec<&Mapping> = inputs.iter().map(|input| &input.mapping).collect();
        let tables_only = inputs.iter().all(|input| matches!(input.reader.format(), Format::Separated { .. }));
        if let Some(column) = given.unused_columns(&mappings).first().filter(|_| tables_only) {
            let known = mappings.iter().flat_map(|mapping| mapping.columns.iter().map(|known| known.column.as_str()));
            return Err(no_column("the mapping file", column, known));
        }
    }
    if let Some(truth) = &options.truth {
        let has = |input: &Input| input.mapping.columns.iter().any(|known| known.column == *truth);
        if !inputs.iter().any(has) {
            let known = inputs.iter().flat_map(|input| input.mapping.columns.iter().map(|known| known.column.as_str()));
            return Err(no_column("--truth", truth, known));
        }
    }
    Ok(inputs)
}

fn no_column<'a>(who: &str, column: &str, known: impl Iterator<Item = &'a str> + Clone) -> ResolveError {
    ResolveError::Usage(match nearest(column, known.clone()) {
        Some(near) => format!("{who}: no file has a column `{column}`; did you mean `{near}`?"),
        None => format!("{who}: no file has a column `{column}`; there are {}", known.collect::<Vec<_>>().join(", ")),
    })
}

fn open_one(
    file: &Path,
    options: &OpenOptions,
    given: Option<&MappingFile>,
    before: &[Input],
) -> Result<Input, ResolveError> {
    let mut reader = Reader::open(file, &options.read)?;
    let piped = file == Path::new("-");
    let stem = if piped { "stdin" } else { file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("file") };
    let name = if piped { "stdin" } else { file.file_name().and_then(|name| name.to_str()).unwrap_or(stem) };
    reader.sample()?;
    let columns = reader.columns().names().to_vec();
    let sample = reader.sample()?;
    let empty = sample.is_empty();
    let mut mapping = guess(&columns, &sample, stem, options.truth.as_deref());
    // Two files of one name are two sources, unless the mapping says otherwise.
    let taken = |source: &str| before.iter().any(|input| input.mapping.source == source);
    let guessed = mapping.source.clone();
    if taken(&mapping.source) {
        let copies = (2..).find(|copy| !taken(&format!("{}_{copy}", mapping.source))).unwrap_or(2);
        mapping.source = format!("{}_{copies}", mapping.source);
    }
    if let Some(given) = given {
        let complete = matches!(reader.format(), Format::Separated { .. });
        given.apply(file, complete, &mut mapping)?;
    }
    if let Some(truth) = &options.truth {
        set_truth(&mut mapping, truth);
    }
    let numbered = mapping.source != guessed && given.is_none_or(|given| !given.names_source(file));
    if empty && reader.columns().names().is_empty() {
        return Ok(Input { reader, mapping, name: name.to_owned(), numbered });
    }
    if !mapping.has_facts() {
        return Err(ResolveError::NoFacts { file: file.to_owned(), columns: columns.join(", ") });
    }
    Ok(Input { reader, mapping, name: name.to_owned(), numbered })
}

/// The option names the one truth; another column that looked like it stays out of sight, never a feature.
fn set_truth(mapping: &mut Mapping, truth: &str) {
    if !mapping.columns.iter().any(|column| column.column == truth) {
        return;
    }
    for column in &mut mapping.columns {
        if column.column == truth {
            (column.role, column.ground) = (Role::Truth, Ground::Given);
        } else if column.role == Role::Truth {
            column.role = Role::Ignore;
        }
    }
}

/// A tenant for this run: built-in laws, and the namespaces that the mappings ask for.
#[must_use]
pub fn tenant(inputs: &[Input], region: Option<&str>) -> TenantConfig {
    let mut config = TenantConfig::new("resolve", "onefold resolve");
    if let Some(region) = region {
        config.default_region = Some(region.to_ascii_uppercase());
    }
    // People mistype the numbers that offices give them, so in files these part nobody; a mapping file may say that they do.
    // The ids of systems are not typed.
    let organisations = inputs.iter().all(|input| input.mapping.party == PartyRule::Organisation);
    for namespace in &mut config.namespaces {
        if namespace.class == NamespaceClass::Unique && namespace.normaliser == Normaliser::Alphanumeric {
            namespace.class = NamespaceClass::Identifying;
        }
        // Companies of one group share a switchboard and a mailbox: to them such a value only adds weight.
        if organisations && matches!(namespace.normaliser, Normaliser::Email | Normaliser::Phone | Normaliser::Domain) {
            namespace.class = NamespaceClass::Supporting;
        }
    }
    for namespace in inputs.iter().flat_map(|input| &input.mapping.namespaces) {
        match config.namespaces.iter_mut().find(|known| known.name == namespace.name) {
            Some(known) => *known = onefold_core::namespace::Namespace { id: known.id, ..namespace.clone() },
            None => {
                let id = NamespaceId(config.namespaces.len() as u16);
                config.namespaces.push(onefold_core::namespace::Namespace { id, ..namespace.clone() });
            }
        }
    }
    config
}
