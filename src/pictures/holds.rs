//! A text -> what it is: a key and its parameters, many keys, a link, or something else.
//!
//! Read as an app would read it, and more kindly: what is wrong with a key is said, not refused.

use percent_encoding::percent_decode_str;
use qrtotp_core::otp::Secret;
use zeroize::Zeroizing;

use crate::migration;
pub use crate::migration::Export;

/// What a text is.
#[derive(Debug)]
pub enum Holds {
    /// The key of one account.
    Key(Box<Key>),
    /// What an app moves its accounts to another phone with: the keys of several.
    Export(Vec<Key>),
    /// The same, damaged or of a kind that cannot be read.
    UnreadableExport,
    /// A link: what it is opened with, and the host it leads to.
    Link {
        /// `http` or `https`.
        scheme: String,
        /// Host, with a port if one is given; what stands in front of an `@` is no part of it.
        host: String,
    },
    /// A wireless network with its password.
    Wifi,
    /// Anything else.
    Other,
}

/// One account of an authenticator app.
#[derive(Debug, Default)]
pub struct Key {
    /// `totp`, `hotp`, or what it says.
    pub kind: String,
    /// Who issues the codes, as it says.
    pub issuer: Option<String>,
    /// Whose codes they are, as it says.
    pub account: Option<String>,
    /// Algorithm, as it says.
    pub algorithm: Option<String>,
    /// Digits, as it says.
    pub digits: Option<String>,
    /// Seconds that a code lasts, as it says.
    pub period: Option<String>,
    /// Where counting begins, as it says.
    pub counter: Option<String>,
    /// How many bits the key has; 0 where there is none.
    pub bits: usize,
    /// The key, if it is one that could be enrolled here.
    pub secret: Option<Secret>,
}

/// What a text is.
pub fn what(text: &str) -> Holds {
    let text = text.trim();
    if let Some(rest) = after(text, "otpauth://") {
        return Holds::Key(Box::new(key(rest)));
    }
    if after(text, "otpauth-migration://").is_some() {
        return export_of(text).map_or(Holds::UnreadableExport, |export| Holds::Export(export.keys));
    }
    for scheme in ["https", "http"] {
        if let Some(rest) = after(text, scheme).and_then(|rest| rest.strip_prefix("://")) {
            return Holds::Link { scheme: scheme.to_owned(), host: host(rest) };
        }
    }
    if after(text, "WIFI:").is_some() { Holds::Wifi } else { Holds::Other }
}

fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn host(rest: &str) -> String {
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
}

/// `TYPE/ISSUER:ACCOUNT?secret=...&...`
fn key(rest: &str) -> Key {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (kind, label) = path.split_once('/').unwrap_or((path, ""));
    let label = decode(label);
    let (issuer, account) = match label.split_once(':') {
        Some((issuer, account)) => (Some(issuer.trim().to_owned()), account.trim().to_owned()),
        None => (None, label.trim().to_owned()),
    };
    let text = |name: &str| parameter(query, name).map(|value| value.to_string());
    let (bits, secret) = parameter(query, "secret").map_or((0, None), |text| secret_of(&text));
    Key {
        kind: kind.to_ascii_lowercase(),
        issuer: text("issuer").or(issuer).filter(|issuer| !issuer.is_empty()),
        account: Some(account).filter(|account| !account.is_empty()),
        algorithm: text("algorithm"),
        digits: text("digits"),
        period: text("period"),
        counter: text("counter"),
        bits,
        secret,
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn parameter(query: &str, name: &str) -> Option<Zeroizing<String>> {
    let query = query.split('#').next().unwrap_or(query);
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(Zeroizing::new(decode(value)))
}

/// A key in base32: its bits, and the key where it could be one of ours. What follows it in a text is passed over.
pub(crate) fn secret_of(text: &str) -> (usize, Option<Secret>) {
    let is_part = |c: char| is_base32(c) || matches!(c, ' ' | '-');
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let text = text.get(..end).unwrap_or("");
    let bits = text.chars().filter(|c| is_base32(*c)).count().saturating_mul(5);
    // The last character of a key may hold bits that belong to no byte.
    (bits & !7, Secret::from_base32_or_weak(text).ok())
}

fn is_base32(c: char) -> bool {
    c.is_ascii_alphabetic() || ('2'..='7').contains(&c)
}

/// What an app moves its accounts with, and which picture of how many it is. `None` where the text is none, or damaged.
pub fn export_of(text: &str) -> Option<Export> {
    let query = after(text.trim(), "otpauth-migration://")?.split_once('?')?.1;
    migration::export(&parameter(query, "data")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn read(text: &str) -> Key {
        match what(text) {
            Holds::Key(key) => *key,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_key_is_told_with_its_parameters_and_never_printed() {
        let text = format!("otpauth://totp/Big%20Co:alice%40x?secret={KEY}&issuer=Big%20Co&digits=8&period=60");
        let key = read(&text);
        assert_eq!(
            (key.kind.as_str(), key.issuer.as_deref(), key.account.as_deref()),
            ("totp", Some("Big Co"), Some("alice@x"))
        );
        assert_eq!(
            (key.digits.as_deref(), key.period.as_deref(), key.algorithm.as_deref()),
            (Some("8"), Some("60"), None)
        );
        assert_eq!((key.bits, key.secret.is_some()), (160, true));
        assert!(!format!("{key:?}").contains("GEZD"));
    }

    #[test]
    fn what_is_wrong_with_a_key_does_not_hide_the_rest() {
        let short = read("OTPAUTH://HOTP/ACME:bob?SECRET=JBSWY3DPEHPK3PXP&counter=7");
        assert_eq!((short.kind.as_str(), short.bits, short.secret.is_some()), ("hotp", 80, true));
        assert_eq!((short.issuer.as_deref(), short.counter.as_deref()), (Some("ACME"), Some("7")));
        let bare = read("otpauth://totp");
        assert_eq!((bare.bits, bare.account), (0, None));
        assert_eq!(read(&format!("otpauth://totp/a?secret={KEY}).")).bits, 160);
        assert!(read(&format!("otpauth://totp/a?secret={KEY}).")).secret.is_some());
    }

    #[test]
    fn a_link_is_told_by_the_host_that_it_really_leads_to() {
        for (text, expected) in [
            ("https://example.org/a?b", "example.org"),
            ("HTTP://bank.example@evil.example:8080/x", "evil.example:8080"),
            ("https://evil.example\\@bank.example/", "evil.example"),
        ] {
            let Holds::Link { host, .. } = what(text) else { panic!("{text}") };
            assert_eq!(host, expected);
        }
    }

    #[test]
    fn other_texts_are_told_apart() {
        assert!(matches!(what("WIFI:T:WPA;S:net;P:secret;;"), Holds::Wifi));
        assert!(matches!(what("hello"), Holds::Other));
        assert!(matches!(what("otpauth-migration://offline?data=%%%"), Holds::UnreadableExport));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _ = what(&text);
            let _ = what(&format!("otpauth://{text}"));
            let _ = what(&format!("otpauth-migration://{text}"));
            let _ = what(&format!("https://{text}"));
        }
    }
}
