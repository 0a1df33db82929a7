//! The role for Ansible, run against a whole machine by the real ansible-playbook.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use qrtotp_tests::machine::{Machine, debs};

/// A machine with sources and packages, and a play that runs the role with these variables.
fn machine(variables: &str) -> Machine {
    let packages = debs();
    let machine = Machine::new();
    machine.put("/tmp/debs", packages);
    machine.put_sources("/tmp/source");
    let indented: String = variables.lines().map(|line| format!("        {line}\n")).collect();
    let play = format!(
        "- hosts: all\n  connection: local\n  gather_facts: false\n  roles:\n    - role: qrtotp\n      vars:\n        \
         qrtotp_debs: \"{{{{ query('fileglob', '/tmp/debs/*.deb') }}}}\"\n{indented}"
    );
    machine.write("/tmp/source/packaging/ansible/play.yml", play);
    machine
}

/// What the plays of other tests need not do again.
const INSTALLED: [&str; 2] = ["-e", "{qrtotp_debs: []}"];

/// Runs the play; gives its output, and what was counted as changed.
fn play(machine: &Machine, more: &[&str]) -> (String, String) {
    let mut ansible = machine.command("/usr/bin/ansible-playbook");
    ansible.env("ANSIBLE_ROLES_PATH", "/tmp/source/packaging/ansible/roles").env("ANSIBLE_LOCALHOST_WARNING", "0");
    ansible.env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3").env("LC_ALL", "C.UTF-8");
    let output =
        ansible.args(["-i", "managed,", "/tmp/source/packaging/ansible/play.yml"]).args(more).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let changed = said.split("changed=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("none").to_owned();
    (said, changed)
}

#[test]
fn the_role_installs_writes_a_policy_invites_and_changes_nothing_when_it_runs_again() {
    let machine = machine(
        "qrtotp_policy: |\n  [[rule]]\n  action = \"enroll\"\n  enroll_by = 2099-01-31\n\
         qrtotp_users: [alice, bob, carol]\nqrtotp_ticket_ttl: 2d\nqrtotp_tickets_file: /tmp/tickets.csv\n",
    );
    let (said, _) = play(&machine, &[]);
    assert!(said.contains("failed=0") && machine.has("/usr/sbin/qrtotp"), "{said}");
    assert!(machine.read("/etc/qrtotp/config.toml").contains("enroll_by = 2099-01-31"));
    let tickets = machine.read("/tmp/tickets.csv");
    let lines: Vec<Vec<&str>> = tickets.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.iter().map(|line| line[1]).collect::<Vec<_>>(), ["alice", "bob", "carol"], "{tickets}");
    let mode = fs::metadata(machine.path("/tmp/tickets.csv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for line in &lines {
        assert!(line[0] == "managed" && !said.contains(line[2]), "a ticket is in no output: {said}");
    }
    // alice's is good: who types it is enrolled by the wizard; here it is enough that the module knows it.
    machine.write("/etc/pam.d/sshd", "auth required pam_qrtotp.so\n");
    let opened = machine.login("alice", "sshd", &[lines[0][2], "q"]);
    assert!(opened.last().prompts().len() == 2, "{opened:?}");
    machine.enroll("carol");
    // A service that asks already is not enabled again.
    let (said, changed) = play(&machine, &["-e", "{qrtotp_services: [sshd]}"]);
    assert!(said.contains("failed=0") && changed == "0", "{said}");
    assert_eq!(machine.read("/tmp/tickets.csv"), tickets);
    // bob's is over: he gets another one, and nobody else does.
    assert_eq!(machine.qrtotp(&["ticket", "revoke", "bob"]).code, 0);
    let (said, _) = play(&machine, &INSTALLED);
    let now = machine.read("/tmp/tickets.csv");
    assert!(now.lines().count() == 4 && now.lines().last().unwrap().starts_with("managed,bob,"), "{said}");
}

#[test]
fn a_wrong_policy_is_not_put_in_place_and_no_ticket_is_made_that_nobody_would_know() {
    let machine = machine("qrtotp_policy: |\n  [[rule]]\n  action = \"alow\"\n");
    machine.done("/bin/sh", &["-c", "dpkg -i /tmp/debs/*.deb"]);
    let (said, _) = play(&machine, &INSTALLED);
    assert!(said.contains("failed=1") && said.contains("did you mean"), "{said}");
    assert!(machine.read("/etc/qrtotp/config.toml").contains("[totp]"), "what was there");
    let play_file = "/tmp/source/packaging/ansible/play.yml";
    let text = machine.read(play_file);
    machine.write(
        play_file,
        text.split("        qrtotp_policy").next().unwrap().to_owned() + "        qrtotp_users: [alice]\n",
    );
    let (said, _) = play(&machine, &INSTALLED);
    assert!(said.contains("failed=1") && said.contains("qrtotp_tickets_file"), "{said}");
    assert!(!machine.has("/var/lib/qrtotp/.tickets/2001"));
}

#[test]
fn ansible_lint_has_nothing_to_say() {
    let machine = Machine::new();
    machine.put_sources("/tmp/source");
    let script = "cd /tmp/source/packaging/ansible && ansible-playbook --syntax-check -i managed, example.yml && \
                  ansible-lint --offline -p --strict example.yml roles/qrtotp";
    let mut lint = machine.command("/bin/sh");
    let output = lint.args(["-c", script]).env("LC_ALL", "C.UTF-8").output().unwrap();
    assert!(output.status.success(), "{output:#?}");
}
