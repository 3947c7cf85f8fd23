//! Structured control flow to blocks with phis. Loops test at the bottom, behind one guard.

use super::{Lower, Result};
use odc_ir::core::{Scalar, Value};
use odc_ir::loops::{Block, LoopKind, Operation};

/// Trips of an unrolled loop beyond this are a mistake of the pass that asked.
const MAX_UNROLLED: i64 = 4096;

impl<'a> Lower<'a> {
    fn get_all(&self, vs: &[Value]) -> Result<Vec<String>> {
        vs.iter().map(|v| self.get(*v)).collect()
    }

    pub(super) fn for_loop(&mut self, op: &'a Operation, kind: LoopKind) -> Result<()> {
        let ([lo, hi, step, init @ ..], [body]) = (op.operands.as_slice(), op.regions.as_slice()) else {
            return self.malformed("for lacks bounds or a body");
        };
        let Some(step) = self.known_int(*step).filter(|s| *s > 0) else {
            return self.malformed("the step of a loop must be a positive constant");
        };
        let bounds = self.known_int(*lo).zip(self.known_int(*hi));
        let init = self.get_all(init)?;
        let (lo, hi) = match kind {
            LoopKind::Unrolled => match bounds {
                Some((lo, hi)) => return self.unrolled(op, body, (lo, hi, step), init),
                None => return self.malformed("the bounds of an unrolled loop must be constants"),
            },
            LoopKind::Grid => ("%begin".into(), "%end".into()),
            LoopKind::Block => return self.unsupported("a block loop", "only GPU kernels have it"),
            LoopKind::Serial => (self.get(*lo)?, self.get(*hi)?),
        };
        let types = op.results.iter().map(|r| self.held(self.ty(*r)?)).collect::<Result<Vec<_>>>()?;
        let n = self.w.number();
        let (head, exit, before) = (format!("loop{n}"), format!("exit{n}"), self.w.block.clone());
        let any = self.w.value(format_args!("icmp slt i64 {lo}, {hi}"));
        self.w.branch(&any, &head, &exit);

        self.w.begin(&head);
        let Some((counter, args)) = body.args.split_first() else { return self.malformed("a loop without a counter") };
        // What comes around has names before it is computed.
        let at = self.w.value(format_args!("phi i64 [ {lo}, %{before} ], [ %next{n}, %latch{n} ]"));
        self.set(*counter, at.clone());
        for (k, ((v, t), x)) in args.iter().zip(&types).zip(&init).enumerate() {
            let phi = self.w.value(format_args!("phi {t} [ {x}, %{before} ], [ %carried{n}.{k}, %latch{n} ]"));
            self.set(*v, phi);
        }
        self.ops(body)?;
        self.w.jump_to(&format!("latch{n}"));
        for (k, (y, t)) in self.get_all(&body.yields)?.iter().zip(&types).enumerate() {
            self.w.named(&format!("%carried{n}.{k}"), format_args!("bitcast {t} {y} to {t}"));
        }
        self.w.named(&format!("%next{n}"), format_args!("add nsw i64 {at}, {step}"));
        let again = self.w.value(format_args!("icmp slt i64 %next{n}, {hi}"));
        self.w.branch(&again, &head, &exit);

        self.w.begin(&exit);
        for (k, ((r, t), x)) in op.results.iter().zip(&types).zip(&init).enumerate() {
            let phi = self.w.value(format_args!("phi {t} [ {x}, %{before} ], [ %carried{n}.{k}, %latch{n} ]"));
            self.set(*r, phi);
        }
        Ok(())
    }

    fn unrolled(&mut self, op: &'a Operation, body: &'a Block, (lo, hi, step): (i64, i64, i64), mut carried: Vec<String>) -> Result<()> {
        if hi.saturating_sub(lo) / step > MAX_UNROLLED {
            return self.unsupported(format!("unrolling {lo}..{hi} by {step}"), "make the loop serial");
        }
        let Some((counter, args)) = body.args.split_first() else { return self.malformed("a loop without a counter") };
        let mut at = lo;
        while at < hi {
            self.set(*counter, at.to_string());
            self.learn(*counter, Scalar::Int(at));
            args.iter().zip(&carried).for_each(|(v, x)| self.set(*v, x.clone()));
            self.ops(body)?;
            carried = self.get_all(&body.yields)?;
            at += step;
        }
        op.results.iter().zip(carried).for_each(|(r, x)| self.set(*r, x));
        Ok(())
    }

    pub(super) fn if_op(&mut self, op: &'a Operation, c: Value) -> Result<()> {
        let [then, otherwise] = op.regions.as_slice() else { return self.malformed("if lacks a region") };
        if let Some(Scalar::Bool(c)) = self.known(c) {
            let taken = if c { then } else { otherwise };
            self.ops(taken)?;
            let ys = self.get_all(&taken.yields)?;
            op.results.iter().zip(ys).for_each(|(r, x)| self.set(*r, x));
            return Ok(());
        }
        let n = self.w.number();
        let (yes, no, join) = (format!("then{n}"), format!("else{n}"), format!("join{n}"));
        let c = self.get(c)?;
        self.w.branch(&c, &yes, &no);
        self.w.begin(&yes);
        self.ops(then)?;
        let (ys, from) = (self.get_all(&then.yields)?, self.w.block.clone());
        self.w.line(format_args!("br label %{join}"));
        self.w.begin(&no);
        self.ops(otherwise)?;
        let (zs, other) = (self.get_all(&otherwise.yields)?, self.w.block.clone());
        self.w.jump_to(&join);
        for (r, (y, z)) in op.results.iter().zip(ys.iter().zip(&zs)) {
            let t = self.held(self.ty(*r)?)?;
            let phi = self.w.value(format_args!("phi {t} [ {y}, %{from} ], [ {z}, %{other} ]"));
            self.set(*r, phi);
        }
        Ok(())
    }
}
