//! What state was in when a report was made: no secret, and nothing that a login needs.

use qrtotp_core::words::WallTime;

/// State, as far as a report tells of it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// This machine.
    pub host: String,
    /// Accounts that have a shell, whoever they are.
    pub accounts: Vec<Account>,
    /// Everybody who is enrolled.
    pub users: Vec<User>,
    /// Tickets that can be redeemed, the first to end first.
    pub tickets: Vec<Ticket>,
    /// Ends of rules, the first first.
    pub rules: Vec<RuleEnd>,
    /// What could not be read.
    pub troubles: Vec<String>,
}

/// An account that has a shell.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Whether an enrollment in force is there.
    pub is_enrolled: bool,
}

/// Somebody who is enrolled.
#[derive(Clone, Debug)]
pub struct User {
    /// The name.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// When the enrollment was made.
    pub created: WallTime,
    /// Recovery codes that can still be used.
    pub recovery_left: usize,
    /// Enabled devices.
    pub devices: Vec<Device>,
}

/// A device that logs in.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its id, as events have it.
    pub id: String,
    /// What its owner calls it.
    pub label: String,
    /// When it was bound.
    pub added: WallTime,
}

/// A ticket that can be redeemed.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Whose.
    pub user: String,
    /// Of the device to be.
    pub label: String,
    /// Until when.
    pub expires: WallTime,
}

/// The end of a rule, or of the time that it gives.
#[derive(Clone, Debug)]
pub struct RuleEnd {
    /// Counted from 1.
    pub number: usize,
    /// The line of the policy in which it begins.
    pub line: usize,
    /// `until`, `enroll_by`
    pub what: &'static str,
    /// When.
    pub end: WallTime,
}
