//! Backups that are not what they were, whoever made them so: also with digests that are right.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use onefold_server::restore::{Ledgers, MANIFEST, Manifest, Restored, restore};
use tokio::runtime::Runtime;

use super::{choice, edited};
use crate::backups::back_up;
use crate::traffic::open_sources;
use crate::{House, person};

struct Backup {
    dir: tempfile::TempDir,
    manifest: Manifest,
    /// Its files, with what is in them.
    files: Vec<(PathBuf, Vec<u8>)>,
    restored: Restored,
}

impl Backup {
    fn at(&self) -> PathBuf {
        self.dir.path().join("backup")
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn put_back(&self) {
        drop(fs::remove_dir_all(self.out()));
        fs::write(self.at().join(MANIFEST), self.manifest.text()).unwrap();
        for (path, content) in &self.files {
            fs::write(path, content).unwrap();
        }
    }
}

fn backup() -> &'static Backup {
    static BACKUP: OnceLock<Backup> = OnceLock::new();
    BACKUP.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("backup");
        let data = tempfile::tempdir().unwrap();
        Runtime::new().unwrap().block_on(async {
            let mut house = House::open(&data.path().join("data")).await;
            open_sources(&mut house, "").await;
            for who in 0..4 {
                let mail = format!("b{who}@harbour-mail.net");
                house.put(person("crm", &who.to_string(), 1_700_000_000, &[("email", &mail)], &[])).await;
            }
            fs::create_dir(&at).unwrap();
            back_up(&mut house, &at).await;
            house.close().await;
        });
        let manifest = Manifest::read(&at).unwrap();
        let files = manifest.files.iter().map(|file| at.join(&file.path));
        let files = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        let restored = restore(&at, &dir.path().join("out"), Ledgers::default(), None).unwrap();
        let backup = Backup { dir, manifest, files, restored };
        backup.put_back();
        backup
    })
}

fn folder(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| name != "out").collect()
}

/// A backup is refused, or what is restored is what was backed up; and nothing lands beside where it should.
pub fn backups(data: &[u8]) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let backup = backup();
    let at = backup.at();
    let Some((first, rest)) = data.split_first() else { return };
    match first % 4 {
        // Any text in the place of the manifest, and the manifest with changes in it.
        0 => fs::write(at.join(MANIFEST), rest).unwrap(),
        1 => fs::write(at.join(MANIFEST), edited(backup.manifest.text().as_bytes(), rest)).unwrap(),
        // A manifest that says something else, with its digest right.
        2 => {
            let mut manifest = backup.manifest.clone();
            let (which, text) = choice(rest);
            let count = manifest.files.len();
            let file = &mut manifest.files[usize::from(which) / 8 % count];
            match which % 8 {
                0 => text.clone_into(&mut file.path),
                1 => file.path = format!("../{text}"),
                2 => file.path = format!("{}/{text}", file.path),
                3 => file.bytes = text.len() as u64,
                4 => text.clone_into(&mut file.digest),
                5 => text.clone_into(&mut manifest.chain),
                6 => manifest.files.truncate(usize::from(which) / 8),
                _ => manifest.offset = text.len() as u32,
            }
            fs::write(at.join(MANIFEST), manifest.sealed().text()).unwrap();
        }
        // A file with changes in it, its digest and the manifest's right.
        _ => {
            let (which, edits) = rest.split_first().unwrap_or((&0, &[]));
            let mut manifest = backup.manifest.clone();
            let which = usize::from(*which) % manifest.files.len();
            let content = edited(&backup.files[which].1, edits);
            manifest.files[which].bytes = content.len() as u64;
            manifest.files[which].digest = blake3::hash(&content).to_hex().to_string();
            fs::write(&backup.files[which].0, content).unwrap();
            fs::write(at.join(MANIFEST), manifest.sealed().text()).unwrap();
        }
    }
    if let Ok(manifest) = Manifest::read(&at) {
        assert_eq!(manifest.clone().sealed(), manifest, "a manifest without its digest is taken");
        let _ = manifest.verify(&at);
    }
    match restore(&at, &backup.out(), Ledgers::default(), None) {
        Ok(restored) => {
            assert_eq!(restored.entries, backup.restored.entries, "restored, and not whole");
            assert_eq!(restored.known, backup.restored.known);
        }
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            assert!(!backup.out().exists(), "a half restored directory: {refused}");
        }
    }
    assert_eq!(folder(backup.dir.path()), ["backup"], "something was written beside");
    backup.put_back();
}

/// The manifest itself, and changes of every kind.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![[&[0], backup().manifest.text().as_bytes()].concat()];
    seeds.extend((0..64).map(|step: u8| vec![1, 2, step, step % 3, 0, 1]));
    for text in ["journal/x", "/etc/passwd", "..", "a/../../b", "keys/root.key", "", "00"] {
        seeds.extend((0..8).map(|what: u8| [&[2, 17 * what], text.as_bytes()].concat()));
    }
    seeds.extend((0..64).map(|step: u8| vec![3, step, 2, step, 0, 0, 1]));
    seeds
}
