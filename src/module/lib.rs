//! The PAM module: a one-time code at the login.
//!
//! | room | what it does | unsafe |
//! |---|---|---|
//! | `door` | the two entry points: pointers in, a C code out, no panic beyond it | yes |
//! | `pam` | the safe face of libpam: items, conversation, wiped answers, codes | yes |
//! | `call` | one call told top down: arguments, policy, user, login | no |
//! | `arguments` | the words after `pam_qrtotp.so` in a service file | no |
//! | `panics` | a panic ends the call and not the program, and prints nothing | no |
//!
//! What a login means is in `qrtotp-core`; clocks, users and the log are in `qrtotp-system`.
//!
//! The program around us owns the process. This module starts no thread and no process, never writes to descriptors 0
//! to 2, reads no environment, and leaves umask, signals, working directory, locale and syslog connection alone.
#![deny(unsafe_code)]

mod arguments;
mod call;
mod door;
mod pam;
mod panics;
