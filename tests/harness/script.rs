//! What pamhost is told to do, and what it reports. The same types on both sides of the pipe.

use serde::{Deserialize, Serialize};

/// PAM_SUCCESS and its kin, as Linux-PAM numbers them.
pub mod code {
    #![allow(missing_docs, reason = "the names of Linux-PAM")]
    pub const SUCCESS: i32 = 0;
    pub const SERVICE_ERR: i32 = 3;
    pub const SYSTEM_ERR: i32 = 4;
    pub const PERM_DENIED: i32 = 6;
    pub const AUTH_ERR: i32 = 7;
    pub const AUTHINFO_UNAVAIL: i32 = 9;
    pub const MAXTRIES: i32 = 11;
    pub const CONV_ERR: i32 = 19;
    pub const IGNORE: i32 = 25;
    pub const ABORT: i32 = 26;
    pub const MODULE_UNKNOWN: i32 = 28;
}

/// PAM_SILENT.
pub const SILENT: i32 = 0x8000;
/// PAM_DISALLOW_NULL_AUTHTOK, which sshd sets.
pub const DISALLOW_NULL_AUTHTOK: i32 = 1;
/// PAM_ESTABLISH_CRED, for [`Step::SetCred`].
pub const ESTABLISH_CRED: i32 = 2;
/// PAM_PROMPT_ECHO_OFF
pub const ECHO_OFF: i32 = 1;
/// PAM_PROMPT_ECHO_ON
pub const ECHO_ON: i32 = 2;
/// PAM_ERROR_MSG
pub const ERROR_MSG: i32 = 3;
/// PAM_TEXT_INFO
pub const TEXT_INFO: i32 = 4;

/// One handle of libpam, from pam_start_confdir to pam_end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Script {
    /// The service: a file of `/etc/pam.d`.
    pub service: String,
    /// PAM_USER; none passes a null pointer.
    pub user: Option<Vec<u8>>,
    /// PAM_RHOST
    pub rhost: Option<Vec<u8>>,
    /// PAM_TTY
    pub tty: Option<Vec<u8>>,
    /// PAM_RUSER
    pub ruser: Option<Vec<u8>>,
    /// Lines `NAME=value` for the PAM environment.
    pub environment: Vec<String>,
    /// Passes a conversation whose function is null.
    pub no_conversation: bool,
    /// The real user id; the effective one stays root, as in a set-user-id program.
    pub real_uid: Option<u32>,
    /// A folder to enter with chroot before anything else.
    pub chroot: Option<String>,
    /// What becomes of descriptors 0, 1 and 2.
    pub descriptors: Vec<(i32, Descriptor)>,
    /// What to do with the handle.
    pub steps: Vec<Step>,
}

/// What a standard descriptor is made into.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Descriptor {
    /// Nothing: closed.
    Closed,
    /// This file, opened for reading and writing (a FIFO, say).
    File(String),
    /// One end of a pair of sockets whose other end is kept.
    Socket,
}

/// One thing done with the handle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// pam_authenticate, with the answers to its prompts in order.
    Authenticate {
        /// Its flags.
        flags: i32,
        /// What is answered; a prompt beyond the last gets PAM_CONV_ERR.
        answers: Vec<Answer>,
    },
    /// pam_setcred with these flags.
    SetCred(i32),
    /// pam_set_item of PAM_USER.
    SetUser(Vec<u8>),
    /// pam_set_item of PAM_RHOST.
    SetRhost(Vec<u8>),
    /// Moves the clocks this process sees, by so many milliseconds from the machine's.
    Clock {
        /// CLOCK_REALTIME.
        wall_ms: i64,
        /// CLOCK_BOOTTIME.
        boot_ms: i64,
    },
    /// Says "ready" and waits until all others may go.
    Barrier,
    /// Counts how often the answers of kind [`Answer::Marker`] lie in the memory of this process.
    FindMarker,
}

/// What the conversation does at one prompt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Answers this.
    Text(String),
    /// Answers these bytes, and a terminating NUL.
    Bytes(Vec<u8>),
    /// Answers one byte so many times.
    Fill(u8, usize),
    /// Answers a long text that lies nowhere else in this process, for [`Step::FindMarker`].
    Marker,
    /// PAM_SUCCESS, with a null pointer in place of the text.
    Null,
    /// PAM_SUCCESS, with a null pointer in place of the array.
    NullArray,
    /// PAM_CONV_ERR
    Error,
    /// PAM_CONV_AGAIN
    Again,
    /// Says "ready", waits until all others may go, then answers.
    Held(Box<Answer>),
    /// Kills the process.
    Die,
}

impl<T: Into<String>> From<T> for Answer {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// What happened in the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// One for each step.
    pub results: Vec<Outcome>,
    /// What pam_end returned.
    pub end: i32,
    /// Descriptors open before the first step.
    pub descriptors_before: Vec<i32>,
    /// Descriptors open after the last step, before pam_end.
    pub descriptors_after: Vec<i32>,
    /// File mode creation mask before and after.
    pub umask: (u32, u32),
    /// Kilobytes of memory in use before and after.
    pub memory_kb: (u64, u64),
}

/// What one step gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What libpam returned; for [`Step::FindMarker`], how many were found.
    pub code: i32,
    /// How long it took.
    pub micros: u64,
    /// What was said, in order.
    pub messages: Vec<Message>,
}

/// One message of the module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// PAM_PROMPT_ECHO_OFF and its kin.
    pub style: i32,
    /// The text.
    pub text: String,
}

impl Outcome {
    /// The texts of the prompts.
    pub fn prompts(&self) -> Vec<&str> {
        self.texts(&[ECHO_OFF, ECHO_ON])
    }

    /// The texts that asked for nothing.
    pub fn told(&self) -> Vec<&str> {
        self.texts(&[ERROR_MSG, TEXT_INFO])
    }

    fn texts(&self, styles: &[i32]) -> Vec<&str> {
        let matching = self.messages.iter().filter(|message| styles.contains(&message.style));
        matching.map(|message| message.text.as_str()).collect()
    }
}

impl Report {
    /// What the calls of pam_authenticate returned, in order: the steps that asked something, or whose place the script gives.
    pub fn codes(&self) -> Vec<i32> {
        self.results.iter().map(|result| result.code).collect()
    }

    /// What the last step returned.
    ///
    /// # Panics
    /// Where there was none.
    pub fn code(&self) -> i32 {
        self.last().code
    }

    /// The last step.
    ///
    /// # Panics
    /// Where there was none.
    pub fn last(&self) -> &Outcome {
        self.results.last().expect("a step")
    }
}

impl Script {
    /// One login of a user at the service that asks for a code alone.
    pub fn login(user: &str) -> Self {
        Self { service: "code".to_owned(), user: Some(user.as_bytes().to_vec()), ..Self::default() }
    }

    /// The same for a name that may be anything.
    pub fn login_bytes(user: &[u8]) -> Self {
        Self { user: Some(user.to_vec()), ..Self::login("") }
    }

    /// Another service.
    pub fn at(mut self, service: &str) -> Self {
        service.clone_into(&mut self.service);
        self
    }

    /// Where the login comes from.
    pub fn from(mut self, rhost: impl AsRef<[u8]>) -> Self {
        self.rhost = Some(rhost.as_ref().to_vec());
        self
    }

    /// Who calls, by real user id.
    pub fn called_by(mut self, uid: u32) -> Self {
        self.real_uid = Some(uid);
        self
    }

    /// Authenticates, answering these in order.
    pub fn answering<A: Into<Answer>>(self, answers: impl IntoIterator<Item = A>) -> Self {
        self.answering_with(0, answers)
    }

    /// Authenticates with flags, answering these in order.
    pub fn answering_with<A: Into<Answer>>(self, flags: i32, answers: impl IntoIterator<Item = A>) -> Self {
        let answers = answers.into_iter().map(Into::into).collect();
        self.then(Step::Authenticate { flags, answers })
    }

    /// Then does this.
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Moves the wall clock for what follows, by seconds from the machine's.
    pub fn wall_moved(self, seconds: i64) -> Self {
        self.then(Step::Clock { wall_ms: seconds * 1000, boot_ms: 0 })
    }

    /// Moves the boot clock for what follows, by seconds from the machine's.
    pub fn boot_moved(self, seconds: i64) -> Self {
        self.then(Step::Clock { wall_ms: 0, boot_ms: seconds * 1000 })
    }
}
