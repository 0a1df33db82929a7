use std::collections::HashMap;

use super::edit::{self, Factor};
use super::judge::{First, judge};
use super::*;
use crate::finding::Severity;

/// Files of a machine, and the modules it lacks.
#[derive(Default)]
pub struct Machine {
    files: HashMap<String, String>,
    lacks: Vec<&'static str>,
}

impl Files for Machine {
    fn read(&self, name: &str) -> Option<String> {
        self.files.get(name.strip_prefix("/etc/pam.d/").unwrap_or(name)).cloned()
    }

    fn has_module(&self, name: &str) -> bool {
        !self.lacks.contains(&name)
    }

    fn is_usual(&self, path: &str) -> bool {
        path.starts_with("/lib/security/")
    }
}

const COMMON_AUTH: &str = "auth\t[success=1 default=ignore]\tpam_unix.so nullok\n# here's the fallback\n\
                           auth\trequisite\t\t\tpam_deny.so\nauth\trequired\t\t\tpam_permit.so\n\
                           auth\toptional\t\t\tpam_cap.so \n";
const SYSTEM_AUTH: &str = "auth required pam_env.so\nauth required pam_faildelay.so delay=2000000\n\
    auth [default=1 ignore=ignore success=ok] pam_usertype.so isregular\n\
    auth [default=1 ignore=ignore success=ok] pam_localuser.so\nauth sufficient pam_unix.so nullok\n\
    auth [default=1 ignore=ignore success=ok] pam_usertype.so isregular\n\
    auth sufficient pam_sss.so forward_pass\nauth required pam_deny.so\naccount required pam_unix.so\n";
const DEBIAN_SSHD: &str =
    "# PAM configuration\n\n@include common-auth\naccount    required     pam_nologin.so\n@include common-account\n";
const FEDORA_SSHD: &str = "auth substack password-auth\nauth include postlogin\naccount required pam_sepermit.so\n";

fn machine(files: &[(&str, &str)]) -> Machine {
    let common = [
        ("common-auth", COMMON_AUTH),
        ("common-account", "account required pam_unix.so\n"),
        ("password-auth", SYSTEM_AUTH),
        ("system-auth", SYSTEM_AUTH),
        ("postlogin", "session optional pam_umask.so silent\n"),
    ];
    let all = common.iter().chain(files).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Machine { files: all.collect(), ..Machine::default() }
}

fn checks_of(machine: &Machine, service: &str, first: First) -> Vec<(Severity, &'static str)> {
    judge(service, machine, first).into_iter().map(|finding| (finding.severity, finding.check)).collect()
}

fn checks(text: &str) -> Vec<(Severity, &'static str)> {
    checks_of(&machine(&[("try", text)]), "try", First::Stack)
}

const ERROR: Severity = Severity::Error;
const WARNING: Severity = Severity::Warning;
const NOTICE: Severity = Severity::Notice;

#[test]
fn a_code_after_the_first_factor_is_good_however_the_file_is_built() {
    let good = [
        "@include common-auth\nauth required pam_qrtotp.so\n",
        "auth include common-auth\nauth requisite pam_qrtotp.so\n",
        "auth substack password-auth\nauth required pam_qrtotp.so\nauth include postlogin\n",
        "auth requisite pam_unix.so\nauth required pam_qrtotp.so\nauth optional pam_group.so\n",
        "auth requisite \\\n  pam_unix.so nullok # a comment\nAUTH REQUIRED pam_qrtotp.so\n",
        "auth required /lib/security/pam_unix.so\nauth required /lib/security/pam_qrtotp.so\n",
    ];
    good.into_iter().for_each(|text| assert_eq!(checks(text), [], "{text}"));
}

#[test]
fn what_ends_the_stack_before_the_code_is_named() {
    let bypass = [
        "auth sufficient pam_unix.so\nauth required pam_qrtotp.so\n",
        "auth include system-auth\nauth required pam_qrtotp.so\n",
        "auth [success=2 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_qrtotp.so\nauth required pam_permit.so\n",
        "auth [success=done default=die] pam_sss.so\nauth required pam_qrtotp.so\n",
        "auth sufficient pam_env.so\nauth required pam_qrtotp.so\n",
    ];
    for text in bypass {
        assert!(checks(text).contains(&(ERROR, "pam-bypass")), "{text}: {:?}", checks(text));
    }
    let found = judge("try", &machine(&[("try", bypass[1])]), First::Stack);
    let place = found.iter().find(|finding| finding.check == "pam-bypass").map(|finding| finding.place.as_str());
    assert_eq!(place, Some("/etc/pam.d/system-auth:5"));
}

#[test]
fn a_verdict_that_does_not_count_is_an_error() {
    let unheeded = [
        "auth requisite pam_unix.so\nauth optional pam_qrtotp.so\n",
        "auth requisite pam_unix.so\nauth sufficient pam_qrtotp.so\nauth required pam_permit.so\n",
        "auth requisite pam_unix.so\nauth [success=ok default=ignore] pam_qrtotp.so\n",
        "auth requisite pam_unix.so\nauth [success=ok auth_err=die default=ignore] pam_qrtotp.so\n",
    ];
    for text in unheeded {
        assert!(checks(text).contains(&(ERROR, "pam-unheeded")), "{text}: {:?}", checks(text));
    }
}

#[test]
fn a_code_alone_is_an_error_unless_the_host_has_looked_at_a_key() {
    let text = "auth required pam_qrtotp.so\n";
    assert_eq!(checks(text), [(ERROR, "pam-first-factor")]);
    assert_eq!(checks_of(&machine(&[("sshd", text)]), "sshd", First::Host), []);
    assert_eq!(
        checks("auth sufficient pam_unix.so\nauth sufficient pam_qrtotp.so\n")[1..],
        [(ERROR, "pam-first-factor")]
    );
    let after = "auth requisite pam_qrtotp.so\nauth requisite pam_unix.so try_first_pass\n";
    assert_eq!(checks(after), [(NOTICE, "pam-order")]);
}

#[test]
fn whom_a_line_lets_by_is_told_by_what_it_looks_at() {
    let su = "auth sufficient pam_rootok.so\n@include common-auth\nauth required pam_qrtotp.so\n";
    assert_eq!(checks(su), [(NOTICE, "pam-root")]);
    let finger = "@include common-auth\nauth [success=1 default=ignore] pam_fprintd.so\nauth required pam_qrtotp.so\n";
    assert_eq!(checks(finger), [(NOTICE, "pam-other-factor")]);
    for always in ["pam_exec.so /bin/true", "pam_something.so"] {
        let text = format!("auth sufficient {always}\n@include common-auth\nauth required pam_qrtotp.so\n");
        assert!(checks(&text).contains(&(ERROR, "pam-bypass")), "{text}: {:?}", checks(&text));
    }
    let harmless = "auth [default=1 success=ok] pam_succeed_if.so uid >= 1000\nauth optional pam_env.so\n\
                    auth sufficient pam_unix.so\nauth required pam_qrtotp.so\n";
    assert!(
        checks(harmless).contains(&(ERROR, "pam-bypass")),
        "a condition does not excuse what follows it: {:?}",
        checks(harmless)
    );
    let two = "@include common-auth\nauth [success=2 default=ignore] pam_succeed_if.so user ingroup a\n\
               auth [success=1 default=ignore] pam_succeed_if.so user ingroup b\nauth required pam_qrtotp.so\n";
    assert_eq!(checks(two), [(WARNING, "pam-condition")]);
    let group = "@include common-auth\nauth [success=1 default=ignore] pam_succeed_if.so user ingroup nocode\n\
                 auth required pam_qrtotp.so\n";
    assert_eq!(checks(group), [(WARNING, "pam-condition")]);
}

#[test]
fn two_lines_in_one_stack_ask_twice() {
    let twice = "@include common-auth\nauth required pam_qrtotp.so\nauth required pam_qrtotp.so\n";
    assert_eq!(checks(twice), [(ERROR, "pam-twice")]);
    let some = "@include common-auth\nauth [success=1 default=ignore] pam_succeed_if.so uid = 0\n\
                auth required pam_qrtotp.so\nauth required pam_qrtotp.so\n";
    assert_eq!(checks(some), [(WARNING, "pam-twice")]);
}

#[test]
fn where_nobody_gets_in_any_more_it_says_so() {
    let denied = "@include common-auth\nauth required pam_qrtotp.so\nauth required pam_deny.so\n";
    assert_eq!(checks(denied), [(ERROR, "pam-nobody")]);
    let mut lacking = machine(&[("try", "@include common-auth\nauth required pam_qrtotp.so\n")]);
    lacking.lacks.push("pam_qrtotp.so");
    assert_eq!(checks_of(&lacking, "try", First::Stack), [(ERROR, "pam-module"), (ERROR, "pam-nobody")]);
    let broken = "@include common-auth\nauht required pam_env.so\nauth required pam_qrtotp.so\n";
    assert_eq!(checks(broken), [(ERROR, "pam-line"), (ERROR, "pam-nobody")]);
    assert_eq!(checks("@include nothing\nauth required pam_qrtotp.so\n")[0], (ERROR, "pam-line"));
    let endless = machine(&[("try", "@include try\nauth required pam_qrtotp.so\n")]);
    assert!(checks_of(&endless, "try", First::Stack).contains(&(ERROR, "pam-line")));
    assert_eq!(checks("auth required pam_qrtotp.so \\\n"), [(ERROR, "pam-file")]);
    let misspelled = "@include common-auth\nauth requierd pam_env.so\nauth required pam_qrtotp.so\n";
    assert_eq!(checks(misspelled), [(ERROR, "pam-line"), (ERROR, "pam-nobody")]);
    let lost = "auth optional pam_gone.so\nauth requisite pam_unix.so\nauth required pam_lost.so\nauth required pam_qrtotp.so\n";
    let mut other = machine(&[("try", lost)]);
    other.lacks.extend(["pam_gone.so", "pam_lost.so"]);
    assert_eq!(checks_of(&other, "try", First::Stack), [(ERROR, "pam-missing"), (ERROR, "pam-nobody")]);
    let crlf = "auth requisite pam_unix.so\r\nauth required pam_qrtotp.so\r\n";
    assert!(checks(crlf).contains(&(ERROR, "pam-nobody")), "{:?}", checks(crlf));
    let twice = machine(&[("try", "@include try\n@include try\nauth required pam_qrtotp.so\n")]);
    assert!(checks_of(&twice, "try", First::Stack).contains(&(ERROR, "pam-line")));
    let elsewhere = "auth requisite pam_unix.so\nauth required /mnt/pam_qrtotp.so\n";
    assert_eq!(checks(elsewhere), [(WARNING, "pam-place")]);
}

#[test]
fn a_module_that_is_missing_elsewhere_answers_as_libpam_says_for_it() {
    let text = "@include common-auth\n-auth optional pam_u2f.so\nauth required pam_qrtotp.so\n";
    let mut lacking = machine(&[("try", text)]);
    lacking.lacks.push("pam_u2f.so");
    assert_eq!(checks_of(&lacking, "try", First::Stack), []);
}

#[test]
fn the_line_lands_after_the_password_and_comes_out_again_without_a_trace() {
    let line = "auth required pam_qrtotp.so";
    for (service, text, factor, first) in [
        (
            "sudo",
            "session required pam_limits.so\n@include common-auth\n@include common-account",
            Factor::Password,
            First::Stack,
        ),
        (
            "su",
            "auth sufficient pam_rootok.so\nsession required pam_env.so\n@include common-auth\n",
            Factor::Password,
            First::Stack,
        ),
        ("sshd", FEDORA_SSHD, Factor::Password, First::Stack),
        ("sshd", DEBIAN_SSHD, Factor::Password, First::Stack),
        ("sshd", DEBIAN_SSHD, Factor::Key, First::Host),
        ("sshd", FEDORA_SSHD, Factor::Key, First::Host),
    ] {
        let before = machine(&[(service, text)]);
        let changed = edit::with_module(service, &before, factor, line).unwrap();
        let after = machine(&[(service, &changed)]);
        let found = checks_of(&after, service, first);
        assert!(found.iter().all(|(severity, _)| *severity == NOTICE), "{changed}\n{found:?}");
        assert!(judge::asks(service, &after) && !judge::asks(service, &before));
        assert_eq!(edit::without_module(&changed).unwrap().as_deref().map(str::trim_end), Some(text.trim_end()));
        let again = edit::with_module(service, &after, factor, line).unwrap_err();
        assert!(again.contains("asks for a code already"), "{again}");
    }
}

#[test]
fn a_key_takes_the_place_of_the_password_and_of_nothing_else() {
    let text = "auth required pam_sepermit.so\n@include common-auth\nauth optional pam_group.so\n";
    let changed =
        edit::with_module("sshd", &machine(&[("sshd", text)]), Factor::Key, "auth required pam_qrtotp.so").unwrap();
    let expected = "auth required pam_sepermit.so\n# qrtotp begin: `qrtotp disable sshd` takes this out again\n\
                    #qrtotp# @include common-auth\nauth required pam_qrtotp.so\n# qrtotp end\nauth optional pam_group.so\n";
    assert_eq!(changed, expected);
}

#[test]
fn there_is_no_place_where_no_password_is_asked_or_where_more_hangs_on_the_line() {
    let line = "auth required pam_qrtotp.so";
    let refused = |text, factor| edit::with_module("try", &machine(&[("try", text)]), factor, line).unwrap_err();
    assert!(refused("auth required pam_permit.so\n", Factor::Password).contains("no first factor"));
    assert!(refused("account required pam_permit.so\n", Factor::Password).contains("no lines of type auth"));
    assert!(refused("@include system-auth\n", Factor::Key).contains("other types"));
    assert!(edit::with_module("none", &machine(&[]), Factor::Key, line).unwrap_err().contains("no file"));
    let torn = "# qrtotp begin: x\nauth required pam_qrtotp.so\n";
    assert!(edit::without_module(torn).unwrap_err().contains("line 1"));
    assert_eq!(edit::without_module("auth required pam_qrtotp.so\n"), Ok(None));
}

#[test]
fn words_and_controls_are_read_as_libpam_reads_them() {
    let odd =
        machine(&[("try", "auth [ success = 2 new_authtok_reqd=ok  default=die ] pam_x.so a [b c\\] d] e # f\n")]);
    let stack = Stack::read("try", &odd).unwrap();
    let step = &stack.steps[0];
    assert_eq!((step.actions[0], step.actions[12], step.actions[7]), (Action::Jump(2), Action::Ok, Action::Die));
    assert_eq!(step.arguments, ["a", "b c] d", "e"]);
    for broken in ["[success=0]", "[success]", "[sucess=ok]", "[success=fine]", "requierd"] {
        let odd = machine(&[("try", &format!("auth {broken} pam_x.so\n"))]);
        assert_eq!(Stack::read("try", &odd).unwrap().steps[0].actions, [Action::Bad; 32], "{broken}");
    }
}
