//! Who runs this process.

use qrtotp_core::words::Uid;
use rustix::process::{geteuid, getuid};

/// The user ids of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Who started it.
    pub real: Uid,
    /// With whose rights it runs.
    pub effective: Uid,
}

/// The user ids of this process now.
pub fn caller() -> Caller {
    Caller { real: Uid(getuid().as_raw()), effective: Uid(geteuid().as_raw()) }
}
