//! Where statements are heard beside the points at which they were made (law 6): a record that is not there, or of which something
//! waits, has identifiers all the same.

use std::collections::{HashMap, HashSet};

use crate::ids::Digest128;

/// Points that are heard at others, from either side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// By point: where it is heard too.
    heard_at: HashMap<Digest128, Vec<Digest128>>,
    /// The other way: what is heard there.
    heard: HashMap<Digest128, Vec<Digest128>>,
}

impl Elsewhere {
    /// The statements at `point` are heard at these too, and nowhere else any more.
    pub fn set(&mut self, point: Digest128, heard_at: Vec<Digest128>) {
        self.clear(point);
        for other in &heard_at {
            self.heard.entry(*other).or_default().push(point);
        }
        if !heard_at.is_empty() {
            self.heard_at.insert(point, heard_at);
        }
    }

    /// They are heard at the point alone.
    pub fn clear(&mut self, point: Digest128) {
        for other in self.heard_at.remove(&point).unwrap_or_default() {
            if let Some(points) = self.heard.get_mut(&other) {
                points.retain(|known| *known != point);
                if points.is_empty() {
                    self.heard.remove(&other);
                }
            }
        }
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
