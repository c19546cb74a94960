//! How fast the generator is: `cargo run --release -p onefold-cli --example generate_speed [PEOPLE]`.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use onefold_cli::generate::{Population, Sizes, fragment, prepared, tenant};

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn main() -> Result<(), Box<dyn Error>> {
    let people = std::env::args().nth(1).map_or(Ok(330_000), |people| people.parse())?;
    let sizes = Sizes { people, companies: people / 20 };
    let config = Arc::new(tenant());
    let told = |what: &str, started: Instant, records: usize, links: usize| {
        let seconds = started.elapsed().as_secs_f64();
        let each = links as f64 / records as f64;
        println!("{what}: {records} in {seconds:.2} s, {:.0}/s, {each:.2} identifiers each", records as f64 / seconds);
    };
    let started = Instant::now();
    let (mut records, mut links) = (0, 0);
    for record in Population::new(1, sizes) {
        records += 1;
        links += record.identifiers().count();
    }
    told("records", started, records, links);
    let started = Instant::now();
    let (mut fragments, mut links) = (0, 0);
    for fragment in Population::new(1, sizes).filter_map(|record| fragment(&record, &config)) {
        fragments += 1;
        links += fragment.identifiers.len();
    }
    told("fragments", started, fragments, links);
    let started = Instant::now();
    let (mut made, mut links) = (0, 0);
    for prepared in prepared(Population::new(1, sizes), Arc::clone(&config), [7; 32])? {
        made += 1;
        links += prepared.links.len();
    }
    told("prepared", started, made, links);
    Ok(())
}
