//! A copy of everything as of one moment, taken while the server serves.
//!
//! In the copy: the format file, keys (of checkpoints none), vaults, the journal up to one durable position, and the logs
//! of reads. The lane
//! names the position and takes the vaults, so that every key is as it was at that moment; the journal is only appended
//! to, so it is read while writes go on. Not in it: checkpoints and sled, which are derived, and the erasure ledger, which
//! must outlive every copy.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use onefold_store::journal::Position;
use onefold_store::keyring::BEFORE_NAME;
use tokio::sync::oneshot;

use super::lane::{Command, Lane};
use super::writer::{Commit, Reply};
use super::{App, error::WriteError};

/// Bytes that are read at a time.
pub const CHUNK_BYTES: usize = 1 << 20;

/// What the lane gives.
#[derive(Debug)]
pub struct Moment {
    /// Up to here the journal is in the copy.
    pub position: Position,
    /// The vaults' files as of then, by path in the data directory.
    pub vaults: Vec<(String, Vec<u8>)>,
}

/// One file of the copy.
#[derive(Debug)]
pub enum Source {
    /// Taken already.
    Bytes(Vec<u8>),
    /// The first so many bytes of a file.
    File(PathBuf, u64),
}

/// One file of the copy, with its digest.
#[derive(Debug)]
pub struct Part {
    /// Its path in the data directory.
    pub path: String,
    /// Where its content is.
    pub source: Source,
    /// Its length.
    pub bytes: u64,
    /// blake3 of its content.
    pub digest: blake3::Hash,
}

/// Names the moment. In the lane, so nothing is decided meanwhile and no key is destroyed.
pub(super) fn moment(lane: &Lane) -> Result<io::Result<Moment>, onefold_store::journal::JournalError> {
    let position = lane.drain()?;
    let vaults = || -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut taken = Vec::new();
        for tenant in lane.shared.tenants() {
            let file = lane.shared.dir.vault().join(tenant.id.0.to_string()).join("slots");
            taken.push((format!("vault/{}/slots", tenant.id.0), fs::read(file)?));
        }
        taken.sort();
        Ok(taken)
    };
    Ok(vaults().map(|vaults| Moment { position, vaults }))
}

/// Answers a command for one.
pub(super) fn answer(
    lane: &Lane,
    reply: oneshot::Sender<Result<Moment, WriteError>>,
) -> Result<(), onefold_store::journal::JournalError> {
    let moment = moment(lane)?;
    if let Err(error) = &moment {
        tracing::error!(error = %error, "a vault cannot be read for a backup");
    }
    let mut commit = Commit::default();
    commit.replies.push(Reply::Then(Box::new(move |written| {
        drop(reply.send(written.and(moment.map_err(|_| WriteError::StoreFailed))));
    })));
    lane.hand_on(commit)
}

impl App {
    /// Names the moment of a copy.
    ///
    /// # Errors
    /// [`WriteError`] when the lane is busy or gone.
    pub async fn moment(&self) -> Result<Moment, WriteError> {
        self.ask(Command::Moment).await
    }

    /// The files of a copy. Reads all of them once. Not for asynchronous threads.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn parts(&self, moment: Moment) -> io::Result<Vec<Part>> {
        let dir = self.shared.dir.path();
        let mut sources: Vec<(String, Source)> = Vec::new();
        let mut whole = |path: String| -> io::Result<()> {
            sources.push((path.clone(), Source::Bytes(fs::read(dir.join(path))?)));
            Ok(())
        };
        whole("FORMAT".to_owned())?;
        let stays = |name: &&String| name.starts_with("checkpoint-") || *name == BEFORE_NAME;
        for name in names_in(&dir.join("keys"))?.iter().filter(|name| !stays(name)) {
            whole(format!("keys/{name}"))?;
        }
        sources.extend(moment.vaults.into_iter().map(|(path, bytes)| (path, Source::Bytes(bytes))));
        for name in names_in(&dir.join("journal"))? {
            let Some(number) = name.split('.').next().and_then(|digits| digits.parse::<u32>().ok()) else { continue };
            let file = dir.join("journal").join(&name);
            let length = match number.cmp(&moment.position.segment) {
                std::cmp::Ordering::Less => fs::metadata(&file)?.len(),
                std::cmp::Ordering::Equal => u64::from(moment.position.offset),
                std::cmp::Ordering::Greater => continue,
            };
            sources.push((format!("journal/{name}"), Source::File(file, length)));
        }
        // Behind the journal's moment, so that every end of theirs that the journal names is in the copy.
        for tenant in self.tenants() {
            let Some(log) = self.shared.reads.of(tenant.id) else { continue };
            let (end, logs) = (log.durable(), self.shared.reads.dir_of(tenant.id));
            for name in names_in(&logs)? {
                let Some(number) = name.split('.').next().and_then(|digits| digits.parse::<u32>().ok()) else {
                    continue;
                };
                let file = logs.join(&name);
                let length = match number.cmp(&end.segment) {
                    std::cmp::Ordering::Less => fs::metadata(&file)?.len(),
                    std::cmp::Ordering::Equal => u64::from(end.offset),
                    std::cmp::Ordering::Greater => continue,
                };
                sources.push((format!("reads/{}/{name}", tenant.id.0), Source::File(file, length)));
            }
        }
        sources
            .into_iter()
            .map(|(path, source)| {
                let (bytes, digest) = match &source {
                    Source::Bytes(bytes) => (bytes.len() as u64, blake3::hash(bytes)),
                    Source::File(file, length) => (*length, digest_of(file, *length)?),
                };
                Ok(Part { path, source, bytes, digest })
            })
            .collect()
    }
}

impl Part {
    /// Bytes from an offset on, at most [`CHUNK_BYTES`]; empty at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, offset: u64) -> io::Result<Vec<u8>> {
        let length = self.bytes.saturating_sub(offset).min(CHUNK_BYTES as u64) as usize;
        match &self.source {
            Source::Bytes(bytes) => Ok(bytes[offset.min(self.bytes) as usize..][..length].to_vec()),
            Source::File(file, _) => {
                let mut chunk = vec![0; length];
                File::open(file)?.read_exact_at(&mut chunk, offset)?;
                Ok(chunk)
            }
        }
    }

    /// From where on the caller lacks it, if it has so many bytes with this digest.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn lacks_from(&self, bytes: u64, digest: &str) -> io::Result<u64> {
        if bytes > self.bytes {
            return Ok(0);
        }
        let have = match &self.source {
            Source::Bytes(all) => blake3::hash(&all[..bytes as usize]),
            Source::File(..) if bytes == self.bytes => self.digest,
            Source::File(file, _) => digest_of(file, bytes)?,
        };
        Ok(if have.to_hex().as_str() == digest { bytes } else { 0 })
    }
}

fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// blake3 of the first so many bytes of a file.
///
/// # Errors
/// When it cannot be read, or is shorter.
pub fn digest_of(file: &Path, length: u64) -> io::Result<blake3::Hash> {
    let mut reader = File::open(file)?.take(length);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut seen = 0;
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        seen += read as u64;
    }
    if seen == length { Ok(hasher.finalize()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
