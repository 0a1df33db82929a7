//! The host's side of libpam: one login, and what was asked.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pam_sys::raw::{pam_authenticate, pam_end, pam_start};
use pam_sys::types::{PamConversation, PamHandle, PamMessage, PamResponse};

/// PAM_SUCCESS
pub const SUCCESS: c_int = 0;
const BUF_ERR: c_int = 5;
const CONV_ERR: c_int = 19;
/// PAM_PROMPT_ECHO_OFF and PAM_PROMPT_ECHO_ON
const QUESTIONS: [c_int; 2] = [1, 2];
/// PAM_MAX_NUM_MSG
const MOST: c_int = 32;

/// What a question is answered with; `None` ends the conversation.
pub type Ask<'a> = dyn FnMut(&str) -> Option<String> + 'a;

/// What the callback finds behind its data pointer.
struct Answering<'a> {
    ask: &'a mut Ask<'a>,
}

/// pam_start, pam_authenticate, pam_end: the code of libpam.
pub fn authenticate<'a>(service: &str, user: &str, ask: &'a mut Ask<'a>) -> c_int {
    let (Ok(service), Ok(user)) = (CString::new(service), CString::new(user)) else { return CONV_ERR };
    let mut answering = Answering { ask };
    let conversation = PamConversation { conv: Some(converse), data_ptr: (&raw mut answering).cast() };
    let mut handle: *const PamHandle = ptr::null();
    // SAFETY: both strings end in NUL and are copied by libpam, as the conversation is; `answering` outlives the handle,
    // which ends below; `handle` is a place for one pointer.
    let started = unsafe { pam_start(service.as_ptr(), user.as_ptr(), &raw const conversation, &raw mut handle) };
    if started != SUCCESS {
        return started;
    }
    // SAFETY: pam_start has given the handle, and nobody else has it.
    let answer = unsafe { pam_authenticate(handle.cast_mut(), 0) };
    // SAFETY: the handle is alive, and is gone with this call.
    unsafe { pam_end(handle.cast_mut(), answer) };
    answer
}

/// The callback of pam_conv(3): no panic leaves it.
extern "C" fn converse(
    count: c_int,
    messages: *mut *mut PamMessage,
    responses: *mut *mut PamResponse,
    data: *mut c_void,
) -> c_int {
    catch_unwind(AssertUnwindSafe(|| answer_all(count, messages, responses, data))).unwrap_or(CONV_ERR)
}

fn answer_all(
    count: c_int,
    messages: *mut *mut PamMessage,
    responses: *mut *mut PamResponse,
    data: *mut c_void,
) -> c_int {
    if count <= 0 || count > MOST || messages.is_null() || responses.is_null() || data.is_null() {
        return CONV_ERR;
    }
    let Ok(count) = usize::try_from(count) else { return CONV_ERR };
    // SAFETY: the pointer that `authenticate` gave to libpam, whose value lives until pam_end and is used by nobody else.
    let answering = unsafe { &mut *data.cast::<Answering<'_>>() };
    // SAFETY: an array of C structs for which all zeroes is valid. libpam or the module frees it, so it is malloc's.
    let array = unsafe { libc::calloc(count, size_of::<PamResponse>()) }.cast::<PamResponse>();
    if array.is_null() {
        return BUF_ERR;
    }
    for index in 0..count {
        // SAFETY: Linux-PAM passes an array of `count` pointers to messages.
        let message = unsafe { **messages.add(index) };
        if !QUESTIONS.contains(&message.msg_style) {
            continue;
        }
        let text = match message.msg.is_null() {
            true => String::new(),
            // SAFETY: a message's text ends in NUL.
            false => unsafe { CStr::from_ptr(message.msg) }.to_string_lossy().into_owned(),
        };
        let answer = (answering.ask)(&text).and_then(|answer| CString::new(answer).ok());
        let Some(answer) = answer else {
            // SAFETY: the array and the answers in it are malloc's, and nobody else has them yet.
            unsafe { free_all(array, count) };
            return CONV_ERR;
        };
        // SAFETY: `index` is below the length of the array; strdup's copy is freed by whoever frees the array.
        unsafe { (*array.add(index)).resp = libc::strdup(answer.as_ptr()) };
    }
    // SAFETY: the place that libpam gave for the pointer.
    unsafe { *responses = array };
    SUCCESS
}

/// # Safety
/// `array` must be calloc's, with `count` entries whose texts are malloc's or null, and must not be used afterwards.
unsafe fn free_all(array: *mut PamResponse, count: usize) {
    for index in 0..count {
        // SAFETY: by the caller's promise.
        unsafe { libc::free((*array.add(index)).resp.cast::<c_void>()) };
    }
    // SAFETY: by the caller's promise.
    unsafe { libc::free(array.cast::<c_void>()) };
}
