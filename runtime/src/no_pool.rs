//! In place of `pool.rs` in builds without threads: a pool that cannot be made.

use crate::{LoadError, session::Call};

pub(crate) enum Pool {}

impl Pool {
    pub(crate) fn new(threads: usize) -> Result<Pool, LoadError> {
        Err(LoadError::Threads { threads, reason: "this build of the runtime has no threads; ask for 1".into() })
    }

    pub(crate) fn run(&mut self, _: Call, _: i64, _: i64) {
        match *self {}
    }
}
