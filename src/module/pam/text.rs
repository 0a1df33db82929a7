//! C strings of the host, copied.

use std::ffi::CStr;
use std::slice;

use libc::{c_char, c_int};
use qrtotp_core::ports::Answer;
use zeroize::Zeroizing;

/// Longest text that is copied, in bytes. It is beyond every user name (256) and every path (4096), so that what had to
/// be cut is still refused for its length.
const LONGEST: usize = 8192;

/// Copies a C string, cut at [`LONGEST`]; `None` for NULL.
///
/// # Safety
/// `text` is NULL or a C string that nobody changes during this call.
pub unsafe fn copy(text: *const c_char) -> Option<Vec<u8>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: `text` is a C string, and strnlen reads no further than its NUL.
    let length = unsafe { libc::strnlen(text, LONGEST) };
    // SAFETY: these bytes lie before the NUL, and nobody changes them while they are copied.
    Some(unsafe { slice::from_raw_parts(text.cast::<u8>(), length) }.to_vec())
}

/// Copies a C string that may be a secret, whole, into memory that is wiped; `None` for NULL or without memory.
///
/// It is not cut: the first part of a long answer is not what was typed.
///
/// # Safety
/// As for [`copy`].
pub unsafe fn copy_secret(text: *const c_char) -> Option<Answer> {
    if text.is_null() {
        return None;
    }
    // SAFETY: `text` is a C string, and nobody changes it while it is copied.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    let mut copy = Vec::new();
    // One reservation of the whole length: a vector that grows leaves its old memory behind as it is.
    copy.try_reserve_exact(bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(Answer::new(copy))
}

/// A copy with a NUL at its end, wiped when it goes: the picture of a new key, and passwords, pass here. `None` if it
/// holds a NUL, or without memory.
pub fn terminated(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if text.contains(&0) {
        return None;
    }
    let mut copy = Zeroizing::new(Vec::new());
    // One reservation of the whole length: a vector that grows leaves its old memory behind as it is.
    copy.try_reserve_exact(text.len().checked_add(1)?).ok()?;
    copy.extend_from_slice(text);
    copy.push(0);
    Some(copy)
}

/// The words after `pam_qrtotp.so` in a service file; `None` where the pointers are not those of libpam.
///
/// # Safety
/// `argv` is NULL or points to `argc` pointers, each NULL or to a C string, and nobody changes them during this call.
pub unsafe fn words(argc: c_int, argv: *const *const c_char) -> Option<Vec<Vec<u8>>> {
    let count = usize::try_from(argc).ok()?;
    if count == 0 {
        return Some(Vec::new());
    }
    if argv.is_null() {
        return None;
    }
    // SAFETY: `argv` is not NULL, so it points to `argc` pointers.
    let pointers = unsafe { slice::from_raw_parts(argv, count) };
    // SAFETY: each pointer is NULL or one to a C string.
    pointers.iter().map(|text| unsafe { copy(*text) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::ptr::null;

    #[test]
    fn text_is_copied_as_bytes_and_cut_where_it_is_too_long() {
        let long = CString::new(vec![b'a'; 70_000]).unwrap();
        // SAFETY: NULL and C strings.
        unsafe {
            assert_eq!(copy(null()), None);
            assert_eq!(copy(c"".as_ptr()).unwrap(), b"");
            assert_eq!(copy(c"\xff\n".as_ptr()).unwrap(), b"\xff\n");
            assert_eq!(copy(long.as_ptr()).unwrap().len(), LONGEST);
        }
    }

    #[test]
    fn a_secret_is_copied_whole() {
        let long = CString::new(vec![b'a'; 1 << 20]).unwrap();
        // SAFETY: NULL and C strings.
        unsafe {
            assert!(copy_secret(null()).is_none());
            assert_eq!(copy_secret(c"123456".as_ptr()).unwrap().bytes(), b"123456");
            assert_eq!(copy_secret(long.as_ptr()).unwrap().bytes(), long.as_bytes());
        }
    }

    #[test]
    fn no_words_need_no_pointer() {
        // SAFETY: no pointer is followed.
        assert_eq!(unsafe { words(0, null()) }, Some(Vec::new()));
    }

    #[test]
    fn words_come_in_order() {
        let argv = [c"debug".as_ptr(), c"config=/a".as_ptr()];
        // SAFETY: two C strings.
        assert_eq!(unsafe { words(2, argv.as_ptr()) }, Some(vec![b"debug".to_vec(), b"config=/a".to_vec()]));
    }
}
