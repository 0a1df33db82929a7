//! `qrtotp watch`: reads what happens, tells what is unusual, and does what the policy's alerts say.
//!
//! ```text
//! new events -> State (what is usual, what was counted, what is to be done) -> stored -> done -> stored
//! ```
//!
//! What is to be done is stored together with the place up to which events were read, before anything is done. After a restart, what
//! was done before the end is known by its traces: the event of the same id, the file that a program's start renamed.

mod hooks;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use qrtotp_core::calendar::in_words;
use qrtotp_core::events::{Event, Kind, Outcome, Printable};
use qrtotp_core::files::{Folder, Privacy, read_all};
use qrtotp_core::policy::Settings;
use qrtotp_core::policy::alerts::Alert;
use qrtotp_core::words::{Account, AttemptId, Source, Uid, WallTime};
use qrtotp_trail::watch::{Pending, Raised, State, Task};
use qrtotp_trail::{Bell, Follower, Geo, Line, Position, Trail};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdirat};

use super::{device, gc, step_up};
use crate::arguments::watch::WatchOptions;
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::reading::Damages;
use hooks::Hooks;

/// Where the watcher keeps what outlives a restart, in the state folder.
const FOLDER: &str = ".watch";
const STATE: &str = "state.json";
/// Largest state that is read, in bytes: a hundred thousand users.
const MOST: usize = 512 * 1024 * 1024;
/// How long the bell is waited for; tickets that are over are looked for then too.
const PATIENCE: Duration = Duration::from_secs(60);
/// While programs run, or something has to be tried again.
const IMPATIENCE: Duration = Duration::from_millis(200);
/// How often something is tried that fails.
const TRIES: u32 = 5;

/// Watches until it is ended, or once.
pub fn run(desk: &Desk, options: &WatchOptions) -> Result<(), Ending> {
    let folder = folder(desk)?;
    if let Some(id) = &options.run_hook {
        return hooks::run(desk, &folder, id);
    }
    match flock(&folder.fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(_) => return Err(Ending::new(Code::Conflict, "another qrtotp watch is at work")),
    }
    let file = &desk.policy.events_file;
    let fail = |error| Ending::new(Code::No, format!("{}: cannot be followed: {error}", file.display()));
    let bell = if options.once { None } else { Some(Bell::new(file).map_err(fail)?) };
    let mut watcher = Watcher::open(desk, folder)?;
    loop {
        watcher.pass()?;
        match &bell {
            Some(bell) => bell.wait(if watcher.is_busy() { IMPATIENCE } else { PATIENCE }).map_err(fail)?,
            None if watcher.is_busy() => watcher.hooks.wait(),
            None => return Ok(()),
        }
    }
}

fn folder(desk: &Desk) -> Result<Folder, Ending> {
    let state = &desk.policy.state_dir;
    let missing = || Ending::new(Code::Untrusted, format!("{} is missing; run: qrtotp init", state.display()));
    let home = Folder::open(state, Privacy::Secret)?.ok_or_else(missing)?;
    for path in [FOLDER.to_owned(), format!("{FOLDER}/{}", hooks::FOLDER)] {
        match mkdirat(&home.fd, &path, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => {
                let path = state.join(path);
                return Err(Ending::new(Code::Untrusted, format!("{}: cannot be made: {errno}", path.display())));
            }
        }
    }
    home.folder(FOLDER)?.ok_or_else(missing)
}

struct Watcher<'a> {
    desk: &'a Desk,
    folder: Folder,
    state: State,
    hooks: Hooks,
    /// The ids of events that were written before a restart.
    written: BTreeSet<String>,
    /// The last settings that could be read.
    settings: Settings,
}

impl<'a> Watcher<'a> {
    /// Goes on where the one before ended. The first one learns what is usual from what is there, and raises nothing for it.
    fn open(desk: &'a Desk, folder: Folder) -> Result<Self, Ending> {
        let settings = Settings::load(&desk.config).map_err(|what| Ending::new(Code::Untrusted, what))?;
        let mut watcher =
            Self { desk, folder, state: State::default(), hooks: Hooks::default(), written: BTreeSet::new(), settings };
        match watcher.load()? {
            Some(state) => {
                watcher.state = state;
                watcher.look_for_traces()?;
            }
            None => watcher.learn()?,
        }
        Ok(watcher)
    }

    fn load(&self) -> Result<Option<State>, Ending> {
        let path = self.path();
        let Some((fd, _)) = self.folder.file(STATE, OFlags::RDONLY, Privacy::Secret)? else { return Ok(None) };
        let bytes = read_all(&fd, &path, MOST)?;
        let state = serde_json::from_slice(&bytes);
        state.map(Some).map_err(|error| {
            let what = "is damaged; if it is removed, the watcher begins afresh and raises nothing for what was before";
            Ending::new(Code::Untrusted, format!("{}: {what} ({error})", path.display()))
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path.join(STATE)
    }

    fn save(&self) -> Result<(), Ending> {
        let text = serde_json::to_vec(&self.state).map_err(|error| Ending::new(Code::No, error.to_string()))?;
        Ok(self.folder.replace(STATE, &text, 0)?)
    }

    fn learn(&mut self) -> Result<(), Ending> {
        let geo = self.geo();
        let mut follower = Follower::new(&self.desk.policy.events_file, Position::default());
        let mut damages = Damages::default();
        follower.catch_up(&mut |line| match line {
            Ok(line) => self.state.learn(&line, geo.of(&line).as_deref()),
            Err(damage) => damages.add(damage),
        })?;
        damages.tell(self.desk);
        self.state.position = follower.position().clone();
        self.save()
    }

    /// Without a database that can be read no country is known, and the watcher goes on.
    fn geo(&self) -> Geo {
        Geo::open(self.settings.geo_database.as_deref()).unwrap_or_else(|trouble| {
            self.desk.screen.remark(&format!("qrtotp: {trouble}"));
            Geo::default()
        })
    }

    fn is_busy(&self) -> bool {
        !self.state.pending.is_empty() || self.hooks.is_running()
    }

    fn pass(&mut self) -> Result<(), Ending> {
        match Settings::load(&self.desk.config) {
            Ok(settings) => self.settings = settings,
            Err(what) => self.desk.screen.remark(&format!("qrtotp: {what}; the alerts stay as they were")),
        }
        self.read()?;
        self.hooks.reap();
        let pending = std::mem::take(&mut self.state.pending);
        let had_to_act = !pending.is_empty();
        for mut one in pending {
            self.act(&mut one);
            if !one.deeds.is_empty() {
                self.state.pending.push(one);
            }
        }
        if had_to_act {
            self.save()?;
        }
        self.hooks.sweep(&self.folder, &self.state.pending)?;
        let vault = self.desk.vault()?;
        // A command that is at work does the same, or the next pass does.
        if let Ok(_exclusive) = vault.exclusive() {
            gc::end_tickets_that_are_over(self.desk, &vault)?;
        }
        Ok(())
    }

    /// Takes in what is new, line by line, and stores what is to be done.
    fn read(&mut self) -> Result<(), Ending> {
        let mut follower = Follower::new(&self.desk.policy.events_file, self.state.position.clone());
        let mut state = std::mem::take(&mut self.state);
        let alerts: &[Alert] = &self.settings.alerts;
        state.keep_only(alerts);
        // Opened for the first line: mostly there is none.
        let geo = OnceCell::new();
        let members = Members::of(self.desk);
        let mut damages = Damages::default();
        let read = follower.catch_up(&mut |line| match line {
            Ok(line) => {
                let country = geo.get_or_init(|| self.geo()).of(&line);
                state.take(&line, country.as_deref(), alerts, &|user, groups| members.is_in(user, groups));
            }
            Err(damage) => damages.add(damage),
        });
        damages.tell(self.desk);
        // What was taken of a file that cannot be read to its end is not stored: the next watcher takes it again.
        read?;
        let is_new = follower.position() != &state.position;
        state.position = follower.position().clone();
        self.state = state;
        if is_new { self.save() } else { Ok(()) }
    }

    /// Which events of what is to be done were written before the restart.
    fn look_for_traces(&mut self) -> Result<(), Ending> {
        let Some(first) = self.state.pending.iter().map(|pending| pending.time).min() else { return Ok(()) };
        let trail = Trail::find(&self.desk.policy.events_file)?.since(WallTime(first));
        let kinds = [Kind::Alert, Kind::NewSource, Kind::NewCountry, Kind::UnusualHour, Kind::StepUp].map(Kind::word);
        for line in trail.lines().filter_map(Result::ok).filter(|line| kinds.contains(&line.event.as_str())) {
            let of_step_up = line.reason.rsplit(' ').next().filter(|_| line.event == Kind::StepUp.word());
            self.written.insert(of_step_up.map_or(line.id.clone(), |id| format!("{id}-step-up")));
        }
        Ok(())
    }

    /// Does what is left to do; what fails is tried again, and told when that is given up.
    fn act(&mut self, pending: &mut Pending) {
        let mut left = Vec::new();
        for task in std::mem::take(&mut pending.deeds) {
            match self.perform(pending, &task) {
                Ok(true) => {}
                Ok(false) => left.push(task),
                Err(_) if pending.tries < TRIES => {
                    pending.tries = pending.tries.saturating_add(1);
                    left.push(task);
                }
                Err(ending) => self.tell_failure(pending, &task, &ending.to_string()),
            }
        }
        pending.deeds = left;
    }

    /// False where it has to wait.
    fn perform(&mut self, pending: &Pending, task: &Task) -> Result<bool, Ending> {
        match task {
            Task::Record => {
                if !self.written.contains(&pending.id) {
                    self.desk.record(&event(self.desk, pending)?);
                }
                Ok(true)
            }
            Task::Run(command) => self.hooks.start(self.desk, &self.folder, pending, command),
            Task::StepUp(until) => {
                let account = account(self.desk, pending)?;
                if !self.written.contains(&format!("{}-step-up", pending.id)) {
                    step_up::impose(self.desk, &account, WallTime(*until), &reason(pending))?;
                }
                Ok(true)
            }
            Task::Disable => {
                let account = account(self.desk, pending)?;
                let is_named = self.settings.alerts.iter().any(|alert| is_named(alert, pending, &account));
                if account.uid == Uid(0) && !is_named {
                    let what = "root is not disabled by an alert that does not name root in users";
                    self.tell_failure(pending, task, what);
                    return Ok(true);
                }
                device::disable_all(self.desk, &account, &reason(pending)).map(|()| true)
            }
        }
    }

    fn tell_failure(&self, pending: &Pending, task: &Task, what: &str) {
        let deed = match task {
            Task::Record => "log",
            Task::Run(_) => "exec",
            Task::StepUp(_) => "step-up",
            Task::Disable => "disable",
        };
        tell_failure(self.desk, &name(pending), &format!("{deed} of {}: {what}", pending.id));
    }
}

/// An event that says what an alert could not do.
fn tell_failure(desk: &Desk, alert: &str, what: &str) {
    let mut event = desk.event_of_all(Kind::Alert, alert);
    event.outcome = Outcome::Error;
    event.detail = Some(Printable::new(what.as_bytes()));
    desk.record(&event);
}

fn is_named(alert: &Alert, pending: &Pending, account: &Account) -> bool {
    let has_user = |users: &Vec<String>| users.iter().any(|user| user == account.name.as_str());
    alert.name == name(pending) && alert.users.as_ref().is_some_and(has_user)
}

fn name(pending: &Pending) -> String {
    match &pending.what {
        Raised::Alert { name, .. } => name.clone(),
        other => other.kind().word().to_owned(),
    }
}

/// Ends in the id, so that the watcher knows it again.
fn reason(pending: &Pending) -> String {
    format!("alert {} {}", name(pending), pending.id)
}

fn account(desk: &Desk, pending: &Pending) -> Result<Account, Ending> {
    let none = || Ending::new(Code::NoUser, "the event names no user");
    desk.account(pending.user.as_deref().ok_or_else(none)?)
}

/// The event of what was raised. Its id is that of what was raised, so that it is known again after a restart.
fn event(desk: &Desk, pending: &Pending) -> Result<Event, Ending> {
    let mut event = desk.event_of_all(pending.what.kind(), &name(pending));
    let user = pending.user.as_deref().map(|user| desk.find(user)).transpose()?.flatten();
    event.user = user.as_ref().map(|account| account.name.clone());
    event.uid = user.as_ref().map(|account| account.uid);
    event.id = AttemptId::parse(&pending.id).unwrap_or(event.id);
    event.source = source(&pending.source).unwrap_or(event.source);
    let what = match &pending.what {
        Raised::NewSource => format!("login {} from a source and a network that are new", pending.event),
        Raised::NewCountry => {
            format!("login {} from {}, which is new", pending.event, pending.country.as_deref().unwrap_or("?"))
        }
        Raised::UnusualHour(hour) => format!("login {} at {hour:02}:00 to {hour:02}:59 UTC", pending.event),
        Raised::Alert { per, key, count, .. } => {
            event.outcome = Outcome::Failure;
            format!("{count} of {per} {key}, by event {}", pending.event)
        }
    };
    let ago = desk.now()?.wall.0.saturating_sub(pending.time);
    let late = if ago > 600_000 { format!(", {} ago", in_words(ago)) } else { String::new() };
    event.detail = Some(Printable::new(format!("{what}{late}").as_bytes()));
    Ok(event)
}

fn source(text: &str) -> Option<Source> {
    qrtotp_trail::filter::source(&Line { source: text.to_owned(), ..Line::default() })
}

/// The groups of users, asked once a pass.
struct Members<'a> {
    desk: &'a Desk,
    known: RefCell<BTreeMap<String, Vec<String>>>,
}

impl<'a> Members<'a> {
    fn of(desk: &'a Desk) -> Self {
        Self { desk, known: RefCell::default() }
    }

    /// What the name service does not say is no membership.
    fn is_in(&self, user: &str, groups: &[String]) -> bool {
        let mut known = self.known.borrow_mut();
        let of_user = known.entry(user.to_owned()).or_insert_with(|| {
            let account = self.desk.find(user).ok().flatten();
            account.and_then(|account| self.desk.world().directory.groups(&account).ok()).unwrap_or_default()
        });
        groups.iter().any(|group| of_user.contains(group))
    }
}
