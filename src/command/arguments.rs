//! The command line.

mod examples;
pub mod generate;
pub mod import;
pub mod moving;
pub mod pictures;
pub mod questions;
pub mod report;
mod searches;
pub mod switching;
pub mod tree;
pub mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use qrtotp_core::policy::DEFAULT_FILE;

use crate::ending::exit_codes;
pub use searches::{ScanOptions, Search};

/// One-time codes (TOTP) for sshd, sudo, login and su: enrolls people, manages their devices, shows what state is in.
#[derive(Parser, Debug)]
#[command(name = "qrtotp", version, arg_required_else_help = true, after_help = exit_codes())]
pub struct Arguments {
    /// The policy file.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,
    /// Print JSON, whose form docs/FORMAT.md describes.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make the state folder, its decoys, and a policy file with every key and its meaning.
    Init,
    /// Enroll a user, or add a device: show the picture, ask for a code, show recovery codes.
    ///
    /// Nothing is stored before a code of the app was right and one of the recovery codes was typed back. It is told when the app
    /// ignores an algorithm, a number of digits or a period, as many do, and when the phone's clock is off, and by how much.
    ///
    /// Who is enrolled gets another device; recovery codes stay as they are then. Files with the picture are for root alone, are
    /// never overwritten, and are named by `qrtotp-status`(8) until they are gone: whoever has one has the codes.
    Enroll(EnrollOptions),
    /// Show a user's devices, last login, budget and recovery codes; without a user, the installation.
    Status {
        /// Whose.
        user: Option<String>,
    },
    /// List everybody who is enrolled or was.
    List,
    /// Judge a code, read from standard input, as a login would. The code is spent.
    ///
    /// It is recorded as an attempt, and counts towards the budget; the event is of the service qrtotp. The rules of the policy are
    /// left aside. The exit code is 0 where the code is right, and 1 where it is refused.
    Verify {
        /// Whose.
        user: String,
    },
    /// Make a fresh set of recovery codes; the old ones end.
    ///
    /// Each of the ten works once, at the prompt, in place of a code. Only their hashes are stored, so they are shown this once.
    Recovery {
        /// Whose.
        user: String,
        /// Only say how many are left.
        #[arg(long)]
        count: bool,
    },
    /// Refill the budget and lift a lock, an automatic disabling, a step-up, and steps that lie in the future.
    ///
    /// Without it nobody is locked out for good: beyond the budget two codes in a row are asked, which the owner has. Steps lie in the
    /// future where this host's clock was ahead once; then codes are refused as `clock_backwards`.
    Unlock {
        /// Whose.
        user: String,
    },
    /// Ask two codes of a user at every login for a while; `unlock` ends it.
    StepUp {
        /// Whose.
        user: String,
        /// For how long, up to 90d.
        #[arg(long = "for", value_name = "TIME", default_value = "24h")]
        time: String,
        /// Why, for the event log.
        #[arg(long)]
        reason: String,
    },
    /// List, rename, disable, enable or remove devices.
    #[command(subcommand)]
    Device(DeviceAct),
    /// End an enrollment at once. The user is refused until `enroll --replace`, or a new ticket.
    ///
    /// Devices with their keys, recovery codes, tickets and remembered places end. It waits for no login, and counts for those
    /// that stand at their prompt. A rule that allows or skips does not let in who was revoked. Who has no enrollment can be
    /// revoked too, and is let in by no rule that gives time.
    Revoke {
        /// Whose.
        user: String,
        /// Why, for the event log and the tombstone.
        #[arg(long)]
        reason: String,
    },
    /// Who leaves, and what moves.
    #[command(flatten)]
    Moving(moving::MovingAct),
    /// Make, list or end tickets, with which people enroll by themselves at a login.
    ///
    /// A ticket lets one user enroll one device, once, at the prompt of a login, where a rule of the policy says `enroll` or a
    /// device of the user gives a code beside it. It is dead after five wrong tries, and when its time is over. It holds no key; whoever
    /// gets hold of it before its user, and has the first factor too, enrolls in his place. Give it by another way than the password.
    #[command(subcommand)]
    Ticket(TicketAct),
    /// Make tickets for devices in place of others, which stay good for a while.
    ///
    /// The user types the ticket at the prompt, then a code of a device or a recovery code, and enrolls the new device. The old one
    /// ends once the new one was used, or when the time of `--overlap` is over.
    Rotate(RotateOptions),
    /// List or forget the places where people are not asked again.
    ///
    /// A rule with `remember` makes them: the login session at its terminal for sudo and su, the address together with the key for
    /// sshd. A boot, and every change of a user's devices, ends them too.
    #[command(subcommand)]
    Remember(RememberAct),
    /// Check the policy, explain what it does to somebody, or simulate it for everybody.
    ///
    /// What they say is found out by the functions that a login calls. Nothing is changed. The keys are in `qrtotp-config`(5).
    #[command(subcommand)]
    Policy(PolicyAct),
    /// Before the module is switched on, and switching it.
    #[command(flatten)]
    Switch(switching::SwitchAct),
    /// What happened.
    #[command(flatten)]
    Question(questions::QuestionAct),
    /// A page of it.
    #[command(flatten)]
    Report(report::ReportAct),
    /// Pictures that are printed, and pictures on the terminal.
    #[command(flatten)]
    Picture(pictures::PictureAct),
    /// Follow the events: tell what is unusual, and do what the alerts of the policy say.
    ///
    /// It learns what is usual for each user (sources, networks, services, hours, countries) and writes the events `new_source`,
    /// `new_country` and `unusual_hour`. Each alert is raised once, whenever the watcher is killed or restarted. What was before its
    /// first start teaches it what is usual, and raises nothing.
    Watch(watch::WatchOptions),
    /// Remove state of accounts that no longer exist and tickets that are over, give dead parts of journals back to the
    /// disk, sweep up.
    ///
    /// An account is gone only if the name service says so; where that fails, nothing is removed. It does no harm to logins that go on
    /// meanwhile, and can be run by a timer.
    Gc {
        /// Remove; without it, state that would be removed is only named.
        #[arg(long)]
        yes: bool,
        /// Only the state of this account, if it no longer exists.
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    /// Come over from google-authenticator, from pam_oath, or from an app, with the devices that people have.
    #[command(subcommand)]
    Import(import::ImportAct),
    /// What is searched for keys.
    #[command(flatten)]
    Search(Search),
    /// What is made from the definitions of options and keys.
    #[command(flatten)]
    Generate(generate::GenerateAct),
}

/// What to enroll, and how to show it.
#[derive(Args, Debug)]
pub struct EnrollOptions {
    /// Whom.
    pub user: String,
    /// What the owner calls the device.
    #[arg(long, default_value = "phone")]
    pub label: String,
    /// Who issues the codes, as the app shows it [default: the policy's, or the host's name].
    #[arg(long)]
    pub issuer: Option<String>,
    /// Whose codes they are, as the app shows it [default: the user's name].
    #[arg(long)]
    pub account: Option<String>,
    /// sha1, sha256 or sha512; many apps know sha1 only.
    #[arg(long)]
    pub algorithm: Option<String>,
    /// 6, 7 or 8; many apps know 6 only.
    #[arg(long, allow_negative_numbers = true)]
    pub digits: Option<i64>,
    /// Seconds a code lasts, 15 to 120; many apps know 30 only.
    #[arg(long, allow_negative_numbers = true)]
    pub period: Option<i64>,
    /// How to draw the picture.
    #[arg(long, value_enum, default_value_t = Drawn::Auto)]
    pub qr: Drawn,
    /// For terminals with dark letters on a light ground.
    #[arg(long)]
    pub invert: bool,
    /// Write the picture as a PNG file, for root alone. It holds the key: destroy it once it was scanned.
    #[arg(long, value_name = "FILE")]
    pub png: Option<PathBuf>,
    /// The same as an SVG file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write a card to print and hand over, as one HTML page: picture, key, names, and what to do.
    #[arg(long, value_name = "FILE.html")]
    pub card: Option<PathBuf>,
    /// Start afresh in place of what is there: old devices and recovery codes end, a revocation too.
    #[arg(long)]
    pub replace: bool,
    /// Take an otpauth URI or a base32 key from the first line of standard input; a code may follow in the next.
    #[arg(long)]
    pub stdin: bool,
    /// Store without asking for a code, for provisioning by scripts.
    #[arg(long)]
    pub unverified: bool,
}

/// What to do with tickets.
#[derive(Subcommand, Debug)]
pub enum TicketAct {
    /// Make a ticket for a user, or many for a list of users, and show what they type.
    New(TicketOptions),
    /// List all tickets, and until when they are good.
    List,
    /// End a ticket, or all of a user, at once.
    Revoke {
        /// The id of a ticket, or a user.
        #[arg(value_name = "ID|USER")]
        which: String,
    },
}

/// Which tickets to make.
#[derive(Args, Debug)]
pub struct TicketOptions {
    /// For whom.
    #[arg(required_unless_present = "bulk")]
    pub user: Option<String>,
    /// For many: a file with a user a line, or user,label; - is standard input. Prints CSV: user,ticket,expires,label.
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub bulk: Option<PathBuf>,
    /// How long it is good, 1m to 90d.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub ttl: String,
    /// What the device is called.
    #[arg(long, default_value = "phone")]
    pub label: String,
    /// The only PAM service in which it is taken [default: all of enroll.services].
    #[arg(long)]
    pub service: Option<String>,
}

/// Which devices others take the place of.
#[derive(Args, Debug)]
pub struct RotateOptions {
    /// Whose device.
    #[arg(required_unless_present = "enrolled_before")]
    pub user: Option<String>,
    /// Which, by label or id [default: the only enabled one].
    #[arg(conflicts_with = "enrolled_before")]
    pub device: Option<String>,
    /// Everybody's devices that were added before this date or time. Prints CSV: user,ticket,expires,label,device.
    #[arg(long, value_name = "DATE", conflicts_with = "user")]
    pub enrolled_before: Option<String>,
    /// How long the old device is good beside the new one, unless that is used before; 0 to 90d.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub overlap: String,
    /// How long the ticket is good, 1m to 90d.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub ttl: String,
}

/// What to do with the places where people are not asked again.
#[derive(Subcommand, Debug)]
pub enum RememberAct {
    /// List the places, whose they are, and until when.
    List,
    /// Forget the places of a user: a code is asked at the next login.
    Forget {
        /// Whose.
        #[arg(required_unless_present = "all")]
        user: Option<String>,
        /// Everybody's.
        #[arg(long, conflicts_with = "user")]
        all: bool,
    },
}

/// How the picture is drawn.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drawn {
    /// Half blocks where the locale is UTF-8, else ASCII.
    Auto,
    /// Half blocks.
    Utf8,
    /// Blanks and `#`.
    Ascii,
    /// No picture; the key as text is enough.
    None,
}

/// What to ask of the policy.
#[derive(Subcommand, Debug)]
pub enum PolicyAct {
    /// Name every mistake of a policy file, and what is probably not meant.
    Check {
        /// Which [default: that of --config].
        file: Option<PathBuf>,
    },
    /// Print the policy that a new machine begins with: every key, its default, and what it means.
    Default,
    /// Say which rule decides on a login, why the ones before do not, and what the login will come to.
    Explain {
        /// Whose login.
        user: String,
        /// Through which PAM service.
        #[arg(long)]
        service: String,
        /// From which address [default: this machine].
        #[arg(long, value_name = "ADDRESS")]
        from: Option<String>,
        /// At which time, as 2027-03-31T18:00:00Z [default: now].
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
    /// Say for every account of this machine what a login will come to, and who would be locked out.
    Simulate {
        /// Through which PAM service.
        #[arg(long)]
        service: String,
        /// From which address [default: this machine].
        #[arg(long, value_name = "ADDRESS")]
        from: Option<String>,
        /// At which time, as 2027-03-31T18:00:00Z [default: now].
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
}

/// What to do with devices. A device is named by its label or its id.
#[derive(Subcommand, Debug)]
pub enum DeviceAct {
    /// List the devices of a user.
    List {
        /// Whose.
        user: String,
    },
    /// Give a device another label.
    Rename {
        /// Whose.
        user: String,
        /// Which.
        device: String,
        /// The new label.
        label: String,
    },
    /// Refuse the codes of a device until it is enabled again.
    Disable {
        /// Whose.
        user: String,
        /// Which.
        device: String,
    },
    /// Accept the codes of a device again.
    Enable {
        /// Whose.
        user: String,
        /// Which.
        device: String,
    },
    /// Remove a device, with its key.
    Remove {
        /// Whose.
        user: String,
        /// Which.
        device: String,
    },
}
