//! Pictures that an organisation prints: what they look like, who may read them, and that they can be read.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use image::{Rgba, RgbaImage};
use qrtotp_tests::browser::{Window, look};
use qrtotp_tests::sandbox::{SCRATCH, Sandbox};
use qrtotp_tests::terminal::Terminal;

/// What zbarimg reads in a file.
fn read(sandbox: &Sandbox, path: &str) -> String {
    sandbox.output_of("zbarimg", &["--quiet", "--raw", path]).trim_end().to_owned()
}

fn branded(sandbox: &Sandbox) {
    RgbaImage::from_fn(120, 120, |x, y| {
        let (x, y) = (i64::from(x) - 60, i64::from(y) - 60);
        if x * x + y * y < 3400 { Rgba([0, 102, 153, 255]) } else { Rgba([0, 0, 0, 0]) }
    })
    .save("/etc/qrtotp/logo.png")
    .unwrap();
    sandbox.policy(
        "[brand]\nissuer = \"Example & Sons\"\nlogo = \"/etc/qrtotp/logo.png\"\ndark = \"#003355\"\nlight = \"#fffdf5\"\n",
    );
}

fn pictures(what: &str) -> [String; 3] {
    ["png", "svg", "html"].map(|end| format!("{SCRATCH}/{what}.{end}"))
}

#[test]
fn a_png_an_svg_and_a_card_hold_the_key_in_the_brands_colours_and_only_root_reads_them() {
    let sandbox = Sandbox::new();
    branded(&sandbox);
    let [png, svg, card] = pictures("alice");
    let ran = sandbox.qrtotp(&[
        "enroll",
        "alice",
        "--unverified",
        "--json",
        "--png",
        &png,
        "--svg",
        &svg,
        "--card",
        &card,
        "--issuer",
        "Example",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let uri = ran.json()["uri"].as_str().unwrap().to_owned();
    assert_eq!(read(&sandbox, &png), uri);
    for path in [&png, &svg, &card] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o600, "{path}");
    }
    let page = fs::read_to_string(&card).unwrap();
    let key = ran.json()["key"].as_str().unwrap().to_owned();
    assert!(page.contains(&format!("<span>{}</span>", &key[..4])) && page.contains("Example &amp; Sons"), "{page}");
    for (name, window) in [("wide", 900), ("narrow", 400)] {
        let view = look(&page, SCRATCH, name, Window { width: window, height: 1000, dark: false });
        assert_eq!(
            (view.console.len(), read(&sandbox, view.picture.to_str().unwrap())),
            (0, uri.clone()),
            "{:?}",
            view.console
        );
        assert!(view.width() <= window, "{}", view.width());
        keep(&view.picture, &format!("card-{name}.png"));
    }
    let drawn =
        look(&fs::read_to_string(&svg).unwrap(), SCRATCH, "svg", Window { width: 600, height: 600, dark: false });
    assert_eq!(read(&sandbox, drawn.picture.to_str().unwrap()), uri);
    let events = fs::read_to_string("/var/log/qrtotp/events.jsonl").unwrap();
    assert!(
        events.contains(&format!("picture {png}, picture {svg}, picture {card}")) && !events.contains(&key),
        "{events}"
    );
}

/// For a person to look at: `QRTOTP_PICTURES=/tmp/pictures`.
fn keep(picture: &std::path::Path, name: &str) {
    if let Some(folder) = std::env::var_os("QRTOTP_PICTURES") {
        fs::copy(picture, std::path::Path::new(&folder).join(name)).unwrap();
    }
}

#[test]
fn pictures_are_named_by_status_until_they_are_gone() {
    let sandbox = Sandbox::new();
    let [png, ..] = pictures("bob");
    assert_eq!(sandbox.qrtotp(&["enroll", "bob", "--unverified", "--png", &png]).code, 0);
    let status = sandbox.qrtotp(&["status"]);
    assert!(status.stdout.contains(&format!("{png} still holds a key of bob")), "{status:?}");
    fs::remove_file(&png).unwrap();
    assert!(!sandbox.qrtotp(&["status"]).stdout.contains("still holds"));
    assert_eq!(sandbox.qrtotp(&["gc"]).code, 0);
    assert_eq!(fs::read_dir("/var/lib/qrtotp/.pictures").unwrap().count(), 0);
}

#[test]
fn nothing_is_overwritten_and_an_enrollment_that_fails_leaves_no_picture() {
    let sandbox = Sandbox::new();
    let [png, svg, card] = pictures("carol");
    fs::write(&svg, b"mine").unwrap();
    let ran = sandbox.qrtotp(&["enroll", "carol", "--unverified", "--png", &png, "--svg", &svg]);
    assert!(ran.code == 6 && ran.stderr.contains("is there already"), "{ran:?}");
    assert!(!fs::exists(&png).unwrap() && fs::read(&svg).unwrap() == b"mine");
    symlink(format!("{SCRATCH}/elsewhere"), &card).unwrap();
    assert_eq!(sandbox.qrtotp(&["enroll", "carol", "--unverified", "--card", &card]).code, 6);
    assert!(!fs::exists(format!("{SCRATCH}/elsewhere")).unwrap());
    let told = sandbox.qrtotp_told("000000\n", &["enroll", "carol", "--png", &png]);
    assert!(told.code == 1 && !fs::exists(&png).unwrap(), "{told:?}");
    assert_eq!(sandbox.qrtotp(&["status", "carol"]).code, 3, "nothing was stored");
    assert!(!sandbox.qrtotp(&["status"]).stdout.contains("still holds"));
}

#[test]
fn brand_check_measures_and_a_brand_that_cannot_be_read_is_refused_with_the_reason() {
    let sandbox = Sandbox::new();
    branded(&sandbox);
    let good = sandbox.qrtotp(&["brand", "check"]);
    assert!(good.code == 0 && good.stdout.contains("logo, at most 20 %") && !good.stdout.contains("NO"), "{good:?}");
    let [png, ..] = pictures("alice");
    let cases = [
        ("[brand]\ndark = \"#888888\"\n", "contrast of 3.54 to 1"),
        ("[brand]\ndark = \"#ffffff\"\nlight = \"#000000\"\n", "not darker"),
    ];
    for (policy, what) in cases {
        sandbox.policy(policy);
        let check = sandbox.qrtotp(&["brand", "check"]);
        assert!(check.code == 1 && check.stdout.contains("NO"), "{check:?}");
        let ran = sandbox.qrtotp(&["enroll", "alice", "--unverified", "--png", &png]);
        assert!(ran.code == 1 && ran.stderr.contains(what) && !fs::exists(&png).unwrap(), "{ran:?}");
    }
    sandbox.policy("[brand]\nlogo = \"/etc/passwd\"\n");
    let ran = sandbox.qrtotp(&["brand", "check"]);
    assert!(ran.code == 4 && ran.stderr.contains("is no PNG picture"), "{ran:?}");
}

#[test]
fn qr_test_shows_every_form_with_the_option_that_draws_it() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("/usr/local/sbin/qrtotp");
    let mut terminal = Terminal::sized(command.arg("qr-test").env("LC_ALL", "C.UTF-8"), 24, 80);
    terminal.wait_for("enroll USER --qr utf8");
    terminal.wait_for("Enter shows the next form");
    terminal.type_line("");
    terminal.wait_for("--qr utf8 --invert");
    terminal.type_line("q");
    let (status, text) = terminal.end();
    assert!(status.success() && !text.contains("otpauth"), "{text}");
    let piped = sandbox.qrtotp(&["qr-test", "--json"]).json();
    assert_eq!(piped["forms"].as_array().unwrap().len(), 4);
}
