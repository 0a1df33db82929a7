//! Pictures of keys that are printed, and what pictures hold. The module never sees this.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::indexing_slicing))]

pub mod brand;
pub mod card;
pub mod draw;
pub mod holds;
pub mod leftovers;
mod migration;
pub mod proof;
pub mod read;
