//! The models that ship: what a tenant is matched with before its own data has something to teach.
//!
//! They are artefacts like any other, embedded: fitted to generated populations by `cargo run --release -p onefold-cli
//! --example ship_models`, which says how they were tempered. They hold names, towns and words that many share, and nobody's
//! contact points.

use std::sync::LazyLock;

use super::model::Model;

static PERSONS: LazyLock<Model> = LazyLock::new(|| read(include_str!("shipped/persons.json")));
static ORGANISATIONS: LazyLock<Model> = LazyLock::new(|| read(include_str!("shipped/organisations.json")));

/// The model of persons that needs no training; it compares what [`super::Schema::person`] names.
///
/// # Panics
/// Never: the artefact is part of the program, and tests read it.
#[must_use]
pub fn shipped_persons() -> &'static Model {
    &PERSONS
}

/// The model of organisations that needs no training; it compares what [`super::Schema::organisation`] names.
///
/// # Panics
/// Never: the artefact is part of the program, and tests read it.
#[must_use]
pub fn shipped_organisations() -> &'static Model {
    &ORGANISATIONS
}

fn read(text: &str) -> Model {
    Model::from_json(text).expect("the artefact that ships is a valid model")
}
