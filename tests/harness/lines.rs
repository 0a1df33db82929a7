//! Lines that arrive from elsewhere while a test goes on, and waiting for one of them.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::{DEADLINE, in_background};

/// A growing list of lines, shared with whoever fills it.
#[derive(Clone, Default)]
pub struct Lines {
    shared: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Lines {
    /// Reads a stream to its end in the background.
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let filled = lines.clone();
        in_background(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                filled.push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        lines
    }

    /// Adds a line.
    pub fn push(&self, line: String) {
        self.list().push(line);
        self.shared.1.notify_all();
    }

    /// How many there are; with [`Lines::since`], what came after a point.
    pub fn len(&self) -> usize {
        self.list().len()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All lines after the first `mark`.
    pub fn since(&self, mark: usize) -> Vec<String> {
        self.list()[mark..].to_vec()
    }

    /// All lines.
    pub fn all(&self) -> Vec<String> {
        self.since(0)
    }

    /// All lines that hold the text.
    pub fn holding(&self, text: &str) -> Vec<String> {
        let mut lines = self.all();
        lines.retain(|line| line.contains(text));
        lines
    }

    /// Waits for a line with this text and returns it.
    ///
    /// # Panics
    /// Where none comes in time.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |lines| lines.iter().find(|line| line.contains(text)).cloned())
    }

    /// Waits until the lines answer a question.
    ///
    /// # Panics
    /// Where they do not in time.
    pub fn wait_until<T>(&self, what: &str, question: impl Fn(&[String]) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut lines = self.list();
        loop {
            if let Some(answer) = question(&lines) {
                return answer;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what:?}; these lines came:\n{}", lines.join("\n"));
            lines = self.shared.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// What is there; also after a test has failed while it looked at it.
    fn list(&self) -> MutexGuard<'_, Vec<String>> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
