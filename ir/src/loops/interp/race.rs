//! Who touched what since the last barrier: for every element, when and by which invocation it was last written, read and updated
//! atomically. Barriers order nothing between workgroups.

use crate::core::Value;
use crate::loops::{Func, LoopKind, LoopType, Op};
use std::collections::BTreeSet;
use std::ops::Range;

/// Several invocations at once.
pub(super) const MANY: usize = (1 << WHO) - 2;
/// Bits of an invocation in a mark.
const WHO: u32 = 20;
/// Touched by several workgroups.
const GROUPS: u64 = u64::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    /// Free of races with its like, and with plain loads: those of such a buffer become atomic.
    Atomic,
}

/// Marks of some elements: 0, or the time with the invocation below it.
pub(super) struct Cells {
    written: Vec<u64>,
    read: Vec<u64>,
    updated: Vec<u64>,
}

impl Cells {
    pub fn new(n: usize) -> Cells {
        Cells { written: vec![0; n], read: vec![0; n], updated: vec![0; n] }
    }
}

pub(super) struct Shadow {
    /// Barriers and workgroups so far.
    now: u64,
    /// When the present workgroup began.
    began: u64,
    pub width: i64,
    /// The bytes that the kernel may write, and bytes a cell.
    tracked: Range<usize>,
    grain: usize,
    cells: Cells,
}

impl Shadow {
    /// For a kernel with a block loop.
    pub fn of(f: &Func, places: &[Range<usize>]) -> Option<Shadow> {
        let (mut width, mut stored) = (None, BTreeSet::new());
        let mut constants = std::collections::BTreeMap::new();
        f.body.visit_ops(&mut |op| match (&op.op, op.operands.as_slice()) {
            (Op::Const { value }, _) => constants.extend(op.result().map(|r| (r, value.as_i64()))),
            (Op::For { kind: LoopKind::Block }, [_, hi, ..]) => width = Some(constants.get(hi).copied().unwrap_or(1)),
            (Op::Store {} | Op::Atomic { .. } | Op::CoopStore {}, [p, ..]) => stored.extend([*p]),
            _ => {}
        });
        let width = width?;
        let pointer = |v: &&Value| matches!(f.types.get(v.index()), Some(LoopType::Ptr(..)));
        let params: Vec<(&Value, &Range<usize>)> = f.body.args.iter().filter(pointer).zip(places).collect();
        let written = || params.iter().filter(|(v, _)| stored.contains(v)).map(|(_, r)| r);
        let start = written().map(|r| r.start).min().unwrap_or(0);
        let end = written().map(|r| r.end).max().unwrap_or(0);
        let size = |v: &Value| f.types.get(v.index()).map_or(1, |t| t.dtype().size());
        let grain = params.iter().map(|(v, _)| size(v)).min().unwrap_or(1);
        let even = params.iter().all(|(_, r)| r.start % grain == 0);
        let grain = if even { grain } else { 1 };
        let n = end.saturating_sub(start).div_ceil(grain);
        Some(Shadow { now: 1, began: 1, width, tracked: start..end, grain, cells: Cells::new(n) })
    }

    pub fn barrier(&mut self) {
        self.now += 1;
    }
    pub fn workgroup(&mut self) {
        self.now += 1;
        self.began = self.now;
    }

    /// Touches bytes of the buffers' memory; the first byte of a race.
    pub fn touch(&mut self, bytes: Range<usize>, who: usize, kind: Kind) -> Option<usize> {
        let (start, end) = (bytes.start.max(self.tracked.start), bytes.end.min(self.tracked.end));
        if start >= end {
            return None;
        }
        let base = self.tracked.start;
        let cells = (start - base) / self.grain..(end - base).div_ceil(self.grain);
        let mut all = std::mem::replace(&mut self.cells, Cells::new(0));
        let found = self.touch_cells(&mut all, cells, who, kind);
        self.cells = all;
        found.map(|c| (base + c * self.grain).max(bytes.start))
    }

    /// Touches cells; the first that is a race.
    pub fn touch_cells(&self, all: &mut Cells, cells: Range<usize>, who: usize, kind: Kind) -> Option<usize> {
        let mark = self.now << WHO | (who as u64 + 1);
        let same_time = |old: u64| old >> WHO == self.now;
        let races = |old: u64| old != 0 && (old >> WHO < self.began || old == GROUPS || same_time(old) && (old != mark || who == MANY));
        for c in cells {
            let (Some(written), Some(read), Some(updated)) = (all.written.get_mut(c), all.read.get_mut(c), all.updated.get_mut(c)) else {
                return None;
            };
            if races(*written) || kind == Kind::Write && (races(*read) || races(*updated)) {
                return Some(c);
            }
            let slot = match kind {
                Kind::Write => written,
                Kind::Read => read,
                Kind::Atomic => updated,
            };
            *slot = match *slot {
                0 => mark,
                old if old == GROUPS || old >> WHO < self.began => GROUPS,
                old if same_time(old) && old != mark => self.now << WHO | (MANY as u64 + 1),
                _ => mark,
            };
        }
        None
    }
}
