//! `qrtotp import`: the devices that people have come over from another module, or from an app.
//!
//! What is read was written by users, or by whoever made a picture: parsers are pure functions over bytes, and files are opened
//! as hostile ones.

mod answer;
mod google;
mod migration;
mod oath;
mod opening;
mod taking;
mod token;

use std::path::Path;

use qrtotp_core::policy::Zone;
use qrtotp_core::words::{Account, UserName, WallTime};
use qrtotp_pictures::holds::{self, Holds, Key};
use qrtotp_system::{Users, host_name};
use zeroize::Zeroizing;

use self::answer::{Outcome, Row, answer};
use self::migration::Here;
use self::opening::Owner;
use self::taking::{Record, Source, take};
use super::scan::printable;
use super::{check_picture, picture_reader, policy};
use crate::arguments::import::{GoogleOptions, ImportAct, MigrationOptions, OathOptions};
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen::{clean, in_a_list};

/// How google-authenticator calls its file.
const AUTHENTICATOR: &str = ".google_authenticator";

/// Files whose removal is written out.
const FILES_NAMED: usize = 20;

/// Comes over from somewhere.
pub fn run(desk: &Desk, act: &ImportAct) -> Result<(), Ending> {
    match act {
        ImportAct::GoogleAuthenticator(options) => google_authenticator(desk, options),
        ImportAct::Oath(options) => oath_users(desk, options),
        ImportAct::Migration(options) => app(desk, options),
    }
}

const GOOGLE: Source = Source { name: "google-authenticator", word: "google_authenticator" };
const OATH: Source = Source { name: "oath", word: "oath" };
const APP: Source = Source { name: "migration", word: "migration" };

fn google_authenticator(desk: &Desk, options: &GoogleOptions) -> Result<(), Ending> {
    let mut records = Vec::new();
    match (&options.user, &options.file) {
        (Some(user), Some(file)) => {
            let account = desk.account(user)?;
            let read = opening::read(file, Owner::UserOrRoot(account.uid.0), google::MOST);
            let missing = || Ending::new(Code::No, format!("{}: there is no such file", printable(file)));
            let read = read.transpose().ok_or_else(missing)?;
            records.push(google_record(&account, &std::path::absolute(file)?, read));
        }
        (Some(user), None) => {
            let account = desk.account(user)?;
            let found = in_home(&account);
            let missing = || Ending::new(Code::No, format!("{user} has no {AUTHENTICATOR} at home; name the file"));
            records.push(found.ok_or_else(missing)?);
        }
        (None, _) => {
            for (name, _) in policy::accounts(&desk.vault()?)? {
                let Some(account) = desk.find(&name)? else { continue };
                records.extend(in_home(&account));
            }
        }
    }
    if records.is_empty() {
        desk.screen.remark(&format!("No account of this machine has a {AUTHENTICATOR} at home."));
    }
    let rows = take(desk, &options.manner, GOOGLE, options.user.is_some(), records)?;
    let next = if options.manner.dry_run { Vec::new() } else { google_next(&rows) };
    answer(desk, GOOGLE.name, options.manner.dry_run, &rows, &next)
}

/// What an account has at home; `None` where it has none.
fn in_home(account: &Account) -> Option<Record> {
    let home = Users.home(&account.name)?;
    let read = opening::read_in_home(&home, AUTHENTICATOR, account.uid.0, google::MOST).transpose()?;
    Some(google_record(account, &home.join(AUTHENTICATOR), read))
}

fn google_record(account: &Account, path: &Path, read: Result<opening::Keys, String>) -> Record {
    let user = account.name.as_str();
    let mut record = Record {
        user: Ok(user.to_owned()),
        from: printable(path),
        line: None,
        name: None,
        token: Err(String::new()),
        beside: Vec::new(),
        remarks: Vec::new(),
    };
    let keys = match read {
        Ok(keys) => keys,
        Err(why) => {
            record.token = Err(format!("the file {why}"));
            return record;
        }
    };
    let old = google::parse(&keys.bytes);
    record.token = old.token;
    if keys.is_readable_by_others {
        record.remarks.push(format!("others could read the file, so change the key: qrtotp rotate {user}"));
    }
    if old.skew != 0 {
        let how = "set its clock, and this host's, by the network, or its codes are refused";
        record.beside.push((format!("TIME_SKEW {}", old.skew), format!("the device's clock is off; {how}")));
    }
    if old.scratch_codes > 0 {
        let what = if old.scratch_codes == 1 { "scratch code" } else { "scratch codes" };
        let why = format!("8 digits can be guessed; make recovery codes: qrtotp recovery {user}");
        record.beside.push((format!("{} {what}", old.scratch_codes), why));
    }
    if !old.options.is_empty() {
        let why = "here [totp] and [limits] of the policy say that; see: qrtotp policy check".to_owned();
        record.beside.push((old.options.join(", "), why));
    }
    if !old.strange.is_empty() {
        let numbers: Vec<_> = old.strange.iter().take(5).map(ToString::to_string).collect();
        let more = if old.strange.len() > numbers.len() { " ..." } else { "" };
        record
            .beside
            .push((format!("line {}{more}", numbers.join(", ")), "neither option nor scratch code".to_owned()));
    }
    record
}

/// The files stay: somebody may still have to go back.
fn google_next(rows: &[Row]) -> Vec<String> {
    let came = |row: &&Row| matches!(row.outcome, Outcome::CameOver | Outcome::Here);
    let files: Vec<_> = rows.iter().filter(came).map(|row| format!("  rm {}", row.from)).collect();
    if files.is_empty() {
        return Vec::new();
    }
    let more = files.len().saturating_sub(FILES_NAMED);
    let mut next = vec![
        "The old files stay, and hold keys that are good. Once a login with a code has worked, and the old module is out of \
         the stack, remove them; qrtotp scan /home finds those that are left:"
            .to_owned(),
    ];
    next.extend(files.into_iter().take(FILES_NAMED));
    next.extend((more > 0).then(|| format!("  and {more} more, see the table")));
    next
}

fn oath_users(desk: &Desk, options: &OathOptions) -> Result<(), Ending> {
    let path = printable(&std::path::absolute(&options.file)?);
    let fail = |why: String| Ending::new(Code::No, format!("{path}: {why}"));
    let read = opening::read(&options.file, Owner::Root, oath::MOST).map_err(fail)?;
    let keys = read.ok_or_else(|| fail("there is no such file".to_owned()))?;
    let offset = |time: WallTime| Zone::Local.offset_at(time);
    let is_wanted = |record: &oath::Record| options.user.is_none() || record.user == options.user;
    let records = oath::parse(&keys.bytes, &offset).into_iter().filter(is_wanted);
    let records = records.map(|record| {
        let mut record = oath_record(record, &path, keys.is_readable_by_others);
        if options.user.is_none() {
            record.user = record.user.and_then(|user| not_root(desk, user));
        }
        record
    });
    let records: Vec<_> = records.collect();
    if records.is_empty() {
        desk.screen.remark(&format!("{path} has no line of a user."));
    }
    let rows = take(desk, &options.manner, OATH, options.user.is_some(), records)?;
    let came = rows.iter().any(|row| matches!(row.outcome, Outcome::CameOver | Outcome::Here));
    let next = format!(
        "{path} stays, and holds keys that are good. Once a login with a code has worked, and pam_oath is out of the stack, \
         remove it: rm {path}"
    );
    let next = if came && !options.manner.dry_run { vec![next] } else { Vec::new() };
    answer(desk, OATH.name, options.manner.dry_run, &rows, &next)
}

fn oath_record(record: oath::Record, path: &str, is_readable_by_others: bool) -> Record {
    let user = record.user.unwrap_or_default();
    let shown = clean(&user);
    let beside = match record.pin {
        oath::Pin::None => None,
        oath::Pin::Own => {
            Some(("PIN".to_owned(), "the code stands alone here; ask for a password in front of it".to_owned()))
        }
        oath::Pin::Elsewhere => {
            let why = "the code stands alone here; the module of the password goes in front of it".to_owned();
            Some(("password before the code (+)".to_owned(), why))
        }
    };
    let remark =
        is_readable_by_others.then(|| format!("others could read the file, so change the key: qrtotp rotate {shown}"));
    Record {
        user: if user.is_empty() { Err(String::new()) } else { Ok(user) },
        from: path.to_owned(),
        line: Some(record.line),
        name: None,
        token: record.token,
        beside: beside.into_iter().collect(),
        remarks: remark.into_iter().collect(),
    }
}

fn app(desk: &Desk, options: &MigrationOptions) -> Result<(), Ending> {
    let issuer = desk.policy.enrolling.issuer.as_ref().map(|issuer| issuer.as_str().to_owned());
    let mut gathered = Gathered {
        desk,
        options,
        here: Here::new(issuer.as_deref(), &host_name()),
        records: Vec::new(),
        others: Vec::new(),
        pictures: Vec::new(),
    };
    if let Some(user) = &options.user {
        desk.account(user)?;
    }
    for (number, export) in (1..).zip(&options.exports) {
        match export.as_str() {
            "-" => gathered.read_standard_input()?,
            uri if is_uri(uri) => gathered.add_text(uri, &format!("argument {number}"), None),
            path => gathered.add_picture(Path::new(path)),
        }
    }
    let Gathered { records, others, pictures, .. } = gathered;
    if let (Some(wanted), true) = (&options.account, records.is_empty()) {
        let there = in_a_list(&others.iter().map(|name| clean(name)).collect::<Vec<_>>());
        return Err(Ending::new(
            Code::No,
            format!("there is no account \"{}\" in it; there is {there}", clean(wanted)),
        ));
    }
    let mut rows = take(desk, &options.manner, APP, options.user.is_some(), records)?;
    rows.extend(missing_pictures(&pictures));
    let came = rows.iter().any(|row| row.outcome == Outcome::CameOver);
    let next = "The export stays, wherever it is, and holds keys that are good: destroy the pictures, and look with qrtotp scan.";
    let next = if came && !options.manner.dry_run { vec![next.to_owned()] } else { Vec::new() };
    answer(desk, APP.name, options.manner.dry_run, &rows, &next)
}

fn is_uri(text: &str) -> bool {
    let scheme = text.trim_start().split(':').next().unwrap_or("");
    ["otpauth", "otpauth-migration"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// One picture of an export: which export, which picture, of how many.
type Picture = (u64, u64, u64);

/// What the exports hold that were given.
struct Gathered<'a> {
    desk: &'a Desk,
    options: &'a MigrationOptions,
    here: Here,
    records: Vec<Record>,
    /// The names of the accounts that were not asked for.
    others: Vec<String>,
    pictures: Vec<Picture>,
}

impl Gathered<'_> {
    fn read_standard_input(&mut self) -> Result<(), Ending> {
        let mut number = 0_usize;
        while let Some(line) = self.desk.screen.read_line()? {
            number = number.saturating_add(1);
            if !line.trim().is_empty() {
                self.add_text(&line, "standard input", Some(number));
            }
        }
        Ok(())
    }

    fn add_picture(&mut self, path: &Path) {
        let from = printable(path);
        match check_picture::open(path).and_then(|file| picture_reader::texts(&file)) {
            Err(why) => self.refuse(&from, None, why),
            Ok(texts) if texts.is_empty() => self.refuse(&from, None, "no QR code was found in it".to_owned()),
            Ok(texts) => texts.iter().for_each(|text: &Zeroizing<String>| self.add_text(text, &from, None)),
        }
    }

    fn add_text(&mut self, text: &str, from: &str, line: Option<usize>) {
        if let Some(export) = holds::export_of(text) {
            let (picture, pictures) = (export.picture, export.pictures);
            self.pictures.push((export.batch, picture, pictures));
            let from = if pictures > 1 { format!("{from}, picture {picture} of {pictures}") } else { from.to_owned() };
            export.keys.into_iter().for_each(|key| self.add_key(key, &from, line));
            return;
        }
        match holds::what(text) {
            Holds::Key(key) => self.add_key(*key, from, line),
            Holds::UnreadableExport => self.refuse(from, line, "the export is damaged, or cut off".to_owned()),
            _ => self.refuse(from, line, "it is no export of an app".to_owned()),
        }
    }

    fn add_key(&mut self, key: Key, from: &str, line: Option<usize>) {
        let name = migration::name(&key);
        if self.options.account.as_ref().is_some_and(|wanted| !migration::is_called(&key, wanted)) {
            self.others.push(name);
            return;
        }
        let user = match &self.options.user {
            Some(user) => Ok(user.clone()),
            None => self.here.user(&key).and_then(|user| not_root(self.desk, user)),
        };
        let token = migration::token(key);
        let from = from.to_owned();
        let (beside, remarks) = (Vec::new(), Vec::new());
        self.records.push(Record { user, from, line, name: Some(name), token, beside, remarks });
    }

    fn refuse(&mut self, from: &str, line: Option<usize>, why: String) {
        let (from, user, token) = (from.to_owned(), Err(String::new()), Err(why));
        let (beside, remarks) = (Vec::new(), Vec::new());
        self.records.push(Record { user, from, line, name: None, token, beside, remarks });
    }
}

/// Whoever made the export could name anybody, and a file of many users may have been forgotten; the one who may do everything
/// is taken by order only.
fn not_root(desk: &Desk, user: String) -> Result<String, String> {
    let is_root = UserName::parse(user.as_bytes()).is_some()
        && desk.find(&user).ok().flatten().is_some_and(|account| account.uid.0 == 0);
    if is_root { Err(format!("user id 0 is taken by --user {} only", clean(&user))) } else { Ok(user) }
}

/// A row for each picture of an export that was not given.
fn missing_pictures(given: &[Picture]) -> Vec<Row> {
    /// More than any app makes; the number is the export's own.
    const MOST: u64 = 50;
    let mut batches: Vec<(u64, u64)> = given.iter().map(|(batch, _, pictures)| (*batch, *pictures)).collect();
    batches.sort_unstable();
    batches.dedup();
    let row = |picture: u64, pictures: u64| Row {
        user: None,
        from: "the same export".to_owned(),
        line: None,
        what: format!("picture {picture} of {pictures}"),
        outcome: Outcome::NotTaken,
        why: "it was not given".to_owned(),
        device: None,
        facts: None,
    };
    let missing = batches.iter().flat_map(|(batch, pictures)| {
        let is_given = move |picture: &u64| given.iter().any(|(of, number, _)| of == batch && number == picture);
        (1..=(*pictures).min(MOST)).filter(move |picture| !is_given(picture)).map(|picture| (picture, *pictures))
    });
    missing.map(|(picture, pictures)| row(picture, pictures)).collect()
}
