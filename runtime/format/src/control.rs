//! The structure of a command list: which `else` and `end` belong to which `if` and `loop`, and how many locals there are.

use crate::{BufferRef, Command, Loop};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Structure {
    /// Of an `If`: its `Else`. Of an `Else` or a `Loop`: its `End`. Of an `End`: its `Else` or `Loop`. Of others: themselves.
    pub partner: Vec<usize>,
    /// How many locals all loops define.
    pub locals: u32,
}

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 64;

impl Loop {
    pub fn local_count(&self) -> u32 {
        (self.carried.len() * 2 + self.moving.len()) as u32
    }
    /// Everything that it names, and whether it writes there.
    pub fn buffers(&self) -> impl Iterator<Item = (BufferRef, bool)> + '_ {
        let condition = self.condition.iter().flat_map(|c| [(c.initial, false), (c.place, true)]);
        let carried = self.carried.iter().flat_map(|c| [(c.initial, false), (c.result, true), (c.spare, true)]);
        let moving = self.moving.iter().map(|m| (m.base, m.written));
        self.limit
            .iter()
            .map(|b| (*b, false))
            .chain(self.iteration.iter().map(|b| (*b, true)))
            .chain(condition)
            .chain(carried)
            .chain(moving)
    }
}

/// Checks the structure. `see` gets each command with the numbers of the locals that may be used there: ranges, one a loop around.
pub fn structure(commands: &[Command], mut see: impl FnMut(usize, &[core::ops::Range<u32>])) -> Result<Structure, String> {
    let mut s = Structure { partner: (0..commands.len()).collect(), locals: 0 };
    let mut open: Vec<usize> = Vec::new();
    let mut scope: Vec<core::ops::Range<u32>> = Vec::new();
    let wrong = |at: usize, why: &str| format!("command {at}: {why}");
    for (at, c) in commands.iter().enumerate() {
        see(at, &scope);
        let closes = match c {
            Command::Dispatch(_) | Command::Copy { .. } | Command::Size { .. } => None,
            Command::If { .. } => {
                open.push(at);
                None
            }
            Command::Loop(l) => {
                let end = s.locals.checked_add(l.local_count()).ok_or_else(|| wrong(at, "too many locals"))?;
                scope.push(s.locals..end);
                s.locals = end;
                open.push(at);
                None
            }
            Command::Else => Some(open.pop().filter(|k| matches!(commands.get(*k), Some(Command::If { .. })))),
            Command::End => {
                let of = open.pop().filter(|k| !matches!(commands.get(*k), Some(Command::If { .. })));
                if of.is_some_and(|k| matches!(commands.get(k), Some(Command::Loop(_)))) {
                    scope.pop();
                }
                Some(of)
            }
        };
        if let Some(of) = closes {
            let of = of.ok_or_else(|| wrong(at, "it closes nothing"))?;
            if let Some(p) = s.partner.get_mut(of) {
                *p = at;
            }
            match c {
                Command::Else => open.push(at),
                _ => s.partner[at] = of,
            }
        }
        if open.len() > MAX_DEPTH {
            return Err(wrong(at, "nested too deeply"));
        }
    }
    match open.pop() {
        Some(at) => Err(wrong(at, "nothing ends it").to_string()),
        None => Ok(s),
    }
}
