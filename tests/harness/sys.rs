//! The system calls without a safe wrapper.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Gives the calling thread, and what it starts from now on, its own mounts, network and host name.
pub fn unshare() -> Result<()> {
    // SAFETY: takes no pointers; other threads keep their namespaces, and CLONE_NEWNS unshares the working directory too.
    let done = unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWUTS) };
    checked(done)
}

/// Takes the calling thread into a namespace kept open as a file.
pub fn enter(namespace: &File) -> Result<()> {
    // SAFETY: the descriptor is open for as long as the reference lives; no pointers.
    checked(unsafe { libc::setns(namespace.as_raw_fd(), 0) })
}

/// Names the host of the calling thread's namespace.
pub fn set_host_name(name: &str) -> Result<()> {
    // SAFETY: the pointer and the length describe the bytes of `name`, which the kernel copies.
    checked(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })
}

/// Switches the loopback interface on.
pub fn loopback_up() -> Result<()> {
    // SAFETY: takes no pointers; the descriptor returned is owned by nobody else.
    let socket = unsafe {
        let raw = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        checked(raw)?;
        OwnedFd::from_raw_fd(raw)
    };
    // SAFETY: all-zero bytes are a valid `ifreq`, a struct of plain C data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap();
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which `request` is and which outlives the call.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
}

/// Lets the command start as leader of a session whose controlling terminal is its standard input.
pub fn on_own_terminal(command: &mut Command) {
    // SAFETY: runs between fork and exec; setsid and ioctl are async-signal-safe and take no pointers here.
    unsafe {
        command.pre_exec(|| {
            checked(libc::setsid())?;
            checked(libc::ioctl(0, libc::TIOCSCTTY, 0))
        });
    }
}

/// Lets the command die with the thread that starts it, should that die without cleaning up.
pub fn die_with_us(command: &mut Command) {
    // SAFETY: runs between fork and exec; prctl is a bare system call and takes no pointers here.
    unsafe {
        command.pre_exec(|| checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)));
    }
}

/// Lets the command start as another user, in no other group.
pub fn as_user(command: &mut Command, uid: u32) {
    // SAFETY: runs between fork and exec, in the single thread of the child; bare system calls, no pointers but a null with
    // the length 0.
    unsafe {
        command.pre_exec(move || {
            checked(libc::setgroups(0, std::ptr::null()))?;
            checked(libc::setresgid(uid, uid, uid))?;
            checked(libc::setresuid(uid, uid, uid))
        });
    }
}

fn checked(result: libc::c_int) -> Result<()> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}
