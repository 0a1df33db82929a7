//! Keeps files of ours off the descriptors that every program writes to without looking.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::{Errno, fcntl_dupfd_cloexec};

/// The first descriptor that is not standard input, output or error.
const FIRST_FREE: i32 = 3;

/// Moves a descriptor that was just opened out of 0 to 2.
///
/// A caller of `su` or `sudo` may have closed these; what is opened next lands there, and a prompt or an error message
/// of the program would be written into it.
///
/// # Errors
/// Where no higher descriptor is free (EMFILE). The low one is closed either way.
pub fn above_stdio(opened: OwnedFd) -> Result<OwnedFd, Errno> {
    if opened.as_raw_fd() >= FIRST_FREE { Ok(opened) } else { fcntl_dupfd_cloexec(&opened, FIRST_FREE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags, open};
    use std::process::Command;

    fn open_null() -> OwnedFd {
        open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn a_file_never_stays_on_a_standard_descriptor_that_was_closed() {
        let me = std::env::current_exe().unwrap();
        let run = ["--exact", "descriptors::tests::in_a_process_with_standard_input_closed", "--ignored"];
        assert!(Command::new(me).args(run).status().unwrap().success());
    }

    /// Runs alone, in a process of its own: it closes descriptor 0.
    #[test]
    #[ignore = "started by a_file_never_stays_on_a_standard_descriptor_that_was_closed"]
    fn in_a_process_with_standard_input_closed() {
        nix::unistd::close(0).unwrap();
        let low = open_null();
        assert_eq!(low.as_raw_fd(), 0, "the premise: the kernel gives the lowest free number");
        assert!(above_stdio(low).unwrap().as_raw_fd() >= FIRST_FREE);
        assert_eq!(open_null().as_raw_fd(), 0, "the low one was closed");
    }

    #[test]
    fn a_file_above_them_stays_where_it_is() {
        let high = above_stdio(open_null()).unwrap();
        let number = high.as_raw_fd();
        assert_eq!(above_stdio(high).unwrap().as_raw_fd(), number);
    }
}
