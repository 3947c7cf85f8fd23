//! Structured control flow to blocks with parameters. Loops test at the bottom, behind one guard.

use super::{Lower, Result};
use cranelift_codegen::ir::{self, InstBuilder, condcodes::IntCC, types};
use odc_ir::core::{Scalar, Value};
use odc_ir::loops::{LoopKind, Op, Operation};

/// Trips of an unrolled loop beyond this are a mistake of the pass that asked.
const MAX_UNROLLED: i64 = 4096;

fn stores(block: &odc_ir::loops::Block) -> bool {
    let mut found = false;
    block.visit_ops(&mut |op| found |= matches!(op.op, Op::Store {}));
    found
}

impl<'a> Lower<'a, '_> {
    fn get_all(&self, vs: &[Value]) -> Result<Vec<ir::Value>> {
        vs.iter().map(|v| self.get(*v)).collect()
    }

    pub(super) fn for_loop(&mut self, op: &'a Operation, kind: LoopKind) -> Result<()> {
        let ([lo, hi, step, init @ ..], [body]) = (op.operands.as_slice(), op.regions.as_slice()) else {
            return self.malformed("for lacks bounds or a body");
        };
        let Some(step) = self.known_int(*step).filter(|s| *s > 0) else {
            return self.malformed("the step of a loop must be a positive constant");
        };
        let (known_lo, known_hi) = (self.known_int(*lo), self.known_int(*hi));
        let init = self.get_all(init)?;
        if kind == LoopKind::Unrolled {
            let (Some(lo), Some(hi)) = (known_lo, known_hi) else {
                return self.malformed("the bounds of an unrolled loop must be constants");
            };
            return self.unrolled(op, body, (lo, hi, step), init);
        }
        let (lo, hi, runs) = match kind {
            LoopKind::Grid => (self.frame.begin, self.frame.end, false),
            LoopKind::Block => return self.unsupported("a block loop", "only GPU kernels have it"),
            LoopKind::Serial | LoopKind::Unrolled => {
                (self.get(*lo)?, self.get(*hi)?, matches!((known_lo, known_hi), (Some(l), Some(h)) if l < h))
            }
        };

        let (head, exit) = (self.b.create_block(), self.b.create_block());
        self.b.append_block_param(head, types::I64);
        for v in &init {
            let t = self.type_of(*v);
            self.b.append_block_param(head, t);
            self.b.append_block_param(exit, t);
        }
        let enter: Vec<_> = std::iter::once(lo).chain(init.iter().copied()).collect();
        if runs {
            self.jump(head, &enter);
        } else {
            let any = self.b.ins().icmp(IntCC::SignedLessThan, lo, hi);
            self.branch(any, (head, &enter), (exit, &init));
        }

        self.b.switch_to_block(head);
        let params = self.b.block_params(head).to_vec();
        let Some(counter) = body.args.first() else { return self.malformed("a loop without a counter") };
        self.loops.push((*counter, !stores(body)));
        for (v, x) in body.args.iter().zip(&params) {
            self.set(*v, *x, None);
        }
        self.ops(body)?;
        let yields = self.get_all(&body.yields)?;
        let Some(counter) = params.first() else { return self.malformed("a loop without a counter") };
        let next = self.b.ins().iadd_imm_s(*counter, step);
        let again = self.b.ins().icmp(IntCC::SignedLessThan, next, hi);
        let back: Vec<_> = std::iter::once(next).chain(yields.iter().copied()).collect();
        self.branch(again, (head, &back), (exit, &yields));
        self.loops.pop();

        self.b.switch_to_block(exit);
        let results = self.b.block_params(exit).to_vec();
        for (v, x) in op.results.iter().zip(results) {
            self.set(*v, x, None);
        }
        Ok(())
    }

    fn unrolled(
        &mut self,
        op: &'a Operation,
        body: &'a odc_ir::loops::Block,
        (lo, hi, step): (i64, i64, i64),
        mut carried: Vec<ir::Value>,
    ) -> Result<()> {
        if hi.saturating_sub(lo) / step > MAX_UNROLLED {
            return self.unsupported(format!("unrolling {lo}..{hi} by {step}"), "make the loop serial");
        }
        let Some((counter, args)) = body.args.split_first() else { return self.malformed("a loop without a counter") };
        let mut at = lo;
        while at < hi {
            let x = self.iconst(types::I64, at);
            self.set(*counter, x, None);
            self.learn(*counter, Scalar::Int(at));
            for (v, x) in args.iter().zip(&carried) {
                self.set(*v, *x, None);
            }
            self.ops(body)?;
            carried = self.get_all(&body.yields)?;
            at += step;
        }
        for (v, x) in op.results.iter().zip(carried) {
            self.set(*v, x, None);
        }
        Ok(())
    }

    pub(super) fn if_op(&mut self, op: &'a Operation, c: Value) -> Result<()> {
        let [then, otherwise] = op.regions.as_slice() else { return self.malformed("if lacks a region") };
        if let Some(Scalar::Bool(c)) = self.known(c) {
            let taken = if c { then } else { otherwise };
            self.ops(taken)?;
            for (r, y) in op.results.iter().zip(&taken.yields) {
                let x = self.get(*y)?;
                self.set(*r, x, None);
            }
            return Ok(());
        }
        let c = self.get(c)?;
        let (yes, no, join) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        for r in &op.results {
            let t = self.held(self.ty(*r)?)?;
            self.b.append_block_param(join, t);
        }
        self.branch(c, (yes, &[]), (no, &[]));
        for (block, region) in [(yes, then), (no, otherwise)] {
            self.b.switch_to_block(block);
            self.ops(region)?;
            let yields = self.get_all(&region.yields)?;
            self.jump(join, &yields);
        }
        self.b.switch_to_block(join);
        let results = self.b.block_params(join).to_vec();
        for (v, x) in op.results.iter().zip(results) {
            self.set(*v, x, None);
        }
        Ok(())
    }
}
