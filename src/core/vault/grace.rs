//! `.grace/UID-NAMEHASH`: one byte a login without enrollment that a rule let in.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{Vault, make_folder};
use crate::files::Trouble;
use crate::words::{Account, Uid};

const GRACE: &str = ".grace";

impl Vault {
    /// How many logins without enrollment were let in.
    ///
    /// # Errors
    /// [`Trouble`] where the kernel cannot say.
    pub fn grace_used(&self, account: &Account) -> Result<u64, Trouble> {
        let Some(folder) = self.folder.folder(GRACE)? else { return Ok(0) };
        let stat = folder.stat(&name_of(account))?;
        Ok(stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(u64::MAX)))
    }

    /// The user ids of whom such logins were counted, in order.
    ///
    /// # Errors
    /// [`Trouble`] where they cannot be listed.
    pub fn grace_uids(&self) -> Result<Vec<Uid>, Trouble> {
        let Some(folder) = self.folder.folder(GRACE)? else { return Ok(Vec::new()) };
        let uid = |name: &String| name.split('-').next()?.parse().ok().map(Uid);
        let mut uids: Vec<_> = folder.names()?.iter().filter_map(uid).collect();
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    /// Counts one more of them; gives how many there are then.
    ///
    /// # Errors
    /// [`Trouble`] where it is not surely on disk.
    pub fn count_grace(&self, account: &Account) -> Result<u64, Trouble> {
        make_folder(&self.folder.path.join(GRACE))?;
        let missing = || Trouble::new(&self.folder.path.join(GRACE), "vanished");
        self.folder.folder(GRACE)?.ok_or_else(missing)?.append_byte(&name_of(account), b'.')
    }

    /// Forgets how many there were, under any name of that user id.
    ///
    /// # Errors
    /// [`Trouble`] where the number stays.
    pub fn forget_grace(&self, uid: Uid) -> Result<(), Trouble> {
        let Some(folder) = self.folder.folder(GRACE)? else { return Ok(()) };
        let own = format!("{}-", uid.0);
        folder.names()?.iter().filter(|name| name.starts_with(&own)).try_for_each(|name| folder.remove(name))
    }
}

/// By user id and name: whoever gets the id next starts anew.
fn name_of(account: &Account) -> String {
    let digest = Sha256::digest(account.name.as_str());
    let begin: Vec<u8> = digest.iter().take(8).copied().collect();
    format!("{}-{}", account.uid.0, HEXLOWER.encode(&begin))
}
