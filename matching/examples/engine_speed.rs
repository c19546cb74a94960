//! How fast and how small the engine is:
//! `cargo run --release -p onefold-matching --example engine_speed [FRAGMENTS [RECYCLED [EACH]]]`, where `RECYCLED` is how many
//! in 100 fragments carry a phone number that somebody had before: what keeps apart what it seems to join; `EACH` is
//! the mean number of fragments of one person, in tenths.
//!
//! A seeded population: people with a user id, two mails, two phones and three devices, households that share a phone,
//! recycled phone numbers, and a few junk values. Each fragment carries about three identifiers of its person.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use onefold_core::config::TenantConfig;
use onefold_core::fragment::{ObservedAt, PartyKind};
use onefold_core::ids::{Digest128, NamespaceId, Place, SlotId, SourceId};
use onefold_matching::prepared::{LinkValue, Prepared};
use onefold_matching::resolve::{Engine, LinkRules};

const BATCH: usize = 512;
const USER_ID: u16 = 0;
const EMAIL: u16 = 6;
const PHONE: u16 = 7;
const DEVICE: u16 = 9;

/// Splitmix64: a seed in, well mixed bits out.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn digest(kind: u16, number: u64) -> Digest128 {
    let (high, low) = (mixed(number ^ (u64::from(kind) << 48)), mixed(mixed(number) ^ u64::from(kind)));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_le_bytes());
    bytes[8..].copy_from_slice(&low.to_le_bytes());
    Digest128(bytes)
}

/// The `number`th fragment of a population of `people`.
fn prepared(number: u64, people: u64, recycled: u64) -> Prepared {
    let dice = |salt: u64, sides: u64| mixed(number ^ (salt << 40)) % sides;
    let person = dice(1, people);
    let value = |namespace: u16, number: u64| LinkValue {
        namespace: NamespaceId(namespace),
        digest: digest(namespace, number),
    };
    let mut links = vec![value(EMAIL, person * 2 + dice(2, 2)), value(DEVICE, person * 3 + dice(3, 3))];
    match dice(4, 100) {
        draw if draw < recycled => links.push(value(PHONE, (person + 7) % people * 2)),
        // A household of three shares its phone.
        draw if draw < recycled + 5 => links.push(value(PHONE, 1 << 40 | (person / 3))),
        99 => links.push(value(PHONE, 1 << 41 | dice(6, 3))),
        _ => links.push(value(PHONE, person * 2 + dice(7, 2))),
    }
    if dice(8, 3) == 0 {
        links.push(value(USER_ID, person));
    }
    links.sort_unstable();
    Prepared {
        plain: Vec::new(),
        record: digest(100, number),
        facts: digest(101, number),
        source: SourceId(dice(9, 5) as u16),
        observed_at: ObservedAt(number as i64),
        party: PartyKind::Person,
        links,
        name: Some(mixed(person)),
        features: None,
        corrects: false,
    }
}

fn main() {
    let argument = |which, default| std::env::args().nth(which).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (fragments, recycled): (u64, u64) = (argument(1, 1_000_000), argument(2, 5));
    let people = fragments * 10 / argument(3, 25);
    let mut engine = Engine::new(LinkRules::of(&TenantConfig::new("bench", "Bench")));
    let (mut putting, mut settling, mut slowest, mut changes) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0);
    let mut next = 0;
    while next < fragments {
        let end = fragments.min(next + BATCH as u64);
        let batch: Vec<Prepared> = (next..end).map(|number| prepared(number, people, recycled)).collect();
        let start = clock();
        std::hint::black_box(engine.look_ahead(&batch));
        for (offset, prepared) in batch.iter().enumerate() {
            let number = next as u32 + offset as u32;
            engine.put(prepared, Place { segment: 1, offset: number }, SlotId(number));
        }
        let put = clock();
        changes += engine.settle().len();
        let settled = clock();
        putting += put - start;
        settling += settled - put;
        slowest = slowest.max(settled - put);
        next = end;
        if end.is_multiple_of(BATCH as u64 * 400) {
            println!("{end:>9} put {:.2} s, settled {:.2} s", putting.as_secs_f64(), settling.as_secs_f64());
        }
    }
    let rate = fragments as f64 / (putting + settling).as_secs_f64();
    println!(
        "{fragments} fragments in batches of {BATCH}: {rate:.0}/s, slowest settlement {slowest:?}, {changes} changes"
    );
    println!("{:?}", engine.stats());
    println!("{:.1} bytes per fragment", engine.memory_bytes() as f64 / fragments as f64);
    let mut sections = std::collections::BTreeMap::new();
    let start = clock();
    let written = engine.write_to(&mut |name, bytes| {
        sections.insert(name.to_owned(), bytes.to_vec());
        Ok::<(), std::convert::Infallible>(())
    });
    let wrote = clock();
    let (mut total, mut parts) = (0, Vec::new());
    for (name, bytes) in &sections {
        total += bytes.len();
        parts.push(format!("{name} {}", bytes.len()));
    }
    let wrote_at = clock();
    let read = Engine::read_from(engine.rules().clone(), &mut |name| sections.remove(name));
    println!("checkpoint written {written:?} in {:?}, read in {:?}", wrote - start, clock() - wrote_at);
    println!("{:.1} bytes per fragment in the checkpoint: {}", total as f64 / fragments as f64, parts.join(", "));
    println!(
        "{:.1} bytes per fragment when read back",
        read.map_or(0, |read| read.memory_bytes()) as f64 / fragments as f64
    );
    let start = clock();
    let digest = engine.digest();
    println!("digest {digest} in {:?}", clock() - start);
}

/// Time that this thread spent on a processor, so that what else the machine does counts for little. Where the system
/// does not tell, the clock on the wall.
fn clock() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let spent = told.and_then(|text| text.split_whitespace().next()?.parse().ok());
    spent.map_or_else(wall, Duration::from_nanos)
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn wall() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
