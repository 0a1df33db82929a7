//! The command line of what is looked at before the module is switched on, and of switching.

use clap::{Args, Subcommand, ValueEnum};

/// Looking the machine over, and switching services.
#[derive(Subcommand, Debug)]
pub enum SwitchAct {
    /// Look the machine over: PAM stacks, sshd, sudo, policy, state, clock. Says what is wrong and what mends it.
    ///
    /// Errors lock somebody out, or let in without a code; the exit code is 1 then. Nothing is changed. Every way through a PAM
    /// stack is followed by libpam's own rules; sshd is asked by `sshd -T`, sudo by cvtsudoers.
    Doctor(DoctorOptions),
    /// Have a service ask for a code. Shows the change, tries it, and takes it back unless a fresh login confirms it.
    ///
    /// The line of the module goes into the file of the service, between two marks, after the lines that ask for the password; with
    /// --factor key in their place. It is refused while `qrtotp doctor` has an error, and to who is not enrolled himself or is asked
    /// for no code there by a rule.
    ///
    /// First a login by a copy of the new stack is tried, in a mount namespace of its own, as a user who exists for that moment
    /// only: a right code must get in, and a used one, a wrong one and a wrong password must not. Then the file is changed by one
    /// rename. What was there before is kept in /etc/qrtotp/switch.
    ///
    /// A process of its own watches over the change until the caller has given a code through that very service, and takes it back
    /// if that does not come in time. It outlives a hang-up and a kill of this command; after a boot, qrtotp-guard.service takes
    /// back what is left.
    Enable(EnableOptions),
    /// Have a service ask for no code any more: takes out what `enable` has put in.
    ///
    /// Lines that somebody wrote by hand are left alone, and named. For sshd its own settings go too, and it reads the others again.
    Disable(DisableOptions),
    /// Watch over a change until it is confirmed or taken back; started by `enable`.
    #[command(hide = true)]
    Guard(GuardOptions),
    /// Log in by a copy of a stack; started by `enable`.
    #[command(hide = true)]
    TryLogin,
    /// Make a damaged journal anew: devices stay, codes up to now count as used, recovery codes end.
    Repair {
        /// Whose.
        user: String,
    },
}

/// What to look at.
#[derive(Args, Debug)]
pub struct DoctorOptions {
    /// Only this PAM service, as if the module stood in it [default: every service that asks for a code].
    #[arg(long)]
    pub service: Option<String>,
}

/// What comes before the code.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactorChoice {
    /// The password, which the stack asks for already.
    Password,
    /// A key, which sshd looks at; no password is asked any more.
    Key,
}

/// What to switch on, and how.
#[derive(Args, Debug)]
pub struct EnableOptions {
    /// The PAM service: a file of /etc/pam.d.
    pub service: String,
    /// What comes before the code: for sshd it must be said, elsewhere it is the password.
    #[arg(long, value_enum)]
    pub factor: Option<FactorChoice>,
    /// How long there is to confirm by a fresh login, 30s to 1h.
    #[arg(long, value_name = "TIME", default_value = "120s")]
    pub confirm: String,
    /// Switch without a confirming login, for provisioning by scripts. Nothing takes a mistake back.
    #[arg(long, conflicts_with = "confirm")]
    pub unconfirmed: bool,
    /// For sshd: write its settings too, check them, and have it read them.
    #[arg(long)]
    pub sshd_config: bool,
    /// Only show what would change.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask before the change.
    #[arg(long)]
    pub yes: bool,
}

/// What to switch off.
#[derive(Args, Debug)]
pub struct DisableOptions {
    /// The PAM service: a file of /etc/pam.d.
    pub service: String,
    /// Only show what would change.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask before the change.
    #[arg(long)]
    pub yes: bool,
}

/// What to watch over.
#[derive(Args, Debug)]
pub struct GuardOptions {
    /// The service; without one, every change that is not confirmed is taken back, as after a boot.
    pub service: Option<String>,
}
