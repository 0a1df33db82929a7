//! Talking to the person, through the function that the host provides: pam_conv(3).

use std::ptr::{NonNull, null_mut};

use libc::{c_char, c_int, c_uint};
use pam_sys::{PamConversation, PamMessage, PamResponse};
use qrtotp_core::ports::{Answer, Conversation, NoConversation, Prompt};
use zeroize::Zeroize;

use super::codes::{self, Style};
use super::{Handle, text};

/// Microseconds after a refusal, as pam_unix asks for after a wrong password. libpam varies them by half.
const FAIL_DELAY: c_uint = 2_000_000;

/// The conversation of one call.
pub struct Talk<'call> {
    handle: &'call Handle<'call>,
}

impl<'call> Talk<'call> {
    /// Talks through the PAM_CONV of this handle.
    pub fn new(handle: &'call Handle<'call>) -> Self {
        Self { handle }
    }

    /// One message to the host, and what came back.
    fn exchange(&self, style: Style, message: &str) -> Result<Response, NoConversation> {
        let conversation = self.handle.item(codes::CONV).cast::<PamConversation>();
        // SAFETY: PAM_CONV is NULL or a struct pam_conv that libpam keeps (pam_get_item(3)).
        let conversation = unsafe { conversation.as_ref() }.ok_or(NoConversation)?;
        let function = conversation.conv.ok_or(NoConversation)?;
        let message_text = text::terminated(message.as_bytes()).ok_or(NoConversation)?;
        let mut message = PamMessage { msg_style: style as c_int, msg: message_text.as_ptr().cast() };
        // Linux-PAM passes an array of pointers, Solaris a pointer to an array. With one message they are the same.
        let mut messages = [&raw mut message];
        let mut responses: *mut PamResponse = null_mut();
        let code = function(1, messages.as_mut_ptr(), &mut responses, conversation.data_ptr);
        if code != codes::SUCCESS {
            // pam_conv(3): a function that fails has freed what it allocated, so the pointer may dangle.
            return Err(NoConversation);
        }
        NonNull::new(responses).map(Response).ok_or(NoConversation)
    }
}

impl Conversation for Talk<'_> {
    fn ask(&mut self, prompt: Prompt<'_>) -> Result<Answer, NoConversation> {
        let style = if prompt.echo { Style::Shown } else { Style::Hidden };
        self.exchange(style, prompt.text)?.answer().ok_or(NoConversation)
    }

    fn tell(&mut self, text: &str) {
        // Hosts may answer to a mere text, too; that is wiped and freed here. A host that cannot show it changes nothing.
        drop(self.exchange(Style::Info, text));
    }

    fn hand_on(&mut self, password: &[u8]) -> Result<(), NoConversation> {
        self.handle.set_password(password)
    }

    fn slow_down(&mut self) {
        self.handle.delay_failure(FAIL_DELAY);
    }
}

/// The one response to one message: ours to wipe and to free, once.
struct Response(NonNull<PamResponse>);

impl Response {
    /// A copy of what was typed; `None` where the host left it out, or without memory.
    fn answer(&self) -> Option<Answer> {
        // SAFETY: see `typed`; nobody else knows this memory any more.
        unsafe { text::copy_secret(self.typed()) }
    }

    /// NULL or a C string from malloc(3).
    fn typed(&self) -> *mut c_char {
        // SAFETY: after success the host hands over an array of as many responses as there were messages: one.
        unsafe { self.0.as_ref() }.resp
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        let typed = self.typed();
        // SAFETY: pam_conv(3): text and array come from malloc(3), and it is the caller who frees both. The text is NULL
        // or a C string; nothing that `answer` gave out points into it.
        unsafe {
            wipe(typed);
            libc::free(typed.cast());
            libc::free(self.0.as_ptr().cast());
        }
    }
}

/// Overwrites a C string, however long.
///
/// # Safety
/// `text` is NULL or a C string that may be written to and that nobody else reads.
unsafe fn wipe(text: *mut c_char) {
    if text.is_null() {
        return;
    }
    // SAFETY: a C string; all bytes before its NUL may be written to.
    unsafe { std::slice::from_raw_parts_mut(text.cast::<u8>(), libc::strlen(text)) }.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pam::stage::{Behaviour, Question, Stage, memory_at};

    const SHOWN: Prompt<'_> = Prompt { text: "Code: ", echo: true };
    const HIDDEN: Prompt<'_> = Prompt { text: "Code: ", echo: false };

    fn ask(stage: &Stage, prompt: Prompt<'_>) -> Result<Vec<u8>, NoConversation> {
        Talk::new(&stage.handle()).ask(prompt).map(|answer| answer.bytes().to_vec())
    }

    #[test]
    fn a_prompt_is_asked_in_its_style_and_its_text_is_untouched() {
        let stage = Stage::new().answering(Behaviour::Answer(b"1".to_vec()));
        let picture = "\n\u{2588}\u{2580} 100% %s\n".repeat(1000);
        ask(&stage, SHOWN).unwrap();
        ask(&stage, HIDDEN).unwrap();
        ask(&stage, Prompt { text: &picture, echo: true }).unwrap();
        let asked = |style, text: &str| Question { style, text: text.as_bytes().to_vec() };
        assert_eq!(stage.questions(), [asked(2, "Code: "), asked(1, "Code: "), asked(2, &picture)]);
    }

    #[test]
    fn an_answer_is_what_was_typed_byte_for_byte() {
        let megabyte = vec![b'x'; 1 << 20];
        let answers: [&[u8]; 6] = [b"123456", b"", b" 123 456\r", b"\x08\n\r\x7fINCORRECT", b"\xff\xfe\x80", &megabyte];
        for answer in answers {
            let stage = Stage::new().answering(Behaviour::Answer(answer.to_vec()));
            assert_eq!(ask(&stage, HIDDEN).unwrap(), answer);
        }
    }

    #[test]
    fn a_host_without_an_answer_is_no_conversation() {
        let hostile = [
            Behaviour::NoFunction,
            Behaviour::Fail(19),
            Behaviour::Fail(30),
            Behaviour::Fail(-1),
            Behaviour::FailWithDanglingArray,
            Behaviour::NoArray,
            Behaviour::NoText,
        ];
        for behaviour in hostile {
            let stage = Stage::new().answering(behaviour.clone());
            assert_eq!(ask(&stage, HIDDEN), Err(NoConversation), "{behaviour:?}");
            assert_eq!(ask(&stage, SHOWN), Err(NoConversation), "{behaviour:?}");
        }
    }

    #[test]
    fn a_text_with_a_nul_inside_is_not_shown_in_part() {
        let stage = Stage::new().answering(Behaviour::Answer(b"1".to_vec()));
        assert_eq!(ask(&stage, Prompt { text: "a\0b", echo: true }), Err(NoConversation));
        Talk::new(&stage.handle()).tell("a\0b");
        assert_eq!(stage.questions(), []);
    }

    #[test]
    fn telling_shows_a_line_and_survives_whatever_the_host_does() {
        let behaviours = [
            Behaviour::Answer(b"unasked".to_vec()),
            Behaviour::NoText,
            Behaviour::NoArray,
            Behaviour::Fail(19),
            Behaviour::FailWithDanglingArray,
        ];
        for behaviour in behaviours {
            let stage = Stage::new().answering(behaviour);
            Talk::new(&stage.handle()).tell("Hello");
            assert_eq!(stage.questions(), [Question { style: 4, text: b"Hello".to_vec() }]);
        }
        Talk::new(&Stage::new().answering(Behaviour::NoFunction).handle()).tell("Hello");
    }

    #[test]
    fn the_hosts_copy_of_an_answer_is_wiped_before_it_is_freed() {
        // Other threads may get the freed block, and write into it: a byte that no text has is only the answer's.
        const BYTE: u8 = 0xf7;
        for length in [600, 5000] {
            let stage = Stage::new().answering(Behaviour::Answer(vec![BYTE; length]));
            let mut talk_to = stage.handle();
            let answer = Talk::new(&talk_to).ask(HIDDEN).unwrap();
            assert_eq!(answer.bytes().len(), length);
            let left = memory_at(stage.last_text(), length);
            assert!(!left.contains(&BYTE), "{length}");
            talk_to = stage.handle();
            Talk::new(&talk_to).tell("the same for an answer to a mere text");
            assert!(!memory_at(stage.last_text(), length).contains(&BYTE), "{length}");
        }
    }

    #[test]
    fn what_the_host_allocates_is_freed() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
        };
        let stage = Stage::new().answering(Behaviour::Answer(vec![b'x'; 1 << 20]));
        let before = resident();
        for _ in 0..200 {
            ask(&stage, HIDDEN).unwrap();
            Talk::new(&stage.handle()).tell("Hello");
        }
        assert!(resident() < before + (100 << 20), "200 MB or more would be left by a leak");
    }
}
