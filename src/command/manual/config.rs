//! `qrtotp-config(5)`: every key of the policy, from the definitions that the reader has.

use qrtotp_core::policy::alerts::{self, Counted, Deed, Per};
use qrtotp_core::policy::keys::{Default, Key, Kind, OF_COMMANDS, OF_LOGINS};
use qrtotp_core::policy::rules::{self, Action, RuleKey};

use super::roff::{Page, bold, italic};

/// What the keys of a rule take. It stands here because the module, whose size is bounded, would carry it along.
const OF_RULES: &[(&str, &str)] = &[
    ("users", "a list of names"),
    ("groups", "a list of names"),
    ("services", "a list of names"),
    ("from", "a list of addresses, networks and `\"local\"`"),
    ("hours", "two times of the day, `\"HH:MM-HH:MM\"`; the second does not belong to it"),
    (
        "days",
        "a list of days, `mon` to `sun`, or of spans of them; of hours over midnight, the day on which they begin",
    ),
    ("zone", "the name of a time zone, or an offset"),
    ("until", "a date or a time"),
    ("action", "a word, see below; it must not be missing"),
    ("codes", "1 or 2; goes with `require` and `enroll`"),
    ("past", "a number from 0 to 10; goes with `require` and `enroll`"),
    ("enroll_by", "a date or a time; goes with `require` and `enroll`"),
    ("grace_logins", "a number from 1 to 1000; goes with `require` and `enroll`"),
    ("remember", "a time from `\"1m\"` to `\"30d\"`; goes with `require` and `enroll`"),
    (
        "input",
        "`\"code\"` or `\"password+code\"`; goes with `require`, and not with `enroll_by`, `grace_logins` and `remember`",
    ),
];

/// What the keys of an alert take.
const OF_ALERTS: &[(&str, &str)] = &[
    ("name", "a word of letters, digits, `-` and `_`; it must not be missing"),
    ("when", "what is counted, how many, in which time, together for whom; it must not be missing"),
    ("users", "a list of names"),
    ("groups", "a list of names"),
    ("services", "a list of names"),
    ("do", "a list of words, see below; it must not be missing"),
    ("exec", "a list: an absolute path, and arguments; goes with `exec` in `do`"),
    ("step_up", "a time up to `\"30d\"`; `\"24h\"` where it is missing"),
    ("quiet", "a time up to `\"30d\"`"),
];

/// The page.
pub fn page() -> Page {
    let mut page = Page::new("qrtotp-config", 5, "the policy of one-time codes: who needs one, where and when");
    page.chapter("SYNOPSIS");
    page.first(&italic("/etc/qrtotp/config.toml"));
    page.chapter("DESCRIPTION");
    describe(&mut page);
    page.chapter("MISTAKES");
    mistakes(&mut page);
    page.chapter("SECTIONS");
    sections(&mut page);
    page.chapter("RULES");
    of_rules(&mut page);
    page.chapter("ALERTS");
    of_alerts(&mut page);
    page.chapter("EXAMPLES");
    examples(&mut page);
    page.chapter("FILES");
    page.item(&italic("/etc/qrtotp/config.toml"), "The policy, made by `qrtotp-init`(8) with every key in it.");
    page.chapter("SEE ALSO");
    page.first("`qrtotp-policy`(8), `qrtotp-watch`(8), `qrtotp`(8), `qrtotp`(7), `pam_qrtotp`(8)");
    page
}

fn describe(page: &mut Page) {
    page.first(
        "The policy is a TOML file, version 1.0. The module `pam_qrtotp`(8) reads it at each login, and `qrtotp`(8) at each call: there is \
         nothing to restart. The module's argument `config=` and the command's option `--config` name another file.",
    );
    page.more(
        "A key that is missing has its default, and without a file all of them have: everybody needs a code. The file must be \
         root's, no link, and writable by nobody else. `qrtotp-init`(8) writes it with each key and its meaning, commented out.",
    );
    page.part("Precedence");
    page.first(
        "The first rule that holds decides; after the last one, a code is required. What a rule says counts more than the section of \
         the same meaning: `past` of a rule more than `[totp] past`. A revocation counts more than any rule. What cannot be known, such as \
         a group while its name service is down, is decided both ways, and the stricter way counts.",
    );
}

fn mistakes(page: &mut Page) {
    page.first(
        "A mistake in what a login reads denies every login, with the reason `policy`, until it is mended: a policy that is not understood \
         must not become a weaker one. That is so for unknown keys too. A mistake in `[geo]`, `[brand]` or `[[alert]]`, which commands alone \
         read, keeps nobody out.",
    );
    page.more(
        "After each change, before you log out, run `qrtotp-policy`(8) with `check`. It names all mistakes, each with line, column and \
         the nearest known word, and what is probably not meant.",
    );
}

fn sections(page: &mut Page) {
    let mut section = "";
    for key in OF_LOGINS.into_iter().chain(OF_COMMANDS) {
        if key.section != section {
            section = key.section;
            page.part(&format!("[{section}]"));
            if OF_COMMANDS.iter().any(|of| of.section == section) {
                page.first("For commands; no login reads it.");
            }
        }
        let taken = format!("{}. The default is {}.", taken(key), default(key));
        page.item(&bold(key.name), &format!("{taken}\n\n{}", key.help));
    }
}

/// What a key takes.
fn taken(key: &Key) -> String {
    let or_empty = if key.default == Default::Text("") { ", or an empty text" } else { "" };
    match key.kind {
        Kind::Path => format!("An absolute path{or_empty}"),
        Kind::Text(most) => format!("A text of at most {most} characters{or_empty}"),
        Kind::Switch => "`true` or `false`".to_owned(),
        Kind::Number(least, most) => format!("A number from {least} to {most}"),
        Kind::Word(words) => format!("One of {}", listed(words)),
        Kind::Services => "A list of names of PAM services".to_owned(),
        Kind::Colour => format!("A colour, as `\"#1a2b3c\"`{or_empty}"),
    }
}

fn default(key: &Key) -> String {
    match key.default {
        Default::Text("") => "empty".to_owned(),
        Default::Text(text) => bold(&format!("\"{text}\"")),
        Default::Switch(on) => bold(&on.to_string()),
        Default::Number(number) => bold(&number.to_string()),
        Default::List(items) => bold(&format!("[\"{}\"]", items.join("\", \""))),
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| bold(&format!("\"{word}\""))).collect::<Vec<_>>().join(", ")
}

/// Items for the keys of a table: what each takes, what it means, and how it looks.
fn table(page: &mut Page, keys: &[RuleKey], takes: &[(&str, &str)]) {
    for key in keys {
        let takes = takes.iter().find(|(name, _)| *name == key.name).map(|(_, takes)| *takes).unwrap_or_default();
        let help = key.help.trim_end_matches('.');
        let example = bold(&format!("{} = {}", key.name, key.example));
        page.item(&bold(key.name), &format!("Takes {takes}.\n\n{help}.\n\n{example}"));
    }
}

fn of_rules(page: &mut Page) {
    page.first(
        "Each `[[rule]]` has conditions, all of which must hold, an action, and what goes with it. A condition that is left out always \
         holds; of a list, one must. Rules stand in the order in which they are tried.",
    );
    table(page, &rules::KEYS, OF_RULES);
    page.part("Actions");
    Action::ALL.into_iter().for_each(|action| page.item(&bold(action.word()), meaning(action)));
}

fn meaning(action: Action) -> &'static str {
    match action {
        Action::Allow => "Success without a code, for users that exist and were not revoked; the event says `exempt`.",
        Action::Skip => "PAM_IGNORE: the other modules of the stack decide. Where none does, nobody gets in.",
        Action::Enroll => "A code is asked; who is not enrolled may do that now, as `[enroll] first_login` says.",
        Action::Require => "A code is asked.",
        Action::RecoveryOnly => "Recovery codes are accepted, codes of devices are not.",
        Action::Deny => "Asked as always, and refused.",
    }
}

fn of_alerts(page: &mut Page) {
    page.first(
        "Each `[[alert]]` says what `qrtotp-watch`(8) counts in the events, and what it does once that is enough. An alert is raised once, \
         whenever the watcher is killed or restarted.",
    );
    table(page, &alerts::KEYS, OF_ALERTS);
    page.part("What is counted");
    page.first(&format!(
        "`when` reads {} `>=` {} `in` {} `per` {}. What is counted:",
        italic("WHAT"),
        italic("NUMBER"),
        italic("TIME"),
        Per::ALL.map(|per| bold(per.word())).join(", ")
    ));
    Counted::ALL.into_iter().for_each(|counted| page.item(&bold(counted.word()), what(counted)));
    page.part("What is done");
    Deed::ALL.into_iter().for_each(|deed| page.item(&bold(deed.word()), done(deed)));
}

fn what(counted: Counted) -> &'static str {
    match counted {
        Counted::Failures => "Logins that were refused.",
        Counted::Logins => "Logins that were accepted.",
        Counted::Replays => "Right codes that were used before.",
        Counted::Exhausted => {
            "Answers beyond the guessing budget: two codes were asked in vain, or a lock began or held."
        }
        Counted::Flooded => "Answers beyond `[flood] per_minute`.",
        Counted::RefusedTickets => "Tickets that were typed in vain.",
        Counted::RecoveryCodes => "Recovery codes that were accepted.",
        Counted::NewSources => "Logins from a source, and a network, that is new for the user.",
        Counted::NewCountries => "Logins from a country that is new for the user; needs `[geo] database`.",
        Counted::UnusualHours => "Logins in an hour in which the user never logs in.",
        Counted::Sources => "Different sources of accepted logins.",
        Counted::Countries => "Different countries of accepted logins; needs `[geo] database`.",
        Counted::Users => "Different users of refused logins.",
    }
}

fn done(deed: Deed) -> &'static str {
    match deed {
        Deed::Log => "An `alert` event, in syslog and the events file.",
        Deed::Exec => {
            "The program of the key `exec`, which must be root's, as every folder above it. It gets the alert as JSON on standard input, no \
             environment but `PATH`, and 30 seconds."
        }
        Deed::StepUp => {
            "Two codes at every login of the user, for the time of the key `step_up`. Only where it is per user."
        }
        Deed::Disable => {
            "All devices of the user are disabled; recovery codes still work. Only where it is per user; root only if `users` names root."
        }
    }
}

/// Policies that the tests check with the command.
const EXAMPLES: [(&str, &str); 4] = [
    (
        "Everybody may enroll, and gets in without for a while:",
        "[enroll]\nlogin_grace_time = 600\n\n[[rule]]\naction       = \"enroll\"\nenroll_by    = 2027-01-31\ngrace_logins = 10",
    ),
    (
        "The backup server needs none until the project ends, people on call give two, and nobody else comes at night:",
        "[[rule]]\nusers    = [\"backup\"]\nservices = [\"sshd\"]\nfrom     = [\"192.0.2.10\", \"2001:db8::/64\"]\naction   = \"allow\"\nuntil    \
         = 2027-03-31\n\n[[rule]]\ngroups = [\"oncall\"]\naction = \"require\"\ncodes  = 2\n\n[[rule]]\nhours  = \"22:00-06:00\"\nzone   = \
         \"Europe/Berlin\"\naction = \"deny\"",
    ),
    (
        "sudo and su ask once a day and terminal:",
        "[[rule]]\nservices = [\"sudo\", \"su\"]\naction   = \"require\"\nremember = \"8h\"",
    ),
    (
        "Whoever guesses is told of, and whoever logs in from two countries at once is asked two codes for a day:",
        "[[alert]]\nname = \"guessing\"\nwhen = \"failures >= 10 in 10m per source\"\ndo   = [\"log\"]\n\n[[alert]]\nname = \
         \"two-countries\"\nwhen = \"countries >= 2 in 1h per user\"\ndo   = [\"log\", \"step-up\"]\nstep_up = \"24h\"\n\n[geo]\ndatabase = \
         \"/usr/share/GeoIP/country.mmdb\"",
    ),
];

fn examples(page: &mut Page) {
    for (number, (title, text)) in EXAMPLES.into_iter().enumerate() {
        if number == 0 {
            page.first(title)
        } else {
            page.more(title)
        }
        page.example(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_every_key_of_a_rule_or_an_alert_it_is_said_what_it_takes() {
        let keys = rules::KEYS.iter().chain(&alerts::KEYS).map(|key| key.name).collect::<Vec<_>>();
        let takes = OF_RULES.iter().chain(OF_ALERTS).map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(keys, takes, "say in manual/config.rs what a key takes");
    }
}
