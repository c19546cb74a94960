//! How much a comparison can bring at most, told from the symbols alone: most pairs need no closer look.

use super::comparison::{Aspect, Level};
use super::symbols::{ABSENT, Symbol};
use super::weigh::{Bits, Likeness, Slot, WHOLE_BITS_MAX};

/// At most so many bits against strangers, and against kin.
type Ceiling = (f32, f32);

/// By what a look at the symbols shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ceilings {
    /// The field whose symbols tell; of what several fields bring about, none does.
    slot: Option<usize>,
    /// Both hold one value.
    equal: Ceiling,
    /// They hold two.
    unequal: Ceiling,
    /// One side is silent, but other fields may speak for it.
    silent: Ceiling,
}

/// Levels of names that other fields may bring about.
const EXCHANGED: usize = 6;

impl Ceilings {
    pub(super) fn new(aspect: &Aspect, kinship: Likeness, levels: &[Bits], slots: &[Slot]) -> Self {
        let rarest = |slot: usize| slots[slot].rare - slots[slot].agreement;
        let frequency = |level: usize| match *aspect {
            Aspect::Exact(_) => 0.0,
            Aspect::Address { street, city, postcode, .. } => rarest(street).min(rarest(city)).min(rarest(postcode)),
            Aspect::Organisation { name, trading } if level == 1 => {
                -WHOLE_BITS_MAX - slots[name].agreement.max(slots[trading].agreement)
            }
            Aspect::Text(slot) if level == 1 => rarest(slot).min(-WHOLE_BITS_MAX - slots[slot].agreement),
            Aspect::Organisation { .. } | Aspect::Text(_) => 0.0,
            _ if level == 1 => rarest(aspect.slots().first().copied().unwrap_or_default()),
            _ => 0.0,
        };
        let gain = |level: usize| {
            let Bits { m, u, .. } = levels[level];
            let u = u + frequency(level).min(0.0);
            (m - u, m - kinship.bits(m, u))
        };
        let most = |levels: &mut dyn Iterator<Item = usize>| {
            levels.map(gain).fold((f32::NEG_INFINITY, f32::NEG_INFINITY), |a, b| (a.0.max(b.0), a.1.max(b.1)))
        };
        let all = most(&mut (1..levels.len()));
        let nought = |ceiling: Ceiling| (ceiling.0.max(0.0), ceiling.1.max(0.0));
        match aspect {
            Aspect::Address { .. } | Aspect::Organisation { .. } => {
                Self { slot: None, equal: nought(all), ..Self::default() }
            }
            Aspect::GivenName { .. } | Aspect::FamilyName { .. } => Self {
                slot: aspect.slots().first().copied(),
                equal: gain(1),
                unequal: most(&mut (2..levels.len())),
                silent: nought(gain(EXCHANGED)),
            },
            // An initial alone, a year alone, agree less.
            _ => Self {
                slot: aspect.slots().first().copied(),
                equal: all,
                unequal: most(&mut (2..levels.len())),
                silent: (0.0, 0.0),
            },
        }
    }

    #[inline]
    pub(super) fn of(&self, a: &[Symbol], b: &[Symbol]) -> Ceiling {
        let Some(slot) = self.slot else { return self.equal };
        let (left, right) = (a[slot], b[slot]);
        if left == ABSENT || right == ABSENT {
            self.silent
        } else if left == right {
            self.equal
        } else {
            self.unequal
        }
    }
}

/// What a comparison costs, roughly: the cheap ones may spare the dear ones.
pub(super) const fn cost(aspect: &Aspect) -> Level {
    match aspect {
        Aspect::Exact(_) => 0,
        Aspect::BirthDate(_) => 1,
        Aspect::Number(_) => 2,
        Aspect::GivenName { .. } => 3,
        Aspect::FamilyName { .. } => 4,
        Aspect::Phone(_) | Aspect::Identifier(_) => 5,
        Aspect::Address { .. } => 6,
        Aspect::Email(_) | Aspect::EmailBeside { .. } => 7,
        Aspect::MiddleName(_) => 8,
        Aspect::Organisation { .. } => 9,
        Aspect::Text(_) => 10,
    }
}
