//! Bytes -> a file in the age format (age-encryption.org/v1) and back: for recipients (X25519), or for whoever knows a passphrase
//! (scrypt). A file that somebody sent is bounded in size, in the length of its head, and in the work that it may ask for.

use std::io::{Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, Identity, IdentityFile, Recipient, scrypt, x25519};
use zeroize::Zeroizing;

use crate::content;

/// log2 of scrypt's work: 256 MiB and a second, as age(1) takes it. Measuring would take less on a machine that is busy just now.
const WORK: u8 = 18;
/// The most that a file may ask for: 1 GiB and some seconds.
const MOST_WORK: u8 = 20;
/// Longest head. It is read anew with each of its lines.
const MOST_HEAD: usize = 8 * 1024;
/// Recipients that a head of that length has room for.
const MOST_RECIPIENTS: usize = 32;
/// Largest file: the largest content with everything around it, also as letters.
pub const MOST: usize = content::MOST + content::MOST / 2;
/// What files begin with, and where their head ends.
const MAGIC: &[u8] = b"age-encryption.org/v1\n";
const END_OF_HEAD: &[u8] = b"\n---";
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// A lock that is ready: what takes long was done.
pub struct Seal(Encryptor);

impl Seal {
    /// For whoever holds the identity of one of these recipients (`age1...`).
    ///
    /// # Errors
    /// A sentence that names what is no recipient.
    pub fn for_recipients(recipients: &[String]) -> Result<Self, String> {
        let parse = |text: &String| {
            let text = text.trim();
            let what =
                "is no recipient of age: one looks like age1..., and is what age-keygen prints as the public key";
            text.parse::<x25519::Recipient>().map_err(|_| format!("\"{}\" {what}", text.escape_default()))
        };
        if recipients.len() > MOST_RECIPIENTS {
            return Err(format!("more than {MOST_RECIPIENTS} recipients"));
        }
        let recipients: Vec<_> = recipients.iter().map(parse).collect::<Result<_, _>>()?;
        let recipients = recipients.iter().map(|recipient| recipient as &dyn Recipient);
        Encryptor::with_recipients(recipients).map(Self).map_err(|_| "no recipient is named".to_owned())
    }

    /// For whoever knows the passphrase. Takes a second.
    ///
    /// # Errors
    /// None that can happen.
    pub fn for_passphrase(passphrase: &str) -> Result<Self, String> {
        let mut recipient = scrypt::Recipient::new(secret(passphrase));
        recipient.set_work_factor(WORK);
        let recipients = std::iter::once(&recipient as &dyn Recipient);
        Encryptor::with_recipients(recipients).map(Self).map_err(|_| "the passphrase cannot be used".to_owned())
    }

    /// The file's bytes; with `armor` as letters.
    ///
    /// # Errors
    /// None that can happen in memory.
    pub fn close(self, content: &[u8], armor: bool) -> Result<Vec<u8>, String> {
        let format = if armor { Format::AsciiArmor } else { Format::Binary };
        let write = |encryptor: Encryptor| {
            let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), format)?)?;
            writer.write_all(content)?;
            writer.finish()?.finish()
        };
        write(self.0).map_err(|error| format!("it cannot be encrypted: {error}"))
    }
}

/// A file that somebody sent, as far as it can be read without a key.
pub struct Sealed {
    bytes: Vec<u8>,
}

impl Sealed {
    /// Looks at a file's bytes; letters are read as the bytes they stand for.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let foreign = || "is no file of the age format, version 1".to_owned();
        if bytes.len() > MOST {
            return Err(format!("is larger than {MOST} bytes"));
        }
        let bytes = if bytes.trim_ascii_start().starts_with(ARMOR) {
            let mut plain = Vec::new();
            ArmoredReader::new(bytes)
                .read_to_end(&mut plain)
                .map_err(|_| "is damaged, or cut off: its letters end early")?;
            plain
        } else {
            bytes.to_vec()
        };
        if !bytes.starts_with(MAGIC) {
            return Err(foreign());
        }
        let head = bytes.get(..bytes.len().min(MOST_HEAD)).unwrap_or_default();
        if !head.windows(END_OF_HEAD.len()).any(|window| window == END_OF_HEAD) {
            return Err("is damaged or cut off: its head does not end".to_owned());
        }
        Ok(Self { bytes })
    }

    /// Whether a passphrase opens it, and no identity does.
    ///
    /// # Errors
    /// A sentence, where it is damaged.
    pub fn wants_passphrase(&self) -> Result<bool, String> {
        Decryptor::new_buffered(self.bytes.as_slice()).map(|lock| lock.is_scrypt()).map_err(|error| in_words(&error))
    }

    /// Opens it with a passphrase.
    ///
    /// # Errors
    /// A sentence.
    pub fn open_by_passphrase(&self, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut identity = scrypt::Identity::new(secret(passphrase));
        identity.set_max_work_factor(MOST_WORK);
        self.open(std::iter::once(&identity as &dyn Identity))
    }

    /// Opens it with the content of a file of identities (`AGE-SECRET-KEY-1...`), as age-keygen writes it.
    ///
    /// # Errors
    /// A sentence.
    pub fn open_by_identities(&self, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let wrong = "the identity file holds something that is no identity of age (AGE-SECRET-KEY-1...), or is encrypted itself";
        let identities = IdentityFile::from_buffer(file)
            .and_then(|file| file.into_identities().map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData)));
        let identities = identities.map_err(|_| wrong.to_owned())?;
        self.open(identities.iter().map(|identity| identity.as_ref() as &dyn Identity))
    }

    fn open<'a>(&self, identities: impl Iterator<Item = &'a dyn Identity>) -> Result<Zeroizing<Vec<u8>>, String> {
        let lock = Decryptor::new_buffered(self.bytes.as_slice()).map_err(|error| in_words(&error))?;
        let mut reader = lock.decrypt(identities).map_err(|error| in_words(&error))?;
        // What is encrypted is longer than what it holds: the buffer never grows, which would leave copies behind.
        let mut content = Zeroizing::new(vec![0; self.bytes.len()]);
        let mut filled = 0;
        while let Some(rest) = content.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match reader.read(rest).map_err(|_| "is damaged or cut off".to_owned())? {
                0 => break,
                count => filled = filled.saturating_add(count),
            }
        }
        content.truncate(filled);
        Ok(content)
    }
}

/// The library's own sentences are written for its own program.
fn in_words(error: &DecryptError) -> String {
    match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            "is not opened by this passphrase".to_owned()
        }
        DecryptError::NoMatchingKeys => {
            "is for other recipients: none of the identities given opens it; or it wants a passphrase".to_owned()
        }
        DecryptError::ExcessiveWork { required, .. } => {
            format!(
                "asks for 2^{required} rounds of scrypt; at most 2^{MOST_WORK} are done: it was not written by qrtotp"
            )
        }
        DecryptError::UnknownFormat => "is of a newer version of the age format".to_owned(),
        _ => "is damaged or cut off".to_owned(),
    }
}

/// A copy as long as the text, so that nothing is moved when it is taken over.
fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret;
    use proptest::prelude::*;

    fn identity() -> (String, String) {
        let identity = x25519::Identity::generate();
        (identity.to_public().to_string(), identity.to_string().expose_secret().to_owned())
    }

    fn sealed(content: &[u8], armor: bool) -> (Vec<u8>, String) {
        let (recipient, identity) = identity();
        let seal = Seal::for_recipients(&[recipient]).unwrap();
        (seal.close(content, armor).unwrap(), format!("# a comment\n{identity}\n"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_changed_or_shorter_file_is_never_opened(at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>()) {
            let (mut bytes, identity) = sealed(&[b'x'; 3000], false);
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            let opened = Sealed::parse(&bytes).and_then(|file| file.open_by_identities(identity.as_bytes()));
            prop_assert!(opened.is_err());
        }
    }

    #[test]
    fn what_is_closed_opens_again_in_bytes_and_in_letters() {
        let content = [b'y'; 200_000];
        for armor in [false, true] {
            let (bytes, identity) = sealed(&content, armor);
            let file = Sealed::parse(&bytes).unwrap();
            assert!(!file.wants_passphrase().unwrap());
            assert_eq!(file.open_by_identities(identity.as_bytes()).unwrap().as_slice(), content);
            let other = file.open_by_identities(identity_file().as_bytes()).unwrap_err();
            assert!(other.contains("is for other recipients"), "{other}");
            let none = file.open_by_identities(b"age1xyz\n").unwrap_err();
            assert!(none.contains("no identity of age") && !none.contains("xyz"), "{none}");
        }
    }

    fn identity_file() -> String {
        identity().1
    }

    #[test]
    fn a_passphrase_opens_it_and_another_one_does_not() {
        let bytes = Seal::for_passphrase("correct horse").unwrap().close(b"content", false).unwrap();
        assert!(bytes.windows(4).any(|window| window == b" 18\n"), "the work is that of age(1)");
        let file = Sealed::parse(&bytes).unwrap();
        assert!(file.wants_passphrase().unwrap());
        assert_eq!(file.open_by_passphrase("correct horse").unwrap().as_slice(), b"content");
        assert_eq!(file.open_by_passphrase("correct hors").unwrap_err(), "is not opened by this passphrase");
        assert!(file.open_by_identities(identity_file().as_bytes()).unwrap_err().contains("wants a passphrase"));
    }

    #[test]
    fn a_file_that_asks_for_too_much_is_refused_before_any_work() {
        let bytes = Seal::for_passphrase("correct horse").unwrap().close(b"content", false).unwrap();
        let text = String::from_utf8_lossy(&bytes[..120]).into_owned();
        let at = text.find(" 18\n").unwrap();
        let mut heavy = bytes.clone();
        heavy[at + 1..at + 3].copy_from_slice(b"40");
        let error = Sealed::parse(&heavy).unwrap().open_by_passphrase("correct horse").unwrap_err();
        assert!(error.contains("2^40 rounds"), "{error}");
        let line = b"-> X25519 AAAA\nAAAA\n".repeat(10_000);
        let error = Sealed::parse(&[MAGIC, &line, b"--- AAAA\n"].concat()).err().unwrap();
        assert!(error.contains("its head does not end"), "{error}");
        assert!(Sealed::parse(&vec![0; MOST + 1]).err().unwrap().contains("larger"));
        assert!(Sealed::parse(b"hello").err().unwrap().contains("no file of the age format"));
    }

    #[test]
    fn what_is_no_recipient_is_named() {
        let error = Seal::for_recipients(&["age1nonsense".to_owned()]).err().unwrap();
        assert!(error.starts_with("\"age1nonsense\" is no recipient"), "{error}");
        assert!(Seal::for_recipients(&[]).is_err());
        let many = vec![identity().0; MOST_RECIPIENTS];
        let bytes = Seal::for_recipients(&many).unwrap().close(b"content", false).unwrap();
        assert!(Sealed::parse(&bytes).is_ok(), "the head has room for as many as are taken");
        assert!(Seal::for_recipients(&[many, vec![identity().0]].concat()).is_err());
    }
}
