//! The handle of one call, and what the host says through it.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};

use libc::{c_char, c_int, c_uint};
use pam_sys::{PamHandle, raw};
use qrtotp_core::ports::{Answer, NoConversation};

use super::{codes, text};

unsafe extern "C" {
    /// pam_fail_delay(3), which pam-sys lacks.
    fn pam_fail_delay(handle: *mut PamHandle, microseconds: c_uint) -> c_int;
}

/// A text that the host may have set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// PAM_SERVICE: which program.
    Service = 1,
    /// PAM_TTY: the terminal of the caller.
    Terminal = 3,
    /// PAM_RHOST: the host of the caller.
    RemoteHost = 4,
    /// PAM_RUSER: the caller.
    RemoteUser = 8,
}

/// The handle that libpam passed to an entry point, for as long as that runs.
pub struct Handle<'call> {
    raw: NonNull<PamHandle>,
    call: PhantomData<&'call mut PamHandle>,
}

impl Handle<'_> {
    /// Takes the pointer over; `None` for NULL.
    ///
    /// # Safety
    /// `raw` is NULL or a handle that stays live, and that no other thread uses, as long as this value lives.
    pub unsafe fn new(raw: *mut PamHandle) -> Option<Self> {
        Some(Self { raw: NonNull::new(raw)?, call: PhantomData })
    }

    /// A text of the host's; `None` where it set none. Long texts are cut, beyond any length that is accepted.
    pub fn text(&self, item: Item) -> Option<Vec<u8>> {
        // SAFETY: all of `Item` are C strings or NULL (pam_get_item(3)), and libpam leaves them alone while we copy.
        unsafe { text::copy(self.item(item as c_int).cast()) }
    }

    /// The password that an earlier module of the stack asked for (PAM_AUTHTOK).
    pub fn password(&self) -> Option<Answer> {
        // SAFETY: PAM_AUTHTOK is a C string or NULL (pam_get_item(3)), and libpam leaves it alone while we copy.
        unsafe { text::copy_secret(self.item(codes::AUTHTOK).cast()) }
    }

    /// Hands a password on to the modules that come after this one (PAM_AUTHTOK). libpam keeps a copy, which it wipes.
    ///
    /// # Errors
    /// [`NoConversation`] where libpam does not take it.
    pub fn set_password(&self, password: &[u8]) -> Result<(), NoConversation> {
        let password = text::terminated(password).ok_or(NoConversation)?;
        // SAFETY: the handle is live, and the item is a C string, which libpam copies.
        let code = unsafe { raw::pam_set_item(self.raw.as_ptr(), codes::AUTHTOK, password.as_ptr().cast()) };
        if code == codes::SUCCESS { Ok(()) } else { Err(NoConversation) }
    }

    /// What pam_unix answered earlier in this stack, as it keeps it for its own pam_sm_setcred; `None` where it was not
    /// asked. It always was an int under this name, in Linux-PAM and in its forks.
    pub fn unix_answer(&self) -> Option<c_int> {
        let mut data = null();
        // SAFETY: the handle is live, the name is a C string, and `data` can be written to.
        let code = unsafe { raw::pam_get_data(self.raw.as_ptr(), c"unix_setcred_return".as_ptr(), &mut data) };
        if code != codes::SUCCESS {
            return None;
        }
        // SAFETY: NULL, or the int that pam_unix allocated and frees when the handle ends.
        unsafe { data.cast::<c_int>().as_ref() }.copied()
    }

    /// Asks libpam to wait about so many microseconds before it answers, if the answer is a failure.
    pub fn delay_failure(&self, microseconds: c_uint) {
        // SAFETY: the handle is live. What it answers changes nothing here: a host may want no delays.
        unsafe { pam_fail_delay(self.raw.as_ptr(), microseconds) };
    }

    /// A variable of the PAM environment, which the host and its modules write and the person does not.
    pub fn variable(&self, name: &CStr) -> Option<Vec<u8>> {
        // SAFETY: the handle is live, `name` is a C string, and what comes back is NULL or a C string of libpam's that it
        // leaves alone while we copy (pam_getenv(3)).
        unsafe { text::copy(raw::pam_getenv(self.raw.as_ptr(), name.as_ptr())) }
    }

    /// Who logs in; the person is asked if the host does not know yet.
    ///
    /// # Errors
    /// The code of pam_get_user(3), where there is no name.
    pub fn user(&self) -> Result<Vec<u8>, c_int> {
        let mut name: *const c_char = null();
        // SAFETY: the handle is live, `name` can be written to, and NULL stands for the prompt of the host.
        let code = unsafe { raw::pam_get_user(self.raw.as_ptr(), &mut name, null()) };
        if code != codes::SUCCESS {
            return Err(code);
        }
        // SAFETY: after success `name` is NULL or a C string that libpam keeps until the name changes.
        unsafe { text::copy(name) }.ok_or(codes::CONV_ERR)
    }

    /// An item as libpam has it; NULL where it is not set or not given. It lives until somebody sets it anew.
    pub(super) fn item(&self, item: c_int) -> *const c_void {
        let mut value = null();
        // SAFETY: the handle is live, and `value` can be written to.
        let code = unsafe { raw::pam_get_item(self.raw.as_ptr(), item, &mut value) };
        if code == codes::SUCCESS { value } else { null_mut() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pam::stage::{Behaviour, Question, Stage};

    #[test]
    fn null_is_no_handle() {
        // SAFETY: NULL is allowed.
        assert!(unsafe { Handle::new(null_mut()) }.is_none());
    }

    #[test]
    fn items_are_what_the_host_set() {
        let stage = Stage::new().with(Item::RemoteHost, "\u{1b}[31m\n").with(Item::RemoteUser, "");
        let handle = stage.handle();
        assert_eq!(handle.text(Item::Service).unwrap(), Stage::SERVICE.as_bytes());
        assert_eq!(handle.text(Item::RemoteHost).unwrap(), b"\x1b[31m\n");
        assert_eq!(handle.text(Item::RemoteUser).unwrap(), b"");
        assert_eq!(handle.text(Item::Terminal), None);
    }

    #[test]
    fn a_password_is_absent_where_nobody_asked_for_one() {
        assert!(Stage::new().handle().password().is_none());
    }

    /// libpam takes and gives passwords only while a module runs, which is not so here.
    #[test]
    fn a_password_that_libpam_does_not_take_is_an_error() {
        let stage = Stage::new();
        assert_eq!(stage.handle().set_password(b"hunter2"), Err(NoConversation));
        assert_eq!(stage.handle().set_password(b"hun\0ter2"), Err(NoConversation));
        assert!(stage.handle().password().is_none());
    }

    #[test]
    fn pam_unix_said_nothing_where_it_was_not_asked() {
        assert_eq!(Stage::new().handle().unix_answer(), None);
    }

    #[test]
    fn a_variable_is_what_was_put_into_the_pam_environment() {
        let stage = Stage::new();
        assert_eq!(stage.handle().variable(c"SSH_AUTH_INFO_0"), None);
        // SAFETY: a live handle and a C string, which libpam copies.
        unsafe { raw::pam_putenv(stage.raw(), c"SSH_AUTH_INFO_0=publickey x".as_ptr()) };
        assert_eq!(stage.handle().variable(c"SSH_AUTH_INFO_0").unwrap(), b"publickey x");
    }

    #[test]
    fn a_user_that_the_host_knows_is_not_asked_for() {
        let stage = Stage::for_user(Some(c"alice"));
        assert_eq!(stage.handle().user(), Ok(b"alice".to_vec()));
        assert_eq!(stage.questions(), []);
    }

    #[test]
    fn an_unknown_user_is_asked_for() {
        let stage = Stage::for_user(None).answering(Behaviour::Answer(b"bob".to_vec()));
        assert_eq!(stage.handle().user(), Ok(b"bob".to_vec()));
        assert!(matches!(stage.questions().as_slice(), [Question { style: 2, .. }]));
    }

    #[test]
    fn a_host_that_cannot_be_asked_gives_no_user() {
        for behaviour in [Behaviour::Fail(19), Behaviour::Fail(30), Behaviour::NoArray, Behaviour::NoText] {
            let stage = Stage::for_user(None).answering(behaviour.clone());
            assert!(stage.handle().user().is_err(), "{behaviour:?}");
        }
    }

    #[test]
    fn a_name_of_any_length_comes_back_too_long_to_be_one() {
        let name = std::ffi::CString::new(vec![b'a'; 70_000]).unwrap();
        let user = Stage::for_user(Some(&name)).handle().user().unwrap();
        assert!(user.len() > qrtotp_core::words::UserName::MAX);
    }
}
