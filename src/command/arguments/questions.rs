//! The command line of what is asked of the events.

use clap::{Args, Subcommand, ValueEnum};

/// What to ask.
#[derive(Subcommand, Debug)]
pub enum QuestionAct {
    /// Show what happened: every attempt and every act, the oldest first. Times are UTC.
    ///
    /// Rotated and compressed files (gzip, xz, zstandard) are read too. With `--verify` nothing is shown but whether the chain holds:
    /// each line says how much of the file its writer saw, and the sum of that. That the end was cut off shows only against a head
    /// that was printed earlier and kept on another machine.
    Log(LogOptions),
    /// Say in plain words why a user's last logins failed, and what to do.
    ///
    /// Clocks that are off are told from slow typists by the codes of other users on the same day. All reasons there are stand in
    /// `pam_qrtotp`(8).
    Why {
        /// Whose.
        user: String,
        /// How many failures.
        #[arg(long, value_name = "N", default_value_t = 5)]
        last: usize,
    },
    /// Count logins by one of their sides, with bars; by ticket: who was invited, who is through, who is stuck.
    Stats {
        /// What to tell them apart by.
        #[arg(long, value_enum, default_value_t = Side::User)]
        by: Side,
        /// Which.
        #[command(flatten)]
        filter: FilterOptions,
    },
    /// Write events, or every authenticator there ever was, for an auditor: PCI DSS 10.2.2, NIST SP 800-63B.
    ///
    /// The events come from files that are rotated; what became of authenticators is kept in a file that is not.
    Export(ExportOptions),
}

/// A side of a login.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Who.
    User,
    /// The PAM service.
    Service,
    /// Where from.
    Source,
    /// The country, by the database that the policy names.
    Country,
    /// The device.
    Device,
    /// The hour of the day, UTC.
    Hour,
    /// The day, UTC.
    Day,
    /// Why.
    Reason,
    /// The machine.
    Host,
    /// The enrollment ticket.
    Ticket,
}

/// How to write it.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A line an entry, RFC 4180.
    Csv,
    /// One array.
    Json,
}

/// What to write.
#[derive(Args, Debug)]
pub struct ExportOptions {
    /// Events from then on: a date, a time like 2026-11-24T18:00:00Z, or how long ago, like 90d.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Events before then; as --from.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// How.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub format: Format,
    /// Every authenticator that is or was bound to an account, also those that were removed, and what became of each.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub authenticators: bool,
}

/// Which events.
#[derive(Args, Debug)]
pub struct FilterOptions {
    /// From then on: a date, a time like 2026-11-24T18:00:00Z, or how long ago, like 90m or 7d.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before then; as --since.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Of these users.
    #[arg(long, value_name = "USER", value_delimiter = ',')]
    pub user: Vec<String>,
    /// Through these PAM services; acts of this command are of the service qrtotp.
    #[arg(long, value_name = "SERVICE", value_delimiter = ',')]
    pub service: Vec<String>,
    /// From these addresses or networks, or local.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub from: Vec<String>,
    /// Of these kinds: login, enroll, ticket_new, ...
    #[arg(long, value_name = "EVENT", value_delimiter = ',')]
    pub event: Vec<String>,
    /// Which ended so: success, failure, error, skipped, or a reason like replayed.
    #[arg(long, value_name = "RESULT", value_delimiter = ',')]
    pub result: Vec<String>,
}

/// What to show of the events.
#[derive(Args, Debug)]
pub struct LogOptions {
    /// Which.
    #[command(flatten)]
    pub filter: FilterOptions,
    /// Show the last ten (or those since --since), and go on showing what comes until interrupted.
    #[arg(long, short, conflicts_with_all = ["until", "verify"])]
    pub follow: bool,
    /// Check the chain of all events files: whether lines were altered, removed, added or moved.
    #[arg(long, conflicts_with_all = ["since", "until", "user", "service", "from", "event", "result"])]
    pub verify: bool,
    /// With --verify: a head that was printed earlier and kept elsewhere. Shows whether the end was cut off since.
    #[arg(long, value_name = "HEAD", requires = "verify")]
    pub head: Option<String>,
}
