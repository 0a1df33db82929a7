//! Devices that were in use elsewhere: all of one user are planned in memory and stored at once, or nothing changes.
//!
//! What another module accepted before must not be good again here, so that each device comes with the step up to which its
//! codes are spent. A login knows nothing of this room.

use super::at_login::free_label;
use super::{Draft, NotStored, Occasion, blank, check_addable, note};
use crate::budget::{Act, Entry, Hit, Limits};
use crate::files::Trouble;
use crate::otp::Secret;
use crate::vault::{Credentials, Device, MAX_DEVICES, Vault, Version};
use crate::words::{Account, DeviceId, EnrollmentId, Label, Step};

/// The enrollment of one user as it will be, and nothing of it stored.
pub struct Import {
    credentials: Credentials,
    claims: Vec<Entry>,
    onto: Onto,
    /// The devices that go.
    going: Vec<Going>,
    /// Whether what goes could not be read, and so may know of codes that were used.
    is_past_unknown: bool,
}

/// A device that goes, and the highest step that was claimed of it.
type Going = (Device, Option<Step>);

/// What it is stored onto.
enum Onto {
    /// Nothing is there.
    Nothing,
    /// Whatever is there goes.
    Replacing,
    /// The devices come beside those of this version.
    Beside(Version),
}

impl Import {
    /// Looks what is there. With `replace` it will go.
    ///
    /// # Errors
    /// [`NotStored`] where nothing could be stored: revoked, another account's, damaged.
    pub fn begin(vault: &Vault, occasion: &Occasion<'_>, limits: &Limits, replace: bool) -> Result<Self, NotStored> {
        let fresh = |onto| -> Result<Self, NotStored> {
            let credentials = blank(occasion.account, occasion.now.wall, occasion.random)?;
            Ok(Self { credentials, claims: Vec::new(), onto, going: Vec::new(), is_past_unknown: false })
        };
        if replace {
            return match going(vault, occasion, limits) {
                Ok(None) => fresh(Onto::Nothing),
                Ok(Some(going)) => Ok(Self { going, ..fresh(Onto::Replacing)? }),
                Err(_) => Ok(Self { is_past_unknown: true, ..fresh(Onto::Replacing)? }),
            };
        }
        let Some(room) = vault.room(occasion.account.uid)? else { return fresh(Onto::Nothing) };
        let (credentials, version) = room.credentials()?;
        if let Some(why) = obstacle(&credentials, occasion.account) {
            return Err(why);
        }
        // A device beside a journal that refuses everybody would be no device.
        room.journal(&credentials)?.read()?;
        let onto = Onto::Beside(version);
        Ok(Self { credentials, claims: Vec::new(), onto, going: Vec::new(), is_past_unknown: false })
    }

    /// Whether the user is enrolled and stays so.
    pub fn is_beside(&self) -> bool {
        matches!(self.onto, Onto::Beside(_))
    }

    /// Whether something that is there goes.
    pub fn is_replacing(&self) -> bool {
        matches!(self.onto, Onto::Replacing)
    }

    /// The device that has this very key already.
    pub fn twin(&self, secret: &Secret) -> Option<&Device> {
        self.credentials.devices.iter().find(|device| device.secret.is_same(secret))
    }

    /// Plans one more device, whose codes up to `spent` are none. Its label gets a number where another one has it.
    ///
    /// # Errors
    /// [`NotStored`] where the user has as many as may be, or there are no random numbers.
    pub fn add(
        &mut self,
        occasion: &Occasion<'_>,
        draft: Draft,
        spent: Option<Step>,
        most: usize,
    ) -> Result<(DeviceId, Label), NotStored> {
        let label = free_label(&self.credentials, &draft.label);
        check_addable(&self.credentials, occasion.account, &label, most)?;
        let before = self.going.iter().filter(|(device, _)| device.secret.is_same(&draft.secret));
        let before = before.filter_map(|(_, step)| *step).max();
        let now = self.is_past_unknown.then(|| draft.shape.step_at(occasion.now.wall));
        if let Some(step) = [spent, before, now].into_iter().flatten().max() {
            let claim = Act::Claim(Hit { device: draft.id, step });
            self.claims.push(note(occasion.now, occasion.source, claim, occasion.random)?);
        }
        let named = (draft.id, label.clone());
        self.credentials.devices.push(Draft { label, ..draft }.into_device(occasion.now));
        Ok(named)
    }

    /// Stores what was planned: the spent steps before the devices can log in.
    ///
    /// # Errors
    /// [`NotStored`]; nothing has changed then but, at most, claims of devices that do not exist.
    pub fn store(self, vault: &Vault) -> Result<EnrollmentId, NotStored> {
        let credentials = &self.credentials;
        match self.onto {
            Onto::Nothing => vault.install(credentials, &self.claims, false)?,
            Onto::Replacing => vault.install(credentials, &self.claims, true)?,
            Onto::Beside(version) => {
                let changed = || Trouble::new(vault.path(), "the enrollment changed in the meantime; try again");
                let room = vault.lock(credentials.uid)?.ok_or_else(changed)?;
                if room.credentials()?.1 != version {
                    return Err(changed().into());
                }
                let journal = room.journal(credentials)?;
                self.claims.iter().try_for_each(|claim| journal.append(claim).map(drop))?;
                room.replace_credentials_if(credentials, || Ok(()))?;
                room.check_in_place(vault)?;
            }
        }
        Ok(credentials.enrollment)
    }
}

/// Why no device may come beside those that are there; whether one more has room is asked for each.
fn obstacle(credentials: &Credentials, account: &Account) -> Option<NotStored> {
    // Looked at after the rest, and of no importance: a tombstone has no device.
    let label = Label::parse("device")?;
    check_addable(credentials, account, &label, MAX_DEVICES)
        .err()
        .filter(|why| matches!(why, NotStored::NeedsReplace(_)))
}

/// The devices that are there, each with the highest step that was claimed of it. `None` where there is no enrollment.
fn going(vault: &Vault, occasion: &Occasion<'_>, limits: &Limits) -> Result<Option<Vec<Going>>, Trouble> {
    let Some(room) = vault.room(occasion.account.uid)? else { return Ok(None) };
    let (credentials, _) = room.credentials()?;
    let (state, _) = room.journal(&credentials)?.read()?.fold(limits);
    let with_step = |device: Device| {
        let step = state.floor(device.id);
        (device, step)
    };
    Ok(Some(credentials.devices.into_iter().map(with_step).collect()))
}

#[cfg(test)]
mod tests;
