//! From when to when each slot of a program holds something that is still needed, in commands.

use super::{BufferRef, Program, structure};

/// Positions of commands: written first at `start`, needed last at `end` (inclusive). An output is needed at `commands.len()`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    pub start: usize,
    pub end: usize,
}

impl Life {
    pub fn overlaps(&self, other: &Life) -> bool {
        self.start <= other.end && other.start <= self.end
    }
    /// Does `next` begin in the very command in which `self` ends? Then that command may read the one and write the other.
    pub fn hands_over_to(&self, next: &Life) -> bool {
        self.end == next.start && self.start < next.start
    }
}

/// The slots that slot `k` lies within, from the inside out.
pub(super) fn around(program: &Program, k: u32) -> impl Iterator<Item = u32> {
    let within = |k: &u32| program.slot(*k).and_then(|s| s.within);
    std::iter::successors(within(&k), within).take(program.slots.len())
}

/// The life of every slot, by number; `None` for slots that nothing writes. What a loop's body uses from before it lives until the
/// loop's end. A slot with parts lives from the first write to any of them to the last use of it or of any of them, and so long
/// its parts are needed.
pub fn lives(program: &Program) -> Vec<Option<Life>> {
    let mut lives: Vec<Option<Life>> = vec![None; program.slots.len()];
    let mut loops = structure(&program.commands).map(|s| s.loops).unwrap_or_default();
    loops.sort_unstable();
    let mut touch = |b: &BufferRef, at: usize, write: bool| {
        let BufferRef::Arena(k) = b else { return };
        let outside = |start: usize| loops.iter().find(|(from, to)| start <= *from && *from <= at && at <= *to).map_or(at, |(_, to)| *to);
        for k in std::iter::once(*k).chain(around(program, *k)) {
            match lives.get_mut(k as usize) {
                Some(Some(life)) => life.end = life.end.max(outside(life.start)),
                Some(life) if write => *life = Some(Life { start: at, end: outside(at) }),
                Some(None) | None => {}
            }
        }
    };
    for (at, c) in program.commands.iter().enumerate() {
        let (reads, writes) = c.accesses();
        reads.iter().for_each(|b| touch(b, at, false));
        writes.iter().for_each(|b| touch(b, at, true));
    }
    for (_, b) in &program.outputs {
        touch(b, program.commands.len(), false);
    }
    for k in 0..lives.len() {
        let end = around(program, k as u32).last().and_then(|root| (*lives.get(root as usize)?).map(|life| life.end));
        if let (Some(Some(life)), Some(end)) = (lives.get_mut(k), end) {
            life.end = life.end.max(end);
        }
    }
    lives
}
