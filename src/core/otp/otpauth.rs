//! otpauth URIs: what a picture carries to an authenticator app (the "Key Uri Format" of Google Authenticator's wiki).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

use super::{Algorithm, Secret, Shape};
use crate::words::is_plain;

/// Everything but RFC 3986's unreserved characters is escaped; a blank is `%20`, because many apps show a `+` as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An issuer or an account name: 1 to 64 characters without control characters and without the colon that parts the two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(String);

impl Name {
    /// Longest name, in characters.
    pub const MAX: usize = 64;

    /// Parses a name.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > Self::MAX {
            return Err(format!("must have 1 to {} characters", Self::MAX));
        }
        if text.contains(':') || !text.chars().all(is_plain) {
            return Err("must not hold a colon or a character that does not show".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// Parses the name of who issues the codes. `Steam` is refused: FreeOTP switches to another alphabet for it.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn issuer(text: &str) -> Result<Self, String> {
        let name = Self::parse(text)?;
        if name.0.eq_ignore_ascii_case("steam") {
            return Err("must not be \"Steam\": some apps show codes of another alphabet for it".to_owned());
        }
        Ok(name)
    }

    /// Stands in for the name of a host or of a user that no picture can carry.
    pub fn of_product() -> Self {
        Self("qrtotp".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The URI of a key. Default parameters are left out: they make the picture larger and change nothing.
pub fn uri(secret: &Secret, shape: Shape, issuer: &Name, account: &Name) -> Zeroizing<String> {
    write(secret, shape, issuer, account, true)
}

/// The same with the issuer only in front of the account, where apps take it from if it stands nowhere else: for long
/// names, whose picture would fit no terminal.
pub fn short_uri(secret: &Secret, shape: Shape, issuer: &Name, account: &Name) -> Zeroizing<String> {
    write(secret, shape, issuer, account, false)
}

fn write(secret: &Secret, shape: Shape, issuer: &Name, account: &Name, issuer_too: bool) -> Zeroizing<String> {
    let key = secret.to_base32();
    let issuer = utf8_percent_encode(&issuer.0, ESCAPED).to_string();
    let account = utf8_percent_encode(&account.0, ESCAPED).to_string();
    let room =
        key.len().saturating_add(issuer.len().saturating_mul(2)).saturating_add(account.len()).saturating_add(96);
    let mut uri = Zeroizing::new(String::with_capacity(room));
    for piece in ["otpauth://totp/", &issuer, ":", &account, "?secret=", &key] {
        uri.push_str(piece);
    }
    if issuer_too {
        uri.push_str("&issuer=");
        uri.push_str(&issuer);
    }
    let plain = Shape::default();
    if shape.algorithm != plain.algorithm {
        uri.push_str("&algorithm=");
        uri.push_str(shape.algorithm.name());
    }
    if shape.digits() != plain.digits() {
        uri.push_str(&format!("&digits={}", shape.digits()));
    }
    if shape.period() != plain.period() {
        uri.push_str(&format!("&period={}", shape.period()));
    }
    uri
}

/// What a URI carried.
#[derive(Debug)]
pub struct Parsed {
    /// The key.
    pub secret: Secret,
    /// Algorithm, digits and period; defaults where the URI does not say.
    pub shape: Shape,
}

/// Reads a URI. Labels, issuers and parameters of single apps are passed over.
///
/// # Errors
/// A sentence that says what is wrong; it never quotes the URI.
pub fn parse(uri: &str) -> Result<Parsed, String> {
    let rest = strip_prefix(uri, "otpauth://").ok_or("the URI does not begin with otpauth://")?;
    let rest =
        strip_prefix(rest, "totp/").ok_or("the URI is not of type totp; counter-based codes are not accepted")?;
    let query = rest.split_once('?').ok_or("the URI has no parameters")?.1;
    let query = query.split('#').next().unwrap_or(query);
    let secret = match single(query, "secret")? {
        Some(text) => Secret::from_base32(&text).map_err(|bad| bad.to_string())?,
        None => return Err("the URI has no secret".to_owned()),
    };
    let algorithm = match single(query, "algorithm")? {
        Some(text) => Algorithm::parse(&text).ok_or("algorithm must be SHA1, SHA256 or SHA512")?,
        None => Algorithm::default(),
    };
    let digits = number(query, "digits", Shape::default().digits())?;
    let period = number(query, "period", Shape::default().period())?;
    Ok(Parsed { secret, shape: Shape::new(algorithm, digits, period)? })
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn number(query: &str, name: &str, default: u8) -> Result<i64, String> {
    let Some(text) = single(query, name)? else { return Ok(i64::from(default)) };
    text.parse().map_err(|_| format!("{name} is not a number"))
}

/// The value of a parameter, which may stand once only.
fn single(query: &str, name: &str) -> Result<Option<Zeroizing<String>>, String> {
    let mut values =
        query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let Some((_, value)) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(format!("the URI has more than one {name}"));
    }
    let decoded = percent_decode_str(value).decode_utf8().map_err(|_| format!("{name} is not UTF-8"))?;
    Ok(Some(Zeroizing::new(decoded.into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn a_default_uri_is_short_enough_for_a_picture_of_41_by_21_characters() {
        let secret = Secret::from_base32(KEY).unwrap();
        let uri = uri(&secret, Shape::default(), &Name::issuer("h1").unwrap(), &Name::parse("alice").unwrap());
        assert_eq!(*uri, format!("otpauth://totp/h1:alice?secret={KEY}&issuer=h1"));
    }

    #[test]
    fn blanks_become_percent_20_and_other_shapes_are_spelled_out() {
        let secret = Secret::from_base32(KEY).unwrap();
        let shape = Shape::new(Algorithm::Sha512, 8, 60).unwrap();
        let uri = uri(&secret, shape, &Name::issuer("Big Co & Söhne").unwrap(), &Name::parse("a+b@x").unwrap());
        let tail = "&algorithm=SHA512&digits=8&period=60";
        assert_eq!(
            *uri,
            format!(
                "otpauth://totp/Big%20Co%20%26%20S%C3%B6hne:a%2Bb%40x?secret={KEY}&issuer=Big%20Co%20%26%20S%C3%B6hne{tail}"
            )
        );
        let parsed = parse(&uri).unwrap();
        assert_eq!((&*parsed.secret.to_base32(), parsed.shape), (&KEY.to_owned(), shape));
    }

    #[test]
    fn wrong_uris_are_refused_with_their_reason() {
        let cases = [
            ("https://example.org", "does not begin with otpauth"),
            ("otpauth://hotp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "counter-based"),
            ("otpauth://totp/a", "no parameters"),
            ("otpauth://totp/a?issuer=x", "no secret"),
            ("otpauth://totp/a?secret=GEZDGNBV", "128 at least"),
            ("otpauth://totp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&secret=A", "more than one secret"),
            ("otpauth://totp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&digits=9", "digits must be"),
            ("otpauth://totp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&period=x", "period is not a number"),
            ("otpauth://totp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&algorithm=MD5", "algorithm must be"),
        ];
        for (uri, reason) in cases {
            let error = parse(uri).unwrap_err();
            assert!(error.contains(reason), "{uri}: {error}");
            assert!(!error.contains("GEZD"), "{error}");
        }
    }

    #[test]
    fn issuers_that_break_apps_are_refused() {
        assert!(Name::issuer("steam").is_err());
        assert!(Name::parse("a:b").is_err());
        assert!(Name::parse("").is_err());
        assert!(Name::parse("a\nb").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("otpauth://totp/{text}"));
        }

        #[test]
        fn what_is_written_reads_back(issuer in "[^:\\p{C}]{1,20}", account in "[^:\\p{C}]{1,20}", digits in 6_i64..=8, period in 15_i64..=120) {
            if let (Ok(issuer), Ok(account)) = (Name::issuer(&issuer), Name::parse(&account)) {
                let secret = Secret::from_base32(KEY).unwrap();
                let shape = Shape::new(Algorithm::Sha256, digits, period).unwrap();
                let parsed = parse(&uri(&secret, shape, &issuer, &account)).unwrap();
                prop_assert_eq!(parsed.shape, shape);
                prop_assert_eq!(&*parsed.secret.to_base32(), KEY);
            }
        }
    }
}
