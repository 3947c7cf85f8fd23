//! The printer's state: what each value is called or written as. An expression waits until its one use wants it; it gets a `let`
//! of its own when it is used more often or elsewhere, when the line grows long, or when memory that it reads may change.

use crate::expr::Expr;
use crate::facts::Facts;
use crate::helpers::{Helper, Type};
use crate::kernel::Context;
use crate::literal::{Special, literal};
use crate::memory::Arrays;
use crate::names::Names;
use odc_backend::BackendError;
use odc_ir::core::{DType, Scalar, Value};
use odc_ir::loops::{Func, LoopType, Operation};
use std::collections::{BTreeMap, BTreeSet};

pub type Result<T> = std::result::Result<T, BackendError>;

/// Longest right-hand side.
const LINE: usize = 96;
/// Longest expression that is written inside another.
const PART: usize = 56;

/// What a value is.
#[derive(Clone, Debug)]
pub enum Held {
    /// All lanes alike, as its type holds it.
    Const(Scalar),
    Expr(Expr),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Builtin {
    SubgroupLane,
    SubgroupSize,
}

pub struct Emitter<'a> {
    pub cx: Context<'a>,
    pub func: &'a Func,
    pub facts: Facts<'a>,
    pub arrays: &'a Arrays,
    /// Names of buffers and shared arrays.
    pub array_names: BTreeMap<Value, String>,
    pub names: Names,
    /// Invocations of a workgroup.
    pub width: u32,
    /// What an invocation counts: its place in the workgroup.
    pub lane: Held,
    /// Order storage at barriers?
    pub storage_barrier: bool,
    pub lines: Vec<String>,
    pub indent: usize,
    pub helpers: BTreeSet<Helper>,
    pub specials: BTreeSet<Special>,
    pub builtins: BTreeSet<Builtin>,
    pub subgroups: bool,
    pub dot: bool,
    pub f16: bool,
    /// Names of loop counters, outermost first, and how many are in use.
    pub counters: Vec<String>,
    pub depth: usize,
    /// The `var`s, each with the value that it holds now.
    pub vars: BTreeMap<String, Value>,
    values: Vec<Option<Held>>,
    /// Expressions that wait for their use.
    waiting: Vec<Value>,
    /// Names given to values: the same in every copy of an unrolled body.
    given: BTreeMap<Value, String>,
    lets: u32,
}

impl<'a> Emitter<'a> {
    pub fn new(cx: Context<'a>, func: &'a Func, facts: Facts<'a>, arrays: &'a Arrays, names: Names) -> Self {
        Emitter {
            cx,
            func,
            facts,
            arrays,
            array_names: BTreeMap::new(),
            names,
            width: 1,
            lane: Held::Const(Scalar::Int(0)),
            storage_barrier: false,
            lines: vec![],
            indent: 1,
            helpers: BTreeSet::new(),
            specials: BTreeSet::new(),
            builtins: BTreeSet::new(),
            subgroups: false,
            dot: false,
            f16: false,
            counters: vec![],
            depth: 0,
            vars: BTreeMap::new(),
            values: vec![None; func.types.len()],
            waiting: vec![],
            given: BTreeMap::new(),
            lets: 0,
        }
    }

    pub fn line(&mut self, text: &str) {
        self.lines.push(format!("{}{text}", "  ".repeat(self.indent)));
    }

    pub fn ir_type(&self, v: Value) -> Result<LoopType> {
        self.func.types.get(v.index()).copied().ok_or_else(|| self.cx.malformed(format!("{v} has no type")))
    }

    pub fn ty(&mut self, v: Value) -> Result<Type> {
        let t = self.cx.value_type(self.ir_type(v)?)?;
        self.f16 |= t.dtype == DType::F16;
        Ok(t)
    }

    pub fn held(&self, v: Value) -> Result<Held> {
        let held = self.values.get(v.index()).cloned().flatten();
        held.ok_or_else(|| self.cx.malformed(format!("{v} is used before it is defined")))
    }

    /// How `v` is written; it stays waiting.
    pub fn expr(&mut self, v: Value) -> Result<Expr> {
        match self.held(v)? {
            Held::Expr(e) => Ok(e),
            Held::Const(x) => {
                let t = self.ty(v)?;
                self.constant(x, t)
            }
        }
    }

    /// How `v` is written, at its one use.
    pub fn take(&mut self, v: Value) -> Result<Expr> {
        self.used(&[v]);
        self.expr(v)
    }

    /// A literal, for a vector in every lane.
    pub fn constant(&mut self, x: Scalar, t: Type) -> Result<Expr> {
        if t.dtype == DType::I32
            && let Scalar::Int(n) = x
            && i32::try_from(n).is_err()
        {
            return Err(self.cx.unsupported(format!("the index {n}"), "indices and sizes have 32 bits on a GPU"));
        }
        let scalar = match literal(x, t.dtype) {
            Ok(text) => Expr::literal(text),
            Err(special) => {
                self.specials.insert(special);
                let e = Expr::call("bitcast<f32>", &[&Expr::name(special.variable())]);
                let e = if t.dtype == DType::F16 { Expr::call("f16", &[&e]) } else { e };
                Expr { simple: true, ..e }
            }
        };
        Ok(match t.lanes {
            1 => scalar,
            n => Expr { simple: true, lanes: Some(vec![scalar.clone(); n as usize]), ..Expr::call(&t.text(), &[&scalar]) },
        })
    }

    pub fn set(&mut self, v: Value, held: Held) {
        if let Some(slot) = self.values.get_mut(v.index()) {
            *slot = Some(held);
        }
    }

    /// Gives `v` its expression: now with a `let`, or at its use.
    pub fn bind(&mut self, v: Value, held: Held) {
        match held {
            Held::Expr(e) if !e.simple => {
                let waits = self.facts.single(v) && e.text.len() <= PART;
                self.set(v, Held::Expr(e));
                self.waiting.push(v);
                if !waits {
                    self.name(v);
                }
            }
            simple => self.set(v, simple),
        }
    }

    /// Makes a `let` of a waiting expression.
    pub fn name(&mut self, v: Value) {
        let Some(at) = self.waiting.iter().position(|w| *w == v) else { return };
        self.waiting.remove(at);
        if let Some(Some(Held::Expr(e))) = self.values.get(v.index()).cloned() {
            let name = self.given(v, None);
            self.line(&format!("let {name} = {};", e.text));
            self.set(v, Held::Expr(Expr::name(&name)));
        }
    }

    /// The name of a value that has one: the next `v1`, `v2`… or one like `wanted`.
    pub fn given(&mut self, v: Value, wanted: Option<&str>) -> String {
        if let Some(name) = self.given.get(&v) {
            return name.clone();
        }
        let name = match wanted {
            Some(w) => self.names.fresh(w, "v"),
            None => {
                self.lets += 1;
                self.names.fresh(&format!("v{}", self.lets), "v")
            }
        };
        self.given.insert(v, name.clone());
        name
    }

    /// A name for a copy of what `v` is now.
    pub fn copy(&mut self, v: Value) -> Result<()> {
        let e = self.take(v)?;
        self.lets += 1;
        let name = self.names.fresh(&format!("v{}", self.lets), "v");
        self.line(&format!("let {name} = {};", e.text));
        self.set(v, Held::Expr(Expr::name(&name)));
        Ok(())
    }

    /// These have been written at their use.
    pub fn used(&mut self, vs: &[Value]) {
        self.waiting.retain(|w| !vs.contains(w));
    }

    /// Names all of `vs` but what may be repeated freely.
    pub fn simplify(&mut self, vs: &[Value]) {
        vs.iter().for_each(|v| self.name(*v));
    }

    /// Before memory changes or control leaves the block: what reads memory must have happened.
    pub fn settle(&mut self) {
        let reads = |h: &Option<Held>| matches!(h, Some(Held::Expr(e)) if e.reads);
        let late: Vec<_> = self.waiting.iter().copied().filter(|v| self.values.get(v.index()).is_some_and(reads)).collect();
        self.simplify(&late);
    }

    /// Names operands, longest first, until what `text` builds of them fits a line.
    pub fn fit(&mut self, operands: &[Value], build: &mut dyn FnMut(&mut Self) -> Result<Held>) -> Result<Held> {
        loop {
            let held = build(self)?;
            let Held::Expr(e) = &held else { return Ok(held) };
            if e.text.len() <= LINE {
                return Ok(held);
            }
            let length = |v: &Value| match self.values.get(v.index()) {
                Some(Some(Held::Expr(e))) => e.text.len(),
                _ => 0,
            };
            let waiting = operands.iter().copied().filter(|v| self.waiting.contains(v));
            let Some(longest) = waiting.max_by_key(length) else { return Ok(held) };
            self.name(longest);
        }
    }

    /// An op that computes a value.
    pub fn define(&mut self, op: &Operation) -> Result<()> {
        let Some(r) = op.result() else { return Err(self.cx.malformed("an op lacks its result")) };
        let held = self.fit(&op.operands, &mut |e| e.value(op, r))?;
        self.used(&op.operands);
        self.bind(r, held);
        Ok(())
    }
}
