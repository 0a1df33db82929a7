//! The keys that are enrolled here, to compare found ones with.

use std::collections::HashMap;
use std::hash::RandomState;

use qrtotp_core::otp::Secret;
use qrtotp_core::vault::{Credentials, Vault};
use qrtotp_core::words::{DeviceId, Label, Uid, UserName};
use serde_json::{Value, json};

use super::device::end_replaced;
use crate::desk::Desk;
use crate::ending::Ending;

/// Whose a key is here.
#[derive(Debug)]
pub struct Owned {
    /// Who is enrolled with it.
    pub user: UserName,
    /// The user id.
    pub uid: Uid,
    /// The device's id.
    pub device: DeviceId,
    /// What the owner calls the device.
    pub label: Label,
    /// Whether its codes are accepted.
    pub is_alive: bool,
    secret: Secret,
}

impl Owned {
    /// `alice's phone: accepted here` and the like, in few words.
    pub fn in_words(&self) -> String {
        let life = if self.is_alive { "ALIVE" } else { "disabled" };
        format!("{life}: {} of {}", self.label.as_str(), self.user)
    }

    /// For `--json`.
    pub fn as_json(&self) -> Value {
        json!({ "user": self.user, "uid": self.uid, "device": self.device.to_string(), "label": self.label.as_str() })
    }
}

/// All of them, found by a number that nobody else knows and then compared in constant time.
pub struct Keys {
    owned: Vec<Owned>,
    places: HashMap<u64, Vec<usize>>,
    hasher: RandomState,
    /// Whose keys could not be read, and why.
    pub troubles: Vec<String>,
}

impl Keys {
    /// Reads the keys of everybody. Who cannot be read is named, and hides nobody else.
    pub fn of(desk: &Desk) -> Result<Self, Ending> {
        let vault = desk.vault()?;
        let mut keys =
            Self { owned: Vec::new(), places: HashMap::new(), hasher: RandomState::new(), troubles: Vec::new() };
        for uid in vault.uids()? {
            match read(desk, &vault, uid) {
                Ok(Some(credentials)) => keys.add(credentials),
                Ok(None) => {}
                Err(ending) => keys.troubles.push(ending.to_string()),
            }
        }
        Ok(keys)
    }

    fn add(&mut self, credentials: Credentials) {
        for device in credentials.devices {
            let place = self.places.entry(device.secret.hashed_by(&self.hasher)).or_default();
            place.push(self.owned.len());
            self.owned.push(Owned {
                user: credentials.user.clone(),
                uid: credentials.uid,
                device: device.id,
                label: device.label,
                is_alive: device.enabled,
                secret: device.secret,
            });
        }
    }

    /// Whose a key is here; a device that is good before one that is not.
    pub fn owner_of(&self, secret: &Secret) -> Option<&Owned> {
        let places = self.places.get(&secret.hashed_by(&self.hasher))?;
        let all = places.iter().filter_map(|place| self.owned.get(*place)).filter(|owned| owned.secret.is_same(secret));
        all.max_by_key(|owned| owned.is_alive)
    }

    /// How many characters they have in base32, each number once.
    pub fn lengths(&self) -> Vec<usize> {
        let mut lengths: Vec<_> = self.owned.iter().map(|owned| owned.secret.bits().div_ceil(5)).collect();
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }
}

fn read(desk: &Desk, vault: &Vault, uid: Uid) -> Result<Option<Credentials>, Ending> {
    let Some(room) = vault.room(uid)? else { return Ok(None) };
    let (mut credentials, _) = room.credentials()?;
    if let Err(trouble) = end_replaced(desk, &room, &mut credentials) {
        // A damaged journal refuses every login, and the keys may be good again when it is restored.
        desk.screen.remark(&format!("qrtotp: {trouble}"));
    }
    Ok(Some(credentials))
}
