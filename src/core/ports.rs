//! The seams: what a login needs from the world, as small traits. No implementation lives here.

use std::fmt;

use zeroize::Zeroizing;

use crate::events::Event;
use crate::files::Trouble;
use crate::words::{Account, Now, Uid, UserName};

/// What the person typed: wiped on drop, never printed.
pub struct Answer(Zeroizing<Vec<u8>>);

impl Answer {
    /// Takes over bytes that came from a conversation.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes as they were typed, without the terminating NUL.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer([redacted])")
    }
}

/// One question to the person.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prompt<'a> {
    /// The text, printed as it stands.
    pub text: &'a str,
    /// Whether the terminal shows what is typed (PAM_PROMPT_ECHO_ON).
    pub echo: bool,
}

/// The conversation could not be held: no function, an error, or no answer (PAM_CONV_ERR).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoConversation;

/// Talks to the person.
pub trait Conversation {
    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`NoConversation`] where the host gave no answer; an empty answer is an answer.
    fn ask(&mut self, prompt: Prompt<'_>) -> Result<Answer, NoConversation>;

    /// Shows a line (PAM_TEXT_INFO); a host that cannot show it changes nothing.
    fn tell(&mut self, text: &str);

    /// Hands a password on to the modules that come after this one (PAM_AUTHTOK).
    ///
    /// # Errors
    /// [`NoConversation`] where the host does not take it.
    fn hand_on(&mut self, password: &[u8]) -> Result<(), NoConversation>;

    /// Asks the host to wait after a refusal as long as after a wrong password (pam_fail_delay).
    fn slow_down(&mut self);
}

/// Reads the clocks.
pub trait Clock {
    /// Wall time, boot time and boot id, together. `None` where the kernel refuses: the login is denied.
    fn now(&self) -> Option<Now>;

    /// Microseconds of a monotonic clock, for durations.
    fn ticks(&self) -> u64;
}

/// The kernel's random numbers could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRandom;

/// Gives random bytes fit for keys.
pub trait Random {
    /// Fills the whole buffer.
    ///
    /// # Errors
    /// [`NoRandom`]; nothing is promised of the buffer then.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandom>;
}

/// The name service failed: not the same as "no such user".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupFailed;

/// Looks users up.
pub trait Directory {
    /// The account of that name; `None` where the name service says there is none.
    ///
    /// # Errors
    /// [`LookupFailed`] where the name service itself failed.
    fn find(&self, name: &UserName) -> Result<Option<Account>, LookupFailed>;

    /// The account of that user id; `None` where there is none.
    ///
    /// # Errors
    /// [`LookupFailed`] where the name service itself failed.
    fn find_uid(&self, uid: Uid) -> Result<Option<Account>, LookupFailed>;

    /// The names of the groups that an account is in, its own first.
    ///
    /// # Errors
    /// [`LookupFailed`] where the name service failed, for any of them.
    fn groups(&self, account: &Account) -> Result<Vec<String>, LookupFailed>;

    /// Whether there is a group of that name: a name service that is not there leaves its groups out without a word.
    ///
    /// # Errors
    /// [`LookupFailed`] where the name service failed.
    fn has_group(&self, name: &str) -> Result<bool, LookupFailed>;
}

/// Takes events: one syslog line and one JSON line each. A log that cannot be written never changes an answer.
pub trait Events {
    /// Makes sure that the caller has not limited the size of files so that an event would leave no line.
    ///
    /// # Errors
    /// [`Trouble`] where he has. Whatever else keeps a line from being written is no reason to keep anybody out.
    fn check_room(&self) -> Result<(), Trouble> {
        Ok(())
    }

    /// Writes one event.
    fn record(&self, event: &Event);

    /// Writes one line at LOG_DEBUG, if the module was asked to.
    fn debug(&self, text: &str);
}
