//! What fuzzers call: one function for each way in for bytes that nobody vouches for. Each takes any bytes and panics where a
//! promise is broken. The crate in `fuzz/` hands them to libFuzzer; the test `fuzz_smoke` runs them on stable Rust.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic is the finding")]

pub mod backups;
pub mod journal;
pub mod tokens;

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use onefold_cli::input::mapping::{MappingFile, guess};
use onefold_cli::input::{Item, ReadOptions, Reader};
use onefold_cli::settings::{ConfigFile, Given, Settings};
use onefold_core::consent::Jurisdiction;
use onefold_core::date::{DateCustom, DateOrder, read_date};
use onefold_core::decision::{EntryKind, Sealed, TenantOpened};
use onefold_core::fragment::Fragment;
use onefold_core::hierarchy::entry::Subject;
use onefold_core::identifier::{Canonical, canonicalise, junk};
use onefold_core::ids::{ProfileId, SlotId, TenantId};
use onefold_core::namespace::Normaliser;
use onefold_matching::normalise::{address, company, name, text};
use onefold_matching::pair::{Features, Matcher, Model, Symbol, Symbols};
use onefold_proto::v1 as pb;
use onefold_store::checkpoint::Checkpoints;
use onefold_store::datadir::{DataDir, OpenOptions};
use onefold_store::erasures::{ErasureLedger, ErasureRow};
use onefold_store::journal::{Journal, JournalOptions};
use onefold_store::keyring::KeyRing;
use onefold_store::keys::{DataKey, TenantKeys};
use onefold_store::vault::Vault;
use prost::Message;
use tokio::runtime::Runtime;
use tonic::Code;
use tonic::transport::Channel;

use crate::consent::at;
use crate::dice::Dice;
use crate::traffic::open_sources;
use crate::{House, calls, person};

/// A way in, by name.
#[derive(Clone, Copy)]
pub struct Target {
    /// As the file in `fuzz/fuzz_targets` and the folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// How many inputs the short form tries: what a second or two allows.
    pub short: usize,
}

/// All ways in.
pub const TARGETS: [Target; 11] = [
    Target { name: "backups", run: backups::backups, short: 150 },
    Target { name: "calls", run: calls_of_any_kind, short: 1_500 },
    Target { name: "entries", run: entries, short: 20_000 },
    Target { name: "files", run: files, short: 300 },
    Target { name: "identifiers", run: identifiers, short: 2_500 },
    Target { name: "journal", run: journal::journal, short: 40 },
    Target { name: "models", run: models, short: 60 },
    Target { name: "parties", run: parties, short: 4_000 },
    Target { name: "rows", run: rows, short: 2_500 },
    Target { name: "settings", run: settings, short: 3_000 },
    Target { name: "tokens", run: tokens::tokens, short: 1_500 },
];

/// Inputs to begin with that are no text, and are made rather than kept: they follow the formats.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "backups" => backups::seeds(),
        "calls" => call_seeds(),
        "entries" => entry_seeds(),
        "files" => (0..u8::MAX).map(|file| vec![file, 0, 7, 0, file, 1]).collect(),
        "journal" => journal::seeds(),
        "models" => MODELS.iter().map(|model| model.as_bytes().to_vec()).collect(),
        "tokens" => tokens::seeds(),
        _ => Vec::new(),
    }
}

/// Another input, made of one or two that are known.
#[must_use]
pub fn mutated(known: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    const STRANGE: [&str; 14] = [
        "\u{0}",
        "\u{feff}",
        "\u{200b}",
        "\"",
        "\r",
        "\n",
        "{",
        "[[",
        "\\ud800",
        ";ext=",
        "9999999999999999999",
        "-0",
        "é\u{301}",
        "𝒜",
    ];
    let mut bytes = dice.pick(known).clone();
    for _ in 0..=dice.below(4) {
        let place = dice.index(bytes.len() + 1);
        match dice.below(8) {
            0 => bytes.truncate(place),
            1 | 2 if !bytes.is_empty() => {
                let place = place % bytes.len();
                bytes[place] ^= 1 << dice.below(8);
            }
            3 if !bytes.is_empty() => {
                let place = place % bytes.len();
                bytes[place] = dice.next() as u8;
            }
            4 => drop(bytes.splice(place..place, dice.word(&STRANGE).bytes())),
            5 => {
                let other = dice.pick(known);
                let from = dice.index(other.len() + 1);
                let length = dice.index(other.len() - from + 1).min(64);
                drop(bytes.splice(place..place, other[from..from + length].iter().copied()));
            }
            6 => {
                let end = (place + 1 + dice.index(16)).min(bytes.len());
                drop(bytes.drain(place.min(end)..end));
            }
            _ => {
                let end = (place + 1 + dice.index(24)).min(bytes.len());
                let again = bytes[place.min(end)..end].to_vec();
                drop(bytes.splice(place..place, again));
            }
        }
    }
    bytes
}

/// Bytes with changes in them, five bytes each: what is done, where (three bytes), and with what.
fn edited(was: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut content = was.to_vec();
    for edit in edits.chunks_exact(5) {
        let place = u32::from_le_bytes([edit[1], edit[2], edit[3], 0]) as usize % (content.len() + 1);
        match edit[0] % 4 {
            0 => content.truncate(place),
            1 => content.insert(place, edit[4]),
            _ if place < content.len() => content[place] ^= edit[4],
            _ => {}
        }
    }
    content
}

/// The text behind a first byte that chooses among variants.
fn choice(data: &[u8]) -> (u8, &str) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let text = std::str::from_utf8(rest)
        .unwrap_or_else(|fault| std::str::from_utf8(&rest[..fault.valid_up_to()]).unwrap_or_default());
    (*first, text)
}

/// An identifier in its canonical form is in its canonical form, in every region.
pub fn identifiers(data: &[u8]) {
    const REGIONS: [Option<&str>; 6] = [None, Some("US"), Some("DE"), Some("GB"), Some("IT"), Some("BR")];
    let (first, raw) = choice(data);
    let region = REGIONS[usize::from(first) % REGIONS.len()];
    for normaliser in Normaliser::ALL {
        let Ok(once) = canonicalise(normaliser, raw, region) else { continue };
        assert!(once.as_str().len() <= 3 * raw.len() + 64, "{normaliser:?} grew");
        for region in REGIONS {
            let twice = canonicalise(normaliser, once.as_str(), region);
            assert_eq!(twice.as_ref().map(Canonical::as_str), Ok(once.as_str()), "{normaliser:?} in {region:?}");
        }
        let _ = junk::junk(normaliser, &once);
    }
    if let Ok(id) = ProfileId::parse(raw) {
        assert_eq!(ProfileId::parse(&id.to_string()), Ok(id));
    }
    let _ = Jurisdiction::parse(raw);
}

/// Names, dates, addresses and companies are read from any text; what comes out is in comparable form: it folds to itself,
/// and read again it is the same.
pub fn parties(data: &[u8]) {
    let (first, raw) = choice(data);
    let folded = text::fold(raw);
    assert_eq!(text::fold(&folded), folded);
    let parts: Vec<&str> = raw.splitn(6, ['|', '\t']).collect();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let is_folded = |text: &str| assert_eq!(text::fold(text), text, "not in comparable form");
    let of_parts = name::PersonName::from_parts(part(0), part(1), part(2), part(3));
    for read in [name::PersonName::parse(raw), of_parts].into_iter().flatten() {
        [&read.given, &read.middle, &read.family, &read.nickname].into_iter().for_each(|part| is_folded(part));
        assert!(read.family.ends_with(read.family_core()));
        assert_eq!(read.family.is_empty(), read.family_core().is_empty());
        let _ = read.romanised();
    }
    if let Some(read) = company::CompanyName::parse(raw) {
        assert!(!read.core.is_empty(), "a company without a name");
        is_folded(&read.core);
        is_folded(&read.remark);
    }
    let order = if first & 1 == 0 { DateOrder::DayFirst } else { DateOrder::MonthFirst };
    let custom = DateCustom { order, latest_year: 2_030 };
    if let Some(read) = read_date(raw, custom) {
        for date in [Some(read.date), read.other].into_iter().flatten() {
            let _ = date.plausibility();
            let again = read_date(&date.to_string(), custom).unwrap();
            assert_eq!(
                (again.date, again.other, again.century_guessed),
                (date, None, false),
                "ISO 8601 says one thing"
            );
        }
        assert_ne!(read.other, Some(read.date));
    }
    let fields = address::AddressFields {
        street: part(0),
        unit: part(1),
        city: part(2),
        region: part(3),
        postcode: part(4),
        country: part(5),
    };
    if let Some(read) = address::PostalAddress::parse(fields, (first & 2 == 0).then_some("US")) {
        is_folded(&read.city);
        is_folded(&read.region);
    }
}

/// A file of records gives each row or says why not, holds no more than it was given, and ends.
pub fn rows(data: &[u8]) {
    const NAMES: [&str; 5] = ["people.csv", "people.tsv", "people.ndjson", "people.json", "people"];
    let (first, content) = data.split_first().unwrap_or((&0, &[]));
    let path = Path::new(NAMES[usize::from(*first) % NAMES.len()]);
    let bytes = Box::new(Cursor::new(content.to_vec()));
    let Ok(mut reader) = Reader::from_bytes(path, bytes, &ReadOptions::default()) else { return };
    let (mut items, mut held) = (0_usize, 0_usize);
    let mut sample = Vec::new();
    while let Ok(Some(item)) = reader.next_item() {
        items += 1;
        match item {
            Item::Record(record) => {
                held += record.fields.iter().map(|(_, text)| text.len()).sum::<usize>();
                assert!(
                    record.fields.iter().all(|(column, text)| {
                        !text.is_empty() && (*column as usize) < reader.columns().names().len()
                    })
                );
                if sample.len() < 20 {
                    sample.push(record);
                }
            }
            Item::Refused(refusal) => assert!(refusal.line > 0 && refusal.reason.len() < 2_000, "{}", refusal.reason),
        }
        assert!(items <= content.len() + 1, "more rows than bytes");
    }
    // Legacy encodings take up to three bytes of UTF-8 for one.
    assert!(held <= 4 * content.len() + 64, "{held} of {}", content.len());
    let names = reader.columns().names().to_vec();
    let mapping = guess(&names, &sample.iter().collect::<Vec<_>>(), "people", None);
    assert_eq!(mapping.columns.len(), names.len());
}

/// Files of settings and of mappings are read, or refused with an error that says where; what is shown of settings is a file
/// that says the same.
pub fn settings(data: &[u8]) {
    let (first, text) = choice(data);
    let path = Path::new("onefold.toml");
    if first & 1 == 0 {
        let lay = |file: &ConfigFile| Settings::lay(&Given::default(), &BTreeMap::new(), Some(file));
        match ConfigFile::parse(text, path) {
            Err(faults) => {
                assert!(faults.iter().all(|fault| fault.at.starts_with("onefold.toml:")) && !faults.is_empty())
            }
            Ok(file) => match lay(&file) {
                Err(faults) => assert!(!faults.is_empty()),
                Ok(settings) => {
                    let shown = ConfigFile::parse(&settings.shown(), path).unwrap();
                    let values = |file: &ConfigFile| -> Vec<_> {
                        file.values.iter().map(|(place, _, value)| (*place, value.clone())).collect()
                    };
                    let said = values(&shown);
                    assert!(values(&file).iter().all(|value| said.contains(value)), "shown is not what was said");
                    let again = ConfigFile::parse(&lay(&shown).unwrap().shown(), path).unwrap();
                    assert_eq!(values(&again), said);
                }
            },
        }
    } else if let Err(fault) = MappingFile::parse(text, first & 2 != 0, path) {
        assert!(!fault.to_string().is_empty());
    }
}

const MODELS: [&str; 2] = [
    include_str!("../../matching/src/pair/shipped/persons.json"),
    include_str!("../../matching/src/pair/shipped/organisations.json"),
];

/// A model that is taken is whole: it is written as it was read, and weighs any two records with a number, the same from both
/// sides and however it is asked.
pub fn models(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(model) = Model::from_json(text) {
        let written = model.to_json();
        let again = Model::from_json(&written).unwrap();
        assert_eq!(again.to_json(), written);
        weighs(again);
    }
}

/// Texts that say something in every kind of field, and one that says nothing.
const SAYINGS: [&str; 6] = ["ada", "1985-04-11", "+4930901820", "ada@harbour-mail.net", "12", ""];

fn weighs(model: Model) {
    let matcher = Matcher::new(model);
    let mut symbols = Symbols::default();
    let rows: Vec<Vec<Symbol>> = (0..SAYINGS.len())
        .map(|first| {
            let mut features = Features::default();
            (0..matcher.stride()).for_each(|field| features.push(SAYINGS[(first + field * first) % SAYINGS.len()]));
            let mut row = Vec::new();
            matcher.row(&mut symbols, &features, &mut row);
            row
        })
        .collect();
    let mut keys = smallvec::SmallVec::new();
    for one in &rows {
        matcher.keys(&symbols, one, &mut keys);
        for other in &rows {
            let bits = matcher.weigh(&symbols, one, other);
            assert!(bits.is_finite(), "{bits} bits");
            assert_eq!(bits, matcher.weigh(&symbols, other, one), "one weight from both sides");
            assert!(matcher.weigh_against_kin(&symbols, one, other).is_finite());
            let told = matcher.waterfall(&symbols, one, other).total_bits;
            assert!((told - bits).abs() <= 1e-2 + bits.abs() / 1e3, "{bits} bits, explained as {told}");
            assert_eq!(matcher.weigh_above(&symbols, one, other, bits), Some(bits), "a ceiling too low");
        }
    }
}

/// What lies inside journal entries is read or refused; what is read is written the same.
pub fn entries(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    match first % 4 {
        0 => {
            if let Ok(fragment) = Fragment::decode(rest) {
                let written = fragment.encode();
                assert_eq!(Fragment::decode(&written).unwrap().encode(), written);
            }
        }
        1 => drop(Sealed::parse(rest).map(|sealed| sealed.ciphertext.len())),
        2 => drop(Subject::parse(rest).map(|(_, ciphertext)| ciphertext.len())),
        _ => {
            if let Ok(message) = pb::StreamFragmentsRequest::decode(rest) {
                let written = message.encode_to_vec();
                assert_eq!(pb::StreamFragmentsRequest::decode(&written[..]).unwrap().encode_to_vec(), written);
            }
        }
    }
}

fn entry_seeds() -> Vec<Vec<u8>> {
    let message = |fragment| pb::StreamFragmentsRequest {
        action: Some(pb::stream_fragments_request::Action::Put(fragment)),
        ..Default::default()
    };
    let mut seeds: Vec<Vec<u8>> = [
        person("crm", "k1", 1_700_000_000, &[("email", "ada@harbour-mail.net")], &[("given_name", "Ada")]),
        person("shop", "", 0, &[], &[]),
    ]
    .into_iter()
    .map(|fragment| [vec![3], message(fragment).encode_to_vec()].concat())
    .collect();
    let ground = ground();
    seeds.extend(ground.payloads.iter().flat_map(|payload| (1..3).map(|kind| [vec![kind], payload.clone()].concat())));
    seeds.extend(ground.fragments.iter().map(|fragment| [vec![0], fragment.clone()].concat()));
    seeds
}

/// A server that takes calls of any kind.
struct Open {
    runtime: Runtime,
    channel: Channel,
    paths: Vec<String>,
    /// Held, so that they live as long as the process.
    _house: House,
    _dir: tempfile::TempDir,
}

fn open() -> &'static Open {
    static OPEN: OnceLock<Open> = OnceLock::new();
    OPEN.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (house, channel) = runtime.block_on(async {
            let mut house = House::open(&dir.path().join("data")).await;
            open_sources(&mut house, "").await;
            house.put(person("crm", "k1", 1_700_000_000, &[("email", "ada@harbour-mail.net")], &[])).await;
            let address = format!("http://{}", house.server().address());
            (house, Channel::from_shared(address).unwrap().connect().await.unwrap())
        });
        // A backup writes where it is told to, and the feed waits for what is to come.
        let calls = calls::methods();
        let paths = calls.iter().map(calls::path).filter(|path| !path.contains("Backup") && !path.contains("Watch"));
        Open { runtime, channel, paths: paths.collect(), _house: house, _dir: dir }
    })
}

/// Any call with any message is answered; what is wrong is the caller's fault and said so.
pub fn calls_of_any_kind(data: &[u8]) {
    let open = open();
    let (first, message) = data.split_first().unwrap_or((&0, &[]));
    let path = &open.paths[usize::from(*first) % open.paths.len()];
    let answer = open.runtime.block_on(calls::ask(&open.channel, path, message.to_vec(), None));
    if let Err(status) = answer {
        let fault = matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss);
        assert!(!fault, "{path}: {status:?}");
    }
}

fn call_seeds() -> Vec<Vec<u8>> {
    let open = open();
    let fragment =
        person("crm", "k9", 1_700_000_000, &[("email", "eve@harbour-mail.net")], &[("birth_date", "1990-01-02")]);
    let put = pb::PutFragmentRequest { fragment: Some(fragment), ..Default::default() }.encode_to_vec();
    let lookup = pb::LookupProfileRequest {
        key: Some(pb::lookup_profile_request::Key::Identifier(crate::identifier("email", "ada@harbour-mail.net"))),
        ..Default::default()
    };
    let record = pb::RecordConsentRequest {
        subject: Some(at("email", "ada@harbour-mail.net")),
        saying: Some(crate::consent::said(pb::ConsentDecision::Granted, 1_700_000_000)),
        ..Default::default()
    };
    let page = pb::ListSourcesRequest { page_size: 1, ..Default::default() };
    let answers = open.runtime.block_on(calls::ask(
        &open.channel,
        "/onefold.v1.AdminService/ListSources",
        page.encode_to_vec(),
        None,
    ));
    let token = pb::ListSourcesResponse::decode(&answers.unwrap()[..]).unwrap().next_page_token;
    let next = pb::ListSourcesRequest { page_size: 1, page_token: token, ..Default::default() };
    let messages = [put, lookup.encode_to_vec(), record.encode_to_vec(), next.encode_to_vec(), Vec::new()];
    (0..=u8::MAX)
        .take(open.paths.len())
        .flat_map(|method| messages.iter().map(move |message| [vec![method], message.clone()].concat()))
        .collect()
}

/// A data directory as a server left it, and everything that is in it.
struct Ground {
    dir: tempfile::TempDir,
    ring: KeyRing,
    tenant: TenantId,
    keys: TenantKeys,
    /// The files that are damaged, by path, with their content.
    files: Vec<(PathBuf, Vec<u8>)>,
    payloads: Vec<Vec<u8>>,
    fragments: Vec<Vec<u8>>,
    slots: Vec<Option<DataKey>>,
    sections: BTreeMap<String, Vec<u8>>,
    erased: Vec<ErasureRow>,
}

const SEGMENT_BYTES: u32 = 2 << 20;

fn options(data: &Path) -> JournalOptions {
    JournalOptions { dir: data.join("journal"), segment_bytes: SEGMENT_BYTES }
}

fn ground() -> &'static Ground {
    static GROUND: OnceLock<Ground> = OnceLock::new();
    GROUND.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut config = House::config(&data);
        config.segment_bytes = SEGMENT_BYTES;
        Runtime::new().unwrap().block_on(async {
            let mut house = House::open_with(config).await;
            open_sources(&mut house, "").await;
            for who in 0..12 {
                let mail = format!("p{who}@harbour-mail.net");
                house
                    .put(person("crm", &who.to_string(), 1_700_000_000, &[("email", &mail)], &[("given_name", "Ada")]))
                    .await;
            }
            house.forget(vec![at("email", "p3@harbour-mail.net")]).await.unwrap();
            house.close().await;
        });
        let lock = DataDir::open(&data, OpenOptions::default()).unwrap();
        let ring = lock.ring().clone();
        let (mut opened, mut payloads, mut fragments) = (None, Vec::new(), Vec::new());
        let mut sealed = Vec::new();
        drop(Journal::open(options(&data), None, |batch| {
            for entry in batch.entries() {
                let Some(payload) = entry.bytes() else { continue };
                payloads.push(payload.to_vec());
                match EntryKind::from_u8(entry.kind.0) {
                    Some(EntryKind::TenantOpened) if opened.is_none() => {
                        let tenant = TenantOpened::decode(payload)?;
                        opened = Some((entry.tenant, lock.tenant_keys(&tenant.wrapped_keys, entry.tenant)?));
                    }
                    Some(EntryKind::FragmentPut) => sealed.push((entry.seal_context(), payload.to_vec())),
                    _ => {}
                }
            }
            Ok(())
        }));
        let (tenant, keys) = opened.unwrap();
        let vault = lock.open_vault(tenant, &keys).unwrap();
        for (context, payload) in sealed {
            let sealed = Sealed::parse(&payload).unwrap();
            if let Ok(key) = vault.key(sealed.slot) {
                fragments.push(context.open(&key, 0, &sealed.header, sealed.ciphertext).unwrap().to_vec());
            }
        }
        let slots = keys_of(&vault);
        drop(vault);
        drop(lock);
        let (mut files, mut folders) = (Vec::new(), vec![data.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let is_ours =
                    ["journal", "vault", "checkpoint", "erasures"].iter().any(|part| path.starts_with(data.join(part)));
                match path.is_dir() {
                    true => folders.push(path),
                    false if is_ours => files.push((path.clone(), fs::read(&path).unwrap())),
                    false => {}
                }
            }
        }
        files.sort();
        let mut ground = Ground {
            dir,
            ring,
            tenant,
            keys,
            files,
            payloads,
            fragments,
            slots,
            sections: BTreeMap::new(),
            erased: Vec::new(),
        };
        ground.sections = sections(&ground).unwrap();
        ground.erased = ErasureLedger::read(&ErasureLedger::path(&data)).unwrap();
        assert!(!ground.sections.is_empty() && !ground.erased.is_empty() && ground.fragments.len() == 11);
        ground
    })
}

/// The first keys of a vault; `None` for one that cannot be had.
fn keys_of(vault: &Vault) -> Vec<Option<DataKey>> {
    (0..64).map(|slot| vault.key(SlotId(slot)).ok()).collect()
}

fn sections(ground: &Ground) -> Option<BTreeMap<String, Vec<u8>>> {
    let data = ground.dir.path().join("data");
    let checkpoints = Checkpoints::new(data.join("checkpoint"), data.join("keys"), ground.ring.checkpoint_root());
    let checkpoint = checkpoints.latest().ok()?.checkpoint?;
    let names: Vec<String> = checkpoint.sections().map(str::to_owned).collect();
    names.into_iter().map(|name| checkpoint.read(&name).ok().map(|content| (name, content))).collect()
}

/// A file of a data directory that is not what it was: it is refused, or what is read of it is what was written.
pub fn files(data: &[u8]) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let ground = ground();
    let home = ground.dir.path().join("data");
    let Some((first, edits)) = data.split_first() else { return };
    let (path, was) = &ground.files[usize::from(*first) % ground.files.len()];
    fs::write(path, edited(was, edits)).unwrap();

    let mut seen = 0;
    let opened = Journal::open(options(&home), None, |batch| {
        for payload in batch.entries().filter_map(|entry| entry.bytes().map(<[u8]>::to_vec)) {
            assert!(ground.payloads.get(seen) == Some(&payload), "entry {seen} is not what was written");
            seen += 1;
        }
        Ok(())
    });
    if let Ok(opened) = opened {
        let _ = opened.reader.verify();
    }
    if let Ok(vault) = ground.ring.open_vault(&home.join("vault"), ground.tenant, &ground.keys) {
        for (slot, (is, was)) in keys_of(&vault).into_iter().zip(&ground.slots).enumerate() {
            assert!(is.is_none() || is == *was, "slot {slot} holds another key");
        }
    }
    if let Some(read) = sections(ground) {
        assert!(read == ground.sections, "a checkpoint is not what was written");
    }
    if let Ok(rows) = ErasureLedger::read(&ErasureLedger::path(&home)) {
        assert!(ground.erased.starts_with(&rows), "the ledger tells of other erasures");
    }

    // As it was: opening a journal may cut a torn tail and begin a segment.
    for folder in ["journal", "checkpoint"] {
        for entry in fs::read_dir(home.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if !ground.files.iter().any(|(known, _)| *known == path) {
                fs::remove_file(path).unwrap();
            }
        }
    }
    for (path, was) in &ground.files {
        fs::write(path, was).unwrap();
    }
}
