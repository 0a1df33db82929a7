//! Whether a file of a handover leaves keys behind in memory that was given back: every piece is looked at when it goes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use qrtotp_core::budget::State;
use qrtotp_core::otp::{Secret, Shape};
use qrtotp_core::vault::{Credentials, Device};
use qrtotp_core::words::{DeviceId, EnrollmentId, Label, Uid, UserName, WallTime};
use qrtotp_handover::seal::{Seal, Sealed};
use qrtotp_handover::{Content, HandoverId, Moved};

/// A key as it stands in the file. What a test prints of it is not on the heap.
const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const PASSPHRASE: &str = "a passphrase nobody else has";

/// Pieces that were given back with one of the two in them.
static LEFT: AtomicUsize = AtomicUsize::new(0);

struct Watched;

// SAFETY: every call goes on to the system's allocator with what it was given.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        look_at(piece, layout.size());
        // SAFETY: the caller's promises are those of this function.
        unsafe { System.dealloc(piece, layout) }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // One that grows may be moved, and is left behind then. One that shrinks stays where it is.
        if size > layout.size() {
            look_at(piece, layout.size());
        }
        // SAFETY: the caller's promises are those of this function.
        unsafe { System.realloc(piece, layout, size) }
    }
}

#[global_allocator]
static WATCHED: Watched = Watched;

fn look_at(piece: *mut u8, size: usize) {
    for secret in [KEY, PASSPHRASE] {
        // SAFETY: the piece has that many bytes and is the caller's until it is given back; memmem(3) reads them as they are.
        let found = unsafe { libc::memmem(piece.cast(), size, secret.as_ptr().cast(), secret.len()) };
        LEFT.fetch_add(usize::from(!found.is_null()), Ordering::Relaxed);
    }
}

/// More than one piece of the library's, so that one is encrypted before the last.
fn content() -> Content {
    let moved = |number: u32| {
        let device = Device {
            id: DeviceId([1; 4]),
            label: Label::parse("phone").unwrap(),
            shape: Shape::default(),
            secret: Secret::from_base32(KEY).unwrap(),
            added: WallTime(7),
            enabled: true,
            ticket: None,
            replaced: None,
        };
        let credentials = Credentials {
            enrollment: EnrollmentId([1; 8]),
            user: UserName::parse(format!("user{number}").as_bytes()).unwrap(),
            uid: Uid(number),
            created: WallTime(5),
            revoked: None,
            devices: vec![device],
            recovery: Vec::new(),
        };
        Moved { credentials, state: State::default() }
    };
    Content {
        id: HandoverId([1; 8]),
        host: "old".to_owned(),
        made: WallTime(11),
        by: "root".to_owned(),
        kept: false,
        users: (0..50).map(moved).collect(),
    }
}

/// One test, because what it counts is everybody's.
#[test]
fn a_file_that_is_written_and_read_leaves_no_key_in_memory_that_was_given_back() {
    drop(KEY.to_owned());
    assert_eq!(LEFT.swap(0, Ordering::Relaxed), 1, "what is not wiped is seen");
    let written = content();
    let bytes = written.to_bytes().unwrap();
    assert!(bytes.len() > 2 * 64 * 1024, "{}", bytes.len());
    let file = Seal::for_passphrase(PASSPHRASE).unwrap().close(&bytes, true).unwrap();
    drop(bytes);
    assert_eq!(LEFT.swap(0, Ordering::Relaxed), 0, "written");
    let plain = Sealed::parse(&file).unwrap().open_by_passphrase(PASSPHRASE).unwrap();
    let read = Content::parse(&plain).unwrap();
    drop(plain);
    assert_eq!(read.users.len(), 50);
    drop(read);
    drop(written);
    assert_eq!(LEFT.swap(0, Ordering::Relaxed), 0, "read");
}
