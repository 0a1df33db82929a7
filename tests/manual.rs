//! Help, manual pages, default policy and README: an option, key or argument that is in one of them is in the others.
//!
//! What is derived from one definition is the same by itself. These tests look at what comes out in the end, as people read
//! it, and at what was written by hand beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use qrtotp_core::module_line::ARGUMENTS;
use qrtotp_core::policy::keys::{Key, OF_COMMANDS, OF_LOGINS};
use qrtotp_core::policy::{alerts, rules};
use qrtotp_core::verdict::Cause;
use qrtotp_tests::product::{POLICY, target_folder};
use qrtotp_tests::sandbox::Sandbox;

const README: &str = include_str!("../README.md");
const FORMAT: &str = include_str!("../docs/FORMAT.md");
/// What every subcommand takes; `qrtotp(8)` has it.
const EVERYWHERE: [&str; 4] = ["--config", "--json", "--help", "--version"];
/// Options of other programs, which the README names.
const FOREIGN: [&str; 5] = ["--release", "--workspace", "--locked", "--now", "--enable"];

type Names = BTreeSet<String>;

fn names<'a>(words: impl IntoIterator<Item = &'a str>) -> Names {
    words.into_iter().map(str::to_owned).collect()
}

/// Everything that the command writes, in a folder that goes with its owner.
struct Made {
    pages: BTreeMap<String, String>,
    folder: String,
}

impl Made {
    fn new(name: &str) -> Self {
        let folder = format!("{}/qrtotp-manual-{}-{name}", std::env::temp_dir().display(), std::process::id());
        // A package is built by nobody in particular: this needs no root, no policy and no state.
        let ran = Command::new(target_folder().join("qrtotp")).args(["generate", &folder]).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let files = fs::read_dir(format!("{folder}/man")).unwrap().map(|entry| entry.unwrap());
        let pages = files.map(|file| {
            (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap().replace("\\-", "-"))
        });
        Self { pages: pages.collect(), folder }
    }

    /// A page, with its hyphens as they are read.
    fn page(&self, name: &str) -> &str {
        self.pages.get(name).unwrap_or_else(|| panic!("there is no page {name}"))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A chapter (`.SH`) or a part (`.SS`) of a page, up to the next one.
fn part_of<'a>(page: &'a str, request: &str, title: &str) -> &'a str {
    let head = format!("{request} \"{title}\"\n");
    let (_, rest) = page.split_once(&head).unwrap_or_else(|| panic!("no {head} in:\n{page}"));
    let ends = [".SH ", if request == ".SS" { ".SS " } else { ".SH " }];
    let end = ends.into_iter().filter_map(|end| rest.find(&format!("\n{end}"))).min();
    rest.split_at(end.unwrap_or(rest.len())).0
}

/// What stands in bold in a line of a page.
fn bold(line: &str) -> Names {
    names(line.split("\\fB").skip(1).map(|rest| rest.split("\\fR").next().unwrap()))
}

/// What the items of a list are called: the bold words of the lines below `.TP`.
fn items(text: &str) -> Names {
    // Lists within an item, of the words that an option takes, are no options.
    let outer = text.split(".RS\n").map(|piece| piece.split_once(".RE\n").map_or(piece, |(_, behind)| behind));
    let outer = outer.collect::<String>();
    let mut lines = outer.lines();
    let mut found = Names::new();
    while lines.by_ref().any(|line| line == ".TP") {
        found.extend(bold(lines.next().unwrap()));
    }
    found
}

fn options(words: Names) -> Names {
    words.into_iter().filter(|word| word.starts_with('-')).collect()
}

/// A subcommand that does something, and its own options.
type Tree = BTreeMap<String, Names>;

fn help_of(path: &[&str]) -> String {
    let ran = Command::new(target_folder().join("qrtotp")).args(path).arg("--help").output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

/// The lines of a chapter of a help.
fn chapter<'a>(help: &'a str, title: &str) -> impl Iterator<Item = &'a str> {
    let below = help.lines().skip_while(move |line| *line != format!("{title}:")).skip(1).collect::<Vec<_>>();
    below.into_iter().take_while(|line| line.is_empty() || line.starts_with(' '))
}

/// All that the helps tell.
fn in_help(path: &[&str], tree: &mut Tree) {
    let help = help_of(path);
    let inner = chapter(&help, "Commands").filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let inner: Vec<_> =
        inner.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    if inner.is_empty() {
        // Options begin in the third column, or in the seventh where they have no short form.
        let is_option = |line: &&str| line.trim_start().starts_with('-') && line.find('-').is_some_and(|at| at < 8);
        let words = chapter(&help, "Options").filter(is_option).flat_map(|line| {
            let words = line.split_whitespace().map(|word| word.trim_end_matches([',', '.']));
            words.take_while(|word| word.starts_with('-')).map(str::to_owned).collect::<Vec<_>>()
        });
        let own = words.filter(|word| !EVERYWHERE.contains(&word.as_str()) && word != "-h" && word != "-V").collect();
        tree.insert(path.join(" "), own);
    }
    inner.iter().for_each(|name| in_help(&[path, &[name]].concat(), tree));
}

fn helps() -> Tree {
    let mut tree = Tree::new();
    in_help(&[], &mut tree);
    assert!(tree.len() > 30, "{tree:?}");
    assert!(tree["enroll"].contains("--unverified") && tree["log"].contains("-f"), "{tree:?}");
    tree
}

/// All that the pages tell: by their items, and by the synopsis.
fn in_manual(made: &Made, in_synopsis: bool) -> Tree {
    let mut tree = Tree::new();
    for (file, page) in &made.pages {
        let Some(name) = file.strip_prefix("qrtotp-").and_then(|name| name.strip_suffix(".8")) else { continue };
        for call in part_of(page, ".SH", "SYNOPSIS").split(".SY \"qrtotp ").skip(1) {
            let (path, form) = call.split_once("\"\n").unwrap();
            assert!(path.split(' ').next() == Some(name), "{file}: {path}");
            let text = match (in_synopsis, path.contains(' ')) {
                (true, _) => form,
                (_, true) => part_of(page, ".SS", &format!("qrtotp {path}")),
                (_, false) if page.contains(".SH \"OPTIONS\"\n") => part_of(page, ".SH", "OPTIONS"),
                (_, false) => "",
            };
            let words = if in_synopsis { form.lines().flat_map(bold).collect() } else { items(text) };
            tree.insert(path.to_owned(), options(words));
        }
    }
    tree
}

/// The reference of the README.
fn in_readme() -> Tree {
    let chapter = README.split("## Reference").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = chapter.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<_> = line.split(" | ").collect();
        let call = cells[0].trim_start_matches("| ").trim_matches('`').replace("\\|", "|");
        let path = call.split(' ').take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
        let options = cells[1].split('`').skip(1).step_by(2).map(|form| form.split(' ').next().unwrap());
        (path.collect::<Vec<_>>().join(" "), names(options))
    };
    rows.map(row).collect()
}

/// Says what one of them has and the other has not.
fn same(one: &Tree, other: &Tree, places: [&str; 2], advice: &str) {
    let paths = one.keys().chain(other.keys()).collect::<BTreeSet<_>>();
    for path in paths {
        match (one.get(path), other.get(path)) {
            (Some(one), Some(other)) => {
                let differ: Vec<_> = one.symmetric_difference(other).collect();
                let [here, there] = places;
                assert!(differ.is_empty(), "qrtotp {path}: {differ:?} is in {here} or {there} alone; {advice}");
            }
            (here, _) => {
                let place = places[usize::from(here.is_none())];
                panic!("qrtotp {path}: only in {place}; {advice}");
            }
        }
    }
}

const MAKE_README: &str = "make the README's reference anew with: cargo run -p qrtotp -- generate --readme README.md";

#[test]
fn an_option_that_is_in_help_manual_or_readme_is_in_all_of_them() {
    let (made, helps) = (Made::new("options"), helps());
    same(&helps, &in_manual(&made, false), ["the help", "the manual page"], "");
    same(&helps, &in_manual(&made, true), ["the help", "the synopsis of the manual page"], "");
    same(&helps, &in_readme(), ["the help", "the README"], MAKE_README);
    for place in [items(part_of(made.page("qrtotp.8"), ".SH", "OPTIONS")), names(README.split(['`', ' ']))] {
        // `qrtotp --help` and `--version` are what everybody tries; the README does not name them.
        let wanted = EVERYWHERE.iter().take(2).filter(|option| !place.contains(**option)).collect::<Vec<_>>();
        assert!(wanted.is_empty(), "{wanted:?}");
    }
    let listed = items(part_of(made.page("qrtotp.8"), ".SH", "COMMANDS"));
    let pages: Names = made.pages.keys().filter_map(|name| name.strip_suffix(".8")).map(str::to_owned).collect();
    let missing: Vec<_> = listed.symmetric_difference(&pages).filter(|name| !name.ends_with("qrtotp")).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Says for each of these subcommands which options bash's script knows.
const OPTIONS_OF_BASH: &str = r#"
. "$1/completions/qrtotp"
shift
for path; do
    _qrtotp_command "$path"
    echo "$options"
done
"#;

#[test]
fn every_option_and_nothing_hidden_is_offered_by_completions() {
    let (made, helps) = (Made::new("completions"), helps());
    let bash = Command::new("bash").args(["-uc", OPTIONS_OF_BASH, "bash", &made.folder]).args(helps.keys()).output();
    let bash = String::from_utf8(bash.unwrap().stdout).unwrap();
    assert_eq!(bash.lines().count(), helps.len(), "{bash}");
    for (line, (path, wanted)) in bash.lines().zip(&helps) {
        let offered = line.split(' ').filter(|option| !EVERYWHERE.contains(option) && *option != "-h");
        assert_eq!(&names(offered), wanted, "qrtotp {path}");
    }
    let [zsh, fish] = ["_qrtotp", "qrtotp.fish"]
        .map(|name| fs::read_to_string(format!("{}/completions/{name}", made.folder)).unwrap());
    for option in helps.values().flatten().filter_map(|option| option.strip_prefix("--")) {
        assert!(zsh.contains(&format!("--{option}[")) || zsh.contains(&format!("--{option}=[")), "zsh: --{option}");
        assert!(fish.contains(&format!(" -l {option} ")), "fish: --{option}");
    }
    for hidden in ["run-hook", "read-picture", "generate"] {
        let named = [&bash, &zsh, &fish].into_iter().filter(|text| text.contains(hidden)).count();
        assert_eq!(named, 0, "{hidden}");
    }
}

#[test]
fn the_reference_of_the_readme_is_what_the_command_writes() {
    let made = Made::new("readme");
    let copy = format!("{}/README.md", made.folder);
    fs::write(&copy, README).unwrap();
    let ran = Command::new(target_folder().join("qrtotp")).args(["generate", "--readme", &copy]).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert!(fs::read_to_string(&copy).unwrap() == README, "{MAKE_README}");
}

/// Every `--option` in a text: two dashes, and a letter.
fn mentioned(text: &str) -> Names {
    let starts = text.match_indices("--").map(|(at, _)| text.split_at(at));
    let words =
        starts.filter(|(before, _)| !before.ends_with(['-', '!', '|']) && !before.ends_with(char::is_alphanumeric));
    let word = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
        rest.split_at(end).0.trim_end_matches('-').to_owned()
    };
    words.map(|(_, rest)| word(rest)).filter(|word| word.len() > 2).collect()
}

#[test]
fn no_text_names_an_option_that_there_is_not() {
    let made = Made::new("mentioned");
    let known: Names = helps().into_values().flatten().chain(names(EVERYWHERE.into_iter().chain(FOREIGN))).collect();
    let scripts = [include_str!("../packaging/install.sh"), include_str!("../packaging/demo.sh")].concat();
    let of_scripts = mentioned(&scripts);
    let is_strange = |option: &String| !known.contains(option) && !of_scripts.contains(option);
    // Comments are for those who change the README.
    let readme = README.split("<!--").map(|piece| piece.split_once("-->").map_or(piece, |(_, behind)| behind));
    let strange: Vec<_> = mentioned(&readme.collect::<String>()).into_iter().filter(is_strange).collect();
    assert!(strange.is_empty(), "README.md: {strange:?}");
    for (name, page) in &made.pages {
        // Pages are not about scripts.
        let strange: Vec<_> = mentioned(page).into_iter().filter(|option| !known.contains(option)).collect();
        assert!(strange.is_empty() || strange == ["--now"], "{name}: {strange:?}");
    }
}

fn all_keys() -> impl Iterator<Item = &'static Key> {
    OF_LOGINS.into_iter().chain(OF_COMMANDS)
}

/// `[section] key` of each.
fn full(key: &Key) -> String {
    format!("[{}] {}", key.section, key.name)
}

/// Sections and their keys, keys of a rule, keys of an alert.
struct Keys {
    sections: Names,
    rule: Names,
    alert: Names,
}

fn defined() -> Keys {
    Keys {
        sections: all_keys().map(full).collect(),
        rule: names(rules::KEYS.iter().map(|key| key.name)),
        alert: names(alerts::KEYS.iter().map(|key| key.name)),
    }
}

/// What the default file has.
fn in_default_file() -> Keys {
    let sandbox = Sandbox::bare();
    let _ = fs::remove_file(POLICY);
    assert_eq!(sandbox.qrtotp(&["init"]).code, 0);
    let text = fs::read_to_string(POLICY).unwrap();
    let (mut keys, mut section) = (Keys { sections: Names::new(), rule: Names::new(), alert: Names::new() }, "");
    for line in text.lines() {
        let bare = line.trim_start_matches(['#', ' ']);
        let name = bare.split_once(" = ").map(|(name, _)| name).filter(|name| !name.contains(' '));
        match (bare.starts_with('['), section, name) {
            (true, _, _) => section = bare,
            (_, "[[rule]]", Some(name)) => _ = keys.rule.insert(name.to_owned()),
            (_, "[[alert]]", Some(name)) => _ = keys.alert.insert(name.to_owned()),
            (_, section, Some(name)) => _ = keys.sections.insert(format!("{section} {name}")),
            _ => {}
        }
    }
    keys
}

fn in_config_page(page: &str) -> Keys {
    let sections = part_of(page, ".SH", "SECTIONS").split(".SS \"").skip(1).flat_map(|part| {
        let (section, text) = part.split_once("\"\n").unwrap();
        items(text).into_iter().map(move |name| format!("{section} {name}"))
    });
    let first = |title| items(part_of(page, ".SH", title).split("\n.SS").next().unwrap());
    Keys { sections: sections.collect(), rule: first("RULES"), alert: first("ALERTS") }
}

fn chapter_of_readme(title: &str) -> &'static str {
    README.split(&format!("\n## {title}\n")).nth(1).unwrap().split("\n## ").next().unwrap()
}

/// The names in backquotes of a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The first cells of a table that begins with this head.
fn first_cells<'a>(chapter: &'a str, head: &str) -> impl Iterator<Item = &'a str> {
    let (_, table) = chapter.split_once(head).unwrap_or_else(|| panic!("no table {head}"));
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|line| line.split('|').nth(1).unwrap())
}

fn in_readme_keys() -> Keys {
    let mut sections = Names::new();
    for cell in first_cells(chapter_of_readme("The policy"), "| key | default | |") {
        let mut section = "";
        for name in quoted(cell) {
            let (of, name) =
                name.split_once("] ").map_or((section, name), |(of, name)| (of.trim_start_matches('['), name));
            section = of;
            sections.insert(format!("[{section}] {name}"));
        }
    }
    // Two that are explained in the row of `mode`.
    let row = README.lines().find(|line| line.starts_with("| `[limits] mode`")).unwrap();
    sections.extend(
        quoted(row).filter(|name| ["attempts", "seconds"].contains(name)).map(|name| format!("[limits] {name}")),
    );
    let rules = chapter_of_readme("Who, where, when");
    let (conditions, _) = rules.split_once("conditions (").unwrap().1.split_once(", and options").unwrap();
    let options = first_cells(rules, "| option | with | what it does |").flat_map(quoted);
    let alerts = first_cells(chapter_of_readme("Be warned"), "| key | |").flat_map(quoted);
    Keys { sections, rule: names(quoted(conditions).chain(options)), alert: names(alerts) }
}

#[test]
fn a_key_that_is_defined_or_in_default_file_manual_or_readme_is_in_all_of_them() {
    let made = Made::new("keys");
    let defined = defined();
    let page = in_config_page(made.page("qrtotp-config.5"));
    let places =
        [("the default file", in_default_file()), ("qrtotp-config(5)", page), ("the README", in_readme_keys())];
    for (place, there) in places {
        let groups = [
            ("key", &there.sections, &defined.sections),
            ("key of a rule", &there.rule, &defined.rule),
            ("key of an alert", &there.alert, &defined.alert),
        ];
        for (what, there, defined) in groups {
            let missing: Vec<_> = defined.difference(there).collect();
            assert!(missing.is_empty(), "{what}: {place} does not have {missing:?}");
            let strange: Vec<_> = there.difference(defined).collect();
            assert!(strange.is_empty(), "{what}: {place} has {strange:?}, and no login reads that");
        }
    }
}

/// Every `[section] key` that a text speaks of.
fn spoken_of(text: &str) -> Names {
    let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let pieces = text.split('[').skip(1).filter_map(|piece| piece.split_once("] "));
    let named = pieces.filter(|(section, _)| is_name(section) && all_keys().any(|key| key.section == *section));
    let named = named.filter_map(|(section, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        let name = rest.split_at(end).0;
        is_name(name).then(|| format!("[{section}] {name}"))
    });
    named.collect()
}

#[test]
fn no_text_speaks_of_a_key_that_there_is_not() {
    let made = Made::new("spoken");
    let defined = defined().sections;
    let texts = made.pages.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let helps = helps().keys().map(|path| help_of(&path.split(' ').collect::<Vec<_>>())).collect::<String>();
    for (name, text) in texts.chain([("README.md", README), ("docs/FORMAT.md", FORMAT), ("the helps", &helps)]) {
        // A section in passing, as in "[geo] and", is followed by a common word.
        let common = ["and", "or", "keeps", "is", "of", "reads"];
        let strange = spoken_of(text).into_iter().filter(|key| !defined.contains(key));
        let strange: Vec<_> = strange.filter(|key| !common.contains(&key.split(' ').nth(1).unwrap())).collect();
        assert!(strange.is_empty(), "{name}: {strange:?}");
    }
}

#[test]
fn an_argument_of_the_module_that_is_defined_or_in_manual_or_readme_is_in_all_of_them() {
    let made = Made::new("arguments");
    let page = made.page("pam_qrtotp.8");
    let bare =
        |words: Names| words.into_iter().map(|word| word.split('=').next().unwrap().to_owned()).collect::<Names>();
    let defined = names(ARGUMENTS.map(|argument| argument.name));
    assert_eq!(bare(items(part_of(page, ".SH", "ARGUMENTS"))), defined);
    assert_eq!(bare(part_of(page, ".SH", "SYNOPSIS").lines().flat_map(bold).collect()), defined);
    let (_, sentence) = README.split_once("Arguments: ").unwrap();
    assert_eq!(bare(names(quoted(sentence.split("\n\n").next().unwrap()))), defined);
}

#[test]
fn a_reason_that_is_defined_or_in_the_manual_or_in_the_format_is_in_all_of_them() {
    let made = Made::new("reasons");
    let page = made.page("pam_qrtotp.8");
    let defined = names(Cause::ALL.map(Cause::reason));
    assert_eq!(items(part_of(page, ".SS", "Reasons")), defined);
    let answers = part_of(page, ".SH", "RETURN VALUES").split("Reasons: ").skip(1);
    assert_eq!(answers.flat_map(|text| bold(text.split('\n').next().unwrap())).collect::<Names>(), defined);
    assert_eq!(names(first_cells(FORMAT, "| reason | PAM answer | meaning |").flat_map(quoted)), defined);
}

#[test]
fn pages_are_good_to_mandoc_and_groff_and_fit_a_terminal() {
    let made = Made::new("lint");
    for name in made.pages.keys() {
        let path = format!("{}/man/{name}", made.folder);
        let run = |program: &str, arguments: &[&str]| {
            let ran = Command::new(program).args(arguments).arg(&path).output().expect(program);
            (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap())
        };
        // Two builds of a version make the same page, so there is no date.
        let (lint, _) = run("mandoc", &["-T", "lint", "-W", "warning"]);
        let complaints: Vec<_> = lint.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        let (_, complaints) = run("groff", &["-man", "-ww", "-T", "utf8", "-P-c"]);
        assert_eq!(complaints, "", "{name}");
        let (read, _) = run("mandoc", &["-T", "utf8", "-O", "width=78"]);
        let bare = |line: &str| {
            // Bold is a letter, a backspace and the letter again.
            let backspaces = line.matches('\u{8}').count();
            line.chars().count() - 2 * backspaces
        };
        let wide: Vec<_> = read.lines().filter(|line| bare(line) > 80).collect();
        assert!(wide.is_empty(), "{name}: {wide:?}");
        assert!(read.contains(concat!("qrtotp ", env!("CARGO_PKG_VERSION"))) || read.contains("\u{8}"), "{name}");
    }
}
