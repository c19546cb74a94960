//! A disk that can lose its power: fed with a recording, it says what may be left at any moment.
//!
//! What was synced is there: `fsync` or `fdatasync` of a file makes its writes and its size durable, `fsync` of a
//! directory the names in it. `sync_file_range` makes nothing durable. The name of a new file is durable as well once the
//! file itself was synced, since ext4 then commits the making with it; a rename or a removal waits for its directory.
//! Of the rest any part may be there.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::dice::Dice;
use crate::recording::Effect;

/// What a file system need not write.
const ZEROES: [u8; 4_096] = [0; 4_096];
/// The unit that a disk writes whole.
const SECTOR: u64 = 512;

/// Promises that a planted fault leaves out, to prove that a drill would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Planted {
    /// None.
    #[default]
    Nothing,
    /// `fdatasync` is worth nothing, as if it were never called.
    NoDataSync,
    /// `fsync` of a directory is worth nothing.
    NoDirectorySync,
}

/// How much of what was not synced is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Luck {
    /// Nothing.
    Nothing,
    /// All of it, the last write of each file torn.
    Torn,
    /// Any of it, whole writes, the last of each file torn.
    Writes,
    /// Any sectors of it, and any names in any order.
    Sectors,
}

impl Luck {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Torn, Self::Writes, Self::Sectors];
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Arc<[u8]>),
    Size(u64),
    AtLeast(u64),
}

#[derive(Clone, Debug, Default)]
struct Node {
    is_dir: bool,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Naming {
    Link(String, usize),
    Unlink(String, usize),
    Rename(String, String, usize),
}

/// Names and contents.
pub type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// The disk.
#[derive(Clone, Debug)]
pub struct Disk {
    planted: Planted,
    nodes: Vec<Node>,
    /// Names as the processes see them.
    names: BTreeMap<String, usize>,
    /// Names that would be there after a power cut.
    durable: BTreeMap<String, usize>,
    /// What happened to the names in a directory since it was synced.
    pending: BTreeMap<String, Vec<Naming>>,
    open: HashMap<i32, usize>,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, bytes) => {
            let (start, end) = (*at as usize, *at as usize + bytes.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(bytes);
        }
        Change::Size(size) => content.resize(*size as usize, 0),
        Change::AtLeast(size) => content.resize(content.len().max(*size as usize), 0),
    }
}

fn rename_in(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Link(name, node) => drop(names.insert(name.clone(), *node)),
        Naming::Unlink(name, node) => {
            if names.get(name) == Some(node) {
                names.remove(name);
            }
        }
        Naming::Rename(from, to, node) => {
            if names.get(from) == Some(node) {
                names.remove(from);
            }
            names.insert(to.clone(), *node);
        }
    }
}

impl Disk {
    /// A disk that holds this tree, durably.
    #[must_use]
    pub fn new(tree: &Tree, planted: Planted) -> Self {
        let root = Node { is_dir: true, ..Node::default() };
        let mut disk = Self {
            planted,
            nodes: vec![root],
            names: BTreeMap::from([(String::new(), 0)]),
            durable: BTreeMap::new(),
            pending: BTreeMap::new(),
            open: HashMap::new(),
        };
        for (path, content) in tree {
            let node =
                Node { is_dir: content.is_none(), durable: content.clone().unwrap_or_default(), pending: Vec::new() };
            disk.names.insert(path.clone(), disk.nodes.len());
            disk.nodes.push(node);
        }
        disk.durable = disk.names.clone();
        disk
    }

    /// Takes in an effect.
    ///
    /// # Panics
    /// When it speaks of a file that was never opened or made: the recording has a hole.
    pub fn take(&mut self, effect: &Effect) {
        match effect {
            Effect::Start => self.open.clear(),
            Effect::Open { fd, path, create, truncate } => {
                let node = match self.names.get(path) {
                    Some(node) => *node,
                    None if *create => self.make(path, false),
                    None => panic!("{path} was opened and never made"),
                };
                self.open.insert(*fd, node);
                if *truncate {
                    self.nodes[node].pending.push(Change::Size(0));
                }
            }
            Effect::Copy { fd, copy } => drop(self.open.insert(*copy, self.open[fd])),
            Effect::Write { fd, at, bytes } => self.change(*fd, Change::Write(*at, Arc::clone(bytes))),
            Effect::Truncate { fd, size } => self.change(*fd, Change::Size(*size)),
            Effect::Allocate { fd, end } => self.change(*fd, Change::AtLeast(*end)),
            Effect::Sync { fd } => self.sync(self.open[fd]),
            Effect::DataSync { .. } if self.planted == Planted::NoDataSync => {}
            Effect::DataSync { fd } => self.sync(self.open[fd]),
            Effect::RangeSync { .. } => {}
            Effect::Rename { from, to } => {
                assert_eq!(parent(from), parent(to), "names move inside one directory");
                if let Some(node) = self.names.get(from) {
                    self.name(Naming::Rename(from.clone(), to.clone(), *node));
                }
            }
            Effect::Remove { path } => {
                if let Some(node) = self.names.get(path) {
                    self.name(Naming::Unlink(path.clone(), *node));
                }
            }
            Effect::MakeDir { path } => drop(self.make(path, true)),
        }
    }

    /// Where a descriptor leads now.
    #[must_use]
    pub fn path_of(&self, fd: i32) -> Option<&str> {
        let node = self.open.get(&fd)?;
        self.names.iter().find(|(_, named)| *named == node).map(|(path, _)| path.as_str())
    }

    fn make(&mut self, path: &str, is_dir: bool) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node { is_dir, ..Node::default() });
        self.name(Naming::Link(path.to_owned(), node));
        node
    }

    fn name(&mut self, naming: Naming) {
        rename_in(&mut self.names, &naming);
        let (Naming::Link(path, _) | Naming::Unlink(path, _) | Naming::Rename(path, _, _)) = &naming;
        self.pending.entry(parent(path).to_owned()).or_default().push(naming);
    }

    fn change(&mut self, fd: i32, change: Change) {
        self.nodes[self.open[&fd]].pending.push(change);
    }

    fn sync(&mut self, node: usize) {
        if self.nodes[node].is_dir {
            if self.planted == Planted::NoDirectorySync {
                return;
            }
            let Some((path, _)) = self.names.iter().find(|(_, named)| **named == node) else { return };
            for naming in self.pending.remove(path).unwrap_or_default() {
                rename_in(&mut self.durable, &naming);
            }
            return;
        }
        let Node { durable, pending, .. } = &mut self.nodes[node];
        for change in pending.drain(..) {
            apply(durable, &change);
        }
        for namings in self.pending.values_mut() {
            namings.retain(|naming| match naming {
                Naming::Link(_, linked) if *linked == node => {
                    rename_in(&mut self.durable, naming);
                    false
                }
                _ => true,
            });
        }
    }

    /// What the processes see: everything.
    #[must_use]
    pub fn live(&self) -> Tree {
        let content = |node: usize| {
            let Node { is_dir, durable, pending } = &self.nodes[node];
            let mut content = durable.clone();
            pending.iter().for_each(|change| apply(&mut content, change));
            (!is_dir).then_some(content)
        };
        self.names
            .iter()
            .filter(|(path, _)| !path.is_empty())
            .map(|(path, node)| (path.clone(), content(*node)))
            .collect()
    }

    /// What is left when the power goes now.
    #[must_use]
    pub fn cut(&self, dice: &mut Dice, luck: Luck) -> Tree {
        let mut names = self.durable.clone();
        for namings in self.pending.values() {
            // A journalling file system keeps the order; nothing promises that it does.
            let reached = dice.index(namings.len() + 1);
            for (at, naming) in namings.iter().enumerate() {
                let kept = match luck {
                    Luck::Nothing => false,
                    Luck::Torn => true,
                    Luck::Writes => at < reached,
                    Luck::Sectors => dice.once_in(2),
                };
                if kept {
                    rename_in(&mut names, naming);
                }
            }
        }
        let mut tree = Tree::new();
        for (path, node) in &names {
            // What lies in a directory that is not there is not there.
            let reachable = parent(path).is_empty() || tree.contains_key(parent(path));
            if !path.is_empty() && reachable {
                tree.insert(path.clone(), self.left_of(*node, dice, luck));
            }
        }
        tree
    }

    fn left_of(&self, node: usize, dice: &mut Dice, luck: Luck) -> Option<Vec<u8>> {
        let Node { is_dir, durable, pending } = &self.nodes[node];
        let mut content = durable.clone();
        for (at, change) in pending.iter().enumerate() {
            let last = at + 1 == pending.len();
            match (luck, change) {
                (Luck::Nothing, _) => {}
                (Luck::Sectors, Change::Write(start, bytes)) => {
                    for (at, part) in sectors(*start, bytes) {
                        if dice.once_in(2) {
                            apply(&mut content, &Change::Write(at, part.into()));
                        }
                    }
                }
                (Luck::Torn | Luck::Writes, Change::Write(start, bytes)) if last => {
                    let parts: Vec<_> = sectors(*start, bytes).collect();
                    for (at, part) in &parts[..dice.index(parts.len() + 1)] {
                        apply(&mut content, &Change::Write(*at, (*part).into()));
                    }
                }
                (Luck::Torn, change) => apply(&mut content, change),
                (Luck::Writes | Luck::Sectors, change) => {
                    if dice.once_in(2) {
                        apply(&mut content, change);
                    }
                }
            }
        }
        (!is_dir).then_some(content)
    }
}

/// The parts of a write that lie in one sector each.
fn sectors(start: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let first = ((SECTOR - start % SECTOR) as usize).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let parts = std::iter::once(head).filter(|head| !head.is_empty()).chain(rest.chunks(SECTOR as usize));
    parts.scan(start, |at, part| {
        let here = *at;
        *at += part.len() as u64;
        Some((here, part))
    })
}

/// Puts a tree down in an empty directory.
///
/// # Errors
/// When it cannot be written.
pub fn put_down(tree: &Tree, dir: &Path) -> io::Result<()> {
    for (path, content) in tree {
        let path = dir.join(path);
        let Some(content) = content else {
            fs::DirBuilder::new().mode(0o700).create(path)?;
            continue;
        };
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.set_len(content.len() as u64)?;
        for (number, block) in content.chunks(4_096).enumerate() {
            if *block != ZEROES[..block.len()] {
                file.write_all_at(block, number as u64 * 4_096)?;
            }
        }
    }
    Ok(())
}

/// Takes up a directory.
///
/// # Errors
/// When it cannot be read.
pub fn take_up(dir: &Path) -> io::Result<Tree> {
    fn walk(dir: &Path, below: &str, tree: &mut Tree) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), &path, tree)?;
                tree.insert(path, None);
            } else {
                tree.insert(path, Some(fs::read(entry.path())?));
            }
        }
        Ok(())
    }
    let mut tree = Tree::new();
    walk(dir, "", &mut tree)?;
    Ok(tree)
}
