//! The shape program: straight-line 64-bit integer code, run once per new set of input shapes. Instruction k
//! defines slot k and reads earlier slots only. Every step is overflow-checked.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// The result of one shape-program instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u32);

impl Slot {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Instr {
    Const(i64),
    InputDim {
        input: u32,
        axis: u32,
    },
    Add(Slot, Slot),
    Sub(Slot, Slot),
    Mul(Slot, Slot),
    /// Rounds towards minus infinity.
    FloorDiv(Slot, Slot),
    /// Rounds towards plus infinity.
    CeilDiv(Slot, Slot),
    /// `a - b * floordiv(a, b)`: takes the sign of the divisor.
    Mod(Slot, Slot),
    Min(Slot, Slot),
    Max(Slot, Slot),
    /// The least multiple of a positive number that is not smaller.
    AlignUp(Slot, u32),
    /// What the `index`-th [`Command::Size`](crate::Command::Size) of the program says; `most` until then.
    Said {
        index: u32,
        most: Slot,
    },
}

impl Instr {
    /// The slots that it reads.
    pub fn reads(&self) -> impl Iterator<Item = Slot> {
        use Instr::*;
        let (a, b) = match *self {
            Const(_) | InputDim { .. } => (None, None),
            AlignUp(a, _) | Said { most: a, .. } => (Some(a), None),
            Add(a, b) | Sub(a, b) | Mul(a, b) | FloorDiv(a, b) | CeilDiv(a, b) | Mod(a, b) | Min(a, b) | Max(a, b) => (Some(a), Some(b)),
        };
        a.into_iter().chain(b)
    }
}

/// A guard: the run is refused, with `what` in the message, unless the condition holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub condition: Condition,
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    AtLeast(Slot, i64),
    AtMost(Slot, i64),
    Equal(Slot, Slot),
    MultipleOf(Slot, i64),
}

impl Condition {
    /// The slots that it reads.
    pub fn reads(&self) -> impl Iterator<Item = Slot> {
        let (a, b) = match *self {
            Condition::AtLeast(a, _) | Condition::AtMost(a, _) | Condition::MultipleOf(a, _) => (a, None),
            Condition::Equal(a, b) => (a, Some(b)),
        };
        core::iter::once(a).chain(b)
    }

    /// `None` when a slot has no value yet.
    pub fn holds(&self, slots: &[i64]) -> Option<bool> {
        let get = |s: Slot| slots.get(s.index()).copied();
        Some(match *self {
            Condition::AtLeast(a, n) => get(a)? >= n,
            Condition::AtMost(a, n) => get(a)? <= n,
            Condition::Equal(a, b) => get(a)? == get(b)?,
            Condition::MultipleOf(a, n) => get(a)?.checked_rem(n) == Some(0),
        })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeProgram {
    pub instrs: Vec<Instr>,
    pub checks: Vec<Check>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShapeFault {
    Overflow,
    DivisionByZero,
    /// An input dimension or an earlier slot that is not there.
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("shape program: instruction {at}: {fault:?}")]
pub struct ShapeError {
    pub at: u32,
    pub fault: ShapeFault,
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    let q = a.checked_div(b)?;
    if a.checked_rem(b)? != 0 && (a < 0) != (b < 0) { q.checked_sub(1) } else { Some(q) }
}

/// One instruction over known operands.
fn step(instr: &Instr, get: impl Fn(Slot) -> Option<i64>, dim: impl Fn(u32, u32) -> Option<i64>) -> Result<i64, ShapeFault> {
    let get = |s| get(s).ok_or(ShapeFault::Missing);
    let divisor = |s| get(s).and_then(|v| if v == 0 { Err(ShapeFault::DivisionByZero) } else { Ok(v) });
    match *instr {
        Instr::Const(v) => Some(v),
        Instr::InputDim { input, axis } => return dim(input, axis).ok_or(ShapeFault::Missing),
        Instr::Add(a, b) => get(a)?.checked_add(get(b)?),
        Instr::Sub(a, b) => get(a)?.checked_sub(get(b)?),
        Instr::Mul(a, b) => get(a)?.checked_mul(get(b)?),
        Instr::FloorDiv(a, b) => floor_div(get(a)?, divisor(b)?),
        // ceil(a / b) = -floor(-a / b)
        Instr::CeilDiv(a, b) => {
            let b = divisor(b)?;
            get(a)?.checked_neg().and_then(|a| floor_div(a, b)).and_then(i64::checked_neg)
        }
        Instr::Mod(a, b) => {
            let (a, b) = (get(a)?, divisor(b)?);
            floor_div(a, b).and_then(|q| q.checked_mul(b)).and_then(|m| a.checked_sub(m))
        }
        Instr::Said { most, .. } => Some(get(most)?),
        Instr::Min(a, b) => Some(get(a)?.min(get(b)?)),
        Instr::Max(a, b) => Some(get(a)?.max(get(b)?)),
        Instr::AlignUp(a, to) => {
            let (a, to) = (get(a)?, i64::from(to));
            if to == 0 {
                return Err(ShapeFault::DivisionByZero);
            }
            match floor_div(a, to).and_then(|q| q.checked_mul(to)) {
                Some(down) if down == a => Some(a),
                down => down.and_then(|d| d.checked_add(to)),
            }
        }
    }
    .ok_or(ShapeFault::Overflow)
}

impl ShapeProgram {
    /// Fills `slots`. On an error the slots before the failing instruction have their values, so that a caller
    /// can look for a better reason (a dim outside its bounds) than an overflow.
    pub fn evaluate(&self, input_dim: impl Fn(u32, u32) -> Option<i64>, slots: &mut Vec<i64>) -> Result<(), ShapeError> {
        self.evaluate_said(input_dim, &[], slots)
    }

    /// The same, when the first size commands have said `said`.
    pub fn evaluate_said(&self, input_dim: impl Fn(u32, u32) -> Option<i64>, said: &[i64], slots: &mut Vec<i64>) -> Result<(), ShapeError> {
        slots.clear();
        slots.reserve(self.instrs.len());
        for (at, instr) in self.instrs.iter().enumerate() {
            let known = match instr {
                Instr::Said { index, .. } => said.get(*index as usize).copied(),
                _ => None,
            };
            let value = match known {
                Some(v) => Ok(v),
                None => step(instr, |s| slots.get(s.index()).copied(), &input_dim),
            };
            slots.push(value.map_err(|fault| ShapeError { at: at as u32, fault })?);
        }
        Ok(())
    }

    /// How many size commands must have spoken before each slot has its value, in order of the slots.
    pub fn waits(&self) -> Vec<u32> {
        let mut waits: Vec<u32> = Vec::with_capacity(self.instrs.len());
        for instr in &self.instrs {
            let own = if let Instr::Said { index, .. } = instr { index.saturating_add(1) } else { 0 };
            let read = instr.reads().filter_map(|s| waits.get(s.index()).copied()).max().unwrap_or(0);
            waits.push(own.max(read));
        }
        waits
    }

    /// Values under given symbol values instead of input shapes, for tools; `None` where a slot depends on
    /// something that was not given.
    pub fn evaluate_at(&self, known: &[(Slot, i64)]) -> Vec<Option<i64>> {
        let mut slots: Vec<Option<i64>> = Vec::with_capacity(self.instrs.len());
        for (at, instr) in self.instrs.iter().enumerate() {
            let given = known.iter().find(|(s, _)| s.index() == at).map(|&(_, v)| v);
            let value = given.or_else(|| step(instr, |s| slots.get(s.index()).copied().flatten(), |_, _| None).ok());
            slots.push(value);
        }
        slots
    }
}

/// Builds a shape program without duplicates; constants fold.
#[derive(Debug, Default)]
pub struct ShapeBuilder {
    program: ShapeProgram,
    known: BTreeMap<Instr, Slot>,
}

impl ShapeBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, instr: Instr) -> Slot {
        let constant = |s: Slot| match self.program.instrs.get(s.index()) {
            Some(Instr::Const(v)) => Some(*v),
            _ => None,
        };
        let instr = match instr {
            Instr::Said { .. } => instr,
            _ => step(&instr, constant, |_, _| None).map_or(instr, Instr::Const),
        };
        if let Some(&slot) = self.known.get(&instr) {
            return slot;
        }
        let slot = Slot(self.program.instrs.len() as u32);
        self.program.instrs.push(instr);
        self.known.insert(instr, slot);
        slot
    }

    pub fn constant(&mut self, value: i64) -> Slot {
        self.push(Instr::Const(value))
    }

    pub fn input_dim(&mut self, input: u32, axis: u32) -> Slot {
        self.push(Instr::InputDim { input, axis })
    }

    pub fn check(&mut self, condition: Condition, what: impl Into<String>) {
        self.program.checks.push(Check { condition, what: what.into() });
    }

    pub fn finish(self) -> ShapeProgram {
        self.program
    }
}
