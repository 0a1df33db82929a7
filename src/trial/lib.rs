//! Logs in by a copy of a PAM stack before it is put in place, as a user who exists for that moment only, in a mount
//! namespace of its own: the real libpam, the real modules, and nothing on the machine changes.
//!
//! | file | what it is | unsafe |
//! |---|---|---|
//! | `client` | the host's side of libpam: one login, and what was asked | yes |
//! | `stage` | the namespace: accounts, stack, policy, state | no |
//! | `trial` | which logins are tried, and what they must come to | no |
#![deny(unsafe_code)]

mod client;
mod stage;
mod trial;

pub use stage::Script;
pub use trial::{Verdict, run};
