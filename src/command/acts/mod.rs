//! One file a family of subcommands.

pub mod check_picture;
pub mod device;
pub mod enroll;
pub mod gc;
pub mod init;
mod issue;
mod keys;
pub mod memories;
mod outlook;
pub mod picture_reader;
pub mod policy;
pub mod recovery;
pub mod revoke;
pub mod rotate;
pub mod scan;
pub mod status;
pub mod ticket;
pub mod unlock;
pub mod verify;
