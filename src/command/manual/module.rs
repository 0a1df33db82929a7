//! `pam_qrtotp(8)`: the module, its arguments, what it answers, and why.

use qrtotp_core::module_line::ARGUMENTS;
use qrtotp_core::verdict::{Cause, PamAnswer};
use qrtotp_trail::why;

use super::roff::{Page, bold, italic};

/// Service files that are shown, and for which program.
const EXAMPLES: [(&str, &str, &str); 5] = [
    ("sshd, key and code", "sshd-key-and-code", include_str!("../../../pam.d-examples/sshd-key-and-code")),
    (
        "sshd, password and code",
        "sshd-password-and-code",
        include_str!("../../../pam.d-examples/sshd-password-and-code"),
    ),
    ("sudo", "sudo", include_str!("../../../pam.d-examples/sudo")),
    ("su", "su", include_str!("../../../pam.d-examples/su")),
    ("login", "login", include_str!("../../../pam.d-examples/login")),
];

/// Every answer there is, the good one first.
const ANSWERS: [PamAnswer; 8] = [
    PamAnswer::Success,
    PamAnswer::Ignore,
    PamAnswer::AuthErr,
    PamAnswer::MaxTries,
    PamAnswer::ConvErr,
    PamAnswer::AuthinfoUnavail,
    PamAnswer::ServiceErr,
    PamAnswer::Abort,
];

/// The page.
pub fn page() -> Page {
    let mut page = Page::new("pam_qrtotp", 8, "one-time codes (TOTP) at the login");
    page.chapter("SYNOPSIS");
    let words = ARGUMENTS.map(|argument| format!("[{}]", word(argument.name, argument.value)));
    page.synopsis("pam_qrtotp.so", &words);
    page.chapter("DESCRIPTION");
    describe(&mut page);
    page.chapter("ARGUMENTS");
    page.first("An argument that the module does not know denies every login, and the log names it.");
    for argument in ARGUMENTS {
        page.item(&word(argument.name, argument.value), argument.help);
    }
    page.chapter("MODULE TYPES PROVIDED");
    page.first("Only `auth`. Setting credentials always succeeds.");
    services(&mut page);
    answers(&mut page);
    log(&mut page);
    files(&mut page);
    examples(&mut page);
    notes(&mut page);
    page.chapter("SEE ALSO");
    page.first(
        "`qrtotp`(8), `qrtotp`(7), `qrtotp-config`(5), `qrtotp-why`(8), `pam.conf`(5), `pam.d`(5), `pam`(7), `sshd_config`(5)",
    );
    page
}

fn word(name: &str, value: Option<&str>) -> String {
    value.map_or_else(|| bold(name), |value| format!("{}{}", bold(&format!("{name}=")), italic(value)))
}

fn describe(page: &mut Page) {
    page.first(
        "The module asks for a one-time code (TOTP, RFC 6238) of an authenticator app, beside whatever else the stack asks for. \
         Whether it asks, of whom and how, is said by the policy, `qrtotp-config`(5); without one, everybody needs a code. People are \
         enrolled with `qrtotp-enroll`(8), or enroll themselves at the prompt, where a rule says so, with a ticket from \
         `qrtotp-ticket`(8).",
    );
    page.more(
        "At the prompt a code is typed, with blanks or without; or a recovery code, each of which works once; or a ticket, where \
         tickets are taken. A code is accepted once, whoever races for it, and neither is one that is older than one that was. An attempt \
         is on disk before its verdict is known.",
    );
    page.more(
        "After five wrong codes a second code is asked in the same login, the one that the app shows next. Its owner can give \
         that, a guesser cannot, and nobody is locked out.",
    );
    page.more(
        "It fails closed: state or policy that is missing, damaged or unsafe denies, and the log says what to mend. People who \
         do not exist, or are not enrolled, are asked and judged like others.",
    );
}

fn services(page: &mut Page) {
    page.chapter("SERVICES");
    page.item(
        "sshd",
        "Needs `UsePAM yes`, and the method keyboard-interactive. With keys, `AuthenticationMethods publickey,keyboard-interactive:pam` \
         makes both needed; without it a key alone logs in, and PAM is never asked. The method `password` can answer one question \
         only, shows nothing, and enrolls nobody.",
    );
    page.item(
        "sudo",
        "Runs modules silently: the prompt comes, notices do not, and nobody can enroll. `sudo -i` reads a file of its own, \
         /etc/pam.d/sudo-i. What sudo remembers by its timestamp it does not ask for.",
    );
    page.item(
        "su",
        "Asks for the code of the user it changes to, or, with `[identity] su = \"invoker\"`, for that of its caller.",
    );
    page.item("login", "Gives 60 seconds for everything: `LOGIN_TIMEOUT` in /etc/login.defs.");
    page.item("others", "Every program that passes on the questions of PAM.");
}

/// What a program is answered, and for which reasons.
fn answers(page: &mut Page) {
    page.chapter("RETURN VALUES");
    page.first("Each with the reasons that the log gives for it.");
    for answer in ANSWERS {
        let (name, meaning) = row(answer);
        let reasons: Vec<_> = causes(answer).map(|cause| bold(cause.reason())).collect();
        page.item(name, &format!("{meaning} Reasons: {}.", reasons.join(", ")));
    }
}

fn causes(answer: PamAnswer) -> impl Iterator<Item = Cause> {
    Cause::ALL.into_iter().filter(move |cause| cause.answer() == answer)
}

fn row(answer: PamAnswer) -> (&'static str, &'static str) {
    match answer {
        PamAnswer::Success => ("PAM_SUCCESS", "The code was right, or a rule lets the user in without one."),
        PamAnswer::Ignore => ("PAM_IGNORE", "A rule leaves it to the other modules. Nothing else is ever answered so."),
        PamAnswer::AuthErr => ("PAM_AUTH_ERR", "The user was refused."),
        PamAnswer::MaxTries => ("PAM_MAXTRIES", "Refused, and trying again is of no use for now."),
        PamAnswer::ConvErr => ("PAM_CONV_ERR", "The program could not ask, or gave no answer."),
        PamAnswer::AuthinfoUnavail => ("PAM_AUTHINFO_UNAVAIL", "It could not be judged, so it was refused."),
        PamAnswer::ServiceErr => ("PAM_SERVICE_ERR", "The module's line in the service file is wrong."),
        PamAnswer::Abort => ("PAM_ABORT", "A fault of the module, which was contained."),
    }
}

fn log(page: &mut Page) {
    page.chapter("LOGGING");
    page.first("One line an attempt, at facility authpriv, in the form that other modules use and `fail2ban` reads:");
    page.example(
        "pam_qrtotp(sshd:auth): authentication failure; logname= uid=0 euid=0\n    tty=ssh ruser= rhost=192.0.2.7 user=alice \
         reason=wrong\n    budget=4 id=67cc05aa2cda6f60",
    );
    page.more(
        "The same event is a JSON line in the events file, with more in it; `qrtotp-log`(8), `qrtotp-why`(8) and \
         `qrtotp-stats`(8) read that. `detail=` has the file and the error where something must be mended. A name that no account has \
         is never logged, because people type passwords at login prompts.",
    );
    page.part("Reasons");
    page.first("What `reason=` says, what that means, and what helps.");
    for cause in ANSWERS.into_iter().flat_map(causes) {
        let answer = why::of_cause(cause);
        let sentences = [answer.what, answer.advice].into_iter().filter(|text| !text.is_empty());
        let sentences: Vec<_> = sentences.map(|text| format!("{}.", raised(&text))).collect();
        page.item(&bold(cause.reason()), &sentences.join(" "));
    }
}

fn raised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}

fn files(page: &mut Page) {
    page.chapter("FILES");
    let files = [
        ("/etc/qrtotp/config.toml", "The policy. It must be root's, and nobody else may write it."),
        (
            "/var/lib/qrtotp",
            "Keys, recovery codes, tickets and journals; root's alone, on a local disk. Missing, it denies.",
        ),
        (
            "/var/log/qrtotp/events.jsonl",
            "The events. Where they cannot be written nobody is kept out, but callers who limit the size of files.",
        ),
        ("/run/qrtotp", "Counters, and where people are not asked again. May be lost."),
        ("/usr/share/doc/qrtotp/examples", "Whole service files, with a comment on each line."),
    ];
    files.into_iter().for_each(|(file, what)| page.item(&italic(file), what));
}

/// The lines for sshd_config and the `auth` lines of the shipped examples.
fn examples(page: &mut Page) {
    page.chapter("EXAMPLES");
    page.first(
        "The lines of type auth; the whole files are in /usr/share/doc/qrtotp/examples. Keep a root shell open until a fresh login has \
         worked.",
    );
    for (title, file, text) in EXAMPLES {
        page.part(title);
        let settings: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#     ")).map(str::trim).collect();
        if !settings.is_empty() {
            page.first("In /etc/ssh/sshd_config.d/qrtotp.conf:");
            page.example(&settings.join("\n"));
        }
        let place = file.split('-').next().unwrap_or(file);
        let lines: Vec<_> = text.lines().filter(|line| is_of_auth(line)).map(tidy).collect();
        if settings.is_empty() {
            page.first(&place_of(place))
        } else {
            page.more(&place_of(place))
        }
        page.example(&lines.join("\n"));
    }
}

fn place_of(service: &str) -> String {
    format!("In {}:", italic(&format!("/etc/pam.d/{service}")))
}

fn is_of_auth(line: &str) -> bool {
    line.starts_with("auth") || line.starts_with("@include common-auth")
}

fn tidy(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn notes(page: &mut Page) {
    page.chapter("NOTES");
    page.first(
        "Put the module behind the first factor, and let a wrong one end there, by `requisite` or as Debian's common-auth does. With \
         `[enroll] first_login = \"first-factor\"`, and where one line takes password and code, that is needed.",
    );
    page.more(
        "It does not resist phishing: whoever gets a code out of somebody can use it once, within its minute. Root can read the \
         keys. What does not go through the authentication of PAM is not seen: keys of ssh without `AuthenticationMethods`, sudo \
         within its timestamp, cron.",
    );
    page.more(
        "The module starts no thread and no process, opens no network socket, reads no environment, and leaves nothing behind in \
         the program that loads it.",
    );
}
