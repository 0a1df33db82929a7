//! What the tests of several rooms share: fakes of the ports, and a machine with one enrolled user.
//!
//! The fakes hand out what they were given, and fail when they are asked for more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::Sha256;
use tempfile::TempDir;

use crate::budget::Entry;
use crate::events::{Event, Printable, Scene};
use crate::files::Trouble;
use crate::login::{Request, World, login};
use crate::otp::code::Generator;
use crate::otp::recovery::RecoveryCode;
use crate::otp::{SaltedHash, Secret, Shape};
use crate::policy::Policy;
use crate::ports::{
    Answer, Clock, Conversation, Directory, Events, LookupFailed, NoConversation, NoRandom, Prompt, Random,
};
use crate::remember::Session;
use crate::vault::{self, Credentials, Device, Recovery, Vault};
use crate::verdict::Cause;
use crate::words::{Account, DeviceId, EnrollmentId, Label, Now, Uid, UserName, WallTime};

pub const ALICE: Uid = Uid(1000);
pub const PHONE: DeviceId = DeviceId(*b"fone");
pub const TABLET: DeviceId = DeviceId(*b"tabl");
pub const PHONE_KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
pub const TABLET_KEY: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";
pub const DECOY_KEY: &str = "ORUGKIDROVUWG2ZAMJZG653OEBTG66BA";
pub const RECOVERY: [&str; 3] = ["AAAA1111222233334444", "BBBB1111222233334444", "CCCC1111222233334444"];
pub const STRANGER: &str = "DDDD1111222233334444";
pub const SSHD_JUNK: &[u8] = b"\x08\n\r\x7fINCORRECT";

/// A fresh folder that is closed to others, as state folders are. Removed on drop.
pub fn private_folder() -> TempDir {
    private_folder_in(&std::env::temp_dir())
}

/// The same in memory where there is such a place, for tests that are not about the disk.
fn private_folder_in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    private_folder_in(if memory.is_dir() { memory } else { Path::new("/tmp") })
}

fn private_folder_in(parent: &Path) -> TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir_in(parent).unwrap()
}

pub fn name(text: &str) -> UserName {
    UserName::parse(text.as_bytes()).unwrap()
}

pub fn device(id: DeviceId, key: &str) -> Device {
    Device {
        id,
        label: Label::parse(&format!("device {id}")).unwrap(),
        shape: Shape::default(),
        secret: Secret::from_base32(key).unwrap(),
        added: WallTime(0),
        enabled: true,
        ticket: None,
        replaced: None,
    }
}

/// A stored recovery code of one round: without optimisation, the usual number takes a second.
fn kept(text: &str) -> Recovery {
    let code = RecoveryCode::parse(text.as_bytes()).unwrap();
    let (salt, mut hash) = ([7; 16], [0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(text.split_at(4).1.as_bytes(), &salt, 1, &mut hash);
    let stored = format!("pbkdf2-sha256$1${}${}", HEXLOWER.encode(&salt), HEXLOWER.encode(&hash));
    Recovery { selector: code.selector(), hash: SaltedHash::parse(&stored).unwrap() }
}

/// Alice's credentials: a phone, a tablet, three recovery codes.
pub fn credentials() -> Credentials {
    Credentials {
        enrollment: EnrollmentId(*b"enrolled"),
        user: name("alice"),
        uid: ALICE,
        created: WallTime(0),
        revoked: None,
        devices: vec![device(PHONE, PHONE_KEY), device(TABLET, TABLET_KEY)],
        recovery: RECOVERY.into_iter().map(kept).collect(),
    }
}

fn decoy(number: u8) -> Credentials {
    Credentials {
        enrollment: EnrollmentId([number; 8]),
        user: name("nobody"),
        uid: Uid(u32::MAX),
        devices: vec![device(DeviceId([number; 4]), DECOY_KEY)],
        recovery: Vec::new(),
        ..credentials()
    }
}

/// The session that requests come from.
pub const SESSION: Session = Session { id: 77, started: 5, terminal: 34_816 };

type Hook<'a> = Box<dyn FnOnce() + 'a>;

/// Clock, random numbers, users and log, all fake.
pub struct Fakes<'a> {
    pub now: Cell<Option<Now>>,
    pub users: RefCell<Result<Vec<Account>, LookupFailed>>,
    pub groups_fail: Cell<bool>,
    pub random_fails: Cell<bool>,
    /// Whether events leave no line.
    pub no_room: Cell<bool>,
    pub log: RefCell<Vec<Event>>,
    /// Runs when random numbers are asked for the second time: after the credentials were read, before the record.
    pub between: RefCell<Option<Hook<'a>>>,
    drawn: Cell<u16>,
    ticks: Cell<u64>,
}

impl Default for Fakes<'_> {
    fn default() -> Self {
        let user = |name: &str, uid| Account { name: self::name(name), uid };
        Self {
            now: Cell::new(Some(Now { wall: WallTime(1_700_000_010_000), boot: 3_600_000, boot_id: [1; 8] })),
            users: RefCell::new(Ok(vec![user("alice", ALICE), user("bob", Uid(1001))])),
            groups_fail: Cell::new(false),
            random_fails: Cell::new(false),
            no_room: Cell::new(false),
            log: RefCell::default(),
            between: RefCell::default(),
            drawn: Cell::new(0),
            ticks: Cell::new(0),
        }
    }
}

impl Clock for Fakes<'_> {
    fn now(&self) -> Option<Now> {
        self.now.get()
    }

    fn ticks(&self) -> u64 {
        self.ticks.set(self.ticks.get() + 250);
        self.ticks.get()
    }
}

impl Random for Fakes<'_> {
    /// Bytes that are never twice the same, and whose hexadecimal form has no six decimal digits in a row.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandom> {
        self.drawn.set(self.drawn.get() + 1);
        if self.drawn.get().is_multiple_of(2)
            && let Some(hook) = self.between.borrow_mut().take()
        {
            hook();
        }
        buffer.fill(0xff);
        buffer.iter_mut().zip(self.drawn.get().to_be_bytes()).for_each(|(to, from)| *to = from);
        if self.random_fails.get() { Err(NoRandom) } else { Ok(()) }
    }
}

impl Directory for Fakes<'_> {
    fn find(&self, name: &UserName) -> Result<Option<Account>, LookupFailed> {
        let users = self.users.borrow().clone()?;
        Ok(users.into_iter().find(|account| account.name.as_str().eq_ignore_ascii_case(name.as_str())))
    }

    fn find_uid(&self, uid: Uid) -> Result<Option<Account>, LookupFailed> {
        let users = self.users.borrow().clone()?;
        Ok(users.into_iter().find(|account| account.uid == uid))
    }

    /// Everybody is in a group of his own name, and in `staff`.
    fn groups(&self, account: &Account) -> Result<Vec<String>, LookupFailed> {
        if self.groups_fail.get() {
            return Err(LookupFailed);
        }
        Ok(vec![account.name.to_string(), "staff".to_owned()])
    }

    fn has_group(&self, name: &str) -> Result<bool, LookupFailed> {
        if self.groups_fail.get() { Err(LookupFailed) } else { Ok(name != "nowhere") }
    }
}

impl Events for Fakes<'_> {
    fn check_room(&self) -> Result<(), Trouble> {
        if self.no_room.get() { Err(Trouble::new(Path::new("events"), "no room")) } else { Ok(()) }
    }

    fn record(&self, event: &Event) {
        self.log.borrow_mut().push(event.clone());
    }

    fn debug(&self, _text: &str) {}
}

/// What a person does at one prompt.
pub type Says<'a> = Box<dyn FnOnce() -> Option<Vec<u8>> + 'a>;

/// What is done with a page.
pub type Look<'a> = Box<dyn Fn(&str) + 'a>;

/// Types this.
pub fn says<'a>(text: impl AsRef<[u8]> + 'a) -> Says<'a> {
    Box::new(move || Some(text.as_ref().to_vec()))
}

/// Answers prompts from a queue; asked once more than that, it fails the test.
#[derive(Default)]
pub struct Person<'a> {
    pub answers: VecDeque<Says<'a>>,
    pub asked: Vec<(String, bool)>,
    pub told: Vec<String>,
    pub handed_on: Vec<u8>,
    pub slowed_down: bool,
    /// Whether the host cannot ask questions whose answer shows.
    pub sees_nothing: bool,
    /// What is done with every page before it is answered.
    pub looks_at: Option<Look<'a>>,
}

impl Conversation for Person<'_> {
    fn ask(&mut self, prompt: Prompt<'_>) -> Result<Answer, NoConversation> {
        if prompt.echo && self.sees_nothing {
            return Err(NoConversation);
        }
        self.asked.push((prompt.text.to_owned(), prompt.echo));
        self.looks_at.iter().for_each(|look| look(prompt.text));
        let answer = self.answers.pop_front().unwrap_or_else(|| panic!("asked too often: {}", prompt.text));
        answer().map(Answer::new).ok_or(NoConversation)
    }

    fn tell(&mut self, text: &str) {
        self.told.push(text.to_owned());
    }

    fn hand_on(&mut self, password: &[u8]) -> Result<(), NoConversation> {
        self.handed_on = password.to_vec();
        Ok(())
    }

    fn slow_down(&mut self) {
        self.slowed_down = true;
    }
}

/// What came of a login.
#[derive(Debug)]
pub struct Seen {
    pub cause: Cause,
    pub asked: Vec<(String, bool)>,
    pub told: Vec<String>,
    pub handed_on: Vec<u8>,
    pub slowed_down: bool,
    pub event: Option<Event>,
    /// What else was written down, before the event of the login.
    pub acts: Vec<Event>,
}

/// A machine on which alice is enrolled and bob is not.
pub struct Home<'a> {
    dir: TempDir,
    pub policy: Policy,
    pub fakes: Fakes<'a>,
}

impl<'a> Home<'a> {
    pub fn new() -> Self {
        Self::with_policy("")
    }

    pub fn with_policy(text: &str) -> Self {
        let dir = private_folder_in_memory();
        let policy = Policy {
            state_dir: dir.path().join("state"),
            runtime_dir: dir.path().join("run"),
            ..Policy::parse(text).unwrap()
        };
        let home = Self { dir, policy, fakes: Fakes::default() };
        let decoys: Vec<_> = (0..vault::DECOY_COUNT).map(decoy).collect();
        vault::initialise(&home.policy.state_dir, &decoys).unwrap();
        home.vault().install(&credentials(), &[], false).unwrap();
        home
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a policy file and lives by it.
    pub fn load_policy(&mut self, text: &str) -> PathBuf {
        let file = self.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let (state_dir, runtime_dir) = (self.policy.state_dir.clone(), self.policy.runtime_dir.clone());
        // The fakes' clock stands before the day the file was written.
        self.policy = Policy { state_dir, runtime_dir, written: None, ..Policy::load(&file).unwrap() };
        file
    }

    pub fn state(&self, place: &str) -> PathBuf {
        self.policy.state_dir.join(place)
    }

    pub fn vault(&self) -> Vault {
        Vault::open(&self.policy.state_dir).unwrap()
    }

    /// Changes alice's credentials as the command does.
    pub fn change(&self, change: impl FnOnce(&mut Credentials)) {
        let room = self.vault().lock(ALICE).unwrap().unwrap();
        let (mut credentials, _) = room.credentials().unwrap();
        change(&mut credentials);
        room.replace_credentials_if(&credentials, || Ok(())).unwrap();
    }

    /// The bytes of alice's journal.
    pub fn journal(&self) -> Vec<u8> {
        std::fs::read(self.state("1000/journal")).unwrap()
    }

    /// Replaces alice's journal by one with these records.
    pub fn write_journal(&self, entries: &[Entry]) {
        let bytes = vault::Journal::fresh(credentials().enrollment, entries);
        std::fs::write(self.state("1000/journal"), bytes).unwrap();
    }

    /// The bytes of all journals, alice's and the decoys'.
    pub fn all_journals(&self) -> Vec<Vec<u8>> {
        let decoys = (0..vault::DECOY_COUNT).map(|n| std::fs::read(self.state(&format!(".decoy/{n:02x}/journal"))));
        decoys.map(Result::unwrap).chain([self.journal()]).collect()
    }

    /// The code of a device so many steps away from now.
    pub fn code_of(&self, key: &str, offset: i64) -> String {
        let generator = Generator::new(&Secret::from_base32(key).unwrap(), Shape::default()).unwrap();
        let step = Shape::default().step_at(self.fakes.now.get().unwrap().wall).offset(offset);
        generator.code(step).to_text().to_string()
    }

    /// The phone's code now.
    pub fn code(&self) -> String {
        self.code_of(PHONE_KEY, 0)
    }

    /// Lets time pass on both clocks.
    pub fn wait(&self, seconds: u64) {
        self.fakes.now.set(self.fakes.now.get().map(|now| Now {
            wall: WallTime(now.wall.0 + seconds * 1000),
            boot: now.boot + seconds * 1000,
            ..now
        }));
    }

    /// Moves the wall clock alone.
    pub fn move_clock(&self, seconds: i64) {
        let moved = |now: Now| Now { wall: WallTime(now.wall.0.saturating_add_signed(seconds * 1000)), ..now };
        self.fakes.now.set(self.fakes.now.get().map(moved));
    }

    /// What sshd says when a user logs in from 192.0.2.7.
    pub fn request(&self, user: &str) -> Request {
        let rhost = b"192.0.2.7".to_vec();
        let scene = Scene {
            service: Printable::new(b"sshd"),
            tty: Printable::new(b"ssh"),
            rhost: Printable::new(&rhost),
            ..Scene::default()
        };
        Request {
            scene,
            user: user.as_bytes().to_vec(),
            rhost: Some(rhost),
            password: None,
            password_failed: false,
            silent: false,
            host: "h1".to_owned(),
            session: || Some(SESSION),
            auth_info: None,
        }
    }

    pub fn answer(&self, request: &Request, answers: Vec<Says<'_>>) -> Seen {
        let seen = self.meet(request, Person { answers: answers.into(), ..Person::default() });
        assert!(seen.acts.is_empty(), "more than one event");
        seen
    }

    /// The same with a person of any kind, who may do more than log in.
    pub fn meet(&self, request: &Request, mut person: Person<'_>) -> Seen {
        let world = World { directory: &self.fakes, clock: &self.fakes, random: &self.fakes, events: &self.fakes };
        let cause = login(request, &self.policy, &mut person, &world);
        assert!(person.answers.is_empty(), "{} answers were not asked for; {cause:?}", person.answers.len());
        let mut log = self.fakes.log.borrow_mut();
        let event = log.pop();
        let acts = std::mem::take(&mut *log);
        let Person { asked, told, handed_on, slowed_down, .. } = person;
        Seen { cause, asked, told, handed_on, slowed_down, event, acts }
    }

    /// One login of a user who types these texts.
    pub fn login(&self, user: &str, answers: &[&str]) -> Seen {
        self.answer(&self.request(user), answers.iter().map(|text| says(*text)).collect())
    }

    /// One login that asks once; gives its cause.
    pub fn cause(&self, user: &str, answer: &str) -> Cause {
        self.login(user, &[answer]).cause
    }

    /// Types wrong codes for a user until two are asked.
    pub fn spend_budget(&self, user: &str) {
        for _ in 0..crate::budget::CAPACITY {
            self.login(user, &["000000"]);
        }
    }
}
