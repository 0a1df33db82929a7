//! `qrtotp rotate`

use qrtotp_core::vault::{Credentials, Device, Replacement, Vault};
use qrtotp_core::words::{Account, Uid, WallTime};

use super::device::find_device;
use super::issue::{self, Order, Terms};
use super::ticket;
use crate::arguments::RotateOptions;
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};

/// What a table of tickets begins with; the last column is the device that goes.
const HEAD: &str = "user,ticket,expires,label,device";

/// Makes tickets for devices in place of others.
pub fn run(desk: &Desk, options: &RotateOptions) -> Result<(), Ending> {
    let terms = Terms::new(desk, &options.ttl, None)?;
    let overlap = issue::parse_overlap(&options.overlap)?;
    let vault = desk.vault()?;
    match (&options.user, &options.enrolled_before) {
        (Some(user), _) => one(desk, &vault, user, options.device.as_deref(), overlap, &terms),
        (None, Some(date)) => all_before(desk, &vault, parse_date(date)?, overlap, &terms),
        (None, None) => Err(Ending::new(Code::Usage, "name a user, or say --enrolled-before DATE")),
    }
}

/// A date means the start of that day.
fn parse_date(text: &str) -> Result<WallTime, Ending> {
    let wrong = || "--enrolled-before must be a date like 2027-01-31, or a time like 2027-01-31T18:00:00Z";
    let time = text.parse().or_else(|()| format!("{text}T00:00:00Z").parse());
    time.map_err(|()| Ending::new(Code::Usage, wrong()))
}

fn one(
    desk: &Desk,
    vault: &Vault,
    user: &str,
    device: Option<&str>,
    overlap: u64,
    terms: &Terms,
) -> Result<(), Ending> {
    let _exclusive = vault.exclusive()?;
    let account = desk.account(user)?;
    let (_, credentials) = desk.enrolled(vault, &account)?;
    let old = match device {
        Some(device) => find_device(&credentials, user, device)?,
        None => only_device(&credentials, user)?,
    };
    if let Some(replaced) = old.replaced {
        let what = format!("{} of {user} was replaced before, by device {}", quoted(old.label.as_str()), replaced.by);
        return Err(Ending::new(Code::Conflict, format!("{what}; see: qrtotp device list {user}")));
    }
    let pair = (Replacement { device: old.id, overlap }, &old.label);
    ticket::one(desk, vault, &Order::of_device(desk, vault, &account, &credentials, pair, 0)?, terms)
}

/// The devices that another one can take the place of, of those that are in use.
fn in_use(credentials: &Credentials) -> impl Iterator<Item = &Device> {
    credentials.enabled().filter(|device| device.replaced.is_none())
}

fn only_device<'a>(credentials: &'a Credentials, user: &str) -> Result<&'a Device, Ending> {
    let devices: Vec<_> = in_use(credentials).collect();
    if let [only] = devices.as_slice() {
        return Ok(only);
    }
    let labels: Vec<_> = devices.iter().map(|device| quoted(device.label.as_str())).collect();
    let what = match labels.as_slice() {
        [] => format!("{user} has no enabled device; see: qrtotp device list {user}"),
        _ => format!("{user} has several devices; say which: {}", labels.join(", ")),
    };
    Err(Ending::new(Code::Usage, what))
}

/// Every device that was added before; whoever cannot be looked at is named and left out.
fn all_before(desk: &Desk, vault: &Vault, date: WallTime, overlap: u64, terms: &Terms) -> Result<(), Ending> {
    let _exclusive = vault.exclusive()?;
    let (mut orders, mut wrong) = (Vec::new(), Vec::new());
    for uid in vault.uids()? {
        let Some((account, credentials)) = rotatable(desk, vault, uid)? else { continue };
        for (more, device) in in_use(&credentials).filter(|device| device.added < date).enumerate() {
            let pair = (Replacement { device: device.id, overlap }, &device.label);
            match Order::of_device(desk, vault, &account, &credentials, pair, more) {
                Ok(order) => orders.push(order),
                Err(ending) => wrong.push((format!("{}, {}", account.name, quoted(device.label.as_str())), ending)),
            }
        }
    }
    if !wrong.is_empty() {
        return Err(Ending::of_list("no ticket was made:", wrong));
    }
    ticket::many(desk, vault, &orders, terms, HEAD)
}

/// The account and the credentials of a folder; `None` where a login would not be judged by them.
fn rotatable(desk: &Desk, vault: &Vault, uid: Uid) -> Result<Option<(Account, Credentials)>, Ending> {
    let read = vault.room(uid).and_then(|room| room.map(|room| room.credentials()).transpose());
    let credentials = match read {
        Ok(Some((credentials, _))) => credentials,
        Ok(None) => return Ok(None),
        Err(trouble) => {
            desk.screen.remark(&format!("left out: {trouble}"));
            return Ok(None);
        }
    };
    if credentials.revoked.is_some() {
        return Ok(None);
    }
    let account = desk.find(credentials.user.as_str())?;
    let account = account.filter(|account| account.name == credentials.user && account.uid == uid);
    if account.is_none() {
        let user = &credentials.user;
        desk.screen.remark(&format!("left out: {user} (user id {}) is another account now; see: qrtotp gc", uid.0));
    }
    Ok(account.map(|account| (account, credentials)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_start_of_its_day_in_utc() {
        assert_eq!(parse_date("1970-01-02").unwrap(), WallTime(86_400_000));
        assert_eq!(parse_date("1970-01-02T01:00:00+01:00").unwrap(), WallTime(86_400_000));
        assert!(["", "yesterday", "1970-13-01", "1970-01-02T01:00:00"].iter().all(|text| parse_date(text).is_err()));
    }
}
