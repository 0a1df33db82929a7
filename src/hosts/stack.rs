//! The `auth` lines of a service, with everything they include, in the order in which libpam has them.
//!
//! Read as libpam reads them (pam.d(5), libpam/pam_handlers.c), also where that is odd: the first `#` of a line begins a
//! comment, a line that libpam does not understand becomes one that fails, and an unreadable file refuses everybody.

pub mod edit;
pub mod judge;
pub mod walk;

use std::fmt;

/// What a module may answer, by its name in a control (`[success=ok ...]`), in the order of libpam's numbers.
pub const ANSWERS: [&str; 32] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
];

/// The file name of the module.
pub const MODULE: &str = "pam_qrtotp.so";
/// Deepest nesting of files that is followed; libpam itself follows substacks to 16.
const DEEPEST: usize = 16;
/// Most files that are read for one service: files that bring in each other twice would take forever.
const MOST_FILES: usize = 256;
/// Longest line with its continuations, in bytes; libpam gives up at this one.
const LONGEST: usize = 1023;

/// Where the files are.
pub trait Files {
    /// The text of a service's file, or of one with an absolute path.
    fn read(&self, name: &str) -> Option<String>;
    /// Whether a module is there to be loaded.
    fn has_module(&self, name: &str) -> bool;
    /// Whether a path of a module lies where libpam itself looks for modules.
    fn is_usual(&self, path: &str) -> bool;
}

/// A line of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = if self.file.starts_with('/') { "" } else { "/etc/pam.d/" };
        write!(f, "{folder}{}:{}", self.file, self.line)
    }
}

/// What libpam does with an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The answer counts, if nothing failed before.
    Ok,
    /// The same, and the stack ends.
    Done,
    /// The stack fails.
    Bad,
    /// The same, and it ends.
    Die,
    /// As if the line were not there.
    Ignore,
    /// As if the stack began here.
    Reset,
    /// So many lines are passed over.
    Jump(u32),
}

/// What a line does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Asks a module, named as in the file.
    Module(String),
    /// Enters a substack, the lines of the next level.
    Enter,
    /// Fails: libpam does not understand the line, or cannot read what it includes; says why.
    Broken(String),
}

/// A line of the stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Where it stands.
    pub place: Place,
    /// The line of the service's own file that led here.
    pub top: usize,
    /// In how many substacks.
    pub level: usize,
    /// What it does.
    pub kind: Kind,
    /// What is done with each of [`ANSWERS`].
    pub actions: [Action; 32],
    /// What the module is told.
    pub arguments: Vec<String>,
    /// Whether the control is one that libpam knows; another counts as bad, whatever the module answers.
    pub is_understood: bool,
}

impl Step {
    /// The module's name without folder.
    pub fn module(&self) -> &str {
        match &self.kind {
            Kind::Module(name) => name.rsplit('/').next().unwrap_or(name),
            Kind::Enter | Kind::Broken(_) => "",
        }
    }

    /// Whether this line asks for the code.
    pub fn is_ours(&self) -> bool {
        self.module() == MODULE
    }
}

/// All lines of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stack {
    /// The service.
    pub service: String,
    /// Its lines of type `auth`; those of `other` where it has none.
    pub steps: Vec<Step>,
    /// Whether they are those of `other`.
    pub is_other: bool,
}

/// Why libpam refuses everybody in a service: the file, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Where.
    pub place: Place,
    /// What.
    pub what: &'static str,
}

impl Stack {
    /// Reads a service.
    ///
    /// # Errors
    /// [`Refused`] where libpam gives up.
    pub fn read(service: &str, files: &dyn Files) -> Result<Self, Refused> {
        let mut steps = Vec::new();
        if let Some(text) = files.read(service) {
            Reader::new(files, &mut steps).file(service, &text, Asked::All, 0, 0)?;
        }
        let is_other = steps.is_empty();
        if is_other && let Some(text) = files.read("other") {
            Reader::new(files, &mut steps).file("other", &text, Asked::All, 0, 0)?;
        }
        Ok(Self { service: service.to_owned(), steps, is_other })
    }

    /// The lines that ask for the code.
    pub fn ours(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is_ours())
    }
}

/// Which lines of a file are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// All: those of type `auth` are kept, and those of no type count as such.
    All,
    /// Those of type `auth`, by an include of that type.
    Auth,
}

struct Reader<'a> {
    files: &'a dyn Files,
    steps: &'a mut Vec<Step>,
    top: Option<usize>,
    read: usize,
}

impl<'a> Reader<'a> {
    fn new(files: &'a dyn Files, steps: &'a mut Vec<Step>) -> Self {
        Self { files, steps, top: None, read: 0 }
    }

    fn file(&mut self, name: &str, text: &str, asked: Asked, level: usize, depth: usize) -> Result<(), Refused> {
        for line in lines(name, text)? {
            let is_first = self.top.is_none();
            self.top.get_or_insert(line.place.line);
            self.line(&line, asked, level, depth)?;
            if is_first {
                self.top = None;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &Line, asked: Asked, level: usize, depth: usize) -> Result<(), Refused> {
        let mut words = line.words.iter().map(String::as_str);
        let first = words.next().unwrap_or_default();
        let kind = first.strip_prefix('-').unwrap_or(first).to_ascii_lowercase();
        let broken = match kind.as_str() {
            // Debian's: everything of another file.
            "@include" => return self.include(line, words.next(), asked, level, depth),
            "auth" => None,
            "account" | "password" | "session" => return Ok(()),
            _ => Some(format!("\"{first}\" is no type; libpam takes the line for one of type auth that fails")),
        };
        let control = words.next().unwrap_or_default();
        let target = words.next();
        let (actions, odd) = match control.to_ascii_lowercase().as_str() {
            "" => ([Action::Bad; 32], Some("has no control")),
            "include" => return self.include(line, target, Asked::Auth, level, depth),
            "substack" => {
                self.push(line, level, Kind::Enter, [Action::Ignore; 32]);
                return self.include(line, target, Asked::Auth, level.saturating_add(1), depth);
            }
            word => (actions(word, control), None),
        };
        let is_of_another_world = line.words.iter().any(|word| word.ends_with('\r'));
        let odd = odd.or(is_of_another_world
            .then_some("ends in a carriage return (CRLF), which libpam takes for a part of the last word"));
        let kind = match (broken, odd, target) {
            (Some(why), _, _) => Kind::Broken(why),
            (None, Some(why), _) => Kind::Broken(why.to_owned()),
            (None, None, None) => Kind::Broken("names no module".to_owned()),
            (None, None, Some(module)) => Kind::Module(module.to_owned()),
        };
        self.push(line, level, kind, actions);
        if let Some(step) = self.steps.last_mut() {
            step.arguments = words.map(str::to_owned).collect();
            step.is_understood = is_understood(control);
        }
        Ok(())
    }

    fn include(
        &mut self,
        line: &Line,
        target: Option<&str>,
        asked: Asked,
        level: usize,
        depth: usize,
    ) -> Result<(), Refused> {
        let target = target.unwrap_or_default();
        self.read = self.read.saturating_add(1);
        if depth >= DEEPEST || self.read > MOST_FILES {
            let why = "includes files to no end".to_owned();
            self.push(line, level, Kind::Broken(why), [Action::Bad; 32]);
            return Ok(());
        }
        match self.files.read(target) {
            Some(text) => self.file(target, &text, asked, level, depth.saturating_add(1)),
            None => {
                let why = format!("includes \"{target}\", which cannot be read");
                self.push(line, level, Kind::Broken(why), [Action::Bad; 32]);
                Ok(())
            }
        }
    }

    fn push(&mut self, line: &Line, level: usize, kind: Kind, actions: [Action; 32]) {
        let top = self.top.unwrap_or(line.place.line);
        self.steps.push(Step {
            place: line.place.clone(),
            top,
            level,
            kind,
            actions,
            arguments: Vec::new(),
            is_understood: true,
        });
    }
}

/// A line without its comment, with those it continues in, in words.
struct Line {
    place: Place,
    words: Vec<String>,
}

fn lines(file: &str, text: &str) -> Result<Vec<Line>, Refused> {
    let mut found = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (number, raw) in (1_usize..).zip(text.split('\n')) {
        let trimmed = raw.trim_matches([' ', '\t']);
        // Inside a continued line too, blank lines and comments are passed over.
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (line, mut whole) = begun.take().unwrap_or((number, String::new()));
        let place = || Place { file: file.to_owned(), line };
        let (before, is_cut) = trimmed.split_once('#').map_or((trimmed, false), |(before, _)| (before, true));
        let continued = before.strip_suffix('\\').filter(|_| !is_cut);
        whole.push_str(continued.unwrap_or(before));
        if whole.len() > LONGEST {
            return Err(Refused { place: place(), what: "the line is too long for libpam" });
        }
        if continued.is_some() {
            whole.push(' ');
            begun = Some((line, whole));
        } else {
            found.push(Line { place: place(), words: words(&whole) });
        }
    }
    match begun {
        Some((line, _)) => {
            let what = "the file ends in the middle of a line, after a backslash";
            Err(Refused { place: Place { file: file.to_owned(), line }, what })
        }
        None => Ok(found),
    }
}

/// Words, where `[` and `]` hold together what has blanks in it, and stand for nothing themselves.
fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line.trim_start_matches([' ', '\t']);
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('[') {
            Some(inside) => bracketed(inside),
            None => {
                let end = rest.find([' ', '\t']).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                (word.to_owned(), after)
            }
        };
        found.push(word);
        rest = after.trim_start_matches([' ', '\t']);
    }
    found
}

/// Up to the `]` that has no backslash before it.
fn bracketed(inside: &str) -> (String, &str) {
    let mut word = String::new();
    let mut letters = inside.char_indices();
    while let Some((_, letter)) = letters.next() {
        match letter {
            ']' => return (word, letters.as_str()),
            '\\' if letters.as_str().starts_with(']') => {
                letters.next();
                word.push(']');
            }
            other => word.push(other),
        }
    }
    (word, "")
}

/// What a control does with each answer.
fn actions(word: &str, control: &str) -> [Action; 32] {
    let (granted, ignored, default) = match word {
        "required" => (Action::Ok, Action::Ignore, Action::Bad),
        "requisite" => (Action::Ok, Action::Ignore, Action::Die),
        "optional" => (Action::Ok, Action::Ignore, Action::Ignore),
        "sufficient" => (Action::Done, Action::Ignore, Action::Ignore),
        _ => return explicit(control).unwrap_or([Action::Bad; 32]),
    };
    let mut all = [default; 32];
    for (action, name) in all.iter_mut().zip(ANSWERS) {
        match name {
            "success" | "new_authtok_reqd" => *action = granted,
            "ignore" => *action = ignored,
            _ => {}
        }
    }
    all
}

fn is_understood(control: &str) -> bool {
    let word = control.to_ascii_lowercase();
    matches!(word.as_str(), "required" | "requisite" | "optional" | "sufficient") || explicit(control).is_some()
}

/// `success=ok default=bad`. What is not said is bad; nothing at all where libpam does not understand it.
fn explicit(control: &str) -> Option<[Action; 32]> {
    let mut all = [None; 32];
    let mut rest = control.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (action, after) = action(after.trim_start())?;
        match name.trim_end() {
            "default" => all.iter_mut().for_each(|own| *own = own.or(Some(action))),
            name => {
                let number = ANSWERS.iter().position(|known| *known == name)?;
                *all.get_mut(number)? = Some(action);
            }
        }
        rest = after.trim_start();
    }
    Some(all.map(|action| action.unwrap_or(Action::Bad)))
}

fn action(text: &str) -> Option<(Action, &str)> {
    const WORDS: [(&str, Action); 6] = [
        ("ignore", Action::Ignore),
        ("ok", Action::Ok),
        ("done", Action::Done),
        ("bad", Action::Bad),
        ("die", Action::Die),
        ("reset", Action::Reset),
    ];
    for (word, action) in WORDS {
        if let Some(after) = text.strip_prefix(word) {
            return Some((action, after));
        }
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, after) = text.split_at(end);
    // More lines than any stack has are as many as there are, and one more.
    let number = number.parse::<u64>().ok()?.min(u64::from(u32::MAX));
    u32::try_from(number).ok().filter(|number| *number > 0).map(|number| (Action::Jump(number), after))
}

#[cfg(test)]
pub(crate) mod tests;
