//! `qrtotp generate`: hidden, for those who build and package.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What is made from the definitions of options and keys.
#[derive(Subcommand, Debug)]
pub enum GenerateAct {
    /// Write manual pages and completions, or the reference in the README.
    #[command(hide = true)]
    Generate(GenerateOptions),
}

/// What to write, and where.
#[derive(Args, Debug)]
#[group(required = true)]
pub struct GenerateOptions {
    /// Write `man/*.5`, `*.7` and `*.8`, and `completions/*`, into this folder.
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Write the reference anew between its two marks in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "folder")]
    pub readme: Option<PathBuf>,
}
