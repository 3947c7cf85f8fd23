//! The graph function under construction: emits operations, and turns known elements and constants into values when needed.

use super::dims::Dims;
use super::value::{Elem, MAX_KNOWN, Missing, Val};
use crate::diag::{Code, Fault};
use odc_ir::core::{Const, DType, Dim, Loc, Scalar, TensorType, Type, Value, element_count, size_result_name};
use odc_ir::graph::{BinaryFn, Func, Module, Op, Operation};
use std::collections::BTreeSet;

pub struct Build {
    pub dims: Dims,
    pub module: Module,
    pub func: Func,
    ops: Vec<Operation>,
    pub loc: Loc,
    /// Numbers that data decides, and the sizes that they are.
    sizes: Vec<(Dim, Value)>,
}

impl Build {
    pub fn new(name: &str, dims: Dims) -> Build {
        let mut module = Module::new(name);
        module.symbols = dims.symbols.clone();
        Build { dims, module, func: Func::new("main"), ops: vec![], loc: Loc::none(), sizes: vec![] }
    }

    /// The size that `count` (an i64, one element) says, at most `most`.
    pub fn count(&mut self, count: &Val, most: &Dim) -> Result<Dim, Fault> {
        let size = self.dims.count(most);
        self.module.symbols.clone_from(&self.dims.symbols);
        let v = self.value(count)?;
        self.sizes.push((size.clone(), v));
        Ok(size)
    }

    /// One operation with one result.
    pub fn emit(&mut self, op: Op, operands: &[&Val], dtype: DType, shape: Vec<Dim>) -> Result<Val, Fault> {
        let shape = shape.iter().map(|d| self.dims.simplify(d)).collect::<Vec<_>>();
        let ty = TensorType::new(dtype, shape);
        if ty.is_poison() {
            return Err(Fault::new(Code::Limit, "the size of its result overflows"));
        }
        let operands = operands.iter().map(|v| self.value(v)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.push(op, operands, ty))
    }

    fn push(&mut self, op: Op, operands: Vec<Value>, ty: TensorType) -> Val {
        let v = self.func.value(ty.clone());
        self.ops.push(Operation { op, operands, results: vec![v], regions: vec![], loc: self.loc.clone() });
        Val::graph(ty, v)
    }

    /// The graph value, built at this place if there is none yet.
    pub fn value(&mut self, v: &Val) -> Result<Value, Fault> {
        if let Some(x) = v.value() {
            return Ok(x);
        }
        let x = match v.missing() {
            Missing::Const(t) => {
                if let Some(apart) = super::packed::constant(self, t, &v.ty)? {
                    let x = self.value(&apart)?;
                    v.set_value(x);
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
        v.set_value(x);
        Ok(x)
    }

    /// The small inputs of the model that alone decide a value; none if larger ones have a part in it.
    pub fn inputs_behind(&self, v: &Val) -> Vec<String> {
        let (mut names, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut open: Vec<Value> = v.value().into_iter().collect();
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
                // Values are numbered in the order of their operations.
                let k = self.ops.partition_point(|o| o.results.last().is_some_and(|r| *r < v));
                open.extend(self.ops.get(k).filter(|o| o.results.contains(&v)).into_iter().flat_map(|o| o.operands.iter().copied()));
            }
        }
        names.into_iter().collect()
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
        self.func.remove_dead();
        self.func.renumber();
        let mut used = vec![];
        self.func.body.visit_ops(&mut |o| {
            if let Op::Constant { value } = &o.op {
                used.push(*value);
            }
        });
        drop_unused_consts(&mut self.module, &mut self.func, &used);
        self.module.funcs.push(self.func);
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

fn drop_unused_consts(module: &mut Module, func: &mut Func, used: &[odc_ir::core::ConstId]) {
    let mut new = vec![None; module.consts.len()];
    let mut kept = vec![];
    for id in used {
        if let (Some(slot), Some(c)) = (new.get_mut(id.0 as usize), module.constant(*id)) {
            slot.get_or_insert_with(|| {
                kept.push(c.clone());
                odc_ir::core::ConstId(kept.len() as u32 - 1)
            });
        }
    }
    module.consts = kept;
    for op in &mut func.body.ops {
        if let Op::Constant { value } = &mut op.op
            && let Some(Some(id)) = new.get(value.0 as usize)
        {
            *value = *id;
        }
    }
}
