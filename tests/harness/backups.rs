//! Backups, taken and restored as the commands do it.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a backup that cannot be taken fails the test")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use onefold_proto::v1 as pb;
use onefold_server::restore::{
    Copying, FORMAT, FileEntry, Ledgers, MANIFEST, Manifest, RestoreError, Restored, restore,
};
use onefold_store::erasures::ErasureLedger;
use onefold_store::revocations::RevocationLedger;
use onefold_store::stops::StopLedger;

use crate::Clients;

/// Takes a backup as the command does; answers with the bytes that were sent.
pub async fn back_up(clients: &mut Clients, out: &Path) -> u64 {
    let before = Manifest::read(out).map(|manifest| manifest.files).unwrap_or_default();
    let before = before.into_iter().filter(|file| file.path != FORMAT);
    let have = before.map(|file| pb::BackupFile { path: file.path, bytes: file.bytes, digest: file.digest });
    let request = pb::StreamBackupRequest { have: have.collect() };
    let mut stream = clients.backups.stream_backup(request).await.unwrap().into_inner();
    let (mut head, mut end, mut format) = (pb::BackupHead::default(), None, Vec::new());
    let copying = Copying::begin(out).unwrap();
    while let Some(message) = stream.message().await.unwrap() {
        match message.part.unwrap() {
            pb::stream_backup_response::Part::Head(told) => {
                for file in told.files.iter().filter(|file| file.path != FORMAT) {
                    let path = out.join(&file.path);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    let file_now = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
                    file_now.set_len(file.bytes).unwrap();
                }
                head = told;
            }
            pb::stream_backup_response::Part::Chunk(chunk) if chunk.path == FORMAT => format = chunk.content,
            pb::stream_backup_response::Part::Chunk(chunk) => {
                let file = fs::OpenOptions::new().write(true).open(out.join(&chunk.path)).unwrap();
                file.write_all_at(&chunk.content, chunk.offset).unwrap();
            }
            pb::stream_backup_response::Part::End(told) => end = Some(told.bytes),
        }
    }
    let files = head.files.into_iter();
    let manifest = Manifest {
        backup_version: 1,
        software: head.software,
        taken_time: String::new(),
        segment: head.segment,
        offset: head.offset,
        chain: head.chain,
        files: files.map(|file| FileEntry { path: file.path, bytes: file.bytes, digest: file.digest }).collect(),
        digest: String::new(),
    };
    let manifest = manifest.sealed();
    manifest.verify_unfinished(out, &format).unwrap();
    copying.keep_only(&manifest.files.iter().map(|file| file.path.clone().into()).collect()).unwrap();
    fs::write(out.join(MANIFEST), manifest.text()).unwrap();
    copying.end(&format).unwrap();
    manifest.verify(out).unwrap();
    end.expect("a backup has an end")
}

/// Restores a backup of the installation at `data` to `to`, with the ledgers as they are there now.
///
/// # Errors
/// What is wrong with the backup or the ledgers.
pub fn restore_after(data: &Path, backup: &Path, to: &Path) -> Result<Restored, RestoreError> {
    let (erasures, stops, revocations) =
        (ErasureLedger::path(data), StopLedger::path(data), RevocationLedger::path(data));
    let ledgers =
        Ledgers { erasures: Some(&erasures), stops: Some(&stops), revocations: Some(&revocations), torn: false };
    restore(backup, to, ledgers, None)
}
