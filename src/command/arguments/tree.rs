//! The command line as a tree: what clap derives, with examples, and with what the arguments are, for completions.

use clap::{Arg, ArgMatches, Command, CommandFactory, Error, FromArgMatches, ValueHint};

use super::Arguments;
use super::examples::EXAMPLES;

/// Reads the command line of this process.
///
/// # Errors
/// What clap says of it: a mistake, or the help that was asked for.
pub fn read() -> Result<Arguments, Error> {
    let mut tree = command();
    let matches: ArgMatches = tree.try_get_matches_from_mut(std::env::args_os())?;
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut tree))
}

/// The whole tree. Every family of subcommands comes into help, manual, completions and README by standing in it.
pub fn command() -> Command {
    dressed(Arguments::command(), "")
}

fn dressed(command: Command, path: &str) -> Command {
    let names: Vec<_> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = names.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |sub| dressed(sub, format!("{path} {name}").trim_start()))
    });
    let command = command.mut_args(|argument| match argument.get_id().as_str() {
        "user" | "which" => argument.value_hint(ValueHint::Username),
        // Where nothing is known of a value, shells would offer files.
        _ if is_unknown(&argument) => argument.value_hint(ValueHint::Other),
        _ => argument,
    });
    match examples(path) {
        none if none.is_empty() => command,
        some => command.after_long_help(some),
    }
}

fn is_unknown(argument: &Arg) -> bool {
    argument.get_action().takes_values() && argument.get_value_hint() == ValueHint::Unknown
}

/// The examples of a subcommand, as its help shows them.
fn examples(path: &str) -> String {
    let lines = of(path).map(|(line, what)| format!("\n  {line}\n      {what}\n"));
    let text = lines.collect::<String>();
    if text.is_empty() { text } else { format!("Examples:{text}") }
}

/// The examples of a subcommand: what is typed, and what that does.
pub fn of(path: &str) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
    EXAMPLES.iter().filter(move |(of, _, _)| *of == path).map(|(_, line, what)| (*line, *what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_an_example_and_every_example_a_subcommand() {
        let tree = command();
        let names: Vec<_> = tree.get_subcommands().filter(|sub| !sub.is_hide_set()).map(Command::get_name).collect();
        for name in &names {
            assert!(of(name).next().is_some(), "qrtotp {name}: give it an example in arguments/examples.rs");
        }
        for (path, line, _) in EXAMPLES {
            assert!(names.contains(path), "{line}: there is no subcommand {path}");
            assert!(line.starts_with(&format!("qrtotp {path}")), "{line}: is no example of {path}");
        }
    }
}
