//! Completions for the shells. clap_complete makes those of zsh and fish; what fish is to offer for an argument that is no
//! option is added here. Its bash knows neither users nor what an argument takes by its place, so that one is made here.

use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use super::command::{built, visible};

/// What a value can be completed to.
enum Offer {
    /// One of these.
    Words(String),
    /// Users.
    Users,
    /// PAM services.
    Services,
    /// Files and folders.
    Files,
    /// Nothing that the shell knows.
    Nothing,
}

impl Offer {
    fn of(arg: &Arg) -> Self {
        let values = arg.get_possible_values();
        let words: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).map(|value| value.get_name()).collect();
        match (arg.get_value_hint(), arg.get_id().as_str()) {
            _ if !words.is_empty() => Self::Words(words.join(" ")),
            (ValueHint::Username, _) => Self::Users,
            (_, "service") => Self::Services,
            (ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath, _) => Self::Files,
            _ => Self::Nothing,
        }
    }

    /// What the script calls for it.
    fn call(&self) -> Option<String> {
        match self {
            Self::Words(words) => Some(format!("_qrtotp_words '{words}'")),
            Self::Users => Some("_qrtotp_users".to_owned()),
            Self::Services => Some("_qrtotp_services".to_owned()),
            Self::Files => Some("_qrtotp_files".to_owned()),
            Self::Nothing => None,
        }
    }
}

/// Every file of completions: the name that its shell looks for, and the text.
pub fn files() -> Vec<(&'static str, String)> {
    vec![("qrtotp", bash()), ("_qrtotp", zsh()), ("qrtotp.fish", fish())]
}

fn zsh() -> String {
    of(Shell::Zsh).replace(":SERVICE:'", ":SERVICE:_files -W /etc/pam.d'")
}

fn fish() -> String {
    of(Shell::Fish) + &visible(&built()).map(|sub| fish_places(sub, "")).collect::<String>()
}

/// What fish offers for arguments by their place: users, or no files where none are taken; and services.
fn fish_places(command: &Command, outer: &str) -> String {
    let name = command.get_name();
    let here = match outer {
        "" => format!("__fish_qrtotp_using_subcommand {name}"),
        outer => format!("{outer}; and __fish_seen_subcommand_from {name}"),
    };
    if visible(command).next().is_some() {
        return visible(command).map(|sub| fish_places(sub, &here)).collect();
    }
    let offers: Vec<_> = command.get_positionals().map(Offer::of).collect();
    let takes = |wanted: fn(&Offer) -> bool| offers.iter().any(wanted);
    let place = if takes(|offer| matches!(offer, Offer::Users)) {
        " -f -a \"(__fish_complete_users)\""
    } else if takes(|offer| matches!(offer, Offer::Files)) {
        " -F"
    } else {
        " -f"
    };
    let mut text = format!("complete -c qrtotp -n \"{here}\"{place}\n");
    if command.get_opts().any(|arg| matches!(Offer::of(arg), Offer::Services)) {
        text.push_str(&format!("complete -c qrtotp -n \"{here}\" -l service -r -f -a \"(command ls /etc/pam.d)\"\n"));
    }
    text
}

fn of(shell: Shell) -> String {
    let mut tree = shown(&crate::arguments::tree::command());
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut tree, "qrtotp", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The same without what is hidden, which clap_complete would offer. clap takes nothing out of a command, so it is made anew.
fn shown(command: &Command) -> Command {
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let fresh = Command::new(command.get_name().to_owned()).args(args).subcommands(visible(command).map(shown));
    let fresh = command.get_version().into_iter().fold(fresh, |fresh, version| fresh.version(version.to_owned()));
    command.get_about().into_iter().fold(fresh, |fresh, about| fresh.about(about.clone())).disable_help_subcommand(true)
}

/// The script for bash: what is offered after each subcommand, as two tables, and how they are used.
fn bash() -> String {
    let (mut commands, mut values) = (String::new(), String::new());
    tables(&built(), "", &mut commands, &mut values);
    BASH.replace("@COMMANDS@\n", &commands).replace("@VALUES@\n", &values)
}

fn tables(command: &Command, path: &str, commands: &mut String, values: &mut String) {
    let inner: Vec<_> = visible(command).map(Command::get_name).collect();
    let args: Vec<_> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    let options = args.iter().flat_map(|arg| names(arg)).collect::<Vec<_>>();
    let with_value = args.iter().filter(|arg| arg.get_action().takes_values()).flat_map(|arg| names(arg));
    let with_value = with_value.collect::<Vec<_>>();
    commands.push_str(&format!(
        "    '{path}') commands='{}' options='{}' with_value='{}' ;;\n",
        inner.join(" "),
        options.join(" "),
        with_value.join(" ")
    ));
    // Options first: an argument that takes several has a pattern that holds for all that comes after.
    let (last, first): (Vec<&Arg>, Vec<&Arg>) = args.iter().partition(|arg| arg.is_positional());
    for arg in first.into_iter().chain(last).filter(|arg| arg.get_action().takes_values()) {
        let places = if arg.is_positional() { vec![place(arg)] } else { names(arg) };
        let cases: Vec<_> = places.iter().map(|place| format!("'{path}:{place}'").replace("*'", "'*")).collect();
        if let Some(call) = Offer::of(arg).call() {
            values.push_str(&format!("    {}) {call} ;;\n", cases.join(" | ")));
        }
    }
    for sub in visible(command) {
        tables(sub, format!("{path} {}", sub.get_name()).trim_start(), commands, values);
    }
}

/// `--follow`, `-f`
fn names(arg: &Arg) -> Vec<String> {
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    [long, short].into_iter().flatten().collect()
}

/// The number of a positional argument; of one that takes several, every number.
fn place(arg: &Arg) -> String {
    let takes_several = arg.get_num_args().is_some_and(|number| number.max_values() > 1);
    if takes_several { "*".to_owned() } else { arg.get_index().unwrap_or(1).to_string() }
}

const BASH: &str = r#"# bash completion for qrtotp(8), made by the command itself from its own options.

_qrtotp_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }
_qrtotp_users() { mapfile -t COMPREPLY < <(compgen -u -- "$cur"); }
_qrtotp_files() {
    compopt -o filenames 2> /dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}
_qrtotp_services() {
    mapfile -t COMPREPLY < <(cd /etc/pam.d 2> /dev/null && compgen -f -- "$cur")
}

# What there is after a subcommand.
_qrtotp_command() {
    commands='' options='' with_value=''
    case $1 in
@COMMANDS@
    esac
}

# What an option, or the argument of that number, may be.
_qrtotp_value() {
    case $1 in
@VALUES@
    esac
}

_qrtotp() {
    local cur=${COMP_WORDS[COMP_CWORD]} commands options with_value
    local path='' number=1 waiting='' word i
    COMPREPLY=()
    _qrtotp_command ''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then
            continue
        elif [[ -n $waiting ]]; then
            waiting=''
        elif [[ $word == -* ]]; then
            if [[ " $with_value " == *" $word "* ]]; then waiting=$word; fi
        elif [[ " $commands " == *" $word "* ]]; then
            path="${path:+$path }$word"
            _qrtotp_command "$path"
        else
            ((number++))
        fi
    done
    if [[ $cur == = ]]; then cur=''; fi
    if [[ -n $waiting ]]; then
        _qrtotp_value "$path:$waiting"
    elif [[ $cur == -* ]]; then
        _qrtotp_words "$options"
    elif [[ -n $commands ]]; then
        _qrtotp_words "$commands"
    else
        _qrtotp_value "$path:$number"
    fi
}

complete -F _qrtotp qrtotp
"#;
