//! Everything a login with a one-time code means. Knows no libpam, no terminal and no argv.
//!
//! | room | what it does | what it may touch |
//! |---|---|---|
//! | [`login`] | the story of one login, told top down | the rooms below |
//! | [`subject`] | whose keys an answer is judged by | the vault |
//! | [`evidence`] | what an answer turns out to be against the keys | nothing: pure |
//! | [`policy`] | `config.toml` -> what is asked of whom | one file, read |
//! | [`otp`] | keys, codes, recovery codes, otpauth URIs | nothing: pure |
//! | [`budget`] | journal records -> what is used and what is left | nothing: pure |
//! | [`vault`] | credentials and journals | the state folder |
//! | [`enroll`] | a key -> a picture -> a confirmed code -> stored | the vault |
//! | [`wizard`] | the conversation in which somebody enrolls | nothing: talks |
//! | [`remember`] | where somebody is not asked again for a while | the runtime folder |
//! | [`qr`] | a text -> a picture in terminal characters | nothing: pure |
//! | [`flood`] | answers a source and minute | the runtime folder |
//! | [`files`] | opening what is trusted, with every check | what it is told to |
//! | [`events`] | one event -> one syslog line and one JSON line | nothing: pure |
//! | [`chain`] | what holds the lines of the events file together | nothing: pure |
//! | [`verdict`] | every cause, and the table to PAM codes and reasons | nothing: pure |
//! | [`ports`] | what a login needs from the world, as traits | nothing |
//! | [`calendar`] | days -> dates and back | nothing: pure |
//! | [`module_line`] | what may stand after `pam_qrtotp.so` | nothing: pure |
//! | [`words`] | the small types that every room speaks | nothing: pure |
#![forbid(unsafe_code)]
// Tests may reckon plainly: an overflow there fails the test.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod budget;
pub mod calendar;
pub mod chain;
pub mod enroll;
pub mod events;
pub mod evidence;
pub mod files;
pub mod flood;
pub mod login;
pub mod module_line;
pub mod otp;
pub mod policy;
pub mod ports;
pub mod qr;
pub mod remember;
pub mod subject;
#[cfg(test)]
mod testkit;
pub mod vault;
pub mod verdict;
pub mod wizard;
pub mod words;
