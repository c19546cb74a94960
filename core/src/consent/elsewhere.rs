//! Where statements are heard beside the points at which they were made (law 6): a record that is not there, or of which something
//! waits, has identifiers all the same.

use std::collections::{HashMap, HashSet};

use crate::ids::Digest128;

/// Points that are heard at others, from either side.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// By point: where it is heard too.
    heard_at: HashMap<Digest128, Vec<Digest128>>,
    /// The other way: what is heard there.
    heard: HashMap<Digest128, Vec<Digest128>>,
    /// Where something began or ceased to be heard, and the feed was not told.
    moved: HashSet<Digest128>,
}

impl PartialEq for Elsewhere {
    /// Says the same, whatever the feed was told.
    fn eq(&self, other: &Self) -> bool {
        (&self.heard_at, &self.heard) == (&other.heard_at, &other.heard)
    }
}

impl Eq for Elsewhere {}

impl Elsewhere {
    /// The statements at `point` are heard at these too, and nowhere else any more.
    pub fn set(&mut self, point: Digest128, heard_at: Vec<Digest128>) {
        let before = self.take(point);
        self.moved.extend(before.iter().filter(|other| !heard_at.contains(other)));
        self.moved.extend(heard_at.iter().filter(|other| !before.contains(other)));
        for other in &heard_at {
            self.heard.entry(*other).or_default().push(point);
        }
        if !heard_at.is_empty() {
            self.heard_at.insert(point, heard_at);
        }
    }

    /// They are heard at the point alone.
    pub fn clear(&mut self, point: Digest128) {
        self.set(point, Vec::new());
    }

    fn take(&mut self, point: Digest128) -> Vec<Digest128> {
        let before = self.heard_at.remove(&point).unwrap_or_default();
        for other in &before {
            if let Some(points) = self.heard.get_mut(other) {
                points.retain(|known| *known != point);
                if points.is_empty() {
                    self.heard.remove(other);
                }
            }
        }
        before
    }

    /// Where something began or ceased to be heard since this was asked.
    pub fn take_moved(&mut self) -> HashSet<Digest128> {
        std::mem::take(&mut self.moved)
    }

    /// Where the statements at a point are heard too.
    #[must_use]
    pub fn of(&self, point: Digest128) -> &[Digest128] {
        self.heard_at.get(&point).map_or(&[], Vec::as_slice)
    }

    /// The points whose statements are heard here too.
    #[must_use]
    pub fn heard_here(&self, point: Digest128) -> &[Digest128] {
        self.heard.get(&point).map_or(&[], Vec::as_slice)
    }

    /// Forgets these points, from both sides.
    pub fn forget(&mut self, points: &HashSet<Digest128>) {
        for point in points {
            self.clear(*point);
            for from in self.heard.remove(point).unwrap_or_default() {
                let left: Vec<Digest128> = self.of(from).iter().filter(|other| *other != point).copied().collect();
                self.set(from, left);
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heard_at.is_empty()
    }

    /// All of them, sorted.
    #[must_use]
    pub fn rows(&self) -> Vec<(Digest128, Vec<Digest128>)> {
        let mut rows: Vec<_> = self.heard_at.iter().map(|(point, heard_at)| (*point, heard_at.clone())).collect();
        rows.sort_unstable();
        rows
    }
}
