use super::*;
use crate::policy::Policy;
use proptest::prelude::*;

/// Monday, 2026-11-23, 12:00 UTC.
const NOON: WallTime = WallTime(1_795_435_200_000);
const HOUR: u64 = 3_600_000;

/// A login of alice, who is in staff and wheel.
#[derive(Debug)]
struct Login {
    user: Option<&'static str>,
    groups: Result<Vec<&'static str>, LookupFailed>,
    service: &'static str,
    from: &'static str,
    time: Option<WallTime>,
    offset: Option<i32>,
}

impl Default for Login {
    fn default() -> Self {
        let (user, groups) = (Some("alice"), Ok(vec!["staff", "wheel"]));
        Self { user, groups, service: "sshd", from: "192.0.2.7", time: Some(NOON), offset: Some(0) }
    }
}

impl Login {
    fn put(&self, rules: &[Rule]) -> Explanation {
        let user = self.user.map(|name| UserName::parse(name.as_bytes()).unwrap());
        let groups = || self.groups.clone().map(|groups| groups.into_iter().map(str::to_owned).collect());
        let source = Source::parse(Some(self.from.as_bytes()), crate::words::Uid(0));
        let offset = |_: &Zone, _| self.offset;
        let time = self.time;
        decide(
            rules,
            &Facts {
                user: user.as_ref(),
                groups: &groups,
                has_group: &|name| if self.groups.is_err() { Err(LookupFailed) } else { Ok(name != "nowhere") },
                service: self.service,
                source,
                time,
                past: 1,
                offset: &offset,
            },
        )
    }

    /// The action of the first rule of a policy's text that decides.
    fn action(&self, text: &str) -> Action {
        self.put(&Policy::parse(text).unwrap().rules).decision.action
    }

    fn holds(&self, conditions: &str) -> bool {
        self.action(&format!("[[rule]]\n{conditions}\naction = \"deny\"")) == Action::Deny
    }
}

#[test]
fn without_a_rule_that_holds_a_code_is_required() {
    assert_eq!(Login::default().put(&[]).decision, Decision::LAST);
    assert_eq!(Login::default().action("[[rule]]\nusers = [\"bob\"]\naction = \"allow\""), Action::Require);
}

#[test]
fn the_first_rule_that_holds_decides() {
    let text = "[[rule]]\nusers = [\"bob\"]\naction = \"deny\"\n[[rule]]\ngroups = [\"staff\"]\naction = \"skip\"\n[[rule]]\naction = \"deny\"";
    let explanation = Login::default().put(&Policy::parse(text).unwrap().rules);
    assert_eq!((explanation.decision.action, explanation.decision.rule), (Action::Skip, Some(1)));
    assert_eq!(explanation.rules, [Holds::No("users does not name alice".to_owned()), Holds::Yes]);
}

#[test]
fn each_condition_holds_where_it_should_and_nowhere_else() {
    let alice = Login::default;
    let table = [
        ("users = [\"alice\"]", alice(), true),
        ("users = [\"Alice\"]", alice(), false),
        ("users = []", alice(), false),
        ("users = [\"alice\"]", Login { user: None, ..alice() }, false),
        ("groups = [\"x\", \"wheel\"]", alice(), true),
        ("groups = [\"x\"]", alice(), false),
        ("groups = [\"wheel\"]", Login { user: None, ..alice() }, false),
        ("services = [\"sudo\", \"sshd\"]", alice(), true),
        ("services = [\"sshd\"]", Login { service: "sudo", ..alice() }, false),
        ("from = [\"192.0.2.0/24\"]", alice(), true),
        ("from = [\"192.0.2.7\"]", alice(), true),
        ("from = [\"192.0.2.8\"]", alice(), false),
        ("from = [\"::ffff:192.0.2.0/120\"]", alice(), true),
        ("from = [\"192.0.2.0/24\"]", Login { from: "::ffff:192.0.2.7", ..alice() }, true),
        ("from = [\"2001:db8::/32\"]", Login { from: "2001:db8::1", ..alice() }, true),
        ("from = [\"::/0\"]", alice(), false),
        ("from = [\"local\"]", alice(), false),
        ("from = [\"local\"]", Login { from: "", ..alice() }, true),
        ("from = [\"0.0.0.0/0\"]", Login { from: "", ..alice() }, false),
        ("hours = \"12:00-12:01\"", alice(), true),
        ("hours = \"11:00-12:00\"", alice(), false),
        ("hours = \"22:00-12:01\"", alice(), true),
        ("hours = \"22:00-12:00\"", alice(), false),
        ("hours = \"13:00-14:00\"", Login { offset: Some(3600), ..alice() }, true),
        ("days = [\"mon\"]", alice(), true),
        ("days = [\"tue-sun\"]", alice(), false),
        ("days = [\"sat-mon\"]", alice(), true),
        ("days = [\"tue\"]", Login { offset: Some(12 * 3600), ..alice() }, true),
        ("until = 2026-11-23", alice(), true),
        ("until = 2026-11-22", alice(), false),
        ("until = 2026-11-23", Login { offset: Some(12 * 3600), ..alice() }, false),
        ("until = 2026-11-23T12:00:00Z", alice(), false),
        ("until = 2026-11-23T12:00:01Z", alice(), true),
        ("until = 2026-11-23T13:00:01+01:00", alice(), true),
        ("until = 2026-11-23T12:30:00", Login { offset: Some(3600), ..alice() }, false),
    ];
    for (conditions, login, holds) in table {
        assert_eq!(login.holds(conditions), holds, "{conditions}");
    }
}

/// Friday from 22:00 to Saturday 06:00 is a night of Friday.
#[test]
fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
    let at = |day: u64, hour: u64| Login {
        time: Some(WallTime(NOON.0 - 12 * HOUR + day * DAY + hour * HOUR)),
        ..Login::default()
    };
    let night = "hours = \"22:00-06:00\"\ndays = [\"fri\"]";
    let held: Vec<_> = (0..7)
        .flat_map(|day| [1, 12, 23].map(|hour| (day, hour)))
        .filter(|(day, hour)| at(*day, *hour).holds(night))
        .collect();
    assert_eq!(held, [(4, 23), (5, 1)]);
}

#[test]
fn what_cannot_be_known_never_opens_and_is_named() {
    let unknown = [
        ("groups = [\"staff\"]", Login { groups: Err(LookupFailed), ..Login::default() }),
        ("from = [\"192.0.2.0/24\"]", Login { from: "host.example", ..Login::default() }),
        ("hours = \"00:00-24:00\"", Login { time: None, ..Login::default() }),
        ("until = 2099-01-01", Login { time: None, ..Login::default() }),
        ("days = [\"mon\"]", Login { offset: None, ..Login::default() }),
    ];
    for (conditions, login) in unknown {
        for (action, expected) in [("skip", Action::Require), ("allow", Action::Require), ("deny", Action::Deny)] {
            let rules = Policy::parse(&format!("[[rule]]\n{conditions}\naction = \"{action}\"")).unwrap().rules;
            let explanation = login.put(&rules);
            assert_eq!(explanation.decision.action, expected, "{conditions} {action}");
            assert_eq!(explanation.unknown().count(), 1);
        }
    }
}

#[test]
fn a_condition_that_surely_does_not_hold_settles_a_rule_whatever_else_is_unknown() {
    let login = Login { groups: Err(LookupFailed), ..Login::default() };
    assert!(!login.holds("groups = [\"staff\"]\nservices = [\"sudo\"]"));
}

#[test]
fn the_name_service_is_asked_for_groups_only_where_a_rule_comes_to_it() {
    let rules =
        Policy::parse("[[rule]]\ngroups = [\"staff\"]\nservices = [\"sudo\"]\naction = \"skip\"").unwrap().rules;
    let name = UserName::parse(b"alice").unwrap();
    let never = || panic!("asked");
    let source = Source::Name([0; 16]);
    let facts = Facts {
        user: Some(&name),
        groups: &never,
        has_group: &|_| Ok(true),
        past: 1,
        service: "sshd",
        source,
        time: None,
        offset: &|_, _| None,
    };
    assert_eq!(decide(&rules, &facts).decision, Decision::LAST);
}

fn any_rule() -> impl Strategy<Value = String> {
    let condition = prop_oneof![
        Just("users = [\"alice\"]"),
        Just("users = [\"bob\"]"),
        Just("groups = [\"staff\"]"),
        Just("groups = [\"nobody\"]"),
        Just("services = [\"sshd\"]"),
        Just("services = [\"su\"]"),
        Just("from = [\"192.0.2.0/24\"]"),
        Just("from = [\"local\", \"10.0.0.0/8\"]"),
        Just("hours = \"08:00-13:00\""),
        Just("days = [\"tue\"]"),
        Just("until = 2026-11-23"),
    ];
    let action = prop_oneof![
        Just("allow"),
        Just("skip"),
        Just("require"),
        Just("require\"\ncodes = 2 # \""),
        Just("enroll"),
        Just("enroll\"\ngrace_logins = 3 # \""),
        Just("enroll\"\nenroll_by = 2026-11-24 # \""),
        Just("require\"\nenroll_by = 2026-11-23\ngrace_logins = 2 # \""),
        Just("require\"\nremember = \"8h\" # \""),
        Just("enroll\"\nremember = \"1h\"\ngrace_logins = 1 # \""),
        Just("recovery-only"),
        Just("deny"),
    ];
    (proptest::collection::vec(condition, 0..3), action).prop_map(|(conditions, action)| {
        let mut lines: Vec<_> = conditions.iter().map(|line| (line.split('=').next().unwrap(), *line)).collect();
        lines.sort();
        lines.dedup_by_key(|(key, _)| *key);
        let conditions: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        format!("[[rule]]\n{conditions}action = \"{action}\"\n")
    })
}

/// Whether one decision leaves nothing open that the other closes.
fn is_as_strict(one: &Decision, other: &Decision) -> bool {
    let grace = match (one.grace, other.grace) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(one), Some(other)) => {
            let until = other.until.is_none_or(|end| one.until.is_some_and(|own| own <= end));
            until && other.logins.is_none_or(|logins| one.logins.is_some_and(|own| own <= logins))
        }
    };
    (one.action, one.two_codes) >= (other.action, other.two_codes) && grace && one.remember <= other.remember
}

#[test]
fn the_grace_of_a_rule_ends_with_the_day_in_its_zone_and_where_the_time_is_not_known() {
    let grace = |login: Login, text: &str| {
        let rules = Policy::parse(&format!("[[rule]]\naction = \"enroll\"\n{text}")).unwrap().rules;
        let explanation = login.put(&rules);
        (explanation.decision.grace, explanation.unknown().count())
    };
    let at = |hours: u64, offset| Login { time: Some(WallTime(NOON.0 + hours * HOUR)), offset, ..Login::default() };
    let by_monday = |end: u64| Grace { until: Some(WallTime(NOON.0 + end * HOUR)), logins: None };
    assert_eq!(grace(at(11, Some(0)), "enroll_by = 2026-11-23"), (Some(by_monday(12)), 0));
    assert_eq!(grace(at(12, Some(0)), "enroll_by = 2026-11-23"), (None, 0));
    assert_eq!(grace(at(12, Some(-3600)), "enroll_by = 2026-11-23"), (Some(by_monday(13)), 0));
    assert_eq!(grace(at(11, Some(3600)), "enroll_by = 2026-11-23"), (None, 0));
    assert_eq!(grace(at(0, None), "enroll_by = 2026-11-23"), (None, 1));
    assert_eq!(grace(Login { time: None, ..Login::default() }, "enroll_by = 2026-11-23"), (None, 1));
    let logins = Some(Grace { until: None, logins: Some(3) });
    assert_eq!(grace(Login { time: None, ..Login::default() }, "grace_logins = 3"), (logins, 0));
    assert_eq!(grace(Login::default(), ""), (None, 0));
}

#[test]
fn a_group_that_is_not_there_may_be_one_that_cannot_be_seen_now() {
    let text = "[[rule]]\ngroups = [\"nowhere\"]\naction = \"require\"\n[[rule]]\naction = \"skip\"\n";
    let explanation = Login::default().put(&Policy::parse(text).unwrap().rules);
    assert_eq!(explanation.decision.action, Action::Require);
    assert_eq!(explanation.unknown().next().unwrap().1, "groups: there is no group nowhere");
    let text = text.replace("nowhere", "other");
    assert_eq!(Login::default().put(&Policy::parse(&text).unwrap().rules).decision.action, Action::Skip);
}

#[test]
fn of_two_windows_that_may_be_meant_the_narrower_counts() {
    for (one, other, past) in [("past = 10", "past = 0", 0), ("past = 10", "", 1), ("", "past = 10", 1)] {
        let text = format!(
            "[[rule]]\nfrom = [\"10.0.0.0/8\"]\naction = \"require\"\n{one}\n[[rule]]\naction = \"require\"\n{other}\n"
        );
        let login = Login { from: "host.example", ..Login::default() };
        assert_eq!(login.put(&Policy::parse(&text).unwrap().rules).decision.past, Some(past));
    }
}

fn any_login() -> impl Strategy<Value = Login> {
    let groups = prop_oneof![Just(Vec::new()), Just(vec!["staff"]), Just(vec!["nobody", "staff"])];
    let from = prop_oneof![Just("192.0.2.7"), Just("10.1.1.1"), Just("")];
    let hour = 0_u64..100;
    (groups, from, hour).prop_map(|(groups, from, hour)| Login {
        groups: Ok(groups),
        from,
        time: Some(WallTime(NOON.0 + hour * HOUR)),
        ..Login::default()
    })
}

proptest! {
    /// The promise: whatever is not known, no login is more open than it would be if it were known.
    #[test]
    fn not_knowing_is_never_more_open_than_knowing(
        rules in proptest::collection::vec(any_rule(), 0..6),
        login in any_login(),
        (no_groups, no_address, no_time, no_zone) in any::<(bool, bool, bool, bool)>(),
    ) {
        let rules = Policy::parse(&rules.concat()).unwrap().rules;
        let known = login.put(&rules).decision;
        let is_local = login.from.is_empty();
        let blind = Login {
            groups: if no_groups { Err(LookupFailed) } else { login.groups.clone() },
            from: if no_address && !is_local { "host.example" } else { login.from },
            time: login.time.filter(|_| !no_time),
            offset: login.offset.filter(|_| !no_zone),
            ..login
        };
        prop_assert!(is_as_strict(&blind.put(&rules).decision, &known));
    }

    #[test]
    fn a_decision_is_that_of_the_first_rule_that_holds(
        rules in proptest::collection::vec(any_rule(), 0..6),
        login in any_login(),
    ) {
        let rules = Policy::parse(&rules.concat()).unwrap().rules;
        let explanation = login.put(&rules);
        let first = rules.iter().position(|rule| login.put(std::slice::from_ref(rule)).rules == [Holds::Yes]);
        prop_assert_eq!(explanation.decision.rule, first);
        prop_assert_eq!(explanation.decision.action, first.map_or(Action::Require, |first| rules[first].action));
    }
}
