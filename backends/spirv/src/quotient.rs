//! Offsets of vectors, counted in vectors: they are multiples of the lanes, so a sum is divided term by term, each term where it was made. A
//! shift of the whole sum would hide from drivers that accesses in an unrolled loop differ by constants only.

use crate::Result;
use crate::known::Known;
use crate::module::Emit;
use odc_ir::core::{Binary, Scalar};
use rspirv::spirv::{Op, Word};
use std::collections::BTreeMap;

/// How far an offset is looked into.
const DEEPEST: u32 = 8;

/// An index that was computed.
#[derive(Clone, Copy, Debug)]
struct Part {
    f: Binary,
    a: Known,
    b: Known,
    /// The block it stands in.
    block: Option<usize>,
}

/// What is known of the make-up of indices.
#[derive(Debug, Default)]
pub(crate) struct Indices {
    parts: BTreeMap<Word, Part>,
    /// Counters of loops: a number that they are multiples of.
    multiples: BTreeMap<Word, i64>,
    /// Quotients by the index, the divisor and the block that they stand in.
    known: BTreeMap<(Word, i64, Option<usize>), Known>,
}

impl Indices {
    pub fn made(&mut self, id: Word, f: Binary, [a, b]: [Known; 2], block: Option<usize>) {
        if matches!(f, Binary::Add | Binary::Sub | Binary::Mul) {
            self.parts.insert(id, Part { f, a, b, block });
        }
    }
    /// A counter that begins at `lo`.
    pub fn counts(&mut self, id: Word, lo: Known, step: i64) {
        if let Some(n) = [4, 2].into_iter().find(|n| step % n == 0 && self.divides(*n, lo, DEEPEST)) {
            self.multiples.insert(id, n);
        }
    }

    /// Is `x` a multiple of `n` for certain?
    fn divides(&self, n: i64, x: Known, depth: u32) -> bool {
        let Known::Id { id, .. } = x else { return x.int().is_some_and(|c| c % n == 0) };
        let Some(depth) = depth.checked_sub(1) else { return false };
        match self.parts.get(&id) {
            Some(Part { f: Binary::Mul, a, b, .. }) => self.divides(n, *a, depth) || self.divides(n, *b, depth),
            Some(Part { a, b, .. }) => self.divides(n, *a, depth) && self.divides(n, *b, depth),
            None => self.multiples.get(&id).is_some_and(|m| m % n == 0),
        }
    }
}

impl Emit<'_> {
    /// `x / n`, where `x` is a multiple of `n`, which is 2 or 4.
    pub fn quotient(&mut self, x: Known, n: i64) -> Result<Known> {
        self.divided(x, n, DEEPEST)
    }

    fn divided(&mut self, x: Known, n: i64, depth: u32) -> Result<Known> {
        let by = Known::constant(Scalar::Int(n));
        let Known::Id { id, .. } = x else { return self.index(Binary::FloorDiv, x, by) };
        let part = self.indices.parts.get(&id).copied();
        let block = part.map_or(self.b.selected_block(), |p| p.block);
        if let Some(q) = self.indices.known.get(&(id, n, block)) {
            return Ok(*q);
        }
        let deeper = depth.saturating_sub(1);
        let q = self.in_block(block, |e| {
            let divides = |x| deeper > 0 && e.indices.divides(n, x, deeper);
            match part {
                Some(Part { f: Binary::Mul, a, b, .. }) if divides(b) => {
                    let b = e.divided(b, n, deeper)?;
                    e.index(Binary::Mul, a, b)
                }
                Some(Part { f: Binary::Mul, a, b, .. }) if divides(a) => {
                    let a = e.divided(a, n, deeper)?;
                    e.index(Binary::Mul, a, b)
                }
                // If one term is a multiple, then so is the other.
                Some(Part { f: f @ (Binary::Add | Binary::Sub), a, b, .. }) if divides(a) || divides(b) => {
                    let (a, b) = (e.divided(a, n, deeper)?, e.divided(b, n, deeper)?);
                    e.index(f, a, b)
                }
                _ => e.index(Binary::FloorDiv, x, by),
            }
        })?;
        self.indices.known.insert((id, n, block), q);
        Ok(q)
    }

    /// Writes what `f` writes at the end of a block, which may be finished.
    fn in_block<T>(&mut self, block: Option<usize>, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (here, tail) = (self.b.selected_block(), self.tail);
        if block == here {
            return f(self);
        }
        let selected = self.b.select_block(block);
        self.ok(selected)?;
        // A branch, and what says where its sides meet.
        let function = self.b.module_ref().functions.first();
        let instructions = block.and_then(|k| function?.blocks.get(k)).map(|b| b.instructions.as_slice());
        self.tail = match instructions {
            Some([.., merge, _]) if matches!(merge.class.opcode, Op::SelectionMerge | Op::LoopMerge) => 2,
            _ => 1,
        };
        let made = f(self);
        self.tail = tail;
        let selected = self.b.select_block(here);
        self.ok(selected)?;
        made
    }
}
