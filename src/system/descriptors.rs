//! Tests of core's `above_stdio`: they close descriptors of a process of their own, which core has no library for.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

use qrtotp_core::files::above_stdio;
use rustix::fs::{Mode, OFlags, open};

/// The first descriptor that is not standard input, output or error.
const FIRST_FREE: i32 = 3;

fn open_null() -> OwnedFd {
    open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

#[test]
fn a_file_never_stays_on_a_standard_descriptor_that_was_closed() {
    let me = std::env::current_exe().unwrap();
    let run = ["--exact", "descriptors::in_a_process_with_standard_input_closed", "--ignored"];
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
