//! The command line.

pub mod pictures;
pub mod questions;
pub mod report;
mod searches;
pub mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use qrtotp_core::policy::DEFAULT_FILE;

pub use searches::{ScanOptions, Search};

/// One-time codes (TOTP) for sshd, sudo, login and su: enrolls people, manages their devices, shows what state is in.
#[derive(Parser, Debug)]
#[command(name = "qrtotp", version, arg_required_else_help = true, after_help = EXIT_CODES)]
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

const EXIT_CODES: &str = "Exit codes: 0 done, 1 no (refused, wrong code, given up), 2 usage, 3 not enrolled, \
4 state or policy cannot be trusted, 5 no such user, 6 in conflict with what is there";

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make the state folder, its decoys, and a policy file with every key and its meaning.
    Init,
    /// Enroll a user, or add a device: show the picture, ask for a code, show recovery codes.
    Enroll(EnrollOptions),
    /// Show a user's devices, last login, budget and recovery codes; without a user, the installation.
    Status {
        /// Whose.
        user: Option<String>,
    },
    /// List everybody who is enrolled or was.
    List,
    /// Judge a code, read from standard input, as a login would. The code is spent.
    Verify {
        /// Whose.
        user: String,
    },
    /// Make a fresh set of recovery codes; the old ones end.
    Recovery {
        /// Whose.
        user: String,
        /// Only say how many are left.
        #[arg(long)]
        count: bool,
    },
    /// Refill the budget and lift a lock, an automatic disabling, a step-up, and steps that lie in the future.
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
    Revoke {
        /// Whose.
        user: String,
        /// Why, for the event log and the tombstone.
        #[arg(long)]
        reason: String,
    },
    /// Make, list or end tickets, with which people enroll by themselves at a login.
    #[command(subcommand)]
    Ticket(TicketAct),
    /// Make tickets for devices in place of others, which stay good for a while.
    Rotate(RotateOptions),
    /// List or forget the places where people are not asked again.
    #[command(subcommand)]
    Remember(RememberAct),
    /// Check the policy, explain what it does to somebody, or simulate it for everybody.
    #[command(subcommand)]
    Policy(PolicyAct),
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
    Watch(watch::WatchOptions),
    /// Remove state of accounts that no longer exist and tickets that are over, give dead parts of journals back to the
    /// disk, sweep up.
    Gc {
        /// Remove; without it, state that would be removed is only named.
        #[arg(long)]
        yes: bool,
        /// Only the state of this account, if it no longer exists.
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    /// What is searched for keys.
    #[command(flatten)]
    Search(Search),
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
    /// Make one for a user, or many for a list of users, and show what they type.
    New(TicketOptions),
    /// List all of them.
    List,
    /// End one, or all of a user, at once.
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
    /// List them.
    List,
    /// Forget them: a code is asked at the next login.
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
    /// List them.
    List {
        /// Whose.
        user: String,
    },
    /// Give one another label.
    Rename {
        /// Whose.
        user: String,
        /// Which.
        device: String,
        /// The new label.
        label: String,
    },
    /// Refuse the codes of one until it is enabled again.
    Disable {
        /// Whose.
        user: String,
        /// Which.
        device: String,
    },
    /// Accept the codes of one again.
    Enable {
        /// Whose.
        user: String,
        /// Which.
        device: String,
    },
    /// Remove one, with its key.
    Remove {
        /// Whose.
        user: String,
        /// Which.
        device: String,
    },
}
