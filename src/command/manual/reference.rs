//! The README's reference: every subcommand with its arguments and options, in one table between two marks.

use clap::{Arg, Command};

use super::command::{about, built, own, visible};

/// The marks, each a line of the README.
const MARKS: [&str; 2] = [
    "<!-- The table is made by the command: qrtotp generate --readme README.md -->",
    "<!-- The end of what is made by the command. -->",
];

/// A README with the reference anew. `None` where it has not both marks.
pub fn renewed(readme: &str) -> Option<String> {
    let (before, rest) = readme.split_once(MARKS.first()?)?;
    let (_, after) = rest.split_once(MARKS.last()?)?;
    Some(format!("{before}{}\n{}{}{after}", MARKS.first()?, table(), MARKS.last()?))
}

fn table() -> String {
    let mut text = String::from("\n| subcommand | options | |\n|---|---|---|\n");
    let tree = built();
    rows(&tree, "", &mut text);
    text.push('\n');
    text
}

fn rows(command: &Command, path: &str, text: &mut String) {
    for sub in visible(command) {
        let path = format!("{path} {}", sub.get_name());
        let path = path.trim_start();
        if visible(sub).next().is_some() {
            rows(sub, path, text);
            continue;
        }
        let values = own(sub).filter(|arg| arg.is_positional()).map(|arg| format!(" {}", positional(arg)));
        let options: Vec<_> = own(sub).filter(|arg| !arg.is_positional()).map(option).collect();
        let cells = [format!("`{path}{}`", values.collect::<String>()), options.join(", "), about(sub)];
        text.push_str(&format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
}

fn positional(arg: &Arg) -> String {
    let name = value(arg);
    let takes_several = arg.get_num_args().is_some_and(|number| number.max_values() > 1);
    let name = if takes_several { format!("{name}...") } else { name };
    if arg.is_required_set() { name } else { format!("[{name}]") }
}

fn option(arg: &Arg) -> String {
    let name = arg.get_long().unwrap_or_default();
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let value = if arg.get_action().takes_values() { format!(" {}", value(arg)) } else { String::new() };
    format!("{short}`--{name}{value}`")
}

/// Its value: the words that it takes, if there are few, else its name.
fn value(arg: &Arg) -> String {
    let words: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let name = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if words.is_empty() || !arg.get_action().takes_values() { name } else { words.join("|") }
}
