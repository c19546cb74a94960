//! Comparable forms over labelled records: how many real spellings of one fact come out alike, and how few strangers do.
//!
//! Reads the labelled sets beside the workspace (`../shared/data`) and says so where they are absent. The floors are what
//! was measured when they were written, less a point: a change that loses more has to be argued for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use onefold_core::config::{TenantConfig, attribute};
use onefold_core::date::{DateCustom, DateOrder, read_date};
use onefold_core::fragment::{Attribute, AttributeValue, Fragment, ObservedAt, PartyKind, SourceRecord};
use onefold_core::identifier::{BlockRules, canonicalise};
use onefold_core::ids::{AttributeId, SourceId};
use onefold_matching::normalise::address::{AddressFields, PostalAddress};
use onefold_matching::normalise::company::CompanyName;
use onefold_matching::prepare::name_skeleton;

type Row = BTreeMap<String, String>;

fn rows(set: &str) -> Option<Vec<Row>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(set).join("records.csv");
    let Ok(mut reader) = csv::Reader::from_path(&path) else {
        println!("skipped: the labelled set {set} is not beside the workspace");
        return None;
    };
    Some(reader.deserialize().map(Result::unwrap).collect())
}

fn by_cluster(rows: &[Row]) -> BTreeMap<&str, Vec<&Row>> {
    let mut clusters: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row["cluster_id"].is_empty()) {
        clusters.entry(&row["cluster_id"]).or_default().push(row);
    }
    clusters
}

/// Share of pairs within clusters whose keys are equal; pairs with a missing key do not count.
fn agreement<K: Eq>(clusters: &BTreeMap<&str, Vec<&Row>>, key: impl Fn(&Row) -> Option<K>) -> (f64, usize) {
    let (mut same, mut all) = (0usize, 0usize);
    for members in clusters.values() {
        let keys: Vec<K> = members.iter().filter_map(|row| key(row)).collect();
        for (at, left) in keys.iter().enumerate() {
            for right in &keys[at + 1..] {
                all += 1;
                same += usize::from(left == right);
            }
        }
    }
    (same as f64 / all.max(1) as f64, all)
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn named(party: PartyKind, attributes: &[(AttributeId, &str)]) -> Fragment {
    Fragment {
        record: SourceRecord { source: SourceId(0), key: String::new() },
        observed_at: ObservedAt(0),
        party,
        identifiers: Vec::new(),
        attributes: attributes
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| Attribute { name: *name, value: AttributeValue::Text((*text).to_owned()) })
            .collect(),
        traits: None,
        affiliations: Vec::new(),
        stages: Vec::new(),
    }
}

fn person(row: &Row) -> Option<String> {
    name_skeleton(&named(
        PartyKind::Person,
        &[
            (attribute::FULL_NAME, &row["full_name"]),
            (attribute::GIVEN_NAME, &row["first_name"]),
            (attribute::FAMILY_NAME, &row["last_name"]),
        ],
    ))
}

/// Prints the figure beside its floor, so that `--nocapture` is the report.
fn at_least(what: &str, (got, pairs): (f64, usize), floor: f64) {
    println!("{what:<52} {:6.2} % of {pairs}", got * 100.0);
    assert!(pairs > 100, "{what}: too few pairs");
    assert!(got >= floor, "{what}: {got:.4} is under the floor of {floor}");
}

#[test]
fn people_of_several_sources() {
    let Some(rows) = rows("synth_people_20k") else { return };
    let clusters = by_cluster(&rows);
    let raw_name = |row: &Row| {
        let parts = ["full_name", "first_name", "last_name"].map(|column| row[column].as_str());
        (parts != [""; 3]).then(|| parts.concat())
    };
    let raw = agreement(&clusters, raw_name);
    let key = agreement(&clusters, person);
    println!("names as typed agree in {:.2} % of {} pairs", raw.0 * 100.0, raw.1);
    at_least("people: name key", key, NAME_KEY);

    // How a shared value is judged generic: distinct names behind one person, and behind two strangers.
    let keys_of = |members: &[&Row]| members.iter().filter_map(|row| person(row)).collect::<BTreeSet<_>>().len();
    let over = clusters.values().filter(|members| keys_of(members) > 4).count();
    println!("people: clusters with more than four name keys       {over} of {}", clusters.len());
    assert!(over * 1_000 <= clusters.len() * CROWDED_PER_MILLE, "{over} people look like crowds");
    let firsts: Vec<String> =
        clusters.values().filter_map(|members| members.iter().find_map(|row| person(row))).collect();
    let strangers = firsts.windows(2).filter(|pair| pair[0] != pair[1]).count();
    at_least(
        "people: neighbours in the list told apart",
        (strangers as f64 / (firsts.len() - 1) as f64, firsts.len() - 1),
        0.99,
    );

    let us = DateCustom { order: DateOrder::MonthFirst, latest_year: 2024 };
    let dates = rows.iter().filter(|row| !row["dob"].is_empty());
    let read = dates.clone().filter(|row| read_date(&row["dob"], us).is_some()).count();
    at_least("people: dates that read", (read as f64 / dates.clone().count() as f64, dates.count()), 0.99);
    at_least(
        "people: dates agree",
        agreement(&clusters, |row| read_date(&row["dob"], us).map(|reading| reading.date)),
        DATES,
    );

    let street = |row: &Row| {
        let fields = AddressFields {
            street: some(&row["street"])?,
            unit: &row["unit"],
            country: "US",
            ..AddressFields::default()
        };
        PostalAddress::parse(fields, None).map(|address| (address.line.number, address.line.street))
    };
    let typed = agreement(&clusters, |row| some(&row["street"]).map(str::to_lowercase));
    println!("streets as typed agree in {:.2} % of {} pairs", typed.0 * 100.0, typed.1);
    at_least("people: streets agree", agreement(&clusters, street), STREETS);
}

#[test]
fn identifiers_of_people() {
    let Some(rows) = rows("synth_people_20k") else { return };
    let config = TenantConfig::new("t", "T");
    for (column, name) in
        [("email", "email"), ("phone", "phone"), ("device_id", "device_id"), ("loyalty_id", "loyalty_id")]
    {
        let namespace = config.namespace_named(name).unwrap();
        let rules = BlockRules::compile(namespace, Some("US")).unwrap();
        let (mut well_formed, mut blocked, mut all) = (0usize, 0usize, 0usize);
        let mut behind: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for row in rows.iter().filter(|row| !row[column].is_empty()) {
            all += 1;
            let Ok(value) = canonicalise(namespace.normaliser, &row[column], Some("US")) else { continue };
            well_formed += 1;
            if rules.blocked(&value).is_some() {
                blocked += 1;
            } else {
                behind.entry(value.into_string()).or_default().insert(&row["cluster_id"]);
            }
        }
        let largest = behind.values().map(BTreeSet::len).max().unwrap_or(0);
        println!(
            "{name:<12} {all:6} given, {well_formed:6} well formed, {blocked:4} blocked; most people behind one value: {largest}"
        );
        assert!(well_formed as f64 >= 0.98 * all as f64, "{name}");
    }
}

#[test]
fn companies_of_several_sources() {
    let Some(rows) = rows("synth_companies_6k") else { return };
    let clusters = by_cluster(&rows);
    let typed = agreement(&clusters, |row| some(&row["name"]).map(str::to_lowercase));
    println!("company names as typed agree in {:.2} % of {} pairs", typed.0 * 100.0, typed.1);
    at_least(
        "companies: core names agree",
        agreement(&clusters, |row| CompanyName::parse(&row["name"]).map(|name| name.core)),
        COMPANIES,
    );
    let config = TenantConfig::new("t", "T");
    let phone = config.namespace_named("phone").unwrap();
    let domain = config.namespace_named("domain").unwrap();
    let phone_of = |row: &Row| {
        let region = onefold_core::identifier::region::country_code(&row["country"]);
        canonicalise(phone.normaliser, some(&row["phone"])?, region.or(Some("US")))
            .ok()
            .map(|value| value.into_string())
    };
    at_least("companies: phones agree", agreement(&clusters, phone_of), PHONES);
    let domain_of =
        |row: &Row| canonicalise(domain.normaliser, some(&row["website"])?, None).ok().map(|value| value.into_string());
    at_least("companies: domains agree", agreement(&clusters, domain_of), DOMAINS);
}

#[test]
fn assignees_and_dates_of_other_sets_read() {
    if let Some(rows) = rows("nber_assignees_dev") {
        let clusters = by_cluster(&rows);
        let typed = agreement(&clusters, |row| some(&row["organization"]).map(str::to_lowercase));
        println!("assignees as typed agree in {:.2} % of {} pairs", typed.0 * 100.0, typed.1);
        at_least(
            "assignees: core names agree",
            agreement(&clusters, |row| CompanyName::parse(&row["organization"]).map(|name| name.core)),
            ASSIGNEES,
        );
    }
    let custom = DateCustom { order: DateOrder::DayFirst, latest_year: 2024 };
    for (set, column) in [
        ("febrl1", "date_of_birth"),
        ("fake_1000", "dob"),
        ("senzing_truthset", "date_of_birth"),
        ("historical_50k", "dob"),
    ] {
        let Some(rows) = rows(set) else { continue };
        let given: Vec<&Row> = rows.iter().filter(|row| !row[column].is_empty()).collect();
        let read = given.iter().filter(|row| read_date(&row[column], custom).is_some()).count();
        println!("{set}: {read} of {} dates read", given.len());
        // Febrl plants dates that do not exist.
        assert!(read as f64 >= 0.93 * given.len() as f64, "{set}");
    }
}

// Shares of pairs within one party whose forms agree; what is missing are typing errors, moves, married and trading names.
const NAME_KEY: f64 = 0.79;
const CROWDED_PER_MILLE: usize = 2;
const DATES: f64 = 0.735;
const STREETS: f64 = 0.72;
const COMPANIES: f64 = 0.745;
const PHONES: f64 = 0.825;
const DOMAINS: f64 = 0.875;
const ASSIGNEES: f64 = 0.21;
