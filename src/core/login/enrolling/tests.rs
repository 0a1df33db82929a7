use crate::budget::State;
use crate::enroll::blank;
use crate::events::{Kind, Outcome, Printable};
use crate::login::Request;
use crate::otp::{Shape, TicketCode};
use crate::ports::{Answer, Random};
use crate::testkit::{ALICE, Home, PHONE, PHONE_KEY, Person, SSHD_JUNK, Says, Seen, TABLET_KEY, name, says};
use crate::vault::{Credentials, Replacement, Revocation, Ticket};
use crate::verdict::Cause::{self, *};
use crate::words::{Account, Label, TicketId, Uid, WallTime};
use std::cell::RefCell;
use std::rc::Rc;

const BOB: Uid = Uid(1001);
const ENROLL: &str = "[[rule]]\naction = \"enroll\"\n";
const FIRST_FACTOR: &str = "[enroll]\nfirst_login = \"first-factor\"\n[[rule]]\naction = \"enroll\"\n";
const HOUR: u64 = 3_600_000;

/// What a person sees on the pages, and types.
#[derive(Default)]
struct Eyes {
    key: RefCell<String>,
    recovery: RefCell<String>,
}

fn now(home: &Home<'_>) -> WallTime {
    home.fakes.now.get().unwrap().wall
}

/// A ticket for a user, and its text.
fn ticket(home: &Home<'_>, user: &str, uid: Uid, change: impl FnOnce(&mut Ticket)) -> (Ticket, String) {
    let code = TicketCode::generate(&home.fakes).unwrap();
    let mut id = [0; 8];
    home.fakes.fill(&mut id).unwrap();
    let mut ticket = Ticket {
        id: TicketId(id),
        user: name(user),
        uid,
        made: now(home),
        expires: WallTime(now(home).0 + HOUR),
        by: "root".to_owned(),
        label: Label::parse("new phone").unwrap(),
        service: None,
        replaces: None,
        hash: code.hash(&home.fakes).unwrap(),
    };
    change(&mut ticket);
    home.vault().store_ticket(&ticket).unwrap();
    (ticket, code.to_text().to_string())
}

fn bobs_ticket(home: &Home<'_>) -> String {
    ticket(home, "bob", BOB, |_| {}).1
}

fn credentials_of(home: &Home<'_>, uid: Uid) -> Option<Credentials> {
    home.vault().room(uid).unwrap().map(|room| room.credentials().unwrap().0)
}

fn open_tickets(home: &Home<'_>, uid: Uid) -> usize {
    home.vault().tickets(uid).unwrap().map_or(0, |tickets| tickets.ids().unwrap().len())
}

fn code_of(home: &Home<'_>, key: &str, offset: i64) -> String {
    home.code_of(&key.replace(' ', ""), offset)
}

/// The 32 characters of the key on a page.
fn key_on(page: &str) -> String {
    let group = |word: &&str| word.len() == 4 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    page.split_whitespace().filter(group).take(8).collect()
}

/// The first recovery code on a page.
fn recovery_on(page: &str) -> Option<String> {
    page.split_whitespace().find(|word| word.len() == 24 && word.matches('-').count() == 4).map(str::to_owned)
}

/// A login in which the person reads the pages: `$key` is answered by the code of the key shown last, `$recovery` by the first
/// recovery code shown last, `$hang-up` by nothing.
fn meet(home: &Home<'_>, request: &Request, answers: &[&str]) -> Seen {
    let eyes = Rc::new(Eyes::default());
    let person = Person { answers: answers.iter().map(|text| reads(home, &eyes, text)).collect(), ..Person::default() };
    let person = Person { looks_at: Some(Box::new(move |page| look(&eyes, page))), ..person };
    home.meet(request, person)
}

fn look(eyes: &Eyes, page: &str) {
    let key = key_on(page);
    if key.len() == 32 {
        *eyes.key.borrow_mut() = key;
    }
    if let Some(code) = recovery_on(page) {
        *eyes.recovery.borrow_mut() = code;
    }
}

fn reads<'a>(home: &'a Home<'_>, eyes: &Rc<Eyes>, text: &str) -> Says<'a> {
    let (eyes, text) = (Rc::clone(eyes), text.to_owned());
    Box::new(move || match text.as_str() {
        "$key" => Some(code_of(home, &eyes.key.borrow(), 0).into_bytes()),
        "$recovery" => Some(eyes.recovery.borrow().clone().into_bytes()),
        "$hang-up" => None,
        _ => Some(text.into_bytes()),
    })
}

fn bob(home: &Home<'_>, answers: &[&str]) -> Seen {
    meet(home, &home.request("bob"), answers)
}

fn kinds(seen: &Seen) -> Vec<Kind> {
    seen.acts.iter().map(|event| event.kind).collect()
}

#[test]
fn a_ticket_enrolls_and_logs_in_and_the_recovery_codes_count_once_one_is_typed_back() {
    let home = Home::with_policy(ENROLL);
    let (ticket, typed) = ticket(&home, "bob", BOB, |_| {});
    let seen = bob(&home, &[&typed, "$key", "$recovery"]);
    assert_eq!((seen.cause, kinds(&seen)), (Enrolled, vec![Kind::TicketOpen, Kind::Enroll, Kind::RecoverySet]));
    let event = seen.event.unwrap();
    assert_eq!((event.outcome, event.ticket), (Outcome::Success, Some(ticket.id)));
    assert_eq!(event.device.unwrap().1.as_str(), "new phone");
    let stored = credentials_of(&home, BOB).unwrap();
    assert_eq!((stored.user.as_str(), stored.devices.len(), stored.recovery.len()), ("bob", 1, 10));
    assert_eq!(open_tickets(&home, BOB), 0);
    let key = stored.devices[0].secret.to_base32().to_string();
    assert_eq!(home.cause("bob", &code_of(&home, &key, 0)), Replayed, "the confirming code cannot log in");
    home.wait(30);
    assert_eq!(home.cause("bob", &code_of(&home, &key, 0)), Code);
    let recovery = recovery_on(&seen.asked[2].0).unwrap();
    assert_eq!(home.cause("bob", &recovery), Recovery);
}

#[test]
fn everybody_is_asked_the_same_where_tickets_are_taken() {
    let home = Home::with_policy(ENROLL);
    for user in ["alice", "bob", "mallory"] {
        let seen = home.login(user, &["000000"]);
        assert_eq!(seen.asked, [("One-time code, or enrollment ticket: ".to_owned(), false)]);
    }
    assert_eq!(home.cause("mallory", "0000-0000-0000"), TicketRefused);
    assert_eq!(home.cause("bob", "0000-0000-0000"), TicketRefused);
    assert_eq!(home.cause("alice", "0000-0000-0000"), TicketRefused);
}

#[test]
fn a_ticket_is_good_only_for_its_user_in_its_service_in_its_time_and_where_a_rule_enrolls() {
    type Change = fn(&mut Ticket);
    let cases: [(&str, Change, Cause); 6] = [
        ("other user", |ticket| ticket.user = name("robert"), TicketRefused),
        ("other service", |ticket| ticket.service = Some("login".to_owned()), TicketRefused),
        ("over", |ticket| ticket.expires = ticket.made, TicketRefused),
        ("made in the future: the clock went back", |ticket| ticket.made = WallTime(ticket.made.0 + 1), TicketRefused),
        ("as it is, given up", |_| {}, GivenUp),
        ("its own service, given up", |ticket| ticket.service = Some("sshd".to_owned()), GivenUp),
    ];
    for (what, change, cause) in cases {
        let home = Home::with_policy(ENROLL);
        let (_, typed) = ticket(&home, "bob", BOB, change);
        let answers: &[&str] = if cause == GivenUp { &[&typed, "q"] } else { &[&typed] };
        assert_eq!(bob(&home, answers).cause, cause, "{what}");
        assert!(credentials_of(&home, BOB).is_none());
    }
    let home = Home::with_policy("");
    let typed = bobs_ticket(&home);
    assert_eq!(bob(&home, &[&typed]).cause, NotEnrolled, "no rule lets him enroll");
    let home = Home::with_policy(&format!("[enroll]\nfirst_login = \"off\"\n{ENROLL}"));
    let typed = bobs_ticket(&home);
    assert_eq!(bob(&home, &[&typed]).cause, Malformed);
    let home = Home::with_policy(ENROLL);
    let typed = bobs_ticket(&home);
    assert_eq!(meet(&home, &home.request("alice"), &[&typed]).cause, TicketRefused, "bob's, typed by alice");
}

#[test]
fn five_wrong_tries_kill_a_ticket_and_right_ones_do_not() {
    let home = Home::with_policy(ENROLL);
    let typed = bobs_ticket(&home);
    for _ in 0..9 {
        assert_eq!(bob(&home, &[&typed, "q"]).cause, GivenUp);
    }
    for _ in 0..4 {
        assert_eq!(bob(&home, &["0000-0000-0000"]).cause, TicketRefused);
    }
    assert_eq!(bob(&home, &[&typed, "q"]).cause, GivenUp, "four wrong ones are too few");
    assert_eq!(bob(&home, &["0000-0000-0000"]).cause, TicketRefused);
    assert_eq!(bob(&home, &[&typed]).cause, TicketRefused);
}

#[test]
fn whatever_ends_the_wizard_before_a_right_code_stores_nothing_and_leaves_the_ticket() {
    let wrong = ["000000", "000000", "000000", "000000", "000000", ""];
    let ends: [&[&str]; 5] = [&["q"], &["$hang-up"], &["i", "$hang-up"], &wrong, &["000000", "a", "q"]];
    for end in ends {
        let home = Home::with_policy(ENROLL);
        let typed = bobs_ticket(&home);
        let answers: Vec<_> = [typed.as_str()].into_iter().chain(end.iter().copied()).collect();
        let seen = bob(&home, &answers);
        assert!(matches!(seen.cause, GivenUp | NoConversation), "{end:?}");
        assert_eq!(kinds(&seen), [Kind::TicketOpen]);
        assert!(credentials_of(&home, BOB).is_none() && open_tickets(&home, BOB) == 1);
        assert_eq!(bob(&home, &[&typed, "$key", "q"]).cause, Enrolled, "the ticket still is good");
    }
}

#[test]
fn each_try_shows_another_key() {
    let home = Home::with_policy(ENROLL);
    let typed = bobs_ticket(&home);
    let key = |seen: &Seen| key_on(&seen.asked[1].0);
    let (one, other) = (bob(&home, &[&typed, "q"]), bob(&home, &[&typed, "q"]));
    assert_ne!(key(&one), key(&other));
}

#[test]
fn a_login_cut_off_at_the_recovery_codes_is_enrolled_and_the_next_one_shows_others() {
    for end in ["$hang-up", "q"] {
        let home = Home::with_policy(ENROLL);
        let typed = bobs_ticket(&home);
        let first = bob(&home, &[&typed, "$key", end]);
        assert_eq!(first.cause, Enrolled);
        let stored = credentials_of(&home, BOB).unwrap();
        assert_eq!(stored.recovery.len(), 0);
        let lost = recovery_on(&first.asked[2].0).unwrap();
        assert_eq!(home.cause("bob", &lost), RecoveryWrong, "codes that nobody typed back do not count");
        home.wait(30);
        let key = stored.devices[0].secret.to_base32().to_string();
        let next = bob(&home, &[&code_of(&home, &key, 0), "$recovery"]);
        assert_eq!((next.cause, kinds(&next)), (Code, vec![Kind::RecoverySet]));
        assert_ne!(recovery_on(&next.asked[1].0).unwrap(), lost);
        home.wait(30);
        assert_eq!(bob(&home, &[&code_of(&home, &key, 0)]).cause, Code, "and then no more");
    }
}

#[test]
fn recovery_codes_are_shown_only_where_pictures_are() {
    let home = Home::with_policy("");
    home.change(|credentials| credentials.recovery.clear());
    let mut request = home.request("alice");
    request.silent = true;
    assert_eq!(meet(&home, &request, &[&home.code()]).cause, Code);
    home.wait(30);
    let mut request = home.request("alice");
    request.scene.service = Printable::new(b"sudo");
    assert_eq!(meet(&home, &request, &[&home.code()]).cause, Code);
    home.wait(30);
    let person = Person { answers: [says(home.code())].into(), sees_nothing: true, ..Person::default() };
    assert_eq!(home.meet(&home.request("alice"), person).cause, Code, "a host that cannot ask changes nothing");
}

#[test]
fn of_two_first_logins_at_once_one_enrolls() {
    let home = Home::with_policy(ENROLL);
    let typed = bobs_ticket(&home);
    let inner = |_: ()| bob(&home, &[&typed, "$key", "q"]).cause;
    let (eyes, other) = (Rc::new(Eyes::default()), RefCell::new(None));
    // The other login runs from its beginning to its end while this one's picture is on the screen.
    let between: Says<'_> = Box::new(|| {
        *other.borrow_mut() = Some(inner(()));
        Some(code_of(&home, &eyes.key.borrow(), 0).into_bytes())
    });
    let person = Person {
        answers: [says(typed.clone()), between, says("")].into(),
        looks_at: Some(Box::new(|page| look(&eyes, page))),
        ..Person::default()
    };
    let mut request = home.request("bob");
    request.host = "h2".to_owned();
    let cause = home.meet(&request, person).cause;
    assert_eq!((other.borrow().unwrap(), matches!(cause, Overtaken | State)), (Enrolled, true), "{cause:?}");
    let stored = credentials_of(&home, BOB).unwrap();
    assert_eq!((stored.devices.len(), open_tickets(&home, BOB)), (1, 0));
}

#[test]
fn a_ticket_that_is_revoked_while_its_picture_is_shown_enrolls_nobody() {
    let home = Home::with_policy(ENROLL);
    let (ticket, typed) = ticket(&home, "bob", BOB, |_| {});
    let eyes = Rc::new(Eyes::default());
    let between: Says<'_> = Box::new(|| {
        home.vault().revoke_ticket(BOB, ticket.id).unwrap();
        Some(code_of(&home, &eyes.key.borrow(), 0).into_bytes())
    });
    let person = Person {
        answers: [says(typed.clone()), between, says("")].into(),
        looks_at: Some(Box::new(|page| look(&eyes, page))),
        ..Person::default()
    };
    assert_eq!(home.meet(&home.request("bob"), person).cause, State);
    assert!(credentials_of(&home, BOB).is_none());
}

#[test]
fn who_is_enrolled_adds_a_device_with_a_ticket_and_his_code() {
    let home = Home::with_policy("");
    let (_, typed) = ticket(&home, "alice", ALICE, |_| {});
    let code = home.code();
    let seen = meet(&home, &home.request("alice"), &[&typed, &code, "$key"]);
    assert_eq!((seen.cause, kinds(&seen)), (Code, vec![Kind::TicketOpen, Kind::Enroll]));
    let stored = credentials_of(&home, ALICE).unwrap();
    assert_eq!((stored.devices.len(), open_tickets(&home, ALICE)), (3, 0));
    let key = stored.devices[2].secret.to_base32().to_string();
    assert_eq!(home.cause("alice", &code_of(&home, &key, 0)), Replayed);
    home.wait(30);
    assert_eq!(home.cause("alice", &code_of(&home, &key, 0)), Code);
}

#[test]
fn a_ticket_without_a_right_code_adds_nothing_and_giving_up_does_not_undo_the_login() {
    let home = Home::with_policy("");
    let (_, typed) = ticket(&home, "alice", ALICE, |_| {});
    assert_eq!(meet(&home, &home.request("alice"), &[&typed, "000000"]).cause, Wrong);
    assert_eq!(credentials_of(&home, ALICE).unwrap().devices.len(), 2);
    let code = home.code();
    assert_eq!(meet(&home, &home.request("alice"), &[&typed, &code, "q"]).cause, Code);
    assert_eq!((credentials_of(&home, ALICE).unwrap().devices.len(), open_tickets(&home, ALICE)), (2, 1));
}

#[test]
fn what_is_remembered_ends_with_the_credentials_that_it_was_remembered_by() {
    let home = Home::with_policy("[[rule]]\naction = \"require\"\nremember = \"8h\"\n");
    std::fs::create_dir(&home.policy.runtime_dir).unwrap();
    std::fs::set_permissions(&home.policy.runtime_dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let request = || Request { auth_info: Some(b"publickey x".to_vec()), ..home.request("alice") };
    let places = || crate::remember::all(&home.policy.runtime_dir, &home.fakes.now.get().unwrap()).unwrap().len();
    let code = home.code();
    assert_eq!((meet(&home, &request(), &[&code]).cause, places()), (Code, 1));
    home.wait(30);
    let (_, typed) = ticket(&home, "alice", ALICE, |_| {});
    let other = Request { auth_info: Some(b"publickey y".to_vec()), ..home.request("alice") };
    let code = home.code();
    assert_eq!((meet(&home, &other, &[&typed, &code, "$key"]).cause, places()), (Code, 0));
    assert_eq!(meet(&home, &request(), &["000000"]).cause, Wrong);
}

#[test]
fn a_ticket_that_a_device_names_is_spent_though_it_was_not_tidied_up() {
    let home = Home::with_policy("");
    let (ticket, typed) = ticket(&home, "alice", ALICE, |_| {});
    home.change(|credentials| credentials.devices[1].ticket = Some(ticket.id));
    let code = home.code();
    let seen = meet(&home, &home.request("alice"), &[&typed, &code, "$key", ""]);
    assert_eq!((seen.cause, seen.told), (Code, vec!["No device was added (overtaken).".to_owned()]));
    assert_eq!(credentials_of(&home, ALICE).unwrap().devices.len(), 2);
}

#[test]
fn of_two_sets_of_recovery_codes_shown_at_once_the_first_that_is_typed_back_counts() {
    let home = Home::with_policy("");
    home.change(|credentials| credentials.recovery.clear());
    let eyes = Rc::new(Eyes::default());
    let overtaken: Says<'_> = Box::new(|| {
        home.change(|stored| stored.recovery = crate::testkit::credentials().recovery);
        Some(eyes.recovery.borrow().clone().into_bytes())
    });
    let looks_at: Option<crate::testkit::Look<'_>> = Some(Box::new(|page| look(&eyes, page)));
    let person = Person { answers: [says(home.code()), overtaken].into(), looks_at, ..Person::default() };
    let seen = home.meet(&home.request("alice"), person);
    assert_eq!((seen.cause, seen.told.len(), kinds(&seen)), (Code, 1, vec![]));
    assert_eq!(credentials_of(&home, ALICE).unwrap().recovery.len(), 3);
}

#[test]
fn a_label_that_is_taken_gets_a_number_and_no_user_gets_more_devices_than_allowed() {
    let home = Home::with_policy("[enroll]\nmax_devices = 4\n");
    for labels in [&["new phone"][..], &["new phone", "new phone 2"]] {
        let (_, typed) = ticket(&home, "alice", ALICE, |_| {});
        let code = home.code();
        assert_eq!(meet(&home, &home.request("alice"), &[&typed, &code, "$key"]).cause, Code);
        let devices = credentials_of(&home, ALICE).unwrap().devices;
        let stored: Vec<_> = devices.iter().skip(2).map(|device| device.label.as_str().to_owned()).collect();
        assert_eq!(stored, labels);
        home.wait(60);
    }
    let (_, typed) = ticket(&home, "alice", ALICE, |_| {});
    let code = home.code();
    let seen = meet(&home, &home.request("alice"), &[&typed, &code, "$key", ""]);
    assert_eq!((seen.cause, seen.told.len()), (Code, 1));
    assert_eq!(credentials_of(&home, ALICE).unwrap().devices.len(), 4);
}

/// Alice's phone is replaced by a device whose key this gives.
fn rotate(home: &Home<'_>, overlap: u64) -> String {
    rotate_with(home, overlap, PHONE_KEY)
}

/// The same with a code of the device of that key.
fn rotate_with(home: &Home<'_>, overlap: u64, key: &str) -> String {
    let replaces = Some(Replacement { device: PHONE, overlap });
    let (_, typed) = ticket(home, "alice", ALICE, |ticket| ticket.replaces = replaces);
    let code = code_of(home, key, 0);
    assert_eq!(meet(home, &home.request("alice"), &[&typed, &code, "$key"]).cause, Code);
    let stored = credentials_of(home, ALICE).unwrap();
    let new = stored.devices.iter().find(|device| device.label.as_str() == "new phone").unwrap();
    new.secret.to_base32().to_string()
}

#[test]
fn a_replaced_device_is_good_until_the_new_one_was_used_once() {
    let home = Home::with_policy("");
    let new = rotate(&home, HOUR);
    for _ in 0..3 {
        home.wait(30);
        assert_eq!(home.cause("alice", &home.code()), Code, "the old one still is good");
    }
    home.wait(30);
    assert_eq!(home.cause("alice", &code_of(&home, &new, 0)), Code);
    home.wait(30);
    assert_eq!(home.cause("alice", &home.code()), Wrong, "the old one is over");
    assert_eq!(home.cause("alice", &code_of(&home, &new, 0)), Code);
}

#[test]
fn a_replaced_device_ends_with_its_time_and_where_the_clock_went_back() {
    let home = Home::with_policy("");
    rotate(&home, HOUR);
    home.wait(3599);
    assert_eq!(home.cause("alice", &home.code()), Code);
    home.wait(30);
    assert_eq!(home.cause("alice", &home.code()), Wrong);
    let home = Home::with_policy("");
    rotate_with(&home, HOUR, TABLET_KEY);
    home.move_clock(-86_400);
    assert_eq!(
        home.cause("alice", &home.code()),
        ClockBackwards,
        "the clock stands before the day the new one was added"
    );
    let home = Home::with_policy("");
    rotate(&home, 0);
    assert!(credentials_of(&home, ALICE).unwrap().devices.iter().all(|device| device.id != PHONE), "at once");
}

#[test]
fn after_a_revocation_only_a_ticket_made_since_starts_afresh() {
    let home = Home::with_policy(ENROLL);
    let (_, before) = ticket(&home, "alice", ALICE, |_| {});
    home.wait(60);
    let time = now(&home);
    home.change(|credentials| {
        credentials.revoked = Some(Revocation { time, reason: "lost".to_owned() });
        credentials.devices.clear();
        credentials.recovery.clear();
    });
    assert_eq!(meet(&home, &home.request("alice"), &[&before]).cause, Revoked);
    home.wait(60);
    let (_, after) = ticket(&home, "alice", ALICE, |_| {});
    assert_eq!(meet(&home, &home.request("alice"), &[&after, "$key", "$recovery"]).cause, Enrolled);
    let stored = credentials_of(&home, ALICE).unwrap();
    assert!(stored.revoked.is_none() && stored.devices.len() == 1 && stored.recovery.len() == 10);
    home.wait(30);
    let key = stored.devices[0].secret.to_base32().to_string();
    assert_eq!(home.cause("alice", &code_of(&home, &key, 0)), Code);
    assert_eq!(home.cause("alice", &home.code()), Wrong, "the old key is gone");
}

#[test]
fn a_stale_enrollment_is_not_replaced_by_a_ticket() {
    let home = Home::with_policy(ENROLL);
    let account = Account { name: name("formerly"), uid: BOB };
    let mut other = blank(&account, WallTime(0), &home.fakes).unwrap();
    other.devices.push(crate::testkit::device(PHONE, PHONE_KEY));
    home.vault().install(&other, &[], false).unwrap();
    let typed = bobs_ticket(&home);
    assert_eq!(bob(&home, &[&typed]).cause, Stale);
}

#[test]
fn the_first_factor_enrolls_where_the_policy_says_so_and_one_is_known_of() {
    let home = Home::with_policy(FIRST_FACTOR);
    assert_eq!(bob(&home, &["000000"]).cause, NotEnrolled, "nothing came before");
    let request =
        |home: &Home<'_>| Request { auth_info: Some(b"publickey ssh-ed25519 AAAA\n".to_vec()), ..home.request("bob") };
    assert_eq!(meet(&home, &request(&home), &["q"]).cause, GivenUp);
    assert_eq!(meet(&home, &request(&home), &["$key", "$recovery"]).cause, Enrolled);
    assert_eq!(credentials_of(&home, BOB).unwrap().recovery.len(), 10);
    let home = Home::with_policy(FIRST_FACTOR);
    let request = Request { password: Some(Answer::new(b"hunter2".to_vec())), ..home.request("bob") };
    assert_eq!(meet(&home, &request, &["$key", "$hang-up"]).cause, Enrolled);
    let request = Request { password: Some(Answer::new(b"hunter2".to_vec())), ..home.request("alice") };
    assert_eq!(meet(&home, &request, &["000000"]).cause, Wrong, "who is enrolled is asked for a code");
    let home = Home::with_policy(FIRST_FACTOR);
    let password = Some(Answer::new(b"guess".to_vec()));
    let failed = Request { password, password_failed: true, ..home.request("bob") };
    assert_eq!(meet(&home, &failed, &["000000"]).cause, NotEnrolled, "a stack that goes on after a wrong password");
}

#[test]
fn the_password_of_another_is_no_first_factor() {
    let policy = format!("[identity]\nsu = \"invoker\"\n{FIRST_FACTOR}");
    let home = Home::with_policy(&policy);
    let mut request =
        Request { password: Some(Answer::new(b"alice's".to_vec())), rhost: None, ..home.request("alice") };
    request.scene.service = Printable::new(b"su");
    request.scene.real_uid = BOB.0;
    assert_eq!(meet(&home, &request, &["000000"]).cause, NotEnrolled);
}

#[test]
fn where_no_picture_can_be_shown_who_is_new_is_told_so_and_nothing_is_stored() {
    for policy in [ENROLL, FIRST_FACTOR] {
        let home = Home::with_policy(policy);
        let quiet = Request { silent: true, password: Some(Answer::new(b"x".to_vec())), ..home.request("bob") };
        let seen = meet(&home, &quiet, &["000000"]);
        assert_eq!(seen.cause, NotEnrolled);
        assert!(seen.asked[0].0.contains("No device is enrolled") && seen.asked[0].0.ends_with("One-time code: "));
    }
    let home = Home::with_policy(ENROLL);
    let typed = bobs_ticket(&home);
    let person = Person { answers: [says(typed)].into(), sees_nothing: true, ..Person::default() };
    let seen = home.meet(&home.request("bob"), person);
    assert_eq!((seen.cause, seen.told.len(), open_tickets(&home, BOB)), (NoConversation, 1, 1));
    assert!(credentials_of(&home, BOB).is_none());
}

fn account() -> Account {
    Account { name: name("bob"), uid: BOB }
}

fn grace(options: &str, action: &str) -> Home<'static> {
    Home::with_policy(&format!("[[rule]]\naction = \"{action}\"\n{options}\n"))
}

#[test]
fn who_has_no_enrollment_gets_in_so_many_times_and_then_no_more() {
    let home = grace("grace_logins = 3", "require");
    for left in ["without one 2 more times.", "without one 1 more time.", "the last login without one."] {
        let seen = bob(&home, &[]);
        assert_eq!(seen.cause, Grace);
        assert!(seen.told[0].contains(left), "{:?}", seen.told);
    }
    assert_eq!(bob(&home, &["000000"]).cause, NotEnrolled);
    assert_eq!(home.cause("alice", "000000"), Wrong, "who is enrolled needs his code");
    assert_eq!(home.cause("mallory", "000000"), UnknownUser);
    home.change(|credentials| {
        credentials.revoked = Some(Revocation { time: WallTime(0), reason: "lost".to_owned() });
        credentials.devices.clear();
    });
    assert_eq!(home.cause("alice", "000000"), Revoked, "who was revoked is not new");
}

#[test]
fn who_has_no_enrollment_gets_in_until_the_day_and_not_where_the_day_is_not_known() {
    // The fakes' clock stands at 2023-11-14 22:13:30 UTC.
    let home = grace("enroll_by = 2023-11-15\nzone = \"UTC\"", "require");
    let seen = bob(&home, &[]);
    assert_eq!(seen.cause, Grace);
    assert!(
        seen.told[0].contains("You get in without one until 2023-11-16 00:00 UTC (25 hours left)."),
        "{:?}",
        seen.told
    );
    home.wait(26 * 3600);
    assert_eq!(bob(&home, &["000000"]).cause, NotEnrolled);
    let mut home = grace("", "require");
    home.policy = crate::policy::Policy {
        written: Some(WallTime(now(&home).0 + 1000)),
        rules: crate::policy::Policy::parse("[[rule]]\naction = \"require\"\nenroll_by = 2023-11-15\nzone = \"UTC\"")
            .unwrap()
            .rules,
        ..home.policy
    };
    let seen = bob(&home, &["000000"]);
    assert_eq!(seen.cause, NotEnrolled);
    assert!(seen.event.unwrap().detail.unwrap().as_str().contains("the clock went back"));
}

#[test]
fn with_time_left_a_ticket_may_be_typed_and_enter_goes_on_without() {
    let home = grace("grace_logins = 2", "enroll");
    let typed = bobs_ticket(&home);
    assert_eq!(bob(&home, &[""]).cause, Grace);
    let seen = bob(&home, &["0000-0000-0000", "hello", &typed, "q"]);
    assert_eq!(seen.cause, Grace);
    assert!(seen.asked[0].0.contains("1 more time") && seen.asked[1].0.contains("not good"), "{:?}", seen.asked);
    assert!(seen.asked[2].0.contains("That is no ticket"), "{:?}", seen.asked);
    assert_eq!(bob(&home, &[&typed, "$key", "q"]).cause, Enrolled, "no time is left, the ticket is good");
    assert_eq!(home.vault().grace_used(&account()).unwrap(), 0);
    let home = grace("grace_logins = 1", "enroll");
    let person = Person { sees_nothing: true, ..Person::default() };
    assert_eq!(home.meet(&home.request("bob"), person).cause, Grace, "a host that cannot ask lets him in all the same");
}

#[test]
fn where_nothing_is_told_the_notice_is_a_question() {
    let home = grace("grace_logins = 1", "enroll");
    let silent = Request { silent: true, ..home.request("bob") };
    let seen = meet(&home, &silent, &[""]);
    assert_eq!((seen.cause, seen.told.len()), (Grace, 0));
    assert!(seen.asked[0].0.contains("the last login without one.\nEnter: "), "{:?}", seen.asked);
}

#[test]
fn a_login_that_another_one_overtook_has_no_grace_left() {
    let home = grace("grace_logins = 1", "enroll");
    let overtaken: Says<'_> = Box::new(|| {
        home.vault().count_grace(&account()).unwrap();
        Some(Vec::new())
    });
    let person = Person { answers: [overtaken].into(), ..Person::default() };
    assert_eq!(home.meet(&home.request("bob"), person).cause, NotEnrolled);
}

#[test]
fn a_revocation_while_a_page_is_on_the_screen_refuses_the_login() {
    let revoke = |credentials: &mut Credentials| {
        credentials.revoked = Some(Revocation { time: WallTime(0), reason: "lost".to_owned() });
        credentials.devices.clear();
    };
    // While a device is added.
    let home = Home::with_policy("");
    let (_, typed) = ticket(&home, "alice", ALICE, |_| {});
    let revoked: Says<'_> = Box::new(|| {
        home.change(revoke);
        Some(b"q".to_vec())
    });
    let person = Person { answers: [says(typed), says(home.code()), revoked].into(), ..Person::default() };
    assert_eq!(home.meet(&home.request("alice"), person).cause, Revoked);
    // While recovery codes are shown.
    let home = Home::with_policy("");
    home.change(|credentials| credentials.recovery.clear());
    let revoked: Says<'_> = Box::new(|| {
        home.change(revoke);
        Some(b"q".to_vec())
    });
    let person = Person { answers: [says(home.code()), revoked].into(), ..Person::default() };
    assert_eq!(home.meet(&home.request("alice"), person).cause, Revoked);
}

/// Bob sits at the question that goes on without a ticket while something happens, and presses Enter.
fn parked(home: &Home<'_>, meanwhile: impl FnOnce()) -> Cause {
    parked_at(home, &home.request("bob"), meanwhile)
}

fn parked_at(home: &Home<'_>, request: &Request, meanwhile: impl FnOnce()) -> Cause {
    let parked: Says<'_> = Box::new(|| {
        meanwhile();
        Some(Vec::new())
    });
    home.meet(request, Person { answers: [parked].into(), ..Person::default() }).cause
}

#[test]
fn a_login_parked_at_its_question_gets_in_only_if_everything_still_is_so() {
    let install = |home: &Home<'_>, revoked: Option<Revocation>| {
        let mut other = blank(&account(), WallTime(0), &home.fakes).unwrap();
        other.devices.push(crate::testkit::device(PHONE, PHONE_KEY));
        other.revoked = revoked;
        home.vault().install(&other, &[], false).unwrap();
    };
    let home = grace("grace_logins = 9", "enroll");
    assert_eq!(parked(&home, || {}), Grace);
    assert_eq!(parked(&home, || install(&home, None)), Overtaken, "enrolled meanwhile");
    let home = grace("grace_logins = 9", "enroll");
    let lost = Revocation { time: WallTime(0), reason: "lost".to_owned() };
    assert_eq!(parked(&home, || install(&home, Some(lost))), Overtaken, "revoked meanwhile");
    let home = grace("enroll_by = 2023-11-15\nzone = \"UTC\"", "enroll");
    assert_eq!(parked(&home, || home.wait(26 * 3600)), Policy, "the day has passed");
    // The same where the notice is the question.
    let silent = |home: &Home<'_>| Request { silent: true, ..home.request("bob") };
    let home = grace("grace_logins = 9", "require");
    assert_eq!(parked_at(&home, &silent(&home), || {}), Grace);
    assert_eq!(parked_at(&home, &silent(&home), || install(&home, None)), Overtaken, "enrolled meanwhile");
    let home = grace("enroll_by = 2023-11-15\nzone = \"UTC\"", "require");
    assert_eq!(parked_at(&home, &silent(&home), || home.wait(26 * 3600)), Policy, "the day has passed");
}

/// The runtime folder cannot be used: what is remembered cannot be forgotten, and the codes count all the same.
#[test]
fn recovery_codes_that_were_typed_back_count_though_something_is_left_over() {
    let home = Home::with_policy("");
    home.change(|credentials| credentials.recovery.clear());
    std::fs::write(&home.policy.runtime_dir, "in the way").unwrap();
    let code = home.code();
    let seen = meet(&home, &home.request("alice"), &[&code, "$recovery"]);
    assert_eq!((seen.cause, seen.told.len(), kinds(&seen)), (Code, 0, vec![Kind::RecoverySet]));
    assert_eq!(credentials_of(&home, ALICE).unwrap().recovery.len(), 10);
}

#[test]
fn a_ticket_that_ends_while_its_picture_is_shown_enrolls_nobody() {
    let over: fn(&Home<'_>) = |home| home.wait(3600);
    let tried: fn(&Home<'_>) = |home| {
        let tickets = home.vault().tickets(BOB).unwrap().unwrap();
        let id = tickets.ids().unwrap()[0];
        (0..5).for_each(|_| assert!(tickets.begin_try(id).unwrap()));
    };
    for ends in [over, tried] {
        let home = Home::with_policy(ENROLL);
        let typed = bobs_ticket(&home);
        let eyes = Rc::new(Eyes::default());
        let between: Says<'_> = Box::new(|| {
            ends(&home);
            Some(code_of(&home, &eyes.key.borrow(), 0).into_bytes())
        });
        let looks_at: Option<crate::testkit::Look<'_>> = Some(Box::new(|page| look(&eyes, page)));
        let person = Person { answers: [says(typed), between, says("")].into(), looks_at, ..Person::default() };
        assert_eq!(home.meet(&home.request("bob"), person).cause, State);
        assert!(credentials_of(&home, BOB).is_none());
    }
}

#[test]
fn what_changes_while_a_page_is_on_the_screen_refuses_the_login() {
    let without_device: fn(&Home<'_>) = |home| home.change(|credentials| _ = credentials.devices.remove(0));
    let replaced: fn(&Home<'_>) = |home| {
        let mut fresh = blank(&Account { name: name("alice"), uid: ALICE }, WallTime(0), &home.fakes).unwrap();
        fresh.devices = crate::testkit::credentials().devices;
        home.vault().install(&fresh, &[], true).unwrap();
    };
    for (change, answer) in [(without_device, "q"), (replaced, "q")] {
        let home = Home::with_policy("");
        let (_, typed) = ticket(&home, "alice", ALICE, |_| {});
        let changes: Says<'_> = Box::new(|| {
            change(&home);
            Some(answer.as_bytes().to_vec())
        });
        let person = Person { answers: [says(typed), says(home.code()), changes].into(), ..Person::default() };
        assert_eq!(home.meet(&home.request("alice"), person).cause, Overtaken);
    }
}

#[test]
fn a_device_replaced_by_one_that_was_replaced_itself_ends_when_that_was_used() {
    let home = Home::with_policy("[enroll]\nmax_devices = 4\n");
    let middle = rotate(&home, HOUR);
    home.wait(30);
    let stored = credentials_of(&home, ALICE).unwrap();
    let id = stored.devices.iter().find(|device| device.label.as_str() == "new phone").unwrap().id;
    let replaces = Some(Replacement { device: id, overlap: HOUR });
    let (_, typed) = ticket(&home, "alice", ALICE, |ticket| ticket.replaces = replaces);
    let code = home.code();
    assert_eq!(meet(&home, &home.request("alice"), &[&typed, &code, "$key"]).cause, Code);
    let newest = credentials_of(&home, ALICE).unwrap().devices.last().unwrap().secret.to_base32().to_string();
    home.wait(30);
    assert_eq!(home.cause("alice", &code_of(&home, &newest, 0)), Code);
    home.wait(30);
    assert_eq!(home.cause("alice", &home.code()), Wrong, "the first");
    assert_eq!(home.cause("alice", &code_of(&home, &middle, 0)), Wrong, "the second");
}

#[test]
fn what_sshd_passes_on_for_who_may_not_log_in_uses_no_grace() {
    let home = grace("grace_logins = 2", "enroll");
    let person = Person { answers: [says(SSHD_JUNK), says(SSHD_JUNK)].into(), ..Person::default() };
    assert_eq!(home.meet(&home.request("bob"), person).cause, UnknownUser);
    assert_eq!(home.vault().grace_used(&account()).unwrap(), 0);
}

#[test]
fn grace_logins_are_counted_though_many_come_at_once() {
    let home = grace("grace_logins = 3", "require");
    let vault = home.vault();
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| vault.count_grace(&account()).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut sorted = counts.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(bob(&home, &["000000"]).cause, NotEnrolled);
}

#[test]
fn secrets_of_the_wizard_are_in_no_event() {
    let home = Home::with_policy(ENROLL);
    let typed = bobs_ticket(&home);
    let seen = bob(&home, &[&typed, "$key", "$recovery"]);
    let key = credentials_of(&home, BOB).unwrap().devices[0].secret.to_base32().to_string();
    let recovery = recovery_on(&seen.asked[2].0).unwrap();
    for event in seen.acts.iter().chain(&seen.event) {
        let text = format!("{}{}", event.json_line("h1", None), event.syslog_line());
        assert!(![key.as_str(), &typed, &recovery, "otpauth"].iter().any(|secret| text.contains(secret)), "{text}");
    }
}

#[test]
fn an_enrollment_that_claims_is_the_only_record_of_a_fresh_journal() {
    let home = Home::with_policy(ENROLL);
    let typed = bobs_ticket(&home);
    bob(&home, &[&typed, "$key", "q"]);
    let stored = credentials_of(&home, BOB).unwrap();
    let room = home.vault().room(BOB).unwrap().unwrap();
    let history = room.journal(&stored).unwrap().read().unwrap();
    let (state, _) = history.fold(&home.policy.limits);
    let step = Shape::default().step_at(now(&home));
    assert_eq!((history.records(), state.floor(stored.devices[0].id)), (1, Some(step)));
    assert_eq!(state.unknown, State::default().unknown);
}
