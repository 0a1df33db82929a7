//! What `sshd -T` says: whether sshd comes by PAM at all, and how.

use std::collections::HashMap;

use crate::finding::Finding;
use crate::stack::edit::Factor;
use crate::stack::judge::First;

/// The name of the file with [`needed`] settings; sorts before others, because of two values sshd takes the first.
pub const DROP_IN: &str = "/etc/ssh/sshd_config.d/00-qrtotp.conf";
/// Methods by which sshd itself knows somebody, without PAM.
const BY_HOST: [&str; 3] = ["publickey", "hostbased", "gssapi-with-mic"];
/// Fewest tries of a connection that leave room for a mistyped code; each key that a client offers counts as one.
const TRIES: u32 = 3;

/// The settings in force, by their names in small letters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings(HashMap<String, String>);

impl Settings {
    /// Reads the output of `sshd -T`.
    pub fn parse(text: &str) -> Self {
        let mut all = HashMap::new();
        for line in text.lines() {
            let (name, value) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            // Settings that may stand more than once, as ports, are of no concern here.
            all.entry(name.to_ascii_lowercase()).or_insert_with(|| value.trim().to_owned());
        }
        Self(all)
    }

    /// The same as they will be with what is [`needed`]; what differs from the `general` ones, as a `Match` sets it, stays.
    #[must_use]
    pub fn with_needed(mut self, factor: Factor, general: &Self) -> Self {
        for (name, value) in needed(factor) {
            let name = name.to_ascii_lowercase();
            if self.get(&name) == general.get(&name) {
                self.0.insert(name, (*value).to_owned());
            }
        }
        self
    }

    /// A setting; empty where sshd does not know it.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn is_on(&self, name: &str) -> bool {
        self.get(name) == "yes"
    }

    /// The ways in of AuthenticationMethods, each a list of methods; `None` where any method is enough.
    fn ways(&self) -> Option<Vec<Vec<&str>>> {
        let methods = self.get("authenticationmethods");
        if methods.is_empty() || methods == "any" {
            return None;
        }
        let bare = |method| Iterator::next(&mut str::split(method, ':')).unwrap_or(method);
        Some(methods.split_whitespace().map(|way| way.split(',').map(bare).collect()).collect())
    }

    /// Where the first factor of logins that come by PAM is from.
    pub fn first(&self) -> First {
        let by_host = |way: &Vec<&str>| way.iter().any(|method| BY_HOST.contains(method));
        let comes_by = |way: &&Vec<&str>| way.iter().any(|method| is_pam(method));
        match self.ways() {
            Some(ways) if ways.iter().filter(comes_by).all(by_host) => First::Host,
            _ => First::Stack,
        }
    }
}

fn is_pam(method: &str) -> bool {
    matches!(method, "keyboard-interactive" | "password")
}

/// What sshd must be set to.
pub fn needed(factor: Factor) -> &'static [(&'static str, &'static str)] {
    match factor {
        Factor::Key => &[
            ("UsePAM", "yes"),
            ("PubkeyAuthentication", "yes"),
            ("PasswordAuthentication", "no"),
            ("KbdInteractiveAuthentication", "yes"),
            ("AuthenticationMethods", "publickey,keyboard-interactive:pam"),
        ],
        Factor::Password => &[
            ("UsePAM", "yes"),
            ("PasswordAuthentication", "no"),
            ("KbdInteractiveAuthentication", "yes"),
            ("AuthenticationMethods", "keyboard-interactive:pam"),
        ],
    }
}

/// The same as a file for sshd_config.d.
pub fn drop_in(factor: Factor) -> String {
    let mut text = "# Written by `qrtotp enable sshd`; `qrtotp disable sshd` removes it.\n".to_owned();
    for (name, value) in needed(factor) {
        text.push_str(&format!("{name} {value}\n"));
    }
    text
}

/// Which needed settings are not in force: name, value now, value needed.
pub fn missing(settings: &Settings, factor: Factor) -> Vec<(&'static str, String, &'static str)> {
    let wrong = |(name, value): &&(&'static str, &'static str)| settings.get(&name.to_ascii_lowercase()) != *value;
    let told = |(name, value): &(&'static str, &'static str)| {
        (*name, settings.get(&name.to_ascii_lowercase()).to_owned(), *value)
    };
    needed(factor).iter().filter(wrong).map(told).collect()
}

/// What is wrong with sshd where its PAM stack asks for a code. `whose` is for whom it was asked: nothing for everybody.
pub fn judge(settings: &Settings, is_in_one_line: bool, whose: &str) -> Vec<Finding> {
    let place =
        |name: &str| if whose.is_empty() { format!("sshd: {name}") } else { format!("sshd for {whose}: {name}") };
    let mend = "qrtotp enable sshd --factor key --sshd-config, or set it in /etc/ssh/sshd_config, then: sshd -t && systemctl reload ssh";
    let mut found = Vec::new();
    if !settings.is_on("usepam") {
        let what = "is off: sshd never asks PAM, so no code is asked";
        found.push(Finding::error("sshd-pam", place("UsePAM"), what).mend(mend));
    }
    if !settings.is_on("kbdinteractiveauthentication") && !is_in_one_line {
        let what = "is off: sshd cannot ask for a code";
        found.push(Finding::error("sshd-interactive", place("KbdInteractiveAuthentication"), what).mend(mend));
    }
    match settings.ways() {
        None => found.extend(any_method(settings, &place, mend)),
        Some(ways) => {
            for way in ways.iter().filter(|way| !way.iter().any(|method| is_pam(method))) {
                let what = format!("lets in by {} alone: PAM is not asked, and no code", way.join(","));
                found.push(Finding::error("sshd-bypass", place("AuthenticationMethods"), what).mend(mend));
            }
        }
    }
    if settings.is_on("passwordauthentication") && !is_in_one_line && may_use(settings, "password") {
        let what = "is on: that method answers one question only, and sends the password in place of the code";
        found.push(Finding::warning("sshd-password", place("PasswordAuthentication"), what).mend(mend));
    }
    if settings.is_on("permitemptypasswords") {
        let what = "is on: an account without a password is open to the code alone";
        found.push(Finding::warning("sshd-empty", place("PermitEmptyPasswords"), what).mend("set it to no"));
    }
    let tries = settings.get("maxauthtries").parse().unwrap_or(u32::MAX);
    if tries < TRIES {
        let what = format!("is {tries}: each key that a client offers counts, so that little is left for the code");
        found.push(Finding::warning("sshd-tries", place("MaxAuthTries"), what).mend("set it to 6, which is usual"));
    }
    found
}

fn may_use(settings: &Settings, method: &str) -> bool {
    settings.ways().is_none_or(|ways| ways.iter().any(|way| way.contains(&method)))
}

/// Where AuthenticationMethods says nothing, each method that is on is enough.
fn any_method(settings: &Settings, place: &dyn Fn(&str) -> String, mend: &str) -> Vec<Finding> {
    let on = [
        ("pubkeyauthentication", "a key"),
        ("hostbasedauthentication", "another host's word"),
        ("gssapiauthentication", "a Kerberos ticket"),
    ];
    let bypass = on.into_iter().filter(|(name, _)| settings.is_on(name)).map(|(_, what)| what);
    let told = |by: &str| {
        let what = format!("is not set: {by} alone logs in, PAM is not asked, and no code");
        Finding::error("sshd-bypass", place("AuthenticationMethods"), what).mend(mend)
    };
    bypass.map(told).collect()
}

/// LoginGraceTime in seconds, 0 for none.
pub fn grace_time(settings: &Settings) -> Option<u64> {
    settings.get("logingracetime").parse().ok()
}

/// What a line of sshd's files says that `sshd -T` does not tell of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// `Match`: which sort of condition, in small letters, with what it names.
    Match(Vec<(String, String)>),
    /// `Include`: the files, as they are named.
    Include(Vec<String>),
}

/// The lines that begin a `Match` or bring in other files, with their numbers.
pub fn lines(text: &str) -> Vec<(usize, Line)> {
    let read = |(number, line): (usize, &str)| {
        let words = words(line);
        let (first, rest) = words.split_first()?;
        let read = match first.to_ascii_lowercase().as_str() {
            "match" => Line::Match(conditions(rest)),
            "include" => Line::Include(rest.to_vec()),
            _ => return None,
        };
        Some((number, read))
    };
    (1_usize..).zip(text.lines()).filter_map(read).collect()
}

/// The conditions of a `Match`: each word with what follows it.
fn conditions(words: &[String]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = words.iter();
    while let Some(name) = rest.next() {
        let name = name.to_ascii_lowercase();
        let value = if matches!(name.as_str(), "all" | "canonical" | "final") {
            String::new()
        } else {
            rest.next().cloned().unwrap_or_default()
        };
        found.push((name, value));
    }
    found
}

/// Words as sshd parts them: at blanks, at the first `=`, held together by double quotes, up to a `#` that begins a word.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut is_open, mut is_quoted) = (false, false);
    for letter in line.trim().chars() {
        let is_parting = letter.is_whitespace() || (letter == '=' && words.len() <= 1);
        match letter {
            '"' => {
                (is_quoted, is_open) = (!is_quoted, {
                    if !is_open {
                        words.push(String::new());
                    }
                    true
                })
            }
            '#' if !is_open && !is_quoted => break,
            _ if is_parting && !is_quoted => is_open = false,
            other => {
                if !is_open {
                    words.push(String::new());
                    is_open = true;
                }
                if let Some(word) = words.last_mut() {
                    word.push(other);
                }
            }
        }
    }
    words
}

/// Addresses that stand for what an `Address` condition names: one of each network, and of everything else none.
pub fn addresses(value: &str) -> Vec<String> {
    let named = value.split(',').map(str::trim).filter(|part| !part.starts_with('!'));
    let address = |part: &str| {
        let bare = part.split('/').next().unwrap_or(part).replace(['*', '?'], "1");
        bare.parse::<std::net::IpAddr>().ok().map(|address| address.to_string())
    };
    named.filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOCK: &str = "port 22\nusepam yes\nlogingracetime 120\nmaxauthtries 6\npubkeyauthentication yes\n\
                         passwordauthentication yes\nkbdinteractiveauthentication no\npermitemptypasswords no\n\
                         gssapiauthentication no\nauthenticationmethods any\nacceptenv LANG\nacceptenv LC_*\n";

    fn checks(changes: &[(&str, &str)]) -> Vec<&'static str> {
        let mut settings = Settings::parse(STOCK);
        for (name, value) in changes {
            settings.0.insert((*name).to_owned(), (*value).to_owned());
        }
        judge(&settings, false, "").into_iter().map(|finding| finding.check).collect()
    }

    /// What the drop-in of a factor comes to.
    fn with(factor: Factor) -> Settings {
        let mut settings = Settings::parse(STOCK);
        for (name, value) in needed(factor) {
            settings.0.insert(name.to_ascii_lowercase(), (*value).to_owned());
        }
        settings
    }

    #[test]
    fn debians_own_settings_let_keys_by_and_ask_nothing() {
        assert_eq!(checks(&[]), ["sshd-interactive", "sshd-bypass", "sshd-password"]);
    }

    #[test]
    fn what_is_needed_is_enough_and_nothing_of_it_is_missing_then() {
        for (factor, first) in [(Factor::Key, First::Host), (Factor::Password, First::Stack)] {
            let settings = with(factor);
            assert_eq!(judge(&settings, false, ""), [], "{factor:?}");
            assert_eq!(missing(&settings, factor), [], "{factor:?}");
            assert_eq!(settings.first(), first, "{factor:?}");
        }
        assert_eq!(missing(&Settings::parse(STOCK), Factor::Key).len(), 3);
    }

    #[test]
    fn each_way_in_must_come_by_pam() {
        let fixed = [("kbdinteractiveauthentication", "yes"), ("passwordauthentication", "no")];
        let ways = |value| [fixed.as_slice(), &[("authenticationmethods", value)]].concat();
        assert_eq!(checks(&ways("publickey,keyboard-interactive")), Vec::<&str>::new());
        assert_eq!(checks(&ways("publickey keyboard-interactive:pam")), ["sshd-bypass"]);
        assert_eq!(checks(&ways("publickey,publickey")), ["sshd-bypass"]);
        assert_eq!(checks(&[("usepam", "no")]).first(), Some(&"sshd-pam"));
        assert_eq!(
            checks(&[("gssapiauthentication", "yes")]).iter().filter(|check| **check == "sshd-bypass").count(),
            2
        );
    }

    #[test]
    fn a_way_by_pam_without_a_key_needs_a_first_factor_of_its_own() {
        let mut settings = with(Factor::Key);
        let both = "publickey,keyboard-interactive:pam keyboard-interactive:pam";
        settings.0.insert("authenticationmethods".to_owned(), both.to_owned());
        assert_eq!(settings.first(), First::Stack);
    }

    #[test]
    fn matches_and_includes_are_read_however_they_are_written() {
        let text = "Port 22\n  match User x\n#Match\nMatchless\nMatch=User bob\nMATCH \"User\" \"a b\" Address 10.0.0.0/8,!10.1.0.0/16\n\
                    Include /etc/ssh/extra.conf more/*.conf # why\nMatch all\n";
        let one = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            (2, Line::Match(vec![one("user", "x")])),
            (5, Line::Match(vec![one("user", "bob")])),
            (6, Line::Match(vec![one("user", "a b"), one("address", "10.0.0.0/8,!10.1.0.0/16")])),
            (7, Line::Include(vec!["/etc/ssh/extra.conf".to_owned(), "more/*.conf".to_owned()])),
            (8, Line::Match(vec![one("all", "")])),
        ];
        assert_eq!(lines(text), expected);
    }

    #[test]
    fn an_address_is_tried_of_each_network_that_is_named() {
        assert_eq!(
            addresses("10.0.0.0/8,!10.1.0.0/16, 192.168.*.*,2001:db8::/32,x*"),
            ["10.0.0.0", "192.168.1.1", "2001:db8::"]
        );
    }
}
