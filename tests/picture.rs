//! The picture as it stands on a screen: drawn by the command at the far end of a real ssh, shown by a real terminal program,
//! photographed and read by two independent readers.

use qrtotp_tests::camera::Picture;
use qrtotp_tests::phone::{Phone, seconds_now};
use qrtotp_tests::sandbox::{HOST, Sandbox};
use qrtotp_tests::script::{Script, code};
use qrtotp_tests::ssh::{Client, Sshd};
use qrtotp_tests::tmux::Tmux;

const QUESTION: &str = "Code from the app: ";

/// Lets root in by key alone, to administer.
fn administered(sandbox: &Sandbox) -> Sshd {
    sandbox.service(
        "sshd",
        "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
    );
    Sshd::start(sandbox, "PermitRootLogin yes\nAuthenticationMethods publickey\n")
}

/// A screen of a size, in a locale, on which root of the far end enrolls.
fn enrolling<'a>(sandbox: &'a Sandbox, rows: u16, columns: u16, locale: &'static str, options: &str) -> Tmux<'a> {
    let client = Client::new(sandbox, "root").with_key().locale(locale);
    let ssh = client.shell_command(&format!("qrtotp enroll {options}"));
    Tmux::start(sandbox, rows, columns, locale, &ssh)
}

/// Answers the questions of an enrollment; returns the code that confirmed it.
fn finish(tmux: &Tmux<'_>, phone: &Phone) -> String {
    let code = phone.code();
    tmux.type_line(&code);
    let rows = tmux.wait_for("Type one of them back: ");
    let is_code = |word: &&str| word.len() == 24 && word.split('-').all(|group| group.len() == 4);
    let recovery = rows.iter().flat_map(|row| row.split_whitespace()).find(is_code);
    tmux.type_line(recovery.expect("a recovery code on the screen"));
    tmux.wait_for("is enrolled");
    code
}

#[test]
fn over_ssh_at_80_by_24_the_picture_fits_is_read_by_two_cameras_and_its_codes_log_in() {
    let sandbox = Sandbox::new();
    let _sshd = administered(&sandbox);
    let tmux = enrolling(&sandbox, 24, 80, "C.UTF-8", "alice");
    let rows = tmux.wait_for(QUESTION);
    assert!(rows.iter().any(|row| row.contains('█')), "half blocks: {rows:#?}");
    let uri = Picture::of_rows(&rows).read(&sandbox);
    let begin = format!("otpauth://totp/{HOST}:alice?secret=");
    assert!(uri.starts_with(&begin) && uri.ends_with(&format!("&issuer={HOST}")), "{uri}");
    let phone = Phone::scanning(&uri);
    let key = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
    let shown: String = rows.iter().flat_map(|row| row.chars().filter(|cell| cell.is_ascii_alphanumeric())).collect();
    let shown_with_blanks = rows.join("\n");
    assert!(shown_with_blanks.contains(&format!("{} {}", &key[..4], &key[4..8])), "the key in groups: {shown}");
    phone.settle(10);
    let confirming = finish(&tmux, &phone);
    let tomorrow = seconds_now() + 86_400;
    let later = Script::login("alice").wall_moved(86_400).answering([phone.code_at(tomorrow)]);
    assert_eq!(sandbox.answer("alice", &confirming), code::AUTH_ERR, "the confirming code is spent");
    assert_eq!(sandbox.run(later).code(), code::SUCCESS);
    assert_eq!(sandbox.status("alice")["state"], "enrolled");
}

#[test]
fn in_the_c_locale_the_picture_is_plain_ascii_and_is_read() {
    let sandbox = Sandbox::new();
    let _sshd = administered(&sandbox);
    let tmux = enrolling(&sandbox, 60, 120, "C", "alice");
    let rows = tmux.wait_for(QUESTION);
    assert!(rows.iter().all(|row| row.is_ascii()), "{rows:#?}");
    let phone = Phone::scanning(&Picture::of_rows(&rows).read(&sandbox));
    finish(&tmux, &phone);
}

#[test]
fn a_picture_that_does_not_fit_says_so_and_the_key_can_be_typed_instead() {
    let sandbox = Sandbox::new();
    let _sshd = administered(&sandbox);
    let tmux = enrolling(&sandbox, 24, 80, "C", "alice");
    tmux.wait_for(QUESTION);
    let shown = tmux.history().join("\n");
    assert!(shown.contains("this terminal has 80 and 24"), "{shown}");
    let groups = shown.split_whitespace().filter(|word| {
        word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
    });
    let key: String = groups.collect();
    assert_eq!(key.len(), 32, "{shown}");
    finish(&tmux, &Phone::new(&key, Default::default()));
}

#[test]
fn a_picture_for_a_light_terminal_is_read_there() {
    let sandbox = Sandbox::new();
    let _sshd = administered(&sandbox);
    for (rows, columns, options) in [(24, 80, "alice --invert"), (60, 120, "bob --invert --qr ascii")] {
        let tmux = enrolling(&sandbox, rows, columns, "C.UTF-8", options);
        let rows = tmux.wait_for(QUESTION);
        let uri = Picture::of_rows(&rows).on_light().read(&sandbox);
        assert!(uri.starts_with("otpauth://totp/"), "{uri}");
    }
}

#[test]
fn a_picture_with_every_parameter_and_a_long_name_is_read() {
    let sandbox = Sandbox::new();
    let _sshd = administered(&sandbox);
    let names = "--issuer \"Ex. Müller & Söhne\" --account alice@example.org";
    let options = format!("alice --algorithm sha512 --digits 8 --period 60 {names}");
    let tmux = enrolling(&sandbox, 40, 100, "C.UTF-8", &options);
    let rows = tmux.wait_for(QUESTION);
    let uri = Picture::of_rows(&rows).read(&sandbox);
    for part in ["algorithm=SHA512", "digits=8", "period=60", "alice%40example.org", "issuer=Ex.%20M"] {
        assert!(uri.contains(part), "{part} in {uri}");
    }
    assert!(!uri.contains('+'), "{uri}");
}
