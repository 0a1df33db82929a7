//! One file a family of subcommands.

pub mod check_picture;
pub mod device;
pub mod enroll;
pub mod export;
pub mod gc;
pub mod init;
mod issue;
mod keys;
pub mod log;
pub mod memories;
mod outlook;
pub mod picture_reader;
pub mod policy;
pub mod recovery;
pub mod revoke;
pub mod rotate;
pub mod scan;
pub mod stats;
pub mod status;
pub mod step_up;
pub mod ticket;
pub mod unlock;
pub mod verify;
pub mod watch;
pub mod why;
