//! The report: one page, looked at in a real browser.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use qrtotp_tests::browser::{Window, look};
use qrtotp_tests::mmdb::countries;
use qrtotp_tests::product::EVENTS;
use qrtotp_tests::sandbox::{SCRATCH, Sandbox};
use qrtotp_tests::script::Script;

const PAGE: &str = "/var/log/report.html";

/// A month of a small organisation, up to now.
fn month() -> String {
    let mut text = String::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let people = ["alice", "bob", "carol", "dave", "mallory"];
    let sources = ["192.0.2.7", "198.51.100.23", "2001:db8::12", "203.0.113.9", "local:2001"];
    for step in 0..900_u64 {
        let noise = step.wrapping_mul(2_654_435_761) >> 7;
        let time = now - (900 - step) * 2800 - noise % 1500;
        let (user, source) = (people[(noise % 5) as usize], sources[(noise / 5 % 5) as usize]);
        let (result, reason, offset) = match noise % 23 {
            0 | 1 => ("failure", "wrong", 0),
            2 => ("failure", "replayed", 0),
            3 => ("failure", "late", -2),
            4 => ("failure", "second_code", 0),
            _ => ("success", "code", -i64::from(noise % 9 == 0)),
        };
        let service = ["sshd", "sudo", "sshd", "login"][(noise % 4) as usize];
        text.push_str(&format!(
            r#"{{"time":"{}","id":"{step:016x}","host":"gate{}","event":"login","service":"{service}","user":"{user}","uid":{},"source":"{source}","result":"{result}","reason":"{reason}","factor":"totp","device":"0000000{}","offset":{offset},"duration_us":900}}{}"#,
            qrtotp_core::words::WallTime(time * 1000),
            noise % 2 + 1,
            2001 + noise % 5,
            noise % 5,
            "\n"
        ));
    }
    text
}

fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(
        "/etc/qrtotp/countries.mmdb",
        countries(&[("192.0.2.0", 24, "DE"), ("198.51.100.0", 24, "FR"), ("2001:db8::", 32, "AT")]),
    )
    .unwrap();
    sandbox.policy(
        "[geo]\ndatabase = \"/etc/qrtotp/countries.mmdb\"\n[[rule]]\nusers = [\"backup\"]\nuntil = 2020-01-01\naction = \"allow\"\n[[rule]]\naction = \"enroll\"\n",
    );
    fs::create_dir_all(Path::new(EVENTS).parent().unwrap()).unwrap();
    fs::write(EVENTS, month()).unwrap();
    for user in ["alice", "bob", "carol"] {
        sandbox.enroll(user);
    }
    sandbox.ticket("dave", &["--ttl", "2d"]);
    sandbox
}

/// For a person to look at: `QRTOTP_PICTURES=FOLDER`.
fn keep(picture: &Path, name: &str) {
    if let Some(folder) = std::env::var_os("QRTOTP_PICTURES") {
        fs::copy(picture, Path::new(&folder).join(name)).unwrap();
    }
}

#[test]
fn the_page_opens_in_a_browser_wide_and_narrow_light_and_dark_without_a_complaint() {
    let sandbox = filled();
    let ran = sandbox.qrtotp(&["report", "--html", PAGE]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(fs::metadata(PAGE).unwrap().mode() & 0o7777, 0o600);
    let page = fs::read_to_string(PAGE).unwrap();
    assert!(
        !page.contains("<script") && !page.contains("http://") && !page.contains("https://"),
        "nothing from elsewhere"
    );
    for (width, height, dark) in [(1280, 2600, false), (1280, 2600, true), (400, 6000, false), (400, 6000, true)] {
        let name = format!("report-{width}-{}", if dark { "dark" } else { "light" });
        let view = look(&page, SCRATCH, &name, Window { width, height, dark });
        assert_eq!(view.console, Vec::<String>::new());
        assert!(view.width() <= width, "{} pixels wide in a window of {width}", view.width());
        keep(&view.picture, &format!("{name}.png"));
    }
}

#[test]
fn the_page_tells_what_the_issue_is_about() {
    let sandbox = filled();
    assert_eq!(sandbox.qrtotp(&["report", "--html", PAGE, "--since", "30d"]).code, 0);
    let page = fs::read_to_string(PAGE).unwrap();
    for what in [
        "3 of ",
        "Logins over time",
        "By service",
        "By source",
        "By country",
        "<td>FR",
        "By hour of the day",
        "Replays",
        "Exhausted budgets",
        "Users without recovery codes",
        "Devices unused for 90 days",
        "until over",
        "Open tickets",
        "<td>dave</td>",
        "gate1",
        "role=\"img\"",
        "<title>",
        "<desc>",
        "lang=\"en\"",
        "Not enrolled, with a shell",
    ] {
        assert!(page.contains(what), "{what}");
    }
}

#[test]
fn what_others_wrote_is_no_markup_and_an_empty_trail_says_so() {
    let sandbox = Sandbox::new();
    sandbox.qrtotp(&["report", "--html", PAGE]);
    assert!(fs::read_to_string(PAGE).unwrap().contains("There are no events of this time."));
    let alice = sandbox.enroll("alice");
    sandbox
        .run(Script::login("alice").from("<script>alert(1)</script>").at("code").answering([alice.phone.wrong_code()]));
    let again = sandbox.qrtotp(&["report", "--html", PAGE]);
    assert!(again.code == 6 && again.stderr.contains("is there already"), "{again:?}");
    assert_eq!(sandbox.qrtotp(&["report", "--html", PAGE, "--force"]).code, 0);
    let page = fs::read_to_string(PAGE).unwrap();
    let view = look(&page, SCRATCH, "hostile", Window { width: 800, height: 800, dark: false });
    assert!(!page.contains("<script") && view.console.is_empty(), "{:?}", view.console);
    fs::remove_file(PAGE).unwrap();
    symlink("/var/log/elsewhere", PAGE).unwrap();
    assert_eq!(sandbox.qrtotp(&["report", "--html", PAGE, "--force"]).code, 6, "a link is not followed");
}
