//! The audit trail: reads, checks, counts and reports what happened, and watches what happens. The module never sees this.
//!
//! | room | what it does |
//! |---|---|
//! | [`baseline`] | what is usual for a user |
//! | [`chain`] | whether the events files are what was written |
//! | [`export`] | events and authenticators as auditors ask for them |
//! | [`files`] | the events files, rotated and compressed -> lines |
//! | [`filter`] | which events somebody asks for |
//! | [`follow`] | what is new, over rotation |
//! | [`funnel`] | the life of every ticket |
//! | [`geo`] | address -> country |
//! | [`mod@line`] | a line of the events file -> its fields |
//! | [`report`] | events and state -> one page |
//! | [`tally`] | logins -> numbers by one of their sides |
//! | [`watch`] | events -> what is unusual, and which alerts are raised |
//! | [`why`] | a refused login -> plain words, and what to do |
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::indexing_slicing))]

pub mod baseline;
pub mod chain;
pub mod export;
pub mod files;
pub mod filter;
pub mod follow;
pub mod funnel;
pub mod geo;
pub mod line;
pub mod report;
pub mod tally;
pub mod watch;
pub mod why;

pub use files::{Damage, Trail};
pub use filter::Filter;
pub use follow::{Bell, Follower, Position};
pub use geo::Geo;
pub use line::Line;
