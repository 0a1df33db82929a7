//! Enrollment at the first login: the wizard in the conversation of the real sshd, login and su, on screens as people have
//! them.

use std::fs;

use qrtotp_tests::camera::Picture;
use qrtotp_tests::phone::{Phone, seconds_now};
use qrtotp_tests::product::{EVENTS, STATE, example};
use qrtotp_tests::sandbox::{HOST, Sandbox};
use qrtotp_tests::script::{Answer, SILENT, Script, code};
use qrtotp_tests::ssh::{Client, Sshd};
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::tmux::Tmux;
use qrtotp_tests::users::PASSWORD;
use qrtotp_tests::{DEADLINE, count};

const ENROLL: &str = "[[rule]]\naction = \"enroll\"\n";
const TICKET: &str = "One-time code, or enrollment ticket: ";
const CODE: &str = "give up): ";
const BACK: &str = "Type one of them back";

/// The 32 characters of the key on a page, which stand in groups of four.
fn key_on(page: &str) -> String {
    let is_key = |c: u8| c.is_ascii_uppercase() || (b'2'..=b'7').contains(&c);
    let group = |word: &&str| word.len() == 4 && word.bytes().all(is_key);
    page.split_whitespace().filter(group).take(8).collect()
}

/// The first recovery code on a page.
fn recovery_on(page: &str) -> String {
    let is_code = |word: &&str| word.len() == 24 && word.split('-').all(|group| group.len() == 4);
    page.split_whitespace().find(is_code).unwrap_or_else(|| panic!("no recovery code in\n{page}")).to_owned()
}

fn phone_on(page: &str) -> Phone {
    let key = key_on(page);
    assert_eq!(key.len(), 32, "a key in\n{page}");
    Phone::new(&key, Default::default())
}

/// A machine on which everybody may enroll, and alice's ticket.
fn inviting_alice() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.policy(ENROLL);
    let ticket = sandbox.ticket("alice", &[]);
    (sandbox, ticket)
}

/// A terminal on which alice has come through ssh with her key, and typed her ticket.
fn typed_by_alice(sandbox: &Sandbox, ticket: &str) -> Terminal {
    let mut terminal = Terminal::start(&mut Client::new(sandbox, "alice").with_key().command("id"));
    terminal.wait_for(TICKET);
    terminal.type_line(ticket);
    terminal
}

/// A screen of 80 by 24 on which alice logs in through ssh with her key.
fn screen<'a>(sandbox: &'a Sandbox, locale: &'static str) -> Tmux<'a> {
    let client = Client::new(sandbox, "alice").with_key().locale(locale);
    Tmux::start(sandbox, 24, 80, locale, &client.shell_command("id -un; cat"))
}

/// Types the ticket, scans the picture as the screen shows it, and goes on to the shell.
fn enroll_on(sandbox: &Sandbox, tmux: &Tmux<'_>, ticket: &str, look: impl Fn(&Tmux<'_>) -> Picture) -> Phone {
    tmux.wait_for(TICKET);
    tmux.type_line(ticket);
    tmux.wait_for(CODE);
    let uri = look(tmux).read(sandbox);
    let begin = format!("otpauth://totp/{HOST}:alice?secret={}", secret_of(&uri));
    assert!(uri == begin || uri == format!("{begin}&issuer={HOST}"), "{uri}");
    let phone = Phone::scanning(&uri);
    phone.settle(10);
    let confirming = phone.code();
    tmux.type_line(&confirming);
    let rows = tmux.wait_for(BACK);
    tmux.type_line(&recovery_on(&rows.join("\n")));
    tmux.wait_for("alice");
    assert_eq!(sandbox.answer("alice", &confirming), code::AUTH_ERR, "the confirming code cannot log in");
    let later = Script::login("alice").wall_moved(86_400).answering([phone.code_at(seconds_now() + 86_400)]);
    assert_eq!(sandbox.run(later).code(), code::SUCCESS);
    phone
}

fn secret_of(uri: &str) -> &str {
    uri.split("secret=").nth(1).unwrap().split('&').next().unwrap()
}

#[test]
fn through_ssh_at_80_by_24_in_utf_8_on_a_dark_terminal() {
    let (sandbox, ticket) = inviting_alice();
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    let tmux = screen(&sandbox, "C.UTF-8");
    let look = |tmux: &Tmux<'_>| {
        let rows = tmux.screen();
        assert!(rows[0].starts_with("(alice@127.0.0.1)"), "nothing scrolled off: {rows:#?}");
        assert!(rows[1].starts_with(&format!("Enrolling alice on {HOST}")), "{rows:#?}");
        assert!(key_on(&rows.join("\n")).len() == 32 && rows.iter().any(|row| row.contains("120 s")), "{rows:#?}");
        Picture::of_rows(&rows)
    };
    enroll_on(&sandbox, &tmux, &ticket, look);
    let kinds: Vec<_> = sandbox.events().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds[..5], ["ticket_new", "ticket_open", "enroll", "recovery_set", "login"]);
    assert_eq!(sandbox.logins()[0]["reason"], "enrolled");
}

#[test]
fn through_ssh_at_80_by_24_in_utf_8_on_a_light_terminal() {
    let (sandbox, ticket) = inviting_alice();
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    let tmux = screen(&sandbox, "C.UTF-8");
    enroll_on(&sandbox, &tmux, &ticket, |tmux| {
        let before = tmux.screen();
        tmux.type_line("i");
        let rows = loop {
            let rows = tmux.wait_for(CODE);
            if rows != before && rows.last().is_some_and(|row| row.ends_with(CODE.trim_end())) {
                break rows;
            }
        };
        Picture::of_rows(&rows).on_light()
    });
}

#[test]
fn through_ssh_in_the_c_locale_in_ascii() {
    let (sandbox, ticket) = inviting_alice();
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    let tmux = screen(&sandbox, "C");
    enroll_on(&sandbox, &tmux, &ticket, |tmux| {
        let rows = tmux.screen();
        assert!(rows.last().unwrap().contains("a: ASCII picture"), "what to do stands last: {rows:#?}");
        tmux.type_line("a");
        tmux.wait_for("a: smaller picture, q: give up): ");
        // It is larger than the screen: a person scrolls back, or makes the letters smaller.
        let history = tmux.history();
        let title = history.iter().rposition(|row| row.starts_with("Enrolling alice")).unwrap();
        let rows = history[title..].to_vec();
        assert!(rows.iter().all(|row| row.is_ascii()) && key_on(&rows.join("\n")).len() == 32, "{rows:#?}");
        Picture::of_rows(&rows)
    });
}

/// Reads the page that a terminal shows, and answers with the code of its key and one of the recovery codes.
fn finish(terminal: &mut Terminal) -> Phone {
    let phone = phone_on(&terminal.wait_for(CODE));
    terminal.type_line(&phone.code());
    let page = terminal.wait_for(BACK);
    terminal.type_line(&recovery_on(&page));
    phone
}

#[test]
fn through_login_on_a_terminal() {
    let sandbox = Sandbox::new();
    sandbox.policy(ENROLL);
    sandbox.service("login", example("login"));
    let ticket = sandbox.ticket("alice", &["--service", "login"]);
    let mut terminal = Terminal::start(&mut sandbox.command("/usr/bin/login"));
    terminal.wait_for("login: ");
    terminal.type_line("alice");
    terminal.wait_for("Password: ");
    terminal.type_line(PASSWORD);
    terminal.wait_for(TICKET);
    terminal.type_line(&ticket);
    finish(&mut terminal);
    terminal.wait_for("$ ");
    terminal.type_line("id; exit");
    assert!(terminal.end().1.contains("uid=2001(alice)"));
    assert_eq!(sandbox.status("alice")["recovery_left"], 10);
}

#[test]
fn through_su() {
    let sandbox = Sandbox::new();
    sandbox.policy(ENROLL);
    sandbox.service("su", example("su"));
    let ticket = sandbox.ticket("bob", &[]);
    let mut terminal = Terminal::start(sandbox.command_as(2001, "/usr/bin/su").args(["bob", "-c", "id"]));
    terminal.wait_for("Password: ");
    terminal.type_line(PASSWORD);
    terminal.wait_for(TICKET);
    terminal.type_line(&ticket);
    finish(&mut terminal);
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.contains("uid=2002(bob)"), "{shown}");
    assert_eq!(sandbox.status("bob")["devices"][0]["label"], "phone");
}

#[test]
fn sudo_never_enrolls_and_says_where_that_is_done() {
    let sandbox = Sandbox::new();
    sandbox.policy(ENROLL);
    sandbox.service("sudo", example("sudo"));
    let ticket = sandbox.ticket("alice", &[]);
    let mut terminal = Terminal::start(sandbox.command_as(2001, "/usr/bin/sudo").args(["-k", "id"]));
    terminal.wait_for("password for alice: ");
    terminal.type_line(PASSWORD);
    terminal.wait_for("No device is enrolled, and none can be here:");
    terminal.wait_for("One-time code: ");
    terminal.type_line(&ticket);
    terminal.wait_for("ry again");
    drop(terminal);
    assert_eq!(sandbox.status("alice")["state"], "not_enrolled");
}

#[test]
fn the_password_method_never_enrolls() {
    for first_login in ["ticket", "first-factor"] {
        let sandbox = Sandbox::new();
        sandbox.policy(&format!("[enroll]\nfirst_login = \"{first_login}\"\n{ENROLL}"));
        let ticket = sandbox.ticket("alice", &[]);
        sandbox.service("sshd", example("sshd-password-and-code"));
        let config = "PasswordAuthentication yes\nKbdInteractiveAuthentication no\nAuthenticationMethods password\n";
        let _sshd = Sshd::start(&sandbox, config);
        let client = Client::new(&sandbox, "alice").option("NumberOfPasswordPrompts=2");
        assert!(!client.run(&[PASSWORD, &ticket], "id").success);
        assert_eq!(sandbox.status("alice")["state"], "not_enrolled");
    }
}

#[test]
fn the_first_factor_enrolls_by_key_and_by_password_and_a_wrong_password_does_not() {
    let sandbox = Sandbox::new();
    sandbox.policy(&format!("[enroll]\nfirst_login = \"first-factor\"\n{ENROLL}"));
    let by_key = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    let mut terminal = Terminal::start(Client::new(&sandbox, "alice").with_key().command("id").env("TERM", "xterm"));
    finish(&mut terminal);
    assert!(terminal.end().1.contains("uid=2001(alice)"));
    drop(by_key);
    let _by_password = Sshd::of_example(&sandbox, "sshd-password-and-code", "");
    let mut terminal = Terminal::start(&mut Client::new(&sandbox, "bob").command("id"));
    terminal.wait_for("Password: ");
    terminal.type_line("guess");
    terminal.wait_for("Password: ");
    assert!(!terminal.text().contains("Enrolling"));
    terminal.type_line(PASSWORD);
    finish(&mut terminal);
    assert!(terminal.end().1.contains("uid=2002(bob)"));
}

#[test]
fn where_the_stack_goes_on_after_a_wrong_password_it_enrolls_nobody() {
    let sandbox = Sandbox::new();
    sandbox.policy(&format!("[enroll]\nservices = [\"lax\"]\nfirst_login = \"first-factor\"\n{ENROLL}"));
    let stack = "auth required pam_unix.so\nauth required pam_qrtotp.so\n";
    sandbox.service("lax", &format!("{stack}account required pam_permit.so\n"));
    let login = |password: &str, answer: &str| {
        let report = sandbox.run(Script::login("alice").at("lax").answering([password, answer]));
        (report.code(), report.last().prompts().last().unwrap().contains("Enrolling alice"))
    };
    assert_eq!(login("guess", "000000"), (code::AUTH_ERR, false));
    assert_eq!(sandbox.last_reason(), "not_enrolled");
    assert_eq!(login(PASSWORD, "q"), (code::AUTH_ERR, true));
    assert_eq!(sandbox.last_reason(), "given_up");
}

/// The answers of alice, who types her ticket; the pages are read by nobody.
fn with(ticket: &str, answers: &[&str]) -> Script {
    let all: Vec<&str> = [ticket].into_iter().chain(answers.iter().copied()).collect();
    Script::login("alice").at("sshd").from("192.0.2.7").answering(all)
}

fn wizard_sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.policy(ENROLL);
    sandbox.service("sshd", &fs::read_to_string("/etc/pam.d/code").unwrap());
    sandbox
}

#[test]
fn whatever_ends_it_early_stores_nothing_and_the_ticket_is_good_again() {
    let sandbox = wizard_sandbox();
    let ticket = sandbox.ticket("alice", &[]);
    let dies = Script::login("alice").at("sshd").answering([Answer::Text(ticket.clone()), Answer::Die]);
    let wrong = ["000000"; 5];
    for script in [with(&ticket, &["q"]), with(&ticket, &[]), with(&ticket, &["i", "a", "q"]), with(&ticket, &wrong)] {
        assert_ne!(sandbox.run(script).code(), code::SUCCESS);
    }
    sandbox.start(dies, None).finish();
    let silent = Script::login("alice").at("sshd").answering_with(SILENT, [ticket.as_str()]);
    assert_eq!(sandbox.run(silent).code(), code::AUTH_ERR);
    assert_eq!(sandbox.status("alice")["state"], "not_enrolled");
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    let mut terminal = typed_by_alice(&sandbox, &ticket);
    finish(&mut terminal);
    assert!(terminal.end().1.contains("uid=2001(alice)"));
}

#[test]
fn a_login_that_sshd_cuts_off_at_the_recovery_codes_is_enrolled_and_the_next_one_shows_others() {
    let (sandbox, ticket) = inviting_alice();
    let sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "LoginGraceTime 8\n");
    let mut terminal = typed_by_alice(&sandbox, &ticket);
    let phone = phone_on(&terminal.wait_for(CODE));
    terminal.type_line(&phone.code());
    let lost = recovery_on(&terminal.wait_for(BACK));
    // The client notices when its person types the next time; here he does not come back. What is left is sshd and the client.
    let end = std::time::Instant::now() + DEADLINE;
    while sandbox.processes().len() > 2 {
        assert!(std::time::Instant::now() < end, "{:?}", sandbox.processes());
        std::thread::yield_now();
    }
    drop((terminal, sshd));
    assert_eq!(sandbox.status("alice")["state"], "enrolled");
    assert_eq!(sandbox.answer("alice", &lost), code::AUTH_ERR);
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    sandbox.policy("[totp]\nfuture = 1\n");
    let mut terminal = Terminal::start(&mut Client::new(&sandbox, "alice").with_key().command("id"));
    terminal.wait_for("One-time code: ");
    terminal.type_line(&phone.code_in(1));
    let fresh = recovery_on(&terminal.wait_for(BACK));
    assert_ne!(fresh, lost);
    terminal.type_line(&fresh);
    assert!(terminal.end().1.contains("uid=2001(alice)"));
    assert_eq!(sandbox.status("alice")["recovery_left"], 10);
}

/// Logins that all hold the picture of the same ticket on their screens, and then confirm at once.
#[test]
fn of_many_logins_with_one_ticket_at_once_one_enrolls() {
    let sandbox = Sandbox::new();
    sandbox.policy(&format!("[flood]\nper_minute = 0\n{ENROLL}"));
    let ticket = sandbox.ticket("alice", &[]);
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "MaxStartups 1000\nLoginGraceTime 600\n");
    let start = || Terminal::start(&mut Client::new(&sandbox, "alice").with_key().command("id"));
    let mut terminals: Vec<_> = (0..count("QRTOTP_TICKETS", 50)).map(|_| start()).collect();
    let open = |terminal: &mut Terminal| {
        terminal.wait_for(TICKET);
        terminal.type_line(&ticket);
        phone_on(&terminal.wait_for(CODE))
    };
    let phones: Vec<_> = terminals.iter_mut().map(open).collect();
    phones[0].settle(15);
    let codes: Vec<_> = phones.iter().map(Phone::code).collect();
    terminals.iter_mut().zip(&codes).for_each(|(terminal, code)| terminal.type_line(code));
    let won: Vec<usize> = terminals
        .iter_mut()
        .enumerate()
        .filter_map(|(number, terminal)| {
            let (index, _) = terminal.wait_for_any(&[BACK, "Nothing was stored"]);
            (index == 0).then_some(number)
        })
        .collect();
    assert_eq!(won.len(), 1, "{won:?}");
    let status = sandbox.status("alice");
    assert_eq!(status["devices"].as_array().unwrap().len(), 1);
    let later = Script::login("alice").wall_moved(86_400).answering([phones[won[0]].code_at(seconds_now() + 86_400)]);
    assert_eq!(sandbox.run(later).code(), code::SUCCESS, "the device of the one who won");
    assert_eq!(sandbox.run(with(&ticket, &[])).code(), code::AUTH_ERR, "the ticket is spent");
}

#[test]
fn an_enrolled_user_adds_a_device_and_replaces_one_through_ssh() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    sandbox.policy("[totp]\nfuture = 1\n");
    let add = |ticket: &str, code: &str| {
        let mut terminal = Terminal::start(&mut Client::new(&sandbox, "alice").with_key().command("id"));
        terminal.wait_for("One-time code: ");
        terminal.type_line(ticket);
        terminal.wait_for("That ticket is good.");
        terminal.type_line(code);
        let phone = phone_on(&terminal.wait_for(CODE));
        terminal.type_line(&phone.code());
        assert!(terminal.end().1.contains("uid=2001(alice)"));
        phone
    };
    alice.phone.settle(15);
    let tablet = add(&sandbox.ticket("alice", &["--label", "tablet"]), &alice.phone.code());
    assert_eq!(sandbox.answer("alice", &tablet.code_in(1)), code::SUCCESS);
    let ran = sandbox.qrtotp(&["rotate", "alice", "phone", "--overlap", "7d", "--json"]);
    let ticket = ran.json()["ticket"].as_str().unwrap().to_owned();
    let new = add(&ticket, &alice.phone.code_in(1));
    let tomorrow = seconds_now() + 86_400;
    let at = |phone: &Phone, seconds: u64| {
        let moved = i64::try_from(seconds - seconds_now()).unwrap();
        let script = Script::login("alice").wall_moved(moved).answering([phone.code_at(seconds)]);
        sandbox.run(script).code()
    };
    assert_eq!(at(&alice.phone, tomorrow), code::SUCCESS, "the old one is good until the new one was used");
    assert_eq!(at(&new, tomorrow), code::SUCCESS);
    assert_eq!(at(&alice.phone, tomorrow + 60), code::AUTH_ERR, "and no longer");
    assert_eq!(at(&new, tomorrow + 60), code::SUCCESS);
}

#[test]
fn a_full_disk_enrolls_nobody_and_leaves_the_ticket() {
    let sandbox = wizard_sandbox();
    sandbox.output_of("/bin/mount", &["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", STATE]);
    assert_eq!(sandbox.qrtotp(&["init"]).code, 0);
    let ticket = sandbox.ticket("alice", &[]);
    let filled = fs::write(format!("{STATE}/filler"), vec![0; 4 << 20]);
    assert!(filled.is_err(), "the disk is full");
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    let mut terminal = typed_by_alice(&sandbox, &ticket);
    let phone = phone_on(&terminal.wait_for(CODE));
    terminal.type_line(&phone.code());
    terminal.wait_for("Nothing was stored (state)");
    terminal.type_line("");
    terminal.wait_for(TICKET);
    drop(terminal);
    assert_eq!(sandbox.last_reason(), "state");
    fs::remove_file(format!("{STATE}/filler")).unwrap();
    let mut terminal = typed_by_alice(&sandbox, &ticket);
    finish(&mut terminal);
    assert!(terminal.end().1.contains("uid=2001(alice)"));
}

#[test]
fn no_secret_of_an_enrollment_is_in_any_log_or_environment() {
    for level in ["INFO", "VERBOSE"] {
        let sandbox = Sandbox::new();
        sandbox.policy(ENROLL);
        let ticket = sandbox.ticket("alice", &[]);
        let sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", &format!("LogLevel {level}\n"));
        let mut terminal = Terminal::start(&mut Client::new(&sandbox, "alice").with_key().command("env"));
        terminal.wait_for(TICKET);
        terminal.type_line(&ticket);
        let page = terminal.wait_for(CODE);
        let phone = phone_on(&page);
        let confirming = phone.code();
        terminal.type_line(&confirming);
        let page_of_codes = terminal.wait_for(BACK);
        let recovery = recovery_on(&page_of_codes);
        terminal.type_line(&recovery);
        let (_, shown) = terminal.end();
        let environment = shown.split(&recovery).last().unwrap_or("");
        let logs = [
            sandbox.syslog().lines().all().join("\n"),
            sshd.log().all().join("\n"),
            fs::read_to_string(EVENTS).unwrap(),
            environment.to_owned(),
        ];
        for secret in [&ticket, &key_on(&page), &recovery, "otpauth:"] {
            assert!(logs.iter().all(|log| !log.contains(secret)), "{level}: {secret} in {logs:#?}");
        }
    }
}

#[test]
fn without_an_enrollment_people_get_in_as_often_as_the_rule_says_and_are_told() {
    let sandbox = Sandbox::new();
    sandbox.policy(&format!("{ENROLL}grace_logins = 2\nenroll_by = 2099-01-31\n"));
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    for left in ["without one 1 more time, until 2099-0", "This was the last login without one."] {
        let client = Client::new(&sandbox, "alice").with_key().option("RequestTTY=force");
        let mut terminal = Terminal::start(&mut client.command(""));
        terminal.wait_for("Enrollment ticket, from your administrator (Enter: later): ");
        terminal.type_line("");
        terminal.wait_for(left);
        terminal.type_line("exit");
        assert!(terminal.end().0.success());
    }
    let session = Client::new(&sandbox, "alice").with_key().option("NumberOfPasswordPrompts=1").run(&["000000"], "id");
    assert!(!session.success);
    assert_eq!(session.prompts(), [format!("(alice@127.0.0.1) {TICKET}")]);
    assert_eq!(sandbox.reasons(), ["grace", "grace", "not_enrolled"]);
}
