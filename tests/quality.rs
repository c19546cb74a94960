//! How well `onefold resolve` matches on labelled sets, against the figures that were accepted last: a change of quality is
//! a diff of `accepted` to discuss. And law 2 on real files: neither the order of rows nor settling each row by itself
//! shows in the clusters.
//!
//! The sets lie beside the project, in `../shared/data`; one that is not there is skipped, saying so. The sets that take
//! minutes are run with `ONEFOLD_QUALITY=all`.
#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};

use onefold_cli::resolve::open::{OpenOptions, open, tenant};
use onefold_cli::resolve::score::{Score, blocking_recall, score};
use onefold_cli::resolve::{LinkOptions, Linked, link};
use onefold_matching::pair::{shipped_organisations, shipped_persons};

/// Accepted without labels and without a setting: pairwise precision and F1, B-cubed F1.
const ACCEPTED: &[(&str, [f64; 3], bool)] = &[
    ("fake_1000", [0.9968, 0.9565, 0.9658], false),
    ("febrl1", [1.0, 0.9990, 0.9995], false),
    ("febrl2", [0.9995, 0.9990, 0.9998], false),
    ("febrl3", [1.0, 0.9998, 0.9999], false),
    ("febrl4", [1.0, 0.9998, 0.9999], false),
    ("febrl_dsgen_c10k", [0.9994, 0.9979, 0.9990], false),
    ("epbrn_d", [0.9932, 0.9753, 0.9978], false),
    ("rldata500", [1.0, 0.9899, 0.9990], false),
    ("census_secondstring", [0.9745, 0.8659, 0.9544], false),
    ("senzing_truthset", [0.8378, 0.8493, 0.9203], false),
    ("restaurants", [0.9412, 0.9697, 0.9975], false),
    ("synth_people_20k", [0.9809, 0.9334, 0.9547], true),
    ("synth_companies_6k", [0.9659, 0.9560, 0.9722], true),
    ("dblp_acm", [0.9745, 0.9764, 0.9920], true),
    ("cora", [0.9620, 0.8739, 0.9050], true),
    ("historical_50k", [0.9957, 0.9189, 0.9271], true),
];
/// Accepted of the models that ship, which never saw the data.
const ACCEPTED_UNTRAINED: &[(&str, [f64; 3])] =
    &[("fake_1000", [1.0, 0.8018, 0.8587]), ("febrl1", [1.0, 0.9909, 0.9955]), ("rldata500", [1.0, 0.9796, 0.9980])];
/// A figure may move by so much before somebody must look at it.
const TOLERANCE: f64 = 0.002;

fn records_of(set: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let file = folder.join(set).join("records.csv");
    if file.is_file() {
        return Some(file);
    }
    println!("skipped: {set} is not in {}", folder.display());
    None
}

fn resolve(file: &Path, options: LinkOptions) -> Linked {
    let opened = OpenOptions { truth: Some("cluster_id".to_owned()), ..OpenOptions::default() };
    let inputs = open(&[file.to_owned()], &opened).unwrap();
    let config = tenant(&inputs, Some("US"));
    link::link(inputs, config, options, &mut |_| {}).unwrap()
}

fn score_of(linked: &Linked) -> Score {
    // An empty truth is no cluster: the reader leaves such cells out.
    score(linked.rows.iter().map(|row| (row.truth, row.profile)))
}

/// How the figures differ from those that were accepted.
fn moves(set: &str, linked: &Linked, want: &[f64; 3]) -> Vec<String> {
    let score = score_of(linked);
    let got = [score.pairwise.precision, score.pairwise.f1, score.bcubed.f1];
    println!("{set}: pairwise precision {:.4}, F1 {:.4}, B-cubed F1 {:.4}", got[0], got[1], got[2]);
    let names = ["pairwise precision", "pairwise F1", "B-cubed F1"];
    let moved = got.iter().zip(want).zip(names).filter(|((got, want), _)| (**got - **want).abs() > TOLERANCE);
    moved.map(|((got, want), name)| format!("{set}: {name} is {got:.4}, {want:.4} was accepted")).collect()
}

#[test]
fn the_models_that_ship_match_without_training() {
    let mut moved = Vec::new();
    for (set, want) in ACCEPTED_UNTRAINED {
        let Some(file) = records_of(set) else { continue };
        let models = Some(vec![shipped_persons().clone(), shipped_organisations().clone()]);
        moved.extend(moves(set, &resolve(&file, LinkOptions { models, ..LinkOptions::default() }), want));
    }
    assert!(moved.is_empty(), "{moved:#?}");
}

#[test]
fn labelled_sets_are_matched_as_well_as_was_accepted() {
    let all = std::env::var("ONEFOLD_QUALITY").is_ok_and(|which| which == "all");
    let mut moved = Vec::new();
    for (set, want, slow) in ACCEPTED {
        if *slow && !all {
            continue;
        }
        let Some(file) = records_of(set) else { continue };
        let linked = resolve(&file, LinkOptions::default());
        let recall = blocking_recall(&linked).unwrap_or(1.0);
        println!("{set}: {:.2} % of the true pairs were compared", recall * 100.0);
        moved.extend(moves(set, &linked, want));
    }
    assert!(moved.is_empty(), "{moved:#?}");
}

#[test]
fn neither_order_nor_streaming_shows_in_the_clusters() {
    for set in ["fake_1000", "rldata500", "census_secondstring", "senzing_truthset"] {
        let Some(file) = records_of(set) else { continue };
        let whole = resolve(&file, LinkOptions::default()).engine.digest();
        let streamed = resolve(&file, LinkOptions { online: true, ..LinkOptions::default() });
        assert_eq!(streamed.engine.digest(), whole, "{set}: row by row");

        let text = fs::read_to_string(&file).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let mut rows: Vec<&str> = rows.lines().collect();
        rows.reverse();
        let half = rows.len() / 2;
        rows.rotate_left(half);
        let folder = tempfile::tempdir().unwrap();
        let turned = folder.path().join("records.csv");
        fs::write(&turned, format!("{header}\n{}\n", rows.join("\n"))).unwrap();
        assert_eq!(resolve(&turned, LinkOptions::default()).engine.digest(), whole, "{set}: in another order");
    }
}
