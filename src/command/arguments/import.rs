//! `qrtotp import`

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// From where to come over. Nothing is removed there; qrtotp scan finds what stays.
#[derive(Subcommand, Debug)]
pub enum ImportAct {
    /// From google-authenticator (libpam-google-authenticator): the file in a user's home, or in everybody's.
    #[command(
        after_help = "The scratch codes of such a file have 8 digits, which can be guessed, and are not taken over; \
make others with: qrtotp recovery USER"
    )]
    GoogleAuthenticator(GoogleOptions),
    /// From pam_oath (oath-toolkit): the file of its users.
    #[command(after_help = "PINs are not taken over: here the code stands alone, behind the module that asks for the \
password. Counter-based tokens (HOTP, HOTP/E) cannot be used here.")]
    Oath(OathOptions),
    /// From an app: the accounts that it exports as pictures ("transfer accounts" of Google Authenticator).
    #[command(
        after_help = "A URI that is an argument can be seen by everybody on this machine for as long as the command \
runs, and stays in the history of the shell: give it on standard input (-), or as a picture.\n\n\
Without --user, an account is for whom it names, if it also names this host, as its issuer or behind an @. Whoever made \
the export could name anybody: look at it with --dry-run first. The account of root is taken with --user root only."
    )]
    Migration(MigrationOptions),
}

/// What to do with what is found.
#[derive(Args, Debug)]
pub struct Manner {
    /// Write nothing, and show what would come over.
    #[arg(long)]
    pub dry_run: bool,
    /// Add the device to those of a user who is enrolled, who is else left as he is.
    #[arg(long, conflicts_with = "replace")]
    pub add: bool,
    /// Start afresh in place of what is there: old devices and recovery codes end, and with --user a revocation too.
    #[arg(long)]
    pub replace: bool,
    /// Take over keys of 80 to 127 bits, too. They are called weak until they are rotated.
    #[arg(long)]
    pub accept_weak: bool,
    /// What the device is called; others of the same user get a number.
    #[arg(long, default_value = "phone")]
    pub label: String,
}

/// Which files of google-authenticator.
#[derive(Args, Debug)]
pub struct GoogleOptions {
    /// Which file: it must belong to the user or to root [default: .google_authenticator in the user's home].
    #[arg(requires = "user")]
    pub file: Option<PathBuf>,
    /// Whose.
    #[arg(long, required_unless_present = "homes", conflicts_with = "homes")]
    pub user: Option<String>,
    /// Of every account in /etc/passwd that has such a file in its home; others by --user.
    #[arg(long)]
    pub homes: bool,
    /// What to do with what is found.
    #[command(flatten)]
    pub manner: Manner,
}

/// Which file of pam_oath.
#[derive(Args, Debug)]
pub struct OathOptions {
    /// Which file: it must belong to root, and nobody else may write it.
    #[arg(default_value = "/etc/users.oath")]
    pub file: PathBuf,
    /// Only the lines of this user; those of user id 0 are taken so only.
    #[arg(long)]
    pub user: Option<String>,
    /// What to do with what is found.
    #[command(flatten)]
    pub manner: Manner,
}

/// Which export of an app.
#[derive(Args, Debug)]
pub struct MigrationOptions {
    /// Pictures (PNG, JPEG), otpauth-migration URIs, or - for URIs on standard input, one a line.
    #[arg(required = true, value_name = "PICTURE|URI|-")]
    pub exports: Vec<String>,
    /// For whom, all of them [default: whom each one names].
    #[arg(long)]
    pub user: Option<String>,
    /// Only those of this account, as the app shows it.
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// What to do with what is found.
    #[command(flatten)]
    pub manner: Manner,
}
