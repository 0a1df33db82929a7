//! The command line of the watcher.

use clap::Args;

/// How to watch.
#[derive(Args, Debug)]
pub struct WatchOptions {
    /// Look at what is new, do what is to be done, and end: for a timer. Waits for the programs it starts.
    #[arg(long)]
    pub once: bool,
    /// Run the program of one alert that was raised; the watcher itself calls this.
    #[arg(long, value_name = "ID", hide = true, conflicts_with = "once")]
    pub run_hook: Option<String>,
}
