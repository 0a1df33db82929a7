//! What the tests stand on: a machine of their own, real programs in it, a phone and a camera.
//!
//! - [`sandbox`]: a private /etc, /run, /var, /home, /dev and network for one test, gone when it ends
//! - [`machine`]: the whole machine with its packages, to install into
//! - [`product`]: the built module and command, and enrolling with them
//! - [`script`], [`pamhost`]: libpam itself, driven step by step
//! - [`terminal`], [`tmux`]: programs on a pseudo-terminal; a screen with rows and columns
//! - [`ssh`]: the real sshd and its clients
//! - [`phone`]: codes computed by oathtool; [`camera`]: pictures read by zbarimg and rqrr
//! - [`paper`]: pictures of codes, as files
//! - [`syslog`]: what arrived at /dev/log

pub mod browser;
pub mod camera;
pub mod lines;
pub mod machine;
pub mod mmdb;
pub mod pamhost;
pub mod paper;
pub mod phone;
pub mod product;
pub mod sandbox;
pub mod script;
pub mod ssh;
mod sys;
pub mod syslog;
pub mod terminal;
pub mod tmux;
pub mod users;

use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// How long anything may take before a test gives up on it.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a campaign repeats: the number in the environment variable, or the default.
///
/// # Panics
/// Where the variable holds something else than a number.
pub fn count(variable: &str, default: usize) -> usize {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

type Job = Box<dyn FnOnce() + Send>;

/// Runs something on a thread that was started outside of every sandbox. A thread that has started another one that still lives
/// cannot leave its mount namespace.
///
/// # Panics
/// Where the thread that starts the others is gone.
pub fn in_background(job: impl FnOnce() + Send + 'static) {
    static STARTER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        thread::spawn(move || jobs.iter().for_each(|job| drop(thread::spawn(job))));
        Mutex::new(sender)
    });
    starter.lock().unwrap().send(Box::new(job)).unwrap();
}
