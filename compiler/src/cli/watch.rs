//! `--timeout`: a thread that cancels a run which takes too long.

use odc_runtime::Canceller;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// While it lives, the time runs.
pub struct Watch(Option<(Sender<()>, JoinHandle<()>)>);

impl Watch {
    pub fn start(canceller: Canceller, seconds: f64) -> Watch {
        let Ok(time) = Duration::try_from_secs_f64(seconds) else { return Watch(None) };
        let (over, wait) = channel();
        let thread = spawn(move || {
            if wait.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                canceller.cancel();
            }
        });
        Watch(Some((over, thread)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((over, thread)) = self.0.take() {
            drop(over);
            // It only waits.
            drop(thread.join());
        }
    }
}
