//! Stage between reading and linking: a match model fitted to the files' own rows.

use onefold_core::ids::Digest128;
use onefold_matching::pair::symbols::Symbols;
use onefold_matching::pair::train::{Census, Options, Rows, train};
use onefold_matching::pair::{Features, Matcher, Model, Schema};
use onefold_matching::prepared::Prepared;

use super::ResolveError;

/// Rows that a model learns from at most; of more, an even share is drawn by their digests, so that the order of the files
/// does not show. Frequencies are counted over all.
const TRAINING_ROWS_MAX: usize = 200_000;

/// One model for each schema that any row fits.
///
/// # Errors
/// [`ResolveError::Model`] when what was fitted cannot be used.
pub fn fit(
    schemas: &[Schema],
    rows: &[(&Prepared, Option<u32>)],
    with_labels: bool,
) -> Result<Vec<Model>, ResolveError> {
    let mut models = Vec::new();
    for schema in schemas {
        let ours = rows
            .iter()
            .filter(|(prepared, _)| prepared.party == schema.party)
            .filter_map(|(prepared, truth)| Some((prepared.facts, prepared.features.as_ref()?, *truth)))
            .collect();
        models.push(fit_one(schema, ours, with_labels)?);
    }
    Ok(models)
}

fn fit_one(
    schema: &Schema,
    mut rows: Vec<(Digest128, &Features, Option<u32>)>,
    with_labels: bool,
) -> Result<Model, ResolveError> {
    let mut census = Census::new(schema);
    rows.iter().for_each(|(_, features, _)| census.add(features));
    let mut model = Model::untrained(schema.clone());
    census.tell(&mut model);
    // By content: neither the order of files nor of rows shows in the model.
    rows.sort_unstable_by_key(|(facts, ..)| *facts);
    rows.truncate(TRAINING_ROWS_MAX);
    let matcher = Matcher::new(model.clone());
    let mut symbols = Symbols::default();
    let mut interned = Vec::with_capacity(rows.len() * matcher.stride());
    rows.iter().for_each(|(_, features, _)| matcher.row(&mut symbols, features, &mut interned));
    let labels: Vec<Option<u32>> = rows.iter().map(|(.., truth)| *truth).collect();
    let options = Options { labels: with_labels.then_some(labels.as_slice()), version: "fitted to these files" };
    let model = train(model, &Rows { symbols: &symbols, rows: &interned }, options);
    model.check().map_err(ResolveError::Model)?;
    Ok(model)
}
