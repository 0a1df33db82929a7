//! Enrollments on their way to another machine: what the file holds, how it is locked, and what stays behind. The module never
//! sees this.
//!
//! | room | what it does |
//! |---|---|
//! | [`content`] | enrollments and their states -> bytes and back |
//! | [`seal`] | bytes -> a file in the age format and back |
//! | [`mark`] | what the tombstone on the old machine says |
//!
//! docs/FORMAT.md shows the file.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::indexing_slicing))]

pub mod content;
pub mod mark;
pub mod seal;

pub use content::{Content, HandoverId, Moved};
pub use mark::{Mark, Stage};
