//! The command line of who leaves, and of what moves to another machine.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

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
    /// Write enrollments into an encrypted file for another machine, with everything that was used, and end them here. The form is
    /// age's; without --recipient a passphrase is asked twice, or read from the first line of standard input.
    Handover(HandoverOptions),
    /// Take enrollments over from a file of `handover`, and show what became of each. What was used stays used.
    Restore(RestoreOptions),
}

/// Whose enrollments, and how the file is locked.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("who").args(["users", "all"]).required(true))]
pub struct HandoverOptions {
    /// The file; it must not be there yet, in a folder that only root may write to.
    #[arg(required_unless_present = "abort")]
    pub file: Option<PathBuf>,
    /// Whose enrollment; may be given several times.
    #[arg(long = "user", id = "users", value_name = "USER")]
    pub users: Vec<String>,
    /// Everybody's, tombstones too.
    #[arg(long, conflicts_with = "users")]
    pub all: bool,
    /// Encrypt for this recipient of age, in place of a passphrase; may be given several times.
    #[arg(long = "recipient", value_name = "age1...")]
    pub recipients: Vec<String>,
    /// Read the passphrase from the first line of a file that only root may read.
    #[arg(long, value_name = "FILE", conflicts_with = "recipients")]
    pub passphrase_file: Option<PathBuf>,
    /// Write letters (PEM) in place of bytes.
    #[arg(long)]
    pub armor: bool,
    /// A backup: the enrollments stay in force here. After a restore codes could be used on both machines.
    #[arg(long)]
    pub keep: bool,
    /// Open again what a handover that was interrupted has closed here. Its file must be gone.
    #[arg(long, conflicts_with_all = ["file", "recipients", "passphrase_file", "armor", "keep"])]
    pub abort: bool,
}

/// From which file, and what of it.
#[derive(Args, Debug)]
pub struct RestoreOptions {
    /// The file, which only root may write to or replace, as its folders: who may could enroll himself as anybody.
    pub file: PathBuf,
    /// Only this user's, by the name here; may be given several times.
    #[arg(long = "user", value_name = "USER")]
    pub users: Vec<String>,
    /// A user has another name here; may be given several times.
    #[arg(long = "rename", value_name = "OLD=NEW")]
    pub renames: Vec<String>,
    /// A file with the identity that the file is encrypted for, as age-keygen writes it.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Read the passphrase from the first line of a file that only root may read [default: asked, or read from standard input].
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    pub passphrase_file: Option<PathBuf>,
    /// Take the place of what is here, an enrollment or a tombstone, or use a file for a second time. What was used here of the same
    /// enrollment stays used.
    #[arg(long)]
    pub replace: bool,
    /// Only show what would be done.
    #[arg(long)]
    pub dry_run: bool,
}
