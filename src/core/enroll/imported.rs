//! Devices that were in use elsewhere: all of one user are planned in memory and stored at once, or nothing changes.
//!
//! What another module accepted before must not be good again here, so that each device comes with the step up to which its
//! codes are spent. A login knows nothing of this room.

use super::at_login::free_label;
use super::{Draft, NotStored, Occasion, blank, check_addable, note};
use crate::budget::{Act, Entry, Hit, Limits};
use crate::files::Trouble;
use crate::otp::Secret;
use crate::vault::{Credentials, Device, Journal, MAX_DEVICES, Vault, Version};
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
    /// [`NotStored`]; nothing has changed then but, at most, claims of devices that do not exist. Where what was used in the last
    /// moment cannot be claimed, the new devices are there all the same.
    pub fn store(self, vault: &Vault, occasion: &Occasion<'_>, limits: &Limits) -> Result<EnrollmentId, NotStored> {
        let credentials = &self.credentials;
        match self.onto {
            Onto::Nothing => vault.install(credentials, &self.claims, false)?,
            Onto::Replacing => self.replace(vault, occasion, limits)?,
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

    /// Between the plan and now a login may have used a code of a key that stays, and one may still do so until the old folder
    /// goes; whoever comes later finds it gone, and is refused. So its journal is read right before that, and right after.
    fn replace(&self, vault: &Vault, occasion: &Occasion<'_>, limits: &Limits) -> Result<(), NotStored> {
        let leaving = match Leaving::open(vault, occasion.account) {
            Err(_) if self.is_past_unknown => None,
            opened => opened?,
        };
        let Some(leaving) = leaving else { return Ok(vault.install(&self.credentials, &self.claims, true)?) };
        let before = match leaving.steps(limits) {
            Err(_) if self.is_past_unknown => return Ok(vault.install(&self.credentials, &self.claims, true)?),
            steps => self.spent_by(&steps?),
        };
        let mut claims = self.claims.clone();
        for hit in &before {
            claims.push(note(occasion.now, occasion.source, Act::Claim(*hit), occasion.random)?);
        }
        vault.install(&self.credentials, &claims, true)?;
        let late: Vec<_> =
            self.spent_by(&leaving.steps(limits)?).into_iter().filter(|hit| !before.contains(hit)).collect();
        if late.is_empty() {
            return Ok(());
        }
        let missing = || Trouble::new(vault.path(), "the enrollment changed in the meantime; try again");
        let journal = vault.room(self.credentials.uid)?.ok_or_else(missing)?.journal(&self.credentials)?;
        for hit in late {
            journal.append(&note(occasion.now, occasion.source, Act::Claim(hit), occasion.random)?)?;
        }
        Ok(())
    }

    /// What was claimed of devices that go, as claims of those that have the same keys.
    fn spent_by(&self, going: &[(&Device, Option<Step>)]) -> Vec<Hit> {
        let highest = |device: &Device| {
            let same = going.iter().filter(|(old, _)| old.secret.is_same(&device.secret));
            same.filter_map(|(_, step)| *step).max().map(|step| Hit { device: device.id, step })
        };
        self.credentials.devices.iter().filter_map(highest).collect()
    }
}

/// What goes, held open: it can be read once more after it went.
struct Leaving(Credentials, Journal);

impl Leaving {
    /// `None` where there is no enrollment.
    fn open(vault: &Vault, account: &Account) -> Result<Option<Self>, Trouble> {
        let Some(room) = vault.room(account.uid)? else { return Ok(None) };
        let (credentials, _) = room.credentials()?;
        let journal = room.journal(&credentials)?;
        Ok(Some(Self(credentials, journal)))
    }

    /// The highest step that was claimed of each device, up to now.
    fn steps(&self, limits: &Limits) -> Result<Vec<(&Device, Option<Step>)>, Trouble> {
        let (state, _) = self.1.read()?.fold(limits);
        Ok(self.0.devices.iter().map(|device| (device, state.floor(device.id))).collect())
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
    let Some(leaving) = Leaving::open(vault, occasion.account)? else { return Ok(None) };
    let steps: Vec<_> = leaving.steps(limits)?.into_iter().map(|(_, step)| step).collect();
    Ok(Some(leaving.0.devices.into_iter().zip(steps).collect()))
}

#[cfg(test)]
mod tests;
