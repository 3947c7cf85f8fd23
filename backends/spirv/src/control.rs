//! The frame of a kernel and structured control flow: loops and branches merge where they end, and what they carry are phis.

use crate::Result;
use crate::known::Known;
use crate::module::Emit;
use crate::types::{Elem, Ty};
use odc_ir::core::{Scalar, Value};
use odc_ir::loops::{Block, LoopKind, Op, Operation};
use rspirv::dr::{InsertPoint, Instruction, Operand};
use rspirv::spirv::{self, BuiltIn, LoopControl, SelectionControl, Word};

/// Trips of an unrolled loop beyond this are a mistake of the pass that asked.
const MOST_UNROLLED: i64 = 4096;
/// Workgroups along an axis of a dispatch.
const MOST_WORKGROUPS: i64 = 65535;

impl Emit<'_> {
    /// Everything between the entry and the return.
    pub fn kernel(&mut self) -> Result<()> {
        let func = self.func;
        self.load_sizes()?;
        let Some((grid, before)) = func.body.ops.split_last() else { return self.malformed("no grid loop") };
        self.ops(before)?;
        let ([_, count, ..], [body]) = (grid.operands.as_slice(), grid.regions.as_slice()) else {
            return self.malformed("a grid loop without bounds or a body");
        };
        let count = self.get(*count)?;
        let here = self.input(BuiltIn::WorkgroupId, 3)?;
        let x = self.extract(here, Elem::U32, 0)?;
        if count.int().is_some_and(|n| n <= MOST_WORKGROUPS) {
            let at = self.op(spirv::Op::Bitcast, Ty::INDEX, &[x])?;
            return self.workgroup(body, at);
        }
        // Workgroups beyond one axis are dispatched as a rectangle, whose last row may be longer than needed.
        let uint = Ty::scalar(Elem::U32);
        let y = self.extract(here, Elem::U32, 1)?;
        let size = self.input(BuiltIn::NumWorkgroups, 3)?;
        let row = self.extract(size, Elem::U32, 0)?;
        let above = self.op(spirv::Op::IMul, uint, &[y, row])?;
        let at = self.op(spirv::Op::IAdd, uint, &[x, above])?;
        let at = self.op(spirv::Op::Bitcast, Ty::INDEX, &[at])?;
        let count = self.id(count, Ty::INDEX)?;
        let inside = self.op(spirv::Op::SLessThan, Ty::BOOL, &[at, count])?;
        let (run, leave) = (self.b.id(), self.b.id());
        self.split(inside, run, leave, leave)?;
        self.start(run)?;
        self.workgroup(body, at)?;
        self.jump(leave)?;
        self.start(leave)
    }

    /// The grid loop's body, for the workgroup `at`.
    fn workgroup(&mut self, body: &Block, at: Word) -> Result<()> {
        if let Some(counter) = body.args.first() {
            self.set(*counter, Known::Id { id: at, natural: true });
        }
        let Some((block, before)) = body.ops.split_last().filter(|(op, _)| matches!(op.op, Op::For { kind: LoopKind::Block })) else {
            return self.unsupported("a grid loop that does not end with a block loop", "legalise the kernel for GPUs first");
        };
        self.ops(before)?;
        let ([_, width, ..], [inner]) = (block.operands.as_slice(), block.regions.as_slice()) else {
            return self.malformed("a block loop without bounds or a body");
        };
        let Some(width) = self.get(*width)?.int().and_then(|w| u32::try_from(w).ok()) else {
            return self.malformed("a block loop whose width is not constant");
        };
        self.limit("maxComputeInvocationsPerWorkgroup", width.into(), self.target.limits.invocations.into())?;
        self.invocations = width;
        let lane = self.input(BuiltIn::LocalInvocationIndex, 1)?;
        let lane = self.op(spirv::Op::Bitcast, Ty::INDEX, &[lane])?;
        if let Some(counter) = inner.args.first() {
            self.set(*counter, Known::Id { id: lane, natural: true });
        }
        self.ops(&inner.ops)
    }

    fn ops(&mut self, ops: &[Operation]) -> Result<()> {
        ops.iter().try_for_each(|op| self.operation(op))
    }

    fn jump(&mut self, to: Word) -> Result<()> {
        self.terminate(spirv::Op::Branch, vec![Operand::IdRef(to)])
    }

    /// Ends the block with a branch whose sides meet at `merge`.
    fn split(&mut self, condition: Word, yes: Word, no: Word, merge: Word) -> Result<()> {
        let control = Operand::SelectionControl(SelectionControl::NONE);
        self.effect(spirv::Op::SelectionMerge, vec![Operand::IdRef(merge), control])?;
        self.conditional(condition, yes, no)
    }

    fn conditional(&mut self, condition: Word, yes: Word, no: Word) -> Result<()> {
        self.terminate(spirv::Op::BranchConditional, vec![Operand::IdRef(condition), Operand::IdRef(yes), Operand::IdRef(no)])
    }

    fn all(&mut self, vs: &[Value]) -> Result<Vec<Known>> {
        vs.iter().map(|v| self.get(*v)).collect()
    }

    fn set_all(&mut self, vs: &[Value], xs: &[Known]) {
        for (v, x) in vs.iter().zip(xs) {
            self.set(*v, *x);
        }
    }

    pub fn for_loop(&mut self, op: &Operation, kind: LoopKind) -> Result<()> {
        let ([lo, hi, step, init @ ..], [body]) = (op.operands.as_slice(), op.regions.as_slice()) else {
            return self.malformed("a loop without bounds or a body");
        };
        let (lo, hi) = (self.get(*lo)?, self.get(*hi)?);
        let Some(step) = self.get(*step)?.int().filter(|s| *s > 0) else {
            return self.malformed("the step of a loop must be a positive constant");
        };
        let trips = match (lo.int(), hi.int()) {
            (Some(lo), Some(hi)) => Some((i128::from(hi) - i128::from(lo)).max(0).unsigned_abs().div_ceil(step.unsigned_abs().into())),
            _ => None,
        };
        match (kind, lo.int(), trips) {
            (LoopKind::Grid | LoopKind::Block, ..) => self.malformed("a grid or block loop inside another loop"),
            (LoopKind::Serial, Some(lo), Some(trips @ 0..=1)) => self.unrolled(op, body, (lo, step, trips as i64)),
            (LoopKind::Serial, ..) => self.serial(op, body, (lo, hi, step), init),
            (LoopKind::Unrolled, Some(lo), Some(trips)) => match i64::try_from(trips) {
                Ok(trips) if trips <= MOST_UNROLLED => self.unrolled(op, body, (lo, step, trips)),
                _ => self.unsupported(format!("unrolling {trips} iterations"), "make the loop serial"),
            },
            (LoopKind::Unrolled, ..) => self.malformed("the bounds of an unrolled loop must be constants"),
        }
    }

    fn unrolled(&mut self, op: &Operation, body: &Block, (lo, step, trips): (i64, i64, i64)) -> Result<()> {
        let Some((counter, args)) = body.args.split_first() else { return self.malformed("a loop without a counter") };
        let mut carried = self.all(op.operands.get(3..).unwrap_or_default())?;
        for k in 0..trips {
            let at = step.checked_mul(k).and_then(|d| lo.checked_add(d));
            let Some(at) = at else { return self.malformed("a loop counter beyond 64 bits") };
            self.set(*counter, Known::constant(Scalar::Int(at)));
            self.set_all(args, &carried);
            self.ops(&body.ops)?;
            carried = self.all(&body.yields)?;
        }
        self.set_all(&op.results, &carried);
        Ok(())
    }

    fn serial(&mut self, op: &Operation, body: &Block, (lo, hi, step): (Known, Known, i64), init: &[Value]) -> Result<()> {
        let Some((counter, args)) = body.args.split_first() else { return self.malformed("a loop without a counter") };
        let (head, inside, next, end) = (self.b.id(), self.b.id(), self.b.id(), self.b.id());
        let (lo_id, hi_id) = (self.id(lo, Ty::INDEX)?, self.id(hi, Ty::INDEX)?);
        let mut phis = vec![(Ty::INDEX, self.b.id(), lo_id)];
        for v in init {
            phis.push((self.ty(*v)?, self.b.id(), self.value(*v)?));
        }
        let before = self.label;
        self.jump(head)?;

        self.start(head)?;
        let header = self.b.selected_block();
        let results: Vec<Known> = phis.iter().skip(1).map(|(_, id, _)| Known::id(*id)).collect();
        let at = phis.first().map_or(0, |p| p.1);
        let more = self.op(spirv::Op::SLessThan, Ty::BOOL, &[at, hi_id])?;
        let control = Operand::LoopControl(LoopControl::NONE);
        self.effect(spirv::Op::LoopMerge, vec![Operand::IdRef(end), Operand::IdRef(next), control])?;
        self.conditional(more, inside, end)?;

        self.start(inside)?;
        self.indices.counts(at, lo, step);
        self.set(*counter, Known::Id { id: at, natural: lo.natural() });
        self.set_all(args, &results);
        self.ops(&body.ops)?;
        let mut back = vec![0];
        for v in &body.yields {
            back.push(self.value(*v)?);
        }
        self.jump(next)?;

        self.start(next)?;
        let step = self.checked(Scalar::Int(step))?;
        let step = self.id(step, Ty::INDEX)?;
        let stepped = self.op(spirv::Op::IAdd, Ty::INDEX, &[at, step])?;
        if let Some(first) = back.first_mut() {
            *first = stepped;
        }
        self.jump(head)?;

        // Only now is it known what the phis of the header receive from the loop's end.
        let selected = self.b.select_block(header);
        self.ok(selected)?;
        for (k, ((ty, id, enter), again)) in phis.iter().zip(&back).enumerate() {
            let t = self.type_id(*ty)?;
            let operands = [*enter, before, *again, next].map(Operand::IdRef).to_vec();
            let phi = Instruction::new(spirv::Op::Phi, Some(t), Some(*id), operands);
            let inserted = self.b.insert_into_block(InsertPoint::FromBegin(k), phi);
            self.ok(inserted)?;
        }
        let left = self.b.select_block(None);
        self.ok(left)?;
        self.start(end)?;
        self.set_all(&op.results, &results);
        Ok(())
    }

    pub fn branch(&mut self, op: &Operation, condition: Value) -> Result<()> {
        let [then, otherwise] = op.regions.as_slice() else { return self.malformed("if lacks a region") };
        if let Known::Constant(c) = self.get(condition)? {
            let taken = if c.as_bool() { then } else { otherwise };
            self.ops(&taken.ops)?;
            let xs = self.all(&taken.yields)?;
            self.set_all(&op.results, &xs);
            return Ok(());
        }
        let condition = self.value(condition)?;
        let (yes, end) = (self.b.id(), self.b.id());
        let bare = otherwise.ops.is_empty();
        let no = if bare { end } else { self.b.id() };
        let before = self.label;
        let natural = |e: &Self, v: &Value| e.get(*v).is_ok_and(Known::natural);
        self.split(condition, yes, no, end)?;
        let mut sides = vec![];
        for (label, region) in [(yes, then), (no, otherwise)] {
            if label == end {
                sides.push((before, otherwise));
                continue;
            }
            self.start(label)?;
            self.ops(&region.ops)?;
            sides.push((self.label, region));
            self.jump(end)?;
        }
        self.start(end)?;
        for (k, r) in op.results.iter().enumerate() {
            let t = self.ty(*r)?;
            let t = self.type_id(t)?;
            let mut operands = vec![];
            let mut never_negative = true;
            for (label, region) in &sides {
                let Some(v) = region.yields.get(k) else { return self.malformed("a region yields too little") };
                operands.extend([self.value(*v)?, *label].map(Operand::IdRef));
                never_negative &= natural(self, v);
            }
            let id = self.instruction(spirv::Op::Phi, t, operands)?;
            self.set(*r, Known::Id { id, natural: never_negative });
        }
        Ok(())
    }
}
