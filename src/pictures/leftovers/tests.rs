use super::*;
use proptest::prelude::*;

const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const GROUPED: &str = "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ";

/// Kind, line, account, bits, whether it is [`KEY`].
type Row = (Kind, u64, String, usize, bool);

fn row(left: &Leftover) -> Row {
    let account = left.key.account.clone().unwrap_or_default();
    let is_key = left.key.secret.as_ref().is_some_and(is_known);
    (left.kind, left.line, account, left.key.bits, is_key)
}

fn is_known(secret: &Secret) -> bool {
    Secret::from_base32(KEY).unwrap().is_same(secret)
}

fn search_in(block: usize, named: bool, text: &[u8]) -> Vec<Row> {
    let mut rest = text;
    let mut rows = Vec::new();
    let search = Search { is_known: &is_known, lengths: &[26, 32], is_named_authenticator: named };
    let read = |room: &mut [u8]| io::Read::read(&mut rest, room);
    search.run(&mut vec![0; block], read, &mut |left| rows.push(row(&left))).unwrap();
    rows
}

fn search(text: &str) -> Vec<Row> {
    search_in(BLOCK, false, text.as_bytes()).into_iter().filter(|row| row.0 != Kind::KeyText).collect()
}

fn uri_row(line: u64, account: &str) -> Row {
    (Kind::Uri, line, account.to_owned(), 160, true)
}

#[test]
fn a_uri_is_found_however_it_is_wrapped() {
    let encoded = format!("otpauth%3A%2F%2Ftotp%2Fh1%3Aalice%3Fsecret%3D{KEY}%26issuer%3Dh1");
    for text in [
        format!("otpauth://totp/h1:alice?secret={KEY}&issuer=h1"),
        format!("x\0otpauth://totp/h1:alice?secret={KEY}\0y"),
        format!("qr 'otpauth://totp/h1:alice?issuer=h1&secret={KEY}' | x"),
        format!("<a href=\"otpauth://totp/h1:alice?issuer=h1&amp;secret={KEY}\">"),
        format!("{{\"uri\":\"otpauth:\\/\\/totp\\/h1:alice?issuer=h1\\u0026secret={KEY}\"}}"),
        format!("OTPAUTH://TOTP/h1:alice?SECRET={KEY}"),
        format!("(see otpauth://totp/h1:alice?secret={KEY}).)"),
        format!("otpauth://totp/Big Co:alice?secret={KEY} and more"),
        format!(
            "https://www.google.com/chart?chs=200x200&chl=otpauth://totp/h1:alice%3Fsecret%3D{KEY}%26issuer%3Dh1&x=y"
        ),
        format!("https://example.org/?d={encoded}&size=9"),
        format!("otpauth://totp/h1:alice?secret={}", GROUPED.replace(' ', "-").to_lowercase()),
    ] {
        assert_eq!(search(&text), [uri_row(1, "alice")], "{text}");
    }
}

#[test]
fn a_text_about_uris_is_no_leftover() {
    for text in [
        "otpauth://",
        "otpauth://totp/{issuer}:{account}?secret={secret}",
        "otpauth://totp/a?secret=SECRET",
        "otpauth",
        "otpauth: no",
        "otpauth%20x",
        "otpauth-migration is a scheme",
        "otpauth:// and otpauth-migration:// links",
        "otpauth-migration://offline?data=...",
        "HOTP and TOTP are algorithms of RFC 4226",
    ] {
        assert_eq!(search(text), [], "{text}");
    }
}

#[test]
fn lines_are_counted() {
    let text = format!("\n\nx otpauth://totp/a?secret={KEY}\n{}otpauth://totp/b?secret={KEY}", "\n".repeat(7));
    assert_eq!(search(&text), [uri_row(3, "a"), uri_row(11, "b")]);
}

#[test]
fn the_file_of_google_authenticator_is_known_by_its_form_or_by_its_name() {
    let options = format!("{KEY}\n\" RATE_LIMIT 3 30\n\" TOTP_AUTH\n12345678\n");
    let expected = (Kind::Authenticator, 1, String::new(), 160, true);
    assert_eq!(search(&options), std::slice::from_ref(&expected));
    assert_eq!(search(&format!("{KEY}\n12345678\n")), []);
    let named = search_in(BLOCK, true, format!("{KEY}\n12345678\n").as_bytes());
    assert!(named.contains(&expected), "{named:?}");
    let old = search("JBSWY3DPEHPK3PXP\n\" TOTP_AUTH\n");
    assert_eq!(old, [(Kind::Authenticator, 1, String::new(), 80, false)]);
    assert_eq!(search("Dear reader\n\" quoted\n"), []);
}

#[test]
fn users_of_pam_oath_are_found_line_by_line() {
    let hex = "3132333435363738393031323334353637383930";
    let text = format!(
        "# users\nHOTP/T30/6 alice - {hex}\nHOTP bob 1234 {}\t7\nHOTP/E/8 carol - 00\nXHOTP x - {hex}\n",
        "ab".repeat(10)
    );
    let expected =
        [(Kind::OathUsers, 2, "alice".to_owned(), 160, true), (Kind::OathUsers, 3, "bob".to_owned(), 80, false)];
    assert_eq!(search(&text), expected);
}

#[test]
fn a_key_as_text_is_found_if_it_is_known_and_only_then() {
    let other = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";
    for (text, line) in [
        (KEY.to_owned(), 1),
        (KEY.to_lowercase(), 1),
        (format!("{}{KEY}", "x\n".repeat(4000)), 4001),
        (format!("{}{GROUPED}", "x\n".repeat(4000)), 4001),
        (format!("\necho {KEY} | qrtotp enroll alice --stdin\n"), 2),
        (format!("<p>{GROUPED}</p>"), 1),
        (format!("key:\t{}\r\n", GROUPED.replace(' ', "-")), 1),
        (format!("this code that AAAA BBBB {GROUPED} more text with four char\n"), 1),
        (format!("no words here of mine {other}\nwith four: \n{GROUPED}\n"), 3),
    ] {
        let rows = search_in(BLOCK, false, text.as_bytes());
        assert_eq!(rows, [(Kind::KeyText, line, String::new(), 160, true)], "{text}");
    }
    let not = [
        format!("A{KEY}"),
        GROUPED.replacen("GNBV ", "GNBV-", 1),
        GROUPED.replacen("GNBV ", "GNBV", 1),
        format!("{KEY}B"),
        other.to_owned(),
        "AAAA ".repeat(1000),
        "a".repeat(100_000),
    ];
    for text in not {
        assert_eq!(search_in(BLOCK, false, text.as_bytes()), [], "{text}");
    }
}

#[test]
fn every_word_of_the_shortest_length_is_looked_at_wherever_it_stands() {
    let search = Search { is_known: &is_known, lengths: &[32], is_named_authenticator: false };
    for before in 0..40 {
        let text = format!("{} {KEY} {KEY}\n{KEY}", "a".repeat(before));
        let (mut rest, mut lines) = (text.as_bytes(), Vec::new());
        let read = |room: &mut [u8]| io::Read::read(&mut rest, room);
        search.run(&mut buffer(), read, &mut |left| lines.push(left.line)).unwrap();
        assert_eq!(lines, [1, 1, 2], "{before}");
    }
}

#[test]
fn an_export_is_found_with_its_accounts_and_also_where_it_is_damaged() {
    let rows =
        search("x otpauth-migration://offline?data=CjEKFDEyMzQ1Njc4OTAxMjM0NTY3ODkwEgVhbGljZRoCaDEgASgBMAI%3D\n");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].0, Kind::Export);
    assert_eq!(search("otpauth-migration://offline?data=CjEKFDEyMz%%"), [(Kind::Export, 1, String::new(), 0, false)]);
}

#[test]
fn a_reader_that_fails_ends_the_search_with_its_error() {
    let search = Search { is_known: &is_known, lengths: &[26, 32], is_named_authenticator: false };
    let failed = search.run(&mut buffer(), |_| Err(io::Error::other("disk")), &mut |_| {});
    assert_eq!(failed.unwrap_err().to_string(), "disk");
}

proptest! {
    /// What lies across the edge of a block is found like anything else, once, and in its line.
    #[test]
    fn blocks_change_nothing(pieces in proptest::collection::vec(0..7_usize, 1..40), block in LONGEST + 64..3 * LONGEST) {
        let filler = "a b c\n".repeat(100);
        let kinds = [
            format!("otpauth://totp/h1:alice?secret={KEY}\n"), format!("{GROUPED}\n"), format!("{KEY}\n"),
            "HOTP/T30 bob - 3132333435363738393031323334353637383930\n".to_owned(),
            filler.clone(), "z".repeat(700), "AAAA BBBB ".repeat(90),
        ];
        let text: String = pieces.iter().map(|piece| kinds[*piece].as_str()).collect();
        let whole = search_in(text.len() + 1, false, text.as_bytes());
        prop_assert_eq!(search_in(block, false, text.as_bytes()), whole);
    }

    #[test]
    fn any_bytes_are_searched_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), named: bool) {
        let _ = search_in(LONGEST + 64, named, &bytes);
        let around = [b"otpauth://totp/".as_slice(), &bytes, b"HOTP ", &bytes].concat();
        let _ = search_in(LONGEST + 64, named, &around);
    }
}
