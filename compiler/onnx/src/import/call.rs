//! One node as its handler sees it: inputs, attributes, opset, and helpers for shapes that most operators need.

use super::build::{Body, Build};
use super::scope::Subgraphs;
use super::value::Val;
use crate::attrs::{Attrs, bad};
use crate::diag::{Code, Fault};
use crate::external::External;
use crate::proto::{GraphProto, NodeProto};
use crate::tensor::{Tensor, unsupported};
use crate::{proto::DataType, proto::TensorProto};
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{BinaryFn, Op, UnaryFn};

pub type Got<T> = Result<T, Fault>;
/// What a handler gives: the values of the outputs, in order.
pub type Out = Got<Vec<Val>>;
pub type Handler = fn(&mut Call) -> Out;

pub struct Call<'c, 'n> {
    pub build: &'c mut Build,
    pub node: &'n NodeProto,
    pub attrs: &'c Attrs<'n>,
    pub opset: i64,
    pub inputs: Vec<Option<Val>>,
    pub external: &'c External,
    pub subgraphs: &'c mut dyn Subgraphs,
}

pub fn operand(message: impl Into<String>) -> Fault {
    Fault::new(Code::BadOperand, message)
}
pub fn unsupported_use(message: impl Into<String>) -> Fault {
    Fault::new(Code::UnsupportedUse, message)
}

/// The element type of the IR for one of ONNX.
pub fn dtype(t: DataType) -> Got<DType> {
    use DataType::*;
    Ok(match t {
        Float => DType::F32,
        Double => DType::F64,
        Float16 => DType::F16,
        Bfloat16 => DType::BF16,
        Int8 => DType::I8,
        Int16 => DType::I16,
        Int32 => DType::I32,
        Int64 => DType::I64,
        Uint8 => DType::U8,
        Uint16 => DType::U16,
        Uint32 => DType::U32,
        Uint64 => DType::U64,
        Bool => DType::Bool,
        Float8e4m3fn => DType::F8E4M3FN,
        Float8e4m3fnuz => DType::F8E4M3FNUZ,
        Float8e5m2 => DType::F8E5M2,
        Float8e5m2fnuz => DType::F8E5M2FNUZ,
        Float8e8m0 => DType::F8E8M0,
        Float6e2m3 => DType::F6E2M3,
        Float6e3m2 => DType::F6E3M2,
        Float4e2m1 => DType::F4E2M1,
        Int4 => DType::I4,
        Uint4 => DType::U4,
        Int2 => DType::I2,
        Uint2 => DType::U2,
        String => DType::Str,
        Complex64 | Complex128 | Undefined => return Err(unsupported(t)),
    })
}

pub fn dtype_number(n: i32) -> Got<DType> {
    match DataType::from_number(n) {
        Some(t) => dtype(t),
        None => Err(Fault::new(Code::UnsupportedType, format!("element type number {n} is unknown"))),
    }
}

/// A constant of the model as a value.
pub fn constant(build: &mut Build, t: &TensorProto, external: &External) -> Got<Val> {
    let t = Tensor::decode(t, external)?;
    let shape = t.dims.iter().map(|d| i64::try_from(*d)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| Fault::new(Code::TensorData, format!("sizes {:?} are too large", t.dims)))?;
    Ok(build.literal(TensorType::of(dtype(t.data_type)?, &shape), t))
}

impl Call<'_, '_> {
    pub fn opt(&self, k: usize) -> Option<Val> {
        self.inputs.get(k).cloned().flatten()
    }
    pub fn input(&self, k: usize) -> Got<Val> {
        self.opt(k).ok_or_else(|| Fault::new(Code::Arity, format!("input {k} is missing")))
    }
    pub fn has_output(&self, k: usize) -> bool {
        self.node.output.get(k).is_some_and(|o| !o.is_empty())
    }
    /// Complains when an output is used that only training or rare users need.
    pub fn only_outputs(&self, n: usize) -> Got<()> {
        match (n..self.node.output.len()).find(|k| self.has_output(*k)) {
            None => Ok(()),
            Some(k) => Err(unsupported_use(format!("output {k} is used, which is not supported"))),
        }
    }

    /// The axis counted from the front.
    pub fn axis(&self, axis: i64, rank: usize) -> Got<usize> {
        let r = rank as i64;
        let a = if axis < 0 { axis.saturating_add(r) } else { axis };
        if (0..r).contains(&a) {
            return Ok(a as usize);
        }
        Err(bad("axis", format!("is {axis}, but there are {rank} axes")))
    }
    /// Distinct axes counted from the front, in the order given.
    pub fn axes(&self, list: &[i64], rank: usize) -> Got<Vec<usize>> {
        let mut out = vec![];
        for a in list {
            let a = self.axis(*a, rank)?;
            if out.contains(&a) {
                return Err(bad("axes", format!("names axis {a} twice")));
            }
            out.push(a);
        }
        Ok(out)
    }
    /// Axes that stand in an attribute before opset `since`, in input `k` from then on.
    pub fn axes_input(&self, since: i64, k: usize) -> Got<Option<Vec<i64>>> {
        if self.opset < since {
            return Ok(self.attrs.ints("axes")?.map(<[i64]>::to_vec));
        }
        self.opt(k).map(|v| self.const_ints(&v, "axes")).transpose()
    }

    /// The elements of a tensor that decides a shape.
    pub fn sizes(&self, v: &Val, what: &str) -> Got<Vec<Dim>> {
        v.known_ints().ok_or_else(|| {
            let f = Fault::new(Code::DataDependentShape, format!("{what} must be known when compiling, but depends on data"));
            let f = f.help("only sizes computed from shapes and constants are supported; export the model without data-dependent shapes");
            f.fixable(self.build.inputs_behind(v))
        })
    }
    /// As [`Call::sizes`] of an operand that is a list.
    pub fn shape_operand(&self, v: &Val, what: &str) -> Got<Vec<Dim>> {
        if v.rank() > 1 {
            return Err(operand(format!("{what} is {}, must be a list", v.ty)));
        }
        self.sizes(v, what)
    }
    pub fn const_ints(&self, v: &Val, what: &str) -> Got<Vec<i64>> {
        let sizes = self.sizes(v, what)?;
        sizes.iter().map(|d| d.as_const()).collect::<Option<Vec<_>>>().ok_or_else(|| {
            let text: Vec<_> = sizes.iter().map(Dim::to_string).collect();
            let f = Fault::new(Code::UnsupportedUse, format!("{what} must be constant, is [{}]", text.join(", ")));
            let open = sizes.iter().flat_map(|d| self.build.dims.open(d)).collect();
            f.help("fix the dims with --dim").needs_dims(open)
        })
    }
    /// The only element of a constant.
    pub fn const_float(&self, v: &Val, what: &str) -> Got<f64> {
        match v.const_floats().as_deref() {
            Some([x]) => Ok(*x),
            _ => Err(unsupported_use(format!("{what} must be one constant")).fixable(self.build.inputs_behind(v))),
        }
    }

    pub fn same_dtype(&self, a: &Val, b: &Val) -> Got<DType> {
        if a.dtype() == b.dtype() {
            Ok(a.dtype())
        } else {
            Err(operand(format!("operands are {} and {}, must be of one type", a.ty, b.ty)))
        }
    }
    pub fn want_rank(&self, v: &Val, least: usize, what: &str) -> Got<()> {
        if v.rank() >= least { Ok(()) } else { Err(operand(format!("{what} is {}, needs at least {least} axes", v.ty))) }
    }

    /// A function that the one under construction calls: `fill` declares its parameters and gives its results, and whatever else.
    pub fn body<T>(&mut self, what: &str, fill: impl FnOnce(&mut Self) -> Got<(Vec<Val>, T)>) -> Got<(Body, T)> {
        self.build.begin(what);
        let (results, more) = match fill(self) {
            Ok((results, more)) => (Ok(results), Some(more)),
            Err(f) => (Err(f), None),
        };
        let body = self.build.end(results)?;
        let more = more.ok_or_else(|| Fault::new(Code::Undecided, "a body without results"))?;
        Ok((body, more))
    }
    /// The results of a subgraph, built here.
    pub fn subgraph(&mut self, graph: &GraphProto, args: &[Val]) -> Out {
        self.build.walk(graph.node.len())?;
        self.subgraphs.run(self.build, graph, args)
    }
    /// `x` backwards along one axis.
    pub fn reverse(&mut self, x: &Val, axis: usize) -> Got<Val> {
        let mut starts = vec![Dim::ZERO; x.rank()];
        let mut steps = vec![1; x.rank()];
        if let (Some(s), Some(step), Some(d)) = (starts.get_mut(axis), steps.get_mut(axis), x.shape().get(axis)) {
            (*s, *step) = (d - 1, -1);
        }
        self.emit(Op::Slice { starts, steps }, &[x], x.dtype(), x.shape().to_vec())
    }

    pub fn emit(&mut self, op: Op, operands: &[&Val], dtype: DType, shape: Vec<Dim>) -> Got<Val> {
        self.build.emit(op, operands, dtype, shape)
    }
    pub fn equal(&mut self, a: &Dim, b: &Dim, what: &str) -> Got<Dim> {
        self.build.dims.unify(a, b, what)
    }
    /// numpy's broadcasting of shapes. Two symbolic sizes broadcast only if they are equal.
    pub fn broadcast(&mut self, shapes: &[&[Dim]]) -> Got<Vec<Dim>> {
        let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
        let mut out = vec![Dim::ONE; rank];
        for s in shapes {
            for (o, d) in out.iter_mut().skip(rank - s.len()).zip(*s) {
                if o.is(1) {
                    *o = d.clone();
                } else if !d.is(1) {
                    *o = self.build.dims.unify(o, d, "sizes that broadcast")?;
                }
            }
        }
        Ok(out)
    }

    pub fn unary(&mut self, f: UnaryFn, x: &Val) -> Got<Val> {
        let dt = if matches!(f, UnaryFn::IsNan | UnaryFn::IsInf) { DType::Bool } else { x.dtype() };
        self.emit(Op::Unary { f }, &[x], dt, x.shape().to_vec())
    }
    pub fn binary(&mut self, f: BinaryFn, a: &Val, b: &Val) -> Got<Val> {
        let dt = self.same_dtype(a, b)?;
        let compare = matches!(f, BinaryFn::Eq | BinaryFn::Ne | BinaryFn::Lt | BinaryFn::Le | BinaryFn::Gt | BinaryFn::Ge);
        let shape = self.broadcast(&[a.shape(), b.shape()])?;
        self.emit(Op::Binary { f }, &[a, b], if compare { DType::Bool } else { dt }, shape)
    }
    /// A known value as another type, so that sizes may be written as floats.
    pub fn cast_known(&self, x: Val, dtype: DType) -> Val {
        super::known::cast(&x, dtype, &self.build.dims).unwrap_or(x)
    }
    pub fn cast(&mut self, x: &Val, dtype: DType) -> Got<Val> {
        if x.dtype() == dtype { Ok(x.clone()) } else { self.emit(Op::Cast {}, &[x], dtype, x.shape().to_vec()) }
    }
    pub fn reshape(&mut self, x: &Val, shape: Vec<Dim>) -> Got<Val> {
        if x.shape() == shape {
            return Ok(x.clone());
        }
        if let Some(known) = &x.known
            && shape.iter().all(|d| d.as_const().is_some())
        {
            return Ok(Val::known(TensorType::new(x.dtype(), shape), known.to_vec()));
        }
        self.emit(Op::Reshape {}, &[x], x.dtype(), shape)
    }
    pub fn transpose(&mut self, x: &Val, perm: Vec<usize>) -> Got<Val> {
        let shape = perm.iter().filter_map(|p| x.shape().get(*p).cloned()).collect();
        self.emit(Op::Transpose { perm }, &[x], x.dtype(), shape)
    }
    pub fn expand(&mut self, x: &Val, shape: Vec<Dim>) -> Got<Val> {
        if x.shape() == shape { Ok(x.clone()) } else { self.emit(Op::Expand {}, &[x], x.dtype(), shape) }
    }
    /// A part of `x` along one axis, step 1.
    pub fn part(&mut self, x: &Val, axis: usize, start: Dim, length: Dim) -> Got<Val> {
        let mut starts = vec![Dim::ZERO; x.rank()];
        let mut shape = x.shape().to_vec();
        if let (Some(s), Some(d)) = (starts.get_mut(axis), shape.get_mut(axis)) {
            *s = start;
            *d = length;
        }
        if shape == x.shape() {
            return Ok(x.clone());
        }
        self.emit(Op::Slice { starts, steps: vec![1; x.rank()] }, &[x], x.dtype(), shape)
    }
}
