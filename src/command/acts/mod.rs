//! One file a family of subcommands.

pub mod device;
pub mod enroll;
pub mod gc;
pub mod init;
pub mod policy;
pub mod recovery;
pub mod revoke;
pub mod status;
pub mod unlock;
pub mod verify;
