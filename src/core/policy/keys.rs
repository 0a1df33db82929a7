//! The one definition of every key of `config.toml`: the reader, the default file and the manual are made from it.

/// What a key takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An absolute path; may be empty only if the default is.
    Path,
    /// A line of text of at most so many characters; may be empty only if the default is.
    Text(usize),
    /// `true` or `false`.
    Switch,
    /// A whole number in this range.
    Number(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Names of PAM services in a list.
    Services,
    /// A colour, as `#1a2b3c`; may be empty only if the default is.
    Colour,
}

/// A value of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Of [`Kind::Path`], [`Kind::Text`], [`Kind::Word`] and [`Kind::Colour`].
    Text(String),
    /// Of [`Kind::Switch`].
    Switch(bool),
    /// Of [`Kind::Number`].
    Number(i64),
    /// Of [`Kind::Services`].
    List(Vec<String>),
}

/// A default, as it stands in the definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// For [`Value::Text`].
    Text(&'static str),
    /// For [`Value::Switch`].
    Switch(bool),
    /// For [`Value::Number`].
    Number(i64),
    /// For [`Value::List`].
    List(&'static [&'static str]),
}

impl Default {
    /// The value.
    pub fn value(self) -> Value {
        match self {
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::Switch(on) => Value::Switch(on),
            Self::Number(number) => Value::Number(number),
            Self::List(items) => Value::List(items.iter().map(|item| (*item).to_owned()).collect()),
        }
    }
}

/// One key of one section.
#[derive(PartialEq, Eq, Debug)]
pub struct Key {
    /// `[section]`.
    pub section: &'static str,
    /// The name before the `=`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What counts where it is missing.
    pub default: Default,
    /// What it means, for the administrator.
    pub help: &'static str,
}

/// Where state lives.
pub const STATE_DIR: Key = Key {
    section: "state",
    name: "dir",
    kind: Kind::Path,
    default: Default::Text("/var/lib/qrtotp"),
    help: "Keys, recovery codes and journals of the users. On a local disk, 0700, root's.",
};

/// Where events go.
pub const EVENTS_FILE: Key = Key {
    section: "events",
    name: "file",
    kind: Kind::Path,
    default: Default::Text("/var/log/qrtotp/events.jsonl"),
    help: "One JSON line an attempt, beside the line in syslog. If it cannot be written,\n\
           nobody is kept out, but callers who limit the size of files (ulimit -f) to less than it has.",
};

/// Where what may be lost at a boot lives.
pub const RUNTIME_DIR: Key = Key {
    section: "runtime",
    name: "dir",
    kind: Kind::Path,
    default: Default::Text("/run/qrtotp"),
    help: "Counters of the flood limit, and where people were not asked again. May be lost at any time.",
};

/// Past steps of the window.
pub const TOTP_PAST: Key = Key {
    section: "totp",
    name: "past",
    kind: Kind::Number(0, 10),
    default: Default::Number(1),
    help: "How many codes before the current one are accepted: time to type. Each makes guessing easier.",
};

/// Future steps of the window.
pub const TOTP_FUTURE: Key = Key {
    section: "totp",
    name: "future",
    kind: Kind::Number(0, 10),
    default: Default::Number(0),
    help: "How many codes after the current one are accepted. 0 is right where the host keeps time.",
};

/// The question.
pub const PROMPT_TEXT: Key = Key {
    section: "prompt",
    name: "text",
    kind: Kind::Text(200),
    default: Default::Text("One-time code: "),
    help: "What people are asked. Recovery codes are typed here too.",
};

/// The question for the second of two codes.
pub const PROMPT_SECOND: Key = Key {
    section: "prompt",
    name: "second",
    kind: Kind::Text(200),
    default: Default::Text("Next code, after it has changed: "),
    help: "What people are asked for the second of two codes, when the budget of guesses is used up.",
};

/// The question where people may enroll.
pub const PROMPT_ENROLL: Key = Key {
    section: "prompt",
    name: "enroll",
    kind: Kind::Text(200),
    default: Default::Text("One-time code, or enrollment ticket: "),
    help: "What people are asked where a rule says \"enroll\": everybody the same, enrolled or not.",
};

/// The question for password and code in one line.
pub const PROMPT_BOTH: Key = Key {
    section: "prompt",
    name: "both",
    kind: Kind::Text(200),
    default: Default::Text("Password and one-time code in one line: "),
    help: "What people are asked where a rule says input = \"password+code\".",
};

/// Whether the terminal shows what is typed.
pub const PROMPT_ECHO: Key = Key {
    section: "prompt",
    name: "echo",
    kind: Kind::Switch,
    default: Default::Switch(false),
    help: "Whether the code shows while it is typed. With true, sshd's method \"password\" cannot be used.\n\
           A password together with a code never shows.",
};

/// What happens when the budget is empty.
pub const LIMITS_MODE: Key = Key {
    section: "limits",
    name: "mode",
    kind: Kind::Word(&["step-up", "lock"]),
    default: Default::Text("step-up"),
    help: "\"step-up\": after 5 wrong codes two consecutive codes are asked, so that a guesser cannot lock the owner out.\n\
           \"lock\": after `attempts` wrong codes no code is accepted for `seconds`, as PCI DSS 8.3.4 asks; recovery codes are.",
};

/// Attempts before a lock.
pub const LIMITS_ATTEMPTS: Key = Key {
    section: "limits",
    name: "attempts",
    kind: Kind::Number(1, 100),
    default: Default::Number(10),
    help: "Mode \"lock\" only: failed attempts in a row until the lock.",
};

/// Seconds of a lock.
pub const LIMITS_SECONDS: Key = Key {
    section: "limits",
    name: "seconds",
    kind: Kind::Number(1, 31_536_000),
    default: Default::Number(1800),
    help: "Mode \"lock\" only: how long the lock lasts, counted while the machine runs.",
};

/// Attempts before codes are refused for good.
pub const LIMITS_DISABLE_AFTER: Key = Key {
    section: "limits",
    name: "disable_after",
    kind: Kind::Number(0, 100_000),
    default: Default::Number(0),
    help: "Failed attempts in a row after which codes are refused until `qrtotp unlock`; 0 is never.\n\
           100 is what NIST SP 800-63B allows at most. Recovery codes still work.",
};

/// Answers a source and minute.
pub const FLOOD_PER_MINUTE: Key = Key {
    section: "flood",
    name: "per_minute",
    kind: Kind::Number(0, 100_000),
    default: Default::Number(120),
    help: "Answers that one source may give in a minute, for all users together; more are refused unseen. 0 is no limit.",
};

/// Whose code su asks for.
pub const IDENTITY_SU: Key = Key {
    section: "identity",
    name: "su",
    kind: Kind::Word(&["target", "invoker"]),
    default: Default::Text("target"),
    help: "Whose code su asks for: that of the user it changes to, or that of the user who calls it, by the real user id of\n\
           the process. With \"invoker\" rules, budget and log are the caller's too, and root's own device is not shared.",
};

/// Who issues the codes.
pub const ENROLL_ISSUER: Key = Key {
    section: "enroll",
    name: "issuer",
    kind: Kind::Text(64),
    default: Default::Text(""),
    help: "The name that authenticator apps show. Empty: the name of this host.",
};

/// What it takes to enroll at a login.
pub const ENROLL_FIRST_LOGIN: Key = Key {
    section: "enroll",
    name: "first_login",
    kind: Kind::Word(&["ticket", "first-factor", "off"]),
    default: Default::Text("ticket"),
    help: "What it takes to enroll at a login where a rule says \"enroll\". \"ticket\": one from `qrtotp ticket new`.\n\
           \"first-factor\": nothing more than the password or key that came before. Whoever has stolen that enrolls his own\n\
           phone, if he comes first. The line before this module must be `requisite` or end a wrong password in another way, as\n\
           Debian's common-auth does: with `required` anybody enrolls on any account that is not enrolled, without a password.\n\
           \"off\": nobody enrolls at a login, and tickets are not taken.",
};

/// Where a picture may be shown.
pub const ENROLL_SERVICES: Key = Key {
    section: "enroll",
    name: "services",
    kind: Kind::Services,
    default: Default::List(&["sshd", "login", "su", "su-l"]),
    help: "PAM services in which people enroll and are shown recovery codes.",
};

/// Devices a user may have.
pub const ENROLL_MAX_DEVICES: Key = Key {
    section: "enroll",
    name: "max_devices",
    kind: Kind::Number(1, 4),
    default: Default::Number(4),
    help: "Devices that a user may have. Each makes guessing easier.",
};

/// Codes that confirm a device.
pub const ENROLL_CONFIRM: Key = Key {
    section: "enroll",
    name: "confirm",
    kind: Kind::Number(1, 2),
    default: Default::Number(1),
    help: "Codes that confirm a new device: 1, or 2 consecutive ones.",
};

/// How long sshd waits for a login.
pub const ENROLL_LOGIN_GRACE_TIME: Key = Key {
    section: "enroll",
    name: "login_grace_time",
    kind: Kind::Number(0, 86_400),
    default: Default::Number(120),
    help: "Seconds after which sshd hangs up on who has not logged in: its LoginGraceTime. Only told to who enrolls; 0 tells\n\
           nothing. 120 is short for finding an app, so let sshd wait 600 while people enroll, and say so here.",
};

/// Where addresses are looked up.
pub const GEO_DATABASE: Key = Key {
    section: "geo",
    name: "database",
    kind: Kind::Path,
    default: Default::Text(""),
    help: "A database of countries or networks in the MMDB format, for `qrtotp log`, `stats`, `report` and `watch`. Nothing is\n\
           ever looked up in the network; without a database no country is told.",
};

/// Whose name stands on cards.
pub const BRAND_ISSUER: Key = Key {
    section: "brand",
    name: "issuer",
    kind: Kind::Text(64),
    default: Default::Text(""),
    help: "The name of the organisation on pictures and cards that are printed. Empty: enroll.issuer.",
};

/// A picture in the middle of the picture.
pub const BRAND_LOGO: Key = Key {
    section: "brand",
    name: "logo",
    kind: Kind::Path,
    default: Default::Text(""),
    help: "A PNG file, square is best, that stands in the middle of the picture. See `qrtotp brand check`.",
};

/// The dark colour.
pub const BRAND_DARK: Key = Key {
    section: "brand",
    name: "dark",
    kind: Kind::Colour,
    default: Default::Text("#000000"),
    help: "The colour of the dark modules.",
};

/// The light colour.
pub const BRAND_LIGHT: Key = Key {
    section: "brand",
    name: "light",
    kind: Kind::Colour,
    default: Default::Text("#ffffff"),
    help: "The colour of the ground. The contrast to the dark one must be at least 4.5 to 1 (WCAG).",
};

/// Every key that commands alone read, in the order of the default file. A mistake in them keeps nobody out.
pub const OF_COMMANDS: [&Key; 5] = [&GEO_DATABASE, &BRAND_ISSUER, &BRAND_LOGO, &BRAND_DARK, &BRAND_LIGHT];

/// Every key that a login reads, in the order of the default file.
pub const OF_LOGINS: [&Key; 22] = [
    &STATE_DIR,
    &EVENTS_FILE,
    &RUNTIME_DIR,
    &TOTP_PAST,
    &TOTP_FUTURE,
    &PROMPT_TEXT,
    &PROMPT_SECOND,
    &PROMPT_ENROLL,
    &PROMPT_BOTH,
    &PROMPT_ECHO,
    &LIMITS_MODE,
    &LIMITS_ATTEMPTS,
    &LIMITS_SECONDS,
    &LIMITS_DISABLE_AFTER,
    &FLOOD_PER_MINUTE,
    &IDENTITY_SU,
    &ENROLL_ISSUER,
    &ENROLL_FIRST_LOGIN,
    &ENROLL_SERVICES,
    &ENROLL_MAX_DEVICES,
    &ENROLL_CONFIRM,
    &ENROLL_LOGIN_GRACE_TIME,
];

/// The default file: every key with its meaning and its default, each key commented out.
pub fn default_file() -> String {
    let mut text = String::from(
        "# qrtotp: who needs a one-time code, and how codes are judged.\n\
         # Every key stands here with its default. A mistake in this file refuses logins that need a code, and the log\n\
         # says where it is: run `qrtotp policy check` after a change, before you log out.\n",
    );
    let mut section = "";
    for key in OF_LOGINS.into_iter().chain(OF_COMMANDS) {
        if key.section != section {
            section = key.section;
            text.push_str(&format!("\n[{section}]\n"));
        }
        for line in key.help.lines() {
            text.push_str(&format!("# {}\n", line.trim_start()));
        }
        text.push_str(&format!("#{} = {}\n", key.name, literal(key.default)));
    }
    text.push_str(
        "\n# Rules: who needs a code, where and when. The first one that holds decides; after the last one everybody needs a code.\n\
         # A condition that is left out always holds. What cannot be known (a group, an address, the time) never opens.\n\
         # Try them: qrtotp policy check, qrtotp policy explain USER --service sshd, qrtotp policy simulate --service sshd\n#\n# [[rule]]\n",
    );
    for key in super::rules::KEYS {
        text.push_str(&format!("# {:<30} # {}\n", format!("{} = {}", key.name, key.example), key.help));
    }
    text.push_str(
        "\n# Alerts, for `qrtotp watch`: what is counted, and what is done. A mistake here keeps nobody out.\n#\n# [[alert]]\n",
    );
    for key in super::alerts::KEYS {
        text.push_str(&format!("# {:<42} # {}\n", format!("{} = {}", key.name, key.example), key.help));
    }
    text
}

fn literal(default: Default) -> String {
    match default {
        Default::Text(text) => format!("\"{text}\""),
        Default::Switch(on) => on.to_string(),
        Default::Number(number) => number.to_string(),
        Default::List(items) => {
            let items: Vec<_> = items.iter().map(|item| format!("\"{item}\"")).collect();
            format!("[{}]", items.join(", "))
        }
    }
}
