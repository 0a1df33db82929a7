//! Keys, codes, recovery codes, tickets and what a person types. Pure: no clock, no files, no randomness of its own.

pub mod code;
pub mod crockford;
pub mod otpauth;
pub mod recovery;
pub mod salted;
pub mod secret;
pub mod ticket;
pub mod typed;

pub use code::{Algorithm, Code, Shape};
pub use salted::SaltedHash;
pub use secret::Secret;
pub use ticket::TicketCode;
pub use typed::Typed;
