//! `onefold backup`.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use clap::Args;
use onefold_proto::v1 as pb;
use onefold_server::restore::{Copying, DataDirError, FORMAT, FileEntry, MANIFEST, Manifest, RestoreError};

use super::{Failure, card, online, say};
use crate::client::{Client, Target};

/// Copies everything to a directory while the server serves, as of one moment. Into a directory that holds an earlier
/// backup only what is new is sent.
///
/// A backup holds the keys of its day: keep it as you keep the data, and no longer than you must. Whoever is erased later is
/// in it until it is deleted; `onefold restore` erases them again before anything is served.
#[derive(Args)]
pub struct Arguments {
    /// Where to.
    #[arg(value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    online(backup(arguments))
}

fn at<'a>(path: &'a Path) -> impl Fn(std::io::Error) -> Failure + 'a {
    move |error| Failure::new(format!("{}: {error}", path.display()))
}

async fn backup(arguments: &Arguments) -> Result<(), Failure> {
    let out = &arguments.out;
    let have = match Manifest::read(out) {
        Ok(before) => {
            before.verify(out).map_err(|error| Failure::new(error.to_string()))?;
            before.files
        }
        Err(RestoreError::Unfinished(_)) => Vec::new(),
        Err(_) if !out.join(MANIFEST).exists() => Vec::new(),
        Err(error) => return Err(Failure::new(format!("{error}\nhint: take the backup to an empty directory"))),
    };
    let client = Client::connect(&arguments.target).await?;
    let wire =
        |file: &FileEntry| pb::BackupFile { path: file.path.clone(), bytes: file.bytes, digest: file.digest.clone() };
    // Until the end that file says that the backup is not finished.
    let have = have.iter().filter(|file| file.path != FORMAT).map(wire).collect();
    let request = pb::StreamBackupRequest { have };
    let mut stream = client.ask(|| async { client.backups().stream_backup(request.clone()).await }).await?;
    let (mut head, mut sent, mut format) = (None, None, Vec::new());
    let named = |error: DataDirError| Failure::new(error.to_string());
    let copying = Copying::begin(out).map_err(named)?;
    while let Some(message) = stream.message().await.map_err(|status| client.failed(&status))? {
        match message.part {
            Some(pb::stream_backup_response::Part::Head(told)) => {
                for file in told.files.iter().filter(|file| file.path != FORMAT) {
                    make_room(out, file)?;
                }
                head = Some(told);
            }
            Some(pb::stream_backup_response::Part::Chunk(chunk)) if chunk.path == FORMAT => format = chunk.content,
            Some(pb::stream_backup_response::Part::Chunk(chunk)) => write(&inside(out, &chunk.path)?, &chunk)?,
            Some(pb::stream_backup_response::Part::End(end)) => sent = Some(end.bytes),
            None => {}
        }
    }
    let (Some(head), Some(sent)) = (head, sent) else {
        return Err(Failure::new("the backup was cut off: it is unfinished, so it cannot be restored; take it again"));
    };
    let files: Vec<FileEntry> = head
        .files
        .into_iter()
        .map(|file| FileEntry { path: file.path, bytes: file.bytes, digest: file.digest })
        .collect();
    let manifest = Manifest {
        backup_version: 1,
        software: head.software,
        taken_time: card::time(head.taken_time.as_ref()),
        segment: head.segment,
        offset: head.offset,
        chain: head.chain,
        files,
        digest: String::new(),
    }
    .sealed();
    manifest.verify_unfinished(out, &format).map_err(|error| Failure::new(error.to_string()))?;
    copying.keep_only(&manifest.files.iter().map(|file| PathBuf::from(&file.path)).collect()).map_err(named)?;
    for file in &manifest.files {
        let path = out.join(&file.path);
        fs::File::open(&path).and_then(|file| file.sync_all()).map_err(at(&path))?;
    }
    let draft = out.join("manifest.unfinished");
    fs::write(&draft, manifest.text() + "\n").map_err(at(&draft))?;
    fs::File::open(&draft).and_then(|file| file.sync_all()).map_err(at(&draft))?;
    fs::rename(&draft, out.join(MANIFEST)).map_err(at(out))?;
    fs::File::open(out).and_then(|folder| folder.sync_all()).map_err(at(out))?;
    copying.end(&format).map_err(named)?;
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    say(&format!(
        "backup of {} files, {bytes} bytes ({sent} sent now), as of {}, checked\n",
        manifest.files.len(),
        manifest.taken_time
    ))
}

/// The path of a file in the backup; the server cannot name one outside.
fn inside(out: &Path, path: &str) -> Result<PathBuf, Failure> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !path.is_empty() { Ok(out.join(path)) } else { Err(Failure::new("the server names a file outside")) }
}

/// Gives a file its length, so that what is left of an earlier backup is not longer.
fn make_room(out: &Path, file: &pb::BackupFile) -> Result<(), Failure> {
    let path = inside(out, &file.path)?;
    if let Some(above) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(at(above))?;
    }
    let opened =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(at(&path))?;
    opened.set_len(file.bytes).map_err(at(&path))
}

fn write(path: &Path, chunk: &pb::BackupChunk) -> Result<(), Failure> {
    let mut file = OpenOptions::new().write(true).open(path).map_err(at(path))?;
    file.seek(SeekFrom::Start(chunk.offset)).and_then(|_| file.write_all(&chunk.content)).map_err(at(path))
}
