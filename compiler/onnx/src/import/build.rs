//! The graph function under construction: emits operations, and turns known elements and constants into values when needed.

use super::dims::Dims;
use super::limits::Limits;
use super::strings::Numbers;
use super::value::{Elem, MAX_KNOWN, Missing, Val};
use crate::diag::{Code, Fault};
use odc_ir::core::{Callee, Const, DType, Dim, Loc, Scalar, TensorType, Type, Value, element_count, size_result_name};
use odc_ir::graph::{self, BinaryFn, Func, Module, Op, Operation};
use std::collections::{BTreeMap, BTreeSet};

pub struct Build {
    pub dims: Dims,
    pub module: Module,
    pub func: Func,
    ops: Vec<Operation>,
    pub loc: Loc,
    /// Numbers that data decides, and the sizes that they are.
    sizes: Vec<(Dim, Value)>,
    limits: Limits,
    pub(super) numbers: Numbers,
    /// Nodes of bodies, each as often as it was walked.
    walked: usize,
    frame: Frame,
    /// Branches around that are computed whether they are taken or not.
    pub unsure: u32,
    /// The functions around the one under construction, the outermost first.
    outer: Vec<Outer>,
    /// Finished bodies, in order of their beginning: callers before what they call.
    bodies: Vec<Option<Func>>,
}

/// What the function under construction has of others.
#[derive(Default)]
struct Frame {
    id: u32,
    /// Values of functions around it, by function and value, as parameters.
    captured: BTreeMap<(u32, Value), Value>,
    /// The values captured, of the next function around, in the order of their parameters.
    order: Vec<Value>,
    /// Literals built again here, by identity. The copies keep the identities from being used again.
    literals: BTreeMap<*const (), (Val, Value)>,
}

/// A function that waits while a body is built.
struct Outer {
    func: Func,
    ops: Vec<Operation>,
    frame: Frame,
}

/// A finished body.
pub struct Body {
    at: usize,
    pub name: Callee,
    pub results: Vec<TensorType>,
    /// What it uses of the function that calls it, in the order of its last parameters.
    pub captured: Vec<Value>,
}

impl Build {
    pub fn new(name: &str, dims: Dims, limits: Limits) -> Build {
        let mut module = Module::new(name);
        module.symbols = dims.symbols.clone();
        let (frame, outer, bodies) = (Frame::default(), vec![], vec![]);
        Build {
            dims,
            module,
            func: Func::new("main"),
            ops: vec![],
            loc: Loc::none(),
            frame,
            unsure: 0,
            outer,
            bodies,
            sizes: vec![],
            limits,
            numbers: Numbers::default(),
            walked: 0,
        }
    }

    /// Bodies in bodies are walked again and again: together they have a bound.
    pub fn walk(&mut self, nodes: usize) -> Result<(), Fault> {
        self.walked = self.walked.saturating_add(nodes).saturating_add(1);
        if self.walked <= self.limits.nodes {
            return Ok(());
        }
        let why = format!("branches and loops in each other come to more than {} nodes", self.limits.nodes);
        Err(Fault::new(Code::Limit, why).help("raise the limit with --limit nodes=N, or export the model with fewer nested loops"))
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The size that `count` (an i64, one element) says, at most `most`.
    pub fn count(&mut self, count: &Val, most: &Dim) -> Result<Dim, Fault> {
        if self.frame.id != 0 {
            let why = "a size that data decides, in the body of a branch or loop, is not supported";
            return Err(Fault::new(Code::DataDependentShape, why));
        }
        let size = self.dims.count(most);
        self.module.symbols.clone_from(&self.dims.symbols);
        let v = self.value(count)?;
        self.sizes.push((size.clone(), v));
        Ok(size)
    }

    /// A parameter of the function under construction.
    pub fn param(&mut self, name: &str, ty: TensorType) -> Val {
        let v = self.func.param(name, ty.clone());
        Val::graph(ty, self.frame.id, v)
    }

    /// Begins a function that this one calls; [`Build::end`] ends it.
    pub fn begin(&mut self, what: &str) {
        let id = self.bodies.len() as u32 + 1;
        let name = format!("{what}_{id}");
        self.bodies.push(None);
        let frame = Frame { id, ..Frame::default() };
        let outer = Outer {
            func: std::mem::replace(&mut self.func, Func::new(&name)),
            ops: std::mem::take(&mut self.ops),
            frame: std::mem::replace(&mut self.frame, frame),
        };
        self.outer.push(outer);
    }

    /// Ends the function begun last; with an error it is forgotten.
    pub fn end(&mut self, results: Result<Vec<Val>, Fault>) -> Result<Body, Fault> {
        let filled = results.and_then(|vals| {
            let types = vals.iter().map(|v| v.ty.clone()).collect();
            Ok((types, vals.iter().map(|v| self.value(v)).collect::<Result<Vec<_>, _>>()?))
        });
        let (at, name) = ((self.frame.id as usize).saturating_sub(1), self.func.name.clone());
        let mut func = std::mem::replace(&mut self.func, Func::new(""));
        func.body.ops = std::mem::take(&mut self.ops);
        let mut captured = vec![];
        if let Some(o) = self.outer.pop() {
            captured = std::mem::replace(&mut self.frame, o.frame).order;
            (self.func, self.ops) = (o.func, o.ops);
        }
        let (results, yields): (Vec<TensorType>, Vec<Value>) = filled?;
        func.result_names = (0..yields.len()).map(|k| format!("y{k}")).collect();
        func.body.yields = yields;
        if let Some(slot) = self.bodies.get_mut(at) {
            *slot = Some(func);
        }
        Ok(Body { at, name: Callee(name), results, captured })
    }

    /// Makes two bodies take the same captured values: those of both.
    pub fn same_captures(&mut self, a: &mut Body, b: &mut Body) {
        let mut all = a.captured.clone();
        all.extend(b.captured.iter().filter(|v| !a.captured.contains(v)));
        for body in [a, b] {
            let Some(Some(f)) = self.bodies.get_mut(body.at) else { continue };
            let own = f.body.args.len().saturating_sub(body.captured.len());
            let had = f.body.args.split_off(own);
            let names = f.param_names.split_off(own);
            for v in &all {
                match body.captured.iter().position(|c| c == v).and_then(|k| Some((*had.get(k)?, names.get(k)?.clone()))) {
                    Some((arg, name)) => {
                        f.body.args.push(arg);
                        f.param_names.push(name);
                    }
                    None => drop(f.param("unused", self.func.ty(*v).clone())),
                }
            }
            body.captured.clone_from(&all);
        }
    }

    /// An operation with several results.
    pub fn call(&mut self, op: Op, operands: Vec<Value>, types: Vec<TensorType>) -> Result<Vec<Val>, Fault> {
        if types.iter().any(Type::is_poison) {
            return Err(Fault::new(Code::Limit, "the size of a result overflows"));
        }
        let results: Vec<Value> = types.iter().map(|t| self.func.value(t.clone())).collect();
        self.ops.push(Operation { op, operands, results: results.clone(), regions: vec![], loc: self.loc.clone() });
        Ok(types.into_iter().zip(results).map(|(t, v)| Val::graph(t, self.frame.id, v)).collect())
    }

    /// The value of function `id` as one of the function at `level`; the innermost level is that under construction.
    fn captured(&mut self, level: usize, id: u32, v: Value) -> Option<Value> {
        let top = self.outer.len();
        let frame = if level == top { &self.frame } else { &self.outer.get(level)?.frame };
        if frame.id == id {
            return Some(v);
        }
        if let Some(known) = frame.captured.get(&(id, v)) {
            return Some(*known);
        }
        let below = level.checked_sub(1)?;
        let outer = self.captured(below, id, v)?;
        let ty = self.outer.get(below)?.func.ty(outer).clone();
        let (frame, func) = if level == top {
            (&mut self.frame, &mut self.func)
        } else {
            let o = self.outer.get_mut(level)?;
            (&mut o.frame, &mut o.func)
        };
        let param = func.param(&format!("captured{}", frame.order.len()), ty);
        frame.captured.insert((id, v), param);
        frame.order.push(outer);
        Some(param)
    }

    /// One operation with one result.
    pub fn emit(&mut self, op: Op, operands: &[&Val], dtype: DType, shape: Vec<Dim>) -> Result<Val, Fault> {
        let shape = shape.iter().map(|d| self.dims.simplify(d)).collect::<Vec<_>>();
        let ty = TensorType::new(dtype, shape);
        if ty.is_poison() {
            return Err(Fault::new(Code::Limit, "the size of its result overflows"));
        }
        self.within_limits(&ty)?;
        let operands = operands.iter().map(|v| self.value(v)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.push(op, operands, ty))
    }

    fn push(&mut self, op: Op, operands: Vec<Value>, ty: TensorType) -> Val {
        let v = self.func.value(ty.clone());
        self.ops.push(Operation { op, operands, results: vec![v], regions: vec![], loc: self.loc.clone() });
        Val::graph(ty, self.frame.id, v)
    }

    pub fn within_limits(&self, ty: &TensorType) -> Result<(), Fault> {
        let refuse = |what: String, name: &str, need: usize| {
            Err(Fault::new(Code::Limit, what).help(format!("if the model is to be trusted: --limit {name}={need}")))
        };
        let (rank, bytes) = (self.limits.rank, self.limits.tensor_bytes);
        if ty.rank() > rank {
            return refuse(format!("a tensor of {} axes passes the limit of {rank}", ty.rank()), "rank", ty.rank());
        }
        let known = ty.shape.iter().filter_map(Dim::as_const);
        let least = known.fold(ty.dtype.size(), |n, d| n.saturating_mul(usize::try_from(d).unwrap_or(0)));
        if least > bytes {
            return refuse(format!("{ty} takes {least} bytes, past the limit of {bytes}"), "tensor_bytes", least);
        }
        Ok(())
    }

    /// The graph value, built at this place if there is none yet. A body captures values of the functions around it; literals it
    /// builds again.
    pub fn value(&mut self, v: &Val) -> Result<Value, Fault> {
        match v.value() {
            Some((frame, x)) if frame == self.frame.id => return Ok(x),
            Some((frame, x)) if !v.is_literal() => {
                let gone = || Fault::new(Code::UndefinedName, "a value is used outside of the body that computes it");
                return self.captured(self.outer.len(), frame, x).ok_or_else(gone);
            }
            Some(_) => {
                if let Some((_, x)) = self.frame.literals.get(&v.identity()) {
                    return Ok(*x);
                }
            }
            None => {}
        }
        let x = match v.missing() {
            Missing::Const(t) => {
                if let Some(apart) = super::packed::constant(self, t, &v.ty)? {
                    let x = self.value(&apart)?;
                    self.built(v, x);
                    return Ok(x);
                }
                let shape = v.ty.static_shape().unwrap_or_default();
                let c = Const::new(v.dtype(), shape, t.elements());
                self.constant(c.ok_or_else(|| Fault::new(Code::TensorData, "its data does not fit its shape"))?, &v.ty)
            }
            Missing::Known(elems) => self.known(elems, &v.ty)?,
            Missing::List => return Err(Fault::new(Code::BadOperand, "a sequence or an optional stands where a tensor must be")),
            // Only in models that are refused: something to go on with.
            Missing::Broken => self.func.value(v.ty.clone()),
        };
        self.built(v, x);
        Ok(x)
    }

    /// Remembers what was built for a value.
    fn built(&mut self, v: &Val, x: Value) {
        if v.value().is_some() {
            self.frame.literals.insert(v.identity(), (v.clone(), x));
        } else {
            v.set_value(self.frame.id, x);
        }
    }

    /// The small inputs of the model that alone decide a value; none if larger ones have a part in it.
    pub fn inputs_behind(&self, v: &Val) -> Vec<String> {
        let (mut names, mut seen) = (BTreeSet::new(), BTreeSet::new());
        if self.frame.id != 0 {
            return vec![];
        }
        let mut open: Vec<Value> = v.value().into_iter().filter(|(frame, _)| *frame == 0).map(|(_, v)| v).collect();
        while let Some(v) = open.pop() {
            if !seen.insert(v) {
                continue;
            }
            if let Some(k) = self.func.body.args.iter().position(|a| *a == v) {
                let ty = self.func.ty(v);
                let small = ty.static_shape().and_then(|s| element_count(&s)).map_or(ty.rank() == 1, |n| n <= MAX_KNOWN);
                match self.func.param_names.get(k) {
                    Some(name) if small => drop(names.insert(name.clone())),
                    _ => return vec![],
                }
            } else {
                open.extend(self.defining(v).into_iter().flat_map(|o| o.operands.iter().copied()));
            }
        }
        names.into_iter().collect()
    }

    /// The operation of the function under construction whose result this is.
    pub fn defining(&self, v: Value) -> Option<&Operation> {
        // Values are numbered in the order of their operations.
        let k = self.ops.partition_point(|o| o.results.last().is_some_and(|r| *r < v));
        self.ops.get(k).filter(|o| o.results.contains(&v))
    }

    /// The model's own function, unless what is under construction may not be asked for.
    pub fn main(&self) -> Option<&Func> {
        (self.frame.id == 0 && self.unsure == 0).then_some(&self.func)
    }

    fn constant(&mut self, c: Const, ty: &TensorType) -> Value {
        let value = self.module.add_const(c);
        self.single(Op::Constant { value }, vec![], ty.clone())
    }

    fn single(&mut self, op: Op, operands: Vec<Value>, ty: TensorType) -> Value {
        let v = self.func.value(ty);
        self.ops.push(Operation { op, operands, results: vec![v], regions: vec![], loc: self.loc.clone() });
        v
    }

    fn known(&mut self, elems: &[Elem], ty: &TensorType) -> Result<Value, Fault> {
        if let Some(scalars) = elems.iter().map(Elem::scalar).collect::<Option<Vec<Scalar>>>() {
            let shape = ty.static_shape().unwrap_or_default();
            return Ok(self.constant(Const::from_scalars(ty.dtype, &shape, scalars), ty));
        }
        if ty.dtype == DType::Bool {
            return Err(Fault::new(Code::Undecided, "a condition on sizes is needed as data"));
        }
        let flat = if ty.rank() <= 1 { ty.clone() } else { TensorType::of(ty.dtype, &[elems.len() as i64]) };
        let whole = |e: &Elem| match e {
            Elem::Int(d) => (d.clone(), 1),
            Elem::Ratio(d, by) => (d.clone(), *by),
            // A literal beside sizes: exact as a fraction, or it would not be here.
            Elem::Float(x) => fraction(*x).unwrap_or((Dim::ZERO, 1)),
        };
        let (values, by): (Vec<Dim>, Vec<i64>) = elems.iter().map(whole).unzip();
        let mut v = self.single(Op::Dims { values }, vec![], flat.clone());
        if by.iter().any(|b| *b != 1) {
            let c = Const::from_scalars(ty.dtype, &flat.static_shape().unwrap_or_default(), by.into_iter().map(Scalar::Int));
            let by = self.constant(c, &flat);
            v = self.single(Op::Binary { f: BinaryFn::Div }, vec![v, by], flat);
        }
        Ok(if ty.rank() <= 1 { v } else { self.single(Op::Reshape {}, vec![v], ty.clone()) })
    }

    /// The finished module.
    pub fn finish(mut self, mut results: Vec<(String, Value)>) -> Module {
        self.module.symbols.clone_from(&self.dims.symbols);
        results.extend(self.sizes.into_iter().map(|(size, v)| (size_result_name(&size), v)));
        self.func.body.ops = self.ops;
        self.func.body.yields = results.iter().map(|(_, v)| *v).collect();
        self.func.result_names = results.into_iter().map(|(n, _)| n).collect();
        self.module.funcs.push(self.func);
        self.module.funcs.extend(self.bodies.into_iter().flatten());
        self.module.funcs.iter_mut().for_each(Func::remove_dead);
        graph::drop_uncalled(&mut self.module);
        self.module.funcs.iter_mut().for_each(Func::renumber);
        graph::drop_unused_constants(&mut self.module);
        self.module
    }
}

/// A float as a whole number over a small power of two.
pub fn fraction(x: f64) -> Option<(Dim, i64)> {
    (0..=24).map(|k| 1i64 << k).find_map(|by| {
        let n = x * by as f64;
        (n.fract() == 0.0 && n.abs() < (1i64 << 52) as f64).then(|| (Dim::from(n as i64), by))
    })
}
