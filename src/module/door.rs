//! The two entry points: pointers in, a C code out. No logic.
#![allow(unsafe_code)]

use libc::{c_char, c_int};
use pam_sys::PamHandle;
use qrtotp_core::verdict::{Cause, PamAnswer};

use crate::call;
use crate::pam::{Flags, Handle, code, words};
use crate::panics::contain;

/// Asks for the second factor: pam_sm_authenticate(3).
///
/// # Safety
/// To be called by libpam: `handle` is NULL or a live handle that nobody else uses during the call, and `argv` is NULL
/// or points to `argc` pointers, each NULL or to a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_authenticate(
    handle: *mut PamHandle,
    flags: c_int,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    let cause = contain(|| {
        // SAFETY: the caller promises of `handle`, `argc` and `argv` what these two ask for.
        let (handle, words) = unsafe { (Handle::new(handle), words(argc, argv)) };
        match (handle, words) {
            (Some(handle), Some(words)) => authenticate(&handle, Flags::parse(flags), &words),
            _ => Cause::Argument,
        }
    });
    code(cause.unwrap_or(Cause::Panic).answer())
}

/// Sets no credentials: pam_sm_setcred(3).
///
/// Success whatever came before: sshd calls it in another process, which knows nothing of the login, up to three times.
///
/// # Safety
/// None is needed: no pointer is followed. It is `unsafe` as libpam's prototype is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_setcred(
    _handle: *mut PamHandle,
    _flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    code(PamAnswer::Success)
}

/// A panic inside is recorded from outside, where the log is known to be whole.
fn authenticate(handle: &Handle<'_>, flags: Flags, words: &[Vec<u8>]) -> Cause {
    contain(|| call::authenticate(handle, flags, words))
        .unwrap_or_else(|panic| call::record_panic(handle, &panic.place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pam::stage::Stage;
    use std::ptr::{null, null_mut};

    /// PAM_SERVICE_ERR
    const SERVICE_ERR: c_int = 3;

    fn knock(handle: *mut PamHandle, argc: c_int, argv: *const *const c_char) -> c_int {
        // SAFETY: every caller below passes NULL or a live handle, and NULL or an array of at least `argc` strings.
        unsafe { pam_sm_authenticate(handle, 0, argc, argv) }
    }

    #[test]
    fn pointers_that_libpam_never_passes_are_refused() {
        let stage = Stage::new();
        let (nobody, live) = (null_mut(), stage.raw());
        let hole = [c"debug".as_ptr(), null()];
        let table = [
            ("no handle", nobody, 0, null()),
            ("no handle, with arguments", nobody, 1, hole.as_ptr()),
            ("negative count", live, -1, hole.as_ptr()),
            ("least count", live, c_int::MIN, hole.as_ptr()),
            ("no arguments where one is said to be", live, 1, null()),
            ("an argument that is NULL", live, 2, hole.as_ptr()),
        ];
        for (name, handle, argc, argv) in table {
            assert_eq!(knock(handle, argc, argv), SERVICE_ERR, "{name}");
        }
        assert_eq!(stage.questions(), []);
    }

    #[test]
    fn an_unknown_argument_is_a_service_error() {
        let stage = Stage::new();
        let words = [c"nullok".as_ptr()];
        assert_eq!(knock(stage.raw(), 1, words.as_ptr()), SERVICE_ERR);
    }

    #[test]
    fn setting_credentials_always_succeeds() {
        let stage = Stage::new();
        for (handle, flags, argc) in [(null_mut(), 0, 0), (stage.raw(), 2, -1), (stage.raw(), -1, 7)] {
            // SAFETY: no pointer is followed.
            assert_eq!(unsafe { pam_sm_setcred(handle, flags, argc, null()) }, 0);
        }
    }
}
