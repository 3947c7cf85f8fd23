//! Control flow of programs: the commands between an `if` or a `loop` and its `end` are its body, in the same flat list. A body's
//! places in the arena are the program's own; what moves from iteration to iteration is reached through locals.

use super::{BufferRef, Command};
use crate::core::{Dim, Loc};

/// The commands up to its `End`, again and again. Locals are numbered in order of definition: two for each carried value, then one
/// for each moving buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loop {
    /// The most iterations.
    pub trips: Dim,
    /// An i64 that also bounds the iterations.
    pub limit: Option<BufferRef>,
    pub condition: Option<Condition>,
    /// Where each iteration finds its number, an i64.
    pub iteration: Option<BufferRef>,
    pub carried: Vec<Carried>,
    pub moving: Vec<Moving>,
    pub loc: Loc,
}

/// A bool before each iteration: `initial` first, later what the body left in `place`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    pub initial: BufferRef,
    pub place: BufferRef,
}

/// A value that iterations hand on. The body reads local `current` and writes local `next`; the last one written ends in `result`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carried {
    pub initial: BufferRef,
    pub result: BufferRef,
    /// As large as the result: iterations write the two in turn.
    pub spare: BufferRef,
    pub bytes: Dim,
    pub current: u32,
    pub next: u32,
}

/// A buffer of which iteration i sees what begins `i * step` bytes behind `base`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moving {
    pub base: BufferRef,
    pub step: Dim,
    pub local: u32,
    pub written: bool,
}

impl Loop {
    pub(super) fn accesses(&self) -> (Vec<BufferRef>, Vec<BufferRef>) {
        let (mut reads, mut writes) = (vec![], vec![]);
        reads.extend(self.limit);
        if let Some(c) = &self.condition {
            reads.push(c.initial);
            writes.push(c.place);
        }
        writes.extend(self.iteration);
        for c in &self.carried {
            reads.push(c.initial);
            writes.extend([c.result, c.spare]);
        }
        for m in &self.moving {
            if m.written { &mut writes } else { &mut reads }.push(m.base);
        }
        (reads, writes)
    }
    /// The locals that it defines, in order.
    pub fn locals(&self) -> impl Iterator<Item = u32> + '_ {
        self.carried.iter().flat_map(|c| [c.current, c.next]).chain(self.moving.iter().map(|m| m.local))
    }
    /// Every size that it speaks of.
    pub fn sizes(&self) -> impl Iterator<Item = &Dim> {
        std::iter::once(&self.trips).chain(self.carried.iter().map(|c| &c.bytes)).chain(self.moving.iter().map(|m| &m.step))
    }
    /// Which of two places iterations write first: with a known number of them, so that the last one writes the result.
    pub fn starts_at_result(trips: i64) -> bool {
        trips.rem_euclid(2) == 1
    }
}

/// Where the parts of the control commands lie: for each command its partner, by position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    /// Of an `If`: its `Else`. Of an `Else` or a `Loop`: its `End`. Of an `End`: its `Else` or `Loop`. Of others: themselves.
    pub partner: Vec<usize>,
    /// The loops, each with its `End`, in order.
    pub loops: Vec<(usize, usize)>,
}

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 64;

/// The structure of a list of commands, or what is wrong with it.
pub fn structure(commands: &[Command]) -> Result<Structure, String> {
    let mut s = Structure { partner: (0..commands.len()).collect(), loops: vec![] };
    let mut open: Vec<usize> = vec![];
    let mut locals = 0..;
    let pair = |a: usize, b: usize, s: &mut Structure| {
        if let Some(p) = s.partner.get_mut(a) {
            *p = b;
        }
    };
    for (at, c) in commands.iter().enumerate() {
        match c {
            Command::Dispatch { .. } | Command::Copy { .. } | Command::Size { .. } => {}
            Command::If { .. } => open.push(at),
            Command::Loop(l) => {
                if !l.locals().all(|k| locals.next() == Some(k)) {
                    return Err(format!("command {at}: locals are not numbered in order"));
                }
                open.push(at);
            }
            Command::Else => {
                let of = open.pop().filter(|k| matches!(commands.get(*k), Some(Command::If { .. })));
                pair(of.ok_or_else(|| format!("command {at}: an else without if"))?, at, &mut s);
                open.push(at);
            }
            Command::End => {
                let of = open.pop().ok_or_else(|| format!("command {at}: an end of nothing"))?;
                match commands.get(of) {
                    Some(Command::Loop(_)) => s.loops.push((of, at)),
                    Some(Command::Else) => {}
                    _ => return Err(format!("command {at}: an if without else")),
                }
                pair(of, at, &mut s);
                pair(at, of, &mut s);
            }
        }
        if open.len() > MAX_DEPTH {
            return Err(format!("command {at}: nested deeper than {MAX_DEPTH}"));
        }
    }
    match open.pop() {
        Some(at) => Err(format!("command {at}: nothing ends it")),
        None => Ok(s),
    }
}
