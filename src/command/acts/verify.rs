//! `qrtotp verify`

use qrtotp_core::login::{Request, login};
use qrtotp_core::policy::Policy;
use qrtotp_core::ports::{Answer, Conversation, NoConversation, Prompt};
use qrtotp_core::verdict::{Cause, PamAnswer};
use serde_json::json;

use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen::Screen;

/// Judges a code from standard input as a login would, by the very same engine. Rules are about services, and this is none:
/// a code is asked whatever they say.
pub fn run(desk: &Desk, user: &str) -> Result<(), Ending> {
    let policy = Policy { rules: Vec::new(), ..desk.policy.clone() };
    let request = Request {
        scene: desk.scene(),
        user: user.as_bytes().to_vec(),
        rhost: None,
        password: None,
        password_failed: false,
        silent: true,
        host: qrtotp_system::host_name(),
        session: || None,
        auth_info: None,
    };
    let cause = login(&request, &policy, &mut Typed(&desk.screen), &desk.world());
    let accepted = cause.answer() == PamAnswer::Success;
    let text = if accepted { "accepted".to_owned() } else { format!("refused: {}", cause.reason()) };
    desk.screen.answer(&json!({ "user": user, "accepted": accepted, "reason": cause.reason() }), &text)?;
    match (cause, cause.answer()) {
        (_, PamAnswer::Success) => Ok(()),
        (Cause::NotEnrolled, _) => Err(Ending::silent(Code::NotEnrolled)),
        (Cause::UnknownUser, _) => Err(Ending::silent(Code::NoUser)),
        (_, PamAnswer::AuthinfoUnavail) => {
            Err(Ending::new(Code::Untrusted, format!("no code can be judged; see: qrtotp status {user}")))
        }
        _ => Err(Ending::silent(Code::No)),
    }
}

/// The conversation of a login, held on standard input.
struct Typed<'a>(&'a Screen);

impl Conversation for Typed<'_> {
    fn ask(&mut self, prompt: Prompt<'_>) -> Result<Answer, NoConversation> {
        let line = self.0.ask(prompt.text).ok().flatten().ok_or(NoConversation)?;
        Ok(Answer::new(line.as_bytes().to_vec()))
    }

    fn tell(&mut self, text: &str) {
        // Nobody to tell if standard output is gone.
        let _ = self.0.say(text);
    }

    fn slow_down(&mut self) {}

    /// No module comes after this one.
    fn hand_on(&mut self, _password: &[u8]) -> Result<(), NoConversation> {
        Err(NoConversation)
    }
}
