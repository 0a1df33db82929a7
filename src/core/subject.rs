//! Whose keys an answer is judged by: the user's own, or a decoy's where there are none to judge by.
//!
//! A decoy is an enrollment that belongs to nobody. Attempts for unknown, unenrolled and stale users do the same work on
//! it as wrong codes do on a real one, and spend a budget of their own name: records of a decoy carry a tag, and the
//! fold sees those of one tag only.

use sha2::{Digest, Sha256};

use crate::files::Trouble;
use crate::vault::{Credentials, DECOY_COUNT, Room, Vault, Version};
use crate::verdict::Cause;
use crate::words::{Account, Uid};

/// What an answer is judged by.
pub struct Subject {
    /// Where it is recorded.
    pub room: Room,
    /// The keys.
    pub credentials: Credentials,
    /// Marks the records: zero for a real user.
    pub tag: [u8; 8],
    /// Set where no code can be right, whatever the keys say.
    pub refusal: Option<Cause>,
    /// Whose credentials must not have changed when success is answered; `None` for a decoy.
    origin: Option<(Uid, Version)>,
}

/// Why there is nothing to judge by.
pub struct Nobody {
    /// The cause of the answer.
    pub cause: Cause,
    /// What is wrong, for the log.
    pub trouble: Trouble,
}

impl From<Trouble> for Nobody {
    fn from(trouble: Trouble) -> Self {
        Self { cause: Cause::State, trouble }
    }
}

impl Subject {
    /// The subject behind an account, or behind a name that is none. Reads the credentials as they are now.
    ///
    /// # Errors
    /// [`Nobody`] where state cannot be used.
    pub fn of(vault: &Vault, account: Option<&Account>, name: &[u8]) -> Result<Self, Nobody> {
        let Some(account) = account else { return Self::decoy(vault, name, Cause::UnknownUser) };
        // A folder that is being replaced or removed may be half gone by the time it is read; the next look finds the
        // other one, or none.
        let found = match read(vault, account.uid) {
            Err(_) => read(vault, account.uid)?,
            found => found?,
        };
        let Some((room, credentials, version)) = found else { return Self::decoy(vault, name, Cause::NotEnrolled) };
        if credentials.user != account.name || credentials.uid != account.uid {
            return Self::decoy(vault, name, Cause::Stale);
        }
        let refusal = credentials.revoked.as_ref().map(|_| Cause::Revoked);
        Ok(Self { room, credentials, tag: [0; 8], refusal, origin: Some((account.uid, version)) })
    }

    /// Whether this is a decoy.
    pub fn is_decoy(&self) -> bool {
        self.origin.is_none()
    }

    /// Which version of the credentials this is; `None` for a decoy.
    pub fn version(&self) -> Option<Version> {
        self.origin.map(|(_, version)| version)
    }

    /// Whether the credentials are still the ones that were read: a revocation counts at once.
    ///
    /// # Errors
    /// [`Trouble`] where the kernel cannot say.
    pub fn is_current(&self, vault: &Vault) -> Result<bool, Trouble> {
        self.origin.map_or(Ok(true), |(uid, version)| vault.is_current(uid, version))
    }

    /// A decoy, which refuses with this cause whatever is typed.
    ///
    /// # Errors
    /// [`Nobody`] where it cannot be used.
    pub fn decoy(vault: &Vault, name: &[u8], cause: Cause) -> Result<Self, Nobody> {
        let missing = || Trouble::new(&vault.path().join(".decoy"), "is incomplete; run: qrtotp init");
        let number = Sha256::digest(name).first().copied().unwrap_or(0).checked_rem(DECOY_COUNT).unwrap_or(0);
        let room = vault.decoy(number)?.ok_or_else(|| Nobody { cause, trouble: missing() })?;
        let (credentials, _) = room.credentials()?;
        let tag = tag(&credentials, name);
        Ok(Self { room, credentials, tag, refusal: Some(cause), origin: None })
    }
}

/// What state is kept of a user; `None` where there is no enrollment.
///
/// # Errors
/// [`Trouble`] where it cannot be used.
pub fn read(vault: &Vault, uid: Uid) -> Result<Option<(Room, Credentials, Version)>, Trouble> {
    let Some(room) = vault.room(uid)? else { return Ok(None) };
    let (credentials, version) = room.credentials()?;
    Ok(Some((room, credentials, version)))
}

/// Eight bytes that only this decoy gives this name, and never zero.
fn tag(credentials: &Credentials, name: &[u8]) -> [u8; 8] {
    let digest = Sha256::new().chain_update(credentials.enrollment.0).chain_update(name).finalize();
    let mut tag = [1; 8];
    tag.iter_mut().skip(1).zip(digest.iter()).for_each(|(to, from)| *to = *from);
    tag
}

#[cfg(test)]
mod tests;
