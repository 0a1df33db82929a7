//! What a login stores when somebody enrolls. Two logins, or a login and a command, may do so at once, and any of them may be
//! frozen: everything is looked at again when it stands ready, and one of them is the first.

use super::{Draft, NotStored, Occasion, blank, check_addable, note, random_bytes};
use crate::budget::{Act, Entry, Hit};
use crate::files::Trouble;
use crate::policy::Policy;
use crate::vault::{Credentials, Device, LockedRoom, MAX_DEVICES, Recovery, Replaced, Ticket, Tickets, Vault};
use crate::words::{Account, AttemptId, EnrollmentId, Label, Step, WallTime};

/// What lets somebody enroll at a login.
#[derive(Clone, Copy)]
pub enum Permit<'a> {
    /// A ticket, which is spent by it.
    Ticket(&'a Tickets, &'a Ticket),
    /// The factor that came before: a first enrollment only, as long as this policy is the one.
    FirstFactor(&'a Policy),
}

impl<'a> Permit<'a> {
    fn ticket(self) -> Option<&'a Ticket> {
        match self {
            Self::Ticket(_, ticket) => Some(ticket),
            Self::FirstFactor(_) => None,
        }
    }

    /// Looked at when everything stands ready, right before it counts.
    fn check(self, now: WallTime) -> Result<(), Trouble> {
        match self {
            Self::Ticket(tickets, ticket) => tickets.check_good(ticket, now),
            Self::FirstFactor(policy) if policy.is_current() => Ok(()),
            Self::FirstFactor(policy) => Err(Trouble::new(&policy.state_dir, "the policy changed during the login")),
        }
    }
}

/// What an enrollment at a login came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    /// The user had no enrollment, or a revoked one.
    First,
    /// One more device.
    Added,
    /// A device in place of another one.
    InPlace,
}

/// Stores what was enrolled at a login: a first enrollment, one after a revocation, one more device, or one in place of
/// another. A first enrollment has no recovery codes yet, see [`store_recovery`]. The confirmed step is claimed.
///
/// Whatever is there is looked at again here, and the ticket last of all: two logins at once make one enrollment.
///
/// # Errors
/// [`NotStored`]; nothing has changed then, and the ticket is as good as before.
pub fn store_at_login(
    vault: &Vault,
    occasion: &Occasion<'_>,
    draft: Draft,
    confirmed: Step,
    permit: Permit<'_>,
    most: usize,
) -> Result<(EnrollmentId, Stored), NotStored> {
    let attempt = AttemptId(random_bytes(occasion.random)?);
    let Some(room) = vault.lock(occasion.account.uid)? else {
        return store_first(vault, occasion, draft, confirmed, permit, attempt);
    };
    let (credentials, _) = room.credentials()?;
    let done = match (&credentials.revoked, permit.ticket()) {
        (_, None) => return Err(NotStored::Taken),
        (Some(revoked), Some(ticket)) if revoked.time < ticket.made => {
            let (fresh, entry) = first_credentials(occasion, draft, confirmed, permit)?;
            room.start_afresh_if(&fresh, &[entry], || permit.check(occasion.now.wall))?;
            (fresh.enrollment, Stored::First)
        }
        (Some(_), Some(_)) => return Err(NotStored::NeedsReplace("the enrollment was revoked")),
        (None, Some(ticket)) => add_at_login(&room, occasion, draft, confirmed, permit, (credentials, ticket), most)?,
    };
    room.check_in_place(vault)?;
    Ok(done)
}

fn store_first(
    vault: &Vault,
    occasion: &Occasion<'_>,
    draft: Draft,
    confirmed: Step,
    permit: Permit<'_>,
    attempt: AttemptId,
) -> Result<(EnrollmentId, Stored), NotStored> {
    let (credentials, entry) = first_credentials(occasion, draft, confirmed, permit)?;
    let staging = match permit {
        Permit::Ticket(tickets, ticket) => tickets.staging(ticket.id, attempt),
        Permit::FirstFactor(_) => vault.staging(occasion.account.uid, attempt),
    };
    match vault.install_first(&staging, &credentials, &[entry], || permit.check(occasion.now.wall))? {
        true => Ok((credentials.enrollment, Stored::First)),
        false => Err(NotStored::Taken),
    }
}

fn first_credentials(
    occasion: &Occasion<'_>,
    draft: Draft,
    confirmed: Step,
    permit: Permit<'_>,
) -> Result<(Credentials, Entry), NotStored> {
    let claim = Act::Claim(Hit { device: draft.id, step: confirmed });
    let entry = note(occasion.now, occasion.source, claim, occasion.random)?;
    let mut credentials = blank(occasion.account, occasion.now.wall, occasion.random)?;
    let ticket = permit.ticket().map(|ticket| ticket.id);
    credentials.devices.push(Device { ticket, ..draft.into_device(occasion.now) });
    Ok((credentials, entry))
}

fn add_at_login(
    room: &LockedRoom,
    occasion: &Occasion<'_>,
    draft: Draft,
    confirmed: Step,
    permit: Permit<'_>,
    (mut credentials, ticket): (Credentials, &Ticket),
    most: usize,
) -> Result<(EnrollmentId, Stored), NotStored> {
    if credentials.devices.iter().any(|device| device.ticket == Some(ticket.id)) {
        return Err(NotStored::Taken);
    }
    let replaced = Replaced { by: draft.id, until: occasion.now.wall, step: confirmed };
    let stored = make_way(&mut credentials, ticket, replaced);
    let label = free_label(&credentials, &draft.label);
    let draft = Draft { label, ..draft };
    // The one that goes does not count.
    let most = if stored == Stored::InPlace { MAX_DEVICES } else { most };
    check_addable(&credentials, occasion.account, &draft.label, most)?;
    let journal = room.journal(&credentials)?;
    journal.read()?;
    let claim = Act::Claim(Hit { device: draft.id, step: confirmed });
    journal.append(&note(occasion.now, occasion.source, claim, occasion.random)?)?;
    credentials.devices.push(Device { ticket: Some(ticket.id), ..draft.into_device(occasion.now) });
    room.replace_credentials_if(&credentials, || permit.check(occasion.now.wall))?;
    Ok((credentials.enrollment, stored))
}

/// Marks the device that the new one takes the place of; removes it at once where both together were too many.
fn make_way(credentials: &mut Credentials, ticket: &Ticket, replaced: Replaced) -> Stored {
    let Some(replacement) = ticket.replaces else { return Stored::Added };
    let is_old = |device: &Device| device.id == replacement.device;
    if !credentials.devices.iter().any(is_old) {
        return Stored::Added;
    }
    if credentials.devices.len() >= MAX_DEVICES || replacement.overlap == 0 {
        credentials.devices.retain(|device| !is_old(device));
    }
    let until = WallTime(replaced.until.0.saturating_add(replacement.overlap));
    let old = credentials.devices.iter_mut().find(|device| is_old(device));
    old.into_iter().for_each(|old| old.replaced = Some(Replaced { until, ..replaced }));
    Stored::InPlace
}

/// The label, or the same with a number where a device has it already: at a login nobody can be asked for another one.
pub(super) fn free_label(credentials: &Credentials, wanted: &Label) -> Label {
    let is_free = |label: &Label| credentials.devices.iter().all(|device| device.label != *label);
    let numbered = |number: u32| {
        let end = format!(" {number}");
        let room = Label::MAX.saturating_sub(end.len());
        Label::parse(&format!("{}{end}", wanted.as_str().chars().take(room).collect::<String>()))
    };
    let more = (2..100).filter_map(numbered);
    std::iter::once(wanted.clone()).chain(more).find(is_free).unwrap_or_else(|| wanted.clone())
}

/// Stores the recovery codes of an enrollment that has none, once one of them was typed back.
///
/// # Errors
/// [`NotStored`]; nothing has changed then.
pub fn store_recovery(
    vault: &Vault,
    account: &Account,
    enrollment: EnrollmentId,
    kept: Vec<Recovery>,
) -> Result<(), NotStored> {
    let gone = || Trouble::new(vault.path(), "the enrollment was removed in the meantime");
    let room = vault.lock(account.uid)?.ok_or_else(gone)?;
    let (mut credentials, _) = room.credentials()?;
    let is_same = credentials.enrollment == enrollment && credentials.revoked.is_none();
    if !is_same || !credentials.recovery.is_empty() {
        return Err(NotStored::Taken);
    }
    credentials.recovery = kept;
    room.replace_credentials_if(&credentials, || Ok(()))?;
    Ok(room.check_in_place(vault)?)
}
