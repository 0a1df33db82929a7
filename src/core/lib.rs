//! Everything a login with a one-time code means.
#![forbid(unsafe_code)]

pub mod events;
pub mod login;
pub mod otp;
pub mod policy;
pub mod ports;
pub mod verdict;
pub mod words;
