//! Keys, codes, recovery codes and what a person types. Pure: no clock, no files, no randomness of its own.

pub mod code;
pub mod otpauth;
pub mod recovery;
pub mod secret;
pub mod typed;

pub use code::{Algorithm, Code, Shape};
pub use secret::Secret;
pub use typed::Typed;
