//! Users and groups, from the name service.

use std::ffi::CString;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, User, getgrouplist};
use qrtotp_core::ports::{Directory, LookupFailed};
use qrtotp_core::words::{Account, Uid, UserName};

/// getpwnam_r(3), getpwuid_r(3), getgrouplist(3), getgrgid_r(3).
#[derive(Clone, Copy, Debug, Default)]
pub struct Users;

impl Directory for Users {
    fn find(&self, name: &UserName) -> Result<Option<Account>, LookupFailed> {
        found(User::from_name(name.as_str()))
    }

    fn find_uid(&self, uid: Uid) -> Result<Option<Account>, LookupFailed> {
        found(User::from_uid(nix::unistd::Uid::from_raw(uid.0)))
    }

    fn groups(&self, account: &Account) -> Result<Vec<String>, LookupFailed> {
        let user = User::from_name(account.name.as_str()).map_err(|_| LookupFailed)?.ok_or(LookupFailed)?;
        let name = CString::new(account.name.as_str()).map_err(|_| LookupFailed)?;
        let ids = getgrouplist(&name, user.gid).map_err(|_| LookupFailed)?;
        ids.into_iter().filter_map(|gid| group_name(gid).transpose()).collect()
    }

    fn has_group(&self, name: &str) -> Result<bool, LookupFailed> {
        match Group::from_name(name) {
            Ok(group) => Ok(group.is_some()),
            Err(error) if means_absent(error) => Ok(false),
            Err(_) => Err(LookupFailed),
        }
    }
}

impl Users {
    /// The home of an account; `None` where there is no such account, or the name service fails.
    pub fn home(&self, name: &UserName) -> Option<PathBuf> {
        User::from_name(name.as_str()).ok().flatten().map(|user| user.dir)
    }
}

fn found(answer: Result<Option<User>, Errno>) -> Result<Option<Account>, LookupFailed> {
    match answer {
        Ok(found) => found.map(account).transpose(),
        Err(error) if means_absent(error) => Ok(None),
        Err(_) => Err(LookupFailed),
    }
}

/// The group of that id. One without a name is no error: no rule can name it.
fn group_name(gid: Gid) -> Result<Option<String>, LookupFailed> {
    match Group::from_gid(gid) {
        Ok(group) => Ok(group.map(|group| group.name)),
        Err(error) if means_absent(error) => Ok(None),
        Err(_) => Err(LookupFailed),
    }
}

/// getpwnam(3): "The given name or uid was not found", as the name services of the world spell it.
fn means_absent(error: Errno) -> bool {
    matches!(error, Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM)
}

/// Takes over the canonical name. A name service that gives one which cannot be a name is broken, and is not believed.
fn account(user: User) -> Result<Account, LookupFailed> {
    let name = UserName::parse(user.name.as_bytes()).filter(was_utf8).ok_or(LookupFailed)?;
    Ok(Account { name, uid: Uid(user.uid.as_raw()) })
}

/// nix replaces what is not UTF-8; two different names could become equal by that.
fn was_utf8(name: &UserName) -> bool {
    !name.as_str().contains(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> User {
        User { name: name.to_owned(), ..User::from_name("root").unwrap().unwrap() }
    }

    #[test]
    fn root_is_found_under_user_id_0() {
        let name = UserName::parse(b"root").unwrap();
        let root = Account { name: name.clone(), uid: Uid(0) };
        assert_eq!(Users.find(&name), Ok(Some(root.clone())));
        assert_eq!(Users.find_uid(Uid(0)), Ok(Some(root)));
        assert_eq!(Users.find_uid(Uid(4_000_000_001)), Ok(None));
    }

    #[test]
    fn root_is_in_the_group_root() {
        let account = Account { name: UserName::parse(b"root").unwrap(), uid: Uid(0) };
        assert!(Users.groups(&account).unwrap().contains(&"root".to_owned()));
        assert_eq!((Users.has_group("root"), Users.has_group("no-such-group-qrtotp")), (Ok(true), Ok(false)));
    }

    #[test]
    fn groups_of_nobody_are_a_failure_and_not_an_empty_list() {
        let account = Account { name: UserName::parse(b"no-such-user-qrtotp").unwrap(), uid: Uid(4242) };
        assert_eq!(Users.groups(&account), Err(LookupFailed));
    }

    #[test]
    fn a_name_that_nobody_has_is_absent_and_not_an_error() {
        for name in ["no-such-user-qrtotp", "root ", "0", "-l", "%n%s", "\u{fffd}"] {
            let name = UserName::parse(name.as_bytes()).unwrap();
            assert_eq!(Users.find(&name), Ok(None), "{name}");
        }
    }

    #[test]
    fn only_the_errors_of_the_manual_mean_absent() {
        for error in [Errno::ENOENT, Errno::ESRCH, Errno::EBADF, Errno::EPERM] {
            assert!(means_absent(error), "{error}");
        }
        for error in [Errno::EIO, Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ERANGE, Errno::EINTR] {
            assert!(!means_absent(error), "{error}");
        }
    }

    #[test]
    fn a_canonical_name_that_cannot_be_a_name_is_a_failure_of_the_name_service() {
        for name in ["", ".", "..", "a/b", "a\nb", "caf\u{fffd}"] {
            assert_eq!(account(user(name)), Err(LookupFailed), "{name:?}");
        }
        assert!(account(user("Ren\u{e9}")).is_ok());
    }
}
