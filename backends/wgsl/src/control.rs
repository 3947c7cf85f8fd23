//! Statements: blocks, loops and branches. Carried values are `var`s; a loop that continues what a `var` already carries takes it over.

use crate::emit::{Emitter, Held, Result};
use crate::expr::Expr;
use odc_ir::core::{Scalar, Value};
use odc_ir::loops::{Block, LoopKind, Op, Operation};

/// Most copies of an unrolled body, and most ops in all of them together; beyond, it stays a loop.
const COPIES: i64 = 16;
const UNROLLED_OPS: u64 = 2048;

/// Names of loop counters.
const COUNTERS: &[&str] = &["i", "j", "k", "l", "m", "n", "p", "q"];

impl Emitter<'_> {
    pub fn ops(&mut self, ops: &[Operation]) -> Result<()> {
        ops.iter().try_for_each(|op| self.op(op))
    }

    fn op(&mut self, op: &Operation) -> Result<()> {
        match &op.op {
            Op::Shared { .. } => Ok(()), // declared by the module
            Op::Barrier {} => {
                self.settle();
                self.line("workgroupBarrier();");
                if self.storage_barrier {
                    self.line("storageBarrier();");
                }
                Ok(())
            }
            Op::Store {} => self.store(op),
            Op::Atomic { f } => self.atomic(*f, op),
            Op::For { kind } => self.for_loop(op, *kind),
            Op::If {} => self.branch(op),
            Op::Subgroup { .. } => {
                self.define(op)?;
                op.results.iter().for_each(|r| self.name(*r)); // where control flow is uniform
                Ok(())
            }
            Op::CoopLoad {} | Op::CoopMma {} | Op::CoopStore {} => Err(self.cx.no_matrices()),
            Op::Scratch {} => Err(self.cx.unsupported("scratch memory", "keep values of an invocation in registers")),
            Op::Const { .. }
            | Op::Unary { .. }
            | Op::Binary { .. }
            | Op::Fma {}
            | Op::Select {}
            | Op::Cast {}
            | Op::Bitcast {}
            | Op::Splat {}
            | Op::Extract { .. }
            | Op::Insert { .. }
            | Op::Lane { .. }
            | Op::HalfBits {}
            | Op::FromHalfBits {}
            | Op::Dot4 { .. }
            | Op::Load {} => self.define(op),
        }
    }

    /// Copies or a loop, with its carried values in `var`s.
    fn for_loop(&mut self, op: &Operation, kind: LoopKind) -> Result<()> {
        let ([lo, hi, step, init @ ..], [body]) = (op.operands.as_slice(), op.regions.as_slice()) else {
            return Err(self.cx.malformed("a loop lacks its bounds or its body"));
        };
        let Some((counter, carried)) = body.args.split_first() else { return Err(self.cx.malformed("a loop lacks its counter")) };
        let step = match self.held(*step)? {
            Held::Const(s) if s.as_i64() > 0 => s.as_i64(),
            _ => return Err(self.cx.malformed("the step of a loop is no positive constant")),
        };
        self.name(*hi);
        let mut vars = vec![];
        for (arg, from) in carried.iter().zip(init) {
            vars.push(self.carry(*arg, *from)?);
        }
        self.settle();
        let bounds = match (self.held(*lo)?, self.held(*hi)?) {
            (Held::Const(lo), Held::Const(hi)) => Some((lo.as_i64(), hi.as_i64())),
            _ => None,
        };
        let copies = bounds.map(|(lo, hi)| hi.saturating_sub(lo).max(0).saturating_add(step - 1) / step);
        let mut comment = "";
        match (kind, bounds, copies) {
            (LoopKind::Unrolled, Some((lo, _)), Some(n)) if n <= COPIES && self.copies_fit(body, n) => {
                for k in 0..n {
                    self.copy_of(body, *counter, carried, &vars, lo + k * step)?;
                }
            }
            _ => {
                if kind == LoopKind::Unrolled {
                    comment = " // worth unrolling";
                }
                let (from, to) = (self.take(*lo)?, self.take(*hi)?);
                let i = self.counter();
                let next = if step == 1 { format!("{i}++") } else { format!("{i} += {step}") };
                self.line(&format!("for (var {i}: i32 = {}; {i} < {}; {next}) {{{comment}", from.text, to.text));
                self.set(*counter, Held::Expr(Expr::name(&i)));
                self.depth += 1;
                self.indent += 1;
                self.start(carried, &vars);
                self.ops(&body.ops)?;
                self.assign(&body.yields, &vars)?;
                self.indent -= 1;
                self.depth -= 1;
                self.line("}");
            }
        }
        self.start(&op.results, &vars);
        Ok(())
    }

    /// The counter of the loop that opens here.
    fn counter(&mut self) -> String {
        if self.counters.len() <= self.depth {
            let name = self.names.first_of(COUNTERS);
            self.counters.push(name);
        }
        self.counters.get(self.depth).cloned().unwrap_or_default()
    }

    /// The `var` of a carried value.
    fn carry(&mut self, arg: Value, from: Value) -> Result<String> {
        // Nobody else looks at the `var` that the initial value is in.
        if self.facts.single(from)
            && let Held::Expr(e) = self.held(from)?
            && self.vars.get(&e.text) == Some(&from)
        {
            return Ok(e.text);
        }
        let t = self.ty(arg)?;
        let e = self.take(from)?;
        let name = self.given(arg, Some("acc"));
        self.line(&format!("var {name}: {} = {};", t.text(), e.text));
        Ok(name)
    }

    fn start(&mut self, values: &[Value], vars: &[String]) {
        for (v, name) in values.iter().zip(vars) {
            self.set(*v, Held::Expr(Expr::name(name)));
            self.vars.insert(name.clone(), *v);
        }
    }

    /// All at once: a value that reads a `var` which is assigned before it is kept in a `let`.
    fn assign(&mut self, yields: &[Value], vars: &[String]) -> Result<()> {
        for (k, v) in yields.iter().enumerate() {
            let e = self.expr(*v)?;
            let changed = vars.iter().zip(yields).take(k);
            let mut stale = false;
            for (var, new) in changed {
                stale |= e.mentions(var) && self.expr(*new)?.text != *var;
            }
            if stale {
                self.copy(*v)?;
            }
        }
        for (v, var) in yields.iter().zip(vars) {
            let e = self.take(*v)?;
            if e.text != *var {
                self.line(&format!("{var} = {};", e.text));
            }
        }
        Ok(())
    }

    /// One iteration of an unrolled loop; in braces if it declares anything.
    fn copy_of(&mut self, body: &Block, counter: Value, carried: &[Value], vars: &[String], k: i64) -> Result<()> {
        let outside = std::mem::take(&mut self.lines);
        self.set(counter, Held::Const(Scalar::Int(k)));
        self.start(carried, vars);
        self.indent += 1;
        self.ops(&body.ops)?;
        self.assign(&body.yields, vars)?;
        self.indent -= 1;
        let inside = std::mem::replace(&mut self.lines, outside);
        let own = "  ".repeat(self.indent + 1);
        let declares = |l: &String| l.strip_prefix(&own).is_some_and(|l| l.starts_with("let ") || l.starts_with("var "));
        if inside.iter().any(declares) {
            self.line("{");
            self.lines.extend(inside);
            self.line("}");
        } else {
            self.lines.extend(inside.iter().map(|l| l.strip_prefix("  ").unwrap_or(l).to_owned()));
        }
        Ok(())
    }

    /// Is the text of so many copies small enough?
    fn copies_fit(&self, body: &Block, copies: i64) -> bool {
        let once = self.weight(body);
        once.saturating_mul(copies.unsigned_abs()) <= UNROLLED_OPS
    }

    /// Ops in a block as it will be printed.
    fn weight(&self, b: &Block) -> u64 {
        let of = |op: &Operation| {
            let inner: u64 = op.regions.iter().map(|r| self.weight(r)).fold(0, u64::saturating_add);
            let bound = |k: usize| op.operands.get(k).and_then(|v| self.facts.constant(*v));
            let copies = match (&op.op, bound(0), bound(1), bound(2)) {
                (Op::For { kind: LoopKind::Unrolled }, Some(lo), Some(hi), Some(step @ 1..)) => {
                    let n = hi.saturating_sub(lo).max(0) / step + 1;
                    if n <= COPIES { n.unsigned_abs() } else { 1 }
                }
                _ => 1,
            };
            inner.saturating_mul(copies).saturating_add(1)
        };
        b.ops.iter().map(of).fold(0, u64::saturating_add)
    }

    fn branch(&mut self, op: &Operation) -> Result<()> {
        let ([condition], [yes, no]) = (op.operands.as_slice(), op.regions.as_slice()) else {
            return Err(self.cx.malformed("a branch lacks its condition or its blocks"));
        };
        if let Held::Const(c) = self.held(*condition)? {
            return self.taken(if c.as_bool() { yes } else { no }, &op.results);
        }
        let condition = self.take(*condition)?;
        self.settle();
        let mut vars = vec![];
        for r in &op.results {
            let t = self.ty(*r)?;
            let name = self.given(*r, None);
            self.line(&format!("var {name}: {};", t.text()));
            vars.push(name);
        }
        self.line(&format!("if ({}) {{", condition.text));
        self.arm(yes, &vars)?;
        let before = self.lines.len();
        self.arm(no, &vars)?;
        if self.lines.len() > before {
            let own = "  ".repeat(self.indent);
            self.lines.insert(before, format!("{own}}} else {{"));
        }
        self.line("}");
        self.start(&op.results, &vars);
        Ok(())
    }

    fn arm(&mut self, b: &Block, vars: &[String]) -> Result<()> {
        self.indent += 1;
        self.ops(&b.ops)?;
        self.assign(&b.yields, vars)?;
        self.indent -= 1;
        Ok(())
    }

    /// The branch that a constant chooses, without the condition.
    fn taken(&mut self, b: &Block, results: &[Value]) -> Result<()> {
        self.ops(&b.ops)?;
        let yields = b.yields.iter().map(|v| self.held(*v)).collect::<Result<Vec<_>>>()?;
        self.used(&b.yields);
        results.iter().zip(yields).for_each(|(r, held)| self.bind(*r, held));
        Ok(())
    }
}
