//! A journal whose checksums are right whatever it says: what lies behind them is read as strictly as what lies in front.
//! They are made by the format's description (`store/src/journal/format.rs`), not by its code.

use std::fs;
use std::path::Path;

use onefold_server::{ServeError, Server, StartError, doctor};
use onefold_store::journal::Journal;
use tokio::runtime::Runtime;

use super::{edited, ground, options};
use crate::House;

const SEGMENT_HEADER: usize = 88;
const BATCH_HEADER: usize = 40;
const BATCH_TRAILER: usize = 33;
const BATCH_MAGIC: &[u8; 4] = b"1FBA";

/// A segment's numbers made consistent with what is in it, as far as it can be read; the chain hash after it. `before` is the
/// one that its first batch continues; none in the first segment, which says it.
fn mend(bytes: &mut [u8], before: Option<[u8; 32]>) -> Option<[u8; 32]> {
    let header = bytes.get_mut(..SEGMENT_HEADER)?;
    if let Some(before) = before {
        header[32..64].copy_from_slice(&before);
    }
    let checksum = blake3::hash(&header[..80]);
    header[80..].copy_from_slice(&checksum.as_bytes()[..8]);
    let (number, salt): ([u8; 4], [u8; 16]) = (header[12..16].try_into().ok()?, header[16..32].try_into().ok()?);
    let mut chain: [u8; 32] = header[32..64].try_into().ok()?;
    let mut at = SEGMENT_HEADER;
    while bytes.get(at..at + 4) == Some(&BATCH_MAGIC[..]) {
        let word = |place: usize| bytes.get(place..place + 4)?.try_into().ok().map(u32::from_le_bytes);
        let stored = word(at + 8)? as usize;
        let (first, end) = (at + BATCH_HEADER, (at + BATCH_HEADER).checked_add(stored)?);
        if end + BATCH_TRAILER > bytes.len() {
            break;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&chain);
        let (mut entry, mut entries, mut logical) = (first, 0_u32, 0_u32);
        while entry < end {
            let Some((head, said)) = mend_head(&mut bytes[entry..end]) else { break };
            let kept = if head.dropped { 32 } else { head.payload as usize };
            let Some(payload) = bytes[entry..end].get(said..said + kept) else { break };
            let digest: [u8; 32] = match head.dropped {
                true => payload.try_into().ok()?,
                false => *blake3::hash(payload).as_bytes(),
            };
            hasher.update(&[head.kind]).update(&head.tenant.to_le_bytes()).update(&head.sequence.to_le_bytes());
            hasher.update(&head.payload.to_le_bytes()).update(&digest);
            entries += 1;
            logical = logical.wrapping_add(said as u32).wrapping_add(head.payload);
            entry += said + kept;
        }
        bytes[at + 4..at + 8].copy_from_slice(&logical.to_le_bytes());
        bytes[at + 12..at + 16].copy_from_slice(&entries.to_le_bytes());
        let mut signed = Vec::with_capacity(56);
        signed.extend_from_slice(&salt);
        signed.extend_from_slice(&number);
        signed.extend_from_slice(&(at as u32).to_le_bytes());
        signed.extend_from_slice(&bytes[at..at + 32]);
        bytes[at + 32..at + 39].copy_from_slice(&blake3::hash(&signed).as_bytes()[..7]);
        bytes[at + 39] = 0xA7;
        hasher.update(&logical.to_le_bytes()).update(&entries.to_le_bytes()).update(&bytes[at + 16..at + 24]);
        chain = *hasher.finalize().as_bytes();
        bytes[end..end + 32].copy_from_slice(&chain);
        bytes[end + 32] = 0xE5;
        at = end + BATCH_TRAILER;
    }
    Some(chain)
}

struct Head {
    payload: u32,
    kind: u8,
    dropped: bool,
    tenant: u32,
    sequence: u64,
}

/// An entry's head with its check made right, and its length.
fn mend_head(bytes: &mut [u8]) -> Option<(Head, usize)> {
    let mut at = 0;
    let number = |at: &mut usize| {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *bytes.get(*at)?;
            *at += 1;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    let payload = u32::try_from(number(&mut at)?).ok()?;
    let kind_at = at;
    at += 2;
    let (tenant, sequence) = (u32::try_from(number(&mut at)?).ok()?, number(&mut at)?);
    let (kind, dropped) = (*bytes.get(kind_at)?, bytes.get(kind_at + 1)? & 1 != 0);
    let mut check = 0xAC_u8;
    for byte in bytes.get(..at)? {
        check ^= byte;
        for _ in 0..8 {
            check = if check & 0x80 == 0 { check << 1 } else { check << 1 ^ 0x07 };
        }
    }
    *bytes.get_mut(at)? = check;
    Some((Head { payload, kind, dropped, tenant, sequence }, at + 1))
}

/// A journal that says something else than was written, with every checksum right: it is refused with words, or a server
/// serves what it says and ends in order.
pub fn journal(data: &[u8]) {
    let ground = ground();
    let home = ground.dir.path().join("data");
    let segments: Vec<_> = ground
        .files
        .iter()
        .filter(|(path, _)| path.parent().is_some_and(|folder| folder.ends_with("journal")))
        .collect();
    let Some((first, edits)) = data.split_first() else { return };
    let changed = usize::from(first >> 1) % segments.len();

    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("data");
    copied(&home, &copy);
    let mut chain = None;
    for (number, (path, was)) in segments.iter().enumerate() {
        // Behind what was written there are zeroes, in which there is nothing to change.
        let written = was.len() - was.iter().rev().take_while(|byte| **byte == 0).count();
        let mut content = if number == changed { edited(&was[..written], edits) } else { was[..written].to_vec() };
        content.resize(was.len().max(content.len()), 0);
        chain = mend(&mut content, chain).or(chain);
        fs::write(copy.join("journal").join(path.file_name().unwrap()), content).unwrap();
    }
    // What was checkpointed spares a start the journal in front of it.
    if first & 1 == 0 {
        fs::remove_dir_all(copy.join("checkpoint")).unwrap();
        fs::create_dir(copy.join("checkpoint")).unwrap();
    }
    drop(fs::remove_dir_all(copy.join("heads")));

    let mut read = Vec::new();
    let opened = Journal::open(options(&copy), None, |batch| {
        read.extend(batch.entries().filter_map(|entry| entry.bytes().map(<[u8]>::to_vec)));
        Ok(())
    });
    if let Ok(opened) = opened {
        assert!(edits.len() >= 5 || read == ground.payloads, "mended without a change it is what it was");
        // Which is stricter: it also looks behind what is read, as where a batch does not begin as one any more.
        let verified = opened.reader.verify().map(|report| report.damages.len());
        assert!(verified.is_ok_and(|damages| edits.len() >= 5 || damages == 0), "unchanged, and not verified");
    }
    assert!(!doctor::examine(&copy, None).is_empty());
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(async {
        match Server::start(House::config(&copy)).await {
            Ok(server) => {
                let ended = server.stop().await;
                assert!(matches!(ended, Ok(()) | Err(ServeError::Store)), "{ended:?}");
            }
            Err(refused) => {
                assert!(!matches!(refused, StartError::Interrupted), "a panic at the start");
                assert!(!format!("{refused} {refused:?}").contains("harbour-mail"), "a person in an error");
            }
        }
    });
}

/// Every file of a folder, elsewhere.
fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copied(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// Nothing changed; and a byte changed at every fortieth place of what is written.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let places = (0..64_u32).map(|step| {
        let [low, high, top, _] = (SEGMENT_HEADER as u32 + 40 * step).to_le_bytes();
        vec![step as u8, 2, low, high, top, 1 << (step % 8)]
    });
    [vec![0], vec![1]].into_iter().chain(places).collect()
}
