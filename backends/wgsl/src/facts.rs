//! What the printer asks of a kernel: how often and where values are used, and how large a shift amount can be.

use odc_ir::core::{Binary, DType, Scalar, Value};
use odc_ir::loops::{Block, Func, LoopType, Op, Operation};

#[derive(Clone, Default)]
struct Fact<'f> {
    def: Option<&'f Operation>,
    /// The loop that counts with it.
    counts: Option<&'f Operation>,
    uses: u32,
    /// The blocks that define it and that use it last.
    home: u32,
    used_in: u32,
    defined: u32,
}

pub struct Facts<'f> {
    func: &'f Func,
    of: Vec<Fact<'f>>,
    blocks: u32,
}

impl<'f> Facts<'f> {
    pub fn new(func: &'f Func) -> Self {
        let mut facts = Facts { func, of: vec![Fact::default(); func.types.len()], blocks: 0 };
        facts.block(&func.body);
        facts
    }

    fn block(&mut self, b: &'f Block) {
        self.blocks += 1;
        let here = self.blocks;
        let define = |of: &mut Vec<Fact<'f>>, v: &Value, def| {
            if let Some(f) = of.get_mut(v.index()) {
                (f.home, f.def, f.defined) = (here, def, f.defined + 1);
            }
        };
        let uses = |of: &mut Vec<Fact<'f>>, v: &Value| {
            if let Some(f) = of.get_mut(v.index()) {
                (f.uses, f.used_in) = (f.uses + 1, here);
            }
        };
        b.args.iter().for_each(|v| define(&mut self.of, v, None));
        for op in &b.ops {
            op.operands.iter().for_each(|v| uses(&mut self.of, v));
            op.results.iter().for_each(|v| define(&mut self.of, v, Some(op)));
            for r in &op.regions {
                let counter = r.args.first().and_then(|v| self.of.get_mut(v.index()));
                if let (Op::For { .. }, Some(f)) = (&op.op, counter) {
                    f.counts = Some(op);
                }
                self.block(r);
            }
        }
        b.yields.iter().for_each(|v| uses(&mut self.of, v));
    }

    pub fn used(&self, v: Value) -> bool {
        self.of.get(v.index()).is_some_and(|f| f.uses > 0)
    }

    /// Used once, in the block that defines it.
    pub fn single(&self, v: Value) -> bool {
        self.of.get(v.index()).is_some_and(|f| f.uses == 1 && f.home == f.used_in)
    }

    /// A value that two blocks define: allowed nowhere, found by no verifier.
    pub fn defined_twice(&self) -> Option<Value> {
        let k = self.of.iter().position(|f| f.defined > 1)?;
        u32::try_from(k).ok().map(Value)
    }

    pub fn constant(&self, v: Value) -> Option<i64> {
        match self.of.get(v.index())?.def?.op {
            Op::Const { value: Scalar::Int(x) } => Some(x),
            _ => None,
        }
    }

    /// A number that the integer `v` never exceeds, with `v` never negative.
    pub fn at_most(&self, v: Value) -> Option<u64> {
        self.bound(v, 8)
    }

    /// Is the index or integer `v` never negative? Index arithmetic does not overflow.
    pub fn nonneg(&self, v: Value) -> bool {
        self.not_negative(v, 8)
    }

    fn not_negative(&self, v: Value, depth: u32) -> bool {
        let (Some(depth), Some(fact)) = (depth.checked_sub(1), self.of.get(v.index())) else { return false };
        if self.func.types.get(v.index()) != Some(&LoopType::Index) {
            return false;
        }
        let all = |xs: &[Value]| xs.iter().all(|x| self.not_negative(*x, depth));
        if let Some(op) = fact.counts {
            return all(op.operands.get(..1).unwrap_or_default());
        }
        let Some(op) = fact.def else { return false };
        match (&op.op, op.operands.as_slice()) {
            (Op::Const { value: Scalar::Int(x) }, _) => *x >= 0,
            (Op::Lane { .. }, _) => true,
            (Op::Binary { f: Binary::Mod }, [_, b]) => all(&[*b]),
            (Op::Binary { f: Binary::Rem | Binary::Shr }, [a, _]) => all(&[*a]),
            (Op::Binary { f: Binary::And }, [a, b]) => all(&[*a]) || all(&[*b]),
            (Op::Binary { f: Binary::Max }, [a, b]) => all(&[*a]) || all(&[*b]),
            (Op::Binary { f: Binary::Add | Binary::Mul | Binary::Div | Binary::FloorDiv | Binary::Min }, x) => all(x),
            (Op::Select {}, [_, x @ ..]) => all(x),
            _ => false,
        }
    }

    fn bound(&self, v: Value, depth: u32) -> Option<u64> {
        let depth = depth.checked_sub(1)?;
        if let Some([lo, hi, ..]) = self.of.get(v.index())?.counts.map(|op| op.operands.as_slice()) {
            self.bound(*lo, depth)?;
            return Some(self.bound(*hi, depth)?.saturating_sub(1));
        }
        let op = self.of.get(v.index())?.def?;
        let x = |k: usize| op.operands.get(k).copied().and_then(|v| self.bound(v, depth));
        let unsigned = self.func.types.get(v.index()).is_some_and(|t| t.dtype() == DType::U32);
        match &op.op {
            Op::Const { value: Scalar::Int(x) } => u64::try_from(*x).ok(),
            Op::Binary { f: Binary::And | Binary::Min } => match (x(0), x(1)) {
                (Some(a), Some(b)) => Some(a.min(b)),
                // `and` with a small number is small whatever the other is; `min` only if that is not negative.
                (Some(a), None) | (None, Some(a)) if op.op == (Op::Binary { f: Binary::And }) || unsigned => Some(a),
                _ => None,
            },
            Op::Binary { f: Binary::Rem } if unsigned => x(1).and_then(|b| b.checked_sub(1)),
            Op::Binary { f: Binary::Mod } => x(1).and_then(|b| b.checked_sub(1)),
            Op::Binary { f: Binary::Add } => x(0)?.checked_add(x(1)?).filter(|b| *b < 1 << 31),
            Op::Binary { f: Binary::Mul } => x(0)?.checked_mul(x(1)?).filter(|b| *b < 1 << 31),
            Op::Binary { f: Binary::Shl } => x(1).filter(|n| *n < 32).and_then(|n| Some(x(0)? << n)).filter(|b| *b < 1 << 31),
            Op::Binary { f: Binary::Shr } => x(0),
            Op::Select {} => Some(x(1)?.max(x(2)?)),
            Op::Splat {} => x(0),
            Op::Cast {} => {
                let from = op.operands.first().and_then(|v| self.func.types.get(v.index()))?;
                let int = matches!(from, LoopType::Index) || from.dtype().is_int();
                x(0).filter(|_| int)
            }
            _ => None,
        }
    }
}
