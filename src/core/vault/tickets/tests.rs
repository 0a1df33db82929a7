use super::*;
use crate::budget::{Act, Hit};
use crate::enroll::{blank, note};
use crate::ports::Random;
use crate::testkit::{ALICE, Home, PHONE, credentials, name};
use crate::vault::Credentials;
use crate::words::{Account, Source, Step};

const BOB: Uid = Uid(1001);

fn sample(home: &Home<'_>, uid: Uid) -> (Ticket, TicketCode) {
    let code = TicketCode::generate(&home.fakes).unwrap();
    let mut id = [0; 8];
    home.fakes.fill(&mut id).unwrap();
    let ticket = Ticket {
        id: TicketId(id),
        user: name("b\"o\\b"),
        uid,
        made: WallTime(1000),
        expires: WallTime(2000),
        by: "root \u{7}".to_owned(),
        label: Label::parse("new \"phone\"").unwrap(),
        service: Some("sshd".to_owned()),
        replaces: Some(Replacement { device: PHONE, overlap: 604_800_000 }),
        hash: code.hash(&home.fakes).unwrap(),
    };
    home.vault().store_ticket(&ticket).unwrap();
    (ticket, code)
}

fn tickets(home: &Home<'_>, uid: Uid) -> Tickets {
    home.vault().tickets(uid).unwrap().unwrap()
}

#[test]
fn what_is_stored_reads_back_and_holds_nothing_that_is_typed() {
    let home = Home::new();
    let (ticket, code) = sample(&home, BOB);
    let plain = Ticket { id: TicketId([9; 8]), service: None, replaces: None, made: WallTime(5), ..ticket.clone() };
    home.vault().store_ticket(&plain).unwrap();
    assert_eq!(tickets(&home, BOB).all().unwrap(), [plain, ticket.clone()], "the oldest first");
    assert_eq!(home.vault().ticket_uids().unwrap(), [BOB]);
    assert!(home.vault().tickets(ALICE).unwrap().is_none());
    let text = std::fs::read_to_string(home.state(&format!(".tickets/1001/{}.toml", ticket.id))).unwrap();
    assert!(!text.contains(code.to_text().as_str()) && !text.contains(&code.to_text().replace('-', "")));
}

#[test]
fn a_ticket_is_good_for_its_user_in_its_service_and_its_time() {
    let home = Home::new();
    let (ticket, _) = sample(&home, BOB);
    let good = |user: &str, service, now| ticket.is_good(&name(user), service, WallTime(now));
    assert!(good("b\"o\\b", "sshd", 1000) && good("b\"o\\b", "sshd", 1999));
    assert!(!good("b\"o\\b", "sshd", 999) && !good("b\"o\\b", "sshd", 2000));
    assert!(!good("bob", "sshd", 1500) && !good("b\"o\\b", "login", 1500));
    let anywhere = Ticket { service: None, ..ticket.clone() };
    assert!(anywhere.is_good(&ticket.user, "login", WallTime(1500)));
}

#[test]
fn a_typed_ticket_is_found_among_several() {
    let home = Home::new();
    let (one, first) = sample(&home, BOB);
    let (two, second) = sample(&home, BOB);
    let all = [one, two];
    assert_eq!(Tickets::find(&all, &first).unwrap().id, all[0].id);
    assert_eq!(Tickets::find(&all, &second).unwrap().id, all[1].id);
    assert!(Tickets::find(&[], &first).is_none());
    assert!(Tickets::find(&all[1..], &first).is_none());
}

#[test]
fn five_wrong_tries_are_enough_and_what_cannot_be_counted_is_dead() {
    let home = Home::new();
    let (ticket, _) = sample(&home, BOB);
    let tickets = tickets(&home, BOB);
    for _ in 0..9 {
        assert!(tickets.begin_try(ticket.id).unwrap());
        tickets.take_back_try(ticket.id).unwrap();
    }
    for tries in 0..TRIES {
        assert_eq!(
            (tickets.wrong_tries(ticket.id).unwrap(), tickets.is_alive(ticket.id).unwrap()),
            (Some(tries), true)
        );
        assert!(tickets.begin_try(ticket.id).unwrap());
    }
    assert!(!tickets.is_alive(ticket.id).unwrap() && !tickets.begin_try(ticket.id).unwrap());
    std::fs::remove_file(home.state(&format!(".tickets/1001/{}.tries", ticket.id))).unwrap();
    assert!(!tickets.is_alive(ticket.id).unwrap(), "somebody removed the count");
    assert!(!tickets.begin_try(ticket.id).unwrap());
}

#[test]
fn of_many_tries_at_once_five_are_judged() {
    let home = Home::new();
    let (ticket, _) = sample(&home, BOB);
    let tickets = tickets(&home, BOB);
    let judged: usize = std::thread::scope(|scope| {
        let one = || (0..5).filter(|_| tickets.begin_try(ticket.id).unwrap()).count();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(judged <= TRIES, "{judged}");
    assert_eq!(tickets.wrong_tries(ticket.id).unwrap(), Some(judged), "what was not judged is taken back");
}

#[test]
fn damage_is_named_by_line_and_never_read_as_another_ticket() {
    let home = Home::new();
    let (ticket, _) = sample(&home, BOB);
    let path = home.state(&format!(".tickets/1001/{}.toml", ticket.id));
    let text = std::fs::read_to_string(&path).unwrap();
    for length in 0..text.len() {
        std::fs::write(&path, &text[..length]).unwrap();
        if let Ok(all) = tickets(&home, BOB).all() {
            assert_eq!((all[0].hash.clone(), all[0].expires), (ticket.hash.clone(), ticket.expires));
        }
    }
    for (from, to) in [("format = 1", "format = 2"), ("expires", "expire"), ("uid = 1001", "uid = -1")] {
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let trouble = tickets(&home, BOB).all().unwrap_err().to_string();
        assert!(trouble.contains("qrtotp ticket revoke"), "{trouble}");
    }
}

/// A first enrollment of bob, ready to be put in place.
fn first(home: &Home<'_>) -> Credentials {
    let account = Account { name: name("bob"), uid: BOB };
    let mut fresh = blank(&account, WallTime(1500), &home.fakes).unwrap();
    fresh.devices = credentials().devices;
    fresh
}

#[test]
fn a_ticket_revoked_at_any_moment_before_the_folder_is_in_place_enrolls_nobody() {
    let home = Home::new();
    let (ticket, _) = sample(&home, BOB);
    let (vault, tickets) = (home.vault(), tickets(&home, BOB));
    let staging = || tickets.staging(ticket.id, AttemptId([1; 8]));
    let install = |may: &dyn Fn() -> Result<(), Trouble>| vault.install_first(&staging(), &first(&home), &[], may);
    // Revoked between the last look at the ticket and the rename, which is what a frozen login tries to get.
    let frozen = install(&|| {
        tickets.check_good(&ticket, WallTime(1500))?;
        vault.revoke_ticket(BOB, ticket.id)
    });
    assert!(frozen.is_err());
    assert!(vault.room(BOB).unwrap().is_none());
    assert!(install(&|| tickets.check_good(&ticket, WallTime(1500))).is_err(), "revoked before");
    assert!(vault.room(BOB).unwrap().is_none());
    assert_eq!(std::fs::read_dir(home.state(".tickets/1001")).unwrap().count(), 0, "nothing is left over");
}

#[test]
fn a_ticket_revoked_while_credentials_stand_ready_changes_nothing() {
    let home = Home::new();
    let (ticket, _) = sample(&home, ALICE);
    let (vault, tickets) = (home.vault(), tickets(&home, ALICE));
    let locked = vault.lock(ALICE).unwrap().unwrap();
    let mut changed = credentials();
    changed.devices.truncate(1);
    let done = locked.replace_credentials_if(&changed, || {
        tickets.check_good(&ticket, WallTime(1500))?;
        vault.revoke_ticket(ALICE, ticket.id)
    });
    assert!(done.is_err());
    assert_eq!(vault.room(ALICE).unwrap().unwrap().credentials().unwrap().0.devices.len(), 2);
}

#[test]
fn of_two_first_enrollments_one_is_in_place_and_the_other_leaves_nothing() {
    let home = Home::new();
    let (ticket, _) = sample(&home, BOB);
    let (vault, tickets) = (home.vault(), tickets(&home, BOB));
    let (one, other) = (tickets.staging(ticket.id, AttemptId([1; 8])), vault.staging(BOB, AttemptId([2; 8])));
    assert!(vault.install_first(&one, &first(&home), &[], || Ok(())).unwrap());
    assert!(!vault.install_first(&other, &first(&home), &[], || Ok(())).unwrap());
    let names = std::fs::read_dir(home.state("")).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with(".new-")), "{names:?}");
}

#[test]
fn a_folder_is_locked_by_one_and_a_replaced_one_by_nobody() {
    let home = Home::new();
    let vault = home.vault();
    let locked = vault.lock(ALICE).unwrap().unwrap();
    let busy = vault.lock(ALICE).map(|_| ()).unwrap_err();
    assert!(busy.to_string().contains("is being changed"), "{busy}");
    assert!(vault.lock(BOB).unwrap().is_none());
    let mut tombstone = credentials();
    tombstone.devices.clear();
    tombstone.revoked = Some(crate::vault::Revocation { time: WallTime(1), reason: "left".to_owned() });
    vault.install(&tombstone, &[], true).unwrap();
    // Whoever held the old folder writes to what is no longer there.
    let _ = locked.replace_credentials_if(&credentials(), || Ok(()));
    assert!(locked.check_in_place(&vault).is_err());
    assert!(vault.room(ALICE).unwrap().unwrap().credentials().unwrap().0.revoked.is_some());
    assert!(vault.lock(ALICE).unwrap().is_some(), "the new folder is free");
}

#[test]
fn starting_afresh_in_a_folder_is_refused_until_it_is_whole() {
    let home = Home::new();
    let (vault, fresh) = (home.vault(), first(&home));
    let locked = vault.lock(ALICE).unwrap().unwrap();
    let claim = Act::Claim(Hit { device: PHONE, step: Step(7) });
    let entry = note(home.fakes.now.get().unwrap(), Source::Local(Uid(0)), claim, &home.fakes).unwrap();
    let looks = std::cell::Cell::new(0);
    let stopped = |at: i32| {
        looks.set(looks.get() + 1);
        if looks.get() == at { Err(Trouble::new(vault.path(), "stopped")) } else { Ok(()) }
    };
    assert!(locked.start_afresh_if(&fresh, &[entry], || stopped(1)).is_err());
    assert_eq!(home.cause("alice", &home.code()), crate::verdict::Cause::Code, "nothing has changed");
    looks.set(0);
    assert!(locked.start_afresh_if(&fresh, &[entry], || stopped(2)).is_err());
    assert_eq!(home.cause("alice", &home.code()), crate::verdict::Cause::State, "half-way nobody gets in");
    locked.start_afresh_if(&fresh, &[entry], || Ok(())).unwrap();
    let (room, now) = (vault.room(ALICE).unwrap().unwrap(), home.policy.limits);
    let (state, _) = room.journal(&fresh).unwrap().read().unwrap().fold(&now);
    assert_eq!(state.floor(PHONE), Some(Step(7)));
}
