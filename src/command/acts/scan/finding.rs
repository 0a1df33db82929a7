//! What is found, brought together so that no file and no user can make the answer endless, or hide a key that is good.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Stat;

use super::Remarks;
use crate::acts::keys::Owned;

/// A key as text.
pub const KEY_TEXT: &str = "key";
/// Characters that are kept of names.
const LONGEST_NAME: usize = 128;
/// Keys that are not enrolled here, which are listed of one file.
const MOST_OF_FILE: usize = 20;
/// Files with such keys that are listed of one owner.
const MOST_OF_OWNER: usize = 1000;
/// Files that could not be looked at, which are listed.
const MOST_REMARKS: usize = 1000;
/// A picture that takes longer than that is slow.
const SLOW: Duration = Duration::from_secs(2);
/// How much time slow pictures of one owner may take beyond that.
const PATIENCE: Duration = Duration::from_secs(60);

/// One key in one file.
pub struct Finding<'a> {
    /// What it is part of, as JSON names it.
    pub kind: &'static str,
    /// In which line; absent in pictures.
    pub line: Option<u64>,
    /// How often it is there.
    pub times: u64,
    /// Who issues the codes, as it says.
    pub issuer: Option<String>,
    /// Whose codes they are, as it says.
    pub account: Option<String>,
    /// Bits of the key; 0 where they are not known.
    pub bits: usize,
    /// Whose key it is here.
    pub owned: Option<&'a Owned>,
}

impl Finding<'_> {
    /// Whether the key is good here.
    pub fn is_alive(&self) -> bool {
        self.owned.is_some_and(|owned| owned.is_alive)
    }

    fn device(&self) -> Option<(u32, [u8; 4])> {
        self.owned.map(|owned| (owned.uid.0, owned.device.0))
    }

    fn is_same(&self, other: &Self) -> bool {
        let has_same_names = || (&self.issuer, &self.account, self.bits) == (&other.issuer, &other.account, other.bits);
        (self.kind, self.line.is_some(), self.device()) == (other.kind, other.line.is_some(), other.device())
            && (self.owned.is_some() || has_same_names())
    }
}

/// The beginning of a name that somebody else chose.
pub fn cut(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

/// What is found in one file.
pub struct OfFile<'a> {
    /// Which.
    pub path: PathBuf,
    /// Whose the file is.
    pub uid: u32,
    /// Its mode, without its kind.
    pub mode: u32,
    /// What is found in it.
    pub findings: Vec<Finding<'a>>,
    /// Whether there is more than is listed.
    pub has_more: bool,
}

impl<'a> OfFile<'a> {
    /// Nothing so far.
    pub fn new(path: &Path, stat: &Stat) -> Self {
        Self {
            path: path.to_owned(),
            uid: stat.st_uid,
            mode: stat.st_mode & 0o7777,
            findings: Vec::new(),
            has_more: false,
        }
    }

    /// Adds a finding. The same key of the same kind is one finding; of keys that are not enrolled here, some are listed.
    pub fn add(&mut self, finding: Finding<'a>) {
        if let Some(same) = self.findings.iter_mut().find(|other| other.is_same(&finding)) {
            same.times = same.times.saturating_add(1);
        } else if finding.owned.is_some() || self.strangers() < MOST_OF_FILE {
            self.findings.push(finding);
        } else {
            self.has_more = true;
        }
    }

    fn strangers(&self) -> usize {
        self.findings.iter().filter(|finding| finding.owned.is_none()).count()
    }

    /// A key that is part of something is no key as text beside.
    fn tidy(&mut self) {
        let parts: Vec<_> =
            self.findings.iter().filter(|finding| finding.kind != KEY_TEXT).filter_map(Finding::device).collect();
        let is_part = |finding: &Finding<'_>| finding.device().is_some_and(|device| parts.contains(&device));
        self.findings.retain(|finding| finding.kind != KEY_TEXT || !is_part(finding));
    }
}

/// Everything that is found.
#[derive(Default)]
pub struct Gathered<'a> {
    files: Vec<OfFile<'a>>,
    of_owners: HashMap<u32, usize>,
    slow: HashMap<u32, Duration>,
    /// Files that could not be looked at, and why.
    pub not_looked_at: Remarks,
    /// How many more there are of them.
    pub more_not_looked_at: usize,
    /// Folders that were passed over, and why.
    pub passed_over: Remarks,
    /// Files with findings that are not listed.
    pub not_listed: usize,
    /// Files that were looked at.
    pub looked_at: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

impl<'a> Gathered<'a> {
    /// Counts a file that was read.
    pub fn count(&mut self, bytes: u64) {
        self.looked_at = self.looked_at.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Adds what is found in a file.
    pub fn add(&mut self, mut file: OfFile<'a>) {
        file.tidy();
        if file.findings.is_empty() {
            return;
        }
        if file.findings.iter().all(|finding| finding.owned.is_none()) {
            let count = self.of_owners.entry(file.uid).or_default();
            *count = count.saturating_add(1);
            if *count > MOST_OF_OWNER {
                self.not_listed = self.not_listed.saturating_add(1);
                return;
            }
        }
        self.files.push(file);
    }

    /// Notes a file that could not be looked at.
    pub fn not_looked_at(&mut self, path: &Path, why: &str) {
        if self.not_looked_at.len() < MOST_REMARKS {
            self.not_looked_at.push((path.to_owned(), why.to_owned()));
        } else {
            self.more_not_looked_at = self.more_not_looked_at.saturating_add(1);
        }
    }

    /// Notes a folder that was passed over.
    pub fn pass_over(&mut self, path: &Path, why: &str) {
        if self.passed_over.len() < MOST_REMARKS {
            self.passed_over.push((path.to_owned(), why.to_owned()));
        }
    }

    /// Looks at a picture of an owner, unless his pictures took too long.
    pub fn patiently<T>(&mut self, uid: u32, look: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let spent = self.slow.entry(uid).or_default();
        if *spent > PATIENCE {
            return Err("left out, because other pictures of its owner took too long".to_owned());
        }
        let began = Instant::now();
        let seen = look();
        *spent = spent.saturating_add(began.elapsed().saturating_sub(SLOW));
        seen
    }

    /// The files in which something is found.
    pub fn files(&self) -> &[OfFile<'a>] {
        &self.files
    }

    /// All findings.
    pub fn findings(&self) -> Vec<&Finding<'a>> {
        self.files.iter().flat_map(|file| &file.findings).collect()
    }

    /// How many of them are of keys that are good here.
    pub fn alive(&self) -> usize {
        self.findings().iter().filter(|finding| finding.is_alive()).count()
    }
}
