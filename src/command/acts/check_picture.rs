//! `qrtotp check-picture`

use std::fs::File;
use std::path::Path;

use qrtotp_core::events::Printable;
use qrtotp_pictures::holds::{self, Holds, Key};
use rustix::fs::{FileType, Mode, OFlags};
use serde_json::{Value, json};

use super::keys::{Keys, Owned};
use super::picture_reader;
use crate::arguments::Arguments;
use crate::desk::{Desk, require_root};
use crate::ending::{Code, Ending};
use crate::screen::{Screen, counted};

/// Characters of a text that are shown.
const SHOWN: usize = 60;
/// Characters of base32 from which on a text is taken for a key.
const LIKE_A_KEY: usize = 16;

const WHAT_TO_TRY: &str = "no QR code was found; try a sharper picture, cut to the code with a margin around it, \
straight from above, or a screenshot in place of a photo; codes inside of a PDF or HEIC: save them as PNG first";

/// Says what a picture holds.
pub fn run(arguments: &Arguments, path: &Path) -> Result<(), Ending> {
    let screen = Screen::new(arguments.json);
    let named = Printable::new(path.as_os_str().as_encoded_bytes());
    let refused = |what: String| Ending::new(Code::No, format!("{}: {what}", named.as_str()));
    let texts = picture_reader::texts(&open(path).map_err(refused)?).map_err(refused)?;
    if texts.is_empty() {
        screen.answer(&json!({ "file": path.to_string_lossy(), "codes": [] }), "")?;
        return Err(refused(WHAT_TO_TRY.to_owned()));
    }
    let keys = keys(arguments, &screen);
    let codes: Vec<_> = texts.iter().map(|text| (holds::what(text), text.as_str())).collect();
    let values: Vec<_> = codes.iter().map(|(holds, text)| value(holds, text, keys.as_ref())).collect();
    let mut lines = Vec::new();
    if codes.len() > 1 {
        lines.push(format!("{}:", counted(codes.len(), "code")));
    }
    for (holds, text) in &codes {
        lines.extend(words(holds, text, keys.as_ref()));
    }
    screen.answer(&json!({ "file": path.to_string_lossy(), "codes": values }), &lines.join("\n"))
}

/// Opens whatever a person names, as long as it is a file.
pub fn open(path: &Path) -> Result<File, String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let failed = |errno: rustix::io::Errno| std::io::Error::from(errno).to_string();
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::fstat(&fd).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("is not a file".to_owned());
    }
    Ok(File::from(fd))
}

/// The keys that are enrolled here; `None` where they are not for the caller, or cannot be read.
fn keys(arguments: &Arguments, screen: &Screen) -> Option<Keys> {
    require_root().ok()?;
    match Desk::open(&arguments.config, arguments.json).and_then(|desk| Keys::of(&desk)) {
        Ok(keys) => {
            keys.troubles.iter().for_each(|trouble| screen.remark(&format!("qrtotp: {trouble}")));
            Some(keys)
        }
        Err(ending) => {
            screen.remark(&format!("qrtotp: whether a key is good here is not known: {ending}"));
            None
        }
    }
}

fn owner<'a>(key: &Key, keys: Option<&'a Keys>) -> Option<&'a Owned> {
    keys?.owner_of(key.secret.as_ref()?)
}

fn shown(text: &str) -> String {
    Printable::new(text.as_bytes()).as_str().to_owned()
}

fn value(holds: &Holds, text: &str, keys: Option<&Keys>) -> Value {
    match holds {
        Holds::Key(key) => key_value("otpauth", key, keys),
        Holds::Export(all) => {
            let accounts: Vec<_> = all.iter().map(|key| key_value("otpauth", key, keys)).collect();
            json!({ "holds": "otpauth-migration", "accounts": accounts })
        }
        Holds::UnreadableExport => json!({ "holds": "otpauth-migration", "accounts": null }),
        Holds::Link { scheme, host } => json!({ "holds": "link", "scheme": scheme, "host": host }),
        Holds::Wifi => json!({ "holds": "wifi" }),
        Holds::Other => json!({ "holds": "text", "text": harmless(text) }),
    }
}

fn key_value(holds: &str, key: &Key, keys: Option<&Keys>) -> Value {
    let owned = owner(key, keys);
    json!({
        "holds": holds,
        "type": key.kind,
        "issuer": key.issuer,
        "account": key.account,
        "algorithm": key.algorithm,
        "digits": key.digits,
        "period": key.period,
        "counter": key.counter,
        "secret_bits": key.bits,
        "trouble": trouble(key),
        "alive": keys.map(|_| owned.is_some_and(|owned| owned.is_alive)),
        "owner": owned.map(Owned::as_json),
    })
}

fn words(holds: &Holds, text: &str, keys: Option<&Keys>) -> Vec<String> {
    match holds {
        Holds::Key(key) => key_words(key, keys),
        Holds::Export(all) => {
            let mut lines = vec![format!(
                "An export of an authenticator app with the keys of {}. Whoever has this picture has all of them.",
                counted(all.len(), "account")
            )];
            lines.extend(all.iter().flat_map(|key| key_words(key, keys)));
            lines
        }
        Holds::UnreadableExport => {
            vec!["An export of an authenticator app, damaged. It holds the keys of accounts; treat it as secret.".to_owned()]
        }
        Holds::Link { scheme, host } => vec![
            format!("A link ({scheme}) to the host {}. This enrolls nothing.", shown(host)),
            "Beware: a QR code that is to enroll you holds a key, not a link. Do not open it, and do not type a password \
             or a code there, unless you know why it was sent."
                .to_owned(),
        ],
        Holds::Wifi => vec!["A wireless network and its password, which is not shown. This enrolls nothing.".to_owned()],
        Holds::Other => match harmless(text) {
            Some(text) => vec![format!("A text: \"{text}\". This enrolls nothing.")],
            None => vec!["A text that may hold a secret; it is not shown.".to_owned()],
        },
    }
}

fn key_words(key: &Key, keys: Option<&Keys>) -> Vec<String> {
    let said = |value: &Option<String>, default: &str| value.as_deref().map_or(default.to_owned(), shown);
    let mut lines = vec![
        format!("A key for an authenticator app ({})", shown(&key.kind)),
        format!("  issuer     {}", said(&key.issuer, "none")),
        format!("  account    {}", said(&key.account, "none")),
        format!("  algorithm  {}", said(&key.algorithm, "SHA1")),
        format!("  digits     {}", said(&key.digits, "6")),
    ];
    match &key.counter {
        Some(counter) => lines.push(format!("  counter    {}", shown(counter))),
        None => lines.push(format!("  period     {} s", said(&key.period, "30"))),
    }
    lines.push(format!("  secret     {} bits, withheld", key.bits));
    if let Some(trouble) = trouble(key) {
        lines.push(format!("  trouble    {trouble}"));
    }
    let here = match (keys, owner(key, keys)) {
        (None, _) => "not known; root is told with: sudo qrtotp check-picture ...".to_owned(),
        (_, None) => "not enrolled on this machine".to_owned(),
        (_, Some(owned)) => {
            format!("{}; whoever saw this picture has the key, see: qrtotp rotate {}", owned.in_words(), owned.user)
        }
    };
    lines.push(format!("  here       {here}"));
    lines
}

fn trouble(key: &Key) -> Option<&'static str> {
    match (key.kind.as_str(), key.bits) {
        (_, 0) => Some("it has no secret; an app shows no codes by it"),
        ("hotp", _) => Some("counter-based codes; they cannot be used here"),
        ("totp", bits) if bits < 128 => Some("the key is shorter than the 128 bits that RFC 4226 asks for"),
        ("totp", _) if key.secret.is_none() => Some("the secret is not base32, or longer than 1024 bits"),
        ("totp", _) => None,
        _ => Some("of a type that apps do not know"),
    }
}

/// The beginning of a text that may be shown: not what could be a key, and of a link to an app its scheme alone.
fn harmless(text: &str) -> Option<String> {
    let is_base32 = |c: char| c.is_ascii_alphabetic() || ('2'..='7').contains(&c);
    let is_key = |word: &str| word.len() >= LIKE_A_KEY && word.chars().all(is_base32);
    if let Some((scheme, _)) = text.split_once("://") {
        return Some(format!("{}://...", shown(scheme).chars().take(SHOWN).collect::<String>()));
    }
    let joined: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '=')).collect();
    if is_key(&joined) && (joined.len() == text.len() || text.split([' ', '-']).all(|word| word.len() <= 4))
        || text.split_whitespace().any(is_key)
    {
        return None;
    }
    let beginning: String = text.chars().take(SHOWN).collect();
    let dots = if beginning.len() < text.len() { "..." } else { "" };
    Some(format!("{}{dots}", shown(&beginning)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_could_be_a_key_is_not_shown() {
        for text in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "GEZD GNBV GY3T QOJQ GEZD",
            "key: gezdgnbvgy3tqojq",
            "GEZD-GNBV-GY3T-QOJQ",
        ] {
            assert_eq!(harmless(text), None, "{text}");
        }
        assert_eq!(harmless("qrtotp test").as_deref(), Some("qrtotp test"));
        assert_eq!(harmless("duo://ABC-secret").as_deref(), Some("duo://..."));
        assert_eq!(harmless("\u{1b}]0;x\u{7}\u{202e}").as_deref(), Some("\\x1b]0;x\\x07\\xe2\\x80\\xae"));
        assert_eq!(harmless(&"1 ".repeat(200)).unwrap().len(), SHOWN + 3);
    }

    #[test]
    fn what_is_wrong_with_a_key_is_named() {
        let key = |text: &str| match holds::what(text) {
            Holds::Key(key) => trouble(&key),
            _ => panic!("{text}"),
        };
        assert_eq!(key("otpauth://totp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"), None);
        assert!(key("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP").unwrap().contains("128"));
        assert!(key("otpauth://hotp/a?secret=JBSWY3DPEHPK3PXP").unwrap().contains("counter"));
        assert!(key("otpauth://totp/a").unwrap().contains("no secret"));
        assert!(key("otpauth://x/a?secret=JBSWY3DPEHPK3PXP").unwrap().contains("type"));
    }
}
