//! Which values of a namespace must never link, compiled once from its configuration.

use std::collections::HashSet;

use regex::{RegexSet, RegexSetBuilder};

use super::junk::{JunkKind, junk};
use super::{Canonical, canonicalise};
use crate::limits::{BLOCKED_PATTERNS_MAX, BLOCKED_VALUES_MAX, PATTERN_BYTES_MAX, PATTERN_PROGRAM_BYTES_MAX};
use crate::namespace::{Namespace, Normaliser};

/// Why a value must not link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockReason {
    /// It is in the namespace's list of blocked values.
    Listed,
    /// The namespace's blocked pattern with this index matches it; the first one if several do.
    Pattern(usize),
    /// The built-in junk rules know it.
    Junk(JunkKind),
}

impl std::fmt::Display for BlockReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listed => f.write_str("it is in the namespace's list of blocked values"),
            Self::Pattern(index) => write!(f, "the namespace's blocked pattern {index} matches it"),
            Self::Junk(kind) => write!(f, "it is {}", kind.as_str()),
        }
    }
}

/// A namespace's rules that cannot be compiled. Names the rule by its index; the text is the operator's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlockRules {
    /// More blocked values than [`BLOCKED_VALUES_MAX`].
    #[error("namespace `{namespace}` has more than {BLOCKED_VALUES_MAX} blocked values")]
    TooManyValues {
        /// Which namespace.
        namespace: String,
    },
    /// More blocked patterns than [`BLOCKED_PATTERNS_MAX`].
    #[error("namespace `{namespace}` has more than {BLOCKED_PATTERNS_MAX} blocked patterns")]
    TooManyPatterns {
        /// Which namespace.
        namespace: String,
    },
    /// A pattern that is no regular expression, or too large a one.
    #[error("blocked_patterns[{index}] of namespace `{namespace}`: {why}")]
    Pattern {
        /// Which namespace.
        namespace: String,
        /// Which pattern, from 0.
        index: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// A namespace's blocked values, blocked patterns and junk rules, ready to ask.
#[derive(Clone, Debug)]
pub struct BlockRules {
    normaliser: Normaliser,
    values: HashSet<String>,
    patterns: Option<RegexSet>,
    junk_defaults: bool,
}

impl BlockRules {
    /// Compiles the rules of a namespace. Blocked values may be given in any form that canonicalises to the value meant;
    /// `region` reads telephone numbers among them.
    ///
    /// # Errors
    /// [`InvalidBlockRules`] when there are too many, or a pattern does not compile.
    pub fn compile(namespace: &Namespace, region: Option<&str>) -> Result<Self, InvalidBlockRules> {
        let name = || namespace.name.clone();
        if namespace.blocked_values.len() > BLOCKED_VALUES_MAX {
            return Err(InvalidBlockRules::TooManyValues { namespace: name() });
        }
        if namespace.blocked_patterns.len() > BLOCKED_PATTERNS_MAX {
            return Err(InvalidBlockRules::TooManyPatterns { namespace: name() });
        }
        let mut values: HashSet<String> = namespace.blocked_values.iter().cloned().collect();
        values.extend(
            namespace
                .blocked_values
                .iter()
                .filter_map(|value| canonicalise(namespace.normaliser, value, region).ok())
                .map(Canonical::into_string),
        );
        Ok(Self {
            normaliser: namespace.normaliser,
            values,
            patterns: compile_patterns(namespace)?,
            junk_defaults: namespace.junk_defaults,
        })
    }

    /// Why this value must not link, if so: the list first, then the junk rules, then the patterns.
    #[must_use]
    pub fn blocked(&self, value: &Canonical) -> Option<BlockReason> {
        if !self.values.is_empty() && self.values.contains(value.as_str()) {
            return Some(BlockReason::Listed);
        }
        if self.junk_defaults
            && let Some(kind) = junk(self.normaliser, value)
        {
            return Some(BlockReason::Junk(kind));
        }
        self.patterns.as_ref()?.matches(value.as_str()).into_iter().next().map(BlockReason::Pattern)
    }
}

fn compile_patterns(namespace: &Namespace) -> Result<Option<RegexSet>, InvalidBlockRules> {
    if namespace.blocked_patterns.is_empty() {
        return Ok(None);
    }
    let fault = |index, why: String| InvalidBlockRules::Pattern { namespace: namespace.name.clone(), index, why };
    for (index, pattern) in namespace.blocked_patterns.iter().enumerate() {
        whole_match(pattern).map_err(|why| fault(index, why))?;
    }
    RegexSetBuilder::new(namespace.blocked_patterns.iter().map(|pattern| anchored(pattern)))
        .size_limit(PATTERN_PROGRAM_BYTES_MAX)
        .dfa_size_limit(PATTERN_PROGRAM_BYTES_MAX)
        .build()
        .map(Some)
        .map_err(|error| fault(namespace.blocked_patterns.len() - 1, format!("the patterns together: {error}")))
}

fn anchored(pattern: &str) -> String {
    format!(r"\A(?:{pattern})\z")
}

/// A regular expression that matches whole texts only, within the bounds on pattern and program.
///
/// # Errors
/// What is wrong with the pattern, in words.
pub(crate) fn whole_match(pattern: &str) -> Result<regex::Regex, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("is longer than {PATTERN_BYTES_MAX} bytes"));
    }
    let compile = |text: &str| {
        regex::RegexBuilder::new(text)
            .size_limit(PATTERN_PROGRAM_BYTES_MAX)
            .dfa_size_limit(PATTERN_PROGRAM_BYTES_MAX)
            .build()
            .map_err(|error| format!("is not a usable regular expression: {error}"))
    };
    // Alone first: a pattern such as `a)|(b` compiles only inside the anchors' brackets, and would escape them.
    compile(pattern)?;
    compile(&anchored(pattern))
}
