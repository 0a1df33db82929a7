//! The part of a login's story that asks nobody twice: where a code was given before, and that one was given now.

use super::{Login, Request};
use crate::remember::{self, Place};
use crate::subject;
use crate::vault::Vault;
use crate::words::Account;

impl Login<'_> {
    /// Whether a code was given at this place before, within the time of the rule. What cannot be known is not remembered.
    pub(super) fn is_remembered(&self) -> bool {
        let Some((span, account)) = self.decision.remember.zip(self.account.as_ref()) else { return false };
        let found = Vault::open(&self.policy.state_dir).and_then(|vault| subject::read(&vault, account.uid));
        let Some((_, credentials, version)) = found.ok().flatten() else { return false };
        let is_own =
            credentials.user == account.name && credentials.uid == account.uid && credentials.revoked.is_none();
        let here = self.place(account).zip(self.world.clock.now());
        is_own
            && here.is_some_and(|(place, now)| {
                let terms = (span, self.decision.two_codes);
                remember::holds(&self.policy.runtime_dir, &place, version, &now, terms)
            })
    }

    /// Remembers that a code was given here, where a rule says so. Credentials that changed since would never match.
    pub(super) fn remember(&self) {
        let Some((span, account)) = self.decision.remember.zip(self.account.as_ref()) else { return };
        let Some((version, now)) = self.judged_by.zip(self.world.clock.now()) else { return };
        let Some(place) = self.place(account) else { return };
        let is_current = Vault::open(&self.policy.state_dir).and_then(|vault| vault.is_current(account.uid, version));
        if is_current != Ok(true) {
            return;
        }
        let terms = (span, self.decision.two_codes);
        if let Err(trouble) = remember::store(&self.policy.runtime_dir, &place, version, &now, terms) {
            self.world.events.debug(&format!("not remembered: {trouble}"));
        }
    }

    fn place(&self, account: &Account) -> Option<Place> {
        let Request { scene, session, auth_info, .. } = self.request;
        let target = self.event.target.as_ref();
        Place::of(account.uid, target, &scene.service, self.event.source, session(), auth_info.as_deref())
    }
}

#[cfg(test)]
mod tests;
