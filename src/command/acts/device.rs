//! `qrtotp device`

use qrtotp_core::events::Kind;
use qrtotp_core::vault::{Credentials, Device};
use qrtotp_core::words::{DeviceId, Label};
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
    let (_, credentials) = desk.enrolled(&vault, &account)?;
    let row = |device: &Device| {
        let shape = device.shape;
        let made_of = format!("{}/{}/{}", shape.algorithm.name(), shape.digits(), shape.period());
        let state = if device.enabled { "enabled" } else { "disabled" };
        vec![device.id.to_string(), device.label.to_string(), made_of, device.added.to_string(), state.to_owned()]
    };
    let rows = credentials.devices.iter().map(row).collect();
    let text = desk.screen.table(&["ID", "LABEL", "CODES", "ADDED", "STATE"], rows);
    let devices: Vec<_> = credentials.devices.iter().map(as_json).collect();
    desk.screen.answer(&json!({ "user": account.name, "uid": account.uid, "devices": devices }), &text)
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
    })
}

fn rename(desk: &Desk, user: &str, device: &str, label: &str) -> Result<(), Ending> {
    let label = parse_label(label)?;
    change(desk, user, device, Kind::DeviceRename, "renamed", |credentials, id| {
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
    change(desk, user, device, kind, word, |credentials, id| {
        if !on {
            refuse_last(credentials, id, user)?;
        }
        let named = credentials.devices.iter_mut().filter(|device| device.id == id);
        named.for_each(|device| device.enabled = on);
        Ok(())
    })
}

fn remove(desk: &Desk, user: &str, device: &str) -> Result<(), Ending> {
    change(desk, user, device, Kind::DeviceRemove, "removed", |credentials, id| {
        refuse_last(credentials, id, user)?;
        credentials.devices.retain(|device| device.id != id);
        Ok(())
    })
}

/// Without an enabled device a user would be locked out by accident; `revoke` does it on purpose.
fn refuse_last(credentials: &Credentials, id: DeviceId, user: &str) -> Result<(), Ending> {
    if credentials.enabled().any(|device| device.id != id) {
        return Ok(());
    }
    let what = format!("this is the last enabled device; to end the enrollment: qrtotp revoke {user} --reason ...");
    Err(Ending::new(Code::Conflict, what))
}

/// Changes the credentials and writes the event with the device's name from before.
fn change(
    desk: &Desk,
    user: &str,
    device: &str,
    kind: Kind,
    word: &str,
    act: impl FnOnce(&mut Credentials, DeviceId) -> Result<(), Ending>,
) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let account = desk.owner(&vault, user)?;
    let (room, mut credentials) = desk.enrolled(&vault, &account)?;
    let named = |known: &&Device| known.label.as_str() == device || known.id.to_string() == device;
    let unknown = || {
        let labels: Vec<_> = credentials.devices.iter().map(|device| quoted(device.label.as_str())).collect();
        Ending::new(Code::No, format!("{user} has no device {}; there are: {}", quoted(device), labels.join(", ")))
    };
    let found = credentials.devices.iter().find(named).ok_or_else(unknown)?;
    let (id, label) = (found.id, found.label.clone());
    act(&mut credentials, id)?;
    room.replace_credentials(&credentials)?;
    let mut event = desk.event(kind, &account, word);
    event.device = Some((id, label.clone()));
    event.enrollment = Some(credentials.enrollment);
    desk.record(&event);
    let value = json!({ "user": account.name, "uid": account.uid, "device": id, "done": word });
    desk.screen.answer(&value, &format!("{} of {user} is {word}", quoted(label.as_str())))
}

/// A label from the command line.
pub fn parse_label(text: &str) -> Result<Label, Ending> {
    let what = || format!("a label must have 1 to {} printable characters", Label::MAX);
    Label::parse(text).ok_or_else(|| Ending::new(Code::Usage, what()))
}
