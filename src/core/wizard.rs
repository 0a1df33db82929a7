//! The conversation in which somebody enrolls: the picture, a code, the recovery codes.
//!
//! Everything is said in prompts whose answer shows. The ssh client puts `(user@host)` before the first line, so each begins
//! with a newline; a text without a question may come as octal numbers, and colours and cursor movements do not pass at
//! all. A first page takes 24 lines of 80 columns, the line of the ssh client and the prompt counted.

use zeroize::Zeroizing;

use crate::enroll::{Check, Draft, RecoverySet, TRIES};
use crate::otp::otpauth::{self, Name};
use crate::otp::{Code, Typed};
use crate::policy::{Enrolling, Window};
use crate::ports::{Answer, Clock, Conversation, Prompt};
use crate::qr::{Ink, Picture, Size, Style};
use crate::words::{Step, UserName, WallTime};

/// Room for the picture: what the title, the ssh client's line and the prompt leave of a terminal.
const ROOM: Size = Size { columns: 80, lines: 21 };
/// Columns between the picture and the text beside it.
const GAP: usize = 3;
/// Characters of names that are too long for a picture, and for one in ASCII.
const SHORT: usize = 20;
const SHORTER: usize = 12;
/// Most answers of one enrollment, so that nobody keeps a login busy.
const ANSWERS: u32 = 20;

/// Why a wizard ended before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// The person gave up, or typed too many wrong codes.
    GivenUp,
    /// The host could not ask.
    NoConversation,
    /// The kernel gave no time.
    NoTime,
}

/// Whom it talks with, and about what.
pub struct Wizard<'a> {
    /// How people enroll.
    pub enrolling: &'a Enrolling,
    /// Which codes are right.
    pub window: Window,
    /// The clocks.
    pub clock: &'a dyn Clock,
    /// Who enrolls.
    pub user: &'a UserName,
    /// On which host.
    pub host: &'a str,
    /// Whether sshd will hang up.
    pub is_sshd: bool,
}

/// How the picture is drawn now.
#[derive(Clone, Copy)]
struct Look {
    style: Style,
    ink: Ink,
}

/// What was typed below the picture.
enum Said {
    Invert,
    Ascii,
    Quit,
    Nothing,
    Code(Code),
    Else,
}

impl Said {
    fn parse(answer: &Answer) -> Self {
        match answer.bytes().trim_ascii() {
            b"i" | b"I" => Self::Invert,
            b"a" | b"A" => Self::Ascii,
            b"q" | b"Q" => Self::Quit,
            b"" => Self::Nothing,
            bytes => match Typed::parse(bytes) {
                Some(Typed::Code(code)) => Self::Code(code),
                _ => Self::Else,
            },
        }
    }
}

impl Wizard<'_> {
    /// Shows the picture of a draft and asks until a code is right; gives the step that is to be claimed.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn confirm(&self, draft: &Draft, talk: &mut dyn Conversation) -> Result<Step, Stopped> {
        let mut look = Look { style: Style::HalfBlocks, ink: Ink::Light };
        let mut text = self.page(draft, look);
        let mut tries = TRIES;
        for _ in 0..ANSWERS {
            let remark = match Said::parse(&ask(talk, &text)?) {
                Said::Quit => return Err(Stopped::GivenUp),
                said @ (Said::Invert | Said::Ascii) => {
                    look = look.after(&said);
                    text = self.page(draft, look);
                    continue;
                }
                Said::Code(code) => match draft.check(&code, self.window, self.now()?) {
                    Check::Right(step) => return self.confirm_twice(draft, step, talk),
                    other => other.in_words(draft.shape),
                },
                Said::Nothing => continue,
                Said::Else => format!("A code has {} digits.", draft.shape.digits()),
            };
            tries = tries.saturating_sub(1);
            if tries == 0 {
                // Asked, because sshd drops what is only told before a refusal.
                let _ = ask(talk, &format!("\n{remark}\nNothing was stored; a ticket is as good as before. Enter: "));
                break;
            }
            text = Zeroizing::new(format!("\n{remark} {}\n{}", left(tries), question(look)));
        }
        Err(Stopped::GivenUp)
    }

    /// Where the policy asks for two codes, the next one has to follow. A right one that does not is the new first.
    fn confirm_twice(&self, draft: &Draft, first: Step, talk: &mut dyn Conversation) -> Result<Step, Stopped> {
        if !self.enrolling.two_codes {
            return Ok(first);
        }
        let mut last = first;
        for _ in 0..TRIES {
            let answer = ask(talk, "\nThat is right. Next code, after it has changed (q: give up): ")?;
            match Said::parse(&answer) {
                Said::Quit => break,
                Said::Code(code) => match draft.check(&code, self.window, self.now()?) {
                    Check::Right(step) if step == last.offset(1) => return Ok(step),
                    Check::Right(step) => last = step,
                    _ => {}
                },
                _ => {}
            }
        }
        Err(Stopped::GivenUp)
    }

    /// Shows recovery codes and has one typed back.
    ///
    /// # Errors
    /// [`Stopped`]: nobody is known to have them.
    pub fn hand_over(&self, set: &RecoverySet, talk: &mut dyn Conversation) -> Result<(), Stopped> {
        let mut text = self.recovery_page(set);
        for left_over in (0..TRIES).rev() {
            let answer = ask(talk, &text)?;
            if set.holds(answer.bytes()) {
                return Ok(());
            }
            if matches!(Said::parse(&answer), Said::Quit) {
                break;
            }
            let what = format!("\nThat is none of them. {}\nType one of them back (q: later): ", left(left_over));
            text = Zeroizing::new(what);
        }
        Err(Stopped::GivenUp)
    }

    fn recovery_page(&self, set: &RecoverySet) -> Zeroizing<String> {
        let mut page = Zeroizing::new(String::with_capacity(2048));
        page.push_str(&format!(
            "\nRecovery codes of {} on {}. Each works once, in place of a code, if\n",
            self.user, self.host
        ));
        page.push_str("the device is lost. Write them down, or print them; they are not shown again.\n\n");
        for pair in set.codes.chunks(2) {
            for code in pair {
                page.push_str("    ");
                page.push_str(&code.to_text());
            }
            page.push('\n');
        }
        page.push_str("\nType one of them back, to show that you have them (q: later):\n> ");
        page
    }

    fn page(&self, draft: &Draft, look: Look) -> Zeroizing<String> {
        let (issuer, account) = self.names();
        let mut page = Zeroizing::new(String::with_capacity(16 * 1024));
        let (issuer_name, device) = (issuer.as_str(), draft.label.as_str());
        let title = format!("Enrolling {} on {}, issuer {issuer_name}, device \"{device}\"", self.user, self.host);
        page.push('\n');
        page.extend(title.chars().take(ROOM.columns));
        page.push('\n');
        let beside = self.beside(draft, look);
        match draw(draft, &issuer, &account, look) {
            Some(lines) if look.style == Style::HalfBlocks => {
                for (line, text) in
                    lines.iter().zip(beside.iter().map(|text| text.as_str()).chain(std::iter::repeat("")))
                {
                    page.push_str(line);
                    if !text.is_empty() {
                        page.push_str(&" ".repeat(GAP));
                        page.push_str(text);
                    }
                    page.push('\n');
                }
            }
            lines => {
                let lines = lines.unwrap_or_default();
                let texts = lines.iter().map(String::as_str).chain(beside.iter().map(|text| text.as_str()));
                texts.for_each(|text| {
                    page.push_str(text);
                    page.push('\n');
                });
            }
        }
        page.push_str(question(look));
        page
    }

    /// What stands beside the picture, or below a large one.
    fn beside(&self, draft: &Draft, look: Look) -> Vec<Zeroizing<String>> {
        let plain = |text: &str| Zeroizing::new(text.to_owned());
        let key = draft.secret.in_groups();
        let groups: Vec<_> = key.split(' ').collect();
        let rows = groups.chunks(4).map(|row| {
            let mut text = Zeroizing::new(String::with_capacity(64));
            for group in row {
                let gap = if text.is_empty() { "  " } else { " " };
                text.push_str(gap);
                text.push_str(group);
            }
            text
        });
        let mut texts =
            vec![plain("Scan it with an authenticator app,"), plain("or type this key into one:"), plain("")];
        texts.extend(rows);
        texts.push(plain(""));
        if look.style == Style::HalfBlocks {
            texts.extend(
                ["If it is not read:", "  i  swaps dark and light", "  a  draws it larger, in ASCII"].map(plain),
            );
            texts.extend(["     (for terminals without UTF-8)", "  q  gives up", ""].map(plain));
        } else {
            texts.push(plain("If it is too large here, make the letters smaller, or type the key."));
        }
        if let Some(seconds) = self.enrolling.login_grace_time.filter(|_| self.is_sshd) {
            texts.push(Zeroizing::new(format!("sshd hangs up {seconds} s after you have")));
            texts.push(plain("connected. Nothing is lost by that."));
        }
        texts
    }

    /// What the app shows beside the code.
    fn names(&self) -> (Name, Name) {
        let host = || Name::issuer(self.host).unwrap_or_else(|_| Name::of_product());
        let issuer = self.enrolling.issuer.clone().unwrap_or_else(host);
        (issuer, Name::parse(self.user.as_str()).unwrap_or_else(|_| Name::of_product()))
    }

    fn now(&self) -> Result<WallTime, Stopped> {
        self.clock.now().map(|now| now.wall).ok_or(Stopped::NoTime)
    }
}

impl Look {
    fn after(self, said: &Said) -> Self {
        match said {
            Said::Invert => Self { ink: if self.ink == Ink::Light { Ink::Dark } else { Ink::Light }, ..self },
            _ => Self { style: if self.style == Style::Ascii { Style::HalfBlocks } else { Style::Ascii }, ..self },
        }
    }
}

/// The picture; where that would not fit, of the short URI, or of shorter names. One in ASCII is higher than any terminal,
/// and only its width counts.
fn draw(draft: &Draft, issuer: &Name, account: &Name, look: Look) -> Option<Zeroizing<Vec<String>>> {
    let cut = |name: &Name, most: usize| Name::parse(&name.as_str().chars().take(most).collect::<String>()).ok();
    let short = |most: usize| {
        let (issuer, account) = (cut(issuer, most)?, cut(account, most)?);
        Some(otpauth::short_uri(&draft.secret, draft.shape, &issuer, &account))
    };
    let uris = [Some(draft.uri(issuer, account)), short(Name::MAX), short(SHORT), short(SHORTER)];
    let mut last = None;
    for uri in uris.into_iter().flatten() {
        let drawing = Picture::of(&uri).ok()?.draw(look.style, look.ink, ROOM);
        let fits = match look.style {
            Style::HalfBlocks => drawing.size.lines <= ROOM.lines,
            Style::Ascii => drawing.size.columns <= ROOM.columns,
        };
        last = Some(drawing.lines);
        if fits {
            break;
        }
    }
    last
}

/// One line, in characters that every locale has.
fn question(look: Look) -> &'static str {
    match look.style {
        Style::HalfBlocks => "Code from the app (or i: invert, a: ASCII picture, q: give up): ",
        Style::Ascii => "Code from the app (or i: invert, a: smaller picture, q: give up): ",
    }
}

fn left(tries: u32) -> String {
    match tries {
        0 => String::new(),
        1 => "1 try is left.".to_owned(),
        tries => format!("{tries} tries are left."),
    }
}

fn ask(talk: &mut dyn Conversation, text: &str) -> Result<Answer, Stopped> {
    talk.ask(Prompt { text, echo: true }).map_err(|_| Stopped::NoConversation)
}

#[cfg(test)]
mod tests;
