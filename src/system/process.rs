//! Who runs this process, and on which host.

use qrtotp_core::words::Uid;
use rustix::process::{geteuid, getuid};
use rustix::system::uname;

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

/// The name of this host, as the kernel has it.
pub fn host_name() -> String {
    uname().nodename().to_string_lossy().into_owned()
}
