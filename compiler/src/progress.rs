//! One line on a terminal's stderr that says what is going on; nothing at all where no person watches.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What the compiler does at the moment: a stage, and how much of it is done where that is known.
pub type Report<'a> = &'a (dyn Fn(&str, usize, usize) + Sync);

/// For callers who do not want to know.
pub fn silent(_: &str, _: usize, _: usize) {}

pub struct Progress {
    /// `None` when stderr is no terminal.
    line: Option<Mutex<Line>>,
}

#[derive(Default)]
struct Line {
    last: Option<Instant>,
    shown: bool,
}

impl Progress {
    pub fn new(wanted: bool) -> Progress {
        let on = wanted && std::io::stderr().is_terminal();
        Progress { line: on.then(Mutex::default) }
    }
    /// Shows `what done/total`, at most 20 times a second.
    pub fn show(&self, what: &str, done: usize, total: usize) {
        let Some(Ok(mut line)) = self.line.as_ref().map(Mutex::lock) else {
            return;
        };
        if line.last.is_some_and(|t| t.elapsed() < Duration::from_millis(50)) {
            return;
        }
        line.last = Some(Instant::now());
        line.shown = true;
        let count = if total > 0 { format!(" {done}/{total}") } else { String::new() };
        // A terminal that is gone is no reason to stop.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{what}{count}");
    }
    pub fn clear(&self) {
        if let Some(Ok(mut line)) = self.line.as_ref().map(Mutex::lock)
            && std::mem::take(&mut line.shown)
        {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
