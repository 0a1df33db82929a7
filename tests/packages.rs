//! The packages on a whole machine: installed, upgraded, removed and purged, and logins after each of these.

use std::fs;

use qrtotp_tests::machine::{Machine, debs};
use qrtotp_tests::product::{Enrolled, security_folder};
use qrtotp_tests::script::code;
use qrtotp_tests::users::PASSWORD;
use serde_json::Value;

/// A service like those of a machine: password first, by what pam-auth-update wrote.
const SERVICE: &str = "@include common-auth\n@include common-account\n";

/// The version that debian/changelog and the RPM spec name: that of Cargo.toml.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-1");
/// A higher one.
const NEWER: &str = "99.0.0-1";

/// A machine with the packages at hand, and `SERVICE` as `door`.
fn machine() -> Machine {
    let packages = debs();
    let machine = Machine::new();
    machine.put("/tmp/debs", packages);
    machine.write("/etc/pam.d/door", SERVICE);
    machine
}

/// The paths of both packages, of a version.
fn both(machine: &Machine, version: &str) -> Vec<String> {
    let names = fs::read_dir(machine.path("/tmp/debs")).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names
        .filter(|name| name.contains(version) && name.ends_with(".deb"))
        .map(|name| format!("/tmp/debs/{name}"))
        .collect()
}

fn dpkg(machine: &Machine, act: &str, what: &[String]) -> String {
    machine.done("/usr/bin/dpkg", &[&["--force-unsafe-io".to_owned(), act.to_owned()], what].concat())
}

fn install(machine: &Machine, version: &str) -> String {
    let packages = both(machine, version);
    assert_eq!(packages.len(), 2, "{packages:?}");
    dpkg(machine, "--install", &packages)
}

/// The same packages with a higher version, by taking them apart and packing them again.
fn make_newer(machine: &Machine) {
    for package in both(machine, VERSION) {
        let newer = package.replace(VERSION, NEWER);
        let script = format!(
            "rm -rf /tmp/apart && dpkg-deb -R \"$0\" /tmp/apart && sed -i s/{VERSION}/{NEWER}/ /tmp/apart/DEBIAN/control && \
             dpkg-deb -Znone -b /tmp/apart \"$1\""
        );
        machine.done("/bin/sh", &["-c", &script, &package, &newer]);
    }
}

/// Whether a code is asked after the password, and a recovery code, which is used up, opens.
fn asks_for_a_code(machine: &Machine, who: &mut Enrolled) -> bool {
    let wrong = machine.login(&who.user, "door", &[PASSWORD, "000000"]);
    let code = who.recovery_codes.pop().expect("a recovery code");
    let right = machine.login(&who.user, "door", &[PASSWORD, &code]);
    wrong.code() == code::AUTH_ERR && right.code() == code::SUCCESS && right.last().prompts().len() == 2
}

/// Every path that has our name in it, but for the sources of the tests and what dpkg knows.
fn traces(machine: &Machine) -> Vec<String> {
    let found = machine.done(
        "/usr/bin/find",
        &["/etc", "/usr", "/lib", "/var", "/run", "-xdev", "-iname", "*qrtotp*", "-not", "-path", "/usr/local/*"],
    );
    found.lines().map(str::to_owned).collect()
}

#[test]
fn installing_changes_no_login_and_makes_state_and_policy_once() {
    let machine = machine();
    let before = traces(&machine);
    assert!(before.is_empty(), "{before:?}");
    let stack = machine.read("/etc/pam.d/common-auth");
    install(&machine, VERSION);
    assert_eq!(machine.read("/etc/pam.d/common-auth"), stack);
    assert!(machine.password_is_enough("alice", "door"));
    assert!(machine.read("/etc/qrtotp/config.toml").contains("[totp]"));
    assert_eq!(machine.read("/var/lib/qrtotp/.format"), "qrtotp 1\n");
    assert!(machine.read("/var/lib/pam/seen").lines().any(|line| line == "qrtotp"), "a profile that can be chosen");
    let wanted = "/etc/systemd/system/timers.target.wants/qrtotp-gc.timer";
    assert!(machine.has(wanted), "tidying up is on");
    let wanted = "/etc/systemd/system/multi-user.target.wants/qrtotp-guard.service";
    assert!(machine.has(wanted), "what nobody confirmed is taken back at a boot");
    assert!(!machine.has("/etc/systemd/system/multi-user.target.wants/qrtotp-watch.service"), "watching is not");
    let conffiles = machine.done("/usr/bin/dpkg-query", &["-W", "-f", "${Conffiles}", "qrtotp"]);
    for file in ["logrotate.d/qrtotp", "fail2ban/jail.d/qrtotp.conf", "shadow-maint/userdel-post.d/qrtotp"] {
        assert!(conffiles.contains(&format!("/etc/{file} ")), "{conffiles}");
    }
    assert!(!conffiles.contains("config.toml"), "no question at an upgrade because of the policy: {conffiles}");
    // What is lost is not made again behind everybody's back.
    fs::remove_dir_all(machine.path("/var/lib/qrtotp")).unwrap();
    make_newer(&machine);
    let said = install(&machine, NEWER);
    assert!(said.contains("/var/lib/qrtotp/.format is missing") && !machine.has("/var/lib/qrtotp"), "{said}");
}

#[test]
fn an_upgrade_keeps_profile_policy_and_enrollments() {
    let machine = machine();
    install(&machine, VERSION);
    let mut alice = machine.enroll("alice");
    machine.done("/usr/sbin/pam-auth-update", &["--enable", "qrtotp"]);
    assert!(!machine.password_is_enough("alice", "door"));
    assert!(asks_for_a_code(&machine, &mut alice));
    machine.write("/etc/qrtotp/config.toml", "[prompt]\ntext = \"Mine: \"\n");
    let stack = machine.read("/etc/pam.d/common-auth");
    make_newer(&machine);
    let said = install(&machine, NEWER);
    assert!(!said.contains("qrtotp: "), "{said}");
    assert_eq!(machine.read("/etc/pam.d/common-auth"), stack);
    assert!(asks_for_a_code(&machine, &mut alice));
    let asked = machine.login("alice", "door", &[PASSWORD, "000000"]);
    assert_eq!(asked.last().prompts().last(), Some(&"Mine: "));
    // Also where somebody's own file names the module: nothing is taken away by an upgrade.
    machine.write("/etc/pam.d/mine", "auth required pam_qrtotp.so\n");
    install(&machine, VERSION);
    assert!(asks_for_a_code(&machine, &mut alice));
}

#[test]
fn removal_switches_the_profile_off_and_keeps_what_is_secret_until_it_is_purged() {
    let machine = machine();
    let stack = machine.read("/etc/pam.d/common-auth");
    install(&machine, VERSION);
    let mut alice = machine.enroll("alice");
    machine.done("/usr/sbin/pam-auth-update", &["--enable", "qrtotp"]);
    let names = ["libpam-qrtotp".to_owned(), "qrtotp".to_owned()];
    dpkg(&machine, "--remove", &names);
    assert_eq!(machine.read("/etc/pam.d/common-auth"), stack);
    assert!(machine.password_is_enough("alice", "door"));
    assert!(machine.has("/var/lib/qrtotp/2001/credentials.toml") && machine.has("/etc/qrtotp/config.toml"));
    let files = traces(&machine);
    assert!(!files.iter().any(|path| path.contains("pam_qrtotp.so") || path == "/usr/sbin/qrtotp"), "{files:?}");
    // Here again: it was off, so it is off, and who was enrolled still is.
    install(&machine, VERSION);
    assert!(machine.password_is_enough("alice", "door"));
    machine.done("/usr/sbin/pam-auth-update", &["--enable", "qrtotp"]);
    assert!(asks_for_a_code(&machine, &mut alice));
    machine.write("/etc/qrtotp/config.toml", "[state]\ndir = \"/srv/keys\"\n");
    let said = dpkg(&machine, "--purge", &names);
    for folder in ["/var/lib/qrtotp", "/var/log/qrtotp", "/etc/qrtotp"] {
        assert!(said.contains(&format!("removing {folder} (")), "{folder}: {said}");
    }
    assert!(said.contains("kept, since only the policy named it:\n/srv/keys"), "{said}");
    assert_eq!(traces(&machine), [""; 0]);
    assert_eq!(machine.read("/etc/pam.d/common-auth"), stack);
    assert!(machine.password_is_enough("alice", "door"));
}

#[test]
fn the_module_is_not_removed_while_somebodys_own_file_names_it() {
    type Change = fn(&Machine);
    let by_hand: [(&str, Change); 3] = [
        ("/etc/pam.d/mine:1: auth required pam_qrtotp.so", |machine| {
            machine.write("/etc/pam.d/mine", "auth required pam_qrtotp.so debug\n");
        }),
        ("/etc/pam.d/common-auth:", |machine| {
            let text = machine.read("/etc/pam.d/common-auth");
            machine.write("/etc/pam.d/common-auth", text + "password optional pam_qrtotp.so # mine\n");
        }),
        // Not as pam-auth-update wrote it: it leaves the file alone, and so the line in it.
        ("/etc/pam.d/common-auth:", |machine| {
            let text = machine.read("/etc/pam.d/common-auth");
            let changed =
                text.replace("[success=1 default=ignore]\tpam_unix.so", "[success=1 default=die]\tpam_unix.so");
            assert_ne!(changed, text);
            machine.write("/etc/pam.d/common-auth", changed);
        }),
    ];
    for (named, change) in by_hand {
        let machine = machine();
        let stack = machine.read("/etc/pam.d/common-auth");
        install(&machine, VERSION);
        let mut alice = machine.enroll("alice");
        machine.done("/usr/sbin/pam-auth-update", &["--enable", "qrtotp"]);
        machine.write("/etc/pam.d/mine.dpkg-old", "auth required pam_qrtotp.so\n");
        machine.write("/etc/pam.d/other-service", "# auth required pam_qrtotp.so\n");
        change(&machine);
        let changed = machine.read("/etc/pam.d/common-auth");
        let ran = machine.run("/usr/bin/dpkg", &["--remove", "libpam-qrtotp", "qrtotp"]);
        assert!(
            ran.code != 0 && ran.stderr.contains("libpam-qrtotp is not removed") && ran.stderr.contains(named),
            "{ran:?}"
        );
        assert!(!ran.stderr.contains("dpkg-old") && !ran.stderr.contains("other-service"), "{ran:?}");
        assert_eq!(machine.read("/etc/pam.d/common-auth"), changed, "nothing is half done");
        let state =
            machine.done("/usr/bin/dpkg-query", &["-W", "-f", "${db:Status-Status} ", "libpam-qrtotp", "qrtotp"]);
        assert_eq!(state, "installed installed ", "both are here, and whole");
        assert!(asks_for_a_code(&machine, &mut alice));
        // As its message says.
        let _ = fs::remove_file(machine.path("/etc/pam.d/mine"));
        machine.write("/etc/pam.d/common-auth", &stack);
        dpkg(&machine, "--remove", &["libpam-qrtotp".to_owned(), "qrtotp".to_owned()]);
        assert!(machine.password_is_enough("alice", "door"));
    }
}

#[test]
fn what_was_kept_of_an_account_goes_with_it_and_nothing_else() {
    let machine = machine();
    install(&machine, VERSION);
    for user in ["alice", "bob", "dave"] {
        machine.enroll(user);
    }
    for user in ["carol", "mallory"] {
        assert_eq!(machine.qrtotp(&["ticket", "new", user]).code, 0);
    }
    // As where a name service is down: dave's account cannot be seen.
    for name in ["passwd", "shadow"] {
        let text = machine.read(&format!("/etc/{name}"));
        let left: String =
            text.lines().filter(|line| !line.starts_with("dave:")).map(|line| format!("{line}\n")).collect();
        machine.write(&format!("/etc/{name}"), left);
    }
    let kept = |path: &str| machine.has(&format!("/var/lib/qrtotp/{path}"));
    let ticket_of = |uid: u32| {
        fs::read_dir(machine.path(&format!("/var/lib/qrtotp/.tickets/{uid}")))
            .is_ok_and(|mut names| names.next().is_some())
    };
    machine.done("/usr/sbin/userdel", &["alice"]);
    assert!(!kept("2001") && kept("2002") && kept("2004"));
    machine.done("/usr/sbin/deluser", &["bob"]);
    assert!(!kept("2002") && kept("2004"));
    machine.done("/usr/sbin/userdel", &["carol"]);
    assert!(!ticket_of(2003) && ticket_of(2005) && kept("2004"));
    let events = machine.read("/var/log/qrtotp/events.jsonl");
    assert_eq!(events.matches("\"event\":\"collect\"").count(), 3, "{events}");
    // A hook whose package is gone keeps nobody from removing accounts.
    dpkg(&machine, "--remove", &["libpam-qrtotp".to_owned(), "qrtotp".to_owned()]);
    assert!(machine.has("/etc/shadow-maint/userdel-post.d/qrtotp"));
    assert_eq!(machine.done("/usr/sbin/userdel", &["mallory"]), "");
}

#[test]
fn lintian_has_nothing_to_say() {
    let machine = machine();
    let packages =
        [both(&machine, ".deb"), vec!["--allow-root".to_owned(), "--fail-on=error,warning".to_owned()]].concat();
    let said = machine.done("/usr/bin/lintian", &packages);
    assert_eq!(said, "");
}

/// The bill of materials against Cargo.lock, and against the files that were installed.
#[test]
fn the_bill_of_materials_names_what_is_linked_and_by_its_checksum() {
    let machine = machine();
    install(&machine, VERSION);
    let bill: Value = serde_json::from_str(&machine.read("/usr/share/doc/qrtotp/sbom.cdx.json")).unwrap();
    assert_eq!((bill["bomFormat"].as_str(), bill["specVersion"].as_str()), (Some("CycloneDX"), Some("1.5")));
    let lock = include_str!("../Cargo.lock");
    let components = bill["components"].as_array().unwrap();
    let mut named = Vec::new();
    for component in components {
        let [name, version] = ["name", "version"].map(|key| component[key].as_str().unwrap());
        assert!(
            component["licenses"][0]["expression"].as_str().is_some_and(|text| text != "NOASSERTION"),
            "{component}"
        );
        let hash = component["hashes"][0]["content"].as_str();
        if let Some(reference) = component["purl"].as_str().filter(|text| text.starts_with("pkg:cargo/")) {
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            let entry =
                lock.split("[[package]]").find(|part| part.contains(&entry)).unwrap_or_else(|| panic!("{reference}"));
            assert!(entry.contains(&format!("checksum = \"{}\"", hash.unwrap())), "{entry}");
        }
        named.push(name);
    }
    for there in ["libc", "sha2", "clap", "image", "std", "qrtotp-core"] {
        assert!(named.contains(&there), "{there} of {named:?}");
    }
    // Only for tests, only at build time, and another system's.
    for elsewhere in ["proptest", "serde_derive", "windows-sys", "qrtotp-tests"] {
        assert!(!named.contains(&elsewhere), "{elsewhere}");
    }
    let into = |file: &str| {
        let list = bill["dependencies"].as_array().unwrap();
        let found = list.iter().find(|entry| entry["ref"] == *format!("file:{file}")).unwrap();
        found["dependsOn"].to_string()
    };
    assert!(into("qrtotp").contains("cargo/clap@") && !into("libpam_qrtotp.so").contains("cargo/clap@"));
    for (file, path) in
        [("qrtotp", "/usr/sbin/qrtotp"), ("libpam_qrtotp.so", &format!("{}/pam_qrtotp.so", security_folder()))]
    {
        let sum = machine.done("/usr/bin/sha256sum", &[path]);
        let listed = components.iter().any(|component| {
            component["bom-ref"] == *format!("file:{file}")
                && sum.starts_with(component["hashes"][0]["content"].as_str().unwrap())
        });
        assert!(listed, "{sum}");
    }
    let notices = machine.done("/bin/zcat", &["/usr/share/doc/qrtotp/third-party-notices.txt.gz"]);
    assert!(
        notices.contains("subtle 2.") && notices.contains("Redistribution and use in source and binary forms"),
        "{notices}"
    );
}

#[test]
fn by_hand_the_same_files_are_installed_and_all_of_them_taken_out_again() {
    let packages = debs();
    let machine = Machine::new();
    machine.put("/tmp/debs", packages);
    machine.put_sources("/tmp/source");
    machine.put_built("/tmp/source/target/release");
    let before = machine.done("/usr/bin/find", &["/etc", "/usr", "/lib", "/var", "-xdev"]);
    let installer = "/tmp/source/packaging/install.sh";
    machine.done(installer, &[""; 0]);
    let by_hand = traces(&machine);
    machine.write("/etc/pam.d/mine", "auth required pam_qrtotp.so\n");
    let refused = machine.run(installer, &["--uninstall"]);
    assert!(refused.code == 1 && refused.stderr.contains("/etc/pam.d/mine:1"), "{refused:?}");
    assert_eq!(traces(&machine), by_hand);
    fs::remove_file(machine.path("/etc/pam.d/mine")).unwrap();
    machine.done(installer, &["--uninstall"]);
    machine.done("/bin/rm", &["-r", "/etc/qrtotp", "/var/lib/qrtotp", "/var/log/qrtotp"]);
    let after = machine.done("/usr/bin/find", &["/etc", "/usr", "/lib", "/var", "-xdev"]);
    assert!(after == before, "left over or gone: {:?}", difference(&before, &after));
    // The packages bring the same, but for what is a package's own.
    install(&machine, VERSION);
    let own = |path: &String| {
        path.contains("/var/lib/dpkg/") || path.contains("/lintian/") || path.contains("/systemd/deb-systemd")
    };
    let mut packed = traces(&machine);
    packed.retain(|path| {
        !own(path) && !path.contains(".target.wants/") && !path.contains("/usr/share/doc/libpam-qrtotp")
    });
    assert_eq!(names(&packed), names(&by_hand));
    let refused = machine.run(installer, &[""; 0]);
    assert!(refused.code == 1 && refused.stderr.contains("a package of this machine owns"), "{refused:?}");
}

/// Paths without what Debian does to them.
fn names(paths: &[String]) -> Vec<String> {
    let name = |path: &String| path.trim_start_matches("/usr").trim_end_matches(".gz").to_owned();
    let mut names: Vec<_> = paths.iter().map(name).collect();
    names.sort();
    names.dedup();
    names
}

fn difference(one: &str, other: &str) -> Vec<String> {
    let only = |a: &str, b: &str| {
        a.lines().filter(|line| !b.lines().any(|other| other == *line)).map(str::to_owned).collect::<Vec<_>>()
    };
    [only(one, other), only(other, one)].concat()
}

/// A folder with what was built, for builds of packages inside of a machine, where there is no cargo.
fn put_everything_built(machine: &Machine) -> &'static str {
    let script = "for package in /tmp/debs/*.deb; do dpkg-deb -x \"$package\" /tmp/unpacked; done; mkdir /tmp/built && cd /tmp/unpacked && \
                  cp usr/lib/*/security/pam_qrtotp.so /tmp/built/libpam_qrtotp.so && cp usr/sbin/qrtotp usr/share/doc/qrtotp/sbom.cdx.json \
                  /tmp/built && zcat usr/share/doc/qrtotp/third-party-notices.txt.gz > /tmp/built/third-party-notices.txt";
    machine.done("/bin/sh", &["-ec", script]);
    "/tmp/built"
}

#[test]
fn the_rpm_spec_builds_and_its_packages_come_and_go_like_debians() {
    let machine = machine();
    machine.put_sources("/tmp/source");
    let built = put_everything_built(&machine);
    let mut build = machine.command("/usr/bin/rpmbuild");
    build.env("QRTOTP_BUILT", built).args(["-bb", "--nodeps", "--define", "_topdir /tmp/rpm"]);
    build.args(["--define", "qrtotp_tree /tmp/source", "/tmp/source/packaging/rpm/qrtotp.spec"]);
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list =
        |name: &str| machine.done("/bin/sh", &["-c", &format!("rpm -qpl /tmp/rpm/RPMS/*/{name}-{VERSION}*.rpm")]);
    let module = list("pam_qrtotp");
    assert!(
        module.contains("/security/pam_qrtotp.so") && module.contains("/usr/libexec/qrtotp/named-in-pam"),
        "{module}"
    );
    let command = list("qrtotp");
    for file in ["/usr/sbin/qrtotp", "/usr/lib/systemd/system/qrtotp-gc.timer", "/usr/share/doc/qrtotp/sbom.cdx.json"] {
        assert!(command.lines().any(|line| line == file), "{file}: {command}");
    }
    assert!(!command.contains("pam-configs") && !command.contains("pam_qrtotp.so"), "{command}");
    assert_eq!(list("qrtotp-selinux"), "/usr/share/selinux/packages/qrtotp.pp\n");
    let rpm = |words: &str| machine.run("/bin/sh", &["-c", &format!("rpm --force-debian --nodeps {words}")]);
    let installed = rpm(&format!("-i /tmp/rpm/RPMS/*/*qrtotp-{VERSION}*.rpm"));
    assert!(installed.code == 0 && machine.has("/var/lib/qrtotp/.format"), "{installed:?}");
    assert!(machine.read("/etc/qrtotp/config.toml").contains("[totp]"));
    assert!(machine.enroll("alice").recovery_codes.len() == 10);
    machine.write("/etc/pam.d/mine", "auth required pam_qrtotp.so\n");
    let refused = rpm("-e pam_qrtotp");
    assert!(refused.code != 0 && refused.stderr.contains("/etc/pam.d/mine:1: auth"), "{refused:?}");
    machine.done("/usr/bin/rpm", &["--query", "pam_qrtotp"]);
    fs::remove_file(machine.path("/etc/pam.d/mine")).unwrap();
    let removed = rpm("-e pam_qrtotp qrtotp");
    assert!(removed.code == 0 && removed.stdout.contains("kept: /etc/qrtotp"), "{removed:?}");
    assert!(machine.has("/var/lib/qrtotp/2001/journal") && machine.has("/etc/qrtotp/config.toml"));
    assert!(!machine.has("/usr/sbin/qrtotp") && !machine.has("/usr/libexec/qrtotp"));
}

#[test]
fn the_selinux_module_compiles_and_gives_the_login_domains_the_state() {
    let machine = Machine::new();
    machine.put_sources("/tmp/source");
    let script = "cp -r /tmp/source/packaging/selinux /tmp/selinux && cd /tmp/selinux && \
                  make -f /usr/share/selinux/devel/Makefile qrtotp.pp && /usr/libexec/selinux/hll/pp qrtotp.pp > qrtotp.cil";
    machine.done("/bin/sh", &["-ec", script]);
    let rules = machine.read("/tmp/selinux/qrtotp.cil");
    for domain in ["sshd_t", "local_login_t", "sudodomain", "sysadm_su_t"] {
        let file = rules.lines().find(|line| line.contains(&format!("(allow {domain} qrtotp_var_lib_t (file (")));
        assert!(file.is_some_and(|line| line.contains(" append ") && line.contains(" create ")), "{domain}: {file:?}");
    }
    assert!(rules.contains("(filecon \"/var/lib/qrtotp(/.*)?\" any (system_u object_r qrtotp_var_lib_t"), "labels");
}

#[test]
fn the_apparmor_abstraction_is_sound_in_the_profile_of_a_host() {
    let machine = machine();
    install(&machine, VERSION);
    let profile = "abi <abi/3.0>,\ninclude <tunables/global>\nprofile host /usr/local/sbin/host {\n  include <abstractions/base>\n  \
                   include <abstractions/authentication>\n  include <abstractions/nameservice>\n  include <abstractions/qrtotp>\n}\n";
    machine.write("/etc/apparmor.d/host", profile);
    machine.done("/usr/sbin/apparmor_parser", &["-Q", "-K", "-T", "/etc/apparmor.d/host"]);
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    let machine = machine();
    install(&machine, VERSION);
    let folder = if machine.has("/lib/systemd/system/qrtotp-gc.timer") { "/lib" } else { "/usr/lib" };
    for unit in ["qrtotp-watch.service", "qrtotp-gc.service", "qrtotp-gc.timer", "qrtotp-guard.service"] {
        let said = machine
            .done("/usr/bin/systemd-analyze", &["verify", "--man=no", &format!("{folder}/systemd/system/{unit}")]);
        assert!(!said.contains("qrtotp"), "{said}");
    }
    // Exits with an error where the exposure is above 4.0 of 10.
    machine.done(
        "/usr/bin/systemd-analyze",
        &["security", "--offline=true", "--threshold=40", "--no-pager", "qrtotp-gc.service"],
    );
    machine.done("/usr/bin/systemd-tmpfiles", &["--create", "/usr/lib/tmpfiles.d/qrtotp.conf"]);
    assert!(machine.has("/run/qrtotp") && machine.has("/var/log/qrtotp"));
}
