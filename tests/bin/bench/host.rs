//! libpam from the side of a host that answers one question with one code.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::time::Instant;

#[repr(C)]
struct PamMessage {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct PamResponse {
    text: *mut c_char,
    unused: c_int,
}

#[repr(C)]
struct PamConv {
    function: unsafe extern "C" fn(c_int, *mut *const PamMessage, *mut *mut PamResponse, *mut c_void) -> c_int,
    data: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(service: *const c_char, user: *const c_char, conv: *const PamConv, handle: *mut *mut c_void) -> c_int;
    fn pam_authenticate(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_end(handle: *mut c_void, status: c_int) -> c_int;
}

/// How one login went.
pub struct Login {
    /// What pam_authenticate answered.
    pub code: c_int,
    /// How long it took.
    pub microseconds: f64,
}

/// Logs in once.
pub fn login(service: &str, user: &str, code: &str) -> Login {
    let [service, user, code] = [service, user, code].map(|text| CString::new(text).unwrap());
    let conv = PamConv { function: answer, data: code.as_ptr().cast_mut().cast() };
    let mut handle = ptr::null_mut();
    // SAFETY: the strings end in NUL and outlive the handle; `handle` is a place for one pointer.
    let started = unsafe { pam_start(service.as_ptr(), user.as_ptr(), &raw const conv, &raw mut handle) };
    assert_eq!(started, 0, "pam_start");
    let begun = Instant::now();
    // SAFETY: the handle is alive; the conversation's data is too.
    let code = unsafe { pam_authenticate(handle, 0x8000) };
    let microseconds = begun.elapsed().as_secs_f64() * 1e6;
    // SAFETY: the handle is alive and gone with this call.
    unsafe { pam_end(handle, code) };
    Login { code, microseconds }
}

/// Answers every prompt with the string behind `data`.
///
/// # Safety
/// As libpam calls it: `count` messages, a place at `responses`, and the string that [`login`] gave.
unsafe extern "C" fn answer(
    count: c_int,
    messages: *mut *const PamMessage,
    responses: *mut *mut PamResponse,
    data: *mut c_void,
) -> c_int {
    let count = usize::try_from(count).unwrap();
    // SAFETY: C structs for which all zeroes is valid; the module frees the array and the texts, so they are malloc's.
    let array = unsafe { libc::calloc(count, size_of::<PamResponse>()) }.cast::<PamResponse>();
    for index in 0..count {
        // SAFETY: libpam passes `count` pointers to messages; the array above has as many places.
        unsafe {
            if (**messages.add(index)).style <= 2 {
                (*array.add(index)).text = libc::strdup(data.cast());
            }
        }
    }
    // SAFETY: a place for one pointer.
    unsafe { *responses = array };
    0
}

/// Microseconds of the first dlopen of a module.
pub fn load(file: &str) -> f64 {
    let file = CString::new(file).unwrap();
    let begun = Instant::now();
    // SAFETY: a path that ends in NUL; PAM modules may be loaded by anybody.
    let library = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW) };
    let microseconds = begun.elapsed().as_secs_f64() * 1e6;
    if library.is_null() {
        // SAFETY: after a failed dlopen the message is a string.
        panic!("{:?}", unsafe { CStr::from_ptr(libc::dlerror()) });
    }
    microseconds
}

/// Kilobytes of resident memory that a first, refused login adds to a process that has loaded libpam already.
pub fn memory(service: &str, user: &str) -> f64 {
    login("other", user, "000000");
    let before = resident();
    login(service, user, "000000");
    resident() - before
}

fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as f64 / 1000.0
}
