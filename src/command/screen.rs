//! What stands on standard output and what is read from standard input.
//!
//! With `--json` standard output holds one JSON value and nothing else; what a person reads then goes to standard error.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin, stdout};

use comfy_table::{ContentArrangement, Table};
use qrtotp_core::qr::Size;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::ending::Ending;

/// Longest line read from standard input, in bytes.
const LONGEST: u64 = 4096;

/// Standard output and input of one command.
pub struct Screen {
    json: bool,
}

impl Screen {
    /// Standard output for people, or for programs.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether JSON was asked for.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person types at standard input.
    pub fn is_typed_at(&self) -> bool {
        stdin().is_terminal()
    }

    /// Makes sure that an answer can be written to standard output, before anything is done that only it tells of.
    ///
    /// JSON may begin with blanks, and a person does not mind one.
    pub fn check_writable(&self) -> Result<(), Ending> {
        let mut out = stdout().lock();
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// Shows a line to the person.
    pub fn say(&self, text: &str) -> Result<(), Ending> {
        self.write(&format!("{text}\n"))
    }

    /// Shows a question; what is typed follows on the same line.
    fn prompt(&self, text: &str) -> Result<(), Ending> {
        self.write(text)
    }

    /// Tells the person something beside the answer: on standard error, so that tables on standard output stay whole.
    pub fn remark(&self, text: &str) {
        // Nobody to tell if standard error is gone.
        let _ = writeln!(stderr().lock(), "{text}");
    }

    fn write(&self, text: &str) -> Result<(), Ending> {
        let mut out: Box<dyn Write> = if self.json { Box::new(stderr().lock()) } else { Box::new(stdout().lock()) };
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Asks and reads a line. `None` at the end of the input.
    pub fn ask(&self, question: &str) -> Result<Option<Zeroizing<String>>, Ending> {
        self.prompt(question)?;
        let line = self.read_line()?;
        if !stdin().is_terminal() {
            self.say("")?;
        }
        Ok(line)
    }

    /// Reads a line of standard input, without its end. `None` at the end of the input.
    pub fn read_line(&self) -> Result<Option<Zeroizing<String>>, Ending> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LONGEST).unwrap_or(0)));
        let mut input = stdin().lock();
        while let Some(byte) = next_byte(&mut input)? {
            bytes.push(byte);
            if byte == b'\n' || bytes.len() >= bytes.capacity() {
                break;
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let line = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
        Ok(Some(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned())))
    }

    /// Prints the JSON answer, if JSON was asked for, else the text.
    pub fn answer(&self, value: &Value, text: &str) -> Result<(), Ending> {
        let mut out = stdout().lock();
        if self.json {
            writeln!(out, "{value}")?;
        } else if !text.is_empty() {
            writeln!(out, "{text}")?;
        }
        Ok(out.flush()?)
    }

    /// A table: aligned and with a bold head on a terminal, columns parted by tabs elsewhere.
    pub fn table(&self, head: &[&str], rows: Vec<Vec<String>>) -> String {
        if !stdout().is_terminal() {
            let lines = rows.iter().map(|row| row.join("\t"));
            return lines.collect::<Vec<_>>().join("\n");
        }
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if let Some(width) = self.size().and_then(|size| u16::try_from(size.columns).ok()) {
            table.set_width(width);
        }
        table.set_header(head.to_vec()).add_rows(rows);
        let text = table.trim_fmt();
        match text.split_once('\n') {
            Some((first, rest)) if is_colour_wanted() => format!("\x1b[1m{first}\x1b[0m\n{rest}"),
            _ => text,
        }
    }

    /// Room on the terminal; `None` where the picture goes to no terminal.
    pub fn size(&self) -> Option<Size> {
        let size =
            if self.json { rustix::termios::tcgetwinsize(stderr()) } else { rustix::termios::tcgetwinsize(stdout()) };
        let size = size.ok().filter(|size| size.ws_col > 0 && size.ws_row > 0)?;
        Some(Size { columns: size.ws_col.into(), lines: size.ws_row.into() })
    }
}

fn next_byte(input: &mut impl BufRead) -> Result<Option<u8>, Ending> {
    let byte = input.fill_buf()?.first().copied();
    input.consume(usize::from(byte.is_some()));
    Ok(byte)
}

/// A line of CSV (RFC 4180), without its end: quotes around what holds quotes, a blank at an end, or what any
/// program takes for the border of a field.
pub fn csv_line(fields: &[&str]) -> String {
    let field = |text: &&str| {
        let is_plain = !text.contains([',', ';', '\t', '"', '\n', '\r']) && text.trim() == *text;
        if is_plain { (*text).to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
    };
    fields.iter().map(field).collect::<Vec<_>>().join(",")
}

/// A text that somebody else wrote, fit for a terminal: what would move the cursor or turn the writing is escaped.
pub fn clean(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_odd(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// `1 place`, `2 places`
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `sshd, login or su`
pub fn in_a_list(items: &[String]) -> String {
    match items {
        [] => "none".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// See no-color.org.
pub fn is_colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether the locale is UTF-8, by the first of the variables that decide it.
pub fn is_utf8() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    locale.to_ascii_lowercase().replace('-', "").contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_would_be_read_as_something_else() {
        assert_eq!(csv_line(&["alice", "phone"]), "alice,phone");
        assert_eq!(csv_line(&["x;=1+1", "a\tb"]), "\"x;=1+1\",\"a\tb\"");
        assert_eq!(csv_line(&["a,b", "the \"red\" one", " x", ""]), "\"a,b\",\"the \"\"red\"\" one\",\" x\",");
    }

    #[test]
    fn lists_and_numbers_read_as_people_write_them() {
        assert_eq!((counted(1, "place"), counted(0, "place")), ("1 place".to_owned(), "0 places".to_owned()));
        let items: Vec<String> = ["sshd", "login", "su"].map(str::to_owned).to_vec();
        let lists: Vec<_> = (0..=3).filter_map(|length| items.get(..length)).map(in_a_list).collect();
        assert_eq!(lists, ["none", "sshd", "sshd or login", "sshd, login or su"]);
    }
}
