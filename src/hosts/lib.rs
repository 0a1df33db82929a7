//! The programs around the module, as the administrator has set them up. Nothing here opens a file, starts a program or
//! writes: what was read comes in as text, what is to be written goes out as text, and what is wrong as findings.
//!
//! | file | what it is |
//! |---|---|
//! | `finding` | what is wrong, how badly, and what mends it |
//! | `stack` | the `auth` lines of a service, with everything they include, in the order in which libpam has them |
//! | `stack/walk` | every way through a stack |
//! | `stack/judge` | what those ways mean for a code |
//! | `stack/edit` | a service's file with the module's line, and without |
//! | `sshd` | what `sshd -T` says |
//! | `sudo` | what `cvtsudoers` says |
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::indexing_slicing))]

pub mod finding;
pub mod sshd;
pub mod stack;
pub mod sudo;

pub use finding::{Finding, Severity};
