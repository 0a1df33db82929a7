//! `qrtotp device`

use qrtotp_core::events::{Kind, Printable};
use qrtotp_core::vault::{Credentials, Device, Room};
use qrtotp_core::words::{Account, DeviceId, Label};
use serde_json::{Value, json};

use crate::arguments::DeviceAct;
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};

/// Lists or changes devices.
pub fn run(desk: &Desk, act: &DeviceAct) -> Result<(), Ending> {
    match act {
        DeviceAct::List { user } => list(desk, user),
        DeviceAct::Rename { user, device, label } => rename(desk, user, device, label),
        DeviceAct::Disable { user, device } => switch(desk, user, device, false),
        DeviceAct::Enable { user, device } => switch(desk, user, device, true),
        DeviceAct::Remove { user, device } => remove(desk, user, device),
    }
}

fn list(desk: &Desk, user: &str) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let account = desk.owner(&vault, user)?;
    let (room, mut credentials) = desk.enrolled(&vault, &account)?;
    end_replaced(desk, &room, &mut credentials)?;
    let row = |device: &Device| {
        let shape = device.shape;
        let made_of = format!("{}/{}/{}", shape.algorithm.name(), shape.digits(), shape.period());
        let state = state_text(device, &credentials);
        vec![device.id.to_string(), device.label.to_string(), made_of, device.added.to_string(), state]
    };
    let rows = credentials.devices.iter().map(row).collect();
    let text = desk.screen.table(&["ID", "LABEL", "CODES", "ADDED", "STATE"], rows);
    let devices: Vec<_> = credentials.devices.iter().map(as_json).collect();
    desk.screen.answer(&json!({ "user": account.name, "uid": account.uid, "devices": devices }), &text)
}

/// Disables, as a login does, the devices whose time beside the one in their place is over. Nothing is written.
pub fn end_replaced(desk: &Desk, room: &Room, credentials: &mut Credentials) -> Result<(), Ending> {
    if credentials.has_replaced() {
        let (state, _) = room.journal(credentials)?.read()?.fold(&desk.policy.limits);
        credentials.end_replaced(&state, desk.now()?.wall);
    }
    Ok(())
}

/// Whether a device is good, and how long where another one was enrolled in its place; and whether its key is weak.
pub fn state_text(device: &Device, credentials: &Credentials) -> String {
    let state = life_text(device, credentials);
    if device.secret.is_weak() { format!("{state}, weak: {} bits", device.secret.bits()) } else { state }
}

fn life_text(device: &Device, credentials: &Credentials) -> String {
    let Some(replaced) = device.replaced else {
        return if device.enabled { "enabled" } else { "disabled" }.to_owned();
    };
    let new = credentials.devices.iter().find(|known| known.id == replaced.by);
    let by = new.map_or_else(|| replaced.by.to_string(), |new| new.label.to_string());
    if device.enabled { format!("replaced until {}, by {by}", replaced.until) } else { format!("replaced by {by}") }
}

/// A device without its key.
pub fn as_json(device: &Device) -> Value {
    json!({
        "id": device.id,
        "label": device.label,
        "algorithm": device.shape.algorithm.name(),
        "digits": device.shape.digits(),
        "period": device.shape.period(),
        "added": device.added.to_string(),
        "enabled": device.enabled,
        "replaced": device.replaced.map(|replaced| json!({ "by": replaced.by, "until": replaced.until.to_string() })),
        "ticket": device.ticket,
        "secret_bits": device.secret.bits(),
        "weak": device.secret.is_weak(),
    })
}

fn rename(desk: &Desk, user: &str, device: &str, label: &str) -> Result<(), Ending> {
    let label = parse_label(label)?;
    let now = format!("now {}", label.as_str());
    change(desk, user, device, (Kind::DeviceRename, "renamed", Some(&now)), |credentials, id, _| {
        if credentials.devices.iter().any(|device| device.label == label && device.id != id) {
            return Err(Ending::new(Code::Conflict, format!("another device is called {}", quoted(label.as_str()))));
        }
        let named = credentials.devices.iter_mut().filter(|device| device.id == id);
        named.for_each(|device| device.label = label.clone());
        Ok(())
    })
}

fn switch(desk: &Desk, user: &str, device: &str, on: bool) -> Result<(), Ending> {
    let (kind, word) = if on { (Kind::DeviceEnable, "enabled") } else { (Kind::DeviceDisable, "disabled") };
    change(desk, user, device, (kind, word, None), |credentials, id, good| {
        if !on {
            refuse_last(good, id, user)?;
        }
        for device in credentials.devices.iter_mut().filter(|device| device.id == id) {
            device.enabled = on;
            // Who enables a device that another one took the place of wants both.
            device.replaced = device.replaced.filter(|_| !on);
        }
        Ok(())
    })
}

fn remove(desk: &Desk, user: &str, device: &str) -> Result<(), Ending> {
    change(desk, user, device, (Kind::DeviceRemove, "removed", None), |credentials, id, good| {
        refuse_last(good, id, user)?;
        credentials.devices.retain(|device| device.id != id);
        Ok(())
    })
}

/// Without an enabled device a user would be locked out by accident; `revoke` does it on purpose.
fn refuse_last(good: &[DeviceId], id: DeviceId, user: &str) -> Result<(), Ending> {
    if good.iter().any(|device| *device != id) {
        return Ok(());
    }
    let what = "this is the last enabled device that is not replaced";
    let mend =
        format!("keep another one with qrtotp device enable, or end the enrollment: qrtotp revoke {user} --reason ...");
    Err(Ending::new(Code::Conflict, format!("{what}; {mend}")))
}

/// Changes the credentials and writes the event (its kind, reason and detail) with the device's name from before. The act is
/// told which devices are good.
fn change(
    desk: &Desk,
    user: &str,
    device: &str,
    (kind, word, detail): (Kind, &str, Option<&str>),
    act: impl FnOnce(&mut Credentials, DeviceId, &[DeviceId]) -> Result<(), Ending>,
) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let account = desk.owner(&vault, user)?;
    let (room, mut credentials) = desk.enrolled_to_change(&vault, &account)?;
    let found = find_device(&credentials, user, device)?;
    let (id, label, ticket) = (found.id, found.label.clone(), found.ticket);
    let good = good_devices(desk, &room)?;
    act(&mut credentials, id, &good)?;
    desk.replace(&vault, &room, &credentials)?;
    if let Some(ticket) = ticket.filter(|_| kind == Kind::DeviceRemove) {
        // Nothing else says any more that it was redeemed.
        vault.revoke_ticket(account.uid, ticket)?;
    }
    let mut event = desk.event(kind, &account, word);
    event.device = Some((id, label.clone()));
    event.enrollment = Some(credentials.enrollment);
    event.detail = detail.map(|detail| Printable::new(detail.as_bytes()));
    desk.record(&event);
    let value = json!({ "user": account.name, "uid": account.uid, "device": id, "done": word });
    desk.screen.answer(&value, &format!("{} of {user} is {word}", quoted(label.as_str())))
}

/// Disables every device of a user, by an alert: recovery codes still work, and `device enable` ends it.
pub fn disable_all(desk: &Desk, account: &Account, reason: &str) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let (room, mut credentials) = desk.enrolled_to_change(&vault, account)?;
    let enabled: Vec<_> = credentials.enabled().map(|device| (device.id, device.label.clone())).collect();
    if enabled.is_empty() {
        return Ok(());
    }
    credentials.devices.iter_mut().for_each(|device| device.enabled = false);
    desk.replace(&vault, &room, &credentials)?;
    for device in enabled {
        let mut event = desk.event(Kind::DeviceDisable, account, reason);
        event.device = Some(device);
        event.enrollment = Some(credentials.enrollment);
        desk.record(&event);
    }
    Ok(())
}

/// The devices whose codes a login accepts, and will accept: one that was replaced ends by itself.
fn good_devices(desk: &Desk, room: &Room) -> Result<Vec<DeviceId>, Ending> {
    let (mut credentials, _) = room.credentials()?;
    end_replaced(desk, room, &mut credentials)?;
    Ok(credentials.enabled().filter(|device| device.replaced.is_none()).map(|device| device.id).collect())
}

/// The device that a label or an id names.
pub fn find_device<'a>(credentials: &'a Credentials, user: &str, device: &str) -> Result<&'a Device, Ending> {
    let named = |known: &&Device| known.label.as_str() == device || known.id.to_string() == device;
    let unknown = || {
        let labels: Vec<_> = credentials.devices.iter().map(|device| quoted(device.label.as_str())).collect();
        Ending::new(Code::No, format!("{user} has no device {}; there are: {}", quoted(device), labels.join(", ")))
    };
    credentials.devices.iter().find(named).ok_or_else(unknown)
}

/// A label from the command line.
pub fn parse_label(text: &str) -> Result<Label, Ending> {
    let what = || format!("a label must have 1 to {} printable characters", Label::MAX);
    Label::parse(text).ok_or_else(|| Ending::new(Code::Usage, what()))
}
