//! What an authenticator app exports: one account -> a device, and whose it is.

use qrtotp_core::otp::{Algorithm, Shape};
use qrtotp_pictures::holds::Key;

use super::token::{Token, Used};

/// Shortest key that comes over, in bits; the reader gives none that is shorter.
const LEAST: usize = 80;

/// What this machine is called where an account names it.
pub struct Here {
    /// The issuer of the policy, and the names of the host.
    pub names: Vec<String>,
}

impl Here {
    /// By the policy's issuer and the host's name, which counts with and without its domain.
    pub fn new(issuer: Option<&str>, host: &str) -> Self {
        let short = host.split('.').next().unwrap_or(host);
        Self { names: issuer.into_iter().chain([host, short]).map(str::to_owned).collect() }
    }

    fn is_named(&self, name: &str) -> bool {
        !name.is_empty() && self.names.iter().any(|known| known.eq_ignore_ascii_case(name.trim()))
    }

    /// Whom an account is for: `USER@HOST`, or `USER` with this host as its issuer.
    ///
    /// # Errors
    /// What to do where it names nobody of this machine.
    pub fn user(&self, key: &Key) -> Result<String, String> {
        let account = key.account.as_deref().unwrap_or("").trim();
        let (user, host) = account.rsplit_once('@').map_or((account, None), |(user, host)| (user, Some(host)));
        let is_here = match host {
            Some(host) => self.is_named(host),
            None => key.issuer.as_deref().is_some_and(|issuer| self.is_named(issuer)),
        };
        if is_here && !user.is_empty() {
            return Ok(user.to_owned());
        }
        Err("it does not name this host; say whose it is with --user, and --account to choose".to_owned())
    }
}

/// The account as the app shows it.
pub fn name(key: &Key) -> String {
    match (key.issuer.as_deref(), key.account.as_deref()) {
        (Some(issuer), Some(account)) => format!("{issuer}: {account}"),
        (Some(only), None) | (None, Some(only)) => only.to_owned(),
        (None, None) => "no name".to_owned(),
    }
}

/// Whether it is the account of that name.
pub fn is_called(key: &Key, wanted: &str) -> bool {
    let is = |text: &str| text.trim().eq_ignore_ascii_case(wanted.trim());
    is(&name(key)) || key.account.as_deref().is_some_and(is)
}

/// The device of an account.
///
/// # Errors
/// Why it cannot be used here.
pub fn token(key: Key) -> Result<Token, String> {
    match key.kind.as_str() {
        "totp" => {}
        "hotp" => return Err("counter-based (HOTP): its codes cannot be used here".to_owned()),
        _ => return Err("codes of a type that is not known".to_owned()),
    }
    let algorithm = match key.algorithm.as_deref() {
        None => Algorithm::Sha1,
        Some(text) => Algorithm::parse(text)
            .ok_or_else(|| "its algorithm cannot be used here (SHA1, SHA256 and SHA512 can)".to_owned())?,
    };
    let number = |text: Option<&str>, usual: i64| text.map_or(Some(usual), |text| text.parse().ok());
    let digits = number(key.digits.as_deref(), 6).ok_or_else(|| "digits of a number that is not known".to_owned())?;
    let period = number(key.period.as_deref(), 30).ok_or_else(|| "a period that is not known".to_owned())?;
    let shape = Shape::new(algorithm, digits, period)?;
    let secret = key.secret.ok_or_else(|| match key.bits {
        0 => "it has no key".to_owned(),
        bits if bits < LEAST => format!("the key has {bits} bits; below {LEAST} it is never taken over"),
        _ => "the key cannot be read, or has more than 1024 bits".to_owned(),
    })?;
    // An app does not say which codes were typed.
    Ok(Token { secret, shape, used: Used::NotKnown })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use qrtotp_core::otp::Secret;

    fn key(issuer: &str, account: &str) -> Key {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Key {
            kind: "totp".to_owned(),
            issuer: some(issuer),
            account: some(account),
            bits: 160,
            secret: Some(Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap()),
            ..Key::default()
        }
    }

    #[test]
    fn an_account_is_for_whom_it_names_if_it_names_this_host() {
        let here = Here::new(Some("Example Ltd"), "h1.example.org");
        for (issuer, account, expected) in [
            ("", "alice@h1", Some("alice")),
            ("h1", "alice@H1.example.org", Some("alice")),
            ("example ltd", "bob", Some("bob")),
            ("h1", "bob", Some("bob")),
            ("GitHub", "bob", None),
            ("", "bob", None),
            ("h1", "bob@h2", None),
            ("h1", "", None),
            ("h1", "@h1", None),
        ] {
            assert_eq!(here.user(&key(issuer, account)).ok().as_deref(), expected, "{issuer} {account}");
        }
    }

    #[test]
    fn an_account_is_called_as_the_app_shows_it() {
        let one = key("GitHub", "bob");
        assert!(is_called(&one, "bob") && is_called(&one, "github: BOB") && !is_called(&one, "GitHub"));
        assert_eq!((name(&one), name(&key("", ""))), ("GitHub: bob".to_owned(), "no name".to_owned()));
    }

    #[test]
    fn what_cannot_be_used_here_is_refused_with_its_reason() {
        let why = |change: &dyn Fn(&mut Key)| {
            let mut changed = key("h1", "bob");
            change(&mut changed);
            token(changed).unwrap_err()
        };
        assert!(why(&|key| key.kind = "hotp".to_owned()).contains("counter-based"));
        assert!(why(&|key| key.kind = "unknown (4)".to_owned()).contains("type"));
        assert!(why(&|key| key.algorithm = Some("MD5".to_owned())).contains("algorithm"));
        assert!(why(&|key| key.digits = Some("unknown (5)".to_owned())).contains("digits"));
        assert!(why(&|key| key.digits = Some("5".to_owned())).contains("digits must be"));
        assert!(why(&|key| key.period = Some("5".to_owned())).contains("period must be"));
        assert!(why(&|key| (key.secret, key.bits) = (None, 64)).contains("64 bits"));
        assert!(why(&|key| (key.secret, key.bits) = (None, 0)).contains("no key"));
        let all = Key { algorithm: Some("SHA-256".to_owned()), digits: Some("8".to_owned()), ..key("h1", "bob") };
        let token = token(all).unwrap();
        assert_eq!((token.shape, token.used), (Shape::new(Algorithm::Sha256, 8, 30).unwrap(), Used::NotKnown));
    }

    proptest! {
        /// No account is taken for a user of this machine that does not name it.
        #[test]
        fn other_hosts_give_nobody(issuer in "[a-z]{2,8}", account in "[ -~]{0,20}") {
            let here = Here::new(None, "this-host");
            prop_assert!(here.user(&key(&issuer, &account)).is_err());
        }
    }
}
