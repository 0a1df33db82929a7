//! Policy, state and ports, opened for one command.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qrtotp_core::events::{Event, Kind, Printable, Scene};
use qrtotp_core::files::Trouble;
use qrtotp_core::login::World;
use qrtotp_core::policy::Policy;
use qrtotp_core::ports::{Clock, Directory, Events, Random};
use qrtotp_core::remember;
use qrtotp_core::vault::{Credentials, LockedRoom, Locking, Room, Vault};
use qrtotp_core::words::{Account, Now, Source, Uid, UserName};
use qrtotp_system::{Log, SystemClock, SystemRandom, Users, caller};

use crate::ending::{Code, Ending};
use crate::screen::Screen;

/// How long a login may keep a command from changing its user, and how often the command looks.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// What a command works with.
pub struct Desk {
    /// The policy file.
    pub config: PathBuf,
    /// Its content.
    pub policy: Policy,
    /// Standard output and input.
    pub screen: Screen,
    log: Log,
}

/// Everything here reads or writes what root alone may see.
pub fn require_root() -> Result<(), Ending> {
    if caller().effective.0 == 0 {
        Ok(())
    } else {
        Err(Ending::new(Code::No, "must be run as root; try: sudo qrtotp ..."))
    }
}

impl Desk {
    /// Reads the policy.
    pub fn open(config: &Path, json: bool) -> Result<Self, Ending> {
        let policy = Policy::load(config).map_err(|what| Ending::new(Code::Untrusted, what))?;
        let log = Log::new(&Printable::new(b"qrtotp")).with_file(&policy.events_file);
        Ok(Self { config: config.to_owned(), policy, screen: Screen::new(json), log })
    }

    /// Opens the state folder.
    pub fn vault(&self) -> Result<Vault, Ending> {
        Ok(Vault::open(&self.policy.state_dir)?)
    }

    /// The ports of a login.
    pub fn world(&self) -> World<'_> {
        World { directory: &Users, clock: &SystemClock, random: &SystemRandom, events: &self.log }
    }

    /// Random numbers.
    pub fn random(&self) -> &dyn Random {
        &SystemRandom
    }

    /// The clocks.
    pub fn now(&self) -> Result<Now, Ending> {
        SystemClock.now().ok_or_else(|| Ending::new(Code::Untrusted, "the kernel does not tell the time"))
    }

    /// Where this command is run from.
    pub fn source(&self) -> Source {
        Source::Local(caller().real)
    }

    /// The account of a user, who must exist.
    pub fn account(&self, user: &str) -> Result<Account, Ending> {
        self.find(user)?.ok_or_else(|| Ending::new(Code::NoUser, format!("there is no user {}", quoted(user))))
    }

    /// The account of a user, if there is one.
    pub fn find(&self, user: &str) -> Result<Option<Account>, Ending> {
        let Some(name) = UserName::parse(user.as_bytes()) else { return Ok(None) };
        Users.find(&name).map_err(|_| Ending::new(Code::Untrusted, "the name service failed; nothing was changed"))
    }

    /// The account of a user id, if there is one.
    pub fn find_uid(&self, uid: Uid) -> Result<Option<Account>, Ending> {
        Users.find_uid(uid).map_err(|_| Ending::new(Code::Untrusted, "the name service failed; nothing was changed"))
    }

    /// Whom state is kept of under a name: the account, or, where it no longer exists, whoever was enrolled by that name.
    pub fn owner(&self, vault: &Vault, user: &str) -> Result<Account, Ending> {
        if let Some(account) = self.find(user)? {
            return Ok(account);
        }
        for uid in vault.uids()? {
            let read = vault.room(uid)?.map(|room| room.credentials());
            if let Some(Ok((credentials, _))) = read
                && credentials.user.as_str() == user
            {
                return Ok(Account { name: credentials.user, uid });
            }
        }
        Err(Ending::new(
            Code::NoUser,
            format!("there is no user {}, and nobody of that name is enrolled", quoted(user)),
        ))
    }

    /// The folder and the credentials of somebody who is enrolled and not revoked.
    pub fn enrolled(&self, vault: &Vault, account: &Account) -> Result<(Room, Credentials), Ending> {
        let user = account.name.as_str();
        let room = vault.room(account.uid)?.ok_or_else(|| Ending::not_enrolled(user))?;
        let credentials = in_force(&room, account)?;
        Ok((room, credentials))
    }

    /// The same to change them: nobody else does as long as the folder is held. The caller holds [`Vault::exclusive`], so
    /// that who is in the way is a login.
    pub fn enrolled_to_change(&self, vault: &Vault, account: &Account) -> Result<(LockedRoom, Credentials), Ending> {
        let user = account.name.as_str();
        match Self::wait_for(|| vault.try_lock(account.uid))? {
            Locking::Missing => Err(Ending::not_enrolled(user)),
            Locking::Locked(room) => {
                let credentials = in_force(&room, account)?;
                Ok((room, credentials))
            }
            Locking::Busy(_) => Err(Ending::held_by_login(user)),
        }
    }

    /// Tries again while a login holds the folder of a user, for as long as a command has patience.
    pub fn wait_for(try_lock: impl Fn() -> Result<Locking, Trouble>) -> Result<Locking, Trouble> {
        let end = Instant::now().checked_add(PATIENCE);
        loop {
            match try_lock()? {
                Locking::Busy(_) if end.is_some_and(|end| Instant::now() < end) => std::thread::sleep(PAUSE),
                other => return Ok(other),
            }
        }
    }

    /// Writes changed credentials, and forgets where the user was not asked again.
    pub fn replace(&self, vault: &Vault, room: &LockedRoom, credentials: &Credentials) -> Result<(), Ending> {
        room.replace_credentials_if(credentials, || Ok(()))?;
        room.check_in_place(vault)?;
        self.forget_places(credentials.uid);
        Ok(())
    }

    /// Forgets where a user was not asked again. A memory whose file stays is void where the credentials have changed, and
    /// ends with its time elsewhere: no reason to fail after what was done.
    pub fn forget_places(&self, uid: Uid) {
        let _ = remember::forget(&self.policy.runtime_dir, Some(uid));
    }

    /// Who calls this command, as far as is known.
    pub fn caller(&self) -> String {
        let ruser = self.scene().ruser;
        if ruser.as_str().is_empty() { "root".to_owned() } else { ruser.as_str().to_owned() }
    }

    /// An event of an act that was done to an account.
    pub fn event(&self, kind: Kind, account: &Account, reason: &str) -> Event {
        let mut event = self.event_of_all(kind, reason);
        event.user = Some(account.name.clone());
        event.uid = Some(account.uid);
        event
    }

    /// An event of an act that was done to no one account.
    pub fn event_of_all(&self, kind: Kind, reason: &str) -> Event {
        let mut event = Event::done(kind, self.scene(), self.source(), reason);
        event.time = SystemClock.now().map(|now| now.wall).unwrap_or_default();
        // An event without an id is better than none.
        let _ = SystemRandom.fill(&mut event.id.0);
        event
    }

    /// Writes an event.
    pub fn record(&self, event: &Event) {
        self.log.record(event);
    }

    /// The command's scene: who called it stands where PAM has the remote user.
    pub fn scene(&self) -> Scene {
        let caller = caller();
        let by = std::env::var("SUDO_USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
        Scene {
            service: Printable::new(b"qrtotp"),
            ruser: Printable::new(by.as_bytes()),
            real_uid: caller.real.0,
            effective_uid: caller.effective.0,
            ..Scene::default()
        }
    }
}

/// The credentials in a folder that are an account's, and not revoked.
fn in_force(room: &Room, account: &Account) -> Result<Credentials, Ending> {
    let user = account.name.as_str();
    let (credentials, _) = room.credentials()?;
    if qrtotp_handover::Mark::of_interrupted(&credentials).is_some() {
        let what =
            format!("a handover of {user} was interrupted; run it again, or: qrtotp handover --abort --user {user}");
        return Err(Ending::new(Code::Conflict, what));
    }
    if credentials.revoked.is_some() {
        return Err(Ending::new(
            Code::NotEnrolled,
            format!("the enrollment of {user} was revoked; start afresh with: qrtotp enroll {user} --replace"),
        ));
    }
    if credentials.user != account.name {
        let other = credentials.user;
        return Err(Ending::new(
            Code::Conflict,
            format!("the state of user id {} belongs to {other}, not to {user}; see: qrtotp gc", account.uid.0),
        ));
    }
    Ok(credentials)
}

/// A name from the command line, fit for a message.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", Printable::new(text.as_bytes()).as_str())
}
