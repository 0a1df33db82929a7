use super::*;
use proptest::prelude::*;
use qrtotp_core::chain::link_to_end;

/// Lines that were written one after the other, as a login writes them; `lag` writers saw that many lines less.
fn written(count: usize, lag: impl Fn(usize) -> usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for number in 0..count {
        let seen = lines.len() - lag(number).min(lines.len());
        let link = link_to_end(lines[..seen].concat().as_bytes(), 0).unwrap();
        let mut line = format!("{{\"number\":{number},\"text\":\"{}\"}}\n", "x".repeat(number % 5));
        link.append_to(&mut line);
        lines.push(line);
    }
    lines
}

fn check(files: &[&[String]]) -> Report {
    let files =
        files.iter().enumerate().map(|(number, lines)| Ok((format!("f{number}"), io::Cursor::new(lines.concat()))));
    verify(files, None).unwrap()
}

fn findings(lines: &[String]) -> Vec<((u64, u64), What)> {
    check(&[lines]).findings.into_iter().map(|finding| (finding.lines, finding.what)).collect()
}

#[test]
fn what_was_written_holds_and_the_last_line_waits_for_the_next() {
    let report = check(&[&written(20, |_| 0)]);
    assert_eq!((report.lines, report.unlinked, report.uncovered, report.findings.len()), (20, 0, 1, 0));
    assert_eq!(check(&[]).head, None);
}

#[test]
fn an_altered_line_is_named_wherever_it_is() {
    for number in 0..18 {
        let mut lines = written(20, |_| 0);
        lines[number] = lines[number].replace("text", "tExt");
        let line = number as u64 + 1;
        assert_eq!(findings(&lines), [((line, line), What::Altered)], "{number}");
    }
}

#[test]
fn a_missing_line_and_one_that_was_added_are_named_with_their_length() {
    for number in 1..18 {
        let mut lines = written(20, |_| 0);
        let gone = lines.remove(number);
        let at = number as u64;
        assert_eq!(findings(&lines), [((at, at), What::Missing(gone.len() as u64))], "{number}");
        let mut lines = written(20, |_| 0);
        let more = "{\"forged\":1}\n".to_owned();
        let length = more.len() as u64;
        lines.insert(number, more);
        // The line behind it was written before, so it holds.
        assert_eq!(findings(&lines), [((at + 1, at + 2), What::Added(length))], "{number}");
    }
}

#[test]
fn lines_in_another_order_are_named() {
    for number in 1..16 {
        let mut lines = written(20, |_| 0);
        lines.swap(number, number + 1);
        let found = findings(&lines);
        assert!(
            matches!(found[..], [((first, last), What::Reordered)] if first == number as u64 && last == number as u64 + 3),
            "{number} {found:?}"
        );
    }
}

#[test]
fn two_damages_far_from_each_other_are_two() {
    let mut lines = written(30, |_| 0);
    lines[5] = lines[5].replace("text", "tExt");
    lines.remove(20);
    let found = findings(&lines);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], ((6, 6), What::Altered));
    assert!(matches!(found[1], ((20, 20), What::Missing(_))));
}

/// The next file as the first login after a rotation writes it.
fn continued(before: &[String], seen: usize, count: usize) -> Vec<String> {
    let end = link_to_end(before[..seen].concat().as_bytes(), 0).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for number in 0..count {
        let link = match number {
            0 => Link { at: 0, sum: end.sum, after: Some(end.at) },
            _ => link_to_end(lines.concat().as_bytes(), 0).unwrap(),
        };
        let mut line = format!("{{\"more\":{number}}}\n");
        link.append_to(&mut line);
        lines.push(line);
    }
    lines
}

#[test]
fn a_file_goes_on_from_the_one_before_it_also_where_a_late_line_came_there() {
    let old = written(10, |_| 0);
    for seen in [10, 9] {
        let report = check(&[&old, &continued(&old, seen, 10)]);
        assert_eq!(report.findings, [], "{seen}");
    }
    let new = continued(&old, 10, 10);
    assert!(check(&[&new]).continues && !check(&[&old, &new]).continues);
    let end = check(&[&old[..9], &new]);
    assert_eq!(end.findings, [Finding { file: "f1".to_owned(), lines: (1, 1), what: What::Torn }]);
    let own = check(&[&old, &written(5, |_| 0)]);
    assert_eq!(own.findings, [Finding { file: "f1".to_owned(), lines: (1, 1), what: What::Begins }]);
}

#[test]
fn a_head_that_was_noted_shows_that_the_end_was_cut_off() {
    let lines = written(20, |_| 0);
    let head = check(&[&lines]).head;
    let held = |lines: &[String]| verify([Ok(("f".to_owned(), io::Cursor::new(lines.concat())))], head).unwrap().held;
    assert_eq!(held(&lines), Some(("f".to_owned(), 20)));
    assert_eq!(findings(&lines[..19]), [], "the premise: the chain alone does not show it");
    assert_eq!(held(&lines[..19]), None);
    let more = [lines.clone(), vec!["{}\n".to_owned()]].concat();
    assert_eq!(held(&more), Some(("f".to_owned(), 20)));
}

#[test]
fn a_chain_that_begins_anew_in_the_middle_is_named_and_checked_from_there() {
    let mut lines = written(5, |_| 0);
    let mut line = "{\"a\":1}\n".to_owned();
    Link { at: lines.concat().len() as u64, ..Link::START }.append_to(&mut line);
    lines.push(line);
    for _ in 0..3 {
        let mut line = "{\"a\":1}\n".to_owned();
        link_to_end(lines.concat().as_bytes(), 0).unwrap().append_to(&mut line);
        lines.push(line);
    }
    assert_eq!(findings(&lines), [((6, 6), What::Begins)]);
    lines[6] = lines[6].replace("\"a\"", "\"b\"");
    assert_eq!(findings(&lines), [((6, 6), What::Begins), ((7, 7), What::Altered)]);
}

#[test]
fn lines_without_a_link_are_spoken_for_by_the_next() {
    let mut lines = written(3, |_| 0);
    lines.push("{\"no\":\"link\"}\n".to_owned());
    lines.push("half a li\n".to_owned());
    lines.push("\n".to_owned());
    let link = link_to_end(lines.concat().as_bytes(), 0).unwrap();
    let mut last = "{}\n".to_owned();
    link.append_to(&mut last);
    lines.push(last);
    let report = check(&[&lines]);
    assert_eq!((report.unlinked, report.findings.len()), (2, 0));
    lines.remove(3);
    assert_eq!(findings(&lines).len(), 1);
}

proptest! {
    #[test]
    fn logins_at_the_same_time_are_no_damage(lags in proptest::collection::vec(0_usize..6, 1..40)) {
        let report = check(&[&written(lags.len(), |number| lags[number])]);
        prop_assert_eq!(report.findings, []);
    }

    #[test]
    fn nothing_in_front_of_the_last_link_can_be_changed_unseen(
        lags in proptest::collection::vec(0_usize..4, 8..30), place in any::<prop::sample::Index>(), bit in 0_u32..8,
    ) {
        let mut lines = written(lags.len(), |number| lags[number]);
        // What nobody speaks for yet may be changed.
        let report = check(&[&lines]);
        let covered = lines.len() - report.uncovered as usize;
        prop_assume!(covered > 0);
        let whole: usize = lines[..covered].iter().map(String::len).sum();
        let mut bytes = lines.concat().into_bytes();
        bytes[place.index(whole)] ^= 1 << bit;
        lines = vec![String::from_utf8_lossy(&bytes).into_owned()];
        prop_assume!(lines[0].as_bytes() == bytes);
        prop_assert!(!check(&[&lines]).findings.is_empty());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(text in "(\\{|\\}|\n|,\"chain\":\"[0-9]{1,20}:[a-f0-9]{64}\"\\}\n|x){0,60}") {
        check(&[&[text]]);
    }
}
