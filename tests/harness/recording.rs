//! What a process did to its files, as `shim/record.c` saw it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// One effect on the files below the base directory. Paths are relative to it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A process began: descriptors mean nothing any more.
    Start,
    /// A file or directory was opened, perhaps made.
    Open {
        /// Under which descriptor.
        fd: i32,
        /// Where.
        path: String,
        /// Whether it was to be made when it was not there.
        create: bool,
        /// Whether it was to be emptied.
        truncate: bool,
    },
    /// A descriptor was copied.
    Copy {
        /// From.
        fd: i32,
        /// To.
        copy: i32,
    },
    /// Bytes were written.
    Write {
        /// Where to.
        fd: i32,
        /// At which offset.
        at: u64,
        /// Which.
        bytes: Arc<[u8]>,
    },
    /// `fsync`.
    Sync {
        /// Of which file or directory.
        fd: i32,
    },
    /// `fdatasync`.
    DataSync {
        /// Of which file.
        fd: i32,
    },
    /// `sync_file_range`, which makes nothing durable.
    RangeSync {
        /// Of which file.
        fd: i32,
    },
    /// The size was set.
    Truncate {
        /// Of which file.
        fd: i32,
        /// To how many bytes.
        size: u64,
    },
    /// Space was reserved, and the size grown to its end.
    Allocate {
        /// In which file.
        fd: i32,
        /// Up to which offset.
        end: u64,
    },
    /// A name was changed.
    Rename {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// A name was removed.
    Remove {
        /// Which.
        path: String,
    },
    /// A directory was made.
    MakeDir {
        /// Which.
        path: String,
    },
}

/// A recording, in the order of the effects.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Each effect and the length of the log behind it.
    pub effects: Vec<(Effect, u64)>,
}

impl Recording {
    /// Reads a log. A record that was cut off is left out.
    ///
    /// # Errors
    /// When it cannot be read, or is no log.
    pub fn read(log: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(log)?;
        let (mut at, mut base, mut effects) = (0, String::new(), Vec::new());
        while let Some(head) = bytes.get(at..at + 29) {
            let number = |from: usize, length: usize| {
                let mut wide = [0; 8];
                wide[..length].copy_from_slice(&head[from..from + length]);
                u64::from_le_bytes(wide)
            };
            let (fd, a, b) = (number(1, 4) as u32 as i32, number(5, 8), number(13, 8));
            let (first, second) = (number(21, 4) as usize, number(25, 4) as usize);
            let Some(body) = bytes.get(at + 29..at + 29 + first + second) else { break };
            let text = |part: &[u8]| {
                let whole = String::from_utf8_lossy(part).into_owned();
                whole.strip_prefix(&base).unwrap_or(&whole).trim_start_matches('/').to_owned()
            };
            let effect = match head[0] {
                0 => {
                    base = String::from_utf8_lossy(body).into_owned();
                    Effect::Start
                }
                1 => {
                    let (create, truncate) = (a & 0o100 != 0, a & 0o1000 != 0);
                    Effect::Open { fd, path: text(body), create, truncate }
                }
                2 => Effect::Copy { fd, copy: a as i32 },
                3 => Effect::Write { fd, at: a, bytes: body.into() },
                4 => Effect::Sync { fd },
                5 => Effect::DataSync { fd },
                6 => Effect::RangeSync { fd },
                7 => Effect::Truncate { fd, size: a },
                // Only the plain reservation is known, which grows the file.
                8 if b >> 56 == 0 => Effect::Allocate { fd, end: a + b },
                9 => Effect::Rename { from: text(&body[..first]), to: text(&body[first..]) },
                10 | 11 => Effect::Remove { path: text(body) },
                12 => Effect::MakeDir { path: text(body) },
                other => return Err(io::Error::other(format!("a record of unknown kind {other} at {at}"))),
            };
            at += 29 + first + second;
            effects.push((effect, at as u64));
        }
        Ok(Self { effects })
    }
}

/// Compiles the shim that records into `dir`; see [`compile`].
#[must_use]
pub fn compile_shim(dir: &Path) -> Option<PathBuf> {
    compile("record", dir)
}

/// Compiles the shim of this name into `dir`; `None`, saying so, where there is no C compiler.
///
/// # Panics
/// When there is a compiler and it refuses.
#[must_use]
pub fn compile(name: &str, dir: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("shim/{name}.c"));
    let shim = dir.join(format!("{name}.so"));
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).arg("-ldl").output();
    match compiled {
        Err(error) => {
            println!("skipped: no C compiler `cc` ({error})");
            None
        }
        Ok(output) => {
            assert!(output.status.success(), "the shim compiles: {}", String::from_utf8_lossy(&output.stderr));
            Some(shim)
        }
    }
}
