//! The command line of who leaves, and of what moves to another machine.

use clap::Subcommand;

/// What to do.
#[derive(Subcommand, Debug)]
pub enum MovingAct {
    /// End everything of somebody who leaves: enrollment, tickets, recovery codes, remembered places. Prints one line for the log.
    Offboard {
        /// Who: somebody who is enrolled, is not, was revoked before, or has no account here any more.
        user: String,
        /// Why, for the line, the event log and the tombstone.
        #[arg(long)]
        reason: String,
    },
}
