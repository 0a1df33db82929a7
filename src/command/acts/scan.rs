//! `qrtotp scan`: what enrollments left in folders, whose it is, and whether its key is still good. It changes nothing.
//!
//! The folders belong to users, who may change them meanwhile and fill them with whatever takes long: see `walk`, `content`.

mod content;
mod finding;
mod report;
mod walk;

use std::fs::File;
use std::io::{IsTerminal, Seek, stderr};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use qrtotp_pictures::holds::{self, Holds, Key};
use qrtotp_pictures::leftovers::{self, Kind, Leftover, Search};
use qrtotp_pictures::read::is_picture;
use rustix::fs::Stat;
use zeroize::Zeroizing;

use self::content::Content;
use self::finding::{Finding, Gathered, OfFile};
pub use self::walk::printable;
use self::walk::{Root, Walk};
use super::keys::Keys;
use super::picture_reader;
use crate::arguments::ScanOptions;
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen::is_utf8;

/// How google-authenticator calls its file.
const AUTHENTICATOR: &str = ".google_authenticator";

/// Looks through folders and files, and names what is found. Ends with [`Code::No`] where a key is still good.
pub fn run(desk: &Desk, options: &ScanOptions) -> Result<(), Ending> {
    let keys = Keys::of(desk)?;
    let walk = Walk { across: options.across, state: desk.vault()?.path().canonicalize()? };
    let roots = roots(options)?;
    let mut scan = Scan {
        keys: &keys,
        lengths: keys.lengths(),
        with_pictures: !options.no_pictures,
        buffer: leftovers::buffer(),
        gathered: Gathered::default(),
        bar: bar(desk, &walk, &roots),
    };
    for root in &roots {
        let mut passed_over = Vec::new();
        walk.run(root, &mut |relative, path| scan.look_at(root, relative, path), &mut |path, why| {
            passed_over.push((path.to_owned(), why));
        });
        for (path, why) in passed_over {
            scan.gathered.pass_over(&path, &why);
        }
    }
    scan.bar.finish_and_clear();
    let gathered = scan.gathered;
    report::report(desk, &keys, &gathered)?;
    if gathered.alive() > 0 { Err(Ending::silent(Code::No)) } else { Ok(()) }
}

/// What was given, without what another one holds already.
fn roots(options: &ScanOptions) -> Result<Vec<Root>, Ending> {
    let mut all: Vec<_> = options.paths.iter().map(|path| Root::open(path)).collect::<Result<_, _>>()?;
    all.sort_by(|one, other| one.path().cmp(other.path()));
    let mut roots: Vec<Root> = Vec::new();
    for root in all {
        if !roots.iter().any(|other| other.holds(&root)) {
            roots.push(root);
        }
    }
    Ok(roots)
}

/// A bar over the bytes of all files, where a person looks at standard error.
fn bar(desk: &Desk, walk: &Walk, roots: &[Root]) -> ProgressBar {
    if desk.screen.is_json() || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let mut total = 0_u64;
    for root in roots {
        walk.run(root, &mut |_, path| total = total.saturating_add(size_of(path)), &mut |_, _| {});
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar} {percent}% of {total_bytes}, {msg}");
    let ascii = |style: ProgressStyle| if is_utf8() { style } else { style.progress_chars("#> ") };
    style.map_or_else(|_| ProgressBar::hidden(), |style| bar.with_style(ascii(style)).with_message("nothing found"))
}

fn size_of(path: &Path) -> u64 {
    path.symlink_metadata().map(|data| data.len()).unwrap_or(0)
}

struct Scan<'a> {
    keys: &'a Keys,
    lengths: Vec<usize>,
    with_pictures: bool,
    buffer: Zeroizing<Vec<u8>>,
    gathered: Gathered<'a>,
    bar: ProgressBar,
}

impl<'a> Scan<'a> {
    fn look_at(&mut self, root: &Root, relative: &Path, path: &Path) {
        match root.file(relative) {
            Ok(Some((file, stat))) => self.look_into(path, file, &stat),
            // It went meanwhile, or something else stands in its place.
            Ok(None) => {}
            Err(error) => self.gathered.not_looked_at(path, &error.to_string()),
        }
    }

    fn look_into(&mut self, path: &Path, file: File, stat: &Stat) {
        let keys = self.keys;
        let mut found = OfFile::new(path, stat);
        let mut content = Content::of(&file, stat, &self.bar);
        let search = Search {
            is_known: &|secret| keys.owner_of(secret).is_some(),
            lengths: &self.lengths,
            is_named_authenticator: path.file_name().is_some_and(|name| name == AUTHENTICATOR),
        };
        let read = search.run(&mut self.buffer, |room| content.read(room), &mut |left| found.add(of_text(keys, left)));
        if let Err(error) = read {
            self.gathered.not_looked_at(path, &error.to_string());
        } else if content.is_cut_off() {
            self.gathered.not_looked_at(path, "only its first 16 GiB were looked at");
        }
        self.gathered.count(content.bytes());
        if self.with_pictures && is_picture(content.head()) {
            self.look_at_picture(path, file, stat, &mut found);
        }
        self.gathered.add(found);
        self.bar.set_message(format!("{} found", self.gathered.findings().len()));
    }

    fn look_at_picture(&mut self, path: &Path, mut file: File, stat: &Stat, found: &mut OfFile<'a>) {
        let keys = self.keys;
        let texts = self.gathered.patiently(stat.st_uid, || {
            file.rewind().map_err(|error| error.to_string())?;
            picture_reader::texts(&file)
        });
        match texts {
            Ok(texts) => texts.iter().flat_map(|text| of_picture(keys, text)).for_each(|finding| found.add(finding)),
            Err(why) => self.gathered.not_looked_at(path, &format!("as a picture: {why}")),
        }
    }
}

fn of_text<'a>(keys: &'a Keys, left: Leftover) -> Finding<'a> {
    let kind = match left.kind {
        Kind::Uri => "otpauth",
        Kind::Export => "otpauth-migration",
        Kind::Authenticator => "google-authenticator",
        Kind::OathUsers => "users.oath",
        Kind::KeyText => finding::KEY_TEXT,
    };
    of_key(keys, kind, Some(left.line), &left.key)
}

fn of_picture<'a>(keys: &'a Keys, text: &Zeroizing<String>) -> Vec<Finding<'a>> {
    let found = |kind, key: &Key| of_key(keys, kind, None, key);
    match holds::what(text) {
        Holds::Key(key) if key.bits > 0 => vec![found("otpauth", &key)],
        Holds::Export(all) => all.iter().map(|key| found("otpauth-migration", key)).collect(),
        Holds::UnreadableExport => vec![found("otpauth-migration", &Key::default())],
        Holds::Key(_) | Holds::Link { .. } | Holds::Wifi | Holds::Other => Vec::new(),
    }
}

fn of_key<'a>(keys: &'a Keys, kind: &'static str, line: Option<u64>, key: &Key) -> Finding<'a> {
    Finding {
        kind,
        line,
        times: 1,
        issuer: key.issuer.as_deref().map(finding::cut),
        account: key.account.as_deref().map(finding::cut),
        bits: key.bits,
        owned: key.secret.as_ref().and_then(|secret| keys.owner_of(secret)),
    }
}

/// Files and folders that a person reads of, by their paths.
type Remarks = Vec<(PathBuf, String)>;
