//! The command `qrtotp`: enrolls, manages devices and recovery codes, revokes, and shows state. Every rule it follows is
//! one that a login follows too; they live in `qrtotp-core`.
//!
//! | file | what it is |
//! |---|---|
//! | `arguments` | the command line |
//! | `desk` | policy, state and ports, opened for one command |
//! | `ending` | exit codes and messages |
//! | `machine` | this machine, as the doctor and the switch look at it |
//! | `manual` | manuals, completions and the README's reference, from the definitions of options and keys |
//! | `passphrase` | what opens a file: typed unseen, or read |
//! | `reading` | the events, read for one command |
//! | `screen` | what stands on standard output and what is read from standard input |
//! | `acts/` | one file a family of subcommands |
#![forbid(unsafe_code)]

mod acts;
mod arguments;
mod desk;
mod ending;
mod machine;
mod manual;
mod passphrase;
mod reading;
mod screen;

use std::path::Path;
use std::process::ExitCode;

use arguments::generate::GenerateAct;
use arguments::moving::MovingAct;
use arguments::pictures::{BrandAct, PictureAct};
use arguments::questions::QuestionAct;
use arguments::report::ReportAct;
use arguments::switching::SwitchAct;
use arguments::{Arguments, Command, PolicyAct, Search};
use ending::{Code, Ending};
use qrtotp_core::policy::DEFAULT_FILE;

fn main() -> ExitCode {
    let arguments = match arguments::tree::read() {
        Ok(arguments) => arguments,
        Err(error) => return ending::of_usage(&error),
    };
    if matches!(arguments.command, Command::Search(Search::ReadPicture)) {
        return acts::picture_reader::run();
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ending) => ending.report(),
    }
}

fn run(arguments: &Arguments) -> Result<(), Ending> {
    if let Command::Generate(GenerateAct::Generate(options)) = &arguments.command {
        // The same on every machine and for everybody: whoever builds a package runs it.
        return acts::generate::run(options, &screen::Screen::new(arguments.json));
    }
    if let Command::Search(Search::CheckPicture { file }) = &arguments.command {
        // Anybody may ask what a picture holds; whether its key is good here is for root.
        return acts::check_picture::run(arguments, file);
    }
    if let Command::Policy(PolicyAct::Default) = &arguments.command {
        // Packages are built by anybody.
        return acts::policy::print_default(&screen::Screen::new(arguments.json));
    }
    desk::require_root()?;
    if let Command::Policy(PolicyAct::Check { file }) = &arguments.command {
        // The one act that a policy full of mistakes is made for.
        let file = file.as_deref().unwrap_or(&arguments.config);
        return acts::policy::check(file, file == arguments.config, &screen::Screen::new(arguments.json));
    }
    match &arguments.command {
        // What is wrong with the policy is for the doctor to say, and must not keep a change from being taken back.
        Command::Switch(SwitchAct::Doctor(options)) => return acts::doctor::run(arguments, options),
        Command::Switch(SwitchAct::Guard(options)) => return acts::switch::guard(&arguments.config, options),
        _ => {}
    }
    if !arguments.config.exists()
        && arguments.config != Path::new(DEFAULT_FILE)
        && !matches!(arguments.command, Command::Init)
    {
        let what = "is missing; name a file that is there, or make it with: qrtotp init --config";
        return Err(Ending::new(Code::Untrusted, format!("{}: {what} {0}", arguments.config.display())));
    }
    let desk = desk::Desk::open(&arguments.config, arguments.json)?;
    match &arguments.command {
        Command::Init => acts::init::run(&desk),
        Command::Enroll(options) => acts::enroll::run(&desk, options),
        Command::Status { user } => acts::status::run(&desk, user.as_deref()),
        Command::List => acts::status::list(&desk),
        Command::Verify { user } => acts::verify::run(&desk, user),
        Command::Recovery { user, count } => acts::recovery::run(&desk, user, *count),
        Command::Unlock { user } => acts::unlock::run(&desk, user),
        Command::StepUp { user, time, reason } => acts::step_up::run(&desk, user, time, reason),
        Command::Device(act) => acts::device::run(&desk, act),
        Command::Revoke { user, reason } => acts::revoke::run(&desk, user, reason),
        Command::Moving(MovingAct::Offboard { user, reason }) => acts::offboard::run(&desk, user, reason),
        Command::Moving(MovingAct::Handover(options)) => acts::handover::run(&desk, options),
        Command::Moving(MovingAct::Restore(options)) => acts::restore::run(&desk, options),
        Command::Policy(act) => acts::policy::run(&desk, act),
        Command::Ticket(act) => acts::ticket::run(&desk, act),
        Command::Rotate(options) => acts::rotate::run(&desk, options),
        Command::Remember(act) => acts::memories::run(&desk, act),
        Command::Question(QuestionAct::Log(options)) => acts::log::run(&desk, options),
        Command::Question(QuestionAct::Why { user, last }) => acts::why::run(&desk, user, *last),
        Command::Question(QuestionAct::Stats { by, filter }) => acts::stats::run(&desk, *by, filter),
        Command::Question(QuestionAct::Export(options)) => acts::export::run(&desk, options),
        Command::Report(ReportAct::Report(options)) => acts::report::run(&desk, options),
        Command::Watch(options) => acts::watch::run(&desk, options),
        Command::Picture(PictureAct::Brand(BrandAct::Check)) => acts::brand::check(&desk),
        Command::Picture(PictureAct::QrTest) => acts::qr_test::run(&desk),
        Command::Gc { yes, user } => acts::gc::run(&desk, *yes, user.as_deref()),
        Command::Import(act) => acts::import::run(&desk, act),
        Command::Search(Search::Scan(options)) => acts::scan::run(&desk, options),
        Command::Switch(SwitchAct::Enable(options)) => acts::switch::enable(&desk, options),
        Command::Switch(SwitchAct::Disable(options)) => acts::switch::disable(&desk, options),
        Command::Switch(SwitchAct::TryLogin) => acts::switch::try_login(&desk),
        Command::Switch(SwitchAct::Repair { user }) => acts::repair::run(&desk, user),
        // Those who need no policy and no state were done above.
        Command::Search(Search::CheckPicture { .. } | Search::ReadPicture)
        | Command::Switch(SwitchAct::Doctor(_) | SwitchAct::Guard(_))
        | Command::Generate(_) => Ok(()),
    }
}
