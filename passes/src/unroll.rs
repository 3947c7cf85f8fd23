//! Loops and branches as straight code, for machines that have neither: a loop with a known number of iterations is written out, of
//! a branch both ways are computed and one is selected. A loop that may end early goes on without effect.

use odc_ir::core::{Callee, Const, DType, Dim, Loc, LoopForm, OpSet, Scalar, TensorType, Value};
use odc_ir::graph::{self, BinaryFn, Func, Module, Op, Operation};
use std::collections::BTreeMap;

/// Operations of a module after it is written out.
const MAX_OPS: usize = 20_000;
/// How deep functions may call functions.
const MAX_DEPTH: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op} ({loc}): {message}, and the target has no control flow")]
pub struct UnrollError {
    pub op: String,
    pub loc: String,
    pub message: String,
}

/// Leaves one function without calls.
pub fn unroll(m: &mut Module) -> Result<(), UnrollError> {
    let calls = |f: &Func| f.body.ops.iter().any(|o| !graph::callees(&o.op).is_empty());
    let Some(main) = m.main().filter(|f| calls(f)).cloned() else { return Ok(()) };
    let mut func = Func::new(&main.name);
    let params = main.body.args.iter().zip(&main.param_names);
    let args: Vec<Value> = params.map(|(v, name)| func.param(name, main.ty(*v).clone())).collect();
    let mut w = Writer { module: m, func, ops: vec![], consts: vec![] };
    let yields = w.function(&main, &args, &Loc::none(), 0)?;
    let Writer { mut func, ops, consts, .. } = w;
    func.body.ops = ops;
    func.body.yields = yields;
    func.result_names.clone_from(&main.result_names);
    func.remove_dead();
    func.renumber();
    m.consts.extend(consts);
    m.funcs = vec![func];
    graph::drop_unused_constants(m);
    Ok(())
}

struct Writer<'m> {
    module: &'m Module,
    func: Func,
    ops: Vec<Operation>,
    /// Behind those of the module.
    consts: Vec<Const>,
}

/// The op that is written out.
struct Site<'a> {
    op: &'a Operation,
    caller: &'a Func,
    loc: Loc,
    depth: usize,
}

impl Site<'_> {
    fn error(&self, message: impl Into<String>) -> UnrollError {
        UnrollError { op: self.op.op.info().mnemonic.into(), loc: self.loc.to_string(), message: message.into() }
    }
}

impl Writer<'_> {
    fn emit(&mut self, op: Op, operands: &[Value], ty: TensorType, loc: &Loc) -> Value {
        let v = self.func.value(ty);
        self.ops.push(Operation { op, operands: operands.to_vec(), results: vec![v], regions: vec![], loc: loc.clone() });
        v
    }
    fn constant(&mut self, dtype: DType, x: Scalar, loc: &Loc) -> Value {
        let id = odc_ir::core::ConstId((self.module.consts.len() + self.consts.len()) as u32);
        self.consts.push(Const::from_scalars(dtype, &[], [x]));
        self.emit(Op::Constant { value: id }, &[], TensorType::scalar(dtype), loc)
    }
    fn binary(&mut self, f: BinaryFn, a: Value, b: Value, loc: &Loc) -> Value {
        self.emit(Op::Binary { f }, &[a, b], TensorType::scalar(DType::Bool), loc)
    }
    /// `a` where the condition holds, else `b`.
    fn select(&mut self, condition: Value, a: Value, b: Value, loc: &Loc) -> Value {
        let ty = self.func.ty(a).clone();
        self.emit(Op::Select {}, &[condition, a, b], ty, loc)
    }

    /// A function's results for its arguments. What it computes keeps its place in the model, behind that of its caller.
    fn function(&mut self, f: &Func, args: &[Value], at: &Loc, depth: usize) -> Result<Vec<Value>, UnrollError> {
        let mut values: BTreeMap<Value, Value> = f.body.args.iter().copied().zip(args.iter().copied()).collect();
        for op in &f.body.ops {
            let site = Site { op, caller: f, loc: if op.loc.0.is_empty() { at.clone() } else { op.loc.clone() }, depth };
            let undefined = |v: &Value| site.error(format!("{v} is not defined"));
            let operands = op.operands.iter().map(|v| values.get(v).copied().ok_or_else(|| undefined(v))).collect::<Result<Vec<_>, _>>()?;
            let results = match &op.op {
                Op::If { then, otherwise } => self.branch(&site, [then, otherwise], &operands)?,
                Op::Loop { body, trips, form } => self.iterations(&site, body, trips, form, &operands)?,
                other => {
                    if self.ops.len() >= MAX_OPS {
                        return Err(site.error(format!("written out, the model has more than {MAX_OPS} operations")));
                    }
                    let results: Vec<Value> = op.results.iter().map(|v| self.func.value(f.ty(*v).clone())).collect();
                    let op = Operation { op: other.clone(), operands, results: results.clone(), regions: vec![], loc: site.loc };
                    self.ops.push(op);
                    results
                }
            };
            values.extend(op.results.iter().copied().zip(results));
        }
        f.body.yields.iter().filter_map(|v| values.get(v).copied()).map(Ok).collect()
    }

    fn call(&mut self, site: &Site, name: &Callee, args: &[Value]) -> Result<Vec<Value>, UnrollError> {
        let module = self.module;
        let f = module.func(name).filter(|_| site.depth < MAX_DEPTH).ok_or_else(|| site.error("calls a function that it cannot"))?;
        self.function(f, args, &site.loc, site.depth + 1)
    }

    fn branch(&mut self, site: &Site, [then, otherwise]: [&Callee; 2], operands: &[Value]) -> Result<Vec<Value>, UnrollError> {
        let (condition, given) = operands.split_first().ok_or_else(|| site.error("it has no condition"))?;
        let (a, b) = (self.call(site, then, given)?, self.call(site, otherwise, given)?);
        Ok(a.into_iter().zip(b).map(|(a, b)| if a == b { a } else { self.select(*condition, a, b, &site.loc) }).collect())
    }

    fn iterations(
        &mut self,
        site: &Site,
        body: &Callee,
        trips: &Dim,
        form: &LoopForm,
        operands: &[Value],
    ) -> Result<Vec<Value>, UnrollError> {
        let of = form.operands(operands).ok_or_else(|| site.error("it has too few operands"))?;
        let unknown = || match trips.as_const() {
            Some(_) => site.error("how often it runs is only known when it runs"),
            None => site.error(format!("it runs {trips} times")),
        };
        let trips = trips.as_const().filter(|n| (0..=MAX_OPS as i64).contains(n)).ok_or_else(unknown)?;
        let mut going = of.condition.copied();
        let mut carried = of.carried.to_vec();
        let stacks = site.op.results.len().saturating_sub(form.carried);
        let mut stacked: Vec<Vec<Value>> = vec![vec![]; stacks];
        for i in 0..trips {
            let number = self.constant(DType::I64, Scalar::Int(i), &site.loc);
            if let Some(limit) = of.limit {
                let inside = self.binary(BinaryFn::Lt, number, *limit, &site.loc);
                going = Some(match going {
                    Some(g) => self.binary(BinaryFn::And, g, inside, &site.loc),
                    None => inside,
                });
            }
            let mut args = vec![number];
            args.extend(&carried);
            for x in of.scanned {
                args.push(self.element(*x, i, &site.loc));
            }
            args.extend(of.captured);
            let mut out = self.call(site, body, &args)?.into_iter();
            let next = if form.condition { out.next() } else { None };
            for c in &mut carried {
                let new = out.next().ok_or_else(|| site.error("its body gives too little"))?;
                *c = match going {
                    Some(g) => self.select(g, new, *c, &site.loc),
                    None => new,
                };
            }
            for (all, v) in stacked.iter_mut().zip(out) {
                let ty = self.func.ty(v);
                let mut shape = vec![Dim::ONE];
                shape.extend(ty.shape.iter().cloned());
                let ty = TensorType::new(ty.dtype, shape);
                all.push(self.emit(Op::Reshape {}, &[v], ty, &site.loc));
            }
            // Once it has ended it stays so.
            if let (Some(next), Some(g)) = (next, going) {
                going = Some(self.binary(BinaryFn::And, g, next, &site.loc));
            }
        }
        for (v, parts) in site.op.results.iter().skip(form.carried).zip(stacked) {
            let ty = site.caller.ty(*v).clone();
            carried.push(match parts.as_slice() {
                [] => return Err(site.error("it runs not once, and stacks its results")),
                [one] => *one,
                _ => self.emit(Op::Concat { axis: 0 }, &parts, ty, &site.loc),
            });
        }
        Ok(carried)
    }

    /// Element `i` of the first axis.
    fn element(&mut self, x: Value, i: i64, loc: &Loc) -> Value {
        let ty = self.func.ty(x).clone();
        let mut starts = vec![Dim::ZERO; ty.rank()];
        let mut shape = ty.shape.to_vec();
        if let (Some(s), Some(n)) = (starts.first_mut(), shape.first_mut()) {
            (*s, *n) = (Dim::from(i), Dim::ONE);
        }
        let steps = vec![1; starts.len()];
        let rest = TensorType::new(ty.dtype, shape.get(1..).unwrap_or_default().to_vec());
        let part = self.emit(Op::Slice { starts, steps }, &[x], TensorType::new(ty.dtype, shape), loc);
        self.emit(Op::Reshape {}, &[part], rest, loc)
    }
}
