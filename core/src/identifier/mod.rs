//! Identifier values in canonical form: one door per kind, no way around it.
