//! `qrtotp enroll`

use qrtotp_core::enroll::{self, Check, Draft, Occasion, Plan, RecoverySet, TRIES};
use qrtotp_core::events::{Kind, Printable};
use qrtotp_core::otp::otpauth::{self, Name};
use qrtotp_core::otp::{Algorithm, Secret, Shape, Typed};
use qrtotp_core::qr::{Drawing, Ink, Picture, Size, Style};
use qrtotp_core::vault::{Recovery, Vault};
use qrtotp_core::words::{Account, DeviceId, EnrollmentId, Label, Step, WallTime};
use serde_json::json;
use zeroize::Zeroizing;

use super::device::parse_label;
use super::print::Printed;
use super::{issue, recovery};
use crate::arguments::{Drawn, EnrollOptions};
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen;

/// Columns of a terminal of unknown size.
const UNKNOWN: Size = Size { columns: 80, lines: 24 };
/// Columns between the picture and the key beside it, and columns of the key: four groups of four and their blanks.
const GAP: usize = 2;
const KEY_COLUMNS: usize = 19;

/// Enrolls a user, or adds a device.
pub fn run(desk: &Desk, options: &EnrollOptions) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let account = desk.account(&options.user)?;
    let label = parse_label(&options.label)?;
    let names = names(desk, options, &account)?;
    let plan = enroll::plan(&vault, &account, &label, desk.policy.enrolling.max_devices, options.replace)?;
    let revoked = enroll::revoked_at(&vault, &account);
    let draft = draft(desk, options, label)?;
    let printed = Printed::write(desk, &vault, options, &account, &draft, &names)?;
    let ended = go_on(desk, options, &vault, &account, Plans { plan, revoked }, draft, &names, &printed);
    if ended.is_err() {
        printed.discard(&vault);
    }
    ended
}

/// What was found before anything was shown.
struct Plans {
    plan: Plan,
    revoked: Option<WallTime>,
}

/// Shows, has it confirmed, and stores.
#[expect(
    clippy::too_many_arguments,
    reason = "one enrollment, in two parts, so that what was printed goes if it fails"
)]
fn go_on(
    desk: &Desk,
    options: &EnrollOptions,
    vault: &Vault,
    account: &Account,
    Plans { plan, revoked }: Plans,
    draft: Draft,
    names: &Names,
    printed: &Printed,
) -> Result<(), Ending> {
    let uri = draft.uri(&names.issuer, &names.account);
    if printed.is_empty() || options.qr != Drawn::Auto {
        show(desk, options, &draft, &uri, names)?;
    }
    printed.tell(desk)?;
    let confirmed = if options.unverified { None } else { Some(confirm(desk, &draft)?) };
    let set = if matches!(plan, Plan::Fresh { .. }) { Some(RecoverySet::new(desk.random(), &[])?) } else { None };
    // Who pipes the code in cannot know the recovery codes that are made after it.
    let is_watched = !options.unverified && desk.screen.is_typed_at();
    if let Some(set) = set.as_ref().filter(|_| is_watched) {
        hand_over(desk, set)?;
    }
    let key = draft.secret.to_base32();
    let device = (draft.id, draft.label.clone());
    let _exclusive = vault.exclusive()?;
    if enroll::revoked_at(vault, account) != revoked {
        return Err(Ending::new(Code::Conflict, "the enrollment was revoked in the meantime; nothing was stored"));
    }
    // What nobody else knows is shown before it is stored: where it cannot be shown, the old enrollment stays.
    if let Some(set) = set.as_ref().filter(|_| !is_watched && !desk.screen.is_json()) {
        recovery::show(desk, set)?;
    }
    desk.screen.check_writable()?;
    let kept = set.as_ref().map(|set| set.kept.clone()).unwrap_or_default();
    if options.replace {
        // Who holds one could add a device to what starts afresh.
        issue::end_all(desk, vault, account, "replaced")?;
    }
    let enrollment = store(desk, vault, account, &plan, draft, confirmed, kept)?;
    desk.forget_places(account.uid);
    record(desk, account, reason(&plan, options), &device, enrollment, printed.named());
    let value = json!({
        "user": account.name,
        "uid": account.uid,
        "enrollment": enrollment,
        "device": { "id": device.0, "label": device.1 },
        "uri": uri.as_str(),
        "key": key.as_str(),
        "verified": confirmed.is_some(),
        "pictures": printed.paths(),
        "recovery_codes": set.as_ref().map(recovery::as_json),
    });
    desk.screen.answer(&value, &done(account, device.1.as_str(), &plan, enrollment))
}

fn store(
    desk: &Desk,
    vault: &Vault,
    account: &Account,
    plan: &Plan,
    draft: Draft,
    confirmed: Option<Step>,
    recovery: Vec<Recovery>,
) -> Result<EnrollmentId, Ending> {
    let occasion = Occasion { account, now: desk.now()?, source: desk.source(), random: desk.random() };
    Ok(match plan {
        Plan::Fresh { replace } => enroll::store_fresh(vault, &occasion, draft, confirmed, recovery, *replace)?,
        Plan::Add => {
            // Waits for a login that changes the same user, and says so where it does not end.
            drop(desk.enrolled_to_change(vault, account)?);
            enroll::store_device(vault, &occasion, draft, confirmed, desk.policy.enrolling.max_devices)?
        }
    })
}

fn record(
    desk: &Desk,
    account: &Account,
    reason: &str,
    device: &(DeviceId, Label),
    enrollment: EnrollmentId,
    detail: Option<String>,
) {
    let mut event = desk.event(Kind::Enroll, account, reason);
    event.device = Some(device.clone());
    event.enrollment = Some(enrollment);
    event.detail = detail.map(|detail| Printable::new(detail.as_bytes()));
    desk.record(&event);
}

fn reason(plan: &Plan, options: &EnrollOptions) -> &'static str {
    match (plan, options.unverified) {
        (Plan::Add, false) => "device_added",
        (Plan::Add, true) => "device_added_unverified",
        (Plan::Fresh { replace: true }, false) => "replaced",
        (Plan::Fresh { replace: true }, true) => "replaced_unverified",
        (Plan::Fresh { replace: false }, false) => "enrolled",
        (Plan::Fresh { replace: false }, true) => "enrolled_unverified",
    }
}

fn done(account: &Account, label: &str, plan: &Plan, enrollment: EnrollmentId) -> String {
    match plan {
        Plan::Add => format!("{} has another device: {label}", account.name),
        Plan::Fresh { .. } => format!("{} is enrolled with {label} (enrollment {enrollment})", account.name),
    }
}

/// What the app shows beside the code.
pub struct Names {
    /// Who issues it.
    pub issuer: Name,
    /// Whose it is.
    pub account: Name,
}

fn names(desk: &Desk, options: &EnrollOptions, account: &Account) -> Result<Names, Ending> {
    let wrong = |what: &'static str| move |why: String| Ending::new(Code::Usage, format!("{what} {why}"));
    let issuer = match (&options.issuer, &desk.policy.enrolling.issuer) {
        (Some(text), _) => Name::issuer(text).map_err(wrong("--issuer"))?,
        (None, Some(name)) => name.clone(),
        (None, None) => Name::issuer(&qrtotp_system::host_name()).map_err(wrong("the host's name as an issuer"))?,
    };
    let text = options.account.as_deref().unwrap_or(account.name.as_str());
    Ok(Names { issuer, account: Name::parse(text).map_err(wrong("--account"))? })
}

/// The key and its shape: made here, or read from standard input.
fn draft(desk: &Desk, options: &EnrollOptions, label: Label) -> Result<Draft, Ending> {
    if !options.stdin {
        return Ok(Draft::new(shape(options, Shape::default())?, label, desk.random())?);
    }
    let nothing = || Ending::new(Code::Usage, "standard input: no key was given");
    let line = desk.screen.read_line()?.filter(|line| !line.trim().is_empty()).ok_or_else(nothing)?;
    let bad = |what: String| Ending::new(Code::Usage, format!("standard input: {what}"));
    let (secret, said) = if line.trim().to_ascii_lowercase().starts_with("otpauth") {
        let parsed = otpauth::parse(line.trim()).map_err(bad)?;
        (parsed.secret, parsed.shape)
    } else {
        (Secret::from_base32(line.trim()).map_err(|what| bad(what.to_string()))?, Shape::default())
    };
    Ok(Draft::with(secret, shape(options, said)?, label, desk.random())?)
}

/// The shape that the options ask for, on top of what a URI said.
fn shape(options: &EnrollOptions, base: Shape) -> Result<Shape, Ending> {
    let usage = |what: String| Ending::new(Code::Usage, what);
    let unknown = || usage("--algorithm must be sha1, sha256 or sha512".to_owned());
    let algorithm = match &options.algorithm {
        Some(text) => Algorithm::parse(text).ok_or_else(unknown)?,
        None => base.algorithm,
    };
    let digits = options.digits.unwrap_or(i64::from(base.digits()));
    Shape::new(algorithm, digits, options.period.unwrap_or(i64::from(base.period()))).map_err(usage)
}

/// Shows the picture and the key. A key that came from standard input, or that nobody looks at, is not drawn unless asked.
fn show(desk: &Desk, options: &EnrollOptions, draft: &Draft, uri: &str, names: &Names) -> Result<(), Ending> {
    let unwatched = options.stdin || (desk.screen.is_json() && options.unverified);
    let style = match options.qr {
        Drawn::None => None,
        Drawn::Auto if unwatched => None,
        Drawn::Utf8 => Some(Style::HalfBlocks),
        Drawn::Ascii => Some(Style::Ascii),
        Drawn::Auto => Some(if screen::is_utf8() { Style::HalfBlocks } else { Style::Ascii }),
    };
    if unwatched && style.is_none() {
        return Ok(());
    }
    let what = if style.is_some() { "Scan this with" } else { "Type this key into" };
    let (issuer, account) = (names.issuer.as_str(), names.account.as_str());
    desk.screen.say(&format!("\n{what} an authenticator app: {issuer}, {account}"))?;
    let rows = key_rows(&draft.secret.in_groups());
    let page = style.map(|style| lay_out(desk, options, style, uri, rows.len())).transpose()?;
    show_page(desk, page.as_ref(), &rows)?;
    describe_shape(desk, draft.shape)
}

/// What is shown, and whether the key has room beside the picture.
struct Page {
    drawing: Drawing,
    is_key_beside: bool,
    /// What the person is told if the terminal is too small.
    remark: Option<String>,
}

/// Lays the page out: a blank and the title above, the question below, and the key beside or below the picture.
fn lay_out(desk: &Desk, options: &EnrollOptions, style: Style, uri: &str, key_rows: usize) -> Result<Page, Ending> {
    const ABOVE_AND_BELOW: usize = 3;
    let picture = Picture::of(uri).map_err(|what| Ending::new(Code::No, what))?;
    let ink = if options.invert { Ink::Dark } else { Ink::Light };
    let room = desk.screen.size().unwrap_or(UNKNOWN);
    let fit = |other: usize| picture.draw(style, ink, Size { lines: room.lines.saturating_sub(other), ..room });
    let beside = fit(ABOVE_AND_BELOW);
    let is_key_beside = beside.size.columns.saturating_add(GAP).saturating_add(KEY_COLUMNS) <= room.columns;
    let other = ABOVE_AND_BELOW.saturating_add(if is_key_beside { 0 } else { key_rows });
    let drawing = if is_key_beside { beside } else { fit(other) };
    let need = Size { lines: drawing.size.lines.saturating_add(other), ..drawing.size };
    let fits = need.columns <= room.columns && need.lines <= room.lines;
    let remark = (desk.screen.size().is_some() && !fits).then(|| {
        let or = if style == Style::Ascii { ", try --qr utf8," } else { "" };
        format!(
            "The picture needs {} columns and {} lines; this terminal has {} and {}. Enlarge it{or} or type the key.",
            need.columns, need.lines, room.columns, room.lines
        )
    });
    Ok(Page { drawing, is_key_beside, remark })
}

/// Prints the picture with the key to its right, or below it where there is no room. What is too wide would be broken into
/// pieces that nothing reads, and is left out. The remark comes last, because it is about what has scrolled away.
fn show_page(desk: &Desk, page: Option<&Page>, rows: &[Zeroizing<String>]) -> Result<(), Ending> {
    let Some(page) = page else { return rows.iter().skip(2).try_for_each(|row| desk.screen.say(row)) };
    let drawing = &page.drawing;
    let is_too_wide = desk.screen.size().is_some_and(|room| drawing.size.columns > room.columns);
    let (first, blank) = (drawing.lines.len().saturating_sub(rows.len()) / 2, Zeroizing::default());
    for (at, line) in drawing.lines.iter().enumerate().filter(|_| !is_too_wide) {
        let text = at.checked_sub(first).and_then(|at| rows.get(at)).filter(|_| page.is_key_beside).unwrap_or(&blank);
        let row = Zeroizing::new(format!("{line}{:GAP$}{}", "", **text));
        desk.screen.say(row.trim_end_matches(' '))?;
    }
    if !page.is_key_beside {
        rows.iter().try_for_each(|row| desk.screen.say(row))?;
    }
    page.remark.iter().try_for_each(|remark| desk.screen.say(remark))
}

/// The key, four groups a row, under its heading.
fn key_rows(key: &str) -> Vec<Zeroizing<String>> {
    let groups: Vec<_> = key.split(' ').collect();
    let heading = [Zeroizing::new("or type this key:".to_owned()), Zeroizing::default()];
    heading.into_iter().chain(groups.chunks(4).map(|row| Zeroizing::new(row.join(" ")))).collect()
}

fn describe_shape(desk: &Desk, shape: Shape) -> Result<(), Ending> {
    if shape == Shape::default() {
        return Ok(());
    }
    let (algorithm, digits, period) = (shape.algorithm.name(), shape.digits(), shape.period());
    desk.screen.say(&format!("By hand, also set: {algorithm}, {digits} digits, {period} seconds."))
}

/// Asks for a code, or for two consecutive ones where the policy says so. Gives the step that the last one is of.
fn confirm(desk: &Desk, draft: &Draft) -> Result<Step, Ending> {
    let first = ask_code(desk, draft, "Code from the app: ", None)?;
    if !desk.policy.enrolling.two_codes {
        return Ok(first);
    }
    ask_code(desk, draft, "Next code, after it has changed: ", Some(first))
}

/// Asks for a code until it is right, five times at most: any of the window, or the one after the last that was right.
fn ask_code(desk: &Desk, draft: &Draft, question: &str, mut last: Option<Step>) -> Result<Step, Ending> {
    for left in (0..TRIES).rev() {
        let Some(line) = desk.screen.ask(question)? else {
            return Err(Ending::new(Code::No, "no code was given; nothing was stored"));
        };
        let answer = match Typed::parse(line.as_bytes()) {
            Some(Typed::Code(code)) => match draft.check(&code, desk.policy.window, desk.now()?.wall) {
                Check::Right(step) if last.is_none_or(|last| step == last.offset(1)) => return Ok(step),
                Check::Right(step) => {
                    let is_same = last.replace(step) == Some(step);
                    let what =
                        if is_same { "That is the same code" } else { "That code does not follow the one before" };
                    format!("{what}. Type the one that comes after it.")
                }
                other => other.in_words(draft.shape),
            },
            _ => format!("A code has {} digits.", draft.shape.digits()),
        };
        let tries = match left {
            0 => String::new(),
            1 => " 1 try is left.".to_owned(),
            left => format!(" {left} tries are left."),
        };
        desk.screen.say(&format!("{answer}{tries}"))?;
    }
    Err(Ending::new(Code::No, "five wrong codes; nothing was stored"))
}

/// Shows the recovery codes and has one typed back, so that they were surely seen.
fn hand_over(desk: &Desk, set: &RecoverySet) -> Result<(), Ending> {
    recovery::show(desk, set)?;
    for _ in 0..TRIES {
        let Some(line) = desk.screen.ask("Type one of them back: ")? else { break };
        if set.holds(line.as_bytes()) {
            return Ok(());
        }
        desk.screen.say("That is none of them.")?;
    }
    Err(Ending::new(Code::No, "no recovery code was typed back; nothing was stored"))
}
