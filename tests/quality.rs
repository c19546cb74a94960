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
use onefold_cli::resolve::score::{Score, score};
use onefold_cli::resolve::{LinkOptions, Linked, link};

/// Accepted without labels and without a setting: pairwise precision and F1, B-cubed F1.
const ACCEPTED: &[(&str, [f64; 3], bool)] = &[
    ("fake_1000", [0.9968, 0.9575, 0.9669], false),
    ("febrl1", [1.0, 0.9990, 0.9995], false),
    ("febrl2", [0.9995, 0.9990, 0.9998], false),
    ("febrl3", [1.0, 0.9998, 0.9999], false),
    ("febrl4", [1.0, 0.9998, 0.9999], false),
    ("febrl_dsgen_c10k", [0.9995, 0.9974, 0.9988], false),
    ("epbrn_d", [0.9932, 0.9753, 0.9978], false),
    ("rldata500", [1.0, 0.9899, 0.9990], false),
    ("synth_people_20k", [0.9719, 0.9241, 0.9513], true),
    ("historical_50k", [0.9954, 0.9181, 0.9266], true),
];
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

#[test]
fn labelled_sets_are_matched_as_well_as_was_accepted() {
    let all = std::env::var("ONEFOLD_QUALITY").is_ok_and(|which| which == "all");
    let mut moved = Vec::new();
    for (set, want, slow) in ACCEPTED {
        if *slow && !all {
            continue;
        }
        let Some(file) = records_of(set) else { continue };
        let score = score_of(&resolve(&file, LinkOptions::default()));
        let got = [score.pairwise.precision, score.pairwise.f1, score.bcubed.f1];
        println!("{set}: pairwise precision {:.4}, F1 {:.4}, B-cubed F1 {:.4}", got[0], got[1], got[2]);
        for ((got, want), name) in got.iter().zip(want).zip(["pairwise precision", "pairwise F1", "B-cubed F1"]) {
            if (got - want).abs() > TOLERANCE {
                moved.push(format!("{set}: {name} is {got:.4}, {want:.4} was accepted"));
            }
        }
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
