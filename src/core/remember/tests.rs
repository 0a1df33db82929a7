use super::*;
use crate::testkit::private_folder;
use rustix::fs::{CWD, Mode};

const SPAN: u64 = 3_600_000;
const NOW: Now = Now { wall: crate::words::WallTime(0), boot: 10_000_000, boot_id: [1; 8] };
const SESSION: Session = Session { id: 77, started: 5, terminal: 34_816 };
const KEY: &[u8] = b"publickey ssh-ed25519 AAAAC3\n";

fn service(name: &str) -> Printable {
    Printable::new(name.as_bytes())
}

fn local(uid: u32, name: &str, caller: u32, session: Session) -> Place {
    Place::of(Uid(uid), None, &service(name), Source::Local(Uid(caller)), Some(session), None).unwrap()
}

fn ssh(address: &str, info: Option<&[u8]>) -> Option<Place> {
    let source = Source::parse(Some(address.as_bytes()), Uid(0));
    Place::of(Uid(1000), None, &service("sshd"), source, Some(SESSION), info)
}

fn later(milliseconds: u64) -> Now {
    Now { boot: NOW.boot + milliseconds, ..NOW }
}

/// The version of a file that is there, and of another one.
fn versions(dir: &Path) -> [Version; 2] {
    ["one", "two"].map(|name| {
        std::fs::write(dir.join(name), "").unwrap();
        Version::of(&rustix::fs::statat(CWD, dir.join(name), rustix::fs::AtFlags::empty()).unwrap())
    })
}

#[test]
fn a_place_is_remembered_until_the_span_is_over_and_only_that_place() {
    let dir = private_folder();
    let [version, _] = versions(dir.path());
    let place = local(1000, "sudo", 1000, SESSION);
    assert!(!holds(dir.path(), &place, version, &NOW, (SPAN, false)));
    store(dir.path(), &place, version, &NOW, (SPAN, false)).unwrap();
    assert!(holds(dir.path(), &place, version, &NOW, (SPAN, false)));
    assert!(holds(dir.path(), &place, version, &later(SPAN - 1), (SPAN, false)));
    assert!(!holds(dir.path(), &place, version, &later(SPAN), (SPAN, false)));
    assert!(!holds(dir.path(), &place, version, &later(1000), (1000, false)), "the rule became shorter");
    assert!(!holds(dir.path(), &place, version, &later(SPAN), (SPAN * 2, false)), "the rule became longer");
    let others = [
        local(1001, "sudo", 1000, SESSION),
        local(1000, "su", 1000, SESSION),
        local(1000, "sudo", 1001, SESSION),
        local(1000, "sudo", 1000, Session { id: 78, ..SESSION }),
        local(1000, "sudo", 1000, Session { started: 6, ..SESSION }),
        local(1000, "sudo", 1000, Session { terminal: 34_817, ..SESSION }),
    ];
    assert!(others.iter().all(|other| !holds(dir.path(), other, version, &NOW, (SPAN, false))));
}

#[test]
fn an_address_counts_only_together_with_a_key() {
    assert_eq!(ssh("192.0.2.7", None), None);
    for info in [b"".as_slice(), b"password\n", b"keyboard-interactive/pam\n", b" publickey x"] {
        assert_eq!(ssh("192.0.2.7", Some(info)), None, "{info:?}");
    }
    assert_eq!(ssh("host.example", Some(KEY)), None, "a name is no address");
    let place = ssh("192.0.2.7", Some(KEY)).unwrap();
    assert_eq!(ssh("192.0.2.7", Some(KEY)).unwrap(), place);
    assert_ne!(ssh("192.0.2.8", Some(KEY)).unwrap(), place);
    assert_ne!(ssh("192.0.2.7", Some(b"publickey ssh-ed25519 AAAAC4")).unwrap(), place);
    let (one, other) = (ssh("2001:db8::1", Some(KEY)), ssh("2001:db8::2", Some(KEY)));
    assert_ne!(one.unwrap().name(), other.unwrap().name(), "neighbours share a budget, not a memory");
}

#[test]
fn there_is_no_place_without_a_terminal() {
    assert_eq!(Place::of(Uid(1000), None, &service("sudo"), Source::Local(Uid(1000)), None, None), None);
}

#[test]
fn changed_credentials_another_boot_and_an_unknown_boot_end_it() {
    let dir = private_folder();
    let [version, other] = versions(dir.path());
    let place = local(1000, "sudo", 1000, SESSION);
    store(dir.path(), &place, version, &NOW, (SPAN, false)).unwrap();
    assert!(!holds(dir.path(), &place, other, &NOW, (SPAN, false)));
    for boot_id in [[2; 8], [0; 8]] {
        assert!(!holds(dir.path(), &place, version, &Now { boot_id, ..NOW }, (SPAN, false)));
    }
    assert!(!holds(dir.path(), &place, version, &Now { boot: NOW.boot - 1, ..NOW }, (SPAN, false)), "from the future");
    store(dir.path(), &place, version, &Now { boot_id: [0; 8], ..NOW }, (SPAN, false)).unwrap();
    assert!(!holds(dir.path(), &place, version, &Now { boot_id: [0; 8], ..NOW }, (SPAN, false)));
}

#[test]
fn one_code_does_not_count_where_two_are_wanted_nor_for_another_target() {
    let dir = private_folder();
    let [version, _] = versions(dir.path());
    let of = |target: Option<&str>| {
        let target = target.map(crate::testkit::name);
        Place::of(Uid(1000), target.as_ref(), &service("su"), Source::Local(Uid(1000)), Some(SESSION), None).unwrap()
    };
    store(dir.path(), &of(None), version, &NOW, (SPAN, false)).unwrap();
    assert!(!holds(dir.path(), &of(None), version, &NOW, (SPAN, true)));
    store(dir.path(), &of(Some("carol")), version, &NOW, (SPAN, true)).unwrap();
    assert!(holds(dir.path(), &of(Some("carol")), version, &NOW, (SPAN, false)));
    assert!(!holds(dir.path(), &of(Some("root")), version, &NOW, (SPAN, false)));
}

#[test]
fn it_can_be_listed_and_forgotten_by_user() {
    let dir = private_folder();
    let [version, _] = versions(dir.path());
    for (uid, id) in [(1000, 1), (1000, 2), (10, 3)] {
        store(dir.path(), &local(uid, "su do", uid, Session { id, ..SESSION }), version, &NOW, (SPAN, false)).unwrap();
    }
    let memories = all(dir.path(), &later(60_000)).unwrap();
    assert_eq!(memories.iter().map(|memory| memory.uid.0).collect::<Vec<_>>(), [10, 1000, 1000]);
    assert_eq!((memories[0].age, memories[0].left), (60_000, SPAN - 60_000));
    assert_eq!((memories[0].service.as_str(), memories[0].source.as_str()), ("su\\x20do", "local:10"));
    assert_eq!(forget(dir.path(), Some(Uid(1000))).unwrap(), 2);
    assert_eq!(all(dir.path(), &NOW).unwrap().len(), 1);
    assert_eq!(forget(dir.path(), None).unwrap(), 1);
}

#[test]
fn what_is_over_goes_when_something_new_comes() {
    let dir = private_folder();
    let [version, _] = versions(dir.path());
    let place = |id| local(1000, "sudo", 1000, Session { id, ..SESSION });
    store(dir.path(), &place(1), version, &NOW, (SPAN, false)).unwrap();
    store(dir.path(), &place(2), version, &later(SPAN), (SPAN, false)).unwrap();
    assert!(!dir.path().join(place(1).name()).exists() && dir.path().join(place(2).name()).exists());
}

#[test]
fn a_file_that_others_could_have_made_is_no_memory() {
    let dir = private_folder();
    let [version, _] = versions(dir.path());
    let place = local(1000, "sudo", 1000, SESSION);
    store(dir.path(), &place, version, &NOW, (SPAN, false)).unwrap();
    let path = dir.path().join(place.name());
    rustix::fs::chmod(&path, Mode::from_raw_mode(0o644)).unwrap();
    assert!(!holds(dir.path(), &place, version, &NOW, (SPAN, false)));
    for content in ["", "1", "2 x\n", "1 0101010101010101 x 1 1 1 1 1\n"] {
        std::fs::write(&path, content).unwrap();
        rustix::fs::chmod(&path, Mode::from_raw_mode(0o600)).unwrap();
        assert!(!holds(dir.path(), &place, version, &NOW, (SPAN, false)), "{content:?}");
    }
}
