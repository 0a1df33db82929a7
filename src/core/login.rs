//! The story of one login, told top down.

use crate::events::Scene;
use crate::policy::Policy;
use crate::ports::{Answer, Clock, Conversation, Directory, Events, Random};
use crate::verdict::Cause;

/// What the host told us of this call.
pub struct Request {
    /// Which program asks, and from where.
    pub scene: Scene,
    /// PAM_USER as the host gave it.
    pub user: Vec<u8>,
    /// PAM_RHOST as the host gave it.
    pub rhost: Option<Vec<u8>>,
    /// The password that an earlier module of the stack asked for (PAM_AUTHTOK).
    pub password: Option<Answer>,
    /// PAM_SILENT: say nothing beyond the prompts.
    pub silent: bool,
}

/// Everything a login touches beside its files.
pub struct World<'a> {
    /// Users.
    pub directory: &'a dyn Directory,
    /// Clocks.
    pub clock: &'a dyn Clock,
    /// Random numbers.
    pub random: &'a dyn Random,
    /// Where events go.
    pub events: &'a dyn Events,
}

/// Decides one login: asks, judges, records, writes the event, and gives the cause of the answer.
pub fn login(
    _request: &Request,
    _policy: &Policy,
    _talk: &mut dyn Conversation,
    _world: &World<'_>,
) -> Cause {
    Cause::Panic
}
