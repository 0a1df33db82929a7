//! The safe face of libpam.
//!
//! Codes and flags stay C integers until they are parsed here; text is copied as soon as it is read, because libpam
//! may replace it whenever somebody is asked something.
#![allow(unsafe_code)]

mod codes;
mod conversation;
mod handle;
#[cfg(test)]
pub mod stage;
mod text;

pub use codes::{Flags, code};
pub use conversation::Talk;
pub use handle::{Handle, Item};
pub use text::words;
