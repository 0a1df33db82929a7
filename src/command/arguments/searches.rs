//! `qrtotp check-picture` and `qrtotp scan`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What is searched for keys.
#[derive(Subcommand, Debug)]
pub enum Search {
    /// Say what a picture (PNG, JPEG) holds, without its secret: for people who were sent a QR code by somebody.
    CheckPicture {
        /// Which.
        file: PathBuf,
    },
    /// Find what enrollments left in folders: otpauth texts, files of google-authenticator and pam_oath, pictures, keys.
    ///
    /// It prints no key, changes nothing, follows no links, and stays on the file system. The exit code is 1 if a key that is good
    /// lies around. Not found are codes inside of PDF, SVG, HEIC, WebP and archives, keys as bare text that are not enrolled
    /// here, and texts in UTF-16.
    Scan(ScanOptions),
    /// Read a picture on standard input; the part of the two above that runs without privileges.
    #[command(hide = true)]
    ReadPicture,
}

/// Where to look.
#[derive(Args, Debug)]
pub struct ScanOptions {
    /// Folders or files.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Go into other local file systems that are mounted below.
    #[arg(long)]
    pub across: bool,
    /// Leave pictures out, which take most of the time.
    #[arg(long)]
    pub no_pictures: bool,
}
