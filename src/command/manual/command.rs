//! `qrtotp(8)`, and a page for each subcommand, from the command line's own tree.

use clap::{Arg, Command};

use super::roff::{Page, bold, italic};
use crate::arguments::tree;
use crate::ending::Code;

/// Options that every subcommand takes; they are described once.
const EVERYWHERE: [&str; 4] = ["config", "json", "help", "version"];

/// The tree with everything in it that clap adds itself.
pub fn built() -> Command {
    let mut tree = tree::command().disable_help_subcommand(true);
    tree.build();
    tree
}

/// The subcommands that are shown.
pub fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// The options and arguments of a subcommand that are its own and shown.
pub fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set() && !EVERYWHERE.contains(&arg.get_id().as_str()))
}

/// `qrtotp(8)`: what there is.
pub fn overview(tree: &Command) -> Page {
    let mut page = Page::new("qrtotp", 8, "enroll people for one-time codes, and see what happens at logins");
    page.chapter("SYNOPSIS");
    let everywhere: Vec<_> = tree.get_arguments().filter(|arg| arg.is_global_set()).map(called).collect();
    page.synopsis("qrtotp", &[everywhere, vec![italic("COMMAND"), "...".to_owned()]].concat());
    page.chapter("DESCRIPTION");
    page.first(
        "`qrtotp` is the command beside `pam_qrtotp`(8), which asks for one-time codes (TOTP, RFC 6238) at sshd, login, su and \
         sudo. It enrolls people, or makes tickets with which they enroll themselves at a login; it manages their devices and \
         recovery codes, tries out the policy, and tells what happened and why. What it does follows the same rules as a login.",
    );
    page.more(
        "It must be run as root, but for `check-picture`. Every act that changes something is an event in syslog and in the \
         events file. How to bring one-time codes to a machine, step by step: `qrtotp`(7).",
    );
    page.chapter("COMMANDS");
    for sub in visible(tree) {
        page.item(&format!("`qrtotp-{}`(8)", sub.get_name()), &about(sub));
    }
    page.chapter("OPTIONS");
    page.first("Every subcommand takes these, but for `--version`:");
    for arg in tree.get_arguments().filter(|arg| EVERYWHERE.contains(&arg.get_id().as_str())) {
        describe(&mut page, tree, arg);
    }
    exit_status(&mut page);
    surroundings(&mut page);
    page.chapter("SEE ALSO");
    page.first("`qrtotp`(7), `pam_qrtotp`(8), `qrtotp-config`(5), `pam.d`(5), `sshd_config`(5)");
    page
}

fn exit_status(page: &mut Page) {
    page.chapter("EXIT STATUS");
    page.item("0", "done");
    for code in Code::ALL {
        page.item(&(code as u8).to_string(), code.meaning());
    }
}

fn surroundings(page: &mut Page) {
    page.chapter("ENVIRONMENT");
    page.item(
        "`LC_ALL`, `LC_CTYPE`, `LANG`",
        "Whether the terminal shows UTF-8, which decides how pictures are drawn where nothing else is said.",
    );
    page.item("`NO_COLOR`", "If it is set and not empty, output has no colours.");
    page.item("`SUDO_USER`, `LOGNAME`", "Who called, as the events name it. Nothing is decided by it.");
    page.chapter("FILES");
    let files = [
        ("/etc/qrtotp/config.toml", "The policy: `qrtotp-config`(5)."),
        ("/var/lib/qrtotp", "Keys, recovery codes, tickets and journals. Root's alone."),
        ("/var/log/qrtotp/events.jsonl", "A line an event; read it with `qrtotp-log`(8)."),
        ("/var/log/qrtotp/authenticators.jsonl", "What became of every device; never rotated."),
        ("/run/qrtotp", "Counters, and where people are not asked again. May be lost."),
        ("/usr/share/doc/qrtotp/examples", "Examples for /etc/pam.d."),
    ];
    files.into_iter().for_each(|(file, what)| page.item(&italic(file), what));
}

/// `qrtotp-NAME(8)`
pub fn of_subcommand(command: &Command) -> Page {
    let name = format!("qrtotp-{}", command.get_name());
    let mut page = Page::new(&name, 8, &lowered(first_clause(&about(command))));
    let inner: Vec<_> = visible(command).collect();
    page.chapter("SYNOPSIS");
    if inner.is_empty() {
        synopsis(&mut page, "qrtotp", command);
    }
    let words = format!("qrtotp {}", command.get_name());
    inner.iter().for_each(|sub| synopsis(&mut page, &words, sub));
    page.chapter("DESCRIPTION");
    page.first(&long_about(command));
    page.more("Options that every subcommand takes, and the exit codes, are in `qrtotp`(8).");
    if inner.is_empty() && own(command).next().is_some() {
        page.chapter("OPTIONS");
        own(command).for_each(|arg| describe(&mut page, command, arg));
    }
    if !inner.is_empty() {
        page.chapter("COMMANDS");
    }
    for sub in inner {
        page.part(&format!("{words} {}", sub.get_name()));
        page.first(&long_about(sub));
        own(sub).for_each(|arg| describe(&mut page, sub, arg));
    }
    page.chapter("EXAMPLES");
    for (line, what) in tree::of(command.get_name()) {
        page.more(what);
        page.example(line);
    }
    page.chapter("SEE ALSO");
    page.first("`qrtotp`(8), `qrtotp`(7), `qrtotp-config`(5), `pam_qrtotp`(8)");
    page
}

fn synopsis(page: &mut Page, words: &str, command: &Command) {
    let (options, values): (Vec<_>, Vec<_>) = own(command).partition(|arg| !arg.is_positional());
    let parts: Vec<_> = options.into_iter().chain(values).map(called).collect();
    page.synopsis(&format!("{words} {}", command.get_name()), &parts);
}

/// How an argument stands in a synopsis.
fn called(arg: &Arg) -> String {
    let form = form(arg, "|");
    let may_be_many = arg.is_positional() && arg.get_num_args().is_some_and(|number| number.max_values() > 1);
    let form = if may_be_many { format!("{form} ...") } else { form };
    if arg.is_required_set() { form } else { format!("[{form}]") }
}

/// `--qr QR`, `-f|--follow`, `USER`
fn form(arg: &Arg, between: &str) -> String {
    let value =
        || arg.get_value_names().unwrap_or_default().iter().map(|name| italic(name)).collect::<Vec<_>>().join(" ");
    if arg.is_positional() {
        return value();
    }
    let short = arg.get_short().map(|letter| bold(&format!("-{letter}")));
    let long = arg.get_long().map(|word| bold(&format!("--{word}")));
    let names = [short, long].into_iter().flatten().collect::<Vec<_>>().join(between);
    if arg.get_action().takes_values() { format!("{names} {}", value()) } else { names }
}

/// An item of the page: what it is called, what it means, its default, what it may be, and what it excludes.
fn describe(page: &mut Page, command: &Command, arg: &Arg) {
    page.item(&form(arg, ", "), &meaning(command, arg));
    let values = arg.get_possible_values();
    let values = values.iter().filter(|value| !value.is_hide_set());
    let values: Vec<_> = values
        .map(|value| (bold(value.get_name()), sentence(&value.get_help().map(ToString::to_string).unwrap_or_default())))
        .collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        page.inner(values);
    }
}

/// What an option means, in sentences.
pub fn meaning(command: &Command, arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    // Where the default is no fixed text, it stands at the end of the help.
    let (help, told) = match help.split_once(" [default: ") {
        Some((help, told)) => (help.to_owned(), told.trim_end_matches(['.', ']']).to_owned()),
        None => (help, String::new()),
    };
    let mut text = sentence(&help);
    let fixed: Vec<_> = arg.get_default_values().iter().map(|value| bold(&value.to_string_lossy())).collect();
    if arg.get_action().takes_values() && !fixed.is_empty() {
        text.push_str(&format!(" The default is {}.", fixed.join(" ")));
    } else if !told.is_empty() {
        text.push_str(&format!(" The default is {told}."));
    }
    if arg.get_value_delimiter().is_some() {
        text.push_str(" Several are parted by commas.");
    }
    let others: Vec<_> = command.get_arg_conflicts_with(arg).into_iter().map(|other| form(other, "|")).collect();
    if !others.is_empty() {
        text.push_str(&format!(" Not together with {}.", others.join(", ")));
    }
    text
}

/// What a subcommand does, in short.
pub fn about(command: &Command) -> String {
    sentence(&command.get_about().map(ToString::to_string).unwrap_or_default())
}

fn long_about(command: &Command) -> String {
    command.get_long_about().map_or_else(|| about(command), |text| sentence(&text.to_string()))
}

/// clap takes the full stop away.
fn sentence(text: &str) -> String {
    let is_whole = text.is_empty() || text.ends_with(['.', ':', '!', '?']);
    if is_whole { text.to_owned() } else { format!("{text}.") }
}

/// What stands before the first colon, semicolon, or full stop.
fn first_clause(text: &str) -> &str {
    let clause = [". ", ": ", "; "].into_iter().fold(text, |text, end| text.split(end).next().unwrap_or(text));
    clause.trim_end_matches('.')
}

fn lowered(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_lowercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}
