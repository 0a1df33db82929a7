//! The command line of the report.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to report.
#[derive(Subcommand, Debug)]
pub enum ReportAct {
    /// Write a page of what happened and what state is in: one HTML file that needs nothing beside it.
    Report(ReportOptions),
}

/// Of when, and where to.
#[derive(Args, Debug)]
pub struct ReportOptions {
    /// The file to write, which only root will read.
    #[arg(long, value_name = "FILE")]
    pub html: PathBuf,
    /// From then on: a date, a time, or how long ago, like 90m or 7d.
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub since: String,
    /// Replace the file if it is there.
    #[arg(long)]
    pub force: bool,
}
