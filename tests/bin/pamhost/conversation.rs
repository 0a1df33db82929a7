//! The conversation: answers from a queue, well or badly behaved, every message kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_int, c_void};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::ptr;

use qrtotp_tests::script::{Answer, ECHO_OFF, ECHO_ON, Message, code};

use crate::pam::{PamMessage, PamResponse};
use crate::{Own, settle};

/// PAM_CONV_AGAIN
const CONV_AGAIN: c_int = 30;

/// What the callback finds behind its data pointer.
#[derive(Default)]
pub struct Conversation {
    inner: Box<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    answers: VecDeque<Answer>,
    messages: Vec<Message>,
    own: Option<*mut Own>,
}

impl Conversation {
    /// One with nothing to say.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pointer libpam hands to [`converse`].
    pub fn as_data(&self) -> *mut c_void {
        (&raw const *self.inner).cast_mut().cast()
    }

    /// Sets the answers for the next call.
    pub fn prepare(&self, answers: Vec<Answer>, own: &mut Own) {
        let mut inner = self.inner.borrow_mut();
        inner.answers = answers.into();
        inner.own = Some(ptr::from_mut(own));
    }

    /// What was said since the last time.
    pub fn take_messages(&self) -> Vec<Message> {
        std::mem::take(&mut self.inner.borrow_mut().messages)
    }
}

/// What one message is answered with: a buffer, or an end of the conversation.
enum Reply {
    Buffer(*mut libc::c_char),
    End(c_int),
    NullArray,
}

/// The callback.
///
/// # Safety
/// As libpam calls it: `count` pointers at `messages`, a place at `responses`, and the pointer of [`Conversation::as_data`].
pub unsafe extern "C" fn converse(
    count: c_int,
    messages: *mut *const PamMessage,
    responses: *mut *mut PamResponse,
    data: *mut c_void,
) -> c_int {
    let count = usize::try_from(count).unwrap();
    // SAFETY: `data` came from `as_data` of a Conversation that lives as long as the handle.
    let inner = unsafe { &*data.cast::<RefCell<Inner>>() };
    // SAFETY: an array of C structs for which all zeroes is valid; the module frees it, so it is malloc's.
    let array = unsafe { libc::calloc(count, size_of::<PamResponse>()) }.cast::<PamResponse>();
    for index in 0..count {
        // SAFETY: Linux-PAM passes an array of `count` pointers to messages whose text ends in NUL.
        let (style, text) = unsafe {
            let message = &**messages.add(index);
            (message.style, CStr::from_ptr(message.text))
        };
        let text = text.to_string_lossy().into_owned();
        inner.borrow_mut().messages.push(Message { style, text });
        if style != ECHO_OFF && style != ECHO_ON {
            continue;
        }
        match reply(inner) {
            // SAFETY: `index` is below `count`, the length of the array just allocated.
            Reply::Buffer(buffer) => unsafe { (*array.add(index)).text = buffer },
            Reply::End(code) => return code,
            Reply::NullArray => {
                // SAFETY: `responses` is the place libpam gave for the pointer.
                unsafe { *responses = ptr::null_mut() };
                return code::SUCCESS;
            }
        }
    }
    // SAFETY: as above.
    unsafe { *responses = array };
    code::SUCCESS
}

fn reply(inner: &RefCell<Inner>) -> Reply {
    let (answer, own) = {
        let mut inner = inner.borrow_mut();
        (inner.answers.pop_front(), inner.own)
    };
    let Some((answer, own)) = answer.zip(own) else {
        return Reply::End(code::CONV_ERR);
    };
    // SAFETY: `prepare` stored the pointer of a `&mut Own` that its caller does not touch while libpam is at work.
    match settle(answer, unsafe { &mut *own }) {
        Answer::Text(text) => Reply::Buffer(copied(text.as_bytes())),
        Answer::Bytes(bytes) => Reply::Buffer(copied(&bytes)),
        Answer::Fill(byte, length) => Reply::Buffer(filled(length, |_| byte)),
        Answer::Marker => Reply::Buffer(filled(MARKER, marker_byte)),
        Answer::Null => Reply::Buffer(ptr::null_mut()),
        Answer::NullArray => Reply::NullArray,
        Answer::Again => Reply::End(CONV_AGAIN),
        Answer::Error | Answer::Held(_) | Answer::Die => Reply::End(code::CONV_ERR),
    }
}

fn copied(bytes: &[u8]) -> *mut libc::c_char {
    filled(bytes.len(), |index| bytes[index])
}

/// A buffer of malloc, because the module frees it, with a NUL at its end.
fn filled(length: usize, byte: impl Fn(usize) -> u8) -> *mut libc::c_char {
    // SAFETY: the buffer holds `length` bytes and one more, and all writes stay below that.
    unsafe {
        let buffer = libc::malloc(length + 1).cast::<u8>();
        assert!(!buffer.is_null(), "malloc");
        for index in 0..length {
            buffer.add(index).write(byte(index));
        }
        buffer.add(length).write(0);
        buffer.cast()
    }
}

/// How long the marker is: long enough that the allocator's own bytes in a freed block leave most of it.
const MARKER: usize = 1000;
/// The marker repeats itself after so many bytes.
const PERIOD: usize = 24;

/// The marker is computed, so that it stands in memory only where it was written as an answer.
fn marker_byte(index: usize) -> u8 {
    let mixed = ((index % PERIOD) as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    b'a' + u8::try_from(mixed % 26).unwrap()
}

/// Memory is read in pieces so small that the buffer itself hides little of it.
const PAGE: usize = 4096;

/// How many pieces of the marker lie in the writable memory of this process. Nothing is allocated here: that could cover what
/// is looked for.
pub fn count_marker() -> usize {
    let mut text = [0; 1 << 16];
    let mut file = File::open("/proc/self/maps").unwrap();
    let mut length = 0;
    while let Ok(more @ 1..) = file.read(&mut text[length..]) {
        length += more;
    }
    let maps = std::str::from_utf8(&text[..length]).unwrap();
    let memory = File::open("/proc/self/mem").unwrap();
    let mut page = [0; PAGE];
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let mut at = u64::from_str_radix(from, 16).unwrap();
        let end = u64::from_str_radix(to, 16).unwrap();
        let own = page.as_ptr() as u64;
        while at < end && memory.read_exact_at(&mut page, at).is_ok() {
            let is_own = at < own + PAGE as u64 && own < at + PAGE as u64;
            found += if is_own { 0 } else { pieces_in(&page) };
            at += PAGE as u64;
        }
    }
    found
}

fn pieces_in(bytes: &[u8]) -> usize {
    let is_piece = |window: &&[u8]| (0..PERIOD).all(|index| window[index] == marker_byte(index));
    bytes.windows(PERIOD).filter(is_piece).count()
}
