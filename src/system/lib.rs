//! The ports of `qrtotp-core` on a real Linux machine, for the module and the command alike.
//!
//! | room | port | what it touches |
//! |---|---|---|
//! | `clock` | [`SystemClock`] | three clocks, `/proc/sys/kernel/random/boot_id` |
//! | `random` | [`SystemRandom`] | getrandom(2) |
//! | `users` | [`Users`] | the name service |
//! | `log` | [`Log`] | `/dev/log`, the events file |
//! | `process` | [`caller`], [`host_name`], [`session`] | the ids of this process, uname(2), `/proc/self/stat` |
//!
//! This code runs inside sshd, sudo, su and login. It starts no thread and no process, keeps no descriptor open between
//! calls, reads no environment, and changes nothing that belongs to the whole process: no umask, signal, directory,
//! locale, or syslog connection.
#![forbid(unsafe_code)]

mod clock;
#[cfg(test)]
mod descriptors;
mod log;
mod process;
mod random;
mod users;

pub use clock::SystemClock;
pub use log::Log;
pub use process::{Caller, caller, host_name, session};
pub use random::SystemRandom;
pub use users::Users;
