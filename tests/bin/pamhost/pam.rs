//! libpam from the side of a host.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

use qrtotp_tests::script::Script;

use crate::conversation::{self, Conversation};

/// The service module of libpam's items.
pub const USER: c_int = 2;
/// PAM_RHOST
pub const RHOST: c_int = 4;
const TTY: c_int = 3;
const RUSER: c_int = 8;

/// `struct pam_message`
#[repr(C)]
pub struct PamMessage {
    /// `msg_style`
    pub style: c_int,
    /// `msg`
    pub text: *const c_char,
}

/// `struct pam_response`
#[repr(C)]
pub struct PamResponse {
    /// `resp`
    pub text: *mut c_char,
    /// `resp_retcode`, unused
    pub unused: c_int,
}

/// The function of `struct pam_conv`.
pub type Converse = unsafe extern "C" fn(c_int, *mut *const PamMessage, *mut *mut PamResponse, *mut c_void) -> c_int;

/// `struct pam_conv`
#[repr(C)]
pub struct PamConv {
    /// `conv`
    pub function: Option<Converse>,
    /// `appdata_ptr`
    pub data: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conv: *const PamConv,
        folder: *const c_char,
        handle: *mut *mut c_void,
    ) -> c_int;
    fn pam_authenticate(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_setcred(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_set_item(handle: *mut c_void, item: c_int, value: *const c_void) -> c_int;
    fn pam_putenv(handle: *mut c_void, line: *const c_char) -> c_int;
    fn pam_end(handle: *mut c_void, status: c_int) -> c_int;
}

/// One handle.
pub struct Handle {
    raw: *mut c_void,
    last: c_int,
}

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("a name without NUL")
}

impl Handle {
    /// pam_start_confdir, and the items of the script.
    pub fn start(script: &Script, conversation: &Conversation) -> Self {
        let user = script.user.as_deref().map(c_string);
        let conv = PamConv {
            function: (!script.no_conversation).then_some(conversation::converse as Converse),
            data: conversation.as_data(),
        };
        let mut raw = ptr::null_mut();
        let service = c_string(script.service.as_bytes());
        // SAFETY: the strings end in NUL and outlive the call, which copies them and the conv; the data of the conv outlives
        // the handle, because `perform` keeps it until the end. `raw` is a place for one pointer.
        let code = unsafe {
            pam_start_confdir(
                service.as_ptr(),
                user.as_ref().map_or(ptr::null(), |user| user.as_ptr()),
                &raw const conv,
                c"/etc/pam.d".as_ptr(),
                &raw mut raw,
            )
        };
        assert_eq!(code, 0, "pam_start_confdir");
        let mut handle = Self { raw, last: 0 };
        for (item, value) in [(RHOST, &script.rhost), (TTY, &script.tty), (RUSER, &script.ruser)] {
            if let Some(value) = value {
                assert_eq!(handle.set_item(item, value), 0, "pam_set_item");
            }
        }
        for line in &script.environment {
            let line = c_string(line.as_bytes());
            // SAFETY: the handle is alive, the line ends in NUL and is copied.
            assert_eq!(unsafe { pam_putenv(handle.raw, line.as_ptr()) }, 0, "pam_putenv");
        }
        handle
    }

    /// pam_authenticate
    pub fn authenticate(&mut self, flags: c_int) -> c_int {
        // SAFETY: the handle is alive until `end`, which consumes it.
        self.last = unsafe { pam_authenticate(self.raw, flags) };
        self.last
    }

    /// pam_setcred
    pub fn setcred(&mut self, flags: c_int) -> c_int {
        // SAFETY: as above.
        self.last = unsafe { pam_setcred(self.raw, flags) };
        self.last
    }

    /// pam_set_item of a text.
    pub fn set_item(&mut self, item: c_int, value: &[u8]) -> c_int {
        let value = c_string(value);
        // SAFETY: the handle is alive; these items are strings, which libpam copies.
        unsafe { pam_set_item(self.raw, item, value.as_ptr().cast()) }
    }

    /// pam_end
    pub fn end(self) -> c_int {
        // SAFETY: the handle is alive and gone with this call.
        unsafe { pam_end(self.raw, self.last) }
    }
}
