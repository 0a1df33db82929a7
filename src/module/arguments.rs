//! The words after `pam_qrtotp.so` in a service file. An unknown one is an error: a typing mistake must not quietly
//! become a weaker setting.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use qrtotp_core::module_line::{CONFIG, DEBUG};
use qrtotp_core::policy::{DEFAULT_FILE, nearest};

/// What the service file asks of the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arguments {
    /// `config=PATH`: the policy file; an absolute path.
    pub config: PathBuf,
    /// `debug`: more lines in the log.
    pub debug: bool,
}

impl Arguments {
    /// Reads the words in any order.
    ///
    /// # Errors
    /// A text for the administrator that names the word and says what is wrong with it.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, String> {
        let (mut config, mut debug) = (None, false);
        for word in words {
            if word == b"debug" {
                debug = true;
            } else if let Some(path) = word.strip_prefix(b"config=") {
                if config.replace(absolute(path)?).is_some() {
                    return Err("argument config= is given twice".to_owned());
                }
            } else {
                return Err(unknown(word));
            }
        }
        Ok(Self { config: config.unwrap_or_else(|| DEFAULT_FILE.into()), debug })
    }
}

/// The working directory belongs to whoever calls `su`, so a relative path would let him choose the policy.
fn absolute(path: &[u8]) -> Result<PathBuf, String> {
    let path = Path::new(OsStr::from_bytes(path));
    if path.is_absolute() {
        Ok(path.to_owned())
    } else {
        Err(format!("argument config={} is not an absolute path", path.display()))
    }
}

fn unknown(word: &[u8]) -> String {
    let word = String::from_utf8_lossy(word);
    let name = word.split('=').next().unwrap_or(&word);
    match nearest(name, [CONFIG.name, DEBUG.name].into_iter()).as_str() {
        "" => format!("unknown argument {word}; known are config=PATH and debug"),
        near => format!("unknown argument {word}{near}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qrtotp_core::module_line::ARGUMENTS;

    fn parse(words: &[&str]) -> Result<Arguments, String> {
        Arguments::parse(words.iter().map(|word| word.as_bytes()))
    }

    #[test]
    fn known_words_are_read_in_any_order() {
        let default = Path::new(DEFAULT_FILE);
        let table: [(&[&str], &Path, bool); 6] = [
            (&[], default, false),
            (&["debug"], default, true),
            (&["debug", "debug"], default, true),
            (&["config=/a"], Path::new("/a"), false),
            (&["config=/a b=c", "debug"], Path::new("/a b=c"), true),
            (&["debug", "config=/a"], Path::new("/a"), true),
        ];
        for (words, config, debug) in table {
            assert_eq!(parse(words), Ok(Arguments { config: config.to_owned(), debug }), "{words:?}");
        }
    }

    #[test]
    fn what_the_manual_describes_is_what_is_read_and_what_is_named_as_known() {
        // A new field does not compile here, and wants an argument in core.
        let Arguments { config: _, debug: _ } = parse(&[]).unwrap();
        assert_eq!(ARGUMENTS.len(), 2);
        let known = parse(&["nothing"]).unwrap_err();
        for argument in ARGUMENTS {
            let word = argument.value.map_or(argument.name.to_owned(), |_| format!("{}=/a", argument.name));
            assert!(parse(&[&word]).is_ok(), "{word}");
            let word = argument.value.map_or(argument.name.to_owned(), |value| format!("{}={value}", argument.name));
            assert!(known.contains(&word), "{word} is not in: {known}");
        }
    }

    #[test]
    fn a_path_need_not_be_text() {
        let parsed = Arguments::parse([b"config=/\xff".as_slice()]).unwrap();
        assert_eq!(parsed.config.as_os_str().as_bytes(), b"/\xff");
    }

    #[test]
    fn anything_else_is_refused_and_the_word_is_named() {
        let table: [(&[&str], &str); 13] = [
            (&["nullok"], "unknown argument nullok; known are config=PATH and debug"),
            (&["debug", "use_first_pass"], "unknown argument use_first_pass; known are config=PATH and debug"),
            (&[""], "unknown argument ; known are config=PATH and debug"),
            (&["debgu"], "unknown argument debgu; did you mean \"debug\"?"),
            (&["DEBUG"], "unknown argument DEBUG; did you mean \"debug\"?"),
            (&["debug=1"], "unknown argument debug=1; did you mean \"debug\"?"),
            (&["debug "], "unknown argument debug ; did you mean \"debug\"?"),
            (&["config"], "unknown argument config; did you mean \"config\"?"),
            (&["conf=/a"], "unknown argument conf=/a; did you mean \"config\"?"),
            (&["cofnig=/a"], "unknown argument cofnig=/a; did you mean \"config\"?"),
            (&["config="], "argument config= is not an absolute path"),
            (&["config=etc/a"], "argument config=etc/a is not an absolute path"),
            (&["config=/a", "config=/a"], "argument config= is given twice"),
        ];
        for (words, message) in table {
            assert_eq!(parse(words), Err(message.to_owned()), "{words:?}");
        }
    }
}
