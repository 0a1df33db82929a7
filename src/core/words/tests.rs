use super::*;
use proptest::prelude::*;

#[test]
fn names_that_no_account_can_have_are_none() {
    let long = "a".repeat(UserName::MAX + 1);
    let none: [&[u8]; 12] = [
        b"",
        b".",
        b"..",
        b"../../etc/shadow",
        b"a/b",
        b"/",
        b"root\n",
        b"\x1b[2J",
        b"a\0b",
        "a\u{85}b".as_bytes(),
        b"\xff\xfe",
        long.as_bytes(),
    ];
    for raw in none {
        assert_eq!(UserName::parse(raw), None, "{raw:?}");
    }
    for raw in ["root ", "ROOT", "0", "-l", "%n%s", "alice@example.org", "DOM\\alice", "ren\u{e9}", &long[1..]] {
        assert_eq!(UserName::parse(raw.as_bytes()).map(|name| name.to_string()).as_deref(), Some(raw));
    }
}

#[test]
fn labels_are_one_to_thirty_two_printable_characters() {
    assert_eq!(Label::parse("  red phone ").unwrap().as_str(), "red phone");
    let longest = "\u{e9}".repeat(Label::MAX);
    assert!(Label::parse(&longest).is_some());
    for bad in ["", "   ", "a\nb", "a\u{7f}b", &format!("{longest}x")] {
        assert_eq!(Label::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn times_are_written_as_rfc_3339_writes_them() {
    let rows = [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
        (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ];
    for (milliseconds, text) in rows {
        assert_eq!(WallTime(milliseconds).to_string(), text);
    }
    assert!(!WallTime(u64::MAX).to_string().is_empty());
}

#[test]
fn sources_are_read_as_what_they_are() {
    let rows: [(Option<&str>, &str); 10] = [
        (None, "local:1000"),
        (Some(""), "local:1000"),
        (Some("192.0.2.7"), "192.0.2.7"),
        (Some("::ffff:192.0.2.7"), "192.0.2.7"),
        (Some("2001:db8::1"), "2001:db8::1"),
        (Some("fe80::1%eth0"), "fe80::1"),
        (Some("localhost"), "a host name"),
        (Some("192.0.2.7 "), "a host name"),
        (Some("192.0.2.007"), "a host name"),
        (Some("%"), "a host name"),
    ];
    for (rhost, shown) in rows {
        assert_eq!(Source::parse(rhost.map(str::as_bytes), Uid(1000)).to_string(), shown, "{rhost:?}");
    }
    assert!(matches!(Source::parse(Some(b"\xff"), Uid(0)), Source::Name(_)));
}

#[test]
fn one_subscribers_addresses_share_a_budget_and_other_sources_do_not() {
    let key = |rhost: &str| Source::parse(Some(rhost.as_bytes()), Uid(7)).key();
    assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
    assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    assert_eq!(key("192.0.2.7"), key("::ffff:192.0.2.7"));
    let others = [
        key("192.0.2.7"),
        key("192.0.2.8"),
        key("::c000:207"),
        key("a"),
        key("b"),
        key(""),
        Source::Local(Uid(8)).key(),
    ];
    for (at, one) in others.iter().enumerate() {
        assert!(others.iter().skip(at + 1).all(|other| other != one), "{at}");
    }
}

#[test]
fn steps_go_as_far_as_the_numbers_do() {
    assert_eq!(Step(5).offset(-2), Step(3));
    assert_eq!((Step(1).offset(-2), Step(u64::MAX).offset(1)), (Step(0), Step(u64::MAX)));
    assert_eq!((Step(3).since(Step(5)), Step(5).since(Step(3))), (-2, 2));
}

#[test]
fn ids_read_back_and_nothing_else_does() {
    let id = DeviceId([0, 1, 0xab, 0xff]);
    assert_eq!((id.to_string().as_str(), DeviceId::parse("0001abff")), ("0001abff", Some(id)));
    for bad in ["", "0001abf", "0001abff00", "0001ABFF", "0001abfg", " 001abff"] {
        assert_eq!(DeviceId::parse(bad), None, "{bad:?}");
    }
}

proptest! {
    #[test]
    fn a_source_key_reads_back_to_the_same_key(raw in proptest::collection::vec(any::<u8>(), 0..20), v6: u128, v4: u32, uid: u32) {
        let sources = [
            Source::parse(Some(&raw), Uid(uid)),
            Source::parse(None, Uid(uid)),
            Source::parse(Some(Ipv6Addr::from(v6).to_string().as_bytes()), Uid(0)),
            Source::parse(Some(std::net::Ipv4Addr::from(v4).to_string().as_bytes()), Uid(0)),
        ];
        for source in sources {
            prop_assert_eq!(Source::from_key(&source.key()).unwrap().key(), source.key());
        }
    }

    #[test]
    fn later_times_are_written_as_later_texts(one in 0_u64..253_402_300_799_999, other in 0_u64..253_402_300_799_999) {
        prop_assert_eq!(one.cmp(&other), WallTime(one).to_string().cmp(&WallTime(other).to_string()));
    }

    #[test]
    fn any_bytes_make_a_name_without_slash_and_control_characters_or_none(raw in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some(name) = UserName::parse(&raw) {
            prop_assert_eq!(name.as_str().as_bytes(), raw.as_slice());
            prop_assert!(!name.as_str().chars().any(|c| c.is_control() || c == '/'));
        }
    }
}
