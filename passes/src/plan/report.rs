//! What a program needs at its fullest: for `info --memory`, and for judging plans.

use odc_ir::core::{Binding, InterpError};
use odc_ir::program::{Program, lives};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBuffer {
    pub slot: u32,
    pub bytes: i64,
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryReport {
    /// The sizes that the other numbers are for.
    pub at: Binding,
    pub arena_bytes: i64,
    /// The most bytes alive during one command: no arena for this order is smaller.
    pub live_bytes: i64,
    /// The command during which that is.
    pub command: usize,
    /// What is alive then, largest first.
    pub live: Vec<LiveBuffer>,
}

/// Memory at the first sampled sizes (64 for every symbol whose bounds allow it).
pub fn report(program: &Program) -> Result<MemoryReport, InterpError> {
    report_at(program, program.samples().into_iter().next().unwrap_or_default())
}

/// Memory at given sizes.
pub fn report_at(program: &Program, at: Binding) -> Result<MemoryReport, InterpError> {
    let mut buffers = vec![];
    for (k, (slot, life)) in program.slots.iter().zip(lives(program)).enumerate() {
        // A part is memory of the slot around it.
        if let Some(life) = life.filter(|_| slot.within.is_none()) {
            buffers.push((life, LiveBuffer { slot: k as u32, bytes: at.eval(&slot.bytes)?, note: slot.note.clone() }));
        }
    }
    let alive = |c: usize| buffers.iter().filter(move |(life, _)| life.start <= c && c <= life.end).map(|(_, b)| b);
    let sum = |c: usize| alive(c).fold(0i64, |s, b| s.saturating_add(b.bytes));
    let mut command = 0;
    for c in 0..program.commands.len() {
        if sum(c) > sum(command) {
            command = c;
        }
    }
    let mut live: Vec<LiveBuffer> = alive(command).cloned().collect();
    live.sort_by_key(|b| (-b.bytes, b.slot));
    Ok(MemoryReport { arena_bytes: at.eval(&program.arena_bytes)?, live_bytes: sum(command), command, live, at })
}
