use super::*;
use crate::otp::code::Generator;
use crate::otp::{Secret, Shape};
use crate::policy::Policy;
use crate::testkit::{Fakes, PHONE, PHONE_KEY, Person, Says, name, says};
use crate::words::Label;

struct Room {
    fakes: Fakes<'static>,
    policy: Policy,
}

impl Room {
    fn new(policy: &str) -> Self {
        Self { fakes: Fakes::default(), policy: Policy::parse(policy).unwrap() }
    }

    fn confirm(&self, answers: Vec<Says<'_>>) -> (Result<Step, Stopped>, Vec<String>) {
        self.confirm_for("alice", "h1", answers)
    }

    fn confirm_for(&self, user: &str, host: &str, answers: Vec<Says<'_>>) -> (Result<Step, Stopped>, Vec<String>) {
        let mut person = Person { answers: answers.into(), ..Person::default() };
        let user = name(user);
        let done = self.wizard(&user, host).confirm(&draft(), &mut person);
        assert!(person.answers.is_empty());
        assert!(person.asked.iter().all(|(text, echo)| *echo && text.starts_with('\n')));
        (done, person.asked.into_iter().map(|(text, _)| text).collect())
    }

    fn wizard<'a>(&'a self, user: &'a UserName, host: &'a str) -> Wizard<'a> {
        let (enrolling, window) = (&self.policy.enrolling, self.policy.window);
        Wizard { enrolling, window, clock: &self.fakes, user, host, is_sshd: true }
    }

    fn step(&self) -> Step {
        Shape::default().step_at(self.fakes.now.get().unwrap().wall)
    }

    fn code(&self, offset: i64) -> String {
        let generator = Generator::new(&Secret::from_base32(PHONE_KEY).unwrap(), Shape::default()).unwrap();
        generator.code(self.step().offset(offset)).to_text().to_string()
    }
}

fn draft() -> Draft {
    let secret = Secret::from_base32(PHONE_KEY).unwrap();
    Draft { secret, shape: Shape::default(), label: Label::parse("phone").unwrap(), id: PHONE }
}

/// Reads a picture out of a page with a reader that is not ours.
fn read_back(page: &str, ink: Ink) -> String {
    const PIXELS: usize = 4;
    let is_ascii = !page.contains('\u{2588}');
    let is_drawn = |line: &&str| {
        let used = |c: char| matches!(c, '\u{2588}' | '\u{2580}' | '\u{2584}' | '#');
        line.chars().filter(|c| used(*c)).count() > 4 || line.len() > 60 && line.trim().is_empty()
    };
    let lines: Vec<Vec<char>> = page.lines().filter(is_drawn).map(|line| line.chars().collect()).collect();
    let (width, height) = if is_ascii { (45, lines.len()) } else { (49, lines.len() * 2) };
    let inked = |x: usize, y: usize| {
        let (column, row) = (x / PIXELS, y / PIXELS);
        let (line, column, lower) = if is_ascii { (row, column * 2, false) } else { (row / 2, column, row % 2 == 1) };
        match lines[line].get(column).copied().unwrap_or(' ') {
            '\u{2588}' | '#' => true,
            '\u{2580}' => !lower,
            '\u{2584}' => lower,
            _ => false,
        }
    };
    let shade = |x, y| if inked(x, y) == (ink == Ink::Light) { 255 } else { 0 };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width * PIXELS, height * PIXELS, shade);
    let grids = image.detect_grids();
    grids.first().expect("a picture").decode().expect("readable").1
}

#[test]
fn a_right_code_confirms_and_gives_its_step() {
    let room = Room::new("");
    for offset in [0, -1] {
        let (done, asked) = room.confirm(vec![says(room.code(offset))]);
        assert_eq!((done, asked.len()), (Ok(room.step().offset(offset)), 1));
    }
}

#[test]
fn the_page_holds_a_picture_the_key_and_who_enrolls_where() {
    let room = Room::new("");
    let (_, asked) = room.confirm(vec![says("q")]);
    assert_eq!(
        read_back(&asked[0], Ink::Light),
        "otpauth://totp/h1:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=h1"
    );
    for part in [
        "\nEnrolling alice on h1, issuer h1, device \"phone\"\n",
        "  GEZD GNBV GY3T QOJQ",
        "hangs up 120 s",
        "q: give up): ",
    ] {
        assert!(asked[0].contains(part), "{part}");
    }
}

#[test]
fn a_page_of_usual_names_fits_80_columns_and_24_lines_with_the_line_of_the_ssh_client() {
    let long = "web-frontend-07.production.example.com";
    for (user, host) in [("al", "h1"), ("alice", "web01.example.com"), ("alice.wonderland", long), ("a.b-c_d.e", long)]
    {
        let (_, asked) = Room::new("").confirm_for(user, host, vec![says("q")]);
        let lines: Vec<_> = asked[0].split('\n').collect();
        assert!(
            lines.len() <= 24 && lines.iter().all(|line| line.chars().count() <= 80),
            "{user}@{host}: {}",
            asked[0]
        );
        assert!(read_back(&asked[0], Ink::Light).contains(&format!("{host}:{user}?secret=")));
    }
}

#[test]
fn names_too_long_for_a_picture_are_cut_in_it_and_the_page_still_fits() {
    let issuer = "Example University Hospital, Department of Radiology, Oncology";
    let room = Room::new(&format!("[enroll]\nissuer = \"{issuer}\"\n"));
    let (_, asked) = room.confirm_for("carol.christiansen.von.und.zu.holstein", "h1", vec![says("a"), says("q")]);
    assert!(
        asked[0].split('\n').count() <= 24 && asked[0].lines().all(|line| line.chars().count() <= 80),
        "{}",
        asked[0]
    );
    assert!(asked[1].lines().all(|line| line.len() <= 80), "{}", asked[1]);
    for page in &asked {
        assert!(read_back(page, Ink::Light).contains("Example%20Univ"), "{page}");
    }
}

#[test]
fn the_picture_can_be_inverted_and_drawn_in_ascii_as_often_as_wanted() {
    let room = Room::new("");
    let (done, asked) = room.confirm(vec![says("i"), says(" A "), says("I"), says("q")]);
    assert_eq!((done, asked.len()), (Err(Stopped::GivenUp), 4));
    for (page, ink) in asked.iter().zip([Ink::Light, Ink::Dark, Ink::Dark, Ink::Light]) {
        assert!(read_back(page, ink).starts_with("otpauth://"));
    }
    assert!(asked[2].is_ascii() && asked[3].is_ascii());
    let (_, asked) = room.confirm(vec![says("a"), says("a"), says("q")]);
    assert_eq!(asked[0], asked[2], "and small again");
    let presses = |count| (0..count).map(|_| says("i")).collect();
    assert_eq!(room.confirm(presses(ANSWERS)).0, Err(Stopped::GivenUp), "nobody is kept busy for ever");
}

#[test]
fn a_wrong_code_asks_again_and_the_fifth_ends() {
    let room = Room::new("");
    let (done, asked) = room.confirm(vec![says("000000"), says("hello"), says(room.code(0))]);
    assert_eq!(done, Ok(room.step()));
    assert!(asked[1].contains("That code is wrong") && asked[1].contains("4 tries are left"), "{}", asked[1]);
    assert!(asked[2].contains("A code has 6 digits") && asked[2].contains("3 tries are left"), "{}", asked[2]);
    let (done, asked) = room.confirm(vec![says(""), says(room.code(0))]);
    assert!(done.is_ok() && asked[0] == asked[1], "nothing costs nothing");
    let (done, asked) = room.confirm((0..TRIES).map(|_| says("000000")).chain([says("")]).collect());
    assert_eq!((done, asked.len()), (Err(Stopped::GivenUp), 6));
    assert!(asked[5].contains("Nothing was stored"), "{}", asked[5]);
    let (_, asked) = room.confirm(vec![says(room.code(4)), says("q")]);
    assert!(asked[1].contains("2 min 0 s ahead of"), "{}", asked[1]);
}

#[test]
fn a_hang_up_ends_it() {
    let room = Room::new("");
    assert_eq!(room.confirm(vec![Box::new(|| None)]).0, Err(Stopped::NoConversation));
    assert_eq!(room.confirm(vec![says("000000"), Box::new(|| None)]).0, Err(Stopped::NoConversation));
}

#[test]
fn two_codes_confirm_only_if_the_second_follows_the_first() {
    let room = Room::new("[enroll]\nconfirm = 2\n[totp]\nfuture = 1");
    let (done, asked) = room.confirm(vec![says(room.code(0)), says(room.code(0)), says(room.code(1))]);
    assert_eq!(done, Ok(room.step().offset(1)));
    assert!(asked[1].contains("Next code"));
    let (done, _) = room.confirm(vec![says(room.code(-1)), says(room.code(1)), says(room.code(0)), says(room.code(1))]);
    assert_eq!(done, Ok(room.step().offset(1)), "who missed one goes on from the next");
    let (done, _) = room.confirm(vec![says(room.code(0)), says("q")]);
    assert_eq!(done, Err(Stopped::GivenUp));
    let again = || says(room.code(0));
    assert_eq!(room.confirm((0..6).map(|_| again()).collect()).0, Err(Stopped::GivenUp));
}

#[test]
fn a_right_code_after_the_clock_failed_is_none() {
    let room = Room::new("");
    let code = room.code(0);
    room.fakes.now.set(None);
    assert_eq!(room.confirm(vec![says(code)]).0, Err(Stopped::NoTime));
}

#[test]
fn recovery_codes_are_handed_over_once_one_is_typed_back() {
    let room = Room::new("");
    let set = RecoverySet::new(&room.fakes, &[]).unwrap();
    let third = set.codes[2].to_text().to_ascii_lowercase();
    let hand_over = |answers: Vec<Says<'_>>| {
        let mut person = Person { answers: answers.into(), ..Person::default() };
        let user = name("alice");
        let done = room.wizard(&user, "h1").hand_over(&set, &mut person);
        assert!(person.answers.is_empty());
        (done, person.asked)
    };
    let (done, asked) = hand_over(vec![says("nothing"), says(third)]);
    assert_eq!(done, Ok(()));
    assert!(set.codes.iter().all(|code| asked[0].0.contains(code.to_text().as_str())));
    let lines: Vec<_> = asked[0].0.split('\n').collect();
    assert!(lines.len() <= 24 && lines.iter().all(|line| line.len() <= 80) && asked[0].1);
    assert!(!asked[1].0.contains(set.codes[0].to_text().as_str()), "shown once");
    for gives_up in ["q", " Q"] {
        assert_eq!(hand_over(vec![says(gives_up)]).0, Err(Stopped::GivenUp));
    }
    assert_eq!(hand_over((0..TRIES).map(|_| says("")).collect()).0, Err(Stopped::GivenUp));
    assert_eq!(hand_over(vec![Box::new(|| None)]).0, Err(Stopped::NoConversation));
}
