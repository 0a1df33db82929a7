//! The language of manual pages: man(7), as groff and mandoc both read it.
//!
//! Texts come in with `backquotes` around what is typed as it stands, which becomes bold, and with [`italic`] around what
//! stands for something else.

/// The program's name and version, at the foot of each page. No date: two builds of a version make the same page.
const FOOT: &str = concat!("qrtotp ", env!("CARGO_PKG_VERSION"));
/// Begins and ends what stands for something else. No text has this character.
const ITALIC: char = '\u{1}';

/// One manual page.
pub struct Page {
    name: String,
    section: u8,
    text: String,
}

/// What stands for something else: a value, a file.
pub fn italic(text: &str) -> String {
    format!("{ITALIC}{text}{ITALIC}")
}

/// What is typed as it stands.
pub fn bold(text: &str) -> String {
    format!("`{text}`")
}

impl Page {
    /// A page with its NAME chapter.
    pub fn new(name: &str, section: u8, about: &str) -> Self {
        let mut page = Self { name: name.to_owned(), section, text: head(name, section) };
        page.chapter("NAME");
        page.line(&format!("{} \\- {}", escaped(name), inline(about)));
        page
    }

    /// A page that was written by hand: below its own head, which is left out.
    pub fn of_text(name: &str, section: u8, text: &str) -> Self {
        Self { name: name.to_owned(), section, text: head(name, section) + text }
    }

    /// `qrtotp.8`
    pub fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }

    /// The page.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Begins a chapter.
    pub fn chapter(&mut self, title: &str) {
        self.line(&format!(".SH {}", quoted(title)));
    }

    /// Begins a part of a chapter.
    pub fn part(&mut self, title: &str) {
        self.line(&format!(".SS {}", quoted(title)));
    }

    /// A first paragraph, or more; an empty line parts them.
    pub fn first(&mut self, text: &str) {
        self.paragraphs(text, ".PP");
    }

    /// Another paragraph.
    pub fn more(&mut self, text: &str) {
        self.space();
        self.first(text);
    }

    /// An item of a list: what, and what is to be said of it.
    pub fn item(&mut self, what: &str, text: &str) {
        self.line(".TP");
        self.line(&inline(what));
        self.paragraphs(text, ".IP");
    }

    /// A list inside of an item.
    pub fn inner(&mut self, items: impl IntoIterator<Item = (String, String)>) {
        self.line(".RS");
        items.into_iter().for_each(|(what, text)| self.item(&what, &text));
        self.line(".RE");
    }

    /// Lines as they stand.
    pub fn example(&mut self, text: &str) {
        self.space();
        self.line(".EX");
        self.literal(text);
        self.line(".EE");
    }

    /// How something is called: its first words, and what may follow, parted where a line may break.
    pub fn synopsis(&mut self, words: &str, parts: &[String]) {
        self.line(&format!(".SY {}", quoted(words)));
        parts.iter().for_each(|part| self.line(&guarded(&inline(part).replace(' ', "\\ "))));
        self.line(".YS");
    }

    /// Parts a paragraph from what is before, but not from a title.
    fn space(&mut self) {
        let last = self.text.lines().next_back().unwrap_or_default();
        if !last.starts_with(".SH") && !last.starts_with(".SS") {
            self.line(".PP");
        }
    }

    fn literal(&mut self, text: &str) {
        text.lines().for_each(|line| self.line(&guarded(&escaped(line))));
    }

    /// Each sentence on a line of its own, as manuals are written.
    fn paragraphs(&mut self, text: &str, between: &str) {
        for (number, paragraph) in text.split("\n\n").enumerate() {
            if number > 0 {
                self.line(between);
            }
            let words: Vec<_> = paragraph.split_whitespace().collect();
            let flowing = inline(&words.join(" "));
            flowing.replace(". ", ".\n").lines().for_each(|line| self.line(&guarded(line)));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// Words are not parted and lines not stretched: names of files and commands stay as they are typed.
fn head(name: &str, section: u8) -> String {
    format!(".TH {} {section} \"\" {}\n.nr HY 0\n.ad l\n", quoted(&name.to_uppercase()), quoted(FOOT))
}

/// An argument of a request.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// A line that begins with a dot or an apostrophe would be a request.
fn guarded(line: &str) -> String {
    let is_request = line.starts_with(['.', '\'']);
    if is_request { format!("\\&{line}") } else { line.to_owned() }
}

/// Letters as they stand, also for who copies them out of the page.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |text, letter| match letter {
        '\\' => text + "\\(rs",
        '-' => text + "\\-",
        '\'' => text + "\\(aq",
        '"' => text + "\\(dq",
        '^' => text + "\\(ha",
        '~' => text + "\\(ti",
        '`' => text + "\\(ga",
        other => text + other.encode_utf8(&mut [0; 4]),
    })
}

/// Words that flow, some of them bold or italic. Hyphens between letters of common words may be broken at.
fn inline(text: &str) -> String {
    let (mut made, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['`', ITALIC]) {
        let (plain, marked) = rest.split_at(at);
        made.push_str(&flowing(plain));
        let mark = if marked.starts_with('`') { '`' } else { ITALIC };
        let marked = marked.strip_prefix(mark).unwrap_or(marked);
        let (inside, behind) = marked.split_once(mark).unwrap_or((marked, ""));
        let font = if mark == '`' { 'B' } else { 'I' };
        made.push_str(&format!("\\f{font}{}\\fR", escaped(inside)));
        rest = behind;
    }
    made + &flowing(rest)
}

fn flowing(text: &str) -> String {
    let is_option = text.contains("--");
    let text = text.replace('\\', "\\(rs").replace('\'', "\\(aq").replace('"', "\\(dq");
    if is_option { text.replace("--", "\\-\\-") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_bold_and_can_be_copied() {
        assert_eq!(inline("the option `--no-x` of 'it'"), "the option \\fB\\-\\-no\\-x\\fR of \\(aqit\\(aq");
        assert_eq!(inline(&format!("at {}, step-up", italic("/etc/a-b"))), "at \\fI/etc/a\\-b\\fR, step-up");
        assert_eq!(escaped("a\\b~^`"), "a\\(rsb\\(ti\\(ha\\(ga");
    }

    #[test]
    fn sentences_stand_on_lines_of_their_own_and_none_is_a_request() {
        let mut page = Page::new("x-y", 8, "does `x`");
        page.first("One. .Two.\n\n'Three'");
        page.example(".a\n'b");
        let below = page.text().split_once(".SH \"NAME\"\n").unwrap().1;
        assert_eq!(
            below,
            "x\\-y \\- does \\fBx\\fR\nOne.\n\\&.Two.\n.PP\n\\(aqThree\\(aq\n.PP\n.EX\n\\&.a\n\\(aqb\n.EE\n"
        );
        assert!(page.text().starts_with(".TH \"X\\-Y\" 8 \"\" \"qrtotp "), "{}", page.text());
    }
}
