use super::*;
use crate::testkit::{ALICE, Home, name};
use std::collections::BTreeSet;

fn account(user: &str, uid: u32) -> Account {
    Account { name: name(user), uid: Uid(uid) }
}

#[test]
fn an_enrolled_user_is_judged_by_his_own_keys() {
    let home = Home::new();
    let subject = Subject::of(&home.vault(), Some(&account("alice", 1000)), b"alice").ok().unwrap();
    assert_eq!((subject.is_decoy(), subject.refusal, subject.tag), (false, None, [0; 8]));
    assert_eq!(subject.credentials.uid, ALICE);
}

#[test]
fn everybody_else_is_judged_by_a_decoy_that_refuses_him() {
    let home = Home::new();
    for (account, cause) in [
        (None, Cause::UnknownUser),
        (Some(account("bob", 1001)), Cause::NotEnrolled),
        (Some(account("eve", 1000)), Cause::Stale),
        (Some(account("Alice", 1000)), Cause::Stale),
    ] {
        let subject = Subject::of(&home.vault(), account.as_ref(), b"somebody").ok().unwrap();
        assert_eq!((subject.is_decoy(), subject.refusal), (true, Some(cause)));
        assert_ne!(subject.tag, [0; 8]);
        assert!(subject.is_current(&home.vault()).unwrap(), "a decoy never changes");
    }
}

#[test]
fn a_name_keeps_its_decoy_and_its_tag_and_shares_them_with_nobody() {
    let home = Home::new();
    let of = |name: &str| {
        let subject = Subject::of(&home.vault(), None, name.as_bytes()).ok().unwrap();
        (subject.credentials.enrollment.0, subject.tag)
    };
    let names: Vec<_> = (0..200).map(|n| format!("user{n}")).collect();
    let all: BTreeSet<_> = names.iter().map(|name| of(name)).collect();
    assert_eq!(all.len(), names.len());
    assert!(names.iter().all(|name| all.contains(&of(name))));
    let decoys: BTreeSet<_> = all.iter().map(|(enrollment, _)| enrollment).collect();
    assert_eq!(decoys.len(), usize::from(DECOY_COUNT), "every decoy is in use");
}

#[test]
fn without_decoys_the_cause_stays_and_the_log_says_what_to_run() {
    let home = Home::new();
    std::fs::remove_dir_all(home.state(".decoy")).unwrap();
    let nobody = Subject::of(&home.vault(), None, b"mallory").err().unwrap();
    assert_eq!(nobody.cause, Cause::UnknownUser);
    assert!(nobody.trouble.what.contains("qrtotp init"));
}
