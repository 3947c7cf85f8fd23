//! The threads of a session. They wait by spinning for a moment, then sleep. A dispatch does not wait for sleepers:
//! a worker that comes late finds the dispatch closed, so that the caller only waits for workers that took part.

use crate::{LoadError, session::Call};
use std::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::*},
    },
    thread::{self, JoinHandle, Thread},
};

/// Looks at the state before sleeping: some tens of microseconds, longer than the pause between two dispatches.
const SPINS: u32 = 4000;
/// Chunks a thread: enough to even out unequal speed, few enough to cost nothing.
const CHUNKS_PER_THREAD: i64 = 4;

// The state: a dispatch's number (32 bits), whether it is open, whether to stop, workers inside (16 bits).
const INSIDE: u64 = 0xffff;
const OPEN: u64 = 1 << 16;
const STOP: u64 = 1 << 17;
const NUMBER: u32 = 32;

struct Job {
    call: Call,
    grid: i64,
    chunk: i64,
    chunks: i64,
}

struct Shared {
    state: AtomicU64,
    next_chunk: AtomicI64,
    /// Written by the caller while the state is closed and nobody is inside; read by workers inside.
    job: UnsafeCell<Option<Job>>,
    asleep: Vec<AtomicBool>,
    started: AtomicUsize,
}

// SAFETY: `job` is guarded by `state` as said there; its pointers stay valid until the last worker has left.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    number: u32,
}

impl Pool {
    /// `threads` counts the caller.
    pub(crate) fn new(threads: usize) -> Result<Pool, LoadError> {
        const MOST: usize = 1024;
        let refused = |reason: String| LoadError::Threads { threads, reason };
        if threads > MOST {
            return Err(refused(format!("{MOST} are the most")));
        }
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next_chunk: AtomicI64::new(0),
            job: UnsafeCell::new(None),
            asleep: (1..threads).map(|_| AtomicBool::new(false)).collect(),
            started: AtomicUsize::new(0),
        });
        let mut pool = Pool { shared, workers: Vec::new(), handles: Vec::new(), number: 0 };
        for worker in 0..threads - 1 {
            let shared = pool.shared.clone();
            let spawned = thread::Builder::new().name(format!("odc-{}", worker + 1)).spawn(move || shared.work(worker));
            // On an error the drop of `pool` ends those that have started.
            let handle = spawned.map_err(|e| refused(e.to_string()))?;
            pool.handles.push(handle.thread().clone());
            pool.workers.push(handle);
        }
        // Threads allocate while they start: that belongs to the session's making, not to a run.
        while pool.shared.started.load(Acquire) < threads - 1 {
            thread::yield_now();
        }
        Ok(pool)
    }

    /// Computes all grid items; returns when that is done.
    pub(crate) fn run(&mut self, call: Call, grid: i64, grain: i64) {
        let threads = self.workers.len() as i64 + 1;
        let fair = grid / (threads * CHUNKS_PER_THREAD);
        let chunk = fair.max(grain).max(1);
        let chunks = grid / chunk + i64::from(grid % chunk != 0);
        let shared = &*self.shared;
        let job = Job { call, grid, chunk, chunks };
        self.number = self.number.wrapping_add(1);
        // SAFETY: the last run left the state closed with nobody inside.
        unsafe { *shared.job.get() = Some(job) };
        shared.next_chunk.store(0, Relaxed);
        // SeqCst with the same in `work`: either the worker sees the open state, or this sees it asleep.
        shared.state.store(u64::from(self.number) << NUMBER | OPEN, SeqCst);
        let useful = usize::try_from(chunks - 1).unwrap_or(0);
        for (asleep, thread) in shared.asleep.iter().zip(&self.handles).take(useful) {
            if asleep.load(SeqCst) {
                thread.unpark();
            }
        }
        shared.compute(0);
        shared.state.fetch_and(!OPEN, AcqRel);
        let mut spins = 0u32;
        while shared.state.load(Acquire) & INSIDE != 0 {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state.store(STOP, SeqCst);
        for thread in &self.handles {
            thread.unpark();
        }
        for worker in self.workers.drain(..) {
            // A worker cannot panic: it only calls machine code.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Takes chunks until none is left.
    fn compute(&self, thread: usize) {
        // SAFETY: the caller, or a worker that is inside, see `job`.
        let Some(job) = (unsafe { &*self.job.get() }) else {
            return;
        };
        loop {
            let chunk = self.next_chunk.fetch_add(1, Relaxed);
            if chunk >= job.chunks {
                return;
            }
            let begin = chunk * job.chunk;
            let end = (begin + job.chunk).min(job.grid);
            // SAFETY: the call is a bound plan's, each chunk is taken once, `thread` is this thread's own number.
            unsafe { job.call.run(thread, begin, end) };
        }
    }

    fn work(&self, worker: usize) {
        self.started.fetch_add(1, Release);
        let mut last = 0u64;
        let mut spins = 0;
        let Some(asleep) = self.asleep.get(worker) else {
            return;
        };
        let fresh = |state: u64, last: u64| state & OPEN != 0 && state >> NUMBER != last;
        loop {
            let state = self.state.load(Acquire);
            if state & STOP != 0 {
                return;
            }
            if fresh(state, last) {
                if self.state.compare_exchange_weak(state, state + 1, AcqRel, Relaxed).is_ok() {
                    last = state >> NUMBER;
                    self.compute(worker + 1);
                    self.state.fetch_sub(1, Release);
                    spins = 0;
                }
                continue;
            }
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
                continue;
            }
            asleep.store(true, SeqCst);
            let state = self.state.load(SeqCst);
            if state & STOP == 0 && !fresh(state, last) {
                thread::park();
            }
            asleep.store(false, SeqCst);
            spins = 0;
        }
    }
}
