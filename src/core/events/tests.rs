use super::*;
use proptest::prelude::*;

fn scene(text: &[u8]) -> Scene {
    let text = Printable::new(text);
    Scene {
        service: text.clone(),
        tty: text.clone(),
        ruser: text.clone(),
        rhost: text,
        real_uid: 1000,
        effective_uid: 0,
    }
}

fn full(text: &[u8]) -> Event {
    Event {
        time: WallTime(1_700_000_000_000),
        id: AttemptId([0xab; 8]),
        user: UserName::parse(b"alice"),
        uid: Some(Uid(1000)),
        factor: Some(Factor::Totp),
        device: Label::parse("red phone").map(|label| (DeviceId([1; 4]), label)),
        offset: Some(-1),
        enrollment: Some(EnrollmentId([2; 8])),
        budget_left: Some(4),
        duration_us: 250,
        detail: Some(Printable::new(text)),
        ..Event::new(Kind::Login, scene(text), Source::parse(Some(b"192.0.2.7"), Uid(0)), Cause::Wrong)
    }
}

#[test]
fn a_login_is_written_as_pam_modules_write_it() {
    let event = Event {
        detail: None,
        scene: Scene {
            service: Printable::new(b"sshd"),
            tty: Printable::new(b"ssh"),
            rhost: Printable::new(b"192.0.2.7"),
            ..Scene::default()
        },
        ..full(b"")
    };
    assert_eq!(
        event.syslog_line(),
        "pam_qrtotp(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7 user=alice \
         reason=wrong device=01010101 label=red\\x20phone offset=-1 budget=4 id=abababababababab"
    );
    assert_eq!(
        event.json_line("host", None),
        "{\"time\":\"2023-11-14T22:13:20.000Z\",\"id\":\"abababababababab\",\"host\":\"host\",\"event\":\"login\",\
         \"service\":\"sshd\",\"user\":\"alice\",\"uid\":1000,\"source\":\"192.0.2.7\",\"rhost\":\"192.0.2.7\",\"tty\":\"ssh\",\
         \"result\":\"failure\",\"reason\":\"wrong\",\"factor\":\"totp\",\"device\":\"01010101\",\"label\":\"red phone\",\
         \"offset\":-1,\"enrollment\":\"0202020202020202\",\"budget_left\":4,\"duration_us\":250}\n"
    );
}

#[test]
fn every_outcome_of_a_login_has_its_word() {
    for (answer, word) in [
        (PamAnswer::Success, "success"),
        (PamAnswer::AuthErr, "failure"),
        (PamAnswer::MaxTries, "failure"),
        (PamAnswer::Ignore, "skipped"),
        (PamAnswer::ConvErr, "error"),
        (PamAnswer::AuthinfoUnavail, "error"),
        (PamAnswer::ServiceErr, "error"),
        (PamAnswer::Abort, "error"),
    ] {
        let event = Event { outcome: answer.into(), ..full(b"") };
        assert!(event.syslog_line().contains(&format!(": authentication {word}; ")), "{answer:?}");
        assert!(event.json_line("host", None).contains(&format!("\"result\":\"{word}\"")), "{answer:?}");
    }
}

#[test]
fn an_act_of_an_administrator_names_itself() {
    let event = Event::done(Kind::DeviceRemove, scene(b"qrtotp"), Source::Local(Uid(0)), "stolen at the fair");
    let line = event.syslog_line();
    assert!(line.starts_with("pam_qrtotp(qrtotp:admin): done; "), "{line}");
    assert!(line.contains(" reason=stolen\\x20at\\x20the\\x20fair event=device_remove "), "{line}");
}

#[test]
fn an_unknown_user_is_not_named_because_people_type_passwords_there() {
    let event = Event { user: None, uid: None, ..full(b"") };
    assert!(event.syslog_line().contains(" user= reason="));
    assert!(!event.json_line("host", None).contains("\"user\""));
}

#[test]
fn what_is_too_long_is_cut_at_a_whole_character() {
    assert_eq!(Printable::new(&[b'a'; 70_000]).as_str().len(), Printable::MAX);
    let escaped = Printable::new(&[0xff; 70_000]);
    assert_eq!((escaped.as_str().len(), escaped.as_str().len() % 4), (256, 0));
    assert!(Printable::new(&[vec![b'a'; 254], vec![0xff]].concat()).as_str().ends_with("aa"));
}

proptest! {
    #[test]
    fn whatever_a_host_says_an_event_is_one_line_of_printable_ascii(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let event = full(&text);
        let syslog = event.syslog_line();
        prop_assert!(syslog.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{syslog:?}");
        let json = event.json_line("host", None);
        prop_assert!(json.trim_end_matches('\n').bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{json:?}");
        prop_assert_eq!(json.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(value["reason"].as_str(), Some("wrong"));
    }

    /// A field is a word with one `=` before its value, so that nothing a host says can pretend to be another field.
    #[test]
    fn no_text_of_a_host_can_pretend_to_be_a_field(text in "[ -~]{0,40}") {
        let event = full(text.as_bytes());
        let line = event.syslog_line();
        let before_detail = line.split(" detail=\"").next().unwrap();
        let reasons = before_detail.split(' ').filter(|word| word.starts_with("reason=")).count();
        let users = before_detail.split(' ').filter(|word| word.starts_with("user=")).count();
        prop_assert_eq!((reasons, users), (1, 1), "{}", line);
        prop_assert_eq!(line.matches('"').count(), 2, "the quotes around the detail");
    }
}

#[test]
fn the_word_of_a_kind_is_the_one_in_json() {
    for kind in Kind::ALL {
        let json = Event::new(kind, Scene::default(), Source::Local(Uid(0)), Cause::Code).json_line("h", None);
        assert!(json.contains(&format!("\"event\":\"{}\"", kind.word())), "{json}");
    }
}
