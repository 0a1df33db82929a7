//! Completions, as bash, zsh and fish offer them.

use std::fs;

use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::tmux::Tmux;

const MADE: &str = "/tmp/made/completions";

/// What is typed; what must be offered, and what must not.
const OFFERS: [(&str, &[&str], &[&str]); 14] = [
    ("qrtotp ", &["enroll", "status", "policy", "check-picture"], &["generate", "read-picture", "list-them"]),
    ("qrtotp dev", &["device"], &["enroll"]),
    ("qrtotp device ", &["list", "rename", "disable", "enable", "remove"], &["enroll", "alice"]),
    ("qrtotp device rename ", &["alice", "bob"], &["remove"]),
    ("qrtotp --config /etc/x device re", &["rename", "remove"], &["revoke"]),
    ("qrtotp enroll --un", &["--unverified"], &["--label"]),
    ("qrtotp enroll --qr ", &["auto", "utf8", "ascii", "none"], &["alice", "--label"]),
    ("qrtotp enroll ali", &["alice"], &["bob"]),
    ("qrtotp enroll --label tablet ali", &["alice"], &[]),
    ("qrtotp ticket revoke ali", &["alice"], &[]),
    ("qrtotp policy explain alice --service s", &["sshd", "sudo"], &["login", "alice"]),
    ("qrtotp stats --by re", &["reason"], &["user"]),
    ("qrtotp scan /etc/pam", &["/etc/pam.d"], &[]),
    ("qrtotp watch --", &["--once", "--json"], &["--run-hook"]),
];

/// Lines that are completed by one Tab, and the words that come of it.
const TABS: [(&str, &str); 6] = [
    ("qrtotp dev\t", "device"),
    ("qrtotp device rem\t", "device remove"),
    ("qrtotp enroll --unv\t", "enroll --unverified"),
    ("qrtotp enroll --qr asc\t", "enroll --qr ascii"),
    ("qrtotp enroll ali\t", "enroll alice"),
    ("qrtotp policy explain --service ssh\t", "policy explain --service sshd"),
];

fn machine() -> Sandbox {
    let sandbox = Sandbox::new();
    let made = sandbox.qrtotp(&["generate", "/tmp/made"]);
    assert_eq!(made.code, 0, "{made:?}");
    for name in ["sshd", "sudo", "login"] {
        sandbox.service(name, "");
    }
    sandbox
}

fn check(typed: &str, offered: &str, wanted: &[&str], unwanted: &[&str]) {
    let words: Vec<_> = offered.lines().map(|line| line.split('\t').next().unwrap().trim_end_matches('/')).collect();
    wanted.iter().for_each(|word| assert!(words.contains(word), "{typed:?} offers {words:?}, and not {word}"));
    unwanted.iter().for_each(|word| assert!(!words.contains(word), "{typed:?} offers {word}: {words:?}"));
}

/// Asks bash's function as readline would.
const ASK_BASH: &str = r#"
. /tmp/made/completions/qrtotp
read -ra COMP_WORDS <<< "$1"
case $1 in *' ') COMP_WORDS+=('') ;; esac
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_qrtotp
[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_offers_subcommands_options_values_users_services_and_files_by_their_place() {
    let sandbox = machine();
    for (typed, wanted, unwanted) in OFFERS {
        let offered = sandbox.output_of("bash", &["-uc", ASK_BASH, "bash", typed]);
        check(typed, &offered, wanted, unwanted);
    }
}

#[test]
fn fish_offers_the_same() {
    let sandbox = machine();
    for (typed, wanted, unwanted) in OFFERS {
        let ask = format!("source {MADE}/qrtotp.fish; complete -C '{typed}'");
        check(typed, &sandbox.output_of("fish", &["--no-config", "-c", &ask]), wanted, unwanted);
    }
}

/// Types each line into a shell in which `qrtotp` only says what it was called with.
fn press_tab(shell: &str, start: &str) {
    let sandbox = machine();
    fs::write("/tmp/start", format!("{start}\nqrtotp() {{ echo \"called: $*.\"; }}\n")).unwrap();
    let tmux = Tmux::start(&sandbox, 40, 100, "C.UTF-8", shell);
    tmux.type_line(". /tmp/start; echo rea''dy");
    tmux.wait_for("ready");
    for (typed, words) in TABS {
        tmux.type_line(typed);
        // bash and zsh put a blank behind a word that is whole; the shell takes it away again.
        tmux.wait_for(&format!("called: {words}."));
    }
}

#[test]
fn bash_completes_at_a_terminal() {
    press_tab("bash --norc --noprofile -i", &format!(". {MADE}/qrtotp"));
}

#[test]
fn zsh_completes_at_a_terminal() {
    press_tab("zsh -f -i", &format!("fpath=({MADE} $fpath); autoload -Uz compinit; compinit -u -D"));
}
