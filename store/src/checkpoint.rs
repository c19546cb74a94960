//! Encrypted snapshots of what memory holds, so that start-up does not replay everything.
//!
//! One file per checkpoint, made of sections, each in chunks of 1 MiB under XChaCha20-Poly1305. Every checkpoint has a
//! key of its own, wrapped under the root key in `keys/`; it is destroyed when the checkpoint is replaced, so that what
//! was erased since cannot be read from an old one. A checkpoint is never ground: one that does not read is reported and
//! passed over.
//!
//! ```text
//! file    = magic 8 · version u16 · 0 u16 · 0 u32 · salt 16 · chunk* · footer · footer length u32 · magic 8
//! chunk   = up to 1 MiB of content, encrypted · tag 16         a section begins with a new chunk
//! footer  = position, sections (name, offset in the file, bytes), encrypted · tag 16
//! nonce   = salt 16 · number of the chunk u64 (the footer: all ones)
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::journal::Position;
use crate::keys::{DataKey, KEY_BYTES, RootKey, unwrap, wrap};

const MAGIC: &[u8; 8] = b"1FCHKPT\0";
const END_MAGIC: &[u8; 8] = b"1FCHKEND";
const VERSION: u16 = 1;
const HEADER: usize = 32;
const TAIL: usize = 12;
const TAG: usize = 16;
const CHUNK: usize = 1 << 20;
const FOOTER_CHUNK: u64 = u64::MAX;
const EXTENSION: &str = "ckpt";
/// A section table larger than this is no section table.
const FOOTER_MAX: u32 = 64 << 20;

/// A checkpoint operation failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk, or the quota, is full. The checkpoint before is still there.
    #[error("no space left for a checkpoint")]
    NoSpace,
    /// A read or write failed.
    #[error("cannot {doing} a checkpoint")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The checkpoint's bytes are not what was written.
    #[error("the checkpoint is damaged: {0}")]
    Damaged(&'static str),
    /// The checkpoint's key is gone, or wrapped under another root key.
    #[error("the checkpoint's key is missing, damaged or wrapped under another root key")]
    NoKey,
    /// Written by a newer release.
    #[error("the checkpoint is of format {0}, this release reads up to {VERSION}")]
    Newer(u16),
    /// There is no section of this name.
    #[error("the checkpoint has no section {0}")]
    NoSection(String),
    /// A section was begun twice, or bytes were written outside of one: a fault of the program.
    #[error("sections were written out of turn")]
    OutOfTurn,
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> CheckpointError {
    move |source| {
        if disk::is_no_space(&source) { CheckpointError::NoSpace } else { CheckpointError::Io { doing, source } }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Section {
    name: String,
    /// Offset of its first chunk in the file.
    offset: u64,
    bytes: u64,
    /// Number of its first chunk.
    chunk: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Footer {
    position: Position,
    sections: Vec<Section>,
}

/// The checkpoints of one data directory.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    keys: PathBuf,
    root: RootKey,
}

/// What looking for the newest checkpoint found.
#[derive(Debug)]
pub struct Latest {
    /// The newest one that reads; `None` when there is none.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that do not, by number, and why.
    pub passed_over: Vec<(u64, CheckpointError)>,
}

impl Checkpoints {
    /// Checkpoints in `dir`, their keys in `keys`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, keys: impl Into<PathBuf>, root: RootKey) -> Self {
        Self { dir: dir.into(), keys: keys.into(), root }
    }

    /// Begins a checkpoint that covers the journal up to `position`, which must be durable there. It counts only once
    /// it is finished; until then the one before stands.
    ///
    /// # Errors
    /// [`CheckpointError::NoSpace`], [`CheckpointError::Io`].
    pub fn begin(&self, position: Position) -> Result<CheckpointWriter, CheckpointError> {
        let io = failed("begin");
        fs::create_dir_all(&self.dir).map_err(&io)?;
        fs::create_dir_all(&self.keys).map_err(&io)?;
        self.remove_left_overs()?;
        let number = self.numbers()?.last().map_or(1, |last| last + 1);
        self.sweep()?;
        let key = DataKey::generate().map_err(&io)?;
        let wrapped = wrap(&self.root.derive("checkpoint keys"), &number.to_le_bytes(), key.expose()).map_err(&io)?;
        disk::write_whole(&self.key_path(number), &wrapped).map_err(&io)?;
        let draft = disk::unfinished(&self.path(number));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(&io)?;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..10].copy_from_slice(&VERSION.to_le_bytes());
        disk::random(&mut header[16..]).map_err(&io)?;
        file.write_all(&header).map_err(&io)?;
        Ok(CheckpointWriter {
            home: self.clone(),
            number,
            cipher: Cipher::new(&key, &header),
            file,
            draft: Some(draft),
            footer: Footer { position, sections: Vec::new() },
            buffer: Vec::with_capacity(CHUNK + TAG),
            written: HEADER as u64,
            chunks: 0,
        })
    }

    /// The newest checkpoint that reads. Chunks are checked when their section is read, the section table at once.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] when the directory cannot be listed.
    pub fn latest(&self) -> Result<Latest, CheckpointError> {
        let mut passed_over = Vec::new();
        for number in self.numbers()?.into_iter().rev() {
            match self.open(number) {
                Ok(checkpoint) => return Ok(Latest { checkpoint: Some(checkpoint), passed_over }),
                Err(error) => passed_over.push((number, error)),
            }
        }
        Ok(Latest { checkpoint: None, passed_over })
    }

    /// When the newest checkpoint was written, in seconds since 1970; `None` without one.
    #[must_use]
    pub fn newest_written(&self) -> Option<u64> {
        let newest = self.numbers().ok()?.into_iter().max()?;
        let written = std::fs::metadata(self.path(newest)).and_then(|file| file.modified()).ok()?;
        written.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
    }

    /// Destroys the key of every checkpoint: from then on none of them can be read, whatever becomes of the files. These
    /// take the longer to remove the larger they are, so they are left to [`Checkpoints::sweep`].
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn destroy_all(&self) -> Result<(), CheckpointError> {
        self.shred_keys_below(u64::MAX)
    }

    /// Removes files of checkpoints whose key is gone. The next checkpoint does so too.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn sweep(&self) -> Result<(), CheckpointError> {
        for number in self.numbers()? {
            if !self.key_path(number).exists() {
                self.remove_file_of(number)?;
            }
        }
        disk::sync_dir(&self.dir).map_err(failed("remove"))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:010}.{EXTENSION}"))
    }

    fn key_path(&self, number: u64) -> PathBuf {
        self.keys.join(format!("checkpoint-{number}.key"))
    }

    fn numbers(&self) -> Result<Vec<u64>, CheckpointError> {
        list(&self.dir, |name| name.strip_suffix(EXTENSION)?.strip_suffix('.')?.parse().ok())
    }

    fn key_numbers(&self) -> Result<Vec<u64>, CheckpointError> {
        list(&self.keys, |name| name.strip_prefix("checkpoint-")?.strip_suffix(".key")?.parse().ok())
    }

    /// Keys first: from then on the content is unreadable, whatever becomes of the file.
    fn remove_below(&self, number: u64) -> Result<(), CheckpointError> {
        self.shred_keys_below(number)?;
        for old in self.numbers()?.into_iter().filter(|old| *old < number) {
            self.remove_file_of(old)?;
        }
        disk::sync_dir(&self.dir).map_err(failed("remove"))
    }

    fn shred_keys_below(&self, number: u64) -> Result<(), CheckpointError> {
        for old in self.key_numbers()?.into_iter().filter(|old| *old < number) {
            disk::shred(&self.key_path(old)).map_err(failed("remove the key of"))?;
        }
        Ok(())
    }

    /// Two may come to it at the same time.
    fn remove_file_of(&self, number: u64) -> Result<(), CheckpointError> {
        match fs::remove_file(self.path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove")(error)),
            _ => Ok(()),
        }
    }

    /// Drafts of an interrupted checkpoint, and keys without a checkpoint.
    fn remove_left_overs(&self) -> Result<(), CheckpointError> {
        disk::remove_unfinished(&self.dir).map_err(failed("tidy up after"))?;
        let whole = self.numbers()?;
        for number in self.key_numbers()? {
            if !whole.contains(&number) {
                disk::shred(&self.key_path(number)).map_err(failed("tidy up after"))?;
            }
        }
        Ok(())
    }

    fn open(&self, number: u64) -> Result<Checkpoint, CheckpointError> {
        let file = File::open(self.path(number)).map_err(failed("open"))?;
        let length = file.metadata().map_err(failed("open"))?.len();
        if length < (HEADER + TAG + TAIL) as u64 {
            return Err(CheckpointError::Damaged("it is cut short"));
        }
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).map_err(failed("read"))?;
        if &header[..8] != MAGIC {
            return Err(CheckpointError::Damaged("it does not begin as one"));
        }
        match u16::from_le_bytes([header[8], header[9]]) {
            VERSION => {}
            version => return Err(CheckpointError::Newer(version)),
        }
        let wrapped = fs::read(self.key_path(number)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CheckpointError::NoKey,
            _ => failed("read the key of")(error),
        })?;
        let key: [u8; KEY_BYTES] = unwrap(&self.root.derive("checkpoint keys"), &number.to_le_bytes(), &wrapped)
            .map_err(|_| CheckpointError::NoKey)?
            .try_into()
            .map_err(|_| CheckpointError::NoKey)?;
        let cipher = Cipher::new(&DataKey::new(key), &header);

        let mut tail = [0; TAIL];
        file.read_exact_at(&mut tail, length - TAIL as u64).map_err(failed("read"))?;
        let footer_len = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
        let footer_at = (length - TAIL as u64).checked_sub(u64::from(footer_len)).filter(|at| *at >= HEADER as u64);
        let Some(footer_at) = footer_at.filter(|_| &tail[4..] == END_MAGIC && footer_len <= FOOTER_MAX) else {
            return Err(CheckpointError::Damaged("it does not end as one"));
        };
        let mut footer = vec![0; footer_len as usize];
        file.read_exact_at(&mut footer, footer_at).map_err(failed("read"))?;
        cipher.open(FOOTER_CHUNK, &mut footer)?;
        let footer: Footer =
            postcard::from_bytes(&footer).map_err(|_| CheckpointError::Damaged("its table cannot be read"))?;
        Ok(Checkpoint { number, file, length, cipher, footer })
    }
}

fn list(dir: &Path, parse: impl Fn(&str) -> Option<u64>) -> Result<Vec<u64>, CheckpointError> {
    let io = failed("look for");
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(&io)?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        if let Some(number) = entry.map_err(&io)?.file_name().to_str().and_then(&parse) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The checkpoint's cipher, its salt, and the header that every chunk vouches for.
struct Cipher {
    aead: XChaCha20Poly1305,
    header: [u8; HEADER],
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(..)")
    }
}

impl Cipher {
    fn new(key: &DataKey, header: &[u8; HEADER]) -> Self {
        Self { aead: XChaCha20Poly1305::new(&(*key.expose()).into()), header: *header }
    }

    fn nonce(&self, chunk: u64) -> XNonce {
        let mut nonce = [0; 24];
        nonce[..16].copy_from_slice(&self.header[16..]);
        nonce[16..].copy_from_slice(&chunk.to_le_bytes());
        nonce.into()
    }

    /// Encrypts in place and appends the tag.
    fn seal(&self, chunk: u64, content: &mut Vec<u8>) -> Result<(), CheckpointError> {
        let tag = self
            .aead
            .encrypt_inout_detached(&self.nonce(chunk), &self.header, content.as_mut_slice().into())
            .map_err(|_| CheckpointError::OutOfTurn)?;
        content.extend_from_slice(&tag);
        Ok(())
    }

    /// Decrypts in place and takes the tag off.
    fn open(&self, chunk: u64, content: &mut Vec<u8>) -> Result<(), CheckpointError> {
        let at = content.len().checked_sub(TAG).ok_or(CheckpointError::Damaged("a chunk is cut short"))?;
        let mut tag = [0; TAG];
        tag.copy_from_slice(&content[at..]);
        content.truncate(at);
        self.open_detached(chunk, content, tag)
    }

    fn open_detached(&self, chunk: u64, content: &mut [u8], tag: [u8; TAG]) -> Result<(), CheckpointError> {
        self.aead
            .decrypt_inout_detached(&self.nonce(chunk), &self.header, content.into(), &Tag::from(tag))
            .map_err(|_| CheckpointError::Damaged("a chunk does not match its tag"))
    }
}

/// Streams sections into a checkpoint. Dropped unfinished, it leaves nothing but a left-over that the next one removes.
#[derive(Debug)]
pub struct CheckpointWriter {
    home: Checkpoints,
    number: u64,
    cipher: Cipher,
    file: File,
    draft: Option<PathBuf>,
    footer: Footer,
    buffer: Vec<u8>,
    written: u64,
    chunks: u64,
}

impl CheckpointWriter {
    /// Ends the section before and begins the next. Names are unique and no personal data.
    ///
    /// # Errors
    /// [`CheckpointError::OutOfTurn`] when there is a section of this name, [`CheckpointError::NoSpace`],
    /// [`CheckpointError::Io`].
    pub fn section(&mut self, name: impl Into<String>) -> Result<(), CheckpointError> {
        let name = name.into();
        if self.footer.sections.iter().any(|section| section.name == name) {
            return Err(CheckpointError::OutOfTurn);
        }
        self.flush()?;
        self.footer.sections.push(Section { name, offset: self.written, bytes: 0, chunk: self.chunks });
        Ok(())
    }

    /// Adds bytes to the current section.
    ///
    /// # Errors
    /// [`CheckpointError::OutOfTurn`] before the first section, [`CheckpointError::NoSpace`], [`CheckpointError::Io`].
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), CheckpointError> {
        let section = self.footer.sections.last_mut().ok_or(CheckpointError::OutOfTurn)?;
        section.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let step = bytes.len().min(CHUNK - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..step]);
            bytes = &bytes[step..];
            if self.buffer.len() == CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CheckpointError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.cipher.seal(self.chunks, &mut self.buffer)?;
        self.file.write_all(&self.buffer).map_err(failed("write"))?;
        self.written += self.buffer.len() as u64;
        self.chunks += 1;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the checkpoint durable, gives it its name, and removes the ones before together with their keys. Gives its
    /// number and its size in bytes.
    ///
    /// # Errors
    /// [`CheckpointError::NoSpace`], [`CheckpointError::Io`]; the checkpoint before then still stands.
    pub fn finish(mut self) -> Result<(u64, u64), CheckpointError> {
        let io = failed("finish");
        self.flush()?;
        let mut footer = postcard::to_allocvec(&self.footer).map_err(|_| CheckpointError::OutOfTurn)?;
        self.cipher.seal(FOOTER_CHUNK, &mut footer)?;
        let length = u32::try_from(footer.len()).ok().filter(|length| *length <= FOOTER_MAX);
        footer.extend_from_slice(&length.ok_or(CheckpointError::OutOfTurn)?.to_le_bytes());
        footer.extend_from_slice(END_MAGIC);
        self.file.write_all(&footer).map_err(&io)?;
        self.file.sync_all().map_err(&io)?;
        if let Some(draft) = self.draft.take() {
            disk::publish(&draft, &self.home.path(self.number)).map_err(&io)?;
        }
        self.home.remove_below(self.number)?;
        Ok((self.number, self.written + footer.len() as u64))
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            // Only tidiness: left-overs are also removed when the next checkpoint begins.
            let _ = fs::remove_file(draft);
            let _ = disk::shred(&self.home.key_path(self.number));
        }
    }
}

/// A checkpoint that can be read.
#[derive(Debug)]
pub struct Checkpoint {
    number: u64,
    file: File,
    length: u64,
    cipher: Cipher,
    footer: Footer,
}

impl Checkpoint {
    /// Its number; a newer one has a higher one.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Up to where it covers the journal.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.footer.position
    }

    /// The names of its sections, in the order in which they were written.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.footer.sections.iter().map(|section| section.name.as_str())
    }

    /// Reads a whole section, on as many threads as there are processors.
    ///
    /// # Errors
    /// [`CheckpointError::NoSection`], [`CheckpointError::Damaged`], [`CheckpointError::Io`].
    pub fn read(&self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        let section = self
            .footer
            .sections
            .iter()
            .find(|section| section.name == name)
            .ok_or_else(|| CheckpointError::NoSection(name.to_owned()))?;
        // The table is authentic, but memory is asked for only where the file is long enough to fill it.
        let bytes = usize::try_from(section.bytes).map_err(|_| CheckpointError::Damaged("a section is too long"))?;
        if section.offset.checked_add(section.bytes).is_none_or(|end| end > self.length) {
            return Err(CheckpointError::Damaged("it is cut short"));
        }
        let mut content = vec![0; bytes];
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get()).min(8);
        let share = content.len().div_ceil(CHUNK).div_ceil(threads).max(1);
        let read_part = |part: usize, slice: &mut [u8]| -> Result<(), CheckpointError> {
            for (place, chunk) in slice.chunks_mut(CHUNK).enumerate() {
                self.read_chunk(section, (part * share + place) as u64, chunk)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let read_part = &read_part;
            let parts: Vec<_> = content
                .chunks_mut(share * CHUNK)
                .enumerate()
                .map(|(part, slice)| scope.spawn(move || read_part(part, slice)))
                .collect();
            parts
                .into_iter()
                .try_for_each(|part| part.join().unwrap_or(Err(CheckpointError::Damaged("a reading thread stopped"))))
        })?;
        Ok(content)
    }

    fn read_chunk(&self, section: &Section, chunk: u64, into: &mut [u8]) -> Result<(), CheckpointError> {
        let at = section.offset + chunk * (CHUNK + TAG) as u64;
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => CheckpointError::Damaged("it is cut short"),
            _ => failed("read")(error),
        };
        let mut tag = [0; TAG];
        self.file.read_exact_at(into, at).map_err(cut)?;
        self.file.read_exact_at(&mut tag, at + into.len() as u64).map_err(cut)?;
        self.cipher.open_detached(section.chunk + chunk, into, tag)
    }
}

#[cfg(test)]
mod tests;
