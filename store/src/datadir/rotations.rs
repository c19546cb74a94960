//! Rotations of keys that the log is to be told of: `onefold keys rotate` notes them, the start that follows reads them.
//!
//! ```text
//! file = line*
//! line = version · generation · microseconds · root key, 0 or 1 · checksum 16 hexadecimal digits (over all before)
//! ```
//! A line that cannot be read is passed over by name and kept, so that it is told until somebody has looked. Files of before
//! are a list in the encoding of the journal, without a checksum.

use std::fs;
use std::io;

use onefold_core::decision::{KeysRotated, decode, encode};
use onefold_core::fragment::ObservedAt;

use super::{DataDir, DataDirError, failed, remove_if_there};
use crate::disk;

/// The file's name in the folder `keys`.
const FILE: &str = "rotations";
/// The version of a line.
const VERSION: &str = "1";
const CHECKSUM_DIGITS: usize = 16;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotations {
    /// Those that ended, and that the log may not know.
    pub ended: Vec<KeysRotated>,
    /// Lines that cannot be read.
    pub bad: Vec<BadNote>,
}

/// A line that cannot be read: a rotation that the log is not told of by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadNote {
    /// Which line, from 1.
    pub line: usize,
    /// Why.
    pub why: &'static str,
    /// As it stands there.
    text: Vec<u8>,
}

fn checksum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..CHECKSUM_DIGITS].to_owned()
}

fn line_of(rotated: &KeysRotated) -> String {
    let (at, root_key) = (rotated.at.0, u8::from(rotated.root_key));
    let text = format!("{VERSION} {} {at} {root_key} ", rotated.generation);
    let sum = checksum(&text);
    text + &sum
}

fn read_line(line: &[u8]) -> Result<KeysRotated, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "is no text")?;
    let (content, sum) = text.split_at_checked(text.len().saturating_sub(CHECKSUM_DIGITS)).unwrap_or_default();
    if checksum(content) != sum {
        return Err("does not match its checksum");
    }
    let mut words = content.trim_end().split(' ');
    if words.next() != Some(VERSION) {
        return Err("is of a newer release");
    }
    let mut number = || words.next().and_then(|word| word.parse::<i64>().ok());
    let read = (number(), number(), number());
    let (Some(generation), Some(at), Some(root_key @ 0..=1)) = read else { return Err("is no note of a rotation") };
    let generation = u32::try_from(generation).map_err(|_| "is no note of a rotation")?;
    Ok(KeysRotated { generation, at: ObservedAt(at), root_key: root_key == 1 })
}

/// Reads the whole file, in either form.
fn read(bytes: &[u8]) -> Rotations {
    // Of before: nothing else encodes to these very bytes.
    if let Ok(ended) = decode::<Vec<KeysRotated>>(bytes)
        && encode(&ended) == bytes
    {
        return Rotations { ended, bad: Vec::new() };
    }
    let mut found = Rotations::default();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match read_line(line) {
            Ok(rotated) => found.ended.push(rotated),
            Err(why) => found.bad.push(BadNote { line: at + 1, why, text: line.to_owned() }),
        }
    }
    found
}

fn written(rotations: &Rotations) -> Vec<u8> {
    let mut bytes = Vec::new();
    for bad in &rotations.bad {
        bytes.extend_from_slice(&bad.text);
        bytes.push(b'\n');
    }
    for rotated in &rotations.ended {
        bytes.extend_from_slice(line_of(rotated).as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

impl DataDir {
    /// Notes a rotation that is about to end, for the start that follows to tell the log.
    ///
    /// # Errors
    /// [`DataDirError::NoSpace`], [`DataDirError::Io`].
    pub fn note_rotation(&self, rotated: KeysRotated) -> Result<(), DataDirError> {
        let path = self.keys().join(FILE);
        // Without one that was cut off behind its note.
        let mut noted = self.rotations_to_tell()?;
        noted.ended.push(rotated);
        disk::write_whole(&path, &written(&noted)).map_err(failed("write", &path))
    }

    /// The rotations that ended and that the log was not told of, and what of the notes cannot be read.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn rotations_to_tell(&self) -> Result<Rotations, DataDirError> {
        let mut noted = self.noted()?;
        // One that was cut off behind its note has not ended.
        noted.ended.retain(|rotated| rotated.generation <= self.ring().generation());
        Ok(noted)
    }

    /// The log knows of them, durably. What cannot be read stays.
    ///
    /// # Errors
    /// [`DataDirError::NoSpace`], [`DataDirError::Io`].
    pub fn rotations_told(&self) -> Result<(), DataDirError> {
        let path = self.keys().join(FILE);
        let left = Rotations { ended: Vec::new(), ..self.noted()? };
        match left.bad.as_slice() {
            [] => remove_if_there(&path),
            _ => disk::write_whole(&path, &written(&left)).map_err(failed("write", &path)),
        }
    }

    fn noted(&self) -> Result<Rotations, DataDirError> {
        let path = self.keys().join(FILE);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Rotations::default()),
            bytes => Ok(read(&bytes.map_err(failed("read", &path))?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::OpenOptions;
    use super::*;

    fn rotated(generation: u32) -> KeysRotated {
        KeysRotated {
            generation,
            at: ObservedAt(1_790_000_000_000_000 + i64::from(generation)),
            root_key: generation == 2,
        }
    }

    #[test]
    fn every_bent_bit_and_every_cut_costs_its_line_alone_and_is_told() {
        let whole = Rotations { ended: [1, 2, 3].map(rotated).into(), bad: Vec::new() };
        let bytes = written(&whole);
        assert_eq!(read(&bytes), whole);
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let found = read(&bent);
            // An end that is bent makes one line of two.
            let lines = if bytes[bit / 8] == b'\n' && bit / 8 != bytes.len() - 1 { 1 } else { 2 };
            assert!(!found.bad.is_empty() && found.ended.len() == lines, "bit {bit}: {found:?}");
            assert!(found.ended.iter().all(|rotated| whole.ended.contains(rotated)), "bit {bit}: {found:?}");
            assert_eq!(read(&written(&found)).bad.len(), found.bad.len(), "bit {bit}: what is bad stays");
        }
        let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
        for cut in 0..bytes.len() {
            let found = read(&bytes[..cut]);
            let between = cut == 0 || ends.iter().any(|end| cut == *end || cut == end + 1);
            assert_eq!(found.bad.is_empty(), between && cut > 0, "cut {cut}: {found:?}");
        }
        let mut newer = String::from("2 1 1790000000000000 0 7 ");
        newer.push_str(&checksum(&newer));
        assert_eq!(read(newer.as_bytes()).bad[0].why, "is of a newer release");
    }

    #[test]
    fn notes_of_before_are_read_and_damaged_ones_are_kept_until_somebody_looked() {
        let home = TempDir::new().unwrap();
        let mut dir = DataDir::open(home.path(), OpenOptions::default()).unwrap();
        let path = dir.keys().join(FILE);
        assert_eq!(dir.rotations_to_tell().unwrap(), Rotations::default());
        dir.begin_rotation().unwrap();
        fs::write(&path, encode(&vec![rotated(1)])).unwrap();
        assert_eq!(dir.rotations_to_tell().unwrap().ended, [], "it has not ended");
        dir.end_rotation(None).unwrap();
        assert_eq!(dir.rotations_to_tell().unwrap().ended, [rotated(1)], "in the form of before");
        dir.note_rotation(rotated(2)).unwrap();
        dir.begin_rotation().unwrap();
        dir.end_rotation(None).unwrap();
        let found = dir.rotations_to_tell().unwrap();
        assert_eq!((found.ended.as_slice(), found.bad.len()), ([rotated(1), rotated(2)].as_slice(), 0));
        let mut bytes = fs::read(&path).unwrap();
        bytes[2] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let found = dir.rotations_to_tell().unwrap();
        assert_eq!((found.ended.as_slice(), found.bad[0].line), ([rotated(2)].as_slice(), 1));
        dir.rotations_told().unwrap();
        let found = dir.rotations_to_tell().unwrap();
        assert_eq!((found.ended.len(), found.bad[0].line), (0, 1), "what cannot be read stays");
    }
}
