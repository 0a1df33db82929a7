//! A key -> a picture -> a confirmed code -> recovery codes -> stored. Until the end nothing of an old enrollment changes.
//! What a login stores, which holds no lock but that of the user's folder, is in `at_login`.

mod at_login;
mod imported;

pub use at_login::{Permit, Stored, store_at_login, store_recovery};
pub use imported::Import;

use zeroize::Zeroizing;

use crate::budget::{Act, Entry, Hit};
use crate::files::Trouble;
use crate::otp::otpauth::{self, Name};
use crate::otp::recovery::{self, RecoveryCode, Selector};
use crate::otp::{Algorithm, Code, SaltedHash, Secret, Shape, Typed, code};
use crate::policy::Window;
use crate::ports::{NoRandom, Random};
use crate::vault::{Credentials, Device, MAX_DEVICES, Recovery, Vault};
use crate::words::{Account, AttemptId, DeviceId, EnrollmentId, Label, Now, Source, Step, Uid, UserName, WallTime};

/// How often a code may be tried before an enrollment is given up.
pub const TRIES: u32 = 5;
/// How far a phone's clock is looked for, in steps: an hour of half minutes.
const DRIFT: i64 = 120;
/// Seconds around the world in quarters of an hour: clocks set to the wrong time zone.
const QUARTER: i64 = 900;
const QUARTERS: i64 = 14 * 4;

/// An enrollment that is under way: nothing of it is stored.
pub struct Draft {
    /// The key.
    pub secret: Secret,
    /// Algorithm, digits, period.
    pub shape: Shape,
    /// What the owner calls the device.
    pub label: Label,
    /// The device's id.
    pub id: DeviceId,
}

/// What a typed code says about the phone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// The app shows what it should.
    Right(Step),
    /// The app ignored what it was told and computes with this.
    Ignored(Shape),
    /// The phone's clock is off by so many seconds (positive: ahead), or this host's is.
    ClockOff(i64),
    /// The code of no clock and no app that we know.
    Wrong,
}

impl Check {
    /// What the person is told of a code that is not right. `asked` is the shape of the key.
    pub fn in_words(self, asked: Shape) -> String {
        match self {
            Self::Right(_) | Self::Wrong => {
                "That code is wrong. Take the code of the entry that the picture, or the key, has made.".to_owned()
            }
            Self::Ignored(shape) => {
                let differs = [
                    (shape.algorithm != asked.algorithm).then(|| {
                        format!("the algorithm ({} instead of {})", shape.algorithm.name(), asked.algorithm.name())
                    }),
                    (shape.digits() != asked.digits())
                        .then(|| format!("the digits ({} instead of {})", shape.digits(), asked.digits())),
                    (shape.period() != asked.period())
                        .then(|| format!("the period ({} s instead of {} s)", shape.period(), asked.period())),
                ];
                let ignored: Vec<_> = differs.into_iter().flatten().collect();
                format!("This app ignored {}: take another app, or enroll without that option.", ignored.join(" and "))
            }
            Self::ClockOff(seconds) => {
                let (size, word) = (seconds.unsigned_abs(), if seconds > 0 { "ahead of" } else { "behind" });
                let span = if size >= 120 { format!("{} min {} s", size / 60, size % 60) } else { format!("{size} s") };
                format!(
                    "The key is right, but the phone's clock is {span} {word} this host's. Set both by the network."
                )
            }
        }
    }
}

impl Draft {
    /// Starts with a key made here.
    ///
    /// # Errors
    /// [`NoRandom`] where the kernel gives no random numbers.
    pub fn new(shape: Shape, label: Label, random: &dyn Random) -> Result<Self, NoRandom> {
        Self::with(Secret::generate(random)?, shape, label, random)
    }

    /// Starts with a key that came from elsewhere.
    ///
    /// # Errors
    /// [`NoRandom`] where the kernel gives no random numbers.
    pub fn with(secret: Secret, shape: Shape, label: Label, random: &dyn Random) -> Result<Self, NoRandom> {
        Ok(Self { secret, shape, label, id: DeviceId(random_bytes(random)?) })
    }

    /// What the picture carries.
    pub fn uri(&self, issuer: &Name, account: &Name) -> Zeroizing<String> {
        otpauth::uri(&self.secret, self.shape, issuer, account)
    }

    /// Looks what a typed code says about the phone. Only a code of the window is right.
    pub fn check(&self, typed: &Code, window: Window, now: WallTime) -> Check {
        let past = i64::from(window.past).saturating_neg();
        let check = match self.find(self.shape, typed, now, past, i64::from(window.future)) {
            Some(seen) => Check::Right(seen.step),
            None => self.ignored(typed, now).or_else(|| self.clock_off(typed, now)).unwrap_or(Check::Wrong),
        };
        code::burn_stack();
        check
    }

    fn find(&self, shape: Shape, typed: &Code, now: WallTime, from: i64, to: i64) -> Option<code::Sighting> {
        let generator = code::Generator::new(&self.secret, shape)?;
        code::search(typed, &[(generator, shape)], now, from, to)
    }

    fn ignored(&self, typed: &Code, now: WallTime) -> Option<Check> {
        let periods = [self.shape.period(), Shape::default().period()];
        let all = Algorithm::ALL.into_iter().flat_map(|algorithm| periods.map(|period| (algorithm, period)));
        let shapes = all
            .filter_map(|(algorithm, period)| Shape::new(algorithm, i64::from(typed.digits()), i64::from(period)).ok());
        let mut others = shapes.filter(|shape| *shape != self.shape);
        others.find(|shape| self.find(*shape, typed, now, -1, 1).is_some()).map(Check::Ignored)
    }

    fn clock_off(&self, typed: &Code, now: WallTime) -> Option<Check> {
        let period = i64::from(self.shape.period());
        let seconds = |seen: code::Sighting| Check::ClockOff(seen.offset.saturating_mul(period));
        let drifted = self.find(self.shape, typed, now, DRIFT.saturating_neg(), DRIFT).map(seconds);
        drifted.or_else(|| {
            let mut zones = (QUARTERS.saturating_neg()..=QUARTERS).map(|quarter| quarter.saturating_mul(QUARTER));
            zones.find_map(|zone| {
                let there = WallTime(now.0.saturating_add_signed(zone.saturating_mul(1000)));
                let seen = self.find(self.shape, typed, there, -2, 2)?;
                Some(Check::ClockOff(zone.saturating_add(seen.offset.saturating_mul(period))))
            })
        })
    }

    fn into_device(self, now: Now) -> Device {
        let Self { secret, shape, label, id } = self;
        Device { id, label, shape, secret, added: now.wall, enabled: true, ticket: None, replaced: None }
    }
}

/// Recovery codes as they are shown, and what is kept of them.
pub struct RecoverySet {
    /// To be shown once.
    pub codes: Vec<RecoveryCode>,
    /// To be stored.
    pub kept: Vec<Recovery>,
}

impl RecoverySet {
    /// Makes a fresh set that uses none of the taken selectors.
    ///
    /// # Errors
    /// [`NoRandom`] where the kernel gives no random numbers.
    pub fn new(random: &dyn Random, taken: &[Selector]) -> Result<Self, NoRandom> {
        let codes = recovery::generate_set(random, taken)?;
        let keep = |code: &RecoveryCode| Ok(Recovery { selector: code.selector(), hash: code.hash(random)? });
        let kept = codes.iter().map(keep).collect::<Result<_, _>>()?;
        Ok(Self { codes, kept })
    }

    /// Whether an answer is one of the codes: proof that they were seen.
    pub fn holds(&self, answer: &[u8]) -> bool {
        let Some(Typed::Recovery(typed)) = Typed::parse(answer) else { return false };
        let typed = typed.to_text();
        self.codes.iter().any(|code| *code.to_text() == *typed)
    }
}

/// Why an enrollment was not stored.
#[derive(Debug)]
pub enum NotStored {
    /// State cannot be used or written.
    Trouble(Trouble),
    /// The kernel gave no random numbers.
    NoRandom,
    /// The user is enrolled, was revoked, or is stale: only a replacement may follow. Says which.
    NeedsReplace(&'static str),
    /// A device of that label is there.
    LabelTaken,
    /// There are as many devices as a user may have.
    TooMany,
    /// Another login enrolled the user in the meantime.
    Taken,
}

impl From<Trouble> for NotStored {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<NoRandom> for NotStored {
    fn from(_: NoRandom) -> Self {
        Self::NoRandom
    }
}

/// What an enrollment does to what is there.
#[derive(Debug)]
pub enum Plan {
    /// A first enrollment, or one in place of whatever is there.
    Fresh {
        /// Whether something is there.
        replace: bool,
    },
    /// Another device beside those that are there.
    Add,
}

/// Looks what an enrollment would do, before anybody is asked for anything.
///
/// # Errors
/// [`NotStored`] where it could not be stored.
pub fn plan(vault: &Vault, account: &Account, label: &Label, most: usize, replace: bool) -> Result<Plan, NotStored> {
    let Some(room) = (match vault.room(account.uid) {
        Err(_) if replace => return Ok(Plan::Fresh { replace }),
        room => room?,
    }) else {
        return Ok(Plan::Fresh { replace: false });
    };
    if replace {
        return Ok(Plan::Fresh { replace });
    }
    let (credentials, _) = room.credentials()?;
    check_addable(&credentials, account, label, most).map(|()| Plan::Add)
}

fn check_addable(credentials: &Credentials, account: &Account, label: &Label, most: usize) -> Result<(), NotStored> {
    if credentials.revoked.is_some() {
        return Err(NotStored::NeedsReplace("the enrollment was revoked"));
    }
    if credentials.user != account.name || credentials.uid != account.uid {
        return Err(NotStored::NeedsReplace("the enrollment belongs to another account of this name or user id"));
    }
    if credentials.devices.iter().any(|device| device.label == *label) {
        return Err(NotStored::LabelTaken);
    }
    if credentials.devices.len() >= most.min(MAX_DEVICES) {
        return Err(NotStored::TooMany);
    }
    Ok(())
}

/// When the enrollment that is there was revoked; `None` where it was not, or nothing can be read.
pub fn revoked_at(vault: &Vault, account: &Account) -> Option<WallTime> {
    let (credentials, _) = vault.room(account.uid).ok()??.credentials().ok()?;
    credentials.revoked.map(|revoked| revoked.time)
}

/// Who enrolls whom, and when.
pub struct Occasion<'a> {
    /// The account.
    pub account: &'a Account,
    /// When.
    pub now: Now,
    /// From where.
    pub source: Source,
    /// Random numbers.
    pub random: &'a dyn Random,
}

/// Stores a first or a replacing enrollment: the folder appears whole, or nothing changes. The confirmed step is claimed.
///
/// # Errors
/// [`NotStored`]; nothing has changed then.
pub fn store_fresh(
    vault: &Vault,
    occasion: &Occasion<'_>,
    draft: Draft,
    confirmed: Option<Step>,
    recovery: Vec<Recovery>,
    replace: bool,
) -> Result<EnrollmentId, NotStored> {
    let claim = claim(occasion, draft.id, confirmed)?;
    let mut credentials = blank(occasion.account, occasion.now.wall, occasion.random)?;
    credentials.devices.push(draft.into_device(occasion.now));
    credentials.recovery = recovery;
    vault.install(&credentials, claim.as_slice(), replace)?;
    Ok(credentials.enrollment)
}

/// Stores one more device. The confirmed step is claimed before the device can log in.
///
/// # Errors
/// [`NotStored`]; nothing has changed then but, at most, a claim of a device that does not exist.
pub fn store_device(
    vault: &Vault,
    occasion: &Occasion<'_>,
    draft: Draft,
    confirmed: Option<Step>,
    most: usize,
) -> Result<EnrollmentId, NotStored> {
    let gone = || Trouble::new(vault.path(), "the enrollment was removed in the meantime");
    let room = vault.lock(occasion.account.uid)?.ok_or_else(gone)?;
    let (mut credentials, _) = room.credentials()?;
    check_addable(&credentials, occasion.account, &draft.label, most)?;
    let journal = room.journal(&credentials)?;
    // A device beside a journal that refuses everybody would be no device.
    journal.read()?;
    if let Some(entry) = claim(occasion, draft.id, confirmed)? {
        journal.append(&entry)?;
    }
    credentials.devices.push(draft.into_device(occasion.now));
    room.replace_credentials_if(&credentials, || Ok(()))?;
    room.check_in_place(vault)?;
    Ok(credentials.enrollment)
}

fn random_bytes<const N: usize>(random: &dyn Random) -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    random.fill(&mut bytes)?;
    Ok(bytes)
}

/// Credentials without device and recovery codes, with a fresh enrollment id.
///
/// # Errors
/// [`NoRandom`] where the kernel gives no random numbers.
pub fn blank(account: &Account, now: WallTime, random: &dyn Random) -> Result<Credentials, NoRandom> {
    Ok(Credentials {
        enrollment: EnrollmentId(random_bytes(random)?),
        user: account.name.clone(),
        uid: account.uid,
        created: now,
        revoked: None,
        devices: Vec::new(),
        recovery: Vec::new(),
    })
}

/// An enrollment that belongs to nobody, for the work of attempts that have none to be judged by. Nobody knows its key;
/// its recovery codes exist only in number.
///
/// # Errors
/// [`NoRandom`] where the kernel gives no random numbers; `None` cannot happen, the names are constants.
pub fn decoy(now: Now, random: &dyn Random) -> Result<Option<Credentials>, NoRandom> {
    let (Some(name), Some(label)) = (UserName::parse(b"nobody"), Label::parse("decoy")) else { return Ok(None) };
    let account = Account { name, uid: Uid(u32::MAX) };
    let mut credentials = blank(&account, now.wall, random)?;
    credentials.devices.push(Draft::new(Shape::default(), label, random)?.into_device(now));
    let codes = recovery::generate_set(random, &[])?;
    let keep = |code: &RecoveryCode| Recovery { selector: code.selector(), hash: SaltedHash::decoy() };
    credentials.recovery = codes.iter().map(keep).collect();
    Ok(Some(credentials))
}

fn claim(occasion: &Occasion<'_>, device: DeviceId, confirmed: Option<Step>) -> Result<Option<Entry>, NoRandom> {
    let Some(step) = confirmed else { return Ok(None) };
    note(occasion.now, occasion.source, Act::Claim(Hit { device, step }), occasion.random).map(Some)
}

/// A journal record of an administrator's act.
///
/// # Errors
/// [`NoRandom`] where the kernel gives no random numbers.
pub fn note(now: Now, source: Source, act: Act, random: &dyn Random) -> Result<Entry, NoRandom> {
    let id = random_bytes(random)?;
    let mut service = [0; 16];
    service.iter_mut().zip(b"qrtotp").for_each(|(to, from)| *to = *from);
    Ok(Entry { id: AttemptId(id), now, source: source.key(), service, tag: [0; 8], silent: true, act })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_700_000_000_000);
    const WINDOW: Window = Window { past: 1, future: 0 };

    fn draft(shape: Shape) -> Draft {
        let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        Draft { secret, shape, label: Label::parse("phone").unwrap(), id: DeviceId([1; 4]) }
    }

    fn shown(shape: Shape, at: u64) -> Code {
        let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        code::Generator::new(&secret, shape).unwrap().code(shape.step_at(WallTime(at)))
    }

    #[test]
    fn a_code_of_the_window_is_right() {
        let shape = Shape::default();
        let step = shape.step_at(NOW);
        assert_eq!(draft(shape).check(&shown(shape, NOW.0), WINDOW, NOW), Check::Right(step));
        assert_eq!(draft(shape).check(&shown(shape, NOW.0 - 30_000), WINDOW, NOW), Check::Right(step.offset(-1)));
    }

    #[test]
    fn an_app_that_ignored_a_setting_is_recognised() {
        let plain = Shape::default();
        for (algorithm, digits, period) in
            [(Algorithm::Sha256, 6, 30), (Algorithm::Sha1, 8, 30), (Algorithm::Sha1, 6, 60), (Algorithm::Sha512, 8, 60)]
        {
            let asked = Shape::new(algorithm, digits, period).unwrap();
            assert_eq!(draft(asked).check(&shown(plain, NOW.0), WINDOW, NOW), Check::Ignored(plain), "{asked:?}");
        }
        let asked = Shape::new(Algorithm::Sha256, 8, 60).unwrap();
        let halfway = Shape::new(Algorithm::Sha256, 6, 60).unwrap();
        assert_eq!(draft(asked).check(&shown(halfway, NOW.0), WINDOW, NOW), Check::Ignored(halfway));
    }

    #[test]
    fn a_clock_that_is_off_is_measured() {
        let shape = Shape::default();
        for off in [-3600, -300, -60, 30, 90, 1800, 7200, -36_000, 20_700] {
            let typed = shown(shape, NOW.0.saturating_add_signed(off * 1000));
            assert_eq!(draft(shape).check(&typed, WINDOW, NOW), Check::ClockOff(off), "{off}");
        }
    }

    #[test]
    fn a_code_of_another_key_is_wrong() {
        let typed = Code::parse(b"000000").unwrap();
        assert_eq!(draft(Shape::default()).check(&typed, WINDOW, NOW), Check::Wrong);
    }
}
